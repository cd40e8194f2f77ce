//! How much a client may send before it is told to go on: little on a near line, much on a far one.
//! No I/O, no clock of its own.
//!
//! russh tells a client to go on ("tops it up") as soon as less than half of the window is left,
//! and asks for the next window then. So half a window passes in each round trip at most: 2 MiB
//! starve a line of 100 ms at 10 MiB/s. On a near line 32 MiB halve the speed, since OpenSSH's
//! client encrypts as much as it may send ahead of its socket, and moves that about.
//! `docs/benchmarks.md` has the measurements (`near-window`, `far-100-*`).
//!
//! # The rule
//! The byte behind what a client had been allowed before it was topped up cannot come sooner than
//! one round trip after the top-up: that time is a **trip**. Was the socket empty for a part of it,
//! right before that byte, then the client waited for the window and for nothing else: it
//! **starved**. That is seen through relays and balancers, too.
//!
//! - Who starves gets twice the window.
//! - Not if the trip was longer than usual, or much longer than the client has taken before to
//!   answer: then what came has waited in a queue, or the client for its processor, and more of it
//!   would only wait longer.
//! - Not if what the window let through took clearly longer than a trip to come: then TCP, or the
//!   client, was slower.
//! - Beyond what TCP holds for the server (`SO_RCVBUF`) each step waits until the last one was seen
//!   to be used. Up to there it does not: what a step lets through comes a trip later, and a far
//!   line would be filled as late. OpenSSH's client keeps what it may send and TCP does not take
//!   yet in one piece of memory, and copies it all for each 32 KiB that are added: a window of 16
//!   MiB where 6 would do made 16 MiB of an upload four times as slow.
//! - Not if the window lets through [`CEILING`], which no connection reaches.
//! - If the rate falls then, the window is what it was before, for a while that doubles each time.
//! - If a window is far more than what the line holds, it is halved now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::rekeying::Rekeying;

/// A window that lets through so many bytes in a second is no limit.
const CEILING: f64 = 1_073_741_824.0;
/// The part of a trip for which a client must have waited.
const STARVED: f64 = 0.125;
/// How many trips it takes at most until all has come that the window lets through in one, if
/// nothing else slows it down.
const AT_ONCE: f64 = 1.1;
/// A trip ends with the packet behind what was allowed, and the next one begins a packet or two
/// later: bytes in between.
const PACKETS: f64 = 65_536.0;
/// How much longer than the shortest one a trip is that has waited in a queue.
const QUEUED: f64 = 1.5;
/// How much longer a trip may be than the time that the client once took to answer, and how much in
/// any case.
const ANSWERED: u32 = 3;
const ANSWERED_MORE: Duration = Duration::from_millis(1);
/// Trips in a row on which a client must starve until anything happens.
const IN_A_ROW: u32 = 2;
/// The shortest trip of the last one or two times this is what is usual.
const USUAL: Duration = Duration::from_secs(10);
/// For how long, and for how many trips, a larger window is tried.
const TRIAL: Duration = Duration::from_millis(250);
const TRIAL_TRIPS: u32 = 4;
/// The part of the rate before it that a larger window must keep.
const KEPT: f64 = 0.97;
/// After a trial that failed nothing is tried for so long, at first and at most.
const FIRST_HOLD: Duration = Duration::from_secs(1);
const LONGEST_HOLD: Duration = Duration::from_secs(64);
/// How often is looked whether the window is too large.
const REVIEW: Duration = Duration::from_secs(5);
/// Windows for what a line holds: twice, as half of one passes in a trip, and again for a rate that
/// grows.
const ROOM: f64 = 4.0;

/// What all connections may be granted beyond the window that each begins with. Clones are the
/// same.
#[derive(Debug, Clone)]
pub(crate) struct Pool(Arc<PoolState>);

#[derive(Debug)]
struct PoolState {
    granted: AtomicU64,
    most: u64,
}

impl Pool {
    pub(crate) fn new(most: u64) -> Self {
        Self(Arc::new(PoolState { granted: AtomicU64::new(0), most }))
    }

    /// Bytes that are granted now.
    pub(crate) fn granted(&self) -> u64 {
        self.0.granted.load(Relaxed)
    }

    /// Bytes that may be.
    pub(crate) fn most(&self) -> u64 {
        self.0.most
    }

