//! Contacts and teams through real clients: who gets in, what they see, and what nobody learns.

use crate::support::child::Finished;
use crate::support::eventually;
use crate::support::files::{sha256, show_tech};
use crate::support::server::{House, Ticket};

/// A contact with a password, as a login of a ticket's form.
fn contact(house: &House, like: &Ticket, id: &str, organisation: &str) -> Ticket {
    let email = format!("{id}@customer.example");
    house.tacdrop(["contact", "add", id, "--organisation", organisation, "--email", &email]).ok();
    let made = house.json(["contact", "password", id, "--make"]);
    let token = made["made_password"].as_str().unwrap().to_owned();
    Ticket { reference: id.to_owned(), token, ..like.clone() }
}

/// What a person sees of a failed session, with the name that it typed itself left out.
fn seen(finished: &Finished, name: &str) -> (Option<i32>, String) {
    (finished.code(), format!("{}{}", finished.out(), finished.err()).replace(name, "NAME"))
}

/// A house in which `other` is another organisation with the ticket `XT-OTHER` and the contact
/// `otto`.
fn two_organisations() -> (House, Ticket, Ticket, Ticket) {
    let (house, ticket, _) = House::open();
    house.tacdrop(["organisation", "add", "other", "--name", "Other"]).ok();
    let mut args = vec!["ticket", "open", "XT-OTHER", "--organisation", "other", "--engineer", "anna"];
    args.push("--json");
    let json = house.tacdrop(args).ok().json();
    let token = json["token"].as_str().unwrap().to_owned();
    let other = Ticket { reference: "XT-OTHER".to_owned(), token, json };
    let karl = contact(&house, &ticket, "karl", "acme");
    (house, ticket, other, karl)
}

#[test]
fn a_contact_logs_in_by_password_or_key_and_what_it_sends_bears_its_name() {
    let (house, ticket, _, karl) = two_organisations();
    let source = show_tech(&house.work().join("show.txt"), 40);
    let listed = house.customer(&karl, "ls -1\nput show.txt XT-4711/show.txt\nls -1 XT-4711").ok().out();
    assert!(listed.contains("XT-4711") && !listed.contains("XT-OTHER"), "{listed}");
    let artifact = house.assert_holds(&ticket, "show.txt", &sha256(&source));
    assert_eq!(artifact["uploaded_by"], "karl");
    house.customer(&karl, "put show.txt XT-4711/from-support/show.txt").refused(1);
    house.customer(&karl, "get XT-4711/show.txt back\nget XT-4711/.receipts/show.txt.receipt receipt").ok();
    assert!(std::fs::read_to_string(house.work().join("receipt")).unwrap().contains("karl"));
    // A key, and the end of it.
    let key = house.key("karl");
    let public = key.0.with_extension("pub");
    house.tacdrop(["contact", "key", "add", "karl", public.to_str().unwrap()]).ok();
    assert!(house.engineer_sftp("karl", &key, "ls -1").ok().out().contains("XT-4711"));
    house.tacdrop(["contact", "key", "remove", "karl", public.to_str().unwrap()]).ok();
    assert_ne!(house.engineer_sftp("karl", &key, "ls -1").code(), Some(0));
    let mail = eventually("a mail in the spool", || house.spool().into_iter().next());
    assert!(mail.contains("karl"), "{mail}");
    let trail = house.tacdrop(["audit", "list", "XT-4711"]).ok().out();
    assert!(trail.contains("karl"), "{trail}");
    house.tacdrop(["audit", "verify", "--records"]).ok();
}

/// Who was told that a file came is told that its sender deleted it.
#[test]
fn a_customer_s_delete_is_told_to_the_engineer() {
    let (house, ticket, _) = House::open();
    show_tech(&house.work().join("show.txt"), 4);
    house.put(&ticket, &house.work().join("show.txt"), "show.txt");
    house.put(&ticket, &house.work().join("show.txt"), "other.txt");
    house.await_notices(1);
    house.customer(&ticket, "rm show.txt").ok();
    house.await_notices(2);
    let mails = house.spool();
    let deleted: Vec<_> = mails.iter().filter(|mail| mail.contains("1 file was deleted")).collect();
    assert_eq!((mails.len(), deleted.len()), (2, 1), "{mails:#?}");
    assert!(deleted[0].contains("show.txt") && !deleted[0].contains("other.txt"), "{}", deleted[0]);
    assert_eq!(house.notices().iter().filter(|notice| notice["artifacts"][0]["about"] == "deleted").count(), 1);
}

/// R35: an unknown name, a wrong password, a disabled and an expired contact look alike.
#[test]
fn r35_whatever_is_wrong_with_a_contact_looks_the_same() {
    let (house, ticket, _, karl) = two_organisations();
    let disabled = contact(&house, &ticket, "dora", "acme");
    house.tacdrop(["contact", "disable", "dora"]).ok();
    let expired = contact(&house, &ticket, "egon", "acme");
    house.tacdrop(["contact", "edit", "egon", "--until", "2020-01-31"]).ok();
    let unknown = Ticket { reference: "nobody".to_owned(), ..karl.clone() };
    let wrong = Ticket { token: "something else".to_owned(), ..karl };
    let looks: Vec<_> = [&disabled, &expired, &unknown, &wrong]
        .map(|login| seen(&house.customer(login, "ls"), &login.reference))
        .to_vec();
    assert_eq!(looks[0].0, Some(255), "{looks:#?}");
    assert!(looks[0].1.contains("Permission denied (p"), "{looks:#?}");
    assert!(looks.iter().all(|look| *look == looks[0]), "{looks:#?}");
    assert!(!house.log().contains("something else"), "a password in the log");
}

