//! Digests that senders upload beside their files (`NAME.sha256`, `NAME.md5`) are compared with
//! what came.
//!
//! Nothing depends on it: a wrong digest refuses nothing, and all of it can be done again, as it
//! follows from what is available. After a publish and after a rename the file is put on a list;
//! one task works on it, one file at a time. Nearly all of them have no sidecar: what it takes to
//! know that is asked for all together that came at about the same time. What a crash or a full
//! list leaves undone is found by a walk over the names at the next start.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Asker, Digests};
use crate::content::sealed::current_version;
use crate::content::whole::read_pieces;
use crate::model::sidecar::{MAX_SIDECAR, described_by, sidecars_of, stated_digest};
use crate::model::{
    Algorithm, ArtifactId, DirectoryId, FileName, Identifier, Locked, LockedGuard, ShareId, Time, Verdict, VersionState,
};
use crate::records::checks::{self, CheckRow};
use crate::records::entries::{self, EntryRow};
use crate::records::tickets;
use crate::records::versions::VersionRow;
use crate::repo::keys::{ShareKeys, with_keys_in_force};
use crate::repo::set_aside::or_left_out;
use crate::repo::{Error, Repo};

/// Files that wait to be looked at. If there are more, all names are walked over.
const WAITING: usize = 1024;
/// Files that are looked at together ...
const TOGETHER: usize = 32;
/// ... and how long they gather.
const GATHER: Duration = Duration::from_millis(50);
/// Names that are walked over at once.
const PAGE: usize = 1000;

/// Compares files with what their senders state of them.
pub(crate) struct Sidecars {
    repo: Arc<Repo>,
    digests: Arc<Digests>,
    /// The files to look at.
    list: Locked<List>,
    changed: Notify,
    /// Whether somebody works on the list.
    worker_runtime: AtomicBool,
}

#[derive(Default)]
struct List {
    waiting: VecDeque<ArtifactId>,
    under_way: Vec<ArtifactId>,
    walk: bool,
}

impl Sidecars {
    pub(crate) fn of(repo: &Arc<Repo>, digests: &Arc<Digests>) -> Arc<Self> {
        Arc::new(Self {
            repo: Arc::clone(repo),
            digests: Arc::clone(digests),
            list: Locked::default(),
            changed: Notify::new(),
            worker_runtime: AtomicBool::new(false),
        })
    }

    /// Asks to look at a file and at what states its digest. Never waits.
    pub(crate) fn look_at(&self, artifact: ArtifactId) {
        if !self.worker_runtime.load(Ordering::Relaxed) {
            return;
        }
        let mut list = self.list();
        if list.waiting.len() >= WAITING {
            list.walk = true;
        } else if !list.waiting.contains(&artifact) {
            list.waiting.push_back(artifact);
        }
        drop(list);
        self.changed.notify_one();
    }

    /// Whether there may soon be more to say of one of these files.
    pub(crate) fn may_say_more_of(&self, artifacts: impl IntoIterator<Item = ArtifactId>) -> bool {
        let list = self.list();
        artifacts.into_iter().any(|one| list.under_way.contains(&one) || list.waiting.contains(&one))
    }

    /// As if a file were being compared.
    #[cfg(test)]
    pub(crate) fn pretend_to_work_on(&self, artifact: Option<ArtifactId>) {
        self.list().under_way = artifact.into_iter().collect();
    }

    fn list(&self) -> LockedGuard<'_, List> {
        self.list.lock()
    }
}

impl Sidecars {
    /// Compares files with their senders' digests until `stop`.
    pub(crate) async fn check_until(self: &Arc<Self>, stop: CancellationToken) {
        self.worker_runtime.store(true, Ordering::Relaxed);
        let sidecars = Arc::clone(self);
        // It reads and hashes: that belongs to the worker runtime.
        let work = self.repo.worker_runtime.spawn(async move { stop.run_until_cancelled(sidecars.work()).await });
        let _ = work.await;
        self.worker_runtime.store(false, Ordering::Relaxed);
    }

    async fn work(&self) {
        self.list().walk = true;
        loop {
            let (next, walk) = {
                let mut list = self.list();
                let some = list.waiting.len().min(TOGETHER);
                list.under_way = list.waiting.drain(..some).collect();
                (list.under_way.clone(), list.under_way.is_empty() && std::mem::take(&mut list.walk))
            };
            match &next[..] {
                [] if walk => {
                    if let Err(error) = self.check_all().await {
                        tracing::warn!(%error, "files could not be compared with their senders' digests; it is tried at the next start");
                    }
                }
                [] => {
                    self.changed.notified().await;
                    tokio::time::sleep(GATHER).await;
                }
                artifacts => self.check_around_each(artifacts).await,
            }
        }
    }

