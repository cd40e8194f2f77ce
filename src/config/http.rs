//! The section `http`: the HTTP door.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::ConfigError;
use super::reader::Reader;
use crate::model::Network;

/// The most entries of `http.trusted_proxies`: each connection is compared with all of them.
const MOST_NETWORKS: usize = 64;

/// Section `http`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Http {
    /// Address and port of the HTTP door; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Scheme, host and port as clients reach it, without a path; `None`: by its address only.
    pub public_url: Option<String>,
    /// Proxies in front of it, whose word for the client's address counts. At most 64 networks.
    pub trusted_proxies: Vec<Network>,
    /// The least that a body must bring over a minute, or it is cut. KiB in a minute, 0 to 1048576.
    pub slowest_kib_per_minute: u64,
    /// Certificate and key; `None`: plain HTTP.
    pub tls: Option<HttpTls>,
}

/// Section `http.tls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpTls {
    /// The certificate and those that vouch for it, as PEM. Read again when it changes.
    pub certificate: PathBuf,
    /// Its private key, as PEM. Read again when it changes.
    pub key: PathBuf,
}

impl Http {
    /// The host name or address in `public_url`.
    pub fn public_host(&self) -> Option<&str> {
        let (_, rest) = self.public_url.as_deref()?.split_once("://")?;
        let end = if rest.starts_with('[') { rest.find(']').map(|at| at + 1) } else { rest.find(':') };
        rest.get(..end.unwrap_or(rest.len()))
    }

    /// Reads the section; none if no address is set, and then nothing of it is in force.
    pub(super) fn read(r: &mut Reader) -> Result<Option<Self>, ConfigError> {
        let listen = r.text("http.listen")?;
        let public_url = r.text("http.public_url")?;
        let proxies = r.texts("http.trusted_proxies")?.unwrap_or_default();
        let mut slowest_kib_per_minute = 60;
        r.whole("http.slowest_kib_per_minute", &mut slowest_kib_per_minute, 0..=1_048_576)?;
        let certificate = r.path("http.tls.certificate")?;
        let key = r.path("http.tls.key")?;

        // Whatever is written down is right or refused, also while the door is closed.
        if public_url.as_deref().is_some_and(|url| !is_base(url)) {
            let problem = "this must be a scheme and a host, as \"https://drop.example.org\" or \"https://drop.example.org:8443\"";
            return Err(r.refuse("http.public_url", problem));
        }
        let networks = proxies.iter().map(|text| {
            text.parse::<Network>().map_err(|why| r.refuse("http.trusted_proxies", format!("'{text}': {why}")))
        });
        let trusted_proxies = networks.collect::<Result<Vec<_>, _>>()?;
        if trusted_proxies.len() > MOST_NETWORKS {
            let problem = format!("this must hold at most {MOST_NETWORKS} addresses or networks");
            return Err(r.refuse("http.trusted_proxies", problem));
        }
        let tls = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(HttpTls { certificate, key }),
            (None, None) => None,
            (Some(_), None) => return Err(r.refuse("http.tls.key", "this is missing; a certificate needs its key")),
            (None, Some(_)) => {
                return Err(r.refuse("http.tls.certificate", "this is missing; a key needs its certificate"));
            }
        };
        let Some(listen) = listen else { return Ok(None) };
        let listen: SocketAddr = listen
            .parse()
            .map_err(|_| r.refuse("http.listen", "this must be an address and a port, as \"0.0.0.0:443\""))?;
        if tls.is_none() && trusted_proxies.is_empty() && !listen.ip().is_loopback() {
            let problem = "without encryption this must be an address of this machine alone, as \"127.0.0.1:8080\"; set \
                           http.tls.certificate and http.tls.key, or http.trusted_proxies for a proxy that encrypts";
            return Err(r.refuse("http.listen", problem));
        }
        Ok(Some(Self { listen, public_url, trusted_proxies, slowest_kib_per_minute, tls }))
    }
}

/// Whether this is a scheme, a host and perhaps a port, and nothing more.
fn is_base(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else { return false };
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => ("ipv6", port),
        Some(_) => return false,
        None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
    };
    let is_host = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    is_host && (port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|p| p > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_has_a_scheme_and_a_host_and_nothing_more() {
        for url in ["https://drop.example.org", "http://[::1]:8080", "https://drop.example.org:8443", "http://10.0.0.1"]
        {
            assert!(is_base(url), "{url}");
        }
        for url in
            ["drop.example.org", "https://", "https://a/b", "https://a:0", "https://a b", "ftp://a", "https://u@a"]
        {
            assert!(!is_base(url), "{url}");
        }
        let http = |url: &str| Http {
            listen: "127.0.0.1:0".parse().unwrap(),
            public_url: Some(url.to_owned()),
            trusted_proxies: Vec::new(),
            slowest_kib_per_minute: 60,
            tls: None,
        };
        assert_eq!(http("https://drop.example.org:8443").public_host(), Some("drop.example.org"));
        assert_eq!(http("https://[::1]:8443").public_host(), Some("[::1]"));
        assert_eq!(http("https://[::1]").public_host(), Some("[::1]"));
    }
}
