//! A file's chain of versions: its own, and those of the entries whose place it took, numbered as
//! people see them.
//!
//! Each entry names the one whose place it took as its `predecessor`, and its own versions are
//! counted from 1 on behind its `number_base`. What is done to a file is done to the whole chain,
//! so every question about a file's past walks it here.
//!
//! A walk is as long as the chain. It is a `UNION` without `ALL`: an entry that it has met already
//! is not met again, so that it ends where damaged rows follow each other in a circle. Each version
//! of a circle is seen once, so that nothing is kept from being read or shredded. Where the circle
//! leaves no answer, [`circle`] says that the rows are damaged, and the check names every one.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::{Conn, RecordsError, bytes_as, bytes_as_option, text_as, unsigned};
use tacdrop_model::{ArtifactId, HouseTime, ObjectId, ShareId, Time, Transport, VersionId, VersionState};

/// The table `chain (file, id)`: for each file that `$roots` chooses as `(id, id)`, its entry and
/// all those before it.
macro_rules! chain {
    ($roots:literal) => {
        concat!(
            "WITH RECURSIVE chain (file, id) AS (",
            $roots,
            " UNION SELECT c.file, p.predecessor FROM entry p JOIN chain c ON p.id = c.id \
             WHERE EXISTS (SELECT 1 FROM entry q WHERE q.id = p.predecessor AND q.share_id = p.share_id)) "
        )
    };
    () => {
        $crate::version_chain::chain!("SELECT id, id FROM entry WHERE id = $1")
    };
}
pub(crate) use chain;

macro_rules! select {
    ($chain:expr, $rest:literal) => {
        concat!(
            $chain,
            "SELECT v.id, f.id AS file, f.withdrawn_at, f.withdrawn_house, f.current_version, v.entry_id, \
             e.number_base + v.number AS shown, v.state, v.file_key IS NOT NULL AS has_key, v.key_generation, \
             v.uploaded_by, v.opened_at, v.received_at, v.touched_at, v.resumable_at, v.length, v.stored, v.sha256, \
             v.manifest_id, v.transport, v.zeros FROM chain c JOIN entry f ON f.id = c.file JOIN entry e ON e.id = c.id \
             JOIN version v ON v.entry_id = e.id ",
            $rest
        )
    };
}

/// A version as a part of a file's chain.
#[derive(Debug, Clone)]
pub struct ChainVersion {
    /// The entry that stands for the file: the newest of its chain.
    pub file: [u8; 16],
    /// When the file was withdrawn, in house time; none if it is in sight.
    pub withdrawn: Option<HouseTime>,
    /// The version's id.
    pub id: VersionId,
    /// The entry that it belongs to.
    pub artifact: ArtifactId,
    /// Its number for people, counted over the whole chain from 1 on.
    pub number: u64,
    /// Where it stands.
    pub state: VersionState,
    /// Whether it is the one that readers of the file get.
    pub current: bool,
    /// Whether its file key is there.
    pub has_key: bool,
    /// Which generation of the share key wraps its file key.
    pub key_generation: i64,
    /// Who sent it.
    pub uploaded_by: String,
    /// When it was opened for writing.
    pub opened_at: Time,
    /// When it became available.
    pub received_at: Option<Time>,
    /// When something of it was last written down.
    pub touched_at: HouseTime,
    /// Up to where it can be continued.
    pub resumable_at: u64,
    /// Plaintext bytes.
    pub length: u64,
    /// Of an unfinished version: plaintext bytes that are there.
    pub stored: u64,
    /// The plaintext's SHA-256, once available.
    pub sha256: Option<[u8; 32]>,
    /// The manifest's object.
    pub manifest: Option<ObjectId>,
    /// The weakest transport that anything of it came by.
    pub transport: Transport,
    /// Plaintext bytes that were never sent, and are zeros.
    pub zeros: u64,
}

impl ChainVersion {
    /// When it came: when it became available, and of an unfinished one when it was opened.
    pub fn came_at(&self) -> Time {
        self.received_at.unwrap_or(self.opened_at)
    }
}

