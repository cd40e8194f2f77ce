//! The session's side of an upload: what a client sends, put in order and handed to the worker in
//! whole buffers.
//!
//! A client may write in any order. What continues a *run* (a stretch of the file that is being
//! written front to back) is copied straight into the run's buffer. What comes a little early waits
//! until the gap before it has closed, so that the parallel writes of one client still make long
//! extents. What lies far away begins a run of its own. Everything that one write lays over an
//! earlier one reaches the worker behind it (`order`).

mod order;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::order::{Gaps, Order};
use super::buffer::{Buffer, EarlyRoom};
use super::job::{Holds, Job, Phase, Target};
use crate::model::{ArtifactId, DirectoryId, FileName, Level, Locked, LockedGuard, Refusal, Time, VersionId};
use crate::repo::{Attributes, PlaceKind};
use crate::upload::checkpoint::resume_point;
use crate::upload::lazy_worker::LazyWorker;
use crate::upload::reorder::Pending;

/// Jobs that may wait for the worker before its client has to.
const JOBS: usize = 1024;
/// How long one waits for an upload of another session, or another handle, to be over.
const FENCE: Duration = Duration::from_secs(60);

/// An upload that is under way, as its handles, the registry and the worker share it.
pub(crate) struct WriteQueue {
    artifact: ArtifactId,
    version: VersionId,
    session: u64,
    /// Names the login that began it.
    login: [u8; 16],
    state: Locked<State>,
    /// Where the worker sleeps until there is something to do.
    pub(crate) lazy_worker: LazyWorker,
    /// Tells the worker that there is something to do.
    work: Notify,
    /// Tells who waits that the worker has caught up a little.
    room: Notify,
    /// Up to where everything has reached the worker.
    received: AtomicU64,
    /// Whether its rows are in the records.
    recorded: AtomicBool,
    /// Cancelled when the worker has ended and everything that can be continued is written down.
    ended: CancellationToken,
}

struct State {
    place: (DirectoryId, FileName),
    mode: u32,
    modified: Option<Time>,
    phase: Phase,
    holds: Holds,
    order: Order,
}

impl State {
    /// Something is sent, or cut off, behind everything that was written before.
    fn change(&mut self) -> &mut Order {
        self.holds = Holds::Changed;
        &mut self.order
    }

    /// Refuses unless it takes writes. After another handle's CLOSE what is there is published, and
    /// nothing can be added.
    fn check_open(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Open { .. } => Ok(()),
            Phase::Refusing(refusal) => Err(refusal),
            Phase::Closing | Phase::Published => Err(Refusal::BadHandle),
        }
    }
}

impl WriteQueue {
    /// An upload that begins with `holds`, which is `length` bytes long; it can be continued from
    /// `floor` on at least.
    pub(crate) fn new(
        (artifact, version): (ArtifactId, VersionId),
        (session, login): (u64, [u8; 16]),
        place: (DirectoryId, FileName),
        (holds, length, floor): (Holds, u64, u64),
        mode: u32,
    ) -> Self {
        Self {
            artifact,
            version,
            session,
            login,
            state: Locked::at(
                Level::WriteQueue,
                State {
                    place,
                    mode,
                    modified: None,
                    phase: Phase::Open { handles: 1 },
                    holds,
                    order: Order::new(holds, length, floor),
                },
            ),
            lazy_worker: LazyWorker::default(),
            work: Notify::new(),
            room: Notify::new(),
            received: AtomicU64::new(length),
            recorded: AtomicBool::new(holds.is_unfinished()),
            ended: CancellationToken::new(),
        }
    }

