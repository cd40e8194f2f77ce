//! The HTTP door from outside: what curl and tus clients send, fetch and continue, what is refused,
//! and what is true when lines and servers are cut.

use std::fs;
use std::io::Write;
use std::net::Shutdown;

use crate::support::child::Run;
use crate::support::eventually;
use crate::support::files::random_file;
use crate::support::http::{Answer, Door, PART, TUS, checksum, repr_digest};
use crate::support::server::{House, Ticket};

/// `length` bytes that look like chance, the same for the same seed.
fn bytes(house: &House, length: u64, seed: u64) -> Vec<u8> {
    let path = house.work().join(format!("source-{seed}"));
    random_file(&path, length, seed);
    fs::read(path).unwrap()
}

/// What arrives can be continued from each second.
fn open() -> (House, Ticket, Door) {
    let (house, ticket, _) = House::with_http().set("STORAGE__CHECKPOINT_SECONDS", "1").furnish();
    let door = house.door(&ticket);
    (house, ticket, door)
}

fn hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(bytes))
}

/// The blocks of the page that are lines for a shell.
fn blocks(page: &str) -> String {
    let mut lines = Vec::new();
    let mut is_in = false;
    for line in page.lines() {
        match line.trim() {
            "```sh" => is_in = true,
            "```" => is_in = false,
            _ if is_in => lines.push(line.trim()),
            _ => {}
        }
    }
    lines.join("\n")
}

