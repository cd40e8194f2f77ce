//! Faults and races: what is acknowledged stays, what is not is refused, and nothing drifts.

use super::*;

/// Puts files where the store's shelves are, so that nothing can be renamed onto them; and puts the
/// shelves back.
struct BrokenShelves(std::path::PathBuf);

impl BrokenShelves {
    fn of(app: &App) -> Self {
        let objects = app.data().objects();
        for shelf in (0..=u8::MAX).map(|shelf| hex::encode([shelf])) {
            std::fs::rename(objects.join(&shelf), objects.join(format!("away-{shelf}"))).unwrap();
            std::fs::write(objects.join(&shelf), b"").unwrap();
        }
        Self(objects)
    }
}

impl Drop for BrokenShelves {
    fn drop(&mut self) {
        for shelf in (0..=u8::MAX).map(|shelf| hex::encode([shelf])) {
            std::fs::remove_file(self.0.join(&shelf)).unwrap();
            std::fs::rename(self.0.join(format!("away-{shelf}")), self.0.join(&shelf)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r22_what_could_not_be_written_never_counts_as_durable() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let bytes = pattern(700_000, 5);
    let mode = WriteMode { create: true, truncate: true, read: true, ..WriteMode::default() };
    for by_reading in [false, true] {
        let name = if by_reading { "read" } else { "closed" };
        let mut upload = session.open_write(&path(name), mode).await.unwrap();
        write(&mut upload, 0, &bytes).await;
        let broken = BrokenShelves::of(&app);
        if by_reading {
            assert_eq!(upload.read(0, 10, &mut Vec::new()).await, Err(Refusal::Storage));
        }
        assert_eq!(upload.close().await, Err(Refusal::Storage), "{name}");
        drop(broken);
        let size = session.attributes(&path(name)).await.map_or(0, |attributes| attributes.size);
        assert_eq!(size, 0, "{name}");
        put(&session, name, &bytes).await;
        assert!(get(&session, name).await.unwrap() == bytes);
    }
    all_intact(&app).await;
}

/// Bytes that were announced before another handle's CLOSE and come behind it: nobody would look at
/// them any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r27_bytes_that_come_behind_another_handles_close_are_refused() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut one = session.open_write(&path("f"), mode).await.unwrap();
    let mut other = session.open_write(&path("f"), WriteMode { truncate: false, ..mode }).await.unwrap();
    write(&mut one, 0, b"first").await;
    other.begin_write(5, 10).await.unwrap();
    other.write(b"12345").await.unwrap();
    one.close().await.unwrap();
    assert_eq!(other.write(b"67890").await, Err(Refusal::BadHandle));
    assert_eq!(get(&session, "f").await.unwrap(), b"first12345", "what had come when the CLOSE began");
    // What is announced from now on goes into the next version.
    write(&mut other, 5, b"again").await;
    other.close().await.unwrap();
    assert_eq!(get(&session, "f").await.unwrap(), b"firstagain");
    all_intact(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r27_sessions_that_remove_rename_and_send_the_same_name_lose_nothing_acknowledged() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    let login = app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap();
    let mut tasks = Vec::new();
    for writer in 0..8usize {
        let (app, session) = (app.clone(), app.session(&login));
        tasks.push(tokio::spawn(async move {
            let mut closed = 0;
            for round in 0..30usize {
                match (writer + round) % 8 {
                    0 => drop(session.remove_file(&path("d/f")).await),
                    1 => drop(session.remove_file(&path("d/f")).await),
                    2 => drop(session.rename(&path("d/f"), &path("d/g"), true).await),
                    3 => drop(session.remove_directory(&path("d")).await),
                    4 => drop(session.make_directory(&path("d")).await),
                    _ => {
                        let truncate = round % 2 == 0;
                        let mode = WriteMode { create: true, truncate, ..WriteMode::default() };
                        let Ok(mut upload) = session.open_write(&path("d/f"), mode).await else { continue };
                        let bytes = pattern(1000 * writer + round, 3);
                        let sent = async {
                            upload.begin_write(0, bytes.len() as u64).await?;
                            upload.write(&bytes).await?;
                            if round % 7 == 0 {
                                return Ok(false);
                            }
                            upload.close().await.map(|()| true)
                        };
                        closed += usize::from(sent.await == Ok::<_, Refusal>(true));
                    }
                }
            }
            drop(app);
            closed
        }));
    }
    let mut closed = 0;
    for task in tasks {
        closed += task.await.unwrap();
    }
    all_intact(&app).await;
    assert_eq!(app.integrity().verify(None, |_| ()).await.unwrap().len(), closed);
    // I4: the sums are what is there, and the ticket can still be used.
    let session = app.session(&login);
    let free = session.space(&path("/")).await.unwrap().names_free;
    let mut seen = 1;
    let mut places = vec![path("/")];
    while let Some(place) = places.pop() {
        let mut listing = session.list(&place).await.unwrap();
        loop {
            let page = listing.next(100).await.unwrap();
            if page.is_empty() {
                break;
            }
            for line in page {
                seen += 1;
                if line.attributes.kind == PlaceKind::Directory {
                    places.push(place.join(line.name));
                }
            }
        }
    }
    assert_eq!(free, fixture.settings.names_per_share - seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_close_behind_the_last_byte_publishes() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    let login = app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap();
    let one = app.session(&login);
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = one.open_write(&path("f"), mode).await.unwrap();
    write(&mut upload, 0, &pattern(300_000, 1)).await;
    one.change(&path("f"), Changes { size: Some(200_000), ..Changes::default() }).await.unwrap();
    assert_eq!(get(&one, "f").await, Err(Refusal::StillReceiving));
    write(&mut upload, 200_000, b"end").await;
    drop(upload);

    let two = app.session(&login);
    let upload = two.open_write(&path("f"), WriteMode::default()).await.unwrap();
    assert_eq!(upload.close().await, Err(Refusal::Incomplete), "nothing was sent through this handle");

    // Appending begins where STAT said that the file ends, also over a hole.
    let three = app.session(&login);
    let mut holey = three.open_write(&path("h"), mode).await.unwrap();
    write(&mut holey, 0, &pattern(70_000, 2)).await;
    write(&mut holey, 9_000_000, b"far").await;
    drop(holey);
    while app.open_uploads() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let four = app.session(&login);
    let size = loop {
        let size = four.attributes(&path("h")).await.unwrap().size;
        let append = WriteMode { append: true, ..WriteMode::default() };
        match four.open_write(&path("h"), append).await {
            Ok(mut upload) => {
                let rest = &pattern(70_000, 2)[usize::try_from(size).unwrap()..];
                write(&mut upload, 77, rest).await;
                upload.close().await.unwrap();
                break size;
            }
            Err(refusal) => assert!(refusal.is_temporary()),
        }
    };
    assert_eq!(size, 65_536);
    assert!(get(&four, "h").await.unwrap() == pattern(70_000, 2));
    all_intact(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r57_refused_uploads_do_not_fill_the_disk_and_scattered_ones_end() {
    let mut fixture = Fixture::new();
    fixture.settings.share_bytes = 1_000_000;
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    for round in 0..3 {
        let mut upload = session.open_write(&path(&format!("f{round}")), mode).await.unwrap();
        for part in 0..4u64 {
            upload.begin_write(part << 20, 1 << 20).await.ok();
            upload.write(&pattern(1 << 20, 1)).await.ok();
        }
        assert!(upload.close().await.is_err());
    }
    while app.open_uploads() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    // What the first ones left has gone for the others' sake.
    assert!(app.retention().remove_doomed(Duration::ZERO).await.unwrap() >= 1);
    let shelves = std::fs::read_dir(app.data().objects()).unwrap().map(|shelf| shelf.unwrap().path());
    let left = shelves
        .filter(|shelf| shelf.is_dir())
        .flat_map(|shelf| std::fs::read_dir(shelf).unwrap().map(|file| file.unwrap().metadata().unwrap().len()));
    assert!(left.sum::<u64>() < 1_100_000);

    // Every second byte, forwards: a sparse copy, whose gaps are zeros. Backwards: nobody can say
    // what is in the gaps.
    for (name, forwards) in [("sparse", true), ("scattered", false)] {
        let mut upload = session.open_write(&path(name), mode).await.unwrap();
        for at in 0..15_000u64 {
            let at = if forwards { at } else { 15_000 - at };
            if upload.begin_write(at * 2, 1).await.is_err() || upload.write(b"x").await.is_err() {
                break;
            }
        }
        let close = tokio::time::timeout(Duration::from_secs(60), upload.close()).await.expect("a CLOSE has an answer");
        assert_eq!(close.is_ok(), forwards, "{name}: {close:?}");
    }
}
