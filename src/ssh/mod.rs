//! The SSH door: takes connections, lets logins in, and runs an SFTP or SCP session on each channel
//! that asks for one. Built on russh; `server` starts it, the command line uses its functions about
//! keys.
//!
//! - `listener` accepts and spreads connections over threads; the room `admission` says who may
//!   come in, and who may stay there when not all can.
//! - `greeter` greets new connections and hears their first words (`opening`); those who need a key
//!   exchange that costs much wait for a permit there (`kex_limiter`).
//! - `connection` runs one of them: time limits, the reasons to end it. `stream` is its socket as
//!   russh sees it, `activity` what is known of its life, `shared` what its parts share.
//! - `traffic` counts for metrics. `window` says how much a client may send before it is told to go
//!   on.
//! - `handler` is russh's handler: channels and the sessions on them. `exec` knows the commands
//!   that may be run, `remarks` is what people read on a channel's stderr. `login` decides who gets
//!   in.
//! - `algorithms` is what is offered, `keys` are host keys and public keys as text.
//!
//! # Logs
//! One line when somebody logs in or fails to, before it one that the connection has opened, and
//! one when it closes. Those who do neither are told of by network, once a minute.
//! russh writes to the same log by the `log` crate: at `debug` it names users as they were typed,
//! and at `warn` it quotes requests that it does not know. It never writes passwords. A filter
//! should keep `russh` at `error` in operation.

mod activity;
mod algorithms;
mod connection;
mod exec;
mod greeter;
mod handler;
mod kex_limiter;
mod keys;
mod listener;
mod login;
mod opening;
mod rekeying;
mod remarks;
mod shared;
mod stream;
mod traffic;
mod window;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use russh::keys::PrivateKey;
use russh::server::Config;
use tokio_util::sync::CancellationToken;

use greeter::KexCost;
pub use keys::{
    KeyError, fingerprint, generate_host_key, generate_legacy_host_key, key_fingerprint, parse_host_key,
    parse_legacy_host_key,
};

use crate::access::Access;
use crate::admission::{AdmissionControl, AdmissionLimits, StrangerLog};
use crate::model::{LastDay, Network, Transport};
use crate::sftp;

/// The largest packet that clients are told to send, in bytes (RFC 4254, section 5.1). OpenSSH,
/// PuTTY and WinSCP send no larger ones whatever they are told.
const PACKET: u32 = 32 * 1024;
/// Replies that wait between the tasks that make them and russh, in messages of up to 255 KiB for
/// each connection.
const REPLIES_ON_THE_WAY: usize = 8;
/// How long clients have to end their sessions by themselves once the last upload is closed.
const LEAVE: Duration = Duration::from_secs(1);
/// How long the threads of a door that drains may take to end.
const LAST_GOODBYE: Duration = Duration::from_secs(45);

/// Whom a door is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// Everybody, with nothing weak.
    Modern,
    /// Old devices, with weak algorithms.
    Legacy(LegacyRules),
}

/// What keeps the door for old devices narrow. There are no defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyRules {
    /// Where connections may come from. Others are closed before anything is read.
    pub allow: Vec<Network>,
    /// The last day, in UTC and by the machine's clock. When it is over the door stops accepting
    /// for good.
    pub until: LastDay,
}

impl Profile {
    const fn transport(&self) -> Transport {
        match self {
            Self::Modern => Transport::Modern,
            Self::Legacy(_) => Transport::Legacy,
        }
    }

    fn accepts_host_key(&self, key: &PrivateKey) -> Result<(), KeyError> {
        match self {
            Self::Modern if algorithms::accepts_host_key(&key.algorithm()) => Ok(()),
            Self::Legacy(_) if algorithms::accepts_legacy_host_key(key.public_key()) => Ok(()),
            Self::Modern => Err(KeyError::HostAlgorithm),
            Self::Legacy(_) => Err(KeyError::LegacyHostAlgorithm),
        }
    }
}

/// What a door is made of.
pub struct Settings {
    /// Whom it is for.
    pub profile: Profile,
    /// The host keys. Modern: one Ed25519 key, and for old clients an ECDSA P-256 key. Legacy: one
    /// RSA key.
    pub host_keys: Vec<PrivateKey>,
    /// Bounds on everything.
    pub limits: Limits,
    /// What clients are told beside their protocol.
    pub words: Words,
    /// Who may come in: the server's other doors may have the same one.
    pub admissions: AdmissionControl,
}

/// What clients are told beside their protocol. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// Said before the login (RFC 4252, section 5.4), when nobody knows yet who comes: the same to
    /// all.
    pub banner: Option<Arc<str>>,
    /// Whether people are told on stderr which ticket they are in and why something was refused,
    /// with clients that show it.
    pub remarks: bool,
}

