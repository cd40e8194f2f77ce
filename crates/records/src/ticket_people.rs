//! Who may see a ticket beside the holder of its token, what its customers may do, and who is told
//! of it.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::proofs::{Proof, Proved, Prover, proof};
use super::{Conn, RecordsError, text_as, text_as_option};
use tacdrop_model::Identifier;
use tacdrop_model::rights::{Denied, Visibility};

/// What a ticket says of its people.
#[derive(Debug, Clone)]
pub struct TicketPeople {
    /// The ticket.
    pub ticket: Identifier,
    /// Which contacts see it.
    pub visibility: Visibility,
    /// The organisation that the ticket's own one acts for.
    pub affected: Option<Identifier>,
    /// Whose members work on it, too.
    pub team: Option<Identifier>,
    /// What its customers may not do.
    pub denied: Denied,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl TicketPeople {
    /// What holds for a ticket without such a row: nobody sees it but by its token and its engineer.
    pub fn none(ticket: Identifier) -> Self {
        Self {
            ticket,
            visibility: Visibility::Named,
            affected: None,
            team: None,
            denied: Denied::default(),
            proof: Proof::default(),
        }
    }
}

fn word(word: Option<&Identifier>) -> &[u8] {
    word.map_or(b"", |word| word.as_str().as_bytes())
}

impl Proved for TicketPeople {
    const TABLE: &'static str = "ticket_people";
    const LABEL: &'static str = "proof of ticket's people, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        let denied = self.denied.to_string();
        read(&[
            self.ticket.as_str().as_bytes(),
            self.visibility.as_str().as_bytes(),
            word(self.affected.as_ref()),
            word(self.team.as_ref()),
            denied.as_bytes(),
        ])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        self.ticket.to_string()
    }
}

/// A contact who is named on a ticket.
#[derive(Debug, Clone)]
pub struct TicketContact {
    /// The ticket.
    pub ticket: Identifier,
    /// Who is named.
    pub contact: Identifier,
    /// Which place among those who are named; the least is that of the first.
    pub place: i64,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl Proved for TicketContact {
    const TABLE: &'static str = "ticket_contact";
    const LABEL: &'static str = "proof of ticket's contact, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        read(&[self.ticket.as_str().as_bytes(), self.contact.as_str().as_bytes(), &self.place.to_be_bytes()])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        format!("{} {}", self.ticket, self.contact)
    }
}

