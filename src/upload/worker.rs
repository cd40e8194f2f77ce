//! The worker's side of an upload: hashes, seals, writes, writes down how far it is, and publishes.
//!
//! One task per upload, on the runtime for works; but the CLOSE of a small new file runs the worker
//! itself (`lazy_worker`). It ends when the upload is published, cut or failed, and nothing that
//! was promised depends on its session any more.

#[cfg(test)]
mod by_hand;
mod compact;
mod fill;
mod gather;
mod read_back;
mod room;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

#[cfg(test)]
pub(crate) use self::by_hand::ByHand;
use self::gather::{Gathered, SMALL};
use super::arrived::Arrived;
use super::buffer::{Buffer, CHUNK};
use super::job::{Holds, Job, Phase};
use super::upload_records::{Progressed, UploadRecords};
use super::{CopyBase, InitialState};
use crate::audit::Kind;
use crate::content::Content;
use crate::model::{ObjectId, Refusal};
use crate::repo::Error;
use crate::repo::space::Reservation;
use crate::upload::Uploads;
use crate::upload::extent_writer::ExtentWriter;
use crate::upload::write_queue::WriteQueue;
use crate::vault::Slice;

/// How long the rows of an upload may be owed after OPEN, if a checkpoint is not due sooner.
const OWED: Duration = Duration::from_secs(1);
/// How long small extents and gathered pieces may wait here for the records, which take them many
/// at a time.
const SMALL_OWED: Duration = Duration::from_millis(500);
/// Slices by which the records are asked half a second less often.
const LONG_MAP: usize = 1024;
/// Small pieces that get an extent each before the others are gathered: most uploads have no more,
/// and their last bytes need not be copied for it.
const ALONE: u32 = 8;
/// Stretches that truncating up may leave.
const ZERO_STRETCHES: usize = 4096;
/// How often an idle worker looks whether extents have landed on the disk.
const LANDING: Duration = Duration::from_millis(20);
/// Extents of one upload that may be on their way to the disk at once.
const SYNCING: usize = 3;
/// The worker's own run: no session's run has this number.
const OWN_RUN: u64 = u64::MAX;

/// What the worker knows of an upload.
pub(super) struct Worker {
    uploads: Arc<Uploads>,
    queue: Arc<WriteQueue>,
    upload_rows: UploadRecords,
    arrived: Arrived,
    /// After the jobs so far.
    holds: Holds,
    open: HashMap<u64, ExtentWriter>,
    /// Small pieces that are to become one extent.
    gathered: Option<Gathered>,
    /// Small pieces that came so far, up to [`ALONE`].
    small: u32,
    /// How many slices the map may have before it is compacted.
    most_slices: usize,
    /// Whether something came since all of it was made durable and written down.
    changed: bool,
    /// What can be read back of it, until something changes.
    readable: Option<Content>,
    /// On the disk.
    reservation: Reservation,
    has_no_room: bool,
    /// Extents on their way to the disk, oldest first.
    syncing: Vec<ObjectId>,
    /// Since when a small extent waits here for the records.
    small_since: Option<Instant>,
    /// What is to be copied before the first change.
    copy_base: Option<CopyBase>,
    /// How long the file is after the jobs so far; what was never written counts.
    length: u64,
    /// Space that was made by truncating up: reads as zeros once a CLOSE follows.
    zeros: Vec<(u64, u64)>,
    opened: Instant,
}

/// Says that an upload is over, however it ended.
struct End {
    uploads: Arc<Uploads>,
    queue: Arc<WriteQueue>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.queue.fail(Refusal::Storage);
        self.uploads.registry.leave(&self.queue);
        self.queue.end();
    }
}

impl Worker {
    pub(super) fn new(
        uploads: Arc<Uploads>,
        queue: Arc<WriteQueue>,
        start: InitialState,
        reservation: Reservation,
    ) -> Self {
        Self {
            uploads,
            queue,
            length: start.length(),
            upload_rows: start.upload_rows,
            copy_base: start.copy_base,
            most_slices: compact::first_limit(start.arrived.map.end()),
            arrived: start.arrived,
            holds: start.holds,
            open: HashMap::new(),
            gathered: None,
            small: 0,
            changed: false,
            readable: None,
            reservation,
            has_no_room: false,
            syncing: Vec::new(),
            small_since: None,
            zeros: Vec::new(),
            opened: Instant::now(),
        }
    }

