//! Hashing for several uploads at once.
//!
//! One upload's SHA-256 goes from front to back, and without SHA instructions that bounds it. Several uploads' can be hashed
//! side by side in vector registers, which is then several times as fast ([`Digest::update_together`]). So a worker with a
//! full buffer lets others who are ready come first, and the first of them to go on hashes for those that wait with it. If
//! they are too few it hashes its own alone, so that idle cores hash the others'. Who is alone, or on a processor that hashes
//! one as quickly, hashes at once.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::buffer::Buffer;
use super::hasher::Hasher;
use crate::model::VersionId;
use crate::repo::Error;
use crate::store::StoreError;
use crate::vault::Digest;

/// Somebody who hashed this short a time ago is likely to come again: a few buffers' time.
const LATELY: Duration = Duration::from_millis(20);

/// Who waits to be hashed.
pub(crate) struct HashBatcher {
    /// From how many on they are quicker together. None: never.
    from: Option<usize>,
    lately: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Part>,
    /// Parts so far.
    parts: u64,
    /// Who came last, and when.
    last: Option<(VersionId, Instant)>,
}

/// A buffer, where it belongs, and who gets both back.
struct Part {
    number: u64,
    hasher: Hasher,
    offset: u64,
    buffer: Buffer,
    back: oneshot::Sender<(Hasher, Buffer)>,
}

impl Default for HashBatcher {
    fn default() -> Self {
        Self { from: Digest::together_from(), lately: LATELY, state: Mutex::default() }
    }
}

impl HashBatcher {
    /// Has the hasher of this version take what the buffer holds.
    ///
    /// # Errors
    /// If whoever hashed it panicked. The hasher knows nothing then.
    pub(super) async fn hash(
        &self,
        version: VersionId,
        hasher: &mut Hasher,
        offset: u64,
        buffer: Buffer,
    ) -> Result<Buffer, Error> {
        let from = self.from.filter(|_| buffer.is_full() && self.in_company(version));
        let Some(from) = from else {
            for (at, text) in buffer.texts_at(offset) {
                hasher.take(at, text);
            }
            return Ok(buffer);
        };
        let (back, mut done) = oneshot::channel();
        let number = self.wait(std::mem::take(hasher), offset, buffer, back);
        // Whoever else is ready to run on this thread comes first.
        let outcome = tokio::select! {
            biased;
            outcome = &mut done => outcome,
            () = tokio::task::yield_now() => {
                // Otherwise somebody else has it.
                if let Some(some) = self.together_with(number, from) {
                    hash_together(some);
                }
                done.await
            }
        };
        let lost = |_| StoreError::Io(std::io::Error::other("a part of an upload was not hashed"));
        let (back, buffer) = outcome.map_err(lost)?;
        *hasher = back;
        Ok(buffer)
    }

    /// Whether another version was hashed lately.
    fn in_company(&self, version: VersionId) -> bool {
        let last = self.state().last.replace((version, Instant::now()));
        last.is_some_and(|(other, at)| other != version && at.elapsed() < self.lately)
    }

    /// Joins those that wait. Who does not wait to the end leaves its part here, for the next ones to hash.
    fn wait(&self, hasher: Hasher, offset: u64, buffer: Buffer, back: oneshot::Sender<(Hasher, Buffer)>) -> u64 {
        let mut state = self.state();
        state.parts += 1;
        let number = state.parts;
        state.waiting.push_back(Part { number, hasher, offset, buffer, back });
        number
    }

