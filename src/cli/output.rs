//! Standard output: the one place that writes to it, as text for people or JSON for programs.
//!
//! Whoever reads may stop reading (`| head`); that is no failure.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::model::sanitize;

/// How a command answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Writes lines for people.
    pub(crate) fn say(self, text: &str) -> Result<(), Failure> {
        self.write(text.as_bytes())?;
        if text.ends_with('\n') { Ok(()) } else { self.write(b"\n") }
    }

    /// Writes a value for programs, on one line.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        // It may hold a token, so it is wiped.
        let text = serde_json::to_string(value).map_err(|error| Failure::new(format!("no JSON: {error}")))?;
        self.say(&Zeroizing::new(text))
    }

    /// Writes what a command did: the text for people, or the value for programs.
    pub(crate) fn answer(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json { self.json(value) } else { self.say(&Zeroizing::new(text())) }
    }

    /// Writes a list: a table for people (`nothing` when it is empty), an array for programs.
    pub(crate) fn list<T: Serialize, const N: usize>(
        self,
        rows: &[T],
        headings: [&str; N],
        nothing: &str,
        cells: impl Fn(&T) -> [String; N],
    ) -> Result<(), Failure> {
        if self.json {
            self.json(&rows)
        } else if rows.is_empty() {
            self.say(nothing)
        } else {
            self.say(&table(headings, rows.iter().map(cells).collect()))
        }
    }

    /// Writes bytes as they are.
    pub(crate) fn write(self, bytes: &[u8]) -> Result<(), Failure> {
        match self.raw(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|error| Failure::new(format!("standard output: {error}"))),
        }
    }

    /// Writes bytes as they are, for a caller that wants to know whether somebody still reads.
    pub(crate) fn raw(self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }
}

/// A column is padded up to this many characters; what is longer stands as it is.
const WIDEST: usize = 500;

/// Columns as wide as they need to be, two blanks apart. Cells come from strangers: nothing in them
/// acts on a terminal.
fn table<const N: usize>(headings: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut widths = headings.map(|heading| heading.chars().count());
    let rows: Vec<[String; N]> =
        rows.into_iter().map(|row| row.map(|cell| sanitize::line(&cell).into_owned())).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count().min(WIDEST));
        }
    }
    let line = |cells: &[&str]| {
        let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&headings);
    for row in &rows {
        text.push_str(&line(&row.each_ref().map(String::as_str)));
    }
    text
}

/// A size as people read it: `1023 bytes`, `3.4 MiB`. Cut, not rounded, as in the mails.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    match units.iter().zip(1u32..).take_while(|(_, power)| bytes >> (10 * power) > 0).last() {
        Some((unit, power)) => {
            let tenths = (u128::from(bytes) * 10) >> (10 * power);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_is_inert() {
        let rows = vec![["a".into(), "größer".into(), "x".into()], ["bbb\x1b[31m".into(), "b".into(), String::new()]];
        let text = table(["ONE", "TWO", "THREE"], rows);
        let expected = ["ONE       TWO     THREE", "a         größer  x", "bbb\u{fffd}[31m  b", ""].join("\n");
        assert_eq!(text, expected);
    }

    #[test]
    fn a_size_can_be_read() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
