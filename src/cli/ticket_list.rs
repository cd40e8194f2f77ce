//! `tacdrop ticket list`: what is asked for, and how it is shown.

use clap::Args;

use super::Desk;
use super::columns::{Cut, fitted, moment, width};
use super::failure::Failure;
use super::output::size;
use super::when::{self, When};
use crate::app::{App, ListedTicket, TicketFilter, TicketOrder};
use crate::model::{Identifier, Reference, TicketStatus};

#[derive(Debug, Args)]
pub(crate) struct TicketList {
    /// Only what stands so: open, waiting or closed
    #[arg(long)]
    status: Option<TicketStatus>,
    /// Only this organisation's
    #[arg(long, value_name = "ID")]
    organisation: Option<Identifier>,
    /// Only those that this engineer works on
    #[arg(long, value_name = "ID")]
    engineer: Option<Identifier>,
    /// Only those in this team's queue
    #[arg(long, value_name = "ID")]
    team: Option<Identifier>,
    /// Only those of this kind
    #[arg(long)]
    kind: Option<Identifier>,
    /// Only those that were opened, or got something, since then: a date, 'yesterday', or 2h
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    since: Option<When>,
    /// What comes first: reference, newest, opened, priority, bytes, artifacts or deadline
    #[arg(long, value_name = "BY", default_value = "reference")]
    sort: TicketOrder,
    /// At most so many, 1 to 10000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: Option<u16>,
    /// Go on behind this ticket: the last one of the page before
    #[arg(long, value_name = "REF")]
    after: Option<Reference>,
    /// Show everything in full, however wide it becomes
    #[arg(long)]
    wide: bool,
}

impl TicketList {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        let limit = self.limit.map(usize::from);
        let after = app.tickets().named_if_any(self.after.as_ref()).await?;
        let filter = TicketFilter {
            status: self.status,
            organisation: self.organisation,
            engineer: self.engineer,
            team: self.team,
            kind: self.kind,
            since: self.since.map(|since| since.from),
            sort: self.sort,
            after,
            limit,
        };
        let lines = app.tickets().find(&filter).await?;
        desk.output.answer(&lines, || shown(&lines, limit, self.wide))
    }
}

pub(super) fn shown(lines: &[ListedTicket], limit: Option<usize>, wide: bool) -> String {
    let Some(last) = lines.last() else {
        return "There is no such ticket; 'tacdrop ticket open' opens one.\n".to_owned();
    };
    let more = match limit {
        Some(limit) if lines.len() == limit => {
            format!("There may be more: the same command with --after {}\n", last.ticket.reference)
        }
        _ => String::new(),
    };
    if !wide {
        let headings = [
            ("REF", Cut::End),
            ("STATUS", Cut::Never),
            ("P", Cut::Never),
            ("ORGANISATION", Cut::End),
            ("ENGINEER", Cut::End),
            ("FILES", Cut::Never),
            ("SIZE", Cut::Never),
            ("NEWEST (UTC)", Cut::Never),
        ];
        let rows = lines.iter().map(|line| {
            let ticket = &line.ticket;
            [
                ticket.shown.clone(),
                ticket.status.to_string(),
                ticket.priority.to_string(),
                ticket.organisation.clone(),
                ticket.engineer.clone(),
                line.artifacts.to_string(),
                size(line.bytes),
                moment(line.newest_at),
            ]
        });
        return fitted(headings, rows.collect(), width(false)) + &more;
    }
    let headings = [
        "REF",
        "LOGIN",
        "KIND",
        "STATUS",
        "PRIORITY",
        "ORGANISATION",
        "ENGINEER",
        "TEAM",
        "FILES",
        "SIZE",
        "NEWEST (UTC)",
        "OPENED (UTC)",
        "DEADLINE",
        "TITLE",
    ];
    let rows = lines.iter().map(|line| {
        let ticket = &line.ticket;
        [
            ticket.shown.clone(),
            ticket.reference.clone(),
            if ticket.device { format!("{}, device", ticket.kind) } else { ticket.kind.clone() },
            ticket.status.to_string(),
            ticket.priority.to_string(),
            ticket.organisation.clone(),
            ticket.engineer.clone(),
            line.team.clone().unwrap_or_else(|| "-".to_owned()),
            line.artifacts.to_string(),
            size(line.bytes),
            moment(line.newest_at),
            moment(Some(ticket.opened_at)),
            ticket.deadline.map_or_else(|| "-".to_owned(), |day| day.to_string()),
            ticket.title.clone().unwrap_or_default(),
        ]
    });
    fitted(headings.map(|heading| (heading, Cut::Never)), rows.collect(), None) + &more
}
