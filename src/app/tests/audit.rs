//! The audit trail: what is written into it, and that nobody changes it unseen.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::audit::AuditCheckpoint;
use crate::model::audit::{Actor, Kind};
use crate::records::WriteTx;

/// A trail with a customer, an engineer, uploads, readings, refusals, and several checkpoints.
async fn a_trail(app: &App) -> Vec<i64> {
    let mut signed = Vec::new();
    let session = customer(app, "XT-1").await;
    for round in 0..4 {
        put(&session, &format!("f{round}"), &pattern(1000, round)).await;
        get(&session, &format!("f{round}")).await.unwrap();
        session.make_directory(&path("from-support/no")).await.unwrap_err();
        session.list(&path("/")).await.unwrap();
        app.logins().by_token("XT-1", "wrong", FROM).await.unwrap();
        app.0.access.trail.flush(Duration::ZERO).await.unwrap();
        signed.push(app.audit().checkpoint().await.unwrap().unwrap().seq());
    }
    signed
}

async fn lines(app: &App) -> Vec<AuditLine> {
    let mut lines = Vec::new();
    app.audit()
        .list::<Error>(&AuditFilter::default(), |page| {
            lines.extend_from_slice(page);
            Ok(())
        })
        .await
        .unwrap();
    lines
}

async fn run(tx: &mut WriteTx, sql: String) {
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(tx.conn()).await.unwrap();
}

/// What somebody with the database file does to a trail of `n` entries.
#[derive(Debug, Clone)]
enum Deed {
    Edit {
        row: usize,
        column: usize,
    },
    Renumber {
        row: usize,
        to: i64,
    },
    Delete {
        row: usize,
    },
    /// Deletes, and moves what follows up.
    Close {
        row: usize,
    },
    /// Moves what follows down, and puts a row in between; `fits`: with a link that fits.
    Insert {
        row: usize,
        fits: bool,
    },
    Swap {
        row: usize,
        other: usize,
    },
    Cut {
        row: usize,
    },
    /// Edits, and makes the chain fit from there on.
    Rewrite {
        row: usize,
    },
    /// Puts a row behind the last one, with a link that fits and, with `seal`, another row's seal.
    Append {
        seal: bool,
    },
}

fn deeds() -> impl Strategy<Value = Deed> {
    let row = 0usize..1000;
    prop_oneof![
        4 => (row.clone(), 0usize..EDITS.len()).prop_map(|(row, column)| Deed::Edit { row, column }),
        1 => (row.clone(), prop_oneof![Just(0), Just(-5), Just(i64::MIN), Just(i64::MAX), 10_000i64..20_000])
            .prop_map(|(row, to)| Deed::Renumber { row, to }),
        1 => row.clone().prop_map(|row| Deed::Delete { row }),
        1 => row.clone().prop_map(|row| Deed::Close { row }),
        2 => (row.clone(), any::<bool>()).prop_map(|(row, fits)| Deed::Insert { row, fits }),
        1 => (row.clone(), 0usize..1000).prop_map(|(row, other)| Deed::Swap { row, other }),
        1 => row.clone().prop_map(|row| Deed::Cut { row }),
        1 => row.prop_map(|row| Deed::Rewrite { row }),
        1 => any::<bool>().prop_map(|seal| Deed::Append { seal }),
    ]
}

/// Each makes a value that the column did not have, or of a type that it never has.
const EDITS: &[&str] = &[
    "at = at + 1",
    "at = at - 3600000",
    "at = 'yesterday'",
    "at = at + 0.5",
    "kind = kind || 'x'",
    "kind = ''",
    "kind = CAST(kind AS BLOB)",
    "actor = actor || 'x'",
    "actor = x'ff'",
    "actor = CAST(x'ff' AS TEXT)",
    "ticket = coalesce(ticket, '') || 'x'",
    "ticket = CASE WHEN ticket IS NULL THEN '' ELSE NULL END",
    "ticket = CASE WHEN ticket IS NULL THEN x'' ELSE CAST(ticket AS BLOB) END",
    "subject = CASE WHEN subject IS NULL THEN x'00000000000000000000000000000000' ELSE NULL END",
    "subject = CASE WHEN subject IS NULL THEN x'' ELSE subject || x'00' END",
    "subject = CASE WHEN subject IS NULL THEN '' ELSE CAST(subject AS TEXT) END",
    "subject = 7",
    "detail = detail || ' '",
    "detail = 'no json'",
    "detail = ''",
    "chain = zeroblob(32)",
    "chain = x''",
    "chain = zeroblob(1000000)",
    "chain = 1",
    "seal = NULL",
    "seal = zeroblob(32)",
    "seal = x'00'",
    "seal = 'x'",
    "seal = chain",
];

