#!/usr/bin/env python3
"""Reads a sealed tacdrop artifact, written from docs/format.md alone: a second opinion on the format.

As a program:  read_artifact.py GOLDEN_JSON -o OUT
               read_artifact.py --data DIR --ticket REF --path PATH -o OUT      (a data directory, only read)
As a module:   see read_version(); every function takes bytes, ids are 16 bytes, nothing here knows where anything lies.

Needs Python 3.11 and the package `cryptography` (used for AES-256-GCM only). Whatever is not exactly as docs/format.md
says raises FormatError; OUT is only made once everything, the SHA-256 too, is verified.
"""

import argparse
import hashlib
import hmac
import json
import os
import re
import sqlite3
import struct
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONE = bytes(16)
SEGMENT = 65_536
OVERHEAD = 32
SEALED_SEGMENT = SEGMENT + OVERHEAD
FLOE_HEADER = 74
EXTENT_HEADER = 64
EXTENT_HEAD = EXTENT_HEADER + FLOE_HEADER
MAX_SEGMENTS = 1 << 40
MAX_EXTENT = (MAX_SEGMENTS - 1) * SEGMENT
MANIFEST_HEADER = 72
MAX_SLICES = 65_536
CANARIES = (
    b"tacdrop: this is the right KEK\r\n",
    b"tacdrop: right KEK, rows prove\r\n",
    b"tacdrop: right KEK, desk prove\r\n",
    b"tacdrop: KEK, proofs, resealed\r\n",
)
PLACES = {1: "store", 2: "records"}
ORIGINS = {1: "streamed", 2: "resumed", 3: "re-read"}


class FormatError(Exception):
    """Something is not what was sealed, or not as docs/format.md says."""


def need(condition: bool, what: str) -> None:
    if not condition:
        raise FormatError(what)


# ---- Keys and small sealed things -----------------------------------------------------------------------------------


def subkey(key: bytes, label: str) -> bytes:
    """HKDF-Expand-SHA-256, one block."""
    need(len(key) == 32, "a key has 32 bytes")
    return hmac.digest(key, b"tacdrop/1 " + label.encode("ascii") + b"\x01", "sha256")


def gcm_open(key: bytes, aad: bytes, sealed: bytes, what: str) -> bytes:
    """Opens nonce (12), ciphertext, tag (16)."""
    need(len(sealed) >= 28, f"{what}: too short")
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], aad)
    except InvalidTag:
        raise FormatError(f"{what}: changed, moved from elsewhere or of another key") from None


def open_small(
    key: bytes, label: str, sealed: bytes, *, generation: int = 0, parent: bytes = NONE, owner: bytes = NONE,
    tail: bytes = b"",
) -> bytes:
    """Opens one of the small sealed things: the derived key and the associated data both say what it is."""
    need(len(parent) == 16 and len(owner) == 16, "an id has 16 bytes")
    aad = label.encode("ascii").ljust(16, b"\0") + struct.pack(">I", generation) + parent + owner + tail
    return gcm_open(subkey(key, label), aad, sealed, label)


def unwrap_key(key: bytes, label: str, wrapped: bytes, **bond) -> bytes:
    need(len(wrapped) == 60, f"{label}: a wrapped key has 60 bytes")
    return open_small(key, label, wrapped, **bond)


def check_canary(kek: bytes, generation: int, canary: bytes) -> bool:
    """Whether the house proves its rows."""
    text = open_small(kek, "canary", canary, generation=generation)
    need(text in CANARIES, "canary: another text")
    return text != CANARIES[0]


def unwrap_share_key(kek: bytes, generation: int, share: bytes, own: int | None, wrapped: bytes) -> bytes:
    """`own` is the key's own generation, which houses bind that prove their rows."""
    tail = b"" if own is None else struct.pack(">I", own)
    return unwrap_key(kek, "share key", wrapped, generation=generation, owner=share, tail=tail)


def unwrap_file_key(share_key: bytes, generation: int, share: bytes, version: bytes, wrapped: bytes) -> bytes:
    return unwrap_key(share_key, "file key", wrapped, generation=generation, parent=share, owner=version)


def unwrap_extent_key(file_key: bytes, version: bytes, extent: bytes, wrapped: bytes) -> bytes:
    return unwrap_key(file_key, "extent key", wrapped, parent=version, owner=extent)


def unwrap_secret(kek: bytes, generation: int, purpose: str, wrapped: bytes) -> bytes:
    return open_small(kek, "secret", wrapped, generation=generation, tail=purpose.encode())


