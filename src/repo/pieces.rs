//! Which pieces of a house lie where they should, and what that means: a new house, a known one, or
//! a refusal.
//!
//! The pieces of a house can be lost or exchanged one by one: a file system that is not mounted, a
//! backup that was restored in part. A server that takes what is left for a new house makes new
//! keys beside old data, and its sweep removes in the end what no row of the new records knows. So
//! a house begins by itself only where none of its pieces is. Records, keyring and store bear the
//! same id; the keyring's is sealed under the KEK, so the KEK is tied to it, too.

use std::path::Path;

use crate::model::HouseId;
use crate::repo::{DataDirectory, Error};

/// What is at the place of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    /// No file.
    Missing,
    /// A file that says nothing.
    Empty,
    /// One of before there were ids, or one whose id cannot be opened because the KEK does not fit.
    Unnamed,
    Named(HouseId),
}

/// What is at the place of the KEK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KekFile {
    Missing,
    /// There is a KEK, and no keyring that could tell whether it is the right one.
    There,
    /// It opens the keyring.
    Fits,
    /// It does not open the keyring, or cannot be read.
    Unfit,
}

/// What is at the place of the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// No object and no mark; perhaps no directory.
    Empty,
    /// Objects without a mark.
    Unmarked,
    /// A mark, with or without objects.
    Marked(HouseId),
}

/// What was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pieces {
    pub(crate) records: Database,
    pub(crate) keyring: Database,
    pub(crate) kek: KekFile,
    pub(crate) store: Store,
    /// Whether there is an SSH host key.
    pub(crate) host_key: bool,
    /// Whether there is the mark of a beginning that was cut.
    pub(crate) beginning: bool,
    /// Whether records and keyring have something in common: asked where one of the two has no id.
    pub(crate) related: bool,
    /// Whether the records need objects of the store: asked where the store has no mark.
    pub(crate) needs: bool,
    /// Whether the store has one that they need.
    pub(crate) found: bool,
}

/// What the house is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// A command, which may be the first one of all, or look after a store that was lost.
    Command,
    /// The server.
    Serve,
    /// The operator says that it is to begin here.
    Init,
    /// The operator replaces secrets of the server, which must not run meanwhile.
    Replace,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Make a new house. What is there of it was made by a beginning that was cut, or laid there by
    /// the operator.
    Begin,
    /// Open the house. Without an id, one of the pieces has it from before there were ids: they get
    /// one.
    Open(Option<HouseId>),
}

/// Why a house is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The records are missing or empty, and the keyring is there.
    RecordsLost,
    /// The keyring is missing or empty, and the records are there.
    KeyringLost,
    /// Both are missing or empty, and there are objects.
    DatabasesLost,
    /// Both are missing or empty, and all that is there are keys or files without a byte.
    OnlyKeys,
    /// The KEK is missing or another one. What exactly is said by who has looked.
    Kek,
    /// Records and keyring are of different houses.
    KeyringOfAnother,
    /// The store is another house's.
    StoreOfAnother,
    /// The store has none of the objects that the records need, and no mark.
    StoreLost,
    /// The operator wants to begin where there is a house.
    IsThere,
}

impl Database {
    fn is_there(self) -> bool {
        matches!(self, Self::Unnamed | Self::Named(_))
    }

    fn id(self) -> Option<HouseId> {
        if let Self::Named(id) = self { Some(id) } else { None }
    }
}

impl Pieces {
    /// What the pieces mean.
    pub(crate) fn judge(&self, occasion: Occasion) -> Result<Verdict, Why> {
        let databases = (self.records.is_there(), self.keyring.is_there());
        if occasion == Occasion::Init && databases != (false, false) && !self.beginning {
            return Err(Why::IsThere);
        }
        if databases == (true, true) {
            return self.judge_house(occasion).map(Verdict::Open);
        }
        let has_store = self.store != Store::Empty;
        if self.beginning && !has_store {
            return match self.kek {
                KekFile::Missing if databases.1 => Err(Why::Kek),
                KekFile::Unfit => Err(Why::Kek),
                _ => Ok(Verdict::Begin),
            };
        }
        match databases {
            (false, true) => Err(Why::RecordsLost),
            (true, false) => Err(Why::KeyringLost),
            _ if has_store => Err(Why::DatabasesLost),
            _ if occasion == Occasion::Init || self.is_nothing() => Ok(Verdict::Begin),
            _ => Err(Why::OnlyKeys),
        }
    }

