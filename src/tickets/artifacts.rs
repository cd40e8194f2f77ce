//! What lies in a share, for operators and programs: lists, fetching, verification.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use crate::audit::{self, Actor, Kind, Subject};
use crate::content::sealed::current_version;
use crate::content::whole::read_all;
use crate::model::{
    Algorithm, ArtifactId, DirectoryId, FileName, Identifier, ShareId, SharePath, Time, Transport, Verdict,
    VersionState, missing_percent,
};
use crate::namespace::PublicAddress;
use crate::namespace::history::number_for_people;
use crate::namespace::location::openable;
use crate::namespace::tree::{self, Way};
use crate::records::Conn;
use crate::records::checks;
use crate::records::entries::{self, EntryRow};
use crate::records::versions::{self};
use crate::repo::keys::with_keys_in_force;
use crate::repo::set_aside::or_left_out;
use crate::repo::tickets::existing_ticket;
use crate::repo::{Error, Repo};

/// Rows that are read at once.
const PAGE: usize = 1000;

/// An artifact, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct ArtifactLine {
    /// The artifact's id.
    pub id: String,
    /// Where it lies in the share.
    pub path: String,
    /// Which version of it this is.
    pub version: u64,
    /// Bytes; of an unfinished one, those that an upload would continue behind.
    pub size: u64,
    /// Of an unfinished one: how much of what is known to belong to it has not come, 1 to 100; none
    /// if nothing is known to be missing.
    pub missing_percent: Option<u8>,
    /// Bytes of it that were never sent: its sender left them out, or made it longer. They are
    /// zeros.
    pub zeros: u64,
    /// SHA-256 of its content, once there is one.
    pub sha256: Option<String>,
    /// Where it stands.
    pub state: VersionState,
    /// Who sent it.
    pub uploaded_by: String,
    /// When it became available.
    pub received_at: Option<Time>,
    /// `legacy` if something of it came over weak encryption, by the listener for old devices.
    pub transport: Transport,
    /// What an engineer opens.
    pub location: String,
    /// What comparing it with digests that its sender uploaded beside it showed.
    pub sender_checks: Vec<SenderCheck>,
}

/// What comparing a file with its sender's digest showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SenderCheck {
    /// The digest's algorithm.
    pub algorithm: Algorithm,
    /// What it showed.
    pub result: Verdict,
}

/// The artifacts of a ticket, as operators list and fetch them.
pub struct Artifacts {
    pub(super) repo: Arc<Repo>,
}

impl Artifacts {
    pub(crate) fn of(repo: &Arc<Repo>) -> Self {
        Self { repo: Arc::clone(repo) }
    }

    /// The artifacts of a ticket, by path: of each the current version, or the one that is still
    /// arriving.
    ///
    /// # Errors
    /// If there is no such ticket, or the records fail.
    pub async fn list(&self, ticket: &Identifier, address: &PublicAddress) -> Result<Vec<ArtifactLine>, Error> {
        let mut conn = self.repo.records.read().await?;
        let share = existing_ticket(&mut conn, ticket).await?.share;
        let versions: HashMap<_, _> =
            versions::list(&mut conn, share).await?.into_iter().map(|version| (version.id, version)).collect();
        let mut compared: HashMap<_, Vec<_>> = HashMap::new();
        for row in checks::of_share(&mut conn, share).await? {
            compared.entry(row.version).or_default().push(row);
        }
        let mut lines = Vec::new();
        let files = with_keys_in_force!(self.files(&mut conn, share).await)?;
        for (way, row) in files {
            let path = way.path();
            let shown = row.current.map(|version| version.id).or(row.receiving.map(|version| version.id));
            let Some(version) = shown.and_then(|id| versions.get(&id)) else {
                let missing =
                    shown.map_or(Ok(()), |id| Err(Error::operator(format!("its version {id} cannot be read"))));
                or_left_out(missing, "an artifact", &row.id)?;
                continue;
            };
            let number = number_for_people(&mut conn, &row, version).await.map_err(Error::from);
            let Some(number) = or_left_out(number, "the number of an artifact", &row.id)? else { continue };
            let unfinished = version.state.is_unfinished();
            lines.push(ArtifactLine {
                id: ArtifactId::from_bytes(row.id).to_string(),
                path: path.to_string(),
                version: number,
                missing_percent: if unfinished { missing_percent(version.stored, version.length) } else { None },
                size: if version.sha256.is_some() { version.length } else { version.resumable_at },
                zeros: version.zeros,
                sha256: version.sha256.map(hex::encode),
                state: version.state,
                uploaded_by: version.uploaded_by.clone(),
                received_at: version.received_at,
                transport: version.transport,
                location: address.location(ticket, &openable(&way)),
                sender_checks: checks::of_each_algorithm(compared.remove(&version.id).unwrap_or_default())
                    .into_iter()
                    .map(|row| SenderCheck { algorithm: row.algorithm, result: row.verdict })
                    .collect(),
            });
        }
        lines.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(lines)
    }

