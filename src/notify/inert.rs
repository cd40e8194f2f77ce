//! Makes text of strangers harmless before it goes into a mail, a log line or a sentence (R60).

use std::borrow::Cow;

/// What stands in for a character that was taken out, so that nobody mistakes the text for the original.
const STAND_IN: char = '\u{fffd}';

/// The text on one line: each control character (also CR, LF, ESC and the C1 set), each line or paragraph separator and
/// each character that reverses the direction of text is replaced by U+FFFD. Everything else stays as it is.
pub fn line(text: &str) -> Cow<'_, str> {
    if text.chars().any(acts) {
        Cow::Owned(text.chars().map(|c| if acts(c) { STAND_IN } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// As [`line()`], and cut to `most` characters; a cut is shown by `…` as the last of them.
pub fn short_line(text: &str, most: usize) -> String {
    let whole = line(text);
    if whole.chars().count() <= most {
        return whole.into_owned();
    }
    whole.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Whether a character does something instead of being seen.
fn acts(c: char) -> bool {
    c.is_control()
        // UAX #14 breaks a line here.
        || matches!(c, '\u{2028}' | '\u{2029}')
        // The bidirectional formatting characters of UAX #9, section 2.
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        // Tags and byte order marks hide text from the eye.
        || matches!(c, '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r60_nothing_that_acts_survives() {
        let hostile = "a\r\nBcc: x@y\t\x1b[31m\u{9b}b\u{202e}c\u{2028}d\0\u{7f}\u{feff}";
        let tame = line(hostile);
        assert_eq!(tame, "a��Bcc: x@y��[31m�b�c�d���");
        assert!(matches!(line("Größe, 漢字 & <b>"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_cut_is_counted_in_characters_and_shown() {
        assert_eq!(short_line("äöü", 3), "äöü");
        assert_eq!(short_line("äöüß", 3), "äö…");
        assert_eq!(short_line("x", 0), "…");
    }
}
