//! The heart: who may do what to a share. Every byte in and out, every audit event and every notice intent passes here
//! and nowhere else.
//!
//! Doors (`ssh`, `sftp`, `scp`) know this room and `model`, and nothing below. It is the only room that knows both the vault and
//! the store. An upload is followed through it in `ARCHITECTURE.md`.

mod download;
mod listing;
mod load;
mod outlet;
#[cfg(any(test, feature = "bench"))]
mod seeding;
mod view;
mod virtual_places;
mod witness;
mod writing;

#[cfg(test)]
mod tests;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub use crate::audit::{
    AuditCheckpoint, AuditFault, AuditFilter, AuditLine, AuditVerification, FaultKind, NoCheckpoint,
};
pub use crate::backup::restore::{HostKeys, RestoredBackup};
pub use crate::backup::{BackupContents, BackupPlace, BackupProgress, Backups};
pub use crate::digests::{Digest, Patience, digest_of_bytes};
pub use crate::integrity::Integrity;
pub use crate::integrity::check::{Checked, Finding, Step};
pub use crate::integrity::reattach::Reattached;
pub use crate::integrity::verify::Verification;
pub use crate::login::{Login, Logins, Origin};
pub use crate::namespace::PublicAddress;
pub use crate::notices::Notices;
pub use crate::notices::list::{NoticeArtifact, NoticeLine};
pub use crate::notices::resend::{NewAddress, NoticeChange};
pub use crate::retention::expiry::Expired;
pub use crate::retention::sweep::Swept;
pub use crate::retention::{Restored, Retention, ShredPlan, Shredded, VersionLine, Withdrawn};
pub use crate::rotation::{GenerationLine, KekLine, KeyStatus, Rotated, RotatedShare, Rotation, ShareKeyLine};
pub use crate::tickets::artifacts::{ArtifactLine, Artifacts, SenderCheck};
pub use crate::tickets::{EngineerLine, NewTicket, OrganisationLine, TicketLine, Tickets};
pub use download::Download;
pub use listing::{Entry, Listing};
pub use load::Load;
pub use outlet::{Gone, Outlet};
#[cfg(any(test, feature = "bench"))]
#[doc(hidden)]
pub use seeding::{seeded_content, seeded_name};
pub use view::View;
pub use virtual_places::{Receipt, ReceiptKey, SignedReceipt};
pub use writing::Upload;

pub use crate::repo::{
    Attributes, Changes, DataDirectory, Error, LEGACY_HOST_KEY, PlaceKind, Settings, Space, Unfinished, WriteMode,
};

use crate::audit::Trail;
use crate::content::Layouts;
use crate::content::read_ahead::BlockBudget;
use crate::digests::Digests;
use crate::digests::sidecars::Sidecars;
use crate::integrity::recovery;
use crate::model::{ArtifactId, HouseId};
use crate::namespace::{self, address};
use crate::records::{bond, people};
use crate::repo::pieces::Occasion;
use crate::repo::{Opened, Repo};
use crate::store::Disk;
use crate::upload::{Registry, Uploads};

/// All shares of one data directory: what doors and the command line ask for anything. Cheap to clone.
#[derive(Clone)]
pub struct Shares(pub(crate) Arc<House>);

/// What stands behind [`Shares`]: an opened data directory, and what a running server has beside it.
pub(crate) struct House {
    pub(crate) repo: Arc<Repo>,
    pub(crate) trail: Arc<Trail>,
    pub(crate) logins: Logins,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) digests: Arc<Digests>,
    pub(crate) sidecars: Arc<Sidecars>,
    pub(crate) read_ahead: Arc<BlockBudget>,
    pub(crate) layouts: Layouts,
    pub(crate) notices: Arc<Notices>,
    pub(crate) retention: Arc<Retention>,
    tickets: Tickets,
    artifacts: Artifacts,
    rotation: Rotation,
    integrity: Integrity,
    backups: Backups,
    draining: AtomicBool,
}

/// Until each service has only what it uses, it finds the data directory behind the house.
impl Deref for House {
    type Target = Repo;

    fn deref(&self) -> &Repo {
        &self.repo
    }
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
        let Opened { repo, lock } = Repo::open(data, settings, works, occasion, store).await?;
        let house = House::over(repo, wake).await?;
        if serve {
            house.trail.start(&house.works).await?;
        }
        let shares = Self(Arc::new(house));
        // Commands need not wait for what comes now.
        drop(lock);
        if serve {
            recovery::recover(&shares.0.repo).await?;
            namespace::aliases::fill(&shares.0).await?;
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
        self.0.uploads.registry.len()
    }

