//! Objects as files: `ROOT/ab/abcdef...`, named by their random id.
//!
//! An object is written to `ROOT/new/`, synced, renamed into its place and its directory synced: a file under its final
//! name is whole and durable. What a crash leaves in `ROOT/new/` was never promised to anybody and is removed at start.

use std::path::{Path, PathBuf};

use crate::model::ObjectId;
use crate::store::StoreError;
use crate::store::medium::{Medium, Opened};

/// The store on a local disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Disk {
    root: PathBuf,
    medium: Medium,
}

impl Disk {
    /// Opens the store at `root`, making its directory if there is none.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::on(Medium::System, root)
    }

    /// The store of a simulated machine.
    #[cfg(test)]
    pub(crate) fn simulated(machine: &super::simulated::Machine) -> Self {
        Self::on(Medium::Simulated(machine.clone()), Path::new("objects")).unwrap()
    }

    fn on(medium: Medium, root: &Path) -> Result<Self, StoreError> {
        let store = Self { root: root.to_owned(), medium };
        let medium = &store.medium;
        medium.make_directory(root)?;
        medium.make_directory(&store.unfinished())?;
        // All shelves at once, durable before anything stands on them.
        if !medium.has_directory(&root.join("ff")) {
            for shelf in 0..=u8::MAX {
                medium.make_directory(&root.join(hex::encode([shelf])))?;
            }
            medium.sync_directory(root)?;
        }
        Ok(store)
    }

    /// Removes what a crash left behind. For the one server of this store, before it takes uploads.
    ///
    /// # Errors
    /// If the directory cannot be read or a file not be removed.
    pub fn sweep_unfinished(&self) -> Result<usize, StoreError> {
        let mut removed = 0;
        for file in self.medium.files(&self.unfinished())? {
            self.medium.remove(&file?)?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Begins a new object.
    ///
    /// # Errors
    /// If its file cannot be made, or the id was used before.
    pub fn create(&self, id: ObjectId) -> Result<NewObject, StoreError> {
        let temporary = self.unfinished().join(id.to_string());
        let file = self.medium.create_new(&temporary)?;
        Ok(NewObject { store: self.clone(), file, temporary, place: self.place(id), length: 0, finished: false })
    }

    /// Writes a whole object and makes it durable.
    ///
    /// # Errors
    /// If any step fails; nothing is left under the id then.
    pub fn put(&self, id: ObjectId, bytes: &[u8]) -> Result<(), StoreError> {
        let mut object = self.create(id)?;
        object.append(bytes)?;
        object.finish()
    }

    /// Opens an object for reading.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is none.
    pub fn get(&self, id: ObjectId) -> Result<ObjectFile, StoreError> {
        Ok(ObjectFile { file: self.medium.open(&self.place(id))? })
    }

    /// Removes an object; that it was gone already is no error.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn delete(&self, id: ObjectId) -> Result<(), StoreError> {
        match self.medium.remove(&self.place(id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn unfinished(&self) -> PathBuf {
        self.root.join("new")
    }

    fn place(&self, id: ObjectId) -> PathBuf {
        let name = id.to_string();
        let (shelf, _) = name.split_at(2);
        self.root.join(shelf).join(&name)
    }
}

/// An object that is being written. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct NewObject {
    store: Disk,
    file: Opened,
    temporary: PathBuf,
    place: PathBuf,
    length: u64,
    finished: bool,
}

impl NewObject {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// If they cannot be written; the object is of no use then.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Makes the object durable under its id: fdatasync, rename, fsync of the directory.
    ///
    /// # Errors
    /// If a step fails. It is not tried again: after a failed sync nobody knows what the disk holds.
    pub fn finish(mut self) -> Result<(), StoreError> {
        self.file.sync_data()?;
        self.store.medium.rename(&self.temporary, &self.place)?;
        self.finished = true;
        Ok(self.store.medium.sync_directory(self.place.parent().unwrap_or(&self.store.root))?)
    }
}

impl Drop for NewObject {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing depends on it: what stays is removed at the next start.
            let _ = self.store.medium.remove(&self.temporary);
        }
    }
}

/// An object that is open for reading.
#[derive(Debug)]
pub struct ObjectFile {
    file: Opened,
}

impl ObjectFile {
    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    /// [`StoreError::Short`] if the object ends before `into` is full.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), StoreError> {
        Ok(self.file.read_exact_at(into, offset)?)
    }

    /// The object's length in bytes.
    ///
    /// # Errors
    /// If the file cannot be asked.
    pub fn length(&self) -> Result<u64, StoreError> {
        Ok(self.file.length()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ObjectId {
        ObjectId::from_bytes([byte; 16])
    }

    #[test]
    fn an_object_appears_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let store = Disk::open(&directory.path().join("objects")).unwrap();
        let mut object = store.create(id(1)).unwrap();
        object.append(b"first ").unwrap();
        assert!(matches!(store.get(id(1)), Err(StoreError::Missing)));
        object.append(b"second").unwrap();
        object.finish().unwrap();
        let file = store.get(id(1)).unwrap();
        let mut bytes = [0; 6];
        file.read_at(6, &mut bytes).unwrap();
        assert_eq!((&bytes, file.length().unwrap()), (b"second", 12));
        assert!(matches!(file.read_at(7, &mut bytes), Err(StoreError::Short)));
        store.delete(id(1)).unwrap();
        store.delete(id(1)).unwrap();
        assert!(matches!(store.get(id(1)), Err(StoreError::Missing)));
    }

    #[test]
    fn an_abandoned_object_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Disk::open(directory.path()).unwrap();
        store.create(id(2)).unwrap().append(b"x").unwrap();
        assert_eq!(store.sweep_unfinished().unwrap(), 0);
        std::mem::forget(store.create(id(3)).unwrap());
        assert_eq!(store.sweep_unfinished().unwrap(), 1);
    }
}
