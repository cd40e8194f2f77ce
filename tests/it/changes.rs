//! What shows when somebody changes the databases or the objects who does not have the keys.
//!
//! Each change is made on a copy of one data directory. Then it is asked who notices: the start of
//! a server, the clients that use what was changed, and each check. The answers are a table, kept
//! in `tests/data/golden/changes.txt`; `SECURITY.md` says why each change that nobody notices does
//! no harm, or where the promise ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::child::{Finished, Run};
use crate::support::files::{all_files, random_file};
use crate::support::server::{House, Key, Ticket};
use crate::support::sql::edit;
use crate::support::{eventually, repository};

/// A data directory in which everything is that somebody could want to change, and the same as it
/// was before the last things happened.
struct Scene {
    house: House,
    older: PathBuf,
    ticket: Ticket,
    other: Ticket,
    device: Ticket,
    key: Key,
    disabled: Key,
    stranger: Key,
}

/// What clients got, by the file that they got it as.
type Fetched = BTreeMap<String, Vec<u8>>;

const CUSTOMER: &str = "-get a c/a\n-get b c/b\n-get big c/big\n-get logs/c c/logs-c\n-get gone c/gone\n-get lost c/lost\n\
                        -get .receipts/a.receipt c/a.receipt\n-get .receipts/big.receipt c/big.receipt\n\
                        -get .receipts/a.sha256 c/a.sha256";

impl Scene {
    fn new() -> Self {
        let settings =
            [("SERVER__PUBLIC_HOST", "drop.example.net"), ("SERVER__PUBLIC_PORT", "2222"), ("DIGESTS__ALSO", "md5")];
        let house = settings.into_iter().fold(House::new(), |house, (key, value)| house.set(key, value));
        let (mut house, ticket, key) = house.furnish();
        let other = house.ticket("XT-2", "anna");
        let device = house.ticket_with("DEV-1", "anna", &["--device"]);
        let (disabled, stranger) = (house.engineer("ben"), house.key("stranger"));
        house.tacdrop(["engineer", "disable", "ben"]).ok();
        let work = house.work();
        for (name, text) in [("one", "one\n"), ("two", "second\n"), ("b", "hello\n"), ("c", "router\n"), ("d", "x\n")] {
            fs::write(work.join(name), text).unwrap();
        }
        random_file(&work.join("big"), 300_000, 7);
        random_file(&work.join("large"), 200_000, 8);
        house.customer(&ticket, "put one a\nput big\nput large\nput b\nmkdir logs\nput c logs/c").ok();
        house.customer(&other, "put c").ok();
        house.stop();
        let older = work.join("older");
        Run::new("cp").arg("-a").arg(house.data()).arg(&older).finish().ok();
        house.start();
        house
            .customer(&ticket, "put two a\nput d b.md5\nput d gone\nrm gone\nput d lost\nput d shredded\nrm shredded")
            .ok();
        house.customer(&device, "put c").ok();
        house.as_customer(&ticket).ssh("md5sum b").finish().ok();
        house.tacdrop(["artifact", "shred", "XT-4711", "shredded", "--yes"]).ok();
        house.tacdrop(["ticket", "close", "XT-2"]).ok();
        house.tacdrop(["key", "rotate", "--share", "XT-4711"]).ok();
        // The doctor of a slow machine would find them overdue.
        eventually("each notice is delivered", || {
            house.notices().iter().all(|notice| notice["state"] == "delivered").then_some(())
        });
        house.stop();
        Self { house, older, ticket, other, device, key, disabled, stranger }
    }

