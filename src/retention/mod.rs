//! Withdrawing, restoring and shredding files, and the list of all versions. `docs/lifecycle.md`
//! has the rules.
//!
//! Commands do this while the server runs, so every change is guarded by what the rows say when it
//! is written. An upload that is under way finds out at its next write to the records, and fails.

pub(crate) mod certificate;
pub(crate) mod expiry;
pub(crate) mod hold;
pub(crate) mod policy;
pub(crate) mod sweep;
pub(crate) mod ticket;

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use crate::audit::{self, Actor, Kind, Subject};
use crate::model::{
    ArtifactId, DirectoryId, FileName, HouseTime, Identifier, ObjectId, Refusal, SharePath, Time, Transport, VersionId,
    VersionState, missing_percent,
};
use crate::namespace::PublicAddress;
use crate::namespace::location::openable;
use crate::namespace::tree::{ResolvedPath, ShareContext, way_of};
use crate::notices::Notices;
use crate::records::entries::{self, EntryRow};
use crate::records::version_chain::{self, ChainVersion};
use crate::records::{Conn, RecordsError, extents, facts, holds, versions, withdrawn};
use crate::repo::set_aside::or_left_out;
use crate::repo::tickets::check_room_for_name;
use crate::repo::tickets::existing_ticket;
use crate::repo::{Error, Repo, Settings};

/// Says whether somebody sends a file now.
pub(crate) type IsHeld = Box<dyn Fn(ArtifactId) -> bool + Send + Sync>;

/// What is taken away: by customers, by operators, and by the clock.
pub struct Retention {
    repo: Arc<Repo>,
    notices: Arc<Notices>,
    is_held: IsHeld,
    /// Held by the one who removes objects: the lock among processes is asked for, not waited for.
    removing: tokio::sync::Mutex<()>,
}

impl Retention {
    pub(crate) fn of(repo: &Arc<Repo>, notices: &Arc<Notices>, is_held: IsHeld) -> Arc<Self> {
        Arc::new(Self {
            repo: Arc::clone(repo),
            notices: Arc::clone(notices),
            is_held,
            removing: tokio::sync::Mutex::default(),
        })
    }
}

/// Why a key was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing more came of an unfinished upload.
    Expired,
    /// The grace of a withdrawn file is over.
    Withdrawn,
    /// An operator said so.
    Operator,
    /// The file is in another ticket now.
    Moved,
}

impl Rule {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Operator => "operator",
            Self::Moved => "moved",
        }
    }

    const fn actor(self) -> &'static Actor {
        match self {
            Self::Expired | Self::Withdrawn => &Actor::Server,
            Self::Operator | Self::Moved => &Actor::Operator,
        }
    }
}

/// A version of a file, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct VersionLine {
    /// The id of the artifact that it belongs to.
    pub id: String,
    /// Where the file lies in the share, or lay when it was withdrawn.
    pub path: String,
    /// Its number, counted over the file's whole history.
    pub version: u64,
    /// Where it stands.
    pub state: VersionState,
    /// Whether readers get this one.
    pub current: bool,
    /// Bytes; of an unfinished one, those that an upload would continue behind.
    pub size: u64,
    /// Of an unfinished one: how much of what is known to belong to it has not come, 1 to 100; none
    /// if nothing is known to be missing.
    pub missing_percent: Option<u8>,
    /// Bytes of it that were never sent: its sender left them out, or made it longer. They are
    /// zeros.
    pub zeros: u64,
    /// SHA-256 of its content, once there was one.
    pub sha256: Option<String>,
    /// Who sent it.
    pub uploaded_by: String,
    /// `legacy` if something of it came over weak encryption, by the listener for old devices.
    pub transport: Transport,
    /// When it was opened for writing.
    pub opened_at: Time,
    /// When it became available.
    pub received_at: Option<Time>,
    /// When its key will be destroyed if nothing happens until then and the server runs all the
    /// time.
    pub removed_at: Option<Time>,
    /// What an engineer opens for the current version of the file.
    pub location: String,
}

