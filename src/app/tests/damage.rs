//! One row is damaged, in each of its columns in turn: whatever reads many rows shows all others
//! still.

use std::collections::BTreeSet;

use super::*;
use crate::model::{NoticeState, Time};
use crate::notices::outbox::Outbox;
use tacdrop_probe::Damager;

const WHOLE: WriteMode = WriteMode { create: true, exclusive: false, truncate: true, append: false, read: false };

/// Two tickets, each of its own organisation and engineer: whatever is damaged is the first one's.
struct Ground {
    app: App,
    customer: ShareSession,
    engineer: ShareSession,
    other_customer: ShareSession,
    other_engineer: ShareSession,
    /// When what was queued at the beginning has settled.
    later: Time,
}

async fn ground(fixture: &Fixture) -> Ground {
    let app = fixture.open().await;
    let customer = customer(&app, "XT-1").await;
    app.tickets().add_organisation(word("OTHER"), "Other".to_owned(), None).await.unwrap();
    let key = ("SHA256:bob".to_owned(), "ssh-ed25519".to_owned());
    app.tickets().add_engineer(word("bob"), None, "bob@example.net".to_owned(), None, vec![key]).await.unwrap();
    let new = NewTicket { organisation: word("OTHER"), engineer: word("bob"), ..new_ticket("XT-2") };
    let (_, token) = app.tickets().open_ticket(new).await.unwrap();
    let login = app.logins().by_token("XT-2", &token, FROM).await.unwrap().unwrap();
    let other_customer = app.session(&login);
    let login = app.logins().by_key("bob", "SHA256:bob", FROM).await.unwrap().unwrap();
    let other_engineer = app.session(&login);
    for session in [&customer, &other_customer] {
        for name in ["victim", "healthy"] {
            put(session, name, b"abc").await;
        }
        put(session, "victim.sha256", b"gibberish").await;
        put(session, "held.part", b"held").await;
        // Unfinished: one write and no CLOSE.
        let mut upload = session.open_write(&path("unfinished"), WHOLE).await.unwrap();
        write(&mut upload, 0, b"begun").await;
        upload.sync().await.unwrap();
    }
    while app.open_uploads() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.0.access.sidecars.check_all().await.unwrap();
    let (engineer, later) = (engineer(&app).await, Time::now().plus(Duration::from_secs(100)));
    Ground { app, customer, engineer, other_customer, other_engineer, later }
}

async fn listed(session: &ShareSession, place: &str) -> Result<BTreeSet<String>, Refusal> {
    let mut listing = session.list(&path(place)).await?;
    let mut names = BTreeSet::new();
    loop {
        let lines = listing.next(2).await?;
        if lines.is_empty() {
            return Ok(names);
        }
        names.extend(lines.into_iter().map(|line| line.name.to_string()));
    }
}

