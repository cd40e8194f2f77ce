//! One connection from its first byte to its last. The listener's shards run it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::server::{Config, run_stream};
use russh::{Disconnect, Error};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use super::greeter::{Arrival, GREETING, KexCost, KexPermit};
use super::handler::ConnectionHandler;
use super::shared::ConnectionShared;
use super::stream::Stream;
use super::traffic::{self, Traffic};
use super::window::Pool;
use super::{Limits, Words};
use crate::access::{Access, Login};
use crate::admission::{Admission, Rejected, Stage, StrangerLog};
use crate::model::Transport;
use crate::sftp;

/// What every connection of a door is given.
pub(crate) struct DoorContext {
    pub(crate) config: Arc<Config>,
    /// Of the thread for key exchanges that cost much.
    pub(crate) costly: Arc<Config>,
    pub(crate) access: Arc<Access>,
    pub(crate) common: sftp::Common,
    pub(crate) limits: Limits,
    /// What windows may grow by, all connections together.
    pub(crate) windows: Pool,
    pub(crate) words: Words,
    pub(crate) traffic: Traffic,
    pub(crate) strangers: StrangerLog,
    /// Of the listener that takes the connections.
    pub(crate) transport: Transport,
    /// Cancelled when every connection is to end.
    pub(crate) closing: CancellationToken,
}

impl DoorContext {
    /// A connection is not taken: for metrics and for the log.
    pub(super) fn rejected(&self, address: IpAddr, why: Rejected) {
        traffic::rejected(self.transport, why);
        self.strangers.rejected(address, why);
    }
}

/// Why this side ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum EndReason {
    #[error("no login in time")]
    Grace,
    #[error("another connection needs its place")]
    Displaced,
    #[error("the login ended")]
    LoginEnded,
    #[error("the server shuts down")]
    Closing,
    #[error(transparent)]
    TimeoutReason(#[from] super::activity::TimeoutReason),
}

/// Serves a connection until it ends.
pub(super) async fn serve(socket: TcpStream, arrival: Arrival, context: Arc<DoorContext>) {
    let Arrival { address, admission, mut permit, ahead, way, counted: _counted } = arrival;
    permit.iter_mut().for_each(|permit| permit.is_used(true));
    let activity = Arc::new(Activity::new(context.traffic.clone()));
    let shared = Arc::new(ConnectionShared::new(address, context.transport, Arc::clone(&activity)));

    let stream = Stream::new(socket, Arc::clone(&activity), &shared.end).greeted(
        GREETING.len(),
        ahead,
        Arc::clone(&admission),
        said_before_login(&context),
    );
    let handler = ConnectionHandler::new(&context, Arc::clone(&shared), Arc::clone(&admission));
    let config = match way {
        KexCost::Usual => Arc::clone(&context.config),
        KexCost::Costly => Arc::clone(&context.costly),
    };
    let outcome = run(stream, handler, config, &shared, &admission, permit, &context).await;
    // Whatever still waits for the stream must not.
    shared.end.cancel();

    match outcome {
        Ok(()) | Err(Error::Disconnect | Error::HUP) => {}
        // Most clients just vanish when they are done.
        Err(Error::IO(error)) => tracing::debug!(from = %address, kind = ?error.kind(), "the stream ended early"),
        // Shown as Debug: some of these hold text from the client, which is escaped that way.
        Err(error) => tracing::debug!(from = %address, ?error, "the session failed"),
    }
    let (received, sent) = activity.totals();
    let user = shared.login.get().map(|login| login.user().as_str());
    if shared.is_logged() {
        tracing::info!(from = %address, user, received, sent, seconds = activity.age().as_secs(), "connection closed");
    } else {
        context.strangers.went(address.ip());
    }
}

async fn run(
    stream: Stream<TcpStream>,
    handler: ConnectionHandler,
    config: Arc<Config>,
    shared: &Arc<ConnectionShared>,
    admission: &Admission,
    permit: Option<KexPermit>,
    context: &DoorContext,
) -> Result<(), Error> {
    let watching = watch(shared, admission, permit, context);
    tokio::pin!(watching);
    let mut session = tokio::select! {
        session = run_stream(config, stream, handler) => session?,
        ending = &mut watching => {
            tracing::debug!(from = %shared.from, %ending, "ended before the first packet");
            return Ok(());
        }
    };
    // Nothing was awaited since russh spawned the session on this very thread: it has not run yet.
    let _ = shared.handle.set(session.handle());
    let ending = tokio::select! {
        outcome = &mut session => return outcome,
        ending = &mut watching => ending,
    };
    // A stranger's end is one of many.
    if shared.is_logged() {
        tracing::info!(from = %shared.from, %ending, "disconnecting");
    }
    match ending {
        EndReason::Grace | EndReason::Displaced => shared.end.cancel(),
        EndReason::LoginEnded => shared.disconnect(Disconnect::ByApplication, "This login is no longer valid."),
        EndReason::Closing => {
            shared.disconnect(Disconnect::ByApplication, "The server restarts. Connect again in a minute.")
        }
        EndReason::TimeoutReason(_) => shared.disconnect(Disconnect::ByApplication, "Nothing happened for too long."),
    }
    session.await
}

/// Waits until there is a reason to end the connection.
async fn watch(
    shared: &ConnectionShared,
    admission: &Admission,
    permit: Option<KexPermit>,
    context: &DoorContext,
) -> EndReason {
    let limits = &context.limits;
    tokio::select! {
        () = shared.logged_in.cancelled() => {}
        () = out_of_time(shared, admission, limits.login_grace) => return EndReason::Grace,
        () = admission.displaced() => return EndReason::Displaced,
        () = context.closing.cancelled() => return EndReason::Closing,
    }
    // A login gives the permit back.
    if let Some(mut permit) = permit {
        permit.is_used(false);
    }
    // A login is there, or `logged_in` were not cancelled.
    let ended = shared.login.get().map(Login::ended).unwrap_or_default();
    let mut looking = interval((limits.stall.min(limits.idle) / 8).clamp(MIN_LOOK, MAX_LOOK));
    looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ended.cancelled() => return EndReason::LoginEnded,
            () = context.closing.cancelled() => return EndReason::Closing,
            _ = looking.tick() => {
                if let Some(still) = shared.activity.timed_out(limits.stall, limits.idle) {
                    return still.into();
                }
            }
        }
    }
}

/// Waits until a client has had its time to log in. Programs have to go on by themselves sooner
/// than people.
async fn out_of_time(shared: &ConnectionShared, admission: &Admission, grace: Duration) {
    sleep((grace / 2).saturating_sub(shared.activity.age())).await;
    if !admission.has_reached(Stage::Answering) {
        return;
    }
    sleep(grace.saturating_sub(shared.activity.age())).await;
}

/// How long a client has for its version line.
pub(super) fn time_for_version(grace: Duration) -> Duration {
    (grace / 8).max(SHORTEST_GRACE).min(grace)
}

/// What this side says at most before a login, in bytes: keys are agreed on once and refusals are
/// short. A client could ask for new keys over and over, which cost this side more than it.
fn said_before_login(context: &DoorContext) -> u64 {
    (8 << 10) + context.words.banner.as_ref().map_or(0, |banner| banner.len() as u64)
}

const SHORTEST_GRACE: Duration = Duration::from_secs(10);
/// How often, at most and at least, a connection is looked at for signs of life.
const MIN_LOOK: Duration = Duration::from_millis(50);
const MAX_LOOK: Duration = Duration::from_secs(10);
