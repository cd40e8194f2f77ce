//! Digests of whole versions. SHA-256 stands in each one's manifest; the others are computed by
//! reading the version once, when somebody asks for the first time, and are answered from the
//! records from then on, where each has a proof.
//!
//! Reading a large version takes minutes, so it is a job of its own on the worker runtime:
//! whoever asks for the same version waits for the same job, and the job goes on when nobody waits
//! any more. A few run at once, a bounded number waits, and somebody at a door hears after a while
//! that it takes longer.

pub(crate) mod sidecars;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use md5::Md5;
use sha1::Sha1;
use sha2::Sha256;
use sha2::digest::DynDigest;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::content::damage::report_damage;
use crate::content::sealed::sealed_facts;
use crate::content::whole::read_pieces;
use crate::model::{Algorithm, Identifier, Locked, LockedGuard, Refusal, ShareId, VersionId, VersionState};
use crate::records::digests::{self, DigestRow};
use crate::records::versions::{self, VersionRow};
use crate::repo::keys::{ShareKeys, with_keys_in_force};
use crate::repo::{Error, Repo};

/// Versions that are read at once for their digests.
const AT_ONCE: usize = 2;
/// Versions that are read, or wait to be read, because somebody at a door asked. Beyond:
/// `DigestPending`.
pub(crate) const MOST: usize = 64;
/// As many of them may be of one share, so that nobody takes the places of all others. Beyond:
/// `DigestPending`.
pub(crate) const MOST_OF_SHARE: usize = 8;
/// How long somebody at a door waits for digests that have to be computed. It is less than
/// `limits.idle_seconds` by default. Beyond: `DigestPending`, while the job goes on.
const PATIENCE: Duration = Duration::from_secs(300);

/// What proofs of digests are proofs of (`docs/format.md`, "Proofs").
const LABEL: &str = "digest";

/// What the proof of a digest is made of.
fn proved<'a>(version: &'a VersionId, algorithm: Algorithm, digest: &'a [u8]) -> [&'a [u8]; 3] {
    [version.as_bytes(), algorithm.as_str().as_bytes(), digest]
}

/// How long somebody at a door still waits: for one digest, or for all that one command asks for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    until: Instant,
}

impl Patience {
    /// All of it, from now on.
    pub fn from_now() -> Self {
        Self { until: Instant::now() + PATIENCE }
    }

    /// As if all of it were used up.
    #[cfg(test)]
    pub(crate) fn used_up() -> Self {
        Self { until: Instant::now() }
    }

    fn is_over(self) -> bool {
        self.until <= Instant::now()
    }
}

/// For whom a version is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Somebody at a door; as many jobs as there are places.
    Door,
    /// The server itself, which asks for one after the other and goes on until it has them all.
    Server,
}

/// A digest of a whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The file's size in bytes.
    pub size: u64,
}

/// What digests are asked of.
pub(crate) enum Digested {
    /// A version of this share and ticket.
    Version(ShareId, Identifier, Box<VersionRow>),
    /// Something small that the server itself says.
    Text(Vec<u8>),
}

/// The digest of these bytes.
pub fn digest_of_bytes(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    let mut hasher = hasher(algorithm);
    hasher.update(bytes);
    hasher.finalize().into_vec()
}

fn hasher(algorithm: Algorithm) -> Box<dyn DynDigest + Send> {
    match algorithm {
        Algorithm::Md5 => Box::new(Md5::default()),
        Algorithm::Sha1 => Box::new(Sha1::default()),
        Algorithm::Sha256 => Box::new(Sha256::default()),
    }
}

/// Answers what a version's digests are, and computes those that nobody has asked for yet.
pub(crate) struct Digests {
    repo: Arc<Repo>,
    jobs: Locked<HashMap<VersionId, (ShareId, Job)>>,
    places: Semaphore,
    stop: CancellationToken,
    running: TaskTracker,
}

/// Says how it ended, once it has.
type Job = watch::Receiver<Option<Ended>>;

#[derive(Debug, Clone, Copy)]
enum Ended {
    Done,
    KeysReplaced,
    Refused(Refusal),
}

impl Digests {
    pub(crate) fn of(repo: &Arc<Repo>) -> Arc<Self> {
        Arc::new(Self {
            repo: Arc::clone(repo),
            jobs: Locked::default(),
            places: Semaphore::new(AT_ONCE),
            stop: CancellationToken::new(),
            running: TaskTracker::new(),
        })
    }

