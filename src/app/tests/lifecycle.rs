//! Withdrawing, restoring, shredding and expiring, over histories that run through several entries.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::*;
use crate::model::Time;
use crate::records::{WriteTx, small_files};

pub(super) const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const CREATE: WriteMode = WriteMode { create: true, exclusive: false, truncate: true, append: false, read: false };

pub(super) async fn lines(app: &App) -> Vec<VersionLine> {
    app.retention().versions(&word("XT-1"), &PublicAddress::unknown()).await.unwrap()
}

/// Path, number and state of every version.
async fn states(app: &App) -> Vec<(String, u64, VersionState)> {
    lines(app).await.into_iter().map(|line| (line.path, line.version, line.state)).collect()
}

fn of(path: &str, versions: &[(u64, VersionState)]) -> Vec<(String, u64, VersionState)> {
    versions.iter().map(|(number, state)| (path.to_owned(), *number, *state)).collect()
}

pub(super) async fn quiet(app: &App) {
    while app.open_uploads() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An upload that is cut.
pub(super) async fn cut(app: &App, session: &ShareSession, name: &str, bytes: &[u8]) {
    let mut upload = session.open_write(&path(name), CREATE).await.unwrap();
    write(&mut upload, 0, bytes).await;
    upload.sync().await.unwrap();
    let before = app.open_uploads();
    drop(upload);
    while app.open_uploads() >= before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn expire(app: &App) -> (u32, u32, u32) {
    let done = app.retention().expire().await.unwrap();
    assert!(!done.more);
    (done.warned, done.unfinished, done.withdrawn)
}

/// I4: what is counted is what is there.
pub(super) async fn sums_are_right(app: &App) {
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let wrong: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM ticket t WHERE t.stored_bytes <> (SELECT COALESCE(SUM(length), 0) FROM extent x \
         WHERE x.share_id = t.share_id) + (SELECT COALESCE(SUM(v.length), 0) FROM version v JOIN entry e \
         ON e.id = v.entry_id WHERE e.share_id = t.share_id AND v.small_file IS NOT NULL) \
         + (SELECT COALESCE(SUM(length), 0) FROM doomed d \
         WHERE d.share_id = t.share_id) OR t.names <> (SELECT COUNT(*) FROM entry e WHERE e.share_id = t.share_id \
         AND e.parent_id IS NOT NULL AND e.replaced_at IS NULL AND e.withdrawn_at IS NULL)",
    )
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    assert_eq!(wrong, 0, "a ticket's sums are not what is there");
    let unused: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM extent x WHERE NOT EXISTS (SELECT 1 FROM extent_use u WHERE u.extent_id = x.id)",
    )
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    assert_eq!(unused, 0, "an extent that nobody uses is still counted");
    let keyless: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM version v WHERE (v.state = 'shredded') <> (v.file_key IS NULL) \
         OR (v.file_key IS NULL AND (v.progress IS NOT NULL OR v.manifest_id IS NOT NULL OR v.small_file IS NOT NULL))",
    )
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    assert_eq!(keyless, 0, "shredded and without a key are the same");
    assert_eq!(small_files::count_unused(&mut conn).await.unwrap(), 0, "the bytes of a small file are nobody's");
}

