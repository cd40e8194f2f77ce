//! What a login sees and may do: sessions, listings, downloads, files that are open for writing,
//! virtual places, receipts.
//!
//! Doors (`ssh`, `sftp`, `scp`) know this room and `model`, and nothing below.

mod artifacts;
mod download;
mod events;
mod listing;
mod name_changes;
mod reply_sink;
mod session;
mod unfinished;
mod virtual_places;
mod who;
mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use crate::digests::{Digest, Patience, digest_of_bytes};
pub use crate::login::{Login, Logins, Origin};
pub use crate::repo::{Attributes, Changes, Error, PlaceKind, Space, Unfinished, WriteMode};
pub use artifacts::{BehindArtifact, SeenArtifact};
pub use download::Download;
pub use listing::{Entry, Listing};
pub use reply_sink::{Closed, ReplySink};
pub use session::ShareSession;
pub use unfinished::{Known, UnfinishedUpload};
pub use virtual_places::{Receipt, ReceiptKey, SignedReceipt, Witness};
pub use who::{SessionLine, UploadNow, WhoIsIn};
pub use writing::Upload;
use writing::UploadHandle;

use crate::audit::AuditWriter;
use crate::content::Layouts;
use crate::content::read_ahead::BlockBudget;
use crate::digests::Digests;
use crate::digests::sidecars::Sidecars;
use crate::model::{ArtifactId, Refusal};
use crate::notices::Notices;
use crate::repo::Repo;
use crate::repo::tickets::logins_changed;
use crate::retention::Retention;
use crate::upload::{Registry, Uploads};
use name_changes::NameChanges;

/// What doors ask for logins and their sessions.
pub struct Access {
    pub(crate) repo: Arc<Repo>,
    pub(crate) trail: Arc<AuditWriter>,
    pub(crate) logins: Logins,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) digests: Arc<Digests>,
    pub(crate) sidecars: Arc<Sidecars>,
    pub(crate) notices: Arc<Notices>,
    pub(crate) retention: Arc<Retention>,
    pub(crate) read_ahead: Arc<BlockBudget>,
    pub(crate) layouts: Layouts,
    pub(crate) name_changes: NameChanges,
    draining: AtomicBool,
}

impl Access {
    /// Everything that sessions use, over an opened data directory. `wake` is called when a notice
    /// was queued.
    ///
    /// # Errors
    /// If the audit trail cannot be opened.
    pub(crate) async fn over(repo: Repo, wake: Box<dyn Fn() + Send + Sync>) -> Result<Arc<Self>, Error> {
        let repo = Arc::new(repo);
        let trail = AuditWriter::open(&repo).await?;
        let logins = Logins::of(&repo, &trail);
        let digests = Digests::of(&repo);
        let sidecars = Sidecars::of(&repo, &digests);
        let notices = Notices::of(&repo, &sidecars, wake);
        let registry = Arc::new(Registry::default());
        let open = Arc::clone(&registry);
        let is_held = Box::new(move |artifact: ArtifactId| open.of_artifact(*artifact.as_bytes()).is_some());
        let retention = Retention::of(&repo, &notices, is_held);
        let uploads = Uploads::of(&repo, &notices, &sidecars, &retention, registry);
        Ok(Arc::new(Self {
            trail,
            logins,
            uploads,
            digests,
            sidecars,
            notices,
            retention,
            read_ahead: BlockBudget::new(repo.settings.read_ahead),
            layouts: Layouts::default(),
            name_changes: NameChanges::of(repo.settings.name_changes_per_day),
            draining: AtomicBool::new(false),
            repo,
        }))
    }

    /// Who may come in, and who must go again.
    pub fn logins(&self) -> &Logins {
        &self.logins
    }

    /// What this login sees and may do, for one session.
    pub fn session(self: &Arc<Self>, login: &Login) -> ShareSession {
        ShareSession::new(Arc::clone(self), login.clone())
    }

    /// Whether the server is about to stop: uploads under way may finish, new ones are refused.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether logins and uploads can be served now: for who watches the server.
    ///
    /// # Errors
    /// [`Refusal::ShuttingDown`], [`Refusal::Storage`] if the records or the disk do not answer,
    /// [`Refusal::DiskFull`].
    pub async fn ready(&self) -> Result<(), Refusal> {
        if self.is_draining() {
            return Err(Refusal::ShuttingDown);
        }
        logins_changed(&mut *self.repo.records.read().await.map_err(Error::from)?).await?;
        self.trail.room().await?;
        match self.repo.disk_space.free()? {
            0 => Err(Refusal::DiskFull),
            _ => Ok(()),
        }
    }

    /// The longest that a file may be, in bytes.
    pub fn longest_file(&self) -> u64 {
        self.repo.settings.file_bytes
    }

    /// Refuses new uploads from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