    fn grant(&self) -> Grant {
        Grant { pool: self.clone(), bytes: 0 }
    }
}

/// What one connection has of the pool. Dropping it gives it back.
#[derive(Debug)]
struct Grant {
    pool: Pool,
    bytes: u64,
}

impl Grant {
    /// Whether there is as much, at once: nobody waits for a larger window.
    fn try_resize(&mut self, bytes: u64) -> bool {
        let PoolState { granted, most } = &*self.pool.0;
        if let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) {
            let fits = |all: u64| all.checked_add(more).filter(|all| all <= most);
            if granted.fetch_update(Relaxed, Relaxed, fits).is_err() {
                return false;
            }
            self.bytes = bytes;
        } else {
            self.force(bytes);
        }
        true
    }

    /// Counts what a client has been told already, whether there is so much or not: then nobody is
    /// granted more.
    fn force(&mut self, bytes: u64) {
        let granted = &self.pool.0.granted;
        if bytes >= self.bytes {
            granted.fetch_add(bytes - self.bytes, Relaxed);
        } else {
            granted.fetch_sub(self.bytes - bytes, Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.force(0);
    }
}

/// When something was seen, and what was known then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Since the connection began.
    pub(crate) at: Duration,
    /// For how much of that time the socket was empty.
    pub(crate) blocked: Duration,
    /// Bytes that TCP holds for the server at most, and with them what goes with them in the
    /// kernel.
    pub(crate) tcp_buffer: u32,
}

/// The window of a connection's channels, which `K` names. russh has one for all of them, counted
/// for each.
#[derive(Debug)]
pub(crate) struct Window<K> {
    start: u32,
    most: u32,
    target: u32,
    /// What russh was told last, and tops channels up to: less than the target before a change of
    /// keys.
    replied_at: u32,
    rekeying: Rekeying,
    flows: Vec<(K, Flow)>,
    grant: Grant,
    usual: Shortest,
    /// The shortest time in which the client has answered something that it had to wait for: one
    /// trip at least.
    answered: Duration,
    /// Trips on which somebody starved, one after the other.
    in_a_row: u32,
    /// The shortest trip of all since somebody starved last.
    floor: Duration,
    /// Each larger window that has not proved itself yet, the last one being the one in force.
    trials: Vec<Trial>,
    /// When something may be tried again, and how long that is put off the next time.
    held: (Duration, Duration),
    review: Review,
}

/// One channel.
#[derive(Debug, Default)]
struct Flow {
    received: u64,
    /// What it may send in all.
    allowed: u64,
    /// What it may have to send at most, since it was topped up.
    promised: u32,
    /// It was just topped up to this, because of a packet that is not counted yet.
    fresh: Option<(u32, Duration)>,
    /// The first top-up that nothing has come for: what was allowed before, and when it was.
    open: Option<(u64, Duration)>,
    /// For how long the socket had been empty when its last packet came.
    blocked: Duration,
    /// When its last trip ended, and what has come since.
    round: (Duration, u64),
}

/// The shortest time of the last one or two intervals.
#[derive(Debug)]
struct Shortest {
    since: Duration,
    now: Duration,
    before: Duration,
}

/// A larger window that has to prove itself.
#[derive(Debug)]
struct Trial {
    from: u32,
    rate: f64,
    /// When its first trip was over; nothing counts before.
    began: Option<Duration>,
    bytes: u64,
    trips: u32,
}

#[derive(Debug, Default)]
struct Review {
    since: Duration,
    peak: f64,
    starved: bool,
}

impl<K: Copy + Eq> Window<K> {
    /// Every channel begins with `start` bytes, and is never allowed more than `most`, all channels
    /// together. Keys are changed after `rekey_bytes` from the client, or a time.
    pub(crate) fn new(start: u32, most: u32, pool: &Pool, (rekey_bytes, rekey_after): (u64, Duration)) -> Self {
        Self {
            start,
            most: most.max(start),
            target: start,
            replied_at: start,
            rekeying: Rekeying::new(rekey_bytes, rekey_after),
            flows: Vec::new(),
            grant: pool.grant(),
            usual: Shortest { since: Duration::ZERO, now: Duration::MAX, before: Duration::MAX },
            answered: Duration::MAX,
            in_a_row: 0,
            floor: Duration::MAX,
            trials: Vec::new(),
            held: (Duration::ZERO, FIRST_HOLD),
            review: Review::default(),
        }
    }

