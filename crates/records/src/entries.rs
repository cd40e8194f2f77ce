//! Files and directories: the tree of each share. Names come and go encrypted.

use std::sync::{LazyLock, OnceLock};

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::ask::{Question, ask, behind};
use super::many::{ROWS, rows};
use super::proofs::{self, Proof, Prover};
use super::readable::{self, readable};
use super::tickets::Standing;
use super::version_chain::{chain, circle};
use super::{At, Conn, RecordsError, aliases, bytes_as, bytes_as_option, text_as_option, tickets, unsigned};
use tacdrop_model::{DirectoryId, ShareId, Time, VersionId, VersionState};

/// A row of the tree. Whether a file or a directory, the id has 16 bytes.
#[derive(Debug, Clone)]
pub struct EntryRow {
    /// The id of the artifact or directory.
    pub id: [u8; 16],
    /// The share it lies in.
    pub share: ShareId,
    /// The directory it lies in; none for a root.
    pub parent: Option<DirectoryId>,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// The sealed name; none for a root.
    pub name: Option<Vec<u8>>,
    /// The index of the name in the directory; none for a root.
    pub index: Option<[u8; 32]>,
    /// POSIX permission bits.
    pub mode: u32,
    /// When it last changed, or what the client set.
    pub modified_at: Time,
    /// The version that readers get.
    pub current: Option<CurrentVersion>,
    /// The version that is arriving.
    pub receiving: Option<ReceivingVersion>,
    /// Added to a version's number for people.
    pub number_base: u64,
    /// Whether it stands in the tree: neither replaced nor withdrawn.
    pub in_sight: bool,
}

/// What a listing needs of an available version.
#[derive(Debug, Clone, Copy)]
pub struct CurrentVersion {
    /// Its id.
    pub id: VersionId,
    /// Plaintext bytes.
    pub length: u64,
}

/// What a listing needs of an unfinished version.
#[derive(Debug, Clone, Copy)]
pub struct ReceivingVersion {
    /// Its id.
    pub id: VersionId,
    /// Where an upload can go on.
    pub resumable_at: u64,
    /// Whether it was closed with a hole.
    pub incomplete: bool,
}

/// The columns that [`entry_at`] reads: of an entry, of its current and of its arriving version.
macro_rules! columns {
    () => {
        "e.id, e.share_id, e.parent_id, e.kind, e.name, e.mode, e.modified_at, e.current_version, c.length, \
         e.receiving_version, r.resumable_at, r.state, e.number_base, \
         e.replaced_at IS NULL AND e.withdrawn_at IS NULL, e.name_index"
    };
}
/// How many these are.
const COLUMNS: usize = 15;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM entry e \
             LEFT JOIN version c ON c.id = e.current_version LEFT JOIN version r ON r.id = e.receiving_version ",
            $rest
        )
    };
}

fn entry(row: &SqliteRow) -> Result<EntryRow, RecordsError> {
    entry_at(row, 0)
}

/// The entry in the columns from `at` on.
fn entry_at(row: &SqliteRow, at: usize) -> Result<EntryRow, RecordsError> {
    let current = match bytes_as_option(row, "entry", At(at + 7, "current_version"))? {
        Some(id) => Some(CurrentVersion { id, length: unsigned(row, "version", At(at + 8, "length"))? }),
        None => None,
    };
    let receiving = match bytes_as_option(row, "entry", At(at + 9, "receiving_version"))? {
        Some(id) => Some(ReceivingVersion {
            id,
            resumable_at: unsigned(row, "version", At(at + 10, "resumable_at"))?,
            incomplete: text_as_option(row, "version", At(at + 11, "state"))? == Some(VersionState::Incomplete),
        }),
        None => None,
    };
    Ok(EntryRow {
        id: bytes_as(row, "entry", At(at, "id"))?,
        share: bytes_as(row, "entry", At(at + 1, "share_id"))?,
        parent: bytes_as_option(row, "entry", At(at + 2, "parent_id"))?,
        is_directory: row.try_get::<&str, _>(at + 3)? == "directory",
        name: row.try_get(at + 4)?,
        mode: u32::try_from(row.try_get::<i64, _>(at + 5)?).unwrap_or(0),
        modified_at: Time::from_millis(row.try_get(at + 6)?),
        current,
        receiving,
        number_base: unsigned(row, "entry", At(at + 12, "number_base"))?,
        in_sight: row.try_get(at + 13)?,
        index: bytes_as_option(row, "entry", At(at + 14, "name_index"))?,
    })
}

