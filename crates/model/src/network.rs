//! Networks that clients may come from, and the last day of something: what an operator writes into
//! the settings.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::Time;

/// An IPv4 or IPv6 network, as `192.0.2.0/24`; a single address is the network of that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Without bits beyond the prefix; never an IPv4 address that is written as an IPv6 one.
    address: IpAddr,
    /// Bits that count, 0 to 32 or 128.
    prefix: u32,
}

impl Network {
    /// The network of so many bits that an address lies in: `v4` (0 to 32) of an IPv4 address, also
    /// of one that came as an IPv6 one, or `v6` (0 to 128) of an IPv6 address.
    pub fn around(address: IpAddr, v4: u32, v6: u32) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let prefix = v4.min(32);
                let first = masked((u32::from(address).into(), 32), prefix);
                Self { address: Ipv4Addr::from(u32::try_from(first).unwrap_or(0)).into(), prefix }
            }
            IpAddr::V6(address) => {
                let prefix = v6.min(128);
                Self { address: Ipv6Addr::from(masked((u128::from(address), 128), prefix)).into(), prefix }
            }
        }
    }

    /// Where a connection comes from, as far as it can tell one subscriber from another: an IPv4
    /// address, or the /64 that a subscriber of IPv6 has at least (RFC 6177).
    pub fn source(address: IpAddr) -> Self {
        Self::around(address, 32, 64)
    }

    /// Its first address.
    pub const fn first(self) -> IpAddr {
        self.address
    }

    /// Whether an address lies in it. An IPv4 address that came as an IPv6 one (`::ffff:192.0.2.1`)
    /// counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, other) = (bits(self.address), bits(address.to_canonical()));
        own.1 == other.1 && masked(other, self.prefix) == own.0
    }
}

/// An address as a number with its length in bits.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

fn masked((number, length): (u128, u32), prefix: u32) -> u128 {
    let host = length.saturating_sub(prefix);
    number.checked_shr(host).unwrap_or(0).checked_shl(host).unwrap_or(0)
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "an address or a network is needed, as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/48";
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| FORM)?;
        if address != address.to_canonical() {
            return Err("an IPv4 address must be written as one, as 192.0.2.7");
        }
        let number = bits(address);
        let prefix = match prefix {
            // `+8` and `08` are numbers for Rust, and mistakes here.
            Some(digits)
                if digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0')) =>
            {
                digits.parse().ok().filter(|prefix| *prefix <= number.1).ok_or(FORM)?
            }
            Some(_) => return Err(FORM),
            None => number.1,
        };
        if masked(number, prefix) != number.0 {
            return Err("the address of a network must have no bits beyond its prefix, as 192.0.2.0/24");
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == bits(self.address).1 {
            self.address.fmt(f)
        } else {
            write!(f, "{}/{}", self.address, self.prefix)
        }
    }
}

impl serde::Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The last day on which something is allowed, in UTC. It is a calendar's day that people have
/// agreed on, so the machine's clock decides, not house time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LastDay(jiff::civil::Date);

impl LastDay {
    /// Whether the day is over at this moment.
    pub fn is_over(self, now: Time) -> bool {
        // Outside of the years that a calendar has, nothing is allowed any more.
        jiff::Timestamp::from_millisecond(now.millis())
            .map_or(true, |now| now.to_zoned(jiff::tz::TimeZone::UTC).date() > self.0)
    }

    /// Whether the day has begun at this moment, as for the first day of something.
    pub fn has_begun(self, now: Time) -> bool {
        jiff::Timestamp::from_millisecond(now.millis())
            .is_ok_and(|now| now.to_zoned(jiff::tz::TimeZone::UTC).date() >= self.0)
    }

    /// The first moment at which it is over.
    pub fn end(self) -> Time {
        let next = self.0.tomorrow().and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC));
        // Behind the last moment that a calendar has nothing is a date.
        let end = next.map_or(jiff::Timestamp::MAX, |next| next.timestamp());
        Time::from_millis(end.as_millisecond())
    }
}

