//! Downloads that go from front to back: content is opened in blocks, each of them once, and a
//! little before it is asked for.
//!
//! Clients ask for 16 to 255 KiB at a time; a segment has 64 KiB and can only be opened as a whole.
//! Without this, a client that asks for 32 KiB has everything decrypted twice, and one that waits
//! for each answer waits for the disk each time. Reads at random places pass by: they would have
//! opened more than they need.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::content::{Content, OpenExtent, copy_texts};
use crate::model::{Level, Locked, LockedGuard, ObjectId};
use crate::repo::Error;
use crate::store::StoreError;
use crate::vault::Piece;
use crate::vault::extent::{SEALED_SEGMENT, SEGMENT};

/// Segments in a block.
const SEGMENTS: u64 = 4;
/// Plaintext bytes in a block.
const BLOCK: u64 = SEGMENTS * SEGMENT as u64;
/// Blocks that one download keeps: more than a client's reads that are in work at once lie in, and
/// those ahead of them.
const KEPT: usize = 8;
/// How far behind the last read the blocks lie that are opened before they are asked for.
const AHEAD: u64 = 2 * BLOCK;
/// A read that begins this near to where the last ones ended goes on with them: clients ask for
/// several at once.
const NEAR: u64 = 1 << 20;
/// Blocks that a download may have when half of the memory for all of them is used up.
const SCARCE: usize = 2;
/// Unused rooms of blocks that are kept for the next download.
const SPARE: usize = 32;

/// The memory that all downloads together may have for blocks. Without any left a download works as
/// before, only slower.
pub(crate) struct BlockBudget {
    most: usize,
    blocks: Arc<Semaphore>,
    spare: Locked<Vec<Box<[u8]>>>,
}

impl BlockBudget {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        let most = bytes / (SEGMENTS as usize * SEALED_SEGMENT);
        Arc::new(Self { most, blocks: Arc::new(Semaphore::new(most)), spare: Locked::default() })
    }

    /// How much memory blocks hold or have room for, and how much there may be; in bytes.
    pub(crate) fn load(&self) -> (u64, u64) {
        let bytes = |blocks: usize| blocks as u64 * SEGMENTS * SEALED_SEGMENT as u64;
        (bytes(self.most - self.blocks.available_permits().min(self.most)), bytes(self.most))
    }

    fn try_room(self: &Arc<Self>) -> Option<BlockBuf> {
        let permit = Arc::clone(&self.blocks).try_acquire_owned().ok()?;
        Some(BlockBuf { budget: Arc::clone(self), _permit: permit })
    }

    /// Whether less than half of it is used.
    fn is_ample(&self) -> bool {
        self.blocks.available_permits() > self.most / 2
    }

    fn bytes(&self) -> Box<[u8]> {
        let spare = self.spare.lock().pop();
        spare.unwrap_or_else(|| vec![0; SEGMENTS as usize * SEALED_SEGMENT].into_boxed_slice())
    }
}

/// Leave to hold one block.
struct BlockBuf {
    budget: Arc<BlockBudget>,
    _permit: OwnedSemaphorePermit,
}

/// Segments that were opened where they lie.
struct Block {
    bytes: Box<[u8]>,
    /// Plaintext bytes in it.
    length: u64,
    budget: Arc<BlockBudget>,
}

impl Block {
    fn open(extent: &OpenExtent, number: u64, budget: &Arc<BlockBudget>) -> Result<Self, Error> {
        let mut block = Self { bytes: budget.bytes(), length: 0, budget: Arc::clone(budget) };
        extent.open_in_place(number * SEGMENTS, SEGMENTS, &mut block.bytes)?;
        block.length = extent.length.saturating_sub(number * BLOCK).min(BLOCK);
        Ok(block)
    }

