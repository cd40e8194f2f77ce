//! Names: which are taken, which are refused with which words, how they are listed and shown; and
//! very many of them.

use std::fs;
use std::time::Duration;

use crate::faults::{most_resident, resident};
use crate::support::child::Run;
use crate::support::numbers::ask;
use crate::support::server::House;

const MIB: u64 = 1 << 20;
const OK: &str = "0";
const NO_SUCH_FILE: &str = "2";
const FAILURE: &str = "4";

/// Puts requests to the server packet by packet; gives (code, words) of each answer.
fn asked(run: Run, requests: &[String]) -> Vec<(String, String)> {
    let said = run.arg("ask").stdin(requests.join("\n") + "\n").finish().ok().out();
    let answers: Vec<_> = said
        .lines()
        .map(|line| line.split_once(' ').map(|(code, words)| (code.to_owned(), words.to_owned())).unwrap())
        .collect();
    assert_eq!(answers.len(), requests.len(), "{said}");
    answers
}

fn request(verb: &str, paths: &[&[u8]]) -> String {
    let hex = |path: &&[u8]| if path.is_empty() { "-".to_owned() } else { hex(path) };
    [verb.to_owned()].into_iter().chain(paths.iter().map(hex)).collect::<Vec<_>>().join(" ")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The names of a listing and their longnames, as bytes.
fn listed(run: Run, directory: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let bytes = |hex: &str| {
        let digits = hex.as_bytes().chunks(2);
        digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect::<Vec<u8>>()
    };
    let said = run.args(["names", &hex(directory.as_bytes())]).finish().ok().out();
    let lines = said.lines().map(|line| line.split_once(' ').unwrap());
    let mut all: Vec<_> = lines.map(|(name, longname)| (bytes(name), bytes(longname))).collect();
    all.retain(|(name, _)| name != b"." && name != b"..");
    all.sort();
    all
}

fn names(of: &[(Vec<u8>, Vec<u8>)]) -> Vec<&[u8]> {
    of.iter().map(|(name, _)| &name[..]).collect()
}

#[test]
fn r54_names_are_taken_as_bytes_or_refused_with_a_sentence_whatever_is_asked_of_them() {
    let (house, ticket, _) = House::open();
    let characters = "holds characters that are not allowed";
    let too_long = "too long";
    let long_path = vec!["d".repeat(200); 6].join("/");
    let deep_path = ["d"; 33].join("/");
    let refused: &[(&[u8], &str)] = &[
        (b"a\0b", characters),
        (b"\0", characters),
        (b"a\nb", characters),
        (b"\x1b[31mred", characters),
        (b"\x7f", characters),
        ("a\u{85}b".as_bytes(), characters),
        ("evil\u{202e}txt.exe".as_bytes(), characters),
        ("\u{200f}x".as_bytes(), characters),
        ("\u{2066}x".as_bytes(), characters),
        (b"\xff\x01", characters),
        (&[b'x'; 256], too_long),
        (&[0xe4; 256], too_long),
        (long_path.as_bytes(), too_long),
        (deep_path.as_bytes(), too_long),
    ];
    house.put(&ticket, &crate::support::files::show_tech(&house.work().join("here"), 2), "here");
    for (name, sentence) in refused {
        let below = [b"no-such-directory/", *name].concat();
        let requests = [
            request("put", &[name, b"x"]),
            request("mkdir", &[name]),
            request("rename", &[b"here", name]),
            request("rename", &[name, b"there"]),
            request("stat", &[name]),
            request("lstat", &[name]),
            request("get", &[name]),
            request("opendir", &[name]),
            request("remove", &[name]),
            request("rmdir", &[name]),
            request("realpath", &[name]),
            request("setstat", &[name]),
            request("put", &[&below, b"x"]),
        ];
        for (asked, (code, words)) in requests.iter().zip(asked(house.raw_customer(&ticket), &requests)) {
            // REALPATH asks for no place in a share, and what is looked up may be longer than what
            // is made.
            if *sentence == too_long && asked.starts_with("realpath") && code != FAILURE {
                continue;
            }
            assert!(code == FAILURE && words.contains(sentence), "{asked}: {code} {words}");
        }
    }
    // Paths without a name mean the root: it is a directory, and cannot be changed.
    for root in [&b""[..], b"/", b".", b"..", b"/..", b"./", b"//", b"from-support/../..", b"/XT-4711/"] {
        let requests = [
            request("put", &[root, b"x"]),
            request("mkdir", &[root]),
            request("remove", &[root]),
            request("rmdir", &[root]),
            request("rename", &[root, b"there"]),
            request("rename", &[b"here", root]),
            request("get", &[root]),
        ];
        for (asked, (code, words)) in requests.iter().zip(asked(house.raw_customer(&ticket), &requests)) {
            assert!(code != OK && words.ends_with('.') && words.len() > 20, "{asked}: {code} {words}");
        }
        let requests = [request("stat", &[root]), request("opendir", &[root]), request("realpath", &[root])];
        for (asked, (code, words)) in requests.iter().zip(asked(house.raw_customer(&ticket), &requests)) {
            assert_eq!(code, OK, "{asked}: {words}");
        }
    }
    // The rest is taken, and comes back as the bytes that were sent.
    let depth = ["e"; 32].join("/");
    let taken: &[&[u8]] = &[
        b" leading",
        b"trailing ",
        b"...",
        b"-rf",
        b"~",
        b"a:b",
        b"NUL",
        b"a\\b",
        b"%41",
        b"a\xff",
        b"a\xfe",
        b"\x80\x9f",
        "Gr\u{f6}\u{df}e \u{1f600}".as_bytes(),
        &[b'y'; 255],
    ];
    let puts: Vec<_> = taken.iter().map(|name| request("put", &[name, name])).collect();
    for (name, (code, words)) in taken.iter().zip(asked(house.raw_customer(&ticket), &puts)) {
        assert_eq!(code, OK, "{}: {words}", name.escape_ascii());
    }
    let gets: Vec<_> = taken.iter().map(|name| request("get", &[name])).collect();
    for (name, (code, content)) in taken.iter().zip(asked(house.raw_customer(&ticket), &gets)) {
        assert_eq!((&*code, content), (OK, hex(name)), "{}", name.escape_ascii());
    }
    let mut expected: Vec<&[u8]> = taken.iter().copied().chain([&b"here"[..]]).collect();
    expected.sort();
    let all = listed(house.raw_customer(&ticket), "/");
    assert_eq!(names(&all), expected);
    for (name, longname) in &all {
        assert!(longname.ends_with(&[b" ", &name[..]].concat()), "{}", longname.escape_ascii());
    }
    let made: Vec<_> = (1..=32).map(|levels| request("mkdir", &[&depth.as_bytes()[..2 * levels - 1]])).collect();
    assert!(asked(house.raw_customer(&ticket), &made).iter().all(|(code, _)| code == OK), "32 levels are allowed");
    let missing = [request("stat", &[b"missing"]), request("get", &[b"A:B"]), request("stat", &[b"a\xfd"])];
    assert!(asked(house.raw_customer(&ticket), &missing).iter().all(|(code, _)| code == NO_SUCH_FILE));
}

#[test]
fn r54_composed_and_decomposed_names_are_one_file_with_the_bytes_of_the_first() {
    let (house, ticket, _) = House::open();
    let composed = "B\u{e4}r/\u{c5}\u{e4}.txt";
    let decomposed = "Ba\u{308}r/A\u{30a}a\u{308}.txt";
    let requests = [
        request("mkdir", &["B\u{e4}r".as_bytes()]),
        request("put", &[composed.as_bytes(), b"first"]),
        request("put", &[decomposed.as_bytes(), b"second"]),
        request("get", &[composed.as_bytes()]),
        request("mkdir", &["Ba\u{308}r".as_bytes()]),
    ];
    let answers = asked(house.raw_customer(&ticket), &requests);
    let codes: Vec<_> = answers.iter().map(|(code, _)| &**code).collect();
    assert_eq!(codes, [OK, OK, OK, OK, FAILURE], "{answers:?}");
    assert_eq!(answers[3].1, hex(b"second"));
    assert_eq!(names(&listed(house.raw_customer(&ticket), "/")), ["B\u{e4}r".as_bytes()]);
    assert_eq!(names(&listed(house.raw_customer(&ticket), "/Ba\u{308}r")), ["\u{c5}\u{e4}.txt".as_bytes()]);
    assert_eq!(house.artifact(&ticket, composed).unwrap()["version"], 2);
    assert_eq!(house.artifacts(&ticket).len(), 1);
}

#[test]
fn r54_engineers_are_shown_and_fetch_safe_aliases_with_real_clients() {
    let (house, ticket, key) = House::open();
    let files: &[(&[u8], &str)] = &[
        (b"a:b.txt", "a%3Ab.txt"),
        (b"NUL", "%4EUL"),
        (b"dot.", "dot%2E"),
        (b"raw\xff", "raw%FF"),
        (b"fine.txt", "fine.txt"),
    ];
    let puts: Vec<_> = files.iter().map(|(name, alias)| request("put", &[name, alias.as_bytes()])).collect();
    let more = [request("mkdir", &[b"w?y"]), request("put", &[b"w?y/c|d", b"deep"])];
    assert!(asked(house.raw_customer(&ticket), &[puts, more.to_vec()].concat()).iter().all(|(code, _)| code == OK));
    let twins = [request("put", &[b"Show.txt", b"Show.txt"]), request("put", &[b"show.txt", b"show.txt"])];
    assert!(asked(house.raw_customer(&ticket), &twins).iter().all(|(code, _)| code == OK));

    let all = listed(house.raw_engineer("anna", &key), "/XT-4711");
    for (_, alias) in files {
        let (_, longname) = all.iter().find(|(name, _)| name == alias.as_bytes()).unwrap_or_else(|| panic!("{alias}"));
        assert!(longname.ends_with(format!(" {alias}").as_bytes()), "the line of ls -l has it, too");
    }
    let twin =
        all.iter().map(|(name, _)| String::from_utf8(name.clone()).unwrap()).find(|name| name.contains('~')).unwrap();
    assert!(twin.starts_with("show~") && twin.ends_with(".txt") && twin.len() == 21, "{twin}");
    assert_eq!(all.len(), files.len() + 4, "one directory more, two twins and from-support");
    // Fetched by what is shown: the whole share as Windows would, and single files.
    fs::create_dir(house.work().join("got")).unwrap();
    house.engineer_sftp("anna", &key, "get -r /XT-4711/* got").ok();
    for (_, alias) in files {
        assert_eq!(fs::read_to_string(house.work().join("got").join(alias)).unwrap(), *alias);
    }
    assert_eq!(fs::read_to_string(house.work().join("got/w%3Fy/c%7Cd")).unwrap(), "deep");
    assert_eq!(fs::read_to_string(house.work().join("got/Show.txt")).unwrap(), "Show.txt");
    assert_eq!(fs::read_to_string(house.work().join("got").join(twin)).unwrap(), "show.txt");
    // And by their own names, which the notice has in its locations.
    let own: Vec<_> = files.iter().map(|(name, _)| request("get", &[&[b"/XT-4711/", *name].concat()])).collect();
    for ((_, alias), (code, content)) in files.iter().zip(asked(house.raw_engineer("anna", &key), &own)) {
        assert_eq!((&*code, content), (OK, hex(alias.as_bytes())));
    }
    let location = house.artifact(&ticket, "a:b.txt").unwrap()["location"].to_string();
    assert!(location.contains("/XT-4711/a%3Ab.txt"), "{location}");
    // The customer knows nothing of it.
    let found = listed(house.raw_customer(&ticket), "/");
    assert!(files.iter().all(|(name, _)| names(&found).contains(name)));
}

/// Fills a share with `count` names, the most that it may have, lists them with several clients and
/// gives what each took: client, milliseconds to the first names where that can be seen,
/// milliseconds in all, most MiB above idle.
fn list_many(count: u64) -> Vec<(&'static str, Option<f64>, f64, f64)> {
    let limit = Duration::from_secs(3600);
    let (mut house, ticket, key) = House::new().set("LIMITS__NAMES_PER_SHARE", count.to_string()).furnish();
    // `from-support` is one of them.
    house.raw_customer(&ticket).args(["fill", &(count - 1).to_string()]).limit(limit).finish().ok();
    let one_more = asked(house.raw_customer(&ticket), &[request("put", &[b"one-more", b"x"])]);
    assert_eq!(one_more[0].0, FAILURE);
    assert!(one_more[0].1.contains("as many files and directories as it may"), "{one_more:?}");
    // A server that has done nothing else.
    house.stop();
    house.start();
    // Once each way, so that what every session takes is there.
    house.customer(&ticket, "pwd").ok();
    let idle = resident(house.pid());
    let above = |most: u64| most.saturating_sub(idle) as f64 / MIB as f64;
    let mut results = Vec::new();
    let raw: [(&str, Run, &str, u64); 2] = [
        ("raw, customer", house.raw_customer(&ticket), "/", count - 1 + 2),
        ("raw, engineer", house.raw_engineer("anna", &key), "/XT-4711", count + 2),
    ];
    for (client, run, directory, expected) in raw {
        let (most, said) = most_resident(&house, run.args(["list", &hex(directory.as_bytes())]).limit(limit).start());
        let said = said.ok().out();
        let numbers: Vec<f64> = said.split_whitespace().map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers[2..], [expected as f64, expected as f64], "{client}: each name once");
        results.push((client, Some(numbers[0]), numbers[1], above(most)));
    }
    let customer = || house.as_customer(&ticket);
    for (client, run) in [
        ("sftp ls -1f", customer().sftp("ls -1f")),
        ("sftp ls -l", customer().sftp("ls -l")),
        ("lftp cls -1", customer().lftp("cls -1")),
        ("lftp nlist", customer().lftp("nlist")),
        ("lftp ls", customer().lftp("ls")),
    ] {
        let (most, said) = most_resident(&house, run.limit(limit).start());
        let said = said.ok();
        let lines = said.out().lines().filter(|line| line.contains("show-tech-")).count() as u64;
        assert_eq!(lines, count - 1, "{client}");
        results.push((client, None, said.took.as_secs_f64() * 1000.0, above(most)));
    }
    results
}

#[test]
fn r50_thousands_of_names_are_listed_page_by_page_in_little_memory() {
    for (client, _, _, mib) in list_many(3_000) {
        assert!(mib < 32.0, "{client}: {mib:.1} MiB");
    }
}

/// `tests/run listing [N]`: what listing N names takes of time and memory.
#[test]
#[ignore = "long: tests/run listing [N]"]
#[expect(clippy::print_stdout, reason = "its answer")]
fn on_demand_listing() {
    let count = ask("COUNT", 100_000);
    let results = list_many(count);
    println!("{count} names in one share; server memory above idle, at most");
    for (client, first, total, mib) in &results {
        let first = first.map_or_else(|| "-".to_owned(), |first| format!("{first:.1} ms"));
        println!("{client:14} first names {first:>9}   all {total:>8.0} ms   {mib:>5.1} MiB");
    }
    for (client, _, _, mib) in results {
        assert!(mib < 32.0, "{client}: {mib:.1} MiB, 32 are allowed");
    }
}
