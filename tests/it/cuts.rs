//! Lines that break while a customer uploads, and every client that goes on where it was.

use std::time::Duration;

use crate::support::child::{Finished, Run};
use crate::support::customer::Customer;
use crate::support::eventually;
use crate::support::files::{random_file, sha256};
use crate::support::numbers::{Numbers, ask};
use crate::support::relay::{Fate, Relay};
use crate::support::server::{House, Ticket};

const MIB: u64 = 1 << 20;

/// Bytes of a connection until its login is over and a file is open, at most.
const GREETING: u64 = 100_000;

/// A client that can go on with an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    /// `put`, then `reput`.
    OpenSsh,
    /// `put`, then `put -a`.
    OpenSshAppend,
    /// `put -c`.
    Lftp,
    Asyncssh,
    /// `put`, then `reput`.
    Psftp,
    /// `-T`, then `-C - -T`.
    Curl,
    /// What WinSCP does: NAME.filepart, written at the offset that STAT says, renamed at the end.
    Filepart,
}

impl Client {
    const ALL: [Self; 7] =
        [Self::OpenSsh, Self::OpenSshAppend, Self::Lftp, Self::Asyncssh, Self::Psftp, Self::Curl, Self::Filepart];

    fn run(self, customer: &Customer<'_>, source: &str, target: &str, continues: bool) -> Run {
        match (self, continues) {
            (Self::OpenSsh | Self::OpenSshAppend, false) => customer.sftp(&format!("put {source} {target}")),
            (Self::OpenSsh, true) => customer.sftp(&format!("reput {source} {target}")),
            (Self::OpenSshAppend, true) => customer.sftp(&format!("put -a {source} {target}")),
            (Self::Lftp, false) => customer.lftp(&format!("put {source} -o {target}")),
            (Self::Lftp, true) => customer.lftp(&format!("put -c {source} -o {target}")),
            (Self::Asyncssh, false) => customer.asyncssh(["put", source, target]),
            (Self::Asyncssh, true) => customer.asyncssh(["resume", source, target]),
            (Self::Psftp, false) => customer.psftp(&format!("put {source} {target}")),
            (Self::Psftp, true) => customer.psftp(&format!("reput {source} {target}")),
            (Self::Curl, false) => customer.curl().args(["-T", source, &customer.url(target)]),
            (Self::Curl, true) => customer.curl().args(["-C", "-", "-T", source, &customer.url(target)]),
            (Self::Filepart, _) => customer.asyncssh(["filepart", source, target]),
        }
    }

    /// Where the upload is until it is whole.
    fn unfinished(self, target: &str) -> String {
        if self == Self::Filepart { format!("{target}.filepart") } else { target.to_owned() }
    }
}

/// Uploads a file over a line that meets these fates one after the other; each but the last ends
/// the client.
struct Bumpy<'a> {
    house: &'a House,
    ticket: &'a Ticket,
    relay: &'a Relay,
    client: Client,
    source: &'a str,
    target: &'a str,
}

impl Bumpy<'_> {
    fn run(&self, fate: Fate, continues: bool) -> Finished {
        self.relay.next(fate);
        let customer = self.house.as_customer(self.ticket).through(self.relay.port());
        self.client.run(&customer, self.source, self.target, continues).finish()
    }

    /// One connection that is cut, which the client must say.
    fn cut(&self, fate: Fate, continues: bool) {
        let met = self.relay.met();
        if self.client == Client::Lftp {
            // It would come back by itself after 15 seconds; its person does not wait.
            self.relay.next(fate);
            let customer = self.house.as_customer(self.ticket).through(self.relay.port());
            let mut run = self.client.run(&customer, self.source, self.target, continues).start();
            eventually("the line to be cut", || (self.relay.met() == met + 1).then_some(()));
            run.kill();
            return;
        }
        let said = self.run(fate, continues);
        assert_ne!(said.code(), Some(0), "{:?} was cut by {fate:?} and must say so: {said}", self.client);
        assert_eq!(self.relay.met(), met + 1, "{:?} did not come as far as {fate:?}: {said}", self.client);
    }

    fn finish(&self) {
        self.run(Fate::Whole, true).ok();
    }
}

/// A random point in what is left of an upload that is cut, RST and FIN in turn.
fn cut_point(numbers: &mut Numbers, left: u64, count: u64) -> Fate {
    let after = GREETING + numbers.below(left.saturating_sub(GREETING).max(1));
    if count.is_multiple_of(2) { Fate::Reset(after) } else { Fate::Fin(after) }
}

