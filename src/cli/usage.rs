//! `tacdrop usage`: what tickets and organisations take of the room that there is.

use clap::Args;

use super::Desk;
use super::columns::{Cut, fitted, moment, width};
use super::failure::Failure;
use super::output::size;
use crate::app::{App, TicketUsage, Usage, UsageFilter};
use crate::model::{Identifier, Reference, TicketStatus};

/// Tickets that are shown to people unless somebody says otherwise.
const USUAL: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct UsageArgs {
    /// The ticket; without it all of them, the largest first
    #[arg(value_name = "REF")]
    ticket: Option<Reference>,
    /// Only this organisation's
    #[arg(long, value_name = "ID")]
    organisation: Option<Identifier>,
    /// Only tickets that stand so: open, waiting or closed
    #[arg(long)]
    status: Option<TicketStatus>,
    /// At most so many tickets, 1 to 10000; 20 without it, and in JSON all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: Option<u16>,
    /// Show everything in full, however wide it becomes
    #[arg(long)]
    wide: bool,
}

impl UsageArgs {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        let ticket = app.tickets().named_if_any(self.ticket.as_ref()).await?;
        let filter = UsageFilter { ticket, organisation: self.organisation, status: self.status };
        let mut usage = app.tickets().usage(&filter).await?;
        let all = usage.tickets.len();
        let most = match self.limit {
            Some(limit) => usize::from(limit),
            None if desk.output.is_json() => all,
            None => USUAL,
        };
        usage.tickets.truncate(most);
        desk.output.answer(&usage, || shown(&usage, all, self.wide))
    }
}

pub(super) fn shown(usage: &Usage, all: usize, wide: bool) -> String {
    let room = format!(
        "Room on the disk for uploads: {}\nOne ticket may have: {}, and {} names\n",
        size(usage.disk_free),
        size(usage.bytes_most),
        usage.names_most
    );
    if usage.tickets.is_empty() {
        return room + "\nThere is no such ticket.\n";
    }
    let headings = [
        ("ORGANISATION", Cut::End),
        ("TICKETS", Cut::Never),
        ("FILES", Cut::Never),
        ("NAMES", Cut::Never),
        ("SIZE", Cut::Never),
    ];
    let rows = usage.organisations.iter().map(|sum| {
        let counts = [sum.tickets, sum.artifacts, sum.names].map(|count| count.to_string());
        let [tickets, artifacts, names] = counts;
        [sum.organisation.clone(), tickets, artifacts, names, size(sum.bytes)]
    });
    let organisations = fitted(headings, rows.collect(), width(wide));
    let headings = [
        ("TICKET", Cut::End),
        ("ORGANISATION", Cut::End),
        ("STATUS", Cut::Never),
        ("FILES", Cut::Never),
        ("NAMES", Cut::Never),
        ("SIZE", Cut::Never),
        ("NEWEST (UTC)", Cut::Never),
    ];
    let row = |ticket: &TicketUsage| {
        [
            ticket.shown.clone(),
            ticket.organisation.clone(),
            ticket.status.to_string(),
            ticket.artifacts.to_string(),
            with_percent(ticket.names.to_string(), ticket.names_percent),
            with_percent(size(ticket.bytes), ticket.bytes_percent),
            moment(ticket.newest_at),
        ]
    };
    let tickets = fitted(headings, usage.tickets.iter().map(row).collect(), width(wide));
    let more = match all.saturating_sub(usage.tickets.len()) {
        0 => String::new(),
        1 => "One smaller ticket is not shown; --limit shows more.\n".to_owned(),
        more => format!("{more} smaller tickets are not shown; --limit shows more.\n"),
    };
    format!("{room}\n{organisations}\n{tickets}{more}")
}

/// What is near its end is seen to be.
fn with_percent(text: String, percent: u64) -> String {
    if percent == 0 { text } else { format!("{text} ({percent} %)") }
}
