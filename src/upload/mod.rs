//! Uploads: from a client's writes to a version that is available.
//!
//! A session's handle on an upload holds a [`WriteQueue`]. What is written through it is put in
//! order there, which hashes nothing and waits for nothing but room in its buffers, and hands whole
//! buffers to the [`Worker`], one task per upload on the worker runtime once there is something
//! to do (`lazy_worker`). `docs/format.md` says what ends up where.

mod arrived;
mod buffer;
mod checkpoint;
mod extent_writer;
mod extents;
mod hasher;
mod job;
mod lazy_worker;
mod publish;
mod registry;
mod reorder;
mod repair;
mod rows;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod seeding;
mod upload_records;
mod worker;
mod write_queue;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;

pub(crate) use buffer::{Budget, SessionBudget};
pub(crate) use registry::{Moment, Registry};
pub(crate) use repair::{Repair, check_unfinished, repair};
pub(crate) use write_queue::WriteQueue;

use arrived::Arrived;
pub(crate) use buffer::Buffer;
use checkpoint::Progress;
use extents::{EndedExtent, Rows};
use hasher::Hasher;
use job::Holds;
pub(crate) use job::{Job, Phase, Target};
pub(crate) use reorder::Pending;
use upload_records::{SmallBase, UploadRecords};
#[cfg(test)]
pub(crate) use worker::ByHand;
use worker::Worker;

use crate::audit::Kind;
use crate::content::Content;
use crate::content::sealed::current_version;
use crate::digests::sidecars::Sidecars;
use crate::login::Login;
use crate::model::{Refusal, VersionId};
use crate::namespace::tree::ResolvedPath;
use crate::notices::Notices;
use crate::records;
use crate::records::entries::EntryRow;
use crate::records::extents::ExtentRow;
use crate::records::versions::{self, VersionRow};
use crate::repo::{Error, Repo, WriteMode};
use crate::retention::Retention;
use crate::vault::{Digest, HashOrigin, SliceMap, WrappedKey};

/// What uploads share.
pub(crate) struct Uploads {
    pub(crate) repo: Arc<Repo>,
    notices: Arc<Notices>,
    sidecars: Arc<Sidecars>,
    retention: Arc<Retention>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) budget: Budget,
}

impl Uploads {
    pub(crate) fn of(
        repo: &Arc<Repo>,
        notices: &Arc<Notices>,
        sidecars: &Arc<Sidecars>,
        retention: &Arc<Retention>,
        registry: Arc<Registry>,
    ) -> Arc<Self> {
        Arc::new(Self {
            repo: Arc::clone(repo),
            notices: Arc::clone(notices),
            sidecars: Arc::clone(sidecars),
            retention: Arc::clone(retention),
            registry,
            budget: Budget::new(repo.settings.total_buffer),
        })
    }
}

/// The session that opens a file for writing.
pub(crate) struct Opener<'a> {
    pub(crate) login: &'a Login,
    /// Its number.
    pub(crate) session: u64,
    /// Where it was last told that an unfinished version ends.
    pub(crate) told: &'a (dyn Fn(VersionId) -> Option<u64> + Send + Sync),
}

/// An upload that was begun.
pub(crate) struct Begun {
    pub(crate) queue: Arc<WriteQueue>,
    /// Whether it continues an unfinished version.
    pub(crate) continues: bool,
}

/// Permission bits of a new file.
const FILE_MODE: u32 = 0o640;
/// See [`InitialState::inline_limit`]. In bytes.
const INLINE_LIMIT: u64 = 32 << 10;

