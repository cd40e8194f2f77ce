//! Why a command was refused or failed: one sentence, for a person.

use std::io::Write;

use crate::config::{ConfigError, SecretError};
use crate::model::sanitize;
use crate::server;

/// One sentence that says what happened and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// Writes it to standard error.
    pub(crate) fn say(&self) {
        let sentence = self.sentence();
        // Whoever closed standard error does not want to know.
        let _ = writeln!(std::io::stderr().lock(), "tacdrop: {sentence}");
    }

    /// On one line, and nothing in it acts on a terminal: names of files and what other programs
    /// said may be part of it.
    pub(crate) fn sentence(&self) -> String {
        let lines: Vec<&str> = self.0.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        sanitize::line(&lines.join(" ")).into_owned()
    }
}

impl From<crate::app::Error> for Failure {
    fn from(error: crate::app::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<server::Error> for Failure {
    fn from(error: server::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(format!("the system refused: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_that_does_nothing_to_a_terminal() {
        assert_eq!(Failure::new("one\n  two\x1b[2J\n\n").sentence(), "one two\u{fffd}[2J");
    }
}
