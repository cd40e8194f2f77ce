//! What contradicts itself: rows that contradict each other, and the shape of the tree. Recovery
//! corrects it, and the check of the store reports it.

pub mod shape;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::ask::{ask, behind, counted};
use crate::version_chain::{base, chain};
use crate::{Conn, RecordsError, bytes_as, bytes_as_option, text_as, unsigned};
use tacdrop_model::{ArtifactId, DirectoryId, Identifier, ObjectId, ShareId, VersionId, VersionState};

/// A version, as far as it takes to say which one it is.
#[derive(Debug, Clone)]
pub struct Named {
    /// Its id.
    pub id: VersionId,
    /// The artifact.
    pub artifact: ArtifactId,
    /// Its number, as people see it.
    pub number: u64,
    /// Where it stands.
    pub state: VersionState,
    /// The ticket.
    pub ticket: Identifier,
    /// The share.
    pub share: ShareId,
}

macro_rules! select_named {
    ($rest:literal) => {
        concat!(
            "SELECT v.id, v.entry_id, e.number_base + v.number AS shown, v.state, v.small_file, t.reference, t.share_id \
             FROM version v JOIN entry e ON e.id = v.entry_id JOIN ticket t ON t.share_id = e.share_id ",
            $rest
        )
    };
}

fn named(row: &SqliteRow) -> Result<Named, RecordsError> {
    Ok(Named {
        id: bytes_as(row, "version", "id")?,
        artifact: bytes_as(row, "version", "entry_id")?,
        number: unsigned(row, "version", "shown")?,
        state: text_as(row, "version", "state")?,
        ticket: text_as(row, "ticket", "reference")?,
        share: bytes_as(row, "ticket", "share_id")?,
    })
}

/// Which version this is.
pub async fn name(conn: &mut Conn, version: VersionId) -> Result<Option<Named>, RecordsError> {
    ask!(select_named!("WHERE v.id = $1"), version).maybe(conn, named).await
}

/// The versions that use an extent.
pub async fn users(conn: &mut Conn, extent: ObjectId) -> Result<Vec<Named>, RecordsError> {
    ask!(select_named!("JOIN extent_use u ON u.version_id = v.id WHERE u.extent_id = $1"), extent)
        .all(conn, named)
        .await
}

/// The versions of a share by id, from behind `after` on, at most `most`.
pub async fn versions(
    conn: &mut Conn,
    share: ShareId,
    after: Option<VersionId>,
    most: usize,
) -> Result<Vec<Named>, RecordsError> {
    ask!(select_named!("WHERE e.share_id = $1 AND v.id > $2 ORDER BY v.id LIMIT $3 + 0"), share, behind(after), most)
        .all(conn, named)
        .await
}

/// How many versions there are, and their plaintext bytes, unfinished ones included; of one share
/// or of all.
pub async fn extent_of_versions(conn: &mut Conn, share: Option<ShareId>) -> Result<(u64, u64), RecordsError> {
    let text = concat!(
        "SELECT COUNT(*) AS n, COALESCE(SUM(",
        counted!("v.length"),
        "), 0) AS bytes FROM version v JOIN entry e ON e.id = v.entry_id \
         WHERE v.state <> 'shredded' AND e.share_id = COALESCE($1, e.share_id)"
    );
    ask!(text, share).one(conn, |row| Ok((unsigned(row, "version", "n")?, unsigned(row, "version", "bytes")?))).await
}

/// What is wrong with the row of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// Unfinished, and its entry does not point at it, or its key is gone: nobody can continue it.
    Unheld,
    /// Sealed by its state, but its key or its manifest is not in the row.
    Unsealed,
    /// Shredded by its state, but its key or its bytes are there still.
    HalfShredded,
}

pub(super) const ODD_VERSIONS: &str = select_named!(
    "WHERE v.id IN (SELECT id FROM version WHERE state IN ('receiving', 'incomplete') \
     UNION ALL SELECT id FROM version WHERE state IN ('available', 'withdrawn') \
     AND (file_key IS NULL OR sha256 IS NULL OR manifest_id IS NULL OR manifest_hash IS NULL) \
     UNION ALL SELECT id FROM version WHERE state = 'shredded') \
     AND v.id > $1 AND ((v.state IN ('receiving', 'incomplete') AND (v.file_key IS NULL \
     OR e.receiving_version IS NULL OR e.receiving_version <> v.id)) \
     OR (v.state IN ('available', 'withdrawn') AND (v.file_key IS NULL OR v.sha256 IS NULL \
     OR v.manifest_id IS NULL OR v.manifest_hash IS NULL)) \
     OR (v.state = 'shredded' AND (v.file_key IS NOT NULL OR v.progress IS NOT NULL \
     OR v.small_file IS NOT NULL OR EXISTS (SELECT 1 FROM extent_use u WHERE u.version_id = v.id)))) ORDER BY v.id LIMIT $2 + 0"
);

