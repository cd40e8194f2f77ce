//! The services of one process over one data directory: put together here, started and ended in the
//! order in which nothing is lost. The command line and the server ask this room for each of them.

mod load;
#[cfg(any(test, feature = "bench"))]
mod seeding;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub use crate::access::{
    Access, Closed, Download, Entry, Listing, Receipt, ReceiptKey, ReplySink, SessionLine, ShareSession, SignedReceipt,
    Upload, UploadNow, WhoIsIn, Witness,
};
pub use crate::audit::{
    AccessLine, AccessReport, AuditCheckpoint, AuditFault, AuditFilter, AuditLine, AuditVerification, FaultKind, Kept,
    NoCheckpoint, NoWitness, TrailWitness,
};
pub use crate::backup::restore::{HostKeys, RestoredBackup};
pub use crate::backup::{BackupContents, BackupPlace, BackupProgress, Backups};
pub use crate::digests::{Digest, Patience, digest_of_bytes};
pub use crate::integrity::Integrity;
pub use crate::integrity::check::{Checked, Finding, Step};
pub use crate::integrity::compare::{Compared, Difference};
pub use crate::integrity::reattach::Reattached;
pub use crate::integrity::reseal::Resealed;
pub use crate::integrity::verify::Verification;
pub use crate::login::{Login, Logins, Origin};
pub use crate::moving::merging::{Merged, NotMoved, Split};
pub use crate::moving::{ArtifactPlace, MoveLine, MoveWish, Moved, Moving};
pub use crate::namespace::PublicAddress;
pub use crate::notices::Notices;
pub use crate::notices::list::{NoticeArtifact, NoticeLine};
pub use crate::notices::resend::{NewAddress, NoticeChange};
pub use crate::records::people::Absence;
pub use crate::retention::certificate::{Certificate, CertificateKey, DeletionLine};
pub use crate::retention::expiry::Expired;
pub use crate::retention::hold::HoldLine;
pub use crate::retention::policy::{ClockState, Due, PlanLine, RetentionFailure, RetentionRun, TicketEnd};
pub use crate::retention::sweep::Swept;
pub use crate::retention::ticket::{ShreddedTicket, TicketPlan};
pub use crate::retention::{Restored, Retention, ShredPlan, Shredded, VersionLine, Withdrawn};
pub use crate::rotation::{
    GenerationLine, KekLine, KeyStatus, ReplacedSecrets, Rotated, RotatedShare, Rotation, Secrets, ShareKeyLine,
};
pub use crate::tickets::artifacts::{ArtifactLine, Artifacts, SenderCheck};
pub use crate::tickets::checklist::{Checklist, ChecklistLine};
pub use crate::tickets::contacts::{ContactChanges, ContactLine, NewContact, NewPassword};
pub use crate::tickets::lists::{ArtifactFilter, ArtifactPage, Cursor, DigestStart, ListedArtifact};
pub use crate::tickets::teams::{NewTeam, TeamChanges, TeamLine};
pub use crate::tickets::ticket_list::{ListedTicket, TicketFilter, TicketOrder};
pub use crate::tickets::ticket_people::{PeopleChanges, PeopleLine};
pub use crate::tickets::usage::{OrganisationUsage, TicketUsage, Usage, UsageFilter};
pub use crate::tickets::{
    EngineerEdit, EngineerLine, HandedOver, NewOrganisation, NewTicket, NewToken, OrganisationEdit, OrganisationLine,
    TicketDetails, TicketEdit, TicketLine, Tickets, TokenLine, Unreached,
};
pub use load::Load;
#[cfg(any(test, feature = "bench"))]
#[doc(hidden)]
pub use seeding::{seeded_content, seeded_name};

pub use crate::repo::{
    Attributes, Changes, ChecklistItem, Closing, CustomerRights, DataDirectory, Error, HOST_KEY, LEGACY_HOST_KEY,
    Period, PlaceKind, Policy, RightsRule, Rule, Settings, Space, Start, Unfinished, WriteMode,
};

