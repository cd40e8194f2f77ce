//! Faults of the machine: a full disk, a failing one, a locked database, shares that are used up,
//! little memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::child::{Job, Run};
use crate::support::files::{random_file, sha256, show_tech};
use crate::support::numbers::ask;
use crate::support::server::House;
use crate::support::{PATIENCE, cannot, eventually, python, repository, script, within};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[test]
fn r21_on_a_full_disk_an_upload_fails_with_the_reason_and_the_one_beside_it_succeeds() {
    if cannot("root") {
        return;
    }
    let (house, ticket, _) = House::new().on_disk_of(256).furnish();
    let small = random_file(&house.work().join("small.bin"), 20 * MIB, 91);
    let large = random_file(&house.work().join("large.bin"), 300 * MIB, 92);
    let mut beside = house.slow_put(&ticket, &small, "small.bin", 1);
    eventually("the small one's row", || house.artifact(&ticket, "small.bin"));
    let said = house.as_customer(&ticket).asyncssh(["put", "large.bin", "large.bin"]).finish().refused(1);
    assert!(said.err().contains("no space left"), "the reason must be named: {said}");
    assert!(!beside.has_ended(), "it was to run beside it: {}", beside.stderr());
    assert_ne!(house.artifact(&ticket, "large.bin").unwrap_or_default()["state"], "available");
    beside.finish().ok();
    house.assert_holds(&ticket, "small.bin", &sha256(&small));
    assert!(house.log().contains("no space left"), "the operators must see it");
    house.check_invariants(&[(&ticket, "small.bin", sha256(&small))], &[]);
    // With space it goes on where it was, and others go on as well.
    house.enlarge_disk(700);
    house.as_customer(&ticket).asyncssh(["resume", "large.bin", "large.bin"]).finish().ok();
    house.customer(&ticket, "put small.bin second.bin").ok();
    let known = [("small.bin", &small), ("large.bin", &large), ("second.bin", &small)];
    let known: Vec<_> = known.iter().map(|(path, source)| (&ticket, *path, sha256(source))).collect();
    house.check_invariants(&known, &[]);
}

