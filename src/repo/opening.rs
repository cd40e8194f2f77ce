//! Opening a house: looking at its pieces before anything is made, and tying together those of
//! before there were ids.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::model::{HouseId, Time};
use crate::records::bond::{Found, RecordsLook};
use crate::records::keyring::WrappedRow;
use crate::records::{Keyring, Records, RecordsError, facts};
use crate::repo::kek::{self, Keks};
use crate::repo::keys::{KeyManager, ROUNDS};
use crate::repo::pieces::{Database, KekFile, Occasion, Pieces, Store, Verdict, Why};
use crate::repo::proved_facts::prove_facts;
use crate::repo::{DataDirectory, Error, Settings, anchor, proofs};
use crate::store::Disk;
use crate::vault::{Kek, Level, VaultError, random};

/// What the keyring calls the id of the house.
pub(crate) const HOUSE_PURPOSE: &str = "house";
/// Objects that are looked for in a store without a mark: one that is there ties it to the records.
const LOOKED_FOR: u32 = 64;
/// Checkpoints of the audit trail that are compared between databases without an id.
const COMPARED: u32 = 100;

/// What is named of what nobody should have put into a database; the rest is counted.
const NAMED: usize = 5;

/// Where the pieces of a house lie.
pub(crate) struct Places<'a> {
    pub(crate) data: &'a DataDirectory,
    pub(crate) kek: PathBuf,
    pub(crate) store: Disk,
}

impl Places<'_> {
    /// Looks at the pieces and waits for the lock under which a house is opened. Nothing is made if
    /// it is refused.
    pub(crate) async fn enter(&self, occasion: Occasion) -> Result<(File, Verdict), Error> {
        let mut lock = self.data.lock_if_there()?;
        loop {
            match (self.judge(occasion).await, lock) {
                (Ok(verdict), Some(lock)) => return Ok((lock, verdict)),
                (Err(error), Some(_)) => return Err(error),
                // What was seen without the lock may be half of what somebody makes just now.
                (Ok(_), None) => lock = Some(self.data.lock_for_opening()?),
                (Err(error), None) => lock = Some(self.data.lock_if_there()?.ok_or(error)?),
            }
        }
    }

    async fn judge(&self, occasion: Occasion) -> Result<Verdict, Error> {
        let (pieces, kek_fault) = self.look().await?;
        pieces.judge(occasion).map_err(|why| match (why, kek_fault) {
            (Why::Kek, Some(fault)) => fault,
            (why, _) => why.refusal(self.data, &self.kek),
        })
    }

    /// What is there, and what is wrong with the KEK if it does not open the keyring.
    async fn look(&self) -> Result<(Pieces, Option<Error>), Error> {
        let (records_file, keyring_file) = (self.data.records(), self.data.keyring());
        let mut records = RecordsLook::open(&records_file).await.map_err(unusable(&records_file))?;
        let keyring = Keyring::look(&keyring_file).await.map_err(unusable(&keyring_file))?;
        let host_key = self.data.host_key().exists() || self.data.legacy_host_key().exists();
        let mark = self.store.house().map_err(|error| {
            let objects = self.data.objects();
            Error::operator(format!(
                "{} does not say which house's objects it holds ({error}); restore the file 'house' in it from its backup",
                objects.display()
            ))
        })?;
        let mut pieces = Pieces {
            records: database(&records),
            keyring: database(&keyring),
            kek: if self.has_kek() { KekFile::There } else { KekFile::Missing },
            store: mark.map_or(Store::Empty, Store::Marked),
            host_key,
            beginning: self.data.is_beginning(),
            related: false,
            needs: false,
            found: false,
        };
        if mark.is_none() && self.store.holds_any()? {
            pieces.store = Store::Unmarked;
        }
        if let Found::There(records) = &mut records {
            let sound = async {
                if let Some(house) = records.house().await? {
                    pieces.records = Database::Named(house);
                }
                if mark.is_none() || pieces.records == Database::Unnamed {
                    let needed = records.needed(LOOKED_FOR).await?;
                    (pieces.needs, pieces.found) = (!needed.is_empty(), false);
                    for object in needed {
                        pieces.found = pieces.found || self.store.length(object)?.is_some();
                    }
                }
                Ok::<_, Error>(())
            };
            sound.await?;
        }
        let mut fault = None;
        if let Found::There(keyring) = &keyring {
            match self.house_of(keyring).await {
                Ok(house) => {
                    pieces.kek = KekFile::Fits;
                    pieces.keyring = house.map_or(Database::Unnamed, Database::Named);
                }
                Err(error @ Error::Operator(_)) => {
                    pieces.kek = if self.has_kek() { KekFile::Unfit } else { KekFile::Missing };
                    fault = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let (Found::There(records), Found::There(keyring)) = (&mut records, &keyring)
            && [pieces.records, pieces.keyring].contains(&Database::Unnamed)
        {
            pieces.related = related(records, keyring).await?;
        }
        if let Found::There(keyring) = keyring {
            keyring.close().await;
        }
        if let Found::There(records) = records {
            records.close().await?;
        }
        Ok((pieces, fault))
    }

    fn has_kek(&self) -> bool {
        self.kek.exists() || kek::next(&self.kek).exists()
    }

    /// Which house the keyring says it belongs to.
    ///
    /// # Errors
    /// [`Error::Operator`] if the KEK is missing or does not open it.
    async fn house_of(&self, keyring: &Keyring) -> Result<Option<HouseId>, Error> {
        let mut outcome = Err(Error::KeysReplaced);
        for _ in 0..ROUNDS {
            // A rotation that ends between the looks makes a KEK seem to be missing: then it is
            // looked again.
            outcome = match Keks::load(&self.kek, keyring).await {
                Ok(Some(keks)) => match keyring.server_key(HOUSE_PURPOSE).await? {
                    None => return Ok(None),
                    Some(row) => match keks.get(row.kek_generation) {
                        Some(kek) => return sealed_house(&kek, &row).map(Some),
                        None => Err(Error::KeysReplaced),
                    },
                },
                Ok(None) => Err(Error::KeysReplaced),
                Err(error) => Err(error),
            };
        }
        outcome
    }
}

/// The id of the house out of a keyring's row.
pub(crate) fn sealed_house(kek: &Kek, row: &WrappedRow) -> Result<HouseId, Error> {
    let bytes = kek.unwrap_secret(row.kek_generation, HOUSE_PURPOSE, &row.wrapped)?;
    Ok(HouseId::try_from(&bytes[..]).map_err(|_| VaultError::Malformed { what: "id of the house" })?)
}

/// Whether records and keyring have something in common: the key of a share, a checkpoint of the
/// audit trail, or that nobody has opened a ticket yet.
pub(crate) async fn related(records: &mut RecordsLook, keyring: &Keyring) -> Result<bool, Error> {
    let shares: BTreeSet<_> = records.shares().await?.into_iter().collect();
    let keys = keyring.share_generations().await?;
    if keys.iter().any(|(share, _)| shares.contains(share)) || (keys.is_empty() && shares.is_empty()) {
        return Ok(true);
    }
    let known: BTreeSet<_> = records.newest_checkpoints(COMPARED).await?.into_iter().collect();
    Ok(keyring.newest_checkpoints(COMPARED).await?.iter().any(|signature| known.contains(signature)))
}

/// Gives the pieces their id, where they do not have it yet. The keyring comes first: it is the one
/// that another process might have given one.
pub(crate) async fn tie(
    records: &Records,
    keys: &KeyManager,
    store: &Disk,
    known: Option<HouseId>,
    mark_store: bool,
) -> Result<(), Error> {
    let new = match known {
        Some(house) => house,
        None => HouseId::from_bytes(random::array()?),
    };
    let kept = keys.secret(HOUSE_PURPOSE, || Ok(new.as_bytes().to_vec())).await?;
    let house = HouseId::try_from(&kept[..]).map_err(|_| VaultError::Malformed { what: "id of the house" })?;
    if facts::house(&mut *records.read().await?).await?.is_none() {
        let mut tx = records.begin().await?;
        facts::set_house(tx.conn(), house).await?;
        tx.commit().await?;
    }
    if mark_store && store.house()?.is_none() {
        store.mark(house)?;
    }
    Ok(())
}

/// Whether somebody has put tables, triggers or views into the databases: a trigger does with
/// tacdrop's statements what it likes.
///
/// # Errors
/// A sentence that names them, if the house is to be served. Commands go on, as some are needed to
/// look what was done; the log names them.
pub(crate) async fn check_schema(records: &Records, keys: &KeyManager, serve: bool) -> Result<(), Error> {
    let Some(sentence) = strangers(records, keys).await? else { return Ok(()) };
    if serve {
        return Err(Error::operator(sentence));
    }
    tracing::error!("{sentence}");
    Ok(())
}

/// What is in the databases that no migration has made, as a sentence.
pub(crate) async fn strangers(records: &Records, keys: &KeyManager) -> Result<Option<String>, Error> {
    let found = [("records.sqlite", records.strangers().await?), ("keyring.sqlite", keys.keyring().strangers().await?)];
    let mut named = Vec::new();
    for (file, strangers) in found.iter().filter(|(_, strangers)| !strangers.is_empty()) {
        let more = strangers.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let first = strangers.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        named.push(format!("{file} holds what tacdrop did not make: {first}{more}"));
    }
    if named.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!("{}; find out who put it there, and restore the file from its backup", named.join("; "))))
}

