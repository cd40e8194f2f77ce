//! The dispatcher against an outbox in memory, a carrier that follows a script, and a clock that
//! passes when it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use super::*;
use crate::mail::{AnyMailer, Recipient, Spool, TicketLine};
use crate::model::{Language, Priority};
use crate::notices::clock::virtual_clock::{Virtual, settle};
use crate::notices::outbox::Interrupted;

const EPOCH: Time = Time::from_seconds(1_700_000_000);

/// The clock of this test (each test has a thread of its own).
fn time() -> Arc<Virtual> {
    thread_local! { static TIME: Arc<Virtual> = Arc::new(Virtual::at(EPOCH)); }
    TIME.with(Arc::clone)
}

async fn pass(seconds: f64) {
    time().pass(Duration::from_secs_f64(seconds)).await;
}

/// A notice of no files: the loop that delivers does not look into it.
fn a_notice() -> DueNotice {
    DueNotice {
        audience: crate::model::Audience::Engineers,
        id: NoticeId::from_bytes([0; 16]),
        attempts: 0,
        lost_answers: 0,
        created_at: EPOCH,
        first_of_ticket: None,
        recipient: Recipient {
            name: "Anna Köhler".into(),
            address: "anna@example.org".into(),
            language: Language::En,
            instead_of: None,
        },
        ticket: TicketLine {
            reference: "XT-4711".parse().unwrap(),
            title: None,
            priority: Priority::try_from(2).unwrap(),
            organisation: "Müller & Söhne GmbH".into(),
        },
        files: Vec::new(),
        more_files: 0,
        more_unfinished: 0,
        more_deleted: 0,
        unreadable: Vec::new(),
        missing: Vec::new(),
    }
}

#[derive(Clone, PartialEq, Debug)]
enum State {
    Due(Time),
    Delivered(Time, Channel),
    GivenUp(Attempt),
}

/// An outbox in memory. `broken` calls to it fail.
#[derive(Default)]
struct Memory {
    rows: Mutex<BTreeMap<NoticeId, (u32, Time, State)>>,
    attempts: Mutex<Vec<Attempt>>,
    broken: Mutex<u32>,
    lost: Mutex<BTreeMap<NoticeId, u32>>,
    looks: Mutex<u32>,
    /// What is being handed over, and where.
    handed: Mutex<BTreeMap<NoticeId, String>>,
    /// Where notices go that were sent elsewhere.
    elsewhere: Mutex<BTreeMap<NoticeId, String>>,
}

impl Memory {
    fn with(ids: impl IntoIterator<Item = u8>) -> Arc<Self> {
        let memory = Self::default();
        ids.into_iter().for_each(|id| memory.add(id, EPOCH));
        Arc::new(memory)
    }

    fn add(&self, id: u8, created_at: Time) {
        self.rows.lock().unwrap().insert(notice_id(id), (0, created_at, State::Due(created_at)));
    }

    fn address_of(&self, id: NoticeId) -> String {
        let usual = a_notice().recipient.address;
        self.elsewhere.lock().unwrap().get(&id).cloned().unwrap_or(usual)
    }

    /// Sends a notice elsewhere, now.
    fn readdress(&self, id: u8, address: &str) {
        let id = notice_id(id);
        self.elsewhere.lock().unwrap().insert(id, address.to_owned());
        let mut rows = self.rows.lock().unwrap();
        let row = rows.get_mut(&id).unwrap();
        (row.0, row.2) = (0, State::Due(time().now()));
    }

    fn state(&self, id: u8) -> State {
        self.rows.lock().unwrap()[&notice_id(id)].2.clone()
    }

    fn all_delivered(&self) -> bool {
        self.rows.lock().unwrap().values().all(|row| matches!(row.2, State::Delivered(..)))
    }

    fn check(&self) -> Result<(), OutboxError> {
        let mut broken = self.broken.lock().unwrap();
        match broken.checked_sub(1) {
            Some(left) => {
                *broken = left;
                Err(OutboxError::new("the records are locked"))
            }
            None => Ok(()),
        }
    }
}