#[test]
fn r21_with_a_disk_that_is_full_at_every_step_the_server_lives_and_loses_nothing() {
    if cannot("root") {
        return;
    }
    let (mut house, ticket, _) = House::new().on_disk_of(40).set("STORAGE__EXTENT_MIB", "1").furnish();
    let kept = random_file(&house.work().join("kept.bin"), 5 * MIB, 93);
    house.put(&ticket, &kept, "kept.bin");
    house.await_notices(1);
    // Filled to the last block from outside: not even the records can grow.
    let filler = house.data().join("filler");
    Run::new("sh").args(["-c", &format!("cat /dev/zero > '{}'", filler.display())]).finish();
    for number in 0..3 {
        let said = house.as_customer(&ticket).asyncssh(["put", "kept.bin", &format!("more-{number}.bin")]).finish();
        assert_ne!(said.code(), Some(0), "there is no room for it: {said}");
        house.customer(&ticket, "get kept.bin back").ok();
        assert_eq!(sha256(&house.work().join("back")), sha256(&kept), "reading needs no space");
    }
    // It recovers by itself, and so does one that was killed with a full disk.
    let known = |paths: &[&'static str]| paths.iter().map(|path| (&ticket, *path, sha256(&kept))).collect::<Vec<_>>();
    let full = fs::metadata(&filler).unwrap().len();
    fs::OpenOptions::new().write(true).open(&filler).unwrap().set_len(full - 12 * MIB).unwrap();
    house.customer(&ticket, "put kept.bin more-3.bin").ok();
    house.check_invariants(&known(&["kept.bin", "more-3.bin"]), &[]);
    Run::new("sh").args(["-c", &format!("cat /dev/zero >> '{}'", filler.display())]).finish();
    house.kill();
    fs::remove_file(&filler).unwrap();
    house.start();
    house.customer(&ticket, "put kept.bin more-4.bin").ok();
    house.check_invariants(&known(&["kept.bin", "more-3.bin", "more-4.bin"]), &[]);
}

#[test]
fn r21_what_a_file_size_limit_refuses_fails_alone() {
    // As on a disk whose every larger file finds no room; needs no root. What is small goes
    // through.
    let (house, ticket, _) = House::new().file_size(12 << 10).furnish();
    let large = random_file(&house.work().join("large.bin"), 30 * MIB, 94);
    let small = random_file(&house.work().join("small.bin"), 4 * MIB, 95);
    let mut beside = house.slow_put(&ticket, &small, "small.bin", 1);
    eventually("the small one's row", || house.artifact(&ticket, "small.bin"));
    let said = house.as_customer(&ticket).asyncssh(["put", "large.bin", "large.bin"]).finish().refused(1);
    assert!(said.err().contains("could not store") || said.err().contains("no space left"), "{said}");
    assert!(!beside.has_ended(), "it was to run beside it: {}", beside.stderr());
    beside.finish().ok();
    assert_ne!(house.artifact(&ticket, "large.bin").unwrap_or_default()["sha256"], *sha256(&large));
    house.check_invariants(&[(&ticket, "small.bin", sha256(&small))], &[]);
}

/// A library that makes syncs fail, compiled beside a house.
fn failing_sync(directory: &Path) -> PathBuf {
    let library = directory.join("failing_sync.so");
    Run::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(repository().join("tests/it/support/failing_sync.c"))
        .args(["-ldl", "-lpthread"])
        .finish()
        .ok();
    library
}

/// A house whose syncs of files with `of` in their path can be made to fail, and the control file
/// for it.
fn house_with_failing_sync(directory: &Path, of: &str) -> (House, PathBuf) {
    let control = directory.join("control");
    let house = House::new()
        .set("STORAGE__EXTENT_MIB", "1")
        .server_env("LD_PRELOAD", failing_sync(directory).to_str().unwrap())
        .server_env("FAIL_SYNC", control.to_str().unwrap())
        .server_env("FAIL_SYNC_OF", of);
    (house, control)
}

#[test]
fn r22_an_upload_whose_nth_sync_fails_fails_alone_and_is_never_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (house, control) = house_with_failing_sync(directory.path(), "/objects/");
    let (mut house, ticket, _) = house.furnish();
    let source = random_file(&house.work().join("dump.bin"), 10 * MIB, 96);
    let mut acknowledged = Vec::new();
    // The first extent, one in the middle, and late ones: the last extent's, the manifest's, a
    // directory's.
    for nth in [1, 7, 18, 21] {
        fs::write(&control, nth.to_string()).unwrap();
        let path = format!("{nth}.bin");
        let said = house.as_customer(&ticket).asyncssh(["put", "dump.bin", &path]).finish();
        let left = fs::read_to_string(&control).unwrap();
        if left.trim() != "0" {
            // So many syncs it does not need.
            said.ok();
            acknowledged.push(path);
            continue;
        }
        assert!(said.refused(1).err().contains("Nothing was acknowledged"), "sync {nth}");
        assert_ne!(house.artifact(&ticket, &path).unwrap_or_default()["state"], "available", "sync {nth}");
        assert!(house.log().contains("ERROR"), "the operators must see it");
        // The same file again, and others, as if nothing had been.
        for path in [path, format!("{nth}-other.bin")] {
            house.customer(&ticket, &format!("put dump.bin {path}")).ok();
            acknowledged.push(path);
        }
    }
    let known: Vec<_> = acknowledged.iter().map(|path| (&ticket, path.as_str(), sha256(&source))).collect();
    assert!(known.len() >= 5, "the syncs that were to fail did not come: {acknowledged:?}");
    house.check_invariants(&known, &[]);
    house.kill();
    house.start();
    house.check_invariants(&known, &[]);
}

#[test]
fn r22_when_a_sync_of_the_records_fails_nothing_is_acknowledged_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let (house, control) = house_with_failing_sync(directory.path(), "records.sqlite");
    let (mut house, ticket, _) = house.furnish();
    let source = show_tech(&house.work().join("a.txt"), 300);
    let mut acknowledged = Vec::new();
    for nth in 1..6 {
        fs::write(&control, nth.to_string()).unwrap();
        let path = format!("{nth}.txt");
        if house.as_customer(&ticket).asyncssh(["put", "a.txt", &path]).finish().code() == Some(0) {
            acknowledged.push(path);
        }
        // Whatever else the server does meets the failure, if the upload did not.
        eventually("the sync that fails", || {
            house.customer(&ticket, "ls");
            let _ = house.as_customer(&ticket).asyncssh(["put", "a.txt", "other.txt"]).finish();
            (fs::read_to_string(&control).unwrap().trim() == "0").then_some(())
        });
    }
    house.kill();
    house.start();
    let known: Vec<_> = acknowledged.iter().map(|path| (&ticket, path.as_str(), sha256(&source))).collect();
    house.check_invariants(&known, &[]);
    house.customer(&ticket, "put a.txt after.txt").ok();
}

