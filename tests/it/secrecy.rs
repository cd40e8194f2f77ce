//! What a thief of the disk learns (nothing), and what a changed byte does (it is noticed).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::child::Run;
use crate::support::files::{all_files, contains, files_holding, random_file, sha256};
use crate::support::server::{House, Ticket};
use crate::support::{python, script};

const CONTENT: &[u8] = b"canary-in-content-5f2d";
const NAMES: [&str; 3] = ["canary-name-Größe.txt", "canary-dir-8c1", "canary-renamed-77"];

#[test]
fn r01_no_plaintext_and_no_name_is_on_the_disk() {
    let (mut house, ticket, _) = House::new().set("STORAGE__CHECKPOINT_SECONDS", "1").furnish();
    let canaries: Vec<&[u8]> = [CONTENT].into_iter().chain(NAMES.iter().map(|name| name.as_bytes())).collect();
    let small = house.work().join("small");
    fs::write(&small, CONTENT.repeat(50)).unwrap();
    let large = house.work().join("large");
    fs::write(&large, CONTENT.repeat(3_000_000)).unwrap();
    let assert_clean = |house: &House, when: &str| {
        let spool = house.data().join("notices");
        let hits = files_holding(&house.data(), &spool, &canaries);
        assert!(hits.is_empty(), "{when}: {hits:#?}");
    };
    let [name, directory, renamed] = NAMES;
    house
        .customer(&ticket, &format!("mkdir {directory}\nput small {directory}/{name}\nput small x\nrename x {renamed}"))
        .ok();
    assert_clean(&house, "after small files");
    let mut upload = house.slow_put(&ticket, &large, name, 20);
    std::thread::sleep(Duration::from_millis(2300));
    assert!(!upload.has_ended());
    assert_clean(&house, "during an upload");
    let objects = all_files(&house.data().join("objects"));
    assert!(objects.iter().any(|path| !path.ends_with("house") && fs::metadata(path).unwrap().len() > 0));
    house.kill();
    drop(upload);
    assert_clean(&house, "after kill -9");
    house.start();
    house.customer(&ticket, &format!("put large {name}\nget {name} back\nls -la {directory}")).ok();
    assert_eq!(sha256(&house.work().join("back")), sha256(&large));
    house.tacdrop(["artifact", "list", "XT-4711"]).ok();
    house.await_notices(2);
    assert_clean(&house, "while it is served");
    house.stop();
    assert_clean(&house, "after the end");
    // The search itself can find something: the spool names the files.
    assert!(!files_holding(&house.data(), Path::new("/nowhere"), &[NAMES[0].as_bytes()]).is_empty());
    let log = house.log();
    assert!(canaries.iter().all(|canary| !contains(log.as_bytes(), canary)), "a name in the log:\n{log}");
    assert!(!log.contains(&ticket.token), "a token in the log:\n{log}");
    let token = files_holding(&house.data(), Path::new("/nowhere"), &[ticket.token.as_bytes()]);
    assert!(token.is_empty(), "only a keyed hash of the token is kept: {token:#?}");
    for path in all_files(&house.data()) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{} can be used by others", path.display());
    }
}

/// Where an encrypted object lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Stored {
    File(PathBuf),
    Record(String),
}

impl Stored {
    /// All objects of a house. Paths are relative to the data directory, so that they hold for its
    /// copies.
    fn of(house: &House) -> BTreeSet<(Self, u64)> {
        let mut all = BTreeSet::new();
        for path in all_files(&house.data().join("objects")) {
            let length = fs::metadata(&path).unwrap().len();
            all.insert((Self::File(path.strip_prefix(house.data()).unwrap().to_owned()), length));
        }
        for line in records(&["objects", house.data().to_str().unwrap()]).lines() {
            let (id, length) = line.split_once(' ').unwrap();
            all.insert((Self::Record(id.to_owned()), length.parse().unwrap()));
        }
        all
    }

    /// Changes one bit of it.
    fn flip(&self, data: &Path, offset: u64) {
        match self {
            Self::File(path) => {
                let path = data.join(path);
                let mut bytes = fs::read(&path).unwrap();
                bytes[usize::try_from(offset).unwrap()] ^= 1;
                fs::write(path, bytes).unwrap();
            }
            Self::Record(id) => {
                records(&["flip", data.to_str().unwrap(), id, &offset.to_string()]);
            }
        }
    }
}

fn records(args: &[&str]) -> String {
    Run::new(python()).arg("-B").arg(script("records.py")).args(args).finish().ok().out()
}

