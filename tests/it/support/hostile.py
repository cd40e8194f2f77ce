#!/usr/bin/env python3
"""Hostile and broken clients against a tacdrop server: hostile.py CASE. Exits 0 if the server did what it must.

Host, port, user and token are in TEST_HOST, TEST_PORT, TEST_USER, TEST_TOKEN."""

import hashlib
import logging
import os
import random
import socket
import struct
import sys
import time

import paramiko

logging.getLogger("paramiko").setLevel(logging.CRITICAL)

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT = 1, 2, 3, 4, 5, 6, 7, 8
SETSTAT, FSETSTAT, OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH = 9, 10, 11, 12, 13, 14, 15, 16
STAT, RENAME, READLINK, SYMLINK = 17, 18, 19, 20
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED = 101, 102, 103, 104, 105, 200
OK, EOF, NO_SUCH_FILE, DENIED, FAILURE, BAD_MESSAGE, UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8
FLAG_READ, FLAG_WRITE, FLAG_APPEND, FLAG_CREATE, FLAG_TRUNCATE, FLAG_EXCLUSIVE = 1, 2, 4, 8, 16, 32
NO_ATTRS = struct.pack(">I", 0)
LIMIT = 60


def string(value) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(value)) + value


def address() -> tuple[str, int]:
    return os.environ["TEST_HOST"], int(os.environ["TEST_PORT"])


def connect(login: bool = True) -> paramiko.Transport:
    transport = paramiko.Transport(socket.create_connection(address(), timeout=LIMIT))
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = LIMIT
    transport.start_client(timeout=LIMIT)
    if login:
        transport.auth_password(os.environ["TEST_USER"], os.environ["TEST_TOKEN"])
    return transport


class Closed(Exception):
    """The server closed the channel."""


