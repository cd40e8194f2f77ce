//! A trail that somebody without the keys makes anew, in both databases: what shows it.

use super::*;
use crate::records::WriteTx;
use crate::repo::anchor::{self, Found};
use crate::vault::{Level, SigningKey};

async fn run(tx: &mut WriteTx, sql: &str) {
    sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(tx.conn()).await.unwrap();
}

/// A house with a trail that was signed several times, and that nobody serves any more.
async fn a_house(fixture: &Fixture) -> App {
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    for round in 0..3 {
        put(&session, &format!("f{round}"), &pattern(1000, round)).await;
        get(&session, &format!("f{round}")).await.unwrap();
        app.audit().checkpoint().await.unwrap();
    }
    app.close().await;
    again(&app, fixture).await
}

async fn again(app: &App, fixture: &Fixture) -> App {
    App::open(app.data().clone(), fixture.settings.clone()).await.unwrap()
}

async fn change(app: &App, in_records: &[&str], in_keyring: &[&str]) {
    let repo = &app.0.access.repo;
    let mut tx = repo.records.begin().await.unwrap();
    for sql in in_records {
        run(&mut tx, sql).await;
    }
    tx.commit().await.unwrap();
    let mut tx = repo.keys.keyring().begin().await.unwrap();
    for sql in in_keyring {
        run(&mut tx, sql).await;
    }
    tx.commit().await.unwrap();
}

