//! Old network devices: the second listener with weak algorithms, tickets that only send, and the
//! mark on what came by it.

use std::fs;

use serde_json::Value;

use crate::lifecycle::libfaketime;
use crate::support::eventually;
use crate::support::files::{sha256, show_tech};
use crate::support::mail::Mail;
use crate::support::server::{House, Ticket, one_mail};

/// What OpenSSH says when nothing in common is left.
const NO_MATCH: &str = "no matching";

/// The algorithms that a client is left with, as `-o` takes them.
fn only(kex: &str, key: &str, cipher: &str, mac: &str) -> Vec<String> {
    [("KexAlgorithms", kex), ("HostKeyAlgorithms", key), ("Ciphers", cipher), ("MACs", mac)]
        .map(|(name, value)| format!("{name}={value}"))
        .to_vec()
}

fn weakest() -> Vec<String> {
    only("diffie-hellman-group14-sha1", "ssh-rsa", "aes128-cbc", "hmac-sha1")
}

/// A house with the listener for old devices, and a device's ticket `DEV-1`.
fn house_for_devices(house: House) -> (House, Ticket, Ticket) {
    let house = house
        .set("LEGACY__LISTEN", "127.0.0.1:0")
        .set("LEGACY__UNTIL", "2999-12-31")
        .set("LEGACY__ALLOW", "127.0.0.0/8, ::1");
    let (house, ticket, _) = house.furnish();
    let device = house.ticket_with("DEV-1", "anna", &["--device", "--language", "en"]);
    (house, ticket, device)
}

/// The port that `ticket show` names for devices.
fn devices_port(house: &House) -> u16 {
    let shown = house.json(["ticket", "show", "DEV-1"]);
    assert_eq!(shown["devices"]["legacy"], true, "{shown}");
    u16::try_from(shown["devices"]["port"].as_u64().unwrap()).unwrap()
}

fn refs(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

#[test]
fn r44_the_weakest_client_gets_in_by_the_legacy_listener_only_and_what_it_sends_is_marked() {
    let (mut house, ticket, device) = house_for_devices(House::new());
    let source = show_tech(&house.work().join("show-tech.txt"), 400);
    let legacy = devices_port(&house);
    let customer = house.as_customer(&device);
    let main = customer.sftp_with(&refs(&weakest()), "put show-tech.txt").finish();
    assert!(main.code() == Some(255) && main.err().contains(NO_MATCH), "{}", main.err());
    assert!(house.artifacts(&device).is_empty());

    let weak = house.as_customer(&device).through(legacy);
    weak.sftp_with(&refs(&weakest()), "put show-tech.txt").finish().ok();
    let artifact = house.assert_holds(&device, "show-tech.txt", &sha256(&source));
    assert_eq!(artifact["transport"], "legacy");
    assert!(house.tacdrop(["artifact", "list", "DEV-1"]).ok().out().contains("available, weak transport"));
    let versions = house.tacdrop(["artifact", "list", "DEV-1", "--versions"]).ok().out();
    assert!(versions.contains("current, weak transport"), "{versions}");
    assert_eq!(house.json(["artifact", "list", "DEV-1", "--versions"])[0]["transport"], "legacy");
    let receipt = house.json(["receipt", "show", "DEV-1", "show-tech.txt"]);
    assert!(receipt["text"].as_str().unwrap().contains("\nTransport: legacy\n"), "{receipt}");
    let mail = Mail::parse(&one_mail(&house));
    mail.assert_line("Came by the legacy listener, over weak encryption: others may have read or changed it.");

    // What came by the main listener has no mark.
    house.put(&ticket, &source, "strong.txt");
    assert_eq!(house.artifact(&ticket, "strong.txt").unwrap()["transport"], "modern");
    let receipt = house.json(["receipt", "show", "XT-4711", "strong.txt"]);
    assert!(receipt["text"].as_str().unwrap().contains("\nTransport: modern\n"), "{receipt}");

    house.stop();
    for (kind, count) in [("login.accepted", 1), ("artifact.available", 1), ("upload.opened", 1), ("login.ended", 1)] {
        let rows = house.json(["audit", "list", "DEV-1", "--kind", kind]);
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), count, "{kind}: {rows:#?}");
        assert!(rows.iter().all(|row| row["detail"]["transport"] == "legacy"), "{kind}: {rows:#?}");
        let rows = house.json(["audit", "list", "XT-4711", "--kind", kind]);
        assert!(rows.as_array().unwrap().iter().all(|row| row["detail"]["transport"] == Value::Null), "{rows:#?}");
    }
    house.tacdrop(["audit", "verify"]).ok();
    assert!(house.log().contains("transport=legacy"), "the log says nothing of it");
}

