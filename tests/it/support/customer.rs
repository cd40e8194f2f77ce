//! A customer with any of the clients that there are, over a line of choice.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::child::Run;
use super::server::{House, Ticket};

static SCRIPTS: AtomicU32 = AtomicU32::new(0);

/// A ticket's customer, and the port behind which the server is: its own, or a relay's.
pub(crate) struct Customer<'a> {
    house: &'a House,
    ticket: &'a Ticket,
    port: u16,
}

impl House {
    /// A customer whose clients reach the server directly.
    pub(crate) fn as_customer<'a>(&'a self, ticket: &'a Ticket) -> Customer<'a> {
        Customer { house: self, ticket, port: self.port() }
    }
}

impl Customer<'_> {
    /// The same through another port.
    pub(crate) fn through(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// OpenSSH's `sftp` in batch mode.
    pub(crate) fn sftp(&self, commands: &str) -> Run {
        let run = self.house.with_token("sftp", &self.ticket.token);
        self.house.batch(run, self.port, &self.ticket.reference, commands)
    }

    /// OpenSSH's `sftp` with more options, each as `-o` takes it. It says why nothing could be
    /// agreed on.
    pub(crate) fn sftp_with(&self, options: &[&str], commands: &str) -> Run {
        let options = [&["LogLevel=INFO"], options].concat();
        let run = self.house.with_token_and("sftp", &self.ticket.token, &options);
        self.house.batch(run, self.port, &self.ticket.reference, commands)
    }

    /// OpenSSH's `scp` with the legacy protocol.
    pub(crate) fn scp(&self) -> Run {
        self.house.with_token("scp", &self.ticket.token).args(["-O", "-P", &self.port.to_string()])
    }

    /// OpenSSH's `ssh` with a command for the server.
    pub(crate) fn ssh(&self, command: &str) -> Run {
        let login = format!("{}@127.0.0.1", self.ticket.reference);
        self.house.with_token("ssh", &self.ticket.token).args(["-p", &self.port.to_string(), &login, command])
    }

    /// PuTTY's `pscp` with the legacy protocol.
    pub(crate) fn pscp(&self) -> Run {
        self.run("pscp")
            .args(["-scp", "-batch", "-P", &self.port.to_string(), "-pw", &self.ticket.token])
            .args(["-hostkey", self.ticket.json["host_key_fingerprint"].as_str().unwrap()])
    }

    /// Where scp and pscp find a path.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}@127.0.0.1:{path}", self.ticket.reference)
    }

    /// lftp, logged in. It stops at the first command that fails and tries nothing again.
    pub(crate) fn lftp(&self, commands: &str) -> Run {
        let ssh = format!(
            "ssh -a -x -F none -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={} -o PubkeyAuthentication=no",
            self.house.known_hosts().display()
        );
        let script = format!(
            "set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 60; set sftp:connect-program '{ssh}'; \
             open -u {},{} sftp://127.0.0.1:{}; {commands}; bye",
            self.ticket.reference, self.ticket.token, self.port
        );
        self.run("lftp").args(["--norc", "-c", &script])
    }

    /// curl with the login set.
    pub(crate) fn curl(&self) -> Run {
        let user = format!("{}:{}", self.ticket.reference, self.ticket.token);
        self.run("curl").args(["-q", "-sS", "--insecure", "-u", &user])
    }

    /// Where curl finds a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("sftp://{}@127.0.0.1:{}/{path}", self.ticket.reference, self.port)
    }

    /// PuTTY's psftp with a script.
    pub(crate) fn psftp(&self, commands: &str) -> Run {
        let number = SCRIPTS.fetch_add(1, Ordering::Relaxed);
        let script = self.house.work().join(format!(".psftp-{number}"));
        fs::write(&script, format!("{commands}\nquit\n")).unwrap();
        self.run("psftp")
            .args(["-batch", "-P", &self.port.to_string(), "-pw", &self.ticket.token])
            .args(["-hostkey", self.ticket.json["host_key_fingerprint"].as_str().unwrap(), "-b"])
            .arg(script)
            .arg(format!("{}@127.0.0.1", self.ticket.reference))
    }

    /// rclone, which knows the share as `:sftp:`.
    pub(crate) fn rclone(&self) -> Run {
        let hidden = Run::new("rclone").args(["obscure", "-"]).stdin(self.ticket.token.as_bytes()).finish();
        // Older ones take it as an argument only.
        let hidden = if hidden.code() == Some(0) {
            hidden
        } else {
            Run::new("rclone").args(["obscure", &self.ticket.token]).finish().ok()
        };
        self.run("rclone")
            .env("RCLONE_CONFIG", self.house.work().join("no-such-rclone.conf"))
            .args(["--retries", "1", "--low-level-retries", "1"])
            .args(["--sftp-host", "127.0.0.1", "--sftp-port", &self.port.to_string()])
            .args(["--sftp-user", &self.ticket.reference, "--sftp-pass", hidden.out().trim()])
    }

    /// sshfs in the foreground, on a directory that exists.
    pub(crate) fn sshfs(&self, mountpoint: &Path) -> Run {
        let known_hosts = format!("UserKnownHostsFile={}", self.house.known_hosts().display());
        self.run("sshfs")
            .args(["-f", "-F", "none", "-p", &self.port.to_string()])
            .args(["-o", "password_stdin", "-o", "StrictHostKeyChecking=accept-new", "-o", &known_hosts])
            .args(["-o", "PreferredAuthentications=password"])
            .arg(format!("{}@127.0.0.1:/", self.ticket.reference))
            .arg(mountpoint)
            .stdin(format!("{}\n", self.ticket.token))
    }

    /// `uploads.py`, a client made of asyncssh.
    pub(crate) fn asyncssh<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Run {
        self.house.python("uploads.py", self.ticket).env("TEST_PORT", self.port.to_string()).args(args)
    }

    fn run(&self, program: &str) -> Run {
        Run::new(program).within(&self.house.work()).env("HOME", self.house.work())
    }
}
