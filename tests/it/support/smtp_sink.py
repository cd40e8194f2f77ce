#!/usr/bin/env python3
"""A mail server that keeps each mail as NUMBER.eml: smtp_sink.py PORT DIRECTORY. Says "sink listens" when it does.

While DIRECTORY/hold exists, mails are kept, but the answer that says so waits until it is gone.
While DIRECTORY/refuse exists, its lines are answers: "COMMAND REPLY" for MAIL, RCPT or DATA (behind the final dot), or
"RCPT ADDRESS REPLY" for one recipient only.
DIRECTORY/heard gets a line for each command and login, in clear or encrypted: "MAIL encrypted".

  --tls CERTIFICATE KEY        encrypted from the first byte
  --starttls CERTIFICATE KEY   encrypted behind STARTTLS, which it insists on
  --login USER PASSWORD        takes mails only behind this login
  --without MECHANISM          does not offer AUTH MECHANISM
"""

import argparse
import asyncio
import itertools
import signal
import ssl
import sys
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("directory", type=Path)
parser.add_argument("--tls", nargs=2)
parser.add_argument("--starttls", nargs=2)
parser.add_argument("--login", nargs=2)
parser.add_argument("--without")
args = parser.parse_args()


def heard(command: str, session) -> None:
    how = "encrypted" if args.tls or session.ssl else "clear"
    with open(args.directory / "heard", "a", encoding="utf-8") as file:
        file.write(f"{command} {how}\n")


def refusal(command: str, address: str = "") -> str | None:
    try:
        lines = (args.directory / "refuse").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    for line in lines:
        word, rest = line.split(" ", 1)
        if word == command and not rest[0].isdigit():
            only, rest = rest.split(" ", 1)
            if only != address:
                continue
        if word == command:
            return rest
    return None


class Keeper:
    def __init__(self, directory: Path):
        self.directory = directory
        self.numbers = itertools.count(len(list(directory.glob("*.eml"))))

    async def handle_MAIL(self, _server, session, envelope, address, options):
        heard("MAIL", session)
        said = refusal("MAIL")
        if said:
            return said
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 ok"

    async def handle_RCPT(self, _server, session, envelope, address, _options):
        heard("RCPT", session)
        said = refusal("RCPT", address)
        if said:
            return said
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, _server, session, envelope):
        heard("DATA", session)
        said = refusal("DATA")
        if said:
            return said
        number = next(self.numbers)
        envelope_line = f"X-Envelope: {envelope.mail_from} {' '.join(envelope.rcpt_tos)}\r\n".encode()
        unfinished = self.directory / f"{number:06}.new"
        unfinished.write_bytes(envelope_line + envelope.original_content)
        unfinished.rename(self.directory / f"{number:06}.eml")
        while (self.directory / "hold").exists():
            await asyncio.sleep(0.05)
        return "250 kept"


def log_in(_server, session, _envelope, mechanism, data) -> AuthResult:
    heard(f"AUTH-{mechanism}", session)
    user, password = args.login
    right = data.login == user.encode() and data.password == password.encode()
    return AuthResult(success=right, handled=right)


def encryption(files) -> ssl.SSLContext | None:
    if not files:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


more = {}
if args.starttls:
    more |= {"tls_context": encryption(args.starttls), "require_starttls": True}
if args.login:
    more |= {"authenticator": log_in, "auth_required": True, "auth_require_tls": bool(args.starttls)}
if args.without:
    more["auth_exclude_mechanism"] = [args.without]
controller = Controller(
    Keeper(args.directory), hostname="127.0.0.1", port=args.port, ssl_context=encryption(args.tls), **more)
# It waits for a line of its own server before it is done; a handshake that is refused later is no fault of its start.
controller.start()
print("sink listens", file=sys.stderr, flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
controller.stop()
