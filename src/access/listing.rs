//! An open directory, read page by page.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::access::ShareSession;
use crate::access::session::new::new_in;
use crate::access::virtual_places::VirtualListing;
use crate::login::rights::{self, Grant};
use crate::model::rights::Operation;
use crate::model::{DirectoryId, FileName, Identifier, Refusal, TicketStatus, Time, alias};
use crate::namespace::aliases::{self, Shown};
use crate::namespace::tree::{FROM_SUPPORT, ResolvedPath};
use crate::records::entries::{EntryRow, Page};
use crate::records::{Conn, entries};
use crate::repo::Error;
use crate::repo::set_aside::or_left_out;
use crate::repo::{Attributes, Unfinished};
use crate::upload::WriteQueue;

/// One line of a listing.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name, or the alias that this login is shown of it.
    pub name: FileName,
    /// What STAT says of it.
    pub attributes: Attributes,
    /// Whether it is not whole yet.
    pub unfinished: Option<Unfinished>,
    /// Whose it is, for the owner's column of `ls -l`.
    pub owner: Identifier,
}

/// An open directory.
pub struct Listing {
    session: ShareSession,
    /// None for the tickets themselves.
    grant: Option<Grant>,
    source: Source,
}

enum Source {
    /// The root of who sees several tickets: one directory for each, by reference, from behind the
    /// last one looked at.
    Tickets {
        after: Option<Identifier>,
        /// Only those into which something came then or later.
        since: Option<Time>,
        ended: bool,
    },
    /// A directory of a share: rows by id, from behind the last one given.
    Directory {
        resolved: Box<ResolvedPath>,
        directory: DirectoryId,
        after: Option<[u8; 16]>,
        /// Uploads that had no row when the directory was opened, and their ids: a row that they
        /// get is not listed again.
        unrecorded: VecDeque<Entry>,
        listed: Vec<[u8; 16]>,
        ended: bool,
    },
    /// What of a directory is new, by its ids.
    New {
        resolved: Box<ResolvedPath>,
        directory: DirectoryId,
        ids: Vec<[u8; 16]>,
    },
    Virtual(Box<VirtualListing>),
}

impl Listing {
    /// All tickets that the session sees, or those into which something came since.
    pub(crate) fn of_tickets(session: ShareSession, since: Option<Time>) -> Self {
        // Each page asks the records which tickets there are.
        Self { session, grant: None, source: Source::Tickets { after: None, since, ended: false } }
    }

    /// Of a directory what came since, and the directories that lead to it.
    pub(crate) async fn of_new(
        session: ShareSession,
        resolved: ResolvedPath,
        directory: DirectoryId,
        since: Time,
    ) -> Result<Self, Error> {
        let mut ids = new_in(&mut *session.repo().records.read().await?, &resolved, directory, since).await?;
        // Pages are taken from its end.
        ids.reverse();
        let asks = (Operation::List, resolved.side());
        let grant = Some(session.grant(&resolved.context.ticket, resolved.rights, asks));
        Ok(Self { session, grant, source: Source::New { resolved: Box::new(resolved), directory, ids } })
    }

    pub(crate) async fn of_directory(
        session: ShareSession,
        resolved: ResolvedPath,
        directory: DirectoryId,
    ) -> Result<Self, Error> {
        let owner = owner(&resolved);
        let (mut unrecorded, mut listed) = (VecDeque::new(), Vec::new());
        // Uploads that began a moment ago have no row yet, unless there is an older version.
        let queues = session.access().uploads.registry.in_directory(directory);
        let own_only = resolved.rights.sees_own_only();
        let shown = |queue: &&Arc<WriteQueue>| !own_only || queue.session() == session.id();
        for queue in queues.iter().filter(|queue| !queue.is_recorded()).filter(shown) {
            let (id, name) = (*queue.artifact().as_bytes(), queue.name());
            let mut conn = session.repo().records.read().await?;
            if entries::by_id(&mut conn, &id).await?.is_some() {
                continue;
            }
            // Engineers see those that need another name when they have their row, in a moment.
            if resolved.shows_aliases() {
                let fold = alias::folded(&name);
                let is_taken = unrecorded.iter().any(|line: &Entry| alias::folded(&line.name) == fold);
                if is_taken || !aliases::is_free(&mut conn, &resolved.context.keys, directory, &name).await? {
                    continue;
                }
            }
            listed.push(id);
            let (attributes, unfinished) = (session.attributes_of_upload(queue), Some(Unfinished::Receiving));
            unrecorded.push_back(Entry { name, attributes, unfinished, owner: owner.clone() });
        }
        let asks = (Operation::List, resolved.side());
        let grant = Some(session.grant(&resolved.context.ticket, resolved.rights, asks));
        let resolved = Box::new(resolved);
        let source = Source::Directory { resolved, directory, after: None, unrecorded, listed, ended: false };
        Ok(Self { session, grant, source })
    }

