//! Where an artifact lies, in the words that an SFTP client takes.

use std::borrow::Cow;

use crate::model::alias::{alias, id_in, with_id};
use crate::model::sanitize;
use crate::model::{FileName, SharePath};
use crate::namespace::tree::{Way, is_from_support};

/// The path by which engineers open an entry: its own names, except those that have the form of an
/// alias with an id in it, which could be another entry's. These are shown to engineers by an alias
/// that only they have.
pub(crate) fn openable(way: &Way) -> SharePath {
    with_aliases(way, |name| id_in(name).is_some())
}

/// The same in names that can be typed and stored anywhere: also each name that is not UTF-8, or
/// holds what acts, stands by an alias that nobody else in its directory can have, today or later.
pub(crate) fn typeable(way: &Way) -> SharePath {
    let is_text = |name: &FileName| {
        str::from_utf8(name.as_bytes()).is_ok_and(|text| matches!(sanitize::line(text), Cow::Borrowed(_)))
    };
    with_aliases(way, |name| id_in(name).is_some() || !is_text(name))
}

fn with_aliases(way: &Way, needs_one: impl Fn(&FileName) -> bool) -> SharePath {
    // What engineers have put there themselves has no aliases.
    if way.steps().first().is_some_and(|(name, _)| is_from_support(name)) {
        return way.path();
    }
    let shown = |(name, id): &(FileName, [u8; 16])| {
        if needs_one(name) { with_id(&alias(name), id) } else { name.clone() }
    };
    SharePath::from_names(way.steps().iter().map(shown).collect())
}

/// OpenSSH's scp takes the remote path of a download as a pattern: its special characters get a
/// backslash.
pub(super) fn glob_escaped(path: &SharePath) -> Vec<u8> {
    path.to_bytes()
        .iter()
        .flat_map(|byte| match byte {
            b'*' | b'?' | b'[' | b']' | b'\\' | b'{' | b'}' | b'~' => vec![b'\\', *byte],
            _ => vec![*byte],
        })
        .collect()
}

/// Quotes a word for a POSIX shell: single quotes, an inner one as `'\''`. What acts instead of
/// being seen is named by its bytes, so that the line itself holds nothing of the kind.
pub(super) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut word = String::from("'");
    for c in text.chars() {
        match sanitize::line(c.encode_utf8(&mut [0; 4])) {
            _ if c == '\'' => word.push_str("'\\''"),
            Cow::Borrowed(_) => word.push(c),
            Cow::Owned(_) => {
                let bytes: String = c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("\\{byte:03o}")).collect();
                word.push_str(&format!("'\"$(printf '{bytes}')\"'"));
            }
        }
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::PublicAddress;

    fn address(host: &str) -> PublicAddress {
        PublicAddress { host: host.to_owned(), port: 2222 }
    }

    #[test]
    fn a_location_is_percent_encoded() {
        let path = SharePath::parse("logs/show tech ä#1.txt".as_bytes()).unwrap();
        let ticket = "XT-1".parse().unwrap();
        assert_eq!(
            address("drop.example.net").location(&ticket, &path),
            "sftp://drop.example.net:2222/XT-1/logs/show%20tech%20%C3%A4%231.txt"
        );
        assert_eq!(address("::1").url(&ticket), "sftp://XT-1@[::1]:2222/");
    }

    #[test]
    fn r60_a_fetch_command_holds_any_name_as_one_word() {
        let path = SharePath::parse(b"it's; rm -rf $HOME.txt").unwrap();
        let (engineer, ticket) = ("anna".parse().unwrap(), "XT-1".parse().unwrap());
        assert_eq!(
            address("h").fetch_command(&engineer, &ticket, &path),
            r"scp -P 2222 'anna@h:/XT-1/it'\''s; rm -rf $HOME.txt' ."
        );
    }
}
