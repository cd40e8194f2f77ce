//! Room on the disk, promised to uploads before they use it.
//!
//! An upload gets room when it is opened, and more as it goes on; what is promised to one is not
//! there for another. So when the disk fills up, the upload that wants more is refused with a
//! sentence, the others finish, and the last part of the disk stays free for the databases.
//!
//! What is promised is bounded for each login: all its uploads that have no byte yet share one
//! promise, which goes to the first of them that sends something, and all its promises together
//! leave at least half of what is free to others. Who has used up that gets room for what comes and
//! none ahead of it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::{Identifier, Locked, LockedGuard, Refusal};
use crate::repo::{Error, Settings};

/// Nobody begins where less than this is free: it would be used up at once.
const LEAST: u64 = 1 << 20;
/// A promise takes at most this part of what is there, so that many uploads fit on a small disk.
const PART: u64 = 8;
/// So many times the largest promise is what a login has at most, for all its uploads.
const OF_A_LOGIN: u64 = 8;

/// The room of one disk. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct DiskSpace(Arc<State>);

#[derive(Debug)]
struct State {
    objects: PathBuf,
    reserve_percent: u64,
    reserve_bytes: u64,
    promises: Locked<Promises>,
    /// Whether the operators were told that there is no room.
    told: AtomicBool,
}

impl DiskSpace {
    /// The room for the objects in this directory.
    pub(crate) fn of(objects: PathBuf, settings: &Settings) -> Self {
        Self(Arc::new(State {
            objects,
            reserve_percent: settings.reserve_percent,
            reserve_bytes: settings.reserve_bytes,
            promises: Locked::new(Promises::of_at_most(settings.extent_bytes)),
            told: AtomicBool::new(false),
        }))
    }

    /// What uploads may still use of the disk, in bytes: neither promised nor kept in reserve.
    ///
    /// # Errors
    /// If the disk cannot be asked.
    pub(crate) fn free(&self) -> Result<u64, Error> {
        let free = self.0.disk()?;
        Ok(free.saturating_sub(self.0.promises().all))
    }

    /// Room for an upload of this login that begins.
    ///
    /// # Errors
    /// [`Refusal::DiskFull`] if there is none left.
    pub(crate) fn promise(&self, login: &Identifier) -> Result<Reservation, Error> {
        self.0.told_if_full(self.0.promises().open(login, || self.0.disk()))?;
        Ok(Reservation { disk: self.clone(), login: login.clone(), part: Part::default() })
    }
}

impl State {
    /// What is free on the disk, in bytes, promised or not; the reserve is not among it.
    fn disk(&self) -> Result<u64, Error> {
        let disk = rustix::fs::statvfs(&self.objects).map_err(|error| Error::file(&self.objects)(error.into()))?;
        let total = disk.f_blocks.saturating_mul(disk.f_frsize);
        let reserve = (total / 100).saturating_mul(self.reserve_percent).min(self.reserve_bytes);
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(reserve))
    }

    fn promises(&self) -> LockedGuard<'_, Promises> {
        self.promises.lock()
    }

    /// Tells the operators once when a promise was refused.
    fn told_if_full(&self, outcome: Result<Asked, Error>) -> Result<(), Error> {
        match outcome? {
            Asked::Had => Ok(()),
            Asked::Got => {
                self.told.store(false, Ordering::Relaxed);
                Ok(())
            }
            Asked::Full { free } => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    tracing::error!(free, "no space left but the reserve: uploads are refused until there is");
                }
                Err(Refusal::DiskFull.into())
            }
        }
    }
}

/// Room that an upload may use. What it has not used is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    disk: DiskSpace,
    login: Identifier,
    part: Part,
}

impl Reservation {
    /// Says that this many bytes are about to be written.
    ///
    /// # Errors
    /// [`Refusal::DiskFull`] if neither the promise nor the disk has them; they must not be written
    /// then.
    pub(crate) fn spend(&mut self, bytes: u64) -> Result<(), Error> {
        let state = &self.disk.0;
        let outcome = state.promises().spend(&self.login, &mut self.part, bytes, || state.disk());
        state.told_if_full(outcome)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.disk.0.promises().end(&self.login, &self.part);
    }
}

/// What one upload has of its login's promises.
#[derive(Debug, Default)]
struct Part {
    /// Whether a byte came.
    begun: bool,
    left: u64,
}

/// What one login was promised.
#[derive(Debug, Default)]
struct Account {
    /// In all, and not used yet: what is left of its uploads' promises, and `shared`.
    promised: u64,
    /// The promise of those that have no byte yet.
    shared: u64,
    /// How many have no byte yet.
    waiting: usize,
    uploads: usize,
}

/// What was promised to whom; the rule, without a disk.
#[derive(Debug)]
struct Promises {
    /// What one promise holds at most.
    most: u64,
    /// What was promised in all and is not used yet.
    all: u64,
    logins: HashMap<Identifier, Account>,
}

