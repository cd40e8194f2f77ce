//! Generations of share keys in the records: which one is in force, and what a rotation wraps and seals again.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::entries::Place;
use super::readable::{all_of, readable};
use super::{Conn, RecordsError, bytes_as, unsigned};
use crate::model::{DirectoryId, ShareId, VersionId};

/// Rows that one statement changes. `VALUES` names its columns `column1`, `column2`, ... in SQLite and in PostgreSQL.
const ROWS: usize = 100;

/// Which generation of a share's key is in force; none if there is no such share.
///
/// # Errors
/// If the database fails.
pub async fn key_generation(conn: &mut Conn, share: ShareId) -> Result<Option<u32>, RecordsError> {
    let row = sqlx::query("SELECT key_generation FROM ticket WHERE share_id = $1")
        .bind(&share.as_bytes()[..])
        .fetch_optional(conn)
        .await?;
    row.map(|row| generation(row.try_get("key_generation")?)).transpose()
}

/// Puts another generation in force. False if `from` is not in force.
///
/// # Errors
/// If the database fails.
pub async fn set_key_generation(conn: &mut Conn, share: ShareId, from: u32, to: u32) -> Result<bool, RecordsError> {
    let done = sqlx::query("UPDATE ticket SET key_generation = $3 WHERE share_id = $1 AND key_generation = $2")
        .bind(&share.as_bytes()[..])
        .bind(i64::from(from))
        .bind(i64::from(to))
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Rows in the order of their ids. A row that cannot be read is named, with the reason, and takes
/// no other one along.
#[derive(Debug)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<Result<T, (String, RecordsError)>>,
    /// The id of the last one, as it stands there: the next page begins behind it. None: there are
    /// no more.
    pub last: Option<Vec<u8>>,
}

