//! The two ways to publish a new file leave the same records: every column of every row of every
//! table.
//!
//! Two houses get the same steps, and one of them must not record anything in one statement. What
//! is random in their records is compared by what it means ([`meaning`]).

mod meaning;

use std::sync::Mutex;

use meaning::{Meaning, Row};

use super::*;
use crate::model::{Algorithm, HouseTime, Time};
use crate::records::notices;

/// What stands in the way of another name's alias, is spelled in two ways, states a digest, or is a
/// temporary name.
const NAMES: [&str; 12] = [
    "a",
    "A",
    "a:b",
    "NUL",
    "nul",
    "B\u{e4}r",
    "Ba\u{308}r",
    "a.sha256",
    "A.sha256",
    "up.part",
    "up",
    "from the phone.txt",
];
const DIRECTORIES: [&str; 3] = ["", "logs/", "logs/2026/"];
/// What is longer does not lie in the records.
const INLINE: usize = 4096;
/// The last one has two extents.
const LENGTHS: [usize; 7] = [0, 1, 100, INLINE, INLINE + 1, 70_000, (1 << 20) + 1];
const SETTLE: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone)]
enum Step {
    MakeDirectory {
        directory: usize,
    },
    Put {
        directory: usize,
        name: usize,
        content: Sent,
        modified: Option<i64>,
        mode: Option<u32>,
    },
    Append {
        directory: usize,
        name: usize,
        content: Sent,
    },
    Remove {
        directory: usize,
        name: usize,
    },
    Rename {
        directory: usize,
        from: usize,
        to: usize,
    },
    HandBack {
        name: usize,
        content: Sent,
    },
    /// The notice that settles is about to be delivered: the next upload begins another one.
    NoticeSettles,
    /// Files are compared with what their senders state of them.
    CompareDigests,
}

#[derive(Debug, Clone)]
enum Sent {
    Bytes {
        length: usize,
        seed: u8,
    },
    /// What `sha256sum` prints of this content, for a file of this name.
    DigestOf {
        length: usize,
        seed: u8,
        name: usize,
    },
}

impl Sent {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes { length, seed } => pattern(*length, *seed),
            Self::DigestOf { length, seed, name } => {
                let digest = digest_of_bytes(Algorithm::Sha256, &pattern(*length, *seed));
                format!("{}  {}\n", hex::encode(digest), NAMES[*name]).into_bytes()
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let directory = || 0..DIRECTORIES.len();
    let name = || 0..NAMES.len();
    let length = || prop::sample::select(&LENGTHS[..]);
    let content = || {
        prop_oneof![
            4 => (length(), 0..3_u8).prop_map(|(length, seed)| Sent::Bytes { length, seed }),
            1 => (length(), 0..3_u8, name()).prop_map(|(length, seed, name)| Sent::DigestOf { length, seed, name }),
        ]
    };
    let modified = prop::option::of(prop::sample::select(&[0, 1_000_000_000_000_i64][..]));
    let mode = prop::option::of(prop::sample::select(&[0o600, 0o755_u32][..]));
    let step = prop_oneof![
        8 => (directory(), name(), content(), modified, mode).prop_map(|(directory, name, content, modified, mode)| {
            Step::Put { directory, name, content, modified, mode }
        }),
        2 => (0..DIRECTORIES.len()).prop_map(|directory| Step::MakeDirectory { directory }),
        1 => (directory(), name(), content())
            .prop_map(|(directory, name, content)| Step::Append { directory, name, content }),
        2 => (directory(), name()).prop_map(|(directory, name)| Step::Remove { directory, name }),
        2 => (directory(), name(), name()).prop_map(|(directory, from, to)| Step::Rename { directory, from, to }),
        1 => (name(), content()).prop_map(|(name, content)| Step::HandBack { name, content }),
        1 => Just(Step::NoticeSettles),
        1 => Just(Step::CompareDigests),
    ];
    prop::collection::vec(step, 1..16)
}

/// A house, and when each part of a step ended there.
struct House {
    _fixture: Fixture,
    app: App,
    customer: ShareSession,
    engineer: ShareSession,
    settle_max: Duration,
    begun: Time,
    ends: Mutex<Vec<(Time, HouseTime)>>,
}

impl House {
    async fn new(long_way: bool, settle_max: Duration) -> Self {
        let mut fixture = Fixture::new();
        fixture.settings.inline_bytes = INLINE;
        // However busy the machine is, nothing is written down before the CLOSE.
        fixture.settings.checkpoint = SETTLE;
        (fixture.settings.settle, fixture.settings.settle_max) = (SETTLE, settle_max);
        let begun = Time::now();
        let app = fixture.open().await;
        app.0.access.repo.failpoints.be_patient();
        if long_way {
            app.0.access.repo.failpoints.forbid_at_once();
        }
        let customer = customer(&app, "XT-1").await;
        let engineer = engineer(&app).await;
        let ends = Mutex::default();
        let house = Self { _fixture: fixture, app, customer, engineer, settle_max, begun, ends };
        house.part_ends().await;
        house
    }

