//! What a desk asks for every morning: artifacts over all tickets, the newest first, page by page.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::readable::readable;
use super::{Conn, RecordsError, bytes_as, bytes_as_option, text_as, unsigned};
use tacdrop_model::{ArtifactId, Identifier, ShareId, Time, Transport, VersionId, VersionState};

/// Which artifacts are wanted. What is none is no condition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Those of a ticket.
    pub ticket: Option<&'a Identifier>,
    /// Those of an organisation's tickets.
    pub organisation: Option<&'a Identifier>,
    /// Those of the tickets that an engineer works on.
    pub engineer: Option<&'a Identifier>,
    /// Those that stand so.
    pub state: Option<VersionState>,
    /// Those that came then or later.
    pub since: Option<Time>,
    /// Those whose SHA-256 lies between these two, both included.
    pub sha256: Option<([u8; 32], [u8; 32])>,
}

/// Behind which version a page begins, in the order of [`arrivals`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// When that version came, in milliseconds since 1970.
    pub came: i64,
    /// Its id.
    pub id: Vec<u8>,
}

/// A version that stands for its file.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The ticket's reference.
    pub ticket: Identifier,
    /// The ticket's share.
    pub share: ShareId,
    /// Whose ticket it is.
    pub organisation: Identifier,
    /// Who works on the ticket.
    pub engineer: Identifier,
    /// The version.
    pub id: VersionId,
    /// The entry that it belongs to. The file may have a newer one: [`file_of`].
    pub artifact: ArtifactId,
    /// Whether that entry stands for the file itself.
    pub is_own: bool,
    /// Its number for people.
    pub number: u64,
    /// Where it stands.
    pub state: VersionState,
    /// When it became available; when it was opened, of an unfinished one.
    pub came: Time,
    /// When it became available.
    pub received_at: Option<Time>,
    /// Up to where it can be continued, in bytes.
    pub resumable_at: u64,
    /// Plaintext bytes.
    pub length: u64,
    /// Of an unfinished version: plaintext bytes that are there.
    pub stored: u64,
    /// Plaintext bytes that were never sent.
    pub zeros: u64,
    /// The plaintext's SHA-256, once available.
    pub sha256: Option<[u8; 32]>,
    /// Who sent it.
    pub uploaded_by: String,
    /// The weakest transport that anything of it came by.
    pub transport: Transport,
    /// Whether it was compared with a sender's digest.
    pub is_compared: bool,
}

impl Arrival {
    /// Where the page behind it begins.
    pub fn behind(&self) -> Behind {
        Behind { came: self.came.millis(), id: self.id.as_bytes().to_vec() }
    }
}

/// A part of the list.
#[derive(Debug)]
pub struct Page {
    /// What of it can be read.
    pub rows: Vec<Arrival>,
    /// Behind which the next part begins; none: nothing comes behind it.
    pub last: Option<Behind>,
}

macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT v.id, v.entry_id, v.number + e.number_base AS shown, v.state, v.length, v.stored, v.resumable_at, v.zeros, \
             v.sha256, v.uploaded_by, v.received_at, v.transport, COALESCE(v.received_at, v.opened_at) AS came, \
             t.reference, t.organisation, t.engineer, t.share_id, \
             CASE WHEN e.replaced_at IS NULL THEN 1 ELSE 0 END AS is_own, \
             CASE WHEN EXISTS (SELECT 1 FROM sender_check c WHERE c.version_id = v.id) THEN 1 ELSE 0 END AS is_compared \
             FROM version v JOIN entry e ON e.id = v.entry_id JOIN ticket t ON t.share_id = e.share_id \
             WHERE COALESCE(v.received_at, v.opened_at) <= $1 \
             AND (COALESCE(v.received_at, v.opened_at) < $1 OR v.id < $2) \
             AND COALESCE(v.received_at, v.opened_at) >= $3 AND ($4 = '' OR t.reference = $4) \
             AND ($5 = '' OR t.organisation = $5) AND ($6 = '' OR t.engineer = $6) AND ($7 = '' OR v.state = $7) \
             AND ($8 = 0 OR v.sha256 BETWEEN $9 AND $10) AND (",
            $which,
            ") ORDER BY COALESCE(v.received_at, v.opened_at) DESC, v.id DESC LIMIT $11 + 0"
        )
    };
}

/// Of each file in sight the version that people see: the current one, or else the one that is
/// arriving. It may belong to an entry whose place the file's own has taken.
pub(super) const SHOWN: &str = select!(
    "(e.replaced_at IS NULL AND e.withdrawn_at IS NULL AND v.id = COALESCE(e.current_version, e.receiving_version)) \
     OR EXISTS (SELECT 1 FROM entry n WHERE n.predecessor = e.id \
     AND (n.replaced_at IS NOT NULL OR v.id = COALESCE(n.current_version, n.receiving_version)))"
);
/// Those that are arriving, also where readers have an older one.
const ARRIVING: &str = select!("e.replaced_at IS NULL AND e.withdrawn_at IS NULL AND v.id = e.receiving_version");
/// Every version.
const EVERY: &str = select!("v.id IS NOT NULL");

