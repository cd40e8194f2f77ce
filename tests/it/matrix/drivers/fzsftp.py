#!/usr/bin/env python3
"""FileZilla without its window: fzsftp, the program that does SFTP for it, driven as FileZilla's engine drives it.

The engine writes commands to fzsftp's stdin and reads events from its stdout: a character that says what it is ('0' and its
number), and a known number of lines. The bytes of files go through memory that both share. Answers to what fzsftp asks in
the middle of a command begin with '-'.

fzsftp.py VERB ARGUMENT...
put, reput LOCAL REMOTE        get, reget REMOTE LOCAL        mv FROM TO        rm PATH        ls DIRECTORY
put-times LOCAL REMOTE         get-times REMOTE LOCAL         with FileZilla's "preserve timestamps"
put-tree LOCAL REMOTE          get-tree REMOTE LOCAL          FileZilla's queue: directories made, files one by one

TEST_HOST, TEST_PORT, TEST_USER; TEST_TOKEN; TEST_KEY (PPK); TEST_WRONG: answered to the first question for a password, as by
a person whom FileZilla asks. What it reports as an error is said on stderr, exit code 1."""

import mmap
import os
import stat
import subprocess
import sys

REPLY, DONE, ERROR, VERBOSE, INFO, STATUS = range(6)
LISTENTRY, HOSTKEY, HOSTKEY_CHANGED, HOSTKEY_BETTER, PASSWORD = range(8, 13)
QUOTA_RECEIVE, QUOTA_SEND = 16, 17
IO_SIZE, IO_OPEN, IO_NEXT, IO_FINALIZE = range(26, 30)
LINES = {QUOTA_RECEIVE: 0, QUOTA_SEND: 0, IO_SIZE: 0, HOSTKEY: 2, HOSTKEY_CHANGED: 2, HOSTKEY_BETTER: 2, LISTENTRY: 3}
BUFFER = 1 << 18
AT_THE_END = (1 << 64) - 1


def quoted(path: bytes) -> bytes:
    return b'"' + path.replace(b'"', b'""') + b'"'


class Failed(Exception):
    pass


