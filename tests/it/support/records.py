#!/usr/bin/env python3
"""Looks into a tacdrop data directory behind the server's back.

records.py audit DATA              checks the chain of the audit trail (I5)
records.py objects DATA            prints the id of each object that lies in the records, one a line, with its length
records.py schema DATA             prints the schema, each table, index, trigger and view as one line
records.py flip DATA ID OFFSET     changes one bit of such an object
records.py overdue DATA            lets the grace of the file that was withdrawn last be over
records.py versions DATA           prints of each version: artifact id, number, state, SHA-256 or -
records.py damage DATA ID           makes the state of an artifact's versions a word that nobody knows
records.py lock DATA               holds the lock for writing until its input ends; says "locked" when it has it
"""

import hashlib
import re
import sqlite3
import struct
import sys
from pathlib import Path


def audit(records: sqlite3.Connection) -> None:
    link, expected = bytes(32), 1
    rows = records.execute(
        "SELECT seq, at, kind, actor, ticket, subject, detail, chain FROM audit_event ORDER BY seq")
    for seq, at, kind, actor, ticket, subject, detail, chain in rows:
        if seq != expected:
            sys.exit(f"audit: event {expected} is missing")
        fields = [struct.pack(">q", seq), struct.pack(">q", at), kind.encode(), actor.encode(), (ticket or "").encode(),
                  subject or b"", detail.encode()]
        digest = hashlib.sha256(link)
        for field in fields:
            digest.update(struct.pack(">Q", len(field)) + field)
        link, expected = digest.digest(), seq + 1
        if link != chain:
            sys.exit(f"audit: event {seq} ({kind}) does not fit the one before it")
    if expected == 1:
        sys.exit("audit: there are no events at all")


def main() -> None:
    command, data, *rest = sys.argv[1:]
    records = sqlite3.connect(Path(data) / "records.sqlite", timeout=30)
    with records:
        if command == "audit":
            audit(records)
        elif command == "objects":
            for identity, length in records.execute("SELECT hex(id), length(bytes) FROM object ORDER BY id"):
                print(identity.lower(), length)
            for seq, extent, manifest in records.execute(
                    "SELECT seq, length(extent_bytes), length(manifest_bytes) FROM small_file ORDER BY seq"):
                print(f"extent_bytes:{seq} {extent}\nmanifest_bytes:{seq} {manifest}")
        elif command == "schema":
            rows = records.execute(
                "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' "
                "ORDER BY type, name")
            for kind, name, sql in rows:
                # Comments end with their line.
                bare = re.sub(r"--[^\n]*", "", sql)
                print(f"{kind} {name}: {' '.join(bare.split())}")
        elif command == "flip":
            if ":" in rest[0]:
                column, key = rest[0].split(":")
                table, key_column, key = "small_file", "seq", int(key)
            else:
                table, column, key_column, key = "object", "bytes", "id", bytes.fromhex(rest[0])
            (stored,) = records.execute(f"SELECT {column} FROM {table} WHERE {key_column} = ?", (key,)).fetchone()
            changed = bytearray(stored)
            changed[int(rest[1])] ^= 1
            records.execute(f"UPDATE {table} SET {column} = ? WHERE {key_column} = ?", (bytes(changed), key))
        elif command == "overdue":
            records.execute("UPDATE entry SET withdrawn_house = -1000000000 WHERE withdrawn_house = "
                            "(SELECT MAX(withdrawn_house) FROM entry)")
        elif command == "versions":
            rows = records.execute(
                "SELECT hex(e.id), e.number_base + v.number, v.state, hex(v.sha256) FROM version v "
                "JOIN entry e ON e.id = v.entry_id ORDER BY e.id, v.number")
            for entry, number, state, digest in rows:
                print(entry.lower(), number, state, (digest or "-").lower())
        elif command == "damage":
            records.execute("PRAGMA ignore_check_constraints = ON")
            records.execute("UPDATE version SET state = 'nonsense' WHERE entry_id = ?", (bytes.fromhex(rest[0]),))
        elif command == "lock":
            records.isolation_level = None
            records.execute("BEGIN IMMEDIATE")
            print("locked", flush=True)
            sys.stdin.read()
            records.execute("ROLLBACK")
        else:
            sys.exit(f"no such command: {command}")
    records.close()


if __name__ == "__main__":
    main()
