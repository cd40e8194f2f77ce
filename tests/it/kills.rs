//! R18: the server is killed again and again while four clients upload and a mail server takes the
//! notices.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::child::Job;
use crate::support::files::{random_file, sha256};
use crate::support::numbers::{Numbers, ask};
use crate::support::server::{House, Ticket};
use crate::support::sink::Sink;
use crate::support::within;

/// Kills that one house lives through; then a new one begins, so that checking everything after
/// each kill stays quick.
const LIFE: u64 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Sftp,
    Lftp,
    Rclone,
    Asyncssh,
}

const CLIENTS: [Client; 4] = [Client::Sftp, Client::Lftp, Client::Rclone, Client::Asyncssh];

/// One file that one client was to upload. No two have the same content.
struct Attempt {
    client: Client,
    path: String,
    /// Its name in the directory of work; gone once the upload was acknowledged.
    source: String,
    sha256: String,
    /// The client has said that it is there.
    acknowledged: bool,
    /// Given up: something else is sent under this name.
    superseded: bool,
}

/// What a client does in a round: a number among the attempts, and whether it continues.
struct Step {
    attempt: usize,
    continues: bool,
}

#[derive(Default)]
struct Totals {
    kills: u64,
    acknowledged: usize,
    lost: usize,
    notices_missing: usize,
    wrong_digests: usize,
    /// Kills in the middle of an upload that was continued afterwards.
    continued: usize,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, acknowledged, lost, notices_missing, wrong_digests, continued } = self;
        write!(
            f,
            "{kills} kills, {acknowledged} uploads acknowledged, lost {lost}, notices missing {notices_missing}, \
             wrong digests {wrong_digests} ({continued} uploads continued)"
        )
    }
}

/// A house that is killed.
struct Life<'a> {
    // Dropped first: its server has nobody to tell then.
    house: House,
    sink: Sink,
    ticket: Ticket,
    attempts: Vec<Attempt>,
    numbers: &'a mut Numbers,
    totals: &'a mut Totals,
    _work: TempDir,
}

impl<'a> Life<'a> {
    fn begin(numbers: &'a mut Numbers, totals: &'a mut Totals) -> Self {
        let work = tempfile::tempdir().unwrap();
        let mut sink = Sink::new(work.path());
        sink.start();
        // Notices at once, or a second after the last upload.
        let settle = numbers.below(2).to_string();
        let extent = ["1", "4", "32"][numbers.below(3) as usize];
        let (house, ticket, _) = sink
            .house()
            .set("NOTIFY__SETTLE_SECONDS", settle)
            .set("STORAGE__EXTENT_MIB", extent)
            .set("STORAGE__CHECKPOINT_SECONDS", "1")
            .set("LIMITS__UNAUTHENTICATED_PER_SOURCE", "64")
            .set("LIMITS__CONNECTIONS_PER_SOURCE", "64")
            .furnish();
        Self { house, sink, ticket, attempts: Vec::new(), numbers, totals, _work: work }
    }

    /// A new file for a path.
    fn attempt(&mut self, client: Client, path: String, size: u64) -> usize {
        let number = self.attempts.len();
        for older in self.attempts.iter_mut().filter(|older| older.path == path) {
            older.superseded = true;
        }
        let source = format!("source-{number}");
        let sha256 = sha256(&random_file(&self.house.work().join(&source), size, self.numbers.next()));
        self.attempts.push(Attempt { client, path, source, sha256, acknowledged: false, superseded: false });
        number
    }

