-- When an engineer last looked at what is new (`/.new/`). It decides nothing but what is listed there, so it carries no proof.
CREATE TABLE look (
    engineer  TEXT PRIMARY KEY,
    -- What came then or later is new.
    since     INTEGER NOT NULL,
    -- When the look that is under way began: the next one's `since`.
    began     INTEGER NOT NULL
);