    /// What everybody gets of a directory.
    ///
    /// # Errors
    /// Who is refused.
    fn fetched(&self, house: &House) -> Result<Fetched, String> {
        let work = house.work();
        for place in ["c", "e"] {
            fs::create_dir_all(work.join(place)).unwrap();
        }
        let came_in = |run: &Finished| run.code() != Some(255);
        let customer = house.customer(&self.ticket, CUSTOMER);
        if !came_in(&customer) {
            return Err("the customer".to_owned());
        }
        let digest = house.as_customer(&self.ticket).ssh("md5sum b").finish();
        fs::write(work.join("c/md5"), digest.out()).unwrap();
        let engineer = house.engineer_sftp("anna", &self.key, "-get XT-4711/a e/a\n-get XT-2/c e/other");
        if !came_in(&engineer) {
            return Err("the engineer".to_owned());
        }
        let files = ["c", "e"].into_iter().flat_map(|place| all_files(&work.join(place)));
        let mut fetched: Fetched = files
            .map(|file| (file.strip_prefix(&work).unwrap().display().to_string(), fs::read(file).unwrap()))
            .collect();
        // What must not be: it is got by nobody of the directory as it was.
        let mut intruder = |what: &str, came: bool| {
            if came {
                fetched.insert(what.to_owned(), Vec::new());
            }
        };
        intruder("a stranger", came_in(&house.engineer_sftp("anna", &self.stranger, "ls")));
        intruder("somebody who was disabled", came_in(&house.engineer_sftp("ben", &self.disabled, "ls")));
        intruder("a closed ticket", house.customer(&self.other, "put /dev/null new").code() == Some(0));
        intruder("what a device sent", house.customer(&self.device, "get c e/device").code() == Some(0));
        Ok(fetched)
    }

    /// Who notices a change.
    fn noticed(&self, change: &Change, before: &Fetched) -> [String; 7] {
        let changed = || {
            let copy = self.house.copy();
            (change.make)(self, &copy.data());
            copy
        };
        let fails = |house: &House, args: &[&str]| match house.tacdrop(args.iter().copied()).code() {
            Some(0) => "-".to_owned(),
            _ => "yes".to_owned(),
        };
        let house = changed();
        let audit = fails(&house, &["audit", "verify"]);
        let records = fails(&house, &["audit", "verify", "--records"]);
        let doctor = fails(&house, &["doctor"]);
        let check = fails(&house, &["store", "check", "--deep"]);
        let verify = fails(&house, &["artifact", "verify"]);
        let mut house = changed();
        let (start, used) = if house.start_or_refused() {
            let used = match self.fetched(&house) {
                Err(_) => "yes".to_owned(),
                Ok(after) => {
                    // What a client keeps of a file that ends with an error is its right beginning.
                    let is_right =
                        |name: &str, bytes: &[u8]| before.get(name).is_some_and(|all| all.starts_with(bytes));
                    let wrong = after.iter().filter(|(name, bytes)| !is_right(name, bytes));
                    let wrong: Vec<&str> = wrong.map(|(name, _)| name.as_str()).collect();
                    match () {
                        () if !wrong.is_empty() => format!("NO: {}", wrong.join(", ")),
                        () if after == *before => "-".to_owned(),
                        () => "yes".to_owned(),
                    }
                }
            };
            house.stop();
            ("-", used)
        } else {
            ("yes", "-".to_owned())
        };
        [start.to_owned(), used, verify, check, audit, records, doctor]
    }
}

/// One thing that somebody does who writes the files and has no key.
struct Change {
    what: &'static str,
    make: fn(&Scene, &Path),
}

/// A version's id for SQL, by its length.
macro_rules! version {
    ($bytes:literal) => {
        concat!("(SELECT id FROM version WHERE length = ", $bytes, " AND file_key IS NOT NULL LIMIT 1)")
    };
}

/// The artifact of such a version.
macro_rules! entry {
    ($bytes:literal) => {
        concat!("(SELECT entry_id FROM version WHERE length = ", $bytes, " AND file_key IS NOT NULL LIMIT 1)")
    };
}

macro_rules! sql {
    ($what:literal, $file:literal, $($sql:expr),+) => {
        Change { what: $what, make: |_, data| drop(edit(&data.join(concat!($file, ".sqlite")), concat!($($sql),+))) }
    };
}

/// The same, with the older copy of that database attached as `old`.
macro_rules! older {
    ($what:literal, $file:literal, $($sql:expr),+) => {
        Change {
            what: $what,
            make: |scene, data| {
                let old = scene.older.join(concat!($file, ".sqlite"));
                let attach = format!("ATTACH '{}' AS old;;{}", old.display(), concat!($($sql),+));
                drop(edit(&data.join(concat!($file, ".sqlite")), &attach));
            },
        }
    };
}

fn put_back(scene: &Scene, data: &Path, names: &[&str]) {
    for name in names {
        for suffix in ["", "-wal", "-shm"] {
            let file = format!("{name}{suffix}");
            let _ = fs::remove_file(data.join(&file));
            if scene.older.join(&file).exists() {
                fs::copy(scene.older.join(&file), data.join(&file)).unwrap();
            }
        }
    }
}

