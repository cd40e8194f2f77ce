-- Who may see a ticket beside the holder of its token, what its customers may do, and who is told of it.

CREATE TABLE team (
    id         TEXT PRIMARY KEY NOT NULL REFERENCES login_name (name),
    name       TEXT NOT NULL,
    -- Where the team reads its mail together, if it does.
    email      TEXT,
    created_at INTEGER NOT NULL,
    proof      BLOB
);
CREATE TABLE team_member (
    team     TEXT NOT NULL REFERENCES team (id),
    engineer TEXT NOT NULL REFERENCES engineer (id),
    proof    BLOB,
    PRIMARY KEY (team, engineer)
);
CREATE INDEX team_member_by_engineer ON team_member (engineer, team);

-- Tickets of before have no such row: no contact and no team sees them, until somebody says who does.
CREATE TABLE ticket_people (
    ticket     TEXT PRIMARY KEY NOT NULL REFERENCES ticket (reference),
    visibility TEXT NOT NULL CHECK (visibility IN ('only', 'named', 'organisation')),
    -- The organisation that the ticket's own one acts for.
    affected   TEXT REFERENCES organisation (id),
    team       TEXT REFERENCES team (id),
    -- What customers may not do: words, with commas between them.
    denied     TEXT NOT NULL,
    proof      BLOB
);
CREATE INDEX ticket_people_by_affected ON ticket_people (affected, ticket) WHERE affected IS NOT NULL;
CREATE INDEX ticket_people_by_team ON ticket_people (team, ticket) WHERE team IS NOT NULL;

CREATE TABLE ticket_contact (
    ticket  TEXT NOT NULL REFERENCES ticket (reference),
    contact TEXT NOT NULL REFERENCES contact (id),
    -- Which one was named first.
    place   INTEGER NOT NULL,
    proof   BLOB,
    PRIMARY KEY (ticket, contact)
);
CREATE INDEX ticket_contact_by_contact ON ticket_contact (contact, ticket);

-- Mail addresses that get a copy of each notice. They have no access.
CREATE TABLE ticket_watcher (
    ticket  TEXT NOT NULL REFERENCES ticket (reference),
    address TEXT NOT NULL,
    proof   BLOB,
    PRIMARY KEY (ticket, address)
);
-- 1: a copy for a watcher, which stays that when the ticket goes to another engineer.
ALTER TABLE notice ADD COLUMN copied INTEGER NOT NULL DEFAULT 0 CHECK (copied IN (0, 1));
