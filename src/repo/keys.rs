//! The keys in use: the KEK, the token key, and the share keys that have been unwrapped.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::model::{DirectoryId, FileName, Locked, LockedGuard, ShareId, Time, VersionId, alias};
use crate::records::entries::{EntryRow, Place};
use crate::records::keyring::{self, KeyOf, WrappedRow};
use crate::records::versions::{self, VersionRow};
use crate::records::{Conn, Keyring, Records, tickets};
use crate::repo::anchor::AUDIT_KEY;
use crate::repo::kek::{self, Keks};
use crate::repo::opening::HOUSE_PURPOSE;
use crate::repo::proofs::Proofs;
use crate::repo::replacement::PastKey;
use crate::repo::{Error, Repo};
use crate::vault::{FileKey, Kek, Level, NameKeys, ProofKey, ShareKey, SigningKey, TokenKey, VaultError, WrappedKey};

/// Unwrapped share keys that are kept at hand.
const CACHED_SHARES: usize = 4096;
/// What the keyring calls the key that hashes tokens.
pub(crate) const TOKEN_PURPOSE: &str = "token";
/// What the keyring calls the key that proves rows.
pub(crate) const PROOF_PURPOSE: &str = "proof";
/// What the keyring calls the key that seals the audit trail.
const TRAIL_PURPOSE: &str = "trail-seal";
/// What the keyring calls the key that signs receipts.
pub(crate) const RECEIPT_PURPOSE: &str = "receipt-signing";
/// What can be replaced on purpose.
const REPLACED: [&str; 4] = [TOKEN_PURPOSE, PROOF_PURPOSE, RECEIPT_PURPOSE, AUDIT_KEY];
/// How often something is looked up again because keys were replaced between two looks.
pub(crate) const ROUNDS: usize = 8;

/// Does something again as long as a share's keys are replaced while it is done.
macro_rules! with_keys_in_force {
    ($work:expr) => {{
        let mut rounds = 0;
        loop {
            match $work {
                Err($crate::repo::Error::KeysReplaced) if rounds < $crate::repo::keys::ROUNDS => rounds += 1,
                outcome => break outcome,
            }
        }
    }};
}
pub(crate) use with_keys_in_force;

/// A share's keys.
pub(crate) struct ShareKeys {
    pub(crate) share: ShareId,
    pub(crate) generation: u32,
    pub(crate) key: ShareKey,
    pub(crate) names: NameKeys,
}

impl ShareKeys {
    pub(crate) fn new(share: ShareId, generation: u32, key: ShareKey) -> Self {
        let names = key.names(share);
        Self { share, generation, key, names }
    }

    /// A name in a directory of this share, as the row of the entry that bears it holds it.
    pub(crate) fn place(&self, entry: [u8; 16], parent: DirectoryId, name: &FileName) -> Result<Place, Error> {
        let alias = alias::alias(name);
        Ok(Place {
            parent,
            index: self.names.index(parent, name),
            alias: self.names.alias_index(parent, &alias),
            own_alias: alias == *name,
            sealed: self.names.seal_name(entry, name)?,
        })
    }

    /// Opens the name of an entry that was read through `conn`, and compares it with the place where
    /// the entry stands: a row that was moved bears a name that has another index there. If it does
    /// not open because the share's keys were replaced, it says so.
    ///
    /// # Errors
    /// [`Error::KeysReplaced`], or that the name or its place is not what was sealed.
    pub(crate) async fn open_name(&self, conn: &mut Conn, entry: &EntryRow) -> Result<FileName, Error> {
        let (Some(parent), Some(sealed), Some(index)) = (entry.parent, &entry.name, &entry.index) else {
            return Err(VaultError::Malformed { what: "an entry without a name" }.into());
        };
        match self.names.open_name(entry.id, sealed) {
            Ok(name) if self.names.index(parent, &name) == *index => Ok(name),
            Ok(_) => Err(VaultError::Tampered { what: "the place of a name" }.into()),
            Err(error) => match tickets::key_generation(conn, self.share).await? {
                Some(generation) if generation != self.generation => Err(Error::KeysReplaced),
                _ => Err(error.into()),
            },
        }
    }

