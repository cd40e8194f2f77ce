//! Which bytes of a version somebody has read: READs come in any order, and some twice.

/// Stretches that are remembered; more are forgotten, and the version then does not count as read
/// in whole.
const MOST: usize = 1024;

/// The bytes that were read.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    /// Apart from each other, ascending.
    stretches: Vec<(u64, u64)>,
    /// All bytes that were given, those given twice counted twice.
    pub(crate) bytes: u64,
}

impl Coverage {
    /// `length` bytes from `start` on were read.
    pub(crate) fn add(&mut self, start: u64, length: u64) {
        self.bytes = self.bytes.saturating_add(length);
        let end = start.saturating_add(length);
        let first = self.stretches.partition_point(|(_, until)| *until < start);
        let behind = self.stretches.partition_point(|(from, _)| *from <= end);
        let touched = self.stretches.get(first..behind).unwrap_or_default();
        let joined = touched.iter().fold((start, end), |all, one| (all.0.min(one.0), all.1.max(one.1)));
        if first == behind && self.stretches.len() >= MOST {
            return;
        }
        self.stretches.splice(first..behind, [joined]);
    }

    /// Whether each of the first `size` bytes was read.
    pub(crate) fn is_whole(&self, size: u64) -> bool {
        size == 0 || self.stretches.first().is_some_and(|(start, end)| *start == 0 && *end >= size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_bounded() {
        let mut read = Coverage::default();
        for n in 0..5000 {
            read.add(2 * n, 1);
        }
        assert_eq!((read.stretches.len(), read.bytes), (MOST, 5000));
        read.add(0, 10_000);
        assert!(read.is_whole(10_000) && !read.is_whole(10_001));
    }

    proptest! {
        #[test]
        fn r67_what_was_read_is_what_a_vector_says(reads in prop::collection::vec((0u64..40, 1u64..15), 0..20)) {
            let (mut read, mut model) = (Coverage::default(), [false; 64]);
            for (start, length) in reads {
                read.add(start, length);
                model[start as usize..(start + length) as usize].fill(true);
                prop_assert!(read.stretches.windows(2).all(|pair| pair[0].1 < pair[1].0));
                for size in 0..60 {
                    prop_assert_eq!(read.is_whole(size as u64), model[..size].iter().all(|byte| *byte));
                }
            }
        }
    }
}
