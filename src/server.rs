//! Wires the rooms together: opens the data directory, starts the door and the workers, and stops
//! them in the order in which nothing is lost.

mod host_key;
mod http;
mod legacy;
mod metrics;
mod recorder;
mod supervisor;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use host_key::{host_key, legacy_host_key};
use http::Http;
use legacy::Legacy;
use metrics::Metrics;

use crate::admission::{AdmissionControl, AdmissionLimits};
use crate::app::{App, DataDirectory, Notices, PublicAddress};
use crate::config::{self, Config};
use crate::mail::{self, AnyMailer, Sender, Smtp, Spool};
use crate::model::audit::Actor;
use crate::notices::dispatcher::{self, Dispatcher, Waker};
use crate::ssh;

/// How often objects that nobody needs are removed.
const SWEEP: Duration = Duration::from_secs(300);
/// How often is looked for what has expired.
const EXPIRE: Duration = Duration::from_secs(60);
/// How often is looked for tickets whose time is over by the policy.
const RETAIN: Duration = Duration::from_secs(3600);
/// How often work that takes long says how far it is.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Why the server does not start, as a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be used.
    #[error("{0}")]
    Share(#[from] crate::app::Error),
    /// The SSH door does not open.
    #[error("{0}")]
    Door(#[from] ssh::Error),
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on: {source}; choose another one with {setting}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// The setting that says so.
        setting: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// A setting cannot be used.
    #[error("{0}")]
    Setting(String),
    /// The host key is not the one that clients know.
    #[error("{0}")]
    HostKey(String),
    /// The system refused something that every server needs.
    #[error("the server cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// What is known once the server takes connections.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The address that is listened on.
    pub address: SocketAddr,
    /// The address of the HTTP door, if it is open.
    pub http: Option<SocketAddr>,
    /// The host key's fingerprint.
    pub fingerprint: String,
}

/// How far threads that hash and seal stand behind those that answer: a third of their weight. Much
/// less would keep everybody waiting who wants to write to the records, as these threads have the
/// turn now and then, and leave more in the sockets of lines that are cut, which is lost with them.
#[cfg(target_os = "linux")]
const BEHIND: i32 = 5;

/// Serves the data directory until `stop`, then drains. `ready` is called when connections are
/// taken. Blocks.
///
/// # Errors
/// [`Error`] if it cannot start. Once it serves, it ends without an error.
pub fn serve(
    data: DataDirectory,
    config: &Config,
    stop: &CancellationToken,
    ready: impl FnOnce(&Ready),
) -> Result<(), Error> {
    // Connections have threads of their own (`ssh`). Sealing and hashing keep a runtime busy for a
    // millisecond or two at a time, so what must answer quickly - logins, notices, signals - runs
    // on another one.
    let worker_runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("worker")
        .max_blocking_threads(32)
        .on_thread_start(step_back)
        .enable_all()
        .build()?;
    let control_runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("control").enable_all().build()?;
    let outcome = control_runtime.block_on(run(data, config, worker_runtime.handle().clone(), stop, ready));
    worker_runtime.shutdown_timeout(Duration::from_secs(10));
    control_runtime.shutdown_timeout(Duration::from_secs(10));
    outcome
}

/// Hashing and sealing take all processors that there are when uploads outrun them. By this the
/// threads that answer get theirs first: a listing is a fraction of a millisecond's work. On Linux
/// niceness belongs to the thread, elsewhere to the process, which would gain nothing. Who may not
/// change it goes on as before.
fn step_back() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(BEHIND);
}

