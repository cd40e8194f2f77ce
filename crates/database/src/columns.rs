//! Columns of rows as the types of `model`.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::RecordsError;

/// A column by its name, or as [`At`].
pub trait Column: sqlx::ColumnIndex<SqliteRow> + std::fmt::Display + Copy {}
impl<T: sqlx::ColumnIndex<SqliteRow> + std::fmt::Display + Copy> Column for T {}

/// A column by its place in the row, which is quicker, and serves where several have one name.
#[derive(Debug, Clone, Copy)]
pub struct At(pub usize, pub &'static str);

impl sqlx::ColumnIndex<SqliteRow> for At {
    fn index(&self, row: &SqliteRow) -> Result<usize, sqlx::Error> {
        self.0.index(row)
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.1)
    }
}

/// A column that becomes a type of `model` by parsing its bytes.
pub fn bytes_as<T>(row: &SqliteRow, table: &'static str, column: impl Column) -> Result<T, RecordsError>
where
    T: for<'a> TryFrom<&'a [u8]>,
{
    let bytes: &[u8] = row.try_get(column)?;
    T::try_from(bytes).map_err(|_| RecordsError::Unreadable { table, why: format!("{column} has a wrong length") })
}

/// The same for a column that may be null.
pub fn bytes_as_option<T>(row: &SqliteRow, table: &'static str, column: impl Column) -> Result<Option<T>, RecordsError>
where
    T: for<'a> TryFrom<&'a [u8]>,
{
    let bytes: Option<&[u8]> = row.try_get(column)?;
    bytes
        .map(T::try_from)
        .transpose()
        .map_err(|_| RecordsError::Unreadable { table, why: format!("{column} has a wrong length") })
}

/// A column that becomes a type of `model` by parsing its text.
pub fn text_as<T>(row: &SqliteRow, table: &'static str, column: impl Column) -> Result<T, RecordsError>
where
    T: std::str::FromStr,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| RecordsError::Unreadable { table, why: format!("{column} is {}", shown(text)) })
}

/// Text of a column as a sentence holds it: nothing in it acts on a terminal or begins a line, and a
/// long one is cut.
fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let cut: String = text.chars().take(MOST).collect();
    format!("'{}'{}", cut.escape_debug(), if text.chars().nth(MOST).is_some() { "..." } else { "" })
}

/// The same for a column that may be null.
pub fn text_as_option<T>(row: &SqliteRow, table: &'static str, column: impl Column) -> Result<Option<T>, RecordsError>
where
    T: std::str::FromStr,
{
    let text: Option<&str> = row.try_get(column)?;
    let unreadable = |text: &str| RecordsError::Unreadable { table, why: format!("{column} is {}", shown(text)) };
    text.map(|text| text.parse().map_err(|_| unreadable(text))).transpose()
}

/// A number in the range of its type.
pub fn number_as<T>(row: &SqliteRow, table: &'static str, column: impl Column) -> Result<T, RecordsError>
where
    T: TryFrom<i64>,
{
    let number: i64 = row.try_get(column)?;
    T::try_from(number).map_err(|_| RecordsError::Unreadable { table, why: format!("{column} is {number}") })
}

/// A count or length that is never negative.
pub fn unsigned(row: &SqliteRow, table: &'static str, column: impl Column) -> Result<u64, RecordsError> {
    number_as(row, table, column)
}

/// SQL has no unsigned numbers; what tacdrop counts stays far below 2^63, and what does not is kept
/// at the top.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
