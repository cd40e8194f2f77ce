//! A version whose stored bytes are not what was sealed is never served again.

use serde_json::json;

use crate::audit::{self, Actor, Kind, Subject};
use crate::model::{Identifier, VersionId};
use crate::records::versions;
use crate::repo::{Error, Repo};
use crate::store::StoreError;

/// If the error says that what is stored is not what was sealed, the version is marked as damaged:
/// it is never served again, and the operator is told.
pub(crate) async fn report_damage(repo: &Repo, error: &Error, version: VersionId, ticket: &Identifier) {
    if !matches!(error, Error::Vault(_) | Error::Store(StoreError::Missing | StoreError::Short)) {
        return;
    }
    tracing::error!(%version, %ticket, %error, "a version is damaged; 'tacdrop artifact verify' shows which");
    let mark = async {
        let mut tx = repo.records.begin().await?;
        if !versions::mark_damaged(tx.conn(), version).await? {
            return Ok(());
        }
        let subject = Subject { actor: &Actor::Server, ticket: Some(ticket), id: Some(*version.as_bytes()) };
        audit::write(tx.conn(), Kind::VersionDamaged, subject, &json!({ "why": error.to_string() })).await?;
        tx.commit().await
    };
    if let Err(error) = mark.await {
        tracing::error!(%version, %error, "a damaged version could not be marked");
    }
}
