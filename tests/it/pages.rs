//! What the pages say of the sources, and the sources of the pages: each requirement that a test
//! names has its line in `docs/requirements.md`, and whoever is sent to a page or a source finds
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::support::{files, repository};

/// Files below these places of the repository, with such an extension: their names and contents.
fn texts(places: &[&str], extensions: &[&str]) -> Vec<(String, String)> {
    let root = repository();
    let texts: Vec<_> = places
        .iter()
        .flat_map(|place| {
            let place = root.join(place);
            if place.is_dir() { files::all_files(&place) } else { vec![place] }
        })
        .filter(|path| path.extension().is_some_and(|found| extensions.iter().any(|wanted| found == *wanted)))
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    assert!(texts.len() >= places.len(), "only {} texts in {places:?}", texts.len());
    texts
}

/// What has no test says so in one of these ways.
const UNPROVED: [&str; 2] = ["*Not built yet.*", "*No test of its own.*"];

/// The requirements of the page: the number, and whether the line says that a test is there.
fn requirements(page: &str) -> BTreeMap<u32, bool> {
    let mut found = BTreeMap::new();
    for line in page.lines() {
        let Some((number, text)) = line.strip_prefix("- **R").and_then(|rest| rest.split_once("** ")) else { continue };
        let proved = !UNPROVED.iter().any(|mark| text.starts_with(mark));
        let number = number.parse().unwrap_or_else(|_| panic!("R{number} is no number of a requirement"));
        assert!(found.insert(number, proved).is_none(), "R{number:02} has two lines");
    }
    found
}

/// The numbers that the functions of a source have in their names: `fn r16_r26_...` has two.
fn named(source: &str) -> BTreeSet<u32> {
    let number = |part: &str| {
        let digits = part.strip_prefix('r').filter(|rest| rest.len() == 2)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().unwrap())
    };
    let functions = source.lines().filter_map(|line| line.trim_start().split_once("fn ").map(|(_, name)| name));
    functions.flat_map(|name| name.split('_').map_while(number)).collect()
}

#[test]
fn each_requirement_has_a_line_and_a_test_or_says_that_it_has_none() {
    let page = fs::read_to_string(repository().join("docs/requirements.md")).unwrap();
    let lines = requirements(&page);
    let mut tests: BTreeMap<u32, String> = BTreeMap::new();
    for (file, source) in texts(&["src", "crates", "tests"], &["rs"]) {
        tests.extend(named(&source).into_iter().map(|number| (number, file.clone())));
    }
    assert!(tests.len() > 50, "only {} numbers were found", tests.len());
    let unknown: Vec<_> = tests.iter().filter(|(number, _)| !lines.contains_key(number)).collect();
    assert!(unknown.is_empty(), "not in docs/requirements.md: {unknown:?}");
    let lacking: Vec<_> = lines.iter().filter(|(number, proved)| **proved && !tests.contains_key(number)).collect();
    assert!(lacking.is_empty(), "without a test, and docs/requirements.md does not say so: {lacking:?}");
    let proved: Vec<_> = tests.iter().filter(|(number, _)| lines.get(number) == Some(&false)).collect();
    assert!(proved.is_empty(), "docs/requirements.md says that there is no test: {proved:?}");
}

/// The pages and sources that a text names by their path; of a page the name alone will do. What is
/// a whole literal in quotation marks is no reference, but a test's example.
fn paths(text: &str) -> Vec<&str> {
    let belongs = |c: char| c.is_ascii_alphanumeric() || "_-./*<>{}".contains(c);
    let mut found = Vec::new();
    for line in text.lines() {
        let mut before = ' ';
        for word in line.split_inclusive(|c| !belongs(c)) {
            let path = word.trim_end_matches(|c| !belongs(c)).trim_end_matches('.');
            let is_literal = before == '"' && word.ends_with('"');
            before = word.chars().next_back().unwrap_or(' ');
            let is_page = path.ends_with(".md");
            let is_source = path.contains('/') && [".rs", ".py", ".sql"].iter().any(|end| path.ends_with(end));
            if (is_page || is_source) && !is_literal && !path.contains(['*', '<', '{']) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn pages_and_sources_that_are_named_are_there() {
    let pages = ["docs", "tests", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"];
    let mut sent = texts(&pages, &["md"]);
    sent.extend(texts(&["src", "crates", "tests/it", "benches"], &["rs", "py"]));
    sent.extend(texts(&["config"], &["toml"]));
    // This file names pages that are not there, to show that they are found.
    sent.retain(|(file, _)| file != "tests/it/pages.rs");
    let (root, mut seen, mut lacking) = (repository(), 0, Vec::new());
    for (file, text) in &sent {
        let here = root.join(file);
        for path in paths(text) {
            seen += 1;
            let from = [&root, &root.join("src"), &root.join("benches"), here.parent().unwrap()];
            // A room's file, where the room is a crate.
            let in_crate =
                path.split_once('/').map(|(room, rest)| root.join("crates").join(room).join("src").join(rest));
            let there = in_crate.is_some_and(|file| file.is_file());
            if !there && !from.iter().any(|place| place.join(path).is_file()) {
                lacking.push(format!("{file}: {path}"));
            }
        }
    }
    assert!(seen > 50, "only {seen} references were found");
    assert!(lacking.is_empty(), "these are not there:\n{}", lacking.join("\n"));
}

#[test]
fn references_are_found_where_they_are() {
    let text =
        "see `docs/a.md` (b.md), [c](../c.md).\nof(\"d.md\") share/e.rs f.rs x/*.rs <name>.md \"see g/h.py\" i.md.";
    assert_eq!(paths(text), ["docs/a.md", "b.md", "../c.md", "share/e.rs", "g/h.py", "i.md"]);
}

#[test]
fn numbers_and_lines_are_found_where_they_are() {
    let source =
        "    async fn r16_r26_a_cut_upload() {\n// r99_ here\nfn later_r17_x() {}\nfn r5_x() {}\npub fn r18_() {}";
    assert_eq!(named(source), BTreeSet::from([16, 26, 18]));
    let page = "- **I1** a\n- **R01** a\n- **R02** *Not built yet.* a\n- **R03** *No test of its own.* a\n";
    assert_eq!(requirements(page), BTreeMap::from([(1, true), (2, false), (3, false)]));
}
