//! Extents against every change that a disk or a stranger can make to them.

use std::collections::BTreeSet;
use std::time::Instant;

use super::*;

fn ids(extent: u8) -> ExtentIds {
    ExtentIds {
        share: ShareId::from_bytes([1; 16]),
        artifact: ArtifactId::from_bytes([2; 16]),
        extent: ObjectId::from_bytes([extent; 16]),
    }
}

struct Sealed {
    ids: ExtentIds,
    key: ExtentKey,
    tag: [u8; 32],
    length: u64,
    object: Vec<u8>,
}

impl Sealed {
    fn new(ids: ExtentIds, plaintext: &[u8]) -> Self {
        let key = ExtentKey::generate().unwrap();
        let mut sealer = ExtentSealer::new(&ids, &key).unwrap();
        let mut object = sealer.head().to_vec();
        let mut segment = vec![0; SEALED_SEGMENT];
        let mut texts = plaintext.chunks_exact(SEGMENT);
        for text in &mut texts {
            segment[SEGMENT_LEAD..][..SEGMENT].copy_from_slice(text);
            sealer.seal_inner(&mut segment).unwrap();
            object.extend_from_slice(&segment);
        }
        let rest = texts.remainder();
        let mut segment = vec![0; rest.len() + 32];
        segment[SEGMENT_LEAD..][..rest.len()].copy_from_slice(rest);
        sealer.seal_last(&mut segment).unwrap();
        object.extend_from_slice(&segment);
        let length = plaintext.len() as u64;
        assert_eq!(object.len() as u64, sealed_length(length));
        Self { ids, key, tag: sealer.header_tag(), length, object }
    }

    fn open(&self, object: &[u8]) -> Result<Vec<u8>, VaultError> {
        ExtentOpener::open_object(&self.ids, &self.key, &self.tag, self.length, object)
    }

    fn segment(&self, position: u64) -> (usize, usize, bool) {
        let (offset, length, last) = segment_range(self.length, position).unwrap();
        (offset as usize, length, last)
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i / 251) as u8 ^ i as u8).collect()
}

#[test]
fn what_is_sealed_opens() {
    for length in [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 2 * SEGMENT + 77] {
        let sealed = Sealed::new(ids(9), &content(length));
        assert_eq!(sealed.open(&sealed.object), Ok(content(length)), "{length}");
    }
}

#[test]
fn segments_tile_the_object() {
    for length in [0, 1, 65_535, 65_536, 65_537, 131_072, 140_000, MAX_EXTENT - 1, MAX_EXTENT] {
        let last = length / 65_536;
        assert_eq!(segment_range(length, 0).map(|(offset, _, _)| offset), Some(138));
        let (offset, sealed, is_last) = segment_range(length, last).unwrap();
        assert!(is_last);
        assert_eq!(offset + sealed as u64, sealed_length(length));
        assert_eq!(sealed as u64, 32 + length % 65_536);
        assert_eq!(segment_range(length, last + 1), None);
        if last > 0 {
            assert_eq!(segment_range(length, last - 1), Some((offset - 65_568, 65_568, false)));
        }
    }
    assert_eq!(segment_range(MAX_EXTENT + 1, 0), None);
    assert_eq!(segment_range(u64::MAX, u64::MAX), None);
    assert!(sealed_length(u64::MAX) > MAX_EXTENT);
}

#[test]
fn r02_every_changed_byte_of_a_three_segment_extent_is_refused() {
    let sealed = Sealed::new(ids(9), &content(2 * SEGMENT + 100));
    for at in 0..EXTENT_HEAD {
        for bit in 0..8 {
            let mut head = sealed.object[..EXTENT_HEAD].to_vec();
            head[at] ^= 1 << bit;
            assert!(ExtentOpener::new(&sealed.ids, &sealed.key, &head, &sealed.tag).is_err(), "bit {bit} of byte {at}");
        }
    }
    // Segments stand for themselves once the head is open, so each is tried alone; whole objects
    // follow below.
    let opener = ExtentOpener::new(&sealed.ids, &sealed.key, &sealed.object[..EXTENT_HEAD], &sealed.tag).unwrap();
    for position in 0..3 {
        let (offset, length, last) = sealed.segment(position);
        let original = &sealed.object[offset..offset + length];
        let mut segment = original.to_vec();
        for at in 0..length {
            segment[at] ^= 1 << (at % 8);
            let refused = opener.open_segment(position, last, &mut segment).is_err();
            assert!(refused, "byte {at} of segment {position}");
            segment.copy_from_slice(original);
        }
    }
    let mut object = sealed.object.clone();
    for at in (0..object.len()).step_by(997) {
        object[at] ^= 0x80;
        assert!(sealed.open(&object).is_err(), "byte {at}");
        object[at] ^= 0x80;
    }
}

