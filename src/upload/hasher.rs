//! SHA-256 of an upload while it arrives: it runs along the contiguous front and can go back to a
//! state that it kept.

use crate::upload::checkpoint::RESUME_STEP;
use crate::vault::Digest;

/// States that are kept for going back; every second one is let go when there are more.
const KEPT: usize = 256;

/// The running digest and the states that it can go back to.
pub(super) struct Hasher {
    digest: Digest,
    /// At the last multiple of [`RESUME_STEP`] that lies strictly below the front.
    step: Option<Digest>,
    /// At the ends of extents, ascending.
    kept: Vec<Digest>,
}

impl Hasher {
    /// Goes on from a state: a new one, one of an unfinished upload, or that of the version before.
    pub(super) fn from(digest: Digest) -> Self {
        let kept = if digest.hashed() > 0 { vec![digest.clone()] } else { Vec::new() };
        Self { digest, step: None, kept }
    }

    /// How many bytes from the start of the file are hashed.
    pub(super) const fn front(&self) -> u64 {
        self.digest.hashed()
    }

    /// Takes bytes that were written at `offset`. Those ahead of the front are hashed later, when
    /// the front gets there; those below it make it go back.
    pub(super) fn take(&mut self, offset: u64, mut bytes: &[u8]) {
        if offset < self.front() && !bytes.is_empty() {
            self.go_back(offset);
        }
        if offset != self.front() {
            return;
        }
        while !bytes.is_empty() {
            let within = self.front() % RESUME_STEP;
            if within == 0 && self.front() > 0 {
                self.step = Some(self.digest.clone());
            }
            let to_step = usize::try_from(RESUME_STEP - within).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(to_step));
            self.digest.update(now);
            bytes = later;
        }
    }

    /// What lies at `offset` and behind it has changed: falls back to the nearest state at or below
    /// it.
    pub(super) fn go_back(&mut self, offset: u64) {
        if offset >= self.front() {
            return;
        }
        self.digest = self.at_or_below(offset);
        let front = self.front();
        self.kept.retain(|state| state.hashed() <= front);
        self.step.take_if(|state| state.hashed() >= front);
    }

    /// Keeps the present state.
    pub(super) fn keep(&mut self) {
        if self.kept.last().is_some_and(|last| last.hashed() >= self.front()) {
            return;
        }
        self.kept.push(self.digest.clone());
        if self.kept.len() > KEPT {
            let mut even = false;
            self.kept.retain(|_| {
                even = !even;
                even
            });
        }
    }

    /// The nearest state at or below `offset`.
    pub(super) fn at_or_below(&self, offset: u64) -> Digest {
        self.kept
            .iter()
            .chain(&self.step)
            .chain([&self.digest])
            .filter(|state| state.hashed() <= offset)
            .max_by_key(|state| state.hashed())
            .cloned()
            .unwrap_or_default()
    }

    /// The digest of everything up to the front.
    pub(super) fn finish(&self) -> [u8; 32] {
        self.digest.clone().finish()
    }

    /// The state at the front.
    pub(super) const fn state(&self) -> &Digest {
        &self.digest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(bytes: &[u8]) -> [u8; 32] {
        let mut digest = Digest::new();
        digest.update(bytes);
        digest.finish()
    }

    proptest! {
        /// Whatever order writes come in, catching up from the front gives the digest of what is
        /// there.
        #[test]
        fn r16_any_order_of_writes_gives_the_digest_of_the_bytes(
            writes in prop::collection::vec((0u64..300_000, 1usize..90_000, any::<u8>()), 1..12),
        ) {
            let mut file: Vec<u8> = Vec::new();
            let mut hasher = Hasher::from(Digest::new());
            for (offset, length, byte) in writes {
                let start = usize::try_from(offset).unwrap().min(file.len());
                let end = start + length;
                if file.len() < end { file.resize(end, 0); }
                file[start..end].fill(byte);
                hasher.take(start as u64, &vec![byte; length]);
                hasher.keep();
                for point in [0, start, file.len() / 2, file.len()] {
                    let state = hasher.at_or_below(point as u64);
                    let hashed = usize::try_from(state.hashed()).unwrap();
                    prop_assert!(hashed <= point);
                    prop_assert_eq!(state.finish(), of(&file[..hashed]));
                }
            }
            let front = usize::try_from(hasher.front()).unwrap();
            hasher.take(front as u64, &file[front..]);
            prop_assert_eq!(hasher.finish(), of(&file));
        }
    }
}
