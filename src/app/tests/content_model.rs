//! What a file holds, against a vector of bytes: a whole file is opened in every way, left alone,
//! read, changed, cut, taken over and closed, on a server that restarts. What was there before is
//! never lost by that, and what a CLOSE acknowledged is there to the byte.

use std::cell::Cell;

use super::*;
use crate::model::{ArtifactId, Time};

#[derive(Debug, Clone)]
enum Act {
    /// OPEN for writing, by one of the sessions.
    Open {
        by: usize,
        how: How,
    },
    /// Nothing happens for longer than rows may be owed.
    Idle,
    Sync,
    /// A READ through the handle that writes.
    Read,
    /// A WRITE at this part of the file, in 256ths of its length; or behind its end.
    Write {
        at: u8,
        length: usize,
        seed: u8,
    },
    Append {
        length: usize,
        seed: u8,
    },
    /// FSETSTAT of a size, in 256ths of the length.
    Size {
        to: u8,
    },
    /// FSETSTAT of a size beyond the end.
    Grow {
        by: usize,
    },
    /// A WRITE behind a gap, as `cp` leaves one out of a sparse file.
    Skip {
        gap: usize,
        length: usize,
        seed: u8,
    },
    /// A second handle of the session that writes, which writes at the end and goes without a
    /// CLOSE.
    Join {
        length: usize,
        seed: u8,
    },
    /// SETSTAT of a size by the path, in 128ths of the length.
    Resize {
        by: usize,
        to: u8,
    },
    /// SETSTAT of times only.
    Touch,
    /// The line is cut.
    Cut,
    Close,
    Rename,
    Restart,
    /// Somebody else opens and closes, and writes nothing.
    LookIn {
        by: usize,
    },
}

#[derive(Debug, Clone, Copy)]
enum How {
    AsItIs,
    Append,
    Truncate,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let how = prop_oneof![3 => Just(How::AsItIs), 2 => Just(How::Append), 1 => Just(How::Truncate)];
    let act = prop_oneof![
        4 => (0usize..2, how).prop_map(|(by, how)| Act::Open { by, how }),
        1 => Just(Act::Idle),
        2 => Just(Act::Sync),
        2 => Just(Act::Read),
        3 => (any::<u8>(), 1usize..90_000, any::<u8>()).prop_map(|(at, length, seed)| Act::Write { at, length, seed }),
        3 => (1usize..90_000, any::<u8>()).prop_map(|(length, seed)| Act::Append { length, seed }),
        1 => any::<u8>().prop_map(|to| Act::Size { to }),
        1 => (1usize..100_000).prop_map(|by| Act::Grow { by }),
        1 => (1usize..100_000, 1usize..50_000, any::<u8>())
            .prop_map(|(gap, length, seed)| Act::Skip { gap, length, seed }),
        1 => (1usize..50_000, any::<u8>()).prop_map(|(length, seed)| Act::Join { length, seed }),
        1 => (0usize..2, any::<u8>()).prop_map(|(by, to)| Act::Resize { by, to }),
        1 => Just(Act::Touch),
        3 => Just(Act::Cut),
        6 => Just(Act::Close),
        1 => Just(Act::Rename),
        1 => Just(Act::Restart),
        2 => (0usize..2).prop_map(|by| Act::LookIn { by }),
    ];
    prop::collection::vec(act, 1..16)
}

/// What an unfinished version that nobody holds is known to be.
#[derive(Debug, Clone)]
struct Left {
    /// All that was sent of it and what it began with. What is unfinished may have lost its end,
    /// never its beginning.
    bytes: Vec<u8>,
    /// How much of it was there when it began.
    floor: usize,
    /// Whether something in the middle was left out: nobody goes on with it here.
    has_gap: bool,
}

struct Held {
    upload: Upload,
    by: usize,
    append: bool,
    bytes: Vec<u8>,
    floor: usize,
    began: Began,
    changed: bool,
    /// Whether something in the middle was left out, and every write went on from there.
    has_gap: bool,
    /// Whether every write so far went on behind the end.
    goes_forward: bool,
    /// Whether its client made it longer. What a client left out so is zeros for its own CLOSE;
    /// after a cut it is missing.
    grown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Began {
    Empty,
    Copy,
    Resumed,
}

/// A server and the sequences that it has seen: each has a ticket of its own, since a server costs
/// more than a sequence.
struct Server {
    fixture: Fixture,
    /// None between two servers.
    app: Option<App>,
    sequences: u32,
}

impl Server {
    /// Sequences that share a data directory.
    const SEQUENCES: u32 = 50;

