//! What others rely on, as files: the answer of each command to `--json`, the kinds of audit
//! events, the metrics, and the schema of the records. A change of any of them shows as a changed
//! file in `tests/data/golden/`.
//!
//! After a change on purpose, `TACDROP_WRITE_GOLDEN=1 cargo test --test it golden::` writes the
//! files anew.

mod desk;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::child::{Finished, Run};
use crate::support::files::{all_files, show_tech};
use crate::support::server::House;
use crate::support::sink::Sink;
use crate::support::{binary, eventually, python, repository, script};

const REWRITE: &str = "TACDROP_WRITE_GOLDEN";

/// Compares the files of a directory below `tests/data/golden` with what they should hold, or
/// writes them.
fn compare(directory: &str, files: &BTreeMap<String, String>) {
    let place = repository().join("tests/data/golden").join(directory);
    if std::env::var_os(REWRITE).is_some() {
        fs::create_dir_all(&place).unwrap();
        for path in all_files(&place) {
            fs::remove_file(path).unwrap();
        }
        for (name, text) in files {
            fs::write(place.join(name), text).unwrap();
        }
        return;
    }
    let there: BTreeMap<String, String> = all_files(&place)
        .into_iter()
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap()))
        .collect();
    let names: BTreeSet<_> = there.keys().chain(files.keys()).collect();
    let mut differences = String::new();
    for name in names {
        let (old, new) = (there.get(name).map_or("", String::as_str), files.get(name).map_or("", String::as_str));
        if old != new {
            writeln!(differences, "{directory}/{name}:\n{}", difference(old, new)).unwrap();
        }
    }
    assert!(
        differences.is_empty(),
        "others rely on this (- is what they know, + is what they get now):\n{differences}\
         If that is on purpose, {REWRITE}=1 writes the files anew; CHANGELOG.md tells operators."
    );
}

/// The lines that are only in the one text or only in the other.
fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let same = |a: &&str, b: &&str| a == b;
    let front = old.iter().zip(&new).take_while(|(a, b)| same(a, b)).count();
    let rest = (old.len().min(new.len())) - front;
    let back = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| same(a, b)).count();
    let gone = old[front..old.len() - back].iter().map(|line| format!("  - {line}\n"));
    let come = new[front..new.len() - back].iter().map(|line| format!("  + {line}\n"));
    format!("  line {}\n{}", front + 1, gone.chain(come).collect::<String>())
}

