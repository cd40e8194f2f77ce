//! Clients that mean harm, or are broken. The server lives, says no, and does nothing that it
//! should not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::files::{all_files, random_file, sha256};
use crate::support::server::{House, Ticket};
use crate::support::{eventually, within};

/// Runs a case of `hostile.py`, which exits 0 if the server did what it must.
#[track_caller]
fn case(house: &House, ticket: &Ticket, name: &str) {
    house.python("hostile.py", ticket).arg(name).finish().ok();
}

/// The server's resident memory in KiB.
fn resident(house: &House) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", house.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn connect(house: &House) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", house.port())).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket
}

/// So many tries to connect. Once the server accepts no more and the queue is full, the rest gets
/// no answer.
fn flood(house: &House, tries: u32) -> Vec<TcpStream> {
    let address = ([127, 0, 0, 1], house.port()).into();
    (0..tries).filter_map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok()).collect()
}

/// Whether the server has closed this connection.
fn is_closed(mut socket: &TcpStream) -> bool {
    let mut block = [0; 4096];
    loop {
        match socket.read(&mut block) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
            }
        }
    }
}

#[test]
fn r31_a_flood_of_connections_ends_nothing() {
    // The server itself has most of these files open; an upload needs some of the rest.
    let (house, ticket, _) = House::new().open_files(64).set("LIMITS__UNAUTHENTICATED_PER_SOURCE", "6").furnish();
    let source = random_file(&house.work().join("dump"), 70 << 20, 1);
    let mut upload = house.slow_put(&ticket, &source, "dump", 12);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!upload.has_ended(), "{}", upload.stderr());
    let flood: Vec<_> = flood(&house, 500);
    assert!(flood.len() > 64, "{} connections", flood.len());
    upload.finish().ok();
    drop(flood);
    eventually("a login after the flood", || (house.customer(&ticket, "ls").code() == Some(0)).then_some(()));
    house.assert_holds(&ticket, "dump", &sha256(&source));
}

#[test]
fn r31_without_file_descriptors_the_server_waits_and_goes_on() {
    let (house, ticket, _) = House::new()
        .open_files(64)
        .set("LIMITS__UNAUTHENTICATED_CONNECTIONS", "1000")
        .set("LIMITS__UNAUTHENTICATED_PER_SOURCE", "1000")
        .set("LIMITS__CONNECTIONS_PER_SOURCE", "1000")
        .furnish();
    let flood: Vec<_> = flood(&house, 300);
    assert!(flood.len() > 64, "{} connections", flood.len());
    std::thread::sleep(Duration::from_secs(2));
    assert!(fs::metadata(format!("/proc/{}", house.pid())).is_ok(), "the server ended");
    drop(flood);
    eventually("a login after the flood", || (house.customer(&ticket, "ls").code() == Some(0)).then_some(()));
}

#[test]
fn r33_connections_over_the_limit_are_dropped() {
    let (house, ticket, _) = House::new()
        .set("LIMITS__UNAUTHENTICATED_PER_SOURCE", "5")
        .set("LIMITS__CONNECTIONS_PER_SOURCE", "8")
        .furnish();
    let sockets: Vec<_> = (0..30).map(|_| connect(&house)).collect();
    let open = eventually("the end of those over the limit", || {
        let open = sockets.iter().filter(|socket| !is_closed(socket)).count();
        (open <= 5).then_some(open)
    });
    assert_eq!(open, 5, "those within the limit must not be cut");
    drop(sockets);
    eventually("a login", || (house.customer(&ticket, "ls").code() == Some(0)).then_some(()));
}

#[test]
fn r32_who_does_not_log_in_is_cut_at_the_login_grace() {
    let (house, ticket, _) = House::new().set("LIMITS__LOGIN_GRACE_SECONDS", "2").furnish();
    let mut socket = connect(&house);
    let started = Instant::now();
    let banner = b"SSH-2.0-trickle_______________________________________________________________________\r\n";
    for byte in banner.iter().cycle() {
        // Each packet of a real attacker would reset an inactivity time-out.
        if socket.write_all(&[*byte]).is_err() || is_closed(&socket) {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "a trickling client is never cut");
    }
    assert!(started.elapsed() >= Duration::from_millis(1500), "cut after {:?}, too early", started.elapsed());
    case(&house, &ticket, "login-grace");
    // Who has logged in stays.
    case(&house, &ticket, "stays-logged-in");
}

