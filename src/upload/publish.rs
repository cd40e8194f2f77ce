//! The transaction that makes an upload available: manifest, rows, audit event and notice.
//!
//! There are two ways to it, and both leave the same records (`app/tests/two_ways`). A new file of
//! one extent that nothing stands in the way of is recorded by one question
//! ([`UploadRecords::publish_at_once`]). Everything else takes a transaction of many
//! ([`UploadRecords::publish_step_by_step`]), which also says why something must not be at all.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::arrived::Arrived;
use super::extents::{EndedExtent, Home, Rows};
use super::upload_records::UploadRecords;
use crate::audit::told::Published;
use crate::audit::{self, Kind};
use crate::login::Who;
use crate::login::rights::may_change;
use crate::model::rights::{Operation, Side};
use crate::model::{NoticeId, ObjectId, ObjectPlace, Refusal, Time, VersionId};
use crate::notices::{self, Came};
use crate::records::audit::Event;
use crate::records::small_files::{self, SmallFile};
use crate::records::versions::Publication;
use crate::records::{NewArtifact, entries, objects, versions};
use crate::repo::Error;
use crate::repo::blocking::blocking;
use crate::store::StoreError;
use crate::upload::Uploads;
use crate::upload::checkpoint::Progress;
use crate::upload::write_queue::WriteQueue;
use crate::vault::{self, Arrival, ExtentEntry, Manifest, ProofKey, SliceMap, WrappedKey};

/// A version that is to become available, with its manifest sealed.
struct Sealed {
    number: u64,
    /// In bytes.
    length: u64,
    sha256: [u8; 32],
    at: Time,
    /// The manifest's object, its sealed bytes, and their hash.
    object: ObjectId,
    manifest: Vec<u8>,
    hash: [u8; 32],
    /// Whether the records keep the manifest; the store has it otherwise.
    in_records: bool,
    /// The SHA-256 state at the end, sealed: the next version may go on from there.
    state: Vec<u8>,
}

impl Sealed {
    /// What the audit trail says of it.
    fn detail(&self, version: VersionId, proof: &ProofKey) -> Value {
        let (sha256, manifest) = (&self.sha256, &self.hash);
        let at = self.at;
        Published { version, number: self.number, length: self.length, sha256, manifest, at }.detail(proof)
    }

    /// The manifest, if the records keep it.
    fn inline(&self) -> Option<&[u8]> {
        self.in_records.then_some(&self.manifest[..])
    }

    /// What lies in one row of the records, if it is a small file.
    fn small_file<'a>(&'a self, arrived: &'a Arrived, used: &BTreeSet<ObjectId>) -> Option<SmallFile<'a>> {
        let (extent, extent_bytes) = arrived.of_small_file(used, self.length)?;
        Some(SmallFile { extent: extent.id, extent_bytes, manifest_bytes: self.inline()? })
    }
}

impl UploadRecords {
    /// What the table of rights is asked: whoever began this was allowed to replace what was there.
    fn asks(&self) -> (Operation, Side) {
        (Operation::Create, if self.from_support { Side::Support } else { Side::Customer })
    }

    /// A CLOSE that changed no byte: only times and permission bits are to be set.
    pub(super) async fn set_attributes(&self, uploads: &Uploads, queue: &WriteQueue) -> Result<(), Error> {
        let (mode, modified) = queue.wished_attributes();
        if modified.is_none() {
            return Ok(());
        }
        let mut tx = uploads.repo.records.begin().await?;
        may_change(tx.conn(), &self.ticket, &self.login, self.asks()).await?;
        entries::set_attributes(tx.conn(), self.artifact.as_bytes(), Some(mode), modified).await?;
        Ok(tx.commit().await?)
    }

