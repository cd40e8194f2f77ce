//! A new file that is whole at its CLOSE, in one statement: its rows, bytes, manifest, audit event
//! and notice.
//!
//! That is what nearly every small file is ([`small_files`](crate::small_files)), and many a larger
//! one: nothing was written down of it before, its bytes are one extent, nothing else has or had its name. For these the rules can be said in SQL, and nobody
//! has to wait between two statements. Every rule is a condition on which a value is given that
//! must not be missing: where one does not hold, the statement fails, nothing has changed, and who
//! asked goes the long way, which finds out why and says it. What both ways leave is compared
//! column by column by `app/tests/two_ways`: a column that one of them gets must be given the same
//! by the other.
//!
//! It is one statement, an insert into a view whose trigger does the rest, because sqlx binds all
//! parameters anew for each statement and wakes who waits at the end of each. PostgreSQL has
//! triggers on views as well, with the steps in a function.

use std::sync::LazyLock;

use sqlx::AssertSqlSafe;

use crate::audit::Event;
use crate::entries::Place;
use crate::proofs::Proof;
use crate::small_files::SmallFile;
use crate::versions::{NewVersion, Publication};
use crate::{Conn, Records, RecordsError, SEAL, aliases, audit, signed};
use tacdrop_database::sqlite::batch::Asked;
use tacdrop_database::sqlite::writer::Positions;
use tacdrop_model::{Identifier, NoticeId, ShareId, Time};

/// What a new file's rows are made of.
#[derive(Debug)]
pub struct NewArtifact<'a> {
    /// The ticket.
    pub ticket: &'a Identifier,
    /// The token that its sender logged in with: its generation must be the one in force.
    pub token_generation: i64,
    /// The proof of a ticket that is open and says the same: with another one the long way looks at
    /// the row.
    pub ticket_proof: Proof,
    /// Its share.
    pub share: ShareId,
    /// Where it stands.
    pub place: &'a Place,
    /// Permission bits.
    pub mode: u32,
    /// When it was last changed.
    pub modified_at: Time,
    /// Its version, the first one.
    pub version: &'a NewVersion<'a>,
    /// What makes that available.
    pub publication: &'a Publication<'a>,
    /// The one extent.
    pub extent: &'a crate::extents::ExtentRow,
    /// Its bytes and those of the manifest; none if both lie in the store.
    pub small_file: Option<SmallFile<'a>>,
    /// How many names the share may have.
    pub most_names: u64,
    /// How many bytes the share may have.
    pub most_bytes: u64,
    /// The id of the notice, if none of this ticket gathers uploads.
    pub notice: NoticeId,
    /// How long a notice waits for another upload, in milliseconds ...
    pub settle: i64,
    /// ... and how long at most.
    pub settle_most: i64,
    /// What is written into the audit trail.
    pub event: &'a Event<'a>,
}