    /// What a client does next: it continues what was cut, then sends new files and new contents of
    /// old ones, of all sizes.
    fn plan(&mut self, client: Client, round: u64) -> Vec<Step> {
        let listed: HashMap<String, Value> =
            self.house.artifacts(&self.ticket).into_iter().map(|line| (path_in(&line), line)).collect();
        let mut steps = Vec::new();
        let cut = (0..self.attempts.len()).filter(|number| {
            let attempt = &self.attempts[*number];
            attempt.client == client && !attempt.acknowledged && !attempt.superseded
        });
        for attempt in cut.collect::<Vec<_>>() {
            let Attempt { path, sha256, .. } = &self.attempts[attempt];
            match listed.get(path) {
                // The answer was lost, not the file: there is nothing to continue.
                Some(line) if line["sha256"] == **sha256 => self.attempts[attempt].superseded = true,
                Some(line) if line["state"] == "receiving" => {
                    self.totals.continued += 1;
                    steps.push(Step { attempt, continues: client != Client::Rclone });
                }
                // Never begun, or a new content of an old name: that is sent from its start.
                _ => steps.push(Step { attempt, continues: false }),
            }
        }
        let mine: Vec<String> = self
            .attempts
            .iter()
            .filter(|one| one.client == client && one.acknowledged)
            .map(|one| one.path.clone())
            .collect();
        for number in 0..6 {
            let size = match self.numbers.below(8) {
                0..4 => 16 + self.numbers.below(80_000),
                4..7 => 16 + self.numbers.below(2_000_000),
                _ => 4_000_000 + self.numbers.below(12_000_000),
            };
            let path = match mine.is_empty() || self.numbers.below(3) > 0 {
                true => format!("kill-canary-{client:?}-{round}-{number}"),
                false => mine[self.numbers.below(mine.len() as u64) as usize].clone(),
            };
            let taken = |step: &Step| self.attempts[step.attempt].path == path;
            if !steps.iter().any(taken) {
                let attempt = self.attempt(client, path, size);
                steps.push(Step { attempt, continues: false });
            }
        }
        steps
    }

    fn start(&self, client: Client, steps: &[Step], round: u64) -> Job {
        let customer = self.house.as_customer(&self.ticket);
        let lines = |format: &dyn Fn(&Attempt, bool) -> String, between: &str| {
            let all: Vec<_> = steps.iter().map(|step| format(&self.attempts[step.attempt], step.continues)).collect();
            all.join(between)
        };
        let run = match client {
            Client::Sftp => {
                let line = |one: &Attempt, continues: bool| {
                    format!("{} {} {}", if continues { "reput" } else { "put" }, one.source, one.path)
                };
                customer.sftp(&lines(&line, "\n"))
            }
            Client::Lftp => {
                let line = |one: &Attempt, continues: bool| {
                    let option = if continues { "-c " } else { "" };
                    format!("put {option}{} -o {}; echo acked {}", one.source, one.path, one.path)
                };
                customer.lftp(&lines(&line, "; "))
            }
            Client::Rclone => {
                let tree = self.house.work().join(format!("tree-{round}"));
                fs::create_dir(&tree).unwrap();
                for step in steps {
                    let one = &self.attempts[step.attempt];
                    fs::hard_link(self.house.work().join(&one.source), tree.join(&one.path)).unwrap();
                }
                customer
                    .rclone()
                    .args(["copy", "-v", "--stats", "0", "--ignore-times", "--transfers", "3"])
                    .arg(tree)
                    .arg(":sftp:")
            }
            Client::Asyncssh => {
                let words = steps.iter().flat_map(|step| {
                    let one = &self.attempts[step.attempt];
                    [if step.continues { "resume" } else { "put" }, &one.source, &one.path]
                });
                customer.asyncssh(["several"].into_iter().chain(words))
            }
        };
        run.start()
    }

