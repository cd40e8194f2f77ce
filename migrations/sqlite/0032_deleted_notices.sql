-- A notice can say that a customer deleted a file which an earlier one said had come. The column's own check goes with the
-- column, so no table is made anew.
ALTER TABLE notice_version ADD COLUMN news TEXT NOT NULL DEFAULT 'available'
    CHECK (news IN ('available', 'incomplete', 'expiring', 'deleted'));
UPDATE notice_version SET news = about;
ALTER TABLE notice_version DROP COLUMN about;
ALTER TABLE notice_version RENAME COLUMN news TO about;
