//! A new file that is whole at its CLOSE, in one question: its rows, bytes, manifest, audit event and notice.
//!
//! That is what nearly every small file is: nothing was written down of it before, its bytes are one extent, nothing else has
//! or had its name. For these the rules can be said in SQL, and nobody has to wait between two statements. Every rule is a
//! condition on which a value is given that must not be missing: where one does not hold, the statement fails, nothing has
//! changed, and who asked goes the long way, which finds out why and says it.

use super::audit::Event;
use super::batch::{Asked, Batch};
use super::entries::Place;
use super::versions::{NewVersion, Publication};
use super::{Pool, Records, RecordsError, aliases, signed};
use crate::model::{NoticeId, ObjectId, ShareId, Time, Word};

/// What a new file's rows are made of.
#[derive(Debug)]
pub struct NewArtifact<'a> {
    /// The ticket.
    pub ticket: &'a Word,
    /// Its share.
    pub share: ShareId,
    /// Where it stands.
    pub place: &'a Place,
    /// Permission bits.
    pub mode: u32,
    /// When it was last changed.
    pub modified_at: Time,
    /// Its version, the first one.
    pub version: &'a NewVersion<'a>,
    /// What makes that available.
    pub publication: &'a Publication<'a>,
    /// The manifest's bytes; none if they lie in the store.
    pub manifest: Option<&'a [u8]>,
    /// The one extent.
    pub extent: &'a super::versions::ExtentRow,
    /// The extent's bytes; none if they lie in the store.
    pub bytes: Option<&'a [u8]>,
    /// How many names the share may have.
    pub most_names: u64,
    /// How many bytes the share may have.
    pub most_bytes: u64,
    /// The id of the notice, if none of this ticket gathers uploads.
    pub notice: NoticeId,
    /// How long a notice waits for another upload, in milliseconds ...
    pub settle: i64,
    /// ... and how long at most.
    pub settle_most: i64,
    /// What is written into the audit trail.
    pub event: &'a Event<'a>,
}

/// The rank that the entry gets among names with the same alias is that of [`aliases::next_rank`].
const ENTRY: &str = "INSERT INTO entry (id, share_id, parent_id, kind, name_index, name, modified_at, \
     alias_index, alias_rank, mode) SELECT $1, $2, $3, 'file', $4, $5, $6, $8, \
     COALESCE((SELECT MAX(o.alias_rank) + 1 FROM entry o WHERE o.parent_id = $3 AND o.alias_index = $8 \
     AND o.alias_rank >= $9 AND o.alias_rank < $10 AND o.replaced_at IS NULL AND o.withdrawn_at IS NULL), $9), \
     CASE WHEN EXISTS (SELECT 1 FROM ticket t WHERE t.reference = $11 AND t.share_id = $2 AND t.status <> 'closed' \
     AND t.key_generation = $12 AND t.names < $13 AND t.stored_bytes + $14 <= $15) \
     AND EXISTS (SELECT 1 FROM entry d WHERE d.id = $3 AND d.kind = 'directory' AND d.replaced_at IS NULL \
     AND d.withdrawn_at IS NULL) AND NOT EXISTS (SELECT 1 FROM entry w WHERE w.parent_id = $3 AND w.name_index = $4 \
     AND w.withdrawn_at IS NOT NULL) THEN $16 END";
const TICKET: &str = "UPDATE ticket SET names = names + 1, stored_bytes = stored_bytes + $14 WHERE share_id = $2";
const VERSION: &str = "INSERT INTO version (id, entry_id, number, state, key_generation, file_key, uploaded_by, \
     opened_at, touched_at, transport, length, sha256, manifest_id, manifest_hash, progress, received_at) \
     VALUES ($7, $1, 1, 'available', $12, $17, $18, $19, $20, $21, $14, $22, $23, $24, $25, $26)";
/// Not with the entry: a version that others wait for makes SQLite look through all entries for them.
const CURRENT: &str = "UPDATE entry SET current_version = $7 WHERE id = $1";
const OBJECTS: &str = "INSERT INTO object (id, bytes) SELECT $27, $28 WHERE $28 IS NOT NULL \
     UNION ALL SELECT $23, $29 WHERE $29 IS NOT NULL";
const EXTENT: &str = "INSERT INTO extent (id, share_id, length, header_tag, place) VALUES ($27, $2, $30, $31, $32)";
const USE: &str = "INSERT INTO extent_use (version_id, extent_id, extent_key) VALUES ($7, $27, $33)";
const PUT_OFF: &str = "UPDATE notice SET next_attempt_at = CASE WHEN $26 + $34 < created_at + $35 THEN $26 + $34 \
     ELSE created_at + $35 END WHERE id = (SELECT id FROM notice WHERE ticket = $11 AND state = 'settling' \
     ORDER BY created_at LIMIT 1)";
const NOTICE: &str = "INSERT INTO notice (id, ticket, recipient, state, created_at, next_attempt_at) \
     SELECT $36, $11, engineer, 'settling', $26, CASE WHEN $34 < $35 THEN $26 + $34 ELSE $26 + $35 END FROM ticket \
     WHERE reference = $11 AND NOT EXISTS (SELECT 1 FROM notice WHERE ticket = $11 AND state = 'settling')";
