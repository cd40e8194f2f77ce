//! SQL and nothing else: people, tickets, what lies in the shares, notices, audit; one file per
//! table family.
//!
//! The records hold the truth. The services decide, this room writes down and reads back. Every
//! statement is a constant text with `$1` parameters that SQLite and PostgreSQL both understand.
//!
//! There is one writer at a time: [`Records::begin`] waits for it (bounded by the busy time-out)
//! and opens the transaction with `BEGIN IMMEDIATE`, so a transaction that has begun never fails on
//! a lock. Transactions that come while another one is being made durable share one commit
//! (`sqlite/writer.rs`). Readers do not wait.
//!
//! Every function here fails with a [`RecordsError`] if the database does, or if a row that must be
//! read cannot be. A section `Errors` says only what else can go wrong.

pub mod aliases;
mod ask;
pub mod audit;
pub mod bond;
pub mod checks;
pub mod closings;
pub mod compare;
mod conn;
pub mod consistency;
pub mod contacts;
pub mod deletions;
pub mod digests;
pub mod entries;
pub mod extents;
pub mod facts;
pub mod held_notices;
pub mod holds;
pub mod keyring;
pub mod lists;
mod many;
pub mod notices;
pub mod objects;
pub mod order;
pub mod organisations;
pub mod people;
pub mod proofs;
pub mod readable;
pub mod small_files;
mod sqlite;
pub mod strays;
pub mod teams;
pub mod ticket_people;
pub mod tickets;
pub mod tokens;
pub mod version_chain;
pub mod versions;
pub mod withdrawn;

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Row};

pub use conn::{Conn, SEAL, Sealer};
pub use keyring::Keyring;
use order::Rank;
use sqlite::publish_new;
pub use sqlite::publish_new::NewArtifact;
pub use sqlite::readers::Reader;
use sqlite::readers::Readers;
use sqlite::schema::Schema;
pub use sqlite::writer::WriteTx;
use sqlite::writer::Writer;

use ask::ask;
use keyring::WrappedRow;
use tacdrop_model::ShareId;

/// Connections that only read.
const READERS: usize = 4;

/// Why the records did not answer.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// A row with this key exists already. Permanent.
    #[error("it exists already")]
    Exists,
    /// The database was busy for longer than the time-out. Temporary.
    #[error("the database is busy; try again")]
    Busy,
    /// No space on the database's disk. Temporary.
    #[error("the database has no space left")]
    Full,
    /// The file is not a sound database. Permanent.
    #[error("it is not a sound database: {0}")]
    Damaged(String),
    /// A row holds what this version of tacdrop cannot read.
    #[error("a row of {table} holds a value that cannot be read: {why}")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A row does not carry the proof of what it says: it was not written by tacdrop. Permanent.
    #[error(
        "the row '{row}' of {table} does not say what tacdrop wrote there: somebody changed the records from outside \
         ('What to do about a row that is not proved' in docs/operations.md)"
    )]
    Unproved {
        /// The table.
        table: &'static str,
        /// Which row.
        row: String,
    },
    /// The migrations could not be applied.
    #[error("the database could not be brought up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// Anything else that the database says.
    #[error("the database failed: {0}")]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for RecordsError {
    fn from(error: sqlx::Error) -> Self {
        if let Some(database) = error.as_database_error() {
            if database.is_unique_violation() {
                return Self::Exists;
            }
            // SQLite's primary result codes (sqlite.org/rescode.html): 5 BUSY, 6 LOCKED, 13 FULL.
            match database.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
                Some(5 | 6) => return Self::Busy,
                Some(13) => return Self::Full,
                // 11 CORRUPT, 26 NOTADB.
                Some(11 | 26) => return Self::Damaged(database.message().to_owned()),
                _ => {}
            }
        }
        match error {
            sqlx::Error::ColumnDecode { index, source } => {
                Self::Unreadable { table: "the records", why: format!("column {index}: {source}") }
            }
            sqlx::Error::PoolTimedOut => Self::Busy,
            other => Self::Database(other),
        }
    }
}

/// What makes the records.
static SCHEMA: Schema = Schema::of(sqlx::migrate!("../../migrations/sqlite"));

