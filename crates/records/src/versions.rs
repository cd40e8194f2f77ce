//! Versions: begun, continued, published, shredded.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::ask::{ask, behind};
use super::many::ROWS;
use super::readable::{Page, name, page, readable};
use super::version_chain::chain;
use super::{
    Conn, RecordsError, bytes_as, bytes_as_option, digests, extents, facts, number_as, objects, small_files, text_as,
    tickets, unsigned,
};
use tacdrop_model::{ArtifactId, HouseTime, Identifier, ObjectId, ShareId, Time, Transport, VersionId, VersionState};

/// One version of an artifact.
#[derive(Debug, Clone)]
pub struct VersionRow {
    /// Its id.
    pub id: VersionId,
    /// The artifact.
    pub artifact: ArtifactId,
    /// From 1 on within the artifact's own row.
    pub number: u64,
    /// Where it stands.
    pub state: VersionState,
    /// The generation of the share key that wraps the file key.
    pub key_generation: u32,
    /// The wrapped file key; none once shredded.
    pub file_key: Option<Vec<u8>>,
    /// Who sent it.
    pub uploaded_by: String,
    /// When it became available.
    pub received_at: Option<Time>,
    /// Up to where it can be continued.
    pub resumable_at: u64,
    /// Plaintext bytes.
    pub length: u64,
    /// Of an unfinished version: plaintext bytes that are there.
    pub stored: u64,
    /// When something of it was last written down.
    pub touched_at: HouseTime,
    /// The sealed map and SHA-256 state of an unfinished upload, or the SHA-256 state of an
    /// available one.
    pub progress: Option<Vec<u8>>,
    /// The plaintext's SHA-256, once available.
    pub sha256: Option<[u8; 32]>,
    /// The manifest's object and the SHA-256 of its bytes, once available.
    pub manifest: Option<(ObjectId, [u8; 32])>,
    /// The weakest transport that anything of it came by.
    pub transport: Transport,
    /// Plaintext bytes that were never sent: zeros, once available.
    pub zeros: u64,
    /// The entry of the audit trail that tells of it with this manifest; none if the manifest does
    /// not say how the version came.
    pub trail_seq: Option<i64>,
    /// The row that its manifest and its one extent lie in, if it is a small file
    /// ([`small_files`]).
    pub small_file: Option<i64>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT v.id, v.entry_id, v.number, v.state, v.key_generation, v.file_key, v.uploaded_by, v.received_at, \
             v.resumable_at, v.length, v.stored, v.touched_at, v.progress, v.sha256, v.manifest_id, v.manifest_hash, \
             v.transport, v.zeros, v.trail_seq, v.small_file FROM version v ",
            $rest
        )
    };
}

fn version(row: &SqliteRow) -> Result<VersionRow, RecordsError> {
    let manifest =
        match (bytes_as_option(row, "version", "manifest_id")?, bytes_as_option(row, "version", "manifest_hash")?) {
            (Some(id), Some(hash)) => Some((id, hash)),
            _ => None,
        };
    Ok(VersionRow {
        id: bytes_as(row, "version", "id")?,
        artifact: bytes_as(row, "version", "entry_id")?,
        number: unsigned(row, "version", "number")?,
        state: text_as(row, "version", "state")?,
        key_generation: number_as(row, "version", "key_generation")?,
        file_key: row.try_get("file_key")?,
        uploaded_by: row.try_get("uploaded_by")?,
        received_at: row.try_get::<Option<i64>, _>("received_at")?.map(Time::from_millis),
        resumable_at: unsigned(row, "version", "resumable_at")?,
        length: unsigned(row, "version", "length")?,
        stored: unsigned(row, "version", "stored")?,
        touched_at: HouseTime::from_millis(row.try_get("touched_at")?),
        progress: row.try_get("progress")?,
        sha256: bytes_as_option(row, "version", "sha256")?,
        manifest,
        transport: text_as(row, "version", "transport")?,
        zeros: unsigned(row, "version", "zeros")?,
        trail_seq: row.try_get("trail_seq")?,
        small_file: row.try_get("small_file")?,
    })
}

/// The version with this id.
pub async fn by_id(conn: &mut Conn, id: VersionId) -> Result<Option<VersionRow>, RecordsError> {
    ask!(select!("WHERE v.id = $1"), id).maybe(conn, version).await
}

