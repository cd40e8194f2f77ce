//! What an unfinished upload leaves in the records so that it can be continued: its map and its
//! SHA-256 state, sealed.
//!
//! `docs/format.md` describes the bytes.

use crate::model::{ObjectId, VersionId};
use crate::vault::{Digest, FileKey, Slice, SliceMap, VaultError};

/// STAT of an unfinished upload gives a multiple of this.
pub(crate) const RESUME_STEP: u64 = 64 << 10;
const MALFORMED: VaultError = VaultError::Malformed { what: "state of an unfinished upload" };

/// The state that an upload goes on from.
pub(super) struct Progress {
    /// The SHA-256 state; how far it is may be less than what is there.
    pub(super) digest: Digest,
    /// What is durable.
    pub(super) map: SliceMap,
}

impl Progress {
    /// Seals it. `at` stands in the version's row beside it and is authenticated.
    pub(super) fn seal(&self, key: &FileKey, version: VersionId, at: u64) -> Result<Vec<u8>, VaultError> {
        let digest = self.digest.save();
        let length = u16::try_from(digest.len()).map_err(|_| MALFORMED)?;
        let count = u32::try_from(self.map.slices().len()).map_err(|_| MALFORMED)?;
        let mut bytes = Vec::with_capacity(8 + digest.len() + self.map.slices().len() * 40);
        bytes.extend(length.to_be_bytes());
        bytes.extend(&digest);
        bytes.extend(count.to_be_bytes());
        for slice in self.map.slices() {
            bytes.extend(slice.offset.to_be_bytes());
            bytes.extend(slice.length.to_be_bytes());
            bytes.extend(slice.extent.as_bytes());
            bytes.extend(slice.within.to_be_bytes());
        }
        key.seal_state(version, at, &bytes)
    }

    /// Opens what [`seal`](Self::seal) made. A SHA-256 state of another version of the hash library
    /// is let go: the bytes are read again.
    pub(super) fn open(key: &FileKey, version: VersionId, at: u64, sealed: &[u8]) -> Result<Self, VaultError> {
        let bytes = key.open_state(version, at, sealed)?;
        let (length, rest) = bytes.split_first_chunk::<2>().ok_or(MALFORMED)?;
        let (digest, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(MALFORMED)?;
        let digest = match Digest::restore(digest) {
            Err(VaultError::OtherDigestVersion) => Digest::new(),
            other => other?,
        };
        let (count, rest) = rest.split_first_chunk::<4>().ok_or(MALFORMED)?;
        let (slices, []) = rest.as_chunks::<40>() else { return Err(MALFORMED) };
        if slices.len() as u64 != u64::from(u32::from_be_bytes(*count)) {
            return Err(MALFORMED);
        }
        let slices = slices.iter().map(slice).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { digest, map: SliceMap::from_slices(slices)? })
    }
}

fn slice(bytes: &[u8; 40]) -> Result<Slice, VaultError> {
    let number = |at: usize| -> Result<u64, VaultError> {
        let field = bytes.get(at..at + 8).and_then(|field| field.try_into().ok()).ok_or(MALFORMED)?;
        Ok(u64::from_be_bytes(field))
    };
    let extent = bytes.get(16..32).and_then(|id| ObjectId::try_from(id).ok()).ok_or(MALFORMED)?;
    Ok(Slice { offset: number(0)?, length: number(8)?, extent, within: number(32)? })
}

/// Where an upload whose first `durable` bytes are there can go on: the largest multiple of
/// [`RESUME_STEP`] strictly below, so that a client which lost the line between its last byte and
/// CLOSE still has something to send. But what it began with, its `floor` in bytes, is nothing that
/// its client still has to send: it never goes on before that, unless bytes of it are missing.
pub(crate) const fn resume_point(durable: u64, floor: u64) -> u64 {
    let step = durable.saturating_sub(1) / RESUME_STEP * RESUME_STEP;
    if step < floor && floor <= durable { floor } else { step }
}

/// Whether an upload whose first `durable` bytes are there can have `at` as its resume point,
/// whatever it began with.
pub(super) const fn is_resume_point(at: u64, durable: u64) -> bool {
    resume_point(durable, 0) <= at && at <= durable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_survives_its_sealing_and_nothing_else() {
        let (key, version) = (FileKey::generate().unwrap(), VersionId::from_bytes([1; 16]));
        let mut map = SliceMap::new();
        for (offset, length, byte) in [(0, 100, 1), (150, 50, 2)] {
            map.lay(Slice { offset, length, extent: ObjectId::from_bytes([byte; 16]), within: 7 });
        }
        let mut digest = Digest::new();
        digest.update(b"abc");
        let progress = Progress { digest, map };
        let sealed = progress.seal(&key, version, 64).unwrap();
        let opened = Progress::open(&key, version, 64, &sealed).unwrap();
        assert_eq!((opened.map, opened.digest.hashed()), (progress.map, 3));
        assert!(Progress::open(&key, version, 65, &sealed).is_err());
    }

    #[test]
    fn r26_the_resume_point_is_strictly_below() {
        let step = RESUME_STEP;
        let points =
            [(0, 0), (1, 0), (step, 0), (step + 1, step), (3 * step, 2 * step), (u64::MAX, u64::MAX / step * step)];
        for (durable, point) in points {
            assert_eq!(resume_point(durable, 0), point, "{durable}");
            assert!(is_resume_point(point, durable), "{durable}");
        }
    }

    #[test]
    fn r26_what_an_upload_began_with_is_not_sent_again() {
        let step = RESUME_STEP;
        // Bytes that are there, what it began with, where it goes on.
        for (durable, floor, point) in [
            (300_000, 300_000, 300_000),
            (300_010, 300_000, 300_000),
            (6 * step, 300_000, 5 * step),
            // Bytes of what it began with are missing.
            (10, 300_000, 0),
            (2 * step, 300_000, step),
        ] {
            assert_eq!(resume_point(durable, floor), point, "{durable} {floor}");
            assert!(is_resume_point(point, durable), "{durable} {floor}");
        }
        assert!(!is_resume_point(0, step + 1) && !is_resume_point(step + 2, step + 1));
    }
}