/// The same, if there is one.
fn entry_at_option(row: &SqliteRow, at: usize) -> Result<Option<EntryRow>, RecordsError> {
    let is_there = row.try_get::<Option<&[u8]>, _>(at)?.is_some();
    is_there.then(|| entry_at(row, at)).transpose()
}

/// A name in a directory, as its row holds it.
#[derive(Debug)]
pub struct Place {
    /// The directory.
    pub parent: DirectoryId,
    /// The index of the name there.
    pub index: [u8; 32],
    /// The index of its alias there.
    pub alias: [u8; 32],
    /// Whether the name is its own alias: then it goes before names that have the same one, but
    /// only encoded.
    pub own_alias: bool,
    /// The sealed name.
    pub sealed: Vec<u8>,
}

/// What a new row of the tree is made of.
#[derive(Debug)]
pub struct NewEntry<'a> {
    /// The id of the artifact or directory.
    pub id: [u8; 16],
    /// The share it lies in.
    pub share: ShareId,
    /// Where it stands; none for a root.
    pub place: Option<&'a Place>,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// POSIX permission bits.
    pub mode: u32,
    /// When it was last changed.
    pub modified_at: Time,
    /// The entry whose place it takes, and that entry's highest version number for people.
    pub predecessor: Option<([u8; 16], u64)>,
}

/// What proofs of predecessors are made under.
pub const LINK_LABEL: &str = "proof of entry's predecessor, 1";

/// That an entry took the place of another one, whose versions are older versions of it.
#[derive(Debug, Clone)]
pub struct Link {
    /// The entry.
    pub entry: [u8; 16],
    /// The share that both lie in.
    pub share: ShareId,
    /// The one whose place it took.
    pub predecessor: [u8; 16],
    /// The proof that it carries.
    pub proof: Proof,
}

impl Link {
    fn fields(&self) -> [&[u8]; 3] {
        [&self.entry, self.share.as_bytes(), &self.predecessor]
    }

    /// Whether tacdrop wrote it.
    pub fn is_proved(&self, prover: &dyn Prover) -> bool {
        prover.is_proved(LINK_LABEL, &self.fields(), &self.proof)
    }
}

fn link(row: &SqliteRow) -> Result<Link, RecordsError> {
    Ok(Link {
        entry: bytes_as(row, "entry", "id")?,
        share: bytes_as(row, "entry", "share_id")?,
        predecessor: bytes_as(row, "entry", "predecessor")?,
        proof: proofs::proof(row, "link_proof"),
    })
}

/// The links of a file's chain, in no order.
pub async fn links(conn: &mut Conn, file: &[u8; 16]) -> Result<Vec<Link>, RecordsError> {
    let text = concat!(
        chain!(),
        "SELECT e.id, e.share_id, e.predecessor, e.link_proof FROM chain c JOIN entry e ON e.id = c.id \
         WHERE e.predecessor IS NOT NULL"
    );
    ask!(text, file).all(conn, link).await
}

/// All links that there are, as far as they can be read.
pub async fn all_links(conn: &mut Conn) -> Result<Vec<Link>, RecordsError> {
    ask!("SELECT id, share_id, predecessor, link_proof FROM entry WHERE predecessor IS NOT NULL ORDER BY id")
        .readable(conn, "entry", link)
        .await
}

