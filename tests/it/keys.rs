//! Keys replaced while clients work, and backups restored elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::eventually;
use crate::support::files::{random_file, sha256};
use crate::support::server::{House, Key, Ticket};

const MIB: u64 = 1 << 20;

fn left(house: &House) -> usize {
    house.json(["key", "status"])["left"].as_array().unwrap().len()
}

/// Fetches a file as the engineer does and compares it.
#[track_caller]
fn fetch(house: &House, key: &Key, path: &str, source: &Path) {
    let target = house.work().join("fetched");
    let _ = fs::remove_file(&target);
    house.engineer_sftp("anna", key, &format!("get \"/XT-4711/{path}\" \"{}\"", target.display())).ok();
    assert_eq!(sha256(&target), sha256(source), "{path}");
}

#[test]
fn r10_r11_keys_are_replaced_while_customers_upload() {
    let (mut house, ticket, key) = House::open();
    let small = random_file(&house.work().join("small"), 3 * MIB, 1);
    let large = random_file(&house.work().join("large"), 60 * MIB, 2);
    house.put(&ticket, &small, "before");
    let upload = house.slow_put(&ticket, &large, "large", 20);
    eventually("the upload's row", || house.artifact(&ticket, "large"));
    for round in 0..3 {
        let share = house.json(["key", "rotate", "--share", "XT-4711"]);
        assert_eq!(share["generation"], round + 2, "{share}");
        let kek = house.json(["key", "rotate"]);
        assert_eq!(kek["generation"], round + 2, "{kek}");
        house.put(&ticket, &small, &format!("during-{round}"));
        fetch(&house, &key, "before", &small);
    }
    upload.finish().ok();
    house.assert_holds(&ticket, "large", &sha256(&large));
    assert_eq!(left(&house), 0);
    // A new ticket is wrapped under the newest KEK by a server that began with the first.
    house.ticket("XT-4712", "anna");
    let status = house.json(["key", "status", "--share", "XT-4711"]);
    let kek = status["kek"].as_array().unwrap();
    let wrapped: Vec<u64> = kek.iter().map(|line| line["share_keys"].as_u64().unwrap()).collect();
    assert_eq!(wrapped, [0, 0, 0, 2], "{status}");
    house.stop();
    house.start();
    fetch(&house, &key, "large", &large);
    house.check_invariants(&[(&ticket, "large", sha256(&large)), (&ticket, "before", sha256(&small))], &[b"during-"]);
}

#[test]
fn r10_r11_a_rotation_is_killed_at_random_moments_and_continued() {
    let (mut house, ticket, _) = House::open();
    let source = random_file(&house.work().join("source"), 100_000, 3);
    let puts: Vec<String> = (0..40).map(|file| format!("put \"{}\" f{file}", source.display())).collect();
    house.customer(&ticket, &puts.join("\n")).ok();
    for other in 0..20 {
        house.ticket(&format!("XT-{other}"), "anna");
    }
    let mut cut = 0;
    for round in 0..24u64 {
        let line: &[&str] = if round % 2 == 0 { &["key", "rotate"] } else { &["key", "rotate", "--share", "XT-4711"] };
        let mut job = house.command(line.iter().copied()).start();
        // From the first moments of the process to its end.
        std::thread::sleep(Duration::from_millis(3 + 3 * round));
        job.kill();
        cut += left(&house);
        if round % 6 == 5 {
            house.kill();
            house.start();
        }
        house.put(&ticket, &source, &format!("after-{}", round % 4));
        house.assert_holds(&ticket, "f7", &sha256(&source));
        if round % 4 == 3 {
            house.tacdrop(["key", "rotate"]).ok();
            house.tacdrop(["key", "rotate", "--share", "XT-4711"]).ok();
            assert_eq!(left(&house), 0, "round {round}, {cut} cut so far");
        }
    }
    let intact = house.json(["artifact", "verify"]);
    assert!(intact.as_array().unwrap().iter().all(|line| line["intact"] == true), "{intact}");
    house.check_invariants(&[(&ticket, "f39", sha256(&source))], &[]);
}

/// Where the parts of a drill lie.
struct Drill {
    backup: PathBuf,
    kek: PathBuf,
    host_key: PathBuf,
}

impl Drill {
    fn of(house: &House) -> Self {
        let keep = |name: &str| {
            let kept = house.work().join(name);
            fs::copy(house.data().join("keys").join(name), &kept).unwrap();
            kept
        };
        Self { backup: house.work().join("backup"), kek: keep("kek"), host_key: keep("ssh_host_ed25519_key") }
    }

    fn restore(&self, house: &House, with_host_key: bool) -> crate::support::child::Finished {
        let mut run = house.command(["restore"]).arg(&self.backup).arg("--kek").arg(&self.kek);
        if with_host_key {
            run = run.arg("--host-key").arg(&self.host_key);
        }
        run.arg("--json").finish()
    }
}