/// The commands that `--help` names, down to those that have none below them.
fn commands() -> BTreeSet<String> {
    fn below(words: &[String], found: &mut BTreeSet<String>) {
        let help = Run::new(binary()).args(words).arg("--help").finish().ok().out();
        let names: Vec<_> = help
            .lines()
            .skip_while(|line| *line != "Commands:")
            .skip(1)
            .take_while(|line| line.starts_with("  "))
            // What an entry says goes on further to the right.
            .filter(|line| !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help")
            .collect();
        // 'ticket token' does something itself as well.
        let takes_something = help.lines().any(|line| line.starts_with("Usage:") && line.contains("<REF>"));
        if names.is_empty() || takes_something {
            found.insert(words.join(" "));
        }
        for name in names {
            below(&[words, &[name.to_owned()]].concat(), found);
        }
    }
    let mut found = BTreeSet::new();
    below(&[], &mut found);
    assert!(found.len() > 30, "only {} commands: {found:?}", found.len());
    found
}

/// The keys of numbers that are another one in each run.
const NUMBERS: [&str; 17] = [
    "port",
    "seq",
    "bytes",
    "objects",
    "entries",
    "checkpoints",
    "signed",
    "sealed",
    "received",
    "trail_seq",
    "audit_entries",
    "upload_seconds",
    "mail_seconds",
    "download_seconds",
    "files_searched",
    "pid",
    "disk_free",
];

/// Texts that name what one run has and the next has not.
struct Words {
    root: String,
    tokens: Vec<String>,
}

impl Words {
    fn value(&self, key: &str, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                if fields.contains_key("check") {
                    // What a doctor finds is the machine's.
                    fields.insert("state".to_owned(), json!("<state>"));
                    fields.insert("detail".to_owned(), json!("<sentence>"));
                }
                fields.iter_mut().for_each(|(key, value)| self.value(key, value));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(key, item)),
            Value::Number(_) if NUMBERS.contains(&key) => *value = json!("<number>"),
            // The version that wrote a backup.
            Value::String(text) if key == "tacdrop" => *text = "<version>".to_owned(),
            Value::String(text) => *text = self.text(text),
            _ => {}
        }
    }

    /// A text with words in the place of directories, ports, times, ids, digests, keys, signatures
    /// and tokens.
    fn text(&self, text: &str) -> String {
        let mut text = text.replace(&self.root, "<root>");
        for token in &self.tokens {
            text = text.replace(token, "<token>");
        }
        let marks = ("-----BEGIN SSH SIGNATURE-----\n", "\n-----END SSH SIGNATURE-----");
        if let (Some(begin), Some(end)) = (text.find(marks.0), text.find(marks.1)) {
            text.replace_range(begin + marks.0.len()..end, "<signature>");
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-+/_=:.".contains(c);
        let (mut said, mut rest, mut before) = (String::new(), text.as_str(), "");
        while let Some(start) = rest.find(is_part) {
            let end = rest[start..].find(|c| !is_part(c)).map_or(rest.len(), |length| start + length);
            said += &rest[..start];
            said += &if ["-P", "remote-port"].contains(&before) {
                "<port>".to_owned()
            } else if ["seq", "Trail:"].contains(&before) {
                // How many entries there are is a matter of moments.
                "<number>".to_owned()
            } else {
                Self::word(&rest[start..end])
            };
            (before, rest) = (&rest[start..end], &rest[end..]);
        }
        said + rest
    }

    fn word(word: &str) -> String {
        let bare = word.trim_end_matches(['.', ':']);
        let behind = &word[bare.len()..];
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_like = |form: &str| {
            let same = |(c, d): (char, char)| c == d || (d == '0' && c.is_ascii_digit());
            bare.len() == form.len() && bare.chars().zip(form.chars()).all(same)
        };
        let named = if bare.parse::<jiff::Timestamp>().is_ok() || is_like("0000000000000") {
            "<time>".to_owned()
        } else if is_like("0000-00-00") {
            "<day>".to_owned()
        } else if is_like("00:00:00") {
            "<hour>".to_owned()
        } else if is_hex(bare) && bare.len() == 128 {
            "<signature>".to_owned()
        } else if bare.starts_with("AAAA") && bare.len() > 40 {
            "<public-key>".to_owned()
        } else if is_hex(bare) && bare.len() == 64 {
            "<digest>".to_owned()
        } else if is_hex(&bare.replace('-', ""))
            && (bare.len() == 32 || bare.split('-').map(str::len).eq([8, 4, 4, 4, 12]))
        {
            "<id>".to_owned()
        } else if bare.starts_with("SHA256:") && bare.len() == 50 {
            "SHA256:<fingerprint>".to_owned()
        } else if let Some((host, port)) = bare.rsplit_once(':')
            && host.ends_with("127.0.0.1")
            && is_digits(port.split('/').next().unwrap_or_default())
        {
            let way = port.split_once('/').map_or(String::new(), |(_, way)| format!("/{way}"));
            format!("{host}:<port>{way}")
        } else {
            bare.to_owned()
        };
        named + behind
    }
}

/// What a command has said: most say one value.
fn values(finished: &Finished) -> Vec<Value> {
    let out = finished.out();
    let values = serde_json::Deserializer::from_str(&out).into_iter();
    values.map(|value| value.unwrap_or_else(|error| panic!("no JSON ({error}): {finished}"))).collect()
}

/// What each command was asked and what it said.
struct Book {
    words: Words,
    commands: BTreeSet<String>,
    pages: BTreeMap<String, Vec<Value>>,
}

impl Book {
    fn new(house: &House) -> Self {
        let root = house.work().parent().unwrap().to_str().unwrap().to_owned();
        let words = Words { root, tokens: Vec::new() };
        Self { words, commands: commands(), pages: BTreeMap::new() }
    }

    /// Runs a command and keeps what it answers. A command may say that something is not well, and
    /// exit 1.
    fn ask(&mut self, house: &House, args: &[&str]) -> Value {
        let finished = house.command(args.iter().copied()).arg("--json").finish();
        self.keep(args, &finished);
        values(&finished).into_iter().next().unwrap_or(Value::Null)
    }

