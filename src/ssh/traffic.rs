//! What a door counts for metrics. Without metrics every one of these does nothing.

use metrics::{Counter, Gauge, counter, gauge};

use crate::admission::Rejected;
use crate::model::Transport;

/// The counters of one door that are used often, or from more than one place.
#[derive(Clone)]
pub(crate) struct Traffic {
    received: Counter,
    sent: Counter,
    connections: Gauge,
    sessions: Gauge,
}

/// Counts one as long as it lives.
pub(crate) struct Counted(Gauge);

impl Traffic {
    pub(crate) fn of(transport: Transport) -> Self {
        let by = transport.as_str();
        Self {
            received: counter!("tacdrop_received_bytes_total", "transport" => by),
            sent: counter!("tacdrop_sent_bytes_total", "transport" => by),
            connections: gauge!("tacdrop_connections", "transport" => by),
            sessions: gauge!("tacdrop_logged_in_connections", "transport" => by),
        }
    }

    /// For tests, and for nobody.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        let (counter, gauge) = (Counter::noop, Gauge::noop);
        Self { received: counter(), sent: counter(), connections: gauge(), sessions: gauge() }
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.increment(bytes as u64);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.increment(bytes as u64);
    }

    pub(crate) fn connection(&self) -> Counted {
        Counted::in_(&self.connections)
    }

    pub(crate) fn login(&self) -> Counted {
        Counted::in_(&self.sessions)
    }
}

impl Counted {
    fn in_(gauge: &Gauge) -> Self {
        gauge.increment(1);
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// A connection that is not taken.
pub(crate) fn rejected(transport: Transport, why: Rejected) {
    let reason = match why {
        Rejected::NotAllowed => "not_allowed",
        Rejected::GreetingError => "listener_over",
        Rejected::Full => "full",
        Rejected::UnauthenticatedFull => "not_logged_in_full",
        Rejected::SourceFull => "source_full",
        Rejected::SourceUnauthenticatedFull => "source_not_logged_in_full",
        Rejected::KeyExchanges => "key_exchanges",
        Rejected::Penalty => "failed_logins",
    };
    counter!("tacdrop_connections_refused_total", "transport" => transport.as_str(), "reason" => reason).increment(1);
}