impl FromStr for LastDay {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a date is needed, as 2027-01-31";
        // The parser knows more forms (times, zones) than people should use here.
        if text.len() != 10 {
            return Err(FORM);
        }
        text.parse().map(Self).map_err(|_| FORM)
    }
}

impl fmt::Display for LastDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for LastDay {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r44_a_network_contains_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7/32", "::ffff:192.0.2.7", "::ffff:192.0.2.8"),
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("10.128.0.0/9", "10.255.255.255", "10.127.255.255"),
            ("0.0.0.0/0", "203.0.113.1", "::1"),
            ("2001:db8::/48", "2001:db8:0:ffff::1", "2001:db8:1::"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("::1", "::1", "::2"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{inside} in {network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{outside} in {network}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed));
        }
        for bad in [
            "",
            "host",
            "192.0.2",
            "192.0.2.0/33",
            "192.0.2.1/24",
            "::/129",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/",
            "::ffff:192.0.2.7",
            "192.0.2.0/24/8",
            " 10.0.0.0/8",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn subscribers_and_networks_are_found_around_an_address() {
        for (address, v4, v6, network) in [
            ("192.0.2.7", 32, 64, "192.0.2.7"),
            ("::ffff:192.0.2.7", 32, 64, "192.0.2.7"),
            ("192.0.2.7", 24, 56, "192.0.2.0/24"),
            ("192.0.2.7", 0, 56, "0.0.0.0/0"),
            ("192.0.2.7", 99, 56, "192.0.2.7"),
            ("2001:db8:1:2ff:3:4:5:6", 32, 64, "2001:db8:1:2ff::/64"),
            ("2001:db8:1:2ff:3:4:5:6", 24, 56, "2001:db8:1:200::/56"),
            ("2001:db8:1:2ff:3:4:5:6", 24, 0, "::/0"),
            ("2001:db8:1:2ff:3:4:5:6", 24, 128, "2001:db8:1:2ff:3:4:5:6"),
        ] {
            assert_eq!(Network::around(address.parse().unwrap(), v4, v6).to_string(), network, "{address}");
        }
        let address = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        assert_eq!(Network::source(address).first(), "2001:db8:1:2::".parse::<IpAddr>().unwrap());
    }

    proptest! {
        #[test]
        fn a_network_around_an_address_holds_it_and_can_be_written(address: IpAddr, v4 in 0u32..40, v6 in 0u32..140) {
            let network = Network::around(address, v4, v6);
            prop_assert!(network.contains(address));
            prop_assert_eq!(network.to_string().parse(), Ok(network));
            prop_assert_eq!(Network::around(network.first(), v4, v6), network);
        }
    }

    #[test]
    fn r44_a_day_ends_at_midnight_in_utc() {
        let day: LastDay = "2026-02-28".parse().unwrap();
        let at = |text: &str| Time::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        assert!(!day.is_over(at("2026-02-28T23:59:59.999Z")));
        assert!(day.is_over(at("2026-03-01T00:00:00Z")));
        assert_eq!(day.end(), at("2026-03-01T00:00:00Z"));
        // What people write for "never" ends at a moment that has a date.
        let never: LastDay = "9999-12-31".parse().unwrap();
        assert!(never.end().to_string().starts_with("9999-12-30T"), "{}", never.end());
        assert!(day.has_begun(at("2026-02-28T00:00:00Z")) && !day.has_begun(at("2026-02-27T23:59:59.999Z")));
        assert!(!day.is_over(at("2025-12-31T00:00:00Z")));
        assert!(day.is_over(Time::from_millis(i64::MAX)));
        assert_eq!(day.to_string(), "2026-02-28");
        for bad in ["", "2026-02-29", "2026-2-28", "28.02.2026", "20260228", "2026-02-28T00:00Z", "tomorrow"] {
            assert!(bad.parse::<LastDay>().is_err(), "{bad}");
        }
    }
}
