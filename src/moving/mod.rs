//! Files from one ticket to another. What a share holds is sealed for that share, so its bytes are
//! sealed anew for the other one (`docs/design/a-move-seals-anew.md`): first all objects, which no row
//! knows yet, then one transaction that makes the file there, shreds it here, and tells the trail of
//! both. Killed before it, the file is where it was; behind it, where it is to be.

pub mod merging;
mod place;
mod sealing;
mod source;

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use self::place::Place;
use self::sealing::{SealedFile, SealedVersion};
use self::source::Source;
use crate::audit::{self, Actor, Kind, Subject, told};
use crate::model::{ArtifactId, Identifier, SharePath, TicketStatus, Time, VersionId, VersionState};
use crate::namespace::tree::is_from_support;
use crate::notices::{self, Came, Notices};
use crate::records::entries::{self, Link, NewEntry};
use crate::records::moves::{self, Move, NewPlace};
use crate::records::proofs::{Proof, Proved};
use crate::records::tickets::{self, Ticket};
use crate::records::versions::VersionRow;
use crate::records::{Conn, extents, objects, version_chain, withdrawn};
use crate::repo::keys::ShareKeys;
use crate::repo::tickets::{check_room_for_name, existing_ticket};
use crate::repo::{Error, Repo};
use crate::retention::hold::refuse_held;
use crate::retention::{Retention, Rule, put_right, shred_version};
use crate::tickets::Tickets;

/// How often a move begins anew because the keys of a share were replaced meanwhile.
const ROUNDS: usize = 3;

/// How a file is to be moved.
#[derive(Debug, Clone, Default)]
pub struct MoveWish {
    /// Where it is to lie; none: under the path that it has.
    pub path: Option<SharePath>,
    /// Whether it may come before the eyes of another organisation.
    pub to_other_organisation: bool,
}

/// What moving a file came to.
#[derive(Debug, Clone, Serialize)]
pub struct Moved {
    /// The artifact's id before.
    pub id: String,
    /// Its id from now on.
    pub new_id: String,
    /// The ticket that it lay in.
    pub from: String,
    /// The ticket that it lies in.
    pub to: String,
    /// Where it lies there.
    pub path: String,
    /// How many of its versions can be read.
    pub versions: u64,
    /// The bytes that were sealed anew.
    pub bytes: u64,
    /// Whether the journal of the records still holds the keys that were destroyed in the old place,
    /// as somebody read for too long; the server empties it within minutes.
    pub journal_owed: bool,
}

/// Where an artifact is, and where it was.
#[derive(Debug, Clone, Serialize)]
pub struct ArtifactPlace {
    /// The id that was asked for.
    pub id: String,
    /// The id by which it goes now.
    pub current_id: String,
    /// The ticket that it lies in.
    pub ticket: String,
    /// Where it lies there, or lay when it went out of sight.
    pub path: String,
    /// Its newest version.
    pub version: u64,
    /// Where that stands.
    pub state: VersionState,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its content, once there is one.
    pub sha256: Option<String>,
    /// Who sent it.
    pub uploaded_by: String,
    /// When it became available.
    pub received_at: Option<Time>,
    /// Each move of it that is known, the oldest first.
    pub moves: Vec<MoveLine>,
}

/// One move of a file.
#[derive(Debug, Clone, Serialize)]
pub struct MoveLine {
    /// The ticket that it lay in.
    pub from: String,
    /// Its id there.
    pub id: String,
    /// The ticket that it went to.
    pub to: String,
    /// Its id there.
    pub new_id: String,
    /// When.
    pub moved_at: Time,
}

impl From<&Move> for MoveLine {
    fn from(row: &Move) -> Self {
        Self {
            from: row.ticket.to_string(),
            id: row.artifact.to_string(),
            to: row.to_ticket.to_string(),
            new_id: row.to_artifact.to_string(),
            moved_at: row.moved_at,
        }
    }
}

/// Moves files between tickets.
pub struct Moving {
    repo: Arc<Repo>,
    retention: Arc<Retention>,
    notices: Arc<Notices>,
    tickets: Tickets,
}

