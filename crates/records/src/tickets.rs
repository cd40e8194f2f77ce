//! Tickets.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::{Question, ask, counted};
use super::proofs::{Proof, Proved, Prover, language_field, proof, time_field};
use super::readable::readable;
use super::{At, Conn, RecordsError, bytes_as, number_as, text_as, text_as_option, unsigned};
use tacdrop_model::{
    Identifier, Language, LastDay, ObjectId, Priority, Reference, ShareId, TicketStatus, Time, VersionId,
};

/// One support problem and its share.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// Its reference, which is the login name too.
    pub reference: Identifier,
    /// Its share.
    pub share: ShareId,
    /// Whose problem it is.
    pub organisation: Identifier,
    /// Who works on it.
    pub engineer: Identifier,
    /// What it is about.
    pub title: Option<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// The customer's language.
    pub language: Option<Language>,
    /// Whether it takes uploads.
    pub status: TicketStatus,
    /// The keyed hash of the token that it had before tokens had rows of their own; zeros since
    /// then.
    pub token_hash: [u8; 32],
    /// Counts what ended logins: a token that ended, an organisation that was disabled.
    pub token_generation: i64,
    /// When it was opened.
    pub opened_at: Time,
    /// When it was closed, if it is.
    pub closed_at: Option<Time>,
    /// Plaintext bytes in the extents of its share, each counted once.
    pub stored_bytes: u64,
    /// Files and directories of its share that are in sight.
    pub names: u64,
    /// Which generation of its share's key is in force.
    pub key_generation: u32,
    /// Whether it is for devices: they send, and see nothing.
    pub device: bool,
    /// What kind of problem it is: `incident`, `rma`, or a word of the house's policy.
    pub kind: Identifier,
    /// The serial number of the device that it is about.
    pub serial: Option<String>,
    /// The day by which it is to be solved.
    pub deadline: Option<LastDay>,
    /// How the ticket system writes its reference. It decides nothing: its login name is the
    /// reference, or the row is read as if it said nothing.
    pub shown: Reference,
    /// When something last came into its share, whatever became of it since.
    pub newest_at: Option<Time>,
    /// The proof that it carries.
    pub proof: Proof,
}

impl Proved for Ticket {
    const TABLE: &'static str = "ticket";
    const LABEL: &'static str = "proof of ticket, 2";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        let kind = self.kind.as_str().as_bytes();
        self.with_former_fields(|fields| read(&[fields, &[kind]].concat()))
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        self.reference.to_string()
    }
}

impl Ticket {
    /// What the proofs of before there were kinds of tickets are made of, in order.
    fn with_former_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        let closed_at = time_field(self.closed_at);
        read(&[
            self.reference.as_str().as_bytes(),
            self.share.as_bytes(),
            self.organisation.as_str().as_bytes(),
            self.engineer.as_str().as_bytes(),
            language_field(self.language),
            self.status.as_str().as_bytes(),
            &self.token_hash,
            &self.token_generation.to_be_bytes(),
            &self.key_generation.to_be_bytes(),
            &[u8::from(self.device)],
            &closed_at,
        ])
    }

    /// Whether it carries the proof of before there were kinds of tickets, and says nothing else
    /// than tickets did then.
    pub fn is_formerly_proved(&self, prover: &dyn Prover) -> bool {
        let is_proved = |fields: &[&[u8]]| prover.is_proved(FORMER_LABEL, fields, &self.proof);
        self.kind.as_str() == INCIDENT && self.with_former_fields(is_proved)
    }
}

/// The kind that a ticket is of unless somebody says otherwise.
pub const INCIDENT: &str = "incident";
/// What the proofs of before there were kinds of tickets are made under.
const FORMER_LABEL: &str = "proof of ticket, 1";

