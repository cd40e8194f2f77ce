//! Whether what the records, the keyring and the store hold belongs together and is whole, and what
//! is done where it is not.

pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod reattach;
pub(crate) mod recovery;
pub(crate) mod reseal;
mod shelf;
pub(crate) mod verify;

use std::sync::Arc;

use crate::repo::Repo;

/// Looks for what is damaged or lost in a data directory.
pub struct Integrity {
    repo: Arc<Repo>,
}

impl Integrity {
    pub(crate) fn of(repo: &Arc<Repo>) -> Self {
        Self { repo: Arc::clone(repo) }
    }
}
