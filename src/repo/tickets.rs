//! What everybody asks of a ticket before something is done for it.

use crate::model::Word;
use crate::records::tickets::Ticket;
use crate::records::{Conn, tickets};
use crate::repo::Error;

/// The ticket of this reference, which an operator typed.
///
/// # Errors
/// [`Error::Operator`] if there is none; and if the records fail.
pub(crate) async fn existing_ticket(conn: &mut Conn, reference: &Word) -> Result<Ticket, Error> {
    tickets::by_reference(conn, reference.as_str())
        .await?
        .ok_or_else(|| Error::operator(format!("there is no ticket {reference}; 'tacdrop ticket list' shows them")))
}
