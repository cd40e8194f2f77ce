index audit_event_by_ticket: CREATE INDEX audit_event_by_ticket ON audit_event (ticket, seq)
index contact_by_organisation: CREATE INDEX contact_by_organisation ON contact (organisation, id)
index deletion_by_ticket: CREATE INDEX deletion_by_ticket ON deletion (ticket, begun_at)
index deletion_unfinished: CREATE INDEX deletion_unfinished ON deletion (begun_at) WHERE objects_removed_at IS NULL
index doomed_by_share: CREATE INDEX doomed_by_share ON doomed (share_id, unread) WHERE share_id IS NOT NULL
index entry_by_alias: CREATE INDEX entry_by_alias ON entry (parent_id, alias_index, alias_rank, id) WHERE replaced_at IS NULL AND withdrawn_at IS NULL
index entry_by_name: CREATE UNIQUE INDEX entry_by_name ON entry (parent_id, name_index) WHERE replaced_at IS NULL AND withdrawn_at IS NULL
index entry_by_parent: CREATE INDEX entry_by_parent ON entry (parent_id, id)
index entry_by_predecessor: CREATE INDEX entry_by_predecessor ON entry (predecessor) WHERE predecessor IS NOT NULL
index entry_by_share: CREATE INDEX entry_by_share ON entry (share_id)
index entry_withdrawn: CREATE INDEX entry_withdrawn ON entry (withdrawn_house) WHERE withdrawn_house IS NOT NULL AND shredded_at IS NULL AND kind = 'file'
index entry_withdrawn_by_name: CREATE INDEX entry_withdrawn_by_name ON entry (parent_id, name_index) WHERE withdrawn_at IS NOT NULL
index entry_without_alias: CREATE INDEX entry_without_alias ON entry (id) WHERE alias_index IS NULL AND parent_id IS NOT NULL
index extent_use_by_extent: CREATE INDEX extent_use_by_extent ON extent_use (extent_id)
index held_notice_by_due: CREATE INDEX held_notice_by_due ON held_notice (due)
index login_name_folded: CREATE INDEX login_name_folded ON login_name (lower(name))
index moved_by_target: CREATE INDEX moved_by_target ON moved (to_share)
index notice_by_contact: CREATE INDEX notice_by_contact ON notice (contact, ticket) WHERE contact IS NOT NULL
index notice_by_due: CREATE INDEX notice_by_due ON notice (next_attempt_at) WHERE next_attempt_at IS NOT NULL
index notice_by_recipient: CREATE INDEX notice_by_recipient ON notice (recipient, state)
index notice_by_ticket: CREATE INDEX notice_by_ticket ON notice (ticket, created_at)
index notice_settling: CREATE INDEX notice_settling ON notice (ticket, created_at) WHERE state = 'settling'
index sender_check_by_sidecar: CREATE INDEX sender_check_by_sidecar ON sender_check (sidecar_version)
index team_member_by_engineer: CREATE INDEX team_member_by_engineer ON team_member (engineer, team)
index ticket_by_organisation: CREATE INDEX ticket_by_organisation ON ticket (organisation, reference)
index ticket_contact_by_contact: CREATE INDEX ticket_contact_by_contact ON ticket_contact (contact, ticket)
index ticket_of_engineer: CREATE INDEX ticket_of_engineer ON ticket (engineer, reference)
index ticket_people_by_affected: CREATE INDEX ticket_people_by_affected ON ticket_people (affected, ticket) WHERE affected IS NOT NULL
index ticket_people_by_team: CREATE INDEX ticket_people_by_team ON ticket_people (team, ticket) WHERE team IS NOT NULL
index ticket_token_by_ticket: CREATE INDEX ticket_token_by_ticket ON ticket_token (ticket, created_at)
index version_by_arrival: CREATE INDEX version_by_arrival ON version (COALESCE(received_at, opened_at), id)
index version_by_manifest: CREATE INDEX version_by_manifest ON version (manifest_id) WHERE manifest_id IS NOT NULL AND small_file IS NULL
index version_shredded: CREATE INDEX version_shredded ON version (id) WHERE state = 'shredded'
index version_to_reseal: CREATE INDEX version_to_reseal ON version (id) WHERE trail_seq IS NULL AND manifest_id IS NOT NULL
index version_unfinished: CREATE INDEX version_unfinished ON version (touched_at) WHERE state IN ('receiving', 'incomplete')
index version_unsealed: CREATE INDEX version_unsealed ON version (id) WHERE state IN ('available', 'withdrawn') AND (file_key IS NULL OR sha256 IS NULL OR manifest_id IS NULL OR manifest_hash IS NULL)
table audit_checkpoint: CREATE TABLE audit_checkpoint ( seq INTEGER PRIMARY KEY NOT NULL, at INTEGER NOT NULL, link BLOB NOT NULL, signature BLOB NOT NULL )
table audit_event: CREATE TABLE audit_event ( seq INTEGER PRIMARY KEY NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, actor TEXT NOT NULL, ticket TEXT, subject BLOB, detail TEXT NOT NULL, chain BLOB NOT NULL , seal BLOB)
table checklist_tick: CREATE TABLE checklist_tick ( ticket TEXT NOT NULL REFERENCES ticket (reference), item TEXT NOT NULL, at INTEGER NOT NULL, actor TEXT NOT NULL, PRIMARY KEY (ticket, item) )
table closing: CREATE TABLE closing ( share_id BLOB PRIMARY KEY NOT NULL REFERENCES ticket (share_id), engineer_at INTEGER, contact_at INTEGER, proof BLOB )
table contact: CREATE TABLE contact ( id TEXT PRIMARY KEY NOT NULL REFERENCES login_name (name), organisation TEXT NOT NULL REFERENCES organisation (id), name TEXT NOT NULL, email TEXT NOT NULL, language TEXT, password BLOB, password_generation INTEGER NOT NULL, valid_until TEXT, created_at INTEGER NOT NULL, disabled_at INTEGER, proof BLOB )
table contact_key: CREATE TABLE contact_key ( contact TEXT NOT NULL REFERENCES contact (id), fingerprint TEXT NOT NULL, algorithm TEXT NOT NULL, added_at INTEGER NOT NULL, proof BLOB, PRIMARY KEY (contact, fingerprint) )
table contact_setting: CREATE TABLE contact_setting ( contact TEXT PRIMARY KEY NOT NULL REFERENCES contact (id), mail INTEGER NOT NULL CHECK (mail IN (0, 1)), receipts INTEGER NOT NULL CHECK (receipts IN (0, 1)), proof BLOB )
table deletion: CREATE TABLE deletion ( share_id BLOB PRIMARY KEY NOT NULL, ticket TEXT NOT NULL, organisation TEXT NOT NULL, reason TEXT NOT NULL CHECK (reason IN ('request', 'retention')), rule TEXT NOT NULL, artifacts INTEGER NOT NULL, versions INTEGER NOT NULL, bytes INTEGER NOT NULL, published INTEGER NOT NULL, opened_at INTEGER NOT NULL, closed_at INTEGER NOT NULL, begun_at INTEGER NOT NULL, keys_destroyed_at INTEGER, records_removed_at INTEGER, trail_seq INTEGER, objects_removed_at INTEGER, proof BLOB )
table doomed: CREATE TABLE doomed ( object_id BLOB PRIMARY KEY NOT NULL, place TEXT NOT NULL CHECK (place IN ('store', 'records')), since INTEGER NOT NULL , share_id BLOB, length INTEGER NOT NULL DEFAULT 0, unread INTEGER NOT NULL DEFAULT 0 CHECK (unread IN (0, 1)))
table engineer: CREATE TABLE engineer ( id TEXT PRIMARY KEY NOT NULL REFERENCES login_name (name), name TEXT NOT NULL, email TEXT NOT NULL, language TEXT, created_at INTEGER NOT NULL, disabled_at INTEGER , proof BLOB, role TEXT NOT NULL DEFAULT 'engineer' CHECK (role IN ('engineer', 'lead', 'auditor')), away_from TEXT, away_to TEXT, deputy TEXT REFERENCES engineer (id))
table engineer_key: CREATE TABLE engineer_key ( engineer TEXT NOT NULL REFERENCES engineer (id), fingerprint TEXT NOT NULL, algorithm TEXT NOT NULL, added_at INTEGER NOT NULL, proof BLOB, PRIMARY KEY (engineer, fingerprint) )
table entry: CREATE TABLE entry ( id BLOB PRIMARY KEY NOT NULL, share_id BLOB NOT NULL REFERENCES ticket (share_id), parent_id BLOB REFERENCES entry (id), kind TEXT NOT NULL CHECK (kind IN ('file', 'directory')), name_index BLOB, name BLOB, mode INTEGER NOT NULL, modified_at INTEGER NOT NULL, current_version BLOB REFERENCES version (id) DEFERRABLE INITIALLY DEFERRED, receiving_version BLOB REFERENCES version (id) DEFERRABLE INITIALLY DEFERRED, predecessor BLOB REFERENCES entry (id), number_base INTEGER NOT NULL DEFAULT 0, replaced_at INTEGER, withdrawn_at INTEGER , withdrawn_house INTEGER, shredded_at INTEGER, alias_index BLOB, alias_rank INTEGER NOT NULL DEFAULT 0, link_proof BLOB)
table extent: CREATE TABLE extent ( id BLOB PRIMARY KEY NOT NULL, share_id BLOB NOT NULL, length INTEGER NOT NULL, header_tag BLOB NOT NULL, place TEXT NOT NULL CHECK (place IN ('store', 'records')) )
table extent_use: CREATE TABLE extent_use ( version_id BLOB NOT NULL REFERENCES version (id), extent_id BLOB NOT NULL REFERENCES extent (id), extent_key BLOB NOT NULL, PRIMARY KEY (version_id, extent_id) )
table fact: CREATE TABLE fact ( name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL )
table held_notice: CREATE TABLE held_notice ( version_id BLOB PRIMARY KEY NOT NULL REFERENCES version (id), due INTEGER NOT NULL , audience TEXT NOT NULL DEFAULT 'engineers' CHECK (audience IN ('engineers', 'customers')))
table hold: CREATE TABLE hold ( share_id BLOB PRIMARY KEY NOT NULL REFERENCES ticket (share_id), reason TEXT, held_at INTEGER NOT NULL, proof BLOB )
table login_name: CREATE TABLE login_name ( name TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL DEFAULT 'ticket' CHECK (kind IN ('organisation', 'engineer', 'ticket', 'contact', 'team')))
table look: CREATE TABLE look ( engineer TEXT PRIMARY KEY, since INTEGER NOT NULL, began INTEGER NOT NULL )
table merged: CREATE TABLE merged ( share_id BLOB PRIMARY KEY NOT NULL REFERENCES ticket (share_id), into_ticket TEXT NOT NULL, merged_at INTEGER NOT NULL )
table moved: CREATE TABLE moved ( artifact BLOB PRIMARY KEY NOT NULL, share_id BLOB NOT NULL, ticket TEXT NOT NULL, to_artifact BLOB NOT NULL UNIQUE, to_share BLOB NOT NULL, to_ticket TEXT NOT NULL, moved_at INTEGER NOT NULL )
table notice: CREATE TABLE notice ( id BLOB PRIMARY KEY NOT NULL, ticket TEXT NOT NULL REFERENCES ticket (reference), recipient TEXT NOT NULL REFERENCES engineer (id), state TEXT NOT NULL CHECK (state IN ('settling', 'pending', 'delivered', 'failed')), channel TEXT, attempts INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL, next_attempt_at INTEGER, delivered_at INTEGER, last_error TEXT , ending TEXT CHECK (ending IN ('unknown', 'dismissed')), lost_answers INTEGER NOT NULL DEFAULT 0, address TEXT, handed_to TEXT, address_proof BLOB, instead_of TEXT, copied INTEGER NOT NULL DEFAULT 0 CHECK (copied IN (0, 1)), audience TEXT NOT NULL DEFAULT 'engineers' CHECK (audience IN ('engineers', 'customers', 'contact', 'watcher', 'sender')), contact TEXT)
table notice_version: CREATE TABLE notice_version ( notice_id BLOB NOT NULL REFERENCES notice (id), version_id BLOB NOT NULL REFERENCES version (id), about TEXT NOT NULL DEFAULT 'available' CHECK (about IN ('available', 'incomplete', 'expiring', 'deleted')), PRIMARY KEY (notice_id, version_id) )
table object: CREATE TABLE object ( id BLOB PRIMARY KEY NOT NULL, bytes BLOB NOT NULL )
table organisation: CREATE TABLE organisation ( id TEXT PRIMARY KEY NOT NULL REFERENCES login_name (name), name TEXT NOT NULL, contract TEXT, created_at INTEGER NOT NULL , level TEXT, valid_until TEXT, disabled_at INTEGER, proof BLOB)
table sender_check: CREATE TABLE sender_check ( version_id BLOB NOT NULL REFERENCES version (id), sidecar_version BLOB NOT NULL REFERENCES version (id), algorithm TEXT NOT NULL CHECK (algorithm IN ('md5', 'sha1', 'sha256')), verdict TEXT NOT NULL CHECK (verdict IN ('matches', 'differs', 'not-understood')), checked_at INTEGER NOT NULL, PRIMARY KEY (version_id, sidecar_version) )
table small_file: CREATE TABLE small_file ( seq INTEGER PRIMARY KEY NOT NULL, extent_id BLOB NOT NULL, extent_bytes BLOB NOT NULL, manifest_bytes BLOB NOT NULL )
table stray: CREATE TABLE stray ( object_id BLOB PRIMARY KEY NOT NULL, bytes INTEGER NOT NULL, first_seen INTEGER NOT NULL, confirmed_at INTEGER )
table team: CREATE TABLE team ( id TEXT PRIMARY KEY NOT NULL REFERENCES login_name (name), name TEXT NOT NULL, email TEXT, created_at INTEGER NOT NULL, proof BLOB )
table team_member: CREATE TABLE team_member ( team TEXT NOT NULL REFERENCES team (id), engineer TEXT NOT NULL REFERENCES engineer (id), proof BLOB, PRIMARY KEY (team, engineer) )
table ticket: CREATE TABLE ticket ( reference TEXT PRIMARY KEY NOT NULL REFERENCES login_name (name), share_id BLOB NOT NULL UNIQUE, organisation TEXT NOT NULL REFERENCES organisation (id), engineer TEXT NOT NULL REFERENCES engineer (id), title TEXT, priority INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 4), language TEXT, status TEXT NOT NULL CHECK (status IN ('open', 'waiting', 'closed')), token_hash BLOB NOT NULL, token_generation INTEGER NOT NULL, opened_at INTEGER NOT NULL, closed_at INTEGER, stored_bytes INTEGER NOT NULL DEFAULT 0 CHECK (stored_bytes >= 0), names INTEGER NOT NULL DEFAULT 0 CHECK (names >= 0) , key_generation INTEGER NOT NULL DEFAULT 1, device INTEGER NOT NULL DEFAULT 0 CHECK (device IN (0, 1)), proof BLOB, kind TEXT NOT NULL DEFAULT 'incident', serial TEXT, deadline TEXT, shown TEXT, newest_at INTEGER)
table ticket_contact: CREATE TABLE ticket_contact ( ticket TEXT NOT NULL REFERENCES ticket (reference), contact TEXT NOT NULL REFERENCES contact (id), place INTEGER NOT NULL, proof BLOB, PRIMARY KEY (ticket, contact) )
table ticket_people: CREATE TABLE ticket_people ( ticket TEXT PRIMARY KEY NOT NULL REFERENCES ticket (reference), visibility TEXT NOT NULL CHECK (visibility IN ('only', 'named', 'organisation')), affected TEXT REFERENCES organisation (id), team TEXT REFERENCES team (id), denied TEXT NOT NULL, proof BLOB )
table ticket_setting: CREATE TABLE ticket_setting ( ticket TEXT PRIMARY KEY NOT NULL REFERENCES ticket (reference), mail INTEGER NOT NULL CHECK (mail IN (0, 1)), rights TEXT, proof BLOB )
table ticket_token: CREATE TABLE ticket_token ( id BLOB PRIMARY KEY NOT NULL, ticket TEXT NOT NULL REFERENCES ticket (reference), label TEXT, kind TEXT NOT NULL CHECK (kind IN ('plain', 'upload-only', 'device')), main INTEGER NOT NULL CHECK (main IN (0, 1)), verifier BLOB NOT NULL, created_at INTEGER NOT NULL, valid_until INTEGER NOT NULL, renews INTEGER NOT NULL CHECK (renews IN (0, 1)), ended_at INTEGER, last_used_at INTEGER, last_used_from TEXT, proof BLOB )
table ticket_watcher: CREATE TABLE ticket_watcher ( ticket TEXT NOT NULL REFERENCES ticket (reference), address TEXT NOT NULL, proof BLOB, PRIMARY KEY (ticket, address) )
table version: CREATE TABLE version ( id BLOB PRIMARY KEY NOT NULL, entry_id BLOB NOT NULL REFERENCES entry (id), number INTEGER NOT NULL, state TEXT NOT NULL CHECK (state IN ('receiving', 'available', 'incomplete', 'withdrawn', 'shredded', 'damaged')), key_generation INTEGER NOT NULL, file_key BLOB, uploaded_by TEXT NOT NULL, opened_at INTEGER NOT NULL, received_at INTEGER, resumable_at INTEGER NOT NULL DEFAULT 0, length INTEGER NOT NULL DEFAULT 0, progress BLOB, sha256 BLOB, manifest_id BLOB, manifest_hash BLOB, touched_at INTEGER NOT NULL DEFAULT 0, stored INTEGER NOT NULL DEFAULT 0, warned_at INTEGER, transport TEXT NOT NULL DEFAULT 'modern' CHECK (transport IN ('modern', 'legacy')), zeros INTEGER NOT NULL DEFAULT 0, trail_seq INTEGER, small_file INTEGER, UNIQUE (entry_id, number) )
table version_digest: CREATE TABLE version_digest ( version_id BLOB NOT NULL REFERENCES version (id), algorithm TEXT NOT NULL CHECK (algorithm IN ('md5', 'sha1')), digest BLOB NOT NULL, proof BLOB, PRIMARY KEY (version_id, algorithm) )
table who: CREATE TABLE who ( id INTEGER PRIMARY KEY CHECK (id = 1), asked INTEGER NOT NULL, answered INTEGER NOT NULL, sessions TEXT NOT NULL )