fn version(row: &SqliteRow) -> Result<ChainVersion, RecordsError> {
    let id: VersionId = bytes_as(row, "version", "id")?;
    let withdrawn = row.try_get::<Option<i64>, _>("withdrawn_at")?.is_some();
    let since = row.try_get::<Option<i64>, _>("withdrawn_house")?.unwrap_or(0);
    Ok(ChainVersion {
        file: bytes_as(row, "entry", "file")?,
        withdrawn: withdrawn.then(|| HouseTime::from_millis(since)),
        id,
        artifact: bytes_as(row, "version", "entry_id")?,
        number: unsigned(row, "version", "shown")?,
        state: text_as(row, "version", "state")?,
        current: bytes_as_option::<VersionId>(row, "entry", "current_version")? == Some(id),
        has_key: row.try_get::<i64, _>("has_key")? != 0,
        key_generation: row.try_get("key_generation")?,
        uploaded_by: row.try_get("uploaded_by")?,
        opened_at: Time::from_millis(row.try_get("opened_at")?),
        received_at: row.try_get::<Option<i64>, _>("received_at")?.map(Time::from_millis),
        touched_at: HouseTime::from_millis(row.try_get("touched_at")?),
        resumable_at: unsigned(row, "version", "resumable_at")?,
        length: unsigned(row, "version", "length")?,
        stored: unsigned(row, "version", "stored")?,
        sha256: bytes_as_option(row, "version", "sha256")?,
        manifest: bytes_as_option(row, "version", "manifest_id")?,
        transport: text_as(row, "version", "transport")?,
        zeros: unsigned(row, "version", "zeros")?,
    })
}

/// Where the numbers of an entry `e` must begin whose predecessor is `p`, if it has one.
macro_rules! base {
    () => {
        "CASE WHEN p.id IS NULL THEN 0 ELSE p.number_base + COALESCE((SELECT MAX(o.number) FROM version o \
         WHERE o.entry_id = p.id), 0) END"
    };
}
pub(super) use base;

/// Whether the numbers of each entry of a file's chain begin where those of the one before it end,
/// as tacdrop counts them.
pub async fn counts_right(conn: &mut Conn, file: &[u8; 16]) -> Result<bool, RecordsError> {
    let text = concat!(
        chain!(),
        "SELECT 1 FROM chain c JOIN entry e ON e.id = c.id LEFT JOIN entry p ON p.id = e.predecessor \
         WHERE e.number_base <> ",
        base!()
    );
    Ok(!ask!(text, file).exists(conn).await?)
}

/// Entries follow each other in a circle where that leaves no answer.
pub(super) fn circle(entry: &[u8; 16]) -> RecordsError {
    let why = format!("the entries before {} go round in a circle", hex::encode(entry));
    RecordsError::Unreadable { table: "entry", why }
}

/// The entry that stands for the file which `entry` is a part of: the newest of its chain.
///
/// # Errors
/// [`RecordsError::Unreadable`] if the entries go round in a circle, so that none is the newest; if
/// the database fails.
pub async fn head(conn: &mut Conn, entry: &[u8; 16]) -> Result<[u8; 16], RecordsError> {
    let text = "WITH RECURSIVE up (id) AS (SELECT id FROM entry WHERE id = $1 UNION SELECT e.id FROM entry e \
         JOIN up u ON e.predecessor = u.id JOIN entry x ON x.id = u.id AND x.share_id = e.share_id) SELECT u.id FROM up u \
         JOIN entry x ON x.id = u.id \
         WHERE NOT EXISTS (SELECT 1 FROM entry e WHERE e.predecessor = u.id AND e.share_id = x.share_id)";
    let head = ask!(text, entry).maybe(conn, |row| bytes_as(row, "entry", "id")).await?;
    head.ok_or_else(|| circle(entry))
}

/// An entry and those whose place it took, newest first.
pub async fn entries(conn: &mut Conn, entry: &[u8; 16]) -> Result<Vec<[u8; 16]>, RecordsError> {
    let text = concat!(
        chain!(),
        "SELECT e.id FROM chain c JOIN entry e ON e.id = c.id ORDER BY e.id <> c.file, e.number_base DESC"
    );
    ask!(text, entry).all(conn, |row| bytes_as(row, "entry", "id")).await
}

