//! As what a login comes to a ticket, and whether it may still do what it has begun there: a ticket
//! goes to another engineer, is closed, names other contacts, or gets a new token, while handles of
//! the login are open. What may be done as what stands in one table, `model/rights`.
//!
//! What changes something asks [`may_change`] in the transaction that changes it. What only looks
//! asks its [`Grant`] before each operation; a task takes grants back, or tells them what is so now,
//! soon after the records have changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::login::Login;
use crate::login::contacts::still_valid;
use crate::login::{LoginState, Who, tokens};
use crate::model::rights::{Operation, Rights, Role, Side};
use crate::model::{Identifier, Locked, LockedGuard, Refusal, Role as Office, TicketStatus, Time};
use crate::records::ticket_people::TicketPeople;
use crate::records::tickets::{self, Ticket};
use crate::records::{Conn, people, teams, ticket_people};
use crate::repo::Error;
use crate::repo::seen::names;

/// Whether a login may do something in a ticket's share now; and the generation of the share's keys
/// that is in force.
///
/// # Errors
/// What the table of rights says; [`Refusal::NotAssigned`], [`Refusal::NotNamed`] or
/// [`Refusal::LoginEnded`] to whom the ticket does not know any more.
pub(crate) async fn may_change(
    conn: &mut Conn,
    ticket: &Identifier,
    login: &Login,
    (operation, side): (Operation, Side),
) -> Result<u32, Error> {
    let row = existing(conn, ticket, &login.0).await?;
    refresh_office(conn, &login.0).await?;
    of(conn, &row, &login.0).await?.check(operation, side)?;
    Ok(row.key_generation)
}

/// Whether what a login has sent so far may be kept unfinished; and the generation as above. A
/// ticket's new token is for the same people, who go on with it, and what a contact has sent is its
/// organisation's; what an engineer was about to hand back ends with the assignment.
///
/// # Errors
/// [`Refusal::TicketClosed`] or [`Refusal::NotAssigned`].
pub(crate) async fn may_keep(conn: &mut Conn, ticket: &Identifier, login: &Login) -> Result<u32, Error> {
    let row = existing(conn, ticket, &login.0).await?;
    match of(conn, &row, &login.0).await {
        Ok(_) | Err(Error::Refused(Refusal::LoginEnded | Refusal::NotNamed)) => {}
        Err(refusal) => return Err(refusal),
    }
    match row.status {
        TicketStatus::Closed => Err(Refusal::TicketClosed.into()),
        TicketStatus::Open | TicketStatus::Waiting => Ok(row.key_generation),
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
        tokens::look(conn, login, ticket).await?;
        if !login.has_ended() {
            login.remember(ticket);
        }
    }
    Ok(ticket)
}

