//! `tacdrop store`: whether the encrypted objects and the records agree, and removing what nobody
//! needs.

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Desk;
use super::failure::Failure;
use super::output::size;
use crate::app::{App, Checked, Finding, Reattached, Resealed, Step, Swept};
use crate::model::audit::Actor;
use crate::model::sanitize;
use crate::model::{Identifier, Reference};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compare objects and records without changing anything; also while the server runs
    Check {
        /// Decrypt and hash every byte, open every name
        #[arg(long)]
        deep: bool,
        /// One ticket; without it, all of them
        #[arg(value_name = "REF")]
        ticket: Option<Reference>,
    },
    /// Put what no path leads to at the root of its share; `store check` finds it
    Reattach {
        /// Only say what would lie where
        #[arg(long)]
        dry_run: bool,
        /// One ticket; without it, all of them
        #[arg(value_name = "REF")]
        ticket: Option<Reference>,
    },
    /// Seal manifests again that an older tacdrop sealed, as the server does beside its work
    Reseal,
    /// Remove objects that nobody needs any more, as the server does every five minutes
    Sweep {
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

/// What `check --json` says.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    checked: Checked,
    findings: &'a [Finding],
}

/// What `sweep --json` says.
#[derive(Serialize)]
struct Sweeping {
    #[serde(flatten)]
    swept: Swept,
    dry_run: bool,
}

/// What `reattach --json` says.
#[derive(Serialize)]
struct Reattaching<'a> {
    entries: &'a [Reattached],
    dry_run: bool,
}

impl Command {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Check { deep, ticket } => {
                let ticket = app.tickets().named_if_any(ticket.as_ref()).await?;
                check(app, desk, ticket.as_ref(), deep).await
            }
            Self::Reattach { dry_run, ticket } => {
                let ticket = app.tickets().named_if_any(ticket.as_ref()).await?;
                let entries = app.integrity().reattach(ticket.as_ref(), dry_run).await?;
                desk.output.answer(&Reattaching { entries: &entries, dry_run }, || reattached(&entries, dry_run))
            }
            Self::Reseal => reseal(app, desk).await,
            Self::Sweep { dry_run } => {
                let swept = if dry_run {
                    app.retention().due_to_sweep().await?
                } else {
                    app.retention().sweep(&Actor::Operator).await?
                };
                desk.output.answer(&Sweeping { swept, dry_run }, || {
                    let verb = if dry_run { "would be removed" } else { "were removed" };
                    let Swept { objects, bytes, strays } = swept;
                    format!("{objects} objects of {} {verb}, {strays} of them unknown to the records.", size(bytes))
                })
            }
        }
    }
}

async fn check(app: &App, desk: &Desk, ticket: Option<&Identifier>, deep: bool) -> Result<(), Failure> {
    let output = desk.output;
    // On a terminal only.
    let bar = if output.is_json() { ProgressBar::hidden() } else { ProgressBar::new(0) };
    let mut shown = "";
    let progress = |step: Step| {
        if shown != step.what {
            shown = step.what;
            bar.set_style(style(step.what));
        }
        bar.set_length(step.of);
        bar.set_position(step.done);
    };
    let (mut findings, mut said) = (Vec::new(), Ok(()));
    let report = |finding: &Finding| {
        if output.is_json() {
            findings.push(finding.clone());
        } else if said.is_ok() {
            // A line as soon as it is known: this may take hours.
            said = bar.suspend(|| output.say(&line(finding)));
        }
    };
    let checked = app.integrity().check(ticket, deep, progress, report).await?;
    bar.finish_and_clear();
    said?;
    output.answer(&Report { checked, findings: &findings }, || summary(&checked, deep))?;
    match checked.problems {
        0 => Ok(()),
        1 => Err(Failure::new("one problem was found; its line says what to do")),
        problems => Err(Failure::new(format!("{problems} problems were found; their lines say what to do"))),
    }
}

