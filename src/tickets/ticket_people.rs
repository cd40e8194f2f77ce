//! Who may see a ticket beside the holder of its token, what its customers may do, and who else is
//! told of it.

use serde::Serialize;
use serde_json::json;

use super::{Tickets, note};
use crate::audit::{Kind, told};
use crate::model::Identifier;
use crate::model::rights::{Denied, Right, Visibility};
use crate::records::customer_settings::{self, TicketSettings};
use crate::records::proofs::{Proof, Proved};
use crate::records::ticket_people::{self, TicketContact, TicketPeople, TicketWatcher};
use crate::records::tickets::Ticket;
use crate::records::{Conn, contacts, people, teams};
use crate::repo::Error;
use crate::repo::tickets::{check_address, existing_ticket};

/// The most contacts, and the most watchers, that one ticket has.
const MOST: usize = 100;

/// What is to be changed about a ticket's people; what is none or empty stays.
#[derive(Debug, Clone, Default)]
pub struct PeopleChanges {
    /// Which contacts see it.
    pub visibility: Option<Visibility>,
    /// Contacts to name, behind those who are named already.
    pub contacts: Vec<Identifier>,
    /// Contacts to take off.
    pub without_contacts: Vec<Identifier>,
    /// The organisation that the ticket's own one acts for; the inner none takes it away.
    pub affected: Option<Option<Identifier>>,
    /// The team whose members work on it; the inner none takes it away.
    pub team: Option<Option<Identifier>>,
    /// Mail addresses that get a copy of each notice from now on.
    pub watchers: Vec<String>,
    /// Mail addresses that do no longer.
    pub without_watchers: Vec<String>,
    /// Whether customers see only what their own session has sent.
    pub drop_box: Option<bool>,
    /// What else customers may not do.
    pub denied: Option<Denied>,
    /// Whether its customers are told by mail.
    pub mail: Option<bool>,
    /// The rule of the policy that says what customers may not do, where nobody said it.
    pub rule: Option<String>,
}

impl PeopleChanges {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.visibility.is_none()
            && self.contacts.is_empty()
            && self.without_contacts.is_empty()
            && self.affected.is_none()
            && self.team.is_none()
            && self.watchers.is_empty()
            && self.without_watchers.is_empty()
            && self.drop_box.is_none()
            && self.denied.is_none()
            && self.mail.is_none()
    }
}

/// A ticket's people, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct PeopleLine {
    /// The ticket.
    pub reference: String,
    /// Which contacts see it.
    pub visibility: Visibility,
    /// The contacts who are named, the first one first.
    pub contacts: Vec<String>,
    /// The organisation that the ticket's own one acts for.
    pub affected: Option<String>,
    /// The team whose members work on it.
    pub team: Option<String>,
    /// Mail addresses that get a copy of each notice.
    pub watchers: Vec<String>,
    /// Whether customers see only what their own session has sent.
    pub drop_box: bool,
    /// What else customers may not do.
    pub denied: Vec<Right>,
    /// The rule of the policy that says what customers may not do; null: it was said of this ticket.
    pub rights_from: Option<String>,
    /// Whether its customers are told by mail.
    pub mail: bool,
}

impl Tickets {
    /// Changes who sees a ticket, what its customers may do, or who is told of it, in the caller's
    /// transaction.
    ///
    /// # Errors
    /// If there is no such contact, organisation or team, a contact belongs to another organisation,
    /// an address is none, or the records fail.
    pub(super) async fn put_people(
        &self,
        conn: &mut Conn,
        ticket: &Ticket,
        changes: PeopleChanges,
    ) -> Result<(), Error> {
        let (prover, reference) = (self.prover(), &ticket.reference);
        let mut row = match ticket_people::of(conn, reference).await? {
            Some(row) => {
                row.check(prover)?;
                row
            }
            None => TicketPeople::none(reference.clone()),
        };
        let set = self.put_settings(conn, reference, &changes).await?;
        row.visibility = changes.visibility.unwrap_or(row.visibility);
        if let Some(affected) = changes.affected {
            check_affected(conn, ticket, affected.as_ref()).await?;
            row.affected = affected;
        }
        if let Some(team) = changes.team {
            if let Some(team) = &team {
                existing_team(conn, team).await?;
            }
            row.team = team;
        }
        if let Some(denied) = changes.denied {
            row.denied = denied.with(Right::Others, row.denied.has(Right::Others));
        }
        if let Some(drop_box) = changes.drop_box {
            row.denied = row.denied.with(Right::Others, drop_box);
        }
        ticket_people::put(conn, prover, &row).await?;
        self.change_named(conn, ticket, &row, &changes.contacts, &changes.without_contacts).await?;
        self.change_watchers(conn, reference, &changes.watchers, &changes.without_watchers).await?;
        let named = ticket_people::contacts(conn, reference).await?;
        let named: Vec<_> = named.iter().map(|named| named.contact.as_str()).collect();
        let watchers = ticket_people::watchers(conn, reference).await?;
        // Not the addresses, which are people's: only what they can be compared with.
        let address =
            |watcher: &TicketWatcher| told::address(self.repo.keys.trail(), reference.as_str(), &watcher.address);
        let detail = json!({
            "visibility": row.visibility,
            "contacts": named,
            "affected": row.affected.as_ref().map(Identifier::as_str),
            "team": row.team.as_ref().map(Identifier::as_str),
            "watchers": watchers.iter().map(address).collect::<Vec<_>>(),
            "denied": row.denied.to_string(),
            "rights": set.rights,
            "mail": set.mail,
        });
        note(conn, Kind::TicketPeopleChanged, Some(reference), detail).await
    }

