//! A small file as it is before its rows are written: what an upload would have made of it in
//! memory. For seeding.

use crate::model::{ArtifactId, Identifier, ObjectId, ObjectPlace, Time, Transport, VersionId};
use crate::repo::Error;
use crate::repo::keys::ShareKeys;
use crate::upload::checkpoint::Progress;
use crate::vault::extent::{EXTENT_HEAD, SEGMENT_LEAD, SEGMENT_TRAIL};
use crate::vault::{
    self, Arrival, Digest, ExtentEntry, ExtentIds, ExtentKey, ExtentSealer, HashOrigin, Manifest, Slice, SliceMap,
    VaultError, WrappedKey,
};

/// One version of one artifact, its extent and its manifest in memory.
pub(crate) struct SealedFile {
    pub(crate) artifact: ArtifactId,
    pub(crate) version: VersionId,
    pub(crate) file_key: WrappedKey,
    pub(crate) length: u64,
    pub(crate) sha256: [u8; 32],
    pub(crate) extent: ObjectId,
    pub(crate) extent_bytes: Vec<u8>,
    pub(crate) manifest: ObjectId,
    pub(crate) manifest_bytes: Vec<u8>,
    pub(crate) manifest_hash: [u8; 32],
    /// The sealed SHA-256 state at its end.
    pub(crate) state: Vec<u8>,
    pub(crate) at: Time,
}

/// Seals a new artifact's first version: `bytes` in one extent, 1 to 65,535 of them, for the
/// records.
pub(crate) fn seal(keys: &ShareKeys, sender: &Identifier, bytes: &[u8]) -> Result<SealedFile, Error> {
    let (artifact, version) =
        (ArtifactId::from_bytes(vault::random::array()?), VersionId::from_bytes(vault::random::array()?));
    let (object, manifest) =
        (ObjectId::from_bytes(vault::random::array()?), ObjectId::from_bytes(vault::random::array()?));
    let (file_key, wrapped) = keys.new_file_key(version)?;
    let (length, at) = (bytes.len() as u64, Time::now());

    let extent_key = ExtentKey::generate()?;
    let wrapped_extent = file_key.wrap_extent_key(version, object, &extent_key)?;
    let mut sealer = ExtentSealer::new(&ExtentIds { share: keys.share, artifact, extent: object }, &extent_key)?;
    let mut extent_bytes = Vec::with_capacity(EXTENT_HEAD + SEGMENT_LEAD + bytes.len() + SEGMENT_TRAIL);
    extent_bytes.extend_from_slice(sealer.head());
    extent_bytes.resize(EXTENT_HEAD + SEGMENT_LEAD, 0);
    extent_bytes.extend_from_slice(bytes);
    extent_bytes.resize(extent_bytes.len() + SEGMENT_TRAIL, 0);
    sealer.seal_last(extent_bytes.get_mut(EXTENT_HEAD..).ok_or(VaultError::Ended)?)?;
    let header_tag = sealer.header_tag();

    let mut digest = Digest::new();
    digest.update(bytes);
    let sha256 = digest.clone().finish();
    let state = Progress { digest, map: SliceMap::new() }.seal(&file_key, version, 0)?;
    let sealed = Manifest {
        share: keys.share,
        artifact,
        version,
        number: 1,
        length,
        sha256,
        hashed: HashOrigin::Streamed,
        sealed_at: at,
        arrival: Some(Arrival { sender: sender.clone(), transport: Transport::Modern, zeros: 0 }),
        slices: vec![Slice { offset: 0, length, extent: object, within: 0 }],
        extents: vec![ExtentEntry {
            extent: object,
            length,
            header_tag,
            key: WrappedKey::try_from(&wrapped_extent.as_bytes()[..])?,
            place: ObjectPlace::Records,
        }],
    };
    let manifest_bytes = sealed.seal(&file_key, manifest)?;
    Ok(SealedFile {
        artifact,
        version,
        file_key: wrapped,
        length,
        sha256,
        extent: object,
        extent_bytes,
        manifest,
        manifest_hash: vault::object_hash(&manifest_bytes),
        manifest_bytes,
        state,
        at,
    })
}
