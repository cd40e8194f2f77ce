-- Customers are told, too: what support handed back, and receipts of what they sent.

-- What is set for a contact beside its own row. A contact without such a row gets mail, and no receipts.
CREATE TABLE contact_setting (
    contact  TEXT PRIMARY KEY NOT NULL REFERENCES contact (id),
    -- 1: it is told by mail what support hands back.
    mail     INTEGER NOT NULL CHECK (mail IN (0, 1)),
    -- 1: it gets the receipts of what it sent by mail.
    receipts INTEGER NOT NULL CHECK (receipts IN (0, 1)),
    -- A MAC as other rows that decide rights carry it (`docs/format.md`).
    proof    BLOB
);

-- What is set for a ticket beside its people. A ticket without such a row has its customers told.
CREATE TABLE ticket_setting (
    ticket TEXT PRIMARY KEY NOT NULL REFERENCES ticket (reference),
    -- 1: its customers are told by mail.
    mail   INTEGER NOT NULL CHECK (mail IN (0, 1)),
    -- The rule of the policy that says what its customers may not do; null: somebody said so for this ticket.
    rights TEXT,
    proof  BLOB
);

-- Whom a notice is for: the ticket's engineers; its customers, who are looked for when it has settled; one contact or one
-- watcher, who are told what support handed back; or the contact who sent what its receipts are of.
ALTER TABLE notice ADD COLUMN audience TEXT NOT NULL DEFAULT 'engineers'
    CHECK (audience IN ('engineers', 'customers', 'contact', 'watcher', 'sender'));
-- The contact. Then the recipient is the engineer in whose place the server writes.
ALTER TABLE notice ADD COLUMN contact TEXT;
CREATE INDEX notice_by_contact ON notice (contact, ticket) WHERE contact IS NOT NULL;
-- Whom a version that is held is to be told to.
ALTER TABLE held_notice ADD COLUMN audience TEXT NOT NULL DEFAULT 'engineers' CHECK (audience IN ('engineers', 'customers'));
