//! What operators do about notices that did not arrive.

use super::ask::ask;
use super::{Conn, RecordsError};
use crate::model::{NoticeId, Time, Word};

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
pub async fn redirect(conn: &mut Conn, ticket: &Word, recipient: &Word, now: Time) -> Result<(), RecordsError> {
    ask!(again!(", recipient = $3, address = NULL WHERE ticket = $2"), now, ticket.as_str(), recipient.as_str())
        .run(conn)
        .await
}

/// The same with what an engineer was not told at the address that the engineer had, and not with what goes to another one.
/// How many notices these are.
pub async fn moved(conn: &mut Conn, engineer: &Word, now: Time) -> Result<u64, RecordsError> {
    Ok(ask!(again!(" WHERE recipient = $2 AND address IS NULL"), now, engineer.as_str()).changes(conn).await?)
}

/// Has a notice tried again at once, as if it had never been tried.
pub async fn retry(conn: &mut Conn, id: NoticeId, now: Time) -> Result<(), RecordsError> {
    let text = "UPDATE notice SET state = 'pending', ending = NULL, attempts = 0, lost_answers = 0, next_attempt_at = $2 \
         WHERE id = $1 AND state <> 'delivered'";
    ask!(text, id, now).run(conn).await
}

/// Gives a notice another recipient, or another address for the one that it has.
pub async fn readdress(
    conn: &mut Conn,
    id: NoticeId,
    recipient: &Word,
    address: Option<&str>,
) -> Result<(), RecordsError> {
    let text = "UPDATE notice SET recipient = $2, address = $3 WHERE id = $1 AND state <> 'delivered'";
    ask!(text, id, recipient.as_str(), address).run(conn).await
}

/// Ends a notice that need not be delivered any more.
pub async fn dismiss(conn: &mut Conn, id: NoticeId) -> Result<(), RecordsError> {
    let text = "UPDATE notice SET state = 'failed', ending = 'dismissed', next_attempt_at = NULL \
         WHERE id = $1 AND state <> 'delivered'";
    ask!(text, id).run(conn).await
}
