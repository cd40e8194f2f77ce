//! What an engineer sees of what came: the times of tickets' directories, and `/.new`.

use super::*;
use crate::model::Time;

/// Names and times of a directory, by name.
async fn listed(session: &ShareSession, name: &str) -> Result<Vec<(String, Time)>, Refusal> {
    let mut listing = session.list(&path(name)).await?;
    let mut lines = Vec::new();
    loop {
        let page = listing.next(3).await?;
        if page.is_empty() {
            break;
        }
        lines.extend(page.into_iter().map(|entry| (entry.name.to_string(), entry.attributes.modified)));
    }
    lines.sort();
    Ok(lines)
}

async fn names(session: &ShareSession, name: &str) -> Vec<String> {
    listed(session, name).await.unwrap().into_iter().map(|(name, _)| name).collect()
}

async fn sql(app: &App, text: &'static str) {
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    sqlx::query(text).execute(&mut **tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
}

/// As if half an hour had passed since the looks so far began.
async fn half_an_hour_later(app: &App) {
    sql(app, "UPDATE look SET began = began - 1800000").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_a_tickets_directory_is_that_of_its_newest_arrival() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (one, _two) = (customer(&app, "XT-1").await, customer(&app, "XT-2").await);
    let anna = engineer(&app).await;
    let opened = app.tickets().ticket(&word("XT-1")).await.unwrap().opened_at;
    assert_eq!(listed(&anna, "/").await.unwrap()[0], ("XT-1".to_owned(), opened));
    // The short way of small files, a version of one, a large file, and one that was renamed.
    let mut last = opened;
    for (name, bytes) in [("a", 10), ("a", 20), ("large", 3_000_000)] {
        put(&one, name, &pattern(bytes, 1)).await;
        let received = app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap();
        let newest = received.iter().filter_map(|line| line.received_at).max().unwrap();
        assert!(newest >= last);
        last = newest;
        assert_eq!(listed(&anna, "/").await.unwrap()[0], ("XT-1".to_owned(), newest), "{name}");
        assert_eq!(anna.attributes(&path("/XT-1")).await.unwrap().modified, newest);
    }
    one.rename(&path("a"), &path("b"), false).await.unwrap();
    one.remove_file(&path("b")).await.unwrap();
    assert_eq!(listed(&anna, "/").await.unwrap()[0].1, last, "what is gone came all the same");
    let second = app.tickets().ticket(&word("XT-2")).await.unwrap().opened_at;
    assert_eq!(listed(&anna, "/").await.unwrap()[1], ("XT-2".to_owned(), second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_tickets_leave_the_list_by_a_setting_and_can_be_reached() {
    for hide_closed in [false, true] {
        let fixture = Fixture::with(|settings| settings.hide_closed = hide_closed);
        let app = fixture.open().await;
        put(&customer(&app, "XT-1").await, "a", b"1").await;
        customer(&app, "XT-2").await;
        app.tickets().set_status(&word("XT-1"), TicketStatus::Closed).await.unwrap();
        let anna = engineer(&app).await;
        let listed = if hide_closed { vec!["XT-2"] } else { vec!["XT-1", "XT-2"] };
        assert_eq!(names(&anna, "/").await, listed);
        assert_eq!(get(&anna, "/XT-1/a").await.unwrap(), b"1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_since_the_last_look_lies_in_one_place() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (one, two) = (customer(&app, "XT-1").await, customer(&app, "XT-2").await);
    one.make_directory(&path("logs")).await.unwrap();
    one.make_directory(&path("logs/deep")).await.unwrap();
    put(&one, "old.txt", b"old").await;
    put(&one, "logs/old.txt", b"old").await;
    let anna = engineer(&app).await;
    // The first look shows what came in the last month.
    assert_eq!(names(&anna, "/.new").await, ["XT-1"]);
    assert_eq!(names(&anna, "/.new/XT-1").await, ["logs", "old.txt"]);
    assert_eq!(names(&anna, "/.new/XT-1/logs").await, ["old.txt"]);
    half_an_hour_later(&app).await;
    sql(&app, "UPDATE version SET received_at = received_at - 7200000").await;
    sql(&app, "UPDATE ticket SET newest_at = newest_at - 7200000").await;

    put(&one, "logs/deep/new.txt", b"new").await;
    put(&two, "core.gz", &pattern(2_000_000, 2)).await;
    for _ in 0..2 {
        assert_eq!(names(&anna, "/.new/").await, ["XT-1", "XT-2"]);
        assert_eq!(names(&anna, "/.new/XT-1").await, ["logs"]);
        assert_eq!(names(&anna, "/.new/xt-1/logs").await, ["deep"]);
        assert_eq!(names(&anna, "/.new/XT-1/logs/deep").await, ["new.txt"]);
        assert_eq!(names(&anna, "/.new/XT-2").await, ["core.gz"]);
        // Another connection of the same look sees the same.
    }
    assert_eq!(get(&anna, "/.new/XT-1/logs/deep/new.txt").await.unwrap(), b"new");
    assert_eq!(get(&anna, "/.new/XT-2/core.gz").await.unwrap(), pattern(2_000_000, 2));
    assert_eq!(names(&anna, "/").await, ["XT-1", "XT-2"], "it is listed nowhere");
    assert_eq!(names(&anna, "/.new/XT-1/.versions/logs").await, ["deep", "old.txt"]);
    let of_new = anna.attributes(&path("/.new/XT-2/core.gz")).await.unwrap();
    assert_eq!((of_new.size, of_new.mode & 0o222), (2_000_000, 0));
    assert_eq!(anna.attributes(&path("/.new/none")).await.unwrap_err(), Refusal::NoSuchFile);
    assert!(matches!(anna.attributes(&path("/.new")).await.unwrap().kind, PlaceKind::Directory));

    // Nothing can be changed there, by no operation.
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let inside = path("/.new/XT-1/from-support/a");
    assert_eq!(anna.open_write(&inside, mode).await.err(), Some(Refusal::ReadOnly));
    assert_eq!(anna.make_directory(&inside).await, Err(Refusal::ReadOnly));
    assert_eq!(anna.remove_file(&path("/.new/XT-2/core.gz")).await, Err(Refusal::ReadOnly));
    assert_eq!(anna.rename(&path("/.new/XT-2/core.gz"), &path("/XT-2/a"), false).await, Err(Refusal::ReadOnly));
    assert!(anna.rename(&path("/XT-2/core.gz"), &path("/.new/XT-2/a"), true).await.is_err());
    assert_eq!(anna.make_directory(&path("/.new")).await, Err(Refusal::FixedPlace));

    // The next look begins where this one did; nobody else's does.
    half_an_hour_later(&app).await;
    sql(&app, "UPDATE version SET received_at = received_at - 7200000").await;
    sql(&app, "UPDATE ticket SET newest_at = newest_at - 7200000").await;
    assert_eq!(names(&anna, "/.new").await, Vec::<String>::new());
    assert_eq!(names(&anna, "/.new/XT-2").await, Vec::<String>::new());
    let key = ("SHA256:carl".to_owned(), "ssh-ed25519".to_owned());
    app.tickets().add_engineer(word("carl"), None, "carl@example.net".to_owned(), None, vec![key]).await.unwrap();
    app.tickets().assign(&word("XT-2"), &word("carl")).await.unwrap();
    let carl = app.session(&app.logins().by_key("carl", "SHA256:carl", FROM).await.unwrap().unwrap());
    assert_eq!(names(&carl, "/.new").await, ["XT-2"]);
    assert_eq!(listed(&carl, "/.new/XT-1").await.unwrap_err(), Refusal::NoSuchFile);
    assert_eq!(get(&carl, "/.new/XT-1/old.txt").await, Err(Refusal::NoSuchFile));

    // To a customer it is a name like any other.
    assert_eq!(one.attributes(&path("/.new")).await.unwrap_err(), Refusal::NoSuchFile);
    one.make_directory(&path("/.new")).await.unwrap();
    put(&one, "/.new/x", b"x").await;
    assert_eq!(get(&anna, "/XT-1/.new/x").await.unwrap(), b"x");
}