const TELL: &str = "INSERT INTO notice_version (notice_id, version_id, about) SELECT id, $7, 'available' FROM notice \
     WHERE ticket = $11 AND state = 'settling' ORDER BY created_at LIMIT 1";
/// The trail may only go on behind the row that the link was made from.
const AUDIT: &str = "INSERT INTO audit_event (seq, kind, actor, ticket, subject, detail, chain, at) \
     SELECT $37, $38, $39, $11, $7, $40, $41, CASE WHEN (SELECT MAX(seq) FROM audit_event) = $37 - 1 \
     AND (SELECT chain FROM audit_event WHERE seq = $37 - 1) = $42 THEN $43 END";

macro_rules! around {
    ($($statement:expr),+ ; $($last:expr),+) => {
        Batch::new(&[
            $($statement,)+ ENTRY, TICKET, VERSION, CURRENT, OBJECTS, EXTENT, USE, PUT_OFF, NOTICE, TELL, AUDIT, $($last),+
        ])
    };
}

/// The statements in the three positions that a member of a group can be in.
pub(super) struct Positions {
    /// Nobody else waits: it is a transaction of its own, committed at once.
    pub(super) alone: Batch,
    /// Others wait for the turn: a group begins.
    pub(super) first: Batch,
    /// It joins a group.
    pub(super) next: Batch,
}

pub(super) static NEW_ARTIFACT: Positions = Positions {
    alone: around!("BEGIN IMMEDIATE"; "COMMIT"),
    first: around!("BEGIN IMMEDIATE", "SAVEPOINT whole_group", "SAVEPOINT member"; "RELEASE member"),
    next: around!("SAVEPOINT member"; "RELEASE member"),
};

impl NewArtifact<'_> {
    fn bind(&self, asked: Asked<'static>, seq: i64, before: &[u8; 32], link: &[u8; 32]) -> Asked<'static> {
        let (place, version, publication) = (self.place, self.version, self.publication);
        let (first, behind) = aliases::ranks(place.own_alias);
        let id = |object: ObjectId| object.as_bytes().to_vec();
        asked
            .bind(version.artifact.as_bytes().to_vec())
            .bind(self.share.as_bytes().to_vec())
            .bind(place.parent.as_bytes().to_vec())
            .bind(place.index.to_vec())
            .bind(place.sealed.clone())
            .bind(self.modified_at.millis())
            .bind(version.id.as_bytes().to_vec())
            .bind(place.alias.to_vec())
            .bind(first)
            .bind(behind)
            .bind(self.ticket.as_str().to_owned())
            .bind(i64::from(version.key_generation))
            .bind(signed(self.most_names))
            .bind(signed(publication.length))
            .bind(signed(self.most_bytes))
            .bind(i64::from(self.mode))
            .bind(version.file_key.to_vec())
            .bind(version.uploaded_by.to_owned())
            .bind(version.opened_at.millis())
            .bind(version.touched_at.millis())
            .bind(version.transport.as_str())
            .bind(publication.sha256.to_vec())
            .bind(id(publication.manifest))
            .bind(publication.manifest_hash.to_vec())
            .bind(publication.progress.to_vec())
            .bind(publication.at.millis())
            .bind(id(self.extent.id))
            .bind(self.bytes.map(<[u8]>::to_vec))
            .bind(self.manifest.map(<[u8]>::to_vec))
            .bind(signed(self.extent.length))
            .bind(self.extent.header_tag.to_vec())
            .bind(self.extent.place.as_str())
            .bind(self.extent.extent_key.clone())
            .bind(self.settle)
            .bind(self.settle_most)
            .bind(self.notice.as_bytes().to_vec())
            .bind(seq)
            .bind(self.event.kind)
            .bind(self.event.actor.to_owned())
            .bind(self.event.detail.to_owned())
            .bind(link.to_vec())
            .bind(before.to_vec())
            .bind(self.event.at.millis())
    }
}

impl Records {
    /// Writes a new file down, all of it, durable when this returns. False if it has to go the long way: something is not as
    /// it is said above, and nothing has changed. `link` makes the audit event's link from the number that it gets and the
    /// link before it.
    ///
    /// # Errors
    /// If the database fails; then nothing has changed.
    pub async fn add_at_once(
        &self,
        new: &NewArtifact<'_>,
        link: impl Fn(&[u8; 32], i64) -> [u8; 32],
    ) -> Result<bool, RecordsError> {
        // Its bytes are counted by the version's length.
        if new.extent.length != new.publication.length {
            return Ok(false);
        }
        let Pool::Sqlite { writer, .. } = &self.pool;
        let outcome = writer
            .at_once(&NEW_ARTIFACT, |asked, (last, before)| {
                let seq = last.checked_add(1)?;
                let link = link(&before, seq);
                Some((new.bind(asked, seq, &before, &link), (seq, link)))
            })
            .await;
        match outcome {
            Err(RecordsError::Exists) => Ok(false),
            Err(RecordsError::Database(error)) if is_condition(&error) => Ok(false),
            other => other,
        }
    }
}

/// Whether a rule of the schema was not met.
fn is_condition(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.is_foreign_key_violation() || error.is_check_violation() || {
            matches!(error.kind(), sqlx::error::ErrorKind::NotNullViolation)
        }
    })
}