use crate::audit::{Actor, AuditWriter};
use crate::integrity::recovery;
use crate::model::HouseId;
use crate::namespace::{self, address};
use crate::records::facts;
use crate::repo::pieces::Occasion;
use crate::repo::proved_facts::{proved_fact, set_proved_fact};
use crate::repo::{Opened, Repo};
use crate::store::Disk;

/// All shares of one data directory: what doors and the command line ask for anything. Cheap to
/// clone.
#[derive(Clone)]
pub struct App(pub(crate) Arc<Services>);

/// What stands behind [`App`].
pub(crate) struct Services {
    pub(crate) access: Arc<Access>,
    tickets: Tickets,
    artifacts: Artifacts,
    moving: Moving,
    rotation: Rotation,
    integrity: Integrity,
    backups: Backups,
}

impl App {
    /// Opens a data directory for commands, making it if there is none.
    ///
    /// # Errors
    /// A sentence that says what is in the way.
    pub async fn open(data: DataDirectory, settings: Settings) -> Result<Self, Error> {
        Self::open_with(data, settings, Handle::current(), Box::new(|| {}), Occasion::Command, None).await
    }

    /// Makes a data directory with the keys that the operator has laid there: a KEK, host keys.
    /// Without any, the first [`App::open`] makes one by itself.
    ///
    /// # Errors
    /// A sentence that says what is in the way; a house that is there already, whole or in part,
    /// is.
    pub async fn init(data: DataDirectory, settings: Settings) -> Result<Self, Error> {
        Self::open_with(data, settings, Handle::current(), Box::new(|| {}), Occasion::Init, None).await
    }

    /// Opens a data directory to replace secrets of its server, also those that were lost.
    ///
    /// # Errors
    /// A sentence that says what is in the way; a server of the same directory is, as it has them at
    /// hand.
    pub async fn open_to_replace(data: DataDirectory, settings: Settings) -> Result<Self, Error> {
        Self::open_with(data, settings, Handle::current(), Box::new(|| {}), Occasion::Replace, None).await
    }

    /// Opens a data directory to serve it. `worker_runtime` is the runtime for hashing, sealing and
    /// object I/O; `wake` is called when a notice was queued.
    ///
    /// # Errors
    /// A sentence that says what is in the way; another server of the same directory is.
    pub async fn serve(
        data: DataDirectory,
        settings: Settings,
        worker_runtime: Handle,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Result<Self, Error> {
        Self::open_with(data, settings, worker_runtime, wake, Occasion::Serve, None).await
    }

    /// Serves with the objects of a simulated machine.
    #[cfg(test)]
    pub(crate) async fn serve_on(data: DataDirectory, settings: Settings, store: Disk) -> Result<Self, Error> {
        Self::open_with(data, settings, Handle::current(), Box::new(|| {}), Occasion::Serve, Some(store)).await
    }

    async fn open_with(
        data: DataDirectory,
        settings: Settings,
        worker_runtime: Handle,
        wake: Box<dyn Fn() + Send + Sync>,
        occasion: Occasion,
        store: Option<Disk>,
    ) -> Result<Self, Error> {
        let serve = occasion == Occasion::Serve;
        let Opened { repo, lock } = Repo::open(data, settings, worker_runtime, occasion, store).await?;
        let access = Access::over(repo, wake).await?;
        let repo = &access.repo;
        if serve {
            access.trail.start(&repo.worker_runtime).await?;
        }
        let app = Self(Arc::new(Services {
            tickets: Tickets::of(repo),
            artifacts: Artifacts::of(repo),
            moving: Moving::of(repo, &access.retention, &access.notices),
            rotation: Rotation::of(repo),
            integrity: Integrity::of(repo),
            backups: Backups::of(repo),
            access,
        }));
        // Commands need not wait for what comes now.
        drop(lock);
        if serve {
            if let Err(error) = app.0.access.retention.shred_what_came_back().await {
                tracing::error!(%error, "a ticket that was shredded came back with an older copy, and stays for now");
            }
            // A backup that is taken just now may be in the way: then it is tried again in a minute.
            if let Err(error) = app.0.access.retention.finish_shredding(&Actor::Server).await {
                tracing::warn!(%error, "a ticket that is being shredded is not at its end");
            }
            recovery::recover(&app.0.access.repo).await?;
            namespace::aliases::fill(&app.0.access.repo).await?;
            app.0.integrity.compare_at_start().await;
        }
        Ok(app)
    }

    /// The data directory.
    pub fn data(&self) -> &DataDirectory {
        &self.0.access.repo.data
    }

    /// Refuses new uploads from now on.
    pub fn drain(&self) {
        self.0.access.drain();
    }

    /// How many uploads are under way.
    pub fn open_uploads(&self) -> usize {
        self.0.access.uploads.registry.len()
    }

    /// The audit trail.
    pub fn audit(&self) -> &AuditWriter {
        &self.0.access.trail
    }

    /// What doors ask.
    pub fn access(&self) -> &Arc<Access> {
        &self.0.access
    }

    /// Who may come in, and who must go again.
    pub fn logins(&self) -> &Logins {
        &self.0.access.logins
    }

    /// What this login sees and may do, for one session.
    pub fn session(&self, login: &Login) -> ShareSession {
        self.0.access.session(login)
    }

    /// People, organisations and their tickets.
    pub fn tickets(&self) -> &Tickets {
        &self.0.tickets
    }

    /// The artifacts of tickets.
    pub fn artifacts(&self) -> &Artifacts {
        &self.0.artifacts
    }

    /// Files that go from one ticket to another.
    pub fn moving(&self) -> &Moving {
        &self.0.moving
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
        &self.0.access.retention
    }

    /// The notices.
    pub fn notices(&self) -> &Arc<Notices> {
        &self.0.access.notices
    }

    /// The address that people reach the server at, as the server last wrote it down.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn public_address(&self) -> Result<Option<PublicAddress>, Error> {
        address::public(&self.0.access.repo).await
    }

