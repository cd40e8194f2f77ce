//! What the tests need: children with a time limit, servers, clients, files.

pub(crate) mod child;
pub(crate) mod client;
pub(crate) mod files;
pub(crate) mod invariants;
pub(crate) mod mail;
pub(crate) mod server;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long anything may take that is not a transfer: generous, as two cores run four tests at once.
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
