//! Encrypted objects by id: written once, read in ranges, deleted. Knows nothing of what is in
//! them.
//!
//! `repo/`, `content/` and the services that write use this room. Everything here blocks: callers
//! keep it off the runtimes that carry connections.
#![forbid(unsafe_code)]

mod disk;
mod file_system;

pub use disk::{Disk, NewObject, ObjectFile, Shelf};
pub use file_system::{FileSystem, Item, OpenFile};

/// Why an object could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space, or a quota of the file system is used up. Temporary.
    #[error("the store has no space left")]
    Full,
    /// There is no such object.
    #[error("the store does not have the object")]
    Missing,
    /// The object is shorter than what was asked for.
    #[error("the object ends too early")]
    Short,
    /// The disk failed. A failed sync is never tried again: the object counts as never written.
    #[error("the store failed: {0}")]
    Io(std::io::Error),
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            ErrorKind::NotFound => Self::Missing,
            ErrorKind::UnexpectedEof => Self::Short,
            _ => Self::Io(error),
        }
    }
}
