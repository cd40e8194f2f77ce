//! The house's own rule: a room uses only rooms below it. Read from the sources, so that no arrow
//! runs up unseen. What a room that is a crate uses stands in its manifest, and the compiler holds
//! it to that.

use std::fs;
use std::path::Path;

use crate::support::{files, repository};

/// From the roof down.
const ROOMS: [&str; 32] = [
    "bench",
    "main",
    "cli",
    "server",
    "config",
    "app",
    "ssh",
    "http",
    "sftp",
    "scp",
    "admission",
    "access",
    "backup",
    "integrity",
    "rotation",
    "moving",
    "tickets",
    "upload",
    "retention",
    "login",
    "notices",
    "digests",
    "content",
    "namespace",
    "audit",
    "repo",
    "mail",
    "records",
    "database",
    "vault",
    "store",
    "model",
];
const DOORS: [&str; 5] = ["ssh", "http", "sftp", "scp", "admission"];
/// Rooms that know keys.
const OVER_KEYS: [&str; 15] = [
    "app",
    "access",
    "integrity",
    "upload",
    "tickets",
    "moving",
    "rotation",
    "backup",
    "retention",
    "login",
    "notices",
    "content",
    "namespace",
    "audit",
    "repo",
];
/// Rooms that know objects.
const OVER_OBJECTS: [&str; 8] = ["app", "integrity", "moving", "upload", "backup", "retention", "content", "repo"];
/// Rooms that open, read or write files. The others get bytes, or ask one of these.
const OVER_FILES: [&str; 9] = ["cli", "server", "config", "backup", "rotation", "repo", "mail", "records", "store"];
/// Named by the records alone.
const UNDER_RECORDS: &str = "database";
const LONGEST_FILE: usize = 600;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Identifier(String),
    Sign(char),
    /// `::`
    Path,
}

/// Rust's tokens as far as paths need them: comments, strings and characters are left out.
fn tokens(source: &str) -> Vec<Token> {
    let bytes: Vec<char> = source.chars().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    let next = |at: usize| bytes.get(at).copied().unwrap_or('\0');
    while at < bytes.len() {
        let c = bytes[at];
        if c == '/' && next(at + 1) == '/' {
            while at < bytes.len() && bytes[at] != '\n' {
                at += 1;
            }
        } else if c == '/' && next(at + 1) == '*' {
            let mut depth = 0;
            loop {
                match (next(at), next(at + 1)) {
                    ('/', '*') => (depth, at) = (depth + 1, at + 2),
                    ('*', '/') => (depth, at) = (depth - 1, at + 2),
                    _ => at += 1,
                }
                if depth == 0 || at >= bytes.len() {
                    break;
                }
            }
        } else if c.is_alphanumeric() || c == '_' {
            let from = at;
            while next(at).is_alphanumeric() || next(at) == '_' {
                at += 1;
            }
            let word: String = bytes[from..at].iter().collect();
            // r"...", br#"..."#, b"...", c"..."
            let raw = ["r", "br", "cr"].contains(&word.as_str()) && matches!(next(at), '"' | '#');
            if raw {
                let mut hashes = 0;
                while next(at) == '#' {
                    (hashes, at) = (hashes + 1, at + 1);
                }
                if next(at) == '"' {
                    at += 1;
                    let end: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                    let end: Vec<char> = end.chars().collect();
                    while at < bytes.len() && !bytes[at..].starts_with(&end) {
                        at += 1;
                    }
                    at += end.len();
                } else {
                    // r#name
                    continue;
                }
            } else {
                found.push(Token::Identifier(word));
            }
        } else if c == '"' {
            at += 1;
            while at < bytes.len() && bytes[at] != '"' {
                at += if bytes[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if c == '\'' {
            // A character has its closing quote at once, a lifetime has none.
            if next(at + 1) == '\\' {
                at += 3;
                while at < bytes.len() && bytes[at] != '\'' {
                    at += 1;
                }
                at += 1;
            } else if next(at + 2) == '\'' {
                at += 3;
            } else {
                at += 1;
            }
        } else if c == ':' && next(at + 1) == ':' {
            found.push(Token::Path);
            at += 2;
        } else {
            if !c.is_whitespace() {
                found.push(Token::Sign(c));
            }
            at += 1;
        }
    }
    found
}

/// The module that a file is: `src/repo/keys.rs` is `["repo", "keys"]`, `src/repo/mod.rs` is
/// `["repo"]`, and `src/notices/dispatcher_tests.rs` is the module `tests` of `dispatcher`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut names: Vec<String> = path.split('/').map(str::to_owned).collect();
    if names.last().is_some_and(|name| name == "mod" || name == "lib") {
        names.pop();
    }
    if let Some(tested) = names.last().and_then(|name| name.strip_suffix("_tests")).map(str::to_owned) {
        names.pop();
        names.extend([tested, "tests".to_owned()]);
    }
    names
}

/// What the name of a room that is a crate begins with, where a path names the crate itself.
const CRATE: &str = "tacdrop_";
/// What only tests stand on is no room.
const NO_ROOMS: [&str; 2] = ["probe", "simulated"];

/// The rooms that a file uses: what comes behind `crate::` (in `main.rs` behind `tacdrop::`) or
/// behind as many `super::` as lead out of its room, and the rooms that are named as crates.
fn uses(file: &str, source: &str) -> Vec<String> {
    let (tokens, module) = (tokens(source), module_of(file));
    let (mut found, mut inline, mut depth) = (Vec::new(), Vec::new(), 0);
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            Token::Sign('{') => {
                if at >= 2 && tokens[at - 2] == Token::Identifier("mod".into()) {
                    inline.push(depth);
                }
                depth += 1;
            }
            Token::Sign('}') => {
                depth -= 1;
                if inline.last() == Some(&depth) {
                    inline.pop();
                }
            }
            Token::Identifier(word)
                if (word == "crate" || (word == "tacdrop" && module == ["main"]))
                    && tokens.get(at + 1) == Some(&Token::Path) =>
            {
                heads(&tokens[at + 2..], &mut found);
            }
            Token::Identifier(word) if word.strip_prefix(CRATE).is_some_and(|name| !NO_ROOMS.contains(&name)) => {
                found.push(word[CRATE.len()..].to_owned())
            }
            Token::Identifier(word) if word == "super" && (at == 0 || tokens[at - 1] != Token::Path) => {
                let mut supers = 1;
                while tokens.get(at + 1..at + 3) == Some(&[Token::Path, Token::Identifier("super".into())]) {
                    (supers, at) = (supers + 1, at + 2);
                }
                if supers >= module.len() + inline.len() && tokens.get(at + 1) == Some(&Token::Path) {
                    heads(&tokens[at + 2..], &mut found);
                }
            }
            _ => {}
        }
        at += 1;
    }
    found.sort();
    found.dedup();
    found
}

