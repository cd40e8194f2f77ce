-- The deletion log: tickets that were shredded as a whole. Such a ticket has no other row; its reference may be taken anew.

-- A row is written before the first key goes. What is null has not happened yet, and whoever comes next does it.
CREATE TABLE deletion (
    share_id           BLOB PRIMARY KEY NOT NULL,
    ticket             TEXT NOT NULL,
    organisation       TEXT NOT NULL,
    reason             TEXT NOT NULL CHECK (reason IN ('request', 'retention')),
    -- The rule of the policy, in words; of a request: 'request'.
    rule               TEXT NOT NULL,
    -- What could be read when it began: files, versions, their plaintext bytes.
    artifacts          INTEGER NOT NULL,
    versions           INTEGER NOT NULL,
    bytes              INTEGER NOT NULL,
    -- Of the versions whose rows are gone: those that had been available at some time.
    published          INTEGER NOT NULL,
    opened_at          INTEGER NOT NULL,
    closed_at          INTEGER NOT NULL,
    begun_at           INTEGER NOT NULL,
    keys_destroyed_at  INTEGER,
    records_removed_at INTEGER,
    -- The entry of the audit trail that tells of it.
    trail_seq          INTEGER,
    objects_removed_at INTEGER,
    -- A MAC under a key of the house over all of this: certificates are made from it.
    proof              BLOB
);
CREATE INDEX deletion_by_ticket ON deletion (ticket, begun_at);
CREATE INDEX deletion_unfinished ON deletion (begun_at) WHERE objects_removed_at IS NULL;
