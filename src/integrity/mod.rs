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

use crate::repo::{Error, Repo, opening};

/// Looks for what is damaged or lost in a data directory.
pub struct Integrity {
    repo: Arc<Repo>,
}

impl Integrity {
    pub(crate) fn of(repo: &Arc<Repo>) -> Self {
        Self { repo: Arc::clone(repo) }
    }

    /// What is in the databases that tacdrop did not make, as a sentence that says what to do; none
    /// if there is nothing.
    ///
    /// # Errors
    /// If a database fails.
    pub async fn strangers(&self) -> Result<Option<String>, Error> {
        opening::strangers(&self.repo.records, &self.repo.keys).await
    }

    /// Whether the KEK in force is one of before rows had proofs. A keyring of then opens under it
    /// still, and with that the house would take every row as it stands.
    ///
    /// # Errors
    /// If a database fails.
    pub async fn is_kek_of_before_proofs(&self) -> Result<bool, Error> {
        let (since, keks) = (self.repo.records.proofs_since().await?, self.repo.keys.keyring().keks().await?);
        Ok(keks.first().zip(since).is_some_and(|(kek, since)| kek.created_at < since))
    }
}