/// What withdrawing a file came to.
#[derive(Debug, Clone, Serialize)]
pub struct Withdrawn {
    /// The ticket.
    pub ticket: String,
    /// Where the file lay.
    pub path: String,
    /// How many versions can be restored.
    pub versions: u64,
    /// Until when, if the server runs all the time.
    pub removed_at: Time,
}

/// What restoring a file came to.
#[derive(Debug, Clone, Serialize)]
pub struct Restored {
    /// The ticket.
    pub ticket: String,
    /// Where the file lies.
    pub path: String,
    /// How many versions are back.
    pub versions: u64,
    /// Which one readers get.
    pub current: Option<u64>,
}

/// What shredding would take away.
#[derive(Debug, Clone, Serialize)]
pub struct ShredPlan {
    /// The ticket.
    pub ticket: String,
    /// Where the file lies or lay.
    pub path: String,
    /// The versions that nobody could read again.
    pub versions: Vec<u64>,
    /// Their bytes.
    pub bytes: u64,
    /// How many versions of the file would be left.
    pub left: u64,
}

/// What shredding came to.
#[derive(Debug, Clone, Serialize)]
pub struct Shredded {
    /// The ticket.
    pub ticket: String,
    /// Where the file lies or lay.
    pub path: String,
    /// The versions that nobody can read again.
    pub versions: Vec<u64>,
    /// The version that readers get now.
    pub current: Option<u64>,
    /// Whether the journal of the records still holds the destroyed keys, as somebody read for too
    /// long; the server empties it within minutes.
    pub journal_owed: bool,
}

/// A file that a command names.
struct Named {
    context: ShareContext,
    path: SharePath,
    row: EntryRow,
}

impl Retention {
    /// Every version of every file of a ticket, withdrawn and shredded ones too, by path and
    /// number.
    ///
    /// # Errors
    /// If there is no such ticket, or the records fail.
    pub async fn versions(&self, ticket: &Identifier, address: &PublicAddress) -> Result<Vec<VersionLine>, Error> {
        let mut conn = self.repo.records.read().await?;
        let share = existing_ticket(&mut conn, ticket).await?.share;
        let keys = self.repo.keys.share(share).await?;
        let (now, clock) = (self.repo.clock.now(), Time::now());
        let mut lines = Vec::new();
        let mut known: Option<([u8; 16], Option<SharePath>, String)> = None;
        for row in version_chain::of_share(&mut conn, share).await? {
            let (path, location) = match &known {
                Some((file, path, location)) if *file == row.file => (path.clone(), location.clone()),
                _ => {
                    let way = way_of(&mut conn, &keys, &row.file).await;
                    // One file without a path takes no list along.
                    let way = or_left_out(way, "the path of an artifact", &row.file)?;
                    let location =
                        way.as_ref().map_or_else(String::new, |way| address.location(ticket, &openable(way)));
                    let path = way.map(|way| way.path());
                    known = Some((row.file, path.clone(), location.clone()));
                    (path, location)
                }
            };
            let unfinished = row.state.is_unfinished();
            let left = removed_in(&row, &self.repo.settings, now);
            lines.push(VersionLine {
                id: row.artifact.to_string(),
                path: path.map_or_else(|| format!("(no readable path of {})", row.artifact), |path| path.to_string()),
                version: row.number,
                state: row.state,
                current: row.current,
                size: if unfinished { row.resumable_at } else { row.length },
                missing_percent: if unfinished { missing_percent(row.stored, row.length) } else { None },
                zeros: row.zeros,
                sha256: row.sha256.map(hex::encode),
                uploaded_by: row.uploaded_by,
                transport: row.transport,
                opened_at: row.opened_at,
                received_at: row.received_at,
                removed_at: left.map(|left| clock.plus(left)),
                location,
            });
        }
        // Files of the same path stay one behind the other: rows of one file come together, and
        // sorting is stable.
        lines.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(lines)
    }

