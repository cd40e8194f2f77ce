//! lftp, which speaks SFTP itself and uses `ssh` for the connection.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::client::{At, Client, Did, Outcome, With, first_line};
use super::ground::{Ground, MIB};
use super::trials::{arrived, judge, same, sure, tree, tree_came};
use crate::support::child::{Finished, Run};

pub(crate) struct Lftp;

/// A word as lftp reads it.
fn quoted(path: &OsStr) -> Vec<u8> {
    [b"'".as_slice(), path.as_bytes(), b"'"].concat()
}

/// lftp with the login of `at`. It stops at the first command that fails and tries nothing again.
fn run(at: &At<'_>, ssh_options: &str, commands: &[u8]) -> Finished {
    let (known_hosts, work) = (at.ground.house.known_hosts(), at.ground.work());
    let no_keys = "-o PubkeyAuthentication=no";
    let (token, how) = match &at.with {
        With::Token(token) | With::WrongThenToken(token) => (token.as_str(), no_keys.to_owned()),
        With::Key(key) => ("", format!("-o IdentitiesOnly=yes -i {}", key.display())),
        With::WrongKeyThenToken(key, token) => (token.as_str(), format!("-o IdentitiesOnly=yes -i {}", key.display())),
        With::AgentThenToken(socket, token) => (token.as_str(), format!("-o IdentityAgent={}", socket.display())),
    };
    let script = format!(
        "set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 60; set sftp:connect-program 'ssh -a -x -F none \
         -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={} -o LogLevel=ERROR {how} {ssh_options}'\n\
         open -u {},{token} sftp://127.0.0.1:{}\n",
        known_hosts.display(),
        at.user,
        at.port
    );
    let file = work.join(".lftp");
    fs::write(&file, [script.as_bytes(), commands, b"\n"].concat()).unwrap();
    Run::new("lftp").within(&work).env("HOME", &work).args(["--norc", "-f"]).arg(file).finish()
}

fn words_of(verb: &str, parts: &[(&str, &OsStr)]) -> Vec<u8> {
    let mut line = verb.as_bytes().to_vec();
    for (option, path) in parts {
        line.extend(format!(" {option} ").as_bytes());
        line.extend(quoted(path));
    }
    line
}

fn plain(at: &At<'_>, verb: &str, parts: &[(&str, &OsStr)]) -> Did {
    run(at, "", &words_of(verb, parts)).into()
}

impl Client for Lftp {
    fn name(&self) -> &'static str {
        "lftp"
    }

    fn version(&self) -> String {
        let said = Run::new("lftp").arg("--version").finish().out();
        first_line(&said)
            .unwrap_or_default()
            .replace(" | Version", "")
            .split('|')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    fn put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        plain(at, "put", &[("", local), ("-o", remote)])
    }

    fn get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        plain(at, "get", &[("", remote), ("-o", local)])
    }

    fn resume_put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        plain(at, "put -c", &[("", local), ("-o", remote)])
    }

    fn resume_get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        plain(at, "get -c", &[("", remote), ("-o", local)])
    }

    fn put_tree(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        plain(at, "mirror -R", &[("", local), ("", remote)])
    }

    fn get_tree(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        plain(at, "mirror", &[("", remote), ("", local)])
    }

    fn rename(&self, at: &At<'_>, from: &OsStr, to: &OsStr) -> Did {
        plain(at, "mv", &[("", from), ("", to)])
    }

    fn delete(&self, at: &At<'_>, path: &OsStr) -> Did {
        plain(at, "rm", &[("", path)])
    }

    fn put_with_time(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.put(at, local, remote)
    }

    fn get_with_time(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        self.get(at, remote, local)
    }

    fn list(&self, at: &At<'_>, directory: &OsStr) -> Did {
        plain(at, "ls", &[("", directory)])
    }

    fn room(&self, _: &At<'_>) -> Did {
        Did::Not("no command for it")
    }

    fn log_in(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        match at.with {
            With::WrongThenToken(_) => Did::Not("it ends after a wrong password"),
            _ => self.put(at, local, remote),
        }
    }

    fn specials(&self, ground: &Ground) -> Vec<(&'static str, Outcome)> {
        let at = ground.customer(&ground.ticket);
        let os = |text: &'static str| OsStr::new(text);
        let up = tree(ground, "mirror-up", 84);
        let mirrored = plain(&at, "mirror -R -P3", &[("", os("mirror-up")), ("", os("mirror-up"))]);
        let mirror_up = judge(self, ground, mirrored, |_| {
            up.iter().try_for_each(|file| arrived(ground, &ground.work().join(file), file.as_bytes()))
        });
        // The list also says how long a deleted file is kept, which changes.
        let versions = || ground.house.json(["artifact", "list", "XT-4711", "--versions"]).as_array().unwrap().len();
        let before = versions();
        let again = plain(&at, "mirror -R -P3", &[("", os("mirror-up")), ("", os("mirror-up"))]);
        let nothing_new = judge(self, ground, again, |_| {
            if versions() == before { Ok(()) } else { Err("there are new versions".to_owned()) }
        });
        fs::create_dir(ground.work().join("mirror-back")).unwrap();
        let mirrored = plain(&at, "mirror -P3", &[("", os("mirror-up")), ("", os("mirror-back"))]);
        let mirror_down =
            judge(self, ground, mirrored, |_| tree_came(ground, &up, "mirror-up", &ground.work().join("mirror-back")));

        let parts = ground.file("parts.bin", 40 * MIB, 88);
        ground.house.put(&ground.ticket, &parts, "parts.bin");
        let fetched = plain(&at, "pget -n4", &[("", os("parts.bin")), ("-o", os("parts.back"))]);
        let pget = judge(self, ground, fetched, |_| same(&parts, &ground.work().join("parts.back")));

        let often = ground.file("rekey-limit.bin", 20 * MIB, 89);
        let commands = [
            words_of("put", &[("", os("rekey-limit.bin"))]),
            words_of("get", &[("", os("rekey-limit.bin")), ("-o", os("rekey-limit.back"))]),
        ];
        let rekey = run(&at, "-o RekeyLimit=1M", &commands.join(&b'\n'));
        let rekey = judge(self, ground, rekey.into(), |_| {
            arrived(ground, &often, b"rekey-limit.bin")?;
            same(&often, &ground.work().join("rekey-limit.back"))
        });
        vec![
            ("`mirror -R -P3`", sure(mirror_up)),
            ("`mirror -R` again sends nothing", sure(nothing_new)),
            ("`mirror -P3`", sure(mirror_down)),
            ("`pget -n4` of 40 MiB", sure(pget)),
            ("put and get over ssh with `RekeyLimit 1M`", sure(rekey)),
        ]
    }
}
