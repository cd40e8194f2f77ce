//! Every order of writing, by clients that exist: far apart, into the middle, twice, cut short; and
//! the same interrupted.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::child::{Job, Run};
use crate::support::files::{random_file, sha256, show_tech};
use crate::support::numbers::Numbers;
use crate::support::server::{House, Mount, Ticket, one_mail};
use crate::support::{PATIENCE, cannot, eventually, within};

const MIB: u64 = 1 << 20;

/// Checks that a path holds nothing that anybody could take for a whole file, and gives its line.
#[track_caller]
fn assert_unfinished(house: &House, ticket: &Ticket, path: &str) -> Value {
    let artifact = eventually("the unfinished upload's line", || house.artifact(ticket, path));
    let state = artifact["state"].as_str();
    assert!(matches!(state, Some("receiving" | "incomplete")), "{artifact}");
    assert_eq!(artifact["sha256"], Value::Null, "{artifact}");
    let told = house.notices().into_iter().any(|notice| {
        let is_it = |told: &Value| told["id"] == artifact["id"] && told["version"] == artifact["version"];
        notice["artifacts"].as_array().unwrap().iter().any(is_it) && announces(house, &notice)
    });
    assert!(!told, "it was announced: {:#?}", house.spool());
    artifact
}

/// Whether a notice says that something is there, not that something is missing: only the first has
/// a digest to compare.
fn announces(house: &House, notice: &Value) -> bool {
    let id = format!("<{}@", notice["id"].as_str().unwrap());
    let about =
        |mail: &&crate::support::mail::Mail| mail.header("message-id").is_some_and(|known| known.starts_with(&id));
    house.mails().iter().find(about).is_some_and(|mail| {
        mail.body.split_whitespace().any(|word| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

#[test]
fn r16_sixty_four_blocks_in_a_mixed_order_eight_at_a_time() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("dump.bin"), 64 * MIB + 777, 71);
    house.as_customer(&ticket).asyncssh(["blocks", "dump.bin", "remote.bin", "whole"]).finish().ok();
    house.check_invariants(&[(&ticket, "remote.bin", sha256(&source))], &[b"remote.bin"]);
}

#[test]
fn r25_blocks_out_of_order_whose_client_dies_are_never_a_whole_file_and_can_be_completed() {
    let (mut house, ticket, key) = House::open();
    let source = random_file(&house.work().join("dump.bin"), 48 * MIB + 777, 72);
    let customer = |house: &House, how| {
        let args = ["blocks", "dump.bin", "remote.bin", how];
        house.as_customer(&ticket).asyncssh(args).finish()
    };
    customer(&house, "die").refused(9);
    assert_unfinished(&house, &ticket, "remote.bin");
    house.engineer_sftp("anna", &key, "get /XT-4711/remote.bin early").refused(1);
    // It is no other after a restart.
    house.kill();
    house.start();
    assert_unfinished(&house, &ticket, "remote.bin");
    // The first block never came: there is nothing to continue from, only holes to be filled.
    let said = house.customer(&ticket, "ls -ln remote.bin").ok().out();
    assert!(said.lines().any(|line| line.split_whitespace().nth(4) == Some("0")), "{said}");
    customer(&house, "fill").ok();
    house.check_invariants(&[(&ticket, "remote.bin", sha256(&source))], &[]);
}

#[test]
fn r25_what_is_closed_with_holes_is_incomplete_and_can_be_completed() {
    let (mut house, ticket, key) = House::open();
    let source = random_file(&house.work().join("dump.bin"), 48 * MIB + 777, 73);
    let customer = |house: &House, how| {
        let args = ["blocks", "dump.bin", "remote.bin", how];
        house.as_customer(&ticket).asyncssh(args).finish()
    };
    let said = customer(&house, "holes").refused(1);
    assert!(said.err().contains("incomplete"), "{said}");
    assert_eq!(assert_unfinished(&house, &ticket, "remote.bin")["state"], "incomplete");
    house.engineer_sftp("anna", &key, "get /XT-4711/remote.bin early").refused(1);
    house.kill();
    house.start();
    assert_eq!(assert_unfinished(&house, &ticket, "remote.bin")["state"], "incomplete");
    customer(&house, "fill").ok();
    house.check_invariants(&[(&ticket, "remote.bin", sha256(&source))], &[]);
}

#[test]
fn r25_rclone_with_many_streams_arrives_whole_and_killed_it_is_never_a_whole_file() {
    // Debian's rclone (1.60) has many streams for downloads only; one that uploads with many is
    // held to the same.
    let (house, ticket, _) = House::new().set("STORAGE__CHECKPOINT_SECONDS", "1").furnish();
    let source = random_file(&house.work().join("dump.bin"), 40 * MIB, 74);
    let customer = house.as_customer(&ticket);
    let many = ["--multi-thread-streams", "4", "--multi-thread-cutoff", "1M"];
    let mut upload =
        customer.rclone().args(many).args(["--bwlimit", "8M", "copyto", "dump.bin", ":sftp:cut.bin"]).start();
    let path = eventually("some of it", || {
        // Newer ones upload under a temporary name.
        house.artifacts(&ticket).iter().find(|line| line["size"].as_u64() > Some(0)).map(|line| line["path"].clone())
    });
    upload.kill();
    let path = path.as_str().unwrap();
    assert_unfinished(&house, &ticket, path);
    customer.rclone().args(many).args(["copyto", "dump.bin", ":sftp:cut.bin"]).finish().ok();
    customer.rclone().args(many).args(["copyto", ":sftp:cut.bin", "back.bin"]).finish().ok();
    assert_eq!(sha256(&house.work().join("back.bin")), sha256(&source));
    house.check_invariants(&[(&ticket, "cut.bin", sha256(&source))], &[]);
}

#[test]
fn what_fsync_has_answered_outlives_kill_9() {
    // Nothing else makes anything durable here: one extent would take it all, and no checkpoint
    // comes in time.
    let (mut house, ticket, _) = House::new().set("STORAGE__CHECKPOINT_SECONDS", "3600").furnish();
    let size = 9 * MIB + 77;
    let source = random_file(&house.work().join("dump.bin"), size, 75);
    let mut upload = house.as_customer(&ticket).asyncssh(["sync", "dump.bin", "remote.bin"]).start();
    within(PATIENCE, "the answer to fsync", || upload.stdout().contains("synced").then_some(()));
    house.kill();
    upload.kill();
    house.start();
    let artifact = assert_unfinished(&house, &ticket, "remote.bin");
    // The last part of 64 KiB is left to be sent, so that a client finds something to do.
    assert!(artifact["size"].as_u64().unwrap() >= size - 65_536, "{artifact}");
    house.customer(&ticket, "reput dump.bin remote.bin").ok();

    house.customer(&ticket, "put -f dump.bin forced.bin").ok();
    house.kill();
    house.start();
    let digest = sha256(&source);
    house.check_invariants(&[(&ticket, "remote.bin", digest.clone()), (&ticket, "forced.bin", digest)], &[]);
}

#[test]
fn r27_two_handles_of_one_session_write_one_version_and_the_next_begins_behind_the_first_close() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("dump.bin"), 6 * MIB, 76);
    house.as_customer(&ticket).asyncssh(["two", "dump.bin", "remote.bin"]).finish().ok();
    let artifact = house.assert_holds(&ticket, "remote.bin", &sha256(&source));
    assert_eq!(artifact["version"], 2, "{artifact}");
    // The first one is what stood there at the first CLOSE.
    let two_thirds = house.work().join("two-thirds");
    fs::write(&two_thirds, &fs::read(&source).unwrap()[..4 << 20]).unwrap();
    let digest = sha256(&two_thirds);
    let first = house.records("versions").into_iter().find(|row| row[1] == "1").unwrap();
    assert_eq!((first[2].as_str(), &first[3]), ("available", &digest));
    house.check_invariants(&[(&ticket, "remote.bin", sha256(&source))], &[]);
}

