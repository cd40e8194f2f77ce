//! Names as Windows can hold them: what engineers are shown of a name that their system could not
//! store.
//!
//! The customer's name stays as it is. Its alias is the name itself where Windows can hold that,
//! else the name with the bytes in the way percent-encoded. Two names of a directory can have one
//! alias, as Windows sees it (`Show` and `show`); one of them has it then, and the others have an
//! alias with their entry's id in it: `show~3fa9c2d41b07.txt`. No name has such a form as its plain
//! alias, so that an alias with an id in it never means anything else.

use unicode_normalization::UnicodeNormalization;

use crate::name::{FileName, MAX_NAME, reverses_text};

/// Bytes of an entry's id that stand in an alias.
pub const ID_BYTES: usize = 6;
/// The same as digits, behind a `~`.
const ID_DIGITS: usize = 2 * ID_BYTES;
/// The longest extension, with its dot, that is kept at the end when something is put in or cut off
/// before it.
const MAX_EXTENSION: usize = 17;

/// The alias of a name: a name that Windows takes, of at most 255 bytes; the name itself where that
/// is one.
pub fn alias(name: &FileName) -> FileName {
    let mut text = encoded(name.as_bytes());
    if text.len() > MAX_NAME {
        let (stem, extension) = split(&text);
        let kept = stem[..stem.floor_char_boundary(MAX_NAME - extension.len())].trim_end_matches(['.', ' ']);
        text = format!("{kept}{extension}");
        if let Some(at) = tilde_before_id(&text) {
            text.replace_range(at..=at, "_");
        }
    } else if let Some(at) = tilde_before_id(&text) {
        text.replace_range(at..=at, "%7E");
        if text.len() > MAX_NAME {
            text.replace_range(at..at + 3, "_");
        }
    }
    FileName::new(text.as_bytes()).unwrap_or_else(|_| name.clone())
}

/// The alias of an entry whose plain alias another one has: with the first bytes of its id before
/// the extension.
pub fn with_id(alias: &FileName, id: &[u8; 16]) -> FileName {
    let text = String::from_utf8_lossy(alias.as_bytes());
    let (stem, extension) = split(&text);
    let kept = &stem[..stem.floor_char_boundary(MAX_NAME - extension.len() - 1 - ID_DIGITS)];
    let id = hex::encode(id.first_chunk::<ID_BYTES>().unwrap_or(&[0; ID_BYTES]));
    FileName::new(format!("{kept}~{id}{extension}").as_bytes()).unwrap_or_else(|_| alias.clone())
}

/// The first bytes of the id that an alias made by [`with_id`] holds; none if it was not made so.
pub fn id_in(name: &FileName) -> Option<[u8; ID_BYTES]> {
    let text = str::from_utf8(name.as_bytes()).ok()?;
    let at = tilde_before_id(text)? + 1;
    let digits = text.get(at..at + ID_DIGITS)?;
    let mut id = [0; ID_BYTES];
    hex::decode_to_slice(digits, &mut id).ok()?;
    (hex::encode(id) == digits).then_some(id)
}

/// What two aliases are compared by: NFC without the difference between upper and lower case. What
/// Windows takes for equal is equal here; a few names more are.
pub fn folded(alias: &FileName) -> Vec<u8> {
    let Ok(text) = str::from_utf8(alias.as_bytes()) else { return alias.as_bytes().to_vec() };
    if text.is_ascii() {
        return text.to_ascii_lowercase().into_bytes();
    }
    // Up and down again: letters that share a capital (sigma, long s) are one letter to Windows.
    let upper: String = text.nfc().flat_map(char::to_uppercase).collect();
    upper.chars().flat_map(char::to_lowercase).nfc().collect::<String>().into_bytes()
}

/// The name with all that Windows refuses percent-encoded; perhaps too long now.
fn encoded(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            // Names that are not UTF-8 as a whole may hold characters that no text may; the alias
            // is text.
            if matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*' | '\\' | '/') || c.is_control() || reverses_text(c) {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| text.push_str(&percent(byte)));
            } else {
                text.push(c);
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&percent(*byte)));
    }
    if let Some(last @ ('.' | ' ')) = text.chars().next_back() {
        text.pop();
        text.push_str(if last == '.' { "%2E" } else { "%20" });
    }
    if is_device(&text) {
        let first = text.remove(0);
        text.insert_str(0, &percent(first as u8));
    }
    text
}

fn percent(byte: u8) -> String {
    format!("%{byte:02X}")
}