#[test]
fn r44_old_devices_find_their_algorithms_and_nothing_worse_is_agreed_on() {
    let (house, _, device) = house_for_devices(House::new());
    let source = show_tech(&house.work().join("a.txt"), 300);
    let legacy = house.as_customer(&device).through(devices_port(&house));
    let (group14, gex) = ("diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1");
    let sets = [
        ("ios-16", only(group14, "ssh-rsa", "aes128-ctr,aes192-ctr,aes256-ctr", "hmac-sha1")),
        ("ios-16-gex", only(gex, "ssh-rsa", "aes256-ctr", "hmac-sha1")),
        ("ios-xe-15.5", only(group14, "ssh-rsa", "aes128-cbc", "hmac-sha1")),
        ("ios-xe-15.5-192", only(group14, "ssh-rsa", "aes192-cbc", "hmac-sha1")),
        ("ios-xe-15.5-256", only(group14, "ssh-rsa", "aes256-cbc", "hmac-sha1")),
        ("dropbear", only(group14, "ssh-rsa", "aes128-ctr", "hmac-sha1")),
        ("gex-256", only("diffie-hellman-group-exchange-sha256", "rsa-sha2-256", "aes192-ctr", "hmac-sha2-256")),
        ("group14-256", only("diffie-hellman-group14-sha256", "rsa-sha2-512", "aes256-cbc", "hmac-sha2-512")),
        ("today", only("curve25519-sha256", "rsa-sha2-512", "aes256-gcm@openssh.com", "hmac-sha2-256")),
    ];
    for (name, options) in &sets {
        legacy.sftp_with(&refs(options), &format!("put a.txt {name}")).finish().ok();
        house.assert_holds(&device, name, &sha256(&source));
    }
    // As people set it: ssh-rsa beside what OpenSSH has by itself.
    legacy.sftp_with(&["HostKeyAlgorithms=+ssh-rsa"], "put a.txt plus").finish().ok();
    for (name, options) in [
        ("cbc-etm", only(group14, "ssh-rsa", "aes128-cbc", "hmac-sha2-256-etm@openssh.com")),
        ("cbc-etm-sha1", only(group14, "ssh-rsa", "aes128-cbc", "hmac-sha1-etm@openssh.com")),
        ("group1", only("diffie-hellman-group1-sha1", "ssh-rsa", "aes128-cbc", "hmac-sha1")),
        ("3des", only(group14, "ssh-rsa", "3des-cbc", "hmac-sha1")),
        ("md5", only(group14, "ssh-rsa", "aes128-cbc", "hmac-md5")),
    ] {
        let refused = legacy.sftp_with(&refs(&options), "put a.txt worse").finish();
        assert!(refused.code() == Some(255) && refused.err().contains(NO_MATCH), "{name}: {}", refused.err());
    }
    // The main listener takes none of the old sets.
    let main = house.as_customer(&device);
    for (name, options) in &sets[..6] {
        let refused = main.sftp_with(&refs(options), "put a.txt main").finish();
        assert!(refused.code() == Some(255) && refused.err().contains(NO_MATCH), "{name}: {}", refused.err());
    }
}

