//! What every small sealed thing has in common: a key derived for one purpose, and associated data
//! that says what the thing is, what it belongs to and whose generation of keys sealed it. A row
//! moved elsewhere does not open.

use zeroize::Zeroizing;

use super::VaultError;
use super::aead::SmallKey;
use super::derive::subkey;

/// Bytes of the fixed part of the associated data.
const BOND: usize = 52;

/// What a small sealed thing is. Each has a derived key of its own, and its word stands in the
/// associated data.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Canary,
    Secret,
    ShareKey,
    FileKey,
    ExtentKey,
    State,
    Name,
    /// Reserved by `docs/format.md`: the golden artifact holds such a text, and nothing keeps any
    /// yet.
    #[cfg_attr(not(test), expect(dead_code, reason = "reserved"))]
    Text,
}

impl Purpose {
    /// The word in the derivation and in the associated data; at most 16 bytes of ASCII.
    const fn label(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Secret => "secret",
            Self::ShareKey => "share key",
            Self::FileKey => "file key",
            Self::ExtentKey => "extent key",
            Self::State => "digest state",
            Self::Name => "name",
            Self::Text => "text",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Canary => "canary of the keyring",
            Self::Secret => "wrapped secret of the keyring",
            Self::ShareKey => "wrapped share key",
            Self::FileKey => "wrapped file key",
            Self::ExtentKey => "wrapped extent key",
            Self::State => "sealed SHA-256 state",
            Self::Name => "sealed name",
            Self::Text => "sealed text",
        }
    }

    /// The derived key for this purpose.
    pub(super) fn key_from(self, key: &[u8; 32]) -> SmallKey {
        SmallKey::new(&subkey(key, self.label()))
    }
}

/// What a sealed thing is bound to.
pub(super) struct AadContext<'a> {
    pub(super) purpose: Purpose,
    /// Of the key that seals; 0 where that key has no generations.
    pub(super) generation: u32,
    /// The id of what the thing's owner belongs to; zeros where there is none.
    pub(super) parent: [u8; 16],
    /// The id of what the thing belongs to; zeros where there is none.
    pub(super) id: [u8; 16],
    /// What varies in length, alone at the end.
    pub(super) tail: &'a [u8],
}

impl AadContext<'_> {
    /// `label (16) ‖ generation (4) ‖ parent (16) ‖ id (16) ‖ tail`.
    fn associated_data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(BOND + self.tail.len());
        data.extend_from_slice(self.purpose.label().as_bytes());
        data.resize(16, 0);
        data.extend_from_slice(&self.generation.to_be_bytes());
        data.extend_from_slice(&self.parent);
        data.extend_from_slice(&self.id);
        data.extend_from_slice(self.tail);
        data
    }

    /// `nonce ‖ ciphertext ‖ tag` under a key made by [`Purpose::key_from`].
    pub(super) fn seal(&self, key: &SmallKey, plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
        key.seal_to_vec(&[], &self.associated_data(), plaintext)
    }

    pub(super) fn open(&self, key: &SmallKey, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        key.open_to_vec(&self.associated_data(), sealed, self.purpose.what()).map(Zeroizing::new)
    }

    pub(super) fn malformed(&self) -> VaultError {
        VaultError::Malformed { what: self.purpose.what() }
    }
}
