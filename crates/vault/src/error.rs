//! Everything that can go wrong in this room.

/// Why bytes were not sealed, opened, wrapped or unwrapped. Never carries a key, a name or content.
///
/// Only [`VaultError::Randomness`] and [`VaultError::Memory`] can pass by themselves; all others are
/// permanent: the same call fails the same way again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes; try again, and check /dev/urandom and the system call filter")]
    Randomness,
    /// There was no memory for hashing a password.
    #[error("there is no memory to hash a password; try again when less is going on")]
    Memory,
    /// Something stored is not what was sealed: changed, moved here from elsewhere, or sealed under
    /// another key.
    #[error("the {what} is not what was sealed: it was changed, moved from elsewhere or belongs to another key")]
    Tampered {
        /// The thing that did not open.
        what: &'static str,
    },
    /// An object's header commits to another key than the one at hand (R06); nothing was decrypted.
    #[error("the {what} was sealed under another key")]
    WrongKey {
        /// The thing whose key does not fit.
        what: &'static str,
    },
    /// Bytes that do not have the form that `docs/format.md` asks for.
    #[error("the {what} does not have the form that docs/format.md describes")]
    Malformed {
        /// The thing that is malformed.
        what: &'static str,
    },
    /// A container version or suite that this program does not know.
    #[error("the {what} has a format that this version of tacdrop does not know; use a newer one")]
    UnknownFormat {
        /// The thing with the unknown format.
        what: &'static str,
    },
    /// The cap on encryptions under one file key is reached (R07).
    #[error("this version of the file has used up its key; upload the file again as a new version")]
    TooManyEncryptions,
    /// The canary in the keyring does not open under this KEK.
    #[error(
        "this key encryption key is not the one that the keyring was made with; give the right one, make no new one"
    )]
    BadCanary,
    /// A saved SHA-256 state comes from another minor version of the sha2 crate: hash the bytes
    /// again.
    #[error("the saved SHA-256 state comes from another version of the hash library; read the bytes again")]
    OtherDigestVersion,
    /// A segment was sealed after the last one.
    #[error("the extent has ended; begin a new one")]
    Ended,
}
