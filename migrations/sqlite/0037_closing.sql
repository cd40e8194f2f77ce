-- Which sides want a ticket closed that both must close. Its rows go when it is closed or opened again.
CREATE TABLE closing (
    share_id    BLOB PRIMARY KEY NOT NULL REFERENCES ticket (share_id),
    engineer_at INTEGER,
    contact_at  INTEGER,
    -- A MAC under a key of the house over all of this.
    proof       BLOB
);
