//! The uploads that are under way, by name and by artifact.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use crate::model::{DirectoryId, FileName, Level, Locked, LockedGuard, VersionId};
use crate::upload::lazy_worker::StartDeadline;
use crate::upload::write_queue::WriteQueue;

/// Directory and folded name. Not the name's index, which changes with the share's keys.
type Name = (DirectoryId, Vec<u8>);

/// Marks of names whose uploads have ended (8 bytes each). Names that share a mark only cost each
/// other a second look.
const MARKS: usize = 1 << 14;

/// All uploads under way in this process.
pub(crate) struct Registry {
    state: Locked<State>,
    pub(crate) watch: StartDeadline,
}

#[derive(Default)]
struct State {
    queues: HashMap<Name, Arc<WriteQueue>>,
    endings: Endings,
}

/// A moment in the life of a registry. Who takes one, reads rows, and then finds no upload of their
/// name asks with it whether one has ended since: then the rows may be old, and are read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// When the last upload of each name ended: who saw a row and then no upload knows by it whether
/// the row may have changed. Others' uploads say nothing about it, however many of them end.
struct Endings {
    /// Counts all of them; a mark holds what it was then.
    count: u64,
    marks: Vec<u64>,
    /// Seeded, so that nobody chooses names that share a mark with another's.
    hasher: RandomState,
}

impl Default for Endings {
    fn default() -> Self {
        Self { count: 0, marks: vec![0; MARKS], hasher: RandomState::new() }
    }
}

impl Endings {
    fn slot(&self, name: &Name) -> usize {
        usize::try_from(self.hasher.hash_one(name) % MARKS as u64).unwrap_or(0)
    }

    fn mark(&mut self, name: &Name) {
        self.count += 1;
        let slot = self.slot(name);
        if let Some(mark) = self.marks.get_mut(slot) {
            *mark = self.count;
        }
    }

    fn since(&self, name: &Name, then: Moment) -> bool {
        self.marks.get(self.slot(name)).is_none_or(|mark| *mark > then.0)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self { state: Locked::at(Level::Registry, State::default()), watch: StartDeadline::default() }
    }
}

impl Registry {
    pub(crate) fn len(&self) -> usize {
        self.state().queues.len()
    }

    pub(crate) fn by_name(&self, directory: DirectoryId, name: &FileName) -> Option<Arc<WriteQueue>> {
        self.state().queues.get(&(directory, name.folded())).map(Arc::clone)
    }

    pub(crate) fn of_artifact(&self, id: [u8; 16]) -> Option<Arc<WriteQueue>> {
        self.state().queues.values().find(|queue| queue.artifact().as_bytes() == &id).map(Arc::clone)
    }

    pub(crate) fn of_version(&self, id: VersionId) -> Option<Arc<WriteQueue>> {
        self.state().queues.values().find(|queue| queue.version() == id).map(Arc::clone)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<WriteQueue>> {
        self.state().queues.values().map(Arc::clone).collect()
    }

    pub(crate) fn in_directory(&self, directory: DirectoryId) -> Vec<Arc<WriteQueue>> {
        let state = self.state();
        state
            .queues
            .iter()
            .filter(|((parent, _), _)| *parent == directory)
            .map(|(_, queue)| Arc::clone(queue))
            .collect()
    }

    /// Enters an upload that begins with rows which were read behind `then`. False if another one
    /// holds the name, or if one of this name has ended since: the rows may be old.
    pub(crate) fn enter(&self, queue: &Arc<WriteQueue>, then: Moment) -> bool {
        let place = folded(queue.place());
        let mut state = self.state();
        let free = !state.endings.since(&place, then) && !state.queues.contains_key(&place);
        if free {
            state.queues.insert(place, Arc::clone(queue));
        }
        free
    }

    /// Takes an upload out that has ended.
    pub(crate) fn leave(&self, queue: &Arc<WriteQueue>) {
        let mut state = self.state();
        // Asked while nobody can rename it, or it would stay under its new name for ever.
        let place = folded(queue.place());
        if state.queues.get(&place).is_some_and(|held| Arc::ptr_eq(held, queue)) {
            state.queues.remove(&place);
            state.endings.mark(&place);
        }
    }

    /// Now: what [`has_ended_since`](Self::has_ended_since) and [`enter`](Self::enter) are asked
    /// with later.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.state().endings.count)
    }

