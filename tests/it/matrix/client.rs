//! What a program has to bring to be tried.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::ground::Ground;
use crate::support::child::Finished;

/// What became of one thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done, and what it left behind was verified.
    Works,
    /// It was not done; the program ended with this code and these words, and nothing was left
    /// behind.
    Refused { code: Option<i32>, words: String },
    /// The program has no such function, and why or what instead.
    NotOffered(&'static str),
}

/// What a program did when it was asked to.
pub(crate) enum Did {
    /// It ran, and said this.
    Ran(Finished),
    /// It has no such function, and why or what instead. Short: it stands in the table.
    Not(&'static str),
}

impl From<Finished> for Did {
    fn from(finished: Finished) -> Self {
        Self::Ran(finished)
    }
}

/// With what somebody logs in.
#[derive(Debug, Clone)]
pub(crate) enum With {
    /// This password.
    Token(String),
    /// This private key (OpenSSH's format; no passphrase), and nothing else.
    Key(PathBuf),
    /// A wrong password, then this one, on the same connection.
    WrongThenToken(String),
    /// A key that nobody knows, then this password, on the same connection.
    WrongKeyThenToken(PathBuf, String),
    /// An agent (its socket) with eight keys that nobody knows, then this password, on the same
    /// connection.
    AgentThenToken(PathBuf, String),
}

/// Where a program goes, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct At<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) port: u16,
    /// The fingerprint of the server's key, `SHA256:...`.
    pub(crate) host_key: String,
    pub(crate) user: String,
    pub(crate) with: With,
}

/// A program. Local paths start at `ground.work()`, which is the working directory; remote ones
/// have no slash at their front and start at the root of the login. Each function runs the program
/// to its end; what it says is judged by its exit code and by what it leaves behind, so none of
/// them checks anything.
pub(crate) trait Client: Sync {
    /// Its name in the table.
    fn name(&self) -> &'static str;
    /// Its version, in its own words.
    fn version(&self) -> String;
    /// What a person reads when it was refused: one line, the one that says why.
    fn words(&self, said: &Finished) -> String {
        first_line(&said.err()).or_else(|| first_line(&said.out())).unwrap_or_else(|| "nothing".to_owned())
    }
    /// Whether it failed. Programs that exit 0 after a failure look at what they said.
    fn failed(&self, said: &Finished) -> bool {
        said.code() != Some(0)
    }

    /// One file up.
    fn put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did;
    /// One file down.
    fn get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did;
    /// Why nothing can be continued: asked where trying would need a part that the program itself
    /// takes away.
    fn resumes(&self) -> Result<(), &'static str> {
        Ok(())
    }
    /// Goes on with an upload that was cut.
    fn resume_put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did;
    /// Goes on with a download that was cut: `local` holds the first part.
    fn resume_get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did;
    /// The directory `local` with all that is in it, so that the files lie in `remote`. Both names
    /// are the same, and `remote` does not exist yet.
    fn put_tree(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did;
    /// The same down. Into the directory `local`, which exists and is empty: either directly, or
    /// below it in `remote`.
    fn get_tree(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did;
    fn rename(&self, at: &At<'_>, from: &OsStr, to: &OsStr) -> Did;
    fn delete(&self, at: &At<'_>, path: &OsStr) -> Did;
    /// One file up with its time.
    fn put_with_time(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did;
    /// One file down with its time.
    fn get_with_time(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did;
    /// A listing of a directory, on stdout, with the file names in it (`f0000` and so on).
    fn list(&self, at: &At<'_>, directory: &OsStr) -> Did;
    /// How much room there is.
    fn room(&self, at: &At<'_>) -> Did;
    /// Logs in as `at.with` says, in one connection, and puts one file. Only asked for the three
    /// last of [`With`].
    fn log_in(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did;
    /// What only this program has: what was done, and what came of it. Verified there.
    fn specials(&self, _ground: &Ground) -> Vec<(&'static str, Outcome)> {
        Vec::new()
    }
    /// Those of `specials` that cannot be tried on this machine, which its user has said: their
    /// lines stay as they are.
    fn untried(&self) -> &'static [&'static str] {
        &[]
    }
}

/// What a person reads, line by line, who leaves out what begins with one of these, and the line
/// that greets.
pub(crate) fn read_by_people(text: &str, noise: &[&str]) -> String {
    let says = |line: &&str| {
        let greets = line.starts_with("Ticket XT-");
        !line.is_empty() && !greets && !noise.iter().any(|start| line.starts_with(start))
    };
    let mut lines: Vec<&str> = text.lines().map(str::trim).filter(says).collect();
    // ssh passes on the server's sentences while scp or sftp write their own: which comes first is
    // chance. Sentences begin with a capital letter.
    lines.sort_by_key(|line| !line.starts_with(char::is_uppercase));
    if lines.is_empty() { "nothing".to_owned() } else { lines.join(" / ") }
}

/// The first line with something in it.
pub(crate) fn first_line(text: &str) -> Option<String> {
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}