/// Versions whose rows are not what their states say, by id, from behind `after` on, at most
/// `most`. The first condition only leads to the partial indexes (`0012_growth.sql`), so that
/// nothing is looked at that is available as it should be.
pub async fn odd_versions(
    conn: &mut Conn,
    after: Option<VersionId>,
    most: u32,
) -> Result<Vec<(Named, Oddity)>, RecordsError> {
    ask!(ODD_VERSIONS, behind(after), most)
        .all(conn, |row| {
            let version = named(row)?;
            let oddity = match version.state {
                VersionState::Receiving | VersionState::Incomplete => Oddity::Unheld,
                VersionState::Shredded => Oddity::HalfShredded,
                VersionState::Available | VersionState::Withdrawn | VersionState::Damaged => Oddity::Unsealed,
            };
            Ok((version, oddity))
        })
        .await
}

/// Versions that are marked as damaged, by id, from behind `after` on, at most `most`.
pub async fn damaged(conn: &mut Conn, after: Option<VersionId>, most: u32) -> Result<Vec<Named>, RecordsError> {
    ask!(select_named!("WHERE v.state = 'damaged' AND v.id > $1 ORDER BY v.id LIMIT $2 + 0"), behind(after), most)
        .all(conn, named)
        .await
}

/// The lengths that `docs/format.md` gives an extent of at most 2^40 segments, and a manifest of one
/// extent and of slices of it.
const LOST_SMALL_FILES: &str = select_named!(
    "LEFT JOIN small_file s ON s.seq = v.small_file WHERE v.small_file > $1 \
     AND v.state IN ('available', 'withdrawn') AND (s.seq IS NULL \
     OR LENGTH(s.extent_bytes) <> v.length + 170 + 32 * (v.length / 65536) \
     OR LENGTH(s.manifest_bytes) < LENGTH(v.uploaded_by) + 320 \
     OR (LENGTH(s.manifest_bytes) - LENGTH(v.uploaded_by) - 320) % 28 <> 0) ORDER BY v.small_file LIMIT $2 + 0"
);

/// Versions whose bytes lie in a row of small files that is not there, or in which something has a
/// length that was not sealed; by that row's number, from behind `after` on, at most `most`. The
/// bytes themselves are not read.
pub async fn lost_small_files(conn: &mut Conn, after: i64, most: u32) -> Result<Vec<(i64, Named)>, RecordsError> {
    ask!(LOST_SMALL_FILES, after, most).all(conn, |row| Ok((row.try_get("small_file")?, named(row)?))).await
}

/// An entry in sight that points at a version which is not its own, or not in the right state.
#[derive(Debug, Clone)]
pub struct WrongPointers {
    /// The entry.
    pub entry: [u8; 16],
    /// The ticket.
    pub ticket: Identifier,
    /// The version that readers get, if that is right, and else the newest one that they could.
    pub current: Option<VersionId>,
    /// The version that is arriving, if that is right.
    pub receiving: Option<VersionId>,
}

