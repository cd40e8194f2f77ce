//! House time: how long a server has run on this data directory. Whatever is removed after a time
//! is removed after this time, so that neither a clock that jumps nor a server that stood still
//! takes anything away early.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::model::HouseTime;
use crate::records::{Records, RecordsError, facts};
use crate::repo::{Error, Repo};

/// The fact that holds it.
const HOUSE_TIME: &str = "house_time";
/// How often it is written down: as much is lost at most when the server is killed, and as far a
/// command is behind.
const KEPT_EVERY: Duration = Duration::from_secs(30);

/// The clock of a data directory.
#[derive(Debug)]
pub(crate) struct HouseClock {
    base: HouseTime,
    /// Since when it runs; for a command it stands still.
    running: Option<Instant>,
    /// By how many milliseconds a test has moved it.
    #[cfg(test)]
    ahead: std::sync::atomic::AtomicU64,
    /// How far the clock that tests move was ahead at the start: what it is moved while a server runs
    /// is as if that had run for so long.
    #[cfg(feature = "test-clock")]
    shift: i64,
}

impl HouseClock {
    /// Goes on where it was last written down. It runs only for the server.
    pub(crate) async fn open(records: &Records, serve: bool) -> Result<Self, RecordsError> {
        let text = facts::fact(&mut *records.read().await?, HOUSE_TIME).await?;
        let base = text.and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Self {
            base: HouseTime::from_millis(base),
            running: serve.then(Instant::now),
            #[cfg(test)]
            ahead: std::sync::atomic::AtomicU64::new(0),
            #[cfg(feature = "test-clock")]
            shift: crate::model::test_clock::shift(),
        })
    }

    pub(crate) fn now(&self) -> HouseTime {
        let now = self.base.plus(self.running.map_or(Duration::ZERO, |since| since.elapsed()));
        #[cfg(feature = "test-clock")]
        let now = match self.running {
            Some(_) => now.plus(Duration::from_millis(
                u64::try_from(crate::model::test_clock::shift().saturating_sub(self.shift)).unwrap_or(0),
            )),
            None => now,
        };
        #[cfg(test)]
        let now = now.plus(Duration::from_millis(self.ahead.load(std::sync::atomic::Ordering::SeqCst)));
        now
    }

    /// A moment that is not before the server's now: a command is behind it by as much as the
    /// server has not written down. What a command begins must not end early for that.
    pub(crate) fn not_before_now(&self) -> HouseTime {
        if self.running.is_some() { self.now() } else { self.now().plus(KEPT_EVERY) }
    }

    /// Lets it be later by `time`.
    #[cfg(test)]
    pub(crate) fn advance(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap();
        self.ahead.fetch_add(millis, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Repo {
    /// Writes house time down every now and then, until `stop`.
    pub(crate) async fn keep_house_time(&self, stop: CancellationToken) {
        loop {
            let last = stop.run_until_cancelled(tokio::time::sleep(KEPT_EVERY)).await.is_none();
            if let Err(error) = self.write_house_time().await {
                tracing::warn!(%error, "the time that the server has run could not be written down");
            }
            if last {
                return;
            }
        }
    }

    /// Writes house time down: from now on it does not fall behind this moment.
    pub(crate) async fn write_house_time(&self) -> Result<(), Error> {
        let mut tx = self.records.begin().await?;
        facts::set_fact(tx.conn(), HOUSE_TIME, &self.clock.now().millis().to_string()).await?;
        Ok(tx.commit().await?)
    }
}
