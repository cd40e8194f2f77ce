//! The server under load, and what it tells of it: budgets that hold, windows that follow the line,
//! figures for operators.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::child::Job;
use crate::support::eventually;
use crate::support::files::{random_file, sha256};
use crate::support::relay::Relay;
use crate::support::server::{House, Ticket};

const MIB: u64 = 1 << 20;

/// A house that tells its figures.
fn house() -> House {
    House::new().set("METRICS__LISTEN", "127.0.0.1:0")
}

/// What the metrics listener answers to this, headers and all.
fn ask(house: &House, question: &str) -> String {
    let mut socket = TcpStream::connect(metrics_address(house)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket.write_all(question.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

fn text(house: &House) -> String {
    let answer = ask(house, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("text/plain; version=0.0.4"), "{head}");
    text.to_owned()
}

/// All figures, by name and labels as they are written.
fn figures(house: &House) -> BTreeMap<String, f64> {
    let text = text(house);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, n)| (name.to_owned(), n.parse().unwrap())).collect()
}

#[track_caller]
fn figure(house: &House, name: &str) -> f64 {
    let figures = figures(house);
    *figures.get(name).unwrap_or_else(|| panic!("{name} is missing: {figures:#?}"))
}

const WINDOWS: &str = "tacdrop_budget_used_bytes{budget=\"windows\"}";
const BUFFERS: &str = "tacdrop_budget_used_bytes{budget=\"upload_buffers\"}";

#[test]
fn figures_tell_of_an_upload_and_name_nobody() {
    let (house, ticket, _) = house().furnish();
    let source = random_file(&house.work().join("secret-name.bin"), 3 * MIB + 5, 1);
    house.put(&ticket, &source, "secret-name.bin");
    eventually("the end of the connection", || {
        (figure(&house, "tacdrop_connections{transport=\"modern\"}") == 0.0).then_some(())
    });
    let seen = figures(&house);
    let at = |name: &str| *seen.get(name).unwrap_or_else(|| panic!("{name} is missing: {seen:#?}"));
    assert!(at("tacdrop_received_bytes_total{transport=\"modern\"}") > 3.0 * 1_048_576.0);
    assert!(at("tacdrop_sent_bytes_total{transport=\"modern\"}") > 0.0);
    assert_eq!(at("tacdrop_logged_in_connections{transport=\"modern\"}"), 0.0);
    assert_eq!(at("tacdrop_uploads_begun_total"), 1.0);
    assert_eq!(at("tacdrop_uploads_ended_total{how=\"published\"}"), 1.0);
    assert_eq!(at("tacdrop_uploads_open"), 0.0);
    assert_eq!(at("tacdrop_close_seconds_count"), 1.0);
    assert_eq!(at("tacdrop_close_seconds_bucket{le=\"+Inf\"}"), 1.0);
    assert!(at("tacdrop_close_seconds_sum") > 0.0);
    assert!(at("tacdrop_transactions_total") >= at("tacdrop_commits_total"), "{seen:#?}");
    assert!(at("tacdrop_commits_total") >= 1.0);
    assert_eq!((at(WINDOWS), at(BUFFERS)), (0.0, 0.0));
    assert_eq!(at("tacdrop_budget_limit_bytes{budget=\"upload_buffers\"}"), 256.0 * 1_048_576.0);
    house.await_notices(1);
    eventually("the notice", || (figure(&house, "tacdrop_notice_tries_total{how=\"delivered\"}") == 1.0).then_some(()));
    assert_eq!(figure(&house, "tacdrop_notices_waiting"), 0.0);

    let text = text(&house);
    for word in [ticket.reference.as_str(), "secret-name", "127.0.0.1", "ACME", "anna"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    assert!(ask(&house, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask(&house, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    // Too long, and cut: no figures, and no harm.
    let long = format!("GET /{}", "x".repeat(20_000));
    let mut socket = TcpStream::connect(metrics_address(&house)).unwrap();
    let _ = socket.write_all(long.as_bytes());
    let mut refused = Vec::new();
    let _ = socket.read_to_end(&mut refused);
    assert!(refused.is_empty() || refused.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&refused));
    figures(&house);
}

fn metrics_address(house: &House) -> String {
    let log = house.log();
    let line = log.lines().rfind(|line| line.contains("metrics on ")).unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn a_refused_connection_is_counted_by_its_reason() {
    let (house, _, _) = house().set("LIMITS__UNAUTHENTICATED_PER_SOURCE", "2").furnish();
    let address = ("127.0.0.1", house.port());
    let sockets: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
    let name = "tacdrop_connections_refused_total{transport=\"modern\",reason=\"source_not_logged_in_full\"}";
    eventually("refusals", || (figures(&house).get(name) == Some(&3.0)).then_some(()));
    drop(sockets);
}

/// So small a window that any client on a line of a fifth of a second starves, however slow the
/// machine is.
fn small_windows(house: House) -> House {
    house.set("LIMITS__WINDOW_KIB", "256").set("LIMITS__WINDOW_MOST_KIB", "8192")
}

fn start_put(house: &House, ticket: &Ticket, line: &Relay, source: &std::path::Path, name: &str) -> Job {
    let put = format!("put \"{}\" {name}", source.display());
    house.as_customer(ticket).through(line.port()).sftp(&put).limit(Duration::from_secs(300)).start()
}

#[test]
fn a_far_client_may_send_more_ahead_and_gives_it_back_at_its_end() {
    let (house, ticket, _) = small_windows(house()).furnish();
    let line = Relay::delayed(house.port(), Duration::from_millis(100));
    let source = random_file(&house.work().join("dump"), 24 * MIB, 2);
    let mut upload = start_put(&house, &ticket, &line, &source, "dump");
    eventually("a larger window", || {
        assert!(!upload.has_ended(), "{}", upload.stderr());
        (figure(&house, WINDOWS) >= 768.0 * 1024.0).then_some(())
    });
    upload.finish().ok();
    eventually("everything back", || (figure(&house, WINDOWS) == 0.0).then_some(()));
    house.assert_holds(&ticket, "dump", &sha256(&source));
}

/// Until the client has heard that keys are to be changed, russh takes twice the first window and
/// no more (`ssh/rekeying`).
#[test]
fn a_far_client_is_kept_when_keys_are_changed_under_a_large_window() {
    let (house, ticket, _) = small_windows(house()).set("LIMITS__REKEY_MIB", "12").furnish();
    let line = Relay::delayed(house.port(), Duration::from_millis(100));
    let source = random_file(&house.work().join("dump"), 64 * MIB, 5);
    let mut upload = start_put(&house, &ticket, &line, &source, "dump");
    let mut most = 0.0_f64;
    while !upload.has_ended() {
        most = most.max(figure(&house, WINDOWS));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(most >= 768.0 * 1024.0, "the window stayed small: {most}");
    upload.finish().ok();
    house.assert_holds(&ticket, "dump", &sha256(&source));
}

#[test]
fn far_clients_share_what_there_is_of_windows() {
    let (house, ticket, _) = small_windows(house()).set("LIMITS__WINDOWS_MIB", "1").furnish();
    let line = Relay::delayed(house.port(), Duration::from_millis(100));
    let source = random_file(&house.work().join("dump"), 6 * MIB, 3);
    let digest = sha256(&source);
    let mut uploads: Vec<_> =
        (0..4).map(|n| start_put(&house, &ticket, &line, &source, &format!("dump-{n}"))).collect();
    let mut most = 0.0_f64;
    while !uploads.iter_mut().all(Job::has_ended) {
        most = most.max(figure(&house, WINDOWS));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(most > 0.0 && most <= 1_048_576.0, "{most}");
    for (n, upload) in uploads.into_iter().enumerate() {
        upload.finish().ok();
        house.assert_holds(&ticket, &format!("dump-{n}"), &digest);
    }
}

#[test]
fn who_was_promised_much_and_stops_gives_it_back_when_he_is_gone() {
    let (house, ticket, _) = small_windows(house()).set("LIMITS__STALLED_SECONDS", "600").furnish();
    let line = Relay::delayed(house.port(), Duration::from_millis(100));
    let source = random_file(&house.work().join("dump"), 48 * MIB, 4);
    let mut still = start_put(&house, &ticket, &line, &source, "still");
    eventually("a larger window", || {
        assert!(!still.has_ended(), "{}", still.stderr());
        (figure(&house, WINDOWS) >= 768.0 * 1024.0).then_some(())
    });
    still.signal(Signal::STOP);
    // Nobody else notices.
    let small = random_file(&house.work().join("small"), 5 * MIB, 5);
    house.put(&ticket, &small, "small");
    house.assert_holds(&ticket, "small", &sha256(&small));
    still.kill();
    drop(line);
    eventually("everything back", || (figure(&house, WINDOWS) == 0.0).then_some(()));
}

#[test]
fn who_sends_beyond_its_window_costs_no_memory() {
    let (house, ticket, _) = house().set("LIMITS__BUFFERED_PLAINTEXT_MIB_PER_SESSION", "2").furnish();
    let before = resident(&house);
    let said = house.python("hostile.py", &ticket).arg("beyond-window").finish().ok().out();
    house.assert_holds(&ticket, "beyond", said.trim());
    let after = peak(&house);
    assert!(after < before + 64 * 1024, "memory grew from {before} to {after} KiB");
}

#[test]
fn when_buffers_are_few_everybody_gets_on_and_small_requests_are_answered() {
    const UPLOADS: u64 = 16;
    let (house, ticket, _) = house()
        .set("LIMITS__BUFFERED_PLAINTEXT_MIB", "2")
        .set("LIMITS__BUFFERED_PLAINTEXT_MIB_PER_SESSION", "2")
        .set("LIMITS__UNAUTHENTICATED_PER_SOURCE", "64")
        .set("LIMITS__CONNECTIONS_PER_SOURCE", "64")
        .furnish();
    let source = random_file(&house.work().join("dump"), 8 * MIB, 6);
    let digest = sha256(&source);
    house.put(&ticket, &source, "first");
    let before = peak(&house);
    let mut uploads: Vec<_> = (0..UPLOADS)
        .map(|n| house.customer_run(&ticket, &format!("put \"{}\" dump-{n}", source.display())).start())
        .collect();
    let (mut listings, mut most) = (0, 0.0_f64);
    while !uploads.iter_mut().all(Job::has_ended) {
        house.customer(&ticket, "ls -l").ok();
        listings += 1;
        most = most.max(figure(&house, BUFFERS));
    }
    for (n, upload) in uploads.into_iter().enumerate() {
        upload.finish().ok();
        house.assert_holds(&ticket, &format!("dump-{n}"), &digest);
    }
    assert!(listings > 0 && most > 0.0 && most <= 2.0 * 1_048_576.0, "{listings} listings, {most}");
    assert!(figure(&house, "tacdrop_buffer_wait_seconds_count") > 0.0);
    assert_eq!(figure(&house, BUFFERS), 0.0);
    let after = peak(&house);
    assert!(after < before + 96 * 1024, "memory grew from {before} to {after} KiB");
}

/// The server's resident memory in KiB, now and at most so far.
fn resident(house: &House) -> u64 {
    memory(house, "VmRSS:")
}

fn peak(house: &House) -> u64 {
    memory(house, "VmHWM:")
}

fn memory(house: &House, which: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", house.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
