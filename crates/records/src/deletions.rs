//! The deletion log, and the way of a whole ticket out of the records: page by page, so that no
//! transaction keeps others waiting for long.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::proofs::{Proof, Proved, Prover, proof, time_field};
use super::{Conn, RecordsError, bytes_as, bytes_as_option, extents, facts, objects, small_files, text_as, unsigned};
use tacdrop_model::{DeletionReason, HouseTime, Identifier, ObjectId, ObjectPlace, ShareId, Time, VersionId};

/// A ticket that was shredded, or is about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Its share.
    pub share: ShareId,
    /// The reference that it had.
    pub ticket: Identifier,
    /// Whose it was.
    pub organisation: Identifier,
    /// Why.
    pub reason: DeletionReason,
    /// By which rule, in words on one line.
    pub rule: String,
    /// Files of which something could be read or continued.
    pub artifacts: u64,
    /// Versions that could be read or continued.
    pub versions: u64,
    /// Their plaintext bytes.
    pub bytes: u64,
    /// Of the versions whose rows are gone: those that had been available at some time.
    pub published: u64,
    /// When the ticket was opened.
    pub opened_at: Time,
    /// When it was closed: at the latest when this began.
    pub closed_at: Time,
    /// When this began.
    pub begun_at: Time,
    /// When the keys of its share were destroyed.
    pub keys_destroyed_at: Option<Time>,
    /// When the last of its rows went.
    pub records_removed_at: Option<Time>,
    /// The entry of the audit trail that tells of it.
    pub trail_seq: Option<i64>,
    /// When its objects were off the disk.
    pub objects_removed_at: Option<Time>,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl Proved for Deletion {
    const TABLE: &'static str = "deletion";
    const LABEL: &'static str = "proof of deletion, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        read(&[
            self.share.as_bytes(),
            self.ticket.as_str().as_bytes(),
            self.organisation.as_str().as_bytes(),
            self.reason.as_str().as_bytes(),
            self.rule.as_bytes(),
            &self.artifacts.to_be_bytes(),
            &self.versions.to_be_bytes(),
            &self.bytes.to_be_bytes(),
            &self.published.to_be_bytes(),
            &time_field(Some(self.opened_at)),
            &time_field(Some(self.closed_at)),
            &time_field(Some(self.begun_at)),
            &time_field(self.keys_destroyed_at),
            &time_field(self.records_removed_at),
            &self.trail_seq.map(|seq| seq.to_be_bytes().to_vec()).unwrap_or_default(),
            &time_field(self.objects_removed_at),
        ])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        self.share.to_string()
    }
}

/// The columns of a [`Deletion`], and what follows them in the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT share_id, ticket, organisation, reason, rule, artifacts, versions, bytes, published, opened_at, \
             closed_at, begun_at, keys_destroyed_at, records_removed_at, trail_seq, objects_removed_at, proof \
             FROM deletion ",
            $rest
        )
    };
}

fn deletion(row: &SqliteRow) -> Result<Deletion, RecordsError> {
    let time = |column| Ok::<_, RecordsError>(Time::from_millis(row.try_get(column)?));
    let maybe = |column| Ok::<_, RecordsError>(row.try_get::<Option<i64>, _>(column)?.map(Time::from_millis));
    Ok(Deletion {
        share: bytes_as(row, "deletion", "share_id")?,
        ticket: text_as(row, "deletion", "ticket")?,
        organisation: text_as(row, "deletion", "organisation")?,
        reason: text_as(row, "deletion", "reason")?,
        rule: row.try_get("rule")?,
        artifacts: unsigned(row, "deletion", "artifacts")?,
        versions: unsigned(row, "deletion", "versions")?,
        bytes: unsigned(row, "deletion", "bytes")?,
        published: unsigned(row, "deletion", "published")?,
        opened_at: time("opened_at")?,
        closed_at: time("closed_at")?,
        begun_at: time("begun_at")?,
        keys_destroyed_at: maybe("keys_destroyed_at")?,
        records_removed_at: maybe("records_removed_at")?,
        trail_seq: row.try_get("trail_seq")?,
        objects_removed_at: maybe("objects_removed_at")?,
        proof: proof(row, "proof"),
    })
}

