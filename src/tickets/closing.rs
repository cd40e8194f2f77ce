//! Closing a ticket: by one side, or by both, as the policy wants it.

use serde_json::json;

use super::{Tickets, note};
use crate::audit::Kind;
use crate::model::{Identifier, Side, TicketStatus, Time};
use crate::records::{closings, tickets};
use crate::repo::tickets::existing_ticket;
use crate::repo::{Closing, Error};

impl Tickets {
    /// Closes a ticket for a side; its share can then only be read. Where the policy wants both
    /// sides, the first one is only written down. Whether the ticket is closed now.
    ///
    /// # Errors
    /// If there is no such ticket, it is closed already, the policy wants to know the side, or the
    /// records fail.
    pub async fn close(&self, reference: &Identifier, side: Option<Side>) -> Result<bool, Error> {
        let wants_both = self.repo.settings.policy.as_ref().is_some_and(|policy| policy.close == Closing::Both);
        let mut tx = self.repo.records.begin().await?;
        let ticket = existing_ticket(tx.conn(), reference).await?;
        if ticket.status == TicketStatus::Closed {
            return Err(Error::operator(format!("ticket {reference} is closed already")));
        }
        let now = Time::now();
        if wants_both {
            let Some(side) = side else {
                return Err(Error::operator(
                    "the policy wants both sides to close a ticket; say for whom: --by engineer or --by contact",
                ));
            };
            let row = closings::agree(tx.conn(), self.prover(), ticket.share, side, now).await?;
            note(tx.conn(), Kind::TicketCloseAgreed, Some(reference), json!({ "by": side })).await?;
            if !row.is_agreed() {
                tx.commit().await?;
                return Ok(false);
            }
        }
        closings::remove(tx.conn(), ticket.share).await?;
        tickets::set_status(tx.conn(), self.prover(), reference, TicketStatus::Closed, now).await?;
        let detail =
            if wants_both { json!({ "by": "both" }) } else { side.map_or(json!({}), |by| json!({ "by": by })) };
        note(tx.conn(), Kind::TicketClosed, Some(reference), detail).await?;
        tx.commit().await?;
        Ok(true)
    }
}