    /// Writes the address down that people reach the server at.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn set_public_address(&self, address: &PublicAddress) -> Result<(), Error> {
        address::set_public(&self.0.access.repo, address).await
    }

    /// The address that old devices reach the server at, as the server last wrote it down: none if
    /// no server has run, none in it if the last one did not open that door.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn legacy_address(&self) -> Result<Option<Option<PublicAddress>>, Error> {
        address::legacy(&self.0.access.repo).await
    }

    /// Writes the address down that old devices reach the server at; none: that door is not open.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn set_legacy_address(&self, address: Option<&PublicAddress>) -> Result<(), Error> {
        address::set_legacy(&self.0.access.repo, address).await
    }

    /// Compares files with their senders' digests until `stop`.
    pub async fn check_sender_digests(&self, stop: CancellationToken) {
        self.0.access.sidecars.check_until(stop).await;
    }

    /// Writes house time down every now and then, until `stop`.
    pub async fn keep_house_time(&self, stop: CancellationToken) {
        self.0.access.repo.keep_house_time(stop).await;
    }

    /// Waits until what is under way has been written down, and closes the databases.
    pub async fn close(&self) {
        self.0.access.uploads.registry.cut_all().await;
        self.0.access.digests.stop().await;
        self.0.access.trail.finish().await;
        self.0.access.repo.close().await;
    }

    /// A fact about this installation that commands and server share, such as its host key's
    /// fingerprint; none if it is unknown, or was changed in the database.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn fact(&self, name: &str) -> Result<Option<String>, Error> {
        let repo = &self.0.access.repo;
        proved_fact(&mut *repo.records.read().await?, &repo.keys, name).await
    }

    /// Writes such a fact down.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn set_fact(&self, name: &str, value: &str) -> Result<(), Error> {
        let repo = &self.0.access.repo;
        let mut tx = repo.records.begin().await?;
        set_proved_fact(tx.conn(), &repo.keys, name, value).await?;
        Ok(tx.commit().await?)
    }

    /// The id of the house, by which its pieces know each other.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn house_id(&self) -> Result<Option<HouseId>, Error> {
        Ok(facts::house(&mut *self.0.access.repo.records.read().await?).await?)
    }
}
