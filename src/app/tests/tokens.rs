//! A ticket's tokens: several, each with an end of its own, typed as people type.

use super::compare::rows_are_as_told;
use super::*;
use crate::login::Origin;
use crate::model::{Door, LastDay, Time, TokenKind, Transport};
use tokio_util::sync::CancellationToken;

const OLD_DOOR: Origin = Origin { address: FROM, transport: Transport::Legacy, door: Door::Ssh };

async fn add(app: &App, kind: Option<TokenKind>) -> (TokenLine, String) {
    let new = NewToken { label: Some("laptop".to_owned()), until: None, kind };
    let (line, token) = app.tickets().add_token(&word("XT-1"), new).await.unwrap();
    (line, token.to_string())
}

async fn login(app: &App, token: &str, from: impl Into<Origin>) -> Option<crate::login::Login> {
    app.logins().by_token("XT-1", token, from).await.unwrap()
}

async fn execute(app: &App, text: &str) -> u64 {
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    let text = sqlx::AssertSqlSafe(text.to_owned());
    let done = sqlx::query(text).execute(&mut **tx.conn()).await.unwrap().rows_affected();
    tx.commit().await.unwrap();
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_on_its_own_and_the_others_sessions_go_on() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let main = app.tickets().new_token(&word("XT-1")).await.unwrap().to_string();
    let (line, second) = add(&app, None).await;
    let stop = CancellationToken::new();
    let (watching, stopped) = (app.clone(), stop.clone());
    let watch = tokio::spawn(async move { watching.logins().watch(stopped).await });
    let (by_main, by_second) = (login(&app, &main, FROM).await.unwrap(), login(&app, &second, FROM).await.unwrap());
    let (one, two) = (app.session(&by_main), app.session(&by_second));
    put(&one, "a", b"x").await;
    put(&two, "b", b"x").await;
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut under_way = two.open_write(&path("under-way"), mode).await.unwrap();
    write(&mut under_way, 0, b"y").await;
    let mut small = one.open_write(&path("small"), mode).await.unwrap();
    write(&mut small, 0, b"y").await;

    let ended = app.tickets().end_token(&word("XT-1"), &line.id[..4]).await.unwrap();
    assert_eq!((ended.state, ended.label.as_deref()), ("ended", Some("laptop")));
    // In the transaction that would publish, whatever the watch has seen.
    assert_eq!(under_way.close().await.unwrap_err(), Refusal::LoginEnded);
    small.close().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), by_second.ended().cancelled()).await.unwrap();
    assert!(login(&app, &second, FROM).await.is_none());
    assert!(!by_main.ended().is_cancelled());
    put(&one, "a", b"once more").await;
    put(&one, "c", b"new and small").await;
    // The main one is replaced: a third goes on.
    let (_, third) = add(&app, None).await;
    let by_third = login(&app, &third, FROM).await.unwrap();
    let new = app.tickets().new_token(&word("XT-1")).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), by_main.ended().cancelled()).await.unwrap();
    assert!(login(&app, &main, FROM).await.is_none() && login(&app, &new, FROM).await.is_some());
    put(&app.session(&by_third), "d", b"x").await;
    assert!(!by_third.ended().is_cancelled());
    for (digits, part) in [("", "has no token"), ("zzzz", "has no token zzzz"), (&line.id[..4], "ended already")] {
        let why = app.tickets().end_token(&word("XT-1"), digits).await.unwrap_err().to_string();
        assert!(why.contains(part), "{why}");
    }
    stop.cancel();
    watch.await.unwrap();
    rows_are_as_told(&app).await;
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_allows_what_its_kind_says_and_is_typed_as_people_type() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let (_, plain) = add(&app, None).await;
    let (_, upload_only) = add(&app, Some(TokenKind::UploadOnly)).await;
    let (_, device) = add(&app, Some(TokenKind::Device)).await;
    for (token, reads, old_door) in [(&plain, true, false), (&upload_only, false, false), (&device, false, true)] {
        let session = app.session(&login(&app, token, FROM).await.unwrap());
        put(&session, "file", b"x").await;
        assert_eq!(get(&session, "file").await.err(), (!reads).then_some(Refusal::UploadOnly));
        assert_eq!(login(&app, token, OLD_DOOR).await.is_some(), old_door);
        let groups: Vec<_> = token.as_bytes().chunks(5).map(|group| str::from_utf8(group).unwrap()).collect();
        for typed in [groups.join("-"), groups.join(" ").to_uppercase(), format!(" {token}\u{a0}")] {
            assert!(login(&app, &typed, FROM).await.is_some(), "{typed}");
        }
        for wrong in [&token[1..], &format!("{token}x"), "", "-", &token.replace(&token[..1], "_")] {
            assert!(login(&app, wrong, FROM).await.is_none(), "{wrong}");
        }
        assert!(app.logins().by_token("XT-2", token, FROM).await.unwrap().is_none());
    }
    let lines = app.tickets().tokens(&word("XT-1")).await.unwrap();
    assert_eq!(
        lines.iter().map(|line| line.kind).collect::<Vec<_>>(),
        [TokenKind::Plain, TokenKind::Plain, TokenKind::UploadOnly, TokenKind::Device]
    );
    let used = |line: &TokenLine| line.last_used_at.is_some() && line.last_used_from.as_deref() == Some("127.0.0.1");
    assert!(lines.iter().all(used), "{lines:?}");
    rows_are_as_told(&app).await;
    app.close().await;
}

