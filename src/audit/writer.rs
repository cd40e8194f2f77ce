//! Rows that wait to be written, and the task that writes them, many in one transaction: neither a
//! login nor a download pays a commit of its own. The same task ends counts and signs checkpoints.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, Notify};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::aggregate::{Aggregator, EventKey, WINDOW};
use super::checkpoint::{self, AuditCheckpoint};
use crate::model::audit::{Actor, Kind};
use crate::model::{Identifier, Locked, LockedGuard, Refusal, Time};
use crate::records::RecordsError;
use crate::records::audit::{self as rows, Event};
use crate::records::order::{Held, Rank};
use crate::repo::anchor::{self, AUDIT_KEY, Found};
use crate::repo::{Error, Repo};
use crate::vault::SigningKey;

/// Rows that may wait. More: whoever logs in or opens something waits; what ends (a login, a
/// download) never does, so there are as many more at most as things are open.
const MOST_WAITING: usize = 4096;
/// How long somebody waits for room before he is refused.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rows in one transaction.
const AT_ONCE: usize = 512;
/// How long rows gather before they are written.
const GATHER: Duration = Duration::from_millis(200);
/// How often it is looked whether a count or a checkpoint is due.
const LOOK: Duration = Duration::from_secs(1);
/// A checkpoint is signed after this many entries ...
const CHECKPOINT_ENTRIES: i64 = 256;
/// ... or, when there is a new one, after this time.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(300);
/// Checkpoints that are copied into the records at once, at most: more than processes sign at once.
const TAKEN_ALONG: u32 = 16;

/// An event that waits to be written.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) at: Time,
    pub(crate) kind: Kind,
    pub(crate) actor: Actor,
    pub(crate) ticket: Option<Identifier>,
    pub(crate) id: Option<[u8; 16]>,
    pub(crate) detail: Value,
}

impl Note {
    /// Of now.
    pub(crate) fn new(
        kind: Kind,
        actor: Actor,
        ticket: Option<&Identifier>,
        id: Option<[u8; 16]>,
        detail: Value,
    ) -> Self {
        Self { at: Time::now(), kind, actor, ticket: ticket.cloned(), id, detail }
    }
}

/// The audit trail of a data directory that is open.
pub struct AuditWriter {
    pub(super) repo: Arc<Repo>,
    pub(crate) key: SigningKey,
    queue: Locked<VecDeque<Note>>,
    refusals: Locked<Aggregator>,
    listings: Locked<Aggregator>,
    /// Rung when rows wait, and when there is room again.
    waiting: Notify,
    room: Notify,
    /// Held by whoever writes: rows keep the order in which they came.
    writing: AsyncMutex<LastCheckpoint>,
    /// The last entry when the house was opened.
    opened_at: Option<Tip>,
    /// Of the task that writes; none for a command, which writes at its end only.
    task: Locked<Option<DropGuard>>,
}

/// The number of an entry and its link.
type Tip = (i64, [u8; 32]);

/// How far checkpoints go, and since when.
struct LastCheckpoint {
    seq: i64,
    at: Instant,
    /// The last entry that was seen: the trail must still hold it.
    seen: Option<Tip>,
}

impl std::fmt::Debug for AuditWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trail")
    }
}

impl AuditWriter {
    pub(crate) async fn open(repo: &Arc<Repo>) -> Result<Arc<Self>, Error> {
        let mut conn = repo.records.read().await?;
        let seq = rows::last_checkpoint(&mut conn).await?.unwrap_or(0);
        let opened_at = rows::tip(&mut conn).await?;
        drop(conn);
        Ok(Arc::new(Self {
            key: repo.keys.signing_key(AUDIT_KEY).await?,
            repo: Arc::clone(repo),
            queue: Locked::default(),
            refusals: Locked::new(Aggregator::new(Kind::AccessRefused)),
            listings: Locked::new(Aggregator::new(Kind::DirectoryListed)),
            waiting: Notify::new(),
            room: Notify::new(),
            writing: AsyncMutex::new(LastCheckpoint { seq, at: Instant::now(), seen: None }),
            opened_at,
            task: Locked::new(None),
        }))
    }