impl Moving {
    pub(crate) fn of(repo: &Arc<Repo>, retention: &Arc<Retention>, notices: &Arc<Notices>) -> Self {
        let (retention, notices) = (Arc::clone(retention), Arc::clone(notices));
        Self { repo: Arc::clone(repo), retention, notices, tickets: Tickets::of(repo) }
    }

    /// Moves a file with all its versions to another ticket. It is at each moment in exactly one of
    /// both.
    ///
    /// # Errors
    /// A sentence that says what is in the way: there is no such file, it is out of sight, damaged or
    /// under way, a ticket is closed or held, something stands in the new place, the ticket has no
    /// room, or it is another organisation's and nobody said that it may; or if records or store fail.
    pub async fn move_artifact(&self, id: ArtifactId, to: &Identifier, wish: &MoveWish) -> Result<Moved, Error> {
        let mut rounds = 1;
        loop {
            match self.try_to_move(id, to, wish).await {
                Err(Error::KeysReplaced) if rounds < ROUNDS => rounds += 1,
                other => return other,
            }
        }
    }

    async fn try_to_move(&self, id: ArtifactId, to: &Identifier, wish: &MoveWish) -> Result<Moved, Error> {
        let mut conn = self.repo.records.read().await?;
        let source = Source::find(&self.repo, &mut conn, id).await?;
        let target = self.target(&mut conn, &source, to, wish).await?;
        let keys = self.repo.keys.share(target.share).await?;
        Place::find(&mut conn, &keys, &source.path_in_target(wish)?).await?;
        drop(conn);
        self.check_room(&target, source.bytes())?;

        let mut sealed = SealedFile::new(target.share, source.entries.len())?;
        let outcome = match sealed.seal(&self.repo, &source).await {
            Ok(()) => self.commit(id, &source, &mut sealed, to, wish).await,
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            // No row knows them. What stays in a crash is a stray, and goes as one.
            sealed.discard(&self.repo).await;
        }
        let mut moved = outcome?;
        moved.journal_owed = !self.retention.empty_owed_journal().await?;
        self.notices.queued();
        tracing::info!(from = %source.ticket.reference, to = %to, artifact = %id, now = %moved.new_id, "a file was moved");
        Ok(moved)
    }

    /// The ticket that a file is to go to.
    async fn target(
        &self,
        conn: &mut Conn,
        source: &Source,
        to: &Identifier,
        wish: &MoveWish,
    ) -> Result<Ticket, Error> {
        let target = existing_ticket(conn, to).await?;
        target.check(&**self.repo.keys.proofs())?;
        self.check_pair(conn, &source.ticket, &target, wish.to_other_organisation).await?;
        Ok(target)
    }

    /// Whether files of one ticket may go to another.
    async fn check_pair(&self, conn: &mut Conn, source: &Ticket, target: &Ticket, other: bool) -> Result<(), Error> {
        let to = &target.reference;
        if target.share == source.share {
            return Err(Error::operator(format!("it lies in ticket {to} already")));
        }
        self.check_takes(conn, source).await?;
        if target.status == TicketStatus::Closed {
            return Err(Error::operator(format!(
                "ticket {to} is closed and takes nothing; 'tacdrop ticket reopen {to}' opens it again"
            )));
        }
        if target.organisation != source.organisation && !other {
            return Err(Error::operator(format!(
                "ticket {to} is of organisation {}, and ticket {} of {}: moving there SHOWS FILES OF ONE CUSTOMER TO \
                 ANOTHER; if that is what you want, say so with --yes",
                target.organisation, source.reference, source.organisation
            )));
        }
        Ok(())
    }

    /// Whether files may be taken out of a ticket.
    async fn check_takes(&self, conn: &mut Conn, source: &Ticket) -> Result<(), Error> {
        let reference = &source.reference;
        if source.status == TicketStatus::Closed {
            return Err(Error::operator(format!(
                "ticket {reference} is closed, so nothing is moved out of it; 'tacdrop ticket reopen {reference}' opens it \
                 again"
            )));
        }
        refuse_held(conn, reference).await
    }

