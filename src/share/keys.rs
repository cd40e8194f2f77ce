//! The keys in use: the KEK, the token key, and the share keys that have been unwrapped.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::{Zeroize, Zeroizing};

use crate::model::{ShareId, Time, VersionId};
use crate::records::Keyring;
use crate::records::keyring::WrappedRow;
use crate::records::versions::VersionRow;
use crate::share::Error;
use crate::vault::{FileKey, Kek, NameKeys, ShareKey, SigningKey, TokenKey, VaultError, WrappedKey};

/// Unwrapped share keys that are kept at hand.
const CACHED_SHARES: usize = 4096;
/// What the keyring calls the key that hashes tokens.
const TOKEN_PURPOSE: &str = "token";
/// What the keyring calls the key that signs receipts.
const RECEIPT_PURPOSE: &str = "receipt-signing";

/// A share's keys.
pub(crate) struct ShareKeys {
    pub(crate) share: ShareId,
    pub(crate) generation: u32,
    pub(crate) key: ShareKey,
    pub(crate) names: NameKeys,
}

impl ShareKeys {
    fn new(share: ShareId, generation: u32, key: ShareKey) -> Self {
        let names = key.names(share);
        Self { share, generation, key, names }
    }

    /// Unwraps the file key of a version of this share.
    pub(crate) fn file_key(&self, version: &VersionRow) -> Result<FileKey, Error> {
        let Some(wrapped) = &version.file_key else {
            return Err(Error::operator("This version was shredded: nobody can read it again."));
        };
        Ok(self.key.unwrap_file_key(
            version.key_generation,
            self.share,
            version.id,
            &WrappedKey::try_from(&wrapped[..])?,
        )?)
    }

    /// A new file key and the form in which it is kept.
    pub(crate) fn new_file_key(&self, version: VersionId) -> Result<(FileKey, WrappedKey), Error> {
        let key = FileKey::generate()?;
        let wrapped = self.key.wrap_file_key(self.generation, self.share, version, &key)?;
        Ok((key, wrapped))
    }
}

/// The KEK and what it opens.
pub(crate) struct Cabinet {
    kek: Kek,
    generation: u32,
    keyring: Keyring,
    token: TokenKey,
    receipts: SigningKey,
    shares: Mutex<HashMap<ShareId, Arc<ShareKeys>>>,
}

impl Cabinet {
    /// Opens the keyring with the KEK at `path`. A KEK is made only if `fresh`: an empty keyring, and no share anywhere.
    pub(crate) async fn open(path: &Path, keyring: Keyring, fresh: bool) -> Result<Self, Error> {
        let known = keyring.kek().await?;
        let (kek, generation) = match known {
            Some((generation, canary)) => {
                let kek = read_kek(path)?;
                kek.check_canary(generation, &canary).map_err(|_| {
                    Error::operator(format!(
                        "{} is not the key that this data directory was made with; put the right one there",
                        path.display()
                    ))
                })?;
                (kek, generation)
            }
            None if fresh => {
                let kek = if path.exists() { read_kek(path)? } else { write_new_kek(path)? };
                keyring.add_kek(1, &kek.seal_canary(1)?, Time::now()).await?;
                (kek, 1)
            }
            None => {
                return Err(Error::operator(
                    "the keyring is empty although there are shares; restore keyring.sqlite from its backup",
                ));
            }
        };
        let token = match keyring.server_key(TOKEN_PURPOSE).await? {
            Some(row) => {
                let bytes = kek.unwrap_secret(row.kek_generation, TOKEN_PURPOSE, &row.wrapped)?;
                TokenKey::from_bytes(bytes[..].try_into().map_err(|_| VaultError::Malformed { what: "token key" })?)
            }
            None => {
                let key = TokenKey::generate()?;
                let wrapped = kek.wrap_secret(generation, TOKEN_PURPOSE, &key.to_secret_bytes()[..])?;
                let row = WrappedRow { generation: 0, kek_generation: generation, wrapped };
                keyring.add_server_key(TOKEN_PURPOSE, &row).await?;
                key
            }
        };
        let receipts = signing_key(&keyring, &kek, generation, RECEIPT_PURPOSE).await?;
        Ok(Self { kek, generation, keyring, token, receipts, shares: Mutex::new(HashMap::new()) })
    }

    pub(crate) fn token(&self) -> &TokenKey {
        &self.token
    }

