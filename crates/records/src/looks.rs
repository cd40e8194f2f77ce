//! When engineers last looked at what is new.

use sqlx::Row;

use super::ask::ask;
use super::{Conn, RecordsError};
use tacdrop_model::{Identifier, Time};

/// An engineer's last look at what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// What came then or later was new to it.
    pub since: Time,
    /// When it began.
    pub began: Time,
}

/// The last look of an engineer; none if there was none yet.
pub async fn of(conn: &mut Conn, engineer: &Identifier) -> Result<Option<Look>, RecordsError> {
    let read = |row: &sqlx::sqlite::SqliteRow| {
        let time = |column: &str| row.try_get(column).map(Time::from_millis);
        Ok(Look { since: time("since")?, began: time("began")? })
    };
    ask!("SELECT since, began FROM look WHERE engineer = $1", engineer).maybe(conn, read).await
}

/// Writes an engineer's look down in the place of the one before.
pub async fn put(conn: &mut Conn, engineer: &Identifier, look: Look) -> Result<(), RecordsError> {
    let text = "INSERT INTO look (engineer, since, began) VALUES ($1, $2, $3) \
         ON CONFLICT (engineer) DO UPDATE SET since = $2, began = $3";
    ask!(text, engineer, look.since, look.began).run(conn).await
}

/// Forgets the look of an engineer who is removed.
pub(super) async fn forget(conn: &mut Conn, engineer: &Identifier) -> Result<(), RecordsError> {
    ask!("DELETE FROM look WHERE engineer = $1", engineer).run(conn).await
}
