//! Uploads that are cut, and what comes of them.

use std::path::Path;
use std::time::Duration;

use crate::support::eventually;
use crate::support::files::{random_file, sha256};
use crate::support::server::{House, Ticket};

const MIB: u64 = 1 << 20;

/// A furnished house whose uploads can be continued from each second.
fn house() -> House {
    House::new().set("STORAGE__CHECKPOINT_SECONDS", "1")
}

/// Waits until at least `bytes` of an upload would outlive a crash, and says how many do.
fn await_durable(house: &House, ticket: &Ticket, path: &str, bytes: u64) -> u64 {
    eventually(&format!("{bytes} durable bytes of {path}"), || {
        let artifact = house.artifact(ticket, path)?;
        assert_eq!(artifact["state"], "receiving", "the upload was to be under way: {artifact}");
        assert_eq!(artifact["sha256"], serde_json::Value::Null);
        artifact["size"].as_u64().filter(|size| *size >= bytes)
    })
}

/// Continues an upload as a customer does, after looking at how much is there.
fn resume(house: &House, ticket: &Ticket, source: &Path, path: &str, durable: u64) {
    let size = std::fs::metadata(source).unwrap().len();
    let said = house.customer(ticket, &format!("ls -ln {path}")).ok().out();
    let line = said.lines().find(|line| line.starts_with('-') && line.ends_with(path));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    let shown: u64 =
        line.split_whitespace().nth(4).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    assert!(shown >= durable && shown <= size, "{durable} bytes are durable, the listing shows {shown} of {size}");
    house.customer(ticket, &format!("reput \"{}\" {path}", source.display())).ok();
    house.assert_holds(ticket, path, &sha256(source));
}

#[test]
fn r26_an_upload_survives_kill_9_of_the_server() {
    let (mut house, ticket, key) = house().furnish();
    let source = random_file(&house.work().join("dump.bin"), 200 * MIB, 3);
    let mut upload = house.slow_put(&ticket, &source, "dump.bin", 40);
    let durable = await_durable(&house, &ticket, "dump.bin", 64 * MIB);
    assert!(!upload.has_ended());
    house.kill();
    assert_ne!(upload.finish().code(), Some(0), "a put whose server is killed must not succeed");
    house.start();
    let artifact = house.artifact(&ticket, "dump.bin").unwrap();
    assert_eq!((artifact["state"].as_str(), artifact["sha256"].as_str()), (Some("receiving"), None), "{artifact}");
    house.engineer_sftp("anna", &key, "get /XT-4711/dump.bin early").refused(1);
    assert!(house.spool().is_empty(), "nothing is complete, so nothing is told");
    resume(&house, &ticket, &source, "dump.bin", durable);
    house.check_invariants(&[(&ticket, "dump.bin", sha256(&source))], &[b"dump.bin"]);
}

#[test]
fn r26_an_upload_survives_the_end_of_its_client() {
    let (house, ticket, _) = house().furnish();
    let source = random_file(&house.work().join("dump.bin"), 100 * MIB, 4);
    let mut upload = house.slow_put(&ticket, &source, "dump.bin", 30);
    let durable = await_durable(&house, &ticket, "dump.bin", 33 * MIB);
    upload.kill();
    resume(&house, &ticket, &source, "dump.bin", durable);
    house.check_invariants(&[(&ticket, "dump.bin", sha256(&source))], &[]);
}

#[test]
fn r26_a_new_version_that_is_cut_leaves_the_old_one_and_can_be_continued() {
    let (mut house, ticket, key) = house().furnish();
    let old = random_file(&house.work().join("old"), 3 * MIB, 5);
    let new = random_file(&house.work().join("new"), 90 * MIB, 6);
    house.put(&ticket, &old, "dump.bin");
    let upload = house.slow_put(&ticket, &new, "dump.bin", 30);
    std::thread::sleep(Duration::from_millis(2500));
    house.kill();
    assert_ne!(upload.finish().code(), Some(0));
    house.start();
    house.assert_holds(&ticket, "dump.bin", &sha256(&old));
    house.engineer_sftp("anna", &key, "get /XT-4711/dump.bin back").ok();
    assert_eq!(sha256(&house.work().join("back")), sha256(&old));
    house.customer(&ticket, "put new dump.bin").ok();
    let artifact = house.assert_holds(&ticket, "dump.bin", &sha256(&new));
    assert!(artifact["version"].as_u64() >= Some(2), "{artifact}");
    house.check_invariants(&[(&ticket, "dump.bin", sha256(&new))], &[]);
}

#[test]
fn sigterm_lets_an_upload_finish() {
    let (mut house, ticket, _) = house().furnish();
    let source = random_file(&house.work().join("dump.bin"), 48 * MIB, 7);
    let mut upload = house.slow_put(&ticket, &source, "dump.bin", 12);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!upload.has_ended());
    house.terminate();
    std::thread::sleep(Duration::from_millis(500));
    assert!(!upload.has_ended(), "the upload must go on: {}", upload.stderr());
    let late = house.customer(&ticket, "ls");
    assert_ne!(late.code(), Some(0), "a server that drains takes no new sessions");
    upload.finish().ok();
    house.ended();
    house.start();
    house.check_invariants(&[(&ticket, "dump.bin", sha256(&source))], &[]);
}

#[test]
fn sigterm_does_not_wait_for_ever_and_what_is_cut_can_be_continued() {
    let (mut house, ticket, _) = house().set("SERVER__DRAIN_SECONDS", "2").furnish();
    let source = random_file(&house.work().join("dump.bin"), 120 * MIB, 8);
    let upload = house.slow_put(&ticket, &source, "dump.bin", 10);
    let durable = await_durable(&house, &ticket, "dump.bin", 4 * MIB);
    house.stop();
    assert_ne!(upload.finish().code(), Some(0));
    house.start();
    resume(&house, &ticket, &source, "dump.bin", durable);
}
