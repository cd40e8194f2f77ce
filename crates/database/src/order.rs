//! The order in which tasks wait for what only one may have: connections, and what services hold
//! around them.
//!
//! A task that holds one may wait only for those behind it ([`Rank`]), and for none while it holds a
//! [`Locked`](tacdrop_model::Locked). Two tasks that wait in different orders wait for each other,
//! now and then, until the time-out. The check does not wait for that: where debug assertions are
//! on, each one that is taken is compared with what its task holds. Elsewhere it does not exist.

/// Where something stands that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Removing objects that nobody needs.
    Removal,
    /// Writing the audit trail.
    AuditTrail,
    /// A connection of the records: a reader, or the writer's turn. Never both, and never two.
    Records,
    /// The connection that answers while another one is held.
    Aside,
    /// The keyring's one connection.
    Keyring,
}

impl Rank {
    /// Says that the task that runs waits for it now, or has it, until what is returned is dropped.
    /// Said before it waits, as a deadlock says nothing.
    ///
    /// # Panics
    /// With debug assertions, if the task must not have it beside what it has already.
    pub fn take(self) -> Held {
        Held {
            #[cfg(debug_assertions)]
            _of_task: of_tasks::OfTask::begin(self),
        }
    }
}

/// Something that a task waits for, or has.
#[derive(Debug)]
#[must_use = "it counts as given back when this is dropped"]
pub struct Held {
    #[cfg(debug_assertions)]
    _of_task: of_tasks::OfTask,
}

#[cfg(debug_assertions)]
mod of_tasks {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex, PoisonError};
    use std::thread::ThreadId;

    use super::Rank;

    /// What waits in an order: a task, which threads hand to each other, or what a thread blocks
    /// on.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    enum Who {
        Task(tokio::task::Id),
        Thread(ThreadId),
    }

    impl Who {
        fn runs() -> Self {
            tokio::task::try_id().map_or_else(|| Self::Thread(std::thread::current().id()), Self::Task)
        }
    }

    static HELD: LazyLock<Mutex<HashMap<Who, Vec<Rank>>>> = LazyLock::new(Mutex::default);

    #[derive(Debug)]
    pub(super) struct OfTask {
        who: Who,
        rank: Rank,
    }

    impl OfTask {
        #[track_caller]
        pub(super) fn begin(rank: Rank) -> Self {
            let who = Who::runs();
            let last = {
                let mut all = HELD.lock().unwrap_or_else(PoisonError::into_inner);
                let held = all.entry(who).or_default();
                let last = held.iter().max().copied();
                held.push(rank);
                last
            };
            let this = Self { who, rank };
            let locked = tacdrop_model::locked::held_by_this_thread();
            // A second panic would end the process before the first one is told.
            assert!(
                (last.is_none_or(|last| last < rank) && locked.is_none()) || std::thread::panicking(),
                "{rank:?} is wanted by a task that holds {last:?} and the lock {locked:?}: \
                 see docs/design/the-lock-order-is-checked.md"
            );
            this
        }
    }

    impl Drop for OfTask {
        fn drop(&mut self) {
            let mut all = HELD.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(held) = all.get_mut(&self.who) else { return };
            if let Some(at) = held.iter().rposition(|rank| *rank == self.rank) {
                held.remove(at);
            }
            if held.is_empty() {
                all.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tacdrop_model::Locked;

    use super::*;

    const ALL: [Rank; 5] = [Rank::Removal, Rank::AuditTrail, Rank::Records, Rank::Aside, Rank::Keyring];

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_task_takes_what_stands_behind_all_that_it_holds() {
        for first in ALL {
            for second in ALL {
                let both = tokio::spawn(async move {
                    let _first = first.take();
                    tokio::task::yield_now().await;
                    let _second = second.take();
                });
                let is_right = first < second || !cfg!(debug_assertions);
                assert_eq!(both.await.is_ok(), is_right, "{second:?} beside {first:?}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn tasks_do_not_count_for_each_other_and_what_is_given_back_does_not_count() {
        let held = Rank::Keyring.take();
        tokio::spawn(async { drop(Rank::Records.take()) }).await.unwrap();
        drop(held);
        let (one, other) = (Rank::Records.take(), Rank::Aside.take());
        drop(one);
        drop(other);
        drop(Rank::Removal.take());
    }

    #[tokio::test]
    async fn nothing_is_waited_for_under_a_lock() {
        let lock = Locked::new(());
        let outcome = std::thread::scope(|threads| {
            threads
                .spawn(|| {
                    let _held = lock.lock();
                    let _taken = Rank::Keyring.take();
                })
                .join()
        });
        assert_eq!(outcome.is_ok(), !cfg!(debug_assertions));
    }
}
