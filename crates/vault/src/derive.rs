//! Keys from keys: the first block of HKDF-Expand (RFC 5869, section 2.3), which is all that is
//! ever needed here.
//!
//! The `hkdf` crate refuses a pseudorandom key that is shorter than the hash (FLOE asks for
//! HKDF-Expand-SHA-384 with a 32-byte key), so this stands on HMAC; a test compares the two where
//! both can answer.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha384};
use zeroize::Zeroizing;

/// Comes before every label of this format.
const DOMAIN: &[u8] = b"tacdrop/1 ";

/// HKDF-Expand-SHA-256(`key`, "tacdrop/1 " ‖ `label`, 32).
pub(super) fn subkey(key: &[u8; 32], label: &str) -> Zeroizing<[u8; 32]> {
    let mut mac = hmac_sha256(key);
    mac.update(DOMAIN);
    mac.update(label.as_bytes());
    mac.update(&[1]);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// HMAC-SHA-256 under one 32-byte key that is used again and again: the two blocks of the key are
/// hashed once. Of the six blocks that the MAC of a short text takes, with the derivation of its key
/// ten, that leaves two.
#[derive(Clone)]
pub(super) struct MacKey(Hmac<Sha256>);

impl MacKey {
    /// The key for `label` under `key`.
    pub(super) fn for_label(key: &[u8; 32], label: &str) -> Self {
        Self(hmac_sha256(&subkey(key, label)))
    }

    /// A MAC that has seen nothing yet.
    pub(super) fn begin(&self) -> Hmac<Sha256> {
        self.0.clone()
    }
}

/// HMAC-SHA-256 under a 32-byte key. (HMAC pads a short key with zeros to the hash's block.)
pub(super) fn hmac_sha256(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    Hmac::new((&*block).into())
}

/// HKDF-Expand-SHA-384(`key`, the concatenated `info`, 48), for keys of at most 128 bytes; shorter
/// outputs are prefixes.
pub(super) fn expand_sha384<const N: usize>(key: &[u8; N], info: &[&[u8]]) -> Zeroizing<[u8; 48]> {
    const { assert!(N <= 128) };
    let mut block = Zeroizing::new([0; 128]);
    block[..N].copy_from_slice(key);
    let mut mac: Hmac<Sha384> = Hmac::new((&*block).into());
    for part in info {
        mac.update(part);
    }
    mac.update(&[1]);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_block_of_hkdf_expand_equals_the_hkdf_crate() {
        let mut expected = [0; 32];
        let hkdf = hkdf::Hkdf::<Sha256>::from_prk(&[7; 32]).unwrap();
        hkdf.expand(b"tacdrop/1 manifest", &mut expected).unwrap();
        assert_eq!(*subkey(&[7; 32], "manifest"), expected);

        let mut expected = [0; 48];
        let hkdf = hkdf::Hkdf::<Sha384>::from_prk(&[9; 48]).unwrap();
        hkdf.expand(b"some info", &mut expected).unwrap();
        assert_eq!(*expand_sha384(&[9; 48], &[b"some ", b"info"]), expected);
    }
}