const OF_SHARE: &str = select!("JOIN entry e ON e.id = v.entry_id WHERE e.share_id = $1 ORDER BY v.entry_id, v.number");

/// All versions of a share, by artifact and number. Each must be readable, as for what checks them
/// all.
pub async fn of_share(conn: &mut Conn, share: ShareId) -> Result<Vec<VersionRow>, RecordsError> {
    ask!(OF_SHARE, share).all(conn, version).await
}

/// Those that can be read.
pub async fn list(conn: &mut Conn, share: ShareId) -> Result<Vec<VersionRow>, RecordsError> {
    Ok(list_and_rest(conn, share).await?.0)
}

/// Those that can be read, and the ids of the others.
pub async fn list_and_rest(conn: &mut Conn, share: ShareId) -> Result<(Vec<VersionRow>, Vec<String>), RecordsError> {
    let rows = ask!(OF_SHARE, share).rows(conn).await?;
    let unreadable = rows.iter().filter(|row| version(row).is_err()).map(|row| name(row, 0)).collect();
    Ok((readable("version", &rows, version), unreadable))
}

/// The highest number that a version of this artifact's own row has.
pub async fn highest_number(conn: &mut Conn, artifact: ArtifactId) -> Result<u64, RecordsError> {
    ask!("SELECT COALESCE(MAX(number), 0) AS n FROM version WHERE entry_id = $1", artifact)
        .one(conn, |row| unsigned(row, "version", "n"))
        .await
}

/// What a new version begins as.
#[derive(Debug)]
pub struct NewVersion<'a> {
    /// Its id.
    pub id: VersionId,
    /// The artifact.
    pub artifact: ArtifactId,
    /// Its number within the artifact's own row.
    pub number: u64,
    /// The generation of the share key that wraps the file key.
    pub key_generation: u32,
    /// The wrapped file key.
    pub file_key: &'a [u8],
    /// Who sends it.
    pub uploaded_by: &'a str,
    /// When it was opened.
    pub opened_at: Time,
    /// The same in house time.
    pub touched_at: HouseTime,
    /// The weakest transport that anything of it came by so far.
    pub transport: Transport,
}

/// Adds a version in state `receiving`.
///
/// # Errors
/// [`RecordsError::Exists`] if the number is taken.
pub async fn add(conn: &mut Conn, new: &NewVersion<'_>) -> Result<(), RecordsError> {
    let text = "INSERT INTO version (id, entry_id, number, state, key_generation, file_key, uploaded_by, opened_at, touched_at, \
         transport) VALUES ($1, $2, $3, 'receiving', $4, $5, $6, $7, $8, $9)";
    ask!(
        text,
        new.id,
        new.artifact,
        new.number,
        new.key_generation,
        new.file_key,
        new.uploaded_by,
        new.opened_at,
        new.touched_at,
        new.transport.as_str()
    )
    .run(conn)
    .await
}

/// Says that something of a version came over a weak transport. It never becomes strong again.
pub async fn mark_weak(conn: &mut Conn, id: VersionId) -> Result<(), RecordsError> {
    ask!("UPDATE version SET transport = 'legacy' WHERE id = $1 AND transport <> 'legacy'", id).run(conn).await
}

/// How far an unfinished version is.
#[derive(Debug)]
pub struct ProgressRow<'a> {
    /// The version.
    pub id: VersionId,
    /// `receiving` or `incomplete`.
    pub state: VersionState,
    /// Up to where it can be continued.
    pub resumable_at: u64,
    /// How long it is, what is missing included.
    pub length: u64,
    /// Bytes that are there.
    pub stored: u64,
    /// The sealed map and SHA-256 state.
    pub progress: &'a [u8],
    /// When.
    pub at: HouseTime,
}

/// Writes down how far an unfinished version is. False if it is none any more.
pub async fn set_progress(conn: &mut Conn, row: &ProgressRow<'_>) -> Result<bool, RecordsError> {
    let text = "UPDATE version SET state = $2, resumable_at = $3, length = $4, progress = $5, stored = $6, touched_at = $7, \
         warned_at = NULL WHERE id = $1 AND state IN ('receiving', 'incomplete') AND file_key IS NOT NULL";
    ask!(text, row.id, row.state.as_str(), row.resumable_at, row.length, row.progress, row.stored, row.at)
        .changed(conn)
        .await
}

