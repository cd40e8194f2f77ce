//! Who sees what, who may do what, and what a stranger can learn.

use std::time::{Duration, Instant};

use crate::support::child::Finished;
use crate::support::files::{random_file, sha256, show_tech};
use crate::support::server::{House, Ticket};

/// What a person sees of a failed session, with the names that it typed itself left out.
fn seen(finished: &Finished, names: &[&str]) -> (Option<i32>, String) {
    let mut text = format!("{}{}", finished.out(), finished.err());
    for name in names {
        text = text.replace(name, "NAME");
    }
    (finished.code(), text)
}

#[test]
fn r56_another_ticket_s_share_does_not_exist() {
    let (house, ticket, _) = House::open();
    let other = house.ticket("XT-OTHER", "anna");
    let source = show_tech(&house.work().join("secret.txt"), 40);
    house.customer(&other, "mkdir logs\nput secret.txt\nput secret.txt logs/secret.txt").ok();
    show_tech(&house.work().join("mine.txt"), 20);
    house.put(&ticket, &house.work().join("mine.txt"), "mine.txt");
    let commands = [
        "ls /NAME",
        "ls /NAME/secret.txt",
        "ls /NAME/logs",
        "cd /NAME",
        "get /NAME/secret.txt stolen",
        "get ../NAME/secret.txt stolen",
        "get /XT-4711/../NAME/secret.txt stolen",
        "put mine.txt /NAME/planted.txt",
        "put mine.txt /NAME/secret.txt",
        "rm /NAME/secret.txt",
        "rename /NAME/secret.txt stolen.txt",
        "rename mine.txt /NAME/mine.txt",
        "mkdir /NAME/dir",
        "rmdir /NAME/logs",
        "chmod 600 /NAME/secret.txt",
    ];
    for command in commands {
        let try_it = |name: &str| seen(&house.customer(&ticket, &command.replace("NAME", name)), &[name]);
        let (there, nowhere) = (try_it("XT-OTHER"), try_it("XT-NOONE"));
        assert_eq!(there, nowhere, "{command}: a share that exists must look like one that does not");
        assert_eq!(there.0, Some(1), "{command}: {}", there.1);
    }
    // The free space differs from moment to moment, so only whether there is an answer counts.
    let space = |name: &str| house.customer(&ticket, &format!("df /{name}")).code();
    assert_eq!(space("XT-OTHER"), space("XT-NOONE"));
    assert!(!house.work().join("stolen").exists());
    let listed = house.customer(&ticket, "ls -la /").ok().out();
    assert!(!listed.contains("OTHER"), "{listed}");
    house.assert_holds(&other, "secret.txt", &sha256(&source));
    house.assert_holds(&other, "logs/secret.txt", &sha256(&source));
    assert_eq!(house.artifacts(&other).len(), 2);
    assert_eq!(house.artifacts(&ticket).len(), 1);
}

#[test]
fn r35_a_wrong_token_looks_the_same_for_an_open_a_closed_and_an_unknown_ticket() {
    let (house, ticket, _) = House::open();
    let closed = house.ticket("XT-CLOSED", "anna");
    house.tacdrop(["ticket", "close", "XT-CLOSED"]).ok();
    let unknown = Ticket { reference: "XT-NOONE".to_owned(), ..ticket.clone() };
    let mut looks = Vec::new();
    for ticket in [&ticket, &closed, &unknown] {
        let wrong = Ticket { token: "zzzzzzzzzzzzzzzzzzzzzzzzzz".to_owned(), ..ticket.clone() };
        let failed = house.customer(&wrong, "ls");
        looks.push(seen(&failed, &[&ticket.reference]));
    }
    assert_eq!(looks[0].0, Some(255), "{looks:#?}");
    assert!(looks[0].1.contains("Permission denied (p"), "{looks:#?}");
    assert!(looks.iter().all(|look| *look == looks[0]), "{looks:#?}");
    // One's token is not another's.
    let crossed = Ticket { token: closed.token.clone(), ..ticket };
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(house.customer(&crossed, "ls").code(), Some(255));
    assert!(!house.log().contains(&closed.token) && !house.log().contains("zzzzzzzz"), "a token in the log");
}

