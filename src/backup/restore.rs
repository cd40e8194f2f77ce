//! A restore: a backup becomes a data directory.
//!
//! Nothing is written until the backup, its keyring and the KEK have proved to belong together.
//! While it is under way the data directory holds a mark that keeps everybody out; it goes when
//! everything else is durable.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use tokio::runtime::Handle;
use zeroize::Zeroizing;

use crate::audit::{AuditCheckpoint, AuditFault, AuditVerification, AuditWriter};
use crate::backup::{
    BackupContents, BackupPlace, BackupProgress, CONTENTS, Counts, NAMESPACE, SIGNATURE, empty_directory, file_hash,
    for_each_object, make_shelves, sync_shelves, take, without_key,
};
use crate::integrity::Integrity;
use crate::integrity::verify::Verification;
use crate::model::HouseId;
use crate::records::bond::{Found, RecordsLook};
use crate::records::objects::{self, Needed};
use crate::records::{Keyring, Records};
use crate::repo::anchor::AUDIT_KEY;
use crate::repo::blocking::blocking;
use crate::repo::data::RESTORING;
use crate::repo::kek::{self, matching, sync_above, write_new};
use crate::repo::opening::{HOUSE_PURPOSE, related, sealed_house};
use crate::repo::pieces::Occasion;
use crate::repo::pieces::agree;
use crate::repo::replacement::{PastKey, past_purpose};
use crate::repo::{DataDirectory, Error, Opened, Repo, Settings};
use crate::store::Disk;
use crate::vault::{Kek, PublicKey, SigningKey, VaultError};

/// What a restore did.
#[derive(Debug, Clone, Serialize)]
pub struct RestoredBackup {
    /// Tickets.
    pub tickets: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes of these objects.
    pub bytes: u64,
    /// Objects that are hard links to the backup's.
    pub linked: u64,
    /// Objects that are needed and are not in the backup, or not as they were sealed.
    pub missing: u64,
    /// Shares whose keys are not in the keyring: they were shredded, or the keyring is of another
    /// time.
    pub shares_without_key: u64,
    /// Versions that were verified.
    pub verified: u64,
    /// Those that are not intact.
    pub damaged: Vec<Verification>,
    /// The fingerprint of the host key that clients know.
    pub host_key: Option<String>,
    /// The same of the host key that old devices know.
    pub legacy_host_key: Option<String>,
    /// Entries of the audit trail that are what was written.
    pub audit_entries: i64,
    /// What is wrong with the trail, also against the checkpoint that the backup holds.
    pub audit_fault: Option<AuditFault>,
}

/// The texts of SSH host keys, which the caller has compared with the backup's fingerprints.
#[derive(Clone, Copy, Default)]
pub struct HostKeys<'a> {
    /// The one that clients know.
    pub main: Option<&'a [u8]>,
    /// The one that old devices know.
    pub legacy: Option<&'a [u8]>,
}

