//! What an upload writes into the records: its rows, how far it is, and the transaction that makes it available.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::extents::{EndedExtent, Home, OpenExtent, Rows};
use super::hasher::Hasher;
use crate::audit::{self, Kind, Subject};
use crate::login::Login;
use crate::login::Who;
use crate::login::rights::{may_change, may_keep};
use crate::model::{
    ArtifactId, DirectoryId, HouseTime, Identifier, NoticeId, ObjectId, ObjectPlace, Refusal, ShareId, Time, Transport,
    VersionId, VersionState,
};
use crate::notices;
use crate::records::audit::Event;
use crate::records::entries::NewEntry;
use crate::records::notices::About;
use crate::records::versions::{NewVersion, ProgressRow, Publication};
use crate::records::{Conn, NewArtifact, entries, objects, versions, withdrawn};
use crate::repo::Error;
use crate::repo::blocking::blocking;
use crate::repo::keys::ShareKeys;
use crate::repo::tickets::check_room_for_name;
use crate::retention::discard;
use crate::store::StoreError;
use crate::upload::Uploads;
use crate::upload::checkpoint::{Progress, resume_point};
use crate::upload::write_queue::WriteQueue;
use crate::vault::{self, ExtentEntry, FileKey, HashOrigin, Manifest, SliceMap, WrappedKey};

/// What is known of an upload's rows.
pub(super) struct UploadRecords {
    pub(super) keys: Arc<ShareKeys>,
    pub(super) ticket: Identifier,
    /// Who sends it.
    pub(super) login: Login,
    /// The weakest transport that anything of it came by, what it begins with included.
    pub(super) transport: Transport,
    /// Whether a row of the audit trail says how this upload ended.
    pub(super) told: bool,
    /// Whether it is what support hands back: nobody is told of that here.
    pub(super) from_support: bool,
    pub(super) artifact: ArtifactId,
    pub(super) version: VersionId,
    pub(super) file_key: Arc<FileKey>,
    pub(super) wrapped: WrappedKey,
    pub(super) opened_at: Time,
    /// Whether the entry and the version have their rows.
    pub(super) has_entry: bool,
    /// The version's number, once it has its row.
    pub(super) number: Option<u64>,
    /// An unfinished version that this one replaces.
    pub(super) discards: Option<VersionId>,
    /// Bytes that were never sent, and are zeros.
    pub(super) zeros: u64,
    /// Manifests that lie in the store and that no row names: of tries to publish.
    pub(super) stored_manifests: Vec<ObjectId>,
}

/// What is written down of an upload that is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progressed {
    /// All that is durable.
    Durable,
    /// The same, of one that was closed with bytes missing.
    Incomplete,
    /// What has its rows already: nothing is added, and what it replaces or no longer uses is let go.
    Recorded,
}

impl UploadRecords {
    pub(super) fn share(&self) -> ShareId {
        self.keys.share
    }

    /// Whether something in the records may go for this upload: a version that it replaces, or what it has written over.
    /// A new file that came to nothing leaves no row.
    pub(super) fn may_let_go(&self) -> bool {
        self.number.is_some() || self.discards.is_some()
    }

    /// An event of this upload, with where it came from.
    async fn note(&self, conn: &mut Conn, kind: Kind, detail: Value) -> Result<(), Error> {
        let detail = self.signed(detail);
        let id = Some(*self.version.as_bytes());
        let subject = Subject { actor: &self.login.actor(), ticket: Some(&self.ticket), id };
        Ok(audit::write(conn, kind, subject, &detail).await?)
    }

    /// What an event of this upload says, with where it came from.
    fn signed(&self, mut detail: Value) -> Value {
        detail["artifact"] = Value::String(self.artifact.to_string());
        self.login.0.add_origin(&mut detail);
        if self.transport.is_weak() {
            detail["transport"] = Value::String(self.transport.to_string());
        }
        detail
    }

    /// Says in the audit trail that it is over, if nothing has said so yet.
    pub(super) fn jot_end(&self, kind: Kind, bytes: u64) {
        if !self.told {
            let detail = json!({ "artifact": self.artifact.to_string(), "bytes": bytes });
            self.login.0.enqueue(kind, Some(&self.ticket), Some(*self.version.as_bytes()), detail);
        }
    }

