//! Extents: one contiguous run of what was written, as one immutable encrypted object.
//!
//! An object is a 64-byte header, a FLOE message's header, and FLOE segments of 65,536 bytes of
//! text; the last segment has the rest, possibly nothing. The 64-byte header is the associated data
//! of the message.

use subtle::ConstantTimeEq;

use super::floe::{self, Opener, Parameters, Sealer};
use super::{ExtentKey, VaultError};
use tacdrop_model::{ArtifactId, ObjectId, ShareId};

/// Bytes of text in every segment but the last.
pub const SEGMENT: usize = 65_536;
/// Bytes of a full sealed segment.
pub const SEALED_SEGMENT: usize = SEGMENT + SEGMENT_LEAD + SEGMENT_TRAIL;
/// Bytes of a sealed segment before its text: length field and nonce.
pub const SEGMENT_LEAD: usize = floe::LEAD;
/// Bytes of a sealed segment after its text: the tag.
pub const SEGMENT_TRAIL: usize = floe::OVERHEAD - floe::LEAD;
/// Bytes of an object before its first segment.
pub const EXTENT_HEAD: usize = HEADER + floe::HEADER;
/// Bytes of text in an extent, at most: what FLOE can number. (Writers stay far below.)
pub const MAX_EXTENT: u64 = (floe::MAX_SEGMENTS - 1) << SEGMENT_BITS;

const HEADER: usize = 64;
const SEGMENT_BITS: u32 = 16;
const MAGIC: [u8; 4] = *b"TDX1";
const CONTAINER: u8 = 1;
/// AES-256-GCM in FLOE with HKDF-Expand-SHA-384.
const SUITE: u8 = 1;
const PARAMETERS: Parameters = Parameters { segment: SEALED_SEGMENT as u32, rotation: 20 };
const WHAT: &str = "header of an extent";

const _: () = assert!(SEGMENT == 1 << SEGMENT_BITS && SEALED_SEGMENT == 65_568 && EXTENT_HEAD == 138);

/// What an extent belongs to; all of it is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentIds {
    /// The share.
    pub share: ShareId,
    /// The artifact for which the extent was written.
    pub artifact: ArtifactId,
    /// The extent's own id, which is also its object's.
    pub extent: ObjectId,
}

impl ExtentIds {
    fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MAGIC);
        header[4] = CONTAINER;
        header[5] = SUITE;
        header[6] = SEGMENT_BITS as u8;
        header[8..24].copy_from_slice(self.share.as_bytes());
        header[24..40].copy_from_slice(self.artifact.as_bytes());
        header[40..56].copy_from_slice(self.extent.as_bytes());
        header
    }
}

/// Seals one extent from front to back.
///
/// The key must be used for this extent only; each sealer draws a fresh iv all the same.
pub struct ExtentSealer {
    head: [u8; EXTENT_HEAD],
    floe: Sealer,
}

impl ExtentSealer {
    /// Begins an extent.
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn new(ids: &ExtentIds, key: &ExtentKey) -> Result<Self, VaultError> {
        let header = ids.header();
        let floe = Sealer::new(PARAMETERS, key.bytes(), &header)?;
        let mut head = [0; EXTENT_HEAD];
        head[..HEADER].copy_from_slice(&header);
        head[HEADER..].copy_from_slice(floe.header());
        Ok(Self { head, floe })
    }

    /// The first bytes of the object.
    pub const fn head(&self) -> &[u8; EXTENT_HEAD] {
        &self.head
    }

    /// The FLOE header tag, for the manifest: it commits to key, ids and iv.
    pub fn header_tag(&self) -> [u8; 32] {
        let mut tag = [0; 32];
        tag.copy_from_slice(&self.head[EXTENT_HEAD - 32..]);
        tag
    }

    /// Seals a full segment in place: `segment` has [`SEALED_SEGMENT`] bytes, its text lies at
    /// [`SEGMENT_LEAD`].
    ///
    /// # Errors
    /// [`VaultError::Malformed`] for another length, [`VaultError::Ended`] after the last segment,
    /// [`VaultError::Randomness`]. The segment is then not sealed and the extent is to be
    /// abandoned.
    pub fn seal_inner(&mut self, segment: &mut [u8]) -> Result<(), VaultError> {
        self.floe.seal_inner(segment)
    }

    /// Seals the last segment in place and ends the extent: `segment` has 32 + n bytes, the n bytes
    /// of its text lie at [`SEGMENT_LEAD`]. n is what is left after the full segments, 0 to 65,535.
    ///
    /// # Errors
    /// As [`ExtentSealer::seal_inner`].
    pub fn seal_last(&mut self, segment: &mut [u8]) -> Result<(), VaultError> {
        // FLOE would take a full last segment, but then the place of a segment would not follow
        // from the length alone.
        if segment.len() >= SEALED_SEGMENT {
            return Err(VaultError::Malformed { what: "segment to seal" });
        }
        self.floe.seal_last(segment)
    }

