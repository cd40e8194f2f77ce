//! Notices that are tried, sent elsewhere, ended and tried again in any order, against a few
//! variables that say what must come of it.

use super::*;
use crate::mail::notice::Channel;
use crate::model::{NoticeId, NoticeState, Time};
use crate::notices::outbox::{Attempt, Outbox};

#[derive(Debug, Clone)]
enum Act {
    /// A try to where the notice goes is handed over now.
    HandOver,
    /// One that was handed over ends: taken, refused for a while, refused for good, or without an
    /// answer.
    End(u8, Outcome),
    ReaddressTo(u8),
    Assign(u8),
    /// One of the engineers gets one of the engineer's addresses.
    SetEmail(u8, u8),
    Retry,
    Dismiss,
    /// The server stops, and starts again.
    Restart,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Taken,
    Later,
    Refused,
    Lost,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    use Outcome::{Later, Lost, Refused, Taken};
    let outcome = prop_oneof![Just(Taken), Just(Later), Just(Refused), Just(Lost)];
    let act = prop_oneof![
        4 => Just(Act::HandOver),
        4 => (any::<u8>(), outcome).prop_map(|(which, outcome)| Act::End(which, outcome)),
        2 => (0..3u8).prop_map(Act::ReaddressTo),
        2 => (0..2u8).prop_map(Act::Assign),
        2 => (0..2u8, 0..2u8).prop_map(|(engineer, which)| Act::SetEmail(engineer, which)),
        1 => Just(Act::Retry),
        1 => Just(Act::Dismiss),
        1 => Just(Act::Restart),
    ];
    proptest::collection::vec(act, 1..24)
}

/// What must be so.
#[derive(Debug, Clone, PartialEq)]
struct Model {
    /// Which engineer it is for, and the address that it has of its own.
    engineer: usize,
    own: Option<String>,
    /// The engineers' addresses.
    emails: [&'static str; 2],
    state: NoticeState,
    lost: u64,
    /// Addresses of tries that were handed over and have not ended.
    open: Vec<String>,
    /// The one of these that would be taken for lost at a restart.
    noted: Option<String>,
}

impl Model {
    fn goes_to(&self) -> String {
        self.own.clone().unwrap_or_else(|| self.emails[self.engineer].to_owned())
    }

    fn again(&mut self) {
        (self.state, self.lost) = (NoticeState::Pending, 0);
    }

