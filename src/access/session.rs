//! What one session sees of the shares, and what it may do: the rules about paths, people and
//! closed tickets.

mod digests;
mod meaning;
pub(crate) mod new;
mod paths;
mod space;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use meaning::OpenForReading;
use paths::Place;
use serde_json::json;

use crate::access::{Access, Download, Listing};
use crate::access::{Upload, UploadHandle};
use crate::audit;
use crate::login::Login;
use crate::login::Who;
use crate::login::rights::{self, Grant};
use crate::model::rights::{Operation, Rights, Side};
use crate::model::{ArtifactId, Identifier, Language, Refusal, SharePath, Time, VersionId};
use crate::namespace::shape::{self, Way};
use crate::namespace::tree::{DIRECTORY_MODE, ResolvedPath};
use crate::notices;
use crate::records::entries::{self, NewEntry};
use crate::records::tickets::Standing;
use crate::records::{Conn, versions, withdrawn};
use crate::repo::keys::with_keys_in_force;
use crate::repo::tickets::check_room_for_name;
use crate::repo::{Attributes, Changes, Error, PlaceKind, Repo, WriteMode};
use crate::retention::discard;
use crate::upload::{self, Opener};
use crate::vault;

/// Numbers sessions, so that two handles are known to belong to one.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// What one session sees and may do. Cheap to clone; clones belong to the same session.
#[derive(Clone)]
pub struct ShareSession {
    access: Arc<Access>,
    login: Login,
    id: u64,
    buffers: upload::SessionBudget,
    memory: meaning::Memory,
}

impl ShareSession {
    pub(crate) fn new(access: Arc<Access>, login: Login) -> Self {
        let buffers = access.uploads.budget.session(access.repo.settings.session_buffer);
        let id = SESSIONS.fetch_add(1, Ordering::Relaxed);
        Self { access, login, id, buffers, memory: meaning::Memory::default() }
    }

    pub(crate) fn access(&self) -> &Arc<Access> {
        &self.access
    }

    pub(crate) fn repo(&self) -> &Arc<Repo> {
        &self.access.repo
    }

    pub(crate) fn login(&self) -> &Login {
        &self.login
    }

