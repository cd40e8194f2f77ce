//! PuTTY: `psftp`, and `pscp` with both of its protocols.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::client::{At, Client, Did, Outcome, With, first_line, read_by_people};
use super::ground::{Ground, MIB};
use super::trials::{arrived, judge, same};
use super::{openssh, trials};
use crate::support;
use crate::support::child::{Finished, Run};

/// PuTTY's form of a private key.
fn ppk(key: &Path, ground: &Ground) -> PathBuf {
    let ppk = ground.work().join(key.file_name().unwrap()).with_extension("ppk");
    if !ppk.exists() {
        Run::new("puttygen").arg(key).args(["-O", "private", "-o"]).arg(&ppk).finish().ok();
    }
    ppk
}

/// A PuTTY program with the login of `at`; the host's name goes behind it.
fn program(at: &At<'_>, name: &str, options: &[&str]) -> Run {
    let ground = at.ground;
    let password = |token: &str| {
        let file = ground.work().join(".password");
        fs::write(&file, format!("{token}\n")).unwrap();
        vec![OsString::from("-pwfile"), file.into()]
    };
    let here = |run: Run| run.within(&ground.work()).env("HOME", ground.work());
    let run = match &at.with {
        With::Token(token) => here(Run::new(name)).args(["-batch", "-noagent"]).args(password(token)),
        With::Key(key) => here(Run::new(name)).args(["-batch", "-noagent", "-i"]).arg(ppk(key, ground)),
        With::WrongThenToken(token) => {
            let prompted = here(Run::new(support::python())).arg(support::script("prompted.py"));
            prompted.args(["mistyped", token, "--", name, "-noagent"])
        }
        With::WrongKeyThenToken(key, token) => {
            here(Run::new(name)).args(["-batch", "-noagent", "-i"]).arg(ppk(key, ground)).args(password(token))
        }
        With::AgentThenToken(socket, token) => {
            here(Run::new(name)).env("SSH_AUTH_SOCK", socket).args(["-batch", "-agent"]).args(password(token))
        }
    };
    run.args(["-P", &at.port.to_string(), "-hostkey", &at.host_key]).args(options)
}

fn version(name: &str) -> String {
    let said = Run::new(name).arg("-V").finish().out();
    first_line(&said).unwrap_or_default()
}

/// Its farewell to a host comes before and after what matters.
fn putty_words(said: &Finished) -> String {
    let text = format!("{}\n{}", said.err(), said.out());
    let noise = ["Using username", "Using keyboard", "Remote working", "Access denied", "Server refused our key"];
    let text: Vec<&str> = text.lines().filter(|line| !line.trim_end().ends_with("password:")).collect();
    read_by_people(&text.join("\n"), &noise)
}

pub(crate) struct Psftp;

impl Psftp {
    fn run(at: &At<'_>, options: &[&str], verb: &str, paths: &[&OsStr]) -> Finished {
        let mut line = verb.as_bytes().to_vec();
        for path in paths {
            line.push(b' ');
            line.extend(openssh::quoted(path));
        }
        line.extend(b"\nquit\n");
        let script = at.ground.work().join(".psftp");
        fs::write(&script, line).unwrap();
        program(at, "psftp", options).arg("-b").arg(script).arg(format!("{}@127.0.0.1", at.user)).finish()
    }

    fn plain(at: &At<'_>, verb: &str, paths: &[&OsStr]) -> Did {
        Self::run(at, &[], verb, paths).into()
    }
}

/// Whether there were many.
fn key_exchanges(said: &Finished, words: &str) -> Result<(), String> {
    let count = said.out().matches(words).count() + said.err().matches(words).count();
    if count >= 10 { Ok(()) } else { Err(format!("there were {count} key exchanges")) }
}

#[test]
fn a_server_asks_for_new_keys_as_often_as_it_is_set_to() {
    let ground = Ground::with_settings(&[("LIMITS__REKEY_MIB", "1")]);
    ground.file("often.bin", 20 * MIB, 83);
    for verb in ["put", "get"] {
        let said = Psftp::run(&ground.customer(&ground.ticket), &["-v"], verb, &["often.bin".as_ref()]).ok();
        key_exchanges(&said, "Remote side initiated key re-exchange").unwrap_or_else(|why| panic!("{why}: {said}"));
    }
}

