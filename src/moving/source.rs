//! A file as it is before it is moved: its entries, its versions, and whether it may go.

use std::sync::Arc;

use super::MoveWish;
use crate::content::sealed::check_belongs;
use crate::model::{ArtifactId, SharePath, VersionState};
use crate::namespace::tree::{is_from_support, path_of};
use crate::records::entries::{self, EntryRow};
use crate::records::proofs::Proved;
use crate::records::tickets::{self, Ticket};
use crate::records::version_chain::{self, ChainVersion};
use crate::records::versions::{self, VersionRow};
use crate::records::{Conn, moves};
use crate::repo::keys::ShareKeys;
use crate::repo::tickets::existing_ticket;
use crate::repo::{Error, Repo};

/// Moves of one file that are followed, or shown.
pub(super) const MOVES_SHOWN: usize = 100;

/// A file that is to be moved.
pub(super) struct Source {
    pub(super) ticket: Ticket,
    pub(super) keys: Arc<ShareKeys>,
    /// Where it lies.
    path: SharePath,
    /// The entry that stands for it.
    pub(super) file: EntryRow,
    /// The entries of its chain, the oldest first; the last one is `file`.
    pub(super) entries: Vec<EntryRow>,
    /// All its versions, in the order of their numbers.
    pub(super) versions: Vec<(ChainVersion, VersionRow)>,
}

impl Source {
    /// The file that `id` stands for, or stood for before another one took its place.
    pub(super) async fn find(repo: &Arc<Repo>, conn: &mut Conn, id: ArtifactId) -> Result<Self, Error> {
        let row = entries::by_id(conn, id.as_bytes()).await?;
        let Some(row) = row else {
            return Err(moved_to(conn, id).await?.unwrap_or_else(|| unknown(id)));
        };
        if row.is_directory {
            return Err(is_directory());
        }
        let head = version_chain::head(conn, &row.id).await?;
        if let Some(error) = moved_to(conn, ArtifactId::from_bytes(head)).await? {
            return Err(error);
        }
        let file = entries::by_id(conn, &head).await?.ok_or_else(|| unknown(id))?;
        let ticket = tickets::by_share(conn, file.share).await?.ok_or_else(|| unknown(id))?;
        let ticket = existing_ticket(conn, &ticket.reference).await?;
        ticket.check(&**repo.keys.proofs())?;
        let reference = &ticket.reference;
        if !file.in_sight {
            return Err(Error::operator(format!(
                "the file was withdrawn; 'tacdrop artifact restore {reference} PATH' brings it back, and then it can be moved"
            )));
        }
        if file.receiving.is_some() {
            return Err(Error::operator(
                "an upload of this file is under way or can be continued; move it when it is whole, or have it deleted",
            ));
        }
        let keys = repo.keys.share(ticket.share).await?;
        let path = path_of(conn, &keys, &file.id).await?;
        let mut all = Vec::new();
        for id in version_chain::entries(conn, &file.id).await?.iter().rev() {
            check_belongs(repo, conn, &file.id, id).await?;
            all.push(entries::by_id(conn, id).await?.ok_or_else(|| unknown(ArtifactId::from_bytes(*id)))?);
        }
        let mut known = Vec::new();
        for version in version_chain::of_file(conn, &file.id).await? {
            if !matches!(version.state, VersionState::Available | VersionState::Shredded) {
                let number = version.number;
                return Err(Error::operator(format!(
                    "version {number} of the file is {}, and cannot be sealed anew; 'tacdrop artifact shred {reference} PATH \
                     --version {number}' takes it away, and then the rest can be moved",
                    version.state
                )));
            }
            let row = versions::by_id(conn, version.id).await?.ok_or_else(|| unknown(version.artifact))?;
            known.push((version, row));
        }
        if file.current.is_none() {
            return Err(Error::operator("nothing of the file can be read, so there is nothing to move"));
        }
        Ok(Self { ticket, keys, path, file, entries: all, versions: known })
    }

    /// Plaintext bytes of its versions, each counted in full: what moving takes at most.
    pub(super) fn bytes(&self) -> u64 {
        let readable = self.versions.iter().filter(|(version, _)| version.has_key);
        readable.map(|(version, _)| version.length).fold(0, u64::saturating_add)
    }

    /// Where it is to lie.
    pub(super) fn path_in_target(&self, wish: &MoveWish) -> Result<SharePath, Error> {
        let path = wish.path.clone().unwrap_or_else(|| self.path.clone());
        let side = |path: &SharePath| path.names().first().is_some_and(is_from_support);
        if side(&path) != side(&self.path) {
            return Err(Error::operator(
                "what a customer sent stays on the customer's side, and what support hands back in from-support",
            ));
        }
        Ok(path)
    }

    /// Whether the file is what `before` was, as far as it is sealed anew.
    pub(super) fn is_as(&self, before: &Self) -> bool {
        let versions = |source: &Self| -> Vec<_> {
            let all = source.versions.iter();
            all.map(|(version, row)| (version.id, version.artifact, version.state, row.manifest)).collect()
        };
        let entries = |source: &Self| -> Vec<_> { source.entries.iter().map(|entry| entry.id).collect() };
        self.ticket.share == before.ticket.share
            && self.file.id == before.file.id
            && versions(self) == versions(before)
            && entries(self) == entries(before)
    }
}

/// Where a file lies.
pub(super) async fn path_of_file(repo: &Repo, conn: &mut Conn, id: ArtifactId) -> Result<SharePath, Error> {
    let row = entries::by_id(conn, id.as_bytes()).await?.ok_or_else(|| unknown(id))?;
    let keys = repo.keys.share(row.share).await?;
    path_of(conn, &keys, &row.id).await
}

/// Where an entry is by now, if it was moved: that it is there, as a sentence.
async fn moved_to(conn: &mut Conn, id: ArtifactId) -> Result<Option<Error>, Error> {
    let Some(row) = moves::from(conn, id).await? else { return Ok(None) };
    Ok(Some(Error::operator(format!(
        "this file was moved to ticket {} on {}, where its id is {}",
        row.to_ticket, row.moved_at, row.to_artifact
    ))))
}

/// The entry that stands for a file now, of which `id` is or was a part; none if nothing is known of it.
pub(super) async fn newest_id(conn: &mut Conn, id: ArtifactId) -> Result<Option<ArtifactId>, Error> {
    let mut at = id;
    for _ in 0..MOVES_SHOWN {
        let is_there = entries::by_id(conn, at.as_bytes()).await?.is_some();
        let head = if is_there { ArtifactId::from_bytes(version_chain::head(conn, at.as_bytes()).await?) } else { at };
        // Something new may stand in the place that the file left: that is another file.
        let next = match moves::from(conn, at).await? {
            None if head != at => moves::from(conn, head).await?,
            other => other,
        };
        match next {
            Some(row) => at = row.to_artifact,
            None => return Ok(is_there.then_some(head)),
        }
    }
    Ok(None)
}

pub(super) fn unknown(id: ArtifactId) -> Error {
    Error::operator(format!("nothing is known of an artifact {id}; 'tacdrop artifact list --json' shows the ids"))
}

pub(super) fn is_directory() -> Error {
    Error::operator("this is the id of a directory; move the files in it one by one")
}
