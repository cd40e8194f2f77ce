//! What an upload writes into the records while it is under way: its rows, and how far it is.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Opener;
use super::arrived::Arrived;
use super::extents::{EndedExtent, Home, OpenExtent, Rows};
use crate::audit::{self, Kind, Subject};
use crate::login::Login;
use crate::login::rights::may_keep;
use crate::model::{
    ArtifactId, DirectoryId, HouseTime, Identifier, ObjectId, Refusal, ShareId, TicketStatus, Time, Transport,
    VersionId, VersionState,
};
use crate::namespace::tree::ResolvedPath;
use crate::notices;
use crate::records::entries::{Link, NewEntry};
use crate::records::extents::ExtentRow;
use crate::records::notices::About;
use crate::records::proofs::Proof;
use crate::records::versions::{NewVersion, ProgressRow};
use crate::records::{Conn, entries, tickets, versions, withdrawn};
use crate::repo::keys::ShareKeys;
use crate::repo::tickets::check_room_for_name;
use crate::repo::{Error, Repo};
use crate::retention::discard;
use crate::upload::Uploads;
use crate::upload::checkpoint::{Progress, resume_point};
use crate::upload::write_queue::WriteQueue;
use crate::vault::{self, FileKey, SliceMap, WrappedKey};

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
    /// Whether it is what support hands back: customers are told of that, and no engineer is.
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
    /// What it begins with, if that was a small file when it began.
    pub(super) small_base: Option<SmallBase>,
}

/// A small file that another version begins with. Its extent gets rows of its own before that
/// version uses it.
pub(super) struct SmallBase {
    pub(super) version: VersionId,
    /// The row that it lay in.
    pub(super) row: i64,
    /// With its key as it is wrapped for that version.
    pub(super) extent: ExtentRow,
}

/// What is written down of an upload that is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progressed {
    /// All that is durable.
    Durable,
    /// The same, of one that was closed with bytes missing.
    Incomplete,
    /// What has its rows already: nothing is added, and what it replaces or no longer uses is let
    /// go.
    Recorded,
}

impl UploadRecords {
    /// Of a version that begins: of a new file, or the next one of the file that is there.
    pub(super) fn of_new_version(opener: &Opener<'_>, resolved: &ResolvedPath) -> Result<Self, Error> {
        let version = VersionId::from_bytes(vault::random::array()?);
        let artifact = match &resolved.entry {
            Some(row) => ArtifactId::from_bytes(row.id),
            None => ArtifactId::from_bytes(vault::random::array()?),
        };
        let (file_key, wrapped) = resolved.context.keys.new_file_key(version)?;
        Ok(Self::of(opener, resolved, (artifact, version), (Arc::new(file_key), wrapped)))
    }

    /// Of a version that has no row yet.
    pub(super) fn of(
        opener: &Opener<'_>,
        resolved: &ResolvedPath,
        (artifact, version): (ArtifactId, VersionId),
        (file_key, wrapped): (Arc<FileKey>, WrappedKey),
    ) -> Self {
        Self {
            keys: Arc::clone(&resolved.context.keys),
            ticket: resolved.context.ticket.clone(),
            login: opener.login.clone(),
            transport: opener.login.0.transport,
            told: false,
            from_support: resolved.from_support,
            artifact,
            version,
            file_key,
            wrapped,
            opened_at: Time::now(),
            has_entry: resolved.entry.is_some(),
            number: None,
            discards: resolved.entry.as_ref().and_then(|row| row.receiving).map(|receiving| receiving.id),
            zeros: 0,
            stored_manifests: Vec::new(),
            small_base: None,
        }
    }

    pub(super) fn share(&self) -> ShareId {
        self.keys.share
    }

    /// Whether something in the records may go for this upload: a version that it replaces, or what
    /// it has written over. A new file that came to nothing leaves no row.
    pub(super) fn may_let_go(&self) -> bool {
        self.number.is_some() || self.discards.is_some()
    }

