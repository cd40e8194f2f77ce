//! Organisations: who they are, and until when their customers may log in.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::proofs::{Proof, Proved, Prover, proof, time_field};
use super::{Conn, RecordsError, text_as, text_as_option, unsigned};
use tacdrop_model::{Identifier, LastDay, Time};

/// A customer with a maintenance contract.
#[derive(Debug, Clone)]
pub struct Organisation {
    /// Its id.
    pub id: Identifier,
    /// Its name, for people.
    pub name: String,
    /// The number of its contract.
    pub contract: Option<String>,
    /// The level of support that the contract grants, in the words of the support house.
    pub level: Option<String>,
    /// The last day of its contract; none: it has no end.
    pub until: Option<LastDay>,
    /// Since when its customers may not log in any more.
    pub disabled_at: Option<Time>,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl Organisation {
    /// Whether its customers may log in at this moment.
    pub fn admits(&self, now: Time) -> bool {
        self.disabled_at.is_none() && self.until.is_none_or(|day| !day.is_over(now))
    }
}

impl Proved for Organisation {
    const TABLE: &'static str = "organisation";
    const LABEL: &'static str = "proof of organisation, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        let until = self.until.map(|day| day.to_string()).unwrap_or_default();
        let disabled_at = time_field(self.disabled_at);
        read(&[self.id.as_str().as_bytes(), until.as_bytes(), &disabled_at])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        self.id.to_string()
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, name, contract, level, valid_until, disabled_at, proof FROM organisation ", $rest)
    };
}

fn organisation(row: &SqliteRow) -> Result<Organisation, RecordsError> {
    Ok(Organisation {
        id: text_as(row, "organisation", "id")?,
        name: row.try_get("name")?,
        contract: row.try_get("contract")?,
        level: row.try_get("level")?,
        until: text_as_option(row, "organisation", "valid_until")?,
        disabled_at: row.try_get::<Option<i64>, _>("disabled_at")?.map(Time::from_millis),
        proof: proof(row, "proof"),
    })
}

/// Adds an organisation, with the row's proof.
pub async fn add(conn: &mut Conn, prover: &dyn Prover, new: &Organisation, now: Time) -> Result<(), RecordsError> {
    let text = "INSERT INTO organisation (id, name, contract, level, valid_until, disabled_at, created_at, proof) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let until = new.until.map(|day| day.to_string());
    ask!(
        text,
        new.id.as_str(),
        &new.name,
        new.contract.as_deref(),
        new.level.as_deref(),
        until.as_deref(),
        new.disabled_at,
        now,
        new.prove(prover)
    )
    .run(conn)
    .await
}

/// All organisations that can be read, or the one with this id.
pub async fn organisations(conn: &mut Conn, only: Option<&Identifier>) -> Result<Vec<Organisation>, RecordsError> {
    let asked = ask!(select!("WHERE id = COALESCE($1, id) ORDER BY id"), only);
    // Who is asked for by id is decided about.
    if only.is_some() {
        asked.all(conn, organisation).await
    } else {
        asked.readable(conn, "organisation", organisation).await
    }
}

/// The organisation with this id.
pub async fn by_id(conn: &mut Conn, id: &Identifier) -> Result<Option<Organisation>, RecordsError> {
    ask!(select!("WHERE id = $1"), id).maybe(conn, organisation).await
}

/// Changes an organisation, and gives its row the proof of what it says then. Everything that
/// changes one goes through here. Nothing happens if there is none.
///
/// # Errors
/// [`RecordsError::Unproved`] if somebody else has changed it before.
pub async fn change(
    conn: &mut Conn,
    prover: &dyn Prover,
    id: &Identifier,
    change: impl FnOnce(&mut Organisation),
) -> Result<(), RecordsError> {
    let Some(mut row) = by_id(conn, id).await? else { return Ok(()) };
    row.check(prover)?;
    change(&mut row);
    let text = "UPDATE organisation SET name = $2, contract = $3, level = $4, valid_until = $5, disabled_at = $6, \
         proof = $7 WHERE id = $1";
    let until = row.until.map(|day| day.to_string());
    ask!(
        text,
        row.id.as_str(),
        &row.name,
        row.contract.as_deref(),
        row.level.as_deref(),
        until.as_deref(),
        row.disabled_at,
        row.prove(prover)
    )
    .run(conn)
    .await
}

/// Gives an organisation's row the proof of what it says, whatever it carried before.
pub async fn prove_again(conn: &mut Conn, prover: &dyn Prover, row: &Organisation) -> Result<(), RecordsError> {
    ask!("UPDATE organisation SET proof = $2 WHERE id = $1", row.id.as_str(), row.prove(prover)).run(conn).await
}

/// Removes an organisation that nothing hangs on. Its name stays taken.
pub async fn remove(conn: &mut Conn, id: &Identifier) -> Result<(), RecordsError> {
    ask!("DELETE FROM organisation WHERE id = $1", id).run(conn).await
}

/// How many tickets an organisation has: all of them, and those that are not closed.
#[derive(Debug, Clone, Copy, Default)]
pub struct TicketCount {
    /// All of them.
    pub all: u64,
    /// Those that are not closed.
    pub open: u64,
}

/// The organisations that have tickets, by id, and how many each has.
pub async fn ticket_counts(conn: &mut Conn) -> Result<Vec<(String, TicketCount)>, RecordsError> {
    let text = "SELECT organisation, COUNT(*) AS n, SUM(CASE WHEN status <> 'closed' THEN 1 ELSE 0 END) AS unclosed \
         FROM ticket GROUP BY organisation ORDER BY organisation";
    ask!(text)
        .readable(conn, "ticket", |row| {
            let count = TicketCount { all: unsigned(row, "ticket", "n")?, open: unsigned(row, "ticket", "unclosed")? };
            Ok((row.try_get("organisation")?, count))
        })
        .await
}
