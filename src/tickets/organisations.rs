//! Organisations, as operators keep them: added, changed, disabled, removed.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::json;

use super::{Tickets, claim, line, note};
use crate::audit::Kind;
use crate::model::{Identifier, LastDay, Time};
use crate::records::organisations::{self, Organisation, TicketCount};
use crate::records::{Conn, RecordsError, contacts, ticket_people, tickets};
use crate::repo::Error;
use crate::repo::tickets::{existing_organisation, mark_logins_changed};

/// References and ids that a sentence names at most; more are counted.
const NAMED: usize = 5;

/// An organisation, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct OrganisationLine {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The number of its contract.
    pub contract: Option<String>,
    /// The level of support that the contract grants.
    pub level: Option<String>,
    /// The last day of its contract, in UTC.
    pub until: Option<LastDay>,
    /// Whether an operator has disabled it.
    pub disabled: bool,
    /// Whether its customers may log in now: it is not disabled, and its contract has not ended.
    pub admitted: bool,
    /// How many tickets it has.
    pub tickets: u64,
    /// How many of them are not closed.
    pub open_tickets: u64,
}

impl OrganisationLine {
    fn of(row: Organisation, count: TicketCount) -> Self {
        Self {
            admitted: row.admits(Time::now()),
            id: row.id.to_string(),
            name: row.name,
            contract: row.contract,
            level: row.level,
            until: row.until,
            disabled: row.disabled_at.is_some(),
            tickets: count.all,
            open_tickets: count.open,
        }
    }
}

/// What adding an organisation needs.
#[derive(Debug, Clone)]
pub struct NewOrganisation {
    /// Its id.
    pub id: Identifier,
    /// Its name.
    pub name: String,
    /// The number of its contract.
    pub contract: Option<String>,
    /// The level of support that the contract grants.
    pub level: Option<String>,
    /// The last day of its contract, in UTC.
    pub until: Option<LastDay>,
}

/// What is to be changed of an organisation. None leaves a thing as it is; none inside takes it
/// away.
#[derive(Debug, Clone, Default)]
pub struct OrganisationEdit {
    /// Another name.
    pub name: Option<String>,
    /// Another number of its contract.
    pub contract: Option<Option<String>>,
    /// Another level of support.
    pub level: Option<Option<String>>,
    /// Another last day of its contract.
    pub until: Option<Option<LastDay>>,
}

impl Tickets {
    /// Adds an organisation whose contract has no end.
    ///
    /// # Errors
    /// If the id is taken, or the records fail.
    pub async fn add_organisation(&self, id: Identifier, name: String, contract: Option<String>) -> Result<(), Error> {
        let new = NewOrganisation { id, name, contract, level: None, until: None };
        self.enter_organisation(new).await?;
        Ok(())
    }

    /// Adds an organisation.
    ///
    /// # Errors
    /// If the id is taken, a text does not stand on one line, or the records fail.
    pub async fn enter_organisation(&self, new: NewOrganisation) -> Result<OrganisationLine, Error> {
        let NewOrganisation { id, name, contract, level, until } = new;
        let row = Organisation {
            id,
            name: line("name", name)?,
            contract: contract.map(|text| line("contract's number", text)).transpose()?,
            level: level.map(|text| line("level", text)).transpose()?,
            until,
            disabled_at: None,
            proof: Default::default(),
        };
        let mut tx = self.repo.records.begin().await?;
        claim(tx.conn(), &row.id, "organisation").await?;
        organisations::add(tx.conn(), self.prover(), &row, Time::now()).await?;
        let detail = json!({ "organisation": row.id.as_str(), "until": row.until });
        note(tx.conn(), Kind::OrganisationAdded, None, detail).await?;
        tx.commit().await?;
        Ok(OrganisationLine::of(row, TicketCount::default()))
    }

