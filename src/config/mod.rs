//! The settings: one typed tree with a default for everything, so that no file is needed.
//!
//! [`Config::load`] lays three things over each other: the defaults, a TOML file, and the
//! environment (`TACDROP__SECTION__KEY`). A key that nobody knows is an error that names the
//! nearest known one; so is a value out of its range. Secrets are never in the file, only
//! references to them ([`Secret`]).
//!
//! `config/tacdrop.toml` shows and explains each key. The data directory is no setting: it is
//! `--data` or `TACDROP_DATA`. Used by `server` and `cli`; the rooms below get plain values.

mod http;
mod legacy;
mod policy;
mod reader;
mod secret;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};

pub use http::{Http, HttpTls};
pub use legacy::Legacy;
pub use secret::{Secret, SecretError};
pub use tree::{
    Config, Digests, KeyFile, Keys, Limits, Log, LogFormat, LogLevel, Metrics, Notify, PolicyFile, Server, SmtpServer,
    SmtpTls, Storage, Tickets,
};

use reader::Reader;

/// What begins the name of each environment variable that is a setting.
const PREFIX: &str = "TACDROP__";

/// Why settings were refused. Each is a sentence that names where the fault is and what to write
/// instead; none holds the value of a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the settings file {} cannot be read: {why}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The machine's reason.
        why: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{}, line {line}: {why}", .file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1 on.
        line: usize,
        /// What the parser says.
        why: String,
    },
    /// A key that does not exist.
    #[error("{place}: there is no such setting; did you mean {nearest}?")]
    Unknown {
        /// The file and the key, or the variable.
        place: String,
        /// The known key that is most like it, written as the user wrote his.
        nearest: String,
    },
    /// A value of the wrong type, out of its range, or in conflict with another.
    #[error("{place}: {problem}")]
    Value {
        /// The file and the key, or the variable.
        place: String,
        /// What it must be.
        problem: String,
    },
    /// A secret that stands where everybody can read it.
    #[error("{place}: a secret must not stand here; {advice}")]
    InlineSecret {
        /// The file and the key, or the variable.
        place: String,
        /// How to refer to it instead.
        advice: String,
    },
}

impl Config {
    /// Reads the settings. `file`: a TOML file, `None`: no file; relative paths in it start at its
    /// directory. `env`: the environment, of which only `TACDROP__...` matters; relative paths in
    /// it start at the working directory.
    ///
    /// # Errors
    /// The first fault that is found, as [`ConfigError`].
    pub fn load(file: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut reader = Reader::default();
        if let Some(file) = file {
            let text =
                std::fs::read_to_string(file).map_err(|why| ConfigError::Unreadable { file: file.to_owned(), why })?;
            reader.add_file(file, &text)?;
        }
        for (name, value) in env {
            if let Some(words) = name.strip_prefix(PREFIX) {
                reader.add_variable(&name, words, value);
            }
        }
        reader.refuse_unknown(&Self::keys())?;
        let mut config = Self::read(&mut reader)?;
        config.policy.rules = config.policy.file.as_deref().map(policy::read).transpose()?;
        Ok(config)
    }

    /// As [`Config::load`], with the environment of this process.
    ///
    /// # Errors
    /// As [`Config::load`]; also a variable whose value is not UTF-8.
    pub fn load_here(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut variables = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            let value = value.into_string().map_err(|_| ConfigError::Value {
                place: name.to_owned(),
                problem: "the value must be UTF-8".to_owned(),
            })?;
            variables.push((name.to_owned(), value));
        }
        Self::load(file, variables.into_iter())
    }

    /// The names of all keys, `section.key`; a secret counts as one.
    pub fn keys() -> Vec<&'static str> {
        let mut reader = Reader::default();
        // Nothing is set, so nothing can be refused; what counts is what is asked for.
        let _ = Self::read(&mut reader);
        reader.into_asked()
    }

    /// Refuses secret files that group or others may read. Files that are missing are no fault
    /// here: what needs them says so. For `serve`, `config check` and `doctor`.
    ///
    /// # Errors
    /// The first such file.
    pub fn check_secrets(&self) -> Result<(), SecretError> {
        let password = self.notify.smtp.as_ref().and_then(|smtp| smtp.password.as_ref());
        let files =
            password.and_then(Secret::path).into_iter().chain(self.keys.kek.as_ref().map(|kek| kek.file.as_path()));
        for file in files {
            match secret::check_private(file) {
                Err(SecretError::Unreadable { why, .. }) if why.kind() == std::io::ErrorKind::NotFound => {}
                checked => checked?,
            }
        }
        Ok(())
    }

    /// The tree that is in force, as TOML that [`Config::load`] reads. Of a secret it shows the
    /// reference, never the value.
    pub fn masked(&self) -> String {
        // Serialising this tree cannot fail; if a change of it ever could, a comment is valid TOML
        // and says so.
        toml::to_string(self).unwrap_or_else(|why| format!("# the settings cannot be shown: {why}\n"))
    }
}

/// [`Config::masked`].
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests;
