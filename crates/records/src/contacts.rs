//! Contacts: people and machines of organisations who log in under a name of their own, and their
//! keys.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::proofs::{Proof, Proved, Prover, language_field, proof, time_field};
use super::{Conn, RecordsError, text_as, text_as_option};
use tacdrop_model::{Identifier, Language, LastDay, Time};

/// A person or a machine of an organisation.
#[derive(Debug, Clone)]
pub struct Contact {
    /// The id, which is the login name too.
    pub id: Identifier,
    /// Whose it is.
    pub organisation: Identifier,
    /// The person's name.
    pub name: String,
    /// Where mails to the person go.
    pub email: String,
    /// The language of refusals and mails, if the person chose one.
    pub language: Option<Language>,
    /// What is kept of the password, if there is one.
    pub password: Option<Vec<u8>>,
    /// How many passwords there were.
    pub password_generation: i64,
    /// The last day on which the contact may log in, if there is one.
    pub valid_until: Option<LastDay>,
    /// Since when the contact may not log in any more.
    pub disabled_at: Option<Time>,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl Contact {
    /// Whether the contact may log in at this moment.
    pub fn may_log_in(&self, now: Time) -> bool {
        self.disabled_at.is_none() && !self.is_expired(now)
    }

    /// Whether its last day is over.
    pub fn is_expired(&self, now: Time) -> bool {
        self.valid_until.is_some_and(|day| day.is_over(now))
    }
}

impl Proved for Contact {
    const TABLE: &'static str = "contact";
    const LABEL: &'static str = "proof of contact, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        let (disabled_at, until) = (time_field(self.disabled_at), day(self.valid_until).unwrap_or_default());
        read(&[
            self.id.as_str().as_bytes(),
            self.organisation.as_str().as_bytes(),
            self.email.as_bytes(),
            language_field(self.language),
            self.password.as_deref().unwrap_or_default(),
            &self.password_generation.to_be_bytes(),
            until.as_bytes(),
            &disabled_at,
        ])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        self.id.to_string()
    }
}

/// A public key that a contact may log in with.
#[derive(Debug, Clone)]
pub struct ContactKey {
    /// Whose it is.
    pub contact: Identifier,
    /// `SHA256:...` as OpenSSH shows it.
    pub fingerprint: String,
    /// `ssh-ed25519` and the like.
    pub algorithm: String,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl Proved for ContactKey {
    const TABLE: &'static str = "contact_key";
    const LABEL: &'static str = "proof of contact key, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        read(&[self.contact.as_str().as_bytes(), self.fingerprint.as_bytes(), self.algorithm.as_bytes()])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        format!("{} {}", self.contact, self.fingerprint)
    }
}

/// A day as it stands in the records.
fn day(day: Option<LastDay>) -> Option<String> {
    day.map(|day| day.to_string())
}

/// The columns of a [`Contact`], and what follows them in the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.organisation, c.name, c.email, c.language, c.password, c.password_generation, \
             c.valid_until, c.disabled_at, c.proof FROM contact c ",
            $rest
        )
    };
}

fn contact(row: &SqliteRow) -> Result<Contact, RecordsError> {
    Ok(Contact {
        id: text_as(row, "contact", "id")?,
        organisation: text_as(row, "contact", "organisation")?,
        name: row.try_get("name")?,
        email: row.try_get("email")?,
        language: text_as_option(row, "contact", "language")?,
        password: row.try_get("password")?,
        password_generation: row.try_get("password_generation")?,
        valid_until: text_as_option(row, "contact", "valid_until")?,
        disabled_at: row.try_get::<Option<i64>, _>("disabled_at")?.map(Time::from_millis),
        proof: proof(row, "proof"),
    })
}

fn key(row: &SqliteRow) -> Result<ContactKey, RecordsError> {
    Ok(ContactKey {
        contact: text_as(row, "contact_key", "contact")?,
        fingerprint: row.try_get("fingerprint")?,
        algorithm: row.try_get("algorithm")?,
        proof: proof(row, "proof"),
    })
}

/// Adds a contact, with the row's proof.
pub async fn add(conn: &mut Conn, prover: &dyn Prover, new: &Contact, now: Time) -> Result<(), RecordsError> {
    let text = "INSERT INTO contact (id, organisation, name, email, language, password, password_generation, \
         valid_until, created_at, disabled_at, proof) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    ask!(
        text,
        new.id.as_str(),
        new.organisation.as_str(),
        &new.name,
        &new.email,
        new.language.map(Language::code),
        new.password.as_deref(),
        new.password_generation,
        day(new.valid_until).as_deref(),
        now,
        new.disabled_at,
        new.prove(prover)
    )
    .run(conn)
    .await
}

/// The contact of this id, which may be anything that somebody typed. It is not checked.
pub async fn by_id(conn: &mut Conn, id: &str) -> Result<Option<Contact>, RecordsError> {
    ask!(select!("WHERE c.id = $1"), id).maybe(conn, contact).await
}

