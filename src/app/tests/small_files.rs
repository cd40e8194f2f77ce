//! Small files: how much one takes of the records, and what becomes of it when it is more than read.

use std::collections::BTreeMap;

use super::lifecycle::{HOUR, quiet, sums_are_right};
use super::recovery::{done, found};
use super::reseal::{expected, house_of_before, is_as_expected, older, receipt, reseal};
use super::*;
use crate::integrity::recovery::{Recovered, recover};
use crate::vault::extent::sealed_length;

/// How many rows and index entries there are, by table and index.
async fn sizes(app: &App) -> BTreeMap<String, usize> {
    app.0.access.trail.flush(Duration::ZERO).await.unwrap();
    tacdrop_probe::sizes(&mut app.0.access.repo.records.read().await.unwrap()).await.unwrap()
}

/// By how many each of them has grown, where it has.
fn grown(before: &BTreeMap<String, usize>, after: &BTreeMap<String, usize>) -> Vec<(String, usize)> {
    let grown = after.iter().map(|(name, count)| (name.clone(), count - before.get(name).copied().unwrap_or(0)));
    grown.filter(|(_, more)| *more > 0).collect()
}

/// How many small files there are, and how many objects in the records.
async fn small_and_objects(app: &App) -> (usize, usize) {
    let sizes = sizes(app).await;
    let of = |name| sizes.get(name).copied().unwrap_or(0);
    (of("small_file"), of("object"))
}

async fn all_is_well(app: &App) {
    quiet(app).await;
    sums_are_right(app).await;
    assert_eq!(found(app, true).await, (vec![], vec![]));
    assert_eq!(done(recover(&app.0.access.repo).await.unwrap()), Recovered::default());
}

async fn tamper(app: &App, statement: &'static str) {
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    assert!(tacdrop_probe::execute(tx.conn(), statement).await.unwrap() > 0, "{statement}");
    tx.commit().await.unwrap();
}

async fn append(session: &ShareSession, name: &str, bytes: &[u8]) {
    let mode = WriteMode { append: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path(name), mode).await.unwrap();
    write(&mut upload, 0, bytes).await;
    upload.close().await.unwrap();
}

/// What stands in the records of one file of 4,000 bytes, beside the event that it was opened.
const SMALL: [(&str, usize); 15] = [
    ("audit_event", 1),
    ("audit_event_by_ticket", 1),
    ("entry", 1),
    ("entry_by_alias", 1),
    ("entry_by_name", 1),
    ("entry_by_parent", 1),
    ("entry_by_share", 1),
    ("notice_version", 1),
    ("small_file", 1),
    ("sqlite_autoindex_entry_1", 1),
    ("sqlite_autoindex_notice_version_1", 1),
    ("sqlite_autoindex_version_1", 1),
    ("sqlite_autoindex_version_2", 1),
    ("version", 1),
    ("version_by_arrival", 1),
];

