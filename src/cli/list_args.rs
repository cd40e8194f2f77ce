//! `tacdrop artifact list` over all tickets: what is asked for, and how it is shown.

use clap::Args;

use super::Desk;
use super::columns::{Cut, digest_start, fitted, moment, width};
use super::failure::Failure;
use super::lifecycle;
use super::output::size;
use super::when::{self, When};
use crate::app::{App, ArtifactFilter, ArtifactPage, Cursor, DigestStart};
use crate::model::{Identifier, Reference, VersionState};

/// Lines of one page unless somebody says otherwise.
const USUAL: usize = 100;

#[derive(Debug, Args)]
pub(crate) struct ArtifactList {
    /// The ticket; without it, all of them, the newest artifacts first
    #[arg(value_name = "REF")]
    ticket: Option<Reference>,
    /// All versions of each file, also those that are withdrawn, shredded or unfinished
    #[arg(long, requires = "ticket", conflicts_with_all = ["since", "organisation", "engineer", "state", "name", "sha256", "limit", "after", "wide"])]
    versions: bool,
    /// Only what came since then: a date, 'yesterday', or how long ago, as 2h
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    since: Option<When>,
    /// Only of this organisation's tickets
    #[arg(long, value_name = "ID")]
    organisation: Option<Identifier>,
    /// Only of the tickets that this engineer works on
    #[arg(long, value_name = "ID")]
    engineer: Option<Identifier>,
    /// Only what stands so: available, receiving, incomplete, damaged, withdrawn or shredded
    #[arg(long)]
    state: Option<VersionState>,
    /// Only files of this name, with the wildcards '*' and '?'; with a slash in it, of this path
    #[arg(long, value_name = "PATTERN")]
    name: Option<String>,
    /// Only content of this SHA-256; its first digits are enough
    #[arg(long, value_name = "HEX")]
    sha256: Option<DigestStart>,
    /// Lines of one page, 1 to 10000; 100 without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: Option<u16>,
    /// Go on behind the page that ended with this cursor
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
    /// Show everything in full, however wide it becomes
    #[arg(long)]
    wide: bool,
}

impl ArtifactList {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        let ticket = app.tickets().named_if_any(self.ticket.as_ref()).await?;
        if let Some(ticket) = &ticket
            && !self.is_over_time()
        {
            return lifecycle::list(app, desk, ticket, self.versions).await;
        }
        let address = desk.address(app).await?;
        let filter = ArtifactFilter {
            ticket,
            organisation: self.organisation,
            engineer: self.engineer,
            state: self.state,
            since: self.since.map(|since| since.from),
            sha256: self.sha256,
            name: self.name,
        };
        let most = self.limit.map_or(USUAL, usize::from);
        let page = app.artifacts().find(&filter, self.after.as_ref(), most, &address).await?;
        desk.output.answer(&page, || shown(&page, self.wide))
    }

    /// Whether it asks for the list by time, and not for what lies in one share by path.
    fn is_over_time(&self) -> bool {
        self.since.is_some()
            || self.organisation.is_some()
            || self.engineer.is_some()
            || self.state.is_some()
            || self.name.is_some()
            || self.sha256.is_some()
            || self.limit.is_some()
            || self.after.is_some()
            || self.wide
    }
}

pub(super) fn shown(page: &ArtifactPage, wide: bool) -> String {
    let more = page.next.as_ref().map(|next| format!("There may be more: the same command with --after {next}\n"));
    let more = more.unwrap_or_default();
    if page.artifacts.is_empty() {
        return if more.is_empty() { "There is no such artifact.\n".to_owned() } else { more };
    }
    let headings = [
        ("RECEIVED (UTC)", Cut::Never),
        ("TICKET", Cut::End),
        ("STATE", Cut::Never),
        ("SIZE", Cut::Never),
        ("SHA-256", Cut::Never),
        ("PATH", Cut::Front),
    ];
    let rows = page.artifacts.iter().map(|row| {
        let artifact = &row.artifact;
        let sha256 = artifact.sha256.as_deref();
        [
            moment(artifact.received_at),
            row.ticket.clone(),
            artifact.state.to_string(),
            size(artifact.size),
            if wide { sha256.unwrap_or("-").to_owned() } else { digest_start(sha256) },
            artifact.path.clone(),
        ]
    });
    fitted(headings, rows.collect(), width(wide)) + &more
}
