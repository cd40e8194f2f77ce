//! A data directory of before manifests said how a version came (`tests/data/golden-house-v1`): it
//! is read as it is, brought up to date, and both may be cut anywhere.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::vault::Level;

const OLDEST: &str = "golden-house-v1";

#[derive(Deserialize)]
pub(super) struct Expected {
    pub(super) tokens: BTreeMap<String, String>,
    /// SHA-256 by ticket and path.
    files: BTreeMap<String, BTreeMap<String, String>>,
    /// The receipt of `small` of the first ticket, as the tacdrop of then signed it.
    pub(super) receipt: String,
}

fn golden(house: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(house)
}

pub(super) fn expected(house: &str) -> Expected {
    serde_json::from_slice(&std::fs::read(golden(house).join("expected.json")).unwrap()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if entry.is_dir() {
            copy(&entry, &to.join(name));
        } else if std::fs::copy(&entry, to.join(&name)).is_ok() && name == "kek" {
            std::fs::set_permissions(to.join(name), std::fs::Permissions::from_mode(0o400)).unwrap();
        }
    }
}

async fn open(data: &Path) -> App {
    let settings = Settings { extent_bytes: 1 << 20, ..Settings::default() };
    App::serve(DataDirectory::at(data), settings, Handle::current(), Box::new(|| {})).await.unwrap()
}

/// A data directory of before, copied to a place and opened.
pub(super) async fn house_of_before(house: &str, place: &Path) -> App {
    copy(&golden(house), place);
    open(place).await
}

/// The oldest one.
pub(super) async fn older(place: &Path) -> App {
    house_of_before(OLDEST, place).await
}

/// Every ticket's token opens it, and every file is what it was.
pub(super) async fn is_as_expected(app: &App, expected: &Expected) {
    for (ticket, files) in &expected.files {
        let token = &expected.tokens[ticket];
        let login = app.logins().by_token(ticket, token, FROM).await.unwrap().unwrap();
        let session = app.session(&login);
        for (name, digest) in files.iter().filter(|_| !ticket.starts_with("DEV")) {
            let read = get(&session, name).await.unwrap();
            assert_eq!(hex::encode(Sha256::digest(&read)), *digest, "{ticket} {name}");
        }
    }
}

pub(super) async fn receipt(app: &App) -> String {
    let address = app.public_address().await.unwrap().unwrap();
    app.access().receipt(&word("XT-1"), &path("small"), &address).await.unwrap().text
}

