//! The legacy SCP protocol, with the programs that speak it: OpenSSH's `scp -O`, PuTTY's `pscp
//! -scp`, curl, and what devices send.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::support::child::Run;
use crate::support::eventually;
use crate::support::files::{all_files, random_file, sha256, show_tech};
use crate::support::server::House;

const MIB: u64 = 1 << 20;

/// A tree with the names that make trouble: relative paths and their files.
fn tree(root: &Path) -> Vec<PathBuf> {
    let long = format!("{}.log", "n".repeat(251));
    let names = [
        b"a b/Gr\xc3\xb6\xc3\x9fe.txt".as_slice(),
        b"a b/x  y",
        b"deep/er/still/0",
        b"deep/one",
        b"emoji \xf0\x9f\x93\xa6",
        long.as_bytes(),
        b"-dash",
        b"it's [1] *.txt",
        b"not\xfftext",
    ];
    names
        .iter()
        .zip([70_000, 5, 0, 1, 300_000, 17, 65_536, 9, 12])
        .map(|(name, size)| {
            let path = root.join(std::ffi::OsStr::from_bytes(name));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            random_file(&path, size, size)
        })
        .collect()
}

fn same(one: &Path, other: &Path) {
    Run::new("diff").arg("-r").arg(one).arg(other).finish().ok();
}

