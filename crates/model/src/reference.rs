//! Ticket references as ticket systems write them: `#4711`, `RT/4711`, `ACME.12`, `SR 12-34`.
//!
//! A reference is a login name and a segment of paths too, so that it has a second form which needs
//! no quotes anywhere: each run of `#`, `.`, `/` and blanks becomes one `-`, and none stands at the
//! beginning or the end. `#4711` logs in as `4711`, `RT/4711` as `RT-4711`. Two references of one
//! form are one reference to tacdrop.

use std::fmt;
use std::str::FromStr;

use crate::word::Identifier;

/// The longest reference as it is written, in bytes.
const LONGEST: usize = 100;

/// A ticket reference as somebody wrote it, with the login name that it makes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    name: Identifier,
    written: String,
}

/// The text is no [`Reference`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a reference has letters, digits, '-' and '_', and between or before them '#', '.', '/' and blanks, of which each \
     run stands for one '-' in the login name; without these it begins with a letter or digit and has at most 64 \
     characters"
)]
pub struct ReferenceError;

impl Reference {
    /// The form that logs in, stands in paths, and is unique without regard to case.
    pub fn name(&self) -> &Identifier {
        &self.name
    }

    /// The text as it was written, without blanks around it.
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// The same, if it says more than the login name does.
    pub fn written_otherwise(&self) -> Option<&str> {
        (self.written != self.name.as_str()).then_some(self.written.as_str())
    }
}

impl From<Identifier> for Reference {
    fn from(name: Identifier) -> Self {
        Self { written: name.to_string(), name }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let written = text.trim_matches(' ');
        // Two dots are a way up, and no reference.
        if written.len() > LONGEST || written.contains("..") {
            return Err(ReferenceError);
        }
        let words = written.split(['#', '.', '/', ' ']).filter(|word| !word.is_empty());
        let name = words.collect::<Vec<_>>().join("-").parse().map_err(|_| ReferenceError)?;
        Ok(Self { name, written: written.to_owned() })
    }
}

/// As it was written.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_becomes_a_login_name_by_one_rule() {
        for (written, name) in [
            ("XT-4711", "XT-4711"),
            ("#4711", "4711"),
            ("RT/4711", "RT-4711"),
            ("ACME.12", "ACME-12"),
            ("SR 12-34", "SR-12-34"),
            ("Ticket#2026120110000012", "Ticket-2026120110000012"),
            ("RT #4711", "RT-4711"),
            ("./#a_b#/.", "a_b"),
            ("INC - 7", "INC---7"),
        ] {
            let reference: Reference = written.parse().unwrap();
            assert_eq!((reference.name().as_str(), reference.as_written()), (name, written));
            assert_eq!(reference.written_otherwise().is_some(), written != name);
        }
        let trimmed: Reference = "  SR 1 ".parse().unwrap();
        assert_eq!((trimmed.to_string().as_str(), trimmed.name().as_str()), ("SR 1", "SR-1"));
    }

    #[test]
    fn what_has_no_login_name_is_refused() {
        let long = format!("a{}", "#b".repeat(50));
        for bad in [
            "", " ", "#", "./.", "-1", "#-1", "_a", "ä", "a\n", "a\tb", "a:b", "a\u{a0}b", "a\\b", "../etc", "a..b",
            &long,
        ] {
            assert_eq!(bad.parse::<Reference>(), Err(ReferenceError), "{bad:?}");
        }
        assert!("x".repeat(64).parse::<Reference>().is_ok() && "x".repeat(65).parse::<Reference>().is_err());
        assert!(format!("#{}", "x".repeat(64)).parse::<Reference>().is_ok());
    }

    /// Of every byte it is decided, and what was written makes the same name once more as a name.
    #[test]
    fn the_login_name_is_its_own_login_name() {
        for byte in 0..=u8::MAX {
            let text = format!("a{}b", char::from(byte));
            let fits = byte.is_ascii_alphanumeric() || b"-_#./ ".contains(&byte);
            let reference = text.parse::<Reference>();
            assert_eq!(reference.is_ok(), fits, "{byte}");
            if let Ok(reference) = reference {
                let again: Reference = reference.name().as_str().parse().unwrap();
                assert_eq!(again, Reference::from(reference.name().clone()));
                assert_eq!(again.written_otherwise(), None);
            }
        }
    }
}
