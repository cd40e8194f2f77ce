//! What happens to a connection before a shard takes it: it is greeted, and its first words decide
//! which shard that is. The listener's thread runs it.
//!
//! Whoever says nothing costs a socket here, and nothing of the shards. And russh computes key
//! exchanges in the task of the connection, on the shard's own thread, where everybody else's
//! sessions wait for it meanwhile: a tenth of a second for a finite-field group. So the shards
//! offer none of these. Only a client that knows nothing else gets them, on a thread of its own
//! that stands behind the others, and by permits. New keys for a session that runs are made there,
//! too.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::algorithms;
use super::connection::{DoorContext, time_for_version};
use super::kex_limiter::{KexLimiter, Rate};
use super::opening::{self, Opening};
use super::traffic::Counted;
use crate::admission::{Admission, Rejected, Stage};
use crate::model::Locked;

/// This side's version line (RFC 4253, section 4.2), which clients wait for before they say more.
pub(super) const GREETING: &[u8] = b"SSH-2.0-tacdrop\r\n";

/// How long a client has for its list of algorithms: a round trip, as nearly all send it without
/// seeing this side's. One that waits for that first goes on after this time, and is offered what
/// costs little.
const FOR_OFFER: Duration = Duration::from_secs(1);

/// Who serves a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KexCost {
    /// Any shard.
    Usual,
    /// The thread for key exchanges that cost much.
    Costly,
}

/// A connection on its way to a shard.
pub(super) struct GreetedConnection {
    pub(super) socket: std::net::TcpStream,
    pub(super) arrival: Arrival,
}

/// What is known of it.
pub(super) struct Arrival {
    pub(super) address: SocketAddr,
    pub(super) admission: Arc<Admission>,
    pub(super) counted: Counted,
    /// For when it has logged in.
    pub(super) permit: Option<KexPermit>,
    /// What it has said so far.
    pub(super) ahead: Vec<u8>,
    pub(super) way: KexCost,
}

/// Why a connection gets no further.
#[derive(Debug, thiserror::Error)]
enum GreetingError {
    #[error("the stream ended: {0}")]
    Stream(#[from] io::Error),
    #[error("no first line in time")]
    Silent,
    #[error("another connection needs its place")]
    Displaced,
    #[error("the server shuts down")]
    Closing,
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

/// What all doorsteps of a door share.
pub(super) struct Greeter {
    context: Arc<DoorContext>,
    /// Of the door that has a thread for what costs much.
    limiters: Option<KexLimiters>,
}

/// For both ways.
struct KexLimiters {
    usual: Arc<Locked<KexLimiter>>,
    costly: Arc<Locked<KexLimiter>>,
}

/// A permit that was taken. Dropping it gives it back, unless it was used.
pub(super) struct KexPermit {
    limiter: Arc<Locked<KexLimiter>>,
    address: IpAddr,
    used: bool,
}

impl KexPermit {
    /// Takes one and waits for it.
    async fn take(limiter: &Arc<Locked<KexLimiter>>, address: IpAddr) -> Result<Self, Rejected> {
        let wait = limiter.lock().take(address, Instant::now());
        let wait = wait.ok_or(Rejected::KeyExchanges)?;
        // Who leaves meanwhile holds up nobody behind.
        let permit = Self { limiter: Arc::clone(limiter), address, used: false };
        sleep(wait).await;
        Ok(permit)
    }

    /// From here on the client may make this side compute.
    pub(super) fn is_used(&mut self, used: bool) {
        self.used = used;
    }
}

impl Drop for KexPermit {
    fn drop(&mut self) {
        if !self.used {
            self.limiter.lock().give_back(self.address);
        }
    }
}

impl Greeter {
    pub(super) fn new(context: Arc<DoorContext>, has_costly_thread: bool) -> Self {
        let limiter = |rate| Arc::new(Locked::new(KexLimiter::new(rate)));
        let limiters = || KexLimiters { usual: limiter(Rate::USUAL), costly: limiter(Rate::COSTLY) };
        Self { context, limiters: has_costly_thread.then(limiters) }
    }

    /// Greets a connection and listens to its first words. None if it gets no further.
    pub(super) async fn receive(
        &self,
        mut socket: TcpStream,
        address: SocketAddr,
        admission: Arc<Admission>,
        counted: Counted,
    ) -> Option<GreetedConnection> {
        let greeted = tokio::select! {
            biased;
            () = self.context.closing.cancelled() => Err(GreetingError::Closing),
            () = admission.displaced() => Err(GreetingError::Displaced),
            greeted = self.greet(&mut socket, address, &admission) => greeted,
        };
        let (ahead, way, permit, socket) =
            match greeted.and_then(|(ahead, way, permit)| Ok((ahead, way, permit, socket.into_std()?))) {
                Ok(greeted) => greeted,
                Err(over) => {
                    match over {
                        GreetingError::Rejected(rejected) => self.context.rejected(address.ip(), rejected),
                        _ => self.context.strangers.went(address.ip()),
                    }
                    tracing::debug!(from = %address, %over, "ended before its first packet");
                    return None;
                }
            };
        Some(GreetedConnection { socket, arrival: Arrival { address, admission, counted, permit, ahead, way } })
    }

    async fn greet(
        &self,
        socket: &mut TcpStream,
        address: SocketAddr,
        admission: &Admission,
    ) -> Result<(Vec<u8>, KexCost, Option<KexPermit>), GreetingError> {
        socket.write_all(GREETING).await?;
        let mut said = Vec::new();
        let version = async {
            while matches!(Opening::of(&said), Opening::Nothing) {
                hear(socket, &mut said).await?;
            }
            Ok::<(), GreetingError>(())
        };
        timeout(time_for_version(self.context.limits.login_grace), version)
            .await
            .map_err(|_| GreetingError::Silent)??;
        admission.reached(Stage::Named);
        let Some(limiters) = &self.limiters else { return Ok((said, KexCost::Usual, None)) };
        let offer = async {
            while matches!(Opening::of(&said), Opening::Version) {
                hear(socket, &mut said).await?;
            }
            Ok::<(), GreetingError>(())
        };
        if let Ok(outcome) = timeout(FOR_OFFER, offer).await {
            outcome?;
        }
        let (way, limiter) = match Opening::of(&said) {
            Opening::Offer(names) if algorithms::are_all_dear(names) => (KexCost::Costly, &limiters.costly),
            _ => (KexCost::Usual, &limiters.usual),
        };
        Ok((said, way, Some(KexPermit::take(limiter, address.ip()).await?)))
    }
}

/// Waits for more, up to what an opening can have.
async fn hear(socket: &mut TcpStream, said: &mut Vec<u8>) -> io::Result<()> {
    let room = opening::MOST.saturating_sub(said.len()).max(1);
    match (&mut *socket).take(room as u64).read_buf(said).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
