//! What a lane asks of its worker, and what becomes of an upload by it.

use tokio::sync::oneshot;

use super::buffer::{Buffer, EarlyRoom};
use super::early::Waiting;
use crate::model::Refusal;

/// What the worker is asked to do, in order.
pub(super) enum Job {
    /// Seal a buffer at this offset of the file. `ends`: the run's extent ends with it.
    Data { run: u64, offset: u64, buffer: Buffer, ends: bool },
    /// End the run's extent.
    End { run: u64 },
    /// Seal bytes that came early and whose gap never closed.
    Loose { offset: u64, waiting: Waiting },
    /// Make the file this long.
    Truncate { length: u64 },
    /// Make everything so far durable.
    Sync(oneshot::Sender<Result<(), Refusal>>),
    /// Read back what was written.
    Read { offset: u64, length: usize, reply: oneshot::Sender<Result<Vec<u8>, Refusal>> },
    /// Publish.
    Close(oneshot::Sender<Result<(), Refusal>>),
    /// The client is gone, or another session goes on: write down what is there and end.
    Cut,
}

impl Job {
    /// What there is to hash and to seal.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Data { buffer, .. } => buffer.filled(),
            Self::Loose { waiting, .. } => waiting.bytes.len(),
            _ => 0,
        }
    }
}

/// Whether an upload takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// A CLOSE is under way.
    Closing,
    /// Refuses everything with this: it failed, or another session continued it.
    Refusing(Refusal),
    /// A CLOSE has published it: later writes begin the next version.
    Published,
}

/// Where the bytes of an announced write go.
pub(super) enum Target {
    /// Into this run.
    Run(u64),
    /// They are early and wait here.
    Early(EarlyRoom),
}
