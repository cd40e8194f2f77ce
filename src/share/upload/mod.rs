//! Uploads: from a client's writes to a version that is available.
//!
//! [`Upload`] is a handle that a door holds. What is written through it is put in order by the [`Lane`], which hashes
//! nothing and waits for nothing but room in its buffers, and hands whole buffers to the [`Worker`](worker::Worker), one
//! task per upload on the runtime for works once there is something to do (`cot`). `docs/format.md` says what ends up where.

mod buffer;
mod chorus;
mod cot;
mod early;
mod extents;
mod hasher;
mod job;
mod lane;
mod progress;
mod publish;
mod registry;
mod repair;
mod rows;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod seeding;
mod worker;
mod writing;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;

pub(crate) use buffer::{Budget, SessionBudget};
pub(crate) use chorus::Chorus;
pub(crate) use lane::Lane;
pub(crate) use registry::Registry;
pub(crate) use repair::{Repair, check_unfinished, repair};

use buffer::Buffer;
use early::Waiting;
use extents::{EndedExtent, Rows};
use job::{Holds, Job, Phase, Target};
use progress::Progress;
use publish::Ledger;
use worker::Worker;

use crate::audit;
use crate::content::Content;
use crate::login::rights::Grant;
use crate::model::{ArtifactId, ObjectId, Refusal, SharePath, Time, VersionId, Word};
use crate::namespace::tree::Spot;
use crate::records::entries::EntryRow;
use crate::records::versions::{self, VersionRow};
use crate::repo::{Attributes, Changes, Error, WriteMode};
use crate::share::View;
use crate::vault::{self, Digest, FileKey, HashOrigin, SliceMap, WrappedKey};

/// A file that is open for writing. Dropped without [`close`](Self::close), it is cut: what is durable can be continued.
pub struct Upload {
    view: View,
    path: SharePath,
    mode: WriteMode,
    lane: Arc<Lane>,
    grant: Grant,
    write: Option<Write>,
    spare: Option<Buffer>,
    /// Whether it continues an unfinished version.
    continues: bool,
}

/// A write that was announced.
struct Write {
    /// Where its next byte belongs.
    offset: u64,
    left: u64,
    target: Target,
    /// The payload so far, if it came early.
    early: Vec<u8>,
}

impl Upload {
    /// A second handle of a session on an upload that is under way; none if that is over.
    pub(crate) fn join(
        view: &View,
        ticket: &Word,
        lane: &Arc<Lane>,
        path: &SharePath,
        mode: WriteMode,
    ) -> Option<Self> {
        lane.join().then(|| Self::with_lane(view, ticket, path, mode, Arc::clone(lane)))
    }

    fn with_lane(view: &View, ticket: &Word, path: &SharePath, mode: WriteMode, lane: Arc<Lane>) -> Self {
        let grant = view.grant(ticket);
        Self { view: view.clone(), path: path.clone(), mode, lane, grant, write: None, spare: None, continues: false }
    }

    /// Announces a write of `length` bytes at `offset`. Handles that append write at the end instead.
    ///
    /// # Errors
    /// If the file would become too large, or the upload takes no writes any more.
    pub async fn begin_write(&mut self, offset: u64, length: u64) -> Result<(), Refusal> {
        let outcome = self.try_begin_write(offset, length).await;
        self.view.heard(&self.path, outcome).await
    }

    async fn try_begin_write(&mut self, offset: u64, length: u64) -> Result<(), Refusal> {
        self.write = None;
        self.grant.check()?;
        self.go_on_behind_a_close().await?;
        self.start_over_unless_continued(offset)?;
        let offset = if self.mode.append { self.lane.length() } else { offset };
        self.view.check_length(offset.checked_add(length).ok_or(Refusal::FileTooLarge)?)?;
        if length > 0 {
            self.lane.wait_for_room().await;
            let target = self.lane.begin(offset, length, || self.view.buffers().try_early(length))?;
            // What waits counts against a budget, so it takes no more than it says; `begin` has bounded it.
            let early = match &target {
                Target::Early(_) => Vec::with_capacity(usize::try_from(length).unwrap_or(0)),
                Target::Run(_) => Vec::new(),
            };
            self.write = Some(Write { offset, left: length, target, early });
        }
        Ok(())
    }

