//! The uploads that are under way, by name and by artifact.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lane::Lane;
use crate::model::{DirectoryId, FileName};

type Name = (DirectoryId, [u8; 32]);

/// All uploads under way in this process.
#[derive(Default)]
pub(crate) struct Registry {
    lanes: Mutex<HashMap<Name, Arc<Lane>>>,
    /// Counts uploads that have ended: who saw a row and then no upload knows by it whether the row may have changed.
    ended: AtomicU64,
}

impl Registry {
    pub(crate) fn len(&self) -> usize {
        self.lanes().len()
    }

    pub(crate) fn by_name(&self, directory: DirectoryId, index: &[u8; 32]) -> Option<Arc<Lane>> {
        self.lanes().get(&(directory, *index)).map(Arc::clone)
    }

    pub(crate) fn of_artifact(&self, id: [u8; 16]) -> Option<Arc<Lane>> {
        self.lanes().values().find(|lane| lane.artifact().as_bytes() == &id).map(Arc::clone)
    }

    pub(crate) fn in_directory(&self, directory: DirectoryId) -> Vec<Arc<Lane>> {
        let lanes = self.lanes();
        lanes.iter().filter(|((parent, _), _)| *parent == directory).map(|(_, lane)| Arc::clone(lane)).collect()
    }

    /// Enters an upload; false if another one holds the name.
    pub(super) fn enter(&self, lane: &Arc<Lane>) -> bool {
        let (directory, _, index) = lane.place();
        let mut lanes = self.lanes();
        let free = !lanes.contains_key(&(directory, index));
        if free {
            lanes.insert((directory, index), Arc::clone(lane));
        }
        free
    }

    /// Takes an upload out that has ended.
    pub(super) fn leave(&self, lane: &Arc<Lane>) {
        let (directory, _, index) = lane.place();
        let mut lanes = self.lanes();
        if lanes.get(&(directory, index)).is_some_and(|held| Arc::ptr_eq(held, lane)) {
            lanes.remove(&(directory, index));
            self.ended.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// How many uploads have ended so far.
    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Ordering::SeqCst)
    }

    /// Follows a rename of the artifact.
    pub(crate) fn renamed(&self, id: [u8; 16], directory: DirectoryId, name: &FileName, index: &[u8; 32]) {
        let Some(lane) = self.of_artifact(id) else { return };
        let (old_directory, _, old_index) = lane.place();
        let mut lanes = self.lanes();
        lanes.remove(&(old_directory, old_index));
        lane.move_to((directory, name.clone(), *index));
        lanes.insert((directory, *index), lane);
    }

    /// Hands over what the other uploads of a session hold in buffers, so that one of them can go on.
    pub(super) fn settle_session(&self, session: u64, but: &Lane) {
        for lane in self.lanes().values().filter(|lane| lane.session() == session) {
            if lane.artifact() != but.artifact() {
                lane.settle();
            }
        }
    }

    /// Cuts everything that is under way and waits until it is written down.
    pub(crate) async fn cut_all(&self) {
        let lanes: Vec<_> = self.lanes().values().map(Arc::clone).collect();
        for lane in lanes {
            lane.fence().await;
        }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Name, Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
