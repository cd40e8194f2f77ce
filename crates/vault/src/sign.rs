//! Ed25519 (RFC 8032): what the server says under its own name, e.g. receipts. Plain signatures,
//! and OpenSSH's `sshsig` form, which anybody with `ssh-keygen` checks offline.
//!
//! A key is for one purpose only, and is kept in the keyring under that purpose
//! ([`super::Kek::wrap_secret`]).

use base64ct::{Base64, Encoding};
use ed25519_dalek::Signer;
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

use super::{VaultError, random};

/// Bytes of a secret key (RFC 8032, section 5.1.5: the seed) and of a public one.
pub const SIGNING_KEY: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE: usize = 64;

/// The name of the algorithm in SSH (RFC 8709, section 4).
const SSH_ALGORITHM: &[u8] = b"ssh-ed25519";
/// What `sshsig` begins with (PROTOCOL.sshsig of OpenSSH).
const SSHSIG: &[u8; 6] = b"SSHSIG";
const SSHSIG_VERSION: u32 = 1;
const SSHSIG_HASH: &[u8] = b"sha512";
const ARMOR_BEGIN: &str = "-----BEGIN SSH SIGNATURE-----\n";
const ARMOR_END: &str = "-----END SSH SIGNATURE-----\n";
/// Letters on a line of an armored signature, as `ssh-keygen` breaks them.
const ARMOR_LINE: usize = 70;

/// A secret key for signing. Wiped when dropped; no `Debug`, `Clone`, comparison or serialisation
/// (R13).
pub struct SigningKey(ed25519_dalek::SigningKey);

/// The public half of a [`SigningKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; SIGNING_KEY]);

