//! The loop that delivers: asks the outbox what is due, hands it to the carrier, records what came
//! of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::mail::mailer::{DeliveryError, Mailer, Permission};
use crate::mail::message::{Mail, Sender};
use crate::mail::notice::{Channel, DueNotice, Earlier};
use crate::model::sanitize;
use crate::model::{NoticeId, Time};
use crate::notices::clock::{Clock, WallClock};
use crate::notices::outbox::{Attempt, Outbox, OutboxError};

/// How many notices are delivered at the same time.
const AT_ONCE: usize = 4;
/// The command line may queue notices from another process, which cannot wake this one: so often it
/// looks by itself.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(1);
/// It does not look more often than this, however often it is woken: most that is queued goes into
/// a notice that settles.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(100);
/// The pause before the second try.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// The longest pause between tries.
const LONGEST_RETRY: Duration = Duration::from_secs(15 * 60);
/// A notice that grew old while the server was down is still tried so often (about ten minutes)
/// before it is given up.
const LEAST_ATTEMPTS: u32 = 8;
/// The pauses before a mail is repeated whose answer behind the final dot was lost: seldom and not
/// for ever, since the server may have it. A connection that broke once is soon made good; who is
/// still silent then does not get it often.
const LOST_ANSWER_PAUSES: [Duration; 3] = [FIRST_RETRY, Duration::from_secs(15 * 60), Duration::from_secs(2 * 60 * 60)];
/// What waits longer than this waits for a clock that has gone back. A settling notice waits less.
const LONGEST_WAIT: Duration = Duration::from_secs(2 * 60 * 60);
/// The longest pause before an outbox that failed is asked again.
const LONGEST_OUTBOX_PAUSE: Duration = Duration::from_secs(30);
/// How long deliveries under way may go on once the server stops.
const LAST_DELIVERIES: Duration = Duration::from_secs(10);
/// The most of a sentence that is recorded, in characters.
const SENTENCE: usize = 400;

/// Tells the dispatcher that something was queued. Cheap to clone; waking twice is waking once.
#[derive(Clone, Default)]
pub struct Waker(Arc<Notify>);

impl Waker {
    /// A waker for one dispatcher.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the dispatcher look at the outbox now. Never waits; it is remembered while the
    /// dispatcher is busy.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// What an operator can choose about delivery.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who writes.
    pub sender: Sender,
    /// The age at which a notice that cannot be delivered is given up, counted from
    /// [`DueNotice::created_at`].
    pub give_up_after: Duration,
    /// The longest that one delivery may take, whatever the carrier does. At least twice a mail
    /// server's time-out.
    pub delivery_timeout: Duration,
}

/// Delivers the notices of one outbox by one carrier.
pub struct Dispatcher<O, C> {
    outbox: Arc<O>,
    mailer: Arc<C>,
    waker: Waker,
    settings: Arc<Settings>,
    clock: Clock,
}

impl<O: Outbox, C: Mailer> Dispatcher<O, C> {
    /// A dispatcher that `waker` wakes. There must be one only for an outbox.
    pub fn new(outbox: Arc<O>, mailer: C, waker: Waker, settings: Settings) -> Self {
        Self { outbox, mailer: Arc::new(mailer), waker, settings: Arc::new(settings), clock: Clock::Machine }
    }

    /// Delivers until `shutdown`; then lets deliveries under way end, for ten seconds at most. What
    /// was not recorded by then is delivered again at the next start, under the same `Message-ID`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut deliveries = JoinSet::new();
        let mut under_way = HashMap::new();
        let mut outbox_failures = 0u32;
        let mut wall = WallClock::new(&self.clock);
        let mut begun = false;
        loop {
            let ready = self.follow_clock(&mut wall, &mut begun).await;
            let started = match ready {
                Ok(()) => self.start_due(&mut deliveries, &mut under_way).await,
                Err(why) => Err(why),
            };
            let pause = match started {
                Ok(pause) => {
                    if outbox_failures > 0 {
                        tracing::info!("the outbox can be read again");
                    }
                    outbox_failures = 0;
                    pause
                }
                Err(why) => {
                    if outbox_failures == 0 {
                        tracing::warn!(%why, "notices cannot be read, trying again");
                    }
                    let pause = backoff(LOOK_AT_LEAST_EVERY, LONGEST_OUTBOX_PAUSE, outbox_failures);
                    outbox_failures = outbox_failures.saturating_add(1);
                    pause
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = deliveries.join_next_with_id() => {
                    let task = match ended {
                        Ok((task, ())) => task,
                        Err(failure) => failure.id(),
                    };
                    under_way.remove(&task);
                }
                () = self.woken() => {}
                () = self.clock.sleep(pause) => {}
            }
        }
        let all_ended = async { while deliveries.join_next().await.is_some() {} };
        if self.clock.limit(LAST_DELIVERIES, all_ended).await.is_none() {
            tracing::warn!(left = deliveries.len(), "deliveries were cut off; they are repeated at the next start");
            deliveries.shutdown().await;
        }
    }