/// Another process that holds the records' lock for writing until it is killed.
fn lock(house: &House) -> Job {
    let job = Run::new("sh")
        .args(["-c", "sleep 600 | exec \"$0\" \"$@\""])
        .arg(python())
        .arg("-B")
        .arg(script("records.py"))
        .arg("lock")
        .arg(house.data())
        .start();
    within(PATIENCE, "the lock", || job.stdout().contains("locked").then_some(()));
    job
}

#[test]
fn r23_while_another_process_locks_the_records_for_ten_seconds_readers_go_on_and_no_upload_is_lost() {
    let (mut house, ticket, key) = House::new().set("LIMITS__UNAUTHENTICATED_PER_SOURCE", "32").furnish();
    let source = random_file(&house.work().join("dump.bin"), 3 * MIB, 97);
    let small = show_tech(&house.work().join("a.txt"), 50);
    house.put(&ticket, &source, "there.bin");
    house.await_notices(1);
    let mut held = lock(&house);
    let begun = Instant::now();
    let uploads: Vec<_> = (0..6)
        .map(|number| {
            let commands = format!("put a.txt small-{number}.txt\nput dump.bin large-{number}.bin");
            house.customer_run(&ticket, &commands).start()
        })
        .collect();
    // While nobody can write, everybody can read.
    for round in 0..3 {
        house.engineer_sftp("anna", &key, &format!("get /XT-4711/there.bin back-{round}\nls /XT-4711")).ok();
        assert_eq!(sha256(&house.work().join(format!("back-{round}"))), sha256(&source));
        house.customer(&ticket, &format!("get there.bin mine-{round}")).ok();
    }
    assert!(!held.has_ended());
    while begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(50));
    }
    held.kill();
    let digests = [sha256(&small), sha256(&source)];
    let mut known = vec![("there.bin".to_owned(), digests[1].clone())];
    let mut refusals = Vec::new();
    for (number, upload) in uploads.into_iter().enumerate() {
        // A refusal is allowed, were there one; what is said to be there must be.
        let said = upload.finish();
        let begun = said.out().lines().filter(|line| line.starts_with("sftp> put ")).count();
        let done = if said.code() == Some(0) { 2 } else { begun.saturating_sub(1) };
        if done < 2 {
            refusals.push(said.err());
        }
        let paths = [format!("small-{number}.txt"), format!("large-{number}.bin")];
        known.extend(paths.into_iter().zip(digests.clone()).take(done));
    }
    // The limit for waiting is longer than the lock: all of them went through.
    assert_eq!(known.len(), 13, "{known:?}\n{refusals:#?}");
    let acknowledged = |house: &House| {
        let known: Vec<_> = known.iter().map(|(path, digest)| (&ticket, path.as_str(), digest.clone())).collect();
        house.check_invariants(&known, &[]);
    };
    acknowledged(&house);
    house.kill();
    house.start();
    acknowledged(&house);
}

#[test]
fn r57_a_file_and_a_share_stay_within_their_limits_while_bytes_arrive() {
    let (house, ticket, _) = House::new()
        .set("LIMITS__FILE_GIB", "1")
        .set("LIMITS__SHARE_GIB", "1")
        .set("LIMITS__NAMES_PER_SHARE", "6")
        .furnish();
    let customer = house.as_customer(&ticket);
    // One byte behind the limit of a file, by a write and by truncating.
    let sparse = fs::File::create(house.work().join("sparse.bin")).unwrap();
    sparse.set_len(GIB + 1).unwrap();
    let quota = |path: &str, bytes: u64| customer.asyncssh(["quota", path, &bytes.to_string()]).finish();
    let said = quota("first.bin", 700 * MIB).ok();
    assert_eq!(said.out().trim(), (700 * MIB).to_string());
    // The share has 324 MiB left: the second one is refused while it arrives, long before its end.
    let said = quota("second.bin", 900 * MIB).refused(1);
    assert!(said.err().contains("space of this ticket is used up"), "{said}");
    let taken: u64 = said.out().trim().parse().unwrap();
    assert!(taken < 324 * MIB + 128 * MIB, "{taken} bytes were taken");
    let stored: u64 = fs_bytes(&house.data().join("objects"));
    assert!(stored < GIB + 64 * MIB, "{stored} bytes are stored");
    // A small one is refused as well only if there is no room for it.
    let listed = house.artifacts(&ticket);
    assert!(listed.iter().all(|line| line["path"] != "second.bin" || line["state"] != "available"), "{listed:#?}");
    let said = customer.lftp("put sparse.bin").finish();
    assert_ne!(said.code(), Some(0), "{said}");
    house.check_invariants(&[], &[]);
}

