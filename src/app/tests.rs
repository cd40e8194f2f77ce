//! The heart without a door: uploads in every order against a plain vector of bytes, resumes,
//! versions, rules.

mod aliases;
mod arrivals;
mod audit;
mod audit_names;
mod backup;
mod by_hand;
mod checklists;
mod compare;
mod contacts;
mod content_model;
mod crashes;
mod customers_told;
mod damage;
mod desk;
mod devices;
mod digests;
mod downloads;
mod ending;
mod faults;
mod fetch_lines;
mod handover;
mod http;
mod invariants;
mod laundering;
mod lifecycle;
mod lifecycle_model;
mod lists;
mod moving;
mod notices;
mod once;
mod organisations;
mod paths;
mod places;
mod points;
mod power;
mod proofs;
mod quota;
mod reattach;
mod recipients;
mod recovery;
mod references;
mod reseal;
mod resend;
mod retaining;
mod rights;
mod rights_table;
mod rotation;
mod scattered;
mod scp;
mod seeding;
mod small_files;
mod tokens;
mod tree_model;
mod two_ways;
mod upgrades;
mod usage;
mod who;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::*;
use crate::model::{Identifier, Language, Priority, Refusal, SharePath, TicketStatus, VersionState};

/// How often a test of many random runs does its run: what the environment variable `name` says.
/// Without it `full` times where `TACDROP_TEST_FULL` is set, as `.ci/run` sets it, and `usual`
/// times elsewhere: enough to see at each change what is wrong often. CONTRIBUTING.md has the
/// counts.
fn times(name: &str, usual: u64, full: u64) -> u64 {
    let count = if std::env::var_os("TACDROP_TEST_FULL").is_some() { full } else { usual };
    std::env::var(name).map_or(count, |text| text.parse().unwrap())
}

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(super) struct Fixture {
    directory: TempDir,
    settings: Settings,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let settings = Settings { extent_bytes: 1 << 20, ..Settings::default() };
        Self { directory: tempfile::tempdir().unwrap(), settings }
    }

    /// The same with other settings.
    pub(super) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut fixture = Self::new();
        change(&mut fixture.settings);
        fixture
    }

    pub(super) async fn open(&self) -> App {
        let data = DataDirectory::at(self.directory.path().join("data"));
        App::serve(data, self.settings.clone(), Handle::current(), Box::new(|| {})).await.unwrap()
    }
}

pub(super) fn word(text: &str) -> Identifier {
    text.parse().unwrap()
}

pub(super) fn path(text: &str) -> SharePath {
    SharePath::parse(text.as_bytes()).unwrap()
}

/// A ticket of `ACME` for Anna that says nothing else of itself.
pub(super) fn new_ticket(reference: &str) -> NewTicket {
    NewTicket {
        reference: word(reference),
        organisation: word("ACME"),
        engineer: word("anna"),
        title: None,
        priority: Priority::MEDIUM,
        language: None,
        device: false,
    }
}

pub(super) async fn customer(app: &App, reference: &str) -> ShareSession {
    if app.tickets().organisations().await.unwrap().is_empty() {
        app.tickets().add_organisation(word("ACME"), "ACME".to_owned(), None).await.unwrap();
        let key = ("SHA256:test".to_owned(), "ssh-ed25519".to_owned());
        app.tickets().add_engineer(word("anna"), None, "anna@example.net".to_owned(), None, vec![key]).await.unwrap();
    }
    let new = NewTicket { language: Some(Language::De), ..new_ticket(reference) };
    let (_, token) = app.tickets().open_ticket(new).await.unwrap();
    let login = app.logins().by_token(reference, &token, FROM).await.unwrap().unwrap();
    app.session(&login)
}

async fn engineer(app: &App) -> ShareSession {
    let login = app.logins().by_key("anna", "SHA256:test", FROM).await.unwrap().unwrap();
    app.session(&login)
}

async fn write(upload: &mut Upload, offset: u64, bytes: &[u8]) {
    upload.begin_write(offset, bytes.len() as u64).await.unwrap();
    // In pieces, as packets cut a payload.
    for piece in bytes.chunks(30_000) {
        upload.write(piece).await.unwrap();
    }
}

