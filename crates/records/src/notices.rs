//! Notices and the outbox: what people are still to be told.

use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::proofs::{Proof, Prover, proof};
use super::readable::{name, say};
use super::{Conn, RecordsError, bytes_as, text_as, text_as_option, unsigned};
use tacdrop_model::{ArtifactId, Audience, Identifier, NoticeId, NoticeState, Time, VersionId, VersionState};

/// One message to one person about one ticket.
#[derive(Debug, Clone)]
pub struct NoticeRow {
    /// Its id, which becomes the mail's Message-ID.
    pub id: NoticeId,
    /// The ticket.
    pub ticket: Identifier,
    /// Whom it is for.
    pub audience: Audience,
    /// The engineer it goes to; of one for customers, the engineer who handed it back or gets what
    /// they send.
    pub recipient: Identifier,
    /// The contact it goes to, if it goes to one.
    pub contact: Option<Identifier>,
    /// Where it stands.
    pub state: NoticeState,
    /// `mail` or `spool`, once tried; `none`: it had nothing left to say.
    pub channel: Option<String>,
    /// How often it was tried.
    pub attempts: u64,
    /// When its first upload became available.
    pub created_at: Time,
    /// When it is tried next.
    pub next_attempt_at: Option<Time>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// How often it was handed over and no answer came.
    pub lost_answers: u64,
    /// A mail address that takes the place of the recipient's.
    pub address: Option<String>,
    /// Where it goes: that address, or the recipient's; none if the recipient is not in the
    /// records.
    pub goes_to: Option<String>,
    /// Whether it is being handed over there just now, or was when the server stopped.
    pub handed_over: bool,
    /// The proof that its own address carries.
    pub address_proof: Proof,
    /// Of one that a deputy gets: the engineer whom it was for.
    pub instead_of: Option<Identifier>,
}

/// What proofs of addresses that operators gave to notices are made under.
pub const ADDRESS_LABEL: &str = "proof of notice's address, 1";

impl NoticeRow {
    /// Whether its own address, if it has one, is one that tacdrop wrote there.
    pub fn is_address_proved(&self, prover: &dyn Prover) -> bool {
        self.address.as_deref().is_none_or(|address| {
            let fields = address_fields(&self.id, &self.ticket, &self.recipient, address);
            prover.is_proved(ADDRESS_LABEL, &fields, &self.address_proof)
        })
    }
}

/// What the proof of an operator's address is made of: it holds for this notice of this ticket to
/// this recipient.
pub(super) fn address_fields<'a>(
    id: &'a NoticeId,
    ticket: &'a Identifier,
    recipient: &'a Identifier,
    address: &'a str,
) -> [&'a [u8]; 4] {
    [id.as_bytes(), ticket.as_str().as_bytes(), recipient.as_str().as_bytes(), address.as_bytes()]
}

/// Where a notice goes, of a row of the table `notice`.
macro_rules! goes_to {
    () => {
        "COALESCE(notice.address, CASE WHEN notice.contact IS NULL \
         THEN (SELECT e.email FROM engineer e WHERE e.id = notice.recipient) \
         ELSE (SELECT c.email FROM contact c WHERE c.id = notice.contact) END)"
    };
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT notice.id, ticket, recipient, COALESCE(ending, state) AS state, channel, attempts, created_at, \
             next_attempt_at, last_error, lost_answers, address, address_proof, instead_of, audience, contact, ",
            goes_to!(),
            " AS goes_to, handed_to FROM notice ",
            $rest
        )
    };
}