async fn change(app: &App, sql: &'static str) {
    let mut tx: WriteTx = app.0.access.repo.records.begin().await.unwrap();
    sqlx::query(sql).execute(tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn audited(app: &App, kind: &str) -> Vec<String> {
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let query = sqlx::query_scalar("SELECT detail FROM audit_event WHERE kind = $1 ORDER BY seq").bind(kind.to_owned());
    query.fetch_all(&mut *conn).await.unwrap()
}

use VersionState::{Available, Damaged, Receiving, Shredded as Closed, Withdrawn as Away};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn withdrawing_and_restoring_goes_for_the_whole_history() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let ticket = word("XT-1");
    // One history from everything that makes one: overwritten, renamed over by a file with a past,
    // deleted and sent again.
    put(&session, "a", b"one").await;
    put(&session, "a", b"two").await;
    put(&session, "b", b"three").await;
    session.remove_file(&path("b")).await.unwrap();
    put(&session, "b", b"four").await;
    session.rename(&path("b"), &path("a"), true).await.unwrap();
    let all = |state| of("a", &[(1, state), (2, state), (3, state), (4, state)]);
    assert_eq!(states(&app).await, all(Available));
    assert_eq!(get(&session, "a").await.unwrap(), b"four");
    sums_are_right(&app).await;

    session.remove_file(&path("a")).await.unwrap();
    assert_eq!(states(&app).await, all(Away));
    assert!(lines(&app).await.iter().all(|line| line.removed_at.is_some()));
    sums_are_right(&app).await;

    let back = app.retention().restore(&ticket, &path("a")).await.unwrap();
    assert_eq!((back.versions, back.current), (4, Some(4)));
    assert_eq!(states(&app).await, all(Available));
    assert_eq!(get(&session, "a").await.unwrap(), b"four");
    assert!(app.retention().restore(&ticket, &path("a")).await.is_err(), "the name is taken");
    sums_are_right(&app).await;

    // Deleted and sent again: all of it is saved, not only the last entry.
    assert_eq!(app.retention().withdraw(&ticket, &path("a")).await.unwrap().versions, 4);
    put(&session, "a", b"five").await;
    app.0.access.repo.clock.advance(30 * DAY);
    assert_eq!(expire(&app).await, (0, 0, 0));
    let now: Vec<_> = (1..=5).map(|number| (number, Available)).collect();
    assert_eq!(states(&app).await, of("a", &now));
    all_intact(&app).await;
    assert_eq!(audited(&app, "artifact.restored").await.len(), 1);
    sums_are_right(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_or_shredded_stays_so_when_its_file_is_withdrawn_and_restored() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let ticket = word("XT-1");
    for bytes in [b"1", b"2", b"3"] {
        put(&session, "a", bytes).await;
    }
    app.retention().shred(&ticket, &path("a"), Some(1)).await.unwrap();
    change(&app, "UPDATE version SET state = 'damaged' WHERE number = 2").await;
    app.retention().withdraw(&ticket, &path("a")).await.unwrap();
    assert_eq!(states(&app).await, of("a", &[(1, Closed), (2, Damaged), (3, Away)]));
    app.retention().restore(&ticket, &path("a")).await.unwrap();
    assert_eq!(states(&app).await, of("a", &[(1, Closed), (2, Damaged), (3, Available)]));
    // The end of the grace takes the damaged one's key, too.
    session.remove_file(&path("a")).await.unwrap();
    app.0.access.repo.clock.advance(25 * HOUR);
    assert_eq!(expire(&app).await, (0, 0, 2));
    assert_eq!(states(&app).await, of("a", &[(1, Closed), (2, Closed), (3, Closed)]));
    assert!(app.retention().restore(&ticket, &path("a")).await.unwrap_err().to_string().contains("destroyed"));
    sums_are_right(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restoring_is_refused_with_a_sentence_or_finds_the_directory_that_was_made_again() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let ticket = word("XT-1");
    session.make_directory(&path("d")).await.unwrap();
    put(&session, "d/f", b"deep").await;
    assert!(app.retention().restore(&ticket, &path("d/f")).await.unwrap_err().to_string().contains("is there"));
    session.remove_file(&path("d/f")).await.unwrap();
    session.remove_directory(&path("d")).await.unwrap();
    let said = app.retention().restore(&ticket, &path("d/f")).await.unwrap_err().to_string();
    assert!(said.contains("directory") && said.contains("gone"), "{said}");
    let said = app.retention().restore(&ticket, &path("never")).await.unwrap_err().to_string();
    assert!(said.contains("no withdrawn artifact"), "{said}");
    session.make_directory(&path("d")).await.unwrap();
    app.retention().restore(&ticket, &path("d/f")).await.unwrap();
    assert_eq!(get(&session, "d/f").await.unwrap(), b"deep");
    assert!(app.retention().withdraw(&ticket, &path("d")).await.is_err(), "a directory is no artifact");
    sums_are_right(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_a_shredded_version_is_unreadable_and_those_that_share_its_extents_are_not() {
    let mut fixture = Fixture::new();
    fixture.settings.share_bytes = 100_000_000;
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let ticket = word("XT-1");
    let start = pattern(1_500_000, 1);
    put(&session, "a", &start).await;
    let mut upload = session.open_write(&path("a"), WriteMode { append: true, ..WriteMode::default() }).await.unwrap();
    write(&mut upload, 0, b"and more").await;
    upload.close().await.unwrap();
    let stored = async || session.space(&path("/")).await.unwrap().free;
    let before = stored().await;

    let plan = app.retention().plan_shred(&ticket, &path("a"), Some(1)).await.unwrap();
    assert_eq!((plan.versions, plan.bytes, plan.left), (vec![1], 1_500_000, 1));
    let done = app.retention().shred(&ticket, &path("a"), Some(1)).await.unwrap();
    assert_eq!((done.versions, done.current, done.journal_owed), (vec![1], Some(2), false));
    assert_eq!(stored().await, before, "its extents serve the other version");
    assert!(get(&session, "a").await.unwrap() == [&start[..], b"and more"].concat());
    assert_eq!(app.integrity().verify(None, |_| ()).await.unwrap().len(), 1);
    assert!(app.retention().shred(&ticket, &path("a"), Some(1)).await.unwrap_err().to_string().contains("already"));
    assert!(
        app.retention().shred(&ticket, &path("a"), Some(7)).await.unwrap_err().to_string().contains("no version 7")
    );
    all_intact(&app).await;
    sums_are_right(&app).await;

    // The other way round: what only the newer one uses goes, the older one takes its place.
    put(&session, "b", &start).await;
    let mut upload = session.open_write(&path("b"), WriteMode { append: true, ..WriteMode::default() }).await.unwrap();
    write(&mut upload, 0, &pattern(200_000, 2)).await;
    upload.close().await.unwrap();
    assert_eq!(app.retention().shred(&ticket, &path("b"), Some(2)).await.unwrap().current, Some(1));
    assert!(get(&session, "b").await.unwrap() == start);
    sums_are_right(&app).await;

    app.retention().shred(&ticket, &path("a"), None).await.unwrap();
    assert_eq!(get(&session, "a").await, Err(Refusal::NoSuchFile));
    assert!(app.retention().restore(&ticket, &path("a")).await.unwrap_err().to_string().contains("destroyed"));
    put(&session, "a", b"anew").await;
    assert_eq!(states(&app).await[..3], of("a", &[(1, Closed), (2, Closed), (3, Available)]));
    app.retention().remove_doomed(Duration::ZERO).await.unwrap();
    all_intact(&app).await;
    let details = audited(&app, "version.shredded").await;
    assert_eq!(details.len(), 3);
    assert!(details.iter().all(|detail| detail.contains(r#""rule":"operator""#) && detail.contains("file key")));
    sums_are_right(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_version_of_a_predecessor_takes_the_place_and_can_be_continued() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let support = engineer(&app).await;
    let ticket = word("XT-1");
    let old = pattern(2_300_000, 4);
    put(&session, "a", &old).await;
    put(&session, "a.part", b"new").await;
    session.rename(&path("a.part"), &path("a"), true).await.unwrap();
    assert_eq!(app.retention().shred(&ticket, &path("a"), Some(2)).await.unwrap().current, Some(1));
    assert!(get(&session, "a").await.unwrap() == old);
    assert!(get(&support, "/XT-1/a").await.unwrap() == old);
    let line = &app.artifacts().list(&ticket, &PublicAddress::unknown()).await.unwrap()[0];
    assert_eq!((line.version, line.size, line.state), (1, 2_300_000, Available));
    // Its extents say that they belong to the predecessor: the next version copies them.
    let mut upload = session.open_write(&path("a"), WriteMode { append: true, ..WriteMode::default() }).await.unwrap();
    assert_eq!(upload.attributes().await.unwrap().size, 2_300_000);
    write(&mut upload, 0, b"tail").await;
    upload.close().await.unwrap();
    assert!(get(&session, "a").await.unwrap() == [&old[..], b"tail"].concat());
    assert_eq!(states(&app).await, of("a", &[(1, Available), (2, Closed), (3, Available)]));
    all_intact(&app).await;
    sums_are_right(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_under_way_notices_that_its_file_was_taken_away() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let ticket = word("XT-1");
    put(&session, "a", &pattern(300_000, 1)).await;
    for (number, how) in ["withdraw", "shred", "shred one"].into_iter().enumerate() {
        // The next version begins with what is there.
        let mut upload =
            session.open_write(&path("a"), WriteMode { append: true, ..WriteMode::default() }).await.unwrap();
        write(&mut upload, 0, b"more").await;
        match how {
            "withdraw" => drop(app.retention().withdraw(&ticket, &path("a")).await.unwrap()),
            "shred" => drop(app.retention().shred(&ticket, &path("a"), None).await.unwrap()),
            _ => drop(app.retention().shred(&ticket, &path("a"), Some(3)).await.unwrap()),
        }
        let refusal = upload.close().await.unwrap_err();
        assert!(matches!(refusal, Refusal::NoSuchFile | Refusal::Shredded | Refusal::Fenced), "{how}: {refusal:?}");
        quiet(&app).await;
        assert_eq!(get(&session, "a").await, Err(Refusal::NoSuchFile), "{how}");
        sums_are_right(&app).await;
        put(&session, "a", &pattern(300_000, 1)).await;
        all_intact(&app).await;
        assert_eq!(lines(&app).await.iter().filter(|line| line.current).count(), 1, "{how} {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_uploads_expire_with_one_warning_a_day_before_and_no_earlier() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    cut(&app, &session, "cut", &pattern(200_000, 1)).await;
    let mut holey = session.open_write(&path("holey"), CREATE).await.unwrap();
    write(&mut holey, 700_000, &pattern(100_000, 1)).await;
    write(&mut holey, 600_000, &pattern(100_000, 1)).await;
    assert_eq!(holey.close().await, Err(Refusal::Incomplete));
    quiet(&app).await;
    put(&session, "old", b"readable").await;
    cut(&app, &session, "old", &pattern(100_000, 1)).await;
    let line = lines(&app).await.into_iter().find(|line| line.path == "holey").unwrap();
    assert_eq!((line.state, line.missing_percent), (VersionState::Incomplete, Some(75)));
    assert!(line.removed_at.unwrap() > Time::now().plus(6 * DAY));
    let line = &app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap()[1];
    assert_eq!((line.path.as_str(), line.missing_percent), ("holey", Some(75)));

    app.0.access.repo.clock.advance(6 * DAY - HOUR);
    assert_eq!(expire(&app).await, (0, 0, 0));
    app.0.access.repo.clock.advance(HOUR);
    assert_eq!(expire(&app).await, (3, 0, 0));
    assert_eq!(expire(&app).await, (0, 0, 0), "told once");
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let told: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM notice_version WHERE about = 'expiring'")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    drop(conn);
    assert_eq!(told, 3);

    // Something more of one comes: it begins anew, with a warning of its own.
    let mut upload = session.open_write(&path("cut"), WriteMode::default()).await.unwrap();
    write(&mut upload, 196_608, &pattern(50_000, 2)).await;
    drop(upload);
    quiet(&app).await;
    app.0.access.repo.clock.advance(DAY - HOUR);
    assert_eq!(expire(&app).await, (0, 0, 0));
    app.0.access.repo.clock.advance(HOUR);
    assert_eq!(expire(&app).await, (0, 2, 0));
    assert_eq!(get(&session, "old").await.unwrap(), b"readable");
    assert_eq!(session.attributes(&path("holey")).await, Err(Refusal::NoSuchFile));
    assert!(session.attributes(&path("cut")).await.unwrap().size > 0);
    sums_are_right(&app).await;
    app.0.access.repo.clock.advance(5 * DAY);
    assert_eq!(expire(&app).await, (1, 0, 0));
    app.0.access.repo.clock.advance(DAY);
    assert_eq!(expire(&app).await, (0, 1, 0));
    assert_eq!(lines(&app).await.iter().filter(|line| line.state == Closed).count(), 3);
    assert!(audited(&app, "version.shredded").await.iter().all(|detail| detail.contains(r#""rule":"expired""#)));
    all_intact(&app).await;
    sums_are_right(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_held_never_expires_and_nothing_goes_without_a_warning() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mut upload = session.open_write(&path("slow"), CREATE).await.unwrap();
    write(&mut upload, 0, &pattern(200_000, 1)).await;
    upload.sync().await.unwrap();
    cut(&app, &session, "cut", b"x").await;
    app.0.access.repo.clock.advance(100 * DAY);
    // The other one is long over its time, but nobody was told: it has its day.
    assert_eq!(expire(&app).await, (1, 0, 0));
    assert_eq!(expire(&app).await, (0, 0, 0));
    app.0.access.repo.clock.advance(DAY);
    assert_eq!(expire(&app).await, (0, 1, 0));
    write(&mut upload, 200_000, b"end").await;
    upload.close().await.unwrap();
    assert_eq!(get(&session, "slow").await.unwrap().len(), 200_003);
    sums_are_right(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_deleted_is_withdrawn_again_when_the_upload_that_saved_it_expires() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "a", b"first").await;
    session.remove_file(&path("a")).await.unwrap();
    cut(&app, &session, "a", &pattern(100_000, 1)).await;
    assert_eq!(states(&app).await, of("a", &[(1, Available), (2, Receiving)]));
    app.0.access.repo.clock.advance(6 * DAY);
    assert_eq!(expire(&app).await, (1, 0, 0));
    app.0.access.repo.clock.advance(DAY);
    // In the same step the grace that begins anew is not over.
    assert_eq!(expire(&app).await, (0, 1, 0));
    assert_eq!(states(&app).await, of("a", &[(1, Away), (2, Closed)]));
    assert_eq!(app.retention().restore(&word("XT-1"), &path("a")).await.unwrap().current, Some(1));
    assert_eq!(get(&session, "a").await.unwrap(), b"first");
    sums_are_right(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r29_only_house_time_takes_anything_away() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "gone", b"withdrawn").await;
    session.remove_file(&path("gone")).await.unwrap();
    cut(&app, &session, "cut", b"unfinished").await;
    app.0.access.repo.clock.advance(23 * HOUR);
    // As after a clock that jumped: every wall-clock time is far in the past, or in the future.
    for sql in [
        "UPDATE entry SET withdrawn_at = 1 WHERE withdrawn_at IS NOT NULL",
        "UPDATE version SET opened_at = 1, received_at = 1",
        "UPDATE entry SET withdrawn_at = 9000000000000 WHERE withdrawn_at IS NOT NULL",
        "UPDATE version SET opened_at = 9000000000000, received_at = 9000000000000",
    ] {
        change(&app, sql).await;
        assert_eq!(expire(&app).await, (0, 0, 0), "{sql}");
    }
    app.0.access.repo.clock.advance(HOUR);
    assert_eq!(expire(&app).await, (0, 0, 1), "a clock that is behind keeps nothing either");
    // A server that starts anew has not aged, and a command counts from not before the server's
    // now.
    app.close().await;
    drop((session, app));
    let data = DataDirectory::at(fixture.directory.path().join("data"));
    let desk = App::open(data, fixture.settings.clone()).await.unwrap();
    assert!(desk.0.access.repo.clock.not_before_now() > desk.0.access.repo.clock.now());
    assert!(desk.retention().expire().await.is_err(), "a command does not know what is under way");
    desk.close().await;
}

/// Every file of the records' database, as it lies on the disk.
fn records_bytes(app: &App) -> Vec<u8> {
    let mut bytes = Vec::new();
    for ending in ["", "-wal", "-shm"] {
        let mut name = app.data().records().into_os_string();
        name.push(ending);
        bytes.extend(std::fs::read(name).unwrap_or_default());
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r12_a_shredded_key_is_nowhere_in_the_records() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    // Enough rows that pages were split, and rows that have moved as they grew.
    for file in 0..40 {
        put(&session, &format!("f{file}"), &pattern(100 * file, 1)).await;
        put(&session, &format!("f{file}"), &pattern(90_000, 1)).await;
        cut(&app, &session, &format!("cut{file}"), &pattern(80_000, 1)).await;
    }
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let wrapped = "SELECT v.file_key FROM version v JOIN entry e ON e.id = v.entry_id WHERE e.share_id IS NOT NULL \
                   ORDER BY v.rowid";
    let keys: Vec<Vec<u8>> = sqlx::query_scalar(wrapped).fetch_all(&mut *conn).await.unwrap();
    let uses: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT extent_key FROM extent_use").fetch_all(&mut *conn).await.unwrap();
    drop(conn);
    assert_eq!(keys.len(), 120);
    let before = records_bytes(&app);
    assert!(keys.iter().all(|key| holds(&before, key)), "the search must be able to find them");
    for file in 0..40 {
        let only = (file % 2 == 0).then_some(1);
        app.retention().shred(&word("XT-1"), &path(&format!("f{file}")), only).await.unwrap();
    }
    app.0.access.repo.clock.advance(6 * DAY);
    assert_eq!(expire(&app).await, (40, 0, 0));
    app.0.access.repo.clock.advance(DAY);
    assert_eq!(expire(&app).await, (0, 40, 0));
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let left: BTreeSet<Vec<u8>> = sqlx::query_scalar("SELECT file_key FROM version WHERE file_key IS NOT NULL")
        .fetch_all(&mut *conn)
        .await
        .unwrap()
        .into_iter()
        .collect();
    let used: BTreeSet<Vec<u8>> = sqlx::query_scalar("SELECT extent_key FROM extent_use")
        .fetch_all(&mut *conn)
        .await
        .unwrap()
        .into_iter()
        .collect();
    drop(conn);
    assert_eq!(left.len(), 20);
    let after = records_bytes(&app);
    let found = keys.iter().filter(|key| !left.contains(*key) && holds(&after, key)).count();
    assert_eq!(found, 0, "of {} destroyed file keys", keys.len() - left.len());
    let found = uses.iter().filter(|key| !used.contains(*key) && holds(&after, key)).count();
    assert_eq!(found, 0, "of {} extent keys that went with them", uses.len() - used.len());
    assert!(left.iter().all(|key| holds(&after, key)));
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r20_a_crash_at_each_point_of_withdrawing_restoring_and_shredding_leaves_something_legal() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "a", &pattern(150_000, 1)).await;
    put(&session, "b", &pattern(400_000, 1)).await;
    session.rename(&path("b"), &path("a"), true).await.unwrap();
    let data = app.data().root().to_owned();
    let copies = tempfile::tempdir().unwrap();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (target, list) = (copies.path().to_owned(), Arc::clone(&taken));
    app.0.access.repo.failpoints.watch(move |name| {
        if name.starts_with("audit.") {
            return;
        }
        let mut list = list.lock().unwrap();
        let to = target.join(list.len().to_string());
        copy(&data, &to);
        list.push((name, to));
    });
    session.remove_file(&path("a")).await.unwrap();
    app.retention().restore(&word("XT-1"), &path("a")).await.unwrap();
    app.retention().withdraw(&word("XT-1"), &path("a")).await.unwrap();
    app.retention().restore(&word("XT-1"), &path("a")).await.unwrap();
    app.retention().shred(&word("XT-1"), &path("a"), Some(2)).await.unwrap();
    app.retention().shred(&word("XT-1"), &path("a"), None).await.unwrap();
    app.0.access.repo.failpoints.watch(|_| ());
    let taken = std::mem::take(&mut *taken.lock().unwrap());
    assert_eq!(taken.len(), 14);
    for (name, copy) in taken {
        for again in ["once", "twice"] {
            let app =
                App::serve(DataDirectory::at(&copy), fixture.settings.clone(), Handle::current(), Box::new(|| {}))
                    .await
                    .unwrap();
            all_intact(&app).await;
            sums_are_right(&app).await;
            expire(&app).await;
            let lines = lines(&app).await;
            assert_eq!(lines.len(), 2, "{name} {again}");
            assert!(lines.iter().filter(|line| line.current).count() <= 1, "{name} {again}");
            app.close().await;
        }
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).unwrap();
        }
    }
}

/// The rows that say what each name is.
async fn pointed(app: &App) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    sqlx::query_as("SELECT id, current_version FROM entry ORDER BY id").fetch_all(&mut *conn).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovery_leaves_a_predecessor_current() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (session, ticket) = (customer(&app, "XT-1").await, word("XT-1"));
    for bytes in [b"one", b"two", b"new"] {
        put(&session, "a", bytes).await;
        if bytes != b"new" {
            session.remove_file(&path("a")).await.unwrap();
        }
    }
    for left in [2, 1] {
        assert_eq!(app.retention().shred(&ticket, &path("a"), Some(left + 1)).await.unwrap().current, Some(left));
        let before = pointed(&app).await;
        assert_eq!(crate::integrity::recovery::recover(&app.0.access.repo).await.unwrap().pointers, 0);
        assert_eq!(pointed(&app).await, before, "a restart changes nothing");
    }
}
