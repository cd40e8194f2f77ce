//! Names under which clients upload what they rename at the end: `NAME.filepart`, `.in.NAME.`.

use std::fmt;

use serde::Serialize;

use crate::name::{FileName, MAX_NAME};

/// The most patterns in a list.
pub const MAX_PATTERNS: usize = 64;

/// The patterns of WinSCP and psftp's relatives (`.filepart`), KDE (`.part`), rclone
/// (`.HASH.partial`), many scripts (`.tmp`) and lftp (`.in.NAME.`).
const DEFAULT: [&str; 5] = ["*.filepart", "*.part", "*.partial", "*.tmp", ".in.*"];

/// Which names are temporary: a list of at most [`MAX_PATTERNS`] patterns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct TemporaryNames(Vec<NamePattern>);

/// Why a list of patterns is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Too long a list.
    #[error("there can be at most {MAX_PATTERNS} patterns")]
    TooMany,
    /// Not a pattern.
    #[error(
        "'{0}' is no pattern of names: 1 to {MAX_NAME} bytes with '*' for any characters, at least one other character, \
         no '/' and no control characters"
    )]
    NoPattern(String),
}

impl TemporaryNames {
    /// Takes a list of patterns. An empty one: no name is temporary.
    ///
    /// # Errors
    /// [`PatternError`] says what is wrong with which one.
    pub fn new<T: AsRef<str>>(patterns: impl IntoIterator<Item = T>) -> Result<Self, PatternError> {
        let mut list = Vec::new();
        for pattern in patterns {
            if list.len() >= MAX_PATTERNS {
                return Err(PatternError::TooMany);
            }
            list.push(NamePattern::new(pattern.as_ref())?);
        }
        Ok(Self(list))
    }

    /// Whether a file of this name will get another one.
    pub fn matches(&self, name: &FileName) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name.as_bytes()))
    }
}

impl Default for TemporaryNames {
    fn default() -> Self {
        Self(DEFAULT.iter().map(|text| NamePattern((*text).to_owned())).collect())
    }
}

/// A pattern of names: `*` stands for any bytes or none, everything else for itself, ASCII letters
/// for both cases.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
struct NamePattern(String);

impl NamePattern {
    fn new(text: &str) -> Result<Self, PatternError> {
        let fits = (1..=MAX_NAME).contains(&text.len())
            && text.chars().any(|c| c != '*')
            && !text.chars().any(|c| c == '/' || c.is_control());
        if fits { Ok(Self(text.to_owned())) } else { Err(PatternError::NoPattern(text.escape_debug().to_string())) }
    }

    /// Goes back to the last star only, so that no pattern takes longer than its length times the
    /// name's.
    fn matches(&self, name: &[u8]) -> bool {
        let pattern = self.0.as_bytes();
        let (mut at, mut seen) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while let Some(byte) = name.get(seen) {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, seen));
                    at += 1;
                }
                Some(wanted) if wanted.eq_ignore_ascii_case(byte) => (at, seen) = (at + 1, seen + 1),
                _ => {
                    let Some((of, from)) = star else { return false };
                    star = Some((of, from + 1));
                    (at, seen) = (of + 1, from + 1);
                }
            }
        }
        pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(names: &TemporaryNames, name: &[u8]) -> bool {
        names.matches(&FileName::new(name).unwrap())
    }

    #[test]
    fn names_that_clients_rename_at_the_end_are_temporary() {
        let names = TemporaryNames::default();
        for name in [
            &b"show tech.txt.filepart"[..],
            b"a.part",
            b"a.FILEPART",
            b"core.gz.7c1a9f3e.partial",
            b".tmp",
            b"a.tmp",
            b".in.show-tech.txt.",
            b".IN.x",
            b"a\xff.Part",
        ] {
            assert!(temporary(&names, name), "{name:?}");
        }
        for name in [&b"a.parts"[..], b"part", b"a.part.gz", b"in.a", b"x.in.a", b"tmp", b"a.tmp2", "a.pärt".as_bytes()]
        {
            assert!(!temporary(&names, name), "{name:?}");
        }
        assert!(!temporary(&TemporaryNames::new([""; 0]).unwrap(), b"a.part"));
    }

    #[test]
    fn stars_stand_for_any_bytes() {
        for (pattern, name, fits) in [
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "abcd", false),
            ("**x", "x", true),
            ("x**", "xyz", true),
            ("*a*", "xxaxx", true),
            ("*a*", "xxx", false),
            ("a", "ab", false),
            ("ab", "a", false),
        ] {
            let names = TemporaryNames::new([pattern]).unwrap();
            assert_eq!(temporary(&names, name.as_bytes()), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_hostile_name_costs_no_more_than_its_length_times_the_pattern() {
        let pattern = "*a".repeat(127) + "b";
        let names = TemporaryNames::new([&pattern]).unwrap();
        assert!(!temporary(&names, &[b'a'; 255]));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["", "*", "**", "a/b", "a\nb", &"x".repeat(256)] {
            assert!(matches!(TemporaryNames::new([bad]), Err(PatternError::NoPattern(_))), "{bad:?}");
        }
        assert_eq!(TemporaryNames::new(vec!["a"; 65]), Err(PatternError::TooMany));
        assert!(TemporaryNames::new(vec!["a"; 64]).is_ok());
    }
}
