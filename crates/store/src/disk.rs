//! Objects as files: `ROOT/ab/abcdef...`, named by their random id.
//!
//! An object is written to `ROOT/new/`, synced, renamed into its place and its directory synced: a
//! file under its final name is whole and durable. What a crash leaves in `ROOT/new/` was never
//! promised to anybody and is removed at start.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::StoreError;
use crate::file_system::{FileSystem, Item, OpenFile, System};
use tacdrop_model::{HouseId, ObjectId};

/// The file that says which house the store belongs to: the id's digits and a line feed. It travels
/// with the objects, as their file system may be mounted by itself.
const MARK: &str = "house";
/// The digits in it.
const MARK_LENGTH: usize = 32;

/// The store on a local disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Disk {
    root: PathBuf,
    files: Arc<dyn FileSystem>,
}

impl Disk {
    /// The store at `root` as it is, to look at it; nothing is made.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), files: Arc::new(System) }
    }

    /// Opens the store at `root`, making its directory if there is none.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::on(Arc::new(System), root)
    }

    /// Opens the store at `root` of these files, which need not be the system's.
    ///
    /// # Errors
    /// If its directories cannot be made.
    pub fn on(files: Arc<dyn FileSystem>, root: &Path) -> Result<Self, StoreError> {
        let store = Self { root: root.to_owned(), files };
        let files = &store.files;
        files.make_directory(root)?;
        files.make_directory(&store.unfinished())?;
        // All shelves at once, durable before anything stands on them.
        if !files.has_directory(&root.join("ff")) {
            for shelf in 0..=u8::MAX {
                files.make_directory(&root.join(hex::encode([shelf])))?;
            }
            files.sync_directory(root)?;
        }
        Ok(store)
    }

    /// Removes what a crash left behind. For the one server of this store, before it takes uploads.
    ///
    /// # Errors
    /// If the directory cannot be read or a file not be removed.
    pub fn sweep_unfinished(&self) -> Result<usize, StoreError> {
        let mut removed = 0;
        for file in self.files.items(&self.unfinished())? {
            self.files.remove(&file.path)?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Which house the store says it belongs to; one of before there were ids says nothing.
    ///
    /// # Errors
    /// If the mark cannot be read, or is none.
    pub fn house(&self) -> Result<Option<HouseId>, StoreError> {
        let file = match self.files.open(&self.root.join(MARK)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut text = [0; MARK_LENGTH];
        let known = file.read_exact_at(&mut text, 0).ok().and_then(|()| std::str::from_utf8(&text).ok()?.parse().ok());
        known.map(Some).ok_or_else(|| {
            let why = format!("{} is not the id of a house", self.root.join(MARK).display());
            StoreError::Io(std::io::Error::new(ErrorKind::InvalidData, why))
        })
    }

    /// Says durably which house the store belongs to.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn mark(&self, house: HouseId) -> Result<(), StoreError> {
        let temporary = self.unfinished().join(MARK);
        match self.files.remove(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = self.files.create_new(&temporary)?;
        file.write_all_at(format!("{house}\n").as_bytes(), 0)?;
        file.sync_data()?;
        self.files.rename(&temporary, &self.root.join(MARK))?;
        Ok(self.files.sync_directory(&self.root)?)
    }

    /// Whether there is any object.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn holds_any(&self) -> Result<bool, StoreError> {
        for first in 0..=u8::MAX {
            if !self.shelf(first)?.objects.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Begins a new object.
    ///
    /// # Errors
    /// If its file cannot be made, or the id was used before.
    pub fn create(&self, id: ObjectId) -> Result<NewObject, StoreError> {
        let temporary = self.unfinished().join(id.to_string());
        let file = self.files.create_new(&temporary)?;
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
        Ok(ObjectFile { file: self.files.open(&self.place(id))? })
    }

    /// The length of an object in bytes; none if there is no such object.
    ///
    /// # Errors
    /// If the file cannot be asked.
    pub fn length(&self, id: ObjectId) -> Result<Option<u64>, StoreError> {
        match self.files.open(&self.place(id)) {
            Ok(file) => Ok(Some(file.length()?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What lies on the shelf of ids that begin with `first`.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn shelf(&self, first: u8) -> Result<Shelf, StoreError> {
        let mut shelf = Shelf::default();
        let items = match self.files.items(&self.root.join(hex::encode([first]))) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(shelf),
            other => other?,
        };
        for item in items {
            let id = item.path.file_name().and_then(|name| name.to_str()).and_then(|name| {
                let id: ObjectId = name.parse().ok()?;
                (id.as_bytes().first() == Some(&first) && id.to_string() == name).then_some(id)
            });
            match id.filter(|_| item.is_file) {
                Some(id) => shelf.objects.push((id, item.length)),
                None => shelf.foreign.push(item.path),
            }
        }
        shelf.objects.sort_unstable();
        Ok(shelf)
    }

    /// What lies beside the shelves and is none of the store's.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn beside_the_shelves(&self) -> Result<Vec<PathBuf>, StoreError> {
        let shelves: BTreeSet<String> = (0..=u8::MAX).map(|first| hex::encode([first])).chain(["new".into()]).collect();
        let is_shelf = |item: &Item| {
            item.is_directory && item.path.file_name().and_then(|n| n.to_str()).is_some_and(|n| shelves.contains(n))
        };
        let items = self.files.items(&self.root)?;
        let is_mark = |item: &Item| item.is_file && item.path.file_name().is_some_and(|name| name == MARK);
        let is_foreign = |item: &Item| !is_shelf(item) && !is_mark(item);
        let mut foreign: Vec<_> = items.into_iter().filter(is_foreign).map(|item| item.path).collect();
        foreign.sort_unstable();
        Ok(foreign)
    }

    /// Removes an object; that it was gone already is no error.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn delete(&self, id: ObjectId) -> Result<(), StoreError> {
        match self.files.remove(&self.place(id)) {
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

/// What lies on one shelf of the store.
#[derive(Debug, Default)]
pub struct Shelf {
    /// The objects, by id, and their lengths in bytes.
    pub objects: Vec<(ObjectId, u64)>,
    /// Files and directories that are no objects.
    pub foreign: Vec<PathBuf>,
}

/// An object that is being written. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct NewObject {
    store: Disk,
    file: Box<dyn OpenFile>,
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
    /// If a step fails. It is not tried again: after a failed sync nobody knows what the disk
    /// holds.
    pub fn finish(mut self) -> Result<(), StoreError> {
        self.file.sync_data()?;
        self.store.files.rename(&self.temporary, &self.place)?;
        self.finished = true;
        Ok(self.store.files.sync_directory(self.place.parent().unwrap_or(&self.store.root))?)
    }
}

impl Drop for NewObject {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing depends on it: what stays is removed at the next start.
            let _ = self.store.files.remove(&self.temporary);
        }
    }
}

/// An object that is open for reading.
#[derive(Debug)]
pub struct ObjectFile {
    file: Box<dyn OpenFile>,
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
    use std::fs;

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
    fn a_shelf_shows_its_objects_and_what_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let store = Disk::open(directory.path()).unwrap();
        store.put(id(0xab), b"12345").unwrap();
        store.put(id(0xff), b"1").unwrap();
        let shelf = directory.path().join("ab");
        // In the wrong case, on the wrong shelf, too short, and a directory.
        let foreign = ["ab".repeat(15) + "AB", "ac".repeat(16), "ab".into(), "ab".repeat(15) + "ac"];
        for name in &foreign[..3] {
            fs::write(shelf.join(name), b"x").unwrap();
        }
        fs::create_dir(shelf.join(&foreign[3])).unwrap();
        fs::write(directory.path().join("README"), b"x").unwrap();
        let seen = store.shelf(0xab).unwrap();
        assert_eq!((seen.objects, seen.foreign.len()), (vec![(id(0xab), 5)], 4));
        assert!(store.shelf(1).unwrap().objects.is_empty());
        assert_eq!(store.beside_the_shelves().unwrap(), [directory.path().join("README")]);
        assert_eq!((store.length(id(0xff)).unwrap(), store.length(id(1)).unwrap()), (Some(1), None));
    }

    #[test]
    fn a_store_knows_its_house_and_looking_makes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("objects");
        let look = Disk::at(&root);
        assert!(look.house().unwrap().is_none() && !look.holds_any().unwrap() && !root.exists());
        let store = Disk::open(&root).unwrap();
        let house = HouseId::from_bytes([7; 16]);
        // What a crash has left of another try.
        fs::write(root.join("new").join(MARK), b"x").unwrap();
        store.mark(house).unwrap();
        assert_eq!((look.house().unwrap(), look.holds_any().unwrap()), (Some(house), false));
        assert!(store.beside_the_shelves().unwrap().is_empty() && store.sweep_unfinished().unwrap() == 0);
        store.put(id(0xff), b"1").unwrap();
        assert!(look.holds_any().unwrap());
        fs::write(root.join(MARK), b"").unwrap();
        assert!(look.house().is_err(), "a mark that says nothing is no leave to make another");
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