/// The columns of a [`Ticket`], and what follows them in the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT t.reference, t.share_id, t.organisation, t.engineer, t.title, t.priority, t.language, t.status, \
             t.token_hash, t.token_generation, t.opened_at, t.closed_at, t.stored_bytes, t.names, \
             t.key_generation, t.device, t.kind, t.serial, t.deadline, t.shown, t.newest_at, t.proof FROM ticket t ",
            $rest
        )
    };
}

fn ticket(row: &SqliteRow) -> Result<Ticket, RecordsError> {
    let reference: Identifier = text_as(row, "ticket", "reference")?;
    Ok(Ticket {
        shown: shown(row, &reference)?,
        reference,
        share: bytes_as(row, "ticket", "share_id")?,
        organisation: text_as(row, "ticket", "organisation")?,
        engineer: text_as(row, "ticket", "engineer")?,
        title: row.try_get("title")?,
        priority: Priority::try_from(row.try_get::<i64, _>("priority")?)
            .map_err(|why| RecordsError::Unreadable { table: "ticket", why: why.to_owned() })?,
        language: text_as_option(row, "ticket", "language")?,
        status: text_as(row, "ticket", "status")?,
        token_hash: bytes_as(row, "ticket", "token_hash")?,
        token_generation: row.try_get("token_generation")?,
        opened_at: Time::from_millis(row.try_get("opened_at")?),
        closed_at: row.try_get::<Option<i64>, _>("closed_at")?.map(Time::from_millis),
        stored_bytes: unsigned(row, "ticket", "stored_bytes")?,
        names: unsigned(row, "ticket", "names")?,
        key_generation: number_as(row, "ticket", "key_generation")?,
        device: row.try_get::<i64, _>("device")? != 0,
        kind: text_as(row, "ticket", "kind")?,
        serial: row.try_get("serial")?,
        deadline: text_as_option(row, "ticket", "deadline")?,
        newest_at: row.try_get::<Option<i64>, _>("newest_at")?.map(Time::from_millis),
        proof: proof(row, "proof"),
    })
}

/// How a reference is written; as the login name where the row says nothing that makes this name.
fn shown(row: &SqliteRow, reference: &Identifier) -> Result<Reference, RecordsError> {
    let written: Option<Reference> = row.try_get::<Option<String>, _>("shown")?.and_then(|text| text.parse().ok());
    let fits = written.filter(|written| written.name() == reference);
    Ok(fits.unwrap_or_else(|| reference.clone().into()))
}

/// What a ticket says of what may be done to its share.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Whether it takes uploads.
    pub status: TicketStatus,
    /// Which generation of its share's key is in force.
    pub key_generation: u32,
    /// Bytes in it.
    pub stored_bytes: u64,
    /// Names in it.
    pub names: u64,
}

/// The columns that [`standing`] reads, of the table `t`.
pub(super) const STANDING: &str = "t.status, t.key_generation, t.stored_bytes, t.names";

/// What the columns from `at` on say; none if there is no such ticket.
pub(super) fn standing(row: &SqliteRow, at: usize) -> Result<Option<Standing>, RecordsError> {
    let Some(status) = text_as_option(row, "ticket", At(at, "status"))? else { return Ok(None) };
    Ok(Some(Standing {
        status,
        key_generation: number_as(row, "ticket", At(at + 1, "key_generation"))?,
        stored_bytes: unsigned(row, "ticket", At(at + 2, "stored_bytes"))?,
        names: unsigned(row, "ticket", At(at + 3, "names"))?,
    }))
}

/// Writes a new ticket down, with its proof.
pub async fn add(conn: &mut Conn, prover: &dyn Prover, new: &Ticket) -> Result<(), RecordsError> {
    let text = "INSERT INTO ticket (reference, share_id, organisation, engineer, title, priority, language, status, \
         token_hash, token_generation, opened_at, device, key_generation, kind, serial, deadline, shown, proof) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";
    let deadline = new.deadline.map(|day| day.to_string());
    ask!(
        text,
        new.reference.as_str(),
        new.share,
        new.organisation.as_str(),
        new.engineer.as_str(),
        new.title.as_deref(),
        new.priority.number(),
        new.language.map(Language::code),
        new.status.as_str(),
        &new.token_hash[..],
        new.token_generation,
        new.opened_at,
        new.device,
        new.key_generation,
        new.kind.as_str(),
        new.serial.as_deref(),
        deadline.as_deref(),
        new.shown.written_otherwise(),
        new.prove(prover)
    )
    .run(conn)
    .await
}

