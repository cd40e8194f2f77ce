//! Receipts and older versions, as OpenSSH, lftp and the tools of every Unix see them.

use std::fs;
use std::path::Path;

use crate::support::child::{Finished, Run};
use crate::support::files::{all_files, random_file, sha256, show_tech};
use crate::support::repository;
use crate::support::server::House;

const TEXT: &str = "sed '/^-----BEGIN SSH SIGNATURE-----$/,$d' show-tech.txt.receipt > text";
const SIGNATURE: &str = "sed -n '/^-----BEGIN SSH SIGNATURE-----$/,$p' show-tech.txt.receipt > signature";
const VERIFY: &str = "ssh-keygen -Y verify -f allowed_signers -I tacdrop -n tacdrop-receipt -s signature < text";

fn shell(directory: &Path, line: &str) -> Finished {
    Run::new("sh").args(["-c", line]).within(directory).finish()
}

#[test]
fn r17_checksum_receipt_and_record_agree_and_one_changed_character_shows() {
    let (house, ticket, key) = House::open();
    let source = show_tech(&house.work().join("show-tech.txt"), 400);
    let digest = sha256(&source);
    house.customer(&ticket, "mkdir logs\nput show-tech.txt logs/show-tech.txt").ok();
    let record = house.assert_holds(&ticket, "logs/show-tech.txt", &digest);

    let fetched = house.work().join("fetched");
    fs::create_dir(&fetched).unwrap();
    let get = "lcd fetched\nget logs/show-tech.txt\nget .receipts/logs/show-tech.txt.sha256\n\
               get .receipts/logs/show-tech.txt.receipt\nget .receipts/allowed_signers";
    house.customer(&ticket, get).ok();
    let checked = Run::new("sha256sum").args(["--strict", "-c", "show-tech.txt.sha256"]).within(&fetched).finish();
    assert_eq!(checked.ok().out(), "show-tech.txt: OK\n");
    let receipt = fs::read_to_string(fetched.join("show-tech.txt.receipt")).unwrap();
    for (key, value) in [
        ("Ticket", "XT-4711".to_owned()),
        ("Path", "logs/show-tech.txt".to_owned()),
        ("Version", record["version"].to_string()),
        ("Size", fs::metadata(&source).unwrap().len().to_string()),
        ("SHA-256", digest.clone()),
        ("Received", record["received_at"].as_str().unwrap().to_owned()),
        ("Uploaded-By", "XT-4711".to_owned()),
        ("Location", record["location"].as_str().unwrap().to_owned()),
        ("Server", format!("127.0.0.1:{}", house.port())),
    ] {
        assert!(receipt.contains(&format!("\n{key}: {value}\n")), "{key}: {value} is not in\n{receipt}");
    }

    // The README's own commands.
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    for command in [TEXT, SIGNATURE, VERIFY] {
        assert!(readme.contains(command), "the README has another command than {command}");
        shell(&fetched, command).ok();
    }
    assert!(shell(&fetched, VERIFY).out().contains("Good \"tacdrop-receipt\" signature for tacdrop"));
    let (text, signature) = (fs::read(fetched.join("text")).unwrap(), fs::read(fetched.join("signature")).unwrap());
    assert_eq!([&text[..], &signature[..]].concat(), receipt.as_bytes());
    let other = |byte: u8| if byte == b'1' { b'2' } else { b'1' };
    for at in 0..text.len() {
        let mut changed = text.clone();
        changed[at] = other(changed[at]);
        fs::write(fetched.join("text"), changed).unwrap();
        assert_ne!(shell(&fetched, VERIFY).code(), Some(0), "a receipt with another character {at} passes");
    }
    fs::write(fetched.join("text"), &text).unwrap();
    for at in (40..signature.len() - 40).step_by(29).filter(|at| signature[*at] != b'\n') {
        let mut changed = signature.clone();
        changed[at] = other(changed[at]);
        fs::write(fetched.join("signature"), changed).unwrap();
        assert_ne!(shell(&fetched, VERIFY).code(), Some(0), "a signature with another character {at} passes");
    }
    fs::write(fetched.join("signature"), &signature).unwrap();
    for (right, wrong) in [("-I tacdrop", "-I someone"), ("-n tacdrop-receipt", "-n file")] {
        assert_ne!(shell(&fetched, &VERIFY.replace(right, wrong)).code(), Some(0), "{wrong}");
    }

    // The engineer and the operator get the same bytes, and the key is the same one.
    house.engineer_sftp("anna", &key, "get /XT-4711/.receipts/logs/show-tech.txt.receipt engineer.receipt").ok();
    assert_eq!(fs::read_to_string(house.work().join("engineer.receipt")).unwrap(), receipt);
    assert_eq!(house.tacdrop(["receipt", "show", "XT-4711", "logs/show-tech.txt"]).ok().out(), receipt);
    let shown = house.json(["receipt", "show", "XT-4711", "logs/show-tech.txt"]);
    assert_eq!((shown["text"].as_str(), shown["sha256"].as_str()), (Some(receipt.as_str()), Some(digest.as_str())));
    let signers = fs::read_to_string(fetched.join("allowed_signers")).unwrap();
    assert_eq!(house.tacdrop(["receipt", "key"]).ok().out(), signers);
    assert_eq!(house.json(["receipt", "key"])["allowed_signers"].as_str(), Some(signers.trim_end()));
    house.tacdrop(["receipt", "show", "XT-4711", "logs/none"]).refused(1);

    // Closed tickets still give receipts.
    house.tacdrop(["ticket", "close", "XT-4711"]).ok();
    house.customer(&ticket, "get .receipts/logs/show-tech.txt.receipt closed.receipt").ok();
    assert_eq!(fs::read_to_string(house.work().join("closed.receipt")).unwrap(), receipt);
}

