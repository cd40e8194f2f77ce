//! Which items of a ticket's checklist are ticked, by whom and when. They decide no right.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::{Conn, RecordsError, text_as};
use tacdrop_model::{Identifier, Time};

/// An item that is ticked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The item's id in the policy.
    pub item: Identifier,
    /// When.
    pub at: Time,
    /// Who, as the audit trail names them.
    pub actor: String,
}

fn tick(row: &SqliteRow) -> Result<Tick, RecordsError> {
    Ok(Tick {
        item: text_as(row, "checklist_tick", "item")?,
        at: Time::from_millis(row.try_get("at")?),
        actor: row.try_get("actor")?,
    })
}

/// The items of a ticket that are ticked.
pub async fn of_ticket(conn: &mut Conn, ticket: &Identifier) -> Result<Vec<Tick>, RecordsError> {
    ask!("SELECT item, at, actor FROM checklist_tick WHERE ticket = $1 ORDER BY at, item", ticket)
        .readable(conn, "checklist_tick", tick)
        .await
}

/// Ticks an item. Whether it was not ticked before.
pub async fn put(conn: &mut Conn, ticket: &Identifier, new: &Tick) -> Result<bool, RecordsError> {
    let text = "INSERT INTO checklist_tick (ticket, item, at, actor) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    ask!(text, ticket, &new.item, new.at, &new.actor).changed(conn).await
}

/// Takes a tick away. Whether there was one.
pub async fn remove(conn: &mut Conn, ticket: &Identifier, item: &Identifier) -> Result<bool, RecordsError> {
    ask!("DELETE FROM checklist_tick WHERE ticket = $1 AND item = $2", ticket, item).changed(conn).await
}
