//! Engineers go and are away: what was for them goes to somebody else, and nothing of it is lost.

use std::collections::BTreeSet;

use super::compare::rows_are_as_told;
use super::*;
use crate::mail::notice::{Channel, DueNotice};
use crate::model::{LastDay, NoticeId, NoticeState, Role, Time};
use crate::notices::outbox::{Attempt, Outbox};
use crate::notices::resend::NewAddress;

async fn add(app: &App, id: &str) {
    let key = (format!("SHA256:{id}"), "ssh-ed25519".to_owned());
    app.tickets().add_engineer(word(id), None, format!("{id}@example.net"), None, vec![key]).await.unwrap();
}

fn in_a_minute() -> Time {
    Time::now().plus(Duration::from_secs(60))
}

async fn due(app: &App) -> Vec<DueNotice> {
    app.notices().due(in_a_minute(), 100).await.unwrap()
}

pub(super) async fn execute(app: &App, text: &'static str) -> u64 {
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    let done = sqlx::query(text).execute(&mut **tx.conn()).await.unwrap().rows_affected();
    tx.commit().await.unwrap();
    done
}

/// The files of due notices by ticket, and to whom they go.
fn told(due: &[DueNotice]) -> BTreeSet<(String, String)> {
    due.iter().map(|one| (one.ticket.reference.to_string(), one.recipient.address.clone())).collect()
}

fn wanted(tickets: impl IntoIterator<Item = u32>, address: &str) -> BTreeSet<(String, String)> {
    tickets.into_iter().map(|n| (format!("XT-{n}"), address.to_owned())).collect()
}

/// Must show 4 of the ticket desk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disabling_an_engineer_with_eight_tickets_loses_no_notice_and_tells_the_engineer_nothing() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let tickets = app.tickets();
    for n in 1..=10 {
        let session = customer(&app, &format!("XT-{n}")).await;
        put(&session, "a", b"x").await;
    }
    add(&app, "bert").await;
    // Two closed ones: of one nobody was told, of the other the engineer was.
    let rows = due(&app).await;
    assert_eq!(told(&rows), wanted(1..=10, "anna@example.net"));
    for row in rows.iter().filter(|row| *row.ticket.reference.name() == word("XT-10")) {
        app.notices().delivered(row.id, "anna@example.net", Time::now(), Channel::Spool).await.unwrap();
    }
    // One that failed for good, and one that an operator sent to another address.
    let of = |n: u32| rows.iter().find(|row| *row.ticket.reference.name() == word(&format!("XT-{n}"))).unwrap().id;
    let failed = Attempt {
        at: Time::now(),
        channel: Channel::Mail,
        sentence: "no such user".to_owned(),
        retry_at: None,
        lost_answer: false,
    };
    app.notices().failed(of(1), "anna@example.net", failed).await.unwrap();
    app.notices().readdress(of(9), &NewAddress::Mail("desk@example.net".to_owned())).await.unwrap();
    for n in [9, 10] {
        tickets.set_status(&word(&format!("XT-{n}")), TicketStatus::Closed).await.unwrap();
    }

    let why = tickets.disable_engineer(&word("anna")).await.unwrap_err().to_string();
    for part in ["8 tickets: XT-1", "9 notices", "tacdrop engineer disable anna --hand-over-to ENGINEER"] {
        assert!(why.contains(part), "{why}");
    }
    assert!(app.logins().by_key("anna", "SHA256:test", FROM).await.unwrap().is_some(), "nothing was done");
    for (to, part) in [("anna", "to the same one"), ("nobody", "no engineer nobody")] {
        let why = tickets.disable_engineer_for(&word("anna"), Some(&word(to))).await.unwrap_err().to_string();
        assert!(why.contains(part), "{why}");
    }

    let done = tickets.disable_engineer_for(&word("anna"), Some(&word("bert"))).await.unwrap();
    assert_eq!(done, HandedOver { tickets: 8, notices: 1 });
    assert!(app.logins().by_key("anna", "SHA256:test", FROM).await.unwrap().is_none());
    let mut expected = wanted(1..=8, "bert@example.net");
    expected.extend(wanted([9], "desk@example.net"));
    let rows = due(&app).await;
    assert_eq!(told(&rows), expected);
    assert!(rows.iter().all(|row| row.files.len() == 1));
    assert!(tickets.unreached().await.unwrap().is_empty());
    rows_are_as_told(&app).await;

    // What was made to name the disabled engineer by hand is held, and an alarm says so.
    assert_eq!(execute(&app, "UPDATE notice SET recipient = 'anna' WHERE ticket IN ('XT-2', 'XT-3')").await, 2);
    let mut expected = expected.clone();
    expected.retain(|(ticket, _)| !["XT-2", "XT-3"].contains(&ticket.as_str()));
    assert_eq!(told(&due(&app).await), expected);
    let lines = app.notices().list(Some(&word("XT-2"))).await.unwrap();
    let line = &lines[0];
    assert!(line.state == NoticeState::Pending && line.attempts == 0, "{line:?}");
    assert!(line.last_error.as_deref().unwrap().contains("anna is disabled; give it to somebody"), "{line:?}");
    // Also one that was disabled between the look and the final dot.
    assert!(!app.notices().hands_over(of(2), "anna@example.net", Channel::Mail).await.unwrap());
    let id: NoticeId = line.id.parse().unwrap();
    app.notices().readdress(id, &NewAddress::Engineer(word("bert"))).await.unwrap();
    assert!(told(&due(&app).await).contains(&("XT-2".to_owned(), "bert@example.net".to_owned())));

    // A ticket that names the disabled engineer is not opened again, and can be given away.
    let why = tickets.set_status(&word("XT-10"), TicketStatus::Open).await.unwrap_err().to_string();
    assert!(why.contains("engineer anna is disabled") && why.contains("ticket edit --engineer"), "{why}");
    let edit = TicketEdit { engineer: Some(word("bert")), ..TicketEdit::default() };
    tickets.edit(&word("XT-10"), edit).await.unwrap();
    tickets.set_status(&word("XT-10"), TicketStatus::Open).await.unwrap();
    tickets.enable_engineer(&word("anna")).await.unwrap();
    assert!(app.logins().by_key("anna", "SHA256:test", FROM).await.unwrap().is_some());
    assert!(tickets.enable_engineer(&word("anna")).await.is_err());
    rows_are_as_told(&app).await;
    app.close().await;
}

