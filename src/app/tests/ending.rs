//! The end of whole tickets: shredded, held.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Row, SqliteConnection};

use super::compare::rows_are_as_told;
use super::crashes::copy;
use super::lifecycle::{HOUR, cut, lines, quiet, sums_are_right};
use super::*;
use crate::records::closings;
use crate::records::deletions::{self, Deletion};

async fn outsider(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).foreign_keys(false).connect().await.unwrap()
}

async fn rows(conn: &mut SqliteConnection, text: &str) -> Vec<SqliteRow> {
    sqlx::query(AssertSqlSafe(text.to_owned())).fetch_all(conn).await.unwrap()
}

/// What only a share's keys open, or what they are wrapped in: all of it must go from the disk.
async fn secrets(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for (file, questions) in [
        ("keyring.sqlite", &["SELECT wrapped FROM share_key"][..]),
        (
            "records.sqlite",
            &[
                "SELECT file_key FROM version",
                "SELECT progress FROM version",
                "SELECT sha256 FROM version",
                "SELECT extent_key FROM extent_use",
                "SELECT name FROM entry",
                "SELECT name_index FROM entry",
                "SELECT bytes FROM object",
                "SELECT extent_bytes FROM small_file",
                "SELECT manifest_bytes FROM small_file",
                "SELECT digest FROM version_digest",
                "SELECT verifier FROM ticket_token",
            ],
        ),
    ] {
        let mut conn = outsider(&root.join(file)).await;
        for question in questions {
            let all: Vec<Vec<u8>> = rows(&mut conn, question).await.iter().filter_map(|row| row.get(0)).collect();
            assert!(!all.is_empty(), "{question}: there is something to look for");
            found
                .extend(all.into_iter().filter(|bytes| bytes.len() >= 16).map(|bytes| ((*question).to_owned(), bytes)));
        }
    }
    found
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(root).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Which of these bytes some file of a directory holds still.
fn held_by_files(root: &Path, secrets: &[(String, Vec<u8>)]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // Eight bytes of each are looked up first: all at once, and not one after the other.
    let mut by_head: BTreeMap<&[u8], Vec<&(String, Vec<u8>)>> = BTreeMap::new();
    for secret in secrets {
        by_head.entry(&secret.1[..8]).or_default().push(secret);
    }
    for file in files(root) {
        let bytes = std::fs::read(&file).unwrap();
        for (at, head) in bytes.windows(8).enumerate() {
            for (what, secret) in by_head.get(head).into_iter().flatten().map(|secret| (&secret.0, &secret.1)) {
                if bytes[at..].starts_with(secret) {
                    found.insert(format!("{}: {what}", file.strip_prefix(root).unwrap().display()));
                }
            }
        }
    }
    found
}

/// A ticket with files in every state, of every size, and what hangs on them.
async fn a_ticket(app: &App, reference: &str) -> ShareSession {
    let session = customer(app, reference).await;
    let watchers = vec!["watcher@example.net".to_owned()];
    let people = PeopleChanges { watchers, ..PeopleChanges::default() };
    app.tickets().edit(&word(reference), TicketEdit { people, ..TicketEdit::default() }).await.unwrap();
    put(&session, "small", b"one\n").await;
    put(&session, "small", b"two, longer\n").await;
    put(&session, "large", &pattern(2_500_000, 1)).await;
    put(&session, "large.sha256", b"gibberish").await;
    app.0.access.sidecars.check_all().await.unwrap();
    session.make_directory(&path("logs")).await.unwrap();
    put(&session, "logs/one", &pattern(70_000, 2)).await;
    put(&session, "logs/two", &pattern(80_000, 3)).await;
    session.rename(&path("logs/two"), &path("logs/one"), true).await.unwrap();
    put(&session, "gone", b"withdrawn").await;
    session.remove_file(&path("gone")).await.unwrap();
    put(&session, "shredded", b"shredded").await;
    app.retention().shred(&word(reference), &path("shredded"), None).await.unwrap();
    put(&session, "upload.part", b"held").await;
    session.digest(&path("large"), crate::model::Algorithm::Md5).await.unwrap();
    cut(app, &session, "unfinished", &pattern(300_000, 4)).await;
    session
}

fn fixture() -> Fixture {
    Fixture::with(|settings| settings.also_digests = vec![crate::model::Algorithm::Md5])
}

async fn log_of(app: &App, reference: &str) -> Vec<Deletion> {
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    deletions::of_ticket(&mut conn, &word(reference)).await.unwrap()
}

/// Nothing is left of a ticket but its row in the deletion log, and all that is left agrees.
async fn is_gone(app: &App, root: &Path, secrets: &[(String, Vec<u8>)], when: &str) {
    let log = log_of(app, "XT-1").await;
    assert_eq!(log.len(), 1, "{when}");
    let row = &log[0];
    assert!(
        row.keys_destroyed_at.is_some() && row.records_removed_at.is_some() && row.objects_removed_at.is_some(),
        "{when}: {row:?}"
    );
    assert_eq!((row.artifacts, row.versions), (7, 9), "{when}");
    let mut conn = outsider(&root.join("records.sqlite")).await;
    for table in [
        "entry",
        "version",
        "extent",
        "extent_use",
        "object",
        "small_file",
        "doomed",
        "notice",
        "notice_version",
        "held_notice",
        "sender_check",
        "version_digest",
        "ticket_people",
        "ticket_contact",
        "ticket_watcher",
        "ticket_setting",
        "checklist_tick",
        "ticket_token",
        "closing",
        "hold",
        "ticket",
    ] {
        let there = rows(&mut conn, &format!("SELECT * FROM {table}")).await;
        assert!(there.is_empty(), "{when}: {table} has {} rows", there.len());
    }
    let mut conn = outsider(&root.join("keyring.sqlite")).await;
    assert!(rows(&mut conn, "SELECT * FROM share_key").await.is_empty(), "{when}");
    drop(conn);
    let left = held_by_files(root, secrets);
    assert!(left.is_empty(), "{when}: {left:#?}");
    let objects = files(&root.join("objects"));
    assert!(objects.iter().all(|file| file.ends_with("house")), "{when}: {objects:?}");
    rows_are_as_told(app).await;
    let verified = app.audit().verify(None).await.unwrap();
    assert!(verified.fault.is_none(), "{when}: {:?}", verified.fault);
    assert_eq!(app.tickets().unproved().await.unwrap(), Vec::<String>::new(), "{when}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r88_nothing_is_left_of_a_ticket_that_was_shredded() {
    let fixture = fixture();
    let app = fixture.open().await;
    let session = a_ticket(&app, "XT-1").await;
    let root = app.data().root().to_owned();
    let before = secrets(&root).await;
    let found = held_by_files(&root, &before);
    assert!(found.len() >= 9, "the search finds what there is: {found:#?}");
    let handle = engineer(&app).await.open_read(&path("XT-1/large")).await.unwrap();
    let mut upload =
        session.open_write(&path("late"), WriteMode { create: true, ..WriteMode::default() }).await.unwrap();

    let plan = app.retention().plan_shred_ticket(&word("XT-1")).await.unwrap();
    let done = app.retention().shred_ticket(&word("XT-1")).await.unwrap();
    assert_eq!((plan.artifacts, plan.versions, plan.bytes), (done.artifacts, done.versions, done.bytes));
    assert!(!done.journal_owed && done.objects_removed_at.is_some());

    // What was open comes to nothing.
    upload.begin_write(0, 4).await.ok();
    upload.write(b"late").await.ok();
    assert!(upload.close().await.is_err());
    assert!(session.list(&path("")).await.is_err() || get(&session, "small").await.is_err());
    drop((handle, session));
    quiet(&app).await;
    app.retention().sweep(&Actor::Server).await.unwrap();
    is_gone(&app, &root, &before, "at once").await;
    let again = app.retention().shred_ticket(&word("XT-1")).await.unwrap_err();
    assert!(again.to_string().contains("there is no ticket XT-1"), "{again}");

    // The reference taken anew sees nothing old, and is a ticket like any other.
    let session = customer(&app, "XT-1").await;
    assert!(matches!(get(&session, "small").await, Err(Refusal::NoSuchFile)));
    assert_eq!(lines(&app).await.len(), 0);
    assert!(app.notices().list(Some(&word("XT-1"))).await.unwrap().is_empty());
    put(&session, "small", b"of the next one").await;
    assert_eq!(get(&session, "small").await.unwrap(), b"of the next one");
    rows_are_as_told(&app).await;
    sums_are_right(&app).await;
    app.retention().shred_ticket(&word("XT-1")).await.unwrap();
    let log = log_of(&app, "XT-1").await;
    assert_eq!(log.len(), 2);
    assert_ne!(log[0].share, log[1].share);
    rows_are_as_told(&app).await;
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r88_a_kill_at_any_point_of_shredding_a_ticket_leads_to_the_same_end() {
    let fixture = fixture();
    let app = fixture.open().await;
    drop(a_ticket(&app, "XT-1").await);
    let root = app.data().root().to_owned();
    let before = secrets(&root).await;
    let copies: Arc<Mutex<Vec<(&'static str, TempDir)>>> = Arc::default();
    let (keep, from) = (Arc::clone(&copies), root.clone());
    app.0.access.repo.failpoints.watch(move |point| {
        if point.starts_with("ticket-shred.") || point == "sweep.objects-deleted" || point.starts_with("shred.") {
            let house = tempfile::tempdir().unwrap();
            copy(&from, &house.path().join("data"));
            keep.lock().unwrap().push((point, house));
        }
    });
    app.retention().shred_ticket(&word("XT-1")).await.unwrap();
    is_gone(&app, &root, &before, "without a kill").await;
    app.close().await;
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    let points: BTreeSet<_> = copies.iter().map(|(point, _)| *point).collect();
    let all: BTreeSet<_> =
        crate::repo::failpoints::NAMES.iter().copied().filter(|p| p.starts_with("ticket-shred.")).collect();
    assert!(all.is_subset(&points), "{points:?}");
    for (number, (point, house)) in copies.into_iter().enumerate() {
        let data = DataDirectory::at(house.path().join("data"));
        let when = format!("killed at {point} ({number})");
        let app = App::serve(data, fixture.settings.clone(), Handle::current(), Box::new(|| {})).await.unwrap();
        if point == "ticket-shred.before-begun" {
            // Nothing had happened yet.
            assert!(log_of(&app, "XT-1").await.is_empty());
            app.retention().shred_ticket(&word("XT-1")).await.unwrap();
        }
        is_gone(&app, &house.path().join("data"), &before, &when).await;
        customer(&app, "XT-1").await;
        app.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r68_a_backup_of_the_records_opens_nothing_once_the_keys_are_destroyed() {
    let fixture = fixture();
    let app = fixture.open().await;
    let (session, other) = (a_ticket(&app, "XT-1").await, customer(&app, "XT-2").await);
    put(&other, "stays", b"of another ticket").await;
    let older = fixture.directory.path().join("older.sqlite");
    app.0.access.repo.records.copy_to(&older).await.unwrap();
    let objects = fixture.directory.path().join("objects");
    copy(&app.data().objects(), &objects);
    drop(session);
    app.retention().shred_ticket(&word("XT-1")).await.unwrap();
    assert_eq!(get(&other, "stays").await.unwrap(), b"of another ticket");
    drop(other);
    app.close().await;
    // The records and the objects of before, with the keyring of today.
    let root = app.data().root().to_owned();
    for file in ["records.sqlite-wal", "records.sqlite-shm"] {
        std::fs::remove_file(root.join(file)).ok();
    }
    std::fs::copy(&older, root.join("records.sqlite")).unwrap();
    copy(&objects, &app.data().objects());
    drop(app);
    let data = DataDirectory::at(&root);
    let app = App::open(data, fixture.settings.clone()).await.unwrap();
    let lines = app.integrity().verify(Some(&word("XT-2")), |_| ()).await.unwrap();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.intact));
    let why = app.retention().versions(&word("XT-1"), &PublicAddress::unknown()).await.unwrap_err();
    assert!(why.to_string().contains("shredded"), "{why}");
    let read = app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await;
    assert!(read.is_err(), "{read:?}");
    app.close().await;
    drop(app);

    // A server removes what came back before anybody gets in.
    let app = fixture.open().await;
    let left: Vec<_> = app.tickets().list().await.unwrap().into_iter().map(|line| line.reference).collect();
    assert_eq!(left, ["XT-2"]);
    let log = log_of(&app, "XT-1").await;
    assert_eq!((log.len(), log[0].rule.as_str()), (1, "keys destroyed before: back with an older copy"));
    assert!(log[0].objects_removed_at.is_some());
    assert!(app.retention().certificate(&word("XT-1"), None, &PublicAddress::unknown()).await.is_ok());
    all_intact(&app).await;
    assert_eq!(get(&engineer(&app).await, "XT-2/stays").await.unwrap(), b"of another ticket");
    app.close().await;
}

/// What one has written down, the other leaves as it is: the log, the trail and the certificate agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_shred_one_ticket_write_each_step_down_once() {
    let fixture = fixture();
    let one = fixture.open().await;
    let other = App::open(one.data().clone(), fixture.settings.clone()).await.unwrap();
    for round in 0..6 {
        let reference = format!("XT-{round}");
        let session = customer(&one, &reference).await;
        for name in ["small", "other"] {
            put(&session, name, b"bytes\n").await;
        }
        let ticket = word(&reference);
        let both = [&one, &other].map(|app| {
            let (app, ticket) = (app.clone(), ticket.clone());
            tokio::spawn(async move { app.retention().shred_ticket(&ticket).await.is_ok() })
        });
        let [first, second] = both;
        assert!(first.await.unwrap() | second.await.unwrap(), "neither did");
        one.retention().finish_shredding(&Actor::Server).await.unwrap();
        let [row] = &log_of(&one, &reference).await[..] else { panic!("one row") };
        assert!(row.keys_destroyed_at <= row.records_removed_at && row.records_removed_at <= row.objects_removed_at);
        let conn = &mut outsider(&one.data().root().join("records.sqlite")).await;
        let told = "SELECT kind FROM audit_event WHERE kind = 'ticket.objects-removed'";
        assert_eq!(rows(conn, told).await.len(), round + 1, "told of once each");
        rows_are_as_told(&one).await;
    }
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r68_nothing_of_a_ticket_that_is_held_goes() {
    let fixture = fixture();
    let app = fixture.open().await;
    let (session, ticket) = (a_ticket(&app, "XT-1").await, word("XT-1"));
    let held = app.retention().hold(&ticket, Some("lawsuit 7".to_owned())).await.unwrap();
    assert_eq!(held.reason.as_deref(), Some("lawsuit 7"));
    assert_eq!(app.retention().held(&ticket).await.unwrap().map(|held| held.reason), Some(held.reason));
    assert!(app.retention().hold(&ticket, None).await.is_err(), "it is held already");
    rows_are_as_told(&app).await;
    let before = lines(&app).await.len();
    for error in [
        app.retention().shred_ticket(&ticket).await.map(|_| ()).unwrap_err(),
        app.retention().plan_shred_ticket(&ticket).await.map(|_| ()).unwrap_err(),
        app.retention().shred(&ticket, &path("small"), None).await.map(|_| ()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("lawsuit 7") && error.to_string().contains("ticket release"), "{error}");
    }
    // Neither the end of a grace nor of an upload takes anything, nor is anybody told so.
    let step = async || {
        app.0.access.repo.clock.advance(400 * 24 * HOUR);
        let done = app.retention().expire().await.unwrap();
        (done.warned, done.unfinished, done.withdrawn)
    };
    assert_eq!((step().await, step().await), ((0, 0, 0), (0, 0, 0)));
    assert_eq!(lines(&app).await.len(), before);
    app.retention().restore(&ticket, &path("gone")).await.unwrap();
    assert_eq!(get(&session, "gone").await.unwrap(), b"withdrawn");
    session.remove_file(&path("gone")).await.unwrap();

    app.retention().release(&ticket).await.unwrap();
    assert!(app.retention().release(&ticket).await.is_err());
    rows_are_as_told(&app).await;
    assert_eq!(step().await, (1, 0, 1));
    assert_eq!(step().await, (0, 1, 0));
    app.retention().shred_ticket(&ticket).await.unwrap();
    app.close().await;
}

/// Every column of both tables, but the one that says which row it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_column_of_the_deletion_log_of_closings_and_of_holds_is_proved() {
    let fixture = fixture();
    let app = fixture.open().await;
    drop((customer(&app, "XT-1").await, customer(&app, "XT-2").await));
    app.retention().shred_ticket(&word("XT-1")).await.unwrap();
    app.retention().hold(&word("XT-2"), Some("why".to_owned())).await.unwrap();
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    let share = crate::repo::tickets::existing_ticket(tx.conn(), &word("XT-2")).await.unwrap().share;
    let (prover, side) = (app.0.access.repo.keys.proofs(), crate::model::Side::Contact);
    closings::agree(tx.conn(), &**prover, share, side, crate::model::Time::now()).await.unwrap();
    tx.commit().await.unwrap();
    let mut conn = outsider(&app.data().records()).await;
    let mut changed = 0;
    for table in ["deletion", "closing", "hold"] {
        let row = rows(&mut conn, &format!("SELECT * FROM {table}")).await.remove(0);
        for column in row.columns().iter().map(Column::name) {
            let other = match column {
                "share_id" | "proof" => "randomblob(length(proof))",
                "reason" if table == "deletion" => "'retention'",
                "ticket" | "organisation" | "rule" | "reason" => "'other'",
                _ => "7",
            };
            if column == "share_id" {
                continue;
            }
            rows(&mut conn, &format!("CREATE TEMP TABLE kept AS SELECT * FROM {table}")).await;
            rows(&mut conn, &format!("UPDATE {table} SET {column} = {other}")).await;
            let named = app.tickets().unproved().await.unwrap();
            assert!(named.len() == 1 && named[0].starts_with(table), "{table}.{column}: {named:?}");
            if table == "closing" {
                assert!(app.tickets().close(&word("XT-2"), None).await.is_ok(), "one side is enough here");
                app.tickets().set_status(&word("XT-2"), TicketStatus::Open).await.unwrap();
            } else if table == "deletion" {
                let found = app.integrity().compare().await.unwrap();
                assert!(!found.differences.is_empty(), "{table}.{column}");
            } else {
                // It counts all the same: who writes the records ends no hold by a wrong proof.
                assert!(app.retention().shred_ticket(&word("XT-2")).await.is_err());
            }
            rows(&mut conn, &format!("DELETE FROM {table}")).await;
            rows(&mut conn, &format!("INSERT INTO {table} SELECT * FROM kept")).await;
            rows(&mut conn, "DROP TABLE kept").await;
            changed += 1;
        }
        assert_eq!(app.tickets().unproved().await.unwrap(), Vec::<String>::new());
        if table == "closing" {
            continue;
        }
        // A row that is gone shows, too.
        rows(&mut conn, &format!("CREATE TEMP TABLE kept AS SELECT * FROM {table}")).await;
        rows(&mut conn, &format!("DELETE FROM {table}")).await;
        let found = app.integrity().compare().await.unwrap();
        assert!(!found.differences.is_empty(), "{table}");
        if table == "hold" {
            // The trail tells of it still.
            let refused = app.retention().shred_ticket(&word("XT-2")).await.unwrap_err().to_string();
            assert!(refused.contains("changed the records from outside"), "{refused}");
        }
        rows(&mut conn, &format!("INSERT INTO {table} SELECT * FROM kept")).await;
        rows(&mut conn, "DROP TABLE kept").await;
    }
    assert_eq!(changed, 16 + 3 + 3);
    rows_are_as_told(&app).await;
    app.close().await;
}