fn notice(row: &SqliteRow) -> Result<NoticeRow, RecordsError> {
    // It is a person's: a fault there is none of the notice.
    let goes_to: Option<String> = row.try_get("goes_to").unwrap_or_default();
    let handed_to: Option<String> = row.try_get("handed_to")?;
    Ok(NoticeRow {
        id: bytes_as(row, "notice", "id")?,
        ticket: text_as(row, "notice", "ticket")?,
        audience: text_as(row, "notice", "audience")?,
        recipient: text_as(row, "notice", "recipient")?,
        contact: text_as_option(row, "notice", "contact")?,
        state: text_as(row, "notice", "state")?,
        channel: row.try_get("channel")?,
        attempts: unsigned(row, "notice", "attempts")?,
        created_at: Time::from_millis(row.try_get("created_at")?),
        next_attempt_at: row.try_get::<Option<i64>, _>("next_attempt_at")?.map(Time::from_millis),
        last_error: row.try_get("last_error")?,
        lost_answers: unsigned(row, "notice", "lost_answers")?,
        address: row.try_get("address")?,
        handed_over: handed_to.is_some() && handed_to == goes_to,
        goes_to,
        address_proof: proof(row, "address_proof"),
        instead_of: text_as_option(row, "notice", "instead_of")?,
    })
}

/// The notice of a ticket that still gathers files for an audience, and for a contact if there is
/// one.
pub async fn settling(
    conn: &mut Conn,
    ticket: &Identifier,
    (audience, contact): (Audience, Option<&Identifier>),
) -> Result<Option<NoticeRow>, RecordsError> {
    let text = select!(
        "WHERE ticket = $1 AND state = 'settling' AND audience = $2 AND contact IS NOT DISTINCT FROM $3 \
         ORDER BY created_at LIMIT 1"
    );
    ask!(text, ticket.as_str(), audience.as_str(), contact).maybe(conn, notice).await
}

/// Begins a notice that gathers uploads until `due`.
pub async fn begin(
    conn: &mut Conn,
    id: NoticeId,
    ticket: &Identifier,
    recipient: &Identifier,
    (audience, contact): (Audience, Option<&Identifier>),
    (now, due): (Time, Time),
) -> Result<(), RecordsError> {
    let text = "INSERT INTO notice (id, ticket, recipient, audience, contact, state, created_at, next_attempt_at) \
         VALUES ($1, $2, $3, $4, $5, 'settling', $6, $7)";
    ask!(text, id, ticket.as_str(), recipient.as_str(), audience.as_str(), contact, now, due).run(conn).await
}

/// Puts a settling notice off because another upload came.
pub async fn put_off(conn: &mut Conn, id: NoticeId, due: Time) -> Result<(), RecordsError> {
    ask!("UPDATE notice SET next_attempt_at = $2 WHERE id = $1 AND state = 'settling'", id, due).run(conn).await
}

/// What a notice says of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// It came.
    Available,
    /// It was closed with bytes missing.
    Incomplete,
    /// It will be removed unfinished.
    Expiring,
    /// Its sender deleted it, after somebody was told that it came.
    Deleted,
}

impl About {
    /// The word for it in records and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Incomplete => "incomplete",
            Self::Expiring => "expiring",
            Self::Deleted => "deleted",
        }
    }
}

impl std::str::FromStr for About {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Available, Self::Incomplete, Self::Expiring, Self::Deleted];
        all.into_iter().find(|about| about.as_str() == text).ok_or(())
    }
}

/// Adds a version to a notice. If the notice speaks of it already, it says the newer thing of it.
pub async fn attach(conn: &mut Conn, id: NoticeId, version: VersionId, about: About) -> Result<(), RecordsError> {
    let text = "INSERT INTO notice_version (notice_id, version_id, about) VALUES ($1, $2, $3) \
         ON CONFLICT (notice_id, version_id) DO UPDATE SET about = $3";
    ask!(text, id, version, about.as_str()).run(conn).await
}

/// Whether an engineer was told that a version came, by a notice that was delivered.
pub async fn was_told(conn: &mut Conn, version: VersionId) -> Result<bool, RecordsError> {
    let text = "SELECT COUNT(*) AS told FROM notice_version v JOIN notice n ON n.id = v.notice_id \
         WHERE v.version_id = $1 AND v.about = 'available' AND n.state = 'delivered' AND n.audience = 'engineers'";
    ask!(text, version).one(conn, |row| Ok(unsigned(row, "notice", "told")? > 0)).await
}

