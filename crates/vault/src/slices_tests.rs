//! The map against a plain vector of bytes, each knowing where it came from.

use proptest::prelude::*;

use super::*;

fn extent(number: u8) -> ObjectId {
    ObjectId::from_bytes([number; 16])
}

fn slice(offset: u64, length: u64, number: u8, within: u64) -> Slice {
    Slice { offset, length, extent: extent(number), within }
}

/// Each byte of the file: the extent and the place in it, or a hole.
type Model = Vec<Option<(ObjectId, u64)>>;

#[derive(Debug, Clone)]
enum Step {
    Lay(Slice),
    Truncate(u64),
}

fn step() -> impl Strategy<Value = Step> {
    // Few extents and places, so that neighbours often continue each other.
    let lay = (0..120_u64, 0..40_u64, 0..3_u8, 0..4_u64)
        .prop_map(|(offset, length, number, shift)| Step::Lay(slice(offset, length, number, offset + shift / 3)));
    prop_oneof![8 => lay, 1 => (0..130_u64).prop_map(Step::Truncate)]
}

fn apply(map: &mut SliceMap, model: &mut Model, step: &Step) {
    match step {
        Step::Lay(slice) => {
            map.lay(*slice);
            for at in 0..slice.length {
                let place = (slice.offset + at) as usize;
                model.resize(model.len().max(place + 1), None);
                model[place] = Some((slice.extent, slice.within + at));
            }
        }
        Step::Truncate(length) => {
            map.truncate(*length);
            model.truncate(*length as usize);
            while model.last() == Some(&None) {
                model.pop();
            }
        }
    }
}

/// The pieces of a range as the model has them, byte by byte.
fn flatten(pieces: &[Piece]) -> Model {
    let mut bytes = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Data(slice) => bytes.extend((0..slice.length).map(|at| Some((slice.extent, slice.within + at)))),
            Piece::Hole { length, .. } => bytes.extend((0..*length).map(|_| None)),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn r16_a_map_says_what_was_written_last(
        steps in prop::collection::vec(step(), 0..40), offset in 0..170_u64, length in 0..170_u64,
    ) {
        let (mut map, mut model) = (SliceMap::new(), Model::new());
        for step in &steps {
            apply(&mut map, &mut model, step);
            let front = model.iter().position(Option::is_none).unwrap_or(model.len()) as u64;
            prop_assert_eq!(map.contiguous_from_zero(), front);
            prop_assert_eq!(map.end(), model.len() as u64);
        }
        let whole = flatten(&map.range(0, model.len() as u64));
        prop_assert_eq!(&whole, &model);

        let pieces = map.range(offset, length);
        let mut at = offset;
        for piece in &pieces {
            let (start, size) = match piece {
                Piece::Data(slice) => (slice.offset, slice.length),
                Piece::Hole { offset, length } => (*offset, *length),
            };
            prop_assert_eq!(start, at);
            prop_assert!(size > 0);
            at += size;
        }
        let expected: Model =
            (offset..offset + length).map(|at| model.get(at as usize).copied().flatten()).collect();
        prop_assert_eq!(flatten(&pieces), expected);

        let whole = (0..length).all(|at| model.get(at as usize).copied().flatten().is_some());
        prop_assert_eq!(map.is_whole(length), whole);

        // Invariants of the form: sorted, apart, not empty, merged.
        let slices: Vec<Slice> = map.slices().copied().collect();
        prop_assert!(slices.iter().all(|slice| slice.length > 0));
        for pair in slices.windows(2) {
            prop_assert!(pair[0].end() <= pair[1].offset);
            prop_assert!(!pair[0].is_continued_by(&pair[1]));
        }
        let used: BTreeSet<ObjectId> = model.iter().flatten().map(|(extent, _)| *extent).collect();
        prop_assert_eq!(map.extents(), used);
        prop_assert_eq!(SliceMap::from_slices(slices), Ok(map));
    }
}

#[test]
fn a_newer_slice_splits_an_older_one() {
    let mut map = SliceMap::new();
    map.lay(slice(0, 100, 1, 0));
    map.lay(slice(40, 20, 2, 7));
    let expected = [slice(0, 40, 1, 0), slice(40, 20, 2, 7), slice(60, 40, 1, 60)];
    assert_eq!(map.slices().copied().collect::<Vec<_>>(), expected);
    // Clipping leaves places inside an extent that are not its beginning.
    assert_eq!(map.range(50, 20), [Piece::Data(slice(50, 10, 2, 17)), Piece::Data(slice(60, 10, 1, 60))]);
}

#[test]
fn a_map_of_slices_is_taken_only_in_order() {
    for wrong in [
        vec![slice(0, 0, 1, 0)],
        vec![slice(10, 5, 1, 0), slice(0, 5, 1, 0)],
        vec![slice(0, 10, 1, 0), slice(9, 5, 2, 0)],
        vec![slice(u64::MAX, 1, 1, 0)],
        vec![slice(0, 1, 1, u64::MAX)],
    ] {
        assert_eq!(SliceMap::from_slices(wrong), Err(VaultError::Malformed { what: "map of slices" }));
    }
    assert_eq!(SliceMap::from_slices(Vec::new()), Ok(SliceMap::new()));
    assert!(SliceMap::from_slices(vec![slice(5, 5, 1, 0), slice(20, 5, 1, 0)]).is_ok());
}

#[test]
fn the_edge_of_the_numbers_does_no_harm() {
    let mut map = SliceMap::new();
    map.lay(slice(u64::MAX - 2, u64::MAX, 1, 0));
    assert_eq!((map.end(), map.contiguous_from_zero()), (u64::MAX, 0));
    map.lay(slice(0, u64::MAX, 2, u64::MAX - 1));
    assert_eq!(map.contiguous_from_zero(), 1);
    assert_eq!(map.range(u64::MAX, 10), []);
    assert!(map.is_whole(1) && !map.is_whole(u64::MAX));
    map.truncate(u64::MAX);
    map.truncate(0);
    assert_eq!(map, SliceMap::new());
}

#[test]
fn many_slices_stay_fast() {
    let mut map = SliceMap::new();
    for at in (0..200_000_u64).rev() {
        map.lay(slice(at * 2, 1, 1, 0));
    }
    assert_eq!((map.slices().len(), map.contiguous_from_zero()), (200_000, 1));
    for at in 0..200_000_u64 {
        map.lay(slice(at * 2 + 1, 1, 2, 0));
        assert_eq!(map.contiguous_from_zero(), if at == 199_999 { 400_000 } else { at * 2 + 3 });
    }
}
