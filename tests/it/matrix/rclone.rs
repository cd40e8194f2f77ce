//! rclone.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use super::client::{At, Client, Did, Outcome, With, first_line};
use super::ground::{Ground, MIB};
use super::sshfs::Mounted;
use super::trials::{arrived, judge, same, tree, tree_came};
use crate::support::cannot;
use crate::support::child::{Finished, Run};

pub(crate) struct Rclone;

const WHOLE: &str = "it sends or fetches the whole file again";

const MOUNT: &str = "`mount`: copied into it, read from it, `df`";

/// rclone with the login of `at`. The server is known to it as `:sftp:`.
fn program(at: &At<'_>) -> Run {
    let hidden = |token: &str| {
        let run = Run::new("rclone").args(["obscure", "-"]).stdin(token.as_bytes());
        run.finish().ok().out().trim().to_owned()
    };
    let run = Run::new("rclone")
        .within(&at.ground.work())
        .env("HOME", at.ground.work())
        .env("RCLONE_CONFIG", at.ground.work().join("no-such-rclone.conf"))
        // No date and time in front of what it says.
        .args(["--log-format", "", "--retries", "1", "--low-level-retries", "1"])
        .args(["--sftp-host", "127.0.0.1", "--sftp-port", &at.port.to_string(), "--sftp-user", &at.user]);
    match &at.with {
        With::Token(token) | With::WrongThenToken(token) => run.args(["--sftp-pass", &hidden(token)]),
        With::Key(key) => run.arg("--sftp-key-file").arg(key),
        With::WrongKeyThenToken(key, token) => {
            run.arg("--sftp-key-file").arg(key).args(["--sftp-pass", &hidden(token)])
        }
        With::AgentThenToken(socket, token) => {
            run.env("SSH_AUTH_SOCK", socket).args(["--sftp-key-use-agent", "--sftp-pass", &hidden(token)])
        }
    }
}

fn there(path: &OsStr) -> OsString {
    let mut there = OsString::from(":sftp:");
    there.push(path);
    there
}

fn copy(at: &At<'_>, verb: &str, from: &OsStr, to: &OsStr) -> Finished {
    program(at).arg(verb).arg(from).arg(to).finish()
}

impl Client for Rclone {
    fn name(&self) -> &'static str {
        "rclone"
    }

    fn version(&self) -> String {
        first_line(&Run::new("rclone").arg("version").finish().ok().out()).unwrap_or_default()
    }

    /// Its last line says why it failed.
    fn words(&self, said: &Finished) -> String {
        let text = said.err();
        let last = text.lines().rev().map(str::trim).find(|line| line.starts_with("Failed to"));
        last.map_or_else(|| first_line(&text).unwrap_or_default(), str::to_owned)
    }

    fn put(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        copy(at, "copyto", local, &there(remote)).into()
    }

    fn get(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        copy(at, "copyto", &there(remote), local).into()
    }

    /// Of an upload that was cut it removes what is there as soon as it is connected again.
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
        copy(at, "copy", local, &there(remote)).into()
    }

    fn get_tree(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        copy(at, "copy", &there(remote), local).into()
    }

    fn rename(&self, at: &At<'_>, from: &OsStr, to: &OsStr) -> Did {
        copy(at, "moveto", &there(from), &there(to)).into()
    }

    fn delete(&self, at: &At<'_>, path: &OsStr) -> Did {
        program(at).arg("deletefile").arg(there(path)).finish().into()
    }

    fn put_with_time(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        self.put(at, local, remote)
    }

    fn get_with_time(&self, at: &At<'_>, remote: &OsStr, local: &OsStr) -> Did {
        self.get(at, remote, local)
    }

    fn list(&self, at: &At<'_>, directory: &OsStr) -> Did {
        program(at).arg("lsl").arg(there(directory)).finish().into()
    }

    fn room(&self, at: &At<'_>) -> Did {
        program(at).args(["about", ":sftp:"]).finish().into()
    }

    fn log_in(&self, at: &At<'_>, local: &OsStr, remote: &OsStr) -> Did {
        if matches!(at.with, With::WrongThenToken(_)) {
            return Did::Not("it is given one password");
        }
        self.put(at, local, remote)
    }

    fn specials(&self, ground: &Ground) -> Vec<(&'static str, Outcome)> {
        let mut specials = vec![("`sync`, there and back", sure(synchronised(self, ground)))];
        specials.extend(checked().map(|(what, outcome)| (what, sure(outcome))));
        specials.push(("`copyto` with `--multi-thread-streams 4` of 300 MiB down", sure(in_parts(self, ground))));
        if !rclone_mount_is_untried() {
            specials.push((MOUNT, sure(mounted(self, ground))));
        }
        specials
    }

    fn untried(&self) -> &'static [&'static str] {
        if rclone_mount_is_untried() { &[MOUNT] } else { &[] }
    }
}

/// Named so that `tests/run` says it.
fn rclone_mount_is_untried() -> bool {
    cannot("fuse")
}

pub(super) fn sure(outcome: Result<Outcome, String>) -> Outcome {
    outcome.unwrap_or_else(|why| panic!("{why}"))
}

