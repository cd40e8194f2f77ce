//! Files out of sight: withdrawn, restored, shredded. What is done to one is done to its whole
//! [chain](super::version_chain).

use sqlx::Row;

use super::ask::ask;
use super::entries;
use super::versions::move_versions;
use super::{Conn, RecordsError, bytes_as, text_as, tickets};
use tacdrop_model::{DirectoryId, HouseTime, Identifier, Time, VersionState};

/// Takes a file out of sight, with all its versions, those of its predecessors too. False if it was
/// out of sight already.
pub async fn withdraw(conn: &mut Conn, id: &[u8; 16], now: Time, house: HouseTime) -> Result<bool, RecordsError> {
    if !entries::withdraw(conn, id, now).await? {
        return Ok(false);
    }
    ask!("UPDATE entry SET withdrawn_house = $2 WHERE id = $1", id, house).run(conn).await?;
    move_versions(conn, id, VersionState::Available, VersionState::Withdrawn).await?;
    Ok(true)
}

/// Marks a withdrawn entry as followed by another one that names it as its predecessor: its
/// versions are older versions of that one, and safe.
pub async fn mark_replaced(conn: &mut Conn, id: &[u8; 16], now: Time) -> Result<(), RecordsError> {
    ask!("UPDATE entry SET replaced_at = $2, withdrawn_at = NULL, withdrawn_house = NULL WHERE id = $1", id, now)
        .run(conn)
        .await?;
    move_versions(conn, id, VersionState::Withdrawn, VersionState::Available).await?;
    Ok(())
}

/// Puts a withdrawn file back into the tree, with its versions. False if there is nothing to put
/// back.
///
/// # Errors
/// [`RecordsError::Exists`] if its name is taken.
pub async fn restore(conn: &mut Conn, file: &[u8; 16]) -> Result<bool, RecordsError> {
    let text = "UPDATE entry SET withdrawn_at = NULL, withdrawn_house = NULL WHERE id = $1 AND withdrawn_at IS NOT NULL \
         AND replaced_at IS NULL AND shredded_at IS NULL";
    if !ask!(text, file).changed(conn).await? {
        return Ok(false);
    }
    tickets::count_name_of(conn, file).await?;
    move_versions(conn, file, VersionState::Withdrawn, VersionState::Available).await?;
    Ok(true)
}

/// Writes down that no key of a withdrawn file is left.
pub async fn mark_shredded(conn: &mut Conn, file: &[u8; 16], now: Time) -> Result<(), RecordsError> {
    ask!("UPDATE entry SET shredded_at = $2 WHERE id = $1 AND withdrawn_at IS NOT NULL", file, now).run(conn).await
}

/// Files that were withdrawn before `before` and still have keys, oldest first, at most `most`,
/// with their tickets. What is held is not among them.
pub async fn past_grace(
    conn: &mut Conn,
    before: HouseTime,
    most: u32,
) -> Result<Vec<([u8; 16], Identifier)>, RecordsError> {
    let text = "SELECT e.id, t.reference FROM entry e JOIN ticket t ON t.share_id = e.share_id WHERE e.kind = 'file' \
         AND e.withdrawn_house <= $1 AND e.withdrawn_at IS NOT NULL AND e.replaced_at IS NULL \
         AND e.shredded_at IS NULL AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.share_id = e.share_id) ORDER BY e.withdrawn_house LIMIT $2 + 0";
    ask!(text, before, most)
        .readable(conn, "entry", |row| Ok((bytes_as(row, "entry", "id")?, text_as(row, "ticket", "reference")?)))
        .await
}

/// Whether a file is still withdrawn, since `before` at the latest, has keys, and is not held.
pub async fn is_past_grace(conn: &mut Conn, file: &[u8; 16], before: HouseTime) -> Result<bool, RecordsError> {
    let text = "SELECT 1 FROM entry WHERE id = $1 AND withdrawn_house <= $2 AND withdrawn_at IS NOT NULL \
         AND replaced_at IS NULL AND shredded_at IS NULL \
         AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.share_id = entry.share_id)";
    ask!(text, file, before).exists(conn).await
}

/// A file that is out of sight.
#[derive(Debug, Clone, Copy)]
pub struct WithdrawnRow {
    /// The entry that stands for it.
    pub id: [u8; 16],
    /// When it was withdrawn.
    pub since: HouseTime,
    /// Whether its keys are gone.
    pub shredded: bool,
}

/// The withdrawn files of this name in this directory, which may be out of sight itself.
pub async fn files(conn: &mut Conn, parent: DirectoryId, index: &[u8; 32]) -> Result<Vec<WithdrawnRow>, RecordsError> {
    let text = "SELECT id, withdrawn_house, shredded_at FROM entry WHERE parent_id = $1 AND name_index = $2 \
         AND kind = 'file' AND withdrawn_at IS NOT NULL AND replaced_at IS NULL";
    ask!(text, parent, index)
        .all(conn, |row| {
            Ok(WithdrawnRow {
                id: bytes_as(row, "entry", "id")?,
                since: HouseTime::from_millis(row.try_get::<Option<i64>, _>("withdrawn_house")?.unwrap_or(0)),
                shredded: row.try_get::<Option<i64>, _>("shredded_at")?.is_some(),
            })
        })
        .await
}

/// The directories of this name in this directory, in sight or not.
pub async fn directories(
    conn: &mut Conn,
    parent: DirectoryId,
    index: &[u8; 32],
) -> Result<Vec<DirectoryId>, RecordsError> {
    ask!("SELECT id FROM entry WHERE parent_id = $1 AND name_index = $2 AND kind = 'directory'", parent, index)
        .all(conn, |row| bytes_as(row, "entry", "id"))
        .await
}
