//! What replaced what: a file's versions, and those of the files whose place it took.

use sqlx::sqlite::SqliteRow;

use super::{Conn, RecordsError, bytes_as, unsigned};
use crate::model::VersionId;

/// Files that took each other's place, one after the other, that are looked at.
pub const STEPS: usize = 64;

/// A version of the same file that was whole once and can still be read, or restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relative {
    /// Its id.
    pub id: VersionId,
    /// Its number, as people see it.
    pub number: u64,
    /// Plaintext bytes.
    pub length: u64,
}

macro_rules! relative {
    ($rest:literal) => {
        concat!(
            "SELECT v.id, v.number + e.number_base AS shown, v.length FROM version v JOIN entry e ON e.id = v.entry_id \
             WHERE v.entry_id = $1 AND v.state IN ('available', 'withdrawn', 'damaged') ",
            $rest
        )
    };
}

fn relative(row: &SqliteRow) -> Result<Relative, RecordsError> {
    Ok(Relative {
        id: bytes_as(row, "version", "id")?,
        number: unsigned(row, "version", "shown")?,
        length: unsigned(row, "version", "length")?,
    })
}

/// The version before number `number` of file `entry`.
///
/// # Errors
/// If the database fails.
pub async fn before(conn: &mut Conn, entry: [u8; 16], number: u64) -> Result<Option<Relative>, RecordsError> {
    let (mut entry, mut below) = (entry, i64::try_from(number).unwrap_or(i64::MAX));
    for _ in 0..STEPS {
        let row = sqlx::query(relative!("AND v.number < $2 ORDER BY v.number DESC LIMIT 1"))
            .bind(&entry[..])
            .bind(below)
            .fetch_optional(&mut *conn)
            .await?;
        if let Some(row) = row {
            return relative(&row).map(Some);
        }
        let Some(older) = predecessor(conn, &entry).await? else { break };
        (entry, below) = (older, i64::MAX);
    }
    Ok(None)
}

/// The version behind number `number` of file `entry`.
///
/// # Errors
/// If the database fails.
pub async fn behind(conn: &mut Conn, entry: [u8; 16], number: u64) -> Result<Option<Relative>, RecordsError> {
    let (mut entry, mut above) = (entry, i64::try_from(number).unwrap_or(i64::MAX));
    for _ in 0..STEPS {
        let row = sqlx::query(relative!("AND v.number > $2 ORDER BY v.number LIMIT 1"))
            .bind(&entry[..])
            .bind(above)
            .fetch_optional(&mut *conn)
            .await?;
        if let Some(row) = row {
            return relative(&row).map(Some);
        }
        let Some(newer) = successor(conn, &entry).await? else { break };
        (entry, above) = (newer, 0);
    }
    Ok(None)
}

/// The file that stands in the place of `entry` now: itself, unless another one took it.
///
/// # Errors
/// If the database fails.
pub async fn newest(conn: &mut Conn, entry: [u8; 16]) -> Result<[u8; 16], RecordsError> {
    let mut newest = entry;
    for _ in 0..STEPS {
        let Some(newer) = successor(conn, &newest).await? else { break };
        newest = newer;
    }
    Ok(newest)
}

/// The file whose place `entry` took.
///
/// # Errors
/// If the database fails.
pub async fn predecessor(conn: &mut Conn, entry: &[u8; 16]) -> Result<Option<[u8; 16]>, RecordsError> {
    let row = sqlx::query("SELECT predecessor AS id FROM entry WHERE id = $1 AND predecessor IS NOT NULL")
        .bind(&entry[..])
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(|row| bytes_as(row, "entry", "id")).transpose()
}

async fn successor(conn: &mut Conn, entry: &[u8; 16]) -> Result<Option<[u8; 16]>, RecordsError> {
    let row = sqlx::query("SELECT id FROM entry WHERE predecessor = $1 LIMIT 1")
        .bind(&entry[..])
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(|row| bytes_as(row, "entry", "id")).transpose()
}
