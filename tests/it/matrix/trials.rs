//! What is tried with every program, and how it is verified: by the digests in the server's
//! records, and by what was fetched.

use std::ffi::OsString;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::client::{At, Client, Did, Outcome, With};
use super::ground::{Ground, MANY, MIB, path_of};
use crate::support::child::{Finished, Run};
use crate::support::eventually;
use crate::support::files::{all_files, sha256};
use crate::support::relay::{Fate, Relay};

/// What was done, or why it was not; `Err` says what was found to be wrong although the program
/// reported success.
type Trial = fn(&dyn Client, &Ground) -> Result<Outcome, String>;

/// One table of `docs/clients.md`: its heading, and its columns.
pub(crate) struct Theme {
    pub(crate) heading: &'static str,
    pub(crate) trials: &'static [(&'static str, Trial)],
}

pub(crate) const THEMES: &[Theme] = &[
    Theme {
        heading: "Logging in",
        trials: &[
            ("by token", by_token),
            ("by an engineer's key", by_key),
            ("wrong password, then the right one", |client, ground| {
                twice(client, ground, "twice", With::WrongThenToken(ground.ticket.token.clone()), 11)
            }),
            ("wrong key, then the password", |client, ground| {
                let with = With::WrongKeyThenToken(ground.stranger.0.clone(), ground.ticket.token.clone());
                twice(client, ground, "key", with, 12)
            }),
            ("8 wrong keys of an agent, then the password", |client, ground| {
                let with = With::AgentThenToken(ground.agent(), ground.ticket.token.clone());
                twice(client, ground, "agent", with, 13)
            }),
            ("wrong password only", wrong_password),
        ],
    },
    Theme {
        heading: "Files",
        trials: &[
            ("put", |client, ground| up(client, ground, "put me.bin", 3 * MIB + 1, 21)),
            ("get", |client, ground| down(client, ground, "get me.bin", 3 * MIB + 1, 22)),
            ("resume an upload", resume_up),
            ("resume a download", resume_down),
            ("rename", rename),
            ("delete", delete),
            ("times kept up", times_up),
            ("times kept down", times_down),
        ],
    },
    Theme {
        heading: "Names, up and down",
        trials: &[
            ("with spaces", |client, ground| named(client, ground, b"show tech  support.txt", 31)),
            ("umlauts (NFC)", |client, ground| named(client, ground, "Größe-ä.txt".as_bytes(), 32)),
            ("umlauts (NFD)", |client, ground| named(client, ground, "o\u{308}ffnen-u\u{308}.txt".as_bytes(), 33)),
            ("emoji", |client, ground| named(client, ground, "kaputt-\u{1f525}.txt".as_bytes(), 34)),
            ("255 bytes", |client, ground| named(client, ground, &[b'n'; 255], 35)),
            ("not UTF-8", |client, ground| named(client, ground, b"latin1-\xe4\xf6.txt", 36)),
        ],
    },
    Theme {
        heading: "Sizes",
        trials: &[
            ("0 bytes", |client, ground| both_ways(client, ground, "size-0", 0)),
            ("1 byte", |client, ground| both_ways(client, ground, "size-1", 1)),
            ("300 MiB up", large_up),
            ("300 MiB down", large_down),
            ("new keys every MiB, both ways", r42_rekeyed),
        ],
    },
    Theme {
        heading: "Directories",
        trials: &[
            ("tree up", tree_up),
            ("tree down", tree_down),
            ("list 10,000 files", list_many),
            ("show the room", room),
        ],
    },
    Theme {
        heading: "What is refused, and the words that the person sees",
        trials: &[
            ("put into a closed ticket", closed),
            ("put into `from-support`", from_support),
            ("get of what is not there", missing),
        ],
    },
];

/// A time of a file: 2017-07-14 02:40:00 UTC.
const THEN: u64 = 1_500_000_000;

