//! Replacing secrets of the server on purpose, while nobody serves.
//!
//! Two databases change together. The new secrets are durable in the keyring first, in one row
//! where nobody looks for them; then one transaction of the records does what follows from them,
//! and says which row it followed; then one transaction of the keyring puts them where they belong.
//! Cut before the second step nothing has happened. Cut behind it, the next opening takes the third.

use zeroize::Zeroizing;

use crate::model::Time;
use crate::records::keyring::{self, WrappedRow};
use crate::records::{Conn, Records, facts};
use crate::repo::Error;
use crate::repo::anchor::{self, AUDIT_KEY};
use crate::repo::keys::{KeyManager, RECEIPT_PURPOSE};
use crate::vault::{PublicKey, SigningKey, VaultError, random};

/// What the keyring calls secrets that are to take the place of others.
const STAGED: &str = "replacement";
/// The fact that says which of them the records have followed.
const FOLLOWED: &str = "secrets_replaced";
/// Bytes of the id and of the time in front of the secrets.
const FRONT: usize = 24;
/// Bytes of each secret.
const SECRET: usize = 32;

/// New secrets that are to take the place of others.
pub(crate) struct Replacement {
    id: [u8; 16],
    at: Time,
    secrets: Vec<(String, Zeroizing<[u8; SECRET]>)>,
}

/// A key that signed until another one took its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PastKey {
    pub(crate) key: PublicKey,
    /// When it was replaced.
    pub(crate) until: Time,
}

impl Replacement {
    /// New random secrets for these purposes.
    pub(crate) fn of(purposes: &[&str]) -> Result<Self, Error> {
        let mut secrets = Vec::new();
        for purpose in purposes {
            secrets.push(((*purpose).to_owned(), Zeroizing::new(random::array()?)));
        }
        Ok(Self { id: random::array()?, at: Time::now(), secrets })
    }

    /// The new secret for a purpose.
    pub(crate) fn secret(&self, purpose: &str) -> Option<&[u8; SECRET]> {
        self.secrets.iter().find(|(name, _)| name == purpose).map(|(_, secret)| &**secret)
    }

    /// Says that the records have followed, in the transaction in which they do.
    pub(crate) async fn followed(&self, conn: &mut Conn) -> Result<(), Error> {
        Ok(facts::set_fact(conn, FOLLOWED, &hex::encode(self.id)).await?)
    }

    /// Id, time in milliseconds, and each secret behind its purpose and the length of that.
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(FRONT + self.secrets.len() * (SECRET + 32)));
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(&self.at.millis().to_be_bytes());
        for (purpose, secret) in &self.secrets {
            // Purposes are constants of a few letters.
            bytes.push(purpose.len() as u8);
            bytes.extend_from_slice(purpose.as_bytes());
            bytes.extend_from_slice(&secret[..]);
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = || VaultError::Malformed { what: "replacement of secrets" };
        let (id, rest) = bytes.split_first_chunk::<16>().ok_or_else(malformed)?;
        let (at, mut rest) = rest.split_first_chunk::<8>().ok_or_else(malformed)?;
        let mut secrets = Vec::new();
        while let Some((length, behind)) = rest.split_first() {
            let (purpose, behind) = behind.split_at_checked(usize::from(*length)).ok_or_else(malformed)?;
            let purpose = str::from_utf8(purpose).map_err(|_| malformed())?;
            let (secret, behind) = behind.split_first_chunk::<SECRET>().ok_or_else(malformed)?;
            secrets.push((purpose.to_owned(), Zeroizing::new(*secret)));
            rest = behind;
        }
        Ok(Self { id: *id, at: Time::from_millis(i64::from_be_bytes(*at)), secrets })
    }
}

impl PastKey {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.key.as_bytes().to_vec();
        bytes.extend_from_slice(&self.until.millis().to_be_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = || VaultError::Malformed { what: "past signing key" };
        let (key, until) = bytes.split_first_chunk::<32>().ok_or_else(malformed)?;
        let until = i64::from_be_bytes(until.try_into().map_err(|_| malformed())?);
        Ok(Self { key: PublicKey::from_bytes(key)?, until: Time::from_millis(until) })
    }
}

/// What the keyring calls the public key that was the `number`th to be replaced, from 1 on.
pub(crate) fn past_purpose(purpose: &str, number: usize) -> String {
    format!("{purpose}.past.{number}")
}

