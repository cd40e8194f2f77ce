//! Digests as clients ask for them: commands by OpenSSH and rclone, check-file by paramiko and as
//! the draft has it.

use std::fs;

use crate::support::child::{Finished, Run};
use crate::support::files::{random_file, sha256, show_tech};
use crate::support::server::{House, Ticket};

/// Runs a command line on the server as a ticket's customer.
fn exec(house: &House, ticket: &Ticket, line: &str) -> Finished {
    let target = format!("{}@127.0.0.1", ticket.reference);
    house.with_token("ssh", &ticket.token).args(["-p", &house.port().to_string(), &target, line]).finish()
}

/// What the machine's own program says.
fn local(house: &House, line: &str) -> String {
    Run::new("sh").args(["-c", line]).within(&house.work()).finish().ok().out()
}

#[test]
fn r58_openssh_asks_for_digests_and_gets_what_gnu_prints() {
    let (house, ticket, key) = House::new().set("DIGESTS__ALSO", "md5,sha1").furnish();
    let names = ["a b.txt", "Größe.bin", "back\\slash", "it's [1] *.txt", "empty", "$(id)`id`"];
    for (seed, name) in names.iter().enumerate() {
        random_file(&house.work().join(name), 70_001 * seed as u64, seed as u64);
    }
    fs::write(house.work().join("empty"), b"").unwrap();
    house.customer(&ticket, "mkdir d\nput *").ok();
    let quoted: Vec<String> = names.iter().map(|name| format!("'{}'", name.replace('\'', "'\\''"))).collect();
    let all = quoted.join(" ");
    for program in ["sha256sum", "sha256sum -b", "sha256sum --", "sha1sum", "md5sum", "md5sum --binary -t"] {
        let line = format!("{program} {all}");
        let answer = exec(&house, &ticket, &line).ok();
        assert_eq!((answer.out(), answer.err()), (local(&house, &line), String::new()), "{line}");
    }
    // The same by path of the program, from the root, and twice.
    let once = exec(&house, &ticket, "/usr/bin/sha256sum '/a b.txt' /XT-4711/Größe.bin ./empty a\\ b.txt").ok().out();
    let digests: Vec<&str> = once.lines().map(|line| &line[..64]).collect();
    let expected = ["a b.txt", "Größe.bin", "empty", "a b.txt"].map(|name| sha256(&house.work().join(name)));
    assert_eq!(digests, expected);

    // One bad name spoils the exit code, and no other name's answer.
    let answer = exec(&house, &ticket, "sha256sum none 'a b.txt' d .versions/empty/1").refused(1);
    assert_eq!(answer.out(), local(&house, "sha256sum 'a b.txt'"));
    assert_eq!(
        answer.err().lines().collect::<Vec<_>>(),
        [
            "sha256sum: none: There is no file or directory of this name.",
            "sha256sum: d: This is a directory; a file is needed here.",
            "sha256sum: .versions/empty/1: There is no file or directory of this name.",
        ]
    );
    // Nothing of another ticket.
    let other = house.ticket("XT-4712", "anna");
    exec(&house, &other, "sha256sum '/XT-4711/a b.txt'").refused(1);
    exec(&house, &other, "md5sum 'a b.txt'").refused(1);

    // What rclone asks first; what is sent by standard input has no part in it.
    for program in ["sha256sum", "sha1sum", "md5sum"] {
        assert_eq!(exec(&house, &ticket, program).ok().out(), local(&house, &format!("{program} < /dev/null")));
    }
    let port = house.port().to_string();
    let ssh = || house.with_token("ssh", &ticket.token).args(["-p", &port, "XT-4711@127.0.0.1"]);
    let piped = ssh().arg("sha256sum").stdin(&b"something"[..]).finish().ok();
    assert_eq!(piped.err(), "sha256sum: -: Standard input is not read here; this is the digest of nothing.\n");
    assert_eq!(exec(&house, &ticket, "echo ${ShellId}%ComSpec%").ok().out(), "%ComSpec%\n");

    // An engineer, and older versions.
    fs::write(house.work().join("empty"), b"not any more").unwrap();
    house.customer(&ticket, "put empty").ok();
    let engineer = |line: &str| house.with_key("ssh", &key).args(["-p", &port, "anna@127.0.0.1", line]).finish();
    let versions =
        engineer("sha256sum /XT-4711/.versions/empty/1 /XT-4711/.versions/empty/2 /XT-4711/empty").ok().out();
    let digests: Vec<&str> = versions.lines().map(|line| &line[..64]).collect();
    let newest = sha256(&house.work().join("empty"));
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(digests, [empty, &newest, &newest]);
}