async fn run(
    data: DataDirectory,
    config: &Config,
    worker_runtime: tokio::runtime::Handle,
    stop: &CancellationToken,
    ready: impl FnOnce(&Ready),
) -> Result<(), Error> {
    let metrics = match config.metrics.listen {
        Some(address) => Some(Metrics::open(address).await?),
        None => None,
    };
    let waker = Waker::new();
    let wake = waker.clone();
    let app = App::serve(data, share_settings(config), worker_runtime, Box::new(move || wake.wake())).await?;
    let host_key = match host_key(&app).await {
        Ok(key) => key,
        Err(error) => {
            app.close().await;
            return Err(error);
        }
    };
    let address = config.server.listen;
    let listener = bind(address, "server.listen").await?;
    let bound = listener.local_addr()?;
    let (host, port) = config.server.public_address(bound);
    let public = PublicAddress { host, port };
    app.set_public_address(&public).await?;
    let legacy = Legacy::open(config, &app).await?;
    let http = Http::open(config).await?;

    let (dispatcher_stop, watch_stop) = (CancellationToken::new(), CancellationToken::new());
    let workers = TaskTracker::new();
    let dispatcher = dispatcher(&app, config, &public, waker)?;
    workers.spawn(dispatcher.run(dispatcher_stop.clone()));
    let watcher = app.clone();
    let stop_watching = watch_stop.clone();
    workers.spawn(async move { watcher.logins().watch(stop_watching).await });
    let asked = app.clone();
    let stop_answering = watch_stop.clone();
    workers.spawn(async move { asked.access().answer_who(stop_answering).await });
    let timekeeper = app.clone();
    let stop_keeping = watch_stop.clone();
    workers.spawn(async move { timekeeper.keep_house_time(stop_keeping).await });
    let checker = app.clone();
    let stop_checking = watch_stop.clone();
    workers.spawn(async move { checker.check_sender_digests(stop_checking).await });
    workers.spawn(sweep(app.clone(), watch_stop.clone()));
    let scanner = app.clone();
    let stop_scanning = watch_stop.clone();
    workers.spawn(async move { scanner.integrity().scan_daily(stop_scanning).await });
    workers.spawn(expire(app.clone(), watch_stop.clone()));
    if config.policy.rules.is_some() {
        workers.spawn(retain(app.clone(), watch_stop.clone()));
    }
    workers.spawn(reseal(app.clone(), watch_stop.clone()));

    let fingerprint = ssh::fingerprint(&host_key);
    let limits = door_limits(config);
    let admissions = AdmissionControl::new(limits.admissions);
    let door_settings = ssh::Settings {
        profile: ssh::Profile::Modern,
        host_keys: vec![host_key],
        limits,
        words: door_words(config),
        admissions: admissions.clone(),
    };
    let door = ssh::start(listener, door_settings, Arc::clone(app.access()))?;
    if let Some(metrics) = metrics {
        let sources = metrics::Sources { app: app.clone(), main: door.gauge() };
        workers.spawn(metrics.serve(sources, watch_stop.clone()));
    }
    let legacy = legacy.map(|legacy| legacy.start(config, &app)).transpose()?;
    let http = http.map(|http| http.start(config, &app, admissions, &watch_stop)).transpose()?;
    let http_address = http.as_ref().map(|(_, address)| *address);
    workers.spawn(supervisor::keep_alive(app.clone(), watch_stop.clone()));
    tracing::info!("listening on {bound}");
    if let Some(address) = http_address {
        tracing::info!("http listening on {address}");
    }
    supervisor::ready();
    ready(&Ready { address: bound, http: http_address, fingerprint });

    stop.cancelled().await;
    tracing::info!(uploads = app.open_uploads(), "draining: uploads under way may finish");
    let patience = Duration::from_secs(config.server.drain_seconds);
    supervisor::stopping(patience);
    app.drain();
    let old_devices = async {
        match legacy {
            Some(door) => door.drain(patience).await,
            None => 0,
        }
    };
    let by_http = async {
        match http {
            Some((door, _)) => door.drain(patience).await,
            None => 0,
        }
    };
    let (cut, of_devices, by_http) = tokio::join!(door.drain(patience), old_devices, by_http);
    let cut = cut + of_devices + by_http;
    if cut > 0 {
        tracing::warn!(cut, "uploads were cut; their senders can continue them");
    }
    watch_stop.cancel();
    dispatcher_stop.cancel();
    workers.close();
    workers.wait().await;
    app.close().await;
    tracing::info!("stopped");
    Ok(())
}

async fn bind(address: SocketAddr, setting: &'static str) -> Result<TcpListener, Error> {
    ssh::bind(address).await.map_err(|source| Error::Listen { address, setting, source })
}

