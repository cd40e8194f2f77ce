//! What the disk store stands on: the file system, or in tests a simulated one that loses what was not synced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Result;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

#[cfg(test)]
use super::simulated;

/// A file system.
#[derive(Debug, Clone)]
pub(super) enum Medium {
    System,
    #[cfg(test)]
    Simulated(simulated::Machine),
}

/// What lies in a directory.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) path: PathBuf,
    pub(super) is_file: bool,
    pub(super) is_directory: bool,
    /// Bytes.
    pub(super) length: u64,
}

/// An open file of it.
#[derive(Debug)]
pub(super) enum Opened {
    System(File),
    #[cfg(test)]
    Simulated(simulated::OpenFile),
}

impl Medium {
    /// Makes a directory that only the server may enter, if there is none.
    pub(super) fn make_directory(&self, path: &Path) -> Result<()> {
        match self {
            Self::System => match DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            },
            #[cfg(test)]
            Self::Simulated(machine) => machine.make_directory(path),
        }
    }

    pub(super) fn has_directory(&self, path: &Path) -> bool {
        match self {
            Self::System => path.is_dir(),
            #[cfg(test)]
            Self::Simulated(machine) => machine.has_directory(path),
        }
    }

    /// What lies in a directory, in any order.
    pub(super) fn items(&self, directory: &Path) -> Result<Vec<Item>> {
        match self {
            Self::System => {
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
            #[cfg(test)]
            Self::Simulated(machine) => machine.items(directory),
        }
    }

    /// Makes a file that there must not be.
    pub(super) fn create_new(&self, path: &Path) -> Result<Opened> {
        Ok(match self {
            Self::System => {
                Opened::System(OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?)
            }
            #[cfg(test)]
            Self::Simulated(machine) => Opened::Simulated(machine.create_new(path)?),
        })
    }

    pub(super) fn open(&self, path: &Path) -> Result<Opened> {
        Ok(match self {
            Self::System => Opened::System(File::open(path)?),
            #[cfg(test)]
            Self::Simulated(machine) => Opened::Simulated(machine.open(path)?),
        })
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        match self {
            Self::System => fs::rename(from, to),
            #[cfg(test)]
            Self::Simulated(machine) => machine.rename(from, to),
        }
    }

    pub(super) fn remove(&self, path: &Path) -> Result<()> {
        match self {
            Self::System => fs::remove_file(path),
            #[cfg(test)]
            Self::Simulated(machine) => machine.remove(path),
        }
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync_directory(&self, path: &Path) -> Result<()> {
        match self {
            Self::System => File::open(path)?.sync_all(),
            #[cfg(test)]
            Self::Simulated(machine) => machine.sync_directory(path),
        }
    }
}

impl Opened {
    /// Writes all of `bytes`, in as many steps as the system needs.
    pub(super) fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        match self {
            Self::System(file) => file.write_all_at(bytes, offset),
            #[cfg(test)]
            Self::Simulated(file) => file.write_all_at(bytes, offset),
        }
    }

    pub(super) fn read_exact_at(&self, into: &mut [u8], offset: u64) -> Result<()> {
        match self {
            Self::System(file) => file.read_exact_at(into, offset),
            #[cfg(test)]
            Self::Simulated(file) => file.read_exact_at(into, offset),
        }
    }

    /// Makes the content durable.
    pub(super) fn sync_data(&self) -> Result<()> {
        match self {
            Self::System(file) => file.sync_data(),
            #[cfg(test)]
            Self::Simulated(file) => file.sync_data(),
        }
    }

    /// Bytes.
    pub(super) fn length(&self) -> Result<u64> {
        match self {
            Self::System(file) => Ok(file.metadata()?.len()),
            #[cfg(test)]
            Self::Simulated(file) => file.length(),
        }
    }
}