/// A slow upload of `dump.bin`, some of which is durable.
fn under_way(house: &House, ticket: &Ticket, source: &Path) -> Job {
    let mut upload = house.slow_put(ticket, source, "dump.bin", 6);
    eventually("a part of it", || house.artifact(ticket, "dump.bin").filter(|line| line["size"].as_u64() > Some(MIB)));
    assert!(!upload.has_ended(), "{}", upload.stderr());
    upload
}

#[test]
fn r27_a_second_session_takes_an_upload_over_and_the_first_one_hears_of_it() {
    let (house, ticket, _) = House::new().set("STORAGE__CHECKPOINT_SECONDS", "1").furnish();
    let source = random_file(&house.work().join("source.bin"), 40 * MIB, 77);
    let first = under_way(&house, &ticket, &source);
    house.customer(&ticket, "reput source.bin dump.bin").ok();
    house.assert_holds(&ticket, "dump.bin", &sha256(&source));
    let said = first.finish();
    assert_ne!(said.code(), Some(0), "whose writes are refused must fail: {said}");
    house.check_invariants(&[(&ticket, "dump.bin", sha256(&source))], &[]);
}

#[test]
fn r27_renamed_while_open_an_upload_ends_under_its_new_name() {
    let (house, ticket, _) = House::new().set("STORAGE__CHECKPOINT_SECONDS", "1").furnish();
    let source = random_file(&house.work().join("source.bin"), 24 * MIB, 78);
    let upload = under_way(&house, &ticket, &source);
    house.customer(&ticket, "rename dump.bin other.bin").ok();
    upload.finish().ok();
    assert!(house.artifact(&ticket, "dump.bin").is_none(), "{:#?}", house.artifacts(&ticket));
    house.check_invariants(&[(&ticket, "other.bin", sha256(&source))], &[]);
}

