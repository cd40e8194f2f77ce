//! Objects: small ones that are kept here, those that are doomed, and what the rows say of those in
//! the store.
//!
//! How an object goes: `extents::release` ends a version's use of an extent. One that no version
//! uses any more loses its row and is doomed (`extents::drop_unused`); what never had a row is
//! doomed by `doom`. `due` says what may be removed by now; whoever keeps the store removes it, and
//! `forget` takes it out of its share's sum.
//!
//! A shelf of the store has the objects whose ids begin with one byte.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::{ask, behind, counted};
use super::many::{Texts, parts, rows};
use super::strays::{Stray, stray};
use super::{Conn, RecordsError, bytes_as, text_as, tickets, unsigned};
use tacdrop_model::{HouseTime, ObjectId, ObjectPlace, ShareId, VersionId};

static PUT: LazyLock<Texts> = LazyLock::new(|| {
    Texts::of(|count| format!("INSERT INTO object (id, bytes) VALUES {}", rows(count, 0, 2, "(#1, #2)")))
});

/// Keeps small objects here.
///
/// # Errors
/// [`RecordsError::Exists`] if an id was used before.
pub async fn put(conn: &mut Conn, objects: &[(ObjectId, &[u8])]) -> Result<(), RecordsError> {
    for part in parts(objects) {
        let asked = ask!(PUT.text(part.len()));
        part.iter().fold(asked, |asked, (id, bytes)| asked.with(id).with(*bytes)).run(conn).await?;
    }
    Ok(())
}

/// A small object's bytes.
pub async fn get(conn: &mut Conn, id: ObjectId) -> Result<Option<Vec<u8>>, RecordsError> {
    ask!("SELECT bytes FROM object WHERE id = $1", id).maybe(conn, |row| Ok(row.try_get("bytes")?)).await
}

/// Says that nobody needs a version's manifest any more, wherever it lies. It goes as its share's,
/// and counts no bytes there.
pub(super) async fn doom_manifest(
    conn: &mut Conn,
    version: VersionId,
    manifest: ObjectId,
    now: HouseTime,
) -> Result<(), RecordsError> {
    let text = "INSERT INTO doomed (object_id, place, since, share_id) VALUES ($1, \
         CASE WHEN EXISTS (SELECT 1 FROM object WHERE id = $1) THEN 'records' ELSE 'store' END, $2, \
         (SELECT e.share_id FROM version v JOIN entry e ON e.id = v.entry_id WHERE v.id = $3)) \
         ON CONFLICT DO NOTHING";
    ask!(text, manifest, now, version).run(conn).await
}

/// Says that nobody needs an object of the store that has no row. It counts as its share's with
/// this many plaintext bytes, over the share's limit if need be, as it lies on the disk already.
pub async fn doom(
    conn: &mut Conn,
    object: ObjectId,
    share: ShareId,
    bytes: u64,
    now: HouseTime,
) -> Result<(), RecordsError> {
    let text = "INSERT INTO doomed (object_id, place, since, share_id, length, unread) VALUES ($1, 'store', $2, $3, $4, 1) \
         ON CONFLICT DO NOTHING";
    if ask!(text, object, now, share, bytes).changed(conn).await? {
        tickets::reserve(conn, share, bytes, u64::MAX).await?;
    }
    Ok(())
}

/// An object of the store that some row still speaks of, by its id in `$1`. A macro, so that the
/// statements stay constant.
macro_rules! is_known {
    () => {
        "(EXISTS (SELECT 1 FROM extent WHERE id = $1) OR EXISTS (SELECT 1 FROM doomed WHERE object_id = $1) \
         OR EXISTS (SELECT 1 FROM version WHERE manifest_id = $1 AND small_file IS NULL AND state <> 'shredded'))"
    };
}
pub(super) use is_known;

/// Dooms an object in the records that nothing speaks of.
pub async fn doom_forgotten(conn: &mut Conn, id: ObjectId, now: HouseTime) -> Result<(), RecordsError> {
    let text = concat!("INSERT INTO doomed (object_id, place, since) SELECT $1, 'records', $2 WHERE NOT ", is_known!());
    ask!(text, id, now).run(conn).await
}

/// Doomed objects that no row speaks of after all, and where they lie.
macro_rules! select_doomed {
    ($condition:literal, $rest:literal) => {
        concat!(
            "SELECT d.object_id, d.place FROM doomed d WHERE ",
            $condition,
            " AND NOT EXISTS (SELECT 1 FROM extent x WHERE x.id = d.object_id) \
             AND NOT EXISTS (SELECT 1 FROM version v WHERE v.manifest_id = d.object_id AND v.small_file IS NULL \
             AND v.state <> 'shredded') ",
            $rest
        )
    };
}

fn doomed_row(row: &SqliteRow) -> Result<(ObjectId, ObjectPlace), RecordsError> {
    Ok((bytes_as(row, "doomed", "object_id")?, text_as(row, "doomed", "place")?))
}