/// People type references and names as they come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_name_is_the_same_in_capitals_and_small_letters() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    for name in ["XT-1", "xt-1", "Xt-1"] {
        let login = app.logins().by_token(name, &token, FROM).await.unwrap().unwrap();
        assert_eq!(login.user(), &word("XT-1"));
        put(&app.session(&login), "file", b"x").await;
    }
    for name in ["anna", "ANNA"] {
        let login = app.logins().by_key(name, "SHA256:test", FROM).await.unwrap().unwrap();
        assert_eq!(login.user(), &word("anna"));
    }
    for name in ["XT-11", "xt", "", "\u{ff38}T-1", "ACME"] {
        assert!(app.logins().by_token(name, &token, FROM).await.unwrap().is_none(), "{name}");
    }
    // Of two from before names were compared so, each is meant by its own letters only.
    execute(&app, "INSERT INTO login_name (name, kind) VALUES ('xt-1', 'ticket')").await;
    for (name, comes_in) in [("XT-1", true), ("xt-1", false), ("Xt-1", false)] {
        assert_eq!(app.logins().by_token(name, &token, FROM).await.unwrap().is_some(), comes_in, "{name}");
    }
    app.close().await;
}

/// What a customer of an older tacdrop has been told: any text, and it is matched as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_before_is_matched_exactly() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let repo = &app.0.access.repo;
    let mut tx = repo.records.begin().await.unwrap();
    let rows = crate::records::tokens::of_ticket(tx.conn(), &word("XT-1")).await.unwrap();
    let verifier = repo.keys.token().hash("XT-1", "Of-Before 1");
    let former = crate::records::tokens::Token { verifier, ..rows[0].clone() };
    let proof = hex::encode(crate::records::proofs::Proved::prove(&former, &**repo.keys.proofs()));
    drop(tx);
    let text = format!("UPDATE ticket_token SET verifier = x'{}', proof = x'{proof}'", hex::encode(verifier));
    assert_eq!(execute(&app, &text).await, 1);
    assert!(login(&app, "Of-Before 1", FROM).await.is_some());
    for wrong in ["of-before 1", "OfBefore1", "ofbefore1"] {
        assert!(login(&app, wrong, FROM).await.is_none(), "{wrong}");
    }
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_renewed_by_logins_until_its_ticket_is_closed() {
    const DAY: i64 = 86_400_000;
    let fixture = Fixture::with(|settings| settings.token_validity = Duration::from_secs(10 * 86_400));
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let (tickets, reference) = (app.tickets(), word("XT-1"));
    let token = tickets.new_token(&reference).await.unwrap();
    let today: LastDay = Time::now().to_string()[..10].parse().unwrap();
    let new = NewToken { until: Some(today), ..NewToken::default() };
    let (fixed, with_end) = tickets.add_token(&reference, new).await.unwrap();
    assert_eq!((fixed.valid_until, fixed.renews), (today.end(), false));
    let until = async || {
        let lines = tickets.tokens(&reference).await.unwrap();
        lines.iter().find(|line| line.main && line.state != "ended").unwrap().valid_until.millis()
    };
    let repo = &app.0.access.repo;
    // As if days had gone by: what tacdrop itself would have written.
    let age = async |days: i64| {
        let mut tx = repo.records.begin().await.unwrap();
        for row in crate::records::tokens::of_ticket(tx.conn(), &reference).await.unwrap() {
            let valid_until = Time::from_millis(row.valid_until.millis() - days * DAY);
            let prover = &**repo.keys.proofs();
            let used = (Time::from_millis(0), "192.0.2.1");
            crate::records::tokens::used(tx.conn(), prover, &row, used, valid_until).await.unwrap();
        }
        tx.commit().await.unwrap();
    };
    let full = until().await;
    age(5).await;
    assert_eq!(until().await, full - 5 * DAY);
    assert!(login(&app, &token, FROM).await.is_some());
    assert!((full..full + 60_000).contains(&until().await));
    // One with a last day of its own is not renewed, and is refused like an unknown one behind it.
    assert!(login(&app, &with_end, FROM).await.is_none());
    // A closed ticket's token opens it until it ends, and no longer.
    tickets.set_status(&reference, TicketStatus::Closed).await.unwrap();
    let full = until().await;
    age(9).await;
    let closed = login(&app, &token, FROM).await.unwrap();
    assert_eq!(until().await, full - 9 * DAY);
    age(2).await;
    assert!(login(&app, &token, FROM).await.is_none());
    // And who is logged in goes when the time is over, although nobody changed anything.
    let stop = CancellationToken::new();
    let (watching, stopped) = (app.clone(), stop.clone());
    let watch = tokio::spawn(async move { watching.logins().watch(stopped).await });
    closed.0.set_until(Time::now());
    tokio::time::timeout(Duration::from_secs(20), closed.ended().cancelled()).await.unwrap();
    stop.cancel();
    watch.await.unwrap();
    let over = NewToken { until: Some("2026-01-31".parse().unwrap()), ..NewToken::default() };
    assert!(tickets.add_token(&reference, over).await.unwrap_err().to_string().contains("too late"));
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_row_of_a_token_that_is_put_back_is_named() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let (line, _) = add(&app, None).await;
    execute(&app, "CREATE TABLE kept AS SELECT * FROM ticket_token").await;
    app.tickets().end_token(&word("XT-1"), &line.id).await.unwrap();
    app.tickets().new_token(&word("XT-1")).await.unwrap();
    rows_are_as_told(&app).await;
    let ways = [
        (
            "DELETE FROM ticket_token WHERE id IN (SELECT id FROM kept)",
            "INSERT INTO ticket_token SELECT * FROM kept",
            2,
            "was ended, and is not",
        ),
        (
            "DELETE FROM ticket_token WHERE id IN (SELECT id FROM kept)",
            "SELECT 1",
            2,
            "was made, as the trail tells, and has no row",
        ),
        (
            "UPDATE ticket_token SET id = randomblob(16) WHERE main = 1 AND ended_at IS NULL",
            "SELECT 1",
            2,
            "never made",
        ),
    ];
    execute(&app, "CREATE TABLE now AS SELECT * FROM ticket_token").await;
    for (first, then, count, wanted) in ways {
        execute(&app, first).await;
        execute(&app, then).await;
        let found = app.integrity().compare().await.unwrap();
        let said: Vec<_> = found.differences.iter().map(ToString::to_string).collect();
        assert!(said.len() == count && said.iter().any(|one| one.contains(wanted)), "{wanted}: {said:?}");
        execute(&app, "DELETE FROM ticket_token").await;
        execute(&app, "INSERT INTO ticket_token SELECT * FROM now").await;
    }
    rows_are_as_told(&app).await;
    app.close().await;
}
