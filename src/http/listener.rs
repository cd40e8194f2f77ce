//! Takes connections, encrypts them, and runs HTTP on each in a task of its own until there is a
//! reason to end it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::task::TaskTracker;

use super::peer::{Connection, is_listed};
use super::socket::{Moved, Socket, Watched};
use super::{DoorContext, HEAD_PATIENCE, LET_GO, LONGEST_HEAD, MOST_FIELDS, STREAMS, routes};
use crate::admission::{self, Admission, Rejected, Stage, chance};

/// For how long nothing is accepted after an error, at first and at most.
const FIRST_REST: Duration = Duration::from_millis(10);
const LONGEST_REST: Duration = Duration::from_secs(1);
/// How often a connection is looked at for signs of life.
const LOOK: Duration = Duration::from_secs(1);
/// How often an HTTP/2 connection on which nothing moves is asked whether it lives, and for how long
/// it may be silent then.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// What an HTTP/2 client may send before it is told to go on, on all its streams together, in bytes.
const WINDOW: u32 = 1 << 20;

/// How connections are encrypted now.
type Tls = Option<watch::Receiver<Arc<ServerConfig>>>;

/// Takes connections until the door closes, then waits until the last one has ended.
pub(super) async fn accept(listener: TcpListener, tls: Tls, context: Arc<DoorContext>) {
    let places = Arc::new(Semaphore::new(context.limits.connections.max(1)));
    let (connections, router) = (TaskTracker::new(), routes::router(&context));
    let housekeeping = tokio::spawn(keep_house(Arc::clone(&context)));
    let mut rest = FIRST_REST;
    loop {
        let place = tokio::select! {
            () = context.closing.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = context.closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, address)) => {
                rest = FIRST_REST;
                let serving = serve(socket, address, tls.clone(), router.clone(), Arc::clone(&context));
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Out of file descriptors or of memory: it passes.
                tracing::warn!(%error, "no connection could be accepted; trying again soon");
                tokio::time::sleep(rest).await;
                rest = (rest * 2).min(LONGEST_REST);
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    housekeeping.abort();
    context.strangers.tell();
}

/// Lets logins go that nobody uses, and tells the log what strangers did.
async fn keep_house(context: Arc<DoorContext>) {
    let (mut letting_go, mut telling) = (interval(LET_GO), interval(admission::EVERY));
    loop {
        tokio::select! {
            _ = letting_go.tick() => context.access.logins().let_go(),
            _ = telling.tick() => context.strangers.tell(),
        }
    }
}

/// Admits a client, or says in the log why not.
pub(super) fn admit(context: &DoorContext, address: IpAddr) -> Option<Arc<Admission>> {
    match context.admissions.admit(address, Instant::now(), chance()) {
        Ok(admission) => Some(Arc::new(admission)),
        Err(why) => {
            context.strangers.rejected(address, why);
            None
        }
    }
}

/// Whether this may connect at all: without encryption only this machine and the proxies may.
fn may_connect(context: &DoorContext, address: IpAddr) -> bool {
    context.is_encrypted || address.is_loopback() || is_listed(&context.proxies, address)
}

/// Serves a connection until it ends.
async fn serve(socket: TcpStream, from: SocketAddr, tls: Tls, router: Router, context: Arc<DoorContext>) {
    let address = from.ip().to_canonical();
    if !may_connect(&context, address) {
        return context.strangers.rejected(address, Rejected::NotAllowed);
    }
    let admission = if is_listed(&context.proxies, address) {
        None
    } else {
        let Some(admission) = admit(&context, address) else { return };
        Some(admission)
    };
    let counted = metrics::gauge!("tacdrop_connections", "transport" => "http");
    counted.increment(1.0);
    serve_admitted(socket, address, admission, tls, router, context).await;
    counted.decrement(1.0);
}

async fn serve_admitted(
    socket: TcpStream,
    address: IpAddr,
    admission: Option<Arc<Admission>>,
    tls: Tls,
    router: Router,
    context: Arc<DoorContext>,
) {
    if socket.set_nodelay(true).is_err() {
        return context.strangers.went(address);
    }
    let socket = match tls {
        None => Socket::Plain(socket),
        Some(config) => {
            let acceptor = TlsAcceptor::from(Arc::clone(&config.borrow()));
            match timeout(HEAD_PATIENCE, acceptor.accept(socket)).await {
                Ok(Ok(socket)) => Socket::Tls(Box::new(socket)),
                _ => return context.strangers.went(address),
            }
        }
    };
    if let Some(admission) = &admission {
        admission.reached(Stage::Named);
    }
    let connection = Arc::new(Connection {
        address,
        admission,
        asked: AtomicBool::new(false),
        failures: AtomicU32::new(0),
        parting: context.closing.child_token(),
    });
    let moved = Moved::now();
    let io = TokioIo::new(Watched { socket, moved: moved.clone() });
    let routes = TowerToHyperService::new(router);
    let service = {
        let (connection, context) = (Arc::clone(&connection), Arc::clone(&context));
        service_fn(move |mut request: Request<Incoming>| {
            connection.asked.store(true, Relaxed);
            request.extensions_mut().insert(Arc::clone(&connection));
            request.extensions_mut().insert(Arc::clone(&context));
            routes.call(request)
        })
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(LONGEST_HEAD.max(64 << 10))
        .max_headers(MOST_FIELDS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(LONGEST_HEAD as u32)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    let serving = builder.serve_connection(io, service);
    tokio::pin!(serving);
    let began = Instant::now();
    let mut looking = interval(LOOK);
    looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_parting = false;
    loop {
        tokio::select! {
            outcome = serving.as_mut() => {
                if let Err(error) = outcome {
                    tracing::debug!(from = %address, %error, "an HTTP connection ended early");
                }
                break;
            }
            () = connection.parting.cancelled(), if !is_parting => {
                is_parting = true;
                serving.as_mut().graceful_shutdown();
            }
            () = context.ending.cancelled() => break,
            () = displaced(connection.admission.as_deref()) => break,
            _ = looking.tick() => {
                let is_late = !connection.asked.load(Relaxed) && began.elapsed() > HEAD_PATIENCE;
                if is_late || moved.idle() > context.limits.stall {
                    break;
                }
            }
        }
    }
    if connection.admission.as_ref().is_some_and(|admission| !admission.is_authenticated()) {
        context.strangers.went(address);
    }
}

/// Waits until the connection must make room for another one.
async fn displaced(admission: Option<&Admission>) {
    match admission {
        Some(admission) => admission.displaced().await,
        None => std::future::pending().await,
    }
}
