//! By how much tests move the clock, in builds with the feature `test-clock`, which no release has.

use std::sync::atomic::{AtomicI64, Ordering};

static SHIFT: AtomicI64 = AtomicI64::new(0);

/// By how many milliseconds the clock goes ahead.
pub fn shift() -> i64 {
    SHIFT.load(Ordering::Relaxed)
}

/// Moves the clock.
pub fn set_shift(millis: i64) {
    SHIFT.store(millis, Ordering::Relaxed);
}
