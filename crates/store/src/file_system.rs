//! What the disk store stands on: the system's files, or in tests a machine that loses what was not
//! synced.
//!
//! The store asks through a trait object, in the server as in tests, so both run the same code.
//! That costs nothing that matters: a call through it takes ten nanoseconds at most, and writing a
//! buffer of 256 KiB to a file in memory 180,000.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Result;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Files and directories by path.
pub trait FileSystem: Debug + Send + Sync {
    /// Makes a directory that only the server may enter, if there is none.
    fn make_directory(&self, path: &Path) -> Result<()>;

    /// Whether there is such a directory.
    fn has_directory(&self, path: &Path) -> bool;

    /// What lies in a directory, in any order.
    fn items(&self, directory: &Path) -> Result<Vec<Item>>;

    /// Makes a file that there must not be, to write and to read it.
    fn create_new(&self, path: &Path) -> Result<Box<dyn OpenFile>>;

    /// Opens a file to read it.
    fn open(&self, path: &Path) -> Result<Box<dyn OpenFile>>;

    /// Gives a file another name. Not durable before both directories are synced.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Takes a file's name away. Not durable before its directory is synced.
    fn remove(&self, path: &Path) -> Result<()>;

    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> Result<()>;
}

/// An open file.
pub trait OpenFile: Debug + Send + Sync {
    /// Writes all of `bytes`, in as many steps as the system needs.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<()>;

    /// Fills `into`; an error if the file ends before.
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> Result<()>;

    /// Makes the content durable.
    fn sync_data(&self) -> Result<()>;

    /// Bytes.
    fn length(&self) -> Result<u64>;
}

/// What lies in a directory.
#[derive(Debug)]
pub struct Item {
    /// Where it lies: the directory's path and its name.
    pub path: PathBuf,
    /// Whether it is a file and no link to one.
    pub is_file: bool,
    /// Whether it is a directory and no link to one.
    pub is_directory: bool,
    /// Bytes.
    pub length: u64,
}

/// The system's own.
#[derive(Debug)]
pub(super) struct System;

impl FileSystem for System {
    fn make_directory(&self, path: &Path) -> Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    fn has_directory(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn items(&self, directory: &Path) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for item in fs::read_dir(directory)? {
            let item = item?;
            match item.metadata() {
                Ok(facts) => items.push(Item {
                    path: item.path(),
                    is_file: facts.is_file(),
                    is_directory: facts.is_dir(),
                    length: facts.len(),
                }),
                // Removed a moment ago.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }

    fn create_new(&self, path: &Path) -> Result<Box<dyn OpenFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn OpenFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, path: &Path) -> Result<()> {
        File::open(path)?.sync_all()
    }
}

impl OpenFile for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> Result<()> {
        FileExt::read_exact_at(self, into, offset)
    }

    fn sync_data(&self) -> Result<()> {
        Self::sync_data(self)
    }

    fn length(&self) -> Result<u64> {
        Ok(self.metadata()?.len())
    }
}
