//! Versions, the extents that they are made of, small objects, and objects that nobody needs any more.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::readable::{all_of, name, readable};
use super::{Conn, RecordsError, bytes_as, bytes_as_option, number_as, text_as, unsigned};
use crate::model::{ArtifactId, HouseTime, ObjectId, ObjectPlace, ShareId, Time, Transport, VersionId, VersionState};

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
    /// The sealed map and SHA-256 state of an unfinished upload, or the SHA-256 state of an available one.
    pub progress: Option<Vec<u8>>,
    /// The plaintext's SHA-256, once available.
    pub sha256: Option<[u8; 32]>,
    /// The manifest's object and the SHA-256 of its bytes, once available.
    pub manifest: Option<(ObjectId, [u8; 32])>,
    /// The weakest transport that anything of it came by.
    pub transport: Transport,
    /// Plaintext bytes that were never sent: zeros, once available.
    pub zeros: u64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT v.id, v.entry_id, v.number, v.state, v.key_generation, v.file_key, v.uploaded_by, v.received_at, \
             v.resumable_at, v.length, v.stored, v.touched_at, v.progress, v.sha256, v.manifest_id, v.manifest_hash, \
             v.transport, v.zeros FROM version v ",
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
    })
}

/// The version with this id.
pub async fn by_id(conn: &mut Conn, id: VersionId) -> Result<Option<VersionRow>, RecordsError> {
    ask!(select!("WHERE v.id = $1"), id).maybe(conn, version).await
}

const OF_SHARE: &str = select!("JOIN entry e ON e.id = v.entry_id WHERE e.share_id = $1 ORDER BY v.entry_id, v.number");

/// All versions of a share, by artifact and number. Each must be readable, as for what checks them all.
pub async fn of_share(conn: &mut Conn, share: ShareId) -> Result<Vec<VersionRow>, RecordsError> {
    all_of(&ask!(OF_SHARE, share).rows(conn).await?, version)
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
    /// The plaintext's SHA-256.
    pub sha256: [u8; 32],
    /// The manifest's object.
    pub manifest: ObjectId,
    /// SHA-256 of that object's bytes.
    pub manifest_hash: [u8; 32],
    /// The sealed SHA-256 state at its end, so that a longer version can follow without reading it again.
    pub progress: &'a [u8],
    /// When.
    pub at: Time,
}

/// Makes an unfinished version available. False if it is none any more. What was written down of its progress goes: it
/// becomes the same as one that was never seen unfinished.
pub async fn publish(conn: &mut Conn, publication: &Publication<'_>) -> Result<bool, RecordsError> {
    let text = "UPDATE version SET state = 'available', resumable_at = 0, stored = 0, length = $2, sha256 = $3, manifest_id = $4, \
         manifest_hash = $5, progress = $6, received_at = $7, zeros = $8 WHERE id = $1 \
         AND state IN ('receiving', 'incomplete') AND file_key IS NOT NULL";
    ask!(
        text,
        publication.id,
        publication.length,
        &publication.sha256[..],
        publication.manifest,
        &publication.manifest_hash[..],
        publication.progress,
        publication.at,
        publication.zeros
    )
    .changed(conn)
    .await
}

/// Takes an unfinished version's key away. False if it is none any more: then nothing has changed.
pub async fn shred_unfinished(conn: &mut Conn, id: VersionId) -> Result<bool, RecordsError> {
    let text = "UPDATE version SET state = 'shredded', file_key = NULL, progress = NULL WHERE id = $1 \
         AND state IN ('receiving', 'incomplete')";
    if !ask!(text, id).changed(conn).await? {
        return Ok(false);
    }
    super::lifecycle::owe_journal(conn).await?;
    Ok(true)
}

/// Marks a sealed version as damaged. False if it is none, or is marked already.
pub async fn mark_damaged(conn: &mut Conn, id: VersionId) -> Result<bool, RecordsError> {
    ask!("UPDATE version SET state = 'damaged' WHERE id = $1 AND state IN ('available', 'withdrawn')", id)
        .changed(conn)
        .await
}

