//! What people are told: temporary names, holes, replacements, senders' digests, and nothing twice.

use super::*;
use crate::mail::notice::{Before, Channel, DueNotice, FileLine, News, Standing};
use crate::model::{Algorithm, Time, Verdict};
use crate::notices::outbox::Outbox;
use crate::records::entries;
use tacdrop_probe::execute;

const WHOLE: WriteMode = WriteMode { create: true, exclusive: false, truncate: true, append: false, read: false };

/// Everything that is due `seconds` from now, delivered, and what settles within twenty more.
pub(super) async fn deliver(app: &App, seconds: u64) -> Vec<DueNotice> {
    let (queue, then) = (Arc::clone(&app.0.access.notices), Time::now().plus(Duration::from_secs(seconds)));
    let mut delivered = Vec::new();
    for more in [0, 10, 20] {
        let now = then.plus(Duration::from_secs(more));
        let due = queue.due(now, 100).await.unwrap();
        for notice in &due {
            queue.delivered(notice.id, &notice.recipient.address, now, Channel::Spool).await.unwrap();
        }
        delivered.extend(due);
    }
    delivered
}

/// The lines of the one notice that is due by then; none if there is none.
async fn told(app: &App, seconds: u64) -> Vec<FileLine> {
    let mut notices = deliver(app, seconds).await;
    assert!(notices.len() <= 1, "{} notices", notices.len());
    notices.pop().map_or_else(Vec::new, |notice| notice.files)
}

fn names(lines: &[FileLine]) -> Vec<String> {
    lines.iter().map(|line| format!("{} {}", line.path, line.version)).collect()
}

/// Whether it is about a file that is not whole.
const fn is_unfinished(news: &News) -> bool {
    !matches!(news, News::Arrived(_))
}

fn arrival(line: &FileLine) -> &crate::mail::notice::Arrival {
    match &line.news {
        News::Arrived(arrival) => arrival,
        _ => panic!("{} is not whole", line.path),
    }
}

async fn next_due(app: &App) -> Option<u64> {
    let due = Arc::clone(&app.0.access.notices).next_due().await.unwrap()?;
    Some(u64::try_from((due.millis() - Time::now().millis()).max(0)).unwrap() / 1000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_name_is_announced_once_and_under_its_final_name() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "a.filepart", b"first").await;
    assert!(told(&app, 100).await.is_empty());
    assert!(next_due(&app).await.is_some_and(|due| due > 500), "the dispatcher knows of what is held");
    // From one temporary name to another, and into a directory: still held.
    session.make_directory(&path("d.part")).await.unwrap();
    session.rename(&path("a.filepart"), &path("d.part/.in.a."), false).await.unwrap();
    assert!(told(&app, 100).await.is_empty());
    session.rename(&path("d.part"), &path("d"), false).await.unwrap();
    assert!(told(&app, 100).await.is_empty(), "a directory's name says nothing");
    session.rename(&path("d/.in.a."), &path("a"), false).await.unwrap();
    assert_eq!(names(&told(&app, 100).await), ["a 1"]);
    // Renamed over an older one, as clients do that upload again.
    put(&session, "a.FILEPART", b"second").await;
    session.rename(&path("a.FILEPART"), &path("a"), true).await.unwrap();
    let lines = told(&app, 100).await;
    assert_eq!(names(&lines), ["a 2"]);
    assert_eq!(arrival(&lines[0]).before, Some(Before { version: 1, size: 5, continued: false }));
    // And back: it was announced.
    session.rename(&path("a"), &path("a.part"), false).await.unwrap();
    session.rename(&path("a.part"), &path("b"), false).await.unwrap();
    assert!(deliver(&app, 100_000).await.is_empty());
    assert_eq!(next_due(&app).await, None);
}

