//! `tacdrop audit`: who did what, whether that is what was written, and signed statements to keep
//! elsewhere.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use super::Desk;
use super::failure::Failure;
use super::output::Output;
use super::when::{self, When};
use crate::app::{App, AuditCheckpoint, AuditFault, AuditFilter, AuditLine, Compared, Kept, TrailWitness};
use crate::model::audit::Kind;
use crate::model::sanitize;
use crate::model::{Network, Reference, Time};

/// A checkpoint has six short lines; more is something else.
const LONGEST_CHECKPOINT: u64 = 4096;
/// A receipt names two paths of at most 4096 bytes, percent-encoded, and has some short lines.
const LONGEST_RECEIPT: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what happened, oldest first
    List(Wanted),
    /// Check that nothing in the trail was edited, deleted, put in or cut off
    Verify {
        /// A checkpoint that was kept elsewhere: the trail must hold what it speaks of
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Receipts that customers kept: the trail must hold what each speaks of
        #[arg(long, value_name = "FILE", num_args = 1..)]
        receipt: Vec<PathBuf>,
        /// Compare people, tickets and versions with what the trail tells of them, too
        #[arg(long)]
        records: bool,
    },
    /// Sign how far the trail has come, to be kept elsewhere
    Checkpoint {
        /// Where to write it; never overwrites a file
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Write the trail as JSON, one object on each line
    Export {
        #[command(flatten)]
        wanted: Wanted,
        /// Where to write it, '-' for standard output; never overwrites a file
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// Only what is about this ticket
    #[arg(value_name = "REF")]
    ticket: Option<Reference>,
    /// Only from this entry on, by its number; or from a time on: a date, 'yesterday', 2h
    #[arg(long, value_name = "SEQ|TIME", default_value = "1", value_parser = since)]
    since: Since,
    /// Only until then; of a date, to its end
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    until: Option<When>,
    /// Only what this login did: a ticket's reference, an engineer's id, 'operator' or 'server'
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Only what came from this address or network
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Network>,
    /// Only this kind, such as artifact.read or login.refused
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<Kind>,
}

/// Where a list begins.
#[derive(Debug, Clone, Copy)]
enum Since {
    Entry(i64),
    Time(Time),
}

/// A number is that of an entry.
fn since(text: &str) -> Result<Since, String> {
    match text.parse() {
        Ok(seq) => Ok(Since::Entry(seq)),
        Err(_) => when::parse(text).map(|when| Since::Time(when.from)),
    }
}

/// A checkpoint for programs.
#[derive(Serialize)]
struct Signed {
    seq: i64,
    at: Time,
    link: String,
    key: String,
    signature: String,
    /// The text to keep.
    text: String,
}

/// What `verify` says to programs.
#[derive(Serialize)]
struct Verified<'a> {
    intact: bool,
    entries: i64,
    checkpoints: u64,
    signed: i64,
    sealed: i64,
    receipts: usize,
    fault: Option<&'a AuditFault>,
    /// Whether the rows are what the trail tells; none if nobody asked, or the trail itself is not
    /// what was written.
    records: Option<&'a Compared>,
}

impl Command {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        let output = desk.output;
        match self {
            Self::List(wanted) => list(app, output, wanted.filter(app).await?).await,
            Self::Verify { checkpoint, receipt, records } => {
                verify(app, output, checkpoint.as_deref(), &receipt, records).await
            }
            Self::Checkpoint { output: file } => checkpoint(app, output, file.as_deref()).await,
            Self::Export { wanted, output: file } => export(app, output, wanted.filter(app).await?, &file).await,
        }
    }
}

/// Kinds that a wrong one may have been meant for, at most.
const NEAR: usize = 3;

/// The kind of this name. A list of a kind that does not exist would be empty, as if nothing had
/// happened.
fn kind(text: &str) -> Result<Kind, String> {
    text.parse().map_err(|_| {
        let near = near(text).map(Kind::as_str).join(", ");
        format!("there is no such kind of entry; near ones are {near} (docs/audit.md has all of them)")
    })
}