/// The same where its objects are objects of their own, in place of `small_file`.
const APART: [(&str, usize); 8] = [
    ("extent", 1),
    ("extent_use", 1),
    ("extent_use_by_extent", 1),
    ("object", 2),
    ("sqlite_autoindex_extent_1", 1),
    ("sqlite_autoindex_extent_use_1", 1),
    ("sqlite_autoindex_object_1", 2),
    ("version_by_manifest", 1),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_file_is_five_rows_and_ten_entries_of_indexes() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    app.0.access.repo.failpoints.be_patient();
    let session = customer(&app, "XT-1").await;
    put(&session, "first", b"its notice gathers the next ones").await;
    let before = sizes(&app).await;
    put(&session, "second", &pattern(4000, 1)).await;
    let after = sizes(&app).await;
    let opened = |name: &str| usize::from(name.starts_with("audit_event"));
    let named =
        |some: &[(&str, usize)]| some.iter().map(|(name, more)| ((*name).to_owned(), *more)).collect::<Vec<_>>();
    let more: Vec<_> =
        grown(&before, &after).into_iter().map(|(name, more)| (name.clone(), more - opened(&name))).collect();
    assert_eq!(more, named(&SMALL));

    // Another version uses its extent: eight rows and sixteen entries; before the index by arrival every file had fifteen.
    append(&session, "second", b"more").await;
    let (before, after) = (after, sizes(&app).await);
    let (mut gone, mut more) = (BTreeMap::new(), before.clone());
    for (name, count) in &before {
        let left = after.get(name).copied().unwrap_or(0);
        (left < *count).then(|| gone.insert(name.clone(), count - left));
    }
    assert_eq!(gone, BTreeMap::from([("small_file".to_owned(), 1)]));
    for (name, count) in APART {
        *more.entry(name.to_owned()).or_default() += count;
    }
    // The second version has another extent, and uses both.
    let second = [("extent", 1), ("extent_use", 2), ("object", 2), ("version_by_manifest", 1)];
    for (name, count) in second {
        *more.entry(name.to_owned()).or_default() += count;
        assert_eq!(after[name], more[name], "{name}");
    }
    all_is_well(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_goes_on_from_a_small_file_shares_its_bytes() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let bytes = pattern(5000, 1);
    put(&session, "f", &bytes).await;
    assert_eq!(small_and_objects(&app).await, (1, 0));
    // Who only looks leaves it as it is, and so does who begins anew.
    let mode = WriteMode { append: true, ..WriteMode::default() };
    session.open_write(&path("f"), mode).await.unwrap().close().await.unwrap();
    put(&session, "f", &bytes).await;
    assert_eq!(small_and_objects(&app).await, (2, 0));
    let before = session.open_read(&path("f")).await.unwrap();
    append(&session, "f", b"more").await;
    assert_eq!(small_and_objects(&app).await, (1, 4), "two extents and two manifests");
    let mut read = Vec::new();
    assert_eq!(before.read(0, 9000, &mut read).await, Ok(5000), "opened before it was taken apart");
    assert!(read == bytes);
    assert!(get(&session, "f").await.unwrap() == [&bytes[..], b"more"].concat());
    assert!(get(&engineer(&app).await, "/XT-1/.versions/f/2").await.is_ok_and(|read| read == bytes));
    all_is_well(&app).await;
    // Each extent is counted once.
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let row = crate::records::tickets::by_reference(&mut conn, "XT-1").await.unwrap().unwrap();
    drop(conn);
    assert_eq!(row.stored_bytes, 5000 + 5000 + 4);
    app.retention().shred(&word("XT-1"), &path("f"), Some(2)).await.unwrap();
    assert!(get(&session, "f").await.unwrap() == [&bytes[..], b"more"].concat());
    all_is_well(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_file_that_is_shredded_under_an_upload_that_goes_on_from_it_refuses_that() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "f", &pattern(5000, 1)).await;
    put(&session, "f", &pattern(6000, 1)).await;
    let mode = WriteMode { append: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path("f"), mode).await.unwrap();
    write(&mut upload, 0, b"more").await;
    app.retention().shred(&word("XT-1"), &path("f"), Some(2)).await.unwrap();
    assert_eq!(upload.close().await, Err(Refusal::Shredded));
    assert!(get(&session, "f").await.unwrap() == pattern(5000, 1));
    all_is_well(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shredded_small_file_counts_until_its_readers_are_done() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let bytes = pattern(60_000, 1);
    put(&session, "f", &bytes).await;
    let reader = session.open_read(&path("f")).await.unwrap();
    app.retention().shred(&word("XT-1"), &path("f"), None).await.unwrap();
    assert_eq!(small_and_objects(&app).await, (0, 1));
    sums_are_right(&app).await;
    let mut read = Vec::new();
    assert_eq!(reader.read(0, 60_000, &mut read).await, Ok(60_000), "it is in the middle of it");
    assert!(read == bytes);
    assert_eq!(app.retention().remove_doomed(HOUR).await.unwrap(), 0);
    app.0.access.repo.clock.advance(2 * HOUR);
    assert_eq!(app.retention().remove_doomed(HOUR).await.unwrap(), 1);
    assert_eq!(small_and_objects(&app).await, (0, 0));
    all_is_well(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_row_of_a_small_file_has_lost_is_found() {
    let lost = ["lost"];
    let wrong: [(&'static str, &[&str], u64); 7] = [
        ("DELETE FROM small_file", &lost, 1),
        ("UPDATE version SET small_file = 1 WHERE small_file IS NOT NULL", &["lost", "unused"], 1),
        ("UPDATE small_file SET extent_bytes = x'00'", &lost, 1),
        ("UPDATE small_file SET manifest_bytes = zeroblob(length(manifest_bytes) + 1)", &lost, 1),
        ("UPDATE small_file SET extent_id = zeroblob(16)", &["content"], 0),
        ("UPDATE small_file SET extent_bytes = zeroblob(length(extent_bytes))", &["content"], 0),
        ("UPDATE small_file SET manifest_bytes = zeroblob(length(manifest_bytes))", &["content"], 0),
    ];
    for (statement, problems, damaged) in wrong {
        let fixture = Fixture::new();
        let app = fixture.open().await;
        let session = customer(&app, "XT-1").await;
        put(&session, "f", &pattern(5000, 1)).await;
        tamper(&app, statement).await;
        let shallow = if damaged > 0 { problems } else { &[] };
        assert_eq!(found(&app, false).await.0, shallow, "{statement}");
        if damaged == 0 {
            assert_eq!(found(&app, true).await.0, problems, "{statement}");
        }
        let recovered = done(recover(&app.0.access.repo).await.unwrap());
        assert_eq!(recovered, Recovered { damaged, ..Recovered::default() }, "{statement}");
        assert_eq!(get(&session, "f").await, Err(Refusal::Damaged), "{statement}");
        // Whatever it is, it can be shredded.
        app.retention().shred(&word("XT-1"), &path("f"), None).await.unwrap();
        sums_or_nothing(&app).await;
    }
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "f", &pattern(5000, 1)).await;
    tamper(&app, "UPDATE version SET state = 'shredded' WHERE small_file IS NOT NULL").await;
    assert_eq!(found(&app, false).await.0, ["half-shredded", "pointer"]);
    let recovered = done(recover(&app.0.access.repo).await.unwrap());
    assert_eq!((recovered.shredded, recovered.sums), (1, 0));
    assert_eq!(small_and_objects(&app).await, (0, 1), "doomed");
    sums_or_nothing(&app).await;
}

/// What is counted is right after a recovery at the latest.
async fn sums_or_nothing(app: &App) {
    recover(&app.0.access.repo).await.unwrap();
    assert!(done(recover(&app.0.access.repo).await.unwrap()) == Recovered::default());
}

/// The lengths that recovery expects in SQL are those of what is sealed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_files_of_every_length_have_the_length_that_recovery_expects() {
    let fixture = Fixture::with(|settings| settings.inline_bytes = 1 << 20);
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let lengths = [1, 2, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073, 700_000];
    for length in lengths {
        put(&session, &format!("f{length}"), &pattern(length, 1)).await;
    }
    assert_eq!(small_and_objects(&app).await.0, lengths.len());
    all_is_well(&app).await;
    for length in lengths.map(|length| length as u64) {
        assert_eq!(sealed_length(length), length + 170 + 32 * (length / 65_536));
    }
}

/// A data directory as it was when there came to be small files (`tests/data/golden-house-v2`) opens
/// for ever, and everything can be done to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r08_a_data_directory_with_the_first_small_files_opens() {
    const HOUSE: &str = "golden-house-v2";
    let (directory, expected) = (tempfile::tempdir().unwrap(), expected(HOUSE));
    let app = house_of_before(HOUSE, &directory.path().join("data")).await;
    is_as_expected(&app, &expected).await;
    assert_eq!(receipt(&app).await, expected.receipt, "the same bytes as before");
    assert_eq!(small_and_objects(&app).await, (9, 5));
    assert_eq!(app.integrity().to_reseal().await.unwrap(), 0);
    super::compare::rows_are_as_told(&app).await;
    assert_eq!(app.audit().verify(None).await.unwrap().fault, None);
    all_is_well(&app).await;

    app.rotation().rotate_share(&word("XT-1"), |_, _| ()).await.unwrap();
    is_as_expected(&app, &expected).await;
    let login = app.logins().by_token("XT-1", &expected.tokens["XT-1"], FROM).await.unwrap().unwrap();
    let session = app.session(&login);
    append(&session, "small", b"more").await;
    assert_eq!(get(&session, "small").await.unwrap()[4000..], *b"more");
    app.retention().restore(&word("XT-1"), &path("gone")).await.unwrap();
    assert_eq!(get(&session, "gone").await.unwrap().len(), 3000);
    app.retention().shred(&word("XT-1"), &path("edge"), None).await.unwrap();
    session.rename(&path("one"), &path("name"), true).await.unwrap();
    assert_eq!(get(&session, "name").await.unwrap().len(), 1);
    assert_eq!(small_and_objects(&app).await, (7, 5 + 1 + 4), "one is shredded, one taken apart");
    all_is_well(&app).await;
    app.close().await;
}

/// Beside what a house has of before, new files are small files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r08_small_files_lie_beside_those_of_an_older_house() {
    let (directory, expected) = (tempfile::tempdir().unwrap(), expected("golden-house-v1"));
    let app = older(&directory.path().join("data")).await;
    let login = app.logins().by_token("XT-1", &expected.tokens["XT-1"], FROM).await.unwrap().unwrap();
    let session = app.session(&login);
    put(&session, "new", &pattern(5000, 1)).await;
    assert_eq!(small_and_objects(&app).await.0, 1);
    append(&session, "small", b"more").await;
    assert_eq!(small_and_objects(&app).await.0, 1);
    assert_eq!(reseal(&app).await.left, 0);
    assert_eq!(get(&session, "new").await.unwrap(), pattern(5000, 1));
    put(&session, "small", b"anew").await;
    assert_eq!(small_and_objects(&app).await.0, 2);
    all_is_well(&app).await;
    app.close().await;
}
