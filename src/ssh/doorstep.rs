//! What happens to a connection before a shard takes it: it is greeted, and its first words decide which shard that is.
//! The listener's thread runs it.
//!
//! Whoever says nothing costs a socket here, and nothing of the shards. And russh computes key exchanges in the task of the
//! connection, on the shard's own thread, where everybody else's sessions wait for it meanwhile: a tenth of a second for a
//! finite-field group. So the shards offer none of these. Only a client that knows nothing else gets them, on a thread of
//! its own that stands behind the others, and by turns. New keys for a session that runs are made there, too.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::admission::{Admission, Rejected};
use super::algorithms;
use super::connection::{DoorContext, time_for_version};
use super::opening::{self, Opening};
use super::places::Stage;
use super::traffic::Counted;
use super::turnstile::{Rate, Turnstile};

/// This side's version line (RFC 4253, section 4.2), which clients wait for before they say more.
pub(super) const GREETING: &[u8] = b"SSH-2.0-tacdrop\r\n";

/// How long a client has for its list of algorithms: a round trip, as nearly all send it without seeing this side's. One
/// that waits for that first goes on after this time, and is offered what costs little.
const FOR_OFFER: Duration = Duration::from_secs(1);

/// Who serves a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Any shard.
    Usual,
    /// The thread for key exchanges that cost much.
    Dear,
}

/// A connection on its way to a shard.
pub(super) struct Newcomer {
    pub(super) socket: std::net::TcpStream,
    pub(super) guest: Guest,
}

/// What is known of it.
pub(super) struct Guest {
    pub(super) address: SocketAddr,
    pub(super) admission: Arc<Admission>,
    pub(super) counted: Counted,
    /// For when it has logged in.
    pub(super) turn: Option<Turn>,
    /// What it has said so far.
    pub(super) ahead: Vec<u8>,
    pub(super) way: Way,
}

/// Why a connection gets no further.
#[derive(Debug, thiserror::Error)]
enum Over {
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
pub(super) struct Doorstep {
    context: Arc<DoorContext>,
    /// Of the door that has a thread for what costs much.
    turnstiles: Option<Turnstiles>,
}

/// For both ways.
struct Turnstiles {
    usual: Arc<Mutex<Turnstile>>,
    costly: Arc<Mutex<Turnstile>>,
}

/// A turn that was taken. Dropping it gives it back, unless it was used.
pub(super) struct Turn {
    turnstile: Arc<Mutex<Turnstile>>,
    address: IpAddr,
    used: bool,
}

impl Turn {
    /// Takes one and waits for it.
    async fn take(turnstile: &Arc<Mutex<Turnstile>>, address: IpAddr) -> Result<Self, Rejected> {
        let wait = turnstile.lock().unwrap_or_else(PoisonError::into_inner).take(address, Instant::now());
        let wait = wait.ok_or(Rejected::KeyExchanges)?;
        // Who leaves meanwhile holds up nobody behind.
        let turn = Self { turnstile: Arc::clone(turnstile), address, used: false };
        sleep(wait).await;
        Ok(turn)
    }

    /// From here on the client may make this side compute.
    pub(super) fn is_used(&mut self, used: bool) {
        self.used = used;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.used {
            self.turnstile.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.address);
        }
    }
}

impl Doorstep {
    pub(super) fn new(context: Arc<DoorContext>, has_dear_thread: bool) -> Self {
        let turnstile = |rate| Arc::new(Mutex::new(Turnstile::new(rate)));
        let turnstiles = || Turnstiles { usual: turnstile(Rate::USUAL), costly: turnstile(Rate::DEAR) };
        Self { context, turnstiles: has_dear_thread.then(turnstiles) }
    }

    /// Greets a connection and listens to its first words. None if it gets no further.
    pub(super) async fn receive(
        &self,
        mut socket: TcpStream,
        address: SocketAddr,
        admission: Arc<Admission>,
        counted: Counted,
    ) -> Option<Newcomer> {
        let greeted = tokio::select! {
            biased;
            () = self.context.closing.cancelled() => Err(Over::Closing),
            () = admission.displaced() => Err(Over::Displaced),
            greeted = self.greet(&mut socket, address, &admission) => greeted,
        };
        let (ahead, way, turn, socket) =
            match greeted.and_then(|(ahead, way, turn)| Ok((ahead, way, turn, socket.into_std()?))) {
                Ok(greeted) => greeted,
                Err(over) => {
                    match over {
                        Over::Rejected(rejected) => self.context.rejected(address.ip(), rejected),
                        _ => self.context.ledger.went(address.ip()),
                    }
                    tracing::debug!(from = %address, %over, "ended before its first packet");
                    return None;
                }
            };
        Some(Newcomer { socket, guest: Guest { address, admission, counted, turn, ahead, way } })
    }

    async fn greet(
        &self,
        socket: &mut TcpStream,
        address: SocketAddr,
        admission: &Admission,
    ) -> Result<(Vec<u8>, Way, Option<Turn>), Over> {
        socket.write_all(GREETING).await?;
        let mut said = Vec::new();
        let version = async {
            while matches!(Opening::of(&said), Opening::Nothing) {
                hear(socket, &mut said).await?;
            }
            Ok::<(), Over>(())
        };
        timeout(time_for_version(self.context.limits.login_grace), version).await.map_err(|_| Over::Silent)??;
        admission.reached(Stage::Named);
        let Some(turnstiles) = &self.turnstiles else { return Ok((said, Way::Usual, None)) };
        let offer = async {
            while matches!(Opening::of(&said), Opening::Version) {
                hear(socket, &mut said).await?;
            }
            Ok::<(), Over>(())
        };
        if let Ok(outcome) = timeout(FOR_OFFER, offer).await {
            outcome?;
        }
        let (way, turnstile) = match Opening::of(&said) {
            Opening::Offer(names) if algorithms::are_all_dear(names) => (Way::Dear, &turnstiles.costly),
            _ => (Way::Usual, &turnstiles.usual),
        };
        Ok((said, way, Some(Turn::take(turnstile, address.ip()).await?)))
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
