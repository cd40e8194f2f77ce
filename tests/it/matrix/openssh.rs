//! OpenSSH: `sftp`, and `scp` with both of its protocols.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::client::{At, Client, Did, Outcome, With};
use super::ground::Ground;
use crate::support::child::{Finished, Run};

/// An OpenSSH program with the login of `at`: it asks for a password as often as it likes.
pub(crate) fn program(at: &At<'_>, name: &str) -> Run {
    let house = &at.ground.house;
    let both = "PreferredAuthentications=publickey,password";
    match &at.with {
        With::Token(token) => house.with_token(name, token),
        With::Key(key) => house.with_key(name, &crate::support::server::Key(key.clone())),
        With::WrongThenToken(token) => house.with_wrong_then_token(name, token),
        With::WrongKeyThenToken(key, token) => house.with_askpass(name, &[both], token).arg("-i").arg(key),
        With::AgentThenToken(socket, token) => {
            let agent = format!("IdentityAgent={}", socket.display());
            house.with_askpass(name, &[both, "IdentitiesOnly=no", &agent], token)
        }
    }
}

/// A word as `sftp` reads it in a batch file.
pub(crate) fn quoted(path: &OsStr) -> Vec<u8> {
    let mut word = vec![b'"'];
    for byte in path.as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            word.push(b'\\');
        }
        word.push(*byte);
    }
    word.push(b'"');
    word
}

/// OpenSSH's `sftp` in batch mode.
pub(crate) struct Sftp;

impl Sftp {
    /// One command with paths behind it.
    fn command(run: Run, at: &At<'_>, verb: &str, paths: &[&OsStr]) -> Did {
        let mut line = verb.as_bytes().to_vec();
        for path in paths {
            line.push(b' ');
            line.extend(quoted(path));
        }
        line.push(b'\n');
        Self::batch(run, at, &line).into()
    }

    fn batch(run: Run, at: &At<'_>, commands: &[u8]) -> Finished {
        let file = at.ground.work().join(".matrix-batch");
        fs::write(&file, commands).unwrap();
        run.arg("-P").arg(at.port.to_string()).arg("-b").arg(file).arg(format!("{}@127.0.0.1", at.user)).finish()
    }

    fn plain(at: &At<'_>, verb: &str, paths: &[&OsStr]) -> Did {
        Self::command(program(at, "sftp"), at, verb, paths)
    }
}

impl Client for Sftp {
    fn name(&self) -> &'static str {
        "OpenSSH sftp"
    }

    fn version(&self) -> String {
        let said = Run::new("ssh").arg("-V").finish().err();
        said.split(',').next().unwrap_or_default().trim().to_owned()
    }

    fn put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        Self::plain(at, "put", &[local, remote])
    }

    fn get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        Self::plain(at, "get", &[remote, local])
    }

    fn resume_put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        Self::plain(at, "reput", &[local, remote])
    }

    fn resume_get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        Self::plain(at, "reget", &[remote, local])
    }

    fn put_tree(&self, at: &At<'_>, local: &OsStr, _remote: &OsStr) -> Did {
        Self::plain(at, "put -r", &[local])
    }

    fn get_tree(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        Self::plain(at, "get -r", &[remote, local])
    }

    fn rename(&self, at: &At<'_>, from: &OsStr, to: &OsStr) -> Did {
        Self::plain(at, "rename", &[from, to])
    }

    fn delete(&self, at: &At<'_>, path: &OsStr) -> Did {
        Self::plain(at, "rm", &[path])
    }

    fn put_with_time(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        Self::plain(at, "put -p", &[local, remote])
    }

    fn get_with_time(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        Self::plain(at, "get -p", &[remote, local])
    }

    fn list(&self, at: &At<'_>, directory: &OsStr) -> Did {
        Self::plain(at, "ls -l", &[directory])
    }

    fn room(&self, at: &At<'_>) -> Did {
        Self::plain(at, "df -h", &[])
    }

    fn log_in(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.put(at, local, remote)
    }

    fn specials(&self, _ground: &Ground) -> Vec<(&'static str, Outcome)> {
        Vec::new()
    }
}
