//! READs that wait, and the task that answers them. Only `session` and `verbs` use it.
//!
//! A READ must never be answered from within `Session::feed`: its reply may have to wait until the
//! client opens its window, and the client's message that opens it is read by the very task that
//! runs `feed`. So READs are queued, and a task beside the connection carries them out, some at
//! once, and sends the replies in the order of the requests. The reply sink that it sends into is
//! bounded; while that is full nothing more is read.
//!
//! Clients may ask for a whole file before they read the first reply (paramiko does). Equal READs
//! in a row wait as one run of a few words, so that a file of many gigabytes needs one entry.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::handles::Handle;
use super::reply;
use super::{Limits, MAX_READ};
use crate::access::{Download, ReplySink, Upload};
use crate::model::{Language, Level, Locked, LockedGuard, Refusal};

/// Where the bytes come from.
#[derive(Clone)]
pub(crate) enum Source {
    Download(Download),
    /// A handle that is open for writing and reading; empty once it was closed.
    Upload(Arc<AsyncMutex<Option<Upload>>>),
}

impl Source {
    async fn read(&self, offset: u64, length: usize, into: &mut Vec<u8>) -> Result<usize, Refusal> {
        match self {
            Self::Download(download) => download.read(offset, length, into).await,
            Self::Upload(slot) => match slot.lock().await.as_mut() {
                Some(upload) => upload.read(offset, length, into).await,
                None => Err(Refusal::BadHandle),
            },
        }
    }
}

/// The READs of one session.
pub(crate) struct Reads<O> {
    shared: Arc<Shared<O>>,
    /// Ends with the session. It ends by itself when nothing waits.
    pump: Option<AbortOnDropHandle<()>>,
}

struct Shared<O> {
    queue: Locked<Queue<Source>>,
    sink: O,
    limits: Limits,
    language: Language,
    /// Plaintext that all sessions together may hold for READs, in KiB.
    budget: Arc<Semaphore>,
}

impl<O: ReplySink> Reads<O> {
    pub(crate) fn new(sink: O, limits: Limits, language: Language, budget: Arc<Semaphore>) -> Self {
        let queue = Locked::at(Level::Reads, Queue::new(limits.waiting_runs));
        Self { shared: Arc::new(Shared { queue, sink, limits, language, budget }), pump: None }
    }

    /// Queues a READ, or refuses it if too many different ones wait.
    pub(crate) fn push(&mut self, handle: Handle, source: &Source, read: Read) -> Result<(), Refusal> {
        let starts_pump = self.shared.queue().push(handle, source, read)?;
        if starts_pump {
            self.pump = Some(AbortOnDropHandle::new(tokio::spawn(pump(Arc::clone(&self.shared)))));
        }
        Ok(())
    }

    /// Waits until every READ is answered.
    pub(crate) async fn finish(self) {
        if let Some(pump) = self.pump {
            // It is only aborted with the session, and a panic in it has lost its replies already.
            let _ = pump.await;
        }
    }
}

impl<O> Shared<O> {
    fn queue(&self) -> LockedGuard<'_, Queue<Source>> {
        // Nothing in the queue can be half done when a holder of the lock panics.
        self.queue.lock()
    }
}

/// A READ that is being carried out.
struct InWork {
    id: u32,
    length: u32,
    reply: JoinHandle<Result<Vec<u8>, Refusal>>,
    budget: OwnedSemaphorePermit,
}

async fn pump<O: ReplySink>(shared: Arc<Shared<O>>) {
    let mut in_work: VecDeque<InWork> = VecDeque::new();
    let mut bytes = 0usize;
    loop {
        while in_work.len() < shared.limits.reads_in_work && bytes < shared.limits.read_ahead {
            let Some(length) = shared.queue().next_length(in_work.is_empty()) else { break };
            let share = length.div_ceil(1024).max(1);
            let budget = if in_work.is_empty() {
                Arc::clone(&shared.budget).acquire_many_owned(share).await.ok()
            } else {
                // What is in work holds a part of the budget: it goes first, or sessions could wait
                // for each other.
                Arc::clone(&shared.budget).try_acquire_many_owned(share).ok()
            };
            let Some(budget) = budget else { break };
            let Some((source, read)) = shared.queue().pop() else { break };
            bytes = bytes.saturating_add(length as usize);
            let reply = tokio::spawn(answer(source, read));
            in_work.push_back(InWork { id: read.id, length, reply, budget });
        }
        let Some(InWork { id, length, reply, budget }) = in_work.pop_front() else { return };
        // A panic in the read: its client gets an answer all the same.
        let reply = reply.await.unwrap_or(Err(Refusal::Storage)).unwrap_or_else(|refusal| {
            shared.sink.refused(refusal);
            let mut out = Vec::new();
            reply::refused(&mut out, id, refusal, shared.language);
            out
        });
        bytes = bytes.saturating_sub(length as usize);
        if shared.sink.send(Bytes::from(reply)).await.is_err() {
            shared.queue().clear();
            return;
        }
        drop(budget);
    }
}

/// Carries out one READ. It is answered short only at the end of the file: some clients take a
/// short answer for that.
async fn answer(source: Source, read: Read) -> Result<Vec<u8>, Refusal> {
    let length = read.length as usize;
    let mut data = reply::Data::new(read.id, length);
    while data.len() < length {
        let done = data.len();
        source.read(read.offset.saturating_add(done as u64), length - done, data.payload()).await?;
        if data.len() == done {
            break;
        }
    }
    if data.len() > 0 {
        return Ok(data.finish());
    }
    let mut out = Vec::new();
    reply::end_of_file(&mut out, read.id);
    Ok(out)
}

