//! Tickets.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::readable::{all_of, readable};
use super::{At, Conn, RecordsError, bytes_as, signed, text_as, text_as_option, unsigned};
use crate::model::{Identifier, Language, Priority, ShareId, TicketStatus, Time};

/// One support problem and its share.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// Its reference, which is the login name too.
    pub reference: Identifier,
    /// Its share.
    pub share: ShareId,
    /// Whose problem it is.
    pub organisation: Identifier,
    /// Who works on it.
    pub engineer: Identifier,
    /// What it is about.
    pub title: Option<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// The customer's language.
    pub language: Option<Language>,
    /// Whether it takes uploads.
    pub status: TicketStatus,
    /// The keyed hash of its token.
    pub token_hash: [u8; 32],
    /// How many tokens it has had.
    pub token_generation: i64,
    /// When it was opened.
    pub opened_at: Time,
    /// Plaintext bytes in the extents of its share, each counted once.
    pub stored_bytes: u64,
    /// Files and directories of its share that are in sight.
    pub names: u64,
    /// Which generation of its share's key is in force.
    pub key_generation: u32,
    /// Whether it is for devices: they send, and see nothing.
    pub device: bool,
}

/// The columns of a [`Ticket`], and what follows them in the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT t.reference, t.share_id, t.organisation, t.engineer, t.title, t.priority, t.language, t.status, \
             t.token_hash, t.token_generation, t.opened_at, t.stored_bytes, t.names, \
             t.key_generation, t.device FROM ticket t ",
            $rest
        )
    };
}

fn ticket(row: &SqliteRow) -> Result<Ticket, RecordsError> {
    Ok(Ticket {
        reference: text_as(row, "ticket", "reference")?,
        share: bytes_as(row, "ticket", "share_id")?,
        organisation: text_as(row, "ticket", "organisation")?,
        engineer: text_as(row, "ticket", "engineer")?,
        title: row.try_get("title")?,
        priority: Priority::try_from(row.try_get::<i64, _>("priority")?)
            .map_err(|why| RecordsError::Unreadable { table: "ticket", why: why.to_owned() })?,
        language: text_as_option(row, "ticket", "language")?,
        status: text_as(row, "ticket", "status")?,
        token_hash: bytes_as(row, "ticket", "token_hash")?,
        token_generation: row.try_get("token_generation")?,
        opened_at: Time::from_millis(row.try_get("opened_at")?),
        stored_bytes: unsigned(row, "ticket", "stored_bytes")?,
        names: unsigned(row, "ticket", "names")?,
        key_generation: u32::try_from(row.try_get::<i64, _>("key_generation")?)
            .map_err(|_| RecordsError::Unreadable { table: "ticket", why: "key_generation".to_owned() })?,
        device: row.try_get::<i64, _>("device")? != 0,
    })
}

/// What a ticket says of what may be done to its share.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Whether it takes uploads.
    pub status: TicketStatus,
    /// Which generation of its share's key is in force.
    pub key_generation: u32,
    /// Bytes in it.
    pub stored_bytes: u64,
    /// Names in it.
    pub names: u64,
}

/// The columns that [`standing`] reads, of the table `t`.
pub(super) const STANDING: &str = "t.status, t.key_generation, t.stored_bytes, t.names";

/// What the columns from `at` on say; none if there is no such ticket.
pub(super) fn standing(row: &SqliteRow, at: usize) -> Result<Option<Standing>, RecordsError> {
    let Some(status) = text_as_option(row, "ticket", At(at, "status"))? else { return Ok(None) };
    Ok(Some(Standing {
        status,
        key_generation: u32::try_from(row.try_get::<i64, _>(at + 1)?)
            .map_err(|_| RecordsError::Unreadable { table: "ticket", why: "key_generation".to_owned() })?,
        stored_bytes: unsigned(row, "ticket", At(at + 2, "stored_bytes"))?,
        names: unsigned(row, "ticket", At(at + 3, "names"))?,
    }))
}

