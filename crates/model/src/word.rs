//! Ticket references and the ids of engineers, contacts and organisations:
//! `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`.

use std::fmt;
use std::str::FromStr;

/// A ticket reference or the id of a person or an organisation.
///
/// One form for all of them: they are login names, path segments and words of command lines, so
/// nothing in them ever needs quoting.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identifier(String);

/// The text is no [`Identifier`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must begin with a letter or digit and have at most 64 letters, digits, '-' or '_'")]
pub struct IdentifierError;

impl Identifier {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Identifier {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        let bytes = text.as_bytes();
        let first_fits = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        let rest_fits = bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_');
        if first_fits && rest_fits && bytes.len() <= 64 { Ok(Self(text.to_owned())) } else { Err(IdentifierError) }
    }
}

impl AsRef<str> for Identifier {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_begins_with_a_letter_or_digit_and_needs_no_quotes() {
        for good in ["XT-4711", "a", "0_0", &"x".repeat(64)] {
            assert!(good.parse::<Identifier>().is_ok(), "{good}");
        }
        // r44: what may stand in one stands in URLs as it is (RFC 3986, section 2.3), and means
        // nothing on a command line.
        for byte in 0..=u8::MAX {
            let fits = format!("a{}", char::from(byte)).parse::<Identifier>().is_ok();
            assert_eq!(fits, byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'), "{byte}");
        }
        for bad in ["", "-a", "_a", "a b", "a/b", "ä", "a\n", "..", &"x".repeat(65)] {
            assert!(bad.parse::<Identifier>().is_err(), "{bad:?}");
        }
    }
}