    /// Unwraps the file key of a version of this share.
    ///
    /// # Errors
    /// [`Error::KeysReplaced`] if it is wrapped under another generation;
    /// [`Repo::file_key`](super::Repo::file_key) looks again then.
    pub(crate) fn file_key(&self, version: &VersionRow) -> Result<FileKey, Error> {
        let Some(wrapped) = &version.file_key else {
            return Err(Error::operator("This version was shredded: nobody can read it again."));
        };
        if version.key_generation != self.generation {
            return Err(Error::KeysReplaced);
        }
        let wrapped = WrappedKey::try_from(&wrapped[..])?;
        Ok(self.key.unwrap_file_key(self.generation, self.share, version.id, &wrapped)?)
    }

    /// A new file key and the form in which it is kept.
    pub(crate) fn new_file_key(&self, version: VersionId) -> Result<(FileKey, WrappedKey), Error> {
        let key = FileKey::generate()?;
        let wrapped = self.wrap_file_key(version, &key)?;
        Ok((key, wrapped))
    }

    /// The form in which a file key of this share is kept.
    pub(crate) fn wrap_file_key(&self, version: VersionId, key: &FileKey) -> Result<WrappedKey, Error> {
        Ok(self.key.wrap_file_key(self.generation, self.share, version, key)?)
    }
}

/// What keys are opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A house begins: everything is made that is missing.
    Begin,
    /// A house is there.
    Work,
    /// The operator replaces secrets: one that is missing is none that stops it.
    Replace,
    /// A copy is read; nothing is written.
    Copy,
}

/// The KEK and what it opens.
pub(crate) struct KeyManager {
    path: PathBuf,
    keks: Locked<Keks>,
    keyring: Keyring,
    records: Records,
    how: Opening,
    /// Whether a secret that is missing is made.
    makes: bool,
    token: TokenKey,
    proofs: Arc<Proofs>,
    /// It is never replaced: what the trail holds under it stays there.
    trail: ProofKey,
    receipts: SigningKey,
    past_receipts: Vec<PastKey>,
    past_audit: Vec<PastKey>,
    shares: Locked<HashMap<ShareId, Arc<ShareKeys>>>,
}

impl KeyManager {
    /// Opens the keyring with the KEK at `path`. A KEK is made only where a house begins.
    pub(crate) async fn open(path: &Path, keyring: Keyring, records: Records, how: Opening) -> Result<Self, Error> {
        let keks = match Keks::load(path, &keyring).await? {
            Some(keks) => keks,
            None if how == Opening::Begin => {
                let kek = if path.exists() {
                    kek::read_new(path)?
                } else {
                    let kek = Kek::generate()?;
                    kek::write(path, &kek).map_err(Error::file(path))?;
                    kek
                };
                // There is no row yet that could be without a proof.
                keyring.add_kek(1, &kek.seal_canary(1, Level::TODAY)?, Time::now()).await?;
                Keks::of_one(1, kek, Level::TODAY)
            }
            None => {
                return Err(Error::operator(
                    "the keyring is empty although there are shares; restore keyring.sqlite from its backup",
                ));
            }
        };
        let mut cabinet = Self {
            path: path.to_owned(),
            keks: Locked::new(keks),
            keyring,
            records,
            how,
            makes: false,
            token: TokenKey::generate()?,
            proofs: Arc::new(Proofs::of(ProofKey::generate()?)),
            receipts: SigningKey::generate()?,
            trail: ProofKey::generate()?,
            past_receipts: Vec::new(),
            past_audit: Vec::new(),
            shares: Locked::default(),
        };
        // A house that proves its rows has all its secrets from its beginning on. One that is
        // missing was lost, and a new one in its place would be a fault that nobody hears of.
        cabinet.makes = match how {
            Opening::Begin => true,
            Opening::Work | Opening::Replace => !cabinet.level().proves(),
            Opening::Copy => false,
        };
        if how != Opening::Copy {
            cabinet.take_over(&cabinet.records).await?;
        }
        let token = cabinet.secret(TOKEN_PURPOSE, || Ok(TokenKey::generate()?.to_secret_bytes().to_vec())).await?;
        let malformed = |_| VaultError::Malformed { what: "token key" };
        cabinet.token = TokenKey::from_bytes(token[..].try_into().map_err(malformed)?);
        cabinet.receipts = cabinet.signing_key(RECEIPT_PURPOSE).await?;
        cabinet.past_receipts = cabinet.past_keys(RECEIPT_PURPOSE).await?;
        cabinet.past_audit = cabinet.past_keys(AUDIT_KEY).await?;
        // A copy of a house of before proofs has none; under the one made above no row is proved.
        if how != Opening::Copy || cabinet.level().proves() {
            cabinet.signing_key(AUDIT_KEY).await?;
            cabinet.proofs = Arc::new(Proofs::of(cabinet.proof_key(PROOF_PURPOSE).await?));
            cabinet.trail = cabinet.proof_key(TRAIL_PURPOSE).await?;
        }
        Ok(cabinet)
    }