    pub(super) fn begin_extent(&self) -> Result<OpenExtent, Error> {
        OpenExtent::begin(self.share(), self.artifact, self.version, &self.file_key)
    }

    /// If the share's keys were replaced since the upload began, takes the new ones, whose generation it is told inside the
    /// transaction that uses them. What was sealed so far depends on the file key alone.
    async fn take_keys_in_force(&mut self, generation: u32, uploads: &Uploads) -> Result<(), Error> {
        if generation != self.keys.generation {
            // No rotation can end while this transaction lasts, so these are the ones.
            self.keys = uploads.repo.keys.share(self.share()).await?;
            self.wrapped = self.keys.wrap_file_key(self.version, &self.file_key)?;
        }
        Ok(())
    }

    /// Writes the rows of entry and version if they are owed, and says the version's number.
    async fn ensure_rows(&self, conn: &mut Conn, uploads: &Uploads, queue: &WriteQueue) -> Result<u64, Error> {
        let now = Time::now();
        let (mode, modified) = queue.wished_attributes();
        if !self.has_entry {
            check_room_for_name(conn, &self.ticket, &uploads.repo.settings).await?;
            let (directory, name) = queue.place();
            let index = self.keys.names.index(directory, &name);
            check_in_sight(conn, directory).await?;
            if entries::by_name(conn, directory, &index).await?.is_some() {
                return Err(Refusal::AlreadyExists.into());
            }
            // What was deleted under this name becomes the history of the new file.
            let withdrawn = entries::withdrawn_by_name(conn, directory, &index).await?;
            let predecessor = match &withdrawn {
                Some(row) => {
                    let highest = versions::highest_number(conn, ArtifactId::from_bytes(row.id)).await?;
                    withdrawn::mark_replaced(conn, &row.id, now).await?;
                    Some((row.id, row.number_base + highest))
                }
                None => None,
            };
            let place = self.keys.place(*self.artifact.as_bytes(), directory, &name)?;
            let new = NewEntry {
                id: *self.artifact.as_bytes(),
                share: self.share(),
                place: Some(&place),
                is_directory: false,
                mode,
                modified_at: modified.unwrap_or(now),
                predecessor,
            };
            entries::add(conn, &new).await?;
        }
        let entry = entries::by_id(conn, self.artifact.as_bytes()).await?;
        let Some(entry) = entry.filter(|entry| entry.in_sight) else {
            return Err(Refusal::NoSuchFile.into());
        };
        if let Some(number) = self.number {
            let is_mine = entry.receiving.is_some_and(|receiving| receiving.id == self.version);
            if !is_mine {
                return Err(Refusal::Fenced.into());
            }
            // What began over the main listener may be continued over the other one.
            if self.transport.is_weak() {
                versions::mark_weak(conn, self.version).await?;
            }
            return Ok(number);
        }
        let number = versions::highest_number(conn, self.artifact).await? + 1;
        let new = self.new_version(number, uploads.repo.clock.now());
        versions::add(conn, &new).await?;
        if let Some(old) = self.discards {
            discard(conn, old, &self.ticket, &self.login.actor(), uploads.repo.clock.now()).await?;
        }
        let current = entry.current.map(|version| version.id);
        entries::set_versions(conn, self.artifact.as_bytes(), current, Some(self.version)).await?;
        Ok(number)
    }

