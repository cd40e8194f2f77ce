//! What a share counts is at least what lies on the disk for it, whatever its customer does.

use proptest::prelude::*;

use super::*;
use crate::model::audit::Actor;
use crate::records::{consistency, tickets};

const MIB: u64 = 1 << 20;
const TRUNCATE: WriteMode = WriteMode { create: true, truncate: true, read: false, append: false, exclusive: false };

/// Bytes of all objects in the store, and how many they are.
fn on_disk(app: &App) -> (u64, u64) {
    let (mut bytes, mut count) = (0, 0);
    for shelf in std::fs::read_dir(app.data().objects()).unwrap().map(|shelf| shelf.unwrap().path()) {
        for file in std::fs::read_dir(&shelf).into_iter().flatten().flatten() {
            (bytes, count) = (bytes + file.metadata().unwrap().len(), count + 1);
        }
    }
    (bytes, count)
}

async fn counted(app: &App) -> u64 {
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    tickets::by_reference(&mut conn, "XT-1").await.unwrap().unwrap().stored_bytes
}

/// The disk holds what is counted, and what encryption adds: tags of segments, headers, manifests.
async fn assert_counted(app: &App, what: &str) {
    let mut seen = (0, 0, 0);
    // What a refused upload has left is counted in a moment: its client has its answer before.
    for _ in 0..200 {
        let (stored, (bytes, count)) = (counted(app).await, on_disk(app));
        let mut conn = app.0.access.repo.records.read().await.unwrap();
        let wrong = consistency::wrong_sums(&mut conn).await.unwrap();
        drop(conn);
        assert!(wrong.is_empty(), "{what}: {wrong:?}");
        if bytes <= stored + stored / 1000 + count * 4096 {
            return;
        }
        seen = (bytes, count, stored);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}: (bytes on the disk, objects, bytes counted) are {seen:?}");
}

async fn send(session: &ShareSession, name: &str, length: u64, ends: bool) -> Result<(), Refusal> {
    let mut upload = session.open_write(&path(name), TRUNCATE).await?;
    for (piece, at) in pattern(usize::try_from(length).unwrap(), 1).chunks(200_000).zip((0u64..).step_by(200_000)) {
        upload.begin_write(at, piece.len() as u64).await?;
        for part in piece.chunks(30_000) {
            upload.write(part).await?;
        }
    }
    if ends { upload.close().await } else { upload.sync().await }
}