/// Every bound of the door, with what happens beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections, and penalties for failed logins.
    pub admissions: AdmissionLimits,
    /// The time to log in (people confirm fingerprints). Beyond: the connection is closed.
    pub login_grace: Duration,
    /// Failed logins of one connection. This many: the connection is closed.
    pub failures: u32,
    /// Unknown keys that one connection may offer. This many: the connection is closed.
    pub key_probes: u32,
    /// After what time a failed login is answered, whatever the reason. The probe `none` is
    /// answered at once.
    pub rejection_delay: Duration,
    /// Open channels of one connection. More: refused.
    pub channels: usize,
    /// Channels in the life of one connection: russh keeps some 3.6 KiB of each that this side
    /// closed (measured). rclone opens one for each digest, on as many connections as it has
    /// checkers (8). More: refused.
    pub channels_in_all: usize,
    /// Bounds of one SFTP session.
    pub sftp: sftp::Limits,
    /// Plaintext that all connections together may hold for READs, in bytes (256 KiB at least).
    /// Beyond: READs wait.
    pub read_budget: usize,
    /// Small replies that a client may leave unread on one channel, in bytes. More: the connection
    /// is closed.
    pub queued_replies: usize,
    /// How long a client may take nothing of what it asked for. Beyond: the connection is closed.
    pub stall: Duration,
    /// How long a client may ask for nothing, measured in SFTP requests and deliveries (keepalives
    /// do not count). Beyond: the connection is closed.
    pub idle: Duration,
    /// The time without any packet after which the client is asked whether it lives.
    pub keepalive: Duration,
    /// Unanswered questions of this kind. More: the connection is closed.
    pub keepalives: usize,
    /// What a client may send before it is told to go on, in bytes for each channel, at first. More
    /// would be taken too (russh does not enforce it), but nothing is read while the share has no
    /// room.
    pub window: u32,
    /// The same on a far line at most, all channels of a connection together; not more than
    /// `window`: it never changes.
    pub window_most: u32,
    /// What all connections together may be allowed beyond what each began with, in bytes. Beyond:
    /// windows stay as they are.
    pub windows: u64,
    /// Bytes in one direction after which new session keys are agreed on.
    pub rekey_bytes: usize,
    /// The time after which new session keys are agreed on.
    pub rekey_after: Duration,
    /// Threads that serve connections; the default is one for each core.
    pub shards: usize,
}

impl Limits {
    /// After how many bytes in one direction, and after what time, keys are changed.
    const fn rekey(&self) -> (u64, Duration) {
        (self.rekey_bytes as u64, self.rekey_after)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            admissions: AdmissionLimits::default(),
            login_grace: Duration::from_secs(120),
            failures: 4,
            key_probes: 20,
            rejection_delay: Duration::from_millis(300),
            channels: 4,
            channels_in_all: 4000,
            sftp: sftp::Limits::default(),
            read_budget: 256 * 1024 * 1024,
            queued_replies: 4 * 1024 * 1024,
            stall: Duration::from_secs(120),
            idle: Duration::from_secs(600),
            keepalive: Duration::from_secs(30),
            keepalives: 3,
            window: 2 * 1024 * 1024,
            window_most: 64 * 1024 * 1024,
            windows: 1 << 30,
            rekey_bytes: 1 << 30,
            rekey_after: Duration::from_secs(3600),
            shards: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}

/// Why a door does not open.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no host key.
    #[error("there is no host key; make one before the server starts")]
    NoHostKey,
    /// A host key that must not be used.
    #[error(transparent)]
    HostKey(#[from] KeyError),
    /// The operating system refused threads, or the listening socket.
    #[error("the SSH door cannot be opened: {0}")]
    System(#[from] io::Error),
}

/// Binds the listening address. Port 0 takes any free port.
///
/// # Errors
/// What the operating system says: the port is taken or needs privileges, the address is not this
/// machine's.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    tokio::net::TcpListener::bind(address).await?.into_std()
}

/// Opens the door. Needs no runtime: it brings its own threads.
///
/// # Errors
/// [`Error`] says what is missing.
pub fn start(listener: TcpListener, settings: Settings, access: Arc<Access>) -> Result<Door, Error> {
    let Settings { profile, host_keys, limits, words, admissions } = settings;
    if host_keys.is_empty() {
        return Err(Error::NoHostKey);
    }
    host_keys.iter().try_for_each(|key| profile.accepts_host_key(key))?;
    let (accepting, closing) = (CancellationToken::new(), CancellationToken::new());
    let windows = window::Pool::new(limits.windows);
    let common = sftp::Common::new(limits.sftp, limits.read_budget);
    let context = connection::DoorContext {
        costly: Arc::new(config(&profile, host_keys.clone(), &limits, KexCost::Costly)),
        config: Arc::new(config(&profile, host_keys, &limits, KexCost::Usual)),
        access,
        common: common.clone(),
        limits,
        windows: windows.clone(),
        words,
        traffic: traffic::Traffic::of(profile.transport()),
        strangers: StrangerLog::default(),
        transport: profile.transport(),
        closing: closing.clone(),
    };
    let rules = match profile {
        Profile::Modern => None,
        Profile::Legacy(rules) => Some(rules),
    };
    let accept_rules = listener::AcceptRules { admissions, rules };
    let threads = listener::spawn(listener, accept_rules, Arc::new(context), accepting.clone())?;
    let read_budget = sftp::Common::permits(limits.read_budget);
    Ok(Door { accepting, closing, common, windows, read_budget, threads })
}

fn config(profile: &Profile, keys: Vec<PrivateKey>, limits: &Limits, way: KexCost) -> Config {
    Config {
        server_id: russh::SshId::Standard(String::from_utf8_lossy(greeter::GREETING.trim_ascii_end())),
        methods: login::methods(profile.transport()),
        auth_rejection_time: limits.rejection_delay,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys,
        certificates: Vec::new(),
        limits: russh::Limits::new(limits.rekey_bytes, limits.rekey_bytes, limits.rekey_after),
        window_size: limits.window,
        maximum_packet_size: PACKET,
        // Of messages for a `Channel`, which nobody holds here.
        channel_buffer_size: 1,
        event_buffer_size: REPLIES_ON_THE_WAY,
        preferred: match (profile, way) {
            (Profile::Modern, KexCost::Usual) => algorithms::usual(),
            (Profile::Modern, KexCost::Costly) => algorithms::modern(),
            (Profile::Legacy(_), _) => algorithms::legacy(),
        },
        // russh counts the probe `none` and offered keys as attempts; `login` counts for itself and
        // is stricter.
        max_auth_attempts: (limits.failures as usize).saturating_add(limits.key_probes as usize).saturating_add(2),
        // Any packet and any answer to a keepalive resets it, so it only ends what hangs for other
        // reasons.
        inactivity_timeout: Some(limits.idle.max(limits.login_grace)),
        keepalive_interval: Some(limits.keepalive),
        keepalive_max: limits.keepalives,
        // russh does not apply it to streams of others; the listener does.
        nodelay: true,
    }
}

/// A door that is open. Dropping it closes it, and cuts what is open; [`Door::drain`] closes it
/// with patience.
pub struct Door {
    accepting: CancellationToken,
    closing: CancellationToken,
    common: sftp::Common,
    windows: window::Pool,
    read_budget: usize,
    threads: Vec<JoinHandle<()>>,
}

/// What a door has given away of what it may, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Plaintext that is held for READs, and how much of it may be.
    pub reading: (u64, u64),
    /// What clients may send beyond the windows that they began with, and how much of it there may
    /// be.
    pub windows: (u64, u64),
}