/// The objects of the store, the largest first.
fn objects(data: &Path) -> Vec<PathBuf> {
    let mut all = all_files(&data.join("objects"));
    all.sort_by_key(|file| std::cmp::Reverse(fs::metadata(file).unwrap().len()));
    all
}

/// Makes the chain of the trail fit again from a number on.
const RECHAIN: &str = "import sqlite3, sys, hashlib, struct\n\
    db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
    db.execute(sys.argv[2])\n\
    link = bytes(32)\n\
    for seq, at, kind, actor, ticket, subject, detail in db.execute('SELECT seq, at, kind, actor, ticket, subject, detail \
    FROM audit_event ORDER BY seq').fetchall():\n    \
        h = hashlib.sha256(link)\n    \
        for f in [struct.pack('>q', seq), struct.pack('>q', at), kind.encode(), actor.encode(), (ticket or '').encode(), \
    subject or b'', detail.encode()]:\n        h.update(struct.pack('>Q', len(f)) + f)\n    \
        link = h.digest()\n    \
        db.execute('UPDATE audit_event SET chain = ? WHERE seq = ?', (link, seq))\n\
    db.close()";

fn rechained(data: &Path, sql: &str) {
    Run::new(crate::support::python()).args(["-c", RECHAIN]).arg(data.join("records.sqlite")).arg(sql).finish().ok();
}

mod desk;