impl Deed {
    /// Does it, and says which number must be named; none if nobody can see it.
    async fn carry_out(&self, tx: &mut WriteTx, entries: &[AuditLine], signed: &[i64]) -> Option<i64> {
        let count = i64::try_from(entries.len()).unwrap();
        let last_signed = *signed.last().unwrap();
        let at = |row: &usize| i64::try_from(row % entries.len()).unwrap() + 1;
        match self {
            Self::Edit { row, column } => {
                let seq = at(row);
                run(tx, format!("UPDATE audit_event SET {} WHERE seq = {seq}", EDITS[*column])).await;
                Some(seq)
            }
            Self::Renumber { row, to } => {
                let seq = at(row);
                run(tx, format!("UPDATE audit_event SET seq = {to} WHERE seq = {seq}")).await;
                Some(if *to < 1 { *to } else { seq })
            }
            Self::Delete { row } => {
                let seq = at(row);
                run(tx, format!("DELETE FROM audit_event WHERE seq = {seq}")).await;
                (seq < count || seq <= last_signed).then_some(seq)
            }
            Self::Close { row } => {
                let seq = at(row);
                run(tx, format!("DELETE FROM audit_event WHERE seq = {seq}")).await;
                run(tx, format!("UPDATE audit_event SET seq = -seq WHERE seq > {seq}")).await;
                run(tx, "UPDATE audit_event SET seq = -seq - 1 WHERE seq < 0".to_owned()).await;
                (seq < count || seq <= last_signed).then_some(seq)
            }
            Self::Insert { row, fits } => {
                let seq = at(row);
                run(tx, format!("UPDATE audit_event SET seq = -seq WHERE seq >= {seq}")).await;
                run(tx, "UPDATE audit_event SET seq = -seq + 1 WHERE seq < 0".to_owned()).await;
                let before = entries.iter().find(|line| line.seq == seq - 1).map_or([0; 32], link);
                let forged = crate::audit::forged_link(&before, seq, 5, "login.accepted", "mallory", "{}");
                let chain = if *fits { hex::encode(forged) } else { "00".repeat(32) };
                run(
                    tx,
                    format!(
                        "INSERT INTO audit_event (seq, at, kind, actor, detail, chain) \
                         VALUES ({seq}, 5, 'login.accepted', 'mallory', '{{}}', x'{chain}')"
                    ),
                )
                .await;
                Some(seq)
            }
            Self::Swap { row, other } => {
                let (one, other) = (at(row).min(at(other)), at(row).max(at(other)));
                if one == other {
                    return None;
                }
                run(tx, format!("UPDATE audit_event SET seq = -1 WHERE seq = {one}")).await;
                run(tx, format!("UPDATE audit_event SET seq = {one} WHERE seq = {other}")).await;
                run(tx, format!("UPDATE audit_event SET seq = {other} WHERE seq = -1")).await;
                Some(one)
            }
            Self::Cut { row } => {
                let seq = at(row);
                run(tx, format!("DELETE FROM audit_event WHERE seq >= {seq}")).await;
                // The records' own checkpoints go with it.
                run(tx, format!("DELETE FROM audit_checkpoint WHERE seq >= {seq}")).await;
                (seq <= last_signed).then_some(seq)
            }
            Self::Rewrite { row } => {
                let seq = at(row);
                let mut link = entries.iter().find(|line| line.seq == seq - 1).map_or([0; 32], link);
                for line in entries.iter().filter(|line| line.seq >= seq) {
                    let kind = if line.seq == seq { "nothing.happened" } else { "server.stopped" };
                    link = crate::audit::forged_link(&link, line.seq, 5, kind, "mallory", "{}");
                    run(
                        tx,
                        format!(
                            "UPDATE audit_event SET at = 5, kind = '{kind}', actor = 'mallory', ticket = NULL, \
                             subject = NULL, detail = '{{}}', chain = x'{}' WHERE seq = {}",
                            hex::encode(link),
                            line.seq
                        ),
                    )
                    .await;
                }
                Some(seq)
            }
            Self::Append { seal } => {
                let last = entries.last().unwrap();
                let chain = crate::audit::forged_link(&link(last), count + 1, 5, "login.accepted", "mallory", "{}");
                let seal = if *seal { "(SELECT seal FROM audit_event WHERE seq = 1)" } else { "NULL" };
                run(
                    tx,
                    format!(
                        "INSERT INTO audit_event (seq, at, kind, actor, detail, chain, seal) \
                         VALUES ({}, 5, 'login.accepted', 'mallory', '{{}}', x'{}', {seal})",
                        count + 1,
                        hex::encode(chain)
                    ),
                )
                .await;
                Some(count + 1)
            }
        }
    }
}

