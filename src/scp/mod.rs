//! The legacy SCP protocol: what `scp -O`, PuTTY's `pscp -scp`, and many devices speak over `exec`.
//! It knows nothing of SSH. There is no specification; OpenSSH's `scp.c` is the reference.
//!
//! - `request` reads the command line, `record` the control lines, `reply` says what goes wrong.
//! - `session` is one channel: a `sink` for a client that sends, a `source` for one that receives.
//! - `expand` finds the names that wildcards stand for, `pattern` is one name's worth of them.
//!
//! # Who waits for whom
//! [`Session::feed`] runs inside the connection's own task, like that of `sftp`: it may wait for
//! the share and never for the client. What it has to say at once it appends to the caller's
//! buffer.
//!
//! A sink's upload is closed by a task, which also sends the reply: a sender that keeps to the
//! protocol says nothing until that reply is there, so nobody is held up. One that sends on without
//! waiting makes `feed` wait for the end of the CLOSE, which depends on the disk only, and holds up
//! the other channels of its own connection for that long; nothing it sends is buffered here. Its
//! replies may then come in another order.
//!
//! A source is a task from its beginning. `feed` only passes on the client's replies to it, of
//! which there is never more than one on its way.

pub(crate) mod expand;
mod record;
pub(crate) mod reply;
mod request;
mod session;
mod sink;
mod source;

use std::future::Future;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub use request::{Argument, Flags, Request};
pub use session::{Fatal, Session};

use crate::access::ReplySink;

/// A channel, as the tasks of a session see it.
pub trait Channel: ReplySink {
    /// Says `stderr` (text for people, on the channel's second stream; may be empty), then that the
    /// command has ended with this exit code, and closes the channel.
    fn end(&self, code: u32, stderr: Vec<u8>) -> impl Future<Output = ()> + Send;
}

/// What all sessions of a server have in common. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Common {
    /// Plaintext that all sessions together may hold for reading, in KiB (one permit each). Must be
    /// 256 at least.
    pub read_budget: Arc<Semaphore>,
    /// Everything that is open for writing, and every CLOSE in work. A server that drains waits for
    /// it.
    pub uploads: TaskTracker,
}