impl Outbox for Memory {
    async fn due(&self, now: Time, most: usize) -> Result<Vec<DueNotice>, OutboxError> {
        self.check()?;
        let rows = self.rows.lock().unwrap();
        let mut due: Vec<_> = rows.iter().filter(|(_, row)| matches!(row.2, State::Due(at) if at <= now)).collect();
        due.sort_by_key(|(_, row)| row.1);
        let notice = |(id, row): (&NoticeId, &(u32, Time, State))| {
            let mut notice = a_notice();
            notice.recipient.address = self.address_of(*id);
            let lost_answers = self.lost.lock().unwrap().get(id).copied().unwrap_or(0);
            DueNotice { id: *id, attempts: row.0, lost_answers, created_at: row.1, ..notice }
        };
        Ok(due.into_iter().take(most).map(notice).collect())
    }

    async fn next_due(&self) -> Result<Option<Time>, OutboxError> {
        *self.looks.lock().unwrap() += 1;
        self.check()?;
        let rows = self.rows.lock().unwrap();
        Ok(rows.values().filter_map(|row| if let State::Due(at) = row.2 { Some(at) } else { None }).min())
    }

    async fn hands_over(&self, id: NoticeId, address: &str, _: Channel) -> Result<bool, OutboxError> {
        self.check()?;
        let wanted = self.address_of(id) == address && matches!(self.rows.lock().unwrap()[&id].2, State::Due(_));
        if wanted {
            self.handed.lock().unwrap().insert(id, address.to_owned());
        }
        Ok(wanted)
    }

    async fn delivered(&self, id: NoticeId, address: &str, at: Time, channel: Channel) -> Result<(), OutboxError> {
        self.check()?;
        if self.address_of(id) == address {
            self.handed.lock().unwrap().remove(&id);
            self.rows.lock().unwrap().get_mut(&id).unwrap().2 = State::Delivered(at, channel);
        }
        Ok(())
    }

    async fn failed(&self, id: NoticeId, address: &str, attempt: Attempt) -> Result<(), OutboxError> {
        self.check()?;
        if self.address_of(id) != address {
            return Ok(());
        }
        self.handed.lock().unwrap().remove(&id);
        self.attempts.lock().unwrap().push(attempt.clone());
        *self.lost.lock().unwrap().entry(id).or_default() += u32::from(attempt.lost_answer);
        let mut rows = self.rows.lock().unwrap();
        let row = rows.get_mut(&id).unwrap();
        row.0 += 1;
        row.2 = attempt.retry_at.map_or_else(|| State::GivenUp(attempt), State::Due);
        Ok(())
    }

    async fn begins(&self, _: Time, _: Duration) -> Result<Vec<Interrupted>, OutboxError> {
        self.check()?;
        let (rows, lost) = (self.rows.lock().unwrap(), self.lost.lock().unwrap());
        let cut = |(id, address): (&NoticeId, &String)| Interrupted {
            id: *id,
            address: address.clone(),
            before: Earlier {
                attempts: rows[id].0,
                lost_answers: lost.get(id).copied().unwrap_or(0),
                created_at: rows[id].1,
            },
        };
        Ok(self.handed.lock().unwrap().iter().map(cut).collect())
    }

    async fn clock_went_back(&self, by: Duration) -> Result<(), OutboxError> {
        self.check()?;
        for row in self.rows.lock().unwrap().values_mut() {
            row.1 = row.1.minus(by);
            if let State::Due(at) = &mut row.2 {
                *at = at.minus(by);
            }
        }
        Ok(())
    }
}

/// What the carrier does with the next mail.
enum Act {
    Refuse(DeliveryError),
    /// Takes it, and says so after a time.
    Take(Duration),
    /// Is slow before it takes it.
    Dawdle(Duration),
    Panic,
    /// The same when it may have the mail already.
    PanicLate,
}

/// A carrier that follows a script, then takes everything at once.
#[derive(Default, Clone)]
struct Script(Arc<Inner>);

