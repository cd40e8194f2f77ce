//! Versions that became available under a temporary name and that nobody was told of yet.
//!
//! A row stands until its version is announced. One whose version was withdrawn waits: if it
//! becomes available again, it is announced; if it is shredded, the row goes.

use sqlx::Row;

use super::ask::ask;
use super::{Conn, RecordsError, bytes_as, text_as};
use tacdrop_model::{Audience, Identifier, Time, VersionId};

/// Holds the notice of a version to these people back until `due`.
pub async fn hold(conn: &mut Conn, version: VersionId, audience: Audience, due: Time) -> Result<(), RecordsError> {
    let text = "INSERT INTO held_notice (version_id, due, audience) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    ask!(text, version, due, audience.as_str()).run(conn).await
}

/// Takes the held versions of a file, in the order of their numbers, whatever their state: they are
/// to be announced now, each to its people.
pub async fn take_of_entry(conn: &mut Conn, entry: &[u8; 16]) -> Result<Vec<(VersionId, Audience)>, RecordsError> {
    let text = "SELECT v.id, h.audience FROM held_notice h JOIN version v ON v.id = h.version_id \
         WHERE v.entry_id = $1 AND v.state <> 'shredded' ORDER BY v.number";
    let rows = ask!(text, entry).rows(conn).await?;
    let held = rows.iter().map(|row| Ok((bytes_as(row, "version", "id")?, text_as(row, "held_notice", "audience")?)));
    let held = held.collect::<Result<Vec<_>, RecordsError>>()?;
    for (version, _) in &held {
        forget(conn, *version).await?;
    }
    Ok(held)
}

/// A version whose notice is held: with its ticket, and for whom.
pub type Held = (VersionId, Identifier, Audience);

/// The held versions whose time has come, oldest first, at most `most`. Rows of versions that were
/// shredded go.
pub async fn due(conn: &mut Conn, now: Time, most: usize) -> Result<Vec<Held>, RecordsError> {
    let text =
        "DELETE FROM held_notice WHERE due <= $1 AND version_id IN (SELECT id FROM version WHERE state = 'shredded')";
    ask!(text, now).run(conn).await?;
    let text = "SELECT v.id, t.reference, h.audience FROM held_notice h JOIN version v ON v.id = h.version_id \
         JOIN entry e ON e.id = v.entry_id JOIN ticket t ON t.share_id = e.share_id \
         WHERE h.due <= $1 AND v.state IN ('available', 'damaged') ORDER BY h.due, v.number LIMIT $2 + 0";
    ask!(text, now, most)
        .readable(conn, "held_notice", |row| {
            let (id, audience) = (bytes_as(row, "version", "id")?, text_as(row, "held_notice", "audience")?);
            Ok((id, text_as(row, "ticket", "reference")?, audience))
        })
        .await
}

/// The version is announced: it is held no longer.
pub async fn forget(conn: &mut Conn, version: VersionId) -> Result<(), RecordsError> {
    ask!("DELETE FROM held_notice WHERE version_id = $1", version).run(conn).await
}

/// When the next held version is announced if nobody renames it.
pub async fn next_due(conn: &mut Conn) -> Result<Option<Time>, RecordsError> {
    let text = "SELECT MIN(h.due) AS due FROM held_notice h JOIN version v ON v.id = h.version_id \
         WHERE v.state IN ('available', 'damaged')";
    ask!(text).one(conn, |row| Ok(row.try_get::<Option<i64>, _>("due")?.map(Time::from_millis))).await
}
