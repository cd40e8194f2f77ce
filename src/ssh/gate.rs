//! Who may come in at all: bounds on connections, and a penalty for sources that fail to log in. The listener asks it
//! before anything is read, the login tells it what came of it.
//!
//! A source is an IPv4 address or the /64 of an IPv6 address. Nothing here depends on user names, so the gate tells
//! nobody which of them exist.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The bounds of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// Connections in all. More: closed at once.
    pub connections: usize,
    /// Connections that have not logged in, in all. More: closed at once.
    pub unauthenticated: usize,
    /// Connections of one source that have not logged in. More: closed at once.
    pub unauthenticated_per_source: usize,
    /// Connections of one source. More: closed at once.
    pub per_source: usize,
    /// Failed logins of one source that cost nothing. They are forgotten one by one, see `forgiven_after`.
    pub free_failures: u32,
    /// For how long a source is shut out after its first failure beyond the free ones; each further one doubles it.
    pub first_penalty: Duration,
    /// The longest penalty.
    pub longest_penalty: Duration,
    /// The time in which one failure is forgotten.
    pub forgiven_after: Duration,
    /// Sources that are remembered. Beyond it those that matter least are forgotten.
    pub sources: usize,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            unauthenticated: 64,
            unauthenticated_per_source: 6,
            per_source: 20,
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
pub(crate) enum Turned {
    #[error("an address that legacy.allow does not list")]
    NotAllowed,
    #[error("the last day of the legacy listener is over")]
    Over,
    #[error("too many connections")]
    Full,
    #[error("too many connections that have not logged in")]
    UnauthenticatedFull,
    #[error("too many connections from this source")]
    SourceFull,
    #[error("too many connections from this source that have not logged in")]
    SourceUnauthenticatedFull,
    #[error("too many failed logins from this source")]
    Penalty,
}

/// The gate of a server. Clones are the same gate.
#[derive(Clone)]
pub(crate) struct Gate {
    limits: GateLimits,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    connections: usize,
    unauthenticated: usize,
    sources: HashMap<IpAddr, Source>,
}

#[derive(Default)]
struct Source {
    connections: usize,
    unauthenticated: usize,
    failures: u32,
    /// When the oldest failure that still counts began to be forgotten.
    counted_from: Option<Instant>,
    shut_until: Option<Instant>,
}

impl Gate {
    pub(crate) fn new(limits: GateLimits) -> Self {
        Self { limits, state: Arc::default() }
    }

    /// Takes a connection, or turns it away. The connection counts until the admission is dropped.
    pub(crate) fn admit(&self, address: IpAddr, now: Instant) -> Result<Admission, Turned> {
        let limits = &self.limits;
        let key = source_of(address);
        let mut state = self.state();
        if state.connections >= limits.connections {
            return Err(Turned::Full);
        }
        if state.unauthenticated >= limits.unauthenticated {
            return Err(Turned::UnauthenticatedFull);
        }
        if let Some(source) = state.sources.get(&key) {
            if source.shut_until.is_some_and(|until| now < until) {
                return Err(Turned::Penalty);
            }
            if source.connections >= limits.per_source {
                return Err(Turned::SourceFull);
            }
            if source.unauthenticated >= limits.unauthenticated_per_source {
                return Err(Turned::SourceUnauthenticatedFull);
            }
        } else {
            state.make_room(limits, now);
        }
        state.connections += 1;
        state.unauthenticated += 1;
        let source = state.sources.entry(key).or_default();
        source.connections += 1;
        source.unauthenticated += 1;
        Ok(Admission { gate: self.clone(), source: key, authenticated: false })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counters are whole at every moment that the lock is let go, a panic included.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets sources that are no longer worth remembering; under pressure also such as are, but never one that has a
    /// connection (there are fewer of them than the bound on connections).
    fn make_room(&mut self, limits: &GateLimits, now: Instant) {
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
    fn failures_at(&self, limits: &GateLimits, now: Instant) -> u32 {
        let Some(from) = self.counted_from else { return 0 };
        let each = limits.forgiven_after.as_millis().max(1);
        let forgotten = now.saturating_duration_since(from).as_millis() / each;
        self.failures.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }

    fn fail(&mut self, limits: &GateLimits, now: Instant) {
        self.failures = self.failures_at(limits, now).saturating_add(1);
        self.counted_from = Some(now);
        if let Some(doublings) = self.failures.checked_sub(limits.free_failures + 1) {
            let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
            let penalty = limits.first_penalty.saturating_mul(factor).min(limits.longest_penalty);
            self.shut_until = Some(now + penalty);
        }
    }
}

/// One connection's place. Dropping it gives the place back.
pub(crate) struct Admission {
    gate: Gate,
    source: IpAddr,
    authenticated: bool,
}

impl Admission {
    /// The connection has logged in.
    pub(crate) fn authenticated(&mut self) {
        if !std::mem::replace(&mut self.authenticated, true) {
            self.change(|all, source| {
                *all.unauthenticated -= 1;
                source.unauthenticated -= 1;
            });
        }
    }

    /// A credential was refused.
    pub(crate) fn failed(&self, now: Instant) {
        let limits = self.gate.limits;
        self.change(|_, source| source.fail(&limits, now));
    }

    fn change(&self, how: impl FnOnce(&mut Counters<'_>, &mut Source)) {
        let mut state = self.gate.state();
        let State { connections, unauthenticated, sources } = &mut *state;
        // A source with a connection is never forgotten, so it is there.
        if let Some(source) = sources.get_mut(&self.source) {
            how(&mut Counters { connections, unauthenticated }, source);
        }
    }
}

struct Counters<'a> {
    connections: &'a mut usize,
    unauthenticated: &'a mut usize,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let authenticated = self.authenticated;
        self.change(|all, source| {
            *all.connections -= 1;
            source.connections -= 1;
            if !authenticated {
                *all.unauthenticated -= 1;
                source.unauthenticated -= 1;
            }
        });
    }
}

/// An IPv4 address (also one that came as IPv6), or the /64 that an IPv6 address lies in.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> GateLimits {
        GateLimits {
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
        let (gate, now) = (Gate::new(limits()), Instant::now());
        let admit = |address: &str| gate.admit(ip(address), now);
        let mut first = vec![admit("192.0.2.1").unwrap(), admit("::ffff:192.0.2.1").unwrap()];
        assert_eq!(admit("192.0.2.1").err(), Some(Turned::SourceUnauthenticatedFull));
        for admission in &mut first {
            admission.authenticated();
            admission.authenticated();
        }
        first.push(admit("192.0.2.1").unwrap());
        assert_eq!(admit("192.0.2.1").err(), Some(Turned::SourceFull));
        let others: Vec<_> = ["2001:db8::1", "2001:db8::ffff:1", "192.0.2.2", "192.0.2.3"].map(admit).into();
        assert_eq!(others.iter().filter(|other| other.is_ok()).count(), 4);
        assert_eq!(admit("2001:db8:0:1::").err(), Some(Turned::Full));
        drop(first.pop());
        assert!(admit("192.0.2.9").is_ok());
        drop(first);
        drop(others);
        let state = gate.state();
        assert_eq!((state.connections, state.unauthenticated), (0, 0));
        assert!(state.sources.values().all(|source| source.connections + source.unauthenticated == 0));
    }