/// Tells the load of a door, also when the door itself is somewhere else.
#[derive(Debug, Clone)]
pub struct Gauge {
    common: sftp::Common,
    windows: window::Pool,
    read_budget: usize,
}

impl Gauge {
    /// The load at this moment.
    pub fn read(&self) -> Load {
        let kib = |permits: usize| (permits as u64) << 10;
        let free = self.common.read_budget.available_permits();
        Load {
            reading: (kib(self.read_budget.saturating_sub(free)), kib(self.read_budget)),
            windows: (self.windows.granted(), self.windows.most()),
        }
    }
}

impl Door {
    /// What tells its load.
    pub fn gauge(&self) -> Gauge {
        Gauge { common: self.common.clone(), windows: self.windows.clone(), read_budget: self.read_budget }
    }

    /// Stops accepting, lets open uploads finish for as long as `patience`, then ends every
    /// connection and waits for the door's threads. The share refuses new uploads meanwhile.
    /// Returns how many uploads were cut; they can be continued.
    pub async fn drain(mut self, patience: Duration) -> usize {
        self.accepting.cancel();
        self.common.uploads.close();
        let cut = match tokio::time::timeout(patience, self.common.uploads.wait()).await {
            Ok(()) => 0,
            Err(_) => self.common.uploads.len(),
        };
        if cut == 0 {
            // Whoever has just been told that a CLOSE succeeded takes leave without being thrown
            // out.
            let leave = Instant::now() + LEAVE;
            while Instant::now() < leave && !self.threads.iter().all(JoinHandle::is_finished) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        self.closing.cancel();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the SSH door panicked");
                }
            }
        });
        if tokio::time::timeout(LAST_GOODBYE, joined).await.is_err() {
            tracing::error!("the threads of the SSH door did not end in time");
        }
        cut
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.cancel();
        self.closing.cancel();
        self.common.uploads.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_design() {
        let limits = Limits::default();
        assert_eq!(
            (
                limits.admissions.unauthenticated,
                limits.admissions.unauthenticated_per_source,
                limits.admissions.per_source
            ),
            (64, 32, 100)
        );
        assert_eq!((limits.login_grace.as_secs(), limits.failures, limits.key_probes), (120, 4, 20));
        assert_eq!((limits.channels, limits.sftp.handles, limits.sftp.reads_in_work), (4, 64, 64));
        assert_eq!((limits.keepalive.as_secs(), limits.keepalives, limits.idle.as_secs()), (30, 3, 600));
        assert_eq!((limits.stall.as_secs(), limits.rekey_bytes, limits.rekey_after.as_secs()), (120, 1 << 30, 3600));
        assert_eq!((limits.window, limits.window_most, limits.windows), (2 << 20, 64 << 20, 1 << 30));
        assert_eq!((sftp::MAX_PACKET, sftp::MAX_READ), (257 * 1024, 261_120));
    }
}
