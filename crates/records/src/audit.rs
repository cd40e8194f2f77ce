//! The audit trail: append-only, each row chained to the one before it, with signed checkpoints. No
//! file names: artifacts and versions by id.
//!
//! What is read back may have been changed behind the server's back, so a row that cannot be read
//! is no failure of the whole page: it is given as what it is.

use std::sync::OnceLock;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, TypeInfo, ValueRef};

use super::ask::{Question, ask};
use super::many::rows;
use super::{Conn, RecordsError, SEAL, Sealer, bytes_as};
use tacdrop_model::audit::{Actor, Kind};
use tacdrop_model::{Identifier, Time};

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
    /// Its seal; none in rows of before there were seals.
    pub seal: Option<[u8; SEAL]>,
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
pub async fn tip(conn: &mut Conn) -> Result<Option<(i64, [u8; 32])>, RecordsError> {
    ask!("SELECT seq, chain FROM audit_event ORDER BY seq DESC LIMIT 1")
        .maybe(conn, |row| Ok((row.try_get("seq")?, bytes_as(row, "audit_event", "chain")?)))
        .await
}

/// The link of the row with this number, if there is such a row with such a link.
pub async fn link_of(conn: &mut Conn, seq: i64) -> Result<Option<[u8; 32]>, RecordsError> {
    let link = ask!("SELECT chain FROM audit_event WHERE seq = $1", seq)
        .maybe(conn, |row| Ok(bytes_as(row, "audit_event", "chain").ok()))
        .await?;
    Ok(link.flatten())
}

/// Appends a row. `chain` binds it to the row before it; how it is computed is the rule of
/// `audit/`.
pub async fn append(conn: &mut Conn, seq: i64, event: &Event<'_>, chain: &[u8; 32]) -> Result<(), RecordsError> {
    let text = "INSERT INTO audit_event (seq, at, kind, actor, ticket, subject, detail, chain, seal) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    row(ask!(text), seq, event, chain, conn.sealer()).run(conn).await
}

/// The values of one row, in the order of its columns.
fn row<'q>(
    asked: Question<'q>,
    seq: i64,
    event: &Event<'_>,
    chain: &[u8; 32],
    sealer: Option<&Sealer>,
) -> Question<'q> {
    let asked = asked.with(seq).with(event.at).with(event.kind.as_str()).with(event.actor.as_str());
    asked.with(event.ticket).with(event.subject).with(event.detail).with(chain).with(sealer.map(|one| one.seal(chain)))
}

/// Rows that [`append_all`] writes in one statement.
pub const TOGETHER: usize = 16;

/// The text that writes [`TOGETHER`] rows.
fn append_together() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let rows = rows(TOGETHER, 0, 9, "(#1, #2, #3, #4, #5, #6, #7, #8, #9)");
        format!("INSERT INTO audit_event (seq, at, kind, actor, ticket, subject, detail, chain, seal) VALUES {rows}")
    })
}

/// Appends rows, each with its number, its event and its link.
pub async fn append_all(conn: &mut Conn, rows: &[(i64, Event<'_>, [u8; 32])]) -> Result<(), RecordsError> {
    let together = rows.chunks_exact(TOGETHER);
    for (seq, event, chain) in together.remainder() {
        append(conn, *seq, event, chain).await?;
    }
    for rows in together {
        let asked = ask!(append_together());
        let asked = rows.iter().fold(asked, |asked, (seq, event, chain)| row(asked, *seq, event, chain, conn.sealer()));
        asked.run(conn).await?;
    }
    Ok(())
}

/// Up to `most` rows with numbers from `from` on, in their order.
pub async fn page(conn: &mut Conn, filter: Filter<'_>, from: i64, most: u32) -> Result<Vec<Stored>, RecordsError> {
    macro_rules! select {
        ($rest:literal) => {
            concat!(
                "SELECT seq, at, kind, actor, ticket, subject, detail, chain, seal FROM audit_event \
                 WHERE seq >= $1 AND ",
                $rest,
                " ORDER BY seq LIMIT $2 + 0"
            )
        };
    }
    // Four statements and not one with a condition on each parameter, so that the ticket's index is
    // used.
    let asked = match (filter.ticket, filter.kind) {
        (None, None) => ask!(select!("1 = 1"), from, most),
        (Some(ticket), None) => ask!(select!("ticket = $3"), from, most, ticket),
        (None, Some(kind)) => ask!(select!("kind = $3"), from, most, kind),
        (Some(ticket), Some(kind)) => ask!(select!("ticket = $3 AND kind = $4"), from, most, ticket, kind),
    };
    asked.all(conn, stored).await
}

/// A row of the trail.
pub(super) fn stored(row: &SqliteRow) -> Result<Stored, RecordsError> {
    Ok(Stored { seq: row.try_get("seq")?, fields: fields(row) })
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
    let seal = match is(row, "seal", "BLOB", true)? {
        true => Some(fixed(row, "seal")?),
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
        seal,
    })
}

/// SQLite keeps values of any type in any column. Whether there is one; an error if it is of
/// another type.
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

/// Writes a checkpoint down, in the records or in the keyring. One that stands there already stays:
/// it is the older truth. Whether it is a new one.
pub async fn add_checkpoint(conn: &mut Conn, row: &CheckpointRow) -> Result<bool, RecordsError> {
    let text =
        "INSERT INTO audit_checkpoint (seq, at, link, signature) VALUES ($1, $2, $3, $4) ON CONFLICT (seq) DO NOTHING";
    ask!(text, row.seq, row.at, &row.link[..], &row.signature[..]).changed(conn).await
}

/// The number of the last entry that a checkpoint speaks of.
pub async fn last_checkpoint(conn: &mut Conn) -> Result<Option<i64>, RecordsError> {
    ask!("SELECT MAX(seq) AS seq FROM audit_checkpoint").one(conn, |row| Ok(row.try_get("seq")?)).await
}

/// Up to `most` checkpoints of entries with numbers from `from` on, in their order; or why one
/// cannot be read.
pub async fn checkpoints(
    conn: &mut Conn,
    from: i64,
    most: u32,
) -> Result<Vec<(i64, Result<CheckpointRow, String>)>, RecordsError> {
    let rows = ask!(
        "SELECT seq, at, link, signature FROM audit_checkpoint WHERE seq >= $1 ORDER BY seq LIMIT $2 + 0",
        from,
        most
    )
    .rows(conn)
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