    /// Part of a step ended, and all that it left is in the records. The next one begins at another
    /// millisecond.
    async fn part_ends(&self) {
        self.app.0.access.trail.flush(Duration::ZERO).await.unwrap();
        let end = (Time::now(), self.app.0.access.repo.clock.now());
        while Time::now() <= end.0 || self.app.0.access.repo.clock.now() <= end.1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.ends.lock().unwrap().push(end);
    }

    /// Takes a step, and says what the client hears.
    async fn take(&self, step: &Step) -> Result<(), Refusal> {
        let outcome = self.answer(step).await;
        self.part_ends().await;
        outcome
    }

    async fn answer(&self, step: &Step) -> Result<(), Refusal> {
        let at = |directory: usize, name: usize| path(&format!("/{}{}", DIRECTORIES[directory], NAMES[name]));
        let new = WriteMode { create: true, truncate: true, ..WriteMode::default() };
        let session = &self.customer;
        match step {
            Step::MakeDirectory { directory } => session.make_directory(&path(DIRECTORIES[*directory])).await,
            Step::Put { directory, name, content, modified, mode } => {
                let changes = Changes { size: None, mode: *mode, modified: modified.map(Time::from_millis) };
                self.send(session, &at(*directory, *name), new, content, changes).await
            }
            Step::Append { directory, name, content } => {
                let append = WriteMode { append: true, ..WriteMode::default() };
                self.send(session, &at(*directory, *name), append, content, Changes::default()).await
            }
            Step::Remove { directory, name } => session.remove_file(&at(*directory, *name)).await,
            Step::Rename { directory, from, to } => {
                session.rename(&at(*directory, *from), &at(*directory, *to), true).await
            }
            Step::HandBack { name, content } => {
                let place = path(&format!("/XT-1/from-support/{}", NAMES[*name]));
                self.send(&self.engineer, &place, new, content, Changes::default()).await
            }
            Step::NoticeSettles => {
                let mut tx = self.app.0.access.repo.records.begin().await.unwrap();
                notices::close_settled(tx.conn(), Time::now().plus(SETTLE * 10)).await.unwrap();
                tx.commit().await.unwrap();
                Ok(())
            }
            Step::CompareDigests => {
                self.app.0.access.sidecars.check_all().await.unwrap();
                Ok(())
            }
        }
    }

    async fn send(
        &self,
        session: &ShareSession,
        place: &SharePath,
        mode: WriteMode,
        content: &Sent,
        changes: Changes,
    ) -> Result<(), Refusal> {
        let mut upload = session.open_write(place, mode).await?;
        self.part_ends().await;
        let bytes = content.bytes();
        if !bytes.is_empty() {
            write(&mut upload, 0, &bytes).await;
        }
        upload.change(changes).await?;
        let outcome = upload.close().await;
        // The worker may have an event for the trail when the client has its answer already.
        while self.app.open_uploads() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        outcome
    }