    /// Whether something stands under this path of a ticket, or on the way to it.
    async fn is_taken(&self, conn: &mut Conn, ticket: &Identifier, path: &SharePath) -> Result<bool, Error> {
        let keys = self.repo.keys.share(existing_ticket(conn, ticket).await?.share).await?;
        Place::is_taken(conn, &keys, path).await
    }

    /// Whether share and disk have room, before anything is written. The share is asked again in the
    /// transaction.
    fn check_room(&self, target: &Ticket, bytes: u64) -> Result<(), Error> {
        if target.stored_bytes.saturating_add(bytes) > self.repo.settings.share_bytes {
            return Err(no_room(target, bytes));
        }
        if self.repo.disk_space.free()? < bytes {
            return Err(Error::operator(format!(
                "the file is sealed anew for ticket {}, and the disk has no room for another {bytes} bytes; nothing was \
                 moved",
                target.reference
            )));
        }
        Ok(())
    }

    /// Makes the file in its new place and shreds it in its old one, in one transaction.
    async fn commit(
        &self,
        id: ArtifactId,
        source: &Source,
        sealed: &mut SealedFile,
        to: &Identifier,
        wish: &MoveWish,
    ) -> Result<Moved, Error> {
        let repo = &self.repo;
        sealed.check_age(&repo.settings)?;
        let mut tx = repo.records.begin().await?;
        let now = Source::find(repo, tx.conn(), id).await?;
        if !now.is_as(source) {
            return Err(Error::operator("the file was changed while it was moved, and stays where it is; try again"));
        }
        let target = self.target(tx.conn(), &now, to, wish).await?;
        if target.share != sealed.share {
            return Err(Error::operator(format!("ticket {to} was replaced meanwhile; nothing was moved")));
        }
        // No rotation can end while this transaction lasts, so these are the ones in force.
        let keys = repo.keys.share(target.share).await?;
        let path = now.path_in_target(wish)?;
        if !tickets::reserve(tx.conn(), target.share, sealed.bytes, repo.settings.share_bytes).await? {
            return Err(no_room(&target, sealed.bytes));
        }
        let place = Place::find(tx.conn(), &keys, &path).await?;
        let directory = place.make(tx.conn(), repo, &keys, &target).await?;
        self.add_entries(tx.conn(), &now, sealed, &keys, &target, (directory, &place)).await?;
        sealed.add_objects(tx.conn()).await?;
        for (version, row) in &now.versions {
            self.add_version(tx.conn(), &keys, &target, row, version.came_at(), sealed.version(row.id)?).await?;
        }
        let new_id = sealed.entry(now.file.id)?;
        let current = now.file.current.map(|current| sealed.version(current.id)).transpose()?;
        entries::set_versions(tx.conn(), new_id.as_bytes(), current.map(|version| version.id), None).await?;
        let from_support = path.names().first().is_some_and(is_from_support);
        self.announce(tx.conn(), &keys, &target, sealed, (current.map(|version| version.id), from_support)).await?;

        let old_id = ArtifactId::from_bytes(now.file.id);
        let versions = sealed.readable();
        let row = Move {
            artifact: old_id,
            share: now.ticket.share,
            ticket: now.ticket.reference.clone(),
            to_artifact: new_id,
            to_share: target.share,
            to_ticket: target.reference.clone(),
            moved_at: Time::now(),
        };
        moves::add(tx.conn(), &row).await?;
        let detail = json!({ "to": target.reference.as_str(), "artifact": new_id.to_string(), "versions": versions });
        note(tx.conn(), Kind::ArtifactMovedOut, &now.ticket.reference, old_id.as_bytes(), &detail).await?;
        let detail =
            json!({ "from": now.ticket.reference.as_str(), "artifact": old_id.to_string(), "versions": versions });
        note(tx.conn(), Kind::ArtifactMovedIn, &target.reference, new_id.as_bytes(), &detail).await?;

        for (version, _) in now.versions.iter().filter(|(version, _)| version.has_key) {
            if !shred_version(tx.conn(), repo, &now.ticket.reference, version, Rule::Moved, None).await? {
                return Err(Error::operator("the old place of the file cannot be shredded; nothing was moved"));
            }
        }
        put_right(tx.conn(), repo, &now.file.id).await?;
        repo.failpoints.hit("move.before-commit");
        // Whatever is answered from here on, the rows may know them.
        sealed.keep();
        tx.commit().await?;
        repo.failpoints.hit("move.after-commit");
        Ok(Moved {
            id: old_id.to_string(),
            new_id: new_id.to_string(),
            from: now.ticket.reference.to_string(),
            to: target.reference.to_string(),
            path: path.to_string(),
            versions,
            bytes: sealed.bytes,
            journal_owed: false,
        })
    }