#[test]
fn r27_deleted_while_open_an_upload_fails_and_leaves_nothing() {
    let (house, ticket, _) = House::new().set("STORAGE__CHECKPOINT_SECONDS", "1").furnish();
    let source = random_file(&house.work().join("source.bin"), 40 * MIB, 79);
    let upload = under_way(&house, &ticket, &source);
    house.customer(&ticket, "rm dump.bin").ok();
    let said = upload.finish();
    assert_ne!(said.code(), Some(0), "{said}");
    assert!(house.artifact(&ticket, "dump.bin").is_none_or(|line| line["state"] == "withdrawn"));
    assert!(house.spool().is_empty());
    house.customer(&ticket, "ls dump.bin").refused(1);
    house.customer(&ticket, "put source.bin dump.bin").ok();
    house.check_invariants(&[(&ticket, "dump.bin", sha256(&source))], &[]);
}

/// The share of a ticket as a directory.
pub(crate) struct Mounted {
    job: Job,
    pub(crate) path: PathBuf,
    mount: Mount,
}

impl Mounted {
    pub(crate) fn new(house: &House, ticket: &Ticket, name: &str) -> Self {
        assert!(
            Path::new("/dev/fuse").exists(),
            "/dev/fuse is missing here; say so to tests/run (CANNOT=fuse), or give this machine one"
        );
        let path = house.work().join(name);
        fs::create_dir(&path).unwrap();
        let mut job = house.as_customer(ticket).sshfs(&path).limit(Duration::from_secs(300)).start();
        let mount = Mount::at(&path);
        within(PATIENCE, "sshfs to mount the share", || {
            assert!(!job.has_ended(), "sshfs: {}", job.stderr());
            let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
            mounts.lines().any(|line| line.split(' ').nth(1) == path.to_str()).then_some(())
        });
        Self { job, path, mount }
    }

    /// Unmounts it as somebody does who has finished: what sshfs closes in the background is
    /// closed.
    pub(crate) fn finish(self) {
        let Self { mut job, mount, .. } = self;
        drop(mount);
        within(PATIENCE, "sshfs to end", || job.has_ended().then_some(()));
    }

    /// What somebody who pulls the plug does: nothing that is under way is closed.
    fn kill(mut self) {
        self.job.kill();
    }
}

/// Does the same to a local file and to the mounted one.
fn both(local: &Path, mounted: &Path, act: impl Fn(&Path)) {
    act(local);
    act(mounted);
}

fn dd(source: &Path, target: &Path, seek_mib: u64) -> Run {
    Run::new("dd").arg(format!("if={}", source.display())).arg(format!("of={}", target.display())).args([
        "bs=64K",
        "conv=notrunc",
        "status=none",
        &format!("seek={}", seek_mib * 16),
    ])
}

#[test]
fn r16_r27_sshfs_writes_into_the_middle_appends_truncates_and_rewrites() {
    if cannot("fuse") {
        return;
    }
    let (house, ticket, _) = House::open();
    let mounted = Mounted::new(&house, &ticket, "share");
    let local = random_file(&house.work().join("local"), 24 * MIB + 5, 80);
    let patch = random_file(&house.work().join("patch"), 3 * MIB + 11, 81);
    let remote = mounted.path.join("dump.bin");
    let same = |step: &str| {
        let digest = sha256(&local);
        assert_eq!(sha256(&remote), digest, "read back through sshfs after {step}");
        house.assert_holds(&ticket, "dump.bin", &digest);
    };
    fs::copy(&local, &remote).unwrap();
    same("the copy");
    both(&local, &remote, |file| drop(dd(&patch, file, 7).finish().ok()));
    same("dd conv=notrunc into the middle");
    both(&local, &remote, |file| {
        let line = format!("cat '{}' >> '{}'", patch.display(), file.display());
        Run::new("sh").args(["-c", &line]).finish().ok();
    });
    same("appending");
    for size in [20 * MIB + 3, 22 * MIB, 9 * MIB] {
        both(&local, &remote, |file| {
            Run::new("truncate").args(["-s", &size.to_string()]).arg(file).finish().ok();
        });
        same("truncating");
    }
    both(&local, &remote, |file| {
        let mut numbers = Numbers::seeded(82);
        let open = OpenOptions::new().write(true).open(file).unwrap();
        for _ in 0..60 {
            let bytes = vec![numbers.next() as u8; 1 + numbers.below(150_000) as usize];
            open.write_all_at(&bytes, numbers.below(9 * MIB)).unwrap();
            if numbers.below(20) == 0 {
                open.set_len(8 * MIB + numbers.below(MIB)).unwrap();
            }
        }
        open.sync_all().unwrap();
    });
    // sshfs closes in the background.
    eventually("the rewritten file", || {
        house.artifact(&ticket, "dump.bin").filter(|line| line["sha256"] == *sha256(&local))
    });
    same("random rewrites");
    mounted.finish();
    house.check_invariants(&[(&ticket, "dump.bin", sha256(&local))], &[b"dump.bin"]);
}

