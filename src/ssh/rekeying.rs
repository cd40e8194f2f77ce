//! Windows and new session keys: how much a client may send ahead while a change of keys comes
//! near.
//!
//! Between its own KEXINIT and the client's, russh takes twice the window that channels begin with,
//! and ends the connection of a client that sends more (0.65: `Error::Pending`): what a larger
//! window lets through must have come before. russh tells nobody when it changes keys, so this
//! counts what it counts, a little more rather than less, and sees that a change is over by the
//! replies that russh held back meanwhile. A change that it does not see (a client that hears of
//! nothing while it sends, as with SCP, or that changes keys itself) leaves the window small, which
//! is safe.

use std::time::Duration;

/// What a packet has beside its data, at most: SSH's and the channel's header, padding, tag.
const OVERHEAD: u64 = 64;
/// How long before its time a change may come: clocks are read at different moments, and a window
/// has to run dry.
const EARLY: Duration = Duration::from_secs(10);
/// How long after its time a change that was not seen must be over.
const LATE: Duration = Duration::from_secs(60);

/// When the server changes keys, and how far that is.
#[derive(Debug)]
pub(super) struct Rekeying {
    limit: u64,
    after: Duration,
    count: u64,
    since: Duration,
    held_back: bool,
}

impl Rekeying {
    /// After `limit` bytes from the client, or a time.
    pub(super) fn new(limit: u64, after: Duration) -> Self {
        Self { limit, after, count: 0, since: Duration::ZERO, held_back: false }
    }

    /// A packet has come.
    pub(super) fn received(&mut self, bytes: u64) {
        self.count = self.count.saturating_add(bytes).saturating_add(OVERHEAD);
    }

    /// The largest window at which a channel may be topped up next, if it has just been topped up
    /// to `replied_at` and began with `start`. By then all but half of the next window has come, so
    /// the client may send `replied_at` and half of the next one from here on.
    pub(super) fn most_next(&mut self, start: u32, replied_at: u32, at: Duration) -> u32 {
        let due = self.since.saturating_add(self.after);
        if at >= due.saturating_add(LATE) {
            self.since = at;
        } else if at.saturating_add(EARLY) >= due {
            return start;
        }
        let left = self.limit.saturating_sub(self.count).saturating_sub(u64::from(replied_at));
        u32::try_from(left.saturating_mul(2)).unwrap_or(u32::MAX).max(start)
    }

    /// Whether russh holds replies back. When it no longer does, about when the keys were to be
    /// changed, they are new.
    pub(super) fn holds_back(&mut self, held_back: bool, start: u32, at: Duration) {
        let by_count = self.count.saturating_add(self.count / 64).saturating_add(4 * u64::from(start)) >= self.limit;
        let by_time = at.saturating_add(EARLY) >= self.since.saturating_add(self.after);
        if self.held_back && !held_back && (by_count || by_time) {
            (self.count, self.since) = (0, at);
        }
        self.held_back = held_back;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1 << 20;

    #[test]
    fn a_window_tapers_off_before_a_change_of_keys_and_comes_back_after_it() {
        let limit = 1 << 30;
        let mut rekeying = Rekeying::new(limit, Duration::from_secs(3600));
        let (start, wished) = (2 * MIB, 64 * MIB);
        // As russh does it: topped up when less than half of the window is left.
        let (mut received, mut left, mut replied_at, mut next) = (0u64, start, start, wished);
        let mut small = 0;
        for change in 0..5 {
            while received < limit {
                rekeying.received(32 * 1024);
                received += 32 * 1024 + 30;
                left -= 32 * 1024;
                if left < next / 2 {
                    left = next;
                    replied_at = next;
                    next = rekeying.most_next(start, replied_at, Duration::ZERO).min(wished);
                    small += u64::from(replied_at == start);
                }
                let in_flight_at_limit = u64::from(left) + received;
                assert!(received < limit || left <= 2 * start, "{change}: {in_flight_at_limit}");
            }
            rekeying.holds_back(true, start, Duration::ZERO);
            rekeying.holds_back(false, start, Duration::ZERO);
            received = 0;
            next = rekeying.most_next(start, replied_at, Duration::ZERO).min(wished);
            assert_eq!(next, wished);
        }
        assert!(small < 5 * 12, "{small} top-ups with the small window in {}", replied_at);
    }

    #[test]
    fn nor_is_it_large_when_the_time_has_come() {
        let mut rekeying = Rekeying::new(1 << 40, Duration::from_secs(3600));
        let mut at = |seconds| rekeying.most_next(MIB, MIB, Duration::from_secs(seconds)) > MIB;
        assert_eq!(
            (at(3000), at(3589), at(3591), at(3650), at(3661), at(7249), at(7262)),
            (true, true, false, false, true, true, false)
        );
    }

    #[test]
    fn replies_that_are_held_back_for_another_reason_mean_nothing() {
        let mut rekeying = Rekeying::new(1 << 30, Duration::from_secs(3600));
        rekeying.received(900 << 20);
        rekeying.holds_back(true, MIB, Duration::from_secs(5));
        rekeying.holds_back(false, MIB, Duration::from_secs(6));
        assert!(rekeying.count >= 900 << 20);
    }
}
