-- Shares whose keys were destroyed, all generations of them, written in the transaction that destroyed them. None ever gets
-- a key again.
CREATE TABLE destroyed_share (
    share_id     BLOB PRIMARY KEY NOT NULL,
    keys         INTEGER NOT NULL,
    destroyed_at INTEGER NOT NULL
);