    /// The entries of the file's chain, the oldest first: each but the newest at once as one whose
    /// place was taken.
    async fn add_entries(
        &self,
        conn: &mut Conn,
        now: &Source,
        sealed: &SealedFile,
        keys: &ShareKeys,
        target: &Ticket,
        (directory, place): (crate::model::DirectoryId, &Place),
    ) -> Result<(), Error> {
        let mut before: Option<ArtifactId> = None;
        check_room_for_name(conn, &target.reference, &self.repo.settings).await?;
        for old in &now.entries {
            let id = sealed.entry(old.id)?;
            if let Some(before) = before {
                withdrawn::withdraw(conn, before.as_bytes(), Time::now(), self.repo.clock.now()).await?;
                withdrawn::mark_replaced(conn, before.as_bytes(), Time::now()).await?;
            }
            let named = keys.place(*id.as_bytes(), directory, place.name())?;
            let new = NewEntry {
                id: *id.as_bytes(),
                share: target.share,
                place: Some(&named),
                is_directory: false,
                mode: old.mode,
                modified_at: old.modified_at,
                predecessor: before.map(|before| (*before.as_bytes(), old.number_base)),
            };
            entries::add(conn, &new).await?;
            if let Some(before) = before {
                let link =
                    Link { entry: new.id, share: new.share, predecessor: *before.as_bytes(), proof: Proof::default() };
                entries::prove_link(conn, &**self.repo.keys.proofs(), &link).await?;
            }
            before = Some(id);
        }
        Ok(())
    }

    /// The row of a version, and what the trail tells of it.
    async fn add_version(
        &self,
        conn: &mut Conn,
        keys: &ShareKeys,
        target: &Ticket,
        old: &VersionRow,
        came_at: Time,
        new: &SealedVersion,
    ) -> Result<(), Error> {
        let subject =
            Subject { actor: &Actor::Operator, ticket: Some(&target.reference), id: Some(*new.id.as_bytes()) };
        let wrapped = new.file_key.as_ref().map(|key| keys.wrap_file_key(new.id, key)).transpose()?;
        let mut detail = json!({
            "from": old.id.to_string(),
            "artifact": new.artifact.to_string(),
            "number": old.number,
            "sender": old.uploaded_by,
            "was": old.state,
        });
        if let (Some((_, hash)), Some(sha256)) = (new.manifest, &old.sha256) {
            detail["bytes"] = json!(old.length);
            detail["manifest"] = json!(hex::encode(hash));
            detail["digest"] = json!(hex::encode(told::digest(self.repo.keys.trail(), new.id, sha256)));
        }
        if old.transport.is_weak() {
            detail["transport"] = json!(old.transport);
        }
        let kind = if old.received_at.is_some() {
            detail["received"] = json!(came_at.millis());
            Kind::VersionMoved
        } else {
            // It was given up before it was whole: all that is left of it is its number.
            Kind::VersionDiscarded
        };
        audit::write(conn, kind, subject, &detail).await?;
        let place = NewPlace {
            id: new.id,
            artifact: new.artifact,
            key_generation: keys.generation,
            file_key: wrapped.as_ref().map(|wrapped| &wrapped.as_bytes()[..]),
            manifest: new.manifest,
            progress: new.progress.as_deref(),
            at: self.repo.clock.now(),
        };
        moves::add_version(conn, old.id, &place).await?;
        if !extents::use_by(conn, new.id, &new.extents).await? {
            return Err(Error::operator("an extent of the moved file is gone; nothing was moved"));
        }
        if let Some((object, bytes)) = &new.manifest_in_records {
            objects::put(conn, &[(*object, &bytes[..])]).await?;
        }
        Ok(())
    }