    pub(crate) fn token(&self) -> &TokenKey {
        &self.token
    }

    /// What makes and checks the proofs of rows.
    pub(crate) fn proofs(&self) -> &Arc<Proofs> {
        &self.proofs
    }

    async fn proof_key(&self, purpose: &str) -> Result<ProofKey, Error> {
        let key = self.secret(purpose, || Ok(ProofKey::generate()?.to_secret_bytes().to_vec())).await?;
        let malformed = |_| VaultError::Malformed { what: "proof key" };
        Ok(ProofKey::from_bytes(key[..].try_into().map_err(malformed)?))
    }

    /// The key that seals the entries of the audit trail, and digests and addresses in them.
    pub(crate) fn trail(&self) -> &ProofKey {
        &self.trail
    }

    /// The key that proves rows.
    pub(crate) fn proof(&self) -> &ProofKey {
        self.proofs.key()
    }

    /// What the house promises of its rows.
    pub(crate) fn level(&self) -> Level {
        self.keks().level()
    }

    /// Whether the KEK in force is one that nobody guesses.
    ///
    /// # Errors
    /// A sentence if it is.
    pub(crate) fn check_kek(&self) -> Result<(), Error> {
        let (_, kek) = self.newest_kek()?;
        if kek::is_guessable(&kek) {
            return Err(Error::operator(format!(
                "{} holds a KEK that anybody guesses (all bytes equal, or a pattern); replace it: run 'tacdrop key rotate', \
                 and then 'tacdrop key rotate --share' for each ticket",
                self.path.display()
            )));
        }
        Ok(())
    }

    /// The generation of a share's key as its wrap must bind it.
    pub(crate) fn bound(&self, generation: u32) -> Option<u32> {
        self.level().proves().then_some(generation)
    }

    /// Raises the house to a level, for good: whoever calls answers for what the level says. From
    /// [`Level::Bare`] on, share keys are wrapped as the higher levels want them, in the same
    /// transaction; one that does not open stays as it is.
    pub(crate) async fn raise_level(&self, level: Level) -> Result<(), Error> {
        let was = self.level();
        if level <= was {
            return Ok(());
        }
        let (generation, kek) = self.newest_kek()?;
        let mut tx = self.keyring.begin().await?;
        if was == Level::Bare {
            self.bind_share_keys(tx.conn()).await?;
        }
        keyring::set_canary(tx.conn(), generation, &kek.seal_canary(generation, level)?).await?;
        tx.commit().await?;
        self.load_keks().await
    }

    /// Wraps the keys of all shares so that each wrap binds the key's own generation.
    async fn bind_share_keys(&self, conn: &mut Conn) -> Result<(), Error> {
        for (share, row) in keyring::share_keys(conn).await? {
            let Some(kek) = self.kek_at_hand(row.kek_generation) else { continue };
            let bound = WrappedKey::try_from(&row.wrapped[..])
                .and_then(|wrapped| kek.unwrap_share_key(row.kek_generation, share, None, &wrapped))
                .and_then(|key| kek.wrap_share_key(row.kek_generation, share, Some(row.generation), &key));
            match bound {
                Ok(bound) => {
                    let row = WrappedRow { wrapped: bound.as_bytes().to_vec(), ..row };
                    keyring::rewrap(conn, &KeyOf::Share(share), &row).await?;
                }
                Err(error) => tracing::error!(%share, %error, "the key of a share does not open and stays as it is"),
            }
        }
        Ok(())
    }

    /// The key that signs receipts, and nothing else.
    pub(crate) fn receipts(&self) -> &SigningKey {
        &self.receipts
    }

    /// The keys that signed receipts before, the oldest first.
    pub(crate) fn past_receipts(&self) -> &[PastKey] {
        &self.past_receipts
    }

    /// The keys that signed checkpoints of the audit trail before, the oldest first.
    pub(crate) fn past_audit(&self) -> &[PastKey] {
        &self.past_audit
    }

    /// Where the KEK in force lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The database behind it.
    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The server's signing key for a purpose, made when it is asked for the first time.
    pub(crate) async fn signing_key(&self, purpose: &str) -> Result<SigningKey, Error> {
        let seed = self.secret(purpose, || Ok(SigningKey::generate()?.to_secret_bytes().to_vec())).await?;
        let malformed = |_| VaultError::Malformed { what: "signing key" };
        Ok(SigningKey::from_bytes(seed[..].try_into().map_err(malformed)?))
    }

