//! Versions, the extents that they are made of, small objects, and objects that nobody needs any more.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::readable::{all_of, name, readable};
use super::{Conn, RecordsError, bytes_as, bytes_as_option, signed, text_as, unsigned};
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
        key_generation: u32::try_from(row.try_get::<i64, _>("key_generation")?)
            .map_err(|_| RecordsError::Unreadable { table: "version", why: "key_generation".to_owned() })?,
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
///
/// # Errors
/// If the database fails.
pub async fn by_id(conn: &mut Conn, id: VersionId) -> Result<Option<VersionRow>, RecordsError> {
    let row = sqlx::query(select!("WHERE v.id = $1")).bind(&id.as_bytes()[..]).fetch_optional(conn).await?;
    row.as_ref().map(version).transpose()
}

const OF_SHARE: &str = select!("JOIN entry e ON e.id = v.entry_id WHERE e.share_id = $1 ORDER BY v.entry_id, v.number");

/// All versions of a share, by artifact and number. Each must be readable, as for what checks them all.
///
/// # Errors
/// If the database fails, or a row cannot be read.
pub async fn of_share(conn: &mut Conn, share: ShareId) -> Result<Vec<VersionRow>, RecordsError> {
    all_of(&sqlx::query(OF_SHARE).bind(&share.as_bytes()[..]).fetch_all(conn).await?, version)
}

/// Those that can be read.
///
/// # Errors
/// If the database fails.
pub async fn list(conn: &mut Conn, share: ShareId) -> Result<Vec<VersionRow>, RecordsError> {
    Ok(list_and_rest(conn, share).await?.0)
}

/// Those that can be read, and the ids of the others.
///
/// # Errors
/// If the database fails.
pub async fn list_and_rest(conn: &mut Conn, share: ShareId) -> Result<(Vec<VersionRow>, Vec<String>), RecordsError> {
    let rows = sqlx::query(OF_SHARE).bind(&share.as_bytes()[..]).fetch_all(conn).await?;
    let unreadable = rows.iter().filter(|row| version(row).is_err()).map(|row| name(row, 0)).collect();
    Ok((readable("version", &rows, version), unreadable))
}

