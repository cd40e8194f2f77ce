//! Random work, and a crash at every named point of it: each leaves a house that recovery makes
//! legal, twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::invariants::hold;
use super::recovery::{TRUNCATE, digest, done, found, until_no_upload};
use super::*;
use crate::integrity::recovery::{Recovered, recover};

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let (from, to) = {
            let item = item.unwrap();
            (item.path(), to.join(item.file_name()))
        };
        if from.is_dir() {
            copy(&from, &to);
        } else if !from.to_str().unwrap().ends_with("-shm") {
            // What an upload writes beside may be renamed meanwhile.
            match fs::copy(&from, &to) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => drop(other.unwrap()),
            }
        }
    }
}

/// What one session does to one name.
#[derive(Debug, Clone)]
enum Act {
    Put { name: u8, size: usize, seed: u8 },
    Append { name: u8, size: usize, seed: u8 },
    Cut { name: u8, size: usize, seed: u8 },
    Remove { name: u8 },
    Rename { from: u8, to: u8 },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let sized = || (0u8..3, 0usize..1_500_000, any::<u8>());
    let act = prop_oneof![
        3 => sized().prop_map(|(name, size, seed)| Act::Put { name, size, seed }),
        2 => sized().prop_map(|(name, size, seed)| Act::Append { name, size, seed }),
        2 => sized().prop_map(|(name, size, seed)| Act::Cut { name, size, seed }),
        1 => (0u8..3).prop_map(|name| Act::Remove { name }),
        1 => (0u8..3, 0u8..3).prop_map(|(from, to)| Act::Rename { from, to }),
    ];
    prop::collection::vec(act, 1..6)
}

/// What was promised so far, and the copies that were made of the house with what was promised
/// then.
#[derive(Default)]
struct Crashes {
    promised: BTreeMap<String, [u8; 32]>,
    copies: Vec<Crash>,
}

/// A house as a crash at a point would have left it, and what had been promised by then.
struct Crash {
    point: &'static str,
    house: TempDir,
    promised: BTreeMap<String, [u8; 32]>,
}

async fn act(session: &ShareSession, act: &Act, contents: &mut BTreeMap<u8, Vec<u8>>, crashes: &Mutex<Crashes>) {
    let name = |name: &u8| path(&format!("f{name}"));
    // From here on until it is acknowledged, nothing is promised of what it changes.
    let forget = |changed: &[u8]| {
        for name in changed {
            crashes.lock().unwrap().promised.remove(&format!("XT-1/f{name}"));
        }
    };
    match act {
        Act::Put { name: n, size, seed } => {
            let bytes = pattern(*size, *seed);
            put(session, &format!("f{n}"), &bytes).await;
            contents.insert(*n, bytes);
        }
        Act::Append { name: n, size, seed } => {
            // A version that was cut has no end that is known here.
            let Some(before) = contents.get_mut(n) else { return };
            let mode = WriteMode { append: true, ..WriteMode::default() };
            let Ok(mut upload) = session.open_write(&name(n), mode).await else { return };
            let more = pattern(*size + 1, *seed);
            write(&mut upload, 0, &more).await;
            upload.close().await.unwrap();
            before.extend(more);
        }
        Act::Cut { name: n, size, seed } => {
            let mut upload = session.open_write(&name(n), TRUNCATE).await.unwrap();
            write(&mut upload, 0, &pattern(*size, *seed)).await;
            upload.sync().await.unwrap();
            drop(upload);
            until_no_upload(session.access()).await;
            // Gone on with from its beginning.
            let bytes = pattern(*size + 1, *seed);
            let mut upload = session.open_write(&name(n), WriteMode::default()).await.unwrap();
            write(&mut upload, 0, &bytes).await;
            upload.close().await.unwrap();
            contents.insert(*n, bytes);
        }
        Act::Remove { name: n } => {
            forget(&[*n]);
            if session.remove_file(&name(n)).await.is_ok() {
                contents.remove(n);
            }
        }
        Act::Rename { from, to } => {
            forget(&[*from, *to]);
            if session.rename(&name(from), &name(to), true).await.is_ok() && from != to {
                let moved = contents.remove(from).unwrap();
                contents.insert(*to, moved);
            }
        }
    }
    let now = contents.iter().map(|(name, bytes)| (format!("XT-1/f{name}"), digest(bytes))).collect();
    crashes.lock().unwrap().promised = now;
}

async fn crash_at_every_point(acts: &[Act]) {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let crashes = Arc::new(Mutex::new(Crashes::default()));
    let (root, seen) = (app.data().root().to_owned(), Arc::clone(&crashes));
    app.0.access.repo.failpoints.watch(move |point| {
        let house = tempfile::tempdir().unwrap();
        copy(&root, &house.path().join("data"));
        let mut crashes = seen.lock().unwrap();
        let promised = crashes.promised.clone();
        crashes.copies.push(Crash { point, house, promised });
    });
    let mut contents = BTreeMap::new();
    for one in acts {
        act(&session, one, &mut contents, &crashes).await;
    }
    let copies = std::mem::take(&mut crashes.lock().unwrap().copies);
    for Crash { point, house, promised } in copies {
        let data = DataDirectory::at(house.path().join("data"));
        let copied = App::serve(data, fixture.settings.clone(), Handle::current(), Box::new(|| {})).await.unwrap();
        let problems = found(&copied, false).await.0;
        assert_eq!(problems, Vec::<&str>::new(), "{point}");
        assert_eq!(
            done(recover(&copied.0.access.repo).await.unwrap()),
            Recovered::default(),
            "{point}: recovered again"
        );
        hold(&copied, &promised, &[]).await;
        copied.close().await;
    }
    let promised = crashes.lock().unwrap().promised.clone();
    hold(&app, &promised, &[]).await;
}

#[test]
fn r20_a_crash_at_any_point_is_recovered_from_twice() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    proptest!(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() }, |(acts in acts())| {
        runtime.block_on(crash_at_every_point(&acts));
    });
}
