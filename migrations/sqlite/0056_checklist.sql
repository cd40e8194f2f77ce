-- What of a ticket's checklist is there. The items themselves stand in the policy's file, so an id here may be one of before.
CREATE TABLE checklist_tick (
    ticket TEXT NOT NULL REFERENCES ticket (reference),
    item   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    -- Who ticked it, as the audit trail names them.
    actor  TEXT NOT NULL,
    PRIMARY KEY (ticket, item)
);
