//! A new file that is recorded in one question: what it leaves is what the long way leaves, and
//! whatever stands in its way sends it there with nothing changed.

use super::*;
use crate::model::audit::{Actor, Kind};
use crate::model::{ArtifactId, DirectoryId, NoticeId, ObjectId, ObjectPlace, Time, Transport, VersionId};
use crate::records::audit::Event;
use crate::records::entries::Place;
use crate::records::extents::ExtentRow;
use crate::records::small_files::SmallFile;
use crate::records::versions::{NewVersion, Publication};
use crate::records::{NewArtifact, entries, tickets};

/// What a test changes of a file that would be recorded.
#[derive(Clone)]
struct Wish {
    id: u8,
    index: [u8; 32],
    parent: Option<[u8; 16]>,
    generation: u32,
    length: u64,
    most_names: u64,
    most_bytes: u64,
}

impl Wish {
    fn of(id: u8) -> Self {
        let index = [id; 32];
        Self { id, index, parent: None, generation: 1, length: 7, most_names: 100, most_bytes: 1000 }
    }
}

async fn add(app: &App, wish: &Wish) -> bool {
    let ticket = word("XT-1");
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let tickets::Ticket { share, proof, .. } = tickets::by_reference(&mut conn, "XT-1").await.unwrap().unwrap();
    drop(conn);
    let parent = wish.parent.map_or(DirectoryId::root_of(share), DirectoryId::from_bytes);
    let (version, now) = (VersionId::from_bytes([wish.id; 16]), Time::now());
    let extent = ObjectId::from_bytes([wish.id | 0x80; 16]);
    let place = Place { parent, index: wish.index, alias: [1; 32], own_alias: true, sealed: vec![1] };
    let event = Event {
        at: now,
        kind: Kind::ArtifactAvailable,
        actor: &Actor::Login(ticket.clone()),
        ticket: Some(&ticket),
        subject: Some([wish.id; 16]),
        detail: "{}",
    };
    let new = NewArtifact {
        ticket: &ticket,
        token_generation: 1,
        ticket_proof: proof,
        share,
        place: &place,
        mode: 0o640,
        modified_at: now,
        version: &NewVersion {
            id: version,
            artifact: ArtifactId::from_bytes([wish.id; 16]),
            number: 1,
            key_generation: wish.generation,
            file_key: &[1; 60],
            uploaded_by: "XT-1",
            opened_at: now,
            touched_at: app.0.access.repo.clock.now(),
            transport: Transport::Modern,
        },
        publication: &Publication {
            id: version,
            length: wish.length,
            zeros: 0,
            uploaded_by: "XT-1",
            transport: Transport::Modern,
            sha256: [1; 32],
            manifest: ObjectId::from_bytes([wish.id; 16]),
            manifest_hash: [1; 32],
            progress: &[1],
            at: now,
        },
        small_file: Some(SmallFile { extent, extent_bytes: &[1], manifest_bytes: &[1] }),
        extent: &ExtentRow {
            id: extent,
            length: wish.length,
            header_tag: [1; 32],
            place: ObjectPlace::Records,
            extent_key: vec![1; 60],
        },
        most_names: wish.most_names,
        most_bytes: wish.most_bytes,
        notice: NoticeId::from_bytes([wish.id; 16]),
        settle: 10_000,
        settle_most: 60_000,
        event: &event,
    };
    app.0
        .access
        .repo
        .records
        .insert_published(&new, |before, seq| crate::audit::link_of(&event, before, seq))
        .await
        .unwrap()
}

