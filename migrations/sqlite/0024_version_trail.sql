-- Which entry of the audit trail tells that a version is available with the manifest that it has.
-- Versions whose manifest does not say yet how they came have none: they wait to be sealed again.
ALTER TABLE version ADD COLUMN trail_seq INTEGER;
CREATE INDEX version_to_reseal ON version (id) WHERE trail_seq IS NULL AND manifest_id IS NOT NULL;

-- Proves that the server computed the digest. One without a proof is computed again.
ALTER TABLE version_digest ADD COLUMN proof BLOB;

-- A digest outlives its content no longer: who can guess a content could recognise it.
UPDATE version SET sha256 = NULL WHERE state = 'shredded';

-- Proves that an entry took the place of its predecessor, whose versions are read and told under its name.
ALTER TABLE entry ADD COLUMN link_proof BLOB;