/// Every version of every file of a share, withdrawn and shredded ones too: file by file, in the
/// order of their numbers.
pub async fn of_share(conn: &mut Conn, share: ShareId) -> Result<Vec<ChainVersion>, RecordsError> {
    ask!(
        select!(
            chain!("SELECT id, id FROM entry WHERE share_id = $1 AND kind = 'file' AND replaced_at IS NULL"),
            "ORDER BY f.id, shown"
        ),
        share
    )
    .readable(conn, "version", version)
    .await
}

/// Every version of one file in the order of their numbers. Each must be readable, as for what
/// decides by them.
pub async fn of_file(conn: &mut Conn, file: &[u8; 16]) -> Result<Vec<ChainVersion>, RecordsError> {
    ask!(select!(chain!(), "ORDER BY shown"), file).all(conn, version).await
}

/// The available versions of a file with numbers above `after`, ascending, at most `most`.
pub async fn page(
    conn: &mut Conn,
    file: &[u8; 16],
    after: u64,
    most: usize,
) -> Result<Vec<ChainVersion>, RecordsError> {
    let text = select!(
        chain!(),
        "WHERE v.state = 'available' AND v.received_at IS NOT NULL AND e.number_base + v.number > $2 \
         ORDER BY shown LIMIT $3 + 0"
    );
    ask!(text, file, after, most).readable(conn, "version", version).await
}

async fn one(
    conn: &mut Conn,
    text: &'static str,
    file: &[u8; 16],
    number: u64,
) -> Result<Option<ChainVersion>, RecordsError> {
    ask!(text, file, number).maybe(conn, version).await
}

/// The available version of a file that people know by this number.
pub async fn numbered(conn: &mut Conn, file: &[u8; 16], number: u64) -> Result<Option<ChainVersion>, RecordsError> {
    let text = select!(
        chain!(),
        "WHERE v.state = 'available' AND v.received_at IS NOT NULL AND e.number_base + v.number = $2"
    );
    one(conn, text, file, number).await
}

/// The newest available version of a file.
pub async fn newest(conn: &mut Conn, file: &[u8; 16]) -> Result<Option<ChainVersion>, RecordsError> {
    let text = select!(
        chain!(),
        "WHERE v.state = 'available' AND v.received_at IS NOT NULL AND e.number_base + v.number <= $2 \
         ORDER BY shown DESC LIMIT 1"
    );
    one(conn, text, file, u64::MAX).await
}

/// The version before number `number` of a file that was whole once and can still be read, or
/// restored.
pub async fn before(conn: &mut Conn, file: &[u8; 16], number: u64) -> Result<Option<ChainVersion>, RecordsError> {
    let text = select!(
        chain!(),
        "WHERE v.state IN ('available', 'withdrawn', 'damaged') AND e.number_base + v.number < $2 \
         ORDER BY shown DESC LIMIT 1"
    );
    one(conn, text, file, number).await
}

