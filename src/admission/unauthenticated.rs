//! Who of those that have not logged in may stay when not all can: the rules, without sockets,
//! clock or randomness. Only `admission` uses it.
//!
//! Strangers cost next to nothing, so they come in any number and from many addresses. Places are
//! therefore shared by network (an IPv4 /24, an IPv6 /56: what one party usually holds), and a new
//! connection may take a slot from somebody: first of all from who says nothing, then from the
//! network that holds more slots than its own would. Nobody is ended while there is room.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Rejected;
use crate::model::Network;

/// How far somebody has come who has not logged in. Each step costs more than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Has said nothing.
    Silent,
    /// Has sent its version line (RFC 4253, section 4.2), or is greeted in TLS.
    Named,
    /// Has gone on after this side's list of algorithms. People compare fingerprints here.
    Answering,
    /// Has agreed on keys and asks to be let in (RFC 4252), or for something by HTTP. People look for their token here.
    Asking,
}

impl Stage {
    /// After what time without a further step somebody's slot may go to others. It is only looked
    /// at when slots are short. Programs need a round trip for the first steps, and a slow
    /// processor some seconds; people need longer.
    const fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Silent => 2,
            Self::Named => 10,
            Self::Answering | Self::Asking => 30,
        })
    }

    /// Whether a program that means to log in would have gone on by now.
    const fn is_quiet(self) -> bool {
        matches!(self, Self::Silent | Self::Named)
    }
}

/// The number of a slot. None is given out twice.
pub(crate) type Slot = u64;

/// A slot that was given, and whose it was, if others held them all: that connection must be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) slot: Slot,
    pub(crate) instead_of: Option<Slot>,
}

/// The slots of those who have not logged in.
#[derive(Debug)]
pub(crate) struct Slots {
    most: usize,
    per_source: usize,
    next: Slot,
    held: BTreeMap<Slot, Held>,
    sources: HashMap<IpAddr, usize>,
    networks: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Held {
    source: IpAddr,
    network: IpAddr,
    stage: Stage,
    /// When it took its last step.
    since: Instant,
}

impl Slots {
    /// As many slots in all, and of one source.
    pub(crate) fn new(most: usize, per_source: usize) -> Self {
        Self {
            most: most.max(1),
            per_source: per_source.max(1),
            next: 0,
            held: BTreeMap::new(),
            sources: HashMap::new(),
            networks: HashMap::new(),
        }
    }

    /// Gives a slot, or says why there is none. `dice` is any number, and decides what is left to
    /// chance.
    pub(crate) fn take(&mut self, address: IpAddr, now: Instant, dice: u32) -> Result<Given, Rejected> {
        let (source, network) = (source_of(address), network_of(address));
        let instead_of = if count(&self.sources, source) >= self.per_source {
            // Somebody behind the same address may hold them and say nothing.
            Some(self.of_source(source, now).ok_or(Rejected::SourceUnauthenticatedFull)?)
        } else if self.held.len() >= self.most {
            Some(self.of_all(network, now).ok_or(Rejected::UnauthenticatedFull)?)
        } else {
            None
        };
        if instead_of.is_none() && self.is_dropped(network, dice) {
            return Err(Rejected::UnauthenticatedFull);
        }
        if let Some(slot) = instead_of {
            self.free(slot);
        }
        let slot = self.next;
        self.next += 1;
        self.held.insert(slot, Held { source, network, stage: Stage::Silent, since: now });
        *self.sources.entry(source).or_default() += 1;
        *self.networks.entry(network).or_default() += 1;
        Ok(Given { slot, instead_of })
    }

    /// Whoever holds a slot has come further. Steps back, and slots that are gone, change nothing.
    pub(crate) fn step(&mut self, slot: Slot, stage: Stage, now: Instant) {
        if let Some(held) = self.held.get_mut(&slot)
            && held.stage < stage
        {
            (held.stage, held.since) = (stage, now);
        }
    }

    /// Gives a slot back. One that is gone stays gone.
    pub(crate) fn free(&mut self, slot: Slot) {
        if let Some(held) = self.held.remove(&slot) {
            less(&mut self.sources, held.source);
            less(&mut self.networks, held.network);
        }
    }

    /// Chance rejects new connections before all slots are taken, as sshd's `MaxStartups` does: the
    /// more the fewer slots are left, and the more the more of them their network holds already. So
    /// a network that floods hinders itself most, and one that holds none is never rejected.
    fn is_dropped(&self, network: IpAddr, dice: u32) -> bool {
        let (all, start) = (self.held.len() as u128, self.most as u128 / 2);
        let own = count(&self.networks, network) as u128;
        let (crowd, room) = (all.saturating_sub(start), (self.most as u128 - start).max(1));
        // dice / 2^32 < (crowd / room) * (own / all)
        u128::from(dice) * room * all.max(1) < (crowd * own) << 32
    }

    /// Whose slot a new connection gets whose source holds all that it may: only of one that says
    /// nothing.
    fn of_source(&self, source: IpAddr, now: Instant) -> Option<Slot> {
        let own = self.held.iter().filter(|(_, held)| held.source == source);
        let quiet = own.filter(|(_, held)| held.stage.is_quiet() && held.is_overdue(now));
        quiet.min_by_key(|(_, held)| (held.stage, held.since)).map(|(slot, _)| *slot)
    }

    /// Whose slot a new connection gets when all are taken: of one that says nothing for too long;
    /// then of a network that holds at least two more; then of one that waits for long, or has not
    /// spoken yet, in a network that holds more. Among these: of the network that holds the most,
    /// of the one that has come least far, the one that waits longest.
    fn of_all(&self, network: IpAddr, now: Instant) -> Option<Slot> {
        let own = count(&self.networks, network);
        let ranked = self.held.iter().filter_map(|(slot, held)| {
            let theirs = count(&self.networks, held.network);
            let overdue = held.is_overdue(now);
            let more = theirs > own;
            let rank = match held.stage.is_quiet() {
                true if overdue && (more || held.network == network) => 0,
                _ if theirs > own + 1 => 1,
                _ if more && (overdue || held.stage == Stage::Silent) => 2,
                _ => return None,
            };
            Some((rank, std::cmp::Reverse(theirs), held.stage, held.since, *slot))
        });
        ranked.min().map(|(.., slot)| slot)
    }
}

impl Held {
    fn is_overdue(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.stage.patience()
    }
}

fn count(counts: &HashMap<IpAddr, usize>, key: IpAddr) -> usize {
    counts.get(&key).copied().unwrap_or(0)
}

fn less(counts: &mut HashMap<IpAddr, usize>, key: IpAddr) {
    if let Some(count) = counts.get_mut(&key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// An IPv4 address (also one that came as IPv6), or the /64 that an IPv6 address lies in, by its
/// first address.
pub(crate) fn source_of(address: IpAddr) -> IpAddr {
    Network::source(address).first()
}

/// The /24 that an IPv4 address lies in, or the /56 of an IPv6 address, by its first address.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    Network::around(address, 24, 56).first()
}

#[cfg(test)]
#[path = "unauthenticated_tests.rs"]
mod tests;
