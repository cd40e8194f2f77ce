//! What engineers are shown of the names that customers gave, and the way back: `model/alias` has
//! the rules of one name, this knows its neighbours.
//!
//! Of the entries of a directory that have one alias, one has it plainly: a name that is its own
//! alias before one that is only encoded so, then the one that came first. The others are shown
//! with their id in it. That is told by an index, so no listing looks at more than its page; and an
//! alias with an id in it means its entry also when it could have the plain one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::model::{DirectoryId, FileName, ShareId, alias};
use crate::records::aliases::{self, Unfilled};
use crate::records::entries::{self, EntryRow};
use crate::records::{Conn, tickets};
use crate::repo::keys::ShareKeys;
use crate::repo::{Error, Repo};

/// Rows that get their aliases in one transaction.
const AT_ONCE: usize = 1000;
/// Entries that are looked at because their ids begin as an alias says: ids are random, so there is
/// one.
const NAMESAKES: usize = 4;

/// How the entries of one page are shown.
pub(crate) struct Shown {
    overshadowed: Vec<[u8; 16]>,
}

impl Shown {
    /// For the entries of a directory behind `after` up to the last one of `rows`.
    pub(crate) async fn of_page(
        conn: &mut Conn,
        directory: DirectoryId,
        after: Option<[u8; 16]>,
        rows: &[EntryRow],
    ) -> Result<Self, Error> {
        let overshadowed = match rows.last() {
            Some(last) => aliases::overshadowed(conn, directory, after, &last.id).await?,
            None => Vec::new(),
        };
        Ok(Self { overshadowed })
    }

    /// What is shown of the name of an entry.
    pub(crate) fn name(&self, id: &[u8; 16], name: &FileName) -> FileName {
        let plain = alias::alias(name);
        if self.overshadowed.contains(id) { alias::with_id(&plain, id) } else { plain }
    }
}

/// The entry that is shown as `given` in a directory, and its name. Without an id in it, `given` is
/// nobody's own name there.
pub(crate) async fn meant(
    conn: &mut Conn,
    keys: &ShareKeys,
    directory: DirectoryId,
    given: &FileName,
) -> Result<Option<(EntryRow, FileName)>, Error> {
    let beginning = alias::id_in(given);
    let candidates = match &beginning {
        Some(beginning) => aliases::by_beginning(conn, directory, beginning, NAMESAKES).await?,
        None => {
            let holder = aliases::holder(conn, directory, &keys.names.alias_index(directory, given)).await?;
            holder.into_iter().collect()
        }
    };
    for id in candidates {
        let Some(row) = entries::by_id(conn, &id).await? else { continue };
        if row.name.is_none() {
            continue;
        }
        let name = keys.open_name(conn, &row).await?;
        let mut shown = alias::alias(&name);
        if beginning.is_some() {
            shown = alias::with_id(&shown, &id);
        }
        // The index is blind for case, names are not.
        if shown.folded() == given.folded() {
            return Ok(Some((row, name)));
        }
    }
    Ok(None)
}

/// Whether an upload that has no row yet can be listed by its own name: it is its alias, and no
/// entry has that one.
pub(crate) async fn is_free(
    conn: &mut Conn,
    keys: &ShareKeys,
    directory: DirectoryId,
    name: &FileName,
) -> Result<bool, Error> {
    let index = keys.names.alias_index(directory, name);
    Ok(alias::alias(name) == *name && aliases::holder(conn, directory, &index).await?.is_none())
}

/// Gives aliases to the rows that are older than aliases, some at a time; a start that is cut goes
/// on at the next one. What does not open is left as it is.
pub(crate) async fn fill(repo: &Repo) -> Result<(), Error> {
    let (mut after, mut filled, mut left) = (None, 0_u64, 0_u64);
    loop {
        let rows = aliases::unfilled(&mut *repo.records.read().await?, after, AT_ONCE).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.id);
        let mut keys: HashMap<ShareId, Option<Arc<ShareKeys>>> = HashMap::new();
        for row in &rows {
            if let Entry::Vacant(place) = keys.entry(row.share) {
                place.insert(repo.keys.share(row.share).await.ok());
            }
        }
        let mut tx = repo.records.begin().await?;
        for row in &rows {
            let keys = keys.get(&row.share).and_then(Option::as_ref);
            if fill_row(tx.conn(), keys, row).await? {
                filled += 1;
            } else {
                left += 1;
            }
        }
        repo.failpoints.hit("aliases.before-commit");
        tx.commit().await?;
        repo.failpoints.hit("aliases.after-commit");
    }
    if filled + left > 0 {
        tracing::info!(filled, left, "names of older rows have got their aliases for engineers");
    }
    Ok(())
}

async fn fill_row(conn: &mut Conn, keys: Option<&Arc<ShareKeys>>, row: &Unfilled) -> Result<bool, Error> {
    let Some(keys) = keys else { return Ok(false) };
    // Another process may have replaced them; it has given the aliases then.
    if tickets::key_generation(conn, row.share).await? != Some(keys.generation) {
        return Ok(false);
    }
    let Ok(name) = keys.names.open_name(row.id, &row.sealed) else { return Ok(false) };
    let mut place = keys.place(row.id, row.parent, &name)?;
    place.sealed.clone_from(&row.sealed);
    aliases::fill(conn, &row.id, &place).await?;
    Ok(true)
}
