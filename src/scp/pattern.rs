//! Wildcards: `*`, `?` and `[...]`, as the POSIX shell has them (XCU, section 2.14), for one name at a time.

use std::ops::RangeInclusive;

use unicode_normalization::UnicodeNormalization;

/// A character: a Unicode scalar value, or a byte that is no UTF-8, above all of those.
type Letter = u32;

/// Where bytes that are no UTF-8 begin among the letters.
const BYTES: Letter = 0x11_0000;

/// A pattern for one name.
pub(super) struct Pattern {
    tokens: Vec<Token>,
}

enum Token {
    This(Letter),
    /// `?`
    One,
    /// `*`
    Many,
    /// `[...]`, or `[!...]` if `negated`.
    Set {
        negated: bool,
        /// In rising order; they neither meet nor touch.
        ranges: Vec<RangeInclusive<Letter>>,
    },
}

impl Pattern {
    /// `wild` says where the wildcards of `bytes` stand; everything else means itself.
    pub(super) fn new(bytes: &[u8], wild: &[usize]) -> Self {
        let is_wild = |at: usize| wild.binary_search(&at).is_ok();
        let (mut tokens, mut at) = (Vec::new(), 0);
        while let Some(byte) = bytes.get(at) {
            if !is_wild(at) {
                let end = (at..bytes.len()).find(|at| is_wild(*at)).unwrap_or(bytes.len());
                tokens.extend(letters(bytes.get(at..end).unwrap_or_default()).into_iter().map(Token::This));
                at = end;
                continue;
            }
            at += 1;
            match byte {
                b'*' => {
                    if !matches!(tokens.last(), Some(Token::Many)) {
                        tokens.push(Token::Many);
                    }
                }
                b'?' => tokens.push(Token::One),
                _ => match set(bytes.get(at..).unwrap_or_default()) {
                    Some((set, length)) => {
                        tokens.push(set);
                        at += length;
                    }
                    // A bracket that is never closed means itself.
                    None => tokens.push(Token::This(Letter::from(b'['))),
                },
            }
        }
        Self { tokens }
    }

    /// Whether a name fits, and how many steps it took to see that: at most the product of both lengths, since only the
    /// last `*` is ever tried again. The length of a set is the number of its ranges. A dot at the beginning wants to be
    /// named.
    pub(super) fn fits(&self, name: &[u8]) -> (bool, u64) {
        let name = letters(name);
        let is_dot = |letter: Option<&Letter>| letter == Some(&Letter::from(b'.'));
        if is_dot(name.first()) && !matches!(self.tokens.first(), Some(Token::This(first)) if is_dot(Some(first))) {
            return (false, 1);
        }
        let (mut token, mut at, mut steps) = (0, 0, 0u64);
        // The last `*`: the token behind it, and the letter that is to be tried next with that.
        let mut again: Option<(usize, usize)> = None;
        loop {
            steps += 1;
            match (self.tokens.get(token), name.get(at)) {
                (None, None) => return (true, steps),
                (Some(Token::Many), _) => {
                    token += 1;
                    again = Some((token, at + 1));
                    continue;
                }
                (Some(wanted), Some(letter)) => {
                    let (takes, compared) = wanted.takes(*letter);
                    steps += compared;
                    if takes {
                        (token, at) = (token + 1, at + 1);
                        continue;
                    }
                }
                _ => {}
            }
            match again {
                Some((behind, next)) if next <= name.len() => {
                    (token, at, again) = (behind, next, Some((behind, next + 1)));
                }
                _ => return (false, steps),
            }
        }
    }
}

impl Token {
    /// Whether this stands for a letter, and how many ranges were looked at for that.
    fn takes(&self, letter: Letter) -> (bool, u64) {
        match self {
            Self::This(this) => (*this == letter, 0),
            Self::One => (true, 0),
            Self::Many => (false, 0),
            Self::Set { negated, ranges } => {
                let mut compared = 0;
                let is_member = ranges.iter().any(|range| {
                    compared += 1;
                    range.contains(&letter)
                });
                (is_member != *negated, compared)
            }
        }
    }
}

/// The set behind a `[`, and how many bytes it takes with its `]`; none if there is no `]`.
fn set(bytes: &[u8]) -> Option<(Token, usize)> {
    let negated = matches!(bytes.first(), Some(b'!' | b'^'));
    let from = usize::from(negated);
    // A `]` at the beginning means itself.
    let end = (from + 1..bytes.len()).find(|at| bytes.get(*at) == Some(&b']'))?;
    let mut members = letters(bytes.get(from..end)?).into_iter().peekable();
    let mut ranges = Vec::new();
    while let Some(first) = members.next() {
        let mut ahead = members.clone();
        match (ahead.next(), ahead.next()) {
            (Some(dash), Some(last)) if dash == Letter::from(b'-') => {
                ranges.push(first..=last);
                members = ahead;
            }
            _ => ranges.push(first..=first),
        }
    }
    Some((Token::Set { negated, ranges: merged(ranges) }, end + 1))
}

/// The same letters in as few ranges as there can be: each costs a comparison for every letter of every name.
fn merged(mut ranges: Vec<RangeInclusive<Letter>>) -> Vec<RangeInclusive<Letter>> {
    // One like `z-a` has no members.
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by_key(|range| *range.start());
    ranges.dedup_by(|next, before| {
        let touches = *next.start() <= before.end().saturating_add(1);
        if touches {
            *before = *before.start()..=*before.end().max(next.end());
        }
        touches
    });
    ranges
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
        let wild: Vec<usize> = (0..text.len()).filter(|at| b"*?[".contains(&text[*at])).collect();
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
            ("[ab]x", "bx"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[^a-c]x", "-x"),
            ("[]a]x", "]x"),
            ("[a-]x", "-x"),
            ("[äö]x", "öx"),
            ("a[", "a["),
            ("a[b", "a[b"),
            (".*", ".a"),
            ("**a**", "xax"),
            ("Gr*", "Größe"),
            ("*[0-9].log", "show-tech.7.log"),
            ("abc", "abc"),
            ("*", "a.b"),
        ] {
            assert!(fits(text, name), "{text} {name}");
        }
        for (text, name) in [
            ("*", ".a"),
            ("?a", ".a"),
            ("[.]a", ".a"),
            ("a*b", "abc"),
            ("?", ""),
            ("?", "ab"),
            ("[ab]", "c"),
            ("[!ab]", "a"),
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

    #[test]
    fn r58_each_range_of_a_set_is_a_step() {
        // Every other letter, so that no two of them touch; the last one fits.
        let members: String = (0..300u32).map(|n| char::from_u32(0x4e00 + 2 * n).unwrap()).collect();
        let last = members.chars().last().unwrap().to_string();
        let (found, steps) = pattern(format!("[{members}]").as_bytes()).fits(last.as_bytes());
        assert!(found && (300..310).contains(&steps), "{steps}");
        let (found, steps) = pattern(format!("*[{members}]").as_bytes()).fits(&[b'a'; 250]);
        assert!(!found && (75_000..76_000).contains(&steps), "{steps}");
        // Ranges that touch, meet, or come twice are one, in whatever order.
        for set in ["[9876543210]", "[5-80-47-9]", "[z-a0-90-9]", "[55550-9]"] {
            assert_eq!(pattern(set.as_bytes()).fits(b"9"), (true, 3), "{set}");
            assert_eq!(pattern(set.as_bytes()).fits(b"a"), (false, 2), "{set}");
        }
        assert!(!fits("[0-35-9]", "4") && fits("[5-90-3]", "3") && fits("[!z-a]", "b") && !fits("[z-a]", "b"));
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
