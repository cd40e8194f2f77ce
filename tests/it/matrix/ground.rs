//! The server that one program is tried on, and the files that it sends.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use serde_json::Value;

use super::client::{At, With};
use crate::support::child::Job;
use crate::support::eventually;
use crate::support::files::random_file;
use crate::support::server::{House, Key, Ticket};

pub(crate) const MIB: u64 = 1 << 20;
/// Files in the directory `many` of the ticket `many`.
pub(crate) const MANY: usize = 10_000;

/// A house with a server, as all programs find it: ticket XT-4711, empty; XT-4712 with [`MANY`] files in `many`; XT-4713,
/// closed, with one file; engineer anna, who is assigned to all.
pub(crate) struct Ground {
    pub(crate) house: House,
    pub(crate) ticket: Ticket,
    pub(crate) many: Ticket,
    pub(crate) closed: Ticket,
    /// anna's.
    pub(crate) key: Key,
    /// A key that nobody knows.
    pub(crate) stranger: Key,
    agent: Job,
    // Its keys are used.
    _seed: Arc<Seed>,
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
        let seed = Seed::get();
        let mut house = settings.iter().fold(seed.house.copy(), |house, (key, value)| house.set(key, *value));
        house.start();
        let agent = house.agent(&seed.strangers);
        let [ticket, many, closed] = seed.tickets.clone();
        let (key, stranger) = (seed.key.clone(), seed.strangers[0].clone());
        Self { house, ticket, many, closed, key, stranger, agent, _seed: seed }
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
        At { ground: self, port: self.house.port(), user: ticket.reference.clone(), with }
    }

    /// anna, with her key.
    pub(crate) fn engineer(&self) -> At<'_> {
        At { ground: self, port: self.house.port(), user: "anna".to_owned(), with: With::Key(self.key.0.clone()) }
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

/// The data directory that the servers of all programs start from.
struct Seed {
    house: House,
    tickets: [Ticket; 3],
    key: Key,
    strangers: Vec<Key>,
}

impl Seed {
    /// Made by whoever comes first, removed by whoever goes last.
    fn get() -> Arc<Self> {
        static SEED: Mutex<Weak<Seed>> = Mutex::new(Weak::new());
        // A test that failed while it made one has left nothing there.
        let mut kept = SEED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(seed) = kept.upgrade() {
            return seed;
        }
        let seed = Arc::new(Self::make());
        *kept = Arc::downgrade(&seed);
        seed
    }

    fn make() -> Self {
        let (mut house, ticket, key) = House::open();
        let many = house.ticket("XT-4712", "anna");
        let closed = house.ticket("XT-4713", "anna");
        let strangers = (0..8).map(|number| house.key(&format!("stranger-{number}"))).collect();
        random_file(&house.work().join("old.bin"), 1000, 4713);
        house.put(&closed, &house.work().join("old.bin"), "old.bin");
        house.tacdrop(["ticket", "close", "XT-4713"]).ok();
        let count = MANY.to_string();
        house.python("uploads.py", &many).args(["many", "many", &count]).finish().ok();
        // Nothing of this is told of while a program is tried.
        eventually("all notices delivered", || {
            house.notices().iter().all(|notice| notice["state"] == "delivered").then_some(())
        });
        house.stop();
        Self { house, tickets: [ticket, many, closed], key, strangers }
    }
}