/// `cp` leaves out what is nothing but zeros.
#[test]
fn r77_a_sparse_file_arrives_whole_over_sshfs_and_people_are_told_what_was_sent() {
    if cannot("fuse") {
        return;
    }
    let (house, ticket, _) = House::open();
    let core = house.work().join("core");
    let file = File::create(&core).unwrap();
    file.set_len(16 * MIB).unwrap();
    for at in [0, 5 * MIB, 16 * MIB - 4096] {
        file.write_all_at(&[7; 4096], at).unwrap();
    }
    let mounted = Mounted::new(&house, &ticket, "share");
    Run::new("cp").arg("--sparse=always").arg(&core).arg(mounted.path.join("core")).finish().ok();
    mounted.finish();
    let artifact = eventually("the sparse file", || {
        house.artifact(&ticket, "core").filter(|line| line["sha256"] == *sha256(&core))
    });
    assert!(artifact["zeros"].as_u64().unwrap() > 15 * MIB, "{artifact}");
    let mail = one_mail(&house);
    assert!(mail.contains("zeros"), "{mail}");
}

#[test]
fn r25_sshfs_killed_while_it_writes_into_the_middle_leaves_the_old_version_and_can_go_on() {
    if cannot("fuse") {
        return;
    }
    let (house, ticket, key) = House::new().set("STORAGE__CHECKPOINT_SECONDS", "1").furnish();
    let local = random_file(&house.work().join("local"), 16 * MIB, 83);
    let patch = random_file(&house.work().join("patch"), 6 * MIB, 84);
    house.put(&ticket, &local, "dump.bin");
    house.await_notices(1);
    let old = sha256(&local);
    let mounted = Mounted::new(&house, &ticket, "share");
    // Held open: the patch is written, and never closed.
    let open = OpenOptions::new().write(true).open(mounted.path.join("dump.bin")).unwrap();
    open.write_all_at(&fs::read(&patch).unwrap(), 5 * MIB).unwrap();
    let fresh = File::create(mounted.path.join("fresh.bin")).unwrap();
    fresh.write_all_at(&[7; 100_000], 5 * MIB).unwrap();
    eventually("what was written to reach the disk", || {
        house.records("versions").iter().filter(|row| row[2] == "receiving").count().eq(&2).then_some(())
    });
    mounted.kill();
    drop((open, fresh));
    // The file that was there is what it was, for all; the new one is none yet.
    house.assert_holds(&ticket, "dump.bin", &old);
    house.engineer_sftp("anna", &key, "get /XT-4711/dump.bin back").ok();
    assert_eq!(sha256(&house.work().join("back")), old);
    assert_unfinished(&house, &ticket, "fresh.bin");
    // Done again, it is right: what was cut is laid over by the same bytes.
    let mounted = Mounted::new(&house, &ticket, "again");
    let remote = mounted.path.join("dump.bin");
    both(&local, &remote, |file| drop(dd(&patch, file, 5).finish().ok()));
    let whole = show_tech(&house.work().join("fresh"), 4000);
    fs::copy(&whole, mounted.path.join("fresh.bin")).unwrap();
    mounted.finish();
    let digests = [sha256(&local), sha256(&whole)];
    eventually("both files", || {
        let holds =
            |path: &str, digest: &String| house.artifact(&ticket, path).is_some_and(|line| line["sha256"] == **digest);
        (holds("dump.bin", &digests[0]) && holds("fresh.bin", &digests[1])).then_some(())
    });
    let [dump, fresh] = digests;
    house.check_invariants(&[(&ticket, "dump.bin", dump), (&ticket, "fresh.bin", fresh)], &[]);
}
