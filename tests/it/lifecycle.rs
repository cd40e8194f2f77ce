//! Withdrawing, restoring and shredding by command while the server runs, and clocks that jump.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::child::Run;
use crate::support::files::{random_file, sha256};
use crate::support::server::{House, Ticket};
use crate::support::{eventually, python, script};

/// Path, number and state of every version.
fn versions(house: &House, ticket: &Ticket) -> Vec<(String, u64, String)> {
    let list = house.json(["artifact", "list", &ticket.reference, "--versions"]);
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().trim_start_matches('/').to_owned();
    list.as_array()
        .unwrap()
        .iter()
        .map(|line| {
            let state = text(line, "state");
            let goes = matches!(state.as_str(), "withdrawn" | "receiving" | "incomplete");
            assert_eq!(line["removed_at"].is_string(), goes, "{line}");
            (text(line, "path"), line["version"].as_u64().unwrap(), state)
        })
        .collect()
}

fn version(path: &str, number: u64, state: &str) -> (String, u64, String) {
    (path.to_owned(), number, state.to_owned())
}

#[test]
fn r11_what_is_shredded_by_command_is_gone_for_clients_and_the_rest_is_not() {
    let (house, ticket, key) = House::open();
    let first = random_file(&house.work().join("first"), 3 << 20, 1);
    let second = random_file(&house.work().join("second"), 90_000, 2);
    house.put(&ticket, &first, "dump.bin");
    house.put(&ticket, &second, "dump.bin");
    let reference = ticket.reference.as_str();

    house.tacdrop(["artifact", "withdraw", reference, "dump.bin"]).ok();
    house.customer(&ticket, "ls dump.bin").refused(1);
    house.engineer_sftp("anna", &key, "get /XT-4711/dump.bin gone").refused(1);
    let away = [version("dump.bin", 1, "withdrawn"), version("dump.bin", 2, "withdrawn")];
    assert_eq!(versions(&house, &ticket), away);
    house.tacdrop(["artifact", "restore", reference, "dump.bin"]).ok();
    house.assert_holds(&ticket, "dump.bin", &sha256(&second));
    house.tacdrop(["artifact", "restore", reference, "dump.bin"]).refused(1);

    let said = house.tacdrop(["artifact", "shred", reference, "dump.bin", "--version", "2"]).refused(1).err();
    assert!(said.contains("version 2") && said.contains("--yes") && said.contains("gone for good"), "{said}");
    house.assert_holds(&ticket, "dump.bin", &sha256(&second));
    let done = house.json(["artifact", "shred", reference, "dump.bin", "--version", "2", "--yes"]);
    assert_eq!((done["versions"][0].as_u64(), done["current"].as_u64()), (Some(2), Some(1)), "{done}");
    house.assert_holds(&ticket, "dump.bin", &sha256(&first));
    house.engineer_sftp("anna", &key, "get /XT-4711/dump.bin back").ok();
    assert_eq!(sha256(&house.work().join("back")), sha256(&first));

    house.tacdrop(["artifact", "shred", reference, "dump.bin", "--yes"]).ok();
    house.customer(&ticket, "ls dump.bin").refused(1);
    let said = house.tacdrop(["artifact", "restore", reference, "dump.bin"]).refused(1).err();
    assert!(said.contains("destroyed"), "{said}");
    house.put(&ticket, &second, "dump.bin");
    let all =
        [version("dump.bin", 1, "shredded"), version("dump.bin", 2, "shredded"), version("dump.bin", 3, "available")];
    assert_eq!(versions(&house, &ticket), all);
    house.tacdrop(["artifact", "verify"]).ok();
}

pub(crate) fn libfaketime() -> PathBuf {
    let places = fs::read_dir("/usr/lib").unwrap().map(|item| item.unwrap().path());
    let found = places.map(|place| place.join("faketime/libfaketimeMT.so.1")).find(|library| library.exists());
    found.expect("libfaketime is missing: tests/run installs what the tests need")
}

/// The day on which a file was received, as it is listed.
fn received(house: &House, ticket: &Ticket, path: &str) -> String {
    house.artifact(ticket, path).unwrap()["received_at"].as_str().unwrap()[..10].to_owned()
}

fn jump_by(jump: &str) {
    let place = tempfile::tempdir().unwrap();
    let clock: &Path = &place.path().join("clock");
    fs::write(clock, "+0").unwrap();
    let (mut house, ticket, key) = House::new()
        .set("STORAGE__CHECKPOINT_SECONDS", "1")
        .environment("LD_PRELOAD", libfaketime().to_str().unwrap())
        .environment("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap())
        .environment("FAKETIME_NO_CACHE", "1")
        .environment("DONT_FAKE_MONOTONIC", "1")
        .furnish();
    let source = random_file(&house.work().join("source"), 200_000, 1);
    let large = random_file(&house.work().join("large"), 60 << 20, 2);
    for name in ["kept", "gone", "due"] {
        house.put(&ticket, &source, name);
    }
    house.customer(&ticket, "rm gone").ok();
    house.customer(&ticket, "rm due").ok();
    let mut upload = house.slow_put(&ticket, &large, "cut", 10);
    eventually("something durable of an upload", || {
        house.artifact(&ticket, "cut").filter(|line| line["size"].as_u64() > Some(2 << 20))
    });

    // It jumps while an upload is under way, which goes on.
    fs::write(clock, jump).unwrap();
    let so_far = house.artifact(&ticket, "cut").unwrap()["size"].as_u64();
    eventually("more of the upload", || house.artifact(&ticket, "cut").filter(|line| line["size"].as_u64() > so_far));
    upload.kill();
    house.put(&ticket, &source, "after");
    assert_ne!(received(&house, &ticket, "after"), received(&house, &ticket, "kept"), "the clock must have jumped");

    // A server looks for what has expired as soon as it has started. It finds the one whose time in
    // the house is over.
    house.stop();
    Run::new(python()).arg("-B").arg(script("records.py")).arg("overdue").arg(house.data()).finish().ok();
    house.start();
    eventually("the keys of the file whose grace is over are destroyed", || {
        versions(&house, &ticket).contains(&version("due", 1, "shredded")).then_some(())
    });
    let now = versions(&house, &ticket);
    let line = now.iter().find(|(path, _, _)| path == "cut").unwrap();
    assert!(["receiving", "incomplete"].contains(&line.2.as_str()), "{now:?}");
    assert!(now.contains(&version("gone", 1, "withdrawn")), "{now:?}");
    house.tacdrop(["artifact", "restore", &ticket.reference, "gone"]).ok();
    house.customer(&ticket, &format!("reput \"{}\" cut", large.display())).ok();
    for (name, file) in [("kept", &source), ("gone", &source), ("after", &source), ("cut", &large)] {
        house.assert_holds(&ticket, name, &sha256(file));
    }
    house.engineer_sftp("anna", &key, "get /XT-4711/gone back").ok();
    house.tacdrop(["artifact", "verify"]).ok();
    Run::new(python()).arg("-B").arg(script("records.py")).arg("audit").arg(house.data()).finish().ok();
}

#[test]
fn r29_a_clock_that_jumps_ahead_takes_nothing_away_early() {
    jump_by("+30d");
}

#[test]
fn r29_a_clock_that_jumps_back_takes_nothing_away_early() {
    jump_by("-30d");
}