impl BackupPlace {
    /// Makes a data directory of this backup. `kek` is put at the KEK's default place; `host_keys`
    /// at theirs.
    ///
    /// # Errors
    /// If the backup is not complete or not sound, the KEK does not open its keyring, or something
    /// is in the data directory already; nothing is written then. Later, if the disk fails.
    pub async fn restore(
        &self,
        data: &DataDirectory,
        settings: &Settings,
        kek: Option<&Path>,
        host_keys: HostKeys<'_>,
        mut progress: impl FnMut(BackupProgress),
    ) -> Result<RestoredBackup, Error> {
        let contents = self.check().await?;
        let (key, house) = self.find_kek(data, settings, kek).await?;
        empty_directory(data.root())?;

        let mark = data.root().join(RESTORING);
        write_new(&mark, b"A restore was not finished. Empty this directory and restore again.\n", 0o600)
            .map_err(Error::file(&mark))?;
        for directory in [data.keys(), data.objects()] {
            DirBuilder::new().mode(0o700).create(&directory).map_err(Error::file(&directory))?;
        }
        let (records, keyring) =
            (Records::open_copy(&self.records_file()).await?, Keyring::open_copy(&self.keyring_file()).await?);
        let shares_without_key = without_key(&records, &keyring).await?.len() as u64;
        let mut counts = Counts::default();
        let mut conn = records.read().await?;
        let plaintext = objects::needed_totals(&mut conn).await?.1;
        let mut each = async |needed: Vec<Needed>| -> Result<(), Error> {
            let (from, to) = (self.objects(), data.objects());
            let work = move || needed.iter().map(|one| take(&from, &to, one)).collect::<Result<Vec<_>, _>>();
            for one in blocking(&tokio::runtime::Handle::current(), "the restore", work).await? {
                counts.add(one);
            }
            progress(BackupProgress { done: counts.bytes, all: plaintext.max(counts.bytes) });
            Ok(())
        };
        make_shelves(&data.objects())?;
        for_each_object(&mut conn, &mut each).await?;
        sync_shelves(&data.objects())?;
        if let Some(house) = house {
            Disk::open(&data.objects())?.mark(house)?;
        }
        drop(conn);
        records.close().await;
        keyring.close().await;

        // Databases change: they are copied, never linked.
        copy_private(&self.records_file(), &data.records())?;
        copy_private(&self.keyring_file(), &data.keyring())?;
        if let Some(key) = key {
            kek::write(&data.kek(), &key).map_err(Error::file(data.kek()))?;
        }
        for (path, text) in [(data.host_key(), host_keys.main), (data.legacy_host_key(), host_keys.legacy)] {
            if let Some(text) = text {
                write_new(&path, text, 0o600).map_err(Error::file(&path))?;
            }
        }
        sync_above(&data.records()).map_err(Error::file(data.root()))?;
        fs::remove_file(&mark).map_err(Error::file(&mark))?;
        sync_above(&mark).map_err(Error::file(data.root()))?;

        let worker_runtime = Handle::current();
        let Opened { repo, lock } =
            Repo::open(data.clone(), settings.clone(), worker_runtime, Occasion::Command, None).await?;
        drop(lock);
        let repo = Arc::new(repo);
        let (mut done, all) = (0, plaintext);
        let verified = Integrity::of(&repo)
            .verify_readable(|line| {
                done += line.size;
                progress(BackupProgress { done, all: all.max(done) });
            })
            .await;
        let trail = verify_trail(&repo, contents.audit_checkpoint.as_deref()).await;
        repo.close().await;
        let (verified, trail) = (verified?, trail?);
        Ok(RestoredBackup {
            tickets: contents.tickets,
            objects: counts.objects,
            bytes: counts.bytes,
            linked: counts.linked,
            missing: counts.missing,
            shares_without_key,
            verified: verified.len() as u64,
            damaged: verified.into_iter().filter(|line| !line.intact).collect(),
            host_key: contents.host_key,
            legacy_host_key: contents.legacy_host_key,
            audit_entries: trail.entries,
            audit_fault: trail.fault,
        })
    }

    /// Whether both databases are what was copied, and sound.
    async fn check(&self) -> Result<BackupContents, Error> {
        let contents = self.contents()?;
        if file_hash(&self.records_file())? != contents.records_sha256 {
            return Err(Error::operator(format!(
                "{} is not what the backup held when it was complete; use another backup",
                self.records_file().display()
            )));
        }
        let keyring = self.keyring_file();
        if !keyring.exists() {
            return Err(Error::operator(format!(
                "{} is missing; name the directory of the keyring's backup with --keyring",
                keyring.display()
            )));
        }
        let records = Records::open_copy(&self.records_file()).await?;
        let copy = Keyring::open_copy(&keyring).await?;
        for (file, complaint) in [(self.records_file(), records.complaint().await?), (keyring, copy.complaint().await?)]
        {
            if let Some(complaint) = complaint {
                return Err(Error::operator(format!("{} is not sound: {complaint}", file.display())));
            }
        }
        records.close().await;
        copy.close().await;
        Ok(contents)
    }