/// The room that is a crate, of a file in it.
fn room_of_crate(file: &str) -> Option<String> {
    file.strip_prefix("crates/")?.split_once('/').map(|(room, _)| room.to_owned())
}

/// Whether a file of the sources reaches for files itself, by the standard library or tokio. Tests
/// may.
fn opens_files(file: &str, source: &str) -> bool {
    let in_tests = file.contains("tests") || file == "crates/vault/src/golden.rs";
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let tokens = tokens(source);
    !in_tests
        && (0..tokens.len()).any(|at| {
            let mut found = Vec::new();
            if ["std", "tokio"].iter().any(|name| tokens[at] == Token::Identifier((*name).to_owned()))
                && tokens.get(at + 1) == Some(&Token::Path)
            {
                heads(&tokens[at + 2..], &mut found);
            }
            found.iter().any(|name| name == "fs")
        })
}

/// The first names of a path or of each path of a group.
fn heads(tokens: &[Token], found: &mut Vec<String>) {
    match tokens.first() {
        Some(Token::Identifier(word)) => found.push(word.clone()),
        Some(Token::Sign('{')) => {
            let (mut depth, mut first) = (0, false);
            for token in tokens {
                match token {
                    Token::Sign('{') => (depth, first) = (depth + 1, depth == 0),
                    Token::Sign('}') => depth -= 1,
                    Token::Sign(',') => first = depth == 1,
                    Token::Identifier(word) if first => {
                        found.push(word.clone());
                        first = false;
                    }
                    Token::Sign('*') if first => found.push("*".to_owned()),
                    _ => {}
                }
                if depth == 0 {
                    return;
                }
            }
        }
        // `crate::*`
        _ => found.push("*".to_owned()),
    }
}

