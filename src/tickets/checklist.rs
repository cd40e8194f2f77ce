//! A ticket's checklist: what its kind needs by the policy, and what of that is there.

use serde::Serialize;

use super::Tickets;
use crate::audit::{Actor, ticks};
use crate::model::{Identifier, Time};
use crate::records::checklists;
use crate::repo::Error;
use crate::repo::checklist::{Item, items};
use crate::repo::tickets::existing_ticket;

/// A ticket's checklist, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct Checklist {
    /// The ticket.
    pub reference: String,
    /// Its kind, which says what is on the list.
    pub kind: String,
    /// What is on it, in the policy's order; nothing, if the kind has no checklist.
    pub items: Vec<ChecklistLine>,
    /// The ids of the required items that are not ticked.
    pub missing: Vec<String>,
}

/// An item of a checklist.
#[derive(Debug, Clone, Serialize)]
pub struct ChecklistLine {
    /// Its name for commands.
    pub id: String,
    /// What it is, in the ticket's language.
    pub text: String,
    /// Whether the engineer cannot do without.
    pub required: bool,
    /// Whether it is there.
    pub ticked: bool,
    /// Who said so; null: nobody did.
    pub ticked_by: Option<String>,
    /// When.
    pub ticked_at: Option<Time>,
}

impl Tickets {
    /// A ticket's checklist.
    ///
    /// # Errors
    /// If there is no such ticket, or the records fail.
    pub async fn checklist(&self, reference: &Identifier) -> Result<Checklist, Error> {
        let mut conn = self.repo.records.read().await?;
        let ticket = existing_ticket(&mut conn, reference).await?;
        let ticks = checklists::of_ticket(&mut conn, reference).await?;
        let language = ticket.language.unwrap_or_default();
        let line = |item: &Item| {
            let tick = ticks.iter().find(|tick| tick.item == item.id);
            ChecklistLine {
                id: item.id.to_string(),
                text: item.text(language).to_owned(),
                required: item.required,
                ticked: tick.is_some(),
                ticked_by: tick.map(|tick| tick.actor.clone()),
                ticked_at: tick.map(|tick| tick.at),
            }
        };
        let items: Vec<_> = items(&self.repo, &ticket).iter().map(line).collect();
        let missing = items.iter().filter(|item| item.required && !item.ticked).map(|item| item.id.clone()).collect();
        Ok(Checklist { reference: reference.to_string(), kind: ticket.kind.to_string(), items, missing })
    }

    /// Ticks items of a ticket's checklist and takes other ticks away: all of that or nothing. What is
    /// as it should be stays.
    ///
    /// # Errors
    /// If there is no such ticket, its kind has no such item, or the records fail.
    pub async fn tick(
        &self,
        reference: &Identifier,
        tick: &[Identifier],
        untick: &[Identifier],
    ) -> Result<Checklist, Error> {
        let mut tx = self.repo.records.begin().await?;
        let ticket = existing_ticket(tx.conn(), reference).await?;
        let known = items(&self.repo, &ticket);
        for item in tick.iter().chain(untick) {
            if known.iter().all(|known| known.id != *item) {
                let ids: Vec<_> = known.iter().map(|known| known.id.as_str()).collect();
                let kind = &ticket.kind;
                return Err(Error::operator(if ids.is_empty() {
                    format!(
                        "tickets of the kind {kind} have no checklist; [checklist.{kind}] in the policy's file makes one"
                    )
                } else {
                    format!("the checklist of {kind} has no item {item}; it has: {}", ids.join(", "))
                }));
            }
        }
        for item in untick {
            ticks::untick(tx.conn(), reference, item, &Actor::Operator).await?;
        }
        for item in tick {
            ticks::tick(tx.conn(), reference, item, &Actor::Operator, Time::now()).await?;
        }
        tx.commit().await?;
        self.checklist(reference).await
    }
}
