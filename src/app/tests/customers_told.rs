//! What customers are told by mail: what support hands back, and receipts of what they sent.

use super::contacts::{contact, contact_of, session_of, set_people};
use super::handover::execute;
use super::notices::deliver;
use super::*;
use crate::mail::notice::{Channel, DueNotice, News};
use crate::model::rights::Visibility;
use crate::model::{Audience, Time};
use crate::notices::outbox::Outbox;
use crate::records::customer_settings;

/// A house whose contacts `karl` and `lena` see the ticket XT-1; `otto` is of another organisation.
async fn house(fixture: &Fixture) -> (App, ShareSession, ShareSession) {
    let app = fixture.open().await;
    let by_token = customer(&app, "XT-1").await;
    app.tickets().add_organisation(word("OTHER"), "Other".to_owned(), None).await.unwrap();
    for id in ["karl", "lena"] {
        contact(&app, id).await;
    }
    contact_of(&app, "otto", "OTHER").await;
    let people = PeopleChanges { visibility: Some(Visibility::Organisation), ..PeopleChanges::default() };
    set_people(&app, &word("XT-1"), people).await;
    let support = engineer(&app).await;
    (app, by_token, support)
}

async fn hand_back(support: &ShareSession, name: &str) {
    put(support, &format!("XT-1/from-support/{name}"), name.as_bytes()).await;
}

/// Who is told what, sorted.
async fn told(app: &App) -> Vec<String> {
    let line = |notice: &DueNotice| {
        let names: Vec<_> = notice.files.iter().map(|file| file.path.to_string()).collect();
        format!("{} {} /{}", notice.audience, notice.recipient.address, names.join(",/"))
    };
    let mut told: Vec<_> = deliver(app, 100).await.iter().map(line).collect();
    told.sort();
    told
}

