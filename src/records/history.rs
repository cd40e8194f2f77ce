//! A file's history: its own versions and those of the entries whose place it took, numbered as people see them.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::readable::readable;
use super::{Conn, RecordsError, bytes_as, signed, unsigned};
use crate::model::{Time, VersionId};

/// An available version of a file.
#[derive(Debug, Clone, Copy)]
pub struct Past {
    /// Its id.
    pub id: VersionId,
    /// Its number as people see it: over the whole history, from 1 on.
    pub number: u64,
    /// Plaintext bytes.
    pub length: u64,
    /// When it became available.
    pub received_at: Time,
}

// UNION without ALL ends even where damaged records go round in a circle.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "WITH RECURSIVE chain (id, number_base, predecessor) AS (\
             SELECT id, number_base, predecessor FROM entry WHERE id = $1 UNION \
             SELECT e.id, e.number_base, e.predecessor FROM entry e JOIN chain c ON e.id = c.predecessor) \
             SELECT v.id, c.number_base + v.number AS shown, v.length, v.received_at \
             FROM chain c JOIN version v ON v.entry_id = c.id \
             WHERE v.state = 'available' AND v.received_at IS NOT NULL ",
            $rest
        )
    };
}

fn past(row: &SqliteRow) -> Result<Past, RecordsError> {
    Ok(Past {
        id: bytes_as(row, "version", "id")?,
        number: unsigned(row, "version", "shown")?,
        length: unsigned(row, "version", "length")?,
        received_at: Time::from_millis(row.try_get("received_at")?),
    })
}

/// The available versions of a file with numbers above `after`, ascending, at most `most`.
///
/// # Errors
/// If the database fails.
pub async fn page(conn: &mut Conn, file: &[u8; 16], after: u64, most: usize) -> Result<Vec<Past>, RecordsError> {
    let rows = sqlx::query(select!("AND c.number_base + v.number > $2 ORDER BY shown LIMIT $3"))
        .bind(&file[..])
        .bind(signed(after))
        .bind(signed(most as u64))
        .fetch_all(conn)
        .await?;
    Ok(readable("version", &rows, past))
}

/// The available version of a file that people know by this number.
///
/// # Errors
/// If the database fails.
pub async fn numbered(conn: &mut Conn, file: &[u8; 16], number: u64) -> Result<Option<Past>, RecordsError> {
    let row = sqlx::query(select!("AND c.number_base + v.number = $2"))
        .bind(&file[..])
        .bind(signed(number))
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(past).transpose()
}

/// The newest available version of a file.
///
/// # Errors
/// If the database fails.
pub async fn newest(conn: &mut Conn, file: &[u8; 16]) -> Result<Option<Past>, RecordsError> {
    let row = sqlx::query(select!("ORDER BY shown DESC LIMIT 1")).bind(&file[..]).fetch_optional(conn).await?;
    row.as_ref().map(past).transpose()
}
