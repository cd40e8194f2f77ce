//! One shelf of the store against the rows about it: what is lost, and what nobody knows.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::model::{ObjectId, ObjectPlace, VersionId};
use crate::records::objects::{self, ShelvedExtent};
use crate::records::strays::Stray;
use crate::repo::blocking::blocking;
use crate::repo::{Error, Repo};
use crate::store::{Shelf, StoreError};
use crate::vault::{extent, manifest};

/// Shelves by the first byte of the ids on them.
pub(crate) type Shelves = RangeInclusive<u8>;

/// Rows that are compared at once, about.
const ROWS_AT_ONCE: u64 = 2000;

/// What shelves have that their rows do not say, and the other way round.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    /// Objects in the store, and their bytes.
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    /// Objects that rows need and that are not whole.
    pub(crate) lost: Vec<Lost>,
    /// Extents that no version uses.
    pub(crate) unused: Vec<ObjectId>,
    /// Objects in the records that nothing speaks of.
    pub(crate) forgotten: Vec<ObjectId>,
    /// Objects in the store that no row knows, their bytes, and their quarantine if it has begun.
    pub(crate) unknown: Vec<(ObjectId, u64, Option<Stray>)>,
    /// Objects in quarantine that a row knows again, or that are gone.
    pub(crate) no_stray: Vec<ObjectId>,
    /// Files that are no objects.
    pub(crate) foreign: Vec<PathBuf>,
}

/// An object that is gone, or whose length is not what was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) object: ObjectId,
    /// The version whose manifest it is; else it is an extent, and several versions may use it.
    pub(crate) manifest_of: Option<VersionId>,
    /// Its bytes, if there is something.
    pub(crate) found: Option<u64>,
}

impl Lost {
    /// A sentence about it.
    pub(crate) fn sentence(&self) -> String {
        let what = if self.manifest_of.is_some() { "the manifest" } else { "the extent" };
        match self.found {
            None => format!("{what} {} is missing", self.object),
            Some(bytes) => format!("{what} {} has a wrong length of {bytes} bytes", self.object),
        }
    }
}

/// All shelves, in as many parts as keeps what is compared at once small.
pub(super) async fn parts_of_the_store(repo: &Repo) -> Result<Vec<Shelves>, Error> {
    let rows = objects::count(&mut *repo.records.read().await?).await?;
    let parts = (rows / ROWS_AT_ONCE + 1).next_power_of_two().min(256);
    let width = 256 / parts;
    let byte = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
    Ok((0..parts).map(|part| byte(part * width)..=byte(part * width + width - 1)).collect())
}

/// Compares the shelves of ids that begin with these bytes with their rows. While a server runs,
/// what it says may be over by the time it is read: [`still_lost`] and the statements that write
/// look again.
pub(super) async fn compare_shelves(repo: &Repo, bytes: &Shelves) -> Result<Differences, Error> {
    let (store, all) = (repo.store.clone(), bytes.clone());
    let listed = blocking(&repo.worker_runtime, "the reading", move || {
        let mut shelf = Shelf::default();
        for first in all {
            let mut next = store.shelf(first)?;
            shelf.objects.append(&mut next.objects);
            shelf.foreign.append(&mut next.foreign);
        }
        Ok::<_, StoreError>(shelf)
    });
    let shelf = listed.await?;
    // The rows behind the files: an object that was recorded meanwhile is known then.
    let rows = objects::shelves(&mut *repo.records.read().await?, bytes).await?;
    Ok(compare(shelf, rows))
}

/// Looks again at what was found lost on these shelves, and leaves what is lost still: the rest was
/// removed on purpose since the shelf was read, or written behind it.
pub(super) async fn still_lost(repo: &Repo, bytes: &Shelves, found: &mut Vec<Lost>) -> Result<(), Error> {
    if !found.is_empty() {
        let again = compare_shelves(repo, bytes).await?.lost;
        found.retain(|lost| again.contains(lost));
    }
    Ok(())
}