/// Begins an upload of what `resolved` names: new, or the next version, or the continuation of an
/// unfinished one. It was found behind `then`. None if another upload of this name began
/// or ended since: the caller looks the path up again.
pub(crate) async fn open(
    uploads: &Arc<Uploads>,
    opener: &Opener<'_>,
    resolved: &ResolvedPath,
    mode: WriteMode,
    then: Moment,
) -> Result<Option<Begun>, Error> {
    let (place, login) = (resolved.place()?, opener.login);
    let room = uploads.repo.disk_space.promise(login.user())?;
    let start = InitialState::of(&uploads.repo, opener, resolved, mode).await?;
    let artifact = start.upload_rows.artifact;
    let file_mode = resolved.entry.as_ref().map_or(FILE_MODE, |row| row.mode);
    let continues = start.holds.is_unfinished();
    let ids = (artifact, start.upload_rows.version);
    let queue = Arc::new(WriteQueue::new(
        ids,
        (opener.session, login.0.id),
        place,
        (start.holds, start.length(), start.floor),
        file_mode,
    ));
    if !uploads.registry.enter(&queue, then) {
        return Ok(None);
    }
    let (version, detail) = (start.upload_rows.version, json!({ "artifact": artifact.to_string() }));
    login.0.enqueue(Kind::UploadOpened, Some(&start.upload_rows.ticket), Some(*version.as_bytes()), detail);
    metrics::counter!("tacdrop_uploads_begun_total").increment(1);
    let inline_limit = start.inline_limit(&uploads.repo);
    let worker = Worker::new(Arc::clone(uploads), Arc::clone(&queue), start, room);
    queue.lazy_worker.park(worker, uploads.repo.worker_runtime.clone(), inline_limit);
    uploads.registry.watch.keep(uploads);
    Ok(Some(Begun { queue, continues }))
}

/// What an upload begins with.
struct InitialState {
    upload_rows: UploadRecords,
    arrived: Arrived,
    /// What is to be copied before anything of it changes.
    copy_base: Option<CopyBase>,
    holds: Holds,
    /// Up to where it is never sent again; see [`checkpoint::resume_point`].
    floor: u64,
}

/// A version whose extents cannot be shared, as they say that they belong to another artifact: a
/// predecessor of this one, which came back into its place because everything newer was shredded.
struct CopyBase {
    content: Content,
    length: u64,
}

impl InitialState {
    /// How long the file is at first.
    fn length(&self) -> u64 {
        self.copy_base.as_ref().map_or(self.arrived.map.end(), |copy_base| copy_base.length)
    }

    /// How many bytes a worker may go through on the connection's thread, where they keep other
    /// connections waiting. None if there may be more to do than to hash and seal what came: what
    /// continues or replaces something takes a long way through the records, may have to read what
    /// is there, and an extent that is not kept in the records is a file to make.
    fn inline_limit(&self, repo: &Repo) -> Option<u64> {
        let is_new = !self.upload_rows.has_entry && self.holds == Holds::Nothing;
        is_new.then(|| INLINE_LIMIT.min(repo.settings.inline_bytes as u64))
    }

    async fn of(
        repo: &Arc<Repo>,
        opener: &Opener<'_>,
        resolved: &ResolvedPath,
        mode: WriteMode,
    ) -> Result<Self, Error> {
        if let Some(row) = &resolved.entry
            && !mode.truncate
        {
            if let Some(receiving) = row.receiving {
                return Self::resumed(repo, opener, resolved, &version(repo, receiving.id).await?, mode).await;
            }
            // What a device sends is whole in itself: it never begins with what was there.
            if row.current.is_some() && !opener.login.is_upload_only() {
                let mut conn = repo.records.read().await?;
                let version = current_version(repo, &mut conn, row).await?.ok_or(Refusal::NoSuchFile)?;
                drop(conn);
                return Self::copied(repo, opener, resolved, row, &version).await;
            }
        }
        let arrived = Arrived {
            map: SliceMap::new(),
            extents: HashMap::new(),
            hasher: Hasher::from(Digest::new()),
            origin: HashOrigin::Streamed,
        };
        let upload_rows = UploadRecords::of_new_version(opener, resolved)?;
        Ok(Self { upload_rows, arrived, copy_base: None, holds: Holds::Nothing, floor: 0 })
    }

