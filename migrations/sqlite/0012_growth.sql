-- What recovery looks for at each start: rows that contradict themselves. There are none as a rule, so the first index is empty
-- and costs nothing; the second one has what was shredded.
CREATE INDEX version_unsealed ON version (id) WHERE state IN ('available', 'withdrawn')
    AND (file_key IS NULL OR sha256 IS NULL OR manifest_id IS NULL OR manifest_hash IS NULL);
CREATE INDEX version_shredded ON version (id) WHERE state = 'shredded';
-- An engineer's tickets, page by page.
CREATE INDEX ticket_of_engineer ON ticket (engineer, reference);
DROP INDEX ticket_by_engineer;
-- The notice of a ticket that gathers uploads, which each small file asks for; the others of the ticket grow in number.
CREATE INDEX notice_settling ON notice (ticket, created_at) WHERE state = 'settling';