/// Versions that stand for their files, the newest first, at most `most`, from behind `behind` on.
/// Without a state, those that people see; with `receiving` or `incomplete`, those that are
/// arriving; with `withdrawn` or `shredded`, every version that stands so.
pub async fn arrivals(
    conn: &mut Conn,
    wanted: &Wanted<'_>,
    behind: Option<&Behind>,
    most: usize,
) -> Result<Page, RecordsError> {
    let text = match wanted.state {
        None | Some(VersionState::Available | VersionState::Damaged) => SHOWN,
        Some(VersionState::Receiving | VersionState::Incomplete) => ARRIVING,
        Some(VersionState::Withdrawn | VersionState::Shredded) => EVERY,
    };
    let word = |word: Option<&Identifier>| word.map_or("", Identifier::as_str).to_owned();
    let (first, last) = wanted.sha256.unwrap_or_default();
    let asked = ask!(
        text,
        behind.map_or(i64::MAX, |behind| behind.came),
        behind.map_or_else(Vec::new, |behind| behind.id.clone()),
        wanted.since.map_or(i64::MIN, Time::millis),
        &word(wanted.ticket),
        &word(wanted.organisation),
        &word(wanted.engineer),
        wanted.state.map_or("", VersionState::as_str),
        wanted.sha256.is_some(),
        &first[..],
        &last[..],
        most
    );
    let rows = asked.rows(conn).await?;
    // A row that does not even say where it stands is passed over with the one before it.
    let place = |row: &SqliteRow| Some(Behind { came: row.try_get("came").ok()?, id: row.try_get("id").ok()? });
    let last = if rows.len() < most { None } else { rows.iter().rev().find_map(place) };
    Ok(Page { rows: readable("version", &rows, arrival), last })
}

fn arrival(row: &SqliteRow) -> Result<Arrival, RecordsError> {
    Ok(Arrival {
        ticket: text_as(row, "ticket", "reference")?,
        share: bytes_as(row, "ticket", "share_id")?,
        organisation: text_as(row, "ticket", "organisation")?,
        engineer: text_as(row, "ticket", "engineer")?,
        id: bytes_as(row, "version", "id")?,
        artifact: bytes_as(row, "version", "entry_id")?,
        is_own: row.try_get::<i64, _>("is_own")? != 0,
        number: unsigned(row, "version", "shown")?,
        state: text_as(row, "version", "state")?,
        came: Time::from_millis(row.try_get("came")?),
        received_at: row.try_get::<Option<i64>, _>("received_at")?.map(Time::from_millis),
        resumable_at: unsigned(row, "version", "resumable_at")?,
        length: unsigned(row, "version", "length")?,
        stored: unsigned(row, "version", "stored")?,
        zeros: unsigned(row, "version", "zeros")?,
        sha256: bytes_as_option(row, "version", "sha256")?,
        uploaded_by: row.try_get("uploaded_by")?,
        transport: text_as(row, "version", "transport")?,
        is_compared: row.try_get::<i64, _>("is_compared")? != 0,
    })
}

/// The entry that stands for the file whose readers see this version of an entry that was replaced;
/// none if they see another one.
pub async fn file_of(conn: &mut Conn, arrival: &Arrival) -> Result<Option<[u8; 16]>, RecordsError> {
    let text = "WITH RECURSIVE up (id, share_id) AS (SELECT id, share_id FROM entry WHERE id = $1 \
         UNION SELECT n.id, n.share_id FROM entry n JOIN up ON n.predecessor = up.id AND n.share_id = up.share_id) \
         SELECT f.id FROM up JOIN entry f ON f.id = up.id WHERE f.replaced_at IS NULL AND f.withdrawn_at IS NULL \
         AND COALESCE(f.current_version, f.receiving_version) = $2";
    ask!(text, arrival.artifact, arrival.id).maybe(conn, |row| bytes_as(row, "entry", "id")).await
}

/// What lies in a share.
#[derive(Debug, Clone, Copy, Default)]
pub struct Holding {
    /// Files in sight that have a version, each counted once.
    pub artifacts: u64,
    /// When the newest of the versions that people see became available.
    pub newest: Option<Time>,
}

/// What lies in each share in which something lies. The time is one that a calendar has: what a
/// damaged row says instead does not count.
pub async fn holdings(conn: &mut Conn) -> Result<Vec<(ShareId, Holding)>, RecordsError> {
    let text = "SELECT e.share_id, COUNT(*) AS n, \
         MAX(CASE WHEN v.received_at BETWEEN 0 AND 253402300799999 THEN v.received_at END) AS newest \
         FROM entry e JOIN version v ON v.id = COALESCE(e.current_version, e.receiving_version) \
         WHERE e.kind = 'file' AND e.replaced_at IS NULL AND e.withdrawn_at IS NULL GROUP BY e.share_id";
    let read = |row: &SqliteRow| {
        let newest = row.try_get::<Option<i64>, _>("newest")?.map(Time::from_millis);
        Ok((bytes_as(row, "entry", "share_id")?, Holding { artifacts: unsigned(row, "entry", "n")?, newest }))
    };
    ask!(text).readable(conn, "entry", read).await
}

#[cfg(test)]
mod tests {
    use super::super::Records;
    use super::*;
    use tacdrop_probe::plan;

    /// A page costs what it holds, not what the house holds.
    #[tokio::test]
    async fn the_newest_are_found_by_an_index_and_not_sorted() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(&directory.path().join("records.sqlite")).await.unwrap();
        let mut conn = records.read().await.unwrap();
        for sql in [SHOWN, ARRIVING, EVERY] {
            let plan = plan(&mut conn, sql).await.join("\n");
            assert!(plan.contains("SEARCH v USING INDEX version_by_arrival"), "{plan}");
            assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN "), "{plan}");
        }
    }
}
