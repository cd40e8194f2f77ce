//! Digests as doors ask for them: from the records, of what may be read and of nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::digests::Patience;
use crate::digests::{MOST, MOST_OF_SHARE};
use crate::model::Algorithm::{self, Md5, Sha1, Sha256};
use crate::model::ArtifactId;
use crate::records::digests as rows;
use crate::records::{checks, entries};

const CREATE: WriteMode = WriteMode { create: true, exclusive: false, truncate: true, append: false, read: false };

async fn digest(session: &ShareSession, name: &str, algorithm: Algorithm) -> Result<String, Refusal> {
    session.digest(&path(name), algorithm).await.map(|digest| hex::encode(digest.bytes))
}

fn of(algorithm: Algorithm, bytes: &[u8]) -> String {
    hex::encode(digest_of_bytes(algorithm, bytes))
}

/// Counts how often a version was read for its digests.
fn readings(app: &App) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    app.0.access.repo.failpoints.watch(move |name| {
        counter.fetch_add(usize::from(name == "digest.after-commit"), Ordering::Relaxed);
    });
    count
}

#[test]
fn digests_are_those_of_their_standards() {
    // RFC 1321, section A.5; FIPS 180-4's examples.
    assert_eq!(of(Md5, b"abc"), "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(of(Sha1, b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(of(Sha256, b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(of(Md5, b""), "d41d8cd98f00b204e9800998ecf8427e");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_a_digest_is_told_of_whatever_can_be_read_and_of_nothing_else() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let other = customer(&app, "XT-2").await;
    let support = engineer(&app).await;
    session.make_directory(&path("d")).await.unwrap();
    let (one, two) = (pattern(3_000_000, 1), pattern(100, 2));
    put(&session, "d/f", &one).await;
    let opened = session.open_read(&path("d/f")).await.unwrap();
    put(&session, "d/f", &two).await;
    let (old, new) = (of(Sha256, &one), of(Sha256, &two));
    assert_eq!(digest(&session, "d/f", Sha256).await, Ok(new.clone()));
    assert_eq!(digest(&session, "/XT-1/d/f", Sha256).await, Ok(new.clone()));
    assert_eq!(digest(&support, "/XT-1/.versions/d/f/1", Sha256).await, Ok(old.clone()));
    assert_eq!(digest(&support, "/XT-1/.versions/d/f/2", Sha256).await, Ok(new.clone()));
    let by_handle = opened.digest(Sha256).await.unwrap();
    assert_eq!((hex::encode(by_handle.bytes), by_handle.size), (old, one.len() as u64), "a handle stays what it is");
    for text in [".receipts/d/f.receipt", ".receipts/d/f.sha256", ".receipts/allowed_signers"] {
        let bytes = get(&session, text).await.unwrap();
        assert_eq!(digest(&session, text, Sha256).await, Ok(of(Sha256, &bytes)), "{text}");
        let opened = session.open_read(&path(text)).await.unwrap();
        assert_eq!(
            opened.digest(Sha256).await.unwrap(),
            Digest { bytes: digest_of_bytes(Sha256, &bytes), size: bytes.len() as u64 }
        );
    }
    let line = get(&session, ".receipts/d/f.sha256").await.unwrap();
    assert_eq!(line, format!("{new}  f\n").into_bytes());
    session.rename(&path("d/f"), &path("g"), false).await.unwrap();
    assert_eq!(digest(&session, "g", Sha256).await, Ok(new));

    let mut upload = session.open_write(&path("arriving"), CREATE).await.unwrap();
    write(&mut upload, 0, b"half").await;
    put(&session, "gone", b"gone").await;
    session.remove_file(&path("gone")).await.unwrap();
    for (session, name, refusal) in [
        (&session, "d", Refusal::IsDirectory),
        (&session, "/", Refusal::IsDirectory),
        (&session, ".receipts", Refusal::IsDirectory),
        (&support, "/XT-1/.versions/g", Refusal::IsDirectory),
        (&session, "none", Refusal::NoSuchFile),
        (&session, "d/f", Refusal::NoSuchFile),
        (&session, "gone", Refusal::NoSuchFile),
        (&session, ".versions/g/1", Refusal::NoSuchFile),
        (&session, ".receipts/none.sha256", Refusal::NoSuchFile),
        (&session, "/XT-2/g", Refusal::NoSuchFile),
        (&other, "g", Refusal::NoSuchFile),
        (&other, "/XT-1/g", Refusal::NoSuchFile),
        (&support, "/XT-3/g", Refusal::NoSuchFile),
        (&session, "arriving", Refusal::StillReceiving),
    ] {
        assert_eq!(digest(session, name, Sha256).await, Err(refusal), "{name}");
    }
    for weak in [Md5, Sha1] {
        assert_eq!(
            digest(&session, "g", weak).await,
            Err(Refusal::UnknownDigest),
            "it is off unless the settings name it"
        );
    }
    assert_eq!(session.algorithms(), [Sha256]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_read_once_for_all_weak_digests_however_many_ask() {
    let mut fixture = Fixture::new();
    fixture.settings.also_digests = vec![Md5, Sha1];
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    assert_eq!(session.algorithms(), [Sha256, Sha1, Md5]);
    let bytes = pattern(3_000_001, 1);
    put(&session, "f", &bytes).await;
    let read = readings(&app);
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..40 {
        let session = session.clone();
        asking.spawn(async move {
            let algorithm = [Md5, Sha1, Sha256][n % 3];
            (algorithm, digest(&session, "f", algorithm).await)
        });
    }
    while let Some(answer) = asking.join_next().await {
        let (algorithm, answer) = answer.unwrap();
        assert_eq!(answer, Ok(of(algorithm, &bytes)));
    }
    assert_eq!(read.load(Ordering::Relaxed), 1);
    assert!(app.0.access.digests.is_idle());
    // Known from now on; a new version has its own.
    assert_eq!(digest(&session, "f", Md5).await, Ok(of(Md5, &bytes)));
    assert_eq!(read.load(Ordering::Relaxed), 1);
    put(&session, "f", b"").await;
    assert_eq!(digest(&session, "f", Md5).await, Ok(of(Md5, b"")));
    assert_eq!(
        session.open_read(&path("f")).await.unwrap().digest(Sha1).await.unwrap().bytes,
        digest_of_bytes(Sha1, b"")
    );
    assert_eq!(read.load(Ordering::Relaxed), 2);
    app.close().await;
    drop((session, app));
    let app = fixture.open().await;
    let (support, read) = (engineer(&app).await, readings(&app));
    assert_eq!(digest(&support, "/XT-1/.versions/f/1", Sha1).await, Ok(of(Sha1, &bytes)));
    assert_eq!(read.load(Ordering::Relaxed), 0, "the records keep it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_came_together_are_compared_together_and_one_that_cannot_be_read_hinders_no_other() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    session.make_directory(&path("d")).await.unwrap();
    let mut names = Vec::new();
    for number in 0..70u8 {
        names.push(if number % 2 == 0 { format!("{number}") } else { format!("d/{number}") });
    }
    for name in &names {
        put(&session, &format!("{name}.sha256"), of(Sha256, name.as_bytes()).as_bytes()).await;
        put(&session, name, name.as_bytes()).await;
    }
    let lines = app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap();
    let id = |name: &str| {
        let line = lines.iter().find(|line| line.path == name).unwrap();
        ArtifactId::from_bytes(hex::decode(line.id.replace('-', "")).unwrap().try_into().unwrap())
    };
    let broken = id("2");
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    assert!(tacdrop_probe::set_name(tx.conn(), broken.as_bytes(), b"not sealed").await.unwrap());
    tx.commit().await.unwrap();
    let together: Vec<_> = names.iter().map(|name| id(name)).collect();
    app.0.access.sidecars.check_around_each(&together).await;
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    for (name, artifact) in names.iter().zip(together) {
        let row = entries::by_id(&mut conn, artifact.as_bytes()).await.unwrap().unwrap();
        let compared = checks::of_version(&mut conn, row.current.unwrap().id).await.unwrap();
        assert_eq!(compared.len(), usize::from(artifact != broken), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_s_comparison_and_a_client_share_what_was_computed() {
    let mut fixture = Fixture::new();
    fixture.settings.also_digests = vec![Sha1];
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let read = readings(&app);
    put(&session, "f", b"abc").await;
    put(&session, "f.md5", of(Md5, b"abc").as_bytes()).await;
    app.0.access.sidecars.check_all().await.unwrap();
    assert_eq!(read.load(Ordering::Relaxed), 1);
    assert_eq!(digest(&session, "f", Sha1).await, Ok(of(Sha1, b"abc")));
    put(&session, "f.sha1", of(Sha1, b"abc").as_bytes()).await;
    app.0.access.sidecars.check_all().await.unwrap();
    assert_eq!(read.load(Ordering::Relaxed), 1);
    let lines = app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap();
    let checks = &lines.iter().find(|line| line.path == "f").unwrap().sender_checks;
    assert_eq!(checks.len(), 2);
    assert!(checks.iter().all(|check| check.result == crate::model::Verdict::Matches));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shredding_takes_the_digests_along_and_none_comes_after_it() {
    let mut fixture = Fixture::new();
    fixture.settings.also_digests = vec![Md5];
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "f", b"abc").await;
    digest(&session, "f", Md5).await.unwrap();
    let opened = session.open_read(&path("f")).await.unwrap();
    let version = {
        let mut conn = app.0.access.repo.records.read().await.unwrap();
        let ticket = crate::records::tickets::by_reference(&mut conn, "XT-1").await.unwrap().unwrap();
        crate::records::versions::of_share(&mut conn, ticket.share).await.unwrap().remove(0).id
    };
    let row = async || {
        let row = rows::of_version(&mut app.0.access.repo.records.read().await.unwrap(), version, Md5).await;
        row.unwrap().map(|row| row.digest)
    };
    assert_eq!(row().await, Some(digest_of_bytes(Md5, b"abc")));
    session.remove_file(&path("f")).await.unwrap();
    assert_eq!(digest(&session, "f", Md5).await, Err(Refusal::NoSuchFile));
    assert!(opened.digest(Md5).await.is_ok(), "who had it open when it was withdrawn reads it to its end");
    app.retention().shred(&word("XT-1"), &path("f"), None).await.unwrap();
    assert_eq!(row().await, None);
    assert_eq!(opened.digest(Md5).await, Err(Refusal::NoSuchFile));
    // One that was being computed when the version was shredded.
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    let late = rows::DigestRow { digest: b"late".to_vec(), proof: Vec::new() };
    rows::add(tx.conn(), version, Md5, &late).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(row().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r58_what_waits_to_be_computed_is_bounded_and_ends_with_the_server() {
    let mut fixture = Fixture::new();
    fixture.settings.also_digests = vec![Md5];
    let app = fixture.open().await;
    let mut sessions = Vec::new();
    for share in 0..=MOST / MOST_OF_SHARE {
        let session = customer(&app, &format!("XT-{share}")).await;
        for n in 0..=MOST_OF_SHARE {
            put(&session, &format!("f{n}"), b"abc").await;
        }
        sessions.push(session);
    }
    let session = sessions.pop().unwrap();
    let busy = app.0.access.digests.occupy().await;
    let mut asking = tokio::task::JoinSet::new();
    for (share, theirs) in sessions.iter().enumerate() {
        for n in 1..=MOST_OF_SHARE {
            let theirs = theirs.clone();
            asking.spawn(async move { digest(&theirs, &format!("f{n}"), Md5).await });
        }
        while app.0.access.digests.waiting() < (share + 1) * MOST_OF_SHARE {
            tokio::task::yield_now().await;
        }
        // One share has what it may have; whoever asks for one of these again waits along.
        let one_more = async {
            while app.0.access.digests.waiting() <= (share + 1) * MOST_OF_SHARE {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answer = digest(theirs, "f0", Md5) => assert_eq!(answer, Err(Refusal::DigestPending)),
            () = one_more => panic!("a share has more than it may have"),
        }
        let theirs = theirs.clone();
        asking.spawn(async move { digest(&theirs, "f1", Md5).await });
    }
    assert_eq!(app.0.access.digests.waiting(), MOST);
    assert_eq!(digest(&session, "f0", Md5).await, Err(Refusal::DigestPending), "all places are taken");
    assert_eq!(digest(&session, "f0", Sha256).await, Ok(of(Sha256, b"abc")), "that one is never computed");
    drop(busy);
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap(), Ok(of(Md5, b"abc")));
    }

    let busy = app.0.access.digests.occupy().await;
    let asker = session.clone();
    let asked = tokio::spawn(async move { digest(&asker, "f0", Md5).await });
    while app.0.access.digests.is_idle() {
        tokio::task::yield_now().await;
    }
    app.0.access.digests.stop().await;
    assert_eq!(asked.await.unwrap(), Err(Refusal::ShuttingDown));
    drop(busy);
    assert_eq!(digest(&session, "f0", Md5).await, Err(Refusal::ShuttingDown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_version_has_no_weak_digest() {
    let mut fixture = Fixture::new();
    fixture.settings.also_digests = vec![Md5];
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "f", &pattern(300_000, 1)).await;
    let mut objects = Vec::new();
    let mut directories = vec![fixture.directory.path().join("data/objects")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() { directories.push(entry.path()) } else { objects.push(entry.path()) }
        }
    }
    let opened = session.open_read(&path("f")).await.unwrap();
    assert!(opened.digest(Sha256).await.is_ok());
    let largest = objects.iter().max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = std::fs::read(largest).unwrap();
    bytes[200_000] ^= 1;
    std::fs::remove_file(largest).unwrap();
    std::fs::write(largest, bytes).unwrap();
    assert_eq!(digest(&session, "f", Md5).await, Err(Refusal::Damaged));
    assert_eq!(digest(&session, "f", Sha256).await, Err(Refusal::Damaged), "and from then on it has none at all");
    for algorithm in [Md5, Sha256] {
        assert_eq!(opened.digest(algorithm).await, Err(Refusal::Damaged), "also for who has it open");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_waited_long_enough_hears_what_is_known_and_starts_nothing() {
    let mut fixture = Fixture::new();
    fixture.settings.also_digests = vec![Md5];
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "known", b"abc").await;
    put(&session, "unknown", b"abc").await;
    digest(&session, "known", Md5).await.unwrap();
    let read = readings(&app);
    let within = async |name: &str, algorithm| {
        let digest = session.digest_within(&path(name), algorithm, Patience::used_up()).await;
        digest.map(|digest| hex::encode(digest.bytes))
    };
    assert_eq!(within("known", Md5).await, Ok(of(Md5, b"abc")));
    assert_eq!(within("unknown", Md5).await, Err(Refusal::DigestPending));
    assert_eq!(within("unknown", Sha256).await, Ok(of(Sha256, b"abc")));
    assert_eq!(within("none", Md5).await, Err(Refusal::NoSuchFile));
    assert!(app.0.access.digests.is_idle());
    assert_eq!(read.load(Ordering::Relaxed), 0);
}
