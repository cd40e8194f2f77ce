//! An opened data directory: its settings, its records, its store, and what everybody needs to work
//! with them: the keys at hand, the clock, the room on the disk, the failpoints and the errors. It
//! knows nothing of logins, uploads or servers.
//!
//! Services stand on this room. Doors never see it.

pub(crate) mod anchor;
pub(crate) mod attributes;
pub(crate) mod blocking;
pub(crate) mod checklist;
pub(crate) mod clock;
pub(crate) mod data;
pub(crate) mod error;
pub(crate) mod failpoints;
pub(crate) mod kek;
pub(crate) mod keys;
pub(crate) mod opening;
pub(crate) mod pieces;
mod policy;
pub(crate) mod proofs;
pub(crate) mod proved_facts;
pub(crate) mod replacement;
pub(crate) mod seen;
pub(crate) mod set_aside;
mod settings;
pub(crate) mod signers;
pub(crate) mod space;
#[cfg(feature = "test-clock")]
mod test_clock;
pub(crate) mod tickets;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;

pub use attributes::{Attributes, Changes, PlaceKind, Space, Unfinished, WriteMode};
pub use checklist::Item as ChecklistItem;
pub use data::{DataDirectory, HOST_KEY, LEGACY_HOST_KEY};
pub use error::Error;
pub use policy::{Closing, CustomerRights, Period, Policy, RightsRule, Rule, RuleOf, Start};
pub use settings::Settings;

use crate::records::{Keyring, Records};
use crate::store::Disk;
use clock::HouseClock;
use failpoints::Failpoints;
use keys::{KeyManager, Opening};
use opening::Places;
use pieces::{Occasion, Verdict};
use space::DiskSpace;

/// An opened data directory.
pub(crate) struct Repo {
    pub(crate) data: DataDirectory,
    pub(crate) settings: Settings,
    pub(crate) records: Records,
    pub(crate) store: Disk,
    pub(crate) keys: KeyManager,
    pub(crate) clock: HouseClock,
    pub(crate) failpoints: Arc<Failpoints>,
    pub(crate) disk_space: DiskSpace,
    /// The runtime for hashing, sealing, writing and reading objects, away from the connections'
    /// runtimes.
    pub(crate) worker_runtime: Handle,
    /// The lock of the one process that serves, or that makes sure that none does.
    serving: Option<File>,
}

/// A data directory that was just opened. Another process that opens it waits until `lock` is
/// dropped.
pub(crate) struct Opened {
    pub(crate) repo: Repo,
    pub(crate) lock: File,
}

impl Repo {
    /// Opens a data directory, and begins it where the occasion allows that and there is none.
    /// `store` is given by tests that simulate a disk.
    ///
    /// # Errors
    /// A sentence that says what is in the way: pieces that do not belong together, a piece that is
    /// missing, another server.
    pub(crate) async fn open(
        data: DataDirectory,
        settings: Settings,
        worker_runtime: Handle,
        occasion: Occasion,
        store: Option<Disk>,
    ) -> Result<Opened, Error> {
        #[cfg(feature = "test-clock")]
        test_clock::follow();
        let serve = occasion == Occasion::Serve;
        let places = Places {
            data: &data,
            kek: settings.kek.clone().unwrap_or_else(|| data.kek()),
            store: store.clone().unwrap_or_else(|| Disk::at(&data.objects())),
        };
        let (lock, verdict) = places.enter(occasion).await?;
        let alone = serve || occasion == Occasion::Replace;
        let serving = if alone { Some(data.lock_for_serving()?) } else { None };
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
        // A beginning may have been cut between the KEK and the secrets that it wraps.
        let begins_still = data.is_beginning() && anchor::is_unused(&records).await?;
        let how = match occasion {
            _ if begins || begins_still => Opening::Begin,
            Occasion::Replace => Opening::Replace,
            Occasion::Command | Occasion::Serve | Occasion::Init => Opening::Work,
        };
        let keys = KeyManager::open(&places.kek, keyring, records.clone(), how).await?;
        let store = match store {
            Some(store) => store,
            None => Disk::open(&data.objects())?,
        };
        opening::check_schema(&records, &keys, serve).await?;
        if serve {
            keys.check_kek()?;
        }
        opening::tie(&records, &keys, &store, house, begins || serve).await?;
        anchor::seal_rows(&records, keys.trail()).await?;
        // The beginning may have been cut between the keyring and the anchor.
        if data.is_beginning() && keys.level().proves() {
            anchor::begin(&records, &keys).await?;
        }
        opening::adopt(&records, &keys, &settings).await?;
        data.begun()?;
        let repo = Self {
            clock: HouseClock::open(&records, serve).await?,
            failpoints: Arc::default(),
            disk_space: DiskSpace::of(data.objects(), &settings),
            data,
            settings,
            records,
            store,
            keys,
            worker_runtime,
            serving,
        };
        Ok(Opened { repo, lock })
    }

    /// A copy of a data directory, such as a backup, to read what is in it. `records` and `keyring`
    /// are open for reading only, and the KEK lies apart from it.
    ///
    /// # Errors
    /// If a piece of it cannot be read.
    pub(crate) async fn of_copy(
        root: &Path,
        records: Records,
        keyring: Keyring,
        kek: &Path,
        settings: Settings,
        worker_runtime: Handle,
    ) -> Result<Self, Error> {
        let data = DataDirectory::at(root);
        Ok(Self {
            keys: KeyManager::open(kek, keyring, records.clone(), Opening::Copy).await?,
            clock: HouseClock::open(&records, false).await?,
            failpoints: Arc::default(),
            disk_space: DiskSpace::of(data.objects(), &settings),
            store: Disk::open(&data.objects())?,
            data,
            settings,
            records,
            worker_runtime,
            serving: None,
        })
    }

    /// Closes the databases.
    pub(crate) async fn close(&self) {
        self.records.close().await;
        self.keys.close().await;
    }

    /// Whether this process serves the data directory.
    pub(crate) fn is_serving(&self) -> bool {
        self.serving.is_some()
    }
}
