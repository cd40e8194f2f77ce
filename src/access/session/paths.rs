//! From the path that a client sent to what it means for this login.
//!
//! What only looks asks `locate`, which also knows the top that engineers see. What changes
//! something asks `locate_in_share`, which refuses virtual places. What a file may be that is just
//! being written asks `locate_with_upload`. `inside` says which share a path leads into, and `find`
//! walks it there.

use std::sync::Arc;

use crate::access::ShareSession;
use crate::access::virtual_places::{Tree, VirtualPlace};
use crate::login::{Who, rights};
use crate::model::rights::{Operation, Rights, Side};
use crate::model::{FileName, Identifier, Kind, Refusal, ShareId, SharePath};
use crate::namespace::shape;
use crate::namespace::tree::{self, ResolvedPath, ShareContext};
use crate::records::entries::EntryRow;
use crate::records::people::LoginName;
use crate::records::{Conn, people};
use crate::repo::keys::with_keys_in_force;
use crate::repo::{Error, PlaceKind};
use crate::upload::WriteQueue;

/// Where a path leads.
pub(super) enum Place {
    /// An engineer's root, above the tickets.
    Top,
    /// Somewhere in a share.
    In(Box<ResolvedPath>),
}

/// A place in a share, before it is looked for.
struct Inside<'a> {
    ticket: Identifier,
    share: ShareId,
    /// From the share's root down.
    names: &'a [FileName],
    /// What the login may there.
    rights: Rights,
}

/// How often a name is looked at again because an upload of it ended meanwhile.
const ROUNDS: usize = 32;

impl ShareSession {
    /// What stands at a path, and the upload of it that is under way. An upload that ends between
    /// the two looks is not missed: its rows are read again.
    pub(in crate::access) async fn locate_with_upload(
        &self,
        path: &SharePath,
    ) -> Result<(ResolvedPath, Option<Arc<WriteQueue>>), Error> {
        for _ in 0..ROUNDS {
            let then = self.access().uploads.registry.moment();
            let resolved = self.locate_in_share(path).await?;
            let uploads = &self.access().uploads;
            let at = resolved.at.as_ref().map(|(directory, name, _)| (*directory, name));
            let held = at.and_then(|(directory, name)| uploads.registry.by_name(directory, name));
            match held {
                Some(_) if path.is_directory() => return Err(Refusal::NotDirectory.into()),
                // What a CLOSE makes of it is known in a moment.
                Some(queue) if queue.is_closing() => queue.wait_for_end().await?,
                None if at.is_some_and(|(directory, name)| uploads.registry.has_ended_since(directory, name, then)) => {
                }
                held => return Ok((resolved, held)),
            }
        }
        // Somebody ends uploads of this very name as fast as it is looked at.
        Err(Refusal::StillReceiving.into())
    }

    /// Follows a path into the share's own tree. The virtual places are not part of it: what gets
    /// here would change them.
    pub(in crate::access) async fn locate_in_share(&self, path: &SharePath) -> Result<ResolvedPath, Error> {
        self.check_turns(path).await?;
        match self.is_new_place(path.names()) {
            Some(true) => return Err(Refusal::FixedPlace.into()),
            Some(false) => return Err(Refusal::ReadOnly.into()),
            None => {}
        }
        let mut conn = self.repo().records.read().await?;
        let inside = self.inside(&mut conn, path).await?.ok_or(Error::Refused(Refusal::FixedPlace))?;
        match Tree::of(inside.names, self.is_engineer()) {
            Some((_, [])) => Err(Refusal::FixedPlace.into()),
            Some(_) => Err(Refusal::ReadOnly.into()),
            None => self.find(&mut conn, path, inside).await,
        }
    }

    /// Follows a path as this login sees it. What it may not know of does not exist.
    pub(super) async fn locate(&self, path: &SharePath) -> Result<Place, Error> {
        self.check_turns(path).await?;
        let mut conn = self.repo().records.read().await?;
        match self.inside(&mut conn, path).await? {
            None => Ok(Place::Top),
            Some(inside) => Ok(Place::In(Box::new(self.find(&mut conn, path, inside).await?))),
        }
    }