/// Gives an entry the proof that it follows its predecessor.
pub async fn prove_link(conn: &mut Conn, prover: &dyn Prover, link: &Link) -> Result<(), RecordsError> {
    let proof = prover.prove(LINK_LABEL, &link.fields());
    ask!("UPDATE entry SET link_proof = $3 WHERE id = $1 AND predecessor = $2", &link.entry, &link.predecessor, proof)
        .run(conn)
        .await
}

/// Adds a row. What it follows is proved by [`prove_link`].
///
/// # Errors
/// [`RecordsError::Exists`] if the name is taken.
pub async fn add(conn: &mut Conn, new: &NewEntry<'_>) -> Result<(), RecordsError> {
    let rank = match new.place {
        Some(place) => aliases::next_rank(conn, place, &new.id).await?,
        None => 0,
    };
    let text = "INSERT INTO entry (id, share_id, parent_id, kind, name_index, name, mode, modified_at, predecessor, \
         number_base, alias_index, alias_rank) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    ask!(
        text,
        &new.id[..],
        new.share,
        new.place.map(|place| place.parent.as_bytes().to_vec()),
        if new.is_directory { "directory" } else { "file" },
        new.place.map(|place| place.index.to_vec()),
        new.place.map(|place| place.sealed.clone()),
        new.mode,
        new.modified_at,
        new.predecessor.map(|(id, _)| id.to_vec()),
        new.predecessor.map_or(0, |(_, base)| base),
        new.place.map(|place| place.alias.to_vec()),
        rank
    )
    .run(conn)
    .await?;
    if new.place.is_some() {
        tickets::count_name(conn, new.share).await?;
    }
    Ok(())
}

/// The row with this id.
pub async fn by_id(conn: &mut Conn, id: &[u8; 16]) -> Result<Option<EntryRow>, RecordsError> {
    ask!(BY_ID, id).maybe(conn, entry).await
}

const BY_ID: &str = select!("WHERE e.id = $1");
const BY_NAME: &str =
    select!("WHERE e.parent_id = $1 AND e.name_index = $2 AND e.replaced_at IS NULL AND e.withdrawn_at IS NULL");

/// One row of everything, so that who asks is woken once.
static LOOK: LazyLock<String> = LazyLock::new(|| {
    let of_directory = columns!().replace("e.", "d.").replace("c.", "dc.").replace("r.", "dr.");
    format!(
        "SELECT {}, {of_directory}, {} FROM (SELECT 1) LEFT JOIN entry e \
         ON e.parent_id = $1 AND e.name_index = $2 AND e.replaced_at IS NULL AND e.withdrawn_at IS NULL \
         LEFT JOIN version c ON c.id = e.current_version LEFT JOIN version r ON r.id = e.receiving_version \
         LEFT JOIN entry d ON d.id = $1 \
         LEFT JOIN version dc ON dc.id = d.current_version LEFT JOIN version dr ON dr.id = d.receiving_version \
         LEFT JOIN ticket t ON t.share_id = $3",
        columns!(),
        tickets::STANDING
    )
});

/// What is found when a name is looked up.
#[derive(Debug)]
pub struct Looked {
    /// The directory.
    pub directory: Option<EntryRow>,
    /// What stands there under the name.
    pub entry: Option<EntryRow>,
    /// How the share stands; none if there is no such share.
    pub standing: Option<Standing>,
}

/// What stands under this name in a directory of a share now, in one question.
pub async fn look(
    conn: &mut Conn,
    share: ShareId,
    directory: DirectoryId,
    index: &[u8; 32],
) -> Result<Looked, RecordsError> {
    ask!(LOOK.as_str(), directory, index, share)
        .one(conn, |row| {
            Ok(Looked {
                entry: entry_at_option(row, 0)?,
                directory: entry_at_option(row, COLUMNS)?,
                standing: tickets::standing(row, 2 * COLUMNS)?,
            })
        })
        .await
}

/// Rows that one question asks for at most. The text of the question is always the same, so that it
/// is prepared once; what there is less of is asked for again.
const AT_ONCE: usize = 64;

