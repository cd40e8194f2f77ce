-- The records: people, tickets, what lies in the shares, notices, audit. Times are milliseconds since 1970 UTC, ids 16
-- bytes, keys and names only ever encrypted. The statements in `src/records` are kept to what SQLite
-- and PostgreSQL both understand; this file is SQLite's own.

-- One row per login name over all kinds: no name is ever used twice.
CREATE TABLE login_name (
    name TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('organisation', 'engineer', 'ticket'))
);

-- Facts about this installation, such as the address that `serve` listens on.
CREATE TABLE fact (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);

CREATE TABLE organisation (
    id         TEXT PRIMARY KEY NOT NULL REFERENCES login_name (name),
    name       TEXT NOT NULL,
    contract   TEXT,
    created_at INTEGER NOT NULL
);

CREATE TABLE engineer (
    id          TEXT PRIMARY KEY NOT NULL REFERENCES login_name (name),
    name        TEXT NOT NULL,
    email       TEXT NOT NULL,
    language    TEXT,
    created_at  INTEGER NOT NULL,
    disabled_at INTEGER
);

CREATE TABLE engineer_key (
    engineer    TEXT NOT NULL REFERENCES engineer (id),
    fingerprint TEXT NOT NULL,
    algorithm   TEXT NOT NULL,
    added_at    INTEGER NOT NULL,
    PRIMARY KEY (engineer, fingerprint)
);

CREATE TABLE ticket (
    reference        TEXT PRIMARY KEY NOT NULL REFERENCES login_name (name),
    share_id         BLOB NOT NULL UNIQUE,
    organisation     TEXT NOT NULL REFERENCES organisation (id),
    engineer         TEXT NOT NULL REFERENCES engineer (id),
    title            TEXT,
    priority         INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 4),
    language         TEXT,
    status           TEXT NOT NULL CHECK (status IN ('open', 'waiting', 'closed')),
    token_hash       BLOB NOT NULL,
    -- Counts the tokens that this ticket has had: sessions of an older one are ended.
    token_generation INTEGER NOT NULL,
    opened_at        INTEGER NOT NULL,
    closed_at        INTEGER,
    -- Kept with every change, so that a limit costs no counting: plaintext bytes in its extents, each counted once, and
    -- files and directories in sight.
    stored_bytes     INTEGER NOT NULL DEFAULT 0,
    names            INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX ticket_by_engineer ON ticket (engineer);

-- A file or a directory of a share. The root has no name and no parent; its id is the share's.
CREATE TABLE entry (
    id                BLOB PRIMARY KEY NOT NULL,
    share_id          BLOB NOT NULL REFERENCES ticket (share_id),
    parent_id         BLOB REFERENCES entry (id),
    kind              TEXT NOT NULL CHECK (kind IN ('file', 'directory')),
    name_index        BLOB,
    name              BLOB,
    mode              INTEGER NOT NULL,
    modified_at       INTEGER NOT NULL,
    -- Files: the available version that readers get, and the one that is arriving.
    current_version   BLOB REFERENCES version (id) DEFERRABLE INITIALLY DEFERRED,
    receiving_version BLOB REFERENCES version (id) DEFERRABLE INITIALLY DEFERRED,
    -- The entry whose place this one took (renamed over it, or uploaded after it was deleted): its versions are the older
    -- versions of this one, and its numbers come before.
    predecessor       BLOB REFERENCES entry (id),
    number_base       INTEGER NOT NULL DEFAULT 0,
    replaced_at       INTEGER,
    withdrawn_at      INTEGER
);
CREATE UNIQUE INDEX entry_by_name ON entry (parent_id, name_index) WHERE replaced_at IS NULL AND withdrawn_at IS NULL;
CREATE INDEX entry_by_parent ON entry (parent_id, id);
CREATE INDEX entry_by_share ON entry (share_id);

CREATE TABLE version (
    id            BLOB PRIMARY KEY NOT NULL,
    entry_id      BLOB NOT NULL REFERENCES entry (id),
    -- From 1 on within its entry; people see it added to the entry's number_base.
    number        INTEGER NOT NULL,
    state         TEXT NOT NULL
                  CHECK (state IN ('receiving', 'available', 'incomplete', 'withdrawn', 'shredded', 'damaged')),
    -- The generation of the share key that wraps the file key, and the wrapped file key (none once shredded).
    key_generation INTEGER NOT NULL,
    file_key      BLOB,
    uploaded_by   TEXT NOT NULL,
    opened_at     INTEGER NOT NULL,
    received_at   INTEGER,
    -- While receiving: up to where it can be continued, how long it is, and the sealed map and SHA-256 state.
    resumable_at  INTEGER NOT NULL DEFAULT 0,
    length        INTEGER NOT NULL DEFAULT 0,
    progress      BLOB,
    -- Once available.
    sha256        BLOB,
    manifest_id   BLOB,
    manifest_hash BLOB,
    UNIQUE (entry_id, number)
);

CREATE TABLE extent (
    id         BLOB PRIMARY KEY NOT NULL,
    share_id   BLOB NOT NULL,
    -- Plaintext bytes.
    length     INTEGER NOT NULL,
    header_tag BLOB NOT NULL,
    place      TEXT NOT NULL CHECK (place IN ('store', 'records'))
);

-- Which version uses which extent, with the extent's key wrapped under that version's file key.
CREATE TABLE extent_use (
    version_id BLOB NOT NULL REFERENCES version (id),
    extent_id  BLOB NOT NULL REFERENCES extent (id),
    extent_key BLOB NOT NULL,
    PRIMARY KEY (version_id, extent_id)
);
CREATE INDEX extent_use_by_extent ON extent_use (extent_id);

-- Small encrypted objects that lie here instead of in the store.
CREATE TABLE object (
    id    BLOB PRIMARY KEY NOT NULL,
    bytes BLOB NOT NULL
);

-- Objects that nobody needs any more: removed an hour later at the earliest.
CREATE TABLE doomed (
    object_id BLOB PRIMARY KEY NOT NULL,
    place     TEXT NOT NULL CHECK (place IN ('store', 'records')),
    since     INTEGER NOT NULL
);

CREATE TABLE notice (
    id              BLOB PRIMARY KEY NOT NULL,
    ticket          TEXT NOT NULL REFERENCES ticket (reference),
    recipient       TEXT NOT NULL REFERENCES engineer (id),
    state           TEXT NOT NULL CHECK (state IN ('settling', 'pending', 'delivered', 'failed')),
    channel         TEXT,
    attempts        INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    next_attempt_at INTEGER,
    delivered_at    INTEGER,
    last_error      TEXT
);
CREATE INDEX notice_by_due ON notice (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX notice_by_ticket ON notice (ticket, created_at);

-- The outbox: written in the transaction that makes the version available.
CREATE TABLE notice_version (
    notice_id  BLOB NOT NULL REFERENCES notice (id),
    version_id BLOB NOT NULL REFERENCES version (id),
    PRIMARY KEY (notice_id, version_id)
);

-- Append-only, each row chained to the one before it by SHA-256. No file names.
CREATE TABLE audit_event (
    seq     INTEGER PRIMARY KEY NOT NULL,
    at      INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    actor   TEXT NOT NULL,
    ticket  TEXT,
    subject BLOB,
    detail  TEXT NOT NULL,
    chain   BLOB NOT NULL
);
CREATE INDEX audit_event_by_ticket ON audit_event (ticket, seq);
