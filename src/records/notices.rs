//! Notices and the outbox: what people are still to be told.

use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::readable::{name, readable, say};
use super::{Conn, RecordsError, bytes_as, signed, text_as, unsigned};
use crate::model::{ArtifactId, Identifier, NoticeId, NoticeState, Time, VersionId, VersionState};

/// One message to one person about one ticket.
#[derive(Debug, Clone)]
pub struct NoticeRow {
    /// Its id, which becomes the mail's Message-ID.
    pub id: NoticeId,
    /// The ticket.
    pub ticket: Identifier,
    /// The engineer it goes to.
    pub recipient: Identifier,
    /// Where it stands.
    pub state: NoticeState,
    /// `mail` or `spool`, once tried; `none`: it had nothing left to say.
    pub channel: Option<String>,
    /// How often it was tried.
    pub attempts: u64,
    /// When its first upload became available.
    pub created_at: Time,
    /// When it is tried next.
    pub next_attempt_at: Option<Time>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// How often it was handed over and no answer came.
    pub lost_answers: u64,
    /// A mail address that takes the place of the recipient's.
    pub address: Option<String>,
    /// Where it goes: that address, or the recipient's; none if the recipient is not in the records.
    pub goes_to: Option<String>,
    /// Whether it is being handed over there just now, or was when the server stopped.
    pub handed_over: bool,
}

/// Where a notice goes, of a row of the table `notice`.
macro_rules! goes_to {
    () => {
        "COALESCE(notice.address, (SELECT e.email FROM engineer e WHERE e.id = notice.recipient))"
    };
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT notice.id, ticket, recipient, COALESCE(ending, state) AS state, channel, attempts, created_at, \
             next_attempt_at, last_error, lost_answers, address, ",
            goes_to!(),
            " AS goes_to, handed_to FROM notice ",
            $rest
        )
    };
}

fn notice(row: &SqliteRow) -> Result<NoticeRow, RecordsError> {
    // It is the engineer's: a fault there is none of the notice.
    let goes_to: Option<String> = row.try_get("goes_to").unwrap_or_default();
    let handed_to: Option<String> = row.try_get("handed_to")?;
    Ok(NoticeRow {
        id: bytes_as(row, "notice", "id")?,
        ticket: text_as(row, "notice", "ticket")?,
        recipient: text_as(row, "notice", "recipient")?,
        state: text_as(row, "notice", "state")?,
        channel: row.try_get("channel")?,
        attempts: unsigned(row, "notice", "attempts")?,
        created_at: Time::from_millis(row.try_get("created_at")?),
        next_attempt_at: row.try_get::<Option<i64>, _>("next_attempt_at")?.map(Time::from_millis),
        last_error: row.try_get("last_error")?,
        lost_answers: unsigned(row, "notice", "lost_answers")?,
        address: row.try_get("address")?,
        handed_over: handed_to.is_some() && handed_to == goes_to,
        goes_to,
    })
}

/// The notice of a ticket that still gathers uploads.
///
/// # Errors
/// If the database fails.
pub async fn settling(conn: &mut Conn, ticket: &Identifier) -> Result<Option<NoticeRow>, RecordsError> {
    let row = sqlx::query(select!("WHERE ticket = $1 AND state = 'settling' ORDER BY created_at LIMIT 1"))
        .bind(ticket.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(notice).transpose()
}

/// Begins a notice that gathers uploads until `due`.
///
/// # Errors
/// If the database fails.
pub async fn begin(
    conn: &mut Conn,
    id: NoticeId,
    ticket: &Identifier,
    recipient: &Identifier,
    now: Time,
    due: Time,
) -> Result<(), RecordsError> {
    sqlx::query(
        "INSERT INTO notice (id, ticket, recipient, state, created_at, next_attempt_at) \
         VALUES ($1, $2, $3, 'settling', $4, $5)",
    )
    .bind(&id.as_bytes()[..])
    .bind(ticket.as_str())
    .bind(recipient.as_str())
    .bind(now.millis())
    .bind(due.millis())
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts a settling notice off because another upload came.
///
/// # Errors
/// If the database fails.
pub async fn put_off(conn: &mut Conn, id: NoticeId, due: Time) -> Result<(), RecordsError> {
    sqlx::query("UPDATE notice SET next_attempt_at = $2 WHERE id = $1 AND state = 'settling'")
        .bind(&id.as_bytes()[..])
        .bind(due.millis())
        .execute(conn)
        .await?;
    Ok(())
}

/// What a notice says of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// It came.
    Available,
    /// It was closed with bytes missing.
    Incomplete,
    /// It will be removed unfinished.
    Expiring,
}

impl About {
    /// The word for it in records and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Incomplete => "incomplete",
            Self::Expiring => "expiring",
        }
    }
}