fn compare(shelf: Shelf, rows: objects::ShelfRows) -> Differences {
    let mut differences = Differences {
        objects: shelf.objects.len() as u64,
        bytes: shelf.objects.iter().map(|(_, bytes)| bytes).sum(),
        foreign: shelf.foreign,
        forgotten: rows.forgotten,
        ..Differences::default()
    };
    let there = |id: ObjectId| {
        let at = shelf.objects.binary_search_by_key(&id, |(object, _)| *object).ok()?;
        shelf.objects.get(at).map(|(_, bytes)| *bytes)
    };
    // What stays of it at the end is known to nobody.
    let mut unknown: BTreeMap<ObjectId, u64> = shelf.objects.iter().copied().collect();
    for row in &rows.extents {
        let found = find_extent(row, there);
        if row.place == ObjectPlace::Store {
            unknown.remove(&row.id);
        }
        if !row.used {
            differences.unused.push(row.id);
        } else if found != Some(extent::sealed_length(row.length)) {
            differences.lost.push(Lost { object: row.id, manifest_of: None, found });
        }
    }
    for row in &rows.manifests {
        let found = row.in_records.or_else(|| there(row.id));
        unknown.remove(&row.id);
        if !found.is_some_and(|bytes| manifest::can_be_long(row.extents, row.login, bytes)) {
            let manifest_of = Some(row.version);
            differences.lost.push(Lost { object: row.id, manifest_of, found });
        }
    }
    for doomed in &rows.doomed {
        unknown.remove(doomed);
    }
    let mut strays: BTreeMap<ObjectId, Stray> = rows.strays.into_iter().map(|stray| (stray.id, stray)).collect();
    for (id, bytes) in unknown {
        let stray = strays.remove(&id);
        differences.unknown.push((id, bytes, stray));
    }
    differences.no_stray.extend(strays.keys());
    differences
}

fn find_extent(row: &ShelvedExtent, there: impl Fn(ObjectId) -> Option<u64>) -> Option<u64> {
    match row.place {
        ObjectPlace::Store => there(row.id),
        ObjectPlace::Records => row.in_records,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HouseTime;
    use crate::records::objects::{ShelfRows, ShelvedManifest};

    fn id(byte: u8) -> ObjectId {
        ObjectId::from_bytes([byte; 16])
    }

    #[test]
    fn each_difference_is_found_and_nothing_else() {
        let extent =
            |byte, place, in_records, used| ShelvedExtent { id: id(byte), length: 100_000, place, in_records, used };
        let whole = extent::sealed_length(100_000);
        let manifest = |byte, in_records| ShelvedManifest {
            id: id(byte),
            version: VersionId::from_bytes([byte; 16]),
            extents: 1,
            login: Some(7),
            in_records,
        };
        let stray = |byte| Stray { id: id(byte), bytes: 1, first_seen: HouseTime::from_millis(0), confirmed_at: None };
        let sealed = 72 + 28 + 64 + 8 + 7 + 120 + 28;
        let rows = ShelfRows {
            extents: vec![
                extent(1, ObjectPlace::Store, None, true),
                extent(2, ObjectPlace::Store, None, true),
                extent(3, ObjectPlace::Store, None, true),
                extent(4, ObjectPlace::Records, Some(whole), true),
                extent(5, ObjectPlace::Records, None, true),
                extent(6, ObjectPlace::Store, None, false),
            ],
            manifests: vec![manifest(10, None), manifest(11, Some(sealed)), manifest(12, None), manifest(13, None)],
            doomed: vec![id(20), id(21)],
            strays: vec![stray(30), stray(31), stray(1)],
            forgotten: vec![id(40)],
        };
        let lengths =
            [(1, whole), (3, whole - 1), (6, whole), (10, sealed + 28), (13, sealed + 1), (20, 7), (30, 8), (32, 9)];
        let objects = lengths.iter().map(|(byte, bytes)| (id(*byte), *bytes)).collect();
        let seen = compare(Shelf { objects, foreign: vec!["README".into()] }, rows);
        let lost: Vec<_> = seen.lost.iter().map(|lost| (lost.object, lost.found)).collect();
        let expected = [(2, None), (3, Some(whole - 1)), (5, None), (12, None), (13, Some(sealed + 1))];
        assert_eq!(lost, expected.map(|(byte, found)| (id(byte), found)));
        assert_eq!(seen.unused, [id(6)]);
        assert_eq!(seen.forgotten, [id(40)]);
        let unknown: Vec<_> = seen.unknown.iter().map(|(id, bytes, stray)| (*id, *bytes, stray.is_some())).collect();
        assert_eq!(unknown, [(id(30), 8, true), (id(32), 9, false)]);
        assert_eq!(seen.no_stray, [id(1), id(31)]);
        assert_eq!((seen.objects, seen.foreign.len()), (8, 1));
    }
}