#[test]
fn the_lines_of_the_page_do_what_it_says() {
    let (house, ticket, door) = open();
    let source = bytes(&house, 300_000, 1);
    fs::write(house.work().join("show-tech.tgz"), &source).unwrap();
    let lines = blocks(include_str!("../../docs/http.md"));
    assert!(lines.matches("curl").count() >= 8, "{lines}");
    let script = format!("set -euo pipefail\n{lines}\n");
    let run = Run::new("bash").arg("-c").arg(&script).within(&house.work());
    let run = run.env("URL", format!("http://127.0.0.1:{}", door.port)).env("TICKET", &ticket.reference);
    let finished = run.env("TOKEN", &ticket.token).finish().ok();
    house.assert_holds(&ticket, "show-tech.tgz", &hex(&source));
    house.assert_holds(&ticket, "logs/show-tech.tgz", &hex(&source));
    assert_eq!(fs::read(house.work().join("fetched.tgz")).unwrap(), source, "{}", finished.out());
    assert!(fs::read_to_string(house.work().join("receipt")).unwrap().starts_with("tacdrop receipt 3\n"));
    assert_eq!(door.unfinished(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_put_is_answered_with_its_digest_and_told_of_once() {
    let (house, ticket, door) = open();
    let source = bytes(&house, 5_000_000, 1);
    let path = door.files("a/b/gro%C3%9F.bin");
    let answer = door.ask("PUT", &path, &[("Repr-Digest", &repr_digest(&source))], &source);
    assert_eq!((answer.status, answer.field("repr-digest")), (201, repr_digest(&source).as_str()), "{answer:?}");
    assert_eq!(answer.field("etag"), format!("\"sha256-{}\"", hex(&source)));
    let told = answer.json();
    assert_eq!((told["bytes"].as_u64(), told["name"].as_str()), (Some(5_000_000), Some("groß.bin")));
    let listed = house.assert_holds(&ticket, "a/b/groß.bin", &hex(&source));
    assert_eq!((&listed["id"], &told["location"]), (&told["id"], &serde_json::Value::from(path.clone())));
    assert_eq!(house.await_notices(1)[0]["artifacts"].as_array().unwrap().len(), 1);

    let got = door.ask("GET", answer.field("location"), &[], b"");
    assert_eq!((got.status, got.body == source), (200, true));
    assert_eq!(got.field("repr-digest"), repr_digest(&source));
    let etag = got.field("etag").to_owned();
    let part = door.ask("GET", &path, &[("Range", "bytes=4999990-"), ("If-Range", &etag)], b"");
    assert_eq!((part.status, part.field("content-range")), (206, "bytes 4999990-4999999/5000000"));
    assert_eq!(part.body, source[4_999_990..]);
    assert_eq!(door.ask("GET", &path, &[("If-None-Match", &etag)], b"").status, 304);
    assert_eq!(door.ask("GET", &path, &[("Range", "bytes=5000000-")], b"").status, 416);
    let head = door.ask("HEAD", &path, &[], b"");
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, "5000000", 0));
}

/// What a sender says of its file is compared before anybody is told of it, and what is wrong leaves
/// nothing.
#[test]
fn a_file_that_is_not_what_was_sent_is_not_kept() {
    let (house, ticket, door) = open();
    let source = bytes(&house, 100_000, 1);
    let answer = door.ask("PUT", &door.files("a"), &[("Repr-Digest", &repr_digest(b"another"))], &source);
    assert_eq!((answer.status, answer.code().as_str()), (422, "digest-mismatch"));
    let upload = door.create("b", Some(100_000));
    let flipped = door.patch(&upload, 0, &[("Upload-Checksum", &checksum(b"another"))], &source[..50_000]);
    assert_eq!((flipped.status, flipped.offset()), (460, 0));
    let head = door.head(&upload);
    assert_eq!((head.offset(), head.field("repr-digest")), (0, repr_digest(b"").as_str()));
    let right = checksum(&source[..50_000]);
    assert_eq!(door.patch(&upload, 0, &[("Upload-Checksum", &right)], &source[..50_000]).offset(), 50_000);
    let last = door.patch(&upload, 50_000, &[("Repr-Digest", &repr_digest(b"another"))], &source[50_000..]);
    assert_eq!((last.status, last.code().as_str()), (422, "digest-mismatch"));
    assert_eq!(door.head(&upload).status, 404);
    assert_eq!((house.artifacts(&ticket), door.unfinished()), (Vec::new(), Vec::new()));
}

/// A PUT that is cut, and a tus upload, are continued where they stand to the byte; what is told of
/// that is the digest of exactly these bytes.
#[test]
fn what_was_cut_goes_on_where_it_stands() {
    let (house, ticket, door) = open();
    let source = bytes(&house, 3_000_001, 1);
    let mut socket = door.begin("PUT", &door.files("cut"), &[], Some(source.len() as u64));
    socket.write_all(&source[..1_234_567]).unwrap();
    socket.shutdown(Shutdown::Both).unwrap();
    drop(socket);
    let upload = eventually("the upload that was cut", || {
        let listed = door.unfinished();
        listed.first().map(|upload| upload["upload"].as_str().unwrap().to_owned())
    });
    let head = door.head(&upload);
    let stands = head.offset();
    assert!(stands <= 1_234_567, "{head:?}");
    assert_eq!(head.field("repr-digest"), repr_digest(&source[..stands as usize]));
    assert_eq!(head.field("upload-defer-length"), "1");
    let wrong = door.patch(&upload, stands + 1, &[], &source[stands as usize + 1..]);
    assert_eq!((wrong.status, wrong.offset(), wrong.code().as_str()), (409, stands, "offset-mismatch"));
    let length = source.len().to_string();
    let middle = 2_000_000;
    let part = door.patch(&upload, stands, &[("Upload-Length", &length)], &source[stands as usize..middle]);
    assert_eq!((part.status, part.offset()), (204, middle as u64), "{part:?}");
    assert_eq!(part.field("repr-digest"), repr_digest(&source[..middle]));
    assert_eq!(door.head(&upload).field("upload-length"), length);
    let last = door.patch(&upload, middle as u64, &[], &source[middle..]);
    assert_eq!((last.status, last.offset()), (204, source.len() as u64), "{last:?}");
    let listed = house.assert_holds(&ticket, "cut", &hex(&source));
    assert_eq!(listed["version"], 1);
    assert_eq!(house.await_notices(1).len(), 1);
}

/// What is answered is durable to its last byte, also when the server is killed a moment later.
#[test]
fn what_a_patch_was_told_survives_the_server() {
    let (mut house, ticket, door) = open();
    let source = bytes(&house, 2_500_000, 1);
    let upload = door.create("kept", Some(source.len() as u64));
    assert_eq!(door.patch(&upload, 0, &[], &source[..777_777]).offset(), 777_777);
    house.kill();
    house.start();
    let door = house.door(&ticket);
    let head = door.head(&upload);
    assert_eq!((head.offset(), head.field("upload-length")), (777_777, "2500000"));
    assert_eq!(head.field("repr-digest"), repr_digest(&source[..777_777]));
    assert_eq!(door.patch(&upload, 777_777, &[], &source[777_777..]).status, 204);
    house.assert_holds(&ticket, "kept", &hex(&source));
}

/// A request that hangs on a dead line is ended by the next one; nobody hears 423.
#[test]
fn a_newcomer_ends_the_older_request() {
    let (house, ticket, door) = open();
    let source = bytes(&house, 2_000_000, 1);
    let upload = door.create("hung", Some(source.len() as u64));
    let fields = [TUS, PART, ("Upload-Offset", "0")];
    let mut hung = door.begin("PATCH", &upload, &fields, Some(source.len() as u64));
    hung.write_all(&source[..1_000_000]).unwrap();
    // The list ends nobody's request.
    eventually("some of it", || door.unfinished().into_iter().find(|one| one["bytes"] != 0));
    let stands = door.head(&upload).offset();
    assert!(stands > 0 && stands <= 1_000_000, "{stands}");
    // The same part again, as browsers repeat it by themselves.
    let repeated = door.patch(&upload, 0, &[], &source);
    assert_eq!((repeated.status, repeated.offset()), (409, stands));
    assert_eq!(door.patch(&upload, stands, &[], &source[stands as usize..]).status, 204);
    let _ = hung.write_all(&source[1_000_000..]);
    let late = Answer::read(hung);
    assert_eq!((late.status, late.code().as_str()), (409, "fenced"), "{late:?}");
    house.assert_holds(&ticket, "hung", &hex(&source));
    assert_eq!(house.artifacts(&ticket)[0]["version"], 1);
}

/// The answer to the last part is lost, again and again: one version, one notice.
#[test]
fn finishing_twice_makes_one_version() {
    let (house, ticket, door) = open();
    let source = bytes(&house, 100_000, 1);
    let upload = door.create("once", Some(source.len() as u64));
    for _ in 0..20 {
        let mut lost = door.begin("PATCH", &upload, &[TUS, PART, ("Upload-Offset", "0")], Some(source.len() as u64));
        let _ = lost.write_all(&source);
    }
    // Whoever ended an older request goes on where that stood.
    eventually("its end", || {
        let stands = door.head(&upload).offset();
        let done = stands == source.len() as u64;
        if !done {
            door.patch(&upload, stands, &[], &source[stands as usize..]);
        }
        done.then_some(())
    });
    let again = door.patch(&upload, source.len() as u64, &[], b"");
    assert_eq!((again.status, again.offset()), (204, source.len() as u64));
    assert_eq!(again.field("repr-digest"), repr_digest(&source));
    house.assert_holds(&ticket, "once", &hex(&source));
    assert_eq!(house.artifacts(&ticket)[0]["version"], 1);
    assert_eq!(house.await_notices(1)[0]["artifacts"].as_array().unwrap().len(), 1);
}

/// One upload, two doors.
#[test]
fn an_upload_begun_by_one_door_is_continued_by_the_other() {
    let (house, ticket, door) = open();
    let source = bytes(&house, 8_000_000, 1);
    // HTTP begins, SFTP goes on.
    let upload = door.create("by-sftp", Some(source.len() as u64));
    assert_eq!(door.patch(&upload, 0, &[], &source[..1_500_000]).offset(), 1_500_000);
    house.customer(&ticket, "reput source-1 by-sftp").ok();
    house.assert_holds(&ticket, "by-sftp", &hex(&source));
    let head = door.head(&upload);
    assert_eq!((head.offset(), head.field("repr-digest")), (8_000_000, repr_digest(&source).as_str()));

    // SFTP begins; HTTP goes on, which ends SFTP's.
    let writing = house.slow_put(&ticket, &house.work().join("source-1"), "by-http", 1);
    let listed = eventually("SFTP's upload", || door.unfinished().into_iter().find(|one| one["bytes"] != 0));
    let upload = listed["upload"].as_str().unwrap();
    let head = door.head(upload);
    let stands = head.offset() as usize;
    assert!(stands > 0 && stands < 8_000_000, "{head:?}");
    assert_eq!(head.field("repr-digest"), repr_digest(&source[..stands]));
    assert_ne!(writing.finish().code(), Some(0));
    let length = source.len().to_string();
    let last = door.patch(upload, stands as u64, &[("Upload-Length", &length)], &source[stands..]);
    assert_eq!((last.status, last.offset()), (204, 8_000_000), "{last:?}");
    house.assert_holds(&ticket, "by-http", &hex(&source));
}

#[test]
fn a_file_of_no_bytes_is_available_at_once() {
    let (house, ticket, door) = open();
    let upload = door.create("empty", Some(0));
    assert_eq!(door.head(&upload).offset(), 0);
    house.assert_holds(&ticket, "empty", &hex(b""));
    assert_eq!(door.ask("PUT", &door.files("empty-too"), &[], b"").status, 201);
    house.assert_holds(&ticket, "empty-too", &hex(b""));
}

#[test]
fn an_upload_that_is_ended_leaves_nothing() {
    let (house, ticket, door) = open();
    let source = bytes(&house, 100_000, 1);
    assert_eq!(door.ask("PUT", &door.files("a"), &[], &source).status, 201);
    // The version that is whole stays.
    let upload = door.create("a", None);
    assert_eq!(door.patch(&upload, 0, &[], b"other").offset(), 5);
    assert_eq!(door.ask("DELETE", &upload, &[TUS], b"").status, 204);
    assert_eq!((door.head(&upload).status, door.ask("DELETE", &upload, &[TUS], b"").status), (404, 404));
    house.assert_holds(&ticket, "a", &hex(&source));
    assert_eq!(door.fetch("a").body, source);
}

/// Limits and lengths are known before the first byte, and what does not fit takes nothing from what
/// is there.
#[test]
fn what_does_not_fit_is_refused_before_its_first_byte() {
    let (house, _, _) = House::with_http().set("LIMITS__FILE_GIB", "1").set("LIMITS__SHARE_GIB", "1").furnish();
    let ticket = house.ticket("XT-2", "anna");
    let door = house.door(&ticket);
    let too_long = door.begin("PUT", &door.files("a"), &[("Expect", "100-continue")], Some((1 << 30) + 1));
    let answer = Answer::read(too_long);
    assert_eq!((answer.status, answer.code().as_str()), (413, "file-too-large"));
    assert_eq!(door.ask("PUT", &door.files("small"), &[], b"small").status, 201);
    let too_much = door.begin("PUT", &door.files("a"), &[("Expect", "100-continue")], Some(1 << 30));
    assert_eq!(Answer::read(too_much).status, 507);
    let fields = [TUS, ("Upload-Length", "1073741825"), ("Upload-Metadata", "filename YQ==")];
    assert_eq!(door.ask("POST", &door.uploads(), &fields, b"").status, 413);
    assert_eq!(house.artifacts(&ticket).len(), 1);

    let upload = door.create("b", Some(10));
    assert_eq!(door.patch(&upload, 0, &[], b"12345").offset(), 5);
    let beyond = door.patch(&upload, 5, &[], b"678901");
    assert_eq!((beyond.status, beyond.code().as_str()), (400, "length-mismatch"));
    assert_eq!(door.head(&upload).offset(), 5);
}

/// Unknown, wrong and ended: from outside they are the same.
#[test]
fn who_may_not_come_in_hears_the_same_sentence() {
    let (house, ticket, _) = House::with_http().set("LIMITS__REJECTION_MILLISECONDS", "1").furnish();
    let port = house.http_port();
    let path = "/v1/tickets/XT-4711/files/";
    let refused = |reference: &str, shown: &str| {
        let answer = Door::at(port, reference, shown).ask("GET", path, &[], b"");
        assert_eq!((answer.status, answer.maybe("www-authenticate").is_some()), (401, true), "{answer:?}");
        answer.body
    };
    let wrong = refused("XT-4711", "XT-4711:wrong");
    assert_eq!(wrong, refused("XT-4711", "nobody:wrong"));
    let login = format!("XT-4711:{}", ticket.token);
    assert_eq!(Door::at(port, "XT-4711", &login).ask("GET", path, &[], b"").status, 200);
    let other = house.ticket("XT-2", "anna");
    let theirs = house.door(&other).ask("GET", path, &[], b"");
    assert_eq!((theirs.status, theirs.code().as_str()), (404, "no-such-file"));
    // A new token ends what was let in by the old one.
    house.tacdrop(["ticket", "token", "XT-4711"]).ok();
    let ended = eventually("the end of the old token", || {
        let answer = Door::at(port, "XT-4711", &login).ask("GET", path, &[], b"");
        (answer.status == 401).then_some(answer)
    });
    assert_eq!(ended.body, wrong);
    let german = Door::at(port, "XT-4711", "x:y").ask("GET", path, &[("Accept-Language", "de")], b"");
    assert!(german.json()["detail"].as_str().unwrap().contains("Anmeldung"), "{german:?}");
    // Who goes on guessing is not asked any more.
    eventually("the penalty", || {
        let _ = refused_or_shut(port, path);
        house.log().contains("too many failed logins").then_some(())
    });
}

/// One wrong try, whatever comes of it.
fn refused_or_shut(port: u16, path: &str) -> std::io::Result<()> {
    use std::io::Read;
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", port))?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic eDp5\r\n\r\n");
    socket.write_all(head.as_bytes())?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    let mut some = [0; 16];
    socket.read(&mut some).map(|_| ())
}

