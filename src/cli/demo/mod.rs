//! `tacdrop demo`: the whole trip in one command. The real server, a customer who uploads over
//! SFTP, the mail that the engineer gets, the way back, and a look at what lies on the disk.

mod bundle;
mod client;
mod mail;
mod search;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::output::{Output, size};
use crate::app::{App, ArtifactLine, DataDirectory, NewTicket};
use crate::config::{Config, Http};
use crate::model::sanitize;
use crate::model::{FileName, Identifier, Language, Priority};
use crate::{server, ssh};
use client::{Client, Credential, Transfer};
use mail::Mail;
use search::{Findings, Needle};

/// How long the mail may take. It settles for a second.
const MAIL_PATIENCE: Duration = Duration::from_secs(30);
/// How much of a file is looked at to find a sample worth searching for.
const SAMPLED: usize = 256 * 1024;
/// The shortest file name that is nowhere by chance, in bytes.
const SHORTEST_NAME: usize = 6;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Send this file instead of a made-up bundle
    #[arg(long)]
    file: Option<PathBuf>,
    /// Keep the directory, and say what works with it
    #[arg(long)]
    keep: bool,
}

impl Arguments {
    /// The file to send, and its name in the share.
    fn open(&self, place: &Path) -> Result<(File, String), Failure> {
        let Some(path) = &self.file else {
            let path = place.join(bundle::NAME);
            fs::write(&path, bundle::bundle())?;
            return Ok((File::open(path)?, bundle::NAME.to_owned()));
        };
        let refused = |why: &dyn std::fmt::Display| Failure::new(format!("{} cannot be sent: {why}", path.display()));
        let file = File::open(path).map_err(|error| refused(&error))?;
        if !file.metadata()?.is_file() {
            return Err(refused(&"it is no file"));
        }
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| refused(&"its name is not UTF-8"))?;
        FileName::new(name.as_bytes()).map_err(|error| refused(&error))?;
        Ok((file, name.to_owned()))
    }
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let private = fs::Permissions::from_mode(0o700);
    let place = tempfile::Builder::new().prefix("tacdrop-demo-").permissions(private).tempdir()?;
    let (file, name) = arguments.open(place.path())?;
    let mut config = Config::default();
    config.server.listen.set_port(0);
    config.server.drain_seconds = 2;
    config.http = Some(Http {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        public_url: None,
        trusted_proxies: Vec::new(),
        slowest_kib_per_minute: 0,
        tls: None,
    });
    config.notify.settle_seconds = 1;
    config.notify.settle_max_seconds = 5;
    let data = DataDirectory::at(place.path().join("data"));

    let (stop, (ready, is_ready)) = (CancellationToken::new(), oneshot::channel());
    let server = {
        let (data, config, stop) = (data.clone(), config.clone(), stop.clone());
        std::thread::Builder::new().name("server".to_owned()).spawn(move || {
            server::serve(data, &config, &stop, |now| {
                // Nobody waits for it any more after an interrupt.
                let _ = ready.send(now.clone());
            })
        })?
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let trip = Trip { arguments, data, config, place: place.path(), steps: Steps { output: *output, taken: 0 } };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = trip.take(is_ready, &file, name) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
        }
    });
    stop.cancel();
    match server.join() {
        Ok(served) => served?,
        Err(_) => return Err(Failure::new("the server stopped in a way that it never should; please report it")),
    }
    let mut summary = outcome?;
    if arguments.keep {
        summary.directory = Some(place.keep());
    } else {
        place.close()?;
    }
    output.answer(&summary, || what_next(summary.directory.as_deref()))
}

/// What the demo showed, for programs.
#[derive(Serialize)]
struct Summary {
    location: String,
    sha256: String,
    size: u64,
    name: String,
    ticket: &'static str,
    mail: Mail,
    upload_seconds: f64,
    mail_seconds: f64,
    download_seconds: f64,
    files_searched: u64,
    hits: usize,
    /// Where everything is, if it was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<PathBuf>,
}

const TICKET: &str = "XT-4711";
const ENGINEER: &str = "anna";

/// Short numbered lines for people; nothing for programs, which get one object at the end.
struct Steps {
    output: Output,
    taken: usize,
}

