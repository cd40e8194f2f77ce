//! `.versions` and `.receipts`: what they show to whom, and that nothing can be changed in them.

use super::*;

const CREATE: WriteMode = WriteMode { create: true, exclusive: false, truncate: true, append: false, read: false };

/// The names of a listing, read in pages of `page` lines.
async fn names(session: &ShareSession, directory: &str, page: usize) -> Result<Vec<String>, Refusal> {
    let mut listing = session.list(&path(directory)).await?;
    let mut names = Vec::new();
    loop {
        let lines = listing.next(page).await?;
        assert!(lines.len() <= page);
        if lines.is_empty() {
            names.sort();
            return Ok(names);
        }
        for line in lines {
            // What a listing says of a name is what STAT says of it.
            let below = format!("{directory}/{}", line.name);
            assert_eq!(session.attributes(&path(&below)).await.as_ref(), Ok(&line.attributes), "{below}");
            names.push(line.name.to_string());
        }
    }
}

async fn text(session: &ShareSession, name: &str) -> String {
    String::from_utf8(get(session, name).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_versions_read_back_after_overwriting_renaming_over_and_deleting() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let support = engineer(&app).await;
    session.make_directory(&path("logs")).await.unwrap();
    let contents: Vec<Vec<u8>> = (1..=9).map(|n| pattern(70_000 * usize::from(n), n)).collect();

    put(&session, "logs/a", &contents[0]).await;
    put(&session, "logs/a", &contents[1]).await;
    // Renamed over it.
    put(&session, "part", &contents[2]).await;
    session.rename(&path("part"), &path("logs/a"), true).await.unwrap();
    // Deleted, and sent again.
    session.remove_file(&path("logs/a")).await.unwrap();
    assert_eq!(support.attributes(&path("/XT-1/.versions/logs/a")).await, Err(Refusal::NoSuchFile));
    put(&session, "logs/a", &contents[3]).await;
    put(&session, "logs/a", &contents[4]).await;
    // Something with a history of its own is renamed over it: that of the target comes first.
    put(&session, "b", &contents[5]).await;
    session.remove_file(&path("b")).await.unwrap();
    put(&session, "b", &contents[6]).await;
    put(&session, "b", &contents[7]).await;
    session.rename(&path("b"), &path("logs/a"), true).await.unwrap();

    let shown: Vec<String> = (1..=8).map(|n| n.to_string()).collect();
    for page in [1, 3, 100] {
        assert_eq!(names(&support, "/XT-1/.versions/logs/a", page).await.unwrap(), shown);
    }
    for (number, bytes) in (1..).zip(&contents[..8]) {
        let name = format!("/XT-1/.versions/logs/a/{number}");
        assert!(get(&support, &name).await.unwrap() == *bytes, "version {number}");
        let attributes = support.attributes(&path(&name)).await.unwrap();
        assert_eq!((attributes.size, attributes.mode), (bytes.len() as u64, 0o440));
    }
    // Renamed away, the history goes along, and the numbers go on.
    session.rename(&path("logs/a"), &path("c"), false).await.unwrap();
    put(&session, "c", &contents[8]).await;
    assert_eq!(names(&support, "/XT-1/.versions", 1).await.unwrap(), ["c", "from-support", "logs"]);
    assert!(names(&support, "/XT-1/.versions/logs", 5).await.unwrap().is_empty());
    assert_eq!(get(&support, "/XT-1/.versions/c/9").await.unwrap(), contents[8]);
    assert_eq!(get(&support, "/XT-1/.versions/c/1").await.unwrap(), contents[0]);
    assert!(text(&session, ".receipts/c.receipt").await.contains("\nVersion: 9\n"));
    let line = &app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap()[0];
    assert_eq!((line.path.as_str(), line.version), ("c", 9));
    all_intact(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_receipt_checksum_and_record_agree() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let address = PublicAddress { host: "drop.example.net".into(), port: 22 };
    app.set_public_address(&address).await.unwrap();
    let session = customer(&app, "XT-1").await;
    session.make_directory(&path("logs")).await.unwrap();
    session.make_directory(&path("logs/empty")).await.unwrap();
    put(&session, "logs/a b.txt", b"hello").await;
    put(&session, "logs/back\\slash", b"x").await;

    let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(text(&session, ".receipts/logs/a b.txt.sha256").await, format!("{digest}  a b.txt\n"));
    assert!(text(&session, ".receipts/logs/back\\slash.sha256").await.ends_with("  back\\\\slash\n"));
    let receipt = text(&session, ".receipts/logs/a b.txt.receipt").await;
    let line = &app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap()[0];
    let (received, location) = (line.received_at.unwrap(), "sftp://drop.example.net:22/XT-1/logs/a%20b.txt");
    assert!(
        receipt.starts_with(&format!(
            "tacdrop receipt 3\nTicket: XT-1\nPath: logs/a%20b.txt\nVersion: 1\nSize: 5\nSHA-256: {digest}\n\
             Received: {received}\nUploaded-By: XT-1\nLocation: {location}\nServer: drop.example.net:22\n\
             Transport: modern\nVersion-Id: "
        )),
        "{receipt}"
    );
    assert_eq!(line.sha256.as_deref(), Some(digest));
    // The same bytes each time, for everybody, after a restart and from the command line.
    let support = engineer(&app).await;
    assert_eq!(text(&support, "/XT-1/.receipts/logs/a b.txt.receipt").await, receipt);
    assert_eq!(text(&session, "/XT-1/.receipts/logs/a b.txt.receipt").await, receipt);
    let signed = app.access().receipt(&word("XT-1"), &path("logs/a b.txt"), &address).await.unwrap();
    assert_eq!(signed.text, receipt);
    let signers = text(&session, ".receipts/allowed_signers").await;
    assert_eq!(signers.trim_end(), app.access().receipt_key().allowed_signers);
    for page in [1, 2, 100] {
        assert_eq!(names(&session, ".receipts", page).await.unwrap(), ["allowed_signers", "logs"]);
        assert_eq!(
            names(&session, ".receipts/logs", page).await.unwrap(),
            ["a b.txt.receipt", "a b.txt.sha256", "back\\slash.receipt", "back\\slash.sha256", "empty"]
        );
    }
    // A name that could be another file's alias stands in the location by its own one.
    put(&session, "logs/a~0123456789ab.txt", b"x").await;
    let lines = app.artifacts().list(&word("XT-1"), &address).await.unwrap();
    let line = lines.iter().find(|line| line.path == "logs/a~0123456789ab.txt").unwrap();
    let shaped = text(&session, ".receipts/logs/a~0123456789ab.txt.receipt").await;
    assert!(shaped.contains("\nPath: logs/a~0123456789ab.txt\n"), "{shaped}");
    assert!(shaped.contains(&format!("\nLocation: {}\n", line.location)), "{shaped}");
    assert!(!line.location.ends_with("/a~0123456789ab.txt"), "{}", line.location);
    app.close().await;
    drop((session, support, app));
    let app = fixture.open().await;
    let session = engineer(&app).await;
    assert_eq!(text(&session, "/XT-1/.receipts/logs/a b.txt.receipt").await, receipt);
    assert_eq!(text(&session, "/XT-1/.receipts/allowed_signers").await, signers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_receipt_of_what_is_not_available() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mut upload = session.open_write(&path("holey"), CREATE).await.unwrap();
    write(&mut upload, 70_000, b"end").await;
    write(&mut upload, 60_000, b"middle").await;
    assert_eq!(upload.close().await, Err(Refusal::Incomplete));
    put(&session, "gone", b"x").await;
    session.remove_file(&path("gone")).await.unwrap();
    let mut upload = session.open_write(&path("arriving"), CREATE).await.unwrap();
    write(&mut upload, 0, b"half").await;
    let support = engineer(&app).await;
    for name in ["holey", "gone", "arriving"] {
        for suffix in ["receipt", "sha256"] {
            let name = path(&format!(".receipts/{name}.{suffix}"));
            assert_eq!(session.attributes(&name).await, Err(Refusal::NoSuchFile));
            assert_eq!(session.open_read(&name).await.err(), Some(Refusal::NoSuchFile));
        }
        let versions = path(&format!("/XT-1/.versions/{name}"));
        assert_eq!(support.attributes(&versions).await, Err(Refusal::NoSuchFile));
    }
    assert_eq!(names(&session, ".receipts", 10).await.unwrap(), ["allowed_signers"]);
    assert_eq!(names(&support, "/XT-1/.versions", 10).await.unwrap(), ["from-support"]);
    // While a newer version arrives, the receipt is that of the one that readers get.
    put(&session, "a", b"first").await;
    let before = text(&session, ".receipts/a.receipt").await;
    let mut newer = session.open_write(&path("a"), CREATE).await.unwrap();
    write(&mut newer, 0, b"second").await;
    assert_eq!(text(&session, ".receipts/a.receipt").await, before);
    newer.close().await.unwrap();
    assert!(text(&session, ".receipts/a.receipt").await.contains("\nVersion: 2\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_receipt_of_an_older_version_that_is_current_again_states_its_own_number() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "a", b"one").await;
    put(&session, "b", b"two").await;
    // Version 1 belongs to the entry that was replaced, version 2 to the one that took its place.
    session.rename(&path("b"), &path("a"), true).await.unwrap();
    assert!(text(&session, ".receipts/a.receipt").await.contains("\nVersion: 2\n"));
    app.retention().shred(&word("XT-1"), &path("a"), Some(2)).await.unwrap();
    assert_eq!(text(&session, "a").await, "one");
    let receipt = text(&session, ".receipts/a.receipt").await;
    assert!(receipt.contains("\nVersion: 1\n"), "{receipt}");
    let signed = app.access().receipt(&word("XT-1"), &path("a"), &PublicAddress::unknown()).await.unwrap();
    assert!(signed.text.contains("\nVersion: 1\n"), "{}", signed.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_bears_the_name_of_a_receipt_is_not_listed_twice() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    for directory in ["a.receipt", "b.sha256", "allowed_signers"] {
        session.make_directory(&path(directory)).await.unwrap();
        put(&session, &format!("{directory}/in"), b"x").await;
    }
    put(&session, "a", b"a").await;
    put(&session, &"n".repeat(249), b"too long with a suffix").await;
    let longest = "n".repeat(247);
    put(&session, &longest, b"fits with one suffix and with the other").await;
    let [receipt, checksum] = ["receipt", "sha256"].map(|suffix| format!("{longest}.{suffix}"));
    let expected = ["a.receipt", "a.sha256", "allowed_signers", "b.sha256", &receipt, &checksum];
    for page in [1, 2, 100] {
        assert_eq!(names(&session, ".receipts", page).await.unwrap(), expected);
    }
    assert_eq!(session.attributes(&path(".receipts/a.receipt")).await.unwrap().kind, PlaceKind::File);
    // What lies below is reached all the same.
    assert!(text(&session, ".receipts/a.receipt/in.receipt").await.contains("\nPath: a.receipt/in\n"));
    assert!(text(&session, ".receipts/allowed_signers/in.receipt").await.contains("\nPath: allowed_signers/in\n"));
    assert_eq!(names(&session, ".receipts/b.sha256", 9).await.unwrap(), ["in.receipt", "in.sha256"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r56_the_virtual_places_of_another_ticket_do_not_exist() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (one, two) = (customer(&app, "XT-1").await, customer(&app, "XT-2").await);
    put(&one, "secret", b"mine").await;
    let support = engineer(&app).await;
    put(&support, "/XT-1/from-support/fix", b"fix").await;
    for place in [
        "/XT-1/.receipts",
        "/XT-1/.receipts/secret.receipt",
        "/.receipts/../XT-1/.receipts/secret.receipt",
        "/.receipts/XT-1/secret.receipt",
        "/.receipts/secret.receipt",
        "/XT-1/.versions/secret/1",
    ] {
        assert_eq!(two.attributes(&path(place)).await, Err(Refusal::NoSuchFile), "{place}");
        assert_eq!(two.open_read(&path(place)).await.err(), Some(Refusal::NoSuchFile), "{place}");
        assert_eq!(two.list(&path(place)).await.err(), Some(Refusal::NoSuchFile), "{place}");
    }
    // An engineer who is not assigned.
    let key = ("SHA256:other".to_owned(), "ssh-ed25519".to_owned());
    app.tickets().add_engineer(word("bob"), None, "b@example.net".to_owned(), None, vec![key]).await.unwrap();
    let bob = app.session(&app.logins().by_key("bob", "SHA256:other", FROM).await.unwrap().unwrap());
    for place in ["/XT-1/.receipts/secret.receipt", "/XT-1/.versions/secret/1", "/.receipts", "/.versions"] {
        assert_eq!(bob.attributes(&path(place)).await, Err(Refusal::NoSuchFile), "{place}");
    }
    // What engineers hand back has receipts, too; older versions are for engineers.
    assert!(text(&one, ".receipts/from-support/fix.receipt").await.contains("\nUploaded-By: anna\n"));
    for place in ["/.versions", "/.versions/secret", "/.versions/secret/1", "/XT-1/.versions/secret/1"] {
        assert_eq!(one.attributes(&path(place)).await, Err(Refusal::NoSuchFile), "{place}");
        assert_eq!(one.list(&path(place)).await.err(), Some(Refusal::NoSuchFile), "{place}");
        assert_eq!(one.open_read(&path(place)).await.err(), Some(Refusal::NoSuchFile), "{place}");
    }
    assert_eq!(names(&two, ".receipts", 9).await.unwrap(), ["allowed_signers"]);
    for root in ["/", "/XT-1/"] {
        let listed = names(&one, root, 9).await.unwrap();
        assert!(listed.iter().all(|name| !name.starts_with('.')), "{listed:?}");
    }

    app.tickets().set_status(&word("XT-1"), TicketStatus::Closed).await.unwrap();
    assert!(text(&one, ".receipts/secret.receipt").await.contains("\nSize: 4\n"));
    assert_eq!(get(&support, "/XT-1/.versions/secret/1").await.unwrap(), b"mine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r55_hostile_paths_into_the_virtual_places_lead_nowhere() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "x", b"x").await;
    session.make_directory(&path("d")).await.unwrap();
    let support = engineer(&app).await;
    assert_eq!(session.attributes(&path("/.receipts/../..")).await.unwrap().kind, PlaceKind::Directory);
    for place in [
        ".receipts/.receipts",
        ".receipts/.receipts/x.receipt",
        ".receipts/.versions/x/1",
        ".receipts/x",
        ".receipts/.receipt",
        ".receipts/...receipt",
        ".receipts/d.receipt",
        ".receipts/x.receipt.receipt",
        ".receipts/x.receipt/1",
        ".receipts/x/x.receipt",
        ".receipts/from-support.sha256",
        ".receipts/allowed_signers/x",
        ".versions/.versions",
        ".versions/.receipts/x.receipt",
        ".versions/1",
        ".versions/d/1",
        ".versions/x/0",
        ".versions/x/2",
        ".versions/x/01",
        ".versions/x/-1",
        ".versions/x/+1",
        ".versions/x/1/1",
        ".versions/x/9223372036854775807",
        ".versions/x/9223372036854775808",
        ".versions/x/18446744073709551615",
        ".versions/x/99999999999999999999",
        ".versionsx",
        ".receipts-2",
    ] {
        let place = path(&format!("/XT-1/{place}"));
        for session in [&session, &support] {
            assert_eq!(session.attributes(&place).await, Err(Refusal::NoSuchFile), "{place}");
            assert_eq!(session.open_read(&place).await.err(), Some(Refusal::NoSuchFile), "{place}");
            assert_eq!(session.list(&place).await.err(), Some(Refusal::NoSuchFile), "{place}");
        }
    }
    // A file is no directory, and a directory no file.
    assert_eq!(support.list(&path("/XT-1/.versions/x/1")).await.err(), Some(Refusal::NotDirectory));
    assert_eq!(support.open_read(&path("/XT-1/.versions/x")).await.err(), Some(Refusal::IsDirectory));
    assert_eq!(session.list(&path(".receipts/x.receipt")).await.err(), Some(Refusal::NotDirectory));
    assert_eq!(session.open_read(&path(".receipts")).await.err(), Some(Refusal::IsDirectory));
    // Reading behind the end is no error.
    let download = session.open_read(&path(".receipts/x.sha256")).await.unwrap();
    let mut bytes = Vec::new();
    assert_eq!(download.read(u64::MAX, 10, &mut bytes).await, Ok(0));
    assert_eq!(download.read(64, 1000, &mut bytes).await, Ok(4));
    assert_eq!(bytes, b"  x\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_the_virtual_places_can_be_changed() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "x", b"x").await;
    session.make_directory(&path("d")).await.unwrap();
    let support = engineer(&app).await;
    put(&support, "/XT-1/from-support/x", b"x").await;
    let changes = Changes { mode: Some(0o777), ..Changes::default() };
    let size = Changes { size: Some(0), ..Changes::default() };
    for (session, place, source, refusal) in [
        (&session, ".receipts/x.receipt", "x", Refusal::ReadOnly),
        (&session, ".receipts/allowed_signers", "x", Refusal::ReadOnly),
        (&session, ".receipts/new", "x", Refusal::ReadOnly),
        (&session, ".receipts/d", "x", Refusal::ReadOnly),
        (&session, ".receipts", "x", Refusal::FixedPlace),
        (&session, "/XT-1/.receipts/x.sha256", "x", Refusal::ReadOnly),
        (&session, ".versions", "x", Refusal::FixedPlace),
        (&session, ".versions/x/1", "x", Refusal::NoSuchFile),
        (&support, "/XT-1/.versions", "/XT-1/from-support/x", Refusal::FixedPlace),
        (&support, "/XT-1/.versions/x/1", "/XT-1/from-support/x", Refusal::ReadOnly),
        (&support, "/XT-1/.versions/from-support/x/1", "/XT-1/from-support/x", Refusal::ReadOnly),
        (&support, "/XT-1/.receipts/from-support/x.receipt", "/XT-1/from-support/x", Refusal::ReadOnly),
    ] {
        let (there, source) = (path(place), path(source));
        for mode in [CREATE, WriteMode::default(), WriteMode { append: true, ..WriteMode::default() }] {
            assert_eq!(session.open_write(&there, mode).await.err(), Some(refusal), "{place}");
        }
        assert_eq!(session.remove_file(&there).await, Err(refusal), "{place}");
        assert_eq!(session.make_directory(&there).await, Err(refusal), "{place}");
        assert_eq!(session.change(&there, size).await, Err(refusal), "{place}");
        for replace in [true, false] {
            assert_eq!(session.rename(&there, &path("y"), replace).await, Err(refusal), "{place}");
            assert_eq!(session.rename(&source, &there, replace).await, Err(refusal), "{place}");
        }
        if place != ".versions" {
            assert_eq!(session.remove_directory(&there).await, Err(refusal), "{place}");
            assert_eq!(session.change(&there, changes).await, Err(refusal), "{place}");
        }
    }
    for place in [".receipts", ".receipts/d", ".receipts/x.receipt"] {
        assert!(session.space(&path(place)).await.is_ok(), "{place}");
    }
    assert_eq!(session.space(&path(".receipts/y.receipt")).await.err(), Some(Refusal::NoSuchFile));
    assert_eq!(get(&session, "x").await.unwrap(), b"x");
}
