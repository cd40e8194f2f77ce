//! Extents, and which versions use them. An upload that was sent in small pieces has many, so they
//! are written many at once.

use std::sync::LazyLock;

use sqlx::Row;

use super::ask::{Question, ask};
use super::many::{Texts, parts, rows};
use super::{Conn, RecordsError, bytes_as, text_as, unsigned};
use tacdrop_model::{HouseTime, ObjectId, ObjectPlace, ShareId, VersionId};

/// An extent as one version uses it.
#[derive(Debug, Clone)]
pub struct ExtentRow {
    /// The object.
    pub id: ObjectId,
    /// Plaintext bytes.
    pub length: u64,
    /// FLOE's header tag, which the object must show.
    pub header_tag: [u8; 32],
    /// Where it lies.
    pub place: ObjectPlace,
    /// Its key, wrapped under the version's file key.
    pub extent_key: Vec<u8>,
}

/// The extents that a version uses.
pub async fn of_version(conn: &mut Conn, version: VersionId) -> Result<Vec<ExtentRow>, RecordsError> {
    let text = "SELECT x.id, x.length, x.header_tag, x.place, u.extent_key FROM extent_use u \
         JOIN extent x ON x.id = u.extent_id WHERE u.version_id = $1";
    ask!(text, version)
        .all(conn, |row| {
            Ok(ExtentRow {
                id: bytes_as(row, "extent", "id")?,
                length: unsigned(row, "extent", "length")?,
                header_tag: bytes_as(row, "extent", "header_tag")?,
                place: text_as(row, "extent", "place")?,
                extent_key: row.try_get("extent_key")?,
            })
        })
        .await
}

static ADD: LazyLock<Texts> = LazyLock::new(|| {
    Texts::of(|count| {
        let values = rows(count, 1, 4, "(#1, $1, #2, #3, #4)");
        format!("INSERT INTO extent (id, share_id, length, header_tag, place) VALUES {values}")
    })
});
/// The cross join has SQLite look each extent up by its id.
static USE: LazyLock<Texts> = LazyLock::new(|| {
    Texts::of(|count| {
        const INSERT: &str = "INSERT INTO extent_use (version_id, extent_id, extent_key)";
        if count == 1 {
            return format!("{INSERT} SELECT $1, id, $3 FROM extent WHERE id = $2");
        }
        let values = rows(count, 1, 2, "(#1, #2)");
        format!(
            "WITH used (id, key) AS (VALUES {values}) {INSERT} \
             SELECT $1, used.id, used.key FROM used CROSS JOIN extent x WHERE x.id = used.id"
        )
    })
});
static LET_GO: LazyLock<Texts> = LazyLock::new(|| {
    Texts::of(|count| {
        let ids = rows(count, 1, 1, "#1");
        format!("DELETE FROM extent_use WHERE version_id = $1 AND extent_id IN ({ids})")
    })
});
const UNUSED: &str = "NOT EXISTS (SELECT 1 FROM extent_use u WHERE u.extent_id = extent.id)";
/// A version without a digest was never whole, so nobody is in the middle of a download of it.
static DOOM: LazyLock<Texts> = LazyLock::new(|| {
    Texts::of(|count| {
        let ids = rows(count, 2, 1, "#1");
        format!(
            "INSERT INTO doomed (object_id, place, since, share_id, length, unread) \
             SELECT id, place, $1, share_id, length, \
             CASE WHEN EXISTS (SELECT 1 FROM version v WHERE v.id = $2 AND v.sha256 IS NULL) THEN 1 ELSE 0 END \
             FROM extent WHERE id IN ({ids}) AND {UNUSED}"
        )
    })
});
static FORGET: LazyLock<Texts> = LazyLock::new(|| {
    Texts::of(|count| format!("DELETE FROM extent WHERE id IN ({}) AND {UNUSED}", rows(count, 0, 1, "#1")))
});

/// Adds extents that have become durable. Their bytes were counted by
/// [`reserve`](super::tickets::reserve).
pub async fn add(conn: &mut Conn, share: ShareId, extents: &[ExtentRow]) -> Result<(), RecordsError> {
    for part in parts(extents) {
        let add = |asked: Question<'static>, extent: &ExtentRow| {
            asked.with(extent.id).with(extent.length).with(extent.header_tag).with(extent.place.as_str())
        };
        part.iter().fold(ask!(ADD.text(part.len()), share), add).run(conn).await?;
    }
    Ok(())
}

/// Says that a version uses extents. False if one of them is gone: the version that it was shared
/// with was shredded. The transaction is to be given up then.
pub async fn use_by(conn: &mut Conn, version: VersionId, extents: &[ExtentRow]) -> Result<bool, RecordsError> {
    for part in parts(extents) {
        let asked = ask!(USE.text(part.len()), version);
        let asked = part.iter().fold(asked, |asked, extent| asked.with(extent.id).with(&extent.extent_key));
        if asked.changes(conn).await? != part.len() as u64 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Ends a version's use of extents of its share. Those that no other version uses are doomed, and
/// count until they are forgotten.
pub async fn release(
    conn: &mut Conn,
    version: VersionId,
    extents: &[ObjectId],
    now: HouseTime,
) -> Result<(), RecordsError> {
    for part in parts(extents) {
        part.iter().fold(ask!(LET_GO.text(part.len()), version), Question::with).run(conn).await?;
        drop_unused(conn, part, Some(version), now).await?;
    }
    Ok(())
}

/// Dooms extents that no version uses, of which `last` was the last one to use them. One that is
/// used stays as it is. They count as their share's until they are forgotten.
pub async fn drop_unused(
    conn: &mut Conn,
    extents: &[ObjectId],
    last: Option<VersionId>,
    now: HouseTime,
) -> Result<(), RecordsError> {
    for part in parts(extents) {
        part.iter().fold(ask!(DOOM.text(part.len()), now, last), Question::with).run(conn).await?;
        part.iter().fold(ask!(FORGET.text(part.len())), Question::with).run(conn).await?;
    }
    Ok(())
}

/// Ends all uses that a version makes of extents. What only it used is doomed; in few statements,
/// as a version may have a hundred thousand extents.
pub(super) async fn release_all(conn: &mut Conn, version: VersionId, now: HouseTime) -> Result<(), RecordsError> {
    let text = "INSERT INTO doomed (object_id, place, since, share_id, length, unread) SELECT x.id, x.place, $2, x.share_id, \
         x.length, CASE WHEN EXISTS (SELECT 1 FROM version v WHERE v.id = $1 AND v.sha256 IS NULL) THEN 1 ELSE 0 END \
         FROM extent_use u \
         JOIN extent x ON x.id = u.extent_id WHERE u.version_id = $1 AND NOT EXISTS (SELECT 1 FROM extent_use o \
         WHERE o.extent_id = x.id AND o.version_id <> $1)";
    ask!(text, version, now).run(conn).await?;
    ask!("DELETE FROM extent_use WHERE version_id = $1", version).run(conn).await?;
    ask!("DELETE FROM extent WHERE id IN (SELECT object_id FROM doomed WHERE since = $1)", now).run(conn).await
}