    /// Ends all jobs; they leave nothing behind.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.running.close();
        self.running.wait().await;
    }

    /// Jobs that are under way.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.jobs().len()
    }

    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.jobs().is_empty()
    }

    /// As if as many versions were read as may be, until what this returns is dropped.
    #[cfg(test)]
    pub(crate) async fn occupy(&self) -> impl Drop + '_ {
        self.places.acquire_many(AT_ONCE as u32).await.unwrap()
    }

    fn jobs(&self) -> LockedGuard<'_, HashMap<VersionId, (ShareId, Job)>> {
        self.jobs.lock()
    }
}

/// A job in the list, until this is dropped: also if it panics.
struct Listed(Arc<Digests>, VersionId);

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.jobs().remove(&self.1);
    }
}

impl Digests {
    /// The digest that somebody at a door asked for; the caller has checked that he may read this.
    pub(crate) async fn for_door(
        self: &Arc<Self>,
        asked: Digested,
        algorithm: Algorithm,
        patience: Patience,
    ) -> Result<Digest, Error> {
        let (share, ticket, version) = match asked {
            Digested::Text(text) => {
                return Ok(Digest { bytes: digest_of_bytes(algorithm, &text), size: text.len() as u64 });
            }
            Digested::Version(share, ticket, version) => (share, ticket, version),
        };
        // It can have been found damaged while somebody had it open: what is recorded is of
        // something else then.
        if version.state == VersionState::Damaged {
            return Err(Refusal::Damaged.into());
        }
        let size = version.length;
        // That is known of every version, whoever has waited how long.
        if algorithm == Algorithm::Sha256 {
            let bytes = with_keys_in_force!(self.try_for_door(share, &ticket, version.id, algorithm).await)?;
            return Ok(Digest { bytes, size });
        }
        // What is known is told also to those who have waited long enough for something else.
        if patience.is_over() {
            let known = self.known(version.id, algorithm).await?;
            return known.map(|bytes| Digest { bytes, size }).ok_or(Refusal::DigestPending.into());
        }
        let work = async { with_keys_in_force!(self.try_for_door(share, &ticket, version.id, algorithm).await) };
        let bytes = tokio::time::timeout_at(patience.until, work).await.map_err(|_| Refusal::DigestPending)??;
        Ok(Digest { bytes, size })
    }

    async fn try_for_door(
        self: &Arc<Self>,
        share: ShareId,
        ticket: &Identifier,
        version: VersionId,
        algorithm: Algorithm,
    ) -> Result<Vec<u8>, Error> {
        let keys = self.repo.keys.share(share).await?;
        let row = versions::by_id(&mut *self.repo.records.read().await?, version).await?;
        match row.filter(|row| row.file_key.is_some()) {
            Some(row) if matches!(row.state, VersionState::Available | VersionState::Withdrawn) => {
                self.of_version(&keys, ticket, &row, algorithm, Asker::Door).await
            }
            Some(row) if row.state == VersionState::Damaged => Err(Refusal::Damaged.into()),
            _ => Err(Refusal::NoSuchFile.into()),
        }
    }

    /// The digest of a version that is or was available: from the records, or computed and
    /// recorded.
    /// [`Error::KeysReplaced`]: look at the version again.
    pub(crate) async fn of_version(
        self: &Arc<Self>,
        keys: &Arc<ShareKeys>,
        ticket: &Identifier,
        version: &VersionRow,
        algorithm: Algorithm,
        asker: Asker,
    ) -> Result<Vec<u8>, Error> {
        if algorithm == Algorithm::Sha256 {
            let facts = async {
                let mut conn = self.repo.records.read().await?;
                sealed_facts(&self.repo, &mut conn, keys, version).await
            };
            let facts = facts.await;
            if let Err(error) = &facts {
                report_damage(&self.repo, error, version.id, ticket).await;
            }
            return Ok(facts?.sha256.to_vec());
        }
        // A job that is under way may be one for another algorithm: then one more round.
        for _ in 0..=Algorithm::ALL.len() {
            if let Some(known) = self.known(version.id, algorithm).await? {
                return Ok(known);
            }
            let mut job = self.job_for(keys, ticket, version, algorithm, asker)?;
            let ended = job.wait_for(Option::is_some).await.map(|ended| *ended);
            match ended {
                Ok(Some(Ended::Done)) => {}
                Ok(Some(Ended::KeysReplaced)) => return Err(Error::KeysReplaced),
                Ok(Some(Ended::Refused(refusal))) => return Err(refusal.into()),
                Ok(None) | Err(_) => break,
            }
        }
        Err(Refusal::Storage.into())
    }