#[derive(Default)]
struct Inner {
    acts: Mutex<VecDeque<Act>>,
    usual: Mutex<Option<DeliveryError>>,
    carried: Mutex<Vec<(NoticeId, Vec<u8>)>>,
    busy: Mutex<usize>,
    busiest: Mutex<usize>,
}

impl Script {
    fn of(acts: impl IntoIterator<Item = Act>) -> Self {
        let script = Self::default();
        script.0.acts.lock().unwrap().extend(acts);
        script
    }

    fn carried(&self) -> Vec<(NoticeId, Vec<u8>)> {
        self.0.carried.lock().unwrap().clone()
    }
}

impl Mailer for Script {
    fn channel(&self) -> Channel {
        Channel::Mail
    }

    async fn send(&self, mail: &Mail, permission: &impl Permission) -> Result<(), DeliveryError> {
        let act = self.0.acts.lock().unwrap().pop_front();
        match act {
            Some(Act::Dawdle(time)) => self::time().sleep(time).await,
            Some(Act::Panic) => panic!("a fault in a carrier"),
            _ => {}
        }
        permission.ask().await?;
        self.0.carried.lock().unwrap().push((mail.id(), mail.bytes().to_vec()));
        match act {
            Some(Act::Refuse(why)) => Err(why),
            Some(Act::PanicLate) => panic!("a fault in a carrier"),
            Some(Act::Take(time)) => {
                {
                    let mut busy = self.0.busy.lock().unwrap();
                    *busy += 1;
                    let mut busiest = self.0.busiest.lock().unwrap();
                    *busiest = busiest.max(*busy);
                }
                self::time().sleep(time).await;
                *self.0.busy.lock().unwrap() -= 1;
                Ok(())
            }
            Some(Act::Dawdle(_) | Act::Panic) | None => self.0.usual.lock().unwrap().clone().map_or(Ok(()), Err),
        }
    }
}

fn notice_id(id: u8) -> NoticeId {
    NoticeId::from_bytes([id; 16])
}

fn temporary() -> DeliveryError {
    DeliveryError::Temporary("Not now.".into())
}

