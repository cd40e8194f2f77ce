//! Recovery: what a crash or a disk has left is made legal before the doors open.
//!
//! It may be cut anywhere and begun again: each correction is one transaction, and what is right is
//! left alone, so that a second run changes nothing. It reads rows and the lengths of objects,
//! never their content, one shelf of the store at a time, so that its memory does not grow with the
//! store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

pub(crate) use super::shelf::Lost;
use super::shelf::{Shelves, compare_shelves, parts_of_the_store, still_lost};

use super::Integrity;
use crate::audit::{self, Actor, Kind, Subject};
use crate::model::{Identifier, ObjectId, VersionState};
use crate::records::consistency::{self, Named, Oddity};
use crate::records::{Conn, entries, extents, objects, strays, tickets, versions};
use crate::repo::blocking::blocking;
use crate::repo::{Error, Repo};
use crate::retention::discard;
use crate::upload::{self, Repair};

/// Rows that are read at once.
const PAGE: u32 = 1000;
/// Corrections that have an audit event and a log line each; of more there is the count.
const TOLD: u64 = 1000;
/// How often a scan that takes its time says how far it is.
const STILL_AT_IT: Duration = Duration::from_secs(5);
/// How often the store is looked through while the server runs.
const SCANNED_EVERY: Duration = Duration::from_secs(86_400);
/// So many sealed extents are needed to tell a store that is not mounted from one that has lost a
/// little.
const ENOUGH_TO_TELL: u32 = 8;

/// What is said of a small file whose row is gone.
pub(crate) const LOST_SMALL_FILE: &str = "its bytes in the records are missing, or have a wrong length";

/// What recovery did.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Recovered {
    /// Files of objects that were never finished.
    pub(crate) unfinished_files: u64,
    /// Unfinished versions that nobody could have continued.
    pub(crate) discarded: u64,
    /// Unfinished versions that are continued from an earlier byte.
    pub(crate) shortened: u64,
    /// Versions that have become damaged.
    pub(crate) damaged: u64,
    /// Shredded versions that kept something.
    pub(crate) shredded: u64,
    /// Entries that pointed at a wrong version.
    pub(crate) pointers: u64,
    /// Tickets whose sums were wrong.
    pub(crate) sums: u64,
    /// Extents and small objects that nobody uses.
    pub(crate) unused: u64,
    /// Objects of the store that no row knew for the first time.
    pub(crate) new_strays: u64,
    #[serde(skip)]
    pub(crate) seen: Seen,
}

/// What a scan saw.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) strays: u64,
    pub(crate) foreign: u64,
}

/// Makes a data directory legal. For its one server, before it takes uploads.
///
/// # Errors
/// If records or store fail, or the store seems to be another one.
pub(crate) async fn recover(repo: &Arc<Repo>) -> Result<Recovered, Error> {
    let begun = Instant::now();
    refuse_empty_store(repo).await?;
    let mut recovery = Recovery { repo, done: Recovered::default(), told: 0 };
    let store = repo.store.clone();
    recovery.done.unfinished_files =
        blocking(&repo.worker_runtime, "the reading", move || store.sweep_unfinished()).await? as u64;
    recovery.versions().await?;
    recovery.small_files().await?;
    recovery.pointers().await?;
    recovery.shelves().await?;
    recovery.sums().await?;
    recovery.finish(begun).await
}

impl Integrity {
    /// Looks the store through once a day, until `stop`: what is lost is marked, what no row knows
    /// gets or ends its quarantine.
    pub async fn scan_daily(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(SCANNED_EVERY)).await.is_some() {
            // Each transaction is whole; what is left undone is done tomorrow.
            if let Some(Err(error)) = stop.run_until_cancelled(scan(&self.repo)).await {
                tracing::warn!(%error, "the store could not be looked through");
            }
        }
    }
}

