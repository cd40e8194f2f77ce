//! The session's side of an upload: what a client sends, put in order and handed to the worker in whole buffers.
//!
//! A client may write in any order. What continues a *run* (a stretch of the file that is being written front to back) is
//! copied straight into the run's buffer. What comes a little early waits until the gap before it has closed, so that the
//! parallel writes of one client still make long extents. What lies far away begins a run of its own. Everything that one
//! write lays over an earlier one reaches the worker behind it (`order`).

mod order;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::order::{Gaps, Run};
use super::buffer::{Buffer, EarlyRoom};
use super::job::{Holds, Job, Phase, Target};
use crate::model::{ArtifactId, DirectoryId, FileName, Refusal, Time, VersionId};
use crate::repo::{Attributes, PlaceKind};
use crate::upload::checkpoint::resume_point;
use crate::upload::lazy_worker::LazyWorker;
use crate::upload::reorder::{Pending, ReorderBuffer};

/// Jobs that may wait for the worker before its client has to.
const JOBS: usize = 1024;
/// How long one waits for an upload of another session, or another handle, to be over.
const FENCE: Duration = Duration::from_secs(60);

/// An upload that is under way, as its handles, the registry and the worker share it.
pub(crate) struct WriteQueue {
    artifact: ArtifactId,
    version: VersionId,
    session: u64,
    state: Mutex<State>,
    /// Where the worker sleeps until there is something to do.
    pub(crate) lazy_worker: LazyWorker,
    /// Tells the worker that there is something to do.
    work: Notify,
    /// Tells who waits that the worker has caught up a little.
    room: Notify,
    /// Up to where everything has reached the worker.
    received: AtomicU64,
    /// Cancelled when the worker has ended and everything that can be continued is written down.
    ended: CancellationToken,
}

struct State {
    place: (DirectoryId, FileName),
    phase: Phase,
    jobs: VecDeque<Job>,
    runs: Vec<Run>,
    next_run: u64,
    early: ReorderBuffer,
    holds: Holds,
    gaps: Gaps,
    length: u64,
    /// How much of what it began with is still there: it is never continued before that.
    floor: u64,
    /// What STAT says instead of the length until something changes: where an unfinished file can be continued.
    shown: Option<u64>,
    /// Whether the first write, through whichever handle, has yet to say whether it goes on or begins anew.
    undecided: bool,
    /// When the first byte came that no extent holds yet which was ended on purpose.
    unsettled_since: Option<Instant>,
    handles: usize,
    recorded: bool,
    mode: u32,
    modified: Option<Time>,
}

impl WriteQueue {
    /// An upload that begins with `holds`, which is `length` bytes long; it can be continued from `floor` on at least.
    pub(crate) fn new(
        (artifact, version): (ArtifactId, VersionId),
        session: u64,
        place: (DirectoryId, FileName),
        (holds, length, floor): (Holds, u64, u64),
        mode: u32,
    ) -> Self {
        Self {
            artifact,
            version,
            session,
            state: Mutex::new(State {
                place,
                phase: Phase::Open,
                jobs: VecDeque::new(),
                runs: Vec::new(),
                next_run: 0,
                early: ReorderBuffer::default(),
                holds,
                gaps: if length == 0 && holds != Holds::Unfinished { Gaps::None } else { Gaps::Missing },
                length,
                floor,
                shown: None,
                undecided: false,
                unsettled_since: None,
                handles: 1,
                recorded: holds == Holds::Unfinished,
                mode,
                modified: None,
            }),
            lazy_worker: LazyWorker::default(),
            work: Notify::new(),
            room: Notify::new(),
            received: AtomicU64::new(length),
            ended: CancellationToken::new(),
        }
    }

    /// Lets it look as long as it can be continued from, until its session changes something.
    pub(crate) fn show(&self, length: u64) {
        self.state().shown = Some(length);
    }

    /// Leaves it to the first write whether it goes on with what is there.
    pub(crate) fn leave_undecided(&self) {
        self.state().undecided = true;
    }

    pub(crate) fn is_undecided(&self) -> bool {
        self.state().undecided
    }

    /// Whether this is the write that decides.
    pub(crate) fn decide(&self) -> bool {
        std::mem::take(&mut self.state().undecided)
    }