def open_state(file_key: bytes, version: bytes, hashed: int, sealed: bytes) -> bytes:
    return open_small(file_key, "digest state", sealed, owner=version, tail=struct.pack(">Q", hashed))


def open_name(share_key: bytes, share: bytes, entry: bytes, sealed: bytes) -> bytes:
    name = open_small(share_key, "name", sealed, parent=share, owner=entry)
    need(0 < len(name) <= 255 and b"/" not in name and b"\0" not in name and name not in (b".", b".."), "no name")
    return name


def open_text(share_key: bytes, share: bytes, owner: bytes, purpose: str, sealed: bytes) -> str:
    return open_small(share_key, "text", sealed, parent=share, owner=owner, tail=purpose.encode()).decode("utf-8")


def name_index(share_key: bytes, directory: bytes, name: bytes) -> bytes:
    try:
        folded = unicodedata.normalize("NFC", name.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        folded = name
    return hmac.digest(subkey(share_key, "name index"), directory + folded, "sha256")


def token_hash(token_key: bytes, user: str, token: str) -> bytes:
    text = struct.pack(">Q", len(user.encode())) + user.encode() + token.encode()
    return hmac.digest(subkey(token_key, "token"), text, "sha256")


# ---- FLOE -----------------------------------------------------------------------------------------------------------


class Floe:
    """Opens the segments of one FLOE message (c2sp.org/FLOE, AES-256-GCM, HKDF-Expand-SHA-384)."""

    def __init__(self, key: bytes, associated_data: bytes, header: bytes, segment: int, rotation: int = 20):
        self.segment = segment
        self.rotation = rotation
        self.associated_data = associated_data
        parameters = struct.pack(">BBII", 0, 0, segment, 32)
        need(len(header) == FLOE_HEADER and header[:10] == parameters, "FLOE header: other parameters")
        self.context = header[:42]
        tag = self._kdf(key, b"HEADER_TAG:")[:32]
        need(hmac.compare_digest(tag, header[42:]), "FLOE header: another key or other associated data")
        self.message_key = self._kdf(key, b"MESSAGE_KEY:")
        self.ciphers: dict[int, AESGCM] = {}

    def _kdf(self, key: bytes, purpose: bytes) -> bytes:
        """HKDF-Expand-SHA-384, one block of 48 bytes; shorter outputs are its beginning."""
        return hmac.digest(key, self.context + purpose + self.associated_data + b"\x01", "sha384")

    def open(self, position: int, last: bool, segment: bytes) -> bytes:
        need(0 <= position < MAX_SEGMENTS, "FLOE segment: beyond the last possible one")
        if last:
            need(OVERHEAD <= len(segment) <= self.segment, "FLOE segment: length")
            field = len(segment)
        else:
            need(len(segment) == self.segment, "FLOE segment: length")
            field = 0xFFFF_FFFF
        # Not covered by the AEAD, so it must be compared.
        need(segment[:4] == struct.pack(">I", field), "FLOE segment: length field")
        epoch = position >> self.rotation << self.rotation
        if epoch not in self.ciphers:
            self.ciphers = {epoch: AESGCM(self._kdf(self.message_key, b"DEK:" + struct.pack(">Q", epoch))[:32])}
        try:
            return self.ciphers[epoch].decrypt(segment[4:16], segment[16:], struct.pack(">QB", position, last))
        except InvalidTag:
            raise FormatError(f"FLOE segment {position}: not what was sealed there") from None


# ---- Extents --------------------------------------------------------------------------------------------------------


def sealed_length(plaintext: int) -> int:
    return EXTENT_HEAD + plaintext // SEGMENT * SEALED_SEGMENT + OVERHEAD + plaintext % SEGMENT


class Extent:
    """One extent's object, its head checked; segments are opened when they are read."""

    def __init__(self, object_bytes: bytes, key: bytes, share: bytes, artifact: bytes, entry: "ExtentEntry"):
        need(entry.length <= MAX_EXTENT, "extent: longer than possible")
        need(len(object_bytes) == sealed_length(entry.length), "extent: the object has another length")
        header = b"TDX1" + bytes([1, 1, 16, 0]) + share + artifact + entry.extent + bytes(8)
        need(object_bytes[:EXTENT_HEADER] == header, "extent: another header")
        floe_header = object_bytes[EXTENT_HEADER:EXTENT_HEAD]
        need(hmac.compare_digest(floe_header[-32:], entry.header_tag), "extent: not the one of the manifest")
        self.floe = Floe(key, header, floe_header, SEALED_SEGMENT)
        self.object = object_bytes
        self.length = entry.length
        self.opened: tuple[int, bytes] = (-1, b"")

    def _segment(self, position: int) -> bytes:
        if self.opened[0] != position:
            last = position == self.length // SEGMENT
            start = EXTENT_HEAD + position * SEALED_SEGMENT
            end = len(self.object) if last else start + SEALED_SEGMENT
            self.opened = (position, self.floe.open(position, last, self.object[start:end]))
        return self.opened[1]

    def read(self, within: int, length: int) -> Iterator[bytes]:
        end = within + length
        need(end <= self.length, "extent: read behind its end")
        while within < end:
            position, start = divmod(within, SEGMENT)
            part = self._segment(position)[start : start + end - within]
            yield part
            within += len(part)


# ---- Manifests ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExtentEntry:
    extent: bytes
    length: int
    header_tag: bytes
    wrapped_key: bytes
    place: str


@dataclass(frozen=True)
class Slice:
    offset: int
    length: int
    extent: int  # place in Manifest.extents
    within: int


@dataclass(frozen=True)
class Manifest:
    number: int
    hashed: str
    sealed_at: int  # milliseconds since 1970-01-01T00:00:00 UTC
    length: int
    sha256: bytes
    extents: list[ExtentEntry]
    slices: list[Slice]
    sender: str | None = None  # what follows is not said by container version 1
    transport: str | None = None
    zeros: int | None = None


TRANSPORTS = {1: "modern", 2: "legacy"}
LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def open_manifest(
    object_bytes: bytes, file_key: bytes, share: bytes, artifact: bytes, version: bytes, manifest: bytes, row_hash: bytes
) -> Manifest:
    """`manifest` is the id of the manifest's object, `row_hash` the SHA-256 that the version's row has."""
    need(hmac.compare_digest(hashlib.sha256(object_bytes).digest(), row_hash), "manifest: not the one of the row")
    container = object_bytes[4]
    need(container in (1, 2), "manifest: container version")
    header = b"TDM1" + bytes([container, 1, 0, 0]) + share + artifact + version + manifest
    need(object_bytes[:MANIFEST_HEADER] == header, "manifest: another header")
    body = gcm_open(subkey(file_key, "manifest"), header, object_bytes[MANIFEST_HEADER:], "manifest")

    need(len(body) >= 64, "manifest: too short")
    number, origin, sealed_at, length, sha256, extent_count, slice_count = struct.unpack_from(">IB3xqQ32sII", body)
    transport, login_length, padding = body[5:8]
    need(padding == 0, "manifest: padding")
    if container == 1:
        need(transport == 0 and login_length == 0, "manifest: padding")
        begin, sender, zeros = 64, None, None
    else:
        begin = 72 + login_length
        need(len(body) >= begin and transport in TRANSPORTS, "manifest: transport or login")
        (zeros,) = struct.unpack_from(">Q", body, 64)
        sender = body[72:begin].decode("ascii", "strict")
        need(LOGIN.fullmatch(sender) is not None and zeros <= length, "manifest: login or zeros")
    need(number >= 1 and origin in ORIGINS, "manifest: number or origin of the hash")
    need(extent_count <= slice_count <= MAX_SLICES, "manifest: counts")
    need(len(body) == begin + 120 * extent_count + 28 * slice_count, "manifest: length")
    extents = []
    for at in range(begin, begin + 120 * extent_count, 120):
        extent, size, tag, key, place = struct.unpack_from(">16sQ32s60sB3x", body, at)
        need(place in PLACES and body[at + 117 : at + 120] == bytes(3), "manifest: place of an extent or padding")
        need(size <= MAX_EXTENT, "manifest: length of an extent")
        extents.append(ExtentEntry(extent, size, tag, key, PLACES[place]))
    need(len({entry.extent for entry in extents}) == extent_count, "manifest: an extent twice")
    slices, end = [], 0
    for at in range(begin + 120 * extent_count, len(body), 28):
        piece = Slice(*struct.unpack_from(">QQIQ", body, at))
        need(piece.offset == end and piece.length > 0, "manifest: gap, overlap or empty slice")
        need(piece.extent < extent_count, "manifest: a slice of no extent")
        need(piece.within + piece.length <= extents[piece.extent].length, "manifest: a slice behind its extent")
        end += piece.length
        slices.append(piece)
    need(end == length < 1 << 64, "manifest: the map does not make up the length")
    need({piece.extent for piece in slices} == set(range(extent_count)), "manifest: an extent that nothing uses")
    return Manifest(
        number, ORIGINS[origin], sealed_at, length, sha256, extents, slices, sender, TRANSPORTS.get(transport), zeros)


def read_version(
    manifest: Manifest, file_key: bytes, share: bytes, artifact: bytes, version: bytes,
    fetch: Callable[[bytes, str], bytes],
) -> Iterator[bytes]:
    """The version's bytes, piece by piece, each authenticated; raises at the end if the SHA-256 is another.

    fetch(extent id, "store" or "records") gives an extent's whole object.
    """
    digest = hashlib.sha256()
    held: dict[int, Extent] = {}
    for piece in manifest.slices:
        if piece.extent not in held:
            while len(held) >= 2:
                del held[next(iter(held))]
            entry = manifest.extents[piece.extent]
            key = unwrap_extent_key(file_key, version, entry.extent, entry.wrapped_key)
            held[piece.extent] = Extent(fetch(entry.extent, entry.place), key, share, artifact, entry)
        for part in held[piece.extent].read(piece.within, piece.length):
            digest.update(part)
            yield part
    need(hmac.compare_digest(digest.digest(), manifest.sha256), "version: the SHA-256 is another")


def write_verified(parts: Iterator[bytes], out: Path) -> str:
    """Writes `out` only if everything verifies; gives its SHA-256."""
    digest = hashlib.sha256()
    handle, temporary = tempfile.mkstemp(dir=out.parent, prefix=".read_artifact-")
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                digest.update(part)
                file.write(part)
        os.replace(temporary, out)
    except BaseException:
        os.unlink(temporary)
        raise
    return digest.hexdigest()


# ---- The golden artifact --------------------------------------------------------------------------------------------


def read_golden(description: Path, out: Path) -> dict:
    golden = json.loads(description.read_text(encoding="utf-8"))
    expected = golden["expected"]

    def raw(key: str) -> bytes:
        return bytes.fromhex(golden[key])

    kek, share, artifact, version = raw("kek"), raw("share"), raw("artifact"), raw("version")
    generation = golden["kek_generation"]

    proves = check_canary(kek, generation, raw("canary"))
    own = golden["share_key_generation"] if proves else None
    share_key = unwrap_share_key(kek, generation, share, own, raw("wrapped_share_key"))
    name = open_name(share_key, share, artifact, raw("sealed_name"))
    need(name == expected["name"].encode(), "golden: name")
    root = share  # the root directory has its share's id
    need(name_index(share_key, root, name) == raw("name_index"), "golden: name index")
    decomposed = unicodedata.normalize("NFD", name.decode()).encode()
    need(name_index(share_key, root, decomposed) == raw("name_index"), "golden: name index of the NFD form")
    need(open_text(share_key, share, share, "title", raw("sealed_title")) == expected["title"], "golden: title")
    token_key = unwrap_secret(kek, generation, "token", raw("wrapped_token_key"))
    need(token_hash(token_key, golden["token_user"], expected["token"]) == raw("token_hash"), "golden: token")

    wrapped = raw("wrapped_file_key")
    file_key = unwrap_file_key(share_key, golden["share_key_generation"], share, version, wrapped)
    state = open_state(file_key, version, 67, raw("sealed_state"))
    need(len(state) == 120 and state[:16] == b"0.11\0\0\0\0" + struct.pack(">Q", 67), "golden: SHA-256 state")

    sealed = (description.parent / golden["manifest_file"]).read_bytes()
    manifest = open_manifest(sealed, file_key, share, artifact, version, raw("manifest"), raw("manifest_hash"))
    need(manifest.number == golden["version_number"], "golden: version number")
    for key in ("length", "sealed_at", "hashed", "sender", "transport", "zeros"):
        need(getattr(manifest, key) == expected.get(key), f"golden: {key}")

    def fetch(extent: bytes, _place: str) -> bytes:
        return (description.parent / golden["extents"][extent.hex()]).read_bytes()

    sha256 = write_verified(read_version(manifest, file_key, share, artifact, version, fetch), out)
    need(sha256 == expected["sha256"], "golden: SHA-256")
    return {"name": name.decode(), "length": manifest.length, "sha256": sha256, "version": manifest.number}


# ---- A data directory ------------------------------------------------------------------------------------------------


def open_database(path: Path) -> sqlite3.Connection:
    need(path.is_file(), f"{path} is missing")
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)
    database.row_factory = sqlite3.Row
    return database


