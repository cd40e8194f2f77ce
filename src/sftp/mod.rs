//! SFTP version 3 over one channel: bytes in, bytes out. The `ssh` room runs it and knows the
//! channel; this room knows the protocol and the share, and nothing of SSH.
//!
//! - `frame` turns bytes into requests, `reply` builds what goes back, `status` chooses the codes.
//! - `session` is the loop, `verbs` what each request does, `handles` what is open.
//! - `checks` answers what clients ask of digests, from tasks too: a digest may have to be
//!   computed.
//! - `reads` answers READs from a task beside the connection.
//!
//! # Who answers where
//! [`Session::feed`] runs inside the connection's own task, which is also the one that reads the
//! client's WINDOW_ADJUST. So `feed` may wait for the share (bounded buffers, the database), and
//! never for the client. What it has to say at once (statuses, attributes, pages of names) it
//! appends to the caller's buffer. READs and CLOSEs of uploads are answered by tasks through the
//! [`ReplySink`](crate::access::ReplySink), which waits while the client's window is shut.
//!
//! # Order
//! A write handle is behind a fair lock. WRITE, FSETSTAT, FSTAT and fsync take it inside `feed`,
//! one after the other as they came. CLOSE takes the upload out of it, so what comes later finds
//! the handle gone, and only then leaves the rest of the work to a task. fsync@openssh.com is
//! awaited inside `feed`: it then covers exactly the bytes written before it, its answer needs no
//! place in any queue, and it waits for the disk only. (The price: the other channels of that one
//! connection wait for that long.) A READ through a write handle takes the lock when its turn comes
//! and holds it while it reads, never while it sends.

mod checks;
mod frame;
mod handles;
mod reads;
mod reply;
mod session;
mod status;
mod verbs;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub use frame::MAX_PACKET;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub use frame::bench_parse;
pub use session::{Fatal, Session};

/// The most bytes that one READ delivers and one WRITE should carry: 255 KiB, what OpenSSH uses as
/// soon as it is told.
pub const MAX_READ: u32 = 255 * 1024;

/// The bounds of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open handles, CLOSEs that are being carried out included. More: OPEN and OPENDIR are
    /// refused.
    pub handles: usize,
    /// READs that are carried out at once. More: they wait as runs.
    pub reads_in_work: usize,
    /// Bytes of READs that are carried out at once. More: they wait as runs.
    pub read_ahead: usize,
    /// Runs of waiting READs; a file asked for from end to end is one run. More: READ is refused.
    pub waiting_runs: usize,
    /// Names in one page of a listing, `.` and `..` included.
    pub names_per_page: usize,
    /// Malformed packets in the life of a session. This many: the channel is closed.
    pub malformed: u32,
    /// Bytes of small replies that one call of [`Session::feed`] may make. More: the channel is
    /// closed.
    pub replies: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handles: 64,
            reads_in_work: 64,
            read_ahead: 1024 * 1024,
            waiting_runs: 16 * 1024,
            names_per_page: 100,
            malformed: 10,
            replies: 4 * 1024 * 1024,
        }
    }
}

/// What all sessions of a server have in common. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Common {
    /// The bounds of each session.
    pub limits: Limits,
    /// Plaintext that all sessions together may hold for READs, in KiB (one permit each). Must be
    /// 256 at least.
    pub read_budget: Arc<Semaphore>,
    /// Everything that is open for writing, and every CLOSE in work. A server that drains waits for
    /// it.
    pub uploads: TaskTracker,
}

impl Common {
    /// `budget`: plaintext that all sessions together may hold for READs, in bytes; 256 KiB at
    /// least.
    pub fn new(limits: Limits, budget: usize) -> Self {
        Self { limits, read_budget: Arc::new(Semaphore::new(Self::permits(budget))), uploads: TaskTracker::new() }
    }

    /// How many permits of [`Self::read_budget`] there are for a budget of so many bytes.
    pub fn permits(budget: usize) -> usize {
        (budget / 1024).clamp(256, Semaphore::MAX_PERMITS)
    }
}
