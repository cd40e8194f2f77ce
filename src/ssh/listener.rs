//! Takes connections and spreads them over the shards. Only `mod` uses it.
//!
//! A shard is one thread with a runtime of its own: connections then need no wake-ups across
//! threads. In a prototype one upload was a quarter faster so, and took a fifth less CPU. The
//! listener has a thread of its own as well, and no error ever ends it: a server out of file
//! descriptors waits until it has some.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::LegacyRules;
use super::connection::{self, DoorContext};
use super::greeter::{GreetedConnection, Greeter, KexCost};
use crate::admission::{self, Admission, AdmissionControl, Rejected, chance};
use crate::model::{Time, Transport};

/// Connections on their way to a shard. More: closed at once.
const ON_THE_WAY: usize = 256;
/// For how long nothing is accepted after an error, at first and at most.
const FIRST_REST: Duration = Duration::from_millis(10);
const LONGEST_REST: Duration = Duration::from_secs(1);
/// How long a shard waits for uploads that are being closed when its connections are gone.
const LAST_UPLOADS: Duration = Duration::from_secs(30);

/// How often the door for old devices looks at the date.
const LOOK_AT_DATE: Duration = Duration::from_secs(10);

/// Who comes in.
pub(crate) struct AcceptRules {
    pub(crate) admissions: AdmissionControl,
    /// Of the door for old devices.
    pub(crate) rules: Option<LegacyRules>,
}

impl AcceptRules {
    fn admit(&self, address: std::net::IpAddr) -> Result<Admission, Rejected> {
        if let Some(rules) = &self.rules
            && !rules.allow.iter().any(|network| network.contains(address))
        {
            return Err(Rejected::NotAllowed);
        }
        if self.rules.as_ref().is_some_and(|rules| rules.until.is_over(Time::now())) {
            return Err(Rejected::GreetingError);
        }
        self.admissions.admit(address, Instant::now(), chance())
    }

    /// Waits until nobody may come in any more. For the main door that is never.
    async fn over(&self) {
        let Some(rules) = &self.rules else { return std::future::pending().await };
        while !rules.until.is_over(Time::now()) {
            tokio::time::sleep(LOOK_AT_DATE).await;
        }
        tracing::error!(
            until = %rules.until,
            "the legacy listener takes no connections any more: its last day is over; see legacy.until"
        );
    }
}

/// A thread that serves connections.
struct Shard {
    connections: mpsc::Sender<GreetedConnection>,
    load: Arc<AtomicUsize>,
}

/// The threads that serve connections.
struct Shards {
    usual: Vec<Shard>,
    /// For key exchanges that cost much.
    costly: Option<Shard>,
}

/// How far the thread for key exchanges that cost much stands behind all others: as far as those
/// that hash and seal.
const BEHIND: i32 = 5;

/// Starts the threads. They end when `stop` is cancelled and every connection is over.
pub(crate) fn spawn(
    listener: std::net::TcpListener,
    accept_rules: AcceptRules,
    context: Arc<DoorContext>,
    stop: CancellationToken,
) -> io::Result<Vec<JoinHandle<()>>> {
    listener.set_nonblocking(true)?;
    let mut threads = Vec::new();
    let usual: io::Result<Vec<Shard>> = (0..context.limits.shards.max(1))
        .map(|number| Shard::start(format!("ssh-{number}"), &context, &mut threads, || {}))
        .collect();
    let costly = match context.transport {
        Transport::Modern => Some(Shard::start("ssh-dear".to_owned(), &context, &mut threads, step_back)?),
        // It has one thread, which is nobody else's, and takes whom its operator lists.
        Transport::Legacy => None,
    };
    let shards = Arc::new(Shards { usual: usual?, costly });
    let runtime = runtime()?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let thread = thread::Builder::new().name("ssh-listener".to_owned());
    threads.push(thread.spawn(move || runtime.block_on(accept(listener, &accept_rules, shards, &context, &stop)))?);
    Ok(threads)
}

/// On Linux niceness belongs to the thread, elsewhere to the process, which would gain nothing. Who
/// may not change it goes on as before.
fn step_back() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(BEHIND);
}

impl Shard {
    fn start(
        name: String,
        context: &Arc<DoorContext>,
        threads: &mut Vec<JoinHandle<()>>,
        prepare: fn(),
    ) -> io::Result<Self> {
        let (connections, arrivals) = mpsc::channel(ON_THE_WAY);
        let load = Arc::new(AtomicUsize::new(0));
        let (runtime, context, shard_load) = (runtime()?, Arc::clone(context), Arc::clone(&load));
        threads.push(thread::Builder::new().name(name).spawn(move || {
            prepare();
            runtime.block_on(shard(arrivals, shard_load, context));
        })?);
        Ok(Self { connections, load })
    }
}

