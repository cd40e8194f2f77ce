//! `/.new`: what came since an engineer's last look, over all tickets that the engineer sees.
//!
//! `/.new` lists the tickets into which something came, `/.new/REF` and the directories below it
//! only what came, and the directories that lead there. A path behind `/.new` means what it means
//! without it, so whatever is listed can be read; nothing can be changed there.
//!
//! A look begins when `/.new` is listed and lasts for [`LOOK`]: who lists it again meanwhile, also
//! by another connection, as clients do that fetch side by side, sees the same beginning. The next
//! look begins with what came since this one began. What came while somebody looked is so shown
//! twice rather than never.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::ShareSession;
use super::paths::Place;
use crate::access::Listing;
use crate::model::rights::Operation;
use crate::model::{DirectoryId, FileName, Refusal, SharePath, Time, VersionState};
use crate::namespace::tree::ResolvedPath;
use crate::records::entries::EntryRow;
use crate::records::lists::{self, Wanted};
use crate::records::looks::{self, Look};
use crate::records::{Conn, entries, tickets};
use crate::repo::Error;
use crate::repo::set_aside::or_left_out;

/// The name of the place.
const NEW: &[u8] = b".new";
/// How long a look lasts from its beginning on.
const LOOK: Duration = Duration::from_secs(30 * 60);
/// What is older than this is no longer new to anybody.
const OLDEST: Duration = Duration::from_secs(30 * 86_400);
/// Versions of one ticket that are shown as new, at most: the newest ones.
const MOST: usize = 10_000;
/// Versions that are read at once.
const AT_ONCE: usize = 500;
/// Directories between a file and the share's root that are looked at, at most.
const DEEPEST: usize = 256;

impl ShareSession {
    fn leads_to_new(&self, path: &SharePath) -> bool {
        self.is_engineer() && path.names().first().is_some_and(|first| first.as_bytes() == NEW)
    }

    /// What a path that leads into `/.new` means without that; the root for `/.new` itself.
    pub(super) fn behind_new(&self, path: &SharePath) -> Option<SharePath> {
        self.leads_to_new(path).then(|| path.without_first())
    }

    /// Whether a path leads to `/.new` itself or to something in it, where nothing can be changed.
    pub(super) fn is_new_place(&self, names: &[FileName]) -> Option<bool> {
        let is_new = self.is_engineer() && names.first().is_some_and(|first| first.as_bytes() == NEW);
        is_new.then_some(names.len() == 1)
    }

    /// Opens a directory of `/.new`, by its path behind that.
    pub(super) async fn list_new(&self, path: &SharePath) -> Result<Listing, Refusal> {
        if path.is_root() {
            let since = self.look(true).await?;
            return Ok(Listing::of_tickets(self.clone(), Some(since)));
        }
        if self.virtual_place(path).await?.is_some() {
            return Box::pin(self.list(path)).await;
        }
        match self.locate(path).await? {
            Place::In(resolved) => {
                self.record_refusal(path, Self::check(&resolved, Operation::List)).await?;
                let (directory, since) = (resolved.directory()?, self.look(false).await?);
                self.note_listing(&resolved.context.ticket, directory);
                Ok(Listing::of_new(self.clone(), *resolved, directory, since).await?)
            }
            Place::Top => Err(Refusal::NoSuchFile),
        }
    }

    /// When something last came into the share whose root this is, to who sees it among others.
    pub(super) async fn newest_in(&self, root: &ResolvedPath) -> Result<Option<Time>, Error> {
        if !self.sees_tickets() {
            return Ok(None);
        }
        let mut conn = self.repo().records.read().await?;
        let ticket = tickets::by_reference(&mut conn, root.context.ticket.as_str()).await?;
        Ok(ticket.map(|ticket| ticket.newest_at.unwrap_or(ticket.opened_at)))
    }

    /// From when on things are new to this engineer. With `begins` this is a look: one begins if
    /// the last one is over.
    async fn look(&self, begins: bool) -> Result<Time, Error> {
        let now = Time::now();
        let last = looks::of(&mut *self.repo().records.read().await?, self.user()).await?;
        let Some(next) = next(last, now).filter(|_| begins) else { return Ok(since(last, now)) };
        let mut tx = self.repo().records.begin().await?;
        // Another connection of the same engineer may have begun one meanwhile.
        let last = looks::of(tx.conn(), self.user()).await?;
        if self::next(last, now).is_some() {
            looks::put(tx.conn(), self.user(), next).await?;
            tx.commit().await?;
            return Ok(since(Some(next), now));
        }
        Ok(since(last, now))
    }
}

