//! A mail server that keeps what it is sent, or refuses it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::child::{Job, Run};
use super::mail::Mail;
use super::server::{House, mails_in};
use super::{PATIENCE, eventually, python, script};

/// The mail server, which may be down.
pub(crate) struct Sink {
    job: Option<Job>,
    directory: PathBuf,
    port: u16,
}

impl Sink {
    /// A place for one; nobody listens yet.
    pub(crate) fn new(work: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = work.join("sink");
        fs::create_dir_all(&directory).unwrap();
        Self { job: None, directory, port }
    }

    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts it, or starts it anew, with options of `smtp_sink.py`.
    pub(crate) fn start_with(&mut self, options: &[&str]) {
        self.job = None;
        let mut job = Run::new(python())
            .arg("-B")
            .arg(script("smtp_sink.py"))
            .arg(self.port.to_string())
            .arg(&self.directory)
            .args(options)
            .limit(Duration::from_secs(24 * 3600))
            .start();
        job.await_stderr("sink listens", PATIENCE);
        self.job = Some(job);
    }

    /// From now on it keeps what it is sent, but does not say so.
    pub(crate) fn hold_answers(&self) {
        fs::write(self.directory.join("hold"), "").unwrap();
    }

    /// Undoes that.
    pub(crate) fn answer_again(&self) {
        fs::remove_file(self.directory.join("hold")).unwrap();
    }

    /// From now on it refuses: lines `COMMAND REPLY` or `RCPT ADDRESS REPLY`. Nothing: it takes
    /// everything again.
    pub(crate) fn refuse(&self, lines: &str) {
        // In one step, as it may be read just now.
        let unfinished = self.directory.join("refuse.new");
        fs::write(&unfinished, lines).unwrap();
        fs::rename(&unfinished, self.directory.join("refuse")).unwrap();
    }

    /// The commands and logins that it has heard, each with `clear` or `encrypted` behind it.
    pub(crate) fn heard(&self) -> Vec<String> {
        let heard = fs::read_to_string(self.directory.join("heard")).unwrap_or_default();
        heard.lines().map(str::to_owned).collect()
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        mails_in(&self.directory).iter().map(|text| Mail::parse(text)).collect()
    }

    /// The recipients of the mails that are this notice.
    pub(crate) fn recipients_of(&self, notice: &str) -> Vec<String> {
        let is_this = |mail: &Mail| mail.header("message-id").is_some_and(|id| id.starts_with(&format!("<{notice}@")));
        let mails = self.mails().into_iter().filter(is_this);
        mails.map(|mail| mail.header("x-envelope").unwrap().split_once(' ').unwrap().1.to_owned()).collect()
    }

    pub(crate) fn await_mails(&self, count: usize) -> Vec<Mail> {
        eventually(&format!("{count} mails at the sink"), || Some(self.mails()).filter(|mails| mails.len() >= count))
    }

    /// A house that sends to this sink.
    pub(crate) fn house(&self) -> House {
        House::new()
            .set("NOTIFY__SMTP__HOST", "127.0.0.1")
            .set("NOTIFY__SMTP__PORT", self.port.to_string())
            .set("NOTIFY__SMTP__TLS", "none")
            .set("NOTIFY__SMTP__FROM", "tacdrop <drop@support.example>")
    }
}