fn page<T>(
    rows: &[SqliteRow],
    table: &str,
    read: impl Fn(&SqliteRow) -> Result<T, RecordsError>,
) -> Result<Page<T>, RecordsError> {
    let mut page = Page { rows: Vec::with_capacity(rows.len()), last: None };
    for row in rows {
        let id: Vec<u8> = row.try_get("id")?;
        page.rows.push(read(row).map_err(|error| (format!("{table} {}", hex::encode(&id)), error)));
        page.last = Some(id);
    }
    Ok(page)
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

/// File keys of a share in the order of their versions' ids, at most `most`, from behind the id `after` on (empty: from the first).
///
/// # Errors
/// If the database fails.
pub async fn file_keys(
    conn: &mut Conn,
    share: ShareId,
    after: &[u8],
    most: u32,
) -> Result<Page<FileKeyRow>, RecordsError> {
    let rows = sqlx::query(
        "SELECT v.id, v.key_generation, v.file_key FROM version v JOIN entry e ON e.id = v.entry_id \
         WHERE e.share_id = $1 AND v.file_key IS NOT NULL AND v.id > $2 ORDER BY v.id LIMIT $3",
    )
    .bind(&share.as_bytes()[..])
    .bind(after)
    .bind(i64::from(most))
    .fetch_all(conn)
    .await?;
    page(&rows, "version", |row| {
        Ok(FileKeyRow {
            version: bytes_as(row, "version", "id")?,
            generation: generation(row.try_get("key_generation")?)?,
            wrapped: row.try_get("file_key")?,
        })
    })
}

/// Replaces what versions' file keys are wrapped in. Many rows in one statement: a large share keeps other writers waiting
/// for seconds otherwise.
///
/// # Errors
/// If the database fails.
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

/// A sealed name.
#[derive(Debug)]
pub struct NameRow {
    /// The id of the artifact or directory that bears it.
    pub entry: [u8; 16],
    /// The directory it stands in.
    pub parent: DirectoryId,
    /// The sealed name.
    pub sealed: Vec<u8>,
}

/// Sealed names of a share, in sight or not, in the order of their entries' ids, at most `most`, from behind the id `after` on (empty: from the first).
///
/// # Errors
/// If the database fails.
pub async fn names(conn: &mut Conn, share: ShareId, after: &[u8], most: u32) -> Result<Page<NameRow>, RecordsError> {
    let rows = sqlx::query(
        "SELECT id, parent_id, name FROM entry WHERE share_id = $1 AND name IS NOT NULL AND parent_id IS NOT NULL \
         AND id > $2 ORDER BY id LIMIT $3",
    )
    .bind(&share.as_bytes()[..])
    .bind(after)
    .bind(i64::from(most))
    .fetch_all(conn)
    .await?;
    page(&rows, "entry", |row| {
        Ok(NameRow {
            entry: bytes_as(row, "entry", "id")?,
            parent: bytes_as(row, "entry", "parent_id")?,
            sealed: row.try_get("name")?,
        })
    })
}

/// Replaces entries' sealed names, and the indexes by which they and their aliases are found. Who has an alias stays.
///
/// # Errors
/// [`RecordsError::Exists`] if a directory holds an index already.
pub async fn set_names(conn: &mut Conn, names: &[([u8; 16], Place)]) -> Result<(), RecordsError> {
    for some in names.chunks(ROWS) {
        let mut update = QueryBuilder::<Sqlite>::new(
            "UPDATE entry SET name_index = new.column2, name = new.column3, alias_index = new.column4 FROM (",
        );
        update.push_values(some, |mut row, (entry, place)| {
            row.push_bind(entry.to_vec());
            row.push_bind(place.index.to_vec());
            row.push_bind(place.sealed.clone());
            row.push_bind(place.alias.to_vec());
        });
        update.push(") AS new WHERE entry.id = new.column1");
        update.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// How many rows of a share depend on its key: versions and names.
///
/// # Errors
/// If the database fails.
pub async fn rows_of_share(conn: &mut Conn, share: ShareId) -> Result<u64, RecordsError> {
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM entry WHERE share_id = $1 AND name IS NOT NULL) + (SELECT COUNT(*) FROM entry e \
         JOIN version v ON v.entry_id = e.id WHERE e.share_id = $1 AND v.file_key IS NOT NULL) AS n",
    );
    unsigned(&row.bind(&share.as_bytes()[..]).fetch_one(conn).await?, "entry", "n")
}

/// What of a share depends on its key.
#[derive(Debug, Clone, Copy)]
pub struct ShareCount {
    /// The share.
    pub share: ShareId,
    /// The generation in force.
    pub in_force: u32,
    /// Sealed names; they are always of the generation in force.
    pub names: u64,
}

/// Each share with its generation and its names, by share.
///
/// # Errors
/// If the database fails.
pub async fn shares(conn: &mut Conn) -> Result<Vec<ShareCount>, RecordsError> {
    let rows = sqlx::query(
        "SELECT t.share_id, t.key_generation, \
         (SELECT COUNT(*) FROM entry e WHERE e.share_id = t.share_id AND e.name IS NOT NULL) AS n FROM ticket t \
         ORDER BY t.share_id",
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(ShareCount {
                share: bytes_as(row, "ticket", "share_id")?,
                in_force: generation(row.try_get("key_generation")?)?,
                names: unsigned(row, "entry", "n")?,
            })
        })
        .collect()
}

/// How many file keys of each share are wrapped under which generation.
///
/// # Errors
/// If the database fails, or a generation cannot be read.
pub async fn wrapped(conn: &mut Conn) -> Result<Vec<(ShareId, u32, u64)>, RecordsError> {
    all_of(&wrapped_rows(conn).await?, wrapped_row)
}

/// The same as far as it can be read, for people.
///
/// # Errors
/// If the database fails.
pub async fn wrapped_to_show(conn: &mut Conn) -> Result<Vec<(ShareId, u32, u64)>, RecordsError> {
    Ok(readable("version", &wrapped_rows(conn).await?, wrapped_row))
}

async fn wrapped_rows(conn: &mut Conn) -> Result<Vec<SqliteRow>, RecordsError> {
    let rows = sqlx::query(
        "SELECT e.share_id, v.key_generation, COUNT(*) AS n FROM version v JOIN entry e ON e.id = v.entry_id \
         WHERE v.file_key IS NOT NULL GROUP BY e.share_id, v.key_generation ORDER BY e.share_id, v.key_generation",
    );
    Ok(rows.fetch_all(conn).await?)
}

fn wrapped_row(row: &SqliteRow) -> Result<(ShareId, u32, u64), RecordsError> {
    let share = bytes_as(row, "entry", "share_id")?;
    Ok((share, generation(row.try_get("key_generation")?)?, unsigned(row, "version", "n")?))
}

fn generation(number: i64) -> Result<u32, RecordsError> {
    u32::try_from(number).map_err(|_| RecordsError::Unreadable { table: "ticket", why: "key_generation".to_owned() })
}