/// Each client's upload is cut twice, at random, and then completed; what went over the line beyond
/// the file stays below an extent for each cut.
fn twice_cut(client: Client, size: u64) {
    let (house, ticket, _) = House::new().set("STORAGE__EXTENT_MIB", "4").furnish();
    let relay = Relay::to(house.port());
    let source = random_file(&house.work().join("dump.bin"), size, 61);
    let mut numbers = Numbers::seeded(client as u64);
    let bumpy =
        Bumpy { house: &house, ticket: &ticket, relay: &relay, client, source: "dump.bin", target: "remote.bin" };
    // Each cut lies in a half of its own, so that the second one always finds enough left to send.
    bumpy.cut(cut_point(&mut numbers, size / 2, 0), false);
    bumpy.cut(cut_point(&mut numbers, size / 2 - MIB, 1), true);
    let unfinished = house.artifact(&ticket, &client.unfinished("remote.bin")).unwrap();
    assert_eq!(unfinished["state"], "receiving", "{unfinished}");
    assert!(house.spool().is_empty(), "what is not whole is not announced");
    bumpy.finish();
    let again = relay.sent().saturating_sub(size) / 2;
    assert!(again < 4 * MIB, "{again} bytes were sent again on average: {size} of {client:?}");
    house.check_invariants(&[(&ticket, "remote.bin", sha256(&source))], &[b"remote.bin"]);
}

#[test]
fn r26_openssh_reput_goes_on_behind_two_cuts() {
    twice_cut(Client::OpenSsh, 24 * MIB);
}

#[test]
fn r26_openssh_put_a_goes_on_behind_two_cuts() {
    twice_cut(Client::OpenSshAppend, 24 * MIB);
}

#[test]
fn r26_lftp_put_c_goes_on_behind_two_cuts() {
    twice_cut(Client::Lftp, 24 * MIB);
}

#[test]
fn r26_lftp_comes_back_by_itself_behind_two_cuts() {
    let (house, ticket, _) = House::open();
    let relay = Relay::to(house.port());
    let source = random_file(&house.work().join("dump.bin"), 24 * MIB, 65);
    relay.next(Fate::Reset(7 * MIB));
    relay.next(Fate::Fin(9 * MIB));
    let customer = house.as_customer(&ticket).through(relay.port());
    customer.lftp("set net:reconnect-interval-base 1; put dump.bin").finish().ok();
    assert_eq!(relay.met(), 2);
    let again = relay.sent() - 24 * MIB;
    assert!(again < 4 * MIB, "{again} bytes were sent again");
    house.check_invariants(&[(&ticket, "dump.bin", sha256(&source))], &[]);
}

#[test]
fn r26_asyncssh_goes_on_behind_two_cuts() {
    twice_cut(Client::Asyncssh, 24 * MIB);
}

#[test]
fn r26_psftp_reput_goes_on_behind_two_cuts() {
    twice_cut(Client::Psftp, 16 * MIB);
}

#[test]
fn r26_curl_goes_on_behind_two_cuts() {
    twice_cut(Client::Curl, 16 * MIB);
}

#[test]
fn r26_a_client_with_temporary_names_goes_on_behind_two_cuts() {
    twice_cut(Client::Filepart, 24 * MIB);
}

#[test]
fn r26_every_client_goes_on_after_the_server_was_killed_and_restarted() {
    let (mut house, ticket, _) = House::new().set("STORAGE__CHECKPOINT_SECONDS", "1").furnish();
    let relay = Relay::to(house.port());
    let size = 12 * MIB;
    let source = random_file(&house.work().join("dump.bin"), size, 62);
    let mut numbers = Numbers::seeded(62);
    for client in Client::ALL {
        let target = format!("{client:?}.bin");
        let bumpy =
            Bumpy { house: &house, ticket: &ticket, relay: &relay, client, source: "dump.bin", target: &target };
        bumpy.cut(cut_point(&mut numbers, size, 0), false);
        // The last one is killed as soon as its line is cut: what it left may not be durable yet.
        if client != Client::Filepart {
            eventually("the cut upload's rows", || house.artifact(&ticket, &client.unfinished(&target)));
        }
    }
    house.kill();
    house.start();
    for client in Client::ALL {
        let target = format!("{client:?}.bin");
        let there = house.artifact(&ticket, &client.unfinished(&target)).is_some();
        client.run(&house.as_customer(&ticket), "dump.bin", &target, there).finish().ok();
    }
    let names: Vec<_> = Client::ALL.iter().map(|client| format!("{client:?}.bin")).collect();
    let known: Vec<_> = names.iter().map(|name| (&ticket, name.as_str(), sha256(&source))).collect();
    house.check_invariants(&known, &[]);
}