    /// Whether it can change at all: if not, nothing needs to be told.
    pub(crate) const fn is_fixed(&self) -> bool {
        self.most == self.start
    }

    /// The client has answered something after this time, which it cannot have sent before it heard
    /// from the server.
    pub(crate) fn answered(&mut self, after: Duration) {
        self.answered = self.answered.min(after);
    }

    /// Whether russh holds back what it was given for the client.
    pub(crate) fn holds_back(&mut self, held_back: bool, at: Duration) {
        self.rekeying.holds_back(held_back, self.start, at);
    }

    /// The channel was topped up to what was returned last, because of a packet that
    /// [`Self::received`] is told of next. Returns the window from now on.
    pub(crate) fn topped_up(&mut self, channel: K, now: Moment) -> u32 {
        let replied_at = self.replied_at;
        let flow = self.flow(channel, now);
        flow.promised = replied_at;
        if flow.open.is_some_and(|(before, _)| flow.received >= before) {
            self.trip_is_over(channel, now, true);
        }
        self.flow(channel, now).fresh = Some((replied_at, now.at));
        self.settle_grant();
        let most = self.rekeying.most_next(self.start, self.promised(), now.at);
        self.replied_at = self.target.min(most);
        self.replied_at
    }

    /// A packet has come.
    pub(crate) fn received(&mut self, channel: K, bytes: usize, now: Moment) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.rekeying.received(bytes);
        if let Some(trial) = self.trials.last_mut()
            && trial.began.is_some()
        {
            trial.bytes = trial.bytes.saturating_add(bytes);
        }
        let flow = self.flow(channel, now);
        flow.received = flow.received.saturating_add(bytes);
        flow.round.1 = flow.round.1.saturating_add(bytes);
        if let Some((target, at)) = flow.fresh.take() {
            flow.open.get_or_insert((flow.allowed, at));
            flow.allowed = flow.received.saturating_add(u64::from(target));
        }
        if flow.open.is_some_and(|(before, _)| flow.received > before) {
            // Who has to wait uses up what he has. In the middle of a packet nobody waited.
            let used_up = flow.open.is_some_and(|(before, _)| flow.received - bytes == before);
            self.trip_is_over(channel, now, used_up);
        }
        self.flow(channel, now).blocked = now.blocked;
    }

    /// The channel is gone.
    pub(crate) fn closed(&mut self, channel: K) {
        self.flows.retain(|(known, _)| *known != channel);
        self.settle_grant();
    }

    fn flow(&mut self, channel: K, now: Moment) -> &mut Flow {
        let index = self.flows.iter().position(|(known, _)| *known == channel).unwrap_or_else(|| {
            let allowed = u64::from(self.start);
            self.flows.push((channel, Flow { allowed, blocked: now.blocked, round: (now.at, 0), ..Flow::default() }));
            self.flows.len() - 1
        });
        &mut self.flows[index].1
    }

    /// The first byte that a top-up let through has come.
    fn trip_is_over(&mut self, channel: K, now: Moment, used_up: bool) {
        let flow = self.flow(channel, now);
        let Some((_, topped_up)) = flow.open.take() else { return };
        let trip = now.at.saturating_sub(topped_up);
        let waited = now.blocked.saturating_sub(flow.blocked);
        // Both are told once for each packet.
        flow.blocked = now.blocked;
        let (began, bytes) = std::mem::replace(&mut flow.round, (now.at, 0));
        let round = now.at.saturating_sub(began);
        let rate = rate(bytes, round.max(trip));
        self.usual.note(trip, now.at);
        self.floor = self.floor.min(trip);
        let starved = used_up && waited.as_secs_f64() >= trip.as_secs_f64() * STARVED;
        self.review.peak = self.review.peak.max(rate);
        if starved {
            self.review.starved = true;
            self.floor = self.usual.get();
        }
        if self.replied_at < self.target {
            // The keys are about to be changed: what comes now says nothing about the line.
            self.trials.clear();
            (self.in_a_row, self.review) = (0, Review { since: now.at, ..Review::default() });
            return;
        }
        self.judge_trial(now.at);
        let trip = trip.as_secs_f64();
        let limit = f64::from(self.target / 2) / trip.max(1e-9);
        let late = trip > self.usual.get().as_secs_f64() * QUEUED
            || trip > self.answered.saturating_mul(ANSWERED).saturating_add(ANSWERED_MORE).as_secs_f64();
        let unseen = round.as_secs_f64() * (PACKETS / bytes.max(1) as f64).min(1.0);
        let at_once = round.as_secs_f64() - unseen <= trip * AT_ONCE;
        let slowed_down = starved && !late && at_once && limit < CEILING;
        self.in_a_row = if slowed_down { self.in_a_row.saturating_add(1) } else { 0 };
        if self.in_a_row >= IN_A_ROW && now.at >= self.held.0 {
            self.grow(rate, now.tcp_buffer);
        }
        self.review(now.at);
    }

    fn grow(&mut self, rate: f64, tcp_buffer: u32) {
        let from = self.target;
        let twice = from.saturating_mul(2).min(self.share_of_most());
        let to = if from < tcp_buffer { twice.min(tcp_buffer) } else { twice };
        if to <= from {
            return;
        }
        self.target = to;
        if self.grant.try_resize(self.wanted()) {
            self.trials.push(Trial { from, rate, began: None, bytes: 0, trips: 0 });
            if to >= tcp_buffer {
                // The next trip still shows the window before, the one behind it shows this.
                self.in_a_row = 0;
            }
        } else {
            self.target = from;
        }
    }

    fn judge_trial(&mut self, at: Duration) {
        let Some(trial) = self.trials.last_mut() else { return };
        let Some(began) = trial.began else {
            trial.began = Some(at);
            return;
        };
        trial.trips += 1;
        let lasted = at.saturating_sub(began);
        if lasted < TRIAL || trial.trips < TRIAL_TRIPS {
            return;
        }
        if rate(trial.bytes, lasted) < trial.rate * KEPT {
            let (_, hold) = self.held;
            self.target = trial.from;
            self.held = (at.saturating_add(hold), hold.saturating_mul(2).min(LONGEST_HOLD));
            // The one before it is now in force, and may be too large as well.
            self.trials.pop();
            if let Some(trial) = self.trials.last_mut() {
                *trial = Trial { from: trial.from, rate: trial.rate, began: None, bytes: 0, trips: 0 };
            }
        } else {
            self.held.1 = (self.held.1 / 2).max(FIRST_HOLD);
            self.trials.clear();
        }
    }

    /// Halves a window that the line does not need.
    fn review(&mut self, at: Duration) {
        if at.saturating_sub(self.review.since) < REVIEW {
            return;
        }
        let Review { peak, starved, .. } =
            std::mem::replace(&mut self.review, Review { since: at, ..Review::default() });
        let need = ROOM * peak * self.floor.as_secs_f64();
        if !starved && self.trials.is_empty() && need < f64::from(self.target / 2) {
            self.target = (self.target / 2).max(self.start);
        }
    }

    /// Brings the grant into line with what was promised. What a further channel has been told is
    /// counted even if it is too much; then all of them are told less.
    fn settle_grant(&mut self) {
        let wanted = self.wanted();
        if !self.grant.try_resize(wanted) {
            self.grant.force(wanted);
            self.target = self.start;
            self.trials.clear();
        } else if self.target > self.share_of_most() {
            self.target = self.share_of_most();
            self.trials.clear();
        }
    }

    /// Everything that the client may send, beyond what each of its channels began with.
    fn wanted(&self) -> u64 {
        let beyond = |flow: &Flow| u64::from(flow.promised.max(self.target).saturating_sub(self.start));
        self.flows.iter().map(|(_, flow)| beyond(flow)).sum()
    }

    /// Everything that the client may send now at most.
    fn promised(&self) -> u32 {
        self.flows.iter().map(|(_, flow)| flow.promised).fold(0, u32::saturating_add)
    }

    fn share_of_most(&self) -> u32 {
        let channels = u32::try_from(self.flows.len()).unwrap_or(u32::MAX).max(1);
        (self.most / channels).max(self.start)
    }
}

impl Shortest {
    fn note(&mut self, trip: Duration, at: Duration) {
        if at.saturating_sub(self.since) >= USUAL {
            (self.since, self.before, self.now) = (at, self.now, Duration::MAX);
        }
        self.now = self.now.min(trip);
    }

    fn get(&self) -> Duration {
        self.now.min(self.before)
    }
}

fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64().max(1e-9)
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