    /// Who works on the target is told of each version that can be read, as of one that came; its
    /// customers are told of the current one of what support hands back.
    async fn announce(
        &self,
        conn: &mut Conn,
        keys: &ShareKeys,
        target: &Ticket,
        sealed: &SealedFile,
        (current, from_support): (Option<VersionId>, bool),
    ) -> Result<(), Error> {
        let is_told =
            |version: &&SealedVersion| version.file_key.is_some() && (!from_support || current == Some(version.id));
        for version in sealed.versions().filter(is_told) {
            let came = if from_support { Came::FromSupport } else { Came::FromCustomer(None) };
            let ids = (version.artifact, version.id);
            notices::announce(conn, &self.repo, keys, &target.reference, ids, came, Time::now()).await?;
        }
        Ok(())
    }

    /// Where an artifact is, by the id that it has now or had before it was moved.
    ///
    /// # Errors
    /// A sentence if nothing is known of that id; or if the records fail.
    pub async fn artifact(&self, id: ArtifactId) -> Result<ArtifactPlace, Error> {
        let mut conn = self.repo.records.read().await?;
        let current = source::newest_id(&mut conn, id).await?.ok_or_else(|| source::unknown(id))?;
        let row = entries::by_id(&mut conn, current.as_bytes()).await?.ok_or_else(|| source::unknown(id))?;
        if row.is_directory {
            return Err(source::is_directory());
        }
        let ticket = tickets::by_share(&mut conn, row.share).await?.ok_or_else(|| source::unknown(id))?;
        let ticket = existing_ticket(&mut conn, &ticket.reference).await?;
        let keys = self.repo.keys.share(row.share).await?;
        let path = crate::namespace::tree::path_of(&mut conn, &keys, current.as_bytes()).await?;
        let history = version_chain::of_file(&mut conn, current.as_bytes()).await?;
        let shown = history.iter().find(|version| version.current).or(history.last());
        let shown = shown.ok_or_else(|| source::unknown(id))?;
        let mut all = Vec::new();
        let mut at = current;
        while all.len() < source::MOVES_SHOWN
            && let Some(row) = moves::to(&mut conn, at).await?
        {
            at = row.artifact;
            all.push(MoveLine::from(&row));
        }
        all.reverse();
        Ok(ArtifactPlace {
            id: id.to_string(),
            current_id: current.to_string(),
            ticket: ticket.reference.to_string(),
            path: path.to_string(),
            version: shown.number,
            state: shown.state,
            size: if shown.state.is_unfinished() { shown.resumable_at } else { shown.length },
            sha256: shown.sha256.map(hex::encode),
            uploaded_by: shown.uploaded_by.clone(),
            received_at: shown.received_at,
            moves: all,
        })
    }
}

fn no_room(target: &Ticket, bytes: u64) -> Error {
    Error::operator(format!(
        "ticket {} has no room for another {bytes} bytes (limits.share_gib); nothing was moved",
        target.reference
    ))
}

async fn note_of_ticket(
    conn: &mut Conn,
    kind: Kind,
    ticket: &Identifier,
    detail: &serde_json::Value,
) -> Result<(), Error> {
    let subject = Subject { actor: &Actor::Operator, ticket: Some(ticket), id: None };
    Ok(audit::write(conn, kind, subject, detail).await?)
}

async fn note(
    conn: &mut Conn,
    kind: Kind,
    ticket: &Identifier,
    id: &[u8; 16],
    detail: &serde_json::Value,
) -> Result<(), Error> {
    let subject = Subject { actor: &Actor::Operator, ticket: Some(ticket), id: Some(*id) };
    Ok(audit::write(conn, kind, subject, detail).await?)
}