    /// Keeps what waits from waiting for a wall clock that went back, also while no server ran.
    async fn follow_clock(&self, wall: &mut WallClock, begun: &mut bool) -> Result<(), OutboxError> {
        if !*begun {
            let now = self.clock.now();
            for cut in self.outbox.begins(now, LONGEST_WAIT).await? {
                let what = "The server stopped before the mail server said whether it took the mail.";
                let why = DeliveryError::Unknown(what.to_owned());
                let attempt = self.settings.attempt(&why, now, self.mailer.channel(), cut.before);
                let retry_at = attempt.retry_at.map(|at| at.to_string());
                tracing::warn!(notice = %cut.id, retry_at, "a notice was being handed over when the server stopped");
                self.outbox.failed(cut.id, &cut.address, attempt).await?;
            }
            *begun = true;
        }
        if let Some(by) = wall.went_back(&self.clock) {
            self.outbox.clock_went_back(by).await?;
            tracing::warn!(seconds = by.as_secs(), "the clock went back; notices that wait are not held up by that");
            wall.take_note(&self.clock);
        }
        Ok(())
    }

    /// Waits until it is woken and a little longer. Given up in between, it has looked anyway.
    async fn woken(&self) {
        self.waker.0.notified().await;
        self.clock.gather(LOOK_AT_MOST_EVERY).await;
    }

    /// Starts what is due and has room. Returns how long there is nothing more to do.
    async fn start_due(
        &self,
        deliveries: &mut JoinSet<()>,
        under_way: &mut HashMap<Id, (NoticeId, String)>,
    ) -> Result<Duration, OutboxError> {
        if deliveries.len() >= AT_ONCE {
            return Ok(LOOK_AT_LEAST_EVERY);
        }
        let now = self.clock.now();
        let Some(next) = self.outbox.next_due().await? else { return Ok(LOOK_AT_LEAST_EVERY) };
        if next > now {
            let wait = next.millis().saturating_sub(now.millis()).unsigned_abs();
            return Ok(Duration::from_millis(wait).clamp(LOOK_AT_MOST_EVERY, LOOK_AT_LEAST_EVERY));
        }
        // Those under way are still due and come first; as many as run at once always reach the
        // next ones.
        for notice in self.outbox.due(now, AT_ONCE).await? {
            // Sent elsewhere, a notice does not wait for the try that goes where it is not wanted
            // any more.
            let this = (notice.id, notice.recipient.address.clone());
            if deliveries.len() < AT_ONCE && !under_way.values().any(|other| *other == this) {
                let delivery = Delivery {
                    outbox: Arc::clone(&self.outbox),
                    mailer: Arc::clone(&self.mailer),
                    settings: Arc::clone(&self.settings),
                    clock: self.clock.clone(),
                };
                under_way.insert(deliveries.spawn(delivery.run(notice)).id(), this);
            }
        }
        Ok(LOOK_AT_MOST_EVERY)
    }
}

/// One try for one notice.
struct Delivery<O, C> {
    outbox: Arc<O>,
    mailer: Arc<C>,
    settings: Arc<Settings>,
    clock: Clock,
}

impl<O: Outbox, C: Mailer> Delivery<O, C> {
    async fn run(self, notice: DueNotice) {
        let (id, address) = (notice.id, notice.recipient.address.clone());
        let before = notice.earlier();
        let channel = self.mailer.channel();
        let outcome = self.send(notice).await;
        let at = self.clock.now();
        let count = |how: &'static str| metrics::counter!("tacdrop_notice_tries_total", "how" => how).increment(1);
        // It stays under way until the outbox knows the outcome: else it would be delivered again
        // and again.
        match outcome {
            Ok(()) => {
                count("delivered");
                tracing::info!(notice = %id, %channel, tries = before.attempts.saturating_add(1), "notice delivered");
                self.persist(id, || self.outbox.delivered(id, &address, at, channel)).await;
            }
            Err(DeliveryError::Overtaken) => {
                count("overtaken");
                tracing::info!(notice = %id, %channel, "notice not delivered: it was ended, or goes elsewhere by now");
            }
            Err(why) => {
                let attempt = self.settings.attempt(&why, at, channel, before);
                let retry_at = attempt.retry_at.map(|at| at.to_string());
                let reason = attempt.sentence.as_str();
                count(if retry_at.is_some() { "put_off" } else { "given_up" });
                match retry_at {
                    Some(retry_at) => {
                        tracing::warn!(notice = %id, %channel, retry_at, reason, "notice not delivered");
                    }
                    None => tracing::error!(notice = %id, %channel, reason, "notice given up"),
                }
                self.persist(id, || self.outbox.failed(id, &address, attempt.clone())).await;
            }
        }
    }

