-- A mail server may have a mail although nobody waits for its answer any more.

-- The address that the notice is being handed over to: written before the final dot of its mail, taken away with the answer. Where
-- it still stands at a start, the server stopped in between, and that counts as an answer that was lost.
ALTER TABLE notice ADD COLUMN handed_to TEXT;
