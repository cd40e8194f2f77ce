//! Who may come in at all: bounds on connections, and a penalty for sources that fail to log in.
//! All doors of a server ask one control, so who guesses at one of them is shut out of the others.
//! A listener asks it before anything is read, the connection tells it how far it has come, the
//! login what came of it.
//!
//! A source is an IPv4 address or the /64 of an IPv6 address. Nothing here depends on user names,
//! so admission control tells nobody which of them exist. `unauthenticated` decides among those
//! that have not logged in; `stranger_log` is what the log says of them.

mod stranger_log;
mod unauthenticated;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

pub(crate) use stranger_log::{EVERY, StrangerLog};
use unauthenticated::{Slot, Slots, source_of};
pub(crate) use unauthenticated::{Stage, network_of};

use crate::model::{Locked, LockedGuard};

/// The bounds of admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Connections in all. More: closed at once.
    pub connections: usize,
    /// Connections that have not logged in, in all. More: one of them is ended for the new
    /// connection if its network holds more, or else the new connection is closed at once. From a
    /// half on chance closes new connections of networks that hold many.
    pub unauthenticated: usize,
    /// Connections of one source that have not logged in. More: closed at once, unless one of them
    /// says nothing.
    pub unauthenticated_per_source: usize,
    /// Connections of one source. More: closed at once.
    pub per_source: usize,
    /// Failed logins of one source that cost nothing. They are forgotten one by one, see
    /// `forgiven_after`.
    pub free_failures: u32,
    /// For how long a source is shut out after its first failure beyond the free ones; each further
    /// one doubles it.
    pub first_penalty: Duration,
    /// The longest penalty.
    pub longest_penalty: Duration,
    /// The time in which one failure is forgotten.
    pub forgiven_after: Duration,
    /// Sources that are remembered. Beyond it those that matter least are forgotten.
    pub sources: usize,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            unauthenticated: 64,
            unauthenticated_per_source: 32,
            per_source: 100,
            free_failures: 8,
            first_penalty: Duration::from_secs(2),
            longest_penalty: Duration::from_secs(300),
            forgiven_after: Duration::from_secs(60),
            sources: 16 * 1024,
        }
    }
}

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejected {
    #[error("an address that legacy.allow does not list")]
    NotAllowed,
    #[error("the last day of the legacy listener is over")]
    GreetingError,
    #[error("too many connections")]
    Full,
    #[error("too many connections that have not logged in")]
    UnauthenticatedFull,
    #[error("too many connections from this source")]
    SourceFull,
    #[error("too many connections from this source that have not logged in")]
    SourceUnauthenticatedFull,
    #[error("too many key exchanges that nobody logged in after")]
    KeyExchanges,
    #[error("too many failed logins from this source")]
    Penalty,
}

/// The admission control of a server. Clones are the same.
#[derive(Clone)]
pub struct AdmissionControl {
    limits: AdmissionLimits,
    state: Arc<Locked<State>>,
}

struct State {
    connections: usize,
    slots: Slots,
    /// Of those who hold a slot: what ends them.
    ends: HashMap<Slot, CancellationToken>,
    sources: HashMap<IpAddr, Source>,
}

#[derive(Default)]
struct Source {
    connections: usize,
    failures: u32,
    /// When the oldest failure that still counts began to be forgotten.
    counted_from: Option<Instant>,
    shut_until: Option<Instant>,
}

impl AdmissionControl {
    /// Of a server that nobody has come to yet.
    pub fn new(limits: AdmissionLimits) -> Self {
        let slots = Slots::new(limits.unauthenticated, limits.unauthenticated_per_source);
        let state = State { connections: 0, slots, ends: HashMap::new(), sources: HashMap::new() };
        Self { limits, state: Arc::new(Locked::new(state)) }
    }

    /// Takes a connection, or rejects it. The connection counts until the admission is dropped.
    /// `dice` is any number.
    pub(crate) fn admit(&self, address: IpAddr, now: Instant, dice: u32) -> Result<Admission, Rejected> {
        let limits = &self.limits;
        let key = source_of(address);
        let mut state = self.state();
        if state.connections >= limits.connections {
            return Err(Rejected::Full);
        }
        if let Some(source) = state.sources.get(&key) {
            if source.shut_until.is_some_and(|until| now < until) {
                return Err(Rejected::Penalty);
            }
            if source.connections >= limits.per_source {
                return Err(Rejected::SourceFull);
            }
        } else {
            state.make_room(limits, now);
        }
        let given = state.slots.take(address, now, dice)?;
        if let Some(end) = given.instead_of.and_then(|slot| state.ends.remove(&slot)) {
            end.cancel();
        }
        let displaced = CancellationToken::new();
        state.ends.insert(given.slot, displaced.clone());
        state.connections += 1;
        state.sources.entry(key).or_default().connections += 1;
        let stage = AtomicU8::new(Stage::Silent as u8);
        Ok(Admission { admissions: self.clone(), address, slot: given.slot, stage, displaced })
    }

