//! The dispatcher's clock: the machine's, or in tests one that passes only when it is told to, so that three days of
//! retries take no time. (tokio's own paused clock is a feature of the whole build; it would compile every dependency
//! a second time for the tests.)

use std::future::Future;
use std::time::Duration;

use crate::model::Time;

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

#[cfg(test)]
pub(super) mod virtual_clock {
    use std::sync::Mutex;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use crate::model::Time;

    /// Time that stands still until [`Virtual::pass`]. For one test on a current-thread runtime.
    pub(in crate::notify) struct Virtual {
        now: Mutex<Time>,
        sleepers: Mutex<Vec<(Time, oneshot::Sender<()>)>>,
    }

    impl Virtual {
        pub(in crate::notify) fn at(now: Time) -> Self {
            Self { now: Mutex::new(now), sleepers: Mutex::default() }
        }

        pub(in crate::notify) fn now(&self) -> Time {
            *self.now.lock().unwrap()
        }

        pub(in crate::notify) async fn sleep(&self, duration: Duration) {
            let (wake, woken) = oneshot::channel();
            self.sleepers.lock().unwrap().push((self.now().plus(duration), wake));
            let _ = woken.await;
        }

        /// Lets time pass, waking each sleeper at its moment and letting everybody run in between.
        pub(in crate::notify) async fn pass(&self, duration: Duration) {
            let end = self.now().plus(duration);
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
    pub(in crate::notify) async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
}