#[test]
fn the_right_token_of_a_closed_ticket_reads_and_cannot_write() {
    let (house, ticket, key) = House::open();
    let source = show_tech(&house.work().join("a.txt"), 40);
    house.customer(&ticket, "mkdir logs\nput a.txt").ok();
    house.tacdrop(["ticket", "close", "XT-4711"]).ok();
    assert_eq!(house.json(["ticket", "show", "XT-4711"])["status"], "closed");
    house.customer(&ticket, "ls -l\nget a.txt back.txt").ok();
    assert_eq!(sha256(&house.work().join("back.txt")), sha256(&source));
    let writes = [
        "put a.txt b.txt",
        "put a.txt",
        "reput a.txt",
        "rm a.txt",
        "rename a.txt b.txt",
        "mkdir new",
        "rmdir logs",
        "chmod 600 a.txt",
    ];
    for command in writes {
        house.customer(&ticket, command).refused(1);
    }
    house.engineer_sftp("anna", &key, "get /XT-4711/a.txt again.txt").ok();
    house.engineer_sftp("anna", &key, "put a.txt /XT-4711/from-support/fix.txt").refused(1);
    house.assert_holds(&ticket, "a.txt", &sha256(&source));
    assert_eq!(house.artifacts(&ticket).len(), 1);
    house.tacdrop(["ticket", "reopen", "XT-4711"]).ok();
    house.customer(&ticket, "put a.txt b.txt").ok();
    house.assert_holds(&ticket, "b.txt", &sha256(&source));
}

#[test]
fn a_ticket_closed_during_an_upload_takes_no_more_of_it() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("dump"), 48 << 20, 1);
    let mut upload = house.slow_put(&ticket, &source, "dump", 10);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!upload.has_ended());
    house.tacdrop(["ticket", "close", "XT-4711"]).ok();
    assert_ne!(upload.finish().code(), Some(0), "an upload into a closed ticket must not be acknowledged");
    assert!(house.artifact(&ticket, "dump").is_none_or(|artifact| artifact["state"] != "available"));
}

