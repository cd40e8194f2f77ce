//! The power goes, at any moment, on a disk that keeps, tears and re-orders what was not synced:
//! what was acknowledged is there afterwards, and nothing is there that is not whole.
//!
//! Customers work on a simulated disk. At random operations of it (before them, with everything
//! else held back) the databases are copied and the disk's image is taken: what a crash at this
//! moment leaves. Each crash is then brought up again and looked at. `TACDROP_SEEDS` is how many
//! crashes there are, `TACDROP_SEED` where they begin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tacdrop_simulated::{Dice, Fault, Image, Machine, Operation};

use super::*;

/// Crashes of one run of the customers.
const CRASHES: u64 = 10;
/// Disk operations among which a run's crashes lie.
const OPERATIONS: u64 = 160;
const CUSTOMERS: u64 = 3;
const STEPS: u64 = 8;

/// What a name may lead to after a crash: what was acknowledged, or what was under way. None:
/// nothing.
pub(super) type Promises = BTreeMap<String, BTreeSet<Option<[u8; 32]>>>;

/// What a crash leaves.
pub(super) struct Crash {
    pub(super) data: PathBuf,
    pub(super) disk: Image,
    pub(super) promises: Promises,
}

/// A data directory with a ticket, to begin runs with.
pub(super) struct Template {
    pub(super) directory: TempDir,
    token: String,
}

impl Template {
    pub(super) async fn new() -> Self {
        // Memory, where there is some: the databases' own syncing is not what is looked at here.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let data = DataDirectory::at(directory.path().join("template"));
        let app = App::serve_on(data, settings(), Machine::new().store()).await.unwrap();
        customer(&app, "XT-1").await;
        let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
        app.close().await;
        Self { directory, token: token.to_string() }
    }

    fn copy(&self, name: &str) -> PathBuf {
        let to = self.directory.path().join(name);
        copy_data(&self.directory.path().join("template"), &to);
        to
    }
}

fn settings() -> Settings {
    Settings {
        extent_bytes: 128 << 10,
        inline_bytes: 4 << 10,
        checkpoint: Duration::from_millis(5),
        ..Settings::default()
    }
}

