//! Artifacts, sealed once and committed (`tests/data/golden-v1`, `golden-v2`): they must open for
//! ever (R08). The second one's manifest says how the version came, and its canary that rows carry
//! proofs.
//! The Python reader in `tests/reader` opens the same files without any of this code.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::extent::{EXTENT_HEAD, SEALED_SEGMENT, SEGMENT, SEGMENT_LEAD};
use super::*;
use tacdrop_model::{ArtifactId, DirectoryId, FileName, ObjectId, ObjectPlace, ShareId, Time, Transport, VersionId};

const LONG: usize = 140_000;
const SHORT: usize = 1_000;
const SHORT_AT: u64 = 65_000;
/// The last 100 bytes of the second extent are themselves covered by the third slice's return to
/// the first.
const SHORT_FROM: u64 = 100;
const NAME: &str = "Größe – show tech.txt";
const TITLE: &str = "BGP flaps – Überlauf";
const TOKEN: &str = "abcdefghjkmnpqrstuvwxyz234";

const SENDER: &str = "XT-4711";
const ZEROS: u64 = 17;

fn directory(format: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/data/golden-v{format}"))
}

/// Bytes that repeat nowhere soon: the digits of a small generator.
fn content(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// What the golden artifact says when it is read.
fn whole() -> Vec<u8> {
    let mut whole = content(1, LONG);
    let (from, to) = (SHORT_AT as usize, SHORT_AT as usize + SHORT - SHORT_FROM as usize);
    whole[from..to].copy_from_slice(&content(2, SHORT)[SHORT_FROM as usize..]);
    whole
}

fn seal(ids: &ExtentIds, key: &ExtentKey, plaintext: &[u8]) -> (Vec<u8>, [u8; 32]) {
    let mut sealer = ExtentSealer::new(ids, key).unwrap();
    let mut object = sealer.head().to_vec();
    let mut texts = plaintext.chunks_exact(SEGMENT);
    let mut segment = vec![0; SEALED_SEGMENT];
    for text in &mut texts {
        segment[SEGMENT_LEAD..][..SEGMENT].copy_from_slice(text);
        sealer.seal_inner(&mut segment).unwrap();
        object.extend_from_slice(&segment);
    }
    segment.truncate(32 + texts.remainder().len());
    segment[SEGMENT_LEAD..][..texts.remainder().len()].copy_from_slice(texts.remainder());
    sealer.seal_last(&mut segment).unwrap();
    object.extend_from_slice(&segment);
    (object, sealer.header_tag())
}

/// Run once, when a new container version is made: `cargo test --release --lib vault::golden --
/// --ignored make`.
#[test]
#[ignore = "overwrites the golden artifact, which must never change within a container version"]
fn make_the_golden_artifact() {
    let directory = || directory(2);
    let proof_key = ProofKey::generate().unwrap();
    let id = || random::array::<16>().unwrap();
    let (share, artifact) = (ShareId::from_bytes(id()), ArtifactId::from_bytes(id()));
    let (version, object) = (VersionId::from_bytes(id()), ObjectId::from_bytes(id()));
    let (kek, share_key, file_key) =
        (Kek::generate().unwrap(), ShareKey::generate().unwrap(), FileKey::generate().unwrap());
    let token_key = TokenKey::generate().unwrap();
    let names = share_key.names(share);
    let name = FileName::new(NAME.as_bytes()).unwrap();
    let root = DirectoryId::root_of(share);

    let mut map = SliceMap::new();
    let mut extents = Vec::new();
    let mut files = serde_json::Map::new();
    for (seed, length, place) in [(1, LONG, ObjectPlace::Store), (2, SHORT, ObjectPlace::Records)] {
        let ids = ExtentIds { share, artifact, extent: ObjectId::from_bytes(id()) };
        let key = ExtentKey::generate().unwrap();
        let (sealed, header_tag) = seal(&ids, &key, &content(seed, length));
        let file = format!("extent-{seed}.bin");
        std::fs::write(directory().join(&file), sealed).unwrap();
        files.insert(ids.extent.to_string(), file.into());
        let wrapped = file_key.wrap_extent_key(version, ids.extent, &key).unwrap();
        extents.push(ExtentEntry { extent: ids.extent, length: length as u64, header_tag, key: wrapped, place });
        if seed == 1 {
            map.lay(Slice { offset: 0, length: LONG as u64, extent: ids.extent, within: 0 });
        } else {
            let length = SHORT as u64 - SHORT_FROM;
            map.lay(Slice { offset: SHORT_AT, length, extent: ids.extent, within: SHORT_FROM });
        }
    }
    let mut digest = Digest::new();
    digest.update(&whole());
    let sha256 = digest.finish();
    let manifest = Manifest {
        share,
        artifact,
        version,
        number: 1,
        length: LONG as u64,
        sha256,
        hashed: HashOrigin::ReRead,
        sealed_at: Time::from_millis(1_760_000_000_123),
        arrival: Some(Arrival { sender: SENDER.parse().unwrap(), transport: Transport::Legacy, zeros: ZEROS }),
        slices: map.slices().copied().collect(),
        extents,
    };
    let sealed = manifest.seal(&file_key, object).unwrap();
    std::fs::write(directory().join("manifest.bin"), &sealed).unwrap();
    let mut state = Digest::new();
    state.update(&[0x61; 67]);
    std::fs::write(directory().join("digest-state.hex"), hex::encode(state.save()) + "\n").unwrap();

    let golden = json!({
        "about": "A sealed artifact, with a manifest of container version 2; docs/format.md explains it. The keys protect nothing.",
        "kek": hex::encode(*kek.to_secret_bytes()),
        "kek_generation": 3,
        "canary": hex::encode(kek.seal_canary(3, Level::Proving).unwrap()),
        "share": share.to_string(),
        "wrapped_share_key": hex::encode(kek.wrap_share_key(3, share, Some(2), &share_key).unwrap().as_bytes()),
        "share_key_generation": 2,
        "artifact": artifact.to_string(),
        "version": version.to_string(),
        "version_number": 1,
        "wrapped_file_key": hex::encode(share_key.wrap_file_key(2, share, version, &file_key).unwrap().as_bytes()),
        "manifest": object.to_string(),
        "manifest_file": "manifest.bin",
        "manifest_hash": hex::encode(object_hash(&sealed)),
        "extents": files,
        "sealed_name": hex::encode(names.seal_name(*artifact.as_bytes(), &name).unwrap()),
        "name_index": hex::encode(names.index(root, &name)),
        "sealed_title": hex::encode(share_key.seal_text(share, *share.as_bytes(), "title", TITLE).unwrap()),
        "wrapped_token_key": hex::encode(kek.wrap_secret(3, "token", &*token_key.to_secret_bytes()).unwrap()),
        "wrapped_proof_key": hex::encode(kek.wrap_secret(3, "proof", &*proof_key.to_secret_bytes()).unwrap()),
        "proof": hex::encode(proof_key.prove("fact", &[b"public_host", b"drop.example.net"])),
        "token_user": "XT-4711",
        "token_hash": hex::encode(token_key.hash("XT-4711", TOKEN)),
        "sealed_state": hex::encode(file_key.seal_state(version, 67, &state.save()).unwrap()),
        "expected": {
            "name": NAME,
            "title": TITLE,
            "token": TOKEN,
            "length": LONG,
            "sha256": hex::encode(sha256),
            "sealed_at": 1_760_000_000_123_i64,
            "hashed": "re-read",
            "sender": SENDER,
            "transport": "legacy",
            "zeros": ZEROS,
        },
    });
    std::fs::write(directory().join("golden.json"), serde_json::to_string_pretty(&golden).unwrap() + "\n").unwrap();
}

struct Golden(Value);

impl Golden {
    fn read(format: u32) -> Self {
        let text = std::fs::read_to_string(directory(format).join("golden.json")).unwrap();
        Self(serde_json::from_str(&text).unwrap())
    }

    fn bytes(&self, key: &str) -> Vec<u8> {
        hex::decode(self.0[key].as_str().unwrap()).unwrap()
    }

    fn array<const N: usize>(&self, key: &str) -> [u8; N] {
        self.bytes(key).try_into().unwrap()
    }

    fn wrapped(&self, key: &str) -> WrappedKey {
        self.bytes(key).as_slice().try_into().unwrap()
    }
}

#[test]
fn r08_the_golden_artifacts_open() {
    opens(1, Level::Bare, None);
    let arrival = Arrival { sender: SENDER.parse().unwrap(), transport: Transport::Legacy, zeros: ZEROS };
    opens(2, Level::Proving, Some(arrival));
}

fn opens(format: u32, level: Level, arrival: Option<Arrival>) {
    let golden = Golden::read(format);
    let directory = || directory(format);
    let expected = &golden.0["expected"];
    let (share, artifact) =
        (ShareId::from_bytes(golden.array("share")), ArtifactId::from_bytes(golden.array("artifact")));
    let (version, object) =
        (VersionId::from_bytes(golden.array("version")), ObjectId::from_bytes(golden.array("manifest")));

    let kek = Kek::from_bytes(&golden.array("kek"));
    assert_eq!(kek.check_canary(3, &golden.bytes("canary")), Ok(level));
    if level == Level::Proving {
        let key = kek.unwrap_secret(3, "proof", &golden.bytes("wrapped_proof_key")).unwrap();
        let key = ProofKey::from_bytes(key.as_slice().try_into().unwrap());
        assert!(key.is_proved("fact", &[b"public_host", b"drop.example.net"], &golden.bytes("proof")));
    }
    let own = (level == Level::Proving).then_some(2);
    let share_key = kek.unwrap_share_key(3, share, own, &golden.wrapped("wrapped_share_key")).unwrap();
    let file_key = share_key.unwrap_file_key(2, share, version, &golden.wrapped("wrapped_file_key")).unwrap();

    let names = share_key.names(share);
    let name = names.open_name(*artifact.as_bytes(), &golden.bytes("sealed_name")).unwrap();
    assert_eq!((name.to_string().as_str(), NAME), (expected["name"].as_str().unwrap(), NAME));
    assert_eq!(name.as_bytes(), NAME.as_bytes());
    assert_eq!(names.index(DirectoryId::root_of(share), &name), golden.array("name_index"));
    assert_eq!(share_key.open_text(share, *share.as_bytes(), "title", &golden.bytes("sealed_title")).unwrap(), TITLE);

    let token_key = kek.unwrap_secret(3, "token", &golden.bytes("wrapped_token_key")).unwrap();
    let token_key = TokenKey::from_bytes(token_key.as_slice().try_into().unwrap());
    assert!(token_key.verify("XT-4711", TOKEN, &golden.array("token_hash")));
    let state = file_key.open_state(version, 67, &golden.bytes("sealed_state")).unwrap();
    assert_eq!(Digest::restore(&state).unwrap().hashed(), 67);

    let sealed = std::fs::read(directory().join("manifest.bin")).unwrap();
    let hash = golden.array("manifest_hash");
    let manifest = Manifest::open(&sealed, &file_key, share, artifact, version, object, &hash).unwrap();
    assert_eq!((manifest.number, manifest.hashed), (1, HashOrigin::ReRead));
    assert_eq!(manifest.arrival, arrival);
    assert_eq!(Some(manifest.sealed_at.millis()), expected["sealed_at"].as_i64());
    assert_eq!(
        manifest.extents.iter().map(|entry| entry.place).collect::<Vec<_>>(),
        [ObjectPlace::Store, ObjectPlace::Records]
    );
    assert!(manifest.slices.iter().any(|slice| slice.within != 0 && slice.within != slice.offset));

    let mut content = Vec::new();
    for slice in &manifest.slices {
        let entry = manifest.extents.iter().find(|entry| entry.extent == slice.extent).unwrap();
        let file = golden.0["extents"][entry.extent.to_string()].as_str().unwrap();
        let extent = std::fs::read(directory().join(file)).unwrap();
        assert!(extent.len() > EXTENT_HEAD);
        let key = file_key.unwrap_extent_key(version, entry.extent, &entry.key).unwrap();
        let ids = ExtentIds { share, artifact, extent: entry.extent };
        let text = ExtentOpener::open_object(&ids, &key, &entry.header_tag, entry.length, &extent).unwrap();
        content.extend_from_slice(&text[slice.within as usize..][..slice.length as usize]);
    }
    assert_eq!(content.len() as u64, manifest.length);
    assert!(content == whole());
    let mut digest = Digest::new();
    digest.update(&content);
    let sha256 = digest.finish();
    assert_eq!((sha256, hex::encode(sha256).as_str()), (manifest.sha256, expected["sha256"].as_str().unwrap()));
}