#[test]
fn r58_there_is_no_shell_no_terminal_and_no_other_command() {
    let (house, ticket, _) = House::open();
    fs::write(house.work().join("a"), b"a").unwrap();
    house.customer(&ticket, "put a").ok();
    let sentence = "This command is not available here. Use SFTP or SCP: sftp, scp, WinSCP or FileZilla.";
    for line in [
        "ls",
        "id",
        "sh",
        "sh -c id",
        "/bin/sh",
        "cat a",
        "sha256sum a; id",
        "sha256sum $(id)",
        "sha256sum a > b",
        "sha256sum 'a",
        "rclone md5sum",
        "md5 -r",
        "rclone hashsum sha256",
        "sha512sum a",
        "df -k /",
        // Off unless the settings name them.
        "md5sum",
        "md5sum a",
        "sha1sum a",
    ] {
        let answer = exec(&house, &ticket, line).refused(127);
        assert_eq!((answer.out(), answer.err().trim_end()), (String::new(), sentence), "{line}");
    }
    assert_eq!(exec(&house, &ticket, "sha256sum -c a").refused(1).out(), "");
    let german = house.ticket_with("XT-4713", "anna", &["--language", "de"]);
    let answer = exec(&house, &german, "ls").refused(127);
    assert!(answer.err().starts_with("Diesen Befehl gibt es hier nicht."), "{}", answer.err());
    let answer = exec(&house, &german, "sha256sum nichts").refused(1);
    assert_eq!(answer.err(), "sha256sum: nichts: Es gibt keine Datei und kein Verzeichnis mit diesem Namen.\n");
    let port = house.port().to_string();
    let ssh = |more: &[&str]| {
        let run = house.with_token("ssh", &ticket.token).args(["-p", &port]).args(more);
        run.stdin(&b"id\nexit\n"[..]).finish()
    };
    // No shell; no terminal, neither for a shell nor for a command.
    for more in
        [&["-T", "XT-4711@127.0.0.1"][..], &["-tt", "XT-4711@127.0.0.1"], &["-tt", "XT-4711@127.0.0.1", "sha256sum a"]]
    {
        let answer = ssh(more);
        assert!(answer.code() != Some(0) && answer.out().is_empty(), "{more:?}: {}", answer.out());
    }
}

#[test]
fn r17_check_file_command_checksum_file_and_receipt_agree() {
    let (house, ticket, _) = House::open();
    let first = show_tech(&house.work().join("one"), 2000);
    let second = random_file(&house.work().join("two"), 3_000_000, 7);
    let ask = |args: &[&str]| house.python("digests.py", &ticket).args(args).finish();
    let offered = ask(&["extensions"]).ok().out();
    assert!(offered.lines().any(|line| line == "check-file sha256"), "{offered}");
    for (step, path, source) in [
        ("put one 'logs/show tech.txt'", "logs/show tech.txt", &first),
        ("put two 'logs/show tech.txt'", "logs/show tech.txt", &second),
        ("rename 'logs/show tech.txt' back\\\\slash", "back\\slash", &second),
    ] {
        let mkdir = if step.contains("one") { "mkdir logs\n" } else { "" };
        house.customer(&ticket, &format!("{mkdir}{step}")).ok();
        let digest = sha256(source);
        house.assert_holds(&ticket, path, &digest);
        assert_eq!(ask(&["paramiko", path, "sha256"]).ok().out().trim(), digest);
        assert_eq!(ask(&["name", path, "sha256"]).ok().out().trim(), format!("sha256 {digest}"));
        assert_eq!(
            ask(&["handle", &format!("/XT-4711/{path}"), "md5,sha1,sha256"]).ok().out().trim(),
            format!("sha256 {digest}")
        );
        let line = exec(&house, &ticket, &format!("sha256sum '{path}'")).ok().out();
        assert_eq!(line.trim_start_matches('\\')[..64], digest);
        let text = format!(".receipts/{path}.sha256").replace('\\', "\\\\");
        house.customer(&ticket, &format!("get \"{text}\" checksum")).ok();
        let checksum = fs::read_to_string(house.work().join("checksum")).unwrap();
        assert_eq!(checksum.trim_start_matches('\\')[..64], digest);
        house.customer(&ticket, &format!("get \"{}\" receipt", text.replace(".sha256", ".receipt"))).ok();
        let receipt = fs::read_to_string(house.work().join("receipt")).unwrap();
        assert!(receipt.contains(&format!("\nSHA-256: {digest}\n")), "{receipt}");
        // The virtual texts have digests as well.
        let virtual_path = format!(".receipts/{path}.receipt");
        let expected = sha256(&house.work().join("receipt"));
        assert_eq!(ask(&["paramiko", &virtual_path, "sha256"]).ok().out().trim(), expected);
        assert_eq!(
            &exec(&house, &ticket, &format!("sha256sum '{virtual_path}'")).ok().out().trim_start_matches('\\')[..64],
            expected
        );
    }
    let size = fs::metadata(&second).unwrap().len().to_string();
    let digest = sha256(&second);
    assert_eq!(ask(&["paramiko", "back\\slash", "sha256", "0", &size, &size]).ok().out().trim(), digest);
    for (args, sentence) in [
        (&["paramiko", "back\\slash", "sha256", "1", "0", "0"][..], "Digests are given of whole files only"),
        (&["paramiko", "back\\slash", "sha256", "0", "100", "0"], "Digests are given of whole files only"),
        (&["paramiko", "back\\slash", "sha256", "0", "0", "256"], "Digests are given of whole files only"),
        (&["paramiko", "back\\slash", "md5"], "None of these digests is given here"),
        (&["name", "back\\slash", "sha512,md5"], "None of these digests is given here"),
        (&["name", "none", "sha256"], "There is no file or directory"),
        (&["name", "logs", "sha256"], "This is a directory"),
        (&["name", "/XT-4799/a", "sha256"], "There is no file or directory"),
        (&["writing", "arriving", "sha256"], "This file is still being received"),
    ] {
        let answer = ask(args).refused(3);
        assert!(answer.err().contains(sentence), "{args:?}: {}", answer.err());
    }
}

