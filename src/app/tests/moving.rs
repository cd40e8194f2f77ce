//! Files that go from one ticket to another: with everything that they are, and in exactly one of both
//! whenever the process dies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::crashes::copy;
use super::invariants::hold;
use super::recovery::{digest, until_no_upload};
use super::*;
use crate::app::{Kept, MoveWish, Moved};
use crate::model::ArtifactId;

fn wish() -> MoveWish {
    MoveWish::default()
}

/// The id of the file of this path.
async fn id_of(app: &App, ticket: &str, path: &str) -> ArtifactId {
    let lines = app.artifacts().list(&word(ticket), &PublicAddress::unknown()).await.unwrap();
    let line = lines.iter().find(|line| line.path == path).unwrap_or_else(|| panic!("{path} of {ticket}"));
    line.id.parse().unwrap()
}

async fn moved(app: &App, from: &str, path: &str, to: &str) -> Moved {
    app.moving().move_artifact(id_of(app, from, path).await, &word(to), &wish()).await.unwrap()
}

/// A file of five versions over three entries: one that another was renamed over, and one that
/// continues what was there.
async fn file_with_a_past(session: &ShareSession, name: &str) -> Vec<Vec<u8>> {
    let (first, second) = (pattern(2_500_000, 1), b"second".to_vec());
    let mut third = second.clone();
    put(session, name, &first).await;
    put(session, name, &second).await;
    let append = WriteMode { append: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path(name), append).await.unwrap();
    write(&mut upload, 0, b" and more").await;
    upload.close().await.unwrap();
    third.extend(b" and more");
    put(session, "other", b"renamed over it").await;
    session.rename(&path("other"), &path(name), true).await.unwrap();
    session.remove_file(&path(name)).await.unwrap();
    put(session, name, &pattern(300_000, 5)).await;
    vec![first, second, third, b"renamed over it".to_vec(), pattern(300_000, 5)]
}

