//! Hashing for several uploads at once.
//!
//! One upload's SHA-256 goes from front to back, and without SHA instructions that bounds it. Several uploads' can be hashed
//! side by side in vector registers, which is then several times as fast ([`Digest::update_together`]). So a worker with a
//! full buffer lets others who are ready come first, and the first of them to go on hashes for all that wait. Nobody waits
//! for more than that: who is alone, or on a processor that hashes one as quickly, hashes at once.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::buffer::Buffer;
use super::hasher::Hasher;
use crate::model::VersionId;
use crate::share::Error;
use crate::store::StoreError;
use crate::vault::Digest;

/// Somebody who hashed this short a time ago is likely to come again: a few buffers' time.
const LATELY: Duration = Duration::from_millis(20);

/// Who waits to be hashed.
pub(crate) struct Chorus {
    /// Whether several are quicker together.
    together: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Part>,
    /// Who came last, and when.
    last: Option<(VersionId, Instant)>,
}

/// A buffer, where it belongs, and who gets both back.
struct Part {
    hasher: Hasher,
    offset: u64,
    buffer: Buffer,
    back: oneshot::Sender<(Hasher, Buffer)>,
}

impl Default for Chorus {
    fn default() -> Self {
        Self { together: Digest::together_from().is_some(), state: Mutex::default() }
    }
}

impl Chorus {
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
        if !(self.together && buffer.is_full() && self.in_company(version)) {
            let mut at = offset;
            for text in buffer.texts() {
                hasher.take(at, text);
                at += text.len() as u64;
            }
            return Ok(buffer);
        }
        let (back, mut done) = oneshot::channel();
        self.state().waiting.push_back(Part { hasher: std::mem::take(hasher), offset, buffer, back });
        // Whoever else is ready to run on this thread comes first.
        tokio::task::yield_now().await;
        let outcome = loop {
            match done.try_recv() {
                Err(TryRecvError::Empty) => {}
                outcome => break outcome.ok(),
            }
            let some = self.next();
            if some.is_empty() {
                // Somebody else has it.
                break done.await.ok();
            }
            hash_together(some);
        };
        let lost = || StoreError::Io(std::io::Error::other("a part of an upload was not hashed"));
        let (back, buffer) = outcome.ok_or_else(lost)?;
        *hasher = back;
        Ok(buffer)
    }

    /// Whether another version was hashed lately.
    fn in_company(&self, version: VersionId) -> bool {
        let last = self.state().last.replace((version, Instant::now()));
        last.is_some_and(|(other, at)| other != version && at.elapsed() < LATELY)
    }

    /// Those whose turn it is: as many as go together.
    fn next(&self) -> Vec<Part> {
        let waiting = &mut self.state().waiting;
        let some = waiting.len().min(Digest::MOST_TOGETHER);
        waiting.drain(..some).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash_together(mut parts: Vec<Part>) {
    let mut texts: Vec<_> = parts.iter_mut().map(|part| (&mut part.hasher, part.offset, part.buffer.texts())).collect();
    loop {
        let mut now: Vec<(&mut Hasher, u64, &[u8])> = Vec::with_capacity(texts.len());
        for (hasher, at, texts) in &mut texts {
            if let Some(text) = texts.next() {
                now.push((&mut **hasher, *at, text));
                *at += text.len() as u64;
            }
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
    use std::sync::Arc;

    use super::*;
    use crate::share::upload::buffer::CHUNK;

    /// Uploads that hash at the same time get each its own digest, on whatever processor.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn r16_uploads_hashed_together_have_each_their_own_digest() {
        let chorus = Arc::new(Chorus { together: true, state: Mutex::default() });
        let tasks: Vec<_> = (0..20_u8)
            .map(|number| {
                let chorus = Arc::clone(&chorus);
                tokio::spawn(async move {
                    let (mut hasher, mut expected) = (Hasher::default(), Digest::new());
                    for round in 0..u64::from(number % 7) + 3 {
                        let bytes: Vec<u8> = (0..CHUNK).map(|at| (at as u8) ^ (at >> 9) as u8 ^ number).collect();
                        let mut buffer = Buffer::outside_budget();
                        buffer.push(&bytes);
                        expected.update(&bytes);
                        let version = VersionId::from_bytes([number; 16]);
                        let back = chorus.hash(version, &mut hasher, round * CHUNK as u64, buffer).await.unwrap();
                        assert_eq!(back.texts().collect::<Vec<_>>().concat(), bytes, "upload {number}");
                        assert_eq!(hasher.finish(), expected.clone().finish(), "upload {number}, round {round}");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(chorus.state().waiting.is_empty());
    }

    /// Who gives up waiting keeps nobody else from being hashed, and leaves nothing behind once somebody is.
    #[tokio::test]
    async fn who_does_not_wait_any_more_is_hashed_for_nobody() {
        let chorus = Chorus { together: true, state: Mutex::default() };
        let full = || {
            let mut buffer = Buffer::outside_budget();
            buffer.push(&[7; CHUNK]);
            buffer
        };
        let (one, other) = (VersionId::from_bytes([1; 16]), VersionId::from_bytes([2; 16]));
        let (mut first, mut second) = (Hasher::default(), Hasher::default());
        chorus.hash(one, &mut first, 0, full()).await.unwrap();
        let mut given_up = Box::pin(chorus.hash(other, &mut second, 0, full()));
        assert!(futures_poll_once(given_up.as_mut()).await);
        drop(given_up);
        assert_eq!(chorus.state().waiting.len(), 1);
        chorus.hash(one, &mut first, CHUNK as u64, full()).await.unwrap();
        assert_eq!((first.front(), chorus.state().waiting.len()), (2 * CHUNK as u64, 0));
    }

    /// Polls it once: whether it waits.
    async fn futures_poll_once(mut work: std::pin::Pin<&mut impl Future>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(work.as_mut().poll(cx).is_pending())).await
    }
}
