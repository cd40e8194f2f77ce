#!/usr/bin/env python3
"""Puts a file and gets it back with paramiko, whose get asks for the whole file at once: SOURCE REMOTE BACK"""

import os
import sys

import paramiko

source, remote, back = sys.argv[1:4]
transport = paramiko.Transport((os.environ["TEST_HOST"], int(os.environ["TEST_PORT"])))
transport.connect(username=os.environ["TEST_USER"], password=os.environ["TEST_TOKEN"])
sftp = paramiko.SFTPClient.from_transport(transport)
put = sftp.put(source, remote, confirm=True)
size = os.stat(source).st_size
assert put.st_size == size, f"after the put STAT says {put.st_size} of {size}"
sftp.get(remote, back, prefetch=True)
assert remote in sftp.listdir(), sftp.listdir()
transport.close()