/// Writes down that a ticket is about to be shredded.
///
/// # Errors
/// [`RecordsError::Exists`] if that was written down before.
pub async fn begin(conn: &mut Conn, prover: &dyn Prover, new: &Deletion) -> Result<(), RecordsError> {
    let text = "INSERT INTO deletion (share_id, ticket, organisation, reason, rule, artifacts, versions, bytes, published, \
         opened_at, closed_at, begun_at, proof) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11, $12)";
    ask!(
        text,
        new.share,
        &new.ticket,
        &new.organisation,
        new.reason.as_str(),
        &new.rule,
        new.artifacts,
        new.versions,
        new.bytes,
        new.opened_at,
        new.closed_at,
        new.begun_at,
        new.prove(prover)
    )
    .run(conn)
    .await
}

/// Writes down how far a deletion has come, with its proof.
///
/// # Errors
/// [`RecordsError::Unproved`] if somebody else has changed the row before.
pub async fn change(
    conn: &mut Conn,
    prover: &dyn Prover,
    share: ShareId,
    change: impl FnOnce(&mut Deletion),
) -> Result<Option<Deletion>, RecordsError> {
    let Some(mut row) = by_share(conn, share).await? else { return Ok(None) };
    row.check(prover)?;
    change(&mut row);
    row.proof = row.prove(prover);
    let text = "UPDATE deletion SET published = $2, keys_destroyed_at = $3, records_removed_at = $4, trail_seq = $5, \
         objects_removed_at = $6, proof = $7 WHERE share_id = $1";
    ask!(
        text,
        share,
        row.published,
        row.keys_destroyed_at,
        row.records_removed_at,
        row.trail_seq,
        row.objects_removed_at,
        row.proof
    )
    .run(conn)
    .await?;
    Ok(Some(row))
}

/// Gives a row the proof of what it says, whatever it carried before.
pub async fn prove_again(conn: &mut Conn, prover: &dyn Prover, row: &Deletion) -> Result<(), RecordsError> {
    ask!("UPDATE deletion SET proof = $2 WHERE share_id = $1", row.share, row.prove(prover)).run(conn).await
}

/// The deletion of a share.
pub async fn by_share(conn: &mut Conn, share: ShareId) -> Result<Option<Deletion>, RecordsError> {
    ask!(select!("WHERE share_id = $1"), share).maybe(conn, deletion).await
}

/// The deletions of tickets that had this reference, the newest first.
pub async fn of_ticket(conn: &mut Conn, ticket: &Identifier) -> Result<Vec<Deletion>, RecordsError> {
    ask!(select!("WHERE ticket = $1 ORDER BY begun_at DESC, share_id"), ticket).all(conn, deletion).await
}

/// The reference in this one or another case that the newest such deletion is of.
pub async fn named(conn: &mut Conn, typed: &Identifier) -> Result<Option<Identifier>, RecordsError> {
    let text = "SELECT ticket FROM deletion WHERE lower(ticket) = lower($1) ORDER BY begun_at DESC, share_id LIMIT 1";
    ask!(text, typed).maybe(conn, |row| text_as(row, "deletion", "ticket")).await
}

/// The whole log as far as it can be read, the oldest first.
pub async fn list(conn: &mut Conn) -> Result<Vec<Deletion>, RecordsError> {
    ask!(select!("ORDER BY begun_at, share_id")).readable(conn, "deletion", deletion).await
}

/// Deletions that are not at their end.
pub async fn unfinished(conn: &mut Conn) -> Result<Vec<Deletion>, RecordsError> {
    ask!(select!("WHERE objects_removed_at IS NULL ORDER BY begun_at, share_id"))
        .readable(conn, "deletion", deletion)
        .await
}

/// The shares of the newest deletions, at most `most`.
pub async fn newest_shares(conn: &mut Conn, most: u32) -> Result<Vec<ShareId>, RecordsError> {
    ask!("SELECT share_id FROM deletion ORDER BY begun_at DESC LIMIT $1 + 0", most)
        .readable(conn, "deletion", |row| bytes_as(row, "deletion", "share_id"))
        .await
}

/// Whether the ticket that has this reference now is being shredded.
pub async fn is_begun(conn: &mut Conn, share: ShareId) -> Result<bool, RecordsError> {
    ask!("SELECT 1 FROM deletion WHERE share_id = $1", share).exists(conn).await
}

