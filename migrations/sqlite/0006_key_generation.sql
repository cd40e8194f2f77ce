-- Which generation of a share's key is in force: it wraps the file keys of the share's versions and seals its names. A
-- rotation changes all of them and this number in one transaction.
ALTER TABLE ticket ADD COLUMN key_generation INTEGER NOT NULL DEFAULT 1;
