//! SHA-256 of an upload while it arrives: it runs along the contiguous front and can go back to a state that it kept.

use crate::upload::checkpoint::RESUME_STEP;
use crate::vault::Digest;

/// States that are kept for going back; every second one is let go when there are more.
const KEPT: usize = 256;

/// The running digest and the states that it can go back to.
#[derive(Default)]
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

    /// Takes bytes that were written at `offset`. Those ahead of the front are hashed later, when the front gets there;
    /// those below it make it go back.
    pub(super) fn take(&mut self, offset: u64, bytes: &[u8]) {
        let mut bytes = self.at_front(offset, bytes);
        while !bytes.is_empty() {
            let now = self.up_to_step(&mut bytes);
            self.digest.update(now);
        }
    }

    /// Has each take what was written at its offset, several at once where the processor does that.
    pub(super) fn take_together(several: &mut [(&mut Self, u64, &[u8])]) {
        for (hasher, offset, bytes) in &mut *several {
            *bytes = hasher.at_front(*offset, bytes);
        }
        loop {
            let mut now: Vec<(&mut Digest, &[u8])> = Vec::with_capacity(several.len());
            for (hasher, _, bytes) in several.iter_mut().filter(|(.., bytes)| !bytes.is_empty()) {
                let piece = hasher.up_to_step(bytes);
                now.push((&mut hasher.digest, piece));
            }
            if now.is_empty() {
                return;
            }
            Digest::update_together(&mut now);
        }
    }

    /// What is to be hashed now of bytes that were written at `offset`: all, or nothing.
    fn at_front<'b>(&mut self, offset: u64, bytes: &'b [u8]) -> &'b [u8] {
        if offset < self.front() && !bytes.is_empty() {
            self.go_back(offset);
        }
        if offset == self.front() { bytes } else { &[] }
    }

    /// Takes off `bytes` what lies before the next multiple of [`RESUME_STEP`], and keeps the state if the front is at one.
    fn up_to_step<'b>(&mut self, bytes: &mut &'b [u8]) -> &'b [u8] {
        let front = self.front();
        let within = front % RESUME_STEP;
        if within == 0 && front > 0 {
            self.step = Some(self.digest.clone());
        }
        let to_step = usize::try_from(RESUME_STEP - within).unwrap_or(usize::MAX);
        let (now, later) = bytes.split_at(bytes.len().min(to_step));
        *bytes = later;
        now
    }

    /// What lies at `offset` and behind it has changed: falls back to the nearest state at or below it.
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
        /// Whatever order writes come in, catching up from the front gives the digest of what is there.
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Several together are what each is alone: the same fronts, and the same states to go back to.
        #[test]
        fn r16_hashers_that_take_together_are_as_alone(
            rounds in prop::collection::vec(prop::collection::vec((0u64..300_000, 0usize..90_000), 10), 1..6),
        ) {
            let bytes: Vec<u8> = (0..90_000_u32).map(|at| (at * 7 + (at >> 8)) as u8).collect();
            let mut together: Vec<Hasher> = (0..10).map(|_| Hasher::default()).collect();
            let mut alone: Vec<Hasher> = (0..10).map(|_| Hasher::default()).collect();
            for writes in rounds {
                // Two of three go on at the front, as writes do.
                let at = |hasher: &Hasher, offset: u64| if offset.is_multiple_of(3) { offset } else { hasher.front() };
                let mut several: Vec<(&mut Hasher, u64, &[u8])> = Vec::new();
                for ((one, other), (offset, length)) in together.iter_mut().zip(&mut alone).zip(writes) {
                    let offset = at(other, offset);
                    other.take(offset, &bytes[..length]);
                    several.push((one, offset, &bytes[..length]));
                }
                Hasher::take_together(&mut several);
                for (one, other) in together.iter_mut().zip(&mut alone) {
                    prop_assert_eq!((one.front(), one.finish()), (other.front(), other.finish()));
                    let states = |hasher: &Hasher| hasher.step.as_ref().map(Digest::save);
                    prop_assert_eq!(states(one), states(other));
                    one.keep();
                    other.keep();
                }
            }
        }
    }
}
