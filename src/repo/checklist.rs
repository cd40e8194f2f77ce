//! What a ticket of a kind needs, as the policy says it, and what of that is missing.

use crate::model::{Identifier, Language};
use crate::records::Conn;
use crate::records::checklists::{self, Tick};
use crate::records::tickets::Ticket;
use crate::repo::{Error, Repo};

/// One thing that a ticket needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name for commands.
    pub id: Identifier,
    /// What it is, in English.
    pub en: String,
    /// The same in German.
    pub de: String,
    /// Whether the engineer cannot do without.
    pub required: bool,
}

impl Item {
    /// What it is, in a language.
    pub fn text(&self, language: Language) -> &str {
        match language {
            Language::En => &self.en,
            Language::De => &self.de,
        }
    }
}

/// The items for a ticket, in the policy's order; none if its kind has no checklist.
pub(crate) fn items<'a>(repo: &'a Repo, ticket: &Ticket) -> &'a [Item] {
    let policy = repo.settings.policy.as_ref();
    policy.and_then(|policy| policy.checklist_of(ticket.kind.as_str())).unwrap_or_default()
}

/// The required items that are not ticked. The records are asked only if there is a checklist.
///
/// # Errors
/// If the records fail.
pub(crate) async fn missing<'a>(conn: &mut Conn, repo: &'a Repo, ticket: &Ticket) -> Result<Vec<&'a Item>, Error> {
    let items = items(repo, ticket);
    if items.is_empty() {
        return Ok(Vec::new());
    }
    Ok(without(items, &checklists::of_ticket(conn, &ticket.reference).await?))
}

/// The required items among these that have no tick.
pub(crate) fn without<'a>(items: &'a [Item], ticks: &[Tick]) -> Vec<&'a Item> {
    items.iter().filter(|item| item.required && ticks.iter().all(|tick| tick.item != item.id)).collect()
}
