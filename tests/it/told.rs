//! What engineers are told of files that do not simply come: under temporary names, with holes,
//! over older ones, with their senders' digests.

use std::fs;

use md5::{Digest, Md5};

use crate::support::child::Run;
use crate::support::eventually;
use crate::support::files::{random_file, sha256};
use crate::support::mail::Mail;
use crate::support::server::{House, Ticket};

const MIB: u64 = 1 << 20;

fn lftp(house: &House, ticket: &Ticket, commands: &str) -> String {
    let ssh = format!(
        "ssh -a -x -F none -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={} -o PubkeyAuthentication=no",
        house.known_hosts().display()
    );
    let script = format!(
        "set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 60; set sftp:connect-program '{ssh}'; \
         open -u {},{} sftp://127.0.0.1:{}; {commands}; bye",
        ticket.reference,
        ticket.token,
        house.port()
    );
    Run::new("lftp").args(["--norc", "-c", &script]).within(&house.work()).env("HOME", house.work()).finish().ok().out()
}

/// Waits until one mail more than before is there, and gives it.
fn next_mail(house: &House, before: usize) -> Mail {
    let newest = || {
        let notices = house.notices();
        let done: Vec<_> = notices.iter().filter(|notice| notice["state"] == "delivered").collect();
        let id = done.get(before)?["id"].as_str()?.to_owned();
        house.mails().into_iter().find(|mail| mail.header("message-id").is_some_and(|header| header.contains(&id)))
    };
    eventually(&format!("mail number {}", before + 1), newest)
}

/// The names that a mail shows.
fn files_of(mail: &Mail) -> Vec<String> {
    let lines: Vec<&str> = mail.body.lines().collect();
    let heads = lines.windows(2).filter(|two| two[0].starts_with("--- ") && two[0].ends_with(" ---"));
    heads
        .map(|two| {
            let quoted = two[1].split_once(": \"").and_then(|(_, name)| name.strip_suffix('"'));
            quoted.expect("a name in quotation marks").to_owned()
        })
        .collect()
}

#[test]
fn temporary_names_of_real_clients_are_announced_once_under_the_final_name() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("dump.bin"), 3 * MIB, 1);
    // WinSCP.
    let steps = ["put", "dump.bin", "win.bin.filepart", "rename", "win.bin.filepart", "win.bin"];
    house.python("paramiko_steps.py", &ticket).args(steps).finish().ok();
    assert_eq!(files_of(&next_mail(&house, 0)), ["win.bin"]);
    // The same name again: it replaces the older one.
    let steps = ["put", "dump.bin", "win.bin.filepart", "over", "win.bin.filepart", "win.bin"];
    house.python("paramiko_steps.py", &ticket).args(steps).finish().ok();
    let mail = next_mail(&house, 1);
    assert_eq!(files_of(&mail), ["win.bin"]);
    mail.assert_line("Version 2, replaces version 1 (3,145,728 bytes)");
    // lftp.
    lftp(&house, &ticket, "set xfer:use-temp-file yes; put dump.bin -o lftp.bin");
    assert_eq!(files_of(&next_mail(&house, 2)), ["lftp.bin"]);
    // rclone: 1.63 and newer upload NAME.HASH.partial and move it; older ones are told to.
    let rclone = || {
        let hidden = Run::new("rclone").args(["obscure", &ticket.token]).finish().ok().out().trim().to_owned();
        Run::new("rclone")
            .within(&house.work())
            .env("HOME", house.work())
            .env("RCLONE_CONFIG", house.work().join("no-such-rclone.conf"))
            .args(["--retries", "1", "--sftp-host", "127.0.0.1", "--sftp-port", &house.port().to_string()])
            .args(["--sftp-user", &ticket.reference, "--sftp-pass", &hidden])
    };
    rclone().args(["copyto", "dump.bin", ":sftp:rclone.bin.7c1a9f3e.partial"]).finish().ok();
    rclone().args(["moveto", ":sftp:rclone.bin.7c1a9f3e.partial", ":sftp:rclone.bin"]).finish().ok();
    assert_eq!(files_of(&next_mail(&house, 3)), ["rclone.bin"]);
    let all: Vec<_> = ["win.bin", "lftp.bin", "rclone.bin"].map(|name| (&ticket, name, sha256(&source))).into();
    house.check_invariants(&all, &[b"filepart"]);
    assert_eq!(house.notices().len(), 4, "{:#?}", house.notices());
}

#[test]
fn r24_a_temporary_name_that_stays_is_announced_after_its_time_also_over_kill_9() {
    let (mut house, ticket, _) = House::new().set("NOTIFY__TEMPORARY_SETTLE_SECONDS", "4").furnish();
    let source = random_file(&house.work().join("dump.bin"), 100_000, 1);
    house.put(&ticket, &source, "dump.bin.part");
    house.kill();
    assert!(house.spool().is_empty());
    house.start();
    assert_eq!(files_of(&next_mail(&house, 0)), ["dump.bin.part"]);
    house.customer(&ticket, "rename dump.bin.part dump.bin").ok();
    house.put(&ticket, &source, "other");
    assert_eq!(files_of(&next_mail(&house, 1)), ["other"], "what was told is not told again");
    house.check_invariants(&[(&ticket, "dump.bin", sha256(&source))], &[]);
}

