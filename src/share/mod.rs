//! The heart: who may do what to a share. Every byte in and out, every audit event and every notice intent passes here
//! and nowhere else.
//!
//! Doors (`ssh`, `sftp`, `scp`) know this room and `model`, and nothing below. It is the only room that knows both the vault and
//! the store. An upload is followed through it in `ARCHITECTURE.md`.

mod aliases;
mod audit;
mod backup;
mod check;
mod clock;
mod content;
mod data;
mod desk;
mod digests;
mod download;
mod error;
mod expiry;
mod inventory;
mod kek;
mod keys;
mod lifecycle;
mod listing;
mod load;
mod location;
mod login;
mod opening;
mod outbox;
mod outlet;
mod pieces;
mod place;
mod points;
mod read_ahead;
mod reattach;
mod recovery;
mod resend;
mod restore;
mod rights;
mod rotation;
#[cfg(any(test, feature = "bench"))]
mod seeding;
mod set_aside;
mod shape;
mod sidecars;
mod space;
mod sweep;
mod telling;
mod tree;
mod upload;
mod view;
mod virtual_places;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

pub use audit::{AuditCheckpoint, AuditFault, AuditFilter, AuditLine, AuditVerification, FaultKind, NoCheckpoint};
pub use backup::{BackupContents, BackupPlace, BackupProgress};
pub use check::{Checked, Finding, Step};
pub use data::{DataDirectory, LEGACY_HOST_KEY};
pub use desk::{EngineerLine, NewTicket, OrganisationLine, TicketLine};
pub use digests::{Digest, Patience, digest_of_bytes};
pub use download::Download;
pub use error::Error;
pub use expiry::Expired;
pub use inventory::{ArtifactLine, NoticeArtifact, NoticeLine, SenderCheck, Verification};
pub use lifecycle::{Restored, ShredPlan, Shredded, VersionLine, Withdrawn};
pub use listing::{Entry, Listing};
pub use load::Load;
pub use location::PublicAddress;
pub use login::{Login, Origin};
pub use outbox::NoticeQueue;
pub use outlet::{Gone, Outlet};
pub use place::{Attributes, Changes, PlaceKind, Space, Unfinished, WriteMode};
pub use reattach::Reattached;
pub use resend::{NewAddress, NoticeChange};
pub use restore::{HostKeys, RestoredBackup};
pub use rotation::{GenerationLine, KekLine, KeyStatus, Rotated, RotatedShare, ShareKeyLine};
#[cfg(any(test, feature = "bench"))]
#[doc(hidden)]
pub use seeding::{seeded_content, seeded_name};
pub use sweep::Swept;
pub use upload::Upload;
pub use view::View;
pub use virtual_places::{Receipt, ReceiptKey, SignedReceipt};

use crate::model::{Algorithm, HouseId, TemporaryNames};
use crate::records::{Keyring, Records, bond, people};
use crate::store::Disk;
use audit::Trail;
use clock::HouseClock;
use digests::Digests;
use keys::Cabinet;
use login::Logins;
use opening::Places;
use pieces::{Occasion, Verdict};
use points::Points;
use read_ahead::BlockBudget;
use sidecars::Sidecars;
use space::Room;
use upload::{Budget, Chorus, Registry};

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
    /// Plaintext bytes that all downloads together may have opened ahead. Without room a download is slower.
    pub read_ahead: usize,
    /// Of the disk, this part stays free of uploads, in percent ...
    pub reserve_percent: u64,
    /// ... or as many bytes, if that is less.
    pub reserve_bytes: u64,
    /// A notice is sent when no upload came for this long ...
    pub settle: Duration,
    /// ... or when its first upload is this old.
    pub settle_max: Duration,
    /// An object of the store that no row knows is removed after two scans at least so long apart, in house time, have seen it.
    pub quarantine: Duration,
    /// Names under which nothing is announced yet, because it will be renamed ...
    pub temporary_names: TemporaryNames,
    /// ... unless it keeps such a name for this long.
    pub temporary_settle: Duration,
    /// An unfinished version is removed when nothing more of it came for this long, in house time ...
    pub unfinished: Duration,
    /// ... and people are told so this long before.
    pub warn: Duration,
    /// A withdrawn file can be restored for this long, in house time.
    pub withdrawn: Duration,
    /// Digests that are given to clients beside SHA-256. They tell accidents, not attacks.
    pub also_digests: Vec<Algorithm>,
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
            read_ahead: 64 << 20,
            reserve_percent: 2,
            reserve_bytes: 1 << 30,
            settle: Duration::from_secs(10),
            settle_max: Duration::from_secs(60),
            quarantine: Duration::from_secs(7 * 86_400),
            temporary_names: TemporaryNames::default(),
            temporary_settle: Duration::from_secs(600),
            unfinished: Duration::from_secs(7 * 24 * 3600),
            warn: Duration::from_secs(24 * 3600),
            withdrawn: Duration::from_secs(24 * 3600),
            also_digests: Vec::new(),
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
    pub(crate) points: Arc<Points>,
    pub(crate) trail: Arc<Trail>,
    pub(crate) logins: Logins,
    pub(crate) uploads: Registry,
    pub(crate) chorus: Chorus,
    sidecars: Sidecars,
    digests: Digests,
    pub(crate) budget: Budget,
    pub(crate) read_ahead: Arc<BlockBudget>,
    pub(crate) layouts: content::Layouts,
    pub(crate) room: Room,
    /// Where hashing, sealing, writing and reading objects runs, away from the connections' runtimes.
    pub(crate) works: Handle,
    /// Called when a notice was queued.
    wake: Box<dyn Fn() + Send + Sync>,
    /// Held by the one who removes objects: the lock among processes is asked for, not waited for.
    removing: tokio::sync::Mutex<()>,
    draining: AtomicBool,
    serving: Option<std::fs::File>,
}