/// Hundreds of files that took each other's place stand between two versions: nothing is cut short.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_held_behind_a_long_chain_is_told_of_and_knows_what_it_replaced() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "a.part", b"first").await;
    put(&session, "b.part", b"longer").await;
    session.rename(&path("b.part"), &path("a.part"), true).await.unwrap();
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    for statement in [
        "INSERT INTO entry (id, share_id, kind, mode, modified_at, number_base, predecessor, replaced_at) \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) \
         SELECT CAST(printf('%016d', i) AS BLOB), share_id, kind, mode, modified_at, 1, \
         CASE WHEN i > 1 THEN CAST(printf('%016d', i - 1) AS BLOB) ELSE id END, replaced_at \
         FROM n JOIN entry ON replaced_at IS NOT NULL",
        "UPDATE entry SET predecessor = CAST('0000000000000300' AS BLOB) \
         WHERE predecessor IS NOT NULL AND replaced_at IS NULL",
    ] {
        assert!(execute(tx.conn(), statement).await.unwrap() > 0);
    }
    for link in entries::all_links(tx.conn()).await.unwrap() {
        entries::prove_link(tx.conn(), &**app.0.access.repo.keys.proofs(), &link).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert!(told(&app, 100).await.is_empty());
    session.rename(&path("a.part"), &path("a"), false).await.unwrap();
    let lines = told(&app, 100).await;
    assert_eq!(names(&lines), ["a 1", "a 2"]);
    assert_eq!((arrival(&lines[0]).before, arrival(&lines[0]).replaced_by), (None, Some(2)));
    assert_eq!(arrival(&lines[1]).before, Some(Before { version: 1, size: 5, continued: false }));
    assert_eq!(arrival(&lines[1]).replaced_by, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_name_that_stays_is_announced_as_it_is_and_not_again() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "a.part", b"first").await;
    put(&session, "a.part", b"second").await;
    app.close().await;
    drop((session, app));
    // Over a restart.
    let app = fixture.open().await;
    let lines = told(&app, 700).await;
    assert_eq!(names(&lines), ["a.part 1", "a.part 2"]);
    assert_eq!((arrival(&lines[0]).replaced_by, arrival(&lines[1]).replaced_by), (Some(2), None));
    assert!(arrival(&lines[0]).location.ends_with("/XT-1/.versions/a.part/1"), "{}", arrival(&lines[0]).location);
    assert!(arrival(&lines[1]).location.ends_with("/XT-1/a.part"));
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    let session = app.session(&app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap());
    session.rename(&path("a.part"), &path("a"), false).await.unwrap();
    assert!(deliver(&app, 100_000).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_held_is_told_in_full_when_it_was_overwritten_and_not_while_it_is_deleted() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "a.part", b"one").await;
    put(&session, "a.part", b"two").await;
    session.remove_file(&path("a.part")).await.unwrap();
    assert!(deliver(&app, 100_000).await.is_empty(), "deleted before anybody was told");
    assert_eq!(next_due(&app).await, None, "nobody is woken for it");
    // Sent again: what was deleted is an older version now, and is told of with the new one.
    put(&session, "a.part", b"three").await;
    session.rename(&path("a.part"), &path("a"), false).await.unwrap();
    let lines = told(&app, 100).await;
    assert_eq!(names(&lines), ["a 1", "a 2", "a 3"]);
    assert!(deliver(&app, 100_000).await.is_empty());
    // Deleted after it was announced and before it was delivered: said, and without a place.
    put(&session, "b", b"b").await;
    session.remove_file(&path("b")).await.unwrap();
    let lines = told(&app, 100).await;
    assert_eq!((names(&lines), arrival(&lines[0]).standing), (vec!["b 1".to_owned()], Standing::Withdrawn));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r24_a_crash_at_any_point_neither_loses_nor_repeats_a_held_notice() {
    for point in ["publish.before-commit", "publish.after-commit", "rename.before-commit", "rename.after-commit"] {
        let fixture = Fixture::new();
        let app = fixture.open().await;
        let session = customer(&app, "XT-1").await;
        // The data directory as a crash at this point would leave it.
        let (data, copy) = (fixture.directory.path().join("data"), fixture.directory.path().join("crashed"));
        let target = copy.clone();
        app.0.access.repo.failpoints.watch(move |name| {
            if name == point && !target.exists() {
                copy_directory(&data, &target);
            }
        });
        put(&session, "a.part", b"held").await;
        session.rename(&path("a.part"), &path("a"), false).await.unwrap();
        assert_eq!(names(&told(&app, 100).await), ["a 1"], "{point}");
        drop((session, app));

        let crashed = DataDirectory::at(copy);
        let settings = fixture.settings.clone();
        let app = App::serve(crashed, settings, Handle::current(), Box::new(|| {})).await.unwrap();
        let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
        let session = app.session(&app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap());
        let is_published = app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap();
        let is_published = is_published.iter().any(|line| line.state == VersionState::Available);
        assert_eq!(is_published, point != "publish.before-commit", "{point}");
        if !is_published {
            put(&session, "a.part", b"held").await;
        }
        let early = told(&app, 100).await;
        assert_eq!(early.is_empty(), point != "rename.after-commit", "{point}");
        if session.attributes(&path("a.part")).await.is_ok() {
            session.rename(&path("a.part"), &path("a"), false).await.unwrap();
            assert_eq!(names(&told(&app, 100).await), ["a 1"], "{point}");
        }
        assert!(deliver(&app, 100_000).await.is_empty(), "{point}");
        let (all, told) =
            (app.integrity().verify(None, |_| ()).await.unwrap(), app.notices().list(None).await.unwrap());
        assert_eq!((all.len(), told.len(), told[0].artifacts.len()), (1, 1, 1), "I3 {point}");
    }
}

fn copy_directory(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for item in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy_directory(&item.path(), &target)
        } else {
            std::fs::copy(item.path(), &target).unwrap();
        }
    }
}

