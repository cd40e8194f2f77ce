//! Engineers and their keys, and the names that may log in.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::proofs::{Proof, Proved, Prover, language_field, proof, time_field};
use super::{Conn, RecordsError, text_as, text_as_option};
use tacdrop_model::{Identifier, Language, Time};

pub use super::organisations::{Organisation, organisations};

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
    /// The proof that the row carries.
    pub proof: Proof,
}

impl Proved for Engineer {
    const TABLE: &'static str = "engineer";
    const LABEL: &'static str = "proof of engineer, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        let disabled_at = time_field(self.disabled_at);
        read(&[self.id.as_str().as_bytes(), self.email.as_bytes(), language_field(self.language), &disabled_at])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        self.id.to_string()
    }
}

/// A public key that an engineer may log in with.
#[derive(Debug, Clone)]
pub struct EngineerKey {
    /// Whose it is.
    pub engineer: Identifier,
    /// `SHA256:...` as OpenSSH shows it.
    pub fingerprint: String,
    /// `ssh-ed25519` and the like.
    pub algorithm: String,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl Proved for EngineerKey {
    const TABLE: &'static str = "engineer_key";
    const LABEL: &'static str = "proof of engineer key, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        read(&[self.engineer.as_str().as_bytes(), self.fingerprint.as_bytes(), self.algorithm.as_bytes()])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        format!("{} {}", self.engineer, self.fingerprint)
    }
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

/// Adds an engineer, with the row's proof.
pub async fn add_engineer(conn: &mut Conn, prover: &dyn Prover, new: &Engineer, now: Time) -> Result<(), RecordsError> {
    let text = "INSERT INTO engineer (id, name, email, language, created_at, disabled_at, proof) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let language = new.language.map(Language::code);
    ask!(text, new.id.as_str(), &new.name, &new.email, language, now, new.disabled_at, new.prove(prover))
        .run(conn)
        .await
}

fn engineer(row: &SqliteRow) -> Result<Engineer, RecordsError> {
    Ok(Engineer {
        id: text_as(row, "engineer", "id")?,
        name: row.try_get("name")?,
        email: row.try_get("email")?,
        language: text_as_option(row, "engineer", "language")?,
        disabled_at: row.try_get::<Option<i64>, _>("disabled_at")?.map(Time::from_millis),
        proof: proof(row, "proof"),
    })
}

/// All engineers, or the one with this id.
pub async fn engineers(conn: &mut Conn, only: Option<&str>) -> Result<Vec<Engineer>, RecordsError> {
    let text = "SELECT id, name, email, language, disabled_at, proof FROM engineer WHERE id = COALESCE($1, id) \
         ORDER BY id";
    let asked = ask!(text, only);
    if only.is_some() { asked.all(conn, engineer).await } else { asked.readable(conn, "engineer", engineer).await }
}

/// Changes what an engineer's row says of rights and of where content goes, and gives it its new
/// proof. Everything that changes any of it goes through here. Whether there was such an engineer.
///
/// # Errors
/// [`RecordsError::Unproved`] if somebody else has changed it before.
async fn change(
    conn: &mut Conn,
    prover: &dyn Prover,
    id: &Identifier,
    change: impl FnOnce(&mut Engineer),
) -> Result<bool, RecordsError> {
    let Some(mut row) = engineers(conn, Some(id.as_str())).await?.into_iter().next() else { return Ok(false) };
    row.check(prover)?;
    change(&mut row);
    let text = "UPDATE engineer SET email = $2, disabled_at = $3, proof = $4 WHERE id = $1";
    ask!(text, row.id.as_str(), &row.email, row.disabled_at, row.prove(prover)).changed(conn).await
}

/// Gives an engineer's row the proof of what it says, whatever it carried before.
pub async fn prove_engineer_again(conn: &mut Conn, prover: &dyn Prover, row: &Engineer) -> Result<(), RecordsError> {
    ask!("UPDATE engineer SET proof = $2 WHERE id = $1", row.id.as_str(), row.prove(prover)).run(conn).await
}

/// Gives an engineer another mail address.
pub async fn set_email(conn: &mut Conn, prover: &dyn Prover, id: &Identifier, email: &str) -> Result<(), RecordsError> {
    change(conn, prover, id, |row| email.clone_into(&mut row.email)).await?;
    Ok(())
}

/// Ends an engineer's logins. Whether there was such an engineer.
pub async fn disable_engineer(
    conn: &mut Conn,
    prover: &dyn Prover,
    id: &Identifier,
    now: Time,
) -> Result<bool, RecordsError> {
    change(conn, prover, id, |row| row.disabled_at = Some(row.disabled_at.unwrap_or(now))).await
}

/// Lets an engineer log in with one more key.
///
/// # Errors
/// [`RecordsError::Exists`] if the key is there already.
pub async fn add_key(
    conn: &mut Conn,
    prover: &dyn Prover,
    engineer: &Identifier,
    (fingerprint, algorithm): (String, String),
    now: Time,
) -> Result<(), RecordsError> {
    let new = EngineerKey { engineer: engineer.clone(), fingerprint, algorithm, proof: Proof::default() };
    let text =
        "INSERT INTO engineer_key (engineer, fingerprint, algorithm, added_at, proof) VALUES ($1, $2, $3, $4, $5)";
    ask!(text, new.engineer.as_str(), &new.fingerprint, &new.algorithm, now, new.prove(prover)).run(conn).await
}

/// Gives a key's row the proof of what it says, whatever it carried before.
pub async fn prove_key_again(conn: &mut Conn, prover: &dyn Prover, row: &EngineerKey) -> Result<(), RecordsError> {
    let text = "UPDATE engineer_key SET proof = $3 WHERE engineer = $1 AND fingerprint = $2";
    ask!(text, row.engineer.as_str(), &row.fingerprint, row.prove(prover)).run(conn).await
}

/// Takes a key away. Whether it was there.
pub async fn remove_key(conn: &mut Conn, engineer: &Identifier, fingerprint: &str) -> Result<bool, RecordsError> {
    ask!("DELETE FROM engineer_key WHERE engineer = $1 AND fingerprint = $2", engineer.as_str(), fingerprint)
        .changed(conn)
        .await
}

fn key(row: &SqliteRow) -> Result<EngineerKey, RecordsError> {
    Ok(EngineerKey {
        engineer: text_as(row, "engineer_key", "engineer")?,
        fingerprint: row.try_get("fingerprint")?,
        algorithm: row.try_get("algorithm")?,
        proof: proof(row, "key_proof"),
    })
}

/// The keys of an engineer.
pub async fn keys(conn: &mut Conn, engineer: &Identifier) -> Result<Vec<EngineerKey>, RecordsError> {
    let text = "SELECT engineer, fingerprint, algorithm, proof AS key_proof FROM engineer_key WHERE engineer = $1 \
         ORDER BY added_at, fingerprint";
    ask!(text, engineer.as_str()).readable(conn, "engineer_key", key).await
}

/// All keys of all engineers that can be read.
pub async fn all_keys(conn: &mut Conn) -> Result<Vec<EngineerKey>, RecordsError> {
    let text = "SELECT engineer, fingerprint, algorithm, proof AS key_proof FROM engineer_key \
         ORDER BY engineer, fingerprint";
    ask!(text).readable(conn, "engineer_key", key).await
}

/// An engineer and one of the engineer's keys, if there are both. Neither is checked.
pub async fn with_key(
    conn: &mut Conn,
    id: &str,
    fingerprint: &str,
) -> Result<Option<(Engineer, EngineerKey)>, RecordsError> {
    let text = "SELECT e.id, e.name, e.email, e.language, e.disabled_at, e.proof, \
         k.engineer, k.fingerprint, k.algorithm, k.proof AS key_proof \
         FROM engineer_key k JOIN engineer e ON e.id = k.engineer WHERE k.engineer = $1 AND k.fingerprint = $2";
    ask!(text, id, fingerprint).maybe(conn, |row| Ok((engineer(row)?, key(row)?))).await
}
