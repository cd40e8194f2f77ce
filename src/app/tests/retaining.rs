//! Retention by the policy, certificates, closing by both sides, and who had what.

use super::compare::rows_are_as_told;
use super::*;
use crate::model::audit::Actor;
use crate::model::{DeletionReason, HouseTime, Side, Time, VersionId};
use crate::records::{facts, tickets};

const DAY: Duration = Duration::from_secs(86_400);

fn rule(period: &str, own: &[(&str, &str)]) -> Rule {
    let organisations = own.iter().map(|(id, period)| (word(id), period.parse().unwrap())).collect();
    Rule { start: Start::Closed, period: period.parse().unwrap(), organisations }
}

fn with_policy(close: Closing) -> Fixture {
    let retention = [("incident".to_owned(), rule("90d", &[("OTHER", "30d")]))].into();
    Fixture::with(|settings| settings.policy = Some(Policy { retention, close, ..Policy::default() }.into()))
}

/// Closes a ticket as of some days ago.
async fn close(app: &App, reference: &str, days: u32) {
    let repo = &app.0.access.repo;
    let mut tx = repo.records.begin().await.unwrap();
    let (ticket, at) = (word(reference), Time::now().minus(days * DAY));
    tickets::set_status(tx.conn(), &**repo.keys.proofs(), &ticket, TicketStatus::Closed, at).await.unwrap();
    let subject = crate::audit::Subject { actor: &Actor::Operator, ticket: Some(&ticket), id: None };
    crate::audit::write(tx.conn(), crate::audit::Kind::TicketClosed, subject, &serde_json::json!({})).await.unwrap();
    tx.commit().await.unwrap();
}

/// Says when the last run was: the clock then, and house time.
async fn set_last_run(app: &App, clock: Time, house: HouseTime) {
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    let text = format!("{} {}", clock.millis(), house.millis());
    facts::set_fact(tx.conn(), "retention_clock", &text).await.unwrap();
    tx.commit().await.unwrap();
}

async fn plan(app: &App) -> Vec<(String, Due, Option<String>)> {
    let lines = app.retention().retention_plan().await.unwrap();
    lines.into_iter().map(|line| (line.ticket, line.state, line.rule)).collect()
}

