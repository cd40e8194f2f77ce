//! What the tests need: children with a time limit, servers, clients, files.

pub(crate) mod child;
pub(crate) mod client;
pub(crate) mod customer;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod invariants;
pub(crate) mod mail;
pub(crate) mod numbers;
pub(crate) mod relay;
pub(crate) mod server;
pub(crate) mod sink;
pub(crate) mod sql;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long anything may take that is not a transfer: generous, as two cores run four tests at
/// once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Asks until `probe` gives something. Panics with `what` after [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, probe)
}

/// Asks until `probe` gives something. Panics with `what` after `limit`.
pub(crate) fn within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The repository.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The program to be proved: the one that was built with the tests, or another one that
/// TACDROP_TEST_BINARY names.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("TACDROP_TEST_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_tacdrop").into(), PathBuf::from)
}

/// Whether this machine lacks something (`root`, `fuse`) and whoever runs the tests has said so:
/// tests/run prints the list, and tests that need it do not run. Lacking without being said to be
/// lacks makes them fail.
pub(crate) fn cannot(what: &str) -> bool {
    let said = std::env::var("TACDROP_TEST_CANNOT").unwrap_or_default();
    said.split_whitespace().any(|word| word == what)
}

/// The Python that `tests/run` installed, with paramiko, asyncssh, cryptography and aiosmtpd.
pub(crate) fn python() -> PathBuf {
    let made = std::env::var_os("TACDROP_TEST_PYTHON").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-venv").join("bin").join("python3")
    });
    assert!(made.exists(), "{} is missing: run tests/run, which installs what the tests need", made.display());
    made
}

/// One of the Python scripts beside this file.
pub(crate) fn script(name: &str) -> PathBuf {
    repository().join("tests/it/support").join(name)
}