    /// Makes the version available: manifest, rows, audit event and notice, in one transaction.
    pub(super) async fn publish(
        &mut self,
        uploads: &Arc<Uploads>,
        queue: &WriteQueue,
        arrived: &mut Arrived,
    ) -> Result<(), Error> {
        let used = arrived.map.extents();
        if !used.iter().all(|id| arrived.extents.get(id).is_some_and(EndedExtent::is_durable)) {
            return Err(StoreError::Io(std::io::Error::other("an extent was not written")).into());
        }
        let sealed = self.seal(uploads, arrived, &used).await?;
        uploads.repo.failpoints.hit("publish.manifest-stored");
        if !self.publish_at_once(uploads, queue, arrived, &used, &sealed).await? {
            self.publish_step_by_step(uploads, queue, arrived, &used, &sealed).await?;
        }
        uploads.repo.failpoints.hit("publish.after-commit");

        self.stored_manifests.retain(|stored| *stored != sealed.object);
        self.told = true;
        let extents = &mut arrived.extents;
        self.recorded(queue, sealed.number, extents.values_mut().filter(|extent| used.contains(&extent.id)));
        for extent in extents.values_mut().filter(|extent| !used.contains(&extent.id)) {
            extent.rows = Rows::Both;
        }
        tracing::info!(
            ticket = %self.ticket, user = self.login.user().as_str(), artifact = %self.artifact, bytes = sealed.length,
            manifest = %hex::encode(sealed.hash), transport = %self.transport, "an artifact is available"
        );
        uploads.notices.queued();
        uploads.sidecars.look_at(self.artifact);
        Ok(())
    }