#[test]
fn r02_a_flipped_bit_anywhere_is_noticed_and_nothing_wrong_is_delivered() {
    // Small extents, so that a small file has several.
    let (mut house, ticket, key) = House::new().set("STORAGE__EXTENT_MIB", "1").furnish();
    let mut victims: Vec<(String, Stored, u64)> = Vec::new();
    let (mut in_store, mut in_records) = (0, 0);
    // One file for each object to be hit: of the n-th large (small) file the n-th object.
    for (size, kind) in [(2_600_000, "large"), (9_000, "small")] {
        let mut number = 0;
        loop {
            let name = format!("{kind}-{number}");
            let source = random_file(&house.work().join(&name), size, 100 + number as u64);
            let before = Stored::of(&house);
            house.put(&ticket, &source, &name);
            let new: Vec<_> = Stored::of(&house).difference(&before).cloned().collect();
            assert!(!new.is_empty(), "{name} has no object of its own");
            let (stored, length) = new[number].clone();
            match stored {
                Stored::File(_) => in_store += 1,
                Stored::Record(_) => in_records += 1,
            }
            victims.push((name, stored, length));
            number += 1;
            if number == new.len() {
                break;
            }
        }
    }
    assert!(in_store >= 4 && in_records >= 1, "{in_store} objects in the store, {in_records} in the records");
    let whole = random_file(&house.work().join("whole"), 1_500_000, 99);
    house.put(&ticket, &whole, "whole");
    house.stop();

    for place in ["first", "middle", "last"] {
        let damage = |copy: &House| {
            for (_, stored, length) in &victims {
                let offset = match place {
                    "first" => 0,
                    "middle" => length / 2,
                    _ => length - 1,
                };
                stored.flip(&copy.data(), offset);
            }
        };
        // At the door.
        let mut served = house.copy();
        damage(&served);
        served.start();
        for (name, stored, length) in &victims {
            let failed = served.engineer_sftp("anna", &key, &format!("get /XT-4711/{name} got-{name}"));
            assert_eq!(failed.code(), Some(1), "{place} byte of {length} in {name}, {stored:?}: {failed}");
            let got = fs::read(served.work().join(format!("got-{name}"))).unwrap_or_default();
            let original = fs::read(house.work().join(name)).unwrap();
            assert!(original.starts_with(&got) && got.len() < original.len(), "{place} byte: wrong bytes of {name}");
        }
        served.engineer_sftp("anna", &key, "get /XT-4711/whole got").ok();
        assert_eq!(sha256(&served.work().join("got")), sha256(&whole));
        let told = served.python("sftp_words.py", &ticket).args(["get", "large-0"]).finish().refused(1);
        assert!(told.err().contains("damaged"), "the STATUS text: {told}");

        // At the desk, on a copy that no download has looked at.
        let desk = house.copy();
        damage(&desk);
        let failed = desk.tacdrop(["artifact", "verify", "--json"]).refused(1);
        let lines = failed.json();
        assert_eq!(lines.as_array().unwrap().len(), victims.len() + 1, "{lines:#?}");
        for line in lines.as_array().unwrap() {
            let intact = line["path"].as_str().unwrap().ends_with("whole");
            assert_eq!(line["intact"].as_bool(), Some(intact), "{place} byte: {line}");
            let sentence = line["problem"].as_str().is_some_and(|sentence| sentence.contains(' '));
            assert_eq!(sentence, !intact, "{line}");
        }
        let failed = desk.tacdrop(["artifact", "verify", "XT-4711"]).refused(1);
        assert!(!failed.err().trim().is_empty(), "a sentence is wanted: {failed}");
        for (name, ..) in &victims {
            let out = desk.work().join("out");
            let failed = desk.tacdrop(["artifact", "get", "XT-4711", name, "-o", out.to_str().unwrap()]).refused(1);
            assert_eq!(failed.err().trim().lines().count(), 1, "one sentence: {failed}");
            assert!(!out.exists(), "{place} byte of {name}: a file that looks whole was left behind");
        }
        let out = desk.work().join("out");
        desk.tacdrop(["artifact", "get", "XT-4711", "whole", "-o", out.to_str().unwrap()]).ok();
        assert_eq!(sha256(&out), sha256(&whole));
        let states: Vec<Value> = desk.artifacts(&ticket).iter().map(|line| line["state"].clone()).collect();
        assert_eq!(states.iter().filter(|state| **state == "available").count(), 1, "{states:?}");
    }
}