/// Files, versions and their plaintext bytes of a share that can be read or continued.
pub async fn count(conn: &mut Conn, share: ShareId) -> Result<(u64, u64, u64), RecordsError> {
    // Whoever took another one's place stands for both.
    let text = "SELECT (SELECT COUNT(*) FROM entry WHERE share_id = $1 AND kind = 'file' AND replaced_at IS NULL \
         AND shredded_at IS NULL) AS files, COUNT(*) AS versions, COALESCE(SUM(v.length), 0) AS bytes \
         FROM entry e JOIN version v ON v.entry_id = e.id WHERE e.share_id = $1 AND v.file_key IS NOT NULL";
    ask!(text, share)
        .one(conn, |row| {
            let number = |column| unsigned(row, "version", column);
            Ok((number("files")?, number("versions")?, number("bytes")?))
        })
        .await
}

/// What is removed with each version, beside its extents, its manifest and itself. `$1` is the
/// version.
const OF_VERSION: [&str; 6] = [
    "DELETE FROM held_notice WHERE version_id = $1",
    "DELETE FROM notice_version WHERE version_id = $1",
    "DELETE FROM sender_check WHERE version_id = $1 OR sidecar_version = $1",
    "DELETE FROM version_digest WHERE version_id = $1",
    "UPDATE entry SET current_version = NULL, receiving_version = NULL \
     WHERE id = (SELECT entry_id FROM version WHERE id = $1)",
    "DELETE FROM version WHERE id = $1",
];

/// What is removed with the ticket at the end, in this order. `$1` is its reference, `$2` its
/// share.
const OF_TICKET: [&str; 14] = [
    "DELETE FROM notice_version WHERE notice_id IN (SELECT id FROM notice WHERE ticket = $1 AND $2 = $2)",
    "DELETE FROM notice WHERE ticket = $1 AND $2 = $2",
    "DELETE FROM closing WHERE share_id = $2 AND $1 = $1",
    "DELETE FROM hold WHERE share_id = $2 AND $1 = $1",
    "DELETE FROM checklist_tick WHERE ticket = $1 AND $2 = $2",
    "DELETE FROM ticket_setting WHERE ticket = $1 AND $2 = $2",
    "DELETE FROM ticket_watcher WHERE ticket = $1 AND $2 = $2",
    "DELETE FROM ticket_contact WHERE ticket = $1 AND $2 = $2",
    "DELETE FROM ticket_people WHERE ticket = $1 AND $2 = $2",
    "DELETE FROM merged WHERE share_id = $2 AND $1 = $1",
    "DELETE FROM moved WHERE to_share = $2 AND $1 = $1",
    "DELETE FROM ticket_token WHERE ticket = $1 AND $2 = $2",
    "DELETE FROM ticket WHERE reference = $1 AND share_id = $2",
    "DELETE FROM login_name WHERE name = $1 AND kind = 'ticket' \
     AND NOT EXISTS (SELECT 1 FROM ticket WHERE reference = $1 AND $2 = $2)",
];

/// What a page took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Page {
    /// Rows that are gone. 0: there is nothing more.
    pub rows: u64,
    /// Of these, versions that had been available at some time.
    pub published: u64,
}

/// Removes versions of a share with all that hangs on them, at most `most`. Their objects are
/// doomed as the share's.
pub async fn remove_versions(conn: &mut Conn, share: ShareId, most: u32, now: HouseTime) -> Result<Page, RecordsError> {
    let text = "SELECT v.id, v.manifest_id, v.small_file IS NOT NULL AS is_small, v.received_at IS NOT NULL AS published \
         FROM entry e \
         JOIN version v ON v.entry_id = e.id WHERE e.share_id = $1 LIMIT $2 + 0";
    let rows = ask!(text, share, most)
        .all(conn, |row| {
            let manifest: Option<ObjectId> = bytes_as_option(row, "version", "manifest_id")?;
            let id: VersionId = bytes_as(row, "version", "id")?;
            let is_small = row.try_get::<i64, _>("is_small")? != 0;
            Ok((id, manifest, is_small, row.try_get::<i64, _>("published")? != 0))
        })
        .await?;
    let mut page = Page::default();
    for (version, manifest, is_small, published) in rows {
        if is_small {
            small_files::doom(conn, version, now).await?;
        } else if let Some(manifest) = manifest {
            objects::doom_manifest(conn, version, manifest, now).await?;
        }
        let used: Vec<ObjectId> = extents::of_version(conn, version).await?.iter().map(|extent| extent.id).collect();
        extents::release(conn, version, &used, now).await?;
        for text in OF_VERSION {
            ask!(text, version).run(conn).await?;
        }
        page.rows += 1;
        page.published += u64::from(published);
    }
    if page.rows > 0 {
        facts::owe_journal(conn).await?;
    }
    Ok(page)
}

