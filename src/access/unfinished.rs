//! Uploads that were cut, as who goes on with them by another way in sees them: found by the id of
//! their version, listed for a ticket, ended for good.
//!
//! SFTP finds them by their names. A door whose requests name one upload, and not a file, asks here.

use std::time::Duration;

use crate::access::ShareSession;
use crate::model::rights::Operation;
use crate::model::{FileName, Identifier, Refusal, SharePath, Time, VersionId, VersionState};
use crate::namespace::tree::{ResolvedPath, is_from_support, way_of};
use crate::records::entries;
use crate::records::lists::{self, Wanted};
use crate::records::versions::{self, VersionRow};
use crate::repo::keys::with_keys_in_force;
use crate::repo::{Error, PlaceKind};
use crate::retention::{discard, put_right};

/// Unfinished uploads of one ticket that are listed; further ones are found when these are done.
const MOST_LISTED: usize = 200;
/// For how long a finished upload is still known by its id: whoever did not hear that it is finished
/// asks again, and must not send it a second time.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// An upload that can be continued.
#[derive(Debug, Clone)]
pub struct UnfinishedUpload {
    /// Names it.
    pub version: VersionId,
    /// Where it lies in the share.
    pub path: SharePath,
    /// Bytes that are there at least, from the first one on.
    pub bytes: u64,
    /// Who sent what is there.
    pub uploaded_by: String,
    /// When it is removed, if nobody goes on with it.
    pub expires: Time,
}

/// What an upload is by now.
#[derive(Debug, Clone)]
pub enum Known {
    /// It can be continued.
    Unfinished {
        /// Where it lies, as this login gives paths.
        path: SharePath,
        /// When it is removed, if nobody goes on with it.
        expires: Time,
    },
    /// It became available within the last day.
    Finished {
        /// Where it lies, as this login gives paths.
        path: SharePath,
        /// Bytes.
        length: u64,
        /// The SHA-256 of them.
        sha256: [u8; 32],
    },
}

impl ShareSession {
    /// The path by which this login reaches `names` in a ticket's share.
    ///
    /// # Errors
    /// [`Refusal::NoSuchFile`] for another ticket than the one that a customer has logged in to.
    pub fn path_in(&self, ticket: &str, names: Vec<FileName>) -> Result<SharePath, Refusal> {
        if self.sees_tickets() {
            let first = FileName::new(ticket.as_bytes()).map_err(|_| Refusal::NoSuchFile)?;
            return Ok(SharePath::from_names([vec![first], names].concat()));
        }
        if self.user().as_str().eq_ignore_ascii_case(ticket) {
            Ok(SharePath::from_names(names))
        } else {
            Err(Refusal::NoSuchFile)
        }
    }

    /// The upload of this id in a ticket's share, if this login may go on with it.
    ///
    /// # Errors
    /// [`Refusal::NoSuchFile`] if there is none, it was ended, or it has been finished for a day;
    /// and what the rights say.
    pub async fn known_upload(&self, ticket: &str, id: VersionId) -> Result<Known, Refusal> {
        let root = self.path_in(ticket, Vec::new())?;
        self.record_refusal(&root, with_keys_in_force!(self.try_known_upload(&root, ticket, id).await)).await
    }

    async fn try_known_upload(&self, root: &SharePath, ticket: &str, id: VersionId) -> Result<Known, Error> {
        let resolved = self.locate_in_share(root).await?;
        let missing = || Error::Refused(Refusal::NoSuchFile);
        // One that has begun just now is written down first.
        if let Some(queue) = self.access().uploads.registry.of_version(id) {
            queue.record().await?;
        }
        let mut conn = self.repo().records.read().await?;
        let version = versions::by_id(&mut conn, id).await?.ok_or_else(missing)?;
        let entry = entries::by_id(&mut conn, version.artifact.as_bytes()).await?.ok_or_else(missing)?;
        if entry.share != resolved.context.share() || !entry.in_sight {
            return Err(missing());
        }
        let way = way_of(&mut conn, &resolved.context.keys, &entry.id).await?;
        drop(conn);
        let names = way.path();
        if names.names().first().is_some_and(is_from_support) != self.is_engineer() {
            return Err(missing());
        }
        let path = self.path_in(ticket, names.names().to_vec())?;
        if version.state.is_unfinished() {
            let is_current = entry.receiving.is_some_and(|receiving| receiving.id == id);
            return if is_current {
                Ok(Known::Unfinished { path, expires: self.expires(&version) })
            } else {
                Err(missing())
            };
        }
        let is_new = version.received_at.is_some_and(|at| at.plus(REMEMBERED) > Time::now());
        match version.sha256 {
            Some(sha256) if is_new && version.state == VersionState::Available => {
                Ok(Known::Finished { path, length: version.length, sha256 })
            }
            _ => Err(missing()),
        }
    }

    /// When an unfinished version is removed, if nobody goes on with it.
    fn expires(&self, version: &VersionRow) -> Time {
        let clock = &self.repo().clock;
        let due = version.touched_at.plus(self.repo().settings.unfinished).millis();
        let left = u64::try_from(due.saturating_sub(clock.now().millis())).unwrap_or(0);
        Time::now().plus(Duration::from_millis(left))
    }