#[test]
fn r44_the_listener_is_off_by_default_and_says_when_its_day_is_over() {
    let (house, _, _) = House::open();
    let device = house.ticket_with("DEV-1", "anna", &["--device"]);
    assert_eq!((&device.json["device"], &device.json["devices"]["legacy"]), (&true.into(), &false.into()));
    assert_eq!(device.json["devices"]["port"], house.port());
    assert!(!house.data().join("keys/ssh_host_rsa_key").exists() && !house.log().contains("legacy listener"));
    house.tacdrop(["config", "check"]).ok();
    drop(house);

    let (house, ticket, _) = House::new()
        .set("LEGACY__LISTEN", "127.0.0.1:0")
        .set("LEGACY__UNTIL", "2026-01-01")
        .set("LEGACY__ALLOW", "127.0.0.1")
        .furnish();
    let device = house.ticket_with("DEV-1", "anna", &["--device"]);
    assert_eq!(device.json["devices"]["legacy"], false, "{}", device.json);
    let log = house.log();
    let said = log.lines().find(|line| line.contains("legacy listener does not start")).unwrap_or_default();
    assert!(said.contains("ERROR") && said.contains("2026-01-01"), "{log}");
    show_tech(&house.work().join("a.txt"), 10);
    house.customer(&ticket, "put a.txt").ok();
    house.tacdrop(["config", "check"]).ok();
    let doctor = house.tacdrop(["doctor"]);
    let line = doctor.out().lines().find(|line| line.contains("legacy")).unwrap_or_default().to_owned();
    assert!(doctor.code() == Some(1) && line.starts_with("TO DO") && line.contains("2026-01-01"), "{}", doctor.out());
}

