//! Many rows in one statement: each statement is two changes of threads while everybody else waits for the writer.

use std::fmt::Write as _;

use super::sqlite::batch::Asked;

/// How many rows a statement takes. Each number is a text of its own, which is prepared once.
const AT_ONCE: [usize; 2] = [64, 8];

/// A statement for each number of rows in [`AT_ONCE`].
pub(super) struct Texts([String; 2]);

impl Texts {
    /// What `text` makes of a number of rows.
    pub(super) fn of(text: impl Fn(usize) -> String) -> Self {
        Self(AT_ONCE.map(text))
    }

    pub(super) fn query(&'static self, rows: usize) -> Option<Asked<'static>> {
        let at = AT_ONCE.iter().position(|count| *count == rows)?;
        self.0.get(at).map(|text| sqlx::query(text.as_str()))
    }
}

/// Rows of parameters, `common` of them shared by all rows and named in `row` as they are; `#1` is a row's first own one.
pub(super) fn rows(count: usize, common: usize, own: usize, row: &str) -> String {
    let mut text = String::new();
    for number in 0..count {
        let mut one = row.to_owned();
        for at in 1..=own {
            one = one.replace(&format!("#{at}"), &format!("${}", common + number * own + at));
        }
        let _ = write!(text, "{}{one}", if number > 0 { ", " } else { "" });
    }
    text
}

/// Takes off as many as a statement takes; one if that is none.
pub(super) fn split<T>(some: &[T]) -> Option<(&[T], &[T])> {
    let count = AT_ONCE.into_iter().find(|count| *count <= some.len()).unwrap_or(1);
    some.split_at_checked(count).filter(|(now, _)| !now.is_empty())
}

/// Rows that one statement changes. `VALUES` names its columns `column1`, `column2`, ... in SQLite and in PostgreSQL.
pub(super) const ROWS: usize = 100;