    async fn find(&self, conn: &mut Conn, path: &SharePath, inside: Inside<'_>) -> Result<ResolvedPath, Error> {
        inside.names.iter().try_for_each(shape::check_name)?;
        match tree::find(self.repo(), conn, &inside.ticket, inside.share, inside.names, self.is_engineer()).await {
            // What can be there in an older share only is looked for; that it cannot be made is the
            // better answer.
            Err(Error::Refused(Refusal::NoSuchFile)) => {
                shape::check_new(inside.names)?;
                Err(Refusal::NoSuchFile.into())
            }
            Ok(resolved) => {
                let resolved = self.seen(resolved, inside.rights)?;
                if path.is_directory() && resolved.entry.as_ref().is_some_and(|row| !row.is_directory) {
                    return Err(Refusal::NotDirectory.into());
                }
                Ok(resolved)
            }
            Err(other) => Err(other),
        }
    }

    /// A place as this login sees it: with what it may there, and in a drop box without what others
    /// have sent. A file that is not whole yet can be gone on with by whoever knows its name: an
    /// upload that was cut comes back by another login.
    fn seen(&self, mut resolved: ResolvedPath, rights: Rights) -> Result<ResolvedPath, Error> {
        resolved.rights = rights;
        rights.check(Operation::Look, resolved.side())?;
        if rights.sees_own_only() {
            if resolved.from_support {
                return Err(Refusal::NoSuchFile.into());
            }
            let is_hidden = resolved.entry.as_ref().is_some_and(|row| !self.sees_in_drop_box(row));
            if is_hidden {
                (resolved.entry, resolved.taken) = (None, true);
            }
        }
        Ok(resolved)
    }

    /// Whether a login that sees only what it has sent sees this where it is named.
    fn sees_in_drop_box(&self, row: &EntryRow) -> bool {
        let is_unfinished = row.current.is_none() && row.receiving.is_some();
        row.is_directory || is_unfinished || self.login.0.sent().has(&row.id)
    }

    /// What stands at a path into `.versions` or `.receipts`; none for all other paths.
    pub(super) async fn virtual_place(&self, path: &SharePath) -> Result<Option<VirtualPlace>, Error> {
        with_keys_in_force!(self.try_virtual_place(path).await)
    }

    async fn try_virtual_place(&self, path: &SharePath) -> Result<Option<VirtualPlace>, Error> {
        // Most paths lead past these places, and hold no name that could lead there.
        if !path.names().iter().take(2).any(Tree::is_one) {
            return Ok(None);
        }
        self.check_turns(path).await?;
        let mut conn = self.repo().records.read().await?;
        let Some(inside) = self.inside(&mut conn, path).await? else { return Ok(None) };
        let Some((tree, names)) = Tree::of(inside.names, self.is_engineer()) else { return Ok(None) };
        let keys = self.repo().keys.share(inside.share).await?;
        let context = ShareContext { ticket: inside.ticket, keys: Arc::clone(&keys), aliases: self.is_engineer() };
        let rights = inside.rights;
        rights.check(Operation::Look, Side::Customer)?;
        let found = VirtualPlace::find(self, &mut conn, context, tree, names, rights).await;
        if found.is_err() {
            // What is not found may have got other indexes meanwhile.
            self.repo().check_in_force(&keys).await?;
        }
        let found = found?;
        if path.is_directory() && found.attributes().kind == PlaceKind::File {
            return Err(Refusal::NotDirectory.into());
        }
        Ok(Some(found))
    }

    /// Whether what a path goes down into and leaves again are directories.
    async fn check_turns(&self, path: &SharePath) -> Result<(), Error> {
        for turn in path.turns() {
            Box::pin(self.attributes(&turn)).await?;
        }
        Ok(())
    }