    /// For how long a source may not try to log in any more; none if it may. Who holds a
    /// connection open asks before each try.
    pub(crate) fn shut_for(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let until = self.state().sources.get(&source_of(address))?.shut_until?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    fn state(&self) -> LockedGuard<'_, State> {
        // Counters are whole at every moment that the lock is let go, a panic included.
        self.state.lock()
    }
}

/// A number that strangers cannot foresee. Without one nobody is rejected by chance.
pub(crate) fn chance() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}

impl State {
    /// The slot is free. It may have been given to another one already.
    fn give_back(&mut self, slot: Slot) {
        self.slots.free(slot);
        self.ends.remove(&slot);
    }

    /// Forgets sources that are no longer worth remembering; under pressure also such as are, but
    /// never one that has a connection (there are fewer of them than the bound on connections).
    fn make_room(&mut self, limits: &AdmissionLimits, now: Instant) {
        if self.sources.len() < limits.sources {
            return;
        }
        self.sources.retain(|_, source| source.connections > 0 || source.failures_at(limits, now) > 0);
        let crowded = limits.sources - limits.sources / 8;
        if self.sources.len() > crowded {
            self.sources.retain(|_, source| {
                source.connections > 0 || source.shut_until.is_some_and(|until| now + limits.first_penalty < until)
            });
        }
        if self.sources.len() > crowded {
            self.sources.retain(|_, source| source.connections > 0);
        }
    }
}

impl Source {
    /// The failures that still count.
    fn failures_at(&self, limits: &AdmissionLimits, now: Instant) -> u32 {
        let Some(from) = self.counted_from else { return 0 };
        let each = limits.forgiven_after.as_millis().max(1);
        let forgotten = now.saturating_duration_since(from).as_millis() / each;
        self.failures.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }

    fn fail(&mut self, limits: &AdmissionLimits, now: Instant) {
        self.failures = self.failures_at(limits, now).saturating_add(1);
        self.counted_from = Some(now);
        if let Some(doublings) = self.failures.checked_sub(limits.free_failures + 1) {
            let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
            let penalty = limits.first_penalty.saturating_mul(factor).min(limits.longest_penalty);
            self.shut_until = Some(now + penalty);
        }
    }
}

/// One connection, as admission control knows it. Dropping it gives back what it holds.
pub(crate) struct Admission {
    admissions: AdmissionControl,
    address: IpAddr,
    slot: Slot,
    /// What admission control was told last.
    stage: AtomicU8,
    displaced: CancellationToken,
}

/// Behind every stage: who has logged in holds no slot.
const LOGGED_IN: u8 = u8::MAX;

impl Admission {
    /// The connection has come so far. Said again it costs nothing.
    pub(crate) fn reached(&self, stage: Stage) {
        if self.stage.fetch_max(stage as u8, Relaxed) < stage as u8 {
            self.admissions.state().slots.step(self.slot, stage, Instant::now());
        }
    }

    /// Whether it has come so far.
    pub(crate) fn has_reached(&self, stage: Stage) -> bool {
        self.has_reached_byte(stage as u8)
    }

    fn has_reached_byte(&self, stage: u8) -> bool {
        self.stage.load(Relaxed) >= stage
    }

    /// Whether it has logged in.
    pub(crate) fn is_authenticated(&self) -> bool {
        self.has_reached_byte(LOGGED_IN)
    }

