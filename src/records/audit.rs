//! The audit trail: append-only, each row chained to the one before it, with signed checkpoints. No file names: artifacts
//! and versions by id.
//!
//! What is read back may have been changed behind the server's back, so a row that cannot be read is no failure of the
//! whole page: it is given as what it is.

use std::sync::OnceLock;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, TypeInfo, ValueRef};

use super::{Conn, RecordsError, bytes_as};
use crate::model::audit::{Actor, Kind};
use crate::model::{Identifier, Time};
use crate::records::sqlite::batch::Asked;

/// What happened, who did it, to what.
#[derive(Debug)]
pub struct Event<'a> {
    /// When.
    pub at: Time,
    /// What.
    pub kind: Kind,
    /// Who.
    pub actor: &'a Actor,
    /// The ticket it is about.
    pub ticket: Option<&'a Identifier>,
    /// The artifact, version or other thing, by id.
    pub subject: Option<[u8; 16]>,
    /// More, as the text of a JSON object.
    pub detail: &'a str,
}

/// A row as it stands in the database.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its number.
    pub seq: i64,
    /// The rest of it, or why it cannot be read.
    pub fields: Result<Fields, String>,
}

/// What a row holds beside its number.
#[derive(Debug, Clone)]
pub struct Fields {
    /// When, in milliseconds since 1970 UTC.
    pub at: i64,
    /// What.
    pub kind: String,
    /// Who.
    pub actor: String,
    /// The ticket; never empty.
    pub ticket: Option<String>,
    /// The subject; never of another length than 16.
    pub subject: Option<[u8; 16]>,
    /// The text of a JSON object.
    pub detail: String,
    /// Its link of the chain.
    pub chain: [u8; 32],
}

/// A signed statement about the trail up to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointRow {
    /// The entry's number.
    pub seq: i64,
    /// When it was signed.
    pub at: Time,
    /// The entry's link.
    pub link: [u8; 32],
    /// The signature.
    pub signature: [u8; 64],
}

/// Which rows are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Those of this ticket.
    pub ticket: Option<&'a Identifier>,
    /// Those of this kind.
    pub kind: Option<&'a str>,
}

/// The newest row: its number and its link of the chain.
///
/// # Errors
/// If the database fails.
pub async fn tip(conn: &mut Conn) -> Result<Option<(i64, [u8; 32])>, RecordsError> {
    let row = sqlx::query("SELECT seq, chain FROM audit_event ORDER BY seq DESC LIMIT 1").fetch_optional(conn).await?;
    row.map(|row| Ok((row.try_get("seq")?, bytes_as(&row, "audit_event", "chain")?))).transpose()
}

/// The link of the row with this number, if there is such a row with such a link.
///
/// # Errors
/// If the database fails.
pub async fn link_of(conn: &mut Conn, seq: i64) -> Result<Option<[u8; 32]>, RecordsError> {
    let row = sqlx::query("SELECT chain FROM audit_event WHERE seq = $1").bind(seq).fetch_optional(conn).await?;
    Ok(row.and_then(|row| bytes_as(&row, "audit_event", "chain").ok()))
}

/// Appends a row. `chain` binds it to the row before it; how it is computed is the rule of `audit/`.
///
/// # Errors
/// If the database fails.
pub async fn append(conn: &mut Conn, seq: i64, event: &Event<'_>, chain: &[u8; 32]) -> Result<(), RecordsError> {
    let asked = sqlx::query(
        "INSERT INTO audit_event (seq, at, kind, actor, ticket, subject, detail, chain) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    );
    bind(asked, seq, event, chain).execute(conn).await?;
    Ok(())
}

/// The values of one row, in the order of its columns.
fn bind<'q>(asked: Asked<'q>, seq: i64, event: &Event<'q>, chain: &'q [u8; 32]) -> Asked<'q> {
    asked
        .bind(seq)
        .bind(event.at.millis())
        .bind(event.kind.as_str())
        .bind(event.actor.as_str())
        .bind(event.ticket.map(Identifier::as_str))
        .bind(event.subject.map(|id| id.to_vec()))
        .bind(event.detail)
        .bind(&chain[..])
}

/// Rows that [`append_all`] writes in one statement.
pub const TOGETHER: usize = 16;

/// The text that writes [`TOGETHER`] rows.
fn append_together() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let row = |at: usize| {
            let values: Vec<String> = (1..=8).map(|column| format!("${}", at * 8 + column)).collect();
            format!("({})", values.join(", "))
        };
        let rows: Vec<String> = (0..TOGETHER).map(row).collect();
        format!(
            "INSERT INTO audit_event (seq, at, kind, actor, ticket, subject, detail, chain) VALUES {}",
            rows.join(", ")
        )
    })
}