/// The part of recovery that may run while the server does.
pub(crate) async fn scan(repo: &Arc<Repo>) -> Result<Recovered, Error> {
    let begun = Instant::now();
    let mut recovery = Recovery { repo, done: Recovered::default(), told: 0 };
    recovery.small_files().await?;
    recovery.shelves().await?;
    recovery.finish(begun).await
}

/// An empty store under records that need it is a file system that was not mounted: nothing is
/// marked as damaged for that.
async fn refuse_empty_store(repo: &Arc<Repo>) -> Result<(), Error> {
    let store = repo.store.clone();
    let is_empty = blocking(&repo.worker_runtime, "the reading", move || store.holds_any().map(|any| !any));
    if is_empty.await? && objects::needs_at_least(&mut *repo.records.read().await?, ENOUGH_TO_TELL).await? {
        return Err(Error::operator(format!(
            "{} holds none of the encrypted objects that the records speak of; mount their file system or restore them. If \
             they are lost for good, run 'tacdrop artifact verify', which marks what is damaged, and start the server again",
            repo.data.objects().display()
        )));
    }
    Ok(())
}

struct Recovery<'a> {
    repo: &'a Arc<Repo>,
    done: Recovered,
    /// Corrections that were told one by one.
    told: u64,
}

impl Recovery<'_> {
    /// Versions whose rows are not what their states say.
    async fn versions(&mut self) -> Result<(), Error> {
        let mut after = None;
        loop {
            // Looked for without holding up writers, and again as the writer.
            let mut odd = consistency::odd_versions(&mut *self.repo.records.read().await?, after, PAGE).await?;
            if odd.is_empty() {
                return Ok(());
            }
            let mut tx = self.repo.records.begin().await?;
            odd = consistency::odd_versions(tx.conn(), after, PAGE).await?;
            after = odd.last().map(|(version, _)| version.id);
            let now = self.repo.clock.now();
            for (version, oddity) in &odd {
                match oddity {
                    Oddity::Unheld => {
                        discard(tx.conn(), version.id, &version.ticket, &Actor::Server, now).await?;
                        self.done.discarded += 1;
                    }
                    Oddity::Unsealed => {
                        self.damage(tx.conn(), version, "its key or its manifest is not in the records").await?;
                    }
                    Oddity::HalfShredded => {
                        versions::finish_shredding(tx.conn(), version.id, now).await?;
                        let used = extents::of_version(tx.conn(), version.id).await?;
                        let used: Vec<ObjectId> = used.iter().map(|extent| extent.id).collect();
                        extents::release(tx.conn(), version.id, &used, now).await?;
                        self.done.shredded += 1;
                        self.tell(tx.conn(), Kind::VersionShredded, &version.ticket, *version.id.as_bytes()).await?;
                    }
                }
            }
            tx.commit().await?;
            self.repo.failpoints.hit("recovery.version-corrected");
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Versions that have lost the row with their bytes. No crash parts a version from it.
    async fn small_files(&mut self) -> Result<(), Error> {
        let mut after = 0;
        loop {
            let lost = consistency::lost_small_files(&mut *self.repo.records.read().await?, after, PAGE).await?;
            if lost.is_empty() {
                return Ok(());
            }
            let mut tx = self.repo.records.begin().await?;
            let lost = consistency::lost_small_files(tx.conn(), after, PAGE).await?;
            for (row, version) in &lost {
                self.damage(tx.conn(), version, LOST_SMALL_FILE).await?;
                after = *row;
            }
            tx.commit().await?;
            if lost.is_empty() {
                return Ok(());
            }
        }
    }

    /// Entries that point at versions which are not theirs, or not in the right state.
    async fn pointers(&mut self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let mut wrong = consistency::wrong_pointers(&mut *self.repo.records.read().await?, after, PAGE).await?;
            if wrong.is_empty() {
                return Ok(());
            }
            let mut tx = self.repo.records.begin().await?;
            wrong = consistency::wrong_pointers(tx.conn(), after, PAGE).await?;
            after = wrong.last().map(|row| row.entry);
            for row in &wrong {
                entries::set_versions(tx.conn(), &row.entry, row.current, row.receiving).await?;
                self.done.pointers += 1;
                self.tell(tx.conn(), Kind::ArtifactCorrected, &row.ticket, row.entry).await?;
            }
            tx.commit().await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// All shelves of the store.
    async fn shelves(&mut self) -> Result<(), Error> {
        let mut said = Instant::now();
        for part in parts_of_the_store(self.repo).await? {
            self.part(&part).await?;
            if said.elapsed() >= STILL_AT_IT {
                said = Instant::now();
                let (shelf, objects) = (u32::from(*part.end()) + 1, self.done.seen.objects);
                tracing::info!(shelf, of = 256, objects, "looking through the store");
            }
        }
        let store = self.repo.store.clone();
        let beside = blocking(&self.repo.worker_runtime, "the reading", move || store.beside_the_shelves()).await?;
        self.done.seen.foreign += beside.len() as u64;
        if self.done.seen.foreign > 0 {
            let files = self.done.seen.foreign;
            tracing::warn!(files, "files in the store are none of tacdrop's; 'tacdrop store check' shows them");
        }
        if self.done.seen.strays > 0 {
            // When they were seen must not lie in the future of a server that is killed now.
            self.repo.write_house_time().await?;
        }
        Ok(())
    }

    async fn part(&mut self, shelves: &Shelves) -> Result<(), Error> {
        let mut seen = compare_shelves(self.repo, shelves).await?;
        still_lost(self.repo, shelves, &mut seen.lost).await?;
        self.done.seen.objects += seen.objects;
        self.done.seen.bytes += seen.bytes;
        self.done.seen.strays += seen.unknown.len() as u64;
        self.done.seen.foreign += seen.foreign.len() as u64;

        let Losses { sealed, unfinished } = losses(&mut *self.repo.records.read().await?, &seen.lost).await?;
        let now = self.repo.clock.now();
        let quarantined_since = now.minus(self.repo.settings.quarantine);
        seen.unknown.retain(|(_, _, stray)| {
            stray.is_none_or(|stray| stray.confirmed_at.is_none() && stray.first_seen <= quarantined_since)
        });
        let nothing = sealed.is_empty()
            && seen.unknown.is_empty()
            && seen.no_stray.is_empty()
            && seen.unused.is_empty()
            && seen.forgotten.is_empty();
        if !nothing {
            let mut tx = self.repo.records.begin().await?;
            for (version, why) in sealed.values() {
                self.damage(tx.conn(), version, why).await?;
            }
            for (id, bytes, stray) in &seen.unknown {
                strays::see(tx.conn(), *id, *bytes, now, quarantined_since).await?;
                self.done.new_strays += u64::from(stray.is_none());
            }
            for id in &seen.no_stray {
                strays::forget(tx.conn(), *id).await?;
            }
            extents::drop_unused(tx.conn(), &seen.unused, None, now).await?;
            for id in &seen.forgotten {
                objects::doom_forgotten(tx.conn(), *id, now).await?;
            }
            self.done.unused += (seen.unused.len() + seen.forgotten.len()) as u64;
            tx.commit().await?;
            self.repo.failpoints.hit("recovery.shelf-corrected");
        }
        for (version, lost) in unfinished.values() {
            match upload::repair(self.repo, version.share, &version.ticket, version.id, lost).await? {
                Repair::Whole => {}
                Repair::Shortened => self.done.shortened += 1,
                Repair::Discarded => self.done.discarded += 1,
            }
        }
        Ok(())
    }

    /// Sums of tickets that are not what their rows say.
    async fn sums(&mut self) -> Result<(), Error> {
        self.repo.failpoints.hit("recovery.before-sums");
        if consistency::wrong_sums(&mut *self.repo.records.read().await?).await?.is_empty() {
            return Ok(());
        }
        let mut tx = self.repo.records.begin().await?;
        for wrong in consistency::wrong_sums(tx.conn()).await? {
            tickets::correct_sums(tx.conn(), wrong.share).await?;
            self.done.sums += 1;
            let subject = Subject { actor: &Actor::Server, ticket: Some(&wrong.ticket), id: None };
            let detail = json!({ "bytes": wrong.bytes.1, "bytes_before": wrong.bytes.0, "names": wrong.names.1,
                                 "names_before": wrong.names.0 });
            audit::write(tx.conn(), Kind::TicketRecounted, subject, &detail).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Marks a sealed version as damaged.
    async fn damage(&mut self, conn: &mut Conn, version: &Named, why: &str) -> Result<(), Error> {
        if !versions::mark_damaged(conn, version.id).await? {
            return Ok(());
        }
        self.done.damaged += 1;
        self.told += 1;
        if self.told <= TOLD {
            tracing::error!(version = %version.id, ticket = %version.ticket, why, "a version is damaged");
            let subject =
                Subject { actor: &Actor::Server, ticket: Some(&version.ticket), id: Some(*version.id.as_bytes()) };
            audit::write(conn, Kind::VersionDamaged, subject, &json!({ "why": why })).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, conn: &mut Conn, kind: Kind, ticket: &Identifier, id: [u8; 16]) -> Result<(), Error> {
        self.told += 1;
        if self.told <= TOLD {
            let subject = Subject { actor: &Actor::Server, ticket: Some(ticket), id: Some(id) };
            audit::write(conn, kind, subject, &json!({ "by": "recovery" })).await?;
        }
        Ok(())
    }

    /// Says what was done, and writes it down if it was anything.
    async fn finish(self, begun: Instant) -> Result<Recovered, Error> {
        let done = self.done;
        tracing::info!(
            objects = done.seen.objects,
            bytes = done.seen.bytes,
            strays = done.seen.strays,
            unfinished_files = done.unfinished_files,
            discarded = done.discarded,
            shortened = done.shortened,
            damaged = done.damaged,
            corrected = done.pointers + done.sums + done.shredded + done.unused,
            milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "the store was looked through"
        );
        let nothing =
            Recovered { unfinished_files: done.unfinished_files, seen: done.seen.clone(), ..Recovered::default() };
        if done != nothing {
            let mut tx = self.repo.records.begin().await?;
            let subject = Subject { actor: &Actor::Server, ticket: None, id: None };
            audit::write(tx.conn(), Kind::StoreRecovered, subject, &json!(done)).await?;
            tx.commit().await?;
        }
        Ok(done)
    }
}

/// What hangs on lost objects.
#[derive(Default)]
pub(crate) struct Losses {
    /// Sealed versions, and why they are damaged.
    pub(crate) sealed: BTreeMap<[u8; 16], (Named, String)>,
    /// Unfinished versions, and the extents that they have lost.
    pub(crate) unfinished: BTreeMap<[u8; 16], (Named, BTreeSet<ObjectId>)>,
}

/// The versions that lost objects belong to.
pub(crate) async fn losses(conn: &mut Conn, lost: &[Lost]) -> Result<Losses, Error> {
    let mut losses = Losses::default();
    for lost in lost {
        let users = match lost.manifest_of {
            Some(version) => consistency::name(conn, version).await?.into_iter().collect(),
            None => consistency::users(conn, lost.object).await?,
        };
        for version in users {
            let id = *version.id.as_bytes();
            match version.state {
                VersionState::Available | VersionState::Withdrawn => {
                    losses.sealed.entry(id).or_insert_with(|| (version, lost.sentence()));
                }
                VersionState::Receiving | VersionState::Incomplete => {
                    let (_, extents) = losses.unfinished.entry(id).or_insert_with(|| (version, BTreeSet::new()));
                    extents.insert(lost.object);
                }
                VersionState::Damaged | VersionState::Shredded => {}
            }
        }
    }
    Ok(losses)
}