fn days(from: i64, to: i64, deputy: &str) -> Absence {
    let day = |days: i64| -> LastDay {
        let at = Time::now().millis() + days * 86_400_000;
        Time::from_millis(at).to_string()[..10].parse().unwrap()
    };
    Absence { from: day(from), to: day(to), deputy: word(deputy) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_away_has_a_deputy_who_is_told_for_whom() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    for id in ["bert", "carl"] {
        add(&app, id).await;
    }
    let (tickets, anna) = (app.tickets(), word("anna"));
    put(&session, "a", b"x").await;
    for (away, part) in [
        (days(1, -1, "bert"), "before it begins"),
        (days(-3, -2, "bert"), "too late"),
        (days(0, 1, "anna"), "the same one"),
        (days(0, 1, "nobody"), "no engineer nobody"),
    ] {
        let why = tickets.set_absence(&anna, away).await.unwrap_err().to_string();
        assert!(why.contains(part), "{why}");
    }
    // One that is to come changes nothing yet.
    tickets.set_absence(&anna, days(2, 4, "bert")).await.unwrap();
    assert_eq!(told(&due(&app).await), wanted([1], "anna@example.net"));
    let why = tickets.set_absence(&word("bert"), days(4, 9, "anna")).await.unwrap_err().to_string();
    assert!(why.contains("anna is away as well"), "{why}");
    // Now: what waits goes along, and what comes.
    tickets.set_absence(&anna, days(-1, 4, "bert")).await.unwrap();
    let rows = due(&app).await;
    assert_eq!(told(&rows), wanted([1], "bert@example.net"));
    assert_eq!(rows[0].recipient.instead_of.as_deref(), Some("anna"));
    for row in rows {
        app.notices().delivered(row.id, "bert@example.net", Time::now(), Channel::Spool).await.unwrap();
    }
    rows_are_as_told(&app).await;
    // The deputy goes, too: somebody else takes the place.
    let why = tickets.disable_engineer(&word("bert")).await.unwrap_err().to_string();
    assert!(why.contains("the place of anna to take"), "{why}");
    tickets.disable_engineer_for(&word("bert"), Some(&word("carl"))).await.unwrap();
    let line = tickets.engineer(&anna).await.unwrap();
    assert!(line.away.is_some_and(|away| away.now && away.deputy == "carl"));
    put(&session, "b", b"x").await;
    assert_eq!(told(&due(&app).await), wanted([1], "carl@example.net"));
    assert!(tickets.unreached().await.unwrap().is_empty());
    rows_are_as_told(&app).await;
    // Who is away takes nobody's place: an absence does not end by the way.
    let why = tickets.disable_engineer_for(&word("carl"), Some(&anna)).await.unwrap_err().to_string();
    assert!(why.contains("carl stands in for anna, who is away from"), "{why}");
    tickets.end_absence(&anna).await.unwrap();
    tickets.disable_engineer_for(&word("carl"), Some(&anna)).await.unwrap();
    assert_eq!(told(&due(&app).await), wanted([1], "anna@example.net"));
    rows_are_as_told(&app).await;
    add(&app, "dora").await;
    tickets.set_absence(&anna, days(0, 3, "dora")).await.unwrap();
    let edit = EngineerEdit { role: Some(Role::Lead), name: Some("Dora".to_owned()), ..EngineerEdit::default() };
    assert_eq!(tickets.edit_engineer(&word("dora"), edit).await.unwrap().0, ["name", "role"]);
    tickets.end_absence(&anna).await.unwrap();
    assert!(tickets.end_absence(&anna).await.is_err());
    rows_are_as_told(&app).await;
    // Nobody names dora any more.
    for (id, part) in [("anna", "the ticket XT-1"), ("bert", "1 notice that was for them")] {
        let why = tickets.remove_engineer(&word(id)).await.unwrap_err().to_string();
        assert!(why.contains(part), "{why}");
    }
    tickets.remove_engineer(&word("dora")).await.unwrap();
    assert!(tickets.engineer(&word("dora")).await.is_err());
    assert!(app.logins().by_key("dora", "SHA256:dora", FROM).await.unwrap().is_none());
    rows_are_as_told(&app).await;
    app.close().await;
}
