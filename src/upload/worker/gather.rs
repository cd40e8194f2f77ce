//! Small pieces that came out of order, kept together until they are sealed as one extent.
//!
//! A client that writes backwards, or here and there, ends a run with nearly every write. An extent
//! for each would cost a thousand bytes of rows for one that was sent. So the worker gathers such
//! pieces in the buffer of the first of them, and lays what came newer over what came before; half
//! a second later, at the next checkpoint, or when the buffer is full, it seals them as one extent
//! in the order of the file.

use tokio::time::Instant;

use super::super::buffer::Buffer;
use super::Worker;
use crate::model::ObjectId;
use crate::repo::Error;
use crate::upload::extent_writer::ExtentWriter;
use crate::vault::extent::SEGMENT;
use crate::vault::{Piece, Slice, SliceMap};

/// A piece shorter than this is small.
pub(super) const SMALL: usize = SEGMENT;
/// Stretches that may be gathered at once. It bounds the memory beside the buffer.
const STRETCHES: usize = 4096;

/// Pieces in the order in which they came, and where each byte of the file lies among them.
pub(super) struct Gathered {
    came: Buffer,
    map: SliceMap,
}

impl Gathered {
    /// Begins with a piece, whose buffer becomes the one for all.
    pub(super) fn begin(offset: u64, piece: Buffer) -> Self {
        let mut map = SliceMap::new();
        map.lay(slice(offset, piece.filled(), 0));
        Self { came: piece, map }
    }

    /// Takes one more piece. False if there is no room for it.
    pub(super) fn take(&mut self, offset: u64, piece: &Buffer) -> bool {
        if self.map.slices().len() >= STRETCHES || self.came.room() < piece.filled() {
            return false;
        }
        self.map.lay(slice(offset, piece.filled(), self.came.filled()));
        piece.texts().for_each(|text| {
            self.came.push(text);
        });
        true
    }

    /// Whether a byte of this range was gathered.
    pub(super) fn is_in(&self, offset: u64, length: u64) -> bool {
        self.map.range(offset, length).iter().any(|piece| matches!(piece, Piece::Data(_)))
    }

    /// The bytes in the order of the file, and for each stretch its offset and length in bytes.
    /// What was written over is not among them.
    pub(super) fn in_order(self) -> (Buffer, Vec<(u64, u64)>) {
        let mut stretches: Vec<(u64, u64)> = Vec::new();
        for slice in self.map.slices() {
            match stretches.last_mut() {
                Some((start, length)) if *start + *length == slice.offset => *length += slice.length,
                _ => stretches.push((slice.offset, slice.length)),
            }
        }
        let mut slices = self.map.slices();
        if let (Some(only), None) = (slices.next(), slices.next())
            && only.length == self.came.filled() as u64
        {
            return (self.came, stretches);
        }
        let mut ordered = Buffer::outside_budget();
        for slice in self.map.slices() {
            for text in self.came.part(slice.within, slice.length) {
                ordered.push(text);
            }
        }
        (ordered, stretches)
    }
}

impl Worker {
    /// Keeps a small piece until there are more of them.
    pub(super) async fn gather(&mut self, offset: u64, piece: Buffer) -> Result<(), Error> {
        self.small_since.get_or_insert_with(Instant::now);
        self.length = self.length.max(offset + piece.filled() as u64);
        if self.gathered.as_mut().is_some_and(|gathered| gathered.take(offset, &piece)) {
            return Ok(());
        }
        self.seal_gathered().await?;
        self.gathered = Some(Gathered::begin(offset, piece));
        self.reap().await?;
        // Who has always more to do is never idle, and what is small is due nevertheless.
        self.tick().await
    }

    /// Makes one extent of the small pieces that were gathered.
    pub(super) async fn seal_gathered(&mut self) -> Result<(), Error> {
        match self.gathered.take() {
            // Seldom, so in a box: each job would move the room that it needs about otherwise.
            Some(gathered) => Box::pin(self.seal(gathered)).await,
            None => Ok(()),
        }
    }

    async fn seal(&mut self, gathered: Gathered) -> Result<(), Error> {
        let (buffer, stretches) = gathered.in_order();
        let mut extent = ExtentWriter::new(self.upload_rows.begin_extent()?);
        let (id, last_is_sealed) = (extent.id, !buffer.is_full());
        extent.take(&self.uploads.repo, buffer, true, false).await?;
        let mut within = 0;
        for (offset, length) in stretches {
            self.arrived.map.lay(Slice { offset, length, extent: id, within });
            within += length;
        }
        self.queue.set_received(self.arrived.map.contiguous_from_zero());
        self.end_extent(extent, last_is_sealed).await
    }
}

/// A piece among those that came, at `within`.
fn slice(offset: u64, length: usize, within: usize) -> Slice {
    Slice { offset, length: length as u64, extent: ObjectId::from_bytes([0; 16]), within: within as u64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::by_hand::buffer;
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// What is sealed is what a vector would hold, whatever order pieces come in and however
        /// they lie over each other.
        #[test]
        fn r16_gathered_pieces_are_what_was_written_last(
            pieces in prop::collection::vec((0u64..200_000, 1usize..SMALL), 1..40),
        ) {
            let mut file = vec![None; 300_000];
            let mut gathered: Option<Gathered> = None;
            for (number, (offset, length)) in pieces.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..length).map(|at| (at * 3 + number) as u8).collect();
                let takes = match &mut gathered {
                    Some(gathered) => gathered.take(offset, &buffer(&bytes)),
                    none => none.insert(Gathered::begin(offset, buffer(&bytes))).is_in(offset, 1),
                };
                if !takes {
                    break;
                }
                for (at, byte) in bytes.into_iter().enumerate() {
                    file[offset as usize + at] = Some(byte);
                }
            }
            let gathered = gathered.unwrap();
            for at in [0_u64, 5_000, 100_000, 250_000] {
                prop_assert_eq!(gathered.is_in(at, 100), file[at as usize..][..100].iter().any(Option::is_some));
            }
            let (ordered, stretches) = gathered.in_order();
            let sealed: Vec<u8> = ordered.texts().collect::<Vec<_>>().concat();
            prop_assert_eq!(sealed.iter().copied().map(Some).collect::<Vec<_>>(),
                file.iter().copied().filter(Option::is_some).collect::<Vec<_>>());
            let mut behind = None;
            for (offset, length) in &stretches {
                prop_assert!(behind < Some(*offset) && *length > 0, "stretches lie apart and ascend");
                prop_assert!(file[*offset as usize..][..*length as usize].iter().all(Option::is_some));
                behind = Some(offset + length);
            }
            prop_assert_eq!(stretches.iter().map(|(_, length)| length).sum::<u64>(), sealed.len() as u64);
        }
    }

    #[test]
    fn what_is_written_backwards_byte_by_byte_is_one_stretch() {
        let mut gathered = Gathered::begin(999, buffer(&[231]));
        for at in (0..999_u64).rev() {
            assert!(gathered.take(at, &buffer(&[at as u8])));
        }
        let (ordered, stretches) = gathered.in_order();
        assert_eq!(stretches, [(0, 1000)]);
        assert!(ordered.texts().collect::<Vec<_>>().concat().iter().enumerate().all(|(at, byte)| *byte == at as u8));
    }

    #[test]
    fn stretches_that_lie_apart_have_a_bound() {
        let mut gathered = Gathered::begin(0, buffer(&[1]));
        assert!((1..STRETCHES as u64).all(|at| gathered.take(at * 2, &buffer(&[1]))));
        assert!(!gathered.take(STRETCHES as u64 * 2, &buffer(&[1])));
    }
}
