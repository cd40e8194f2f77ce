//! Tables that fit where they are read: as wide as the terminal, 80 columns where there is none, and
//! as wide as they need to be if somebody asks for all of it.

use std::io::{self, IsTerminal};

use crate::model::{Time, sanitize};

/// Where there is no terminal, and it does not say otherwise.
const USUAL: usize = 80;
/// No column that is cut becomes narrower than this.
const NARROWEST: usize = 8;

/// What is cut where a row is too wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing of it.
    Never,
    /// What does not fit at its end.
    End,
    /// What does not fit at its beginning: of a path, the file's name stays.
    Front,
}

/// How many columns there are: the terminal's, those of the variable COLUMNS, or 80. None: as many
/// as it takes.
pub(crate) fn width(wide: bool) -> Option<usize> {
    if wide {
        return None;
    }
    let named = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| (20..=2000).contains(columns));
    let of_terminal = || {
        let out = io::stdout();
        if !out.is_terminal() {
            return None;
        }
        rustix::termios::tcgetwinsize(&out).ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns >= 20)
    };
    Some(of_terminal().or_else(named).unwrap_or(USUAL))
}

/// Columns two blanks apart, cut to a width where it takes that. Cells come from strangers: nothing
/// in them acts on a terminal.
pub(crate) fn fitted<const N: usize>(
    headings: [(&str, Cut); N],
    rows: Vec<[String; N]>,
    width: Option<usize>,
) -> String {
    let rows: Vec<[String; N]> =
        rows.into_iter().map(|row| row.map(|cell| sanitize::line(&cell).into_owned())).collect();
    let mut widths = headings.map(|(heading, _)| heading.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    if let Some(width) = width {
        let most = width.saturating_sub(2 * N.saturating_sub(1));
        // The widest one gives way first.
        while widths.iter().sum::<usize>() > most {
            let can_give = |(place, wide): &(usize, usize)| {
                *wide > NARROWEST && headings.get(*place).is_some_and(|(_, cut)| *cut != Cut::Never)
            };
            let Some((place, _)) = widths.into_iter().enumerate().filter(can_give).max_by_key(|(_, wide)| *wide) else {
                break;
            };
            if let Some(wide) = widths.get_mut(place) {
                *wide -= 1;
            }
        }
    }
    let mut text = String::new();
    let titles = headings.map(|(heading, _)| heading.to_owned());
    for row in [&titles].into_iter().chain(&rows) {
        let cells = row.iter().zip(&headings).zip(widths);
        let cells: Vec<String> =
            cells.map(|((cell, (_, how)), width)| format!("{:<width$}", cut(cell, *how, width))).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A text of at most so many characters; `…` stands for what is left out.
fn cut(text: &str, how: Cut, most: usize) -> String {
    let length = text.chars().count();
    match how {
        Cut::Never => text.to_owned(),
        _ if length <= most => text.to_owned(),
        Cut::End => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        Cut::Front => ['…'].into_iter().chain(text.chars().skip(length + 1 - most)).collect(),
    }
}

/// A moment in a narrow column, in UTC: `2026-11-30 14:00`.
pub(crate) fn moment(time: Option<Time>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.to_the_minute().trim_end_matches(" UTC").to_owned())
}

/// The first digits of a digest, by which `artifact list --sha256` finds it.
pub(crate) fn digest_start(sha256: Option<&str>) -> String {
    sha256.map_or_else(|| "-".to_owned(), |digest| digest.chars().take(8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: [(&str, Cut); 3] = [("ONE", Cut::Never), ("TITLE", Cut::End), ("PATH", Cut::Front)];

    fn table(width: Option<usize>) -> String {
        let rows = vec![
            ["a".to_owned(), "BGP flaps since noon".to_owned(), "logs/deep/below/größe.txt".to_owned()],
            ["b\x1b[31m".to_owned(), "x".to_owned(), "y".to_owned()],
        ];
        fitted(HEADINGS, rows, width)
    }

    #[test]
    fn a_table_is_cut_to_the_columns_that_there_are() {
        let whole = table(None);
        assert!(whole.contains("BGP flaps since noon  logs/deep/below/größe.txt"), "{whole}");
        assert_eq!(whole, table(Some(200)));
        let narrow = table(Some(36));
        let expected = [
            "ONE     TITLE          PATH",
            "a       BGP flaps si…  …ow/größe.txt",
            "b\u{fffd}[31m  x              y",
            "",
        ];
        assert_eq!(narrow, expected.join("\n"));
        // Narrower than it can become it stays readable.
        assert!(table(Some(1)).lines().all(|line| line.chars().count() <= 6 + 2 * 2 + 2 * NARROWEST));
    }

    #[test]
    fn what_is_cut_is_seen_to_be_cut() {
        assert_eq!(cut("größer", Cut::End, 4), "grö…");
        assert_eq!(cut("größer", Cut::Front, 4), "…ßer");
        assert_eq!(cut("größer", Cut::Front, 6), "größer");
        assert_eq!(moment(Some(Time::from_millis(1_700_000_000_999))), "2023-11-14 22:13");
        assert_eq!(digest_start(Some("0123456789")), "01234567");
    }
}