    /// Four clients, a kill at a random moment of theirs, a restart, and everything is held to what
    /// was said.
    fn round(&mut self, round: u64, thoroughly: bool) {
        let plans: Vec<_> = CLIENTS.iter().map(|client| (*client, self.plan(*client, round))).collect();
        let mut jobs: Vec<_> =
            plans.into_iter().map(|(client, steps)| (client, self.start(client, &steps, round), steps)).collect();
        let moment = self.numbers.below(18) as usize;
        let begun = Instant::now();
        // Whoever waits for a moment that does not come kills the server anyway.
        while begun.elapsed() < Duration::from_secs(20) && jobs.iter_mut().any(|(_, job, _)| !job.has_ended()) {
            let said: usize = jobs
                .iter()
                .map(|(client, job, _)| said_acknowledged(*client, &job.stdout(), &job.stderr()).count())
                .sum();
            if said >= moment {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(self.numbers.below(250)));
        self.house.kill();
        self.totals.kills += 1;
        for (client, mut job, steps) in jobs {
            // Most end by themselves; one that would try again must not do so behind the restart.
            let end = Instant::now() + Duration::from_millis(300);
            while !job.has_ended() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
            let ended_well = job.has_ended();
            if !ended_well {
                job.kill();
            }
            let said = job.finish();
            self.hear(client, &steps, &said.out(), &said.err(), ended_well && said.code() == Some(0));
        }
        self.house.start();
        self.check(thoroughly);
        for attempt in self.attempts.iter().filter(|attempt| attempt.acknowledged || attempt.superseded) {
            let _ = fs::remove_file(self.house.work().join(&attempt.source));
        }
        let _ = fs::remove_dir_all(self.house.work().join(format!("tree-{round}")));
    }

    /// Takes down what a client has been told.
    fn hear(&mut self, client: Client, steps: &[Step], out: &str, err: &str, everything: bool) {
        let paths: HashSet<String> = said_acknowledged(client, out, err).collect();
        for step in steps {
            let attempt = &mut self.attempts[step.attempt];
            if everything || paths.contains(&attempt.path) {
                attempt.acknowledged = true;
                self.totals.acknowledged += 1;
            }
        }
    }

    fn check(&mut self, thoroughly: bool) {
        // Every upload that was acknowledged is a version that is available, and no other content
        // is.
        let versions = self.house.records("versions");
        let available: HashMap<&str, (&str, &str)> = versions
            .iter()
            .filter(|row| row[2] == "available")
            .map(|row| (row[3].as_str(), (row[0].as_str(), row[1].as_str())))
            .collect();
        let known: HashSet<&str> = self.attempts.iter().map(|attempt| attempt.sha256.as_str()).collect();
        let wrong: Vec<_> = available.keys().filter(|digest| !known.contains(*digest)).collect();
        let acknowledged: Vec<_> = self.attempts.iter().filter(|attempt| attempt.acknowledged).collect();
        let lost: Vec<_> = acknowledged.iter().filter(|one| !available.contains_key(one.sha256.as_str())).collect();
        // Under its name lies the last one that was acknowledged, or one that was sent later.
        let list = self.house.artifacts(&self.ticket);
        let mut current = Vec::new();
        let mut elsewhere = 0;
        for line in &list {
            let path = path_in(line);
            let sent: Vec<_> = self.attempts.iter().filter(|one| one.path == path).collect();
            let Some(last) = sent.iter().rposition(|one| one.acknowledged) else { continue };
            match sent[last..].iter().find(|one| line["sha256"] == *one.sha256) {
                Some(one) => current.push((path, one.sha256.clone())),
                None => elsewhere += 1,
            }
        }
        let missing = |house: &House| {
            let told: HashSet<(String, String)> = house
                .notices()
                .iter()
                .filter(|notice| notice["state"] == "delivered" && self.has_mail(notice))
                .flat_map(|notice| notice["artifacts"].as_array().unwrap().clone())
                .map(|told| (told["id"].as_str().unwrap().to_owned(), told["version"].to_string()))
                .collect();
            available.values().filter(|(id, number)| !told.contains(&((*id).to_owned(), (*number).to_owned()))).count()
        };
        // They come a moment after the restart; the last look counts.
        let end = Instant::now() + Duration::from_secs(60);
        let mut notices_missing = missing(&self.house);
        while notices_missing > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(100));
            notices_missing = missing(&self.house);
        }
        let failed = !wrong.is_empty() || !lost.is_empty() || elsewhere > 0 || notices_missing > 0;
        let what = format!(
            "lost {:?}, wrong {wrong:?}, {elsewhere} names hold something older, {notices_missing} notices are missing",
            lost.iter().map(|one| (&one.path, &one.sha256)).collect::<Vec<_>>()
        );
        self.totals.lost += lost.len() + elsewhere;
        self.totals.wrong_digests += wrong.len();
        self.totals.notices_missing += notices_missing;
        assert!(!failed, "after {}: {what}\n{list:#?}", self.totals);
        if thoroughly {
            let current: Vec<_> =
                current.iter().map(|(path, sha)| (&self.ticket, path.as_str(), sha.clone())).collect();
            self.house.check_invariants(&current, &[b"kill-canary-"]);
        }
    }

    /// Whether the mail server holds what is said to be delivered.
    fn has_mail(&self, notice: &Value) -> bool {
        let id = format!("<{}@", notice["id"].as_str().unwrap());
        self.sink.mails().iter().any(|mail| mail.header("message-id").is_some_and(|known| known.starts_with(&id)))
    }
}

