//! The notices, for operators.

use serde::Serialize;

use super::Notices;
use crate::model::{Audience, Identifier, NoticeState, Time};
use crate::namespace::tree::path_of;
use crate::records::notices::NoticeRow;
use crate::records::{entries, notices, versions};
use crate::repo::Error;
use crate::repo::set_aside::shown_or_named;
use crate::repo::tickets::existing_ticket;

/// A notice, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct NoticeLine {
    /// The notice's id, which its mail carries as Message-ID.
    pub id: String,
    /// The ticket.
    pub ticket: String,
    /// What it speaks of.
    pub artifacts: Vec<NoticeArtifact>,
    /// `mail` or `spool`, once tried; `none`: there was nothing left to say, so nothing was sent.
    pub channel: Option<String>,
    /// Whom it is for.
    pub audience: Audience,
    /// The mail address that it goes to; 'customers', while it gathers what they will be told.
    pub recipient: String,
    /// Where it stands.
    pub state: NoticeState,
    /// How often it was tried.
    pub attempts: u64,
    /// When it is tried next.
    pub next_attempt_at: Option<Time>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// How often it was handed over and no answer came: perhaps it was delivered.
    pub lost_answers: u64,
}

/// An artifact that a notice speaks of.
#[derive(Debug, Clone, Serialize)]
pub struct NoticeArtifact {
    /// The artifact's id.
    pub id: String,
    /// Where it lies in the share; none if that cannot be read.
    pub path: Option<String>,
    /// Why its path cannot be read.
    pub problem: Option<String>,
    /// Its version; 0 if that cannot be read.
    pub version: u64,
    /// Why: `available`, `incomplete` or `expiring`; `unknown` if that cannot be read.
    pub about: &'static str,
}

impl Notices {
    /// The notices of one ticket or of all, oldest first.
    ///
    /// # Errors
    /// If there is no such ticket, or the records fail.
    pub async fn list(&self, only: Option<&Identifier>) -> Result<Vec<NoticeLine>, Error> {
        let mut conn = self.repo.records.read().await?;
        if let Some(reference) = only {
            existing_ticket(&mut conn, reference).await?;
        }
        let mut lines = Vec::new();
        for notice in notices::list(&mut conn, only).await? {
            let mut artifacts = Vec::new();
            let told = notices::told(&mut conn, notice.id).await?;
            // A ticket or keys that cannot be had make the paths of one ticket unreadable, and take
            // no other one's notices along.
            let keys = match existing_ticket(&mut conn, &notice.ticket).await {
                Ok(ticket) => self.repo.keys.share(ticket.share).await,
                Err(error) => Err(error),
            };
            for told in told.rows {
                let read = async {
                    let keys = keys.as_ref().map_err(|error| Error::operator(error.to_string()))?;
                    let gone = || Error::operator("its version is gone");
                    let version = versions::by_id(&mut conn, told.version).await?.ok_or_else(gone)?;
                    let entry = entries::by_id(&mut conn, told.artifact.as_bytes()).await?;
                    let path = path_of(&mut conn, keys, told.artifact.as_bytes()).await?;
                    Ok((path, entry.map_or(0, |entry| entry.number_base) + version.number))
                };
                let read = read.await;
                let version = read.as_ref().map_or(0, |(_, number)| *number);
                let (path, problem) = shown_or_named(told.artifact, read.map(|(path, _)| path))?;
                let (id, about) = (told.artifact.to_string(), told.about.as_str());
                artifacts.push(NoticeArtifact { id, path, problem, version, about });
            }
            artifacts.extend(told.unreadable.into_iter().map(|id| {
                let problem = format!("the rows of artifact or version {id} cannot be read; run 'tacdrop store check'");
                NoticeArtifact { id, path: None, problem: Some(problem), version: 0, about: "unknown" }
            }));
            lines.push(NoticeLine {
                id: notice.id.to_string(),
                ticket: notice.ticket.to_string(),
                artifacts,
                audience: notice.audience,
                recipient: recipient(&notice),
                channel: notice.channel,
                state: notice.state,
                attempts: notice.attempts,
                next_attempt_at: notice.next_attempt_at,
                last_error: notice.last_error,
                lost_answers: notice.lost_answers + u64::from(notice.handed_over),
            });
        }
        Ok(lines)
    }
}

fn recipient(notice: &NoticeRow) -> String {
    match notice.audience {
        Audience::Customers => notice.audience.to_string(),
        _ => notice.goes_to.clone().unwrap_or_else(|| notice.contact.as_ref().unwrap_or(&notice.recipient).to_string()),
    }
}
