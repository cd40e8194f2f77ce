//! A file's versions over the entries that it had.

use crate::records::entries::{self, EntryRow};
use crate::records::versions::VersionRow;
use crate::records::{Conn, RecordsError};

/// The number of the version that readers of a file get, for people: it may belong to one of the
/// file's predecessors.
pub(crate) async fn number_for_people(
    conn: &mut Conn,
    file: &EntryRow,
    version: &VersionRow,
) -> Result<u64, RecordsError> {
    if version.artifact.as_bytes() == &file.id {
        return Ok(file.number_base + version.number);
    }
    let base = entries::by_id(conn, version.artifact.as_bytes()).await?.map_or(0, |row| row.number_base);
    Ok(base + version.number)
}
