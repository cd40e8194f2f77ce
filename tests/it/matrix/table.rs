//! `docs/clients.md`: the outcomes as tables, written and compared.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::CLIENTS;
use super::client::{Client, Outcome};
use super::trials::{self, THEMES};
use crate::support::repository;

const BEGIN: &str = "<!-- from here on written by 'tests/run clients --write' -->";
const SPECIALS: &str = "What else they do";
const REWRITE: &str = "If the new behaviour is right, 'tests/run clients --write' writes docs/clients.md anew.";

/// One program's lines: its row in each table, by heading, and its lines in the last one.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Lines {
    version: String,
    rows: BTreeMap<String, String>,
    specials: Vec<String>,
}

impl Outcome {
    fn cell(&self) -> String {
        match self {
            Self::Works => "works".to_owned(),
            Self::Refused { code, words } => {
                let words = words.replace('|', "\\|").replace('<', "&lt;");
                let code = code.map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit {code}"));
                format!("refused ({code}): \"{words}\"")
            }
            Self::NotOffered(why) => format!("not offered: {why}"),
        }
    }
}

/// Tries a program, and compares its lines with the document's. With `TACDROP_CLIENTS_DIR` they are
/// laid there instead, for [`assemble`].
pub(crate) fn compare(client: &dyn Client) {
    let name = client.name();
    assert!(CLIENTS.contains(&name), "{name} is not listed in matrix::CLIENTS");
    let row = trials::row(client);
    let mut lines = Lines { version: client.version(), ..Lines::default() };
    let mut cells = row.cells.iter();
    for theme in THEMES {
        let cells: Vec<_> = cells.by_ref().take(theme.trials.len()).map(|(_, outcome)| outcome.cell()).collect();
        lines.rows.insert(theme.heading.to_owned(), format!("| {name} | {} |", cells.join(" | ")));
    }
    let special = |(what, outcome): &(&str, Outcome)| format!("| {name} | {what} | {} |", outcome.cell());
    lines.specials = row.specials.iter().map(special).collect();
    let untried = |line: &String| client.untried().iter().any(|what| line.contains(&format!("| {what} |")));
    lines.specials.extend(known(&document(), name).specials.into_iter().filter(untried));
    if let Some(directory) = std::env::var_os("TACDROP_CLIENTS_DIR") {
        let file = PathBuf::from(directory).join(format!("{name}.json"));
        fs::write(file, serde_json::to_vec(&lines).unwrap()).unwrap();
        return;
    }
    let (was, is) = (known(&document(), name).flat(), lines.flat());
    let gone = was.iter().filter(|line| !is.contains(line)).map(|line| format!("- {line}"));
    let new = is.iter().filter(|line| !was.contains(line)).map(|line| format!("+ {line}"));
    let differences: Vec<_> = gone.chain(new).collect();
    assert!(differences.is_empty(), "{name} differs from docs/clients.md. {REWRITE}\n{}", differences.join("\n"));
}

/// For a program that cannot be tried on this machine, which its user has said: its lines stay as
/// they are.
pub(crate) fn leave(name: &str) {
    if let Some(directory) = std::env::var_os("TACDROP_CLIENTS_DIR") {
        let mut lines = known(&document(), name);
        lines.version = "not tried: cannot run here".to_owned();
        fs::write(PathBuf::from(directory).join(format!("{name}.json")), serde_json::to_vec(&lines).unwrap()).unwrap();
    }
}

/// Prints the whole table of what [`compare`] has laid into `TACDROP_CLIENTS_DIR`, and compares it
/// with the document or, with `TACDROP_WRITE_CLIENTS`, writes it there.
#[expect(clippy::print_stdout, reason = "to print the table is what it is for")]
pub(crate) fn assemble() {
    let directory = PathBuf::from(std::env::var_os("TACDROP_CLIENTS_DIR").expect("tests/run clients sets it"));
    let mut all = Vec::new();
    for name in CLIENTS {
        let file = fs::read(directory.join(format!("{name}.json"))).unwrap_or_else(|_| panic!("{name} was not tried"));
        all.push((*name, serde_json::from_slice::<Lines>(&file).unwrap()));
    }
    let tables = tables(&all);
    println!("{tables}");
    for (name, lines) in &all {
        println!("{name}: {}", lines.version);
    }
    let document = document();
    let (introduction, _) = document.split_once(BEGIN).expect("docs/clients.md has lost its mark");
    let wanted = format!("{introduction}{BEGIN}\n\n{tables}");
    if std::env::var_os("TACDROP_WRITE_CLIENTS").is_some_and(|set| !set.is_empty()) {
        fs::write(path(), wanted).unwrap();
    } else {
        assert!(document == wanted, "docs/clients.md is not the table above. {REWRITE}");
    }
}

fn tables(all: &[(&str, Lines)]) -> String {
    let mut text = String::new();
    for theme in THEMES {
        let columns: Vec<_> = theme.trials.iter().map(|(name, _)| *name).collect();
        write!(
            text,
            "## {}\n\n| client | {} |\n|---|{}\n",
            theme.heading,
            columns.join(" | "),
            "---|".repeat(columns.len())
        )
        .unwrap();
        for (_, lines) in all {
            writeln!(text, "{}", lines.rows[theme.heading]).unwrap();
        }
        text.push('\n');
    }
    write!(text, "## {SPECIALS}\n\n| client | what | |\n|---|---|---|\n").unwrap();
    for line in all.iter().flat_map(|(_, lines)| &lines.specials) {
        writeln!(text, "{line}").unwrap();
    }
    text
}

impl Lines {
    /// All lines with the headings that they stand below.
    fn flat(&self) -> Vec<String> {
        let rows = self.rows.iter().map(|(heading, row)| format!("{heading}: {row}"));
        rows.chain(self.specials.iter().cloned()).collect()
    }
}

fn path() -> PathBuf {
    repository().join("docs/clients.md")
}

fn document() -> String {
    fs::read_to_string(path()).unwrap()
}

/// What the document says of a program.
fn known(document: &str, name: &str) -> Lines {
    let mut lines = Lines::default();
    let mut heading = "";
    let tables = document.split_once(BEGIN).expect("docs/clients.md has lost its mark").1;
    for line in tables.lines() {
        if let Some(found) = line.strip_prefix("## ") {
            heading = found;
        } else if line.starts_with(&format!("| {name} |")) {
            if heading == SPECIALS {
                lines.specials.push(line.to_owned());
            } else {
                lines.rows.insert(heading.to_owned(), line.to_owned());
            }
        }
    }
    lines
}
