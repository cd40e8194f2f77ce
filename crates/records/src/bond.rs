//! What ties records and keyring together, read before anything is opened for good: nothing is
//! made, nothing is migrated.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};

use super::ask::ask;
use super::sqlite::{BUSY, copy_options};
use super::{Conn, RecordsError, bytes_as, facts};
use tacdrop_model::{HouseId, ObjectId, ShareId};

/// What lies at the place of a database.
#[derive(Debug)]
pub enum Found<T> {
    /// No file.
    Missing,
    /// A file that says nothing: without a byte, or without anything that a house has from its
    /// first moment on.
    Empty,
    /// A database of a house.
    There(T),
}

/// The records, opened to look at them.
#[derive(Debug)]
pub struct RecordsLook(Conn);

impl RecordsLook {
    /// Opens the records at `path` as they are.
    ///
    /// # Errors
    /// If it is no database, or cannot be read.
    pub async fn open(path: &Path) -> Result<Found<Self>, RecordsError> {
        let Some(options) = options(path) else { return Ok(nothing_at(path)) };
        let mut conn = Conn::from(options.connect().await?);
        if has_table(&mut conn, "fact").await? && has_table(&mut conn, "ticket").await? {
            return Ok(Found::There(Self(conn)));
        }
        conn.close().await?;
        Ok(Found::Empty)
    }

    /// Which house they say they belong to; those of before there were ids say nothing.
    ///
    /// # Errors
    /// If the database fails, or what stands there is no id.
    pub async fn house(&mut self) -> Result<Option<HouseId>, RecordsError> {
        facts::house(&mut self.0).await
    }

    /// All shares.
    pub async fn shares(&mut self) -> Result<Vec<ShareId>, RecordsError> {
        ask!("SELECT share_id FROM ticket").all(&mut self.0, |row| bytes_as(row, "ticket", "share_id")).await
    }

    /// The signatures of the newest checkpoints of the audit trail, at most `most`.
    pub async fn newest_checkpoints(&mut self, most: u32) -> Result<Vec<Vec<u8>>, RecordsError> {
        newest_checkpoints(&mut self.0, most).await
    }

    /// Objects of the store that versions need which can be read or restored, at most `most`.
    pub async fn needed(&mut self, most: u32) -> Result<Vec<ObjectId>, RecordsError> {
        let text = "SELECT x.id FROM extent x WHERE x.place = 'store' AND EXISTS \
             (SELECT 1 FROM extent_use u JOIN version v ON v.id = u.version_id WHERE u.extent_id = x.id \
             AND v.state IN ('available', 'withdrawn')) LIMIT $1 + 0";
        ask!(text, most).all(&mut self.0, |row| bytes_as(row, "extent", "id")).await
    }

    /// Closes them.
    pub async fn close(self) -> Result<(), RecordsError> {
        Ok(self.0.close().await?)
    }
}

/// How a database is opened that holds something; none if there is no file, or no byte in it.
/// Nobody has it open if it has no journal: then not even files beside it are made.
pub(super) fn options(path: &Path) -> Option<SqliteConnectOptions> {
    // Nothing is opened without a byte: SQLite would throw a journal away that lies beside such a
    // file.
    if !fs::metadata(path).is_ok_and(|facts| facts.len() > 0) {
        return None;
    }
    if journal(path).exists() {
        return Some(SqliteConnectOptions::new().filename(path).busy_timeout(BUSY).pragma("trusted_schema", "OFF"));
    }
    Some(copy_options(path))
}

/// What lies there if [`options`] gave none.
pub(super) fn nothing_at<T>(path: &Path) -> Found<T> {
    if path.exists() || journal(path).exists() { Found::Empty } else { Found::Missing }
}

fn journal(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("-wal");
    PathBuf::from(name)
}

pub(super) async fn has_table(conn: &mut Conn, name: &str) -> Result<bool, RecordsError> {
    ask!("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1", name).exists(conn).await
}

pub(super) async fn newest_checkpoints(conn: &mut Conn, most: u32) -> Result<Vec<Vec<u8>>, RecordsError> {
    if !has_table(conn, "audit_checkpoint").await? {
        return Ok(Vec::new());
    }
    ask!("SELECT signature FROM audit_checkpoint ORDER BY seq DESC LIMIT $1 + 0", most)
        .all(conn, |row| Ok(row.try_get("signature")?))
        .await
}