#[test]
fn a_new_token_ends_the_sessions_of_the_old_one_within_a_second() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("dump"), 64 << 20, 1);
    let mut upload = house.slow_put(&ticket, &source, "dump", 4);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!upload.has_ended());
    let new = house.json(["ticket", "token", "XT-4711"]);
    let since = Instant::now();
    while !upload.has_ended() {
        assert!(since.elapsed() < Duration::from_secs(30), "the old session goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = since.elapsed();
    // One second is the promise; the other is for a machine that runs four tests at once.
    assert!(took < Duration::from_secs(2), "the old session lived for {took:?}");
    assert_ne!(upload.finish().code(), Some(0));
    assert_eq!(house.customer(&ticket, "ls").code(), Some(255), "the old token is dead");
    let ticket = Ticket { token: new["token"].as_str().unwrap().to_owned(), ..ticket };
    house.customer(&ticket, "ls").ok();
    assert!(house.artifact(&ticket, "dump").is_none_or(|artifact| artifact["state"] != "available"));
}

#[test]
fn from_support_is_written_by_engineers_only() {
    let (house, ticket, key) = House::open();
    let fix = random_file(&house.work().join("fix.bin"), 300_000, 9);
    show_tech(&house.work().join("a.txt"), 10);
    let empty = house.customer(&ticket, "ls -1").ok().out();
    assert!(!empty.contains("from-support"), "it is listed when it holds something: {empty}");
    house.engineer_sftp("anna", &key, "put fix.bin /XT-4711/from-support/fix.bin").ok();
    house.customer(&ticket, "get from-support/fix.bin back.bin").ok();
    assert_eq!(sha256(&house.work().join("back.bin")), sha256(&fix));
    assert!(house.customer(&ticket, "ls -1").ok().out().contains("from-support"));
    house.customer(&ticket, "put a.txt").ok();
    let customer = [
        "put a.txt from-support/a.txt",
        "put a.txt from-support/fix.bin",
        "rm from-support/fix.bin",
        "rename a.txt from-support/a.txt",
        "rename from-support/fix.bin mine.bin",
        "rename from-support elsewhere",
        "rmdir from-support",
        "mkdir from-support/dir",
    ];
    for command in customer {
        house.customer(&ticket, command).refused(1);
    }
    let engineer = [
        "put fix.bin /XT-4711/fix.bin",
        "put fix.bin /XT-4711/a.txt",
        "rm /XT-4711/a.txt",
        "mkdir /XT-4711/dir",
        "mkdir /XT-1",
        "put fix.bin /fix.bin",
        "rename /XT-4711/a.txt /XT-4711/from-support/a.txt",
    ];
    for command in engineer {
        house.engineer_sftp("anna", &key, command).refused(1);
    }
    assert_eq!(house.artifacts(&ticket).len(), 2, "{:#?}", house.artifacts(&ticket));
}

#[test]
fn an_engineer_sees_the_assigned_tickets_only() {
    let (house, ticket, anna) = House::open();
    let bert = house.engineer("bert");
    let other = house.ticket("XT-2", "bert");
    show_tech(&house.work().join("a.txt"), 10);
    house.put(&ticket, &house.work().join("a.txt"), "a.txt");
    house.put(&other, &house.work().join("a.txt"), "b.txt");
    let tickets = |engineer: &str, key| {
        let said = house.engineer_sftp(engineer, key, "ls -1 /").ok().out();
        let names: Vec<_> = said
            .lines()
            .filter(|line| !line.starts_with("sftp>"))
            .map(|line| line.trim().trim_matches('/').to_owned())
            .collect();
        names
    };
    assert_eq!((tickets("anna", &anna), tickets("bert", &bert)), (vec!["XT-4711".into()], vec!["XT-2".into()]));
    for command in ["ls /XT-4711", "get /XT-4711/a.txt stolen", "put a.txt /XT-4711/from-support/x"] {
        let nowhere = house.engineer_sftp("bert", &bert, &command.replace("XT-4711", "XT-NOONE"));
        let there = house.engineer_sftp("bert", &bert, command);
        assert_eq!(seen(&there, &["XT-4711"]), seen(&nowhere, &["XT-NOONE"]), "{command}");
        there.refused(1);
    }
    house.tacdrop(["ticket", "assign", "XT-4711", "bert"]).ok();
    assert_eq!(tickets("bert", &bert), ["XT-2", "XT-4711"]);
    house.engineer_sftp("anna", &anna, "get /XT-4711/a.txt").refused(1);
}

#[test]
fn an_engineer_logs_in_with_known_keys_until_disabled() {
    let (house, ticket, anna) = House::open();
    let stranger = house.key("stranger");
    assert_eq!(house.engineer_sftp("anna", &stranger, "ls").code(), Some(255));
    assert_eq!(house.engineer_sftp("XT-4711", &anna, "ls").code(), Some(255), "a key is no token");
    let as_password = house.with_token("sftp", &ticket.token).args(["-P", &house.port().to_string(), "anna@127.0.0.1"]);
    assert_eq!(as_password.finish().code(), Some(255), "a token is no engineer");
    std::thread::sleep(Duration::from_secs(5));
    house.tacdrop(["engineer", "key", "add", "anna", stranger.0.with_extension("pub").to_str().unwrap()]).ok();
    house.engineer_sftp("anna", &stranger, "ls").ok();
    house.engineer_sftp("anna", &anna, "ls").ok();
    house.tacdrop(["engineer", "add", "bert", "--email", "bert@example.net"]).ok();
    house.tacdrop(["engineer", "disable", "anna", "--hand-over-to", "bert"]).ok();
    assert_eq!(house.engineer_sftp("anna", &anna, "ls").code(), Some(255));
}

#[test]
fn r43_there_is_no_shell_and_no_way_through() {
    let (house, ticket, key) = House::open();
    let ssh = |args: &[&str]| {
        let target = format!("{}@127.0.0.1", ticket.reference);
        house
            .with_token("ssh", &ticket.token)
            .args(["-p", &house.port().to_string()])
            .args(args[..1].iter().filter(|arg| !arg.is_empty()))
            .arg(target)
            .args(&args[1..])
            .finish()
    };
    for command in [&["", "id"][..], &["", "sh", "-c", "id"], &["", "cat /etc/passwd"]] {
        let refused = ssh(command).refused(127);
        assert!(refused.err().contains("SFTP") || refused.out().contains("SFTP"), "a sentence: {refused}");
        assert!(!refused.out().contains("uid=") && !refused.out().contains("root:"), "{refused}");
    }
    for command in [&["-T"][..], &["-tt"], &["-tt", "bash"]] {
        let shell = ssh(command);
        assert_ne!(shell.code(), Some(0), "{shell}");
    }
    // -W: a tunnel to another port of the server's machine.
    let tunnel = house
        .with_key("ssh", &key)
        .args(["-p", &house.port().to_string(), "-W", &format!("127.0.0.1:{}", house.port()), "anna@127.0.0.1"])
        .finish();
    assert_ne!(tunnel.code(), Some(0), "{tunnel}");
    assert!(!tunnel.out().contains("SSH-2.0"), "{tunnel}");
    house.customer(&ticket, "ls").ok();
}
