//! The server that one program is tried on, and the files that it sends.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::JoinHandle;

use serde_json::Value;

use super::client::{At, With};
use crate::support::child::Job;
use crate::support::files::random_file;
use crate::support::server::{House, Key, Ticket};

pub(crate) const MIB: u64 = 1 << 20;
/// Files in the directory that is listed.
pub(crate) const MANY: usize = 10_000;

/// A house with a server, as all programs find it: ticket XT-4711, empty; XT-4713, closed, with one
/// file; engineer anna, who is assigned to both.
pub(crate) struct Ground {
    pub(crate) house: House,
    pub(crate) ticket: Ticket,
    pub(crate) closed: Ticket,
    /// anna's.
    pub(crate) key: Key,
    /// A key that nobody knows.
    pub(crate) stranger: Key,
    agent: Job,
    many: OnceLock<Arc<Many>>,
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ground")
    }
}

impl Ground {
    /// A new one, with a server.
    pub(crate) fn open() -> Self {
        Self::with_settings(&[])
    }

    /// The same with settings.
    pub(crate) fn with_settings(settings: &[(&str, &str)]) -> Self {
        let house = settings.iter().fold(House::new(), |house, (key, value)| house.set(key, *value));
        let (house, ticket, key) = house.furnish();
        let closed = house.ticket("XT-4713", "anna");
        house.put(&closed, &random_file(&house.work().join("old.bin"), 1000, 4713), "old.bin");
        house.tacdrop(["ticket", "close", "XT-4713"]).ok();
        let strangers: Vec<_> = (0..8).map(|number| house.key(&format!("stranger-{number}"))).collect();
        let (agent, stranger) = (house.agent(&strangers), strangers[0].clone());
        Self { house, ticket, closed, key, stranger, agent, many: OnceLock::new() }
    }

    /// Begins to make the many files, so that they are there when they are asked for.
    pub(crate) fn begin_many(&self) -> &Many {
        self.many.get_or_init(Many::get)
    }

    /// The customer of a ticket with [`MANY`] files in `many`. It has a server of its own, and all
    /// programs look at the same.
    pub(crate) fn many(&self) -> At<'_> {
        let (house, ticket) = self.begin_many().wait();
        At { port: house.port(), host_key: host_key(ticket), ..self.customer(ticket) }
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.house.work()
    }

    /// The agent's socket. It holds eight keys that nobody knows.
    pub(crate) fn agent(&self) -> PathBuf {
        let _runs = &self.agent;
        self.house.agent_socket()
    }

    /// The customer of a ticket.
    pub(crate) fn customer(&self, ticket: &Ticket) -> At<'_> {
        self.with(ticket, With::Token(ticket.token.clone()))
    }

    /// A login to a ticket.
    pub(crate) fn with(&self, ticket: &Ticket, with: With) -> At<'_> {
        let (port, host_key) = (self.house.port(), host_key(&self.ticket));
        At { ground: self, port, host_key, user: ticket.reference.clone(), with }
    }

    /// anna, with her key.
    pub(crate) fn engineer(&self) -> At<'_> {
        At { user: "anna".to_owned(), ..self.with(&self.ticket, With::Key(self.key.0.clone())) }
    }

    /// A file of random bytes in the working directory.
    pub(crate) fn file(&self, name: impl AsRef<OsStr>, size: u64, seed: u64) -> PathBuf {
        random_file(&self.work().join(name.as_ref()), size, seed)
    }

    /// The 300 MiB that everybody sends, as `name` in the working directory.
    pub(crate) fn large_file(&self, name: &str) -> PathBuf {
        let path = self.work().join(name);
        let shared = large();
        // On another file system it is copied.
        if fs::hard_link(&shared, &path).is_err() {
            fs::copy(&shared, &path).unwrap();
        }
        path
    }

    /// The artifact of XT-4711 with this SHA-256, if one is available.
    pub(crate) fn available(&self, sha256: &str) -> Option<Value> {
        let all = self.house.artifacts(&self.ticket);
        all.into_iter().find(|artifact| artifact["sha256"] == sha256 && artifact["state"] == "available")
    }

    /// A text without what varies: paths of this test, its port, long numbers.
    pub(crate) fn normalised(&self, text: &str) -> String {
        let root = self.house.work();
        let text = text.replace(&format!("{}/", root.display()), "").replace(root.to_str().unwrap(), ".");
        text.replace(&self.house.port().to_string(), "PORT")
    }
}

/// The bytes of a location behind the ticket's reference.
pub(crate) fn path_of(artifact: &Value) -> Vec<u8> {
    let location = artifact["location"].as_str().unwrap();
    let path = location.splitn(5, '/').nth(4).unwrap_or_default();
    percent_encoding::percent_decode_str(path).collect()
}

/// 300 MiB, made once and kept beside what cargo builds.
fn large() -> PathBuf {
    static LARGE: OnceLock<PathBuf> = OnceLock::new();
    let path = LARGE.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("matrix-300-mib");
        if fs::metadata(&path).map(|found| found.len()).ok() != Some(300 * MIB) {
            let new = path.with_extension(std::process::id().to_string());
            random_file(&new, 300 * MIB, 300);
            fs::rename(&new, &path).unwrap();
        }
        path
    });
    path.clone()
}

/// The fingerprint that clients are shown.
fn host_key(ticket: &Ticket) -> String {
    ticket.json["host_key_fingerprint"].as_str().unwrap().to_owned()
}

/// A server with a share of [`MANY`] files. Nobody changes anything there.
pub(crate) struct Many {
    maker: Mutex<Option<JoinHandle<(House, Ticket)>>>,
    made: OnceLock<(House, Ticket)>,
}

impl Many {
    /// Begun by whoever comes first, removed by whoever goes last.
    fn get() -> Arc<Self> {
        static MADE: Mutex<Weak<Many>> = Mutex::new(Weak::new());
        let mut kept = MADE.lock().unwrap();
        kept.upgrade().unwrap_or_else(|| {
            let maker = std::thread::spawn(|| {
                let (house, ticket, _) = House::open();
                let count = MANY.to_string();
                house.python("uploads.py", &ticket).args(["many", "many", &count]).finish().ok();
                (house, ticket)
            });
            let many = Arc::new(Self { maker: Mutex::new(Some(maker)), made: OnceLock::new() });
            *kept = Arc::downgrade(&many);
            many
        })
    }

    fn wait(&self) -> &(House, Ticket) {
        self.made.get_or_init(|| self.maker.lock().unwrap().take().unwrap().join().unwrap())
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        // A server must not outlive the tests.
        if let Some(maker) = self.maker.lock().ok().and_then(|mut maker| maker.take()) {
            drop(maker.join());
        }
    }
}