/// How many notices are still to be delivered.
pub async fn waiting(conn: &mut Conn) -> Result<u64, RecordsError> {
    ask!("SELECT COUNT(*) AS waiting FROM notice WHERE next_attempt_at IS NOT NULL")
        .one(conn, |row| unsigned(row, "notice", "waiting"))
        .await
}

/// Closes the notices that have settled: what comes later goes into the next one.
pub async fn close_settled(conn: &mut Conn, now: Time) -> Result<u64, RecordsError> {
    ask!("UPDATE notice SET state = 'pending' WHERE state = 'settling' AND next_attempt_at <= $1", now)
        .changes(conn)
        .await
}

/// Makes a copy of a notice that is to be delivered, which goes to this recipient at this address:
/// with what the notice speaks of, and the proof of the address.
pub async fn copy(
    conn: &mut Conn,
    prover: &dyn Prover,
    notice: &NoticeRow,
    id: NoticeId,
    (recipient, address): (&Identifier, &str),
) -> Result<(), RecordsError> {
    let text = "INSERT INTO notice (id, ticket, recipient, state, created_at, next_attempt_at, address, address_proof, \
         copied) SELECT $2, ticket, $5, 'pending', created_at, next_attempt_at, $3, $4, 1 FROM notice WHERE id = $1";
    let proof = prover.prove(ADDRESS_LABEL, &address_fields(&id, &notice.ticket, recipient, address));
    ask!(text, notice.id, id, address, proof, recipient).run(conn).await?;
    let text = "INSERT INTO notice_version (notice_id, version_id, about) \
         SELECT $2, version_id, about FROM notice_version WHERE notice_id = $1";
    ask!(text, notice.id, id).run(conn).await
}

/// The notices to be delivered now, oldest first. One whose row cannot be read is ended as
/// `failed`, so that it does not stand before the others for ever.
pub async fn due(conn: &mut Conn, now: Time, most: usize) -> Result<Vec<NoticeRow>, RecordsError> {
    let text =
        select!("WHERE state = 'pending' AND next_attempt_at <= $1 ORDER BY next_attempt_at, created_at LIMIT $2 + 0");
    let rows = ask!(text, now, most).rows(conn).await?;
    let mut due = Vec::with_capacity(rows.len());
    for row in &rows {
        match notice(row) {
            Ok(notice) => due.push(notice),
            Err(error) => {
                say("notice", row, &error);
                let id: &[u8] = row.try_get(0)?;
                let text = "UPDATE notice SET state = 'failed', next_attempt_at = NULL, last_error = $2 WHERE id = $1";
                ask!(text, id, &error.to_string()).run(conn).await?;
            }
        }
    }
    Ok(due)
}

/// When the next notice settles or is tried.
pub async fn next_due(conn: &mut Conn) -> Result<Option<Time>, RecordsError> {
    ask!("SELECT MIN(next_attempt_at) AS due FROM notice WHERE next_attempt_at IS NOT NULL AND typeof(next_attempt_at) = 'integer'").one(conn, |row| Ok(row.try_get::<Option<i64>, _>("due")?.map(Time::from_millis))).await
}

/// Writes down that a notice is about to be handed over to an address, by a mail server that may
/// take it without saying so. Whether it is: not if it was delivered, ended, or goes elsewhere by
/// now, or its recipient was disabled.
pub async fn hand_over(conn: &mut Conn, id: NoticeId, address: &str, may_be_lost: bool) -> Result<bool, RecordsError> {
    let text = concat!(
        "UPDATE notice SET handed_to = CASE WHEN $3 THEN $2 END WHERE id = $1 AND state = 'pending' \
         AND (address IS NOT NULL OR audience <> 'engineers' OR NOT EXISTS (SELECT 1 FROM engineer d WHERE d.id = notice.recipient \
         AND d.disabled_at IS NOT NULL)) AND $2 = ",
        goes_to!()
    );
    ask!(text, id, address, may_be_lost).changed(conn).await
}

