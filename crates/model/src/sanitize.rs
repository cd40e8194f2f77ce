//! Makes text of strangers harmless before it goes into a mail, a log line or a sentence (R60).

use std::borrow::Cow;

/// What stands in for a character that was taken out, so that nobody mistakes the text for the
/// original.
const STAND_IN: char = '\u{fffd}';

/// The text on one line: each control character (also CR, LF, ESC and the C1 set), each line or
/// paragraph separator and each character that reverses the direction of text is replaced by
/// U+FFFD. Everything else stays as it is.
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

/// A name or path as text that cannot be taken for anything else, and from which it can be read
/// back: in quotation marks, with `\\` and `\"` for these two characters, `\u{...}` for each
/// character that acts or cannot be told from an ordinary blank or from nothing, and `\x..` for
/// each byte that belongs to no character. A single blank between two visible characters stays.
pub fn quoted(name: &[u8]) -> String {
    let mut text = String::from("\"");
    let mut chunks = name.utf8_chunks().peekable();
    // What a mail program would swallow, or break the line at so that the rest looks like a line of
    // its own.
    let mut after_blank = true;
    while let Some(chunk) = chunks.next() {
        let mut chars = chunk.valid().chars().peekable();
        while let Some(c) = chars.next() {
            let at_end = chars.peek().is_none() && chunk.invalid().is_empty() && chunks.peek().is_none();
            let blank_is_odd = after_blank || at_end || chars.peek() == Some(&' ');
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                ' ' if !blank_is_odd => text.push(c),
                c if c == ' ' || acts(c) || is_unseen(c) => text.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
                c => text.push(c),
            }
            after_blank = c == ' ';
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
            after_blank = false;
        }
    }
    text.push('"');
    text
}

/// Whether a character cannot be told from a blank or from nothing: white space, format characters,
/// fillers, and selectors.
fn is_unseen(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
                | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0100}'..='\u{e01ef}'
        )
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