/// What an insert into the view does. The rank that the entry gets among names with the same alias
/// is that of [`aliases::next_rank`]. The version is set as the current one after it is there: one
/// that an entry waits for makes SQLite look through all entries for it. The trail may only go on
/// behind the row that the link was made from. Rows are inserted by VALUES: the rows of a SELECT
/// from a table that is written wait in a table of their own, which is made for each file.
const TRIGGER_SQL: &str = "\
    INSERT INTO entry (id, share_id, parent_id, kind, name_index, name, modified_at, alias_index, alias_rank, mode) \
     VALUES (NEW.artifact, NEW.share, NEW.parent, 'file', NEW.name_index, NEW.name, NEW.modified_at, NEW.alias, \
     COALESCE((SELECT MAX(o.alias_rank) + 1 FROM entry o WHERE o.parent_id = NEW.parent AND o.alias_index = NEW.alias \
      AND o.alias_rank >= NEW.rank_first AND o.alias_rank < NEW.rank_behind \
      AND o.replaced_at IS NULL AND o.withdrawn_at IS NULL), NEW.rank_first), \
     CASE WHEN EXISTS (SELECT 1 FROM ticket t WHERE t.reference = NEW.ticket AND t.share_id = NEW.share \
      AND t.status <> 'closed' AND t.key_generation = NEW.key_generation \
      AND t.token_generation = NEW.token_generation AND t.proof = NEW.ticket_proof AND t.names < NEW.most_names \
      AND t.stored_bytes + NEW.length <= NEW.most_bytes) \
     AND EXISTS (SELECT 1 FROM entry d WHERE d.id = NEW.parent AND d.kind = 'directory' \
      AND d.replaced_at IS NULL AND d.withdrawn_at IS NULL) \
     AND NOT EXISTS (SELECT 1 FROM entry w WHERE w.parent_id = NEW.parent AND w.name_index = NEW.name_index \
      AND w.withdrawn_at IS NOT NULL) THEN NEW.mode END); \
    UPDATE ticket SET names = names + 1, stored_bytes = stored_bytes + NEW.length, \
     newest_at = NEW.received_at WHERE share_id = NEW.share; \
    INSERT INTO version (id, entry_id, number, state, key_generation, file_key, uploaded_by, opened_at, touched_at, \
     transport, length, sha256, manifest_id, manifest_hash, progress, received_at, trail_seq, small_file) \
     VALUES (NEW.version, NEW.artifact, 1, 'available', NEW.key_generation, NEW.file_key, NEW.uploaded_by, \
     NEW.opened_at, NEW.touched_at, NEW.transport, NEW.length, NEW.sha256, NEW.manifest, NEW.manifest_hash, \
     NEW.progress, NEW.received_at, NEW.seq, CASE WHEN NEW.extent_bytes IS NOT NULL THEN NEW.seq END); \
    UPDATE entry SET current_version = NEW.version WHERE id = NEW.artifact; \
    UPDATE notice SET next_attempt_at = CASE WHEN NEW.received_at + NEW.settle < created_at + NEW.settle_most \
      THEN NEW.received_at + NEW.settle ELSE created_at + NEW.settle_most END \
     WHERE id = (SELECT id FROM notice WHERE ticket = NEW.ticket AND state = 'settling' AND audience = 'engineers' \
     ORDER BY created_at LIMIT 1); \
    INSERT INTO notice_version (notice_id, version_id, about) VALUES (COALESCE((SELECT id FROM notice \
     WHERE ticket = NEW.ticket AND state = 'settling' AND audience = 'engineers' ORDER BY created_at LIMIT 1), \
     NEW.notice), NEW.version, 'available'); \
    INSERT INTO audit_event (seq, kind, actor, ticket, subject, detail, chain, seal, at) \
     VALUES (NEW.seq, NEW.kind, NEW.actor, NEW.ticket, NEW.version, NEW.detail, NEW.chain, NEW.seal, \
     CASE WHEN (SELECT MAX(seq) FROM audit_event) = NEW.seq - 1 \
     AND (SELECT chain FROM audit_event WHERE seq = NEW.seq - 1) = NEW.chain_before THEN NEW.at END);";

/// What it does besides where no notice of the ticket gathers uploads. When these steps are taken,
/// ahead of the others or behind them, does not matter: foreign keys are looked at when all are
/// done, and a notice that is there already is given the time that it has.
const NOTICE_SQL: &str = "\
    INSERT INTO notice (id, ticket, recipient, state, created_at, next_attempt_at) \
     VALUES (NEW.notice, NEW.ticket, (SELECT engineer FROM ticket WHERE reference = NEW.ticket), 'settling', \
     NEW.received_at, \
     NEW.received_at + CASE WHEN NEW.settle < NEW.settle_most THEN NEW.settle ELSE NEW.settle_most END);";

/// The same where the records take the bytes.
const SMALL_SQL: &str = "\
    INSERT INTO small_file (seq, extent_id, extent_bytes, manifest_bytes) \
     VALUES (NEW.seq, NEW.extent, NEW.extent_bytes, NEW.manifest_bytes);";