/// Everything that such a file could leave.
async fn counts(app: &App) -> Vec<usize> {
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    let mut counts = Vec::new();
    let tables =
        ["entry", "version", "small_file", "object", "extent", "extent_use", "notice", "notice_version", "audit_event"];
    for table in tables {
        counts.push(tacdrop_probe::count(tx.conn(), table).await.unwrap());
    }
    let ticket = tickets::by_reference(tx.conn(), "XT-1").await.unwrap().unwrap();
    counts.extend([usize::try_from(ticket.names).unwrap(), usize::try_from(ticket.stored_bytes).unwrap()]);
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_a_new_file_is_recorded_in_one_question_or_not_at_all() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "withdrawn", b"x").await;
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let share = tickets::by_reference(&mut conn, "XT-1").await.unwrap().unwrap().share;
    let keys = app.0.access.repo.keys.share(share).await.unwrap();
    let root = DirectoryId::root_of(share);
    let index = keys.names.index(root, &crate::model::FileName::new(b"withdrawn").unwrap());
    let file = entries::by_name(&mut conn, root, &index).await.unwrap().unwrap();
    drop(conn);
    session.remove_file(&path("withdrawn")).await.unwrap();
    app.0.access.trail.flush(Duration::ZERO).await.unwrap();

    let before = counts(&app).await;
    assert!(add(&app, &Wish::of(1)).await);
    let after = counts(&app).await;
    let grown: Vec<usize> = before.iter().zip(&after).map(|(before, after)| after - before).collect();
    assert_eq!(grown, [1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 7], "its notice joins the one that settles");

    for (what, wish) in [
        ("a name that is taken", Wish { index: [1; 32], ..Wish::of(2) }),
        ("a name that was deleted", Wish { index, ..Wish::of(2) }),
        ("a directory that is not there", Wish { parent: Some([9; 16]), ..Wish::of(2) }),
        ("a directory that is a file", Wish { parent: Some(file.id), ..Wish::of(2) }),
        ("keys that are not in force", Wish { generation: 2, ..Wish::of(2) }),
        ("one name too many", Wish { most_names: 1, ..Wish::of(2) }),
        ("one byte too many", Wish { most_bytes: 14, ..Wish::of(2) }),
        ("an id that is taken", Wish { index: [2; 32], ..Wish::of(1) }),
    ] {
        assert!(!add(&app, &wish).await, "{what}");
        assert_eq!(counts(&app).await, after, "{what}");
    }
    app.tickets().set_status(&word("XT-1"), TicketStatus::Closed).await.unwrap();
    let closed = counts(&app).await;
    assert!(!add(&app, &Wish::of(2)).await, "the ticket is closed");
    assert_eq!(counts(&app).await, closed);
    app.tickets().set_status(&word("XT-1"), TicketStatus::Open).await.unwrap();
    assert!(add(&app, &Wish::of(2)).await, "nothing stands in the way now");
    assert_eq!(app.audit().verify(None).await.unwrap().fault, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_files_that_many_sessions_send_at_once_are_all_there_and_the_trail_is_whole() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let sessions = [customer(&app, "XT-1").await, customer(&app, "XT-2").await];
    let mut tasks = Vec::new();
    for writer in 0..8_u8 {
        let (session, app) = (sessions[usize::from(writer % 2)].clone(), app.clone());
        tasks.push(tokio::spawn(async move {
            for number in 0..25_u8 {
                put(&session, &format!("{writer}-{number}"), &pattern(usize::from(number) * 900, writer)).await;
                // Somebody who writes to the trail and holds the turn for longer.
                if number % 9 == 4 {
                    session.make_directory(&path(&format!("d{writer}-{number}"))).await.unwrap();
                    app.0.access.trail.flush(Duration::ZERO).await.unwrap();
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for (session, first) in sessions.iter().zip(0_u8..) {
        for writer in [first, first + 2, first + 4, first + 6] {
            for number in 0..25_u8 {
                let bytes = get(session, &format!("{writer}-{number}")).await.unwrap();
                assert_eq!(bytes, pattern(usize::from(number) * 900, writer));
            }
        }
        let mut conn = app.0.access.repo.records.read().await.unwrap();
        let ticket = tickets::by_reference(&mut conn, session.user().as_str()).await.unwrap().unwrap();
        let sent: u64 = (0..25).map(|number| number * 900).sum();
        assert_eq!((ticket.names, ticket.stored_bytes), (4 * (25 + 3) + 1, 4 * sent), "with `from-support`");
    }
    all_intact(&app).await;
    assert_eq!(app.audit().verify(None).await.unwrap().fault, None);
}

/// A worker that nobody has asked anything sleeps no longer than rows may be owed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r26_an_upload_that_stands_still_after_its_first_byte_gets_its_rows() {
    let mut fixture = Fixture::new();
    fixture.settings.checkpoint = Duration::from_millis(700);
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path("slow"), mode).await.unwrap();
    write(&mut upload, 0, &pattern(100_000, 3)).await;
    let other = customer(&app, "XT-2").await;
    drop(other);
    for _ in 0..400 {
        let mut conn = app.0.access.repo.records.read().await.unwrap();
        let ticket = tickets::by_reference(&mut conn, "XT-1").await.unwrap().unwrap();
        if ticket.stored_bytes == 100_000 {
            break;
        }
        drop(conn);
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let ticket = tickets::by_reference(&mut conn, "XT-1").await.unwrap().unwrap();
    assert_eq!(
        (ticket.names, ticket.stored_bytes),
        (2, 100_000),
        "with `from-support`; what came is durable though nobody closed it"
    );
    drop(conn);
    upload.close().await.unwrap();
    assert_eq!(get(&session, "slow").await.unwrap(), pattern(100_000, 3));
}

/// A CLOSE of little runs its worker itself; it goes on when nobody waits for it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_a_small_file_whose_close_nobody_waits_for_any_more_becomes_available() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    // Somebody else's transaction lasts, so the worker has to wait for its turn.
    let records = app.0.access.repo.records.clone();
    let turn = tokio::spawn(async move { records.begin().await.unwrap() }).await.unwrap();
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path("little"), mode).await.unwrap();
    write(&mut upload, 0, b"some bytes").await;
    let close = tokio::time::timeout(Duration::from_millis(50), upload.close());
    assert!(close.await.is_err(), "it ended while another one had the turn");
    drop(turn);
    for _ in 0..400 {
        if get(&session, "little").await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(get(&session, "little").await.unwrap(), b"some bytes");
}
