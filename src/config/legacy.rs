//! The section `legacy`: the second listener, for old devices.

use std::net::SocketAddr;

use serde::Serialize;

use super::ConfigError;
use super::reader::Reader;
use super::tree::{Server, host};
use crate::model::{LastDay, Network};

/// The most entries of `legacy.allow`: each connection is compared with all of them.
const MOST_NETWORKS: usize = 1024;

/// Section `legacy`. Nothing of it has a default: whoever opens this door says to whom and until
/// when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Legacy {
    /// Address and port of the door for old devices; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The last day, in UTC, by the machine's clock.
    pub until: LastDay,
    /// Where devices may connect from; 1 to 1024 addresses and networks.
    pub allow: Vec<Network>,
    /// The host that commands for devices show; see [`Server::public_address`].
    pub public_host: Option<String>,
    /// The port that commands for devices show; see [`Server::public_address`].
    pub public_port: Option<u16>,
}

impl Legacy {
    /// Host and port as devices reach them, by the rule of [`Server::public_address`]. The server's
    /// public host counts for this door too unless it has its own.
    pub fn public_address(&self, server: &Server, bound: SocketAddr) -> (String, u16) {
        let own = Server {
            public_host: self.public_host.clone().or_else(|| server.public_host.clone()),
            public_port: self.public_port,
            ..Server::default()
        };
        own.public_address(bound)
    }

    /// Reads the section; none if no address is set, and then nothing of it is in force.
    pub(super) fn read(r: &mut Reader) -> Result<Option<Self>, ConfigError> {
        let listen = r.text("legacy.listen")?;
        let until = r.date("legacy.until")?;
        let allow = r.texts("legacy.allow")?;
        let public_host = host(r, "legacy.public_host")?;
        let mut port = 0;
        r.whole("legacy.public_port", &mut port, 1..=65535)?;

        // Whatever is written down is right or refused, also while the listener is off.
        let until =
            until.map(|text| text.parse::<LastDay>().map_err(|why| r.refuse("legacy.until", why))).transpose()?;
        let allow = allow
            .map(|texts| {
                let networks = texts.iter().map(|text| {
                    text.parse::<Network>().map_err(|why| r.refuse("legacy.allow", format!("'{text}': {why}")))
                });
                networks.collect::<Result<Vec<_>, _>>()
            })
            .transpose()?;
        if allow.as_ref().is_some_and(|networks| networks.is_empty() || networks.len() > MOST_NETWORKS) {
            return Err(r.refuse("legacy.allow", format!("this must hold 1 to {MOST_NETWORKS} addresses or networks")));
        }
        let Some(listen) = listen else { return Ok(None) };
        let listen = listen
            .parse()
            .map_err(|_| r.refuse("legacy.listen", "this must be an address and a port, as \"192.0.2.1:22\""))?;
        let Some(until) = until else {
            let problem = "this is missing; weak encryption needs a last day, as until = \"2027-01-31\"";
            return Err(r.refuse("legacy.until", problem));
        };
        let Some(allow) = allow else {
            let problem = "this is missing; write where the devices connect from, as allow = [\"192.0.2.0/24\"]";
            return Err(r.refuse("legacy.allow", problem));
        };
        Ok(Some(Self { listen, until, allow, public_host, public_port: Some(port).filter(|port| *port > 0) }))
    }
}