    /// All organisations.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn organisations(&self) -> Result<Vec<OrganisationLine>, Error> {
        let mut conn = self.repo.records.read().await?;
        let rows = organisations::organisations(&mut conn, None).await?;
        let counts: HashMap<_, _> = organisations::ticket_counts(&mut conn).await?.into_iter().collect();
        let count = |id: &str| counts.get(id).copied().unwrap_or_default();
        Ok(rows
            .into_iter()
            .map(|row| (count(row.id.as_str()), row))
            .map(|(n, row)| OrganisationLine::of(row, n))
            .collect())
    }

    /// One organisation.
    ///
    /// # Errors
    /// If there is none, or the records fail.
    pub async fn organisation(&self, id: &Identifier) -> Result<OrganisationLine, Error> {
        let mut conn = self.repo.records.read().await?;
        let row = existing_organisation(&mut conn, id).await?;
        let count = count_tickets(&mut conn, id).await?;
        Ok(OrganisationLine::of(row, count))
    }

    /// Changes what is said of an organisation. Where its contract has ended by that, its customers'
    /// sessions end within a second.
    ///
    /// # Errors
    /// If there is none, a text does not stand on one line, or the records fail.
    pub async fn edit_organisation(&self, id: &Identifier, edit: OrganisationEdit) -> Result<OrganisationLine, Error> {
        let OrganisationEdit { name, contract, level, until } = edit;
        let name = name.map(|text| line("name", text)).transpose()?;
        let contract = contract.map(|text| text.map(|text| line("contract's number", text)).transpose()).transpose()?;
        let level = level.map(|text| text.map(|text| line("level", text)).transpose()).transpose()?;
        let mut tx = self.repo.records.begin().await?;
        let before = existing_organisation(tx.conn(), id).await?;
        let mut changed = Vec::new();
        let mut after = before.clone();
        if let Some(name) = name.filter(|name| *name != before.name) {
            after.name = name;
            changed.push("name");
        }
        if let Some(contract) = contract.filter(|contract| *contract != before.contract) {
            after.contract = contract;
            changed.push("contract");
        }
        if let Some(level) = level.filter(|level| *level != before.level) {
            after.level = level;
            changed.push("level");
        }
        if let Some(until) = until.filter(|until| *until != before.until) {
            after.until = until;
            changed.push("until");
        }
        if !changed.is_empty() {
            let new = after.clone();
            organisations::change(tx.conn(), self.prover(), id, |row| *row = new).await?;
            let now = Time::now();
            if before.admits(now) && !after.admits(now) {
                self.end_logins_of(tx.conn(), id).await?;
            }
            let detail = json!({ "organisation": id.as_str(), "changed": changed, "until": after.until });
            note(tx.conn(), Kind::OrganisationChanged, None, detail).await?;
        }
        let count = count_tickets(tx.conn(), id).await?;
        tx.commit().await?;
        Ok(OrganisationLine::of(after, count))
    }

    /// Disables an organisation: its customers may not log in, and their sessions end within a
    /// second. Engineers still see its tickets.
    ///
    /// # Errors
    /// If there is none, it is disabled already, or the records fail.
    pub async fn disable_organisation(&self, id: &Identifier) -> Result<OrganisationLine, Error> {
        self.set_disabled(id, Some(Time::now())).await
    }

    /// Takes that back.
    ///
    /// # Errors
    /// If there is none, it is not disabled, or the records fail.
    pub async fn enable_organisation(&self, id: &Identifier) -> Result<OrganisationLine, Error> {
        self.set_disabled(id, None).await
    }

    async fn set_disabled(&self, id: &Identifier, at: Option<Time>) -> Result<OrganisationLine, Error> {
        let mut tx = self.repo.records.begin().await?;
        let mut row = existing_organisation(tx.conn(), id).await?;
        match (row.disabled_at, at) {
            (Some(_), Some(_)) => return Err(Error::operator(format!("organisation {id} is disabled already"))),
            (None, None) => return Err(Error::operator(format!("organisation {id} is not disabled"))),
            _ => {}
        }
        organisations::change(tx.conn(), self.prover(), id, |row| row.disabled_at = at).await?;
        let kind = if at.is_some() {
            self.end_logins_of(tx.conn(), id).await?;
            Kind::OrganisationDisabled
        } else {
            Kind::OrganisationEnabled
        };
        note(tx.conn(), kind, None, json!({ "organisation": id.as_str() })).await?;
        let count = count_tickets(tx.conn(), id).await?;
        tx.commit().await?;
        row.disabled_at = at;
        Ok(OrganisationLine::of(row, count))
    }

    /// Removes an organisation that has no ticket. Its id stays taken: what the audit trail tells of
    /// it must not become another one's.
    ///
    /// # Errors
    /// If there is none, something still hangs on it (a sentence that names it), or the records fail.
    pub async fn remove_organisation(&self, id: &Identifier) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        existing_organisation(tx.conn(), id).await?;
        let references = tickets::references_of(tx.conn(), id).await?;
        if !references.is_empty() {
            return Err(Error::operator(format!(
                "organisation {id} cannot be removed, as it has {}; 'tacdrop organisation disable {id}' ends its \
                 customers' logins",
                named_tickets(&references)
            )));
        }
        let affected = ticket_people::affecting(tx.conn(), id).await?;
        if !affected.is_empty() {
            return Err(Error::operator(format!(
                "organisation {id} cannot be removed, as another one acts for it in {}; 'tacdrop ticket edit REF \
                 --no-affected' ends that",
                named_tickets(&affected)
            )));
        }
        let contacts = contacts::ids_of(tx.conn(), id).await?;
        if !contacts.is_empty() {
            let (first, more) = contacts.split_at(contacts.len().min(NAMED));
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            return Err(Error::operator(format!(
                "organisation {id} cannot be removed, as it has contacts: {}{more}; 'tacdrop contact remove ID' removes one",
                first.join(", ")
            )));
        }
        organisations::remove(tx.conn(), id).await?;
        note(tx.conn(), Kind::OrganisationRemoved, None, json!({ "organisation": id.as_str() })).await?;
        Ok(tx.commit().await?)
    }

    /// Ends the open logins of an organisation's tickets, in the transaction that no longer admits
    /// them.
    async fn end_logins_of(&self, conn: &mut Conn, id: &Identifier) -> Result<(), Error> {
        for reference in tickets::readable_of(conn, id).await? {
            match tickets::logins_changed(conn, self.prover(), &reference).await {
                // Somebody changed the row: it lets nobody in anyway, and the others must not wait for it.
                Ok(()) | Err(RecordsError::Unproved { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        mark_logins_changed(conn).await
    }
}

async fn count_tickets(conn: &mut Conn, id: &Identifier) -> Result<TicketCount, Error> {
    let counts = organisations::ticket_counts(conn).await?;
    Ok(counts.into_iter().find(|(of, _)| of == id.as_str()).map(|(_, count)| count).unwrap_or_default())
}

/// `the ticket XT-1`; `3 tickets: XT-1, XT-2, XT-3`; of many the first ones.
pub(super) fn named_tickets(references: &[String]) -> String {
    if let [one] = references {
        return format!("the ticket {one}");
    }
    let first = references.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = if references.len() > NAMED { ", ..." } else { "" };
    format!("{} tickets: {first}{more}", references.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_named_and_counted() {
        let of = |count: usize| named_tickets(&(1..=count).map(|n| format!("XT-{n}")).collect::<Vec<_>>());
        assert_eq!(of(1), "the ticket XT-1");
        assert_eq!(of(2), "2 tickets: XT-1, XT-2");
        assert_eq!(of(7), "7 tickets: XT-1, XT-2, XT-3, XT-4, XT-5, ...");
    }
}