/// A row: the outcome of each trial, in order, then what only this program has.
pub(crate) struct Row {
    pub(crate) cells: Vec<(&'static str, Outcome)>,
    pub(crate) specials: Vec<(&'static str, Outcome)>,
}

/// Tries everything. Panics, at the end, with all that went wrong. `TACDROP_MATRIX_ONLY=rename,0
/// bytes` tries only what has such words in its name, for people who write a program's commands.
pub(crate) fn row(client: &dyn Client) -> Row {
    let ground = Ground::open();
    let only = std::env::var("TACDROP_MATRIX_ONLY").ok();
    let wanted = |name: &str| only.as_ref().is_none_or(|only| only.split(',').any(|word| name.contains(word)));
    if only.is_none() {
        ground.begin_many();
    }
    let (mut cells, mut wrong) = (Vec::new(), Vec::new());
    for (name, trial) in THEMES.iter().flat_map(|theme| theme.trials).filter(|(name, _)| wanted(name)) {
        let started = std::time::Instant::now();
        match catch_unwind(AssertUnwindSafe(|| trial(client, &ground))) {
            Ok(Ok(outcome)) => {
                note(&format!("{} | {name} | {:.1} s | {outcome:?}", client.name(), started.elapsed().as_secs_f32()));
                cells.push((*name, outcome));
            }
            Ok(Err(why)) => wrong.push(format!("{name}: {why}")),
            Err(panic) => wrong.push(format!("{name}: {}", said_by(&*panic))),
        }
    }
    let specials =
        catch_unwind(AssertUnwindSafe(|| if wanted("special") { client.specials(&ground) } else { Vec::new() }));
    let specials = specials.unwrap_or_else(|panic| {
        wrong.push(format!("special: {}", said_by(&*panic)));
        Vec::new()
    });
    for (what, outcome) in &specials {
        note(&format!("{} | {what} | {outcome:?}", client.name()));
    }
    assert!(wrong.is_empty(), "{}: {} trials went wrong\n\n{}\n", client.name(), wrong.len(), wrong.join("\n\n"));
    assert!(only.is_none(), "TACDROP_MATRIX_ONLY is set, so this is no row: {:#?}", (&cells, &specials));
    Row { cells, specials }
}

fn said_by(panic: &(dyn std::any::Any + Send)) -> &str {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    said.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}

#[expect(clippy::print_stderr, reason = "shown when a test fails, and with --nocapture")]
fn note(line: &str) {
    eprintln!("{line}");
}

/// What became of what a program did. Where it reports success, `check` says whether that is true.
pub(crate) fn judge(
    client: &dyn Client,
    ground: &Ground,
    did: Did,
    check: impl FnOnce(&Finished) -> Result<(), String>,
) -> Result<Outcome, String> {
    match did {
        Did::Not(why) => Ok(Outcome::NotOffered(why)),
        Did::Ran(said) if client.failed(&said) => {
            Ok(Outcome::Refused { code: said.code(), words: ground.normalised(&client.words(&said)) })
        }
        Did::Ran(said) => match check(&said) {
            Ok(()) => Ok(Outcome::Works),
            Err(why) => Err(format!("it reports success, but {why}\n{said}")),
        },
    }
}

/// Of something that must be judged: panics with what was wrong.
#[track_caller]
pub(crate) fn sure(judged: Result<Outcome, String>) -> Outcome {
    judged.unwrap_or_else(|why| panic!("{why}"))
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Whether the server has these bytes under this name (bytes, `/` between directories).
pub(crate) fn arrived(ground: &Ground, source: &Path, name: &[u8]) -> Result<(), String> {
    let digest = sha256(source);
    let found = ground.house.artifacts(&ground.ticket);
    let mut same = found.iter().filter(|artifact| artifact["sha256"] == *digest && artifact["state"] == "available");
    ensure(same.any(|artifact| path_of(artifact) == name), || {
        format!("{:?} with digest {digest} is not there, but {found:#?}", String::from_utf8_lossy(name))
    })
}

/// Whether two files are the same.
pub(crate) fn same(a: &Path, b: &Path) -> Result<(), String> {
    let compared = Run::new("cmp").arg(a).arg(b).finish();
    ensure(compared.code() == Some(0), || format!("what was fetched is not what was sent: {compared}"))
}

/// Lays a file into the ticket by other means than the program.
pub(crate) fn lay(ground: &Ground, source: &Path, name: &str) {
    ground.house.put(&ground.ticket, source, name);
}

fn put_in(client: &dyn Client, ground: &Ground, at: &At<'_>, name: &str, seed: u64) -> Result<Outcome, String> {
    let source = ground.file(name, 70_000, seed);
    judge(client, ground, client.put(at, name.as_ref(), name.as_ref()), |_| arrived(ground, &source, name.as_bytes()))
}

fn by_token(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    put_in(client, ground, &ground.customer(&ground.ticket), "token.bin", 1)
}

fn by_key(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    let source = ground.file("fix.bin", 70_000, 2);
    let (remote, at) = ("XT-4711/from-support/fix.bin", ground.engineer());
    let put = client.put(&at, "fix.bin".as_ref(), remote.as_ref());
    let put = judge(client, ground, put, |_| arrived(ground, &source, b"from-support/fix.bin"))?;
    if put != Outcome::Works {
        return Ok(put);
    }
    judge(client, ground, client.get(&at, remote.as_ref(), "fix.back".as_ref()), |_| {
        same(&source, &ground.work().join("fix.back"))
    })
}

/// A login whose first credential is wrong. It must be one connection, and a wrong password must
/// have been refused.
fn twice(client: &dyn Client, ground: &Ground, name: &str, with: With, seed: u64) -> Result<Outcome, String> {
    let source = ground.file(name, 1000, seed);
    let count = |what: &str| ground.house.log().matches(what).count();
    let (opened, failed) = (count("connection opened"), count("login failed"));
    let is_password = matches!(with, With::WrongThenToken(_));
    let did = client.log_in(&ground.with(&ground.ticket, with), name.as_ref(), name.as_ref());
    judge(client, ground, did, |_| {
        arrived(ground, &source, name.as_bytes())?;
        ensure(count("connection opened") == opened + 1, || "it took more than one connection".to_owned())?;
        ensure(!is_password || count("login failed") == failed + 1, || "no wrong password was refused".to_owned())
    })
}

fn wrong_password(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    ground.file("wrong.bin", 10, 14);
    let at = ground.with(&ground.ticket, With::Token("mistyped".to_owned()));
    judge(client, ground, client.put(&at, "wrong.bin".as_ref(), "wrong.bin".as_ref()), |_| {
        Err("a wrong password let it in".to_owned())
    })
}

fn up(client: &dyn Client, ground: &Ground, name: &str, size: u64, seed: u64) -> Result<Outcome, String> {
    let source = ground.file(name, size, seed);
    let did = client.put(&ground.customer(&ground.ticket), name.as_ref(), name.as_ref());
    judge(client, ground, did, |_| arrived(ground, &source, name.as_bytes()))
}

fn down(client: &dyn Client, ground: &Ground, name: &str, size: u64, seed: u64) -> Result<Outcome, String> {
    let source = ground.file(name, size, seed);
    lay(ground, &source, name);
    let did = client.get(&ground.customer(&ground.ticket), name.as_ref(), "got.bin".as_ref());
    judge(client, ground, did, |_| same(&source, &ground.work().join("got.bin")))
}

/// Cuts the program's own upload in the middle, and has it go on. What it sends then must be less
/// than the whole.
fn resume_up(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    if let Err(why) = client.resumes() {
        return Ok(Outcome::NotOffered(why));
    }
    let (name, size) = ("resumed-up.bin", 24 * MIB);
    let source = ground.file(name, size, 41);
    let relay = Relay::to(ground.house.port());
    let mut at = ground.customer(&ground.ticket);
    at.port = relay.port();
    let sends_the_rest = |before: u64| {
        arrived(ground, &source, name.as_bytes())?;
        let sent = relay.sent() - before;
        ensure(sent < size - 3 * MIB, || format!("it sent {sent} of {size} bytes again"))
    };
    relay.next(Fate::Reset(16 * MIB));
    let Did::Ran(cut) = client.put(&at, name.as_ref(), name.as_ref()) else {
        return Err("it cannot put".to_owned());
    };
    if relay.met() == 0 {
        return match client.resume_put(&at, name.as_ref(), name.as_ref()) {
            Did::Not(why) => Ok(Outcome::NotOffered(why)),
            Did::Ran(_) => Err(format!("the upload was to be cut: {cut}")),
        };
    }
    if !client.failed(&cut) {
        // It goes on by itself, so somebody else's upload is cut for what a person asks for.
        sends_the_rest(16 * MIB)?;
        ground.house.tacdrop(["artifact", "shred", "XT-4711", name, "--yes"]).ok();
        relay.next(Fate::Reset(16 * MIB));
        let put = format!("put {name}");
        let cut = ground.house.as_customer(&ground.ticket).through(relay.port()).sftp(&put).finish();
        ensure(cut.code() != Some(0), || format!("the upload was to be cut: {cut}"))?;
    }
    eventually("an unfinished upload", || {
        let artifact = ground.house.artifact(&ground.ticket, name)?;
        (artifact["state"] == "receiving" && artifact["size"].as_u64()? > 4 * MIB).then_some(())
    });
    let before = relay.sent();
    judge(client, ground, client.resume_put(&at, name.as_ref(), name.as_ref()), |_| sends_the_rest(before))
}

/// The first bytes of what was fetched already are not those of the file: they must still stand
/// there at the end.
fn resume_down(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    let (name, local, size) = ("resumed-down.bin", "resumed-down.part", 8 * MIB);
    let source = ground.file(name, size, 42);
    lay(ground, &source, name);
    let marked = |until: u64| {
        let mut bytes = fs::read(&source).unwrap();
        bytes.truncate(usize::try_from(until).unwrap());
        bytes[..6].copy_from_slice(b"MARKED");
        bytes
    };
    let (part, wanted) = (ground.work().join(local), ground.work().join("resumed-down.wanted"));
    fs::write(&part, marked(size / 2)).unwrap();
    fs::write(&wanted, marked(size)).unwrap();
    let did = client.resume_get(&ground.customer(&ground.ticket), name.as_ref(), local.as_ref());
    judge(client, ground, did, |_| same(&wanted, &part))
}

fn rename(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    let source = ground.file("old name.bin", 1000, 43);
    lay(ground, &source, "old name.bin");
    let at = ground.customer(&ground.ticket);
    judge(client, ground, client.rename(&at, "old name.bin".as_ref(), "new name.bin".as_ref()), |_| {
        arrived(ground, &source, b"new name.bin")?;
        let gone = ground.house.artifact(&ground.ticket, "old name.bin").is_none();
        ensure(gone, || "the old name is still there".to_owned())
    })
}

fn delete(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    let source = ground.file("unwanted.bin", 1000, 44);
    lay(ground, &source, "unwanted.bin");
    let did = client.delete(&ground.customer(&ground.ticket), "unwanted.bin".as_ref());
    judge(client, ground, did, |_| {
        ensure(ground.available(&sha256(&source)).is_none(), || "the file is still there".to_owned())
    })
}

pub(crate) fn set_time(path: &Path) -> SystemTime {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(THEN);
    File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(then)).unwrap();
    then
}

pub(crate) fn has_time(path: &Path, then: SystemTime) -> Result<(), String> {
    let found = fs::metadata(path).unwrap().modified().unwrap();
    ensure(found == then, || format!("the time is {found:?} instead of {then:?}"))
}

fn times_up(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    let source = ground.file("timed-up.bin", 1000, 45);
    let then = set_time(&source);
    let at = ground.customer(&ground.ticket);
    judge(client, ground, client.put_with_time(&at, "timed-up.bin".as_ref(), "timed-up.bin".as_ref()), |_| {
        arrived(ground, &source, b"timed-up.bin")?;
        ground.house.customer(&ground.ticket, "get -p timed-up.bin timed-up.back").ok();
        has_time(&ground.work().join("timed-up.back"), then)
    })
}

fn times_down(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    let source = ground.file("timed-down.bin", 1000, 46);
    let then = set_time(&source);
    ground.house.customer(&ground.ticket, "put -p timed-down.bin").ok();
    let at = ground.customer(&ground.ticket);
    judge(client, ground, client.get_with_time(&at, "timed-down.bin".as_ref(), "timed-down.back".as_ref()), |_| {
        same(&source, &ground.work().join("timed-down.back"))?;
        has_time(&ground.work().join("timed-down.back"), then)
    })
}

/// A tree with a file in each of three levels, in the working directory.
pub(crate) fn tree(ground: &Ground, name: &str, seed: u64) -> Vec<String> {
    let files = ["one.bin", "sub/two words.bin", "sub/deep/Größe.bin"].map(|file| format!("{name}/{file}"));
    fs::create_dir_all(ground.work().join(name).join("sub/deep")).unwrap();
    for (number, file) in files.iter().enumerate() {
        ground.file(file, 50_000 * number as u64 + 7, seed + number as u64);
    }
    files.to_vec()
}

fn tree_up(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    let files = tree(ground, "tree-up", 51);
    let did = client.put_tree(&ground.customer(&ground.ticket), "tree-up".as_ref(), "tree-up".as_ref());
    judge(client, ground, did, |_| {
        files.iter().try_for_each(|file| arrived(ground, &ground.work().join(file), file.as_bytes()))
    })
}

fn tree_down(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    let files = tree(ground, "tree-down", 55);
    ground.house.customer(&ground.ticket, "put -r tree-down").ok();
    let back = ground.work().join("tree-back");
    fs::create_dir(&back).unwrap();
    let did = client.get_tree(&ground.customer(&ground.ticket), "tree-down".as_ref(), "tree-back".as_ref());
    judge(client, ground, did, |_| tree_came(ground, &files, "tree-down", &back))
}

/// Whether all files of a tree, and no others, lie in `back`, directly or below the tree's own
/// name.
pub(crate) fn tree_came(ground: &Ground, files: &[String], name: &str, back: &Path) -> Result<(), String> {
    let root = if back.join(name).is_dir() { back.join(name) } else { back.to_owned() };
    for file in files {
        same(&ground.work().join(file), &root.join(file.split_once('/').unwrap().1))?;
    }
    let came = all_files(back).len();
    ensure(came == files.len(), || format!("{came} files came instead of {}", files.len()))
}

fn list_many(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    judge(client, ground, client.list(&ground.many(), "many".as_ref()), |said| {
        let text = said.out();
        let mut names: Vec<_> =
            text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| is_one_of_many(word)).collect();
        names.sort_unstable();
        names.dedup();
        ensure(names.len() == MANY, || format!("{} names are listed", names.len()))
    })
}

fn is_one_of_many(word: &str) -> bool {
    word.len() == 6 && word.starts_with('f') && word[1..].bytes().all(|byte| byte.is_ascii_digit())
}

fn room(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    judge(client, ground, client.room(&ground.customer(&ground.ticket)), |said| {
        ensure(said.out().bytes().any(|byte| byte.is_ascii_digit()), || "no number is shown".to_owned())
    })
}

/// Up under this name and down again. The server keeps the name's bytes.
fn named(client: &dyn Client, ground: &Ground, name: &[u8], seed: u64) -> Result<Outcome, String> {
    let name = OsString::from_vec(name.to_vec());
    let source = ground.file(&name, 1000, seed);
    let at = ground.customer(&ground.ticket);
    let put = judge(client, ground, client.put(&at, &name, &name), |_| arrived(ground, &source, name.as_bytes()))?;
    if put != Outcome::Works {
        let left = ground.available(&sha256(&source));
        return if left.is_none() { Ok(put) } else { Err(format!("it reports {put:?}, and {left:?} is there")) };
    }
    // Below a directory, so that the name itself is used on both sides.
    let away = ground.work().join(format!("names-{seed}"));
    fs::create_dir(&away).unwrap();
    let local = Path::new(&format!("names-{seed}")).join(&name);
    judge(client, ground, client.get(&at, &name, local.as_os_str()), |_| same(&source, &away.join(&name)))
}

fn both_ways(client: &dyn Client, ground: &Ground, name: &str, size: u64) -> Result<Outcome, String> {
    let source = ground.file(name, size, 61);
    both(client, ground, &source, name)
}

fn both(client: &dyn Client, ground: &Ground, source: &Path, name: &str) -> Result<Outcome, String> {
    let at = ground.customer(&ground.ticket);
    let put = judge(client, ground, client.put(&at, name.as_ref(), name.as_ref()), |_| {
        arrived(ground, source, name.as_bytes())
    })?;
    if put != Outcome::Works {
        return Ok(put);
    }
    let back = ground.work().join(format!("{name}.back"));
    judge(client, ground, client.get(&at, name.as_ref(), back.file_name().unwrap()), |_| same(source, &back))
}

fn large_up(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    let source = ground.large_file("large-up.bin");
    let did = client.put(&ground.customer(&ground.ticket), "large-up.bin".as_ref(), "large-up.bin".as_ref());
    judge(client, ground, did, |_| arrived(ground, &source, b"large-up.bin"))
}

fn large_down(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    let source = ground.large_file("large-down.bin");
    // What came up with the program is what it fetches; if it could not, somebody else lays it
    // there.
    let name = if ground.house.artifact(&ground.ticket, "large-up.bin").is_some() {
        "large-up.bin"
    } else {
        lay(ground, &source, "large-down.bin");
        "large-down.bin"
    };
    let did = client.get(&ground.customer(&ground.ticket), name.as_ref(), "large.back".as_ref());
    let outcome = judge(client, ground, did, |_| same(&source, &ground.work().join("large.back")));
    let _ = fs::remove_file(ground.work().join("large.back"));
    outcome
}

/// With a server that agrees on new keys after every MiB.
fn r42_rekeyed(client: &dyn Client, _: &Ground) -> Result<Outcome, String> {
    let ground = Ground::with_settings(&[("LIMITS__REKEY_MIB", "1")]);
    let source = ground.file("rekeyed.bin", 20 * MIB, 62);
    both(client, &ground, &source, "rekeyed.bin")
}

/// A put that must be refused, and must leave nothing.
fn refused(client: &dyn Client, ground: &Ground, at: &At<'_>, local: &str, remote: &str) -> Result<Outcome, String> {
    let before = ground.house.artifacts(&ground.ticket).len() + ground.house.artifacts(&ground.closed).len();
    let outcome = judge(client, ground, client.put(at, local.as_ref(), remote.as_ref()), |_| {
        Err("it was to be refused".to_owned())
    })?;
    let after = ground.house.artifacts(&ground.ticket).len() + ground.house.artifacts(&ground.closed).len();
    ensure(before == after, || "something was left behind".to_owned())?;
    Ok(outcome)
}

fn closed(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    ground.file("late.bin", 1000, 71);
    refused(client, ground, &ground.customer(&ground.closed), "late.bin", "late.bin")
}

fn from_support(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    let source = ground.file("not-mine.bin", 1000, 72);
    // The directory is there once an engineer has put something into it.
    let from_anna =
        format!("put {} /XT-4711/from-support/from-anna.bin", source.file_name().unwrap().to_str().unwrap());
    ground.house.engineer_sftp("anna", &ground.key, &from_anna).ok();
    ground.file("mine.bin", 1000, 73);
    refused(client, ground, &ground.customer(&ground.ticket), "mine.bin", "from-support/mine.bin")
}

fn missing(client: &dyn Client, ground: &Ground) -> Result<Outcome, String> {
    let did = client.get(&ground.customer(&ground.ticket), "nothing.bin".as_ref(), "nothing.back".as_ref());
    let outcome = judge(client, ground, did, |_| Err("it was to be refused".to_owned()))?;
    // Some leave an empty file.
    let left = fs::metadata(ground.work().join("nothing.back")).map_or(0, |found| found.len());
    ensure(left == 0, || format!("{left} bytes came of it"))?;
    Ok(outcome)
}
