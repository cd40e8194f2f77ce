//! Replacing keys: cut at every point and continued, and while a server works with the share.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::*;

/// A copy of a data directory, as a kill would leave it.
pub(super) fn copy_of(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let done = std::process::Command::new("cp").arg("-a").arg(directory).arg(copy.path().join("data")).status();
    assert!(done.unwrap().success());
    copy
}

type Copies = Arc<Mutex<Vec<(&'static str, TempDir)>>>;

/// Copies the data directory at every point from now on.
fn copy_at_points(app: &App) -> Copies {
    let copies = Copies::default();
    let (kept, root) = (Arc::clone(&copies), app.data().root().to_owned());
    app.0.access.repo.failpoints.watch(move |name| {
        if name.starts_with("rotate-") {
            kept.lock().unwrap().push((name, copy_of(&root)));
        }
    });
    copies
}

async fn open(directory: &Path) -> App {
    let settings = Settings { extent_bytes: 1 << 20, ..Settings::default() };
    let data = DataDirectory::at(directory.join("data"));
    App::serve(data, settings, Handle::current(), Box::new(|| {})).await.unwrap()
}

/// Another process on the same data directory.
async fn desk(app: &App) -> App {
    App::open(app.data().clone(), app.0.access.repo.settings.clone()).await.unwrap()
}

/// Objects by path: inode, time of the last change, bytes.
fn objects(app: &App) -> BTreeMap<PathBuf, (u64, i64, Vec<u8>)> {
    let mut objects = BTreeMap::new();
    for shelf in std::fs::read_dir(app.data().objects()).unwrap().map(|shelf| shelf.unwrap().path()) {
        for file in std::fs::read_dir(&shelf).into_iter().flatten() {
            let path = file.unwrap().path();
            let facts = std::fs::metadata(&path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            objects.insert(path, (facts.ino(), facts.mtime_nsec() + facts.mtime() * 1_000_000_000, bytes));
        }
    }
    objects
}

/// A share with files in directories, older versions, a withdrawn file and an unfinished one.
pub(super) async fn furnished(app: &App) -> ShareSession {
    let session = customer(app, "XT-1").await;
    session.make_directory(&path("logs")).await.unwrap();
    session.make_directory(&path("logs/ä")).await.unwrap();
    put(&session, "logs/ä/deep", &pattern(300_000, 1)).await;
    put(&session, "a", b"first").await;
    put(&session, "a", &pattern(1_200_000, 2)).await;
    put(&session, "gone", b"withdrawn").await;
    session.remove_file(&path("gone")).await.unwrap();
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut cut = session.open_write(&path("cut"), mode).await.unwrap();
    write(&mut cut, 0, &pattern(200_000, 3)).await;
    drop(cut);
    while app.open_uploads() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    session
}

/// Everything of [`furnished`] is there and can be continued.
pub(super) async fn check(app: &App) {
    all_intact(app).await;
    super::compare::rows_are_as_told(app).await;
    assert_eq!(app.integrity().verify(None, |_| ()).await.unwrap().len(), 4);
    let lines = app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap();
    let names: Vec<_> = lines.iter().map(|line| (line.path.as_str(), line.version)).collect();
    assert_eq!(names, [("a", 2), ("cut", 1), ("logs/ä/deep", 1)]);
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    let session = app.session(&app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap());
    assert!(get(&session, "a").await.unwrap() == pattern(1_200_000, 2));
    assert!(get(&session, "logs/ä/deep").await.unwrap() == pattern(300_000, 1));
    let size = session.attributes(&path("cut")).await.unwrap().size;
    assert_eq!(size, 196_608);
    let mut upload = session.open_write(&path("cut"), WriteMode::default()).await.unwrap();
    write(&mut upload, size, &pattern(200_000, 3)[196_608..]).await;
    upload.close().await.unwrap();
    assert!(get(&session, "cut").await.unwrap() == pattern(200_000, 3));
    put(&session, "gone", b"again").await;
    let lines = app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap();
    assert!(lines.iter().any(|line| line.path == "gone" && line.version == 2), "the history goes on");
    put(&customer(app, "XT-2").await, "new", b"a new share").await;
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Kek,
    Share,
}

impl What {
    async fn rotate(self, app: &App) -> bool {
        match self {
            Self::Kek => app.rotation().rotate_kek(None, |_, _| ()).await.unwrap().continued,
            Self::Share => app.rotation().rotate_share(&word("XT-1"), |_, _| ()).await.unwrap().continued,
        }
    }

    async fn generation(self, app: &App) -> u32 {
        let status = app.rotation().key_status(Some(&word("XT-1"))).await.unwrap();
        match self {
            Self::Kek => status.kek.last().unwrap().generation,
            Self::Share => status.share.unwrap().in_force,
        }
    }
}

/// Rotates with a crash at every point, continues each of them with another crash at every point,
/// and those, too.
async fn crash_everywhere(what: What) {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    furnished(&app).await;
    let before = objects(&app);
    let copies = copy_at_points(&app);
    assert!(!what.rotate(&app).await);
    assert_eq!(what.generation(&app).await, 2);
    assert!(app.rotation().key_status(None).await.unwrap().left.is_empty());
    assert_eq!(objects(&app), before, "no object is touched");
    check(&app).await;

    let copies = std::mem::take(&mut *copies.lock().unwrap());
    let points: Vec<_> = copies.iter().map(|(name, _)| *name).collect();
    assert_eq!(points.len(), if what == What::Kek { 7 } else { 4 }, "{points:?}");
    for (point, copy) in copies {
        // What is cut can be used as it is, ...
        let used = copy_of(&copy.path().join("data"));
        let app = open(used.path()).await;
        check(&app).await;
        app.close().await;

        // ... tells what is left, and is continued.
        let app = open(copy.path()).await;
        let left = app.rotation().key_status(None).await.unwrap().left;
        let is_begun = what.generation(&app).await;
        let second = copy_at_points(&app);
        let continued = what.rotate(&app).await;
        let after = app.rotation().key_status(None).await.unwrap();
        assert!(after.left.is_empty(), "{point}: {after:?}");
        // Before the first row there is nothing to continue, and when all is done, nothing is left.
        let last = ["rotate-kek.renamed", "rotate-share.old-deleted"].contains(&point);
        let first = point == "rotate-kek.file-durable";
        assert_eq!((left.is_empty(), continued), (last || first, !last && !first), "{point}: {left:?}");
        assert_eq!(what.generation(&app).await, if last { is_begun + 1 } else { 2 }, "{point}");
        check(&app).await;
        app.close().await;
        let second = std::mem::take(&mut *second.lock().unwrap());
        for (again, copy) in second {
            let app = open(copy.path()).await;
            what.rotate(&app).await;
            assert!(app.rotation().key_status(None).await.unwrap().left.is_empty(), "{point}, {again}");
            all_intact(&app).await;
            app.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_a_rotation_of_the_kek_is_cut_at_every_point_and_continued() {
    crash_everywhere(What::Kek).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_a_rotation_of_a_share_key_is_cut_at_every_point_and_continued() {
    crash_everywhere(What::Share).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_the_old_kek_opens_nothing_any_more_and_older_keyrings_still() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    furnished(&app).await;
    let old = copy_of(app.data().root());
    let done = app.rotation().rotate_kek(None, |_, _| ()).await.unwrap();
    app.close().await;
    drop(app);
    let data = DataDirectory::at(fixture.directory.path().join("data"));
    let kek = std::fs::read(data.kek()).unwrap();
    std::fs::remove_file(data.kek()).unwrap();
    std::fs::copy(&done.kept, data.kek()).unwrap();
    let refused = App::open(data.clone(), fixture.settings.clone()).await.err().unwrap();
    assert!(refused.to_string().contains("generation 2"), "{refused}");
    std::fs::remove_file(data.kek()).unwrap();
    std::fs::write(data.kek(), kek).unwrap();
    std::fs::set_permissions(data.kek(), std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    check(&fixture.open().await).await;
    // The keyring of before, with the KEK that was kept.
    let kek = old.path().join("data/keys/kek");
    std::fs::remove_file(&kek).unwrap();
    std::fs::copy(&done.kept, &kek).unwrap();
    check(&open(old.path()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_a_kek_of_the_operator_is_used_and_no_kek_twice() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    furnished(&app).await;
    let given = fixture.directory.path().join("given");
    let write = |text: &str| {
        let _ = std::fs::remove_file(&given);
        std::fs::write(&given, text).unwrap();
        std::fs::set_permissions(&given, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    };
    write("too short");
    assert!(app.rotation().rotate_kek(Some(&given), |_, _| ()).await.is_err());
    // Nobody's choice: what people type where a random key is wanted.
    for guessed in ["00", "5a", "dead", "deadbeef", "0123456789abcdef"] {
        write(&guessed.repeat(64 / guessed.len()));
        let refused = app.rotation().rotate_kek(Some(&given), |_, _| ()).await.unwrap_err().to_string();
        assert!(refused.contains("anybody guesses"), "{guessed}: {refused}");
    }
    for step in [1_u8, 255, 17] {
        let bytes: Vec<u8> = (0..32_u8).map(|at| at.wrapping_mul(step).wrapping_add(3)).collect();
        write(&hex::encode(bytes));
        assert!(app.rotation().rotate_kek(Some(&given), |_, _| ()).await.is_err(), "{step}");
    }
    let [one, two] =
        [1, 2].map(|seed: u32| hex::encode(crate::audit::forged_link(&[0; 32], 1, seed.into(), "", "", "")));
    write(&one);
    let done = app.rotation().rotate_kek(Some(&given), |_, _| ()).await.unwrap();
    // The share's, the server's for tokens, proofs, receipts and checkpoints, the trail's seal and
    // anchor, and the house's id.
    assert_eq!((done.generation, done.keys), (2, 8));
    assert_eq!(std::fs::read_to_string(app.data().kek()).unwrap().trim(), one);
    assert!(app.rotation().rotate_kek(Some(&given), |_, _| ()).await.is_err(), "it is in force already");
    assert!(!app.data().keys().join("kek.next").exists());
    // One that somebody puts there is not taken in silence, whatever mark lies beside it.
    write(&two);
    let next = app.data().keys().join("kek.next");
    std::fs::rename(&given, &next).unwrap();
    for mark in [None, Some("5a".repeat(32)), Some(String::new())] {
        if let Some(mark) = mark {
            std::fs::write(app.data().keys().join("kek.next-mark"), mark).unwrap();
        }
        let refused = app.rotation().rotate_kek(None, |_, _| ()).await.unwrap_err().to_string();
        assert!(refused.contains("no rotation of this house has made"), "{refused}");
    }
    // One that the operator puts there, and names, is.
    assert_eq!(app.rotation().rotate_kek(Some(&next), |_, _| ()).await.unwrap().generation, 3);
    assert_eq!(std::fs::read_to_string(app.data().kek()).unwrap().trim(), two);
    assert!(!app.data().keys().join("kek.next-mark").exists());
    check(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_uploads_reads_and_listings_under_way_notice_no_rotation() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = furnished(&app).await;
    let desk = desk(&app).await;
    let bytes = pattern(2_000_000, 7);
    let mode = WriteMode { create: true, truncate: true, read: true, ..WriteMode::default() };
    // One without rows, one with rows, a continued one, and one that begins as a copy.
    let mut fresh = session.open_write(&path("fresh"), mode).await.unwrap();
    let mut recorded = session.open_write(&path("recorded"), mode).await.unwrap();
    write(&mut recorded, 0, &bytes[..700_000]).await;
    recorded.sync().await.unwrap();
    let cut_at = session.attributes(&path("cut")).await.unwrap().size;
    let mut cut = session.open_write(&path("cut"), WriteMode::default()).await.unwrap();
    let append = WriteMode { append: true, ..WriteMode::default() };
    let mut copied = session.open_write(&path("a"), append).await.unwrap();
    let reading = session.open_read(&path("logs/ä/deep")).await.unwrap();
    let mut listing = session.list(&path("/")).await.unwrap();
    assert_eq!(listing.next(1).await.unwrap().len(), 1);

    desk.rotation().rotate_share(&word("XT-1"), |_, _| ()).await.unwrap();
    desk.rotation().rotate_kek(None, |_, _| ()).await.unwrap();
    desk.rotation().rotate_share(&word("XT-1"), |_, _| ()).await.unwrap();

    // Another session finds what is under way by its name.
    assert!(session.attributes(&path("fresh")).await.is_ok());
    assert_eq!(session.make_directory(&path("fresh")).await, Err(Refusal::AlreadyExists));
    write(&mut fresh, 0, &bytes).await;
    fresh.close().await.unwrap();
    write(&mut recorded, 700_000, &bytes[700_000..]).await;
    recorded.close().await.unwrap();
    write(&mut cut, cut_at, &pattern(200_000, 3)[usize::try_from(cut_at).unwrap()..]).await;
    cut.close().await.unwrap();
    write(&mut copied, 0, b"appended").await;
    copied.close().await.unwrap();
    let mut read = Vec::new();
    reading.read(0, 300_000, &mut read).await.unwrap();
    assert!(read == pattern(300_000, 1));
    let mut rest = 0;
    loop {
        match listing.next(2).await.unwrap().len() {
            0 => break,
            more => rest += more,
        }
    }
    assert!(rest >= 3, "{rest}");
    assert!(get(&session, "fresh").await.unwrap() == bytes && get(&session, "recorded").await.unwrap() == bytes);
    assert!(get(&session, "cut").await.unwrap() == pattern(200_000, 3));
    assert!(get(&session, "a").await.unwrap().ends_with(b"appended"));
    // A new share is wrapped under the KEK that is in force now.
    put(&customer(&app, "XT-9").await, "x", b"x").await;
    let status = app.rotation().key_status(Some(&word("XT-1"))).await.unwrap();
    assert!(status.left.is_empty(), "{status:?}");
    let kek: Vec<_> = status.kek.iter().map(|line| (line.generation, line.share_keys, line.server_keys)).collect();
    assert_eq!(kek, [(1, 0, 0), (2, 2, 7)]);
    let share = status.share.unwrap();
    assert_eq!((share.in_force, share.in_keyring, share.versions.len()), (3, vec![3], 1));
    all_intact(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_keys_are_replaced_again_and_again_while_sessions_work() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    furnished(&app).await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    let login = app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for writer in 0..4u8 {
        let (session, stop) = (app.session(&login), Arc::clone(&stop));
        tasks.push(tokio::spawn(async move {
            let mut rounds = 0usize;
            while !stop.load(Ordering::Relaxed) {
                let (name, moved) = (format!("s{writer}/f{rounds}"), format!("s{writer}/g{rounds}"));
                if rounds == 0 {
                    session.make_directory(&path(&format!("s{writer}"))).await.unwrap();
                }
                let bytes = pattern(1 + 70_000 * (rounds % 3), writer);
                put(&session, &name, &bytes).await;
                assert!(get(&session, &name).await.unwrap() == bytes);
                session.rename(&path(&name), &path(&moved), false).await.unwrap();
                assert_eq!(session.attributes(&path(&name)).await, Err(Refusal::NoSuchFile));
                assert_eq!(session.attributes(&path(&moved)).await.unwrap().size, bytes.len() as u64);
                if rounds % 2 == 1 {
                    session.remove_file(&path(&moved)).await.unwrap();
                }
                let mut listing = session.list(&path(&format!("s{writer}"))).await.unwrap();
                while !listing.next(3).await.unwrap().is_empty() {}
                rounds += 1;
            }
            rounds
        }));
    }
    let desk = desk(&app).await;
    for round in 0..12u32 {
        desk.rotation().rotate_share(&word("XT-1"), |_, _| ()).await.unwrap();
        if round % 4 == 0 {
            desk.rotation().rotate_kek(None, |_, _| ()).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut all = 0;
    for task in tasks {
        all += task.await.unwrap();
    }
    assert!(all > 8, "{all} rounds while keys were replaced");
    all_intact(&app).await;
    assert!(app.rotation().key_status(None).await.unwrap().left.is_empty());
    assert_eq!(app.integrity().verify(None, |_| ()).await.unwrap().len(), 4 + all);
}

/// How long the one transaction of a share's rotation lasts at the most names that a share may
/// have. Says it; fails only if a name or key is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: cargo test --release --lib a_large_share -- --ignored --nocapture"]
#[expect(clippy::print_stderr, reason = "it is a measurement")]
async fn a_large_share_is_rotated_in_seconds() {
    use crate::records::{entries, versions};
    const NAMES: u64 = 100_000;
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let house = &app.0;
    let share =
        crate::repo::tickets::existing_ticket(&mut house.access.repo.records.read().await.unwrap(), &word("XT-1"))
            .await;
    let keys = house.access.repo.keys.share(share.unwrap().share).await.unwrap();
    let root = crate::model::DirectoryId::root_of(keys.share);
    let mut tx = house.access.repo.records.begin().await.unwrap();
    for number in 0..NAMES {
        let (id, version) = (crate::vault::random::array().unwrap(), crate::vault::random::array().unwrap());
        let name = crate::model::FileName::new(format!("show-tech-{number}.txt").as_bytes()).unwrap();
        let place = keys.place(id, root, &name).unwrap();
        let entry = entries::NewEntry {
            id,
            share: keys.share,
            place: Some(&place),
            is_directory: false,
            mode: 0o640,
            modified_at: crate::model::Time::now(),
            predecessor: None,
        };
        entries::add(tx.conn(), &entry).await.unwrap();
        let version = crate::model::VersionId::from_bytes(version);
        let (_, wrapped) = keys.new_file_key(version).unwrap();
        let new = versions::NewVersion {
            id: version,
            artifact: crate::model::ArtifactId::from_bytes(id),
            number: 1,
            key_generation: keys.generation,
            file_key: wrapped.as_bytes(),
            uploaded_by: "XT-1",
            opened_at: crate::model::Time::now(),
            touched_at: house.access.repo.clock.now(),
            transport: crate::model::Transport::Modern,
        };
        versions::add(tx.conn(), &new).await.unwrap();
    }
    tx.commit().await.unwrap();
    let began = std::time::Instant::now();
    let done = app.rotation().rotate_share(&word("XT-1"), |_, _| ()).await.unwrap();
    eprintln!("{} names and {} file keys: {:?}", done.names, done.versions, began.elapsed());
    assert_eq!((done.names, done.versions), (NAMES + 1, NAMES));
}

/// A key that does not open stops no other one. It is named, until it is restored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_a_key_that_does_not_open_is_left_and_named_and_all_others_are_wrapped_anew() {
    // Of another length, and of the right one.
    const DAMAGE: [&str; 2] = [
        "UPDATE share_key SET wrapped = CAST(wrapped || x'00' AS BLOB) WHERE rowid = 2",
        "UPDATE share_key SET wrapped = CAST(substr(wrapped, 2) || substr(wrapped, 1, 1) AS BLOB) WHERE rowid = 2",
    ];
    const RESTORE: [&str; 2] = [
        "UPDATE share_key SET wrapped = substr(wrapped, 1, length(wrapped) - 1) WHERE rowid = 2",
        "UPDATE share_key SET wrapped = CAST(substr(wrapped, -1) || substr(wrapped, 1, length(wrapped) - 1) AS BLOB) \
         WHERE rowid = 2",
    ];
    for (damage, restore) in DAMAGE.into_iter().zip(RESTORE) {
        let fixture = Fixture::new();
        let app = fixture.open().await;
        for (ticket, content) in [("XT-1", "one"), ("XT-2", "two"), ("XT-3", "three")] {
            put(&customer(&app, ticket).await, "a", content.as_bytes()).await;
        }
        let execute = async |app: &App, statement| {
            let mut tx = app.0.access.repo.keys.keyring().begin().await.unwrap();
            assert_eq!(tacdrop_probe::execute(tx.conn(), statement).await.unwrap(), 1);
            tx.commit().await.unwrap();
        };
        execute(&app, damage).await;
        let mut heard = (0, 0);
        let failure = app.rotation().rotate_kek(None, |done, all| heard = (done, all)).await.unwrap_err().to_string();
        assert_eq!(heard, (10, 10));
        // Two shares' keys and the seven of the server.
        assert!(
            failure.starts_with("9 keys were wrapped anew, but 1 could not be: the key of XT-2's share ("),
            "{failure}"
        );
        assert_eq!(app.0.access.repo.keys.keyring().counts().await.unwrap(), [(1, 1, 0), (2, 2, 7)]);
        app.close().await;
        drop(app);

        // Both KEKs are there: the others work after a start, and what was left is said again.
        let app = fixture.open().await;
        for (ticket, content) in [("XT-1", "one"), ("XT-3", "three")] {
            let token = app.tickets().new_token(&word(ticket)).await.unwrap();
            let session = app.session(&app.logins().by_token(ticket, &token, FROM).await.unwrap().unwrap());
            assert_eq!(get(&session, "a").await.unwrap(), content.as_bytes());
        }
        let failure = app.rotation().rotate_kek(None, |_, _| ()).await.unwrap_err().to_string();
        assert!(
            failure.starts_with("0 keys were wrapped anew, but 1 could not be: the key of XT-2's share ("),
            "{failure}"
        );
        execute(&app, restore).await;
        let done = app.rotation().rotate_kek(None, |_, _| ()).await.unwrap();
        assert_eq!((done.generation, done.continued, done.keys), (2, true, 1));
        assert!(!app.data().keys().join("kek.next").exists());
        assert_eq!(
            app.rotation().rotate_kek(None, |_, _| ()).await.unwrap().generation,
            3,
            "nothing stands in the way any more"
        );
    }
}

/// A row of a share that does not open stops no other one. It is named, and the older key stays
/// until it is restored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_a_row_that_does_not_open_is_left_and_named_and_all_others_get_the_new_key() {
    const KEEP: &str = "CREATE TABLE kept AS SELECT e.id AS entry, v.id AS version, e.name, v.file_key, v.key_generation \
                        FROM entry e JOIN version v ON v.entry_id = e.id ORDER BY e.rowid LIMIT 1";
    // Of another length, of the right one, and of no generation that there can be.
    const DAMAGE: [&str; 5] = [
        "UPDATE version SET file_key = CAST(file_key || x'00' AS BLOB) WHERE id = (SELECT version FROM kept)",
        "UPDATE version SET file_key = CAST(substr(file_key, 2) || substr(file_key, 1, 1) AS BLOB) \
         WHERE id = (SELECT version FROM kept)",
        "UPDATE version SET key_generation = -7 WHERE id = (SELECT version FROM kept)",
        "UPDATE entry SET name = CAST(name || x'00' AS BLOB) WHERE id = (SELECT entry FROM kept)",
        "UPDATE entry SET name = CAST(substr(name, 2) || substr(name, 1, 1) AS BLOB) WHERE id = (SELECT entry FROM kept)",
    ];
    const RESTORE: [&str; 2] = [
        "UPDATE version SET file_key = kept.file_key, key_generation = kept.key_generation FROM kept \
         WHERE version.id = kept.version",
        "UPDATE entry SET name = kept.name FROM kept WHERE entry.id = kept.entry",
    ];
    for damage in DAMAGE {
        let fixture = Fixture::new();
        let app = fixture.open().await;
        let session = customer(&app, "XT-1").await;
        for name in ["a", "b", "c"] {
            put(&session, name, name.as_bytes()).await;
        }
        let execute = async |statement| {
            let mut tx = app.0.access.repo.records.begin().await.unwrap();
            tacdrop_probe::execute(tx.conn(), statement).await.unwrap();
            tx.commit().await.unwrap();
        };
        let generations = async || {
            let rows = app.0.access.repo.keys.keyring().share_generations().await.unwrap();
            rows.into_iter().map(|(_, generation)| generation).collect::<Vec<_>>()
        };
        let rotate = async || app.rotation().rotate_share(&word("XT-1"), |_, _| ()).await;
        execute(KEEP).await;
        execute(damage).await;

        let failure = rotate().await.unwrap_err().to_string();
        let counted =
            if damage.contains("UPDATE version") { "2 file keys and 4 names" } else { "3 file keys and 3 names" };
        assert!(failure.starts_with("generation 2 of the key of XT-1's share is in force"), "{damage}: {failure}");
        assert!(failure.contains(counted) && failure.contains("but 1 could not be: the "), "{damage}: {failure}");
        assert_eq!(generations().await, [1, 2], "{damage}: nothing else could open it");
        assert_eq!(app.rotation().key_status(None).await.unwrap().left.len(), 1, "{damage}");
        for name in ["b", "c"] {
            assert_eq!(get(&session, name).await.unwrap(), name.as_bytes(), "{damage}");
        }

        // Again and again: it is said again, and the key stays.
        let failure = rotate().await.unwrap_err().to_string();
        assert!(
            failure.contains("0 file keys and 0 names were put under it, but 1 could not be"),
            "{damage}: {failure}"
        );
        assert_eq!(generations().await, [1, 2], "{damage}");

        for restore in RESTORE {
            if restore.starts_with(&damage[..12]) {
                execute(restore).await;
            }
        }
        execute("DROP TABLE kept").await;
        let done = rotate().await.unwrap();
        assert_eq!((done.generation, done.continued, done.versions + done.names), (2, true, 1), "{damage}");
        assert_eq!(generations().await, [2], "{damage}");
        assert_eq!(get(&session, "a").await.unwrap(), b"a", "{damage}");
        all_intact(&app).await;
        assert_eq!(rotate().await.unwrap().generation, 3, "{damage}: nothing stands in the way any more");
    }
}

/// What comes back under a name that another file has by now waits for that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_a_restored_name_that_is_taken_by_now_is_left_and_named() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "a", b"old").await;
    let execute = async |statement| {
        let mut tx = app.0.access.repo.records.begin().await.unwrap();
        tacdrop_probe::execute(tx.conn(), statement).await.unwrap();
        tx.commit().await.unwrap();
    };
    let rotate = async || app.rotation().rotate_share(&word("XT-1"), |_, _| ()).await;
    execute("CREATE TABLE kept AS SELECT e.id, e.name FROM entry e JOIN version v ON v.entry_id = e.id").await;
    execute("UPDATE entry SET name = CAST(name || x'00' AS BLOB) WHERE id = (SELECT id FROM kept)").await;
    rotate().await.unwrap_err();
    put(&session, "a", b"new").await;
    execute("UPDATE entry SET name = kept.name FROM kept WHERE entry.id = kept.id").await;
    let failure = rotate().await.unwrap_err().to_string();
    assert!(failure.contains("another one has its name by now"), "{failure}");
    assert_eq!(get(&session, "a").await.unwrap(), b"new");
    session.rename(&path("a"), &path("b"), false).await.unwrap();
    assert_eq!(rotate().await.unwrap().names, 1);
    assert_eq!(
        (get(&session, "a").await.unwrap(), get(&session, "b").await.unwrap()),
        (b"old".to_vec(), b"new".to_vec())
    );
}
