//! Organisations are changed, disabled and removed while their customers work.

use super::compare::rows_are_as_told;
use super::*;
use crate::model::{LastDay, Time};
use tokio_util::sync::CancellationToken;

fn day(text: &str) -> LastDay {
    text.parse().unwrap()
}

async fn token(app: &App, reference: &str) -> zeroize::Zeroizing<String> {
    customer(app, reference).await;
    app.tickets().new_token(&word(reference)).await.unwrap()
}

async fn comes_in(app: &App, reference: &str, token: &str) -> bool {
    app.logins().by_token(reference, token, FROM).await.unwrap().is_some()
}

async fn count_events(app: &App, kind: &str) -> i64 {
    let text = "SELECT COUNT(*) FROM audit_event WHERE kind = $1";
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    sqlx::query_scalar(text).bind(kind).fetch_one(&mut *conn).await.unwrap()
}

fn ends(until: Option<LastDay>) -> OrganisationEdit {
    OrganisationEdit { until: Some(until), ..OrganisationEdit::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organisation_that_is_disabled_or_over_keeps_its_customers_out_and_no_engineer() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let token = token(&app, "XT-1").await;
    let (tickets, acme) = (app.tickets(), word("ACME"));
    let stop = CancellationToken::new();
    let (watching, stopped) = (app.clone(), stop.clone());
    let watch = tokio::spawn(async move { watching.logins().watch(stopped).await });
    for way in ["disabled", "over"] {
        let login = app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap();
        let session = app.session(&login);
        put(&session, "before", b"x").await;
        let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
        let mut upload = session.open_write(&path("under-way"), mode).await.unwrap();
        write(&mut upload, 0, b"y").await;
        let line = match way {
            "disabled" => tickets.disable_organisation(&acme).await.unwrap(),
            _ => tickets.edit_organisation(&acme, ends(Some(day("2026-01-31")))).await.unwrap(),
        };
        assert_eq!((line.admitted, line.disabled, line.open_tickets), (false, way == "disabled", 1));
        // What was under way is not published, in whichever process it was decided.
        assert_eq!(upload.close().await.unwrap_err(), Refusal::LoginEnded);
        tokio::time::timeout(Duration::from_secs(20), login.ended().cancelled()).await.unwrap();
        assert!(!comes_in(&app, "XT-1", &token).await, "{way}");
        assert_eq!(get(&engineer(&app).await, "XT-1/before").await.unwrap(), b"x");
        let new = NewTicket { organisation: acme.clone(), ..new_ticket("XT-2") };
        let why = tickets.open_ticket(new).await.unwrap_err().to_string();
        assert!(why.contains("organisation ACME") && why.contains("tacdrop organisation e"), "{why}");
        rows_are_as_told(&app).await;
        match way {
            "disabled" => assert!(tickets.enable_organisation(&acme).await.unwrap().admitted),
            _ => assert!(tickets.edit_organisation(&acme, ends(None)).await.unwrap().admitted),
        }
        assert!(comes_in(&app, "XT-1", &token).await, "{way}");
        rows_are_as_told(&app).await;
    }
    stop.cancel();
    watch.await.unwrap();
    app.close().await;
}

/// Nobody changes anything when a day ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_ends_when_its_contract_s_last_day_is_over() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let token = token(&app, "XT-1").await;
    let soon: LastDay = Time::now().plus(Duration::from_secs(2 * 86_400)).to_string()[..10].parse().unwrap();
    app.tickets().edit_organisation(&word("ACME"), ends(Some(soon))).await.unwrap();
    let login = app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap();
    let organisation = app.tickets().organisation(&word("ACME")).await.unwrap();
    assert_eq!(organisation.until.unwrap().end(), login.0.until());
    assert!(login.0.until() > Time::now());
    // A moment that has come: the records are asked, and say that there is time left.
    login.0.set_until(Time::now());
    let stop = CancellationToken::new();
    let (watching, stopped) = (app.clone(), stop.clone());
    let watch = tokio::spawn(async move { watching.logins().watch(stopped).await });
    while login.0.until() <= Time::now() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!login.ended().is_cancelled());
    // The row of an organisation whose contract ended although no command said so, as when a day ends.
    let repo = &app.0.access.repo;
    let mut tx = repo.records.begin().await.unwrap();
    let ended = |row: &mut crate::records::organisations::Organisation| row.until = Some(day("2026-01-31"));
    let prover = &**repo.keys.proofs();
    crate::records::organisations::change(tx.conn(), prover, &word("ACME"), ended).await.unwrap();
    tx.commit().await.unwrap();
    login.0.set_until(Time::now());
    tokio::time::timeout(Duration::from_secs(20), login.ended().cancelled()).await.unwrap();
    stop.cancel();
    watch.await.unwrap();
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_an_organisation_changes_and_is_told() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let (tickets, acme) = (app.tickets(), word("ACME"));
    let edit = OrganisationEdit {
        name: Some("ACME Networks".to_owned()),
        contract: Some(Some("C-17".to_owned())),
        level: Some(Some("gold".to_owned())),
        until: Some(Some(day("2999-12-31"))),
    };
    let line = tickets.edit_organisation(&acme, edit.clone()).await.unwrap();
    assert_eq!((line.name.as_str(), line.level.as_deref()), ("ACME Networks", Some("gold")));
    // The same once more is no change, and leaves nothing in the trail.
    tickets.edit_organisation(&acme, edit).await.unwrap();
    let nothing = OrganisationEdit { contract: Some(None), ..OrganisationEdit::default() };
    assert_eq!(tickets.edit_organisation(&acme, nothing).await.unwrap().contract, None);
    assert_eq!(count_events(&app, "organisation.changed").await, 2);
    let bad = OrganisationEdit { name: Some("a\nb".to_owned()), ..OrganisationEdit::default() };
    assert!(tickets.edit_organisation(&acme, bad).await.unwrap_err().to_string().contains("on one line"));
    rows_are_as_told(&app).await;
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organisation_goes_when_nothing_hangs_on_it_and_its_id_stays_taken() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    customer(&app, "XT-2").await;
    let tickets = app.tickets();
    tickets.set_status(&word("XT-2"), TicketStatus::Closed).await.unwrap();
    let why = tickets.remove_organisation(&word("ACME")).await.unwrap_err().to_string();
    assert!(why.contains("2 tickets: XT-1, XT-2") && why.contains("tacdrop organisation disable ACME"), "{why}");
    tickets.add_organisation(word("OTHER"), "Other".to_owned(), None).await.unwrap();
    tickets.remove_organisation(&word("OTHER")).await.unwrap();
    assert!(tickets.organisation(&word("OTHER")).await.unwrap_err().to_string().contains("no organisation OTHER"));
    let why = tickets.add_organisation(word("other"), "Other".to_owned(), None).await.unwrap_err().to_string();
    assert!(why.contains("in use already, or was"), "{why}");
    for (done, why) in [
        (tickets.disable_organisation(&word("ACME")).await, None),
        (tickets.disable_organisation(&word("ACME")).await, Some("disabled already")),
        (tickets.enable_organisation(&word("ACME")).await, None),
        (tickets.enable_organisation(&word("ACME")).await, Some("is not disabled")),
        (tickets.enable_organisation(&word("NOBODY")).await, Some("no organisation NOBODY")),
    ] {
        match (done, why) {
            (Ok(_), None) => {}
            (Err(error), Some(why)) => assert!(error.to_string().contains(why), "{error}"),
            (other, why) => panic!("{other:?}, wanted {why:?}"),
        }
    }
    rows_are_as_told(&app).await;
    app.close().await;
}
