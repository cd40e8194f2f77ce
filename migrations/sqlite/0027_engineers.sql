-- What an engineer is to the house, and who stands in while one is away.

ALTER TABLE engineer ADD COLUMN role TEXT NOT NULL DEFAULT 'engineer' CHECK (role IN ('engineer', 'lead', 'auditor'));
-- The first and the last day of an absence in UTC, as 2026-12-24; all three are null of who is not away.
ALTER TABLE engineer ADD COLUMN away_from TEXT;
ALTER TABLE engineer ADD COLUMN away_to TEXT;
ALTER TABLE engineer ADD COLUMN deputy TEXT REFERENCES engineer (id);

-- Of a notice that a deputy gets: the engineer whom it was for.
ALTER TABLE notice ADD COLUMN instead_of TEXT;
CREATE INDEX notice_by_recipient ON notice (recipient, state);