    /// Writes down how far it is: what is durable, and where it can be continued.
    pub(super) async fn write_progress(
        &mut self,
        uploads: &Uploads,
        queue: &WriteQueue,
        extents: &mut HashMap<ObjectId, EndedExtent>,
        map: &SliceMap,
        hasher: &Hasher,
        what: Progressed,
    ) -> Result<(), Error> {
        let incomplete = what == Progressed::Incomplete;
        let counts = |extent: &EndedExtent| what != Progressed::Recorded || extent.rows != Rows::None;
        let is_durable = |id: &ObjectId| extents.get(id).is_some_and(|extent| extent.is_durable() && counts(extent));
        let mut durable = SliceMap::new();
        for slice in map.slices().filter(|slice| is_durable(&slice.extent)) {
            durable.lay(*slice);
        }
        let at = resume_point(durable.contiguous_from_zero(), queue.floor());
        // What is closed with a hole is as long as its sender made it, whether the end is there or not.
        let length = if incomplete { queue.length() } else { durable.end() };
        let stored: u64 = durable.slices().map(|slice| slice.length).sum();
        let used = durable.extents();
        // What is not durable yet is no less in use.
        let in_use = if extents.len() > used.len() { map.extents() } else { used.clone() };
        let progress = Progress { digest: hasher.at_or_below(at), map: durable };
        let sealed = progress.seal(&self.file_key, self.version, at)?;
        let state = if incomplete { VersionState::Incomplete } else { VersionState::Receiving };

        let mut tx = uploads.repo.records.begin().await?;
        let generation = may_keep(tx.conn(), &self.ticket, &self.login).await?;
        self.take_keys_in_force(generation, uploads).await?;
        let number = self.ensure_rows(tx.conn(), uploads, queue).await?;
        self.release_unused(tx.conn(), extents, &in_use, uploads.repo.clock.now()).await?;
        self.add_extents(tx.conn(), &uploads.repo, extents.values().filter(|extent| used.contains(&extent.id))).await?;
        let row = ProgressRow {
            id: self.version,
            state,
            resumable_at: at,
            length,
            stored,
            progress: &sealed,
            at: uploads.repo.clock.now(),
        };
        if !versions::set_progress(tx.conn(), &row).await? {
            return Err(Refusal::Fenced.into());
        }
        if incomplete {
            if !self.from_support {
                notices::queue(tx.conn(), &uploads.repo, &self.ticket, self.version, About::Incomplete, Time::now())
                    .await?;
            }
            self.note(tx.conn(), Kind::UploadIncomplete, json!({ "bytes": stored, "size": length })).await?;
        }
        uploads.repo.failpoints.hit("upload.progress-before");
        tx.commit().await?;
        self.told |= incomplete;
        uploads.repo.failpoints.hit("upload.progress-after");
        if incomplete {
            uploads.notices.queued();
        }

        self.recorded(queue, number, extents.values_mut().filter(|extent| used.contains(&extent.id)));
        extents.retain(|id, extent| in_use.contains(id) || !extent.is_durable());
        Ok(())
    }

