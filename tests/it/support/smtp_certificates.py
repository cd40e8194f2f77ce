#!/usr/bin/env python3
"""Makes certificates for a mail server at localhost: smtp_certificates.py DIRECTORY.

ca.pem       the authority that the client is to trust
right        a certificate by it for localhost and 127.0.0.1
other-name   one by it for mail.other.example
expired      one by it that was valid until yesterday
early        one by it that is valid from tomorrow on
stranger     one for localhost by an authority that nobody knows
Each certificate lies in NAME.pem, its key in NAME.key.
"""

import datetime
import ipaddress
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

directory = Path(sys.argv[1])
now = datetime.datetime.now(datetime.timezone.utc)
day = datetime.timedelta(days=1)


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def authority(text: str):
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(named(text), named(text), key.public_key(), x509.random_serial_number(),
                                      now - 30 * day, now + 30 * day)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return key, builder.sign(key, hashes.SHA256())


def certificate(file: str, by, names: list, begin: datetime.datetime, end: datetime.datetime) -> None:
    authority_key, authority_certificate = by
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(authority_certificate.subject, named(file), key.public_key(),
                                      x509.random_serial_number(), begin, end)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    signed = builder.sign(authority_key, hashes.SHA256())
    (directory / f"{file}.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (directory / f"{file}.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


known, unknown = authority("A known authority"), authority("A strange authority")
(directory / "ca.pem").write_bytes(known[1].public_bytes(serialization.Encoding.PEM))
here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
certificate("right", known, here, now - day, now + day)
certificate("other-name", known, [x509.DNSName("mail.other.example")], now - day, now + day)
certificate("expired", known, here, now - 9 * day, now - day)
certificate("early", known, here, now + day, now + 9 * day)
certificate("stranger", unknown, here, now - day, now + day)
