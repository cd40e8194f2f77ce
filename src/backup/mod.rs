//! A backup, taken while the server works: a consistent copy of the records with every object that
//! it needs, and apart from it a copy of the keyring.
//!
//! Order: both databases are copied while no key can be replaced, and again if a share was shredded
//! between the two; then the objects, which nobody removes while the backup's lease is held; the
//! list of contents last. Objects are immutable and only ever removed as a whole, so a hard link is
//! as good as a copy.

pub(crate) mod restore;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::audit::{self, Actor, AuditCheckpoint, Kind, Subject};
use crate::integrity::Integrity;
use crate::integrity::verify::{Verification, without_key};
use crate::model::{ObjectId, Time};
use crate::records::objects::{self, Needed, NeededKind};
use crate::records::{Keyring, Records, facts, tickets, versions};
use crate::repo::anchor::{self, AUDIT_KEY};
use crate::repo::blocking::blocking;
use crate::repo::kek::{sync_above, write_new};
use crate::repo::{Error, HOST_KEY, LEGACY_HOST_KEY, Repo};
use crate::vault::extent::{EXTENT_HEAD, sealed_length};

/// The fact that says when the last backup was complete, as RFC 3339.
const LAST_BACKUP: &str = "last_backup";
/// The list of contents, written last.
const CONTENTS: &str = "manifest.json";
/// The signature over it, by the key that signs checkpoints, as OpenSSH writes one.
const SIGNATURE: &str = "manifest.json.sig";
/// What that signature is for; it counts nowhere else.
const NAMESPACE: &str = "tacdrop-backup";
/// The checkpoint of the audit trail as a file of its own.
const CHECKPOINT: &str = "audit-checkpoint";
/// The form of the list of contents.
const FORMAT: u32 = 1;
/// Objects that are linked, copied or checked at once.
const AT_ONCE: u32 = 500;
/// How often the databases are copied again because a share was shredded meanwhile.
const COPIES: usize = 5;
/// How long a rotation of keys is waited for.
const ROTATION: Duration = Duration::from_secs(60);

/// What is in a backup: its `manifest.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupContents {
    /// The form of this list.
    pub format: u32,
    /// Whether the backup was taken to its end.
    pub complete: bool,
    /// The version of tacdrop that took it.
    pub tacdrop: String,
    /// When the records were copied: what was available then is in it.
    pub taken_at: String,
    /// When it was complete.
    pub finished_at: String,
    /// The generation of the KEK that opens its keyring.
    pub kek_generation: u32,
    /// The fingerprint of the SSH host key that clients know.
    pub host_key: Option<String>,
    /// The same of the host key that old devices know; lists that were written before there was one
    /// do not have it.
    #[serde(default)]
    pub legacy_host_key: Option<String>,
    /// Tickets.
    pub tickets: u64,
    /// Versions that can be read or continued.
    pub versions: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes of these objects.
    pub bytes: u64,
    /// Objects that are hard links; the others are copies.
    pub linked: u64,
    /// Objects that the records need and the store does not have, or not as they were sealed.
    pub missing: u64,
    /// Shares whose keys are not in the keyring: they were shredded.
    pub shares_without_key: u64,
    /// SHA-256 of the copy of the records.
    pub records_sha256: String,
    /// SHA-256 of the copy of the keyring.
    pub keyring_sha256: String,
    /// How far the audit trail in it goes, as `tacdrop audit checkpoint` prints it; none if it is
    /// empty, and in lists of before they said it.
    #[serde(default)]
    pub audit_checkpoint: Option<String>,
}

/// Where the parts of a backup lie.
#[derive(Debug, Clone)]
pub struct BackupPlace {
    /// Everything but the keyring.
    pub root: PathBuf,
    /// The keyring's copy.
    pub keyring: PathBuf,
}

impl BackupPlace {
    /// A backup at `root`, with the keyring in it or in a directory of its own.
    pub fn at(root: &Path, keyring: Option<&Path>) -> Self {
        let keyring = keyring.map_or_else(|| root.join("keyring"), Path::to_owned);
        Self { root: root.to_owned(), keyring }
    }

    pub(crate) fn records_file(&self) -> PathBuf {
        self.root.join("records").join("records.sqlite")
    }