/// What makes a version available.
#[derive(Debug)]
pub struct Publication<'a> {
    /// The version.
    pub id: VersionId,
    /// Plaintext bytes.
    pub length: u64,
    /// Those of them that were never sent, and are zeros.
    pub zeros: u64,
    /// Who sent its end.
    pub uploaded_by: &'a str,
    /// The weakest transport that anything of it came by.
    pub transport: Transport,
    /// The plaintext's SHA-256.
    pub sha256: [u8; 32],
    /// The manifest's object.
    pub manifest: ObjectId,
    /// SHA-256 of that object's bytes.
    pub manifest_hash: [u8; 32],
    /// The sealed SHA-256 state at its end, so that a longer version can follow without reading it
    /// again.
    pub progress: &'a [u8],
    /// When.
    pub at: Time,
}

/// Makes an unfinished version available. False if it is none any more. What was written down of
/// its progress goes: it becomes the same as one that was never seen unfinished. The newest entry
/// of the audit trail is the one that tells of it.
pub async fn publish(conn: &mut Conn, publication: &Publication<'_>) -> Result<bool, RecordsError> {
    let text = "UPDATE version SET state = 'available', resumable_at = 0, stored = 0, length = $2, sha256 = $3, manifest_id = $4, \
         manifest_hash = $5, progress = $6, received_at = $7, zeros = $8, \
         uploaded_by = $9, transport = $10, trail_seq = (SELECT MAX(seq) FROM audit_event) WHERE id = $1 \
         AND state IN ('receiving', 'incomplete') AND file_key IS NOT NULL";
    let published = ask!(
        text,
        publication.id,
        publication.length,
        &publication.sha256[..],
        publication.manifest,
        &publication.manifest_hash[..],
        publication.progress,
        publication.at,
        publication.zeros,
        publication.uploaded_by,
        publication.transport.as_str()
    )
    .changed(conn)
    .await?;
    if published {
        tickets::arrived(conn, publication.id, publication.at).await?;
    }
    Ok(published)
}

/// Takes an unfinished version's key away. False if it is none any more: then nothing has changed.
pub async fn shred_unfinished(conn: &mut Conn, id: VersionId) -> Result<bool, RecordsError> {
    let text = "UPDATE version SET state = 'shredded', file_key = NULL, progress = NULL WHERE id = $1 \
         AND state IN ('receiving', 'incomplete')";
    if !ask!(text, id).changed(conn).await? {
        return Ok(false);
    }
    facts::owe_journal(conn).await?;
    Ok(true)
}

/// Marks a sealed version as damaged. False if it is none, or is marked already.
pub async fn mark_damaged(conn: &mut Conn, id: VersionId) -> Result<bool, RecordsError> {
    ask!("UPDATE version SET state = 'damaged' WHERE id = $1 AND state IN ('available', 'withdrawn')", id)
        .changed(conn)
        .await
}

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

/// The shares, each with its ticket, that have versions whose manifest does not say yet how the
/// version came.
pub async fn shares_to_reseal(conn: &mut Conn) -> Result<Vec<(ShareId, Identifier)>, RecordsError> {
    let text = "SELECT t.reference, t.share_id FROM ticket t WHERE t.share_id IN (SELECT e.share_id FROM version v \
         JOIN entry e ON e.id = v.entry_id WHERE v.trail_seq IS NULL AND v.manifest_id IS NOT NULL) ORDER BY t.reference";
    let read = |row: &SqliteRow| Ok((bytes_as(row, "ticket", "share_id")?, text_as(row, "ticket", "reference")?));
    ask!(text).readable(conn, "ticket", read).await
}

pub(super) const TO_RESEAL: &str = select!(
    "JOIN entry e ON e.id = v.entry_id WHERE v.trail_seq IS NULL AND v.manifest_id IS NOT NULL AND e.share_id = $1 \
     AND v.id > $2 ORDER BY v.id LIMIT $3 + 0"
);

/// Such versions of a share whose id is above `after`, at most `most`, by id.
pub async fn to_reseal(
    conn: &mut Conn,
    share: ShareId,
    after: &[u8],
    most: u32,
) -> Result<Page<VersionRow>, RecordsError> {
    page(&ask!(TO_RESEAL, share, after, most).rows(conn).await?, "version", version)
}