    async fn begin() -> Self {
        let mut fixture = Fixture::new();
        fixture.settings.checkpoint = CHECKPOINT;
        Self { app: Some(fixture.open().await), fixture, sequences: 0 }
    }

    /// This server for one more sequence, or none if it has seen enough.
    async fn again(self) -> Option<Self> {
        if self.sequences < Self::SEQUENCES {
            return Some(self);
        }
        self.app.unwrap().close().await;
        None
    }
}

/// So short that the clock's part of a sequence is tried within a moment.
const CHECKPOINT: Duration = Duration::from_millis(60);
/// Longer than rows may be owed and extents may wait for the records.
const IDLE: Duration = Duration::from_millis(200);

struct Run {
    server: Server,
    ticket: String,
    token: zeroize::Zeroizing<String>,
    sessions: Vec<ShareSession>,
    name: &'static str,
    /// What the last CLOSE acknowledged.
    whole: Vec<u8>,
    left: Option<Left>,
    held: Option<Held>,
}

fn part(of: usize, in_256ths: u8) -> usize {
    of * usize::from(in_256ths) / 256
}

impl Run {
    async fn begin(server: Option<Server>, length: usize) -> Self {
        let mut server = match server {
            Some(server) => server,
            None => Server::begin().await,
        };
        server.sequences += 1;
        let app = server.app.as_ref().unwrap();
        let ticket = format!("XT-{}", server.sequences);
        drop(customer(app, &ticket).await);
        let token = app.tickets().new_token(&word(&ticket)).await.unwrap();
        let mut run = Self {
            server,
            ticket,
            token,
            sessions: Vec::new(),
            name: "a",
            whole: pattern(length, 1),
            left: None,
            held: None,
        };
        run.log_in().await;
        put(&run.sessions[0], run.name, &run.whole).await;
        run
    }

    fn app(&self) -> &App {
        self.server.app.as_ref().unwrap()
    }

    async fn stop(&mut self) {
        self.sessions.clear();
        if let Some(app) = self.server.app.take() {
            app.close().await;
        }
    }

    async fn log_in(&mut self) {
        self.sessions.clear();
        for _ in 0..2 {
            let login = self.app().logins().by_token(&self.ticket, &self.token, FROM).await.unwrap().unwrap();
            self.sessions.push(self.app().session(&login));
        }
    }

    async fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match act {
            Act::Open { by, how } => self.open(*by, *how).await?,
            Act::Idle => tokio::time::sleep(IDLE).await,
            Act::Sync => {
                if let Some(held) = &mut self.held {
                    held.upload.sync().await.unwrap();
                }
            }
            Act::Read => {
                if let Some(held) = self.held.as_mut().filter(|held| !held.has_gap) {
                    let mut bytes = Vec::new();
                    held.upload.read(0, held.bytes.len(), &mut bytes).await.unwrap();
                    prop_assert!(bytes == held.bytes, "a READ through the handle differs");
                }
            }
            Act::Write { at, length, seed } => {
                if let Some(held) = &mut self.held {
                    // Who went back would not leave out zeros.
                    let at = if held.append || held.has_gap { held.bytes.len() } else { part(held.bytes.len(), *at) };
                    held.write(at, &pattern(*length, *seed)).await;
                }
            }
            Act::Append { length, seed } => {
                if let Some(held) = &mut self.held {
                    held.write(held.bytes.len(), &pattern(*length, *seed)).await;
                }
            }
            Act::Size { to } => {
                if let Some(held) = &mut self.held {
                    let size = part(held.bytes.len(), *to);
                    held.upload.change(Changes { size: Some(size as u64), ..Changes::default() }).await.unwrap();
                    held.changed |= size != held.bytes.len();
                    held.bytes.truncate(size);
                    held.floor = held.floor.min(size);
                }
            }
            Act::Grow { by } => {
                if let Some(held) = &mut self.held {
                    let size = held.bytes.len() + by;
                    held.upload.change(Changes { size: Some(size as u64), ..Changes::default() }).await.unwrap();
                    held.bytes.resize(size, 0);
                    (held.changed, held.grown) = (true, true);
                }
            }
            Act::Skip { gap, length, seed } => {
                let forward = |held: &&mut Held| held.began == Began::Empty && held.goes_forward && !held.append;
                if let Some(held) = self.held.as_mut().filter(forward) {
                    held.write(held.bytes.len() + gap, &pattern(*length, *seed)).await;
                    held.has_gap = true;
                }
            }
            Act::Join { length, seed } => {
                if let Some(held) = self.held.as_mut().filter(|held| !held.has_gap) {
                    let mode = WriteMode { append: held.append, read: true, ..WriteMode::default() };
                    let mut second = self.sessions[held.by].open_write(&path(self.name), mode).await.unwrap();
                    let bytes = pattern(*length, *seed);
                    write(&mut second, held.bytes.len() as u64, &bytes).await;
                    held.bytes.extend(bytes);
                    (held.changed, held.goes_forward) = (true, false);
                }
            }
            Act::Resize { by, to } => self.resize(*by, *to).await,
            Act::Touch => {
                let changes = Changes { modified: Some(Time::from_millis(1_700_000_000_000)), ..Changes::default() };
                self.sessions[0].change(&path(self.name), changes).await.unwrap();
            }
            Act::Cut => self.cut().await,
            Act::Close => self.close().await?,
            Act::Rename => {
                let to = if self.name == "a" { "b" } else { "a" };
                self.sessions[0].rename(&path(self.name), &path(to), false).await.unwrap();
                self.name = to;
            }
            Act::Restart => {
                self.cut().await;
                self.stop().await;
                self.server.app = Some(self.server.fixture.open().await);
                self.log_in().await;
            }
            Act::LookIn { by } => {
                // It takes the file from who holds it, and gives it back as it was.
                self.cut().await;
                if self.left.as_ref().is_none_or(|left| !left.has_gap) {
                    self.open(*by, How::AsItIs).await?;
                    self.close().await?;
                }
            }
        }
        self.agrees().await
    }

