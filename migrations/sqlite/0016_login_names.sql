-- A new login name is looked for without regard to case. Not unique: pairs from before that rule stay.
CREATE INDEX login_name_folded ON login_name (lower(name));
