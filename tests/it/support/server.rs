//! A data directory with its server, and the command line beside it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::child::{Finished, Job, Run};
use super::{PATIENCE, eventually};

/// A temporary directory with a tacdrop data directory, and most of the time a server on it.
pub(crate) struct House {
    settings: Vec<(String, String)>,
    // Dropped in this order: the server ends, its disk is taken away, then its directory.
    server: Option<Job>,
    disk: Option<Mount>,
    root: TempDir,
    /// What a shell does before it becomes the server.
    before: Vec<String>,
    /// The environment of the server alone.
    server_env: Vec<(String, String)>,
    /// 0 until the first server has chosen one; later ones get the same.
    port: u16,
    /// What servers that have ended logged.
    old_logs: String,
}

/// A mounted filesystem. Dropped, it is unmounted, whatever still uses it.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// One that is mounted here already.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let umount = |how: &[&str]| Run::new("umount").args(how).arg(&self.0).finish().code() == Some(0);
        if !umount(&[]) {
            umount(&["-l"]);
        }
    }
}

/// A ticket as `ticket open` gave it.
#[derive(Clone)]
pub(crate) struct Ticket {
    pub(crate) reference: String,
    pub(crate) token: String,
    pub(crate) json: Value,
}

/// An engineer's key.
#[derive(Clone)]
pub(crate) struct Key(pub(crate) PathBuf);