    fn recorded<'a>(&mut self, queue: &WriteQueue, number: u64, extents: impl Iterator<Item = &'a mut EndedExtent>) {
        self.has_entry = true;
        self.number = Some(number);
        queue.set_recorded();
        for extent in extents {
            extent.rows = Rows::Both;
            if matches!(extent.home, Home::Memory(_)) {
                extent.home = Home::Records;
            }
        }
    }

    /// A CLOSE that changed no byte: only times and permission bits are to be set.
    pub(super) async fn set_attributes(&self, uploads: &Uploads, queue: &WriteQueue) -> Result<(), Error> {
        let (mode, modified) = queue.wished_attributes();
        if modified.is_none() {
            return Ok(());
        }
        let mut tx = uploads.repo.records.begin().await?;
        may_change(tx.conn(), &self.ticket, &self.login).await?;
        entries::set_attributes(tx.conn(), self.artifact.as_bytes(), Some(mode), modified).await?;
        Ok(tx.commit().await?)
    }

    /// Makes the version available: manifest, rows, audit event and notice, in one transaction.
    pub(super) async fn publish(
        &mut self,
        uploads: &Arc<Uploads>,
        queue: &WriteQueue,
        extents: &mut HashMap<ObjectId, EndedExtent>,
        map: &SliceMap,
        hasher: &Hasher,
        origin: HashOrigin,
    ) -> Result<(), Error> {
        let (length, sha256, now) = (map.end(), hasher.finish(), Time::now());
        let used = map.extents();
        if !used.iter().all(|id| extents.get(id).is_some_and(EndedExtent::is_durable)) {
            return Err(StoreError::Io(std::io::Error::other("an extent was not written")).into());
        }
        let all_in_records = used.iter().all(|id| extents.get(id).is_some_and(|e| e.place() == ObjectPlace::Records));
        let progress = Progress { digest: hasher.state().clone(), map: SliceMap::new() };
        let state = progress.seal(&self.file_key, self.version, 0)?;
        let object = ObjectId::from_bytes(vault::random::array()?);

        // A manifest that lies in the store must be durable before the transaction, and needs the version's number.
        let number = match self.number {
            Some(number) => number,
            None if !self.has_entry => 1,
            None => versions::highest_number(&mut *uploads.repo.records.read().await?, self.artifact).await? + 1,
        };
        let manifest = Manifest {
            share: self.share(),
            artifact: self.artifact,
            version: self.version,
            number: u32::try_from(number).map_err(|_| Refusal::TooManyNames)?,
            length,
            sha256,
            hashed: origin,
            sealed_at: now,
            slices: map.slices().copied().collect(),
            extents: manifest_entries(extents, &used)?,
        }
        .seal(&self.file_key, object)?;
        let hash = vault::object_hash(&manifest);
        let in_records = all_in_records && manifest.len() <= uploads.repo.settings.inline_bytes;
        if !in_records {
            self.stored_manifests.push(object);
            let (store, bytes) = (uploads.repo.store.clone(), manifest.clone());
            blocking(&uploads.repo.worker_runtime, "the write", move || store.put(object, &bytes)).await?;
        }
        uploads.repo.failpoints.hit("publish.manifest-stored");

        let publication = Publication {
            id: self.version,
            length,
            zeros: self.zeros,
            sha256,
            manifest: object,
            manifest_hash: hash,
            progress: &state,
            at: now,
        };
        let detail = json!({
            "bytes": length,
            "sha256": hex::encode(sha256),
            "manifest": hex::encode(hash),
        });
        let inline = in_records.then_some(&manifest[..]);
        let is_done = match extents.values().next() {
            Some(only) if extents.len() == 1 && used.contains(&only.id) => {
                self.add_at_once(uploads, queue, only, &publication, inline, detail.clone()).await?
            }
            _ => false,
        };
        if !is_done {
            let mut tx = uploads.repo.records.begin().await?;
            let generation = may_change(tx.conn(), &self.ticket, &self.login).await?;
            self.take_keys_in_force(generation, uploads).await?;
            let recorded = self.ensure_rows(tx.conn(), uploads, queue).await?;
            if recorded != number {
                return Err(Refusal::Fenced.into());
            }
            self.release_unused(tx.conn(), extents, &used, uploads.repo.clock.now()).await?;
            self.add_extents(tx.conn(), &uploads.repo, extents.values().filter(|extent| used.contains(&extent.id)))
                .await?;
            if let Some(manifest) = inline {
                objects::put(tx.conn(), &[(object, manifest)]).await?;
            }
            if !versions::publish(tx.conn(), &publication).await? {
                return Err(Refusal::Fenced.into());
            }
            let (mode, modified) = queue.wished_attributes();
            let (id, modified) = (self.artifact.as_bytes(), modified.unwrap_or(now));
            entries::set_versions(tx.conn(), id, Some(self.version), None).await?;
            entries::set_attributes(tx.conn(), id, Some(mode), Some(modified)).await?;
            self.note(tx.conn(), Kind::ArtifactAvailable, detail).await?;
            if !self.from_support {
                notices::announce(tx.conn(), &uploads.repo, &self.keys, &self.ticket, self.artifact, self.version, now)
                    .await?;
            }
            uploads.repo.failpoints.hit("publish.before-commit");
            tx.commit().await?;
        }
        uploads.repo.failpoints.hit("publish.after-commit");

        self.stored_manifests.retain(|stored| *stored != object);
        self.told = true;
        self.recorded(queue, number, extents.values_mut().filter(|extent| used.contains(&extent.id)));
        for extent in extents.values_mut().filter(|extent| !used.contains(&extent.id)) {
            extent.rows = Rows::Both;
        }
        tracing::info!(
            ticket = %self.ticket, user = self.login.user().as_str(), artifact = %self.artifact, bytes = length,
            sha256 = %hex::encode(sha256), transport = %self.transport, "an artifact is available"
        );
        uploads.notices.queued();
        uploads.sidecars.look_at(self.artifact);
        Ok(())
    }

    /// Writes a new file of one extent down at once, if it is one that nothing stands in the way of. False if it has to go the
    /// long way, which also says why it must not be at all.
    async fn add_at_once(
        &self,
        uploads: &Uploads,
        queue: &WriteQueue,
        extent: &EndedExtent,
        publication: &Publication<'_>,
        manifest: Option<&[u8]>,
        detail: Value,
    ) -> Result<bool, Error> {
        let (directory, name) = queue.place();
        let is_new = !self.has_entry
            && self.number.is_none()
            && self.discards.is_none()
            && extent.rows == Rows::None
            && self.zeros == 0;
        let Who::Ticket { generation: token_generation, .. } = self.login.0.who else { return Ok(false) };
        let may_go = uploads.repo.failpoints.may_add_at_once();
        if !may_go || !is_new || self.from_support || uploads.repo.settings.temporary_names.matches(&name) {
            return Ok(false);
        }
        let (mode, modified) = queue.wished_attributes();
        let detail = self.signed(detail).to_string();
        let actor = self.login.actor();
        let event = Event {
            at: Time::now(),
            kind: Kind::ArtifactAvailable,
            actor: &actor,
            ticket: Some(&self.ticket),
            subject: Some(*self.version.as_bytes()),
            detail: &detail,
        };
        let new = NewArtifact {
            ticket: &self.ticket,
            token_generation,
            share: self.share(),
            place: &self.keys.place(*self.artifact.as_bytes(), directory, &name)?,
            mode,
            modified_at: modified.unwrap_or(publication.at),
            version: &self.new_version(1, uploads.repo.clock.now()),
            publication,
            manifest,
            extent: &extent.row(),
            bytes: match &extent.home {
                Home::Memory(bytes) => Some(bytes),
                _ => None,
            },
            most_names: uploads.repo.settings.names_per_share,
            most_bytes: uploads.repo.settings.share_bytes,
            notice: NoticeId::from_bytes(vault::random::array()?),
            settle: millis(uploads.repo.settings.settle),
            settle_most: millis(uploads.repo.settings.settle_max),
            event: &event,
        };
        uploads.repo.failpoints.hit("publish.before-commit");
        let is_done =
            uploads.repo.records.insert_published(&new, |before, seq| audit::link_of(&event, before, seq)).await?;
        if is_done {
            uploads.repo.failpoints.added_at_once();
        }
        Ok(is_done)
    }

    /// The row of its version.
    fn new_version(&self, number: u64, touched_at: HouseTime) -> NewVersion<'_> {
        NewVersion {
            id: self.version,
            artifact: self.artifact,
            number,
            key_generation: self.keys.generation,
            file_key: self.wrapped.as_bytes(),
            uploaded_by: self.login.user().as_str(),
            opened_at: self.opened_at,
            touched_at,
            transport: self.transport,
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

fn manifest_entries(
    extents: &HashMap<ObjectId, EndedExtent>,
    used: &std::collections::BTreeSet<ObjectId>,
) -> Result<Vec<ExtentEntry>, Error> {
    used.iter()
        .map(|id| {
            let extent = extents.get(id).ok_or(StoreError::Missing)?;
            Ok(ExtentEntry {
                extent: extent.id,
                length: extent.length,
                header_tag: extent.header_tag,
                key: WrappedKey::try_from(&extent.wrapped.as_bytes()[..])?,
                place: extent.place(),
            })
        })
        .collect()
}

/// Whether a directory can take something new: it must stand in the tree when the transaction runs.
async fn check_in_sight(conn: &mut Conn, directory: DirectoryId) -> Result<(), Error> {
    match entries::by_id(conn, directory.as_bytes()).await? {
        Some(row) if row.in_sight && row.is_directory => Ok(()),
        _ => Err(Refusal::NoSuchFile.into()),
    }
}
