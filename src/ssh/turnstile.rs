//! When a key exchange may be computed that costs much, before anybody knows who asks for it: the rules, without clock or
//! sockets. Only `doorstep` uses it.
//!
//! One of group 16 takes this side a tenth of a second of a processor and the other side nothing, if it does not care for
//! the result. So there are some at once for whoever starts several transfers, and then so many a second: of one network,
//! and in all. Whoever must wait for longer than a client would is turned away.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::places::network_of;

/// Turns that are there at once.
const AT_ONCE: u32 = 10;
/// The time in which one network gets a further one, and in which all together do.
const OF_NETWORK: Duration = Duration::from_secs(1);
const OF_ALL: Duration = Duration::from_millis(500);
/// The longest that somebody waits for a turn.
const LONGEST: Duration = Duration::from_secs(10);

/// Counts the turns. Its table holds no more networks than had a turn within seconds.
#[derive(Debug, Default)]
pub(super) struct Turnstile {
    all: Account,
    networks: HashMap<IpAddr, Account>,
}

/// When all turns that were taken will have been worked off, if each takes its time.
#[derive(Debug, Default, Clone, Copy)]
struct Account(Option<Instant>);

impl Account {
    /// How long somebody waits who comes now, if each turn has its time and some are there at once.
    fn wait(self, now: Instant, each: Duration) -> Duration {
        let behind = self.0.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        behind.saturating_sub(each * (AT_ONCE - 1))
    }

    fn take(&mut self, now: Instant, each: Duration) {
        self.0 = Some(self.0.map_or(now, |until| until.max(now)) + each);
    }
}

impl Turnstile {
    /// Takes a turn, and says how long to wait for it; none if that would be too long.
    pub(super) fn take(&mut self, address: IpAddr, now: Instant) -> Option<Duration> {
        self.networks.retain(|_, account| account.0.is_some_and(|until| now < until));
        let network = network_of(address);
        let mut own = self.networks.get(&network).copied().unwrap_or_default();
        let wait = own.wait(now, OF_NETWORK).max(self.all.wait(now, OF_ALL));
        if wait > LONGEST {
            return None;
        }
        own.take(now, OF_NETWORK);
        self.networks.insert(network, own);
        self.all.take(now, OF_ALL);
        Some(wait)
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
        let (mut turnstile, now) = (Turnstile::default(), Instant::now());
        let waits: Vec<Option<u64>> = (0..22).map(|_| turnstile.take(ip(1), now).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits[..10], [Some(0); 10]);
        assert_eq!(waits[10..20], (1..=10).map(Some).collect::<Vec<_>>());
        assert_eq!(waits[20..], [None; 2]);
        // Another network waits for those that came before it, and not for their network's debt.
        assert_eq!(turnstile.take(ip(2), now), Some(Duration::from_millis(5_500)));
        let later = now + Duration::from_secs(60);
        assert_eq!(turnstile.take(ip(1), later), Some(Duration::ZERO));
        assert_eq!(turnstile.networks.len(), 1, "others are forgotten");
    }

    #[test]
    fn however_many_ask_so_many_get_a_turn_and_so_many_are_remembered() {
        let (mut turnstile, start) = (Turnstile::default(), Instant::now());
        let (mut got, mut last) = (0, Duration::ZERO);
        for n in 0..60_000u32 {
            let now = Duration::from_millis(u64::from(n));
            if let Some(wait) = turnstile.take(ip(n % 5_000), start + now) {
                got += 1;
                last = last.max(now + wait);
            }
            assert!(turnstile.networks.len() <= 64, "{}", turnstile.networks.len());
        }
        assert!((148..=151).contains(&got), "{got} in 70 s");
        assert!(last <= Duration::from_secs(70));
    }
}
