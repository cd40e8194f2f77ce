//! OpenSSH's clients as customers and engineers use them, and the environment that other clients
//! need.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::child::{Finished, Job, Run};
use super::server::{House, Key, Ticket};

static BATCHES: AtomicU32 = AtomicU32::new(0);

impl House {
    /// Options that OpenSSH's programs get in every test: no settings of the person who runs it, a
    /// private known_hosts.
    fn ssh_options(&self) -> Vec<String> {
        let mut options = vec!["-F".to_owned(), "none".to_owned()];
        for option in [
            "StrictHostKeyChecking=accept-new",
            &format!("UserKnownHostsFile={}", self.known_hosts().display()),
            "GlobalKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "NumberOfPasswordPrompts=1",
            "ConnectTimeout=30",
            "LogLevel=ERROR",
            // First, because `sftp -b` sets it as well and ssh takes the first: a password must be
            // asked for.
            "BatchMode=no",
        ] {
            options.extend(["-o".to_owned(), option.to_owned()]);
        }
        options
    }

    /// An OpenSSH program (`sftp`, `scp`, `ssh`) that answers password prompts with `token`.
    /// `options` go before those of every test, and ssh takes the first.
    pub(crate) fn with_askpass(&self, program: &str, options: &[&str], token: &str) -> Run {
        let options = options.iter().flat_map(|option| ["-o", option]);
        Run::new(program)
            .within(&self.work())
            .args(options)
            .args(self.ssh_options())
            .env("SSH_ASKPASS", self.askpass())
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("TACDROP_TEST_TOKEN", token)
    }

    /// The same with nothing else to log in with.
    pub(crate) fn with_token(&self, program: &str, token: &str) -> Run {
        self.with_token_and(program, token, &[])
    }

    /// The same with options.
    pub(crate) fn with_token_and(&self, program: &str, token: &str, first: &[&str]) -> Run {
        let options = [first, &["PubkeyAuthentication=no", "PreferredAuthentications=password"]].concat();
        self.with_askpass(program, &options, token)
    }

    /// The same, but the first prompt is answered with something else.
    pub(crate) fn with_wrong_then_token(&self, program: &str, token: &str) -> Run {
        let number = BATCHES.fetch_add(1, Ordering::Relaxed);
        let options = ["NumberOfPasswordPrompts=3", "PubkeyAuthentication=no", "PreferredAuthentications=password"];
        self.with_askpass(program, &options, token)
            .env("TACDROP_TEST_WRONG_ONCE", self.work().join(format!(".asked-{number}")))
    }

    /// An agent with these keys, on [`House::agent_socket`].
    pub(crate) fn agent(&self, keys: &[Key]) -> Job {
        let agent = Run::new("ssh-agent").arg("-D").arg("-a").arg(self.agent_socket());
        let agent = agent.limit(Duration::from_secs(3600)).start();
        super::eventually("the agent's socket", || self.agent_socket().exists().then_some(()));
        let add = Run::new("ssh-add").env("SSH_AUTH_SOCK", self.agent_socket()).args(keys.iter().map(|key| &key.0));
        add.finish().ok();
        agent
    }

    pub(crate) fn agent_socket(&self) -> std::path::PathBuf {
        self.work().with_file_name("agent")
    }

    /// An OpenSSH program that logs in with a key.
    pub(crate) fn with_key(&self, program: &str, key: &Key) -> Run {
        Run::new(program)
            .within(&self.work())
            .args(self.ssh_options())
            .args(["-o", "PreferredAuthentications=publickey", "-i"])
            .arg(&key.0)
    }

    /// `raw_sftp.py` as the customer of a ticket.
    pub(crate) fn raw_customer(&self, ticket: &Ticket) -> Run {
        let password = ["-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password"];
        self.raw(&password.map(str::to_owned), &ticket.reference)
            .env("SSH_ASKPASS", self.askpass())
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("TACDROP_TEST_TOKEN", &ticket.token)
    }

    /// The same as an engineer.
    pub(crate) fn raw_engineer(&self, engineer: &str, key: &Key) -> Run {
        self.raw(&["-i".to_owned(), key.0.display().to_string()], engineer)
    }

    fn raw(&self, login: &[String], user: &str) -> Run {
        let port = ["-p".to_owned(), self.port().to_string(), format!("{user}@127.0.0.1")];
        let ssh = ["ssh".to_owned()].into_iter().chain(self.ssh_options()).chain(login.to_vec()).chain(port);
        let ssh: Vec<String> = ssh.chain(["-s".to_owned(), "sftp".to_owned()]).collect();
        Run::new(super::python()).arg("-B").arg(super::script("raw_sftp.py")).env("TEST_SSH", ssh.join("\n"))
    }

    pub(super) fn batch(&self, run: Run, port: u16, user: &str, commands: &str) -> Run {
        let number = BATCHES.fetch_add(1, Ordering::Relaxed);
        let file = self.work().join(format!(".batch-{number}"));
        fs::write(&file, format!("{commands}\n")).unwrap();
        run.arg("-P").arg(port.to_string()).arg("-b").arg(file).arg(format!("{user}@127.0.0.1"))
    }

    /// `sftp` in batch mode as the customer of a ticket: it stops at the first command that fails,
    /// with exit code 1.
    pub(crate) fn customer(&self, ticket: &Ticket, commands: &str) -> Finished {
        self.customer_run(ticket, commands).finish()
    }

    /// The same, to be started by the caller.
    pub(crate) fn customer_run(&self, ticket: &Ticket, commands: &str) -> Run {
        self.as_customer(ticket).sftp(commands)
    }

    /// `sftp` in batch mode as an engineer.
    pub(crate) fn engineer_sftp(&self, engineer: &str, key: &Key, commands: &str) -> Finished {
        self.batch(self.with_key("sftp", key), self.port(), engineer, commands).finish()
    }

    /// A slow upload: `put SOURCE TARGET` at about this many MiB a second.
    pub(crate) fn slow_put(&self, ticket: &Ticket, source: &Path, target: &str, mib_per_second: u32) -> Job {
        // sftp counts Kbit.
        let run = self.with_token("sftp", &ticket.token).arg("-l").arg((mib_per_second * 8192).to_string());
        let put = format!("put \"{}\" \"{target}\"", source.display());
        self.batch(run, self.port(), &ticket.reference, &put).limit(Duration::from_secs(300)).start()
    }

    /// Puts one file and checks that sftp exited 0.
    #[track_caller]
    pub(crate) fn put(&self, ticket: &Ticket, source: &Path, target: &str) {
        self.customer(ticket, &format!("put \"{}\" \"{target}\"", source.display())).ok();
    }

    /// A Python script of `support/` as a client of this house: it gets host, port, user and token
    /// in its environment.
    pub(crate) fn python(&self, name: &str, ticket: &Ticket) -> Run {
        Run::new(super::python())
            .arg("-B")
            .arg(super::script(name))
            .within(&self.work())
            .env("TEST_HOST", "127.0.0.1")
            .env("TEST_PORT", self.port().to_string())
            .env("TEST_USER", &ticket.reference)
            .env("TEST_TOKEN", &ticket.token)
    }
}