    pub(crate) const fn artifact(&self) -> ArtifactId {
        self.artifact
    }

    pub(crate) const fn version(&self) -> VersionId {
        self.version
    }

    /// Whether it is on the way to be a version of its own. What was only opened still is the current one.
    pub(crate) fn is_newer(&self) -> bool {
        self.state().holds != Holds::Copy
    }

    pub(crate) const fn session(&self) -> u64 {
        self.session
    }

    pub(crate) fn name(&self) -> FileName {
        self.state().place.1.clone()
    }

    pub(crate) fn place(&self) -> (DirectoryId, FileName) {
        self.state().place.clone()
    }

    pub(crate) fn move_to(&self, place: (DirectoryId, FileName)) {
        self.state().place = place;
    }

    /// Whether its rows are in the records.
    pub(crate) fn is_recorded(&self) -> bool {
        self.state().recorded
    }

    pub(crate) fn set_recorded(&self) {
        self.state().recorded = true;
    }

    /// What its own session is told of it.
    pub(crate) fn attributes(&self) -> Attributes {
        let state = self.state();
        Attributes {
            kind: PlaceKind::File,
            size: state.shown.unwrap_or(state.length),
            mode: state.mode,
            modified: state.modified.unwrap_or_else(Time::now),
        }
    }

    /// What a session is told of it: another one may continue it, so it hears where that would begin.
    pub(crate) fn attributes_for(&self, session: u64) -> Attributes {
        let mut attributes = self.attributes();
        if session != self.session {
            attributes.size = resume_point(self.received.load(Ordering::Relaxed), self.floor());
        }
        attributes
    }

    /// Whether its sender left out what is not there, and means zeros.
    pub(crate) fn leaves_out_zeros(&self) -> bool {
        self.state().gaps == Gaps::LeftOut
    }

    /// How much of what it began with is still there, in bytes.
    pub(crate) fn floor(&self) -> u64 {
        self.state().floor
    }

    /// Says up to where everything has reached the worker.
    pub(crate) fn set_received(&self, bytes: u64) {
        self.received.store(bytes, Ordering::Relaxed);
    }

    /// Waits while the worker has a long way to go: what waits for it is bounded, however small the pieces are.
    pub(crate) async fn wait_for_room(&self) {
        loop {
            let room = self.room.notified();
            if self.state().jobs.len() < JOBS {
                return;
            }
            room.await;
        }
    }

    /// Sets what SETSTAT may set; it takes effect with the version.
    pub(crate) fn set_attributes(&self, mode: Option<u32>, modified: Option<Time>) {
        let mut state = self.state();
        state.mode = mode.map_or(state.mode, |mode| mode & 0o777);
        state.modified = modified.or(state.modified);
    }

    /// The permission bits, and the time that the client set.
    pub(crate) fn wished_attributes(&self) -> (u32, Option<Time>) {
        let state = self.state();
        (state.mode, state.modified)
    }

    pub(crate) fn length(&self) -> u64 {
        self.state().length
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state().phase
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.state().phase = phase;
    }

    /// One more handle, unless it takes no writes any more.
    pub(crate) fn join(&self) -> bool {
        let mut state = self.state();
        let open = state.phase == Phase::Open && state.handles > 0;
        if open {
            state.handles += 1;
            // Several write at once: what is not there yet may come through another one.
            state.gaps = Gaps::Missing;
        }
        open
    }

    /// One handle less. The last one that goes without a CLOSE cuts the upload.
    pub(crate) fn leave(&self) {
        let mut state = self.state();
        state.handles = state.handles.saturating_sub(1);
        if state.handles == 0 && state.phase == Phase::Open {
            state.settle();
            state.jobs.push_back(Job::Cut);
            drop(state);
            self.call();
        }
    }

    /// Ends the upload for its session because another one goes on with the file (or removes it), and waits until what
    /// it has is written down.
    ///
    /// # Errors
    /// [`Refusal::StillReceiving`], which is temporary, if that takes too long.
    pub(crate) async fn preempt(&self) -> Result<(), Refusal> {
        {
            let mut state = self.state();
            // A CLOSE that is under way is let through.
            if state.phase == Phase::Open {
                state.phase = Phase::Refusing(Refusal::Fenced);
                state.settle();
                state.jobs.push_back(Job::Cut);
            }
        }
        self.call();
        self.wait_for_end().await
    }

