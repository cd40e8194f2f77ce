-- What may be said of an organisation later: its support level, its contract's last day, and that its customers may not log in.

ALTER TABLE organisation ADD COLUMN level TEXT;
-- The last day of its contract in UTC, as 2026-12-31; null: it has no end.
ALTER TABLE organisation ADD COLUMN valid_until TEXT;
ALTER TABLE organisation ADD COLUMN disabled_at INTEGER;
-- A MAC as other rows that decide rights carry it (`docs/format.md`). Null in houses of before; the first opening fills it in.
ALTER TABLE organisation ADD COLUMN proof BLOB;