async fn reseal(app: &App, desk: &Desk) -> Result<(), Failure> {
    let bar = if desk.output.is_json() { ProgressBar::hidden() } else { ProgressBar::new(0) };
    bar.set_style(style("manifests"));
    let progress = |done: u64, all: u64| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let resealed = app.integrity().reseal(&CancellationToken::new(), progress).await?;
    bar.finish_and_clear();
    desk.output.answer(&resealed, || match resealed {
        Resealed { versions: 0, left: 0 } => "Every manifest has the form of today: nothing had to be done.".to_owned(),
        Resealed { versions, .. } => format!("{versions} manifests were sealed again."),
    })?;
    match resealed.left {
        0 => Ok(()),
        left => Err(Failure::new(format!(
            "{left} manifests keep their older form: their versions are damaged, or the audit trail tells otherwise of them \
             than their rows; the log names each, and 'tacdrop artifact verify' which can be read"
        ))),
    }
}

fn reattached(entries: &[Reattached], dry_run: bool) -> String {
    let verb = if dry_run { "would lie" } else { "lies" };
    let line = |it: &Reattached| {
        format!(
            "{}  {} {verb} at the root of the share, with {} below it.\n",
            it.ticket,
            sanitize::quoted(it.path.as_bytes()),
            it.below
        )
    };
    let summary = if entries.is_empty() { "A path leads to everything: nothing had to be done." } else { "" };
    (entries.iter().map(line).collect::<String>() + summary).trim_end().to_owned()
}

fn style(what: &str) -> ProgressStyle {
    let template = match what {
        "bytes" => "   [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} to go",
        "manifests" => "   [{bar:30}] {pos} of {len} manifests",
        _ => "   [{bar:30}] {pos} of {len} shelves",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

fn line(finding: &Finding) -> String {
    let word = if finding.problem { "PROBLEM" } else { "note   " };
    let ticket = finding.ticket.as_ref().map(|ticket| format!("  {ticket}")).unwrap_or_default();
    let version = match (&finding.artifact, finding.version) {
        (Some(artifact), Some(version)) => format!("  version {version} of artifact {artifact}:"),
        _ => String::new(),
    };
    format!("{word}{ticket}{version}  {}. To do: {}.", sanitize::line(&finding.what), finding.advice)
}

fn summary(checked: &Checked, deep: bool) -> String {
    let Checked { tickets, versions, read, objects, strays, problems } = *checked;
    let objects = objects.map(|objects| format!(", {objects} objects in the store")).unwrap_or_default();
    let read = if deep { format!("; {} decrypted and hashed", size(read)) } else { String::new() };
    let outcome = if problems == 0 { "all is as it should be".to_owned() } else { format!("{problems} problems") };
    let strays = if strays == 0 { String::new() } else { format!(", {strays} objects in quarantine") };
    format!("{tickets} tickets, {versions} versions{objects}{read}: {outcome}{strays}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_is_so_and_what_to_do() {
        let mut finding = Finding {
            problem: true,
            kind: "lost",
            ticket: Some("XT-1".into()),
            artifact: Some("ab".into()),
            version: Some(2),
            what: "the extent\nis missing".into(),
            advice: "send it again",
        };
        let text = "PROBLEM  XT-1  version 2 of artifact ab:  the extent\u{fffd}is missing. To do: send it again.";
        assert_eq!(line(&finding), text);
        (finding.problem, finding.ticket, finding.artifact) = (false, None, None);
        assert_eq!(line(&finding), "note     the extent\u{fffd}is missing. To do: send it again.");
    }

    #[test]
    fn a_summary_is_one_sentence() {
        let mut checked = Checked { tickets: 1, versions: 2, read: 3 << 20, objects: Some(4), strays: 0, problems: 0 };
        let text = "1 tickets, 2 versions, 4 objects in the store: all is as it should be.";
        assert_eq!(summary(&checked, false), text);
        (checked.objects, checked.strays, checked.problems) = (None, 5, 6);
        let text = "1 tickets, 2 versions; 3.0 MiB decrypted and hashed: 6 problems, 5 objects in quarantine.";
        assert_eq!(summary(&checked, true), text);
    }
}