/// Whether Windows takes a name for a device, whatever its extension ("Naming Files, Paths, and
/// Namespaces", Win32): its first letter is ASCII then.
fn is_device(text: &str) -> bool {
    let base = text.split('.').next().unwrap_or_default().trim_end_matches(' ');
    if ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].iter().any(|device| base.eq_ignore_ascii_case(device)) {
        return true;
    }
    let Some((port, number)) = base.split_at_checked(3) else { return false };
    let mut number = number.chars();
    (port.eq_ignore_ascii_case("COM") || port.eq_ignore_ascii_case("LPT"))
        && matches!(number.next(), Some('0'..='9' | '\u{b9}' | '\u{b2}' | '\u{b3}'))
        && number.next().is_none()
}

/// A name without its extension, and the extension with its dot. A dot at the front makes none.
fn split(text: &str) -> (&str, &str) {
    match text.rfind('.') {
        Some(at) if at > 0 && text.len() - at <= MAX_EXTENSION => text.split_at(at),
        _ => (text, ""),
    }
}

/// Where the `~` of a name stands that has the form of an alias with an id in it; its digits in
/// upper case are the same to Windows.
fn tilde_before_id(text: &str) -> Option<usize> {
    let (stem, _) = split(text);
    let at = stem.len().checked_sub(ID_DIGITS + 1)?;
    let digits = stem.get(at..)?.strip_prefix('~')?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: [u8; 16] = [0x3f, 0xa9, 0xc2, 0xd4, 0x1b, 0x07, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

    fn name(bytes: &[u8]) -> FileName {
        FileName::new(bytes).unwrap()
    }

    fn shown(bytes: &[u8]) -> String {
        String::from_utf8(alias(&name(bytes)).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn r54_what_windows_can_hold_is_its_own_alias() {
        for text in [
            "show tech.txt",
            " leading",
            "..hidden",
            "a.b.c",
            "Größe.txt",
            "a\u{308}.txt",
            "😀",
            "CON1",
            "COM",
            "COM10",
            "COMA.txt",
            "LPTx",
            "NULL",
            "xNUL",
            "a%3Ab",
            "a~b",
            "show~1.txt",
            "~3fa9c2d41b0.txt",
            "show~3fa9c2d41b0g.txt",
            "%",
            "x%",
            "aux-1.txt",
            "-rf",
            "...x",
        ] {
            assert_eq!(shown(text.as_bytes()), text);
        }
        let longest = "ä".repeat(127);
        assert_eq!(shown(longest.as_bytes()), longest);
    }

    #[test]
    fn r54_what_windows_cannot_hold_has_another_alias() {
        let cases: &[(&[u8], &str)] = &[
            (b"a:b", "a%3Ab"),
            (b"a<b>c|d?e*f\\g\"h", "a%3Cb%3Ec%7Cd%3Fe%2Af%5Cg%22h"),
            (b"x.", "x%2E"),
            (b"x...", "x..%2E"),
            (b"x ", "x%20"),
            (b"x. ", "x.%20"),
            (b"...", "..%2E"),
            (b" ", "%20"),
            (b"NUL", "%4EUL"),
            (b"nul.txt", "%6Eul.txt"),
            (b"NUL.tar.gz", "%4EUL.tar.gz"),
            (b"con .txt", "%63on .txt"),
            (b"PRN.", "PRN%2E"),
            (b"AuX", "%41uX"),
            (b"COM1", "%43OM1"),
            (b"lpt0.log", "%6Cpt0.log"),
            ("COM\u{b9}".as_bytes(), "%43OM\u{b9}"),
            ("LPT\u{b3}.x".as_bytes(), "%4CPT\u{b3}.x"),
            (b"CONIN$", "%43ONIN$"),
            (b"NUL:", "NUL%3A"),
            (b"a\xff", "a%FF"),
            (b"a\xfe.txt", "a%FE.txt"),
            (b"\xc3\xa4\xff", "\u{e4}%FF"),
            // Not UTF-8 as a whole, so its parts were never looked at.
            (b"\xff\xe2\x80\xae", "%FF%E2%80%AE"),
            (b"\xff\xc2\x85", "%FF%C2%85"),
            // The form that only aliases with an id have.
            (b"show~3fa9c2d41b07.txt", "show%7E3fa9c2d41b07.txt"),
            (b"show~3FA9C2D41B07", "show%7E3FA9C2D41B07"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(shown(bytes), *expected, "{bytes:?}");
        }
        // Too long when it is encoded: cut before the extension.
        let text = shown(&[b"x".repeat(200), b":".repeat(40), b".txt".to_vec()].concat());
        assert!(text.len() <= 255 && text.starts_with("xxx") && text.ends_with("%3A.txt"), "{text}");
        let text = shown(&[b"x".repeat(241), b"~3fa9c2d41b07".to_vec(), b"\xff".to_vec()].concat());
        assert_eq!(text.len(), 255);
        let text = shown(&[b"x".repeat(242), b"~3fa9c2d41b07".to_vec()].concat());
        assert_eq!(text, format!("{}_3fa9c2d41b07", "x".repeat(242)));
    }

    #[test]
    fn r54_an_alias_with_an_id_names_its_entry_before_the_extension() {
        for (plain, expected) in [
            ("show.txt", "show~3fa9c2d41b07.txt"),
            ("show.tar.gz", "show.tar~3fa9c2d41b07.gz"),
            ("show", "show~3fa9c2d41b07"),
            (".profile", ".profile~3fa9c2d41b07"),
            ("a.this is no extension", "a.this is no extension~3fa9c2d41b07"),
        ] {
            let with_id = with_id(&name(plain.as_bytes()), &ID);
            assert_eq!(with_id.as_bytes(), expected.as_bytes());
            assert_eq!(id_in(&with_id), ID.first_chunk().copied());
            assert_ne!(alias(&with_id), with_id, "no name is shown like that by itself");
        }
        let long = with_id(&name(&b"y".repeat(255)), &ID);
        assert_eq!(long.as_bytes().len(), 255);
        assert_eq!(id_in(&long), ID.first_chunk().copied());
        for text in ["show.txt", "show~3FA9C2D41B07.txt", "show~3fa9c2d41b0.txt", "3fa9c2d41b07"] {
            assert_eq!(id_in(&name(text.as_bytes())), None, "{text}");
        }
    }

    #[test]
    fn r54_names_that_windows_takes_for_equal_fold_alike() {
        for (one, two) in [
            ("Show.TXT", "show.txt"),
            ("GRÖSSE", "größe"),
            ("Ärger", "A\u{308}RGER"),
            ("ς", "Σ"),
            ("\u{17f}", "s"),
            ("\u{1c4}", "\u{1c6}"),
        ] {
            assert_eq!(folded(&name(one.as_bytes())), folded(&name(two.as_bytes())), "{one} {two}");
        }
        assert_ne!(folded(&name(b"a")), folded(&name(b"b")));
        assert_ne!(folded(&name("a".as_bytes())), folded(&name("ä".as_bytes())));
    }

    /// Microsoft's rules, written down apart from what is tested.
    fn windows_takes(name: &FileName) -> bool {
        let Ok(text) = str::from_utf8(name.as_bytes()) else { return false };
        let base = text.split('.').next().unwrap().trim_end().to_uppercase();
        let reserved = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&&*base)
            || ["COM", "LPT"].iter().any(|port| {
                base.strip_prefix(port).is_some_and(|rest| rest.chars().count() == 1 && "0123456789¹²³".contains(rest))
            });
        !reserved
            && !text.ends_with(['.', ' '])
            && !text.chars().any(|c| c < ' ' || "<>:\"/\\|?*".contains(c))
            && text.encode_utf16().count() <= 255
    }

    /// Bytes out of what the rules speak of.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let pieces = prop_oneof![
            "[a-zA-Z0-9 .~%_-]{1,8}".prop_map(String::into_bytes),
            proptest::sample::select(vec![
                "NUL",
                "con",
                "COM1",
                "lpt\u{b2}",
                ".",
                " ",
                ":",
                "?",
                "\\",
                "~3fa9c2d41b07",
                "ä",
                "a\u{308}",
                "😀",
                ".txt",
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            proptest::collection::vec(0x80_u8..=0xff, 1..4),
            (1_usize..90).prop_map(|many| b":".repeat(many)),
            (1_usize..250).prop_map(|many| b" ".repeat(many)),
            (1_usize..250).prop_map(|many| b"x".repeat(many)),
        ];
        proptest::collection::vec(pieces, 1..8).prop_map(|pieces| {
            let mut bytes = pieces.concat();
            bytes.truncate(255);
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn r54_an_alias_is_always_a_name_that_windows_takes(bytes in bytes()) {
            let Ok(name) = FileName::new(&bytes) else { return Ok(()) };
            let plain = alias(&name);
            prop_assert!(windows_takes(&plain), "{:?} -> {:?}", bytes, plain.as_bytes());
            prop_assert!(tilde_before_id(str::from_utf8(plain.as_bytes()).unwrap()).is_none());
            prop_assert!(alias(&plain) == plain);
            if windows_takes(&name) && id_in(&name).is_none() && tilde_before_id(str::from_utf8(&bytes).unwrap()).is_none() {
                prop_assert_eq!(plain.as_bytes(), &bytes);
            }
            let other = with_id(&plain, &ID);
            prop_assert!(windows_takes(&other), "{:?} -> {:?}", bytes, other.as_bytes());
            prop_assert_eq!(id_in(&other), ID.first_chunk().copied());
        }
    }
}
