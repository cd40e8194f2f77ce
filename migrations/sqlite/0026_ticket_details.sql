-- What the desk says of a ticket beside its title: it decides how long the ticket's files are kept, and what is expected of it.

-- 'incident', 'rma', or a kind of the house's own policy.
ALTER TABLE ticket ADD COLUMN kind TEXT NOT NULL DEFAULT 'incident';
-- The serial number of the device that it is about.
ALTER TABLE ticket ADD COLUMN serial TEXT;
-- The day by which it is to be solved, as 2026-12-31 in UTC.
ALTER TABLE ticket ADD COLUMN deadline TEXT;