/// The kinds that are most like a text: as a whole, or in one of their two words.
fn near(text: &str) -> [Kind; NEAR] {
    let like = strsim::normalized_damerau_levenshtein;
    let likeness = |kind: &Kind| {
        let words = kind.as_str().split('.').flat_map(|word| text.split('.').map(move |typed| like(word, typed)));
        like(kind.as_str(), text).max(words.fold(0.0, f64::max) * 0.9)
    };
    let mut kinds = Kind::ALL.to_vec();
    kinds.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    std::array::from_fn(|at| kinds[at])
}

impl Wanted {
    async fn filter(self, app: &App) -> Result<AuditFilter, Failure> {
        let (since, from) = match self.since {
            Since::Entry(seq) => (seq, None),
            Since::Time(from) => (1, Some(from)),
        };
        let ticket = match &self.ticket {
            // The trail remembers tickets that are gone.
            Some(ticket) => Some(app.tickets().named_ever(ticket).await?),
            None => None,
        };
        Ok(AuditFilter {
            ticket,
            kind: self.kind,
            since,
            actor: self.by,
            address: self.address,
            from,
            to: self.until.map(|until| until.to),
        })
    }
}

async fn list(app: &App, output: Output, filter: AuditFilter) -> Result<(), Failure> {
    let mut lines = 0usize;
    let listed = app.audit().list(&filter, |page| {
        let mut text = String::new();
        for one in page {
            match (output.is_json(), lines) {
                (true, 0) => text.push('['),
                (true, _) => text.push_str(",\n"),
                (false, 0) => text.push_str(&row("SEQ", "AT", "KIND", "ACTOR", "TICKET", "SUBJECT", "DETAIL")),
                (false, _) => {}
            }
            text.push_str(&if output.is_json() { json(one)? } else { show(one) });
            lines += 1;
        }
        output.raw(text.as_bytes()).map_err(Stop::Output)
    });
    let ended = match (listed.await, output.is_json(), lines) {
        (Err(Stop::Output(error)), ..) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
        (Err(stop), ..) => return Err(stop.into()),
        (Ok(()), true, 0) => "[]\n",
        (Ok(()), true, _) => "]\n",
        (Ok(()), false, 0) => "There is no such entry.\n",
        (Ok(()), false, _) => "",
    };
    output.write(ended.as_bytes())
}