    /// An event of this upload, with where it came from.
    pub(super) async fn note(&self, conn: &mut Conn, kind: Kind, detail: Value) -> Result<(), Error> {
        let detail = self.signed(detail);
        let id = Some(*self.version.as_bytes());
        let subject = Subject { actor: &self.login.actor(), ticket: Some(&self.ticket), id };
        Ok(audit::write(conn, kind, subject, &detail).await?)
    }

    /// An upload is the customer's answer: a ticket that waits for it is open again, in the transaction
    /// that keeps the upload.
    pub(super) async fn wake_ticket(&self, conn: &mut Conn, repo: &Repo) -> Result<(), Error> {
        if tickets::wake(conn, &**repo.keys.proofs(), &self.ticket).await? {
            let subject = Subject { actor: &self.login.actor(), ticket: Some(&self.ticket), id: None };
            let mut detail = json!({ "changed": ["status"], "status": TicketStatus::Open });
            self.login.0.add_origin(&mut detail);
            audit::write(conn, Kind::TicketChanged, subject, &detail).await?;
        }
        Ok(())
    }

    /// What an event of this upload says, with where it came from.
    pub(super) fn signed(&self, mut detail: Value) -> Value {
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

    /// If the share's keys were replaced since the upload began, takes the new ones, whose
    /// generation it is told inside the transaction that uses them. What was sealed so far depends
    /// on the file key alone.
    pub(super) async fn take_keys_in_force(&mut self, generation: u32, uploads: &Uploads) -> Result<(), Error> {
        if generation != self.keys.generation {
            // No rotation can end while this transaction lasts, so these are the ones.
            self.keys = uploads.repo.keys.share(self.share()).await?;
            self.wrapped = self.keys.wrap_file_key(self.version, &self.file_key)?;
        }
        Ok(())
    }

    /// Writes the rows of entry and version if they are owed, and says the version's number.
    pub(super) async fn ensure_rows(
        &self,
        conn: &mut Conn,
        uploads: &Uploads,
        queue: &WriteQueue,
    ) -> Result<u64, Error> {
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
            let mut withdrawn = entries::withdrawn_by_name(conn, directory, &index).await?;
            // Unless it bore another one: somebody has moved its row here.
            if let Some(row) = &withdrawn
                && let Err(error) = self.keys.open_name(conn, row).await
            {
                if error.is_temporary() {
                    return Err(error);
                }
                withdrawn = None;
            }
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
            if let Some((predecessor, _)) = predecessor {
                let link = Link { entry: new.id, share: new.share, predecessor, proof: Proof::default() };
                entries::prove_link(conn, &**uploads.repo.keys.proofs(), &link).await?;
            }
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
        arrived: &mut Arrived,
        what: Progressed,
    ) -> Result<(), Error> {
        let Arrived { map, extents, hasher, .. } = arrived;
        let incomplete = what == Progressed::Incomplete;
        let counts = |extent: &EndedExtent| what != Progressed::Recorded || extent.rows != Rows::None;
        let is_durable = |id: &ObjectId| extents.get(id).is_some_and(|extent| extent.is_durable() && counts(extent));
        let mut durable = SliceMap::new();
        for slice in map.slices().filter(|slice| is_durable(&slice.extent)) {
            durable.lay(*slice);
        }
        let at = resume_point(durable.contiguous_from_zero(), queue.floor());
        // What is closed with a hole is as long as its sender made it, whether the end is there or
        // not.
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
                self.wake_ticket(tx.conn(), &uploads.repo).await?;
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

    pub(super) fn recorded<'a>(
        &mut self,
        queue: &WriteQueue,
        number: u64,
        extents: impl Iterator<Item = &'a mut EndedExtent>,
    ) {
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

    /// The row of its version.
    pub(super) fn new_version(&self, number: u64, touched_at: HouseTime) -> NewVersion<'_> {
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

/// Whether a directory can take something new: it must stand in the tree when the transaction runs.
async fn check_in_sight(conn: &mut Conn, directory: DirectoryId) -> Result<(), Error> {
    match entries::by_id(conn, directory.as_bytes()).await? {
        Some(row) if row.in_sight && row.is_directory => Ok(()),
        _ => Err(Refusal::NoSuchFile.into()),
    }
}