/// Gives the rows of a house of before the proofs of today, its trail an anchor, and raises its
/// level: from then on a row without a proof is refused. Where rows had proofs before, one that did
/// not hold gets none. Cut anywhere it is done again. Nobody else opens the house meanwhile.
pub(crate) async fn adopt(records: &Records, keys: &KeyManager, settings: &Settings) -> Result<(), Error> {
    let before = keys.level();
    if before >= Level::Desk {
        return Ok(());
    }
    if before == Level::Bare {
        anchor::adopt(records, keys).await?;
    }
    let mut tx = records.begin_alone().await?;
    let prover = &**keys.proofs();
    let valid_until = Time::now().plus(settings.token_validity);
    let rows = if before == Level::Bare {
        prove_facts(tx.conn(), keys).await?;
        proofs::prove_all(tx.conn(), prover).await?
    } else {
        proofs::prove_what_is_new(tx.conn(), prover).await?
    };
    proofs::move_tokens(tx.conn(), prover, valid_until).await?;
    tx.commit().await?;
    keys.raise_level(Level::Desk).await?;
    tracing::info!(rows, "what the records say of people and tickets is proved from now on");
    Ok(())
}

fn database<T>(found: &Found<T>) -> Database {
    match found {
        Found::Missing => Database::Missing,
        Found::Empty => Database::Empty,
        Found::There(_) => Database::Unnamed,
    }
}

fn unusable(path: &Path) -> impl FnOnce(RecordsError) -> Error {
    move |error| match error {
        RecordsError::Damaged(why) => {
            Error::operator(format!("{} is damaged ({why}); restore it from its backup", path.display()))
        }
        other => other.into(),
    }
}