/// Removes objects that nobody needs any more.
async fn sweep(app: App, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(SWEEP)).await.is_some() {
        match app.retention().sweep(&Actor::Server).await {
            Ok(swept) if swept.objects == 0 => {}
            Ok(swept) => tracing::info!(removed = swept.objects, swept.bytes, "objects that nobody needs were removed"),
            Err(error) => tracing::warn!(%error, "objects that nobody needs could not be removed"),
        }
    }
}

/// Seals manifests again that an older tacdrop sealed.
async fn reseal(app: App, stop: CancellationToken) {
    let (mut said, mut is_news) = (Instant::now(), true);
    let progress = |done: u64, all: u64| {
        if all > 0 && (is_news || said.elapsed() >= SAY_AGAIN) {
            tracing::info!(done, all, "manifests of an older form are sealed again");
            (said, is_news) = (Instant::now(), false);
        }
    };
    match app.integrity().reseal(&stop, progress).await {
        Ok(done) if done.versions + done.left == 0 => {}
        Ok(done) => tracing::info!(done.versions, done.left, "manifests of an older form were sealed again"),
        Err(error) => tracing::warn!(%error, "manifests could not be sealed again; the next start goes on with it"),
    }
}

/// Removes what has expired: unfinished uploads, and the keys of files that were withdrawn. At once
/// after a start, too.
async fn expire(app: App, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let more = match app.retention().expire().await {
            Ok(expired) => {
                if expired.any() {
                    tracing::info!(
                        warned = expired.warned,
                        unfinished = expired.unfinished,
                        withdrawn = expired.withdrawn,
                        "looked for what has expired"
                    );
                }
                expired.more
            }
            Err(error) => {
                tracing::warn!(%error, "what has expired could not be removed; it is tried again in a minute");
                false
            }
        };
        if !more {
            stop.run_until_cancelled(tokio::time::sleep(EXPIRE)).await;
        }
    }
}

/// Shreds tickets whose time is over by the policy. At once after a start, too.
async fn retain(app: App, stop: CancellationToken) {
    while !stop.is_cancelled() {
        // A step that is cut is ended by whoever comes next.
        match stop.run_until_cancelled(app.retention().run_retention(false, &Actor::Server)).await {
            Some(Ok(run)) => {
                for failure in &run.failed {
                    tracing::error!(
                        ticket = failure.ticket,
                        why = failure.why,
                        "a ticket that is due was not shredded"
                    );
                }
            }
            Some(Err(error)) => tracing::error!(%error, "no ticket was shredded by the policy"),
            None => return,
        }
        stop.run_until_cancelled(tokio::time::sleep(RETAIN)).await;
    }
}

fn dispatcher(
    app: &App,
    config: &Config,
    public: &PublicAddress,
    waker: Waker,
) -> Result<Dispatcher<Notices, AnyMailer>, Error> {
    let notify = &config.notify;
    let (mailer, sender, delivery_timeout) = match &notify.smtp {
        Some(smtp) => {
            let mailer = Smtp::new(smtp_settings(smtp)?).map_err(Error::Setting)?;
            let sender =
                Sender::new(&smtp.from).map_err(|error| Error::Setting(format!("notify.smtp.from: {error}")))?;
            let longest = mailer.longest_delivery();
            (AnyMailer::Mail(Box::new(mailer)), sender, longest)
        }
        None => {
            let directory = notify.spool.clone().unwrap_or_else(|| app.data().notices());
            let sender =
                Sender::local(&public.host).map_err(|error| Error::Setting(format!("server.public_host: {error}")))?;
            (AnyMailer::Spool(Spool::new(directory)), sender, Duration::from_secs(60))
        }
    };
    let settings = dispatcher::Settings {
        sender,
        give_up_after: Duration::from_secs(notify.give_up_hours.saturating_mul(3600)),
        delivery_timeout,
    };
    Ok(Dispatcher::new(Arc::clone(app.notices()), mailer, waker, settings))
}

