//! What becomes of files and versions: withdrawn, restored, expired, shredded.
//!
//! The history of a file runs over several entries: each names the one whose place it took as its `predecessor`. What is
//! done to a file is done to all of them.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::readable::readable;
use super::{Conn, RecordsError, bytes_as, bytes_as_option, text_as, unsigned};
use crate::model::{
    ArtifactId, DirectoryId, HouseTime, Identifier, ObjectId, ShareId, Time, Transport, VersionId, VersionState,
};

/// The facts that say whether the journal may still hold a key that was taken away: how often one was, and at which of
/// these the journal was emptied last.
const JOURNAL_OWED: &str = "journal_owed";
const JOURNAL_EMPTIED: &str = "journal_emptied";

/// The entry `$1` and everything before it.
macro_rules! with_chain {
    ($rest:literal) => {
        concat!(
            "WITH RECURSIVE chain (id) AS (SELECT id FROM entry WHERE id = $1 UNION SELECT e.predecessor FROM entry e \
             JOIN chain c ON e.id = c.id WHERE e.predecessor IS NOT NULL) ",
            $rest
        )
    };
}
pub(super) use with_chain;

/// A version as a part of a file's history.
#[derive(Debug, Clone)]
pub struct HistoryRow {
    /// The entry that stands for the file: the newest of its chain.
    pub file: [u8; 16],
    /// When the file was withdrawn, in house time; none if it is in sight.
    pub withdrawn: Option<HouseTime>,
    /// The version's id.
    pub id: VersionId,
    /// The entry that it belongs to.
    pub artifact: ArtifactId,
    /// Its number for people, counted over the whole chain.
    pub number: u64,
    /// Where it stands.
    pub state: VersionState,
    /// Whether it is the one that readers of the file get.
    pub current: bool,
    /// Whether its file key is there.
    pub has_key: bool,
    /// Which generation of the share key wraps its file key.
    pub key_generation: i64,
    /// Who sent it.
    pub uploaded_by: String,
    /// When it was opened for writing.
    pub opened_at: Time,
    /// When it became available.
    pub received_at: Option<Time>,
    /// When something of it was last written down.
    pub touched_at: HouseTime,
    /// Up to where it can be continued.
    pub resumable_at: u64,
    /// Plaintext bytes.
    pub length: u64,
    /// Of an unfinished version: plaintext bytes that are there.
    pub stored: u64,
    /// The plaintext's SHA-256, once available.
    pub sha256: Option<[u8; 32]>,
    /// The manifest's object.
    pub manifest: Option<ObjectId>,
    /// The weakest transport that anything of it came by.
    pub transport: Transport,
    /// Plaintext bytes that were never sent, and are zeros.
    pub zeros: u64,
}

macro_rules! history {
    ($roots:literal) => {
        concat!(
            "WITH RECURSIVE chain (file, id) AS (",
            $roots,
            " UNION SELECT c.file, e.predecessor FROM entry e JOIN chain c ON e.id = c.id WHERE e.predecessor IS NOT NULL) \
             SELECT f.id AS file, f.withdrawn_at, f.withdrawn_house, f.current_version, v.id, v.entry_id, \
             e.number_base + v.number AS number, v.state, v.file_key IS NOT NULL AS has_key, v.key_generation, \
             v.uploaded_by, v.opened_at, v.received_at, v.touched_at, v.resumable_at, v.length, v.stored, v.sha256, \
             v.manifest_id, v.transport, v.zeros FROM chain c JOIN entry f ON f.id = c.file JOIN entry e ON e.id = c.id \
             JOIN version v ON v.entry_id = e.id ORDER BY f.id, e.number_base + v.number"
        )
    };
}

fn history_row(row: &SqliteRow) -> Result<HistoryRow, RecordsError> {
    let id: VersionId = bytes_as(row, "version", "id")?;
    let withdrawn = row.try_get::<Option<i64>, _>("withdrawn_at")?.is_some();
    let since = row.try_get::<Option<i64>, _>("withdrawn_house")?.unwrap_or(0);
    Ok(HistoryRow {
        file: bytes_as(row, "entry", "file")?,
        withdrawn: withdrawn.then(|| HouseTime::from_millis(since)),
        id,
        artifact: bytes_as(row, "version", "entry_id")?,
        number: unsigned(row, "version", "number")?,
        state: text_as(row, "version", "state")?,
        current: bytes_as_option::<VersionId>(row, "entry", "current_version")? == Some(id),
        has_key: row.try_get::<i64, _>("has_key")? != 0,
        key_generation: row.try_get("key_generation")?,
        uploaded_by: row.try_get("uploaded_by")?,
        opened_at: Time::from_millis(row.try_get("opened_at")?),
        received_at: row.try_get::<Option<i64>, _>("received_at")?.map(Time::from_millis),
        touched_at: HouseTime::from_millis(row.try_get("touched_at")?),
        resumable_at: unsigned(row, "version", "resumable_at")?,
        length: unsigned(row, "version", "length")?,
        stored: unsigned(row, "version", "stored")?,
        sha256: bytes_as_option(row, "version", "sha256")?,
        manifest: bytes_as_option(row, "version", "manifest_id")?,
        transport: text_as(row, "version", "transport")?,
        zeros: unsigned(row, "version", "zeros")?,
    })
}

