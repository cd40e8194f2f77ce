//! Which contacts see a ticket: asked by logins, and by what is to be told to customers.

use crate::model::rights::Visibility;
use crate::records::contacts::Contact;
use crate::records::ticket_people::{TicketContact, TicketPeople};
use crate::records::tickets::Ticket;
use crate::records::{Conn, ticket_people};
use crate::repo::Error;

/// Whether a contact is one of those who see a ticket. One that says nothing of its people is seen by
/// none. `holds` says of a row whether tacdrop wrote it.
///
/// # Errors
/// If the records fail.
pub(crate) async fn names(
    conn: &mut Conn,
    ticket: &Ticket,
    people: Option<&TicketPeople>,
    contact: &Contact,
    holds: impl Fn(&TicketContact) -> bool,
) -> Result<bool, Error> {
    let Some(people) = people else { return Ok(false) };
    if contact.organisation != ticket.organisation && people.affected.as_ref() != Some(&contact.organisation) {
        return Ok(false);
    }
    if people.visibility == Visibility::Organisation {
        return Ok(true);
    }
    let named = ticket_people::contacts(conn, &ticket.reference).await?;
    // Who is first is so by all rows: one that was changed makes nobody else the first.
    let asked = if people.visibility == Visibility::Only { &named[..named.len().min(1)] } else { &named[..] };
    Ok(asked.iter().any(|named| named.contact == contact.id && holds(named)))
}