impl Steps {
    fn say(&mut self, title: &str, text: &str) -> Result<(), Failure> {
        self.taken += 1;
        if self.output.is_json() {
            return Ok(());
        }
        let mut lead = format!("{}. {title}", self.taken);
        let mut lines = String::new();
        for line in text.lines() {
            lines.push_str(format!("{lead:<13} {line}").trim_end());
            lines.push('\n');
            lead.clear();
        }
        self.output.say(&lines)
    }
}

struct Trip<'a> {
    arguments: &'a Arguments,
    data: DataDirectory,
    config: Config,
    place: &'a Path,
    steps: Steps,
}

impl Trip<'_> {
    async fn take(
        mut self,
        is_ready: oneshot::Receiver<server::Ready>,
        file: &File,
        name: String,
    ) -> Result<Summary, Failure> {
        if !self.steps.output.is_json() {
            self.steps.output.say(&format!("One upload, all the way, in {}\n", self.place.display()))?;
        }
        // If it never comes, the server says why.
        let ready = is_ready.await.map_err(|_| Failure::new("the server did not start"))?;
        let server::Ready { address, fingerprint, http } = &ready;
        let http = http.map(|http| format!("\nand HTTP on {http}")).unwrap_or_default();
        self.steps.say("Server", &format!("serves SFTP on {address}, host key {fingerprint}{http}"))?;

        let length = file.metadata()?.len();
        let app = App::open(self.data.clone(), server::share_settings(&self.config)).await?;
        let (key, token) = self.open_ticket(&app).await?;
        self.steps.say(
            "Ticket",
            &format!(
                "{TICKET} has an encrypted share of its own and a token of {} characters;\nengineer {ENGINEER} worker_runtime on \
                 it and logs in by an Ed25519 key",
                token.chars().count()
            ),
        )?;
        let needles = self.needles(file, length, &name, &token)?;

        let started = Instant::now();
        let customer = Client::connect(*address, fingerprint, TICKET, Credential::Token(&token)).await?;
        let sent = {
            let progress = progress(length, "upload");
            let sent = customer.put(&mut &*file, &name, |piece| progress.inc(piece.len() as u64)).await?;
            progress.finish_and_clear();
            sent
        };
        let upload_seconds = started.elapsed().as_secs_f64();
        customer.leave().await;
        let shown = sanitize::line(&name).into_owned();
        self.steps.say(
            "Upload",
            &format!("the customer sent {shown}\nover SFTP: {}", throughput(sent.bytes, upload_seconds)),
        )?;

        let artifact = self.artifact(&app, &sent).await?;
        self.steps.say(
            "Artifact",
            &format!(
                "hashed while it came, and safe on disk when the server answered CLOSE\nSHA-256   {}\n          the same \
                 as the sender's\nlocation  {}",
                sent.sha256, artifact.location
            ),
        )?;

        let waiting = Instant::now();
        let mail = self.mail(&sent, &artifact).await?;
        let mail_seconds = waiting.elapsed().as_secs_f64();
        let Mail { from, to, subject, text } = &mail;
        let shown_mail = format!("From: {from}\nTo: {to}\nSubject: {subject}\n\n{text}");
        let quoted: Vec<String> = shown_mail.lines().map(|line| format!("  | {}", sanitize::line(line))).collect();
        self.steps.say("Mail", &format!("{mail_seconds:.1} s later the engineer got this mail:"))?;
        if !self.steps.output.is_json() {
            self.steps.output.say(&quoted.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n"))?;
        }

        let started = Instant::now();
        let engineer = Client::connect(*address, fingerprint, ENGINEER, Credential::Key(key)).await?;
        let fetched = {
            let progress = progress(length, "download");
            let path = format!("/{TICKET}/{name}");
            let fetched = engineer.get(&path, |piece| progress.inc(piece.len() as u64)).await?;
            progress.finish_and_clear();
            fetched
        };
        let download_seconds = started.elapsed().as_secs_f64();
        engineer.leave().await;
        if (fetched.bytes, &fetched.sha256) != (sent.bytes, &sent.sha256) {
            return Err(Failure::new("what the engineer fetched is not what the customer sent"));
        }
        self.steps.say(
            "Download",
            &format!(
                "the engineer fetched it by key: {}\nSHA-256 identical",
                throughput(fetched.bytes, download_seconds)
            ),
        )?;

        let verified = app.integrity().verify(None, |_| {}).await?;
        if verified.len() != 1 || verified.iter().any(|one| !one.intact) {
            return Err(Failure::new("'artifact verify' did not find one intact version"));
        }
        self.steps.say("Verify", "every stored byte was decrypted, authenticated and hashed again: intact")?;

        let found = self.search(&needles)?;
        app.close().await;
        Ok(Summary {
            location: artifact.location,
            sha256: sent.sha256,
            size: sent.bytes,
            name,
            ticket: TICKET,
            mail,
            upload_seconds,
            mail_seconds,
            download_seconds,
            files_searched: found.files,
            hits: found.hits.len(),
            directory: None,
        })
    }

    /// Does what an operator does before a customer can send anything.
    async fn open_ticket(&self, app: &App) -> Result<(Arc<russh::keys::PrivateKey>, Zeroizing<String>), Failure> {
        let word = |text: &str| text.parse::<Identifier>().map_err(|error| Failure::new(error.to_string()));
        let failed = |error: &dyn std::fmt::Display| Failure::new(format!("no key could be made: {error}"));
        let text = ssh::generate_host_key().map_err(|error| failed(&error))?;
        let key = ssh::parse_host_key(&text).map_err(|error| failed(&error))?;
        let line = key.public_key().to_openssh().map_err(|error| failed(&error))?;
        let public = ssh::key_fingerprint(&line).map_err(|error| failed(&error))?;
        if self.arguments.keep {
            let path = self.place.join(ENGINEER);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes())?;
        }
        app.tickets()
            .add_organisation(word("ACME")?, "ACME Networks GmbH".to_owned(), Some("2026-0815".to_owned()))
            .await?;
        let (name, email) = (Some("Anna Lindgren".to_owned()), "anna@support.example".to_owned());
        app.tickets().add_engineer(word(ENGINEER)?, name, email, Some(Language::En), vec![public]).await?;
        let new = NewTicket {
            reference: word(TICKET)?,
            organisation: word("ACME")?,
            engineer: word(ENGINEER)?,
            title: Some("edge-ber-07 reloads after BGP flaps".to_owned()),
            priority: Priority::try_from(2).map_err(Failure::new)?,
            language: Some(Language::En),
            device: false,
        };
        let (_, token) = app.tickets().open_ticket(new).await?;
        Ok((Arc::new(key), token))
    }

    /// What must not be on the disk: pieces of the content, the file's name, and the token. Left
    /// out is what is there already, or could be by chance: it would prove nothing.
    fn needles(&self, file: &File, length: u64, name: &str, token: &str) -> Result<Vec<Needle>, Failure> {
        let mut needles = vec![Needle { what: "the token".to_owned(), bytes: token.as_bytes().to_vec() }];
        if name.len() >= SHORTEST_NAME {
            needles.push(Needle { what: "the file's name".to_owned(), bytes: name.as_bytes().to_vec() });
        }
        if self.arguments.file.is_none() {
            let what = format!("the line '{}'", bundle::CANARY);
            needles.push(Needle { what, bytes: bundle::CANARY.as_bytes().to_vec() });
        }
        for (part, ordinal) in (0..4).zip(["first", "second", "third", "last"]) {
            let mut content = vec![0; SAMPLED];
            let read = file.read_at(&mut content, length / 4 * part)?;
            if let Some(bytes) = content.get(..read).and_then(search::sample) {
                needles.push(Needle { what: format!("bytes of the {ordinal} quarter of the content"), bytes });
            }
        }
        let before = search::search(self.data.root(), &self.data.notices(), &needles)?;
        needles.retain(|needle| before.hits.iter().all(|(what, _)| *what != needle.what));
        Ok(needles)
    }

    /// The one artifact, as the records have it.
    async fn artifact(&self, app: &App, sent: &Transfer) -> Result<ArtifactLine, Failure> {
        let ticket = TICKET.parse::<Identifier>().map_err(|error| Failure::new(error.to_string()))?;
        let address =
            app.public_address().await?.ok_or_else(|| Failure::new("the server did not write down its address"))?;
        let mut lines = app.artifacts().list(&ticket, &address).await?;
        match (lines.pop(), lines.len()) {
            (Some(line), 0) if line.sha256.as_ref() == Some(&sent.sha256) && line.size == sent.bytes => Ok(line),
            _ => Err(Failure::new("the records do not show the one artifact that was sent, with its SHA-256")),
        }
    }

    /// Waits for the mail, and checks that it says what matters.
    async fn mail(&self, sent: &Transfer, artifact: &ArtifactLine) -> Result<Mail, Failure> {
        let spool = self.data.notices();
        let wait = async {
            loop {
                if let Some(mail) = mail::first_of(&spool)? {
                    return Ok::<Mail, Failure>(mail);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let seconds = MAIL_PATIENCE.as_secs();
        let mail = tokio::time::timeout(MAIL_PATIENCE, wait)
            .await
            .map_err(|_| Failure::new(format!("no mail came within {seconds} seconds")))??;
        for part in [&sent.sha256, &artifact.location] {
            if !mail.text.contains(part) {
                return Err(Failure::new(format!("the mail does not say {part}")));
            }
        }
        Ok(mail)
    }

    fn search(&mut self, needles: &[Needle]) -> Result<Findings, Failure> {
        let found = search::search(self.data.root(), &self.data.notices(), needles)?;
        if let Some((what, path)) = found.hits.first() {
            return Err(Failure::new(format!("{what} stands in plain text in {}", path.display())));
        }
        let what: Vec<&str> = needles.iter().map(|needle| needle.what.as_str()).collect();
        self.steps.say(
            "Disk",
            &format!(
                "searched {} files, {}, all but the mail spool, for\n{}:\n0 hits",
                found.files,
                size(found.bytes),
                what.join(",\n"),
            ),
        )?;
        Ok(found)
    }
}

/// On a terminal only.
fn progress(length: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(what);
    match ProgressStyle::with_template("   {msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}") {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

fn throughput(bytes: u64, seconds: f64) -> String {
    let rate = bytes as f64 / f64::from(1 << 20) / seconds.max(0.001);
    format!("{} in {seconds:.2} s with the login, {rate:.1} MiB/s", size(bytes))
}

fn what_next(kept: Option<&Path>) -> String {
    // As it was called, so that the lines can be pasted.
    let program = std::env::args().next().unwrap_or_else(|| "tacdrop".to_owned());
    let mut text = String::from("\n");
    match kept {
        Some(place) => {
            let place = place.display();
            text += &format!(
                "Everything was kept in {place}. What worker_runtime with it:\n  \
                 {program} --data {place}/data artifact list {TICKET}\n  \
                 {program} --data {place}/data artifact verify\n  \
                 {program} --data {place}/data ticket token {TICKET}\n  \
                 TACDROP__HTTP__LISTEN=127.0.0.1:8080 {program} --data {place}/data serve\n  \
                 sftp -i {place}/{ENGINEER} -P 2222 {ENGINEER}@127.0.0.1\n  \
                 curl -u {TICKET} -T FILE http://127.0.0.1:8080/v1/tickets/{TICKET}/files/\n\n"
            );
        }
        None => text += "Nothing was left behind.\n",
    }
    text + &format!(
        "To set up your own, in ./tacdrop-data:\n  \
         {program} organisation add ACME --name 'ACME Networks'\n  \
         {program} engineer add anna --email anna@example.org --key ~/.ssh/id_ed25519.pub\n  \
         {program} ticket open XT-1 --organisation ACME --engineer anna\n  \
         {program} serve\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_has_a_name_that_a_share_takes() {
        assert!(FileName::new(bundle::NAME.as_bytes()).is_ok());
    }

    #[test]
    fn what_to_do_next_fits_what_was_kept() {
        assert!(what_next(None).contains("Nothing was left behind") && !what_next(None).contains("sftp"));
        assert!(what_next(Some(Path::new("/x"))).contains("/x/data serve"));
    }
}