/// The notices that were being handed over when the server stopped, oldest first.
pub async fn interrupted(conn: &mut Conn) -> Result<Vec<NoticeRow>, RecordsError> {
    ask!(concat!(select!("WHERE state <> 'delivered' AND handed_to = "), goes_to!(), " ORDER BY created_at, notice.id"))
        .readable(conn, "notice", notice)
        .await
}

/// Writes down that it was delivered to this address. Whether that ends it: not if it has ended
/// already, or goes elsewhere by now.
pub async fn delivered(
    conn: &mut Conn,
    id: NoticeId,
    address: &str,
    channel: &str,
    now: Time,
) -> Result<bool, RecordsError> {
    let text = concat!(
        "UPDATE notice SET state = 'delivered', ending = NULL, channel = $2, delivered_at = $3, next_attempt_at = NULL, \
         attempts = attempts + 1, last_error = NULL, handed_to = NULL WHERE id = $1 AND state <> 'delivered' AND $4 = ",
        goes_to!()
    );
    ask!(text, id, channel, now, address).changed(conn).await
}

/// What became of a try that did not succeed.
#[derive(Debug, Clone, Copy)]
pub struct Tried<'a> {
    /// Where it went.
    pub address: &'a str,
    /// How.
    pub channel: &'a str,
    /// What went wrong.
    pub error: &'a str,
    /// When the next try is; none: given up.
    pub next: Option<Time>,
    /// Whether the mail was handed over, and no answer came.
    pub lost: bool,
}

/// Writes down that a try failed. A notice that was ever handed over without an answer ends as
/// `unknown`. One that was dismissed meanwhile stays so, and one that goes elsewhere by now has
/// nothing to do with it.
pub async fn tried(conn: &mut Conn, id: NoticeId, tried: Tried<'_>) -> Result<(), RecordsError> {
    let text = concat!(
        "UPDATE notice SET state = CASE WHEN $4 IS NULL THEN 'failed' ELSE 'pending' END, \
         ending = CASE WHEN $4 IS NULL AND lost_answers + $5 > 0 THEN 'unknown' ELSE NULL END, channel = $2, \
         attempts = attempts + 1, lost_answers = lost_answers + $5, last_error = $3, next_attempt_at = $4, handed_to = NULL \
         WHERE id = $1 AND state <> 'delivered' AND COALESCE(ending, '') <> 'dismissed' AND $6 = ",
        goes_to!()
    );
    ask!(text, id, tried.channel, tried.error, tried.next, tried.lost, tried.address).run(conn).await
}

/// Puts off a notice that must not go where it would go now, and says why; not if it was changed
/// since `row` was read. It counts as no try.
pub async fn hold(conn: &mut Conn, row: &NoticeRow, why: &str, next: Time) -> Result<(), RecordsError> {
    let text = "UPDATE notice SET last_error = $2, next_attempt_at = $3 \
         WHERE id = $1 AND state = 'pending' AND recipient = $4 AND address IS NOT DISTINCT FROM $5";
    ask!(text, row.id, why, next, row.recipient.as_str(), row.address.as_deref()).run(conn).await
}

/// Ends a notice that cannot be put together, as `failed`; not if it was changed since `row` was
/// read.
pub async fn unwritable(conn: &mut Conn, row: &NoticeRow, error: &str) -> Result<(), RecordsError> {
    let text = "UPDATE notice SET state = 'failed', channel = 'none', attempts = attempts + 1, last_error = $2, \
         next_attempt_at = NULL WHERE id = $1 AND state = 'pending' AND recipient = $3 AND address IS $4";
    ask!(text, row.id, error, row.recipient.as_str(), row.address.as_deref()).run(conn).await
}