/// The line carries nothing any more, but the server does not know: its session still holds the
/// file. The client comes back.
fn dead_session(client: Client) {
    let (house, ticket, _) = House::new().set("STORAGE__EXTENT_MIB", "4").furnish();
    let relay = Relay::to(house.port());
    let size = 20 * MIB;
    let source = random_file(&house.work().join("dump.bin"), size, 63);
    relay.next(Fate::Stall(11 * MIB));
    let customer = house.as_customer(&ticket).through(relay.port());
    let mut first = client.run(&customer, "dump.bin", "remote.bin", false).start();
    eventually("the line to stall", || (relay.met() == 1).then_some(()));
    assert!(!first.has_ended(), "{}", first.stderr());
    // The line carried it; a busy machine may need a while until it is taken in as well.
    eventually("the extents of what came", || {
        let artifact = house.artifact(&ticket, &client.unfinished("remote.bin"))?;
        artifact["size"].as_u64().filter(|size| *size >= 8 * MIB)
    });
    // What it held is not sent again, but for the part of an extent at most.
    let before = relay.sent();
    client.run(&customer, "dump.bin", "remote.bin", true).finish().ok();
    let again = (relay.sent() - before).saturating_sub(9 * MIB);
    assert!(again < 4 * MIB, "{again} bytes were sent again");
    assert!(!first.has_ended(), "the dead session was to be held still: {}", first.stderr());
    house.assert_holds(&ticket, "remote.bin", &sha256(&source));
    first.kill();
    house.check_invariants(&[(&ticket, "remote.bin", sha256(&source))], &[]);
}

#[test]
fn r27_r26_openssh_comes_back_while_the_server_holds_its_dead_session() {
    dead_session(Client::OpenSsh);
}

#[test]
fn r27_r26_lftp_comes_back_while_the_server_holds_its_dead_session() {
    dead_session(Client::Lftp);
}

#[test]
fn r27_r26_a_client_with_temporary_names_comes_back_while_its_dead_session_is_held() {
    dead_session(Client::Filepart);
}

#[test]
fn a_slow_line_is_no_reason_to_cut_it() {
    let (house, ticket, _) = House::open();
    let relay = Relay::delayed(house.port(), Duration::from_millis(60));
    let source = random_file(&house.work().join("dump.bin"), 8 * MIB, 64);
    house.as_customer(&ticket).through(relay.port()).sftp("put dump.bin\nget dump.bin back").finish().ok();
    house.assert_holds(&ticket, "dump.bin", &sha256(&source));
    assert_eq!(sha256(&house.work().join("back")), sha256(&source));
}

/// `tests/run cuts N [MIB]`: N uploads by each of three clients, each cut at a random point.
#[test]
#[ignore = "long: tests/run cuts N [MIB]"]
#[expect(clippy::print_stdout, reason = "its answer")]
fn on_demand_cuts() {
    let (count, size) = (ask("COUNT", 100), ask("MIB", 200) * MIB);
    let mut numbers = Numbers::from_clock();
    println!("seed {}, {count} cuts of {} MiB each", numbers.seed(), size / MIB);
    let mut wrong = 0;
    for client in [Client::OpenSsh, Client::Lftp, Client::Asyncssh] {
        let (mut right, mut again, mut done) = (0, 0, 0);
        while done < count {
            // A new house for every ten, so that the disk never holds more.
            let (house, ticket, _) = House::open();
            let source = random_file(&house.work().join("dump.bin"), size, done);
            let expected = sha256(&source);
            let uncut = Relay::to(house.port());
            let customer = house.as_customer(&ticket).through(uncut.port());
            client.run(&customer, "dump.bin", "uncut.bin", false).finish().ok();
            for _ in 0..10.min(count - done) {
                let relay = Relay::to(house.port());
                let target = format!("{done}.bin");
                let bumpy = Bumpy {
                    house: &house,
                    ticket: &ticket,
                    relay: &relay,
                    client,
                    source: "dump.bin",
                    target: &target,
                };
                bumpy.cut(cut_point(&mut numbers, size, done), false);
                let finished = bumpy.run(Fate::Whole, true);
                let artifact = house.artifact(&ticket, &target).unwrap_or_default();
                if finished.code() == Some(0) && artifact["state"] == "available" && artifact["sha256"] == *expected {
                    right += 1;
                } else {
                    println!("{client:?} {target}: {artifact}\n{finished}");
                }
                again += relay.sent().saturating_sub(uncut.sent());
                done += 1;
            }
            house.check_invariants(&[], &[]);
        }
        println!(
            "{client:?}: {count} cuts, {right} right digests, {:.2} MiB sent again on average",
            again as f64 / count as f64 / MIB as f64
        );
        wrong += count - right;
    }
    assert_eq!(wrong, 0, "uploads did not end as they were to");
}
