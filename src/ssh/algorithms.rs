//! What is agreed on with a client: the profiles `modern` and `legacy`. Only the door uses it.
//!
//! `modern`: no SHA-1, no CBC, no NIST key exchange, no compression. The two extension names of
//! each kind let russh answer `server-sig-algs` (RFC 8308) and enforce the strict key exchange that
//! stops the Terrapin attack.
//!
//! `legacy`: what devices need that learn nothing new: group14 and group exchange with SHA-1,
//! `ssh-rsa`, CBC, HMAC-SHA-1. Nothing with group1, 3DES, MD5 or DSA, and no MAC of the kind
//! encrypt-then-MAC: with CBC that is Terrapin's way in (CVE-2023-48795), and a client that has it
//! has a better cipher as well.

use std::borrow::Cow;

use russh::client::GexParams;
use russh::kex::dh::groups::{DH_GROUP14, DH_GROUP15, DH_GROUP16, DhGroup};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};
use russh::{Preferred, cipher, compression, kex, mac};

/// The algorithms that are offered, best first. Of the keys only those are offered for the host
/// that there is a host key of; the whole list is what clients may sign with.
pub(crate) fn modern() -> Preferred {
    Preferred {
        kex: Cow::Borrowed(&[
            kex::MLKEM768X25519_SHA256,
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::DH_G16_SHA512,
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
        // The last two are for libssh2 before 1.11 (the curl of Debian 12), which knows neither etm
        // nor AES-GCM.
        mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512]),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

/// What is offered where sessions run: `modern` without the key exchanges that cost much.
pub(crate) fn usual() -> Preferred {
    let modern = modern();
    Preferred { kex: modern.kex.iter().filter(|name| !is_dear(name.as_ref())).copied().collect(), ..modern }
}

/// Whether a key exchange keeps a processor busy for long: those over finite fields do, by their
/// numbers of thousands of bits. The others take less than a millisecond.
fn is_dear(name: &str) -> bool {
    name.starts_with("diffie-hellman-")
}

/// Whether a client that knows these key exchanges, separated by commas, needs one that costs much.
pub(crate) fn are_all_dear(names: &[u8]) -> bool {
    let (modern, usual) = (modern(), usual());
    let knows = |offered: &Preferred| {
        names.split(|byte| *byte == b',').any(|name| offered.kex.iter().any(|own| own.as_ref().as_bytes() == name))
    };
    knows(&modern) && !knows(&usual)
}

/// The algorithms of the listener for old devices, best first. Its list of key exchanges is short:
/// old clients have trouble with long ones.
pub(crate) fn legacy() -> Preferred {
    Preferred {
        kex: Cow::Borrowed(&[
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::DH_G16_SHA512,
            kex::DH_G14_SHA256,
            kex::DH_GEX_SHA256,
            kex::DH_G14_SHA1,
            kex::DH_GEX_SHA1,
            kex::EXTENSION_SUPPORT_AS_SERVER,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
        ]),
        key: Cow::Borrowed(&[
            Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
            Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
            Algorithm::Rsa { hash: None },
        ]),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(&[
            cipher::AES_256_GCM,
            cipher::AES_128_GCM,
            cipher::AES_256_CTR,
            cipher::AES_192_CTR,
            cipher::AES_128_CTR,
            cipher::AES_256_CBC,
            cipher::AES_192_CBC,
            cipher::AES_128_CBC,
        ]),
        mac: Cow::Borrowed(&[mac::HMAC_SHA256, mac::HMAC_SHA512, mac::HMAC_SHA1]),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

/// The group for a client that asks for one (RFC 4419, section 3): the smallest that is not smaller
/// than what it prefers, or else the largest that it takes. Never below 2048 bits; none if it takes
/// only less. A larger group than it prefers costs an old processor tens of seconds, and one of
/// more than 4096 bits costs this one too much for what it protects.
pub(crate) fn group_for(wanted: &GexParams) -> Option<DhGroup> {
    let fits = |group: &&DhGroup| (wanted.min_group_size()..=wanted.max_group_size()).contains(&group.bit_size());
    let groups = [&DH_GROUP14, &DH_GROUP15, &DH_GROUP16];
    let enough = |group: &&DhGroup| group.bit_size() >= wanted.preferred_group_size();
    groups.into_iter().filter(fits).find(enough).or_else(|| groups.into_iter().rfind(fits)).cloned()
}

/// Whether a client may prove a key with this signature algorithm.
pub(crate) fn accepts_signature(algorithm: &Algorithm) -> bool {
    modern().key.contains(algorithm)
}

/// Whether this kind of key may be the host's: Ed25519, and ECDSA on P-256 for old clients.
pub(crate) fn accepts_host_key(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Ed25519 | Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 })
}

/// The shortest RSA host key, in bits. A new one has 3072.
const SHORTEST_RSA_HOST_KEY: u32 = 2048;

/// Whether a key may be the host's on the listener for old devices: RSA, as it is all that they
/// know.
pub(crate) fn accepts_legacy_host_key(key: &PublicKey) -> bool {
    matches!(key.key_data(), KeyData::Rsa(rsa) if rsa.key_size() >= SHORTEST_RSA_HOST_KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r44_legacy_has_what_old_devices_need_and_nothing_worse() {
        let offered = legacy();
        let kex: Vec<&str> = offered.kex.iter().map(AsRef::as_ref).collect();
        let ciphers: Vec<&str> = offered.cipher.iter().map(AsRef::as_ref).collect();
        let macs: Vec<&str> = offered.mac.iter().map(AsRef::as_ref).collect();
        let keys: Vec<String> = offered.key.iter().map(ToString::to_string).collect();
        for name in
            ["diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1", "kex-strict-s-v00@openssh.com"]
        {
            assert!(kex.contains(&name), "{name}");
        }
        for name in ["aes128-ctr", "aes256-ctr", "aes128-cbc", "aes192-cbc", "aes256-cbc"] {
            assert!(ciphers.contains(&name), "{name}");
        }
        assert!(macs.contains(&"hmac-sha1"));
        assert_eq!(keys, ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]);
        // CBC with encrypt-then-MAC cannot be agreed on, whatever the client has.
        assert!(macs.iter().all(|name| !name.contains("etm")), "{macs:?}");
        for worse in ["group1-", "3des", "md5", "arcfour", "none", "sha1-96"] {
            assert!([&kex[..], &ciphers, &macs].concat().iter().all(|name| !name.contains(worse)), "{worse}");
        }
    }

    #[test]
    fn r44_a_device_gets_the_group_that_it_asks_for() {
        // GexParams refuses a client's own minimum below 2048, which IOS 16 has by default.
        for (wanted, bits) in [
            ((2048, 2048, 2048), Some(2048)),
            ((2048, 2048, 4096), Some(2048)),
            ((2048, 3072, 4096), Some(3072)),
            ((2048, 7680, 8192), Some(4096)),
            ((2048, 7680, 7680), Some(4096)),
            ((2049, 2049, 3000), None),
        ] {
            let params = GexParams::new(wanted.0, wanted.1, wanted.2).unwrap();
            assert_eq!(group_for(&params).map(|group| group.bit_size()), bits, "{wanted:?}");
        }
    }

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
    fn where_sessions_run_no_key_exchange_costs_much() {
        let names = |offered: &Preferred| offered.kex.iter().map(|name| name.as_ref().to_owned()).collect::<Vec<_>>();
        let (modern, usual) = (names(&modern()), names(&usual()));
        assert!(usual.iter().all(|name| !is_dear(name) && modern.contains(name)), "{usual:?}");
        assert!(modern.iter().all(|name| is_dear(name) || usual.contains(name)), "{modern:?}");
        for (knows, needs_dear) in [
            ("diffie-hellman-group16-sha512", true),
            ("ecdh-sha2-nistp256,diffie-hellman-group16-sha512,ext-info-c,kex-strict-c-v00@openssh.com", true),
            ("diffie-hellman-group16-sha512,curve25519-sha256", false),
            ("mlkem768x25519-sha256", false),
            // Nothing in common: refused wherever it comes.
            ("diffie-hellman-group18-sha512,ecdh-sha2-nistp256", false),
            ("", false),
            (",,,", false),
        ] {
            assert_eq!(are_all_dear(knows.as_bytes()), needs_dear, "{knows}");
        }
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
