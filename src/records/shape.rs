//! The shape of a share's tree, asked in the transaction that is about to change it.

use super::{Conn, RecordsError, signed, unsigned};
use crate::model::DirectoryId;

/// How far a tree goes below one of its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Names on the longest way down, without the entry's own.
    pub depth: u64,
    /// Bytes of the longest path down: each name and the `/` before it.
    pub length: u64,
}

/// Measures what lies in sight below a directory in one question. It goes down at most `levels` levels, so that damaged
/// records with a circle in them end it, too; whatever lies deeper counts as `levels`.
///
/// `overhead` is how many bytes longer a sealed name is than the name.
///
/// # Errors
/// If the database fails.
pub async fn below(
    conn: &mut Conn,
    directory: DirectoryId,
    overhead: usize,
    levels: usize,
) -> Result<Extent, RecordsError> {
    let row = sqlx::query(
        "WITH RECURSIVE below (id, depth, length) AS (\
         SELECT id, 1, length(name) + 1 - $2 FROM entry \
         WHERE parent_id = $1 AND replaced_at IS NULL AND withdrawn_at IS NULL \
         UNION ALL \
         SELECT e.id, b.depth + 1, b.length + length(e.name) + 1 - $2 FROM below b JOIN entry e ON e.parent_id = b.id \
         WHERE b.depth < $3 AND e.replaced_at IS NULL AND e.withdrawn_at IS NULL) \
         SELECT COALESCE(MAX(depth), 0) AS depth, COALESCE(MAX(length), 0) AS length FROM below",
    )
    .bind(&directory.as_bytes()[..])
    .bind(signed(overhead as u64))
    .bind(signed(levels as u64))
    .fetch_one(conn)
    .await?;
    Ok(Extent { depth: unsigned(&row, "entry", "depth")?, length: unsigned(&row, "entry", "length")? })
}
