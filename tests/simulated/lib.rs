//! A file system for tests that behaves as badly as a real one may.
//!
//! What was not synced is lost, torn or kept by chance when the power goes: of a file's content
//! each write by itself, to any multiple of 512 bytes; of a directory each new or removed name by
//! itself, in any order. A rename is a new name and a removed one. On demand operations fail: with
//! an error, with no space left, after a part of a write. A sync that fails throws away what it
//! should have made durable, as Linux does, and the next one succeeds as if nothing had been.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tacdrop_store::{Disk, FileSystem, Item, OpenFile};

/// The machine. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Machine(Arc<Mutex<State>>);

/// What an operation is, for plans of what is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Makes a file.
    Create,
    /// Writes to one.
    Write,
    /// Makes a file's content durable.
    Sync,
    /// Gives a file another name.
    Rename,
    /// Makes the names in a directory durable.
    SyncDirectory,
    /// Takes a file's name away.
    Remove,
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device says no.
    Io,
    /// No space left; a write has got a part of the way.
    Full,
}

type Plan = Box<dyn FnMut(u64, Operation) -> Option<Fault> + Send>;
type Watch = Box<dyn FnMut(u64, &Image) + Send>;

#[derive(Default)]
struct State {
    image: Image,
    operations: u64,
    plan: Option<Plan>,
    watch: Option<Watch>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("operations", &self.operations).finish_non_exhaustive()
    }
}

/// Everything that the machine holds: what programs see, and what is durable of it.
#[derive(Debug, Clone, Default)]
pub struct Image {
    inodes: BTreeMap<u64, Inode>,
    directories: BTreeMap<PathBuf, Directory>,
    next: u64,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// As programs see it. Shared with copies of the image until it is written again.
    content: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    /// What was written since the last sync.
    unsynced: Vec<(u64, Arc<[u8]>)>,
}

#[derive(Debug, Clone, Default)]
struct Directory {
    names: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
}

/// Numbers that look random: xorshift (Marsaglia 2003), so that a seed tells the whole story.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that show the same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From 0 to below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides.max(1)
    }
}

impl Image {
    /// What is left when the power goes now.
    pub fn after_power_loss(&self, dice: &mut Dice) -> Self {
        let mut left = Self { next: self.next, ..Self::default() };
        for (id, inode) in &self.inodes {
            let mut content = inode.durable.to_vec();
            for (offset, bytes) in &inode.unsynced {
                let kept = match dice.roll(3) {
                    0 => 0,
                    1 => bytes.len(),
                    _ => usize::try_from(dice.roll(bytes.len() as u64 / 512 + 1)).unwrap() * 512,
                };
                put(&mut content, *offset, &bytes[..kept]);
            }
            let content = Arc::new(content);
            left.inodes.insert(*id, Inode { durable: Arc::clone(&content), content, unsynced: Vec::new() });
        }
        for (path, directory) in &self.directories {
            let mut names = BTreeMap::new();
            let both = directory.durable.keys().chain(directory.names.keys());
            for name in both {
                let (old, new) = (directory.durable.get(name), directory.names.get(name));
                let kept = if old == new || dice.roll(2) == 0 { new } else { old };
                if let Some(inode) = kept {
                    names.insert(name.clone(), *inode);
                }
            }
            left.directories.insert(path.clone(), Directory { durable: names.clone(), names });
        }
        left
    }

    /// What is left when the process is killed now: everything that it has done.
    pub fn after_kill(&self) -> Self {
        self.clone()
    }

    /// Whether these bytes lie in any file, named or not.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        self.inodes.values().any(|inode| inode.content.windows(bytes.len()).any(|window| window == bytes))
    }
}

