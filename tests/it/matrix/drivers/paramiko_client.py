#!/usr/bin/env python3
"""paramiko as people write it in their scripts: paramiko_client.py VERB ARGUMENT...

put, resume-put, put-times, put-tree LOCAL REMOTE        get, resume-get, get-times, get-tree REMOTE LOCAL
rename FROM TO        remove PATH        list DIRECTORY

TEST_HOST, TEST_PORT, TEST_USER, TEST_TOKEN as in the other scripts; TEST_KEY and TEST_AGENT are tried before the token, TEST_WRONG
is a password that is tried first. What fails is said on stderr, exit code 1."""

import logging
import os
import stat
import sys

import paramiko

# The words of the exception are what a script's user sees.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


def by_transport() -> paramiko.Transport:
    """The working call for a ticket: one password, once."""
    transport = paramiko.Transport((os.environ["TEST_HOST"], int(os.environ["TEST_PORT"])))
    transport.auth_timeout = 20
    transport.connect(username=os.environ["TEST_USER"], password=os.environ.get("TEST_WRONG", os.environ["TEST_TOKEN"]))
    return transport


def connected() -> paramiko.Transport:
    if wrong := os.environ.get("TEST_WRONG"):
        transport = paramiko.Transport((os.environ["TEST_HOST"], int(os.environ["TEST_PORT"])))
        transport.auth_timeout = 20
        transport.start_client(timeout=20)
        try:
            transport.auth_password(os.environ["TEST_USER"], wrong)
        except paramiko.AuthenticationException:
            transport.auth_password(os.environ["TEST_USER"], os.environ["TEST_TOKEN"])
        return transport
    key, agent = os.environ.get("TEST_KEY"), os.environ.get("TEST_AGENT")
    if key is None and agent is None:
        return by_transport()
    if agent is not None:
        os.environ["SSH_AUTH_SOCK"] = agent
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(os.environ["TEST_HOST"], int(os.environ["TEST_PORT"]), os.environ["TEST_USER"], key_filename=key,
                   password=os.environ.get("TEST_TOKEN"), look_for_keys=False, allow_agent=agent is not None, auth_timeout=20)
    # The client would close it when it is thrown away.
    connected.client = client
    return client.get_transport()


def copy(source, target) -> None:
    while block := source.read(1 << 18):
        target.write(block)


def resume_put(local: bytes, remote: bytes) -> None:
    with open(local, "rb") as source, sftp.open(remote, "ab") as target:
        target.set_pipelined(True)
        source.seek(sftp.stat(remote).st_size)
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