    /// The key that signs receipts, and nothing else.
    pub(crate) fn receipts(&self) -> &SigningKey {
        &self.receipts
    }

    /// The database behind it.
    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The server's signing key for a purpose, made when it is asked for the first time.
    pub(crate) async fn signing_key(&self, purpose: &str) -> Result<SigningKey, Error> {
        signing_key(&self.keyring, &self.kek, self.generation, purpose).await
    }

    pub(crate) async fn close(&self) {
        self.keyring.close().await;
    }

    /// The keys of a share.
    pub(crate) async fn share(&self, share: ShareId) -> Result<Arc<ShareKeys>, Error> {
        if let Some(keys) = self.shares().get(&share) {
            return Ok(Arc::clone(keys));
        }
        let Some(row) = self.keyring.share_key(share).await? else {
            return Err(Error::operator("The key of this share is not in the keyring: it was shredded."));
        };
        let wrapped = WrappedKey::try_from(&row.wrapped[..])?;
        let key = self.kek.unwrap_share_key(row.kek_generation, share, &wrapped)?;
        Ok(self.keep(ShareKeys::new(share, row.generation, key)))
    }

    /// Makes a share's first key; it is durable when this returns.
    pub(crate) async fn new_share(&self, share: ShareId) -> Result<Arc<ShareKeys>, Error> {
        let key = ShareKey::generate()?;
        let wrapped = self.kek.wrap_share_key(self.generation, share, &key)?;
        let row = WrappedRow { generation: 1, kek_generation: self.generation, wrapped: wrapped.as_bytes().to_vec() };
        self.keyring.add_share_key(share, &row, Time::now()).await?;
        Ok(self.keep(ShareKeys::new(share, 1, key)))
    }

    fn keep(&self, keys: ShareKeys) -> Arc<ShareKeys> {
        let keys = Arc::new(keys);
        let mut shares = self.shares();
        if shares.len() >= CACHED_SHARES {
            shares.clear();
        }
        shares.insert(keys.share, Arc::clone(&keys));
        keys
    }

    fn shares(&self) -> std::sync::MutexGuard<'_, HashMap<ShareId, Arc<ShareKeys>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's signing key for one purpose; made and durable in the keyring at the first use.
async fn signing_key(keyring: &Keyring, kek: &Kek, generation: u32, purpose: &str) -> Result<SigningKey, Error> {
    if let Some(row) = keyring.server_key(purpose).await? {
        let bytes = kek.unwrap_secret(row.kek_generation, purpose, &row.wrapped)?;
        let seed = bytes[..].try_into().map_err(|_| VaultError::Malformed { what: "signing key" })?;
        return Ok(SigningKey::from_bytes(seed));
    }
    let key = SigningKey::generate()?;
    let wrapped = kek.wrap_secret(generation, purpose, &key.to_secret_bytes()[..])?;
    keyring.add_server_key(purpose, &WrappedRow { generation: 0, kek_generation: generation, wrapped }).await?;
    Ok(key)
}

/// Reads a KEK: 64 hexadecimal digits in a file that only its owner may read.
fn read_kek(path: &Path) -> Result<Kek, Error> {
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::operator(format!(
                "{} is missing; without this key nothing can be read: restore it from its backup",
                path.display()
            )));
        }
        Err(error) => return Err(Error::file(path)(error)),
    };
    if mode & 0o077 != 0 {
        return Err(Error::operator(format!(
            "{} can be read by others; run: chmod 0400 {}",
            path.display(),
            path.display()
        )));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(Error::file(path))?);
    let mut bytes = Zeroizing::new([0u8; 32]);
    hex::decode_to_slice(text.trim(), &mut bytes[..])
        .map_err(|_| Error::operator(format!("{} does not hold 64 hexadecimal digits", path.display())))?;
    Ok(Kek::from_bytes(&bytes))
}

/// Makes a KEK and writes it down durably before anything is wrapped under it.
fn write_new_kek(path: &Path) -> Result<Kek, Error> {
    let kek = Kek::generate()?;
    let mut text = hex::encode(&kek.to_secret_bytes()[..]);
    text.push('\n');
    let write = || -> std::io::Result<()> {
        let temporary = path.with_extension("new");
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        if let Some(directory) = path.parent() {
            fs::File::open(directory)?.sync_all()?;
        }
        Ok(())
    };
    let written = write().map_err(Error::file(path));
    text.zeroize();
    written.map(|()| kek)
}
