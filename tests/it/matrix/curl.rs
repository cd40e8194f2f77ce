//! curl, with libssh2.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::client::{At, Client, Did, Outcome, With, first_line};
use super::ground::Ground;
use super::trials::{arrived, judge, sure};
use crate::support::child::{Finished, Run};

pub(crate) struct Curl;

/// curl with the login of `at`.
fn curl(at: &At<'_>) -> Run {
    let work = at.ground.work();
    let run = Run::new("curl").within(&work).env("HOME", &work).args(["-q", "-sS", "--insecure"]);
    let user = |token: &str| format!("{}:{token}", at.user);
    let key =
        |run: Run, key: &std::path::Path| run.arg("--key").arg(key).arg("--pubkey").arg(key.with_extension("pub"));
    match &at.with {
        With::Token(token) | With::WrongThenToken(token) => run.args(["-u", &user(token)]),
        With::Key(private) => key(run, private).args(["-u", &user("")]),
        With::WrongKeyThenToken(private, token) => key(run, private).args(["-u", &user(token)]),
        With::AgentThenToken(socket, token) => run.env("SSH_AUTH_SOCK", socket).args(["-u", &user(token)]),
    }
}

/// Where curl finds a path.
fn url(at: &At<'_>, path: &OsStr) -> String {
    let parts =
        path.as_bytes().split(|byte| *byte == b'/').map(|part| percent_encode(part, NON_ALPHANUMERIC).to_string());
    format!("sftp://127.0.0.1:{}/{}", at.port, parts.collect::<Vec<_>>().join("/"))
}

fn quote(at: &At<'_>, command: &str) -> Did {
    // Commands go along with a listing of the root, which nobody wants.
    curl(at).args(["-o", "/dev/null", "-Q", command, &url(at, OsStr::new(""))]).finish().into()
}

impl Client for Curl {
    fn name(&self) -> &'static str {
        "curl"
    }

    fn version(&self) -> String {
        let said = Run::new("curl").arg("--version").finish().out();
        let library =
            said.split_whitespace().find(|word| word.starts_with("libssh")).unwrap_or("no libssh2").to_owned();
        format!("{}, {library}", first_line(&said).unwrap_or_default().split(" (").next().unwrap_or_default())
    }

    fn put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        curl(at).arg("-T").arg(local).arg(url(at, remote)).finish().into()
    }

    fn get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        curl(at).arg("-o").arg(local).arg(url(at, remote)).finish().into()
    }

    fn resume_put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        curl(at).args(["-C", "-", "-T"]).arg(local).arg(url(at, remote)).finish().into()
    }

    fn resume_get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        curl(at).args(["-C", "-", "-o"]).arg(local).arg(url(at, remote)).finish().into()
    }

    fn put_tree(&self, _: &At<'_>, _: &OsStr, _: &OsStr) -> Did {
        Did::Not("one file for each URL")
    }

    fn get_tree(&self, _: &At<'_>, _: &OsStr, _: &OsStr) -> Did {
        Did::Not("one file for each URL")
    }

    fn rename(&self, at: &At<'_>, from: &OsStr, to: &OsStr) -> Did {
        let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
        quote(at, &format!("rename \"/{from}\" \"/{to}\""))
    }

    fn delete(&self, at: &At<'_>, path: &OsStr) -> Did {
        quote(at, &format!("rm \"/{}\"", path.to_str().unwrap()))
    }

    fn put_with_time(&self, _: &At<'_>, _: &OsStr, _: &OsStr) -> Did {
        Did::Not("no option for it")
    }

    fn get_with_time(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        curl(at).arg("-R").arg("-o").arg(local).arg(url(at, remote)).finish().into()
    }

    fn list(&self, at: &At<'_>, directory: &OsStr) -> Did {
        curl(at).arg(format!("{}/", url(at, directory))).finish().into()
    }

    fn room(&self, at: &At<'_>) -> Did {
        curl(at).args(["-i", "-Q", "statvfs /", &url(at, OsStr::new(""))]).finish().into()
    }

    fn log_in(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        match at.with {
            With::WrongThenToken(_) => Did::Not("it takes one password"),
            _ => self.put(at, local, remote),
        }
    }

    fn specials(&self, ground: &Ground) -> Vec<(&'static str, Outcome)> {
        let at = ground.customer(&ground.ticket);
        let source = ground.file("deep.bin", 1000, 91);
        let deep = OsStr::new("new/and deep/deep.bin");
        let put = curl(&at).args(["--ftp-create-dirs", "-T", "deep.bin"]).arg(url(&at, deep)).finish();
        let made = judge(self, ground, put.into(), |_: &Finished| arrived(ground, &source, deep.as_bytes()));
        vec![("put with `--ftp-create-dirs`", sure(made))]
    }
}