/// What came of asking for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// It was promised before.
    Had,
    /// It is promised now.
    Got,
    /// There is only so much left.
    Full { free: u64 },
}

impl Promises {
    fn of_at_most(most: u64) -> Self {
        Self { most, all: 0, logins: HashMap::new() }
    }

    /// One more upload of a login, which has no byte yet. `disk` says how much is free there,
    /// promised or not.
    fn open(&mut self, login: &Identifier, disk: impl FnOnce() -> Result<u64, Error>) -> Result<Asked, Error> {
        let mut asked = Asked::Had;
        if self.logins.get(login).is_none_or(|account| account.shared == 0) {
            let free = disk()?.saturating_sub(self.all);
            if free < LEAST {
                return Ok(Asked::Full { free });
            }
            let account = self.logins.entry(login.clone()).or_default();
            let more = ahead(self.most, account, free);
            (account.shared, account.promised) = (more, account.promised + more);
            self.all += more;
            asked = Asked::Got;
        }
        let account = self.logins.entry(login.clone()).or_default();
        (account.waiting, account.uploads) = (account.waiting + 1, account.uploads + 1);
        Ok(asked)
    }

    /// Uses so many bytes of an upload's promise, and promises more if it has not got them.
    fn spend(
        &mut self,
        login: &Identifier,
        part: &mut Part,
        bytes: u64,
        disk: impl FnOnce() -> Result<u64, Error>,
    ) -> Result<Asked, Error> {
        let account = self.logins.entry(login.clone()).or_default();
        if !part.begun {
            part.begun = true;
            account.waiting = account.waiting.saturating_sub(1);
            part.left = std::mem::take(&mut account.shared);
        }
        let mut asked = Asked::Had;
        let wants_shared = account.waiting > 0 && account.shared == 0;
        if part.left < bytes || wants_shared {
            let free = disk()?.saturating_sub(self.all);
            let mut more = 0;
            if part.left < bytes {
                more = ahead(self.most, account, free).max(bytes - part.left);
                if more > free {
                    return Ok(Asked::Full { free });
                }
                (part.left, account.promised) = (part.left + more, account.promised + more);
                asked = Asked::Got;
            }
            // Those that wait get another one if there is room.
            let shared = ahead(self.most, account, free - more);
            if wants_shared {
                (account.shared, account.promised) = (shared, account.promised + shared);
                more += shared;
            }
            self.all += more;
        }
        part.left -= bytes;
        account.promised = account.promised.saturating_sub(bytes);
        self.all = self.all.saturating_sub(bytes);
        Ok(asked)
    }

    /// An upload is over: what it has not used is free again.
    fn end(&mut self, login: &Identifier, part: &Part) {
        let Some(account) = self.logins.get_mut(login) else { return };
        let mut back = part.left;
        account.uploads = account.uploads.saturating_sub(1);
        if !part.begun {
            account.waiting = account.waiting.saturating_sub(1);
        }
        if account.waiting == 0 {
            back += std::mem::take(&mut account.shared);
        }
        account.promised = account.promised.saturating_sub(back);
        self.all = self.all.saturating_sub(back);
        self.forget_if_idle(login);
    }

    fn forget_if_idle(&mut self, login: &Identifier) {
        if self.logins.get(login).is_some_and(|account| account.uploads == 0) {
            self.logins.remove(login);
        }
    }
}