#[test]
fn r57_a_share_takes_no_more_names_than_it_may() {
    let (house, ticket, _) = House::new().set("LIMITS__NAMES_PER_SHARE", "5").furnish();
    show_tech(&house.work().join("a.txt"), 20);
    let customer = house.as_customer(&ticket);
    let refused = |path: &str| {
        let said = customer.asyncssh(["put", "a.txt", path]).finish().refused(1);
        assert!(said.err().contains("as many files and directories as it may"), "{said}");
    };
    let mut put = 0;
    while customer.sftp(&format!("put a.txt {put}.txt")).finish().code() == Some(0) {
        put += 1;
        assert!(put <= 5, "more names than it may have");
    }
    assert!(put >= 3, "{put} names only");
    refused("one-more.txt");
    // What is there can be written again.
    house.customer(&ticket, "put a.txt 0.txt").ok();
    house.check_invariants(&[], &[]);
}

/// Bytes of the files in a directory.
fn fs_bytes(directory: &Path) -> u64 {
    // One may have been renamed meanwhile.
    let files = crate::support::files::all_files(directory);
    files.iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum()
}

/// A process's resident memory in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Runs a client to its end and gives the most memory that the server had meanwhile.
pub(crate) fn most_resident(house: &House, mut client: Job) -> (u64, crate::support::child::Finished) {
    let mut most = 0;
    while !client.has_ended() {
        most = most.max(resident(house.pid()));
        std::thread::sleep(Duration::from_millis(20));
    }
    (most, client.finish())
}

#[test]
fn an_upload_of_512_mib_needs_little_memory() {
    let (house, ticket, _) = House::open();
    let idle = resident(house.pid());
    let sparse = fs::File::create(house.work().join("sparse.bin")).unwrap();
    sparse.set_len(512 * MIB).unwrap();
    let (most, said) = most_resident(&house, house.customer_run(&ticket, "put sparse.bin").start());
    said.ok();
    assert!(most < idle + 64 * MIB, "{} MiB idle, {} MiB at most", idle / MIB, most / MIB);
}

/// `tests/run memory [GIB]`: the server's memory during two large uploads, and how long CLOSE
/// takes.
#[test]
#[ignore = "long: tests/run memory [GIB]"]
#[expect(clippy::print_stdout, reason = "its answer")]
fn on_demand_memory() {
    let size = ask("COUNT", 10) * GIB;
    let limit = Duration::from_secs(3600);
    for client in ["sftp", "asyncssh"] {
        // Each in a house of its own, as each leaves so much behind.
        let (house, ticket, _) = House::open();
        let idle = resident(house.pid());
        let customer = house.as_customer(&ticket);
        let begun = Instant::now();
        let run = if client == "sftp" {
            fs::File::create(house.work().join("sparse.bin")).unwrap().set_len(size).unwrap();
            customer.sftp("put sparse.bin")
        } else {
            customer.asyncssh(["stream", "stream.bin", &size.to_string()])
        };
        let (most, said) = most_resident(&house, run.limit(limit).start());
        let said = said.ok();
        let close = said.out().trim().parse::<u64>();
        println!(
            "{client}: {} GiB in {:.0} s, {} MiB resident before, {} MiB at most{}",
            size / GIB,
            begun.elapsed().as_secs_f64(),
            idle / MIB,
            most / MIB,
            close.as_ref().map_or_else(|_| String::new(), |time| format!(", CLOSE answered in {time} ms"))
        );
        assert!(most < idle + 64 * MIB, "more than 64 MiB above idle");
        assert!(close.is_ok_and(|time| time < 2000) || client == "sftp", "CLOSE took two seconds or more");
    }
}
