//! The worker's side of an upload: hashes, seals, writes, writes down how far it is, and publishes.
//!
//! One task per upload, on the runtime for works. It ends when the upload is published, cut or failed, and nothing that
//! was promised depends on its session any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Start;
use super::buffer::{Buffer, CHUNK};
use super::extents::{EndedExtent, OpenExtent};
use super::hasher::Hasher;
use super::lane::{Job, Lane, Phase};
use super::publish::Ledger;
use crate::model::{ObjectId, Refusal};
use crate::share::content::{Content, ExtentAccess};
use crate::share::{Error, House};
use crate::vault::manifest::MAX_SLICES;
use crate::vault::{Digest, HashOrigin, Piece, Slice, SliceMap};

/// How long the rows of an upload may be owed after OPEN.
const OWED: Duration = Duration::from_secs(1);
/// How often an idle worker looks whether extents have landed on the disk.
const LANDING: Duration = Duration::from_millis(20);
/// Extents of one upload that may be on their way to the disk at once.
const SYNCING: usize = 3;
/// The worker's own run: no session's run has this number.
const OWN_RUN: u64 = u64::MAX;
/// Bytes that are read at once to catch up with the front.
const READ: u64 = 1 << 20;
/// A gap up to this long before the front is read again at once, not only at CLOSE.
const SMALL_GAP: u64 = 8 << 20;

/// What the worker knows of an upload.
pub(super) struct Worker {
    house: Arc<House>,
    lane: Arc<Lane>,
    ledger: Ledger,
    map: SliceMap,
    extents: HashMap<ObjectId, EndedExtent>,
    hasher: Hasher,
    origin: HashOrigin,
    /// Whether a CLOSE makes a version: not if nothing was written to a file that was opened as it is.
    dirty: bool,
    open: HashMap<u64, OpenExtent>,
    /// Extents on their way to the disk, oldest first.
    syncing: Vec<ObjectId>,
    /// Space that was made by truncating up: reads as zeros once a CLOSE follows.
    zeros: Vec<(u64, u64)>,
    opened: Instant,
}

impl Worker {
    pub(super) fn new(house: Arc<House>, lane: Arc<Lane>, start: Start) -> Self {
        Self {
            house,
            lane,
            ledger: start.ledger,
            map: start.map,
            extents: start.extents,
            hasher: Hasher::from(start.digest),
            origin: start.origin,
            dirty: start.fresh,
            open: HashMap::new(),
            syncing: Vec::new(),
            zeros: Vec::new(),
            opened: Instant::now(),
        }
    }

    /// Works until the upload is over.
    pub(super) async fn run(mut self) {
        while let Some(outcome) = self.step().await {
            if let Err(error) = outcome {
                self.lane.fail(error.into());
                break;
            }
        }
        self.house.uploads.leave(&self.lane);
        self.lane.end();
    }

    /// One job. None when the upload is over.
    async fn step(&mut self) -> Option<Result<(), Error>> {
        let owed = (!self.lane.is_recorded()).then_some(self.opened + OWED);
        let landing = (!self.syncing.is_empty()).then(|| Instant::now() + LANDING);
        let until = [owed, landing].into_iter().flatten().min();
        match self.lane.next_job(self.house.settings.checkpoint, until).await {
            None => Some(self.tick().await),
            Some(Job::Cut) => {
                self.cut().await;
                None
            }
            Some(Job::Close(reply)) => {
                let outcome = self.close().await.map_err(Refusal::from);
                match outcome {
                    Ok(()) => self.lane.set_phase(Phase::Published),
                    Err(refusal) => {
                        self.lane.fail(refusal);
                        // An incomplete one has been written down as such.
                        if refusal != Refusal::Incomplete {
                            self.cut().await;
                        }
                    }
                }
                // Out of the registry before the client hears of it: what it asks next is answered by the records.
                self.house.uploads.leave(&self.lane);
                let _ = reply.send(outcome);
                None
            }
            Some(Job::Sync(reply)) => {
                let outcome = self.checkpoint().await.map_err(Refusal::from);
                let _ = reply.send(outcome);
                outcome.err().map_or(Some(Ok(())), |refusal| Some(Err(refusal.into())))
            }
            Some(Job::Read { offset, length, reply }) => {
                let _ = reply.send(self.read(offset, length).await.map_err(Refusal::from));
                Some(Ok(()))
            }
            Some(Job::Data { run, offset, buffer, ends }) => Some(self.data(run, offset, buffer, ends).await),
            Some(Job::End { run }) => Some(self.end_run(run, false)),
            Some(Job::Loose { offset, bytes }) => Some(self.loose(offset, &bytes).await),
            Some(Job::Truncate { length }) => Some(self.truncate(length)),
        }
    }