    pub(crate) fn keyring_file(&self) -> PathBuf {
        self.keyring.join("keyring.sqlite")
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// What is in it.
    ///
    /// # Errors
    /// If it was not taken to its end.
    pub fn contents(&self) -> Result<BackupContents, Error> {
        let path = self.root.join(CONTENTS);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::operator(format!(
                    "{} is missing, so {} is no backup or was cut before its end; use another one",
                    path.display(),
                    self.root.display()
                )));
            }
            other => other.map_err(Error::file(&path))?,
        };
        let contents: BackupContents = serde_json::from_slice(&text)
            .map_err(|error| Error::operator(format!("{} cannot be read: {error}", path.display())))?;
        if contents.format != FORMAT || !contents.complete {
            return Err(Error::operator(format!("{} is not of a complete backup of form {FORMAT}", path.display())));
        }
        Ok(contents)
    }
}

/// How far a backup is.
#[derive(Debug, Clone, Copy, Default)]
pub struct BackupProgress {
    /// Bytes of objects that are done.
    pub done: u64,
    /// Bytes of objects in all.
    pub all: u64,
}

/// Takes backups of a data directory while it is served.
pub struct Backups {
    repo: Arc<Repo>,
}

impl Backups {
    pub(crate) fn of(repo: &Arc<Repo>) -> Self {
        Self { repo: Arc::clone(repo) }
    }

    /// Takes a backup. With `deep`, everything in it is decrypted and hashed at the end.
    ///
    /// # Errors
    /// A sentence that says what is in the way; what is there of the backup is refused by a restore
    /// then.
    pub async fn back_up(
        &self,
        place: &BackupPlace,
        deep: bool,
        mut progress: impl FnMut(BackupProgress),
    ) -> Result<(BackupContents, Vec<Verification>), Error> {
        let root = self.repo.data.root();
        for directory in [&place.root, &place.keyring] {
            empty_directory(directory)?;
            let inside = match (fs::canonicalize(directory), fs::canonicalize(root)) {
                (Ok(directory), Ok(root)) => directory.starts_with(root),
                _ => false,
            };
            if inside {
                return Err(Error::operator("a backup inside the data directory is none; choose another place"));
            }
        }
        let _lease = self.repo.data.lease_for_backup()?;
        let taken_at = Time::now();
        let kek_generation = self.copy_databases(place).await?;
        let (records, keyring) =
            (Records::open_copy(&place.records_file()).await?, Keyring::open_copy(&place.keyring_file()).await?);
        self.repo.failpoints.hit("backup.databases-copied");
        let mut conn = records.read().await?;
        let checkpoint = match crate::records::audit::tip(&mut conn).await? {
            Some((seq, link)) => {
                let key = self.repo.keys.signing_key(AUDIT_KEY).await?;
                Some(AuditCheckpoint::sign(&key, seq, Time::now(), link).to_string())
            }
            None => None,
        };
        write_texts(place, &self.repo, checkpoint.as_deref())?;
        let plaintext = objects::needed_totals(&mut conn).await?.1;
        let mut counts = Counts::default();
        let mut each = async |needed: Vec<Needed>| -> Result<(), Error> {
            let (from, to) = (self.repo.data.objects(), place.objects());
            let work = move || needed.iter().map(|one| take(&from, &to, one)).collect::<Result<Vec<_>, _>>();
            for one in blocking(&self.repo.worker_runtime, "the backup", work).await? {
                counts.add(one);
            }
            progress(BackupProgress { done: counts.bytes, all: plaintext.max(counts.bytes) });
            Ok(())
        };
        make_shelves(&place.objects())?;
        for_each_object(&mut conn, &mut each).await?;
        sync_shelves(&place.objects())?;
        drop(conn);
        self.repo.failpoints.hit("backup.objects-taken");

        for (what, complaint) in [("records", records.complaint().await?), ("keyring", keyring.complaint().await?)] {
            if let Some(complaint) = complaint {
                return Err(Error::operator(format!("the copy of the {what} is not sound: {complaint}")));
            }
        }
        let shares_without_key = without_key(&records, &keyring).await?.len() as u64;
        let mut conn = records.read().await?;
        let shares = tickets::shares(&mut conn).await?;
        let contents = BackupContents {
            format: FORMAT,
            complete: true,
            tacdrop: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at: taken_at.to_string(),
            finished_at: Time::now().to_string(),
            kek_generation,
            host_key: facts::fact(&mut conn, HOST_KEY).await?,
            legacy_host_key: facts::fact(&mut conn, LEGACY_HOST_KEY).await?,
            tickets: shares.len() as u64,
            versions: versions::count(&mut conn).await?,
            objects: counts.objects,
            bytes: counts.bytes,
            linked: counts.linked,
            missing: counts.missing,
            shares_without_key,
            records_sha256: file_hash(&place.records_file())?,
            keyring_sha256: file_hash(&place.keyring_file())?,
            audit_checkpoint: checkpoint,
        };
        drop(conn);
        let mut damaged = Vec::new();
        if deep {
            let (kek, settings, worker_runtime) =
                (self.repo.keys.path(), self.repo.settings.clone(), self.repo.worker_runtime.clone());
            let copy =
                Repo::of_copy(&place.root, records.clone(), keyring.clone(), kek, settings, worker_runtime).await?;
            damaged = Integrity::of(&Arc::new(copy))
                .verify_readable(|_| ())
                .await?
                .into_iter()
                .filter(|line| !line.intact)
                .collect();
        }
        records.close().await;
        keyring.close().await;

        let text = serde_json::to_vec_pretty(&contents).map_err(|error| Error::operator(error.to_string()))?;
        let signature = self.repo.keys.signing_key(AUDIT_KEY).await?.sign_ssh(NAMESPACE, &text);
        // The list of contents comes last: a backup without it is none.
        for (name, bytes) in [(SIGNATURE, signature.as_bytes()), (CONTENTS, &text)] {
            let path = place.root.join(name);
            write_new(&path, bytes, 0o600).map_err(Error::file(&path))?;
        }
        self.repo.failpoints.hit("backup.complete");
        let mut tx = self.repo.records.begin().await?;
        facts::set_fact(tx.conn(), LAST_BACKUP, &contents.taken_at).await?;
        let subject = Subject { actor: &Actor::Operator, ticket: None, id: None };
        let detail = json!({ "objects": contents.objects, "versions": contents.versions, "missing": contents.missing });
        audit::write(tx.conn(), Kind::BackupTaken, subject, &detail).await?;
        tx.commit().await?;
        Ok((contents, damaged))
    }

