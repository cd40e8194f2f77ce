//! The heart: who may do what to a share. Every byte in and out, every audit event and every notice intent passes here
//! and nowhere else.
//!
//! Doors (`ssh`, `sftp`) know this room and `model`, and nothing below. It is the only room that knows both the vault and
//! the store. An upload is followed through it in `ARCHITECTURE.md`.

mod audit;
mod backup;
mod clock;
mod content;
mod data;
mod desk;
mod download;
mod error;
mod inventory;
mod kek;
mod keys;
mod listing;
mod location;
mod login;
mod outbox;
mod place;
mod points;
mod restore;
mod rotation;
mod tree;
mod upload;
mod view;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub use backup::{BackupContents, BackupPlace, BackupProgress};
pub use data::DataDirectory;
pub use desk::{EngineerLine, NewTicket, OrganisationLine, TicketLine};
pub use download::Download;
pub use error::Error;
pub use inventory::{ArtifactLine, NoticeArtifact, NoticeLine, Verification};
pub use listing::{Entry, Listing};
pub use location::PublicAddress;
pub use login::Login;
pub use outbox::NoticeQueue;
pub use place::{Attributes, Changes, PlaceKind, Space, WriteMode};
pub use restore::Restored;
pub use rotation::{GenerationLine, KekLine, KeyStatus, Rotated, RotatedShare, ShareKeyLine};
pub use upload::Upload;
pub use view::View;

use crate::records::{Keyring, Records, people, tickets};
use crate::store::Disk;
use clock::HouseClock;
use keys::Cabinet;
use login::Logins;
use points::Points;
use upload::{Budget, Registry};

/// What can be set about shares. The defaults are those of `config/tacdrop.toml`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The most plaintext bytes in one extent; a power of two from 1 MiB on.
    pub extent_bytes: u64,
    /// An extent ends this long after its first byte, so that a slow upload becomes durable, too.
    pub checkpoint: Duration,
    /// Extents up to this many plaintext bytes lie in the records instead of the store; at most 64 KiB.
    pub inline_bytes: usize,
    /// Files and directories in one share.
    pub names_per_share: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of one share, all versions together.
    pub share_bytes: u64,
    /// Plaintext bytes that one session may have in buffers.
    pub session_buffer: usize,
    /// Plaintext bytes that all sessions together may have in buffers.
    pub total_buffer: usize,
    /// A notice is sent when no upload came for this long ...
    pub settle: Duration,
    /// ... or when its first upload is this old.
    pub settle_max: Duration,
    /// Where the KEK lies, if not in the data directory.
    pub kek: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            extent_bytes: 32 << 20,
            checkpoint: Duration::from_secs(5),
            inline_bytes: 64 << 10,
            names_per_share: 100_000,
            file_bytes: 1 << 40,
            share_bytes: 4 << 40,
            session_buffer: 8 << 20,
            total_buffer: 256 << 20,
            settle: Duration::from_secs(10),
            settle_max: Duration::from_secs(60),
            kek: None,
        }
    }
}

/// All shares of one data directory: what doors and the command line ask for anything. Cheap to clone.
#[derive(Clone)]
pub struct Shares(pub(crate) Arc<House>);

/// What stands behind [`Shares`].
pub(crate) struct House {
    pub(crate) data: DataDirectory,
    pub(crate) settings: Settings,
    pub(crate) records: Records,
    pub(crate) store: Disk,
    pub(crate) keys: Cabinet,
    pub(crate) clock: HouseClock,
    pub(crate) points: Points,
    pub(crate) logins: Logins,
    pub(crate) uploads: Registry,
    pub(crate) budget: Budget,
    /// Where hashing, sealing, writing and reading objects runs, away from the connections' runtimes.
    pub(crate) works: Handle,
    /// Called when a notice was queued.
    wake: Box<dyn Fn() + Send + Sync>,
    /// Readings that may wait to be written into the audit trail.
    pub(crate) notes: Arc<Semaphore>,
    draining: AtomicBool,
    serving: Option<std::fs::File>,
}

impl Shares {
    /// Opens a data directory for commands, making it if there is none.
    ///
    /// # Errors
    /// A sentence that says what is in the way.
    pub async fn open(data: DataDirectory, settings: Settings) -> Result<Self, Error> {
        Self::open_with(data, settings, Handle::current(), Box::new(|| {}), false).await
    }

    /// Opens a data directory to serve it. `works` is the runtime for hashing, sealing and object I/O; `wake` is called
    /// when a notice was queued.
    ///
    /// # Errors
    /// A sentence that says what is in the way; another server of the same directory is.
    pub async fn serve(
        data: DataDirectory,
        settings: Settings,
        works: Handle,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Result<Self, Error> {
        Self::open_with(data, settings, works, wake, true).await
    }

    async fn open_with(
        data: DataDirectory,
        settings: Settings,
        works: Handle,
        wake: Box<dyn Fn() + Send + Sync>,
        serve: bool,
    ) -> Result<Self, Error> {
        let _opening = data.lock_for_opening()?;
        let serving = if serve { Some(data.lock_for_serving()?) } else { None };
        data.make_databases()?;
        let records = Records::open(&data.records()).await?;
        let keyring = Keyring::open(&data.keyring()).await?;
        let fresh = !tickets::any(&mut *records.read().await?).await?;
        let kek = settings.kek.clone().unwrap_or_else(|| data.kek());
        let keys = Cabinet::open(&kek, keyring, records.clone(), fresh).await?;
        let store = Disk::open(&data.objects())?;
        if serve {
            store.sweep_unfinished()?;
        }
        let clock = HouseClock::open(&records, serve).await?;
        Ok(Self(Arc::new(House {
            clock,
            points: Points::default(),
            budget: Budget::new(settings.total_buffer),
            logins: Logins::default(),
            uploads: Registry::default(),
            notes: Arc::new(Semaphore::new(256)),
            draining: AtomicBool::new(false),
            data,
            settings,
            records,
            store,
            keys,
            works,
            wake,
            serving,
        })))
    }

    /// The data directory.
    pub fn data(&self) -> &DataDirectory {
        &self.0.data
    }

    /// Whether the server is about to stop: uploads under way may finish, new ones are refused.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Refuses new uploads from now on.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// How many uploads are under way.
    pub fn open_uploads(&self) -> usize {
        self.0.uploads.len()
    }

    /// Waits until what is under way has been written down, and closes the databases.
    pub async fn close(&self) {
        self.0.uploads.cut_all().await;
        self.0.records.close().await;
        self.0.keys.close().await;
    }

    /// A fact about this installation that commands and server share, such as the address listened on.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn fact(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(people::fact(&mut *self.0.records.read().await?, name).await?)
    }

    /// Writes such a fact down.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn set_fact(&self, name: &str, value: &str) -> Result<(), Error> {
        let mut tx = self.0.records.begin().await?;
        people::set_fact(tx.conn(), name, value).await?;
        Ok(tx.commit().await?)
    }

    /// Whether this process serves the data directory.
    pub fn is_serving(&self) -> bool {
        self.0.serving.is_some()
    }
}

impl House {
    pub(crate) fn notice_queued(&self) {
        (self.wake)();
    }
}