fn smtp_settings(smtp: &config::SmtpServer) -> Result<mail::SmtpSettings, Error> {
    let login = match (&smtp.user, &smtp.password) {
        (Some(user), Some(password)) => {
            let password = password.read().map_err(|error| Error::Setting(error.to_string()))?;
            Some(mail::Login { user: user.clone(), password })
        }
        _ => None,
    };
    Ok(mail::SmtpSettings {
        host: smtp.host.clone(),
        port: smtp.port,
        tls: match smtp.tls {
            config::SmtpTls::None => mail::Tls::None,
            config::SmtpTls::StartTls => mail::Tls::StartTls,
            config::SmtpTls::Tls => mail::Tls::Implicit,
        },
        login,
        helo: smtp.helo.clone(),
        timeout: Duration::from_secs(smtp.timeout_seconds),
    })
}

/// The share's settings as the configuration has them. Commands open the data directory with the
/// same ones.
pub fn share_settings(config: &Config) -> crate::app::Settings {
    let bytes = |mib: u64| usize::try_from(mib << 20).unwrap_or(usize::MAX);
    crate::app::Settings {
        extent_bytes: config.storage.extent_mib << 20,
        checkpoint: Duration::from_secs(config.storage.checkpoint_seconds),
        inline_bytes: usize::try_from(config.storage.inline_kib << 10).unwrap_or(64 << 10),
        names_per_share: config.limits.names_per_share,
        name_changes_per_day: config.limits.name_changes_per_day,
        file_bytes: config.limits.file_gib << 30,
        share_bytes: config.limits.share_gib << 30,
        session_buffer: bytes(config.limits.buffered_plaintext_mib_per_session),
        total_buffer: bytes(config.limits.buffered_plaintext_mib),
        read_ahead: bytes(config.limits.read_ahead_mib),
        reserve_percent: config.storage.reserve_percent,
        reserve_bytes: config.storage.reserve_mib << 20,
        settle: Duration::from_secs(config.notify.settle_seconds),
        settle_max: Duration::from_secs(config.notify.settle_max_seconds),
        quarantine: Duration::from_secs(config.storage.quarantine_days.saturating_mul(86_400)),
        temporary_names: config.notify.temporary_names.clone(),
        temporary_settle: Duration::from_secs(config.notify.temporary_settle_seconds),
        unfinished: Duration::from_secs(config.storage.unfinished_days.saturating_mul(24 * 3600)),
        warn: Duration::from_secs(config.storage.warn_hours.saturating_mul(3600)),
        withdrawn: Duration::from_secs(config.storage.withdrawn_hours.saturating_mul(3600)),
        token_validity: Duration::from_secs(config.tickets.token_validity_days.saturating_mul(86_400)),
        hide_closed: config.tickets.hide_closed,
        also_digests: config.digests.also.clone(),
        kek: config.keys.kek.as_ref().map(|key| key.file.clone()),
        policy: config.policy.rules.clone(),
    }
}

fn door_words(config: &Config) -> ssh::Words {
    let lines = &config.server.banner;
    // RFC 4252, section 5.4: lines end with CR LF.
    let banner = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
    ssh::Words { banner: Some(banner.into()).filter(|_| !lines.is_empty()), remarks: config.server.remarks }
}

fn door_limits(config: &Config) -> ssh::Limits {
    let (limits, defaults) = (&config.limits, ssh::Limits::default());
    ssh::Limits {
        admissions: AdmissionLimits {
            unauthenticated: limits.unauthenticated_connections,
            unauthenticated_per_source: limits.unauthenticated_per_source,
            per_source: limits.connections_per_source,
            ..defaults.admissions
        },
        login_grace: Duration::from_secs(limits.login_grace_seconds),
        failures: limits.failures_per_connection,
        key_probes: limits.key_probes,
        rejection_delay: Duration::from_millis(limits.rejection_milliseconds),
        channels: limits.channels_per_connection,
        sftp: crate::sftp::Limits { handles: limits.handles, ..defaults.sftp },
        stall: Duration::from_secs(limits.stalled_seconds),
        idle: Duration::from_secs(limits.idle_seconds),
        keepalive: Duration::from_secs(limits.keepalive_seconds),
        window: limits.window_kib << 10,
        window_most: limits.window_most_kib << 10,
        windows: limits.windows_mib << 20,
        rekey_bytes: usize::try_from(limits.rekey_mib << 20).unwrap_or(defaults.rekey_bytes),
        shards: match config.server.connection_threads {
            0 => defaults.shards,
            threads => threads,
        },
        ..defaults
    }
}
