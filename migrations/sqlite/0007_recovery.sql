-- What recovery looks for: manifests by their object, and objects of the store that no row knows.
CREATE INDEX version_by_manifest ON version (manifest_id) WHERE manifest_id IS NOT NULL;

-- In quarantine: removed once `confirmed_at` is set, which a scan does that sees it again long enough after `first_seen`.
-- Both are house time.
CREATE TABLE stray (
    object_id    BLOB PRIMARY KEY NOT NULL,
    bytes        INTEGER NOT NULL,
    first_seen   INTEGER NOT NULL,
    confirmed_at INTEGER
);