/// One notice.
pub async fn by_id(conn: &mut Conn, id: NoticeId) -> Result<Option<NoticeRow>, RecordsError> {
    ask!(select!("WHERE notice.id = $1"), id).maybe(conn, notice).await
}

/// The notices that ended without being delivered, oldest first; not those that were dismissed.
pub async fn ended_undelivered(conn: &mut Conn) -> Result<Vec<NoticeRow>, RecordsError> {
    ask!(select!("WHERE state = 'failed' AND COALESCE(ending, '') <> 'dismissed' ORDER BY created_at, notice.id"))
        .readable(conn, "notice", notice)
        .await
}

/// The wall clock went back by `by`: everything that waits keeps its distance from now.
pub async fn clock_went_back(conn: &mut Conn, by: Duration) -> Result<(), RecordsError> {
    let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    let text = "UPDATE notice SET created_at = created_at - $1, next_attempt_at = next_attempt_at - $1 \
         WHERE next_attempt_at IS NOT NULL";
    ask!(text, by).run(conn).await?;
    ask!("UPDATE held_notice SET due = due - $1", by).run(conn).await
}

/// The wall clock may have gone back while no server ran: nothing waits longer than `longest` from
/// now on.
pub async fn wait_at_most(conn: &mut Conn, now: Time, longest: Duration) -> Result<(), RecordsError> {
    let latest = now.plus(longest).millis();
    let text = "UPDATE notice SET created_at = CASE WHEN created_at > $1 THEN $1 ELSE created_at END, next_attempt_at = \
         CASE WHEN next_attempt_at > $2 OR created_at > $1 THEN $1 ELSE next_attempt_at END \
         WHERE next_attempt_at IS NOT NULL AND (next_attempt_at > $2 OR created_at > $1)";
    ask!(text, now, latest).run(conn).await
}

/// A version that a notice speaks of.
#[derive(Debug, Clone, Copy)]
pub struct NoticeItem {
    /// The version.
    pub version: VersionId,
    /// Its file.
    pub artifact: ArtifactId,
    /// Why the notice speaks of it.
    pub about: About,
    /// Where it stands by now.
    pub state: VersionState,
}

/// What a notice speaks of.
#[derive(Debug, Default)]
pub struct Told {
    /// The versions, in the order in which they became available.
    pub rows: Vec<NoticeItem>,
    /// The ids of artifacts, or where these are not known of versions, whose rows cannot be read or
    /// are missing.
    pub unreadable: Vec<String>,
}

/// The versions that a notice speaks of.
pub async fn told(conn: &mut Conn, id: NoticeId) -> Result<Told, RecordsError> {
    let text = "SELECT nv.version_id, nv.about, v.entry_id, v.state FROM notice_version nv LEFT JOIN version v ON v.id = nv.version_id \
         WHERE nv.notice_id = $1 ORDER BY COALESCE(v.received_at, v.opened_at), v.id";
    let rows = ask!(text, id).rows(conn).await?;
    let mut told = Told::default();
    for row in &rows {
        match told_row(row) {
            Ok(row) => told.rows.push(row),
            Err(error) => {
                say("notice_version", row, &error);
                let known = matches!(row.try_get::<Option<&[u8]>, _>(2), Ok(Some(_)));
                told.unreadable.push(name(row, if known { 2 } else { 0 }));
            }
        }
    }
    Ok(told)
}

fn told_row(row: &SqliteRow) -> Result<NoticeItem, RecordsError> {
    Ok(NoticeItem {
        version: bytes_as(row, "notice_version", "version_id")?,
        artifact: bytes_as(row, "version", "entry_id")?,
        about: text_as(row, "notice_version", "about")?,
        state: text_as(row, "version", "state")?,
    })
}