    /// Proves that the KEK opens the keyring, and that keyring and records are of one house. No KEK
    /// if it lies where the settings say, so that nothing is to be put there; no house if the
    /// backup is from before there were ids.
    async fn find_kek(
        &self,
        data: &DataDirectory,
        settings: &Settings,
        given: Option<&Path>,
    ) -> Result<(Option<crate::vault::Kek>, Option<HouseId>), Error> {
        let file = match (given, settings.kek.as_deref()) {
            (Some(_), Some(set)) => {
                return Err(Error::operator(format!(
                    "the settings say that the KEK lies at {}; put it there and leave --kek out",
                    set.display()
                )));
            }
            (Some(file), None) | (None, Some(file)) => file,
            (None, None) => {
                return Err(Error::operator(format!(
                    "the KEK is not part of a backup; name its file with --kek, and it is put at {}",
                    data.kek().display()
                )));
            }
        };
        let key = kek::read(file)?;
        let keyring = Keyring::open_copy(&self.keyring_file()).await?;
        let known = keyring.keks().await?;
        let counts = keyring.counts().await?;
        let sealed = keyring.server_key(HOUSE_PURPOSE).await?;
        let newest = known.first().map_or(0, |row| row.generation);
        let cut = counts.iter().any(|(generation, shares, server)| *generation < newest && shares + server > 0);
        let found = matching(&known, &key).filter(|(row, _)| row.generation == newest && !cut);
        let Some((_, level)) = found else {
            return Err(Error::operator(format!(
                "{} does not open this keyring, which needs generation {newest} of the KEK; older generations are kept \
                 beside the KEK as KEK.GENERATION",
                file.display()
            )));
        };
        let signers = if level.proves() { signers(&keyring, &key).await? } else { Vec::new() };
        let in_keyring = sealed.map(|row| sealed_house(&key, &row)).transpose()?;
        let Found::There(mut records) = RecordsLook::open(&self.records_file()).await? else {
            return Err(Error::operator(format!("{} holds no records", self.records_file().display())));
        };
        let (in_records, related) = (records.house().await?, related(&mut records, &keyring).await?);
        records.close().await?;
        keyring.close().await;
        let house = agree(in_records, in_keyring, related).map_err(|_| {
            Error::operator(format!(
                "{} is the keyring of another house than {}; name the keyring's backup that belongs to it with --keyring",
                self.keyring_file().display(),
                self.records_file().display()
            ))
        })?;
        if level.proves() {
            self.check_signature(&signers)?;
        }
        Ok((given.is_some().then_some(key), house))
    }

    /// Proves that the list of contents, and so the copies of the databases, are what the house
    /// wrote. Lists of houses of before proofs have no signature.
    fn check_signature(&self, signers: &[PublicKey]) -> Result<(), Error> {
        let list = self.root.join(CONTENTS);
        let text = fs::read(&list).map_err(Error::file(&list))?;
        let signature = fs::read_to_string(self.root.join(SIGNATURE)).unwrap_or_default();
        if signers.iter().any(|key| key.verify_ssh(NAMESPACE, &text, &signature).is_ok()) {
            return Ok(());
        }
        Err(Error::operator(format!(
            "{} is not signed by the house whose keyring lies at {}: it was changed, or {SIGNATURE} was lost; use another \
             backup",
            list.display(),
            self.keyring_file().display()
        )))
    }
}

/// The keys that sign for a house, those of before included: the keyring may be newer than the
/// records.
async fn signers(keyring: &Keyring, kek: &Kek) -> Result<Vec<PublicKey>, Error> {
    let open = async |purpose: &str| -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let Some(row) = keyring.server_key(purpose).await? else { return Ok(None) };
        Ok(Some(kek.unwrap_secret(row.kek_generation, purpose, &row.wrapped)?))
    };
    let mut signers = Vec::new();
    if let Some(seed) = open(AUDIT_KEY).await? {
        let malformed = |_| VaultError::Malformed { what: "signing key" };
        signers.push(SigningKey::from_bytes(seed[..].try_into().map_err(malformed)?).public());
    }
    let mut number = 1;
    while let Some(past) = open(&past_purpose(AUDIT_KEY, number)).await? {
        signers.push(PastKey::from_bytes(&past)?.key);
        number += 1;
    }
    Ok(signers)
}

/// Whether the trail is what was written, and holds what the backup's checkpoint speaks of.
async fn verify_trail(repo: &Arc<Repo>, checkpoint: Option<&str>) -> Result<AuditVerification, Error> {
    let kept: Option<AuditCheckpoint> = checkpoint
        .map(str::parse)
        .transpose()
        .map_err(|_| Error::operator("the checkpoint of the audit trail in the backup's list of contents is none"))?;
    AuditWriter::open(repo).await?.verify(kept.as_ref()).await
}

fn copy_private(from: &Path, to: &Path) -> Result<(), Error> {
    let mut source = File::open(from).map_err(Error::file(from))?;
    let create = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let mut copy = create.map_err(Error::file(to))?;
    std::io::copy(&mut source, &mut copy).map_err(Error::file(to))?;
    copy.sync_all().map_err(Error::file(to))
}