#[test]
fn r43_channels_and_requests_beyond_sftp_are_refused() {
    let (house, ticket, _) = House::open();
    case(&house, &ticket, "channels");
}

#[test]
fn r46_an_oversize_packet_closes_the_channel_and_smuggles_nothing() {
    let (house, ticket, _) = House::open();
    case(&house, &ticket, "oversize");
    assert!(house.artifacts(&ticket).is_empty());
    let lines = house.log().lines().filter(|line| line.contains("impossible length")).count();
    assert!(lines <= 4, "{lines} log lines for four packets");
}

#[test]
fn r47_malformed_packets_are_answered_by_their_id_and_then_end_the_session() {
    let (house, ticket, _) = House::open();
    case(&house, &ticket, "malformed");
    case(&house, &ticket, "malformed-ends");
}

#[test]
fn a_write_in_a_packet_that_is_longer_than_it_is_taken() {
    let (house, ticket, _) = House::open();
    case(&house, &ticket, "trailing");
}

#[test]
fn r48_extreme_reads_and_writes_are_clamped_or_refused() {
    let (house, ticket, _) = House::open();
    let before = resident(&house);
    case(&house, &ticket, "extremes");
    let after = resident(&house);
    assert!(after < before + 64 * 1024, "memory grew from {before} to {after} KiB");
}

#[test]
fn r49_handles_that_are_not_open_are_refused() {
    let (house, ticket, _) = House::open();
    case(&house, &ticket, "handles");
    case(&house, &ticket, "handle-table");
}

#[test]
fn r52_a_thousand_outstanding_writes_in_any_order_give_the_right_file() {
    let (house, ticket, _) = House::open();
    let said = house.python("hostile.py", &ticket).arg("shuffled").finish().ok().out();
    house.assert_holds(&ticket, "shuffled.bin", said.trim());
}

#[test]
fn r53_names_that_are_not_utf_8_stay_apart_and_come_back_exactly() {
    let (house, ticket, _) = House::open();
    case(&house, &ticket, "bytes-names");
    let artifacts = house.artifacts(&ticket);
    assert_eq!(artifacts.len(), 2, "{artifacts:#?}");
    let locations: Vec<_> = artifacts.iter().map(|artifact| artifact["location"].as_str().unwrap()).collect();
    assert!(locations[0].ends_with("/a%FE") && locations[1].ends_with("/a%FF"), "{locations:?}");
    assert!(!house.await_notices(1)[0]["artifacts"].as_array().unwrap().is_empty());
}

#[test]
fn r55_no_path_leaves_the_share() {
    let (house, ticket, _) = House::open();
    let other = house.ticket("XT-OTHER", "anna");
    let source = random_file(&house.work().join("secret"), 1000, 1);
    house.put(&other, &source, "secret");
    let outside = || {
        let mut files = all_files(house.data().parent().unwrap());
        files.retain(|path| !path.starts_with(house.data()) && !path.starts_with(house.work()));
        files
    };
    let (before, marker) = (outside(), house.data().join("keys/kek"));
    let kek = fs::read(&marker).unwrap();
    case(&house, &ticket, "traversal");
    assert_eq!(outside(), before, "files appeared or vanished outside of the data directory");
    assert_eq!(fs::read(&marker).unwrap(), kek);
    house.assert_holds(&other, "secret", &sha256(&source));
    assert_eq!(house.artifacts(&other).len(), 1);
    // And nothing bears a name that a customer chose.
    let names: Vec<_> = all_files(&house.data()).iter().map(|path| path.display().to_string()).collect();
    assert!(!names.iter().any(|name| name.contains("pwned") || name.contains("passwd")), "{names:#?}");
}

#[test]
fn r34_guessing_tokens_is_slowed_down_and_ends_nobody_else() {
    let (house, ticket, _) = House::open();
    let source = random_file(&house.work().join("dump"), 60 << 20, 1);
    let upload = house.slow_put(&ticket, &source, "dump", 10);
    std::thread::sleep(Duration::from_millis(1000));
    case(&house, &ticket, "guesses");
    upload.finish().ok();
    house.assert_holds(&ticket, "dump", &sha256(&source));
    within(Duration::from_secs(180), "a login once the penalty is over", || {
        (house.customer(&ticket, "ls").code() == Some(0)).then_some(())
    });
}