impl Client for Psftp {
    fn name(&self) -> &'static str {
        "PuTTY psftp"
    }

    fn version(&self) -> String {
        version("psftp")
    }

    fn words(&self, said: &Finished) -> String {
        putty_words(said)
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

    fn put_tree(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        Self::plain(at, "put -r", &[local, remote])
    }

    fn get_tree(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        Self::plain(at, "get -r", &[remote, local])
    }

    fn rename(&self, at: &At<'_>, from: &OsStr, to: &OsStr) -> Did {
        Self::plain(at, "mv", &[from, to])
    }

    fn delete(&self, at: &At<'_>, path: &OsStr) -> Did {
        Self::plain(at, "rm", &[path])
    }

    fn put_with_time(&self, _: &At<'_>, _: &OsStr, _: &OsStr) -> Did {
        Did::Not("no option for it")
    }

    fn get_with_time(&self, _: &At<'_>, _: &OsStr, _: &OsStr) -> Did {
        Did::Not("no option for it")
    }

    fn list(&self, at: &At<'_>, directory: &OsStr) -> Did {
        Self::plain(at, "ls", &[directory])
    }

    fn room(&self, _: &At<'_>) -> Did {
        Did::Not("no command for it")
    }

    fn log_in(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.put(at, local, remote)
    }

    fn specials(&self, ground: &Ground) -> Vec<(&'static str, Outcome)> {
        let source = ground.file("by-session.bin", 20 * MIB, 81);
        let sessions = ground.work().join(".putty/sessions");
        fs::create_dir_all(&sessions).unwrap();
        fs::write(sessions.join("often"), "Protocol=ssh\nRekeyBytes=1M\n").unwrap();
        let at = ground.customer(&ground.ticket);
        let name = OsStr::new("by-session.bin");
        let run = |verb: &str, paths: &[&OsStr]| Self::run(&at, &["-load", "often", "-v"], verb, paths);
        // It says so for each new key but the first.
        let many_keys = |said: &Finished| key_exchanges(said, "Initiating key re-exchange");
        let put = judge(self, ground, run("put", &[name]).into(), |said| {
            many_keys(said)?;
            arrived(ground, &source, name.as_bytes())
        });
        let get = judge(self, ground, run("get", &[name, "by-session.back".as_ref()]).into(), |said| {
            many_keys(said)?;
            same(&source, &ground.work().join("by-session.back"))
        });
        vec![
            ("put with a session's `RekeyBytes=1M`", trials::sure(put)),
            ("get with a session's `RekeyBytes=1M`", trials::sure(get)),
        ]
    }
}

/// `pscp` with one of its protocols.
pub(crate) struct Pscp {
    name: &'static str,
    protocol: &'static str,
}

pub(crate) const PSCP: Pscp = Pscp { name: "PuTTY pscp", protocol: "-sftp" };
pub(crate) const PSCP_SCP: Pscp = Pscp { name: "PuTTY pscp -scp", protocol: "-scp" };

const COPIES: &str = "it only copies";

impl Pscp {
    fn run(&self, at: &At<'_>, options: &[&str], from: &OsStr, to: &OsStr) -> Did {
        program(at, "pscp", &[self.protocol, "-q"]).args(options).arg(from).arg(to).finish().into()
    }

    fn there(&self, at: &At<'_>, path: &OsStr) -> OsString {
        openssh::there(at, path, self.protocol == "-scp")
    }

    fn up(&self, at: &At<'_>, options: &[&str], local: &OsStr, remote: &OsStr) -> Did {
        self.run(at, options, local, &openssh::target(at, local, remote))
    }
}

impl Client for Pscp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> String {
        version("pscp")
    }

    fn words(&self, said: &Finished) -> String {
        putty_words(said)
    }

    fn put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.up(at, &[], local, remote)
    }

    fn get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        self.run(at, &[], &self.there(at, remote), local)
    }

    fn resume_put(&self, _: &At<'_>, _: &OsStr, _: &OsStr) -> Did {
        Did::Not("it always sends the whole file")
    }

    fn resume_get(&self, _: &At<'_>, _: &OsStr, _: &OsStr) -> Did {
        Did::Not("it always fetches the whole file")
    }

    fn put_tree(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.up(at, &["-r"], local, remote)
    }

    fn get_tree(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        self.run(at, &["-r"], &self.there(at, remote), local)
    }

    fn rename(&self, _: &At<'_>, _: &OsStr, _: &OsStr) -> Did {
        Did::Not(COPIES)
    }

    fn delete(&self, _: &At<'_>, _: &OsStr) -> Did {
        Did::Not(COPIES)
    }

    fn put_with_time(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.up(at, &["-p"], local, remote)
    }

    fn get_with_time(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        self.run(at, &["-p"], &self.there(at, remote), local)
    }

    fn list(&self, at: &At<'_>, directory: &OsStr) -> Did {
        // It would have a shell run `ls`, and exits 0 or 1 after the refusal, as it happens.
        if self.protocol == "-scp" {
            return Did::Not("`-ls` needs a shell on the server");
        }
        program(at, "pscp", &[self.protocol, "-ls"]).arg(self.there(at, directory)).finish().into()
    }

    fn room(&self, _: &At<'_>) -> Did {
        Did::Not(COPIES)
    }

    fn log_in(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.put(at, local, remote)
    }

    fn specials(&self, ground: &Ground) -> Vec<(&'static str, Outcome)> {
        let files = trials::tree(ground, "tree-timed", 82);
        let at = ground.customer(&ground.ticket);
        let put =
            judge(self, ground, self.up(&at, &["-r", "-p"], "tree-timed".as_ref(), "tree-timed".as_ref()), |_| {
                files.iter().try_for_each(|file| arrived(ground, &ground.work().join(file), file.as_bytes()))
            });
        vec![("a tree with its times (`-r -p`)", trials::sure(put))]
    }
}