def row_of(database: sqlite3.Connection, what: str, statement: str, *parameters) -> sqlite3.Row:
    row = database.execute(statement, parameters).fetchone()
    need(row is not None, f"{what}: not there")
    return row


def read_data(data: Path, ticket: str, path: str, out: Path) -> dict:
    """The current version of PATH in a ticket's share, from keys/kek, keyring.sqlite, records.sqlite and objects/."""
    keyring, records = open_database(data / "keyring.sqlite"), open_database(data / "records.sqlite")
    kek = bytes.fromhex((data / "keys" / "kek").read_text(encoding="ascii").strip())
    share = row_of(records, "ticket", "SELECT share_id FROM ticket WHERE reference = ?", ticket)["share_id"]

    newest = row_of(keyring, "KEK", "SELECT generation, canary FROM kek ORDER BY generation DESC LIMIT 1")
    proves = check_canary(kek, newest["generation"], newest["canary"])

    share_keys = {}
    for row in keyring.execute("SELECT * FROM share_key WHERE share_id = ?", (share,)):
        own = row["generation"] if proves else None
        share_keys[row["generation"]] = unwrap_share_key(kek, row["kek_generation"], share, own, row["wrapped"])
    need(bool(share_keys), "share key: not there")
    share_key = share_keys[max(share_keys)]

    entry = {"id": share, "kind": "directory"}  # the root directory has its share's id
    for name in path.strip("/").encode().split(b"/"):
        need(entry["kind"] == "directory", "path: a file in the middle")
        entry = row_of(
            records, "path",
            "SELECT * FROM entry WHERE parent_id = ? AND name_index = ? AND replaced_at IS NULL AND withdrawn_at IS NULL",
            entry["id"], name_index(share_key, entry["id"], name))
        sealed = open_name(share_key, share, entry["id"], entry["name"])
        need(unicodedata.normalize("NFC", sealed.decode()) == unicodedata.normalize("NFC", name.decode()), "path: name")
    need(entry["kind"] == "file", "path: a directory")
    version = row_of(records, "version", "SELECT * FROM version WHERE id = ?", entry["current_version"])
    need(version["state"] == "available", f"version: {version['state']}")
    small = None  # data directories of before there were small files do not have the column
    if "small_file" in version.keys() and version["small_file"] is not None:
        small = row_of(records, "small file", "SELECT * FROM small_file WHERE seq = ?", version["small_file"])

    def fetch(identity: bytes, place: str) -> bytes:
        if place == "records" and small:
            need(identity == small["extent_id"], "small file: another extent")
            return small["extent_bytes"]
        if place == "records":
            return row_of(records, "object", "SELECT bytes FROM object WHERE id = ?", identity)["bytes"]
        name = identity.hex()
        file = data / "objects" / name[:2] / name
        need(file.is_file(), "object: not there")
        return file.read_bytes()

    identity = version["id"]
    wrapped = version["file_key"]
    need(wrapped is not None, "version: shredded")
    file_key = unwrap_file_key(share_keys[version["key_generation"]], version["key_generation"], share, identity, wrapped)
    in_records = records.execute("SELECT 1 FROM object WHERE id = ?", (version["manifest_id"],)).fetchone()
    sealed = small["manifest_bytes"] if small else fetch(version["manifest_id"], "records" if in_records else "store")
    # The row keeps the id of the artifact that it was sealed for.
    artifact = version["entry_id"]
    manifest = open_manifest(
        sealed, file_key, share, artifact, identity, version["manifest_id"], version["manifest_hash"])
    need(manifest.number == version["number"], "manifest: another number than the row's")
    need(manifest.length == version["length"] and manifest.sha256 == version["sha256"], "manifest: not as the row says")
    sha256 = write_verified(read_version(manifest, file_key, share, artifact, identity, fetch), out)
    return {"path": path, "length": manifest.length, "sha256": sha256, "version": manifest.number}


def main() -> int:
    parser = argparse.ArgumentParser(description="Reads a sealed tacdrop artifact as docs/format.md describes it.")
    parser.add_argument("golden", type=Path, nargs="?", help="golden.json, with its objects beside it")
    parser.add_argument("--data", type=Path, help="a data directory instead; it is only read")
    parser.add_argument("--ticket", help="with --data: the ticket's reference")
    parser.add_argument("--path", help="with --data: where the artifact lies in the share")
    parser.add_argument("-o", "--out", type=Path, required=True, help="where the content goes")
    arguments = parser.parse_args()
    live = [arguments.data, arguments.ticket, arguments.path]
    if (arguments.golden is None) == (None in live) or (arguments.golden and any(live)):
        parser.error("give either golden.json, or --data, --ticket and --path")
    try:
        if arguments.golden:
            said = read_golden(arguments.golden, arguments.out)
        else:
            said = read_data(arguments.data, arguments.ticket, arguments.path, arguments.out)
        print(json.dumps(said, ensure_ascii=False))
    except FormatError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