impl Shares {
    /// Opens a data directory for commands, making it if there is none.
    ///
    /// # Errors
    /// A sentence that says what is in the way.
    pub async fn open(data: DataDirectory, settings: Settings) -> Result<Self, Error> {
        Self::open_with(data, settings, Handle::current(), Box::new(|| {}), Occasion::Command, None).await
    }

    /// Makes a data directory with the keys that the operator has laid there: a KEK, host keys. Without any, the first
    /// [`Shares::open`] makes one by itself.
    ///
    /// # Errors
    /// A sentence that says what is in the way; a house that is there already, whole or in part, is.
    pub async fn init(data: DataDirectory, settings: Settings) -> Result<Self, Error> {
        Self::open_with(data, settings, Handle::current(), Box::new(|| {}), Occasion::Init, None).await
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
        Self::open_with(data, settings, works, wake, Occasion::Serve, None).await
    }

    /// Serves with the objects of a simulated machine.
    #[cfg(test)]
    pub(crate) async fn serve_on(data: DataDirectory, settings: Settings, store: Disk) -> Result<Self, Error> {
        Self::open_with(data, settings, Handle::current(), Box::new(|| {}), Occasion::Serve, Some(store)).await
    }

    async fn open_with(
        data: DataDirectory,
        settings: Settings,
        works: Handle,
        wake: Box<dyn Fn() + Send + Sync>,
        occasion: Occasion,
        store: Option<Disk>,
    ) -> Result<Self, Error> {
        let serve = occasion == Occasion::Serve;
        let places = Places {
            data: &data,
            kek: settings.kek.clone().unwrap_or_else(|| data.kek()),
            store: store.clone().unwrap_or_else(|| Disk::at(&data.objects())),
        };
        let (opening, verdict) = places.enter(occasion).await?;
        let serving = if serve { Some(data.lock_for_serving()?) } else { None };
        let (begins, house) = match verdict {
            Verdict::Begin => (true, None),
            Verdict::Open(house) => (false, house),
        };
        data.make_directories()?;
        if begins {
            data.begin()?;
        }
        let records = Records::open(&data.records()).await?;
        let keyring = Keyring::open(&data.keyring()).await?;
        let keys = Cabinet::open(&places.kek, keyring, records.clone(), begins).await?;
        let store = match store {
            Some(store) => store,
            None => Disk::open(&data.objects())?,
        };
        opening::tie(&records, &keys, &store, house, begins || serve).await?;
        data.begun()?;
        let clock = HouseClock::open(&records, serve).await?;
        let points = Arc::new(Points::default());
        let trail = Trail::open(&records, &keys, Arc::clone(&points)).await?;
        if serve {
            trail.start(&works).await?;
        }
        let shares = Self(Arc::new(House {
            clock,
            points,
            trail,
            budget: Budget::new(settings.total_buffer),
            read_ahead: BlockBudget::new(settings.read_ahead),
            layouts: content::Layouts::default(),
            room: Room::of(data.objects(), &settings),
            logins: Logins::default(),
            uploads: Registry::default(),
            chorus: Chorus::default(),
            sidecars: Sidecars::default(),
            digests: Digests::default(),
            removing: tokio::sync::Mutex::default(),
            draining: AtomicBool::new(false),
            data,
            settings,
            records,
            store,
            keys,
            works,
            wake,
            serving,
        }));
        // Commands need not wait for what comes now.
        drop(opening);
        if serve {
            recovery::recover(&shares.0).await?;
            aliases::fill(&shares.0).await?;
        }
        Ok(shares)
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
        self.0.digests.stop().await;
        self.0.trail.finish().await;
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

    /// The id of the house, by which its pieces know each other.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn house_id(&self) -> Result<Option<HouseId>, Error> {
        Ok(bond::house(&mut *self.0.records.read().await?).await?)
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
