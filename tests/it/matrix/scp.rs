//! OpenSSH's `scp`, with both of its protocols: SFTP, and with `-O` the legacy one.

use std::ffi::OsStr;

use super::client::{At, Client, Did, Outcome, read_by_people};
use super::ground::Ground;
use super::openssh::{program, target, there, version};
use super::trials::{arrived, has_time, judge, same, set_time, sure, tree};
use crate::support::child::Finished;

/// `scp` with one of its protocols.
pub(crate) struct Scp {
    name: &'static str,
    protocol: &'static str,
}

pub(crate) const SCP: Scp = Scp { name: "OpenSSH scp", protocol: "-s" };
pub(crate) const SCP_O: Scp = Scp { name: "OpenSSH scp -O", protocol: "-O" };

const COPIES: &str = "it only copies";

impl Scp {
    fn run(&self, at: &At<'_>, options: &[&str], from: &OsStr, to: &OsStr) -> Did {
        let run = program(at, "scp").args([self.protocol, "-P", &at.port.to_string()]);
        run.args(options).arg(from).arg(to).finish().into()
    }

    fn up(&self, at: &At<'_>, options: &[&str], local: &OsStr, remote: &OsStr) -> Did {
        self.run(at, options, local, &target(at, local, remote))
    }

    fn down(&self, at: &At<'_>, options: &[&str], remote: &OsStr, local: &OsStr) -> Did {
        self.run(at, options, &there(at, remote, self.protocol == "-O"), local)
    }
}

impl Client for Scp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> String {
        version()
    }

    fn words(&self, said: &Finished) -> String {
        // What ssh says before it asks again.
        read_by_people(&said.err(), &["Connection closed", "Permission denied, please"])
    }

    fn put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.up(at, &[], local, remote)
    }

    fn get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        self.down(at, &[], remote, local)
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
        self.down(at, &["-r"], remote, local)
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
        self.down(at, &["-p"], remote, local)
    }

    fn list(&self, _: &At<'_>, _: &OsStr) -> Did {
        Did::Not(COPIES)
    }

    fn room(&self, _: &At<'_>) -> Did {
        Did::Not(COPIES)
    }

    fn log_in(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.put(at, local, remote)
    }

    fn specials(&self, ground: &Ground) -> Vec<(&'static str, Outcome)> {
        let at = ground.customer(&ground.ticket);
        let files = tree(ground, "timed-tree", 92);
        let then = set_time(&ground.work().join(&files[2]));
        let put = self.up(&at, &["-r", "-p"], "timed-tree".as_ref(), "timed-tree".as_ref());
        let put = judge(self, ground, put, |_| {
            files.iter().try_for_each(|file| arrived(ground, &ground.work().join(file), file.as_bytes()))
        });
        let get =
            judge(self, ground, self.down(&at, &["-r", "-p"], "timed-tree".as_ref(), "timed-back".as_ref()), |_| {
                let back = ground.work().join(files[2].replacen("timed-tree", "timed-back", 1));
                same(&ground.work().join(&files[2]), &back)?;
                has_time(&back, then)
            });
        let (one, two) = (ground.file("several-1.bin", 5000, 93), ground.file("several-2.bin", 0, 94));
        let to = there(&at, OsStr::new(""), false);
        let run = program(&at, "scp").args([self.protocol, "-P", &at.port.to_string()]);
        let several = run.args(["several-1.bin", "several-2.bin"]).arg(to).finish();
        let several = judge(self, ground, several.into(), |_: &Finished| {
            arrived(ground, &one, b"several-1.bin")?;
            let empty = ground.house.artifact(&ground.ticket, "several-2.bin");
            let empty = empty.filter(|artifact| artifact["size"] == 0 && artifact["state"] == "available");
            empty.map(|_| ()).ok_or_else(|| format!("{} is not there", two.display()))
        });
        vec![
            ("a tree up with its times (`-r -p`)", sure(put)),
            ("a tree down with its times (`-r -p`)", sure(get)),
            ("two files at once", sure(several)),
        ]
    }
}