/// All contacts that can be read.
pub async fn list(conn: &mut Conn) -> Result<Vec<Contact>, RecordsError> {
    ask!(select!("ORDER BY c.id")).readable(conn, "contact", contact).await
}

/// The ids of an organisation's contacts, as they stand there.
pub async fn ids_of(conn: &mut Conn, organisation: &Identifier) -> Result<Vec<String>, RecordsError> {
    ask!("SELECT id FROM contact WHERE organisation = $1 ORDER BY id", organisation)
        .all(conn, |row| Ok(row.try_get("id")?))
        .await
}

/// Changes a contact, and gives its row the new proof. Everything that changes any of it goes
/// through here. Whether there was such a contact.
///
/// # Errors
/// [`RecordsError::Unproved`] if somebody else has changed it before.
pub async fn change(
    conn: &mut Conn,
    prover: &dyn Prover,
    id: &Identifier,
    change: impl FnOnce(&mut Contact),
) -> Result<bool, RecordsError> {
    let Some(mut row) = by_id(conn, id.as_str()).await? else { return Ok(false) };
    row.check(prover)?;
    change(&mut row);
    let text = "UPDATE contact SET name = $2, email = $3, language = $4, password = $5, password_generation = $6, \
         valid_until = $7, disabled_at = $8, proof = $9 WHERE id = $1";
    ask!(
        text,
        id.as_str(),
        &row.name,
        &row.email,
        row.language.map(Language::code),
        row.password.as_deref(),
        row.password_generation,
        day(row.valid_until).as_deref(),
        row.disabled_at,
        row.prove(prover)
    )
    .changed(conn)
    .await
}

/// Removes a contact and its keys. Its name stays taken. Whether there was such a contact.
pub async fn remove(conn: &mut Conn, id: &Identifier) -> Result<bool, RecordsError> {
    ask!("DELETE FROM contact_key WHERE contact = $1", id.as_str()).run(conn).await?;
    ask!("DELETE FROM contact WHERE id = $1", id.as_str()).changed(conn).await
}

/// Gives a contact's row the proof of what it says, whatever it carried before.
pub async fn prove_again(conn: &mut Conn, prover: &dyn Prover, row: &Contact) -> Result<(), RecordsError> {
    ask!("UPDATE contact SET proof = $2 WHERE id = $1", row.id.as_str(), row.prove(prover)).run(conn).await
}

/// Lets a contact log in with one more key.
///
/// # Errors
/// [`RecordsError::Exists`] if the key is there already.
pub async fn add_key(
    conn: &mut Conn,
    prover: &dyn Prover,
    contact: &Identifier,
    (fingerprint, algorithm): (String, String),
    now: Time,
) -> Result<(), RecordsError> {
    let new = ContactKey { contact: contact.clone(), fingerprint, algorithm, proof: Proof::default() };
    let text = "INSERT INTO contact_key (contact, fingerprint, algorithm, added_at, proof) VALUES ($1, $2, $3, $4, $5)";
    ask!(text, new.contact.as_str(), &new.fingerprint, &new.algorithm, now, new.prove(prover)).run(conn).await
}

/// Gives a key's row the proof of what it says, whatever it carried before.
pub async fn prove_key_again(conn: &mut Conn, prover: &dyn Prover, row: &ContactKey) -> Result<(), RecordsError> {
    let text = "UPDATE contact_key SET proof = $3 WHERE contact = $1 AND fingerprint = $2";
    ask!(text, row.contact.as_str(), &row.fingerprint, row.prove(prover)).run(conn).await
}

/// Takes a key away. Whether it was there.
pub async fn remove_key(conn: &mut Conn, contact: &Identifier, fingerprint: &str) -> Result<bool, RecordsError> {
    ask!("DELETE FROM contact_key WHERE contact = $1 AND fingerprint = $2", contact.as_str(), fingerprint)
        .changed(conn)
        .await
}

/// The keys of a contact.
pub async fn keys(conn: &mut Conn, contact: &Identifier) -> Result<Vec<ContactKey>, RecordsError> {
    let text = "SELECT contact, fingerprint, algorithm, proof FROM contact_key WHERE contact = $1 \
         ORDER BY added_at, fingerprint";
    ask!(text, contact.as_str()).readable(conn, "contact_key", key).await
}

/// A key of a contact, if it has this one. It is not checked.
pub async fn key_of(conn: &mut Conn, contact: &str, fingerprint: &str) -> Result<Option<ContactKey>, RecordsError> {
    let text = "SELECT contact, fingerprint, algorithm, proof FROM contact_key WHERE contact = $1 AND fingerprint = $2";
    ask!(text, contact, fingerprint).maybe(conn, key).await
}

/// All keys of all contacts that can be read.
pub async fn all_keys(conn: &mut Conn) -> Result<Vec<ContactKey>, RecordsError> {
    let text = "SELECT contact, fingerprint, algorithm, proof FROM contact_key ORDER BY contact, fingerprint";
    ask!(text).readable(conn, "contact_key", key).await
}
