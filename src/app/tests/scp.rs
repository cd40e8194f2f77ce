//! Both ends of the protocol with a scripted peer, on real shares.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use crate::app::{App, Closed, DataDirectory, NewTicket, PublicAddress, ReplySink, Settings, ShareSession, WriteMode};
use crate::model::{Language, Refusal, SharePath, Time, VersionState};
use crate::scp::*;

/// A house with one ticket.
struct House {
    directory: TempDir,
    app: App,
    session: ShareSession,
    common: Common,
}

impl House {
    async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::at(directory.path().join("data"));
        let settings = Settings { extent_bytes: 1 << 20, file_bytes: 8 << 20, ..Settings::default() };
        let app = App::serve(data, settings, Handle::current(), Box::new(|| {})).await.unwrap();
        app.tickets().add_organisation("ACME".parse().unwrap(), "ACME".to_owned(), None).await.unwrap();
        let key = ("SHA256:test".to_owned(), "ssh-ed25519".to_owned());
        app.tickets()
            .add_engineer("anna".parse().unwrap(), None, "anna@example.net".to_owned(), None, vec![key])
            .await
            .unwrap();
        let new = NewTicket { language: Some(Language::En), ..super::new_ticket("XT-1") };
        let (_, token) = app.tickets().open_ticket(new).await.unwrap();
        let login = app.logins().by_token("XT-1", &token, IpAddr::V4(Ipv4Addr::LOCALHOST)).await.unwrap().unwrap();
        let session = app.session(&login);
        let common = Common { read_budget: Arc::new(Semaphore::new(1024)), uploads: TaskTracker::new() };
        Self { directory, app, session, common }
    }

    async fn run(&self, line: &str) -> Peer {
        let words = line.split(' ').map(|word| Argument {
            bytes: word.as_bytes().to_vec(),
            wild: (0..word.len()).filter(|at| b"*?".contains(&word.as_bytes()[*at])).collect(),
        });
        let (wire, mut out) = (Wire::default(), Vec::new());
        let begun =
            Session::begin(self.session.clone(), &self.common, Request::parse(words), wire.clone(), &mut out).await;
        wire.note(&out);
        let (scp, over) = match begun {
            Ok(scp) => (Some(scp), None),
            Err(fatal) => (None, Some(fatal)),
        };
        Peer { scp, over, wire, heard: 0 }
    }

    async fn put(&self, name: &str, bytes: &[u8]) {
        let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
        let mut upload = self.session.open_write(&path(name), mode).await.unwrap();
        upload.begin_write(0, bytes.len() as u64).await.unwrap();
        upload.write(bytes).await.unwrap();
        upload.close().await.unwrap();
    }

    async fn get(&self, name: &str) -> Result<Vec<u8>, Refusal> {
        let download = self.session.open_read(&path(name)).await?;
        let mut bytes = Vec::new();
        while download.read(bytes.len() as u64, 1 << 20, &mut bytes).await? > 0 {}
        Ok(bytes)
    }

    /// How many versions there are, and how many of them are available.
    async fn versions(&self) -> (usize, usize) {
        let address = PublicAddress { host: "localhost".to_owned(), port: 22 };
        let lines = self.app.retention().versions(&"XT-1".parse().unwrap(), &address).await.unwrap();
        let available = lines.iter().filter(|line| line.state == VersionState::Available).count();
        (lines.len(), available)
    }
}

fn path(text: &str) -> SharePath {
    SharePath::parse(text.as_bytes()).unwrap()
}

/// What the client hears.
#[derive(Clone, Default)]
struct Wire {
    heard: Arc<Mutex<Vec<u8>>>,
    end: Arc<Mutex<Option<(u32, String)>>>,
    bell: Arc<Notify>,
}

impl Wire {
    fn note(&self, bytes: &[u8]) {
        self.heard.lock().unwrap().extend_from_slice(bytes);
        self.bell.notify_one();
    }
}

impl ReplySink for Wire {
    async fn send(&self, reply: Bytes) -> Result<(), Closed> {
        self.note(&reply);
        Ok(())
    }
}

