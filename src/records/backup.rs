//! What of the store the records need: for a backup, and for checking one.

use sqlx::Row;

use super::ask::{ask, behind};
use super::{Conn, RecordsError, bytes_as, unsigned};
use crate::model::{ObjectId, ShareId};

/// An object of the store that the records need.
#[derive(Debug, Clone)]
pub struct Needed {
    /// The object.
    pub id: ObjectId,
    /// What it is.
    pub kind: NeededKind,
    /// Whether anything that is not damaged needs it.
    pub by_sound: bool,
}

/// What an object is, and how it is recognised.
#[derive(Debug, Clone)]
pub enum NeededKind {
    /// An extent.
    Extent {
        /// The share whose id it bears.
        share: ShareId,
        /// Plaintext bytes.
        length: u64,
        /// FLOE's header tag.
        header_tag: [u8; 32],
    },
    /// A manifest.
    Manifest {
        /// SHA-256 of its bytes.
        hash: [u8; 32],
    },
}

/// Extents that lie in the store, in the order of their ids, at most `most`, from behind `after` on.
pub async fn extents(conn: &mut Conn, after: Option<ObjectId>, most: u32) -> Result<Vec<Needed>, RecordsError> {
    let text = "SELECT x.id, x.share_id, x.length, x.header_tag, EXISTS (SELECT 1 FROM extent_use u \
         JOIN version v ON v.id = u.version_id WHERE u.extent_id = x.id AND v.state <> 'damaged') AS sound \
         FROM extent x WHERE x.place = 'store' AND x.id > $1 ORDER BY x.id LIMIT $2 + 0";
    ask!(text, behind(after), most)
        .all(conn, |row| {
            Ok(Needed {
                id: bytes_as(row, "extent", "id")?,
                kind: NeededKind::Extent {
                    share: bytes_as(row, "extent", "share_id")?,
                    length: unsigned(row, "extent", "length")?,
                    header_tag: bytes_as(row, "extent", "header_tag")?,
                },
                by_sound: row.try_get::<i64, _>("sound")? != 0,
            })
        })
        .await
}

/// Manifests that lie in the store, of versions that can be read, in the order of their ids, at most `most`, from behind
/// `after` on.
pub async fn manifests(conn: &mut Conn, after: Option<ObjectId>, most: u32) -> Result<Vec<Needed>, RecordsError> {
    let text = "SELECT v.manifest_id, v.manifest_hash, v.state <> 'damaged' AS sound FROM version v \
         WHERE v.manifest_id > $1 AND v.manifest_hash IS NOT NULL AND v.file_key IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM object o WHERE o.id = v.manifest_id) ORDER BY v.manifest_id LIMIT $2 + 0";
    ask!(text, behind(after), most)
        .all(conn, |row| {
            Ok(Needed {
                id: bytes_as(row, "version", "manifest_id")?,
                kind: NeededKind::Manifest { hash: bytes_as(row, "version", "manifest_hash")? },
                by_sound: row.try_get::<i64, _>("sound")? != 0,
            })
        })
        .await
}

/// How many objects of the store are needed, and the plaintext bytes of those that are extents.
pub async fn totals(conn: &mut Conn) -> Result<(u64, u64), RecordsError> {
    let text = "SELECT COUNT(*) + (SELECT COUNT(*) FROM version v WHERE v.manifest_id IS NOT NULL \
         AND v.manifest_hash IS NOT NULL AND v.file_key IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM object o WHERE o.id = v.manifest_id)) AS n, COALESCE(SUM(length), 0) AS bytes \
         FROM extent WHERE place = 'store'";
    ask!(text).one(conn, |row| Ok((unsigned(row, "extent", "n")?, unsigned(row, "extent", "bytes")?))).await
}

/// How many versions can be read or continued.
pub async fn versions(conn: &mut Conn) -> Result<u64, RecordsError> {
    ask!("SELECT COUNT(*) AS n FROM version WHERE file_key IS NOT NULL")
        .one(conn, |row| unsigned(row, "version", "n"))
        .await
}