struct Running {
    waker: Waker,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn start(outbox: &Arc<Memory>, mailer: &Script) -> Running {
    let (waker, shutdown) = (Waker::new(), CancellationToken::new());
    let settings = Settings {
        sender: Sender::new("tacdrop@example.org").unwrap(),
        give_up_after: Duration::from_secs(72 * 3600),
        delivery_timeout: Duration::from_secs(60),
    };
    let mut dispatcher = Dispatcher::new(Arc::clone(outbox), mailer.clone(), waker.clone(), settings);
    dispatcher.clock = Clock::Virtual(time());
    let task = tokio::spawn(dispatcher.run(shutdown.clone()));
    Running { waker, shutdown, task }
}

#[tokio::test]
async fn a_lost_answer_is_repeated_seldom_and_not_for_ever() {
    let memory = Memory::with([1]);
    let lost = || Act::Refuse(DeliveryError::Unknown("Nobody knows.".to_owned()));
    let script = Script::of((0..300).map(|_| lost()));
    let running = start(&memory, &script);
    pass(12.0 * 3600.0).await;
    assert_eq!(script.carried().len(), 1 + LOST_ANSWER_PAUSES.len());
    assert!(script.carried().windows(2).all(|two| two[0] == two[1]), "the same mail, Message-ID and all");
    assert!(matches!(memory.state(1), State::GivenUp(Attempt { lost_answer: true, .. })));
    drop(running);
}

#[tokio::test]
async fn r82_a_wall_clock_that_goes_back_holds_nothing_up() {
    let memory = Memory::with([]);
    let running = start(&memory, &Script::default());
    pass(2.0).await;
    memory.add(1, EPOCH.plus(Duration::from_secs(12)));
    time().set_back(Duration::from_secs(3600));
    pass(15.0).await;
    assert!(memory.all_delivered(), "{:?}", memory.state(1));
    drop(running);
}

#[tokio::test]
async fn r24_a_failed_notice_is_tried_again_with_the_same_message_id_until_it_arrives() {
    let outbox = Memory::with([1]);
    let mailer = Script::of((0..3).map(|_| Act::Refuse(temporary())));
    let _running = start(&outbox, &mailer);
    pass(40.0).await;
    assert!(matches!(outbox.state(1), State::Delivered(_, Channel::Mail)));
    let carried = mailer.carried();
    assert_eq!(carried.len(), 4);
    assert!(carried.windows(2).all(|pair| pair[0] == pair[1]));
    let text = String::from_utf8_lossy(&carried[0].1).into_owned();
    assert!(text.contains(&format!("\r\nMessage-ID: <{}@tacdrop.example.org>\r\n", notice_id(1))));
    for (attempt, seconds) in outbox.attempts.lock().unwrap().iter().zip([5.0, 10.0, 20.0]) {
        let pause = (attempt.retry_at.unwrap().millis() - attempt.at.millis()) as f64 / 1000.0;
        assert!(pause <= seconds && pause >= seconds * 0.74, "{pause} of {seconds}");
        assert_eq!(attempt.sentence, "Not now.");
    }
}

#[tokio::test]
async fn a_notice_is_given_up_at_its_age_after_pauses_of_a_quarter_of_an_hour_at_most() {
    let outbox = Memory::with([1]);
    let mailer = Script::default();
    *mailer.0.usual.lock().unwrap() = Some(temporary());
    let _running = start(&outbox, &mailer);
    pass(72.0 * 3600.0 - 1.0).await;
    assert!(matches!(outbox.state(1), State::Due(_)));
    pass(3.0).await;
    let State::GivenUp(last) = outbox.state(1) else { panic!("not given up") };
    assert!(last.retry_at.is_none() && last.sentence == "Not now.");
    let attempts = outbox.attempts.lock().unwrap().clone();
    assert!(attempts.windows(2).all(|pair| pair[1].at.millis() - pair[0].at.millis() <= 15 * 60_000 + 1_000));
    assert!(attempts.len() > 72 * 4);
    let tries = mailer.carried().len();
    pass(3600.0).await;
    assert_eq!(mailer.carried().len(), tries);
}

#[tokio::test]
async fn a_notice_that_grew_old_while_the_server_was_down_still_gets_its_tries() {
    let outbox = Memory::with([]);
    outbox.add(1, Time::from_seconds(EPOCH.seconds() - 100 * 3600));
    let mailer = Script::of((0..7).map(|_| Act::Refuse(temporary())));
    let _running = start(&outbox, &mailer);
    pass(700.0).await;
    assert!(outbox.all_delivered());

    outbox.add(2, Time::from_seconds(EPOCH.seconds() - 100 * 3600));
    mailer.0.acts.lock().unwrap().extend((0..8).map(|_| Act::Refuse(temporary())));
    pass(700.0).await;
    assert!(matches!(outbox.state(2), State::GivenUp(_)));
}

#[tokio::test]
async fn a_refusal_for_good_is_not_tried_again_and_holds_nobody_up() {
    let outbox = Memory::with([1, 2]);
    let mailer = Script::of([Act::Refuse(DeliveryError::Permanent("No such user.\r\n\x1b".into()))]);
    let _running = start(&outbox, &mailer);
    pass(60.0).await;
    let State::GivenUp(attempt) = outbox.state(1) else { panic!("not given up") };
    assert_eq!(attempt.sentence, "No such user.\u{fffd}\u{fffd}\u{fffd}");
    assert!(matches!(outbox.state(2), State::Delivered(..)));
    assert_eq!(mailer.carried().len(), 2);
}

#[tokio::test]
async fn at_most_four_are_under_way_and_none_twice() {
    let outbox = Memory::with(0..20);
    let mailer = Script::of((0..20).map(|_| Act::Take(Duration::from_secs(7))));
    let running = start(&outbox, &mailer);
    for _ in 0..200 {
        pass(0.25).await;
        running.waker.wake();
    }
    assert!(outbox.all_delivered());
    assert_eq!(mailer.carried().len(), 20);
    assert_eq!(*mailer.0.busiest.lock().unwrap(), AT_ONCE);
}

#[tokio::test]
async fn a_wake_is_prompt_and_without_one_it_looks_every_second() {
    let outbox = Memory::with([]);
    let mailer = Script::default();
    let running = start(&outbox, &mailer);
    pass(10.3).await;
    assert!((10..=12).contains(&*outbox.looks.lock().unwrap()), "{}", outbox.looks.lock().unwrap());
    let queued_at = time().now();
    outbox.add(1, queued_at);
    running.waker.wake();
    pass(0.001).await;
    assert_eq!(outbox.state(1), State::Delivered(queued_at, Channel::Mail));
    outbox.add(2, time().now());
    pass(1.001).await;
    assert!(outbox.all_delivered());
    // A notice that settles is delivered when its time comes, not up to a second later.
    let due_at = time().now().plus(Duration::from_millis(2300));
    outbox.add(3, due_at);
    pass(2.401).await;
    assert!(outbox.all_delivered());
}

#[tokio::test]
async fn r24_an_outcome_that_cannot_be_recorded_is_not_delivered_again() {
    let outbox = Memory::with([1]);
    let mailer = Script::of([Act::Take(Duration::from_secs(1))]);
    let _running = start(&outbox, &mailer);
    pass(0.5).await;
    *outbox.broken.lock().unwrap() = 20;
    pass(200.0).await;
    assert!(outbox.all_delivered());
    assert_eq!(mailer.carried().len(), 1);
}

#[tokio::test]
async fn r23_an_outbox_that_fails_is_asked_again_ever_more_rarely() {
    let outbox = Memory::with([1]);
    *outbox.broken.lock().unwrap() = u32::MAX;
    let mailer = Script::default();
    let _running = start(&outbox, &mailer);
    pass(3600.0).await;
    assert!(*outbox.looks.lock().unwrap() < 130);
    *outbox.broken.lock().unwrap() = 0;
    pass(31.0).await;
    assert!(outbox.all_delivered());
}

#[tokio::test]
async fn a_carrier_that_hangs_or_panics_costs_one_try() {
    let outbox = Memory::with([1]);
    let mailer = Script::of([Act::Dawdle(Duration::from_secs(3600)), Act::Panic]);
    let _running = start(&outbox, &mailer);
    pass(100.0).await;
    assert!(outbox.all_delivered());
    assert_eq!(mailer.carried().len(), 1);
    let attempts = outbox.attempts.lock().unwrap();
    assert_eq!(attempts[0].sentence, "The delivery did not end within 60 s.");
    assert_eq!(attempts[1].sentence, "The delivery ended by a fault of tacdrop itself.");
    assert!(attempts.iter().all(|attempt| !attempt.lost_answer));
}

#[tokio::test]
async fn a_carrier_that_hangs_or_panics_behind_the_final_dot_has_lost_an_answer() {
    let outbox = Memory::with([1]);
    let mailer = Script::of([Act::Take(Duration::from_secs(3600)), Act::PanicLate]);
    let _running = start(&outbox, &mailer);
    pass(3600.0).await;
    assert!(outbox.all_delivered());
    assert_eq!(mailer.carried().len(), 3);
    let attempts = outbox.attempts.lock().unwrap();
    assert!(attempts.iter().all(|attempt| attempt.lost_answer), "{attempts:?}");
    assert!(attempts[0].sentence.contains("It is repeated under the same Message-ID."), "{attempts:?}");
}

/// What was carried, by the addresses in the mails.
fn addressees(mailer: &Script) -> Vec<String> {
    let to = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let line = text.lines().find(|line| line.starts_with("To: ")).unwrap_or_default();
        line.split(['<', '>']).nth(1).unwrap_or_default().to_owned()
    };
    mailer.carried().iter().map(|(_, bytes)| to(bytes)).collect()
}

