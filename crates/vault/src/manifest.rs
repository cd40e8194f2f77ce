//! The manifest of a version: the authenticated map from its bytes to extents, its length and
//! SHA-256.
//!
//! It is sealed under a key derived from the version's file key, as an object of its own; the
//! SHA-256 of the sealed bytes stands in the version's row, so that neither an older nor another
//! version's manifest opens in its place (R05).

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::extent::MAX_EXTENT;
use super::key::WRAPPED_KEY;
use super::{FileKey, VaultError, WrappedKey};
use tacdrop_model::{ArtifactId, Identifier, ObjectId, ObjectPlace, ShareId, Time, Transport, VersionId};

/// Slices of one version, at most. Whoever writes more compacts them first.
pub const MAX_SLICES: usize = 65_536;

const MAGIC: [u8; 4] = *b"TDM1";
/// The container version that says nothing of how a version came.
const WITHOUT_ARRIVAL: u8 = 1;
/// The one that does.
const WITH_ARRIVAL: u8 = 2;
/// AES-256-GCM under HKDF-Expand-SHA-256(file key, "tacdrop/1 manifest").
const SUITE: u8 = 1;
const HEADER: usize = 72;
/// What comes before the tables in the encrypted part.
const FIXED: usize = 64;
/// What follows there in [`WITH_ARRIVAL`], ahead of the sender's login of 1 to 64 bytes.
const ZEROS: usize = 8;
const LONGEST_LOGIN: usize = 64;
const EXTENT_ENTRY: usize = 120;
const SLICE_ENTRY: usize = 28;
const SEAL: usize = 12 + 16;
const MAX_MANIFEST: usize = HEADER + SEAL + FIXED + ZEROS + LONGEST_LOGIN + MAX_SLICES * (EXTENT_ENTRY + SLICE_ENTRY);
const WHAT: &str = "manifest";
const MALFORMED: VaultError = VaultError::Malformed { what: WHAT };

/// One contiguous run of a version's bytes and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Where in the file it begins.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
    /// The extent that holds them.
    pub extent: ObjectId,
    /// Where in the extent's plaintext they begin.
    pub within: u64,
}

/// An extent that a version's map uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentEntry {
    /// Its id, which is also its object's.
    pub extent: ObjectId,
    /// Bytes of plaintext in it.
    pub length: u64,
    /// The FLOE header tag, which commits to key, ids and iv.
    pub header_tag: [u8; 32],
    /// Its key, wrapped under this version's file key.
    pub key: WrappedKey,
    /// Where its object lies.
    pub place: ObjectPlace,
}

/// How a version's SHA-256 was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashOrigin {
    /// In one go, while the bytes came.
    Streamed,
    /// Continued from a stored state.
    Resumed,
    /// At least in part by reading back what was written.
    ReRead,
}

/// How a version came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The login that sent it.
    pub sender: Identifier,
    /// The weakest transport that anything of it came by.
    pub transport: Transport,
    /// Bytes of it that were never sent, and are zeros.
    pub zeros: u64,
}

/// All that is needed to read a version, beside its file key and its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The share it lies in.
    pub share: ShareId,
    /// The artifact whose version it is.
    pub artifact: ArtifactId,
    /// The version's id.
    pub version: VersionId,
    /// The version's number in its artifact, from 1.
    pub number: u32,
    /// Bytes in all.
    pub length: u64,
    /// SHA-256 of all bytes.
    pub sha256: [u8; 32],
    /// How that was computed.
    pub hashed: HashOrigin,
    /// When the version was sealed: when its sender's CLOSE was answered.
    pub sealed_at: Time,
    /// How it came. Without it, this is a manifest of container version 1, as tacdrop sealed them
    /// until it knew better.
    pub arrival: Option<Arrival>,
    /// The map: sorted, from 0 to `length` without gap or overlap, [`MAX_SLICES`] at most.
    pub slices: Vec<Slice>,
    /// Each extent that the map uses, once.
    pub extents: Vec<ExtentEntry>,
}

/// SHA-256 of a sealed manifest, which stands in the version's row.
pub fn object_hash(sealed: &[u8]) -> [u8; 32] {
    Sha256::digest(sealed).into()
}

/// Whether the manifest of a version of `extents` extents can have `bytes` bytes; `login` is the
/// length of its sender's login, none in manifests that do not say who that is. Cheap: says nothing
/// of what is in them.
pub fn can_be_long(extents: u64, login: Option<u64>, bytes: u64) -> bool {
    let least =
        extents.saturating_mul((EXTENT_ENTRY + SLICE_ENTRY) as u64).saturating_add((HEADER + SEAL + FIXED) as u64);
    let least = least.saturating_add(login.map_or(0, |login| login.saturating_add(ZEROS as u64)));
    // More slices than extents, and none without an extent.
    let slices = bytes.checked_sub(least).filter(|more| more % SLICE_ENTRY as u64 == 0);
    bytes <= MAX_MANIFEST as u64 && slices.is_some_and(|more| extents > 0 || more == 0)
}

