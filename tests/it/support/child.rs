//! Child processes. Each has a time limit and a process group of its own; at the limit the group is
//! killed by its id.

use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

/// A command to be run.
pub(crate) struct Run {
    command: Command,
    stdin: Vec<u8>,
    limit: Duration,
}

impl Run {
    /// Nothing that the person who runs the tests has set for tacdrop or ssh reaches the child.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("TACDROP")) {
                command.env_remove(name);
            }
        }
        command.env_remove("SSH_AUTH_SOCK").env("LC_ALL", "C.UTF-8");
        Self { command, stdin: Vec::new(), limit: Duration::from_secs(180) }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn within(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Job {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let name = format!("{:?}", self.command);
        let mut child = self.command.spawn().unwrap_or_else(|error| {
            panic!("{name} cannot be started ({error}); tests/run installs what the tests need")
        });
        let mut input = child.stdin.take().unwrap();
        let bytes = std::mem::take(&mut self.stdin);
        // A child that does not read its input to the end is its own business.
        std::thread::spawn(move || drop(input.write_all(&bytes)));
        let stdout = Tap::new(child.stdout.take().unwrap());
        let stderr = Tap::new(child.stderr.take().unwrap());
        Job { name, child, stdout, stderr, started: Instant::now(), limit: self.limit, status: None }
    }

    /// Runs it to its end.
    pub(crate) fn finish(self) -> Finished {
        self.start().finish()
    }
}

/// A running child. Dropped, it is killed with all that it started.
pub(crate) struct Job {
    name: String,
    child: Child,
    stdout: Tap,
    stderr: Tap,
    started: Instant,
    limit: Duration,
    status: Option<ExitStatus>,
}

impl Job {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// What it has said on stdout so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Waits until its stderr holds `needle`, and gives that line.
    pub(crate) fn await_stderr(&mut self, needle: &str, limit: Duration) -> String {
        let end = Instant::now() + limit;
        loop {
            let said = self.stderr.text();
            // Only whole lines: the rest of one may be on its way.
            let whole = said.rfind('\n').map_or("", |end| &said[..end]);
            if let Some(line) = whole.lines().find(|line| line.contains(needle)) {
                return line.to_owned();
            }
            assert!(!self.has_ended(), "{} ended without saying '{needle}':\n{said}", self.name);
            assert!(Instant::now() < end, "{} did not say '{needle}' within {limit:?}:\n{said}", self.name);
            self.stderr.changed(Duration::from_millis(100));
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status.is_some()
    }

    /// Sends a signal to the child alone.
    pub(crate) fn signal(&self, signal: Signal) {
        // A child that has ended meanwhile needs none.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// SIGKILL to the child and all that it started.
    pub(crate) fn kill(&mut self) {
        if !self.has_ended() || self.started.elapsed() < self.limit {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        }
        let _ = self.child.kill();
        self.status = self.child.wait().ok();
    }

    /// Waits for its end. Panics, after killing it, when its time is over.
    pub(crate) fn finish(mut self) -> Finished {
        while !self.has_ended() {
            if self.started.elapsed() > self.limit {
                self.kill();
                panic!(
                    "{} took longer than {:?}\nstdout: {}\nstderr: {}",
                    self.name,
                    self.limit,
                    self.stdout(),
                    self.stderr()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let finished = Finished {
            name: self.name.clone(),
            status: self.status.unwrap(),
            stdout: self.stdout.rest(),
            stderr: self.stderr.rest(),
            took: self.started.elapsed(),
        };
        drop(self);
        finished
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.kill();
        }
    }
}

/// How a child ended.
pub(crate) struct Finished {
    name: String,
    status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) took: Duration,
}

impl Finished {
    /// Its exit code; a child that a signal ended has none.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Panics with all that it said unless it exited 0.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert!(self.status.success(), "{self}");
        self
    }

    /// Panics with all that it said unless it exited with this code, which is not 0.
    #[track_caller]
    pub(crate) fn refused(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self}");
        self
    }

    /// Its output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\nstdout: {}\nstderr: {}", self.name, self.status, self.out(), self.err())
    }
}

/// What came so far, whether that is all, and a bell for more.
type Said = (Mutex<(Vec<u8>, bool)>, Condvar);

/// Reads an output to its end, and shows what there is of it.
struct Tap {
    shared: Arc<Said>,
    reader: Option<JoinHandle<()>>,
}

impl Tap {
    fn new(mut output: impl Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new((Vec::new(), false)), Condvar::new()));
        let writer = Arc::clone(&shared);
        let reader = std::thread::spawn(move || {
            let mut block = [0; 16384];
            loop {
                let read = output.read(&mut block).unwrap_or(0);
                let mut kept = writer.0.lock().unwrap();
                kept.0.extend_from_slice(&block[..read]);
                kept.1 = read == 0;
                writer.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        Self { shared, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.0.lock().unwrap().0).into_owned()
    }

    fn changed(&self, limit: Duration) {
        let kept = self.shared.0.lock().unwrap();
        drop(self.shared.1.wait_timeout(kept, limit).unwrap());
    }

    /// Everything. What a grandchild that outlives the child would still say is not waited for.
    fn rest(&mut self) -> Vec<u8> {
        let end = Instant::now() + Duration::from_secs(5);
        let mut kept = self.shared.0.lock().unwrap();
        while !kept.1 && Instant::now() < end {
            kept = self.shared.1.wait_timeout(kept, Duration::from_millis(100)).unwrap().0;
        }
        let bytes = kept.0.clone();
        if kept.1 {
            drop(kept);
            self.reader.take().map(JoinHandle::join);
        }
        bytes
    }
}