async fn put(session: &ShareSession, name: &str, bytes: &[u8]) {
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path(name), mode).await.unwrap();
    write(&mut upload, 0, bytes).await;
    upload.close().await.unwrap();
}

pub(super) async fn get(session: &ShareSession, name: &str) -> Result<Vec<u8>, Refusal> {
    let download = session.open_read(&path(name)).await?;
    let (mut bytes, mut at) = (Vec::new(), 0);
    loop {
        let read = download.read(at, 200_000, &mut bytes).await?;
        if read == 0 {
            return Ok(bytes);
        }
        at += read as u64;
    }
}

pub(super) fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|i| (i / 7 + i / 4096) as u8 ^ seed).collect()
}

async fn all_intact(app: &App) {
    let verified = app.integrity().verify(None, |_| ()).await.unwrap();
    assert!(verified.iter().all(|line| line.intact), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r16_sizes_around_every_edge_come_back_as_they_were_sent() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let (segment, chunk, extent) = (65_536, 262_144, 1 << 20);
    for size in [
        0,
        1,
        segment - 1,
        segment,
        segment + 1,
        chunk - 1,
        chunk,
        chunk + 1,
        extent - 1,
        extent,
        extent + 1,
        3 * extent + 5,
    ] {
        let bytes = pattern(size, 1);
        put(&session, &format!("f{size}"), &bytes).await;
        assert_eq!(get(&session, &format!("f{size}")).await.unwrap(), bytes, "{size}");
    }
    let lines = app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap();
    assert_eq!(lines.len(), 12);
    assert!(lines.iter().all(|line| line.state == VersionState::Available && line.version == 1));
    all_intact(&app).await;
    let notices = app.notices().list(None).await.unwrap();
    assert_eq!((notices.len(), notices[0].artifacts.len()), (1, 12));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r26_a_cut_upload_goes_on_where_stat_says() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let bytes = pattern(2_500_000, 3);
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path("big"), mode).await.unwrap();
    write(&mut upload, 0, &bytes[..1_700_001]).await;
    drop(upload);
    app.close().await;
    drop((session, app));

    // Another server on the same directory, another session of the same login.
    let app = fixture.open().await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    let login = app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap();
    let session = app.session(&login);
    let size = session.attributes(&path("big")).await.unwrap().size;
    assert_eq!(size, 1_700_001 / 65_536 * 65_536);
    let mut upload = session.open_write(&path("big"), WriteMode::default()).await.unwrap();
    write(&mut upload, size, &bytes[usize::try_from(size).unwrap()..]).await;
    upload.close().await.unwrap();
    assert_eq!(get(&session, "big").await.unwrap(), bytes);
    all_intact(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r27_a_change_in_the_middle_that_was_cut_and_is_done_again_leaves_the_end_as_it_was() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mut bytes = pattern(300_000, 5);
    put(&session, "a", &bytes).await;
    bytes[100_000..100_500].fill(7);
    let mut upload = session.open_write(&path("a"), WriteMode::default()).await.unwrap();
    write(&mut upload, 100_000, &[7; 500]).await;
    drop(upload);
    app.close().await;
    drop((session, app));

    let app = fixture.open().await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    let session = app.session(&app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap());
    let size = session.attributes(&path("a")).await.unwrap().size;
    assert_eq!(size, 300_000, "all of what it began with is there");
    let mut upload = session.open_write(&path("a"), WriteMode::default()).await.unwrap();
    // STAT and FSTAT agree until something is written: psftp asks the one, others the other.
    assert_eq!(upload.attributes().await.unwrap().size, size);
    write(&mut upload, 100_000, &[7; 500]).await;
    assert_eq!(upload.attributes().await.unwrap().size, 300_000);
    upload.close().await.unwrap();
    assert_eq!(get(&session, "a").await.unwrap(), bytes);
    all_intact(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overwriting_makes_a_version_and_open_reads_keep_theirs() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "a", b"first").await;
    let old = session.open_read(&path("a")).await.unwrap();
    put(&session, "a", b"second, longer").await;
    let mut bytes = Vec::new();
    old.read(0, 100, &mut bytes).await.unwrap();
    assert_eq!((bytes, get(&session, "a").await.unwrap()), (b"first".to_vec(), b"second, longer".to_vec()));

    // Appending begins with what is there and shares its extents.
    let mut upload = session.open_write(&path("a"), WriteMode { append: true, ..WriteMode::default() }).await.unwrap();
    write(&mut upload, 0, b" and more").await;
    upload.close().await.unwrap();
    assert_eq!(get(&session, "a").await.unwrap(), b"second, longer and more");

    // Renamed over: the history goes on under the new name.
    put(&session, "b.part", b"new").await;
    session.rename(&path("b.part"), &path("a"), true).await.unwrap();
    assert_eq!(get(&session, "a").await.unwrap(), b"new");
    let line = &app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap()[0];
    assert_eq!((line.path.as_str(), line.version), ("a", 4));

    // Deleted and sent again: nothing was lost, the numbers go on.
    session.remove_file(&path("a")).await.unwrap();
    assert_eq!(get(&session, "a").await, Err(Refusal::NoSuchFile));
    put(&session, "a", b"once more").await;
    let line = &app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap()[0];
    assert_eq!(line.version, 5);
    all_intact(&app).await;
    assert_eq!(app.integrity().verify(None, |_| ()).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_is_never_sealed_and_space_made_by_truncating_reads_as_zeros() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path("holey"), mode).await.unwrap();
    write(&mut upload, 9_000_000, b"end").await;
    write(&mut upload, 0, b"begin").await;
    assert_eq!(upload.close().await, Err(Refusal::Incomplete));
    assert_eq!(get(&session, "holey").await, Err(Refusal::StillReceiving));
    let line = &app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap()[0];
    assert_eq!(line.state, VersionState::Incomplete);

    let mut upload = session.open_write(&path("sized"), mode).await.unwrap();
    upload.change(Changes { size: Some(3_000_000), ..Changes::default() }).await.unwrap();
    write(&mut upload, 1_000_000, b"middle").await;
    upload.close().await.unwrap();
    let mut expected = vec![0; 3_000_000];
    expected[1_000_000..1_000_006].copy_from_slice(b"middle");
    assert!(get(&session, "sized").await.unwrap() == expected);
    all_intact(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_session_takes_an_upload_over_and_the_older_one_is_fenced() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let one = customer(&app, "XT-1").await;
    let bytes = pattern(1_000_000, 9);
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut stale = one.open_write(&path("f"), mode).await.unwrap();
    write(&mut stale, 0, &bytes[..500_000]).await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    let two = app.session(&app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap());
    let size = two.attributes(&path("f")).await.unwrap().size;
    // Not more than what has surely arrived: the rest is sent again.
    assert!(size <= 499_999 && size % 65_536 == 0, "{size}");
    let mut upload = two.open_write(&path("f"), WriteMode::default()).await.unwrap();
    assert_eq!(stale.begin_write(500_000, 1).await, Err(Refusal::Fenced));
    write(&mut upload, size, &bytes[usize::try_from(size).unwrap()..]).await;
    upload.close().await.unwrap();
    assert_eq!(stale.close().await, Err(Refusal::Fenced));
    assert_eq!(get(&two, "f").await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r56_each_login_sees_its_own_and_may_what_it_may() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (one, two) = (customer(&app, "XT-1").await, customer(&app, "XT-2").await);
    put(&one, "/XT-1/dir-less", b"mine").await;
    assert_eq!(get(&one, "/dir-less").await.unwrap(), b"mine");
    for place in ["/XT-1/dir-less", "/XT-1", "/dir-less", "/../XT-1/dir-less"] {
        assert_eq!(two.attributes(&path(place)).await, Err(Refusal::NoSuchFile), "{place}");
    }
    let create = WriteMode { create: true, ..WriteMode::default() };
    let support = engineer(&app).await;
    assert_eq!(get(&support, "/XT-1/dir-less").await.unwrap(), b"mine");
    assert_eq!(support.open_write(&path("/XT-1/x"), create).await.err(), Some(Refusal::CustomerOnly));
    assert_eq!(one.open_write(&path("/from-support/x"), create).await.err(), Some(Refusal::FromSupportOnly));
    assert_eq!(one.remove_directory(&path("/from-support")).await, Err(Refusal::FixedPlace));
    assert_eq!(one.open_write(&path("/.receipts"), create).await.err(), Some(Refusal::FixedPlace));
    put(&support, "/XT-1/from-support/fix.bin", b"fix").await;
    assert_eq!(get(&one, "/from-support/fix.bin").await.unwrap(), b"fix");
    let mut names = one.list(&path("/")).await.unwrap().next(100).await.unwrap();
    names.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(names.iter().map(|line| line.name.to_string()).collect::<Vec<_>>(), ["dir-less", "from-support"]);
    assert!(two.list(&path("/")).await.unwrap().next(100).await.unwrap().is_empty());

    app.tickets().set_status(&word("XT-1"), TicketStatus::Closed).await.unwrap();
    assert_eq!(one.open_write(&path("/late"), create).await.err(), Some(Refusal::TicketClosed));
    assert_eq!(one.remove_file(&path("/dir-less")).await, Err(Refusal::TicketClosed));
    assert_eq!(get(&one, "/dir-less").await.unwrap(), b"mine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_token_ends_the_sessions_of_the_old_one() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    let login = app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let (watcher, stopped) = (app.clone(), stop.clone());
    let watch = tokio::spawn(async move { watcher.logins().watch(stopped).await });
    app.tickets().new_token(&word("XT-1")).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), login.ended().cancelled()).await.unwrap();
    assert!(app.logins().by_token("XT-1", &token, FROM).await.unwrap().is_none());
    stop.cancel();
    watch.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_that_was_cut_off_stays_one_when_the_file_grows_again() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path("f"), mode).await.unwrap();
    for offset in [1_455_802, 1_000_000] {
        write(&mut upload, offset, b"x").await;
    }
    for size in [1, 2] {
        upload.change(Changes { size: Some(size), ..Changes::default() }).await.unwrap();
    }
    assert_eq!(upload.close().await, Err(Refusal::Incomplete), "byte 0 was never sent");
}

#[derive(Debug, Clone)]
enum Step {
    Write { offset: usize, length: usize, seed: u8 },
    Truncate { size: usize },
    Sync,
    Read,
    Reconnect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0usize..2_000_000, 1usize..400_000, any::<u8>())
            .prop_map(|(offset, length, seed)| Step::Write { offset, length, seed }),
        1 => (0usize..2_500_000).prop_map(|size| Step::Truncate { size }),
        1 => Just(Step::Sync),
        1 => Just(Step::Read),
        1 => Just(Step::Reconnect),
    ];
    prop::collection::vec(step, 1..14)
}