/// A question whose list of [`AT_ONCE`] parameters begins at `from`.
fn listed(text: &'static OnceLock<String>, from: usize, before: &str, behind: &str) -> &'static str {
    text.get_or_init(|| format!("{before}{}{behind}", rows(AT_ONCE, from - 1, 1, "#1")))
}

/// The question of [`by_names`].
fn names_question() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    let behind = ") AND e.replaced_at IS NULL AND e.withdrawn_at IS NULL";
    listed(&TEXT, 2, select!("WHERE e.parent_id = $1 AND e.name_index IN ("), behind)
}

/// The question of [`by_ids`].
fn ids_question() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    listed(&TEXT, 1, select!("WHERE e.id IN ("), ")")
}

/// What stands under any of these names, each with the name's index.
pub async fn by_names(
    conn: &mut Conn,
    parent: DirectoryId,
    indexes: &[[u8; 32]],
) -> Result<Vec<([u8; 32], EntryRow)>, RecordsError> {
    let mut found = Vec::new();
    for some in indexes.chunks(AT_ONCE) {
        let asked = some.iter().cycle().take(AT_ONCE).fold(ask!(names_question(), parent), Question::with);
        for row in asked.rows(conn).await? {
            let entry = entry(&row)?;
            found.extend(entry.index.map(|index| (index, entry)));
        }
    }
    Ok(found)
}

/// The rows with these ids, as far as there are such, in no order.
pub async fn by_ids(conn: &mut Conn, ids: &[[u8; 16]]) -> Result<Vec<EntryRow>, RecordsError> {
    let mut found = Vec::new();
    for some in ids.chunks(AT_ONCE) {
        let asked = some.iter().cycle().take(AT_ONCE).fold(ask!(ids_question()), Question::with);
        for row in asked.rows(conn).await? {
            found.push(entry(&row)?);
        }
    }
    Ok(found)
}

/// What stands under this name now.
pub async fn by_name(conn: &mut Conn, parent: DirectoryId, index: &[u8; 32]) -> Result<Option<EntryRow>, RecordsError> {
    ask!(BY_NAME, parent, index).maybe(conn, entry).await
}

/// The newest entry of this name that was withdrawn and not yet followed by another.
pub async fn withdrawn_by_name(
    conn: &mut Conn,
    parent: DirectoryId,
    index: &[u8; 32],
) -> Result<Option<EntryRow>, RecordsError> {
    let text = select!(
        "WHERE e.parent_id = $1 AND e.name_index = $2 AND e.kind = 'file' AND e.withdrawn_at IS NOT NULL \
         AND e.replaced_at IS NULL ORDER BY e.withdrawn_house DESC, e.withdrawn_at DESC LIMIT 1"
    );
    ask!(text, parent, index).maybe(conn, entry).await
}

/// The sum behind LIMIT: the value of a parameter that stands there alone is part of SQLite's plan,
/// so that the statement would be prepared anew for each page, which costs a tenth of it.
pub(super) const CHILDREN: &str = select!(
    "WHERE e.parent_id = $1 AND e.id > $2 AND e.replaced_at IS NULL AND e.withdrawn_at IS NULL AND length(e.id) = 16 \
     ORDER BY e.id LIMIT $3 + 0"
);

/// A part of a directory.
#[derive(Debug)]
pub struct Page {
    /// Its entries that can be read.
    pub rows: Vec<EntryRow>,
    /// The id behind which the next part begins; none: there was nothing.
    pub last: Option<[u8; 16]>,
    /// Whether nothing comes behind it.
    pub ended: bool,
}

/// The entries of a directory in the order of their ids, at most `most`, from behind `after` on.
pub async fn children(
    conn: &mut Conn,
    parent: DirectoryId,
    after: Option<[u8; 16]>,
    most: usize,
) -> Result<Page, RecordsError> {
    let rows = ask!(CHILDREN, parent, behind(after), most).rows(conn).await?;
    let last = rows.last().map(|row| bytes_as(row, "entry", "id")).transpose()?;
    Ok(Page { last, ended: rows.len() < most, rows: readable("entry", &rows, entry) })
}