    pub(crate) fn of_virtual(session: ShareSession, grant: Grant, listing: VirtualListing) -> Self {
        Self { session, grant: Some(grant), source: Source::Virtual(Box::new(listing)) }
    }

    /// Goes on behind the row that [`position`](Self::position) named, in another listing of the
    /// same directory. Uploads that have no row yet were told of in the first part.
    pub fn go_on_behind(&mut self, row: [u8; 16]) {
        if let Source::Directory { after, unrecorded, .. } = &mut self.source {
            *after = Some(row);
            unrecorded.clear();
        }
    }

    /// The last row that was looked at, if rows may come behind it.
    pub fn position(&self) -> Option<[u8; 16]> {
        match &self.source {
            Source::Directory { after, ended: false, .. } => *after,
            _ => None,
        }
    }

    /// The next lines, at most `most`; none at the end.
    ///
    /// # Errors
    /// If the records do not answer, or this login may no longer see it.
    pub async fn next(&mut self, most: usize) -> Result<Vec<Entry>, Refusal> {
        self.grant.as_ref().map_or(Ok(()), Grant::check)?;
        let most = most.max(1);
        match &mut self.source {
            Source::Tickets { after, since, ended } => {
                let mut lines = Vec::new();
                while lines.is_empty() && !*ended {
                    (lines, *ended) = tickets_page(&self.session, after, *since, most).await?;
                }
                Ok(lines)
            }
            Source::Virtual(listing) => listing.next(&self.session, most).await,
            Source::New { resolved, directory, ids } => {
                let mut lines = Vec::new();
                while lines.is_empty() && !ids.is_empty() {
                    let some = ids.split_off(ids.len().saturating_sub(most));
                    lines = loop {
                        match chosen(&self.session, resolved, *directory, &some).await {
                            Err(Error::KeysReplaced) => {
                                resolved.context.keys =
                                    self.session.repo().keys.share(resolved.context.share()).await?;
                            }
                            other => break other?,
                        }
                    };
                }
                Ok(lines)
            }
            Source::Directory { resolved, directory, after, unrecorded, listed, ended } => {
                let mut lines: Vec<Entry> = unrecorded.drain(..most.min(unrecorded.len())).collect();
                while lines.is_empty() && !*ended {
                    let page = page(&self.session, resolved, *directory, *after, listed, most);
                    (lines, *after, *ended) = match page.await {
                        Err(Error::KeysReplaced) => {
                            resolved.context.keys = self.session.repo().keys.share(resolved.context.share()).await?;
                            continue;
                        }
                        other => other?,
                    };
                }
                Ok(lines)
            }
        }
    }
}

