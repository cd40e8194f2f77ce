//! What becomes of files and versions: withdrawn, restored, expired, shredded.
//!
//! What is done to a file is done to its whole [chain](super::version_chain).

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::{ask, behind};
use super::version_chain::chain;
use super::{Conn, RecordsError, bytes_as, bytes_as_option, text_as};
use crate::model::{ArtifactId, DirectoryId, HouseTime, ObjectId, Time, VersionId, VersionState, Word};

/// The facts that say whether the journal may still hold a key that was taken away: how often one was, and at which of
/// these the journal was emptied last.
const JOURNAL_OWED: &str = "journal_owed";
const JOURNAL_EMPTIED: &str = "journal_emptied";

/// Moves every version of a file that stands in `from` to `to`, and says how many.
pub async fn move_versions(
    conn: &mut Conn,
    file: &[u8; 16],
    from: VersionState,
    to: VersionState,
) -> Result<u64, RecordsError> {
    let text = concat!(
        chain!(),
        "UPDATE version SET state = $3 WHERE state = $2 AND file_key IS NOT NULL AND entry_id IN (SELECT id FROM chain)"
    );
    ask!(text, file, from.as_str(), to.as_str()).changes(conn).await
}

/// Puts a withdrawn file back into the tree, with its versions. False if there is nothing to put back.
///
/// # Errors
/// [`RecordsError::Exists`] if its name is taken.
pub async fn restore(conn: &mut Conn, file: &[u8; 16]) -> Result<bool, RecordsError> {
    let text = "UPDATE entry SET withdrawn_at = NULL, withdrawn_house = NULL WHERE id = $1 AND withdrawn_at IS NOT NULL \
         AND replaced_at IS NULL AND shredded_at IS NULL";
    if !ask!(text, file).changed(conn).await? {
        return Ok(false);
    }
    ask!("UPDATE ticket SET names = names + 1 WHERE share_id = (SELECT share_id FROM entry WHERE id = $1)", file)
        .run(conn)
        .await?;
    move_versions(conn, file, VersionState::Withdrawn, VersionState::Available).await?;
    Ok(true)
}

/// Writes down that no key of a withdrawn file is left.
pub async fn mark_shredded(conn: &mut Conn, file: &[u8; 16], now: Time) -> Result<(), RecordsError> {
    ask!("UPDATE entry SET shredded_at = $2 WHERE id = $1 AND withdrawn_at IS NOT NULL", file, now).run(conn).await
}

/// Takes the key of a version away, with everything that only this key opens; extents that no other version uses, and its
/// manifest, are doomed, and count as its share's until they are forgotten. With `untouched_since` only of an unfinished one that was not touched after that. False if it is
/// none of these, or has no key any more: then nothing has changed.
pub async fn shred(
    conn: &mut Conn,
    id: VersionId,
    untouched_since: Option<HouseTime>,
    now: HouseTime,
) -> Result<bool, RecordsError> {
    let version = &id.as_bytes()[..];
    let text = "SELECT manifest_id FROM version WHERE id = $1 AND file_key IS NOT NULL \
         AND ($2 IS NULL OR (state IN ('receiving', 'incomplete') AND touched_at <= $2))";
    let found = ask!(text, version, untouched_since)
        .maybe(conn, |row| bytes_as_option::<ObjectId>(row, "version", "manifest_id"))
        .await?;
    let Some(manifest) = found else { return Ok(false) };
    if let Some(manifest) = manifest {
        let text = "INSERT INTO doomed (object_id, place, since) VALUES ($1, \
             CASE WHEN EXISTS (SELECT 1 FROM object WHERE id = $1) THEN 'records' ELSE 'store' END, $2) \
             ON CONFLICT DO NOTHING";
        ask!(text, manifest, now).run(conn).await?;
    }
    // What only this version uses; in few statements, as a version may have a hundred thousand extents.
    let text = "INSERT INTO doomed (object_id, place, since, share_id, length, unread) SELECT x.id, x.place, $2, x.share_id, \
         x.length, CASE WHEN EXISTS (SELECT 1 FROM version v WHERE v.id = $1 AND v.sha256 IS NULL) THEN 1 ELSE 0 END \
         FROM extent_use u \
         JOIN extent x ON x.id = u.extent_id WHERE u.version_id = $1 AND NOT EXISTS (SELECT 1 FROM extent_use o \
         WHERE o.extent_id = x.id AND o.version_id <> $1)";
    ask!(text, version, now).run(conn).await?;
    ask!("DELETE FROM extent_use WHERE version_id = $1", version).run(conn).await?;
    ask!("DELETE FROM version_digest WHERE version_id = $1", version).run(conn).await?;
    ask!("DELETE FROM extent WHERE id IN (SELECT object_id FROM doomed WHERE since = $1)", now).run(conn).await?;
    let text = "UPDATE version SET state = 'shredded', file_key = NULL, progress = NULL, manifest_id = NULL, \
         resumable_at = 0, stored = 0 WHERE id = $1";
    ask!(text, version).run(conn).await?;
    owe_journal(conn).await?;
    Ok(true)
}

