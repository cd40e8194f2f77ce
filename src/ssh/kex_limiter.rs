//! When a key exchange may be computed before anybody knows who asks for it: the rules, without
//! clock or sockets. Only `greeter` uses it.
//!
//! One of group 16 takes this side a tenth of a second of a processor and the other side nothing,
//! if it does not care for the result; the others take half a millisecond. So there are some
//! permits at once for whoever starts several transfers, and then so many a second: of one network,
//! and in all. Whoever logs in gives the permit back, so only strangers use them up, and whoever
//! leaves while they wait does so, too, so no queue is longer than there are places. Whoever must
//! wait for longer than a client would is rejected.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::admission::network_of;

/// How many permits there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// Turns that are there at once.
    at_once: u32,
    /// The time in which one network gets a further one, and in which all together do.
    of_network: Duration,
    of_all: Duration,
}

impl Rate {
    /// Of key exchanges that cost much: a fifth of a processor at most.
    pub(super) const COSTLY: Self =
        Self { at_once: 10, of_network: Duration::from_secs(1), of_all: Duration::from_millis(500) };
    /// Of the others: about a tenth.
    pub(super) const USUAL: Self =
        Self { at_once: 200, of_network: Duration::from_millis(10), of_all: Duration::from_millis(4) };
}

/// The longest that somebody waits for those before, of all networks and of one.
const LONGEST: Duration = Duration::from_secs(10);
const LONGEST_IN_NETWORK: Duration = Duration::from_secs(5);
/// Networks that are remembered before those are forgotten whose permits are worked off.
const REMEMBERED: usize = 64;

/// Counts the permits. Its table holds few more networks than had a permit within seconds.
#[derive(Debug)]
pub(super) struct KexLimiter {
    rate: Rate,
    all: Backlog,
    networks: HashMap<IpAddr, Backlog>,
}

/// When all permits that were taken will have been worked off, if each takes its time.
#[derive(Debug, Default, Clone, Copy)]
struct Backlog(Option<Instant>);

impl Backlog {
    /// How long somebody waits who comes now, if each permit has its time and some are there at
    /// once.
    fn wait(self, now: Instant, each: Duration, at_once: u32) -> Duration {
        let behind = self.0.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        behind.saturating_sub(each * at_once.saturating_sub(1))
    }

    fn take(&mut self, now: Instant, each: Duration) {
        self.0 = Some(self.0.map_or(now, |until| until.max(now)) + each);
    }

    fn give_back(&mut self, each: Duration) {
        self.0 = self.0.and_then(|until| until.checked_sub(each));
    }
}

impl KexLimiter {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, all: Backlog::default(), networks: HashMap::new() }
    }

    /// Takes a permit, and says how long to wait for it; none if that would be too long.
    pub(super) fn take(&mut self, address: IpAddr, now: Instant) -> Option<Duration> {
        let Rate { at_once, of_network, of_all } = self.rate;
        let network = network_of(address);
        let own = self.networks.get(&network).copied().unwrap_or_default();
        let (in_network, in_all) = (own.wait(now, of_network, at_once), self.all.wait(now, of_all, at_once));
        if in_network > LONGEST_IN_NETWORK || in_all > LONGEST {
            return None;
        }
        if self.networks.len() >= REMEMBERED {
            self.networks.retain(|_, account| account.0.is_some_and(|until| now < until));
        }
        self.networks.entry(network).or_default().take(now, of_network);
        self.all.take(now, of_all);
        Some(in_network.max(in_all))
    }

    /// Whoever took the permit has logged in, or left before it came.
    pub(super) fn give_back(&mut self, address: IpAddr) {
        if let Some(own) = self.networks.get_mut(&network_of(address)) {
            own.give_back(self.rate.of_network);
        }
        self.all.give_back(self.rate.of_all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from((n << 8).to_be_bytes())
    }

    #[test]
    fn some_come_at_once_and_then_one_after_the_other() {
        let (mut limiter, now) = (KexLimiter::new(Rate::COSTLY), Instant::now());
        let waits: Vec<Option<u64>> = (0..17).map(|_| limiter.take(ip(1), now).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits[..10], [Some(0); 10]);
        assert_eq!(waits[10..15], (1..=5).map(Some).collect::<Vec<_>>());
        assert_eq!(waits[15..], [None; 2]);
        // Another network waits for those that came before it, and not for their network's debt.
        assert_eq!(limiter.take(ip(2), now), Some(Duration::from_millis(3_000)));
        let later = now + Duration::from_secs(60);
        assert_eq!(limiter.take(ip(1), later), Some(Duration::ZERO));
    }

    #[test]
    fn r84_however_many_ask_so_many_get_a_turn_and_so_many_are_remembered() {
        let (mut limiter, start) = (KexLimiter::new(Rate::COSTLY), Instant::now());
        let (mut got, mut last) = (0, Duration::ZERO);
        for n in 0..60_000u32 {
            let now = Duration::from_millis(u64::from(n));
            if let Some(wait) = limiter.take(ip(n % 5_000), start + now) {
                got += 1;
                last = last.max(now + wait);
            }
            assert!(limiter.networks.len() <= REMEMBERED, "{}", limiter.networks.len());
        }
        assert!((148..=151).contains(&got), "{got} in 70 s");
        assert!(last <= Duration::from_secs(70));
    }

    #[test]
    fn whoever_logs_in_may_come_as_often_as_they_like() {
        for rate in [Rate::COSTLY, Rate::USUAL] {
            let (mut limiter, now) = (KexLimiter::new(rate), Instant::now());
            for _ in 0..10_000 {
                assert_eq!(limiter.take(ip(1), now), Some(Duration::ZERO));
                limiter.give_back(ip(1));
            }
            let at_once = (0..10_000).take_while(|_| limiter.take(ip(1), now) == Some(Duration::ZERO)).count();
            assert_eq!(at_once, rate.at_once as usize);
        }
    }

    #[test]
    fn r33_the_table_of_networks_is_bounded_by_the_turns_that_there_are() {
        let (mut limiter, start) = (KexLimiter::new(Rate::USUAL), Instant::now());
        for n in 0..100_000u32 {
            limiter.take(ip(n), start + Duration::from_millis(u64::from(n) / 10));
            assert!(limiter.networks.len() <= 4_000, "{}", limiter.networks.len());
        }
    }
}