/// Whether nothing visible lies in a directory. What cannot be read lies in it all the same.
pub async fn is_empty(conn: &mut Conn, directory: DirectoryId) -> Result<bool, RecordsError> {
    Ok(children(conn, directory, None, 1).await?.last.is_none())
}

/// Puts an entry under another name, in the same share.
///
/// # Errors
/// [`RecordsError::Exists`] if the name is taken.
pub async fn move_to(conn: &mut Conn, id: &[u8; 16], place: &Place) -> Result<(), RecordsError> {
    let rank = aliases::next_rank(conn, place, id).await?;
    let text =
        "UPDATE entry SET parent_id = $2, name_index = $3, name = $4, alias_index = $5, alias_rank = $6 WHERE id = $1";
    ask!(text, id, place.parent, &place.index[..], &place.sealed[..], &place.alias[..], rank).run(conn).await
}

/// Takes an entry out of sight by a statement that changes its row if it is in sight: then its
/// share has one name less. False if it was out of sight already.
async fn leave_sight(conn: &mut Conn, text: &'static str, id: &[u8; 16], now: Time) -> Result<bool, RecordsError> {
    if !ask!(text, id, now).changed(conn).await? {
        return Ok(false);
    }
    tickets::uncount_name(conn, id).await?;
    Ok(true)
}

/// Takes an entry out of the tree that nothing follows. False if it was out of sight already.
pub(super) async fn withdraw(conn: &mut Conn, id: &[u8; 16], now: Time) -> Result<bool, RecordsError> {
    let text = "UPDATE entry SET withdrawn_at = $2 WHERE id = $1 AND replaced_at IS NULL AND withdrawn_at IS NULL";
    leave_sight(conn, text, id, now).await
}

/// Takes an entry out of the tree because `successor` stands in its place: its versions become
/// older versions there, and older than all that the successor brings along. False if it was out of
/// sight already.
///
/// # Errors
/// [`RecordsError::Unreadable`] if the entries before the successor go round in a circle.
pub async fn replace(
    conn: &mut Conn,
    prover: &dyn Prover,
    id: &[u8; 16],
    successor: &[u8; 16],
    number_base: u64,
    now: Time,
) -> Result<bool, RecordsError> {
    let text = "UPDATE entry SET replaced_at = $2 WHERE id = $1 AND replaced_at IS NULL AND withdrawn_at IS NULL";
    if !leave_sight(conn, text, id, now).await? {
        return Ok(false);
    }
    let text = concat!(chain!(), "UPDATE entry SET number_base = number_base + $2 WHERE id IN (SELECT id FROM chain)");
    ask!(text, successor, number_base).run(conn).await?;
    let text = concat!(
        chain!(),
        "SELECT e.id, e.share_id FROM chain c JOIN entry e ON e.id = c.id WHERE e.predecessor IS NULL"
    );
    let last = ask!(text, successor)
        .maybe(conn, |row| Ok((bytes_as(row, "entry", "id")?, bytes_as(row, "entry", "share_id")?)))
        .await?;
    // A circle has no last entry: nobody would lead to what stood here any more.
    let Some((entry, share)) = last else { return Err(circle(successor)) };
    ask!("UPDATE entry SET predecessor = $2 WHERE id = $1", &entry, id).run(conn).await?;
    prove_link(conn, prover, &Link { entry, share, predecessor: *id, proof: Proof::default() }).await?;
    Ok(true)
}

/// Takes an empty directory out of the tree; its row stays if entries that are out of sight name
/// it, and goes otherwise: who makes and removes directories all day leaves none. False if it was
/// out of sight already.
pub async fn remove_directory(conn: &mut Conn, id: &[u8; 16], now: Time) -> Result<bool, RecordsError> {
    if !withdraw(conn, id, now).await? {
        return Ok(false);
    }
    let text = "DELETE FROM entry WHERE id = $1 AND kind = 'directory' \
         AND NOT EXISTS (SELECT 1 FROM entry below WHERE below.parent_id = $1)";
    ask!(text, id).run(conn).await?;
    Ok(true)
}

