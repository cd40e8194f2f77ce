//! The data directory: what lies where in it, who may use it, and how it comes to be.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::repo::Error;
use crate::repo::kek::sync_above;

/// Keeps everybody out of a data directory while a backup is restored into it.
pub(crate) const RESTORING: &str = "restoring";
/// Lies in a data directory from before the first piece of its house is made until all are there: a
/// beginning that was cut is told from a house that has lost something.
const BEGINNING: &str = "beginning";

/// The fact that remembers which host key old devices have seen.
pub const LEGACY_HOST_KEY: &str = "legacy_host_key_fingerprint";
/// The fact that remembers the fingerprint of the SSH host key.
pub const HOST_KEY: &str = "host_key_fingerprint";

/// Everything that one server keeps, under one directory.
#[derive(Debug, Clone)]
pub struct DataDirectory {
    root: PathBuf,
}

impl DataDirectory {
    /// The data directory at `root`; nothing is made yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where keys lie that wrap or identify: the KEK and the SSH host keys.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The KEK's default place.
    pub fn kek(&self) -> PathBuf {
        self.keys().join("kek")
    }

    /// The SSH host key.
    pub fn host_key(&self) -> PathBuf {
        self.keys().join("ssh_host_ed25519_key")
    }

    /// The SSH host key of the listener for old devices.
    pub fn legacy_host_key(&self) -> PathBuf {
        self.keys().join("ssh_host_rsa_key")
    }

    /// The records' database.
    pub fn records(&self) -> PathBuf {
        self.root.join("records.sqlite")
    }

    /// The keyring's database.
    pub fn keyring(&self) -> PathBuf {
        self.root.join("keyring.sqlite")
    }

    /// The encrypted objects.
    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// The mail spool's default place.
    pub fn notices(&self) -> PathBuf {
        self.root.join("notices")
    }

    /// Makes the directories that are missing.
    pub(crate) fn make_directories(&self) -> Result<(), Error> {
        make_private(&self.keys())?;
        make_private(&self.objects())
    }

    /// Says durably that a house begins here, and makes the databases' files before SQLite does, so
    /// that only the server may read them; SQLite gives its own files beside them the same mode.
    pub(crate) fn begin(&self) -> Result<(), Error> {
        let mark = self.root.join(BEGINNING);
        private_file(&mark)?.sync_all().map_err(Error::file(&mark))?;
        sync_above(&mark).map_err(Error::file(&mark))?;
        for path in [self.records(), self.keyring()] {
            private_file(&path)?;
        }
        Ok(())
    }

    /// Whether a house has begun here and is not whole yet.
    pub(crate) fn is_beginning(&self) -> bool {
        self.root.join(BEGINNING).exists()
    }

    /// Says durably that the house is whole.
    pub(crate) fn begun(&self) -> Result<(), Error> {
        let mark = self.root.join(BEGINNING);
        match fs::remove_file(&mark) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other.and_then(|()| sync_above(&mark)).map_err(Error::file(&mark)),
        }
    }

    /// Whether there is nothing at all that a command could work with.
    pub fn is_none(&self) -> bool {
        !self.records().exists() && !self.keyring().exists() && !self.objects().exists()
    }

    /// Waits for everybody who opens this directory, if anybody ever has. The lock is held as long
    /// as the file lives.
    pub(crate) fn lock_if_there(&self) -> Result<Option<File>, Error> {
        self.refuse_half_restored()?;
        let path = self.root.join("lock");
        match OpenOptions::new().write(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            other => self.locked(other.map_err(Error::file(path))?).map(Some),
        }
    }

    /// Makes the directory and its lock, and waits for anybody else who does.
    pub(crate) fn lock_for_opening(&self) -> Result<File, Error> {
        self.refuse_half_restored()?;
        make_private(&self.root)?;
        // What is made in it later is durable only if the directory itself is.
        for directory in [&self.root, &self.root.join("..")] {
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(Error::file(directory))?;
        }
        self.locked(private_file(&self.root.join("lock"))?)
    }

    fn locked(&self, file: File) -> Result<File, Error> {
        file.lock().map_err(Error::file(self.root.join("lock")))?;
        Ok(file)
    }

    fn refuse_half_restored(&self) -> Result<(), Error> {
        if self.root.join(RESTORING).exists() {
            return Err(Error::operator(format!(
                "a restore into {} was not finished; empty it and run 'tacdrop restore' again",
                self.root.display()
            )));
        }
        Ok(())
    }

    /// Says that a backup is taken: no object is removed meanwhile. It ends with the process that
    /// holds it.
    pub(crate) fn lease_for_backup(&self) -> Result<File, Error> {
        let path = self.root.join("backup.lock");
        let file = private_file(&path)?;
        // Who removes objects holds it for moments.
        file.lock_shared().map_err(Error::file(path))?;
        Ok(file)
    }

    /// Says that this process removes objects; none while a backup is taken.
    pub(crate) fn lock_for_removal(&self) -> Result<Option<File>, Error> {
        let path = self.root.join("backup.lock");
        let file = private_file(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(Error::file(path)(error)),
        }
    }

    /// Says that this process replaces keys: only one may, and not while a backup copies them.
    pub(crate) fn lock_for_rotation(&self) -> Result<File, Error> {
        let path = self.root.join("keys.lock");
        let file = private_file(&path)?;
        match lock_soon(&file) {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(Error::operator(
                "another 'tacdrop key rotate' or 'tacdrop backup' is at the keys just now; try again in a moment",
            )),
            Err(fs::TryLockError::Error(error)) => Err(Error::file(path)(error)),
        }
    }

    /// Whether a process serves the data directory just now.
    pub(crate) fn is_served(&self) -> Result<bool, Error> {
        let path = self.root.join("serve.lock");
        let file = private_file(&path)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(fs::TryLockError::WouldBlock) => Ok(true),
            Err(fs::TryLockError::Error(error)) => Err(Error::file(path)(error)),
        }
    }

    /// Says that this process serves the data directory: only one may.
    pub(crate) fn lock_for_serving(&self) -> Result<File, Error> {
        let path = self.root.join("serve.lock");
        let file = private_file(&path)?;
        match lock_soon(&file) {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(Error::operator(format!(
                "another tacdrop serves {} already; stop it first, or give this one --data of its own",
                self.root.display()
            ))),
            Err(fs::TryLockError::Error(error)) => Err(Error::file(path)(error)),
        }
    }
}

/// Locks a file, or finds that another process has it for longer than a moment. One that was just
/// let go may still be held by a child that is being started: it has everything open that its
/// parent has, until it is another program.
fn lock_soon(file: &File) -> Result<(), fs::TryLockError> {
    for _ in 0..20 {
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(25)),
            outcome => return outcome,
        }
    }
    file.try_lock()
}

fn private_file(path: &Path) -> Result<File, Error> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(Error::file(path))
}

/// Makes a directory that only the server may enter, and those above it.
fn make_private(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file(path))
}
