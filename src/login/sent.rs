//! What a login has sent into drop boxes, whose customers see nothing else. It ends with the login:
//! who comes again sees an empty share.

use std::collections::HashSet;

use crate::model::Locked;

/// Files and directories of one login that are remembered; it does not see what it sends beyond.
const MOST: usize = 10_000;

/// The ids of what a login has sent, and of the directories that it has made.
#[derive(Debug, Default)]
pub(crate) struct Sent(Locked<HashSet<[u8; 16]>>);

impl Sent {
    /// Remembers a file or a directory.
    pub(crate) fn add(&self, entry: [u8; 16]) {
        let mut sent = self.0.lock();
        if sent.len() < MOST {
            sent.insert(entry);
        }
    }

    /// Whether the login has sent it.
    pub(crate) fn has(&self, entry: &[u8; 16]) -> bool {
        self.0.lock().contains(entry)
    }
}
