//! `tacdrop report`: what somebody outside of the house asks for: what was deleted, and who fetched
//! what.

use clap::Subcommand;
use serde::Serialize;

use super::Desk;
use super::failure::Failure;
use super::output::size;
use super::when::{self, When};
use crate::app::{AccessReport, App};
use crate::model::{Time, VersionId};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the tickets that were shredded as a whole: the deletion log
    Deletions {
        /// Only from then on: a date, 'yesterday', or how long ago, as 90d
        #[arg(long, value_name = "TIME", value_parser = when::parse)]
        from: Option<When>,
        /// Only until then; of a date, to its end
        #[arg(long, value_name = "TIME", value_parser = when::parse)]
        to: Option<When>,
    },
    /// List who sent, opened and fetched an artifact, and whether the trail that tells it is intact
    Access {
        /// The id of the artifact or of one of its versions, as lists with --json show it
        #[arg(long, value_name = "ID", value_parser = id)]
        artifact: VersionId,
    },
}

/// Ids of artifacts and versions have one form.
fn id(text: &str) -> Result<VersionId, String> {
    let mut bytes = [0; 16];
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) => Ok(VersionId::from_bytes(bytes)),
        Err(_) => Err("an id has 32 hexadecimal digits; 'tacdrop artifact list REF --json' shows them".to_owned()),
    }
}

/// The report for programs.
#[derive(Serialize)]
struct Access<'a> {
    #[serde(flatten)]
    report: &'a AccessReport,
    /// Whether the whole trail is what was written.
    intact: bool,
    /// Its entries.
    entries: i64,
    /// What is wrong with it.
    fault: Option<String>,
}

impl Command {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Deletions { from, to } => deletions(app, desk, from, to).await,
            Self::Access { artifact } => access(app, desk, artifact).await,
        }
    }
}

async fn deletions(app: &App, desk: &Desk, from: Option<When>, to: Option<When>) -> Result<(), Failure> {
    let lines = app.retention().deletions(from.map(|from| from.from), to.map(|to| to.to)).await?;
    let nothing = "The deletion log has no ticket of that time.";
    let headings =
        ["TICKET", "ORGANISATION", "ARTIFACTS", "VERSIONS", "SIZE", "KEYS DESTROYED", "OBJECTS REMOVED", "BY", "RULE"];
    desk.output.list(&lines, headings, nothing, |row| {
        [
            row.ticket.clone() + if row.proved { "" } else { " (NOT PROVED)" },
            row.organisation.clone(),
            row.artifacts.to_string(),
            row.versions.to_string(),
            size(row.bytes),
            done(row.keys_destroyed_at),
            done(row.objects_removed_at),
            row.actor.clone(),
            row.rule.clone(),
        ]
    })
}

fn done(at: Option<Time>) -> String {
    at.map_or_else(|| "not yet".to_owned(), |at| at.to_string())
}

async fn access(app: &App, desk: &Desk, artifact: VersionId) -> Result<(), Failure> {
    let report = app.audit().accesses(artifact).await?;
    let trail = app.audit().verify(None).await?;
    let fault = trail.fault.as_ref().map(ToString::to_string);
    if desk.output.is_json() {
        desk.output.json(&Access {
            report: &report,
            intact: fault.is_none(),
            entries: trail.entries,
            fault: fault.clone(),
        })?;
    } else {
        let headings = ["AT", "WHO", "FROM", "WHAT", "BYTES", "WHOLE", "VERSION", "TICKET", "SEQ"];
        desk.output.list(&report.lines, headings, "The trail tells of nobody who had this artifact.", |row| {
            [
                row.at.to_string(),
                row.actor.clone(),
                row.from.clone().unwrap_or_else(|| "-".to_owned()),
                row.kind.clone(),
                row.bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string()),
                row.whole.map_or("-", |whole| if whole { "yes" } else { "no" }).to_owned(),
                row.version.clone(),
                row.ticket.clone().unwrap_or_else(|| "-".to_owned()),
                row.seq.to_string(),
            ]
        })?;
    }
    match fault {
        None if desk.output.is_json() => Ok(()),
        None => desk.output.say(&format!(
            "The audit trail is as it was written: {} entries, {} of them sealed.",
            trail.entries, trail.sealed
        )),
        Some(fault) => {
            Err(Failure::new(format!("the audit trail is not what was written, so this list proves nothing: {fault}")))
        }
    }
}
