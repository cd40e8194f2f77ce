//! A clock that tests move, in builds with the feature `test-clock`, which no release has: the file
//! that `TACDROP_TEST_CLOCK` names holds by how many seconds this process's clock goes ahead. It is
//! read once a second.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the file is read.
const EVERY: Duration = Duration::from_secs(1);

static SHIFT: LazyLock<Mutex<Option<(Instant, i64)>>> = LazyLock::new(Mutex::default);

/// By how many milliseconds the clock goes ahead; 0 without a file, and where it holds no number.
pub fn shift() -> i64 {
    let mut last = SHIFT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, shift)) = *last
        && at.elapsed() < EVERY
    {
        return shift;
    }
    let text = std::env::var_os("TACDROP_TEST_CLOCK").and_then(|file| std::fs::read_to_string(file).ok());
    let seconds = text.and_then(|text| text.trim().parse::<i64>().ok()).unwrap_or(0);
    let shift = seconds.saturating_mul(1000);
    *last = Some((Instant::now(), shift));
    shift
}
