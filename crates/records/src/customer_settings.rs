//! What is set for contacts and tickets beside their own rows: whether customers are told by mail,
//! and which rule said what customers may not do.
//!
//! Most have no such row. What holds without one is what [`ContactSettings::plain`] and
//! [`TicketSettings::plain`] say.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::proofs::{Proof, Proved, Prover, proof};
use super::{Conn, RecordsError, text_as};
use tacdrop_model::Identifier;

/// What is set for a contact.
#[derive(Debug, Clone)]
pub struct ContactSettings {
    /// The contact.
    pub contact: Identifier,
    /// Whether it is told by mail what support hands back.
    pub mail: bool,
    /// Whether it gets the receipts of what it sent by mail.
    pub receipts: bool,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl ContactSettings {
    /// What holds for a contact without such a row.
    pub fn plain(contact: Identifier) -> Self {
        Self { contact, mail: true, receipts: false, proof: Proof::default() }
    }
}

impl Proved for ContactSettings {
    const TABLE: &'static str = "contact_setting";
    const LABEL: &'static str = "proof of contact's settings, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        let flags = [self.mail, self.receipts].map(u8::from);
        read(&[self.contact.as_str().as_bytes(), &flags])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        self.contact.to_string()
    }
}

/// What is set for a ticket.
#[derive(Debug, Clone)]
pub struct TicketSettings {
    /// The ticket.
    pub ticket: Identifier,
    /// Whether its customers are told by mail.
    pub mail: bool,
    /// The rule of the policy that said what its customers may not do; none: somebody said it for
    /// this ticket.
    pub rights: Option<String>,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl TicketSettings {
    /// What holds for a ticket without such a row.
    pub fn plain(ticket: Identifier) -> Self {
        Self { ticket, mail: true, rights: None, proof: Proof::default() }
    }
}

impl Proved for TicketSettings {
    const TABLE: &'static str = "ticket_setting";
    const LABEL: &'static str = "proof of ticket's settings, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        let rights = self.rights.as_deref().unwrap_or_default();
        read(&[self.ticket.as_str().as_bytes(), &[u8::from(self.mail)], rights.as_bytes()])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        self.ticket.to_string()
    }
}

/// The columns of [`ContactSettings`], and what follows them in the statement.
macro_rules! of_contacts {
    ($rest:literal) => {
        concat!("SELECT contact, mail, receipts, proof FROM contact_setting ", $rest)
    };
}

fn contact(row: &SqliteRow) -> Result<ContactSettings, RecordsError> {
    Ok(ContactSettings {
        contact: text_as(row, "contact_setting", "contact")?,
        mail: flag(row, "mail")?,
        receipts: flag(row, "receipts")?,
        proof: proof(row, "proof"),
    })
}

fn ticket(row: &SqliteRow) -> Result<TicketSettings, RecordsError> {
    Ok(TicketSettings {
        ticket: text_as(row, "ticket_setting", "ticket")?,
        mail: flag(row, "mail")?,
        rights: row.try_get("rights")?,
        proof: proof(row, "proof"),
    })
}

fn flag(row: &SqliteRow, column: &'static str) -> Result<bool, RecordsError> {
    Ok(row.try_get::<i64, _>(column)? != 0)
}

/// What is set for a contact; none if nothing is. It is not checked.
pub async fn of_contact(conn: &mut Conn, id: &Identifier) -> Result<Option<ContactSettings>, RecordsError> {
    ask!(of_contacts!("WHERE contact = $1"), id).maybe(conn, contact).await
}

/// What is set for contacts, as far as it can be read.
pub async fn contacts(conn: &mut Conn) -> Result<Vec<ContactSettings>, RecordsError> {
    ask!(of_contacts!("ORDER BY contact")).readable(conn, "contact_setting", contact).await
}

/// Writes what is set for a contact, with its proof.
pub async fn put_contact(conn: &mut Conn, prover: &dyn Prover, row: &ContactSettings) -> Result<(), RecordsError> {
    let text = "INSERT INTO contact_setting (contact, mail, receipts, proof) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (contact) DO UPDATE SET mail = $2, receipts = $3, proof = $4";
    ask!(text, &row.contact, row.mail, row.receipts, row.prove(prover)).run(conn).await
}

/// Changes what is set for a contact, and gives its row the new proof.
///
/// # Errors
/// [`RecordsError::Unproved`] if somebody else has changed it before.
pub async fn change_contact(
    conn: &mut Conn,
    prover: &dyn Prover,
    id: &Identifier,
    change: impl FnOnce(&mut ContactSettings),
) -> Result<(), RecordsError> {
    let mut row = match of_contact(conn, id).await? {
        Some(row) => {
            row.check(prover)?;
            row
        }
        None => ContactSettings::plain(id.clone()),
    };
    change(&mut row);
    put_contact(conn, prover, &row).await
}

/// Removes what is set for a contact.
pub async fn remove_contact(conn: &mut Conn, id: &Identifier) -> Result<(), RecordsError> {
    ask!("DELETE FROM contact_setting WHERE contact = $1", id).run(conn).await
}

/// What is set for a ticket; none if nothing is. It is not checked.
pub async fn of_ticket(conn: &mut Conn, reference: &Identifier) -> Result<Option<TicketSettings>, RecordsError> {
    ask!("SELECT ticket, mail, rights, proof FROM ticket_setting WHERE ticket = $1", reference)
        .maybe(conn, ticket)
        .await
}

/// What is set for tickets, as far as it can be read.
pub async fn tickets(conn: &mut Conn) -> Result<Vec<TicketSettings>, RecordsError> {
    ask!("SELECT ticket, mail, rights, proof FROM ticket_setting ORDER BY ticket")
        .readable(conn, "ticket_setting", ticket)
        .await
}

/// Writes what is set for a ticket, with its proof.
pub async fn put_ticket(conn: &mut Conn, prover: &dyn Prover, row: &TicketSettings) -> Result<(), RecordsError> {
    let text = "INSERT INTO ticket_setting (ticket, mail, rights, proof) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (ticket) DO UPDATE SET mail = $2, rights = $3, proof = $4";
    ask!(text, &row.ticket, row.mail, row.rights.as_deref(), row.prove(prover)).run(conn).await
}