    /// Works until the upload is over.
    pub(super) async fn run(mut self: Box<Self>) {
        // Also after a panic: else nobody could ever open this name again.
        let _end = End { uploads: Arc::clone(&self.uploads), queue: Arc::clone(&self.queue) };
        while let Some(outcome) = self.step().await {
            if let Err(error) = outcome {
                self.queue.fail(error.into());
                if self.has_no_room {
                    // Nothing is wrong with what is there: it can be continued when there is room
                    // again.
                    self.cut().await;
                }
                break;
            }
        }
        let ended = match self.queue.phase() {
            Phase::Published => "published",
            _ if self.holds.is_new() => "cut",
            _ => "unchanged",
        };
        metrics::counter!("tacdrop_uploads_ended_total", "how" => ended).increment(1);
        let bytes = self.arrived.map.slices().map(|slice| slice.length).sum();
        let kind = if self.holds.is_new() { Kind::UploadCut } else { Kind::UploadUnchanged };
        self.upload_rows.jot_end(kind, bytes);
        if let Err(error) = self.upload_rows.abandon(&self.uploads.repo, &mut self.arrived.extents).await {
            tracing::warn!(artifact = %self.queue.artifact(), %error, "objects of an upload stay behind unused");
        }
    }

    /// Before the first change: copies what the upload begins with and cannot share.
    async fn begin_change(&mut self) -> Result<(), Error> {
        self.holds = Holds::Changed;
        if !self.changed {
            // Before the rows of its many extents are owed.
            self.keep_short().await?;
        }
        (self.changed, self.readable) = (true, None);
        match self.copy_base.take() {
            // Once at most, so in a box: each job would move the room that it needs about otherwise.
            Some(base) => Box::pin(self.copy(base)).await,
            None => Ok(()),
        }
    }

    async fn copy(&mut self, CopyBase { content, length }: CopyBase) -> Result<(), Error> {
        let mut at = 0;
        while at < length {
            let part = self.uploads.repo.settings.extent_bytes.min(length - at);
            let extent = self.write_aside(part, Some((&content, at))).await?;
            self.arrived.map.lay(Slice { offset: at, length: part, extent, within: 0 });
            at += part;
        }
        Ok(())
    }

    /// One job. None when the upload is over.
    async fn step(&mut self) -> Option<Result<(), Error>> {
        let owed = self.owes_rows().then(|| self.opened + self.most_owed());
        let landing = (!self.syncing.is_empty()).then(|| Instant::now() + LANDING);
        let small = self.small_since.map(|since| since + self.small_owed());
        let until = [owed, landing, small].into_iter().flatten().min();
        match self.queue.next_job(self.uploads.repo.settings.checkpoint, until).await {
            None => Some(self.tick().await),
            Some(Job::Cut) => {
                self.cut().await;
                None
            }
            Some(Job::Close(reply)) => {
                // Once, so in a box: each job would move the room that it needs about otherwise.
                let outcome = Box::pin(self.close()).await.map_err(Refusal::from);
                match outcome {
                    Ok(()) => self.queue.set_phase(Phase::Published),
                    Err(refusal) => {
                        self.queue.fail(refusal);
                        // An incomplete one has been written down as such.
                        if !matches!(refusal, Refusal::Incomplete | Refusal::TooManyZeros) {
                            self.cut().await;
                        }
                    }
                }
                // Out of the registry before the client hears of it: what it asks next is answered
                // by the records.
                self.uploads.registry.leave(&self.queue);
                let _ = reply.send(outcome);
                None
            }
            Some(Job::Sync(reply)) => {
                let outcome = self.checkpoint().await.map_err(Refusal::from);
                let _ = reply.send(outcome);
                outcome.err().map_or(Some(Ok(())), |refusal| Some(Err(refusal.into())))
            }
            Some(Job::Front(reply)) => {
                let outcome = Box::pin(self.front()).await.map_err(Refusal::from);
                let _ = reply.send(outcome);
                outcome.err().map_or(Some(Ok(())), |refusal| Some(Err(refusal.into())))
            }
            Some(Job::Read { offset, length, reply }) => {
                if let Err(error) = self.checkpoint().await {
                    let refusal = Refusal::from(error);
                    let _ = reply.send(Err(refusal));
                    return Some(Err(refusal.into()));
                }
                let _ = reply.send(self.read(offset, length).await.map_err(Refusal::from));
                Some(Ok(()))
            }
            Some(Job::Data { run, offset, buffer, ends }) => Some(self.data(run, offset, buffer, ends).await),
            Some(Job::End { run }) => Some(self.end_run(run, false).await),
            Some(Job::Loose { offset, waiting }) => Some(self.loose(offset, &waiting.bytes).await),
            Some(Job::Truncate { length }) => Some(self.truncate(length).await),
        }
    }