    /// Every row of every table, as a line each.
    async fn lines(&self) -> Vec<String> {
        assert_eq!(self.app.audit().verify(None).await.unwrap().fault, None);
        super::compare::rows_are_as_told(&self.app).await;
        let mut conn = self.app.0.access.repo.records.read().await.unwrap();
        let tables = tacdrop_probe::everything(&mut conn).await.unwrap();
        drop(conn);
        let meaning = Meaning::of(self, &tables).await;
        let mut lines = Vec::new();
        for table in &tables {
            for row in &table.rows {
                let row = Row { table: &table.name, cells: row };
                let mut line = format!("{}:", table.name);
                for (column, cell) in row.cells {
                    line += &format!(" {column}={}", meaning.of_cell(&row, column, cell));
                }
                lines.push(line);
            }
        }
        lines.sort();
        lines
    }
}

/// Two houses: in the second one nothing is recorded in one statement.
async fn both(settle_max: Duration) -> [House; 2] {
    [House::new(false, settle_max).await, House::new(true, settle_max).await]
}

/// Takes a step in both houses, and says how many files the first one recorded in one statement
/// meanwhile.
async fn take_in_both([quick, long]: &[House; 2], step: &Step) -> usize {
    let before = quick.app.0.access.repo.failpoints.count_at_once();
    assert_eq!(quick.take(step).await, long.take(step).await, "{step:?}");
    assert_eq!(long.app.0.access.repo.failpoints.count_at_once(), 0);
    quick.app.0.access.repo.failpoints.count_at_once() - before
}

async fn assert_equal([quick, long]: &[House; 2], after: &str) {
    for house in [quick, long] {
        assert_eq!(house.app.tickets().unproved().await.unwrap(), Vec::<String>::new(), "{after}");
    }
    let (quick, long) = (quick.lines().await, long.lines().await);
    let only = |some: &[String], others: &[String]| {
        some.iter().filter(|line| !others.contains(line)).cloned().collect::<Vec<_>>().join("\n")
    };
    let (one, other) = (only(&quick, &long), only(&long, &quick));
    assert!(quick == long, "{after}\nonly in one statement:\n{one}\nonly the long way:\n{other}");
}

fn name(name: &str) -> usize {
    NAMES.iter().position(|other| *other == name).unwrap()
}

fn put_step(directory: usize, text: &str, length: usize) -> Step {
    let content = Sent::Bytes { length, seed: 1 };
    Step::Put { directory, name: name(text), content, modified: None, mode: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_one_statement_and_the_long_way_leave_the_same_records() {
    let digest = Sent::DigestOf { length: 100, seed: 1, name: name("a") };
    let steps = [
        ("the first file, the first notice", 1, put_step(0, "a", 100)),
        ("the notice settles already", 1, put_step(0, "up", 1)),
        ("a directory", 0, Step::MakeDirectory { directory: 1 }),
        ("a directory in it", 0, Step::MakeDirectory { directory: 2 }),
        ("a file in a new directory", 1, put_step(2, "a", 100)),
        ("a directory that is not there any more is none", 0, Step::Remove { directory: 0, name: name("nul") }),
        ("a second version", 0, put_step(0, "a", INLINE)),
        ("a name whose alias another one has", 1, put_step(0, "A", 100)),
        ("a name that has an alias", 1, put_step(0, "a:b", 100)),
        ("a device's name", 1, put_step(0, "NUL", 100)),
        ("the same in other letters", 1, put_step(0, "nul", 100)),
        ("composed", 1, put_step(1, "B\u{e4}r", 100)),
        ("decomposed: a second version", 0, put_step(1, "Ba\u{308}r", 100)),
        ("decomposed, a new name", 1, put_step(0, "Ba\u{308}r", 100)),
        (
            "a sender's digest",
            1,
            Step::Put { directory: 2, name: name("a.sha256"), content: digest, modified: None, mode: None },
        ),
        ("it is compared", 0, Step::CompareDigests),
        ("a file is withdrawn", 0, Step::Remove { directory: 0, name: name("a") }),
        ("it becomes the history of another one", 0, put_step(0, "a", 100)),
        ("the notice goes", 0, Step::NoticeSettles),
        ("another notice begins", 1, put_step(0, "from the phone.txt", INLINE)),
        ("an object in the store", 1, put_step(1, "a", INLINE + 1)),
        ("one that is sealed in two pieces", 1, put_step(1, "A", 70_000)),
        ("two extents", 0, put_step(1, "a:b", (1 << 20) + 1)),
        ("no bytes", 0, put_step(1, "up", 0)),
        ("a temporary name", 0, put_step(0, "up.part", 100)),
        ("it gets its own", 0, Step::Rename { directory: 0, from: name("up.part"), to: name("up") }),
        (
            "with a time and a mode",
            1,
            Step::Put {
                directory: 1,
                name: name("nul"),
                content: Sent::Bytes { length: 100, seed: 1 },
                modified: Some(1_000_000_000_000),
                mode: Some(0o600),
            },
        ),
        ("from an engineer", 0, Step::HandBack { name: name("a"), content: Sent::Bytes { length: 100, seed: 1 } }),
        (
            "more of a file",
            0,
            Step::Append { directory: 1, name: name("a"), content: Sent::Bytes { length: 100, seed: 2 } },
        ),
    ];
    let houses = both(SETTLE * 2).await;
    for (what, at_once, step) in steps {
        assert_eq!(take_in_both(&houses, &step).await, at_once, "{what}");
        assert_equal(&houses, what).await;
    }
}

/// `TACDROP_TEST_COUNT` says how many sequences (12).
#[test]
fn r17_any_steps_leave_the_same_records_both_ways() {
    let cases = std::env::var("TACDROP_TEST_COUNT").map_or(12, |count| count.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let settle_max = prop::sample::select(vec![SETTLE / 2, SETTLE, SETTLE * 2]);
    let config = ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() };
    proptest!(config, |(steps in steps(), settle_max in settle_max)| {
        runtime.block_on(async {
            let houses = both(settle_max).await;
            for step in &steps {
                take_in_both(&houses, step).await;
            }
            assert_equal(&houses, "at the end").await;
        });
    });
}