/// How much a login may be promised ahead of what it sends, of so much that is free.
fn ahead(most: u64, account: &Account, free: u64) -> u64 {
    let of_login = most.saturating_mul(OF_A_LOGIN).min(free.saturating_add(account.promised) / 2).max(LEAST);
    most.min((free / PART).max(LEAST)).min(of_login.saturating_sub(account.promised)).min(free)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: u64 = 8 << 20;

    #[test]
    fn what_is_promised_is_there_for_nobody_else_and_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { reserve_percent: 0, extent_bytes: MOST, ..Settings::default() };
        let room = DiskSpace::of(directory.path().to_owned(), &settings);
        let login: Identifier = "XT-1".parse().unwrap();
        let promised = || room.0.promises().all;
        let mut one = room.promise(&login).unwrap();
        let first = promised();
        assert!((LEAST..=MOST).contains(&first));
        one.spend(first + 5).unwrap();
        assert_eq!(promised(), one.part.left);
        let other = room.promise(&login).unwrap();
        assert!(promised() >= one.part.left + LEAST);
        assert!(one.spend(u64::MAX / 2).is_err());
        drop((one, other));
        assert_eq!((promised(), room.0.promises().logins.len()), (0, 0));
    }

    #[test]
    fn the_reserve_is_for_no_upload() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { reserve_percent: 100, reserve_bytes: u64::MAX, ..Settings::default() };
        let room = DiskSpace::of(directory.path().to_owned(), &settings);
        let login: Identifier = "XT-1".parse().unwrap();
        assert!(matches!(room.promise(&login), Err(Error::Refused(Refusal::DiskFull))));
        assert_eq!(room.free().unwrap(), 0);
    }

    #[derive(Debug, Clone)]
    enum Act {
        Open { login: usize },
        Spend { upload: usize, bytes: u64 },
        End { upload: usize },
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            3 => (0usize..3).prop_map(|login| Act::Open { login }),
            4 => (any::<usize>(), prop_oneof![1u64..300_000, 1u64..(20 << 20)])
                .prop_map(|(upload, bytes)| Act::Spend { upload, bytes }),
            1 => any::<usize>().prop_map(|upload| Act::End { upload }),
        ];
        prop::collection::vec(act, 1..200)
    }

    proptest! {
        /// On a disk that nobody else writes to: what is promised is there, what was promised is
        /// never refused, each byte is counted once, and no login is promised more than its part
        /// ahead of what it sends.
        #[test]
        fn r21_promises_are_kept_and_bounded(acts in acts(), disk in (1u64 << 20)..(600 << 20)) {
            let logins: Vec<Identifier> = ["XT-1", "XT-2", "XT-3"].map(|name| name.parse().unwrap()).into();
            let mut promises = Promises::of_at_most(MOST);
            let mut free = disk;
            let mut uploads: Vec<(usize, Part)> = Vec::new();
            for act in acts {
                match act {
                    Act::Open { login } => {
                        let there = free - promises.all;
                        let has = promises.logins.get(&logins[login]).is_some_and(|account| account.shared > 0);
                        let got = promises.open(&logins[login], || Ok(free)).unwrap();
                        prop_assert_eq!(matches!(got, Asked::Full { .. }), !has && there < LEAST);
                        if !matches!(got, Asked::Full { .. }) {
                            uploads.push((login, Part::default()));
                        }
                    }
                    Act::Spend { upload, bytes } if !uploads.is_empty() => {
                        let at = upload % uploads.len();
                        let (login, part) = &mut uploads[at];
                        let shared = promises.logins[&logins[*login]].shared;
                        let has = part.left + if part.begun { 0 } else { shared };
                        let there = free - promises.all;
                        let got = promises.spend(&logins[*login], part, bytes, || Ok(free)).unwrap();
                        prop_assert_eq!(matches!(got, Asked::Full { .. }), has + there < bytes, "{} {}", has, there);
                        if !matches!(got, Asked::Full { .. }) {
                            free -= bytes;
                        }
                    }
                    Act::End { upload } if !uploads.is_empty() => {
                        let (login, part) = uploads.swap_remove(upload % uploads.len());
                        promises.end(&logins[login], &part);
                    }
                    Act::Spend { .. } | Act::End { .. } => {}
                }
                prop_assert!(promises.all <= free, "{} promised of {}", promises.all, free);
                let mut all = 0;
                for (login, name) in logins.iter().enumerate() {
                    let mine = uploads.iter().filter(|(of, _)| *of == login);
                    let account = promises.logins.get(name);
                    prop_assert_eq!(account.map_or(0, |account| account.uploads), mine.clone().count());
                    let shared = account.map_or(0, |account| account.shared);
                    let promised = mine.map(|(_, part)| part.left).sum::<u64>() + shared;
                    prop_assert_eq!(promised, account.map_or(0, |account| account.promised));
                    prop_assert!(promised <= OF_A_LOGIN * MOST);
                    all += promised;
                }
                prop_assert_eq!(all, promises.all);
            }
            for (login, part) in uploads {
                promises.end(&logins[login], &part);
            }
            prop_assert_eq!((promises.all, promises.logins.len()), (0, 0));
        }

        /// However many files somebody opens, and sends a byte of some, there is room for others.
        #[test]
        fn nobody_takes_all_the_room_by_opening_files(
            begins in prop::collection::vec(any::<bool>(), 1..3000),
            disk in (64u64 << 20)..(200 << 30),
        ) {
            let (login, other): (Identifier, Identifier) = ("XT-1".parse().unwrap(), "XT-2".parse().unwrap());
            let (mut promises, mut parts) = (Promises::of_at_most(32 << 20), Vec::new());
            for begins in begins {
                let opened = promises.open(&login, || Ok(disk)).unwrap();
                prop_assert!(matches!(opened, Asked::Had | Asked::Got));
                let mut part = Part::default();
                if begins {
                    promises.spend(&login, &mut part, 1, || Ok(disk)).unwrap();
                }
                parts.push(part);
            }
            prop_assert!(promises.all <= (disk / 2).min((OF_A_LOGIN * 32) << 20), "{} of {}", promises.all, disk);
            prop_assert_eq!(promises.open(&other, || Ok(disk)).unwrap(), Asked::Got);
        }
    }
}
