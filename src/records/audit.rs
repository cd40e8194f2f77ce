//! The audit trail: append-only, each row chained to the one before it. No file names: artifacts and versions by id.

use sqlx::Row;

use super::{Conn, RecordsError, bytes_as};
use crate::model::{Time, Word};

/// What happened, who did it, to what.
#[derive(Debug)]
pub struct Event<'a> {
    /// When.
    pub at: Time,
    /// What, as a short word such as `artifact.available`.
    pub kind: &'static str,
    /// Who: a login name, `operator` or `server`.
    pub actor: &'a str,
    /// The ticket it is about.
    pub ticket: Option<&'a Word>,
    /// The artifact, version or other thing, by id.
    pub subject: Option<[u8; 16]>,
    /// More, as a JSON object.
    pub detail: &'a serde_json::Value,
}

/// The newest row: its number and its link of the chain.
///
/// # Errors
/// If the database fails.
pub async fn tip(conn: &mut Conn) -> Result<Option<(i64, [u8; 32])>, RecordsError> {
    let row = sqlx::query("SELECT seq, chain FROM audit_event ORDER BY seq DESC LIMIT 1").fetch_optional(conn).await?;
    row.map(|row| Ok((row.try_get("seq")?, bytes_as(&row, "audit_event", "chain")?))).transpose()
}

/// Appends a row. `chain` binds it to the row before it; how it is computed is `share/`'s rule.
///
/// # Errors
/// If the database fails.
pub async fn append(conn: &mut Conn, seq: i64, event: &Event<'_>, chain: &[u8; 32]) -> Result<(), RecordsError> {
    sqlx::query(
        "INSERT INTO audit_event (seq, at, kind, actor, ticket, subject, detail, chain) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(seq)
    .bind(event.at.millis())
    .bind(event.kind)
    .bind(event.actor)
    .bind(event.ticket.map(Word::as_str))
    .bind(event.subject.map(|id| id.to_vec()))
    .bind(event.detail.to_string())
    .bind(&chain[..])
    .execute(conn)
    .await?;
    Ok(())
}
