//! `tacdrop serve`: the process around the server: its log, its limits, and the signals that end
//! it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Desk;
use super::failure::Failure;
use crate::config::{Log, LogFormat, LogLevel};
use crate::server;

/// What `--json` says when connections are taken.
#[derive(Serialize)]
struct Listening {
    listening: String,
}

pub(crate) fn run(desk: &Desk) -> Result<(), Failure> {
    desk.config.check_secrets()?;
    start_log(&desk.config.log);
    limit_process()?;
    let stop = CancellationToken::new();
    watch_signals(stop.clone())?;
    let output = desk.output;
    server::serve(desk.data.clone(), &desk.config, &stop, |ready| {
        if output.is_json()
            && let Err(failure) = output.json(&Listening { listening: ready.address.to_string() })
        {
            tracing::warn!(error = failure.sentence(), "nobody was told the address");
        }
    })?;
    Ok(())
}

/// Log lines go to standard error. What is logged is said by the settings alone: `RUST_LOG` could
/// switch lines on that quote clients.
fn start_log(log: &Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("tacdrop", level)
        // It names users as they were typed, and quotes requests (`ssh`).
        .with_target("russh", LevelFilter::ERROR)
        // There it tells of strangers' mistakes, as many as they make.
        .with_target("russh::server::kex", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(targets);
    // An error means that there is a log already, which only a test could have.
    let _ = match log.format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(lines.with_ansi(colours)).try_init()
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
}

/// No core dumps: they would hold keys and plaintext (R13). And as many descriptors as the system
/// allows: each connection and each upload has some.
fn limit_process() -> Result<(), Failure> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)
        .map_err(|error| Failure::new(format!("core dumps cannot be switched off: {error}")))?;
    let descriptors = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: descriptors.maximum, maximum: descriptors.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the number of file descriptors could not be raised");
    }
    Ok(())
}

/// The first SIGTERM or SIGINT drains, the second one ends the process at once.
fn watch_signals(stop: CancellationToken) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before the server starts, so that no signal is lost.
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let watch = async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        stop.cancel();
        next().await;
        tracing::warn!("a second signal: stopping at once; uploads are cut, and their senders can continue them");
        #[expect(clippy::exit, reason = "whoever signals twice does not want to wait for the doors")]
        std::process::exit(1);
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(watch))?;
    Ok(())
}
