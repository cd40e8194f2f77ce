//! Unfinished versions of which the disk has lost something: what is whole can still be continued,
//! nothing else is.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use crate::audit::{self, Actor, Kind, Subject};
use crate::content::Content;
use crate::content::whole::recorded_extents;
use crate::model::{Identifier, ObjectId, ShareId, VersionId, VersionState};
use crate::records::extents;
use crate::records::versions::{self, ProgressRow, VersionRow};
use crate::records::{entries, extents::ExtentRow};
use crate::repo::{Error, Repo};
use crate::retention::discard;
use crate::upload::checkpoint::{Progress, is_resume_point, resume_point};
use crate::vault::{Digest, SliceMap, VaultError};

/// Bytes that are read at once.
const READ: u64 = 1 << 20;

/// What came of an unfinished version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repair {
    /// Nothing had to be done.
    Whole,
    /// It can be continued from an earlier byte.
    Shortened,
    /// Nobody can continue it.
    Discarded,
}

/// Takes out of an unfinished version what lies in `lost` extents. If it does not open, it is given
/// up.
pub(crate) async fn repair(
    repo: &Arc<Repo>,
    share: ShareId,
    ticket: &Identifier,
    id: VersionId,
    lost: &BTreeSet<ObjectId>,
) -> Result<Repair, Error> {
    let mut tx = repo.records.begin().await?;
    let Some(version) = versions::by_id(tx.conn(), id).await? else { return Ok(Repair::Whole) };
    let extents = extents::of_version(tx.conn(), id).await?;
    let unfinished = version.state.is_unfinished();
    if !unfinished || !extents.iter().any(|extent| lost.contains(&extent.id)) {
        return Ok(Repair::Whole);
    }
    let now = repo.clock.now();
    let outcome = match shortened(repo, share, &version, &extents, lost).await {
        Ok(short) => {
            let row = ProgressRow {
                id,
                state: version.state,
                resumable_at: short.at,
                length: if version.state == VersionState::Incomplete { version.length } else { short.end },
                stored: short.stored,
                progress: &short.sealed,
                at: version.touched_at,
            };
            versions::set_progress(tx.conn(), &row).await?;
            let lost: Vec<_> = lost.iter().copied().collect();
            extents::release(tx.conn(), id, &lost, now).await?;
            let subject = Subject { actor: &Actor::Server, ticket: Some(ticket), id: Some(*id.as_bytes()) };
            let detail = json!({ "resumable_at": short.at, "before": version.resumable_at });
            audit::write(tx.conn(), Kind::VersionShortened, subject, &detail).await?;
            Repair::Shortened
        }
        Err(error @ (Error::Vault(_) | Error::Operator(_) | Error::Refused(_))) => {
            tracing::error!(version = %id, %error, "an unfinished upload has lost bytes and does not open: it is given up");
            if let Some(entry) = entries::by_id(tx.conn(), version.artifact.as_bytes()).await?
                && entry.receiving.is_some_and(|receiving| receiving.id == id)
            {
                entries::set_versions(tx.conn(), &entry.id, entry.current.map(|current| current.id), None).await?;
            }
            discard(tx.conn(), id, ticket, &Actor::Server, now).await?;
            Repair::Discarded
        }
        Err(error) => return Err(error),
    };
    tx.commit().await?;
    Ok(outcome)
}

/// What is left of an unfinished version.
struct Short {
    at: u64,
    end: u64,
    stored: u64,
    sealed: Vec<u8>,
}

async fn shortened(
    repo: &Repo,
    share: ShareId,
    version: &VersionRow,
    extents: &[ExtentRow],
    lost: &BTreeSet<ObjectId>,
) -> Result<Short, Error> {
    let (file_key, progress) = open(repo, share, version).await?;
    let kept: BTreeSet<ObjectId> = extents.iter().map(|extent| extent.id).filter(|id| !lost.contains(id)).collect();
    let mut map = SliceMap::new();
    for slice in progress.map.slices().filter(|slice| kept.contains(&slice.extent)) {
        map.lay(*slice);
    }
    // What it began with is whole if nothing below it was lost.
    let at = resume_point(map.contiguous_from_zero(), version.resumable_at);
    let digest = if progress.digest.hashed() <= at { progress.digest } else { Digest::new() };
    let (end, stored) = (map.end(), map.slices().map(|slice| slice.length).sum());
    let sealed = Progress { digest, map }.seal(&file_key, version.id, at)?;
    Ok(Short { at, end, stored, sealed })
}

/// What an unfinished version can be continued with.
async fn open(repo: &Repo, share: ShareId, version: &VersionRow) -> Result<(crate::vault::FileKey, Progress), Error> {
    let file_key = repo.keys.share(share).await?.file_key(version)?;
    let progress = match &version.progress {
        Some(sealed) => Progress::open(&file_key, version.id, version.resumable_at, sealed)?,
        None => Progress { digest: Digest::new(), map: SliceMap::new() },
    };
    Ok((file_key, progress))
}

/// Opens all that an unfinished version could be continued with, and checks every byte of it.
/// Changes nothing.
pub(crate) async fn check_unfinished(repo: &Arc<Repo>, share: ShareId, version: &VersionRow) -> Result<(), Error> {
    let (file_key, progress) = open(repo, share, version).await?;
    let extents = recorded_extents(repo, version, &file_key).await?;
    let recorded: BTreeSet<ObjectId> = extents.iter().map(|(id, ..)| *id).collect();
    if !progress.map.extents().is_subset(&recorded) {
        return Err(VaultError::Malformed { what: "a map that names an unknown extent" }.into());
    }
    let end = progress.map.contiguous_from_zero();
    if !is_resume_point(version.resumable_at, end) || progress.digest.hashed() > end {
        return Err(VaultError::Malformed { what: "an end that the map does not have" }.into());
    }
    let (mut digest, hashed) = (Digest::new(), progress.digest);
    let content = Content::new(
        repo,
        share,
        version.artifact,
        progress.map,
        extents.into_iter().map(|(id, _, access)| (id, access)).collect(),
        None,
    );
    content.check_everything().await?;
    // What continues it goes on from there.
    let mut bytes = Vec::new();
    while digest.hashed() < hashed.hashed() {
        bytes.clear();
        let at = digest.hashed();
        content.read(at, READ.min(hashed.hashed() - at), &mut bytes).await?;
        digest.update(&bytes);
    }
    if digest.finish() == hashed.finish() {
        Ok(())
    } else {
        Err(VaultError::Tampered { what: "the SHA-256 state of an unfinished upload, which is not that of its bytes" }
            .into())
    }
}
