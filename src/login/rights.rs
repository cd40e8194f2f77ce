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
use crate::login::contacts::still_valid;
use crate::login::{LoginState, Who};
use crate::model::rights::Visibility;
use crate::model::{Identifier, Locked, LockedGuard, Refusal, TicketStatus};
use crate::records::contacts::Contact;
use crate::records::tickets::{self, Ticket};
use crate::records::{Conn, people, teams, ticket_people};
use crate::repo::Error;

/// Whether a login may change something in a ticket's share now; and the generation of the share's
/// keys that is in force.
///
/// # Errors
/// [`Refusal::TicketClosed`], [`Refusal::NotAssigned`], [`Refusal::NotNamed`] or
/// [`Refusal::LoginEnded`].
pub(crate) async fn may_change(conn: &mut Conn, ticket: &Identifier, login: &Login) -> Result<u32, Error> {
    let row = existing(conn, ticket, &login.0).await?;
    check_reach(conn, &row, &login.0).await?;
    check_open(&row)
}

/// Whether what a login has sent so far may be kept unfinished; and the generation as above. A
/// ticket's new token is for the same people, who go on with it, and what a contact has sent is its
/// organisation's; what an engineer was about to hand back ends with the assignment.
///
/// # Errors
/// [`Refusal::TicketClosed`] or [`Refusal::NotAssigned`].
pub(crate) async fn may_keep(conn: &mut Conn, ticket: &Identifier, login: &Login) -> Result<u32, Error> {
    let row = existing(conn, ticket, &login.0).await?;
    match check_reach(conn, &row, &login.0).await {
        Ok(()) | Err(Error::Refused(Refusal::LoginEnded | Refusal::NotNamed)) => check_open(&row),
        Err(refusal) => Err(refusal),
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

/// Whether an engineer is a member of a ticket's team.
async fn is_member(conn: &mut Conn, ticket: &Ticket, login: &LoginState) -> Result<bool, Error> {
    let people = ticket_people::of(conn, &ticket.reference).await?;
    let Some(team) = people.filter(|people| login.holds(people)).and_then(|people| people.team) else {
        return Ok(false);
    };
    Ok(teams::member_of(conn, &team, &login.user).await?.is_some_and(|member| login.holds(&member)))
}

/// Whether a contact is one of those who see a ticket.
async fn names(conn: &mut Conn, ticket: &Ticket, contact: &Contact, login: &LoginState) -> Result<bool, Error> {
    let people = ticket_people::of(conn, &ticket.reference).await?;
    let Some(people) = people.filter(|people| login.holds(people)) else { return Ok(false) };
    if contact.organisation != ticket.organisation && people.affected.as_ref() != Some(&contact.organisation) {
        return Ok(false);
    }
    if people.visibility == Visibility::Organisation {
        return Ok(true);
    }
    let named = ticket_people::contacts(conn, &ticket.reference).await?;
    let mut named = named.iter().filter(|named| login.holds(*named)).map(|named| &named.contact);
    Ok(match people.visibility {
        Visibility::Only => named.next() == Some(&contact.id),
        Visibility::Named | Visibility::Organisation => named.any(|named| *named == contact.id),
    })
}

/// The tickets that a login may see, and some that it may not: by reference, from behind `after` on,
/// at most `most`; and whether these were the last ones. [`sees`] says of each which it is.
///
/// # Errors
/// If the records fail.
pub(crate) async fn candidates(
    conn: &mut Conn,
    login: &Login,
    after: Option<&Identifier>,
    most: usize,
) -> Result<(Vec<Ticket>, bool), Error> {
    let user = &login.0.user;
    Ok(match &login.0.who {
        Who::Ticket { .. } => (tickets::by_reference(conn, user.as_str()).await?.into_iter().collect(), true),
        Who::Engineer { .. } => tickets::assigned(conn, user, after, most).await?,
        Who::Contact { by } => match still_valid(conn, &login.0, by).await? {
            Some(contact) => tickets::of_organisation(conn, &contact.organisation, after, most).await?,
            None => (Vec::new(), true),
        },
    })
}

/// Whether a ticket's row says what tacdrop wrote there, and a login reaches it.
///
/// # Errors
/// If the records fail.
pub(crate) async fn sees(conn: &mut Conn, ticket: &Ticket, login: &Login) -> Result<bool, Error> {
    Ok(login.0.holds(ticket) && reaches(conn, ticket, &login.0).await?.is_ok())
}

fn check_open(ticket: &Ticket) -> Result<u32, Error> {
    match ticket.status {
        TicketStatus::Closed => Err(Refusal::TicketClosed.into()),
        TicketStatus::Open | TicketStatus::Waiting => Ok(ticket.key_generation),
    }
}

/// Whether a ticket is one that a login reaches.
///
/// # Errors
/// As a refusal, if it is not; and if the records fail.
pub(crate) async fn check_reach(conn: &mut Conn, ticket: &Ticket, login: &LoginState) -> Result<(), Error> {
    let refusal = match &login.who {
        Who::Engineer { .. } if ticket.engineer != login.user && !is_member(conn, ticket, login).await? => {
            Refusal::NotAssigned
        }
        Who::Ticket { generation, .. } if ticket.reference != login.user || ticket.token_generation != *generation => {
            Refusal::LoginEnded
        }
        Who::Contact { by } => match still_valid(conn, login, by).await? {
            None => Refusal::LoginEnded,
            Some(contact) if !names(conn, ticket, &contact, login).await? => Refusal::NotNamed,
            Some(_) => return Ok(()),
        },
        Who::Engineer { .. } | Who::Ticket { .. } => return Ok(()),
    };
    Err(refusal.into())
}

/// Held by everything that a login has open in a ticket's share. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grant(Arc<AtomicU8>);

/// What a grant says: nothing against going on, that the ticket went to somebody else, that the
/// login is no longer valid, or that the contact is no longer one of the ticket's.
const GOES_ON: u8 = 0;
const NOT_ASSIGNED: u8 = 1;
const LOGIN_ENDED: u8 = 2;
const NOT_NAMED: u8 = 3;

impl Grant {
    /// Whether the login may go on.
    ///
    /// # Errors
    /// [`Refusal::NotAssigned`], [`Refusal::NotNamed`] or [`Refusal::LoginEnded`].
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match self.0.load(Ordering::Acquire) {
            GOES_ON => Ok(()),
            NOT_ASSIGNED => Err(Refusal::NotAssigned),
            NOT_NAMED => Err(Refusal::NotNamed),
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
        Who::Ticket { .. } => match proved(conn, login.user.as_str(), login).await? {
            Some(ticket) => reaches(conn, &ticket, login).await?.is_ok(),
            None => false,
        },
        Who::Contact { by } => still_valid(conn, login, by).await?.is_some(),
        Who::Engineer { fingerprint } => {
            let found = people::with_key(conn, login.user.as_str(), fingerprint).await?;
            found.is_some_and(|(engineer, key)| {
                engineer.disabled_at.is_none() && login.holds(&engineer) && login.holds(&key)
            })
        }
    };
    for (reference, grant) in login.grants.held() {
        let reach = match proved(conn, reference.as_str(), login).await? {
            Some(ticket) => reaches(conn, &ticket, login).await?,
            None => Err(Refusal::NotAssigned),
        };
        let word = match reach {
            _ if !is_valid => LOGIN_ENDED,
            Ok(()) => continue,
            Err(_) if matches!(login.who, Who::Contact { .. }) => NOT_NAMED,
            Err(_) => NOT_ASSIGNED,
        };
        grant.0.store(word, Ordering::Release);
    }
    Ok(is_valid)
}

/// Whether a login reaches a ticket; the records failing is no refusal.
async fn reaches(conn: &mut Conn, ticket: &Ticket, login: &LoginState) -> Result<Result<(), Refusal>, Error> {
    match check_reach(conn, ticket, login).await {
        Ok(()) => Ok(Ok(())),
        Err(Error::Refused(refusal)) => Ok(Err(refusal)),
        Err(error) => Err(error),
    }
}