/// Every version of every file of a share, withdrawn and shredded ones too: file by file, in the order of their numbers.
///
/// # Errors
/// If the database fails.
pub async fn history_of_share(conn: &mut Conn, share: ShareId) -> Result<Vec<HistoryRow>, RecordsError> {
    let rows =
        sqlx::query(history!("SELECT id, id FROM entry WHERE share_id = $1 AND kind = 'file' AND replaced_at IS NULL"))
            .bind(&share.as_bytes()[..])
            .fetch_all(conn)
            .await?;
    Ok(readable("version", &rows, history_row))
}

/// Every version of one file in the order of their numbers.
///
/// # Errors
/// If the database fails.
pub async fn history_of(conn: &mut Conn, file: &[u8; 16]) -> Result<Vec<HistoryRow>, RecordsError> {
    let rows = sqlx::query(history!("SELECT id, id FROM entry WHERE id = $1")).bind(&file[..]).fetch_all(conn).await?;
    rows.iter().map(history_row).collect()
}

/// The entry that stands for the file which an entry is a part of: the newest of its chain.
///
/// # Errors
/// If the database fails.
pub async fn file_of(conn: &mut Conn, entry: &[u8; 16]) -> Result<[u8; 16], RecordsError> {
    let row = sqlx::query(
        "WITH RECURSIVE up (id) AS (SELECT id FROM entry WHERE id = $1 UNION SELECT e.id FROM entry e \
         JOIN up u ON e.predecessor = u.id) SELECT u.id FROM up u \
         WHERE NOT EXISTS (SELECT 1 FROM entry e WHERE e.predecessor = u.id)",
    )
    .bind(&entry[..])
    .fetch_one(conn)
    .await?;
    bytes_as(&row, "entry", "id")
}

