//! What a version has so far: what it began with, and what has come since.

use std::collections::{BTreeSet, HashMap};

use super::extents::{EndedExtent, Home, Rows};
use super::hasher::Hasher;
use crate::model::ObjectId;
use crate::vault::{HashOrigin, SliceMap};

/// The bytes of a version under way: where each lies, and how far they are hashed. The worker adds
/// to it, and [`UploadRecords`](super::upload_records::UploadRecords) writes it down.
pub(super) struct Arrived {
    /// Which part of which extent each stretch of the file is.
    pub(super) map: SliceMap,
    /// The extents that have ended; those that are still being written are the worker's.
    pub(super) extents: HashMap<ObjectId, EndedExtent>,
    pub(super) hasher: Hasher,
    /// How the hash came about.
    pub(super) origin: HashOrigin,
}

impl Arrived {
    /// The extent of a version that has just one and has never had another. `used` are those that
    /// the map names.
    pub(super) fn only_extent(&self, used: &BTreeSet<ObjectId>) -> Option<&EndedExtent> {
        let only = self.extents.values().next().filter(|_| self.extents.len() == 1)?;
        used.contains(&only.id).then_some(only)
    }

    /// The extent of a small file, and its sealed bytes: it is the only one of the version, has all
    /// of its `length` bytes, and the records are to take it now.
    pub(super) fn of_small_file(&self, used: &BTreeSet<ObjectId>, length: u64) -> Option<(&EndedExtent, &[u8])> {
        let only = self.only_extent(used).filter(|only| only.rows == Rows::None && only.length == length)?;
        match &only.home {
            Home::Memory(bytes) => Some((only, bytes)),
            _ => None,
        }
    }
}