#[test]
fn rclone_check_with_hashes_finds_the_one_changed_byte_and_sync_has_nothing_to_do_twice() {
    let (house, ticket, _) = House::new().set("DIGESTS__ALSO", "md5").furnish();
    let files = [
        "tree/large.bin",
        "tree/sub/show tech.txt",
        "tree/it's [1] *.txt",
        "tree/Größe \u{1f600}",
        "tree/$(id)",
        "tree/a\\b",
    ];
    fs::create_dir_all(house.work().join("tree/sub")).unwrap();
    for (seed, file) in files.iter().enumerate() {
        random_file(&house.work().join(file), 1_000_003 * (1 + seed as u64), seed as u64);
    }
    fs::write(house.work().join("tree/empty"), b"").unwrap();
    let customer = house.as_customer(&ticket);
    let rclone = |args: &[&str]| customer.rclone().arg("-v").args(args).finish();
    let first = rclone(&["sync", "tree", ":sftp:tree"]).ok().err();
    assert_eq!(first.matches(": Copied (new)").count(), 7, "{first}");
    let before = house.artifacts(&ticket).len();
    for how in [&["sync", "tree", ":sftp:tree"][..], &["sync", "--checksum", "tree", ":sftp:tree"]] {
        let again = rclone(how).ok().err();
        assert!(!again.contains(": Copied") && again.contains("There was nothing to transfer"), "{again}");
    }
    assert_eq!(house.artifacts(&ticket).len(), before);

    let same = rclone(&["check", "tree", ":sftp:tree"]).ok().err();
    assert!(same.contains("Using md5 for hash comparisons"), "{same}");
    assert!(same.contains(": 0 differences found") && same.contains("7 matching files"), "{same}");
    let mut bytes = fs::read(house.work().join("tree/sub/show tech.txt")).unwrap();
    bytes[1_234_567] ^= 1;
    fs::write(house.work().join("tree/sub/show tech.txt"), &bytes).unwrap();
    let changed = rclone(&["check", "tree", ":sftp:tree"]).refused(1).err();
    assert!(changed.contains(": 1 differences found") && changed.contains("6 matching files"), "{changed}");
    assert!(changed.contains("sub/show tech.txt: md5 differ"), "{changed}");
    let sync = rclone(&["sync", "--checksum", "tree", ":sftp:tree"]).ok().err();
    assert_eq!(sync.matches(": Copied").count(), 1, "{sync}");
    house.assert_holds(&ticket, "tree/sub/show tech.txt", &sha256(&house.work().join("tree/sub/show tech.txt")));
    rclone(&["check", "tree", ":sftp:tree"]).ok();
}

#[test]
fn rclone_of_debian_12_knows_no_sha256_over_sftp_and_falls_back_to_sizes_without_md5() {
    let (house, ticket, _) = House::open();
    fs::create_dir(house.work().join("tree")).unwrap();
    let file = random_file(&house.work().join("tree/a"), 100_000, 1);
    let customer = house.as_customer(&ticket);
    customer.rclone().args(["copy", "tree", ":sftp:tree"]).finish().ok();
    let mut bytes = fs::read(&file).unwrap();
    bytes[50_000] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let blind = customer.rclone().args(["-v", "check", "tree", ":sftp:tree"]).finish().ok().err();
    assert!(blind.contains("0 differences found") && blind.contains("hashes could not be checked"), "{blind}");
    // What always works: it fetches the files.
    let fetched = customer.rclone().args(["check", "--download", "tree", ":sftp:tree"]).finish().refused(1).err();
    assert!(fetched.contains("1 differences found"), "{fetched}");
}
