//! sshfs: the share as a directory, which ordinary programs use.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::client::{At, Client, Did, Outcome, With, first_line};
use super::ground::{Ground, MIB};
use super::rclone::sure;
use super::trials::{arrived, judge, same, tree, tree_came};
use crate::support::child::{Finished, Job, Run};
use crate::support::files::sha256;
use crate::support::server::Mount;
use crate::support::{PATIENCE, eventually, within};

pub(crate) struct Sshfs;

/// A mounted directory.
pub(super) struct Mounted {
    job: Job,
    place: PathBuf,
    mount: Mount,
}

impl Mounted {
    /// Mounts `name` below the working directory with a program that stays in the foreground.
    /// `Err`: how the program ended instead.
    pub(super) fn new(ground: &Ground, name: &str, run: impl FnOnce(&Path) -> Run) -> Result<Self, Finished> {
        assert!(
            Path::new("/dev/fuse").exists(),
            "/dev/fuse is missing here; say so to tests/run (CANNOT=fuse), or give this machine one"
        );
        let place = ground.work().join(name);
        fs::create_dir_all(&place).unwrap();
        let mut job = run(&place).limit(Duration::from_secs(300)).start();
        let is_mounted = || {
            let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
            mounts.lines().any(|line| line.split(' ').nth(1) == place.to_str())
        };
        within(PATIENCE, "a mounted share, or the program's end", || (job.has_ended() || is_mounted()).then_some(()));
        // sshfs mounts first and logs in then; whoever looks into the directory waits for it. After
        // a refusal it is gone.
        Run::new("ls").arg(&place).finish();
        if is_mounted() { Ok(Self { job, mount: Mount::at(&place), place }) } else { Err(job.finish_within(PATIENCE)) }
    }

    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Unmounts it as somebody does who has finished, and waits until what is closed in the
    /// background is closed.
    pub(super) fn finish(self) -> Finished {
        let Self { mut job, mount, place } = self;
        // Not by force, which would cut what is still to be sent. sshfs whose connection was cut
        // has ended by itself.
        within(PATIENCE, "the mount to be given up", || {
            (job.has_ended() || Run::new("umount").arg(&place).finish().code() == Some(0)).then_some(())
        });
        drop(mount);
        job.finish_within(PATIENCE)
    }
}

/// Where the share stands in the working directory.
const HERE: &str = "share";

fn program(at: &At<'_>, place: &Path) -> Run {
    let house = &at.ground.house;
    let run = Run::new("sshfs")
        .within(&house.work())
        .args(["-f", "-F", "none", "-p", &at.port.to_string()])
        .args(["-o", "StrictHostKeyChecking=accept-new", "-o", "GlobalKnownHostsFile=/dev/null"])
        .args(["-o", &format!("UserKnownHostsFile={}", house.known_hosts().display())])
        .env("SSH_ASKPASS", house.askpass())
        .env("SSH_ASKPASS_REQUIRE", "force");
    let password = |run: Run, token: &str| run.env("TACDROP_TEST_TOKEN", token);
    let only_password =
        |run: Run| run.args(["-o", "PreferredAuthentications=password", "-o", "PubkeyAuthentication=no"]);
    let run = match &at.with {
        With::Token(token) => password(only_password(run).args(["-o", "NumberOfPasswordPrompts=1"]), token),
        With::WrongThenToken(token) => {
            password(only_password(run), token).env("TACDROP_TEST_WRONG_ONCE", house.work().join(".sshfs-was-asked"))
        }
        With::Key(key) => run.args(["-o", "IdentitiesOnly=yes", "-o", &format!("IdentityFile={}", key.display())]),
        With::WrongKeyThenToken(key, token) => {
            password(run.args(["-o", "IdentitiesOnly=yes", "-o", &format!("IdentityFile={}", key.display())]), token)
        }
        With::AgentThenToken(socket, token) => password(run.env("SSH_AUTH_SOCK", socket), token),
    };
    run.arg(format!("{}@127.0.0.1:/", at.user)).arg(place)
}

/// Mounts, runs something in the working directory, and unmounts.
fn mounted(at: &At<'_>, run: Run) -> Did {
    let mounted = match Mounted::new(at.ground, HERE, |place| program(at, place)) {
        Ok(mounted) => mounted,
        Err(said) => return said.into(),
    };
    let said = run.within(&at.ground.work()).limit(Duration::from_secs(120)).finish();
    mounted.finish();
    said.into()
}

fn there(path: &OsStr) -> PathBuf {
    Path::new(HERE).join(path)
}

