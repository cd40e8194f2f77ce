//! Whether the organisation of a ticket still admits its customers: it can be disabled, and its
//! contract has a last day. To a stranger that is the same as a wrong token.

use std::net::IpAddr;

use super::Logins;
use crate::model::{Refusal, Time};
use crate::records::organisations::{self, Organisation};
use crate::records::tickets::Ticket;
use crate::records::tokens::Token;
use crate::repo::Error;

impl Logins {
    /// The organisation of a ticket whose token was right, if it admits its customers now.
    pub(super) async fn admitting(&self, ticket: &Ticket, from: IpAddr) -> Result<Option<Organisation>, Refusal> {
        let found = async { organisations::by_id(&mut *self.repo.records.read().await?, &ticket.organisation).await };
        let found = found.await.map_err(Error::from)?;
        Ok(found.filter(|row| row.admits(Time::now()) && self.holds(row, from)))
    }
}

/// The moment from which on a login must be looked at again although nobody changed anything.
pub(super) fn until(organisation: &Organisation, token: &Token) -> Time {
    organisation.until.map_or(token.valid_until, |day| day.end().min(token.valid_until))
}
