//! The figures that operators watch, as Prometheus' text over HTTP (`[metrics]`). Runs on
//! `control_runtime`, away from the connections. Counters are counted where things happen; what is
//! a state is read when somebody asks.
//!
//! No label holds a name, a reference or an address: who reads this learns nothing about customers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::recorder::PrometheusRecorder;
use crate::app::App;
use crate::http::{self, Text};
use crate::ssh;

/// Questions that are answered at once; more wait in the system's queue.
const AT_ONCE: usize = 4;
/// The longest that one of them may take, from the first byte to the last.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the listener rests after an error.
const REST: Duration = Duration::from_millis(200);
/// The listener, and what it tells.
pub(super) struct Metrics {
    listener: TcpListener,
    recorder: PrometheusRecorder,
}

/// Where the figures come from that are read when somebody asks.
pub(super) struct Sources {
    pub(super) app: App,
    pub(super) main: ssh::Gauge,
}

impl Metrics {
    /// Binds the address and begins to count. To be called before anything is opened that counts.
    pub(super) async fn open(address: SocketAddr) -> Result<Self, Error> {
        let setting = "metrics.listen";
        let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, setting, source })?;
        let recorder = PrometheusRecorder::default();
        if metrics::set_global_recorder(recorder.clone()).is_err() {
            return Err(Error::Setting("metrics are counted once in a process only".to_owned()));
        }
        describe();
        tracing::info!("metrics on {}", listener.local_addr()?);
        Ok(Self { listener, recorder })
    }

    /// Answers until `stop`.
    pub(super) async fn serve(self, sources: Sources, stop: CancellationToken) {
        let Self { listener, recorder } = self;
        let (sources, places) = (Arc::new(sources), Arc::new(Semaphore::new(AT_ONCE)));
        loop {
            let place = tokio::select! {
                () = stop.cancelled() => return,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let socket = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    Ok((socket, _)) => socket,
                    Err(_) => {
                        tokio::time::sleep(REST).await;
                        continue;
                    }
                },
            };
            let (recorder, sources) = (recorder.clone(), Arc::clone(&sources));
            tokio::spawn(async move {
                // Who does not ask, or does not listen, is let go.
                let answer = |method, path| answer(method, path, &recorder, &sources);
                let _ = timeout(PATIENCE, http::answer_one(socket, answer)).await;
                drop(place);
            });
        }
    }
}

async fn answer(method: Method, path: String, recorder: &PrometheusRecorder, sources: &Sources) -> Text {
    let plain = "text/plain; charset=utf-8";
    match (method, path.as_str()) {
        (Method::GET, "/metrics") => {
            look(sources).await;
            let content_type = "text/plain; version=0.0.4; charset=utf-8";
            Text { status: StatusCode::OK, content_type, text: recorder.text() }
        }
        (Method::GET, _) => {
            let text = "There is nothing but /metrics.\n".to_owned();
            Text { status: StatusCode::NOT_FOUND, content_type: plain, text }
        }
        _ => {
            let text = "Only GET is understood.\n".to_owned();
            Text { status: StatusCode::METHOD_NOT_ALLOWED, content_type: plain, text }
        }
    }
}

/// Reads what is a state.
async fn look(sources: &Sources) {
    let load = sources.app.load();
    gauge!("tacdrop_uploads_open").set(figure(load.uploads as u64));
    let door = sources.main.read();
    let uses = [
        ("upload_buffers", load.buffers),
        ("read_ahead", load.read_ahead),
        ("reading", door.reading),
        ("windows", door.windows),
    ];
    for (what, (used, most)) in uses {
        gauge!("tacdrop_budget_used_bytes", "budget" => what).set(figure(used));
        gauge!("tacdrop_budget_limit_bytes", "budget" => what).set(figure(most));
    }
    // Without the records the rest is told all the same.
    if let Ok(waiting) = sources.app.waiting_notices().await {
        gauge!("tacdrop_notices_waiting").set(figure(waiting));
    }
}

fn figure(number: u64) -> f64 {
    number as f64
}

fn describe() {
    describe_gauge!("tacdrop_connections", "Connections that are open, by listener.");
    describe_gauge!("tacdrop_logged_in_connections", "Those of them that have logged in.");
    describe_counter!("tacdrop_connections_refused_total", "Connections that were closed at once, by reason.");
    describe_counter!("tacdrop_received_bytes_total", "Bytes that came in over SSH, protocol included.");
    describe_counter!("tacdrop_sent_bytes_total", "Bytes that went out over SSH, protocol included.");
    describe_gauge!("tacdrop_uploads_open", "Uploads under way.");
    describe_counter!("tacdrop_uploads_begun_total", "Uploads that were begun or continued.");
    describe_counter!("tacdrop_uploads_ended_total", "Uploads that ended: published, cut or unchanged.");
    describe_histogram!("tacdrop_close_seconds", "How long clients waited for a CLOSE of an upload.");
    describe_histogram!(
        "tacdrop_buffer_wait_seconds",
        "How long uploads were held back for want of a buffer, each time."
    );
    describe_gauge!("tacdrop_budget_used_bytes", "What is given away of a budget.");
    describe_gauge!("tacdrop_budget_limit_bytes", "What there is of a budget.");
    describe_counter!("tacdrop_commits_total", "Commits of the records, each of which waits for the disk.");
    describe_counter!("tacdrop_transactions_total", "Transactions that these commits made durable.");
    describe_gauge!("tacdrop_notices_waiting", "Notices that are still to be delivered.");
    describe_counter!("tacdrop_notice_tries_total", "Tries to deliver a notice: delivered, put_off or given_up.");
}