fn link(line: &AuditLine) -> [u8; 32] {
    hex::decode(&line.link).unwrap().try_into().unwrap()
}

#[test]
fn r66_every_change_is_found_and_the_first_entry_named() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fixture = Fixture::new();
    let (app, signed, entries) = runtime.block_on(async {
        let app = fixture.open().await;
        a_trail(&app).await;
        // No task writes while this test has the database in hand; some entries are not signed yet.
        app.close().await;
        let app = App::open(app.data().clone(), fixture.settings.clone()).await.unwrap();
        let signed =
            crate::records::audit::checkpoints(&mut app.0.access.repo.records.read().await.unwrap(), 0, 100).await;
        let signed: Vec<i64> = signed.unwrap().into_iter().map(|(seq, _)| seq).collect();
        app.tickets().add_organisation(word("LATE"), "Late".to_owned(), None).await.unwrap();
        app.tickets().add_organisation(word("LATER"), "Later".to_owned(), None).await.unwrap();
        let entries = lines(&app).await;
        (app, signed, entries)
    });
    assert!(entries.len() > 30 && signed.len() == 6, "{signed:?} {entries:#?}");
    let clean = runtime.block_on(app.audit().verify(None)).unwrap();
    let count = entries.len() as i64;
    assert_eq!((clean.fault, clean.entries, clean.checkpoints, clean.sealed), (None, count, 12, count));

    proptest!(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }, |(deed in deeds())| {
        runtime.block_on(async {
            let mut tx = app.0.access.repo.records.begin().await.unwrap();
            let wanted = deed.carry_out(&mut tx, &entries, &signed).await;
            let found = app.0.access.trail.verify_over(tx.conn(), None).await.unwrap();
            prop_assert_eq!(found.fault.as_ref().map(|fault| fault.seq), wanted, "{:?}", found);
            if let (Some(fault), Deed::Insert { .. }) = (&found.fault, &deed) {
                prop_assert_eq!(fault.what, FaultKind::Inserted);
            }
            // Nothing behind a fault is called good.
            let right = wanted.map_or(entries.len() as i64, |seq| seq.saturating_sub(1).max(0));
            prop_assert!(found.entries <= right && found.signed <= found.entries && found.sealed <= found.entries);
            // Whoever looks at what is damaged gets an answer, not a panic.
            Ok::<_, TestCaseError>(())
        })?;
    });
    let clean = runtime.block_on(app.audit().verify(None)).unwrap();
    assert_eq!(clean.fault, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_a_rolled_back_house_shows_by_the_keyring_or_by_a_checkpoint_kept_elsewhere() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    a_trail(&app).await;
    app.close().await;
    drop(app);
    let (data, old) = (fixture.directory.path().join("data"), fixture.directory.path().join("old"));
    let copy = |from: &std::path::Path, to: &std::path::Path, names: &[&str]| {
        std::fs::create_dir_all(to).unwrap();
        for name in names {
            for ending in ["-wal", "-shm"] {
                std::fs::remove_file(to.join(format!("{name}{ending}"))).ok();
            }
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    };
    copy(&data, &old, &["records.sqlite", "keyring.sqlite"]);
    let entries = {
        let app = fixture.open().await;
        let entries = app.audit().verify(None).await.unwrap().entries;
        put(&customer(&app, "XT-2").await, "f", b"later").await;
        app.close().await;
        entries
    };
    let kept = {
        let app = App::open(DataDirectory::at(&data), fixture.settings.clone()).await.unwrap();
        let kept: AuditCheckpoint = app.audit().checkpoint().await.unwrap().unwrap().to_string().parse().unwrap();
        assert_eq!(app.audit().verify(Some(&kept)).await.unwrap().fault, None);
        app.close().await;
        kept
    };
    for names in [&["records.sqlite"][..], &["records.sqlite", "keyring.sqlite"]] {
        copy(&old, &data, names);
        let app = App::open(DataDirectory::at(&data), fixture.settings.clone()).await.unwrap();
        for (kept, found) in [(None, names.len() == 1), (Some(&kept), true)] {
            let fault = app.audit().verify(kept).await.unwrap().fault;
            // The old copy ended where the later server's first entry was.
            let wanted = found.then_some((entries, FaultKind::Missing));
            assert_eq!(fault.map(|fault| (fault.seq, fault.what)), wanted, "{names:?} {kept:?}");
        }
        app.close().await;
    }
    // What goes on behind it does not heal it.
    let app = fixture.open().await;
    for round in 0..10 {
        app.tickets().add_organisation(word(&format!("O{round}")), "Another".to_owned(), None).await.unwrap();
    }
    app.close().await;
    let app = App::open(DataDirectory::at(&data), fixture.settings.clone()).await.unwrap();
    let fault = app.audit().verify(Some(&kept)).await.unwrap().fault.unwrap();
    assert!(fault.seq <= kept.seq() && fault.to == kept.seq(), "{fault:?} {kept:?}");
    assert_eq!(fault.what, FaultKind::Rewritten);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_checkpoints_are_checked_in_both_databases() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let signed = a_trail(&app).await;
    app.close().await;
    let app = App::open(DataDirectory::at(fixture.directory.path().join("data")), fixture.settings.clone());
    let app = app.await.unwrap();
    for edit in ["signature = zeroblob(64)", "link = zeroblob(32)", "at = at + 1", "link = x'00'", "signature = 'x'"] {
        let mut tx = app.0.access.repo.records.begin().await.unwrap();
        run(&mut tx, format!("UPDATE audit_checkpoint SET {edit} WHERE seq = {}", signed[2])).await;
        let fault = app.0.access.trail.verify_over(tx.conn(), None).await.unwrap().fault.unwrap();
        assert_eq!((fault.seq, fault.what), (signed[2], FaultKind::Checkpoint), "{edit}");
    }
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    run(
        &mut tx,
        "INSERT INTO audit_checkpoint SELECT -3, at, link, signature FROM audit_checkpoint LIMIT 1".to_owned(),
    )
    .await;
    let fault = app.0.access.trail.verify_over(tx.conn(), None).await.unwrap().fault.unwrap();
    assert_eq!((fault.seq, fault.what), (-3, FaultKind::Checkpoint));
    drop(tx);
    // Either copy alone shows what was cut; that the other one is gone shows as well.
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    run(&mut tx, "DELETE FROM audit_checkpoint".to_owned()).await;
    let fault = app.0.access.trail.verify_over(tx.conn(), None).await.unwrap().fault.unwrap();
    assert_eq!((fault.seq, fault.what), (1, FaultKind::Checkpoint), "{fault}");
    assert_eq!(fault.to_string(), "the checkpoint of entry 1: it was deleted from the records");
    drop(tx);
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    run(&mut tx, format!("DELETE FROM audit_checkpoint WHERE seq >= {}", signed[1])).await;
    run(&mut tx, format!("DELETE FROM audit_event WHERE seq >= {}", signed[1])).await;
    let fault = app.0.access.trail.verify_over(tx.conn(), None).await.unwrap().fault.unwrap();
    assert_eq!((fault.seq, fault.what), (signed[1], FaultKind::Missing));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r67_who_opened_read_and_was_refused_what_stands_in_the_trail() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    {
        let session = customer(&app, "XT-1").await;
        put(&session, "secret-name.txt", &pattern(70_000, 1)).await;
        get(&session, "secret-name.txt").await.unwrap();
        let download = session.open_read(&path("secret-name.txt")).await.unwrap();
        download.read(10, 1000, &mut Vec::new()).await.unwrap();
        drop(download);
        let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
        let mut holey = session.open_write(&path("holey"), mode).await.unwrap();
        write(&mut holey, 9_000_000, b"far").await;
        write(&mut holey, 5_000_000, b"near").await;
        assert_eq!(holey.close().await, Err(Refusal::Incomplete));
        let mut cut = session.open_write(&path("cut"), mode).await.unwrap();
        write(&mut cut, 0, &pattern(1000, 1)).await;
        drop(cut);
        while app.open_uploads() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for _ in 0..50 {
            session.list(&path("/")).await.unwrap();
        }
        session.remove_file(&path("secret-name.txt")).await.unwrap();
        app.tickets().set_status(&word("XT-1"), TicketStatus::Closed).await.unwrap();
        for _ in 0..50 {
            assert_eq!(session.make_directory(&path("secret-dir")).await, Err(Refusal::TicketClosed));
        }
        let anna = engineer(&app).await;
        assert_eq!(anna.make_directory(&path("XT-1/x")).await, Err(Refusal::CustomerOnly));
        assert_eq!(anna.make_directory(&path("XT-9/x")).await, Err(Refusal::NoSuchFile));
        for n in 0..100 {
            app.logins().by_token("XT-1", "wrong", FROM).await.unwrap();
            app.logins().by_token(&format!("my password {n}"), "wrong", FROM).await.unwrap();
            app.logins().by_key("anna", "SHA256:other", FROM).await.unwrap();
        }
    }
    app.close().await;
    let app = App::open(app.data().clone(), fixture.settings.clone()).await.unwrap();
    let lines = lines(&app).await;
    let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
    for canary in ["secret", "holey", "\"cut\"", "password"] {
        assert!(!text.contains(canary), "{canary} in {text}");
    }
    let of = |kind: &str| lines.iter().filter(|line| line.kind == kind).collect::<Vec<_>>();
    let only = |kind: &str| {
        let found = of(kind);
        assert_eq!(found.len(), 1, "{kind}: {text}");
        found[0].clone()
    };
    for kind in ["artifact.available", "upload.incomplete", "upload.cut", "artifact.withdrawn", "directory.listed"] {
        let line = only(kind);
        assert_eq!((line.actor.as_str(), line.ticket.as_deref()), ("XT-1", Some("XT-1")), "{kind}");
        assert_eq!((line.detail["from"].as_str(), line.subject.is_some()), (Some("127.0.0.1"), true), "{kind}");
    }
    let reads: Vec<_> = of("artifact.read").iter().map(|line| line.detail.clone()).collect();
    let wanted = |bytes, whole| reads.iter().any(|one| one["bytes"] == bytes && one["whole"] == whole);
    assert!(reads.len() == 2 && wanted(70_000, true) && wanted(1000, false), "{reads:?}");
    assert!(reads.iter().all(|one| one["artifact"] == only("artifact.available").detail["artifact"]));
    assert_eq!((of("artifact.opened").len(), of("upload.opened").len()), (2, 3));
    assert_eq!(only("upload.cut").detail["bytes"], 1000);
    assert_eq!(only("directory.listed").detail["count"], 50);
    let refused: Vec<_> = of("access.refused")
        .iter()
        .map(|line| (line.actor.clone(), line.ticket.clone(), line.detail.clone()))
        .collect();
    let why = |why: &str, count| {
        refused.iter().any(|(_, ticket, detail)| {
            ticket.as_deref() == Some("XT-1") && detail["why"] == why && detail["count"] == count
        })
    };
    assert!(refused.len() == 2 && why("ticket-closed", 50) && why("customer-only", 1), "{refused:?}");
    let logins: Vec<_> = of("login.refused").iter().map(|line| (line.actor.clone(), line.detail.clone())).collect();
    for (actor, by) in [("XT-1", "token"), ("-", "token"), ("anna", "key")] {
        let found = logins.iter().any(|(who, detail)| who == actor && detail["by"] == by && detail["count"] == 100);
        assert!(found, "{actor}: {logins:?}");
    }
    assert_eq!((logins.len(), of("login.accepted").len(), of("login.ended").len()), (3, 2, 2));
    assert_eq!(of("server.started").len() + of("server.stopped").len(), 2);
    assert!(lines.iter().all(|line| line.detail != Value::Null));
    assert_eq!(app.audit().verify(None).await.unwrap().fault, None);
}

/// R29: the clock of the machine may be set back; the order is that of the numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r29_a_clock_that_was_set_back_breaks_no_chain() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    for at in [5, 3, i64::MAX, i64::MIN, 0] {
        let note =
            crate::audit::Note::new(Kind::UploadCut, Actor::Login(word("XT-1")), None, None, serde_json::json!({}));
        app.0.access.trail.enqueue(crate::audit::Note { at: crate::model::Time::from_millis(at), ..note });
        app.0.access.trail.flush(Duration::ZERO).await.unwrap();
    }
    assert_eq!(app.audit().verify(None).await.unwrap().fault, None);
    assert!(lines(&app).await.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
}

