//! Many rows in one statement: each statement is two changes of threads while everybody else waits
//! for the writer.

/// How many rows a statement takes. Each number is a text of its own, which is prepared once.
const AT_ONCE: [usize; 3] = [64, 8, 1];

/// Rows that one statement changes. `VALUES` names its columns `column1`, `column2`, ... in SQLite
/// and in PostgreSQL.
pub const ROWS: usize = 100;

/// A statement for each number of rows in [`AT_ONCE`].
pub struct Texts([String; 3]);

impl Texts {
    /// What `text` makes of a number of rows.
    pub fn of(text: impl Fn(usize) -> String) -> Self {
        Self(AT_ONCE.map(text))
    }

    /// The statement for a part of [`parts`].
    pub fn text(&'static self, rows: usize) -> &'static str {
        let [many, some, one] = &self.0;
        match rows {
            64 => many,
            8 => some,
            _ => one,
        }
    }
}

/// Rows of parameters, `common` of them shared by all rows and named in `row` as they are; `#1` is
/// a row's first own one.
pub fn rows(count: usize, common: usize, own: usize, row: &str) -> String {
    let one = |number: usize| {
        (1..=own).fold(row.to_owned(), |text, at| {
            text.replace(&format!("#{at}"), &format!("${}", common + number * own + at))
        })
    };
    (0..count).map(one).collect::<Vec<_>>().join(", ")
}

/// Parts of as many as a statement takes.
pub fn parts<T>(mut all: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let count = AT_ONCE.into_iter().find(|count| *count <= all.len())?;
        let (part, rest) = all.split_at_checked(count)?;
        all = rest;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_the_sizes_that_there_are_texts_for() {
        let all: Vec<usize> = (0..64 * 2 + 8 * 3 + 2).collect();
        let sizes: Vec<_> = parts(&all).map(<[usize]>::len).collect();
        assert_eq!(sizes, [64, 64, 8, 8, 8, 1, 1]);
        assert_eq!(parts(&all).flatten().copied().collect::<Vec<_>>(), all);
        assert_eq!(parts::<u8>(&[]).count(), 0);
        static TEXTS: std::sync::LazyLock<Texts> = std::sync::LazyLock::new(|| Texts::of(|count| count.to_string()));
        assert_eq!(AT_ONCE.map(|count| TEXTS.text(count)), ["64", "8", "1"]);
        assert_eq!(rows(2, 1, 3, "(#1, $1, #2, #3)"), "($2, $1, $3, $4), ($5, $1, $6, $7)");
    }
}
