//! Extents, and which versions use them: one by one, and many at once. An upload that was sent in small pieces has many.

use std::sync::LazyLock;

use sqlx::Row;

use super::ask::ask;
use super::many::{Texts, rows, split};
use super::sqlite::batch::Asked;
use super::{Conn, RecordsError, bytes_as, signed, text_as, unsigned};
use crate::model::{HouseTime, ObjectId, ObjectPlace, ShareId, VersionId};

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

/// Adds an extent that has become durable. Its bytes were counted by [`reserve`](super::tickets::reserve).
pub async fn add_one(conn: &mut Conn, share: ShareId, extent: &ExtentRow) -> Result<(), RecordsError> {
    let text = "INSERT INTO extent (id, share_id, length, header_tag, place) VALUES ($1, $2, $3, $4, $5)";
    ask!(text, extent.id, share, extent.length, &extent.header_tag[..], extent.place.as_str()).run(conn).await
}

/// Says that a version uses an extent. False if the extent is gone: the version that it was shared with was shredded.
pub async fn use_one(
    conn: &mut Conn,
    version: VersionId,
    extent: ObjectId,
    extent_key: &[u8],
) -> Result<bool, RecordsError> {
    let text = "INSERT INTO extent_use (version_id, extent_id, extent_key) \
         SELECT $1, id, $3 FROM extent WHERE id = $2";
    ask!(text, version, extent, extent_key).changed(conn).await
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

/// Ends a version's use of an extent. If no other version uses it, the extent is doomed; it counts until it is forgotten.
pub async fn release_one(
    conn: &mut Conn,
    version: VersionId,
    extent: ObjectId,
    now: HouseTime,
) -> Result<(), RecordsError> {
    ask!("DELETE FROM extent_use WHERE version_id = $1 AND extent_id = $2", version, extent).run(conn).await?;
    drop_unused(conn, extent, Some(version), now).await
}

/// Dooms an extent that no version uses, of which `last` was the last one to use it. One that is used stays as it is. It
/// counts as its share's until it is forgotten.
pub async fn drop_unused(
    conn: &mut Conn,
    extent: ObjectId,
    last: Option<VersionId>,
    now: HouseTime,
) -> Result<(), RecordsError> {
    let id = &extent.as_bytes()[..];
    // A version without a digest was never whole, so nobody is in the middle of a download of it.
    let text = "INSERT INTO doomed (object_id, place, since, share_id, length, unread) \
         SELECT x.id, x.place, $2, x.share_id, x.length, \
         CASE WHEN EXISTS (SELECT 1 FROM version v WHERE v.id = $3 AND v.sha256 IS NULL) THEN 1 ELSE 0 END \
         FROM extent x WHERE x.id = $1 AND NOT EXISTS (SELECT 1 FROM extent_use WHERE extent_id = $1)";
    ask!(text, id, now, last).run(conn).await?;
    ask!("DELETE FROM extent WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM extent_use WHERE extent_id = $1)", id)
        .run(conn)
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
        let values = rows(count, 1, 2, "(#1, #2)");
        format!(
            "WITH used (id, key) AS (VALUES {values}) INSERT INTO extent_use (version_id, extent_id, extent_key) \
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
/// As [`drop_unused`] dooms one.
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

/// Adds extents that have become durable. Their bytes were counted by [`reserve`](super::tickets::reserve).
pub async fn add(conn: &mut Conn, share: ShareId, mut extents: &[ExtentRow]) -> Result<(), RecordsError> {
    while let Some((now, later)) = split(extents) {
        if let Some(query) = ADD.query(now.len()) {
            let mut query = query.bind(share.as_bytes().to_vec());
            for extent in now {
                query = query
                    .bind(extent.id.as_bytes().to_vec())
                    .bind(signed(extent.length))
                    .bind(extent.header_tag.to_vec())
                    .bind(extent.place.as_str());
            }
            query.execute(&mut *conn).await?;
        } else {
            for extent in now {
                add_one(conn, share, extent).await?;
            }
        }
        extents = later;
    }
    Ok(())
}

/// Says that a version uses extents. False if one of them is gone: the version that it was shared with was shredded. The
/// transaction is to be given up then.
pub async fn use_by(conn: &mut Conn, version: VersionId, mut extents: &[ExtentRow]) -> Result<bool, RecordsError> {
    while let Some((now, later)) = split(extents) {
        if let Some(query) = USE.query(now.len()) {
            let mut query = query.bind(version.as_bytes().to_vec());
            for extent in now {
                query = query.bind(extent.id.as_bytes().to_vec()).bind(extent.extent_key.clone());
            }
            if query.execute(&mut *conn).await?.rows_affected() != now.len() as u64 {
                return Ok(false);
            }
        } else {
            for extent in now {
                if !use_one(conn, version, extent.id, &extent.extent_key).await? {
                    return Ok(false);
                }
            }
        }
        extents = later;
    }
    Ok(true)
}

/// Ends a version's use of extents of its share. Those that no other version uses are doomed, and count until they
/// are forgotten.
pub async fn release(
    conn: &mut Conn,
    version: VersionId,
    mut extents: &[ObjectId],
    now: HouseTime,
) -> Result<(), RecordsError> {
    fn ids<'q>(mut query: Asked<'q>, ids: &[ObjectId]) -> Asked<'q> {
        for id in ids {
            query = query.bind(id.as_bytes().to_vec());
        }
        query
    }
    while let Some((some, later)) = split(extents) {
        let count = some.len();
        match (LET_GO.query(count), DOOM.query(count), FORGET.query(count)) {
            (Some(let_go), Some(doom), Some(forget)) => {
                ids(let_go.bind(version.as_bytes().to_vec()), some).execute(&mut *conn).await?;
                ids(doom.bind(now.millis()).bind(version.as_bytes().to_vec()), some).execute(&mut *conn).await?;
                ids(forget, some).execute(&mut *conn).await?;
            }
            _ => {
                for id in some {
                    release_one(conn, version, *id, now).await?;
                }
            }
        }
        extents = later;
    }
    Ok(())
}

/// Ends all uses that a version makes of extents. What only it used is doomed; in few statements, as a version may have a
/// hundred thousand extents.
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
