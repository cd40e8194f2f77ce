#!/usr/bin/env python3
"""SFTP packet by packet over OpenSSH's ssh: what other clients hide, bytes of names and the server's own words, is seen here.

raw_sftp.py fill COUNT            makes COUNT files of a few bytes, FORMAT % 0 and so on (default 'show-tech-%06d.txt'), many at once
raw_sftp.py list HEX              lists a directory as it comes: milliseconds to the first names, to the last, count, distinct
raw_sftp.py names HEX             its names and longnames in hexadecimal, a line each
raw_sftp.py ask                   a request in each line of stdin, VERB HEX [HEX]; answers CODE TEXT

The command that reaches the server is in TEST_SSH, one argument a line. HEX is the path's bytes ('-' for none)."""

import os
import struct
import subprocess
import sys
import time

OPEN, CLOSE, READ, WRITE, LSTAT, OPENDIR, READDIR, REMOVE, MKDIR, RMDIR = 3, 4, 5, 6, 7, 11, 12, 13, 14, 15
REALPATH, STAT, RENAME, SETSTAT = 16, 17, 18, 9
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
AT_ONCE = 60

ssh = subprocess.Popen(
    os.environ["TEST_SSH"].split("\n"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1 << 18
)


def string(data):
    return struct.pack(">I", len(data)) + data


def send(kind, number, *fields):
    body = struct.pack(">BI", kind, number) + b"".join(fields)
    ssh.stdin.write(string(body))


def receive():
    """(type, id, rest) of the next reply; what was sent before is on its way then."""
    head = ssh.stdout.read(4)
    if len(head) < 4:
        sys.exit("the server closed the connection")
    body = ssh.stdout.read(struct.unpack(">I", head)[0])
    return body[0], struct.unpack_from(">I", body, 1)[0], body[5:]


def take(data, at):
    length = struct.unpack_from(">I", data, at)[0]
    return data[at + 4 : at + 4 + length], at + 4 + length


def call(kind, *fields):
    send(kind, 7, *fields)
    ssh.stdin.flush()
    kind, number, rest = receive()
    assert number == 7, number
    return kind, rest


def words(kind, rest):
    """A status as (code, text); (0, ...) for every other reply."""
    if kind == STATUS:
        return struct.unpack_from(">I", rest)[0], take(rest, 4)[0].decode()
    return 0, {HANDLE: "handle", NAME: "name", ATTRS: "attributes", DATA: "data"}[kind]


def handle_of(kind, rest):
    if kind != HANDLE:
        sys.exit("refused: %d %s" % words(kind, rest))
    return take(rest, 0)[0]


def path(text):
    return b"" if text == "-" else bytes.fromhex(text)


def fill(count, form="show-tech-%06d.txt"):
    """So many OPENs at once, then so many WRITEs and CLOSEs: the server makes them durable together."""
    for first in range(0, count, AT_ONCE):
        some = range(first, min(count, first + AT_ONCE))
        for number in some:
            send(OPEN, number, string((form % number).encode()), struct.pack(">II", 2 | 8 | 16, 0))
        ssh.stdin.flush()
        for number in some:
            kind, answered, rest = receive()
            assert answered == number, (answered, number)
            handle = handle_of(kind, rest)
            send(WRITE, number, string(handle), struct.pack(">Q", 0), string(b"%d\n" % number))
            send(CLOSE, number, string(handle))
        ssh.stdin.flush()
        for _ in range(2 * len(some)):
            code, text = words(*receive()[::2])
            if code:
                sys.exit(f"refused: {code} {text}")


def pages(directory):
    handle = handle_of(*call(OPENDIR, string(directory)))
    while True:
        kind, rest = call(READDIR, string(handle))
        if kind != NAME:
            code, text = words(kind, rest)
            if code != 1:
                sys.exit(f"refused: {code} {text}")
            call(CLOSE, string(handle))
            return
        names, at = [], 4
        for _ in range(struct.unpack_from(">I", rest)[0]):
            name, at = take(rest, at)
            longname, at = take(rest, at)
            flags = struct.unpack_from(">I", rest, at)[0]
            at += 4 + (8 if flags & 1 else 0) + (8 if flags & 2 else 0) + (4 if flags & 4 else 0) + (8 if flags & 8 else 0)
            names.append((name, longname))
        yield names


send(1, 3)  # INIT: the "id" is the version
ssh.stdin.flush()
assert receive()[:2] == (2, 3)
verb, args = sys.argv[1], sys.argv[2:]
if verb == "fill":
    begun = time.monotonic()
    fill(int(args[0]), *args[1:])
    print(f"{time.monotonic() - begun:.1f}")
elif verb == "list":
    begun = time.monotonic()
    first, count, seen = None, 0, set()
    for names in pages(path(args[0])):
        first = first or time.monotonic() - begun
        count += len(names)
        seen.update(name for name, _ in names)
    total = time.monotonic() - begun
    print(f"{first * 1000:.1f} {total * 1000:.1f} {count} {len(seen)}")
elif verb == "names":
    for names in pages(path(args[0])):
        for name, longname in names:
            print(name.hex(), longname.hex())
elif verb == "ask":
    for line in sys.stdin:
        word, *fields = line.split()
        fields = [string(path(field)) for field in fields]
        no_attributes = struct.pack(">I", 0)
        if word == "put":
            answer = call(OPEN, fields[0], struct.pack(">II", 2 | 8 | 16, 0))
            if answer[0] == HANDLE:
                handle = string(handle_of(*answer))
                answer = call(WRITE, handle, struct.pack(">Q", 0), fields[1])
                answer = call(CLOSE, handle) if words(*answer)[0] == 0 else answer
        elif word == "get":
            answer = call(OPEN, fields[0], struct.pack(">II", 1, 0))
            if answer[0] == HANDLE:
                handle = string(handle_of(*answer))
                kind, rest = call(READ, handle, struct.pack(">QI", 0, 1000))
                call(CLOSE, handle)
                if kind == DATA:
                    print(0, take(rest, 0)[0].hex(), flush=True)
                    continue
                answer = kind, rest
        elif word == "mkdir":
            answer = call(MKDIR, fields[0], no_attributes)
        elif word == "setstat":
            answer = call(SETSTAT, fields[0], struct.pack(">II", 4, 0o600))
        else:
            kinds = {"stat": STAT, "lstat": LSTAT, "opendir": OPENDIR, "remove": REMOVE, "rmdir": RMDIR,
                     "realpath": REALPATH, "rename": RENAME}
            answer = call(kinds[word], *fields)
        print(*words(*answer), flush=True)
else:
    sys.exit(f"no such verb: {verb}")
ssh.stdin.close()
ssh.wait()
