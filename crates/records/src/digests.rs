//! Digests of available versions that had to be computed: all but SHA-256, which stands in the
//! version's own row.

use sqlx::Row;

use super::ask::ask;
use super::{Conn, RecordsError};
use tacdrop_model::{Algorithm, VersionId};

/// A digest that was computed, and the proof that the server computed it.
#[derive(Debug)]
pub struct DigestRow {
    /// The digest.
    pub digest: Vec<u8>,
    /// The proof; empty where there is none.
    pub proof: Vec<u8>,
}

/// The digest of a version by this algorithm, if somebody computed it before.
pub async fn of_version(
    conn: &mut Conn,
    version: VersionId,
    algorithm: Algorithm,
) -> Result<Option<DigestRow>, RecordsError> {
    let text = "SELECT digest, proof FROM version_digest WHERE version_id = $1 AND algorithm = $2";
    ask!(text, version, algorithm.as_str())
        .maybe(conn, |row| {
            let proof = row.try_get::<Option<Vec<u8>>, _>("proof")?.unwrap_or_default();
            Ok(DigestRow { digest: row.try_get("digest")?, proof })
        })
        .await
}

/// Writes a digest down, unless the version has none to give any more: it was shredded or found
/// damaged meanwhile. It takes the place of one that was not proved.
pub async fn add(
    conn: &mut Conn,
    version: VersionId,
    algorithm: Algorithm,
    row: &DigestRow,
) -> Result<(), RecordsError> {
    let text = "INSERT INTO version_digest (version_id, algorithm, digest, proof) SELECT id, $2, $3, $4 FROM version \
         WHERE id = $1 AND state IN ('available', 'withdrawn') AND file_key IS NOT NULL \
         ON CONFLICT (version_id, algorithm) DO UPDATE SET digest = excluded.digest, proof = excluded.proof";
    ask!(text, version, algorithm.as_str(), &row.digest, &row.proof).run(conn).await
}

/// Forgets the digests of a version.
pub(super) async fn forget(conn: &mut Conn, version: VersionId) -> Result<(), RecordsError> {
    ask!("DELETE FROM version_digest WHERE version_id = $1", version).run(conn).await
}