/// Sends 63 of 100 bytes around a hole and closes.
async fn put_holey(session: &ShareSession, name: &str) {
    let mut upload = session.open_write(&path(name), WHOLE).await.unwrap();
    write(&mut upload, 69, &[2; 31]).await;
    write(&mut upload, 0, &[1; 32]).await;
    assert_eq!(upload.close().await, Err(Refusal::Incomplete));
}

async fn complete(session: &ShareSession, name: &str) {
    let mut upload = session.open_write(&path(name), WriteMode::default()).await.unwrap();
    write(&mut upload, 32, &[3; 37]).await;
    upload.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r25_a_hole_is_told_of_as_one_and_its_completion_as_an_arrival() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put_holey(&session, "f").await;
    let lines = told(&app, 100).await;
    let News::Incomplete(unfinished) = lines[0].news else { panic!("it is not whole") };
    assert_eq!((names(&lines), unfinished.there, unfinished.missing), (vec!["f 1".to_owned()], 63, Some(37)));
    let shown = session.list(&path("/")).await.unwrap().next(10).await.unwrap();
    assert_eq!(shown[0].unfinished, Some(Unfinished::Incomplete));
    let about = app.notices().list(None).await.unwrap()[0].artifacts[0].about;
    assert_eq!(about, "incomplete");
    complete(&session, "f").await;
    let lines = told(&app, 100).await;
    assert_eq!((names(&lines), arrival(&lines[0]).size), (vec!["f 1".to_owned()], 100));
    let shown = session.list(&path("/")).await.unwrap().next(10).await.unwrap();
    assert_eq!(shown[0].unfinished, None);

    // Completed before anybody was told: one arrival, nothing else.
    put_holey(&session, "g").await;
    complete(&session, "g").await;
    let lines = told(&app, 100).await;
    assert_eq!((names(&lines), is_unfinished(&lines[0].news)), (vec!["g 1".to_owned()], false));

    // Continued and cut again: still incomplete.
    put_holey(&session, "h").await;
    let mut upload = session.open_write(&path("h"), WriteMode::default()).await.unwrap();
    write(&mut upload, 32, &[3; 10]).await;
    upload.sync().await.unwrap();
    drop(upload);
    let lines = told(&app, 100).await;
    assert!(lines.len() == 1 && is_unfinished(&lines[0].news), "{:?}", names(&lines));

    // Completed between the end of settling and the delivery: its own notice tells of it, the older
    // one nothing.
    put_holey(&session, "i").await;
    let queue = Arc::clone(&app.0.access.notices);
    let later = Time::now().plus(Duration::from_secs(20));
    let undelivered = queue.due(later, 10).await.unwrap();
    assert!(is_unfinished(&undelivered[0].files[0].news));
    complete(&session, "i").await;
    let lines = told(&app, 100).await;
    assert_eq!((names(&lines), is_unfinished(&lines[0].news)), (vec!["i 1".to_owned()], false));
    let void = app.notices().list(None).await.unwrap();
    let void: Vec<_> = void.iter().filter(|notice| notice.channel.as_deref() == Some("none")).collect();
    assert_eq!((void.len(), void[0].id.clone(), void[0].attempts), (1, undelivered[0].id.to_string(), 0));

    // Given up before anybody was told: nothing is said. And a cut alone is no news.
    put_holey(&session, "j").await;
    session.remove_file(&path("j")).await.unwrap();
    let mut upload = session.open_write(&path("k"), WHOLE).await.unwrap();
    write(&mut upload, 0, b"cut").await;
    upload.sync().await.unwrap();
    let shown = session.list(&path("/")).await.unwrap().next(10).await.unwrap();
    let k = shown.iter().find(|line| line.name.as_bytes() == b"k").unwrap();
    assert_eq!(k.unfinished, Some(Unfinished::Receiving));
    drop(upload);
    assert!(deliver(&app, 100_000).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_is_told_of_before_it_happens() {
    use crate::records::notices::About;
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put_holey(&session, "f").await;
    deliver(&app, 100).await;
    let version = {
        let mut conn = app.0.access.repo.records.read().await.unwrap();
        let share = crate::records::tickets::by_reference(&mut conn, "XT-1").await.unwrap().unwrap().share;
        crate::records::versions::of_share(&mut conn, share).await.unwrap()[0].id
    };
    let queue = async || {
        let mut tx = app.0.access.repo.records.begin().await.unwrap();
        let now = Time::now();
        crate::notices::queue(tx.conn(), &app.0.access.repo, &word("XT-1"), version, About::Expiring, now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    queue().await;
    let notices = deliver(&app, 100).await;
    let News::Expiring { unfinished, removed_at } = notices[0].files[0].news else { panic!("it will be removed") };
    assert_eq!(
        (unfinished.missing, removed_at),
        (Some(37), notices[0].created_at.plus(app.0.access.repo.settings.warn))
    );
    queue().await;
    complete(&session, "f").await;
    let lines = told(&app, 100).await;
    assert_eq!((lines.len(), is_unfinished(&lines[0].news)), (1, false), "it is whole: nothing expires");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_longer_version_that_goes_on_where_the_shorter_ended_continues_it() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let bytes = pattern(3_000_000, 1);
    put(&session, "f", &bytes[..1_234_567]).await;
    let mut upload = session.open_write(&path("f"), WriteMode::default()).await.unwrap();
    write(&mut upload, 1_234_567, &bytes[1_234_567..]).await;
    upload.close().await.unwrap();
    let lines = told(&app, 100).await;
    assert_eq!(names(&lines), ["f 1", "f 2"]);
    assert_eq!((arrival(&lines[0]).before, arrival(&lines[0]).replaced_by), (None, Some(2)));
    assert_eq!(arrival(&lines[1]).before, Some(Before { version: 1, size: 1_234_567, continued: true }));
    // Longer, but sent anew; and shorter.
    put(&session, "f", &pattern(4_000_000, 1)).await;
    put(&session, "f", b"short").await;
    let lines = told(&app, 100).await;
    assert_eq!(arrival(&lines[0]).before, Some(Before { version: 2, size: 3_000_000, continued: false }));
    assert_eq!(arrival(&lines[1]).before, Some(Before { version: 3, size: 4_000_000, continued: false }));
    // Written over in the middle and made longer: it began as a copy, and is something else.
    let mut upload = session.open_write(&path("f"), WriteMode::default()).await.unwrap();
    write(&mut upload, 0, b"SHORTER").await;
    upload.close().await.unwrap();
    let lines = told(&app, 100).await;
    assert_eq!(arrival(&lines[0]).before, Some(Before { version: 4, size: 5, continued: false }));
}

/// Checks until nothing is left, as the server's task does at its start.
async fn checks(app: &App) -> Vec<(String, Vec<(Algorithm, Verdict)>)> {
    app.0.access.sidecars.check_all().await.unwrap();
    let lines = app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap();
    let checks = |line: &ArtifactLine| line.sender_checks.iter().map(|one| (one.algorithm, one.result)).collect();
    lines
        .iter()
        .map(|line| (line.path.clone(), checks(line)))
        .filter(|(_, all): &(_, Vec<_>)| !all.is_empty())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_digests_are_compared_before_and_after_and_found_again_after_a_crash() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    // Of "abc": RFC 1321, section A.5, and FIPS 180-4's examples.
    let (md5, sha1) = ("900150983cd24fb0d6963f7d28e17f72", "a9993e364706816aba3e25717850c26c9cd0d89d");
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let abc = |algorithm| (algorithm, Verdict::Matches);
    session.make_directory(&path("d")).await.unwrap();
    put(&session, "d/a.md5", format!("{md5}  a\n").as_bytes()).await;
    assert!(checks(&app).await.is_empty(), "there is nothing to compare with yet");
    put(&session, "d/a", b"abc").await;
    put(&session, "d/a.SHA256", format!("SHA256 (a) = {sha256}\n").as_bytes()).await;
    put(&session, "d/a.sha1", sha1.as_bytes()).await;
    let all = vec![abc(Algorithm::Md5), abc(Algorithm::Sha1), abc(Algorithm::Sha256)];
    assert_eq!(checks(&app).await, [("d/a".to_owned(), all.clone())]);
    assert_eq!(checks(&app).await, [("d/a".to_owned(), all.clone())], "once more changes nothing");
    let lines = told(&app, 100).await;
    let a = lines.iter().find(|line| line.path == path("d/a")).unwrap();
    assert_eq!(arrival(a).checks.iter().map(|check| (check.algorithm, check.verdict)).collect::<Vec<_>>(), all);
    assert!(arrival(a).checks.iter().all(|check| check.of.is_none()));

    // Sidecars of what is sent next come first; the version that matched stays one that matched.
    put(&session, "d/a.md5", format!("{:032x}  a\n", 7).as_bytes()).await;
    assert_eq!(checks(&app).await, [("d/a".to_owned(), all)]);
    put(&session, "d/a", b"abcd").await;
    let (_, results) = checks(&app).await.remove(0);
    assert!(results.iter().all(|(_, verdict)| *verdict == Verdict::Differs), "{results:?}");
    let lines = told(&app, 100).await;
    assert!(lines.iter().any(|line| arrival(line).checks.iter().any(|check| check.verdict == Verdict::Differs)));

    // One that comes after its file was announced says it in its own line.
    put(&session, "b", b"abc").await;
    deliver(&app, 100).await;
    put(&session, "b.md5", b"gibberish").await;
    put(&session, "b.sha256", sha256.as_bytes()).await;
    assert_eq!(checks(&app).await[0].1, [(Algorithm::Md5, Verdict::NotUnderstood), abc(Algorithm::Sha256)]);
    let lines = told(&app, 100).await;
    let said: Vec<_> = lines.iter().flat_map(|line| &arrival(line).checks).map(|one| one.of.as_deref()).collect();
    assert_eq!(said, [Some("b"), Some("b")]);

    // What is not whole is not compared; too long is not understood; a corrected one counts.
    put_holey(&session, "c").await;
    put(&session, "c.md5", md5.as_bytes()).await;
    put(&session, "e", b"abc").await;
    put(&session, "e.md5", &[b'0'; 5000]).await;
    let found = checks(&app).await;
    assert!(!found.iter().any(|(path, _)| path == "c"), "{found:?}");
    assert!(found.contains(&("e".to_owned(), vec![(Algorithm::Md5, Verdict::NotUnderstood)])), "{found:?}");
    put(&session, "e.md5", md5.as_bytes()).await;
    assert!(checks(&app).await.contains(&("e".to_owned(), vec![abc(Algorithm::Md5)])));
    all_intact(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_waits_for_a_comparison_and_not_for_ever() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let (checker, stopped) = (app.clone(), stop.clone());
    let task = tokio::spawn(async move { checker.check_sender_digests(stopped).await });
    let session = customer(&app, "XT-1").await;
    put(&session, "a.md5", b"900150983cd24fb0d6963f7d28e17f72").await;
    put(&session, "a.part", b"abc").await;
    session.rename(&path("a.part"), &path("a"), false).await.unwrap();
    let results = async || {
        let lines = app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap();
        lines.into_iter().flat_map(|line| line.sender_checks).count()
    };
    tokio::time::timeout(Duration::from_secs(30), async {
        while results().await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the task compares without being asked");
    stop.cancel();
    task.await.unwrap();

    // As if the comparison were under way still.
    let id = {
        let mut conn = app.0.access.repo.records.read().await.unwrap();
        let told = crate::records::notices::list(&mut conn, None).await.unwrap();
        crate::records::notices::told(&mut conn, told[0].id).await.unwrap().rows[0].artifact
    };
    app.0.access.sidecars.pretend_to_work_on(Some(id));
    assert!(told(&app, 30).await.is_empty());
    assert!(next_due(&app).await.is_some_and(|due| due > 25), "it is not asked for again at once");
    assert_eq!(told(&app, 61).await.len(), 2, "the longest settling time is over");
}
