//! What a worker does with jobs that come in an order that no session can be made to give them.

use super::*;
use crate::namespace::tree::{ResolvedPath, ShareContext};
use crate::records::{tickets, versions};
use crate::upload::{ByHand, Opener, check_unfinished};

/// The worker of a new file.
async fn worker(session: &ShareSession, name: &str) -> ByHand {
    let house = session.access();
    let mut conn = house.repo.records.read().await.unwrap();
    let ticket = tickets::by_reference(&mut conn, "XT-1").await.unwrap().unwrap();
    let keys = house.repo.keys.share(ticket.share).await.unwrap();
    let context = ShareContext { ticket: ticket.reference, keys, aliases: false };
    let resolved = ResolvedPath::find(&mut conn, context, path(name).names()).await.unwrap();
    drop(conn);
    let opener = Opener { login: session.login(), session: session.id(), told: &|_| None };
    ByHand::begin(&house.uploads, &opener, &resolved).await
}

/// The hash goes on from a byte that was gathered. What is written down then, for whatever reason,
/// must have that byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r16_progress_that_is_written_down_while_pieces_are_gathered_fits_its_hash() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mut worker = worker(&session, "f").await;
    let mut bytes = pattern(100_000, 1);
    worker.data(1, 0, &bytes).await;
    worker.checkpoint().await;
    // The first ones become extents of their own; of those behind them the last is the first byte
    // of the file.
    for (run, at) in (2..).zip((0..20).rev().map(|number| number * 1000)) {
        bytes[at] ^= 0xff;
        worker.data(run, at as u64, &bytes[at..=at]).await;
    }
    assert_eq!(worker.front(), 1);
    worker.write_progress().await;

    let version = {
        let mut conn = session.access().repo.records.read().await.unwrap();
        versions::by_id(&mut conn, worker.version()).await.unwrap().unwrap()
    };
    check_unfinished(&session.access().repo, worker.share(), &version).await.unwrap();
    worker.close().await.unwrap();
    assert!(get(&session, "f").await.unwrap() == bytes);
}

/// A new file that is written over before it has a row: two tries do not fit beside each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r86_what_a_new_file_has_written_over_goes_where_there_is_no_room_for_both() {
    let fixture = Fixture::with(|settings| (settings.share_bytes, settings.inline_bytes) = (150_000, 4096));
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mut worker = worker(&session, "f").await;
    let mut syncing = Vec::new();
    for seed in 0..4 {
        worker.data(seed, 0, &pattern(100_000, seed as u8)).await;
        // As if none of them had landed before the last one has come.
        syncing.append(&mut worker.take_syncing());
    }
    worker.set_syncing(syncing);
    worker.close().await.unwrap();
    assert!(get(&session, "f").await.unwrap() == pattern(100_000, 3));
}
