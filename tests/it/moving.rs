//! Files that go from one ticket to another while the server runs, as customers, engineers and the
//! tools of every Unix see them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::child::Run;
use crate::support::files::{random_file, sha256};
use crate::support::server::House;

/// Checks a receipt as the README says.
fn is_signed(directory: &Path, receipt: &str, name: &str) {
    let at = receipt.find("-----BEGIN SSH SIGNATURE-----").unwrap();
    fs::write(directory.join(format!("{name}.text")), &receipt[..at]).unwrap();
    fs::write(directory.join(format!("{name}.sig")), &receipt[at..]).unwrap();
    let line =
        format!("ssh-keygen -Y verify -f allowed_signers -I tacdrop -n tacdrop-receipt -s {name}.sig < {name}.text");
    Run::new("sh").args(["-c", &line]).within(directory).finish().ok();
}

#[test]
fn a_misfiled_upload_goes_to_its_ticket_with_receipts_history_and_notice() {
    let (house, one, key) = House::open();
    let two = house.ticket("XT-4712", "anna");
    let first = random_file(&house.work().join("first"), 5 << 20, 1);
    let second = random_file(&house.work().join("second"), 90_000, 2);
    house.put(&one, &first, "dump.bin");
    house.put(&one, &second, "dump.bin");
    let before = house.assert_holds(&one, "dump.bin", &sha256(&second));
    let id = before["id"].as_str().unwrap();
    let receipt = house.tacdrop(["receipt", "show", "XT-4711", "dump.bin"]).ok().out();
    let signers = house.tacdrop(["receipt", "key"]).ok().out();
    fs::write(house.work().join("allowed_signers"), signers).unwrap();
    house.await_notices(1);

    let done = house.json(["artifact", "move", id, "XT-4712"]);
    assert_eq!((done["from"].as_str(), done["to"].as_str()), (Some("XT-4711"), Some("XT-4712")), "{done}");
    house.customer(&one, "ls dump.bin").refused(1);
    house.customer(&two, "get dump.bin back").ok();
    assert_eq!(sha256(&house.work().join("back")), sha256(&second));
    house.engineer_sftp("anna", &key, "get /XT-4712/.versions/dump.bin/1 old").ok();
    assert_eq!(sha256(&house.work().join("old")), sha256(&first));
    let after = house.assert_holds(&two, "dump.bin", &sha256(&second));
    for field in ["version", "size", "uploaded_by", "received_at", "transport"] {
        assert_eq!(after[field], before[field], "{field}");
    }

    // The receipt of before is what it was, and there is one of the new place.
    let new = house.tacdrop(["receipt", "show", "XT-4712", "dump.bin"]).ok().out();
    is_signed(&house.work(), &receipt, "before");
    is_signed(&house.work(), &new, "after");
    assert!(new.contains("\nTicket: XT-4712\n") && new.contains("\nUploaded-By: XT-4711\n"), "{new}");
    for (name, text) in [("before.receipt", &receipt), ("after.receipt", &new)] {
        let file = house.work().join(name);
        fs::write(&file, text).unwrap();
        house.tacdrop(["audit", "verify", "--records", "--receipt", file.to_str().unwrap()]).ok();
    }

    // Where it went is said, and the engineer is told.
    let shown = house.json(["artifact", "show", id]);
    assert_eq!((shown["ticket"].as_str(), &shown["current_id"]), (Some("XT-4712"), &done["new_id"]), "{shown}");
    let said = house.tacdrop(["artifact", "move", id, "XT-4712"]).refused(1).err();
    assert!(said.contains("was moved to ticket XT-4712"), "{said}");
    house.await_notices(2);
    let mails = house.spool();
    let told = mails.iter().filter(|mail| mail.contains("Moved from ticket XT-4711"));
    assert_eq!(told.count(), 1, "{mails:?}");
    let kinds: Vec<Value> =
        house.json(["audit", "list", "XT-4711", "--kind", "artifact.moved-out"]).as_array().unwrap().clone();
    assert_eq!(kinds.len(), 1);
    house.tacdrop(["store", "check", "--deep"]).ok();
}

/// The command is killed again and again; the file is in one of both tickets each time, and in the end
/// in the other one.
#[test]
fn a_killed_move_loses_nothing_and_is_done_again() {
    let (house, one, _) = House::open();
    let two = house.ticket("XT-4712", "anna");
    let source = random_file(&house.work().join("source"), 24 << 20, 3);
    house.put(&one, &source, "dump.bin");
    let id = house.artifact(&one, "dump.bin").unwrap()["id"].as_str().unwrap().to_owned();
    for kill in 0..12 {
        let mut job = house.command(["artifact", "move", &id, "XT-4712"]).start();
        std::thread::sleep(Duration::from_millis(40 * kill));
        job.kill();
        let places = [house.artifact(&one, "dump.bin").is_some(), house.artifact(&two, "dump.bin").is_some()];
        assert!(places == [true, false] || places == [false, true], "kill {kill}: {places:?}");
        if places == [false, true] {
            break;
        }
        house.assert_holds(&one, "dump.bin", &sha256(&source));
    }
    if house.artifact(&one, "dump.bin").is_some() {
        house.json(["artifact", "move", &id, "XT-4712"]);
    }
    house.assert_holds(&two, "dump.bin", &sha256(&source));
    house.tacdrop(["artifact", "verify"]).ok();
    house.tacdrop(["audit", "verify", "--records"]).ok();
    house.tacdrop(["store", "check", "--deep"]).ok();
}

#[test]
fn a_merged_ticket_tells_its_customer_where_the_files_are() {
    let (house, one, key) = House::open();
    let two = house.ticket("XT-4712", "anna");
    let source = random_file(&house.work().join("source"), 70_000, 4);
    house.put(&one, &source, "a.bin");
    house.put(&one, &source, "b.bin");
    let done = house.json(["ticket", "merge", "XT-4711", "XT-4712"]);
    assert_eq!((done["moved"].as_array().map(Vec::len), &done["closed"]), (Some(2), &Value::Bool(true)), "{done}");
    house.assert_holds(&two, "b.bin", &sha256(&source));
    assert_eq!(house.json(["ticket", "show", "XT-4711"])["merged_into"].as_str(), Some("XT-4712"));
    assert!(house.tacdrop(["ticket", "show", "XT-4711"]).ok().out().contains("Merged into ticket XT-4712"));
    let said = house.customer(&one, "ls").ok().err();
    assert!(said.contains("Its files are in ticket XT-4712 now."), "{said}");

    let id = house.artifact(&two, "a.bin").unwrap()["id"].as_str().unwrap().to_owned();
    let split = house.json(["ticket", "split", "XT-4712", "XT-4713", "--artifact", &id]);
    assert_eq!((split["moved"].as_array().map(Vec::len), split["token"].is_string()), (Some(1), true), "{split}");
    house.engineer_sftp("anna", &key, "get /XT-4713/a.bin split").ok();
    assert_eq!(sha256(&house.work().join("split")), sha256(&source));
    house.tacdrop(["audit", "verify", "--records"]).ok();
}