async fn edit(app: &App, id: &str, changes: ContactChanges) {
    app.tickets().change_contact(&word(id), changes).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_support_hands_back_is_told_to_who_sees_the_ticket_and_wants_it() {
    let fixture = Fixture::new();
    let (app, by_token, support) = house(&fixture).await;
    // Files of one settling are one mail to each; the engineer is told nothing of it.
    hand_back(&support, "a").await;
    hand_back(&support, "b").await;
    let to = |who: &str, what: &str| format!("contact {who}@example.org {what}");
    let both = "/from-support/a,/from-support/b";
    assert_eq!(told(&app).await, [to("karl", both), to("lena", both)]);
    // What customers send is told to the engineer alone.
    put(&by_token, "c", b"c").await;
    assert_eq!(told(&app).await, ["engineers anna@example.net /c"]);
    // Nobody who does not want it, and watchers.
    edit(&app, "karl", ContactChanges { mail: Some(false), ..ContactChanges::default() }).await;
    let watchers = vec!["w@example.org".to_owned()];
    set_people(&app, &word("XT-1"), PeopleChanges { watchers, ..PeopleChanges::default() }).await;
    hand_back(&support, "d").await;
    let w = "watcher w@example.org /from-support/d".to_owned();
    assert_eq!(told(&app).await, [to("lena", "/from-support/d"), w]);
    edit(&app, "karl", ContactChanges { mail: Some(true), ..ContactChanges::default() }).await;
    // A ticket can say that nobody is told, and a drop box says it to contacts.
    set_people(&app, &word("XT-1"), PeopleChanges { mail: Some(false), ..PeopleChanges::default() }).await;
    hand_back(&support, "e").await;
    assert!(told(&app).await.is_empty());
    let people = PeopleChanges { mail: Some(true), drop_box: Some(true), ..PeopleChanges::default() };
    set_people(&app, &word("XT-1"), people).await;
    hand_back(&support, "f").await;
    assert_eq!(told(&app).await, ["watcher w@example.org /from-support/f"]);
    let people = PeopleChanges {
        drop_box: Some(false),
        visibility: Some(Visibility::Only),
        contacts: vec![word("lena"), word("karl")],
        ..PeopleChanges::default()
    };
    set_people(&app, &word("XT-1"), people).await;
    // Under a temporary name it is held, and what was taken away again is told to nobody.
    put(&support, "XT-1/from-support/g.part", b"g").await;
    hand_back(&support, "h").await;
    support.remove_file(&path("XT-1/from-support/h")).await.unwrap();
    assert!(told(&app).await.is_empty());
    support.rename(&path("XT-1/from-support/g.part"), &path("XT-1/from-support/g"), false).await.unwrap();
    assert_eq!(told(&app).await, [to("lena", "/from-support/g"), "watcher w@example.org /from-support/g".to_owned()]);
    assert!(app.tickets().unproved().await.unwrap().is_empty());
    super::compare::rows_are_as_told(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_to_a_customer_says_how_it_is_fetched_and_has_the_receipt() {
    let fixture = Fixture::new();
    let (app, _, support) = house(&fixture).await;
    edit(&app, "karl", ContactChanges { language: Some(crate::model::Language::De), ..ContactChanges::default() })
        .await;
    hand_back(&support, "fix.bin").await;
    let due = deliver(&app, 100).await;
    let karl = due.iter().find(|notice| notice.recipient.address == "karl@example.org").unwrap();
    let News::Arrived(arrival) = &karl.files[0].news else { panic!("it is there") };
    assert_eq!(karl.recipient.language, crate::model::Language::De);
    let fetch = arrival.fetch.as_deref().unwrap();
    assert!(fetch.contains("karl@") && fetch.contains("/XT-1/from-support/fix.bin"), "{fetch}");
    let receipt = arrival.receipt.as_deref().unwrap();
    let digest = hex::encode(arrival.sha256);
    assert!(receipt.contains("from-support/fix.bin") && receipt.contains(&digest), "{receipt}");
    // It is the one that the server gives to whoever asks.
    let address = crate::namespace::PublicAddress::unknown();
    let asked = app.0.access.receipt(&word("XT-1"), &path("from-support/fix.bin"), &address).await.unwrap();
    assert_eq!(asked.text, receipt);
    // What took its place is told of instead.
    hand_back(&support, "fix.bin").await;
    put(&support, "XT-1/from-support/fix.bin", b"newer").await;
    let due = deliver(&app, 100).await;
    let versions: Vec<_> =
        due.iter().map(|notice| notice.files.iter().map(|f| f.version).collect::<Vec<_>>()).collect();
    assert_eq!(versions, [[3], [3]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_the_right_meanwhile_is_told_nothing_more() {
    let fixture = Fixture::new();
    let (app, _, support) = house(&fixture).await;
    let queue = Arc::clone(&app.0.access.notices);
    let off = PeopleChanges { visibility: Some(Visibility::Named), ..PeopleChanges::default() };
    let on = || PeopleChanges { visibility: Some(Visibility::Organisation), ..PeopleChanges::default() };
    for (number, what) in ["disabled", "taken off", "opted out", "expired", "organisation"].iter().enumerate() {
        hand_back(&support, &format!("f{number}")).await;
        let then = Time::now().plus(Duration::from_secs(100));
        queue.due(then, 100).await.unwrap();
        let due = queue.due(then, 100).await.unwrap();
        assert_eq!(due.len(), 2, "{what}");
        match *what {
            "disabled" => app.tickets().set_contact_enabled(&word("karl"), false).await.unwrap(),
            "taken off" => set_people(&app, &word("XT-1"), off.clone()).await,
            "opted out" => edit(&app, "karl", ContactChanges { mail: Some(false), ..Default::default() }).await,
            "expired" => {
                let day = Some(Some("2020-01-01".parse().unwrap()));
                edit(&app, "karl", ContactChanges { valid_until: day, ..Default::default() }).await;
            }
            _ => drop(app.tickets().disable_organisation(&word("ACME")).await.unwrap()),
        }
        let karl = due.iter().find(|notice| notice.recipient.address == "karl@example.org").unwrap();
        let asked = queue.hands_over(karl.id, &karl.recipient.address, Channel::Mail).await.unwrap();
        assert!(!asked, "{what}: at the last moment");
        let left = queue.due(then, 100).await.unwrap();
        assert!(left.iter().all(|notice| notice.id != karl.id), "{what}: it ended");
        match *what {
            "disabled" => app.tickets().set_contact_enabled(&word("karl"), true).await.unwrap(),
            "taken off" => set_people(&app, &word("XT-1"), on()).await,
            "opted out" => edit(&app, "karl", ContactChanges { mail: Some(true), ..Default::default() }).await,
            "expired" => edit(&app, "karl", ContactChanges { valid_until: Some(None), ..Default::default() }).await,
            _ => drop(app.tickets().enable_organisation(&word("ACME")).await.unwrap()),
        }
        deliver(&app, 100).await;
    }
    assert!(deliver(&app, 100).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_go_to_who_sent_the_files_and_wants_them() {
    let fixture = Fixture::new();
    let (app, by_token, _) = house(&fixture).await;
    edit(&app, "karl", ContactChanges { receipts: Some(true), ..ContactChanges::default() }).await;
    let (karl, lena) = (session_of(&app, "karl").await, session_of(&app, "lena").await);
    put(&karl, "XT-1/k1", b"1").await;
    put(&lena, "XT-1/l1", b"2").await;
    put(&by_token, "t1", b"3").await;
    put(&karl, "XT-1/k2.part", b"4").await;
    assert_eq!(told(&app).await, ["engineers anna@example.net /k1,/l1,/t1", "sender karl@example.org /k1"]);
    karl.rename(&path("XT-1/k2.part"), &path("XT-1/k2"), false).await.unwrap();
    let due = deliver(&app, 100).await;
    let own = due.iter().find(|notice| notice.audience == Audience::Sender).unwrap();
    let News::Arrived(arrival) = &own.files[0].news else { panic!("it is there") };
    assert!(arrival.fetch.is_none() && arrival.receipt.as_deref().unwrap().contains("Path: k2\n"));
    assert_eq!(due.len(), 2);
    // In a drop box, too: it is its own. And nothing of what it has deleted since.
    let people = PeopleChanges { drop_box: Some(true), ..PeopleChanges::default() };
    set_people(&app, &word("XT-1"), people).await;
    put(&karl, "XT-1/k3", b"5").await;
    put(&karl, "XT-1/k4", b"6").await;
    karl.remove_file(&path("XT-1/k4")).await.unwrap();
    assert_eq!(told(&app).await, ["engineers anna@example.net /k3,/k4", "sender karl@example.org /k3"]);
}

/// Who writes the database without the keys sends nothing to anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_changed_from_outside_tell_nobody() {
    for (change, left) in [
        ("UPDATE contact_setting SET mail = 1", "contact lena@example.org /from-support/a"),
        ("UPDATE notice SET contact = 'otto' WHERE contact = 'lena'", ""),
        ("UPDATE notice SET audience = 'sender' WHERE contact = 'lena'", ""),
        ("UPDATE notice SET address = 'thief@example.org', contact = NULL, audience = 'watcher'", ""),
        ("UPDATE ticket_people SET visibility = 'organisation', affected = 'OTHER'", ""),
        ("UPDATE ticket_setting SET mail = 1", "contact lena@example.org /from-support/a"),
    ] {
        let fixture = Fixture::new();
        let (app, _, support) = house(&fixture).await;
        edit(&app, "karl", ContactChanges { mail: Some(false), ..ContactChanges::default() }).await;
        hand_back(&support, "a").await;
        let queue = Arc::clone(&app.0.access.notices);
        // It has settled: each customer has a notice.
        queue.due(Time::now().plus(Duration::from_secs(100)), 100).await.unwrap();
        execute(&app, change).await;
        let told = told(&app).await;
        assert_eq!(told.join("; "), left, "{change}");
    }
    // A receipt that nobody asked for.
    let fixture = Fixture::new();
    let (app, _, _) = house(&fixture).await;
    edit(&app, "karl", ContactChanges { mail: Some(false), ..ContactChanges::default() }).await;
    execute(&app, "UPDATE contact_setting SET receipts = 1").await;
    let karl = session_of(&app, "karl").await;
    put(&karl, "XT-1/k", b"k").await;
    assert_eq!(told(&app).await, ["engineers anna@example.net /k"]);
    assert_eq!(app.tickets().unproved().await.unwrap(), ["contact_setting karl"]);
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    assert!(customer_settings::of_contact(&mut conn, &word("karl")).await.unwrap().unwrap().receipts);
}