class Raw:
    """One SFTP session whose packets are made by hand."""

    def __init__(self, transport: paramiko.Transport):
        self.channel = transport.open_session(timeout=LIMIT)
        self.channel.settimeout(LIMIT)
        self.channel.invoke_subsystem("sftp")
        self.last = 0
        self.channel.sendall(struct.pack(">IBI", 5, INIT, 3))
        kind, body = self.packet()
        assert kind == VERSION and struct.unpack(">I", body[:4])[0] == 3, (kind, body)

    def take(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = self.channel.recv(count - len(found))
            if not part:
                raise Closed
            found += part
        return found

    def packet(self) -> tuple[int, bytes]:
        length = struct.unpack(">I", self.take(4))[0]
        assert 1 <= length <= 1 << 20, length
        whole = self.take(length)
        return whole[0], whole[1:]

    def send(self, kind: int, body: bytes) -> int:
        self.last += 1
        self.channel.sendall(struct.pack(">IBI", 5 + len(body), kind, self.last) + body)
        return self.last

    def answer(self) -> tuple[int, int, bytes]:
        kind, body = self.packet()
        return kind, struct.unpack(">I", body[:4])[0], body[4:]

    def ask(self, kind: int, body: bytes) -> tuple[int, bytes]:
        identity = self.send(kind, body)
        found, replied, rest = self.answer()
        assert replied == identity, f"the reply to {identity} says {replied}"
        return found, rest

    def status(self, kind: int, body: bytes) -> int:
        found, rest = self.ask(kind, body)
        assert found == STATUS, f"a status was to come, not {found}"
        return struct.unpack(">I", rest[:4])[0]

    def open(self, path, flags: int) -> bytes:
        found, rest = self.ask(OPEN, string(path) + struct.pack(">I", flags) + NO_ATTRS)
        assert found == HANDLE, f"OPEN: {found} {rest!r}"
        return rest[4:]

    def write(self, handle: bytes, offset: int, data: bytes) -> int:
        return self.status(WRITE, string(handle) + struct.pack(">Q", offset) + string(data))

    def read(self, handle: bytes, offset: int, length: int):
        return self.ask(READ, string(handle) + struct.pack(">QI", offset, length))

    def close(self, handle: bytes) -> int:
        return self.status(CLOSE, string(handle))

    def put(self, path, content: bytes) -> None:
        handle = self.open(path, FLAG_WRITE | FLAG_CREATE | FLAG_TRUNCATE)
        for at in range(0, len(content), 32768):
            assert self.write(handle, at, content[at : at + 32768]) == OK
        assert self.close(handle) == OK

    def get(self, path) -> bytes:
        handle, content = self.open(path, FLAG_READ), b""
        while True:
            found, rest = self.read(handle, len(content), 32768)
            if found == STATUS:
                assert struct.unpack(">I", rest[:4])[0] == EOF, rest
                break
            content += rest[4:]
        assert self.close(handle) == OK
        return content

    def names(self, path) -> list[bytes]:
        found, rest = self.ask(OPENDIR, string(path))
        assert found == HANDLE, rest
        handle, names = rest[4:], []
        while True:
            found, rest = self.ask(READDIR, string(handle))
            if found == STATUS:
                assert struct.unpack(">I", rest[:4])[0] == EOF, rest
                break
            names += parse_names(rest)
        assert self.close(handle) == OK
        return [name for name in names if name not in (b".", b"..")]

    def assert_closed(self) -> None:
        try:
            while True:
                self.packet()
        except (Closed, EOFError, OSError) as end:
            assert not isinstance(end, TimeoutError), "the channel stays open"


def parse_names(body: bytes) -> list[bytes]:
    count, at, names = struct.unpack(">I", body[:4])[0], 4, []
    for _ in range(count):
        for part in range(2):
            (length,) = struct.unpack_from(">I", body, at)
            if part == 0:
                names.append(body[at + 4 : at + 4 + length])
            at += 4 + length
        (flags,) = struct.unpack_from(">I", body, at)
        at += 4 + (8 if flags & 1 else 0) + (8 if flags & 2 else 0) + (4 if flags & 4 else 0) + (8 if flags & 8 else 0)
    assert at == len(body), "the longname or the attributes are malformed"
    return names


# ---- SSH ------------------------------------------------------------------------------------------------------------


def login_grace() -> None:
    """Keys agreed on, packets sent all the time, and never a login."""
    transport, started = connect(login=False), time.monotonic()
    while transport.is_active():
        assert time.monotonic() - started < 30, "never cut"
        try:
            transport.send_ignore(16)
        except (OSError, EOFError, paramiko.SSHException):
            break
        time.sleep(0.2)
    assert time.monotonic() - started > 1, "cut too early"


def stays_logged_in() -> None:
    transport = connect()
    session = Raw(transport)
    time.sleep(4)
    assert session.names("/") == []
    transport.close()


def channels() -> None:
    transport = connect()
    sessions = [Raw(transport) for _ in range(4)]
    for _ in range(3):
        try:
            transport.open_session(timeout=LIMIT)
            raise AssertionError("a fifth channel was opened")
        except paramiko.ChannelException:
            pass
    sessions.pop().channel.close()
    time.sleep(0.5)
    sessions.append(Raw(transport))
    for kind in ("direct-tcpip", "x11", "nonsense@example.org"):
        try:
            transport.open_channel(kind, address(), ("127.0.0.1", 1), timeout=LIMIT)
            raise AssertionError(f"{kind} was opened")
        except paramiko.ChannelException:
            pass
    try:
        transport.request_port_forward("127.0.0.1", 0)
        raise AssertionError("forwarding was granted")
    except paramiko.SSHException:
        pass
    sessions[0].channel.close()
    time.sleep(0.5)
    channel = transport.open_session(timeout=LIMIT)
    channel.settimeout(LIMIT)
    for what in (channel.invoke_shell, lambda: channel.invoke_subsystem("netconf")):
        try:
            what()
            raise AssertionError("a shell or an unknown subsystem was granted")
        except paramiko.SSHException:
            if channel.closed:
                # paramiko closes it after a refusal, and says so to the server a moment after it says so here.
                time.sleep(0.5)
                channel = transport.open_session(timeout=LIMIT)
                channel.settimeout(LIMIT)
    # Packets for channels that do not exist must not end the process; they may end this connection.
    message = paramiko.Message()
    message.add_byte(bytes([94]))
    message.add_int(4711)
    message.add_string(b"x")
    transport._send_message(message)
    time.sleep(0.5)
    transport.close()
    other = connect()
    assert Raw(other).names("/") == []
    other.close()


def guesses() -> None:
    """Wrong passwords until the server refuses to hear more of them."""
    refused, tries = False, 0
    for _ in range(20):
        try:
            transport = connect(login=False)
        except (OSError, EOFError, paramiko.SSHException):
            refused = True
            break
        for _ in range(6):
            tries += 1
            try:
                transport.auth_password(os.environ["TEST_USER"], f"wrong-{tries}")
                raise AssertionError("a wrong token was taken")
            except paramiko.AuthenticationException:
                pass
            except (OSError, EOFError, paramiko.SSHException):
                break
            if not transport.is_active():
                break
        transport.close()
    assert refused, f"{tries} wrong tokens and the source may still come in"


# ---- SFTP -----------------------------------------------------------------------------------------------------------


def oversize() -> None:
    transport = connect()
    smuggled = struct.pack(">IBI", 9 + len(b"/smuggled") + 4, MKDIR, 7) + string("/smuggled") + NO_ATTRS
    for length in (0, 256 * 1024 + 64 * 1024, 0x7FFF_FFFF, 0xFFFF_FFFF):
        session = Raw(transport)
        try:
            session.channel.sendall(struct.pack(">IBI", length, WRITE, 1) + smuggled * 40)
        except OSError:
            pass
        session.assert_closed()
    assert transport.is_active(), "only the channel was to be closed"
    assert Raw(transport).names("/") == [], "a smuggled request was carried out"
    transport.close()


def malformed() -> None:
    transport = connect()
    session = Raw(transport)
    assert session.status(99, b"") == UNSUPPORTED
    assert session.status(EXTENDED, string("no-such@example.org")) == UNSUPPORTED
    assert session.status(OPEN, struct.pack(">I", 1000) + b"short") in (BAD_MESSAGE, FAILURE)
    assert session.status(STAT, b"") in (BAD_MESSAGE, FAILURE)
    assert session.status(READ, string(b"x")) in (BAD_MESSAGE, FAILURE)
    assert session.status(RENAME, string("only one")) in (BAD_MESSAGE, FAILURE)
    assert session.status(SETSTAT, string("/x") + struct.pack(">I", 1)) in (BAD_MESSAGE, FAILURE)
    assert session.status(WRITE, string(b"h") + struct.pack(">QI", 0, 500) + b"short") in (BAD_MESSAGE, FAILURE)
    assert session.names("/") == [], "the session goes on"
    transport.close()


def trailing() -> None:
    """rclone 1.60 (Debian 12) sends WRITEs whose packet is longer than what they carry. Like OpenSSH's server, one takes
    what is meant and lets the rest go."""
    transport = connect()
    session = Raw(transport)
    handle = session.open("trailing", FLAG_WRITE | FLAG_CREATE | FLAG_TRUNCATE)
    content, at = random.Random(60).randbytes(61_440), 0
    for size in (4096, 8192, 16_384, 32_768):
        data = content[at : at + size]
        body = string(handle) + struct.pack(">Q", at) + string(data) + bytes(32_768 - size)
        assert session.status(WRITE, body) == OK, f"a WRITE of {size} bytes in a longer packet"
        at += size
    assert session.close(handle) == OK
    assert session.get("trailing") == content
    transport.close()


def malformed_ends() -> None:
    transport = connect()
    session = Raw(transport)
    try:
        for _ in range(200):
            session.send(OPEN, struct.pack(">I", 1000) + b"short")
    except OSError:
        pass
    session.assert_closed()
    transport.close()
    other = connect()
    session = Raw(other)
    # Before INIT, twice INIT: neither may do harm.
    session.channel.sendall(struct.pack(">IBI", 5, INIT, 3))
    try:
        session.packet()
    except (Closed, OSError):
        pass
    other.close()


def extremes() -> None:
    transport = connect()
    session = Raw(transport)
    content = random.Random(48).randbytes(700_000)
    session.put("whole", content)
    handle = session.open("whole", FLAG_READ)
    found, rest = session.read(handle, 0, 0xFFFF_FFFF)
    assert found == DATA and 0 < len(rest) - 4 <= 256 * 1024, (found, len(rest))
    assert rest[4:] == content[: len(rest) - 4]
    for offset in (len(content), len(content) + 1, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        found, rest = session.read(handle, offset, 0xFFFF_FFFF)
        assert found == STATUS and struct.unpack(">I", rest[:4])[0] in (EOF, FAILURE), (offset, found)
    found, rest = session.read(handle, 10, 0)
    assert found in (DATA, STATUS), found
    # Many at once: none of them may be answered by gigabytes.
    identities = [session.send(READ, string(handle) + struct.pack(">QI", 0, 0xFFFF_FFFF)) for _ in range(200)]
    for _ in identities:
        kind, identity, rest = session.answer()
        assert identity in identities and (kind != DATA or len(rest) <= 256 * 1024 + 4)
    assert session.close(handle) == OK

    handle = session.open("edge", FLAG_WRITE | FLAG_CREATE | FLAG_TRUNCATE)
    assert session.write(handle, 0, b"") == OK, "a WRITE of nothing"
    assert session.write(handle, 0, b"begin") == OK
    for offset in (1 << 63, (1 << 63) - 3, (1 << 64) - 1, (1 << 64) - 3, 1 << 56):
        assert session.write(handle, offset, b"far away") not in (OK, None), f"a WRITE at {offset}"
    assert session.write(handle, 5, b" end") == OK
    assert session.write(handle, 5, b"") == OK
    assert session.close(handle) == OK
    assert session.get("edge") == b"begin end"
    size = struct.pack(">IQ", 1, (1 << 64) - 1)
    assert session.status(SETSTAT, string("edge") + size) != OK, "a file of 2^64-1 bytes"
    transport.close()


def handles() -> None:
    transport = connect()
    session, other = Raw(transport), Raw(transport)
    session.put("a", b"content")
    theirs = other.open("a", FLAG_READ)
    forged = [b"", b"\0", b"0", b"\0\0\0\0", b"\0\0\0\1", b"\xff" * 4, b"\xff" * 8, bytes(8), bytes(16), b"x" * 256, b"y" * 5000,
              theirs]
    own = session.open("a", FLAG_READ)
    assert session.close(own) == OK
    forged.append(own)
    for handle in forged:
        for kind, tail in ((READ, struct.pack(">QI", 0, 10)), (WRITE, struct.pack(">Q", 0) + string("x")), (FSTAT, b""),
                           (FSETSTAT, NO_ATTRS), (READDIR, b""), (CLOSE, b"")):
            status = session.status(kind, string(handle) + tail)
            assert status not in (OK, EOF), f"request {kind} with the handle {handle[:20]!r} was answered {status}"
        assert session.status(EXTENDED, string("fsync@openssh.com") + string(handle)) != OK
    found, rest = other.read(theirs, 0, 100)
    assert found == DATA and rest[4:] == b"content", "the real one still works"
    # What a handle is not for.
    directory = session.ask(OPENDIR, string("/"))[1][4:]
    assert session.status(READ, string(directory) + struct.pack(">QI", 0, 10)) != OK
    assert session.write(directory, 0, b"x") != OK
    reading = session.open("a", FLAG_READ)
    assert session.write(reading, 0, b"x") != OK
    assert session.status(READDIR, string(reading)) not in (OK, EOF)
    assert session.get("a") == b"content"
    transport.close()


def handle_table() -> None:
    transport = connect()
    session = Raw(transport)
    session.put("a", b"content")
    opened = []
    for _ in range(500):
        found, rest = session.ask(OPEN, string("a") + struct.pack(">I", FLAG_READ) + NO_ATTRS)
        if found != HANDLE:
            assert struct.unpack(">I", rest[:4])[0] == FAILURE, rest
            break
        opened.append(rest[4:])
    assert 16 <= len(opened) <= 128, f"{len(opened)} handles"
    assert len(set(opened)) == len(opened)
    assert session.close(opened.pop()) == OK
    opened.append(session.open("a", FLAG_READ))
    for handle in opened:
        assert session.close(handle) == OK
    transport.close()


def shuffled() -> None:
    """Prints the SHA-256 that shuffled.bin must have."""
    transport = connect()
    session = Raw(transport)
    generator, block = random.Random(52), 8192
    content = generator.randbytes(1000 * block - 77)
    handle = session.open("shuffled.bin", FLAG_WRITE | FLAG_CREATE | FLAG_TRUNCATE)
    writes = [(at, content[at : at + block]) for at in range(0, len(content), block)]
    writes += generator.sample(writes, 50)
    generator.shuffle(writes)
    # Some wrong bytes come first: the last write wins.
    wrong = [(at, bytes(len(data))) for at, data in generator.sample(writes, 40)]
    identities = set()
    for at, data in wrong + writes:
        identities.add(session.send(WRITE, string(handle) + struct.pack(">Q", at) + string(data)))
    for _ in range(len(identities)):
        kind, identity, rest = session.answer()
        assert kind == STATUS and struct.unpack(">I", rest[:4])[0] == OK, (kind, rest)
        identities.remove(identity)
    assert not identities
    assert session.close(handle) == OK
    assert session.get("shuffled.bin") == content
    transport.close()
    print(hashlib.sha256(content).hexdigest())


def beyond_window() -> None:
    """Writes 64 MiB as if the server's window were without end. Prints the SHA-256 that "beyond" must have."""
    transport = connect()
    session = Raw(transport)
    handle = session.open("beyond", FLAG_WRITE | FLAG_CREATE | FLAG_TRUNCATE)
    session.channel.out_window_size = 1 << 40
    block, count, digest = random.Random(7).randbytes(32768), 2048, hashlib.sha256()
    for at in range(count):
        digest.update(block)
        session.send(WRITE, string(handle) + struct.pack(">Q", at * len(block)) + string(block))
    for _ in range(count):
        kind, _, rest = session.answer()
        assert kind == STATUS and struct.unpack(">I", rest[:4])[0] == OK, (kind, rest)
    assert session.close(handle) == OK
    transport.close()
    print(digest.hexdigest())


def bytes_names() -> None:
    transport = connect()
    session = Raw(transport)
    session.put(b"a\xff", b"first")
    session.put(b"a\xfe", b"second")
    assert sorted(session.names("/")) == [b"a\xfe", b"a\xff"], session.names("/")
    assert session.get(b"a\xff") == b"first" and session.get(b"a\xfe") == b"second"
    found, rest = session.ask(REALPATH, string(b"a\xff"))
    assert found == NAME and parse_names(rest) == [b"/a\xff"], rest
    transport.close()


def traversal() -> None:
    transport = connect()
    session = Raw(transport)
    session.put("mine", b"mine")
    depths = ["../" * depth for depth in (1, 2, 5, 12)]
    targets = ["etc/passwd", "keys/kek", "records.sqlite", "XT-OTHER/secret", "root/.ssh/authorized_keys", "tmp/pwned", "proc/self/environ"]
    payloads = [prefix + target for prefix in depths for target in targets]
    payloads += ["/" + payload for payload in payloads]
    payloads += [f"./{target}" for target in targets] + [f"//{target}" for target in targets]
    payloads += [f"mine/../../{target}" for target in targets] + [f"/XT-4711/../../{target}" for target in targets]
    payloads += [f"from-support/../../{target}" for target in targets] + [f"..\\..\\{target}" for target in targets]
    payloads += [f"..%2f..%2f{target}" for target in targets] + [f"%2e%2e/%2e%2e/{target}" for target in targets]
    payloads += [f"..;/..;/{target}" for target in targets] + [f"....//....//{target}" for target in targets]
    payloads += [f"\u2025/{target}" for target in targets] + [f"\uff0e\uff0e/{target}" for target in targets]
    payloads += [f"~root/{target}" for target in targets] + [f"file:///{target}" for target in targets]
    payloads += [f"../{target}\0.txt" for target in targets] + [f"\0/../{target}" for target in targets]
    payloads += [f"a\n../../{target}" for target in targets] + [f"C:\\{target}" for target in targets]
    payloads += [b"\xc0\xae\xc0\xae/" + target.encode() for target in targets]
    payloads += [b"\xc0\xaf../" + target.encode() for target in targets]
    payloads += ["../" * 300 + target for target in targets] + ["a/" * 300 + target for target in targets]
    payloads += ["/XT-OTHER", "../XT-OTHER", "/XT-OTHER/.", "/XT-OTHER/../XT-OTHER/secret", "XT-4711/XT-OTHER/secret", "/dev/shm/pwned"]
    assert len(payloads) >= 200, len(payloads)
    for payload in payloads:
        path = string(payload)
        for kind in (STAT, LSTAT, OPENDIR, READLINK):
            found, _ = session.ask(kind, path)
            assert found == STATUS, f"request {kind} found {payload!r}"
        found, _ = session.ask(OPEN, path + struct.pack(">I", FLAG_READ) + NO_ATTRS)
        assert found == STATUS, f"{payload!r} was opened"
        assert session.status(REMOVE, path) != OK, payload
        assert session.status(RMDIR, path) != OK, payload
        assert session.status(SETSTAT, path + NO_ATTRS) != OK, payload
        assert session.status(RENAME, path + string("stolen")) != OK, payload
        found, rest = session.ask(REALPATH, path)
        if found == NAME:
            (name,) = parse_names(rest)
            assert name.startswith(b"/") and b".." not in name.split(b"/"), (payload, name)
        assert session.status(SYMLINK, path + string("link")) == UNSUPPORTED
        assert session.status(SYMLINK, string("link") + path) == UNSUPPORTED
        assert session.status(EXTENDED, string("hardlink@openssh.com") + path + string("link")) == UNSUPPORTED
    # To make something is allowed where a name is one; it then lies in the share and nowhere else.
    for payload in payloads:
        found, rest = session.ask(OPEN, string(payload) + struct.pack(">I", FLAG_WRITE | FLAG_CREATE) + NO_ATTRS)
        if found == HANDLE:
            assert session.write(rest[4:], 0, b"pwned") == OK
            session.close(rest[4:])
        session.status(MKDIR, string(payload) + NO_ATTRS)
    assert session.get("mine") == b"mine"
    transport.close()


cases = {
    "login-grace": login_grace, "stays-logged-in": stays_logged_in, "channels": channels, "guesses": guesses,
    "oversize": oversize, "malformed": malformed, "malformed-ends": malformed_ends, "extremes": extremes,
    "handles": handles, "handle-table": handle_table, "shuffled": shuffled, "bytes-names": bytes_names,
    "traversal": traversal, "trailing": trailing, "beyond-window": beyond_window,
}
cases[sys.argv[1]]()
