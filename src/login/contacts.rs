//! Logins of contacts: by a password or a key, under a name of their own.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Login, LoginState, Logins, Origin, Who};
use crate::model::{Refusal, Time};
use crate::records::Conn;
use crate::records::contacts::{self, Contact};
use crate::records::organisations::{self, Organisation};
use crate::records::ticket_people::{self, TicketPeople};
use crate::records::tickets::Ticket;
use crate::repo::Error;

/// What a contact logged in with.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    /// A password.
    Password {
        /// Which one it was: a newer one ends the login.
        generation: i64,
    },
    /// A key.
    Key {
        /// Once it is removed, the login ends.
        fingerprint: String,
    },
}

impl Credential {
    /// What the trail says of it.
    pub(super) fn detail(&self) -> Value {
        match self {
            Self::Password { .. } => json!({ "by": "password" }),
            Self::Key { fingerprint } => json!({ "by": "key", "key": fingerprint }),
        }
    }
}

impl Logins {
    /// Checks a contact's password. Also asked about what was no ticket's token, whatever name it
    /// came with: the same is read and computed for each.
    pub(super) async fn by_password(&self, user: &str, secret: &str, origin: Origin) -> Result<Option<Login>, Refusal> {
        let found = self.contact(user).await?;
        let kept = found.as_ref().and_then(|contact| contact.password.clone());
        let generation = found.as_ref().map(|contact| contact.password_generation);
        let is_right = self.passwords.is_kept(self.repo.keys.token().hash(user, secret), kept).await?;
        // It took a moment: what the row says now counts.
        let contact = self.contact(user).await?.filter(|contact| {
            is_right && !origin.transport.is_weak() && generation == Some(contact.password_generation)
        });
        let contact = match contact {
            Some(contact) if self.may_log_in(&contact, origin.address).await? => Some(contact),
            _ => None,
        };
        let Some(contact) = contact else {
            tracing::info!(from = %origin.address, "a token or a password was refused");
            self.refuse(user, if generation.is_some() { "password" } else { "token" }, origin.address).await;
            return Ok(None);
        };
        let by = Credential::Password { generation: contact.password_generation };
        self.admit_contact(contact, by, origin).await.map(Some)
    }

    /// The contact who may log in as `user` with this key.
    pub(super) async fn contact_with_key(
        &self,
        user: &str,
        fingerprint: &str,
        from: IpAddr,
    ) -> Result<Option<Contact>, Refusal> {
        let key = async { contacts::key_of(&mut *self.repo.records.read().await?, user, fingerprint).await };
        let (key, contact) = (key.await.map_err(Error::from)?, self.contact(user).await?);
        Ok(match (key, contact) {
            (Some(key), Some(contact)) if self.holds(&key, from) && self.may_log_in(&contact, from).await? => {
                Some(contact)
            }
            _ => None,
        })
    }

    /// Opens a contact's login whose credential was checked.
    pub(super) async fn admit_contact(
        &self,
        contact: Contact,
        by: Credential,
        origin: Origin,
    ) -> Result<Login, Refusal> {
        let organisation = self.organisation_of(&contact).await?;
        let language = contact.language.unwrap_or_default();
        let login = self.admit(contact.id, Who::Contact { by }, language, None, origin).await?;
        let of_organisation = organisation.and_then(|organisation| organisation.until);
        let until = contact.valid_until.into_iter().chain(of_organisation).map(|day| day.end()).min();
        if let Some(until) = until {
            login.0.set_until(until);
        }
        Ok(login)
    }

    /// What a ticket says of its people, if it says anything.
    pub(super) async fn people_of(&self, ticket: &Ticket) -> Result<Option<TicketPeople>, Refusal> {
        let found = async { ticket_people::of(&mut *self.repo.records.read().await?, &ticket.reference).await };
        Ok(found.await.map_err(Error::from)?)
    }

    /// Takes every place in the queue of passwords.
    #[cfg(test)]
    pub(crate) fn hold_all_places(&self) -> impl Drop + use<> {
        self.passwords.hold_all_places()
    }

    async fn contact(&self, user: &str) -> Result<Option<Contact>, Refusal> {
        let found = async { contacts::by_id(&mut *self.repo.records.read().await?, user).await };
        Ok(found.await.map_err(Error::from)?)
    }

    async fn organisation_of(&self, contact: &Contact) -> Result<Option<Organisation>, Refusal> {
        let found = async { organisations::by_id(&mut *self.repo.records.read().await?, &contact.organisation).await };
        Ok(found.await.map_err(Error::from)?)
    }

    /// Whether a contact may log in, and its organisation still admits its customers.
    async fn may_log_in(&self, contact: &Contact, from: IpAddr) -> Result<bool, Refusal> {
        let organisation = self.organisation_of(contact).await?;
        let admits = organisation.is_some_and(|row| row.admits(Time::now()) && self.holds(&row, from));
        Ok(admits && self.holds(contact, from) && contact.may_log_in(Time::now()))
    }
}

/// The contact of a login, if what it logged in with is still valid.
pub(super) async fn still_valid(
    conn: &mut Conn,
    login: &LoginState,
    by: &Credential,
) -> Result<Option<Contact>, Error> {
    let user = login.user.as_str();
    let contact = contacts::by_id(conn, user).await?;
    let Some(contact) = contact.filter(|contact| login.holds(contact) && contact.may_log_in(Time::now())) else {
        return Ok(None);
    };
    let organisation = organisations::by_id(conn, &contact.organisation).await?;
    if !organisation.is_some_and(|row| row.admits(Time::now()) && login.holds(&row)) {
        return Ok(None);
    }
    let is_valid = match by {
        Credential::Password { generation } => contact.password_generation == *generation,
        Credential::Key { fingerprint } => {
            contacts::key_of(conn, user, fingerprint).await?.is_some_and(|key| login.holds(&key))
        }
    };
    Ok(is_valid.then_some(contact))
}