    pub(crate) async fn close(&self) {
        self.keyring.close().await;
    }

    /// A secret of the server itself, if the keyring has it.
    pub(crate) async fn secret_if_there(&self, purpose: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        for _ in 0..ROUNDS {
            let Some(row) = self.keyring.server_key(purpose).await? else { return Ok(None) };
            // Replaced while it was looked at, if there is no such KEK.
            let Some(kek) = self.kek(row.kek_generation).await? else { continue };
            return Ok(Some(kek.unwrap_secret(row.kek_generation, purpose, &row.wrapped)?));
        }
        Err(Error::KeysReplaced)
    }

    /// A secret of the server itself; `make` makes it if there is none, in a house that begins or
    /// is of before there were proofs.
    ///
    /// # Errors
    /// A sentence if it was lost.
    pub(crate) async fn secret(
        &self,
        purpose: &str,
        make: impl FnOnce() -> Result<Vec<u8>, VaultError>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut fresh: Option<Zeroizing<Vec<u8>>> = None;
        let mut make = Some(make);
        for _ in 0..ROUNDS {
            if let Some(secret) = self.secret_if_there(purpose).await? {
                return Ok(secret);
            }
            // The id of the house is no secret: the other pieces know it, and a keyring that lacks it is
            // tied to them again.
            let makes = self.makes || (purpose == HOUSE_PURPOSE && self.how != Opening::Copy);
            match self.how {
                _ if makes => {}
                // It serves nothing until the one that is to be made has its place.
                Opening::Replace if REPLACED.contains(&purpose) => {
                    return Ok(Zeroizing::new(make.take().map_or(Ok(Vec::new()), |make| make())?));
                }
                _ => return Err(lost(purpose)),
            }
            if let Some(make) = make.take() {
                fresh = Some(Zeroizing::new(make()?));
            }
            let Some(secret) = &fresh else { break };
            let (kek_generation, kek) = self.newest_kek()?;
            let wrapped = kek.wrap_secret(kek_generation, purpose, secret)?;
            let row = WrappedRow { generation: 0, kek_generation, wrapped };
            if !self.keyring.add_server_key(purpose, &row).await? {
                self.load_keks().await?;
            }
        }
        Err(Error::KeysReplaced)
    }

    /// The keys of a share that were in force when they were asked for last; whoever uses them
    /// looks whether they still are.
    pub(crate) fn at_hand(&self, share: ShareId) -> Option<Arc<ShareKeys>> {
        self.shares().get(&share).map(Arc::clone)
    }

    /// The keys of a share that are in force. May be asked while a connection of the records is
    /// held.
    pub(crate) async fn share(&self, share: ShareId) -> Result<Arc<ShareKeys>, Error> {
        for _ in 0..ROUNDS {
            let in_force = self.records.key_generation(share).await?;
            if let Some(keys) = self.shares().get(&share)
                && in_force.is_none_or(|generation| generation == keys.generation)
            {
                return Ok(Arc::clone(keys));
            }
            match self.open_share_key(share, in_force).await? {
                Some(keys) => return Ok(self.keep(keys)),
                // Replaced between the two looks.
                None if self.records.key_generation(share).await? != in_force => {}
                None => {
                    return Err(Error::operator("The key of this share is not in the keyring: it was shredded."));
                }
            }
        }
        Err(Error::KeysReplaced)
    }

    /// A share's keys of this generation, or of its newest, if the keyring has them.
    pub(crate) async fn open_share_key(
        &self,
        share: ShareId,
        generation: Option<u32>,
    ) -> Result<Option<ShareKeys>, Error> {
        for _ in 0..ROUNDS {
            let Some(row) = self.keyring.share_key(share, generation).await? else { return Ok(None) };
            // Wrapped anew while it was looked at, if there is no such KEK.
            let Some(kek) = self.kek(row.kek_generation).await? else { continue };
            let wrapped = WrappedKey::try_from(&row.wrapped[..])?;
            let key = kek.unwrap_share_key(row.kek_generation, share, self.bound(row.generation), &wrapped)?;
            return Ok(Some(ShareKeys::new(share, row.generation, key)));
        }
        Err(Error::KeysReplaced)
    }

    /// Makes a share's first key; it is durable when this returns.
    pub(crate) async fn new_share(&self, share: ShareId) -> Result<Arc<ShareKeys>, Error> {
        Ok(self.keep(self.new_share_key(share, 1).await?))
    }

