//! A clock that tests move, in builds with the feature `test-clock`, which no release has: the file
//! that `TACDROP_TEST_CLOCK` names holds by how many seconds this process's clock goes ahead.

use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use crate::model::test_clock::set_shift;

/// How often the file is read.
const EVERY: Duration = Duration::from_secs(1);

/// Reads the file, and again once a second for as long as the process lives.
pub(crate) fn follow() {
    static FOLLOWS: Once = Once::new();
    let Some(file) = std::env::var_os("TACDROP_TEST_CLOCK").map(PathBuf::from) else { return };
    FOLLOWS.call_once(|| {
        let read = move || {
            let text = std::fs::read_to_string(&file).ok();
            if let Some(seconds) = text.and_then(|text| text.trim().parse::<i64>().ok()) {
                set_shift(seconds.saturating_mul(1000));
            }
        };
        read();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(EVERY);
                read();
            }
        });
    });
}