/// Writes down what the desk says of a ticket, with its proof. Everything that changes any of it
/// goes through here; whoever calls has checked the proof that it had.
pub(super) async fn put(conn: &mut Conn, prover: &dyn Prover, row: &Ticket) -> Result<(), RecordsError> {
    let text = "UPDATE ticket SET engineer = $2, status = $3, closed_at = $4, token_hash = $5, token_generation = $6, \
         key_generation = $7, organisation = $8, title = $9, priority = $10, language = $11, kind = $12, serial = $13, \
         deadline = $14, shown = $15, proof = $16 WHERE reference = $1";
    let deadline = row.deadline.map(|day| day.to_string());
    ask!(
        text,
        row.reference.as_str(),
        row.engineer.as_str(),
        row.status.as_str(),
        row.closed_at,
        &row.token_hash[..],
        row.token_generation,
        row.key_generation,
        row.organisation.as_str(),
        row.title.as_deref(),
        row.priority.number(),
        row.language.map(Language::code),
        row.kind.as_str(),
        row.serial.as_deref(),
        deadline.as_deref(),
        row.shown.written_otherwise(),
        row.prove(prover)
    )
    .run(conn)
    .await
}

/// Changes a ticket. Nothing happens if there is none.
///
/// # Errors
/// [`RecordsError::Unproved`] if somebody else has changed it before.
pub async fn change(
    conn: &mut Conn,
    prover: &dyn Prover,
    reference: &Identifier,
    change: impl FnOnce(&mut Ticket),
) -> Result<(), RecordsError> {
    let Some(mut row) = by_reference(conn, reference.as_str()).await? else { return Ok(()) };
    row.check(prover)?;
    change(&mut row);
    put(conn, prover, &row).await
}

/// Gives a ticket the proof of what it says, whatever it carried before.
pub async fn prove_again(conn: &mut Conn, prover: &dyn Prover, row: &Ticket) -> Result<(), RecordsError> {
    ask!("UPDATE ticket SET proof = $2 WHERE reference = $1", row.reference.as_str(), row.prove(prover)).run(conn).await
}

/// The ticket with this reference, which may be anything that somebody typed.
pub async fn by_reference(conn: &mut Conn, reference: &str) -> Result<Option<Ticket>, RecordsError> {
    ask!(select!("WHERE t.reference = $1"), reference).maybe(conn, ticket).await
}

/// The ticket of a share.
pub async fn by_share(conn: &mut Conn, share: ShareId) -> Result<Option<Ticket>, RecordsError> {
    ask!(select!("WHERE t.share_id = $1"), share).maybe(conn, ticket).await
}

/// All tickets. Each must be readable, as for what counts or checks them all.
pub async fn all(conn: &mut Conn) -> Result<Vec<Ticket>, RecordsError> {
    ask!(select!("ORDER BY t.reference")).all(conn, ticket).await
}

/// All tickets that can be read.
pub async fn list(conn: &mut Conn) -> Result<Vec<Ticket>, RecordsError> {
    ask!(select!("ORDER BY t.reference")).readable(conn, "ticket", ticket).await
}

/// The references of an organisation's tickets, as they stand there.
pub async fn references_of(conn: &mut Conn, organisation: &Identifier) -> Result<Vec<String>, RecordsError> {
    ask!("SELECT reference FROM ticket WHERE organisation = $1 ORDER BY reference", organisation)
        .all(conn, |row| Ok(row.try_get("reference")?))
        .await
}