    #[test]
    fn r33_those_who_do_not_log_in_leave_room_for_those_who_did() {
        let (gate, now) = (Gate::new(limits()), Instant::now());
        let waiting: Vec<_> = (0..5).map(|n| gate.admit(ip(&format!("10.0.0.{n}")), now).unwrap()).collect();
        assert_eq!(gate.admit(ip("10.0.1.1"), now).err(), Some(Turned::UnauthenticatedFull));
        drop(waiting);
        assert!(gate.admit(ip("10.0.1.1"), now).is_ok());
    }

    #[test]
    fn r33_two_hosts_of_one_ipv6_network_are_one_source() {
        assert_eq!(source_of(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_ne!(source_of(ip("2001:db8:1:3::")), source_of(ip("2001:db8:1:2::")));
        assert_eq!(source_of(ip("::ffff:10.1.2.3")), ip("10.1.2.3"));
    }

    #[test]
    fn r34_a_penalty_doubles_is_bounded_and_is_forgotten() {
        let (gate, start) = (Gate::new(limits()), Instant::now());
        let address = ip("198.51.100.7");
        let admission = gate.admit(address, start).unwrap();
        let shut_for = |now: Instant| {
            let until = gate.state().sources.get(&address).and_then(|source| source.shut_until);
            until.map_or(0, |until| until.saturating_duration_since(now).as_secs())
        };
        let mut penalties = Vec::new();
        for _ in 0..40 {
            admission.failed(start);
            penalties.push(shut_for(start));
        }
        assert_eq!(penalties[..8], [0, 0, 2, 4, 8, 16, 32, 60]);
        assert_eq!(penalties[39], 60);
        assert_eq!(gate.admit(address, start + Duration::from_secs(59)).err(), Some(Turned::Penalty));
        assert!(gate.admit(ip("198.51.100.8"), start).is_ok(), "another source is not touched");
        assert!(gate.admit(address, start + Duration::from_secs(61)).is_ok());

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
        let (gate, now) = (Gate::new(limits()), Instant::now());
        let held = gate.admit(ip("203.0.113.1"), now).unwrap();
        held.failed(now);
        for n in 0..2_000u32 {
            let admission = gate.admit(IpAddr::from(n.to_be_bytes()), now).unwrap();
            for _ in 0..n % 12 {
                admission.failed(now);
            }
            drop(admission);
            assert!(gate.state().sources.len() <= 16);
        }
        assert_eq!(gate.state().sources.get(&ip("203.0.113.1")).map(|source| source.failures), Some(1));
    }
}
