//! A crash at every named point: what it leaves is legal, and comes right at the next start.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r20_every_named_point_is_passed() {
    let mut fixture = Fixture::new();
    fixture.settings.quarantine = Duration::ZERO;
    let shares = fixture.open().await;
    let view = customer(&shares, "XT-1").await;
    let passed = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&passed);
    shares.0.points.watch(move |name| {
        seen.lock().unwrap().insert(name);
    });

    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = view.open_write(&path("f"), mode).await.unwrap();
    write(&mut upload, 0, &pattern(3_000_000, 1)).await;
    upload.sync().await.unwrap();
    upload.close().await.unwrap();

    // A recovery with something to do, and a sweep with something to remove.
    for byte in 1..3 {
        shares.0.store.put(crate::model::ObjectId::from_bytes([byte; 16]), b"unknown").unwrap();
    }
    view.open_write(&path("g"), mode).await.unwrap().sync().await.unwrap();
    while shares.open_uploads() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut tx = shares.0.records.begin().await.unwrap();
    let unheld = "UPDATE entry SET receiving_version = NULL WHERE receiving_version IS NOT NULL";
    assert_eq!(crate::records::survey::tests_only::execute(tx.conn(), unheld).await.unwrap(), 1);
    tx.commit().await.unwrap();
    for _ in 0..2 {
        crate::share::recovery::recover(&shares.0).await.unwrap();
    }
    assert_eq!(shares.sweep("server").await.unwrap(), Swept { objects: 2, bytes: 14, strays: 2 });

    let all: BTreeSet<_> = crate::share::points::ALL.iter().copied().collect();
    assert_eq!(*passed.lock().unwrap(), all);
}
