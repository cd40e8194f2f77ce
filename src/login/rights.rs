//! Whether a login may still do what it has begun in a ticket's share: a ticket goes to another
//! engineer, is closed, or gets a new token, while handles of the login are open.
//!
//! What changes something asks [`may_change`] in the transaction that changes it. What only looks
//! asks its [`Grant`] before each operation; a task takes grants back soon after the records have
//! changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::login::Login;
use crate::login::{LoginState, Who};
use crate::model::{Identifier, Locked, LockedGuard, Refusal, TicketStatus};
use crate::records::tickets::{self, Ticket};
use crate::records::{Conn, people};
use crate::repo::Error;

/// Whether a login may change something in a ticket's share now; and the generation of the share's
/// keys that is in force.
///
/// # Errors
/// [`Refusal::TicketClosed`], [`Refusal::NotAssigned`] or [`Refusal::LoginEnded`].
pub(crate) async fn may_change(conn: &mut Conn, ticket: &Identifier, login: &Login) -> Result<u32, Error> {
    let row = existing(conn, ticket, &login.0).await?;
    check_reach(&row, &login.0)?;
    check_open(&row)
}

/// Whether what a login has sent so far may be kept unfinished; and the generation as above. A
/// ticket's new token is for the same people, who go on with it; what an engineer was about to hand
/// back ends with the assignment.
///
/// # Errors
/// [`Refusal::TicketClosed`] or [`Refusal::NotAssigned`].
pub(crate) async fn may_keep(conn: &mut Conn, ticket: &Identifier, login: &Login) -> Result<u32, Error> {
    let row = existing(conn, ticket, &login.0).await?;
    match check_reach(&row, &login.0) {
        Ok(()) | Err(Refusal::LoginEnded) => check_open(&row),
        Err(refusal) => Err(refusal.into()),
    }
}

async fn existing(conn: &mut Conn, ticket: &Identifier, login: &LoginState) -> Result<Ticket, Error> {
    proved(conn, ticket.as_str(), login).await?.ok_or(Error::Refused(Refusal::LoginEnded))
}

/// The ticket of this reference, if it says what tacdrop wrote there. One that does not is as good
/// as none to a login, and the trail tells of it.
pub(crate) async fn proved(conn: &mut Conn, reference: &str, login: &LoginState) -> Result<Option<Ticket>, Error> {
    let ticket = tickets::by_reference(conn, reference).await?;
    let ticket = ticket.filter(|ticket| login.holds(ticket));
    if let Some(ticket) = &ticket {
        login.remember(ticket);
    }
    Ok(ticket)
}

fn check_open(ticket: &Ticket) -> Result<u32, Error> {
    match ticket.status {
        TicketStatus::Closed => Err(Refusal::TicketClosed.into()),
        TicketStatus::Open => Ok(ticket.key_generation),
    }
}

/// Whether a ticket is one that a login reaches.
fn check_reach(ticket: &Ticket, login: &LoginState) -> Result<(), Refusal> {
    match &login.who {
        Who::Engineer { .. } if ticket.engineer != login.user => Err(Refusal::NotAssigned),
        Who::Ticket { generation, .. } if ticket.reference != login.user || ticket.token_generation != *generation => {
            Err(Refusal::LoginEnded)
        }
        Who::Engineer { .. } | Who::Ticket { .. } => Ok(()),
    }
}

/// Held by everything that a login has open in a ticket's share. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grant(Arc<AtomicU8>);

/// What a grant says: nothing against going on, that the ticket went to somebody else, or that the
/// login is no longer valid.
const GOES_ON: u8 = 0;
const NOT_ASSIGNED: u8 = 1;
const LOGIN_ENDED: u8 = 2;

impl Grant {
    /// Whether the login may go on.
    ///
    /// # Errors
    /// [`Refusal::NotAssigned`] or [`Refusal::LoginEnded`].
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match self.0.load(Ordering::Acquire) {
            GOES_ON => Ok(()),
            NOT_ASSIGNED => Err(Refusal::NotAssigned),
            _ => Err(Refusal::LoginEnded),
        }
    }

    fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// The grants of one login, by ticket; no more of them than it has handles open.
#[derive(Debug, Default)]
pub(crate) struct Grants(Locked<HashMap<Identifier, Grant>>);

impl Grants {
    /// The grant for something that is opened in a ticket's share now.
    pub(crate) fn of(&self, ticket: &Identifier) -> Grant {
        let mut grants = self.lock();
        grants.retain(|of, grant| of == ticket || grant.is_held());
        match grants.get(ticket) {
            Some(grant) if grant.check().is_ok() => grant.clone(),
            _ => {
                let grant = Grant::default();
                grants.insert(ticket.clone(), grant.clone());
                grant
            }
        }
    }

    fn held(&self) -> Vec<(Identifier, Grant)> {
        let mut grants = self.lock();
        grants.retain(|_, grant| grant.is_held());
        grants.iter().map(|(ticket, grant)| (ticket.clone(), grant.clone())).collect()
    }

    fn lock(&self) -> LockedGuard<'_, HashMap<Identifier, Grant>> {
        self.0.lock()
    }
}

/// Whether a login is one that the records still allow. Grants for tickets that it no longer
/// reaches are taken back.
pub(crate) async fn review(conn: &mut Conn, login: &LoginState) -> Result<bool, Error> {
    let is_valid = match &login.who {
        Who::Ticket { .. } => {
            proved(conn, login.user.as_str(), login).await?.is_some_and(|ticket| check_reach(&ticket, login).is_ok())
        }
        Who::Engineer { fingerprint } => {
            let found = people::with_key(conn, login.user.as_str(), fingerprint).await?;
            found.is_some_and(|(engineer, key)| {
                engineer.disabled_at.is_none() && login.holds(&engineer) && login.holds(&key)
            })
        }
    };
    for (reference, grant) in login.grants.held() {
        let ticket = proved(conn, reference.as_str(), login).await?;
        if !is_valid {
            grant.0.store(LOGIN_ENDED, Ordering::Release);
        } else if ticket.is_none_or(|ticket| check_reach(&ticket, login).is_err()) {
            grant.0.store(NOT_ASSIGNED, Ordering::Release);
        }
    }
    Ok(is_valid)
}