/// Notices whose settling time is over.
pub async fn settled(conn: &mut Conn, now: Time) -> Result<Vec<NoticeRow>, RecordsError> {
    ask!(select!("WHERE state = 'settling' AND next_attempt_at <= $1 ORDER BY created_at"), now)
        .readable(conn, "notice", notice)
        .await
}

/// Closes a notice that has nothing left to say: it counts as delivered, by the channel `none`,
/// without a try. Whether it did: not if it has ended otherwise meanwhile.
pub async fn void(conn: &mut Conn, id: NoticeId, now: Time) -> Result<bool, RecordsError> {
    let text = "UPDATE notice SET state = 'delivered', channel = 'none', delivered_at = $2, next_attempt_at = NULL, \
         last_error = NULL, handed_to = NULL WHERE id = $1 AND state = 'pending'";
    ask!(text, id, now).changed(conn).await
}

/// All notices, or those of one ticket, oldest first.
pub async fn list(conn: &mut Conn, ticket: Option<&Identifier>) -> Result<Vec<NoticeRow>, RecordsError> {
    ask!(select!("WHERE ticket = COALESCE($1, ticket) ORDER BY created_at, notice.id"), ticket)
        .readable(conn, "notice", notice)
        .await
}

/// The first notice of a ticket to the same people: later ones refer to it, so that mail programs
/// show one thread. No customer's notice refers to one that went to somebody else.
pub async fn first_of(conn: &mut Conn, of: &NoticeRow) -> Result<Option<NoticeId>, RecordsError> {
    let text = "SELECT id FROM notice WHERE ticket = $1 AND audience = $2 AND contact IS NOT DISTINCT FROM $3 \
         AND ($2 <> 'watcher' OR address = $4) ORDER BY created_at, id LIMIT 1";
    ask!(text, of.ticket.as_str(), of.audience.as_str(), of.contact.as_ref(), of.address.as_deref())
        .maybe(conn, |row| bytes_as(row, "notice", "id"))
        .await
}

/// A notice that was not delivered and was not dismissed goes on as if it had never been tried, at
/// once (`$1`); one that still settles, when it has settled.
macro_rules! again {
    ($rest:literal) => {
        concat!(
            "UPDATE notice SET attempts = 0, lost_answers = 0, ending = NULL, \
             next_attempt_at = CASE WHEN state = 'settling' THEN next_attempt_at ELSE $1 END, \
             state = CASE WHEN state = 'settling' THEN state ELSE 'pending' END",
            $rest,
            " AND state <> 'delivered' AND COALESCE(ending, '') <> 'dismissed'"
        )
    };
}

/// Sends what a ticket's engineer was not told to another one: what waits, and what failed or may
/// have come (but not what was dismissed), as if it had never been tried. Copies for watchers stay.
pub async fn redirect(
    conn: &mut Conn,
    ticket: &Identifier,
    recipient: &Identifier,
    now: Time,
) -> Result<(), RecordsError> {
    ask!(
        again!(", recipient = $3, address = NULL, instead_of = NULL WHERE ticket = $2 AND copied = 0 AND audience = 'engineers'"),
        now,
        ticket.as_str(),
        recipient.as_str()
    )
    .run(conn)
    .await
}

/// The same with what an engineer was not told at the address that the engineer had, and not with
/// what goes to another one. How many notices these are.
pub async fn moved(conn: &mut Conn, engineer: &Identifier, now: Time) -> Result<u64, RecordsError> {
    ask!(again!(" WHERE recipient = $2 AND address IS NULL AND audience = 'engineers'"), now, engineer)
        .changes(conn)
        .await
}

/// The notices that an engineer was not told yet, oldest first: those that wait, failed, or perhaps
/// never came, and not what was dismissed. With an operator's address or without.
pub async fn untold(conn: &mut Conn, engineer: &Identifier) -> Result<Vec<NoticeRow>, RecordsError> {
    ask!(
        select!(
            "WHERE recipient = $1 AND audience = 'engineers' AND state <> 'delivered' \
             AND COALESCE(ending, '') <> 'dismissed' ORDER BY created_at, notice.id"
        ),
        engineer
    )
    .readable(conn, "notice", notice)
    .await
}

