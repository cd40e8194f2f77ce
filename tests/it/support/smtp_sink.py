#!/usr/bin/env python3
"""A mail server that keeps each mail as NUMBER.eml: smtp_sink.py PORT DIRECTORY. Says "sink listens" when it does.

While DIRECTORY/hold exists, mails are kept, but the answer that says so waits until it is gone."""

import asyncio
import itertools
import signal
import sys
from pathlib import Path

from aiosmtpd.controller import Controller


class Keeper:
    def __init__(self, directory: Path):
        self.directory = directory
        self.numbers = itertools.count(len(list(directory.glob("*.eml"))))

    async def handle_DATA(self, _server, _session, envelope):
        number = next(self.numbers)
        envelope_line = f"X-Envelope: {envelope.mail_from} {' '.join(envelope.rcpt_tos)}\r\n".encode()
        unfinished = self.directory / f"{number:06}.new"
        unfinished.write_bytes(envelope_line + envelope.original_content)
        unfinished.rename(self.directory / f"{number:06}.eml")
        while (self.directory / "hold").exists():
            await asyncio.sleep(0.05)
        return "250 kept"


port, directory = int(sys.argv[1]), Path(sys.argv[2])
controller = Controller(Keeper(directory), hostname="127.0.0.1", port=port)
controller.start()
print("sink listens", file=sys.stderr, flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
controller.stop()