#[test]
fn a_closed_ticket_can_be_read_and_says_how_to_reopen() {
    let (house, _, door) = open();
    assert_eq!(door.ask("PUT", &door.files("a"), &[], b"whole").status, 201);
    let upload = door.create("b", Some(3));
    house.tacdrop(["ticket", "close", "XT-4711"]).ok();
    let put = door.ask("PUT", &door.files("c"), &[], b"late");
    assert_eq!((put.status, put.code().as_str()), (403, "ticket-closed"));
    assert_eq!(door.patch(&upload, 0, &[], b"abc").status, 403);
    assert_eq!(door.fetch("a").body, b"whole");
}

#[test]
fn one_login_serves_many_requests_and_the_trail_names_the_door() {
    let (mut house, _, door) = open();
    for n in 0..10 {
        assert_eq!(door.ask("PUT", &door.files(&format!("f{n}")), &[], b"x").status, 201);
    }
    // What waits to be written is written by then.
    house.stop();
    let events = house.json(["audit", "list"]);
    let accepted: Vec<_> =
        events.as_array().unwrap().iter().filter(|event| event["kind"] == "login.accepted").collect();
    assert_eq!(accepted.len(), 1, "{accepted:#?}");
    assert_eq!(accepted[0]["detail"]["door"], "http");
    house.tacdrop(["audit", "verify", "--records"]).ok();
}

