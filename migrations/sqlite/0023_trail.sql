-- A link of the trail is a plain hash: whoever writes this file can make all of them anew. So each row carries beside it what
-- only who has the house's key can make.

-- HMAC-SHA-256 over the row's link, and so over all rows before it. Rows of before there were seals have none; from which
-- number on each row must have one stands sealed in the keyring.
ALTER TABLE audit_event ADD COLUMN seal BLOB;