#[test]
fn r44_the_listener_stops_when_its_day_is_over_and_the_main_one_goes_on() {
    // Ten seconds before midnight, for the server alone.
    let house = House::new()
        .set("LEGACY__LISTEN", "127.0.0.1:0")
        .set("LEGACY__UNTIL", "2030-05-31")
        .set("LEGACY__ALLOW", "127.0.0.1")
        // The token is of today, and the server's day years later.
        .set("TICKETS__TOKEN_VALIDITY_DAYS", "3650");
    let library = libfaketime();
    let (house, ticket, _) = house
        .server_env("LD_PRELOAD", library.to_str().unwrap())
        .server_env("FAKETIME", "@2030-05-31 23:59:50")
        .server_env("TZ", "UTC")
        .furnish();
    house.ticket_with("DEV-1", "anna", &["--device"]);
    let port = devices_port(&house);
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    eventually("the end of the day", || house.log().contains("takes no connections any more").then_some(()));
    eventually("a closed port", || std::net::TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
    show_tech(&house.work().join("a.txt"), 10);
    house.customer(&ticket, "put a.txt").ok();
}

#[test]
fn r44_settings_that_leave_the_door_open_are_refused() {
    let check = |settings: &[(&str, &str)]| {
        let house = settings.iter().fold(House::new(), |house, (key, value)| house.set(key, *value));
        let finished = house.tacdrop(["config", "check"]);
        (finished.code(), finished.err())
    };
    let listen = ("LEGACY__LISTEN", "127.0.0.1:2223");
    let (until, allow) = (("LEGACY__UNTIL", "2999-12-31"), ("LEGACY__ALLOW", "192.0.2.0/24"));
    assert_eq!(check(&[listen, until, allow]).0, Some(0));
    for (settings, words) in [
        (vec![listen, allow], "until"),
        (vec![listen, until], "allow"),
        (vec![listen, until, ("LEGACY__ALLOW", " ")], "allow"),
        (vec![listen, until, ("LEGACY__ALLOW", "192.0.2.1/24")], "192.0.2.1/24"),
        (vec![listen, allow, ("LEGACY__UNTIL", "31.12.2999")], "2027-01-31"),
    ] {
        let (code, said) = check(&settings);
        assert!(code == Some(1) && said.to_lowercase().contains(&words.to_lowercase()), "{settings:?}: {said}");
    }
}

#[test]
fn r44_only_listed_addresses_and_devices_tickets_get_in() {
    let (house, ticket, device) = house_for_devices(House::new().set("LIMITS__REJECTION_MILLISECONDS", "0"));
    show_tech(&house.work().join("a.txt"), 10);
    let port = devices_port(&house);
    let options = ["HostKeyAlgorithms=+ssh-rsa"];
    let try_it = |ticket: &Ticket| {
        let refused = house.as_customer(ticket).through(port).sftp_with(&options, "put a.txt").finish();
        assert_eq!(refused.code(), Some(255), "{}", refused.err());
        let said = refused.err().replace(&ticket.reference, "USER");
        said.lines().filter(|line| !line.starts_with("Warning: Permanently added")).collect::<Vec<_>>().join("\n")
    };
    // The token of a ticket that is none for devices fails like a wrong one, and like that of
    // nobody.
    let of_a_ticket = try_it(&ticket);
    let wrong = try_it(&Ticket { token: "wrong".into(), ..device.clone() });
    let unknown = try_it(&Ticket { reference: "NOBODY".into(), ..device.clone() });
    assert!(of_a_ticket.contains("Permission denied"), "{of_a_ticket}");
    assert_eq!((&of_a_ticket, &of_a_ticket), (&wrong, &unknown));
    house.as_customer(&device).through(port).sftp_with(&options, "put a.txt").finish().ok();
    // Engineers' keys are not asked for there.
    let key = house.key("other");
    house.tacdrop(["engineer", "key", "add", "anna", key.0.with_extension("pub").to_str().unwrap()]).ok();
    let engineer = house
        .with_key("ssh", &key)
        .args(["-o", "HostKeyAlgorithms=+ssh-rsa", "-p", &port.to_string(), "anna@127.0.0.1", "true"])
        .finish();
    assert!(engineer.code() == Some(255) && engineer.err().contains("(password)"), "{}", engineer.err());
    drop(house);

    let (house, _, _) = House::new()
        .set("LEGACY__LISTEN", "127.0.0.1:0")
        .set("LEGACY__UNTIL", "2999-12-31")
        .set("LEGACY__ALLOW", "192.0.2.0/24,127.0.0.2")
        .furnish();
    let device = house.ticket_with("DEV-1", "anna", &["--device"]);
    show_tech(&house.work().join("a.txt"), 10);
    let legacy = house.as_customer(&device).through(devices_port(&house));
    assert_eq!(legacy.sftp_with(&options, "put a.txt").finish().code(), Some(255));
    eventually("a line in the log", || house.log().contains("legacy.allow does not list").then_some(()));
    let from_the_other = ["HostKeyAlgorithms=+ssh-rsa", "BindAddress=127.0.0.2"];
    legacy.sftp_with(&from_the_other, "put a.txt").finish().ok();
}

#[test]
fn r44_a_device_s_ticket_sends_and_sees_nothing_by_both_doors() {
    let (house, _, device) = house_for_devices(House::new());
    show_tech(&house.work().join("a.txt"), 20);
    for port in [house.port(), devices_port(&house)] {
        let customer = house.as_customer(&device).through(port);
        let run = |commands: &str| customer.sftp_with(&["HostKeyAlgorithms=+ssh-rsa"], commands).finish();
        run(&format!("put -p a.txt\nmkdir dir-{port}\nput a.txt dir-{port}/a.txt\ndf")).ok();
        for refused in
            ["get a.txt back", "ls", "ls .receipts", "get .receipts/a.txt.receipt", "rename a.txt b.txt", "rm a.txt"]
        {
            // OpenSSH's `ls` exits with 0 although it says that it was refused.
            let finished = run(refused);
            let said = finished.err().to_lowercase().contains("permission denied");
            assert!(said && (refused.starts_with("ls") || finished.code() == Some(1)), "{refused}: {}", finished.err());
        }
        assert_eq!(run(&format!("rmdir dir-{port}")).code(), Some(1));
    }
    assert!(house.artifact(&device, "a.txt").is_some() && house.artifact(&device, "b.txt").is_none());
}

#[test]
fn r44_a_device_that_repeats_a_name_makes_versions() {
    let (house, _, device) = house_for_devices(House::new());
    let legacy = house.as_customer(&device).through(devices_port(&house));
    let mut digests = Vec::new();
    for lines in [300, 40, 200] {
        let source = show_tech(&house.work().join("show-tech.txt"), lines);
        digests.push(sha256(&source));
        legacy.sftp_with(&refs(&weakest()), "put show-tech.txt").finish().ok();
    }
    let versions = house.json(["artifact", "list", "DEV-1", "--versions"]);
    let found: Vec<_> = versions
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["version"].as_u64().unwrap(), line["sha256"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(found, (1..).zip(digests).collect::<Vec<_>>());
}

#[test]
fn r44_the_listener_keeps_its_own_host_key_and_a_backup_remembers_it() {
    use std::os::unix::fs::PermissionsExt;
    let (mut house, _, device) = house_for_devices(House::new());
    let key = house.data().join("keys/ssh_host_rsa_key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let fingerprint = |house: &House| {
        house.json(["ticket", "show", "DEV-1"])["devices"]["host_key_fingerprint"].as_str().unwrap().to_owned()
    };
    let first = fingerprint(&house);
    assert!(first.starts_with("SHA256:") && first != device.json["host_key_fingerprint"].as_str().unwrap());
    let text = fs::read(&key).unwrap();
    let doctor = house.tacdrop(["doctor"]);
    assert!(doctor.out().lines().any(|line| line.starts_with("warn") && line.contains(&first)), "{}", doctor.out());
    house.stop();
    house.start();
    assert_eq!((fingerprint(&house), fs::read(&key).unwrap() == text), (first.clone(), true));

    let backup = house.work().join("backup");
    let contents = house.json(["backup", backup.to_str().unwrap()]);
    assert_eq!(contents["legacy_host_key"], first.as_str());
    assert!(fs::read_to_string(backup.join("README")).unwrap().contains("--legacy-host-key"));
    house.stop();
    let keys = house.data().join("keys");
    let restored = house.work().join("restored");
    let file = |name: &str| keys.join(name).to_str().unwrap().to_owned();
    let restore = |legacy: &str| {
        let _ = fs::remove_dir_all(&restored);
        house.tacdrop([
            "--data",
            restored.to_str().unwrap(),
            "restore",
            backup.to_str().unwrap(),
            "--kek",
            &file("kek"),
            "--host-key",
            &file("ssh_host_ed25519_key"),
            "--legacy-host-key",
            legacy,
        ])
    };
    assert!(restore(&file("ssh_host_ed25519_key")).err().contains("RSA"), "another kind of key is taken");
    restore(&file("ssh_host_rsa_key")).ok();
    assert!(fs::read(restored.join("keys/ssh_host_rsa_key")).unwrap() == text);

    // It is never replaced silently.
    fs::remove_file(&key).unwrap();
    let refused = house.start_refused();
    assert!(refused.code() == Some(1) && refused.err().contains("ssh_host_rsa_key is missing"), "{}", refused.err());
}

#[test]
fn r44_ready_commands_name_the_listener_and_the_token() {
    let (house, _, device) = house_for_devices(House::new().set("LEGACY__PUBLIC_HOST", "old.example.net"));
    let devices = &device.json["devices"];
    let commands = devices["commands"].as_object().unwrap();
    assert_eq!(commands.len(), 8);
    assert_eq!(devices["host"], "old.example.net");
    let ios = format!("copy flash:NAME scp://DEV-1:{}@old.example.net/NAME", device.token);
    assert_eq!(commands["ios"]["command"], ios.as_str());
    let shown = house.tacdrop(["ticket", "show", "DEV-1"]).ok().out();
    assert!(shown.contains("scp://DEV-1:TOKEN@old.example.net/NAME") && !shown.contains(&device.token), "{shown}");
    let renewed = house.tacdrop(["ticket", "token", "DEV-1"]).ok().out();
    assert!(renewed.contains("copy flash:NAME scp://DEV-1:") && !renewed.contains("DEV-1:TOKEN@old"), "{renewed}");
    let plain = house.json(["ticket", "show", "XT-4711"]);
    assert_eq!((&plain["device"], &plain["devices"]), (&false.into(), &Value::Null));
    let listed = house.json(["ticket", "list"]);
    let device = listed.as_array().unwrap().iter().find(|line| line["reference"] == "DEV-1").unwrap();
    assert_eq!(device["device"], true);
}
