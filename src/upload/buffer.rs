//! Buffers that a payload is copied into once, laid out so that it is sealed where it lies, and the
//! budget that bounds them.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::{Locked, Refusal};
use crate::vault::extent::{SEALED_SEGMENT, SEGMENT, SEGMENT_LEAD, SEGMENT_TRAIL};

/// Segments in a buffer.
pub(crate) const SEGMENTS: usize = 4;
/// Plaintext bytes in a full buffer.
pub(crate) const CHUNK: usize = SEGMENTS * SEGMENT;
/// Unused buffers that are kept for the next upload.
const SPARE: usize = 64;

/// The part of the budget for buffers that writes which came early may have beside it, all sessions
/// together.
const EARLY_PART: usize = 4;
/// What can wait in any case, in KiB.
const EARLY_LEAST: usize = 4 * 1024;

/// Bounds the plaintext that all sessions together hold in buffers, and beside them.
pub(crate) struct Budget {
    all: Arc<Semaphore>,
    buffers: usize,
    /// One permit for each KiB.
    early: Arc<Semaphore>,
    spare: Spare,
}

type Spare = Arc<Locked<Vec<Box<[u8]>>>>;

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        let buffers = (bytes / CHUNK).max(SEGMENTS);
        let early = Arc::new(Semaphore::new(early_permits(bytes / EARLY_PART)));
        Self { all: Arc::new(Semaphore::new(buffers)), buffers, early, spare: Spare::default() }
    }

    /// Plaintext that buffers hold or have room for, and how much of it there may be; in bytes.
    pub(crate) fn load(&self) -> (u64, u64) {
        let bytes = |buffers: usize| (buffers * CHUNK) as u64;
        (bytes(self.buffers.saturating_sub(self.all.available_permits())), bytes(self.buffers))
    }

    /// The part of one session.
    pub(crate) fn session(&self, bytes: usize) -> SessionBudget {
        SessionBudget(Arc::new(Parts {
            all: Arc::clone(&self.all),
            session: Arc::new(Semaphore::new((bytes / CHUNK).max(2))),
            early: [Arc::clone(&self.early), Arc::new(Semaphore::new(early_permits(bytes)))],
            spare: Arc::clone(&self.spare),
        }))
    }
}

fn early_permits(bytes: usize) -> usize {
    (bytes / 1024).clamp(EARLY_LEAST, Semaphore::MAX_PERMITS)
}

/// Room for a write that came early; given back when dropped.
pub(crate) struct EarlyRoom {
    _permits: [OwnedSemaphorePermit; 2],
}

/// Bounds the plaintext that one session holds in buffers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SessionBudget(Arc<Parts>);

struct Parts {
    all: Arc<Semaphore>,
    session: Arc<Semaphore>,
    /// Of all sessions, and of this one.
    early: [Arc<Semaphore>; 2],
    spare: Spare,
}

impl SessionBudget {
    /// Room for a write of this length that came early, if there is some: nobody waits for it.
    pub(crate) fn try_early(&self, length: u64) -> Option<EarlyRoom> {
        let kib = u32::try_from(length.div_ceil(1024)).ok()?;
        let take = |room: &Arc<Semaphore>| Arc::clone(room).try_acquire_many_owned(kib).ok();
        let [all, session] = &self.0.early;
        Some(EarlyRoom { _permits: [take(session)?, take(all)?] })
    }

    /// A buffer, if one is free at once.
    pub(crate) fn try_buffer(&self) -> Option<Buffer> {
        let session = Arc::clone(&self.0.session).try_acquire_owned().ok()?;
        let all = Arc::clone(&self.0.all).try_acquire_owned().ok()?;
        Some(self.take([session, all]))
    }

    /// Waits for a buffer: this is where a client that sends faster than the disk takes is held
    /// back.
    pub(crate) async fn buffer(&self) -> Result<Buffer, Refusal> {
        let (closed, began) = (|_| Refusal::ShuttingDown, Instant::now());
        let session = Arc::clone(&self.0.session).acquire_owned().await.map_err(closed)?;
        let all = Arc::clone(&self.0.all).acquire_owned().await.map_err(closed)?;
        metrics::histogram!("tacdrop_buffer_wait_seconds").record(began.elapsed());
        Ok(self.take([session, all]))
    }

    fn take(&self, permits: [OwnedSemaphorePermit; 2]) -> Buffer {
        let spare = self.0.spare.lock().pop();
        let bytes = spare.unwrap_or_else(|| vec![0; SEGMENTS * SEALED_SEGMENT].into_boxed_slice());
        Buffer { bytes, filled: 0, home: Some((Arc::clone(&self.0.spare), permits)) }
    }
}

/// Room for [`SEGMENTS`] segments, each with the lead and trail that sealing needs.
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    /// Plaintext bytes in it.
    filled: usize,
    home: Option<(Spare, [OwnedSemaphorePermit; 2])>,
}

impl Buffer {
    /// One that counts against no budget, for the worker's own use.
    pub(crate) fn outside_budget() -> Self {
        Self { bytes: vec![0; SEGMENTS * SEALED_SEGMENT].into_boxed_slice(), filled: 0, home: None }
    }

    /// Plaintext bytes in it.
    pub(crate) const fn filled(&self) -> usize {
        self.filled
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.filled == CHUNK
    }

