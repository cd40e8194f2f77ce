//! Somebody writes the databases without the keys: who may log in, where notices go, and what signs
//! stays what tacdrop wrote (`docs/format.md`, "Proofs of rows").

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::child::{Finished, Run};
use crate::support::eventually;
use crate::support::files::show_tech;
use crate::support::server::{House, Key};
use crate::support::sql::edit;

fn records(house: &House, sql: &str) -> String {
    edit(&house.data().join("records.sqlite"), sql).out()
}

fn keyring(house: &House, sql: &str) -> String {
    edit(&house.data().join("keyring.sqlite"), sql).out()
}

fn fingerprint(key: &Key) -> String {
    let public = key.0.with_extension("pub");
    let shown = Run::new("ssh-keygen").args(["-l", "-f", public.to_str().unwrap()]).finish().ok().out();
    shown.split(' ').nth(1).unwrap().to_owned()
}

#[track_caller]
fn doctor_names(house: &House, row: &str) {
    let said = house.tacdrop(["doctor"]);
    assert!(said.out().contains(row), "{row} is not named:\n{}", said.out());
}

#[test]
fn a_key_that_was_put_in_and_an_engineer_who_was_let_in_again_open_nothing() {
    let (mut house, ticket, key) = House::open();
    house.put(&ticket, &show_tech(&house.work().join("secret"), 20), "secret");
    let get = "get /XT-4711/secret stolen";
    house.engineer_sftp("anna", &key, get).ok();
    fs::remove_file(house.work().join("stolen")).unwrap();

    let evil = house.key("evil");
    let print = fingerprint(&evil);
    records(
        &house,
        &format!(
            "INSERT INTO engineer_key (engineer, fingerprint, algorithm, added_at) VALUES ('anna', '{print}', 'ssh-ed25519', 0)"
        ),
    );
    assert_ne!(house.engineer_sftp("anna", &evil, get).code(), Some(0));
    doctor_names(&house, &print);
    house.tacdrop(["engineer", "key", "remove", "anna", &print]).ok();
    assert!(house.tacdrop(["doctor"]).out().contains("is what tacdrop wrote"));

    house.tacdrop(["engineer", "add", "bert", "--email", "bert@support.example"]).ok();
    house.tacdrop(["engineer", "disable", "anna", "--hand-over-to", "bert"]).ok();
    records(&house, "UPDATE engineer SET disabled_at = NULL");
    assert_ne!(house.engineer_sftp("anna", &key, get).code(), Some(0));
    doctor_names(&house, "engineer anna");
    assert!(!house.work().join("stolen").exists());
    // What was asked for is counted, and written at the end at the latest.
    house.stop();
    let told = records(&house, "SELECT detail FROM audit_event WHERE kind = 'row.refused'");
    assert!(told.contains(&print) && told.contains("engineer anna"), "{told}");
    assert!(!told.contains("secret"), "{told}");
    house.tacdrop(["audit", "verify"]).ok();
}

#[test]
fn a_notice_does_not_go_to_an_address_that_somebody_wrote_into_the_records() {
    let (house, ticket, _) = House::open();
    records(&house, "UPDATE engineer SET email = 'thief@evil.example'");
    house.put(&ticket, &show_tech(&house.work().join("plan"), 20), "merger-plan");
    let failed =
        eventually("the notice ends", || house.notices().into_iter().find(|notice| notice["last_error"].is_string()));
    assert!(failed["last_error"].as_str().unwrap().contains("does not say what tacdrop wrote there"), "{failed}");
    std::thread::sleep(Duration::from_millis(300));
    for mail in house.spool() {
        assert!(!mail.contains("thief@evil.example") && !mail.contains("merger-plan"), "{mail}");
    }
    doctor_names(&house, "engineer anna");
}

#[test]
fn a_ticket_that_was_turned_to_another_one_s_share_opens_nothing() {
    let (house, ticket, key) = House::open();
    let other = house.ticket("XT-2", "anna");
    house.put(&other, &show_tech(&house.work().join("secret"), 20), "secret");
    let shares = records(&house, "SELECT reference, hex(share_id), hex(token_hash) FROM ticket ORDER BY reference");
    let of: Vec<Vec<&str>> = shares.lines().map(|line| line.split(' ').collect()).collect();
    let (two, own) = (&of[0], &of[1]);
    assert_eq!((two[0], own[0]), ("XT-2", "XT-4711"));
    let swap = format!(
        "UPDATE ticket SET share_id = x'00' WHERE reference = 'XT-4711';;\
         UPDATE ticket SET share_id = x'{}' WHERE reference = 'XT-2';;\
         UPDATE ticket SET share_id = x'{}' WHERE reference = 'XT-4711'",
        own[1], two[1]
    );
    records(&house, &swap);
    for refused in [
        house.customer(&ticket, "get secret stolen"),
        house.customer(&other, "get secret stolen"),
        house.engineer_sftp("anna", &key, "get /XT-4711/secret stolen"),
    ] {
        assert_ne!(refused.code(), Some(0));
    }
    assert!(!house.work().join("stolen").exists());
    assert!(!house.engineer_sftp("anna", &key, "ls").ok().out().contains("XT-2\n"));
    doctor_names(&house, "ticket XT-4711");
    doctor_names(&house, "ticket XT-2");
}