    /// Takes a file out of sight, with all its versions, as if its uploader had deleted it.
    ///
    /// # Errors
    /// If there is no such file, or the records fail.
    pub async fn withdraw(&self, ticket: &Identifier, path: &SharePath) -> Result<Withdrawn, Error> {
        let now = self.repo.clock.not_before_now();
        let mut tx = self.repo.records.begin().await?;
        let named = self.in_sight(tx.conn(), ticket, path).await?.ok_or_else(|| no_artifact(ticket, path))?;
        if let Some(receiving) = named.row.receiving {
            discard(tx.conn(), receiving.id, ticket, &Actor::Operator, now).await?;
            let current = named.row.current.map(|version| version.id);
            entries::set_versions(tx.conn(), &named.row.id, current, None).await?;
        }
        if !withdrawn::withdraw(tx.conn(), &named.row.id, Time::now(), now).await? {
            return Err(no_artifact(ticket, path));
        }
        let history = version_chain::of_file(tx.conn(), &named.row.id).await?;
        let kept = history.iter().filter(|row| row.has_key).count() as u64;
        if kept == 0 {
            withdrawn::mark_shredded(tx.conn(), &named.row.id, Time::now()).await?;
        }
        note(tx.conn(), Kind::ArtifactWithdrawn, ticket, named.row.id).await?;
        self.repo.failpoints.hit("withdraw.before-commit");
        tx.commit().await?;
        self.repo.failpoints.hit("withdraw.after-commit");
        Ok(Withdrawn {
            ticket: ticket.to_string(),
            path: named.path.to_string(),
            versions: kept,
            removed_at: Time::now().plus(self.repo.settings.withdrawn),
        })
    }

    /// Puts the newest withdrawn file of this path back in its place.
    ///
    /// # Errors
    /// A sentence if there is none, its keys are gone, its directory is gone or its name is taken;
    /// or if the records fail.
    pub async fn restore(&self, ticket: &Identifier, path: &SharePath) -> Result<Restored, Error> {
        let mut tx = self.repo.records.begin().await?;
        match self.in_sight(tx.conn(), ticket, path).await {
            Ok(None) => {}
            Ok(Some(_)) | Err(Error::Refused(Refusal::IsDirectory)) => {
                return Err(Error::operator(format!(
                    "{path} of ticket {ticket} is there, so nothing can be restored in its place; have it renamed first"
                )));
            }
            Err(error) => return Err(error),
        }
        let named = self.out_of_sight(tx.conn(), ticket, path).await?.ok_or_else(|| {
            Error::operator(format!(
                "ticket {ticket} has no withdrawn artifact {path}; 'tacdrop artifact list {ticket} --versions' shows \
                 which can be restored"
            ))
        })?;
        let gone =
            || Error::operator(format!("the keys of {path} of ticket {ticket} are destroyed; nobody can restore it"));
        let history = version_chain::of_file(tx.conn(), &named.row.id).await?;
        let back = history.iter().filter(|row| row.has_key).count() as u64;
        if back == 0 {
            return Err(gone());
        }
        let (_, name) = path.split_last().ok_or_else(|| no_artifact(ticket, path))?;
        let no_directory = || {
            Error::operator(format!(
                "the directory that {path} lay in is gone; make it again over SFTP, and then restore the artifact"
            ))
        };
        let names = path.names();
        let above = names.get(..names.len().saturating_sub(1)).unwrap_or_default();
        let directory = match ResolvedPath::find(tx.conn(), named.context.clone(), above).await {
            Ok(resolved) => resolved.directory().map_err(|_| no_directory())?,
            Err(Error::Refused(_)) => return Err(no_directory()),
            Err(error) => return Err(error),
        };
        check_room_for_name(tx.conn(), ticket, &self.repo.settings).await?;
        // The directory may be another one of the same name: what it lay in can have been removed
        // and made again.
        let place = named.context.keys.place(named.row.id, directory, name)?;
        entries::move_to(tx.conn(), &named.row.id, &place).await?;
        match withdrawn::restore(tx.conn(), &named.row.id).await {
            Ok(true) => {}
            Ok(false) => return Err(gone()),
            Err(RecordsError::Exists) => return Err(Refusal::AlreadyExists.into()),
            Err(error) => return Err(error.into()),
        }
        let current = choose_current(tx.conn(), &named.row.id, true).await?;
        note(tx.conn(), Kind::ArtifactRestored, ticket, named.row.id).await?;
        self.repo.failpoints.hit("restore.before-commit");
        tx.commit().await?;
        self.repo.failpoints.hit("restore.after-commit");
        Ok(Restored { ticket: ticket.to_string(), path: named.path.to_string(), versions: back, current })
    }

