//! The HTTP door: uploads by plain `PUT` and by tus, downloads, lists. `server` starts it.
//!
//! - `listener` accepts connections, encrypts them, and runs HTTP on them; `socket` is one of them
//!   as hyper sees it, `peer` what is known of who is at its other end.
//! - `routes` says which request is whose. `login` decides who asks.
//! - `files` are the files of a ticket by their paths, `artifacts` the same by their ids, `uploads` the uploads that tus continues,
//!   `body` what a request brings, `download` what an answer brings.
//! - `plain` answers questions of listeners beside the door.
//! - `fields` are header fields as types, `answer` is what every answer bears, `problem` what is
//!   said when something is not done.
//!
//! # Logs
//! One line when somebody logs in or fails to. Paths are never logged: they name files. Strangers are
//! told of by network, once a minute (`admission`).

mod answer;
mod artifacts;
mod body;
mod download;
mod fields;
mod files;
mod listener;
mod login;
mod peer;
mod plain;
mod problem;
mod routes;
mod socket;
mod uploads;

pub use plain::{Text, answer_one};

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::admission::{AdmissionControl, StrangerLog};
use crate::model::Network;

/// The longest head of a request, in bytes. More: 431, and the connection is closed.
const LONGEST_HEAD: usize = 32 * 1024;
/// The most header fields of a request. More: 431.
const MOST_FIELDS: usize = 64;
/// The time for TLS, and for the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// Streams of one HTTP/2 connection at a time.
const STREAMS: u32 = 32;
/// How long the threads of a door that drains may take to end.
const LAST_GOODBYE: Duration = Duration::from_secs(15);
/// How often logins are let go that nobody uses any more.
const LET_GO: Duration = Duration::from_secs(15);
/// Threads of the door. They copy and answer; hashing and sealing are done elsewhere.
const THREADS: usize = 2;

/// Every bound of the door, with what happens beyond it. Those on connections are the
/// [`AdmissionControl`]'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all, those of proxies among them. More: they wait in the system's queue.
    pub connections: usize,
    /// Failed logins of one connection. This many: the connection is closed.
    pub failures: u32,
    /// After what time a failed login is answered, whatever the reason.
    pub rejection_delay: Duration,
    /// How long nothing may move on a connection, in either direction. Beyond: it is closed.
    pub stall: Duration,
    /// What a body must bring in a minute at least, in bytes. Less: the request is refused.
    pub slowest: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            failures: 4,
            rejection_delay: Duration::from_millis(300),
            stall: Duration::from_secs(120),
            slowest: 60 << 10,
        }
    }
}

/// What a door is made of.
pub struct Settings {
    /// How connections are encrypted; what is sent here replaces it. None: they are not.
    pub tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    /// Whose word for the client's address counts.
    pub proxies: Vec<Network>,
    /// The host that requests are for, beside this machine's addresses.
    pub host: Option<String>,
    /// Bounds on everything.
    pub limits: Limits,
    /// Who may come in: the server's other doors may have the same one.
    pub admissions: AdmissionControl,
}

/// What every connection of the door is given.
struct DoorContext {
    access: Arc<Access>,
    proxies: Vec<Network>,
    host: Option<String>,
    limits: Limits,
    admissions: AdmissionControl,
    strangers: StrangerLog,
    /// Uploads whose requests are under way.
    uploading: AtomicUsize,
    /// The lengths of uploads that were told behind their beginning.
    lengths: uploads::Lengths,
    is_encrypted: bool,
    /// Cancelled when requests under way may end and no further ones are taken.
    closing: CancellationToken,
    /// Cancelled when every connection is to end.
    ending: CancellationToken,
}

/// A door that is open. Dropping it closes it, and cuts what is open; [`Door::drain`] closes it with
/// patience.
pub struct Door {
    context: Arc<DoorContext>,
    thread: Option<JoinHandle<()>>,
}

/// Opens the door. Needs no runtime: it brings its own threads.
///
/// # Errors
/// If the operating system refuses threads, or the listening socket.
pub fn start(listener: TcpListener, settings: Settings, access: Arc<Access>) -> io::Result<Door> {
    let Settings { tls, proxies, host, limits, admissions } = settings;
    let context = Arc::new(DoorContext {
        access,
        proxies,
        host,
        limits,
        admissions,
        strangers: StrangerLog::default(),
        uploading: AtomicUsize::new(0),
        lengths: uploads::Lengths::default(),
        is_encrypted: tls.is_some(),
        closing: CancellationToken::new(),
        ending: CancellationToken::new(),
    });
    listener.set_nonblocking(true)?;
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("http").enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let of_thread = Arc::clone(&context);
    let thread = std::thread::Builder::new().name("http-listener".to_owned()).spawn(move || {
        runtime.block_on(listener::accept(listener, tls, of_thread));
        runtime.shutdown_timeout(LAST_GOODBYE);
    })?;
    Ok(Door { context, thread: Some(thread) })
}

impl Door {
    /// Stops accepting, lets requests finish for as long as `patience`, then ends every connection
    /// and waits for the door's threads. Returns how many uploads were cut; they can be continued.
    pub async fn drain(mut self, patience: Duration) -> usize {
        self.context.closing.cancel();
        let is_over = || self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        let until = tokio::time::Instant::now() + patience;
        while !is_over() && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let cut = if is_over() { 0 } else { self.context.uploading.load(Ordering::Relaxed) };
        self.context.ending.cancel();
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join().is_ok());
            match tokio::time::timeout(LAST_GOODBYE, joined).await {
                Ok(Ok(true)) => {}
                _ => tracing::error!("the threads of the HTTP door did not end as they should"),
            }
        }
        self.context.access.logins().let_all_go();
        cut
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.context.closing.cancel();
        self.context.ending.cancel();
    }
}
