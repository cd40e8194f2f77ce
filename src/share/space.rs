//! Room on the disk, promised to uploads before they use it.
//!
//! An upload gets room when it is opened, and more as it goes on; what is promised to one is not there for another. So when
//! the disk fills up, the upload that wants more is refused with a sentence, the others finish, and the last part of the
//! disk stays free for the databases.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::model::Refusal;
use crate::share::{Error, Settings};

/// Less than this is promised to nobody: it would be used up at once.
const LEAST: u64 = 1 << 20;
/// A promise takes at most this part of what is there, so that many uploads fit on a small disk.
const PART: u64 = 8;

/// The room of one disk. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<State>);

#[derive(Debug)]
struct State {
    objects: PathBuf,
    reserve_percent: u64,
    reserve_bytes: u64,
    /// What one promise holds at most.
    most: u64,
    promised: AtomicU64,
    /// Whether the operators were told that there is no room.
    told: AtomicBool,
}

impl Room {
    /// The room for the objects in this directory.
    pub(crate) fn of(objects: PathBuf, settings: &Settings) -> Self {
        Self(Arc::new(State {
            objects,
            reserve_percent: settings.reserve_percent,
            reserve_bytes: settings.reserve_bytes,
            most: settings.extent_bytes,
            promised: AtomicU64::new(0),
            told: AtomicBool::new(false),
        }))
    }

    /// What uploads may still use of the disk, in bytes: neither promised nor kept in reserve.
    ///
    /// # Errors
    /// If the disk cannot be asked.
    pub(crate) fn free(&self) -> Result<u64, Error> {
        let State { objects, reserve_percent, reserve_bytes, promised, .. } = &*self.0;
        let disk = rustix::fs::statvfs(objects).map_err(|error| Error::file(objects)(error.into()))?;
        let total = disk.f_blocks.saturating_mul(disk.f_frsize);
        let reserve = (total / 100).saturating_mul(*reserve_percent).min(*reserve_bytes);
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        Ok(free.saturating_sub(reserve).saturating_sub(promised.load(Ordering::Relaxed)))
    }

    /// Room for an upload that begins.
    ///
    /// # Errors
    /// [`Refusal::DiskFull`] if there is none left.
    pub(crate) fn promise(&self) -> Result<Promise, Error> {
        let mut promise = Promise { room: self.clone(), left: 0 };
        promise.top_up(LEAST)?;
        Ok(promise)
    }
}

/// Room that an upload may use. What it has not used is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Promise {
    room: Room,
    left: u64,
}

impl Promise {
    /// Says that this many bytes are about to be written.
    ///
    /// # Errors
    /// [`Refusal::DiskFull`] if neither the promise nor the disk has them; they must not be written then.
    pub(crate) fn spend(&mut self, bytes: u64) -> Result<(), Error> {
        if self.left < bytes {
            self.top_up(bytes)?;
        }
        self.left = self.left.saturating_sub(bytes);
        self.room.0.promised.fetch_sub(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn top_up(&mut self, needed: u64) -> Result<(), Error> {
        let free = self.room.free()?;
        let more = self.room.0.most.min(free / PART).max(needed);
        if more > free {
            if !self.room.0.told.swap(true, Ordering::Relaxed) {
                tracing::error!(free, "no space left but the reserve: uploads are refused until there is");
            }
            return Err(Refusal::DiskFull.into());
        }
        self.room.0.told.store(false, Ordering::Relaxed);
        self.room.0.promised.fetch_add(more, Ordering::Relaxed);
        self.left += more;
        Ok(())
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.room.0.promised.fetch_sub(self.left, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_is_there_for_nobody_else_and_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { reserve_percent: 0, extent_bytes: 8 << 20, ..Settings::default() };
        let room = Room::of(directory.path().to_owned(), &settings);
        let promised = || room.0.promised.load(Ordering::Relaxed);
        let mut one = room.promise().unwrap();
        let first = promised();
        assert!((LEAST..=8 << 20).contains(&first));
        one.spend(first + 5).unwrap();
        assert_eq!(promised(), one.left);
        let other = room.promise().unwrap();
        assert_eq!(promised(), one.left + other.left);
        assert!(one.spend(u64::MAX / 2).is_err());
        drop((one, other));
        assert_eq!(promised(), 0);
    }

    #[test]
    fn the_reserve_is_for_no_upload() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { reserve_percent: 100, reserve_bytes: u64::MAX, ..Settings::default() };
        let room = Room::of(directory.path().to_owned(), &settings);
        assert!(matches!(room.promise(), Err(Error::Refused(Refusal::DiskFull))));
        assert_eq!(room.free().unwrap(), 0);
    }
}
