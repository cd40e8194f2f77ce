-- Signed statements about the audit trail: up to this entry it is what was written. The keyring holds the same rows, so
-- that a trail that was cut or rolled back shows although its own copy went with it.
CREATE TABLE audit_checkpoint (
    seq       INTEGER PRIMARY KEY NOT NULL,
    at        INTEGER NOT NULL,
    -- The link of the entry with this number.
    link      BLOB NOT NULL,
    -- Ed25519, by the server's key for this purpose.
    signature BLOB NOT NULL
);
