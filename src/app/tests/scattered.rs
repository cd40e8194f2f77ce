//! What a file that comes in small pieces costs: rows and slices in proportion to its bytes,
//! whatever order it is sent in.

use std::time::Instant;

use super::*;
use crate::content::Content;
use crate::namespace::tree::{ResolvedPath, ShareContext};
use crate::records::{extents, versions};
use crate::repo::keys::ShareKeys;

/// How the pieces of a file follow each other.
#[derive(Debug, Clone, Copy)]
enum Order {
    Forwards,
    Backwards,
    /// By this seed.
    Random(u64),
    /// Every so many pieces, then those beside them.
    Interleaved(usize),
}

fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![
        1 => Just(Order::Forwards),
        2 => Just(Order::Backwards),
        3 => any::<u64>().prop_map(Order::Random),
        2 => (2usize..9).prop_map(Order::Interleaved),
    ]
}

/// A generator of numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most.max(1)
    }
}

/// Cuts `length` bytes into pieces of up to `most` bytes, in this order.
fn pieces(length: usize, most: usize, order: Order) -> Vec<(usize, usize)> {
    let (mut numbers, mut at, mut all) = (Numbers(length as u64), 0, Vec::new());
    while at < length {
        let part = (1 + numbers.below(most)).min(length - at);
        all.push((at, part));
        at += part;
    }
    match order {
        Order::Forwards => all,
        Order::Backwards => all.into_iter().rev().collect(),
        Order::Random(seed) => {
            let mut numbers = Numbers(seed);
            for at in (1..all.len()).rev() {
                all.swap(at, numbers.below(at + 1));
            }
            all
        }
        Order::Interleaved(step) => (0..step).flat_map(|from| all.iter().copied().skip(from).step_by(step)).collect(),
    }
}

/// A file's current version, and the keys of its share.
async fn current(session: &ShareSession, name: &str) -> (Arc<ShareKeys>, versions::VersionRow) {
    let mut conn = session.access().repo.records.read().await.unwrap();
    let ticket = crate::records::tickets::by_reference(&mut conn, "XT-1").await.unwrap().unwrap();
    let keys = session.access().repo.keys.share(ticket.share).await.unwrap();
    let context = ShareContext { ticket: word("XT-1"), keys: Arc::clone(&keys), aliases: false };
    let entry = ResolvedPath::find(&mut conn, context, path(name).names()).await.unwrap().entry.unwrap();
    (keys, versions::by_id(&mut conn, entry.current.unwrap().id).await.unwrap().unwrap())
}

/// The slices of a file's current version, and its extents in the manifest and in the records.
async fn slices_and_extents(session: &ShareSession, name: &str) -> (usize, usize, usize) {
    let (keys, version) = current(session, name).await;
    let (_, manifest, _) = Content::of_version(&session.access().repo, &keys, &version).await.unwrap();
    let mut conn = session.access().repo.records.read().await.unwrap();
    let rows = extents::of_version(&mut conn, version.id).await.unwrap().len();
    // A small file has its one extent in another row.
    let rows = rows + usize::from(version.small_file.is_some());
    (manifest.slices.len(), manifest.extents.len(), rows)
}

/// Extents that were ever written down, those that nobody needs any more included; objects that lie
/// in the records.
async fn ever(app: &App) -> u64 {
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let sql =
        "SELECT (SELECT COUNT(*) FROM extent) + (SELECT COUNT(*) FROM small_file) + (SELECT COUNT(*) FROM doomed) AS n";
    sqlx::Row::get::<i64, _>(&sqlx::query(sql).fetch_one(&mut *conn).await.unwrap(), "n") as u64
}

/// What a version of so many bytes may have: two for each 64 KiB, and 16.
fn most(length: usize) -> usize {
    16 + 2 * length.div_ceil(64 << 10)
}

const NEW: WriteMode = WriteMode { create: true, truncate: true, read: true, append: false, exclusive: false };

