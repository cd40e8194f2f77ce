//! A lock that a panic does not close.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Like [`Mutex`], but whoever panics while he holds it leaves it as usable as before.
///
/// What is kept in one is right between any two statements, or a panic ends what it belongs to: an
/// upload, a connection. A lock that stays closed for ever would end the uploads and connections of
/// everybody else, too.
#[derive(Debug, Default)]
pub struct Locked<T>(Mutex<T>);

impl<T> Locked<T> {
    /// Not held by anybody.
    pub const fn new(content: T) -> Self {
        Self(Mutex::new(content))
    }

    /// Waits until nobody else holds it. Never held over an `await`.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The content, which nobody else can hold.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
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
}