impl Shards {
    /// Gives a connection to the thread that serves it.
    fn take(&self, connection: GreetedConnection) -> Result<(), &'static str> {
        let shard = match (connection.arrival.way, &self.costly) {
            (KexCost::Costly, Some(costly)) => costly,
            _ => self.usual.iter().min_by_key(|shard| shard.load.load(Relaxed)).ok_or("there is no shard")?,
        };
        shard.connections.try_send(connection).map_err(|_| "the shard is busy")?;
        shard.load.fetch_add(1, Relaxed);
        Ok(())
    }
}

/// While connections always have something to do, Tokio looks only after every 61st of their turns
/// whether others' sockets have something, and after every 31st whether an answer has come from
/// another thread. A turn takes long enough (`stream`) for more frequent looks to cost next to
/// nothing.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().event_interval(8).global_queue_interval(2).enable_all().build()
}

async fn accept(
    listener: TcpListener,
    accept_rules: &AcceptRules,
    shards: Arc<Shards>,
    context: &Arc<DoorContext>,
    stop: &CancellationToken,
) {
    let greeter = Arc::new(Greeter::new(Arc::clone(context), shards.costly.is_some()));
    let over = accept_rules.over();
    tokio::pin!(over);
    let mut rest = FIRST_REST;
    let mut telling = interval(admission::EVERY);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return context.strangers.tell(),
            () = &mut over => return wind_up(context).await,
            _ = telling.tick() => {
                context.strangers.tell();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, address)) => {
                rest = FIRST_REST;
                admit(socket, address, accept_rules, &greeter, &shards, context);
            }
            // The client has gone again before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Out of file descriptors or of memory (EMFILE, ENFILE, ENOBUFS, ENOMEM), or a
                // fault of the network that accept() reports on Linux: all of them pass.
                tracing::warn!(%error, "no connection could be accepted; trying again soon");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(rest) => rest = (rest * 2).min(LONGEST_REST),
                }
            }
        }
    }
}

/// Behind the last day: what is under way may end within a moment, then every connection is ended.
async fn wind_up(context: &DoorContext) {
    context.common.uploads.close();
    // What is cut then can be continued by another way in.
    let _ = tokio::time::timeout(LAST_UPLOADS, context.common.uploads.wait()).await;
    context.closing.cancel();
}

/// Lets a connection come in, or closes it. Those that do are greeted in a task of their own, as
/// many as there are places.
fn admit(
    socket: TcpStream,
    address: SocketAddr,
    accept_rules: &AcceptRules,
    greeter: &Arc<Greeter>,
    shards: &Arc<Shards>,
    context: &DoorContext,
) {
    let admission = match accept_rules.admit(address.ip()) {
        Ok(admission) => admission,
        Err(rejected) => return context.rejected(address.ip(), rejected),
    };
    // Nagle's algorithm would hold small replies back: uploads were three times slower with it.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(from = %address, %error, "the client has gone again");
        return context.strangers.went(address.ip());
    }
    let (greeter, shards, counted) = (Arc::clone(greeter), Arc::clone(shards), context.traffic.connection());
    tokio::spawn(async move {
        let Some(connection) = greeter.receive(socket, address, Arc::new(admission), counted).await else { return };
        if let Err(why) = shards.take(connection) {
            tracing::debug!(from = %address, why, "a connection was not served");
        }
    });
}

async fn shard(mut arrivals: mpsc::Receiver<GreetedConnection>, load: Arc<AtomicUsize>, context: Arc<DoorContext>) {
    let connections = TaskTracker::new();
    while let Some(GreetedConnection { socket, arrival }) = arrivals.recv().await {
        let leaving = Leaving(Arc::clone(&load));
        let context = Arc::clone(&context);
        match TcpStream::from_std(socket) {
            Ok(socket) => {
                connections.spawn(async move {
                    connection::serve(socket, arrival, context).await;
                    drop(leaving);
                });
            }
            Err(error) => tracing::warn!(%error, "a connection could not be taken over"),
        }
    }
    connections.close();
    connections.wait().await;
    // CLOSEs go on when their connection is gone, in tasks of this runtime.
    if tokio::time::timeout(LAST_UPLOADS, context.common.uploads.wait()).await.is_err() {
        tracing::warn!("uploads were still being closed when the server stopped; they can be continued");
    }
}

/// Takes a connection off its shard's load, also when its task panics.
struct Leaving(Arc<AtomicUsize>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