    pub(crate) fn user(&self) -> &Identifier {
        self.login.user()
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn buffers(&self) -> &upload::SessionBudget {
        &self.buffers
    }

    /// What is opened in a ticket's share now holds this.
    pub(crate) fn grant(&self, ticket: &Identifier, rights: Rights, asks: (Operation, Side)) -> Grant {
        self.login.0.grants.of(ticket, rights, asks.0, asks.1)
    }

    /// Where this session was last told that an unfinished version ends.
    pub(crate) fn told(&self, version: VersionId) -> Option<u64> {
        self.memory.told(version)
    }

    pub(crate) fn is_engineer(&self) -> bool {
        matches!(self.login.0.who, Who::Engineer { .. })
    }

    /// Whether `/` shows tickets, and not the share of the one that logged in.
    pub(crate) fn sees_tickets(&self) -> bool {
        !matches!(self.login.0.who, Who::Ticket { .. })
    }

    /// The language in which this session hears refusals.
    pub fn language(&self) -> Language {
        self.login.language()
    }

    /// STAT.
    ///
    /// # Errors
    /// [`Refusal::NoSuchFile`] if there is nothing, or nothing that this login may know of.
    pub async fn attributes(&self, path: &SharePath) -> Result<Attributes, Refusal> {
        if self.sees_tickets() && path.is_root() {
            return Ok(Attributes::directory(0o550, Time::now()));
        }
        if let Some(behind) = self.behind_new(path) {
            return Box::pin(self.attributes(&behind)).await.map(Attributes::read_only);
        }
        if let Some(place) = self.virtual_place(path).await? {
            return Ok(place.attributes());
        }
        let (resolved, held) = self.locate_with_upload(path).await?;
        Ok(match (&resolved.entry, held) {
            // An upload that began a moment ago has no row yet.
            (None, Some(queue)) => self.attributes_of_upload(&queue),
            (_, held) => {
                let found = self.attributes_of(resolved.existing()?, resolved.from_support, held.as_deref());
                let newest = if resolved.names.is_empty() { self.newest_in(&resolved).await? } else { None };
                Attributes { modified: newest.unwrap_or(found.modified), ..found }
            }
        })
    }

    /// Opens a directory.
    ///
    /// # Errors
    /// If there is none.
    pub async fn list(&self, path: &SharePath) -> Result<Listing, Refusal> {
        if let Some(behind) = self.behind_new(path) {
            return self.list_new(&behind).await;
        }
        if let Some(place) = self.virtual_place(path).await? {
            return self.record_refusal(path, place.list(self)).await;
        }
        Ok(match self.locate(path).await? {
            Place::Top => Listing::of_tickets(self.clone(), None),
            Place::In(resolved) => {
                self.record_refusal(path, Self::check(&resolved, Operation::List)).await?;
                let directory = resolved.directory()?;
                self.note_listing(&resolved.context.ticket, directory);
                Listing::of_directory(self.clone(), *resolved, directory).await?
            }
        })
    }

    /// MKDIR.
    ///
    /// # Errors
    /// If the name is taken, or this login may not.
    pub async fn make_directory(&self, path: &SharePath) -> Result<(), Refusal> {
        self.change_names(path, async { with_keys_in_force!(self.try_make_directory(path).await) }).await
    }

    /// Everything that makes, moves or removes a name passes here, but uploads: it takes one of the
    /// login's allowance, and gives it back if nothing came of it.
    async fn change_names(
        &self,
        path: &SharePath,
        change: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Refusal> {
        let outcome = match self.access().name_changes.take(self.login().name()) {
            Err(refusal) => Err(refusal.into()),
            Ok(allowed) => {
                let outcome = change.await;
                if outcome.is_ok() {
                    allowed.done();
                }
                outcome
            }
        };
        self.record_refusal(path, outcome).await
    }

    async fn try_make_directory(&self, path: &SharePath) -> Result<(), Error> {
        let resolved = self.locate_in_share(path).await?;
        if resolved.entry.is_some() || resolved.taken {
            return Err(Refusal::AlreadyExists.into());
        }
        let (parent, name, _) = resolved.changeable()?;
        if self.access().uploads.registry.by_name(parent, name).is_some() {
            return Err(Refusal::AlreadyExists.into());
        }
        let id = vault::random::array()?;
        let place = resolved.context.keys.place(id, parent, name)?;
        let mut tx = self.repo().records.begin().await?;
        self.check_may_change(tx.conn(), &resolved, Operation::MakeDirectory).await?;
        Way::up_from(tx.conn(), &resolved.context, parent).await?.check_room(name)?;
        check_room_for_name(tx.conn(), &resolved.context.ticket, &self.repo().settings).await?;
        let new = NewEntry {
            id,
            share: resolved.context.share(),
            place: Some(&place),
            is_directory: true,
            mode: DIRECTORY_MODE,
            modified_at: Time::now(),
            predecessor: None,
        };
        entries::add(tx.conn(), &new).await?;
        self.note(tx.conn(), audit::Kind::DirectoryMade, &resolved.context.ticket, id).await?;
        tx.commit().await?;
        if resolved.rights.sees_own_only() {
            self.login.0.sent().add(id);
        }
        Ok(())
    }

    /// RMDIR.
    ///
    /// # Errors
    /// If there is none, it is not empty, or this login may not.
    pub async fn remove_directory(&self, path: &SharePath) -> Result<(), Refusal> {
        self.change_names(path, async { with_keys_in_force!(self.try_remove_directory(path).await) }).await
    }

    async fn try_remove_directory(&self, path: &SharePath) -> Result<(), Error> {
        let resolved = self.locate_in_share(path).await?;
        resolved.changeable()?;
        Self::check(&resolved, Operation::RemoveDirectory)?;
        let directory = resolved.directory()?;
        if !self.access().uploads.registry.in_directory(directory).is_empty() {
            return Err(Refusal::NotEmpty.into());
        }
        let mut tx = self.repo().records.begin().await?;
        self.check_may_change(tx.conn(), &resolved, Operation::RemoveDirectory).await?;
        if !entries::is_empty(tx.conn(), directory).await? {
            return Err(Refusal::NotEmpty.into());
        }
        if !entries::remove_directory(tx.conn(), directory.as_bytes(), Time::now()).await? {
            return Err(Refusal::NoSuchFile.into());
        }
        self.note(tx.conn(), audit::Kind::DirectoryRemoved, &resolved.context.ticket, *directory.as_bytes()).await?;
        Ok(tx.commit().await?)
    }

    /// REMOVE: the file is withdrawn, with all its versions. An upload of it that is under way is
    /// ended.
    ///
    /// # Errors
    /// If there is no such file, or this login may not.
    pub async fn remove_file(&self, path: &SharePath) -> Result<(), Refusal> {
        self.change_names(path, async { with_keys_in_force!(self.try_remove_file(path).await) }).await
    }

    async fn try_remove_file(&self, path: &SharePath) -> Result<(), Error> {
        let (resolved, held) = self.locate_with_upload(path).await?;
        let (parent, _, index) = resolved.changeable()?;
        Self::check(&resolved, Operation::Delete)?;
        if resolved.taken {
            return Err(Refusal::NoSuchFile.into());
        }
        if let Some(queue) = held {
            self.check_may_change(&mut *self.repo().records.read().await?, &resolved, Operation::Delete).await?;
            queue.preempt().await?;
        }
        let now = Time::now();
        let mut tx = self.repo().records.begin().await?;
        self.check_may_change(tx.conn(), &resolved, Operation::Delete).await?;
        let row = entries::by_name(tx.conn(), parent, index).await?.ok_or(Error::Refused(Refusal::NoSuchFile))?;
        if row.is_directory {
            return Err(Refusal::IsDirectory.into());
        }
        if let Some(receiving) = row.receiving {
            discard(tx.conn(), receiving.id, &resolved.context.ticket, &self.login().actor(), self.repo().clock.now())
                .await?;
            entries::set_versions(tx.conn(), &row.id, row.current.map(|version| version.id), None).await?;
        }
        if !withdrawn::withdraw(tx.conn(), &row.id, now, self.repo().clock.now()).await? {
            return Err(Refusal::NoSuchFile.into());
        }
        self.note(tx.conn(), audit::Kind::ArtifactWithdrawn, &resolved.context.ticket, row.id).await?;
        let current = row.current.map(|version| version.id).filter(|_| !resolved.from_support);
        let tells = notices::deleted(tx.conn(), self.repo(), &resolved.context.ticket, current, now).await?;
        self.repo().failpoints.hit("withdraw.before-commit");
        tx.commit().await?;
        self.repo().failpoints.hit("withdraw.after-commit");
        if tells {
            self.access().notices.queued();
        }
        Ok(())
    }

    /// RENAME. With `replace` (posix-rename) a file that has the new name already becomes the older
    /// version of this one.
    ///
    /// # Errors
    /// If there is nothing to rename, the new name is taken, or this login may not.
    pub async fn rename(&self, from: &SharePath, to: &SharePath, replace: bool) -> Result<(), Refusal> {
        self.change_names(from, async { with_keys_in_force!(self.try_rename(from, to, replace).await) }).await
    }

    async fn try_rename(&self, from: &SharePath, to: &SharePath, replace: bool) -> Result<(), Error> {
        let (source, held) = self.locate_with_upload(from).await?;
        let (source_parent, _, source_index) = source.changeable()?;
        Self::check(&source, Operation::Rename)?;
        if source.taken {
            return Err(Refusal::NoSuchFile.into());
        }
        if let Some(queue) = held {
            // Renamed while open: its row must exist, and the upload goes on under the new name.
            queue.record().await?;
        }
        let (target, held) = self.locate_with_upload(to).await?;
        if source.context.share() != target.context.share() {
            return Err(Refusal::AcrossShares.into());
        }
        if target.taken {
            return Err(Refusal::AlreadyExists.into());
        }
        Self::check(&target, Operation::Rename)?;
        let (directory, name, index) = target.changeable()?;
        let now = Time::now();
        let mut tx = self.repo().records.begin().await?;
        self.check_may_change(tx.conn(), &source, Operation::Rename).await?;
        self.check_may_change(tx.conn(), &target, Operation::Rename).await?;
        let way = Way::up_from(tx.conn(), &target.context, directory).await?;
        let missing = Error::Refused(Refusal::NoSuchFile);
        let row = entries::by_name(tx.conn(), source_parent, source_index).await?.ok_or(missing)?;
        if !row.is_directory && target.entry.is_none() {
            self.check_new_file(to, &target)?;
        }
        way.check_move(tx.conn(), &target.context, &row, name).await?;
        if held.is_some_and(|queue| queue.artifact().as_bytes() != &row.id) {
            return Err(Refusal::AlreadyExists.into());
        }
        let there = entries::by_name(tx.conn(), directory, index).await?;
        if let Some(there) = there.filter(|there| there.id != row.id) {
            if !replace || there.is_directory || row.is_directory {
                return Err(Refusal::AlreadyExists.into());
            }
            self.check_may_change(tx.conn(), &target, Operation::Overwrite).await?;
            if let Some(receiving) = there.receiving {
                discard(
                    tx.conn(),
                    receiving.id,
                    &target.context.ticket,
                    &self.login().actor(),
                    self.repo().clock.now(),
                )
                .await?;
            }
            let highest =
                there.number_base + versions::highest_number(tx.conn(), ArtifactId::from_bytes(there.id)).await?;
            if !entries::replace(tx.conn(), &**self.repo().keys.proofs(), &there.id, &row.id, highest, now).await? {
                return Err(Refusal::NoSuchFile.into());
            }
        }
        let place = source.context.keys.place(row.id, directory, name)?;
        entries::move_to(tx.conn(), &row.id, &place).await?;
        self.note(tx.conn(), audit::Kind::ArtifactRenamed, &source.context.ticket, row.id).await?;
        let announced = notices::renamed(tx.conn(), self.repo(), &source.context.ticket, row.id, name, now).await?;
        self.repo().failpoints.hit("rename.before-commit");
        tx.commit().await?;
        self.repo().failpoints.hit("rename.after-commit");
        self.access().uploads.registry.renamed(row.id, directory, name);
        self.access().sidecars.look_at(ArtifactId::from_bytes(row.id));
        if announced {
            self.access().notices.queued();
        }
        Ok(())
    }

    /// SETSTAT by path.
    ///
    /// # Errors
    /// If there is nothing, or this login may not.
    pub async fn change(&self, path: &SharePath, changes: Changes) -> Result<(), Refusal> {
        if let Some(size) = changes.size {
            // Through a handle a device may; by its path it would change what it has sent before,
            // which is no less than reading it back.
            let (resolved, held) = self.locate_with_upload(path).await?;
            if self.login.is_upload_only() {
                self.record_refusal(path, Self::check(&resolved, Operation::Read)).await?;
            }
            let is_mine = held.is_some_and(|queue| queue.session() == self.id);
            let mut upload = self.open_write(path, WriteMode::default()).await?;
            upload.change(Changes { size: Some(size), ..Changes::default() }).await?;
            // Only a CLOSE publishes: what is under way, or was cut, stays unfinished.
            if !is_mine && !upload.continues() {
                upload.close().await?;
            }
        }
        self.record_refusal(path, with_keys_in_force!(self.try_change(path, changes).await)).await
    }

    async fn try_change(&self, path: &SharePath, changes: Changes) -> Result<(), Error> {
        let (resolved, held) = self.locate_with_upload(path).await?;
        resolved.changeable()?;
        let asks = Operation::SetAttributes;
        self.check_may_change(&mut *self.repo().records.read().await?, &resolved, asks).await?;
        if let Some(queue) = &held {
            queue.set_attributes(changes.mode, changes.modified);
        }
        let row = match (&resolved.entry, held) {
            (Some(row), _) => row,
            // An upload without a row yet has taken the change.
            (None, Some(_)) => return Ok(()),
            (None, None) => return Err(Refusal::NoSuchFile.into()),
        };
        let mut tx = self.repo().records.begin().await?;
        self.check_may_change(tx.conn(), &resolved, asks).await?;
        entries::set_attributes(tx.conn(), &row.id, changes.mode.map(|mode| mode & 0o777), changes.modified).await?;
        Ok(tx.commit().await?)
    }

    /// Opens what is available under this path for reading.
    ///
    /// # Errors
    /// If there is no such file, it is still arriving, or what is stored is damaged.
    pub async fn open_read(&self, path: &SharePath) -> Result<Download, Refusal> {
        self.access().trail.room().await?;
        self.record_refusal(path, with_keys_in_force!(self.try_open_read(path).await)).await
    }

    async fn try_open_read(&self, path: &SharePath) -> Result<Download, Error> {
        if let Some(behind) = self.behind_new(path) {
            return Box::pin(self.try_open_read(&behind)).await;
        }
        if let Some(place) = self.virtual_place(path).await? {
            return place.open(self).await;
        }
        let (resolved, version) = self.readable_at(path).await?;
        let row = resolved.existing()?;
        let attributes =
            Attributes { kind: PlaceKind::File, size: version.length, mode: row.mode, modified: row.modified_at };
        let open = self.opens_for_reading(version.artifact, version.length);
        let grant = self.grant(&resolved.context.ticket, resolved.rights, (Operation::Read, resolved.side()));
        Ok(Download::of_version(self, grant, &resolved.context, &version, attributes).await?.keeping(open))
    }

    /// Whether a file may become this long, in bytes. A door that is told so before the first byte
    /// asks before it opens: opening may empty what is there.
    ///
    /// # Errors
    /// [`Refusal::FileTooLarge`].
    pub fn check_length(&self, length: u64) -> Result<(), Refusal> {
        if length > self.repo().settings.file_bytes { Err(Refusal::FileTooLarge) } else { Ok(()) }
    }

    /// Opens a file for writing: a new one, a new version, or one that is continued.
    ///
    /// # Errors
    /// If there is none and none shall be made, or this login may not.
    pub async fn open_write(&self, path: &SharePath, mode: WriteMode) -> Result<Upload, Refusal> {
        let handle = self.begin_upload(path, mode).await?;
        Ok(Upload::new(self, path, mode, handle))
    }

    /// A handle on the upload of a file: on a new one, or one more on this session's own that is
    /// under way.
    pub(super) async fn begin_upload(&self, path: &SharePath, mode: WriteMode) -> Result<UploadHandle, Refusal> {
        self.access().trail.room().await?;
        self.record_refusal(path, self.try_begin_upload(path, mode).await).await
    }

    async fn try_begin_upload(&self, path: &SharePath, mode: WriteMode) -> Result<UploadHandle, Error> {
        if self.access.is_draining() {
            return Err(Refusal::ShuttingDown.into());
        }
        // Each round that does not return has waited for another session's upload to end, or lost a
        // race by a moment.
        const ROUNDS: usize = 8;
        for _ in 0..ROUNDS {
            let then = self.access().uploads.registry.moment();
            let (resolved, held) = self.locate_with_upload(path).await?;
            if resolved.entry.as_ref().is_some_and(|row| row.is_directory) {
                return Err(Refusal::IsDirectory.into());
            }
            resolved.changeable()?;
            let standing = Self::check_may_write(&resolved)?;
            if resolved.taken {
                return Err(Refusal::AlreadyExists.into());
            }
            if mode.exclusive && mode.create && (resolved.entry.is_some() || held.is_some()) {
                return Err(Refusal::AlreadyExists.into());
            }
            if let Some(queue) = held {
                if queue.session() == self.id
                    && let Some(handle) = UploadHandle::join(self, &resolved, &queue)
                {
                    self.enqueue(
                        audit::Kind::UploadJoined,
                        &resolved.context.ticket,
                        *queue.artifact().as_bytes(),
                        json!({}),
                    );
                    if mode.truncate {
                        match handle.truncate(0).await {
                            // Another handle has closed it meanwhile: what is there now is the
                            // version to replace.
                            Err(Refusal::BadHandle) => continue,
                            outcome => outcome?,
                        }
                    }
                    return Ok(handle);
                }
                queue.preempt().await?;
                continue;
            }
            if resolved.entry.is_none() {
                if !mode.create {
                    return Err(Refusal::NoSuchFile.into());
                }
                self.check_new_file(path, &resolved)?;
                shape::check_new(&resolved.names)?;
                match check_room_for_file(standing, self.access()) {
                    Err(Refusal::QuotaExceeded)
                        if self.access().retention.make_room(resolved.context.keys.share).await? =>
                    {
                        continue;
                    }
                    outcome => outcome?,
                }
            }
            let told = |version| self.told(version);
            let opener = Opener { login: &self.login, session: self.id, told: &told };
            if let Some(begun) = upload::open(&self.access().uploads, &opener, &resolved, mode, then).await? {
                return Ok(UploadHandle::first(self, &resolved, begun));
            }
        }
        Err(Refusal::Fenced.into())
    }

    /// Whether this login may write a file there, as the share stood when the place was found. The
    /// transaction that writes looks again.
    fn check_may_write(resolved: &ResolvedPath) -> Result<Standing, Error> {
        let is_whole = resolved.entry.as_ref().is_some_and(|row| row.current.is_some());
        Self::check(resolved, if is_whole { Operation::Overwrite } else { Operation::Create })?;
        resolved.standing.ok_or(Error::Refused(Refusal::LoginEnded))
    }

    /// What the table of rights says of this at a place, as the share stood when it was found.
    pub(super) fn check(resolved: &ResolvedPath, operation: Operation) -> Result<(), Refusal> {
        let status = resolved.standing.map_or(resolved.rights.status, |standing| standing.status);
        Rights { status, ..resolved.rights }.check(operation, resolved.side())
    }

    /// Whether this login may change something at this place now.
    pub(crate) async fn check_may_change(
        &self,
        conn: &mut Conn,
        resolved: &ResolvedPath,
        operation: Operation,
    ) -> Result<(), Error> {
        let asks = (operation, resolved.side());
        let generation = rights::may_change(conn, &resolved.context.ticket, &self.login, asks).await?;
        if generation != resolved.context.keys.generation {
            return Err(Error::KeysReplaced);
        }
        Ok(())
    }
}

/// Whether a share may get one more file with something in it.
fn check_room_for_file(standing: Standing, access: &Access) -> Result<(), Refusal> {
    if standing.names >= access.repo.settings.names_per_share {
        return Err(Refusal::TooManyNames);
    }
    if standing.stored_bytes >= access.repo.settings.share_bytes { Err(Refusal::QuotaExceeded) } else { Ok(()) }
}
