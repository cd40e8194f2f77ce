//! Checking passwords, which is made to cost: 20 ms of a core and 19 MiB for each. It happens on
//! threads where it holds up no connection, [`AT_ONCE`] at a time, and [`WAITING`] more wait at
//! most. Who finds no place is answered like a wrong password.
//!
//! Each secret that is no ticket's token passes here, whatever name it came with, so a name that
//! nobody has costs and takes as long as one that somebody has. A right token never waits.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::repo::Error;
use crate::repo::blocking::blocking;
use crate::vault::password;

/// Passwords that are hashed at the same time.
pub(crate) const AT_ONCE: usize = 2;
/// Passwords that wait for that. Two at a time they take less than the moment until which the SSH
/// door holds each rejection back, so that a queue shows nobody anything.
pub(crate) const WAITING: usize = 16;

/// The queue of passwords to check.
pub(crate) struct Passwords {
    runtime: Handle,
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Passwords {
    /// Hashes on the blocking threads of `runtime`.
    pub(crate) fn on(runtime: Handle) -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE + WAITING));
        Self { runtime, places, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Takes every place.
    #[cfg(test)]
    pub(crate) fn hold_all_places(&self) -> tokio::sync::OwnedSemaphorePermit {
        let all = u32::try_from(AT_ONCE + WAITING).unwrap();
        Arc::clone(&self.places).try_acquire_many_owned(all).unwrap()
    }

    /// Whether the password whose keyed hash is `secret` is the one that `kept` was made of; false as
    /// well if too many wait.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub(crate) async fn is_kept(&self, secret: [u8; 32], kept: Option<Vec<u8>>) -> Result<bool, Error> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::warn!("a password was refused unseen: {WAITING} wait already");
            return Ok(false);
        };
        let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else { return Ok(false) };
        let secret = Zeroizing::new(secret);
        // Whoever is gone meanwhile gives up its place when its turn ends: it computes until then.
        let check = move || {
            let outcome = password::is_kept(&secret, kept.as_deref());
            drop((turn, place));
            outcome
        };
        blocking(&self.runtime, "the check of a password", check).await
    }
}
