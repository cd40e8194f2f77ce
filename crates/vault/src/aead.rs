//! The one seam to AES-256-GCM (NIST SP 800-38D, 96-bit nonce, 128-bit tag). Two libraries fit
//! behind it and make the same bytes. Content goes through AWS-LC, which is in the tree for SSH and
//! TLS and takes a third of the time (`docs/benchmarks.md`); without the feature `aws-lc-content`
//! it goes through the aes-gcm crate, as everything small does: wrapped keys, names, manifests.

use super::VaultError;
use super::random;

/// Bytes of a nonce.
pub(super) const NONCE: usize = 12;
/// Bytes of a tag.
pub(super) const TAG: usize = 16;

/// A key for segments of content.
#[cfg(feature = "aws-lc-content")]
pub(super) type SegmentKey = AeadKey<aws_lc::Cipher>;
/// A key for segments of content.
#[cfg(not(feature = "aws-lc-content"))]
pub(super) type SegmentKey = AeadKey<rust_crypto::Cipher>;
/// A key for wrapped keys, names, manifests and whatever else is small.
pub(super) type SmallKey = AeadKey<rust_crypto::Cipher>;

/// A library says no more than this.
#[derive(Debug)]
pub(super) struct Failed;

/// What a library offers.
pub(super) trait Cipher {
    fn new(key: &[u8; 32]) -> Self;

    /// Encrypts in place and gives the tag.
    fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], text: &mut [u8]) -> Result<[u8; TAG], Failed>;

    /// Decrypts `ciphertext ‖ tag` in place.
    fn open(&self, nonce: &[u8; NONCE], aad: &[u8], sealed: &mut [u8]) -> Result<(), Failed>;
}

/// The aes-gcm crate: pure Rust, and wiped when dropped (its feature `zeroize`).
mod rust_crypto {
    use aes_gcm::aead::AeadInOut;
    use aes_gcm::aead::inout::InOutBuf;
    use aes_gcm::{Aes256Gcm, KeyInit};

    use super::{Failed, NONCE, TAG};

    pub(crate) struct Cipher(Aes256Gcm);

    impl super::Cipher for Cipher {
        fn new(key: &[u8; 32]) -> Self {
            Self(Aes256Gcm::new(key.into()))
        }

        fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], text: &mut [u8]) -> Result<[u8; TAG], Failed> {
            let sealed = self.0.encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(text));
            sealed.map(Into::into).map_err(|_| Failed)
        }

        fn open(&self, nonce: &[u8; NONCE], aad: &[u8], sealed: &mut [u8]) -> Result<(), Failed> {
            let (text, tag) = sealed.split_last_chunk_mut::<TAG>().ok_or(Failed)?;
            let opened = self.0.decrypt_inout_detached(nonce.into(), aad, InOutBuf::from(text), (&*tag).into());
            opened.map_err(|_| Failed)
        }
    }
}

/// AWS-LC: assembly for each generation of processors. It cleanses the memory of a key when it
/// frees it.
#[cfg(any(test, feature = "aws-lc-content"))]
mod aws_lc {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    use aws_lc_rs::error::Unspecified;

    use super::{Failed, NONCE, TAG};

    /// A key that the library would not take (it has a wrong length, or there is no memory) fails
    /// at its first use.
    pub(crate) struct Cipher(Result<LessSafeKey, Unspecified>);

    impl super::Cipher for Cipher {
        fn new(key: &[u8; 32]) -> Self {
            Self(UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new))
        }

        fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], text: &mut [u8]) -> Result<[u8; TAG], Failed> {
            let key = self.0.as_ref().map_err(|_| Failed)?;
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), text).map_err(|_| Failed)?;
            tag.as_ref().try_into().map_err(|_| Failed)
        }

        fn open(&self, nonce: &[u8; NONCE], aad: &[u8], sealed: &mut [u8]) -> Result<(), Failed> {
            let key = self.0.as_ref().map_err(|_| Failed)?;
            let nonce = Nonce::assume_unique_for_key(*nonce);
            key.open_in_place(nonce, Aad::from(aad), sealed).map(|_| ()).map_err(|_| Failed)
        }
    }
}

/// An expanded AES-256-GCM key, wiped by its library when dropped.
pub(super) struct AeadKey<C>(C);

impl<C: Cipher> AeadKey<C> {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(C::new(key))
    }

    /// Encrypts `buffer` in place and gives the tag. Fails only beyond AES-GCM's own limits (64
    /// GiB).
    pub(super) fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], buffer: &mut [u8]) -> Result<[u8; TAG], VaultError> {
        self.0.seal(nonce, aad, buffer).map_err(|_| VaultError::Malformed { what: "text to encrypt" })
    }

    /// Decrypts `ciphertext ‖ tag` in place: all but the last [`TAG`] bytes are the text then. What
    /// `sealed` holds after a failure is undefined: throw it away.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        sealed: &mut [u8],
        what: &'static str,
    ) -> Result<(), VaultError> {
        self.0.open(nonce, aad, sealed).map_err(|_| VaultError::Tampered { what })
    }

    /// `prefix ‖ nonce ‖ ciphertext ‖ tag` with a fresh random nonce. `prefix` is not encrypted; it
    /// is authenticated only if `aad` says so.
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
        let text = rest.len().checked_sub(TAG).ok_or(VaultError::Malformed { what })?;
        let mut plaintext = rest.to_vec();
        self.open(nonce, aad, &mut plaintext, what)?;
        plaintext.truncate(text);
        Ok(plaintext)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What one library sealed the other opens, and neither takes what was changed.
        #[test]
        fn r08_both_libraries_make_the_same_bytes(
            key in any::<[u8; 32]>(), nonce in any::<[u8; NONCE]>(), aad in prop::collection::vec(any::<u8>(), 0..20),
            text in prop::collection::vec(any::<u8>(), 0..5000), at in any::<prop::sample::Index>(),
        ) {
            let (one, other) = (rust_crypto::Cipher::new(&key), aws_lc::Cipher::new(&key));
            let (mut sealed, mut same) = (text.clone(), text.clone());
            let tag = one.seal(&nonce, &aad, &mut sealed).unwrap();
            prop_assert_eq!(tag, other.seal(&nonce, &aad, &mut same).unwrap());
            prop_assert_eq!(&sealed, &same);
            sealed.extend_from_slice(&tag);
            let (mut by_one, mut by_other, mut changed) = (sealed.clone(), sealed.clone(), sealed);
            one.open(&nonce, &aad, &mut by_one).unwrap();
            other.open(&nonce, &aad, &mut by_other).unwrap();
            prop_assert_eq!(&by_one[..text.len()], &text[..]);
            prop_assert_eq!(&by_other[..text.len()], &text[..]);
            let at = at.index(changed.len());
            changed[at] ^= 1;
            prop_assert!(one.open(&nonce, &aad, &mut changed.clone()).is_err());
            prop_assert!(other.open(&nonce, &aad, &mut changed).is_err());
            prop_assert!(one.open(&nonce, &aad, &mut [0; TAG - 1]).is_err());
            prop_assert!(other.open(&nonce, &aad, &mut [0; TAG - 1]).is_err());
        }
    }
}
