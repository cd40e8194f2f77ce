//! What `ticket open` and `ticket edit` say of a ticket.

use clap::Args;

use super::given::{Given, given};
use super::people::{PeopleArgs, PeopleEditArgs};
use crate::app::{TicketDetails, TicketEdit};
use crate::model::{Identifier, Language, LastDay, Priority, Reference, TicketStatus};

/// What `ticket open` takes beside what a ticket must have.
#[derive(Debug, Args)]
pub(super) struct Details {
    /// What kind of problem it is: incident, rma, or a kind of the house's own
    #[arg(long, value_name = "KIND")]
    kind: Option<Identifier>,
    /// The serial number of the device that it is about
    #[arg(long, value_name = "NUMBER")]
    serial: Option<String>,
    /// The day by which it is to be solved, as 2026-12-31
    #[arg(long, value_name = "DATE")]
    deadline: Option<LastDay>,
    #[command(flatten)]
    people: PeopleArgs,
}

impl Details {
    /// With how the ticket system writes the reference.
    pub(super) fn of(self, shown: Reference) -> TicketDetails {
        let Self { kind, serial, deadline, people } = self;
        TicketDetails { shown: Some(shown), kind, serial, deadline, people: people.changes() }
    }
}

/// What `ticket edit` changes.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Edit {
    /// How the ticket system writes the reference; it must make the same login name
    #[arg(long, value_name = "REF")]
    shown: Option<Reference>,
    /// What it is about
    #[arg(long)]
    title: Option<Given<String>>,
    /// 1 (critical) to 4 (low)
    #[arg(long, value_name = "1..4")]
    priority: Option<Priority>,
    /// The customer's language
    #[arg(long, value_name = "de|en")]
    language: Option<Given<Language>>,
    /// Who works on it from now on, and gets the notices that wait
    #[arg(long, value_name = "ID")]
    engineer: Option<Identifier>,
    /// Whose problem it is
    #[arg(long, value_name = "ID")]
    organisation: Option<Identifier>,
    /// What kind of problem it is: incident, rma, or a kind of the house's own
    #[arg(long, value_name = "KIND")]
    kind: Option<Identifier>,
    /// The serial number of the device that it is about
    #[arg(long, value_name = "NUMBER")]
    serial: Option<Given<String>>,
    /// The day by which it is to be solved, as 2026-12-31
    #[arg(long, value_name = "DATE")]
    deadline: Option<Given<LastDay>>,
    /// 'waiting' for the customer, whose next upload opens it again
    #[arg(long, value_name = "open|waiting", value_parser = open_or_waiting)]
    status: Option<TicketStatus>,
    #[command(flatten)]
    people: PeopleEditArgs,
}

impl From<Edit> for TicketEdit {
    fn from(edit: Edit) -> Self {
        Self {
            shown: edit.shown,
            title: given(edit.title),
            priority: edit.priority,
            language: given(edit.language),
            engineer: edit.engineer,
            organisation: edit.organisation,
            kind: edit.kind,
            serial: given(edit.serial),
            deadline: given(edit.deadline),
            status: edit.status,
            people: edit.people.changes(),
        }
    }
}

fn open_or_waiting(text: &str) -> Result<TicketStatus, &'static str> {
    match text.parse() {
        Ok(status @ (TicketStatus::Open | TicketStatus::Waiting)) => Ok(status),
        _ => Err("it is 'open' or 'waiting'; 'tacdrop ticket close' closes a ticket"),
    }
}

/// What an edit did, for people.
pub(super) fn said(reference: &Identifier, changed: &[&str]) -> String {
    let mut text = match changed {
        [] => format!("Ticket {reference} said all of that already."),
        _ => format!("Of ticket {reference} was changed: {}.", changed.join(", ")),
    };
    if changed.contains(&"organisation") {
        text = text + "\nWhoever had its token still has it; a new one: tacdrop ticket token " + reference.as_str();
    }
    text
}