/// The highest number that a version of this artifact's own row has.
///
/// # Errors
/// If the database fails.
pub async fn highest_number(conn: &mut Conn, artifact: ArtifactId) -> Result<u64, RecordsError> {
    let row = sqlx::query("SELECT COALESCE(MAX(number), 0) AS n FROM version WHERE entry_id = $1")
        .bind(&artifact.as_bytes()[..])
        .fetch_one(conn)
        .await?;
    unsigned(&row, "version", "n")
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
    sqlx::query(
        "INSERT INTO version (id, entry_id, number, state, key_generation, file_key, uploaded_by, opened_at, touched_at, \
         transport) VALUES ($1, $2, $3, 'receiving', $4, $5, $6, $7, $8, $9)",
    )
    .bind(&new.id.as_bytes()[..])
    .bind(&new.artifact.as_bytes()[..])
    .bind(signed(new.number))
    .bind(i64::from(new.key_generation))
    .bind(new.file_key)
    .bind(new.uploaded_by)
    .bind(new.opened_at.millis())
    .bind(new.touched_at.millis())
    .bind(new.transport.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// Says that something of a version came over a weak transport. It never becomes strong again.
///
/// # Errors
/// If the database fails.
pub async fn mark_weak(conn: &mut Conn, id: VersionId) -> Result<(), RecordsError> {
    sqlx::query("UPDATE version SET transport = 'legacy' WHERE id = $1 AND transport <> 'legacy'")
        .bind(&id.as_bytes()[..])
        .execute(conn)
        .await?;
    Ok(())
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
///
/// # Errors
/// If the database fails.
pub async fn set_progress(conn: &mut Conn, row: &ProgressRow<'_>) -> Result<bool, RecordsError> {
    let done = sqlx::query(
        "UPDATE version SET state = $2, resumable_at = $3, length = $4, progress = $5, stored = $6, touched_at = $7, \
         warned_at = NULL WHERE id = $1 AND state IN ('receiving', 'incomplete') AND file_key IS NOT NULL",
    )
    .bind(&row.id.as_bytes()[..])
    .bind(row.state.as_str())
    .bind(signed(row.resumable_at))
    .bind(signed(row.length))
    .bind(row.progress)
    .bind(signed(row.stored))
    .bind(row.at.millis())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
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
///
/// # Errors
/// If the database fails.
pub async fn publish(conn: &mut Conn, publication: &Publication<'_>) -> Result<bool, RecordsError> {
    let done = sqlx::query(
        "UPDATE version SET state = 'available', resumable_at = 0, stored = 0, length = $2, sha256 = $3, manifest_id = $4, \
         manifest_hash = $5, progress = $6, received_at = $7, zeros = $8 WHERE id = $1 \
         AND state IN ('receiving', 'incomplete') AND file_key IS NOT NULL",
    )
    .bind(&publication.id.as_bytes()[..])
    .bind(signed(publication.length))
    .bind(&publication.sha256[..])
    .bind(&publication.manifest.as_bytes()[..])
    .bind(&publication.manifest_hash[..])
    .bind(publication.progress)
    .bind(publication.at.millis())
    .bind(signed(publication.zeros))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Takes an unfinished version's key away. False if it is none any more: then nothing has changed.
///
/// # Errors
/// If the database fails.
pub async fn shred_unfinished(conn: &mut Conn, id: VersionId) -> Result<bool, RecordsError> {
    let done = sqlx::query(
        "UPDATE version SET state = 'shredded', file_key = NULL, progress = NULL WHERE id = $1 \
         AND state IN ('receiving', 'incomplete')",
    )
    .bind(&id.as_bytes()[..])
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    super::lifecycle::owe_journal(conn).await?;
    Ok(true)
}

/// Marks a sealed version as damaged. False if it is none, or is marked already.
///
/// # Errors
/// If the database fails.
pub async fn mark_damaged(conn: &mut Conn, id: VersionId) -> Result<bool, RecordsError> {
    let done =
        sqlx::query("UPDATE version SET state = 'damaged' WHERE id = $1 AND state IN ('available', 'withdrawn')")
            .bind(&id.as_bytes()[..])
            .execute(conn)
            .await?;
    Ok(done.rows_affected() > 0)
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
///
/// # Errors
/// If the database fails.
pub async fn reserve(conn: &mut Conn, share: ShareId, bytes: u64, most: u64) -> Result<bool, RecordsError> {
    let done = sqlx::query(
        "UPDATE ticket SET stored_bytes = stored_bytes + $2 WHERE share_id = $1 AND stored_bytes + $2 <= $3",
    )
    .bind(&share.as_bytes()[..])
    .bind(signed(bytes))
    .bind(signed(most))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Adds an extent that has become durable. Its bytes were counted by [`reserve`].
///
/// # Errors
/// If the database fails.
pub async fn add_extent(conn: &mut Conn, share: ShareId, extent: &ExtentRow) -> Result<(), RecordsError> {
    sqlx::query("INSERT INTO extent (id, share_id, length, header_tag, place) VALUES ($1, $2, $3, $4, $5)")
        .bind(&extent.id.as_bytes()[..])
        .bind(&share.as_bytes()[..])
        .bind(signed(extent.length))
        .bind(&extent.header_tag[..])
        .bind(extent.place.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// Says that a version uses an extent. False if the extent is gone: the version that it was shared with was shredded.
///
/// # Errors
/// If the database fails.
pub async fn use_extent(
    conn: &mut Conn,
    version: VersionId,
    extent: ObjectId,
    extent_key: &[u8],
) -> Result<bool, RecordsError> {
    let done = sqlx::query(
        "INSERT INTO extent_use (version_id, extent_id, extent_key) \
         SELECT $1, id, $3 FROM extent WHERE id = $2",
    )
    .bind(&version.as_bytes()[..])
    .bind(&extent.as_bytes()[..])
    .bind(extent_key)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The extents that a version uses.
///
/// # Errors
/// If the database fails.
pub async fn extents(conn: &mut Conn, version: VersionId) -> Result<Vec<ExtentRow>, RecordsError> {
    let rows = sqlx::query(
        "SELECT x.id, x.length, x.header_tag, x.place, u.extent_key FROM extent_use u \
         JOIN extent x ON x.id = u.extent_id WHERE u.version_id = $1",
    )
    .bind(&version.as_bytes()[..])
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(ExtentRow {
                id: bytes_as(row, "extent", "id")?,
                length: unsigned(row, "extent", "length")?,
                header_tag: bytes_as(row, "extent", "header_tag")?,
                place: text_as(row, "extent", "place")?,
                extent_key: row.try_get("extent_key")?,
            })
        })
        .collect()
}

/// Ends a version's use of an extent. If no other version uses it, the extent is doomed; it counts until it is forgotten.
///
/// # Errors
/// If the database fails.
pub async fn release_extent(
    conn: &mut Conn,
    version: VersionId,
    extent: ObjectId,
    now: HouseTime,
) -> Result<(), RecordsError> {
    sqlx::query("DELETE FROM extent_use WHERE version_id = $1 AND extent_id = $2")
        .bind(&version.as_bytes()[..])
        .bind(&extent.as_bytes()[..])
        .execute(&mut *conn)
        .await?;
    drop_unused(conn, extent, Some(version), now).await
}

/// Dooms an extent that no version uses, of which `last` was the last one to use it. One that is used stays as it is. It
/// counts as its share's until it is forgotten.
///
/// # Errors
/// If the database fails.
pub async fn drop_unused(
    conn: &mut Conn,
    extent: ObjectId,
    last: Option<VersionId>,
    now: HouseTime,
) -> Result<(), RecordsError> {
    let id = &extent.as_bytes()[..];
    // A version without a digest was never whole, so nobody is in the middle of a download of it.
    sqlx::query(
        "INSERT INTO doomed (object_id, place, since, share_id, length, unread) \
         SELECT x.id, x.place, $2, x.share_id, x.length, \
         CASE WHEN EXISTS (SELECT 1 FROM version v WHERE v.id = $3 AND v.sha256 IS NULL) THEN 1 ELSE 0 END \
         FROM extent x WHERE x.id = $1 AND NOT EXISTS (SELECT 1 FROM extent_use WHERE extent_id = $1)",
    )
    .bind(id)
    .bind(now.millis())
    .bind(last.map(|version| version.as_bytes().to_vec()))
    .execute(&mut *conn)
    .await?;
    sqlx::query("DELETE FROM extent WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM extent_use WHERE extent_id = $1)")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Says that nobody needs an object of the store that has no row. It counts as its share's with this many plaintext bytes,
/// over the share's limit if need be, as it lies on the disk already.
///
/// # Errors
/// If the database fails.
pub async fn doom(
    conn: &mut Conn,
    object: ObjectId,
    share: ShareId,
    bytes: u64,
    now: HouseTime,
) -> Result<(), RecordsError> {
    let done = sqlx::query(
        "INSERT INTO doomed (object_id, place, since, share_id, length, unread) VALUES ($1, 'store', $2, $3, $4, 1) \
         ON CONFLICT DO NOTHING",
    )
    .bind(&object.as_bytes()[..])
    .bind(now.millis())
    .bind(&share.as_bytes()[..])
    .bind(signed(bytes))
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() > 0 {
        reserve(conn, share, bytes, u64::MAX).await?;
    }
    Ok(())
}

/// Doomed objects of a share that may go at once, at most `most`: none of them was ever part of something that could be
/// downloaded.
///
/// # Errors
/// If the database fails.
pub async fn doomed_unread(
    conn: &mut Conn,
    share: ShareId,
    most: u32,
) -> Result<Vec<(ObjectId, ObjectPlace)>, RecordsError> {
    let rows = sqlx::query(
        "SELECT d.object_id, d.place FROM doomed d WHERE d.share_id = $1 AND d.unread = 1 \
         AND NOT EXISTS (SELECT 1 FROM extent x WHERE x.id = d.object_id) \
         AND NOT EXISTS (SELECT 1 FROM version v WHERE v.manifest_id = d.object_id AND v.state <> 'shredded') \
         ORDER BY d.object_id LIMIT $2",
    )
    .bind(&share.as_bytes()[..])
    .bind(i64::from(most))
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((bytes_as(row, "doomed", "object_id")?, text_as(row, "doomed", "place")?))).collect()
}

/// How many plaintext bytes a share counts that go as soon as it needs the room.
///
/// # Errors
/// If the database fails.
pub async fn unread_bytes(conn: &mut Conn, share: ShareId) -> Result<u64, RecordsError> {
    let row = sqlx::query("SELECT COALESCE(SUM(length), 0) AS bytes FROM doomed WHERE share_id = $1 AND unread = 1")
        .bind(&share.as_bytes()[..])
        .fetch_one(conn)
        .await?;
    unsigned(&row, "doomed", "bytes")
}

/// Objects that have been doomed since before `before`, at most `most`. What a row speaks of after all is not among them.
///
/// # Errors
/// If the database fails.
pub async fn doomed(
    conn: &mut Conn,
    before: HouseTime,
    most: u32,
) -> Result<Vec<(ObjectId, ObjectPlace)>, RecordsError> {
    let rows = sqlx::query(
        "SELECT d.object_id, d.place FROM doomed d WHERE d.since < $1 \
         AND NOT EXISTS (SELECT 1 FROM extent x WHERE x.id = d.object_id) \
         AND NOT EXISTS (SELECT 1 FROM version v WHERE v.manifest_id = d.object_id AND v.state <> 'shredded') \
         ORDER BY d.since, d.object_id LIMIT $2",
    )
    .bind(before.millis())
    .bind(i64::from(most))
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((bytes_as(row, "doomed", "object_id")?, text_as(row, "doomed", "place")?))).collect()
}

/// Forgets a doomed object that is gone, and its bytes where they lie here. From now on its share no longer counts it.
///
/// # Errors
/// If the database fails.
pub async fn forget(conn: &mut Conn, object: ObjectId) -> Result<(), RecordsError> {
    let id = &object.as_bytes()[..];
    sqlx::query("DELETE FROM object WHERE id = $1").bind(id).execute(&mut *conn).await?;
    sqlx::query(
        "UPDATE ticket SET stored_bytes = stored_bytes - (SELECT length FROM doomed WHERE object_id = $1) \
         WHERE share_id = (SELECT share_id FROM doomed WHERE object_id = $1)",
    )
    .bind(id)
    .execute(&mut *conn)
    .await?;
    sqlx::query("DELETE FROM doomed WHERE object_id = $1").bind(id).execute(conn).await?;
    Ok(())
}

/// Keeps a small object here.
///
/// # Errors
/// [`RecordsError::Exists`] if the id was used before.
pub async fn put_object(conn: &mut Conn, id: ObjectId, bytes: &[u8]) -> Result<(), RecordsError> {
    sqlx::query("INSERT INTO object (id, bytes) VALUES ($1, $2)")
        .bind(&id.as_bytes()[..])
        .bind(bytes)
        .execute(conn)
        .await?;
    Ok(())
}

/// A small object's bytes.
///
/// # Errors
/// If the database fails.
pub async fn object(conn: &mut Conn, id: ObjectId) -> Result<Option<Vec<u8>>, RecordsError> {
    let row =
        sqlx::query("SELECT bytes FROM object WHERE id = $1").bind(&id.as_bytes()[..]).fetch_optional(conn).await?;
    Ok(row.map(|row| row.try_get("bytes")).transpose()?)
}
