//! From the reference that somebody typed, as the ticket system writes it and in whatever case, to
//! the ticket's login name.

use super::Tickets;
use crate::model::{Identifier, Reference};
use crate::records::{Conn, deletions, people, tickets};
use crate::repo::Error;

impl Tickets {
    /// The login name of the ticket that somebody means. What is none's is given back as it makes a
    /// login name, so that whoever asks for it next says that there is no such ticket.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn named(&self, typed: &Reference) -> Result<Identifier, Error> {
        named(&mut *self.repo.records.read().await?, typed).await
    }

    /// The same where a ticket can be named, and need not be.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn named_if_any(&self, typed: Option<&Reference>) -> Result<Option<Identifier>, Error> {
        match typed {
            Some(typed) => self.named(typed).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same for a reference that a ticket may have had before it was shredded.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn named_ever(&self, typed: &Reference) -> Result<Identifier, Error> {
        let mut conn = self.repo.records.read().await?;
        // A ticket that is gone keeps nobody from having its name in another case.
        if !deletions::of_ticket(&mut conn, typed.name()).await?.is_empty() {
            return Ok(typed.name().clone());
        }
        let name = named(&mut conn, typed).await?;
        if name != *typed.name() || tickets::by_reference(&mut conn, name.as_str()).await?.is_some() {
            return Ok(name);
        }
        Ok(deletions::named(&mut conn, &name).await?.unwrap_or(name))
    }
}

async fn named(conn: &mut Conn, typed: &Reference) -> Result<Identifier, Error> {
    let name = people::login_name(conn, typed.name().as_str()).await?;
    Ok(name.and_then(|found| found.name.parse().ok()).unwrap_or_else(|| typed.name().clone()))
}

/// That no ticket has the login name that a reference makes.
///
/// # Errors
/// [`Error::Operator`] says which ticket has it; and if the records fail.
pub(super) async fn check_free(conn: &mut Conn, new: &Reference) -> Result<(), Error> {
    let name = named(conn, new).await?;
    let Some(there) = tickets::by_reference(conn, name.as_str()).await? else { return Ok(()) };
    if there.shown == *new {
        return Err(Error::operator(format!("ticket {new} exists already")));
    }
    let name = there.shown.written_otherwise().map_or_else(String::new, |written| format!(", written '{written}',"));
    Err(Error::operator(format!(
        "'{new}' makes the login name {}, which ticket {}{name} has already; upper and lower case are the same, and so are \
         '#', '.', '/', a blank and '-'",
        new.name(),
        there.reference
    )))
}
