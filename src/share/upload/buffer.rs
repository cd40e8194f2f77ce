//! Buffers that a payload is copied into once, laid out so that it is sealed where it lies, and the budget that bounds
//! them.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::Refusal;
use crate::vault::extent::{SEALED_SEGMENT, SEGMENT, SEGMENT_LEAD, SEGMENT_TRAIL};

/// Segments in a buffer.
pub(super) const SEGMENTS: usize = 4;
/// Plaintext bytes in a full buffer.
pub(super) const CHUNK: usize = SEGMENTS * SEGMENT;
/// Unused buffers that are kept for the next upload.
const SPARE: usize = 64;

/// Bounds the plaintext that all sessions together hold in buffers.
pub(crate) struct Budget {
    all: Arc<Semaphore>,
    spare: Spare,
}

type Spare = Arc<Mutex<Vec<Box<[u8]>>>>;

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { all: Arc::new(Semaphore::new((bytes / CHUNK).max(SEGMENTS))), spare: Spare::default() }
    }

    /// The part of one session.
    pub(crate) fn session(&self, bytes: usize) -> SessionBudget {
        SessionBudget {
            all: Arc::clone(&self.all),
            session: Arc::new(Semaphore::new((bytes / CHUNK).max(2))),
            spare: Arc::clone(&self.spare),
        }
    }
}

/// Bounds the plaintext that one session holds in buffers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SessionBudget {
    all: Arc<Semaphore>,
    session: Arc<Semaphore>,
    spare: Spare,
}

impl SessionBudget {
    /// A buffer, if one is free at once.
    pub(super) fn try_buffer(&self) -> Option<Buffer> {
        let session = Arc::clone(&self.session).try_acquire_owned().ok()?;
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(self.take([session, all]))
    }

    /// Waits for a buffer: this is where a client that sends faster than the disk takes is held back.
    pub(super) async fn buffer(&self) -> Result<Buffer, Refusal> {
        let closed = |_| Refusal::ShuttingDown;
        let session = Arc::clone(&self.session).acquire_owned().await.map_err(closed)?;
        let all = Arc::clone(&self.all).acquire_owned().await.map_err(closed)?;
        Ok(self.take([session, all]))
    }

    fn take(&self, permits: [OwnedSemaphorePermit; 2]) -> Buffer {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = spare.unwrap_or_else(|| vec![0; SEGMENTS * SEALED_SEGMENT].into_boxed_slice());
        Buffer { bytes, filled: 0, home: Some((Arc::clone(&self.spare), permits)) }
    }
}

/// Room for [`SEGMENTS`] segments, each with the lead and trail that sealing needs.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    /// Plaintext bytes in it.
    filled: usize,
    home: Option<(Spare, [OwnedSemaphorePermit; 2])>,
}

impl Buffer {
    /// One that counts against no budget, for the worker's own use.
    pub(super) fn outside_budget() -> Self {
        Self { bytes: vec![0; SEGMENTS * SEALED_SEGMENT].into_boxed_slice(), filled: 0, home: None }
    }

    /// Plaintext bytes in it.
    pub(super) const fn filled(&self) -> usize {
        self.filled
    }

    pub(super) const fn is_full(&self) -> bool {
        self.filled == CHUNK
    }

    /// Copies in what fits, and says how much that was.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> usize {
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

    /// The plaintext, segment by segment; the last piece may be shorter, and is left out when it is empty.
    pub(super) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let lengths = (0..self.filled).step_by(SEGMENT).map(|at| (self.filled - at).min(SEGMENT));
        self.bytes
            .chunks(SEALED_SEGMENT)
            .zip(lengths)
            .filter_map(|(room, length)| room.get(SEGMENT_LEAD..SEGMENT_LEAD + length))
    }

    /// The sealed form's room: whole segments, and behind them the unfilled one with its lead and trail.
    pub(super) fn parts(&mut self) -> (impl Iterator<Item = &mut [u8]>, usize) {
        let rest = self.filled % SEGMENT;
        let whole = self.filled / SEGMENT;
        (self.bytes.chunks_exact_mut(SEALED_SEGMENT).take(whole), rest)
    }

    /// The unfilled segment's room: lead, `filled() % SEGMENT` plaintext bytes, trail. Empty plaintext needs room, too,
    /// which a full buffer does not have.
    pub(super) fn last_part(&mut self) -> Option<&mut [u8]> {
        let start = self.filled / SEGMENT * SEALED_SEGMENT;
        self.bytes.get_mut(start..start + SEGMENT_LEAD + self.filled % SEGMENT + SEGMENT_TRAIL)
    }

    /// The first `length` bytes as they lie: sealed segments one behind the other.
    pub(super) fn sealed(&self, length: usize) -> &[u8] {
        self.bytes.get(..length).unwrap_or(&self.bytes)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some((home, _permits)) = self.home.take() {
            let mut spare = home.lock().unwrap_or_else(PoisonError::into_inner);
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
}
