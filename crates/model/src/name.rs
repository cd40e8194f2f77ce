//! File and directory names: bytes from a stranger until they are a [`FileName`].
//!
//! A name is kept as the bytes that came. Valid UTF-8 is compared in NFC (macOS sends NFD,
//! everybody else NFC); other bytes are compared as they are. Nothing here decides where anything
//! lies on a disk: a name is never a path.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// The longest name, in bytes.
pub const MAX_NAME: usize = 255;
/// The longest name that is looked up, in bytes. What tacdrop says about a file bears its name and
/// a suffix.
pub const MAX_GIVEN_NAME: usize = MAX_NAME + 16;

/// What RFC 3986 calls unreserved stays as it is; everything else is percent-encoded.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One file or directory name: no `/`, no control or bidirectional-control character, not `.` or
/// `..`; 1 to 255 bytes where something is made, a few more where it is looked up.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName(Vec<u8>);

/// Why bytes are no [`FileName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No bytes, or `.` or `..`.
    #[error("a name cannot be empty, '.' or '..'")]
    Reserved,
    /// More than 255 bytes.
    #[error("a name can have at most 255 bytes")]
    TooLong,
    /// A `/`, a control character or a character that reverses the direction of text.
    #[error("a name cannot hold '/', control characters or characters that reverse the direction of text")]
    Character,
}

impl FileName {
    /// Takes the bytes of a name, or says why they are none.
    ///
    /// # Errors
    /// [`NameError`] names the rule that the bytes break.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        if bytes.len() > MAX_NAME { Err(NameError::TooLong) } else { Self::given(bytes) }
    }

    /// Takes the bytes of a name that is looked up: one of tacdrop's own texts may be called so.
    ///
    /// # Errors
    /// [`NameError`], [`NameError::TooLong`] beyond [`MAX_GIVEN_NAME`].
    pub fn given(bytes: &[u8]) -> Result<Self, NameError> {
        if bytes.is_empty() || bytes == b"." || bytes == b".." {
            return Err(NameError::Reserved);
        }
        if bytes.len() > MAX_GIVEN_NAME {
            return Err(NameError::TooLong);
        }
        let sanitize = match str::from_utf8(bytes) {
            Ok(text) => !text.chars().any(|c| c == '/' || c.is_control() || reverses_text(c)),
            Err(_) => !bytes.iter().any(|b| *b == b'/' || b.is_ascii_control()),
        };
        if sanitize { Ok(Self(bytes.to_vec())) } else { Err(NameError::Character) }
    }

    /// The bytes as they came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes that two names are compared by: NFC where the name is UTF-8.
    pub fn folded(&self) -> Vec<u8> {
        match str::from_utf8(&self.0) {
            Ok(text) if is_nfc_quick(text.chars()) != IsNormalized::Yes => text.nfc().collect::<String>().into_bytes(),
            _ => self.0.clone(),
        }
    }

    /// The name as one segment of a URL (RFC 3986, section 2.3: all but unreserved characters
    /// encoded).
    pub fn url_encoded(&self) -> String {
        percent_encode(&self.0, UNRESERVED).to_string()
    }
}

/// For people: the text where it is UTF-8, else percent-encoded where it is not ASCII.
impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match str::from_utf8(&self.0) {
            Ok(text) => f.write_str(text),
            Err(_) => percent_encode(&self.0, percent_encoding::CONTROLS).fmt(f),
        }
    }
}

/// Names do not belong in logs: not even a `Debug` gives them away.
impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileName({} bytes)", self.0.len())
    }
}

/// Unicode's bidirectional formatting characters (UAX #9, section 2).
pub(super) fn reverses_text(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r54_names_are_taken_or_refused_by_rule() {
        let refused: [(&[u8], NameError); 9] = [
            (b"", NameError::Reserved),
            (b".", NameError::Reserved),
            (b"..", NameError::Reserved),
            (b"a/b", NameError::Character),
            (b"a\0b", NameError::Character),
            (b"a\r\nb", NameError::Character),
            (b"\x1b[31m", NameError::Character),
            ("a\u{202e}b".as_bytes(), NameError::Character),
            (&[b'x'; 256], NameError::TooLong),
        ];
        for (bytes, why) in refused {
            assert_eq!(FileName::new(bytes), Err(why), "{bytes:?}");
        }
        for bytes in
            [&b"show tech.txt"[..], b"...", b"NUL", b"a:b", b"-rf", b"a\xff", "Größe.txt".as_bytes(), &[b'x'; 255]]
        {
            assert_eq!(FileName::new(bytes).map(|name| name.0), Ok(bytes.to_vec()));
        }
    }

    #[test]
    fn what_is_looked_up_may_have_a_suffix() {
        assert!(FileName::given(&[b'x'; MAX_GIVEN_NAME]).is_ok());
        assert_eq!(FileName::given(&[b'x'; MAX_GIVEN_NAME + 1]), Err(NameError::TooLong));
        assert_eq!(FileName::given(b".."), Err(NameError::Reserved));
    }

    #[test]
    fn r54_nfc_and_nfd_are_one_name() {
        let composed = FileName::new("ä.txt".as_bytes()).unwrap();
        let decomposed = FileName::new("a\u{308}.txt".as_bytes()).unwrap();
        assert_ne!(composed, decomposed);
        assert_eq!(composed.folded(), decomposed.folded());
    }

    #[test]
    fn r53_names_that_are_not_utf8_stay_apart() {
        let (one, two) = (FileName::new(b"a\xff").unwrap(), FileName::new(b"a\xfe").unwrap());
        assert_ne!(one.folded(), two.folded());
        assert_eq!((one.url_encoded(), one.to_string()), ("a%FF".to_owned(), "a%FF".to_owned()));
    }
}