    /// Whether the first write has yet to say whether it goes on with what is there.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self.state().holds, Holds::Unfinished { undecided: true, .. })
    }

    /// Whether this is the write that decides.
    pub(crate) fn decide(&self) -> bool {
        match &mut self.state().holds {
            Holds::Unfinished { undecided, .. } => std::mem::take(undecided),
            Holds::Nothing | Holds::Copy | Holds::Changed => false,
        }
    }

    pub(crate) const fn artifact(&self) -> ArtifactId {
        self.artifact
    }

    pub(crate) const fn version(&self) -> VersionId {
        self.version
    }

    /// Whether it is on the way to be a version of its own. What was only opened still is the
    /// current one.
    pub(crate) fn is_newer(&self) -> bool {
        self.state().holds != Holds::Copy
    }

    pub(crate) const fn session(&self) -> u64 {
        self.session
    }

    pub(crate) const fn login(&self) -> [u8; 16] {
        self.login
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
        self.recorded.load(Ordering::Acquire)
    }

    pub(crate) fn set_recorded(&self) {
        self.recorded.store(true, Ordering::Release);
    }

    /// What its own session is told of it.
    pub(crate) fn attributes(&self) -> Attributes {
        let state = self.state();
        let size = match state.holds {
            Holds::Unfinished { reported: Some(size), .. } => size,
            Holds::Unfinished { .. } | Holds::Nothing | Holds::Copy | Holds::Changed => state.order.length,
        };
        Attributes { kind: PlaceKind::File, size, mode: state.mode, modified: state.modified.unwrap_or_else(Time::now) }
    }

    /// What a session is told of it: another one may continue it, so it hears where that would
    /// begin.
    pub(crate) fn attributes_for(&self, session: u64) -> Attributes {
        let mut attributes = self.attributes();
        if session != self.session {
            attributes.size = resume_point(self.received.load(Ordering::Relaxed), self.floor());
        }
        attributes
    }

    /// Whether its sender left out what is not there, and means zeros.
    pub(crate) fn leaves_out_zeros(&self) -> bool {
        self.state().order.gaps == Gaps::LeftOut
    }

    /// How much of what it began with is still there, in bytes.
    pub(crate) fn floor(&self) -> u64 {
        self.state().order.floor
    }

    /// Says up to where everything has reached the worker.
    pub(crate) fn set_received(&self, bytes: u64) {
        self.received.store(bytes, Ordering::Relaxed);
    }

    /// Waits while the worker has a long way to go: what waits for it is bounded, however small the
    /// pieces are.
    pub(crate) async fn wait_for_room(&self) {
        loop {
            let room = self.room.notified();
            if self.state().order.jobs.len() < JOBS {
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
        self.state().order.length
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
        let Phase::Open { handles: handles @ 1.. } = &mut state.phase else { return false };
        *handles += 1;
        // Several write at once: what is not there yet may come through another one.
        state.order.gaps = Gaps::Missing;
        true
    }

    /// One handle less. The last one that goes without a CLOSE cuts the upload.
    pub(crate) fn leave(&self) {
        let mut state = self.state();
        let Phase::Open { handles } = &mut state.phase else { return };
        *handles = handles.saturating_sub(1);
        if *handles == 0 {
            state.order.put_job(Job::Cut);
            drop(state);
            self.call();
        }
    }

    /// Ends the upload for its session because another one goes on with the file (or removes it),
    /// and waits until what it has is written down.
    ///
    /// # Errors
    /// [`Refusal::StillReceiving`], which is temporary, if that takes too long.
    pub(crate) async fn preempt(&self) -> Result<(), Refusal> {
        {
            let mut state = self.state();
            // A CLOSE that is under way is let through.
            if state.phase.is_open() {
                state.phase = Phase::Refusing(Refusal::Fenced);
                state.order.put_job(Job::Cut);
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

    /// Announces a write and says where its bytes go. `room` says whether there is some for a write
    /// that comes early.
    pub(crate) fn begin(
        &self,
        offset: u64,
        length: u64,
        room: impl FnOnce() -> Option<EarlyRoom>,
    ) -> Result<Target, Refusal> {
        let mut state = self.state();
        state.check_open()?;
        let waited = state.order.jobs.len();
        let target = state.change().place_of(offset, length, room);
        if state.order.jobs.len() > waited {
            // The client may wait for the very buffer that was handed over.
            drop(state);
            self.call();
        }
        Ok(target)
    }

    /// Copies bytes that belong at `offset` into a run's buffer. Says how many were taken: fewer
    /// than all means that it needs a buffer, which the caller puts into `spare`. If a checkpoint
    /// has ended the run meanwhile, a new one begins.
    pub(crate) fn put(
        &self,
        run: &mut u64,
        offset: u64,
        bytes: &[u8],
        spare: &mut Option<Buffer>,
    ) -> Result<usize, Refusal> {
        let mut state = self.state();
        state.check_open()?;
        let order = &mut state.order;
        let is_first = order.unsettled_since.is_none();
        let waited = order.jobs.len();
        let taken = order.put(run, offset, bytes, spare);
        let has_job = order.jobs.len() > waited;
        drop(state);
        if has_job {
            self.call();
        } else if is_first {
            // For the time when everything is made durable; one that still sleeps looks at the
            // clock when it gets up.
            self.work.notify_one();
        }
        Ok(taken)
    }

    /// Keeps the whole payload of a write that came early.
    pub(crate) fn put_early(&self, offset: u64, waiting: Pending) -> Result<(), Refusal> {
        let mut state = self.state();
        state.check_open()?;
        let is_first = state.order.unsettled_since.is_none();
        state.order.put_early(offset, waiting);
        drop(state);
        if is_first {
            self.call();
        }
        Ok(())
    }

    /// Takes an early write whose gap has closed: it continues a run now.
    pub(crate) fn take_contiguous(&self) -> Option<(u64, u64, Pending)> {
        self.state().order.take_contiguous()
    }

    /// Makes the file this long, behind everything that was written before.
    pub(crate) fn truncate(&self, length: u64) -> Result<(), Refusal> {
        let mut state = self.state();
        state.check_open()?;
        state.change().truncate(length);
        drop(state);
        self.call();
        Ok(())
    }

    /// Hands everything that waits to the worker, so that its buffers come back. For the other
    /// uploads of a session that has used up its buffers.
    pub(crate) fn settle(&self) {
        self.state().order.settle();
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

    /// Has the worker publish what is there, and waits for its answer. It may run the worker
    /// itself: who drops this before its end may cut the upload.
    pub(crate) async fn close(&self) -> Result<(), Refusal> {
        let (answer, bytes) = self.put_question(Job::Close)?;
        match self.lazy_worker.take_for(bytes) {
            // In a box, because every CLOSE would have the room that it needs otherwise.
            Some(worker) => Box::pin(worker.run()).await,
            None => self.call(),
        }
        self.answered(answer).await
    }

    /// Puts a question behind everything that was written before; also says how many bytes the
    /// worker may have to go through until it has answered it.
    fn put_question<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Job,
    ) -> Result<(oneshot::Receiver<Result<T, Refusal>>, u64), Refusal> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.state();
        state.check_open()?;
        let job = job(reply);
        if matches!(job, Job::Close(_)) {
            state.phase = Phase::Closing;
        }
        state.order.put_job(job);
        let waiting: usize = state.order.jobs.iter().map(Job::bytes).sum();
        Ok((answer, state.order.length.max(waiting as u64)))
    }

    /// The worker answers or, having failed, drops the question.
    async fn answered<T>(&self, answer: oneshot::Receiver<Result<T, Refusal>>) -> Result<T, Refusal> {
        answer.await.unwrap_or_else(|_| match self.phase() {
            Phase::Refusing(refusal) => Err(refusal),
            Phase::Open { .. } | Phase::Closing | Phase::Published => Err(Refusal::Storage),
        })
    }

    /// The worker's next job; none when `checkpoint` has passed since the first byte that is not
    /// settled, whereupon everything was handed over and comes next, or when `until` has come.
    pub(crate) async fn next_job(&self, checkpoint: Duration, until: Option<Instant>) -> Option<Job> {
        loop {
            let due = {
                let mut state = self.state();
                if let Some(job) = state.order.jobs.pop_front() {
                    if state.order.jobs.len() + 1 == JOBS {
                        self.room.notify_waiters();
                    }
                    return Some(job);
                }
                state.order.unsettled_since.map(|since| since + checkpoint)
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
                            self.state().order.settle();
                        }
                        return None;
                    }
                }
            }
        }
    }

    /// Whether the worker has more to do.
    pub(crate) fn has_jobs(&self) -> bool {
        !self.state().order.jobs.is_empty()
    }

    /// Ends it with a refusal: what waits is dropped, every later request hears the same.
    pub(crate) fn fail(&self, refusal: Refusal) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Open { .. } | Phase::Closing) {
            state.phase = Phase::Refusing(refusal);
        }
        state.order.clear();
        drop(state);
        self.room.notify_waiters();
    }

    /// Tells the worker that there is something to do.
    fn call(&self) {
        self.work.notify_one();
        self.lazy_worker.start();
    }

    fn state(&self) -> LockedGuard<'_, State> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffer::Budget;
    use super::*;

    fn queue(holds: Holds, length: u64) -> WriteQueue {
        let ids = (ArtifactId::from_bytes([1; 16]), VersionId::from_bytes([2; 16]));
        let place = (DirectoryId::from_bytes([3; 16]), FileName::new(b"file").unwrap());
        WriteQueue::new(ids, (0, [0; 16]), place, (holds, length, 0), 0o640)
    }

    /// What the worker is asked to do.
    async fn jobs(queue: &WriteQueue) -> Vec<String> {
        let mut jobs = Vec::new();
        while queue.has_jobs() {
            jobs.push(match queue.next_job(Duration::MAX, None).await.unwrap() {
                Job::Data { offset, buffer, ends, .. } => format!("data {offset} {} {ends}", buffer.filled()),
                Job::Truncate { length } => format!("truncate {length}"),
                Job::Close(_) => "close".to_owned(),
                Job::Cut => "cut".to_owned(),
                _ => "another".to_owned(),
            });
        }
        jobs
    }

    /// A WRITE that was announced before another handle's CLOSE, and whose payload comes behind it:
    /// it must not be told that all is well, since nobody would ever look at what came.
    #[tokio::test]
    async fn r27_what_comes_behind_a_close_is_refused() {
        let queue = queue(Holds::Nothing, 0);
        assert!(queue.join());
        let Ok(Target::Run(mut run)) = queue.begin(0, 10, || None) else { panic!("it is no run") };
        let mut spare = Some(Buffer::outside_budget());
        assert_eq!(queue.put(&mut run, 0, b"01234", &mut spare), Ok(5));
        let (_answer, bytes) = queue.put_question(Job::Close).unwrap();
        assert_eq!((bytes, queue.phase()), (5, Phase::Closing));
        for phase in [Phase::Closing, Phase::Published] {
            queue.set_phase(phase);
            assert_eq!(queue.put(&mut run, 5, b"56789", &mut spare), Err(Refusal::BadHandle));
            let room = Budget::new(1 << 20).session(1 << 20).try_early(5).unwrap();
            assert_eq!(queue.put_early(7, Pending::new(b"78901".to_vec(), room)), Err(Refusal::BadHandle));
            assert_eq!(queue.truncate(3), Err(Refusal::BadHandle));
            assert_eq!(queue.begin(5, 5, || None).err(), Some(Refusal::BadHandle));
            assert_eq!(queue.put_question(Job::Sync).err(), Some(Refusal::BadHandle));
            assert!(!queue.join());
            queue.leave();
        }
        assert_eq!((jobs(&queue).await, queue.length()), (vec!["data 0 5 true".to_owned(), "close".to_owned()], 5));
    }

    #[tokio::test]
    async fn r27_the_last_handle_that_goes_without_a_close_cuts_the_upload() {
        let queue = queue(Holds::Nothing, 0);
        assert!(queue.join());
        queue.leave();
        assert!(queue.phase().is_open() && !queue.has_jobs());
        queue.leave();
        assert!(!queue.join(), "it is being cut");
        assert_eq!(jobs(&queue).await, ["cut"]);
    }

    /// STAT says where an unfinished file can be continued until something changes, and only the
    /// first write decides.
    #[test]
    fn what_is_reported_of_an_unfinished_file_holds_until_it_changes() {
        let unfinished = Holds::Unfinished { reported: Some(65_536), undecided: true };
        let queue = queue(unfinished, 100_000);
        assert_eq!((queue.attributes().size, queue.length(), queue.is_recorded()), (65_536, 100_000, true));
        assert!(queue.is_undecided() && queue.decide() && !queue.decide());
        assert_eq!(queue.attributes().size, 65_536, "nothing has changed yet");
        queue.truncate(65_536).unwrap();
        assert_eq!((queue.attributes().size, queue.is_undecided()), (65_536, false));
        assert!(queue.begin(65_536, 1, || None).is_ok());
        queue.truncate(70_000).unwrap();
        assert_eq!(queue.attributes().size, 70_000);
    }
}