    /// When the last backup was taken.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn last_backup(&self) -> Result<Option<String>, Error> {
        Ok(facts::fact(&mut *self.repo.records.read().await?, LAST_BACKUP).await?)
    }

    /// Copies records and keyring so that they belong together, and says which KEK opens them.
    async fn copy_databases(&self, place: &BackupPlace) -> Result<u32, Error> {
        let patience = tokio::time::Instant::now() + ROTATION;
        let _keys = loop {
            match self.repo.data.lock_for_rotation() {
                Ok(lock) => break lock,
                Err(error @ Error::Operator(_)) if tokio::time::Instant::now() > patience => return Err(error),
                Err(Error::Operator(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(error) => return Err(error),
            }
        };
        let keyring = self.repo.keys.keyring();
        let counts = keyring.counts().await?;
        let newest = counts.last().map_or(0, |(generation, ..)| *generation);
        if counts.iter().any(|(generation, shares, server)| *generation < newest && shares + server > 0) {
            return Err(Error::operator(
                "a rotation of the KEK was cut, so a backup would need two KEKs: run 'tacdrop key rotate' to end it",
            ));
        }
        let (records_file, keyring_file) = (place.records_file(), place.keyring_file());
        for last in (0..COPIES).map(|round| round + 1 == COPIES) {
            for file in [&records_file, &keyring_file] {
                let above = file.parent().unwrap_or(&place.root);
                DirBuilder::new().recursive(true).mode(0o700).create(above).map_err(Error::file(above))?;
                // SQLite writes into an empty file; nobody else may read it at any moment.
                OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(file)
                    .map_err(Error::file(file))?;
            }
            self.repo.records.copy_to(&records_file).await?;
            keyring.copy_to(&keyring_file).await?;
            let copied = Records::open_copy(&records_file).await?;
            let mut conn = copied.read().await?;
            let tip = crate::records::audit::tip(&mut conn).await?.unwrap_or((0, [0; 32]));
            let signed = crate::records::audit::last_checkpoint(&mut conn).await?.unwrap_or(0);
            drop(conn);
            copied.close().await;
            anchor::fit_copy(&self.repo.keys, &keyring_file, tip, signed).await?;
            for file in [&records_file, &keyring_file] {
                File::open(file).and_then(|open| open.sync_all()).map_err(Error::file(file))?;
                sync_above(file).map_err(Error::file(file))?;
            }
            // A share that was shredded between the two copies is gone, and the records are to say
            // so.
            let (records, copy) = (Records::open_copy(&records_file).await?, Keyring::open_copy(&keyring_file).await?);
            let lost = without_key(&records, &copy).await?;
            let wrapped = versions::wrapped(&mut *records.read().await?).await?;
            records.close().await;
            copy.close().await;
            if last || !wrapped.iter().any(|(share, ..)| lost.contains(share)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(newest)
    }
}

/// Hands on every object of the store that the records need, some at a time.
pub(crate) async fn for_each_object(
    conn: &mut crate::records::Conn,
    each: &mut impl AsyncFnMut(Vec<Needed>) -> Result<(), Error>,
) -> Result<(), Error> {
    for manifests in [false, true] {
        let mut after: Option<ObjectId> = None;
        loop {
            let page = match manifests {
                false => objects::needed_extents(conn, after, AT_ONCE).await?,
                true => objects::needed_manifests(conn, after, AT_ONCE).await?,
            };
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            each(page).await?;
        }
    }
    Ok(())
}

/// What became of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Taken {
    Linked(u64),
    Copied(u64),
    /// Not there, or not what was sealed.
    Missing,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) linked: u64,
    pub(crate) missing: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, taken: Taken) {
        match taken {
            Taken::Linked(bytes) => {
                (self.objects, self.bytes, self.linked) = (self.objects + 1, self.bytes + bytes, self.linked + 1)
            }
            Taken::Copied(bytes) => (self.objects, self.bytes) = (self.objects + 1, self.bytes + bytes),
            Taken::Missing => self.missing += 1,
        }
    }
}

