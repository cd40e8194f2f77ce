-- What nobody needs any more counts against its share until it is gone from the disk.

-- The share whose `stored_bytes` it is part of, and the plaintext bytes that it counts there. Objects that are no extents (manifests,
-- strays) and those that were doomed before have no share.
ALTER TABLE doomed ADD COLUMN share_id BLOB;
ALTER TABLE doomed ADD COLUMN length INTEGER NOT NULL DEFAULT 0;
-- 1: it never was part of anything that could be downloaded, so it may go as soon as its share needs the room.
ALTER TABLE doomed ADD COLUMN unread INTEGER NOT NULL DEFAULT 0 CHECK (unread IN (0, 1));
CREATE INDEX doomed_by_share ON doomed (share_id, unread) WHERE share_id IS NOT NULL;
