//! Manifests: what is sealed opens, and nothing else does.

use super::super::ExtentKey;
use super::*;

const SHARE: ShareId = ShareId::from_bytes([1; 16]);
const ARTIFACT: ArtifactId = ArtifactId::from_bytes([2; 16]);
const VERSION: VersionId = VersionId::from_bytes([3; 16]);
const OBJECT: ObjectId = ObjectId::from_bytes([4; 16]);

fn extent(number: u8) -> ObjectId {
    ObjectId::from_bytes([number; 16])
}

fn entry(key: &FileKey, number: u8, length: u64, place: ObjectPlace) -> ExtentEntry {
    let wrapped = key.wrap_extent_key(VERSION, extent(number), &ExtentKey::generate().unwrap()).unwrap();
    ExtentEntry { extent: extent(number), length, header_tag: [number; 32], key: wrapped, place }
}

fn slice(offset: u64, length: u64, number: u8, within: u64) -> Slice {
    Slice { offset, length, extent: extent(number), within }
}

fn sample(key: &FileKey) -> Manifest {
    Manifest {
        share: SHARE,
        artifact: ARTIFACT,
        version: VERSION,
        number: 2,
        length: 70_000,
        sha256: [5; 32],
        hashed: HashOrigin::Resumed,
        sealed_at: Time::from_millis(1_700_000_000_123),
        arrival: Some(Arrival { sender: "XT-4711".parse().unwrap(), transport: Transport::Legacy, zeros: 17 }),
        slices: vec![slice(0, 10_000, 9, 0), slice(10_000, 900, 8, 100), slice(10_900, 59_100, 9, 10_900)],
        extents: vec![entry(key, 9, 70_000, ObjectPlace::Store), entry(key, 8, 1000, ObjectPlace::Records)],
    }
}

fn empty() -> Manifest {
    let key = FileKey::generate().unwrap();
    let arrival = Some(Arrival { sender: "a".parse().unwrap(), transport: Transport::Modern, zeros: 0 });
    Manifest { length: 0, slices: Vec::new(), extents: Vec::new(), arrival, ..sample(&key) }
}

/// As they were sealed before they said how a version came.
fn older(key: &FileKey) -> Manifest {
    Manifest { arrival: None, ..sample(key) }
}

/// Opens it as the object that the row speaks of, so that what is behind the hash is put to the
/// test.
fn open(bytes: &[u8], key: &FileKey) -> Result<Manifest, VaultError> {
    Manifest::open(bytes, key, SHARE, ARTIFACT, VERSION, OBJECT, &object_hash(bytes))
}

#[test]
fn what_is_sealed_opens() {
    let key = FileKey::generate().unwrap();
    let oldest = Manifest { arrival: None, ..empty() };
    let longest = Arrival { sender: "x".repeat(64).parse().unwrap(), ..sample(&key).arrival.unwrap() };
    let longest = Manifest { arrival: Some(longest), ..sample(&key) };
    for manifest in [sample(&key), empty(), older(&key), oldest, longest] {
        let sealed = manifest.seal(&key, OBJECT).unwrap();
        let arrival = manifest.arrival.as_ref().map_or(0, |arrival| 8 + arrival.sender.as_str().len());
        let size = 72 + 12 + 64 + arrival + manifest.extents.len() * 120 + manifest.slices.len() * 28 + 16;
        assert_eq!(sealed.len(), size);
        let (extents, bytes) = (manifest.extents.len() as u64, sealed.len() as u64);
        let login = manifest.arrival.as_ref().map(|arrival| arrival.sender.as_str().len() as u64);
        let can_be_long = |extents, bytes| can_be_long(extents, login, bytes);
        let more = if extents == 0 { [false, false] } else { [true, false] };
        assert!(can_be_long(extents, bytes));
        assert_eq!([bytes + 28, bytes + 1].map(|bytes| can_be_long(extents, bytes)), more);
        assert!(!can_be_long(extents, 0) && !can_be_long(extents + 2, bytes) && !can_be_long(extents, 1 << 30));
        assert_eq!(open(&sealed, &key), Ok(manifest));
    }
    assert!(!can_be_long(1, Some(u64::MAX), u64::MAX));
}