/// Sets what SETSTAT may set.
pub async fn set_attributes(
    conn: &mut Conn,
    id: &[u8; 16],
    mode: Option<u32>,
    modified_at: Option<Time>,
) -> Result<(), RecordsError> {
    let text = "UPDATE entry SET mode = COALESCE($2, mode), modified_at = COALESCE($3, modified_at) WHERE id = $1";
    ask!(text, id, mode, modified_at).run(conn).await
}

/// Points an entry at the version that readers get, and at the one that is arriving.
pub async fn set_versions(
    conn: &mut Conn,
    id: &[u8; 16],
    current: Option<VersionId>,
    receiving: Option<VersionId>,
) -> Result<(), RecordsError> {
    ask!("UPDATE entry SET current_version = $2, receiving_version = $3 WHERE id = $1", id, current, receiving)
        .run(conn)
        .await
}

/// A sealed name.
#[derive(Debug)]
pub struct NameRow {
    /// The id of the artifact or directory that bears it.
    pub entry: [u8; 16],
    /// The directory it stands in.
    pub parent: DirectoryId,
    /// The sealed name.
    pub sealed: Vec<u8>,
}

/// Sealed names of a share, in sight or not, in the order of their entries' ids, at most `most`,
/// from behind the id `after` on (empty: from the first).
pub async fn sealed_names(
    conn: &mut Conn,
    share: ShareId,
    after: &[u8],
    most: u32,
) -> Result<readable::Page<NameRow>, RecordsError> {
    let text = "SELECT id, parent_id, name FROM entry WHERE share_id = $1 AND name IS NOT NULL AND parent_id IS NOT NULL \
         AND id > $2 ORDER BY id LIMIT $3 + 0";
    readable::page(&ask!(text, share, after, most).rows(conn).await?, "entry", |row| {
        Ok(NameRow {
            entry: bytes_as(row, "entry", "id")?,
            parent: bytes_as(row, "entry", "parent_id")?,
            sealed: row.try_get("name")?,
        })
    })
}

/// Replaces entries' sealed names, and the indexes by which they and their aliases are found. Who
/// has an alias stays.
///
/// # Errors
/// [`RecordsError::Exists`] if a directory holds an index already.
pub async fn set_names(conn: &mut Conn, names: &[([u8; 16], Place)]) -> Result<(), RecordsError> {
    for some in names.chunks(ROWS) {
        let mut update = QueryBuilder::<Sqlite>::new(
            "UPDATE entry SET name_index = new.column2, name = new.column3, alias_index = new.column4 FROM (",
        );
        update.push_values(some, |mut row, (entry, place)| {
            row.push_bind(entry.to_vec());
            row.push_bind(place.index.to_vec());
            row.push_bind(place.sealed.clone());
            row.push_bind(place.alias.to_vec());
        });
        update.push(") AS new WHERE entry.id = new.column1");
        update.build().execute(&mut *conn).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Records;
    use super::*;
    use tacdrop_probe::plan;

    /// What is asked for every file looks at no other rows, however many there are.
    #[tokio::test]
    async fn names_and_ids_are_looked_up_by_index() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(&directory.path().join("records.sqlite")).await.unwrap();
        let mut conn = records.read().await.unwrap();
        for (sql, tables) in [(LOOK.as_str(), 7), (names_question(), 3), (ids_question(), 3)] {
            let plan = plan(&mut conn, sql).await;
            let by_index = plan.iter().filter(|line| line.starts_with("SEARCH ") && line.contains(" USING INDEX "));
            assert_eq!(by_index.count(), tables, "{plan:?}");
            // The one row of constants that the others are joined to.
            assert!(
                plan.iter()
                    .all(|line| !line.starts_with("SCAN ") || line.contains("CONSTANT") || line.contains("subquery")),
                "{plan:?}"
            );
        }
    }
}
