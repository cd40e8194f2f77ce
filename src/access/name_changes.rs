//! How many names a login may make, move and remove. Each change of a name is a row of the audit
//! trail, which stays for ever and counts in no quota: whoever makes a directory and removes it all
//! day would fill the disk.
//!
//! A login has an allowance that fills up evenly over a day. A change takes one, and what failed
//! gives it back. An upload that is published gives one, too: many clients send under a temporary
//! name and rename it. Every door passes here, since every door changes names through a
//! `ShareSession`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::model::{Identifier, Locked, LockedGuard, Refusal};

/// The time in which an empty allowance is full again.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Logins whose allowances are remembered. Of those beyond, the fullest is forgotten, which makes
/// it full.
const MOST_LOGINS: usize = 10_000;

/// What a login has left, at a moment.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    /// Changes, with the part of one that has come since.
    left: f64,
    at: Duration,
}

/// The allowances of logins that are not full. Empty after a start: a restart gives everybody a
/// full one.
#[derive(Debug)]
pub(crate) struct NameChanges {
    /// A full allowance.
    most: u64,
    began: Instant,
    logins: Locked<HashMap<Identifier, Allowance>>,
}

/// A change of a name that was allowed. Dropped without [`Change::done`], it is given back.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    of: Option<(&'a NameChanges, &'a Identifier)>,
}

impl NameChanges {
    /// `most` changes at once, and as many a day.
    pub(crate) fn of(most: u64) -> Self {
        Self { most, began: Instant::now(), logins: Locked::default() }
    }

    /// Takes one change of a login's allowance.
    ///
    /// # Errors
    /// [`Refusal::TooManyChanges`] if nothing is left.
    pub(crate) fn take<'a>(&'a self, login: &'a Identifier) -> Result<Change<'a>, Refusal> {
        if self.take_at(login, self.began.elapsed()) {
            Ok(Change { of: Some((self, login)) })
        } else {
            Err(Refusal::TooManyChanges)
        }
    }

    /// Gives one change back.
    pub(crate) fn give(&self, login: &Identifier) {
        if let Some(allowance) = self.logins().get_mut(login) {
            allowance.left = (allowance.left + 1.0).min(self.full());
        }
    }

    fn take_at(&self, login: &Identifier, now: Duration) -> bool {
        let mut logins = self.logins();
        let left = logins.get(login).map_or(self.full(), |allowance| self.left(*allowance, now));
        if left < 1.0 {
            return false;
        }
        if logins.len() >= MOST_LOGINS && !logins.contains_key(login) {
            logins.retain(|_, allowance| self.left(*allowance, now) < self.full());
            if logins.len() >= MOST_LOGINS {
                let fullest =
                    logins.iter().max_by(|(_, a), (_, b)| self.left(**a, now).total_cmp(&self.left(**b, now)));
                if let Some(fullest) = fullest.map(|(login, _)| login.clone()) {
                    logins.remove(&fullest);
                }
            }
        }
        logins.insert(login.clone(), Allowance { left: left - 1.0, at: now });
        true
    }

    fn left(&self, allowance: Allowance, now: Duration) -> f64 {
        let since = now.saturating_sub(allowance.at).as_secs_f64();
        (allowance.left + since * self.full() / DAY.as_secs_f64()).min(self.full())
    }

    /// Small enough to be exact.
    #[expect(clippy::cast_precision_loss, reason = "the setting has a bound far below 2^52")]
    fn full(&self) -> f64 {
        self.most as f64
    }

    fn logins(&self) -> LockedGuard<'_, HashMap<Identifier, Allowance>> {
        self.logins.lock()
    }
}

impl Change<'_> {
    /// The name has changed.
    pub(crate) fn done(mut self) {
        self.of = None;
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if let Some((changes, login)) = self.of {
            changes.give(login);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word(text: &str) -> Identifier {
        text.parse().unwrap()
    }

    #[test]
    fn what_failed_is_given_back_and_what_was_done_is_not() {
        let (changes, login) = (NameChanges::of(2), word("XT-1"));
        for _ in 0..10 {
            drop(changes.take(&login).unwrap());
        }
        changes.take(&login).unwrap().done();
        changes.take(&login).unwrap().done();
        assert_eq!(changes.take(&login).unwrap_err(), Refusal::TooManyChanges);
        assert!(changes.take(&word("XT-2")).is_ok(), "another login has its own");
        changes.give(&login);
        changes.take(&login).unwrap().done();
        assert!(changes.take(&login).is_err());
    }

    #[test]
    fn logins_that_are_remembered_have_a_bound_and_the_one_with_the_least_is_not_forgotten() {
        let changes = NameChanges::of(5);
        for _ in 0..5 {
            assert!(changes.take_at(&word("greedy"), Duration::ZERO));
        }
        for number in 0..MOST_LOGINS + 50 {
            assert!(changes.take_at(&word(&format!("XT-{number}")), Duration::ZERO));
        }
        assert_eq!(changes.logins().len(), MOST_LOGINS);
        assert!(!changes.take_at(&word("greedy"), Duration::ZERO));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever logins do and when: in any stretch of time nobody makes more changes than the
        /// allowance and what comes to it meanwhile, and who makes fewer than come is never
        /// refused.
        #[test]
        fn no_stretch_of_time_has_more_changes_than_its_length_allows(
            acts in prop::collection::vec((0u64..20_000, 0usize..3), 1..200),
            most in 1u64..40,
        ) {
            let changes = NameChanges::of(most);
            let names = ["XT-1", "XT-2", "XT-3"].map(word);
            let mut done: [Vec<u64>; 3] = Default::default();
            let mut now = 0;
            for (pause, who) in acts {
                now += pause;
                let took = changes.take_at(&names[who], Duration::from_secs(now));
                let since_last = done[who].last().map_or(u64::MAX, |last| now - last);
                prop_assert!(took || since_last < DAY.as_secs() / most + 1, "{since_last} s after the one before");
                if took {
                    done[who].push(now);
                }
            }
            for times in done {
                for (first, from) in times.iter().enumerate() {
                    for (last, to) in times.iter().enumerate().skip(first) {
                        let allowed = most + (to - from) * most / DAY.as_secs() + 1;
                        prop_assert!((last - first + 1) as u64 <= allowed);
                    }
                }
            }
        }
    }
}