fn put(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let offset = usize::try_from(offset).unwrap();
    if content.len() < offset + bytes.len() && !bytes.is_empty() {
        content.resize(offset + bytes.len(), 0);
    }
    if !bytes.is_empty() {
        content[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}

impl Machine {
    /// A machine with nothing on its disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// A machine that is switched on with this on its disk.
    pub fn from(image: Image) -> Self {
        Self(Arc::new(Mutex::new(State { image, ..State::default() })))
    }

    /// Asks `plan` before each operation, with its number from 0, whether it is to fail.
    pub fn fail_by(&self, plan: impl FnMut(u64, Operation) -> Option<Fault> + Send + 'static) {
        self.lock().plan = Some(Box::new(plan));
    }

    /// Shows the disk to `watch` before each operation, with its number from 0. Nothing else
    /// happens meanwhile.
    pub fn watch(&self, watch: impl FnMut(u64, &Image) + Send + 'static) {
        self.lock().watch = Some(Box::new(watch));
    }

    /// Neither fails nor shows anything any more.
    pub fn calm(&self) {
        let mut state = self.lock();
        (state.plan, state.watch) = (None, None);
    }

    /// Shows the disk to `look` while nothing else happens on it.
    pub fn hold<T>(&self, look: impl FnOnce(&Image) -> T) -> T {
        look(&self.lock().image)
    }

    /// A store on its disk.
    pub fn store(&self) -> Disk {
        Disk::on(Arc::new(self.clone()), Path::new("objects")).unwrap()
    }

    /// What is on the disk now.
    pub fn image(&self) -> Image {
        self.lock().image.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl FileSystem for Machine {
    fn make_directory(&self, path: &Path) -> Result<()> {
        self.lock().image.directories.entry(path.to_owned()).or_default();
        Ok(())
    }

    fn has_directory(&self, path: &Path) -> bool {
        self.lock().image.directories.contains_key(path)
    }

    fn items(&self, directory: &Path) -> Result<Vec<Item>> {
        let Image { inodes, directories, .. } = &self.lock().image;
        let names = &directories.get(directory).ok_or(ErrorKind::NotFound)?.names;
        let file = |(name, inode): (&PathBuf, &u64)| Item {
            path: directory.join(name),
            is_file: true,
            is_directory: false,
            length: inodes.get(inode).map_or(0, |inode| inode.content.len() as u64),
        };
        let below = directories.keys().filter(|path| path.parent() == Some(directory));
        let below = below.map(|path| Item { path: path.clone(), is_file: false, is_directory: true, length: 0 });
        Ok(names.iter().map(file).chain(below).collect())
    }

    fn create_new(&self, path: &Path) -> Result<Box<dyn OpenFile>> {
        let mut state = self.lock();
        state.begin(Operation::Create)?;
        let inode = state.image.next;
        let (directory, name) = state.image.place(path)?;
        if directory.names.contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        directory.names.insert(name, inode);
        state.image.inodes.insert(inode, Inode::default());
        state.image.next += 1;
        Ok(Box::new(Opened { machine: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn OpenFile>> {
        let mut state = self.lock();
        let (directory, name) = state.image.place(path)?;
        let inode = *directory.names.get(&name).ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(Opened { machine: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.lock();
        state.begin(Operation::Rename)?;
        let (directory, name) = state.image.place(from)?;
        let inode = directory.names.remove(&name).ok_or(ErrorKind::NotFound)?;
        let (directory, name) = state.image.place(to)?;
        directory.names.insert(name, inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut state = self.lock();
        state.begin(Operation::Remove)?;
        let (directory, name) = state.image.place(path)?;
        directory.names.remove(&name).ok_or(ErrorKind::NotFound)?;
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> Result<()> {
        let mut state = self.lock();
        state.begin(Operation::SyncDirectory)?;
        let directory = state.image.directories.get_mut(path).ok_or(ErrorKind::NotFound)?;
        directory.durable = directory.names.clone();
        Ok(())
    }
}

impl State {
    fn begin(&mut self, operation: Operation) -> Result<()> {
        let number = self.operations;
        self.operations += 1;
        if let Some(watch) = &mut self.watch {
            watch(number, &self.image);
        }
        match self.plan.as_mut().and_then(|plan| plan(number, operation)) {
            None => Ok(()),
            Some(Fault::Io) => Err(Error::other("the simulated disk failed")),
            Some(Fault::Full) => Err(ErrorKind::StorageFull.into()),
        }
    }
}

impl Image {
    fn place(&mut self, path: &Path) -> Result<(&mut Directory, PathBuf)> {
        let (parent, name) = path.parent().zip(path.file_name()).ok_or(ErrorKind::NotFound)?;
        let directory = self.directories.get_mut(parent).ok_or(ErrorKind::NotFound)?;
        Ok((directory, PathBuf::from(name)))
    }
}

/// An open file; it lives as long as anybody has it open, like an inode.
#[derive(Debug)]
struct Opened {
    machine: Machine,
    inode: u64,
}

impl OpenFile for Opened {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let mut state = self.machine.lock();
        let outcome = state.begin(Operation::Write);
        // A write that fails has got some of the way.
        let bytes = if outcome.is_err() { &bytes[..bytes.len() / 2] } else { bytes };
        let inode = state.image.inodes.get_mut(&self.inode).ok_or(ErrorKind::NotFound)?;
        put(Arc::make_mut(&mut inode.content), offset, bytes);
        inode.unsynced.push((offset, bytes.into()));
        outcome
    }

    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> Result<()> {
        let state = self.machine.lock();
        let inode = state.image.inodes.get(&self.inode).ok_or(ErrorKind::NotFound)?;
        let start = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
        let part = start.checked_add(into.len()).and_then(|end| inode.content.get(start..end));
        into.copy_from_slice(part.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        let mut state = self.machine.lock();
        let outcome = state.begin(Operation::Sync);
        let inode = state.image.inodes.get_mut(&self.inode).ok_or(ErrorKind::NotFound)?;
        inode.unsynced.clear();
        if outcome.is_ok() {
            inode.durable = Arc::clone(&inode.content);
        }
        outcome
    }

    fn length(&self) -> Result<u64> {
        let state = self.machine.lock();
        let inode = state.image.inodes.get(&self.inode).ok_or(ErrorKind::NotFound)?;
        Ok(inode.content.len() as u64)
    }
}