async fn cost(
    app: &App,
    session: &ShareSession,
    name: &str,
    (length, largest, order): (usize, usize, Order),
    sync_each: usize,
) -> Result<(), TestCaseError> {
    let (before, began) = (ever(app).await, Instant::now());
    let bytes = pattern(length, 3);
    let mut upload = session.open_write(&path(name), NEW).await.unwrap();
    let (mut sent, mut syncs) = (0, 0);
    for (number, (at, part)) in pieces(length, largest, order).into_iter().enumerate() {
        write(&mut upload, at as u64, &bytes[at..at + part]).await;
        sent += part;
        if number % sync_each == sync_each - 1 {
            syncs += 1;
            upload.sync().await.unwrap();
        }
    }
    upload.close().await.unwrap();
    prop_assert!(get(session, name).await.unwrap() == bytes, "content differs");
    let (slices, extents, rows) = slices_and_extents(session, name).await;
    prop_assert!(slices <= most(length), "{slices} slices of {length} bytes");
    prop_assert!(extents <= slices && rows == extents, "{extents} extents, {rows} rows");
    // A piece of 64 KiB has an extent of its own, and up to eight smaller ones do; each time that
    // it is made durable costs one for each run and one for what was gathered; so does each half
    // second that it lasts, however long that is here. What is compacted was there before.
    let times = syncs + 2 + began.elapsed().as_millis() as u64 / 500;
    let most = 2 * (8 + sent as u64 / (32 << 10) + 2 * times);
    let ever = ever(app).await - before;
    prop_assert!(ever <= most, "{ever} extents for {sent} bytes in pieces of up to {largest}, at most {most}");
    Ok(())
}

#[test]
fn r86_whatever_order_a_file_is_sent_in_its_rows_are_in_proportion_to_its_bytes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fixture = Fixture::new();
    let (app, session) = runtime.block_on(async {
        let app = fixture.open().await;
        let session = customer(&app, "XT-1").await;
        (app, session)
    });
    let count = std::cell::Cell::new(0);
    let sizes = prop_oneof![
        2 => (1usize..3_000, 1usize..4),
        2 => (1usize..300_000, 50usize..1000),
        2 => (1usize..2_000_000, 2_000usize..100_000),
    ];
    let syncs = prop_oneof![3 => Just(usize::MAX), 1 => 1usize..50];
    let config = ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |((length, largest) in sizes, order in orders(), sync_each in syncs)| {
        count.set(count.get() + 1);
        let name = format!("f{}", count.get());
        runtime.block_on(cost(&app, &session, &name, (length, largest, order), sync_each))?;
    });
    runtime.block_on(all_intact(&app));
}

/// A version of tens of thousands of slices was possible once: whoever changes a byte of such a
/// file gets a short map.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r86_a_file_that_is_changed_here_and_there_again_and_again_stays_short() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mut bytes = pattern(200_000, 1);
    put(&session, "f", &bytes).await;
    let mut numbers = Numbers(7);
    for round in 0..12_u8 {
        let mode = WriteMode { create: false, truncate: false, ..NEW };
        let mut upload = session.open_write(&path("f"), mode).await.unwrap();
        for _ in 0..40 {
            let at = numbers.below(bytes.len());
            bytes[at] = round;
            write(&mut upload, at as u64, &[round]).await;
        }
        upload.close().await.unwrap();
        let (slices, extents, rows) = slices_and_extents(&session, "f").await;
        assert!(slices <= most(bytes.len()) && extents <= slices && rows == extents, "{slices} {extents} {rows}");
        assert!(get(&session, "f").await.unwrap() == bytes, "round {round}");
    }
    all_intact(&app).await;
}

/// An upload that never ends and is made durable at each byte lets go of what it has compacted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_upload_under_way_has_compacted_is_let_go() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mut upload = session.open_write(&path("f"), NEW).await.unwrap();
    let bytes = pattern(2500, 9);
    for (at, byte) in bytes.iter().enumerate() {
        write(&mut upload, at as u64, &[*byte]).await;
        upload.sync().await.unwrap();
    }
    let used = {
        let mut conn = session.access().repo.records.read().await.unwrap();
        let sql = "SELECT COUNT(*) AS n FROM extent_use";
        sqlx::Row::get::<i64, _>(&sqlx::query(sql).fetch_one(&mut *conn).await.unwrap(), "n")
    };
    assert!(used <= 1200, "{used} extents are in use");
    let mut read = Vec::new();
    assert_eq!(upload.read(0, 5000, &mut read).await, Ok(2500));
    assert!(read == bytes, "read back differs");
    upload.close().await.unwrap();
    assert!(get(&session, "f").await.unwrap() == bytes);
    all_intact(&app).await;
}

