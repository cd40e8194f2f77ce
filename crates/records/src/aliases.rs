//! Aliases of names: who has one when several names of a directory have the same, and whose it is.
//!
//! Rows hold an index of the alias and a rank. A name that is its own alias has a rank below
//! [`ENCODED`], the others have one from there on; in each part ranks are given in the order of
//! coming. Of the entries in sight with one alias, that with the least rank has it (then that with
//! the least id).

use sqlx::Row;

use super::ask::{ask, behind};
use super::entries::Place;
use super::{Conn, RecordsError, bytes_as};
use tacdrop_model::{DirectoryId, ShareId};

/// The first rank of aliases that are not the name itself.
const ENCODED: i64 = 1 << 32;

const LAST_RANK: &str = "SELECT MAX(alias_rank) AS last FROM entry WHERE parent_id = $1 AND alias_index = $2 \
     AND alias_rank >= $3 AND alias_rank < $4 AND id <> $5 AND replaced_at IS NULL AND withdrawn_at IS NULL";
const OVERSHADOWED: &str = "SELECT e.id FROM entry e WHERE e.parent_id = $1 AND e.id > $2 AND e.id <= $3 \
     AND e.replaced_at IS NULL AND e.withdrawn_at IS NULL AND EXISTS (SELECT 1 FROM entry o \
     WHERE o.parent_id = e.parent_id AND o.alias_index = e.alias_index AND o.replaced_at IS NULL \
     AND o.withdrawn_at IS NULL AND (o.alias_rank < e.alias_rank OR (o.alias_rank = e.alias_rank AND o.id < e.id)))";
const HOLDER: &str = "SELECT id FROM entry WHERE parent_id = $1 AND alias_index = $2 AND replaced_at IS NULL \
     AND withdrawn_at IS NULL ORDER BY alias_rank, id LIMIT 1";
/// The sum behind LIMIT is that of [`super::entries::CHILDREN`].
const BY_BEGINNING: &str = "SELECT id FROM entry WHERE parent_id = $1 AND id >= $2 AND id <= $3 \
     AND replaced_at IS NULL AND withdrawn_at IS NULL ORDER BY id LIMIT $4 + 0";

/// The first rank of an alias, and the one behind the last that it can get.
pub(super) const fn ranks(own_alias: bool) -> (i64, i64) {
    let first = if own_alias { 0 } else { ENCODED };
    (first, first + ENCODED)
}

/// The rank of an entry that comes to a place now, behind all that stand there.
pub(super) async fn next_rank(conn: &mut Conn, place: &Place, id: &[u8; 16]) -> Result<i64, RecordsError> {
    let (first, behind) = ranks(place.own_alias);
    ask!(LAST_RANK, place.parent, &place.alias[..], first, behind, id)
        .one(conn, |row| Ok(row.try_get::<Option<i64>, _>("last")?.map_or(first, |last| last + 1)))
        .await
}

/// The entries of a directory behind `after`, up to `last`, whose alias another one has.
pub async fn overshadowed(
    conn: &mut Conn,
    parent: DirectoryId,
    after: Option<[u8; 16]>,
    last: &[u8; 16],
) -> Result<Vec<[u8; 16]>, RecordsError> {
    ask!(OVERSHADOWED, parent, behind(after), last).all(conn, |row| bytes_as(row, "entry", "id")).await
}

/// The entry that has an alias, if it is in sight.
pub async fn holder(conn: &mut Conn, parent: DirectoryId, alias: &[u8; 32]) -> Result<Option<[u8; 16]>, RecordsError> {
    ask!(HOLDER, parent, alias).maybe(conn, |row| bytes_as(row, "entry", "id")).await
}

/// Entries of a directory whose ids begin so, at most `most`, in sight.
pub async fn by_beginning(
    conn: &mut Conn,
    parent: DirectoryId,
    beginning: &[u8],
    most: usize,
) -> Result<Vec<[u8; 16]>, RecordsError> {
    let mut last = [0xff; 16];
    last.iter_mut().zip(beginning).for_each(|(byte, known)| *byte = *known);
    ask!(BY_BEGINNING, parent, beginning, last, most).all(conn, |row| bytes_as(row, "entry", "id")).await
}

/// An entry from the time before there were aliases.
#[derive(Debug)]
pub struct Unfilled {
    /// The entry.
    pub id: [u8; 16],
    /// Its share.
    pub share: ShareId,
    /// The directory that it lies in.
    pub parent: DirectoryId,
    /// The sealed name.
    pub sealed: Vec<u8>,
}

/// Entries without an alias, by id, from behind `after` on, at most `most`.
pub async fn unfilled(conn: &mut Conn, after: Option<[u8; 16]>, most: usize) -> Result<Vec<Unfilled>, RecordsError> {
    let text = "SELECT id, share_id, parent_id, name FROM entry WHERE alias_index IS NULL AND parent_id IS NOT NULL AND id > $1 \
         ORDER BY id LIMIT $2 + 0";
    ask!(text, behind(after), most)
        .all(conn, |row| {
            Ok(Unfilled {
                id: bytes_as(row, "entry", "id")?,
                share: bytes_as(row, "entry", "share_id")?,
                parent: bytes_as(row, "entry", "parent_id")?,
                sealed: row.try_get::<Option<Vec<u8>>, _>("name")?.unwrap_or_default(),
            })
        })
        .await
}

/// Gives such an entry its alias, unless it was renamed meanwhile. Of `place`, index and parent
/// stand in the row already.
pub async fn fill(conn: &mut Conn, id: &[u8; 16], place: &Place) -> Result<(), RecordsError> {
    let rank = next_rank(conn, place, id).await?;
    let text = "UPDATE entry SET alias_index = $4, alias_rank = $5 WHERE id = $1 AND parent_id = $2 AND name = $3 \
         AND alias_index IS NULL";
    ask!(text, id, place.parent, &place.sealed[..], &place.alias[..], rank).run(conn).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Records;
    use crate::entries::CHILDREN;
    use tacdrop_probe::plan;

    /// What is asked once a page or for a name is a search of an index, however many names a
    /// directory has.
    #[tokio::test]
    async fn r50_listings_and_aliases_are_looked_up_by_index() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(&directory.path().join("records.sqlite")).await.unwrap();
        let mut conn = records.read().await.unwrap();
        for (sql, indexes) in [
            (CHILDREN, &["e USING INDEX entry_by_parent (parent_id=? AND id>?)"][..]),
            (OVERSHADOWED, &["(parent_id=? AND id>? AND id<?)", "entry_by_alias (parent_id=? AND alias_index=?"]),
            (HOLDER, &["entry_by_alias (parent_id=? AND alias_index=?)"]),
            (BY_BEGINNING, &["(parent_id=? AND id>? AND id<?)"]),
            (LAST_RANK, &["entry_by_alias (parent_id=? AND alias_index=? AND alias_rank>? AND alias_rank<?)"]),
        ] {
            let plan = plan(&mut conn, sql).await.join("\n");
            for index in indexes {
                assert!(plan.contains(index), "{index} is not used:\n{plan}");
            }
            assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
