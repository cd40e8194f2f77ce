//! What is agreed on with a client: the profile `modern` of `doors.md`. Only `mod` uses it.
//!
//! No SHA-1, no CBC, no NIST key exchange, no compression. The two extension names of each kind let russh answer
//! `server-sig-algs` (RFC 8308) and enforce the strict key exchange that stops the Terrapin attack.

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, compression, kex, mac};

/// The algorithms that are offered, best first. Of the keys only those are offered for the host that there is a host
/// key of; the whole list is what clients may sign with.
pub(crate) fn modern() -> Preferred {
    Preferred {
        kex: Cow::Borrowed(&[
            kex::MLKEM768X25519_SHA256,
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::DH_G16_SHA512,
            kex::DH_G18_SHA512,
            kex::EXTENSION_SUPPORT_AS_SERVER,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
        ]),
        key: Cow::Borrowed(&[
            Algorithm::Ed25519,
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
            Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
            Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
        ]),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(&[
            cipher::AES_256_GCM,
            cipher::AES_128_GCM,
            cipher::CHACHA20_POLY1305,
            cipher::AES_256_CTR,
        ]),
        // The last two are for libssh2 before 1.11 (the curl of Debian 12), which knows neither etm nor AES-GCM.
        mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512]),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

/// Whether a client may prove a key with this signature algorithm.
pub(crate) fn accepts_signature(algorithm: &Algorithm) -> bool {
    modern().key.contains(algorithm)
}

/// Whether this kind of key may be the host's: Ed25519, and ECDSA on P-256 for old clients.
pub(crate) fn accepts_host_key(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Ed25519 | Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r40_nothing_weak_is_offered() {
        let offered = modern();
        let names: Vec<String> = [
            offered.kex.iter().map(|name| name.as_ref().to_owned()).collect::<Vec<_>>(),
            offered.key.iter().map(ToString::to_string).collect(),
            offered.cipher.iter().map(|name| name.as_ref().to_owned()).collect(),
            offered.mac.iter().map(|name| name.as_ref().to_owned()).collect(),
            offered.compression.iter().map(|name| name.as_ref().to_owned()).collect(),
        ]
        .concat();
        for name in &names {
            for weak in ["sha1", "cbc", "3des", "ssh-rsa", "ssh-dss", "zlib", "group14", "group1-", "md5", "ecdh-sha2"]
            {
                assert!(!name.contains(weak), "{name}");
            }
        }
        assert!(names.iter().any(|name| name == "kex-strict-s-v00@openssh.com"));
        assert_eq!(offered.compression.len(), 1);
    }

    #[test]
    fn r40_a_sha1_signature_is_not_accepted() {
        assert!(!accepts_signature(&Algorithm::Rsa { hash: None }));
        assert!(!accepts_signature(&Algorithm::Dsa));
        assert!(accepts_signature(&Algorithm::Rsa { hash: Some(HashAlg::Sha256) }));
        assert!(accepts_signature(&Algorithm::Ed25519));
        assert!(!accepts_host_key(&Algorithm::Rsa { hash: Some(HashAlg::Sha512) }));
    }
}
