-- Contacts: people and machines of organisations, who log in under a name of their own.

-- A name can be a contact's or a team's as well. A column's own check goes with the column, so no table is made anew.
ALTER TABLE login_name ADD COLUMN bearer TEXT NOT NULL DEFAULT 'ticket'
    CHECK (bearer IN ('organisation', 'engineer', 'ticket', 'contact', 'team'));
UPDATE login_name SET bearer = kind;
ALTER TABLE login_name DROP COLUMN kind;
ALTER TABLE login_name RENAME COLUMN bearer TO kind;

CREATE TABLE contact (
    id           TEXT PRIMARY KEY NOT NULL REFERENCES login_name (name),
    organisation TEXT NOT NULL REFERENCES organisation (id),
    name         TEXT NOT NULL,
    email        TEXT NOT NULL,
    language     TEXT,
    -- What is kept of the password, if there is one; and which one it is: sessions of an older one are ended.
    password            BLOB,
    password_generation INTEGER NOT NULL,
    -- The last day in UTC on which the contact may log in, as 2027-01-31, if there is one.
    valid_until  TEXT,
    created_at   INTEGER NOT NULL,
    disabled_at  INTEGER,
    proof        BLOB
);
CREATE INDEX ticket_by_organisation ON ticket (organisation, reference);
CREATE INDEX contact_by_organisation ON contact (organisation, id);

CREATE TABLE contact_key (
    contact     TEXT NOT NULL REFERENCES contact (id),
    fingerprint TEXT NOT NULL,
    algorithm   TEXT NOT NULL,
    added_at    INTEGER NOT NULL,
    proof       BLOB,
    PRIMARY KEY (contact, fingerprint)
);