    /// The same with one that answers with a token: a secret that the file must not show, so that the
    /// word for it comes first.
    fn ask_secret(&mut self, house: &House, args: &[&str]) -> Value {
        let finished = house.command(args.iter().copied()).arg("--json").finish().ok();
        let answer = finished.json();
        self.words.tokens.push(answer["token"].as_str().unwrap().to_owned());
        self.keep(args, &finished);
        answer
    }

    fn keep(&mut self, args: &[&str], finished: &Finished) {
        let mut lines = values(finished);
        assert!(!lines.is_empty() || finished.code() == Some(1), "nothing was said: {finished}");
        self.write(args, finished.code(), &mut lines);
    }

    fn write(&mut self, args: &[&str], code: Option<i32>, lines: &mut [Value]) {
        let command =
            (1..=args.len()).rev().map(|words| args[..words].join(" ")).find(|name| self.commands.contains(name));
        let command = command.unwrap_or_else(|| panic!("--help names no command for {args:?}"));
        for line in lines.iter_mut() {
            self.words.value("", line);
        }
        let asked = self.words.text(&args.join(" "));
        let said = if let [one] = lines { one.clone() } else { json!(lines) };
        // A doctor's code is the machine's, too.
        let code = code.filter(|_| command != "doctor");
        let page = self.pages.entry(command).or_default();
        page.push(json!({ "asked": asked, "code": code, "said": said }));
    }

    /// Compares it, when it speaks of every command.
    fn close(self) {
        // What these write is no answer, and made of the tree of commands.
        let told: BTreeSet<_> =
            self.pages.keys().cloned().chain(["completions", "manual"].map(str::to_owned)).collect();
        let untold: Vec<_> = self.commands.difference(&told).collect();
        assert!(untold.is_empty(), "no golden answer of {untold:?}: ask them in tests/it/golden.rs");
        let name = |command: &str| format!("{}.json", command.replace(' ', "-"));
        let text = |page: &Vec<Value>| serde_json::to_string_pretty(page).unwrap() + "\n";
        compare("json", &self.pages.iter().map(|(command, page)| (name(command), text(page))).collect());
    }
}

fn id(notices: &Value) -> String {
    notices[0]["id"].as_str().unwrap_or_else(|| panic!("no notice: {notices}")).to_owned()
}

/// Waits until the only notice of a ticket stands like this.
fn await_notice(house: &House, ticket: &str, state: &str) -> String {
    let list = || Some(house.json(["notice", "list", ticket])).filter(|list| list[0]["state"] == state);
    id(&eventually(&format!("a notice of {ticket} that is {state}"), list))
}

