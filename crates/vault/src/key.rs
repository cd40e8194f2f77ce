//! The hierarchy of keys: a KEK wraps share keys (and the server's own secrets), a share key wraps
//! file keys and seals names, a file key wraps extent keys and seals manifests.
//!
//! No key is used as a cipher key itself: each use has its own key derived from it. Keys are wiped
//! when dropped and have no `Debug`, `Clone`, comparison or serialisation (R13).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::Mac;
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::aead::SmallKey;
use super::derive::{MacKey, hmac_sha256, subkey};
use super::secret::{AadContext, Purpose};
use super::{VaultError, random};
use tacdrop_model::{DirectoryId, FileName, ObjectId, ShareId, VersionId, alias};

/// Bytes of a [`WrappedKey`]: nonce 12, ciphertext 32, tag 16.
pub const WRAPPED_KEY: usize = 60;
/// How many bytes longer a sealed name is than the name.
pub const NAME_OVERHEAD: usize = super::aead::NONCE + super::aead::TAG;
/// Encryptions under one file key, at most (R07).
const MOST_ENCRYPTIONS: u64 = 1 << 31;
/// What a house promises of its rows. It only ever rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Rows carry no proofs: houses of before there were any.
    Bare,
    /// The house has a [`ProofKey`](super::ProofKey), and what decides rights carries proofs under
    /// it.
    Proving,
    /// So do the rows that say more since the ticket desk can change everything: organisations, and
    /// what engineers and tickets got then.
    Desk,
    /// The same, and every manifest says how its version came: one of the older form, which does
    /// not, is none of this house.
    Resealed,
}

impl Level {
    pub(super) const ALL: [Self; 4] = [Self::Bare, Self::Proving, Self::Desk, Self::Resealed];
    /// What a house promises that begins today.
    pub const TODAY: Self = Self::Resealed;

    /// Whether rows that decide rights must carry proofs.
    pub fn proves(self) -> bool {
        self >= Self::Proving
    }

    /// The text of a canary of this level.
    const fn canary(self) -> &'static [u8; 32] {
        match self {
            Self::Bare => b"tacdrop: this is the right KEK\r\n",
            Self::Proving => b"tacdrop: right KEK, rows prove\r\n",
            Self::Desk => b"tacdrop: right KEK, desk prove\r\n",
            Self::Resealed => b"tacdrop: KEK, proofs, resealed\r\n",
        }
    }
}
const NONE: [u8; 16] = [0; 16];

/// The key encryption key. Never in the records; generations are counted by the keyring.
#[derive(ZeroizeOnDrop)]
pub struct Kek([u8; 32]);

/// A share's key, random, wrapped by the KEK in the keyring.
#[derive(ZeroizeOnDrop)]
pub struct ShareKey([u8; 32]);

/// A version's key, random, wrapped by its share's key in the records.
#[derive(ZeroizeOnDrop)]
pub struct FileKey {
    key: [u8; 32],
    #[zeroize(skip)]
    used: AtomicU64,
}

/// An extent's key, random, wrapped by the file key of every version whose map uses the extent.
#[derive(ZeroizeOnDrop)]
pub struct ExtentKey([u8; 32]);

/// A key as it is stored: `nonce (12) ‖ ciphertext (32) ‖ tag (16)`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WrappedKey([u8; WRAPPED_KEY]);

impl Kek {
    /// A new random KEK.
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn generate() -> Result<Self, VaultError> {
        let mut key = Self([0; 32]);
        random::fill(&mut key.0)?;
        Ok(key)
    }