impl Channel for Wire {
    async fn end(&self, code: u32, stderr: Vec<u8>) {
        let before = self.end.lock().unwrap().replace((code, String::from_utf8(stderr).unwrap()));
        assert_eq!(before, None, "a channel ends once");
        self.bell.notify_one();
    }
}

struct Peer {
    scp: Option<Session<Wire>>,
    over: Option<Fatal>,
    wire: Wire,
    heard: usize,
}

impl Peer {
    async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let Some(scp) = &mut self.scp else { return };
        let mut out = Vec::new();
        let outcome = scp.feed(bytes.as_ref(), &mut out).await;
        self.wire.note(&out);
        if let Err(fatal) = outcome {
            self.over = Some(fatal);
            self.scp = None;
        }
    }

    /// Waits for exactly these bytes.
    #[track_caller]
    fn hears(&mut self, bytes: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let wanted = bytes.as_ref();
            let waiting = async {
                while self.wire.heard.lock().unwrap().len() < self.heard + wanted.len() {
                    self.wire.bell.notified().await;
                }
            };
            let there = tokio::time::timeout(Duration::from_secs(30), waiting).await;
            let heard = self.wire.heard.lock().unwrap()[self.heard..].to_vec();
            assert!(there.is_ok() && heard.starts_with(wanted), "{caller}: {:?}", heard.escape_ascii().to_string());
            self.heard += wanted.len();
        }
    }

    /// Everything that was not looked at yet.
    fn rest(&mut self) -> Vec<u8> {
        let heard = self.wire.heard.lock().unwrap()[self.heard..].to_vec();
        self.heard += heard.len();
        heard
    }

    /// The client ends its side.
    async fn finish(&mut self) -> (u32, String) {
        if let Some(scp) = self.scp.take() {
            scp.finish().await;
        }
        self.end().await
    }

    async fn end(&self) -> (u32, String) {
        if self.over.is_some() {
            return (1, String::new());
        }
        let waiting = async {
            loop {
                if let Some(end) = self.wire.end.lock().unwrap().clone() {
                    return end;
                }
                self.wire.bell.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap()
    }
}

const MISSING: &str = "There is no file or directory of this name.\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_received_with_times_and_bits() {
    let house = House::open().await;
    let mut peer = house.run("-p -t .").await;
    peer.hears(b"\0").await;
    for (name, bytes) in [("a b", &b"hello"[..]), ("empty", b""), ("one", b"x"), ("a b", b"newer")] {
        peer.say(b"T1700000000 0 1700000000 0\n").await;
        peer.hears(b"\0").await;
        peer.say(format!("C0640 {} {name}\n", bytes.len())).await;
        peer.hears(b"\0").await;
        peer.say(bytes).await;
        peer.say(b"\0").await;
        peer.hears(b"\0").await;
        assert_eq!(house.get(name).await.unwrap(), bytes, "what was acknowledged is there");
        let attributes = house.session.attributes(&path(name)).await.unwrap();
        assert_eq!((attributes.mode, attributes.modified), (0o640, Time::from_seconds(1_700_000_000)));
    }
    assert_eq!(peer.finish().await, (0, String::new()));
    assert_eq!(house.versions().await, (4, 4));
    assert!(house.common.uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_no_directory_is_the_name() {
    let house = House::open().await;
    let put = async |line: &str| {
        let mut peer = house.run(line).await;
        peer.say(b"C0644 1 x\nx\0").await;
        peer.finish().await;
        String::from_utf8(peer.rest()).unwrap()
    };
    assert_eq!(put("-t new name").await, "\0\0\0");
    assert_eq!(put("-t /XT-1/~").await, "\0\0\0");
    assert_eq!(put("-t ~/other").await, "\0\0\0");
    assert_eq!(put("-t new/name").await, format!("\0\x01scp: new/name: {MISSING}"));
    let sentence = Refusal::NoSuchDirectory.sentence(Language::En);
    assert!(put("-t new/").await.starts_with(&format!("\0\x01scp: new: {sentence}")));
    assert_eq!(put("-d -t new").await, format!("\x02scp: new: {MISSING}"));
    assert!(put("-d -t other").await.starts_with("\x02scp: other: This is a file"));
    assert!(put("-t other/").await.starts_with("\x02scp: other/: This is a file"));
    assert!(put("-t -x y").await.starts_with("\x02scp: Only the options"));
    for name in ["new name", "~", "other"] {
        assert_eq!(house.get(name).await.unwrap(), b"x");
    }
    assert_eq!(house.versions().await, (3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trees_are_received() {
    let house = House::open().await;
    let mut peer = house.run("-r -p -t .").await;
    peer.hears(b"\0").await;
    for (line, reply) in [
        ("T1600000000 0 1 0\n", "\0"),
        ("D0700 0 logs\n", "\0"),
        ("D0750 0 deep\n", "\0"),
        ("C0644 2 f\n", "\0"),
        ("ab\0", "\0"),
        ("E\n", "\0"),
        ("C0644 2 g\n", "\0"),
        ("cd\0", "\0"),
        ("E\n", "\0"),
        ("C0600 0 h\n", "\0"),
        ("\0", "\0"),
    ] {
        peer.say(line).await;
        peer.hears(reply).await;
    }
    assert_eq!(peer.finish().await.0, 0);
    for (name, bytes) in [("logs/deep/f", "ab"), ("logs/g", "cd"), ("h", "")] {
        assert_eq!(house.get(name).await.unwrap(), bytes.as_bytes());
    }
    let logs = house.session.attributes(&path("logs")).await.unwrap();
    assert_eq!((logs.mode, logs.modified), (0o700, Time::from_seconds(1_600_000_000)));

    // Under a new name; a file is in the way; too deep; never out of the target.
    let mut peer = house.run("-r -t fresh").await;
    peer.say(b"D0755 0 whatever\nC0644 1 x\nx\0C0644 1 y\ny\0E\n").await;
    assert_eq!((peer.finish().await.0, peer.rest()), (0, vec![0; 7]));
    assert_eq!(house.get("fresh/y").await.unwrap(), b"y");
    let mut peer = house.run("-r -t .").await;
    peer.say(b"D0755 0 h\n").await;
    assert!(String::from_utf8(peer.rest()).unwrap().starts_with("\0\x01scp: h: This is a file"));
    peer.say("D0755 0 d\n".repeat(33)).await;
    let heard = peer.rest();
    assert_eq!(heard[..33], [[0; 32].as_slice(), &[1]].concat());
    peer.say("E\n".repeat(32)).await;
    assert_eq!((peer.rest(), peer.over), (vec![0; 32], None));
    peer.say("E\n").await;
    assert_eq!(peer.over, Some(Fatal::Protocol));
    let mut peer = house.run("-t .").await;
    peer.say(b"D0755 0 d2\n").await;
    assert_eq!(peer.over, Some(Fatal::Protocol), "without -r");
    assert_eq!(house.session.attributes(&path("d2")).await, Err(Refusal::NoSuchFile));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_sender_calls_wrong_or_cuts_is_not_published() {
    let house = House::open().await;
    for (name, stream, cut) in [
        ("failed", &b"C0644 5 failed\nhello\x01scp: read error\n"[..], false),
        ("fatal", b"C0644 5 fatal\nhello\x02scp: out of memory\n", false),
        ("strange", b"C0644 5 strange\nhello\x03", false),
        ("short", b"C0644 5 short\nhell", true),
        ("message", b"C0644 5 message\nhello\x01scp: rea", true),
    ] {
        let mut peer = house.run("-t .").await;
        peer.say(stream).await;
        assert_eq!(peer.finish().await.0, 1, "{name}");
        assert!(cut || name == "fatal" || peer.rest().len() > 3, "{name}: the client is told");
        drop(peer);
        assert_eq!(house.get(name).await, Err(Refusal::StillReceiving), "{name}");
    }
    // libssh2 never sends the last octet.
    let mut peer = house.run("-t .").await;
    peer.say(b"C0644 5 curl\nhello").await;
    assert_eq!(peer.finish().await.0, 0);
    assert_eq!(house.get("curl").await.unwrap(), b"hello");
    assert_eq!(house.versions().await.1, 1);
    assert!(house.common.uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_concerns_one_file_and_the_exit_code() {
    let house = House::open().await;
    let mut peer = house.run("-t .").await;
    peer.say(b"\x01scp: secret: Permission denied\n").await;
    peer.say(b"C0644 9000000 large\n").await;
    peer.say(b"C0644 1 from-support\n").await;
    peer.say(b"C0644 1 a\x07b\n").await;
    peer.say(b"C0644 2 good\nok\0").await;
    assert_eq!(peer.finish().await.0, 1);
    let heard = String::from_utf8(peer.rest()).unwrap();
    let lines: Vec<&str> = heard.lines().collect();
    assert!(lines[0].starts_with("\0\x01scp: large: The file is larger"), "{lines:?}");
    assert!(
        lines[1].starts_with("\x01scp: from-support: ") && lines[2].starts_with("\x01scp: a?b: This name"),
        "{lines:?}"
    );
    assert_eq!(lines[3], "\0\0");
    assert_eq!(house.get("good").await.unwrap(), b"ok");
    let long = "x".repeat(2000);
    let mut peer = house.run("-t .").await;
    peer.say(&long[..1000]).await;
    assert_eq!(peer.over, None);
    peer.say(&long).await;
    assert_eq!(peer.over, Some(Fatal::Protocol), "a line that never ends is not kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_trees_are_sent() {
    let house = House::open().await;
    house.session.make_directory(&path("logs")).await.unwrap();
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
    for (name, bytes) in [("a.txt", &b"hello"[..]), ("b.txt", b""), ("logs/c.txt", b"c"), ("logs/large", &large)] {
        house.put(name, bytes).await;
    }
    let mut peer = house.run("-f *.txt none").await;
    for (say, hear) in [("\0", "C0640 5 a.txt\n"), ("\0", "hello\0"), ("\0", "C0640 0 b.txt\n"), ("\x01no space\n", "")]
    {
        peer.say(say).await;
        peer.hears(hear).await;
    }
    peer.hears(format!("\x01scp: /none: {MISSING}")).await;
    assert_eq!(peer.end().await, (1, String::new()));

    let mut peer = house.run("-r -p -f /").await;
    let mut heard = Vec::new();
    while peer.wire.end.lock().unwrap().is_none() {
        peer.say(b"\0").await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        heard.extend(peer.rest());
        assert_eq!(peer.over, None);
    }
    assert_eq!(peer.end().await, (0, String::new()));
    let text = String::from_utf8_lossy(&heard);
    assert!(text.contains(" 0\nD0550 0 XT-1\n") || text.contains(" 0\nD0750 0 XT-1\n"), "{}", &text[..100]);
    for part in ["hello\0", "C0640 1 c.txt\nc\0", "D0750 0 logs\n", "C0640 0 b.txt\n\0", "C0640 3000000 large\n"] {
        assert!(text.contains(part), "{part}");
    }
    assert!(heard.windows(large.len() + 1).any(|part| part[..large.len()] == large && part[large.len()] == 0));
    assert!(heard.ends_with(b"E\n"));

    let mut peer = house.run("-f logs").await;
    peer.say(b"\0").await;
    peer.hears(b"\x01scp: /logs: This is a directory. To fetch it use the option -r.\n").await;
    assert_eq!(peer.end().await.0, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_is_never_sent_as_whole() {
    let house = House::open().await;
    house.put("file", &vec![7; 3 << 20]).await;
    let objects = house.directory.path().join("data");
    let mut open = vec![objects];
    let mut damaged = 0;
    while let Some(directory) = open.pop() {
        for item in std::fs::read_dir(directory).unwrap().map(|item| item.unwrap().path()) {
            if item.is_dir() {
                open.push(item);
            } else if item.metadata().unwrap().len() > 1 << 20 && item.extension().is_none() {
                let mut bytes = std::fs::read(&item).unwrap();
                let middle = bytes.len() - 100_000;
                bytes[middle] ^= 1;
                std::fs::remove_file(&item).unwrap();
                std::fs::write(&item, bytes).unwrap();
                damaged += 1;
            }
        }
    }
    assert_eq!(damaged, 3);
    let mut peer = house.run("-f file file").await;
    peer.say(b"\0").await;
    peer.hears(format!("C0640 {} file\n", 3 << 20)).await;
    peer.say(b"\0").await;
    let (code, stderr) = peer.end().await;
    assert_eq!(code, 1);
    assert!(stderr.starts_with("scp: /file: What is stored of this file is damaged"), "{stderr}");
    let sent = peer.rest();
    assert!(sent.len() < 1 << 20 && sent.iter().all(|byte| *byte == 7), "only bytes of the file: {}", sent.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r58_wildcards_are_looked_up_name_by_name() {
    let house = House::open().await;
    for directory in ["d1", "d2", "d2/sub"] {
        house.session.make_directory(&path(directory)).await.unwrap();
    }
    for name in ["d1/x.log", "d2/x.log", "d2/y.log", "d2/sub/z.log", "Größe.log", "[1].log", ".hidden.log"] {
        house.put(name, b"").await;
    }
    let fits = async |word: &str| {
        let wild = (0..word.len()).filter(|at| b"*?".contains(&word.as_bytes()[*at])).collect();
        let word = Argument { bytes: word.as_bytes().to_vec(), wild };
        let paths = crate::scp::expand::Expansion::new().paths(&house.session, &word).await.unwrap();
        paths.iter().map(|path| String::from_utf8(path.to_bytes()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(fits("d?/x.log").await, ["/d1/x.log", "/d2/x.log"]);
    assert_eq!(fits("/XT-1/d2/*").await, ["/XT-1/d2/sub", "/XT-1/d2/x.log", "/XT-1/d2/y.log"]);
    assert_eq!(fits("d1/../*/y.log").await, ["/d2/y.log"]);
    let back = String::from_utf8(path("*/../*/y.log").to_bytes()).unwrap();
    assert_eq!(fits("*/../*/y.log").await, [back], "one that leads back stands for itself");
    assert_eq!(fits("*.log").await, ["/Größe.log", "/[1].log"]);
    assert_eq!(fits(".*.log").await, ["/.hidden.log"]);
    assert_eq!(fits("*/*/*").await, ["/d2/sub/z.log"]);
    assert_eq!(fits("no*").await, ["/no*"], "a pattern that fits nothing stands for itself");
    assert_eq!(fits("[1].l*").await, ["/[1].log"], "a bracket is no wildcard");
    assert_eq!(fits("[G]r*").await, ["/[G]r*"], "a bracket is no wildcard");
    assert_eq!(fits(".receipts/d2/x*").await, ["/.receipts/d2/x.log.receipt", "/.receipts/d2/x.log.sha256"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r58_a_pattern_that_no_path_could_fit_costs_nothing() {
    let house = House::open().await;
    for n in 0..20 {
        house.session.make_directory(&path(&format!("d{n}"))).await.unwrap();
    }
    for (below, times, outcome, looked_at, steps) in [
        ("/a", 504, Err(Refusal::PathTooLong.into()), 0, 0..=0),
        ("/..", 256, Err(Refusal::PathTooLong.into()), 0, 0..=0),
        // As deep as a path may be. Each of the 20 grows by 31 names, and copying it costs as many
        // as it has.
        ("/a", 31, Ok(vec![path(&["*", &"/a".repeat(31)].concat())]), 20, 20 * 33 * 34 / 2..=20 * 33 * 34 / 2 + 200),
        ("/.", 500, Ok((0..20).map(|n| path(&format!("d{n}"))).collect()), 20, 40..=200),
    ] {
        let bytes = ["*", &below.repeat(times)].concat().into_bytes();
        let mut expansion = crate::scp::expand::Expansion::new();
        let mut found = expansion.paths(&house.session, &Argument { bytes, wild: vec![0] }).await;
        if let Ok(paths) = &mut found {
            paths.sort_by_key(|path| (path.to_bytes().len(), path.to_bytes()));
        }
        assert_eq!(found, outcome, "{below}");
        let spent = expansion.spent();
        assert!(spent.0 == looked_at && steps.contains(&spent.1), "{below}: {spent:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r58_a_client_that_answers_without_being_asked_is_ended() {
    let house = House::open().await;
    // So large that it is not through before the answers are.
    house.put("a", &vec![7; 4 << 20]).await;
    let mut peer = house.run("-f a").await;
    peer.say([0; 64]).await;
    assert_eq!(peer.over, Some(Fatal::Flood));
    let mut peer = house.run("-f a").await;
    peer.say(b"x").await;
    assert_eq!(peer.over, Some(Fatal::Protocol));
    let mut peer = house.run("-f a").await;
    peer.say(b"\0").await;
    peer.say(b"\x02enough\n").await;
    assert_eq!(peer.end().await.0, 1);
    let mut peer = house.run("-f a").await;
    assert_eq!(peer.finish().await.0, 1, "a client that is gone before it was ready");
    // A client that sends refused names without listening gets no more than a bounded answer.
    let mut peer = house.run("-t .").await;
    peer.say("C0644 1 \x07\n".repeat(5000)).await;
    assert_eq!(peer.over, Some(Fatal::Flood));
    assert!(peer.rest().len() < 100_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_refused_for_its_size_leaves_an_unfinished_one_alone() {
    let house = House::open().await;
    let mut peer = house.run("-t .").await;
    peer.say(b"C0644 4000000 large\n").await;
    peer.say(vec![7; (3 << 20) + 1]).await;
    assert_eq!(peer.finish().await.0, 1);
    drop(peer);
    // Another session sees from where it may go on.
    let later = house.app.session(house.session.login());
    let size = async || later.attributes(&path("large")).await.unwrap().size;
    let ended = async {
        while house.app.open_uploads() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    assert_eq!(size().await, 3 << 20);
    let mut peer = house.run("-t .").await;
    peer.say(b"C0644 9000000 large\n").await;
    assert_eq!(peer.finish().await.0, 1);
    assert!(peer.rest().starts_with(b"\0\x01scp: large: The file is larger"));
    assert_eq!(size().await, 3 << 20);
}

/// What a hostile sender may say: never a whole file, as each is longer than all of it.
fn junk() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"C0644 2000000 x\n".to_vec()),
        Just(b"D0755 0 d\n".to_vec()),
        Just(b"E\n".to_vec()),
        Just(b"T1 0 1 0\n".to_vec()),
        Just(b"\0".to_vec()),
        Just(b"\x01message\n".to_vec()),
        Just(b"C0644 99999999999999999999 x\n".to_vec()),
        Just(b"D0755 0 ..\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

#[test]
fn r58_hostile_bytes_never_panic_and_never_publish() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let house = runtime.block_on(House::open());
    runtime.block_on(house.put("good", b"good"));
    proptest!(ProptestConfig::with_cases(200), |(stream in junk(), cut in 1usize..50, source: bool)| {
        runtime.block_on(async {
            let mut peer = house.run(if source { "-r -f * none" } else { "-r -t ." }).await;
            for piece in stream.chunks(cut) {
                peer.say(piece).await;
            }
            let (code, _) = peer.finish().await;
            assert!(code <= 1);
        });
    });
    let (_, available) = runtime.block_on(house.versions());
    assert_eq!(available, 1, "nothing was published but what was whole");
    assert_eq!(runtime.block_on(house.get("good")).unwrap(), b"good");
    assert!(house.common.uploads.is_empty(), "nothing is left open");
}

#[test]
fn a_stream_that_waits_for_nothing_is_taken_in_slices_of_any_size() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let house = runtime.block_on(House::open());
    let sizes = prop::collection::vec(prop_oneof![0usize..4, 1000usize..100_000], 1..5);
    proptest!(ProptestConfig::with_cases(16), |(sizes in sizes, cut in prop_oneof![1usize..8, 1000usize..70_000])| {
        runtime.block_on(async {
            let files: Vec<Vec<u8>> =
                sizes.iter().enumerate().map(|(n, size)| (0..*size).map(|i| (i / 3 + n) as u8).collect()).collect();
            let mut stream = Vec::new();
            for (n, file) in files.iter().enumerate() {
                stream.extend(format!("C0644 {} f{n}\n", file.len()).into_bytes());
                stream.extend(file);
                stream.push(0);
            }
            let mut peer = house.run("-t .").await;
            for piece in stream.chunks(cut) {
                peer.say(piece).await;
            }
            assert_eq!(peer.finish().await, (0, String::new()));
            assert_eq!(peer.rest(), vec![0; 1 + 2 * files.len()]);
            for (n, file) in files.iter().enumerate() {
                assert_eq!(&house.get(&format!("f{n}")).await.unwrap(), file);
            }
        });
    });
}
