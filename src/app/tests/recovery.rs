//! Recovery, the check of the store and the sweep: what each kind of damage comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::invariants::{hold, hold_but_for_damage};
use super::*;
use crate::integrity::recovery::{Recovered, recover, scan};
use crate::model::ObjectId;
use crate::model::audit::Actor;
use crate::records::{extents, objects, versions};
use tacdrop_probe::execute;

pub(super) const TRUNCATE: WriteMode =
    WriteMode { create: true, truncate: true, exclusive: false, append: false, read: false };
const DAY: u64 = 86_400_000;

pub(super) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A house with files of every kind: small and large, replaced, deleted, cut, closed with a hole.
async fn furnished(app: &App) -> (ShareSession, BTreeMap<String, [u8; 32]>) {
    let session = customer(app, "XT-1").await;
    let mut promised = BTreeMap::new();
    for (name, size) in [("small", 1000), ("large", 2_500_000), ("twice", 300_000), ("twice", 400_000)] {
        put(&session, name, &pattern(size, 1)).await;
        promised.insert(format!("XT-1/{name}"), digest(&pattern(size, 1)));
    }
    put(&session, "gone", &pattern(200_000, 2)).await;
    session.remove_file(&path("gone")).await.unwrap();
    let mut cut = session.open_write(&path("cut"), TRUNCATE).await.unwrap();
    for (part, at) in pattern(3_000_000, 3).chunks(1 << 20).zip((0u64..).step_by(1 << 20)) {
        write(&mut cut, at, part).await;
        // So that the extents' files tell their order by their times.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(cut);
    let mut holey = session.open_write(&path("holey"), TRUNCATE).await.unwrap();
    write(&mut holey, 9_000_000, &pattern(300_000, 5)).await;
    write(&mut holey, 0, &pattern(300_000, 4)).await;
    assert_eq!(holey.close().await, Err(Refusal::Incomplete));
    until_no_upload(app.access()).await;
    (session, promised)
}

pub(super) async fn until_no_upload(access: &Access) {
    while access.uploads.registry.len() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a check finds: the kinds of problems, and the kinds of notes.
pub(super) async fn found(app: &App, deep: bool) -> (Vec<&'static str>, Vec<&'static str>) {
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    let report =
        |finding: &Finding| if finding.problem { problems.push(finding.kind) } else { notes.push(finding.kind) };
    let checked = app.integrity().check(None, deep, |_| (), report).await.unwrap();
    assert_eq!(checked.problems, problems.len() as u64);
    (problems, notes)
}

/// What recovery did, without what it saw.
pub(super) fn done(recovered: Recovered) -> Recovered {
    Recovered { seen: Default::default(), ..recovered }
}

/// Recovers twice and gives what the first run did: the second one must find nothing to do.
async fn recovered(app: &App) -> Recovered {
    let first = recover(&app.0.access.repo).await.unwrap();
    let rows = snapshot(app).await;
    assert_eq!(done(recover(&app.0.access.repo).await.unwrap()), Recovered::default());
    assert_eq!(snapshot(app).await, rows, "a second recovery changes nothing");
    done(first)
}

/// All that recovery may change, as one text.
async fn snapshot(app: &App) -> String {
    // What waits to be written into the trail is no change of anything.
    app.0.access.trail.flush(Duration::ZERO).await.unwrap();
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let mut text = String::new();
    for ticket in crate::records::tickets::all(&mut conn).await.unwrap() {
        text += &format!("{ticket:?}{:?}", versions::of_share(&mut conn, ticket.share).await.unwrap());
    }
    for first in 0..=u8::MAX {
        text += &format!("{:?}", objects::shelves(&mut conn, &(first..=first)).await.unwrap());
    }
    text + &tacdrop_probe::audit_rows(&mut conn).await.unwrap().len().to_string()
}

/// The objects of the extents, or of the manifest, of the version at a path, in the order of the
/// file.
pub(super) async fn objects(app: &App, name: &str, manifest: bool) -> Vec<ObjectId> {
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let ticket = crate::records::tickets::by_reference(&mut conn, "XT-1").await.unwrap().unwrap();
    let keys = app.0.access.repo.keys.share(ticket.share).await.unwrap();
    let context = crate::namespace::tree::ShareContext { ticket: word("XT-1"), keys, aliases: false };
    let resolved = crate::namespace::tree::ResolvedPath::find(&mut conn, context, path(name).names()).await.unwrap();
    let entry = resolved.entry.unwrap();
    let id = entry.receiving.map(|version| version.id).or(entry.current.map(|version| version.id)).unwrap();
    if manifest {
        return vec![versions::by_id(&mut conn, id).await.unwrap().unwrap().manifest.unwrap().0];
    }
    extents::of_version(&mut conn, id).await.unwrap().iter().map(|extent| extent.id).collect()
}

fn file(app: &App, id: ObjectId) -> PathBuf {
    let name = id.to_string();
    app.data().objects().join(&name[..2]).join(&name)
}

fn cut_off(file: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - bytes).unwrap();
}

async fn tamper(app: &App, statement: &'static str) {
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    assert!(execute(tx.conn(), statement).await.unwrap() > 0, "{statement}");
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_that_is_right_is_left_alone() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (_, promised) = furnished(&app).await;
    let before = snapshot(&app).await;
    assert_eq!(recovered(&app).await, Recovered::default());
    assert_eq!(snapshot(&app).await, before);
    assert_eq!(found(&app, true).await, (vec![], vec![]));
    hold(&app, &promised, &[]).await;
    let checked = app.integrity().check(Some(&word("XT-1")), true, |_| (), |_| ()).await.unwrap();
    // Everything but the hole was read: two versions of one file, the deleted one, and what was
    // cut.
    let read = 1000 + 2_500_000 + 300_000 + 400_000 + 200_000 + 3_000_000 + 600_000;
    assert_eq!((checked.versions, checked.read, checked.objects), (7, read, None));
    assert!(app.integrity().check(Some(&word("XT-2")), false, |_| (), |_| ()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r03_what_the_store_has_lost_is_damaged_and_never_served() {
    for (manifest, bytes) in [(false, None), (false, Some(1)), (true, None), (true, Some(1))] {
        let fixture = Fixture::new();
        let app = fixture.open().await;
        let (session, mut promised) = furnished(&app).await;
        let lost = file(&app, objects(&app, "large", manifest).await[0]);
        match bytes {
            Some(bytes) => cut_off(&lost, bytes),
            None => fs::remove_file(&lost).unwrap(),
        }
        assert_eq!(found(&app, false).await, (vec!["lost"], vec![]), "{manifest} {bytes:?}");
        // A check changes nothing.
        assert_eq!(found(&app, true).await, (vec!["lost", "content"], vec![]));
        let expected = Recovered { damaged: 1, ..Recovered::default() };
        assert_eq!(recovered(&app).await, expected, "{manifest} {bytes:?}");
        assert_eq!(get(&session, "large").await, Err(Refusal::Damaged));
        assert_eq!(found(&app, true).await, (vec!["damaged"], vec![]));
        promised.remove("XT-1/large");
        hold_but_for_damage(&app, &promised, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r26_an_unfinished_upload_that_lost_bytes_goes_on_before_them() {
    for which in 0..3 {
        let fixture = Fixture::new();
        let app = fixture.open().await;
        let (session, mut promised) = furnished(&app).await;
        let mut by_place = Vec::new();
        for id in objects(&app, "cut", false).await {
            by_place.push((fs::metadata(file(&app, id)).unwrap().modified().unwrap(), id));
        }
        by_place.sort();
        assert_eq!(by_place.len(), 3);
        cut_off(&file(&app, by_place[which].1), 1);
        assert_eq!(found(&app, false).await.0, ["lost"]);
        assert_eq!(recovered(&app).await, Recovered { shortened: 1, ..Recovered::default() });
        assert_eq!(found(&app, true).await, (vec![], vec![]));
        // What was cut off on the disk is doomed like everything that nobody uses.
        assert_eq!(app.retention().remove_doomed(Duration::ZERO).await.unwrap(), 1);

        let size = session.attributes(&path("cut")).await.unwrap().size;
        assert_eq!(size, [0, (1 << 20) - 65_536, (2 << 20) - 65_536][which]);
        let mut upload = session.open_write(&path("cut"), WriteMode::default()).await.unwrap();
        let bytes = pattern(3_000_000, 3);
        write(&mut upload, size, &bytes[usize::try_from(size).unwrap()..]).await;
        upload.close().await.unwrap();
        assert!(get(&session, "cut").await.unwrap() == bytes);
        promised.insert("XT-1/cut".into(), digest(&bytes));
        hold(&app, &promised, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unfinished_upload_that_lost_bytes_and_does_not_open_is_given_up() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (session, promised) = furnished(&app).await;
    fs::remove_file(file(&app, objects(&app, "cut", false).await[0])).unwrap();
    tamper(&app, "UPDATE version SET progress = zeroblob(200) WHERE state = 'receiving'").await;
    assert_eq!(recovered(&app).await, Recovered { discarded: 1, ..Recovered::default() });
    assert_eq!(session.attributes(&path("cut")).await.unwrap().size, 0);
    assert_eq!(found(&app, true).await, (vec![], vec![]));
    put(&session, "cut", b"again").await;
    hold(&app, &promised, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_contradict_each_other_are_corrected() {
    let of = |change: fn(&mut Recovered)| {
        let mut recovered = Recovered::default();
        change(&mut recovered);
        recovered
    };
    let current = "UPDATE entry SET current_version = (SELECT id FROM version WHERE state = 'receiving') \
                   WHERE current_version = (SELECT id FROM version WHERE number = 2)";
    let receiving = "UPDATE entry SET receiving_version = current_version WHERE current_version IS NOT NULL \
                     AND withdrawn_at IS NULL";
    let orphan = "DELETE FROM extent_use WHERE version_id = (SELECT id FROM version WHERE state = 'receiving')";
    let cases: [(&'static str, &[&str], Recovered); 9] = [
        ("UPDATE ticket SET names = 0", &["sums"], of(|r| r.sums = 1)),
        ("UPDATE ticket SET stored_bytes = stored_bytes + 7", &["sums"], of(|r| r.sums = 1)),
        (current, &["pointer"], of(|r| r.pointers = 1)),
        (receiving, &["pointer"; 3], of(|r| r.pointers = 3)),
        (
            "UPDATE entry SET receiving_version = NULL WHERE receiving_version IN (SELECT id FROM version WHERE \
             state = 'incomplete')",
            &["unheld"],
            of(|r| r.discarded = 1),
        ),
        (
            "UPDATE version SET file_key = NULL WHERE state = 'incomplete'",
            &["unheld"],
            of(|r| (r.discarded, r.pointers) = (1, 1)),
        ),
        ("UPDATE version SET manifest_hash = NULL WHERE number = 2", &["unsealed"], of(|r| r.damaged = 1)),
        (
            "UPDATE version SET state = 'shredded' WHERE state = 'incomplete'",
            &["half-shredded", "pointer"],
            of(|r| (r.shredded, r.pointers) = (1, 1)),
        ),
        (
            "INSERT INTO object (id, bytes) VALUES (x'00112233445566778899aabbccddeeff', x'00')",
            &["unused"],
            of(|r| r.unused = 1),
        ),
    ];
    for (statement, problems, expected) in cases {
        let fixture = Fixture::new();
        let app = fixture.open().await;
        let (_, mut promised) = furnished(&app).await;
        tamper(&app, statement).await;
        assert_eq!(found(&app, false).await, (problems.to_vec(), vec![]), "{statement}");
        assert_eq!(recovered(&app).await, expected, "{statement}");
        let after: &[&str] = if expected.damaged > 0 { &["damaged"] } else { &[] };
        assert_eq!(found(&app, true).await, (after.to_vec(), vec![]), "{statement}");
        if expected.damaged > 0 || statement == current {
            promised.remove("XT-1/twice");
        }
        hold_but_for_damage(&app, &promised, &[]).await;
    }

    // Extents without a version are doomed, and the sums follow.
    let fixture = Fixture::new();
    let app = fixture.open().await;
    furnished(&app).await;
    tamper(&app, orphan).await;
    assert_eq!(found(&app, false).await, (vec!["unused"; 3], vec![]));
    assert_eq!(recovered(&app).await, of(|r| r.unused = 3));
    assert_eq!(app.retention().remove_doomed(Duration::ZERO).await.unwrap(), 3);
}

/// Numbers and ids that tacdrop never wrote, alone and together: a sum does not overflow by one
/// row, and a row that decides nothing is passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r75_values_that_no_row_has_do_not_stop_a_start() {
    let cases = [
        "UPDATE extent SET length = 9223372036854775807",
        "UPDATE version SET length = 9223372036854775807",
        "UPDATE ticket SET stored_bytes = 9223372036854775807, names = 9223372036854775807",
        "INSERT INTO doomed (object_id, place, since, share_id, length) \
         SELECT x'010203', 'store', 0, share_id, 9223372036854775807 FROM ticket",
        "INSERT INTO doomed (object_id, place, since, share_id, length) \
         SELECT randomblob(16), 'records', 0, share_id, 9223372036854775807 FROM ticket",
        "INSERT INTO stray (object_id, bytes, first_seen, confirmed_at) VALUES (x'010203', -1, 0, 0)",
    ];
    let all = cases.join(";");
    for statement in cases.into_iter().chain([&*all]) {
        let fixture = Fixture::new();
        let app = fixture.open().await;
        furnished(&app).await;
        app.close().await;
        drop(app);
        let mut conn = super::proofs::outsider(&fixture).await;
        for statement in statement.split(';') {
            super::proofs::sql(&mut conn, statement).await;
        }
        let app = fixture.open().await;
        recovered(&app).await;
        found(&app, true).await;
        app.retention().remove_doomed(Duration::ZERO).await.unwrap();
        objects::needed_totals(&mut app.0.access.repo.records.read().await.unwrap()).await.unwrap();
        app.close().await;
    }
}

/// What must be readable, and is not, stops the start with a sentence that says which row it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_stops_a_start_is_named() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    furnished(&app).await;
    let bad = "INSERT INTO extent (id, share_id, length, header_tag, place) \
               SELECT x'010203', share_id, 1, zeroblob(32), 'store' FROM ticket LIMIT 1";
    tamper(&app, bad).await;
    let said = recover(&app.0.access.repo).await.unwrap_err().to_string();
    assert!(said.contains("extent") && said.contains("(row 010203)"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_deep_check_sees() {
    let cases: [(&'static str, &[&str]); 6] = [
        (
            "UPDATE entry SET name = zeroblob(40) WHERE current_version = (SELECT id FROM version WHERE number = 2)",
            &["name"],
        ),
        (
            "UPDATE entry SET name_index = zeroblob(32) WHERE current_version = (SELECT id FROM version WHERE number = 2)",
            &["name"],
        ),
        ("UPDATE version SET progress = zeroblob(200) WHERE state = 'receiving'", &["content"]),
        ("UPDATE version SET sha256 = zeroblob(32) WHERE number = 2", &["content"]),
        (
            "UPDATE extent_use SET extent_key = zeroblob(60) WHERE version_id = (SELECT id FROM version WHERE number = 2)",
            &["content"],
        ),
        (
            "UPDATE extent SET header_tag = zeroblob(32) WHERE id IN (SELECT extent_id FROM extent_use WHERE version_id = \
          (SELECT id FROM version WHERE number = 2))",
            &["content"],
        ),
    ];
    for (statement, problems) in cases {
        let fixture = Fixture::new();
        let app = fixture.open().await;
        furnished(&app).await;
        tamper(&app, statement).await;
        let before = snapshot(&app).await;
        assert_eq!(found(&app, false).await, (vec![], vec![]), "{statement}");
        assert_eq!(found(&app, true).await, (problems.to_vec(), vec![]), "{statement}");
        assert_eq!(snapshot(&app).await, before, "it marks nothing: {statement}");
    }
    let fixture = Fixture::new();
    let app = fixture.open().await;
    furnished(&app).await;
    // One byte in the middle of an extent.
    let lost = file(&app, objects(&app, "large", false).await[1]);
    let mut bytes = fs::read(&lost).unwrap();
    bytes[100_000] ^= 1;
    fs::write(&lost, bytes).unwrap();
    assert_eq!(found(&app, false).await, (vec![], vec![]));
    assert_eq!(found(&app, true).await, (vec!["content"], vec![]));
    // Circles and numbers.
    tamper(&app, "UPDATE entry SET predecessor = id WHERE current_version = (SELECT id FROM version WHERE number = 2)")
        .await;
    assert_eq!(found(&app, false).await.0, ["circle", "numbers"]);
}

/// Lets so many days of house time go by, as if a server had run.
async fn days_later(fixture: &Fixture, app: App, days: u64) -> App {
    let now = u64::try_from(app.0.access.repo.clock.now().millis()).unwrap();
    app.set_fact("house_time", &(now + days * DAY).to_string()).await.unwrap();
    app.close().await;
    drop(app);
    fixture.open().await
}

fn in_store(app: &App) -> BTreeSet<ObjectId> {
    (0..=u8::MAX).flat_map(|first| app.0.access.repo.store.shelf(first).unwrap().objects).map(|(id, _)| id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r30_what_the_records_do_not_know_is_left_alone_for_seven_days() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (_, promised) = furnished(&app).await;
    let known = in_store(&app);
    let ids = [ObjectId::from_bytes([7; 16]), ObjectId::from_bytes([0xff; 16])];
    for id in ids {
        app.0.access.repo.store.put(id, b"unknown").unwrap();
    }
    let foreign = [app.data().objects().join("07").join("README"), app.data().objects().join("lost+found")];
    for path in &foreign {
        fs::write(path, b"not ours").unwrap();
    }
    let all = in_store(&app);

    // A sweep without two scans behind it removes nothing; nor do scans that are less than a week
    // apart.
    assert_eq!(app.retention().sweep(&Actor::Operator).await.unwrap(), Swept::default());
    let first = recover(&app.0.access.repo).await.unwrap();
    assert_eq!((first.new_strays, first.seen.strays, first.seen.foreign), (2, 2, 2));
    assert_eq!(found(&app, true).await, (vec![], vec!["strays", "foreign", "foreign"]));
    let app = days_later(&fixture, app, 6).await;
    assert_eq!(scan(&app.0.access.repo).await.unwrap().new_strays, 0);
    assert_eq!(app.retention().due_to_sweep().await.unwrap(), Swept::default());
    assert_eq!(app.retention().sweep(&Actor::Operator).await.unwrap(), Swept::default());
    assert_eq!(in_store(&app), all);

    // The second scan after a week: due. One that a row knows by then is no stray any more.
    let app = days_later(&fixture, app, 1).await;
    let due = Swept { objects: 2, bytes: 14, strays: 2 };
    assert_eq!(app.retention().due_to_sweep().await.unwrap(), due);
    assert_eq!(in_store(&app), all, "a dry run removes nothing");
    let known_again = "INSERT INTO extent (id, share_id, length, header_tag, place) SELECT object_id, share_id, 0, \
                       zeroblob(32), 'store' FROM stray, ticket WHERE object_id < x'10'";
    tamper(&app, known_again).await;
    assert_eq!(app.retention().sweep(&Actor::Server).await.unwrap(), Swept { objects: 1, bytes: 7, strays: 1 });
    let left = in_store(&app);
    assert_eq!(left.difference(&known).copied().collect::<Vec<_>>(), ids[..1]);
    assert_eq!(app.retention().sweep(&Actor::Server).await.unwrap(), Swept::default());
    tamper(&app, "DELETE FROM extent WHERE length = 0").await;
    assert!(foreign.iter().all(|path| path.exists()), "what is not ours is never touched");
    hold(&app, &promised, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantine_ends_when_an_object_is_known_or_gone() {
    let mut fixture = Fixture::new();
    fixture.settings.quarantine = Duration::ZERO;
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    for byte in [1, 2, 3] {
        app.0.access.repo.store.put(ObjectId::from_bytes([byte; 16]), b"unknown").unwrap();
    }
    assert_eq!(recover(&app.0.access.repo).await.unwrap().new_strays, 3);
    app.0.access.repo.store.delete(ObjectId::from_bytes([1; 16])).unwrap();
    let doom = "INSERT INTO doomed (object_id, place, since) SELECT object_id, 'store', 0 FROM stray WHERE object_id \
                BETWEEN x'02' AND x'03'";
    tamper(&app, doom).await;
    assert_eq!(recover(&app.0.access.repo).await.unwrap().seen.strays, 1);
    let quarantined = async |app: &App| {
        let rows = objects::shelves(&mut app.0.access.repo.records.read().await.unwrap(), &(3..=3)).await.unwrap();
        assert_eq!(rows.strays.len(), 1);
        rows.strays[0].confirmed_at.is_some()
    };
    assert!(quarantined(&app).await, "without a quarantine the second scan confirms");
    assert_eq!(app.retention().sweep(&Actor::Server).await.unwrap(), Swept { objects: 1, bytes: 7, strays: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_doomed_but_known_is_never_removed() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (_, promised) = furnished(&app).await;
    tamper(&app, "INSERT INTO doomed (object_id, place, since) SELECT id, place, 0 FROM extent").await;
    tamper(
        &app,
        "INSERT INTO doomed (object_id, place, since) SELECT manifest_id, 'store', 0 FROM version WHERE \
                     manifest_id IS NOT NULL AND state <> 'shredded'",
    )
    .await;
    let before = in_store(&app);
    assert_eq!(app.retention().sweep(&Actor::Server).await.unwrap(), Swept::default());
    assert_eq!(app.retention().due_to_sweep().await.unwrap(), Swept::default());
    assert_eq!(in_store(&app), before);
    hold(&app, &promised, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_not_mounted_damages_nothing() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "f", &pattern(9 << 20, 1)).await;
    let objects = app.data().objects();
    app.close().await;
    drop((session, app));
    fs::rename(&objects, objects.with_extension("away")).unwrap();
    let data = DataDirectory::at(fixture.directory.path().join("data"));
    let refused = App::serve(data, fixture.settings.clone(), Handle::current(), Box::new(|| {})).await;
    let said = refused.err().unwrap().to_string();
    assert!(said.contains("mount their file system"), "{said}");
    assert!(!objects.exists(), "what is to be mounted there is not made up");
    fs::rename(objects.with_extension("away"), &objects).unwrap();
    let app = fixture.open().await;
    hold(&app, &[("XT-1/f".to_owned(), digest(&pattern(9 << 20, 1)))].into(), &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_beside_uploads_and_deletions_finds_nothing() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let busy = tokio::spawn(async move {
        for round in 0..40 {
            put(&session, &format!("f{}", round % 3), &pattern(1_200_000, round)).await;
            if round % 4 == 0 {
                session.remove_file(&path("f0")).await.unwrap();
            }
            let mut upload = session.open_write(&path("cut"), TRUNCATE).await.unwrap();
            write(&mut upload, 0, &pattern(1_500_000, round)).await;
            upload.sync().await.unwrap();
            drop(upload);
        }
    });
    while !busy.is_finished() {
        let problems = found(&app, true).await.0;
        assert_eq!(problems, Vec::<&str>::new());
        app.retention().remove_doomed(Duration::ZERO).await.unwrap();
    }
    busy.await.unwrap();
}