    /// The KEK as it was kept by the operator.
    pub const fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }

    /// The KEK for keeping it: in a file of mode 0400, a credential, a key service. Nowhere else.
    pub fn to_secret_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0)
    }

    /// A known text sealed under this KEK; stands in the keyring so that a wrong KEK is noticed at
    /// the start (R09). The text says the house's level, so that nobody without the KEK takes a
    /// house back to a lower one.
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn seal_canary(&self, generation: u32, level: Level) -> Result<Vec<u8>, VaultError> {
        canary(generation).seal(&Purpose::Canary.key_from(&self.0), level.canary())
    }

    /// Proves that this is the KEK that sealed `canary` as `generation`, and gives the level that
    /// it says.
    ///
    /// # Errors
    /// [`VaultError::BadCanary`] if it is not, or the canary was changed.
    pub fn check_canary(&self, generation: u32, canary_row: &[u8]) -> Result<Level, VaultError> {
        let text = canary(generation).open(&Purpose::Canary.key_from(&self.0), canary_row);
        let text = text.map_err(|_| VaultError::BadCanary)?;
        let level = Level::ALL.into_iter().find(|level| **text == level.canary()[..]);
        level.ok_or(VaultError::BadCanary)
    }

    /// What says that whoever has this KEK chose `next` to follow it: HMAC-SHA-256 over that KEK,
    /// under a key derived from this one.
    pub fn mark_of(&self, next: &Self) -> [u8; 32] {
        let mut mac = hmac_sha256(&subkey(&self.0, "next KEK"));
        mac.update(&next.0);
        mac.finalize().into_bytes().into()
    }

    /// Whether `mark` says that `next` is to follow this KEK, in a time that does not depend on it.
    pub fn is_mark_of(&self, next: &Self, mark: &[u8]) -> bool {
        self.mark_of(next).ct_eq(mark).into()
    }

    /// Wraps a share's key for the keyring. `own` is the key's own generation in its share, so that an
    /// older key does not pass for a newer one; none in a house of [`Level::Bare`].
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn wrap_share_key(
        &self,
        generation: u32,
        share: ShareId,
        own: Option<u32>,
        key: &ShareKey,
    ) -> Result<WrappedKey, VaultError> {
        let own = own.map(u32::to_be_bytes);
        WrappedKey::wrap(&share_key_bond(generation, share, own.as_ref()), &self.0, &key.0)
    }

    /// Unwraps a share's key.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] if it was wrapped by another KEK, as another generation or for
    /// another share, or is of another generation of its own.
    pub fn unwrap_share_key(
        &self,
        generation: u32,
        share: ShareId,
        own: Option<u32>,
        wrapped: &WrappedKey,
    ) -> Result<ShareKey, VaultError> {
        let own = own.map(u32::to_be_bytes);
        wrapped.unwrap_with(&share_key_bond(generation, share, own.as_ref()), &self.0).map(|key| ShareKey(*key))
    }

    /// Wraps a secret of the whole server for the keyring: `token`, `ssh-host-ed25519` and the
    /// like, of any length.
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn wrap_secret(&self, generation: u32, purpose: &str, secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        secret_bond(generation, purpose).seal(&Purpose::Secret.key_from(&self.0), secret)
    }

    /// Unwraps a secret of the whole server.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] if it was wrapped by another KEK, as another generation or for
    /// another purpose; [`VaultError::Malformed`] if it is too short.
    pub fn unwrap_secret(
        &self,
        generation: u32,
        purpose: &str,
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        secret_bond(generation, purpose).open(&Purpose::Secret.key_from(&self.0), wrapped)
    }
}

impl ShareKey {
    /// A new random key, for a new share or a new generation of one.
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn generate() -> Result<Self, VaultError> {
        let mut key = Self([0; 32]);
        random::fill(&mut key.0)?;
        Ok(key)
    }

    /// Wraps a version's key for its row. `generation` counts this share's keys.
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn wrap_file_key(
        &self,
        generation: u32,
        share: ShareId,
        version: VersionId,
        key: &FileKey,
    ) -> Result<WrappedKey, VaultError> {
        WrappedKey::wrap(&file_key_bond(generation, share, version), &self.0, &key.key)
    }

    /// Unwraps a version's key.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] if it was wrapped by another key or generation, or for another
    /// share or version.
    pub fn unwrap_file_key(
        &self,
        generation: u32,
        share: ShareId,
        version: VersionId,
        wrapped: &WrappedKey,
    ) -> Result<FileKey, VaultError> {
        let key = wrapped.unwrap_with(&file_key_bond(generation, share, version), &self.0)?;
        Ok(FileKey { key: *key, used: AtomicU64::new(0) })
    }

