-- How 'tacdrop who' asks the server that runs who is logged in: one row, with the number of the newest question, that of the
-- newest one that was answered, and the answer (JSON). What a server said that is gone answers no question that came later.
CREATE TABLE who (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    asked     INTEGER NOT NULL,
    answered  INTEGER NOT NULL,
    sessions  TEXT NOT NULL
);
INSERT INTO who (id, asked, answered, sessions) VALUES (1, 0, 0, '');