    /// Waits until the connection must make room for another one.
    pub(crate) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }

    /// The connection has logged in.
    pub(crate) fn authenticated(&self) {
        if self.stage.swap(LOGGED_IN, Relaxed) != LOGGED_IN {
            self.admissions.state().give_back(self.slot);
        }
    }

    /// A credential was refused.
    pub(crate) fn failed(&self, now: Instant) {
        let limits = self.admissions.limits;
        // A source with a connection is never forgotten, so it is there.
        if let Some(source) = self.admissions.state().sources.get_mut(&source_of(self.address)) {
            source.fail(&limits, now);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut state = self.admissions.state();
        state.give_back(self.slot);
        state.connections = state.connections.saturating_sub(1);
        if let Some(source) = state.sources.get_mut(&source_of(self.address)) {
            source.connections = source.connections.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> AdmissionLimits {
        AdmissionLimits {
            connections: 7,
            unauthenticated: 5,
            unauthenticated_per_source: 2,
            per_source: 3,
            free_failures: 2,
            first_penalty: Duration::from_secs(2),
            longest_penalty: Duration::from_secs(60),
            forgiven_after: Duration::from_secs(100),
            sources: 16,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn r33_connections_are_bounded_in_all_and_per_source() {
        let (admissions, now) = (AdmissionControl::new(limits()), Instant::now());
        let admit = |address: &str| admissions.admit(ip(address), now, u32::MAX);
        let mut first = vec![admit("192.0.2.1").unwrap(), admit("::ffff:192.0.2.1").unwrap()];
        assert_eq!(admit("192.0.2.1").err(), Some(Rejected::SourceUnauthenticatedFull));
        for admission in &first {
            admission.authenticated();
            admission.authenticated();
        }
        first.push(admit("192.0.2.1").unwrap());
        assert_eq!(admit("192.0.2.1").err(), Some(Rejected::SourceFull));
        let others: Vec<_> = ["2001:db8::1", "2001:db8::ffff:1", "192.0.2.2", "192.0.2.3"].map(admit).into();
        assert_eq!(others.iter().filter(|other| other.is_ok()).count(), 4);
        assert_eq!(admit("2001:db8:0:1::").err(), Some(Rejected::Full));
        drop(first.pop());
        assert!(admit("192.0.2.9").is_ok());
        drop(first);
        drop(others);
        let state = admissions.state();
        assert_eq!((state.connections, state.ends.len()), (0, 0));
        assert!(state.sources.values().all(|source| source.connections == 0));
    }

    #[test]
    fn r33_those_who_do_not_log_in_leave_room_for_those_who_do() {
        let (admissions, now) = (AdmissionControl::new(limits()), Instant::now());
        let admit = |address: &str| admissions.admit(ip(address), now, u32::MAX).ok();
        let held = || {
            let state = admissions.state();
            (state.ends.len(), state.connections)
        };
        let waiting: Vec<_> = (0..5).map(|n| admit(&format!("10.0.0.{n}")).unwrap()).collect();
        assert!(admit("10.0.0.9").is_none(), "of a network that holds them all");
        let connection = admit("10.0.1.1").unwrap();
        let ended: Vec<_> = waiting.iter().map(|one| one.displaced.is_cancelled()).collect();
        assert_eq!(ended, [true, false, false, false, false], "the first of them made room");
        connection.authenticated();
        // What was ended holds nothing any more, also while its connection is still there.
        assert_eq!(held(), (4, 6));
        waiting.iter().for_each(|one| one.reached(Stage::Asking));
        drop(waiting);
        drop(connection);
        assert_eq!(held(), (0, 0));
        assert!(admit("10.0.0.1").is_some());
    }

    #[test]
    fn how_far_somebody_has_come_is_told_once() {
        let admissions = AdmissionControl::new(limits());
        let admission = admissions.admit(ip("10.0.0.1"), Instant::now(), 0).unwrap();
        assert!(admission.has_reached(Stage::Silent) && !admission.has_reached(Stage::Named));
        admission.reached(Stage::Answering);
        admission.reached(Stage::Named);
        assert!(admission.has_reached(Stage::Answering) && !admission.has_reached(Stage::Asking));
        admission.authenticated();
        assert!(admission.has_reached(Stage::Asking));
    }

    #[test]
    fn r34_a_penalty_doubles_is_bounded_and_is_forgotten() {
        let (admissions, start) = (AdmissionControl::new(limits()), Instant::now());
        let address = ip("198.51.100.7");
        let admission = admissions.admit(address, start, 0).unwrap();
        let shut_for = |now: Instant| {
            let until = admissions.state().sources.get(&address).and_then(|source| source.shut_until);
            until.map_or(0, |until| until.saturating_duration_since(now).as_secs())
        };
        let mut penalties = Vec::new();
        for _ in 0..40 {
            admission.failed(start);
            penalties.push(shut_for(start));
        }
        assert_eq!(penalties[..8], [0, 0, 2, 4, 8, 16, 32, 60]);
        assert_eq!(penalties[39], 60);
        assert_eq!(admissions.shut_for(address, start).map(|left| left.as_secs()), Some(60));
        assert_eq!(admissions.shut_for(address, start + Duration::from_secs(60)), None);
        assert_eq!(admissions.admit(address, start + Duration::from_secs(59), u32::MAX).err(), Some(Rejected::Penalty));
        assert!(admissions.admit(ip("198.51.100.8"), start, u32::MAX).is_ok(), "another source is not touched");
        assert!(admissions.admit(address, start + Duration::from_secs(61), u32::MAX).is_ok());

        // 38 of 40 failures are forgotten after 3800 s, so the next one is the third.
        let later = start + Duration::from_secs(3_800);
        admission.failed(later);
        assert_eq!(shut_for(later), 2);
        let much_later = later + Duration::from_secs(100_000);
        admission.failed(much_later);
        assert_eq!(shut_for(much_later), 0);
    }

    #[test]
    fn r33_the_table_of_sources_is_bounded() {
        let (admissions, now) = (AdmissionControl::new(limits()), Instant::now());
        let held = admissions.admit(ip("203.0.113.1"), now, 0).unwrap();
        held.failed(now);
        for n in 0..2_000u32 {
            let admission = admissions.admit(IpAddr::from(n.to_be_bytes()), now, u32::MAX).unwrap();
            for _ in 0..n % 12 {
                admission.failed(now);
            }
            drop(admission);
            assert!(admissions.state().sources.len() <= 16);
        }
        assert_eq!(admissions.state().sources.get(&ip("203.0.113.1")).map(|source| source.failures), Some(1));
    }
}