    /// Makes a share's key of a new generation; it is durable when this returns, and in force when
    /// the records say so.
    pub(crate) async fn new_share_key(&self, share: ShareId, generation: u32) -> Result<ShareKeys, Error> {
        let key = ShareKey::generate()?;
        for _ in 0..ROUNDS {
            let (kek_generation, kek) = self.newest_kek()?;
            let wrapped = kek.wrap_share_key(kek_generation, share, self.bound(generation), &key)?;
            let row = WrappedRow { generation, kek_generation, wrapped: wrapped.as_bytes().to_vec() };
            if self.keyring.add_share_key(share, &row, Time::now()).await? {
                return Ok(ShareKeys::new(share, generation, key));
            }
            self.load_keks().await?;
        }
        Err(Error::KeysReplaced)
    }

    /// Forgets the keys of shares that were destroyed. What somebody has open has them until it is
    /// closed.
    pub(crate) fn forget_shares(&self, destroyed: &[ShareId]) {
        let mut shares = self.shares();
        for share in destroyed {
            shares.remove(share);
        }
    }

    /// A generation of the KEK; the files are read again if it is not at hand.
    pub(crate) async fn kek(&self, generation: u32) -> Result<Option<Arc<Kek>>, Error> {
        if let Some(kek) = self.keks().get(generation) {
            return Ok(Some(kek));
        }
        self.load_keks().await?;
        Ok(self.keks().get(generation))
    }

    /// The same without another look at the files, for who holds the keyring.
    pub(crate) fn kek_at_hand(&self, generation: u32) -> Option<Arc<Kek>> {
        self.keks().get(generation)
    }

    /// The KEK under which everything new is wrapped.
    pub(crate) fn newest_kek(&self) -> Result<(u32, Arc<Kek>), Error> {
        self.keks().newest().ok_or_else(|| Error::operator("the keyring has no KEK"))
    }

    /// Reads the KEK's files again.
    pub(crate) async fn load_keks(&self) -> Result<(), Error> {
        if let Some(keks) = Keks::load(&self.path, &self.keyring).await? {
            *self.keks() = keks;
        }
        Ok(())
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

    fn keks(&self) -> LockedGuard<'_, Keks> {
        self.keks.lock()
    }

    fn shares(&self) -> LockedGuard<'_, HashMap<ShareId, Arc<ShareKeys>>> {
        self.shares.lock()
    }
}

/// That a secret is missing which every house has.
fn lost(purpose: &str) -> Error {
    let instead = match purpose {
        TOKEN_PURPOSE => ", or run 'tacdrop key rotate --tokens', which ends every ticket's token",
        RECEIPT_PURPOSE | AUDIT_KEY => ", or replace the keys that sign on purpose: 'tacdrop key rotate --signing'",
        PROOF_PURPOSE => ", or run 'tacdrop key rotate --proofs', which takes all rows as they stand",
        _ => "",
    };
    Error::operator(format!(
        "keyring.sqlite has lost its row '{purpose}' (table server_key), and nothing is made in its place in silence; \
         restore keyring.sqlite from its backup{instead}"
    ))
}

impl Repo {
    /// Whether these keys of a share are in force still.
    ///
    /// # Errors
    /// [`Error::KeysReplaced`] if not; and if the records fail.
    pub(crate) async fn check_in_force(&self, keys: &ShareKeys) -> Result<(), Error> {
        match self.records.key_generation(keys.share).await? {
            Some(generation) if generation != keys.generation => Err(Error::KeysReplaced),
            _ => Ok(()),
        }
    }

    /// Unwraps a version's file key. Where `keys` and the row are of different generations, both
    /// are looked up again.
    pub(crate) async fn file_key(
        &self,
        conn: &mut Conn,
        keys: &ShareKeys,
        version: &VersionRow,
    ) -> Result<FileKey, Error> {
        match keys.file_key(version) {
            Err(Error::KeysReplaced) => {}
            other => return other,
        }
        for _ in 0..ROUNDS {
            let keys = self.keys.share(keys.share).await?;
            let row = versions::by_id(conn, version.id).await?;
            match row.map(|row| keys.file_key(&row)) {
                Some(Err(Error::KeysReplaced)) => {}
                Some(other) => return other,
                None => break,
            }
        }
        // Not a matter of moments: no rotation leaves that behind.
        Err(VaultError::Malformed { what: "generation of a file key" }.into())
    }
}