    /// Whether an upload of this name has ended, or was renamed away, since `then`. It may say so
    /// of a name where none has, never the other way round.
    pub(crate) fn has_ended_since(&self, directory: DirectoryId, name: &FileName, then: Moment) -> bool {
        self.state().endings.since(&(directory, name.folded()), then)
    }

    /// Follows a rename of the artifact.
    pub(crate) fn renamed(&self, id: [u8; 16], directory: DirectoryId, name: &FileName) {
        let mut state = self.state();
        // Looked for while it cannot end: what has ended is entered under no name.
        let held =
            state.queues.iter().find(|(_, queue)| queue.artifact().as_bytes() == &id).map(|(old, _)| old.clone());
        let Some(old) = held else { return };
        let Some(queue) = state.queues.remove(&old) else { return };
        // Who saw the row under its old name must not go on with it.
        state.endings.mark(&old);
        queue.move_to((directory, name.clone()));
        state.queues.insert((directory, name.folded()), queue);
    }

    /// Hands over what the other uploads of a session hold in buffers, so that one of them can go
    /// on.
    pub(crate) fn settle_session(&self, session: u64, but: &WriteQueue) {
        for queue in self.state().queues.values().filter(|queue| queue.session() == session) {
            if queue.artifact() != but.artifact() {
                queue.settle();
            }
        }
    }

    /// Gets every worker up that still sleeps.
    pub(crate) fn start_all(&self) {
        let queues: Vec<_> = self.state().queues.values().map(Arc::clone).collect();
        queues.iter().for_each(|queue| queue.lazy_worker.start());
    }

    /// Cuts everything that is under way and waits until it is written down.
    pub(crate) async fn cut_all(&self) {
        let queues: Vec<_> = self.state().queues.values().map(Arc::clone).collect();
        for queue in queues {
            if queue.preempt().await.is_err() {
                tracing::error!(artifact = %queue.artifact(), "an upload could not be written down in time");
            }
        }
    }

    fn state(&self) -> LockedGuard<'_, State> {
        self.state.lock()
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
    use crate::model::ArtifactId;

    /// Others' endings stand in nobody's way; one's own is seen by who looked before it.
    #[test]
    fn only_an_upload_of_the_same_name_makes_rows_old() {
        let directory = DirectoryId::from_bytes([1; 16]);
        let name = |text: &str| FileName::new(text.as_bytes()).unwrap();
        let queue = |id: u8, text: &str| {
            let ids = (ArtifactId::from_bytes([id; 16]), VersionId::from_bytes([id; 16]));
            Arc::new(WriteQueue::new(ids, (0, [0; 16]), (directory, name(text)), (Holds::Nothing, 0, 0), 0o640))
        };
        let registry = Registry::default();
        let slot = |text: &str| registry.state().endings.slot(&(directory, name(text).folded()));
        let other = (0..).map(|n| format!("other-{n}")).find(|other| slot(other) != slot("mine")).unwrap();
        let then = registry.moment();
        for _ in 0..1000 {
            let queue = queue(2, &other);
            assert!(registry.enter(&queue, registry.moment()));
            registry.leave(&queue);
        }
        assert!(!registry.has_ended_since(directory, &name("mine"), then));
        let mine = queue(3, "mine");
        assert!(registry.enter(&mine, then));
        registry.leave(&mine);
        assert!(registry.has_ended_since(directory, &name("mine"), then));
        assert!(!registry.enter(&queue(4, "mine"), then));
        assert!(registry.enter(&queue(4, "mine"), registry.moment()));
    }

    /// An upload that ends while its file is renamed is under way nowhere, and neither name is
    /// taken.
    #[test]
    fn r27_who_ends_while_he_is_renamed_is_gone() {
        let directory = DirectoryId::from_bytes([1; 16]);
        let name = |text: &str| FileName::new(text.as_bytes()).unwrap();
        let (artifact, version) = (ArtifactId::from_bytes([2; 16]), VersionId::from_bytes([3; 16]));
        let registry = Registry::default();
        let both = Barrier::new(2);
        for round in 0..20_000 {
            let queue = Arc::new(WriteQueue::new(
                (artifact, version),
                (0, [0; 16]),
                (directory, name("old")),
                (Holds::Nothing, 0, 0),
                0o640,
            ));
            assert!(registry.enter(&queue, registry.moment()));
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    both.wait();
                    registry.leave(&queue);
                });
                both.wait();
                registry.renamed([2; 16], directory, &name("new"));
            });
            assert_eq!(registry.len(), 0, "round {round}");
        }
    }
}