    /// The job that reads this version: the one under way, or a new one.
    fn job_for(
        self: &Arc<Self>,
        keys: &Arc<ShareKeys>,
        ticket: &Identifier,
        version: &VersionRow,
        algorithm: Algorithm,
        asker: Asker,
    ) -> Result<Job, Error> {
        let mut jobs = self.jobs();
        if let Some((_, job)) = jobs.get(&version.id) {
            return Ok(job.clone());
        }
        if self.stop.is_cancelled() {
            return Err(Refusal::ShuttingDown.into());
        }
        let of_share = jobs.values().filter(|(share, _)| *share == keys.share).count();
        if asker == Asker::Door && (jobs.len() >= MOST || of_share >= MOST_OF_SHARE) {
            return Err(Refusal::DigestPending.into());
        }
        let (ended, job) = watch::channel(None);
        jobs.insert(version.id, (keys.share, job.clone()));
        let listed = Listed(Arc::clone(self), version.id);
        let (digests, keys, ticket, version) = (Arc::clone(self), Arc::clone(keys), ticket.clone(), version.clone());
        let work = async move {
            let outcome = {
                let work = digests.compute(&keys, &ticket, &version, algorithm);
                digests.stop.run_until_cancelled(work).await
            };
            // Whoever asks from now on looks into the records first.
            drop(listed);
            ended.send_replace(Some(match outcome {
                None => Ended::Refused(Refusal::ShuttingDown),
                Some(Ok(())) => Ended::Done,
                Some(Err(Error::KeysReplaced)) => Ended::KeysReplaced,
                Some(Err(error)) => Ended::Refused(error.into()),
            }));
        };
        let work = self.running.track_future(work);
        // A runtime that has ended drops the task at once, and that takes the lock.
        drop(jobs);
        self.repo.worker_runtime.spawn(work);
        Ok(job)
    }

    /// A digest that was computed before. One that the database alone says is none.
    async fn known(&self, version: VersionId, algorithm: Algorithm) -> Result<Option<Vec<u8>>, Error> {
        let row = digests::of_version(&mut *self.repo.records.read().await?, version, algorithm).await?;
        let holds = |row: &DigestRow| {
            let fields = proved(&version, algorithm, &row.digest);
            self.repo.keys.proof().is_proved(LABEL, &fields, &row.proof)
        };
        Ok(row.filter(holds).map(|row| row.digest))
    }

    /// Reads a version once for the digest that was asked for and for all that the settings name.
    async fn compute(
        self: &Arc<Self>,
        keys: &ShareKeys,
        ticket: &Identifier,
        version: &VersionRow,
        asked: Algorithm,
    ) -> Result<(), Error> {
        let _place = self.places.acquire().await;
        let mut wanted = Vec::new();
        for algorithm in [Algorithm::Md5, Algorithm::Sha1] {
            let is_wanted = algorithm == asked || self.repo.settings.also_digests.contains(&algorithm);
            if is_wanted && self.known(version.id, algorithm).await?.is_none() {
                wanted.push((algorithm, hasher(algorithm)));
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let update = |bytes: &[u8]| wanted.iter_mut().for_each(|(_, hasher)| hasher.update(bytes));
        read_pieces(&self.repo, keys, ticket, version, update).await?;
        let mut tx = self.repo.records.begin().await?;
        for (algorithm, hasher) in wanted {
            let digest = hasher.finalize().to_vec();
            let proof = self.repo.keys.proof().prove(LABEL, &proved(&version.id, algorithm, &digest)).to_vec();
            digests::add(tx.conn(), version.id, algorithm, &DigestRow { digest, proof }).await?;
        }
        self.repo.failpoints.hit("digest.before-commit");
        tx.commit().await?;
        self.repo.failpoints.hit("digest.after-commit");
        Ok(())
    }
}