/// How many notices name an engineer as their recipient, also those that were delivered.
pub async fn count_of(conn: &mut Conn, engineer: &Identifier) -> Result<u64, RecordsError> {
    ask!("SELECT COUNT(*) AS n FROM notice WHERE recipient = $1", engineer)
        .one(conn, |row| unsigned(row, "notice", "n"))
        .await
}

/// What waits for an engineer goes to another one from now on, who is told whom it was for: what is
/// tried or still settles, and does not go to an operator's address. The ids of these notices.
pub async fn stand_in(
    conn: &mut Conn,
    engineer: &Identifier,
    deputy: &Identifier,
) -> Result<Vec<(NoticeId, Identifier)>, RecordsError> {
    let text = "UPDATE notice SET recipient = $2, instead_of = COALESCE(instead_of, $1) WHERE recipient = $1 \
         AND audience = 'engineers' AND address IS NULL AND state IN ('settling', 'pending') RETURNING id, ticket";
    ask!(text, engineer, deputy)
        .readable(conn, "notice", |row| Ok((bytes_as(row, "notice", "id")?, text_as(row, "notice", "ticket")?)))
        .await
}

/// Has a notice tried again at once, as if it had never been tried: it is meant by its id, so also
/// one that was dismissed or still settles.
pub async fn retry(conn: &mut Conn, id: NoticeId, now: Time) -> Result<(), RecordsError> {
    let text = "UPDATE notice SET state = CASE WHEN audience = 'customers' THEN 'settling' ELSE 'pending' END, \
         ending = NULL, attempts = 0, lost_answers = 0, next_attempt_at = $2 WHERE id = $1 AND state <> 'delivered'";
    ask!(text, id, now).run(conn).await
}

/// Gives a notice another recipient, or another address for the one that it has, with its proof.
pub async fn readdress(
    conn: &mut Conn,
    prover: &dyn Prover,
    (id, ticket): (NoticeId, &Identifier),
    recipient: &Identifier,
    address: Option<&str>,
) -> Result<(), RecordsError> {
    let text = "UPDATE notice SET recipient = $2, address = $3, address_proof = $4, instead_of = NULL \
         WHERE id = $1 AND state <> 'delivered'";
    let proof = address.map(|address| prover.prove(ADDRESS_LABEL, &address_fields(&id, ticket, recipient, address)));
    ask!(text, id, recipient.as_str(), address, proof).run(conn).await
}

/// Gives each notice that an operator's address waits in the proof of it, whatever it carried.
pub async fn prove_addresses_again(conn: &mut Conn, prover: &dyn Prover) -> Result<(), RecordsError> {
    for row in with_address(conn).await? {
        let Some(address) = &row.address else { continue };
        let fields = address_fields(&row.id, &row.ticket, &row.recipient, address);
        let proof = prover.prove(ADDRESS_LABEL, &fields);
        ask!("UPDATE notice SET address_proof = $2 WHERE id = $1", row.id, proof).run(conn).await?;
    }
    Ok(())
}

/// The notices that still go to an address which an operator gave them.
pub async fn with_address(conn: &mut Conn) -> Result<Vec<NoticeRow>, RecordsError> {
    ask!(select!("WHERE address IS NOT NULL AND state <> 'delivered' ORDER BY created_at, notice.id"))
        .readable(conn, "notice", notice)
        .await
}

/// Ends a notice that need not be delivered any more.
pub async fn dismiss(conn: &mut Conn, id: NoticeId) -> Result<(), RecordsError> {
    let text = "UPDATE notice SET state = 'failed', ending = 'dismissed', next_attempt_at = NULL \
         WHERE id = $1 AND state <> 'delivered'";
    ask!(text, id).run(conn).await
}