    async fn open(&mut self, by: usize, how: How) -> Result<(), TestCaseError> {
        // A session that writes already would get a second handle on the same upload.
        if self.held.as_ref().is_some_and(|held| held.by == by) {
            return Ok(());
        }
        self.cut().await;
        let how = if self.left.as_ref().is_some_and(|left| left.has_gap) { How::Truncate } else { how };
        let (truncate, append) = (matches!(how, How::Truncate), matches!(how, How::Append));
        // Who appends asks first where the end is, as clients do.
        let session = &self.sessions[by];
        let told = usize::try_from(session.attributes(&path(self.name)).await.unwrap().size).unwrap();
        let mode = WriteMode { create: true, truncate, append, read: true, ..WriteMode::default() };
        let upload = session.open_write(&path(self.name), mode).await.unwrap();
        let (began, mut bytes, floor) = match (truncate, &self.left) {
            (true, _) => (Began::Empty, Vec::new(), 0),
            (false, Some(left)) => (Began::Resumed, left.bytes.clone(), left.floor),
            (false, None) => (Began::Copy, self.whole.clone(), self.whole.len()),
        };
        if !truncate {
            prop_assert!(told >= floor, "STAT says {} of {} that it began with", told, floor);
            prop_assert!(told <= bytes.len());
            if append && began == Began::Resumed {
                bytes.truncate(told);
            }
        }
        self.left = self.left.take().filter(|_| !truncate);
        self.held = Some(Held {
            upload,
            by,
            append,
            bytes,
            floor,
            began,
            changed: false,
            has_gap: false,
            goes_forward: true,
            grown: false,
        });
        Ok(())
    }

    /// What was sent stays, whatever ends the upload. An untouched one leaves nothing.
    async fn cut(&mut self) {
        let Some(held) = self.held.take() else { return };
        let changed = held.changed || held.began == Began::Empty;
        let id = self.id().await;
        drop(held.upload);
        // Until it is written down.
        while self.app().0.access.uploads.registry.of_artifact(*id.as_bytes()).is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if changed {
            self.left = Some(Left { bytes: held.bytes, floor: held.floor, has_gap: held.has_gap || held.grown });
        }
    }