#[tokio::test]
async fn sent_elsewhere_while_a_try_is_under_way_a_notice_goes_there_only() {
    let outbox = Memory::with([1]);
    let mailer = Script::of([Act::Dawdle(Duration::from_secs(30))]);
    let _running = start(&outbox, &mailer);
    pass(5.0).await;
    outbox.readdress(1, "bob@example.org");
    pass(2.0).await;
    assert!(outbox.all_delivered(), "it does not wait for the older try");
    pass(60.0).await;
    assert_eq!(addressees(&mailer), ["bob@example.org"]);
    assert!(outbox.attempts.lock().unwrap().is_empty(), "and the older try counts for nothing");
}

#[tokio::test]
async fn sent_elsewhere_behind_the_final_dot_a_notice_goes_there_as_well() {
    for answer in [Act::Take(Duration::from_secs(30)), Act::Take(Duration::from_secs(3600))] {
        let outbox = Memory::with([1]);
        let mailer = Script::of([answer, Act::Take(Duration::from_secs(50))]);
        let _running = start(&outbox, &mailer);
        pass(5.0).await;
        outbox.readdress(1, "bob@example.org");
        pass(45.0).await;
        assert!(matches!(outbox.state(1), State::Due(_)), "what the old address got does not end it");
        pass(20.0).await;
        assert!(outbox.all_delivered());
        assert_eq!(addressees(&mailer), ["anna@example.org", "bob@example.org"]);
    }
}