/// Takes an object from one store into another, durably but for its directory, and checks that it
/// is what it should be.
pub(crate) fn take(from: &Path, to: &Path, needed: &Needed) -> Result<Taken, Error> {
    let name = needed.id.to_string();
    let shelf = name.get(..2).unwrap_or_default();
    let (source, target) = (from.join(shelf).join(&name), to.join(shelf).join(&name));
    let linked = match fs::hard_link(&source, &target) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound && !source.exists() => return Ok(Taken::Missing),
        // Another disk, or a file system without links.
        Err(_) => {
            let mut source = File::open(&source).map_err(Error::file(&source))?;
            let create = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&target);
            let mut copy = create.map_err(Error::file(&target))?;
            std::io::copy(&mut source, &mut copy).map_err(Error::file(&target))?;
            copy.sync_all().map_err(Error::file(&target))?;
            false
        }
    };
    match check(&target, needed)? {
        None => Ok(Taken::Missing),
        Some(bytes) if linked => Ok(Taken::Linked(bytes)),
        Some(bytes) => Ok(Taken::Copied(bytes)),
    }
}

/// The length of an object if it is the one that the records mean: length, ids and header tag of an
/// extent, every byte of a manifest.
fn check(path: &Path, needed: &Needed) -> Result<Option<u64>, Error> {
    let mut file = File::open(path).map_err(Error::file(path))?;
    let length = file.metadata().map_err(Error::file(path))?.len();
    let sound = match &needed.kind {
        NeededKind::Extent { share, length: plaintext, header_tag } => {
            let mut head = [0; EXTENT_HEAD];
            let read = length == sealed_length(*plaintext) && file.read_exact(&mut head).is_ok();
            read && head.get(8..24) == Some(&share.as_bytes()[..])
                && head.get(40..56) == Some(&needed.id.as_bytes()[..])
                && head.get(EXTENT_HEAD - 32..) == Some(&header_tag[..])
        }
        NeededKind::Manifest { hash } => {
            let mut digest = Sha256::new();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(Error::file(path))?;
            digest.update(&bytes);
            <[u8; 32]>::from(digest.finalize()) == *hash
        }
    };
    Ok(sound.then_some(length))
}