/// Doomed objects of a share that may go at once, at most `most`: none of them was ever part of
/// something that could be downloaded.
pub async fn doomed_unread(
    conn: &mut Conn,
    share: ShareId,
    most: u32,
) -> Result<Vec<(ObjectId, ObjectPlace)>, RecordsError> {
    let text = select_doomed!("d.share_id = $1 AND d.unread = 1", "ORDER BY d.object_id LIMIT $2 + 0");
    ask!(text, share, most).readable(conn, "doomed", doomed_row).await
}

/// How many plaintext bytes a share counts that go as soon as it needs the room.
pub async fn unread_bytes(conn: &mut Conn, share: ShareId) -> Result<u64, RecordsError> {
    let text = concat!(
        "SELECT COALESCE(SUM(",
        counted!("length"),
        "), 0) AS bytes FROM doomed WHERE share_id = $1 AND unread = 1"
    );
    ask!(text, share).one(conn, |row| unsigned(row, "doomed", "bytes")).await
}

/// Objects that have been doomed since before `before`, at most `most`. What a row speaks of after
/// all is not among them.
pub async fn doomed(
    conn: &mut Conn,
    before: HouseTime,
    most: u32,
) -> Result<Vec<(ObjectId, ObjectPlace)>, RecordsError> {
    let text = select_doomed!("d.since < $1", "ORDER BY d.since, d.object_id LIMIT $2 + 0");
    ask!(text, before, most).readable(conn, "doomed", doomed_row).await
}

/// Objects that have been doomed since before `before` and may be removed, by id, from behind
/// `after` on, at most `most`.
pub async fn due(
    conn: &mut Conn,
    before: HouseTime,
    after: Option<ObjectId>,
    most: u32,
) -> Result<Vec<(ObjectId, ObjectPlace)>, RecordsError> {
    let text = select_doomed!("d.since < $1 AND d.object_id > $2", "ORDER BY d.object_id LIMIT $3 + 0");
    ask!(text, before, behind(after), most).readable(conn, "doomed", doomed_row).await
}

/// Forgets a doomed object that is gone, and its bytes where they lie here. From now on its share
/// no longer counts it.
pub async fn forget(conn: &mut Conn, object: ObjectId) -> Result<(), RecordsError> {
    ask!("DELETE FROM object WHERE id = $1", object).run(conn).await?;
    tickets::uncount_doomed(conn, object).await?;
    ask!("DELETE FROM doomed WHERE object_id = $1", object).run(conn).await
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
    /// The length of the sender's login that it holds; none if it does not say who that is.
    pub login: Option<u64>,
    /// Bytes of the object of this id in the records, if there is one.
    pub in_records: Option<u64>,
}

/// All rows about the objects of one shelf, each kind by id. What moves from one kind to the next
/// while they are read is seen at least once.
#[derive(Debug, Default)]
pub struct ShelfRows {
    /// Extents, wherever they lie.
    pub extents: Vec<ShelvedExtent>,
    /// Manifests of versions that are not shredded, wherever they lie; small files left out, which
    /// have no objects.
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
    let extent = |row: &SqliteRow| {
        Ok(ShelvedExtent {
            id: bytes_as(row, "extent", "id")?,
            length: unsigned(row, "extent", "length")?,
            place: text_as(row, "extent", "place")?,
            in_records: in_records(row)?,
            used: row.try_get("used")?,
        })
    };
    let extents = ask!(text, &from, &to).all(conn, extent).await?;
    let text = "SELECT v.manifest_id, v.id, LENGTH(o.bytes) AS in_records, \
         CASE WHEN v.trail_seq IS NOT NULL THEN LENGTH(v.uploaded_by) END AS login, \
         (SELECT COUNT(*) FROM extent_use u WHERE u.version_id = v.id) AS extents \
         FROM version v LEFT JOIN object o ON o.id = v.manifest_id \
         WHERE v.manifest_id >= $1 AND v.manifest_id < $2 AND v.small_file IS NULL AND v.state <> 'shredded' \
         ORDER BY v.manifest_id";
    let manifest = |row: &SqliteRow| {
        Ok(ShelvedManifest {
            id: bytes_as(row, "version", "manifest_id")?,
            version: bytes_as(row, "version", "id")?,
            extents: unsigned(row, "extent_use", "extents")?,
            login: row.try_get::<Option<i64>, _>("login")?.and_then(|login| u64::try_from(login).ok()),
            in_records: in_records(row)?,
        })
    };
    let manifests = ask!(text, &from, &to).all(conn, manifest).await?;
    let text =
        "SELECT object_id FROM doomed WHERE place = 'store' AND object_id >= $1 AND object_id < $2 ORDER BY object_id";
    let object_id = |row: &SqliteRow| bytes_as(row, "doomed", "object_id");
    let doomed = ask!(text, &from, &to).readable(conn, "doomed", object_id).await?;
    let text = "SELECT object_id, bytes, first_seen, confirmed_at FROM stray WHERE object_id >= $1 AND object_id < $2 \
         ORDER BY object_id";
    let strays = ask!(text, &from, &to).readable(conn, "stray", stray).await?;
    let text = "SELECT o.id FROM object o WHERE o.id >= $1 AND o.id < $2 \
         AND NOT EXISTS (SELECT 1 FROM extent x WHERE x.id = o.id) \
         AND NOT EXISTS (SELECT 1 FROM doomed d WHERE d.object_id = o.id) \
         AND NOT EXISTS (SELECT 1 FROM version v WHERE v.manifest_id = o.id AND v.small_file IS NULL \
         AND v.state <> 'shredded')";
    let forgotten = ask!(text, &from, &to).readable(conn, "object", |row| bytes_as(row, "object", "id")).await?;
    Ok(ShelfRows { extents, manifests, doomed, strays, forgotten })
}

