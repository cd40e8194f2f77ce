//! Recovery at start, `store check` and `store sweep`, from outside.

use std::fs;

use crate::support::eventually;
use crate::support::files::{all_files, random_file, sha256, show_tech};
use crate::support::server::House;

const MIB: u64 = 1 << 20;

/// What a server said when it last looked through its store.
fn summary(house: &House) -> String {
    let log = house.log();
    let line = log.lines().rfind(|line| line.contains("the store was looked through"));
    line.unwrap_or_else(|| panic!("no summary: {log}")).to_owned()
}

#[test]
fn r30_what_kill_9_leaves_is_recovered_and_unknown_objects_wait() {
    let house = House::new().set("STORAGE__CHECKPOINT_SECONDS", "1").set("STORAGE__QUARANTINE_DAYS", "0");
    let (mut house, ticket, _) = house.furnish();
    assert!(summary(&house).contains("objects=0"), "{}", summary(&house));
    let done = random_file(&house.work().join("done.bin"), 5 * MIB, 1);
    house.put(&ticket, &done, "done.bin");
    let source = random_file(&house.work().join("dump.bin"), 120 * MIB, 2);
    let upload = house.slow_put(&ticket, &source, "dump.bin", 30);
    eventually("durable bytes", || {
        house.artifact(&ticket, "dump.bin")?["size"].as_u64().filter(|size| *size > 40 * MIB)
    });
    // Beside the upload nothing is wrong.
    house.tacdrop(["store", "check", "--deep"]).ok();
    house.kill();
    upload.finish();
    let objects = house.data().join("objects");
    let unknown = objects.join("5a").join("5a".repeat(16));
    let foreign = objects.join("5a").join("README");
    let unfinished = objects.join("new").join("ab".repeat(16));
    for path in [&unknown, &foreign, &unfinished] {
        fs::write(path, b"not in the records").unwrap();
    }

    house.start();
    let line = summary(&house);
    assert!(line.contains(" damaged=0") && line.contains(" shortened=0") && line.contains(" discarded=0"), "{line}");
    assert!(!unfinished.exists(), "what was never finished is of no use");
    assert!(house.log().contains("files in the store are none of tacdrop's"));
    let checked = house.json(["store", "check"]);
    assert_eq!(checked["problems"], 0, "{checked}");
    assert!(checked["strays"].as_u64() >= Some(1), "{checked}");
    let kinds: Vec<_> = checked["findings"].as_array().unwrap().iter().map(|one| one["kind"].clone()).collect();
    assert_eq!(kinds, ["strays", "foreign"], "{checked}");

    // One scan has seen it; only the second one makes it due, even without a quarantine.
    assert_eq!(house.json(["store", "sweep"])["strays"], 0);
    assert!(unknown.exists());
    house.stop();
    house.start();
    let due = house.json(["store", "sweep", "--dry-run"]);
    assert!(due["strays"].as_u64() >= Some(1) && due["dry_run"] == true, "{due}");
    assert!(unknown.exists(), "a dry run removes nothing");
    let swept = house.json(["store", "sweep"]);
    assert_eq!((&swept["strays"], &swept["bytes"]), (&due["strays"], &due["bytes"]), "{swept}");
    assert!(!unknown.exists() && foreign.exists());
    let checked = house.json(["store", "check", "--deep"]);
    assert_eq!((&checked["problems"], &checked["strays"]), (&0.into(), &0.into()), "{checked}");

    // What was cut goes on, and everything holds.
    house.customer(&ticket, &format!("reput \"{}\" dump.bin", source.display())).ok();
    let known = [(&ticket, "done.bin", sha256(&done)), (&ticket, "dump.bin", sha256(&source))];
    house.check_invariants(&known, &[b"done.bin", b"dump.bin"]);
}

#[test]
fn store_check_says_what_is_lost_and_what_to_do_and_changes_nothing() {
    let (house, ticket, _) = House::open();
    let large = random_file(&house.work().join("large.bin"), 3 * MIB, 3);
    house.put(&ticket, &large, "large.bin");
    house.put(&ticket, &show_tech(&house.work().join("small.txt"), 10), "small.txt");
    let said = house.tacdrop(["store", "check"]).ok().out();
    assert!(said.contains("1 tickets, 2 versions") && said.contains("all is as it should be"), "{said}");
    let said = house.tacdrop(["store", "check", "--deep", "XT-4711"]).ok().out();
    assert!(said.contains("decrypted and hashed"), "{said}");
    house.tacdrop(["store", "check", "XT-4712"]).refused(1);

    let objects = all_files(&house.data().join("objects"));
    let extent = objects.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let away = house.work().join("away");
    fs::rename(extent, &away).unwrap();
    for _ in 0..2 {
        let failed = house.tacdrop(["store", "check"]).refused(1);
        assert!(failed.err().contains("one problem was found"), "{}", failed.err());
        let line = failed.out().lines().next().unwrap().to_owned();
        assert!(line.starts_with("PROBLEM  XT-4711  version 1 of artifact "), "{line}");
        assert!(line.contains("is missing. To do: restore the object from a backup"), "{line}");
        assert!(!failed.out().contains("large.bin"), "{}", failed.out());
    }
    fs::rename(&away, extent).unwrap();
    // Nothing was marked: what came back is as it was.
    let checked = house.json(["store", "check", "--deep"]);
    assert_eq!(checked["problems"], 0, "{checked}");
    house.assert_holds(&ticket, "large.bin", &sha256(&large));
}
