//! A crash at every named point: what it leaves is legal, and comes right at the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tacdrop_simulated::Dice;

use super::power::{Crash, Run, Template, copy_data, look};
use super::*;
use crate::mail::notice::Channel;
use crate::model::audit::Actor;
use crate::notices::outbox::Outbox;

/// Crashes at one point in one run: a point is passed many times.
const CRASHES: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r20_a_crash_at_any_named_point_comes_right_at_the_next_start_and_the_one_after() {
    let template = Template::new().await;
    for seed in 0..times("TACDROP_POINT_SEEDS", 5, 20) {
        let mut dice = Dice::new(seed);
        let run = Run::begin(&template, &format!("points-{seed}")).await;
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (keep, promises, base) =
            (Arc::clone(&taken), Arc::clone(&run.promises), template.directory.path().to_owned());
        let (root, machine) = (run.app.data().root().to_owned(), run.machine.clone());
        let mut passed: BTreeMap<&str, usize> = BTreeMap::new();
        run.app.0.access.repo.failpoints.watch(move |name| {
            let times = passed.entry(name).or_default();
            *times += 1;
            if *times > CRASHES {
                return;
            }
            let promises = promises.lock().unwrap();
            let data = base.join(format!("point-{seed}-{name}-{times}"));
            let disk = machine.hold(|disk| {
                copy_data(&root, &data);
                disk.clone()
            });
            keep.lock().unwrap().push(Crash { data, disk, promises: promises.clone() });
        });
        run.work(seed).await;
        run.app.close().await;
        let taken = std::mem::take(&mut *taken.lock().unwrap());
        assert!(!taken.is_empty());
        for mut crash in taken {
            // A process that is killed leaves what it wrote; a machine without power only what it
            // synced.
            crash.disk =
                if dice.roll(2) == 0 { crash.disk.after_kill() } else { crash.disk.after_power_loss(&mut dice) };
            look(crash, &template, &mut dice).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r20_every_named_point_is_passed() {
    let mut fixture = Fixture::new();
    fixture.settings.quarantine = Duration::ZERO;
    fixture.settings.also_digests = vec![crate::model::Algorithm::Md5];
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let passed = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&passed);
    app.0.access.repo.failpoints.watch(move |name| {
        seen.lock().unwrap().insert(name);
    });

    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path("f"), mode).await.unwrap();
    write(&mut upload, 0, &pattern(3_000_000, 1)).await;
    upload.sync().await.unwrap();
    upload.close().await.unwrap();
    session.remove_file(&path("f")).await.unwrap();
    app.retention().restore(&word("XT-1"), &path("f")).await.unwrap();
    app.retention().shred(&word("XT-1"), &path("f"), None).await.unwrap();

    // A recovery with something to do, and a sweep with something to remove.
    for byte in 1..3 {
        app.0.access.repo.store.put(crate::model::ObjectId::from_bytes([byte; 16]), b"unknown").unwrap();
    }
    session.open_write(&path("g"), mode).await.unwrap().sync().await.unwrap();
    while app.open_uploads() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    let unheld = "UPDATE entry SET receiving_version = NULL WHERE receiving_version IS NOT NULL";
    assert_eq!(tacdrop_probe::execute(tx.conn(), unheld).await.unwrap(), 1);
    tx.commit().await.unwrap();
    // Rows from before there were aliases.
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    let older = "UPDATE entry SET alias_index = NULL";
    assert!(tacdrop_probe::execute(tx.conn(), older).await.unwrap() > 1);
    tx.commit().await.unwrap();
    crate::namespace::aliases::fill(&app.0.access.repo).await.unwrap();
    for _ in 0..2 {
        crate::integrity::recovery::recover(&app.0.access.repo).await.unwrap();
    }
    assert_eq!(app.retention().sweep(&Actor::Server).await.unwrap(), Swept { objects: 2, bytes: 14, strays: 2 });
    put(&session, "f", b"f").await;
    session.digest(&path("f"), crate::model::Algorithm::Md5).await.unwrap();
    put(&session, "f.sha256", b"gibberish").await;
    session.rename(&path("f"), &path("h"), false).await.unwrap();
    session.rename(&path("h"), &path("f"), false).await.unwrap();
    app.0.access.sidecars.check_all().await.unwrap();
    let (queue, later) = (Arc::clone(&app.0.access.notices), crate::model::Time::now().plus(Duration::from_secs(100)));
    for notice in queue.due(later, 10).await.unwrap() {
        assert!(queue.hands_over(notice.id, &notice.recipient.address, Channel::Mail).await.unwrap());
        queue.delivered(notice.id, &notice.recipient.address, later, Channel::Spool).await.unwrap();
    }
    app.0.access.trail.flush(Duration::ZERO).await.unwrap();
    app.audit().checkpoint().await.unwrap();
    app.rotation().rotate_share(&word("XT-1"), |_, _| ()).await.unwrap();
    app.rotation().rotate_kek(None, |_, _| ()).await.unwrap();
    put(&customer(&app, "XT-2").await, "moves", b"moves").await;
    app.moving().merge(&word("XT-2"), &word("XT-1"), false).await.unwrap();
    app.retention().shred_ticket(&word("XT-1")).await.unwrap();
    let place = BackupPlace::at(&fixture.directory.path().join("backup"), None);
    app.backups().back_up(&place, false, |_| ()).await.unwrap();
    let signing = Secrets { signing: true, ..Secrets::default() };
    app.rotation().replace_secrets(signing, false).await.unwrap();

    // Manifests of an older data directory are sealed again.
    let (older, seen) = (super::reseal::older(&fixture.directory.path().join("older")).await, Arc::clone(&passed));
    older.0.access.repo.failpoints.watch(move |name| {
        seen.lock().unwrap().insert(name);
    });
    super::reseal::reseal(&older).await;
    older.close().await;

    let all: BTreeSet<_> = crate::repo::failpoints::NAMES.iter().copied().collect();
    assert_eq!(*passed.lock().unwrap(), all);
}
