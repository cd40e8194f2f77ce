//! What operators do about notices that did not arrive.

use super::{Conn, RecordsError};
use crate::model::{Identifier, NoticeId, Time};

/// A notice that was not delivered and was not dismissed goes on as if it had never been tried, at once (`$1`); one that still
/// settles, when it has settled.
macro_rules! again {
    ($($rest:literal),*) => {
        concat!(
            "UPDATE notice SET attempts = 0, lost_answers = 0, ending = NULL, \
             next_attempt_at = CASE WHEN state = 'settling' THEN next_attempt_at ELSE $1 END, \
             state = CASE WHEN state = 'settling' THEN state ELSE 'pending' END",
            $($rest),*,
            " AND state <> 'delivered' AND COALESCE(ending, '') <> 'dismissed'"
        )
    };
}

/// Sends what a ticket's engineer was not told to another one: what waits, and what failed or may have come (but not what was
/// dismissed), as if it had never been tried.
///
/// # Errors
/// If the database fails.
pub async fn redirect(
    conn: &mut Conn,
    ticket: &Identifier,
    recipient: &Identifier,
    now: Time,
) -> Result<(), RecordsError> {
    sqlx::query(again!(", recipient = $3, address = NULL WHERE ticket = $2"))
        .bind(now.millis())
        .bind(ticket.as_str())
        .bind(recipient.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// The same with what an engineer was not told at the address that the engineer had, and not with what goes to another one.
/// How many notices these are.
///
/// # Errors
/// If the database fails.
pub async fn moved(conn: &mut Conn, engineer: &Identifier, now: Time) -> Result<u64, RecordsError> {
    let moved = sqlx::query(again!(" WHERE recipient = $2 AND address IS NULL")).bind(now.millis());
    Ok(moved.bind(engineer.as_str()).execute(conn).await?.rows_affected())
}

/// Has a notice tried again at once, as if it had never been tried.
///
/// # Errors
/// If the database fails.
pub async fn retry(conn: &mut Conn, id: NoticeId, now: Time) -> Result<(), RecordsError> {
    sqlx::query(
        "UPDATE notice SET state = 'pending', ending = NULL, attempts = 0, lost_answers = 0, next_attempt_at = $2 \
         WHERE id = $1 AND state <> 'delivered'",
    )
    .bind(&id.as_bytes()[..])
    .bind(now.millis())
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives a notice another recipient, or another address for the one that it has.
///
/// # Errors
/// If the database fails.
pub async fn readdress(
    conn: &mut Conn,
    id: NoticeId,
    recipient: &Identifier,
    address: Option<&str>,
) -> Result<(), RecordsError> {
    sqlx::query("UPDATE notice SET recipient = $2, address = $3 WHERE id = $1 AND state <> 'delivered'")
        .bind(&id.as_bytes()[..])
        .bind(recipient.as_str())
        .bind(address)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends a notice that need not be delivered any more.
///
/// # Errors
/// If the database fails.
pub async fn dismiss(conn: &mut Conn, id: NoticeId) -> Result<(), RecordsError> {
    sqlx::query(
        "UPDATE notice SET state = 'failed', ending = 'dismissed', next_attempt_at = NULL \
         WHERE id = $1 AND state <> 'delivered'",
    )
    .bind(&id.as_bytes()[..])
    .execute(conn)
    .await?;
    Ok(())
}
