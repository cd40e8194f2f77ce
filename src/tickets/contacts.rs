//! Contacts, as operators keep them: people and machines of organisations who log in under a name
//! of their own.

use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Tickets, claim, line, note};
use crate::audit::{Kind, told};
use crate::model::{Identifier, Language, LastDay, Time};
use crate::records::contacts::{self, Contact};
use crate::records::customer_settings::{self, ContactSettings};
use crate::records::{Conn, RecordsError, customer_notices, people, ticket_people};
use crate::repo::Error;
use crate::repo::tickets::{check_address, mark_logins_changed};
use crate::vault::{self, password};

/// Characters of a password that somebody chooses.
const PASSWORD: std::ops::RangeInclusive<usize> = 12..=128;

/// Tickets that are named in a sentence at most.
const NAMED: usize = 10;

/// A contact, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct ContactLine {
    /// The login name.
    pub id: String,
    /// Whose contact it is.
    pub organisation: String,
    /// The person's name.
    pub name: String,
    /// Where mails to the person go.
    pub email: String,
    /// The language of refusals and mails; null: none was chosen.
    pub language: Option<Language>,
    /// The last day in UTC on which the contact may log in; null: there is none.
    pub valid_until: Option<LastDay>,
    /// Whether that day is over.
    pub expired: bool,
    /// Whether the contact may not log in.
    pub disabled: bool,
    /// Whether it is told by mail what support hands back.
    pub mail: bool,
    /// Whether it gets the receipts of what it sent by mail.
    pub receipts: bool,
    /// Whether there is a password.
    pub password: bool,
    /// The fingerprints of its keys.
    pub keys: Vec<String>,
}

/// What adding a contact needs.
#[derive(Debug, Clone)]
pub struct NewContact {
    /// The login name.
    pub id: Identifier,
    /// Whose contact it is.
    pub organisation: Identifier,
    /// The person's name; without one, the id.
    pub name: Option<String>,
    /// Where mails to the person go.
    pub email: String,
    /// The language of refusals and mails.
    pub language: Option<Language>,
    /// The last day on which the contact may log in.
    pub valid_until: Option<LastDay>,
    /// Its keys, each as fingerprint and algorithm.
    pub keys: Vec<(String, String)>,
}

/// What is to be changed of a contact; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct ContactChanges {
    /// The person's name.
    pub name: Option<String>,
    /// Where mails to the person go.
    pub email: Option<String>,
    /// The language of refusals and mails.
    pub language: Option<Language>,
    /// The last day on which the contact may log in; the inner none takes it away.
    pub valid_until: Option<Option<LastDay>>,
    /// Whether it is told by mail what support hands back.
    pub mail: Option<bool>,
    /// Whether it gets the receipts of what it sent by mail.
    pub receipts: Option<bool>,
}

/// A password for a contact.
#[derive(Debug)]
pub enum NewPassword {
    /// The server makes one.
    Made,
    /// Somebody chose it.
    Chosen(Zeroizing<String>),
    /// There shall be none: only keys.
    Removed,
}

impl Tickets {
    /// Adds a contact.
    ///
    /// # Errors
    /// If the id is taken, there is no such organisation, the address is none, or the records fail.
    pub async fn add_contact(&self, new: NewContact) -> Result<(), Error> {
        check_address(&new.email)?;
        let mut tx = self.repo.records.begin().await?;
        if people::organisations(tx.conn(), Some(&new.organisation)).await?.is_empty() {
            let organisation = &new.organisation;
            return Err(Error::operator(format!(
                "there is no organisation {organisation}; add it with 'tacdrop organisation add'"
            )));
        }
        claim(tx.conn(), &new.id, "contact").await?;
        let name = line("name", new.name.unwrap_or_else(|| new.id.to_string()))?;
        let row = Contact {
            id: new.id,
            organisation: new.organisation,
            name,
            email: new.email,
            language: new.language,
            password: None,
            password_generation: 0,
            valid_until: new.valid_until,
            disabled_at: None,
            proof: Default::default(),
        };
        contacts::add(tx.conn(), self.prover(), &row, Time::now()).await?;
        let fingerprints: Vec<String> = new.keys.iter().map(|(fingerprint, _)| fingerprint.clone()).collect();
        for key in new.keys {
            contacts::add_key(tx.conn(), self.prover(), &row.id, key, Time::now()).await?;
        }
        let mut detail = self.said_of(&row, &ContactSettings::plain(row.id.clone()));
        detail["organisation"] = json!(row.organisation.as_str());
        detail["keys"] = json!(fingerprints);
        note(tx.conn(), Kind::ContactAdded, None, detail).await?;
        Ok(tx.commit().await?)
    }