/// R56: another organisation's ticket does not exist, by whatever verb, protocol or command.
#[expect(clippy::print_stdout, reason = "its answer")]
#[test]
fn r56_a_contact_sees_nothing_of_another_organisation() {
    let (house, ticket, other, karl) = two_organisations();
    let source = show_tech(&house.work().join("secret.txt"), 40);
    house.customer(&other, "mkdir logs\nput secret.txt\nput secret.txt logs/secret.txt").ok();
    show_tech(&house.work().join("mine.txt"), 20);
    house.put(&ticket, &house.work().join("mine.txt"), "mine.txt");
    let mut tried = 0;
    for command in [
        "ls /NAME",
        "ls -la /NAME/",
        "ls /NAME/secret.txt",
        "ls /NAME/logs",
        "ls /NAME/.receipts",
        "ls /NAME/.versions",
        "cd /NAME",
        "get /NAME/secret.txt stolen",
        "reget /NAME/secret.txt stolen",
        "get -r /NAME stolen",
        "get /NAME/.receipts/secret.txt.receipt stolen",
        "get /NAME/.receipts/allowed_signers stolen",
        "get /NAME/.versions/secret.txt/1 stolen",
        "get XT-4711/../NAME/secret.txt stolen",
        "put mine.txt /NAME/planted.txt",
        "put mine.txt /NAME/secret.txt",
        "reput mine.txt /NAME/secret.txt",
        "put mine.txt /NAME/from-support/planted.txt",
        "rm /NAME/secret.txt",
        "rename /NAME/secret.txt /XT-4711/stolen.txt",
        "rename /XT-4711/mine.txt /NAME/mine.txt",
        "rename -l /NAME/secret.txt /XT-4711/stolen.txt",
        "ln -s /NAME/secret.txt /XT-4711/link",
        "ln /NAME/secret.txt /XT-4711/link",
        "mkdir /NAME",
        "mkdir /NAME/dir",
        "rmdir /NAME",
        "rmdir /NAME/logs",
        "chmod 600 /NAME/secret.txt",
        "df /NAME",
    ] {
        let try_it = |name: &str| seen(&house.customer(&karl, &command.replace("NAME", name)), name);
        let (there, nowhere) = (try_it("XT-OTHER"), try_it("XT-NOONE"));
        assert_eq!(there, nowhere, "{command}: a ticket that exists must look like one that does not");
        assert_eq!(there.0, Some(1), "{command}: {}", there.1);
        tried += 1;
    }
    let customer = house.as_customer(&karl);
    for (from, to) in [("NAME/secret.txt", "stolen"), ("mine.txt", "NAME/planted.txt"), ("NAME", "stolen")] {
        let at = |path: &str, name: &str| match path.contains("NAME") {
            true => customer.at(&path.replace("NAME", name)),
            false => path.to_owned(),
        };
        for recursive in [false, true] {
            let try_it = |name: &str| {
                let scp = if recursive { customer.scp().arg("-r") } else { customer.scp() };
                seen(&scp.args([&at(from, name), &at(to, name)]).finish(), name)
            };
            let (there, nowhere) = (try_it("XT-OTHER"), try_it("XT-NOONE"));
            assert_eq!(there, nowhere, "scp {from} {to}");
            assert_eq!(there.0, Some(1), "scp {from} {to}: {}", there.1);
            tried += 1;
        }
    }
    for command in ["sha256sum NAME/secret.txt", "md5sum NAME/secret.txt", "scp -f NAME/secret.txt", "scp -f -r NAME"] {
        let try_it = |name: &str| seen(&customer.ssh(&command.replace("NAME", name)).finish(), name);
        let (there, nowhere) = (try_it("XT-OTHER"), try_it("XT-NOONE"));
        assert_eq!(there, nowhere, "{command}");
        assert_ne!(there.0, Some(0), "{command}");
        tried += 1;
    }
    println!("{tried} ways to another organisation's ticket, by SFTP, SCP and exec: none leads there");
    assert!(!house.work().join("stolen").exists());
    house.assert_holds(&other, "secret.txt", &sha256(&source));
    house.assert_holds(&other, "logs/secret.txt", &sha256(&source));
    assert_eq!(house.artifacts(&other).len(), 2);
    assert_eq!(house.artifacts(&ticket).len(), 1);
    // Whoever acts for it sees it, and who only watches is told.
    house.tacdrop(["ticket", "edit", "XT-OTHER", "--affected", "acme", "--watcher", "boss@customer.example"]).ok();
    let listed = house.customer(&karl, "ls -1\nput mine.txt XT-OTHER/from-acme.txt").ok().out();
    assert!(listed.contains("XT-OTHER"), "{listed}");
    let told =
        |address: &str| house.spool().iter().any(|mail| mail.contains(address) && mail.contains("from-acme.txt"));
    eventually("copies for the engineer and the watcher", || {
        (told("anna@support.example") && told("boss@customer.example")).then_some(())
    });
}
