#!/usr/bin/env python3
"""paramiko as people write it in their scripts: paramiko_client.py VERB ARGUMENT...

put, resume-put, put-times, put-tree LOCAL REMOTE        get, resume-get, get-times, get-tree REMOTE LOCAL
rename FROM TO        remove PATH        list DIRECTORY

TEST_HOST, TEST_PORT, TEST_USER, TEST_TOKEN as in the other scripts; TEST_KEY and TEST_AGENT are tried before the token, TEST_WRONG
is a password that is tried first; TEST_CALL=client logs in by SSHClient instead of Transport. What fails is said on stderr, exit code 1."""

import logging
import os
import stat
import sys

import paramiko

# The words of the exception are what a script's user sees.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


HOST, PORT, USER = os.environ["TEST_HOST"], int(os.environ["TEST_PORT"]), os.environ["TEST_USER"]
# Longer than anything here takes, and said by paramiko as "Authentication timeout."
LIMIT = 20
kept = []


def by_transport() -> paramiko.Transport:
    """The call for tickets: one password, once."""
    transport = paramiko.Transport((HOST, PORT))
    transport.auth_timeout = LIMIT
    transport.connect(username=USER, password=os.environ["TEST_TOKEN"])
    return transport


def by_client(agent: str | None) -> paramiko.Transport:
    """The same with SSHClient, which tries all keys that it finds before the password, unless it is told not to."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(HOST, PORT, USER, password=os.environ.get("TEST_TOKEN"), key_filename=os.environ.get("TEST_KEY"),
                   look_for_keys=False, allow_agent=agent is not None, auth_timeout=LIMIT)
    # Thrown away, it would close the connection.
    kept.append(client)
    return client.get_transport()


def twice(wrong: str) -> paramiko.Transport:
    """As a script that asks its user again."""
    transport = paramiko.Transport((HOST, PORT))
    transport.auth_timeout = LIMIT
    transport.start_client(timeout=LIMIT)
    try:
        transport.auth_password(USER, wrong)
    except paramiko.AuthenticationException:
        # The user types.
        transport.join(2)
        transport.auth_password(USER, os.environ["TEST_TOKEN"])
    return transport


def connected() -> paramiko.Transport:
    if wrong := os.environ.get("TEST_WRONG"):
        return twice(wrong)
    if agent := os.environ.get("TEST_AGENT"):
        os.environ["SSH_AUTH_SOCK"] = agent
    if agent or "TEST_KEY" in os.environ or os.environ.get("TEST_CALL") == "client":
        return by_client(agent)
    return by_transport()


def copy(source, target) -> None:
    while block := source.read(1 << 18):
        target.write(block)


def resume_put(local: bytes, remote: bytes) -> None:
    size = sftp.stat(remote).st_size
    with open(local, "rb") as source, sftp.open(remote, "ab") as target:
        target.set_pipelined(True)
        source.seek(size)
        copy(source, target)


def resume_get(remote: bytes, local: bytes) -> None:
    with sftp.open(remote, "rb") as source, open(local, "ab") as target:
        source.seek(target.tell())
        copy(source, target)


def put_times(local: bytes, remote: bytes) -> None:
    sftp.put(local, remote)
    found = os.stat(local)
    sftp.utime(remote, (found.st_atime, found.st_mtime))


def get_times(remote: bytes, local: bytes) -> None:
    sftp.get(remote, local)
    found = sftp.stat(remote)
    os.utime(local, (found.st_atime, found.st_mtime))


def put_tree(local: bytes, remote: bytes) -> None:
    sftp.mkdir(remote)
    for name in sorted(os.listdir(local)):
        source, target = os.path.join(local, name), remote + b"/" + name
        (put_tree if os.path.isdir(source) else sftp.put)(source, target)


def get_tree(remote: bytes, local: bytes) -> None:
    for entry in sftp.listdir_attr(remote):
        name = entry.filename.encode()
        source, target = remote + b"/" + name, os.path.join(local, name)
        if stat.S_ISDIR(entry.st_mode):
            os.mkdir(target)
            get_tree(source, target)
        else:
            sftp.get(source, target)


try:
    transport = connected()
    sftp = paramiko.SFTPClient.from_transport(transport)
    # Nothing waits for ever.
    sftp.get_channel().settimeout(120)
    verbs = {
        "put": sftp.put, "resume-put": resume_put, "put-times": put_times, "put-tree": put_tree,
        "get": sftp.get, "resume-get": resume_get, "get-times": get_times, "get-tree": get_tree,
        "rename": sftp.rename, "remove": sftp.remove, "list": lambda path: print(*sftp.listdir(path), sep="\n"),
    }
    verbs[sys.argv[1]](*(os.fsencode(word) for word in sys.argv[2:]))
    transport.close()
except (paramiko.SSHException, OSError, EOFError, UnicodeError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
