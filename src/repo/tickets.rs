//! What is asked of tickets and people before something is done for them.

use crate::mail::is_address;
use crate::model::{Identifier, Refusal, Time};
use crate::records::organisations::{self, Organisation};
use crate::records::people::{self, Engineer};
use crate::records::tickets::{self, Ticket};
use crate::records::{Conn, deletions, facts};
use crate::repo::{Error, Settings};
use crate::vault;

/// The ticket of this reference, which an operator typed.
///
/// # Errors
/// [`Error::Operator`] if there is none, or it is being shredded; and if the records fail.
pub(crate) async fn existing_ticket(conn: &mut Conn, reference: &Identifier) -> Result<Ticket, Error> {
    let ticket = ticket_or_rest(conn, reference).await?;
    if deletions::is_begun(conn, ticket.share).await? {
        return Err(Error::operator(format!(
            "ticket {reference} is being shredded and nothing can be done with it any more; the server ends that within a \
             minute, and so does 'tacdrop ticket shred {reference} --yes'"
        )));
    }
    Ok(ticket)
}

/// The same, or what is left of one that is being shredded.
///
/// # Errors
/// [`Error::Operator`] if there is none; and if the records fail.
pub(crate) async fn ticket_or_rest(conn: &mut Conn, reference: &Identifier) -> Result<Ticket, Error> {
    tickets::by_reference(conn, reference.as_str())
        .await?
        .ok_or_else(|| Error::operator(format!("there is no ticket {reference}; 'tacdrop ticket list' shows them")))
}

/// The organisation of this id, which an operator typed.
///
/// # Errors
/// [`Error::Operator`] if there is none; and if the records fail.
pub(crate) async fn existing_organisation(conn: &mut Conn, id: &Identifier) -> Result<Organisation, Error> {
    organisations::by_id(conn, id).await?.ok_or_else(|| {
        Error::operator(format!("there is no organisation {id}; add it with 'tacdrop organisation add'"))
    })
}

/// Whether an organisation's customers may log in, so that it can be given a ticket.
///
/// # Errors
/// [`Error::Operator`] if there is no such organisation, it is disabled, or its contract has ended;
/// and if the records fail.
pub(crate) async fn check_admitting(conn: &mut Conn, id: &Identifier) -> Result<(), Error> {
    let row = existing_organisation(conn, id).await?;
    if row.disabled_at.is_some() {
        let advice = format!("'tacdrop organisation enable {id}' admits its customers again");
        return Err(Error::operator(format!("organisation {id} is disabled; {advice}")));
    }
    match row.until.filter(|day| day.is_over(Time::now())) {
        Some(day) => Err(Error::operator(format!(
            "the contract of organisation {id} ended on {day}; 'tacdrop organisation edit {id} --until DATE' prolongs it"
        ))),
        None => Ok(()),
    }
}

/// The engineer of this id, which an operator typed.
///
/// # Errors
/// [`Error::Operator`] if there is none; and if the records fail.
pub(crate) async fn existing_engineer(conn: &mut Conn, id: &Identifier) -> Result<Engineer, Error> {
    people::engineers(conn, Some(id.as_str()))
        .await?
        .into_iter()
        .next()
        .ok_or_else(|| Error::operator(format!("there is no engineer {id}; add one with 'tacdrop engineer add'")))
}

/// Whether an engineer may be given something.
///
/// # Errors
/// [`Error::Operator`] if there is no such engineer or the engineer is disabled; and if the records
/// fail.
pub(crate) async fn check_enabled(conn: &mut Conn, id: &Identifier) -> Result<(), Error> {
    match existing_engineer(conn, id).await?.disabled_at {
        Some(_) => Err(Error::operator(format!("engineer {id} is disabled"))),
        None => Ok(()),
    }
}

/// That a text is a mail address.
///
/// # Errors
/// A sentence that says that it is none.
pub(crate) fn check_address(text: &str) -> Result<(), Error> {
    if is_address(text) { Ok(()) } else { Err(Error::operator("that is no mail address; one is written name@domain")) }
}

/// The fact that changes with every token, key or person that is no longer valid.
const LOGINS_CHANGED: &str = "logins_changed";

/// Says that open logins must be compared with the records, in the transaction that changed who may
/// log in.
///
/// # Errors
/// If the records fail, or the system gives no random bytes.
pub(crate) async fn mark_logins_changed(conn: &mut Conn) -> Result<(), Error> {
    let mark = hex::encode(vault::random::array::<8>()?);
    Ok(facts::set_fact(conn, LOGINS_CHANGED, &mark).await?)
}

/// The last mark that was set so; none if there never was one.
///
/// # Errors
/// If the records fail.
pub(crate) async fn logins_changed(conn: &mut Conn) -> Result<Option<String>, Error> {
    Ok(facts::fact(conn, LOGINS_CHANGED).await?)
}

/// Whether a ticket's share may get one more name.
///
/// # Errors
/// [`Refusal::TooManyNames`] if it has as many as it may have; and if the records fail.
pub(crate) async fn check_room_for_name(
    conn: &mut Conn,
    ticket: &Identifier,
    settings: &Settings,
) -> Result<(), Error> {
    match tickets::by_reference(conn, ticket.as_str()).await? {
        Some(ticket) if ticket.names >= settings.names_per_share => Err(Refusal::TooManyNames.into()),
        _ => Ok(()),
    }
}
