#!/usr/bin/env python3
"""Runs a program on a terminal of its own and types an answer at each prompt for a password: prompted.py ANSWER... -- PROGRAM ARGUMENT...

What it prints goes to stdout, its exit code is ours. A prompt for which there is no answer ends it (exit code 99)."""

import os
import pty
import re
import signal
import sys

PROMPT = re.compile(rb"pass(word|phrase)[^\n]*: ?$", re.IGNORECASE)


def main() -> int:
    split = sys.argv.index("--")
    answers, command = sys.argv[1:split], sys.argv[split + 1 :]
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)
    line = b""
    while True:
        try:
            read = os.read(terminal, 65536)
        except OSError:
            read = b""
        if not read:
            break
        sys.stdout.buffer.write(read)
        sys.stdout.buffer.flush()
        line = (line + read)[-1000:]
        if PROMPT.search(line):
            line = b""
            if not answers:
                os.kill(child, signal.SIGTERM)
                os.waitpid(child, 0)
                return 99
            os.write(terminal, answers.pop(0).encode() + b"\n")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
