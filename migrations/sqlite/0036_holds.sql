-- Legal holds: nothing of these shares is shredded, expires, or is removed after its grace.
CREATE TABLE hold (
    share_id BLOB PRIMARY KEY NOT NULL REFERENCES ticket (share_id),
    -- Why, as an operator wrote it.
    reason   TEXT,
    held_at  INTEGER NOT NULL,
    -- A MAC under a key of the house over all of this.
    proof    BLOB
);