    /// Copies in what fits, and says how much that was.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> usize {
        let before = self.filled;
        while !bytes.is_empty() && self.filled < CHUNK {
            let (segment, within) = (self.filled / SEGMENT, self.filled % SEGMENT);
            let fits = bytes.len().min(SEGMENT - within);
            let start = segment * SEALED_SEGMENT + SEGMENT_LEAD + within;
            let (now, later) = bytes.split_at(fits);
            if let Some(room) = self.bytes.get_mut(start..start + fits) {
                room.copy_from_slice(now);
            }
            self.filled += fits;
            bytes = later;
        }
        self.filled - before
    }

    /// The plaintext, segment by segment; the last piece may be shorter, and is left out when it is
    /// empty.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let lengths = (0..self.filled).step_by(SEGMENT).map(|at| (self.filled - at).min(SEGMENT));
        self.bytes
            .chunks(SEALED_SEGMENT)
            .zip(lengths)
            .filter_map(|(room, length)| room.get(SEGMENT_LEAD..SEGMENT_LEAD + length))
    }

    /// The same, each with the place where it begins in a file that has the buffer at `offset`.
    pub(crate) fn texts_at(&self, offset: u64) -> impl Iterator<Item = (u64, &[u8])> {
        self.texts().enumerate().map(move |(number, text)| (offset + (number * SEGMENT) as u64, text))
    }

    /// Plaintext bytes that it still takes.
    pub(crate) const fn room(&self) -> usize {
        CHUNK - self.filled
    }

    /// `length` bytes of its text from `from` on, as they lie in segments.
    pub(crate) fn part(&self, from: u64, length: u64) -> impl Iterator<Item = &[u8]> {
        let to = from.saturating_add(length);
        self.texts_at(0).filter_map(move |(start, text)| {
            let within = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX).min(text.len());
            text.get(within(from)..within(to)).filter(|part| !part.is_empty())
        })
    }

    /// The sealed form's room: whole segments, and behind them the unfilled one with its lead and
    /// trail.
    pub(crate) fn parts(&mut self) -> (impl Iterator<Item = &mut [u8]>, usize) {
        let rest = self.filled % SEGMENT;
        let whole = self.filled / SEGMENT;
        (self.bytes.chunks_exact_mut(SEALED_SEGMENT).take(whole), rest)
    }

    /// The unfilled segment's room: lead, `filled() % SEGMENT` plaintext bytes, trail. Empty
    /// plaintext needs room, too, which a full buffer does not have.
    pub(crate) fn last_part(&mut self) -> Option<&mut [u8]> {
        let start = self.filled / SEGMENT * SEALED_SEGMENT;
        self.bytes.get_mut(start..start + SEGMENT_LEAD + self.filled % SEGMENT + SEGMENT_TRAIL)
    }

    /// The first `length` bytes as they lie: sealed segments one behind the other.
    pub(crate) fn sealed(&self, length: usize) -> &[u8] {
        self.bytes.get(..length).unwrap_or(&self.bytes)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some((home, _permits)) = self.home.take() {
            let mut spare = home.lock();
            if spare.len() < SPARE {
                spare.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_land_where_they_are_sealed() {
        let mut buffer = Buffer::outside_budget();
        let bytes: Vec<u8> = (0..SEGMENT + 5).map(|i| u8::try_from(i % 251).unwrap()).collect();
        assert_eq!(buffer.push(&bytes[..3]) + buffer.push(&bytes[3..]), bytes.len());
        assert_eq!(buffer.texts().collect::<Vec<_>>().concat(), bytes);
        let (whole, rest) = buffer.parts();
        let whole: Vec<_> = whole.map(|segment| segment[SEGMENT_LEAD..SEGMENT_LEAD + SEGMENT].to_vec()).collect();
        assert_eq!((whole, rest), (vec![bytes[..SEGMENT].to_vec()], 5));
        assert_eq!(buffer.last_part().unwrap()[SEGMENT_LEAD..][..5], bytes[SEGMENT..]);
        assert_eq!(buffer.push(&vec![1; CHUNK]), CHUNK - SEGMENT - 5);
        assert!(buffer.is_full() && buffer.push(b"x") == 0 && buffer.last_part().is_none());
    }

    #[tokio::test]
    async fn a_session_holds_no_more_than_its_part() {
        let budget = Budget::new(64 * CHUNK);
        let session = budget.session(2 * CHUNK);
        let (one, _two) = (session.try_buffer().unwrap(), session.try_buffer().unwrap());
        assert!(session.try_buffer().is_none());
        assert!(budget.session(CHUNK).try_buffer().is_some());
        drop(one);
        assert!(session.buffer().await.is_ok());
    }

    #[test]
    fn what_came_early_has_a_bound_for_a_session_and_for_all() {
        let budget = Budget::new(32 << 20);
        let (one, other) = (budget.session(6 << 20), budget.session(6 << 20));
        let some: Vec<_> = (0..6).map(|_| one.try_early(1 << 20).unwrap()).collect();
        assert!(one.try_early(1).is_none());
        let more: Vec<_> = (0..2).map(|_| other.try_early(1 << 20).unwrap()).collect();
        assert!(other.try_early(1).is_none());
        drop(some);
        assert!(other.try_early(4 << 20).is_some() && other.try_early(5 << 20).is_none());
        drop(more);
        assert!(one.try_early(u64::MAX).is_none() && one.try_early(6 << 20).is_some());
    }
}