    /// Walks over all names and looks at each sidecar that there is.
    pub(crate) async fn check_all(&self) -> Result<(), Error> {
        let tickets = tickets::list(&mut *self.repo.records.read().await?).await?;
        for ticket in tickets {
            let checked = self.check_share(ticket.share).await;
            or_left_out(checked, "the senders' digests of a share", ticket.share.as_bytes())?;
        }
        Ok(())
    }

    /// Those of one share, if its keys can be had.
    async fn check_share(&self, share: ShareId) -> Result<(), Error> {
        // Of most shares not needed: they are empty.
        let mut keys = None;
        let mut directories = vec![DirectoryId::root_of(share)];
        while let Some(directory) = directories.pop() {
            let (mut after, mut ended) = (None, false);
            while !ended {
                let page = entries::children(&mut *self.repo.records.read().await?, directory, after, PAGE).await?;
                (after, ended) = (page.last, page.ended);
                for row in page.rows {
                    let Some(sealed) = &row.name else { continue };
                    if row.is_directory {
                        directories.push(DirectoryId::from_bytes(row.id));
                        continue;
                    }
                    if row.current.is_none() {
                        continue;
                    }
                    let keys = match &keys {
                        Some(keys) => keys,
                        None => match self.repo.keys.share(share).await {
                            Ok(fresh) => keys.insert(fresh),
                            Err(_) => return Ok(()),
                        },
                    };
                    if let Ok(name) = keys.names.open_name(row.id, sealed)
                        && described_by(&name).is_some()
                    {
                        match self.check_around(ArtifactId::from_bytes(row.id)).await {
                            Err(error) if error.is_temporary() => return Err(error),
                            // One that cannot be read is no reason to leave the others out.
                            Err(error) => tracing::warn!(%error, "a sender's digest could not be compared"),
                            Ok(()) => {}
                        }
                    }
                }
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Looks at files: together at which of them there is something to compare, and then at one
    /// after the other.
    pub(crate) async fn check_around_each(&self, artifacts: &[ArtifactId]) {
        let some = match with_keys_in_force!(self.pairs_around(artifacts).await) {
            Ok(found) => {
                artifacts.iter().filter(|one| found.iter().any(|pair| pair.around == **one)).copied().collect()
            }
            // One of them may stand in the way of the others.
            Err(_) => artifacts.to_vec(),
        };
        self.list().under_way.clone_from(&some);
        for artifact in some {
            if let Err(error) = self.check_around(artifact).await {
                tracing::warn!(%artifact, %error, "a file could not be compared with its sender's digest; it is tried at the next start");
            }
            self.list().under_way.retain(|one| *one != artifact);
        }
    }

    /// Looks at a file: what it states of another one, and what others state of it.
    async fn check_around(&self, artifact: ArtifactId) -> Result<(), Error> {
        for pair in with_keys_in_force!(self.pairs_around(&[artifact]).await)? {
            self.check_pair(&pair).await?;
        }
        Ok(())
    }

    /// Each of these files beside what states its digest, or beside the file whose digest it
    /// states.
    async fn pairs_around(&self, artifacts: &[ArtifactId]) -> Result<Vec<Pair>, Error> {
        let ids: Vec<_> = artifacts.iter().map(|artifact| *artifact.as_bytes()).collect();
        let rows = entries::by_ids(&mut *self.repo.records.read().await?, &ids).await?;
        let mut directories: HashMap<_, Vec<EntryRow>> = HashMap::new();
        for row in rows.into_iter().filter(|row| row.in_sight && !row.is_directory) {
            if let Some(directory) = row.parent {
                directories.entry((row.share, directory)).or_default().push(row);
            }
        }
        let mut pairs = Vec::new();
        for ((share, directory), rows) in directories {
            pairs.extend(self.pairs_in_directory(share, directory, rows).await?);
        }
        Ok(pairs)
    }

    async fn pairs_in_directory(
        &self,
        share: ShareId,
        directory: DirectoryId,
        rows: Vec<EntryRow>,
    ) -> Result<Vec<Pair>, Error> {
        let keys = match self.repo.keys.at_hand(share) {
            Some(keys) => keys,
            None => self.repo.keys.share(share).await?,
        };
        let mut conn = self.repo.records.read().await?;
        let indexed = |(name, algorithm): (FileName, Algorithm)| {
            let index = keys.names.index(directory, &name);
            (name, algorithm, index)
        };
        let mut files = Vec::new();
        for row in rows {
            if row.name.is_none() {
                continue;
            }
            let name = match keys.open_name(&mut conn, &row).await {
                Err(Error::KeysReplaced) => return Err(self.keys_replaced(share).await),
                name => name?,
            };
            let others: Vec<_> = sidecars_of(&name).map(indexed).collect();
            files.push((row, others, described_by(&name).map(indexed), name));
        }
        let indexes: Vec<_> = files
            .iter()
            .flat_map(|(_, others, described, _)| others.iter().chain(described))
            .map(|(_, _, index)| *index)
            .collect();
        let there: HashMap<_, _> = entries::by_names(&mut conn, directory, &indexes).await?.into_iter().collect();
        // What is not there may have got other indexes meanwhile.
        let Some(ticket) = tickets::by_share(&mut conn, share).await? else { return Ok(Vec::new()) };
        if ticket.key_generation != keys.generation {
            return Err(self.keys_replaced(share).await);
        }
        let file = |index: &[u8; 32]| there.get(index).filter(|row: &&EntryRow| !row.is_directory).cloned();
        let pair = |around: &EntryRow, target, sidecar, name, algorithm| Pair {
            around: ArtifactId::from_bytes(around.id),
            keys: Arc::clone(&keys),
            ticket: ticket.reference.clone(),
            target,
            sidecar,
            name,
            algorithm,
        };
        let mut pairs = Vec::new();
        for (row, others, described, name) in files {
            if let Some((described, algorithm, index)) = described
                && let Some(target) = file(&index)
            {
                pairs.push(pair(&row, target, row.clone(), described, algorithm));
            }
            for (_, algorithm, index) in others {
                if let Some(sidecar) = file(&index) {
                    pairs.push(pair(&row, row.clone(), sidecar, name.clone(), algorithm));
                }
            }
        }
        Ok(pairs)
    }

    /// Has the keys at hand that are in force, and says that it is to be done again.
    async fn keys_replaced(&self, share: ShareId) -> Error {
        self.repo.keys.share(share).await.err().unwrap_or(Error::KeysReplaced)
    }

    /// Compares a file with a sidecar, unless that was done or one of them is not whole.
    async fn check_pair(&self, pair: &Pair) -> Result<(), Error> {
        let Pair { keys, ticket, .. } = pair;
        // While a newer version of the file arrives, the digest may be meant for that: it is
        // compared when that is whole.
        if pair.target.receiving.is_some() {
            return Ok(());
        }
        let mut conn = self.repo.records.read().await?;
        let target = available(current_version(&self.repo, &mut conn, &pair.target).await?);
        let sidecar = available(current_version(&self.repo, &mut conn, &pair.sidecar).await?);
        let (Some(target), Some(sidecar)) = (target, sidecar) else { return Ok(()) };
        // A file that matched once is what its sender has; a later digest is of what is still to
        // come.
        let settled = |row: &CheckRow| {
            row.sidecar == sidecar.id || (row.algorithm == pair.algorithm && row.verdict == Verdict::Matches)
        };
        if checks::of_version(&mut conn, target.id).await?.iter().any(settled) {
            return Ok(());
        }
        drop(conn);
        let verdict = match self.stated(keys, ticket, &sidecar, pair).await? {
            None => Verdict::NotUnderstood,
            Some(stated) => {
                let known = self.digests.of_version(keys, ticket, &target, pair.algorithm, Asker::Server).await?;
                if known == stated { Verdict::Matches } else { Verdict::Differs }
            }
        };
        let row = CheckRow { version: target.id, sidecar: sidecar.id, algorithm: pair.algorithm, verdict };
        let mut tx = self.repo.records.begin().await?;
        checks::add(tx.conn(), &row, Time::now()).await?;
        self.repo.failpoints.hit("sidecar.before-commit");
        tx.commit().await?;
        self.repo.failpoints.hit("sidecar.after-commit");
        Ok(())
    }

    /// The digest that a sidecar states.
    async fn stated(
        &self,
        keys: &ShareKeys,
        ticket: &Identifier,
        sidecar: &VersionRow,
        pair: &Pair,
    ) -> Result<Option<Vec<u8>>, Error> {
        if sidecar.length > MAX_SIDECAR {
            return Ok(None);
        }
        let mut content = Vec::new();
        read_pieces(&self.repo, keys, ticket, sidecar, |bytes| content.extend_from_slice(bytes)).await?;
        Ok(stated_digest(&content, pair.algorithm, &pair.name))
    }
}

/// A file and what states its digest.
struct Pair {
    /// The one of the two that was looked at.
    around: ArtifactId,
    keys: Arc<ShareKeys>,
    ticket: Identifier,
    target: EntryRow,
    sidecar: EntryRow,
    /// The file's name.
    name: FileName,
    algorithm: Algorithm,
}

fn available(version: Option<VersionRow>) -> Option<VersionRow> {
    version.filter(|version| version.state == VersionState::Available)
}
