//! Host keys and the public keys of engineers, as text. No files: the caller reads and writes them.

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, RsaKeypair};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use super::algorithms;

/// The shortest RSA key that may log in, in bits (BSI TR-02102-1 and NIST SP 800-57 have stopped
/// accepting less).
const SHORTEST_RSA: usize = 2048;
/// The length of a new RSA host key, in bits: 128 bits of security (NIST SP 800-57), and old
/// devices take no longer ones.
const RSA_HOST_KEY: usize = 3072;

/// Why a text is no key that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a private key in OpenSSH's format.
    #[error("this is no private key in OpenSSH's format ('-----BEGIN OPENSSH PRIVATE KEY-----')")]
    NotPrivate,
    /// The private key asks for a pass phrase.
    #[error("the host key is protected by a pass phrase; a server needs one without")]
    Encrypted,
    /// A kind of key that must not be the host's.
    #[error("a host key must be Ed25519 or ECDSA P-256")]
    HostAlgorithm,
    /// A kind of key, or a length of it, that must not be the host's on the listener for old
    /// devices.
    #[error("the host key of the legacy listener must be RSA of at least 2048 bits")]
    LegacyHostAlgorithm,
    /// Not one line of a public key.
    #[error("this is no public key; give the one line of a '.pub' file, such as 'ssh-ed25519 AAAA... name'")]
    NotPublic,
    /// A private key where the public one is needed.
    #[error("this is a private key, which must stay with its owner; give the '.pub' file")]
    PrivateGiven,
    /// A kind of key, or a length of it, that cannot log in.
    #[error("a key must be Ed25519, ECDSA or RSA of at least 2048 bits")]
    WeakKey,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
}

/// A new Ed25519 host key, as the text of a file in OpenSSH's format. The text is wiped from memory
/// when it is dropped.
///
/// # Errors
/// [`KeyError::NoRandomness`].
pub fn generate_host_key() -> Result<Zeroizing<String>, KeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|_| KeyError::NoRandomness)?;
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    key.to_openssh(LineEnding::LF).map_err(|_| KeyError::NotPrivate)
}

/// A new RSA host key for the listener for old devices, as [`generate_host_key`]. It takes seconds.
///
/// # Errors
/// [`KeyError::NoRandomness`].
pub fn generate_legacy_host_key() -> Result<Zeroizing<String>, KeyError> {
    let pair = RsaKeypair::random(&mut russh::keys::key::safe_rng(), RSA_HOST_KEY);
    let key = PrivateKey::from(pair.map_err(|_| KeyError::NoRandomness)?);
    key.to_openssh(LineEnding::LF).map_err(|_| KeyError::NotPrivate)
}

/// Reads the host key of the listener for old devices from the text of its file.
///
/// # Errors
/// The [`KeyError`]s about private and host keys.
pub fn parse_legacy_host_key(text: &str) -> Result<PrivateKey, KeyError> {
    let key = private_key(text)?;
    if !algorithms::accepts_legacy_host_key(key.public_key()) {
        return Err(KeyError::LegacyHostAlgorithm);
    }
    Ok(key)
}

fn private_key(text: &str) -> Result<PrivateKey, KeyError> {
    let key = PrivateKey::from_openssh(text).map_err(|_| KeyError::NotPrivate)?;
    if key.is_encrypted() { Err(KeyError::Encrypted) } else { Ok(key) }
}

/// Reads a host key from the text of its file.
///
/// # Errors
/// The [`KeyError`]s about private and host keys.
pub fn parse_host_key(text: &str) -> Result<PrivateKey, KeyError> {
    let key = private_key(text)?;
    if !algorithms::accepts_host_key(&key.algorithm()) {
        return Err(KeyError::HostAlgorithm);
    }
    Ok(key)
}

/// The fingerprint of a host key as OpenSSH shows it: `SHA256:` and base64.
pub fn fingerprint(key: &PrivateKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// The fingerprint (`SHA256:` and base64) and the kind (`ssh-ed25519`, ...) of an engineer's public
/// key, given as the one line of its `.pub` file or of `authorized_keys` without options.
///
/// # Errors
/// The [`KeyError`]s about public keys.
pub fn key_fingerprint(authorized_keys_line: &str) -> Result<(String, String), KeyError> {
    let text = authorized_keys_line.trim();
    if text.contains("PRIVATE KEY") {
        return Err(KeyError::PrivateGiven);
    }
    if text.contains('\n') {
        return Err(KeyError::NotPublic);
    }
    let key = PublicKey::from_openssh(text).map_err(|_| KeyError::NotPublic)?;
    if !is_strong(&key) {
        return Err(KeyError::WeakKey);
    }
    Ok((fingerprint_of(&key), key.algorithm().to_string()))
}

pub(crate) fn fingerprint_of(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Whether a key may log in, whatever it is registered for.
pub(crate) fn is_strong(key: &PublicKey) -> bool {
    match (key.algorithm(), key.key_data()) {
        (Algorithm::Ed25519 | Algorithm::Ecdsa { .. }, _) => true,
        (_, KeyData::Rsa(rsa)) => rsa.key_size() as usize >= SHORTEST_RSA,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f somebody@example";

    #[test]
    fn a_host_key_survives_its_text() {
        let text = generate_host_key().unwrap();
        let key = parse_host_key(&text).unwrap();
        assert!(text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        assert_eq!(key.algorithm(), Algorithm::Ed25519);
        assert!(fingerprint(&key).starts_with("SHA256:") && fingerprint(&key).len() == 50);
        assert_ne!(fingerprint(&key), fingerprint(&parse_host_key(&generate_host_key().unwrap()).unwrap()));
        let line = key.public_key().to_openssh().unwrap();
        assert_eq!(key_fingerprint(&line), Ok((fingerprint(&key), "ssh-ed25519".to_owned())));
    }

    #[test]
    fn r44_each_listener_takes_its_own_kind_of_host_key() {
        let (main, legacy) = (generate_host_key().unwrap(), generate_legacy_host_key().unwrap());
        let key = parse_legacy_host_key(&legacy).unwrap();
        assert!(matches!(key.public_key().key_data(), KeyData::Rsa(rsa) if rsa.key_size() == 3072));
        assert_eq!(parse_host_key(&legacy).err(), Some(KeyError::HostAlgorithm));
        assert_eq!(parse_legacy_host_key(&main).err(), Some(KeyError::LegacyHostAlgorithm));
        assert_eq!(parse_legacy_host_key("hello").err(), Some(KeyError::NotPrivate));
    }

    #[test]
    fn what_is_no_key_is_refused_with_a_reason() {
        assert_eq!(parse_host_key("hello").err(), Some(KeyError::NotPrivate));
        assert_eq!(parse_host_key(PUBLIC).err(), Some(KeyError::NotPrivate));
        assert_eq!(key_fingerprint(&generate_host_key().unwrap()), Err(KeyError::PrivateGiven));
        for bad in ["", "ssh-ed25519", "ssh-ed25519 AAAA", "# comment", &format!("{PUBLIC}\n{PUBLIC}")] {
            assert_eq!(key_fingerprint(bad), Err(KeyError::NotPublic), "{bad}");
        }
        assert!(key_fingerprint(&format!("  {PUBLIC}\n")).is_ok());
    }
}
