-- Network devices: tickets that only take what is sent, and what came over weak encryption.

-- 1: the ticket's token is typed on devices, so whoever has it can send and see nothing.
ALTER TABLE ticket ADD COLUMN device INTEGER NOT NULL DEFAULT 0 CHECK (device IN (0, 1));
-- `legacy`: something of it came by the listener for old devices. What it begins with counts, too.
ALTER TABLE version ADD COLUMN transport TEXT NOT NULL DEFAULT 'modern' CHECK (transport IN ('modern', 'legacy'));
