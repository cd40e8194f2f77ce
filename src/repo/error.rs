//! What can go wrong below the doors, and what they and operators are told of it.

use std::path::PathBuf;

use crate::model::Refusal;
use crate::records::RecordsError;
use crate::store::StoreError;
use crate::vault::VaultError;

/// Why something was not done. Its text is one sentence for an operator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule of the house says no; a person who uses a door hears the same sentence.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// An operator's command cannot be carried out as it stands. Permanent.
    #[error("{0}")]
    Operator(String),
    /// The records failed.
    #[error("{0}")]
    Records(#[from] RecordsError),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The vault refused: wrong key, or what is stored is not what was sealed.
    #[error("{0}")]
    Vault(#[from] VaultError),
    /// The keys of the share were replaced while this was done. Temporary.
    #[error("the keys of the share were replaced at this moment; try again")]
    KeysReplaced,
    /// A file or directory of the server itself could not be used.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Error {
    /// A sentence for an operator.
    pub fn operator(sentence: impl Into<String>) -> Self {
        Self::Operator(sentence.into())
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_temporary(),
            Self::Operator(_) | Self::Vault(_) => false,
            Self::Records(error) => !matches!(
                error,
                RecordsError::Exists
                    | RecordsError::Unreadable { .. }
                    | RecordsError::Unproved { .. }
                    | RecordsError::Migrate(_)
            ),
            Self::Store(error) => matches!(error, StoreError::Full | StoreError::Io(_)),
            Self::KeysReplaced | Self::File { .. } => true,
        }
    }
}

/// What a person at a door hears. What is not their doing is logged for the operator, without
/// names.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => refusal,
            Error::Records(RecordsError::Exists) => Self::AlreadyExists,
            Error::Records(RecordsError::Full) | Error::Store(StoreError::Full) => {
                tracing::error!("no space left: uploads are refused until there is");
                Self::DiskFull
            }
            Error::Vault(error) => {
                tracing::error!(%error, "something stored did not open");
                Self::Damaged
            }
            Error::Store(error @ (StoreError::Missing | StoreError::Short)) => {
                tracing::error!(%error, "an object of an artifact is not whole");
                Self::Damaged
            }
            other => {
                tracing::error!(error = %other, "a request failed");
                Self::Storage
            }
        }
    }
}
