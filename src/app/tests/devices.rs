//! Devices: their tickets send and see nothing, what they repeat becomes versions, and what came
//! over weak encryption is marked for good.

use super::*;
use crate::login::Origin;
use crate::model::{Door, Transport, VersionState};

const OLD_DOOR: Origin = Origin { address: FROM, transport: Transport::Legacy, door: Door::Ssh };

/// A device's ticket XT-2 beside XT-1, and its token.
async fn device(app: &App) -> String {
    customer(app, "XT-1").await;
    let new = NewTicket { device: true, ..new_ticket("XT-2") };
    app.tickets().open_ticket(new).await.unwrap().1.to_string()
}

async fn enter(app: &App, token: &str, from: impl Into<Origin>) -> ShareSession {
    app.session(&app.logins().by_token("XT-2", token, from).await.unwrap().unwrap())
}

/// Number, state, transport and size of each version of XT-2, oldest first.
async fn versions_of(app: &App) -> Vec<(u64, VersionState, Transport, u64)> {
    let address = PublicAddress { host: "h".into(), port: 22 };
    let lines = app.retention().versions(&word("XT-2"), &address).await.unwrap();
    lines.into_iter().map(|line| (line.version, line.state, line.transport, line.size)).collect()
}

async fn content(app: &App, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let sink = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    app.artifacts().fetch(&word("XT-2"), &path(name), sink).await.unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r44_the_door_for_old_devices_takes_tokens_of_devices_only() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let token = device(&app).await;
    let other = app.tickets().new_token(&word("XT-1")).await.unwrap();
    assert!(app.logins().by_token("XT-1", &other, OLD_DOOR).await.unwrap().is_none());
    assert!(app.logins().by_token("XT-1", &other, FROM).await.unwrap().is_some());
    assert!(app.logins().by_token("XT-2", "wrong", OLD_DOOR).await.unwrap().is_none());
    assert!(app.logins().by_token("XT-2", &token, OLD_DOOR).await.unwrap().is_some());
    app.tickets().set_status(&word("XT-2"), TicketStatus::Closed).await.unwrap();
    let session = enter(&app, &token, OLD_DOOR).await;
    let mode = WriteMode { create: true, ..WriteMode::default() };
    assert_eq!(session.open_write(&path("a"), mode).await.err(), Some(Refusal::TicketClosed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r44_a_device_s_ticket_sends_and_sees_nothing() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let token = device(&app).await;
    for from in [OLD_DOOR, FROM.into()] {
        let session = enter(&app, &token, from).await;
        put(&session, "a", b"content").await;
        let no = Some(Refusal::UploadOnly);
        assert_eq!(session.open_read(&path("a")).await.err(), no);
        assert_eq!(session.open_read(&path(".receipts/a.receipt")).await.err(), no);
        assert_eq!(session.open_read(&path("nothing")).await.err(), no);
        for directory in ["", ".receipts", "from-support"] {
            assert_eq!(session.list(&path(directory)).await.err(), no, "{directory}");
        }
        assert_eq!(session.rename(&path("a"), &path("b"), true).await.err(), no);
        assert_eq!(session.remove_file(&path("a")).await.err(), no);
        let size = Changes { size: Some(1), ..Changes::default() };
        assert_eq!(session.change(&path("a"), size).await.err(), no);

        let logs = format!("logs-{}", from.transport);
        session.make_directory(&path(&logs)).await.unwrap();
        assert_eq!(session.remove_directory(&path(&logs)).await.err(), no);
        assert_eq!(session.attributes(&path("a")).await.unwrap().size, 7);
        let times = Changes { modified: Some(crate::model::Time::from_seconds(1_000_000)), ..Changes::default() };
        session.change(&path("a"), times).await.unwrap();
        assert_eq!(session.attributes(&path("a")).await.unwrap().modified.seconds(), 1_000_000);
        session.space(&path("a")).await.unwrap();

        let both = WriteMode { create: true, read: true, ..WriteMode::default() };
        let mut upload = session.open_write(&path("a"), both).await.unwrap();
        write(&mut upload, 0, b"x").await;
        assert_eq!(upload.read(0, 9, &mut Vec::new()).await.err(), no);
        upload.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r44_the_same_name_again_becomes_a_version_that_begins_with_nothing() {
    use VersionState::Available;
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let token = device(&app).await;
    let session = enter(&app, &token, FROM).await;
    put(&session, "show-tech", b"a long first one").await;
    // Without TRUNC, as many devices open; and without a single byte.
    for bytes in [&b"second"[..], b""] {
        let mode = WriteMode { create: true, ..WriteMode::default() };
        let mut upload = session.open_write(&path("show-tech"), mode).await.unwrap();
        assert_eq!(upload.attributes().await.unwrap().size, 0);
        if !bytes.is_empty() {
            write(&mut upload, 0, bytes).await;
        }
        upload.close().await.unwrap();
        assert_eq!(content(&app, "show-tech").await, bytes);
    }
    let modern = Transport::Modern;
    let all = versions_of(&app).await;
    assert_eq!(all, [(1, Available, modern, 16), (2, Available, modern, 6), (3, Available, modern, 0)]);
    all_intact(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r44_an_unfinished_file_is_continued_at_its_end_and_begun_anew_anywhere_else() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let token = device(&app).await;
    let old = pattern(500_000, 1);
    let cut = async |length: usize| {
        let session = enter(&app, &token, FROM).await;
        let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
        let mut upload = session.open_write(&path("dump"), mode).await.unwrap();
        write(&mut upload, 0, &old[..length]).await;
        upload.sync().await.unwrap();
        drop(upload);
    };
    let again = WriteMode { create: true, ..WriteMode::default() };
    // Cut before and behind the first point where it could be continued: another, shorter file
    // comes.
    for length in [40_000, 300_000] {
        for new in [pattern(10_000, 9), Vec::new()] {
            cut(length).await;
            let session = enter(&app, &token, FROM).await;
            let mut upload = session.open_write(&path("dump"), again).await.unwrap();
            if !new.is_empty() {
                write(&mut upload, 0, &new).await;
            }
            if new.is_empty() && length > 64 * 1024 {
                // It was told that there is something to continue: to open and to close it
                // publishes nothing.
                let end = upload.attributes().await.unwrap().size;
                assert_eq!(upload.close().await.err(), Some(Refusal::Incomplete));
                assert_eq!(enter(&app, &token, FROM).await.attributes(&path("dump")).await.unwrap().size, end);
                continue;
            }
            upload.close().await.unwrap();
            assert!(content(&app, "dump").await == new, "{length} bytes were cut, {} came", new.len());
        }
    }
    // The same file goes on.
    cut(300_000).await;
    let session = enter(&app, &token, FROM).await;
    let end = session.attributes(&path("dump")).await.unwrap().size;
    assert!(end > 0 && end < 300_000, "{end}");
    let mut upload = session.open_write(&path("dump"), again).await.unwrap();
    write(&mut upload, end, &old[usize::try_from(end).unwrap()..]).await;
    upload.close().await.unwrap();
    assert!(content(&app, "dump").await == old);
    // Two handles on one unfinished file: the first write decides, through whichever it comes.
    for first in [0, 1] {
        cut(300_000).await;
        let session = enter(&app, &token, FROM).await;
        let mut handles = vec![session.open_write(&path("dump"), again).await.unwrap()];
        handles.push(session.open_write(&path("dump"), again).await.unwrap());
        let new = pattern(10_000, 9);
        write(&mut handles[first], 0, &new[..5_000]).await;
        write(&mut handles[1 - first], 5_000, &new[5_000..]).await;
        for handle in handles {
            handle.close().await.unwrap();
        }
        assert!(content(&app, "dump").await == new, "handle {first} wrote first");
    }
    // What begins somewhere else has a hole, and is not filled with what was there.
    cut(300_000).await;
    let session = enter(&app, &token, FROM).await;
    let mut upload = session.open_write(&path("dump"), again).await.unwrap();
    write(&mut upload, 100_000, b"x").await;
    assert_eq!(upload.close().await.err(), Some(Refusal::Incomplete));
    all_intact(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r44_what_came_over_weak_encryption_stays_marked() {
    use Transport::{Legacy, Modern};
    use VersionState::Available;
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let token = device(&app).await;
    let bytes = pattern(400_000, 2);
    let half = 200_000;
    // Begun here, continued there, in both orders.
    for (first, second) in [(OLD_DOOR, FROM.into()), (FROM.into(), OLD_DOOR)] {
        let session = enter(&app, &token, first).await;
        let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
        let mut upload = session.open_write(&path("a"), mode).await.unwrap();
        write(&mut upload, 0, &bytes[..half]).await;
        upload.sync().await.unwrap();
        drop(upload);
        let session = enter(&app, &token, second).await;
        let end = session.attributes(&path("a")).await.unwrap().size;
        let mut upload = session.open_write(&path("a"), WriteMode::default()).await.unwrap();
        write(&mut upload, end, &bytes[usize::try_from(end).unwrap()..]).await;
        upload.close().await.unwrap();
    }
    put(&enter(&app, &token, FROM).await, "a", b"strong").await;
    let size = bytes.len() as u64;
    assert_eq!(
        versions_of(&app).await,
        [(1, Available, Legacy, size), (2, Available, Legacy, size), (3, Available, Modern, 6)]
    );
    let address = PublicAddress { host: "h".into(), port: 22 };
    assert_eq!(app.access().receipt(&word("XT-2"), &path("a"), &address).await.unwrap().receipt.transport, Modern);
    put(&enter(&app, &token, OLD_DOOR).await, "a", b"weak").await;
    let receipt = app.access().receipt(&word("XT-2"), &path("a"), &address).await.unwrap();
    assert!(receipt.text.contains("\nTransport: legacy\n"), "{}", receipt.text);
    assert_eq!(app.artifacts().list(&word("XT-2"), &address).await.unwrap()[0].transport, Legacy);
    app.close().await;
    drop(app);

    let filter = AuditFilter { ticket: Some(word("XT-2")), ..AuditFilter::default() };
    let app = fixture.open().await;
    let mut rows = Vec::new();
    let keep = |lines: &[AuditLine]| {
        rows.extend_from_slice(lines);
        Ok::<_, Error>(())
    };
    app.audit().list(&filter, keep).await.unwrap();
    let marked = |kind: &str| {
        let rows = rows.iter().filter(|row| row.kind == kind);
        rows.map(|row| row.detail.get("transport").and_then(|text| text.as_str()) == Some("legacy")).collect::<Vec<_>>()
    };
    assert_eq!(marked("artifact.available"), [true, true, false, true]);
    assert_eq!(marked("login.accepted"), [true, false, false, true, false, true]);
}