/// The same where the store has them.
const LARGE_SQL: &str = "\
    INSERT INTO extent (id, share_id, length, header_tag, place) \
     VALUES (NEW.extent, NEW.share, NEW.extent_length, NEW.header_tag, NEW.place); \
    INSERT INTO extent_use (version_id, extent_id, extent_key) VALUES (NEW.version, NEW.extent, NEW.extent_key);";

/// Makes the view that new files are inserted into. It belongs to the connection alone, and nobody
/// else sees it.
pub(crate) async fn prepare(conn: &mut Conn) -> Result<(), RecordsError> {
    let (columns, nulls) = (COLUMNS.join(", "), ["NULL"; COLUMNS.len()].join(", "));
    let text = format!(
        "CREATE TEMP VIEW new_artifact ({columns}) AS SELECT {nulls}; \
         CREATE TEMP TRIGGER new_artifact_steps INSTEAD OF INSERT ON new_artifact BEGIN {TRIGGER_SQL} END; \
         CREATE TEMP TRIGGER new_artifact_notice INSTEAD OF INSERT ON new_artifact WHEN NOT EXISTS \
         (SELECT 1 FROM notice WHERE ticket = NEW.ticket AND state = 'settling' AND audience = 'engineers') BEGIN {NOTICE_SQL} END; \
         CREATE TEMP TRIGGER new_artifact_small INSTEAD OF INSERT ON new_artifact \
         WHEN NEW.extent_bytes IS NOT NULL BEGIN {SMALL_SQL} END; \
         CREATE TEMP TRIGGER new_artifact_large INSTEAD OF INSERT ON new_artifact \
         WHEN NEW.extent_bytes IS NULL BEGIN {LARGE_SQL} END"
    );
    sqlx::raw_sql(AssertSqlSafe(text)).execute(conn).await?;
    Ok(())
}

/// The one statement. Its parameters have no numbers: SQLite keeps the name of a numbered one in a
/// list, which is searched for each one that is bound.
fn insert() -> String {
    format!("INSERT INTO new_artifact VALUES ({})", ["?"; COLUMNS.len()].join(", "))
}

static NEW_ARTIFACT: LazyLock<Positions> = LazyLock::new(|| Positions::of(&insert()));

/// A row of the audit trail to be: its number, the links of the row before it and of itself, and its
/// seal.
struct TrailRow {
    seq: i64,
    before: [u8; 32],
    link: [u8; 32],
    seal: Option<[u8; SEAL]>,
}

/// Makes the view's columns and what is bound to them from one list, so that each value stands
/// beside the name by which the trigger knows it.
macro_rules! columns {
    ($new:ident, $trail:ident, $($column:ident = $value:expr),* $(,)?) => {
        /// The view's columns, in the order in which [`bind`] gives their values.
        const COLUMNS: &[&str] = &[$(stringify!($column)),*];

        /// The statement with its values.
        fn bind(asked: Asked<'static>, $new: &NewArtifact<'_>, $trail: &TrailRow) -> Asked<'static> {
            asked$(.bind($value))*
        }
    };
}

