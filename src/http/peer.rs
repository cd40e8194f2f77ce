//! Who is at the other end of a connection: by its own address, or by the word of a proxy that is
//! trusted.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use axum::http::{HeaderMap, header};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::model::Network;

/// The most addresses of `X-Forwarded-For` or `Forwarded` that are looked at, from the right.
const MOST_HOPS: usize = 16;

/// One connection, as its requests share it.
pub(super) struct Connection {
    /// The address at the other end of the socket.
    pub(super) address: IpAddr,
    /// What admission control holds of it; none of a proxy's connection, whose requests are admitted
    /// one by one.
    pub(super) admission: Option<Arc<Admission>>,
    /// Whether it has asked for something.
    pub(super) asked: AtomicBool,
    /// Logins of it that failed.
    pub(super) failures: AtomicU32,
    /// Cancelled when it is to end behind the answers under way.
    pub(super) parting: CancellationToken,
}

/// Who sends one request.
#[derive(Clone)]
pub(super) struct Peer {
    /// The client's address.
    pub(super) address: IpAddr,
    /// What admission control holds: of the connection, or of the request alone.
    pub(super) admission: Arc<Admission>,
    /// The connection that it came by.
    pub(super) connection: Arc<Connection>,
}

impl Peer {
    /// One more login has failed. Whether that was the last one for this connection.
    pub(super) fn failed(&self, most: u32) -> bool {
        let failures = self.connection.failures.fetch_add(1, Relaxed) + 1;
        // A proxy's connection carries many people.
        let is_last = self.connection.admission.is_some() && failures >= most;
        if is_last {
            self.connection.parting.cancel();
        }
        is_last
    }
}

/// Whether one of these networks holds an address.
pub(super) fn is_listed(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// The address of the client behind a chain of proxies: the rightmost one that is no proxy of ours.
/// What stands left of it anybody may have written. None if a proxy said none, or something that is
/// no address.
pub(super) fn forwarded_for(headers: &HeaderMap, proxies: &[Network]) -> Option<IpAddr> {
    let values = |name: &str| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut hops: Vec<&str> = values("x-forwarded-for").flat_map(|value| value.split(',')).map(str::trim).collect();
    if hops.is_empty() {
        hops = values("forwarded").flat_map(|value| value.split(',')).map(told_of_client).collect();
    }
    let mut client = None;
    for hop in hops.iter().rev().take(MOST_HOPS) {
        let address = address_of(hop)?;
        client = Some(address);
        if !is_listed(proxies, address) {
            break;
        }
    }
    client
}

/// What one hop of `Forwarded` (RFC 7239) says of who asked it; nothing if it says nothing.
fn told_of_client(hop: &str) -> &str {
    let mut pairs = hop.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| name.eq_ignore_ascii_case("for")).map_or("", |(_, value)| value.trim_matches('"'))
}

/// An address, with or without a port; IPv6 with one in brackets.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if text.matches(':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Whether a request is for this server: for its public host, or for an address or localhost, which
/// no name that a stranger owns can be made to mean.
pub(super) fn is_for_here(authority: Option<&str>, headers: &HeaderMap, public_host: Option<&str>) -> bool {
    let named = authority.or_else(|| headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    let Some(named) = named else { return false };
    let host = match named.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(host, _)| host).unwrap_or_default(),
        None => named.split(':').next().unwrap_or_default(),
    };
    let public = public_host.map(|public| public.trim_matches(['[', ']']));
    public.is_some_and(|public| public.eq_ignore_ascii_case(host))
        || host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_no_proxy() {
        let proxies: Vec<Network> = vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        let told = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            forwarded_for(&headers(&lines), &proxies).map(|address| address.to_string())
        };
        assert_eq!(told(&["192.0.2.1"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(told(&["6.6.6.6, 192.0.2.1, 10.0.0.2"]).as_deref(), Some("192.0.2.1"), "left of it anybody writes");
        assert_eq!(told(&["6.6.6.6", "192.0.2.1:4711, [::1]:80"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(told(&["[2001:db8::1]:443"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(told(&["10.0.0.1, 10.0.0.2"]).as_deref(), Some("10.0.0.1"), "all of them are proxies");
        assert_eq!(told(&["192.0.2.1, unknown"]), None);
        assert_eq!(told(&[]), None);
        let told =
            |line: &str| forwarded_for(&headers(&[("forwarded", line)]), &proxies).map(|address| address.to_string());
        assert_eq!(told("for=6.6.6.6;proto=https, for=192.0.2.1, For=10.0.0.2").as_deref(), Some("192.0.2.1"));
        assert_eq!(told("proto=https;for=\"[2001:db8::1]:4711\"").as_deref(), Some("2001:db8::1"));
        assert_eq!((told("for=_hidden"), told("proto=https")), (None, None));
    }

    #[test]
    fn requests_for_other_names_are_not_for_here() {
        let asked = |host: &str| is_for_here(None, &headers(&[("host", host)]), Some("drop.example.org"));
        for host in ["drop.example.org", "DROP.example.org:8443", "127.0.0.1:80", "[::1]:8080", "localhost", "10.1.1.1"]
        {
            assert!(asked(host), "{host}");
        }
        for host in ["evil.example", "drop.example.org.evil.example", ""] {
            assert!(!asked(host), "{host}");
        }
        assert!(!is_for_here(None, &HeaderMap::new(), None));
        assert!(is_for_here(Some("drop.example.org"), &HeaderMap::new(), Some("drop.example.org")));
        assert!(!is_for_here(None, &headers(&[("host", "drop.example.org")]), None));
    }
}
