//! Engineers and their keys, and the names that may log in.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::proofs::{Proof, Proved, Prover, language_field, proof, time_field};
use super::{Conn, RecordsError, text_as, text_as_option};
use tacdrop_model::{Identifier, Language, LastDay, Role, Time};

pub use super::organisations::{Organisation, organisations};

/// The days on which an engineer is away, and who gets the notices meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    /// The first day, in UTC.
    pub from: LastDay,
    /// The last day, in UTC.
    pub to: LastDay,
    /// The engineer who gets the notices.
    pub deputy: Identifier,
}

impl Absence {
    /// Whether it lasts at this moment.
    pub fn lasts(&self, now: Time) -> bool {
        self.from.has_begun(now) && !self.to.is_over(now)
    }
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
    /// What the person is to the house.
    pub role: Role,
    /// When the person is away, if a time is set.
    pub away: Option<Absence>,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl Proved for Engineer {
    const TABLE: &'static str = "engineer";
    const LABEL: &'static str = "proof of engineer, 2";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        let (from, to, deputy) = match &self.away {
            Some(Absence { from, to, deputy }) => (from.to_string(), to.to_string(), deputy.as_str()),
            None => (String::new(), String::new(), ""),
        };
        let later = [self.role.as_str().as_bytes(), from.as_bytes(), to.as_bytes(), deputy.as_bytes()];
        self.with_former_fields(|fields| read(&[fields, &later].concat()))
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        self.id.to_string()
    }
}

impl Engineer {
    /// What the proofs of before there were roles are made of, in order.
    fn with_former_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        let disabled_at = time_field(self.disabled_at);
        read(&[self.id.as_str().as_bytes(), self.email.as_bytes(), language_field(self.language), &disabled_at])
    }

    /// Whether it carries the proof of before there were roles, and says nothing else than
    /// engineers did then.
    pub fn is_formerly_proved(&self, prover: &dyn Prover) -> bool {
        let is_proved = |fields: &[&[u8]]| prover.is_proved("proof of engineer, 1", fields, &self.proof);
        self.role == Role::Engineer && self.away.is_none() && self.with_former_fields(is_proved)
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

/// A login name, as it is written, and what bears it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginName {
    /// The name in the case in which it was given.
    pub name: String,
    /// `organisation`, `contact`, `engineer`, `team` or `ticket`.
    pub kind: String,
}

/// The login name that somebody typed in whatever case; none if there is none, or if two from
/// before the rule of [`claim_login_name`] differ in nothing else and neither was typed.
pub async fn login_name(conn: &mut Conn, typed: &str) -> Result<Option<LoginName>, RecordsError> {
    // No name has other letters, and what lower() makes of them is a matter of the engine.
    if !typed.is_ascii() {
        return Ok(None);
    }
    let text = "SELECT name, kind FROM login_name WHERE lower(name) = lower($1) LIMIT 2";
    let mut names = ask!(text, typed)
        .readable(conn, "login_name", |row| Ok(LoginName { name: row.try_get("name")?, kind: row.try_get("kind")? }))
        .await?;
    let asked = names.iter().position(|found| found.name == typed).or((names.len() == 1).then_some(0));
    Ok(asked.map(|asked| names.swap_remove(asked)))
}

/// What kind of thing a login name belongs to, if it is one: `organisation`, `engineer` or
/// `ticket`.
pub async fn login_kind(conn: &mut Conn, name: &str) -> Result<Option<String>, RecordsError> {
    ask!("SELECT kind FROM login_name WHERE name = $1", name).maybe(conn, |row| Ok(row.try_get("kind")?)).await
}

/// Adds an engineer, with the row's proof.
pub async fn add_engineer(conn: &mut Conn, prover: &dyn Prover, new: &Engineer, now: Time) -> Result<(), RecordsError> {
    let text = "INSERT INTO engineer (id, name, email, language, created_at, disabled_at, role, proof) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let (language, role) = (new.language.map(Language::code), new.role.as_str());
    ask!(text, new.id.as_str(), &new.name, &new.email, language, now, new.disabled_at, role, new.prove(prover))
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
        role: text_as(row, "engineer", "role")?,
        away: absence(row)?,
        proof: proof(row, "proof"),
    })
}