/// A tree goes up; a file is taken away, one is changed, one is new, and it goes up again; it comes
/// down the same.
fn synchronised(client: &Rclone, ground: &Ground) -> Result<Outcome, String> {
    let at = ground.customer(&ground.ticket);
    let files = tree(ground, "sync", 301);
    let sync = |from: &OsStr, to: &OsStr| copy(&at, "sync", from, to);
    sync("sync".as_ref(), ":sftp:sync".as_ref()).ok();
    fs::remove_file(ground.work().join(&files[0])).unwrap();
    ground.file(&files[1], 60_000, 305);
    ground.file("sync/new.bin", 1234, 306);
    let kept = [files[1].clone(), files[2].clone(), "sync/new.bin".to_owned()];
    let did = sync("sync".as_ref(), ":sftp:sync".as_ref()).into();
    let up = judge(client, ground, did, |_| {
        kept.iter().try_for_each(|file| arrived(ground, &ground.work().join(file), file.as_bytes()))?;
        let gone = ground.house.artifact(&ground.ticket, &files[0]).is_none();
        if gone { Ok(()) } else { Err(format!("{} is still there", files[0])) }
    })?;
    if up != Outcome::Works {
        return Ok(up);
    }
    let back = ground.work().join("sync-back");
    fs::create_dir(&back).unwrap();
    fs::write(back.join("superfluous"), b"x").unwrap();
    judge(client, ground, sync(":sftp:sync".as_ref(), "sync-back".as_ref()).into(), |_| {
        tree_came(ground, &kept, "sync", &back)
    })
}

/// `rclone check` compares digests: no difference, and one where one byte was changed that left
/// size and time as they were. rclone asks for MD5 or SHA-1 only, so the operator has allowed MD5.
fn checked() -> [(&'static str, Result<Outcome, String>); 2] {
    let ground = &Ground::with_settings(&[("DIGESTS__ALSO", "md5")]);
    let at = ground.customer(&ground.ticket);
    let files = tree(ground, "check", 311);
    copy(&at, "copy", "check".as_ref(), ":sftp:check".as_ref()).ok();
    let check = || program(&at).args(["check", "check", ":sftp:check"]).finish();
    let by_hash = |said: Finished, code: i32, differences: u32| {
        let text = said.err();
        if text.contains("not using a hash") || text.contains("hashes could not be checked") {
            return Err(format!("it compared no hash: {said}"));
        }
        let counted = text.contains(&format!("{differences} differences found"));
        if said.code() == Some(code) && counted { Ok(Outcome::Works) } else { Err(format!("not expected: {said}")) }
    };
    let equal = by_hash(check(), 0, 0);
    let path = ground.work().join(&files[2]);
    let when = fs::metadata(&path).unwrap().modified().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[70_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(when).unwrap();
    let changed = by_hash(check(), 1, 1);
    [
        ("`check` with hashes (MD5 allowed): 0 differences", equal),
        ("`check` with hashes (MD5 allowed): 1 difference after one byte was changed locally", changed),
    ]
}

/// Several streams at once on one file.
fn in_parts(client: &Rclone, ground: &Ground) -> Result<Outcome, String> {
    let source = ground.large_file("parts.bin");
    let at = ground.customer(&ground.ticket);
    if ground.house.artifact(&ground.ticket, "large-up.bin").is_none() {
        ground.house.put(&ground.ticket, &source, "large-up.bin");
    }
    let run = program(&at).args(["--multi-thread-streams", "4", "--multi-thread-cutoff", "1M"]);
    let outcome =
        judge(client, ground, run.args(["copyto", ":sftp:large-up.bin", "parts.back"]).finish().into(), |_| {
            same(&source, &ground.work().join("parts.back"))
        });
    let _ = fs::remove_file(ground.work().join("parts.back"));
    outcome
}

fn mounted(client: &Rclone, ground: &Ground) -> Result<Outcome, String> {
    let at = ground.customer(&ground.ticket);
    let source = ground.file("mounted.bin", 5 * MIB + 1, 321);
    // Files are written to a cache first, as the manual wants it of mounts that programs write to.
    let cache = ground.work().join("rclone-cache");
    let run = |place: &Path| {
        let run = program(&at).args(["mount", "--vfs-cache-mode", "writes", "--vfs-write-back", "0s", "--cache-dir"]);
        run.arg(&cache).arg(":sftp:").arg(place)
    };
    let mounted = Mounted::new(ground, "rclone-mount", run).map_err(|said| said.to_string())?;
    Run::new("cp").arg(&source).arg(mounted.place()).finish().ok();
    let room = Run::new("df").arg("--output=size").arg(mounted.place()).finish().ok().out();
    let size: u64 = room.lines().last().and_then(|line| line.trim().parse().ok()).unwrap_or(0);
    let ended = mounted.finish();
    judge(client, ground, ended.into(), |_| {
        arrived(ground, &source, b"mounted.bin")?;
        let mounted = Mounted::new(ground, "rclone-mount", run).map_err(|said| said.to_string())?;
        let read = Run::new("cp").arg(mounted.place().join("mounted.bin")).arg(ground.work().join("mounted.back"));
        read.finish().ok();
        mounted.finish().ok();
        same(&source, &ground.work().join("mounted.back"))?;
        if size > 0 { Ok(()) } else { Err(format!("df says {room}")) }
    })
}
