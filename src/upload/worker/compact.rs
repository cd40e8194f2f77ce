//! Few and long slices instead of many short ones: what an upload's map may cost, and how it comes
//! back below that.
//!
//! A slice costs a row, memory for each reader and time for whoever changes the file later, however
//! short it is. So a map may have as many as its bytes are worth ([`most_slices`]). One that has
//! more is compacted: the file is cut into windows, and a window that more than two slices share is
//! written anew, in one piece. Everything else stays where it lies, so this costs no more than the
//! windows that were written in pieces.

use super::Worker;
use crate::content::Content;
use crate::model::{ObjectId, Refusal};
use crate::repo::Error;
use crate::vault::manifest::MAX_SLICES;
use crate::vault::{Piece, Slice, SliceMap};

/// Bytes of a window, at first.
const WINDOW: u64 = 64 << 10;
/// Slices that may share a window.
const SHARED: u64 = 2;
/// Slices that a version may have however short it is.
const FREE: u64 = 16;
/// The same of an upload that is under way: it is compacted seldom, and its progress, forty bytes
/// for each slice, stays short.
const FREE_UNDER_WAY: u64 = 1024;

/// Slices that a version of `length` bytes may have, and so extents: two for each 64 KiB, and 16;
/// not more than a manifest takes.
pub(super) const fn most_slices(length: u64) -> usize {
    slices(FREE, length)
}

const fn slices(free: u64, length: u64) -> usize {
    let most = free.saturating_add(length.div_ceil(WINDOW).saturating_mul(SHARED));
    if most < MAX_SLICES as u64 { most as usize } else { MAX_SLICES }
}

/// Slices that an upload which begins with `length` bytes may have before it is compacted.
pub(super) const fn first_limit(length: u64) -> usize {
    slices(FREE_UNDER_WAY, length)
}

/// The same once it was compacted. Never before it has twice as many as that has left, so that what
/// compacting costs stays in proportion to what comes.
fn next_limit(map: &SliceMap) -> usize {
    first_limit(map.end()).max(map.slices().len().saturating_mul(2)).min(MAX_SLICES)
}

/// The stretches that are to be written anew so that a map has at most `most` slices, or as few as
/// there can be. Windows grow until that is so. With them, how many slices there will be.
fn plan(map: &SliceMap, most: usize) -> (Vec<(u64, u64)>, usize) {
    let mut window = WINDOW;
    loop {
        let stretches = shared_windows(map, window);
        let after = slices_after(map, &stretches);
        if after <= most || window >= map.end() {
            return (stretches, after);
        }
        window = window.saturating_mul(2);
    }
}

/// Where windows of this many bytes are shared by too many slices; what lies side by side is one
/// stretch.
fn shared_windows(map: &SliceMap, window: u64) -> Vec<(u64, u64)> {
    let mut found: Vec<(u64, u64)> = Vec::new();
    // What lies without a hole in one window: from where to where, and how many slices.
    let (mut from, mut to, mut count) = (0_u64, 0_u64, 0_u64);
    let mut end = |from: u64, to: u64, count: u64| {
        if count > SHARED {
            match found.last_mut() {
                Some((_, last)) if *last == from => *last = to,
                _ => found.push((from, to)),
            }
        }
    };
    for slice in map.slices() {
        let window_of = |at: u64| at / window;
        if slice.offset != to || window_of(from) != window_of(slice.offset) {
            end(from, to, count);
            (from, count) = (slice.offset, 0);
        }
        (to, count) = (slice.end(), count + 1);
        if window_of(from) != window_of(to - 1) {
            // Its last window is the one that others may share; those in the middle it has for
            // itself.
            end(from, (window_of(from) + 1) * window, count);
            (from, count) = (window_of(to - 1) * window, 1);
        }
    }
    end(from, to, count);
    found
}

/// How many slices a map has when each of these stretches is one.
fn slices_after(map: &SliceMap, stretches: &[(u64, u64)]) -> usize {
    let mut after = map.clone();
    for (number, (from, to)) in (0_u128..).zip(stretches) {
        let extent = ObjectId::from_bytes(number.to_be_bytes());
        after.lay(Slice { offset: *from, length: to - from, extent, within: 0 });
    }
    after.slices().len()
}

impl Worker {
    /// Compacts the map of an upload under way if it has become too long.
    pub(super) async fn keep_short(&mut self) -> Result<(), Error> {
        if self.arrived.map.slices().len() <= self.most_slices {
            return Ok(());
        }
        // Seldom, so in a box: each job would move the room that it needs about otherwise.
        let left = Box::pin(self.compact(MAX_SLICES / 2)).await?;
        self.most_slices = next_limit(&self.arrived.map);
        if left > MAX_SLICES / 2 { Err(Refusal::TooScattered.into()) } else { Ok(()) }
    }