/// How many such versions there are.
pub async fn count_to_reseal(conn: &mut Conn) -> Result<u64, RecordsError> {
    ask!("SELECT COUNT(*) AS n FROM version WHERE trail_seq IS NULL AND manifest_id IS NOT NULL")
        .one(conn, |row| unsigned(row, "version", "n"))
        .await
}

/// Gives a version the manifest that was sealed for it again; the one before is doomed. The newest
/// entry of the audit trail is the one that tells of it. False if it has no key any more, or
/// another manifest than `before`: then nothing has changed.
pub async fn reseal(
    conn: &mut Conn,
    before: &VersionRow,
    (manifest, hash): (ObjectId, [u8; 32]),
    (uploaded_by, transport): (&Identifier, Transport),
    now: HouseTime,
) -> Result<bool, RecordsError> {
    let Some((old, old_hash)) = before.manifest else { return Ok(false) };
    let text = "UPDATE version SET manifest_id = $3, manifest_hash = $4, uploaded_by = $5, transport = $6, \
         trail_seq = (SELECT MAX(seq) FROM audit_event) \
         WHERE id = $1 AND manifest_hash = $2 AND file_key IS NOT NULL";
    let asked = ask!(text, before.id, &old_hash[..], manifest, &hash[..], uploaded_by.as_str(), transport.as_str());
    let done = asked.changed(conn).await?;
    if done {
        objects::doom_manifest(conn, before.id, old, now).await?;
    }
    Ok(done)
}