    /// The share that a path leads into, and the names below its root; none for an engineer's root.
    async fn inside<'a>(&self, conn: &mut Conn, path: &'a SharePath) -> Result<Option<Inside<'a>>, Error> {
        match (&self.login.0.who, path.names().split_first()) {
            (Who::Engineer { .. } | Who::Contact { .. }, None) => Ok(None),
            (Who::Engineer { .. } | Who::Contact { .. }, Some((first, names))) => {
                let reference = str::from_utf8(first.as_bytes()).map_err(|_| Refusal::NoSuchFile)?;
                let missing = Error::Refused(Refusal::NoSuchFile);
                let ticket = match rights::proved(conn, reference, &self.login.0).await? {
                    Some(ticket) => Some(ticket),
                    // Nothing else stands there, and no two tickets differ in case only.
                    None => match people::login_name(conn, reference).await.map_err(Error::from)? {
                        Some(LoginName { name, .. }) if name != reference => {
                            rights::proved(conn, &name, &self.login.0).await?
                        }
                        _ => None,
                    },
                };
                let ticket = ticket.ok_or(missing)?;
                let rights = rights::of(conn, &ticket, &self.login.0).await.map_err(|error| match error {
                    // What a login does not reach it may not know of.
                    Error::Refused(_) => Refusal::NoSuchFile.into(),
                    other => other,
                })?;
                Ok(Some(Inside { ticket: ticket.reference, share: ticket.share, names, rights }))
            }
            (Who::Ticket { share, .. }, first) => {
                let (ticket, share) = (self.user().clone(), *share);
                let names = match first {
                    Some((first, below))
                        if self.is_own_reference(first)
                            && (path.is_directory() || !below.is_empty())
                            && self.leads_to_the_root(conn, share, first).await? =>
                    {
                        below
                    }
                    _ => path.names(),
                };
                Ok(Some(Inside { ticket, share, names, rights: self.login.0.own_rights() }))
            }
        }
    }

    /// Whether a name is the ticket's own, to a login of the ticket.
    ///
    /// A path through it, `/REF/...` and `/REF/`, leads to the share's root, so that one path means
    /// the same to customers and engineers. `/REF` itself is a name like any other: programs that
    /// mirror directories ask whether it is there, make it, and then find in it what they have put
    /// there.
    fn is_own_reference(&self, name: &FileName) -> bool {
        matches!(self.login.0.who, Who::Ticket { .. }) && name.as_bytes() == self.user().as_str().as_bytes()
    }

    /// Whether the ticket's own name leads to the share's root: as long as nobody has made
    /// something of that name there.
    async fn leads_to_the_root(&self, conn: &mut Conn, share: ShareId, name: &FileName) -> Result<bool, Error> {
        let resolved = tree::find(self.repo(), conn, self.user(), share, std::slice::from_ref(name), false).await?;
        Ok(resolved.entry.is_none())
    }

    /// Whether a file may be made at a spot where nothing is, which `path` leads to.
    ///
    /// # Errors
    /// [`Refusal::NoSuchDirectory`] or [`Refusal::OwnReference`].
    pub(super) fn check_new_file(&self, path: &SharePath, resolved: &ResolvedPath) -> Result<(), Refusal> {
        match resolved.names.as_slice() {
            _ if path.is_directory() => Err(Refusal::NoSuchDirectory),
            [only] if self.is_own_reference(only) => Err(Refusal::OwnReference),
            _ => Ok(()),
        }
    }

    /// REALPATH: the bytes of the path that leads to the same place, without the ticket's own name.
    /// What is written as a directory's and is not there keeps its slash: psftp asks so before it
    /// puts, and would make a file.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub async fn real_path(&self, path: &SharePath) -> Result<Vec<u8>, Refusal> {
        let mut bytes = path.to_bytes();
        if let (Who::Ticket { share, .. }, Some((first, below))) = (&self.login.0.who, path.names().split_first())
            && self.is_own_reference(first)
        {
            let mut conn = self.repo().records.read().await.map_err(Error::from)?;
            if self.leads_to_the_root(&mut conn, *share, first).await? {
                bytes = SharePath::from_names(below.to_vec()).to_bytes();
            }
        }
        if path.is_directory()
            && bytes != b"/"
            && self.attributes(path).await.is_err_and(|refusal| refusal.kind() == Kind::NotFound)
        {
            bytes.push(b'/');
        }
        Ok(bytes)
    }
}
