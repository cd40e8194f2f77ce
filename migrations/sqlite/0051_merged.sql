-- Tickets whose files all went into another one, and that were closed with that: where people are pointed to. It grants
-- nothing, so it carries no proof; the audit trail tells the same. It counts while the ticket is closed.
CREATE TABLE merged (
    share_id    BLOB PRIMARY KEY NOT NULL REFERENCES ticket (share_id),
    into_ticket TEXT NOT NULL,
    merged_at   INTEGER NOT NULL
);