/// An extent as one version uses it.
#[derive(Debug, Clone)]
pub struct ExtentRow {
    /// The object.
    pub id: ObjectId,
    /// Plaintext bytes.
    pub length: u64,
    /// FLOE's header tag, which the object must show.
    pub header_tag: [u8; 32],
    /// Where it lies.
    pub place: ObjectPlace,
    /// Its key, wrapped under the version's file key.
    pub extent_key: Vec<u8>,
}

/// Counts bytes that a share is to hold, unless it would hold more than `most` by that. Whether it was done.
pub async fn reserve(conn: &mut Conn, share: ShareId, bytes: u64, most: u64) -> Result<bool, RecordsError> {
    let text = "UPDATE ticket SET stored_bytes = stored_bytes + $2 WHERE share_id = $1 AND stored_bytes + $2 <= $3";
    ask!(text, share, bytes, most).changed(conn).await
}

/// Adds an extent that has become durable. Its bytes were counted by [`reserve`].
pub async fn add_extent(conn: &mut Conn, share: ShareId, extent: &ExtentRow) -> Result<(), RecordsError> {
    let text = "INSERT INTO extent (id, share_id, length, header_tag, place) VALUES ($1, $2, $3, $4, $5)";
    ask!(text, extent.id, share, extent.length, &extent.header_tag[..], extent.place.as_str()).run(conn).await
}

/// Says that a version uses an extent. False if the extent is gone: the version that it was shared with was shredded.
pub async fn use_extent(
    conn: &mut Conn,
    version: VersionId,
    extent: ObjectId,
    extent_key: &[u8],
) -> Result<bool, RecordsError> {
    let text = "INSERT INTO extent_use (version_id, extent_id, extent_key) \
         SELECT $1, id, $3 FROM extent WHERE id = $2";
    ask!(text, version, extent, extent_key).changed(conn).await
}

/// The extents that a version uses.
pub async fn extents(conn: &mut Conn, version: VersionId) -> Result<Vec<ExtentRow>, RecordsError> {
    let text = "SELECT x.id, x.length, x.header_tag, x.place, u.extent_key FROM extent_use u \
         JOIN extent x ON x.id = u.extent_id WHERE u.version_id = $1";
    ask!(text, version)
        .all(conn, |row| {
            Ok(ExtentRow {
                id: bytes_as(row, "extent", "id")?,
                length: unsigned(row, "extent", "length")?,
                header_tag: bytes_as(row, "extent", "header_tag")?,
                place: text_as(row, "extent", "place")?,
                extent_key: row.try_get("extent_key")?,
            })
        })
        .await
}

/// Ends a version's use of an extent. If no other version uses it, the extent is doomed; it counts until it is forgotten.
pub async fn release_extent(
    conn: &mut Conn,
    version: VersionId,
    extent: ObjectId,
    now: HouseTime,
) -> Result<(), RecordsError> {
    ask!("DELETE FROM extent_use WHERE version_id = $1 AND extent_id = $2", version, extent).run(conn).await?;
    drop_unused(conn, extent, Some(version), now).await
}

/// Dooms an extent that no version uses, of which `last` was the last one to use it. One that is used stays as it is. It
/// counts as its share's until it is forgotten.
pub async fn drop_unused(
    conn: &mut Conn,
    extent: ObjectId,
    last: Option<VersionId>,
    now: HouseTime,
) -> Result<(), RecordsError> {
    let id = &extent.as_bytes()[..];
    // A version without a digest was never whole, so nobody is in the middle of a download of it.
    let text = "INSERT INTO doomed (object_id, place, since, share_id, length, unread) \
         SELECT x.id, x.place, $2, x.share_id, x.length, \
         CASE WHEN EXISTS (SELECT 1 FROM version v WHERE v.id = $3 AND v.sha256 IS NULL) THEN 1 ELSE 0 END \
         FROM extent x WHERE x.id = $1 AND NOT EXISTS (SELECT 1 FROM extent_use WHERE extent_id = $1)";
    ask!(text, id, now, last).run(conn).await?;
    ask!("DELETE FROM extent WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM extent_use WHERE extent_id = $1)", id)
        .run(conn)
        .await
}

