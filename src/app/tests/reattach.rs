//! What no path reaches is found, and comes back.

use super::*;
use crate::model::{DirectoryId, FileName};
use crate::records::entries;

async fn id_of(session: &ShareSession, app: &App, names: &str) -> [u8; 16] {
    let share = session.access().repo.keys.share(share_of(app).await).await.unwrap();
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let path = path(names);
    let resolved =
        crate::namespace::tree::find(&app.0.access.repo, &mut conn, session.user(), share.share, path.names(), false)
            .await
            .unwrap();
    resolved.entry.unwrap().id
}

async fn share_of(app: &App) -> crate::model::ShareId {
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    crate::records::tickets::by_reference(&mut conn, "XT-1").await.unwrap().unwrap().share
}

/// Moves a directory as older versions did: whatever it is moved into.
async fn lay(app: &App, entry: [u8; 16], below: [u8; 16], name: &str) {
    let keys = app.0.access.repo.keys.share(share_of(app).await).await.unwrap();
    let place = keys.place(entry, DirectoryId::from_bytes(below), &FileName::new(name.as_bytes()).unwrap()).unwrap();
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    entries::move_to(tx.conn(), &entry, &place).await.unwrap();
    tx.commit().await.unwrap();
}

async fn unreached(app: &App) -> usize {
    let mut found = 0;
    app.integrity()
        .check(None, true, |_| {}, |finding| found += usize::from(finding.kind == "unreached"))
        .await
        .unwrap();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r74_what_was_moved_into_itself_or_lost_its_directory_comes_back() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    for directory in ["a", "a/b", "a/b/c", "gone", "gone/kept", "fine"] {
        session.make_directory(&path(directory)).await.unwrap();
    }
    for file in ["a/b/c/deep", "a/top", "gone/file", "gone/kept/inside", "fine/file"] {
        put(&session, file, file.as_bytes()).await;
    }
    assert_eq!(unreached(&app).await, 0);
    assert!(app.integrity().reattach(None, false).await.unwrap().is_empty());

    // A directory below its own grandchild, and one whose directory went out of sight.
    let (a, c, gone) =
        (id_of(&session, &app, "a").await, id_of(&session, &app, "a/b/c").await, id_of(&session, &app, "gone").await);
    lay(&app, a, c, "a").await;
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    sqlx::query("UPDATE entry SET withdrawn_at = 1 WHERE id = $1")
        .bind(gone.to_vec())
        .execute(tx.conn())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(session.attributes(&path("a")).await.err(), Some(Refusal::NoSuchFile));
    assert_eq!(unreached(&app).await, 5 + 3);
    // The lists show what they can.
    assert_eq!(app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap().len(), 1);

    let planned = app.integrity().reattach(Some(&word("XT-1")), true).await.unwrap();
    assert_eq!(unreached(&app).await, 5 + 3, "nothing was changed by asking");
    let done = app.integrity().reattach(Some(&word("XT-1")), false).await.unwrap();
    assert_eq!(planned, done);
    assert_eq!(done.iter().map(|it| it.below + 1).sum::<u64>(), 5 + 3);
    assert_eq!(unreached(&app).await, 0);
    let mut all = Vec::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        let mut listing = session.list(&path(&format!("/{directory}"))).await.unwrap();
        loop {
            let page = listing.next(100).await.unwrap();
            if page.is_empty() {
                break;
            }
            for entry in page {
                let there = format!("{directory}/{}", entry.name);
                match entry.attributes.kind {
                    PlaceKind::Directory => directories.push(there),
                    PlaceKind::File => all.push(String::from_utf8(get(&session, &there).await.unwrap()).unwrap()),
                }
            }
        }
    }
    all.sort();
    assert_eq!(all, ["a/b/c/deep", "a/top", "fine/file", "gone/file", "gone/kept/inside"]);
    assert!(app.integrity().reattach(None, false).await.unwrap().is_empty());
}
