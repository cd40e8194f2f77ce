//! One statement asked: its parameters as the types of `model`, its rows as what a reader of rows
//! makes of them.

use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};

use super::readable::{name, readable};
use super::{Conn, RecordsError};
use tacdrop_model::{
    ArtifactId, DirectoryId, HouseTime, Identifier, NoticeId, ObjectId, ShareId, Time, TokenId, VersionId,
};

/// A statement with its parameters, in the order of their numbers:
/// `ask!("SELECT ... $1 ... $2", share, now)`.
macro_rules! ask {
    ($text:expr $(, $parameter:expr)* $(,)?) => {
        $crate::ask::Question::from(sqlx::query($text))$(.with($parameter))*
    };
}
pub(super) use ask;

type Asked<'q> = Query<'q, Sqlite, SqliteArguments>;

/// What can be a parameter. SQL has no unsigned numbers: what tacdrop counts stays far below 2^63,
/// and what does not is kept at the top.
pub(super) trait Parameter: Sized {
    fn bind(self, asked: Asked<'_>) -> Asked<'_>;

    /// The same, or a null of this type.
    fn bind_option(this: Option<Self>, asked: Asked<'_>) -> Asked<'_>;
}

macro_rules! parameters {
    ($($type:ty, $value:ident => $made:expr;)*) => {
        $(impl Parameter for $type {
            fn bind(self, asked: Asked<'_>) -> Asked<'_> {
                let $value = self;
                asked.bind($made)
            }

            fn bind_option(this: Option<Self>, asked: Asked<'_>) -> Asked<'_> {
                asked.bind(this.map(|$value| $made))
            }
        })*
    };
}

parameters! {
    i64, number => number;
    u8, number => i64::from(number);
    u32, number => i64::from(number);
    u64, number => super::signed(number);
    usize, number => super::signed(number as u64);
    bool, flag => i64::from(flag);
    Time, time => time.millis();
    HouseTime, time => time.millis();
    Vec<u8>, bytes => bytes;
    &[u8], bytes => bytes;
    &Vec<u8>, bytes => bytes.as_slice();
    &str, text => text;
    &String, text => text.as_str();
    &Identifier, word => word.as_str();
}

impl<T: Parameter> Parameter for Option<T> {
    fn bind(self, asked: Asked<'_>) -> Asked<'_> {
        T::bind_option(self, asked)
    }

    fn bind_option(this: Option<Self>, asked: Asked<'_>) -> Asked<'_> {
        T::bind_option(this.flatten(), asked)
    }
}

/// What says which thing it is: an id, an index, a digest.
pub(super) trait Id {
    fn bytes(&self) -> &[u8];
}

impl<const N: usize> Id for [u8; N] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl<T: Id> Id for &T {
    fn bytes(&self) -> &[u8] {
        (**self).bytes()
    }
}

macro_rules! ids {
    ($($id:ident),*) => {
        $(impl Id for $id {
            fn bytes(&self) -> &[u8] {
                self.as_bytes()
            }
        })*
    };
}

ids!(ArtifactId, DirectoryId, NoticeId, ObjectId, ShareId, TokenId, VersionId);

impl<T: Id> Parameter for T {
    fn bind(self, asked: Asked<'_>) -> Asked<'_> {
        asked.bind(self.bytes())
    }

    fn bind_option(this: Option<Self>, asked: Asked<'_>) -> Asked<'_> {
        asked.bind(this.as_ref().map(T::bytes))
    }
}

/// The parameter of a page that goes on behind an id: all ids are above no bytes.
pub(super) fn behind(after: Option<impl Id>) -> Vec<u8> {
    after.map_or_else(Vec::new, |id| id.bytes().to_vec())
}

/// An error about a row that stops a question, with the row's first column in it: whoever has to
/// mend or restore the row must be able to find it.
fn named(row: &SqliteRow, error: RecordsError) -> RecordsError {
    match error {
        RecordsError::Unreadable { table, why } => {
            RecordsError::Unreadable { table, why: format!("{why} (row {})", name(row, 0)) }
        }
        other => other,
    }
}

/// A number of bytes in a sum: what is no length that tacdrop writes counts as nothing, so that one
/// row neither overflows the sum nor makes it negative. 2^42 bytes are more than any extent or
/// version holds, and two million of them fit into a sum.
macro_rules! counted {
    ($length:literal) => {
        concat!("CASE WHEN ", $length, " BETWEEN 0 AND 4398046511104 THEN ", $length, " ELSE 0 END")
    };
}
pub(super) use counted;

/// A statement that is ready to be asked.
pub(super) struct Question<'q>(Asked<'q>);

impl<'q> From<Asked<'q>> for Question<'q> {
    fn from(asked: Asked<'q>) -> Self {
        Self(asked)
    }
}

impl Question<'_> {
    /// The same with one more parameter.
    pub(super) fn with(self, parameter: impl Parameter) -> Self {
        Self(parameter.bind(self.0))
    }

    /// Carries it out.
    pub(super) async fn run(self, conn: &mut Conn) -> Result<(), RecordsError> {
        self.0.execute(conn).await?;
        Ok(())
    }

    /// Carries it out, and says how many rows it changed.
    pub(super) async fn changes(self, conn: &mut Conn) -> Result<u64, RecordsError> {
        Ok(self.0.execute(conn).await?.rows_affected())
    }

    /// Carries it out, and says whether it changed a row.
    pub(super) async fn changed(self, conn: &mut Conn) -> Result<bool, RecordsError> {
        Ok(self.changes(conn).await? > 0)
    }

    /// Whether there is such a row.
    pub(super) async fn exists(self, conn: &mut Conn) -> Result<bool, RecordsError> {
        Ok(self.0.fetch_optional(conn).await?.is_some())
    }

    /// The one row that there always is.
    pub(super) async fn one<T>(
        self,
        conn: &mut Conn,
        read: impl FnOnce(&SqliteRow) -> Result<T, RecordsError>,
    ) -> Result<T, RecordsError> {
        read(&self.0.fetch_one(conn).await?)
    }

    /// The row, if there is one.
    pub(super) async fn maybe<T>(
        self,
        conn: &mut Conn,
        read: impl FnOnce(&SqliteRow) -> Result<T, RecordsError>,
    ) -> Result<Option<T>, RecordsError> {
        self.0.fetch_optional(conn).await?.as_ref().map(|row| read(row).map_err(|error| named(row, error))).transpose()
    }

    /// All rows as they are.
    pub(super) async fn rows(self, conn: &mut Conn) -> Result<Vec<SqliteRow>, RecordsError> {
        Ok(self.0.fetch_all(conn).await?)
    }

    /// All rows, each of which must be readable: for what decides by them.
    pub(super) async fn all<T>(
        self,
        conn: &mut Conn,
        read: impl Fn(&SqliteRow) -> Result<T, RecordsError>,
    ) -> Result<Vec<T>, RecordsError> {
        self.rows(conn).await?.iter().map(|row| read(row).map_err(|error| named(row, error))).collect()
    }

    /// The rows that can be read; the others are named in the log and left out.
    pub(super) async fn readable<T>(
        self,
        conn: &mut Conn,
        table: &'static str,
        read: impl Fn(&SqliteRow) -> Result<T, RecordsError>,
    ) -> Result<Vec<T>, RecordsError> {
        Ok(readable(table, &self.rows(conn).await?, read))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::{Records, facts};

    /// The value of a parameter that stands alone behind LIMIT is part of SQLite's plan: the
    /// statement would be prepared anew for each other value, which costs a tenth of a page.
    #[test]
    fn no_parameter_stands_alone_behind_limit() {
        let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut directories, mut found) = (vec![room], 0);
        while let Some(directory) = directories.pop() {
            for file in fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()) {
                if file.is_dir() {
                    directories.push(file);
                    continue;
                }
                let text = fs::read_to_string(&file).unwrap();
                for (_, rest) in text.match_indices("LIMIT $").map(|(at, it)| text.split_at(at + it.len())) {
                    let behind = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                    assert!(
                        behind.len() == rest.len() || behind.starts_with(" + 0"),
                        "{}: {}",
                        file.display(),
                        &rest[..20]
                    );
                    found += usize::from(behind.len() < rest.len());
                }
            }
        }
        assert!(found > 20, "{found}");
    }

    #[tokio::test]
    async fn parameters_are_what_they_are_and_nulls_are_nulls() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(&directory.path().join("r.sqlite")).await.unwrap();
        let mut tx = records.begin().await.unwrap();
        let id = ShareId::from_bytes([7; 16]);
        let what = |row: &SqliteRow| Ok(sqlx::Row::try_get::<String, _>(row, 0)?);
        for (question, wanted) in [
            (ask!("SELECT hex($1)", id), "07".repeat(16)),
            (ask!("SELECT hex($1)", Some(&[1_u8, 2])), "0102".to_owned()),
            (ask!("SELECT hex($1)", behind(None::<ShareId>)), String::new()),
            (ask!("SELECT $1 || typeof($1)", u64::MAX), format!("{}integer", i64::MAX)),
            (ask!("SELECT $1 || typeof($1)", true), "1integer".to_owned()),
            (ask!("SELECT typeof($1)", None::<&str>), "null".to_owned()),
            (ask!("SELECT typeof($1)", Some(None::<Time>)), "null".to_owned()),
            (ask!("SELECT $2 || typeof($1)", Some(Some(3_u32)), &"é".to_owned()), "éinteger".to_owned()),
        ] {
            assert_eq!(question.one(tx.conn(), what).await.unwrap(), wanted);
        }
        let add = "INSERT INTO fact (name, value) VALUES ($1, $2), ($2, $1)";
        assert_eq!(ask!(add, "a", "b").changes(tx.conn()).await.unwrap(), 2);
        assert!(matches!(ask!(add, "a", "c").run(tx.conn()).await, Err(RecordsError::Exists)));
        let one = "UPDATE fact SET value = $2 WHERE name = $1";
        assert!(ask!(one, "a", "x").changed(tx.conn()).await.unwrap());
        assert!(!ask!(one, "c", "x").changed(tx.conn()).await.unwrap());
        assert_eq!(facts::fact(tx.conn(), "a").await.unwrap().as_deref(), Some("x"));
        let look = "SELECT value FROM fact WHERE name = $1";
        assert!(ask!(look, "b").exists(tx.conn()).await.unwrap() && !ask!(look, "c").exists(tx.conn()).await.unwrap());
        assert_eq!(ask!(look, "c").maybe(tx.conn(), what).await.unwrap(), None);
        assert_eq!(ask!("SELECT value FROM fact ORDER BY name").all(tx.conn(), what).await.unwrap(), ["x", "a"]);
    }
}
