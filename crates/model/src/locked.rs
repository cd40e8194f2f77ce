//! A lock that a panic does not close, and the order in which such locks are taken.
//!
//! Whoever holds one may take only those below it ([`Level`]), and nobody holds one while he waits
//! for anything but another lock. Both are checked wherever debug assertions are on: at each lock
//! that is taken, whether or not it would have come to a deadlock this time. Elsewhere the check
//! does not exist.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where a lock stands: whoever holds one takes only locks of later levels, never one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The queue of a session's READs.
    Reads,
    /// The uploads that are open, by name.
    Registry,
    /// What one upload is given.
    WriteQueue,
    /// The blocks of a download that are read ahead.
    Blocks,
    /// The transactions that wait for one commit.
    Group,
    /// All others: whoever holds one takes no other.
    Leaf,
}

/// Like [`Mutex`], but whoever panics while he holds it leaves it as usable as before.
///
/// What is kept in one is right between any two statements, or a panic ends what it belongs to: an
/// upload, a connection. A lock that stays closed for ever would end the uploads and connections of
/// everybody else, too.
#[derive(Debug)]
pub struct Locked<T> {
    content: Mutex<T>,
    #[cfg(debug_assertions)]
    level: Level,
}

/// The content of a [`Locked`], until this is dropped. Never held over an `await`.
#[derive(Debug)]
#[must_use = "nobody else is kept out when it is dropped"]
pub struct LockedGuard<'a, T> {
    content: MutexGuard<'a, T>,
    #[cfg(debug_assertions)]
    _held: order::Held,
}

impl<T> Locked<T> {
    /// Not held by anybody. Whoever holds it takes no other.
    pub const fn new(content: T) -> Self {
        Self::at(Level::Leaf, content)
    }

    /// The same for one that is held while others are taken.
    pub const fn at(level: Level, content: T) -> Self {
        #[cfg(not(debug_assertions))]
        let _ = level;
        Self {
            content: Mutex::new(content),
            #[cfg(debug_assertions)]
            level,
        }
    }

    /// Waits until nobody else holds it.
    ///
    /// # Panics
    /// With debug assertions, if this thread holds a lock inside which this one must not be taken.
    pub fn lock(&self) -> LockedGuard<'_, T> {
        // Before it waits: a deadlock says nothing.
        #[cfg(debug_assertions)]
        let _held = order::Held::begin(self.level);
        LockedGuard {
            content: self.content.lock().unwrap_or_else(PoisonError::into_inner),
            #[cfg(debug_assertions)]
            _held,
        }
    }

    /// The content, which nobody else can hold.
    pub fn get_mut(&mut self) -> &mut T {
        self.content.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Default for Locked<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Deref for LockedGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.content
    }
}

impl<T> DerefMut for LockedGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.content
    }
}

/// The innermost lock that this thread holds. None as well where that is not checked.
pub fn held_by_this_thread() -> Option<Level> {
    #[cfg(debug_assertions)]
    return order::innermost();
    #[cfg(not(debug_assertions))]
    None
}

#[cfg(debug_assertions)]
mod order {
    use std::cell::RefCell;

    use super::Level;

    thread_local! {
        /// What this thread holds. A guard cannot go to another thread.
        static HELD: RefCell<Vec<Level>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn innermost() -> Option<Level> {
        // A thread that ends has none left to hold.
        HELD.try_with(|held| held.borrow().iter().max().copied()).ok().flatten()
    }

    /// One lock that is held, or waited for.
    #[derive(Debug)]
    pub(super) struct Held(Level);

    impl Held {
        #[track_caller]
        pub(super) fn begin(level: Level) -> Self {
            let innermost = innermost();
            // A second panic would end the process before the first one is told.
            assert!(
                innermost.is_none_or(|held| held < level) || std::thread::panicking(),
                "{level:?} is locked by a thread that holds {innermost:?}: see docs/design/the-lock-order-is-checked.md"
            );
            let _ = HELD.try_with(|held| held.borrow_mut().push(level));
            Self(level)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            let _ = HELD.try_with(|held| {
                let mut held = held.borrow_mut();
                if let Some(at) = held.iter().rposition(|level| *level == self.0) {
                    held.remove(at);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_holder_closes_it_for_nobody() {
        let mut locked = Locked::new(1);
        let outcome = std::thread::scope(|threads| {
            let holder = threads.spawn(|| {
                let mut held = locked.lock();
                *held = 2;
                panic!("on purpose");
            });
            holder.join()
        });
        assert!(outcome.is_err());
        assert_eq!(*locked.lock(), 2);
        *locked.get_mut() = 3;
        assert_eq!(*locked.lock(), 3);
    }

    /// What becomes of a thread that takes the one while it holds the other.
    fn taken_inside(outer: Level, inner: Level) -> std::thread::Result<()> {
        let (outer, inner) = (Locked::at(outer, ()), Locked::at(inner, ()));
        let both = || {
            let _outer = outer.lock();
            let _inner = inner.lock();
        };
        std::thread::scope(|threads| threads.spawn(both).join())
    }

    #[test]
    fn a_lock_is_taken_only_inside_those_above_it() {
        let levels = [Level::Reads, Level::Registry, Level::WriteQueue, Level::Blocks, Level::Group, Level::Leaf];
        for outer in levels {
            for inner in levels {
                let is_right = outer < inner || !cfg!(debug_assertions);
                assert_eq!(taken_inside(outer, inner).is_ok(), is_right, "{inner:?} inside {outer:?}");
            }
        }
    }

    #[test]
    fn what_was_given_back_is_held_no_more_in_whatever_order() {
        let (outer, inner) = (Locked::at(Level::Registry, ()), Locked::new(()));
        let first = outer.lock();
        let second = inner.lock();
        drop(first);
        let expected = cfg!(debug_assertions).then_some(Level::Leaf);
        assert_eq!(held_by_this_thread(), expected);
        drop(second);
        assert_eq!(held_by_this_thread(), None);
        let _first = outer.lock();
        let _second = inner.lock();
    }
}