/// Takes the key of a version away, with everything that only this key opens; extents that no other
/// version uses, and its manifest, are doomed, and count as its share's until they are forgotten.
/// With `untouched_since` only of an unfinished one that was not touched after that. False if it is
/// none of these, or has no key any more: then nothing has changed.
pub async fn shred(
    conn: &mut Conn,
    id: VersionId,
    untouched_since: Option<HouseTime>,
    now: HouseTime,
) -> Result<bool, RecordsError> {
    let text = "SELECT manifest_id, small_file IS NOT NULL AS is_small FROM version WHERE id = $1 AND file_key IS NOT NULL \
         AND ($2 IS NULL OR (state IN ('receiving', 'incomplete') AND touched_at <= $2))";
    let found = ask!(text, id, untouched_since).maybe(conn, |row| {
        Ok((bytes_as_option::<ObjectId>(row, "version", "manifest_id")?, row.try_get::<i64, _>("is_small")? != 0))
    });
    match found.await? {
        None => return Ok(false),
        Some((_, true)) => small_files::doom(conn, id, now).await?,
        Some((Some(manifest), false)) => objects::doom_manifest(conn, id, manifest, now).await?,
        Some((None, false)) => {}
    }
    extents::release_all(conn, id, now).await?;
    digests::forget(conn, id).await?;
    // Who can guess a content could recognise it by its digest.
    let text = "UPDATE version SET state = 'shredded', file_key = NULL, progress = NULL, manifest_id = NULL, \
         sha256 = NULL, resumable_at = 0, stored = 0 WHERE id = $1";
    ask!(text, id).run(conn).await?;
    facts::owe_journal(conn).await?;
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

/// Unfinished versions that were not touched since `$1`, but of shares that are held. The first condition is there for the index
/// of unfinished versions: the table is large, and they are few.
macro_rules! unfinished {
    ($rest:literal) => {
        concat!(
            "SELECT v.id, v.entry_id, t.reference FROM version v JOIN entry e ON e.id = v.entry_id \
             JOIN ticket t ON t.share_id = e.share_id WHERE v.id IN (SELECT id FROM version \
             WHERE state IN ('receiving', 'incomplete') AND touched_at <= $1) \
             AND v.state IN ('receiving', 'incomplete') AND v.touched_at <= $1 \
             AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.share_id = e.share_id) ",
            $rest
        )
    };
}

pub(super) const UNWARNED: &str = unfinished!("AND v.warned_at IS NULL AND v.id > $2 ORDER BY v.id LIMIT $3 + 0");

/// Unfinished versions, not touched since `before`, that nobody was warned of; those whose id is
/// above `after`, at most `most`, by id.
pub async fn unwarned(
    conn: &mut Conn,
    before: HouseTime,
    after: Option<VersionId>,
    most: u32,
) -> Result<Vec<UnfinishedRow>, RecordsError> {
    ask!(UNWARNED, before, behind(after), most).readable(conn, "version", unfinished_row).await
}

/// Writes down that people are told of it. False if it was touched meanwhile, or they were told
/// before.
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

/// Unfinished versions, not touched since `before`, that people were warned of by `warned`; those
/// whose id is above `after`, at most `most`, by id.
pub async fn expired(
    conn: &mut Conn,
    before: HouseTime,
    warned: HouseTime,
    after: Option<VersionId>,
    most: u32,
) -> Result<Vec<UnfinishedRow>, RecordsError> {
    ask!(EXPIRED, before, warned, behind(after), most).readable(conn, "version", unfinished_row).await
}

/// Takes the key of a version away that is shredded by its state, and what it has as a small file.
pub async fn finish_shredding(conn: &mut Conn, version: VersionId, now: HouseTime) -> Result<(), RecordsError> {
    small_files::doom(conn, version, now).await?;
    ask!("UPDATE version SET file_key = NULL, progress = NULL WHERE id = $1 AND state = 'shredded'", version)
        .run(conn)
        .await
}

/// A version's wrapped file key.
#[derive(Debug)]
pub struct FileKeyRow {
    /// The version.
    pub version: VersionId,
    /// The generation of the share key that wraps it.
    pub generation: u32,
    /// The wrapped file key.
    pub wrapped: Vec<u8>,
}

/// File keys of a share in the order of their versions' ids, at most `most`, from behind the id
/// `after` on (empty: from the first).
pub async fn file_keys(
    conn: &mut Conn,
    share: ShareId,
    after: &[u8],
    most: u32,
) -> Result<Page<FileKeyRow>, RecordsError> {
    let text = "SELECT v.id, v.key_generation, v.file_key FROM version v JOIN entry e ON e.id = v.entry_id \
         WHERE e.share_id = $1 AND v.file_key IS NOT NULL AND v.id > $2 ORDER BY v.id LIMIT $3 + 0";
    page(&ask!(text, share, after, most).rows(conn).await?, "version", |row| {
        Ok(FileKeyRow {
            version: bytes_as(row, "version", "id")?,
            generation: number_as(row, "version", "key_generation")?,
            wrapped: row.try_get("file_key")?,
        })
    })
}

/// Replaces what versions' file keys are wrapped in. Many rows in one statement: a large share
/// keeps other writers waiting for seconds otherwise.
pub async fn set_file_keys(conn: &mut Conn, keys: &[FileKeyRow]) -> Result<(), RecordsError> {
    for some in keys.chunks(ROWS) {
        let mut update = QueryBuilder::<Sqlite>::new(
            "UPDATE version SET key_generation = new.column2, file_key = new.column3 FROM (",
        );
        update.push_values(some, |mut row, key| {
            row.push_bind(key.version.as_bytes().to_vec());
            row.push_bind(i64::from(key.generation));
            row.push_bind(key.wrapped.clone());
        });
        update.push(") AS new WHERE version.id = new.column1 AND version.file_key IS NOT NULL");
        update.build().execute(&mut *conn).await?;
    }
    Ok(())
}

const WRAPPED: &str = "SELECT e.share_id, v.key_generation, COUNT(*) AS n FROM version v JOIN entry e ON e.id = v.entry_id \
     WHERE v.file_key IS NOT NULL GROUP BY e.share_id, v.key_generation ORDER BY e.share_id, v.key_generation";

fn wrapped_row(row: &SqliteRow) -> Result<(ShareId, u32, u64), RecordsError> {
    let share = bytes_as(row, "entry", "share_id")?;
    Ok((share, number_as(row, "version", "key_generation")?, unsigned(row, "version", "n")?))
}

/// How many file keys of each share are wrapped under which generation. Each row must be readable.
pub async fn wrapped(conn: &mut Conn) -> Result<Vec<(ShareId, u32, u64)>, RecordsError> {
    ask!(WRAPPED).all(conn, wrapped_row).await
}

/// The same as far as it can be read, for people.
pub async fn wrapped_to_show(conn: &mut Conn) -> Result<Vec<(ShareId, u32, u64)>, RecordsError> {
    ask!(WRAPPED).readable(conn, "version", wrapped_row).await
}

/// How many versions can be read or continued.
pub async fn count(conn: &mut Conn) -> Result<u64, RecordsError> {
    ask!("SELECT COUNT(*) AS n FROM version WHERE file_key IS NOT NULL")
        .one(conn, |row| unsigned(row, "version", "n"))
        .await
}
