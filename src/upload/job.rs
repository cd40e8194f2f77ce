//! What a write queue asks of its worker, and what becomes of an upload by it.

use tokio::sync::oneshot;

use super::buffer::{Buffer, EarlyRoom};
use crate::model::Refusal;
use crate::upload::reorder::Pending;

/// What the worker is asked to do, in order.
pub(crate) enum Job {
    /// Seal a buffer at this offset of the file. `ends`: the run's extent ends with it.
    Data { run: u64, offset: u64, buffer: Buffer, ends: bool },
    /// End the run's extent.
    End { run: u64 },
    /// Seal bytes that came early and whose gap never closed.
    Loose { offset: u64, waiting: Pending },
    /// Make the file this long.
    Truncate { length: u64 },
    /// Make everything so far durable.
    Sync(oneshot::Sender<Result<(), Refusal>>),
    /// Say up to where nothing is missing, in bytes, and the SHA-256 of that.
    Front(oneshot::Sender<Result<(u64, [u8; 32]), Refusal>>),
    /// Read back what was written.
    Read { offset: u64, length: usize, reply: oneshot::Sender<Result<Vec<u8>, Refusal>> },
    /// Publish.
    Close(oneshot::Sender<Result<(), Refusal>>),
    /// The client is gone, or another session goes on: write down what is there and end.
    Cut,
}

impl Job {
    /// What there is to hash and to seal.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Data { buffer, .. } => buffer.filled(),
            Self::Loose { waiting, .. } => waiting.bytes.len(),
            _ => 0,
        }
    }
}

/// What an upload holds, against what was there when it began. It says what a CLOSE makes of it,
/// and what a cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// No bytes, as its client asked for: a CLOSE makes a version even if none come.
    Nothing,
    /// What the current version holds, byte for byte. It needs no row, and a CLOSE makes no
    /// version.
    Copy,
    /// What an unfinished version holds, and nothing was sent yet. A CLOSE leaves it as unfinished
    /// as before.
    Unfinished {
        /// What STAT says instead of the length, in bytes: where it can be continued. None: the
        /// length is that.
        reported: Option<u64>,
        /// Whether the first write, through whichever handle, has yet to say whether it goes on or
        /// begins anew.
        undecided: bool,
    },
    /// Something was sent, or cut off, since it began.
    Changed,
}

impl Holds {
    /// Whether there is something that the records do not have: a CLOSE publishes it, a cut keeps
    /// it.
    pub(crate) const fn is_new(self) -> bool {
        matches!(self, Self::Nothing | Self::Changed)
    }

    /// Whether it continues an unfinished version of which nothing has changed.
    pub(crate) const fn is_unfinished(self) -> bool {
        matches!(self, Self::Unfinished { .. })
    }
}

/// Whether an upload takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It does, through so many handles. When the last one has gone without a CLOSE, it is being
    /// cut.
    Open { handles: usize },
    /// A CLOSE is under way.
    Closing,
    /// Refuses everything with this: it failed, or another session continued it.
    Refusing(Refusal),
    /// A CLOSE has published it: later writes begin the next version.
    Published,
}

impl Phase {
    pub(crate) const fn is_open(self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

/// Where the bytes of an announced write go.
pub(crate) enum Target {
    /// Into this run.
    Run(u64),
    /// They are early and wait here.
    Early(EarlyRoom),
}