    /// The audit trail.
    pub fn audit(&self) -> &Trail {
        &self.0.trail
    }

    /// Who may come in, and who must go again.
    pub fn logins(&self) -> &Logins {
        &self.0.logins
    }

    /// What this login sees and may do, for one session.
    pub fn view(&self, login: &Login) -> View {
        View::new(self.clone(), login.clone())
    }

    /// People, organisations and their tickets.
    pub fn tickets(&self) -> &Tickets {
        &self.0.tickets
    }

    /// The artifacts of tickets.
    pub fn artifacts(&self) -> &Artifacts {
        &self.0.artifacts
    }

    /// The keys that can be replaced.
    pub fn rotation(&self) -> &Rotation {
        &self.0.rotation
    }

    /// What is damaged or lost.
    pub fn integrity(&self) -> &Integrity {
        &self.0.integrity
    }

    /// Backups.
    pub fn backups(&self) -> &Backups {
        &self.0.backups
    }

    /// What is taken away.
    pub fn retention(&self) -> &Arc<Retention> {
        &self.0.retention
    }

    /// The notices.
    pub fn notices(&self) -> &Arc<Notices> {
        &self.0.notices
    }

    /// The address that people reach the server at, as the server last wrote it down.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn public_address(&self) -> Result<Option<PublicAddress>, Error> {
        address::public(&self.0.repo).await
    }

    /// Writes the address down that people reach the server at.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn set_public_address(&self, address: &PublicAddress) -> Result<(), Error> {
        address::set_public(&self.0.repo, address).await
    }

    /// The address that old devices reach the server at, as the server last wrote it down: none if no server has run, none
    /// in it if the last one did not open that door.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn legacy_address(&self) -> Result<Option<Option<PublicAddress>>, Error> {
        address::legacy(&self.0.repo).await
    }

    /// Writes the address down that old devices reach the server at; none: that door is not open.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn set_legacy_address(&self, address: Option<&PublicAddress>) -> Result<(), Error> {
        address::set_legacy(&self.0.repo, address).await
    }

    /// Compares files with their senders' digests until `stop`.
    pub async fn check_sender_digests(&self, stop: CancellationToken) {
        self.0.sidecars.check_until(stop).await;
    }

    /// Writes house time down every now and then, until `stop`.
    pub async fn keep_house_time(&self, stop: CancellationToken) {
        self.0.keep_house_time(stop).await;
    }

    /// Waits until what is under way has been written down, and closes the databases.
    pub async fn close(&self) {
        self.0.uploads.registry.cut_all().await;
        self.0.digests.stop().await;
        self.0.trail.finish().await;
        self.0.repo.close().await;
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
        self.0.is_serving()
    }
}

impl House {
    /// A server, or a command, over an opened data directory. `wake` is called when a notice was queued.
    async fn over(repo: Repo, wake: Box<dyn Fn() + Send + Sync>) -> Result<Self, Error> {
        let repo = Arc::new(repo);
        let trail = Trail::open(&repo.records, &repo.keys, Arc::clone(&repo.points)).await?;
        let logins = Logins::of(&repo, &trail);
        let digests = Digests::of(&repo);
        let sidecars = Sidecars::of(&repo, &digests);
        let notices = Notices::of(&repo, &sidecars, wake);
        let registry = Arc::new(Registry::default());
        let open = Arc::clone(&registry);
        let is_held = Box::new(move |artifact: ArtifactId| open.of_artifact(*artifact.as_bytes()).is_some());
        let retention = Retention::of(&repo, &notices, is_held);
        let uploads = Uploads::of(&repo, &notices, &sidecars, &retention, registry);
        Ok(Self {
            trail,
            read_ahead: BlockBudget::new(repo.settings.read_ahead),
            layouts: Layouts::default(),
            logins,
            uploads,
            notices,
            sidecars,
            digests,
            retention,
            tickets: Tickets::of(&repo),
            artifacts: Artifacts::of(&repo),
            rotation: Rotation::of(&repo),
            integrity: Integrity::of(&repo),
            backups: Backups::of(&repo),
            draining: AtomicBool::new(false),
            repo,
        })
    }
}