    /// What the trail says of a contact: not the address, which is a person's, only what it can be
    /// compared with.
    fn said_of(&self, row: &Contact, set: &ContactSettings) -> Value {
        json!({
            "contact": row.id.as_str(),
            "address": told::address(self.repo.keys.trail(), row.id.as_str(), &row.email),
            "until": row.valid_until,
            "mail": set.mail,
            "receipts": set.receipts,
        })
    }

    /// All contacts, or those of an organisation.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn contacts(&self, organisation: Option<&Identifier>) -> Result<Vec<ContactLine>, Error> {
        let mut conn = self.repo.records.read().await?;
        let mut lines = Vec::new();
        for row in contacts::list(&mut conn).await? {
            if organisation.is_none_or(|organisation| row.organisation == *organisation) {
                lines.push(contact_line(&mut conn, row).await?);
            }
        }
        Ok(lines)
    }

    /// One contact.
    ///
    /// # Errors
    /// If there is no such contact, or the records fail.
    pub async fn contact(&self, id: &Identifier) -> Result<ContactLine, Error> {
        let mut conn = self.repo.records.read().await?;
        let row = existing_contact(&mut conn, id).await?;
        contact_line(&mut conn, row).await
    }

    /// Changes what is known of a contact. A login ends within a second if the last day is over by
    /// that.
    ///
    /// # Errors
    /// If there is no such contact, the address is none, nothing is to be changed, or the records
    /// fail.
    pub async fn change_contact(&self, id: &Identifier, changes: ContactChanges) -> Result<(), Error> {
        let ContactChanges { name, email, language, valid_until, mail, receipts } = changes;
        if let Some(email) = &email {
            check_address(email)?;
        }
        let name = name.map(|name| line("name", name)).transpose()?;
        let changed: Vec<&str> = [
            ("name", name.is_some()),
            ("email", email.is_some()),
            ("language", language.is_some()),
            ("until", valid_until.is_some()),
            ("mail", mail.is_some()),
            ("receipts", receipts.is_some()),
        ]
        .into_iter()
        .filter_map(|(what, is)| is.then_some(what))
        .collect();
        if changed.is_empty() {
            return Err(Error::operator("nothing is to be changed; name an option, as --email"));
        }
        let mut tx = self.repo.records.begin().await?;
        let before = existing_contact(tx.conn(), id).await?;
        contacts::change(tx.conn(), self.prover(), id, |row| {
            row.name = name.unwrap_or_else(|| std::mem::take(&mut row.name));
            row.email = email.unwrap_or_else(|| std::mem::take(&mut row.email));
            row.language = language.or(row.language);
            row.valid_until = valid_until.unwrap_or(row.valid_until);
        })
        .await?;
        if mail.is_some() || receipts.is_some() {
            customer_settings::change_contact(tx.conn(), self.prover(), id, |set| {
                set.mail = mail.unwrap_or(set.mail);
                set.receipts = receipts.unwrap_or(set.receipts);
            })
            .await?;
        }
        mark_logins_changed(tx.conn()).await?;
        let after = existing_contact(tx.conn(), id).await?;
        if after.email != before.email {
            customer_notices::moved(tx.conn(), id, Time::now()).await?;
        }
        let set = customer_settings::of_contact(tx.conn(), id).await?;
        let mut detail = self.said_of(&after, &set.unwrap_or_else(|| ContactSettings::plain(id.clone())));
        detail["changed"] = json!(changed);
        note(tx.conn(), Kind::ContactChanged, None, detail).await?;
        Ok(tx.commit().await?)
    }

    /// Ends a contact's logins, or lets it log in again. Sessions end within a second.
    ///
    /// # Errors
    /// If there is no such contact, it stands so already, or the records fail.
    pub async fn set_contact_enabled(&self, id: &Identifier, enabled: bool) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        if existing_contact(tx.conn(), id).await?.disabled_at.is_none() == enabled {
            let state = if enabled { "enabled" } else { "disabled" };
            return Err(Error::operator(format!("contact {id} is {state} already")));
        }
        let since = (!enabled).then(Time::now);
        contacts::change(tx.conn(), self.prover(), id, |row| row.disabled_at = since).await?;
        mark_logins_changed(tx.conn()).await?;
        let kind = if enabled { Kind::ContactEnabled } else { Kind::ContactDisabled };
        note(tx.conn(), kind, None, json!({ "contact": id.as_str() })).await?;
        Ok(tx.commit().await?)
    }

    /// Removes a contact with its keys and its password. What it sent stays, and its name is never
    /// given to anybody else.
    ///
    /// # Errors
    /// If there is no such contact, it is named on a ticket, or the records fail.
    pub async fn remove_contact(&self, id: &Identifier) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        existing_contact(tx.conn(), id).await?;
        let named = ticket_people::tickets_of(tx.conn(), id).await?;
        if !named.is_empty() {
            let first: Vec<_> = named.iter().take(NAMED).map(|named| named.ticket.as_str()).collect();
            let more = named.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            return Err(Error::operator(format!(
                "contact {id} is named on {}{more}; take it off with 'tacdrop ticket edit REF --no-contact {id}', or only \
                 disable it",
                first.join(", ")
            )));
        }
        customer_settings::remove_contact(tx.conn(), id).await?;
        contacts::remove(tx.conn(), id).await?;
        mark_logins_changed(tx.conn()).await?;
        note(tx.conn(), Kind::ContactRemoved, None, json!({ "contact": id.as_str() })).await?;
        Ok(tx.commit().await?)
    }

    /// Lets a contact log in with more keys, each a fingerprint and an algorithm: with all of them or
    /// with none.
    ///
    /// # Errors
    /// If there is no such contact, it has one of the keys already, or the records fail.
    pub async fn add_contact_keys(&self, id: &Identifier, keys: Vec<(String, String)>) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        existing_contact(tx.conn(), id).await?;
        for key in keys {
            let fingerprint = key.0.clone();
            match contacts::add_key(tx.conn(), self.prover(), id, key, Time::now()).await {
                Err(RecordsError::Exists) => {
                    return Err(Error::operator(format!("contact {id} has the key {fingerprint} already")));
                }
                other => other?,
            }
            let detail = json!({ "contact": id.as_str(), "key": fingerprint });
            note(tx.conn(), Kind::ContactKeyAdded, None, detail).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Takes keys away: all of them or none. Sessions that logged in with one end within a second.
    ///
    /// # Errors
    /// If there is no such contact, it lacks one of the keys, or the records fail.
    pub async fn remove_contact_keys(&self, id: &Identifier, fingerprints: &[String]) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        existing_contact(tx.conn(), id).await?;
        for fingerprint in fingerprints {
            if !contacts::remove_key(tx.conn(), id, fingerprint).await? {
                return Err(Error::operator(format!(
                    "contact {id} has no key {fingerprint}; 'tacdrop contact show {id}' shows them"
                )));
            }
            let detail = json!({ "contact": id.as_str(), "key": fingerprint });
            note(tx.conn(), Kind::ContactKeyRemoved, None, detail).await?;
        }
        mark_logins_changed(tx.conn()).await?;
        Ok(tx.commit().await?)
    }

    /// Gives a contact a password, or takes it away. Sessions of the old one end within a second.
    /// What was made is shown this once; only what cannot be turned back is kept.
    ///
    /// # Errors
    /// If there is no such contact, the password is too short or too long, or the records fail.
    pub async fn set_password(&self, id: &Identifier, new: NewPassword) -> Result<Option<Zeroizing<String>>, Error> {
        let (password, made) = match new {
            NewPassword::Made => (Some(vault::new_token()?), true),
            NewPassword::Chosen(password) => (Some(password), false),
            NewPassword::Removed => (None, false),
        };
        if let Some(password) = &password {
            check_password(password)?;
        }
        let secret = password.as_ref().map(|password| self.repo.keys.token().hash(id.as_str(), password));
        let kept = secret.map(|secret| password::keep(&secret)).transpose()?;
        let mut tx = self.repo.records.begin().await?;
        existing_contact(tx.conn(), id).await?;
        contacts::change(tx.conn(), self.prover(), id, |row| {
            row.password = kept.map(Vec::from);
            row.password_generation += 1;
        })
        .await?;
        mark_logins_changed(tx.conn()).await?;
        let detail = json!({ "contact": id.as_str(), "password": password.is_some() });
        note(tx.conn(), Kind::ContactPasswordSet, None, detail).await?;
        tx.commit().await?;
        Ok(password.filter(|_| made))
    }
}

