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
#[doc(hidden)]
#[macro_export]
macro_rules! __ask {
    ($text:expr $(, $parameter:expr)* $(,)?) => {
        $crate::ask::Question::from(sqlx::query($text))$(.with($parameter))*
    };
}
pub use crate::__ask as ask;

type Asked<'q> = Query<'q, Sqlite, SqliteArguments>;

/// What can be a parameter. SQL has no unsigned numbers: what tacdrop counts stays far below 2^63,
/// and what does not is kept at the top.
pub trait Parameter: Sized {
    /// Gives it to a statement, as the parameter of the next number.
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
    u64, number => crate::columns::signed(number);
    usize, number => crate::columns::signed(number as u64);
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
pub trait Id {
    /// Its bytes, as they stand in a row.
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
pub fn behind(after: Option<impl Id>) -> Vec<u8> {
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
#[doc(hidden)]
#[macro_export]
macro_rules! __counted {
    ($length:literal) => {
        concat!("CASE WHEN ", $length, " BETWEEN 0 AND 4398046511104 THEN ", $length, " ELSE 0 END")
    };
}
pub use crate::__counted as counted;

/// A statement that is ready to be asked.
pub struct Question<'q>(Asked<'q>);

impl<'q> From<Asked<'q>> for Question<'q> {
    fn from(asked: Asked<'q>) -> Self {
        Self(asked)
    }
}

impl Question<'_> {
    /// The same with one more parameter.
    pub fn with(self, parameter: impl Parameter) -> Self {
        Self(parameter.bind(self.0))
    }

    /// Carries it out.
    pub async fn run(self, conn: &mut Conn) -> Result<(), RecordsError> {
        self.0.execute(conn).await?;
        Ok(())
    }

    /// Carries it out, and says how many rows it changed.
    pub async fn changes(self, conn: &mut Conn) -> Result<u64, RecordsError> {
        Ok(self.0.execute(conn).await?.rows_affected())
    }

    /// Carries it out, and says whether it changed a row.
    pub async fn changed(self, conn: &mut Conn) -> Result<bool, RecordsError> {
        Ok(self.changes(conn).await? > 0)
    }

    /// Whether there is such a row.
    pub async fn exists(self, conn: &mut Conn) -> Result<bool, RecordsError> {
        Ok(self.0.fetch_optional(conn).await?.is_some())
    }

    /// The one row that there always is.
    pub async fn one<T>(
        self,
        conn: &mut Conn,
        read: impl FnOnce(&SqliteRow) -> Result<T, RecordsError>,
    ) -> Result<T, RecordsError> {
        read(&self.0.fetch_one(conn).await?)
    }

    /// The row, if there is one.
    pub async fn maybe<T>(
        self,
        conn: &mut Conn,
        read: impl FnOnce(&SqliteRow) -> Result<T, RecordsError>,
    ) -> Result<Option<T>, RecordsError> {
        self.0.fetch_optional(conn).await?.as_ref().map(|row| read(row).map_err(|error| named(row, error))).transpose()
    }

    /// All rows as they are.
    pub async fn rows(self, conn: &mut Conn) -> Result<Vec<SqliteRow>, RecordsError> {
        Ok(self.0.fetch_all(conn).await?)
    }

    /// All rows, each of which must be readable: for what decides by them.
    pub async fn all<T>(
        self,
        conn: &mut Conn,
        read: impl Fn(&SqliteRow) -> Result<T, RecordsError>,
    ) -> Result<Vec<T>, RecordsError> {
        self.rows(conn).await?.iter().map(|row| read(row).map_err(|error| named(row, error))).collect()
    }

    /// The rows that can be read; the others are named in the log and left out.
    pub async fn readable<T>(
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
    use super::*;
    use crate::sqlite::fixtures::{Facts, fact};

    #[tokio::test]
    async fn parameters_are_what_they_are_and_nulls_are_nulls() {
        let facts = Facts::open().await;
        let mut tx = facts.begin().await.unwrap();
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
        assert_eq!(fact(tx.conn(), "a").await.as_deref(), Some("x"));
        let look = "SELECT value FROM fact WHERE name = $1";
        assert!(ask!(look, "b").exists(tx.conn()).await.unwrap() && !ask!(look, "c").exists(tx.conn()).await.unwrap());
        assert_eq!(ask!(look, "c").maybe(tx.conn(), what).await.unwrap(), None);
        assert_eq!(ask!("SELECT value FROM fact ORDER BY name").all(tx.conn(), what).await.unwrap(), ["x", "a"]);
    }
}
