//! Proofs of rows: what a row must carry so that somebody who writes the database without the keys
//! changes nothing unnoticed.
//!
//! A proof is a MAC over what a row says, under a key that the keyring holds wrapped. It tells that
//! tacdrop wrote these values together; it does not tell whether they are the newest that it wrote.

use hmac::Mac;
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::derive::MacKey;
use super::{VaultError, random};
use tacdrop_model::Locked;

/// Bytes of a proof.
pub const PROOF: usize = 32;

/// The house's key for proofs; kept in the keyring under the purpose `proof`.
#[derive(ZeroizeOnDrop)]
pub struct ProofKey {
    key: [u8; 32],
    /// The keys of the labels that were asked for, ready for use: some twenty.
    #[zeroize(skip)]
    labels: Locked<Vec<(&'static str, MacKey)>>,
}

impl ProofKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn generate() -> Result<Self, VaultError> {
        Ok(Self::from_bytes(&Zeroizing::new(random::array()?)))
    }

    /// The key as it came from the keyring.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self { key: *bytes, labels: Locked::default() }
    }

    /// The key for [`super::Kek::wrap_secret`].
    pub fn to_secret_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key)
    }

    /// HMAC-SHA-256 over the fields, each behind its length as a u64, under a key derived for
    /// `label`: rows of two kinds never have the same proof.
    pub fn prove(&self, label: &'static str, fields: &[&[u8]]) -> [u8; PROOF] {
        let mut mac = self.under(label).begin();
        for field in fields {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        mac.finalize().into_bytes().into()
    }

    /// Whether `proof` is that of the fields, in a time that does not depend on it.
    pub fn is_proved(&self, label: &'static str, fields: &[&[u8]], proof: &[u8]) -> bool {
        self.prove(label, fields).ct_eq(proof).into()
    }

    fn under(&self, label: &'static str) -> MacKey {
        let mut labels = self.labels.lock();
        if let Some((_, key)) = labels.iter().find(|(known, _)| *known == label) {
            return key.clone();
        }
        let key = MacKey::for_label(&self.key, label);
        labels.push((label, key.clone()));
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_key_its_label_and_its_fields_alone() {
        let key = ProofKey::from_bytes(&[7; 32]);
        let fields: [&[u8]; 3] = [b"anna", b"", b"SHA256:x"];
        let proof = key.prove("engineer key", &fields);
        assert!(key.is_proved("engineer key", &fields, &proof));
        assert!(ProofKey::from_bytes(&key.to_secret_bytes()).is_proved("engineer key", &fields, &proof));
        assert!(!ProofKey::from_bytes(&[8; 32]).is_proved("engineer key", &fields, &proof));
        assert!(!key.is_proved("ticket", &fields, &proof));
        let others: [&[&[u8]]; 4] =
            [&[b"anna", b"SHA256:x"], &[b"ann", b"a", b"SHA256:x"], &[b"anna", b"SHA256:x", b""], &[]];
        for other in others {
            assert!(!key.is_proved("engineer key", other, &proof), "{other:?}");
        }
        for wrong in [&proof[..31], &[], &[0; 32], &[0; 33]] {
            assert!(!key.is_proved("engineer key", &fields, wrong), "{wrong:?}");
        }
    }
}