fn absence(row: &SqliteRow) -> Result<Option<Absence>, RecordsError> {
    let from = text_as_option(row, "engineer", "away_from")?;
    let to = text_as_option(row, "engineer", "away_to")?;
    let deputy = text_as_option(row, "engineer", "deputy")?;
    match (from, to, deputy) {
        (Some(from), Some(to), Some(deputy)) => Ok(Some(Absence { from, to, deputy })),
        (None, None, None) => Ok(None),
        _ => Err(RecordsError::Unreadable { table: "engineer", why: "an absence lacks a part".to_owned() }),
    }
}

/// All engineers, or the one with this id.
pub async fn engineers(conn: &mut Conn, only: Option<&str>) -> Result<Vec<Engineer>, RecordsError> {
    let text = "SELECT id, name, email, language, disabled_at, role, away_from, away_to, deputy, proof FROM engineer WHERE id = COALESCE($1, id) \
         ORDER BY id";
    let asked = ask!(text, only);
    if only.is_some() { asked.all(conn, engineer).await } else { asked.readable(conn, "engineer", engineer).await }
}

/// Changes what an engineer's row says of rights and of where content goes, and gives it its new
/// proof. Everything that changes any of it goes through here. Whether there was such an engineer.
///
/// # Errors
/// [`RecordsError::Unproved`] if somebody else has changed it before.
pub async fn change(
    conn: &mut Conn,
    prover: &dyn Prover,
    id: &Identifier,
    change: impl FnOnce(&mut Engineer),
) -> Result<bool, RecordsError> {
    let Some(mut row) = engineers(conn, Some(id.as_str())).await?.into_iter().next() else { return Ok(false) };
    row.check(prover)?;
    change(&mut row);
    let text = "UPDATE engineer SET name = $2, email = $3, language = $4, disabled_at = $5, role = $6, away_from = $7, \
         away_to = $8, deputy = $9, proof = $10 WHERE id = $1";
    let day = |day: fn(&Absence) -> LastDay| row.away.as_ref().map(|away| day(away).to_string());
    let (from, to) = (day(|away| away.from), day(|away| away.to));
    ask!(
        text,
        row.id.as_str(),
        &row.name,
        &row.email,
        row.language.map(Language::code),
        row.disabled_at,
        row.role.as_str(),
        from.as_deref(),
        to.as_deref(),
        row.away.as_ref().map(|away| away.deputy.as_str()),
        row.prove(prover)
    )
    .changed(conn)
    .await
}

/// Gives an engineer's row the proof of what it says, whatever it carried before.
pub async fn prove_engineer_again(conn: &mut Conn, prover: &dyn Prover, row: &Engineer) -> Result<(), RecordsError> {
    ask!("UPDATE engineer SET proof = $2 WHERE id = $1", row.id.as_str(), row.prove(prover)).run(conn).await
}

/// Removes an engineer on whom nothing hangs, with the keys. The name stays taken.
pub async fn remove_engineer(conn: &mut Conn, id: &Identifier) -> Result<(), RecordsError> {
    ask!("DELETE FROM engineer_key WHERE engineer = $1", id).run(conn).await?;
    super::looks::forget(conn, id).await?;
    ask!("DELETE FROM engineer WHERE id = $1", id).run(conn).await
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
    let text = "SELECT e.id, e.name, e.email, e.language, e.disabled_at, e.role, e.away_from, e.away_to, e.deputy, e.proof, \
         k.engineer, k.fingerprint, k.algorithm, k.proof AS key_proof \
         FROM engineer_key k JOIN engineer e ON e.id = k.engineer WHERE k.engineer = $1 AND k.fingerprint = $2";
    ask!(text, id, fingerprint).maybe(conn, |row| Ok((engineer(row)?, key(row)?))).await
}
