//! Reads of every pattern against the bytes that were sent, with and without memory for reading
//! ahead.

use std::path::PathBuf;

use super::*;

/// Some reads in a row, then one somewhere else: (offset, length) pairs for a file of `size` bytes.
fn reads(size: usize, seed: u64) -> Vec<(u64, usize)> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut found = Vec::new();
    for _ in 0..12 {
        let (mut at, length) = (next(size), 1 + next(300_000));
        for _ in 0..next(8) {
            found.push((at as u64, length));
            at += length;
        }
    }
    found
}

async fn compare(download: &Download, bytes: &[u8], offset: u64, length: usize) {
    let mut got = vec![1, 2, 3];
    let read = download.read(offset, length, &mut got).await.unwrap();
    let from = (offset as usize).min(bytes.len());
    assert_eq!(read, length.min(bytes.len() - from), "{offset} {length}");
    assert!(got[..3] == [1, 2, 3] && got[3..] == bytes[from..from + read], "{offset} {length}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r16_reads_in_any_order_and_at_once_give_the_bytes_that_were_sent() {
    for read_ahead in [0, 300 << 10, 64 << 20] {
        let mut fixture = Fixture::new();
        fixture.settings.read_ahead = read_ahead;
        let app = fixture.open().await;
        let session = customer(&app, "XT-1").await;
        let bytes = pattern(3_500_000, 9);
        // Not all of it in one go, so that extents and blocks lie askew.
        let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
        let mut upload = session.open_write(&path("f"), mode).await.unwrap();
        write(&mut upload, 0, &bytes[..1_000_000]).await;
        write(&mut upload, 1_700_000, &bytes[1_700_000..]).await;
        write(&mut upload, 1_000_000, &bytes[1_000_000..1_700_000]).await;
        write(&mut upload, 400_000, &bytes[400_000..400_100]).await;
        upload.close().await.unwrap();

        let download = session.open_read(&path("f")).await.unwrap();
        for seed in 0..20 {
            for (offset, length) in reads(bytes.len(), seed) {
                compare(&download, &bytes, offset, length).await;
            }
        }
        // As a client does that asks for many at once.
        let all = (0..bytes.len() as u64).step_by(32_768);
        let tasks: Vec<_> = all
            .map(|offset| {
                let (download, bytes) = (download.clone(), bytes.clone());
                tokio::spawn(async move { compare(&download, &bytes, offset, 32_768).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        drop(download);
        assert_eq!(app.load().read_ahead.0, 0, "every block was given back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_damage_takes_away_its_own_segment_and_nothing_beside_it() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let bytes = pattern(1_000_000, 4);
    put(&session, "f", &bytes).await;
    let largest = walk(&app.data().objects()).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut sealed = std::fs::read(&largest).unwrap();
    // In the third segment of the first block.
    let at = 138 + 2 * 65_568 + 500;
    sealed[at] ^= 1;
    let mut permissions = largest.metadata().unwrap().permissions();
    #[allow(clippy::permissions_set_readonly_false)]
    permissions.set_readonly(false);
    std::fs::set_permissions(&largest, permissions).unwrap();
    std::fs::write(&largest, sealed).unwrap();

    let download = session.open_read(&path("f")).await.unwrap();
    for (segment, good) in [(0u64, true), (1, true), (2, false), (3, true), (4, true), (5, true)] {
        let mut got = Vec::new();
        let outcome = download.read(segment * 65_536, 65_536, &mut got).await;
        if good {
            let from = segment as usize * 65_536;
            assert_eq!((outcome, &got[..]), (Ok(65_536), &bytes[from..from + 65_536]), "{segment}");
        } else {
            assert_eq!((outcome, got.len()), (Err(Refusal::Damaged), 0), "{segment}");
        }
    }
}

fn walk(directory: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
