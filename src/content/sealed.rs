//! What was sealed of a version, and whether its row says the same.
//!
//! The row can be changed by whoever writes the records, the manifest only by who has the keys. So
//! nothing is read, and nothing is said of a version, before the two were compared: what they do
//! not agree in is damage. Manifests of container version 1 do not say how a version came; of those
//! the row is believed until they are sealed again. Once all are, one of version 1 is damage.

use std::sync::Arc;

use super::whole::whole_manifest;
use crate::model::{ObjectId, Time};
use crate::records::entries::{self, EntryRow};
use crate::records::versions::{self, VersionRow};
use crate::records::{Conn, small_files};
use crate::repo::keys::ShareKeys;
use crate::repo::{Error, Repo};
use crate::vault::{Arrival, FileKey, Level, Manifest, VaultError};

/// What a manifest states of its version, beside the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SealedFacts {
    /// From 1 on, within the artifact's own row.
    pub(crate) number: u64,
    /// In bytes.
    pub(crate) length: u64,
    pub(crate) sha256: [u8; 32],
    /// When it became available.
    pub(crate) sealed_at: Time,
    /// How it came; none of what was sealed before that was known.
    pub(crate) arrival: Option<Arrival>,
}

impl SealedFacts {
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self {
            number: u64::from(manifest.number),
            length: manifest.length,
            sha256: manifest.sha256,
            sealed_at: manifest.sealed_at,
            arrival: manifest.arrival.clone(),
        }
    }

    /// Compares them with the version's row.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] with the first column that says something else.
    pub(super) fn compare(&self, row: &VersionRow) -> Result<(), VaultError> {
        let Self { number, length, sha256, sealed_at, arrival } = self;
        let says = |what, same| if same { Ok(()) } else { Err(VaultError::Tampered { what }) };
        says("the number in the record of a version", row.number == *number)?;
        says("the length in the record of a version", row.length == *length)?;
        says("the SHA-256 in the record of a version", row.sha256 == Some(*sha256))?;
        says("the time in the record of a version", row.received_at == Some(*sealed_at))?;
        let Some(Arrival { sender, transport, zeros }) = arrival else { return Ok(()) };
        says("the sender in the record of a version", row.uploaded_by == sender.as_str())?;
        says("the transport in the record of a version", row.transport == *transport)?;
        says("the zeros in the record of a version", row.zeros == *zeros)
    }
}

const NO_MANIFEST: VaultError = VaultError::Malformed { what: "a version without a manifest" };

/// Opens the manifest of a version that is or was available, and compares it with the row.
pub(crate) async fn open_manifest(
    repo: &Repo,
    conn: &mut Conn,
    keys: &ShareKeys,
    version: &VersionRow,
) -> Result<(Manifest, Arc<FileKey>), Error> {
    let file_key = Arc::new(repo.file_key(conn, keys, version).await?);
    let (object, _) = version.manifest.ok_or(NO_MANIFEST)?;
    let bytes = whole_manifest(repo, conn, version.small_file, object).await?;
    Ok((opened(repo, keys, version, &file_key, &bytes)?, file_key))
}

/// The bytes of an extent's object.
pub(super) type ExtentBytes = (ObjectId, Vec<u8>);

/// The same for who is to read the version: the bytes of a small file come with its manifest.
pub(super) async fn open_to_read(
    repo: &Repo,
    keys: &ShareKeys,
    version: &VersionRow,
) -> Result<(Manifest, Arc<FileKey>, Option<ExtentBytes>), Error> {
    let conn = &mut *repo.records.read().await?;
    if let Some(row) = version.small_file {
        let file_key = Arc::new(repo.file_key(conn, keys, version).await?);
        if let Some((extent, extent_bytes, manifest_bytes)) = small_files::read(conn, row).await? {
            let manifest = opened(repo, keys, version, &file_key, &manifest_bytes)?;
            return Ok((manifest, file_key, Some((extent, extent_bytes))));
        }
    }
    let (manifest, file_key) = open_manifest(repo, conn, keys, version).await?;
    Ok((manifest, file_key, None))
}

/// A version's manifest, opened and compared with the row.
fn opened(
    repo: &Repo,
    keys: &ShareKeys,
    version: &VersionRow,
    file_key: &FileKey,
    bytes: &[u8],
) -> Result<Manifest, VaultError> {
    let (object, hash) = version.manifest.ok_or(NO_MANIFEST)?;
    let manifest = Manifest::open(bytes, file_key, keys.share, version.artifact, version.id, object, &hash)?;
    if manifest.arrival.is_none() && repo.keys.level() >= Level::Resealed {
        return Err(VaultError::Tampered { what: "a manifest, which is of a form that this house has given up" });
    }
    SealedFacts::of(&manifest).compare(version)?;
    Ok(manifest)
}

/// What was sealed of a version, its row compared.
pub(crate) async fn sealed_facts(
    repo: &Repo,
    conn: &mut Conn,
    keys: &ShareKeys,
    version: &VersionRow,
) -> Result<SealedFacts, Error> {
    Ok(SealedFacts::of(&open_manifest(repo, conn, keys, version).await?.0))
}

/// The version that readers of a file get; none if it has none.
///
/// # Errors
/// As of [`check_belongs`].
pub(crate) async fn current_version(
    repo: &Repo,
    conn: &mut Conn,
    file: &EntryRow,
) -> Result<Option<VersionRow>, Error> {
    let Some(current) = file.current else { return Ok(None) };
    let Some(version) = versions::by_id(conn, current.id).await? else { return Ok(None) };
    check_belongs(repo, conn, &file.id, version.artifact.as_bytes()).await?;
    Ok(Some(version))
}

/// Checks that what an entry holds is read and told under the name of `file`: it is that file's own,
/// or of one whose place it took, as tacdrop wrote down then.
///
/// # Errors
/// [`VaultError::Tampered`] if not: what another file bears is told under its own name only.
pub(crate) async fn check_belongs(
    repo: &Repo,
    conn: &mut Conn,
    file: &[u8; 16],
    entry: &[u8; 16],
) -> Result<(), Error> {
    if file == entry {
        return Ok(());
    }
    let links = entries::links(conn, file).await?;
    let mut at = *file;
    // Each link leads to another entry: a chain is no longer than its links.
    for _ in 0..links.len() {
        let Some(link) = links.iter().find(|link| link.entry == at) else { break };
        if !link.is_proved(&**repo.keys.proofs()) {
            break;
        }
        at = link.predecessor;
        if at == *entry {
            return Ok(());
        }
    }
    Err(VaultError::Tampered { what: "which versions are those of a file" }.into())
}