    /// What [`shred`](Self::shred) with the same arguments would take away.
    ///
    /// # Errors
    /// As there.
    pub async fn plan_shred(
        &self,
        ticket: &Identifier,
        path: &SharePath,
        only: Option<u64>,
    ) -> Result<ShredPlan, Error> {
        let mut conn = self.repo.records.read().await?;
        let (named, doomed, left) = self.to_shred(&mut conn, ticket, path, only).await?;
        Ok(ShredPlan {
            ticket: ticket.to_string(),
            path: named.path.to_string(),
            versions: doomed.iter().map(|row| row.number).collect(),
            bytes: doomed.iter().map(|row| row.length).fold(0, u64::saturating_add),
            left,
        })
    }

    /// Destroys the keys of all versions of a file, or of one, for good. If there is no file of
    /// this path in sight, it is the newest withdrawn one. An older version takes the current one's
    /// place; without one the file goes out of sight.
    ///
    /// # Errors
    /// A sentence if there is no such file or version, its key is gone already, or the ticket is
    /// held; or if the records fail.
    pub async fn shred(&self, ticket: &Identifier, path: &SharePath, only: Option<u64>) -> Result<Shredded, Error> {
        let mut tx = self.repo.records.begin().await?;
        hold::refuse_held(tx.conn(), ticket).await?;
        let (named, doomed, _) = self.to_shred(tx.conn(), ticket, path, only).await?;
        for row in &doomed {
            shred_version(tx.conn(), &self.repo, ticket, row, Rule::Operator, None).await?;
        }
        let current = put_right(tx.conn(), &self.repo, &named.row.id).await?;
        self.repo.failpoints.hit("shred.before-commit");
        tx.commit().await?;
        self.repo.failpoints.hit("shred.after-commit");
        let journal_owed = !self.empty_owed_journal().await?;
        self.repo.failpoints.hit("shred.journal-emptied");
        Ok(Shredded {
            ticket: ticket.to_string(),
            path: named.path.to_string(),
            versions: doomed.iter().map(|row| row.number).collect(),
            current,
            journal_owed,
        })
    }

    /// The file, the versions that are to go, and how many with a key would be left.
    async fn to_shred(
        &self,
        conn: &mut Conn,
        ticket: &Identifier,
        path: &SharePath,
        only: Option<u64>,
    ) -> Result<(Named, Vec<ChainVersion>, u64), Error> {
        let named = match self.in_sight(conn, ticket, path).await? {
            Some(named) => named,
            None => self.out_of_sight(conn, ticket, path).await?.ok_or_else(|| no_artifact(ticket, path))?,
        };
        let history = version_chain::of_file(conn, &named.row.id).await?;
        if let Some(number) = only {
            match history.iter().find(|row| row.number == number) {
                Some(row) if row.has_key => {}
                Some(_) => {
                    return Err(Error::operator(format!("the key of version {number} of {path} is destroyed already")));
                }
                None => {
                    return Err(Error::operator(format!(
                        "{path} has no version {number}; 'tacdrop artifact list {ticket} --versions' shows them"
                    )));
                }
            }
        }
        let (doomed, left): (Vec<_>, Vec<_>) = history
            .into_iter()
            .filter(|row| row.has_key)
            .partition(|row| only.is_none_or(|number| row.number == number));
        if doomed.is_empty() {
            return Err(Error::operator(format!("the keys of {path} of ticket {ticket} are destroyed already")));
        }
        Ok((named, doomed, left.len() as u64))
    }