fn check_password(password: &str) -> Result<(), Error> {
    let fits = PASSWORD.contains(&password.chars().count()) && !password.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    let (least, most) = (PASSWORD.start(), PASSWORD.end());
    Err(Error::operator(format!("a password is {least} to {most} characters on one line")))
}

async fn existing_contact(conn: &mut Conn, id: &Identifier) -> Result<Contact, Error> {
    contacts::by_id(conn, id.as_str())
        .await?
        .ok_or_else(|| Error::operator(format!("there is no contact {id}; 'tacdrop contact list' shows them")))
}

async fn contact_line(conn: &mut Conn, row: Contact) -> Result<ContactLine, Error> {
    let keys = contacts::keys(conn, &row.id).await?;
    let set = customer_settings::of_contact(conn, &row.id).await?;
    let set = set.unwrap_or_else(|| ContactSettings::plain(row.id.clone()));
    Ok(ContactLine {
        mail: set.mail,
        receipts: set.receipts,
        expired: row.is_expired(Time::now()),
        id: row.id.to_string(),
        organisation: row.organisation.to_string(),
        name: row.name,
        email: row.email,
        language: row.language,
        valid_until: row.valid_until,
        disabled: row.disabled_at.is_some(),
        password: row.password.is_some(),
        keys: keys.into_iter().map(|key| key.fingerprint).collect(),
    })
}