#[test]
fn r02_every_changed_byte_is_refused_with_and_without_the_hash() {
    let key = FileKey::generate().unwrap();
    for manifest in [sample(&key), older(&key)] {
        let sealed = manifest.seal(&key, OBJECT).unwrap();
        let hash = object_hash(&sealed);
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                let by_hash = Manifest::open(&changed, &key, SHARE, ARTIFACT, VERSION, OBJECT, &hash);
                assert_eq!(by_hash, Err(VaultError::Tampered { what: WHAT }));
                assert!(open(&changed, &key).is_err(), "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn r03_every_prefix_and_extension_is_refused() {
    let key = FileKey::generate().unwrap();
    let sealed = sample(&key).seal(&key, OBJECT).unwrap();
    for length in 0..sealed.len() {
        assert!(open(&sealed[..length], &key).is_err(), "{length}");
    }
    for more in 1..=130 {
        assert!(open(&[&sealed[..], &vec![0; more]].concat(), &key).is_err(), "{more}");
    }
    assert_eq!(open(&vec![0; MAX_MANIFEST + 1], &key), Err(MALFORMED));
}

#[test]
fn r04_r05_a_manifest_opens_only_where_it_belongs() {
    let key = FileKey::generate().unwrap();
    let sealed = sample(&key).seal(&key, OBJECT).unwrap();
    let hash = object_hash(&sealed);
    let refused = Err(VaultError::Tampered { what: WHAT });
    let (share, artifact, version) =
        (ShareId::from_bytes([9; 16]), ArtifactId::from_bytes([9; 16]), VersionId::from_bytes([9; 16]));
    assert_eq!(Manifest::open(&sealed, &key, share, ARTIFACT, VERSION, OBJECT, &hash), refused);
    assert_eq!(Manifest::open(&sealed, &key, SHARE, artifact, VERSION, OBJECT, &hash), refused);
    assert_eq!(Manifest::open(&sealed, &key, SHARE, ARTIFACT, version, OBJECT, &hash), refused);
    assert_eq!(Manifest::open(&sealed, &key, SHARE, ARTIFACT, VERSION, extent(7), &hash), refused);
    assert_eq!(open(&sealed, &FileKey::generate().unwrap()), refused);
    // An older manifest of the same version, well sealed: the row knows better.
    let before = sample(&key).seal(&key, OBJECT).unwrap();
    assert_eq!(Manifest::open(&before, &key, SHARE, ARTIFACT, VERSION, OBJECT, &hash), refused);
}

#[test]
fn maps_that_break_a_rule_are_neither_sealed_nor_opened() {
    let key = FileKey::generate().unwrap();
    let good = sample(&key);
    let with = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        manifest
    };
    let broken = [
        ("number 0", with(&|m| m.number = 0)),
        ("more zeros than bytes", with(&|m| m.arrival.as_mut().unwrap().zeros = m.length + 1)),
        ("longer than its map", with(&|m| m.length += 1)),
        ("shorter than its map", with(&|m| m.length -= 1)),
        ("a gap", with(&|m| m.slices[1].offset += 1)),
        ("an overlap", with(&|m| m.slices[1].offset -= 1)),
        ("a hole at the beginning", with(&|m| m.slices = m.slices.split_off(1))),
        ("not sorted", with(&|m| m.slices.swap(0, 1))),
        ("an empty slice", with(&|m| m.slices.insert(1, slice(10_000, 0, 8, 0)))),
        ("behind its extent", with(&|m| m.slices[1].within = 101)),
        ("far behind its extent", with(&|m| m.slices[1].within = u64::MAX)),
        ("an unknown extent", with(&|m| m.slices[1].extent = extent(7))),
        ("an unused extent", with(&|m| m.extents.push(entry(&key, 7, 10, ObjectPlace::Store)))),
        ("an extent twice", with(&|m| m.extents[1].extent = extent(9))),
        ("an extent twice, unused", with(&|m| m.extents.push(m.extents[0]))),
        ("an impossible extent", with(&|m| m.extents[0].length = MAX_EXTENT + 1)),
        ("extents without slices", with(&|m| (m.length, m.slices) = (0, Vec::new()))),
    ];
    for (what, manifest) in &broken {
        assert_eq!(manifest.seal(&key, OBJECT), Err(MALFORMED), "{what}");
    }
}

/// Seals any body, as a writer with the right key and a wrong mind could.
fn open_body(key: &FileKey, container: u8, body: &[u8]) -> Result<Manifest, VaultError> {
    let header = header(container, SHARE, ARTIFACT, VERSION, OBJECT);
    open(&key.manifest_key().seal_to_vec(&header, &header, body).unwrap(), key)
}

#[test]
fn bodies_that_break_a_rule_are_refused_although_they_are_authentic() {
    let key = FileKey::generate().unwrap();
    let manifests = [(WITHOUT_ARRIVAL, older(&key), 0), (WITH_ARRIVAL, sample(&key), ZEROS + "XT-4711".len())];
    for (container, manifest, arrival) in manifests {
        let sealed = manifest.seal(&key, OBJECT).unwrap();
        let header = header(container, SHARE, ARTIFACT, VERSION, OBJECT);
        let body = key.manifest_key().open_to_vec(&header, &sealed[HEADER..], WHAT).unwrap();
        assert_eq!(open_body(&key, container, &body), open(&sealed, &key));
        // Neither passes for the other.
        assert_eq!(open_body(&key, 3 - container, &body), Err(MALFORMED));
        let put = |at: usize, bytes: &[u8]| {
            let mut changed = body.clone();
            changed[at..at + bytes.len()].copy_from_slice(bytes);
            changed
        };
        let extents = FIXED + arrival;
        let slices = extents + 2 * EXTENT_ENTRY;
        let mut broken = vec![
            ("number 0", put(0, &[0; 4])),
            ("origin 0", put(4, &[0])),
            ("origin 4", put(4, &[4])),
            ("transport 3", put(5, &[3])),
            ("padding", put(7, &[1])),
            ("length", put(16, &[1])),
            ("fewer extents", put(56, &1_u32.to_be_bytes())),
            ("more extents", put(56, &3_u32.to_be_bytes())),
            ("as many extents as there are", put(56, &[0xff; 4])),
            ("fewer slices", put(60, &2_u32.to_be_bytes())),
            ("as many slices as there are", put(60, &[0xff; 4])),
            ("place 0", put(extents + 116, &[0])),
            ("place 3", put(extents + 116, &[3])),
            ("padding of an extent", put(extents + 119, &[1])),
            ("an extent twice", put(extents + EXTENT_ENTRY, &[9; 16])),
            ("offset", put(slices, &[0x80])),
            ("empty slice", put(slices + 8, &[0; 8])),
            ("endless slice", put(slices + 8, &[0xff; 8])),
            ("index", put(slices + 16, &2_u32.to_be_bytes())),
            ("unused extent", put(slices + SLICE_ENTRY + 16, &0_u32.to_be_bytes())),
            ("within", put(slices + 20, &[0xff; 8])),
            ("one byte more", [&body[..], &[0]].concat()),
            ("one byte less", body[..body.len() - 1].to_vec()),
            ("nothing", Vec::new()),
        ];
        if container == WITH_ARRIVAL {
            broken.extend([
                ("no transport", put(5, &[0])),
                ("no login", put(6, &[0])),
                ("a shorter login", put(6, &[6])),
                ("a longer login", put(6, &[8])),
                ("the longest login", put(6, &[0xff])),
                ("more zeros than bytes", put(FIXED, &70_001_u64.to_be_bytes())),
                ("a login with a line break", put(FIXED + ZEROS + 2, b"\n")),
                ("a login that is no text", put(FIXED + ZEROS, &[0xff])),
            ]);
        } else {
            broken.extend([("a transport", put(5, &[1])), ("a login", put(6, &[1]))]);
        }
        for (what, changed) in broken {
            assert_eq!(open_body(&key, container, &changed), Err(MALFORMED), "{container} {what}");
        }
    }
}

#[test]
fn the_largest_map_is_sealed_and_one_slice_more_is_not() {
    let key = FileKey::generate().unwrap();
    // Every other byte, so that no two slices could be one.
    let slices: Vec<Slice> = (0..MAX_SLICES as u64).map(|at| slice(at, 1, 9, at * 2 % 70_000)).collect();
    let mut manifest = sample(&key);
    manifest.extents.truncate(1);
    manifest.length = MAX_SLICES as u64;
    manifest.slices = slices;
    let sealed = manifest.seal(&key, OBJECT).unwrap();
    assert_eq!(open(&sealed, &key).as_ref(), Ok(&manifest));
    manifest.slices.push(slice(MAX_SLICES as u64, 1, 9, 0));
    manifest.length += 1;
    assert_eq!(manifest.seal(&key, OBJECT), Err(MALFORMED));
}

#[test]
fn a_newer_manifest_is_called_unknown() {
    let key = FileKey::generate().unwrap();
    let mut sealed = sample(&key).seal(&key, OBJECT).unwrap();
    sealed[4] = 3;
    assert_eq!(open(&sealed, &key), Err(VaultError::UnknownFormat { what: WHAT }));
}
