//! `tacdrop ticket checklist`: what a ticket needs by its kind, and what of that is there.

use clap::Args;

use super::Desk;
use super::failure::Failure;
use crate::app::{App, Checklist, ChecklistLine};
use crate::model::{Identifier, sanitize};

/// What the command takes.
#[derive(Debug, Args)]
pub(super) struct ChecklistArgs {
    /// The ticket
    #[arg(value_name = "REF")]
    reference: Identifier,
    /// An item that is there; can be given several times
    #[arg(long, value_name = "ITEM")]
    tick: Vec<Identifier>,
    /// An item that is not there after all; can be given several times
    #[arg(long, value_name = "ITEM")]
    untick: Vec<Identifier>,
}

impl ChecklistArgs {
    pub(super) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        let Self { reference, tick, untick } = self;
        let list = if tick.is_empty() && untick.is_empty() {
            app.tickets().checklist(&reference).await?
        } else {
            app.tickets().tick(&reference, &tick, &untick).await?
        };
        desk.output.answer(&list, || shown(&list))
    }
}

fn shown(list: &Checklist) -> String {
    if list.items.is_empty() {
        return format!("Tickets of the kind {} have no checklist.", list.kind);
    }
    let line = |item: &ChecklistLine| {
        let mark = if item.ticked { 'x' } else { ' ' };
        let text = sanitize::line(&item.text);
        let optional = if item.required { "" } else { " (optional)" };
        let by = match (&item.ticked_by, item.ticked_at) {
            (Some(by), Some(at)) => format!("; ticked by {} at {at}", sanitize::line(by)),
            _ => String::new(),
        };
        format!("[{mark}] {}: {text}{optional}{by}", item.id)
    };
    list.items.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What is missing, as a line of `ticket show`; none if nothing is.
pub(super) fn missing(list: &Checklist) -> Option<String> {
    (!list.missing.is_empty()).then(|| format!("Missing:      {}", list.missing.join(", ")))
}
