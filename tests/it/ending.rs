//! The end of a ticket, as its customer, its operator and a thief of the disk see it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::child::{Finished, Run};
use crate::support::files::{all_files, files_holding, random_file};
use crate::support::server::House;
use crate::support::sql::edit;
use crate::support::{eventually, repository};

const POLICY: &str = "[retention.incident]\nstart = \"closed\"\nperiod = \"90d\"\n";

fn house_with(policy: &str) -> House {
    let house = House::new();
    let file = house.work().join("policy.toml");
    fs::write(&file, policy).unwrap();
    house.set("POLICY__FILE", file.to_str().unwrap())
}

/// Wrapped keys, sealed names and the like, of both databases.
fn secrets(house: &House) -> Vec<Vec<u8>> {
    let records = "SELECT hex(file_key) FROM version WHERE file_key IS NOT NULL UNION SELECT hex(extent_key) FROM extent_use \
                   UNION SELECT hex(name) FROM entry WHERE name IS NOT NULL";
    let keyring = "SELECT hex(wrapped) FROM share_key";
    let mut found = Vec::new();
    for (file, text) in [("records.sqlite", records), ("keyring.sqlite", keyring)] {
        let rows = edit(&house.data().join(file), text).out();
        let before = found.len();
        found.extend(rows.lines().map(|line| hex::decode(line).unwrap()));
        assert!(found.len() > before, "{file} has something to look for");
    }
    found
}

fn hits(house: &House, secrets: &[Vec<u8>]) -> Vec<String> {
    let secrets: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).collect();
    files_holding(&house.data(), Path::new("/nowhere"), &secrets)
}

fn shell(directory: &Path, line: &str) -> Finished {
    Run::new("sh").args(["-c", line]).within(directory).finish()
}

