//! What statvfs tells a session: the room of a share, and nothing of the disk it lies on.

use super::ShareSession;
use super::paths::Place;
use crate::model::{Refusal, SharePath};
use crate::records::{objects, tickets};
use crate::repo::{Error, Space};

impl ShareSession {
    /// Space for statvfs, and the names of the share. It is the share's: what it holds and what may
    /// still come. How large the disk is, and what others have on it, is nothing that a customer is
    /// told.
    ///
    /// # Errors
    /// If there is no such path, or the disk cannot be asked.
    pub async fn space(&self, path: &SharePath) -> Result<Space, Refusal> {
        Ok(self.try_space(path).await?)
    }

    async fn try_space(&self, path: &SharePath) -> Result<Space, Error> {
        if let Some(behind) = self.behind_new(path) {
            return Box::pin(self.try_space(&behind)).await;
        }
        let (names, most) = (self.repo().settings.names_per_share, self.repo().settings.share_bytes);
        let context = match self.virtual_place(path).await? {
            Some(place) => Some(place.context().clone()),
            None => match self.locate(path).await? {
                Place::Top => None,
                Place::In(resolved) => Some(resolved.context),
            },
        };
        let (taken, stored) = match context {
            None => (0, 0),
            Some(context) => {
                let mut conn = self.repo().records.read().await?;
                let ticket = tickets::by_reference(&mut conn, context.ticket.as_str()).await?;
                // What goes as soon as somebody needs the room is no less free.
                let to_go = objects::unread_bytes(&mut conn, context.keys.share).await?;
                ticket.map_or((0, 0), |ticket| (ticket.names, ticket.stored_bytes.saturating_sub(to_go)))
            }
        };
        let free = self.repo().disk_space.free()?.min(most.saturating_sub(stored));
        Ok(Space { total: stored.saturating_add(free), free, names, names_free: names.saturating_sub(taken) })
    }
}
