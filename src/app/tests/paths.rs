//! What a path means by the way it is written: slashes and dots at its end, names it leaves again,
//! the ticket's own name.

use super::*;
use crate::model::path::MAX_TURNS;

const CREATE: WriteMode = WriteMode { create: true, truncate: true, append: false, exclusive: false, read: false };

fn kind<E>(outcome: Result<Attributes, E>) -> Result<PlaceKind, E> {
    outcome.map(|attributes| attributes.kind)
}

/// Every verb that ends in a name, with what is there, what is not, and a directory, written as a
/// directory's path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r76_what_is_written_as_a_directory_is_never_a_file() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "file", b"1").await;
    session.make_directory(&path("d")).await.unwrap();
    let open = session.open_write(&path("arriving"), CREATE).await.unwrap();
    let changes = Changes { mode: Some(0o600), ..Changes::default() };
    let size = Changes { size: Some(0), ..Changes::default() };
    for end in ["/", "/.", "//", "/./", "/x/.."] {
        for name in ["file", "arriving", ".receipts/file.receipt"] {
            let there = path(&format!("{name}{end}"));
            let is_a_row = name == "file" || end != "/x/..";
            let not_one = if is_a_row { Refusal::NotDirectory } else { Refusal::NoSuchFile };
            assert_eq!(session.attributes(&there).await.err(), Some(not_one), "{there:?}{end}");
            assert_eq!(session.open_read(&there).await.err(), Some(not_one));
            if name != "arriving" {
                assert_eq!(session.list(&there).await.err(), Some(not_one));
            }
            assert_eq!(session.digest(&there, crate::model::Algorithm::Sha256).await.err(), Some(not_one));
            if name.starts_with('.') {
                continue;
            }
            for mode in [CREATE, WriteMode::default(), WriteMode { append: true, ..WriteMode::default() }] {
                assert_eq!(session.open_write(&there, mode).await.err(), Some(not_one));
            }
            assert_eq!(session.change(&there, changes).await.err(), Some(not_one));
            assert_eq!(session.change(&there, size).await.err(), Some(not_one));
            assert_eq!(session.remove_file(&there).await.err(), Some(not_one));
            assert_eq!(session.rename(&there, &path("other"), true).await.err(), Some(not_one));
            assert_eq!(session.rename(&path("d"), &there, true).await.err(), Some(not_one));
        }
        // Nothing is there, and no file can be made.
        let nothing = path(&format!("incoming{end}"));
        let missing = if end == "/x/.." { Refusal::NoSuchFile } else { Refusal::NoSuchDirectory };
        assert_eq!(session.open_write(&nothing, CREATE).await.err(), Some(missing), "{end}");
        assert_eq!(session.rename(&path("file"), &nothing, false).await.err(), Some(missing), "{end}");
        assert_eq!(session.attributes(&nothing).await.err(), Some(Refusal::NoSuchFile));
        // A directory is one however it is written.
        if end != "/x/.." {
            assert_eq!(kind(session.attributes(&path(&format!("d{end}"))).await), Ok(PlaceKind::Directory));
            session.make_directory(&path(&format!("new{end}"))).await.unwrap();
            session.rename(&path(&format!("new{end}")), &path(&format!("moved{end}")), false).await.unwrap();
            session.remove_directory(&path(&format!("moved{end}"))).await.unwrap();
        }
    }
    open.close().await.unwrap();
    let listed = names(&session, "/").await;
    assert_eq!(listed, ["arriving", "d", "file"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r76_what_a_path_leaves_again_must_be_directories() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "file", b"1").await;
    session.make_directory(&path("d")).await.unwrap();
    session.make_directory(&path("d/e")).await.unwrap();
    assert_eq!(get(&session, "d/../file").await.unwrap(), b"1");
    assert_eq!(get(&session, "d/e/../../file").await.unwrap(), b"1");
    assert_eq!(get(&session, &("d/../".repeat(MAX_TURNS) + "file")).await.unwrap(), b"1");
    assert_eq!(get(&session, "../../file").await.unwrap(), b"1");
    assert_eq!(get(&session, "from-support/../file").await.unwrap(), b"1");
    assert_eq!(get(&session, ".receipts/../file").await.unwrap(), b"1");
    assert_eq!(get(&session, "/XT-1/../file").await.unwrap(), b"1");
    for (written, refusal) in [
        ("file/../file", Refusal::NotDirectory),
        ("nothing/../file", Refusal::NoSuchFile),
        ("d/file/../../file", Refusal::NoSuchFile),
        ("d/../file/../file", Refusal::NotDirectory),
    ] {
        assert_eq!(session.open_read(&path(written)).await.err(), Some(refusal), "{written}");
        assert_eq!(session.open_write(&path(written), CREATE).await.err(), Some(refusal), "{written}");
        assert_eq!(session.make_directory(&path(&format!("{written}2"))).await.err(), Some(refusal), "{written}");
    }
}