/// What a file does against the rules of the house.
fn violations(file: &str, source: &str) -> Vec<String> {
    let (module, in_crate) = (module_of(file), room_of_crate(file));
    let Some(room) = in_crate.as_ref().or(module.first()) else {
        // lib.rs only lists the rooms.
        return Vec::new();
    };
    let Some(floor) = ROOMS.iter().position(|name| name == room) else {
        return vec![format!("{file}: {room} is no room of the house")];
    };
    let mut wrong = Vec::new();
    if opens_files(file, source) && !OVER_FILES.contains(&room.as_str()) {
        wrong.push(format!("{file} uses files: {room} gets bytes, or asks a room that keeps files"));
    }
    if in_crate.is_some() {
        // The compiler holds it to what its manifest names.
        return wrong;
    }
    for used in uses(file, source) {
        if used == *room {
            continue;
        }
        let Some(below) = ROOMS.iter().position(|name| *name == used) else {
            wrong.push(format!("{file} uses crate::{used}, which is no room of the house"));
            continue;
        };
        let is = |names: &[&str], name: &str| names.contains(&name);
        if below < floor {
            wrong.push(format!("{file} uses crate::{used}: {used} is above {room}"));
        } else if is(&DOORS, room) && !is(&DOORS, &used) && !is(&["access", "model"], &used) {
            wrong.push(format!("{file} uses crate::{used}: a door knows access and model only"));
        } else if used == "vault" && !is(&OVER_KEYS, room) {
            wrong.push(format!("{file} uses crate::{used}: {room} may not know keys"));
        } else if used == "store" && !is(&OVER_OBJECTS, room) {
            wrong.push(format!("{file} uses crate::{used}: {room} may not know objects"));
        }
    }
    wrong
}

/// The rooms that are crates, by name.
fn crates() -> Vec<String> {
    names_in("crates")
}

