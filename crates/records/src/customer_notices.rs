//! Notices for customers. What is to be told to a ticket's customers gathers in one row until it has
//! settled; then each of them gets a notice of its own, and that row goes.

use super::ask::ask;
use super::notices::{ADDRESS_LABEL, NoticeRow, address_fields};
use super::proofs::Prover;
use super::{Conn, RecordsError};
use tacdrop_model::{Identifier, NoticeId, Time};

/// One of a ticket's customers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Customer {
    /// A contact, at the address that it has when it is told.
    Contact(Identifier),
    /// A watcher, at this address.
    Watcher(String),
}

/// Makes the notice of one customer out of the one that gathered: it is to be delivered, and says
/// what was gathered.
pub async fn part(
    conn: &mut Conn,
    prover: &dyn Prover,
    gathered: &NoticeRow,
    id: NoticeId,
    customer: &Customer,
) -> Result<(), RecordsError> {
    let (audience, contact, address) = match customer {
        Customer::Contact(contact) => ("contact", Some(contact), None),
        Customer::Watcher(address) => ("watcher", None, Some(address.as_str())),
    };
    let proof = address.map(|address| {
        prover.prove(ADDRESS_LABEL, &address_fields(&id, &gathered.ticket, &gathered.recipient, address))
    });
    let text = "INSERT INTO notice (id, ticket, recipient, state, created_at, next_attempt_at, address, address_proof, \
         audience, contact) SELECT $2, ticket, recipient, 'pending', created_at, next_attempt_at, $3, $4, $5, $6 \
         FROM notice WHERE id = $1";
    ask!(text, gathered.id, id, address, proof, audience, contact).run(conn).await?;
    let text = "INSERT INTO notice_version (notice_id, version_id, about) \
         SELECT $2, version_id, about FROM notice_version WHERE notice_id = $1";
    ask!(text, gathered.id, id).run(conn).await
}

/// Everybody has a notice: the one that gathered goes.
pub async fn remove(conn: &mut Conn, gathered: NoticeId) -> Result<(), RecordsError> {
    ask!("DELETE FROM notice_version WHERE notice_id = $1", gathered).run(conn).await?;
    ask!("DELETE FROM notice WHERE id = $1 AND audience = 'customers'", gathered).run(conn).await
}

/// What a contact was not told at the address that it had is tried at the new one, at once. How many
/// notices these are.
pub async fn moved(conn: &mut Conn, contact: &Identifier, now: Time) -> Result<u64, RecordsError> {
    let text = "UPDATE notice SET attempts = 0, lost_answers = 0, ending = NULL, \
         next_attempt_at = CASE WHEN state = 'settling' THEN next_attempt_at ELSE $2 END, \
         state = CASE WHEN state = 'settling' THEN state ELSE 'pending' END \
         WHERE contact = $1 AND state <> 'delivered' AND COALESCE(ending, '') <> 'dismissed'";
    ask!(text, contact, now).changes(conn).await
}