    /// Through the session's own upload, if it has one; else it is one of its own, which ends with
    /// a CLOSE.
    async fn resize(&mut self, by: usize, to: u8) {
        if self.held.as_ref().is_none_or(|held| held.by != by) {
            self.cut().await;
        }
        if self.left.is_some() || self.held.as_ref().is_some_and(|held| held.has_gap) {
            return;
        }
        let bytes = self.held.as_mut().map_or(&mut self.whole, |held| &mut held.bytes);
        let size = bytes.len() * usize::from(to) / 128;
        let (is_other, grows) = (size != bytes.len(), size > bytes.len());
        bytes.resize(size, 0);
        if let Some(held) = &mut self.held {
            (held.changed, held.goes_forward) = (held.changed || is_other, false);
            held.grown |= grows;
            held.floor = held.floor.min(size);
        }
        let changes = Changes { size: Some(size as u64), ..Changes::default() };
        self.sessions[by].change(&path(self.name), changes).await.unwrap();
    }

    async fn id(&self) -> ArtifactId {
        let lines = self.app().artifacts().list(&word(&self.ticket), &PublicAddress::unknown()).await.unwrap();
        lines[0].id.parse().unwrap()
    }

    async fn close(&mut self) -> Result<(), TestCaseError> {
        let Some(held) = self.held.take() else { return Ok(()) };
        let outcome = held.upload.close().await;
        match (held.began, held.changed) {
            (Began::Resumed, false) => prop_assert_eq!(outcome, Err(Refusal::Incomplete)),
            (Began::Copy, false) => prop_assert_eq!(outcome, Ok(())),
            _ => {
                prop_assert_eq!(outcome, Ok(()));
                (self.whole, self.left) = (held.bytes, None);
            }
        }
        Ok(())
    }

    async fn agrees(&self) -> Result<(), TestCaseError> {
        let support = engineer(self.app()).await;
        let found = get(&support, &format!("{}/{}", self.ticket, self.name)).await;
        prop_assert!(found.as_ref() == Ok(&self.whole), "what was acknowledged is not there");
        let is_newer = match &self.held {
            Some(held) => held.changed || held.began != Began::Copy,
            None => self.left.is_some(),
        };
        // To a session that does not write it a name has one length, and what that is the length of
        // can be read or not.
        let reader = &self.sessions[self.held.as_ref().map_or(0, |held| 1 - held.by)];
        let size = reader.attributes(&path(self.name)).await.unwrap().size;
        let read = get(reader, self.name).await;
        if is_newer {
            prop_assert_eq!(read, Err(Refusal::NewerUnfinished));
        } else {
            prop_assert!(size == self.whole.len() as u64 && read.as_ref() == Ok(&self.whole), "{} is not whole", size);
            let rows = self.app().retention().versions(&word(&self.ticket), &PublicAddress::unknown()).await.unwrap();
            let unfinished = rows.iter().filter(|row| row.state == VersionState::Receiving).count();
            prop_assert_eq!(unfinished, 0, "an untouched copy has a row");
        }
        Ok(())
    }
}

impl Held {
    async fn write(&mut self, at: usize, bytes: &[u8]) {
        write(&mut self.upload, at as u64, bytes).await;
        let end = at + bytes.len();
        self.goes_forward &= at >= self.bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[at..end].copy_from_slice(bytes);
        self.changed = true;
    }
}

/// Sequences that run at the same time: most of their time they wait for a clock.
const AT_ONCE: u32 = 12;

/// `TACDROP_TEST_COUNT` says how many sequences (60).
#[test]
fn r16_r26_r72_a_file_that_is_opened_changed_and_cut_in_every_way_agrees_with_a_vector_of_bytes() {
    let cases: u32 = std::env::var("TACDROP_TEST_COUNT").map_or(60, |count| count.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| agree(cases.div_ceil(AT_ONCE), &runtime));
        }
    });
}

fn agree(cases: u32, runtime: &tokio::runtime::Runtime) {
    // A sequence takes tenths of a second: who waits for the shortest one that fails waits for
    // hours.
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default() };
    let lengths = prop_oneof![Just(0usize), 1usize..2000, 60_000usize..70_000, 200_000usize..400_000];
    // A sequence that fails leaves none, so that the next one does not go on with what it broke.
    let server = Cell::new(None);
    proptest!(config, |(length in lengths, acts in acts())| {
        runtime.block_on(async {
            let mut run = Run::begin(server.take(), length).await;
            for act in &acts {
                run.act(act).await?;
            }
            run.cut().await;
            let verified = run.app().integrity().verify(Some(&word(&run.ticket)), |_| ()).await.unwrap();
            prop_assert!(verified.iter().all(|line| line.intact), "{verified:?}");
            run.sessions.clear();
            server.set(run.server.again().await);
            Ok::<_, TestCaseError>(())
        })?;
    });
}
