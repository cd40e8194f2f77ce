//! Digests of available versions that had to be computed: all but SHA-256, which stands in the
//! version's own row.

use sqlx::Row;

use super::ask::ask;
use super::{Conn, RecordsError};
use tacdrop_model::{Algorithm, VersionId};

/// The digest of a version by this algorithm, if somebody computed it before.
pub async fn of_version(
    conn: &mut Conn,
    version: VersionId,
    algorithm: Algorithm,
) -> Result<Option<Vec<u8>>, RecordsError> {
    ask!("SELECT digest FROM version_digest WHERE version_id = $1 AND algorithm = $2", version, algorithm.as_str())
        .maybe(conn, |row| Ok(row.try_get("digest")?))
        .await
}

/// Writes a digest down, unless the version has none to give any more: it was shredded or found
/// damaged meanwhile. One that is written down already stays.
pub async fn add(conn: &mut Conn, version: VersionId, algorithm: Algorithm, digest: &[u8]) -> Result<(), RecordsError> {
    let text = "INSERT INTO version_digest (version_id, algorithm, digest) SELECT id, $2, $3 FROM version \
         WHERE id = $1 AND state IN ('available', 'withdrawn') AND file_key IS NOT NULL ON CONFLICT DO NOTHING";
    ask!(text, version, algorithm.as_str(), digest).run(conn).await
}

/// Forgets the digests of a version.
pub(super) async fn forget(conn: &mut Conn, version: VersionId) -> Result<(), RecordsError> {
    ask!("DELETE FROM version_digest WHERE version_id = $1", version).run(conn).await
}