/// Copies what a data directory holds beside its objects.
pub(super) fn copy_data(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("keys")).unwrap();
    // The database before its log: what is in the log is newer.
    for name in ["keys/kek", "keyring.sqlite", "keyring.sqlite-wal", "records.sqlite", "records.sqlite-wal"] {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

/// Customers at work on a disk, and what they have been promised.
pub(super) struct Run {
    pub(super) app: App,
    login: Login,
    pub(super) machine: Machine,
    pub(super) promises: Arc<Mutex<Promises>>,
}

impl Run {
    pub(super) async fn begin(template: &Template, name: &str) -> Self {
        let machine = Machine::new();
        let data = DataDirectory::at(template.copy(name));
        let app = App::serve_on(data, settings(), machine.store()).await.unwrap();
        let login = app.logins().by_token("XT-1", &template.token, FROM).await.unwrap().unwrap();
        Self { app, login, machine, promises: Arc::default() }
    }

    /// Each customer has names of its own and does one thing after the other.
    pub(super) async fn work(&self, seed: u64) {
        let mut tasks = Vec::new();
        for customer in 0..CUSTOMERS {
            let (session, promises) = (self.app.session(&self.login), Arc::clone(&self.promises));
            let mut dice = Dice::new(seed * CUSTOMERS + customer + 1);
            tasks.push(tokio::spawn(async move {
                for _ in 0..STEPS {
                    step(&session, &promises, customer, &mut dice).await;
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        while self.app.open_uploads() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// One thing that a customer does. What fails on a faulty disk leaves both outcomes possible.
async fn step(session: &ShareSession, promises: &Mutex<Promises>, customer: u64, dice: &mut Dice) {
    let name = |number: u64| format!("c{customer}-{number}");
    let (one, other) = (name(dice.roll(3)), name(dice.roll(3)));
    let allowed = |name: &str| promises.lock().unwrap().get(name).cloned().unwrap_or_else(|| [None].into());
    let may_be = |name: &str, more: &BTreeSet<Option<[u8; 32]>>| {
        promises.lock().unwrap().entry(name.to_owned()).or_insert_with(|| [None].into()).extend(more);
    };
    let is =
        |name: &str, only: BTreeSet<Option<[u8; 32]>>| drop(promises.lock().unwrap().insert(name.to_owned(), only));
    match dice.roll(8) {
        0 => {
            may_be(&one, &[None].into());
            if session.remove_file(&path(&one)).await.is_ok() {
                is(&one, [None].into());
            }
        }
        1 if one != other => {
            let moved = allowed(&one);
            may_be(&other, &moved);
            may_be(&one, &[None].into());
            if session.rename(&path(&one), &path(&other), true).await.is_ok() {
                is(&one, [None].into());
                is(&other, moved);
            }
        }
        kind => {
            let length = match dice.roll(3) {
                0 => dice.roll(4 << 10),
                1 => dice.roll(100 << 10),
                _ => dice.roll(400 << 10),
            };
            let bytes = content(&one, length, dice.roll(1 << 30));
            let sha256: [u8; 32] = Sha256::digest(&bytes).into();
            let ends = kind != 2;
            if ends {
                may_be(&one, &[Some(sha256)].into());
            }
            if send(session, &one, &bytes, ends, dice).await.is_ok() && ends {
                is(&one, [Some(sha256)].into());
            }
        }
    }
}

/// What no disk may show in the clear.
const CANARY: &[u8] = b"canary: this line must be on no disk";

fn content(name: &str, length: u64, salt: u64) -> Vec<u8> {
    let mut bytes = format!("{name} {salt} ").into_bytes();
    bytes.extend_from_slice(CANARY);
    bytes.extend(pattern(usize::try_from(length).unwrap(), u8::try_from(salt % 251).unwrap()));
    bytes
}

/// Sends a file; not to its end if it is to be cut.
async fn send(session: &ShareSession, name: &str, bytes: &[u8], ends: bool, dice: &mut Dice) -> Result<(), Refusal> {
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path(name), mode).await?;
    let most = if ends { bytes.len() } else { bytes.len() / 2 };
    for (part, at) in bytes[..most].chunks(30_000).zip((0u64..).step_by(30_000)) {
        upload.begin_write(at, part.len() as u64).await?;
        upload.write(part).await?;
        if dice.roll(12) == 0 {
            upload.sync().await?;
        }
    }
    if dice.roll(4) == 0 {
        // Some of it again, backwards and in small pieces.
        let from = usize::try_from(dice.roll(most as u64 + 1)).unwrap_or(0);
        for (number, part) in bytes[from..most].chunks(700).enumerate().collect::<Vec<_>>().into_iter().rev().take(40) {
            upload.begin_write((from + number * 700) as u64, part.len() as u64).await?;
            upload.write(part).await?;
        }
    }
    if ends { upload.close().await } else { Ok(()) }
}

/// Brings a crash up, looks at what is there and sends something; for some, the power goes again,
/// and what is there is looked at once more.
pub(super) async fn look(crash: Crash, template: &Template, dice: &mut Dice) {
    let Crash { mut data, mut disk, mut promises } = crash;
    // A second time for some: it costs as much as the first.
    let rounds = if dice.roll(4) == 0 { 2 } else { 1 };
    for round in 0..rounds {
        let machine = Machine::from(disk);
        let app = App::serve_on(DataDirectory::at(&data), settings(), machine.store()).await.unwrap();
        all_intact(&app).await;
        let login = app.logins().by_token("XT-1", &template.token, FROM).await.unwrap().unwrap();
        let (session, support) = (app.session(&login), engineer(&app).await);
        for (name, allowed) in &promises {
            // Whoever sends a file cannot read what is whole of it while something newer is not;
            // support can.
            let found = match get(&support, &format!("XT-1/{name}")).await {
                Ok(bytes) => Some(Sha256::digest(&bytes).into()),
                Err(Refusal::NoSuchFile | Refusal::StillReceiving) => None,
                Err(other) => panic!("{name}: {other}"),
            };
            assert!(allowed.contains(&found), "{name} is {found:?}, not one of {allowed:?}");
        }
        assert!(!machine.image().holds(CANARY), "I6: plaintext on the disk");
        let name = format!("c{}-{}", dice.roll(CUSTOMERS), dice.roll(3));
        let bytes = content(&name, dice.roll(200 << 10), dice.roll(1000));
        send(&session, &name, &bytes, true, dice).await.unwrap();
        promises.insert(name, [Some(Sha256::digest(&bytes).into())].into());
        disk = machine.image().after_power_loss(dice);
        app.close().await;
        // Somewhere else: a task that still writes a note holds this place for a moment.
        let next = data.with_extension(format!("again{round}"));
        copy_data(&data, &next);
        std::fs::remove_dir_all(std::mem::replace(&mut data, next)).unwrap();
    }
    std::fs::remove_dir_all(&data).unwrap();
}

/// One run of the customers and the crashes in it.
async fn crashes(template: &Template, seed: u64) {
    let mut dice = Dice::new(seed);
    let run = Run::begin(template, &format!("run-{seed}")).await;
    let root = run.app.data().root().to_owned();
    let moments: BTreeSet<u64> = (0..CRASHES).map(|_| dice.roll(OPERATIONS)).collect();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (keep, promises, base) = (Arc::clone(&taken), Arc::clone(&run.promises), template.directory.path().to_owned());
    run.machine.watch(move |number, image| {
        if moments.contains(&number) {
            // Nobody is promised anything, and nothing begins, while the databases are copied.
            let promises = promises.lock().unwrap();
            let data = base.join(format!("crash-{seed}-{number}"));
            copy_data(&root, &data);
            keep.lock().unwrap().push(Crash { data, disk: image.clone(), promises: promises.clone() });
        }
    });
    run.work(seed).await;
    run.machine.calm();
    run.app.close().await;
    let taken = std::mem::take(&mut *taken.lock().unwrap());
    for mut crash in taken {
        crash.disk = if dice.roll(4) == 0 { crash.disk.after_kill() } else { crash.disk.after_power_loss(&mut dice) };
        look(crash, template, &mut dice).await;
    }
    std::fs::remove_dir_all(template.directory.path().join(format!("run-{seed}"))).unwrap();
}

/// One run on a disk that fails now and then: what is acknowledged all the same is there, also
/// after the power goes.
async fn faults(template: &Template, seed: u64) -> u64 {
    let mut dice = Dice::new(seed);
    let run = Run::begin(template, &format!("faulty-{seed}")).await;
    let (only, rarely) = (dice.roll(8), 2 + dice.roll(30));
    let failed = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let (count, mut chance) = (Arc::clone(&failed), Dice::new(seed + 1));
    run.machine.fail_by(move |_, operation| {
        let meant = match only {
            0 => operation == Operation::Create,
            1 => operation == Operation::Write,
            2 | 3 => operation == Operation::Sync,
            4 => operation == Operation::Rename,
            5 => operation == Operation::SyncDirectory,
            6 => operation == Operation::Remove,
            _ => true,
        };
        if !meant || chance.roll(rarely) != 0 {
            return None;
        }
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Some(if chance.roll(2) == 0 { Fault::Io } else { Fault::Full })
    });
    run.work(seed).await;
    run.machine.calm();
    // It goes on as soon as the disk does.
    let session = run.app.session(&run.login);
    send(&session, "after", &content("after", 300_000, 1), true, &mut dice).await.unwrap();
    all_intact(&run.app).await;
    run.app.close().await;
    let promises = run.promises.lock().unwrap().clone();
    let disk = run.machine.image().after_power_loss(&mut dice);
    let data = template.directory.path().join(format!("failed-{seed}"));
    copy_data(run.app.data().root(), &data);
    look(Crash { data, disk, promises }, template, &mut dice).await;
    failed.load(std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r21_r22_a_disk_that_fails_at_any_step_costs_only_what_was_not_acknowledged() {
    let template = Template::new().await;
    let mut failed = 0;
    for seed in 0..times("TACDROP_FAULTY_SEEDS", 100, 500) {
        failed += faults(&template, seed).await;
    }
    assert!(failed > 0, "no operation failed");
}

#[test]
fn r19_what_was_acknowledged_survives_the_loss_of_power() {
    let (seeds, first) = (times("TACDROP_SEEDS", 1000, 10_000), times("TACDROP_SEED", 1, 1));
    let runs = seeds.div_ceil(CRASHES);
    let threads: Vec<_> = (0..2)
        .map(|thread| {
            std::thread::spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
                runtime.block_on(async {
                    let template = Template::new().await;
                    for run in (first..first + runs).filter(|run| run % 2 == thread) {
                        crashes(&template, run).await;
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
