//! How much of an unfinished file is missing. Lists and notices say the same of it, so both ask
//! here.

/// Of `length` bytes that are known to belong to a file `there` have come: the per cent that is
/// missing, 1 to 100.
///
/// It is rounded up and 99 at most as long as anything is there, so that a file that lacks a byte
/// never lacks 0 per cent, and one of which a byte is there never lacks 100. None if all that is
/// known is there: of a file that was only cut nobody knows how long it was to become.
pub fn missing_percent(there: u64, length: u64) -> Option<u8> {
    let missing = length.checked_sub(there).filter(|missing| *missing > 0)?;
    let percent = (u128::from(missing) * 100).div_ceil(u128::from(length));
    u8::try_from(percent.min(if there == 0 { 100 } else { 99 })).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_figures() {
        for (there, length, missing) in [
            (63, 100, Some(37)),
            (985, 1000, Some(2)),
            (999_999, 1_000_000, Some(1)),
            (1, 1_000_000, Some(99)),
            (0, 10, Some(100)),
            (u64::MAX - 1, u64::MAX, Some(1)),
            (1, u64::MAX, Some(99)),
            (0, u64::MAX, Some(100)),
            (10, 10, None),
            (11, 10, None),
            (0, 0, None),
        ] {
            assert_eq!(missing_percent(there, length), missing, "{there} of {length}");
        }
    }

    /// Lengths of all sizes, and how much of them is there: everything, nothing and what lies
    /// between.
    fn parts() -> impl Strategy<Value = (u64, u64)> {
        let length = prop_oneof![0u64..300, any::<u64>(), (0u32..64).prop_map(|bits| u64::MAX >> bits)];
        length.prop_flat_map(|length| {
            let there = prop_oneof![Just(0), Just(length), Just(length.saturating_sub(1)), 0..=length, any::<u64>()];
            (there, Just(length))
        })
    }

    proptest! {
        #[test]
        fn it_is_never_0_of_what_lacks_something_and_never_100_of_what_is_there((there, length) in parts()) {
            let missing = missing_percent(there, length);
            prop_assert_eq!(missing.is_none(), there >= length);
            if let Some(percent) = missing {
                prop_assert!((1..=100).contains(&percent));
                prop_assert_eq!(percent == 100, there == 0);
                // Off by less than one from the exact value, but where that would be 100.
                let (exact, said) = ((length - there) as f64 / length as f64 * 100.0, f64::from(percent));
                prop_assert!((said - exact).abs() <= 1.0 + 1e-9, "{said} for {exact}");
            }
        }

        #[test]
        fn whatever_comes_it_never_grows((there, length) in parts(), more in any::<u64>()) {
            let later = missing_percent(there.saturating_add(more), length);
            prop_assert!(later <= missing_percent(there, length));
        }
    }
}