    /// Begins to write. The task ends with [`finish`](Self::finish), or when the house is gone.
    pub(crate) async fn start(self: &Arc<Self>, worker_runtime: &tokio::runtime::Handle) -> Result<(), Error> {
        self.check_last_checkpoint().await?;
        let key = hex::encode(self.key.public().as_bytes());
        let detail = json!({ "version": env!("CARGO_PKG_VERSION"), "key": key });
        self.enqueue(Note::new(Kind::ServerStarted, Actor::Server, None, None, detail));
        self.flush(WINDOW).await?;
        self.sign_now().await?;
        let stop = CancellationToken::new();
        *self.task.lock() = Some(stop.clone().drop_guard());
        // The task must not keep the trail: then nobody would ever drop the guard.
        let trail = Arc::downgrade(self);
        worker_runtime.spawn(async move {
            loop {
                let Some(waiting) = trail.upgrade() else { return };
                let more = async {
                    tokio::select! {
                        () = waiting.waiting.notified() => {}
                        () = sleep(LOOK) => {}
                    }
                };
                if stop.run_until_cancelled(more).await.is_none() {
                    return;
                }
                drop(waiting);
                if stop.run_until_cancelled(sleep(GATHER)).await.is_none() {
                    return;
                }
                let Some(trail) = trail.upgrade() else { return };
                let written = async {
                    trail.flush(WINDOW).await?;
                    trail.sign_if_due().await
                };
                if let Err(error) = written.await {
                    tracing::error!(%error, "the audit trail cannot be written; it is tried again");
                    drop(trail);
                    sleep(LOOK).await;
                }
            }
        });
        Ok(())
    }