impl Manifest {
    /// The bytes of the manifest's object: `header (72) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`.
    ///
    /// # Errors
    /// [`VaultError::Malformed`] if the map has a hole or breaks another rule of [`Manifest`]'s
    /// fields; [`VaultError::Randomness`], [`VaultError::TooManyEncryptions`].
    pub fn seal(&self, key: &FileKey, object: ObjectId) -> Result<Vec<u8>, VaultError> {
        let mut body = Vec::with_capacity(FIXED + self.extents.len() * EXTENT_ENTRY + self.slices.len() * SLICE_ENTRY);
        body.extend_from_slice(&self.number.to_be_bytes());
        body.push(match self.hashed {
            HashOrigin::Streamed => 1,
            HashOrigin::Resumed => 2,
            HashOrigin::ReRead => 3,
        });
        let login = self.arrival.as_ref().map_or("", |arrival| arrival.sender.as_str());
        body.push(match &self.arrival {
            None => 0,
            Some(Arrival { transport: Transport::Modern, .. }) => 1,
            Some(Arrival { transport: Transport::Legacy, .. }) => 2,
        });
        body.push(u8::try_from(login.len()).map_err(|_| MALFORMED)?);
        body.push(0);
        body.extend_from_slice(&self.sealed_at.millis().to_be_bytes());
        body.extend_from_slice(&self.length.to_be_bytes());
        body.extend_from_slice(&self.sha256);
        for count in [self.extents.len(), self.slices.len()] {
            body.extend_from_slice(&u32::try_from(count).map_err(|_| MALFORMED)?.to_be_bytes());
        }
        if let Some(arrival) = &self.arrival {
            body.extend_from_slice(&arrival.zeros.to_be_bytes());
            body.extend_from_slice(login.as_bytes());
        }
        for entry in &self.extents {
            body.extend_from_slice(entry.extent.as_bytes());
            body.extend_from_slice(&entry.length.to_be_bytes());
            body.extend_from_slice(&entry.header_tag);
            body.extend_from_slice(entry.key.as_bytes());
            body.push(match entry.place {
                ObjectPlace::Store => 1,
                ObjectPlace::Records => 2,
            });
            body.extend_from_slice(&[0; 3]);
        }
        for (slice, index) in self.slices.iter().zip(self.check()?) {
            body.extend_from_slice(&slice.offset.to_be_bytes());
            body.extend_from_slice(&slice.length.to_be_bytes());
            body.extend_from_slice(&index.to_be_bytes());
            body.extend_from_slice(&slice.within.to_be_bytes());
        }
        key.count_encryption()?;
        let container = if self.arrival.is_some() { WITH_ARRIVAL } else { WITHOUT_ARRIVAL };
        let header = header(container, self.share, self.artifact, self.version, object);
        key.manifest_key().seal_to_vec(&header, &header, &body)
    }

    /// Opens a manifest's object: its hash, every byte of its header, its seal and its map are
    /// checked.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] if it is not the object that the version's row speaks of or does
    /// not open under `key`; [`VaultError::UnknownFormat`] for another container version or suite;
    /// [`VaultError::Malformed`] for everything that this format does not allow.
    pub fn open(
        bytes: &[u8],
        key: &FileKey,
        share: ShareId,
        artifact: ArtifactId,
        version: VersionId,
        object: ObjectId,
        expected_hash: &[u8; 32],
    ) -> Result<Self, VaultError> {
        if bytes.len() > MAX_MANIFEST {
            return Err(MALFORMED);
        }
        if object_hash(bytes) != *expected_hash {
            return Err(VaultError::Tampered { what: WHAT });
        }
        let (found, sealed) = bytes.split_first_chunk::<HEADER>().ok_or(MALFORMED)?;
        if found[..4] != MAGIC {
            return Err(MALFORMED);
        }
        let container = found[4];
        if ![WITHOUT_ARRIVAL, WITH_ARRIVAL].contains(&container) || found[5] != SUITE {
            return Err(VaultError::UnknownFormat { what: WHAT });
        }
        let header = header(container, share, artifact, version, object);
        if *found != header {
            return Err(VaultError::Tampered { what: WHAT });
        }
        let body = key.manifest_key().open_to_vec(&header, sealed, WHAT)?;
        Self::decode(&body, container, share, artifact, version)
    }