    /// Seals the manifest. One that lies in the store is durable when this returns.
    async fn seal(&mut self, uploads: &Uploads, arrived: &Arrived, used: &BTreeSet<ObjectId>) -> Result<Sealed, Error> {
        let Arrived { map, extents, hasher, origin } = arrived;
        let (length, sha256, at) = (map.end(), hasher.finish(), Time::now());
        let all_in_records = used.iter().all(|id| extents.get(id).is_some_and(|e| e.place() == ObjectPlace::Records));
        let progress = Progress { digest: hasher.state().clone(), map: SliceMap::new() };
        let state = progress.seal(&self.file_key, self.version, 0)?;
        let object = ObjectId::from_bytes(vault::random::array()?);

        // A manifest that lies in the store must be durable before the transaction, and needs the
        // version's number.
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
            hashed: *origin,
            sealed_at: at,
            arrival: Some(Arrival { sender: self.login.user().clone(), transport: self.transport, zeros: self.zeros }),
            slices: map.slices().copied().collect(),
            extents: manifest_entries(extents, used)?,
        }
        .seal(&self.file_key, object)?;
        let hash = vault::object_hash(&manifest);
        let in_records = all_in_records && manifest.len() <= uploads.repo.settings.inline_bytes;
        if !in_records {
            self.stored_manifests.push(object);
            let (store, bytes) = (uploads.repo.store.clone(), manifest.clone());
            blocking(&uploads.repo.worker_runtime, "the write", move || store.put(object, &bytes)).await?;
        }
        Ok(Sealed { number, length, sha256, at, object, manifest, hash, in_records, state })
    }

    /// The version's row as it is to be.
    fn publication<'a>(&'a self, sealed: &'a Sealed) -> Publication<'a> {
        Publication {
            id: self.version,
            length: sealed.length,
            zeros: self.zeros,
            uploaded_by: self.login.user().as_str(),
            transport: self.transport,
            sha256: sealed.sha256,
            manifest: sealed.object,
            manifest_hash: sealed.hash,
            progress: &sealed.state,
            at: sealed.at,
        }
    }

    /// The way that everything can go, question by question in one transaction.
    async fn publish_step_by_step(
        &mut self,
        uploads: &Uploads,
        queue: &WriteQueue,
        arrived: &Arrived,
        used: &BTreeSet<ObjectId>,
        sealed: &Sealed,
    ) -> Result<(), Error> {
        let repo = &uploads.repo;
        let mut tx = repo.records.begin().await?;
        let generation = may_change(tx.conn(), &self.ticket, &self.login, self.asks()).await?;
        self.take_keys_in_force(generation, uploads).await?;
        if self.ensure_rows(tx.conn(), uploads, queue).await? != sealed.number {
            return Err(Refusal::Fenced.into());
        }
        self.release_unused(tx.conn(), &arrived.extents, used, repo.clock.now()).await?;
        let small_file = sealed.small_file(arrived, used);
        if small_file.is_some() {
            self.reserve(tx.conn(), repo, sealed.length).await?;
        } else {
            let to_record = arrived.extents.values().filter(|extent| used.contains(&extent.id));
            self.add_extents(tx.conn(), repo, to_record).await?;
            if let Some(manifest) = sealed.inline() {
                objects::put(tx.conn(), &[(sealed.object, manifest)]).await?;
            }
        }
        // The version's row names this entry.
        self.note(tx.conn(), Kind::ArtifactAvailable, sealed.detail(self.version, repo.keys.trail())).await?;
        if !versions::publish(tx.conn(), &self.publication(sealed)).await? {
            return Err(Refusal::Fenced.into());
        }
        if let Some(small_file) = &small_file {
            small_files::put(tx.conn(), self.version, small_file).await?;
        }
        let (mode, modified) = queue.wished_attributes();
        let (id, modified) = (self.artifact.as_bytes(), modified.unwrap_or(sealed.at));
        entries::set_versions(tx.conn(), id, Some(self.version), None).await?;
        entries::set_attributes(tx.conn(), id, Some(mode), Some(modified)).await?;
        let came = match &self.login.0.who {
            _ if self.from_support => Came::FromSupport,
            Who::Contact { .. } => Came::FromCustomer(Some(self.login.user())),
            Who::Ticket { .. } | Who::Engineer { .. } => Came::FromCustomer(None),
        };
        let told = (self.artifact, self.version);
        notices::announce(tx.conn(), repo, &self.keys, &self.ticket, told, came, sealed.at).await?;
        if !self.from_support {
            self.wake_ticket(tx.conn(), repo).await?;
        }
        repo.failpoints.hit("publish.before-commit");
        Ok(tx.commit().await?)
    }

    /// Records a new file of one extent by one question, if it is one that nothing stands in the
    /// way of. False if it has to go the long way, which also says why it must not be at all.
    async fn publish_at_once(
        &self,
        uploads: &Uploads,
        queue: &WriteQueue,
        arrived: &Arrived,
        used: &BTreeSet<ObjectId>,
        sealed: &Sealed,
    ) -> Result<bool, Error> {
        let repo = &uploads.repo;
        let (directory, name) = queue.place();
        let Some(extent) = arrived.only_extent(used) else { return Ok(false) };
        let small_file = sealed.small_file(arrived, used);
        let is_one_shape = small_file.is_some() || (matches!(extent.home, Home::Store) && !sealed.in_records);
        let is_new = !self.has_entry
            && self.number.is_none()
            && self.discards.is_none()
            && extent.rows == Rows::None
            && self.zeros == 0;
        let Who::Ticket { .. } = self.login.0.who else { return Ok(false) };
        let (ticket_proof, token_generation) = self.login.0.open_ticket();
        let may_go = repo.failpoints.may_add_at_once();
        if !may_go || !is_new || !is_one_shape || self.from_support || repo.settings.temporary_names.matches(&name) {
            return Ok(false);
        }
        let (mode, modified) = queue.wished_attributes();
        let detail = self.signed(sealed.detail(self.version, repo.keys.trail())).to_string();
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
            ticket_proof,
            share: self.share(),
            place: &self.keys.place(*self.artifact.as_bytes(), directory, &name)?,
            mode,
            modified_at: modified.unwrap_or(sealed.at),
            version: &self.new_version(1, repo.clock.now()),
            publication: &self.publication(sealed),
            extent: &extent.row(),
            small_file,
            most_names: repo.settings.names_per_share,
            most_bytes: repo.settings.share_bytes,
            notice: NoticeId::from_bytes(vault::random::array()?),
            settle: millis(repo.settings.settle),
            settle_most: millis(repo.settings.settle_max),
            event: &event,
        };
        repo.failpoints.hit("publish.before-commit");
        let is_done = repo.records.insert_published(&new, |before, seq| audit::link_of(&event, before, seq)).await?;
        if is_done {
            repo.failpoints.added_at_once();
        }
        Ok(is_done)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

fn manifest_entries(
    extents: &HashMap<ObjectId, EndedExtent>,
    used: &BTreeSet<ObjectId>,
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
