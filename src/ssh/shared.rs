//! What the parts of one connection share: its handler inside russh, its reply sinks, and the task
//! that watches it.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use russh::Disconnect;
use russh::server::Handle;
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use crate::access::{Login, Origin};
use crate::model::{Door, Transport};

/// How long a client has to take its DISCONNECT, and again to close the connection, before it is
/// closed for it.
const DISCONNECT_WAIT: Duration = Duration::from_secs(2);

pub(crate) struct ConnectionShared {
    pub(crate) from: IpAddr,
    /// The same with its port.
    address: SocketAddr,
    /// Whether the log knows the connection.
    is_in_log: AtomicBool,
    /// Which listener took it.
    pub(crate) transport: Transport,
    pub(crate) activity: std::sync::Arc<Activity>,
    /// Ends the stream, and with it the session, at once.
    pub(crate) end: CancellationToken,
    /// Set as soon as russh runs the session, before it reads anything of an authentication.
    pub(crate) handle: OnceLock<Handle>,
    pub(crate) login: OnceLock<Login>,
    /// Cancelled when `login` is set: the word is tokio's, the event is a good one.
    pub(crate) logged_in: CancellationToken,
    ending: AtomicBool,
}

impl ConnectionShared {
    pub(crate) fn new(address: SocketAddr, transport: Transport, activity: std::sync::Arc<Activity>) -> Self {
        Self {
            from: address.ip().to_canonical(),
            address,
            is_in_log: AtomicBool::new(false),
            transport,
            activity,
            end: CancellationToken::new(),
            handle: OnceLock::new(),
            login: OnceLock::new(),
            logged_in: CancellationToken::new(),
            ending: AtomicBool::new(false),
        }
    }

    /// Where its logins come from.
    pub(crate) fn origin(&self) -> Origin {
        Origin { address: self.from, transport: self.transport, door: Door::Ssh }
    }

    /// Lets the log know the connection, once: its client has logged in, or tried to. Strangers who
    /// do neither are only counted, or they could fill the disk.
    pub(crate) fn log_opened(&self) {
        if !self.is_in_log.swap(true, Relaxed) {
            tracing::info!(from = %self.address, transport = %self.transport, "connection opened");
        }
    }

    /// Whether the log knows it.
    pub(crate) fn is_logged(&self) -> bool {
        self.is_in_log.load(Relaxed)
    }

    /// Tells the client that it is over and why, then ends the connection. Returns at once: the
    /// session's own task may call it, and it is the one that sends the DISCONNECT. If data of the
    /// client's waits before it, it is never sent.
    pub(crate) fn disconnect(&self, reason: Disconnect, sentence: &'static str) {
        self.disconnect_after(Duration::ZERO, reason, sentence);
    }

    /// The same, once some time is over.
    pub(crate) fn disconnect_after(&self, time: Duration, reason: Disconnect, sentence: &'static str) {
        if self.ending.swap(true, Relaxed) {
            return;
        }
        let (handle, end) = (self.handle.get().cloned(), self.end.clone());
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            if let Some(handle) = handle {
                let disconnected = handle.disconnect(reason, sentence.to_owned(), "en".to_owned());
                // That it cannot be said changes nothing.
                let _ = tokio::time::timeout(DISCONNECT_WAIT, disconnected).await;
            }
            end_soon(end).await;
        });
    }

    /// For a caller that has sent its DISCONNECT itself.
    pub(crate) fn end_soon(&self) {
        if !self.ending.swap(true, Relaxed) {
            tokio::spawn(end_soon(self.end.clone()));
        }
    }
}

async fn end_soon(end: CancellationToken) {
    // The connection's task cancels it too, when the session ends by itself.
    let _ = tokio::time::timeout(DISCONNECT_WAIT, end.cancelled()).await;
    end.cancel();
}
