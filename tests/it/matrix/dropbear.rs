//! dropbear's `dbclient`, which has no file transfer of its own: OpenSSH's `sftp` and `scp` use it
//! with `-S`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::client::{At, With, first_line};
use super::ground::Ground;
use super::openssh::Sftp;
use crate::support;
use crate::support::child::Run;

pub(crate) const DBCLIENT: Sftp = Sftp { name: "dropbear dbclient", program, version, by_ssh: false };

fn version() -> String {
    first_line(&Run::new("dbclient").arg("-V").finish().err()).unwrap_or_default()
}

/// dropbear's form of a private key.
fn converted(key: &Path, ground: &Ground) -> PathBuf {
    let mine = ground.work().join(key.file_name().unwrap()).with_extension("dropbear");
    if !mine.exists() {
        let program = ["/usr/lib/dropbear/dropbearconvert", "/usr/bin/dropbearconvert"];
        let program = program.into_iter().find(|path| Path::new(path).exists()).expect("dropbearconvert");
        Run::new(program).args(["openssh", "dropbear"]).arg(key).arg(&mine).finish().ok();
    }
    mine
}

/// An OpenSSH program that uses dbclient for the connection.
fn program(at: &At<'_>, name: &str) -> Run {
    let ground = at.ground;
    let work = ground.work();
    // It knows few of the options that `sftp` gives to ssh, and `sftp` knows none of its own.
    let (options, prompted) = match &at.with {
        With::Token(_) => (String::new(), false),
        With::WrongThenToken(_) => (String::new(), true),
        With::Key(key) | With::WrongKeyThenToken(key, _) => (format!("-i {}", converted(key, ground).display()), false),
        With::AgentThenToken(..) => ("-A".to_owned(), false),
    };
    let wrapper = work.join(".dbclient");
    let script = format!(
        "#!/bin/bash\nkept=()\nwhile (($#)); do\n case \"$1\" in\n -o) shift ;;\n -o*) [[ $1 == -oPort* ]] && kept+=(-p \"${{1##* }}\") ;;\n\
         --) ;;\n *) kept+=(\"$1\") ;;\n esac\n shift\ndone\nexec dbclient -y -y {options} \"${{kept[@]}}\"\n"
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o700)).unwrap();
    let run = match &at.with {
        With::WrongThenToken(token) if prompted => {
            Run::new(support::python()).arg(support::script("prompted.py")).args(["mistyped", token, "--", name])
        }
        With::Token(token) | With::WrongThenToken(token) | With::WrongKeyThenToken(_, token) => {
            Run::new(name).env("DROPBEAR_PASSWORD", token)
        }
        With::AgentThenToken(socket, token) => {
            Run::new(name).env("DROPBEAR_PASSWORD", token).env("SSH_AUTH_SOCK", socket)
        }
        With::Key(_) => Run::new(name),
    };
    run.within(&work).env("HOME", &work).arg("-S").arg(wrapper)
}
