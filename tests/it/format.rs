//! The format at rest, read by a second reader that was written from `docs/format.md` alone.

use std::fs;
use std::path::Path;

use crate::support::child::{Finished, Run};
use crate::support::files::{random_file, sha256, show_tech};
use crate::support::server::House;
use crate::support::{python, repository};

fn reader<'a>(args: impl IntoIterator<Item = &'a Path>) -> Finished {
    Run::new(python()).arg("-B").arg(repository().join("tests/reader/read_artifact.py")).args(args).finish()
}

/// Reads an artifact straight out of a data directory.
fn read_at_rest(data: &Path, ticket: &str, path: &str, out: &Path) -> Finished {
    let words = ["--data".as_ref(), data, "--ticket".as_ref(), ticket.as_ref(), "--path".as_ref(), path.as_ref()];
    reader(words.into_iter().chain(["-o".as_ref(), out]))
}

#[test]
fn r08_the_second_reader_reads_the_golden_artifacts() {
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    for format in ["golden-v1", "golden-v2"] {
        let golden = repository().join("tests/data").join(format).join("golden.json");
        reader([golden.as_path(), "-o".as_ref(), out.as_path()]).ok();
        let expected: serde_json::Value = serde_json::from_slice(&fs::read(&golden).unwrap()).unwrap();
        assert_eq!(sha256(&out), expected["expected"]["sha256"].as_str().unwrap(), "{format}");
    }
}

#[test]
fn r08_the_second_reader_reads_a_data_directory_with_small_files() {
    let work = tempfile::tempdir().unwrap();
    let (house, out) = (repository().join("tests/data/golden-house-v2"), work.path().join("out"));
    let expected: serde_json::Value = serde_json::from_slice(&fs::read(house.join("expected.json")).unwrap()).unwrap();
    let files = expected["files"]["XT-1"].as_object().unwrap();
    assert_eq!(files.len(), 10);
    for (path, digest) in files {
        read_at_rest(&house, "XT-1", path, &out).ok();
        assert_eq!(sha256(&out), digest.as_str().unwrap(), "{path}");
        fs::remove_file(&out).unwrap();
    }
}

#[test]
fn r08_the_second_reader_reads_what_a_server_wrote() {
    let (mut house, ticket, _) = House::new().set("STORAGE__EXTENT_MIB", "1").furnish();
    let work = house.work();
    let old = random_file(&work.join("old"), 3_333_333, 1);
    let new = random_file(&work.join("new"), 2_222_222, 2);
    let small = show_tech(&work.join("small"), 30);
    let empty = random_file(&work.join("empty"), 0, 3);
    house
        .customer(
            &ticket,
            "mkdir logs\nput old dump.bin\nput new dump.bin\nput small \"logs/show tech ä.txt\"\nput empty",
        )
        .ok();
    // Renamed over another file: its keys and objects stay those of its own.
    house.customer(&ticket, "put small x\nput old y\nrename y x").ok();
    house.stop();
    let files = [("dump.bin", &new), ("logs/show tech ä.txt", &small), ("empty", &empty), ("x", &old)];
    for (path, source) in files {
        let out = work.join("out");
        let said = read_at_rest(&house.data(), "XT-4711", path, &out).ok().json();
        assert_eq!(
            (sha256(&out), said["sha256"].as_str().unwrap()),
            (sha256(source), sha256(source).as_str()),
            "{path}"
        );
        fs::remove_file(out).unwrap();
    }
    let missing = read_at_rest(&house.data(), "XT-4711", "nothing", &work.join("out")).refused(1);
    assert!(missing.err().contains("refused"), "{missing}");
    // It is no reader that takes anything: with one bit changed it refuses.
    for object in crate::support::files::all_files(&house.data().join("objects")) {
        let mut bytes = fs::read(&object).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&object, bytes).unwrap();
    }
    read_at_rest(&house.data(), "XT-4711", "dump.bin", &work.join("out")).refused(1);
    assert!(!work.join("out").exists());
}
