//! The dispatcher's clock: the machine's, or in tests one that passes only when it is told to, so
//! that three days of retries take no time. (tokio's own paused clock is a feature of the whole
//! build; it would compile every dependency a second time for the tests.)

use std::future::Future;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::model::Time;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

#[derive(Clone)]
pub(super) enum Clock {
    Machine,
    #[cfg(test)]
    Virtual(std::sync::Arc<virtual_clock::Virtual>),
}

impl Clock {
    pub(super) fn now(&self) -> Time {
        match self {
            Self::Machine => Time::now(),
            #[cfg(test)]
            Self::Virtual(time) => time.now(),
        }
    }

    /// The time that passed since some moment, whatever the wall clock says.
    pub(super) fn passed(&self) -> Duration {
        match self {
            Self::Machine => STARTED.elapsed(),
            #[cfg(test)]
            Self::Virtual(time) => time.passed(),
        }
    }

    pub(super) async fn sleep(&self, duration: Duration) {
        match self {
            Self::Machine => tokio::time::sleep(duration).await,
            #[cfg(test)]
            Self::Virtual(time) => time.sleep(duration).await,
        }
    }

    /// Lets what is queued in quick succession come together. In tests it has come already.
    pub(super) async fn gather(&self, duration: Duration) {
        match self {
            Self::Machine => tokio::time::sleep(duration).await,
            #[cfg(test)]
            Self::Virtual(_) => {}
        }
    }

    /// What `work` comes to, or `None` when it takes longer than `limit`.
    pub(super) async fn limit<F: Future>(&self, limit: Duration, work: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = work => Some(output),
            () = self.sleep(limit) => None,
        }
    }
}

/// The wall clock beside the time that really passed.
pub(super) struct WallClock {
    wall: Time,
    passed: Duration,
}

impl WallClock {
    /// A clock goes back by less than this when it is only trimmed.
    const TRIMMED: Duration = Duration::from_secs(1);

    pub(super) fn new(clock: &Clock) -> Self {
        Self { wall: clock.now(), passed: clock.passed() }
    }

    /// By how much the wall clock has gone back against the time that passed since the last note;
    /// none: it has not. Where it went ahead, that is taken note of: what waits is due earlier
    /// then, which harms nobody.
    pub(super) fn went_back(&mut self, clock: &Clock) -> Option<Duration> {
        let expected = self.wall.plus(clock.passed().saturating_sub(self.passed));
        let ahead = clock.now().millis().saturating_sub(expected.millis());
        if ahead > 0 {
            self.take_note(clock);
        }
        let back = Duration::from_millis(ahead.min(0).unsigned_abs());
        (back >= Self::TRIMMED).then_some(back)
    }

    /// From now on the wall clock is right as it is.
    pub(super) fn take_note(&mut self, clock: &Clock) {
        *self = Self::new(clock);
    }
}

#[cfg(test)]
pub(super) mod virtual_clock {
    use std::sync::Mutex;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use crate::model::Time;

    /// Time that stands still until [`Virtual::pass`]. For one test on a current-thread runtime.
    pub(in crate::notices) struct Virtual {
        now: Mutex<Time>,
        /// By how much the wall clock was set back.
        back: Mutex<Duration>,
        sleepers: Mutex<Vec<(Time, oneshot::Sender<()>)>>,
    }

    impl Virtual {
        pub(in crate::notices) fn at(now: Time) -> Self {
            Self { now: Mutex::new(now), back: Mutex::default(), sleepers: Mutex::default() }
        }

        pub(in crate::notices) fn now(&self) -> Time {
            self.true_now().minus(*self.back.lock().unwrap())
        }

        fn true_now(&self) -> Time {
            *self.now.lock().unwrap()
        }

        pub(in crate::notices) fn passed(&self) -> Duration {
            Duration::from_millis(self.true_now().millis().unsigned_abs())
        }

        /// Sets the wall clock back.
        pub(in crate::notices) fn set_back(&self, by: Duration) {
            *self.back.lock().unwrap() += by;
        }

        pub(in crate::notices) async fn sleep(&self, duration: Duration) {
            let (wake, woken) = oneshot::channel();
            self.sleepers.lock().unwrap().push((self.true_now().plus(duration), wake));
            let _ = woken.await;
        }

        /// Lets time pass, waking each sleeper at its moment and letting everybody run in between.
        pub(in crate::notices) async fn pass(&self, duration: Duration) {
            let end = self.true_now().plus(duration);
            loop {
                settle().await;
                let next = {
                    let mut sleepers = self.sleepers.lock().unwrap();
                    sleepers.retain(|(_, wake)| !wake.is_closed());
                    let first = sleepers.iter().enumerate().min_by_key(|(_, (at, _))| *at).map(|(i, (at, _))| (i, *at));
                    first.filter(|(_, at)| *at <= end).map(|(i, _)| sleepers.remove(i))
                };
                let Some((at, wake)) = next else { break };
                *self.now.lock().unwrap() = at;
                let _ = wake.send(());
            }
            *self.now.lock().unwrap() = end;
        }
    }

    /// Gives every task its turns until nothing can be left but waiting.
    pub(in crate::notices) async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
}