fn path_in(line: &Value) -> String {
    line["path"].as_str().unwrap().trim_start_matches('/').to_owned()
}

/// The paths that a client says are there.
fn said_acknowledged<'a>(client: Client, out: &'a str, err: &'a str) -> Box<dyn Iterator<Item = String> + 'a> {
    // Only whole lines: the rest of one may be on its way.
    let whole = |text: &'a str| text.rfind('\n').map_or("", |end| &text[..end]).lines();
    match client {
        // It says what it begins: whatever it began before that is there.
        Client::Sftp => {
            let begun: Vec<_> = whole(out).filter_map(|line| line.strip_prefix("sftp> ")?.split(' ').nth(2)).collect();
            let done = begun.len().saturating_sub(1);
            Box::new(begun.into_iter().take(done).map(str::to_owned))
        }
        Client::Lftp | Client::Asyncssh => {
            Box::new(whole(out).filter_map(|line| line.strip_prefix("acked ")).map(str::to_owned))
        }
        Client::Rclone => Box::new(whole(err).filter_map(|line| {
            let (_, rest) = line.split_once(" : ")?;
            let (path, what) = rest.split_once(": ")?;
            what.starts_with("Copied (").then(|| path.to_owned())
        })),
    }
}

fn kill_loop(kills: u64, mut numbers: Numbers, every: u64) -> Totals {
    let mut totals = Totals::default();
    let mut round = 0;
    while round < kills {
        let mut life = Life::begin(&mut numbers, &mut totals);
        let end = kills.min(round + LIFE);
        while round < end {
            round += 1;
            life.round(round, round.is_multiple_of(every) || round == end);
        }
        // What every client cut last is completed when nobody kills the server any more.
        for client in CLIENTS {
            let steps = life.plan(client, round + 1);
            let mut job = life.start(client, &steps, round + 1);
            within(Duration::from_secs(120), "the last uploads", || job.has_ended().then_some(()));
            let said = job.finish().ok();
            life.hear(client, &steps, &said.out(), &said.err(), true);
            let _ = fs::remove_dir_all(life.house.work().join(format!("tree-{}", round + 1)));
        }
        life.check(true);
    }
    totals
}

#[test]
fn r18_r24_nothing_is_lost_in_twenty_kills() {
    let totals = kill_loop(20, Numbers::seeded(18), 4);
    assert!(totals.acknowledged > 60, "most kills came too early to prove anything: {totals}");
    assert!(totals.continued > 0, "no upload was cut: {totals}");
}

/// `tests/run kill-loop N`: the invariants after each of N kills.
#[test]
#[ignore = "long: tests/run kill-loop N"]
#[expect(clippy::print_stdout, reason = "its answer")]
fn on_demand_kill_loop() {
    let numbers = Numbers::from_clock();
    println!("seed {}", numbers.seed());
    println!("{}", kill_loop(ask("COUNT", 200), numbers, 1));
}