    /// The file that stands at a path; an error if it is a directory.
    async fn in_sight(&self, conn: &mut Conn, ticket: &Identifier, path: &SharePath) -> Result<Option<Named>, Error> {
        let context = self.context(conn, ticket).await?;
        match ResolvedPath::find(conn, context.clone(), path.names()).await {
            Ok(ResolvedPath { entry: Some(row), .. }) if row.is_directory => Err(Refusal::IsDirectory.into()),
            Ok(ResolvedPath { entry: Some(row), .. }) => Ok(Some(Named { context, path: path.clone(), row })),
            Ok(_) | Err(Error::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest withdrawn file of a path, if possible one that can be restored. Directories on
    /// the way may be out of sight, too.
    async fn out_of_sight(
        &self,
        conn: &mut Conn,
        ticket: &Identifier,
        path: &SharePath,
    ) -> Result<Option<Named>, Error> {
        let context = self.context(conn, ticket).await?;
        let Some((name, above)): Option<(&FileName, &[FileName])> = path.names().split_last() else { return Ok(None) };
        let mut directories = vec![DirectoryId::root_of(context.share())];
        for step in above {
            let mut next = Vec::new();
            for directory in directories {
                let index = context.keys.names.index(directory, step);
                next.extend(withdrawn::directories(conn, directory, &index).await?);
            }
            directories = next;
        }
        let mut files = Vec::new();
        for directory in directories {
            let index = context.keys.names.index(directory, name);
            files.extend(withdrawn::files(conn, directory, &index).await?);
        }
        let Some(newest) = files.into_iter().max_by_key(|row| (!row.shredded, row.since)) else { return Ok(None) };
        let row = entries::by_id(conn, &newest.id).await?;
        Ok(row.map(|row| Named { context, path: path.clone(), row }))
    }

    async fn context(&self, conn: &mut Conn, ticket: &Identifier) -> Result<ShareContext, Error> {
        let share = existing_ticket(conn, ticket).await?.share;
        Ok(ShareContext { ticket: ticket.clone(), keys: self.repo.keys.share(share).await?, aliases: false })
    }
}

impl Retention {
    /// Empties the journal if it may hold keys that were destroyed. False if it must be tried
    /// again.
    pub(crate) async fn empty_owed_journal(&self) -> Result<bool, Error> {
        let Some(owed) = facts::owed_journal(&mut *self.repo.records.read().await?).await? else { return Ok(true) };
        if !self.repo.records.empty_journal().await? {
            return Ok(false);
        }
        let mut tx = self.repo.records.begin().await?;
        facts::journal_emptied(tx.conn(), owed).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Destroys the key of a version, with an audit event. With `untouched_since` only of an unfinished
/// one that was not touched after that. Whether it was done: not of a ticket that is held.
pub(crate) async fn shred_version(
    conn: &mut Conn,
    repo: &Repo,
    ticket: &Identifier,
    row: &ChainVersion,
    rule: Rule,
    untouched_since: Option<HouseTime>,
) -> Result<bool, Error> {
    if holds::is_version_held(conn, row.id).await?
        || !versions::shred(conn, row.id, untouched_since, repo.clock.not_before_now()).await?
    {
        return Ok(false);
    }
    let subject = Subject { actor: rule.actor(), ticket: Some(ticket), id: Some(*row.id.as_bytes()) };
    let detail = json!({
        "rule": rule.as_str(),
        "key": "file key",
        "generation": row.key_generation,
        "artifact": row.artifact.to_string(),
        "was": row.state,
    });
    audit::write(conn, Kind::VersionShredded, subject, &detail).await?;
    Ok(true)
}

/// After versions of a file were shredded: an older one takes the place of the current one, and a
/// file of which nothing can be read or continued any more goes out of sight. Gives the number of
/// the version that readers get.
pub(crate) async fn put_right(conn: &mut Conn, repo: &Repo, file: &[u8; 16]) -> Result<Option<u64>, Error> {
    let current = choose_current(conn, file, false).await?;
    let Some(row) = entries::by_id(conn, file).await? else { return Ok(None) };
    if row.in_sight && row.current.is_none() && row.receiving.is_none() {
        // What the customer deleted, and a new upload of that name had saved, is withdrawn again.
        withdrawn::withdraw(conn, file, Time::now(), repo.clock.not_before_now()).await?;
    }
    if !version_chain::of_file(conn, file).await?.iter().any(|row| row.has_key) {
        withdrawn::mark_shredded(conn, file, Time::now()).await?;
    }
    Ok(current)
}

/// Points a file at the versions that there are. The current one stays unless it was shredded; then
/// the newest that can be read takes its place, and with `anew` also if there was none.
async fn choose_current(conn: &mut Conn, file: &[u8; 16], anew: bool) -> Result<Option<u64>, Error> {
    let Some(entry) = entries::by_id(conn, file).await? else { return Ok(None) };
    let history = version_chain::of_file(conn, file).await?;
    let kept = history.iter().find(|row| row.current && row.has_key);
    let readable = |row: &&ChainVersion| matches!(row.state, VersionState::Available | VersionState::Withdrawn);
    let current = match kept {
        Some(row) => Some(row),
        None if entry.current.is_some() || anew => history.iter().rev().find(readable),
        None => None,
    };
    let receiving = entry.receiving.map(|version| version.id);
    let receiving = receiving.filter(|id| history.iter().any(|row| row.id == *id && row.has_key));
    entries::set_versions(conn, file, current.map(|row| row.id), receiving).await?;
    Ok(current.map(|row| row.number))
}

/// How long a version has until its key is destroyed; none if nothing is going to happen to it.
fn removed_in(row: &ChainVersion, settings: &Settings, now: HouseTime) -> Option<std::time::Duration> {
    let due = match (row.has_key, row.withdrawn) {
        (false, _) => return None,
        (true, Some(since)) => since.plus(settings.withdrawn),
        (true, None) if row.state.is_unfinished() => row.touched_at.plus(settings.unfinished),
        (true, None) => return None,
    };
    let left = u64::try_from(due.millis().saturating_sub(now.millis())).unwrap_or(0);
    Some(std::time::Duration::from_millis(left))
}

fn no_artifact(ticket: &Identifier, path: &SharePath) -> Error {
    Error::operator(format!(
        "ticket {ticket} has no artifact {path}; 'tacdrop artifact list {ticket} --versions' shows what there is"
    ))
}

/// Tells the trail of what became of a ticket.
async fn note_of_ticket(
    conn: &mut Conn,
    kind: Kind,
    actor: &Actor,
    ticket: &Identifier,
    detail: &serde_json::Value,
) -> Result<(), RecordsError> {
    audit::write(conn, kind, Subject { actor, ticket: Some(ticket), id: None }, detail).await
}

async fn note(conn: &mut Conn, kind: Kind, ticket: &Identifier, id: [u8; 16]) -> Result<(), RecordsError> {
    let subject = Subject { actor: &Actor::Operator, ticket: Some(ticket), id: Some(id) };
    audit::write(conn, kind, subject, &json!({})).await
}

/// Gives up an unfinished version: its key goes, and extents that only it used are doomed. One that
/// has been published meanwhile stays what it is.
pub(crate) async fn discard(
    conn: &mut Conn,
    version: VersionId,
    ticket: &Identifier,
    actor: &Actor,
    now: HouseTime,
) -> Result<(), Error> {
    if !versions::shred_unfinished(conn, version).await? {
        return Ok(());
    }
    let used: Vec<ObjectId> = extents::of_version(conn, version).await?.iter().map(|extent| extent.id).collect();
    extents::release(conn, version, &used, now).await?;
    let subject = Subject { actor, ticket: Some(ticket), id: Some(*version.as_bytes()) };
    Ok(audit::write(conn, Kind::VersionDiscarded, subject, &json!({})).await?)
}