    async fn send(&self, notice: DueNotice) -> Result<(), DeliveryError> {
        let mail = Mail::of(&notice, &self.settings.sender)?;
        let mailer = Arc::clone(&self.mailer);
        let handed_over = Arc::new(AtomicBool::new(false));
        let permission = AtLast {
            outbox: Arc::clone(&self.outbox),
            id: notice.id,
            address: notice.recipient.address,
            channel: self.mailer.channel(),
            given: Arc::clone(&handed_over),
        };
        // In a task of its own, so that a panic in a carrier costs one try and not the notice.
        let carrying = AbortOnDropHandle::new(tokio::spawn(async move { mailer.send(&mail, &permission).await }));
        let cut_off = match self.clock.limit(self.settings.delivery_timeout, carrying).await {
            Some(Ok(outcome)) => return outcome,
            Some(Err(_)) => "The delivery ended by a fault of tacdrop itself.".to_owned(),
            None => format!("The delivery did not end within {} s.", self.settings.delivery_timeout.as_secs()),
        };
        let may_have_come = handed_over.load(Ordering::SeqCst) && self.mailer.channel() == Channel::Mail;
        Err(if may_have_come { DeliveryError::Unknown(cut_off) } else { DeliveryError::Temporary(cut_off) })
    }

    /// Records an outcome, however long the records do not answer. Ends at the latest when the
    /// dispatcher does.
    async fn persist<F: Future<Output = Result<(), OutboxError>>>(&self, id: NoticeId, record: impl Fn() -> F) {
        let mut failures = 0;
        while let Err(why) = record().await {
            if failures == 0 {
                tracing::warn!(notice = %id, %why, "the outcome of a delivery cannot be recorded, trying again");
            }
            self.clock.sleep(backoff(LOOK_AT_LEAST_EVERY, LONGEST_OUTBOX_PAUSE, failures)).await;
            failures = failures.saturating_add(1);
        }
    }
}

impl Settings {
    /// What a try that did not succeed means for the next one.
    fn attempt(&self, why: &DeliveryError, at: Time, channel: Channel, before: Earlier) -> Attempt {
        let last_try_at = before.created_at.plus(self.give_up_after);
        let old = at >= last_try_at && before.attempts.saturating_add(1) >= LEAST_ATTEMPTS;
        let lost = usize::try_from(before.lost_answers).unwrap_or(usize::MAX);
        let retry_at = match why {
            DeliveryError::Permanent(_) => None,
            DeliveryError::Unknown(_) => LOST_ANSWER_PAUSES.get(lost).map(|pause| at.plus(jitter(*pause))),
            DeliveryError::Temporary(_) | DeliveryError::Overtaken if old => None,
            DeliveryError::Temporary(_) | DeliveryError::Overtaken => {
                let next = at.plus(jitter(backoff(FIRST_RETRY, LONGEST_RETRY, before.attempts)));
                // The last try is made when the age is reached, not up to a quarter of an hour
                // later.
                Some(if last_try_at > at { next.min(last_try_at) } else { next })
            }
        };
        let lost_answer = matches!(why, DeliveryError::Unknown(_));
        let sentence = match (why, retry_at) {
            (DeliveryError::Unknown(why), Some(_)) => format!("{why} It is repeated under the same Message-ID."),
            (DeliveryError::Unknown(why), None) => format!(
                "{why} Perhaps it was delivered: ask the engineer, then 'tacdrop notice dismiss' or 'tacdrop notice retry'."
            ),
            (why, _) => why.to_string(),
        };
        Attempt { at, channel, sentence: sanitize::short_line(&sentence, SENTENCE), retry_at, lost_answer }
    }
}

/// Asks the outbox, at the last moment, whether a notice still goes where its mail does.
struct AtLast<O> {
    outbox: Arc<O>,
    id: NoticeId,
    address: String,
    channel: Channel,
    given: Arc<AtomicBool>,
}

impl<O: Outbox> Permission for AtLast<O> {
    async fn ask(&self) -> Result<(), DeliveryError> {
        match self.outbox.hands_over(self.id, &self.address, self.channel).await {
            Ok(true) => {
                self.given.store(true, Ordering::SeqCst);
                Ok(())
            }
            Ok(false) => Err(DeliveryError::Overtaken),
            Err(why) => Err(DeliveryError::Temporary(format!("The mail was held back, as {why}."))),
        }
    }
}

/// `first`, doubled `times` times, at most `longest`.
fn backoff(first: Duration, longest: Duration, times: u32) -> Duration {
    first.saturating_mul(2u32.saturating_pow(times)).min(longest)
}

/// Shortens a pause by up to a quarter, so that what failed together is not tried together for
/// ever.
fn jitter(pause: Duration) -> Duration {
    // Without randomness there is no jitter, and no harm.
    let random = getrandom::u32().unwrap_or(0);
    pause - (pause / 4).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
#[path = "dispatcher_tests.rs"]
mod tests;
