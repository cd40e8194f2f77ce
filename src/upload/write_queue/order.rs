//! Where the bytes of a write go: into a run that they continue, to those that wait for a gap to close, or into a run of
//! their own, behind everything that they lie over.

use super::super::buffer::{Buffer, EarlyRoom};
use super::super::job::{Holds, Job, Target};
use super::State;
use crate::upload::reorder::EARLY;

/// Runs that an upload may have at once; one more ends the run that was used longest ago.
const RUNS: usize = 8;

/// What it means that nothing was written somewhere before the end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gaps {
    /// There is no such place.
    None,
    /// Each write began at the end of those before or behind it: its client leaves out what is nothing but zeros, as `cp`
    /// does with a sparse file.
    LeftOut,
    /// Some writes went back, so several places are sent at once; or what is there was sent by somebody who was cut. What
    /// was not written did not come.
    Missing,
}

pub(crate) struct Run {
    pub(crate) id: u64,
    /// Where its next byte belongs.
    pub(crate) next: u64,
    /// The offset of the first byte in the buffer, and the buffer.
    pub(crate) chunk: Option<(u64, Buffer)>,
}

impl State {
    /// Ends every run and hands over what came early, in the order in which it was written where that matters.
    pub(crate) fn settle(&mut self) {
        while !self.runs.is_empty() {
            self.end_run(0);
        }
        for (offset, waiting) in self.early.take_all() {
            self.jobs.push_back(Job::Loose { offset, waiting });
        }
        self.unsettled_since = None;
    }

    /// Where the bytes of a write go, behind everything that it lies over.
    pub(crate) fn place_of(&mut self, offset: u64, length: u64, room: impl FnOnce() -> Option<EarlyRoom>) -> Target {
        (self.shown, self.holds) = (None, Holds::Changed);
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

    pub(crate) fn start_run(&mut self, offset: u64) -> u64 {
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

    /// Before a write from `offset` to `end`: what it lies over must reach the worker first.
    fn put_in_order(&mut self, offset: u64, end: u64) {
        let over_early = self.early.is_in(offset, end);
        let over_chunk =
            self.runs.iter().any(|run| run.chunk.as_ref().is_some_and(|(start, _)| *start < end && offset < run.next));
        if over_early || over_chunk {
            self.settle();
        }
    }
}
