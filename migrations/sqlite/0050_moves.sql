-- Files that were moved to another ticket: where each one went. It tells people where a file lies and grants nothing, so
-- it carries no proof; the audit trail tells the same. A row goes with the ticket that the file went to.
CREATE TABLE moved (
    -- The entry that stood for the file before, which the source may have shredded since.
    artifact    BLOB PRIMARY KEY NOT NULL,
    share_id    BLOB NOT NULL,
    ticket      TEXT NOT NULL,
    -- The entry that stands for it since then.
    to_artifact BLOB NOT NULL UNIQUE,
    to_share    BLOB NOT NULL,
    to_ticket   TEXT NOT NULL,
    moved_at    INTEGER NOT NULL
);
CREATE INDEX moved_by_target ON moved (to_share);