#[test]
fn r03_every_prefix_and_extension_is_refused() {
    let sealed = Sealed::new(ids(9), &content(2 * SEGMENT + 100));
    let whole = sealed.object.len();
    for length in 0..whole {
        // The object's length must follow from the manifest's, so nothing else has to be decrypted.
        assert!(sealed.open(&sealed.object[..length]).is_err(), "{length}");
    }
    for more in 1..=300 {
        assert!(sealed.open(&[&sealed.object[..], &vec![0; more]].concat()).is_err(), "{more}");
    }
    // Somebody who trusted the object's length instead of the manifest's would still see it, by the
    // segments' own bounds.
    let edges = [0, 1, 100, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT - 1, 2 * SEGMENT, 2 * SEGMENT + 99];
    for plaintext in edges.into_iter().chain((0..2 * SEGMENT).step_by(3001)) {
        let length = sealed_length(plaintext as u64) as usize;
        let cut = &sealed.object[..length];
        let opened = ExtentOpener::open_object(&sealed.ids, &sealed.key, &sealed.tag, plaintext as u64, cut);
        assert!(opened.is_err(), "{plaintext}");
    }
    for plaintext in [sealed.length + 1, 3 * SEGMENT as u64, 3 * SEGMENT as u64 + 1] {
        let mut longer = sealed.object.clone();
        longer.resize(sealed_length(plaintext) as usize, 0);
        assert!(ExtentOpener::open_object(&sealed.ids, &sealed.key, &sealed.tag, plaintext, &longer).is_err());
    }
}

#[test]
fn r04_swapped_segments_and_extents_are_refused() {
    let one = Sealed::new(ids(9), &content(3 * SEGMENT));
    let two = Sealed::new(ids(8), &content(3 * SEGMENT));
    let opener = ExtentOpener::new(&one.ids, &one.key, &one.object[..EXTENT_HEAD], &one.tag).unwrap();
    for at in 0..4 {
        for from in 0..4 {
            let (offset, length, last) = one.segment(at);
            let (other, _, _) = one.segment(from);
            if from != at {
                let mut within = one.object[other..(other + length).min(one.object.len())].to_vec();
                assert!(opener.open_segment(at, last, &mut within).is_err(), "{from} at {at}");
                let mut same = one.object[offset..offset + length].to_vec();
                assert!(opener.open_segment(from, last, &mut same).is_err(), "{at} as {from}");
            }
            let mut between = two.object[other..(other + length).min(two.object.len())].to_vec();
            assert!(opener.open_segment(at, last, &mut between).is_err(), "{from} of another extent at {at}");
        }
    }
    assert!(one.open(&two.object).is_err());
    assert!(ExtentOpener::open_object(&two.ids, &one.key, &one.tag, one.length, &one.object).is_err());
    assert!(ExtentOpener::open_object(&one.ids, &one.key, &two.tag, one.length, &one.object).is_err());
    // The same ids, even the same key: another writing of the extent is not this one.
    let key = ExtentKey::generate().unwrap();
    let (first, again) = (ExtentSealer::new(&ids(9), &key).unwrap(), ExtentSealer::new(&ids(9), &key).unwrap());
    assert!(ExtentOpener::new(&ids(9), &key, first.head(), &first.header_tag()).is_ok());
    let swapped = ExtentOpener::new(&ids(9), &key, again.head(), &first.header_tag());
    assert_eq!(swapped.err(), Some(VaultError::Tampered { what: WHAT }));
}

#[test]
fn r06_a_wrong_key_is_refused_by_the_header_tag() {
    let sealed = Sealed::new(ids(9), b"content");
    let wrong = ExtentKey::generate().unwrap();
    let opened = ExtentOpener::new(&sealed.ids, &wrong, &sealed.object[..EXTENT_HEAD], &sealed.tag);
    assert!(matches!(opened.err(), Some(VaultError::WrongKey { .. })));
}

#[test]
fn a_newer_container_is_called_unknown() {
    let sealed = Sealed::new(ids(9), b"content");
    for at in [4, 5] {
        let mut head = sealed.object[..EXTENT_HEAD].to_vec();
        head[at] = 2;
        let opened = ExtentOpener::new(&sealed.ids, &sealed.key, &head, &sealed.tag);
        assert_eq!(opened.err(), Some(VaultError::UnknownFormat { what: WHAT }));
    }
}