/// An unfinished version whose time is near or over.
#[derive(Debug, Clone)]
pub struct UnfinishedRow {
    /// The version.
    pub id: VersionId,
    /// Its artifact.
    pub artifact: ArtifactId,
    /// The ticket.
    pub ticket: Word,
}

fn unfinished_row(row: &SqliteRow) -> Result<UnfinishedRow, RecordsError> {
    Ok(UnfinishedRow {
        id: bytes_as(row, "version", "id")?,
        artifact: bytes_as(row, "version", "entry_id")?,
        ticket: text_as(row, "ticket", "reference")?,
    })
}

/// Unfinished versions that were not touched since `$1`. The first condition is there for the index of unfinished versions:
/// the table is large, and they are few.
macro_rules! unfinished {
    ($rest:literal) => {
        concat!(
            "SELECT v.id, v.entry_id, t.reference FROM version v JOIN entry e ON e.id = v.entry_id \
             JOIN ticket t ON t.share_id = e.share_id WHERE v.id IN (SELECT id FROM version \
             WHERE state IN ('receiving', 'incomplete') AND touched_at <= $1) \
             AND v.state IN ('receiving', 'incomplete') AND v.touched_at <= $1 ",
            $rest
        )
    };
}

pub(super) const UNWARNED: &str = unfinished!("AND v.warned_at IS NULL AND v.id > $2 ORDER BY v.id LIMIT $3 + 0");

/// Unfinished versions, not touched since `before`, that nobody was warned of; those whose id is above `after`, at most
/// `most`, by id.
pub async fn unwarned(
    conn: &mut Conn,
    before: HouseTime,
    after: Option<VersionId>,
    most: u32,
) -> Result<Vec<UnfinishedRow>, RecordsError> {
    ask!(UNWARNED, before, behind(after), most).readable(conn, "version", unfinished_row).await
}

/// Writes down that people are told of it. False if it was touched meanwhile, or they were told before.
pub async fn mark_warned(
    conn: &mut Conn,
    id: VersionId,
    before: HouseTime,
    now: HouseTime,
) -> Result<bool, RecordsError> {
    let text = "UPDATE version SET warned_at = $3 WHERE id = $1 AND state IN ('receiving', 'incomplete') \
         AND touched_at <= $2 AND warned_at IS NULL";
    ask!(text, id, before, now).changed(conn).await
}

pub(super) const EXPIRED: &str = unfinished!("AND v.warned_at <= $2 AND v.id > $3 ORDER BY v.id LIMIT $4 + 0");

/// Unfinished versions, not touched since `before`, that people were warned of by `warned`; those whose id is above
/// `after`, at most `most`, by id.
pub async fn expired(
    conn: &mut Conn,
    before: HouseTime,
    warned: HouseTime,
    after: Option<VersionId>,
    most: u32,
) -> Result<Vec<UnfinishedRow>, RecordsError> {
    ask!(EXPIRED, before, warned, behind(after), most).readable(conn, "version", unfinished_row).await
}