pub(super) async fn reseal(app: &App) -> Resealed {
    app.integrity().reseal(&CancellationToken::new(), |_, _| ()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r08_an_older_data_directory_is_read_and_sealed_again() {
    let (directory, expected) = (tempfile::tempdir().unwrap(), expected(OLDEST));
    let data = directory.path().join("data");
    let app = older(&data).await;
    is_as_expected(&app, &expected).await;
    assert!(app.integrity().is_kek_of_before_proofs().await.unwrap());
    let fresh = Fixture::new();
    assert!(!fresh.open().await.integrity().is_kek_of_before_proofs().await.unwrap());
    assert_eq!(receipt(&app).await, expected.receipt, "the same bytes as before");

    let waiting = app.integrity().to_reseal().await.unwrap();
    assert_eq!((waiting, reseal(&app).await), (42, Resealed { versions: 42, left: 0 }));
    assert_eq!((app.integrity().to_reseal().await.unwrap(), reseal(&app).await), (0, Resealed::default()));
    is_as_expected(&app, &expected).await;
    let fresh = receipt(&app).await;
    let lines = |text: &str| text.lines().skip(1).take(9).map(ToOwned::to_owned).collect::<Vec<_>>();
    assert!(fresh.starts_with("tacdrop receipt 3\n") && fresh.contains("\nTransport: modern\nVersion-Id: "), "{fresh}");
    assert_eq!(lines(&fresh), lines(&expected.receipt), "what it stated it states still");
    all_intact(&app).await;
    app.close().await;
    drop(app);
    let app = open(&data).await;
    is_as_expected(&app, &expected).await;
    assert_eq!(receipt(&app).await, fresh);
    assert_eq!(app.audit().verify(None).await.unwrap().fault, None);
    app.close().await;
}

/// As by `kill -9` at every point that it passes: two dozen of them, of which each goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r20_sealing_again_may_be_cut_anywhere() {
    let (directory, expected) = (tempfile::tempdir().unwrap(), expected(OLDEST));
    let data = directory.path().join("data");
    let app = older(&data).await;
    let cut = Arc::new(Mutex::new(Vec::new()));
    let (places, from, root) = (Arc::clone(&cut), data.clone(), directory.path().to_owned());
    app.0.access.repo.failpoints.watch(move |name| {
        let mut places = places.lock().unwrap();
        let place = root.join(format!("{}-{name}", places.len()));
        copy(&from, &place);
        places.push(place);
    });
    assert_eq!(reseal(&app).await.versions, 42);
    app.0.access.repo.failpoints.watch(|_| ());
    let cut = std::mem::take(&mut *cut.lock().unwrap());
    assert!(cut.len() >= 20, "{cut:?}");
    for place in cut {
        let app = open(&place).await;
        is_as_expected(&app, &expected).await;
        let left = app.integrity().to_reseal().await.unwrap();
        assert_eq!(reseal(&app).await, Resealed { versions: left, left: 0 }, "{place:?}");
        is_as_expected(&app, &expected).await;
        all_intact(&app).await;
        app.close().await;
        std::fs::remove_dir_all(place).unwrap();
    }
    app.close().await;
}

/// What the trail does not tell of is not vouched for: the manifest stays as it is, and everything
/// can be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_the_trail_contradicts_is_left() {
    let (directory, expected) = (tempfile::tempdir().unwrap(), expected(OLDEST));
    let data = directory.path().join("data");
    let app = older(&data).await;
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    let changed = "UPDATE version SET transport = 'legacy' WHERE length = 70000";
    assert_eq!(tacdrop_probe::execute(tx.conn(), changed).await.unwrap(), 3);
    tx.commit().await.unwrap();
    assert_eq!(reseal(&app).await, Resealed { versions: 39, left: 3 });
    assert_eq!(reseal(&app).await, Resealed { versions: 0, left: 3 });
    is_as_expected(&app, &expected).await;
    app.close().await;
}

/// Rows of then and a manifest of then say nothing of sender, transport and zeros: once all are
/// sealed again, one that is put back is damage, and sealing again does not take it up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r05_a_manifest_of_the_older_form_that_is_put_back_does_not_open() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let app = older(&data).await;
    let records = &app.0.access.repo.records;
    let mut tx = records.begin().await.unwrap();
    let kept = "CREATE TABLE kept AS SELECT id, manifest_id, manifest_hash FROM version WHERE manifest_id IS NOT NULL";
    tacdrop_probe::execute(tx.conn(), kept).await.unwrap();
    let objects = "CREATE TABLE kept_object AS SELECT id, bytes FROM object";
    tacdrop_probe::execute(tx.conn(), objects).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(app.0.access.repo.keys.level(), Level::Desk);
    assert_eq!(reseal(&app).await, Resealed { versions: 42, left: 0 });
    assert_eq!(app.0.access.repo.keys.level(), Level::Resealed);
    all_intact(&app).await;

    let mut tx = records.begin().await.unwrap();
    let back = "UPDATE version SET trail_seq = NULL, \
                manifest_id = (SELECT manifest_id FROM kept WHERE kept.id = version.id), \
                manifest_hash = (SELECT manifest_hash FROM kept WHERE kept.id = version.id) \
                WHERE length = 70000 AND manifest_id IS NOT NULL";
    assert_eq!(tacdrop_probe::execute(tx.conn(), back).await.unwrap(), 3);
    let objects = "INSERT INTO object (id, bytes) SELECT id, bytes FROM kept_object WHERE true ON CONFLICT DO NOTHING";
    tacdrop_probe::execute(tx.conn(), objects).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(reseal(&app).await, Resealed::default());
    let verified = app.integrity().verify_readable(|_| ()).await.unwrap();
    let bad: Vec<_> = verified.iter().filter(|line| !line.intact).collect();
    assert_eq!(bad.len(), 3, "{bad:?}");
    assert!(bad.iter().all(|line| format!("{line:?}").contains("given up")), "{bad:?}");
    app.close().await;
}
