//! Backups taken while the server works, and what comes of restoring them.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::recovery::objects;
use super::rotation::{check, copy_of, furnished};
use super::*;
use sqlx::ConnectOptions;

async fn back_up(app: &App, to: &Path, deep: bool) -> BackupContents {
    let (contents, damaged) = app.backups().back_up(&BackupPlace::at(to, None), deep, |_| ()).await.unwrap();
    assert!(damaged.is_empty() && contents.missing == 0, "{contents:?} {damaged:?}");
    contents
}

async fn restore(from: &Path, to: &Path, kek: &Path) -> Result<crate::app::RestoredBackup, Error> {
    let settings = Settings { extent_bytes: 1 << 20, ..Settings::default() };
    let data = DataDirectory::at(to.join("data"));
    BackupPlace::at(from, None).restore(&data, &settings, Some(kek), HostKeys::default(), |_| ()).await
}

async fn serve(directory: &Path) -> App {
    let settings = Settings { extent_bytes: 1 << 20, ..Settings::default() };
    let data = DataDirectory::at(directory.join("data"));
    App::serve(data, settings, Handle::current(), Box::new(|| {})).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_during_uploads_holds_all_that_was_available_and_can_be_continued() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = furnished(&app).await;
    let stop = Arc::new(AtomicBool::new(false));
    let busy = (session.clone(), Arc::clone(&stop));
    let task = tokio::spawn(async move {
        let (session, stop) = busy;
        session.make_directory(&path("busy")).await.unwrap();
        let mut rounds = 0;
        while !stop.load(Ordering::Relaxed) {
            let name = format!("busy/f{}", rounds % 5);
            put(&session, &name, &pattern(90_000 * (rounds % 4), 1)).await;
            if rounds % 3 == 0 {
                session.remove_file(&path(&name)).await.unwrap();
            }
            rounds += 1;
        }
    });
    let place = tempfile::tempdir().unwrap();
    for (name, deep) in [("one", false), ("two", true)] {
        let contents = back_up(&app, &place.path().join(name), deep).await;
        assert_eq!((contents.tickets, contents.linked), (1, contents.objects));
        // What is in a backup already is not written over.
        let again = BackupPlace::at(&place.path().join(name), None);
        assert!(app.backups().back_up(&again, false, |_| ()).await.is_err());
    }
    stop.store(true, Ordering::Relaxed);
    task.await.unwrap();
    assert!(app.backups().last_backup().await.unwrap().is_some());
    // A backup outlives keys that are replaced later, with the KEK of its time.
    let kek = place.path().join("kek");
    std::fs::copy(app.data().kek(), &kek).unwrap();
    app.rotation().rotate_kek(None, |_, _| ()).await.unwrap();
    app.rotation().rotate_share(&word("XT-1"), |_, _| ()).await.unwrap();
    let new_kek = app.data().kek();
    for name in ["one", "two"] {
        let to = place.path().join(format!("to-{name}"));
        let refused = restore(&place.path().join(name), &to, &new_kek).await.unwrap_err();
        assert!(refused.to_string().contains("generation 1") && !to.exists(), "{refused}");
        let done = restore(&place.path().join(name), &to, &kek).await.unwrap();
        assert!(done.damaged.is_empty() && done.missing == 0 && done.verified >= 4, "{done:?}");
        assert!(done.audit_fault.is_none() && done.audit_entries > 10, "{done:?}");
        let restored = serve(&to).await;
        super::compare::rows_are_as_told(&restored).await;
        let checkpoint = std::fs::read_to_string(place.path().join(name).join("audit-checkpoint")).unwrap();
        let checkpoint: AuditCheckpoint = checkpoint.parse().unwrap();
        for house in [&app, &restored] {
            assert_eq!(house.audit().verify(Some(&checkpoint)).await.unwrap().fault, None);
        }
        let token = restored.tickets().new_token(&word("XT-1")).await.unwrap();
        let session = restored.session(&restored.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap());
        assert!(get(&session, "logs/ä/deep").await.unwrap() == pattern(300_000, 1));
        let size = session.attributes(&path("cut")).await.unwrap().size;
        assert_eq!(size, 196_608, "an unfinished upload is part of a backup");
        let mut upload = session.open_write(&path("cut"), WriteMode::default()).await.unwrap();
        write(&mut upload, size, &pattern(200_000, 3)[196_608..]).await;
        upload.close().await.unwrap();
        all_intact(&restored).await;
        // What happens there changes nothing in the backup, however the objects are shared.
        let second = place.path().join(format!("again-{name}"));
        restore(&place.path().join(name), &second, &kek).await.unwrap();
        all_intact(&serve(&second).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_was_cut_is_refused_and_nothing_is_written() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    furnished(&app).await;
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    let copies = Arc::new(Mutex::new(Vec::new()));
    let (kept, root) = (Arc::clone(&copies), backup.clone());
    app.0.access.repo.failpoints.watch(move |name| {
        if name.starts_with("backup.") {
            kept.lock().unwrap().push((name, copy_of(&root)));
        }
    });
    back_up(&app, &backup, false).await;
    let kek = app.data().kek();
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    assert_eq!(copies.len(), 3);
    for (point, copy) in copies {
        let to = place.path().join(point);
        match restore(&copy.path().join("data"), &to, &kek).await {
            Ok(_) => {
                assert_eq!(point, "backup.complete");
                check(&serve(&to).await).await;
            }
            Err(error) => assert!(error.to_string().contains("manifest.json") && !to.exists(), "{point}: {error}"),
        }
    }

    let to = place.path().join("full");
    std::fs::create_dir_all(to.join("data")).unwrap();
    std::fs::write(to.join("data/something"), b"mine").unwrap();
    assert!(restore(&backup, &to, &kek).await.unwrap_err().to_string().contains("not empty"));
    std::fs::remove_file(to.join("data/something")).unwrap();
    // A restore that was cut keeps everybody out, and the next one too.
    std::fs::write(to.join("data/restoring"), b"").unwrap();
    let refused = App::open(DataDirectory::at(to.join("data")), Settings::default()).await.err().unwrap();
    assert!(refused.to_string().contains("not finished"), "{refused}");
    assert!(restore(&backup, &to, &kek).await.is_err());
    std::fs::remove_file(to.join("data/restoring")).unwrap();

    // A list that somebody else wrote, however well it fits.
    let list = backup.join("manifest.json");
    let (text, signature) = (std::fs::read(&list).unwrap(), list.with_extension("json.sig"));
    let signed = std::fs::read(&signature).unwrap();
    let changed = String::from_utf8(text.clone()).unwrap().replace("\"missing\": 0", "\"missing\": 1");
    assert_ne!(changed.as_bytes(), text);
    for (text, signed) in [(changed.as_bytes(), Some(&signed[..])), (&text, None), (&text, Some(b"no signature"))] {
        std::fs::write(&list, text).unwrap();
        match signed {
            Some(signed) => std::fs::write(&signature, signed).unwrap(),
            None => std::fs::remove_file(&signature).unwrap(),
        }
        assert!(restore(&backup, &to, &kek).await.unwrap_err().to_string().contains("is not signed by the house"));
    }
    std::fs::write(&list, &text).unwrap();
    std::fs::write(&signature, &signed).unwrap();

    let other = place.path().join("other");
    std::fs::write(&other, "ab".repeat(32)).unwrap();
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    assert!(restore(&backup, &to, &other).await.unwrap_err().to_string().contains("generation 1"));
    let keyring = backup.join("keyring");
    std::fs::rename(&keyring, place.path().join("apart")).unwrap();
    assert!(restore(&backup, &to, &kek).await.unwrap_err().to_string().contains("--keyring"));
    std::fs::rename(place.path().join("apart"), &keyring).unwrap();

    // An object of an available version that is not what it was shows at once.
    let id = objects(&app, "a", false).await.remove(0).to_string();
    let object = backup.join("objects").join(&id[..2]).join(&id);
    let bytes = std::fs::read(&object).unwrap();
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, &bytes[..bytes.len() - 1]).unwrap();
    let done = restore(&backup, &to, &kek).await.unwrap();
    assert_eq!((done.missing, done.damaged.is_empty()), (1, false), "{done:?}");

    std::fs::write(backup.join("records/records.sqlite"), b"no database").unwrap();
    assert!(restore(&backup, &place.path().join("last"), &kek).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_backup_needs_is_removed_while_it_is_taken() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path("f"), mode).await.unwrap();
    write(&mut upload, 0, &pattern(1_500_000, 1)).await;
    upload.sync().await.unwrap();
    drop(upload);
    while app.open_uploads() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let lease = app.data().lease_for_backup().unwrap();
    session.remove_file(&path("f")).await.unwrap();
    assert_eq!(app.retention().remove_doomed(Duration::ZERO).await.unwrap(), 0);
    drop(lease);
    assert!(app.retention().remove_doomed(Duration::ZERO).await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r12_what_was_shredded_cannot_be_read_from_a_backup_with_a_newer_keyring() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    furnished(&app).await;
    put(&customer(&app, "XT-2").await, "kept", b"kept").await;
    let place = tempfile::tempdir().unwrap();
    back_up(&app, &place.path().join("old"), false).await;
    let share =
        crate::repo::tickets::existing_ticket(&mut app.0.access.repo.records.read().await.unwrap(), &word("XT-1"))
            .await;
    app.0.access.repo.keys.keyring().delete_share_keys(share.unwrap().share, u32::MAX).await.unwrap();
    let contents = back_up(&app, &place.path().join("new"), false).await;
    assert_eq!(contents.shares_without_key, 1);
    let data = DataDirectory::at(place.path().join("data"));
    let from = BackupPlace::at(&place.path().join("old"), Some(&place.path().join("new/keyring")));
    let done =
        from.restore(&data, &fixture.settings, Some(&app.data().kek()), HostKeys::default(), |_| ()).await.unwrap();
    assert_eq!((done.shares_without_key, done.verified, done.damaged.len()), (1, 1, 0));
    let restored = App::open(data, fixture.settings.clone()).await.unwrap();
    assert!(restored.integrity().verify(Some(&word("XT-1")), |_| ()).await.is_err());
}

/// A copy of a house of before proofs is read as one of today, and nothing is made in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_read_and_not_written_also_one_from_before_proofs() {
    use crate::integrity::Integrity;
    use crate::records::{Keyring, Records};
    use crate::repo::Repo;
    use crate::vault::Level;
    let fixture = Fixture::new();
    let app = fixture.open().await;
    furnished(&app).await;
    let data = app.data().clone();
    app.close().await;
    drop(app);
    for level in [Level::TODAY, Level::Bare] {
        if level == Level::Bare {
            super::upgrades::make_bare(&fixture, false).await;
        }
        // With all that lies in a journal, and no file beside them.
        let copy = tempfile::tempdir().unwrap();
        for (from, to) in [(data.records(), "records.sqlite"), (data.keyring(), "keyring.sqlite")] {
            let mut conn = sqlx::sqlite::SqliteConnectOptions::new().filename(from).connect().await.unwrap();
            let to = copy.path().join(to);
            sqlx::query("VACUUM INTO $1").bind(to.to_str().unwrap()).execute(&mut conn).await.unwrap();
            if level == Level::Bare && to.ends_with("keyring.sqlite") {
                let mut conn = sqlx::sqlite::SqliteConnectOptions::new().filename(&to).connect().await.unwrap();
                let later = "DELETE FROM server_key WHERE purpose IN ('trail', 'trail-seal')";
                assert_eq!(sqlx::query(later).execute(&mut conn).await.unwrap().rows_affected(), 2);
                sqlx::Connection::close(conn).await.unwrap();
            }
        }
        std::os::unix::fs::symlink(data.objects(), copy.path().join("objects")).unwrap();
        let look = || {
            let files = std::fs::read_dir(copy.path()).unwrap().map(|file| file.unwrap().path());
            let files = files.filter(|file| file.is_file());
            files.map(|file| (std::fs::read(&file).unwrap(), file)).collect::<std::collections::BTreeSet<_>>()
        };
        let before = look();
        assert_eq!(before.len(), 2);
        let records = Records::open_copy(&copy.path().join("records.sqlite")).await.unwrap();
        let keyring = Keyring::open_copy(&copy.path().join("keyring.sqlite")).await.unwrap();
        let (kek, settings) = (data.kek(), fixture.settings.clone());
        let repo = Repo::of_copy(copy.path(), records, keyring, &kek, settings, Handle::current()).await.unwrap();
        assert_eq!(repo.keys.level(), level);
        let repo = Arc::new(repo);
        let verified = Integrity::of(&repo).verify_readable(|_| ()).await.unwrap();
        assert!(!verified.is_empty() && verified.iter().all(|line| line.intact), "{verified:?}");
        repo.close().await;
        assert!(look() == before, "{level:?}");
    }
}
