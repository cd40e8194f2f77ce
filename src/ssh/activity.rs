//! What a connection is known to do: shared by its stream, its handler, its reply sinks and the
//! task that watches it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::traffic::Traffic;
use super::window::Moment;

/// How often something under way shows that it is.
const TOUCH_INTERVAL: Duration = Duration::from_secs(1);

/// Counters of one connection. Nothing but these numbers depends on them, so they need no order
/// among each other.
pub(crate) struct Activity {
    began: Instant,
    /// Milliseconds from the beginning to the last touch.
    last: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    /// Replies that wait for room in front of the connection.
    replies_waiting: AtomicUsize,
    /// Whether the client's window was shut on something when it was last looked at.
    window_shut: AtomicBool,
    /// Whether TCP took nothing when it was last asked.
    write_waiting: AtomicBool,
    /// For how long the socket was empty while it was read, and since when it is (none: 0). In
    /// nanoseconds.
    blocked: AtomicU64,
    blocked_since: AtomicU64,
    /// Bytes that TCP holds until they are read, at most.
    tcp_buffer: AtomicU32,
    client: OnceLock<Client>,
    traffic: Traffic,
}

/// A client, as far as it makes a difference which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    OpenSsh,
    Putty,
    Dropbear,
    Paramiko,
    Other,
}

impl Client {
    /// By the first line that it sends (RFC 4253, section 4.2).
    pub(crate) fn of(version: &[u8]) -> Self {
        let version = version.to_ascii_lowercase();
        let holds = |word: &[u8]| version.windows(word.len()).any(|disconnect| disconnect == word);
        match () {
            () if holds(b"paramiko") => Self::Paramiko,
            () if version.starts_with(b"ssh-2.0-openssh") => Self::OpenSsh,
            () if version.starts_with(b"ssh-2.0-putty") => Self::Putty,
            () if version.starts_with(b"ssh-2.0-dropbear") => Self::Dropbear,
            () => Self::Other,
        }
    }

    /// Whether people read what comes on a channel's stderr.
    pub(crate) const fn shows_stderr(self) -> bool {
        matches!(self, Self::OpenSsh | Self::Putty | Self::Dropbear)
    }
}

/// Why a connection that only sits there is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimeoutReason {
    #[error("the client did not take what it had asked for")]
    Stalled,
    #[error("the client asked for nothing")]
    Idle,
}

impl Activity {
    /// Of a connection whose bytes count in `traffic`, too.
    pub(crate) fn new(traffic: Traffic) -> Self {
        Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            replies_waiting: AtomicUsize::new(0),
            window_shut: AtomicBool::new(false),
            write_waiting: AtomicBool::new(false),
            blocked: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
            tcp_buffer: AtomicU32::new(u32::MAX),
            client: OnceLock::new(),
            traffic,
        }
    }

    /// SFTP went on: something was asked for, written, or delivered.
    pub(crate) fn touch(&self) {
        let millis = self.began.elapsed().as_millis();
        self.last.store(u64::try_from(millis).unwrap_or(u64::MAX), Relaxed);
    }

    /// The socket was read and is empty.
    pub(crate) fn read_blocked(&self) {
        if self.blocked_since.load(Relaxed) == 0 {
            self.blocked_since.store(self.nanos(), Relaxed);
        }
    }

    /// Something has come.
    pub(crate) fn read_ready(&self) {
        let since = self.blocked_since.swap(0, Relaxed);
        if since > 0 {
            self.blocked.fetch_add(self.nanos().saturating_sub(since), Relaxed);
        }
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Now, as windows know it.
    pub(crate) fn moment(&self) -> Moment {
        Moment {
            at: self.began.elapsed(),
            blocked: Duration::from_nanos(self.blocked.load(Relaxed)),
            tcp_buffer: self.tcp_buffer.load(Relaxed),
        }
    }

    /// TCP holds so many bytes until they are read, at most.
    pub(crate) fn tcp_holds(&self, bytes: usize) {
        self.tcp_buffer.store(u32::try_from(bytes).unwrap_or(u32::MAX), Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
        self.traffic.received(bytes);
    }

    /// TCP took bytes. That is no touch (a keepalive's bytes are taken too) unless something waited
    /// for it.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
        self.traffic.sent(bytes);
        if self.write_waiting.swap(false, Relaxed) {
            self.touch();
        }
    }

    pub(crate) fn write_waits(&self) {
        self.write_waiting.store(true, Relaxed);
    }

    pub(crate) fn window_is_shut(&self, shut: bool) {
        self.window_shut.store(shut, Relaxed);
    }

    /// A reply waits until what this returns is dropped.
    pub(crate) fn reply_waits(&self) -> impl Drop + Send + '_ {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Relaxed);
            }
        }
        self.replies_waiting.fetch_add(1, Relaxed);
        Waiting(&self.replies_waiting)
    }

    /// Does something that the client has asked for and that may take long: the client is not idle
    /// meanwhile.
    pub(crate) async fn keep_alive_while<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(TOUCH_INTERVAL) => self.touch(),
            }
        }
    }

    /// The first version line is the client's; what comes later changes nothing.
    pub(crate) fn learn_client(&self, client: Client) {
        let _ = self.client.set(client);
    }

    pub(crate) fn client(&self) -> Client {
        self.client.get().copied().unwrap_or(Client::Other)
    }

    pub(crate) fn waits_for_peer(&self) -> bool {
        self.replies_waiting.load(Relaxed) > 0 || self.window_shut.load(Relaxed) || self.write_waiting.load(Relaxed)
    }

    /// Whether it has been still for too long.
    pub(crate) fn timed_out(&self, stall: Duration, idle: Duration) -> Option<TimeoutReason> {
        let quiet = self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Relaxed)));
        if quiet >= stall && self.waits_for_peer() {
            return Some(TimeoutReason::Stalled);
        }
        (quiet >= idle).then_some(TimeoutReason::Idle)
    }

    /// Bytes received and sent.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.received.load(Relaxed), self.sent.load(Relaxed))
    }

    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r51_who_does_not_read_is_ended_before_who_does_not_ask() {
        let activity = Activity::new(Traffic::nowhere());
        let (now, hour) = (Duration::ZERO, Duration::from_secs(3600));
        assert_eq!(activity.timed_out(now, hour), None);
        assert_eq!(activity.timed_out(hour, now), Some(TimeoutReason::Idle));
        let waiting = activity.reply_waits();
        assert_eq!(activity.timed_out(now, hour), Some(TimeoutReason::Stalled));
        assert_eq!(activity.timed_out(hour, hour), None);
        drop(waiting);
        assert_eq!(activity.timed_out(now, hour), None);
        activity.window_is_shut(true);
        assert_eq!(activity.timed_out(now, hour), Some(TimeoutReason::Stalled));
        activity.window_is_shut(false);
        activity.write_waits();
        assert!(activity.waits_for_peer());
        activity.sent(1);
        assert!(!activity.waits_for_peer());
    }
}
