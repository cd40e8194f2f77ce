//! What becomes of whole tickets: `retention plan | run`, `ticket shred | hold`.

use clap::Subcommand;

use super::Desk;
use super::failure::Failure;
use super::output::size;
use crate::app::{App, ClockState, ShreddedTicket, TicketPlan};
use crate::model::audit::Actor;
use crate::model::sanitize;
use crate::model::{Identifier, TicketStatus};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what would be shredded when, by which rule, and what is held; nothing is done
    Plan,
    /// Shred what is due now; a running server does this once an hour
    Run {
        /// The machine's clock is right, although it jumped since the last run
        #[arg(long)]
        confirm_clock: bool,
    },
}

impl Command {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Plan => plan(app, desk).await,
            Self::Run { confirm_clock } => run(app, desk, confirm_clock).await,
        }
    }
}

async fn plan(app: &App, desk: &Desk) -> Result<(), Failure> {
    let lines = app.retention().retention_plan().await?;
    let clock = app.retention().retention_clock().await?.and_then(ClockState::warning);
    let headings = ["TICKET", "ORGANISATION", "DUE", "AT", "ARTIFACTS", "SIZE", "RULE"];
    desk.output.list(&lines, headings, "No ticket is closed.", |row| {
        [
            row.ticket.clone(),
            row.organisation.clone(),
            row.state.as_str().to_owned() + &row.held.as_ref().map_or_else(String::new, |why| format!(" ({why})")),
            row.due_at.map_or_else(|| "-".to_owned(), |at| at.to_string()),
            row.artifacts.to_string(),
            size(row.bytes),
            row.rule.clone().unwrap_or_else(|| "no rule: kept".to_owned()),
        ]
    })?;
    match clock {
        Some(warning) => Err(Failure::new(warning)),
        None => Ok(()),
    }
}

async fn run(app: &App, desk: &Desk, confirmed: bool) -> Result<(), Failure> {
    let done = app.retention().run_retention(confirmed, &Actor::Operator).await?;
    desk.output.answer(&done, || match done.shredded.len() {
        0 => "No ticket was due.".to_owned(),
        1 => "One ticket was shredded; 'tacdrop report deletions' shows it.".to_owned(),
        count => format!("{count} tickets were shredded; 'tacdrop report deletions' shows them."),
    })?;
    match done.failed.first() {
        None => Ok(()),
        Some(first) => Err(Failure::new(format!(
            "{} tickets that are due could not be shredded; the first, {}: {}",
            done.failed.len(),
            first.ticket,
            first.why
        ))),
    }
}

/// What a deletion cannot reach, as whoever asks for one must know.
const OUT_OF_REACH: &str = "Out of reach: mails in the spool or delivered, which name files; what was downloaded; copies of \
                            the keyring and of the whole data directory that were made before.";

/// `ticket shred`: without `yes` nothing is done, and it is said what would be.
pub(super) async fn shred(app: &App, desk: &Desk, ticket: &Identifier, yes: bool) -> Result<(), Failure> {
    if !yes {
        return Err(Failure::new(warning(&app.retention().plan_shred_ticket(ticket).await?)));
    }
    let done = app.retention().shred_ticket(ticket).await?;
    desk.output.answer(&done, || said(&done))
}

fn files(artifacts: u64, versions: u64, bytes: u64) -> String {
    let of = |count: u64, one: &str, many: &str| match count {
        1 => format!("one {one}"),
        count => format!("{count} {many}"),
    };
    format!("{} in {} ({})", of(artifacts, "artifact", "artifacts"), of(versions, "version", "versions"), size(bytes))
}

fn warning(plan: &TicketPlan) -> String {
    let open = match plan.status {
        TicketStatus::Closed => "",
        TicketStatus::Open | TicketStatus::Waiting => {
            "; it is open, and would be closed first, and its sessions would end"
        }
    };
    format!(
        "nothing was done: ticket {} with {} would be gone for good, and its reference would be free{open}; add --yes to \
         do it",
        plan.ticket,
        files(plan.artifacts, plan.versions, plan.bytes),
    )
}

fn said(done: &ShreddedTicket) -> String {
    let mut text = format!(
        "Ticket {} is shredded: {} can never be read again. The reference is free.\n",
        done.ticket,
        files(done.artifacts, done.versions, done.bytes)
    );
    if done.objects_removed_at.is_none() {
        text += "Its encrypted objects, which nothing opens, go within minutes, or when a backup that is being taken is complete.\n";
    }
    if done.journal_owed {
        text += "Somebody reads the records, so the server will wipe the last trace of its rows within minutes.\n";
    }
    text + OUT_OF_REACH
}

/// `ticket hold`.
pub(super) async fn hold(app: &App, desk: &Desk, ticket: &Identifier, reason: Option<String>) -> Result<(), Failure> {
    let done = app.retention().hold(ticket, reason).await?;
    desk.output.answer(&done, || {
        let why = done.reason.as_ref().map_or_else(String::new, |why| format!(" ({})", sanitize::line(why)));
        format!("Ticket {ticket} is held{why}: nothing of it is removed until 'tacdrop ticket release {ticket}'.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Time;

    #[test]
    fn what_would_go_and_what_went_is_said_in_words() {
        let mut plan =
            TicketPlan { ticket: "XT-1".into(), status: TicketStatus::Open, artifacts: 1, versions: 3, bytes: 2048 };
        let text = warning(&plan);
        assert!(text.contains("one artifact in 3 versions (2.0 KiB)") && text.contains("--yes"), "{text}");
        assert!(text.contains("it is open"), "{text}");
        plan.status = TicketStatus::Closed;
        assert!(!warning(&plan).contains("it is open"));
        let now = Some(Time::from_seconds(1));
        let mut done = ShreddedTicket {
            ticket: "XT-1".into(),
            share: "00".repeat(16),
            artifacts: 2,
            versions: 1,
            bytes: 1,
            keys_destroyed_at: now,
            records_removed_at: now,
            objects_removed_at: now,
            journal_owed: false,
        };
        let text = said(&done);
        assert!(
            text.contains("2 artifacts in one version") && text.ends_with(OUT_OF_REACH) && text.lines().count() == 2
        );
        (done.objects_removed_at, done.journal_owed) = (None, true);
        assert_eq!(said(&done).lines().count(), 4);
    }
}