#[test]
fn whole_trees_of_receipts_are_fetched_and_never_listed_at_the_root() {
    let (house, ticket, _) = House::open();
    let names = ["a b.txt", "Größe.bin", "back\\slash", "it's [1] *.txt"];
    fs::create_dir_all(house.work().join("tree/deep/er")).unwrap();
    for (seed, name) in names.iter().enumerate() {
        random_file(&house.work().join("tree/deep").join(name), 1000 * seed as u64, seed as u64);
    }
    random_file(&house.work().join("tree/deep/er/x"), 70_000, 9);
    house.customer(&ticket, "put -r tree").ok();
    let root = house.customer(&ticket, "ls -la\nls -1a /XT-4711/").ok().out();
    assert!(!root.contains(".receipts") && !root.contains(".versions"), "{root}");
    let listed = house.customer(&ticket, "ls -l .receipts\ncd .receipts/tree/deep/er\npwd\nls -la").ok().out();
    for part in ["allowed_signers", "tree", "x.receipt", "x.sha256", "-r--r-----", "/.receipts/tree/deep/er"] {
        assert!(listed.contains(part), "{part} is not in\n{listed}");
    }

    house.customer(&ticket, "get -r .receipts one\nget -r tree/deep files").ok();
    let one = house.work().join("one");
    assert_eq!(all_files(&one).len(), 1 + 2 * 5);
    // Beside the files, every checksum holds, whatever the name.
    Run::new("cp").args(["-r", "one/tree/deep/.", "files"]).within(&house.work()).finish().ok();
    shell(&house.work().join("files"), "for sum in *.sha256; do sha256sum --strict -c \"$sum\" || exit 1; done").ok();
    shell(&house.work().join("files/er"), "sha256sum --strict -c x.sha256").ok();

    let ssh = format!(
        "ssh -a -x -F none -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={} -o PubkeyAuthentication=no",
        house.known_hosts().display()
    );
    let script = format!(
        "set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 60; set sftp:connect-program '{ssh}'; \
         open -u {},{} sftp://127.0.0.1:{}; mirror -P3 .receipts two; mirror / all; bye",
        ticket.reference,
        ticket.token,
        house.port()
    );
    Run::new("lftp").args(["--norc", "-c", &script]).within(&house.work()).env("HOME", house.work()).finish().ok();
    Run::new("diff").args(["-r", "one", "two"]).within(&house.work()).finish().ok();
    assert_eq!(
        all_files(&house.work().join("all")).len(),
        5,
        "a mirror of the root has what was sent, and nothing else"
    );

    for refused in [
        "put tree/deep/er/x .receipts/x",
        "put tree/deep/er/x .receipts/tree/deep/er/x.receipt",
        "rm .receipts/tree/deep/er/x.receipt",
        "mkdir .receipts/new",
        "rmdir .receipts/tree",
        "rename .receipts/tree/deep/er/x.receipt mine",
        "rename tree/deep/er/x .receipts/mine",
        "chmod 600 .receipts/allowed_signers",
    ] {
        house.customer(&ticket, refused).refused(1);
    }
}

#[test]
fn engineers_fetch_older_versions_and_customers_find_none() {
    let (house, ticket, key) = House::open();
    let sources: Vec<_> =
        (1..=4).map(|n| random_file(&house.work().join(format!("v{n}")), 300_000 * n + 7, n)).collect();
    house.customer(&ticket, "put v1 a\nput v2 a\nput v3 part\nrename part a\nrm a\nput v4 a").ok();
    let listed = house.engineer_sftp("anna", &key, "ls -1 /XT-4711/.versions/a\nls -1a /XT-4711/").ok().out();
    for (number, source) in (1..).zip(&sources) {
        assert!(listed.contains(&format!("/XT-4711/.versions/a/{number}\n")), "{listed}");
        house.engineer_sftp("anna", &key, &format!("get /XT-4711/.versions/a/{number} back")).ok();
        assert_eq!(sha256(&house.work().join("back")), sha256(source), "version {number}");
    }
    let root = listed.split_once("ls -1a").unwrap().1;
    assert!(!root.contains(".versions") && !root.contains(".receipts"), "listed by their names only:\n{listed}");
    house.engineer_sftp("anna", &key, "get -r /XT-4711/.versions tree").ok();
    assert_eq!(all_files(&house.work().join("tree")).len(), 4);
    for refused in ["rm /XT-4711/.versions/a/1", "put v1 /XT-4711/.versions/a/9", "rmdir /XT-4711/.versions/a"] {
        house.engineer_sftp("anna", &key, refused).refused(1);
    }

    let other = house.ticket("XT-OTHER", "anna");
    for path in [".versions", ".versions/a", ".versions/a/1", "/XT-4711/.versions/a/1"] {
        for ticket in [&ticket, &other] {
            let failed = house.customer(ticket, &format!("get {path} stolen"));
            assert!(failed.code() == Some(1) && failed.err().contains("not found"), "{path}: {}", failed.err());
        }
    }
    for path in ["/XT-4711/.receipts/a.receipt", ".receipts/a.receipt", "/.receipts/../XT-4711/.receipts/a.sha256"] {
        let failed = house.customer(&other, &format!("get {path} stolen"));
        assert!(failed.code() == Some(1) && failed.err().contains("not found"), "{path}: {}", failed.err());
    }
    assert!(!house.work().join("stolen").exists());
}