    /// Makes sure that its rows are in the records.
    pub(crate) async fn record(&self) -> Result<(), Refusal> {
        if self.is_recorded() { Ok(()) } else { self.ask(Job::Sync).await }
    }

    /// Waits until it is over.
    ///
    /// # Errors
    /// [`Refusal::StillReceiving`], which is temporary, if that takes too long.
    pub(crate) async fn wait_for_end(&self) -> Result<(), Refusal> {
        tokio::time::timeout(FENCE, self.ended.cancelled()).await.map_err(|_| Refusal::StillReceiving)
    }

    /// Whether a CLOSE is under way: who asks by path then waits until it is through.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase(), Phase::Closing | Phase::Published)
    }

    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    /// Announces a write and says where its bytes go. `room` says whether there is some for a write that comes early.
    pub(crate) fn begin(
        &self,
        offset: u64,
        length: u64,
        room: impl FnOnce() -> Option<EarlyRoom>,
    ) -> Result<Target, Refusal> {
        let mut state = self.state();
        match state.phase {
            Phase::Open => {}
            Phase::Refusing(refusal) => return Err(refusal),
            Phase::Closing | Phase::Published => return Err(Refusal::BadHandle),
        }
        let waited = state.jobs.len();
        let target = state.place_of(offset, length, room);
        if state.jobs.len() > waited {
            // The client may wait for the very buffer that was handed over.
            drop(state);
            self.call();
        }
        Ok(target)
    }

    /// Copies bytes that belong at `offset` into a run's buffer. Says how many were taken: fewer than all means that it
    /// needs a buffer, which the caller puts into `spare`. If a checkpoint has ended the run meanwhile, a new one begins.
    pub(crate) fn put(
        &self,
        run: &mut u64,
        offset: u64,
        bytes: &[u8],
        spare: &mut Option<Buffer>,
    ) -> Result<usize, Refusal> {
        let mut state = self.state();
        if let Phase::Refusing(refusal) = state.phase {
            return Err(refusal);
        }
        let (wake, mut has_job) = (state.unsettled_since.is_none(), false);
        state.unsettled_since.get_or_insert_with(Instant::now);
        let at = match state.runs.iter().position(|open| open.id == *run && open.next == offset) {
            Some(at) => at,
            None => {
                *run = state.start_run(offset);
                state.runs.len() - 1
            }
        };
        let mut taken = 0;
        while taken < bytes.len() {
            let Some(run) = state.runs.get_mut(at) else { break };
            let (start, buffer) = match &mut run.chunk {
                Some(chunk) => chunk,
                empty => match spare.take() {
                    Some(buffer) => empty.insert((run.next, buffer)),
                    None => break,
                },
            };
            let fits = buffer.push(bytes.get(taken..).unwrap_or_default());
            taken += fits;
            run.next += fits as u64;
            if buffer.is_full() {
                let (offset, id) = (*start, run.id);
                if let Some((_, buffer)) = run.chunk.take() {
                    state.jobs.push_back(Job::Data { run: id, offset, buffer, ends: false });
                    has_job = true;
                }
            }
        }
        let end = state.runs.get(at).map_or(0, |run| run.next);
        state.length = state.length.max(end);
        drop(state);
        if has_job {
            self.call();
        } else if wake {
            // For the time when everything is made durable; one that still sleeps looks at the clock when it gets up.
            self.work.notify_one();
        }
        Ok(taken)
    }

    /// Keeps the whole payload of a write that came early.
    pub(crate) fn put_early(&self, offset: u64, waiting: Pending) {
        let mut state = self.state();
        if state.unsettled_since.is_none() {
            state.unsettled_since = Some(Instant::now());
            self.call();
        }
        state.length = state.length.max(offset + waiting.bytes.len() as u64);
        state.early.put(offset, waiting);
    }

    /// Takes an early write whose gap has closed: it continues a run now.
    pub(crate) fn take_contiguous(&self) -> Option<(u64, u64, Pending)> {
        let mut state = self.state();
        let (run, offset) = state.runs.iter().find(|run| state.early.has(run.next)).map(|run| (run.id, run.next))?;
        Some((run, offset, state.early.take(offset)?))
    }

    /// Makes the file this long, behind everything that was written before.
    pub(crate) fn truncate(&self, length: u64) -> Result<(), Refusal> {
        let mut state = self.state();
        if let Phase::Refusing(refusal) = state.phase {
            return Err(refusal);
        }
        state.settle();
        (state.shown, state.holds) = (None, Holds::Changed);
        (state.length, state.floor) = (length, state.floor.min(length));
        state.jobs.push_back(Job::Truncate { length });
        drop(state);
        self.call();
        Ok(())
    }

    /// Hands everything that waits to the worker, so that its buffers come back. For the other uploads of a session that
    /// has used up its buffers.
    pub(crate) fn settle(&self) {
        self.state().settle();
        self.call();
    }

    /// Asks the worker, behind everything that was written before, and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Job,
    ) -> Result<T, Refusal> {
        let (answer, _) = self.put_question(job)?;
        self.call();
        self.answered(answer).await
    }

    /// Has the worker publish what is there, and waits for its answer. It may run the worker itself: who drops this before
    /// its end may cut the upload.
    pub(crate) async fn close(&self) -> Result<(), Refusal> {
        let (answer, bytes) = self.put_question(Job::Close)?;
        match self.lazy_worker.take_for(bytes) {
            // In a box, because every CLOSE would have the room that it needs otherwise.
            Some(worker) => Box::pin(worker.run()).await,
            None => self.call(),
        }
        self.answered(answer).await
    }

    /// Puts a question behind everything that was written before; also says how many bytes the worker may have to go through
    /// until it has answered it.
    fn put_question<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Job,
    ) -> Result<(oneshot::Receiver<Result<T, Refusal>>, u64), Refusal> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.state();
        if let Phase::Refusing(refusal) = state.phase {
            return Err(refusal);
        }
        state.settle();
        let job = job(reply);
        match (state.phase, &job) {
            (Phase::Open, Job::Close(_)) => state.phase = Phase::Closing,
            (Phase::Open, _) => {}
            // Another handle closes it, or has: what is there is published, and this one has nothing to add.
            _ => return Err(Refusal::BadHandle),
        }
        let waiting: usize = state.jobs.iter().map(Job::bytes).sum();
        let bytes = state.length.max(waiting as u64);
        state.jobs.push_back(job);
        Ok((answer, bytes))
    }

    /// The worker answers or, having failed, drops the question.
    async fn answered<T>(&self, answer: oneshot::Receiver<Result<T, Refusal>>) -> Result<T, Refusal> {
        answer.await.unwrap_or_else(|_| match self.phase() {
            Phase::Refusing(refusal) => Err(refusal),
            Phase::Open | Phase::Closing | Phase::Published => Err(Refusal::Storage),
        })
    }

    /// The worker's next job; none when `checkpoint` has passed since the first byte that is not settled, whereupon
    /// everything was handed over and comes next, or when `until` has come.
    pub(crate) async fn next_job(&self, checkpoint: Duration, until: Option<Instant>) -> Option<Job> {
        loop {
            let due = {
                let mut state = self.state();
                if let Some(job) = state.jobs.pop_front() {
                    if state.jobs.len() + 1 == JOBS {
                        self.room.notify_waiters();
                    }
                    return Some(job);
                }
                state.unsettled_since.map(|since| since + checkpoint)
            };
            let deadline = match (due, until) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            match deadline {
                None => self.work.notified().await,
                Some(deadline) => {
                    if tokio::time::timeout_at(deadline, self.work.notified()).await.is_err() {
                        if due.is_some_and(|due| due <= Instant::now()) {
                            self.state().settle();
                        }
                        return None;
                    }
                }
            }
        }
    }

    /// Whether the worker has more to do.
    pub(crate) fn has_jobs(&self) -> bool {
        !self.state().jobs.is_empty()
    }

    /// Ends it with a refusal: what waits is dropped, every later request hears the same.
    pub(crate) fn fail(&self, refusal: Refusal) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Open | Phase::Closing) {
            state.phase = Phase::Refusing(refusal);
        }
        state.jobs.clear();
        state.runs.clear();
        state.early = ReorderBuffer::default();
        state.unsettled_since = None;
        drop(state);
        self.room.notify_waiters();
    }

    /// Tells the worker that there is something to do.
    fn call(&self) {
        self.work.notify_one();
        self.lazy_worker.start();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
