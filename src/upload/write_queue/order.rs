//! Where the bytes of a write go: into a run that they continue, to those that wait for a gap to
//! close, or into a run of their own, behind everything that they lie over.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::super::buffer::{Buffer, EarlyRoom};
use super::super::job::{Holds, Job, Target};
use crate::upload::reorder::{EARLY, Pending, ReorderBuffer};

/// Runs that an upload may have at once; one more ends the run that was used longest ago.
const RUNS: usize = 8;

/// What it means that nothing was written somewhere before the end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gaps {
    /// There is no such place.
    None,
    /// Each write began at the end of those before or behind it: its client leaves out what is
    /// nothing but zeros, as `cp` does with a sparse file.
    LeftOut,
    /// Some writes went back, so several places are sent at once; or what is there was sent by
    /// somebody who was cut. What was not written did not come.
    Missing,
}

/// The bytes of an upload on their way to its worker.
pub(super) struct Order {
    /// What the worker is to do next.
    pub(super) jobs: VecDeque<Job>,
    runs: Vec<Run>,
    next_run: u64,
    early: ReorderBuffer,
    pub(super) gaps: Gaps,
    /// How long the file is with everything that was written, in bytes.
    pub(super) length: u64,
    /// How much of what it began with is still there, in bytes: it is never continued before that.
    pub(super) floor: u64,
    /// When the first byte came that no extent holds yet which was ended on purpose.
    pub(super) unsettled_since: Option<Instant>,
}

/// A stretch of the file that is being written front to back.
struct Run {
    id: u64,
    /// Where its next byte belongs.
    next: u64,
    /// The offset of the first byte in the buffer, and the buffer.
    chunk: Option<(u64, Buffer)>,
}

impl Order {
    /// Of an upload that begins with `holds`, which is `length` bytes long.
    pub(super) fn new(holds: Holds, length: u64, floor: u64) -> Self {
        Self {
            jobs: VecDeque::new(),
            runs: Vec::new(),
            next_run: 0,
            early: ReorderBuffer::default(),
            gaps: if length == 0 && !holds.is_unfinished() { Gaps::None } else { Gaps::Missing },
            length,
            floor,
            unsettled_since: None,
        }
    }

    /// Has the worker do something behind everything that was written before.
    pub(super) fn put_job(&mut self, job: Job) {
        self.settle();
        self.jobs.push_back(job);
    }

    /// Makes the file this long, behind everything that was written before.
    pub(super) fn truncate(&mut self, length: u64) {
        (self.length, self.floor) = (length, self.floor.min(length));
        self.put_job(Job::Truncate { length });
    }

    /// Ends every run and hands over what came early, in the order in which it was written where
    /// that matters.
    pub(super) fn settle(&mut self) {
        while !self.runs.is_empty() {
            self.end_run(0);
        }
        for (offset, waiting) in self.early.take_all() {
            self.jobs.push_back(Job::Loose { offset, waiting });
        }
        self.unsettled_since = None;
    }

    /// Drops everything that waits.
    pub(super) fn clear(&mut self) {
        self.jobs.clear();
        self.runs.clear();
        self.early = ReorderBuffer::default();
        self.unsettled_since = None;
    }

    /// Where the bytes of a write go, behind everything that it lies over.
    pub(super) fn place_of(&mut self, offset: u64, length: u64, room: impl FnOnce() -> Option<EarlyRoom>) -> Target {
        self.gaps = match self.gaps {
            Gaps::None if offset > self.length => Gaps::LeftOut,
            Gaps::LeftOut if offset < self.length => Gaps::Missing,
            as_before => as_before,
        };
        let end = offset.saturating_add(length);
        self.put_in_order(offset, end);
        if let Some(run) = self.runs.iter().find(|run| run.next == offset) {
            return Target::Run(run.id);
        }
        let a_little_early = self.runs.iter().any(|run| run.next < offset && offset - run.next <= EARLY)
            || (self.runs.is_empty() && self.length < offset && offset - self.length <= EARLY && self.length > 0);
        if a_little_early
            && self.early.takes(length)
            && let Some(room) = room()
        {
            return Target::Early(room);
        }
        Target::Run(self.start_run(offset))
    }

    /// Copies bytes that belong at `offset` into a run's buffer, and hands each full buffer over.
    /// Says how many were taken: fewer than all means that it needs a buffer, which the caller puts
    /// into `spare`. If a checkpoint has ended the run meanwhile, a new one begins.
    pub(super) fn put(&mut self, run: &mut u64, offset: u64, bytes: &[u8], spare: &mut Option<Buffer>) -> usize {
        self.unsettled_since.get_or_insert_with(Instant::now);
        let at = match self.runs.iter().position(|open| open.id == *run && open.next == offset) {
            Some(at) => at,
            None => {
                *run = self.start_run(offset);
                self.runs.len() - 1
            }
        };
        let Some(run) = self.runs.get_mut(at) else { return 0 };
        let mut taken = 0;
        while taken < bytes.len() {
            let (start, mut buffer) = match run.chunk.take() {
                Some(chunk) => chunk,
                None => match spare.take() {
                    Some(buffer) => (run.next, buffer),
                    None => break,
                },
            };
            let fits = buffer.push(bytes.get(taken..).unwrap_or_default());
            taken += fits;
            run.next += fits as u64;
            if buffer.is_full() {
                self.jobs.push_back(Job::Data { run: run.id, offset: start, buffer, ends: false });
            } else {
                run.chunk = Some((start, buffer));
            }
        }
        self.length = self.length.max(run.next);
        taken
    }

    /// Keeps the whole payload of a write that came early.
    pub(super) fn put_early(&mut self, offset: u64, waiting: Pending) {
        self.unsettled_since.get_or_insert_with(Instant::now);
        self.length = self.length.max(offset + waiting.bytes.len() as u64);
        self.early.put(offset, waiting);
    }

    /// Takes an early write whose gap has closed: the run that it continues, its offset, and its
    /// bytes.
    pub(super) fn take_contiguous(&mut self) -> Option<(u64, u64, Pending)> {
        let (run, offset) = self.runs.iter().find(|run| self.early.has(run.next)).map(|run| (run.id, run.next))?;
        Some((run, offset, self.early.take(offset)?))
    }

    fn start_run(&mut self, offset: u64) -> u64 {
        if self.runs.len() >= RUNS {
            self.end_run(0);
        }
        let id = self.next_run;
        self.next_run += 1;
        self.runs.push(Run { id, next: offset, chunk: None });
        id
    }

    fn end_run(&mut self, at: usize) {
        let run = self.runs.remove(at);
        self.jobs.push_back(match run.chunk {
            Some((offset, buffer)) => Job::Data { run: run.id, offset, buffer, ends: true },
            None => Job::End { run: run.id },
        });
    }

    /// Before a write from `offset` to `end`: what it lies over must context the worker first.
    fn put_in_order(&mut self, offset: u64, end: u64) {
        let over_early = self.early.is_in(offset, end);
        let over_chunk =
            self.runs.iter().any(|run| run.chunk.as_ref().is_some_and(|(start, _)| *start < end && offset < run.next));
        if over_early || over_chunk {
            self.settle();
        }
    }
}
