//! The map of what was written so far: which part of the file lies where, newer writes over older
//! ones, gaps as holes. A pure data structure; what it says of an upload becomes the manifest's map
//! when the version is sealed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Slice, VaultError};
use tacdrop_model::ObjectId;

/// Slices by offset; they never overlap, none is empty, and neighbours that continue each other in
/// one extent are one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SliceMap {
    slices: BTreeMap<u64, Slice>,
    /// Where the first hole begins.
    front: u64,
}

/// What a range of the file is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Bytes that were written.
    Data(Slice),
    /// Bytes that never came.
    Hole {
        /// Where in the file.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
}

impl Piece {
    /// The slice, if something was written there.
    pub const fn data(&self) -> Option<Slice> {
        match self {
            Self::Data(slice) => Some(*slice),
            Self::Hole { .. } => None,
        }
    }
}

impl Slice {
    /// The first byte of the file behind this slice.
    pub const fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    /// The part of this slice from `from` to `to`, both within it.
    fn part(&self, from: u64, to: u64) -> Self {
        let skipped = from - self.offset;
        Self { offset: from, length: to - from, extent: self.extent, within: self.within + skipped }
    }

    fn is_continued_by(&self, next: &Self) -> bool {
        self.end() == next.offset && self.extent == next.extent && self.within + self.length == next.within
    }
}

impl SliceMap {
    /// Nothing written.
    pub fn new() -> Self {
        Self::default()
    }

    /// A map as it was stored.
    ///
    /// # Errors
    /// [`VaultError::Malformed`] if the slices are not sorted, overlap, are empty or end behind
    /// 2^64 - 1.
    pub fn from_slices(slices: Vec<Slice>) -> Result<Self, VaultError> {
        let mut map = Self::new();
        let mut end = 0;
        for slice in slices {
            let fits =
                slice.offset.checked_add(slice.length).is_some() && slice.within.checked_add(slice.length).is_some();
            if !fits || slice.length == 0 || slice.offset < end {
                return Err(VaultError::Malformed { what: "map of slices" });
            }
            end = slice.end();
            map.lay(slice);
        }
        Ok(map)
    }

    /// Lays a slice over what was there. One of no length changes nothing; what would lie behind
    /// 2^64 - 1 is cut off.
    pub fn lay(&mut self, slice: Slice) {
        let room = u64::MAX - slice.offset.max(slice.within);
        let mut slice = Slice { length: slice.length.min(room), ..slice };
        if slice.length == 0 {
            return;
        }
        self.clear(slice.offset, slice.end());
        if let Some((&before, previous)) = self.slices.range(..slice.offset).next_back()
            && previous.is_continued_by(&slice)
        {
            slice = Slice { length: previous.length + slice.length, ..*previous };
            self.slices.remove(&before);
        }
        if let Some(next) = self.slices.get(&slice.end()).copied()
            && slice.is_continued_by(&next)
        {
            self.slices.remove(&next.offset);
            slice.length += next.length;
        }
        self.slices.insert(slice.offset, slice);
        while let Some(next) = self.slices.range(..=self.front).next_back()
            && next.1.end() > self.front
        {
            self.front = next.1.end();
        }
    }

    /// Forgets everything from `length` on.
    pub fn truncate(&mut self, length: u64) {
        self.clear(length, u64::MAX);
        self.front = self.front.min(length);
    }

    /// How many bytes from the beginning on are without a hole.
    pub const fn contiguous_from_zero(&self) -> u64 {
        self.front
    }

    /// Whether a file of `length` bytes has no hole.
    pub const fn is_whole(&self, length: u64) -> bool {
        self.front >= length
    }

    /// The first byte behind everything that was written.
    pub fn end(&self) -> u64 {
        self.slices.last_key_value().map_or(0, |(_, slice)| slice.end())
    }

    /// All slices, by offset.
    pub fn slices(&self) -> impl DoubleEndedIterator<Item = &Slice> + ExactSizeIterator + Clone {
        self.slices.values()
    }

    /// What `length` bytes from `offset` on are made of, in order and without a gap. Behind the end
    /// there is one hole.
    pub fn range(&self, offset: u64, length: u64) -> Vec<Piece> {
        let end = offset.saturating_add(length);
        let mut pieces = Vec::new();
        if offset == end {
            return pieces;
        }
        let mut at = offset;
        let first = self.slices.range(..offset).next_back().filter(|(_, slice)| slice.end() > offset);
        for (_, slice) in first.into_iter().chain(self.slices.range(offset..end)) {
            if slice.offset > at {
                pieces.push(Piece::Hole { offset: at, length: slice.offset - at });
            }
            let part = slice.part(slice.offset.max(offset), slice.end().min(end));
            at = part.end();
            pieces.push(Piece::Data(part));
        }
        if at < end {
            pieces.push(Piece::Hole { offset: at, length: end - at });
        }
        pieces
    }

    /// The extents that the map uses.
    pub fn extents(&self) -> BTreeSet<ObjectId> {
        self.slices.values().map(|slice| slice.extent).collect()
    }

    /// Makes a hole of `from..to`; a slice that reaches over an edge keeps its rest. Leaves `front`
    /// as it is.
    fn clear(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        if let Some(before) = self.slices.range(..from).next_back().map(|(_, slice)| *slice)
            && before.end() > from
        {
            self.slices.insert(before.offset, before.part(before.offset, from));
            if before.end() > to {
                self.slices.insert(to, before.part(to, before.end()));
            }
        }
        while let Some(covered) = self.slices.range(from..to).next().map(|(_, slice)| *slice) {
            self.slices.remove(&covered.offset);
            if covered.end() > to {
                self.slices.insert(to, covered.part(to, covered.end()));
            }
        }
    }
}

#[cfg(test)]
#[path = "slices_tests.rs"]
mod tests;
