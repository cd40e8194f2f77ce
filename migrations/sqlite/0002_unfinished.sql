-- What is known of unfinished uploads, and what a notice says of a version.

-- When something of it was last written down, in house time (milliseconds that a server has run on this data directory):
-- neither a clock that jumps nor a stopped server lets anything expire early.
ALTER TABLE version ADD COLUMN touched_at INTEGER NOT NULL DEFAULT 0;
-- While unfinished: plaintext bytes that are there. Against `length` it says how much is missing.
ALTER TABLE version ADD COLUMN stored INTEGER NOT NULL DEFAULT 0;

-- `available`: it came. `incomplete`: it was closed with bytes missing. `expiring`: it will be removed unfinished.
ALTER TABLE notice_version ADD COLUMN about TEXT NOT NULL DEFAULT 'available'
    CHECK (about IN ('available', 'incomplete', 'expiring'));

-- `doomed.since` is house time from now on. What was doomed before has waited long enough.
UPDATE doomed SET since = 0;