/// The records. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Records {
    writer: Arc<Writer>,
    readers: Readers,
    /// For the one question that is asked while another connection is held: it waits for nobody.
    aside: Readers,
}

impl Records {
    /// Opens the SQLite database at `path`, making it if there is none, and applies the migrations.
    ///
    /// # Errors
    /// If it cannot be opened or brought up to date.
    pub async fn open(path: &Path) -> Result<Self, RecordsError> {
        let mut writer = sqlite::options(path).connect().await?;
        SCHEMA.migrate(&mut writer).await?;
        let mut writer = Conn::from(writer);
        publish_new::prepare(&mut writer).await?;
        Ok(Self::on(writer, &sqlite::options(path)))
    }

    /// Opens a copy of the records to read it; nothing about the file changes, and whoever wants to
    /// write fails.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn open_copy(path: &Path) -> Result<Self, RecordsError> {
        let options = sqlite::copy_options(path);
        Ok(Self::on(options.connect().await?.into(), &options))
    }

    fn on(writer: Conn, options: &SqliteConnectOptions) -> Self {
        let readers = |connections, rank| Readers::new(options.clone(), connections, rank);
        let writer = Arc::new(Writer::new(writer, Rank::Records));
        Self { writer, readers: readers(READERS, Rank::Records), aside: readers(1, Rank::Aside) }
    }

    /// From now on each row of the audit trail that is written through these records is sealed.
    ///
    /// # Errors
    /// If nobody gives the writer's turn back in time.
    pub async fn seal_trail_with(&self, sealer: Sealer) -> Result<(), RecordsError> {
        self.writer.alone().await?.set_sealer(sealer);
        Ok(())
    }

    /// Writes a consistent copy to `path`, which must not exist or be empty. Others may write
    /// meanwhile.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn copy_to(&self, path: &Path) -> Result<(), RecordsError> {
        sqlite::copy_to(&mut *self.readers.acquire().await?, path).await
    }

    /// Whether the file is sound, as SQLite sees it: its complaint if not.
    pub async fn complaint(&self) -> Result<Option<String>, RecordsError> {
        sqlite::complaint(&mut *self.readers.acquire().await?).await
    }

    /// Tables, indexes, triggers and views that no migration has made, each with its kind.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn strangers(&self) -> Result<Vec<String>, RecordsError> {
        SCHEMA.strangers(&mut *self.readers.acquire().await?).await
    }

    /// When these records were given room for proofs of rows. In a house that began since, it is
    /// older than everything else.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn proofs_since(&self) -> Result<Option<tacdrop_model::Time>, RecordsError> {
        sqlite::schema::applied_at(&mut *self.readers.acquire().await?, 22).await
    }

    /// Which generation of a share's key is in force; none if the records have no such share. May
    /// be asked while another connection of these records is held.
    pub async fn key_generation(&self, share: ShareId) -> Result<Option<u32>, RecordsError> {
        tickets::key_generation(&mut *self.aside.acquire().await?, share).await
    }

    /// A connection to read with.
    ///
    /// # Errors
    /// If none becomes free in time.
    pub async fn read(&self) -> Result<Reader, RecordsError> {
        self.readers.acquire().await
    }

    /// Begins a transaction as the one writer. Dropped without [`commit`](WriteTx::commit), it
    /// changes nothing.
    ///
    /// # Errors
    /// [`RecordsError::Busy`] if another process writes for too long.
    pub async fn begin(&self) -> Result<WriteTx, RecordsError> {
        self.writer.begin(false).await
    }

    /// The same for a transaction that others must see as a whole before they begin: it is durable
    /// before the next one has its turn. What others read through another connection is then never
    /// older than what they read in their own transaction.
    ///
    /// # Errors
    /// [`RecordsError::Busy`] if another process writes for too long.
    pub async fn begin_alone(&self) -> Result<WriteTx, RecordsError> {
        self.writer.begin(true).await
    }

    /// Moves what the journal holds into the database and cuts the journal to nothing, so that no
    /// page of it still shows what was overwritten. False if somebody reads or writes for too long:
    /// then it is to be tried again.
    pub async fn empty_journal(&self) -> Result<bool, RecordsError> {
        sqlite::empty_journal(&mut *self.writer.alone().await?).await
    }

    /// Waits until everything under way is done and closes the database.
    pub async fn close(&self) {
        self.aside.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Takes from the copy of a keyring what the copy of the records does not have yet, whose last
/// checkpoint is of entry `last`: it was taken a moment later, and a restored trail would look as if
/// it had been cut. `fit` is given the secret of this purpose and how many checkpoints are left, and
/// says what takes the secret's place, if anything does.
pub async fn fit_copied_trail<E: From<RecordsError>>(
    copy: &Path,
    last: i64,
    purpose: &str,
    fit: impl FnOnce(&WrappedRow, u64) -> Result<Option<WrappedRow>, E>,
) -> Result<(), E> {
    let options = SqliteConnectOptions::new().filename(copy).pragma("trusted_schema", "OFF");
    let mut conn = Conn::from(options.connect().await.map_err(RecordsError::from)?);
    ask!("DELETE FROM audit_checkpoint WHERE seq > $1", last).run(&mut conn).await?;
    let left = ask!("SELECT COUNT(*) AS n FROM audit_checkpoint");
    let left = left.one(&mut conn, |row| unsigned(row, "audit_checkpoint", "n")).await?;
    if let Some(secret) = keyring::secret(&mut conn, purpose).await?
        && let Some(fitting) = fit(&secret, left)?
    {
        keyring::rewrap(&mut conn, &keyring::KeyOf::Server(purpose.to_owned()), &fitting).await?;
    }
    Ok(conn.close().await.map_err(RecordsError::from)?)
}

/// A column by its name, or as [`At`].
trait Column: sqlx::ColumnIndex<SqliteRow> + std::fmt::Display + Copy {}
impl<T: sqlx::ColumnIndex<SqliteRow> + std::fmt::Display + Copy> Column for T {}

/// A column by its place in the row, which is quicker, and serves where several have one name.
#[derive(Debug, Clone, Copy)]
struct At(usize, &'static str);

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
fn bytes_as<T>(row: &SqliteRow, table: &'static str, column: impl Column) -> Result<T, RecordsError>
where
    T: for<'a> TryFrom<&'a [u8]>,
{
    let bytes: &[u8] = row.try_get(column)?;
    T::try_from(bytes).map_err(|_| RecordsError::Unreadable { table, why: format!("{column} has a wrong length") })
}

/// The same for a column that may be null.
fn bytes_as_option<T>(row: &SqliteRow, table: &'static str, column: impl Column) -> Result<Option<T>, RecordsError>
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
fn text_as<T>(row: &SqliteRow, table: &'static str, column: impl Column) -> Result<T, RecordsError>
where
    T: std::str::FromStr,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| RecordsError::Unreadable { table, why: format!("{column} is {}", shown(text)) })
}

/// Text of a column as a sentence holds it: nothing in it acts on a terminal or begins a line, and a
/// long one is cut.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let cut: String = text.chars().take(MOST).collect();
    format!("'{}'{}", cut.escape_debug(), if text.chars().nth(MOST).is_some() { "..." } else { "" })
}

/// The same for a column that may be null.
fn text_as_option<T>(row: &SqliteRow, table: &'static str, column: impl Column) -> Result<Option<T>, RecordsError>
where
    T: std::str::FromStr,
{
    let text: Option<&str> = row.try_get(column)?;
    let unreadable = |text: &str| RecordsError::Unreadable { table, why: format!("{column} is {}", shown(text)) };
    text.map(|text| text.parse().map_err(|_| unreadable(text))).transpose()
}

/// A number in the range of its type.
fn number_as<T>(row: &SqliteRow, table: &'static str, column: impl Column) -> Result<T, RecordsError>
where
    T: TryFrom<i64>,
{
    let number: i64 = row.try_get(column)?;
    T::try_from(number).map_err(|_| RecordsError::Unreadable { table, why: format!("{column} is {number}") })
}

/// A count or length that is never negative.
fn unsigned(row: &SqliteRow, table: &'static str, column: impl Column) -> Result<u64, RecordsError> {
    number_as(row, table, column)
}

/// SQL has no unsigned numbers; what tacdrop counts stays far below 2^63, and what does not is kept
/// at the top.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
