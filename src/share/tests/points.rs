//! A crash at every named point: what it leaves is legal, and comes right at the next start.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::*;
use crate::notify::outbox::{Channel, Outbox};

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

    put(&view, "f.sha256", b"gibberish").await;
    view.rename(&path("f"), &path("g"), false).await.unwrap();
    view.rename(&path("g"), &path("f"), false).await.unwrap();
    shares.check_all_sidecars().await.unwrap();
    let (queue, later) = (NoticeQueue(shares.clone()), crate::model::Time::now().plus(Duration::from_secs(100)));
    for notice in queue.due(later, 10).await.unwrap() {
        queue.delivered(notice.id, later, Channel::Spool).await.unwrap();
    }

    let all: BTreeSet<_> = crate::share::points::ALL.iter().copied().collect();
    assert_eq!(*passed.lock().unwrap(), all);
}
