//! Versions that became available under a temporary name and that nobody was told of yet.
//!
//! A row stands until its version is announced. One whose version was withdrawn waits: if it becomes available again, it
//! is announced; if it is shredded, the row goes.

use sqlx::Row;

use super::readable::readable;
use super::{Conn, RecordsError, bytes_as, signed, text_as};
use crate::model::{Identifier, Time, VersionId};

/// Holds the notice of a version back until `due`.
///
/// # Errors
/// If the database fails.
pub async fn hold(conn: &mut Conn, version: VersionId, due: Time) -> Result<(), RecordsError> {
    sqlx::query("INSERT INTO held_notice (version_id, due) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(&version.as_bytes()[..])
        .bind(due.millis())
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes the held versions of a file, in the order of their numbers, whatever their state: they are to be announced now.
///
/// # Errors
/// If the database fails.
pub async fn take_of_entry(conn: &mut Conn, entry: &[u8; 16]) -> Result<Vec<VersionId>, RecordsError> {
    let rows = sqlx::query(
        "SELECT v.id FROM held_notice h JOIN version v ON v.id = h.version_id \
         WHERE v.entry_id = $1 AND v.state <> 'shredded' ORDER BY v.number",
    )
    .bind(&entry[..])
    .fetch_all(&mut *conn)
    .await?;
    let versions = rows.iter().map(|row| bytes_as(row, "version", "id")).collect::<Result<Vec<_>, _>>()?;
    for version in &versions {
        forget(conn, *version).await?;
    }
    Ok(versions)
}

/// The held versions whose time has come, each with its ticket, oldest first, at most `most`. Rows of versions that were
/// shredded go.
///
/// # Errors
/// If the database fails.
pub async fn due(conn: &mut Conn, now: Time, most: usize) -> Result<Vec<(VersionId, Identifier)>, RecordsError> {
    sqlx::query(
        "DELETE FROM held_notice WHERE due <= $1 AND version_id IN (SELECT id FROM version WHERE state = 'shredded')",
    )
    .bind(now.millis())
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query(
        "SELECT v.id, t.reference FROM held_notice h JOIN version v ON v.id = h.version_id \
         JOIN entry e ON e.id = v.entry_id JOIN ticket t ON t.share_id = e.share_id \
         WHERE h.due <= $1 AND v.state IN ('available', 'damaged') ORDER BY h.due, v.number LIMIT $2",
    )
    .bind(now.millis())
    .bind(signed(most as u64))
    .fetch_all(conn)
    .await?;
    Ok(readable("held_notice", &rows, |row| {
        Ok((bytes_as(row, "version", "id")?, text_as(row, "ticket", "reference")?))
    }))
}

/// The version is announced: it is held no longer.
///
/// # Errors
/// If the database fails.
pub async fn forget(conn: &mut Conn, version: VersionId) -> Result<(), RecordsError> {
    sqlx::query("DELETE FROM held_notice WHERE version_id = $1").bind(&version.as_bytes()[..]).execute(conn).await?;
    Ok(())
}

/// When the next held version is announced if nobody renames it.
///
/// # Errors
/// If the database fails.
pub async fn next_due(conn: &mut Conn) -> Result<Option<Time>, RecordsError> {
    let row = sqlx::query(
        "SELECT MIN(h.due) AS due FROM held_notice h JOIN version v ON v.id = h.version_id \
         WHERE v.state IN ('available', 'damaged')",
    )
    .fetch_one(conn)
    .await?;
    Ok(row.try_get::<Option<i64>, _>("due")?.map(Time::from_millis))
}