#[test]
fn r25_a_hole_is_told_and_listed_as_one_until_it_is_filled() {
    let (house, ticket, key) = House::open();
    let source = random_file(&house.work().join("dump.bin"), 10 * MIB, 1);
    let (from, to) = ((2 * MIB).to_string(), (2 * MIB + 3_880_000).to_string());
    house.python("paramiko_steps.py", &ticket).args(["holey", "dump.bin", "dump.bin", &from, &to]).finish();
    let mail = next_mail(&house, 0);
    // 3,880,000 of 10,485,760 bytes, rounded up; the list says the same.
    mail.assert_line("Status: incomplete, 38 % missing");
    assert!(mail.header("subject").unwrap().contains("1 incomplete file"), "{:?}", mail.header("subject"));
    for word in ["SHA-256", "Fetch", "Location:", "new file"] {
        assert!(!mail.body.contains(word), "{word}: {}", mail.body);
    }
    let artifact = house.artifact(&ticket, "dump.bin").unwrap();
    assert_eq!((artifact["state"].as_str(), artifact["sha256"].as_str()), (Some("incomplete"), None));
    assert_eq!(artifact["missing_percent"], 38);

    // Nine fields, the fourth says it; to OpenSSH, to lftp, and to whoever parses it.
    for listing in [house.customer(&ticket, "ls -l").ok().out(), lftp(&house, &ticket, "ls")] {
        let line = listing.lines().find(|line| line.ends_with("dump.bin")).unwrap_or_else(|| panic!("{listing}"));
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((fields.len(), fields[3]), (9, "incomplete"), "{line}");
        assert!(fields[4].parse::<u64>().is_ok(), "{line}");
    }
    lftp(&house, &ticket, "cls -l dump.bin");

    house.python("paramiko_steps.py", &ticket).args(["fill", "dump.bin", "dump.bin", &from, &to]).finish().ok();
    let mail = next_mail(&house, 1);
    assert_eq!(files_of(&mail), ["dump.bin"]);
    mail.assert_line(&sha256(&source));
    assert!(!mail.body.contains("incomplete"), "{}", mail.body);
    let listing = house.customer(&ticket, "ls -l").ok().out();
    assert!(listing.contains(" tacdrop ") && !listing.contains("incomplete"), "{listing}");
    house.engineer_sftp("anna", &key, "get /XT-4711/dump.bin back").ok();
    assert_eq!(sha256(&house.work().join("back")), sha256(&source));
    house.check_invariants(&[(&ticket, "dump.bin", sha256(&source))], &[]);
}

#[test]
fn senders_digests_are_in_the_mail_and_in_the_list() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("scc_host.txz"), 5 * MIB, 1);
    let content = fs::read(&source).unwrap();
    // supportconfig sends the digest first.
    let md5 = format!("{}  scc_host.txz\n", hex::encode(Md5::digest(&content)));
    fs::write(house.work().join("scc_host.txz.md5"), md5).unwrap();
    fs::write(house.work().join("wrong.sha256"), format!("{}  wrong\n", "0".repeat(64))).unwrap();
    house.customer(&ticket, "put scc_host.txz.md5\nput scc_host.txz\nput scc_host.txz wrong\nput wrong.sha256").ok();
    let mail = next_mail(&house, 0);
    mail.assert_line("Matches the sender's MD5.");
    mail.assert_line("DIFFERS from the sender's SHA-256: ask for it again.");
    let checks = |path: &str| house.artifact(&ticket, path).unwrap()["sender_checks"].clone();
    assert_eq!(checks("scc_host.txz"), serde_json::json!([{ "algorithm": "md5", "result": "matches" }]));
    assert_eq!(checks("wrong"), serde_json::json!([{ "algorithm": "sha256", "result": "differs" }]));
    assert_eq!(checks("wrong.sha256"), serde_json::json!([]));
    let list = house.tacdrop(["artifact", "list", "XT-4711"]).ok().out();
    assert!(list.contains("MD5 matches") && list.contains("SHA-256 DIFFERS"), "{list}");
    // It is a statement about the file, not a reason to refuse it.
    house.check_invariants(&[(&ticket, "wrong", sha256(&source))], &[b"scc_host"]);
}

#[test]
fn what_was_stopped_and_sent_on_continues_the_shorter_version() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("dump.bin"), 5 * MIB, 1);
    let short = house.work().join("short.bin");
    fs::write(&short, &fs::read(&source).unwrap()[..2_000_000]).unwrap();
    // As Ctrl-C in OpenSSH's sftp leaves it: a proper CLOSE of less.
    house.put(&ticket, &short, "dump.bin");
    house.customer(&ticket, "reput dump.bin").ok();
    let mail = next_mail(&house, 0);
    assert_eq!(files_of(&mail), ["dump.bin", "dump.bin"]);
    mail.assert_line("Version 2 has replaced it.");
    mail.assert_line("Version 2, continues version 1 (2,000,000 bytes), which was shorter");
    house.check_invariants(&[(&ticket, "dump.bin", sha256(&source))], &[]);
}