/// The same, of those that can be read.
pub async fn readable_of(conn: &mut Conn, organisation: &Identifier) -> Result<Vec<Identifier>, RecordsError> {
    ask!("SELECT reference FROM ticket WHERE organisation = $1 ORDER BY reference", organisation)
        .readable(conn, "ticket", |row| text_as(row, "ticket", "reference"))
        .await
}

/// The references of an engineer's tickets, as they stand there.
pub async fn references_of_engineer(conn: &mut Conn, engineer: &Identifier) -> Result<Vec<String>, RecordsError> {
    ask!("SELECT reference FROM ticket WHERE engineer = $1 ORDER BY reference", engineer)
        .all(conn, |row| Ok(row.try_get("reference")?))
        .await
}

/// Those of an engineer's tickets that are not closed, and whose reference can be read.
pub async fn unclosed_of_engineer(conn: &mut Conn, engineer: &Identifier) -> Result<Vec<Identifier>, RecordsError> {
    ask!("SELECT reference FROM ticket WHERE engineer = $1 AND status <> 'closed' ORDER BY reference", engineer)
        .readable(conn, "ticket", |row| text_as(row, "ticket", "reference"))
        .await
}

/// All tickets by reference, from behind `after` on, at most `most`, and whether these were the
/// last ones.
pub async fn from(
    conn: &mut Conn,
    after: Option<&Identifier>,
    most: usize,
) -> Result<(Vec<Ticket>, bool), RecordsError> {
    let text = select!("WHERE t.reference > $1 ORDER BY t.reference LIMIT $2 + 0");
    page(conn, ask!(text, after.map_or("", Identifier::as_str), most), most).await
}

pub(super) const ASSIGNED: &str = select!(
    "WHERE t.reference IN (SELECT own.reference FROM (SELECT o.reference FROM ticket o WHERE o.engineer = $1 \
     AND o.reference > $2 ORDER BY o.reference LIMIT $3 + 0) AS own UNION SELECT p.ticket FROM team_member m \
     JOIN ticket_people p ON p.team = m.team WHERE m.engineer = $1 AND p.ticket > $2 UNION SELECT d.reference \
     FROM engineer e JOIN ticket d ON d.engineer = e.id WHERE e.deputy = $1 AND d.reference > $2) ORDER BY t.reference LIMIT $3 + 0"
);

/// The tickets assigned to an engineer, those of the engineer's teams, and those of whom the
/// engineer stands in for at some time, by reference, from behind `after` on, at most `most`, and
/// whether these were the last ones.
pub async fn assigned(
    conn: &mut Conn,
    engineer: &Identifier,
    after: Option<&Identifier>,
    most: usize,
) -> Result<(Vec<Ticket>, bool), RecordsError> {
    page(conn, ask!(ASSIGNED, engineer.as_str(), after.map_or("", Identifier::as_str), most), most).await
}

async fn page(conn: &mut Conn, asked: Question<'_>, most: usize) -> Result<(Vec<Ticket>, bool), RecordsError> {
    let rows = asked.rows(conn).await?;
    let tickets = readable("ticket", &rows, ticket);
    // Where nothing of a page can be read there is nothing to go on behind.
    let ended = rows.len() < most || tickets.is_empty();
    Ok((tickets, ended))
}

/// The tickets that are an organisation's, or that affect it, by reference, from behind `after` on,
/// at most `most`, and whether these were the last ones.
pub async fn of_organisation(
    conn: &mut Conn,
    organisation: &Identifier,
    after: Option<&Identifier>,
    most: usize,
) -> Result<(Vec<Ticket>, bool), RecordsError> {
    let text = select!(
        "WHERE (t.organisation = $1 OR t.reference IN (SELECT p.ticket FROM ticket_people p WHERE p.affected = $1)) \
         AND t.reference > $2 ORDER BY t.reference LIMIT $3 + 0"
    );
    page(conn, ask!(text, organisation.as_str(), after.map_or("", Identifier::as_str), most), most).await
}

