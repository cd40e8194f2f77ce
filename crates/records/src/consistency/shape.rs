//! The shape of a share's tree, asked in the transaction that is about to change it.

use sqlx::Row;

use crate::ask::ask;
use crate::{Conn, RecordsError, bytes_as, bytes_as_option, unsigned};
use tacdrop_model::{DirectoryId, ShareId};

/// How far a tree goes below one of its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Names on the longest way down, without the entry's own.
    pub depth: u64,
    /// Bytes of the longest path down: each name and the `/` before it.
    pub length: u64,
}

/// Measures what lies in sight below a directory in one question. It goes down at most `levels`
/// levels, so that damaged records with a circle in them end it, too; whatever lies deeper counts
/// as `levels`.
///
/// `overhead` is how many bytes longer a sealed name is than the name.
pub async fn below(
    conn: &mut Conn,
    directory: DirectoryId,
    overhead: usize,
    levels: usize,
) -> Result<Extent, RecordsError> {
    let text = "WITH RECURSIVE below (id, depth, length) AS (\
         SELECT id, 1, length(name) + 1 - $2 FROM entry \
         WHERE parent_id = $1 AND replaced_at IS NULL AND withdrawn_at IS NULL \
         UNION ALL \
         SELECT e.id, b.depth + 1, b.length + length(e.name) + 1 - $2 FROM below b JOIN entry e ON e.parent_id = b.id \
         WHERE b.depth < $3 AND e.replaced_at IS NULL AND e.withdrawn_at IS NULL) \
         SELECT COALESCE(MAX(depth), 0) AS depth, COALESCE(MAX(length), 0) AS length FROM below";
    ask!(text, directory, overhead, levels)
        .one(conn, |row| {
            Ok(Extent { depth: unsigned(row, "entry", "depth")?, length: unsigned(row, "entry", "length")? })
        })
        .await
}

/// An entry in sight that no path reaches.
#[derive(Debug, Clone)]
pub struct Unreached {
    /// Its id.
    pub id: [u8; 16],
    /// What it should lie in.
    pub parent: [u8; 16],
    /// Its sealed name.
    pub name: Option<Vec<u8>>,
    /// Whether it is a directory.
    pub is_directory: bool,
}

/// The entries of a share that can be read, that are in sight, and that no way down from its root
/// leads to, by id.
pub async fn unreached(conn: &mut Conn, share: ShareId) -> Result<Vec<Unreached>, RecordsError> {
    let text = "WITH RECURSIVE reached (id) AS (SELECT id FROM entry WHERE id = $2 \
         UNION SELECT e.id FROM reached r JOIN entry e ON e.parent_id = r.id \
         WHERE e.kind = 'directory' AND e.share_id = $1 AND e.replaced_at IS NULL AND e.withdrawn_at IS NULL) \
         SELECT id, parent_id, name, kind = 'directory' AS is_directory FROM entry WHERE share_id = $1 \
         AND parent_id IS NOT NULL AND replaced_at IS NULL AND withdrawn_at IS NULL \
         AND parent_id NOT IN (SELECT id FROM reached) ORDER BY id";
    ask!(text, share, DirectoryId::root_of(share))
        .readable(conn, "entry", |row| {
            Ok(Unreached {
                id: bytes_as(row, "entry", "id")?,
                parent: bytes_as(row, "entry", "parent_id")?,
                name: bytes_as_option::<Vec<u8>>(row, "entry", "name")?,
                is_directory: row.try_get("is_directory")?,
            })
        })
        .await
}