    /// Continues an unfinished version where STAT says that it ends.
    async fn resumed(
        repo: &Arc<Repo>,
        opener: &Opener<'_>,
        resolved: &ResolvedPath,
        version: &VersionRow,
        mode: WriteMode,
    ) -> Result<Self, Error> {
        let keys = &resolved.context.keys;
        let file_key = Arc::new(repo.file_key(&mut *repo.records.read().await?, keys, version).await?);
        let Some(wrapped) = &version.file_key else { return Err(Refusal::Damaged.into()) };
        let wrapped = WrappedKey::try_from(&wrapped[..])?;
        let progress = match &version.progress {
            Some(sealed) => Progress::open(&file_key, version.id, version.resumable_at, sealed)?,
            None => Progress { digest: Digest::new(), map: SliceMap::new() },
        };
        let mut extents = HashMap::new();
        // Each key is unwrapped when its extent is read: a long upload has many, and most of them
        // nobody reads again.
        for row in records::extents::of_version(&mut *repo.records.read().await?, version.id).await? {
            let (facts, wrapped) =
                ((row.length, row.header_tag, row.place), WrappedKey::try_from(&row.extent_key[..])?);
            extents.insert(row.id, EndedExtent::recorded(row.id, facts, wrapped, Rows::Both));
        }
        let mut map = progress.map;
        // Without a hole the client goes on at the resume point, and a handle that appends must
        // begin there, too.
        if mode.append {
            // Its first byte goes where this session was told that the file ends, or the file would
            // be wrong.
            let told = (opener.told)(version.id).unwrap_or(version.resumable_at);
            if told > version.resumable_at {
                return Err(Refusal::StillReceiving.into());
            }
            map.truncate(told);
        }
        // What lies behind the resume point stays: whoever continues writes the same over it, and
        // whoever was cut while he changed the middle of a whole file must not lose its end.
        let reported = (!mode.append && map.is_whole(map.end())).then_some(version.resumable_at);
        let digest = if progress.digest.hashed() <= map.end() { progress.digest } else { Digest::new() };
        let upload_rows = UploadRecords {
            transport: opener.login.0.transport.or_weaker(version.transport),
            has_entry: true,
            number: Some(version.number),
            discards: None,
            ..UploadRecords::of(opener, resolved, (version.artifact, version.id), (file_key, wrapped))
        };
        let floor = version.resumable_at.min(map.end());
        let holds = Holds::Unfinished { reported, undecided: opener.login.is_upload_only() };
        let arrived = Arrived { map, extents, hasher: Hasher::from(digest), origin: HashOrigin::Resumed };
        Ok(Self { upload_rows, arrived, copy_base: None, holds, floor })
    }

    /// Begins the next version with what the current one holds: its extents are shared, nothing is
    /// copied.
    async fn copied(
        repo: &Arc<Repo>,
        opener: &Opener<'_>,
        resolved: &ResolvedPath,
        row: &EntryRow,
        version: &VersionRow,
    ) -> Result<Self, Error> {
        let (content, manifest, old_key) = Content::of_version(repo, &resolved.context.keys, version).await?;
        let mut upload_rows = UploadRecords::of_new_version(opener, resolved)?;
        upload_rows.discards = row.receiving.map(|receiving| receiving.id);
        upload_rows.transport = upload_rows.transport.or_weaker(version.transport);
        let shared = version.artifact == upload_rows.artifact;
        let mut extents = HashMap::new();
        for entry in manifest.extents.iter().filter(|_| shared) {
            let key = old_key.unwrap_extent_key(version.id, entry.extent, &entry.key)?;
            let wrapped = upload_rows.file_key.wrap_extent_key(upload_rows.version, entry.extent, &key)?;
            let facts = (entry.length, entry.header_tag, entry.place);
            if let Some(row) = version.small_file {
                let extent_key = entry.key.as_bytes().to_vec();
                let (id, (length, header_tag, place)) = (entry.extent, facts);
                let extent = ExtentRow { id, length, header_tag, place, extent_key };
                upload_rows.small_base = Some(SmallBase { version: version.id, row, extent });
            }
            extents.insert(entry.extent, EndedExtent::recorded(entry.extent, facts, wrapped, Rows::Extent));
        }
        let digest = match &version.progress {
            Some(sealed) => Progress::open(&old_key, version.id, 0, sealed)?.digest,
            None => Digest::new(),
        };
        let (map, copy_base) = if shared {
            (SliceMap::from_slices(manifest.slices)?, None)
        } else {
            (SliceMap::new(), Some(CopyBase { content, length: manifest.length }))
        };
        let arrived = Arrived { map, extents, hasher: Hasher::from(digest), origin: HashOrigin::Resumed };
        Ok(Self { upload_rows, arrived, copy_base, holds: Holds::Copy, floor: manifest.length })
    }
}

async fn version(repo: &Repo, id: VersionId) -> Result<VersionRow, Error> {
    versions::by_id(&mut *repo.records.read().await?, id).await?.ok_or(Error::Refused(Refusal::NoSuchFile))
}