#[test]
fn a_sealer_refuses_wrong_buffers_and_anything_after_the_end() {
    let mut sealer = ExtentSealer::new(&ids(9), &ExtentKey::generate().unwrap()).unwrap();
    let malformed = Err(VaultError::Malformed { what: "segment to seal" });
    for length in [0, 31, SEALED_SEGMENT - 1, SEALED_SEGMENT + 1] {
        assert_eq!(sealer.seal_inner(&mut vec![0; length]), malformed);
    }
    for length in [0, 31, SEALED_SEGMENT, SEALED_SEGMENT + 1] {
        assert_eq!(sealer.seal_last(&mut vec![0; length]), malformed);
    }
    sealer.seal_last(&mut [0; 32]).unwrap();
    assert_eq!(sealer.seal_last(&mut [0; 32]), Err(VaultError::Ended));
    assert_eq!(sealer.seal_inner(&mut vec![0; SEALED_SEGMENT]), Err(VaultError::Ended));
}

#[test]
fn an_unfinished_extent_is_read_back_while_it_is_written() {
    let mut sealer = ExtentSealer::new(&ids(9), &ExtentKey::generate().unwrap()).unwrap();
    let opener = sealer.opener();
    let mut segment = vec![7; SEALED_SEGMENT];
    sealer.seal_inner(&mut segment).unwrap();
    assert!(opener.open_segment(1, false, &mut segment.clone()).is_err());
    assert_eq!(opener.open_segment(0, false, &mut segment), Ok(&mut [7; SEGMENT][..]));
}

#[test]
fn r07_no_iv_and_no_nonce_comes_twice() {
    let key = ExtentKey::generate().unwrap();
    let mut ivs = BTreeSet::new();
    let mut nonces = BTreeSet::new();
    for _ in 0..100_000 {
        let mut sealer = ExtentSealer::new(&ids(9), &key).unwrap();
        ivs.insert(<[u8; 32]>::try_from(&sealer.head()[74..106]).unwrap());
        let mut last = [0; 32];
        sealer.seal_last(&mut last).unwrap();
        nonces.insert(<[u8; 12]>::try_from(&last[4..16]).unwrap());
    }
    assert_eq!((ivs.len(), nonces.len()), (100_000, 100_000));
}

#[test]
fn sealers_and_openers_travel() {
    fn send<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    send::<ExtentSealer>();
    shared::<ExtentOpener>();
}

/// `cargo test --release --lib vault::extent -- --ignored --nocapture speed`
#[test]
#[ignore = "measures; run it alone"]
#[expect(clippy::print_stdout, reason = "its output is its purpose")]
fn speed_of_sealing_against_the_bare_cipher() {
    use aes_gcm::aead::{AeadInOut, inout::InOutBuf};
    use aes_gcm::{Aes256Gcm, KeyInit};

    const ROUNDS: u32 = 4096;
    let rate = |start: Instant| f64::from(ROUNDS) * 65_536.0 / 1_048_576.0 / start.elapsed().as_secs_f64();
    let mut segment = vec![0; SEALED_SEGMENT];
    let bare = Aes256Gcm::new(&[1; 32].into());
    let ends_at = SEGMENT_LEAD + SEGMENT;
    for _ in 0..5 {
        let start = Instant::now();
        for round in 0..ROUNDS {
            let mut nonce = [0; 12];
            nonce[..4].copy_from_slice(&round.to_be_bytes());
            let text = InOutBuf::from(&mut segment[SEGMENT_LEAD..ends_at]);
            let tag = bare.encrypt_inout_detached(&nonce.into(), &[0; 9], text).unwrap();
            segment[ends_at..].copy_from_slice(&tag);
        }
        let bare_rate = rate(start);
        let mut sealer = ExtentSealer::new(&ids(9), &ExtentKey::generate().unwrap()).unwrap();
        let opener = sealer.opener();
        let start = Instant::now();
        for _ in 0..ROUNDS {
            sealer.seal_inner(&mut segment).unwrap();
        }
        let seal_rate = rate(start);
        let position = u64::from(ROUNDS) - 1;
        let mut copy = segment.clone();
        let start = Instant::now();
        for _ in 0..ROUNDS {
            copy.copy_from_slice(&segment);
            opener.open_segment(position, false, &mut copy).unwrap();
        }
        println!("bare {bare_rate:.0} MiB/s, seal_inner {seal_rate:.0}, open_segment and a copy {:.0}", rate(start));
    }
}