    /// The part with this number, if it still waits, and as many others as go with it.
    fn together_with(&self, number: u64, from: usize) -> Option<Vec<Part>> {
        let mut state = self.state();
        let waiting = &mut state.waiting;
        let at = waiting.iter().position(|part| part.number == number)?;
        let others = if waiting.len() < from { 0 } else { waiting.len().min(Digest::MOST_TOGETHER) - 1 };
        let mut some: Vec<Part> = waiting.remove(at).into_iter().collect();
        some.extend(waiting.drain(..others));
        Some(some)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash_together(mut parts: Vec<Part>) {
    let mut texts: Vec<_> =
        parts.iter_mut().map(|part| (&mut part.hasher, part.buffer.texts_at(part.offset))).collect();
    loop {
        let mut now: Vec<(&mut Hasher, u64, &[u8])> = Vec::with_capacity(texts.len());
        for (hasher, texts) in &mut texts {
            now.extend(texts.next().map(|(at, text)| (&mut **hasher, at, text)));
        }
        if now.is_empty() {
            break;
        }
        Hasher::take_together(&mut now);
    }
    drop(texts);
    for part in parts {
        // Who does not wait any more gives its buffer back by this.
        let _ = part.back.send((part.hasher, part.buffer));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::Poll;

    use super::*;
    use crate::upload::buffer::CHUNK;

    /// One in which everybody is in company, on whatever processor.
    fn hash_batcher(from: usize) -> HashBatcher {
        HashBatcher { from: Some(from), lately: Duration::MAX, state: Mutex::default() }
    }

    fn version(number: u8) -> VersionId {
        VersionId::from_bytes([number; 16])
    }

    fn bytes(number: u8) -> Vec<u8> {
        (0..CHUNK).map(|at| (at as u8) ^ (at >> 9) as u8 ^ number).collect()
    }

    fn buffer(number: u8) -> Buffer {
        let mut buffer = Buffer::outside_budget();
        buffer.push(&bytes(number));
        buffer
    }

    fn digest(number: u8) -> [u8; 32] {
        let mut digest = Digest::new();
        digest.update(&bytes(number));
        digest.finish()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn r16_uploads_hashed_together_have_each_their_own_digest() {
        let hash_batcher = Arc::new(hash_batcher(2));
        let tasks: Vec<_> = (0..20_u8)
            .map(|number| {
                let hash_batcher = Arc::clone(&hash_batcher);
                tokio::spawn(async move {
                    let (mut hasher, mut expected) = (Hasher::default(), Digest::new());
                    for round in 0..u64::from(number % 7) + 3 {
                        expected.update(&bytes(number));
                        let offset = round * CHUNK as u64;
                        let back =
                            hash_batcher.hash(version(number), &mut hasher, offset, buffer(number)).await.unwrap();
                        assert!(back.texts().collect::<Vec<_>>().concat() == bytes(number), "upload {number}");
                        assert_eq!(hasher.finish(), expected.clone().finish(), "upload {number}, round {round}");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(hash_batcher.state().waiting.is_empty());
    }

    /// Who goes on first hashes for as many as go together, those that have waited longest; if there are fewer than are worth
    /// it, for itself alone.
    #[tokio::test]
    async fn who_goes_on_first_hashes_for_those_that_wait() {
        for (waiting, from, done) in [(3_usize, 3, 3), (2, 3, 1), (10, 2, 8)] {
            let hash_batcher = hash_batcher(from);
            let mut hashers: Vec<Hasher> = (0..=waiting).map(|_| Hasher::default()).collect();
            let (alone, others) = hashers.split_first_mut().unwrap();
            // Who comes first is in no company.
            hash_batcher.hash(version(0), alone, 0, buffer(0)).await.unwrap();
            let mut all: Vec<_> = (1..)
                .zip(others)
                .map(|(number, hasher)| Box::pin(hash_batcher.hash(version(number), hasher, 0, buffer(number))))
                .collect();
            for one in &mut all {
                assert!(is_pending(one.as_mut()).await);
            }
            assert_eq!(hash_batcher.state().waiting.len(), waiting);
            let mut last = all.pop().unwrap();
            (&mut last).await.unwrap();
            assert_eq!(hash_batcher.state().waiting.len(), waiting - done, "{waiting} from {from}");
            for one in all {
                one.await.unwrap();
            }
            drop(last);
            for (number, hasher) in (0..).zip(&hashers) {
                assert_eq!(hasher.finish(), digest(number), "{number} of {waiting}");
            }
        }
    }

    /// What nobody hashed is an error, not an empty digest.
    #[tokio::test]
    async fn a_part_that_is_lost_is_an_error() {
        let (hash_batcher, mut one, mut other) = (hash_batcher(2), Hasher::default(), Hasher::default());
        let waits = waiting(&hash_batcher, &mut one, &mut other).await;
        hash_batcher.state().waiting.clear();
        assert!(waits.await.is_err());
    }

    /// Who gives up waiting keeps nobody else from being hashed, and leaves nothing behind once somebody is.
    #[tokio::test]
    async fn who_does_not_wait_any_more_is_hashed_for_nobody() {
        let (hash_batcher, mut one, mut other) = (hash_batcher(2), Hasher::default(), Hasher::default());
        drop(waiting(&hash_batcher, &mut one, &mut other).await);
        assert_eq!(hash_batcher.state().waiting.len(), 1);
        hash_batcher.hash(version(1), &mut one, CHUNK as u64, buffer(1)).await.unwrap();
        assert_eq!((one.front(), hash_batcher.state().waiting.len()), (2 * CHUNK as u64, 0));
    }

    /// One has been hashed, and another waits.
    async fn waiting<'a>(
        hash_batcher: &'a HashBatcher,
        one: &mut Hasher,
        other: &'a mut Hasher,
    ) -> Pin<Box<impl Future<Output = Result<Buffer, Error>> + use<'a>>> {
        hash_batcher.hash(version(1), one, 0, buffer(1)).await.unwrap();
        let mut waits = Box::pin(hash_batcher.hash(version(2), other, 0, buffer(2)));
        assert!(is_pending(waits.as_mut()).await);
        waits
    }

    /// Polls it once.
    async fn is_pending(mut work: Pin<&mut impl Future>) -> bool {
        std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx).is_pending())).await
    }
}