    fn fails(&mut self, address: &str, ended: bool, lost: bool) {
        use NoticeState::{Delivered, Dismissed, Failed, Pending, Unknown};
        if matches!(self.state, Delivered | Dismissed) || self.goes_to() != address {
            return;
        }
        self.noted = None;
        self.lost += u64::from(lost);
        self.state = match (ended, self.lost) {
            (false, _) => Pending,
            (true, 0) => Failed,
            (true, _) => Unknown,
        };
    }
}

const ENGINEERS: [&str; 2] = ["anna", "bob"];
/// The addresses that each of them may have.
const EMAILS: [[&str; 2]; 2] = [["anna@example.net", "anna@example.com"], ["bob@example.net", "one@example.net"]];
const ELSEWHERE: [&str; 3] = ["one@example.net", "two@example.net", "anna@example.net"];

/// The one notice of a ticket, as lists show it.
async fn shown(app: &App, ticket: &Identifier) -> NoticeLine {
    app.notices().list(Some(ticket)).await.unwrap().remove(0)
}

async fn agree(
    app: &App,
    queue: &crate::notices::Notices,
    ticket: &Identifier,
    acts: &[Act],
) -> Result<(), TestCaseError> {
    let now = || Time::now().plus(Duration::from_secs(100_000));
    queue.due(now(), 1000).await.unwrap();
    let line = shown(app, ticket).await;
    let id: NoticeId = line.id.parse().unwrap();
    let emails = EMAILS.map(|[first, _]| first);
    let state = NoticeState::Pending;
    let mut model = Model { engineer: 0, own: None, emails, state, lost: 0, open: Vec::new(), noted: None };
    for act in acts {
        let undelivered = model.state != NoticeState::Delivered;
        match act {
            Act::HandOver => {
                let due = queue.due(now(), 1000).await.unwrap().into_iter().find(|notice| notice.id == id);
                prop_assert_eq!(due.is_some(), model.state == NoticeState::Pending);
                // The dispatcher hands over one at a time to an address; who was slow comes with an
                // address of before.
                for address in [ELSEWHERE[0], ELSEWHERE[1], ELSEWHERE[2], "bob@example.net", "anna@example.com"] {
                    let wanted = model.state == NoticeState::Pending && address == model.goes_to();
                    if model.open.iter().any(|open| open == address) {
                        continue;
                    }
                    prop_assert_eq!(queue.hands_over(id, address, Channel::Mail).await.unwrap(), wanted);
                    if wanted {
                        model.open.push(address.to_owned());
                        model.noted = Some(address.to_owned());
                    }
                }
            }
            Act::End(which, outcome) => {
                if model.open.is_empty() {
                    continue;
                }
                let address = model.open.remove(usize::from(*which) % model.open.len());
                if *outcome == Outcome::Taken {
                    queue.delivered(id, &address, now(), Channel::Mail).await.unwrap();
                    // Once more changes nothing.
                    queue.delivered(id, &address, now(), Channel::Mail).await.unwrap();
                    if address == model.goes_to() {
                        (model.state, model.noted) = (NoticeState::Delivered, None);
                    }
                } else {
                    let ended = *outcome == Outcome::Refused;
                    let lost_answer = *outcome == Outcome::Lost;
                    let retry_at = (!ended).then(now);
                    let sentence = "No.".to_owned();
                    let attempt = Attempt { at: now(), channel: Channel::Mail, sentence, retry_at, lost_answer };
                    queue.failed(id, &address, attempt).await.unwrap();
                    model.fails(&address, ended, lost_answer);
                }
            }
            Act::ReaddressTo(which) => {
                let address = ELSEWHERE[usize::from(*which)];
                let done = app.notices().readdress(id, &NewAddress::Mail(address.to_owned())).await;
                prop_assert_eq!(done.is_ok(), undelivered);
                if undelivered {
                    model.own = Some(address.to_owned());
                    model.again();
                }
            }
            Act::Assign(which) => {
                let engineer = usize::from(*which);
                app.tickets().assign(ticket, &word(ENGINEERS[engineer])).await.unwrap();
                if undelivered && model.state != NoticeState::Dismissed {
                    (model.engineer, model.own) = (engineer, None);
                    model.again();
                }
            }
            Act::SetEmail(engineer, which) => {
                let engineer = usize::from(*engineer);
                let email = EMAILS[engineer][usize::from(*which)];
                let done = app.tickets().set_email(&word(ENGINEERS[engineer]), email).await;
                prop_assert_eq!(done.is_ok(), email != model.emails[engineer], "{:?}", done);
                model.emails[engineer] = email;
                let is_told_there = model.engineer == engineer && model.own.is_none();
                if done.is_ok() && is_told_there && undelivered && model.state != NoticeState::Dismissed {
                    model.again();
                }
            }
            Act::Retry => {
                prop_assert_eq!(app.notices().retry(Some(&[id])).await.is_ok(), undelivered);
                if undelivered {
                    model.again();
                }
            }
            Act::Dismiss => {
                prop_assert_eq!(app.notices().dismiss(id).await.is_ok(), undelivered);
                if undelivered {
                    model.state = NoticeState::Dismissed;
                }
            }
            Act::Restart => {
                model.open.clear();
                let cut = queue.begins(now(), Duration::from_secs(7200)).await.unwrap();
                let cut: Vec<_> = cut.into_iter().filter(|cut| cut.id == id).collect();
                let noted = model.noted.clone().filter(|noted| *noted == model.goes_to() && undelivered);
                prop_assert_eq!(cut.iter().map(|cut| cut.address.clone()).collect::<Vec<_>>(), Vec::from_iter(noted));
                for cut in cut {
                    let sentence = "Cut.".to_owned();
                    let retry_at = Some(now());
                    let attempt = Attempt { at: now(), channel: Channel::Mail, sentence, retry_at, lost_answer: true };
                    queue.failed(id, &cut.address, attempt).await.unwrap();
                    model.fails(&cut.address, false, true);
                }
            }
        }
        let line = shown(app, ticket).await;
        prop_assert_eq!((line.state, &line.recipient), (model.state, &model.goes_to()), "behind {:?}", act);
        let perhaps = model.lost + u64::from(model.noted.as_ref() == Some(&model.goes_to()));
        if line.state == NoticeState::Pending {
            prop_assert_eq!(line.lost_answers, perhaps, "behind {:?}", act);
        }
    }
    Ok(())
}

#[test]
fn r24_a_notice_ends_only_where_it_goes_in_whatever_order_tries_end_and_operators_decide() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fixture = Fixture::new();
    let app = runtime.block_on(async {
        let app = fixture.open().await;
        customer(&app, "XT-0").await;
        let key = ("SHA256:bob".to_owned(), "ssh-ed25519".to_owned());
        app.tickets().add_engineer(word("bob"), None, "bob@example.net".to_owned(), None, vec![key]).await.unwrap();
        app
    });
    let queue = Arc::clone(&app.0.access.notices);
    let number = std::cell::Cell::new(0u32);
    proptest!(ProptestConfig::with_cases(48), |(acts in acts())| {
        number.set(number.get() + 1);
        let reference = format!("XT-{}", number.get());
        runtime.block_on(async {
            for (engineer, [first, _]) in ENGINEERS.into_iter().zip(EMAILS) {
                // It may be the one already.
                let _ = app.tickets().set_email(&word(engineer), first).await;
            }
            put(&customer(&app, &reference).await, "f", b"f").await;
            agree(&app, &queue, &word(&reference), &acts).await
        })?;
    });
    runtime.block_on(app.close());
}