    /// Whether the records should know of it and do not yet. What was only opened is nothing that
    /// they do not have.
    fn owes_rows(&self) -> bool {
        self.holds.is_new() && !self.queue.is_recorded()
    }

    fn most_owed(&self) -> Duration {
        self.uploads.repo.failpoints.may_owe(OWED.min(self.uploads.repo.settings.checkpoint))
    }

    /// How long what is small may wait: longer where each writing down is a long map.
    fn small_owed(&self) -> Duration {
        let times = u32::try_from(self.arrived.map.slices().len() / LONG_MAP).unwrap_or(u32::MAX).saturating_add(1);
        SMALL_OWED.saturating_mul(times).min(self.uploads.repo.settings.checkpoint.max(SMALL_OWED))
    }

    /// Nothing else to do: extents that have become durable are written down, and rows that are
    /// owed.
    async fn tick(&mut self) -> Result<(), Error> {
        let owed = self.owes_rows() && self.opened.elapsed() >= self.most_owed();
        let small = self.small_since.is_some_and(|since| since.elapsed() >= self.small_owed());
        if self.syncing.is_empty() && !owed && !small {
            return self.keep_short().await;
        }
        self.seal_gathered().await?;
        self.settle_all().await?;
        self.write_progress(false).await?;
        self.keep_short().await
    }

    async fn data(&mut self, run: u64, offset: u64, buffer: Buffer, ends: bool) -> Result<(), Error> {
        // Before anything of it is hashed or sealed.
        if let Err(error) = self.reservation.spend(buffer.filled() as u64) {
            self.has_no_room = true;
            return Err(error);
        }
        self.begin_change().await?;
        self.close_small_gap(offset).await?;
        for (at, text) in buffer.texts_at(offset) {
            self.arrived.hasher.take(at, text);
        }
        let is_small = ends && buffer.filled() < SMALL && !self.open.contains_key(&run);
        if is_small && self.small >= ALONE {
            return self.gather(offset, buffer).await;
        }
        self.small += u32::from(is_small);
        let length = buffer.filled() as u64;
        if self.gathered.as_ref().is_some_and(|gathered| gathered.is_in(offset, length)) {
            // What is older must lie below.
            self.seal_gathered().await?;
        }
        let extent = match self.open.entry(run) {
            std::collections::hash_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::hash_map::Entry::Vacant(none) => {
                none.insert(ExtentWriter::new(self.upload_rows.begin_extent()?))
            }
        };
        let (id, within, last_is_sealed) = (extent.id, extent.length, ends && !buffer.is_full());
        // With nothing else to do it is quicker to do it here than to wake another thread.
        let aside = !ends && self.queue.has_jobs();
        extent.take(&self.uploads.repo, buffer, ends, aside).await?;
        let is_full = extent.length >= self.uploads.repo.settings.extent_bytes;
        self.arrived.map.lay(Slice { offset, length, extent: id, within });
        self.length = self.length.max(offset + length);
        self.queue.set_received(self.arrived.map.contiguous_from_zero());
        if ends || is_full {
            self.end_run(run, last_is_sealed).await?;
        }
        self.reap().await?;
        self.keep_short().await
    }

    /// Ends a run's extent, if it has one.
    async fn end_run(&mut self, run: u64, last_is_sealed: bool) -> Result<(), Error> {
        match self.open.remove(&run) {
            Some(extent) => self.end_extent(extent, last_is_sealed).await,
            None => Ok(()),
        }
    }

    async fn end_extent(&mut self, extent: ExtentWriter, last_is_sealed: bool) -> Result<(), Error> {
        let ended = extent.end(&self.uploads.repo, last_is_sealed).await?;
        self.arrived.hasher.keep();
        if ended.is_durable() {
            // Small, and kept here until the records take it, many at a time.
            self.small_since.get_or_insert_with(Instant::now);
        } else {
            self.syncing.push(ended.id);
        }
        self.arrived.extents.insert(ended.id, ended);
        Ok(())
    }

    /// Writes down extents that have become durable; waits for the oldest when too many are on
    /// their way.
    async fn reap(&mut self) -> Result<(), Error> {
        let mut landed = false;
        while let Some(oldest) = self.syncing.first() {
            let Some(extent) = self.arrived.extents.get_mut(oldest) else { break };
            if self.syncing.len() <= SYNCING && !extent.has_landed() {
                break;
            }
            extent.settle().await?;
            self.syncing.remove(0);
            landed = true;
        }
        if landed { self.write_progress(false).await } else { Ok(()) }
    }