/// Moves every version of a file that stands in `from` to `to`, and says how many.
///
/// # Errors
/// If the database fails.
pub async fn move_versions(
    conn: &mut Conn,
    file: &[u8; 16],
    from: VersionState,
    to: VersionState,
) -> Result<u64, RecordsError> {
    let done = sqlx::query(with_chain!(
        "UPDATE version SET state = $3 WHERE state = $2 AND file_key IS NOT NULL AND entry_id IN (SELECT id FROM chain)"
    ))
    .bind(&file[..])
    .bind(from.as_str())
    .bind(to.as_str())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Puts a withdrawn file back into the tree, with its versions. False if there is nothing to put back.
///
/// # Errors
/// [`RecordsError::Exists`] if its name is taken.
pub async fn restore(conn: &mut Conn, file: &[u8; 16]) -> Result<bool, RecordsError> {
    let done = sqlx::query(
        "UPDATE entry SET withdrawn_at = NULL, withdrawn_house = NULL WHERE id = $1 AND withdrawn_at IS NOT NULL \
         AND replaced_at IS NULL AND shredded_at IS NULL",
    )
    .bind(&file[..])
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("UPDATE ticket SET names = names + 1 WHERE share_id = (SELECT share_id FROM entry WHERE id = $1)")
        .bind(&file[..])
        .execute(&mut *conn)
        .await?;
    move_versions(conn, file, VersionState::Withdrawn, VersionState::Available).await?;
    Ok(true)
}

/// Writes down that no key of a withdrawn file is left.
///
/// # Errors
/// If the database fails.
pub async fn mark_shredded(conn: &mut Conn, file: &[u8; 16], now: Time) -> Result<(), RecordsError> {
    sqlx::query("UPDATE entry SET shredded_at = $2 WHERE id = $1 AND withdrawn_at IS NOT NULL")
        .bind(&file[..])
        .bind(now.millis())
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes the key of a version away, with everything that only this key opens; extents that no other version uses, and its
/// manifest, are doomed, and count as its share's until they are forgotten. With `untouched_since` only of an unfinished one that was not touched after that. False if it is
/// none of these, or has no key any more: then nothing has changed.
///
/// # Errors
/// If the database fails.
pub async fn shred(
    conn: &mut Conn,
    id: VersionId,
    untouched_since: Option<HouseTime>,
    now: HouseTime,
) -> Result<bool, RecordsError> {
    let version = &id.as_bytes()[..];
    let manifest = sqlx::query(
        "SELECT manifest_id FROM version WHERE id = $1 AND file_key IS NOT NULL \
         AND ($2 IS NULL OR (state IN ('receiving', 'incomplete') AND touched_at <= $2))",
    )
    .bind(version)
    .bind(untouched_since.map(HouseTime::millis))
    .fetch_optional(&mut *conn)
    .await?;
    let Some(manifest) = manifest else { return Ok(false) };
    if let Some(manifest) = bytes_as_option::<ObjectId>(&manifest, "version", "manifest_id")? {
        sqlx::query(
            "INSERT INTO doomed (object_id, place, since) VALUES ($1, \
             CASE WHEN EXISTS (SELECT 1 FROM object WHERE id = $1) THEN 'records' ELSE 'store' END, $2) \
             ON CONFLICT DO NOTHING",
        )
        .bind(&manifest.as_bytes()[..])
        .bind(now.millis())
        .execute(&mut *conn)
        .await?;
    }
    // What only this version uses; in few statements, as a version may have a hundred thousand extents.
    sqlx::query(
        "INSERT INTO doomed (object_id, place, since, share_id, length, unread) SELECT x.id, x.place, $2, x.share_id, \
         x.length, CASE WHEN EXISTS (SELECT 1 FROM version v WHERE v.id = $1 AND v.sha256 IS NULL) THEN 1 ELSE 0 END \
         FROM extent_use u \
         JOIN extent x ON x.id = u.extent_id WHERE u.version_id = $1 AND NOT EXISTS (SELECT 1 FROM extent_use o \
         WHERE o.extent_id = x.id AND o.version_id <> $1)",
    )
    .bind(version)
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    sqlx::query("DELETE FROM extent_use WHERE version_id = $1").bind(version).execute(&mut *conn).await?;
    sqlx::query("DELETE FROM version_digest WHERE version_id = $1").bind(version).execute(&mut *conn).await?;
    sqlx::query("DELETE FROM extent WHERE id IN (SELECT object_id FROM doomed WHERE since = $1)")
        .bind(now.millis())
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "UPDATE version SET state = 'shredded', file_key = NULL, progress = NULL, manifest_id = NULL, \
         resumable_at = 0, stored = 0 WHERE id = $1",
    )
    .bind(version)
    .execute(&mut *conn)
    .await?;
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
    pub ticket: Identifier,
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

pub(super) const UNWARNED: &str = unfinished!("AND v.warned_at IS NULL AND v.id > $2 ORDER BY v.id LIMIT $3");

/// Unfinished versions, not touched since `before`, that nobody was warned of; those whose id is above `after`, at most
/// `most`, by id.
///
/// # Errors
/// If the database fails.
pub async fn unwarned(
    conn: &mut Conn,
    before: HouseTime,
    after: Option<VersionId>,
    most: u32,
) -> Result<Vec<UnfinishedRow>, RecordsError> {
    let rows = sqlx::query(UNWARNED)
        .bind(before.millis())
        .bind(after.map_or_else(Vec::new, |id| id.as_bytes().to_vec()))
        .bind(i64::from(most))
        .fetch_all(conn)
        .await?;
    Ok(readable("version", &rows, unfinished_row))
}

/// Writes down that people are told of it. False if it was touched meanwhile, or they were told before.
///
/// # Errors
/// If the database fails.
pub async fn mark_warned(
    conn: &mut Conn,
    id: VersionId,
    before: HouseTime,
    now: HouseTime,
) -> Result<bool, RecordsError> {
    let done = sqlx::query(
        "UPDATE version SET warned_at = $3 WHERE id = $1 AND state IN ('receiving', 'incomplete') \
         AND touched_at <= $2 AND warned_at IS NULL",
    )
    .bind(&id.as_bytes()[..])
    .bind(before.millis())
    .bind(now.millis())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(super) const EXPIRED: &str = unfinished!("AND v.warned_at <= $2 AND v.id > $3 ORDER BY v.id LIMIT $4");

/// Unfinished versions, not touched since `before`, that people were warned of by `warned`; those whose id is above
/// `after`, at most `most`, by id.
///
/// # Errors
/// If the database fails.
pub async fn expired(
    conn: &mut Conn,
    before: HouseTime,
    warned: HouseTime,
    after: Option<VersionId>,
    most: u32,
) -> Result<Vec<UnfinishedRow>, RecordsError> {
    let rows = sqlx::query(EXPIRED)
        .bind(before.millis())
        .bind(warned.millis())
        .bind(after.map_or_else(Vec::new, |id| id.as_bytes().to_vec()))
        .bind(i64::from(most))
        .fetch_all(conn)
        .await?;
    Ok(readable("version", &rows, unfinished_row))
}

/// Files that were withdrawn before `before` and still have keys, oldest first, at most `most`, with their tickets.
///
/// # Errors
/// If the database fails.
pub async fn past_grace(
    conn: &mut Conn,
    before: HouseTime,
    most: u32,
) -> Result<Vec<([u8; 16], Identifier)>, RecordsError> {
    let rows = sqlx::query(
        "SELECT e.id, t.reference FROM entry e JOIN ticket t ON t.share_id = e.share_id WHERE e.kind = 'file' \
         AND e.withdrawn_house <= $1 AND e.withdrawn_at IS NOT NULL AND e.replaced_at IS NULL \
         AND e.shredded_at IS NULL ORDER BY e.withdrawn_house LIMIT $2",
    )
    .bind(before.millis())
    .bind(i64::from(most))
    .fetch_all(conn)
    .await?;
    Ok(readable("entry", &rows, |row| Ok((bytes_as(row, "entry", "id")?, text_as(row, "ticket", "reference")?))))
}

/// Whether a file is still withdrawn, since `before` at the latest, and has keys.
///
/// # Errors
/// If the database fails.
pub async fn is_past_grace(conn: &mut Conn, file: &[u8; 16], before: HouseTime) -> Result<bool, RecordsError> {
    let row = sqlx::query(
        "SELECT 1 FROM entry WHERE id = $1 AND withdrawn_house <= $2 AND withdrawn_at IS NOT NULL \
         AND replaced_at IS NULL AND shredded_at IS NULL",
    )
    .bind(&file[..])
    .bind(before.millis())
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
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
///
/// # Errors
/// If the database fails.
pub async fn withdrawn_files(
    conn: &mut Conn,
    parent: DirectoryId,
    index: &[u8; 32],
) -> Result<Vec<WithdrawnRow>, RecordsError> {
    let rows = sqlx::query(
        "SELECT id, withdrawn_house, shredded_at FROM entry WHERE parent_id = $1 AND name_index = $2 \
         AND kind = 'file' AND withdrawn_at IS NOT NULL AND replaced_at IS NULL",
    )
    .bind(&parent.as_bytes()[..])
    .bind(&index[..])
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(WithdrawnRow {
                id: bytes_as(row, "entry", "id")?,
                since: HouseTime::from_millis(row.try_get::<Option<i64>, _>("withdrawn_house")?.unwrap_or(0)),
                shredded: row.try_get::<Option<i64>, _>("shredded_at")?.is_some(),
            })
        })
        .collect()
}

/// The directories of this name in this directory, in sight or not.
///
/// # Errors
/// If the database fails.
pub async fn directories(
    conn: &mut Conn,
    parent: DirectoryId,
    index: &[u8; 32],
) -> Result<Vec<DirectoryId>, RecordsError> {
    let rows = sqlx::query("SELECT id FROM entry WHERE parent_id = $1 AND name_index = $2 AND kind = 'directory'")
        .bind(&parent.as_bytes()[..])
        .bind(&index[..])
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| bytes_as(row, "entry", "id")).collect()
}

/// Says that the journal may hold a key that was taken away, in the transaction that takes it.
///
/// # Errors
/// If the database fails.
pub async fn owe_journal(conn: &mut Conn) -> Result<(), RecordsError> {
    let owed = count(conn, JOURNAL_OWED).await? + 1;
    super::people::set_fact(conn, JOURNAL_OWED, &owed.to_string()).await
}

/// If the journal may hold such a key: what [`journal_emptied`] is to be told once it does not.
///
/// # Errors
/// If the database fails.
pub async fn owed_journal(conn: &mut Conn) -> Result<Option<u64>, RecordsError> {
    let (owed, emptied) = (count(conn, JOURNAL_OWED).await?, count(conn, JOURNAL_EMPTIED).await?);
    Ok((owed != emptied).then_some(owed))
}

/// Says that the journal was emptied after [`owed_journal`] had given `owed`. Keys taken away since then owe it again.
///
/// # Errors
/// If the database fails.
pub async fn journal_emptied(conn: &mut Conn, owed: u64) -> Result<(), RecordsError> {
    super::people::set_fact(conn, JOURNAL_EMPTIED, &owed.to_string()).await
}

async fn count(conn: &mut Conn, fact: &str) -> Result<u64, RecordsError> {
    Ok(super::people::fact(conn, fact).await?.and_then(|text| text.parse().ok()).unwrap_or(0))
}
