//! What customers read beside the protocol: the banner, the ticket, and why something was refused.
//! And programs of vendors that read along.

use crate::support::child::Run;
use crate::support::files::{random_file, sha256, show_tech};
use crate::support::server::{House, Ticket};

const CLOSED: &str = "This ticket is closed and its share can only be read.";

fn titled(house: &House) -> Ticket {
    house.ticket_with("XT-1", "anna", &["--title", "Router reboots every night"])
}

#[test]
fn openssh_and_putty_show_the_ticket_and_nothing_that_somebody_typed() {
    let (house, _, _) = House::open();
    let ticket = titled(&house);
    let line = "Ticket XT-1\n";
    let shown = house.customer(&ticket, "ls").ok();
    assert_eq!((shown.err().matches(line).count(), shown.out().contains("Router")), (1, false), "{}", shown.err());
    let shown = house.as_customer(&ticket).psftp("ls").finish().ok();
    assert!(format!("{}{}", shown.out(), shown.err()).replace('\r', "").contains(line), "{}", shown.err());
    // lftp has ssh run OpenSSH's client, and goes on.
    house.as_customer(&ticket).lftp("ls").finish().ok();
}

#[test]
fn openssh_shows_why_something_was_refused_in_the_ticket_s_language() {
    let (house, ticket, _) = House::open();
    let german = house.ticket_with("XT-DE", "anna", &["--language", "de"]);
    show_tech(&house.work().join("a.txt"), 40);
    let failed = house.customer(&ticket, "put a.txt from-support/a.txt");
    assert_eq!(failed.code(), Some(1));
    assert!(failed.err().contains("Only support engineers write to 'from-support'."), "{}", failed.err());
    for (ticket, sentence) in [(&ticket, CLOSED), (&german, "Dieses Ticket ist geschlossen")] {
        house.tacdrop(["ticket", "close", &ticket.reference]).ok();
        let failed = house.customer(ticket, "put a.txt");
        assert_eq!(failed.code(), Some(1));
        // Once as the greeting, once as the answer.
        assert_eq!(failed.err().matches(sentence).count(), 2, "{}", failed.err());
    }
    let full = house.customer(&house.ticket("XT-3", "anna"), "mkdir d\nput a.txt d/a.txt\nrmdir d");
    assert_eq!(full.code(), Some(1));
    assert!(full.err().contains("not empty"), "{}", full.err());
    // What clients try and expect to fail is nothing to tell people of.
    let quiet = house.customer(&house.ticket("XT-2", "anna"), "-ls nothing\n-mkdir a\n-mkdir a\n-rmdir b\nls");
    assert!(!quiet.err().contains("exists already. Choose"), "{}", quiet.err());
}

const POLICY: &str = r#"
[retention.incident]
start = "closed"
period = "90d"
[checklist.incident]
items = [
  { id = "serial", required = true, en = "the serial number", de = "die Seriennummer" },
  { id = "plan", en = "a plan", de = "ein Plan" },
]
"#;

#[test]
fn what_the_policy_says_is_read_at_the_login_in_the_mail_and_in_a_refusal() {
    let house = House::new();
    let policy = house.work().join("policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    let (house, ticket, _) = house.set("POLICY__FILE", policy.to_str().unwrap()).furnish();
    show_tech(&house.work().join("a.txt"), 40);
    let shown = house.customer(&ticket, "put a.txt").ok();
    assert!(shown.err().contains("Ticket XT-4711. Still missing: the serial number.\n"), "{}", shown.err());
    let mail = crate::support::server::one_mail(&house);
    assert!(mail.replace('\r', "").contains("\nStill missing:\n- the serial number\n"), "{mail}");
    assert!(house.tacdrop(["ticket", "show", "XT-4711"]).ok().out().contains("Missing:      serial\n"));
    house.tacdrop(["ticket", "checklist", "XT-4711", "--tick", "serial"]).ok();
    let shown = house.customer(&ticket, "ls").ok();
    assert!(shown.err().contains("Ticket XT-4711\n"), "{}", shown.err());
    // Until when it can be read is said at the login, by the STATUS, and by both protocols of scp.
    house.tacdrop(["ticket", "close", "XT-4711"]).ok();
    let end = house.json(["ticket", "show", "XT-4711"])["readable_until"].as_str().unwrap().to_owned();
    let said = format!("Its files can be read until {} {} UTC; then they are removed.", &end[..10], &end[11..16]);
    let failed = house.customer(&ticket, "put a.txt b.txt");
    assert_eq!((failed.code(), failed.err().matches(&said).count()), (Some(1), 2), "{}", failed.err());
    for protocol in ["-O", "-s"] {
        let customer = house.as_customer(&ticket);
        let failed = customer.scp().args([protocol, "a.txt", &customer.at("c.txt")]).finish();
        assert!(failed.code() == Some(1) && failed.err().contains(&said), "{protocol}: {}", failed.err());
    }
}

#[test]
fn a_banner_comes_before_the_login_and_remarks_can_be_switched_off() {
    let banner = ["For customers of ACME Support only.", "Zugang nur mit Ticket."];
    let (house, ticket, _) =
        House::new().set("SERVER__BANNER", banner.join(",")).set("SERVER__REMARKS", "false").furnish();
    let titled = titled(&house);
    let shown = house.customer(&titled, "ls").ok();
    assert!(!shown.err().contains("Router"), "{}", shown.err());
    let wrong = Ticket { token: "zzzzzzzzzzzzzzzzzzzzzzzzzz".to_owned(), ..ticket };
    // OpenSSH shows it, too, but not as quiet as the tests have it.
    for (ticket, code) in [(&titled, 0), (&wrong, 1)] {
        let shown = house.as_customer(ticket).psftp("ls").finish();
        assert_eq!(shown.code(), Some(code));
        let text = format!("{}{}", shown.out(), shown.err());
        assert!(banner.iter().all(|line| text.contains(line)), "{text}");
    }
}

#[test]
fn sos_report_uploads_to_the_root_and_to_the_user_s_directory() {
    let banner = "For customers of ACME Support only.";
    let (house, _, _) = House::new().set("SERVER__BANNER", banner).furnish();
    let ticket = titled(&house);
    let archive = random_file(&house.work().join("sosreport.tar.xz"), 3 << 20, 1);
    let port = house.port().to_string();
    for (number, directory) in ["", "/", "XT-1/", "/XT-1/"].iter().enumerate() {
        let name = format!("{directory}XT-1_sosreport-{number}.tar.xz");
        Run::new(crate::support::python())
            .within(&house.work())
            .env("TEST_TOKEN", &ticket.token)
            .args(["-B", crate::support::script("sos_upload.py").to_str().unwrap(), "sosreport.tar.xz", &name, "--"])
            .args(["sftp", "-F", "none", "-oStrictHostKeyChecking=no", "-oPubkeyAuthentication=no"])
            .arg(format!("-oUserKnownHostsFile={}", house.known_hosts().display()))
            .args(["-P", &port, "XT-1@127.0.0.1"])
            .finish()
            .ok();
        house.assert_holds(&ticket, &format!("XT-1_sosreport-{number}.tar.xz"), &sha256(&archive));
    }
}