impl std::str::FromStr for About {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Available, Self::Incomplete, Self::Expiring].into_iter().find(|about| about.as_str() == text).ok_or(())
    }
}

/// Adds a version to a notice. If the notice speaks of it already, it says the newer thing of it.
///
/// # Errors
/// If the database fails.
pub async fn attach(conn: &mut Conn, id: NoticeId, version: VersionId, about: About) -> Result<(), RecordsError> {
    sqlx::query(
        "INSERT INTO notice_version (notice_id, version_id, about) VALUES ($1, $2, $3) \
         ON CONFLICT (notice_id, version_id) DO UPDATE SET about = $3",
    )
    .bind(&id.as_bytes()[..])
    .bind(&version.as_bytes()[..])
    .bind(about.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// How many notices are still to be delivered.
///
/// # Errors
/// If the database fails.
pub async fn waiting(conn: &mut Conn) -> Result<u64, RecordsError> {
    let row = sqlx::query("SELECT COUNT(*) AS waiting FROM notice WHERE next_attempt_at IS NOT NULL");
    unsigned(&row.fetch_one(conn).await?, "notice", "waiting")
}

/// Closes the notices that have settled: what comes later goes into the next one.
///
/// # Errors
/// If the database fails.
pub async fn close_settled(conn: &mut Conn, now: Time) -> Result<u64, RecordsError> {
    let done = sqlx::query("UPDATE notice SET state = 'pending' WHERE state = 'settling' AND next_attempt_at <= $1")
        .bind(now.millis())
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// The notices to be delivered now, oldest first. One whose row cannot be read is ended as `failed`, so that it does not stand before
/// the others for ever.
///
/// # Errors
/// If the database fails.
pub async fn due(conn: &mut Conn, now: Time, most: usize) -> Result<Vec<NoticeRow>, RecordsError> {
    let rows = sqlx::query(select!(
        "WHERE state = 'pending' AND next_attempt_at <= $1 ORDER BY next_attempt_at, created_at LIMIT $2"
    ))
    .bind(now.millis())
    .bind(signed(most as u64))
    .fetch_all(&mut *conn)
    .await?;
    let mut due = Vec::with_capacity(rows.len());
    for row in &rows {
        match notice(row) {
            Ok(notice) => due.push(notice),
            Err(error) => {
                say("notice", row, &error);
                let id: &[u8] = row.try_get(0)?;
                sqlx::query(
                    "UPDATE notice SET state = 'failed', next_attempt_at = NULL, last_error = $2 WHERE id = $1",
                )
                .bind(id)
                .bind(error.to_string())
                .execute(&mut *conn)
                .await?;
            }
        }
    }
    Ok(due)
}

/// When the next notice settles or is tried.
///
/// # Errors
/// If the database fails.
pub async fn next_due(conn: &mut Conn) -> Result<Option<Time>, RecordsError> {
    let row = sqlx::query("SELECT MIN(next_attempt_at) AS due FROM notice WHERE next_attempt_at IS NOT NULL AND typeof(next_attempt_at) = 'integer'")
        .fetch_one(conn)
        .await?;
    Ok(row.try_get::<Option<i64>, _>("due")?.map(Time::from_millis))
}

/// Writes down that a notice is about to be handed over to an address, by a mail server that may take it without saying so. Whether
/// it is: not if it was delivered, ended, or goes elsewhere by now.
///
/// # Errors
/// If the database fails.
pub async fn hand_over(conn: &mut Conn, id: NoticeId, address: &str, may_be_lost: bool) -> Result<bool, RecordsError> {
    let done = sqlx::query(concat!(
        "UPDATE notice SET handed_to = CASE WHEN $3 THEN $2 END WHERE id = $1 AND state = 'pending' AND $2 = ",
        goes_to!()
    ))
    .bind(&id.as_bytes()[..])
    .bind(address)
    .bind(may_be_lost)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The notices that were being handed over when the server stopped, oldest first.
///
/// # Errors
/// If the database fails.
pub async fn interrupted(conn: &mut Conn) -> Result<Vec<NoticeRow>, RecordsError> {
    let rows = sqlx::query(concat!(
        select!("WHERE state <> 'delivered' AND handed_to = "),
        goes_to!(),
        " ORDER BY created_at, notice.id"
    ));
    Ok(readable("notice", &rows.fetch_all(conn).await?, notice))
}

/// Writes down that it was delivered to this address. Whether that ends it: not if it has ended already, or goes elsewhere by now.
///
/// # Errors
/// If the database fails.
pub async fn delivered(
    conn: &mut Conn,
    id: NoticeId,
    address: &str,
    channel: &str,
    now: Time,
) -> Result<bool, RecordsError> {
    let done = sqlx::query(concat!(
        "UPDATE notice SET state = 'delivered', ending = NULL, channel = $2, delivered_at = $3, next_attempt_at = NULL, \
         attempts = attempts + 1, last_error = NULL, handed_to = NULL WHERE id = $1 AND state <> 'delivered' AND $4 = ",
        goes_to!()
    ))
    .bind(&id.as_bytes()[..])
    .bind(channel)
    .bind(now.millis())
    .bind(address)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// What became of a try that did not succeed.
#[derive(Debug, Clone, Copy)]
pub struct Tried<'a> {
    /// Where it went.
    pub address: &'a str,
    /// How.
    pub channel: &'a str,
    /// What went wrong.
    pub error: &'a str,
    /// When the next try is; none: given up.
    pub next: Option<Time>,
    /// Whether the mail was handed over, and no answer came.
    pub lost: bool,
}

/// Writes down that a try failed. A notice that was ever handed over without an answer ends as `unknown`. One that was dismissed
/// meanwhile stays so, and one that goes elsewhere by now has nothing to do with it.
///
/// # Errors
/// If the database fails.
pub async fn tried(conn: &mut Conn, id: NoticeId, tried: Tried<'_>) -> Result<(), RecordsError> {
    sqlx::query(concat!(
        "UPDATE notice SET state = CASE WHEN $4 IS NULL THEN 'failed' ELSE 'pending' END, \
         ending = CASE WHEN $4 IS NULL AND lost_answers + $5 > 0 THEN 'unknown' ELSE NULL END, channel = $2, \
         attempts = attempts + 1, lost_answers = lost_answers + $5, last_error = $3, next_attempt_at = $4, handed_to = NULL \
         WHERE id = $1 AND state <> 'delivered' AND COALESCE(ending, '') <> 'dismissed' AND $6 = ",
        goes_to!()
    ))
    .bind(&id.as_bytes()[..])
    .bind(tried.channel)
    .bind(tried.error)
    .bind(tried.next.map(Time::millis))
    .bind(i64::from(tried.lost))
    .bind(tried.address)
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a notice that cannot be put together, as `failed`; not if it was changed since `row` was read.
///
/// # Errors
/// If the database fails.
pub async fn unwritable(conn: &mut Conn, row: &NoticeRow, error: &str) -> Result<(), RecordsError> {
    sqlx::query(
        "UPDATE notice SET state = 'failed', channel = 'none', attempts = attempts + 1, last_error = $2, \
         next_attempt_at = NULL WHERE id = $1 AND state = 'pending' AND recipient = $3 AND address IS $4",
    )
    .bind(&row.id.as_bytes()[..])
    .bind(error)
    .bind(row.recipient.as_str())
    .bind(row.address.as_deref())
    .execute(conn)
    .await?;
    Ok(())
}

/// One notice.
///
/// # Errors
/// If the database fails.
pub async fn by_id(conn: &mut Conn, id: NoticeId) -> Result<Option<NoticeRow>, RecordsError> {
    let row = sqlx::query(select!("WHERE notice.id = $1")).bind(&id.as_bytes()[..]).fetch_optional(conn).await?;
    row.as_ref().map(notice).transpose()
}

/// The notices that ended without being delivered, oldest first; not those that were dismissed.
///
/// # Errors
/// If the database fails.
pub async fn ended_undelivered(conn: &mut Conn) -> Result<Vec<NoticeRow>, RecordsError> {
    let rows = sqlx::query(select!(
        "WHERE state = 'failed' AND COALESCE(ending, '') <> 'dismissed' ORDER BY created_at, notice.id"
    ));
    Ok(readable("notice", &rows.fetch_all(conn).await?, notice))
}

/// The wall clock went back by `by`: everything that waits keeps its distance from now.
///
/// # Errors
/// If the database fails.
pub async fn clock_went_back(conn: &mut Conn, by: Duration) -> Result<(), RecordsError> {
    let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    sqlx::query(
        "UPDATE notice SET created_at = created_at - $1, next_attempt_at = next_attempt_at - $1 \
         WHERE next_attempt_at IS NOT NULL",
    )
    .bind(by)
    .execute(&mut *conn)
    .await?;
    sqlx::query("UPDATE held_notice SET due = due - $1").bind(by).execute(conn).await?;
    Ok(())
}

/// The wall clock may have gone back while no server ran: nothing waits longer than `longest` from now on.
///
/// # Errors
/// If the database fails.
pub async fn wait_at_most(conn: &mut Conn, now: Time, longest: Duration) -> Result<(), RecordsError> {
    let latest = now.plus(longest).millis();
    sqlx::query(
        "UPDATE notice SET created_at = CASE WHEN created_at > $1 THEN $1 ELSE created_at END, next_attempt_at = \
         CASE WHEN next_attempt_at > $2 OR created_at > $1 THEN $1 ELSE next_attempt_at END \
         WHERE next_attempt_at IS NOT NULL AND (next_attempt_at > $2 OR created_at > $1)",
    )
    .bind(now.millis())
    .bind(latest)
    .execute(conn)
    .await?;
    Ok(())
}

/// A version that a notice speaks of.
#[derive(Debug, Clone, Copy)]
pub struct NoticeItem {
    /// The version.
    pub version: VersionId,
    /// Its file.
    pub artifact: ArtifactId,
    /// Why the notice speaks of it.
    pub about: About,
    /// Where it stands by now.
    pub state: VersionState,
}

/// What a notice speaks of.
#[derive(Debug, Default)]
pub struct Told {
    /// The versions, in the order in which they became available.
    pub rows: Vec<NoticeItem>,
    /// The ids of artifacts, or where these are not known of versions, whose rows cannot be read or are missing.
    pub unreadable: Vec<String>,
}

/// The versions that a notice speaks of.
///
/// # Errors
/// If the database fails.
pub async fn told(conn: &mut Conn, id: NoticeId) -> Result<Told, RecordsError> {
    let rows = sqlx::query(
        "SELECT nv.version_id, nv.about, v.entry_id, v.state FROM notice_version nv LEFT JOIN version v ON v.id = nv.version_id \
         WHERE nv.notice_id = $1 ORDER BY COALESCE(v.received_at, v.opened_at), v.id",
    )
    .bind(&id.as_bytes()[..])
    .fetch_all(conn)
    .await?;
    let mut told = Told::default();
    for row in &rows {
        match told_row(row) {
            Ok(row) => told.rows.push(row),
            Err(error) => {
                say("notice_version", row, &error);
                let known = matches!(row.try_get::<Option<&[u8]>, _>(2), Ok(Some(_)));
                told.unreadable.push(name(row, if known { 2 } else { 0 }));
            }
        }
    }
    Ok(told)
}

fn told_row(row: &SqliteRow) -> Result<NoticeItem, RecordsError> {
    Ok(NoticeItem {
        version: bytes_as(row, "notice_version", "version_id")?,
        artifact: bytes_as(row, "version", "entry_id")?,
        about: text_as(row, "notice_version", "about")?,
        state: text_as(row, "version", "state")?,
    })
}

/// Notices whose settling time is over.
///
/// # Errors
/// If the database fails.
pub async fn settled(conn: &mut Conn, now: Time) -> Result<Vec<NoticeRow>, RecordsError> {
    let rows = sqlx::query(select!("WHERE state = 'settling' AND next_attempt_at <= $1 ORDER BY created_at"))
        .bind(now.millis())
        .fetch_all(conn)
        .await?;
    Ok(readable("notice", &rows, notice))
}

/// Closes a notice that has nothing left to say: it counts as delivered, by the channel `none`, without a try. Whether it did: not
/// if it has ended otherwise meanwhile.
///
/// # Errors
/// If the database fails.
pub async fn void(conn: &mut Conn, id: NoticeId, now: Time) -> Result<bool, RecordsError> {
    let done = sqlx::query(
        "UPDATE notice SET state = 'delivered', channel = 'none', delivered_at = $2, next_attempt_at = NULL, \
         last_error = NULL, handed_to = NULL WHERE id = $1 AND state = 'pending'",
    )
    .bind(&id.as_bytes()[..])
    .bind(now.millis())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// All notices, or those of one ticket, oldest first.
///
/// # Errors
/// If the database fails.
pub async fn list(conn: &mut Conn, ticket: Option<&Identifier>) -> Result<Vec<NoticeRow>, RecordsError> {
    let rows = sqlx::query(select!("WHERE ticket = COALESCE($1, ticket) ORDER BY created_at, notice.id"))
        .bind(ticket.map(Identifier::as_str))
        .fetch_all(conn)
        .await?;
    Ok(readable("notice", &rows, notice))
}

/// The first notice of a ticket: later ones refer to it, so that mail programs show one thread.
///
/// # Errors
/// If the database fails.
pub async fn first_of(conn: &mut Conn, ticket: &Identifier) -> Result<Option<NoticeId>, RecordsError> {
    let row = sqlx::query("SELECT id FROM notice WHERE ticket = $1 ORDER BY created_at, id LIMIT 1")
        .bind(ticket.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(|row| bytes_as(row, "notice", "id")).transpose()
}