/// Files that were withdrawn before `before` and still have keys, oldest first, at most `most`, with their tickets.
pub async fn past_grace(conn: &mut Conn, before: HouseTime, most: u32) -> Result<Vec<([u8; 16], Word)>, RecordsError> {
    let text = "SELECT e.id, t.reference FROM entry e JOIN ticket t ON t.share_id = e.share_id WHERE e.kind = 'file' \
         AND e.withdrawn_house <= $1 AND e.withdrawn_at IS NOT NULL AND e.replaced_at IS NULL \
         AND e.shredded_at IS NULL ORDER BY e.withdrawn_house LIMIT $2 + 0";
    ask!(text, before, most)
        .readable(conn, "entry", |row| Ok((bytes_as(row, "entry", "id")?, text_as(row, "ticket", "reference")?)))
        .await
}

/// Whether a file is still withdrawn, since `before` at the latest, and has keys.
pub async fn is_past_grace(conn: &mut Conn, file: &[u8; 16], before: HouseTime) -> Result<bool, RecordsError> {
    let text = "SELECT 1 FROM entry WHERE id = $1 AND withdrawn_house <= $2 AND withdrawn_at IS NOT NULL \
         AND replaced_at IS NULL AND shredded_at IS NULL";
    ask!(text, file, before).exists(conn).await
}

/// A file that is out of sight.
#[derive(Debug, Clone, Copy)]
pub struct WithdrawnRow {
    /// The entry that stands for it.
    pub id: [u8; 16],
    /// When it was withdrawn.
    pub since: HouseTime,
    /// Whether its keys are gone.
    pub shredded: bool,
}

/// The withdrawn files of this name in this directory, which may be out of sight itself.
pub async fn withdrawn_files(
    conn: &mut Conn,
    parent: DirectoryId,
    index: &[u8; 32],
) -> Result<Vec<WithdrawnRow>, RecordsError> {
    let text = "SELECT id, withdrawn_house, shredded_at FROM entry WHERE parent_id = $1 AND name_index = $2 \
         AND kind = 'file' AND withdrawn_at IS NOT NULL AND replaced_at IS NULL";
    ask!(text, parent, index)
        .all(conn, |row| {
            Ok(WithdrawnRow {
                id: bytes_as(row, "entry", "id")?,
                since: HouseTime::from_millis(row.try_get::<Option<i64>, _>("withdrawn_house")?.unwrap_or(0)),
                shredded: row.try_get::<Option<i64>, _>("shredded_at")?.is_some(),
            })
        })
        .await
}

/// The directories of this name in this directory, in sight or not.
pub async fn directories(
    conn: &mut Conn,
    parent: DirectoryId,
    index: &[u8; 32],
) -> Result<Vec<DirectoryId>, RecordsError> {
    ask!("SELECT id FROM entry WHERE parent_id = $1 AND name_index = $2 AND kind = 'directory'", parent, index)
        .all(conn, |row| bytes_as(row, "entry", "id"))
        .await
}

/// Says that the journal may hold a key that was taken away, in the transaction that takes it.
pub async fn owe_journal(conn: &mut Conn) -> Result<(), RecordsError> {
    let owed = count(conn, JOURNAL_OWED).await? + 1;
    super::people::set_fact(conn, JOURNAL_OWED, &owed.to_string()).await
}

/// If the journal may hold such a key: what [`journal_emptied`] is to be told once it does not.
pub async fn owed_journal(conn: &mut Conn) -> Result<Option<u64>, RecordsError> {
    let (owed, emptied) = (count(conn, JOURNAL_OWED).await?, count(conn, JOURNAL_EMPTIED).await?);
    Ok((owed != emptied).then_some(owed))
}

/// Says that the journal was emptied after [`owed_journal`] had given `owed`. Keys taken away since then owe it again.
pub async fn journal_emptied(conn: &mut Conn, owed: u64) -> Result<(), RecordsError> {
    super::people::set_fact(conn, JOURNAL_EMPTIED, &owed.to_string()).await
}

async fn count(conn: &mut Conn, fact: &str) -> Result<u64, RecordsError> {
    Ok(super::people::fact(conn, fact).await?.and_then(|text| text.parse().ok()).unwrap_or(0))
}
