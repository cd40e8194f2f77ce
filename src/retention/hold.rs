//! Legal holds: nothing of a ticket is removed while it is held. Whoever removes asks in the
//! transaction that removes.

use serde::Serialize;
use serde_json::json;

use super::{Retention, note_of_ticket};
use crate::audit::{Actor, Kind};
use crate::model::{Identifier, ShareId, Time};
use crate::records::holds::{self, Hold};
use crate::records::{Conn, RecordsError};
use crate::repo::Error;
use crate::repo::tickets::existing_ticket;

/// The longest reason of a hold, in characters.
const LONGEST_REASON: usize = 200;

/// That a ticket is held, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct HoldLine {
    /// The ticket.
    pub ticket: String,
    /// Since when.
    pub held_at: Time,
    /// Why, as an operator wrote it.
    pub reason: Option<String>,
}

impl Retention {
    /// Holds a ticket: nothing of it is shredded, expires, or is removed after its grace.
    ///
    /// # Errors
    /// If there is no such ticket, it is held already, the reason is too long, or the records fail.
    pub async fn hold(&self, ticket: &Identifier, reason: Option<String>) -> Result<HoldLine, Error> {
        let fits = |text: &String| {
            !text.trim().is_empty() && text.chars().count() <= LONGEST_REASON && !text.chars().any(char::is_control)
        };
        if reason.as_ref().is_some_and(|text| !fits(text)) {
            return Err(Error::operator(format!("a reason is 1 to {LONGEST_REASON} characters on one line")));
        }
        let mut tx = self.repo.records.begin().await?;
        let share = existing_ticket(tx.conn(), ticket).await?.share;
        let new = Hold { share, reason, held_at: Time::now(), proof: Default::default() };
        match holds::add(tx.conn(), &**self.repo.keys.proofs(), &new).await {
            Err(RecordsError::Exists) => return Err(Error::operator(format!("ticket {ticket} is held already"))),
            other => other?,
        }
        // The reason is for the house: it goes with the hold, and the trail never forgets.
        note_of_ticket(tx.conn(), Kind::TicketHeld, &Actor::Operator, ticket, &json!({})).await?;
        tx.commit().await?;
        Ok(HoldLine { ticket: ticket.to_string(), held_at: new.held_at, reason: new.reason })
    }

    /// Ends a hold. What was due meanwhile goes with the next step of whoever removes it.
    ///
    /// # Errors
    /// If there is no such ticket, it is not held, or the records fail.
    pub async fn release(&self, ticket: &Identifier) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        let share = existing_ticket(tx.conn(), ticket).await?.share;
        if !holds::remove(tx.conn(), share).await? {
            return Err(Error::operator(format!("ticket {ticket} is not held")));
        }
        note_of_ticket(tx.conn(), Kind::TicketReleased, &Actor::Operator, ticket, &json!({})).await?;
        Ok(tx.commit().await?)
    }

    /// The hold of a ticket, if it has one.
    ///
    /// # Errors
    /// If there is no such ticket, or the records fail.
    pub async fn held(&self, ticket: &Identifier) -> Result<Option<HoldLine>, Error> {
        let mut conn = self.repo.records.read().await?;
        let share = existing_ticket(&mut conn, ticket).await?.share;
        let hold = holds::of_share(&mut conn, share).await?;
        Ok(hold.map(|hold| HoldLine { ticket: ticket.to_string(), held_at: hold.held_at, reason: hold.reason }))
    }
}

/// Refuses to remove something of a ticket that is held.
///
/// # Errors
/// A sentence that says since when and why; and if there is no such ticket, or the records fail.
pub(crate) async fn refuse_held(conn: &mut Conn, ticket: &Identifier) -> Result<(), Error> {
    let share = existing_ticket(conn, ticket).await?.share;
    refuse_held_share(conn, ticket, share).await
}

/// The same for a ticket of which this is the share.
///
/// # Errors
/// As there.
pub(super) async fn refuse_held_share(conn: &mut Conn, ticket: &Identifier, share: ShareId) -> Result<(), Error> {
    if let Some(hold) = holds::of_share(conn, share).await? {
        return Err(refusal(ticket, &hold));
    }
    if holds::is_told(conn, ticket).await? {
        return Err(Error::operator(format!(
            "ticket {ticket} was held, as the audit trail tells, and its row in the table hold is gone: somebody changed the \
             records from outside, so nothing of it is removed; hold it again and release it ('tacdrop ticket hold', \
             'release') if it is to go"
        )));
    }
    Ok(())
}

/// Why nothing of a ticket is removed.
fn refusal(ticket: &Identifier, hold: &Hold) -> Error {
    let why = hold.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    Error::operator(format!(
        "ticket {ticket} is held since {}{why}, so nothing of it is removed; 'tacdrop ticket release {ticket}' ends that",
        hold.held_at
    ))
}
