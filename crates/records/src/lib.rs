//! SQL and nothing else: people, tickets, what lies in the shares, notices, audit; one file per
//! table family.
//!
//! The records hold the truth. The services decide, this room writes down and reads back. Every
//! statement is a constant text with `$1` parameters that SQLite and PostgreSQL both understand.
//!
//! There is one writer at a time: [`Records::begin`] waits for it (bounded by the busy time-out)
//! and opens the transaction with `BEGIN IMMEDIATE`, so a transaction that has begun never fails on
//! a lock. Transactions that come while another one is being made durable share one commit
//! (`database/sqlite/writer.rs`). Readers do not wait.
//!
//! Every function here fails with a [`RecordsError`] if the database does, or if a row that must be
//! read cannot be. A section `Errors` says only what else can go wrong.

pub mod aliases;
pub mod audit;
pub mod bond;
pub mod checklists;
pub mod checks;
pub mod closings;
pub mod compare;
pub mod consistency;
pub mod contacts;
pub mod customer_notices;
pub mod customer_settings;
pub mod deletions;
pub mod digests;
pub mod entries;
pub mod extents;
pub mod facts;
pub mod held_notices;
pub mod holds;
pub mod keyring;
pub mod lists;
pub mod looks;
pub mod moves;
pub mod notices;
pub mod objects;
pub mod organisations;
pub mod people;
pub mod proofs;
mod publish_new;
pub mod small_files;
pub mod strays;
pub mod teams;
#[cfg(test)]
mod tests;
pub mod ticket_people;
pub mod tickets;
pub mod tokens;
pub mod version_chain;
pub mod versions;
pub mod who;
pub mod withdrawn;

use std::path::Path;
use std::sync::Arc;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tacdrop_database::ask::ask;
use tacdrop_database::columns::{
    At, Column, bytes_as, bytes_as_option, number_as, signed, text_as, text_as_option, unsigned,
};
use tacdrop_database::order::Rank;
pub use tacdrop_database::sqlite::readers::Reader;
use tacdrop_database::sqlite::readers::Readers;
use tacdrop_database::sqlite::schema::Schema;
pub use tacdrop_database::sqlite::writer::WriteTx;
use tacdrop_database::sqlite::writer::Writer;
pub use tacdrop_database::{Conn, RecordsError, SEAL, Sealer, order, readable};
use tacdrop_database::{ask, many, sqlite};
use tacdrop_model::ShareId;

pub use keyring::Keyring;
use keyring::WrappedRow;
pub use publish_new::NewArtifact;

/// Connections that only read.
const READERS: usize = 4;

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