#[test]
fn each_command_answers_programs_as_before() {
    let work = tempfile::tempdir().unwrap();
    let mut sink = Sink::new(work.path());
    sink.start();
    let house = sink.house();
    let policy = house.work().join("policy.toml");
    let rules = "[retention.incident]\nstart = \"closed\"\nperiod = \"90d\"\n[checklist.incident]\n\
                 items = [{ id = \"serial\", required = true, en = \"the serial number\", de = \"die Seriennummer\" }]\n";
    fs::write(&policy, rules).unwrap();
    let mut house = house.set("POLICY__FILE", policy.to_str().unwrap());
    let mut book = Book::new(&house);
    let place = |name: &str| house.work().join(name).to_str().unwrap().to_owned();
    let [export, checkpoint, backup, got] = ["trail.jsonl", "checkpoint", "backup", "got"].map(place);

    // People, before a server runs.
    book.ask(&house, &["config", "check"]);
    book.ask(&house, &["config", "show"]);
    book.ask(&house, &["organisation", "add", "acme", "--name", "ACME Networks", "--contract", "C-1001"]);
    let keys = ["anna", "second"].map(|name| house.key(name).0.with_extension("pub"));
    let [key, second] = keys.each_ref().map(|path| path.to_str().unwrap());
    book.ask(&house, &["engineer", "add", "anna", "--email", "anna@support.example", "--key", key]);
    book.ask(&house, &["engineer", "key", "add", "anna", second]);
    book.ask(&house, &["engineer", "key", "remove", "anna", second]);
    book.ask(
        &house,
        &["engineer", "add", "bob", "--email", "bob@support.example", "--name", "Bob", "--language", "de"],
    );
    book.ask(&house, &["engineer", "add", "carl", "--email", "carl@support.example"]);
    book.ask(&house, &["engineer", "disable", "carl"]);
    book.ask(&house, &["organisation", "list"]);

    // Tickets, and what customers send.
    house.start();
    let open = |book: &mut Book, args: &[&str]| book.ask_secret(&house, args)["token"].as_str().unwrap().to_owned();
    let first = ["ticket", "open", "XT-1", "--organisation", "acme", "--engineer", "anna", "--title", "A title"];
    let ticket = |reference: &str, token: String| crate::support::server::Ticket {
        reference: reference.to_owned(),
        token,
        json: Value::Null,
    };
    let _ = open(&mut book, &first);
    let one = ticket("XT-1", open(&mut book, &["ticket", "token", "XT-1"]));
    let device = ["ticket", "open", "XT-2", "--organisation", "acme", "--engineer", "bob", "--device"];
    let two = ticket("XT-2", open(&mut book, &device));
    book.ask(&house, &["engineer", "set", "bob", "--email", "robert@support.example"]);
    book.ask(&house, &["engineer", "list"]);
    show_tech(&house.work().join("a.txt"), 5);
    house.customer(&one, "put a.txt\nput a.txt b.txt\nput a.txt b.txt").ok();
    await_notice(&house, "XT-1", "delivered");
    book.ask(&house, &["artifact", "list", "XT-1"]);
    book.ask(&house, &["artifact", "list", "--organisation", "acme", "--since", "1d", "--name", "*.txt"]);
    book.ask(&house, &["artifact", "list", "XT-1", "--versions"]);
    book.ask(&house, &["artifact", "get", "XT-1", "a.txt", "-o", &got]);
    book.ask(&house, &["receipt", "show", "XT-1", "a.txt"]);
    book.ask(&house, &["receipt", "key"]);
    book.ask(&house, &["artifact", "withdraw", "XT-1", "b.txt"]);
    book.ask(&house, &["artifact", "restore", "XT-1", "b.txt"]);
    book.ask(&house, &["artifact", "shred", "XT-1", "b.txt"]);
    book.ask(&house, &["artifact", "shred", "XT-1", "b.txt", "--version", "1", "--yes"]);
    book.ask(&house, &["artifact", "list", "XT-1", "--versions"]);
    book.ask(&house, &["notice", "list", "XT-1"]);

    // A notice that is refused for good.
    sink.refuse("RCPT 550 5.1.1 no such user");
    house.customer(&two, "put a.txt").ok();
    let notice = await_notice(&house, "XT-2", "failed");
    // A share with one file: the order is that of ids.
    book.ask(&house, &["artifact", "verify", "XT-2"]);
    book.ask(&house, &["notice", "list", "XT-2"]);
    book.ask(&house, &["notice", "retry", &notice]);
    await_notice(&house, "XT-2", "failed");
    book.ask(&house, &["notice", "readdress", &notice, "desk@support.example"]);
    await_notice(&house, "XT-2", "failed");
    book.ask(&house, &["notice", "dismiss", &notice]);

    book.ask(&house, &["ticket", "list"]);
    book.ask(&house, &["ticket", "show", "XT-1"]);
    book.ask(&house, &["ticket", "checklist", "XT-1"]);
    book.ask(&house, &["ticket", "checklist", "XT-1", "--tick", "serial"]);
    book.ask(&house, &["ticket", "assign", "XT-1", "bob"]);
    book.ask(&house, &["ticket", "close", "XT-1"]);
    book.ask(&house, &["ticket", "reopen", "XT-1"]);
    desk::ask(&mut book, &house);

    // The house itself.
    for kind in ["ticket.opened", "artifact.available", "version.shredded", "ticket.closed"] {
        book.ask(&house, &["audit", "list", "XT-1", "--kind", kind]);
    }
    book.ask(&house, &["audit", "export", "XT-1", "--kind", "ticket.opened", "-o", &export]);
    book.ask(&house, &["audit", "checkpoint", "-o", &checkpoint]);
    book.ask(&house, &["audit", "verify"]);
    book.ask(&house, &["audit", "verify", "--checkpoint", &checkpoint]);
    book.ask(&house, &["store", "check"]);
    book.ask(&house, &["store", "check", "--deep", "XT-1"]);
    book.ask(&house, &["store", "reattach"]);
    book.ask(&house, &["store", "reseal"]);
    book.ask(&house, &["store", "sweep", "--dry-run"]);
    book.ask(&house, &["store", "sweep"]);
    book.ask(&house, &["key", "rotate", "--share", "XT-1"]);
    book.ask(&house, &["key", "rotate"]);
    book.ask(&house, &["key", "status"]);
    book.ask(&house, &["backup", &backup]);
    book.ask(&house, &["doctor"]);
    endings(&mut book, &house);
    house.stop();

    others(&mut book, &house, Path::new(&backup));
    book.close();
}

