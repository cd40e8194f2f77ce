//! Lists of rows of which some may be damaged: those that can be read are there, the others are
//! named in the log and left out.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::RecordsError;
use tacdrop_model::Locked;

/// The most things that are remembered to have been said.
const REMEMBERED: usize = 4096;

static SAID: LazyLock<Locked<BTreeSet<(&'static str, String)>>> = LazyLock::new(Locked::default);

/// Whether a fault of this thing was not said before by this process: lists are read again and
/// again.
pub fn is_news(what: &'static str, id: &str) -> bool {
    let mut said = SAID.lock();
    if said.len() >= REMEMBERED {
        said.clear();
    }
    said.insert((what, id.to_owned()))
}

/// The rows that can be read. Each other one is named in the log by its first column, once.
pub fn readable<T>(
    table: &'static str,
    rows: &[SqliteRow],
    read: impl Fn(&SqliteRow) -> Result<T, RecordsError>,
) -> Vec<T> {
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        match read(row) {
            Ok(thing) => all.push(thing),
            Err(error) => say(table, row, &error),
        }
    }
    all
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

/// The rows as a [`Page`]; `table` names those that cannot be read.
pub fn page<T>(
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

/// Names a row that cannot be read in the log.
pub fn say(table: &'static str, row: &SqliteRow, error: &RecordsError) {
    let id = name(row, 0);
    if is_news(table, &id) {
        tracing::error!(table, id, %error, "a row of the records cannot be read and is left out; restore it from a backup");
    }
}

/// The bytes of a column as hexadecimal digits, or its text where it is a word.
pub fn name(row: &SqliteRow, column: usize) -> String {
    if let Ok(Some(bytes)) = row.try_get::<Option<&[u8]>, _>(column) {
        return hex::encode(bytes);
    }
    let text = row.try_get::<Option<&str>, _>(column).ok().flatten().unwrap_or("?");
    text.chars().take(64).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}