    /// Bytes that came early and whose gap never closed.
    async fn loose(&mut self, mut offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut parts = bytes.chunks(CHUNK).peekable();
        while let Some(part) = parts.next() {
            let mut buffer = Buffer::outside_budget();
            buffer.push(part);
            Box::pin(self.data(OWN_RUN, offset, buffer, parts.peek().is_none())).await?;
            offset += part.len() as u64;
        }
        Ok(())
    }

    async fn truncate(&mut self, length: u64) -> Result<(), Error> {
        self.begin_change().await?;
        self.seal_gathered().await?;
        // What was cut off before without ever having been written is a hole still, however long
        // the file becomes again.
        let end = std::mem::replace(&mut self.length, length);
        self.arrived.hasher.go_back(length);
        self.arrived.map.truncate(length);
        self.zeros.retain_mut(|(start, end)| {
            *end = (*end).min(length);
            start < end
        });
        if length > end {
            match self.zeros.last_mut() {
                Some((_, last)) if *last == end => *last = length,
                _ => self.zeros.push((end, length)),
            }
        }
        if self.zeros.len() > ZERO_STRETCHES {
            return Err(Refusal::TooScattered.into());
        }
        Ok(())
    }

    /// Ends all extents and waits until everything is durable and written down. The records have
    /// all of it already if nothing was sent since the last time.
    async fn checkpoint(&mut self) -> Result<(), Error> {
        if !self.holds.is_new() || (!self.changed && self.queue.is_recorded()) {
            return Ok(());
        }
        self.end_all().await?;
        self.write_progress(false).await?;
        self.changed = false;
        Ok(())
    }

    async fn end_all(&mut self) -> Result<(), Error> {
        self.seal_gathered().await?;
        let runs: Vec<u64> = self.open.keys().copied().collect();
        for run in runs {
            self.end_run(run, false).await?;
        }
        self.settle_all().await
    }

    /// Waits for everything that is on its way to the disk, and gives the first failure.
    async fn settle_all(&mut self) -> Result<(), Error> {
        let mut outcome = Ok(());
        for id in std::mem::take(&mut self.syncing) {
            if let Some(extent) = self.arrived.extents.get_mut(&id) {
                outcome = outcome.and(extent.settle().await);
            }
        }
        outcome
    }

    /// The client is gone. What cannot be written down now was never promised.
    async fn cut(&mut self) {
        if let Err(error) = self.checkpoint().await {
            tracing::error!(artifact = %self.queue.artifact(), %error, "an upload that was cut could not be kept");
        }
    }

    async fn write_progress(&mut self, incomplete: bool) -> Result<(), Error> {
        // What was gathered is hashed already, so the map that is written down beside the hash must
        // have it.
        self.seal_gathered().await?;
        (self.small_since, self.readable) = (None, None);
        let what = if incomplete { Progressed::Incomplete } else { Progressed::Durable };
        loop {
            let progress = self.upload_rows.write_progress(&self.uploads, &self.queue, &mut self.arrived, what);
            // It takes a transaction; each job would move the room that it needs about otherwise.
            let outcome = Box::pin(progress).await;
            if !self.should_try_again(&outcome).await? {
                return outcome;
            }
        }
    }

    /// CLOSE: everything durable, hashed, sealed, recorded, its notice queued.
    async fn close(&mut self) -> Result<(), Error> {
        self.end_all().await?;
        match self.holds {
            Holds::Copy => return self.upload_rows.set_attributes(&self.uploads, &self.queue).await,
            Holds::Unfinished { .. } => return Err(Refusal::Incomplete.into()),
            Holds::Nothing | Holds::Changed => {}
        }
        let length = self.queue.length();
        self.fill_zeros(length).await?;
        if !self.arrived.map.is_whole(length) {
            self.write_progress(true).await?;
            return Err(Refusal::Incomplete.into());
        }
        let most = compact::most_slices(length);
        if self.arrived.map.slices().len() > most {
            self.compact(most).await?;
        }
        if self.arrived.hasher.front() < length {
            self.write_progress(false).await?;
            self.catch_up(length).await?;
        }
        self.check_taken_over().await?;
        loop {
            let outcome = self.upload_rows.publish(&self.uploads, &self.queue, &mut self.arrived).await;
            if !self.should_try_again(&outcome).await? {
                return outcome;
            }
        }
    }
}