impl Client for Sshfs {
    fn name(&self) -> &'static str {
        "sshfs"
    }

    fn version(&self) -> String {
        let said = Run::new("sshfs").arg("-V").finish().ok().out();
        said.lines().find(|line| line.starts_with("SSHFS")).unwrap_or("sshfs").to_owned()
    }

    /// cp or another program says what it is about; sshfs says why nothing was mounted.
    fn words(&self, said: &Finished) -> String {
        first_line(&said.err()).unwrap_or_else(|| "nothing".to_owned())
    }

    fn put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        mounted(at, Run::new("cp").arg(local).arg(there(remote)))
    }

    fn get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        mounted(at, Run::new("cp").arg(there(remote)).arg(local))
    }

    fn resume_put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        // rsync would read what is there, and of an unfinished file nothing is given out.
        let script = r#"size="$(stat -c %s "$1")" && tail -c "+$((size + 1))" "$0" >> "$1""#;
        mounted(at, Run::new("sh").args(["-c", script]).arg(local).arg(there(remote)))
    }

    fn resume_get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        mounted(at, Run::new("rsync").arg("--append").arg(there(remote)).arg(local))
    }

    fn put_tree(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        mounted(at, Run::new("cp").arg("-r").arg(local).arg(there(remote)))
    }

    fn get_tree(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        mounted(at, Run::new("cp").arg("-r").arg(there(remote)).arg(local))
    }

    fn rename(&self, at: &At<'_>, from: &OsStr, to: &OsStr) -> Did {
        mounted(at, Run::new("mv").arg(there(from)).arg(there(to)))
    }

    fn delete(&self, at: &At<'_>, path: &OsStr) -> Did {
        mounted(at, Run::new("rm").arg(there(path)))
    }

    fn put_with_time(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        mounted(at, Run::new("cp").arg("-p").arg(local).arg(there(remote)))
    }

    fn get_with_time(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        mounted(at, Run::new("cp").arg("-p").arg(there(remote)).arg(local))
    }

    fn list(&self, at: &At<'_>, directory: &OsStr) -> Did {
        mounted(at, Run::new("ls").arg("-l").arg(there(directory)))
    }

    fn room(&self, at: &At<'_>) -> Did {
        mounted(at, Run::new("df").arg("--output=size,avail").arg(HERE))
    }

    fn log_in(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.put(at, local, remote)
    }

    fn specials(&self, ground: &Ground) -> Vec<(&'static str, Outcome)> {
        vec![
            ("`rsync -a` into it, twice, and back", sure(synchronised(self, ground))),
            ("`git clone` into it, `git fsck`, a commit", sure(cloned(self, ground))),
        ]
    }
}

/// `rsync` writes temporary files and renames them. The second time nothing is to be done.
fn synchronised(client: &Sshfs, ground: &Ground) -> Result<Outcome, String> {
    let at = ground.customer(&ground.ticket);
    let files = tree(ground, "rsync", 401);
    // rsync would set groups and permissions that a share has not.
    let sync = |from: &str, to: &str| {
        let run =
            Run::new("rsync").args(["-a", "--no-perms", "--no-owner", "--no-group", "--itemize-changes", from, to]);
        mounted(&at, run)
    };
    let up = judge(client, ground, sync("rsync", "share/"), |_| {
        files.iter().try_for_each(|file| arrived(ground, &ground.work().join(file), file.as_bytes()))
    })?;
    if up != Outcome::Works {
        return Ok(up);
    }
    let again = judge(client, ground, sync("rsync", "share/"), |said| {
        let sent: Vec<_> = said
            .out()
            .lines()
            .filter(|line| line.starts_with("<f") || line.starts_with(">f"))
            .map(str::to_owned)
            .collect();
        if sent.is_empty() { Ok(()) } else { Err(format!("it sent again: {sent:?}")) }
    })?;
    if again != Outcome::Works {
        return Ok(again);
    }
    fs::create_dir(ground.work().join("rsync-back")).unwrap();
    judge(client, ground, sync("share/rsync", "rsync-back"), |_| {
        tree_came(ground, &files, "rsync", &ground.work().join("rsync-back"))
    })
}

/// git makes lock files, renames them over others, and reads what it has just written.
fn cloned(client: &Sshfs, ground: &Ground) -> Result<Outcome, String> {
    let at = ground.customer(&ground.ticket);
    let script = "set -e
        export HOME=\"$PWD\" GIT_CONFIG_NOSYSTEM=1
        git config --global user.name Test && git config --global user.email test@customer.example
        git config --global init.defaultBranch main && git config --global --add safe.directory '*'
        git init -q origin && cd origin
        mkdir -p configs && cp ../clone.bin configs/
        for number in 1 2 3 4 5 6 7 8; do echo \"interface $number\" > configs/$number.cfg; git add -A; git commit -qm \"$number\"; done
        cd .. && git clone -q --no-hardlinks origin share/clone
        cd share/clone && git fsck --strict && test -z \"$(git status --porcelain)\"
        echo changed > configs/1.cfg && git commit -qam changed && git log --oneline | wc -l";
    let source = ground.file("clone.bin", MIB, 411);
    let did = mounted(&at, Run::new("sh").args(["-c", script]));
    judge(client, ground, did, |said| {
        if !said.out().lines().any(|line| line.trim() == "9") {
            return Err(format!("there are not 9 commits: {said}"));
        }
        eventually("the working tree", || arrived(ground, &source, b"clone/configs/clone.bin").ok());
        let held = ground.house.artifact(&ground.ticket, "clone/configs/1.cfg");
        let wanted = ground.work().join("changed");
        fs::write(&wanted, "changed\n").unwrap();
        if held.is_none_or(|held| held["sha256"] != *sha256(&wanted)) {
            return Err("the last change is not there".to_owned());
        }
        // And it is a repository for whoever fetches it.
        let fetched = ground.work().join("fetched");
        fs::create_dir(&fetched).unwrap();
        let fetch = mounted(&at, Run::new("cp").args(["-r", "share/clone", "fetched"]));
        let Did::Ran(fetch) = fetch else { return Err("cp did not run".to_owned()) };
        fetch.ok();
        let check =
            Run::new("git").within(&fetched.join("clone")).env("HOME", ground.work()).args(["fsck", "--strict"]);
        check.finish().ok();
        same(&source, &fetched.join("clone/configs/clone.bin"))
    })
}