    /// The unfinished uploads of a ticket that this login may go on with, the newest first, at most
    /// 200.
    ///
    /// # Errors
    /// If this login does not see the ticket, or may not list what is in it.
    pub async fn unfinished_uploads(&self, ticket: &str) -> Result<Vec<UnfinishedUpload>, Refusal> {
        let root = self.path_in(ticket, Vec::new())?;
        self.record_refusal(&root, with_keys_in_force!(self.try_unfinished_uploads(&root).await)).await
    }

    async fn try_unfinished_uploads(&self, root: &SharePath) -> Result<Vec<UnfinishedUpload>, Error> {
        let resolved = self.locate_in_share(root).await?;
        resolved.rights.check(Operation::List, resolved.side())?;
        let own_only = resolved.rights.sees_own_only();
        let ticket: &Identifier = &resolved.context.ticket;
        let mut found = Vec::new();
        for state in [VersionState::Receiving, VersionState::Incomplete] {
            let wanted = Wanted {
                ticket: Some(ticket),
                organisation: None,
                engineer: None,
                state: Some(state),
                since: None,
                sha256: None,
            };
            let mut conn = self.repo().records.read().await?;
            let page = lists::arrivals(&mut conn, &wanted, None, MOST_LISTED).await?;
            for arrival in page.rows.iter().filter(|row| row.is_own) {
                if own_only && !self.login().0.sent().has(arrival.artifact.as_bytes()) {
                    continue;
                }
                let Some(version) = versions::by_id(&mut conn, arrival.id).await? else { continue };
                let Ok(way) = way_of(&mut conn, &resolved.context.keys, arrival.artifact.as_bytes()).await else {
                    continue;
                };
                let path = way.path();
                if path.names().first().is_some_and(is_from_support) != self.is_engineer() {
                    continue;
                }
                found.push((
                    arrival.came,
                    UnfinishedUpload {
                        version: arrival.id,
                        path,
                        bytes: arrival.resumable_at,
                        uploaded_by: arrival.uploaded_by.clone(),
                        expires: self.expires(&version),
                    },
                ));
            }
        }
        found.sort_by_key(|(came, _)| std::cmp::Reverse(*came));
        found.truncate(MOST_LISTED);
        Ok(found.into_iter().map(|(_, upload)| upload).collect())
    }

    /// Ends an upload for good: what came of it is destroyed. The whole version that it would have
    /// followed stays.
    ///
    /// # Errors
    /// [`Refusal::NoSuchFile`] if it is no unfinished upload any more; and what the rights say.
    pub async fn end_upload(&self, ticket: &str, id: VersionId) -> Result<(), Refusal> {
        let Known::Unfinished { path, .. } = self.known_upload(ticket, id).await? else {
            return Err(Refusal::NoSuchFile);
        };
        self.record_refusal(&path, with_keys_in_force!(self.try_end_upload(&path, id).await)).await
    }

    async fn try_end_upload(&self, path: &SharePath, id: VersionId) -> Result<(), Error> {
        let (resolved, held) = self.locate_with_upload(path).await?;
        Self::check(&resolved, Operation::Create)?;
        if let Some(queue) = held {
            queue.preempt().await?;
        }
        let mut tx = self.repo().records.begin().await?;
        self.check_may_change(tx.conn(), &resolved, Operation::Create).await?;
        let entry = Self::receives(&resolved, tx.conn(), id).await?;
        let (actor, now) = (self.login().actor(), self.repo().clock.now());
        discard(tx.conn(), id, &resolved.context.ticket, &actor, now).await?;
        put_right(tx.conn(), self.repo(), &entry).await?;
        Ok(tx.commit().await?)
    }

    /// The entry at a place, if this version is arriving there.
    async fn receives(
        resolved: &ResolvedPath,
        conn: &mut crate::records::Conn,
        id: VersionId,
    ) -> Result<[u8; 16], Error> {
        let entry = entries::by_id(conn, &resolved.existing()?.id).await?;
        let entry = entry.filter(|row| row.receiving.is_some_and(|receiving| receiving.id == id));
        Ok(entry.ok_or(Error::Refused(Refusal::NoSuchFile))?.id)
    }

    /// Makes the directories that a path leads through, as far as they are missing.
    ///
    /// # Errors
    /// What [`make_directory`](Self::make_directory) says.
    pub async fn make_way(&self, path: &SharePath) -> Result<(), Refusal> {
        let Some((above, _)) = path.split_last() else { return Ok(()) };
        let from = usize::from(self.sees_tickets());
        for depth in from + 1..=above.names().len() {
            let directory = SharePath::from_names(above.names().iter().take(depth).cloned().collect());
            match self.attributes(&directory).await {
                Ok(there) if there.kind == PlaceKind::Directory => {}
                Ok(_) => return Err(Refusal::NotDirectory),
                Err(Refusal::NoSuchFile) => match self.make_directory(&directory).await {
                    // Another request was quicker.
                    Err(Refusal::AlreadyExists) => {}
                    outcome => outcome?,
                },
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }
}
