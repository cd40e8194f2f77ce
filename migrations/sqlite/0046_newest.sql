-- When something last came into a ticket's share: the time of its directory, and what `/.new/` begins with.
ALTER TABLE ticket ADD COLUMN newest_at INTEGER;
UPDATE ticket SET newest_at = (SELECT MAX(v.received_at) FROM entry e JOIN version v ON v.entry_id = e.id
    WHERE e.share_id = ticket.share_id AND v.received_at BETWEEN 0 AND 253402300799999);
