//! The uploads that are under way, by name and by artifact.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cot::Watch;
use super::lane::Lane;
use crate::model::{DirectoryId, FileName};

/// Directory and folded name. Not the name's index, which changes with the share's keys.
type Name = (DirectoryId, Vec<u8>);

/// All uploads under way in this process.
#[derive(Default)]
pub(crate) struct Registry {
    lanes: Mutex<HashMap<Name, Arc<Lane>>>,
    /// Counts uploads that have ended: who saw a row and then no upload knows by it whether the row may have changed.
    ended: AtomicU64,
    pub(super) watch: Watch,
}

impl Registry {
    pub(crate) fn len(&self) -> usize {
        self.lanes().len()
    }

    pub(crate) fn by_name(&self, directory: DirectoryId, name: &FileName) -> Option<Arc<Lane>> {
        self.lanes().get(&(directory, name.folded())).map(Arc::clone)
    }

    pub(crate) fn of_artifact(&self, id: [u8; 16]) -> Option<Arc<Lane>> {
        self.lanes().values().find(|lane| lane.artifact().as_bytes() == &id).map(Arc::clone)
    }

    pub(crate) fn in_directory(&self, directory: DirectoryId) -> Vec<Arc<Lane>> {
        let lanes = self.lanes();
        lanes.iter().filter(|((parent, _), _)| *parent == directory).map(|(_, lane)| Arc::clone(lane)).collect()
    }

    /// Enters an upload; false if another one holds the name, or if any has ended since `ended` was read: then the rows
    /// that the upload begins with may be old.
    pub(super) fn enter(&self, lane: &Arc<Lane>, ended: u64) -> bool {
        let place = folded(lane.place());
        let mut lanes = self.lanes();
        let free = self.ended() == ended && !lanes.contains_key(&place);
        if free {
            lanes.insert(place, Arc::clone(lane));
        }
        free
    }

    /// Takes an upload out that has ended.
    pub(super) fn leave(&self, lane: &Arc<Lane>) {
        let mut lanes = self.lanes();
        // Asked while nobody can rename it, or it would stay under its new name for ever.
        let place = folded(lane.place());
        if lanes.get(&place).is_some_and(|held| Arc::ptr_eq(held, lane)) {
            lanes.remove(&place);
            self.ended.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// How many uploads have ended so far.
    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Ordering::SeqCst)
    }

    /// Follows a rename of the artifact.
    pub(crate) fn renamed(&self, id: [u8; 16], directory: DirectoryId, name: &FileName) {
        let mut lanes = self.lanes();
        // Looked for while it cannot end: what has ended is entered under no name.
        let held = lanes.iter().find(|(_, lane)| lane.artifact().as_bytes() == &id).map(|(old, _)| old.clone());
        let Some(lane) = held.and_then(|old| lanes.remove(&old)) else { return };
        lane.move_to((directory, name.clone()));
        lanes.insert((directory, name.folded()), lane);
    }

    /// Hands over what the other uploads of a session hold in buffers, so that one of them can go on.
    pub(super) fn settle_session(&self, session: u64, but: &Lane) {
        for lane in self.lanes().values().filter(|lane| lane.session() == session) {
            if lane.artifact() != but.artifact() {
                lane.settle();
            }
        }
    }

    /// Gets every worker up that still sleeps.
    pub(super) fn rouse_all(&self) {
        let lanes: Vec<_> = self.lanes().values().map(Arc::clone).collect();
        lanes.iter().for_each(|lane| lane.cot.rouse());
    }

    /// Cuts everything that is under way and waits until it is written down.
    pub(crate) async fn cut_all(&self) {
        let lanes: Vec<_> = self.lanes().values().map(Arc::clone).collect();
        for lane in lanes {
            if lane.fence().await.is_err() {
                tracing::error!(artifact = %lane.artifact(), "an upload could not be written down in time");
            }
        }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Name, Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn folded((directory, name): (DirectoryId, FileName)) -> Name {
    (directory, name.folded())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::super::job::Holds;
    use super::*;
    use crate::model::{ArtifactId, VersionId};

    /// An upload that ends while its file is renamed is under way nowhere, and neither name is taken.
    #[test]
    fn r27_who_ends_while_he_is_renamed_is_gone() {
        let directory = DirectoryId::from_bytes([1; 16]);
        let name = |text: &str| FileName::new(text.as_bytes()).unwrap();
        let (artifact, version) = (ArtifactId::from_bytes([2; 16]), VersionId::from_bytes([3; 16]));
        let registry = Registry::default();
        let both = Barrier::new(2);
        for round in 0..20_000 {
            let lane =
                Arc::new(Lane::new((artifact, version), 0, (directory, name("old")), (Holds::Nothing, 0, 0), 0o640));
            assert!(registry.enter(&lane, registry.ended()));
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    both.wait();
                    registry.leave(&lane);
                });
                both.wait();
                registry.renamed([2; 16], directory, &name("new"));
            });
            assert_eq!(registry.len(), 0, "round {round}");
        }
    }
}
