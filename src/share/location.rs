//! Where an artifact lies, in the words that an SFTP client takes.

use std::borrow::Cow;

use crate::model::alias::alias;
use crate::model::{FileName, SharePath, Word};
use crate::notify::inert;

/// The address that people reach the server at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicAddress {
    /// A host name or IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl PublicAddress {
    /// What is shown before any server has served the data directory.
    pub fn unknown() -> Self {
        Self { host: "localhost".to_owned(), port: 2222 }
    }

    /// Host and port as a URL has them (RFC 3986, section 3.2: an IPv6 address in brackets).
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// `sftp://HOST:PORT/REF/PATH`: what an engineer opens.
    pub fn location(&self, ticket: &Word, path: &SharePath) -> String {
        format!("sftp://{}/{ticket}/{}", self.authority(), path.url_encoded())
    }

    /// `sftp://USER@HOST:PORT/`: what a customer opens.
    pub fn url(&self, user: &Word) -> String {
        format!("sftp://{user}@{}/", self.authority())
    }

    /// The one line that fetches an artifact with OpenSSH, for a POSIX shell.
    pub fn fetch_command(&self, engineer: &Word, ticket: &Word, path: &SharePath) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let remote = String::from_utf8_lossy(&glob_escaped(&typeable(path))).into_owned();
        format!("scp -P {} {} .", self.port, shell_word(&format!("{engineer}@{host}:/{ticket}{remote}")))
    }
}

/// The path in names that can be typed: each name that is not UTF-8, or holds what acts, by its alias, by which engineers see it.
/// Any other name stays as it is, and so does a name whose alias another one of its directory may have.
fn typeable(path: &SharePath) -> SharePath {
    let names: Vec<FileName> = path
        .names()
        .iter()
        .map(|name| match str::from_utf8(name.as_bytes()) {
            Ok(text) if matches!(inert::line(text), Cow::Borrowed(_)) => name.clone(),
            _ => alias(name),
        })
        .collect();
    SharePath::from_names(names)
}

/// OpenSSH's scp takes the remote path of a download as a pattern: its special characters get a backslash.
fn glob_escaped(path: &SharePath) -> Vec<u8> {
    path.to_bytes()
        .iter()
        .flat_map(|byte| match byte {
            b'*' | b'?' | b'[' | b']' | b'\\' | b'{' | b'}' | b'~' => vec![b'\\', *byte],
            _ => vec![*byte],
        })
        .collect()
}

/// Quotes a word for a POSIX shell: single quotes, an inner one as `'\''`.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