    /// Devices send the same name again and again, and few of them empty a file that they overwrite. So the first write of
    /// a device's ticket says what it means: at the end of an unfinished file it goes on, anywhere else it begins anew, and
    /// nothing of what was there is mixed with what comes.
    fn start_over_unless_continued(&self, offset: u64) -> Result<(), Refusal> {
        if !self.lane.decide() || self.mode.append {
            return Ok(());
        }
        // Behind the end that it was told there may be more, which belongs to an earlier file if this is another one.
        let end = self.lane.attributes().size;
        self.lane.truncate(if offset == end { end } else { 0 })
    }

    /// The next bytes of the announced write. Waits while the buffers are full.
    ///
    /// # Errors
    /// If the upload has failed, or more comes than was announced.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let Some(write) = &mut self.write else {
            return if bytes.is_empty() { Ok(()) } else { Err(Refusal::BadRequest) };
        };
        let length = bytes.len() as u64;
        if length > write.left {
            return Err(Refusal::BadRequest);
        }
        write.left -= length;
        let is_last = write.left == 0;
        match &mut write.target {
            Target::Early(_) => write.early.extend_from_slice(bytes),
            Target::Run(run) => {
                let mut run = *run;
                let offset = write.offset;
                self.fill(&mut run, offset, bytes).await?;
                if let Some(write) = &mut self.write {
                    write.offset += length;
                    write.target = Target::Run(run);
                }
            }
        }
        if is_last { self.end_write().await } else { Ok(()) }
    }

    async fn end_write(&mut self) -> Result<(), Refusal> {
        let Some(Write { offset, target, early, .. }) = self.write.take() else { return Ok(()) };
        if let Target::Early(room) = target {
            self.lane.put_early(offset, Waiting::new(early, room));
        }
        while let Some((mut run, offset, waiting)) = self.lane.take_ripe() {
            self.fill(&mut run, offset, &waiting.bytes).await?;
        }
        Ok(())
    }

    async fn fill(&mut self, run: &mut u64, mut offset: u64, mut bytes: &[u8]) -> Result<(), Refusal> {
        loop {
            let taken = self.lane.put(run, offset, bytes, &mut self.spare)?;
            bytes = bytes.get(taken..).unwrap_or_default();
            offset += taken as u64;
            if bytes.is_empty() {
                return Ok(());
            }
            self.spare = Some(match self.view.buffers().try_buffer() {
                Some(buffer) => buffer,
                None => {
                    // The session's other uploads may hold all of its buffers half full.
                    self.view.house().uploads.settle_session(self.view.session(), &self.lane);
                    self.view.buffers().buffer().await?
                }
            });
        }
    }

    /// After another handle of the session has closed the file, writing goes on in the next version.
    async fn go_on_behind_a_close(&mut self) -> Result<(), Refusal> {
        if self.lane.phase() == Phase::Closing {
            self.lane.wait_for_end().await?;
        }
        if self.lane.phase() == Phase::Published {
            let mode = WriteMode { create: false, exclusive: false, truncate: false, ..self.mode };
            let next = Box::pin(self.view.open_write(&self.path, mode)).await?;
            *self = next;
        }
        Ok(())
    }

    /// What FSTAT says.
    ///
    /// # Errors
    /// None now; the door treats it like every other request.
    pub async fn attributes(&self) -> Result<Attributes, Refusal> {
        Ok(self.lane.attributes())
    }

    /// Whether it continues an unfinished version, so that only a CLOSE after its last byte may publish it.
    pub(crate) const fn continues(&self) -> bool {
        self.continues
    }

    /// FSETSTAT.
    ///
    /// # Errors
    /// If the file would become too large, or the upload takes no writes any more.
    pub async fn change(&mut self, changes: Changes) -> Result<(), Refusal> {
        let outcome = self.try_change(changes).await;
        self.view.heard(&self.path, outcome).await
    }

    async fn try_change(&mut self, changes: Changes) -> Result<(), Refusal> {
        self.grant.check()?;
        if let Some(size) = changes.size {
            self.view.check_length(size)?;
            self.go_on_behind_a_close().await?;
            self.lane.wait_for_room().await;
            if size != self.lane.length() {
                self.lane.truncate(size)?;
            }
        }
        self.lane.set_attributes(changes.mode, changes.modified);
        Ok(())
    }

    /// Appends up to `length` bytes from `offset` on to `into`, and says how many. Everything written so far becomes
    /// durable by that.
    ///
    /// # Errors
    /// If the handle was not opened for reading, or reading back fails.
    pub async fn read(&mut self, offset: u64, length: usize, into: &mut Vec<u8>) -> Result<usize, Refusal> {
        self.view.check_may_see()?;
        self.grant.check()?;
        if !self.mode.read {
            return Err(Refusal::NotOpenForReading);
        }
        let bytes = self.lane.ask(|reply| Job::Read { offset, length, reply }).await?;
        into.extend_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// fsync@openssh.com: everything written so far is durable when this returns.
    ///
    /// # Errors
    /// If it cannot be made durable; the upload has failed then.
    pub async fn sync(&mut self) -> Result<(), Refusal> {
        self.grant.check()?;
        self.lane.ask(Job::Sync).await
    }

    /// CLOSE: when this returns, every byte is durable, hashed, sealed and recorded, and its notice is queued.
    ///
    /// # Errors
    /// Why it is not so. [`Refusal::Incomplete`]: bytes in the middle are missing.
    pub async fn close(self) -> Result<(), Refusal> {
        let began = std::time::Instant::now();
        let outcome = self.try_close().await;
        metrics::histogram!("tacdrop_close_seconds").record(began.elapsed());
        self.view.heard(&self.path, outcome).await
    }

    async fn try_close(&self) -> Result<(), Refusal> {
        self.grant.check()?;
        if self.lane.is_undecided() && self.lane.phase() == Phase::Open {
            // Not a byte came from a device. What it was told can be continued is not made an empty file by that.
            if self.lane.attributes().size > 0 {
                return Err(Refusal::Incomplete);
            }
            self.lane.truncate(0)?;
        }
        match self.lane.phase() {
            // Another handle has published what is there, and nothing was written through this one since.
            Phase::Published => Ok(()),
            Phase::Closing => {
                self.lane.wait_for_end().await?;
                match self.lane.phase() {
                    Phase::Refusing(refusal) => Err(refusal),
                    Phase::Open | Phase::Closing | Phase::Published => Ok(()),
                }
            }
            Phase::Open | Phase::Refusing(_) => self.lane.close().await,
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.lane.leave();
    }
}

/// Permission bits of a new file.
const FILE_MODE: u32 = 0o640;

/// Begins an upload of what `spot` names: new, or the next version, or the continuation of an unfinished one. None if
/// another one of this name began or
/// ended after the spot was found, which `ended` tells.
pub(crate) async fn open(
    view: &View,
    path: &SharePath,
    spot: Spot,
    mode: WriteMode,
    ended: u64,
) -> Result<Option<Upload>, Error> {
    let place = spot.place()?;
    let room = view.house().room.promise(view.login().user())?;
    let start = Start::of(view, &spot, mode).await?;
    let artifact = start.ledger.artifact;
    let file_mode = spot.entry.as_ref().map_or(FILE_MODE, |row| row.mode);
    let continues = start.holds == Holds::Unfinished;
    let ids = (artifact, start.ledger.version);
    let lane = Arc::new(Lane::new(ids, view.session(), place, (start.holds, start.length(), start.floor), file_mode));
    if !view.house().uploads.enter(&lane, ended) {
        return Ok(None);
    }
    let (version, detail) = (start.ledger.version, json!({ "artifact": artifact.to_string() }));
    view.jot(audit::Kind::UploadOpened, &start.ledger.ticket, *version.as_bytes(), detail);
    let house = Arc::clone(view.house());
    if let Some(length) = start.shown {
        lane.show(length);
    }
    if continues && view.login().is_upload_only() {
        lane.leave_undecided();
    }
    metrics::counter!("tacdrop_uploads_begun_total").increment(1);
    let worker = Worker::new(house, Arc::clone(&lane), start, room);
    lane.cot.lay(worker, view.house().works.clone());
    view.house().uploads.watch.keep(view.house());
    let mut upload = Upload::with_lane(view, &spot.reach.ticket, path, mode, lane);
    upload.continues = continues;
    Ok(Some(upload))
}

/// What an upload begins with.
struct Start {
    ledger: Ledger,
    map: SliceMap,
    extents: HashMap<ObjectId, EndedExtent>,
    digest: Digest,
    origin: HashOrigin,
    /// What is to be copied before anything of it changes.
    copies: Option<Copies>,
    holds: Holds,
    /// Up to where it is never sent again; see [`progress::resume_point`].
    floor: u64,
    /// How long it looks until something is written.
    shown: Option<u64>,
}

/// A version whose extents cannot be shared, as they say that they belong to another artifact: a predecessor of this one,
/// which came back into its place because everything newer was shredded.
struct Copies {
    content: Content,
    length: u64,
}

impl Start {
    /// How long the file is at first.
    fn length(&self) -> u64 {
        self.copies.as_ref().map_or(self.map.end(), |copies| copies.length)
    }

    async fn of(view: &View, spot: &Spot, mode: WriteMode) -> Result<Self, Error> {
        if let Some(row) = &spot.entry
            && !mode.truncate
        {
            if let Some(receiving) = row.receiving {
                return Self::resumed(view, spot, &version(view, receiving.id).await?, mode).await;
            }
            // What a device sends is whole in itself: it never begins with what was there.
            if let Some(current) = row.current
                && !view.login().is_upload_only()
            {
                return Self::copied(view, spot, row, &version(view, current.id).await?).await;
            }
        }
        let ledger = new_ledger(view, spot)?;
        Ok(Self {
            ledger,
            map: SliceMap::new(),
            extents: HashMap::new(),
            digest: Digest::new(),
            origin: HashOrigin::Streamed,
            copies: None,
            holds: Holds::Nothing,
            floor: 0,
            shown: None,
        })
    }

    /// Continues an unfinished version where STAT says that it ends.
    async fn resumed(view: &View, spot: &Spot, version: &VersionRow, mode: WriteMode) -> Result<Self, Error> {
        let keys = Arc::clone(&spot.reach.keys);
        let file_key = Arc::new(view.house().file_key(&keys, version).await?);
        let Some(wrapped) = &version.file_key else { return Err(Refusal::Damaged.into()) };
        let wrapped = WrappedKey::try_from(&wrapped[..])?;
        let progress = match &version.progress {
            Some(sealed) => Progress::open(&file_key, version.id, version.resumable_at, sealed)?,
            None => Progress { digest: Digest::new(), map: SliceMap::new() },
        };
        let mut extents = HashMap::new();
        // Each key is unwrapped when its extent is read: a long upload has many, and most of them nobody reads again.
        for row in versions::extents(&mut *view.house().records.read().await?, version.id).await? {
            let (facts, wrapped) =
                ((row.length, row.header_tag, row.place), WrappedKey::try_from(&row.extent_key[..])?);
            extents.insert(row.id, EndedExtent::recorded(row.id, facts, wrapped, Rows::Both));
        }
        let mut map = progress.map;
        // Without a hole the client goes on at the resume point, and a handle that appends must begin there, too.
        if mode.append {
            // Its first byte goes where this session was told that the file ends, or the file would be wrong.
            let told = view.told(version.id).unwrap_or(version.resumable_at);
            if told > version.resumable_at {
                return Err(Refusal::StillReceiving.into());
            }
            map.truncate(told);
        }
        // What lies behind the resume point stays: whoever continues writes the same over it, and whoever was cut while he
        // changed the middle of a whole file must not lose its end.
        let shown = (!mode.append && map.is_whole(map.end())).then_some(version.resumable_at);
        let digest = if progress.digest.hashed() <= map.end() { progress.digest } else { Digest::new() };
        let ledger = Ledger {
            ticket: spot.reach.ticket.clone(),
            login: view.login().clone(),
            transport: view.login().0.transport.or_weaker(version.transport),
            told: false,
            from_support: spot.from_support,
            artifact: version.artifact,
            version: version.id,
            file_key,
            wrapped,
            opened_at: Time::now(),
            has_entry: true,
            number: Some(version.number),
            discards: None,
            zeros: 0,
            stored_manifests: Vec::new(),
            keys,
        };
        let floor = version.resumable_at.min(map.end());
        let (origin, holds) = (HashOrigin::Resumed, Holds::Unfinished);
        Ok(Self { ledger, map, extents, digest, origin, copies: None, holds, floor, shown })
    }

    /// Begins the next version with what the current one holds: its extents are shared, nothing is copied.
    async fn copied(view: &View, spot: &Spot, row: &EntryRow, version: &VersionRow) -> Result<Self, Error> {
        let (content, manifest, old_key) = Content::of_version(&view.house().repo, &spot.reach.keys, version).await?;
        let mut ledger = new_ledger(view, spot)?;
        ledger.discards = row.receiving.map(|receiving| receiving.id);
        ledger.transport = ledger.transport.or_weaker(version.transport);
        let shared = version.artifact == ledger.artifact;
        let mut extents = HashMap::new();
        for entry in manifest.extents.iter().filter(|_| shared) {
            let key = old_key.unwrap_extent_key(version.id, entry.extent, &entry.key)?;
            let wrapped = ledger.file_key.wrap_extent_key(ledger.version, entry.extent, &key)?;
            let facts = (entry.length, entry.header_tag, entry.place);
            extents.insert(entry.extent, EndedExtent::recorded(entry.extent, facts, wrapped, Rows::Extent));
        }
        let digest = match &version.progress {
            Some(sealed) => Progress::open(&old_key, version.id, 0, sealed)?.digest,
            None => Digest::new(),
        };
        let (map, copies) = if shared {
            (SliceMap::from_slices(manifest.slices)?, None)
        } else {
            (SliceMap::new(), Some(Copies { content, length: manifest.length }))
        };
        let (origin, holds, floor) = (HashOrigin::Resumed, Holds::Copy, manifest.length);
        Ok(Self { ledger, map, extents, digest, origin, copies, holds, floor, shown: None })
    }
}

async fn version(view: &View, id: VersionId) -> Result<VersionRow, Error> {
    versions::by_id(&mut *view.house().records.read().await?, id).await?.ok_or(Error::Refused(Refusal::NoSuchFile))
}

fn new_ledger(view: &View, spot: &Spot) -> Result<Ledger, Error> {
    let keys = Arc::clone(&spot.reach.keys);
    let version = VersionId::from_bytes(vault::random::array()?);
    let (file_key, wrapped): (FileKey, WrappedKey) = keys.new_file_key(version)?;
    let artifact = match &spot.entry {
        Some(row) => ArtifactId::from_bytes(row.id),
        None => ArtifactId::from_bytes(vault::random::array()?),
    };
    Ok(Ledger {
        ticket: spot.reach.ticket.clone(),
        login: view.login().clone(),
        transport: view.login().0.transport,
        told: false,
        from_support: spot.from_support,
        artifact,
        version,
        file_key: Arc::new(file_key),
        wrapped,
        opened_at: Time::now(),
        has_entry: spot.entry.is_some(),
        number: None,
        discards: spot.entry.as_ref().and_then(|row| row.receiving).map(|receiving| receiving.id),
        zeros: 0,
        stored_manifests: Vec::new(),
        keys,
    })
}