impl House {
    /// A house without a server. Uploads settle after a second.
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("tacdrop-it-").tempdir().unwrap();
        let askpass = root.path().join("askpass");
        // With TACDROP_TEST_WRONG_ONCE, a file that does not exist yet, the first answer is a wrong
        // one.
        let script = "#!/bin/sh\nif [ -n \"$TACDROP_TEST_WRONG_ONCE\" ] && [ ! -e \"$TACDROP_TEST_WRONG_ONCE\" ]; then\n\
                      : > \"$TACDROP_TEST_WRONG_ONCE\"; echo mistyped; exit; fi\n\
                      printf '%s\\n' \"$TACDROP_TEST_TOKEN\"\n";
        fs::write(&askpass, script).unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(root.path().join("work")).unwrap();
        let house = Self {
            settings: Vec::new(),
            server: None,
            disk: None,
            root,
            before: Vec::new(),
            server_env: Vec::new(),
            port: 0,
            old_logs: String::new(),
        };
        house.set("NOTIFY__SETTLE_SECONDS", "1")
    }

    /// Sets `TACDROP__KEY` for the server and for commands.
    pub(crate) fn set(mut self, key: &str, value: impl Into<String>) -> Self {
        let key = format!("TACDROP__{key}");
        self.settings.retain(|(known, _)| *known != key);
        self.settings.push((key, value.into()));
        self
    }

    /// Sets an environment variable for the server and for commands.
    pub(crate) fn environment(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Lets the server have this many open files only.
    pub(crate) fn open_files(mut self, limit: u32) -> Self {
        self.before.push(format!("ulimit -n {limit}"));
        self
    }

    /// Lets the server write no file longer than this: its writes fail with EFBIG then.
    pub(crate) fn file_size(mut self, kib: u64) -> Self {
        // A shell counts blocks of 512 bytes.
        self.before.push(format!("trap '' XFSZ && ulimit -f {}", kib * 2));
        self
    }

    /// Sets a variable of the server's environment, and of no command's.
    pub(crate) fn server_env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.server_env.push((name.to_owned(), value.into()));
        self
    }

    /// Puts the data on a disk of this size, in memory. Needs root.
    pub(crate) fn on_disk_of(mut self, mib: u64) -> Self {
        fs::create_dir(self.data()).unwrap();
        let options = format!("size={mib}m,mode=0700");
        Run::new("mount").args(["-t", "tmpfs", "-o", &options, "tacdrop-test"]).arg(self.data()).finish().ok();
        self.disk = Some(Mount::at(&self.data()));
        self
    }

    /// Makes that disk larger.
    pub(crate) fn enlarge_disk(&self, mib: u64) {
        Run::new("mount").args(["-o", &format!("remount,size={mib}m")]).arg(self.data()).finish().ok();
    }

    /// A house with a running server, organisation `acme`, engineer `anna` with a key, and ticket
    /// `XT-4711`.
    pub(crate) fn open() -> (Self, Ticket, Key) {
        Self::new().furnish()
    }

    /// Starts the server and adds organisation, engineer and ticket.
    pub(crate) fn furnish(mut self) -> (Self, Ticket, Key) {
        self.start();
        self.tacdrop(["organisation", "add", "acme", "--name", "ACME Networks", "--contract", "C-1001"]).ok();
        let key = self.engineer("anna");
        let ticket = self.ticket("XT-4711", "anna");
        (self, ticket, key)
    }

    /// Another house on a copy of this one's data, without a server.
    pub(crate) fn copy(&self) -> Self {
        assert!(self.server.is_none(), "the data of a running server cannot be copied");
        let mut copy = Self::new();
        copy.settings.clone_from(&self.settings);
        Run::new("cp").arg("-a").arg(self.data()).arg(copy.data()).finish().ok();
        copy
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// A place for files of the test, outside of the data directory.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    pub(crate) fn askpass(&self) -> PathBuf {
        self.root.path().join("askpass")
    }

    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.root.path().join("known_hosts")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.as_ref().unwrap().pid()
    }

    /// `tacdrop` on this data directory, with these settings.
    pub(crate) fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Run {
        self.around(super::binary()).args(args)
    }

    /// A program in the environment that makes it, or what it starts, a command on this house.
    pub(crate) fn around(&self, program: impl AsRef<OsStr>) -> Run {
        let run = Run::new(program).within(self.root.path()).env("TACDROP_DATA", self.data());
        self.settings.iter().fold(run, |run, (key, value)| run.env(key, value))
    }

    /// Runs a command to its end.
    pub(crate) fn tacdrop<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Finished {
        self.command(args).finish()
    }

    /// Runs a command that must succeed with `--json` and gives what it says.
    #[track_caller]
    pub(crate) fn json<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Value {
        self.command(args).arg("--json").finish().ok().json()
    }

    fn serve(&self) -> Job {
        let command = if self.before.is_empty() {
            self.command(["serve"])
        } else {
            let line = format!("{} && exec \"$0\" serve", self.before.join(" && "));
            self.around("sh").args(["-c", &line]).arg(super::binary())
        };
        let command = self.server_env.iter().fold(command, |command, (name, value)| command.env(name, value));
        command
            .env("TACDROP__SERVER__LISTEN", format!("127.0.0.1:{}", self.port))
            .limit(Duration::from_secs(3600))
            .start()
    }

    /// Starts the server: the first time on a free port, later on the same one.
    pub(crate) fn start(&mut self) {
        assert!(self.server.is_none(), "a server runs already");
        let mut server = self.serve();
        let line = server.await_stderr("listening on ", PATIENCE);
        self.port = port_of(&line);
        self.server = Some(server);
    }

    /// Starts the server; false if it refuses to.
    pub(crate) fn start_or_refused(&mut self) -> bool {
        let mut server = self.serve();
        let line = super::within(PATIENCE, "a server that listens or ends", || {
            let said = server.stderr();
            let line = said.lines().find(|line| line.contains("listening on ")).map(ToOwned::to_owned);
            line.map(Some).or_else(|| server.has_ended().then_some(None))
        });
        let Some(line) = line else { return false };
        self.port = port_of(&line);
        self.server = Some(server);
        true
    }

    /// Starts a server that must refuse to, and gives what it said.
    pub(crate) fn start_refused(&self) -> Finished {
        self.serve().finish_within(PATIENCE)
    }

    /// `kill -9` of the server.
    pub(crate) fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill();
        self.old_logs += &server.stderr();
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        self.server.as_ref().unwrap().signal(Signal::TERM);
    }

    /// Waits until the server, told to stop, has ended, and checks that it exited 0.
    pub(crate) fn ended(&mut self) {
        let finished = self.server.take().unwrap().finish_within(PATIENCE);
        self.old_logs += &finished.err();
        finished.ok();
    }

    /// SIGTERM, and the check that it exits 0.
    pub(crate) fn stop(&mut self) {
        self.terminate();
        self.ended();
    }

    /// Everything that servers of this house have logged.
    pub(crate) fn log(&self) -> String {
        format!("{}{}", self.old_logs, self.server.as_ref().map(Job::stderr).unwrap_or_default())
    }

    /// Adds an engineer `ID` with a new key and the address `ID@support.example`.
    pub(crate) fn engineer(&self, id: &str) -> Key {
        let key = self.key(id);
        let public = key.0.with_extension("pub");
        let email = format!("{id}@support.example");
        self.tacdrop(["engineer", "add", id, "--email", &email, "--key", public.to_str().unwrap()]).ok();
        key
    }

    /// A new key pair.
    pub(crate) fn key(&self, name: &str) -> Key {
        let path = self.root.path().join(format!("key-{name}"));
        Run::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path).finish().ok();
        Key(path)
    }

    /// Opens a ticket of `acme`.
    pub(crate) fn ticket(&self, reference: &str, engineer: &str) -> Ticket {
        self.ticket_with(reference, engineer, &[])
    }

    /// The same with more arguments.
    pub(crate) fn ticket_with(&self, reference: &str, engineer: &str, more: &[&str]) -> Ticket {
        let mut args = vec!["ticket", "open", reference, "--organisation", "acme", "--engineer", engineer];
        args.extend(more);
        let json = self.json(args);
        let token = json["token"].as_str().unwrap_or_else(|| panic!("no token: {json}")).to_owned();
        Ticket { reference: reference.to_owned(), token, json }
    }

    /// `artifact list REF --json`.
    pub(crate) fn artifacts(&self, ticket: &Ticket) -> Vec<Value> {
        let list = self.json(["artifact", "list", &ticket.reference]);
        list.as_array().unwrap_or_else(|| panic!("no array: {list}")).clone()
    }

    /// The artifact at a path, if it is listed. Paths are compared without a slash at their front.
    pub(crate) fn artifact(&self, ticket: &Ticket, path: &str) -> Option<Value> {
        let wanted = path.trim_start_matches('/');
        self.artifacts(ticket)
            .into_iter()
            .find(|artifact| artifact["path"].as_str().unwrap().trim_start_matches('/') == wanted)
    }

    /// Checks that an artifact is there, available, and has this SHA-256.
    #[track_caller]
    pub(crate) fn assert_holds(&self, ticket: &Ticket, path: &str, sha256: &str) -> Value {
        let artifact = self
            .artifact(ticket, path)
            .unwrap_or_else(|| panic!("{path} is not listed, but {:#?}", self.artifacts(ticket)));
        assert_eq!((artifact["state"].as_str(), artifact["sha256"].as_str()), (Some("available"), Some(sha256)));
        artifact
    }

    /// What a Python script sees in the records behind the server's back: lines of words.
    pub(crate) fn records(&self, command: &str) -> Vec<Vec<String>> {
        let run = Run::new(super::python()).arg("-B").arg(super::script("records.py")).arg(command).arg(self.data());
        run.finish().ok().out().lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }

    /// `notice list --json`.
    pub(crate) fn notices(&self) -> Vec<Value> {
        let list = self.json(["notice", "list"]);
        list.as_array().unwrap_or_else(|| panic!("no array: {list}")).clone()
    }

    /// Waits until there are `count` notices and all are delivered.
    pub(crate) fn await_notices(&self, count: usize) -> Vec<Value> {
        let limit = format!("{count} delivered notices");
        let mut last = Vec::new();
        let end = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < end {
            last = self.notices();
            if last.len() == count && last.iter().all(|notice| notice["state"] == "delivered") {
                return last;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("no {limit}: {last:#?}\n{}", self.log());
    }

    /// The mails in the spool.
    pub(crate) fn spool(&self) -> Vec<String> {
        mails_in(&self.data().join("notices"))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprint_log(&self.log());
        }
    }
}

