//! What the service manager is told, where one started the server and asks for it
//! (`sd_notify(3)`, `Type=notify`): that connections are taken, that the server drains, and now and
//! then that it still works.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// Says that connections are taken.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Says that the server drains, for this long at most. The manager waits for it.
pub(super) fn stopping(patience: Duration) {
    // The manager's own time-out may be shorter.
    let micros = u32::try_from((patience + LAST).as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
}

/// What ends behind the doors is given so long.
const LAST: Duration = Duration::from_secs(30);

/// Says that the server still works, twice as often as the manager asks for, as long as the records
/// answer: whoever cannot ask them can neither log in nor finish an upload. A manager that hears
/// nothing starts the server anew.
pub(super) async fn keep_alive(app: App, stop: CancellationToken) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let pause = period / 2;
    while !stop.is_cancelled() {
        match tokio::time::timeout(pause, app.public_address()).await {
            Ok(Ok(_)) => tell(&[NotifyState::Watchdog]),
            Ok(Err(error)) => {
                tracing::error!(%error, "the records do not answer; the service manager is not told that all is well")
            }
            Err(_) => {
                tracing::error!("the records do not answer in time; the service manager is not told that all is well")
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// Nobody listens where no manager started the server.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told how the server is");
    }
}
