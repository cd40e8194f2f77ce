#!/usr/bin/env python3
"""SCP by hand against a tacdrop server: scp_steps.py CASE. Exits 0 if the server did what it must.

Host, port, user and token are in TEST_HOST, TEST_PORT, TEST_USER, TEST_TOKEN."""

import hashlib
import os
import socket
import sys
import time

import paramiko

LIMIT = 60


def connect() -> paramiko.Transport:
    address = os.environ["TEST_HOST"], int(os.environ["TEST_PORT"])
    transport = paramiko.Transport(socket.create_connection(address, timeout=LIMIT))
    transport.start_client(timeout=LIMIT)
    transport.auth_password(os.environ["TEST_USER"], os.environ["TEST_TOKEN"])
    return transport


def run(transport: paramiko.Transport, command: str, window=None) -> paramiko.Channel:
    channel = transport.open_session(window_size=window, timeout=LIMIT)
    channel.settimeout(LIMIT)
    channel.exec_command(command)
    return channel


def line(channel: paramiko.Channel) -> bytes:
    got = b""
    while not got.endswith(b"\n"):
        byte = channel.recv(1)
        assert byte, got
        got += byte
    return got


def slow_reader() -> None:
    """Takes nothing for a while, then everything. Prints the digest of what came."""
    channel = run(connect(), "scp -f big", window=65536)
    channel.sendall(b"\0")
    size = int(line(channel).split(b" ")[1])
    channel.sendall(b"\0")
    print("waits", flush=True)
    time.sleep(3)
    digest, left = hashlib.sha256(), size
    while left:
        block = channel.recv(min(left, 1 << 20))
        assert block, left
        digest.update(block)
        left -= len(block)
    assert channel.recv(1) == b"\0"
    channel.sendall(b"\0")
    assert channel.recv_exit_status() == 0
    print(digest.hexdigest())


def flood() -> None:
    """Sends names that are refused and never looks at what is said to that."""
    channel = run(connect(), "scp -t .", window=1024)
    block = b"C0644 1 \x07\n" * 1000
    try:
        for _ in range(10_000):
            channel.sendall(block)
    except (OSError, EOFError):
        return
    sys.exit("the flood was never stopped")


def two_channels() -> None:
    """Two uploads and a listing at once on one connection."""
    transport = connect()
    channels = [run(transport, f"scp -t both{n}") for n in range(2)]
    data = [bytes([n]) * 3_000_000 for n in range(2)]
    for channel in channels:
        assert channel.recv(1) == b"\0"
        channel.sendall(b"C0600 3000000 x\n")
        assert channel.recv(1) == b"\0"
    for at in range(0, 3_000_000, 100_000):
        for channel, bytes_ in zip(channels, data):
            channel.sendall(bytes_[at : at + 100_000])
    sftp = paramiko.SFTPClient.from_transport(transport)
    assert sorted(sftp.listdir(".")) == ["both0", "both1"]
    for channel in channels:
        channel.sendall(b"\0")
    for channel in channels:
        assert channel.recv(1) == b"\0"
        channel.shutdown_write()
        assert channel.recv_exit_status() == 0


{"slow-reader": slow_reader, "flood": flood, "two-channels": two_channels}[sys.argv[1]]()