/// Has the open logins looked at again: what they remember of the ticket is no longer what it says.
/// To be done with everything that ends one.
pub async fn logins_changed(conn: &mut Conn, prover: &dyn Prover, reference: &Identifier) -> Result<(), RecordsError> {
    change(conn, prover, reference, |row| row.token_generation += 1).await
}

/// Gives the ticket to another engineer.
pub async fn assign(
    conn: &mut Conn,
    prover: &dyn Prover,
    reference: &Identifier,
    engineer: &Identifier,
) -> Result<(), RecordsError> {
    change(conn, prover, reference, |row| row.engineer = engineer.clone()).await
}

/// Closes or reopens it.
pub async fn set_status(
    conn: &mut Conn,
    prover: &dyn Prover,
    reference: &Identifier,
    status: TicketStatus,
    now: Time,
) -> Result<(), RecordsError> {
    let closed_at = (status == TicketStatus::Closed).then_some(now);
    change(conn, prover, reference, |row| (row.status, row.closed_at) = (status, closed_at)).await
}

/// Closes a ticket for good, and has its open logins looked at again.
pub async fn end(conn: &mut Conn, prover: &dyn Prover, reference: &Identifier, now: Time) -> Result<(), RecordsError> {
    let end = |row: &mut Ticket| {
        (row.status, row.closed_at) = (TicketStatus::Closed, Some(row.closed_at.unwrap_or(now)));
        row.token_generation += 1;
    };
    change(conn, prover, reference, end).await
}

/// Opens a ticket that waits for its customer. Whether it did wait.
///
/// # Errors
/// [`RecordsError::Unproved`] if somebody else has changed it before.
pub async fn wake(conn: &mut Conn, prover: &dyn Prover, reference: &Identifier) -> Result<bool, RecordsError> {
    let row = by_reference(conn, reference.as_str()).await?;
    let Some(mut row) = row.filter(|row| row.status == TicketStatus::Waiting) else { return Ok(false) };
    row.check(prover)?;
    row.status = TicketStatus::Open;
    put(conn, prover, &row).await?;
    Ok(true)
}

/// Counts bytes that a share is to hold, unless it would hold more than `most` by that. Whether it
/// was done.
pub async fn reserve(conn: &mut Conn, share: ShareId, bytes: u64, most: u64) -> Result<bool, RecordsError> {
    let text = "UPDATE ticket SET stored_bytes = stored_bytes + $2 WHERE share_id = $1 AND stored_bytes + $2 <= $3";
    ask!(text, share, bytes, most).changed(conn).await
}

/// Something came into a share.
pub(super) async fn arrived(conn: &mut Conn, version: VersionId, at: Time) -> Result<(), RecordsError> {
    let text = "UPDATE ticket SET newest_at = $2 WHERE share_id = (SELECT e.share_id FROM version v \
         JOIN entry e ON e.id = v.entry_id WHERE v.id = $1)";
    ask!(text, version, at).run(conn).await
}

/// Makes a ticket's sums what its rows say.
pub async fn correct_sums(conn: &mut Conn, share: ShareId) -> Result<(), RecordsError> {
    let text = concat!(
        "UPDATE ticket SET stored_bytes = COALESCE((SELECT SUM(",
        counted!("length"),
        ") FROM extent WHERE share_id = $1), 0) + COALESCE((SELECT SUM(",
        counted!("v.length"),
        ") FROM entry e JOIN version v ON v.entry_id = e.id WHERE e.share_id = $1 \
         AND v.small_file IS NOT NULL), 0) + COALESCE((SELECT SUM(",
        counted!("length"),
        ") FROM doomed WHERE share_id = $1), 0), \
         names = (SELECT COUNT(*) FROM entry WHERE share_id = $1 AND parent_id IS NOT NULL AND replaced_at IS NULL \
         AND withdrawn_at IS NULL) WHERE share_id = $1"
    );
    ask!(text, share).run(conn).await
}