    /// Writes what is set for a ticket, if something is.
    async fn put_settings(
        &self,
        conn: &mut Conn,
        reference: &Identifier,
        changes: &PeopleChanges,
    ) -> Result<TicketSettings, Error> {
        let before = customer_settings::of_ticket(conn, reference).await?;
        if let Some(before) = &before {
            before.check(self.prover())?;
        }
        let (is_there, mut set) =
            (before.is_some(), before.unwrap_or_else(|| TicketSettings::plain(reference.clone())));
        set.mail = changes.mail.unwrap_or(set.mail);
        if changes.denied.is_some() || changes.drop_box.is_some() {
            set.rights.clone_from(&changes.rule);
        }
        if is_there || !set.mail || set.rights.is_some() {
            customer_settings::put_ticket(conn, self.prover(), &set).await?;
        }
        Ok(set)
    }

    async fn change_named(
        &self,
        conn: &mut Conn,
        ticket: &Ticket,
        row: &TicketPeople,
        named: &[Identifier],
        without: &[Identifier],
    ) -> Result<(), Error> {
        let reference = &ticket.reference;
        for contact in without {
            if !ticket_people::remove_contact(conn, reference, contact).await? {
                return Err(Error::operator(format!("contact {contact} is not named on ticket {reference}")));
            }
        }
        let there = ticket_people::contacts(conn, reference).await?;
        let mut place = there.last().map_or(0, |last| last.place);
        for contact in named {
            let known = contacts::by_id(conn, contact.as_str()).await?;
            let missing =
                || Error::operator(format!("there is no contact {contact}; 'tacdrop contact list' shows them"));
            let known = known.ok_or_else(missing)?;
            known.check(self.prover())?;
            if known.organisation != ticket.organisation && Some(&known.organisation) != row.affected.as_ref() {
                return Err(Error::operator(format!(
                    "contact {contact} belongs to {}, which ticket {reference} is not about; add --affected {} if it is \
                     the organisation that is affected",
                    known.organisation, known.organisation
                )));
            }
            if there.iter().any(|there| there.contact == *contact) {
                continue;
            }
            place += 1;
            let new =
                TicketContact { ticket: reference.clone(), contact: contact.clone(), place, proof: Proof::default() };
            ticket_people::put_contact(conn, self.prover(), &new).await?;
        }
        if ticket_people::contacts(conn, reference).await?.len() > MOST {
            return Err(Error::operator(format!("a ticket names {MOST} contacts at most")));
        }
        Ok(())
    }

    async fn change_watchers(
        &self,
        conn: &mut Conn,
        reference: &Identifier,
        watchers: &[String],
        without: &[String],
    ) -> Result<(), Error> {
        for address in without {
            if !ticket_people::remove_watcher(conn, reference, address).await? {
                return Err(Error::operator(format!("nobody at this address watches ticket {reference}")));
            }
        }
        for address in watchers {
            check_address(address)?;
            let (ticket, address) = (reference.clone(), address.clone());
            let new = TicketWatcher { ticket, address, proof: Proof::default() };
            ticket_people::put_watcher(conn, self.prover(), &new).await?;
        }
        if ticket_people::watchers(conn, reference).await?.len() > MOST {
            return Err(Error::operator(format!("a ticket has {MOST} watchers at most")));
        }
        Ok(())
    }

    /// Who sees a ticket, and what its customers may do.
    ///
    /// # Errors
    /// If there is no such ticket, or the records fail.
    pub async fn people(&self, reference: &Identifier) -> Result<PeopleLine, Error> {
        let mut conn = self.repo.records.read().await?;
        existing_ticket(&mut conn, reference).await?;
        let row = ticket_people::of(&mut conn, reference).await?;
        let row = row.unwrap_or_else(|| TicketPeople::none(reference.clone()));
        let named = ticket_people::contacts(&mut conn, reference).await?;
        let watchers = ticket_people::watchers(&mut conn, reference).await?;
        let set = customer_settings::of_ticket(&mut conn, reference).await?;
        let set = set.unwrap_or_else(|| TicketSettings::plain(reference.clone()));
        Ok(PeopleLine {
            rights_from: set.rights,
            mail: set.mail,
            reference: reference.to_string(),
            visibility: row.visibility,
            contacts: named.into_iter().map(|named| named.contact.to_string()).collect(),
            affected: row.affected.map(|affected| affected.to_string()),
            team: row.team.map(|team| team.to_string()),
            watchers: watchers.into_iter().map(|watcher| watcher.address).collect(),
            drop_box: row.denied.has(Right::Others),
            denied: row.denied.rights().filter(|right| *right != Right::Others).collect(),
        })
    }
}

async fn check_affected(conn: &mut Conn, ticket: &Ticket, affected: Option<&Identifier>) -> Result<(), Error> {
    let Some(affected) = affected else { return Ok(()) };
    if people::organisations(conn, Some(affected)).await?.is_empty() {
        return Err(Error::operator(format!(
            "there is no organisation {affected}; add it with 'tacdrop organisation add'"
        )));
    }
    if *affected == ticket.organisation {
        return Err(Error::operator(format!("{affected} is the ticket's own organisation; it acts for nobody else")));
    }
    Ok(())
}

/// The team of this id, which an operator typed.
pub(super) async fn existing_team(conn: &mut Conn, id: &Identifier) -> Result<teams::Team, Error> {
    teams::by_id(conn, id)
        .await?
        .ok_or_else(|| Error::operator(format!("there is no team {id}; add it with 'tacdrop team add'")))
}