const CHANGES: &[Change] = &[
    Change { what: "nothing", make: |_, _| {} },
    // People and rights.
    Change {
        what: "a stranger's key is added to an engineer",
        make: |scene, data| {
            let public = scene.stranger.0.with_extension("pub");
            let shown = Run::new("ssh-keygen").args(["-l", "-f"]).arg(public).finish().ok().out();
            let fingerprint = shown.split(' ').nth(1).unwrap().to_owned();
            let sql = format!(
                "INSERT INTO engineer_key (engineer, fingerprint, algorithm, added_at) VALUES ('anna', '{fingerprint}', \
                 'ssh-ed25519', 0)"
            );
            edit(&data.join("records.sqlite"), &sql);
        },
    },
    sql!("a disabled engineer is enabled", "records", "UPDATE engineer SET disabled_at = NULL"),
    sql!(
        "an engineer's mail address is another",
        "records",
        "UPDATE engineer SET email = 'x@evil.example' WHERE id = 'anna'"
    ),
    sql!(
        "an engineer's key is given to another",
        "records",
        "UPDATE engineer_key SET engineer = 'anna' WHERE engineer = 'ben'"
    ),
    sql!("a ticket is assigned to another", "records", "UPDATE ticket SET engineer = 'ben'"),
    sql!(
        "two tickets exchange their shares",
        "records",
        "UPDATE ticket SET share_id = zeroblob(16) WHERE reference = 'XT-2';;\
         UPDATE ticket SET share_id = (SELECT share_id FROM entry WHERE id = (SELECT id FROM entry WHERE parent_id IS NULL \
         AND share_id NOT IN (SELECT share_id FROM ticket))) WHERE reference = 'XT-4711'"
    ),
    sql!("a device's ticket may read", "records", "UPDATE ticket SET device = 0"),
    sql!("a closed ticket is opened", "records", "UPDATE ticket SET status = 'open', closed_at = NULL"),
    sql!(
        "a ticket belongs to another organisation",
        "records",
        "PRAGMA foreign_keys = OFF;;UPDATE ticket SET organisation = 'evil'"
    ),
    // Versions.
    sql!("a version is shorter", "records", "UPDATE version SET length = 3 WHERE length = 7 AND id = ", version!("7")),
    sql!("a version is longer", "records", "UPDATE version SET length = 300001 WHERE length = 300000"),
    sql!("a version has another SHA-256", "records", "UPDATE version SET sha256 = zeroblob(32) WHERE length = 300000"),
    sql!("a version came from another", "records", "UPDATE version SET uploaded_by = 'anna' WHERE length = 300000"),
    sql!("a version came another way", "records", "UPDATE version SET transport = 'legacy' WHERE length = 300000"),
    sql!("a version came at another time", "records", "UPDATE version SET received_at = 1 WHERE length = 300000"),
    sql!("a version has zeros that were never sent", "records", "UPDATE version SET zeros = 5 WHERE length = 300000"),
    sql!("a version has another number", "records", "UPDATE version SET number = 9 WHERE length = 300000"),
    sql!(
        "a version has another one's manifest",
        "records",
        "UPDATE version SET (manifest_id, manifest_hash) = (SELECT manifest_id, manifest_hash FROM version \
         WHERE length = 200000) WHERE length = 300000"
    ),
    sql!("a version forgets the trail", "records", "UPDATE version SET trail_seq = NULL WHERE length = 300000"),
    sql!(
        "a version names another entry of the trail",
        "records",
        "UPDATE version SET trail_seq = trail_seq - 1 WHERE length = 300000"
    ),
    sql!(
        "a version is shredded by its state",
        "records",
        "UPDATE version SET state = 'shredded' WHERE length = 300000"
    ),
    sql!("a version is damaged by its state", "records", "UPDATE version SET state = 'damaged' WHERE length = 300000"),
    sql!("a version is gone", "records", "DELETE FROM version WHERE length = 300000"),
    sql!(
        "a version has another one's key",
        "records",
        "UPDATE version SET file_key = (SELECT file_key FROM version WHERE length = 200000) WHERE length = 300000"
    ),
    older!(
        "an older row of a version is back",
        "records",
        "UPDATE version SET (key_generation, file_key) = (SELECT key_generation, file_key FROM old.version o \
         WHERE o.id = version.id) WHERE length = 300000"
    ),
    // Names and the tree.
    sql!(
        "a file points at another file's version",
        "records",
        "UPDATE entry SET current_version = ",
        version!("300000"),
        " WHERE id = ",
        entry!("200000")
    ),
    sql!(
        "a file points at its older version",
        "records",
        "UPDATE entry SET current_version = ",
        version!("4"),
        " WHERE id = ",
        entry!("4")
    ),
    sql!(
        "a file is out of sight",
        "records",
        "UPDATE entry SET withdrawn_at = 1, withdrawn_house = 1 WHERE id = ",
        entry!("300000")
    ),
    sql!(
        "a deleted file is back",
        "records",
        "UPDATE version SET state = 'available' WHERE state = 'withdrawn';;\
         UPDATE entry SET current_version = COALESCE(current_version, (SELECT v.id FROM version v WHERE v.entry_id = entry.id)), \
         withdrawn_at = NULL, withdrawn_house = NULL WHERE withdrawn_at IS NOT NULL"
    ),
    sql!(
        "a file is in another directory",
        "records",
        "UPDATE entry SET parent_id = (SELECT id FROM entry WHERE kind = 'directory' AND parent_id IS NOT NULL \
         AND share_id = (SELECT share_id FROM ticket WHERE reference = 'XT-4711') ORDER BY modified_at DESC LIMIT 1) \
         WHERE id = ",
        entry!("300000")
    ),
    sql!(
        "two files exchange their names",
        "records",
        "CREATE TEMP TABLE n AS SELECT id, name, name_index FROM entry;;\
         UPDATE entry SET name_index = zeroblob(32) WHERE id = ",
        entry!("200000"),
        ";;\
         UPDATE entry SET (name, name_index) = (SELECT name, name_index FROM n WHERE id = ",
        entry!("200000"),
        ") WHERE id = ",
        entry!("300000"),
        ";;\
         UPDATE entry SET (name, name_index) = (SELECT name, name_index FROM n WHERE id = ",
        entry!("300000"),
        ") WHERE id = ",
        entry!("200000")
    ),
    sql!(
        "two files exchange their places",
        "records",
        "CREATE TEMP TABLE n AS SELECT id, name_index FROM entry;;\
         UPDATE entry SET name_index = zeroblob(32) WHERE id = ",
        entry!("200000"),
        ";;\
         UPDATE entry SET name_index = (SELECT name_index FROM n WHERE id = ",
        entry!("200000"),
        ") WHERE id = ",
        entry!("300000"),
        ";;\
         UPDATE entry SET name_index = (SELECT name_index FROM n WHERE id = ",
        entry!("300000"),
        ") WHERE id = ",
        entry!("200000")
    ),
    sql!("a file is gone", "records", "PRAGMA foreign_keys = OFF;;DELETE FROM entry WHERE id = ", entry!("300000")),
    sql!("a file is a directory", "records", "UPDATE entry SET kind = 'directory' WHERE id = ", entry!("300000")),
    sql!(
        "a file follows another",
        "records",
        "UPDATE entry SET predecessor = ",
        entry!("200000"),
        " WHERE id = ",
        entry!("300000")
    ),
    sql!(
        "a file has taken another one's place",
        "records",
        "UPDATE entry SET predecessor = ",
        entry!("200000"),
        ", number_base = 1, current_version = ",
        version!("200000"),
        " WHERE id = ",
        entry!("300000")
    ),
    sql!(
        "a file's numbers begin elsewhere",
        "records",
        "UPDATE entry SET number_base = 5 WHERE id = ",
        entry!("300000")
    ),
    // Extents and objects.
    sql!("an extent is longer", "records", "UPDATE extent SET length = length + 1 WHERE length = 300000"),
    sql!("an extent has another tag", "records", "UPDATE extent SET header_tag = zeroblob(32) WHERE length = 300000"),
    sql!("a small file is changed", "records", "UPDATE small_file SET extent_bytes = zeroblob(length(extent_bytes))"),
    sql!("a small file is gone", "records", "DELETE FROM small_file"),
    sql!(
        "small files are each other's",
        "records",
        "UPDATE version SET small_file = (SELECT MIN(seq) + MAX(seq) FROM small_file) - small_file WHERE small_file IN \
         (SELECT MIN(seq) FROM small_file UNION SELECT MAX(seq) FROM small_file)"
    ),
    Change {
        what: "an object is cut",
        make: |_, data| {
            let file = &objects(data)[0];
            let length = fs::metadata(file).unwrap().len();
            fs::OpenOptions::new().write(true).open(file).unwrap().set_len(length - 100).unwrap();
        },
    },
    Change {
        what: "one bit of an object is changed",
        make: |_, data| {
            let file = &objects(data)[0];
            let mut bytes = fs::read(file).unwrap();
            bytes[100_000] ^= 1;
            fs::write(file, bytes).unwrap();
        },
    },
    Change {
        what: "an object is another",
        make: |_, data| {
            let all = objects(data);
            fs::copy(&all[1], &all[0]).unwrap();
        },
    },
    Change { what: "an object is gone", make: |_, data| fs::remove_file(&objects(data)[0]).unwrap() },
    // What people are told.
    sql!("a digest that was computed is another", "records", "UPDATE version_digest SET digest = zeroblob(16)"),
    sql!(
        "the server's address is another",
        "records",
        "UPDATE fact SET value = 'evil.example' WHERE name = 'public_host'"
    ),
    sql!(
        "the host key's fingerprint is another",
        "records",
        "UPDATE fact SET value = 'SHA256:evil' WHERE name = 'host_key_fingerprint'"
    ),
    sql!("a sender's digest has matched", "records", "UPDATE sender_check SET verdict = 'matches'"),
    sql!("notices are gone", "records", "DELETE FROM notice_version;;DELETE FROM notice"),
    // Keys.
    sql!("the token key is gone", "keyring", "DELETE FROM server_key WHERE purpose = 'token'"),
    sql!("the receipt key is gone", "keyring", "DELETE FROM server_key WHERE purpose = 'receipt-signing'"),
    sql!("the audit key is gone", "keyring", "DELETE FROM server_key WHERE purpose = 'audit-signing'"),
    sql!("the proof key is gone", "keyring", "DELETE FROM server_key WHERE purpose = 'proof'"),
    sql!(
        "a share key is another share's",
        "keyring",
        "UPDATE share_key SET wrapped = (SELECT s.wrapped FROM share_key s WHERE s.share_id <> share_key.share_id LIMIT 1)"
    ),
    older!("an older share key is back", "keyring", "INSERT OR REPLACE INTO share_key SELECT * FROM old.share_key"),
    // The trail.
    Change {
        what: "an entry of the trail is edited",
        make: |_, data| {
            drop(edit(&data.join("records.sqlite"), "UPDATE audit_event SET actor = 'nobody' WHERE seq = 5"))
        },
    },
    Change {
        what: "the trail is edited and chained again",
        make: |_, data| rechained(data, "UPDATE audit_event SET actor = 'nobody' WHERE seq = 5"),
    },
    Change {
        what: "the trail is chained again and has no checkpoints",
        make: |_, data| {
            rechained(data, "UPDATE audit_event SET actor = 'nobody' WHERE seq = 5");
            for file in ["records.sqlite", "keyring.sqlite"] {
                edit(&data.join(file), "DELETE FROM audit_checkpoint");
            }
        },
    },
    sql!(
        "the trail's end is cut",
        "records",
        "DELETE FROM audit_event WHERE seq > (SELECT MAX(seq) - 3 FROM audit_event)"
    ),
    Change {
        what: "the trail's end and its checkpoints are cut",
        make: |_, data| {
            edit(
                &data.join("records.sqlite"),
                "DELETE FROM audit_event WHERE seq > 20;;DELETE FROM audit_checkpoint WHERE seq > 20",
            );
            edit(&data.join("keyring.sqlite"), "DELETE FROM audit_checkpoint WHERE seq > 20");
        },
    },
    Change {
        what: "the trail is gone",
        make: |_, data| {
            edit(&data.join("records.sqlite"), "DELETE FROM audit_event;;DELETE FROM audit_checkpoint");
            edit(&data.join("keyring.sqlite"), "DELETE FROM audit_checkpoint");
        },
    },
    Change {
        what: "an entry is added to the trail",
        make: |_, data| {
            rechained(
                data,
                "INSERT INTO audit_event (seq, at, kind, actor, ticket, detail, chain) SELECT MAX(seq) + 1, 1, 'ticket.closed', 'operator', \
         'XT-4711', '{}', zeroblob(32) FROM audit_event",
            )
        },
    },
    // The whole.
    sql!(
        "a trigger is added",
        "records",
        "CREATE TRIGGER evil AFTER INSERT ON version BEGIN UPDATE engineer SET disabled_at = NULL; END"
    ),
    sql!("a table is added", "records", "CREATE TABLE evil (id INTEGER)"),
    Change { what: "the records are older", make: |scene, data| put_back(scene, data, &["records.sqlite"]) },
    Change { what: "the keyring is older", make: |scene, data| put_back(scene, data, &["keyring.sqlite"]) },
    Change {
        what: "records and keyring are older",
        make: |scene, data| put_back(scene, data, &["records.sqlite", "keyring.sqlite"]),
    },
];