async fn ended(app: &App) {
    while app.open_uploads() > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn fixture(share_bytes: u64) -> Fixture {
    let mut fixture = Fixture::new();
    (fixture.settings.share_bytes, fixture.settings.inline_bytes) = (share_bytes, 4096);
    fixture
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_anew_again_and_again_fills_no_disk_and_is_not_refused() {
    let fixture = fixture(4 * MIB);
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    for round in 0..12 {
        send(&session, "same", 3 * MIB / 2, false).await.unwrap();
        ended(&app).await;
        assert_counted(&app, &format!("round {round}")).await;
        assert!(on_disk(&app).0 <= 4 * MIB + 64_000, "round {round}: {:?}", on_disk(&app));
        // What is begun anew is no less free to whoever asks.
        assert_eq!(session.space(&path("/")).await.unwrap().free, 4 * MIB - 3 * MIB / 2, "round {round}");
    }
    send(&session, "same", 4 * MIB, true).await.unwrap();
    assert_counted(&app, "full").await;
    assert_eq!(send(&session, "more", 1, true).await, Err(Refusal::QuotaExceeded));
    assert!(get(&session, "same").await.unwrap() == pattern(4 << 20, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_over_what_he_has_sent_fills_no_disk_and_is_not_refused() {
    let fixture = fixture(4 * MIB);
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mut upload = session.open_write(&path("same"), TRUNCATE).await.unwrap();
    for round in 0..6u8 {
        for (part, at) in pattern(3 << 20, round).chunks(200_000).zip((0u64..).step_by(200_000)) {
            write(&mut upload, at, part).await;
        }
        upload.sync().await.unwrap();
        assert_counted(&app, &format!("round {round}")).await;
        assert!(on_disk(&app).0 <= 6 * MIB + 64_000, "round {round}: {:?}", on_disk(&app));
    }
    upload.close().await.unwrap();
    assert!(get(&session, "same").await.unwrap() == pattern(3 << 20, 5));
    assert_counted(&app, "closed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_goes_early_that_somebody_may_read_or_a_backup_may_need() {
    let fixture = fixture(4 * MIB);
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    send(&session, "a", 3 * MIB, true).await.unwrap();
    let reading = session.open_read(&path("a")).await.unwrap();
    app.retention().shred(&word("XT-1"), &path("a"), None).await.unwrap();
    assert_eq!(counted(&app).await, 3 * MIB, "it lies on the disk still");
    assert_eq!(session.space(&path("/")).await.unwrap().free, MIB);
    assert_eq!(send(&session, "b", 2 * MIB, true).await, Err(Refusal::QuotaExceeded));
    ended(&app).await;
    assert_counted(&app, "refused").await;
    let mut bytes = Vec::new();
    while reading.read(bytes.len() as u64, 1 << 20, &mut bytes).await.unwrap() > 0 {}
    assert!(bytes == pattern(3 << 20, 1));
    app.0.access.repo.clock.advance(Duration::from_secs(3601));
    app.retention().sweep(&Actor::Server).await.unwrap();
    assert!(counted(&app).await <= MIB, "but for what was written down of the refused one, it is gone");
    assert_counted(&app, "swept").await;

    send(&session, "b", 3 * MIB, false).await.unwrap();
    ended(&app).await;
    let lease = app.data().lease_for_backup().unwrap();
    assert_eq!(
        send(&session, "b", 2 * MIB, true).await,
        Err(Refusal::QuotaExceeded),
        "a backup may need the first try"
    );
    ended(&app).await;
    drop(lease);
    send(&session, "b", 2 * MIB, true).await.unwrap();
    assert_counted(&app, "after the backup").await;
}

#[derive(Debug, Clone)]
enum Act {
    Send { name: u8, kib: u64, ends: bool },
    Remove { name: u8 },
    Rename { from: u8, to: u8 },
    Shred { name: u8 },
    Expire,
    Sweep,
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..3u8, 1..3000u64, any::<bool>()).prop_map(|(name, kib, ends)| Act::Send { name, kib, ends }),
        2 => (0..3u8).prop_map(|name| Act::Remove { name }),
        2 => (0..3u8, 0..3u8).prop_map(|(from, to)| Act::Rename { from, to }),
        1 => (0..3u8).prop_map(|name| Act::Shred { name }),
        1 => Just(Act::Expire),
        2 => Just(Act::Sweep),
        1 => Just(Act::Restart),
    ]
}

async fn count_at_each_step(acts: &[Act]) {
    let fixture = fixture(6 * MIB);
    let mut app = fixture.open().await;
    customer(&app, "XT-1").await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    for (number, act) in acts.iter().enumerate() {
        let session = app.session(&app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap());
        let name = |number: &u8| format!("f{number}");
        // Whatever is refused must be counted, too.
        match act {
            Act::Send { name: to, kib, ends } => drop(send(&session, &name(to), kib << 10, *ends).await),
            Act::Remove { name: of } => drop(session.remove_file(&path(&name(of))).await),
            Act::Rename { from, to } => drop(session.rename(&path(&name(from)), &path(&name(to)), true).await),
            Act::Shred { name: of } => drop(app.retention().shred(&word("XT-1"), &path(&name(of)), None).await),
            Act::Expire => {
                app.0.access.repo.clock.advance(Duration::from_secs(30 * 86_400));
                app.retention().expire().await.unwrap();
                app.0.access.repo.clock.advance(Duration::from_secs(30 * 86_400));
                app.retention().expire().await.unwrap();
            }
            Act::Sweep => drop(app.retention().remove_doomed(Duration::ZERO).await.unwrap()),
            Act::Restart => {
                drop(session);
                app.close().await;
                drop(app);
                app = fixture.open().await;
            }
        }
        ended(&app).await;
        assert_counted(&app, &format!("{number}: {act:?}")).await;
        // What is over the limit is one refused upload, which goes when the next one needs the
        // room.
        let counted = counted(&app).await;
        assert!(counted <= 6 * MIB + 3 * MIB, "{number}: {act:?}: {counted}");
    }
    app.0.access.repo.clock.advance(Duration::from_secs(3601));
    app.retention().sweep(&Actor::Server).await.unwrap();
    assert_counted(&app, "swept").await;
    all_intact(&app).await;
    app.close().await;
}

#[test]
fn r86_what_a_share_counts_is_at_least_what_lies_on_the_disk() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(acts in proptest::collection::vec(act(), 1..16))| {
        runtime.block_on(count_at_each_step(&acts));
    });
}

/// Rows of directories that were made and removed again do not stay, but for those that something
/// removed lies in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r86_directories_that_come_and_go_leave_no_rows() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let rows = async || {
        let mut conn = app.0.access.repo.records.read().await.unwrap();
        sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM entry").fetch_one(&mut *conn).await.unwrap()
    };
    let before = rows().await;
    for _ in 0..20 {
        for directory in ["a", "a/b", "a/b/c"] {
            session.make_directory(&path(directory)).await.unwrap();
        }
        for directory in ["a/b/c", "a/b", "a"] {
            session.remove_directory(&path(directory)).await.unwrap();
        }
    }
    assert_eq!(rows().await, before);
    session.make_directory(&path("a")).await.unwrap();
    put(&session, "a/file", b"kept").await;
    session.remove_file(&path("a/file")).await.unwrap();
    session.remove_directory(&path("a")).await.unwrap();
    assert_eq!(rows().await, before + 2, "what was removed can be restored");
    session.make_directory(&path("a")).await.unwrap();
    app.retention().restore(&word("XT-1"), &path("a/file")).await.unwrap();
    assert_eq!(get(&session, "a/file").await.unwrap(), b"kept");
}