/// A notice that waits for a mailbox which is gone is sent to the next one, and nothing else is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r24_an_engineer_with_another_address_gets_there_what_did_not_arrive() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let queue = Arc::clone(&app.0.access.notices);
    let later = || Time::now().plus(Duration::from_secs(100_000));
    let tickets = ["failed", "dismissed", "elsewhere", "delivered"];
    for ticket in tickets {
        put(&customer(&app, ticket).await, "f", b"f").await;
    }
    queue.due(later(), 1000).await.unwrap();
    let id = async |ticket| shown(&app, &word(ticket)).await.id.parse::<NoticeId>().unwrap();
    let sentence = "No such mailbox.".to_owned();
    let attempt = Attempt { at: later(), channel: Channel::Mail, sentence, retry_at: None, lost_answer: false };
    queue.failed(id("failed").await, "anna@example.net", attempt).await.unwrap();
    app.notices().dismiss(id("dismissed").await).await.unwrap();
    let elsewhere = NewAddress::Mail("one@example.net".to_owned());
    app.notices().readdress(id("elsewhere").await, &elsewhere).await.unwrap();
    queue.delivered(id("delivered").await, "anna@example.net", later(), Channel::Mail).await.unwrap();
    put(&customer(&app, "settling").await, "f", b"f").await;

    assert_eq!(app.tickets().set_email(&word("anna"), "anna@example.com").await.unwrap(), 2);
    for (ticket, state, to) in [
        ("failed", NoticeState::Pending, "anna@example.com"),
        ("settling", NoticeState::Settling, "anna@example.com"),
        ("dismissed", NoticeState::Dismissed, "anna@example.com"),
        ("elsewhere", NoticeState::Pending, "one@example.net"),
    ] {
        let line = shown(&app, &word(ticket)).await;
        assert_eq!((line.state, line.recipient.as_str()), (state, to), "{ticket}");
    }
    assert_eq!(shown(&app, &word("delivered")).await.state, NoticeState::Delivered);
    for (engineer, email) in
        [("anna", "anna@example.com"), ("anna", "anna"), ("anna", "a b@c"), ("nobody", "n@example.net")]
    {
        assert!(app.tickets().set_email(&word(engineer), email).await.is_err(), "{engineer} {email}");
    }
    let filter = AuditFilter { kind: Some(crate::model::audit::Kind::EngineerChanged), ..AuditFilter::default() };
    let mut changed = Vec::new();
    let kept = app.audit().list::<Error>(&filter, |page| {
        changed.extend_from_slice(page);
        Ok(())
    });
    kept.await.unwrap();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].detail["notices"], 2);
    assert!(!changed[0].detail.to_string().contains('@'), "the trail holds a person's address");
}