/// Fetches the certificate and checks it as the pages say; gives its lines.
fn verified(house: &House, reference: &str) -> Vec<String> {
    let work = house.work();
    fs::write(work.join("certificate"), house.tacdrop(["certificate", "show", reference]).ok().out()).unwrap();
    fs::write(work.join("deletion_signers"), house.tacdrop(["certificate", "key"]).ok().out()).unwrap();
    let page = fs::read_to_string(repository().join("docs/operations.md")).unwrap();
    for command in [
        "sed '/^-----BEGIN SSH SIGNATURE-----$/,$d' certificate > text",
        "sed -n '/^-----BEGIN SSH SIGNATURE-----$/,$p' certificate > signature",
        "ssh-keygen -Y verify -f deletion_signers -I tacdrop -n tacdrop-deletion -s signature < text",
    ] {
        assert!(page.contains(command), "docs/operations.md has another command than {command}");
        shell(&work, command).ok();
    }
    let text = fs::read_to_string(work.join("text")).unwrap();
    fs::write(work.join("text"), text.replacen("Bytes: ", "Bytes: 1", 1)).unwrap();
    let changed = "ssh-keygen -Y verify -f deletion_signers -I tacdrop -n tacdrop-deletion -s signature < text";
    assert_ne!(shell(&work, changed).code(), Some(0), "a changed certificate passes");
    text.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn r88_a_ticket_that_was_shredded_is_gone_and_that_is_proved() {
    let (house, ticket, key) = house_with(POLICY).furnish();
    let large = random_file(&house.work().join("large"), 3 << 20, 1);
    house.put(&ticket, &large, "dump.bin");
    house.put(&ticket, &random_file(&house.work().join("small"), 9000, 2), "show-tech.txt");
    house.engineer_sftp("anna", &key, "get /XT-4711/dump.bin fetched").ok();
    let secrets = secrets(&house);
    assert!(!hits(&house, &secrets).is_empty(), "the search finds what there is");
    let artifact = house.artifacts(&ticket).into_iter().find(|line| line["path"] == "dump.bin").unwrap();
    let artifact = artifact["id"].as_str().unwrap().to_owned();

    // Closed: read-only, with a stated end.
    let closed = house.json(["ticket", "close", "XT-4711"]);
    let until = closed["readable_until"].as_str().unwrap_or_else(|| panic!("{closed}")).to_owned();
    let said = house.customer(&ticket, "get dump.bin back").ok();
    let minute = until[..16].replace('T', " ");
    assert!(said.err().contains(&format!("until {minute} UTC")), "{said}");
    assert!(house.tacdrop(["ticket", "show", "XT-4711"]).ok().out().contains(&format!("until {minute} UTC")));
    let plan = house.json(["retention", "plan"]);
    assert_eq!((plan[0]["ticket"].as_str(), plan[0]["state"].as_str()), (Some("XT-4711"), Some("later")), "{plan}");
    assert_eq!(plan[0]["due_at"].as_str(), Some(&*until));
    assert_eq!(house.json(["retention", "run"])["shredded"], Value::Array(Vec::new()));

    // Held: nothing goes.
    house.tacdrop(["ticket", "hold", "XT-4711", "--reason", "lawsuit 7"]).ok();
    let refused = house.tacdrop(["ticket", "shred", "XT-4711", "--yes"]).refused(1).err();
    assert!(refused.contains("lawsuit 7"), "{refused}");
    assert!(house.tacdrop(["ticket", "show", "XT-4711"]).ok().out().contains("Held since"));
    house.tacdrop(["ticket", "release", "XT-4711"]).ok();

    let asked = house.tacdrop(["ticket", "shred", "XT-4711"]).refused(1).err();
    assert!(asked.contains("2 artifacts in 2 versions") && asked.contains("--yes"), "{asked}");
    let done = house.json(["ticket", "shred", "XT-4711", "--yes"]);
    assert!(done["objects_removed_at"].is_string() && done["journal_owed"] == false, "{done}");
    assert_eq!(hits(&house, &secrets), Vec::<String>::new());
    let objects = all_files(&house.data().join("objects"));
    assert!(objects.iter().all(|file| file.ends_with("house")), "{objects:?}");
    house.customer(&ticket, "ls").refused(255);
    house.engineer_sftp("anna", &key, "get /XT-4711/dump.bin gone").refused(1);
    house.tacdrop(["ticket", "show", "XT-4711"]).refused(1);

    // What proves it.
    let log = house.json(["report", "deletions", "--from", "today"]);
    let (one, size) = (&log[0], 9000 + (3 << 20));
    assert_eq!((one["ticket"].as_str(), one["artifacts"].as_u64()), (Some("XT-4711"), Some(2)), "{log}");
    assert_eq!((one["bytes"].as_u64(), one["reason"].as_str()), (Some(size), Some("request")), "{log}");
    assert_eq!(house.json(["report", "deletions", "--to", "yesterday"]), Value::Array(Vec::new()));
    let lines = verified(&house, "XT-4711");
    for line in ["Ticket: XT-4711".to_owned(), format!("Bytes: {size}"), "Deleted-By: operator".to_owned()] {
        assert!(lines.contains(&line), "{line} is not in {lines:#?}");
    }
    house.tacdrop(["audit", "verify", "--records"]).ok();
    let who = house.json(["report", "access", "--artifact", &artifact]);
    assert_eq!(who["intact"], true, "{who}");
    let reads: Vec<_> =
        who["lines"].as_array().unwrap().iter().filter(|line| line["kind"] == "artifact.read").collect();
    assert!(reads.iter().any(|line| line["actor"] == "anna" && line["whole"] == true), "{who}");
    let list =
        house.json(["audit", "list", "XT-4711", "--since", "1h", "--by", "operator", "--kind", "ticket.shredded"]);
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");

    // The reference anew.
    let next = house.ticket("XT-4711", "anna");
    assert_eq!(house.artifacts(&next), Vec::<Value>::new());
    house.customer(&ticket, "ls").refused(255);
    house.customer(&next, "get dump.bin gone").refused(1);
    house.put(&next, &large, "dump.bin");
    house.tacdrop(["audit", "verify", "--records"]).ok();
    house.tacdrop(["doctor"]).out();
}

#[test]
fn r88_a_command_that_is_killed_while_it_shreds_is_ended_by_the_server() {
    let (mut house, ticket, _) = House::new().furnish();
    for number in 0..4 {
        let source = random_file(&house.work().join("file"), 200_000, number);
        house.put(&ticket, &source, &format!("f{number}"));
    }
    let secrets = secrets(&house);
    for milliseconds in [5, 20, 40, 60, 90] {
        let mut job = house.command(["ticket", "shred", "XT-4711", "--yes"]).start();
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        job.kill();
        let begun = house.json(["report", "deletions"]);
        if begun.as_array().is_some_and(|log| !log.is_empty()) {
            break;
        }
    }
    if house.json(["report", "deletions"]) == Value::Array(Vec::new()) {
        house.tacdrop(["ticket", "shred", "XT-4711", "--yes"]).ok();
    }
    house.kill();
    house.start();
    let ended = eventually("the end of what was begun", || {
        let log = house.json(["report", "deletions"]);
        log[0]["objects_removed_at"].is_string().then_some(log)
    });
    assert_eq!(ended.as_array().map(Vec::len), Some(1), "{ended}");
    assert_eq!(hits(&house, &secrets), Vec::<String>::new());
    verified(&house, "XT-4711");
    house.tacdrop(["audit", "verify", "--records"]).ok();
    house.ticket("XT-4711", "anna");
}

#[test]
fn a_policy_that_says_what_none_says_stops_everything_that_would_follow_it() {
    let house = house_with("[retention.incident]\nstart = \"closed\"\nperiod = \"90\"\n");
    for args in [&["config", "check"][..], &["serve"], &["doctor"]] {
        let said = house.command(args.iter().copied()).finish();
        let text = said.out() + &said.err();
        assert!(
            said.code() == Some(1) && text.contains("policy.toml, line 3: a period is a number"),
            "{args:?}: {text}"
        );
    }
    let house = House::new();
    let shipped = repository().join("config/policy.toml");
    let house = house.set("POLICY__FILE", shipped.to_str().unwrap());
    house.tacdrop(["config", "check"]).ok();
}

/// What a release has stands in its default features.
#[test]
fn no_release_has_a_clock_that_tests_move() {
    let manifest: toml::Table = fs::read_to_string(repository().join("Cargo.toml")).unwrap().parse().unwrap();
    let features = manifest["features"].as_table().unwrap();
    assert_eq!(features["default"].as_array().unwrap().len(), 1, "{features}");
    for (name, parts) in features.iter().filter(|(name, _)| *name != "test-clock") {
        assert!(!parts.to_string().contains("test-clock"), "{name} has it: {parts}");
    }
    for file in ["tests/run", ".ci/run"] {
        let text = fs::read_to_string(repository().join(file)).unwrap();
        assert!(!text.contains("test-clock"), "{file} builds it");
    }
}

/// With the feature `test-clock`: `cargo test --features test-clock --test it -- ending`.
#[cfg(feature = "test-clock")]
#[test]
fn r68_when_its_time_is_over_a_ticket_goes_by_itself_unless_the_clock_jumped() {
    const MONTHS: u64 = 91 * 86_400;
    let house = house_with(POLICY);
    let clock = house.work().join("clock");
    let move_to = |seconds: u64| fs::write(&clock, seconds.to_string()).unwrap();
    move_to(0);
    let (mut house, ticket, _) = house.environment("TACDROP_TEST_CLOCK", clock.to_str().unwrap()).furnish();
    house.put(&ticket, &random_file(&house.work().join("f"), 100_000, 1), "f");
    let secrets = secrets(&house);
    house.tacdrop(["ticket", "close", "XT-4711"]).ok();
    house.tacdrop(["retention", "run"]).ok();
    // Three months go by while the server runs.
    move_to(MONTHS);
    std::thread::sleep(std::time::Duration::from_secs(3));
    house.stop();
    let plan = house.json(["retention", "plan"]);
    assert_eq!(plan[0]["state"].as_str(), Some("now"), "{plan}");
    house.start();
    let log = eventually("the hourly look of the server", || {
        let log = house.json(["report", "deletions"]);
        log[0]["objects_removed_at"].is_string().then_some(log)
    });
    assert_eq!((log[0]["reason"].as_str(), log[0]["actor"].as_str()), (Some("retention"), Some("server")), "{log}");
    assert_eq!(log[0]["rule"].as_str(), Some("retention.incident: 90d after closed"));
    assert_eq!(hits(&house, &secrets), Vec::<String>::new());
    assert!(verified(&house, "XT-4711").contains(&"Deleted-By: server".to_owned()));

    // The clock jumps while no server runs.
    let next = house.ticket("XT-4711", "anna");
    house.put(&next, &house.work().join("f"), "f");
    house.tacdrop(["ticket", "close", "XT-4711"]).ok();
    house.stop();
    move_to(2 * MONTHS);
    let refused = house.tacdrop(["retention", "run"]).refused(1).err();
    assert!(refused.contains("--confirm-clock"), "{refused}");
    assert!(house.tacdrop(["doctor"]).refused(1).out().contains("--confirm-clock"));
    house.start();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(house.json(["report", "deletions"]).as_array().map(Vec::len), Some(1), "the server does not either");
    house.tacdrop(["retention", "run", "--confirm-clock"]).ok();
    assert_eq!(house.json(["report", "deletions"]).as_array().map(Vec::len), Some(2));
    house.tacdrop(["audit", "verify", "--records"]).ok();
}
