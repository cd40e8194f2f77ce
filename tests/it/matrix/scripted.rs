//! Libraries, as people use them in scripts, and FileZilla's engine. The scripts lie in `drivers/`.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::client::{At, Client, Did, With, first_line};
use crate::support::child::{Finished, Run};
use crate::support::{python, repository};

/// A script that knows the verbs of [`Client`] as words.
pub(crate) struct Scripted {
    name: &'static str,
    start: fn() -> Run,
    version: fn() -> String,
    /// What stands for verbs in the script, in the order of [`VERBS`], or why there is none.
    verbs: [Result<&'static str, &'static str>; 12],
    /// Whether it can name files whose names are not UTF-8.
    any_name: Result<(), &'static str>,
}

const PUT: usize = 0;
const GET: usize = 1;
const RESUME_PUT: usize = 2;
const RESUME_GET: usize = 3;
const PUT_TREE: usize = 4;
const GET_TREE: usize = 5;
const RENAME: usize = 6;
const DELETE: usize = 7;
const PUT_TIME: usize = 8;
const GET_TIME: usize = 9;
const LIST: usize = 10;
const ROOM: usize = 11;

const COMMON: [Result<&str, &str>; 12] = [
    Ok("put"),
    Ok("get"),
    Ok("resume-put"),
    Ok("resume-get"),
    Ok("put-tree"),
    Ok("get-tree"),
    Ok("rename"),
    Ok("remove"),
    Ok("put-times"),
    Ok("get-times"),
    Ok("list"),
    Ok("room"),
];

pub(crate) const FILEZILLA: Scripted = Scripted {
    name: "FileZilla",
    start: || driver(python(), "fzsftp.py"),
    version: || package_version("filezilla"),
    verbs: [
        Ok("put"),
        Ok("get"),
        Ok("reput"),
        Ok("reget"),
        Ok("put-tree"),
        Ok("get-tree"),
        Ok("mv"),
        Ok("rm"),
        Ok("put-times"),
        Ok("get-times"),
        Ok("ls"),
        Err("it shows no free space"),
    ],
    any_name: Ok(()),
};

pub(crate) const PARAMIKO: Scripted = Scripted {
    name: "paramiko",
    start: || driver(python(), "paramiko_client.py"),
    version: || python_version("paramiko"),
    verbs: {
        let mut verbs = COMMON;
        verbs[ROOM] = Err("no statvfs");
        verbs
    },
    any_name: Ok(()),
};

pub(crate) const ASYNCSSH: Scripted = Scripted {
    name: "asyncssh",
    start: || driver(python(), "asyncssh_client.py"),
    version: || python_version("asyncssh"),
    verbs: COMMON,
    any_name: Ok(()),
};

pub(crate) const SSH2: Scripted = Scripted {
    name: "ssh2-sftp-client",
    start: || driver("node".into(), "ssh2_client.js").env("TEST_NODE_MODULES", node_modules()),
    version: || {
        let text = fs::read_to_string(node_modules().join("ssh2-sftp-client/package.json")).unwrap();
        let package: serde_json::Value = serde_json::from_str(&text).unwrap();
        format!("ssh2-sftp-client {}", package["version"].as_str().unwrap())
    },
    verbs: COMMON,
    any_name: Err("its names are JavaScript strings"),
};

/// Where `tests/run` installs what `tests/package-lock.json` names.
fn node_modules() -> PathBuf {
    let made = std::env::var_os("TACDROP_TEST_NODE_MODULES").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-node").join("node_modules"),
        PathBuf::from,
    );
    assert!(made.exists(), "{} is missing: run tests/run, which installs what the tests need", made.display());
    made
}

pub(super) fn driver(interpreter: PathBuf, script: &str) -> Run {
    let run = if interpreter.ends_with("node") { Run::new(interpreter) } else { Run::new(interpreter).arg("-B") };
    run.arg(repository().join("tests/it/matrix/drivers").join(script))
}

fn python_version(package: &str) -> String {
    let code = format!("import {package}; print('{package}', {package}.__version__)");
    Run::new(python()).args(["-c", &code]).finish().ok().out().trim().to_owned()
}

/// The version of a Debian package: what asks the program itself would need a display.
pub(super) fn package_version(package: &str) -> String {
    let said = Run::new("dpkg-query").args(["-W", "-f", "${Package} ${Version}", package]).finish();
    if said.code() == Some(0) { said.out() } else { package.to_owned() }
}

impl Scripted {
    fn run(&self, at: &At<'_>, verb: usize, paths: &[&OsStr]) -> Did {
        if let Err(why) = self.any_name
            && paths.iter().any(|path| path.to_str().is_none())
        {
            return Did::Not(why);
        }
        let word = match self.verbs[verb] {
            Ok(word) => word,
            Err(why) => return Did::Not(why),
        };
        login(at, (self.start)()).arg(word).args(paths).finish().into()
    }
}

/// What is needed to log in, in the environment.
pub(super) fn login(at: &At<'_>, run: Run) -> Run {
    let run = run
        .within(&at.ground.work())
        // Settings and known hosts of the test, not of the person.
        .env("HOME", at.ground.work())
        .env("TEST_HOST", "127.0.0.1")
        .env("TEST_PORT", at.port.to_string())
        .env("TEST_USER", &at.user)
        .limit(Duration::from_secs(120));
    match &at.with {
        With::Token(token) => run.env("TEST_TOKEN", token),
        With::Key(key) => run.env("TEST_KEY", key),
        With::WrongThenToken(token) => run.env("TEST_WRONG", "mistyped").env("TEST_TOKEN", token),
        With::WrongKeyThenToken(key, token) => run.env("TEST_KEY", key).env("TEST_TOKEN", token),
        With::AgentThenToken(socket, token) => {
            run.env("TEST_AGENT", socket).env("SSH_AUTH_SOCK", socket).env("TEST_TOKEN", token)
        }
    }
}

impl Client for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> String {
        (self.version)()
    }

    fn words(&self, said: &Finished) -> String {
        first_line(&said.err()).unwrap_or_else(|| "nothing".to_owned())
    }

    fn put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.run(at, PUT, &[local, remote])
    }

    fn get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        self.run(at, GET, &[remote, local])
    }

    fn resume_put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.run(at, RESUME_PUT, &[local, remote])
    }

    fn resume_get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        self.run(at, RESUME_GET, &[remote, local])
    }

    fn put_tree(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.run(at, PUT_TREE, &[local, remote])
    }

    fn get_tree(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        self.run(at, GET_TREE, &[remote, local])
    }

    fn rename(&self, at: &At<'_>, from: &OsStr, to: &OsStr) -> Did {
        self.run(at, RENAME, &[from, to])
    }

    fn delete(&self, at: &At<'_>, path: &OsStr) -> Did {
        self.run(at, DELETE, &[path])
    }

    fn put_with_time(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.run(at, PUT_TIME, &[local, remote])
    }

    fn get_with_time(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        self.run(at, GET_TIME, &[remote, local])
    }

    fn list(&self, at: &At<'_>, directory: &OsStr) -> Did {
        self.run(at, LIST, &[directory])
    }

    fn room(&self, at: &At<'_>) -> Did {
        self.run(at, ROOM, &[])
    }

    fn log_in(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.put(at, local, remote)
    }
}