/// Entries in sight with wrong pointers, by id, from behind `after` on, at most `most`.
pub async fn wrong_pointers(
    conn: &mut Conn,
    after: Option<[u8; 16]>,
    most: u32,
) -> Result<Vec<WrongPointers>, RecordsError> {
    // The current version is nearly always the entry's own, so the entries before it are looked at
    // last.
    let text = concat!(
        "SELECT e.id, t.reference, c.id AS current, r.id AS receiving, e.current_version, (",
        chain!("SELECT e.id, e.id"),
        "SELECT v.id FROM chain h JOIN entry n ON n.id = h.id JOIN version v ON v.entry_id = n.id \
         WHERE v.state = 'available' ORDER BY n.number_base + v.number DESC LIMIT 1) AS newest \
         FROM entry e JOIN ticket t ON t.share_id = e.share_id \
         LEFT JOIN version c ON c.id = e.current_version AND c.state IN ('available', 'damaged') \
         AND (c.entry_id = e.id OR c.entry_id IN (",
        chain!("SELECT e.id, e.id"),
        "SELECT id FROM chain)) LEFT JOIN version r ON r.id = e.receiving_version AND r.entry_id = e.id \
         AND r.state IN ('receiving', 'incomplete') \
         WHERE e.id > $1 AND e.replaced_at IS NULL AND e.withdrawn_at IS NULL \
         AND ((e.current_version IS NOT NULL AND c.id IS NULL) OR (e.receiving_version IS NOT NULL AND r.id IS NULL)) \
         ORDER BY e.id LIMIT $2 + 0",
    );
    ask!(text, behind(after), most)
        .all(conn, |row| {
            let right: Option<VersionId> = bytes_as_option(row, "version", "current")?;
            let pointed: Option<VersionId> = bytes_as_option(row, "entry", "current_version")?;
            Ok(WrongPointers {
                entry: bytes_as(row, "entry", "id")?,
                ticket: text_as(row, "ticket", "reference")?,
                current: match (right, pointed) {
                    (None, Some(_)) => bytes_as_option(row, "version", "newest")?,
                    (right, _) => right,
                },
                receiving: bytes_as_option(row, "version", "receiving")?,
            })
        })
        .await
}

/// Entries that took nobody's place and do not begin to count at 1, by id, from behind `after` on, at
/// most `most`, each with its ticket.
pub async fn wrong_beginnings(
    conn: &mut Conn,
    after: Option<[u8; 16]>,
    most: u32,
) -> Result<Vec<([u8; 16], Identifier)>, RecordsError> {
    let text = "SELECT e.id, t.reference FROM entry e JOIN ticket t ON t.share_id = e.share_id \
         WHERE e.id > $1 AND e.predecessor IS NULL AND e.number_base <> 0 ORDER BY e.id LIMIT $2 + 0";
    let read = |row: &SqliteRow| Ok((bytes_as(row, "entry", "id")?, text_as(row, "ticket", "reference")?));
    ask!(text, behind(after), most).all(conn, read).await
}

/// A ticket's sums, as they are kept and as its rows make them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// The ticket.
    pub ticket: Identifier,
    /// Its share.
    pub share: ShareId,
    /// Plaintext bytes in its extents, those of small files included: as kept, and counted.
    pub bytes: (u64, u64),
    /// Files and directories in sight: as kept, and counted.
    pub names: (u64, u64),
}

/// The tickets whose sums are not what their rows say.
pub async fn wrong_sums(conn: &mut Conn) -> Result<Vec<Sums>, RecordsError> {
    let text = concat!(
        "SELECT t.reference, t.share_id, t.stored_bytes, t.names, COALESCE(x.bytes, 0) AS real_bytes, \
         COALESCE(e.names, 0) AS real_names FROM ticket t \
         LEFT JOIN (SELECT share_id, SUM(",
        counted!("length"),
        ") AS bytes FROM (SELECT share_id, length FROM extent UNION ALL \
         SELECT share_id, length FROM doomed WHERE share_id IS NOT NULL UNION ALL \
         SELECT o.share_id, v.length FROM version v JOIN entry o ON o.id = v.entry_id WHERE v.small_file IS NOT NULL) y \
         GROUP BY share_id) x \
         ON x.share_id = t.share_id \
         LEFT JOIN (SELECT share_id, COUNT(*) AS names FROM entry WHERE parent_id IS NOT NULL \
         AND replaced_at IS NULL AND withdrawn_at IS NULL GROUP BY share_id) e ON e.share_id = t.share_id \
         WHERE t.stored_bytes <> COALESCE(x.bytes, 0) OR t.names <> COALESCE(e.names, 0) ORDER BY t.reference"
    );
    ask!(text)
        .all(conn, |row| {
            Ok(Sums {
                ticket: text_as(row, "ticket", "reference")?,
                share: bytes_as(row, "ticket", "share_id")?,
                bytes: (unsigned(row, "ticket", "stored_bytes")?, unsigned(row, "extent", "real_bytes")?),
                names: (unsigned(row, "ticket", "names")?, unsigned(row, "entry", "real_names")?),
            })
        })
        .await
}

/// An entry's sealed name, and under which index it is found in which directory.
#[derive(Debug, Clone)]
pub struct SealedName {
    /// The entry.
    pub entry: [u8; 16],
    /// The directory that it lies in.
    pub parent: DirectoryId,
    /// The sealed name.
    pub name: Vec<u8>,
    /// The index of the name in that directory.
    pub index: Vec<u8>,
    /// The index of its alias there; none in a row that has got none yet.
    pub alias: Option<Vec<u8>>,
}