    /// Every file of a share with the way to it.
    async fn files(&self, conn: &mut Conn, share: ShareId) -> Result<Vec<(Way, EntryRow)>, Error> {
        let keys = self.repo.keys.share(share).await?;
        let mut files = Vec::new();
        let mut directories = vec![(DirectoryId::root_of(share), Way::default())];
        while let Some((directory, way)) = directories.pop() {
            let mut after = None;
            loop {
                let page = entries::children(conn, directory, after, PAGE).await?;
                let ended = page.ended;
                after = page.last;
                for row in page.rows {
                    if row.name.is_none() {
                        continue;
                    }
                    let name = match keys.open_name(conn, &row).await {
                        Ok(name) => name,
                        Err(error) if error.is_temporary() => return Err(error),
                        // It stays in the list, and what lies below it, under a name that says
                        // which it is.
                        Err(error) => {
                            let id = ArtifactId::from_bytes(row.id);
                            tracing::error!(%id, %error, "a name cannot be read; run 'tacdrop store check'");
                            stand_in(&row.id)?
                        }
                    };
                    let way = way.join(name, row.id);
                    if row.is_directory {
                        directories.push((DirectoryId::from_bytes(row.id), way));
                    } else {
                        files.push((way, row));
                    }
                }
                if ended {
                    break;
                }
            }
        }
        Ok(files)
    }

    /// Decrypts the current version of an artifact and hands it to `sink` piece by piece, for the
    /// command line.
    ///
    /// # Errors
    /// If there is no such artifact, it is not available or damaged, or `sink` fails.
    pub async fn fetch(
        &self,
        ticket: &Identifier,
        path: &SharePath,
        mut sink: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<u64, Error> {
        let mut conn = self.repo.records.read().await?;
        let share = existing_ticket(&mut conn, ticket).await?.share;
        let missing = || Error::operator(format!("ticket {ticket} has no artifact {path}"));
        let resolved =
            tree::find(&self.repo, &mut conn, ticket, share, path.names(), false).await.map_err(|_| missing())?;
        let row = resolved.entry.as_ref().ok_or_else(missing)?;
        let version = current_version(&self.repo, &mut conn, row).await?.ok_or_else(missing)?;
        drop(conn);
        if version.state != VersionState::Available {
            return Err(Error::operator(format!(
                "version {} of this artifact is {}; 'tacdrop artifact list {ticket}' shows what can be fetched",
                version.number, version.state
            )));
        }
        // Nothing is handed out that the trail does not know of.
        let note = async |kind, detail: &serde_json::Value| {
            let mut tx = self.repo.records.begin().await?;
            let subject = Subject { actor: &Actor::Operator, ticket: Some(ticket), id: Some(*version.id.as_bytes()) };
            audit::write(tx.conn(), kind, subject, detail).await?;
            Ok::<_, Error>(tx.commit().await?)
        };
        let artifact = version.artifact.to_string();
        note(Kind::ArtifactOpened, &json!({ "artifact": artifact, "size": version.length })).await?;
        let mut bytes = 0u64;
        let mut sink = |piece: &[u8]| {
            bytes += piece.len() as u64;
            sink(piece)
        };
        let digest = read_all(&self.repo, &resolved.context.keys, &version, ticket, |bytes| {
            sink(bytes).map_err(Error::file("output"))
        });
        let outcome = digest.await;
        let whole = outcome.is_ok();
        note(Kind::ArtifactRead, &json!({ "artifact": artifact, "bytes": bytes, "whole": whole })).await?;
        outcome.map(|()| version.length)
    }
}

/// What stands for a name that cannot be read.
pub(super) fn stand_in(id: &[u8; 16]) -> Result<FileName, Error> {
    let text = format!("(unreadable name of {})", ArtifactId::from_bytes(*id));
    FileName::new(text.as_bytes()).map_err(|_| Error::operator("a name cannot be shown"))
}
