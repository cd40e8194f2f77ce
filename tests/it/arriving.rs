//! A file of which a newer version is arriving, or was cut: every client gets all of the version
//! that is whole, or says that it has not got it.

use std::fs;
use std::path::Path;

use crate::orders::Mounted;
use crate::support::cannot;
use crate::support::child::Finished;
use crate::support::eventually;
use crate::support::files::{random_file, sha256};
use crate::support::server::{House, Ticket};

/// A client that fetches `dump.bin` to the file of this name.
type Fetch = fn(&House, &Ticket, &str) -> Finished;

const CLIENTS: [(&str, Fetch); 8] = [
    ("sftp", |house, ticket, to| house.as_customer(ticket).sftp(&format!("get dump.bin {to}")).finish()),
    ("scp", |house, ticket, to| {
        let customer = house.as_customer(ticket);
        let scp = house.with_token("scp", &ticket.token).args(["-s", "-P", &house.port().to_string()]);
        scp.args([&customer.at("dump.bin"), to]).finish()
    }),
    ("scp -O", |house, ticket, to| {
        let customer = house.as_customer(ticket);
        customer.scp().args([&customer.at("dump.bin"), to]).finish()
    }),
    ("pscp", |house, ticket, to| {
        let customer = house.as_customer(ticket);
        customer.pscp().args([&customer.at("dump.bin"), to]).finish()
    }),
    ("psftp", |house, ticket, to| house.as_customer(ticket).psftp(&format!("get dump.bin {to}")).finish()),
    ("curl", |house, ticket, to| {
        let customer = house.as_customer(ticket);
        customer.curl().args([&customer.url("dump.bin"), "-o", to]).finish()
    }),
    ("lftp", |house, ticket, to| house.as_customer(ticket).lftp(&format!("get dump.bin -o {to}")).finish()),
    ("rclone", |house, ticket, to| house.as_customer(ticket).rclone().args(["copyto", ":sftp:dump.bin", to]).finish()),
];

/// Either everything that is whole, or a failure.
fn judge(what: &str, succeeded: bool, got: &Path, whole: &str) {
    if succeeded {
        assert_eq!(sha256(got), whole, "{what} says that it has the file");
    }
}

fn fetch_with_all(house: &House, ticket: &Ticket, when: &str, whole: &str) {
    for (client, fetch) in CLIENTS {
        let to = format!("{when}-{}", client.replace(' ', ""));
        let outcome = fetch(house, ticket, &to);
        judge(&format!("{client}, {when}"), outcome.code() == Some(0), &house.work().join(&to), whole);
    }
    if !cannot("fuse") {
        let mounted = Mounted::new(house, ticket, &format!("mounted-{when}"));
        let to = house.work().join(format!("{when}-sshfs"));
        let copied = fs::copy(mounted.path.join("dump.bin"), &to);
        judge(&format!("sshfs, {when}"), copied.is_ok(), &to, whole);
        mounted.finish();
    }
}

#[test]
fn r73_no_client_takes_a_part_of_a_file_for_the_file() {
    let (house, ticket, key) = House::new().set("STORAGE__CHECKPOINT_SECONDS", "1").furnish();
    let whole = sha256(&random_file(&house.work().join("old"), 300_000, 91));
    house.put(&ticket, &house.work().join("old"), "dump.bin");
    random_file(&house.work().join("new"), 200_000, 92);
    let mut sender = house.as_customer(&ticket).asyncssh(["sync", "new", "dump.bin"]).start();
    eventually("the newer version to be on the disk", || sender.stdout().contains("synced").then_some(()));
    fetch_with_all(&house, &ticket, "arriving", &whole);
    // Those who do not send it get what is whole, all the time.
    let engineer = |to: &str| {
        house.engineer_sftp("anna", &key, &format!("get /XT-4711/dump.bin {to}")).ok();
        assert_eq!(sha256(&house.work().join(to)), whole);
    };
    engineer("anna-arriving");
    let closed = || house.log().matches("connection closed").count();
    let before = closed();
    sender.kill();
    eventually("the server to notice the cut", || (closed() > before).then_some(()));
    fetch_with_all(&house, &ticket, "cut", &whole);
    engineer("anna-cut");
    house.assert_holds(&ticket, "dump.bin", &whole);
}
