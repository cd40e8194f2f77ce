//! gvfs: what GNOME's file manager uses, by its command `gio`, in a session of its own.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::client::{At, Client, Did, With};
use super::scripted::package_version;
use crate::support::child::{Finished, Run};

pub(crate) struct Gvfs;

const IN_A_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_');
const WHOLE: &str = "it sends or fetches the whole file again";

/// Mounts the place, whose password is read from stdin, and does the rest. `gio` copies no
/// directories: they are walked through as the file manager does.
const SESSION: &str = r#"
gio mount "$PLACE" >&2 || exit
up() {
    gio mkdir "$2" || exit
    for item in "$1"/*; do
        if [ -d "$item" ]; then up "$item" "$2/${item##*/}"; else gio copy "$item" "$2/${item##*/}" || exit; fi
    done
}
down() {
    mkdir -p "$2"
    gio list -l "$1" > "$2/.listing" || exit
    while IFS="$(printf '\t')" read -r name size kind; do
        if [ "$kind" = "(directory)" ]; then ( down "$1/$name" "$2/$name" ) || exit
        else gio copy "$1/$name" "$2/$name" < /dev/null || exit; fi
    done < "$2/.listing"
    rm "$2/.listing"
}
"$@"
"#;

fn place(at: &At<'_>) -> String {
    format!("sftp://{}@127.0.0.1:{}/", at.user, at.port)
}

fn there(at: &At<'_>, path: &OsStr) -> OsString {
    format!("{}{}", place(at), percent_encode(path.as_bytes(), IN_A_PATH)).into()
}

/// A session with one command in it.
fn session(at: &At<'_>, words: &[&OsStr]) -> Did {
    let work = at.ground.work();
    // gvfs gives ssh no key: whoever has one has it in an agent.
    let with_agent = |key: &OsStr| {
        Run::new("ssh-agent").args(["sh", "-c", "ssh-add -q \"$0\" && exec \"$@\""]).arg(key).arg("dbus-run-session")
    };
    let (run, answers) = match &at.with {
        With::Token(token) => (Run::new("dbus-run-session"), vec![token.as_str()]),
        With::WrongThenToken(token) => (Run::new("dbus-run-session"), vec!["mistyped", token]),
        With::Key(key) => (with_agent(key.as_os_str()), vec![]),
        With::WrongKeyThenToken(key, token) => (with_agent(key.as_os_str()), vec![token.as_str()]),
        With::AgentThenToken(socket, token) => {
            (Run::new("dbus-run-session").env("SSH_AUTH_SOCK", socket), vec![token.as_str()])
        }
    };
    let stdin: String = answers.iter().flat_map(|answer| [*answer, "\n"]).collect();
    let run = run
        .args(["--", "sh", "-c", SESSION, "sh"])
        .args(words)
        .within(&work)
        .env("PLACE", place(at))
        // Its settings and its mounts are the test's, and nothing is mounted that would outlive it.
        .env("HOME", &work)
        .env("XDG_RUNTIME_DIR", &work)
        .env("GVFS_DISABLE_FUSE", "1")
        .env("GIO_USE_VOLUME_MONITOR", "unix")
        .stdin(stdin)
        .limit(Duration::from_secs(120));
    run.finish().into()
}

impl Client for Gvfs {
    fn name(&self) -> &'static str {
        "gvfs"
    }

    fn version(&self) -> String {
        package_version("gvfs-backends")
    }

    /// Others speak on its stderr too.
    fn words(&self, said: &Finished) -> String {
        let text = said.err();
        let own = text.lines().map(str::trim).rfind(|line| line.starts_with("gio: "));
        // Where it only asks again, that is what the person sees.
        let asked = || text.lines().map(str::trim).rfind(|line| line.starts_with("Enter password"));
        own.or_else(asked).unwrap_or("nothing").to_owned()
    }

    fn put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        session(at, &["gio".as_ref(), "copy".as_ref(), local, &there(at, remote)])
    }

    fn get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        session(at, &["gio".as_ref(), "copy".as_ref(), &there(at, remote), local])
    }

    fn resumes(&self) -> Result<(), &'static str> {
        Err(WHOLE)
    }

    fn resume_put(&self, _: &At<'_>, _: &OsStr, _: &OsStr) -> Did {
        Did::Not(WHOLE)
    }

    fn resume_get(&self, _: &At<'_>, _: &OsStr, _: &OsStr) -> Did {
        Did::Not(WHOLE)
    }

    fn put_tree(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        session(at, &["up".as_ref(), local, &there(at, remote)])
    }

    fn get_tree(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        session(at, &["down".as_ref(), &there(at, remote), local])
    }

    fn rename(&self, at: &At<'_>, from: &OsStr, to: &OsStr) -> Did {
        session(at, &["gio".as_ref(), "rename".as_ref(), &there(at, from), to])
    }

    fn delete(&self, at: &At<'_>, path: &OsStr) -> Did {
        session(at, &["gio".as_ref(), "remove".as_ref(), &there(at, path)])
    }

    fn put_with_time(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        session(at, &["gio".as_ref(), "copy".as_ref(), "--preserve".as_ref(), local, &there(at, remote)])
    }

    fn get_with_time(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        session(at, &["gio".as_ref(), "copy".as_ref(), "--preserve".as_ref(), &there(at, remote), local])
    }

    fn list(&self, at: &At<'_>, directory: &OsStr) -> Did {
        session(at, &["gio".as_ref(), "list".as_ref(), "-l".as_ref(), &there(at, directory)])
    }

    fn room(&self, at: &At<'_>) -> Did {
        session(at, &["gio".as_ref(), "info".as_ref(), "-f".as_ref(), place(at).as_ref()])
    }

    fn log_in(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.put(at, local, remote)
    }
}
