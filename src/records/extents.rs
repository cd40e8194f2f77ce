//! Many extents at once: an upload that was sent in small pieces has many, and each statement is two changes of threads
//! while everybody else waits for the writer. What is one extent's is in [`versions`].

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::versions::{self, ExtentRow};
use super::{Conn, RecordsError, signed};
use crate::model::{HouseTime, ObjectId, ShareId, VersionId};
use crate::records::sqlite::batch::Asked;

/// How many rows a statement takes. Each number is a text of its own, which is prepared once.
const AT_ONCE: [usize; 2] = [64, 8];

/// A statement for each number of rows in [`AT_ONCE`].
struct Texts([String; 2]);

impl Texts {
    /// What `text` makes of a number of rows.
    fn of(text: impl Fn(usize) -> String) -> Self {
        Self(AT_ONCE.map(text))
    }

    fn query(&'static self, rows: usize) -> Option<Asked<'static>> {
        let at = AT_ONCE.iter().position(|count| *count == rows)?;
        self.0.get(at).map(|text| sqlx::query(text.as_str()))
    }
}

/// Rows of parameters, `common` of them shared by all rows and named in `row` as they are; `#1` is a row's first own one.
fn rows(count: usize, common: usize, own: usize, row: &str) -> String {
    let mut text = String::new();
    for number in 0..count {
        let mut one = row.to_owned();
        for at in 1..=own {
            one = one.replace(&format!("#{at}"), &format!("${}", common + number * own + at));
        }
        let _ = write!(text, "{}{one}", if number > 0 { ", " } else { "" });
    }
    text
}

/// Takes off as many as a statement takes; one if that is none.
fn split<T>(some: &[T]) -> Option<(&[T], &[T])> {
    let count = AT_ONCE.into_iter().find(|count| *count <= some.len()).unwrap_or(1);
    some.split_at_checked(count).filter(|(now, _)| !now.is_empty())
}

static PUT: LazyLock<Texts> = LazyLock::new(|| {
    Texts::of(|count| format!("INSERT INTO object (id, bytes) VALUES {}", rows(count, 0, 2, "(#1, #2)")))
});
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
/// As [`versions::drop_unused`] dooms one.
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

/// Keeps small objects here.
///
/// # Errors
/// [`RecordsError::Exists`] if an id was used before.
pub async fn put_objects(conn: &mut Conn, mut objects: &[(ObjectId, &[u8])]) -> Result<(), RecordsError> {
    while let Some((now, later)) = split(objects) {
        if let Some(mut query) = PUT.query(now.len()) {
            for (id, bytes) in now {
                query = query.bind(id.as_bytes().to_vec()).bind(bytes.to_vec());
            }
            query.execute(&mut *conn).await?;
        } else {
            for (id, bytes) in now {
                versions::put_object(conn, *id, bytes).await?;
            }
        }
        objects = later;
    }
    Ok(())
}

/// Adds extents that have become durable. Their bytes were counted by [`versions::reserve`].
///
/// # Errors
/// If the database fails.
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
                versions::add_extent(conn, share, extent).await?;
            }
        }
        extents = later;
    }
    Ok(())
}

/// Says that a version uses extents. False if one of them is gone: the version that it was shared with was shredded. The
/// transaction is to be given up then.
///
/// # Errors
/// If the database fails.
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
                if !versions::use_extent(conn, version, extent.id, &extent.extent_key).await? {
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
///
/// # Errors
/// If the database fails.
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
                    versions::release_extent(conn, version, *id, now).await?;
                }
            }
        }
        extents = later;
    }
    Ok(())
}
