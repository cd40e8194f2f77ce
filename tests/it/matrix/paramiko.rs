//! paramiko asks for the service `ssh-userauth` before each attempt to log in, and russh answers
//! that only once: a second attempt on one connection cannot be. What matters is that nobody waits
//! for it, and that the right call works.

use super::scripted;
use crate::support::child::Finished;
use crate::support::files::{random_file, sha256};
use crate::support::python;
use crate::support::server::{House, Key, Ticket};

fn run(house: &House, ticket: &Ticket, environment: &[(&str, &str)], words: [&str; 3]) -> Finished {
    let run = scripted::driver(python(), "paramiko_client.py")
        .within(&house.work())
        .env("HOME", house.work())
        .env("TEST_HOST", "127.0.0.1")
        .env("TEST_PORT", house.port().to_string())
        .env("TEST_USER", &ticket.reference)
        .env("TEST_TOKEN", &ticket.token);
    environment.iter().fold(run, |run, (name, value)| run.env(name, value)).args(words).finish()
}

/// It must not be paramiko's own time-out that ends it: the script has set it, and it says so.
#[track_caller]
fn assert_told(said: Finished) {
    let said = said.refused(1);
    let text = said.err();
    assert!(text.starts_with("AuthenticationException: ") || text.starts_with("SSHException: "), "{said}");
    assert!(!text.to_lowercase().contains("timeout"), "nobody told it, it waited: {said}");
}

#[test]
fn r71_paramiko_is_told_at_once_that_a_second_attempt_on_one_connection_cannot_be() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("dump.bin"), 1000, 711);
    let stranger = house.key("stranger");
    let words = ["put", "dump.bin", "dump.bin"];
    assert_told(run(&house, &ticket, &[("TEST_WRONG", "mistyped")], words));
    // A key that nobody knows counts as an attempt: SSHClient.connect(key_filename=, password=).
    assert_told(run(&house, &ticket, &[("TEST_KEY", stranger.0.to_str().unwrap())], words));
    assert!(house.artifacts(&ticket).is_empty());
    // Whoever connects again gets in.
    run(&house, &ticket, &[], words).ok();
    house.assert_holds(&ticket, "dump.bin", &sha256(&source));
}

#[test]
fn r71_the_documented_paramiko_calls_log_in_whatever_keys_lie_about() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("dump.bin"), 1000, 712);
    let keys: Vec<Key> = (0..2).map(|number| house.key(&format!("stranger-{number}"))).collect();
    let _agent = house.agent(&keys);
    let socket = house.agent_socket();
    let socket = ("SSH_AUTH_SOCK", socket.to_str().unwrap());
    run(&house, &ticket, &[socket], ["put", "dump.bin", "by-transport.bin"]).ok();
    run(&house, &ticket, &[socket, ("TEST_CALL", "client")], ["put", "dump.bin", "by-client.bin"]).ok();
    for path in ["by-transport.bin", "by-client.bin"] {
        house.assert_holds(&ticket, path, &sha256(&source));
    }
}