/// One page of the tickets that a login sees, from behind `after` on, which moves on, and whether
/// it was the last one. It may be empty before: what is asked for is more than what a login sees.
async fn tickets_page(
    session: &ShareSession,
    after: &mut Option<Identifier>,
    since: Option<Time>,
    most: usize,
) -> Result<(Vec<Entry>, bool), Error> {
    let hides_closed = session.repo().settings.hide_closed;
    let mut conn = session.repo().records.read().await?;
    let (rows, ended) = rights::candidates(&mut conn, session.login(), after.as_ref(), most).await?;
    let mut lines = Vec::with_capacity(rows.len());
    for ticket in rows {
        *after = Some(ticket.reference.clone());
        let is_wanted = match since {
            Some(since) => ticket.newest_at.is_some_and(|newest| newest >= since),
            None => ticket.status != TicketStatus::Closed || !hides_closed,
        };
        if !is_wanted {
            continue;
        }
        if !rights::sees(&mut conn, &ticket, session.login()).await? {
            continue;
        }
        lines.push(Entry {
            name: FileName::new(ticket.reference.as_str().as_bytes()).map_err(|_| Refusal::BadName)?,
            // A client that sorts by time has what came last on top.
            attributes: Attributes::directory(0o550, ticket.newest_at.unwrap_or(ticket.opened_at)),
            unfinished: None,
            owner: ticket.reference,
        });
    }
    Ok((lines, ended))
}

/// Reads one page of rows: the lines, the last row's id, and whether it was the last page. Lines
/// can be left out of it, so it may be empty before the end is reached.
async fn page(
    session: &ShareSession,
    resolved: &ResolvedPath,
    directory: DirectoryId,
    after: Option<[u8; 16]>,
    listed: &[[u8; 16]],
    most: usize,
) -> Result<(Vec<Entry>, Option<[u8; 16]>, bool), Error> {
    let mut conn = session.repo().records.read().await?;
    let Page { rows, last, ended } = entries::children(&mut conn, directory, after, most).await?;
    let lines = lines(session, &mut conn, resolved, directory, after, rows, listed).await?;
    Ok((lines, last, ended))
}

/// The lines of chosen entries of a directory, as far as they are still there.
async fn chosen(
    session: &ShareSession,
    resolved: &ResolvedPath,
    directory: DirectoryId,
    ids: &[[u8; 16]],
) -> Result<Vec<Entry>, Error> {
    let mut conn = session.repo().records.read().await?;
    let mut rows = entries::by_ids(&mut conn, ids).await?;
    rows.retain(|row| row.in_sight && row.parent == Some(directory));
    rows.sort_by_key(|row| row.id);
    lines(session, &mut conn, resolved, directory, None, rows, &[]).await
}

/// The lines of entries of a directory behind `after`, which are in the order of their ids.
async fn lines(
    session: &ShareSession,
    conn: &mut Conn,
    resolved: &ResolvedPath,
    directory: DirectoryId,
    after: Option<[u8; 16]>,
    rows: Vec<EntryRow>,
    listed: &[[u8; 16]],
) -> Result<Vec<Entry>, Error> {
    let shown =
        if resolved.shows_aliases() { Some(Shown::of_page(conn, directory, after, &rows).await?) } else { None };
    let queues = session.access().uploads.registry.in_directory(directory);
    let held: HashMap<[u8; 16], _> = queues.iter().map(|queue| (*queue.artifact().as_bytes(), queue)).collect();
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        if row.name.is_none() || listed.contains(&row.id) {
            continue;
        }
        if resolved.rights.sees_own_only() && !session.login().0.sent().has(&row.id) {
            continue;
        }
        // What could not be opened by its name either would only end the work of who copies a whole
        // tree.
        let opened = resolved.context.keys.open_name(conn, &row).await;
        let Some(name) = or_left_out(opened, "the name of an entry", &row.id)? else { continue };
        let at_root = resolved.names.is_empty();
        if at_root && name.as_bytes() == FROM_SUPPORT && !session.is_engineer() {
            let handed_back = DirectoryId::from_bytes(row.id);
            if entries::is_empty(conn, handed_back).await? {
                continue;
            }
        }
        let from_support = resolved.from_support || (at_root && name.as_bytes() == FROM_SUPPORT);
        let held = held.get(&row.id).map(|queue| &***queue);
        let attributes = session.attributes_of(&row, from_support, held);
        let unfinished = session.unfinished(&row, from_support, held);
        let name = match &shown {
            Some(shown) => shown.name(&row.id, &name),
            None => name,
        };
        lines.push(Entry { name, attributes, unfinished, owner: owner(resolved) });
    }
    Ok(lines)
}

fn owner(resolved: &ResolvedPath) -> Identifier {
    resolved.context.ticket.clone()
}