/// Carries the steps out on a share and on a vector. A byte that the vector never got is `None`.
async fn agree(
    app: &App,
    session: &ShareSession,
    login: &Login,
    name: &str,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let mode = WriteMode { create: true, truncate: true, read: true, ..WriteMode::default() };
    let mut session = session.clone();
    let mut upload = session.open_write(&path(name), mode).await.unwrap();
    let mut model: Vec<Option<u8>> = Vec::new();
    // Whether something was left out, and whether what was left out cannot be zeros.
    let (mut left_out, mut missing) = (false, false);
    let mut sent = true;
    for step in steps {
        match step {
            Step::Write { offset, length, seed } => {
                sent = true;
                let bytes = pattern(*length, *seed);
                missing |= left_out && *offset < model.len();
                left_out |= *offset > model.len();
                write(&mut upload, *offset as u64, &bytes).await;
                if model.len() < offset + length {
                    model.resize(offset + length, None);
                }
                for (i, byte) in bytes.into_iter().enumerate() {
                    model[offset + i] = Some(byte);
                }
            }
            Step::Truncate { size } => {
                upload.change(Changes { size: Some(*size as u64), ..Changes::default() }).await.unwrap();
                sent |= model.len() != *size;
                model.resize(*size, Some(0));
            }
            Step::Sync => upload.sync().await.unwrap(),
            Step::Read => {
                let mut bytes = Vec::new();
                upload.read(0, model.len(), &mut bytes).await.unwrap();
                let expected: Vec<u8> = model.iter().map(|byte| byte.unwrap_or(0)).collect();
                prop_assert!(bytes == expected, "read back differs");
            }
            Step::Reconnect => {
                // The line is cut; another session continues. Zeros made by truncating are missing
                // then.
                drop(upload);
                session = app.session(login);
                upload = loop {
                    match session.open_write(&path(name), WriteMode { truncate: false, ..mode }).await {
                        Ok(upload) => break upload,
                        Err(refusal) => prop_assert_eq!(refusal, Refusal::Fenced),
                    }
                };
                let size = usize::try_from(upload.attributes().await.unwrap().size).unwrap();
                prop_assert!(size <= model.len());
                missing = true;
                // What is missing is not known from outside: write all of it again.
                let again: Vec<u8> = model.iter().map(|byte| byte.unwrap_or(7)).collect();
                model = again.iter().copied().map(Some).collect();
                sent = !again.is_empty();
                if sent {
                    write(&mut upload, 0, &again).await;
                }
            }
        }
    }
    let whole: Option<Vec<u8>> = model.iter().map(|byte| byte.or((!missing).then_some(0))).collect();
    match (upload.close().await, whole) {
        (Ok(()), Some(bytes)) => prop_assert!(get(&session, name).await.unwrap() == bytes, "content differs"),
        (Err(Refusal::Incomplete), None) => {}
        // Continued, and nothing sent: a CLOSE cannot know that there was nothing to send.
        (Err(Refusal::Incomplete), Some(_)) if !sent => {}
        (outcome, whole) => prop_assert!(false, "{outcome:?}, whole: {}", whole.is_some()),
    }
    Ok(())
}

