-- A small file takes few rows: its sealed bytes and its manifest lie together, in one row of their own.

CREATE TABLE small_file (
    -- The number of the audit event that tells of the version. No other version has it, and each new row goes behind the last.
    seq            INTEGER PRIMARY KEY NOT NULL,
    -- Its one extent, and that extent's object.
    extent_id      BLOB NOT NULL,
    extent_bytes   BLOB NOT NULL,
    manifest_bytes BLOB NOT NULL
);
-- The row of a version that lies there; none if its extents and its manifest are objects of their own.
ALTER TABLE version ADD COLUMN small_file INTEGER;
-- Whoever looks for an object by its id never means such a manifest.
DROP INDEX version_by_manifest;
CREATE INDEX version_by_manifest ON version (manifest_id) WHERE manifest_id IS NOT NULL AND small_file IS NULL;
