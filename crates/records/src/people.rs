//! Organisations, engineers and their keys, and the names that may log in.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::{Conn, RecordsError, text_as, text_as_option};
use tacdrop_model::{Identifier, Language, Time};

/// A customer with a maintenance contract.
#[derive(Debug, Clone)]
pub struct Organisation {
    /// Its id.
    pub id: Identifier,
    /// Its name, for people.
    pub name: String,
    /// The number of its contract.
    pub contract: Option<String>,
}

/// A person of the support house.
#[derive(Debug, Clone)]
pub struct Engineer {
    /// The id, which is the login name too.
    pub id: Identifier,
    /// The person's name.
    pub name: String,
    /// Where notices go.
    pub email: String,
    /// The language of those notices, if the person chose one.
    pub language: Option<Language>,
    /// Since when the person may not log in any more.
    pub disabled_at: Option<Time>,
}

/// A public key that an engineer may log in with.
#[derive(Debug, Clone)]
pub struct EngineerKey {
    /// `SHA256:...` as OpenSSH shows it.
    pub fingerprint: String,
    /// `ssh-ed25519` and the like.
    pub algorithm: String,
}

/// Takes a login name, once and for ever. Names that differ only in case are one name to people, so
/// the second is refused; pairs that were there before this rule stay.
///
/// # Errors
/// [`RecordsError::Exists`] if anything had this name.
pub async fn claim_login_name(conn: &mut Conn, name: &Identifier, kind: &'static str) -> Result<(), RecordsError> {
    let text = "INSERT INTO login_name (name, kind) SELECT $1, $2 \
         WHERE NOT EXISTS (SELECT 1 FROM login_name WHERE lower(name) = lower($1))";
    if ask!(text, name, kind).changed(conn).await? { Ok(()) } else { Err(RecordsError::Exists) }
}

/// What kind of thing a login name belongs to, if it is one: `organisation`, `engineer` or
/// `ticket`.
pub async fn login_kind(conn: &mut Conn, name: &str) -> Result<Option<String>, RecordsError> {
    ask!("SELECT kind FROM login_name WHERE name = $1", name).maybe(conn, |row| Ok(row.try_get("kind")?)).await
}

/// Adds an organisation.
pub async fn add_organisation(conn: &mut Conn, new: &Organisation, now: Time) -> Result<(), RecordsError> {
    let text = "INSERT INTO organisation (id, name, contract, created_at) VALUES ($1, $2, $3, $4)";
    ask!(text, new.id.as_str(), &new.name, new.contract.as_deref(), now).run(conn).await
}

/// All organisations, or the one with this id.
pub async fn organisations(conn: &mut Conn, only: Option<&Identifier>) -> Result<Vec<Organisation>, RecordsError> {
    let asked = ask!("SELECT id, name, contract FROM organisation WHERE id = COALESCE($1, id) ORDER BY id", only);
    let read = |row: &SqliteRow| {
        Ok(Organisation {
            id: text_as(row, "organisation", "id")?,
            name: row.try_get("name")?,
            contract: row.try_get("contract")?,
        })
    };
    // Who is asked for by id is decided about.
    if only.is_some() { asked.all(conn, read).await } else { asked.readable(conn, "organisation", read).await }
}

/// Adds an engineer.
pub async fn add_engineer(conn: &mut Conn, new: &Engineer, now: Time) -> Result<(), RecordsError> {
    let text = "INSERT INTO engineer (id, name, email, language, created_at) VALUES ($1, $2, $3, $4, $5)";
    ask!(text, new.id.as_str(), &new.name, &new.email, new.language.map(Language::code), now).run(conn).await
}

/// All engineers, or the one with this id.
pub async fn engineers(conn: &mut Conn, only: Option<&str>) -> Result<Vec<Engineer>, RecordsError> {
    let text = "SELECT id, name, email, language, disabled_at FROM engineer WHERE id = COALESCE($1, id) ORDER BY id";
    let asked = ask!(text, only);
    let read = |row: &SqliteRow| {
        Ok(Engineer {
            id: text_as(row, "engineer", "id")?,
            name: row.try_get("name")?,
            email: row.try_get("email")?,
            language: text_as_option(row, "engineer", "language")?,
            disabled_at: row.try_get::<Option<i64>, _>("disabled_at")?.map(Time::from_millis),
        })
    };
    if only.is_some() { asked.all(conn, read).await } else { asked.readable(conn, "engineer", read).await }
}

/// Gives an engineer another mail address.
pub async fn set_email(conn: &mut Conn, id: &Identifier, email: &str) -> Result<(), RecordsError> {
    ask!("UPDATE engineer SET email = $2 WHERE id = $1", id.as_str(), email).run(conn).await
}

/// Ends an engineer's logins. Whether there was such an engineer.
pub async fn disable_engineer(conn: &mut Conn, id: &Identifier, now: Time) -> Result<bool, RecordsError> {
    ask!("UPDATE engineer SET disabled_at = COALESCE(disabled_at, $2) WHERE id = $1", id.as_str(), now)
        .changed(conn)
        .await
}

/// Lets an engineer log in with one more key.
///
/// # Errors
/// [`RecordsError::Exists`] if the key is there already.
pub async fn add_key(conn: &mut Conn, engineer: &Identifier, key: &EngineerKey, now: Time) -> Result<(), RecordsError> {
    let text = "INSERT INTO engineer_key (engineer, fingerprint, algorithm, added_at) VALUES ($1, $2, $3, $4)";
    ask!(text, engineer.as_str(), &key.fingerprint, &key.algorithm, now).run(conn).await
}

/// Takes a key away. Whether it was there.
pub async fn remove_key(conn: &mut Conn, engineer: &Identifier, fingerprint: &str) -> Result<bool, RecordsError> {
    ask!("DELETE FROM engineer_key WHERE engineer = $1 AND fingerprint = $2", engineer.as_str(), fingerprint)
        .changed(conn)
        .await
}

/// The keys of an engineer.
pub async fn keys(conn: &mut Conn, engineer: &Identifier) -> Result<Vec<EngineerKey>, RecordsError> {
    let text = "SELECT fingerprint, algorithm FROM engineer_key WHERE engineer = $1 ORDER BY added_at, fingerprint";
    ask!(text, engineer.as_str())
        .readable(conn, "engineer_key", |row| {
            Ok(EngineerKey { fingerprint: row.try_get("fingerprint")?, algorithm: row.try_get("algorithm")? })
        })
        .await
}

/// Whether this engineer is enabled and has this key.
pub async fn may_log_in(conn: &mut Conn, engineer: &str, fingerprint: &str) -> Result<bool, RecordsError> {
    let text = "SELECT 1 AS found FROM engineer_key k JOIN engineer e ON e.id = k.engineer \
         WHERE k.engineer = $1 AND k.fingerprint = $2 AND e.disabled_at IS NULL";
    ask!(text, engineer, fingerprint).exists(conn).await
}