#[test]
fn what_every_answer_bears() {
    let (_house, _, door) = open();
    let strict = |answer: &Answer| {
        assert!(answer.field("content-security-policy").starts_with("default-src 'none'"), "{answer:?}");
        assert_eq!(answer.field("x-content-type-options"), "nosniff");
        assert_eq!(answer.field("referrer-policy"), "no-referrer");
        assert!(answer.field("cache-control").contains("no-store"));
        assert_eq!(answer.maybe("access-control-allow-origin"), None);
    };
    assert_eq!(door.ask("PUT", &door.files("a.html"), &[], b"<script>").status, 201);
    let page = door.fetch("a.html");
    assert_eq!(page.field("content-type"), "application/octet-stream");
    assert!(page.field("content-disposition").starts_with("attachment"));
    let gone = door.ask("GET", "/nothing", &[], b"");
    assert_eq!((gone.status, gone.code().as_str()), (404, "no-such-page"));
    let other = door.ask("GET", &door.files("a.html"), &[("Host", "evil.example")], b"");
    assert_eq!((other.status, other.code().as_str()), (421, "other-host"));
    let wrong = door.ask("POST", &door.files("a.html"), &[], b"");
    assert_eq!((wrong.status, wrong.field("allow")), (405, "GET, HEAD, PUT"));
    let options = door.ask("OPTIONS", &door.uploads(), &[], b"");
    assert_eq!((options.status, options.field("tus-version")), (204, "1.0.0"));
    let old = door.ask("POST", &door.uploads(), &[("Tus-Resumable", "0.2.2")], b"");
    assert_eq!((old.status, old.field("tus-version")), (412, "1.0.0"));
    for path in ["/healthz", "/readyz"] {
        let answer = door.ask("GET", path, &[], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        strict(&answer);
    }
    [page, gone, other, wrong, options, old].iter().for_each(strict);
}

/// A listing is read page by page, and each page begins behind the last one's end.
#[test]
fn pages_of_a_listing_hold_each_file_once() {
    let (_house, _, door) = open();
    for n in 0..25 {
        assert_eq!(door.ask("PUT", &door.files(&format!("d/{n}")), &[], b"x").status, 201);
    }
    let (mut path, mut seen) = (door.files("d/?limit=7"), Vec::new());
    loop {
        let page = door.ask("GET", &path, &[], b"");
        let json = page.json();
        seen.extend(json["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        let Some(next) = json["next"].as_str() else { break };
        path = door.files(&format!("d/?limit=7&after={next}"));
        assert!(page.field("link").contains(&path), "{page:?}");
    }
    seen.sort_by_key(|name| name.parse::<u32>().unwrap());
    assert_eq!(seen, (0..25).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// An artifact keeps its address, whatever becomes of its name, and is nobody else's.
#[test]
fn an_artifact_has_an_address_that_no_rename_changes() {
    let (house, ticket, door) = open();
    for n in 0..5 {
        assert_eq!(door.ask("PUT", &door.files(&format!("d{n}/f{n}")), &[], format!("{n}").as_bytes()).status, 201);
    }
    let (mut path, mut seen) = (format!("/v1/tickets/{}/artifacts?limit=2", ticket.reference), Vec::new());
    loop {
        let page = door.ask("GET", &path, &[], b"").json();
        seen.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/tickets/{}/artifacts?limit=2&after={next}", ticket.reference);
    }
    let names: Vec<_> = seen.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["f4", "f3", "f2", "f1", "f0"]);
    let listed = house.artifact(&ticket, "d3/f3").unwrap();
    assert_eq!((&listed["id"], &listed["sha256"]), (&seen[1]["id"], &seen[1]["sha256"]));
    house.customer(&ticket, "rename d3/f3 elsewhere").ok();
    let content = seen[1]["content"].as_str().unwrap();
    assert_eq!(door.ask("GET", content, &[], b"").body, b"3");
    let receipt = door.ask("GET", &content.replace("/content", "/receipt"), &[], b"");
    let text = String::from_utf8(receipt.body).unwrap();
    assert!(text.contains("\nPath: elsewhere\n"), "{text}");
    let other = house.door(&house.ticket("XT-2", "anna"));
    let theirs = other.ask("GET", content, &[], b"");
    let nobody = other.ask("GET", &format!("/v1/artifacts/{}/content", "0".repeat(32)), &[], b"");
    assert_eq!((theirs.status, nobody.status, theirs.body), (404, 404, nobody.body));
}

/// Behind a proxy the client's address is the one that the proxy saw, whatever the client says.
#[test]
fn a_trusted_proxy_says_who_asks() {
    let (house, ticket, _) = House::with_http().set("HTTP__TRUSTED_PROXIES", "127.0.0.1").furnish();
    let door = house.door(&ticket);
    let forwarded = [("X-Forwarded-For", "6.6.6.6, 192.0.2.7")];
    assert_eq!(door.ask("PUT", &door.files("a"), &forwarded, b"x").status, 201);
    let events = house.json(["audit", "list"]);
    let from: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "artifact.available")
        .map(|event| event["detail"]["from"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(from, ["192.0.2.7"]);
}

fn certificate(house: &House, name: &str) {
    let (key, certificate) = (house.work().join("key.pem"), house.work().join("certificate.pem"));
    Run::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .finish()
        .ok();
}

#[test]
fn a_certificate_is_read_again_when_it_changes() {
    let house = House::with_http();
    let path = |name: &str| house.work().join(name).to_str().unwrap().to_owned();
    let (pem, key) = (path("certificate.pem"), path("key.pem"));
    certificate(&house, "first");
    let (house, ticket, _) = house.set("HTTP__TLS__CERTIFICATE", &pem).set("HTTP__TLS__KEY", key).furnish();
    let url = format!("https://127.0.0.1:{}", house.http_port());
    let ask = |arguments: &[&str]| Run::new("curl").args(["-sS", "--cacert", &pem]).args(arguments).finish();
    fs::write(house.work().join("a"), b"over TLS").unwrap();
    let login = format!("{}:{}", ticket.reference, ticket.token);
    let (source, files) = (path_of(&house, "a"), format!("{url}/v1/tickets/XT-4711/files/"));
    for version in ["--http1.1", "--http2"] {
        let sent = ask(&[version, "-f", "-D", "-", "-u", &login, "-T", &source, &files]).ok().out().to_owned();
        assert!(sent.contains("strict-transport-security: max-age=31536000"), "{version} {sent}");
    }
    house.assert_holds(&ticket, "a", &hex(b"over TLS"));
    certificate(&house, "second");
    eventually("the new certificate", || (ask(&[&format!("{url}/healthz")]).out() == "ok\n").then_some(()));
    assert!(house.log().contains("was read again"));
}

fn path_of(house: &House, name: &str) -> String {
    house.work().join(name).to_str().unwrap().to_owned()
}

/// A server that is told to stop lets an upload finish, and takes no other.
#[test]
fn an_upload_under_way_may_finish_when_the_server_stops() {
    let (mut house, ticket, door) = open();
    let source = bytes(&house, 1_000_000, 1);
    let mut socket = door.begin("PUT", &door.files("last"), &[], Some(source.len() as u64));
    socket.write_all(&source[..500_000]).unwrap();
    eventually("the upload", || (!door.unfinished().is_empty()).then_some(()));
    house.terminate();
    eventually("the drain", || house.log().contains("draining").then_some(()));
    socket.write_all(&source[500_000..]).unwrap();
    assert_eq!(Answer::read(socket).status, 201);
    house.ended();
    house.assert_holds(&ticket, "last", &hex(&source));
}

/// tuspy, a client that others wrote: pieces, and a server that is killed between them.
#[test]
fn tuspy_sends_and_goes_on() {
    let (house, ticket, door) = open();
    let source = bytes(&house, 3_000_000, 1);
    let script = "import sys\nfrom tusclient import client\n\
                  url, login, path = sys.argv[1:]\n\
                  tus = client.TusClient(url, headers={'Authorization': 'Basic ' + login})\n\
                  up = tus.uploader(path, chunk_size=700000, metadata={'filename': 'ä tus.bin'}, retries=3)\n\
                  up.upload_chunk()\n\
                  again = tus.uploader(path, chunk_size=700000, url=up.url, retries=3)\n\
                  assert again.offset == 700000, again.offset\n\
                  again.upload()\n";
    use base64ct::Encoding;
    let login = base64ct::Base64::encode_string(format!("{}:{}", ticket.reference, ticket.token).as_bytes());
    let run = Run::new(crate::support::python()).args(["-c", script]);
    let url = format!("http://127.0.0.1:{}{}", door.port, door.uploads());
    run.arg(url).arg(login).arg(house.work().join("source-1")).finish().ok();
    let listed = house.assert_holds(&ticket, "ä tus.bin", &hex(&source));
    assert_eq!(listed["version"], 1);
}

/// tus-js-client, which most pages use: an upload that is given up and gone on with.
#[test]
fn tus_js_client_sends_and_goes_on() {
    let (house, ticket, door) = open();
    let source = bytes(&house, 3_000_000, 1);
    use base64ct::Encoding;
    let login = base64ct::Base64::encode_string(format!("{}:{}", ticket.reference, ticket.token).as_bytes());
    let modules = std::env::var_os("TACDROP_TEST_NODE_MODULES").expect("run tests/run, which installs Node's clients");
    let url = format!("http://127.0.0.1:{}{}", door.port, door.uploads());
    let run = Run::new("node").arg(crate::support::script("tus.js")).env("NODE_PATH", modules);
    run.arg(url).arg(login).arg(house.work().join("source-1")).arg("700000").finish().ok();
    let listed = house.assert_holds(&ticket, "by tus-js.bin", &hex(&source));
    assert_eq!(listed["version"], 1);
    assert_eq!(house.await_notices(1)[0]["artifacts"].as_array().unwrap().len(), 1);
}
