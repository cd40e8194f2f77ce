//! `engineer key` and `contact key`: the public keys that a person logs in with.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::failure::Failure;
use crate::model::Identifier;
use crate::ssh;

/// The largest file of public keys in bytes: a thousand long keys.
const LARGEST_KEY_FILE: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Let the person log in with more keys
    Add {
        /// The login name
        id: Identifier,
        /// A file of public keys, one on each line
        file: PathBuf,
    },
    /// Take a key away; sessions that use it end within a second
    Remove {
        /// The login name
        id: Identifier,
        /// 'SHA256:...' as 'show' shows it, or a file of public keys
        #[arg(value_name = "FINGERPRINT_OR_FILE")]
        key: String,
    },
}

/// What is to become of a person's keys.
pub(super) enum KeyChange {
    /// These are added: the fingerprint and the kind of each.
    Add(Vec<(String, String)>),
    /// Those with these fingerprints are taken away.
    Remove(Vec<String>),
}

impl KeyCommand {
    /// Whose keys change, and how: the files that it names are read.
    pub(super) fn read(self) -> Result<(Identifier, KeyChange), Failure> {
        Ok(match self {
            Self::Add { id, file } => (id, KeyChange::Add(read_keys(&file)?)),
            Self::Remove { id, key } if key.starts_with("SHA256:") => (id, KeyChange::Remove(vec![key])),
            Self::Remove { id, key } => {
                let keys = read_keys(Path::new(&key))?;
                (id, KeyChange::Remove(keys.into_iter().map(|(fingerprint, _)| fingerprint).collect()))
            }
        })
    }
}

impl KeyChange {
    /// What was done, for people. `what` the person is: an engineer or a contact.
    pub(super) fn said(&self, what: &str, id: &Identifier) -> String {
        match self {
            Self::Add(keys) => format!("Added to {what} {id}: {}.", counted(keys.len())),
            Self::Remove(fingerprints) => format!("Removed from {what} {id}: {}.", counted(fingerprints.len())),
        }
    }
}

pub(super) fn counted(keys: usize) -> String {
    if keys == 1 { "1 key".to_owned() } else { format!("{keys} keys") }
}

/// The fingerprint and the kind of each key in a file, `-` for standard input: one key on each
/// line, blank lines and comments between them.
pub(super) fn read_keys(file: &Path) -> Result<Vec<(String, String)>, Failure> {
    let shown = file.display();
    let unreadable = |error: std::io::Error| {
        // Root works as the owner of the data directory, who may not read what root may.
        let advice = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "; '-' instead of the file takes keys from standard input",
            _ => "",
        };
        Failure::new(format!("the key file {shown} cannot be read: {error}{advice}"))
    };
    let source: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(file).map_err(unreadable)?),
    };
    let mut text = String::new();
    source.take(LARGEST_KEY_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LARGEST_KEY_FILE {
        return Err(Failure::new(format!("{shown} is too large for a file of public keys")));
    }
    parse_keys(&text).map_err(|problem| Failure::new(format!("{shown}: {problem}")))
}

fn parse_keys(text: &str) -> Result<Vec<(String, String)>, String> {
    // Line by line it would only be said that the first line is no key.
    if text.contains("PRIVATE KEY-----") {
        return Err(ssh::KeyError::PrivateGiven.to_string());
    }
    let mut keys = Vec::new();
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = ssh::key_fingerprint(line).map_err(|error| format!("line {number}: {error}"))?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    if keys.is_empty() { Err("there is no key in this file".to_owned()) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f anna@example";

    #[test]
    fn a_key_file_has_one_key_on_each_line() {
        let keys = parse_keys(&format!("# laptop\n\n{KEY}\r\n{KEY}\n")).unwrap();
        assert_eq!(keys.len(), 1);
        assert!(keys[0].0.starts_with("SHA256:") && keys[0].1 == "ssh-ed25519");
    }

    #[test]
    fn what_is_no_key_file_is_refused_with_its_line() {
        assert!(parse_keys("\n# nothing\n").unwrap_err().contains("no key"));
        assert!(parse_keys(&format!("{KEY}\nrubbish")).unwrap_err().starts_with("line 2: "));
        assert!(parse_keys(&ssh::generate_host_key().unwrap()).unwrap_err().contains("private key"));
    }
}