#[test]
fn r09_without_the_right_kek_nothing_starts_and_none_is_made() {
    let (mut house, ticket, key) = House::open();
    let source = random_file(&house.work().join("a"), 200_000, 1);
    house.put(&ticket, &source, "a");
    house.stop();
    let kek = house.data().join("keys/kek");
    let right = fs::read(&kek).unwrap();
    assert_eq!(fs::metadata(&kek).unwrap().permissions().mode() & 0o777, 0o400);
    let assert_refused = |what: &str| {
        let refused = house.start_refused().refused(1);
        assert!(refused.err().contains("kek"), "{what}: a sentence that names the file is wanted: {refused}");
        house.tacdrop(["artifact", "list", "XT-4711"]).refused(1);
    };
    fs::remove_file(&kek).unwrap();
    assert_refused("missing");
    assert!(!kek.exists(), "a KEK must never be made when there are shares");
    let put = |bytes: &[u8], mode| {
        let _ = fs::remove_file(&kek);
        fs::write(&kek, bytes).unwrap();
        fs::set_permissions(&kek, fs::Permissions::from_mode(mode)).unwrap();
    };
    put(format!("{}\n", "5a".repeat(32)).as_bytes(), 0o400);
    assert_refused("another key");
    put(b"no key at all\n", 0o400);
    assert_refused("no key");
    put(&right, 0o440);
    assert_refused("readable by the group");
    put(&right, 0o400);
    // The keyring lost: no new keys over old shares.
    let keyring = house.data().join("keyring.sqlite");
    let aside = house.work().join("keyring");
    fs::rename(&keyring, &aside).unwrap();
    let refused = house.start_refused().refused(1);
    assert!(refused.err().contains("keyring"), "{refused}");
    for file in all_files(&house.data()) {
        if file.file_name().unwrap().to_str().unwrap().starts_with("keyring") {
            fs::remove_file(file).unwrap();
        }
    }
    fs::rename(&aside, &keyring).unwrap();
    house.start();
    house.engineer_sftp("anna", &key, "get /XT-4711/a back").ok();
    assert_eq!(sha256(&house.work().join("back")), sha256(&source));
}

#[test]
fn r45_the_host_key_is_never_changed_silently() {
    let (mut house, ticket, _) = House::open();
    let fingerprint = ticket.json["host_key_fingerprint"].as_str().unwrap().to_owned();
    assert!(fingerprint.starts_with("SHA256:"), "{fingerprint}");
    let scanned =
        Run::new("ssh-keyscan").args(["-t", "ed25519", "-p", &house.port().to_string(), "127.0.0.1"]).finish();
    let shown = Run::new("ssh-keygen").args(["-lf", "-"]).stdin(scanned.stdout).finish().ok().out();
    assert!(shown.contains(&fingerprint), "{shown}");
    house.stop();
    house.start();
    // accept-new: a changed key would be refused.
    house.customer(&ticket, "ls").ok();
    assert_eq!(house.json(["ticket", "show", "XT-4711"])["host_key_fingerprint"], fingerprint.as_str());
    house.stop();
    let key = house.data().join("keys/ssh_host_ed25519_key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o177, 0);
    fs::remove_file(&key).unwrap();
    let refused = house.start_refused().refused(1);
    assert!(refused.err().contains("ssh_host_ed25519_key"), "{refused}");
    assert!(!key.exists());
}

#[test]
fn r13_a_crash_writes_no_memory_to_disk() {
    let (house, ..) = House::open();
    let limits = fs::read_to_string(format!("/proc/{}/limits", house.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<_> = core.split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{core}");
}

#[test]
fn r63_secrets_are_never_in_settings_nor_shown() {
    let house = House::new();
    let config = house.work().join("tacdrop.toml");
    let smtp = "[notify.smtp]\nhost = \"mail.example.org\"\nfrom = \"drop@example.org\"\nuser = \"drop\"\n";
    let with = |password: &str| {
        fs::write(&config, format!("{smtp}password = {password}\n")).unwrap();
    };
    let check = || house.tacdrop(["config", "check", "--config", config.to_str().unwrap()]);
    with("\"hunter2-inline\"");
    let refused = check().refused(1);
    assert!(refused.err().contains("file") && refused.err().contains("env"), "what to do instead: {refused}");
    assert!(!refused.err().contains("hunter2"), "{refused}");

    let secret = house.work().join("smtp-password");
    fs::write(&secret, "hunter2-in-file\n").unwrap();
    with(&format!("{{ file = {:?} }}", secret.to_str().unwrap()));
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = check().refused(1);
    assert!(refused.err().contains("smtp-password"), "{refused}");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    check().ok();

    for json in [&[][..], &["--json"]] {
        let shown = house.command(["config", "show", "--config", config.to_str().unwrap()]).args(json).finish().ok();
        assert!(!shown.out().contains("hunter2"), "{shown}");
        assert!(shown.out().contains("mail.example.org"), "{shown}");
    }
    with("{ env = \"TEST_SMTP_PASSWORD\" }");
    let shown = house
        .command(["config", "show", "--config", config.to_str().unwrap()])
        .env("TEST_SMTP_PASSWORD", "hunter2-in-env")
        .finish()
        .ok();
    assert!(!shown.out().contains("hunter2"), "{shown}");
}

/// The ticket of a copy is the ticket of the original.
#[test]
fn a_copied_data_directory_serves_the_same() {
    let (mut house, ticket, _) = House::open();
    let source = random_file(&house.work().join("a"), 100_000, 1);
    house.put(&ticket, &source, "a");
    house.stop();
    let mut copy = house.copy();
    copy.start();
    let ticket: &Ticket = &ticket;
    copy.customer(ticket, "get a back").ok();
    assert_eq!(sha256(&copy.work().join("back")), sha256(&source));
}
