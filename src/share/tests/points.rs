//! A crash at every named point: what it leaves is legal, and comes right at the next start.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r20_every_named_point_is_passed() {
    let fixture = Fixture::new();
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
    shares.rotate_share(&word("XT-1"), |_, _| ()).await.unwrap();
    shares.rotate_kek(None, |_, _| ()).await.unwrap();
    let place = BackupPlace::at(&fixture.directory.path().join("backup"), None);
    shares.back_up(&place, false, |_| ()).await.unwrap();

    let all: BTreeSet<_> = crate::share::points::ALL.iter().copied().collect();
    assert_eq!(*passed.lock().unwrap(), all);
}
