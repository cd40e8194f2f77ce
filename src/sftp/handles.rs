//! The open handles of one session. Only `session` and `verbs` use it.
//!
//! A handle is 16 random bytes, so one that was forged, closed, or belongs to another session is
//! simply not in the table. They travel as hexadecimal digits: some clients (russh-sftp's) take a
//! handle for text.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::Refusal;

const SIZE: usize = 32;

/// A handle as it travels.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Handle([u8; SIZE]);

impl Handle {
    /// What no table ever issues: stands for every string of another length.
    const NONE: Self = Self([0; SIZE]);

    pub(crate) fn from_wire(bytes: &[u8]) -> Self {
        bytes.try_into().map_or(Self::NONE, Self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whoever reads a log must not be able to use a handle.
impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

/// The right to one open handle. It is held on until what the handle stood for is really over: a
/// CLOSE that is still being carried out counts.
pub(crate) type Place = OwnedSemaphorePermit;

pub(crate) struct Table<T> {
    open: HashMap<Handle, (T, Place)>,
    places: Arc<Semaphore>,
}

impl<T> Table<T> {
    /// A table with room for `most` handles.
    pub(crate) fn new(most: usize) -> Self {
        Self { open: HashMap::new(), places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))) }
    }

    /// Takes a place before the thing is opened.
    pub(crate) fn reserve(&self) -> Result<Place, Refusal> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refusal::TooManyHandles)
    }

    pub(crate) fn insert(&mut self, place: Place, thing: T) -> Result<Handle, Refusal> {
        let (mut random, mut bytes) = ([0; SIZE / 2], [0; SIZE]);
        getrandom::fill(&mut random).map_err(|_| Refusal::Storage)?;
        hex::encode_to_slice(random, &mut bytes).map_err(|_| Refusal::Storage)?;
        let handle = Handle(bytes);
        if handle == Handle::NONE || self.open.contains_key(&handle) {
            return Err(Refusal::Storage);
        }
        self.open.insert(handle, (thing, place));
        Ok(handle)
    }

    pub(crate) fn get(&self, handle: &Handle) -> Result<&T, Refusal> {
        self.open.get(handle).map(|(thing, _)| thing).ok_or(Refusal::BadHandle)
    }

    pub(crate) fn get_mut(&mut self, handle: &Handle) -> Result<&mut T, Refusal> {
        self.open.get_mut(handle).map(|(thing, _)| thing).ok_or(Refusal::BadHandle)
    }

    pub(crate) fn remove(&mut self, handle: &Handle) -> Result<(T, Place), Refusal> {
        self.open.remove(handle).ok_or(Refusal::BadHandle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open<T>(table: &mut Table<T>, thing: T) -> Result<Handle, Refusal> {
        let place = table.reserve()?;
        table.insert(place, thing)
    }

    #[test]
    fn r49_forged_closed_and_foreign_handles_are_refused() {
        let (mut one, mut other) = (Table::new(4), Table::new(4));
        let handle = open(&mut one, 'a').unwrap();
        let foreign = open(&mut other, 'b').unwrap();
        assert_eq!(one.get(&handle), Ok(&'a'));
        assert_eq!(one.get_mut(&Handle::from_wire(handle.as_bytes())), Ok(&mut 'a'));
        for forged in
            [foreign, Handle::NONE, Handle::from_wire(b""), Handle::from_wire(b"0"), Handle::from_wire(&[9; 17])]
        {
            assert_eq!(one.get(&forged), Err(Refusal::BadHandle));
        }
        assert!(one.remove(&handle).is_ok());
        assert_eq!(one.get(&handle), Err(Refusal::BadHandle));
        assert!(matches!(one.remove(&handle), Err(Refusal::BadHandle)));
    }

    #[test]
    fn r49_the_table_is_bounded_and_a_close_in_work_counts() {
        let mut table = Table::new(2);
        let first = open(&mut table, 1).unwrap();
        open(&mut table, 2).unwrap();
        assert_eq!(open(&mut table, 3), Err(Refusal::TooManyHandles));
        let (_, place) = table.remove(&first).unwrap();
        assert_eq!(open(&mut table, 3), Err(Refusal::TooManyHandles));
        drop(place);
        assert!(open(&mut table, 3).is_ok());
    }
}