    /// Nothing else to do: extents that have become durable are written down, and rows that are owed.
    async fn tick(&mut self) -> Result<(), Error> {
        if self.syncing.is_empty() {
            let owed = !self.lane.is_recorded() && self.opened.elapsed() >= OWED;
            return if owed { self.write_progress(false).await } else { Ok(()) };
        }
        for id in std::mem::take(&mut self.syncing) {
            if let Some(extent) = self.extents.get_mut(&id) {
                extent.settle().await?;
            }
        }
        self.write_progress(false).await
    }

    async fn data(&mut self, run: u64, offset: u64, mut buffer: Buffer, ends: bool) -> Result<(), Error> {
        self.dirty = true;
        self.close_small_gap(offset).await?;
        let extent = match self.open.entry(run) {
            std::collections::hash_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::hash_map::Entry::Vacant(none) => none.insert(self.ledger.begin_extent()?),
        };
        let (id, within, last_is_sealed) = (extent.id, extent.length, ends && !buffer.is_full());
        let length = extent.take(&self.house, &mut buffer, offset, ends, &mut self.hasher)?;
        let is_full = extent.length >= self.house.settings.extent_bytes;
        drop(buffer);
        self.map.lay(Slice { offset, length, extent: id, within });
        if ends || is_full {
            self.end_run(run, last_is_sealed)?;
        }
        self.reap().await?;
        if self.map.slices().len() > MAX_SLICES {
            self.compact().await?;
        }
        Ok(())
    }

    /// Ends a run's extent, if it has one.
    fn end_run(&mut self, run: u64, last_is_sealed: bool) -> Result<(), Error> {
        if let Some(extent) = self.open.remove(&run) {
            let ended = extent.end(&self.house, last_is_sealed)?;
            self.hasher.keep();
            self.syncing.push(ended.id);
            self.extents.insert(ended.id, ended);
        }
        Ok(())
    }

