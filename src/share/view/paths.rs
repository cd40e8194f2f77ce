//! From the path that a client sent to what it means for this login.

use std::sync::Arc;

use crate::model::{FileName, Refusal, ShareId, SharePath, Word};
use crate::records::{Conn, tickets};
use crate::share::keys::with_keys_in_force;
use crate::share::login::Who;
use crate::share::shape;
use crate::share::tree::{Reach, Spot};
use crate::share::upload::Lane;
use crate::share::virtual_places::{Tree, VirtualPlace};
use crate::share::{Error, View};

/// Where a path leads.
pub(super) enum Place {
    /// An engineer's root, above the tickets.
    Top,
    /// Somewhere in a share.
    In(Box<Spot>),
}

/// How often a name is looked at again because an upload of it ended meanwhile.
const ROUNDS: usize = 32;

impl View {
    /// What stands at a path, and the upload of it that is under way. An upload that ends between the two looks is not
    /// missed: its rows are read again.
    pub(super) async fn locate_with_upload(&self, path: &SharePath) -> Result<(Spot, Option<Arc<Lane>>), Error> {
        for _ in 0..ROUNDS {
            let ended = self.house().uploads.ended();
            let spot = self.locate_in_share(path).await?;
            let uploads = &self.house().uploads;
            let at = spot.at.as_ref().map(|(directory, name, _)| (*directory, name));
            let held = at.and_then(|(directory, name)| uploads.by_name(directory, name));
            match held {
                // What a CLOSE makes of it is known in a moment.
                Some(lane) if lane.is_closing() => lane.wait_for_end().await?,
                None if at.is_some_and(|(directory, name)| uploads.has_ended_since(directory, name, ended)) => {}
                held => return Ok((spot, held)),
            }
        }
        // Somebody ends uploads of this very name as fast as it is looked at.
        Err(Refusal::StillReceiving.into())
    }

    /// Follows a path into the share's own tree. The virtual places are not part of it: what gets here would change them.
    pub(super) async fn locate_in_share(&self, path: &SharePath) -> Result<Spot, Error> {
        match self.virtual_names(path) {
            Some((_, [])) => return Err(Refusal::FixedPlace.into()),
            Some(_) => return Err(Refusal::ReadOnly.into()),
            None => {}
        }
        match self.locate(path).await? {
            Place::Top => Err(Refusal::FixedPlace.into()),
            Place::In(spot) => Ok(*spot),
        }
    }

    /// Follows a path as this login sees it. What it may not know of does not exist.
    pub(super) async fn locate(&self, path: &SharePath) -> Result<Place, Error> {
        let mut conn = self.house().records.read().await?;
        let Some((ticket, share, names)) = self.share_of(&mut conn, path).await? else { return Ok(Place::Top) };
        match self.house().find(&mut conn, &ticket, share, names, self.is_engineer()).await {
            // What can be there in an older share only is looked for; that it cannot be made is the better answer.
            Err(Error::Refused(Refusal::NoSuchFile)) => {
                shape::check_new(names)?;
                Err(Refusal::NoSuchFile.into())
            }
            found => Ok(Place::In(Box::new(found?))),
        }
    }

    /// What stands at a path into `.versions` or `.receipts`; none for all other paths.
    pub(super) async fn virtual_place(&self, path: &SharePath) -> Result<Option<VirtualPlace>, Error> {
        with_keys_in_force!(self.try_virtual_place(path).await)
    }

    async fn try_virtual_place(&self, path: &SharePath) -> Result<Option<VirtualPlace>, Error> {
        let Some((tree, names)) = self.virtual_names(path) else { return Ok(None) };
        let mut conn = self.house().records.read().await?;
        let Some((ticket, share, _)) = self.share_of(&mut conn, path).await? else { return Ok(None) };
        let keys = self.house().keys.share(share).await?;
        let reach = Reach { ticket, keys: Arc::clone(&keys), aliases: self.is_engineer() };
        let found = VirtualPlace::find(self, &mut conn, reach, tree, names).await;
        if found.is_err() {
            // What is not found may have got other indexes meanwhile.
            self.house().check_in_force(&keys).await?;
        }
        found.map(Some)
    }

    fn virtual_names<'a>(&self, path: &'a SharePath) -> Option<(Tree, &'a [FileName])> {
        Tree::of(self.below_share(path)?, self.is_engineer())
    }

    /// The share that a path leads into, and the names below its root; none for an engineer's root.
    async fn share_of<'a>(
        &self,
        conn: &mut Conn,
        path: &'a SharePath,
    ) -> Result<Option<(Word, ShareId, &'a [FileName])>, Error> {
        let Some(names) = self.below_share(path) else { return Ok(None) };
        let (ticket, share) = match (&self.login.0.who, path.names().first()) {
            (Who::Ticket { share, .. }, _) => (self.user().clone(), *share),
            (Who::Engineer { .. }, first) => {
                let first = first.map_or(&b""[..], FileName::as_bytes);
                let reference = str::from_utf8(first).map_err(|_| Refusal::NoSuchFile)?;
                let ticket = tickets::by_reference(conn, reference)
                    .await?
                    .filter(|ticket| ticket.engineer == *self.user())
                    .ok_or(Error::Refused(Refusal::NoSuchFile))?;
                (ticket.reference, ticket.share)
            }
        };
        Ok(Some((ticket, share, names)))
    }

    /// The names below a share's root: for a ticket's login `/REF/...` means the same as `/...`, an engineer's path always
    /// begins with a ticket. None for an engineer's root.
    fn below_share<'a>(&self, path: &'a SharePath) -> Option<&'a [FileName]> {
        match (&self.login.0.who, path.names().split_first()) {
            (Who::Engineer { .. }, first) => first.map(|(_, rest)| rest),
            (Who::Ticket { .. }, Some((first, rest))) if first.as_bytes() == self.user().as_str().as_bytes() => {
                Some(rest)
            }
            (Who::Ticket { .. }, _) => Some(path.names()),
        }
    }
}