/// Appends rows, each with its number, its event and its link.
///
/// # Errors
/// If the database fails.
pub async fn append_all(conn: &mut Conn, rows: &[(i64, Event<'_>, [u8; 32])]) -> Result<(), RecordsError> {
    let together = rows.chunks_exact(TOGETHER);
    for (seq, event, chain) in together.remainder() {
        append(conn, *seq, event, chain).await?;
    }
    for rows in together {
        let mut asked = sqlx::query(append_together());
        for (seq, event, chain) in rows {
            asked = bind(asked, *seq, event, chain);
        }
        asked.execute(&mut *conn).await?;
    }
    Ok(())
}

/// Up to `most` rows with numbers from `from` on, in their order.
///
/// # Errors
/// If the database fails.
pub async fn page(conn: &mut Conn, filter: Filter<'_>, from: i64, most: u32) -> Result<Vec<Stored>, RecordsError> {
    macro_rules! select {
        ($rest:literal) => {
            concat!(
                "SELECT seq, at, kind, actor, ticket, subject, detail, chain FROM audit_event \
                 WHERE seq >= $1 AND ",
                $rest,
                " ORDER BY seq LIMIT $2"
            )
        };
    }
    // Four statements and not one with a condition on each parameter, so that the ticket's index is used.
    let query = match (filter.ticket, filter.kind) {
        (None, None) => sqlx::query(select!("1 = 1")).bind(from).bind(most),
        (Some(ticket), None) => sqlx::query(select!("ticket = $3")).bind(from).bind(most).bind(ticket.as_str()),
        (None, Some(kind)) => sqlx::query(select!("kind = $3")).bind(from).bind(most).bind(kind),
        (Some(ticket), Some(kind)) => {
            sqlx::query(select!("ticket = $3 AND kind = $4")).bind(from).bind(most).bind(ticket.as_str()).bind(kind)
        }
    };
    let rows = query.fetch_all(conn).await?;
    rows.iter().map(|row| Ok(Stored { seq: row.try_get("seq")?, fields: fields(row) })).collect()
}

fn fields(row: &SqliteRow) -> Result<Fields, String> {
    let subject = match is(row, "subject", "BLOB", true)? {
        true => Some(fixed(row, "subject")?),
        false => None,
    };
    let ticket = match is(row, "ticket", "TEXT", true)? {
        true => Some(text(row, "ticket")?).filter(|ticket| !ticket.is_empty()).map(Some).ok_or("ticket is empty")?,
        false => None,
    };
    is(row, "at", "INTEGER", false)?;
    is(row, "chain", "BLOB", false)?;
    Ok(Fields {
        at: row.try_get("at").map_err(|_| "at is no number")?,
        kind: text(row, "kind")?,
        actor: text(row, "actor")?,
        ticket,
        subject,
        detail: text(row, "detail")?,
        chain: fixed(row, "chain")?,
    })
}

/// SQLite keeps values of any type in any column. Whether there is one; an error if it is of another type.
fn is(row: &SqliteRow, column: &str, wanted: &str, may_be_null: bool) -> Result<bool, String> {
    let value = row.try_get_raw(column).map_err(|_| format!("{column} is missing"))?;
    if value.is_null() {
        return if may_be_null { Ok(false) } else { Err(format!("{column} is null")) };
    }
    if value.type_info().name() == wanted { Ok(true) } else { Err(format!("{column} is of a wrong type")) }
}

fn text(row: &SqliteRow, column: &str) -> Result<String, String> {
    is(row, column, "TEXT", false)?;
    row.try_get(column).map_err(|_| format!("{column} is no text"))
}

fn fixed<const N: usize>(row: &SqliteRow, column: &str) -> Result<[u8; N], String> {
    let bytes: &[u8] = row.try_get(column).map_err(|_| format!("{column} is of a wrong type"))?;
    bytes.try_into().map_err(|_| format!("{column} has a wrong length"))
}

/// Writes a checkpoint down, in the records or in the keyring. One that stands there already stays: it is the older truth.
///
/// # Errors
/// If the database fails.
pub async fn add_checkpoint(conn: &mut Conn, row: &CheckpointRow) -> Result<(), RecordsError> {
    sqlx::query(
        "INSERT INTO audit_checkpoint (seq, at, link, signature) VALUES ($1, $2, $3, $4) ON CONFLICT (seq) DO NOTHING",
    )
    .bind(row.seq)
    .bind(row.at.millis())
    .bind(&row.link[..])
    .bind(&row.signature[..])
    .execute(conn)
    .await?;
    Ok(())
}

/// The number of the last entry that a checkpoint speaks of.
///
/// # Errors
/// If the database fails.
pub async fn last_checkpoint(conn: &mut Conn) -> Result<Option<i64>, RecordsError> {
    let row = sqlx::query("SELECT MAX(seq) AS seq FROM audit_checkpoint").fetch_one(conn).await?;
    Ok(row.try_get("seq")?)
}

/// Up to `most` checkpoints of entries with numbers from `from` on, in their order; or why one cannot be read.
///
/// # Errors
/// If the database fails.
pub async fn checkpoints(
    conn: &mut Conn,
    from: i64,
    most: u32,
) -> Result<Vec<(i64, Result<CheckpointRow, String>)>, RecordsError> {
    let rows =
        sqlx::query("SELECT seq, at, link, signature FROM audit_checkpoint WHERE seq >= $1 ORDER BY seq LIMIT $2")
            .bind(from)
            .bind(most)
            .fetch_all(conn)
            .await?;
    let parse = |row: &SqliteRow, seq| {
        is(row, "at", "INTEGER", false)?;
        let at = row.try_get("at").map_err(|_| "at is no number")?;
        Ok(CheckpointRow {
            seq,
            at: Time::from_millis(at),
            link: fixed(row, "link")?,
            signature: fixed(row, "signature")?,
        })
    };
    rows.iter()
        .map(|row| {
            let seq = row.try_get("seq")?;
            Ok((seq, parse(row, seq)))
        })
        .collect()
}