/// How tickets end, and what is told of that afterwards.
fn endings(book: &mut Book, house: &House) {
    let artifact = house.json(["artifact", "list", "XT-1"])[0]["id"].as_str().unwrap().to_owned();
    book.ask(house, &["report", "access", "--artifact", &artifact]);
    let misfiled = house.json(["artifact", "list", "XT-2"])[0]["id"].as_str().unwrap().to_owned();
    book.ask(house, &["artifact", "move", &misfiled, "XT-3"]);
    book.ask(house, &["artifact", "move", &misfiled, "XT-3", "--yes"]);
    let moved = house.json(["artifact", "show", &misfiled])["current_id"].as_str().unwrap().to_owned();
    book.ask(house, &["artifact", "show", &misfiled]);
    book.ask_secret(house, &["ticket", "split", "XT-3", "XT-4", "--artifact", &moved]);
    book.ask(house, &["ticket", "merge", "XT-4", "XT-3"]);
    book.ask(house, &["ticket", "close", "XT-1", "--by", "contact"]);
    book.ask(house, &["ticket", "hold", "XT-1", "--reason", "a lawsuit"]);
    book.ask(house, &["ticket", "show", "XT-1"]);
    book.ask(house, &["retention", "plan"]);
    book.ask(house, &["ticket", "release", "XT-1"]);
    book.ask(house, &["retention", "run"]);
    book.ask(house, &["ticket", "shred", "XT-1", "--yes"]);
    book.ask(house, &["report", "deletions"]);
    book.ask(house, &["certificate", "show", "XT-1"]);
    book.ask(house, &["certificate", "key"]);
}

/// The commands that begin with a house of their own.
fn others(book: &mut Book, house: &House, backup: &Path) {
    let root = |other: &House| other.work().parent().unwrap().to_str().unwrap().to_owned();
    let keep = |book: &mut Book, other: &House, args: &[&str], run: Run| {
        let words = std::mem::replace(&mut book.words.root, root(other));
        let finished = run.arg("--json").finish().ok();
        book.keep(args, &finished);
        book.words.root = words;
    };
    let restored = House::new();
    let kek = house.data().join("keys/kek");
    let moved = root(&restored);
    // The same word for the directories of both houses.
    let link = PathBuf::from(&moved).join("backup");
    Run::new("cp").arg("-a").arg(backup).arg(&link).finish().ok();
    let copy = PathBuf::from(&moved).join("kek");
    fs::copy(&kek, &copy).unwrap();
    let args = ["restore", link.to_str().unwrap(), "--kek", copy.to_str().unwrap()];
    keep(book, &restored, &["restore", "<root>/backup", "--kek", "<root>/kek"], restored.command(args));

    let begun = House::new();
    keep(book, &begun, &["init"], begun.command(["init"]));

    let shown = House::new();
    let own = shown.work().join("show-tech.txt");
    show_tech(&own, 20);
    let args = ["demo", "--file", own.to_str().unwrap()];
    keep(book, &shown, &["demo", "--file", "<root>/work/show-tech.txt"], shown.command(args));

    let served = House::new();
    let mut job = served.command(["serve", "--json"]).env("TACDROP__SERVER__LISTEN", "127.0.0.1:0").start();
    let line = eventually("the line of 'serve --json'", || Some(job.stdout()).filter(|text| text.ends_with('\n')));
    job.kill();
    book.write(&["serve"], None, &mut [serde_json::from_str(&line).unwrap()]);
}