/// What lies in a directory of the repository, without what comes behind a dot.
fn names_in(place: &str) -> Vec<String> {
    let items = fs::read_dir(repository().join(place)).unwrap();
    let mut names: Vec<_> = items
        .map(|item| Path::new(&item.unwrap().file_name()).file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    // A room may be a file with a directory beside it.
    names.dedup();
    names
}

/// The sources of all rooms.
fn sources() -> Vec<(String, String)> {
    let root = repository();
    let crates = crates().into_iter().map(|room| format!("crates/{room}/src"));
    let files: Vec<_> = std::iter::once("src".to_owned())
        .chain(crates)
        .flat_map(|place| files::all_files(&root.join(place)))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    assert!(files.len() > 20, "only {} sources were found", files.len());
    files
}

#[test]
fn no_arrow_runs_up() {
    let wrong: Vec<_> = sources().iter().flat_map(|(file, source)| violations(file, source)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rooms that the manifest of a crate names.
fn needs(manifest: &str) -> Vec<String> {
    let name = |line: &str| {
        let rest = line.trim_start_matches(['[', '"']).strip_prefix("tacdrop")?;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-')?;
        Some(rest[..end].trim_start_matches('-').to_owned())
    };
    let dependencies = manifest.split_once("dependencies").map_or("", |(_, rest)| rest);
    dependencies.lines().filter_map(|line| name(line.trim_start())).collect()
}

#[test]
fn a_crate_needs_only_the_model() {
    for room in crates() {
        let manifest = fs::read_to_string(repository().join(format!("crates/{room}/Cargo.toml"))).unwrap();
        assert!(manifest.contains(&format!("name = \"tacdrop-{room}\"\n")), "the name of the crate {room}");
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "the lints of the crate {room}");
        let allowed = |used: &String| {
            let stands_on = used == UNDER_RECORDS && room == "records";
            (used == "model" && room != "model") || stands_on || NO_ROOMS.contains(&used.as_str())
        };
        let wrong: Vec<_> = needs(&manifest).into_iter().filter(|used| !allowed(used)).collect();
        assert!(wrong.is_empty(), "crates/{room} needs {wrong:?}; a room of the ground knows model only");
    }
    let manifest = "name = \"tacdrop-x\"\n[dependencies]\ntacdrop-vault.workspace = true\nhex = \"1\"\n[dev-dependencies]\ntacdrop = { path = \"..\" }\n";
    assert_eq!(needs(manifest), ["vault", ""], "this test can fail");
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<_> = sources()
        .iter()
        .map(|(file, source)| (file.clone(), source.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .collect();
    assert!(long.is_empty(), "longer than {LONGEST_FILE} lines: {long:?}");
}

#[test]
fn unsafe_stands_in_one_place() {
    let word = Token::Identifier("unsafe".to_owned());
    let there: Vec<_> = sources().into_iter().filter(|(_, source)| tokens(source).contains(&word)).collect();
    assert_eq!(there.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>(), ["crates/vault/src/sha256_blocks.rs"]);
}

#[test]
fn the_library_lists_every_room() {
    let source = fs::read_to_string(repository().join("src/lib.rs")).unwrap();
    let listed = |of: fn(&str) -> Option<&str>| -> Vec<_> {
        let mut listed: Vec<_> = source.lines().filter_map(of).map(str::to_owned).collect();
        listed.sort();
        listed
    };
    let here = listed(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut there = names_in("src");
    there.retain(|name| name != "lib" && name != "main");
    assert_eq!(here, there);
    let as_crates = listed(|line| {
        let (name, room) = line.strip_prefix("pub use tacdrop_")?.strip_suffix(';')?.split_once(" as ")?;
        (name == room).then_some(room)
    });
    let mut known = crates();
    known.retain(|name| name != UNDER_RECORDS);
    assert_eq!(as_crates, known, "only the records name what they stand on");
    let mut listed = [here, as_crates].concat();
    listed.sort();
    let mut rooms = ROOMS.map(str::to_owned).to_vec();
    rooms.retain(|room| room != "main" && room != UNDER_RECORDS);
    rooms.sort();
    assert_eq!(listed, rooms, "the rooms that there are, and those of the house");
}

#[test]
fn this_test_can_fail() {
    let bad = [
        ("src/digests/disk.rs", "use crate::app::Shares;"),
        ("src/digests/disk.rs", "use crate::{model::Id, app};"),
        ("src/digests/disk.rs", "use crate::{\n    model::{Id, Word},\n    vault::Key, // no\n};"),
        ("src/digests/disk.rs", "fn f() { let _ = crate::upload::open(); }"),
        ("src/digests/disk.rs", "mod tests { use super::super::super::app::X; }"),
        ("src/digests/mod.rs", "use crate::vault::Key;"),
        ("src/digests/mod.rs", "use super::app;"),
        ("src/notices/mod.rs", "use crate::server::Conn;"),
        ("src/sftp/verbs.rs", "use crate::ssh::Link;"),
        ("src/scp/session.rs", "use crate::sftp::Common;"),
        ("src/scp/sink.rs", "use crate::records::Conn;"),
        ("src/ssh/login.rs", "use crate::vault::Token;"),
        ("src/ssh/login.rs", "fn f(_: &'static str) -> char { crate::config::x('\"') }"),
        ("src/access/view.rs", "pub(crate) fn f(x: crate::server::X) {}"),
        ("src/server.rs", "use crate::store::Disk;"),
        ("src/ssh/login.rs", "use crate::repo::Repo;"),
        ("src/repo/keys.rs", "use crate::app::Shares;"),
        ("src/audit/mod.rs", "use crate::store::Disk;"),
        ("src/audit/mod.rs", "use crate::namespace::tree::Spot;"),
        ("src/ssh/login.rs", "use tacdrop_vault::Token;"),
        ("src/digests/time.rs", "macro_rules! m { () => { $crate::upload::x() } }"),
        ("src/digests/time.rs", "use crate::*;"),
        ("src/attic.rs", ""),
        ("crates/vault/src/key.rs", "use std::fs::File;"),
        ("src/upload/mod.rs", "use std::{fs, io};"),
        ("src/access/view.rs", "async fn f() { tokio::fs::read(\"x\").await; }"),
    ];
    for (file, source) in bad {
        assert_eq!(violations(file, source).len(), 1, "{file}: {source}");
    }
    let good = [
        ("src/main.rs", "fn main() { tacdrop::cli::main() }"),
        ("src/upload/mod.rs", "use tacdrop_vault::Key; use crate::{store::Disk, mail, records::{self, Conn}, model};"),
        ("src/digests/disk.rs", "// use crate::app::Shares;\n/* crate::cli */ const X: &str = \"crate::app\";"),
        ("src/digests/disk.rs", "const X: &str = r#\"\"crate::app\"#; use crate::records::Conn;"),
        ("src/app/tests/power.rs", "use tacdrop_simulated::Machine;"),
        ("src/digests/key_tests.rs", "use super::super::ExtentKey;"),
        ("src/ssh/login.rs", "use super::gate::Admission; use crate::sftp; mod tests { use super::super::Limits; }"),
        ("crates/vault/src/key.rs", "use std::os::unix::fs::PermissionsExt;\n#[cfg(test)]\nmod tests { use std::fs; }"),
        ("crates/store/src/disk.rs", "use std::fs::File;"),
        ("src/server.rs", "pub(crate) fn f() { crate::ssh::start(); crate::app::x() }"),
    ];
    for (file, source) in good {
        assert_eq!(violations(file, source), Vec::<String>::new(), "{file}: {source}");
    }
}
