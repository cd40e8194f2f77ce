//! Writes that came before the bytes that belong in front of them, and wait until these have come.

use std::collections::BTreeMap;

use super::buffer::EarlyRoom;

/// How far ahead of a run a write may come and wait, and how many bytes of an upload may.
pub(crate) const EARLY: u64 = 4 << 20;
/// How many writes of an upload may wait.
const WRITES: usize = 256;

/// The writes of one upload that wait, by offset; none lies over another.
#[derive(Default)]
pub(crate) struct ReorderBuffer {
    writes: BTreeMap<u64, Pending>,
    bytes: u64,
}

/// Bytes that wait, with the room that they have of the budget.
pub(crate) struct Pending {
    pub(crate) bytes: Vec<u8>,
    room: Vec<EarlyRoom>,
}

impl Pending {
    pub(crate) fn new(bytes: Vec<u8>, room: EarlyRoom) -> Self {
        Self { bytes, room: vec![room] }
    }
}

impl ReorderBuffer {
    /// Whether one more of this length may wait, as far as its upload goes.
    pub(crate) fn takes(&self, length: u64) -> bool {
        self.bytes.saturating_add(length) <= EARLY && self.writes.len() < WRITES
    }

    pub(crate) fn put(&mut self, offset: u64, waiting: Pending) {
        self.bytes += waiting.bytes.len() as u64;
        self.writes.insert(offset, waiting);
    }

    pub(crate) fn has(&self, offset: u64) -> bool {
        self.writes.contains_key(&offset)
    }

    pub(crate) fn take(&mut self, offset: u64) -> Option<Pending> {
        let waiting = self.writes.remove(&offset)?;
        self.bytes = self.bytes.saturating_sub(waiting.bytes.len() as u64);
        Some(waiting)
    }

    /// Whether one of them lies in this range.
    pub(crate) fn is_in(&self, offset: u64, end: u64) -> bool {
        self.writes.iter().any(|(start, waiting)| *start < end && offset < *start + waiting.bytes.len() as u64)
    }

    /// All of them; what lies side by side is joined.
    pub(crate) fn take_all(&mut self) -> Vec<(u64, Pending)> {
        self.bytes = 0;
        let mut all: Vec<(u64, Pending)> = Vec::new();
        for (offset, mut waiting) in std::mem::take(&mut self.writes) {
            match all.last_mut() {
                Some((start, joined)) if *start + joined.bytes.len() as u64 == offset => {
                    joined.bytes.extend_from_slice(&waiting.bytes);
                    joined.room.append(&mut waiting.room);
                }
                _ => all.push((offset, waiting)),
            }
        }
        all
    }
}