    fn decode(
        body: &[u8],
        container: u8,
        share: ShareId,
        artifact: ArtifactId,
        version: VersionId,
    ) -> Result<Self, VaultError> {
        let mut body = Bytes(body);
        let number = u32::from_be_bytes(body.take()?);
        let [origin, transport, login, 0] = body.take()? else { return Err(MALFORMED) };
        let hashed = match origin {
            1 => HashOrigin::Streamed,
            2 => HashOrigin::Resumed,
            3 => HashOrigin::ReRead,
            _ => return Err(MALFORMED),
        };
        let sealed_at = Time::from_millis(i64::from_be_bytes(body.take()?));
        let length = u64::from_be_bytes(body.take()?);
        let sha256 = body.take()?;
        let extent_count = u32::from_be_bytes(body.take()?) as usize;
        let slice_count = u32::from_be_bytes(body.take()?) as usize;
        let arrival = match (container, transport, login) {
            (WITHOUT_ARRIVAL, 0, 0) => None,
            (WITH_ARRIVAL, transport @ 1..=2, login) => Some(Arrival {
                transport: if transport == 1 { Transport::Modern } else { Transport::Legacy },
                zeros: u64::from_be_bytes(body.take()?),
                sender: str::from_utf8(body.take_some(usize::from(login))?)
                    .ok()
                    .and_then(|login| login.parse().ok())
                    .ok_or(MALFORMED)?,
            }),
            _ => return Err(MALFORMED),
        };
        // Bounds before the tables are read; every extent is used, so there are never more of them
        // than slices.
        if slice_count > MAX_SLICES
            || extent_count > slice_count
            || body.0.len() != extent_count * EXTENT_ENTRY + slice_count * SLICE_ENTRY
        {
            return Err(MALFORMED);
        }
        let mut extents = Vec::with_capacity(extent_count);
        for _ in 0..extent_count {
            extents.push(ExtentEntry {
                extent: ObjectId::from_bytes(body.take()?),
                length: u64::from_be_bytes(body.take()?),
                header_tag: body.take()?,
                key: WrappedKey::try_from(&body.take::<WRAPPED_KEY>()?[..])?,
                place: match body.take()? {
                    [1, 0, 0, 0] => ObjectPlace::Store,
                    [2, 0, 0, 0] => ObjectPlace::Records,
                    _ => return Err(MALFORMED),
                },
            });
        }
        let mut slices = Vec::with_capacity(slice_count);
        for _ in 0..slice_count {
            let offset = u64::from_be_bytes(body.take()?);
            let length = u64::from_be_bytes(body.take()?);
            let index = u32::from_be_bytes(body.take()?) as usize;
            let extent = extents.get(index).ok_or(MALFORMED)?.extent;
            slices.push(Slice { offset, length, extent, within: u64::from_be_bytes(body.take()?) });
        }
        let manifest =
            Self { share, artifact, version, number, length, sha256, hashed, sealed_at, arrival, slices, extents };
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks the rules of the fields and gives, for each slice, its extent's place in the table.
    fn check(&self) -> Result<Vec<u32>, VaultError> {
        let zeros = self.arrival.as_ref().map_or(0, |arrival| arrival.zeros);
        if self.number == 0
            || zeros > self.length
            || self.slices.len() > MAX_SLICES
            || self.extents.len() > self.slices.len()
        {
            return Err(MALFORMED);
        }
        let mut by_id = Vec::with_capacity(self.extents.len());
        for (index, entry) in (0..).zip(&self.extents) {
            if entry.length > MAX_EXTENT {
                return Err(MALFORMED);
            }
            by_id.push((entry.extent, index, entry.length));
        }
        by_id.sort_unstable();
        if by_id.windows(2).any(|pair| matches!(pair, [one, two] if one.0 == two.0)) {
            return Err(MALFORMED);
        }
        let mut indices = Vec::with_capacity(self.slices.len());
        let mut used = BTreeSet::new();
        let mut end = 0_u64;
        for slice in &self.slices {
            let at = by_id.binary_search_by_key(&slice.extent, |(id, _, _)| *id).map_err(|_| MALFORMED)?;
            let (_, index, length) = *by_id.get(at).ok_or(MALFORMED)?;
            let inside = slice.within.checked_add(slice.length).is_some_and(|behind| behind <= length);
            if slice.offset != end || slice.length == 0 || !inside {
                return Err(MALFORMED);
            }
            end = end.checked_add(slice.length).ok_or(MALFORMED)?;
            used.insert(index);
            indices.push(index);
        }
        if end == self.length && used.len() == self.extents.len() { Ok(indices) } else { Err(MALFORMED) }
    }
}

fn header(container: u8, share: ShareId, artifact: ArtifactId, version: VersionId, object: ObjectId) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[4] = container;
    header[5] = SUITE;
    header[8..24].copy_from_slice(share.as_bytes());
    header[24..40].copy_from_slice(artifact.as_bytes());
    header[40..56].copy_from_slice(version.as_bytes());
    header[56..].copy_from_slice(object.as_bytes());
    header
}

/// What is left to decode.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], VaultError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn take_some(&mut self, count: usize) -> Result<&[u8], VaultError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
