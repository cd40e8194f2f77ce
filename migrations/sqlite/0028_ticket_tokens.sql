-- A ticket has several tokens, each of which ends on its own. The one of before moves here at the first opening.
CREATE TABLE ticket_token (
    id             BLOB PRIMARY KEY NOT NULL,
    ticket         TEXT NOT NULL REFERENCES ticket (reference),
    -- What an operator calls it.
    label          TEXT,
    kind           TEXT NOT NULL CHECK (kind IN ('plain', 'upload-only', 'device')),
    -- 1: the one that 'ticket open' made, or that took its place.
    main           INTEGER NOT NULL CHECK (main IN (0, 1)),
    -- The keyed hash of the token.
    verifier       BLOB NOT NULL,
    created_at     INTEGER NOT NULL,
    valid_until    INTEGER NOT NULL,
    -- 1: each login makes it valid for longer, until the ticket is closed.
    renews         INTEGER NOT NULL CHECK (renews IN (0, 1)),
    ended_at       INTEGER,
    last_used_at   INTEGER,
    last_used_from TEXT,
    -- A MAC as other rows that decide rights carry it (`docs/format.md`).
    proof          BLOB
);
CREATE INDEX ticket_token_by_ticket ON ticket_token (ticket, created_at);