impl KeyManager {
    /// Makes new secrets durable where nobody looks for them yet; what a replacement that was cut
    /// has left there goes.
    pub(crate) async fn stage(&self, new: &Replacement) -> Result<(), Error> {
        let mut tx = self.keyring().begin().await?;
        self.put(tx.conn(), STAGED, &new.to_bytes()).await?;
        Ok(tx.commit().await?)
    }

    /// Puts staged secrets where they belong, if the records have followed them.
    pub(crate) async fn take_over(&self, records: &Records) -> Result<(), Error> {
        let Some(staged) = self.secret_if_there(STAGED).await? else { return Ok(()) };
        let staged = Replacement::from_bytes(&staged)?;
        let followed = facts::fact(&mut *records.read().await?, FOLLOWED).await?;
        if followed != Some(hex::encode(staged.id)) {
            return Ok(());
        }
        let mut past = Vec::new();
        for (purpose, _) in &staged.secrets {
            // The public half of a key that was lost is nowhere.
            if [RECEIPT_PURPOSE, AUDIT_KEY].contains(&purpose.as_str())
                && let Some(seed) = self.secret_if_there(purpose).await?
            {
                let malformed = |_| VaultError::Malformed { what: "signing key" };
                let key = SigningKey::from_bytes(seed[..].try_into().map_err(malformed)?).public();
                let number = self.past_keys(purpose).await?.len() + 1;
                past.push((past_purpose(purpose, number), PastKey { key, until: staged.at }));
            }
        }
        let mut tx = self.keyring().begin().await?;
        // Another process may have been quicker.
        if keyring::secret(tx.conn(), STAGED).await?.is_none() {
            return Ok(());
        }
        for (purpose, key) in past {
            self.put(tx.conn(), &purpose, &key.to_bytes()).await?;
        }
        for (purpose, secret) in &staged.secrets {
            self.put(tx.conn(), purpose, &secret[..]).await?;
        }
        if let Some(seed) = staged.secret(AUDIT_KEY) {
            anchor::follow(self, tx.conn(), *SigningKey::from_bytes(seed).public().as_bytes()).await?;
        }
        keyring::delete_server_key(tx.conn(), STAGED).await?;
        Ok(tx.commit().await?)
    }

    async fn put(&self, conn: &mut Conn, purpose: &str, secret: &[u8]) -> Result<(), Error> {
        let (kek_generation, kek) = self.newest_kek()?;
        let wrapped = kek.wrap_secret(kek_generation, purpose, secret)?;
        let row = WrappedRow { generation: 0, kek_generation, wrapped };
        // Another rotation of the KEK has come between.
        if keyring::put_server_key(conn, purpose, &row).await? { Ok(()) } else { Err(Error::KeysReplaced) }
    }

    /// The keys that signed for this purpose before, the oldest first.
    pub(crate) async fn past_keys(&self, purpose: &str) -> Result<Vec<PastKey>, Error> {
        let mut past = Vec::new();
        while let Some(bytes) = self.secret_if_there(&past_purpose(purpose, past.len() + 1)).await? {
            past.push(PastKey::from_bytes(&bytes)?);
        }
        Ok(past)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_survives_its_bytes_and_nothing_else_is_one() {
        let new = Replacement::of(&["token", "audit-signing"]).unwrap();
        let bytes = new.to_bytes();
        let read = Replacement::from_bytes(&bytes).unwrap();
        assert_eq!((read.id, read.at), (new.id, new.at));
        assert_eq!(read.secret("token"), new.secret("token"));
        assert_eq!(read.secret("audit-signing"), new.secret("audit-signing"));
        assert!(read.secret("proof").is_none() && new.secret("token").is_some());
        for length in (0..bytes.len()).filter(|length| ![24, 24 + 1 + 5 + 32].contains(length)) {
            assert!(Replacement::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
        let key = PastKey { key: SigningKey::generate().unwrap().public(), until: Time::from_millis(7) };
        assert_eq!(PastKey::from_bytes(&key.to_bytes()).unwrap(), key);
        for length in 0..40 {
            assert!(PastKey::from_bytes(&key.to_bytes()[..length]).is_err(), "{length}");
        }
    }
}
