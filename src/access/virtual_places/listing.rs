//! Listings of the virtual places, page by page.

use std::collections::VecDeque;

use super::{
    CHECKSUM, DIRECTORY_MODE, RECEIPT, SIGNERS, Text, Texts, Tree, address, described, file_attributes, received,
    texts_at,
};
use crate::access::{Entry, ShareSession};
use crate::model::{DirectoryId, FileName, Identifier, Refusal};
use crate::namespace::PublicAddress;
use crate::namespace::aliases::Shown;
use crate::namespace::tree::{ShareContext, Way, is_from_support, way_of};
use crate::records::entries::{self, EntryRow};
use crate::records::{Conn, version_chain};
use crate::repo::set_aside::or_left_out;
use crate::repo::{Attributes, Error, Repo};

/// An open directory of a virtual place.
pub(crate) struct VirtualListing {
    owner: Identifier,
    source: Source,
    /// Lines that did not fit onto the last page.
    ready: VecDeque<Entry>,
    ended: bool,
}

enum Source {
    Directory(Box<Mirror>),
    /// The versions of a file behind this number.
    Versions {
        file: [u8; 16],
        after: u64,
    },
}

/// A directory of the share that is shown again: rows by id, from behind the last one given.
struct Mirror {
    context: ShareContext,
    tree: Tree,
    directory: DirectoryId,
    at_root: bool,
    aliases: bool,
    after: Option<[u8; 16]>,
}

impl VirtualListing {
    /// `signers`: what STAT says of `allowed_signers`, where it lies here.
    pub(super) fn of_directory(
        context: ShareContext,
        tree: Tree,
        directory: DirectoryId,
        names: &[FileName],
        signers: Option<Attributes>,
    ) -> Self {
        let owner = context.ticket.clone();
        let line = |attributes| {
            Some(Entry { name: FileName::new(SIGNERS).ok()?, attributes, owner: owner.clone(), unfinished: None })
        };
        let ready = signers.and_then(line).into_iter().collect();
        let aliases = context.aliases && !names.first().is_some_and(is_from_support);
        let mirror = Mirror { context, tree, directory, at_root: names.is_empty(), aliases, after: None };
        Self { owner, source: Source::Directory(Box::new(mirror)), ready, ended: false }
    }

    pub(super) fn of_versions(owner: Identifier, file: [u8; 16]) -> Self {
        Self { owner, source: Source::Versions { file, after: 0 }, ready: VecDeque::new(), ended: false }
    }

    /// The next lines, at most `most`; none at the end.
    pub(crate) async fn next(&mut self, session: &ShareSession, most: usize) -> Result<Vec<Entry>, Refusal> {
        while self.ready.is_empty() && !self.ended {
            self.read(session, most).await?;
        }
        Ok(self.ready.drain(..most.min(self.ready.len())).collect())
    }

    /// Reads one page of rows. Many of them can have no line here, and some have two.
    async fn read(&mut self, session: &ShareSession, most: usize) -> Result<(), Error> {
        let mut conn = session.repo().records.read().await?;
        match &mut self.source {
            Source::Versions { file, after } => {
                // A page that is short because of a row that cannot be read is not the last one; an
                // empty one is.
                let page = version_chain::page(&mut conn, file, *after, most).await?;
                self.ended = page.is_empty();
                for past in page {
                    *after = past.number;
                    let name = FileName::new(past.number.to_string().as_bytes()).map_err(|_| Refusal::BadName)?;
                    let attributes = file_attributes(past.length, past.came_at());
                    self.ready.push_back(Entry { name, attributes, owner: self.owner.clone(), unfinished: None });
                }
            }
            Source::Directory(mirror) => {
                let page = entries::children(&mut conn, mirror.directory, mirror.after, most).await?;
                let rows = page.rows;
                let shown = if mirror.aliases {
                    Some(Shown::of_page(&mut conn, mirror.directory, mirror.after, &rows).await?)
                } else {
                    None
                };
                self.ended = page.ended;
                let way = way_of(&mut conn, &mirror.context.keys, mirror.directory.as_bytes()).await?;
                let address = address(session.repo(), &mut conn).await?;
                mirror.after = page.last;
                for row in rows {
                    if row.name.is_none() {
                        continue;
                    }
                    let opened = mirror.context.keys.open_name(&mut conn, &row).await;
                    let Some(name) = or_left_out(opened, "the name of an entry", &row.id)? else { continue };
                    let shown = shown.as_ref().map_or_else(|| name.clone(), |shown| shown.name(&row.id, &name));
                    let lines = if row.is_directory {
                        mirror.directory(session, &mut conn, &way, &row, (name, shown)).await
                    } else {
                        mirror.file(session.repo(), &mut conn, &way, &row, (name, shown), &address).await
                    };
                    let Some(lines) = or_left_out(lines, "a version of an entry", &row.id)? else { continue };
                    let owner = &self.owner;
                    self.ready.extend(lines.into_iter().map(|(name, attributes)| Entry {
                        name,
                        attributes,
                        owner: owner.clone(),
                        unfinished: None,
                    }));
                }
            }
        }
        Ok(())
    }
}

impl Mirror {
    async fn directory(
        &self,
        session: &ShareSession,
        conn: &mut Conn,
        way: &Way,
        row: &EntryRow,
        (name, shown): (FileName, FileName),
    ) -> Result<Vec<(FileName, Attributes)>, Error> {
        if self.at_root && is_from_support(&name) && !session.is_engineer() {
            let handed_back = DirectoryId::from_bytes(row.id);
            if entries::is_empty(conn, handed_back).await? {
                return Ok(Vec::new());
            }
        }
        if self.tree == Tree::Receipts {
            // Nothing is listed twice: where a directory bears the name of such a text, the text
            // goes first.
            if self.at_root && name.as_bytes() == SIGNERS {
                return Ok(Vec::new());
            }
            if let Some((file, _)) = described(&shown)
                && texts_at(session.repo(), conn, &self.context, way.path().join(file).names()).await?.is_some()
            {
                return Ok(Vec::new());
            }
        }
        Ok(vec![(shown, Attributes::directory(DIRECTORY_MODE, row.modified_at))])
    }

    async fn file(
        &self,
        repo: &Repo,
        conn: &mut Conn,
        way: &Way,
        row: &EntryRow,
        (name, shown): (FileName, FileName),
        address: &PublicAddress,
    ) -> Result<Vec<(FileName, Attributes)>, Error> {
        if self.tree == Tree::Versions {
            let newest = version_chain::newest(conn, &row.id).await?;
            let attributes = newest.map(|newest| Attributes::directory(DIRECTORY_MODE, newest.came_at()));
            return Ok(attributes.map(|attributes| (shown, attributes)).into_iter().collect());
        }
        let way = way.join(name, row.id);
        let Some(Texts { receipt, checksum, version }) =
            Texts::of_file(repo, conn, &self.context, &way, row, address).await?
        else {
            return Ok(Vec::new());
        };
        let line = |text: &Text, suffix: &[u8]| {
            // A name that is too long with the suffix can be asked for. Listed, it would fail those
            // who fetch all of them: their file systems have no room for it.
            let name = FileName::new(&[shown.as_bytes(), suffix].concat()).ok()?;
            Some((name, file_attributes(text.length() as u64, received(&version))))
        };
        Ok([line(&receipt, RECEIPT), line(&checksum, CHECKSUM)].into_iter().flatten().collect())
    }
}