async fn run(app: &App, confirmed: bool) -> Result<Vec<String>, Error> {
    let run = app.retention().run_retention(confirmed, &Actor::Server).await?;
    assert!(run.failed.is_empty(), "{:?}", run.failed);
    Ok(run.shredded.into_iter().map(|done| done.ticket).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r68_what_is_due_by_the_policy_goes_and_nothing_else() {
    let fixture = with_policy(Closing::One);
    let app = fixture.open().await;
    for reference in ["DUE", "LATER", "HELD", "OPEN", "SOON"] {
        put(&customer(&app, reference).await, "f", reference.as_bytes()).await;
    }
    app.tickets().add_organisation(word("OTHER"), "Other".to_owned(), None).await.unwrap();
    let new = NewTicket { organisation: word("OTHER"), ..new_ticket("OWN") };
    app.tickets().open_ticket(new).await.unwrap();
    for (reference, days) in [("DUE", 91), ("LATER", 80), ("HELD", 400), ("SOON", 89), ("OWN", 31)] {
        close(&app, reference, days).await;
    }
    app.retention().hold(&word("HELD"), None).await.unwrap();
    let general = Some("retention.incident: 90d after closed".to_owned());
    let own = Some("retention.incident.organisation.OTHER: 30d after closed".to_owned());
    let line = |ticket: &str, state, rule: &Option<String>| (ticket.to_owned(), state, rule.clone());
    let expected = [
        line("HELD", Due::Held, &general),
        line("DUE", Due::Now, &general),
        line("OWN", Due::Now, &own),
        line("SOON", Due::Later, &general),
        line("LATER", Due::Later, &general),
    ];
    assert_eq!(plan(&app).await, expected);
    assert_eq!(app.tickets().list().await.unwrap().len(), 6, "a plan does nothing");
    assert_eq!(run(&app, false).await.unwrap(), ["DUE", "OWN"]);
    assert_eq!(run(&app, false).await.unwrap(), Vec::<String>::new());
    let log = app.retention().deletions(None, None).await.unwrap();
    let lines: Vec<_> =
        log.iter().map(|line| (&*line.ticket, line.reason, Some(line.rule.clone()), line.proved)).collect();
    let by_policy = DeletionReason::Retention;
    assert_eq!(lines, [("DUE", by_policy, general, true), ("OWN", by_policy, own, true)]);
    let later = Time::now().plus(DAY);
    assert!(app.retention().deletions(Some(later), None).await.unwrap().is_empty());
    assert_eq!(app.retention().deletions(None, Some(later)).await.unwrap().len(), 2);
    // Reopened before its end: its time begins anew.
    app.tickets().set_status(&word("SOON"), TicketStatus::Open).await.unwrap();
    assert!(plan(&app).await.iter().all(|(ticket, ..)| ticket != "SOON"));
    rows_are_as_told(&app).await;
    app.close().await;
    drop(app);

    // Without a policy nothing goes by itself.
    let fixture = Fixture { settings: Settings { policy: None, ..fixture.settings }, directory: fixture.directory };
    let app = fixture.open().await;
    assert!(run(&app, true).await.unwrap_err().to_string().contains("policy.file"));
    assert!(app.retention().end_of(&word("LATER")).await.unwrap().readable_until.is_none());
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r68_a_clock_that_jumped_removes_nothing_until_somebody_confirms_it() {
    let fixture = with_policy(Closing::One);
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    close(&app, "XT-1", 91).await;
    let house = app.0.access.repo.clock.now();
    assert!(app.retention().retention_clock().await.unwrap().is_none());
    // The last run was a good 27 hours ago by the clock, and a moment ago by house time.
    set_last_run(&app, Time::now().minus(Duration::from_secs(27 * 3600 + 1800)), house).await;
    for _ in 0..2 {
        let refused = run(&app, false).await.unwrap_err().to_string();
        assert!(refused.contains("27 hours ahead") && refused.contains("--confirm-clock"), "{refused}");
        assert!(app.retention().retention_clock().await.unwrap().unwrap().jumped);
        assert_eq!(app.tickets().list().await.unwrap().len(), 1);
    }
    // Set back, it stops as well.
    set_last_run(&app, Time::now().plus(Duration::from_secs(30 * 3600)), house).await;
    assert!(run(&app, false).await.unwrap_err().to_string().contains("back"));
    assert_eq!(run(&app, true).await.unwrap(), ["XT-1"]);
    assert!(!app.retention().retention_clock().await.unwrap().unwrap().jumped);
    // A server that ran all the time has no jump.
    customer(&app, "XT-2").await;
    close(&app, "XT-2", 91).await;
    set_last_run(&app, Time::now().minus(30 * DAY), house).await;
    app.0.access.repo.clock.advance(30 * DAY);
    assert_eq!(run(&app, false).await.unwrap(), ["XT-2"]);
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r88_a_certificate_is_signed_when_log_and_trail_agree() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let address = PublicAddress { host: "drop.example".into(), port: 22 };
    put(&customer(&app, "XT-1").await, "f", b"12345").await;
    let none = app.retention().certificate(&word("XT-1"), None, &address).await.unwrap_err();
    assert!(none.to_string().contains("report deletions"), "{none}");
    app.retention().shred_ticket(&word("XT-1")).await.unwrap();
    let one = app.retention().certificate(&word("XT-1"), None, &address).await.unwrap();
    let (statement, signature) = one.text.split_at(one.text.find("-----BEGIN").unwrap());
    let key = app.0.access.repo.keys.receipts().public();
    key.verify_ssh("tacdrop-deletion", statement.as_bytes(), signature).unwrap();
    assert!(key.verify_ssh("tacdrop-receipt", statement.as_bytes(), signature).is_err(), "it is no receipt");
    for line in
        ["Ticket: XT-1", "Artifacts: 1", "Versions: 1", "Bytes: 5", "Reason: request", "Server: drop.example:22"]
    {
        assert!(statement.lines().any(|found| found == line), "{line} is not in\n{statement}");
    }
    assert!(!statement.contains("not yet"));
    let again = app.retention().certificate(&word("XT-1"), None, &address).await.unwrap();
    assert_eq!(again.text, one.text);
    assert!(
        app.retention()
            .certificate_key()
            .allowed_signers
            .starts_with("tacdrop namespaces=\"tacdrop-deletion\" ssh-ed25519 ")
    );

    // Two tickets that had the reference one after the other.
    customer(&app, "XT-1").await;
    app.retention().shred_ticket(&word("XT-1")).await.unwrap();
    let newest = app.retention().certificate(&word("XT-1"), None, &address).await.unwrap();
    assert_ne!(newest.deletion.share, one.deletion.share);
    let older = app.retention().certificate(&word("XT-1"), Some(&one.deletion.share), &address).await.unwrap();
    assert_eq!(older.text, one.text);

    // Whoever writes the records gets nothing signed.
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    sqlx::query("UPDATE deletion SET bytes = 7").execute(tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
    assert!(app.retention().certificate(&word("XT-1"), None, &address).await.is_err());
    assert!(app.retention().deletions(None, None).await.unwrap().iter().all(|line| !line.proved));
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_policy_wants_both_a_ticket_is_closed_by_both() {
    let fixture = with_policy(Closing::Both);
    let app = fixture.open().await;
    let (session, ticket) = (customer(&app, "XT-1").await, word("XT-1"));
    assert!(app.tickets().close(&ticket, None).await.unwrap_err().to_string().contains("--by"));
    for _ in 0..2 {
        assert!(!app.tickets().close(&ticket, Some(Side::Engineer)).await.unwrap());
        put(&session, "f", b"it takes uploads still").await;
    }
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    sqlx::query("CREATE TEMP TABLE kept AS SELECT * FROM closing").execute(tx.conn()).await.unwrap();
    sqlx::query("UPDATE closing SET contact_at = 7").execute(tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(app.tickets().unproved().await.unwrap().len(), 1);
    assert!(app.tickets().close(&ticket, Some(Side::Contact)).await.is_err(), "somebody else changed the row");
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    sqlx::query("UPDATE closing SET contact_at = NULL").execute(tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
    assert!(app.tickets().close(&ticket, Some(Side::Contact)).await.unwrap());
    assert!(app.tickets().close(&ticket, Some(Side::Contact)).await.is_err(), "it is closed already");
    let end = app.retention().end_of(&ticket).await.unwrap();
    assert_eq!(end.readable_until, end.closed_at.map(|at| at.plus(90 * DAY)));
    rows_are_as_told(&app).await;
    // Reopened, both are asked again.
    app.tickets().set_status(&ticket, TicketStatus::Open).await.unwrap();
    assert!(!app.tickets().close(&ticket, Some(Side::Contact)).await.unwrap());
    app.retention().shred_ticket(&ticket).await.unwrap();
    rows_are_as_told(&app).await;
    app.close().await;

    let app = with_policy(Closing::One).open().await;
    customer(&app, "XT-1").await;
    assert!(app.tickets().close(&ticket, Some(Side::Contact)).await.unwrap());
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_of_a_closed_ticket_says_until_when_it_can_be_read() {
    let fixture = with_policy(Closing::One);
    let app = fixture.open().await;
    put(&customer(&app, "XT-1").await, "f", b"to be read").await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    app.tickets().close(&word("XT-1"), None).await.unwrap();
    let login = app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap();
    let until = app.retention().end_of(&word("XT-1")).await.unwrap().readable_until.unwrap().to_the_minute();
    let greeting = login.greeting().unwrap();
    assert!(greeting.contains(&format!("bis {until}")), "{greeting}");
    let session = app.session(&login);
    assert_eq!(get(&session, "f").await.unwrap(), b"to be read");
    // What is refused says it, too, also to a login that came when the ticket was open.
    let whole = WriteMode { create: true, exclusive: false, truncate: true, append: false, read: false };
    let refused = async || session.open_write(&path("g"), whole).await.err();
    assert_eq!(refused().await, Some(Refusal::TicketClosed));
    let sentence = login.sentence(Refusal::TicketClosed);
    assert!(sentence.contains("wieder öffnen") && sentence.contains(&format!("bis {until}")), "{sentence}");
    assert_eq!(login.sentence(Refusal::DiskFull), Refusal::DiskFull.sentence(Language::De));
    app.tickets().set_status(&word("XT-1"), TicketStatus::Open).await.unwrap();
    assert_eq!(refused().await, None);
    app.tickets().close(&word("XT-1"), None).await.unwrap();
    assert_eq!(refused().await, Some(Refusal::TicketClosed));
    assert!(login.sentence(Refusal::TicketClosed).contains("bis "));
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_had_an_artifact_is_told_also_when_it_is_gone() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "f", b"one").await;
    put(&session, "f", b"two!").await;
    put(&session, "g", b"another").await;
    let anna = engineer(&app).await;
    for name in ["XT-1/f", "XT-1/g"] {
        get(&anna, name).await.unwrap();
    }
    let lines = app.retention().versions(&word("XT-1"), &PublicAddress::unknown()).await.unwrap();
    let id = |text: &str| VersionId::from_bytes(hex::decode(text).unwrap().try_into().unwrap());
    let artifact = id(&lines[0].id);
    let told = async |id| {
        let report = app.audit().accesses(id).await.unwrap();
        let lines = report.lines.iter().map(|line| (line.kind.clone(), line.actor.clone(), line.bytes, line.whole));
        (report.versions.len(), lines.collect::<Vec<_>>())
    };
    let (versions, before) = told(artifact).await;
    let line = |kind: &str, actor: &str, bytes, whole| (kind.to_owned(), actor.to_owned(), bytes, whole);
    let expected = [
        line("artifact.available", "XT-1", Some(3), None),
        line("artifact.available", "XT-1", Some(4), None),
        line("artifact.opened", "anna", None, None),
        line("artifact.read", "anna", Some(4), Some(true)),
    ];
    assert_eq!((versions, before), (2, expected.to_vec()));
    let one = app.audit().accesses(artifact).await.unwrap().lines[1].clone();
    assert_eq!(told(id(&one.version)).await.1, expected[1..], "of a version only what is told of it");
    drop((session, anna));
    app.retention().shred_ticket(&word("XT-1")).await.unwrap();
    assert_eq!(told(artifact).await, (2, expected.to_vec()));
    let unknown = app.audit().accesses(VersionId::from_bytes([9; 16])).await.unwrap_err();
    assert!(unknown.to_string().contains("0909"), "{unknown}");

    // The list by person, address and time.
    let count = async |filter: AuditFilter| {
        let mut found = 0;
        let sink = |page: &[AuditLine]| {
            found += page.len();
            Ok::<_, Error>(())
        };
        app.audit().list(&filter, sink).await.unwrap();
        found
    };
    let all =
        || AuditFilter { since: 1, kind: Some(crate::model::audit::Kind::ArtifactRead), ..AuditFilter::default() };
    assert_eq!(count(all()).await, 2);
    assert_eq!(count(AuditFilter { actor: Some("anna".into()), ..all() }).await, 2);
    assert_eq!(count(AuditFilter { actor: Some("XT-1".into()), ..all() }).await, 0);
    assert_eq!(count(AuditFilter { address: "127.0.0.0/8".parse().ok(), ..all() }).await, 2);
    assert_eq!(count(AuditFilter { address: "192.0.2.1".parse().ok(), ..all() }).await, 0);
    assert_eq!(count(AuditFilter { from: Some(Time::now().minus(DAY)), ..all() }).await, 2);
    assert_eq!(count(AuditFilter { to: Some(Time::now().minus(DAY)), ..all() }).await, 0);
    assert_eq!(count(AuditFilter { ticket: Some(word("XT-1")), ..all() }).await, 2, "of one that was shredded, too");
    app.close().await;
}