fn in_records(row: &SqliteRow) -> Result<Option<u64>, RecordsError> {
    let bytes: Option<i64> = row.try_get("in_records")?;
    Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()))
}

/// Whether at least `many` extents of the store belong to sealed versions.
pub async fn needs_at_least(conn: &mut Conn, many: u32) -> Result<bool, RecordsError> {
    let text = "SELECT COUNT(*) AS n FROM (SELECT 1 FROM extent x WHERE x.place = 'store' AND EXISTS \
         (SELECT 1 FROM extent_use u JOIN version v ON v.id = u.version_id WHERE u.extent_id = x.id \
         AND v.state IN ('available', 'withdrawn')) LIMIT $1 + 0)";
    ask!(text, many).one(conn, |row| Ok(row.try_get::<i64, _>("n")? >= i64::from(many))).await
}

/// An object of the store that the records need.
#[derive(Debug, Clone)]
pub struct Needed {
    /// The object.
    pub id: ObjectId,
    /// What it is.
    pub kind: NeededKind,
    /// Whether anything that is not damaged needs it.
    pub by_sound: bool,
}

/// What an object is, and how it is recognised.
#[derive(Debug, Clone)]
pub enum NeededKind {
    /// An extent.
    Extent {
        /// The share whose id it bears.
        share: ShareId,
        /// Plaintext bytes.
        length: u64,
        /// FLOE's header tag.
        header_tag: [u8; 32],
    },
    /// A manifest.
    Manifest {
        /// SHA-256 of its bytes.
        hash: [u8; 32],
    },
}

/// Extents that lie in the store, in the order of their ids, at most `most`, from behind `after`
/// on.
pub async fn needed_extents(conn: &mut Conn, after: Option<ObjectId>, most: u32) -> Result<Vec<Needed>, RecordsError> {
    let text = "SELECT x.id, x.share_id, x.length, x.header_tag, EXISTS (SELECT 1 FROM extent_use u \
         JOIN version v ON v.id = u.version_id WHERE u.extent_id = x.id AND v.state <> 'damaged') AS sound \
         FROM extent x WHERE x.place = 'store' AND x.id > $1 ORDER BY x.id LIMIT $2 + 0";
    ask!(text, behind(after), most)
        .all(conn, |row| {
            Ok(Needed {
                id: bytes_as(row, "extent", "id")?,
                kind: NeededKind::Extent {
                    share: bytes_as(row, "extent", "share_id")?,
                    length: unsigned(row, "extent", "length")?,
                    header_tag: bytes_as(row, "extent", "header_tag")?,
                },
                by_sound: row.try_get::<i64, _>("sound")? != 0,
            })
        })
        .await
}

/// Manifests that lie in the store, of versions that can be read, in the order of their ids, at
/// most `most`, from behind `after` on.
pub async fn needed_manifests(
    conn: &mut Conn,
    after: Option<ObjectId>,
    most: u32,
) -> Result<Vec<Needed>, RecordsError> {
    let text = "SELECT v.manifest_id, v.manifest_hash, v.state <> 'damaged' AS sound FROM version v \
         WHERE v.manifest_id > $1 AND v.small_file IS NULL AND v.manifest_hash IS NOT NULL AND v.file_key IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM object o WHERE o.id = v.manifest_id) ORDER BY v.manifest_id LIMIT $2 + 0";
    ask!(text, behind(after), most)
        .all(conn, |row| {
            Ok(Needed {
                id: bytes_as(row, "version", "manifest_id")?,
                kind: NeededKind::Manifest { hash: bytes_as(row, "version", "manifest_hash")? },
                by_sound: row.try_get::<i64, _>("sound")? != 0,
            })
        })
        .await
}

/// How many objects of the store are needed, and the plaintext bytes of those that are extents.
pub async fn needed_totals(conn: &mut Conn) -> Result<(u64, u64), RecordsError> {
    let text = concat!(
        "SELECT COUNT(*) + (SELECT COUNT(*) FROM version v WHERE v.manifest_id IS NOT NULL \
         AND v.small_file IS NULL AND v.manifest_hash IS NOT NULL AND v.file_key IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM object o WHERE o.id = v.manifest_id)) AS n, COALESCE(SUM(",
        counted!("length"),
        "), 0) AS bytes FROM extent WHERE place = 'store'"
    );
    ask!(text).one(conn, |row| Ok((unsigned(row, "extent", "n")?, unsigned(row, "extent", "bytes")?))).await
}