/// A mail address that gets a copy of each notice about a ticket.
#[derive(Debug, Clone)]
pub struct TicketWatcher {
    /// The ticket.
    pub ticket: Identifier,
    /// The address.
    pub address: String,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl Proved for TicketWatcher {
    const TABLE: &'static str = "ticket_watcher";
    const LABEL: &'static str = "proof of ticket's watcher, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        read(&[self.ticket.as_str().as_bytes(), self.address.as_bytes()])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Not the address, which is a person's.
    fn name(&self) -> String {
        self.ticket.to_string()
    }
}

fn people(row: &SqliteRow) -> Result<TicketPeople, RecordsError> {
    Ok(TicketPeople {
        ticket: text_as(row, "ticket_people", "ticket")?,
        visibility: text_as(row, "ticket_people", "visibility")?,
        affected: text_as_option(row, "ticket_people", "affected")?,
        team: text_as_option(row, "ticket_people", "team")?,
        denied: text_as(row, "ticket_people", "denied")?,
        proof: proof(row, "proof"),
    })
}

fn contact(row: &SqliteRow) -> Result<TicketContact, RecordsError> {
    Ok(TicketContact {
        ticket: text_as(row, "ticket_contact", "ticket")?,
        contact: text_as(row, "ticket_contact", "contact")?,
        place: row.try_get("place")?,
        proof: proof(row, "proof"),
    })
}

fn watcher(row: &SqliteRow) -> Result<TicketWatcher, RecordsError> {
    Ok(TicketWatcher {
        ticket: text_as(row, "ticket_watcher", "ticket")?,
        address: row.try_get("address")?,
        proof: proof(row, "proof"),
    })
}

/// What a ticket says of its people; none if it says nothing. It is not checked.
pub async fn of(conn: &mut Conn, ticket: &Identifier) -> Result<Option<TicketPeople>, RecordsError> {
    let text = "SELECT ticket, visibility, affected, team, denied, proof FROM ticket_people WHERE ticket = $1";
    ask!(text, ticket).maybe(conn, people).await
}

/// What all tickets say that can be read.
pub async fn all(conn: &mut Conn) -> Result<Vec<TicketPeople>, RecordsError> {
    ask!("SELECT ticket, visibility, affected, team, denied, proof FROM ticket_people ORDER BY ticket")
        .readable(conn, "ticket_people", people)
        .await
}

/// The tickets of a team.
pub async fn of_team(conn: &mut Conn, team: &Identifier) -> Result<Vec<TicketPeople>, RecordsError> {
    let text =
        "SELECT ticket, visibility, affected, team, denied, proof FROM ticket_people WHERE team = $1 ORDER BY ticket";
    ask!(text, team).readable(conn, "ticket_people", people).await
}

/// The references of the tickets that an organisation is affected by, as they stand there.
pub async fn affecting(conn: &mut Conn, organisation: &Identifier) -> Result<Vec<String>, RecordsError> {
    ask!("SELECT ticket FROM ticket_people WHERE affected = $1 ORDER BY ticket", organisation)
        .all(conn, |row| Ok(row.try_get("ticket")?))
        .await
}

/// Writes down what a ticket says of its people, with its proof. Whoever calls has checked the proof
/// of the row that it changes.
pub async fn put(conn: &mut Conn, prover: &dyn Prover, row: &TicketPeople) -> Result<(), RecordsError> {
    let text = "INSERT INTO ticket_people (ticket, visibility, affected, team, denied, proof) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (ticket) DO UPDATE SET visibility = $2, affected = $3, team = $4, \
         denied = $5, proof = $6";
    ask!(
        text,
        &row.ticket,
        row.visibility.as_str(),
        row.affected.as_ref(),
        row.team.as_ref(),
        &row.denied.to_string(),
        row.prove(prover)
    )
    .run(conn)
    .await
}

/// The contacts who are named on a ticket, the first one first.
pub async fn contacts(conn: &mut Conn, ticket: &Identifier) -> Result<Vec<TicketContact>, RecordsError> {
    let text = "SELECT ticket, contact, place, proof FROM ticket_contact WHERE ticket = $1 ORDER BY place, contact";
    ask!(text, ticket).readable(conn, "ticket_contact", contact).await
}

/// All contacts who are named on tickets.
pub async fn all_contacts(conn: &mut Conn) -> Result<Vec<TicketContact>, RecordsError> {
    let text = "SELECT ticket, contact, place, proof FROM ticket_contact ORDER BY ticket, place, contact";
    ask!(text).readable(conn, "ticket_contact", contact).await
}

/// The tickets that a contact is named on.
pub async fn tickets_of(conn: &mut Conn, id: &Identifier) -> Result<Vec<TicketContact>, RecordsError> {
    let text = "SELECT ticket, contact, place, proof FROM ticket_contact WHERE contact = $1 ORDER BY ticket";
    ask!(text, id).readable(conn, "ticket_contact", contact).await
}

/// Names a contact on a ticket, behind all others, or gives the row its proof again.
pub async fn put_contact(conn: &mut Conn, prover: &dyn Prover, row: &TicketContact) -> Result<(), RecordsError> {
    let text = "INSERT INTO ticket_contact (ticket, contact, place, proof) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (ticket, contact) DO UPDATE SET place = $3, proof = $4";
    ask!(text, &row.ticket, &row.contact, row.place, row.prove(prover)).run(conn).await
}

/// Takes a contact off a ticket. Whether it was named there.
pub async fn remove_contact(conn: &mut Conn, ticket: &Identifier, contact: &Identifier) -> Result<bool, RecordsError> {
    ask!("DELETE FROM ticket_contact WHERE ticket = $1 AND contact = $2", ticket, contact).changed(conn).await
}

/// The watchers of a ticket.
pub async fn watchers(conn: &mut Conn, ticket: &Identifier) -> Result<Vec<TicketWatcher>, RecordsError> {
    let text = "SELECT ticket, address, proof FROM ticket_watcher WHERE ticket = $1 ORDER BY address";
    ask!(text, ticket).readable(conn, "ticket_watcher", watcher).await
}

/// All watchers of all tickets.
pub async fn all_watchers(conn: &mut Conn) -> Result<Vec<TicketWatcher>, RecordsError> {
    ask!("SELECT ticket, address, proof FROM ticket_watcher ORDER BY ticket, address")
        .readable(conn, "ticket_watcher", watcher)
        .await
}

/// Adds a watcher, or gives the row its proof again.
pub async fn put_watcher(conn: &mut Conn, prover: &dyn Prover, row: &TicketWatcher) -> Result<(), RecordsError> {
    let text = "INSERT INTO ticket_watcher (ticket, address, proof) VALUES ($1, $2, $3) \
         ON CONFLICT (ticket, address) DO UPDATE SET proof = $3";
    ask!(text, &row.ticket, &row.address, row.prove(prover)).run(conn).await
}

/// Removes a watcher. Whether it was one.
pub async fn remove_watcher(conn: &mut Conn, ticket: &Identifier, address: &str) -> Result<bool, RecordsError> {
    ask!("DELETE FROM ticket_watcher WHERE ticket = $1 AND address = $2", ticket, address).changed(conn).await
}
