//! An open directory, read page by page.

use std::collections::VecDeque;

use crate::model::{DirectoryId, FileName, Refusal, Word};
use crate::records::{entries, tickets};
use crate::share::tree::{FROM_SUPPORT, Spot, open_name};
use crate::share::upload::Lane;
use crate::share::virtual_places::VirtualListing;
use crate::share::{Attributes, Unfinished};
use crate::share::{Error, View};

/// One line of a listing.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name.
    pub name: FileName,
    /// What STAT says of it.
    pub attributes: Attributes,
    /// Whether it is not whole yet.
    pub unfinished: Option<Unfinished>,
    /// Whose it is, for the owner's column of `ls -l`.
    pub owner: Word,
}

/// An open directory.
pub struct Listing {
    view: View,
    source: Source,
}

enum Source {
    /// An engineer's root: one directory for each assigned ticket.
    Tickets(VecDeque<Entry>),
    /// A directory of a share: rows by id, from behind the last one given.
    Directory {
        spot: Box<Spot>,
        directory: DirectoryId,
        after: Option<[u8; 16]>,
        unrecorded: VecDeque<Entry>,
        ended: bool,
    },
    Virtual(Box<VirtualListing>),
}

impl Listing {
    pub(crate) async fn of_tickets(view: View) -> Result<Self, Error> {
        let rows = tickets::list(&mut *view.house().records.read().await?, Some(view.user())).await?;
        let mut lines = VecDeque::new();
        for ticket in rows {
            let name = FileName::new(ticket.reference.as_str().as_bytes()).map_err(|_| Refusal::BadName)?;
            lines.push_back(Entry {
                name,
                attributes: Attributes::directory(0o550, ticket.opened_at),
                unfinished: None,
                owner: ticket.reference,
            });
        }
        Ok(Self { view, source: Source::Tickets(lines) })
    }

    pub(crate) fn of_directory(view: View, spot: Spot, directory: DirectoryId) -> Self {
        // Uploads that began a moment ago have no row yet.
        let owner = owner(&spot);
        let unrecorded = view
            .house()
            .uploads
            .in_directory(directory)
            .iter()
            .filter(|lane| !lane.is_recorded())
            .map(|lane| Entry {
                name: lane.name().clone(),
                attributes: lane.attributes(),
                unfinished: Some(Unfinished::Receiving),
                owner: owner.clone(),
            })
            .collect();
        let spot = Box::new(spot);
        Self { view, source: Source::Directory { spot, directory, after: None, unrecorded, ended: false } }
    }

    pub(crate) fn of_virtual(view: View, listing: VirtualListing) -> Self {
        Self { view, source: Source::Virtual(Box::new(listing)) }
    }

    /// The next lines, at most `most`; none at the end.
    ///
    /// # Errors
    /// If the records do not answer.
    pub async fn next(&mut self, most: usize) -> Result<Vec<Entry>, Refusal> {
        let most = most.max(1);
        match &mut self.source {
            Source::Tickets(lines) => Ok(lines.drain(..most.min(lines.len())).collect()),
            Source::Virtual(listing) => listing.next(&self.view, most).await,
            Source::Directory { spot, directory, after, unrecorded, ended } => {
                let mut lines: Vec<Entry> = unrecorded.drain(..most.min(unrecorded.len())).collect();
                while lines.is_empty() && !*ended {
                    let page = page(&self.view, spot, *directory, *after, most);
                    (lines, *after, *ended) = match page.await {
                        Err(Error::KeysReplaced) => {
                            spot.reach.keys = self.view.house().keys.share(spot.reach.share()).await?;
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

/// Reads one page of rows: the lines, the last row's id, and whether it was the last page. Lines can be left out of it, so
/// it may be empty before the end is reached.
async fn page(
    view: &View,
    spot: &Spot,
    directory: DirectoryId,
    after: Option<[u8; 16]>,
    most: usize,
) -> Result<(Vec<Entry>, Option<[u8; 16]>, bool), Error> {
    let mut conn = view.house().records.read().await?;
    let rows = entries::children(&mut conn, directory, after, most).await?;
    let (ended, last) = (rows.len() < most, rows.last().map(|row| row.id));
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(sealed) = &row.name else { continue };
        let name = open_name(&mut conn, &spot.reach.keys, row.id, sealed).await?;
        let at_root = spot.names.is_empty();
        if at_root && name.as_bytes() == FROM_SUPPORT && !view.is_engineer() {
            let handed_back = DirectoryId::from_bytes(row.id);
            if entries::is_empty(&mut conn, handed_back).await? {
                continue;
            }
        }
        let from_support = spot.from_support || (at_root && name.as_bytes() == FROM_SUPPORT);
        let held: Option<std::sync::Arc<Lane>> = view.house().uploads.of_artifact(row.id);
        let attributes = view.attributes_of(&row, from_support, held.as_deref());
        let unfinished = view.unfinished(&row, from_support, held.as_deref());
        lines.push(Entry { name, attributes, unfinished, owner: owner(spot) });
    }
    Ok((lines, last, ended))
}

fn owner(spot: &Spot) -> Word {
    spot.reach.ticket.clone()
}
