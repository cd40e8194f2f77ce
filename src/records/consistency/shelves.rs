//! The rows of the objects on one shelf of the store, and objects that no row knows.
//!
//! A shelf has the objects whose ids begin with one byte.

use std::ops::RangeInclusive;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::model::{HouseTime, ObjectId, ObjectPlace, VersionId};
use crate::records::ask::{ask, behind};
use crate::records::{Conn, RecordsError, bytes_as, text_as, unsigned};

/// An object of the store that some row still speaks of, by its id in `$1`. A macro, so that the statements stay constant.
macro_rules! is_known {
    () => {
        "(EXISTS (SELECT 1 FROM extent WHERE id = $1) OR EXISTS (SELECT 1 FROM doomed WHERE object_id = $1) \
         OR EXISTS (SELECT 1 FROM version WHERE manifest_id = $1 AND state <> 'shredded'))"
    };
}

/// An extent, and what is there of it.
#[derive(Debug, Clone)]
pub struct ShelvedExtent {
    /// Its object.
    pub id: ObjectId,
    /// Plaintext bytes.
    pub length: u64,
    /// Where it is to lie.
    pub place: ObjectPlace,
    /// Bytes of the object of this id in the records, if there is one.
    pub in_records: Option<u64>,
    /// Whether a version uses it.
    pub used: bool,
}

/// A manifest, and what is there of it.
#[derive(Debug, Clone)]
pub struct ShelvedManifest {
    /// Its object.
    pub id: ObjectId,
    /// Its version.
    pub version: VersionId,
    /// Extents that the version uses.
    pub extents: u64,
    /// Bytes of the object of this id in the records, if there is one.
    pub in_records: Option<u64>,
}

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

/// All rows about the objects of one shelf, each kind by id. What moves from one kind to the next while they are read is
/// seen at least once.
#[derive(Debug, Default)]
pub struct ShelfRows {
    /// Extents, wherever they lie.
    pub extents: Vec<ShelvedExtent>,
    /// Manifests of versions that are not shredded, wherever they lie.
    pub manifests: Vec<ShelvedManifest>,
    /// Objects of the store that are to be removed.
    pub doomed: Vec<ObjectId>,
    /// Objects in quarantine.
    pub strays: Vec<Stray>,
    /// Objects in the records that nothing speaks of.
    pub forgotten: Vec<ObjectId>,
}

/// How many rows there are about objects, in all.
pub async fn count(conn: &mut Conn) -> Result<u64, RecordsError> {
    let text = "SELECT (SELECT COUNT(*) FROM extent) + (SELECT COUNT(*) FROM version) \
         + (SELECT COUNT(*) FROM doomed) + (SELECT COUNT(*) FROM stray) AS n";
    ask!(text).one(conn, |row| unsigned(row, "extent", "n")).await
}

/// The rows of the shelves of ids that begin with one of these bytes.
pub async fn shelves(conn: &mut Conn, bytes: &RangeInclusive<u8>) -> Result<ShelfRows, RecordsError> {
    // Behind every id of the last shelf: blobs compare byte by byte.
    let to = bytes.end().checked_add(1).map_or_else(|| vec![0xff; 17], |next| vec![next]);
    let from = vec![*bytes.start()];
    let text = "SELECT x.id, x.length, x.place, LENGTH(o.bytes) AS in_records, \
         EXISTS (SELECT 1 FROM extent_use u WHERE u.extent_id = x.id) AS used \
         FROM extent x LEFT JOIN object o ON o.id = x.id WHERE x.id >= $1 AND x.id < $2 ORDER BY x.id";
    let extents = ask!(text, &from, &to).rows(conn).await?;
    let text = "SELECT v.manifest_id, v.id, LENGTH(o.bytes) AS in_records, \
         (SELECT COUNT(*) FROM extent_use u WHERE u.version_id = v.id) AS extents \
         FROM version v LEFT JOIN object o ON o.id = v.manifest_id \
         WHERE v.manifest_id >= $1 AND v.manifest_id < $2 AND v.state <> 'shredded' ORDER BY v.manifest_id";
    let manifests = ask!(text, &from, &to).rows(conn).await?;
    let doomed = ask!(
        "SELECT object_id FROM doomed WHERE place = 'store' AND object_id >= $1 AND object_id < $2 ORDER BY object_id",
        &from,
        &to
    )
    .rows(conn)
    .await?;
    let text = "SELECT object_id, bytes, first_seen, confirmed_at FROM stray WHERE object_id >= $1 AND object_id < $2 \
         ORDER BY object_id";
    let strays = ask!(text, &from, &to).rows(conn).await?;
    let text = "SELECT o.id FROM object o WHERE o.id >= $1 AND o.id < $2 \
         AND NOT EXISTS (SELECT 1 FROM extent x WHERE x.id = o.id) \
         AND NOT EXISTS (SELECT 1 FROM doomed d WHERE d.object_id = o.id) \
         AND NOT EXISTS (SELECT 1 FROM version v WHERE v.manifest_id = o.id AND v.state <> 'shredded')";
    let forgotten = ask!(text, &from, &to).rows(conn).await?;
    Ok(ShelfRows {
        extents: extents
            .iter()
            .map(|row| {
                Ok(ShelvedExtent {
                    id: bytes_as(row, "extent", "id")?,
                    length: unsigned(row, "extent", "length")?,
                    place: text_as(row, "extent", "place")?,
                    in_records: in_records(row)?,
                    used: row.try_get("used")?,
                })
            })
            .collect::<Result<_, RecordsError>>()?,
        manifests: manifests
            .iter()
            .map(|row| {
                Ok(ShelvedManifest {
                    id: bytes_as(row, "version", "manifest_id")?,
                    version: bytes_as(row, "version", "id")?,
                    extents: unsigned(row, "extent_use", "extents")?,
                    in_records: in_records(row)?,
                })
            })
            .collect::<Result<_, RecordsError>>()?,
        doomed: doomed.iter().map(|row| bytes_as(row, "doomed", "object_id")).collect::<Result<_, _>>()?,
        strays: strays.iter().map(stray).collect::<Result<_, _>>()?,
        forgotten: forgotten.iter().map(|row| bytes_as(row, "object", "id")).collect::<Result<_, _>>()?,
    })
}