/// What is written down of an upload at any moment can be continued: its map and its SHA-256 state
/// speak of the same bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r16_what_is_written_down_while_pieces_are_gathered_fits_its_hash() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mut upload = session.open_write(&path("f"), NEW).await.unwrap();
    // So long that what is behind the front is not hashed at once.
    let (mut numbers, mut bytes, mut looks) = (Numbers(5), pattern(9 << 20, 0), 0);
    write(&mut upload, 0, &bytes).await;
    for round in 1..4_u8 {
        // Here and there, the first byte first: the hash goes on from it. The others push it on to
        // the worker.
        for number in 0..20 {
            let at = if number == 0 { 0 } else { numbers.below(bytes.len()) };
            bytes[at] ^= 0xff;
            write(&mut upload, at as u64, &bytes[at..=at]).await;
        }
        // On at the end, while the extent before lands on the disk.
        let part = pattern(1_000_000, round);
        write(&mut upload, bytes.len() as u64, &part).await;
        bytes.extend(part);
        looks += u32::from(check_unfinished(&session).await);
    }
    assert!(looks > 0);
    upload.close().await.unwrap();
    assert!(get(&session, "f").await.unwrap() == bytes);
    all_intact(&app).await;
}

/// Checks what is written down of the one unfinished version. False if there is none yet.
async fn check_unfinished(session: &ShareSession) -> bool {
    let row = async || {
        let mut conn = session.access().repo.records.read().await.unwrap();
        let ticket = crate::records::tickets::by_reference(&mut conn, "XT-1").await.unwrap().unwrap();
        let row = versions::of_share(&mut conn, ticket.share).await.unwrap().pop();
        row.filter(|row| row.progress.is_some()).map(|row| (ticket.share, row))
    };
    loop {
        let Some((share, version)) = row().await else { return false };
        let outcome = crate::upload::check_unfinished(&session.access().repo, share, &version).await;
        let Err(error) = outcome else { return true };
        assert!(!error.to_string().contains("SHA-256"), "{error}");
        // It goes on meanwhile, and lets go of what it does not need any more.
        assert!(row().await.is_some_and(|(_, now)| now.progress != version.progress), "{error}");
    }
}

/// READ and fsync write nothing down where nothing has changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_back_what_was_written_down_writes_nothing() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let mut upload = session.open_write(&path("f"), NEW).await.unwrap();
    write(&mut upload, 0, &pattern(1000, 1)).await;
    let touched = async || {
        let mut conn = session.access().repo.records.read().await.unwrap();
        let sql = "SELECT progress FROM version";
        sqlx::Row::get::<Vec<u8>, _>(&sqlx::query(sql).fetch_one(&mut *conn).await.unwrap(), "progress")
    };
    let mut read = Vec::new();
    upload.read(0, 1000, &mut read).await.unwrap();
    let before = touched().await;
    for _ in 0..5 {
        upload.read(0, 1000, &mut read).await.unwrap();
        upload.sync().await.unwrap();
    }
    // Sealed with a fresh nonce each time, so the same bytes were written once.
    assert!(touched().await == before, "it was written down again");
    write(&mut upload, 1000, b"more").await;
    upload.sync().await.unwrap();
    assert!(touched().await != before);
    read.clear();
    upload.read(0, 2000, &mut read).await.unwrap();
    assert!(read == [&pattern(1000, 1)[..], b"more"].concat());
    upload.close().await.unwrap();
}

/// Readers of one version share what is known of it, and nothing is kept when they are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_share_a_versions_layout_as_long_as_one_of_them_has_it() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "f", &pattern(100_000, 1)).await;
    let (keys, row) = current(&session, "f").await;
    let one = Content::shared(&session.access().repo, &session.access().layouts, &keys, &row).await.unwrap();
    let other = Content::shared(&session.access().repo, &session.access().layouts, &keys, &row).await.unwrap();
    assert!(one.shares_with(&other));
    drop((one, other));
    assert_eq!(session.access().layouts.held(), 0);
    put(&session, "f", &pattern(100_000, 2)).await;
    let (old, (_, new)) = (
        Content::shared(&session.access().repo, &session.access().layouts, &keys, &row).await.unwrap(),
        current(&session, "f").await,
    );
    let new = Content::shared(&session.access().repo, &session.access().layouts, &keys, &new).await.unwrap();
    assert!(!old.shares_with(&new));
    let mut bytes = Vec::new();
    new.read(0, 100_000, &mut bytes).await.unwrap();
    assert!(bytes == pattern(100_000, 2));
}