columns!(
    new,
    trail,
    artifact = new.version.artifact.as_bytes().to_vec(),
    share = new.share.as_bytes().to_vec(),
    parent = new.place.parent.as_bytes().to_vec(),
    name_index = new.place.index.to_vec(),
    name = new.place.sealed.clone(),
    modified_at = new.modified_at.millis(),
    version = new.version.id.as_bytes().to_vec(),
    alias = new.place.alias.to_vec(),
    rank_first = aliases::ranks(new.place.own_alias).0,
    rank_behind = aliases::ranks(new.place.own_alias).1,
    ticket = new.ticket.as_str().to_owned(),
    key_generation = i64::from(new.version.key_generation),
    token_generation = new.token_generation,
    ticket_proof = new.ticket_proof.to_vec(),
    most_names = signed(new.most_names),
    length = signed(new.publication.length),
    most_bytes = signed(new.most_bytes),
    mode = i64::from(new.mode),
    file_key = new.version.file_key.to_vec(),
    uploaded_by = new.version.uploaded_by.to_owned(),
    opened_at = new.version.opened_at.millis(),
    touched_at = new.version.touched_at.millis(),
    transport = new.version.transport.as_str(),
    sha256 = new.publication.sha256.to_vec(),
    manifest = new.publication.manifest.as_bytes().to_vec(),
    manifest_hash = new.publication.manifest_hash.to_vec(),
    progress = new.publication.progress.to_vec(),
    received_at = new.publication.at.millis(),
    extent = new.extent.id.as_bytes().to_vec(),
    extent_bytes = new.small_file.map(|file| file.extent_bytes.to_vec()),
    manifest_bytes = new.small_file.map(|file| file.manifest_bytes.to_vec()),
    extent_length = signed(new.extent.length),
    header_tag = new.extent.header_tag.to_vec(),
    place = new.extent.place.as_str(),
    extent_key = new.extent.extent_key.clone(),
    settle = new.settle,
    settle_most = new.settle_most,
    notice = new.notice.as_bytes().to_vec(),
    seq = trail.seq,
    kind = new.event.kind.as_str(),
    actor = new.event.actor.as_str().to_owned(),
    detail = new.event.detail.to_owned(),
    chain = trail.link.to_vec(),
    seal = trail.seal.map(|seal| seal.to_vec()),
    chain_before = trail.before.to_vec(),
    at = new.event.at.millis(),
);

impl Records {
    /// Writes a new file down, all of it, durable when this returns. False if it has to go the long
    /// way: something is not as it is said above, and nothing has changed. `link` makes the audit
    /// event's link from the number that it gets and the link before it.
    ///
    /// # Errors
    /// If the database fails; then nothing has changed.
    pub async fn insert_published(
        &self,
        new: &NewArtifact<'_>,
        link: impl Fn(&[u8; 32], i64) -> [u8; 32],
    ) -> Result<bool, RecordsError> {
        // Its bytes are counted by the version's length.
        if new.extent.length != new.publication.length {
            return Ok(false);
        }
        let outcome = self
            .writer
            .at_once(
                &NEW_ARTIFACT,
                |conn| Box::pin(audit::tip(conn)),
                |asked, (last, before), sealer| {
                    let seq = last.checked_add(1)?;
                    let link = link(&before, seq);
                    let seal = sealer.map(|sealer| sealer.seal(&link));
                    Some((bind(asked, new, &TrailRow { seq, before, link, seal }), (seq, link)))
                },
            )
            .await;
        match outcome {
            Err(RecordsError::Exists) => Ok(false),
            Err(RecordsError::Database(error)) if is_condition(&error) => Ok(false),
            other => other,
        }
    }
}

/// Whether a rule of the schema was not met.
fn is_condition(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.is_foreign_key_violation() || error.is_check_violation() || {
            matches!(error.kind(), sqlx::error::ErrorKind::NotNullViolation)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sqlx::Row;

    use super::*;

    #[test]
    fn the_trigger_reads_each_column_and_no_other() {
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
        let all = [TRIGGER_SQL, NOTICE_SQL, SMALL_SQL, LARGE_SQL].concat();
        let read = all.split("NEW.").skip(1).map(|rest| rest.split(|c| !is_name(c)).next().unwrap());
        let read: BTreeSet<&str> = read.collect();
        assert_eq!(read, COLUMNS.iter().copied().collect());
        assert_eq!(read.len(), COLUMNS.len(), "none stands there twice");
    }

    #[tokio::test]
    async fn no_row_waits_in_a_table_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(&directory.path().join("r.sqlite")).await.unwrap();
        let mut tx = records.begin().await.unwrap();
        let explain = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN {}", insert())));
        let steps = explain.fetch_all(tx.conn()).await.unwrap();
        assert!(steps.len() > 500, "the steps of the trigger are told, too");
        // Those with something behind them are indexes: a CHECK that a word is one of several.
        let made = steps.iter().filter(|step| {
            step.get::<&str, _>("opcode") == "OpenEphemeral" && step.get::<Option<&str>, _>("p4").is_none()
        });
        assert_eq!(made.count(), 0);
    }
}