#[expect(clippy::print_stderr, reason = "what the server logged explains a failed test")]
fn eprint_log(log: &str) {
    eprintln!("--- the server's log ---\n{log}------------------------");
}

impl Job {
    /// Waits for its end, for this long from now.
    pub(crate) fn finish_within(mut self, limit: Duration) -> Finished {
        let pid = self.pid();
        super::within(limit, &format!("end of process {pid}; it said {}", self.stderr()), || {
            self.has_ended().then_some(())
        });
        self.finish()
    }
}

/// The port in `... listening on ADDRESS:PORT...`.
fn port_of(line: &str) -> u16 {
    let (_, rest) = line.split_once("listening on ").unwrap();
    let address: String = rest.chars().take_while(|c| c.is_ascii_digit() || ".:[]".contains(*c)).collect();
    let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("no port in {line:?}"))
}

/// The mails (`*.eml`) in a directory, in the order of their names.
pub(crate) fn mails_in(directory: &Path) -> Vec<String> {
    let mut paths: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|item| item.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// Waits for exactly one mail in the spool.
pub(crate) fn one_mail(house: &House) -> String {
    let mails = eventually("a mail in the spool", || Some(house.spool()).filter(|mails| !mails.is_empty()));
    assert_eq!(mails.len(), 1, "one mail is wanted: {mails:#?}");
    mails.into_iter().next().unwrap()
}