    /// The keys for this share's names.
    pub fn names(&self, share: ShareId) -> NameKeys {
        NameKeys {
            share,
            names: Purpose::Name.key_from(&self.0),
            index: MacKey::for_label(&self.0, "name index"),
            aliases: MacKey::for_label(&self.0, "alias index"),
        }
    }
}

impl FileKey {
    /// A new random key for a new version.
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn generate() -> Result<Self, VaultError> {
        let mut key = Self { key: [0; 32], used: AtomicU64::new(0) };
        random::fill(&mut key.key)?;
        Ok(key)
    }

    /// Wraps the key of an extent that this version's map uses.
    ///
    /// # Errors
    /// [`VaultError::Randomness`], [`VaultError::TooManyEncryptions`].
    pub fn wrap_extent_key(
        &self,
        version: VersionId,
        extent: ObjectId,
        key: &ExtentKey,
    ) -> Result<WrappedKey, VaultError> {
        self.count_encryption()?;
        WrappedKey::wrap(&extent_key_bond(version, extent), &self.key, &key.0)
    }

    /// Unwraps an extent's key.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] if it was wrapped by another key, or for another version or extent.
    pub fn unwrap_extent_key(
        &self,
        version: VersionId,
        extent: ObjectId,
        wrapped: &WrappedKey,
    ) -> Result<ExtentKey, VaultError> {
        wrapped.unwrap_with(&extent_key_bond(version, extent), &self.key).map(|key| ExtentKey(*key))
    }

    /// Seals the SHA-256 state of an unfinished upload (it can hold up to 63 bytes of content),
    /// bound to the version and the number of bytes hashed.
    ///
    /// # Errors
    /// [`VaultError::Randomness`], [`VaultError::TooManyEncryptions`].
    pub fn seal_state(&self, version: VersionId, hashed: u64, state: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.count_encryption()?;
        state_bond(version, &hashed.to_be_bytes()).seal(&Purpose::State.key_from(&self.key), state)
    }

    /// Opens what [`FileKey::seal_state`] sealed.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] if it belongs to another key, version or number of bytes;
    /// [`VaultError::Malformed`] if it is too short.
    pub fn open_state(&self, version: VersionId, hashed: u64, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let bond_tail = hashed.to_be_bytes();
        let mut state = state_bond(version, &bond_tail).open(&Purpose::State.key_from(&self.key), sealed)?;
        Ok(std::mem::take(&mut *state))
    }

    /// The key of this version's manifest.
    pub(super) fn manifest_key(&self) -> SmallKey {
        SmallKey::new(&subkey(&self.key, "manifest"))
    }

    /// Counts one encryption under this key, or refuses it.
    pub(super) fn count_encryption(&self) -> Result<(), VaultError> {
        // Saturates at the cap, so that no number of refused calls can wrap it.
        let next = |used| if used < MOST_ENCRYPTIONS { Some(used + 1) } else { None };
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(()),
            Err(_) => Err(VaultError::TooManyEncryptions),
        }
    }
}

impl ExtentKey {
    /// A new random key for a new extent.
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn generate() -> Result<Self, VaultError> {
        let mut key = Self([0; 32]);
        random::fill(&mut key.0)?;
        Ok(key)
    }

    pub(super) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The keys for a share's names: one seals them, another finds them, a third finds their aliases.
pub struct NameKeys {
    share: ShareId,
    names: SmallKey,
    index: MacKey,
    aliases: MacKey,
}

impl NameKeys {
    /// Seals a name, bound to the id of the directory or artifact that bears it.
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn seal_name(&self, entry: [u8; 16], name: &FileName) -> Result<Vec<u8>, VaultError> {
        self.bond(Purpose::Name, entry, &[]).seal(&self.names, name.as_bytes())
    }

