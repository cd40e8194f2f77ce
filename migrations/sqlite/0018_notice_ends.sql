-- How a notice may end without having been delivered, and where it goes instead.

-- Of a notice in the state 'failed': 'unknown', if a mail server may have taken it without saying so; 'dismissed', if an operator
-- decided that it need not be delivered.
ALTER TABLE notice ADD COLUMN ending TEXT CHECK (ending IN ('unknown', 'dismissed'));
-- How often it was handed over and no answer came.
ALTER TABLE notice ADD COLUMN lost_answers INTEGER NOT NULL DEFAULT 0;
-- A mail address that an operator gave in place of the recipient's.
ALTER TABLE notice ADD COLUMN address TEXT;