async fn all_versions_are(app: &App, ticket: &str, name: &str, contents: &[Vec<u8>]) {
    let support = engineer(app).await;
    for (content, number) in contents.iter().zip(1..) {
        let there = get(&support, &format!("/{ticket}/.versions/{name}/{number}")).await.unwrap();
        assert!(there == *content, "version {number} has {} bytes", there.len());
    }
    assert!(get(&support, &format!("/{ticket}/{name}")).await.unwrap() == *contents.last().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_with_its_past_and_stands_in_one_ticket_only() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (one, two) = (customer(&app, "XT-1").await, customer(&app, "XT-2").await);
    one.make_directory(&path("logs")).await.unwrap();
    let contents = file_with_a_past(&one, "logs/show.txt").await;
    put(&one, "stays", b"stays").await;
    let address = PublicAddress::unknown();
    let before = app.artifacts().list(&word("XT-1"), &address).await.unwrap();
    let receipt = app.access().receipt(&word("XT-1"), &path("logs/show.txt"), &address).await.unwrap().text;

    let done = moved(&app, "XT-1", "logs/show.txt", "XT-2").await;
    assert_eq!((done.path.as_str(), done.versions, done.journal_owed), ("logs/show.txt", 5, false));
    all_versions_are(&app, "XT-2", "logs/show.txt", &contents).await;
    assert_eq!(get(&one, "logs/show.txt").await, Err(Refusal::NoSuchFile));
    let after = app.artifacts().list(&word("XT-2"), &address).await.unwrap();
    let known = |line: &ArtifactLine| {
        (line.version, line.size, line.sha256.clone(), line.uploaded_by.clone(), line.received_at, line.transport)
    };
    assert_eq!(after.iter().map(known).collect::<Vec<_>>(), before.iter().take(1).map(known).collect::<Vec<_>>());

    // What was signed is still what the trail tells, and the file has a receipt of its new place.
    let witness = app.audit().witness(&receipt).unwrap();
    let verified = app.audit().verify_with(Kept { checkpoint: None, receipts: &[witness] }).await.unwrap();
    assert_eq!(verified.fault, None);
    let new = app.access().receipt(&word("XT-2"), &path("logs/show.txt"), &address).await.unwrap().receipt;
    assert!(receipt.contains(&format!("SHA-256: {}", new.sha256)) && new.ticket == "XT-2" && new.uploaded_by == "XT-1");

    // The id of before leads to it; what is uploaded under the old name is another file.
    let old = done.id.parse().unwrap();
    let found = app.moving().artifact(old).await.unwrap();
    assert_eq!((found.ticket.as_str(), found.current_id.as_str()), ("XT-2", done.new_id.as_str()));
    let said = app.moving().move_artifact(old, &word("XT-2"), &wish()).await.unwrap_err().to_string();
    assert!(said.contains("was moved to ticket XT-2") && said.contains(&done.new_id), "{said}");
    put(&one, "logs/show.txt", b"something new").await;
    assert_eq!(app.moving().artifact(old).await.unwrap().ticket, "XT-2");
    assert_eq!(app.moving().artifact(id_of(&app, "XT-1", "logs/show.txt").await).await.unwrap().ticket, "XT-1");

    let names = [("XT-2/logs/show.txt", &contents[4][..]), ("XT-1/stays", b"stays")];
    let promised: BTreeMap<_, _> = names.iter().map(|(name, bytes)| ((*name).to_owned(), digest(bytes))).collect();
    hold(&app, &promised, &[]).await;

    // An upload goes on with it, and it goes back.
    let append = WriteMode { append: true, ..WriteMode::default() };
    let mut upload = two.open_write(&path("logs/show.txt"), append).await.unwrap();
    write(&mut upload, 0, b"more").await;
    upload.close().await.unwrap();
    let wish = MoveWish { path: Some(path("back/again.txt")), ..wish() };
    let id = id_of(&app, "XT-2", "logs/show.txt").await;
    app.moving().move_artifact(id, &word("XT-1"), &wish).await.unwrap();
    let longer = [&contents[4][..], b"more"].concat();
    all_versions_are(&app, "XT-1", "back/again.txt", &[&contents[..], &[longer]].concat()).await;
    let found = app.moving().artifact(old).await.unwrap();
    assert_eq!((found.ticket.as_str(), found.moves.len(), found.version), ("XT-1", 2, 6));
    hold(&app, &BTreeMap::new(), &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_that_were_shredded_keep_their_numbers() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (one, two) = (customer(&app, "XT-1").await, customer(&app, "XT-2").await);
    let contents = file_with_a_past(&one, "f").await;
    for number in [3, 5] {
        app.retention().shred(&word("XT-1"), &path("f"), Some(number)).await.unwrap();
    }
    assert_eq!(moved(&app, "XT-1", "f", "XT-2").await.versions, 3);
    assert_eq!(get(&two, "f").await.unwrap(), contents[3]);
    put(&two, "f", b"the next one").await;
    assert_eq!(app.artifacts().list(&word("XT-2"), &PublicAddress::unknown()).await.unwrap()[0].version, 6);
    hold(&app, &BTreeMap::new(), &[]).await;
}

/// What a refusal must say, and a house in which it is due.
async fn refused(app: &App, id: ArtifactId, to: &str, wish: &MoveWish, with: &str) {
    let said = app.moving().move_artifact(id, &word(to), wish).await.unwrap_err().to_string();
    assert!(said.contains(with), "{with}: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_way_is_said_and_nothing_is_moved() {
    let fixture = Fixture::with(|settings| settings.share_bytes = 3_000_000);
    let app = fixture.open().await;
    let (one, two) = (customer(&app, "XT-1").await, customer(&app, "XT-2").await);
    for name in ["f", "taken"] {
        put(&one, name, &pattern(700_000, 3)).await;
    }
    put(&two, "taken", b"another").await;
    let id = id_of(&app, "XT-1", "f").await;
    let nobody = ArtifactId::from_bytes([7; 16]);
    refused(&app, nobody, "XT-2", &wish(), "nothing is known of an artifact").await;
    refused(&app, id, "XT-9", &wish(), "there is no ticket XT-9").await;
    refused(&app, id, "XT-1", &wish(), "already").await;
    refused(&app, id_of(&app, "XT-1", "taken").await, "XT-2", &wish(), "--as PATH").await;
    let below = MoveWish { path: Some(path("taken/f")), ..wish() };
    refused(&app, id, "XT-2", &below, "--as PATH").await;
    let aside = MoveWish { path: Some(path("from-support/f")), ..wish() };
    refused(&app, id, "XT-2", &aside, "stays on the customer's side").await;
    let virtually = MoveWish { path: Some(path(".versions/f")), ..wish() };
    refused(&app, id, "XT-2", &virtually, "the server's own").await;

    let mut upload = one.open_write(&path("f"), WriteMode { truncate: true, ..WriteMode::default() }).await.unwrap();
    write(&mut upload, 0, &pattern(200_000, 1)).await;
    drop(upload);
    until_no_upload(&app.0.access).await;
    refused(&app, id, "XT-2", &wish(), "under way or can be continued").await;
    put(&one, "f", b"whole").await;

    app.retention().hold(&word("XT-1"), None).await.unwrap();
    refused(&app, id, "XT-2", &wish(), "held").await;
    app.retention().release(&word("XT-1")).await.unwrap();
    app.tickets().set_status(&word("XT-2"), TicketStatus::Closed).await.unwrap();
    refused(&app, id, "XT-2", &wish(), "XT-2 is closed").await;
    app.tickets().set_status(&word("XT-2"), TicketStatus::Open).await.unwrap();

    // Another customer's eyes.
    app.tickets().add_organisation(word("OTHER"), "Other".to_owned(), None).await.unwrap();
    let new = NewTicket { organisation: word("OTHER"), ..new_ticket("XT-3") };
    app.tickets().open_ticket(new).await.unwrap();
    refused(&app, id, "XT-3", &wish(), "SHOWS FILES OF ONE CUSTOMER TO ANOTHER").await;
    put(&two, "much", &pattern(2_500_000, 1)).await;
    refused(&app, id, "XT-2", &wish(), "no room").await;
    hold(&app, &BTreeMap::from([("XT-1/f".to_owned(), digest(b"whole"))]), &[]).await;

    let wish = MoveWish { to_other_organisation: true, ..wish() };
    app.moving().move_artifact(id, &word("XT-3"), &wish).await.unwrap();
    hold(&app, &BTreeMap::from([("XT-3/f".to_owned(), digest(b"whole"))]), &[]).await;
}

/// A house as a crash at a point leaves it.
type Copies = Arc<Mutex<Vec<(&'static str, TempDir)>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_it_dies_the_file_is_in_one_ticket_and_whole() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let one = customer(&app, "XT-1").await;
    customer(&app, "XT-2").await;
    let contents = file_with_a_past(&one, "f").await;
    let copies = Copies::default();
    let (root, seen) = (app.data().root().to_owned(), Arc::clone(&copies));
    app.0.access.repo.failpoints.watch(move |point| {
        if point.starts_with("move.") {
            let house = tempfile::tempdir().unwrap();
            copy(&root, &house.path().join("data"));
            seen.lock().unwrap().push((point, house));
        }
    });
    moved(&app, "XT-1", "f", "XT-2").await;
    app.0.access.repo.failpoints.watch(|_| {});
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    let points: Vec<_> = copies.iter().map(|(point, _)| *point).collect();
    let there: Vec<_> =
        crate::repo::failpoints::NAMES.iter().copied().filter(|point| point.starts_with("move.")).collect();
    assert_eq!(points, there);
    for (point, house) in copies {
        let data = DataDirectory::at(house.path().join("data"));
        let copied = App::serve(data, fixture.settings.clone(), Handle::current(), Box::new(|| {})).await.unwrap();
        let (has, lacks) = if point == "move.after-commit" { ("XT-2", "XT-1") } else { ("XT-1", "XT-2") };
        let lines = copied.artifacts().list(&word(lacks), &PublicAddress::unknown()).await.unwrap();
        assert!(lines.is_empty(), "{point}: {lines:?}");
        hold(&copied, &BTreeMap::from([(format!("{has}/f"), digest(&contents[4]))]), &[]).await;
        // The same command again ends it, or says that it is done.
        let id = id_of(&copied, has, "f").await;
        let again = copied.moving().move_artifact(id, &word("XT-2"), &wish()).await;
        assert_eq!(again.is_ok(), point != "move.after-commit", "{point}");
        all_versions_are(&copied, "XT-2", "f", &contents).await;
        hold(&copied, &BTreeMap::new(), &[]).await;
        copied.close().await;
    }
}

/// The keys of the old place are gone from the records, and with the old ticket everything of it; the
/// file is read as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_ticket_can_be_shredded_and_takes_nothing_along() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let one = customer(&app, "XT-1").await;
    customer(&app, "XT-2").await;
    let contents = file_with_a_past(&one, "f").await;
    let done = moved(&app, "XT-1", "f", "XT-2").await;
    app.retention().shred_ticket(&word("XT-1")).await.unwrap();
    all_versions_are(&app, "XT-2", "f", &contents).await;
    let found = app.moving().artifact(done.id.parse().unwrap()).await.unwrap();
    assert_eq!(found.ticket, "XT-2", "the id of before is found as long as the file is");
    hold(&app, &BTreeMap::from([("XT-2/f".to_owned(), digest(&contents[4]))]), &[]).await;
    app.retention().shred_ticket(&word("XT-2")).await.unwrap();
    let said = app.moving().artifact(done.id.parse().unwrap()).await.unwrap_err().to_string();
    assert!(said.contains("nothing is known"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merged_ticket_is_empty_closed_and_points_to_the_other_one() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (one, two) = (customer(&app, "XT-1").await, customer(&app, "XT-2").await);
    let contents = file_with_a_past(&one, "f").await;
    put(&one, "taken", b"of one").await;
    put(&two, "taken", b"of two").await;
    let mut upload = one
        .open_write(&path("unfinished"), WriteMode { create: true, truncate: true, ..WriteMode::default() })
        .await
        .unwrap();
    write(&mut upload, 0, &pattern(200_000, 1)).await;
    drop(upload);
    until_no_upload(&app.0.access).await;

    // One that cannot go keeps none of the others, and the ticket stays open for it.
    let done = app.moving().merge(&word("XT-1"), &word("XT-2"), false).await.unwrap();
    assert_eq!((done.moved.len(), done.left.len(), done.closed), (2, 1, false), "{done:?}");
    assert!(done.left[0].why.contains("under way or can be continued"), "{done:?}");
    assert_eq!(app.moving().merged_into(&word("XT-1")).await.unwrap(), None);
    put(&one, "unfinished", b"whole").await;
    let done = app.moving().merge(&word("XT-1"), &word("XT-2"), false).await.unwrap();
    assert_eq!((done.moved.len(), done.left.len(), done.closed), (1, 0, true), "{done:?}");
    all_versions_are(&app, "XT-2", "f", &contents).await;
    assert_eq!(get(&two, "taken").await.unwrap(), b"of two");
    assert_eq!(get(&two, "merged-XT-1/taken").await.unwrap(), b"of one");
    assert_eq!(app.moving().merged_into(&word("XT-1")).await.unwrap().as_deref(), Some("XT-2"));
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    let login = app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap();
    let greeting = login.greeting().unwrap();
    assert!(greeting.ends_with("Die Dateien sind jetzt in Ticket XT-2."), "{greeting}");
    app.tickets().set_status(&word("XT-1"), TicketStatus::Open).await.unwrap();
    assert_eq!(app.moving().merged_into(&word("XT-1")).await.unwrap(), None, "an open ticket points nowhere");
    hold(&app, &BTreeMap::from([("XT-2/f".to_owned(), digest(&contents[4]))]), &[]).await;
    app.retention().shred_ticket(&word("XT-1")).await.unwrap();
}

/// A kill of a merge between two files, or at its end: the same command ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_that_was_killed_is_ended_by_the_same_command() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let one = customer(&app, "XT-1").await;
    customer(&app, "XT-2").await;
    let files = ["a", "b", "c"].map(|name| (format!("XT-2/{name}"), digest(name.as_bytes())));
    for name in ["a", "b", "c"] {
        put(&one, name, name.as_bytes()).await;
    }
    let copies = Copies::default();
    let (root, seen) = (app.data().root().to_owned(), Arc::clone(&copies));
    app.0.access.repo.failpoints.watch(move |point| {
        if ["move.after-commit", "merge.before-commit", "merge.after-commit"].contains(&point) {
            let house = tempfile::tempdir().unwrap();
            copy(&root, &house.path().join("data"));
            seen.lock().unwrap().push((point, house));
        }
    });
    app.moving().merge(&word("XT-1"), &word("XT-2"), false).await.unwrap();
    app.0.access.repo.failpoints.watch(|_| {});
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    assert_eq!(copies.len(), 5);
    for (point, house) in copies {
        let data = DataDirectory::at(house.path().join("data"));
        let copied = App::serve(data, fixture.settings.clone(), Handle::current(), Box::new(|| {})).await.unwrap();
        let again = copied.moving().merge(&word("XT-1"), &word("XT-2"), false).await;
        assert_eq!(again.is_ok(), point != "merge.after-commit", "{point}");
        assert_eq!(copied.moving().merged_into(&word("XT-1")).await.unwrap().as_deref(), Some("XT-2"), "{point}");
        hold(&copied, &BTreeMap::from(files.clone()), &[]).await;
        copied.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_opens_a_ticket_with_the_same_people() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let one = customer(&app, "XT-1").await;
    for name in ["stays", "goes", "goes/too"] {
        put(&one, &name.replace('/', "-"), name.as_bytes()).await;
    }
    let ids = [id_of(&app, "XT-1", "goes").await, id_of(&app, "XT-1", "goes-too").await];
    let (from, new) = (word("XT-1"), word("XT-2"));
    let nobody = ArtifactId::from_bytes([7; 16]);
    let said = app.moving().split(&from, &new.clone().into(), &[ids[0], nobody]).await.err().unwrap().to_string();
    assert!(said.contains("is no artifact of ticket XT-1"), "{said}");
    assert_eq!(app.tickets().list().await.unwrap().len(), 1, "nothing was done");
    let done = app.moving().split(&from, &new.clone().into(), &ids).await.unwrap();
    assert_eq!((done.moved.len(), done.left.len(), done.ticket.organisation.as_str()), (2, 0, "ACME"));
    let login = app.logins().by_token("XT-2", &done.token, FROM).await.unwrap().unwrap();
    assert_eq!(get(&app.session(&login), "goes-too").await.unwrap(), b"goes/too");
    assert_eq!(get(&one, "goes").await, Err(Refusal::NoSuchFile));
    let promised = [("XT-1/stays", "stays"), ("XT-2/goes", "goes")];
    let promised = promised.map(|(name, bytes)| (name.to_owned(), digest(bytes.as_bytes())));
    hold(&app, &BTreeMap::from(promised), &[]).await;
}