impl SigningKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn generate() -> Result<Self, VaultError> {
        let mut seed = Zeroizing::new([0; SIGNING_KEY]);
        random::fill(&mut seed[..])?;
        Ok(Self::from_bytes(&seed))
    }

    /// The key as it came from the keyring.
    pub fn from_bytes(seed: &[u8; SIGNING_KEY]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The key for [`super::Kek::wrap_secret`].
    pub fn to_secret_bytes(&self) -> Zeroizing<[u8; SIGNING_KEY]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`. The same message gives the same bytes. Whoever signs texts of several kinds
    /// with one key begins each with what it is.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE] {
        self.0.sign(message).to_bytes()
    }

    /// Signs `message` in OpenSSH's `sshsig` format, version 1, hash sha512, armored and with a
    /// line break at the end. `ssh-keygen -Y verify` takes it with the same `namespace`, which says
    /// what the signature is for and must not be empty. The same message gives the same bytes.
    pub fn sign_ssh(&self, namespace: &str, message: &[u8]) -> String {
        let mut signed = SSHSIG.to_vec();
        push_purpose(&mut signed, namespace);
        push_string(&mut signed, &Sha512::digest(message));

        let mut signature = Vec::new();
        push_string(&mut signature, SSH_ALGORITHM);
        push_string(&mut signature, &self.sign(&signed));

        let mut blob = SSHSIG.to_vec();
        blob.extend_from_slice(&SSHSIG_VERSION.to_be_bytes());
        push_string(&mut blob, &self.public().ssh_blob());
        push_purpose(&mut blob, namespace);
        push_string(&mut blob, &signature);

        let mut armored = ARMOR_BEGIN.to_owned();
        for (n, letter) in Base64::encode_string(&blob).chars().enumerate() {
            if n > 0 && n % ARMOR_LINE == 0 {
                armored.push('\n');
            }
            armored.push(letter);
        }
        armored.push('\n');
        armored.push_str(ARMOR_END);
        armored
    }
}

impl PublicKey {
    /// A public key as it was published.
    ///
    /// # Errors
    /// [`VaultError::Malformed`] if the bytes are no point of the curve.
    pub fn from_bytes(bytes: &[u8; SIGNING_KEY]) -> Result<Self, VaultError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes);
        key.map(|_| Self(*bytes)).map_err(|_| VaultError::Malformed { what: "public key" })
    }

    /// The bytes of the key (RFC 8032, section 5.1.5).
    pub const fn as_bytes(&self) -> &[u8; SIGNING_KEY] {
        &self.0
    }

    /// Proves that [`SigningKey::sign`] made `signature` of `message` with the secret half.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] if it did not.
    pub fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE]) -> Result<(), VaultError> {
        ed25519_dalek::VerifyingKey::from_bytes(&self.0)
            .and_then(|key| key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)))
            .map_err(|_| VaultError::Tampered { what: "signed text" })
    }

    /// Proves that [`SigningKey::sign_ssh`] made `armored` of `message` for `namespace` with the
    /// secret half. How its lines are broken does not matter.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] if it did not.
    pub fn verify_ssh(&self, namespace: &str, message: &[u8], armored: &str) -> Result<(), VaultError> {
        let tampered = || VaultError::Tampered { what: "signed text" };
        let letters = armored.trim().strip_prefix(ARMOR_BEGIN.trim_end());
        let letters = letters.and_then(|rest| rest.strip_suffix(ARMOR_END.trim_end())).ok_or_else(tampered)?;
        let letters: String = letters.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
        let blob = Base64::decode_vec(&letters).map_err(|_| tampered())?;
        let (head, signature) = blob.split_last_chunk::<SIGNATURE>().ok_or_else(tampered)?;
        // All ahead of the signature's own bytes is known beforehand.
        let mut string = Vec::new();
        push_string(&mut string, SSH_ALGORITHM);
        push_string(&mut string, signature);
        let mut wanted = SSHSIG.to_vec();
        wanted.extend_from_slice(&SSHSIG_VERSION.to_be_bytes());
        push_string(&mut wanted, &self.ssh_blob());
        push_purpose(&mut wanted, namespace);
        push_string(&mut wanted, &string);
        if wanted.strip_suffix(signature) != Some(head) {
            return Err(tampered());
        }
        let mut signed = SSHSIG.to_vec();
        push_purpose(&mut signed, namespace);
        push_string(&mut signed, &Sha512::digest(message));
        self.verify(&signed, signature)
    }

    /// `ssh-ed25519 BASE64`, as it stands in `.pub`, `authorized_keys` and, behind a principal,
    /// `allowed_signers` files.
    pub fn ssh_line(&self) -> String {
        format!("ssh-ed25519 {}", Base64::encode_string(&self.ssh_blob()))
    }

    /// The key as SSH sends it (RFC 8709, section 4).
    fn ssh_blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        push_string(&mut blob, SSH_ALGORITHM);
        push_string(&mut blob, &self.0);
        blob
    }
}

/// How long [`SigningKey::sign_ssh`] makes its text, in bytes.
pub fn ssh_signature_length(namespace: &str) -> usize {
    let string = |bytes: usize| 4 + bytes;
    let key = string(SSH_ALGORITHM.len()) + string(SIGNING_KEY);
    let signature = string(SSH_ALGORITHM.len()) + string(SIGNATURE);
    let purpose = string(namespace.len()) + string(0) + string(SSHSIG_HASH.len());
    let letters = (SSHSIG.len() + 4 + string(key) + purpose + string(signature)).div_ceil(3) * 4;
    let breaks = letters.div_ceil(ARMOR_LINE);
    ARMOR_BEGIN.len() + letters + breaks + ARMOR_END.len()
}

/// Namespace, reserved string and hash: what a signature and what it signs have in common.
fn push_purpose(into: &mut Vec<u8>, namespace: &str) {
    push_string(into, namespace.as_bytes());
    push_string(into, b"");
    push_string(into, SSHSIG_HASH);
}

/// SSH's `string` (RFC 4251, section 5). Everything here is short: a name, a key, a hash, a
/// signature.
fn push_string(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    into.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_first_vector_of_rfc_8032() {
        let key = SigningKey::from_bytes(&bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
        assert_eq!(
            hex::encode(key.public().as_bytes()),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert_eq!(
            hex::encode(key.sign(b"")),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        );
    }

    /// The bytes that `ssh-keygen -Y sign -n tacdrop-receipt` of OpenSSH 9.2 made with this key.
    #[test]
    fn r17_the_signature_that_openssh_makes() {
        let key = SigningKey::from_bytes(&bytes("49b4c39651d5417e4ee48d38f6d37a4f114612d6ceb21aecad46ab7f658a99be"));
        assert_eq!(
            key.public().ssh_line(),
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILWD4ra+ILNDKf9CNScDDbJpThepprWE+NxmDPtfQ+NK"
        );
        assert_eq!(
            key.sign_ssh("tacdrop-receipt", b"tacdrop signs this\n"),
            "-----BEGIN SSH SIGNATURE-----\n\
             U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgtYPitr4gs0Mp/0I1JwMNsmlOF6\n\
             mmtYT43GYM+19D40oAAAAPdGFjZHJvcC1yZWNlaXB0AAAAAAAAAAZzaGE1MTIAAABTAAAA\n\
             C3NzaC1lZDI1NTE5AAAAQA4qJTcpkpKI+o3gwQtcVqp+foAI/QeSQzzc4KPv3Qvsvk0vrG\n\
             7jUfcOwqRyYh2p9w/BHLhU9F4MoCVZLWxOgQM=\n\
             -----END SSH SIGNATURE-----\n"
        );
    }

    #[test]
    fn r17_a_signature_in_openssh_s_form_holds_for_its_text_key_and_purpose_only() {
        let key = SigningKey::from_bytes(&[3; SIGNING_KEY]);
        let (public, text) = (key.public(), b"what is signed\n");
        let armored = key.sign_ssh("receipt", text);
        public.verify_ssh("receipt", text, &armored).unwrap();
        public.verify_ssh("receipt", text, &armored.replace('\n', "\r\n")).unwrap();
        let tampered = Err(VaultError::Tampered { what: "signed text" });
        assert_eq!(public.verify_ssh("receipt", b"something else", &armored), tampered);
        assert_eq!(public.verify_ssh("other", text, &armored), tampered);
        assert_eq!(SigningKey::from_bytes(&[4; SIGNING_KEY]).public().verify_ssh("receipt", text, &armored), tampered);
        for wrong in ["", "x", ARMOR_BEGIN, &armored[1..], &armored[..armored.len() - 2]] {
            assert_eq!(public.verify_ssh("receipt", text, wrong), tampered, "{wrong}");
        }
        for at in ARMOR_BEGIN.len()..armored.len() - ARMOR_END.len() {
            let mut changed = armored.clone().into_bytes();
            if changed[at] == b'\n' {
                continue;
            }
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(public.verify_ssh("receipt", text, &changed), tampered, "letter {at}");
        }
    }

    #[test]
    fn the_length_of_a_signature_is_known_beforehand() {
        let key = SigningKey::from_bytes(&[1; SIGNING_KEY]);
        for length in 1..100 {
            let namespace = "n".repeat(length);
            assert_eq!(key.sign_ssh(&namespace, b"").len(), ssh_signature_length(&namespace), "{length}");
        }
    }

    #[test]
    fn a_signature_holds_for_its_text_and_key_only() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_bytes(&key.to_secret_bytes());
        let signature = again.sign(b"text");
        let public = PublicKey::from_bytes(key.public().as_bytes()).unwrap();
        public.verify(b"text", &signature).unwrap();
        let tampered = Err(VaultError::Tampered { what: "signed text" });
        assert_eq!(public.verify(b"texT", &signature), tampered);
        assert_eq!(SigningKey::generate().unwrap().public().verify(b"text", &signature), tampered);
        for n in 0..SIGNATURE {
            let mut changed = signature;
            changed[n] ^= 1;
            assert_eq!(public.verify(b"text", &changed), tampered, "byte {n}");
        }
        let off_the_curve =
            (0..=u8::MAX).map(|byte| [byte; SIGNING_KEY]).find(|key| PublicKey::from_bytes(key).is_err());
        assert!(off_the_curve.is_some());
    }
}