#[test]
fn r27_any_order_of_writes_agrees_with_a_vector_of_bytes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fixture = Fixture::new();
    let (app, session, login) = runtime.block_on(async {
        let app = fixture.open().await;
        customer(&app, "XT-1").await;
        let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
        let login = app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap();
        (app.clone(), app.session(&login), login)
    });
    let count = std::cell::Cell::new(0);
    proptest!(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() }, |(steps in steps())| {
        count.set(count.get() + 1);
        runtime.block_on(agree(&app, &session, &login, &format!("f{}", count.get()), &steps))?;
    });
    runtime.block_on(all_intact(&app));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r57_a_share_holds_no_more_than_it_may() {
    let mut fixture = Fixture::new();
    (fixture.settings.share_bytes, fixture.settings.names_per_share) = (100_000, 4);
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "a", &pattern(60_000, 1)).await;
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path("b"), mode).await.unwrap();
    write(&mut upload, 0, &pattern(60_000, 1)).await;
    assert_eq!(upload.close().await, Err(Refusal::QuotaExceeded));
    assert_eq!(session.space(&path("/")).await.unwrap().free, 40_000);
    put(&session, "c", &pattern(40_000, 1)).await;
    session.make_directory(&path("d")).await.unwrap();
    assert_eq!(session.make_directory(&path("e")).await, Err(Refusal::TooManyNames));
    assert_eq!(session.open_write(&path("e"), mode).await.err(), Some(Refusal::TooManyNames));
    session.remove_directory(&path("d")).await.unwrap();
    assert_eq!(
        session.open_write(&path("e"), mode).await.err(),
        Some(Refusal::QuotaExceeded),
        "nothing is left for it"
    );
    session.make_directory(&path("d")).await.unwrap();
    session.remove_directory(&path("d")).await.unwrap();
    session.make_directory(&path("e")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_with_truncate_and_closing_makes_an_empty_version_and_opening_as_it_is_makes_none() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "a", b"something").await;
    session.open_write(&path("a"), WriteMode::default()).await.unwrap().close().await.unwrap();
    assert_eq!(get(&session, "a").await.unwrap(), b"something");
    let mode = WriteMode { truncate: true, ..WriteMode::default() };
    session.open_write(&path("a"), mode).await.unwrap().close().await.unwrap();
    assert_eq!(get(&session, "a").await.unwrap(), b"");
    assert_eq!(app.integrity().verify(None, |_| ()).await.unwrap().len(), 2);
}