/// Several processes write at once: the numbers have no gaps, and each link fits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_writers_in_several_processes_make_one_chain() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let mut tasks = Vec::new();
    for desk in 0..4 {
        let other = App::open(app.data().clone(), fixture.settings.clone()).await.unwrap();
        tasks.push(tokio::spawn(async move {
            for n in 0..10 {
                other.tickets().add_organisation(word(&format!("O{desk}-{n}")), "One".to_owned(), None).await.unwrap();
                other.audit().checkpoint().await.unwrap();
            }
            other.close().await;
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let found = app.audit().verify(None).await.unwrap();
    assert_eq!((found.fault, found.entries), (None, 41));
}

/// A crash before the commit of waiting rows, and behind it: the chain holds, and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_a_crash_while_rows_are_written_breaks_no_chain() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    a_trail(&app).await;
    let before = app.audit().verify(None).await.unwrap().entries;
    let (data, images) = (fixture.directory.path().join("data"), fixture.directory.path().join("images"));
    let target = images.clone();
    app.0.access.repo.failpoints.watch(move |point| {
        let image = target.join(point);
        if point.starts_with("audit.") && !image.exists() {
            std::fs::create_dir_all(image.join("keys")).unwrap();
            for name in ["keys/kek", "records.sqlite", "records.sqlite-wal", "keyring.sqlite", "keyring.sqlite-wal"] {
                std::fs::copy(data.join(name), image.join(name)).unwrap();
            }
        }
    });
    app.logins().by_key("anna", "SHA256:test", FROM).await.unwrap().unwrap();
    app.0.access.trail.flush(Duration::ZERO).await.unwrap();
    app.audit().checkpoint().await.unwrap();
    app.0.access.repo.failpoints.watch(|_| ());
    let anchored = ["audit.anchor-before", "audit.anchor-after", "audit.checkpoint-after"].map(|point| (point, 1));
    for (point, more) in [("audit.flush-before", 0), ("audit.flush-after", 1)].into_iter().chain(anchored) {
        let image = DataDirectory::at(images.join(point));
        let left = App::open(image.clone(), fixture.settings.clone()).await.unwrap();
        let found = left.audit().verify(None).await.unwrap();
        assert!(found.fault.is_none() && found.entries >= before + more, "{point}: {found:?}");
        left.close().await;
        let again = App::serve(image, fixture.settings.clone(), Handle::current(), Box::new(|| {})).await.unwrap();
        again.tickets().add_organisation(word("LATER"), "Later".to_owned(), None).await.unwrap();
        again.close().await;
        let found = App::open(again.data().clone(), fixture.settings.clone()).await.unwrap();
        assert_eq!(found.audit().verify(None).await.unwrap().fault, None, "{point}");
        // What the crash kept from the records came into them with the next checkpoint.
        let mut conn = found.0.access.repo.records.read().await.unwrap();
        let in_records = crate::records::audit::checkpoints(&mut conn, 0, 1000).await.unwrap().len();
        let in_keyring = found.0.access.repo.keys.keyring().audit_checkpoints(0, 1000).await.unwrap().len();
        assert_eq!(in_records, in_keyring, "{point}");
    }
}
