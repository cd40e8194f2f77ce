//! The one seam to AES-256-GCM (NIST SP 800-38D, 96-bit nonce, 128-bit tag): a faster implementation can be put behind it
//! without a changed byte on disk.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes256Gcm, KeyInit};

use super::VaultError;
use super::random;

/// Bytes of a nonce.
pub(super) const NONCE: usize = 12;
/// Bytes of a tag.
pub(super) const TAG: usize = 16;

/// An expanded AES-256-GCM key; zeroized on drop by the `zeroize` feature of aes-gcm.
pub(super) struct SegmentKey(Aes256Gcm);

impl SegmentKey {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// Encrypts `buffer` in place and gives the tag. Fails only beyond AES-GCM's own limits (64 GiB).
    pub(super) fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], buffer: &mut [u8]) -> Result<[u8; TAG], VaultError> {
        self.0
            .encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(buffer))
            .map(Into::into)
            .map_err(|_| VaultError::Malformed { what: "text to encrypt" })
    }

    /// Decrypts `buffer` in place. What `buffer` holds after a failure is undefined: throw it away.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG],
        what: &'static str,
    ) -> Result<(), VaultError> {
        self.0
            .decrypt_inout_detached(nonce.into(), aad, InOutBuf::from(buffer), tag.into())
            .map_err(|_| VaultError::Tampered { what })
    }

    /// `prefix ‖ nonce ‖ ciphertext ‖ tag` with a fresh random nonce. `prefix` is not encrypted; it is authenticated only
    /// if `aad` says so.
    pub(super) fn seal_to_vec(&self, prefix: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
        let nonce: [u8; NONCE] = random::array()?;
        let text = prefix.len() + NONCE;
        let mut sealed = Vec::with_capacity(text + plaintext.len() + TAG);
        sealed.extend_from_slice(prefix);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let tag = self.seal(&nonce, aad, sealed.split_at_mut(text).1)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// The plaintext of `nonce ‖ ciphertext ‖ tag`.
    pub(super) fn open_to_vec(&self, aad: &[u8], sealed: &[u8], what: &'static str) -> Result<Vec<u8>, VaultError> {
        let (nonce, rest) = sealed.split_first_chunk().ok_or(VaultError::Malformed { what })?;
        let (text, tag) = rest.split_last_chunk().ok_or(VaultError::Malformed { what })?;
        let mut plaintext = text.to_vec();
        self.open(nonce, aad, &mut plaintext, tag, what)?;
        Ok(plaintext)
    }
}
