//! What comparing versions with their senders' digests showed.

use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::{Conn, RecordsError, bytes_as, text_as};
use tacdrop_model::{Algorithm, ShareId, Time, Verdict, VersionId};

/// One comparison.
#[derive(Debug, Clone, Copy)]
pub struct CheckRow {
    /// The version that was compared.
    pub version: VersionId,
    /// The version of the sidecar that states the digest.
    pub sidecar: VersionId,
    /// The digest's algorithm.
    pub algorithm: Algorithm,
    /// What it showed.
    pub verdict: Verdict,
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT c.version_id, c.sidecar_version, c.algorithm, c.verdict FROM sender_check c ", $rest)
    };
}

fn check(row: &SqliteRow) -> Result<CheckRow, RecordsError> {
    Ok(CheckRow {
        version: bytes_as(row, "sender_check", "version_id")?,
        sidecar: bytes_as(row, "sender_check", "sidecar_version")?,
        algorithm: text_as(row, "sender_check", "algorithm")?,
        verdict: text_as(row, "sender_check", "verdict")?,
    })
}

/// Writes a comparison down. One that is written down already stays.
pub async fn add(conn: &mut Conn, row: &CheckRow, now: Time) -> Result<(), RecordsError> {
    let text = "INSERT INTO sender_check (version_id, sidecar_version, algorithm, verdict, checked_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    ask!(text, row.version, row.sidecar, row.algorithm.as_str(), row.verdict.as_str(), now).run(conn).await
}

/// The comparisons of a version, oldest first.
pub async fn of_version(conn: &mut Conn, version: VersionId) -> Result<Vec<CheckRow>, RecordsError> {
    ask!(select!("WHERE c.version_id = $1 ORDER BY c.checked_at, c.sidecar_version"), version)
        .readable(conn, "sender_check", check)
        .await
}

/// The comparisons that a version of a sidecar was used for.
pub async fn by_sidecar(conn: &mut Conn, sidecar: VersionId) -> Result<Vec<CheckRow>, RecordsError> {
    ask!(select!("WHERE c.sidecar_version = $1 ORDER BY c.checked_at, c.version_id"), sidecar)
        .readable(conn, "sender_check", check)
        .await
}

/// The comparisons in a share, oldest first.
pub async fn of_share(conn: &mut Conn, share: ShareId) -> Result<Vec<CheckRow>, RecordsError> {
    let text = select!(
        "JOIN version v ON v.id = c.version_id JOIN entry e ON e.id = v.entry_id WHERE e.share_id = $1 \
         ORDER BY c.checked_at, c.sidecar_version"
    );
    ask!(text, share).readable(conn, "sender_check", check).await
}

/// Of each algorithm what counts: that it matched once, or else the newest comparison.
pub fn of_each_algorithm(rows: impl IntoIterator<Item = CheckRow>) -> Vec<CheckRow> {
    let mut kept: Vec<CheckRow> = Vec::new();
    for row in rows {
        match kept.iter_mut().find(|known| known.algorithm == row.algorithm) {
            Some(known) if known.verdict == Verdict::Matches => {}
            Some(known) => *known = row,
            None => kept.push(row),
        }
    }
    kept.sort_by_key(|row| row.algorithm);
    kept
}