/// Changes that nobody notices; `SECURITY.md` has the reason of each.
const UNNOTICED: &[&str] = &[
    "nothing",
    "a digest that was computed is another",
    "the server's address is another",
    "the host key's fingerprint is another",
    "a sender's digest has matched",
    "notices are gone",
    "records and keyring are older",
];

/// Changes by which somebody gets what tacdrop would give him if it were told so; the trail tells
/// otherwise.
const OBEYED: &[&str] =
    &["a file points at its older version", "a deleted file is back", "records and keyring are older"];

#[test]
fn r05_what_a_change_shows() {
    let scene = Scene::new();
    let mut untouched = scene.house.copy();
    untouched.start();
    let before = scene.fetched(&untouched).unwrap();
    untouched.stop();
    assert!(before.len() >= 10, "{:?}", before.keys());
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((at, change)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    CHANGES.iter().chain(desk::CHANGES).nth(at).map(|change| (at, change))
                } {
                    let noticed = scene.noticed(change, &before);
                    rows.lock().unwrap().insert(at, (change.what, noticed));
                }
            });
        }
    });
    let mut table =
        "change | start | use | artifact verify | store check | audit verify | --records | doctor\n".to_owned();
    for (what, noticed) in rows.lock().unwrap().values() {
        writeln!(table, "{what} | {}", noticed.join(" | ")).unwrap();
    }
    let golden = repository().join("tests/data/golden/changes.txt");
    if std::env::var_os("TACDROP_WRITE_GOLDEN").is_some() {
        fs::write(&golden, &table).unwrap();
    }
    for (what, noticed) in rows.lock().unwrap().values() {
        assert_eq!(
            noticed[1].starts_with("NO"),
            OBEYED.contains(what),
            "somebody gets what was changed: {what}\n{table}"
        );
        let shows = noticed.iter().any(|cell| cell == "yes");
        assert_eq!(shows, !UNNOTICED.contains(what), "{what}\n{table}");
    }
    assert_eq!(fs::read_to_string(&golden).unwrap(), table);
}
