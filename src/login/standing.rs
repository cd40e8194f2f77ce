//! Whether the organisation of a ticket still admits its customers: it can be disabled, and its
//! contract has a last day. To a stranger that is the same as a wrong token.

use super::{LoginState, Logins, Who};
use crate::model::{Refusal, Time};
use crate::records::organisations::{self, Organisation};
use crate::records::tickets::{self, Ticket};
use crate::records::{Conn, RecordsError};
use crate::repo::Error;

impl Logins {
    /// The organisation of a ticket whose token was right, if it admits its customers now.
    pub(super) async fn admitting(
        &self,
        ticket: &Ticket,
        from: std::net::IpAddr,
    ) -> Result<Option<Organisation>, Refusal> {
        let found = async { organisations::by_id(&mut *self.repo.records.read().await?, &ticket.organisation).await };
        let found = found.await.map_err(Error::from)?;
        Ok(found.filter(|row| row.admits(Time::now()) && self.holds(row, from)))
    }
}

/// The moment from which on a login must be looked at again although nobody changed anything.
pub(super) fn until(organisation: &Organisation) -> Option<Time> {
    organisation.until.map(|day| day.end())
}

/// Whether the organisation of a login's ticket still admits it; a contract may have been prolonged
/// meanwhile. Engineers go on in any case.
pub(super) async fn goes_on(conn: &mut Conn, login: &LoginState) -> Result<bool, RecordsError> {
    if !matches!(login.who, Who::Ticket { .. }) {
        return Ok(true);
    }
    let Some(ticket) = tickets::by_reference(conn, login.user.as_str()).await? else { return Ok(false) };
    let Some(organisation) = organisations::by_id(conn, &ticket.organisation).await? else { return Ok(false) };
    if !organisation.admits(Time::now()) || !login.holds(&organisation) {
        return Ok(false);
    }
    login.set_until(until(&organisation));
    Ok(true)
}
