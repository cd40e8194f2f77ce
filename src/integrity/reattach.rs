//! Bringing back what no path reaches: directories that were once moved into themselves, and what
//! lies in them.
//!
//! A rename decides by ids inside its transaction, so that none are lost any more. An older version
//! of tacdrop did not, and databases can be damaged.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;

use super::Integrity;
use crate::audit::{self, Actor, Kind, Subject};
use crate::model::{DirectoryId, FileName, Identifier};
use crate::records::consistency::shape::{self, Unreached};
use crate::records::{Conn, entries, tickets};
use crate::repo::Error;
use crate::repo::keys::{ShareKeys, with_keys_in_force};
use crate::repo::tickets::existing_ticket;

/// Something that lies at the root of its share again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reattached {
    /// The ticket.
    pub ticket: String,
    /// The entry's id.
    pub entry: String,
    /// Where it lies, for people.
    pub path: String,
    /// Files and directories that came back with it.
    pub below: u64,
}

impl Integrity {
    /// Puts what no path reaches, of one ticket or of all, at the roots of the shares, under names
    /// of its own. `dry_run` only says what would lie where.
    ///
    /// # Errors
    /// If there is no such ticket, or the records or keys fail.
    pub async fn reattach(&self, only: Option<&Identifier>, dry_run: bool) -> Result<Vec<Reattached>, Error> {
        let mut conn = self.repo.records.read().await?;
        let tickets = match only {
            Some(reference) => vec![existing_ticket(&mut conn, reference).await?],
            None => tickets::list(&mut conn).await?,
        };
        drop(conn);
        let mut all = Vec::new();
        for ticket in tickets {
            // Most shares have none: a look takes no turn from those who write.
            if shape::unreached(&mut *self.repo.records.read().await?, ticket.share).await?.is_empty() {
                continue;
            }
            all.extend(with_keys_in_force!(self.try_reattach(&ticket.reference, dry_run).await)?);
        }
        Ok(all)
    }

    async fn try_reattach(&self, reference: &Identifier, dry_run: bool) -> Result<Vec<Reattached>, Error> {
        let share = existing_ticket(&mut *self.repo.records.read().await?, reference).await?.share;
        let keys = self.repo.keys.share(share).await?;
        let root = DirectoryId::root_of(share);
        let mut tx = self.repo.records.begin().await?;
        let ticket = existing_ticket(tx.conn(), reference).await?;
        if ticket.key_generation != keys.generation {
            return Err(Error::KeysReplaced);
        }
        let mut done = Vec::new();
        for (top, below) in tops(&shape::unreached(tx.conn(), share).await?) {
            let name = free_name(tx.conn(), &keys, root, &top).await?;
            entries::move_to(tx.conn(), &top.id, &keys.place(top.id, root, &name)?).await?;
            let subject = Subject { actor: &Actor::Operator, ticket: Some(reference), id: Some(top.id) };
            audit::write(tx.conn(), Kind::EntryReattached, subject, &json!({ "below": below })).await?;
            done.push(Reattached {
                ticket: reference.to_string(),
                entry: hex::encode(top.id),
                path: name.to_string(),
                below,
            });
        }
        if !dry_run {
            tx.commit().await?;
        }
        Ok(done)
    }
}

/// Of entries that no path reaches those that the others lie below, and how many those are. Of a
/// circle it is the one with the lowest id.
fn tops(unreached: &[Unreached]) -> Vec<(Unreached, u64)> {
    let by_id: BTreeMap<_, _> = unreached.iter().map(|entry| (entry.id, entry)).collect();
    let above = |entry: &Unreached| by_id.get(&entry.parent).copied().filter(|above| above.is_directory);
    let mut below: BTreeMap<[u8; 16], u64> = BTreeMap::new();
    let mut known: BTreeMap<[u8; 16], [u8; 16]> = BTreeMap::new();
    for entry in unreached {
        let (mut way, mut at) = (BTreeSet::new(), entry);
        let top = loop {
            if let Some(top) = known.get(&at.id) {
                break *top;
            }
            way.insert(at.id);
            match above(at) {
                None => break at.id,
                Some(next) if way.contains(&next.id) => break lowest_of_circle(next, above),
                Some(next) => at = next,
            }
        };
        known.extend(way.into_iter().map(|id| (id, top)));
        *below.entry(top).or_default() += 1;
    }
    below.into_iter().filter_map(|(top, count)| Some(((*by_id.get(&top)?).clone(), count - 1))).collect()
}

fn lowest_of_circle<'a>(on_it: &'a Unreached, above: impl Fn(&Unreached) -> Option<&'a Unreached>) -> [u8; 16] {
    let (mut lowest, mut at) = (on_it.id, above(on_it));
    while let Some(entry) = at.filter(|entry| entry.id != on_it.id) {
        lowest = lowest.min(entry.id);
        at = above(entry);
    }
    lowest
}

/// The name under which an entry comes back: its own with a mark behind it, or the mark alone if
/// its name does not open or is too long. The mark is made of its id.
async fn free_name(conn: &mut Conn, keys: &ShareKeys, root: DirectoryId, entry: &Unreached) -> Result<FileName, Error> {
    let mark = format!("recovered-{}", hex::encode(entry.id));
    let own = entry.name.as_ref().and_then(|name| keys.names.open_name(entry.id, name).ok());
    let marked = own.and_then(|own| FileName::new(&[own.as_bytes(), b".", mark.as_bytes()].concat()).ok());
    let plain = FileName::new(mark.as_bytes()).map_err(|why| Error::operator(why.to_string()))?;
    for name in marked.into_iter().chain([plain]) {
        if entries::by_name(conn, root, &keys.names.index(root, &name)).await?.is_none() {
            return Ok(name);
        }
    }
    Err(Error::operator(format!("the share has something called {mark} already; rename it and try again")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u8, parent: u8, is_directory: bool) -> Unreached {
        Unreached { id: [id; 16], parent: [parent; 16], name: None, is_directory }
    }

    #[test]
    fn each_piece_has_one_top() {
        let tops = |entries: &[Unreached]| -> Vec<(u8, u64)> {
            tops(entries).into_iter().map(|(top, below)| (top.id[0], below)).collect()
        };
        assert_eq!(tops(&[]), []);
        assert_eq!(tops(&[entry(1, 1, true)]), [(1, 0)], "a directory in itself");
        assert_eq!(tops(&[entry(1, 99, false)]), [(1, 0)], "its directory is gone");
        assert_eq!(tops(&[entry(2, 1, true), entry(1, 99, true), entry(3, 2, false)]), [(1, 2)]);
        // A circle of three, a chain that hangs from it, a file that lies in a file, and a piece of
        // its own.
        let circle = [entry(5, 7, true), entry(6, 5, true), entry(7, 6, true)];
        let hangs = [entry(1, 6, true), entry(2, 1, false)];
        let odd = [entry(3, 2, false), entry(8, 99, true)];
        let mut all = [&circle[..], &hangs, &odd].concat();
        for _ in 0..all.len() {
            all.rotate_left(1);
            assert_eq!(tops(&all), [(3, 0), (5, 4), (8, 0)]);
        }
    }
}