    /// Opens a name.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] if it was sealed for another entry, share or key;
    /// [`VaultError::Malformed`] if what was sealed is no name.
    pub fn open_name(&self, entry: [u8; 16], sealed: &[u8]) -> Result<FileName, VaultError> {
        let bond = self.bond(Purpose::Name, entry, &[]);
        let name = bond.open(&self.names, sealed)?;
        FileName::new(&name).map_err(|_| bond.malformed())
    }

    /// What a name is found by in its directory: HMAC-SHA-256 over the parent's id and the name's
    /// NFC form.
    pub fn index(&self, parent: DirectoryId, name: &FileName) -> [u8; 32] {
        let mut mac = self.index.begin();
        mac.update(parent.as_bytes());
        mac.update(&Zeroizing::new(name.folded()));
        mac.finalize().into_bytes().into()
    }

    /// What an alias is found by in its directory: HMAC-SHA-256 over the parent's id and the alias
    /// as [`folded`](tacdrop_model::alias::folded) gives it.
    pub fn alias_index(&self, parent: DirectoryId, alias: &FileName) -> [u8; 32] {
        let mut mac = self.aliases.begin();
        mac.update(parent.as_bytes());
        mac.update(&Zeroizing::new(alias::folded(alias)));
        mac.finalize().into_bytes().into()
    }

    fn bond<'a>(&self, purpose: Purpose, id: [u8; 16], tail: &'a [u8]) -> AadContext<'a> {
        AadContext { purpose, generation: 0, parent: *self.share.as_bytes(), id, tail }
    }
}

impl WrappedKey {
    /// The 60 bytes as they are stored.
    pub const fn as_bytes(&self) -> &[u8; WRAPPED_KEY] {
        &self.0
    }

    fn wrap(bond: &AadContext<'_>, under: &[u8; 32], key: &[u8; 32]) -> Result<Self, VaultError> {
        bond.seal(&bond.purpose.key_from(under), key)?.as_slice().try_into()
    }

    fn unwrap_with(&self, bond: &AadContext<'_>, under: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let opened = bond.open(&bond.purpose.key_from(under), &self.0)?;
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(opened.first_chunk::<32>().ok_or_else(|| bond.malformed())?);
        Ok(key)
    }
}

impl TryFrom<&[u8]> for WrappedKey {
    type Error = VaultError;

    fn try_from(bytes: &[u8]) -> Result<Self, VaultError> {
        Ok(Self(bytes.try_into().map_err(|_| VaultError::Malformed { what: "wrapped key" })?))
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappedKey(..)")
    }
}

fn canary(generation: u32) -> AadContext<'static> {
    AadContext { purpose: Purpose::Canary, generation, parent: NONE, id: NONE, tail: &[] }
}

fn secret_bond(generation: u32, purpose: &str) -> AadContext<'_> {
    AadContext { purpose: Purpose::Secret, generation, parent: NONE, id: NONE, tail: purpose.as_bytes() }
}

fn share_key_bond(generation: u32, share: ShareId, own: Option<&[u8; 4]>) -> AadContext<'_> {
    let tail = own.map_or(&[][..], |own| own);
    AadContext { purpose: Purpose::ShareKey, generation, parent: NONE, id: *share.as_bytes(), tail }
}

fn file_key_bond(generation: u32, share: ShareId, version: VersionId) -> AadContext<'static> {
    AadContext { purpose: Purpose::FileKey, generation, parent: *share.as_bytes(), id: *version.as_bytes(), tail: &[] }
}

fn extent_key_bond(version: VersionId, extent: ObjectId) -> AadContext<'static> {
    let (parent, id) = (*version.as_bytes(), *extent.as_bytes());
    AadContext { purpose: Purpose::ExtentKey, generation: 0, parent, id, tail: &[] }
}

fn state_bond(version: VersionId, hashed: &[u8; 8]) -> AadContext<'_> {
    AadContext { purpose: Purpose::State, generation: 0, parent: NONE, id: *version.as_bytes(), tail: hashed }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