/// The version behind number `number` of a file that was whole once and can still be read, or
/// restored.
pub async fn behind(conn: &mut Conn, file: &[u8; 16], number: u64) -> Result<Option<ChainVersion>, RecordsError> {
    let text = select!(
        chain!(),
        "WHERE v.state IN ('available', 'withdrawn', 'damaged') AND e.number_base + v.number > $2 \
         ORDER BY shown LIMIT 1"
    );
    one(conn, text, file, number).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consistency;
    use crate::proofs::{Proof, Prover};
    use crate::{Records, entries as rows, versions};
    use tacdrop_probe::Damager;

    const ENTRIES: usize = 300;
    const VERSIONS: u64 = 600;

    /// Nobody looks at proofs here.
    struct Unproved;

    impl Prover for Unproved {
        fn prove(&self, _: &'static str, _: &[&[u8]]) -> Proof {
            Proof::default()
        }

        fn is_proved(&self, _: &'static str, _: &[&[u8]], _: &Proof) -> bool {
            true
        }
    }

    fn entry(number: usize) -> [u8; 16] {
        format!("{number:016}").into_bytes().try_into().unwrap()
    }

    fn share() -> ShareId {
        ShareId::from_bytes(entry(0))
    }

    fn numbers(rows: &[ChainVersion]) -> Vec<u64> {
        rows.iter().map(|row| row.number).collect()
    }

    /// A file that took another one's place 299 times, each with two versions.
    async fn long_chain(directory: &tempfile::TempDir) -> (Records, Damager) {
        let path = directory.path().join("records.sqlite");
        let records = Records::open(&path).await.unwrap();
        let mut rows = Damager::of(&path).await;
        for statement in [
            "INSERT INTO ticket (reference, organisation, engineer, share_id, token_hash, priority, status, names, \
             token_generation, opened_at) VALUES ('XT-1', 'o', 'e', CAST('0000000000000000' AS BLOB), zeroblob(32), 3, \
             'open', 9, 1, 0)",
            "INSERT INTO entry (id, share_id, kind, mode, modified_at, number_base, predecessor, replaced_at) \
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) \
             SELECT CAST(printf('%016d', i) AS BLOB), CAST('0000000000000000' AS BLOB), 'file', 420, 0, (i - 1) * 2, \
             CASE WHEN i > 1 THEN CAST(printf('%016d', i - 1) AS BLOB) END, CASE WHEN i < 300 THEN 1 END FROM n",
            "INSERT INTO version (id, entry_id, number, state, key_generation, file_key, uploaded_by, opened_at, \
             received_at) WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 599) \
             SELECT CAST(printf('v%015d', i + 1) AS BLOB), CAST(printf('%016d', i / 2 + 1) AS BLOB), i % 2 + 1, \
             'available', 1, zeroblob(40), 'XT-1', i, i FROM n",
            "UPDATE entry SET current_version = CAST('v000000000000001' AS BLOB) WHERE replaced_at IS NULL",
        ] {
            rows.execute(statement.to_owned()).await.unwrap();
        }
        (records, rows)
    }

    /// What is the same for a long chain and for a circle: each version is there once.
    async fn is_whole(records: &Records) {
        let mut conn = records.read().await.unwrap();
        let all: Vec<u64> = (1..=VERSIONS).collect();
        let newest_first: Vec<_> = (1..=ENTRIES).rev().map(entry).collect();
        assert_eq!(entries(&mut conn, &entry(ENTRIES)).await.unwrap(), newest_first);
        assert_eq!(numbers(&of_share(&mut conn, share()).await.unwrap()), all);
        let of_file = of_file(&mut conn, &entry(ENTRIES)).await.unwrap();
        assert_eq!(numbers(&of_file), all);
        assert!(of_file.iter().all(|row| row.file == entry(ENTRIES) && row.current == (row.number == 1)));
        let (mut listed, mut after) = (Vec::new(), 0);
        while let Some(last) = {
            let page = page(&mut conn, &entry(ENTRIES), after, 250).await.unwrap();
            listed.extend(numbers(&page));
            page.last().map(|row| row.number)
        } {
            after = last;
        }
        assert_eq!(listed, all);
        let (file, number) = (&entry(ENTRIES), |row: Option<ChainVersion>| row.map(|row| row.number));
        assert_eq!(number(newest(&mut conn, file).await.unwrap()), Some(VERSIONS));
        for wanted in [1, 2, 299, 301, VERSIONS] {
            let row = numbered(&mut conn, file, wanted).await.unwrap().unwrap();
            assert_eq!((row.number, *row.artifact.as_bytes()), (wanted, entry(wanted.div_ceil(2) as usize)));
            assert_eq!(row.came_at().millis(), wanted as i64 - 1);
            assert_eq!(number(before(&mut conn, file, wanted).await.unwrap()), (wanted > 1).then(|| wanted - 1));
            let behind = number(behind(&mut conn, file, wanted).await.unwrap());
            assert_eq!(behind, (wanted < VERSIONS).then_some(wanted + 1));
        }
        assert_eq!(number(numbered(&mut conn, file, VERSIONS + 1).await.unwrap()), None);
        let wrong = consistency::wrong_pointers(&mut conn, None, 10).await.unwrap();
        assert!(wrong.is_empty(), "the version of a predecessor may be current: {wrong:?}");
    }

    #[tokio::test]
    async fn a_chain_of_hundreds_of_versions_is_walked_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let (records, mut rows) = long_chain(&directory).await;
        is_whole(&records).await;
        let mut conn = records.read().await.unwrap();
        for at in [1, 150, ENTRIES] {
            assert_eq!(head(&mut conn, &entry(at)).await.unwrap(), entry(ENTRIES));
        }
        // With nothing but shredded versions between them.
        rows.execute("UPDATE version SET state = 'shredded' WHERE number = 2 OR opened_at > 0".to_owned())
            .await
            .unwrap();
        rows.execute("UPDATE version SET state = 'damaged' WHERE opened_at = 599".to_owned()).await.unwrap();
        let file = &entry(ENTRIES);
        let first = before(&mut conn, file, VERSIONS).await.unwrap().unwrap();
        let last = behind(&mut conn, file, 1).await.unwrap().unwrap();
        assert_eq!((first.number, last.number), (1, VERSIONS));
        assert!(before(&mut conn, file, 1).await.unwrap().is_none());
        assert!(behind(&mut conn, file, VERSIONS).await.unwrap().is_none());
        assert_eq!(newest(&mut conn, file).await.unwrap().unwrap().number, 1);
        rows.close().await;
    }

    /// A file beside the long chain.
    const LONE: &str = "INSERT INTO entry (id, share_id, kind, mode, modified_at) \
         VALUES (CAST('0000000000000301' AS BLOB), CAST('0000000000000000' AS BLOB), 'file', 420, 0)";

    #[tokio::test]
    async fn what_changes_a_chain_changes_all_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let (records, mut rows) = long_chain(&directory).await;
        rows.execute(LONE.to_owned()).await.unwrap();
        rows.close().await;
        let mut tx = records.begin().await.unwrap();
        let (from, to) = (VersionState::Available, VersionState::Withdrawn);
        assert_eq!(versions::move_versions(tx.conn(), &entry(ENTRIES), from, to).await.unwrap(), VERSIONS);
        let now = Time::from_millis(1);
        assert!(rows::replace(tx.conn(), &Unproved, &entry(301), &entry(ENTRIES), 7, now).await.unwrap());
        let line = entries(tx.conn(), &entry(ENTRIES)).await.unwrap();
        assert_eq!((line.len(), line.last()), (ENTRIES + 1, Some(&entry(301))));
        let all = of_file(tx.conn(), &entry(ENTRIES)).await.unwrap();
        assert_eq!(numbers(&all), (8..=VERSIONS + 7).collect::<Vec<_>>());
    }

    /// Damaged rows: the oldest entry names the newest one, or itself, as the one before it.
    #[tokio::test]
    async fn a_circle_ends_and_is_named_as_damage() {
        for last in [ENTRIES, 1] {
            let directory = tempfile::tempdir().unwrap();
            let (records, mut rows) = long_chain(&directory).await;
            let circle = format!(
                "UPDATE entry SET predecessor = CAST('{last:016}' AS BLOB) WHERE id = CAST('{:016}' AS BLOB)",
                1
            );
            rows.execute(circle).await.unwrap();
            is_whole(&records).await;
            let mut conn = records.read().await.unwrap();
            let newest = head(&mut conn, &entry(7)).await;
            if last == 1 {
                assert_eq!(newest.unwrap(), entry(ENTRIES), "this circle has a way out");
            } else {
                let said = newest.unwrap_err();
                assert!(matches!(said, RecordsError::Unreadable { table: "entry", .. }), "{said}");
                assert!(
                    said.to_string().contains(&hex::encode(entry(7))) && said.to_string().contains("circle"),
                    "{said}"
                );
            }
            rows.execute(LONE.to_owned()).await.unwrap();
            rows.close().await;
            drop(conn);
            let mut tx = records.begin().await.unwrap();
            let (from, to) = (VersionState::Available, VersionState::Withdrawn);
            assert_eq!(versions::move_versions(tx.conn(), &entry(ENTRIES), from, to).await.unwrap(), VERSIONS);
            let now = Time::from_millis(1);
            let said = rows::replace(tx.conn(), &Unproved, &entry(301), &entry(ENTRIES), 7, now).await.unwrap_err();
            assert!(said.to_string().contains("circle"), "what is replaced would be lost: {said}");
        }
    }
}