/// Names that are made, moved and removed have one allowance for all sessions of a login. What
/// fails costs nothing, and what is sent makes room for a rename.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r57_a_login_changes_no_more_names_than_it_may() {
    let mut fixture = Fixture::new();
    fixture.settings.name_changes_per_day = 4;
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    let log_in = async || app.session(&app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap());
    let (one, two) = (log_in().await, log_in().await);
    one.make_directory(&path("d")).await.unwrap();
    for _ in 0..20 {
        assert_eq!(one.make_directory(&path("d")).await, Err(Refusal::AlreadyExists));
        assert_eq!(two.remove_file(&path("nothing")).await, Err(Refusal::NoSuchFile));
    }
    two.rename(&path("d"), &path("e"), false).await.unwrap();
    one.remove_directory(&path("e")).await.unwrap();
    two.make_directory(&path("d")).await.unwrap();
    for session in [&one, &two, &log_in().await] {
        assert_eq!(session.make_directory(&path("x")).await, Err(Refusal::TooManyChanges));
        assert_eq!(session.remove_directory(&path("d")).await, Err(Refusal::TooManyChanges));
        assert_eq!(session.remove_file(&path("nothing")).await, Err(Refusal::TooManyChanges));
        assert_eq!(session.rename(&path("d"), &path("e"), true).await, Err(Refusal::TooManyChanges));
    }
    for name in ["a", "b", "c"] {
        put(&one, "part", name.as_bytes()).await;
        two.rename(&path("part"), &path(name), false).await.unwrap();
    }
    assert_eq!(two.remove_file(&path("a")).await, Err(Refusal::TooManyChanges));
    // Somebody else has another allowance.
    customer(&app, "XT-2").await.make_directory(&path("d")).await.unwrap();
}