/// The look that begins now; none while the last one lasts.
fn next(last: Option<Look>, now: Time) -> Option<Look> {
    match last {
        None => Some(Look { since: now.minus(OLDEST), began: now }),
        Some(last) if last.began <= now && now < last.began.plus(LOOK) => None,
        // A clock that was put back takes nothing out of sight.
        Some(last) => Some(Look { since: last.began.min(now), began: now }),
    }
}

/// What a look shows begins here.
fn since(last: Option<Look>, now: Time) -> Time {
    last.map_or(now.minus(OLDEST), |last| last.since).max(now.minus(OLDEST))
}

/// The entries directly in a directory that came then or later, or lead to what did.
pub(crate) async fn new_in(
    conn: &mut Conn,
    resolved: &ResolvedPath,
    directory: DirectoryId,
    since: Time,
) -> Result<Vec<[u8; 16]>, Error> {
    let wanted = Wanted {
        ticket: Some(&resolved.context.ticket),
        since: Some(since),
        state: Some(VersionState::Available),
        ..Wanted::default()
    };
    let (mut found, mut parents) = (BTreeSet::new(), HashMap::new());
    let (mut behind, mut looked_at) = (None, 0);
    while looked_at < MOST {
        let page = lists::arrivals(conn, &wanted, behind.as_ref(), AT_ONCE).await?;
        let mut files = Vec::with_capacity(page.rows.len());
        for row in &page.rows {
            match row.is_own {
                true => files.push(*row.artifact.as_bytes()),
                false => {
                    let file = lists::file_of(conn, row).await.map_err(Error::from);
                    files.extend(or_left_out(file, "an artifact", row.artifact.as_bytes())?.flatten());
                }
            }
        }
        for file in entries::by_ids(conn, &files).await? {
            found.extend(step_below(conn, &file, directory, &mut parents).await?);
        }
        looked_at += AT_ONCE;
        behind = page.last;
        if behind.is_none() {
            break;
        }
    }
    Ok(found.into_iter().collect())
}

/// The entry of a directory that is a file, or that the file lies below; none if it lies elsewhere.
async fn step_below(
    conn: &mut Conn,
    file: &EntryRow,
    directory: DirectoryId,
    parents: &mut HashMap<DirectoryId, Option<DirectoryId>>,
) -> Result<Option<[u8; 16]>, Error> {
    let (mut at, mut above) = (file.id, file.parent);
    for _ in 0..DEEPEST {
        let Some(parent) = above else { return Ok(None) };
        if parent == directory {
            return Ok(Some(at));
        }
        above = match parents.get(&parent) {
            Some(above) => *above,
            None => {
                let row = entries::by_id(conn, parent.as_bytes()).await?;
                let above = row.filter(|row| row.in_sight).and_then(|row| row.parent);
                parents.insert(parent, above);
                above
            }
        };
        at = *parent.as_bytes();
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_lasts_and_the_next_one_begins_where_it_began() {
        let start = Time::from_seconds(1_800_000_000);
        let first = next(None, start).unwrap();
        assert_eq!((first.since, first.began), (start.minus(OLDEST), start));
        let later = start.plus(LOOK).minus(Duration::from_millis(1));
        assert_eq!(next(Some(first), later), None);
        // A month is over meanwhile, by a moment.
        assert_eq!(since(Some(first), later), later.minus(OLDEST));
        let second = next(Some(first), start.plus(LOOK)).unwrap();
        assert_eq!((second.since, second.began), (start, start.plus(LOOK)));
        assert_eq!(since(Some(second), start.plus(LOOK)), start);
        // Who was away for long is shown a month, and not all that ever came.
        let away = start.plus(OLDEST).plus(OLDEST);
        assert_eq!(since(next(Some(second), away), away), away.minus(OLDEST));
        // A clock that goes back hides nothing, and no look lasts for ever.
        let back = start.minus(Duration::from_secs(7 * 86_400));
        assert_eq!(next(Some(second), back), Some(Look { since: back, began: back }));
    }
}