    /// Writes what lies in many pieces into fresh extents, and says how many slices are left: at
    /// most `most`, unless there are that many holes. The old map stands in the records until the
    /// new one is durable.
    pub(super) async fn compact(&mut self, most: usize) -> Result<usize, Error> {
        let (stretches, after) = plan(&self.arrived.map, most);
        if stretches.is_empty() {
            return Ok(after);
        }
        if self.changed {
            self.checkpoint().await?;
        }
        let most_bytes = self.uploads.repo.settings.extent_bytes.max(WINDOW);
        let mut pieces: Vec<(u64, u64)> = Vec::new();
        let mut filled = 0;
        for (from, to) in stretches {
            let mut at = from;
            while at < to {
                let length = (to - at).min(most_bytes - filled);
                pieces.push((at, length));
                (at, filled) = (at + length, filled + length);
                if filled == most_bytes {
                    self.write_together(std::mem::take(&mut pieces)).await?;
                    filled = 0;
                }
            }
        }
        self.write_together(pieces).await?;
        self.checkpoint().await?;
        Ok(self.arrived.map.slices().len())
    }

    /// Copies these pieces of the file, each an offset and a length in bytes, one behind the other
    /// into a fresh extent.
    async fn write_together(&mut self, pieces: Vec<(u64, u64)>) -> Result<(), Error> {
        let length: u64 = pieces.iter().map(|(_, length)| length).sum();
        if length == 0 {
            return Ok(());
        }
        // A file of just these pieces.
        let (mut map, mut at) = (SliceMap::new(), 0);
        for (offset, length) in &pieces {
            for slice in self.arrived.map.range(*offset, *length).iter().filter_map(Piece::data) {
                map.lay(Slice { offset: at, ..slice });
                at += slice.length;
            }
        }
        let content: Content = self.content(map);
        let extent = self.write_aside(length, Some((&content, 0))).await?;
        let mut within = 0;
        for (offset, length) in pieces {
            self.arrived.map.lay(Slice { offset, length, extent, within });
            within += length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(number: u64) -> ObjectId {
        ObjectId::from_bytes((u128::from(number) + (1 << 100)).to_be_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However a whole file was written, it can be compacted to what its bytes are worth, and
        /// only windows that are shared are written anew.
        #[test]
        fn a_whole_file_can_be_as_short_as_its_bytes_are_worth(
            writes in prop::collection::vec((0u64..2_000_000, prop_oneof![1u64..100, 1u64..100_000]), 1..1500),
        ) {
            let end = writes.iter().map(|(offset, length)| offset + length).max().unwrap();
            let mut map = SliceMap::new();
            map.lay(Slice { offset: 0, length: end, extent: object(0), within: 0 });
            for (number, (offset, length)) in (1..).zip(writes) {
                map.lay(Slice { offset, length, extent: object(number), within: 0 });
            }
            let (stretches, after) = plan(&map, most_slices(end));
            prop_assert!(after <= most_slices(end), "{} slices of {} bytes", after, end);
            prop_assert_eq!(after, slices_after(&map, &stretches));
            let mut behind = 0;
            for (from, to) in stretches {
                prop_assert!(behind <= from && from < to && to <= end);
                behind = to;
                for window in from / WINDOW..to.div_ceil(WINDOW) {
                    let (start, stop) = ((window * WINDOW).max(from), ((window + 1) * WINDOW).min(to));
                    prop_assert!(map.range(start, stop - start).len() as u64 > SHARED, "nothing was to be gained there");
                }
            }
        }
    }

    #[test]
    fn holes_are_never_written_over() {
        let mut map = SliceMap::new();
        for at in 0..10_000 {
            map.lay(Slice { offset: at * 2, length: 1, extent: object(at), within: 0 });
        }
        assert_eq!(plan(&map, 64), (Vec::new(), 10_000));
        for at in 1000..2000 {
            map.lay(Slice { offset: at, length: 1, extent: object(at), within: 1 });
        }
        assert_eq!(plan(&map, MAX_SLICES).0, [(1000, 2001)]);
    }

    #[test]
    fn windows_grow_where_a_file_is_so_long_that_each_has_little() {
        let (mut map, far) = (SliceMap::new(), 1 << 40);
        map.lay(Slice { offset: 0, length: far, extent: object(0), within: 0 });
        for at in 1..60_000 {
            map.lay(Slice { offset: at * (1 << 20), length: 1, extent: object(at), within: 0 });
        }
        let (stretches, after) = plan(&map, MAX_SLICES / 2);
        assert!(after <= MAX_SLICES / 2 && !stretches.is_empty(), "{after}");
        assert_eq!(
            (most_slices(0), most_slices(1), most_slices(WINDOW + 1), most_slices(u64::MAX)),
            (16, 18, 20, MAX_SLICES)
        );
    }

    /// Between two compactions the map grows to twice its length, so all of them together copy in
    /// proportion to what came.
    #[test]
    fn limits_grow_with_what_cannot_be_joined() {
        let mut map = SliceMap::new();
        let (mut limit, mut times) = (next_limit(&map), 0);
        for at in 0..30_000 {
            map.lay(Slice { offset: at * 2, length: 1, extent: object(at), within: 0 });
            if map.slices().len() > limit {
                times += 1;
                limit = next_limit(&map);
            }
        }
        assert!(times <= 5, "{times}");
    }
}
