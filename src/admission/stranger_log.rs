//! What the log says of those who do not log in. Strangers come as often as they like, so they are
//! counted by network (an IPv4 /24, an IPv6 /56) and told of once a minute; the table has a bound,
//! and so has the number of lines, whatever they do. Who logs in is told of by lines of their own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Rejected;
use super::unauthenticated::network_of;
use crate::model::{Locked, LockedGuard};

/// How often it is told what came.
pub(crate) const EVERY: Duration = Duration::from_secs(60);
/// Networks that are told of in this time. Further ones are one line.
const NETWORKS: usize = 20;
/// Failed logins that are told of one by one in this time: of one network, and in all. Further ones
/// are counted.
const FAILURES_OF_NETWORK: u32 = 10;
const FAILURES: u32 = 30;

/// The log of a door. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct StrangerLog(Arc<Locked<Table>>);

#[derive(Debug, Default)]
struct Table {
    rows: BTreeMap<IpAddr, Row>,
    /// Of networks that found no row.
    others: Row,
    failures: u32,
}

/// What came of one network, or of all that found no row.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Row {
    /// Connections that ended without a login.
    gone: u64,
    /// Connections that were not taken, why the last of them was not, and how many a line has told
    /// of.
    rejected: u64,
    why: Option<Rejected>,
    /// Failed logins, and how many of them lines have told of.
    failures: u64,
    replied_at: u32,
    /// The address that came last.
    last: Option<IpAddr>,
}

impl Table {
    fn row(&mut self, address: IpAddr) -> &mut Row {
        let network = network_of(address);
        let row = match self.rows.len() < NETWORKS || self.rows.contains_key(&network) {
            true => self.rows.entry(network).or_default(),
            false => &mut self.others,
        };
        row.last = Some(address.to_canonical());
        row
    }
}

impl StrangerLog {
    fn table(&self) -> LockedGuard<'_, Table> {
        self.0.lock()
    }

    /// A connection has ended without a login, and no line has told of it.
    pub(crate) fn went(&self, address: IpAddr) {
        self.table().row(address).gone += 1;
    }

    /// A connection was not taken. The first of a network is told of at once: it may be a customer
    /// whom a limit hinders.
    pub(crate) fn rejected(&self, address: IpAddr, why: Rejected) {
        let mut table = self.table();
        let row = table.row(address);
        row.rejected += 1;
        row.why = Some(why);
        let first = row.rejected == 1;
        drop(table);
        if first {
            tracing::warn!(from = %address, %why, "a connection was turned away");
        }
    }

    /// A login has failed. Returns whether a line may tell of it.
    pub(crate) fn failed(&self, address: IpAddr) -> bool {
        let mut table = self.table();
        let all = table.failures;
        let row = table.row(address);
        row.failures += 1;
        let replied_at = row.replied_at < FAILURES_OF_NETWORK && all < FAILURES;
        if replied_at {
            row.replied_at += 1;
            table.failures += 1;
        }
        replied_at
    }

    /// Tells what came since it was asked last, and begins anew.
    pub(crate) fn tell(&self) {
        let Table { rows, others, .. } = std::mem::take(&mut *self.table());
        let rows = rows.into_iter().map(|(network, row)| (Some(network), row));
        for (network, row) in rows.chain([(None, others)]).filter(|(_, row)| row.is_news()) {
            let Row { gone, rejected, failures, .. } = row;
            let (network, bits) = match network {
                Some(network) => (network.to_string(), if network.is_ipv4() { "/24" } else { "/56" }),
                None => ("others".to_owned(), ""),
            };
            let last = row.last.map(tracing::field::display);
            let why = row.why.map(tracing::field::display);
            if rejected > 0 {
                tracing::warn!(
                    network = format_args!("{network}{bits}"),
                    gone,
                    rejected,
                    why,
                    failures,
                    last,
                    "{SAYS}"
                );
            } else {
                tracing::info!(network = format_args!("{network}{bits}"), gone, failures, last, "{SAYS}");
            }
        }
    }
}

/// What the numbers are of.
const SAYS: &str = "connections of the last minute that did not log in";

impl Row {
    /// Whether there is something that no line has told.
    fn is_news(&self) -> bool {
        self.gone > 0 || self.rejected > 1 || self.failures > u64::from(self.replied_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(network: u32, host: u8) -> IpAddr {
        IpAddr::from(((10 << 24) | (network << 8) | u32::from(host)).to_be_bytes())
    }

    #[test]
    fn connections_are_counted_by_network_and_the_table_is_bounded() {
        let strangers = StrangerLog::default();
        for n in 0..10_000u32 {
            strangers.went(ip(n % 50, n as u8));
            strangers.rejected(ip(n % 50, n as u8), Rejected::Penalty);
        }
        let table = strangers.table();
        assert_eq!(table.rows.len(), NETWORKS);
        assert!(table.rows.values().all(|row| (row.gone, row.rejected) == (200, 200)));
        assert_eq!((table.others.gone, table.others.why), (30 * 200, Some(Rejected::Penalty)));
        drop(table);
        strangers.tell();
        let table = strangers.table();
        assert!(table.rows.is_empty() && table.others == Row::default());
    }

    #[test]
    fn failed_logins_are_told_one_by_one_up_to_a_bound_and_counted_beyond() {
        let strangers = StrangerLog::default();
        let replied_at = |networks: u32| (0..10_000).filter(|n| strangers.failed(ip(n % networks, 1))).count();
        assert_eq!(replied_at(1), 10);
        assert_eq!(replied_at(1), 0);
        assert_eq!(replied_at(1_000), 20, "thirty in all");
        strangers.tell();
        assert_eq!(replied_at(1), 10, "a new minute");
    }

    #[test]
    fn what_lines_have_told_is_not_told_again() {
        let mut row = Row { rejected: 1, failures: 3, replied_at: 3, ..Row::default() };
        assert!(!row.is_news());
        row.failures = 4;
        assert!(row.is_news());
        assert!(Row { rejected: 2, ..Row::default() }.is_news() && Row { gone: 1, ..Row::default() }.is_news());
    }
}