async fn export(app: &App, output: Output, filter: AuditFilter, file: &Path) -> Result<(), Failure> {
    if file == Path::new("-") {
        let sink = |page: &[AuditLine]| output.raw(objects(page)?.as_bytes()).map_err(Stop::Output);
        return match app.audit().list(&filter, sink).await {
            Err(Stop::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        };
    }
    let mut target = create(file)?;
    let mut lines = 0usize;
    let sink = |page: &[AuditLine]| {
        lines += page.len();
        target.write_all(objects(page)?.as_bytes()).map_err(Stop::Output)
    };
    app.audit().list(&filter, sink).await?;
    target.sync_all()?;
    let shown = file.display().to_string();
    output.answer(&serde_json::json!({ "file": shown, "entries": lines }), || {
        format!("{}: {lines} entries", sanitize::line(&shown))
    })
}

async fn verify(
    app: &App,
    output: Output,
    kept: Option<&Path>,
    receipts: &[PathBuf],
    records: bool,
) -> Result<(), Failure> {
    let kept = kept.map(read_checkpoint).transpose()?;
    let witnesses = receipts.iter().map(|file| read_receipt(app, file)).collect::<Result<Vec<_>, _>>()?;
    let found = app.audit().verify_with(Kept { checkpoint: kept.as_ref(), receipts: &witnesses }).await?;
    let fault = found.fault.as_ref();
    // What a trail tells that is not what was written proves nothing.
    let compared = match (records, fault) {
        (true, None) => Some(app.integrity().compare().await?),
        _ => None,
    };
    let verified = Verified {
        intact: fault.is_none(),
        entries: found.entries,
        checkpoints: found.checkpoints,
        signed: found.signed,
        sealed: found.sealed,
        receipts: if fault.is_none() { witnesses.len() } else { 0 },
        fault,
        records: compared.as_ref(),
    };
    let differences = compared.as_ref().filter(|compared| !compared.differences.is_empty());
    if let (Some(compared), false) = (differences, output.is_json()) {
        let lines: String =
            compared.differences.iter().map(|one| sanitize::line(&one.to_string()).into_owned() + "\n").collect();
        output.write(lines.as_bytes())?;
    }
    match fault {
        None if differences.is_some() => {
            if output.is_json() {
                output.json(&verified)?;
            }
            let count = differences.map_or(0, |compared| compared.differences.len() as u64 + compared.more);
            Err(Failure::new(format!(
                "the audit trail is as it was written, and the records are not what it tells: {count} differences. Keep \
                 the data directory as it is, and compare it with a backup"
            )))
        }
        None => output.answer(&verified, || {
            let kept = match witnesses.len() {
                0 => String::new(),
                1 => "; the receipt fits".to_owned(),
                many => format!("; all {many} receipts fit"),
            };
            let rows = compared.as_ref().map_or_else(String::new, |compared| {
                format!(
                    "\nThe records are what it tells of {} people and organisations, {} tickets and {} versions",
                    compared.people, compared.tickets, compared.versions
                )
            });
            format!(
                "{} entries, all as they were written, {} of them sealed; {} checkpoints fit, the last of entry {}{kept}{rows}",
                found.entries, found.sealed, found.checkpoints, found.signed
            )
        }),
        Some(fault) => {
            if output.is_json() {
                output.json(&verified)?;
            }
            // A receipt is named by its file, too.
            let named = witnesses.iter().zip(receipts).filter(|(one, _)| one.seq == fault.to).map(|(_, file)| file);
            let named: Vec<String> = named.map(|file| file.display().to_string()).collect();
            let named = match named.is_empty() {
                true => String::new(),
                false => format!(" (receipts of this entry: {})", sanitize::line(&named.join(", "))),
            };
            let right = match (found.entries, fault.seq) {
                (0, _) => String::new(),
                (entries, 0) => format!(" The {entries} entries themselves are as they were written."),
                (entries, _) => format!(" The {entries} entries before that are right."),
            };
            let skipped = if records { " The records were not compared with it." } else { "" };
            Err(Failure::new(format!(
                "the audit trail is not what was written. {fault}{named}.{right}{skipped} Keep the data directory as it is, \
                 and compare it with a backup"
            )))
        }
    }
}

async fn checkpoint(app: &App, output: Output, file: Option<&Path>) -> Result<(), Failure> {
    let Some(signed) = app.audit().checkpoint().await? else {
        return Err(Failure::new("the audit trail is empty: nothing has happened in this data directory yet"));
    };
    let text = signed.to_string();
    if let Some(file) = file {
        let mut target = create(file)?;
        target.write_all(text.as_bytes())?;
        target.sync_all()?;
    }
    let json = Signed {
        seq: signed.seq(),
        at: signed.at(),
        link: signed.link(),
        key: signed.public_key(),
        signature: signed.signature(),
        text: text.clone(),
    };
    output.answer(&json, || match file {
        None => text,
        Some(file) => format!("{}: {} entries are signed", sanitize::line(&file.display().to_string()), signed.seq()),
    })
}

fn read_checkpoint(file: &Path) -> Result<AuditCheckpoint, Failure> {
    let text = read_short(file, LONGEST_CHECKPOINT, "checkpoint")?;
    text.parse().map_err(|error| Failure::new(format!("{}: {error}", file.display())))
}

fn read_receipt(app: &App, file: &Path) -> Result<TrailWitness, Failure> {
    let text = read_short(file, LONGEST_RECEIPT, "receipt")?;
    app.audit().witness(&text).map_err(|error| Failure::new(format!("{}: {error}", file.display())))
}

fn read_short(file: &Path, longest: u64, what: &str) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", file.display()));
    let length = std::fs::metadata(file).map_err(|error| failed(&error))?.len();
    if length > longest {
        return Err(failed(&format!("this is too long for a {what}")));
    }
    std::fs::read_to_string(file).map_err(|error| failed(&error))
}