fn set_times(path: &Path, seconds: u64, mode: u32) {
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn openssh_copies_files_up_and_down() {
    let (house, ticket, key) = House::open();
    let work = house.work();
    let customer = house.as_customer(&ticket);
    let umlaut = format!("ä{}.bin", "ö".repeat(124));
    let files = [("large.bin", 40 * MIB), ("empty", 0), ("one", 1), ("a b.txt", 70_000), (&umlaut, 4711)];
    for (name, size) in files {
        random_file(&work.join(name), size, size + 7);
    }
    set_times(&work.join("one"), 1_234_567_890, 0o604);
    customer.scp().arg("-p").args(files.map(|(name, _)| name)).arg(customer.at("")).finish().ok();
    for (name, _) in files {
        house.assert_holds(&ticket, name, &sha256(&work.join(name)));
    }
    let notice = house.await_notices(1);
    assert_eq!(notice[0]["artifacts"].as_array().unwrap().len(), files.len(), "{notice:#?}");
    customer.scp().args([&customer.at(".receipts/one.sha256"), "."]).finish().ok();
    Run::new("sha256sum").args(["--strict", "-c", "one.sha256"]).within(&work).finish().ok();

    fs::create_dir(work.join("back")).unwrap();
    let from = files.map(|(name, _)| customer.at(&format!("'{name}'")));
    // scp compares what comes with what it asked for, quotes included, unless told not to.
    customer.scp().args(["-p", "-T"]).args(&from).arg("back").finish().ok();
    for (name, _) in files {
        assert_eq!(sha256(&work.join("back").join(name)), sha256(&work.join(name)), "{name}");
    }
    let one = fs::metadata(work.join("back/one")).unwrap();
    assert_eq!((one.mtime(), one.mode() & 0o777), (1_234_567_890, 0o604));

    // To a new name; over an existing one, which is a new version; into a directory that is none.
    customer.scp().args(["large.bin", &customer.at("new name.bin")]).finish().ok();
    house.assert_holds(&ticket, "new name.bin", &sha256(&work.join("large.bin")));
    customer.scp().args(["one", &customer.at("empty")]).finish().ok();
    let second = house.assert_holds(&ticket, "empty", &sha256(&work.join("one")));
    assert_eq!(second["version"], 2, "{second}");
    for (target, sentence) in
        [("none/", "There is no directory of this name."), ("none/x", "There is no file or directory of this name.")]
    {
        let refused = customer.scp().args(["one", &customer.at(target)]).finish().refused(1);
        assert!(refused.err().contains(sentence), "{}", refused.err());
    }
    let refused = customer.scp().args(["one", "empty", &customer.at("none")]).finish().refused(1);
    assert!(refused.err().contains("scp: none: There is no"), "{}", refused.err());

    // The engineer's side.
    let scp = || house.with_key("scp", &key).args(["-O", "-P", &house.port().to_string()]);
    scp().args(["anna@127.0.0.1:/XT-4711/large.bin", "engineer"]).finish().ok();
    assert_eq!(sha256(&work.join("engineer")), sha256(&work.join("large.bin")));
    scp().args(["one", "anna@127.0.0.1:/XT-4711/from-support/"]).finish().ok();
    scp().args(["-r", "back", "anna@127.0.0.1:/XT-4711/from-support"]).finish().ok();
    for answer in ["from-support/one", "/XT-4711/from-support/back/one"] {
        customer.scp().args([&customer.at(answer), "answer"]).finish().ok();
        assert_eq!(sha256(&work.join("answer")), sha256(&work.join("one")));
        fs::remove_file(work.join("answer")).unwrap();
    }
    let refused = scp().args(["one", "anna@127.0.0.1:/XT-4711/"]).finish().refused(1);
    assert!(refused.err().contains("Engineers write to 'from-support' only"), "{}", refused.err());
    let refused = customer.scp().args(["one", &customer.at("from-support/mine")]).finish().refused(1);
    assert!(refused.err().contains("Only support engineers write to 'from-support'"), "{}", refused.err());
}

#[test]
fn openssh_copies_trees_up_and_down() {
    let (house, ticket, _) = House::open();
    let work = house.work();
    let files = tree(&work.join("tree"));
    let customer = house.as_customer(&ticket);
    set_times(&work.join("tree/deep/one"), 1_111_111_111, 0o600);
    set_times(&work.join("tree/deep/er"), 1_222_222_222, 0o710);
    customer.scp().args(["-r", "-p", "tree", &customer.at("")]).finish().ok();
    assert_eq!(house.artifacts(&ticket).len(), files.len());
    customer.scp().args(["-r", "-p", &customer.at("tree"), "back"]).finish().ok();
    same(&work.join("tree"), &work.join("back"));
    let (one, er) =
        (fs::metadata(work.join("back/deep/one")).unwrap(), fs::metadata(work.join("back/deep/er")).unwrap());
    assert_eq!((one.mtime(), one.mode() & 0o777), (1_111_111_111, 0o600));
    assert_eq!((er.mtime(), er.mode() & 0o777), (1_222_222_222, 0o710));
    // Again into the same directories, under a new name, and everything at once.
    customer.scp().args(["-r", "tree", &customer.at("/XT-4711/")]).finish().ok();
    customer.scp().args(["-r", "tree", &customer.at("other name")]).finish().ok();
    customer.scp().args(["-r", &customer.at("'other name'"), "renamed"]).finish().ok();
    same(&work.join("tree"), &work.join("renamed"));
    customer.scp().args(["-r", &customer.at("/"), "."]).finish().ok();
    same(&work.join("tree"), &work.join("XT-4711/tree"));
    same(&work.join("tree"), &work.join("XT-4711/other name"));
    customer.scp().args(["-r", &customer.at(".receipts"), "receipts"]).finish().ok();
    // Names of 255 bytes leave no room for what comes behind a receipt's.
    assert_eq!(all_files(&work.join("receipts")).len(), 1 + 2 * 2 * (files.len() - 1));
    let refused = customer.scp().args(["-r", "tree", &customer.at("tree/deep/one")]).finish().refused(1);
    assert!(refused.err().contains("This is a file; a directory is needed here."), "{}", refused.err());
    let refused = customer.scp().args([&customer.at("tree"), "x"]).finish().refused(1);
    assert!(refused.err().contains("To fetch it use the option -r."), "{}", refused.err());
}

#[test]
fn r58_wildcards_fetch_what_fits() {
    let (house, ticket, _) = House::open();
    let work = house.work();
    let customer = house.as_customer(&ticket);
    for (seed, name) in ["a.txt", "b.txt", "c.log", "Größe.txt"].into_iter().enumerate() {
        random_file(&work.join(name), 1000, seed as u64);
    }
    customer.scp().args(["a.txt", "b.txt", "c.log", "Größe.txt", &customer.at("")]).finish().ok();
    let fetch = |pattern: &str, into: &str| {
        fs::create_dir(work.join(into)).unwrap();
        customer.scp().args([&customer.at(pattern), into]).finish()
    };
    fetch("*.txt", "all").ok();
    fetch("?.t?t", "two").ok();
    let names = |into: &str| {
        let files = all_files(&work.join(into));
        files.iter().map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("all"), ["Größe.txt", "a.txt", "b.txt"]);
    assert_eq!(names("two"), ["a.txt", "b.txt"]);
    let none = fetch("*.gz", "none").refused(1);
    assert!(none.err().contains("scp: /*.gz: There is no file"), "{}", none.err());
    // No shell, whatever the path looks like.
    let marker = work.join("marker");
    for evil in ["$(touch marker)", "`touch marker`", "x;touch marker", "x|touch marker"] {
        customer.scp().args([&customer.at(evil), "none"]).finish().refused(1);
        customer.scp().args(["a.txt", &customer.at(evil)]).finish().refused(1);
    }
    assert!(!marker.exists() && !house.data().join("marker").exists());
}

#[test]
fn pscp_copies_up_and_down() {
    let (house, ticket, _) = House::open();
    let work = house.work();
    let customer = house.as_customer(&ticket);
    let large = random_file(&work.join("large.bin"), 20 * MIB, 3);
    let files = [random_file(&work.join("a b"), 5000, 4), random_file(&work.join("empty"), 0, 5)];
    set_times(&work.join("a b"), 1_333_333_333, 0o640);
    customer.pscp().args(["-p", "large.bin", "a b", "empty", &customer.at("")]).finish().ok();
    house.assert_holds(&ticket, "large.bin", &sha256(&large));
    for file in &files {
        house.assert_holds(&ticket, file.file_name().unwrap().to_str().unwrap(), &sha256(file));
    }
    customer.pscp().args([&customer.at("large.bin"), "back.bin"]).finish().ok();
    assert_eq!(sha256(&work.join("back.bin")), sha256(&large));
    customer.pscp().args(["a b", &customer.at("new name")]).finish().ok();
    house.assert_holds(&ticket, "new name", &sha256(&files[0]));
    for name in ["logs/one", "logs/deep/two", "logs/deep/empty"] {
        fs::create_dir_all(work.join(name).parent().unwrap()).unwrap();
        random_file(&work.join(name), name.len() as u64 * 1000, 6);
    }
    customer.pscp().args(["-r", "logs", &customer.at("")]).finish().ok();
    fs::create_dir(work.join("back")).unwrap();
    customer.pscp().args(["-r", "-p", &customer.at("logs"), "back"]).finish().ok();
    same(&work.join("logs"), &work.join("back/logs"));
    fs::create_dir(work.join("fit")).unwrap();
    customer.pscp().args(["-unsafe", &customer.at("logs/deep/*"), "fit"]).finish().ok();
    assert_eq!(all_files(&work.join("fit")).len(), 2);
    let failed = customer.pscp().args([&customer.at("none"), "x"]).finish().refused(1);
    assert!(failed.err().contains("There is no file or directory of this name."), "{failed}");
    house.tacdrop(["ticket", "close", "XT-4711"]).ok();
    let failed = customer.pscp().args(["empty", &customer.at("late")]).finish().refused(1);
    assert!(failed.err().contains("This ticket is closed"), "{failed}");
}

#[test]
fn exit_codes_say_what_became_of_it() {
    let (house, ticket, _) = House::open();
    let customer = house.as_customer(&ticket);
    random_file(&house.work().join("a"), 10, 1);
    customer.scp().args(["a", &customer.at("")]).finish().ok();
    customer.scp().args([&customer.at("a"), "back"]).finish().ok();
    let missing = customer.scp().args([&customer.at("none"), "x"]).finish().refused(1);
    assert!(missing.err().contains("scp: /none: There is no file"), "{}", missing.err());
    // One of several: the others are copied.
    fs::create_dir(house.work().join("some")).unwrap();
    customer.scp().args([&customer.at("none"), &customer.at("a"), "some"]).finish().refused(1);
    assert!(house.work().join("some/a").exists());
    let sent = customer.scp().args(["no-such-file", "a", &customer.at("")]).finish().refused(1);
    assert!(sent.err().contains("no-such-file"), "{}", sent.err());
    assert_eq!(house.artifact(&ticket, "a").unwrap()["version"], 2);
    for (command, code) in [("scp -t -S sh .", 1), ("scp", 1), ("scp -f", 1), ("scpx -t .", 127), ("scp -t .;id", 127)]
    {
        customer.ssh(command).finish().refused(code);
    }
    house.tacdrop(["ticket", "close", "XT-4711"]).ok();
    let closed = customer.scp().args(["a", &customer.at("late")]).finish().refused(1);
    assert!(
        closed.err().contains("scp: late: This ticket is closed and its share can only be read."),
        "{}",
        closed.err()
    );
    let closed = customer.scp().args(["-r", "some", &customer.at("")]).finish().refused(1);
    assert!(closed.err().contains("This ticket is closed"), "{}", closed.err());
    customer.scp().args([&customer.at("a"), "still"]).finish().ok();
}

#[test]
fn supportconfig_and_devices_send_as_they_do() {
    let (house, ticket, _) = House::open();
    let work = house.work();
    let customer = house.as_customer(&ticket);
    let bundle = random_file(&work.join("scc_host_260101.txz"), 3 * MIB, 9);
    let sum = Run::new("md5sum").arg("scc_host_260101.txz").within(&work).finish().ok().out();
    fs::write(work.join("scc_host_260101.txz.md5"), sum).unwrap();
    for name in ["scc_host_260101.txz.md5", "scc_host_260101.txz"] {
        customer.scp().args([name, &customer.at("")]).finish().ok();
    }
    house.assert_holds(&ticket, "scc_host_260101.txz", &sha256(&bundle));
    eventually("the comparison with the sender's digest", || {
        let checks = house.artifact(&ticket, "scc_host_260101.txz")?["sender_checks"].clone();
        (checks == serde_json::json!([{ "algorithm": "md5", "result": "matches" }])).then_some(())
    });
    // PAN-OS and ASA name the file; some send without waiting, some name the program by its path.
    let tech = show_tech(&work.join("tech"), 500);
    let bytes = fs::read(&tech).unwrap();
    let stream = |name: &str| [format!("C0600 {} {name}\n", bytes.len()).as_bytes(), &bytes[..], b"\0"].concat();
    for (command, target) in [
        ("scp -t /show-tech.txt", "show-tech.txt"),
        ("/usr/bin/scp -v -p -t /XT-4711/ts.tgz", "ts.tgz"),
        ("scp -qt -- tech 1.txt", "tech 1.txt"),
    ] {
        let said = customer.ssh(command).stdin(stream("whatever")).finish().ok();
        assert_eq!(said.stdout, [0; 3]);
        house.assert_holds(&ticket, target, &sha256(&tech));
    }
    // curl never says that the file is complete; its size and the channel's end say it.
    let url = |path: &str| customer.url(path).replacen("sftp:", "scp:", 1);
    customer.curl().args(["-T", "tech", &url("curl.txt")]).finish().ok();
    house.assert_holds(&ticket, "curl.txt", &sha256(&tech));
    customer.curl().args(["-o", "curl-back", &url("curl.txt")]).finish().ok();
    assert_eq!(sha256(&work.join("curl-back")), sha256(&tech));
    // The same name again and again, as cron has it.
    for _ in 0..3 {
        customer.ssh("scp -t /show-tech.txt").stdin(stream("x")).finish().ok();
    }
    assert_eq!(house.artifact(&ticket, "show-tech.txt").unwrap()["version"], 4);
}

#[test]
fn what_is_cut_is_not_published() {
    let (mut house, ticket, key) = House::new().set("STORAGE__CHECKPOINT_SECONDS", "1").furnish();
    let source = random_file(&house.work().join("dump.bin"), 60 * MIB, 4);
    let slow = |house: &House, target: &str| {
        let customer = house.as_customer(&ticket);
        customer.scp().args(["-l", "65536", "dump.bin", &customer.at(target)]).start()
    };
    let receiving = |house: &House, target: &str| {
        let artifact = eventually("an upload under way", || {
            house.artifact(&ticket, target).filter(|artifact| artifact["size"].as_u64() > Some(MIB))
        });
        assert_eq!((artifact["state"].as_str(), artifact["sha256"].as_str()), (Some("receiving"), None), "{artifact}");
    };
    // A killed client.
    let mut upload = slow(&house, "one.bin");
    receiving(&house, "one.bin");
    upload.kill();
    eventually("the end of its connection", || house.log().contains("connection closed").then_some(()));
    receiving(&house, "one.bin");
    house.engineer_sftp("anna", &key, "get /XT-4711/one.bin early").refused(1);
    let scp = house.with_key("scp", &key).args(["-O", "-P", &house.port().to_string()]);
    let refused = scp.args(["anna@127.0.0.1:/XT-4711/one.bin", "early"]).finish().refused(1);
    assert!(refused.err().contains("still being received"), "{}", refused.err());
    // A killed server.
    let upload = slow(&house, "two.bin");
    receiving(&house, "two.bin");
    house.kill();
    assert_ne!(upload.finish().code(), Some(0));
    house.start();
    receiving(&house, "two.bin");
    // A server that drains lets it finish.
    let mut upload = slow(&house, "dump.bin");
    receiving(&house, "dump.bin");
    assert!(!upload.has_ended());
    house.terminate();
    upload.finish().ok();
    house.ended();
    house.start();
    house.assert_holds(&ticket, "dump.bin", &sha256(&source));
    house.check_invariants(&[(&ticket, "dump.bin", sha256(&source))], &[b"dump.bin"]);
    // Sent again, what was cut becomes whole.
    let customer = house.as_customer(&ticket);
    customer.scp().args(["dump.bin", &customer.at("one.bin")]).finish().ok();
    house.assert_holds(&ticket, "one.bin", &sha256(&source));
}

#[test]
fn three_hundred_mebibytes_with_new_keys_all_the_time() {
    let (house, ticket, _) = House::open();
    let customer = house.as_customer(&ticket);
    let source = random_file(&house.work().join("big"), 300 * MIB, 5);
    let digest = sha256(&source);
    let rekey = ["-o", "RekeyLimit=1M"];
    customer.scp().args(rekey).args(["big", &customer.at("")]).finish().ok();
    house.assert_holds(&ticket, "big", &digest);
    customer.scp().args(rekey).args([&customer.at("big"), "back"]).finish().ok();
    assert_eq!(sha256(&house.work().join("back")), digest);
}

#[test]
fn r51_slow_and_flooding_clients_cost_no_memory_and_hold_up_nobody() {
    let (house, ticket, _) = House::open();
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", house.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let source = random_file(&house.work().join("big"), 100 * MIB, 6);
    house.put(&ticket, &source, "big");
    let before = resident();
    let case = |name: &str| house.python("scp_steps.py", &ticket).arg(name);
    let slow = case("slow-reader").start();
    eventually("a reader that waits", || slow.stdout().contains("waits").then_some(()));
    house.customer(&ticket, "ls").ok();
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB for a client that takes nothing");
    assert_eq!(slow.finish().ok().out().lines().last().unwrap(), sha256(&source));
    case("flood").finish().ok();
    assert_eq!(house.artifacts(&ticket).len(), 1);
    let other = house.ticket("XT-2", "anna");
    house.python("scp_steps.py", &other).arg("two-channels").finish().ok();
    assert_eq!(house.artifacts(&other).len(), 2);
}