/// The ticket's own name leads to the share, until a customer makes a directory of that name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tickets_own_name_means_one_thing() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let support = engineer(&app).await;
    put(&session, "/XT-1/one", b"1").await;
    assert_eq!(get(&session, "one").await.unwrap(), b"1");
    assert_eq!(get(&session, "XT-1/one").await.unwrap(), b"1");
    for root in ["/XT-1/", "/XT-1/.", "/XT-1/../XT-1/", "/XT-1/XT-1/.."] {
        let outcome = kind(session.attributes(&path(root)).await);
        let expected = if root.ends_with("..") { Err(Refusal::NoSuchFile) } else { Ok(PlaceKind::Directory) };
        assert_eq!(outcome, expected, "{root}");
    }
    assert_eq!(session.real_path(&path("/XT-1")).await.unwrap(), b"/");
    assert_eq!(session.real_path(&path("/XT-1/one")).await.unwrap(), b"/one");
    assert_eq!(session.real_path(&path("/XT-1/nothing/")).await.unwrap(), b"/nothing/");
    // As a name it is not there: a mirror makes the directory that it needs. No file can have the
    // name.
    assert_eq!(session.attributes(&path("/XT-1")).await.err(), Some(Refusal::NoSuchFile));
    assert_eq!(session.open_write(&path("XT-1"), CREATE).await.err(), Some(Refusal::OwnReference));
    assert_eq!(session.rename(&path("one"), &path("XT-1"), true).await.err(), Some(Refusal::OwnReference));
    session.make_directory(&path("/XT-1")).await.unwrap();
    assert_eq!(names(&session, "/").await, ["XT-1", "one"]);
    assert_eq!(session.open_read(&path("XT-1/one")).await.err(), Some(Refusal::NoSuchFile));
    assert_eq!(names(&session, "/XT-1").await, [""; 0]);
    put(&session, "/XT-1/one", b"2").await;
    assert_eq!(
        (get(&session, "one").await.unwrap(), get(&session, "XT-1/one").await.unwrap()),
        (b"1".to_vec(), b"2".to_vec())
    );
    assert_eq!(session.real_path(&path("/XT-1/one")).await.unwrap(), b"/XT-1/one");
    assert_eq!(get(&support, "/XT-1/XT-1/one").await.unwrap(), b"2");
    assert_eq!(get(&support, "/XT-1/one").await.unwrap(), b"1");
    // Gone again, it leads to the share again.
    session.remove_file(&path("/XT-1/one")).await.unwrap();
    session.remove_directory(&path("/XT-1")).await.unwrap();
    assert_eq!(get(&session, "/XT-1/one").await.unwrap(), b"1");
    // To others it is a name.
    assert_eq!(session.real_path(&path("/XT-2/one")).await.unwrap(), b"/XT-2/one");
    assert_eq!(support.real_path(&path("/XT-1/one")).await.unwrap(), b"/XT-1/one");
}

/// What tacdrop says about a file whose name has the full length.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_every_length_have_receipts_and_no_longer_ones_are_made() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let support = engineer(&app).await;
    for length in [240, 247, 248, 254, 255] {
        let name = "n".repeat(length);
        put(&session, &name, b"x").await;
        for text in ["receipt", "sha256"] {
            assert!(!get(&session, &format!(".receipts/{name}.{text}")).await.unwrap().is_empty());
            assert!(!get(&support, &format!("/XT-1/.receipts/{name}.{text}")).await.unwrap().is_empty());
        }
        assert_eq!(get(&support, &format!("/XT-1/.versions/{name}/1")).await.unwrap(), b"x");
    }
    let listed = names(&session, ".receipts").await;
    assert_eq!(listed.len(), 6, "what fits into 255 bytes, and who signs: {listed:?}");
    for length in [256, 263, 271, 272] {
        // Beyond what is looked up it is no path at all.
        let Ok(long) = SharePath::parse("n".repeat(length).as_bytes()) else { continue };
        assert_eq!(session.open_write(&long, CREATE).await.err(), Some(Refusal::PathTooLong));
        assert_eq!(session.make_directory(&long).await.err(), Some(Refusal::PathTooLong));
        assert_eq!(session.rename(&path(&"n".repeat(255)), &long, true).await.err(), Some(Refusal::PathTooLong));
        assert_eq!(session.attributes(&long).await.err(), Some(Refusal::PathTooLong));
    }
}

async fn names(session: &ShareSession, directory: &str) -> Vec<String> {
    let mut listing = session.list(&path(directory)).await.unwrap();
    let mut names: Vec<String> = Vec::new();
    loop {
        let page = listing.next(100).await.unwrap();
        if page.is_empty() {
            names.sort();
            return names;
        }
        names.extend(page.into_iter().map(|entry| entry.name.to_string()));
    }
}
