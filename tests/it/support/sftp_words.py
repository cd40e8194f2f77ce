#!/usr/bin/env python3
"""An SFTP client that shows the server's own words: OpenSSH's shows its own. sftp_words.py get|put|stat PATH

Host, port, user and token are in TEST_HOST, TEST_PORT, TEST_USER, TEST_TOKEN."""

import os
import sys

import paramiko

verb, path = sys.argv[1:3]
transport = paramiko.Transport((os.environ["TEST_HOST"], int(os.environ["TEST_PORT"])))
transport.connect(username=os.environ["TEST_USER"], password=os.environ["TEST_TOKEN"])
sftp = paramiko.SFTPClient.from_transport(transport)
try:
    if verb == "get":
        with sftp.open(path) as file:
            while file.read(1 << 20):
                pass
    elif verb == "put":
        with sftp.open(path, "w") as file:
            file.write(b"words")
    elif verb == "stat":
        sftp.stat(path)
    else:
        sys.exit(f"no such verb: {verb}")
except OSError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
finally:
    transport.close()