    /// Writes down extents that have become durable; waits for the oldest when too many are on their way.
    async fn reap(&mut self) -> Result<(), Error> {
        let mut landed = false;
        while let Some(oldest) = self.syncing.first() {
            let Some(extent) = self.extents.get_mut(oldest) else { break };
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

    fn truncate(&mut self, length: u64) -> Result<(), Error> {
        self.dirty = true;
        let end = self.map.end().max(self.zeros.iter().map(|(_, end)| *end).max().unwrap_or(0));
        self.hasher.go_back(length);
        self.map.truncate(length);
        self.zeros.retain_mut(|(start, end)| {
            *end = (*end).min(length);
            start < end
        });
        if length > end {
            self.zeros.push((end, length));
        }
        Ok(())
    }

    /// Ends all extents and waits until everything is durable and written down.
    async fn checkpoint(&mut self) -> Result<(), Error> {
        self.end_all().await?;
        self.write_progress(false).await
    }

    async fn end_all(&mut self) -> Result<(), Error> {
        let runs: Vec<u64> = self.open.keys().copied().collect();
        for run in runs {
            self.end_run(run, false)?;
        }
        for id in std::mem::take(&mut self.syncing) {
            if let Some(extent) = self.extents.get_mut(&id) {
                extent.settle().await?;
            }
        }
        Ok(())
    }

    /// The client is gone. What cannot be written down now was never promised.
    async fn cut(&mut self) {
        if !self.dirty {
            return;
        }
        if let Err(error) = self.checkpoint().await {
            tracing::error!(artifact = %self.lane.artifact(), %error, "an upload that was cut could not be kept");
        }
    }

    async fn write_progress(&mut self, incomplete: bool) -> Result<(), Error> {
        self.ledger
            .write_progress(&self.house, &self.lane, &mut self.extents, &self.map, &self.hasher, incomplete)
            .await
    }

    async fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        self.checkpoint().await?;
        let left = self.lane.length().saturating_sub(offset);
        let mut bytes = Vec::new();
        self.content(&self.map)?.read(offset, left.min(length as u64), &mut bytes).await?;
        Ok(bytes)
    }

    /// What can be read of it now by this map: everything that was recorded.
    fn content(&self, map: &SliceMap) -> Result<Content, Error> {
        let mut extents = HashMap::new();
        for extent in self.extents.values() {
            let access = ExtentAccess {
                key: self.ledger.file_key.unwrap_extent_key(self.ledger.version, extent.id, &extent.wrapped)?,
                header_tag: extent.header_tag,
                length: extent.length,
                place: extent.place(),
            };
            extents.insert(extent.id, access);
        }
        Ok(Content::new(&self.house, self.ledger.share(), self.ledger.artifact, map.clone(), extents))
    }

    /// A resumed upload may go on a little behind the state that was kept: what lies between is read at once, so that the
    /// rest is hashed while it arrives.
    async fn close_small_gap(&mut self, offset: u64) -> Result<(), Error> {
        let front = self.hasher.front();
        if offset > front && offset - front <= SMALL_GAP && self.open.is_empty() {
            let there = self.map.contiguous_from_zero() >= offset;
            if there {
                self.checkpoint().await?;
                self.catch_up(offset).await?;
            }
        }
        Ok(())
    }

    /// Hashes what is there between the front and `to`.
    async fn catch_up(&mut self, to: u64) -> Result<(), Error> {
        if self.hasher.front() >= to {
            return Ok(());
        }
        self.origin = HashOrigin::ReRead;
        let content = self.content(&self.map)?;
        let mut bytes = Vec::new();
        while self.hasher.front() < to {
            let front = self.hasher.front();
            bytes.clear();
            content.read(front, READ.min(to - front), &mut bytes).await?;
            self.hasher.take(front, &bytes);
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Copies everything into fresh extents, because the map has more slices than a manifest may hold.
    async fn compact(&mut self) -> Result<(), Error> {
        self.checkpoint().await?;
        let old = std::mem::take(&mut self.map);
        let content = self.content(&old)?;
        let mut stretches: Vec<(u64, u64)> = Vec::new();
        for slice in old.slices() {
            match stretches.last_mut() {
                Some((_, end)) if *end == slice.offset => *end = slice.end(),
                _ => stretches.push((slice.offset, slice.end())),
            }
        }
        for (start, end) in stretches {
            let mut at = start;
            while at < end {
                let mut bytes = Vec::new();
                content.read(at, (CHUNK as u64).min(end - at), &mut bytes).await?;
                let mut buffer = Buffer::outside_budget();
                at += buffer.push(&bytes) as u64;
                Box::pin(self.data(OWN_RUN, at - bytes.len() as u64, buffer, at >= end)).await?;
            }
        }
        self.checkpoint().await
    }

    /// Lays zeros where the file was made longer and nothing was written. One extent serves for all of it.
    async fn fill_zeros(&mut self, length: u64) -> Result<(), Error> {
        let holes: Vec<(u64, u64)> = self
            .zeros
            .iter()
            .flat_map(|(start, end)| self.map.range(*start, (*end).min(length).saturating_sub(*start)))
            .filter_map(|piece| match piece {
                Piece::Hole { offset, length } => Some((offset, length)),
                Piece::Data(_) => None,
            })
            .collect();
        let Some(longest) = holes.iter().map(|(_, length)| *length).max() else { return Ok(()) };
        let zeros = longest.min(self.house.settings.extent_bytes);
        let mut extent = self.ledger.begin_extent()?;
        let mut unused = Hasher::from(Digest::new());
        let (mut left, mut last_is_sealed) = (zeros, false);
        while left > 0 {
            let mut buffer = Buffer::outside_budget();
            let part = left.min(CHUNK as u64);
            left -= part;
            buffer.push(&vec![0; usize::try_from(part).unwrap_or(CHUNK)]);
            last_is_sealed = left == 0 && !buffer.is_full();
            extent.take(&self.house, &mut buffer, 0, left == 0, &mut unused)?;
        }
        let mut ended = extent.end(&self.house, last_is_sealed)?;
        ended.settle().await?;
        for (offset, length) in holes {
            let mut at = offset;
            while at < offset + length {
                let part = (offset + length - at).min(zeros);
                self.map.lay(Slice { offset: at, length: part, extent: ended.id, within: 0 });
                at += part;
            }
        }
        self.extents.insert(ended.id, ended);
        Ok(())
    }

    /// CLOSE: everything durable, hashed, sealed, recorded, its notice queued.
    async fn close(&mut self) -> Result<(), Error> {
        self.end_all().await?;
        if !self.dirty {
            return self.ledger.set_attributes(&self.house, &self.lane).await;
        }
        let length = self.lane.length();
        self.fill_zeros(length).await?;
        if !self.map.is_whole(length) {
            self.write_progress(true).await?;
            return Err(Refusal::Incomplete.into());
        }
        if self.hasher.front() < length {
            self.write_progress(false).await?;
            self.catch_up(length).await?;
        }
        if self.map.slices().len() > MAX_SLICES {
            self.compact().await?;
        }
        self.ledger.publish(&self.house, &self.lane, &mut self.extents, &self.map, &self.hasher, self.origin).await
    }
}