    /// Appends the text from `from` to `to`, both counted from the block's begin.
    fn copy(&self, from: u64, to: u64, into: &mut Vec<u8>) -> Result<(), Error> {
        if to > self.length {
            return Err(StoreError::Short.into());
        }
        Ok(copy_texts(&self.bytes, from, to, into)?)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut spare = self.budget.spare.lock();
        if spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// A block's place: its extent, and its number there.
type Place = (ObjectId, u64);

/// A block that somebody opens, or has opened. Who comes while it is opened waits for it.
struct CachedBlock {
    place: Place,
    /// Where in the file that ends for which it was made.
    end: u64,
    block: OnceCell<Block>,
    room: BlockBuf,
}

/// A part of a block that a read needs.
struct Part {
    /// None if there was no room for it.
    slot: Option<Arc<CachedBlock>>,
    place: Place,
    from: u64,
    to: u64,
    /// Where it ends in the file.
    end: u64,
}

/// How a read is carried out: from these blocks, or past them.
pub(crate) struct ReadPlan(Option<Vec<Part>>);

impl ReadPlan {
    /// Appends the bytes if all of them have been opened already; else nothing, and false.
    pub(crate) fn try_copy(&self, into: &mut Vec<u8>) -> bool {
        let before = into.len();
        let copied = self.0.as_ref().is_some_and(|parts| {
            parts.iter().all(|part| {
                let block = part.slot.as_ref().and_then(|slot| slot.block.get());
                block.is_some_and(|block| block.copy(part.from, part.to, into).is_ok())
            })
        });
        if !copied {
            into.truncate(before);
        }
        copied
    }
}

/// Blocks that nobody has asked for yet.
pub(crate) struct Prefetch(Vec<Arc<CachedBlock>>);

/// Reads a content for one download.
pub(crate) struct Reader {
    content: Content,
    size: u64,
    budget: Arc<BlockBudget>,
    state: Locked<State>,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    slots: VecDeque<Arc<CachedBlock>>,
    /// Where the reads so far have ended.
    front: u64,
    /// How many reads went on with the one before.
    in_a_row: u64,
}

impl Reader {
    /// Of a version of `size` bytes.
    pub(crate) fn new(content: Content, size: u64, budget: &Arc<BlockBudget>) -> Self {
        let state = Locked::at(Level::Blocks, State::default());
        Self { content, size, budget: Arc::clone(budget), state }
    }

    /// How `length` bytes from `offset` on are read. Each read is planned once, in the order in
    /// which they were asked for.
    pub(crate) fn plan(&self, offset: u64, length: u64) -> ReadPlan {
        let end = offset.saturating_add(length);
        let mut state = self.state();
        let goes_on = offset <= state.front.saturating_add(NEAR) && end.saturating_add(NEAR) >= state.front;
        if !goes_on {
            (state.front, state.in_a_row) = (end, 0);
            return ReadPlan(None);
        }
        (state.front, state.in_a_row) = (state.front.max(end), state.in_a_row + 1);
        let mut parts = self.parts(offset, length);
        for part in parts.iter_mut().flatten() {
            let known = state.slots.iter().find(|slot| slot.place == part.place).cloned();
            part.slot = known.or_else(|| state.add(part, &self.budget));
        }
        state.let_go(self.size);
        ReadPlan(parts)
    }

    /// What somebody who reads on from front to back will ask for next, and nobody has begun to
    /// open.
    pub(crate) fn ahead(&self) -> Option<Prefetch> {
        let mut state = self.state();
        let (from, to) = (state.front.min(self.size), state.front.saturating_add(AHEAD).min(self.size));
        if state.in_a_row < 2 || from == to {
            return None;
        }
        let mut slots = Vec::new();
        for part in self.parts(from, to - from)? {
            if !state.slots.iter().any(|slot| slot.place == part.place) {
                slots.extend(state.add(&part, &self.budget));
            }
        }
        (!slots.is_empty()).then_some(Prefetch(slots))
    }

    /// Opens what lies ahead. What fails is tried again, and said, when it is asked for.
    pub(crate) async fn open_ahead(&self, ahead: Prefetch) {
        for slot in ahead.0 {
            if self.load(&slot).await.is_err() {
                return;
            }
        }
    }

    /// Appends what was planned for `length` bytes from `offset` on. The caller keeps the range
    /// inside the version.
    pub(crate) async fn read(&self, plan: ReadPlan, offset: u64, length: u64, into: &mut Vec<u8>) -> Result<(), Error> {
        let Some(parts) = plan.0 else { return self.content.read(offset, length, into).await };
        for Part { slot, place: (extent, number), from, to, .. } in parts {
            if let Some(slot) = &slot
                && let Ok(block) = self.load(slot).await
            {
                block.copy(from, to, into)?;
            } else {
                // No room, or damage somewhere in the block: that takes nothing away from what lies
                // beside it.
                self.content.extent(extent).await?.read(number * BLOCK + from, to - from, into)?;
            }
        }
        Ok(())
    }

    /// See [`Content::at_hand`].
    pub(crate) fn at_hand(&self) -> Option<usize> {
        self.content.at_hand()
    }

    async fn load<'a>(&self, slot: &'a CachedBlock) -> Result<&'a Block, Error> {
        let opened = slot.block.get_or_try_init(async || {
            let (extent, number) = slot.place;
            Block::open(&*self.content.extent(extent).await?, number, &slot.room.budget)
        });
        opened.await
    }

    /// The parts of blocks in which these bytes lie; none if some of them were never written, or if
    /// they are too many.
    fn parts(&self, offset: u64, length: u64) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        for piece in self.content.pieces(offset, length) {
            let Piece::Data(slice) = piece else { return None };
            let (mut at, end) = (slice.within, slice.within + slice.length);
            let before = slice.offset;
            while at < end {
                let (number, begin) = (at / BLOCK, at / BLOCK * BLOCK);
                let to = end.min(begin + BLOCK);
                parts.push(Part {
                    slot: None,
                    place: (slice.extent, number),
                    from: at - begin,
                    to: to - begin,
                    end: before + (to - slice.within),
                });
                at = to;
            }
        }
        // A file of many small pieces would need a block for each of them.
        (parts.len() <= KEPT).then_some(parts)
    }

    fn state(&self) -> LockedGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// A slot in the place of the oldest one, if there is room for it.
    fn add(&mut self, part: &Part, budget: &Arc<BlockBudget>) -> Option<Arc<CachedBlock>> {
        let most = if budget.is_ample() { KEPT } else { SCARCE };
        while self.slots.len() >= most {
            self.slots.pop_front();
        }
        let slot = Arc::new(CachedBlock {
            place: part.place,
            end: part.end,
            block: OnceCell::new(),
            room: budget.try_room()?,
        });
        self.slots.push_back(Arc::clone(&slot));
        Some(slot)
    }

    /// Forgets what has been read: a handle that is left open holds nothing then.
    fn let_go(&mut self, size: u64) {
        let front = self.front;
        self.slots.retain(|slot| front < size && slot.end.saturating_add(NEAR) > front);
    }
}
