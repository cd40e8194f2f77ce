#!/usr/bin/env python3
"""check-file as paramiko asks for it, and as the draft has it and WinSCP reads it.

    digests.py extensions                                     what VERSION offers
    digests.py paramiko PATH ALGORITHM [OFFSET LENGTH BLOCK]  what SFTPFile.check says, in hexadecimal digits
    digests.py name PATH ALGORITHMS                           check-file-name: the algorithm of the reply, and the digest
    digests.py handle PATH ALGORITHMS                         check-file-handle: the same
    digests.py writing PATH ALGORITHM                         through a handle that is open for writing

A refusal ends it with exit code 3 and the server's sentence."""

import os
import sys

import paramiko
from paramiko.sftp import CMD_EXTENDED, int64

told = {}


class Client(paramiko.SFTPClient):
    def _send_version(self):
        hello = paramiko.Message()
        hello.add_int(3)
        self._send_packet(1, hello)
        kind, data = self._read_packet()
        assert kind == 2, kind
        message = paramiko.Message(data)
        assert message.get_int() == 3
        while message.get_remainder():
            name = message.get_text()
            told[name] = message.get_text()
        return 3


transport = paramiko.Transport((os.environ["TEST_HOST"], int(os.environ["TEST_PORT"])))
transport.connect(username=os.environ["TEST_USER"], password=os.environ["TEST_TOKEN"])
sftp = Client.from_transport(transport)
what, args = sys.argv[1], sys.argv[2:]


def draft(extension, of, algorithms):
    _, message = sftp._request(CMD_EXTENDED, extension, of, algorithms, int64(0), int64(0), 0)
    return message.get_text() + " " + message.get_remainder().hex()


try:
    if what == "extensions":
        print("\n".join(f"{name} {value}" for name, value in sorted(told.items())))
    elif what == "paramiko":
        with sftp.open(args[0]) as file:
            print(file.check(args[1], *map(int, args[2:])).hex())
    elif what == "name":
        print(draft("check-file-name", args[0], args[1]))
    elif what == "handle":
        with sftp.open(args[0]) as file:
            print(draft("check-file-handle", file.handle, args[1]))
    elif what == "writing":
        with sftp.open(args[0], "w") as file:
            file.write(b"half")
            print(file.check(args[1]).hex())
except OSError as error:
    print(f"{error}", file=sys.stderr)
    sys.exit(3)
finally:
    transport.close()
