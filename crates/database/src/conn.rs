//! A connection, and what goes with the one that writes.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use sqlx::sqlite::{SqliteQueryResult, SqliteRow, SqliteStatement, SqliteTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, SqlStr, Sqlite, SqliteConnection};

/// Bytes of a seal.
pub const SEAL: usize = 32;

/// What makes a seal of a link.
type Seal = dyn Fn(&[u8; 32]) -> [u8; SEAL] + Send + Sync;

/// Makes the seal of a row of the audit trail from the row's link. The key in it is the business of
/// who hands it over; this room only writes down what it makes.
#[derive(Clone)]
pub struct Sealer(Arc<Seal>);

impl Sealer {
    /// One that seals a link as `seal` does.
    pub fn new(seal: impl Fn(&[u8; 32]) -> [u8; SEAL] + Send + Sync + 'static) -> Self {
        Self(Arc::new(seal))
    }

    /// The seal of a link.
    pub fn seal(&self, link: &[u8; 32]) -> [u8; SEAL] {
        (self.0)(link)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

/// What the statements of this room run on. The connection that writes carries the sealer of the
/// audit trail: so everybody who appends in a transaction of his own appends sealed rows, and nobody
/// can forget it.
#[derive(Debug)]
pub struct Conn {
    inner: SqliteConnection,
    sealer: Option<Sealer>,
}

impl Conn {
    /// The sealer of the audit trail, if this connection writes and was given one.
    pub fn sealer(&self) -> Option<&Sealer> {
        self.sealer.as_ref()
    }

    /// From now on rows of the audit trail that are appended through it are sealed.
    pub fn set_sealer(&mut self, sealer: Sealer) {
        self.sealer = Some(sealer);
    }

    /// Closes it in order.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn close(self) -> Result<(), sqlx::Error> {
        sqlx::Connection::close(self.inner).await
    }
}

impl From<SqliteConnection> for Conn {
    fn from(inner: SqliteConnection) -> Self {
        Self { inner, sealer: None }
    }
}

impl Deref for Conn {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.inner
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.inner
    }
}

type BoxFuture<'e, T> = Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'e>>;
type BoxStream<'e, T> = Pin<Box<dyn Stream<Item = Result<T, sqlx::Error>> + Send + 'e>>;

impl<'c> Executor<'c> for &'c mut Conn {
    type Database = Sqlite;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Either<SqliteQueryResult, SqliteRow>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Sqlite>,
    {
        self.inner.fetch_many(query)
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Option<SqliteRow>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Sqlite>,
    {
        self.inner.fetch_optional(query)
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [SqliteTypeInfo]) -> BoxFuture<'e, SqliteStatement>
    where
        'c: 'e,
    {
        self.inner.prepare_with(sql, parameters)
    }

    // sqlx has it as long as its macros are on.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Describe<Sqlite>>
    where
        'c: 'e,
    {
        self.inner.describe(sql)
    }
}