/// Writes a new ticket down.
///
/// # Errors
/// If the database fails.
pub async fn add(conn: &mut Conn, new: &Ticket) -> Result<(), RecordsError> {
    sqlx::query(
        "INSERT INTO ticket (reference, share_id, organisation, engineer, title, priority, language, status, \
         token_hash, token_generation, opened_at, device) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(new.reference.as_str())
    .bind(&new.share.as_bytes()[..])
    .bind(new.organisation.as_str())
    .bind(new.engineer.as_str())
    .bind(&new.title)
    .bind(i64::from(new.priority.number()))
    .bind(new.language.map(Language::code))
    .bind(new.status.as_str())
    .bind(&new.token_hash[..])
    .bind(new.token_generation)
    .bind(new.opened_at.millis())
    .bind(i64::from(new.device))
    .execute(conn)
    .await?;
    Ok(())
}

/// The ticket with this reference, which may be anything that somebody typed.
///
/// # Errors
/// If the database fails.
pub async fn by_reference(conn: &mut Conn, reference: &str) -> Result<Option<Ticket>, RecordsError> {
    let row = sqlx::query(select!("WHERE t.reference = $1")).bind(reference).fetch_optional(conn).await?;
    row.as_ref().map(ticket).transpose()
}

/// The ticket of a share.
///
/// # Errors
/// If the database fails.
pub async fn by_share(conn: &mut Conn, share: ShareId) -> Result<Option<Ticket>, RecordsError> {
    let row = sqlx::query(select!("WHERE t.share_id = $1")).bind(&share.as_bytes()[..]).fetch_optional(conn).await?;
    row.as_ref().map(ticket).transpose()
}

/// All tickets. Each must be readable, as for what counts or checks them all.
///
/// # Errors
/// If the database fails, or a row cannot be read.
pub async fn all(conn: &mut Conn) -> Result<Vec<Ticket>, RecordsError> {
    all_of(&sqlx::query(select!("ORDER BY t.reference")).fetch_all(conn).await?, ticket)
}

/// All tickets that can be read.
///
/// # Errors
/// If the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<Ticket>, RecordsError> {
    Ok(readable("ticket", &sqlx::query(select!("ORDER BY t.reference")).fetch_all(conn).await?, ticket))
}

pub(super) const ASSIGNED: &str = select!("WHERE t.engineer = $1 AND t.reference > $2 ORDER BY t.reference LIMIT $3");

/// The tickets assigned to an engineer by reference, from behind `after` on, at most `most`, and whether these were the last ones.
///
/// # Errors
/// If the database fails.
pub async fn assigned(
    conn: &mut Conn,
    engineer: &Identifier,
    after: Option<&Identifier>,
    most: usize,
) -> Result<(Vec<Ticket>, bool), RecordsError> {
    let rows = sqlx::query(ASSIGNED)
        .bind(engineer.as_str())
        .bind(after.map_or("", Identifier::as_str))
        .bind(signed(most as u64))
        .fetch_all(conn)
        .await?;
    let tickets = readable("ticket", &rows, ticket);
    // Where nothing of a page can be read there is nothing to go on behind.
    let ended = rows.len() < most || tickets.is_empty();
    Ok((tickets, ended))
}

/// Replaces the token: the generation goes up, by which sessions of the old one are found and ended.
///
/// # Errors
/// If the database fails.
pub async fn set_token(conn: &mut Conn, reference: &Identifier, hash: &[u8; 32]) -> Result<(), RecordsError> {
    sqlx::query("UPDATE ticket SET token_hash = $2, token_generation = token_generation + 1 WHERE reference = $1")
        .bind(reference.as_str())
        .bind(&hash[..])
        .execute(conn)
        .await?;
    Ok(())
}

/// Gives the ticket to another engineer.
///
/// # Errors
/// If the database fails.
pub async fn assign(conn: &mut Conn, reference: &Identifier, engineer: &Identifier) -> Result<(), RecordsError> {
    sqlx::query("UPDATE ticket SET engineer = $2 WHERE reference = $1")
        .bind(reference.as_str())
        .bind(engineer.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// Closes or reopens it.
///
/// # Errors
/// If the database fails.
pub async fn set_status(
    conn: &mut Conn,
    reference: &Identifier,
    status: TicketStatus,
    now: Time,
) -> Result<(), RecordsError> {
    sqlx::query("UPDATE ticket SET status = $2, closed_at = $3 WHERE reference = $1")
        .bind(reference.as_str())
        .bind(status.as_str())
        .bind((status == TicketStatus::Closed).then_some(now.millis()))
        .execute(conn)
        .await?;
    Ok(())
}