/// Which generation of a share's key is in force; none if there is no such share.
pub async fn key_generation(conn: &mut Conn, share: ShareId) -> Result<Option<u32>, RecordsError> {
    ask!("SELECT key_generation FROM ticket WHERE share_id = $1", share)
        .maybe(conn, |row| number_as(row, "ticket", "key_generation"))
        .await
}

/// Puts another generation in force. False if `from` is not in force.
///
/// # Errors
/// [`RecordsError::Unproved`] if somebody else has changed the ticket before.
pub async fn set_key_generation(
    conn: &mut Conn,
    prover: &dyn Prover,
    share: ShareId,
    from: u32,
    to: u32,
) -> Result<bool, RecordsError> {
    let row = by_share(conn, share).await?.filter(|row| row.key_generation == from);
    let Some(mut row) = row else { return Ok(false) };
    row.check(prover)?;
    row.key_generation = to;
    put(conn, prover, &row).await?;
    Ok(true)
}

/// How many rows of a share depend on its key: versions and names.
pub async fn rows_of_share(conn: &mut Conn, share: ShareId) -> Result<u64, RecordsError> {
    let text = "SELECT (SELECT COUNT(*) FROM entry WHERE share_id = $1 AND name IS NOT NULL) + (SELECT COUNT(*) FROM entry e \
         JOIN version v ON v.entry_id = e.id WHERE e.share_id = $1 AND v.file_key IS NOT NULL) AS n";
    ask!(text, share).one(conn, |row| unsigned(row, "entry", "n")).await
}

/// What of a share depends on its key.
#[derive(Debug, Clone, Copy)]
pub struct ShareCount {
    /// The share.
    pub share: ShareId,
    /// The generation in force.
    pub in_force: u32,
    /// Sealed names; they are always of the generation in force.
    pub names: u64,
}

/// Each share with its generation and its names, by share.
pub async fn shares(conn: &mut Conn) -> Result<Vec<ShareCount>, RecordsError> {
    let text = "SELECT t.share_id, t.key_generation, \
         (SELECT COUNT(*) FROM entry e WHERE e.share_id = t.share_id AND e.name IS NOT NULL) AS n FROM ticket t \
         ORDER BY t.share_id";
    ask!(text)
        .all(conn, |row| {
            Ok(ShareCount {
                share: bytes_as(row, "ticket", "share_id")?,
                in_force: number_as(row, "ticket", "key_generation")?,
                names: unsigned(row, "entry", "n")?,
            })
        })
        .await
}

/// A name comes into sight in a share.
pub(super) async fn count_name(conn: &mut Conn, share: ShareId) -> Result<(), RecordsError> {
    ask!("UPDATE ticket SET names = names + 1 WHERE share_id = $1", share).run(conn).await
}

/// An entry comes into sight again.
pub(super) async fn count_name_of(conn: &mut Conn, entry: &[u8; 16]) -> Result<(), RecordsError> {
    let text = "UPDATE ticket SET names = names + 1 WHERE share_id = (SELECT share_id FROM entry WHERE id = $1)";
    ask!(text, entry).run(conn).await
}

/// An entry goes out of sight.
pub(super) async fn uncount_name(conn: &mut Conn, entry: &[u8; 16]) -> Result<(), RecordsError> {
    let text = "UPDATE ticket SET names = names - 1 WHERE share_id = (SELECT share_id FROM entry WHERE id = $1)";
    ask!(text, entry).run(conn).await
}

/// A doomed object is about to be forgotten: its share no longer counts it.
pub(super) async fn uncount_doomed(conn: &mut Conn, object: ObjectId) -> Result<(), RecordsError> {
    let text = concat!(
        "UPDATE ticket SET stored_bytes = stored_bytes - (SELECT ",
        counted!("length"),
        " FROM doomed WHERE object_id = $1) WHERE share_id = (SELECT share_id FROM doomed WHERE object_id = $1)"
    );
    ask!(text, object).run(conn).await
}