/// Removes entries of a share that nothing hangs on, at most `most`. Where none is left but some
/// that hang on each other in a circle, as only damaged rows do, all of them go at once.
pub async fn remove_entries(conn: &mut Conn, share: ShareId, most: u32) -> Result<u64, RecordsError> {
    let leaves = "DELETE FROM entry WHERE id IN (SELECT e.id FROM entry e WHERE e.share_id = $1 \
         AND NOT EXISTS (SELECT 1 FROM entry c WHERE c.parent_id = e.id) \
         AND NOT EXISTS (SELECT 1 FROM entry s WHERE s.predecessor = e.id) LIMIT $2 + 0)";
    let gone = ask!(leaves, share, most).changes(conn).await?;
    if gone > 0 {
        return Ok(gone);
    }
    ask!("DELETE FROM entry WHERE share_id = $1", share).changes(conn).await
}

/// Removes what is left of a ticket: extents that no version used, notices, its hold, the ticket
/// itself and its login name. Its versions and entries are gone by now.
pub async fn remove_ticket(
    conn: &mut Conn,
    ticket: &Identifier,
    share: ShareId,
    now: HouseTime,
) -> Result<(), RecordsError> {
    let unused = "INSERT INTO doomed (object_id, place, since, share_id, length, unread) \
         SELECT id, place, $2, share_id, length, 1 FROM extent WHERE share_id = $1 ON CONFLICT DO NOTHING";
    ask!(unused, share, now).run(conn).await?;
    ask!("DELETE FROM extent WHERE share_id = $1", share).run(conn).await?;
    for text in OF_TICKET {
        ask!(text, ticket, share).run(conn).await?;
    }
    facts::owe_journal(conn).await
}

/// Doomed objects of a share, at most `most`.
pub async fn doomed_of(
    conn: &mut Conn,
    share: ShareId,
    most: u32,
) -> Result<Vec<(ObjectId, ObjectPlace)>, RecordsError> {
    ask!("SELECT object_id, place FROM doomed WHERE share_id = $1 ORDER BY object_id LIMIT $2 + 0", share, most)
        .all(conn, |row| Ok((bytes_as(row, "doomed", "object_id")?, text_as(row, "doomed", "place")?)))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Records;

    /// A table that points at a ticket, an entry or a version keeps it from going, unless its rows
    /// go first.
    #[tokio::test]
    async fn each_table_that_hangs_on_a_ticket_goes_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(&directory.path().join("records.sqlite")).await.unwrap();
        let mut conn = records.read().await.unwrap();
        let text = "SELECT m.name AS name, f.\"table\" AS target FROM sqlite_master m, pragma_foreign_key_list(m.name) f \
             WHERE m.type = 'table'";
        let pairs = ask!(text)
            .all(&mut conn, |row| Ok((row.try_get::<String, _>("name")?, row.try_get::<String, _>("target")?)))
            .await
            .unwrap();
        let hanging = |targets: &[&str]| -> Vec<String> {
            let found = pairs.iter().filter(|(_, target)| targets.contains(&target.as_str()));
            found.map(|(name, _)| name.clone()).collect()
        };
        // `entry`, `version` and `extent_use` have functions of their own.
        for (targets, statements) in
            [(&["version"][..], OF_VERSION.as_slice()), (&["ticket", "notice", "login_name"][..], OF_TICKET.as_slice())]
        {
            for table in hanging(targets) {
                let apart =
                    ["entry", "extent_use", "organisation", "contact", "engineer", "team"].contains(&table.as_str());
                let goes = statements.iter().any(|text| text.starts_with(&format!("DELETE FROM {table} ")));
                assert!(apart || goes, "{table} hangs on {targets:?}, and nothing removes it with its ticket");
            }
        }
        assert!(hanging(&["version"]).len() >= 5 && hanging(&["ticket"]).len() >= 3);
    }
}