/// The first cells of the table of kinds; a unit test compares that table with the program's own
/// list.
#[test]
fn no_kind_of_audit_event_changes_its_name() {
    let page = fs::read_to_string(repository().join("docs/audit.md")).unwrap();
    let kinds: BTreeSet<_> = page
        .lines()
        .skip_while(|line| !line.starts_with("| kind |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').nth(1).unwrap().trim().trim_matches('`'))
        .collect();
    assert!(kinds.len() > 30, "{kinds:?}");
    let text = kinds.into_iter().fold(String::new(), |text, kind| text + kind + "\n");
    compare("audit", &BTreeMap::from([("kinds.txt".to_owned(), text)]));
}

/// Calls of these macros in the sources: what is counted, and by which labels.
#[test]
fn no_metric_changes_its_name_or_its_labels() {
    let mut metrics = BTreeSet::new();
    let mut described = BTreeSet::new();
    for path in ["src", "crates"].iter().flat_map(|place| all_files(&repository().join(place))) {
        let source = fs::read_to_string(&path).unwrap();
        // Tests have metrics of their own.
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for kind in ["counter", "gauge", "histogram"] {
            for (at, call) in source.match_indices(&format!("{kind}!(")) {
                let rest = &source[at + call.len()..];
                let mut depth = 1;
                let end = rest.find(|c| {
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    depth == 0
                });
                let call = &rest[..end.unwrap()];
                let name = call.split('"').nth(1).unwrap();
                assert!(name.starts_with("tacdrop_"), "{}: {name}", path.display());
                if source[..at].ends_with("describe_") {
                    described.insert(format!("{kind} {name}"));
                    continue;
                }
                let mut parts: Vec<_> = call.split("=>").collect();
                // What stands behind the last arrow is a value.
                parts.pop();
                let label = |part: &&str| part.trim_end().trim_end_matches('"').rsplit('"').next().unwrap().to_owned();
                let labels: Vec<_> = parts.iter().map(label).collect();
                metrics.insert((format!("{kind} {name}"), labels.join(" ")));
            }
        }
    }
    let names: BTreeSet<_> = metrics.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, described, "a metric is described (src/server/metrics.rs) as what it is");
    let lines = metrics.into_iter().map(|(name, labels)| format!("{name} {labels}").trim_end().to_owned() + "\n");
    compare("metrics", &BTreeMap::from([("names.txt".to_owned(), lines.collect())]));
}

#[test]
fn the_schema_of_new_records_is_as_before() {
    let house = House::new();
    house.tacdrop(["organisation", "add", "acme", "--name", "ACME"]).ok();
    let run = Run::new(python()).arg("-B").arg(script("records.py")).arg("schema").arg(house.data());
    compare("schema", &BTreeMap::from([("records.sql".to_owned(), run.finish().ok().out())]));
}

#[test]
fn words_stand_for_what_differs_and_for_nothing_else() {
    let words = Words { root: "/tmp/x".to_owned(), tokens: vec!["abcDEF1234567890".to_owned()] };
    let (digest, signature) = ("0f".repeat(32), "0f".repeat(64));
    let ended = "-----BEGIN SSH SIGNATURE-----\n<signature>\n-----END SSH SIGNATURE-----\n";
    for (text, said) in [
        ("/tmp/x/data/keys", "<root>/data/keys"),
        ("the token abcDEF1234567890!", "the token <token>!"),
        ("at 2026-11-30T15:00:00Z.", "at <time>."),
        ("2026-11-30T15:00:00.123Z", "<time>"),
        ("Received: 2026-11-30 15:23:14 UTC", "Received: <day> <hour> UTC"),
        ("at 1796052190105\nseq 36", "at <time>\nseq <number>"),
        (digest.as_str(), "<digest>"),
        (signature.as_str(), "<signature>"),
        ("scp -P 42441 /a remote-port 42441", "scp -P <port> /a remote-port <port>"),
        ("-----BEGIN SSH SIGNATURE-----\nab\ncd\n-----END SSH SIGNATURE-----\n", ended),
        ("0123456789abcdef0123456789abcdef", "<id>"),
        ("01234567-89ab-cdef-0123-456789abcdef", "<id>"),
        ("sftp://127.0.0.1:2222/XT-1/a.txt", "sftp://127.0.0.1:<port>/XT-1/a.txt"),
        ("127.0.0.1:2222", "127.0.0.1:<port>"),
        ("SHA256:uNiVztksCsDhcc0u9e8BrrQjx5IaY0EV1WQcQ8u5KmI", "SHA256:<fingerprint>"),
        ("2 of 3 files, version 1.2.3", "2 of 3 files, version 1.2.3"),
        ("XT-4711", "XT-4711"),
    ] {
        assert_eq!(words.text(text), said);
    }
    assert_eq!(difference("a\nb\nc", "a\nx\ny\nc"), "  line 2\n  - b\n  + x\n  + y\n");
}
