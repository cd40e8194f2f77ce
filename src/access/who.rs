//! Who is logged in now, asked by a command of the server that runs.
//!
//! Only the server knows, and the command is another process. Both have the records: the command
//! leaves a question there, the server looks for one twice a second and answers it. Nothing is
//! written while nobody asks, and no row of a server that is gone answers a question that came
//! later.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::Access;
use crate::model::Time;
use crate::records::who;
use crate::repo::Error;

/// How often the server looks for a question, and a command for its answer.
const LOOK: Duration = Duration::from_millis(500);
/// How often a command looks before it gives up.
const LOOKS: u32 = 20;
/// Logins that are told, at most: the oldest ones.
const MOST: usize = 1000;
/// Uploads of one login that are told, at most.
const MOST_UPLOADS: usize = 20;

/// Who is logged in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct WhoIsIn {
    /// The oldest first.
    pub sessions: Vec<SessionLine>,
    /// How many more there are than are told.
    pub more: usize,
}

/// A login that is open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionLine {
    /// Its number, 32 hexadecimal digits; `subject` of its events in the trail.
    pub id: String,
    /// The name that logged in.
    pub name: String,
    /// `ticket`, `upload-only`, `contact`, `engineer`, `lead` or `auditor`.
    pub role: String,
    /// Its own ticket, or those in which it has something open just now.
    pub tickets: Vec<String>,
    /// The client's address.
    pub address: String,
    /// Since when.
    pub since: Time,
    /// The door that it came by: `ssh`, `http`, or `legacy`: the listener for old devices.
    pub door: String,
    /// What it is sending.
    pub uploads: Vec<UploadNow>,
    /// How many more uploads it has under way than are told.
    pub more_uploads: usize,
}

/// A file that is arriving.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UploadNow {
    /// The artifact's id.
    pub artifact: String,
    /// Plaintext bytes that it has so far.
    pub bytes: u64,
}

impl Access {
    /// Answers whoever asks who is logged in, until `stop`.
    pub async fn answer_who(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            if let Err(error) = self.answer_open_question().await {
                tracing::warn!(%error, "who is logged in could not be told; it is tried again");
            }
        }
    }

    async fn answer_open_question(&self) -> Result<(), Error> {
        let question = who::open_question(&mut *self.repo.records.read().await?).await?;
        let Some(question) = question else { return Ok(()) };
        let answer = serde_json::to_string(&self.is_in()).map_err(|error| Error::operator(error.to_string()))?;
        let mut tx = self.repo.records.begin().await?;
        who::answer(tx.conn(), question, &answer).await?;
        Ok(tx.commit().await?)
    }

    fn is_in(&self) -> WhoIsIn {
        let mut by_login: HashMap<[u8; 16], Vec<UploadNow>> = HashMap::new();
        for queue in self.uploads.registry.all() {
            let upload = UploadNow { artifact: queue.artifact().to_string(), bytes: queue.attributes().size };
            by_login.entry(queue.login()).or_default().push(upload);
        }
        let open = self.logins.now();
        let more = open.len().saturating_sub(MOST);
        let sessions = open.into_iter().take(MOST).map(|login| {
            let mut uploads = by_login.remove(&login.id).unwrap_or_default();
            uploads.sort_by(|one, other| one.artifact.cmp(&other.artifact));
            let more_uploads = uploads.len().saturating_sub(MOST_UPLOADS);
            uploads.truncate(MOST_UPLOADS);
            SessionLine {
                id: hex::encode(login.id),
                name: login.name.to_string(),
                role: login.role.to_owned(),
                tickets: login.tickets.iter().map(ToString::to_string).collect(),
                address: login.address,
                since: login.since,
                door: if login.transport.is_weak() { "legacy" } else { login.door.as_str() }.to_owned(),
                uploads,
                more_uploads,
            }
        });
        WhoIsIn { sessions: sessions.collect(), more }
    }

    /// Asks the server that runs who is logged in; none: no server runs.
    ///
    /// # Errors
    /// If the server does not answer within ten seconds, or the records fail.
    pub async fn who(&self) -> Result<Option<WhoIsIn>, Error> {
        if !self.repo.data.is_served()? {
            return Ok(None);
        }
        let mut tx = self.repo.records.begin().await?;
        let question = who::question(tx.conn()).await?;
        tx.commit().await?;
        for _ in 0..LOOKS {
            if let Some(text) = who::answer_to(&mut *self.repo.records.read().await?, question).await? {
                let unreadable =
                    |_| Error::operator("what the server answered cannot be read; is it of another version?");
                return serde_json::from_str(&text).map(Some).map_err(unreadable);
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(Error::operator("the server does not answer; it may be starting or stopping: try again in a moment"))
    }
}