/// Says that nobody needs an object of the store that has no row. It counts as its share's with this many plaintext bytes,
/// over the share's limit if need be, as it lies on the disk already.
pub async fn doom(
    conn: &mut Conn,
    object: ObjectId,
    share: ShareId,
    bytes: u64,
    now: HouseTime,
) -> Result<(), RecordsError> {
    let text = "INSERT INTO doomed (object_id, place, since, share_id, length, unread) VALUES ($1, 'store', $2, $3, $4, 1) \
         ON CONFLICT DO NOTHING";
    if ask!(text, object, now, share, bytes).changed(conn).await? {
        reserve(conn, share, bytes, u64::MAX).await?;
    }
    Ok(())
}

/// Doomed objects of a share that may go at once, at most `most`: none of them was ever part of something that could be
/// downloaded.
pub async fn doomed_unread(
    conn: &mut Conn,
    share: ShareId,
    most: u32,
) -> Result<Vec<(ObjectId, ObjectPlace)>, RecordsError> {
    let text = "SELECT d.object_id, d.place FROM doomed d WHERE d.share_id = $1 AND d.unread = 1 \
         AND NOT EXISTS (SELECT 1 FROM extent x WHERE x.id = d.object_id) \
         AND NOT EXISTS (SELECT 1 FROM version v WHERE v.manifest_id = d.object_id AND v.state <> 'shredded') \
         ORDER BY d.object_id LIMIT $2 + 0";
    ask!(text, share, most)
        .all(conn, |row| Ok((bytes_as(row, "doomed", "object_id")?, text_as(row, "doomed", "place")?)))
        .await
}

/// How many plaintext bytes a share counts that go as soon as it needs the room.
pub async fn unread_bytes(conn: &mut Conn, share: ShareId) -> Result<u64, RecordsError> {
    ask!("SELECT COALESCE(SUM(length), 0) AS bytes FROM doomed WHERE share_id = $1 AND unread = 1", share)
        .one(conn, |row| unsigned(row, "doomed", "bytes"))
        .await
}

/// Objects that have been doomed since before `before`, at most `most`. What a row speaks of after all is not among them.
pub async fn doomed(
    conn: &mut Conn,
    before: HouseTime,
    most: u32,
) -> Result<Vec<(ObjectId, ObjectPlace)>, RecordsError> {
    let text = "SELECT d.object_id, d.place FROM doomed d WHERE d.since < $1 \
         AND NOT EXISTS (SELECT 1 FROM extent x WHERE x.id = d.object_id) \
         AND NOT EXISTS (SELECT 1 FROM version v WHERE v.manifest_id = d.object_id AND v.state <> 'shredded') \
         ORDER BY d.since, d.object_id LIMIT $2 + 0";
    ask!(text, before, most)
        .all(conn, |row| Ok((bytes_as(row, "doomed", "object_id")?, text_as(row, "doomed", "place")?)))
        .await
}

/// Forgets a doomed object that is gone, and its bytes where they lie here. From now on its share no longer counts it.
pub async fn forget(conn: &mut Conn, object: ObjectId) -> Result<(), RecordsError> {
    let id = &object.as_bytes()[..];
    ask!("DELETE FROM object WHERE id = $1", id).run(conn).await?;
    let text = "UPDATE ticket SET stored_bytes = stored_bytes - (SELECT length FROM doomed WHERE object_id = $1) \
         WHERE share_id = (SELECT share_id FROM doomed WHERE object_id = $1)";
    ask!(text, id).run(conn).await?;
    ask!("DELETE FROM doomed WHERE object_id = $1", id).run(conn).await
}

/// Keeps a small object here.
///
/// # Errors
/// [`RecordsError::Exists`] if the id was used before.
pub async fn put_object(conn: &mut Conn, id: ObjectId, bytes: &[u8]) -> Result<(), RecordsError> {
    ask!("INSERT INTO object (id, bytes) VALUES ($1, $2)", id, bytes).run(conn).await
}

/// A small object's bytes.
pub async fn object(conn: &mut Conn, id: ObjectId) -> Result<Option<Vec<u8>>, RecordsError> {
    ask!("SELECT bytes FROM object WHERE id = $1", id).maybe(conn, |row| Ok(row.try_get("bytes")?)).await
}
