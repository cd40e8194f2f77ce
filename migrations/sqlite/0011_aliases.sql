-- What engineers are shown of names that Windows cannot hold, or cannot tell apart. The index is NULL in rows that are older
-- than this column, until a server has started on them, and in roots. The rank says who has the alias when several names of a
-- directory have the same one: the least, then the least id.
ALTER TABLE entry ADD COLUMN alias_index BLOB;
ALTER TABLE entry ADD COLUMN alias_rank INTEGER NOT NULL DEFAULT 0;
CREATE INDEX entry_by_alias ON entry (parent_id, alias_index, alias_rank, id)
    WHERE replaced_at IS NULL AND withdrawn_at IS NULL;
CREATE INDEX entry_without_alias ON entry (id) WHERE alias_index IS NULL AND parent_id IS NOT NULL;
