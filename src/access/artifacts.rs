//! What a ticket holds as one list, and a file by its id: for doors that give files addresses which
//! no rename changes.

use crate::access::ShareSession;
use crate::model::rights::Operation;
use crate::model::{ArtifactId, Refusal, SharePath, Time, VersionId, VersionState};
use crate::namespace::tree::{is_from_support, way_of};
use crate::records::lists::{self, Behind, Wanted};
use crate::records::{entries, tickets};
use crate::repo::Error;
use crate::repo::keys::with_keys_in_force;
use crate::repo::set_aside::or_left_out;

/// An artifact of a ticket, as whoever may list it sees it.
#[derive(Debug, Clone)]
pub struct SeenArtifact {
    /// Its id.
    pub id: ArtifactId,
    /// The version that stands for it.
    pub version: VersionId,
    /// Which one that is.
    pub number: u64,
    /// Where it lies in the share.
    pub path: SharePath,
    /// How that version stands.
    pub state: VersionState,
    /// Bytes; of an unfinished one those that are there at least.
    pub bytes: u64,
    /// The SHA-256, once it is available.
    pub sha256: Option<[u8; 32]>,
    /// Who sent it.
    pub uploaded_by: String,
    /// When it became available.
    pub received_at: Option<Time>,
}

/// Behind which artifact a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BehindArtifact {
    /// When that one's version came, in milliseconds since 1970.
    pub came: i64,
    /// That version.
    pub version: VersionId,
}

impl ShareSession {
    /// What a ticket holds, the newest first, at most `most`, from behind `behind` on; and where the
    /// next page begins.
    ///
    /// # Errors
    /// If this login does not see the ticket, or may not list what is in it.
    pub async fn artifacts(
        &self,
        ticket: &str,
        behind: Option<BehindArtifact>,
        most: usize,
    ) -> Result<(Vec<SeenArtifact>, Option<BehindArtifact>), Refusal> {
        let root = self.path_in(ticket, Vec::new())?;
        self.record_refusal(&root, with_keys_in_force!(self.try_artifacts(&root, behind, most).await)).await
    }

    async fn try_artifacts(
        &self,
        root: &SharePath,
        behind: Option<BehindArtifact>,
        most: usize,
    ) -> Result<(Vec<SeenArtifact>, Option<BehindArtifact>), Error> {
        let resolved = self.locate_in_share(root).await?;
        resolved.rights.check(Operation::List, resolved.side())?;
        let own_only = resolved.rights.sees_own_only();
        let behind = behind.map(|at| Behind { came: at.came, id: at.version.as_bytes().to_vec() });
        let wanted = Wanted {
            ticket: Some(&resolved.context.ticket),
            organisation: None,
            engineer: None,
            state: None,
            since: None,
            sha256: None,
        };
        let mut conn = self.repo().records.read().await?;
        let page = lists::arrivals(&mut conn, &wanted, behind.as_ref(), most).await?;
        let mut found = Vec::with_capacity(page.rows.len());
        for row in &page.rows {
            let file = match row.is_own {
                true => Some(*row.artifact.as_bytes()),
                false => lists::file_of(&mut conn, row).await?,
            };
            let Some(file) = file else { continue };
            let way = way_of(&mut conn, &resolved.context.keys, &file).await;
            let Some(way) = or_left_out(way, "the name of an artifact", &file)? else { continue };
            let path = way.path();
            let from_support = path.names().first().is_some_and(is_from_support);
            if own_only && (from_support || !self.login().0.sent().has(&file)) {
                continue;
            }
            found.push(SeenArtifact {
                id: ArtifactId::from_bytes(file),
                version: row.id,
                number: row.number,
                path,
                state: row.state,
                bytes: if row.sha256.is_some() { row.length } else { row.resumable_at },
                sha256: row.sha256,
                uploaded_by: row.uploaded_by.clone(),
                received_at: row.received_at,
            });
        }
        let next = page.last.and_then(|last| {
            let version = VersionId::try_from(&last.id[..]).ok()?;
            Some(BehindArtifact { came: last.came, version })
        });
        Ok((found, next))
    }

    /// The ticket and the path of an artifact, as this login reaches it. What it may there is asked
    /// when the path is used.
    ///
    /// # Errors
    /// [`Refusal::NoSuchFile`] if there is none in sight.
    pub async fn path_of_artifact(&self, id: ArtifactId) -> Result<(String, SharePath), Refusal> {
        Ok(with_keys_in_force!(self.try_path_of_artifact(id).await)?)
    }

    async fn try_path_of_artifact(&self, id: ArtifactId) -> Result<(String, SharePath), Error> {
        let missing = || Error::Refused(Refusal::NoSuchFile);
        let mut conn = self.repo().records.read().await?;
        let entry = entries::by_id(&mut conn, id.as_bytes()).await?;
        let entry = entry.filter(|entry| entry.in_sight && !entry.is_directory).ok_or_else(missing)?;
        let ticket = tickets::by_share(&mut conn, entry.share).await?.ok_or_else(missing)?;
        let reference = ticket.reference.to_string();
        drop(conn);
        // Another ticket's files do not exist, and nothing of them is opened.
        let root = self.locate_in_share(&self.path_in(&reference, Vec::new())?).await?;
        let way = way_of(&mut *self.repo().records.read().await?, &root.context.keys, &entry.id).await?;
        Ok((reference.clone(), self.path_in(&reference, way.path().names().to_vec())?))
    }
}
