//! Secrets: where they are, never what they are. Read at the last moment, wiped when dropped.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The longest secret in bytes.
const LONGEST: u64 = 4096;

/// A reference to a secret: `{ file = "..." }` or `{ env = "..." }`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Secret {
    /// The content of a file that only its owner may read. A line end at its end does not count.
    File(PathBuf),
    /// The value of an environment variable.
    Env(String),
}

/// Why a secret cannot be had. Never tells its value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the secret file {} cannot be read: {why}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The machine's reason.
        why: io::Error,
    },
    /// Others can read the file.
    #[error("the secret file {0} can be read by others; run: chmod 600 {0}", .file.display())]
    Exposed {
        /// The file.
        file: PathBuf,
    },
    /// The environment has no such variable.
    #[error("the environment variable {name} is not set, but the settings say that it holds a secret")]
    Unset {
        /// The variable.
        name: String,
    },
    /// What was found is no secret.
    #[error("the secret in {place} must be one line of UTF-8 text, 1 to 4096 bytes long")]
    Unusable {
        /// The file or the variable.
        place: String,
    },
}

impl Secret {
    /// Reads the secret now.
    ///
    /// # Errors
    /// [`SecretError`]; a file that group or others may read is refused.
    pub fn read(&self) -> Result<Zeroizing<String>, SecretError> {
        let (text, place) = match self {
            Self::File(path) => (read_file(path)?, path.display().to_string()),
            Self::Env(name) => {
                let value = std::env::var_os(name).ok_or_else(|| SecretError::Unset { name: name.clone() })?;
                (value.into_string().map(Zeroizing::new).ok(), name.clone())
            }
        };
        text.filter(|text| !text.is_empty() && !text.contains(['\n', '\r', '\0']))
            .filter(|text| text.len() as u64 <= LONGEST)
            .ok_or(SecretError::Unusable { place })
    }

    /// The file that holds it, if it is a file.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Env(_) => None,
        }
    }
}

/// Refuses a file that is not its owner's alone.
pub(super) fn check_private(file: &Path) -> Result<(), SecretError> {
    let facts = std::fs::metadata(file).map_err(|why| SecretError::Unreadable { file: file.to_owned(), why })?;
    is_private(file, &facts)
}

fn is_private(file: &Path, facts: &Metadata) -> Result<(), SecretError> {
    if facts.permissions().mode() & 0o077 == 0 { Ok(()) } else { Err(SecretError::Exposed { file: file.to_owned() }) }
}

/// The text of a file without the line end at its end; `None`: it is no text, or too long.
fn read_file(path: &Path) -> Result<Option<Zeroizing<String>>, SecretError> {
    let unreadable = |why| SecretError::Unreadable { file: path.to_owned(), why };
    let file = File::open(path).map_err(unreadable)?;
    // The permissions of what was opened, not of what lies there a moment later.
    is_private(path, &file.metadata().map_err(unreadable)?)?;
    // Reserved at once, so that no half of it stays behind in memory when the buffer grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 3));
    file.take(LONGEST + 3).read_to_end(&mut bytes).map_err(unreadable)?;
    let line = bytes.strip_suffix(b"\n").map(|rest| rest.strip_suffix(b"\r").unwrap_or(rest)).unwrap_or(&bytes);
    Ok(str::from_utf8(line).ok().map(|text| Zeroizing::new(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn r63_a_secret_file_that_others_can_read_is_refused() {
        for mode in [0o640, 0o604, 0o660, 0o644, 0o610, 0o601] {
            let (_directory, path) = file(b"hunter2", mode);
            let error = Secret::File(path).read().unwrap_err();
            assert!(matches!(error, SecretError::Exposed { .. }), "{mode:o}");
            assert!(error.to_string().contains("chmod 600") && !error.to_string().contains("hunter2"));
        }
        for mode in [0o600, 0o400] {
            let (_directory, path) = file(b"hunter2", mode);
            assert_eq!(*Secret::File(path).read().unwrap(), "hunter2");
        }
    }

    #[test]
    fn a_secret_is_one_line() {
        for (content, secret) in [
            (&b"a b\n"[..], Some("a b")),
            (b"a b\r\n", Some("a b")),
            ("ü".as_bytes(), Some("ü")),
            (b"", None),
            (b"\n", None),
            (b"a\nb\n", None),
            (b"a\n\n", None),
            (b"\xff", None),
            (&[b'x'; 4096], Some(str::from_utf8(&[b'x'; 4096]).unwrap())),
            (&[b'x'; 4097], None),
        ] {
            let (_directory, path) = file(content, 0o600);
            assert_eq!(Secret::File(path).read().ok().as_deref().map(String::as_str), secret);
        }
        assert!(matches!(Secret::File("/nowhere/at/all".into()).read(), Err(SecretError::Unreadable { .. })));
    }

    #[test]
    fn a_secret_may_be_in_the_environment() {
        let error = Secret::Env("TACDROP_TEST_NO_SUCH_VARIABLE".into()).read().unwrap_err();
        assert!(error.to_string().contains("TACDROP_TEST_NO_SUCH_VARIABLE is not set"));
        // Every process that cargo starts has this one.
        assert_eq!(*Secret::Env("CARGO_PKG_NAME".into()).read().unwrap(), "tacdrop");
    }
}
