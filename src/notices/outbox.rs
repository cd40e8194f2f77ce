//! What the dispatcher needs from the records.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use crate::mail::notice::{Channel, DueNotice, Earlier};
use crate::model::{NoticeId, Time};

/// The queue of notices. [`Notices`](super::Notices) implements it on the records, the dispatcher's
/// tests in memory; everything here may be called again after a failure.
pub trait Outbox: Send + Sync + 'static {
    /// Closes the settling notices whose time has come, then returns up to `most` notices that are
    /// due at `now`, oldest first. A notice that is under way stays due until [`Outbox::delivered`]
    /// or [`Outbox::failed`] was called for it, and is returned again; the dispatcher sees to it
    /// that it is not delivered twice at once.
    ///
    /// A notice that cannot be read (a missing key, a damaged row) must not hold up the others: the
    /// implementation puts it aside as failed and returns the rest.
    fn due(&self, now: Time, most: usize) -> impl Future<Output = Result<Vec<DueNotice>, OutboxError>> + Send;

    /// When the next notice falls due, counting those that still settle; `None`: nothing waits. It
    /// is asked every second, so it must only read.
    fn next_due(&self) -> impl Future<Output = Result<Option<Time>, OutboxError>> + Send;

    /// A try is about to hand a notice over to this address. It is written down before it happens,
    /// so that a server that stops then knows at its next start that the mail may have come.
    /// `false`: it was delivered, ended, or goes elsewhere by now, and must not be handed over.
    fn hands_over(
        &self,
        id: NoticeId,
        address: &str,
        channel: Channel,
    ) -> impl Future<Output = Result<bool, OutboxError>> + Send;

    /// The notice was handed over to this address. If it goes elsewhere by now, it stays due.
    /// Repeating the call changes nothing.
    fn delivered(
        &self,
        id: NoticeId,
        address: &str,
        at: Time,
        channel: Channel,
    ) -> impl Future<Output = Result<(), OutboxError>> + Send;

    /// The notice was not handed over to this address, or nobody knows: try again at
    /// `attempt.retry_at`, or never. If it goes elsewhere by now, nothing changes.
    fn failed(
        &self,
        id: NoticeId,
        address: &str,
        attempt: Attempt,
    ) -> impl Future<Output = Result<(), OutboxError>> + Send;

    /// The dispatcher begins its work. Nothing may wait longer than `longest` from `now` on: while
    /// no server ran, the clock may have gone back. Gives what was being handed over when the last
    /// server stopped, until [`Outbox::failed`] was called for it.
    fn begins(
        &self,
        now: Time,
        longest: Duration,
    ) -> impl Future<Output = Result<Vec<Interrupted>, OutboxError>> + Send;

    /// The wall clock went back by `by` against the time that passed: all that waits is due so much
    /// earlier.
    fn clock_went_back(&self, by: Duration) -> impl Future<Output = Result<(), OutboxError>> + Send;
}

/// The records did not answer. Always temporary: the dispatcher asks again.
#[derive(Debug, thiserror::Error)]
#[error("the outbox cannot be used just now: {0}")]
pub struct OutboxError(Box<dyn Error + Send + Sync>);

impl OutboxError {
    /// Wraps what the records said.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

/// A try that was cut off while the mail may have been taken.
#[derive(Debug, Clone)]
pub struct Interrupted {
    /// The notice.
    pub id: NoticeId,
    /// Where it went.
    pub address: String,
    /// What came before.
    pub before: Earlier,
}

/// One try that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub at: Time,
    /// How delivery was tried.
    pub channel: Channel,
    /// What happened and what to do, in English, on one line, at most 400 characters; names no
    /// file.
    pub sentence: String,
    /// When to try again; `None`: given up, the notice is `failed` or, if an answer was ever lost,
    /// `unknown`.
    pub retry_at: Option<Time>,
    /// Whether it was handed over and no answer came.
    pub lost_answer: bool,
}
