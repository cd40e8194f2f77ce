//! Generations of share keys in the records: which one is in force, and what a rotation wraps and seals again.

use sqlx::{QueryBuilder, Row, Sqlite};

use super::ask::{ask, behind};
use super::entries::Place;
use super::{Conn, RecordsError, bytes_as, number_as, unsigned};
use crate::model::{DirectoryId, ShareId, VersionId};

/// Rows that one statement changes. `VALUES` names its columns `column1`, `column2`, ... in SQLite and in PostgreSQL.
const ROWS: usize = 100;

/// Which generation of a share's key is in force; none if there is no such share.
pub async fn key_generation(conn: &mut Conn, share: ShareId) -> Result<Option<u32>, RecordsError> {
    ask!("SELECT key_generation FROM ticket WHERE share_id = $1", share)
        .maybe(conn, |row| number_as(row, "ticket", "key_generation"))
        .await
}

/// Puts another generation in force. False if `from` is not in force.
pub async fn set_key_generation(conn: &mut Conn, share: ShareId, from: u32, to: u32) -> Result<bool, RecordsError> {
    ask!("UPDATE ticket SET key_generation = $3 WHERE share_id = $1 AND key_generation = $2", share, from, to)
        .changed(conn)
        .await
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

/// File keys of a share in the order of their versions' ids, at most `most`, from behind `after` on.
pub async fn file_keys(
    conn: &mut Conn,
    share: ShareId,
    after: Option<VersionId>,
    most: u32,
) -> Result<Vec<FileKeyRow>, RecordsError> {
    let text = "SELECT v.id, v.key_generation, v.file_key FROM version v JOIN entry e ON e.id = v.entry_id \
         WHERE e.share_id = $1 AND v.file_key IS NOT NULL AND v.id > $2 ORDER BY v.id LIMIT $3 + 0";
    ask!(text, share, behind(after), most)
        .all(conn, |row| {
            Ok(FileKeyRow {
                version: bytes_as(row, "version", "id")?,
                generation: number_as(row, "ticket", "key_generation")?,
                wrapped: row.try_get("file_key")?,
            })
        })
        .await
}

/// Replaces what versions' file keys are wrapped in. Many rows in one statement: a large share keeps other writers waiting
/// for seconds otherwise.
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

/// Sealed names of a share, in sight or not, in the order of their entries' ids, at most `most`, from behind `after` on.
pub async fn names(
    conn: &mut Conn,
    share: ShareId,
    after: Option<[u8; 16]>,
    most: u32,
) -> Result<Vec<NameRow>, RecordsError> {
    let text = "SELECT id, parent_id, name FROM entry WHERE share_id = $1 AND name IS NOT NULL AND parent_id IS NOT NULL \
         AND id > $2 ORDER BY id LIMIT $3 + 0";
    ask!(text, share, behind(after), most)
        .all(conn, |row| {
            Ok(NameRow {
                entry: bytes_as(row, "entry", "id")?,
                parent: bytes_as(row, "entry", "parent_id")?,
                sealed: row.try_get("name")?,
            })
        })
        .await
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
pub async fn rows_of_share(conn: &mut Conn, share: ShareId) -> Result<u64, RecordsError> {
    let text = "SELECT (SELECT COUNT(*) FROM entry WHERE share_id = $1 AND name IS NOT NULL) + (SELECT COUNT(*) FROM entry e \
         JOIN version v ON v.entry_id = e.id WHERE e.share_id = $1 AND v.file_key IS NOT NULL) AS n";
    ask!(text, share).one(conn, |row| unsigned(row, "entry", "n")).await
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
pub async fn shares(conn: &mut Conn) -> Result<Vec<ShareCount>, RecordsError> {
    let text = "SELECT t.share_id, t.key_generation, \
         (SELECT COUNT(*) FROM entry e WHERE e.share_id = t.share_id AND e.name IS NOT NULL) AS n FROM ticket t \
         ORDER BY t.share_id";
    ask!(text)
        .all(conn, |row| {
            Ok(ShareCount {
                share: bytes_as(row, "ticket", "share_id")?,
                in_force: number_as(row, "ticket", "key_generation")?,
                names: unsigned(row, "entry", "n")?,
            })
        })
        .await
}

/// How many file keys of each share are wrapped under which generation.
pub async fn wrapped(conn: &mut Conn) -> Result<Vec<(ShareId, u32, u64)>, RecordsError> {
    let text = "SELECT e.share_id, v.key_generation, COUNT(*) AS n FROM version v JOIN entry e ON e.id = v.entry_id \
         WHERE v.file_key IS NOT NULL GROUP BY e.share_id, v.key_generation ORDER BY e.share_id, v.key_generation";
    ask!(text)
        .all(conn, |row| {
            let share = bytes_as(row, "entry", "share_id")?;
            Ok((share, number_as(row, "ticket", "key_generation")?, unsigned(row, "version", "n")?))
        })
        .await
}