    /// Nothing that a house has ever made.
    fn is_nothing(&self) -> bool {
        let missing = Database::Missing;
        (self.records, self.keyring, self.kek) == (missing, missing, KekFile::Missing) && !self.host_key
    }

    /// Both databases are there: whether everything is of one house, and which.
    fn judge_house(&self, occasion: Occasion) -> Result<Option<HouseId>, Why> {
        if self.kek != KekFile::Fits {
            return Err(Why::Kek);
        }
        // Cut between the two, they have nothing in common but that nobody has used them.
        let house = agree(self.records.id(), self.keyring.id(), self.related || self.beginning)?;
        match (self.store, house) {
            (Store::Marked(mark), Some(house)) if mark == house => Ok(Some(house)),
            (Store::Marked(_), Some(_)) => Err(Why::StoreOfAnother),
            // Databases of before there were ids, restored beside a store that has one.
            (Store::Marked(mark), None) if self.found || !self.needs => Ok(Some(mark)),
            (Store::Marked(_), None) => Err(Why::StoreOfAnother),
            // Commands find out what is lost, and mark it as damaged.
            _ if self.found || !self.needs || occasion != Occasion::Serve => Ok(house),
            (Store::Unmarked, _) => Err(Why::StoreOfAnother),
            (Store::Empty, _) => Err(Why::StoreLost),
        }
    }
}

/// Whether records and keyring are of one house, and which. `related` is asked only if one of them
/// has no id.
pub(crate) fn agree(records: Option<HouseId>, keyring: Option<HouseId>, related: bool) -> Result<Option<HouseId>, Why> {
    match (records, keyring) {
        (Some(one), Some(other)) if one != other => Err(Why::KeyringOfAnother),
        (Some(house), Some(_)) => Ok(Some(house)),
        _ if related => Ok(records.or(keyring)),
        _ => Err(Why::KeyringOfAnother),
    }
}

impl Why {
    /// The sentence for the operator. `kek` is where the KEK is to lie.
    pub(crate) fn refusal(self, data: &DataDirectory, kek: &Path) -> Error {
        let (root, records, keyring) = (data.root().display(), data.records(), data.keyring());
        let (records, keyring, objects) = (records.display(), keyring.display(), data.objects());
        let (objects, kek) = (objects.display(), kek.display());
        let anew = "Nothing was changed. To begin anew instead, name a directory that does not exist yet with --data";
        Error::operator(match self {
            Self::RecordsLost => format!(
                "{records} is missing or empty, but the keyring of a house is there: mount the file system of the records, \
                 or restore a backup ('tacdrop restore'). {anew}"
            ),
            Self::KeyringLost => format!(
                "{keyring} is missing or empty, but the records of a house are there: mount the file system of the keyring, \
                 or restore keyring.sqlite from its backup. {anew}"
            ),
            Self::DatabasesLost => format!(
                "{objects} holds the store of a house, but {records} and {keyring} are missing or empty: mount their file \
                 system, or restore a backup ('tacdrop restore'). {anew}"
            ),
            Self::OnlyKeys => format!(
                "{root} has no records and no keyring, but there is a key of a house (a KEK at {kek}, or a host key) or an \
                 empty database: mount the file system of the data, or restore a backup ('tacdrop restore'). Nothing was \
                 changed. To begin a new house with the keys that are there, run 'tacdrop init'"
            ),
            Self::Kek => {
                format!("{kek} is not the key that this data directory was made with; put the right one there")
            }
            Self::KeyringOfAnother => format!(
                "{keyring} and {records} are of different houses: put the pair back that belongs together, or restore a \
                 backup ('tacdrop restore'). {anew}"
            ),
            Self::StoreOfAnother => format!(
                "{objects} is the store of another house than {records}: mount the right file system there, or restore the \
                 objects of these records. Nothing was changed"
            ),
            Self::StoreLost => format!(
                "{objects} holds none of the encrypted objects that the records speak of; mount their file system or restore \
                 them. If they are lost for good, run 'tacdrop artifact verify', which marks what is damaged, and start the \
                 server again"
            ),
            Self::IsThere => format!("{root} is a data directory already; 'tacdrop serve' serves it"),
        })
    }
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
