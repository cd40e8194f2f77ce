//! A version that is open for reading.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use crate::model::{ArtifactId, Refusal, VersionId, Word};
use crate::records::versions::{self, VersionRow};
use crate::share::audit::{self, Coverage, Subject};
use crate::share::content::Content;
use crate::share::{Attributes, Error, House, Login, View};

/// A version that is open for reading; it stays what it is while newer ones arrive. Cheap to clone, and reads may run at
/// the same time.
#[derive(Clone)]
pub struct Download(Arc<State>);

struct State {
    house: Arc<House>,
    content: Content,
    attributes: Attributes,
    version: VersionId,
    artifact: ArtifactId,
    ticket: Word,
    /// Who reads.
    login: Login,
    read: Mutex<Coverage>,
}

/// The last handle is closed, or its session is gone.
impl Drop for State {
    fn drop(&mut self) {
        let read = self.read.get_mut().unwrap_or_else(PoisonError::into_inner);
        let detail = json!({
            "artifact": self.artifact.to_string(),
            "bytes": read.bytes,
            "whole": read.is_whole(self.attributes.size),
        });
        self.login.0.jot("artifact.read", Some(&self.ticket), Some(*self.version.as_bytes()), detail);
    }
}

impl Download {
    /// Opens a version of a ticket's share for who looks, and says so in the audit trail; what was read is said there when
    /// the last clone is dropped.
    pub(crate) fn new(
        view: &View,
        content: Content,
        attributes: Attributes,
        version: &VersionRow,
        ticket: Word,
    ) -> Self {
        let (house, login) = (Arc::clone(view.house()), view.login().clone());
        let (version, artifact, read) = (version.id, version.artifact, Mutex::default());
        let detail = json!({ "artifact": artifact.to_string(), "size": attributes.size });
        view.jot("artifact.opened", &ticket, *version.as_bytes(), detail);
        Self(Arc::new(State { house, content, attributes, version, artifact, ticket, login, read }))
    }

    /// What STAT says of the version that was opened.
    pub fn attributes(&self) -> Attributes {
        self.0.attributes.clone()
    }

    /// Appends up to `length` bytes from `offset` on to `into`, and says how many; 0 at the end and behind it.
    ///
    /// # Errors
    /// [`Refusal::Damaged`] if what is stored is not what was sealed: nothing is appended then.
    pub async fn read(&self, offset: u64, length: usize, into: &mut Vec<u8>) -> Result<usize, Refusal> {
        let left = self.0.attributes.size.saturating_sub(offset);
        let length = left.min(length as u64);
        if length == 0 {
            return Ok(0);
        }
        let state = Arc::clone(&self.0);
        let mut buffer = std::mem::take(into);
        let before = buffer.len();
        let work = self.0.house.works.spawn(async move {
            let outcome = state.content.read(offset, length, &mut buffer).await;
            if let Err(error) = &outcome {
                buffer.truncate(before);
                report_damage(&state.house, error, state.version, &state.ticket).await;
            }
            (buffer, outcome)
        });
        let Ok((buffer, outcome)) = work.await else {
            return Err(Refusal::Storage);
        };
        *into = buffer;
        outcome?;
        let read = into.len() - before;
        self.0.read.lock().unwrap_or_else(PoisonError::into_inner).add(offset, read as u64);
        Ok(read)
    }
}

/// If the error says that what is stored is not what was sealed, the version is marked as damaged: it is never served
/// again, and the operator is told.
pub(crate) async fn report_damage(house: &House, error: &Error, version: VersionId, ticket: &Word) {
    use crate::store::StoreError;
    if !matches!(error, Error::Vault(_) | Error::Store(StoreError::Missing | StoreError::Short)) {
        return;
    }
    tracing::error!(%version, %ticket, %error, "a version is damaged; 'tacdrop artifact verify' shows which");
    let mark = async {
        let mut tx = house.records.begin().await?;
        if !versions::mark_damaged(tx.conn(), version).await? {
            return Ok(());
        }
        let subject = Subject { actor: "server", ticket: Some(ticket), id: Some(*version.as_bytes()) };
        audit::write(tx.conn(), "version.damaged", subject, &json!({ "why": error.to_string() })).await?;
        tx.commit().await
    };
    if let Err(error) = mark.await {
        tracing::error!(%version, %error, "a damaged version could not be marked");
    }
}
