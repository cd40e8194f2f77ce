-- The keyring's copy of the records' table of this name: it is ahead of records that were cut or rolled back.
CREATE TABLE audit_checkpoint (
    seq       INTEGER PRIMARY KEY NOT NULL,
    at        INTEGER NOT NULL,
    link      BLOB NOT NULL,
    signature BLOB NOT NULL
);
