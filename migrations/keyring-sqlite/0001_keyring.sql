-- The keyring: a database of its own, because it is backed up apart and for a shorter time than the records, else an old
-- backup would undo a deletion. Every key in it is wrapped under a KEK that lies elsewhere.

CREATE TABLE kek (
    generation INTEGER PRIMARY KEY NOT NULL,
    -- Opens under the right KEK only.
    canary     BLOB NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE TABLE share_key (
    share_id       BLOB NOT NULL,
    generation     INTEGER NOT NULL,
    kek_generation INTEGER NOT NULL REFERENCES kek (generation),
    wrapped        BLOB NOT NULL,
    created_at     INTEGER NOT NULL,
    PRIMARY KEY (share_id, generation)
);

-- Keys of the server itself, by purpose.
CREATE TABLE server_key (
    purpose        TEXT PRIMARY KEY NOT NULL,
    kek_generation INTEGER NOT NULL REFERENCES kek (generation),
    wrapped        BLOB NOT NULL
);
