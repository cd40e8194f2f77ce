#!/usr/bin/env python3
"""asyncssh as people write it in their scripts: asyncssh_client.py VERB ARGUMENT...

put, resume-put, put-times, put-tree LOCAL REMOTE        get, resume-get, get-times, get-tree REMOTE LOCAL
rename FROM TO        remove PATH        list DIRECTORY        room

TEST_HOST, TEST_PORT, TEST_USER, TEST_TOKEN as in the other scripts; TEST_KEY and TEST_AGENT are tried before the token, TEST_WRONG
is a password that is given first. What fails is said on stderr, exit code 1."""

import asyncio
import os
import sys

import asyncssh


class Person(asyncssh.SSHClient):
    """Is asked for the password, and again after a wrong one."""

    def __init__(self) -> None:
        self.passwords = [word for word in (os.environ.get("TEST_WRONG"), os.environ.get("TEST_TOKEN")) if word]

    def password_auth_requested(self) -> str | None:
        return self.passwords.pop(0) if self.passwords else None


async def copy(source, target) -> None:
    while block := await source.read(1 << 20):
        await target.write(block)


async def resume_put(sftp, local: bytes, remote: bytes) -> None:
    size = await sftp.getsize(remote)
    with open(local, "rb") as source:
        source.seek(size)
        async with sftp.open(remote, "r+b") as target:
            await target.seek(size)
            while block := source.read(1 << 20):
                await target.write(block)


async def resume_get(sftp, remote: bytes, local: bytes) -> None:
    with open(local, "ab") as target:
        async with sftp.open(remote, "rb") as source:
            await source.seek(target.tell())
            while block := await source.read(1 << 20):
                target.write(block)


async def show(sftp, directory: bytes) -> None:
    for name in await sftp.listdir(directory):
        sys.stdout.buffer.write(name + b"\n")


async def room(sftp) -> None:
    found = await sftp.statvfs(b".")
    print(found.bavail * found.frsize, "of", found.blocks * found.frsize)


VERBS = {
    "put": lambda sftp, local, remote: sftp.put(local, remote),
    "get": lambda sftp, remote, local: sftp.get(remote, local),
    "resume-put": resume_put,
    "resume-get": resume_get,
    "put-times": lambda sftp, local, remote: sftp.put(local, remote, preserve=True),
    "get-times": lambda sftp, remote, local: sftp.get(remote, local, preserve=True),
    "put-tree": lambda sftp, local, remote: sftp.put(local, remote, recurse=True),
    "get-tree": lambda sftp, remote, local: sftp.get(remote, local, recurse=True),
    "rename": lambda sftp, old, new: sftp.rename(old, new),
    "remove": lambda sftp, path: sftp.remove(path),
    "list": show,
    "room": room,
}


async def main(verb: str, *words: str) -> None:
    key = os.environ.get("TEST_KEY")
    async with asyncssh.connect(
        os.environ["TEST_HOST"], int(os.environ["TEST_PORT"]), username=os.environ["TEST_USER"], client_factory=Person,
        known_hosts=None, client_keys=[key] if key else None, config=None, agent_path=os.environ.get("TEST_AGENT"),
        login_timeout=30,
    ) as connection:
        async with connection.start_sftp_client(path_encoding=None) as sftp:
            await VERBS[verb](sftp, *(os.fsencode(word) for word in words))


try:
    asyncio.run(main(*sys.argv[1:]))
except (asyncssh.Error, OSError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
