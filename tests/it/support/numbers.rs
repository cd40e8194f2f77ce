//! Random numbers that can be repeated, and what is asked of a test that runs on demand.

use std::time::SystemTime;

/// splitmix64.
pub(crate) struct Numbers {
    seed: u64,
    state: u64,
}

impl Numbers {
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// Others each time, unless TACDROP_TEST_SEED says which.
    pub(crate) fn from_clock() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        Self::seeded(ask("SEED", now as u64))
    }

    /// What repeats them.
    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// One of 0 to `end` - 1.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The number in TACDROP_TEST_`name`.
pub(crate) fn ask(name: &str, default: u64) -> u64 {
    let name = format!("TACDROP_TEST_{name}");
    std::env::var(&name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