/// Whether an engineer is a member of a ticket's team.
async fn is_member(conn: &mut Conn, people: Option<&TicketPeople>, login: &LoginState) -> Result<bool, Error> {
    let Some(team) = people.and_then(|people| people.team.as_ref()) else { return Ok(false) };
    Ok(teams::member_of(conn, team, &login.user).await?.is_some_and(|member| login.holds(&member)))
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
        Who::Engineer { .. } if login.0.office() != Office::Engineer => tickets::from(conn, after, most).await?,
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

/// As what a login comes to a ticket now.
///
/// # Errors
/// As a refusal, if the ticket does not know it; and if the records fail.
pub(crate) async fn of(conn: &mut Conn, ticket: &Ticket, login: &LoginState) -> Result<Rights, Error> {
    // Who works on it as its engineer is asked for with each path, and nothing is denied to it.
    let is_assigned = matches!(login.who, Who::Engineer { .. }) && ticket.engineer == login.user;
    let people = if is_assigned { None } else { ticket_people::of(conn, &ticket.reference).await? };
    if people.as_ref().is_some_and(|people| !login.holds(people)) {
        // What it denies is not known.
        return Err(Refusal::LoginEnded.into());
    }
    let role = match &login.who {
        Who::Ticket { .. } if ticket.reference != login.user || login.has_ended() => {
            return Err(Refusal::LoginEnded.into());
        }
        Who::Ticket { upload_only, .. } => of_token(ticket, *upload_only),
        Who::Contact { by } => match still_valid(conn, login, by).await? {
            None => return Err(Refusal::LoginEnded.into()),
            Some(contact) if !names(conn, ticket, people.as_ref(), &contact, |named| login.holds(named)).await? => {
                return Err(Refusal::NotNamed.into());
            }
            Some(_) => Role::Contact,
        },
        Who::Engineer { .. } => match login.office() {
            Office::Lead => Role::Lead,
            Office::Auditor => Role::Auditor,
            Office::Engineer if is_assigned => Role::Engineer,
            Office::Engineer if is_member(conn, people.as_ref(), login).await? => Role::Member,
            Office::Engineer if stands_in(conn, ticket, login).await? => Role::Deputy,
            Office::Engineer => return Err(Refusal::NotAssigned.into()),
        },
    };
    Ok(known(ticket, people.as_ref(), login, role))
}

/// As what a login by a ticket's token begins. Its rows hold, as whoever calls this has seen.
pub(super) fn begins(ticket: &Ticket, people: Option<&TicketPeople>, login: &LoginState) {
    if let Who::Ticket { upload_only, .. } = login.who {
        known(ticket, people, login, of_token(ticket, upload_only));
    }
}

fn of_token(ticket: &Ticket, upload_only: bool) -> Role {
    match upload_only {
        true if ticket.device => Role::Device,
        true => Role::UploadOnly,
        false => Role::Ticket,
    }
}

/// The rights of this role in a ticket as it stands. A ticket's own login remembers them.
fn known(ticket: &Ticket, people: Option<&TicketPeople>, login: &LoginState, role: Role) -> Rights {
    let denied = people.map(|people| people.denied).unwrap_or_default();
    let rights = Rights { role, denied, status: ticket.status };
    if login.user == ticket.reference {
        login.own.store(rights.to_bits(), Ordering::Release);
        login.note_end(ticket);
    }
    rights
}

/// Whether an engineer stands in for a ticket's engineer, who is away.
async fn stands_in(conn: &mut Conn, ticket: &Ticket, login: &LoginState) -> Result<bool, Error> {
    let row = people::engineers(conn, Some(ticket.engineer.as_str())).await?.into_iter().next();
    let Some(row) = row.filter(|row| login.holds(row)) else { return Ok(false) };
    let Some(away) = row.away.filter(|away| away.deputy == login.user && away.lasts(Time::now())) else {
        return Ok(false);
    };
    // Nobody changes anything when an absence ends.
    login.look_again_at(away.to.end());
    Ok(true)
}

/// What the engineer of a login is to the house, as the records say now.
///
/// # Errors
/// [`Refusal::LoginEnded`] if the engineer may not log in any more; and if the records fail.
async fn refresh_office(conn: &mut Conn, login: &LoginState) -> Result<(), Error> {
    if !matches!(login.who, Who::Engineer { .. }) {
        return Ok(());
    }
    let row = people::engineers(conn, Some(login.user.as_str())).await?.into_iter().next();
    match row.filter(|row| row.disabled_at.is_none() && login.holds(row)) {
        Some(row) => login.set_office(row.role),
        None => return Err(Refusal::LoginEnded.into()),
    }
    Ok(())
}

/// Held by everything that a login has open in a ticket's share: what the table of rights is asked
/// about it before each operation. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    word: Arc<AtomicU32>,
    operation: Operation,
    side: Side,
}

/// What the highest byte of a grant's word says: nothing against going on, that the ticket went to
/// somebody else, that the login is no longer valid, or that the contact is no longer one of the
/// ticket's. The other bytes are the [`Rights`] that the login had last.
const GOES_ON: u32 = 0;
const NOT_ASSIGNED: u32 = 1;
const LOGIN_ENDED: u32 = 2;
const NOT_NAMED: u32 = 3;
const VERDICT: u32 = 24;

