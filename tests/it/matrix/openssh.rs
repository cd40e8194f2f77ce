//! OpenSSH's `sftp`, and the login that all of OpenSSH's programs share.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::client::{At, Client, Did, Outcome, With, read_by_people};
use super::ground::{Ground, MIB};
use super::trials::{arrived, judge, same, sure};
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

/// `user@host:/path`. `for_shell`: with a backslash before what a shell would not take as it is, as
/// whoever uses the legacy protocol has learned to write it. (In quotes it would not do: scp
/// compares the answer with the path as it was typed.)
pub(crate) fn there(at: &At<'_>, path: &OsStr, for_shell: bool) -> OsString {
    let mut word = format!("{}@127.0.0.1:/", at.user).into_bytes();
    for byte in path.as_bytes() {
        if for_shell && byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"/._-".contains(byte) {
            word.push(b'\\');
        }
        word.push(*byte);
    }
    OsString::from_vec(word)
}

/// Where a copy goes: the directory, if the name stays the same.
pub(crate) fn target(at: &At<'_>, local: &OsStr, remote: &OsStr) -> OsString {
    let (local, remote) = (Path::new(local), Path::new(remote));
    match remote.parent() {
        Some(parent) if local.file_name() == remote.file_name() => there(at, parent.as_os_str(), false),
        _ => there(at, remote.as_os_str(), false),
    }
}

/// OpenSSH's `sftp` in batch mode, with `ssh` or another program below it.
pub(crate) struct Sftp {
    pub(super) name: &'static str,
    pub(super) program: fn(&At<'_>, &str) -> Run,
    pub(super) version: fn() -> String,
    /// Whether ssh is below it.
    pub(super) by_ssh: bool,
}

pub(crate) const SFTP: Sftp = Sftp { name: "OpenSSH sftp", program, version, by_ssh: true };

pub(crate) fn version() -> String {
    let said = Run::new("ssh").arg("-V").finish().err();
    said.split(',').next().unwrap_or_default().trim().to_owned()
}

impl Sftp {
    fn plain(&self, at: &At<'_>, verb: &str, paths: &[&OsStr]) -> Did {
        Self::batch((self.program)(at, "sftp"), at, &Self::command(verb, paths)).into()
    }

    /// One command with paths behind it.
    fn command(verb: &str, paths: &[&OsStr]) -> Vec<u8> {
        let mut line = verb.as_bytes().to_vec();
        for path in paths {
            line.push(b' ');
            line.extend(quoted(path));
        }
        line.push(b'\n');
        line
    }

    fn batch(run: Run, at: &At<'_>, commands: &[u8]) -> Finished {
        let file = at.ground.work().join(".matrix-batch");
        fs::write(&file, commands).unwrap();
        run.arg("-P").arg(at.port.to_string()).arg("-b").arg(file).arg(format!("{}@127.0.0.1", at.user)).finish()
    }

    /// Up by `scp` with the same program below it.
    fn scp(&self, ground: &Ground, source: &Path) -> Outcome {
        let (at, name) = (ground.customer(&ground.ticket), source.file_name().unwrap());
        let run = (self.program)(&at, "scp").args(["-s", "-P", &at.port.to_string()]);
        let did = run.arg(name).arg(target(&at, name, name)).finish();
        sure(judge(self, ground, did.into(), |_| arrived(ground, source, name.as_bytes())))
    }

    /// Up and down with options.
    fn both_with(&self, ground: &Ground, options: &[&str], source: &Path) -> Outcome {
        let name = source.file_name().unwrap().to_str().unwrap();
        let (at, back) = (ground.customer(&ground.ticket), format!("{name}.back"));
        let commands = [Self::command("put", &[name.as_ref()]), Self::command("get", &[name.as_ref(), back.as_ref()])];
        let did = Self::batch((self.program)(&at, "sftp").args(options), &at, &commands.concat());
        sure(judge(self, ground, did.into(), |_| {
            arrived(ground, source, name.as_bytes())?;
            same(source, &ground.work().join(&back))
        }))
    }
}

impl Client for Sftp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> String {
        (self.version)()
    }

    fn words(&self, said: &Finished) -> String {
        // What programs say of each connection that ends, and dbclient of each that begins.
        read_by_people(&said.err(), &["Connection closed", "dbclient: Caution", "Permission denied, please"])
    }

    fn put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.plain(at, "put", &[local, remote])
    }

    fn get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        self.plain(at, "get", &[remote, local])
    }

    fn resume_put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.plain(at, "reput", &[local, remote])
    }

    fn resume_get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        self.plain(at, "reget", &[remote, local])
    }

    fn put_tree(&self, at: &At<'_>, local: &OsStr, _remote: &OsStr) -> Did {
        self.plain(at, "put -r", &[local])
    }

    fn get_tree(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        self.plain(at, "get -r", &[remote, local])
    }

    fn rename(&self, at: &At<'_>, from: &OsStr, to: &OsStr) -> Did {
        self.plain(at, "rename", &[from, to])
    }

    fn delete(&self, at: &At<'_>, path: &OsStr) -> Did {
        self.plain(at, "rm", &[path])
    }

    fn put_with_time(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.plain(at, "put -p", &[local, remote])
    }

    fn get_with_time(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        self.plain(at, "get -p", &[remote, local])
    }

    fn list(&self, at: &At<'_>, directory: &OsStr) -> Did {
        self.plain(at, "ls -l", &[directory])
    }

    fn room(&self, at: &At<'_>) -> Did {
        self.plain(at, "df -h", &[])
    }

    fn log_in(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.put(at, local, remote)
    }

    fn specials(&self, ground: &Ground) -> Vec<(&'static str, Outcome)> {
        if !self.by_ssh {
            let file = ground.file("by-scp.bin", 20 * MIB, 97);
            return vec![("put by `scp -S dbclient`", self.scp(ground, &file))];
        }
        let (large, again, small) = (
            ground.large_file("many-at-once.bin"),
            ground.large_file("rekey-limit.bin"),
            ground.file("one-by-one.bin", MIB, 96),
        );
        vec![
            ("300 MiB up and down with `-R 1024`", self.both_with(ground, &["-R", "1024"], &large)),
            ("300 MiB up and down with `RekeyLimit 1M`", self.both_with(ground, &["-o", "RekeyLimit=1M"], &again)),
            ("put and get with `-B 4096 -R 1`", self.both_with(ground, &["-B", "4096", "-R", "1"], &small)),
        ]
    }
}
