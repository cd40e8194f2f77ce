//! Looking through everything: what recovery and the check of the store compare, page by page or shelf by shelf.

use sqlx::Row;

use super::{Conn, RecordsError, bytes_as, text_as, unsigned};
use crate::model::{ShareId, Word};

/// A ticket's sums, as they are kept and as its rows make them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// The ticket.
    pub ticket: Word,
    /// Its share.
    pub share: ShareId,
    /// Plaintext bytes in its extents: as kept, and counted.
    pub bytes: (u64, u64),
    /// Files and directories in sight: as kept, and counted.
    pub names: (u64, u64),
}

/// The tickets whose sums are not what their rows say.
///
/// # Errors
/// If the database fails.
pub async fn wrong_sums(conn: &mut Conn) -> Result<Vec<Sums>, RecordsError> {
    let rows = sqlx::query(
        "SELECT t.reference, t.share_id, t.stored_bytes, t.names, COALESCE(x.bytes, 0) AS real_bytes, \
         COALESCE(e.names, 0) AS real_names FROM ticket t \
         LEFT JOIN (SELECT share_id, SUM(length) AS bytes FROM extent GROUP BY share_id) x ON x.share_id = t.share_id \
         LEFT JOIN (SELECT share_id, COUNT(*) AS names FROM entry WHERE parent_id IS NOT NULL \
         AND replaced_at IS NULL AND withdrawn_at IS NULL GROUP BY share_id) e ON e.share_id = t.share_id \
         WHERE t.stored_bytes <> COALESCE(x.bytes, 0) OR t.names <> COALESCE(e.names, 0) ORDER BY t.reference",
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Sums {
                ticket: text_as(row, "ticket", "reference")?,
                share: bytes_as(row, "ticket", "share_id")?,
                bytes: (unsigned(row, "ticket", "stored_bytes")?, unsigned(row, "extent", "real_bytes")?),
                names: (unsigned(row, "ticket", "names")?, unsigned(row, "entry", "real_names")?),
            })
        })
        .collect()
}

/// An entry and those whose place it took, newest first; at most `most`, so that a circle in damaged rows ends.
///
/// # Errors
/// If the database fails.
pub async fn lineage(conn: &mut Conn, entry: &[u8; 16], most: u32) -> Result<Vec<[u8; 16]>, RecordsError> {
    let rows = sqlx::query(
        "WITH RECURSIVE line (id, predecessor, depth) AS (SELECT id, predecessor, 1 FROM entry WHERE id = $1 \
         UNION ALL SELECT e.id, e.predecessor, line.depth + 1 FROM entry e JOIN line ON e.id = line.predecessor \
         WHERE line.depth < $2) SELECT id FROM line ORDER BY depth",
    )
    .bind(&entry[..])
    .bind(i64::from(most))
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| bytes_as(row, "entry", "id")).collect()
}

#[cfg(test)]
pub(crate) mod tests_only {
    //! What the invariants of the requirements are checked with.

    use super::*;
    use crate::model::{NoticeState, VersionId};

    /// A row of the audit trail.
    pub(crate) struct AuditRow {
        pub(crate) seq: i64,
        pub(crate) at: i64,
        pub(crate) kind: String,
        pub(crate) actor: String,
        pub(crate) ticket: Option<String>,
        pub(crate) subject: Option<Vec<u8>>,
        pub(crate) detail: String,
        pub(crate) chain: Vec<u8>,
    }

    pub(crate) async fn audit_rows(conn: &mut Conn) -> Result<Vec<AuditRow>, RecordsError> {
        let rows =
            sqlx::query("SELECT seq, at, kind, actor, ticket, subject, detail, chain FROM audit_event ORDER BY seq")
                .fetch_all(conn)
                .await?;
        rows.iter()
            .map(|row| {
                Ok(AuditRow {
                    seq: row.try_get("seq")?,
                    at: row.try_get("at")?,
                    kind: row.try_get("kind")?,
                    actor: row.try_get("actor")?,
                    ticket: row.try_get("ticket")?,
                    subject: row.try_get("subject")?,
                    detail: row.try_get("detail")?,
                    chain: row.try_get("chain")?,
                })
            })
            .collect()
    }

    /// The versions that notices call available, and where those notices stand.
    pub(crate) async fn announced(conn: &mut Conn) -> Result<Vec<(VersionId, NoticeState)>, RecordsError> {
        let rows = sqlx::query(
            "SELECT nv.version_id, n.state FROM notice_version nv JOIN notice n ON n.id = nv.notice_id \
             WHERE nv.about = 'available'",
        )
        .fetch_all(conn)
        .await?;
        rows.iter()
            .map(|row| Ok((bytes_as(row, "notice_version", "version_id")?, text_as(row, "notice", "state")?)))
            .collect()
    }

    /// Carries out any statement: tests damage rows with it.
    pub(crate) async fn execute(conn: &mut Conn, statement: &'static str) -> Result<u64, RecordsError> {
        Ok(sqlx::query(statement).execute(conn).await?.rows_affected())
    }
}
