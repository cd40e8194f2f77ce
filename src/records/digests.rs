//! Digests of available versions that had to be computed: all but SHA-256, which stands in the version's own row.

use sqlx::Row;

use super::{Conn, RecordsError};
use crate::model::{Algorithm, VersionId};

/// The digest of a version by this algorithm, if somebody computed it before.
///
/// # Errors
/// If the database fails.
pub async fn of_version(
    conn: &mut Conn,
    version: VersionId,
    algorithm: Algorithm,
) -> Result<Option<Vec<u8>>, RecordsError> {
    let row = sqlx::query("SELECT digest FROM version_digest WHERE version_id = $1 AND algorithm = $2")
        .bind(&version.as_bytes()[..])
        .bind(algorithm.as_str())
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| row.try_get("digest")).transpose()?)
}

/// Writes a digest down, unless the version has none to give any more: it was shredded or found damaged meanwhile. One that is
/// written down already stays.
///
/// # Errors
/// If the database fails.
pub async fn add(conn: &mut Conn, version: VersionId, algorithm: Algorithm, digest: &[u8]) -> Result<(), RecordsError> {
    sqlx::query(
        "INSERT INTO version_digest (version_id, algorithm, digest) SELECT id, $2, $3 FROM version \
         WHERE id = $1 AND state IN ('available', 'withdrawn') AND file_key IS NOT NULL ON CONFLICT DO NOTHING",
    )
    .bind(&version.as_bytes()[..])
    .bind(algorithm.as_str())
    .bind(digest)
    .execute(conn)
    .await?;
    Ok(())
}