    /// Opens the segments sealed so far: an unfinished extent is read back while it is written.
    pub fn opener(&self) -> ExtentOpener {
        ExtentOpener { floe: self.floe.opener() }
    }
}

/// Opens the segments of one extent, in any order, from several threads at once. Cheap to clone.
#[derive(Clone)]
pub struct ExtentOpener {
    floe: Opener,
}

impl ExtentOpener {
    /// Checks an extent's first [`EXTENT_HEAD`] bytes: every one is compared, and the header tag
    /// must be the manifest's and the key's. Nothing is decrypted before.
    ///
    /// # Errors
    /// [`VaultError::Malformed`] for another length or magic, [`VaultError::UnknownFormat`] for
    /// another container version or suite, [`VaultError::Tampered`] for other ids, iv or tag than
    /// the manifest's, [`VaultError::WrongKey`].
    pub fn new(ids: &ExtentIds, key: &ExtentKey, head: &[u8], header_tag: &[u8; 32]) -> Result<Self, VaultError> {
        let malformed = VaultError::Malformed { what: WHAT };
        let head: &[u8; EXTENT_HEAD] = head.try_into().map_err(|_| malformed)?;
        let (header, message) = head.split_first_chunk::<HEADER>().ok_or(malformed)?;
        let message: &[u8; floe::HEADER] = message.try_into().map_err(|_| malformed)?;
        if header[..4] != MAGIC {
            return Err(malformed);
        }
        if header[4] != CONTAINER || header[5] != SUITE {
            return Err(VaultError::UnknownFormat { what: WHAT });
        }
        let tag_is_the_manifests: bool = message[floe::HEADER - 32..].ct_eq(header_tag).into();
        if *header != ids.header() || !tag_is_the_manifests {
            return Err(VaultError::Tampered { what: WHAT });
        }
        Ok(Self { floe: Opener::new(PARAMETERS, key.bytes(), header, message)? })
    }

    /// Opens the segment at `position` in place and gives its text. [`segment_range`] says where it
    /// lies, how long it is and whether it is the last.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] if it is not the segment that was sealed there; `segment` is then
    /// undefined.
    pub fn open_segment<'a>(
        &self,
        position: u64,
        last: bool,
        segment: &'a mut [u8],
    ) -> Result<&'a mut [u8], VaultError> {
        if last && segment.len() >= SEALED_SEGMENT {
            return Err(VaultError::Tampered { what: "encrypted segment" });
        }
        self.floe.open(position, last, segment)
    }

    /// Opens a whole object. `plaintext` is the length in the manifest.
    #[cfg(test)]
    pub(crate) fn open_object(
        ids: &ExtentIds,
        key: &ExtentKey,
        header_tag: &[u8; 32],
        plaintext: u64,
        object: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        let tampered = VaultError::Tampered { what: "extent" };
        if plaintext > MAX_EXTENT || object.len() as u64 != sealed_length(plaintext) {
            return Err(tampered);
        }
        let (head, mut segments) = object.split_at_checked(EXTENT_HEAD).ok_or(tampered)?;
        let opener = Self::new(ids, key, head, header_tag)?;
        let mut text = Vec::with_capacity(segments.len());
        let mut buffer = Vec::new();
        let mut position = 0;
        while let Some((_, length, last)) = segment_range(plaintext, position) {
            let (segment, rest) = segments.split_at_checked(length).ok_or(tampered)?;
            buffer.clear();
            buffer.extend_from_slice(segment);
            text.extend_from_slice(opener.open_segment(position, last, &mut buffer)?);
            segments = rest;
            position += 1;
        }
        Ok(text)
    }
}

/// The length of the object whose extent has `plaintext` bytes ([`MAX_EXTENT`] at most). A stored
/// object of any other length is not the one that was sealed.
///
/// There is always a last segment, with `plaintext % 65536` bytes of text: 65,536 bytes make one
/// full segment and an empty last one.
pub const fn sealed_length(plaintext: u64) -> u64 {
    let full = plaintext >> SEGMENT_BITS;
    plaintext.saturating_add((full + 1) * floe::OVERHEAD as u64 + EXTENT_HEAD as u64)
}

/// Where the segment `position` of an extent of `plaintext` bytes lies: offset in the object,
/// sealed length, and whether it is the last. `None` behind the last.
pub const fn segment_range(plaintext: u64, position: u64) -> Option<(u64, usize, bool)> {
    let last = plaintext >> SEGMENT_BITS;
    if position > last || plaintext > MAX_EXTENT {
        return None;
    }
    let offset = EXTENT_HEAD as u64 + position * SEALED_SEGMENT as u64;
    if position < last {
        Some((offset, SEALED_SEGMENT, false))
    } else {
        Some((offset, floe::OVERHEAD + (plaintext % SEGMENT as u64) as usize, true))
    }
}

#[cfg(test)]
#[path = "extent_tests.rs"]
mod tests;
