-- What becomes of withdrawn files and of unfinished versions, and when.

-- When the file was withdrawn, in house time: its grace is counted in that. `withdrawn_at` is for people.
ALTER TABLE entry ADD COLUMN withdrawn_house INTEGER;
-- When the last key of a withdrawn file went: there is nothing to restore.
ALTER TABLE entry ADD COLUMN shredded_at INTEGER;
-- What was withdrawn before has its whole grace from now on.
UPDATE entry SET withdrawn_house = COALESCE((SELECT CAST(value AS INTEGER) FROM fact WHERE name = 'house_time'), 0)
    WHERE withdrawn_at IS NOT NULL;
CREATE INDEX entry_withdrawn ON entry (withdrawn_house)
    WHERE withdrawn_house IS NOT NULL AND shredded_at IS NULL AND kind = 'file';
CREATE INDEX entry_by_predecessor ON entry (predecessor) WHERE predecessor IS NOT NULL;

-- When people were told that it will be removed unfinished, in house time; null again once something more of it came.
ALTER TABLE version ADD COLUMN warned_at INTEGER;
CREATE INDEX version_unfinished ON version (touched_at) WHERE state IN ('receiving', 'incomplete');