/// Takes the entries of these kinds out and makes the chain fit again, as anybody can.
async fn rewrite(app: &App, without: &str) {
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    let rows = tacdrop_probe::audit_rows(tx.conn()).await.unwrap();
    run(&mut tx, "DELETE FROM audit_event").await;
    let mut before = [0; 32];
    for (row, seq) in rows.iter().filter(|row| !row.kind.starts_with(without)).zip(1..) {
        let link = crate::audit::Link {
            at: row.at,
            kind: &row.kind,
            actor: &row.actor,
            ticket: row.ticket.as_deref().unwrap_or_default(),
            subject: row.subject.as_deref().unwrap_or_default(),
            detail: &row.detail,
        };
        before = link.after(&before, seq);
        sqlx::query("INSERT INTO audit_event (seq, at, kind, actor, ticket, subject, detail, chain) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(seq)
            .bind(row.at)
            .bind(&row.kind)
            .bind(&row.actor)
            .bind(&row.ticket)
            .bind(&row.subject)
            .bind(&row.detail)
            .bind(&before[..])
            .execute(tx.conn())
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
}

async fn fault(app: &App) -> (i64, FaultKind) {
    let fault = app.audit().verify(None).await.unwrap().fault.expect("it shows");
    (fault.seq, fault.what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_checkpoints_cannot_be_deleted_unnoticed() {
    let all = "DELETE FROM audit_checkpoint";
    let one =
        "DELETE FROM audit_checkpoint WHERE seq = (SELECT seq FROM audit_checkpoint ORDER BY seq LIMIT 1 OFFSET 2)";
    let newest = "DELETE FROM audit_checkpoint WHERE seq = (SELECT MAX(seq) FROM audit_checkpoint)";
    let two = "DELETE FROM audit_checkpoint WHERE seq IN (SELECT seq FROM audit_checkpoint ORDER BY seq DESC LIMIT 2)";
    for (in_records, in_keyring, wanted) in [
        (&[all][..], &[][..], Some(FaultKind::Checkpoint)),
        (&[], &[all], Some(FaultKind::Checkpoint)),
        (&[all], &[all], Some(FaultKind::Lost)),
        (&[one], &[], Some(FaultKind::Checkpoint)),
        (&[], &[one], Some(FaultKind::Checkpoint)),
        (&[one], &[one], Some(FaultKind::Lost)),
        (&[newest], &[newest], Some(FaultKind::Lost)),
        (&[], &[newest], Some(FaultKind::Checkpoint)),
        (&[two], &[], Some(FaultKind::Checkpoint)),
        // What a crash leaves: the newest one is in the keyring alone.
        (&[newest], &[], None),
        (
            &["INSERT INTO audit_checkpoint SELECT 2, at, link, signature FROM audit_checkpoint LIMIT 1"],
            &[],
            Some(FaultKind::Checkpoint),
        ),
    ] {
        let fixture = Fixture::new();
        let app = a_house(&fixture).await;
        assert_eq!(app.audit().verify(None).await.unwrap().fault, None);
        change(&app, in_records, in_keyring).await;
        let found = app.audit().verify(None).await.unwrap().fault;
        assert_eq!(found.as_ref().map(|fault| fault.what), wanted, "{in_records:?} {in_keyring:?} {found:?}");
        // What the server does afterwards heals nothing but what a crash leaves.
        app.close().await;
        let served = fixture.open().await;
        served.tickets().add_organisation(word("LATER"), "Later".to_owned(), None).await.unwrap();
        served.close().await;
        let app = again(&served, &fixture).await;
        let found = app.audit().verify(None).await.unwrap().fault;
        assert_eq!(found.as_ref().map(|fault| fault.what), wanted, "later: {in_records:?} {in_keyring:?} {found:?}");
        app.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_a_trail_that_was_made_anew_shows_whatever_was_deleted_with_it() {
    for keyring in [
        &[][..],
        &["DELETE FROM audit_checkpoint"],
        &["DELETE FROM audit_checkpoint", "DELETE FROM server_key WHERE purpose = 'trail'"],
    ] {
        let fixture = Fixture::new();
        let app = a_house(&fixture).await;
        let kept = app.audit().checkpoint().await.unwrap().unwrap();
        change(&app, &["DELETE FROM audit_checkpoint"], keyring).await;
        rewrite(&app, "artifact.").await;
        let (seq, what) = fault(&app).await;
        match keyring.len() {
            2 => assert_eq!((seq, what), (0, FaultKind::Lost)),
            _ => assert_eq!((seq, what), (1, FaultKind::Unsealed)),
        }
        assert_eq!(app.audit().verify(None).await.unwrap().entries, 0);
        app.close().await;
        let served = fixture.open().await;
        put(&customer(&served, "XT-2").await, "f", b"later").await;
        served.close().await;
        let app = again(&served, &fixture).await;
        assert_eq!(fault(&app).await, (seq, what), "later");
        assert!(app.audit().verify(Some(&kept)).await.unwrap().fault.is_some());
        app.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_an_anchor_that_is_not_the_newest_or_not_the_house_s_shows() {
    let fixture = Fixture::new();
    let app = a_house(&fixture).await;
    assert_eq!(app.0.access.repo.keys.level(), Level::TODAY);
    let old = app.0.access.repo.keys.keyring().server_key("trail").await.unwrap().unwrap();
    app.close().await;
    let served = fixture.open().await;
    put(&customer(&served, "XT-2").await, "f", b"later").await;
    served.close().await;
    let app = again(&served, &fixture).await;
    assert_eq!(app.audit().verify(None).await.unwrap().fault, None);
    let old = hex::encode(&old.wrapped);
    change(&app, &[], &[&format!("UPDATE server_key SET wrapped = x'{old}' WHERE purpose = 'trail'")]).await;
    assert_eq!(fault(&app).await, (0, FaultKind::Lost), "an older one counts fewer checkpoints");
    let broken = "UPDATE server_key SET wrapped = zeroblob(117) WHERE purpose = 'trail'";
    change(&app, &[], &[broken]).await;
    assert_eq!(fault(&app).await, (0, FaultKind::Lost));
    // Another secret in its place.
    let other = "UPDATE server_key SET wrapped = (SELECT wrapped FROM server_key WHERE purpose = 'token') WHERE purpose = 'trail'";
    change(&app, &[], &[other]).await;
    assert_eq!(fault(&app).await, (0, FaultKind::Lost));
    app.close().await;
}

/// The key that signs checkpoints was deleted, and another one made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_another_key_for_checkpoints_shows() {
    let fixture = Fixture::new();
    let app = a_house(&fixture).await;
    let kek = app.0.access.repo.keys.newest_kek().unwrap();
    let seed = SigningKey::from_bytes(&[9; 32]).to_secret_bytes();
    let wrapped = hex::encode(kek.1.wrap_secret(kek.0, "audit-signing", &seed[..]).unwrap());
    change(&app, &[], &[&format!("UPDATE server_key SET wrapped = x'{wrapped}' WHERE purpose = 'audit-signing'")])
        .await;
    app.close().await;
    let app = again(&app, &fixture).await;
    assert_eq!(fault(&app).await, (0, FaultKind::Lost));
    app.close().await;
}

/// Cut behind the last checkpoint while nobody serves, after a command had written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_what_a_command_wrote_cannot_be_cut_off() {
    let fixture = Fixture::new();
    let app = a_house(&fixture).await;
    for name in ["ONE", "TWO"] {
        app.tickets().add_organisation(word(name), name.to_owned(), None).await.unwrap();
    }
    let entries = app.audit().verify(None).await.unwrap().entries;
    app.close().await;
    let app = again(&app, &fixture).await;
    let Found::There(anchor) = anchor::look(&app.0.access.repo.keys).await.unwrap().0 else { panic!("it is there") };
    assert_eq!((anchor.seq, anchor.sealed_from), (entries, 1));
    change(&app, &[&format!("DELETE FROM audit_event WHERE seq = {entries}")], &[]).await;
    assert_eq!(fault(&app).await, (entries, FaultKind::Missing));
    // What is written on top does not cover it up.
    app.tickets().add_organisation(word("THREE"), "Three".to_owned(), None).await.unwrap();
    assert_eq!(fault(&app).await, (entries - 1, FaultKind::Rewritten));
    app.close().await;
    let app = again(&app, &fixture).await;
    assert_eq!(fault(&app).await.1, FaultKind::Rewritten);
    app.close().await;
}

/// Cut while the server runs, between two checkpoints: the server has seen what is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_what_is_cut_off_while_the_server_runs_is_seen() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    app.tickets().add_organisation(word("ONE"), "One".to_owned(), None).await.unwrap();
    app.tickets().add_organisation(word("TWO"), "Two".to_owned(), None).await.unwrap();
    let entries = app.audit().verify(None).await.unwrap().entries;
    let anchored = async || match anchor::look(&app.0.access.repo.keys).await.unwrap().0 {
        Found::There(anchor) => anchor.seq,
        other => panic!("{other:?}"),
    };
    // The server looks once a second.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    change(&app, &[&format!("DELETE FROM audit_event WHERE seq = {entries}")], &[]).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while anchored().await < entries {
        assert!(tokio::time::Instant::now() < deadline, "the server does not look");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    app.tickets().add_organisation(word("THREE"), "Three".to_owned(), None).await.unwrap();
    app.close().await;
    let app = again(&app, &fixture).await;
    let (seq, what) = fault(&app).await;
    assert!(seq <= entries && what == FaultKind::Rewritten, "{seq} {what:?}");
    app.close().await;
}

/// A house of before there were seals: what is there is held fast as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_a_house_of_before_there_were_seals_is_adopted() {
    let fixture = Fixture::new();
    let app = a_house(&fixture).await;
    let (generation, kek) = app.0.access.repo.keys.newest_kek().unwrap();
    let bare = hex::encode(kek.seal_canary(generation, Level::Bare).unwrap());
    let canary = format!("UPDATE kek SET canary = x'{bare}'");
    let old = ["DELETE FROM server_key WHERE purpose = 'trail'", canary.as_str()];
    change(&app, &["UPDATE audit_event SET seal = NULL"], &old).await;
    let entries = app.audit().verify(None).await.unwrap();
    assert_eq!(entries.fault.map(|fault| fault.what), Some(FaultKind::Lost));
    app.close().await;
    let served = fixture.open().await;
    served.tickets().add_organisation(word("LATER"), "Later".to_owned(), None).await.unwrap();
    served.close().await;
    let app = again(&served, &fixture).await;
    let found = app.audit().verify(None).await.unwrap();
    assert_eq!((found.fault, found.sealed), (None, 3), "start, organisation, stop");
    // Those of before have no seal, and the chain and the anchor hold them.
    let before = found.entries - 3;
    change(&app, &["UPDATE audit_event SET seal = NULL WHERE seq = (SELECT MAX(seq) FROM audit_event)"], &[]).await;
    assert_eq!(fault(&app).await, (found.entries, FaultKind::Unsealed));
    rewrite(&app, "receipt.").await;
    let (seq, what) = fault(&app).await;
    assert_eq!((seq, what), (before + 1, FaultKind::Unsealed));
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_a_receipt_shows_that_the_whole_house_was_put_back() {
    let fixture = Fixture::new();
    let app = a_house(&fixture).await;
    let keys = &app.0.access.repo.keys;
    let (seq, link) = app.0.access.trail.tip().await.unwrap().unwrap();
    let receipt = |seq: i64, link: [u8; 32]| {
        let statement = format!("tacdrop receipt 3\nTicket: XT-1\nTrail: {seq} {}\n", hex::encode(link));
        let signature = keys.receipts().sign_ssh(crate::audit::RECEIPT_NAMESPACE, statement.as_bytes());
        app.audit().witness(&(statement + &signature)).unwrap()
    };
    let verify = async |receipts: &[TrailWitness]| {
        let kept = Kept { checkpoint: None, receipts };
        app.audit().verify_with(kept).await.unwrap().fault.map(|fault| (fault.seq, fault.to, fault.what))
    };
    let one = crate::records::audit::link_of(&mut app.0.access.repo.records.read().await.unwrap(), 1).await;
    let one = receipt(1, one.unwrap().unwrap());
    assert_eq!(verify(&[receipt(seq, link), one, one]).await, None);
    // The receipt speaks of an entry that is not there, or was another one.
    assert_eq!(verify(&[one, receipt(seq + 5, link)]).await, Some((seq + 1, seq + 5, FaultKind::Missing)));
    let (first, to, what) = verify(&[receipt(3, [7; 32]), one]).await.unwrap();
    assert!(first <= 3 && to == 3 && what == FaultKind::Rewritten);
    app.close().await;
}