#[tokio::test]
async fn r24_a_server_that_dies_behind_the_final_dot_repeats_the_mail_seldom_and_not_for_ever() {
    let outbox = Memory::with([1]);
    let mailer = Script::of((0..100).map(|_| Act::Take(Duration::from_secs(3600))));
    for start_number in 0..60 {
        let running = start(&outbox, &mailer);
        // As long as it takes to be on its way again, and most of the time much shorter.
        pass(if start_number % 10 == 9 { 3.0 * 3600.0 } else { 8.0 }).await;
        running.task.abort();
        settle().await;
    }
    assert_eq!(mailer.carried().len(), 1 + LOST_ANSWER_PAUSES.len());
    assert!(matches!(outbox.state(1), State::GivenUp(Attempt { lost_answer: true, .. })), "{:?}", outbox.state(1));
    assert!(outbox.attempts.lock().unwrap()[0].sentence.contains("The server stopped"));
}

#[tokio::test]
async fn on_shutdown_what_is_under_way_may_end_within_ten_seconds() {
    let outbox = Memory::with([1, 2, 3, 4, 5]);
    let times = [9, 9, 9, 30].map(|seconds| Act::Take(Duration::from_secs(seconds)));
    let mailer = Script::of(times);
    let running = start(&outbox, &mailer);
    pass(0.01).await;
    running.shutdown.cancel();
    settle().await;
    pass(9.9).await;
    assert!(!running.task.is_finished());
    pass(0.2).await;
    assert!(running.task.is_finished());
    for id in [1, 2, 3] {
        assert!(matches!(outbox.state(id), State::Delivered(..)), "{id}");
    }
    // One was too slow, one had no room: both stay due for the next start, and nothing new was
    // begun.
    for id in [4, 5] {
        assert!(matches!(outbox.state(id), State::Due(_)), "{id}");
    }
    assert_eq!(mailer.carried().len(), 4);
}

#[tokio::test]
async fn with_the_machines_clock_and_a_real_spool_each_notice_becomes_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let outbox = Memory::with([1, 2, 3]);
    let settings = Settings {
        sender: Sender::new("tacdrop@example.org").unwrap(),
        give_up_after: Duration::from_secs(3600),
        delivery_timeout: Duration::from_secs(60),
    };
    let mailer = AnyMailer::Spool(Spool::new(directory.path().join("notices")));
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(Dispatcher::new(Arc::clone(&outbox), mailer, Waker::new(), settings).run(shutdown.clone()));
    let all = async {
        while !outbox.all_delivered() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    shutdown.cancel();
    task.await.unwrap();
    assert!(matches!(outbox.state(1), State::Delivered(_, Channel::Spool)));
    for id in [1, 2, 3] {
        let text = std::fs::read_to_string(directory.path().join(format!("notices/{}.eml", notice_id(id)))).unwrap();
        assert!(text.contains(&format!("Message-ID: <{}@tacdrop.example.org>\r\n", notice_id(id))));
    }
}
