//! What is SQLite's own: the one writer and its group commit, the readers, many statements in one
//! question.

pub mod batch;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod readers;
pub mod schema;
pub mod writer;

use std::path::Path;
use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use crate::{Conn, RecordsError};

/// How long a statement waits for another process's write before it gives up.
pub const BUSY: Duration = Duration::from_secs(15);
/// Pages that the journal holds before it is copied into the database, 16 MiB: a small file dirties
/// some 25 pages, most of them the same as the one before it did, and each is copied once.
const JOURNAL_PAGES: &str = "4000";

/// How a database is opened that is there to be written.
pub fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .pragma("secure_delete", "ON")
        .pragma("temp_store", "MEMORY")
        .pragma("trusted_schema", "OFF")
        .pragma("wal_autocheckpoint", JOURNAL_PAGES)
        .statement_cache_capacity(200)
}

/// A database that nobody writes; not even files beside it are made.
pub fn copy_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).immutable(true).pragma("trusted_schema", "OFF")
}

/// Writes a consistent copy to `path`, which must not exist or be empty.
pub async fn copy_to(conn: &mut Conn, path: &Path) -> Result<(), RecordsError> {
    let path = path.to_str().ok_or_else(|| RecordsError::Unreadable {
        table: "backup",
        why: "the path of the copy is not UTF-8, which SQLite needs".to_owned(),
    })?;
    sqlx::query("VACUUM INTO $1").bind(path).execute(conn).await?;
    Ok(())
}

/// What SQLite complains of, if the file is not sound.
pub async fn complaint(conn: &mut Conn) -> Result<Option<String>, RecordsError> {
    let rows = sqlx::query("PRAGMA integrity_check(10)").fetch_all(conn).await?;
    let lines = rows.iter().map(|row| row.try_get::<String, _>(0)).collect::<Result<Vec<_>, _>>()?;
    Ok((lines != ["ok"]).then(|| lines.join("; ")))
}

/// Moves what the journal of a database holds into it and cuts the journal to nothing. False if
/// somebody reads or writes for too long.
pub async fn empty_journal(conn: &mut Conn) -> Result<bool, RecordsError> {
    match sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(conn).await.map_err(RecordsError::from) {
        Ok(row) => Ok(row.try_get::<i64, _>(0)? == 0),
        Err(RecordsError::Busy) => Ok(false),
        Err(error) => Err(error),
    }
}