fn in_records(row: &SqliteRow) -> Result<Option<u64>, RecordsError> {
    let bytes: Option<i64> = row.try_get("in_records")?;
    Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()))
}

fn stray(row: &SqliteRow) -> Result<Stray, RecordsError> {
    Ok(Stray {
        id: bytes_as(row, "stray", "object_id")?,
        bytes: unsigned(row, "stray", "bytes")?,
        first_seen: HouseTime::from_millis(row.try_get("first_seen")?),
        confirmed_at: row.try_get::<Option<i64>, _>("confirmed_at")?.map(HouseTime::from_millis),
    })
}

/// Whether at least `many` extents of the store belong to sealed versions.
pub async fn needs_at_least(conn: &mut Conn, many: u32) -> Result<bool, RecordsError> {
    let text = "SELECT COUNT(*) AS n FROM (SELECT 1 FROM extent x WHERE x.place = 'store' AND EXISTS \
         (SELECT 1 FROM extent_use u JOIN version v ON v.id = u.version_id WHERE u.extent_id = x.id \
         AND v.state IN ('available', 'withdrawn')) LIMIT $1 + 0)";
    ask!(text, many).one(conn, |row| Ok(row.try_get::<i64, _>("n")? >= i64::from(many))).await
}

/// Writes down that a scan has seen an object of the store which no row knows. Seen again after its quarantine, it is
/// confirmed: `quarantined_since` is what its first sight must not be later than.
pub async fn see_stray(
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
pub async fn forget_stray(conn: &mut Conn, id: ObjectId) -> Result<(), RecordsError> {
    ask!("DELETE FROM stray WHERE object_id = $1", id).run(conn).await
}

/// Objects whose quarantine is over and that no row knows, by id, from behind `after` on, at most `most`.
pub async fn confirmed_strays(conn: &mut Conn, after: Option<ObjectId>, most: u32) -> Result<Vec<Stray>, RecordsError> {
    let text = "SELECT s.object_id, s.bytes, s.first_seen, s.confirmed_at FROM stray s WHERE s.confirmed_at IS NOT NULL \
         AND s.object_id > $1 AND NOT EXISTS (SELECT 1 FROM extent x WHERE x.id = s.object_id) \
         AND NOT EXISTS (SELECT 1 FROM version v WHERE v.manifest_id = s.object_id AND v.state <> 'shredded') \
         ORDER BY s.object_id LIMIT $2 + 0";
    ask!(text, behind(after), most).all(conn, stray).await
}

/// Dooms an object whose quarantine is over, as of `since`, unless a row knows it.
pub async fn doom_stray(conn: &mut Conn, id: ObjectId, since: HouseTime) -> Result<(), RecordsError> {
    ask!(
        concat!("INSERT INTO doomed (object_id, place, since) SELECT $1, 'store', $2 WHERE NOT ", is_known!()),
        id,
        since
    )
    .run(conn)
    .await?;
    forget_stray(conn, id).await
}

/// Dooms an object in the records that nothing speaks of.
pub async fn doom_forgotten(conn: &mut Conn, id: ObjectId, now: HouseTime) -> Result<(), RecordsError> {
    let text = concat!("INSERT INTO doomed (object_id, place, since) SELECT $1, 'records', $2 WHERE NOT ", is_known!());
    ask!(text, id, now).run(conn).await
}

/// Objects that have been doomed since before `before` and may be removed, by id, from behind `after` on, at most `most`.
pub async fn due(
    conn: &mut Conn,
    before: HouseTime,
    after: Option<ObjectId>,
    most: u32,
) -> Result<Vec<(ObjectId, ObjectPlace)>, RecordsError> {
    let text = "SELECT d.object_id, d.place FROM doomed d WHERE d.since < $1 AND d.object_id > $2 \
         AND NOT EXISTS (SELECT 1 FROM extent x WHERE x.id = d.object_id) \
         AND NOT EXISTS (SELECT 1 FROM version v WHERE v.manifest_id = d.object_id AND v.state <> 'shredded') \
         ORDER BY d.object_id LIMIT $3 + 0";
    ask!(text, before, behind(after), most)
        .all(conn, |row| Ok((bytes_as(row, "doomed", "object_id")?, text_as(row, "doomed", "place")?)))
        .await
}
