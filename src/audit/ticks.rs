//! An item of a ticket's checklist is ticked, or a tick is taken away: the row, and the trail's entry
//! of it. A person does that by a command; who recognises a file by its content comes here as well.

use serde_json::json;

use super::{Actor, Kind, Subject, write};
use crate::model::{Identifier, Time};
use crate::records::checklists::{self, Tick};
use crate::records::{Conn, RecordsError};

/// Ticks an item, in the caller's transaction. Whether it was not ticked before.
///
/// # Errors
/// If the records fail.
pub(crate) async fn tick(
    conn: &mut Conn,
    ticket: &Identifier,
    item: &Identifier,
    actor: &Actor,
    at: Time,
) -> Result<bool, RecordsError> {
    let new = Tick { item: item.clone(), at, actor: actor.as_str().to_owned() };
    let is_new = checklists::put(conn, ticket, &new).await?;
    if is_new {
        note(conn, Kind::TicketTicked, ticket, item, actor).await?;
    }
    Ok(is_new)
}

/// Takes a tick away, in the caller's transaction. Whether there was one.
///
/// # Errors
/// If the records fail.
pub(crate) async fn untick(
    conn: &mut Conn,
    ticket: &Identifier,
    item: &Identifier,
    actor: &Actor,
) -> Result<bool, RecordsError> {
    let was_there = checklists::remove(conn, ticket, item).await?;
    if was_there {
        note(conn, Kind::TicketUnticked, ticket, item, actor).await?;
    }
    Ok(was_there)
}

async fn note(
    conn: &mut Conn,
    kind: Kind,
    ticket: &Identifier,
    item: &Identifier,
    actor: &Actor,
) -> Result<(), RecordsError> {
    let subject = Subject { actor, ticket: Some(ticket), id: None };
    write(conn, kind, subject, &json!({ "item": item.as_str() })).await
}