fn upload_some(house: &House, ticket: &Ticket) -> Vec<(String, PathBuf)> {
    let sizes = [0, 1, 5_000, 70_000, 3 * MIB, 40 * MIB];
    let files = sizes.iter().enumerate().map(|(number, size)| {
        let source = random_file(&house.work().join(format!("source-{number}")), *size, number as u64);
        house.put(ticket, &source, &format!("file-{number}"));
        (format!("file-{number}"), source)
    });
    files.collect()
}

#[test]
fn a_backup_taken_during_uploads_is_restored_elsewhere() {
    let (mut house, ticket, key) = House::open();
    let mut files = upload_some(&house, &ticket);
    let (old, new) = (files[4].1.clone(), house.work().join("new"));
    random_file(&new, 2 * MIB, 77);
    house.put(&ticket, &new, "file-4");
    files[4].1 = new;
    let large = random_file(&house.work().join("large"), 80 * MIB, 9);
    let upload = house.slow_put(&ticket, &large, "large", 25);
    eventually("the upload's row", || house.artifact(&ticket, "large"));
    let drill = Drill::of(&house);
    let taken = house.command(["backup", "--json", "--deep"]).arg(&drill.backup).finish().ok().json();
    assert_eq!((taken["complete"].as_bool(), taken["missing"].as_u64()), (Some(true), Some(0)), "{taken}");
    // What is removed afterwards does not break it.
    house.customer(&ticket, "rm file-5").ok();
    drop(upload);
    house.kill();

    // A backup without its end is none.
    let elsewhere = House::new();
    let list = drill.backup.join("manifest.json");
    let hidden = drill.backup.join("hidden");
    fs::rename(&list, &hidden).unwrap();
    drill.restore(&elsewhere, true).refused(1);
    assert!(!elsewhere.data().exists());
    fs::rename(&hidden, &list).unwrap();

    let mut elsewhere = elsewhere;
    let done = drill.restore(&elsewhere, false).ok().json();
    assert_eq!((done["missing"].as_u64(), done["damaged"].as_array().unwrap().len()), (Some(0), 0), "{done}");
    drill.restore(&elsewhere, true).refused(1);
    // Clients know the old host key: without it the server does not start.
    assert!(elsewhere.start_refused().err().contains("ssh_host_ed25519_key"));
    fs::copy(&drill.host_key, elsewhere.data().join("keys/ssh_host_ed25519_key")).unwrap();
    elsewhere.start();
    elsewhere.tacdrop(["artifact", "verify"]).ok();
    for (path, source) in &files {
        elsewhere.assert_holds(&ticket, path, &sha256(source));
        fetch(&elsewhere, &key, path, source);
    }
    assert_ne!(sha256(&old), sha256(&files[4].1));
    // The upload that was under way is continued by its sender.
    elsewhere.customer(&ticket, &format!("reput \"{}\" large", large.display())).ok();
    elsewhere.assert_holds(&ticket, "large", &sha256(&large));
}

#[test]
fn a_restore_brings_the_host_key_and_a_killed_backup_is_refused() {
    let (mut house, ticket, _) = House::open();
    let files = upload_some(&house, &ticket);
    let drill = Drill::of(&house);
    let mut refused = 0;
    for round in 0..6u64 {
        let mut job = house.command(["backup"]).arg(&drill.backup).start();
        std::thread::sleep(Duration::from_millis(5 + 10 * round));
        job.kill();
        let cut = House::new();
        if drill.backup.join("manifest.json").exists() {
            drill.restore(&cut, true).ok();
        } else {
            drill.restore(&cut, true).refused(1);
            refused += 1;
        }
        let _ = fs::remove_dir_all(&drill.backup);
    }
    assert!(refused > 0);
    house.command(["backup"]).arg(&drill.backup).finish().ok();
    house.stop();
    let mut elsewhere = House::new();
    let wrong = house.key("wrong");
    let run = elsewhere.command(["restore"]).arg(&drill.backup).arg("--kek").arg(&drill.kek);
    let said = run.arg("--host-key").arg(&wrong.0).finish().refused(1).err();
    assert!(said.contains("clients know") && !elsewhere.data().exists(), "{said}");
    drill.restore(&elsewhere, true).ok();
    elsewhere.start();
    for (path, source) in &files {
        elsewhere.assert_holds(&ticket, path, &sha256(source));
    }
    let doctor = elsewhere.json(["doctor"]);
    let kek = doctor.as_array().unwrap().iter().find(|line| line["check"] == "KEK").unwrap();
    assert_eq!(kek["state"], "warn", "{kek}");
}
