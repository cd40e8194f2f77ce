//! Small files: versions of one extent whose bytes and manifest lie together in one row.
//!
//! What most files are takes no row of `object`, `extent` and `extent_use`, and no entry of their
//! indexes. The row is not the version's own: whoever lists versions or wraps their keys anew would
//! read and write the bytes as well. Its number is that of the audit event that tells of the
//! version, so that it needs no index either.
//!
//! What is done seldom is done to the other shape: a small file whose extent another version is to
//! share is taken apart first ([`take_apart`]), and one that is shredded leaves an object that is
//! doomed ([`doom`]). So whoever reads one and does not find the row looks for the objects.

use sqlx::Row;

use super::ask::ask;
use super::extents::{self, ExtentRow};
use super::{Conn, RecordsError, bytes_as, unsigned};
use tacdrop_model::{HouseTime, ObjectId, ShareId, VersionId};

/// What lies in the row of a small file.
#[derive(Debug, Clone, Copy)]
pub struct SmallFile<'a> {
    /// Its extent.
    pub extent: ObjectId,
    /// The extent's object.
    pub extent_bytes: &'a [u8],
    /// The manifest's object.
    pub manifest_bytes: &'a [u8],
}

/// Keeps the bytes of a version that has just become available, and whose extent has no row. They
/// were counted by [`reserve`](super::tickets::reserve).
///
/// # Errors
/// [`RecordsError::Exists`] if another version has its entry of the trail.
pub async fn put(conn: &mut Conn, version: VersionId, file: &SmallFile<'_>) -> Result<(), RecordsError> {
    let text = "INSERT INTO small_file (seq, extent_id, extent_bytes, manifest_bytes) \
         SELECT trail_seq, $2, $3, $4 FROM version WHERE id = $1";
    ask!(text, version, file.extent, file.extent_bytes, file.manifest_bytes).run(conn).await?;
    ask!("UPDATE version SET small_file = trail_seq WHERE id = $1", version).run(conn).await
}

/// What lies in this row: its extent, the extent's object and the manifest's; none if the version
/// was taken apart or shredded since.
pub async fn read(conn: &mut Conn, seq: i64) -> Result<Option<(ObjectId, Vec<u8>, Vec<u8>)>, RecordsError> {
    ask!("SELECT extent_id, extent_bytes, manifest_bytes FROM small_file WHERE seq = $1", seq)
        .maybe(conn, |row| {
            let extent = bytes_as(row, "small_file", "extent_id")?;
            Ok((extent, row.try_get("extent_bytes")?, row.try_get("manifest_bytes")?))
        })
        .await
}

/// The bytes of the manifest in this row; none if the version was taken apart or shredded since.
pub async fn manifest(conn: &mut Conn, seq: i64) -> Result<Option<Vec<u8>>, RecordsError> {
    ask!("SELECT manifest_bytes FROM small_file WHERE seq = $1", seq)
        .maybe(conn, |row| Ok(row.try_get("manifest_bytes")?))
        .await
}

/// The bytes of this extent's object, if they lie in this row.
pub async fn extent(conn: &mut Conn, seq: i64, id: ObjectId) -> Result<Option<Vec<u8>>, RecordsError> {
    ask!("SELECT extent_bytes FROM small_file WHERE seq = $1 AND extent_id = $2", seq, id)
        .maybe(conn, |row| Ok(row.try_get("extent_bytes")?))
        .await
}

/// Which extent lies in this row.
pub async fn extent_id(conn: &mut Conn, seq: i64) -> Result<Option<ObjectId>, RecordsError> {
    ask!("SELECT extent_id FROM small_file WHERE seq = $1", seq)
        .maybe(conn, |row| bytes_as(row, "small_file", "extent_id"))
        .await
}

/// Makes the objects of a small file objects of their own, with the rows that such have: another
/// version is to use its extent. `extent` is what its manifest says of that. Nothing changes if they
/// are that already, or the version is shredded.
pub async fn take_apart(
    conn: &mut Conn,
    share: ShareId,
    version: VersionId,
    extent: &ExtentRow,
) -> Result<(), RecordsError> {
    let text = "INSERT INTO object (id, bytes) SELECT s.extent_id, s.extent_bytes FROM version v \
         JOIN small_file s ON s.seq = v.small_file WHERE v.id = $1 AND s.extent_id = $2";
    if !ask!(text, version, extent.id).changed(conn).await? {
        return Ok(());
    }
    let text = "INSERT INTO object (id, bytes) SELECT v.manifest_id, s.manifest_bytes FROM version v \
         JOIN small_file s ON s.seq = v.small_file WHERE v.id = $1";
    ask!(text, version).run(conn).await?;
    extents::add(conn, share, std::slice::from_ref(extent)).await?;
    extents::use_by(conn, version, std::slice::from_ref(extent)).await?;
    forget(conn, version).await
}

/// Dooms what lies in the row of a version that is being shredded, if it is a small file: its extent
/// becomes an object of its own, as a reader may be in the middle of it, and counts as its share's
/// until it is forgotten.
pub(super) async fn doom(conn: &mut Conn, version: VersionId, now: HouseTime) -> Result<(), RecordsError> {
    let text = "INSERT INTO object (id, bytes) SELECT s.extent_id, s.extent_bytes FROM version v \
         JOIN small_file s ON s.seq = v.small_file WHERE v.id = $1 ON CONFLICT DO NOTHING";
    if !ask!(text, version).changed(conn).await? {
        return forget(conn, version).await;
    }
    let text = "INSERT INTO doomed (object_id, place, since, share_id, length) \
         SELECT s.extent_id, 'records', $2, e.share_id, v.length FROM version v JOIN entry e ON e.id = v.entry_id \
         JOIN small_file s ON s.seq = v.small_file WHERE v.id = $1 ON CONFLICT DO NOTHING";
    ask!(text, version, now).run(conn).await?;
    forget(conn, version).await
}

/// The version has no such row any more.
async fn forget(conn: &mut Conn, version: VersionId) -> Result<(), RecordsError> {
    let text = "DELETE FROM small_file WHERE seq = (SELECT small_file FROM version WHERE id = $1)";
    ask!(text, version).run(conn).await?;
    ask!("UPDATE version SET small_file = NULL WHERE id = $1", version).run(conn).await
}

/// How many rows of small files no version speaks of.
pub async fn count_unused(conn: &mut Conn) -> Result<u64, RecordsError> {
    let text = "SELECT COUNT(*) AS n FROM small_file \
         WHERE seq NOT IN (SELECT small_file FROM version WHERE small_file IS NOT NULL)";
    ask!(text).one(conn, |row| unsigned(row, "small_file", "n")).await
}