pub(crate) fn make_shelves(objects: &Path) -> Result<(), Error> {
    for shelf in (0..=u8::MAX).map(|shelf| objects.join(hex::encode([shelf]))) {
        DirBuilder::new().recursive(true).mode(0o700).create(&shelf).map_err(Error::file(&shelf))?;
    }
    Ok(())
}

pub(crate) fn sync_shelves(objects: &Path) -> Result<(), Error> {
    let shelves = (0..=u8::MAX).map(|shelf| objects.join(hex::encode([shelf])));
    for directory in shelves.chain([objects.to_owned()]) {
        File::open(&directory).and_then(|open| open.sync_all()).map_err(Error::file(&directory))?;
    }
    sync_above(objects).map_err(Error::file(objects))
}

/// A directory that is empty; it is made if there is none.
pub(crate) fn empty_directory(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file(path))?;
    match fs::read_dir(path).map_err(Error::file(path))?.next() {
        None => Ok(()),
        Some(_) => {
            Err(Error::operator(format!("{} is not empty; name an empty directory or a new one", path.display())))
        }
    }
}

pub(crate) fn file_hash(path: &Path) -> Result<String, Error> {
    let (mut file, mut hash, mut block) =
        (File::open(path).map_err(Error::file(path))?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut block).map_err(Error::file(path))? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(block.get(..read).unwrap_or_default()),
        }
    }
}

/// What whoever finds the backup must know.
fn write_texts(place: &BackupPlace, repo: &Repo, checkpoint: Option<&str>) -> Result<(), Error> {
    if let Some(checkpoint) = checkpoint {
        let path = place.root.join(CHECKPOINT);
        write_new(&path, checkpoint.as_bytes(), 0o600).map_err(Error::file(&path))?;
    }
    let kek = repo.keys.path();
    let kek = fs::canonicalize(kek).unwrap_or_else(|_| kek.to_owned());
    let host = repo.data.host_key();
    let host = fs::canonicalize(&host).unwrap_or(host);
    let of_devices = repo.data.legacy_host_key();
    let (of_devices, option) = match of_devices.exists() {
        true => (
            format!(
                "- the SSH host key that old devices know: {}\n",
                fs::canonicalize(&of_devices).unwrap_or(of_devices).display()
            ),
            " --legacy-host-key FILE",
        ),
        false => (String::new(), ""),
    };
    let text = format!(
        "A backup of tacdrop. It is complete when {CONTENTS} is there.\n\n\
         records/   who, which tickets, which files, under which keys (encrypted names, wrapped keys)\n\
         objects/   the encrypted contents; possibly hard links to the server's own files, which never change\n\
         keyring    lies in {}: the shares' keys, wrapped\n\
         {CHECKPOINT}\n           a signed statement of how far the audit trail goes; kept elsewhere as well, it shows whether the\n           \
         server's trail still begins with the same entries: 'tacdrop audit verify --checkpoint FILE'\n\n\
         KEEP THE KEYRING APART, AND FOR A SHORTER TIME (14 days unless you have agreed on another time).\n\
         Once the key of a share was replaced ('tacdrop key rotate --share'), what was shredded in it before can be\n\
         read with an older keyring only. A keyring that is kept longer undoes that. Records and objects may be kept\n\
         for longer: without the keyring they tell nothing of what lies in the shares.\n\n\
         NOT in this backup, on purpose, and needed to restore it:\n\
         - the KEK, without which nothing can be read: {}\n\
         - the SSH host key, by which clients know the server: {}\n\
         {of_devices}Keep them in another place than this backup.\n\n\
         To restore: tacdrop --data NEWDIR restore THIS-DIRECTORY [--keyring DIR] --kek FILE --host-key FILE{option}\n",
        place.keyring.display(),
        kek.display(),
        host.display(),
    );
    let apart = "The keyring of a tacdrop backup: the shares' keys, wrapped under the KEK. Keep it apart from records and\n\
                 objects, and for a shorter time (14 days unless you have agreed on another time): what was shredded can be\n\
                 read for as long as the key of its share is kept anywhere.\n";
    for (directory, text) in [(&place.root, text.as_str()), (&place.keyring, apart)] {
        let path = directory.join("README");
        write_new(&path, text.as_bytes(), 0o600).map_err(Error::file(&path))?;
    }
    Ok(())
}