/// One READ. The length is at most [`MAX_READ`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) id: u32,
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

impl Read {
    /// Clamps the length that a client asked for; what it does not get it asks for again.
    pub(crate) fn clamped(id: u32, offset: u64, length: u32) -> Self {
        Self { id, offset, length: length.min(MAX_READ) }
    }
}

/// READs of one handle with ids and offsets in a row.
struct Run<S> {
    handle: Handle,
    source: S,
    next: Read,
    count: u32,
}

struct Queue<S> {
    runs: VecDeque<Run<S>>,
    most: usize,
    /// Whether a task takes READs out.
    pumped: bool,
}

impl<S: Clone> Queue<S> {
    fn new(most: usize) -> Self {
        Self { runs: VecDeque::new(), most, pumped: false }
    }

    /// Whether a task must be started that takes READs out.
    fn push(&mut self, handle: Handle, source: &S, read: Read) -> Result<bool, Refusal> {
        let full = self.runs.len() >= self.most;
        match self.runs.back_mut().filter(|run| run.continues_with(handle, read)) {
            Some(run) => run.count += 1,
            None if full => return Err(Refusal::Storage),
            None => self.runs.push_back(Run { handle, source: source.clone(), next: read, count: 1 }),
        }
        Ok(!std::mem::replace(&mut self.pumped, true))
    }

    /// The length of the next READ. None: there is none; if the caller is `idle` it then ends, and
    /// the next push asks for a new task.
    fn next_length(&mut self, idle: bool) -> Option<u32> {
        let length = self.runs.front().map(|run| run.next.length);
        self.pumped = length.is_some() || !idle;
        length
    }

    fn pop(&mut self) -> Option<(S, Read)> {
        let run = self.runs.front_mut()?;
        let read = run.next;
        run.count -= 1;
        if run.count == 0 {
            return self.runs.pop_front().map(|run| (run.source, read));
        }
        run.next.id = read.id.wrapping_add(1);
        run.next.offset = read.offset.saturating_add(u64::from(read.length));
        Some((run.source.clone(), read))
    }

    fn clear(&mut self) {
        self.runs = VecDeque::new();
        self.pumped = false;
    }
}

impl<S> Run<S> {
    fn continues_with(&self, handle: Handle, read: Read) -> bool {
        let ahead = u64::from(self.count).checked_mul(u64::from(self.next.length));
        self.handle == handle
            && self.next.length == read.length
            && self.count < u32::MAX
            && self.next.id.wrapping_add(self.count) == read.id
            && ahead.and_then(|ahead| self.next.offset.checked_add(ahead)) == Some(read.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(n: u8) -> Handle {
        Handle::from_wire(&[n; 32])
    }

    fn read(id: u32, offset: u64, length: u32) -> Read {
        Read { id, offset, length }
    }

    #[test]
    fn r52_a_whole_file_asked_for_at_once_is_one_run() {
        let mut queue = Queue::new(1);
        let first = u32::MAX - 10; // Ids wrap.
        for n in 0..300_000u32 {
            let asked = read(first.wrapping_add(n), u64::from(n) * 32_768, 32_768);
            assert_eq!(queue.push(handle(1), &'s', asked), Ok(n == 0));
        }
        assert_eq!(queue.runs.len(), 1);
        for n in 0..300_000u32 {
            assert_eq!(queue.next_length(n == 0), Some(32_768));
            assert_eq!(queue.pop(), Some(('s', read(first.wrapping_add(n), u64::from(n) * 32_768, 32_768))));
        }
        assert_eq!((queue.pop(), queue.runs.len()), (None, 0));
    }

    #[test]
    fn r52_reads_that_do_not_follow_each_other_stay_as_they_are_and_are_bounded() {
        let reads = [
            (1, read(1, 0, 10)),
            (1, read(2, 10, 11)),
            (1, read(4, 21, 11)),
            (2, read(5, 32, 11)),
            (2, read(6, 32, 11)),
            (2, read(7, u64::MAX, 11)),
        ];
        let mut queue = Queue::new(reads.len());
        for (n, asked) in reads {
            queue.push(handle(n), &n, asked).unwrap();
        }
        assert_eq!(queue.push(handle(3), &3, read(9, 0, 1)), Err(Refusal::Storage));
        for (n, asked) in reads {
            assert_eq!(queue.pop(), Some((n, asked)));
        }
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn a_task_is_asked_for_exactly_when_none_runs() {
        let mut queue = Queue::new(4);
        assert_eq!(queue.push(handle(1), &(), read(1, 0, 1)), Ok(true));
        assert_eq!(queue.push(handle(1), &(), read(2, 5, 1)), Ok(false));
        queue.pop();
        queue.pop();
        assert_eq!(queue.next_length(false), None);
        assert_eq!(queue.push(handle(1), &(), read(3, 0, 1)), Ok(false), "the task still has a READ in work");
        queue.pop();
        assert_eq!(queue.next_length(true), None);
        assert_eq!(queue.push(handle(1), &(), read(4, 0, 1)), Ok(true));
    }

    #[test]
    fn r48_a_read_of_four_gigabytes_is_clamped() {
        assert_eq!(Read::clamped(1, 2, u32::MAX), read(1, 2, MAX_READ));
        assert_eq!(Read::clamped(1, 2, 5), read(1, 2, 5));
    }
}