fn fetch_receipt(house: &House, ticket: &crate::support::server::Ticket, into: &Path) {
    fs::create_dir_all(into).unwrap();
    let get = format!("lcd {}\nget .receipts/a.receipt\nget .receipts/allowed_signers", into.display());
    house.customer(ticket, &get).ok();
    let receipt = fs::read_to_string(into.join("a.receipt")).unwrap();
    let at = receipt.find("-----BEGIN").unwrap();
    fs::write(into.join("text"), &receipt[..at]).unwrap();
    fs::write(into.join("signature"), &receipt[at..]).unwrap();
}

fn verify(receipt: &Path, signers: &Path, when: Option<&str>) -> Finished {
    let when = when.map(|when| format!("-O verify-time={when} ")).unwrap_or_default();
    let line = format!(
        "ssh-keygen -Y verify {when}-f {} -I tacdrop -n tacdrop-receipt -s signature < text",
        signers.join("allowed_signers").display()
    );
    Run::new("sh").args(["-c", &line]).within(receipt).finish()
}

#[test]
fn a_lost_secret_is_a_refusal_and_what_replaces_it_lets_old_receipts_verify() {
    let (mut house, ticket, key) = House::open();
    house.put(&ticket, &show_tech(&house.work().join("source"), 20), "a");
    let (before, after) = (house.work().join("before"), house.work().join("after"));
    fetch_receipt(&house, &ticket, &before);
    verify(&before, &before, None).ok();
    // The server has its keys at hand.
    let refused = house.tacdrop(["key", "rotate", "--signing"]).refused(1);
    assert!(refused.err().contains("stop it first"), "{refused}");
    house.stop();
    for purpose in ["receipt-signing", "audit-signing", "token", "proof"] {
        let row = format!("WHERE purpose = '{purpose}'");
        let kept = keyring(&house, &format!("SELECT kek_generation, hex(wrapped) FROM server_key {row}"));
        let (generation, wrapped) = kept.trim().split_once(' ').unwrap();
        keyring(&house, &format!("DELETE FROM server_key {row}"));
        let refused = house.start_refused().refused(1);
        assert!(refused.err().contains(&format!("'{purpose}'")), "{purpose}: {refused}");
        keyring(&house, &format!("INSERT INTO server_key VALUES ('{purpose}', {generation}, x'{wrapped}')"));
    }
    keyring(&house, "CREATE TRIGGER t AFTER UPDATE ON server_key BEGIN DELETE FROM share_key; END");
    assert!(house.start_refused().refused(1).err().contains("trigger t on server_key"));
    keyring(&house, "DROP TRIGGER t");

    let done = house.json(["key", "rotate", "--signing"]);
    house.start();
    fetch_receipt(&house, &ticket, &after);
    let signers = fs::read_to_string(after.join("allowed_signers")).unwrap();
    assert!(
        signers.contains(done["receipt_key"].as_str().unwrap()) && signers.contains("valid-before=\""),
        "{signers}"
    );
    verify(&after, &after, None).ok();
    // An older receipt is checked as of its own time, when its key was in force.
    let received = fs::read_to_string(before.join("text")).unwrap();
    let received = received.lines().find_map(|line| line.strip_prefix("Received: ")).unwrap().to_owned();
    let when: String = received.chars().filter(char::is_ascii_digit).take(14).collect();
    verify(&before, &after, Some(&format!("{when}Z"))).ok();
    verify(&before, &before, None).ok();
    assert_ne!(verify(&after, &before, None).code(), Some(0));
    assert_ne!(verify(&before, &after, Some("20991231")).code(), Some(0), "the older key has ended");
    house.tacdrop(["audit", "verify"]).ok();
    house.customer(&ticket, "get a again").ok();

    // Every secret at once, and the KEK.
    house.stop();
    let refused = house.tacdrop(["key", "rotate", "--all"]).refused(1);
    assert!(refused.err().contains("--yes"), "{refused}");
    house.tacdrop(["key", "rotate", "--all", "--yes"]).ok();
    house.start();
    assert_ne!(house.customer(&ticket, "get a again").code(), Some(0), "its token has ended");
    house.engineer_sftp("anna", &key, "get /XT-4711/a again").ok();
    house.tacdrop(["ticket", "token", "XT-4711"]).ok();
    house.tacdrop(["audit", "verify"]).ok();
    assert!(house.tacdrop(["doctor"]).out().contains("is what tacdrop wrote"));
}
