-- What people are told: of files under temporary names, of what replaced what, and of digests that senders state.

-- Available under a temporary name, and nobody was told yet: until it is renamed, or until `due` (milliseconds since 1970 UTC).
CREATE TABLE held_notice (
    version_id BLOB PRIMARY KEY NOT NULL REFERENCES version (id),
    due        INTEGER NOT NULL
);
CREATE INDEX held_notice_by_due ON held_notice (due);

-- What comparing a version with a digest that its sender uploaded beside it (NAME.md5) showed.
CREATE TABLE sender_check (
    version_id      BLOB NOT NULL REFERENCES version (id),
    sidecar_version BLOB NOT NULL REFERENCES version (id),
    algorithm       TEXT NOT NULL CHECK (algorithm IN ('md5', 'sha1', 'sha256')),
    verdict         TEXT NOT NULL CHECK (verdict IN ('matches', 'differs', 'not-understood')),
    checked_at      INTEGER NOT NULL,
    PRIMARY KEY (version_id, sidecar_version)
);
CREATE INDEX sender_check_by_sidecar ON sender_check (sidecar_version);

-- From an older file to the one that took its place.
CREATE INDEX IF NOT EXISTS entry_by_predecessor ON entry (predecessor) WHERE predecessor IS NOT NULL;
