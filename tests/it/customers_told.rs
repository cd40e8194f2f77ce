//! What customers read in their mail: what support hands back, and receipts of what they sent.

use std::fs;

use crate::support::child::Run;
use crate::support::eventually;
use crate::support::files::{sha256, show_tech};
use crate::support::mail::Mail;
use crate::support::server::House;
use crate::support::sink::Sink;

/// Adds a contact of the organisation `acme` with a key and a mail address.
fn contact(house: &House, id: &str, more: &[&str]) -> crate::support::server::Key {
    let key = house.key(id);
    let (public, email) = (key.0.with_extension("pub"), format!("{id}@customer.example"));
    let mut args = vec!["contact", "add", id, "--organisation", "acme", "--email", &email];
    args.extend(["--key", public.to_str().unwrap()]);
    house.tacdrop(args.iter().chain(more).copied()).ok();
    key
}

/// Checks the receipt that stands in a mail as the README says of one in a file.
fn verifies(house: &House, mail: &Mail) {
    let work = house.work();
    let begin = mail.body.find("tacdrop receipt ").expect("a receipt");
    let (text, signature) = mail.body[begin..].split_once("-----BEGIN SSH SIGNATURE-----\n").expect("a signature");
    let signature = signature.split_once("-----END SSH SIGNATURE-----\n").expect("its end").0;
    fs::write(work.join("text"), text).unwrap();
    let armor = format!("-----BEGIN SSH SIGNATURE-----\n{signature}-----END SSH SIGNATURE-----\n");
    fs::write(work.join("signature"), armor).unwrap();
    let signers = house.json(["receipt", "key"])["allowed_signers"].as_str().unwrap().to_owned();
    fs::write(work.join("allowed_signers"), signers).unwrap();
    let verify = "ssh-keygen -Y verify -f allowed_signers -I tacdrop -n tacdrop-receipt -s signature < text";
    Run::new("sh").args(["-c", verify]).within(&work).finish().ok();
}

fn addressed<'a>(mails: &'a [Mail], who: &str) -> Vec<&'a Mail> {
    let is_theirs = |mail: &&Mail| mail.header("x-envelope").is_some_and(|envelope| envelope.ends_with(who));
    mails.iter().filter(is_theirs).collect()
}

#[test]
fn customers_read_what_support_handed_back_and_their_receipts() {
    let work = tempfile::tempdir().unwrap();
    let mut sink = Sink::new(work.path());
    sink.start();
    let (house, _, anna) = sink.house().furnish();
    let karl = contact(&house, "karl", &["--language", "de"]);
    let lena = contact(&house, "lena", &[]);
    house.tacdrop(["contact", "edit", "karl", "--receipts"]).ok();
    house.tacdrop(["contact", "edit", "lena", "--no-mail"]).ok();
    house.ticket_with("XT-9", "anna", &["--language", "en", "--watcher", "noc@customer.example"]);

    // Two files of one settling: one mail to each who is told, and none to the engineer.
    let fix = show_tech(&house.work().join("fix 1.bin"), 40);
    show_tech(&house.work().join("note.txt"), 5);
    let put = "put \"fix 1.bin\" \"XT-9/from-support/fix 1.bin\"\nput note.txt XT-9/from-support/note.txt";
    house.engineer_sftp("anna", &anna, put).ok();
    let mails = sink.await_mails(2);
    let [mail] = addressed(&mails, "karl@customer.example")[..] else { panic!("{:#?}", house.notices()) };
    assert!(mail.header("subject").unwrap().contains("XT-9"), "{:?}", mail.header("subject"));
    for line in [
        "2 Dateien vom Support zu Ticket XT-9",
        "Datei: \"from-support/fix 1.bin\"",
        &sha256(&fix),
        &format!("sftp://127.0.0.1:{}/XT-9/from-support/fix%201.bin", house.port()),
    ] {
        mail.assert_line(line);
    }
    verifies(&house, mail);
    // The line of the mail fetches it, with the contact's own key.
    let fetch = mail.body.lines().find(|line| line.starts_with("scp ") && line.contains("fix 1.bin")).unwrap();
    let fetched = house.work().join("fetched");
    fs::create_dir(&fetched).unwrap();
    let options = format!(
        "scp -B -F none -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={} -i {} -o IdentitiesOnly=yes",
        house.known_hosts().display(),
        karl.0.display()
    );
    let line = fetch.replacen("scp", &options, 1);
    Run::new("sh").args(["-c", &line]).within(&fetched).finish().ok();
    assert_eq!(sha256(&fetched.join("fix 1.bin")), sha256(&fix));
    let [watcher] = addressed(&mails, "noc@customer.example")[..] else { panic!("{:#?}", house.notices()) };
    assert!(watcher.body.contains("2 files from support") && !watcher.body.contains("scp "), "{}", watcher.body);
    assert!(addressed(&mails, "lena@customer.example").is_empty(), "lena wants none");

    // A receipt for who sends and wants one; the engineer is told as always.
    house.engineer_sftp("karl", &karl, "put note.txt XT-9/log.txt").ok();
    house.engineer_sftp("lena", &lena, "put note.txt XT-9/other.txt").ok();
    let own = eventually("the mail with the receipt", || {
        let mails = sink.mails();
        let own = addressed(&mails, "karl@customer.example");
        own.get(1).map(|mail| Mail::parse(&format!("x: y\n\n{}", mail.body)))
    });
    own.assert_line("Quittung für 1 Datei zu Ticket XT-9");
    own.assert_line("Datei: \"log.txt\"");
    assert!(!own.body.contains("other.txt"), "{}", own.body);
    verifies(&house, &own);
    let listed = eventually("all of them delivered", || {
        let all = house.notices();
        let count = |audience: &str| all.iter().filter(|notice| notice["audience"] == audience).count();
        let done = all.iter().all(|notice| notice["state"] == "delivered");
        (done && count("engineers") > 0).then(|| (count("contact"), count("watcher"), count("sender")))
    });
    assert_eq!(listed, (1, 1, 1), "{:#?}", house.notices());
    house.tacdrop(["audit", "verify", "--records"]).ok();

    // Taken off while a mail waits: the server does not get it any more.
    sink.refuse("RCPT karl@customer.example 451 later");
    house.engineer_sftp("anna", &anna, "put note.txt XT-9/from-support/late.txt").ok();
    eventually("a try that was refused", || {
        let all = house.notices();
        all.into_iter()
            .find(|n| n["recipient"] == "karl@customer.example" && n["state"] == "pending" && n["attempts"] != 0)
    });
    house.tacdrop(["contact", "disable", "karl"]).ok();
    sink.refuse("");
    eventually("the end of that notice", || {
        let all = house.notices();
        let karls: Vec<_> = all.iter().filter(|n| n["recipient"] == "karl@customer.example").collect();
        karls.iter().all(|notice| notice["state"] == "delivered").then_some(())
    });
    assert!(!addressed(&sink.mails(), "karl@customer.example").iter().any(|mail| mail.body.contains("late.txt")));
}
