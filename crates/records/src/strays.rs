//! Objects of the store that no row knows, in quarantine.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::{ask, behind};
use super::objects::is_known;
use super::{Conn, RecordsError, bytes_as, unsigned};
use tacdrop_model::{HouseTime, ObjectId};

/// An object of the store that no row knew when it was looked for.
#[derive(Debug, Clone, Copy)]
pub struct Stray {
    /// The object.
    pub id: ObjectId,
    /// Its bytes.
    pub bytes: u64,
    /// When it was seen first.
    pub first_seen: HouseTime,
    /// When it was seen again after its quarantine.
    pub confirmed_at: Option<HouseTime>,
}

pub(super) fn stray(row: &SqliteRow) -> Result<Stray, RecordsError> {
    Ok(Stray {
        id: bytes_as(row, "stray", "object_id")?,
        bytes: unsigned(row, "stray", "bytes")?,
        first_seen: HouseTime::from_millis(row.try_get("first_seen")?),
        confirmed_at: row.try_get::<Option<i64>, _>("confirmed_at")?.map(HouseTime::from_millis),
    })
}

/// Writes down that a scan has seen an object of the store which no row knows. Seen again after its
/// quarantine, it is confirmed: `quarantined_since` is what its first sight must not be later than.
pub async fn see(
    conn: &mut Conn,
    id: ObjectId,
    bytes: u64,
    now: HouseTime,
    quarantined_since: HouseTime,
) -> Result<(), RecordsError> {
    let text = concat!(
        "INSERT INTO stray (object_id, bytes, first_seen) SELECT $1, $2, $3 WHERE NOT ",
        is_known!(),
        " ON CONFLICT (object_id) DO UPDATE SET confirmed_at = $3 \
         WHERE stray.confirmed_at IS NULL AND stray.first_seen <= $4"
    );
    ask!(text, id, bytes, now, quarantined_since).run(conn).await
}

/// Ends an object's quarantine: a row knows it again, or it is gone.
pub async fn forget(conn: &mut Conn, id: ObjectId) -> Result<(), RecordsError> {
    ask!("DELETE FROM stray WHERE object_id = $1", id).run(conn).await
}

/// Objects whose quarantine is over and that no row knows, by id, from behind `after` on, at most
/// `most`.
pub async fn confirmed(conn: &mut Conn, after: Option<ObjectId>, most: u32) -> Result<Vec<Stray>, RecordsError> {
    let text = "SELECT s.object_id, s.bytes, s.first_seen, s.confirmed_at FROM stray s WHERE s.confirmed_at IS NOT NULL \
         AND s.object_id > $1 AND NOT EXISTS (SELECT 1 FROM extent x WHERE x.id = s.object_id) \
         AND NOT EXISTS (SELECT 1 FROM version v WHERE v.manifest_id = s.object_id AND v.small_file IS NULL \
         AND v.state <> 'shredded') \
         ORDER BY s.object_id LIMIT $2 + 0";
    ask!(text, behind(after), most).readable(conn, "stray", stray).await
}

/// Dooms an object whose quarantine is over, as of `since`, unless a row knows it.
pub async fn doom(conn: &mut Conn, id: ObjectId, since: HouseTime) -> Result<(), RecordsError> {
    ask!(
        concat!("INSERT INTO doomed (object_id, place, since) SELECT $1, 'store', $2 WHERE NOT ", is_known!()),
        id,
        since
    )
    .run(conn)
    .await?;
    forget(conn, id).await
}