/// A new file that only its owner may read: who worked when is nobody else's business.
fn create(file: &Path) -> Result<std::fs::File, Failure> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(|error| {
        let shown = file.display();
        if error.kind() == ErrorKind::AlreadyExists {
            Failure::new(format!("{shown} exists already and is not overwritten; choose another name with -o"))
        } else {
            Failure::new(format!("{shown} cannot be written: {error}"))
        }
    })
}

/// Why a listing ends early.
enum Stop {
    Share(crate::app::Error),
    Json(serde_json::Error),
    Output(std::io::Error),
}

impl From<crate::app::Error> for Stop {
    fn from(error: crate::app::Error) -> Self {
        Self::Share(error)
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Share(error) => error.into(),
            Stop::Json(error) => Self::new(format!("no JSON: {error}")),
            Stop::Output(error) => Self::new(format!("the output cannot be written: {error}")),
        }
    }
}

fn json(one: &AuditLine) -> Result<String, Stop> {
    serde_json::to_string(one).map_err(Stop::Json)
}

fn objects(page: &[AuditLine]) -> Result<String, Stop> {
    page.iter().map(|one| Ok(json(one)? + "\n")).collect()
}

fn show(one: &AuditLine) -> String {
    let detail = match &one.detail {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| match value {
                Value::String(text) => format!("{name}={text}"),
                other => format!("{name}={other}"),
            });
            fields.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    let (ticket, subject) = (one.ticket.as_deref().unwrap_or("-"), one.subject.as_deref().unwrap_or("-"));
    row(&one.seq.to_string(), &one.at.to_string(), &one.kind, &one.actor, ticket, subject, &detail)
}

/// One line; the trail is too long for columns that are as wide as the widest cell. Nothing in it
/// acts on a terminal.
fn row(seq: &str, at: &str, kind: &str, actor: &str, ticket: &str, subject: &str, detail: &str) -> String {
    let line = format!("{seq:>7}  {at:<20}  {kind:<21}  {actor:<14}  {ticket:<12}  {subject:<32}  {detail}");
    sanitize::line(line.trim_end()).into_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_does_not_exist_names_those_that_may_be_meant() {
        for known in Kind::ALL {
            assert_eq!(kind(known.as_str()), Ok(*known));
        }
        for (typed, meant) in [
            ("artifact.reed", Kind::ArtifactRead),
            ("artefact.read", Kind::ArtifactRead),
            ("login.rejected", Kind::LoginRefused),
            ("ticket.open", Kind::TicketOpened),
            ("refused", Kind::AccessRefused),
            ("Ticket.Closed", Kind::TicketClosed),
        ] {
            let said = kind(typed).unwrap_err();
            assert!(said.contains(meant.as_str()), "{typed}: {said}");
        }
        assert!(kind("").is_err() && kind(&"x".repeat(10_000)).is_err());
    }

    #[test]
    fn a_line_holds_all_that_is_known_and_acts_on_no_terminal() {
        let one = AuditLine {
            seq: 4711,
            at: Time::from_seconds(1_700_000_000),
            kind: "artifact.read".into(),
            actor: "anna\x1b[2J".into(),
            ticket: Some("XT-1".into()),
            subject: None,
            detail: serde_json::json!({ "bytes": 7, "from": "192.0.2.1" }),
            link: String::new(),
        };
        let line = show(&one);
        let words: Vec<&str> = line.split_whitespace().collect();
        let wanted = [
            "4711",
            "2023-11-14T22:13:20Z",
            "artifact.read",
            "anna\u{fffd}[2J",
            "XT-1",
            "-",
            "bytes=7",
            "from=192.0.2.1",
        ];
        assert_eq!(words, wanted);
        assert!(line.ends_with('\n') && line.lines().count() == 1);
    }
}
