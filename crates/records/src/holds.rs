//! Legal holds: shares of which nothing may be removed.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::proofs::{Proof, Proved, Prover, proof, time_field};
use super::{Conn, RecordsError, bytes_as};
use tacdrop_model::{Identifier, ShareId, Time, VersionId};

/// A share of which nothing may be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The share.
    pub share: ShareId,
    /// Why, as an operator wrote it.
    pub reason: Option<String>,
    /// Since when.
    pub held_at: Time,
    /// The proof that the row carries. A hold whose proof does not hold is a hold all the same.
    pub proof: Proof,
}

impl Proved for Hold {
    const TABLE: &'static str = "hold";
    const LABEL: &'static str = "proof of hold, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        let reason = self.reason.as_deref().unwrap_or_default();
        read(&[self.share.as_bytes(), reason.as_bytes(), &time_field(Some(self.held_at))])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        self.share.to_string()
    }
}

fn hold(row: &SqliteRow) -> Result<Hold, RecordsError> {
    Ok(Hold {
        share: bytes_as(row, "hold", "share_id")?,
        reason: row.try_get("reason")?,
        held_at: Time::from_millis(row.try_get("held_at")?),
        proof: proof(row, "proof"),
    })
}

/// Holds a share.
///
/// # Errors
/// [`RecordsError::Exists`] if it is held already.
pub async fn add(conn: &mut Conn, prover: &dyn Prover, new: &Hold) -> Result<(), RecordsError> {
    let text = "INSERT INTO hold (share_id, reason, held_at, proof) VALUES ($1, $2, $3, $4)";
    ask!(text, new.share, new.reason.as_deref(), new.held_at, new.prove(prover)).run(conn).await
}

/// Ends a hold. False if there is none.
pub async fn remove(conn: &mut Conn, share: ShareId) -> Result<bool, RecordsError> {
    ask!("DELETE FROM hold WHERE share_id = $1", share).changed(conn).await
}

/// The hold of a share.
pub async fn of_share(conn: &mut Conn, share: ShareId) -> Result<Option<Hold>, RecordsError> {
    ask!("SELECT share_id, reason, held_at, proof FROM hold WHERE share_id = $1", share).maybe(conn, hold).await
}

/// Whether the audit trail tells that a ticket is held: since it was opened, a hold was told of last.
/// Whoever removes a row of this table ends no hold.
pub async fn is_told(conn: &mut Conn, ticket: &Identifier) -> Result<bool, RecordsError> {
    let text = "SELECT kind FROM audit_event WHERE ticket = $1 \
         AND kind IN ('ticket.opened', 'ticket.held', 'ticket.released') ORDER BY seq DESC LIMIT 1";
    let last = ask!(text, ticket).maybe(conn, |row| Ok(row.try_get::<String, _>("kind")?)).await?;
    Ok(last.as_deref() == Some("ticket.held"))
}

/// Whether the share of a version is held.
pub async fn is_version_held(conn: &mut Conn, version: VersionId) -> Result<bool, RecordsError> {
    let text = "SELECT 1 FROM version v JOIN entry e ON e.id = v.entry_id JOIN hold h ON h.share_id = e.share_id \
         WHERE v.id = $1";
    ask!(text, version).exists(conn).await
}

/// All holds that can be read.
pub async fn list(conn: &mut Conn) -> Result<Vec<Hold>, RecordsError> {
    ask!("SELECT share_id, reason, held_at, proof FROM hold ORDER BY held_at, share_id")
        .readable(conn, "hold", hold)
        .await
}

/// Gives a row the proof of what it says, whatever it carried before.
pub async fn prove_again(conn: &mut Conn, prover: &dyn Prover, row: &Hold) -> Result<(), RecordsError> {
    ask!("UPDATE hold SET proof = $2 WHERE share_id = $1", row.share, row.prove(prover)).run(conn).await
}
