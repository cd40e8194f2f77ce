//! Files that were moved to another ticket: where each one went, and the versions that it has there.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::{ask, behind};
use super::{Conn, RecordsError, bytes_as, text_as};
use tacdrop_model::{ArtifactId, HouseTime, Identifier, ObjectId, ShareId, Time, VersionId};

/// That a file was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The entry that stood for it.
    pub artifact: ArtifactId,
    /// The share that it lay in.
    pub share: ShareId,
    /// The ticket of that share.
    pub ticket: Identifier,
    /// The entry that stands for it since then.
    pub to_artifact: ArtifactId,
    /// The share that it lies in since then.
    pub to_share: ShareId,
    /// The ticket of that share.
    pub to_ticket: Identifier,
    /// When.
    pub moved_at: Time,
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT artifact, share_id, ticket, to_artifact, to_share, to_ticket, moved_at FROM moved ", $rest)
    };
}

fn moved(row: &SqliteRow) -> Result<Move, RecordsError> {
    Ok(Move {
        artifact: bytes_as(row, "moved", "artifact")?,
        share: bytes_as(row, "moved", "share_id")?,
        ticket: text_as(row, "moved", "ticket")?,
        to_artifact: bytes_as(row, "moved", "to_artifact")?,
        to_share: bytes_as(row, "moved", "to_share")?,
        to_ticket: text_as(row, "moved", "to_ticket")?,
        moved_at: Time::from_millis(row.try_get("moved_at")?),
    })
}

/// Writes down that a file was moved.
///
/// # Errors
/// [`RecordsError::Exists`] if it was moved before.
pub async fn add(conn: &mut Conn, row: &Move) -> Result<(), RecordsError> {
    let text = "INSERT INTO moved (artifact, share_id, ticket, to_artifact, to_share, to_ticket, moved_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    ask!(
        text,
        row.artifact,
        row.share,
        row.ticket.as_str(),
        row.to_artifact,
        row.to_share,
        row.to_ticket.as_str(),
        row.moved_at
    )
    .run(conn)
    .await
}

/// Where the file went that this entry stood for; none if it was not moved.
pub async fn from(conn: &mut Conn, artifact: ArtifactId) -> Result<Option<Move>, RecordsError> {
    ask!(select!("WHERE artifact = $1"), artifact).maybe(conn, moved).await
}

/// Where the file came from that this entry stands for; none if it was sent there.
pub async fn to(conn: &mut Conn, artifact: ArtifactId) -> Result<Option<Move>, RecordsError> {
    ask!(select!("WHERE to_artifact = $1"), artifact).maybe(conn, moved).await
}

/// All that can be read.
pub async fn all(conn: &mut Conn) -> Result<Vec<Move>, RecordsError> {
    ask!(select!("ORDER BY artifact")).readable(conn, "moved", moved).await
}

/// What a version has in its new place that it did not have in the old one.
#[derive(Debug)]
pub struct NewPlace<'a> {
    /// Its new id.
    pub id: VersionId,
    /// The entry that it belongs to now.
    pub artifact: ArtifactId,
    /// The generation of the share key that wraps its file key.
    pub key_generation: u32,
    /// The wrapped file key; none of one that was shredded before it was moved.
    pub file_key: Option<&'a [u8]>,
    /// Its manifest and the SHA-256 of that; none of one that was shredded before.
    pub manifest: Option<(ObjectId, [u8; 32])>,
    /// The sealed SHA-256 state at its end.
    pub progress: Option<&'a [u8]>,
    /// When, in house time.
    pub at: HouseTime,
}

/// Adds the row of a version in its new place: what is not the place's is as in the row `old`. The
/// newest entry of the audit trail is the one that tells of it.
pub async fn add_version(conn: &mut Conn, old: VersionId, new: &NewPlace<'_>) -> Result<(), RecordsError> {
    let text = "INSERT INTO version (id, entry_id, number, state, key_generation, file_key, uploaded_by, opened_at, \
         received_at, resumable_at, length, stored, progress, sha256, manifest_id, manifest_hash, transport, zeros, \
         touched_at, trail_seq) SELECT $2, $3, number, state, $4, $5, uploaded_by, opened_at, received_at, 0, length, 0, \
         $6, sha256, $7, COALESCE($8, manifest_hash), transport, zeros, $9, \
         CASE WHEN $7 IS NOT NULL THEN (SELECT MAX(seq) FROM audit_event) END FROM version WHERE id = $1";
    ask!(
        text,
        old,
        new.id,
        new.artifact,
        new.key_generation,
        new.file_key,
        new.progress,
        new.manifest.map(|(object, _)| object),
        new.manifest.map(|(_, hash)| hash.to_vec()),
        new.at
    )
    .run(conn)
    .await
}

/// The files of a share that stand in its tree, by id, from behind `after` on, at most `most`.
pub async fn files(
    conn: &mut Conn,
    share: ShareId,
    after: Option<ArtifactId>,
    most: u32,
) -> Result<Vec<ArtifactId>, RecordsError> {
    let text = "SELECT id FROM entry WHERE share_id = $1 AND kind = 'file' AND replaced_at IS NULL \
         AND withdrawn_at IS NULL AND id > $2 ORDER BY id LIMIT $3 + 0";
    ask!(text, share, behind(after), most).all(conn, |row| bytes_as(row, "entry", "id")).await
}

/// Points people from a ticket to the one that its files went into; a later merge takes the place of an
/// earlier one.
pub async fn set_merged(conn: &mut Conn, share: ShareId, into: &Identifier, at: Time) -> Result<(), RecordsError> {
    let text = "INSERT INTO merged (share_id, into_ticket, merged_at) VALUES ($1, $2, $3) \
         ON CONFLICT (share_id) DO UPDATE SET into_ticket = excluded.into_ticket, merged_at = excluded.merged_at";
    ask!(text, share, into.as_str(), at).run(conn).await
}

/// The ticket that the files of a closed one went into, if they did.
pub async fn merged_into(conn: &mut Conn, share: ShareId) -> Result<Option<Identifier>, RecordsError> {
    let text = "SELECT m.into_ticket FROM merged m JOIN ticket t ON t.share_id = m.share_id \
         WHERE m.share_id = $1 AND t.status = 'closed'";
    ask!(text, share).maybe(conn, |row| text_as(row, "merged", "into_ticket")).await
}

/// The same, if that ticket is of the same organisation: what its customers may hear.
pub async fn merged_into_own(conn: &mut Conn, share: ShareId) -> Result<Option<Identifier>, RecordsError> {
    let text = "SELECT m.into_ticket FROM merged m JOIN ticket t ON t.share_id = m.share_id \
         JOIN ticket i ON i.reference = m.into_ticket AND i.organisation = t.organisation \
         WHERE m.share_id = $1 AND t.status = 'closed'";
    ask!(text, share).maybe(conn, |row| text_as(row, "merged", "into_ticket")).await
}