class Engine:
    def __init__(self) -> None:
        shared = os.memfd_create("fzsftp")
        os.ftruncate(shared, BUFFER)
        self.shared, self.memory = shared, mmap.mmap(shared, BUFFER)
        self.child = subprocess.Popen(
            ["fzsftp", "-v"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[shared])
        self.listing: list[tuple[bytes, int, bytes]] = []
        self.passwords = [word for word in (os.environ.get("TEST_WRONG"), os.environ.get("TEST_TOKEN")) if word]
        self.finished()

    def say(self, line: bytes) -> None:
        self.child.stdin.write(line + b"\n")
        self.child.stdin.flush()

    def finished(self, local=None, upload: bool = False) -> bytes:
        """Answers what is asked until the command has ended, and gives what it replied."""
        errors: list[str] = []
        while kind := self.child.stdout.read(1):
            kind = kind[0] - ord("0")
            lines = [self.child.stdout.readline().rstrip(b"\r\n") for _ in range(LINES.get(kind, 1))]
            if kind == REPLY:
                return lines[0]
            if kind == DONE:
                if lines[0] == b"1":
                    return b""
                break
            if kind == ERROR:
                errors.append(lines[0].decode(errors="replace"))
            elif kind == LISTENTRY:
                self.listing.append((lines[2], int(lines[1]), lines[0]))
            elif kind in (HOSTKEY, HOSTKEY_CHANGED):
                self.say(b"n")
            elif kind == PASSWORD:
                if not self.passwords:
                    # FileZilla gives up here when it has been told the password beforehand.
                    errors.append("Authentication failed.")
                    break
                self.say(self.passwords.pop(0).encode())
            elif kind in (QUOTA_RECEIVE, QUOTA_SEND):
                self.say(b"-%d-" % (kind - QUOTA_RECEIVE))
            elif kind == IO_OPEN:
                offset = int(lines[0])
                if offset == AT_THE_END:
                    offset = local.seek(0, os.SEEK_END)
                else:
                    local.seek(offset)
                self.say(b"-%d %d %d" % (self.shared, BUFFER, offset))
            elif kind == IO_SIZE:
                self.say(b"-%d" % os.fstat(local.fileno()).st_size)
            elif kind == IO_NEXT and upload:
                read = local.readinto(self.memory)
                self.say(b"-0 %d" % read if read else b"-")
            elif kind == IO_NEXT:
                local.write(self.memory[: int(lines[0])])
                self.say(b"-0 %d" % BUFFER)
            elif kind == IO_FINALIZE:
                local.write(self.memory[: int(lines[0])])
                local.flush()
                self.say(b"-1")
        raise Failed("\n".join(errors) or "fzsftp ended without a word")

    def command(self, *words: bytes, **transfer) -> bytes:
        self.say(b" ".join([words[0], *(quoted(word) for word in words[1:])]))
        return self.finished(**transfer)

    def open(self) -> None:
        if key := os.environ.get("TEST_KEY"):
            self.command(b"keyfile", os.fsencode(key))
        who = f"{os.environ['TEST_USER']}@{os.environ['TEST_HOST']}"
        self.say(f'open "{who}" {os.environ["TEST_PORT"]}'.encode())
        self.finished()

    def end(self) -> None:
        try:
            self.child.stdin.close()
            self.child.wait(20)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.child.kill()

    def put(self, local: bytes, remote: bytes, verb: bytes = b"put") -> None:
        with open(local, "rb") as file:
            self.command(verb, local, remote, local=file, upload=True)

    def get(self, remote: bytes, local: bytes, verb: bytes = b"get") -> None:
        with open(local, "r+b" if verb == b"reget" else "wb", buffering=0) as file:
            self.command(verb, remote, local, local=file)

    def list(self, directory: bytes) -> list[tuple[bytes, int, bytes]]:
        self.command(b"cd", directory)
        self.listing = []
        self.command(b"ls")
        return [item for item in self.listing if item[0] not in (b".", b"..")]

    def put_times(self, local: bytes, remote: bytes) -> None:
        self.put(local, remote)
        self.command(b"chmtime", b"%d" % os.stat(local).st_mtime, remote)

    def get_times(self, remote: bytes, local: bytes) -> None:
        when = int(self.command(b"mtime", remote))
        self.get(remote, local)
        os.utime(local, (when, when))

    def put_tree(self, local: bytes, remote: bytes) -> None:
        self.command(b"mkdir", remote)
        for item in sorted(os.listdir(local)):
            source, target = os.path.join(local, item), remote + b"/" + item
            if stat.S_ISDIR(os.stat(source).st_mode):
                self.put_tree(source, target)
            else:
                self.put(source, target)

    def get_tree(self, remote: bytes, local: bytes) -> None:
        for name, _, line in self.list(remote):
            source, target = remote + b"/" + name, os.path.join(local, name)
            if line.startswith(b"d"):
                os.mkdir(target)
                self.get_tree(source, target)
            else:
                self.get(source, target)

    def show(self, directory: bytes) -> None:
        for name, when, line in self.list(directory):
            sys.stdout.buffer.write(b"%s | %d | %s\n" % (name, when, line))


def far(path: str) -> bytes:
    """FileZilla names everything from the root on."""
    return b"/" + os.fsencode(path)


near = os.fsencode
# Which of the arguments are remote.
VERBS = {
    "put": (Engine.put, near, far),
    "reput": (lambda engine, *paths: engine.put(*paths, b"reput"), near, far),
    "get": (Engine.get, far, near),
    "reget": (lambda engine, *paths: engine.get(*paths, b"reget"), far, near),
    "mv": (lambda engine, *paths: engine.command(b"mv", *paths), far, far),
    "rm": (lambda engine, path: engine.command(b"rm", path), far),
    "ls": (Engine.show, far),
    "put-times": (Engine.put_times, near, far),
    "get-times": (Engine.get_times, far, near),
    "put-tree": (Engine.put_tree, near, far),
    "get-tree": (Engine.get_tree, far, near),
}

verb, *sides = VERBS[sys.argv[1]]
engine = Engine()
try:
    engine.open()
    verb(engine, *(side(word) for side, word in zip(sides, sys.argv[2:], strict=True)))
except (Failed, BrokenPipeError) as failed:
    sys.exit(str(failed))
finally:
    engine.end()
