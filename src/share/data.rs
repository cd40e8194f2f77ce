//! The data directory: what lies where in it, who may use it, and how it comes to be.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::share::Error;

/// Keeps everybody out of a data directory while a backup is restored into it.
pub(crate) const RESTORING: &str = "restoring";

/// The fact that remembers which host key old devices have seen.
pub const LEGACY_HOST_KEY: &str = "legacy_host_key_fingerprint";

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

    /// Makes the databases' files before SQLite does, so that only the server may read them; SQLite gives its own files
    /// beside them the same mode.
    pub(crate) fn make_databases(&self) -> Result<(), Error> {
        for path in [self.records(), self.keyring()] {
            private_file(&path)?;
        }
        Ok(())
    }

    /// Makes what is missing and waits for anybody else who does. The lock is held as long as the file lives.
    pub(crate) fn lock_for_opening(&self) -> Result<File, Error> {
        if self.root.join(RESTORING).exists() {
            return Err(Error::operator(format!(
                "a restore into {} was not finished; empty it and run 'tacdrop restore' again",
                self.root.display()
            )));
        }
        make_private(&self.root)?;
        make_private(&self.keys())?;
        make_private(&self.objects())?;
        // What is made in it later is durable only if the directory itself is.
        for directory in [&self.root, &self.root.join("..")] {
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(Error::file(directory))?;
        }
        let path = self.root.join("lock");
        let file = private_file(&path)?;
        file.lock().map_err(Error::file(path))?;
        Ok(file)
    }

    /// Says that a backup is taken: no object is removed meanwhile. It ends with the process that holds it.
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
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(Error::operator(
                "another 'tacdrop key rotate' or 'tacdrop backup' is at the keys just now; try again in a moment",
            )),
            Err(fs::TryLockError::Error(error)) => Err(Error::file(path)(error)),
        }
    }

    /// Says that this process serves the data directory: only one may.
    pub(crate) fn lock_for_serving(&self) -> Result<File, Error> {
        let path = self.root.join("serve.lock");
        let file = private_file(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(Error::operator(format!(
                "another tacdrop serves {} already; stop it first, or give this one --data of its own",
                self.root.display()
            ))),
            Err(fs::TryLockError::Error(error)) => Err(Error::file(path)(error)),
        }
    }
}

fn private_file(path: &Path) -> Result<File, Error> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(Error::file(path))
}

/// Makes a directory that only the server may enter, and those above it.
fn make_private(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file(path))
}