/// What is wrong; nothing: all that is whole is shown. `ticket_is_whole`: the damage is of one file
/// or notice of `XT-1` only.
async fn faults(ground: &Ground, ticket_is_whole: bool) -> Vec<String> {
    let Ground { app, customer, engineer, other_customer, other_engineer, later } = ground;
    let mut faults = Vec::new();
    let mut check = |what: &str, right: bool| {
        if !right {
            faults.push(what.to_owned());
        }
    };
    let address = PublicAddress::unknown();
    for (reference, session, engineer) in [("XT-1", customer, engineer), ("XT-2", other_customer, other_engineer)] {
        if reference == "XT-1" && !ticket_is_whole {
            continue;
        }
        let ticket = word(reference);
        let artifacts = app.artifacts().list(&ticket, &address).await;
        check(
            &format!("artifacts {reference}"),
            artifacts.is_ok_and(|all| all.iter().any(|one| one.path == "healthy")),
        );
        let versions = app.retention().versions(&ticket, &address).await;
        check(&format!("versions {reference}"), versions.is_ok_and(|all| all.iter().any(|one| one.path == "healthy")));
        let inner = |place: &str| format!("/{reference}{place}");
        for (session, place, name) in [
            (session, "/".to_owned(), "healthy"),
            (session, "/.receipts".to_owned(), "healthy.receipt"),
            (engineer, inner("/"), "healthy"),
            (engineer, inner("/.versions"), "healthy"),
            (engineer, inner("/.receipts"), "healthy.receipt"),
        ] {
            let names = listed(session, &place).await;
            check(&format!("{place} of {reference}: {names:?}"), names.is_ok_and(|names| names.contains(name)));
        }
        check(&format!("notices of {reference}"), app.notices().list(Some(&ticket)).await.is_ok());
        check(&format!("reading in {reference}"), get(session, "healthy").await.is_ok());
    }
    check("an engineer's root", listed(other_engineer, "/").await.is_ok_and(|names| names.contains("XT-2")));
    let notices = app.notices().list(None).await;
    let is_there = |all: Vec<NoticeLine>| {
        let paths = |line: &NoticeLine| line.artifacts.iter().filter_map(|one| one.path.clone()).collect::<Vec<_>>();
        all.iter().any(|line| line.ticket == "XT-2" && paths(line).contains(&"healthy".to_owned()))
    };
    check("all notices", notices.is_ok_and(is_there));
    check("tickets", app.tickets().list().await.is_ok_and(|all| all.iter().any(|one| one.reference == "XT-2")));
    check("engineers", app.tickets().engineers().await.is_ok_and(|all| all.iter().any(|one| one.id == "bob")));
    check(
        "organisations",
        app.tickets().organisations().await.is_ok_and(|all| all.iter().any(|one| one.id == "OTHER")),
    );
    check("expiry", app.retention().expire().await.is_ok());
    check("sidecars", app.0.access.sidecars.check_all().await.is_ok());

    let queue = Arc::clone(&app.0.access.notices);
    check("the queue's next", queue.next_due().await.is_ok_and(|next| next.is_some()));
    match queue.due(*later, 4).await {
        Err(error) => check(&format!("what is due: {error}"), false),
        Ok(due) => {
            let of = |reference: &str| due.iter().find(|notice| *notice.ticket.reference.name() == word(reference));
            let tells =
                |notice: &crate::mail::DueNotice, name: &str| notice.files.iter().any(|file| file.path == path(name));
            check("the other ticket's notice", of("XT-2").is_some_and(|notice| tells(notice, "healthy")));
            if let Some(notice) = of("XT-1").filter(|_| ticket_is_whole) {
                check("the healthy file in the notice", tells(notice, "healthy"));
                // The damaged one is told of as it is, or named.
                check("the damaged file in the notice", tells(notice, "victim") || !notice.unreadable.is_empty());
            }
        }
    }
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r75_one_damaged_row_takes_no_other_one_along() {
    let fixture = Fixture::new();
    let ground = ground(&fixture).await;
    let app = &ground.app;
    assert_eq!(faults(&ground, true).await, [""; 0], "before anything is damaged");
    let lines = app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap();
    let id = |name: &str| lines.iter().find(|line| line.path == name).unwrap().id.clone();
    let victim = id("victim");
    let versions_of = |id: &str| format!("version_id IN (SELECT id FROM version WHERE entry_id = x'{id}')");
    let of_victim = versions_of(&victim);
    let cases: [(&str, String, bool); 11] = [
        ("entry", format!("id = x'{victim}'"), true),
        ("entry", format!("id = x'{}'", id("unfinished")), true),
        ("version", format!("entry_id = x'{victim}'"), true),
        ("version", format!("entry_id = x'{}'", id("unfinished")), true),
        ("sender_check", of_victim.clone(), true),
        ("held_notice", versions_of(&id("held.part")), true),
        ("notice_version", of_victim, true),
        ("notice", "ticket = 'XT-1'".to_owned(), true),
        ("ticket", "reference = 'XT-1'".to_owned(), false),
        ("engineer", "id = 'anna'".to_owned(), false),
        ("organisation", "id = 'ACME'".to_owned(), false),
    ];
    let mut damager = Damager::of(&app.0.access.repo.data.records()).await;
    let (mut wrong, mut damaged) = (Vec::new(), 0);
    for (table, condition, ticket_is_whole) in cases {
        assert!(damager.remember(table, &condition).await > 0, "{table}: nothing to damage");
        for (column, kind) in damager.columns(table).await {
            let odd = if kind == "INTEGER" { "-1" } else { "'nonsense'" };
            // Torn off its notice, nobody can tell where it belonged.
            if (table, &column[..]) == ("notice_version", "notice_id") {
                continue;
            }
            // Nothing, no UTF-8, no word or number that there is, and an id that nothing has.
            for value in ["NULL", "CAST(x'ff' AS TEXT)", odd, "x'ffffffffffffffffffffffffffffffff'"] {
                if damager.damage(table, &column, value).await {
                    damaged += 1;
                    for fault in faults(&ground, ticket_is_whole).await {
                        wrong.push(format!("{table}.{column} = {value}: {fault}"));
                    }
                    damager.mend(table).await;
                }
            }
        }
    }
    assert!(damaged > 300, "only {damaged} damages were possible");
    assert_eq!(wrong, [""; 0], "{} of {damaged}", wrong.len());
    assert_eq!(faults(&ground, true).await, [""; 0], "after everything is mended");
    let line = app.notices().list(Some(&word("XT-1"))).await.unwrap().remove(0);
    assert!(matches!(line.state, NoticeState::Pending | NoticeState::Failed), "{line:?}");
    damager.close().await;
    app.close().await;
}
