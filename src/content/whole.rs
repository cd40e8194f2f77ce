//! What is read as a whole: a version from front to back, a manifest, the extents that the records
//! name.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::damage::report_damage;
use super::{AccessKey, Content, ExtentAccess};
use crate::model::{Identifier, ObjectId};
use crate::records::versions::VersionRow;
use crate::records::{Conn, extents, objects, small_files};
use crate::repo::keys::ShareKeys;
use crate::repo::{Error, Repo};
use crate::store::StoreError;
use crate::vault::{FileKey, VaultError, WrappedKey};

/// Reads a version from front to back, gives its bytes to `sink` and compares its SHA-256 with the
/// manifest's. Whatever it finds, it changes nothing.
pub(crate) async fn read_whole(
    repo: &Arc<Repo>,
    keys: &ShareKeys,
    version: &VersionRow,
    mut sink: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let (content, manifest, _) = Content::of_version(repo, keys, version).await?;
    let mut hash = Sha256::new();
    let hashed = |bytes: &[u8]| {
        hash.update(bytes);
        sink(bytes)
    };
    content.read_through(manifest.length, hashed).await?;
    content.check_unused_parts().await?;
    if manifest.sha256 != <[u8; 32]>::from(hash.finalize()) {
        return Err(VaultError::Tampered { what: "content of a version" }.into());
    }
    Ok(())
}

/// The same; what is found damaged is reported.
pub(crate) async fn read_all(
    repo: &Arc<Repo>,
    keys: &ShareKeys,
    version: &VersionRow,
    ticket: &Identifier,
    sink: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let outcome = read_whole(repo, keys, version, sink).await;
    reported(repo, version, ticket, outcome).await
}

/// Reads a version from front to back, in pieces of at most 1 MiB. What is found damaged is
/// reported.
pub(crate) async fn read_pieces(
    repo: &Arc<Repo>,
    keys: &ShareKeys,
    ticket: &Identifier,
    version: &VersionRow,
    mut sink: impl FnMut(&[u8]),
) -> Result<(), Error> {
    let read = async {
        let (content, manifest, _) = Content::of_version(repo, keys, version).await?;
        let given = |bytes: &[u8]| {
            sink(bytes);
            Ok(())
        };
        content.read_through(manifest.length, given).await
    };
    let outcome = read.await;
    reported(repo, version, ticket, outcome).await
}

async fn reported(
    repo: &Repo,
    version: &VersionRow,
    ticket: &Identifier,
    outcome: Result<(), Error>,
) -> Result<(), Error> {
    if let Err(error) = &outcome {
        report_damage(repo, error, version.id, ticket).await;
    }
    outcome
}

/// The bytes of an object that lies in the records: of an extent of a version, which may be a small
/// file. What was one when the version's row was read may have become an object since.
pub(super) async fn recorded_object(
    conn: &mut Conn,
    small_file: Option<i64>,
    id: ObjectId,
) -> Result<Option<Vec<u8>>, Error> {
    if let Some(row) = small_file
        && let Some(bytes) = small_files::extent(conn, row, id).await?
    {
        return Ok(Some(bytes));
    }
    Ok(objects::get(conn, id).await?)
}

/// The bytes of a version's manifest, wherever they lie.
pub(super) async fn whole_manifest(
    repo: &Repo,
    conn: &mut Conn,
    small_file: Option<i64>,
    id: ObjectId,
) -> Result<Vec<u8>, Error> {
    if let Some(row) = small_file
        && let Some(bytes) = small_files::manifest(conn, row).await?
    {
        return Ok(bytes);
    }
    if let Some(bytes) = objects::get(conn, id).await? {
        return Ok(bytes);
    }
    // A manifest of the most slices that there can be has about 10 MiB; more is no manifest of
    // ours.
    const MOST: u64 = 32 << 20;
    let file = repo.store.get(id)?;
    let length = file.length()?;
    if length > MOST {
        return Err(VaultError::Malformed { what: "a manifest of absurd length" }.into());
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| StoreError::Short)?];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// The extents that a version has in the records, each with its key as it is wrapped there, and
/// unwrapped: nothing vouches for what lies there.
pub(crate) async fn recorded_extents(
    repo: &Repo,
    version: &VersionRow,
    file_key: &FileKey,
) -> Result<Vec<(ObjectId, WrappedKey, ExtentAccess)>, Error> {
    let rows = extents::of_version(&mut *repo.records.read().await?, version.id).await?;
    rows.into_iter()
        .map(|row| {
            let wrapped = WrappedKey::try_from(&row.extent_key[..])?;
            let key = AccessKey::Unwrapped(file_key.unwrap_extent_key(version.id, row.id, &wrapped)?);
            let access = ExtentAccess { key, header_tag: row.header_tag, length: row.length, place: row.place };
            Ok((row.id, wrapped, access))
        })
        .collect()
}