impl Grant {
    /// Whether the login may go on with what it opened this for.
    ///
    /// # Errors
    /// What the table of rights says; [`Refusal::NotAssigned`], [`Refusal::NotNamed`] or
    /// [`Refusal::LoginEnded`].
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        self.check_for(self.operation)
    }

    /// The same for something else that it does with it.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(crate) fn check_for(&self, operation: Operation) -> Result<(), Refusal> {
        self.goes_on()?.check(operation, self.side)
    }

    /// Whether the ticket still knows the login, and as what.
    ///
    /// # Errors
    /// [`Refusal::NotAssigned`], [`Refusal::NotNamed`] or [`Refusal::LoginEnded`].
    pub(crate) fn goes_on(&self) -> Result<Rights, Refusal> {
        let word = self.word.load(Ordering::Acquire);
        match word >> VERDICT {
            GOES_ON => Ok(Rights::from_bits(word)),
            NOT_ASSIGNED => Err(Refusal::NotAssigned),
            NOT_NAMED => Err(Refusal::NotNamed),
            _ => Err(Refusal::LoginEnded),
        }
    }
}

/// The grants of one login, by ticket; no more of them than it has handles open.
#[derive(Debug, Default)]
pub(crate) struct Grants(Locked<HashMap<Identifier, Arc<AtomicU32>>>);

impl Grants {
    /// The grant for something that is opened in a ticket's share now.
    pub(crate) fn of(&self, ticket: &Identifier, rights: Rights, operation: Operation, side: Side) -> Grant {
        let mut grants = self.lock();
        grants.retain(|of, word| of == ticket || Arc::strong_count(word) > 1);
        let known = grants.get(ticket).filter(|word| word.load(Ordering::Acquire) >> VERDICT == GOES_ON);
        let word = match known {
            Some(word) => Arc::clone(word),
            None => {
                let word = Arc::new(AtomicU32::new(rights.to_bits()));
                grants.insert(ticket.clone(), Arc::clone(&word));
                word
            }
        };
        Grant { word, operation, side }
    }

    /// The tickets in which something is open.
    pub(crate) fn tickets(&self) -> Vec<Identifier> {
        let mut tickets: Vec<Identifier> = self.held().into_iter().map(|(ticket, _)| ticket).collect();
        tickets.sort();
        tickets
    }

    fn held(&self) -> Vec<(Identifier, Arc<AtomicU32>)> {
        let mut grants = self.lock();
        grants.retain(|_, word| Arc::strong_count(word) > 1);
        grants.iter().map(|(ticket, word)| (ticket.clone(), Arc::clone(word))).collect()
    }

    fn lock(&self) -> LockedGuard<'_, HashMap<Identifier, Arc<AtomicU32>>> {
        self.0.lock()
    }
}

/// Whether a login is one that the records still allow. Grants for tickets that it no longer
/// reaches are taken back, and the others say what it may by now.
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
                login.set_office(engineer.role);
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
            _ if !is_valid => LOGIN_ENDED << VERDICT,
            Ok(rights) => rights.to_bits(),
            Err(Refusal::LoginEnded) => LOGIN_ENDED << VERDICT,
            Err(_) if matches!(login.who, Who::Contact { .. }) => NOT_NAMED << VERDICT,
            Err(_) => NOT_ASSIGNED << VERDICT,
        };
        // What was taken back once stays so: whoever may again opens it anew.
        let _ =
            grant.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now >> VERDICT == GOES_ON).then_some(word));
    }
    Ok(is_valid)
}

/// Whether a login reaches a ticket; the records failing is no refusal.
async fn reaches(conn: &mut Conn, ticket: &Ticket, login: &LoginState) -> Result<Result<Rights, Refusal>, Error> {
    match of(conn, ticket, login).await {
        Ok(rights) => Ok(Ok(rights)),
        Err(Error::Refused(refusal)) => Ok(Err(refusal)),
        Err(error) => Err(error),
    }
}
