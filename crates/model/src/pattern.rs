//! Wildcards: `*` and `?`, as the POSIX shell has them (XCU, section 2.14), for one name at a time.

use unicode_normalization::UnicodeNormalization;

/// A character: a Unicode scalar value, or a byte that is no UTF-8, above all of those.
type Letter = u32;

/// Where bytes that are no UTF-8 begin among the letters.
const BYTES: Letter = 0x11_0000;

/// A pattern for one name.
pub struct Pattern {
    tokens: Vec<Token>,
}

#[derive(PartialEq)]
enum Token {
    This(Letter),
    /// `?`
    One,
    /// `*`
    Many,
}

impl Pattern {
    /// `wild` says where the wildcards of `bytes` stand; everything else means itself.
    pub fn new(bytes: &[u8], wild: &[usize]) -> Self {
        let (mut tokens, mut at) = (Vec::new(), 0);
        for place in wild.iter().copied().chain([bytes.len()]) {
            tokens.extend(letters(bytes.get(at..place).unwrap_or_default()).into_iter().map(Token::This));
            match bytes.get(place) {
                Some(b'*') if tokens.last() != Some(&Token::Many) => tokens.push(Token::Many),
                Some(b'?') => tokens.push(Token::One),
                _ => {}
            }
            at = place + 1;
        }
        Self { tokens }
    }

    /// Whether a name fits, and how many steps it took to see that: at most twice the product of
    /// both lengths, since only the last `*` is ever tried again. A dot at the beginning wants to
    /// be named.
    pub fn fits(&self, name: &[u8]) -> (bool, u64) {
        let name = letters(name);
        let dot = Letter::from(b'.');
        if name.first() == Some(&dot) && self.tokens.first() != Some(&Token::This(dot)) {
            return (false, 1);
        }
        let (mut token, mut at, mut steps) = (0, 0, 0);
        // The last `*`: the token behind it, and the letter that is to be tried next with that.
        let mut again: Option<(usize, usize)> = None;
        loop {
            steps += 1;
            match (self.tokens.get(token), name.get(at)) {
                (None, None) => return (true, steps),
                (Some(Token::Many), _) => {
                    token += 1;
                    again = Some((token, at + 1));
                }
                (Some(Token::One), Some(_)) => (token, at) = (token + 1, at + 1),
                (Some(Token::This(this)), Some(letter)) if this == letter => (token, at) = (token + 1, at + 1),
                _ => match again {
                    Some((behind, next)) if next <= name.len() => {
                        (token, at, again) = (behind, next, Some((behind, next + 1)));
                    }
                    _ => return (false, steps),
                },
            }
        }
    }
}

/// Composed as names are compared: NFC.
fn letters(bytes: &[u8]) -> Vec<Letter> {
    let mut letters = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        letters.extend(chunk.valid().nfc().map(Letter::from));
        letters.extend(chunk.invalid().iter().map(|byte| BYTES + Letter::from(*byte)));
    }
    letters
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &[u8]) -> Pattern {
        let wild: Vec<usize> = (0..text.len()).filter(|at| b"*?".contains(&text[*at])).collect();
        Pattern::new(text, &wild)
    }

    fn fits(text: &str, name: &str) -> bool {
        pattern(text.as_bytes()).fits(name.as_bytes()).0
    }

    #[test]
    fn wildcards_are_those_of_a_shell() {
        for (text, name) in [
            ("*", "a"),
            ("*.txt", ".a.txt.txt".trim_start_matches('.')),
            ("a*b*c", "abbc"),
            ("?", "ü"),
            ("??", "😀x"),
            ("a[", "a["),
            ("a[b", "a[b"),
            (".*", ".a"),
            ("**a**", "xax"),
            ("Gr*", "Größe"),
            ("*.?.log", "show-tech.7.log"),
            ("abc", "abc"),
            ("*", "a.b"),
        ] {
            assert!(fits(text, name), "{text} {name}");
        }
        for (text, name) in [
            ("*", ".a"),
            ("?a", ".a"),
            ("a*b", "abc"),
            ("?", ""),
            ("?", "ab"),
            ("[ab]", "a"),
            ("*.txt", "a.txt.gz"),
            ("abc", "abd"),
            ("", "a"),
        ] {
            assert!(!fits(text, name), "{text} {name}");
        }
        // Quoted ones mean themselves.
        assert!(Pattern::new(b"a*", &[]).fits(b"a*").0 && !Pattern::new(b"a*", &[]).fits(b"ab").0);
    }

    #[test]
    fn r54_composed_and_decomposed_names_are_one() {
        assert!(fits("Gro\u{308}*", "Größe") && fits("Grö*", "Gro\u{308}ße") && fits("Gr?ße", "Gro\u{308}ße"));
    }

    #[test]
    fn r53_bytes_that_are_no_text_match_as_bytes() {
        assert!(pattern(b"a*").fits(b"a\xff").0 && pattern(b"?\xff").fits(b"a\xff").0);
        assert!(!pattern(b"?\xfe").fits(b"a\xff").0);
    }

    #[test]
    fn r58_no_pattern_takes_more_steps_than_both_lengths_allow() {
        let (text, name) = (b"*a".repeat(100), b"a".repeat(254));
        let text = [&text[..], b"b"].concat();
        let (found, steps) = pattern(&text).fits(&name);
        assert!(!found && steps <= 2 * (text.len() as u64 + 1) * (name.len() as u64 + 1), "{steps}");
    }

    /// The plainest matcher there is.
    fn plain(text: &[u8], name: &[u8]) -> bool {
        match (text.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) if plain(rest, name) => true,
            (Some((b'*', _)), Some((_, behind))) => plain(text, behind),
            (Some((b'?', rest)), Some((_, behind))) => plain(rest, behind),
            (Some((byte, rest)), Some((letter, behind))) if byte == letter => plain(rest, behind),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_plainest_matcher(text in "[ab*?]{0,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(fits(&text, &name), plain(text.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn r58_no_pattern_panics(text in prop::collection::vec(any::<u8>(), 0..40), name in prop::collection::vec(any::<u8>(), 0..40)) {
            let (_, steps) = pattern(&text).fits(&name);
            prop_assert!(steps <= 2 * 41 * 41);
        }
    }
}