    /// Writes everything that waits or is counted, and signs how far the trail has come.
    pub(crate) async fn finish(&self) {
        let serving = self.task.lock().take().is_some();
        let finish = async {
            self.flush(Duration::ZERO).await?;
            if serving {
                self.enqueue(Note::new(Kind::ServerStopped, Actor::Server, None, None, json!({})));
                self.flush(Duration::ZERO).await?;
                self.sign_now().await?;
            } else {
                self.hold_fast().await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = finish.await {
            let lost = self.queue().len();
            tracing::error!(%error, lost, "the audit trail could not be written to its end");
        }
    }

    /// Queues an event. Whoever can wait asks for [`room`](Self::room) first.
    pub(crate) fn enqueue(&self, note: Note) {
        self.queue().push_back(note);
        self.waiting.notify_one();
    }

    /// Waits until there is room for one more event: what cannot be written down is not begun.
    pub(crate) async fn room(&self) -> Result<(), Refusal> {
        let free = async {
            loop {
                let freed = self.room.notified();
                tokio::pin!(freed);
                freed.as_mut().enable();
                if self.queue().len() < MOST_WAITING {
                    return;
                }
                freed.await;
            }
        };
        timeout(PATIENCE, free).await.map_err(|_| Refusal::Storage)
    }

    pub(crate) fn count_refusal(&self, what: EventKey) {
        self.refusals.lock().count(what);
    }

    pub(crate) fn count_listing(&self, what: EventKey) {
        self.listings.lock().count(what);
    }

    /// Writes what waits, and what has been counted for at least `age`.
    pub(crate) async fn flush(&self, age: Duration) -> Result<(), RecordsError> {
        for tally in [&self.refusals, &self.listings] {
            let counted = tally.lock().take(age);
            self.queue().extend(counted);
        }
        let _writing = self.writing().await;
        loop {
            let batch: Vec<Note> = {
                let mut queue = self.queue();
                let count = queue.len().min(AT_ONCE);
                queue.drain(..count).collect()
            };
            if batch.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.write(&batch).await {
                let mut queue = self.queue();
                for note in batch.into_iter().rev() {
                    queue.push_front(note);
                }
                return Err(error);
            }
            self.room.notify_waiters();
        }
    }

    async fn write(&self, batch: &[Note]) -> Result<(), RecordsError> {
        let details: Vec<String> = batch.iter().map(|note| note.detail.to_string()).collect();
        let events = batch.iter().zip(&details).map(|(note, detail)| Event {
            at: note.at,
            kind: note.kind,
            actor: &note.actor,
            ticket: note.ticket.as_ref(),
            subject: note.id,
            detail,
        });
        let mut tx = self.repo.records.begin().await?;
        super::append(tx.conn(), events).await?;
        self.repo.failpoints.hit("audit.flush-before");
        tx.commit().await?;
        self.repo.failpoints.hit("audit.flush-after");
        Ok(())
    }

    async fn sign_if_due(&self) -> Result<(), Error> {
        let Some(tip) = self.tip().await? else { return Ok(()) };
        let due = {
            let (mut last, _held) = self.writing().await;
            self.check_seen(&mut last, tip).await?;
            let new = tip.0.saturating_sub(last.seq);
            new >= CHECKPOINT_ENTRIES || (new > 0 && last.at.elapsed() >= CHECKPOINT_AFTER)
        };
        if due { self.sign_now().await.map(drop) } else { Ok(()) }
    }

    /// Signs how far the trail has come; none if it is empty.
    pub(crate) async fn sign_now(&self) -> Result<Option<AuditCheckpoint>, Error> {
        let (mut last, _held) = self.writing().await;
        let Some(tip) = self.tip().await? else { return Ok(None) };
        self.check_seen(&mut last, tip).await?;
        let (seq, link) = tip;
        let checkpoint = AuditCheckpoint::sign(&self.key, seq, Time::now(), link);
        if seq != last.seq {
            // The keyring's copy first: it is the one that a thief of the records' tail does not
            // have.
            let newest = self.repo.keys.keyring().last_audit_checkpoint().await?.unwrap_or(0);
            self.repo.failpoints.hit("audit.anchor-before");
            self.move_anchor(tip, Some(&checkpoint)).await?;
            self.repo.failpoints.hit("audit.anchor-after");
            self.copy_checkpoints(newest).await?;
            self.repo.failpoints.hit("audit.checkpoint-after");
        }
        *last = LastCheckpoint { seq, at: Instant::now(), seen: Some(tip) };
        Ok(Some(checkpoint))
    }

    /// The newest entry that is durable: its number and its link; none if the trail is empty.
    pub(crate) async fn tip(&self) -> Result<Option<Tip>, RecordsError> {
        rows::tip(&mut *self.repo.records.read().await?).await
    }

    /// Lets the keyring know how far the trail has come since the house was opened.
    async fn hold_fast(&self) -> Result<(), Error> {
        match self.tip().await? {
            Some(tip) if Some(tip) != self.opened_at => self.move_anchor(tip, None).await,
            _ => Ok(()),
        }
    }

    /// Moves the anchor on, unless the trail has lost what it speaks of.
    async fn move_anchor(&self, tip: Tip, checkpoint: Option<&AuditCheckpoint>) -> Result<(), Error> {
        let row = checkpoint.map(AuditCheckpoint::row);
        anchor::advance(&self.repo.keys, Some(&self.repo.records), tip, row).await
    }

    /// Copies checkpoints into the records from the keyring, which has them first: the new one, and
    /// the `newest` before it, which a crash may have kept from them. No older ones: those that are
    /// missing were deleted, and that is to show.
    async fn copy_checkpoints(&self, newest: i64) -> Result<(), Error> {
        let rows = self.repo.keys.keyring().audit_checkpoints(newest, TAKEN_ALONG).await?;
        let mut tx = self.repo.records.begin().await?;
        for row in rows.into_iter().filter_map(|(_, row)| row.ok()) {
            if checkpoint::check(&row, &self.key.public()).is_ok() {
                rows::add_checkpoint(tx.conn(), &row).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Says so if the trail has lost an entry that this process has seen, and lets the keyring hold
    /// that entry fast: what is appended from now on must not cover the loss up.
    async fn check_seen(&self, last: &mut LastCheckpoint, tip: Tip) -> Result<(), Error> {
        if let Some(seen) = last.seen.replace(tip)
            && !anchor::holds(&self.repo.records, seen).await?
        {
            tracing::error!(
                entry = seen.0,
                "the audit trail was changed while the server runs: an entry that was there is gone; \
                 'tacdrop audit verify' shows where"
            );
            anchor::advance(&self.repo.keys, None, seen, None).await?;
        }
        Ok(())
    }

    /// Says so if the trail has lost what the keyring knows of it. What is written from now on is
    /// evidence, too, so the server starts all the same.
    async fn check_last_checkpoint(&self) -> Result<(), Error> {
        let keyring = self.repo.keys.keyring();
        let (found, count) = anchor::look(&self.repo.keys).await?;
        let last = match &found {
            Found::There(anchor) if anchor.checkpoints == count && anchor.key == *self.key.public().as_bytes() => {
                Some((anchor.seq, Some(anchor.link)))
            }
            _ => {
                tracing::error!(
                    "what the keyring keeps of the audit trail was deleted or replaced; 'tacdrop audit verify' says what"
                );
                None
            }
        };
        let checkpoint = match keyring.last_audit_checkpoint().await? {
            Some(seq) => {
                let row = keyring.audit_checkpoints(seq, 1).await?.into_iter().next().and_then(|(_, row)| row.ok());
                Some((seq, row.map(|row| row.link)))
            }
            None => None,
        };
        for (seq, link) in [last, checkpoint].into_iter().flatten().filter(|(seq, _)| *seq != 0) {
            let there = rows::link_of(&mut *self.repo.records.read().await?, seq).await?;
            if there.is_none() || there != link {
                tracing::error!(
                    entry = seq,
                    "the audit trail is not what its last checkpoint says: it was cut, rolled back or rewritten; \
                     'tacdrop audit verify' shows where"
                );
                break;
            }
        }
        Ok(())
    }

    async fn writing(&self) -> (AsyncMutexGuard<'_, LastCheckpoint>, Held) {
        let held = Rank::AuditTrail.take();
        (self.writing.lock().await, held)
    }

    fn queue(&self) -> LockedGuard<'_, VecDeque<Note>> {
        self.queue.lock()
    }
}