/// The names of a share, in sight or not, by entry, from behind `after` on, at most `most`.
pub async fn names(
    conn: &mut Conn,
    share: ShareId,
    after: Option<[u8; 16]>,
    most: usize,
) -> Result<Vec<SealedName>, RecordsError> {
    let text = "SELECT id, parent_id, name, name_index, alias_index FROM entry WHERE share_id = $1 AND parent_id IS NOT NULL AND id > $2 \
         ORDER BY id LIMIT $3 + 0";
    ask!(text, share, behind(after), most)
        .all(conn, |row| {
            Ok(SealedName {
                entry: bytes_as(row, "entry", "id")?,
                parent: bytes_as(row, "entry", "parent_id")?,
                name: row.try_get::<Option<Vec<u8>>, _>("name")?.unwrap_or_default(),
                index: row.try_get::<Option<Vec<u8>>, _>("name_index")?.unwrap_or_default(),
                alias: row.try_get("alias_index")?,
            })
        })
        .await
}

/// An entry that took another one's place.
#[derive(Debug, Clone)]
pub struct Succession {
    /// The entry.
    pub entry: [u8; 16],
    /// The one before it.
    pub predecessor: [u8; 16],
    /// Whether its numbers begin where those of its predecessor end.
    pub counts_on: bool,
}

/// Who took whose place in a share.
pub async fn successions(conn: &mut Conn, share: ShareId) -> Result<Vec<Succession>, RecordsError> {
    let text = concat!(
        "SELECT e.id, e.predecessor, e.number_base = ",
        base!(),
        " AS counts_on FROM entry e JOIN entry p ON p.id = e.predecessor WHERE e.share_id = $1 ORDER BY e.id"
    );
    ask!(text, share)
        .all(conn, |row| {
            Ok(Succession {
                entry: bytes_as(row, "entry", "id")?,
                predecessor: bytes_as(row, "entry", "predecessor")?,
                counts_on: row.try_get("counts_on")?,
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::ODD_VERSIONS;
    use crate::Records;
    use crate::objects::is_known;
    use crate::tickets::ASSIGNED;
    use crate::versions::{EXPIRED, UNWARNED};
    use tacdrop_probe::plan;

    /// The index of manifests has no small files, and serves those who look for an object.
    #[tokio::test]
    async fn r50_an_object_is_looked_up_in_the_index_of_manifests_that_are_objects() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(&directory.path().join("records.sqlite")).await.unwrap();
        let plan = plan(&mut records.read().await.unwrap(), concat!("SELECT 1 WHERE ", is_known!())).await;
        let manifests = "SEARCH version USING INDEX version_by_manifest (manifest_id=?)";
        assert!(plan.iter().any(|line| line == manifests), "{plan:?}");
        assert!(plan.iter().all(|line| !line.starts_with("SCAN version")), "{plan:?}");
    }

    /// What is asked at each start, or each minute, looks at unfinished and odd versions and at no
    /// others.
    #[tokio::test]
    async fn r50_unfinished_and_odd_versions_are_looked_up_by_index() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(&directory.path().join("records.sqlite")).await.unwrap();
        let mut conn = records.read().await.unwrap();
        let by_index = |name: &str| format!("SCAN version USING INDEX {name}");
        let assigned = plan(&mut conn, ASSIGNED).await;
        let own = "SEARCH o USING COVERING INDEX ticket_of_engineer (engineer=? AND reference>?)".to_owned();
        assert!(assigned.contains(&own), "{assigned:?}");
        assert!(assigned.iter().any(|line| line.starts_with("SEARCH t USING INDEX")), "{assigned:?}");
        let unfinished = "SEARCH version USING INDEX version_unfinished (touched_at<?)".to_owned();
        for (sql, indexes) in [
            (ODD_VERSIONS, ["version_unfinished", "version_unsealed", "version_shredded"].map(by_index).to_vec()),
            (UNWARNED, vec![unfinished.clone()]),
            (EXPIRED, vec![unfinished]),
        ] {
            let plan = plan(&mut conn, sql).await;
            for index in &indexes {
                let is_used = |line: &String| line.replace("COVERING ", "").starts_with(index);
                assert!(plan.iter().any(is_used), "{index} is not used:\n{plan:?}");
            }
            let outer = "SEARCH v USING INDEX sqlite_autoindex_version_1 (id=?)";
            assert!(plan.iter().any(|line| line == outer), "all versions are looked at:\n{plan:?}");
        }
    }
}
