-- All artifacts by when they came, the newest first: what `artifact list` walks page by page.
CREATE INDEX version_by_arrival ON version (COALESCE(received_at, opened_at), id);
