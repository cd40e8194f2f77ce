#!/usr/bin/env python3
"""Does what it is told, step by step, in one session:

put SOURCE REMOTE           as WinSCP does: no append flag, from the beginning
tail SOURCE REMOTE          sends again from the middle of what is there on, without the append flag
holey SOURCE REMOTE A B     leaves out the bytes from A up to B, and sends those behind them first
fill SOURCE REMOTE A B      sends just those
rename FROM TO              SFTP's own RENAME
over FROM TO                posix-rename@openssh.com
remove REMOTE
"""

import os
import sys

import paramiko


def write(remote, content: bytes, mode: str, spans) -> None:
    with remote_file(remote, mode) as file:
        for start, end in spans:
            file.seek(start)
            file.write(content[start:end])


def remote_file(remote: str, mode: str):
    file = sftp.open(remote, mode)
    file.set_pipelined(True)
    return file


transport = paramiko.Transport((os.environ["TEST_HOST"], int(os.environ["TEST_PORT"])))
transport.connect(username=os.environ["TEST_USER"], password=os.environ["TEST_TOKEN"])
sftp = paramiko.SFTPClient.from_transport(transport)
words = iter(sys.argv[1:])
for step in words:
    if step in ("put", "tail", "holey", "fill"):
        with open(next(words), "rb") as source:
            content = source.read()
        remote = next(words)
        if step == "put":
            write(remote, content, "w", [(0, len(content))])
        elif step == "tail":
            half = sftp.stat(remote).st_size // 2
            write(remote, content, "r+", [(half, len(content))])
        else:
            start, end = int(next(words)), int(next(words))
            try:
                if step == "holey":
                    write(remote, content, "w", [(end, len(content)), (0, start)])
                else:
                    write(remote, content, "r+", [(start, end)])
            except OSError as refused:
                print(f"{step}: {refused}")
    elif step == "rename":
        sftp.rename(next(words), next(words))
    elif step == "over":
        sftp.posix_rename(next(words), next(words))
    elif step == "remove":
        sftp.remove(next(words))
    else:
        raise SystemExit(f"{step}?")
transport.close()
