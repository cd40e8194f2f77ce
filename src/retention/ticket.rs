//! Shredding a whole ticket: its keys first, then its rows, its objects last.
//!
//! The row of the deletion log comes before everything else, and says what has been done. Each step
//! can be done again, so whoever finds a row that is not at its end goes on from there: the server
//! when it starts and each minute, or the same command. Once the row is there nothing of the ticket
//! can be reached: it is closed, nobody has its token, and commands refuse it.

use serde::Serialize;
use serde_json::json;

use super::{Retention, hold, note_of_ticket};
use crate::audit::{Actor, Kind};
use crate::model::{DeletionReason, Identifier, ShareId, TicketStatus, Time};
use crate::records::audit as trail;
use crate::records::deletions::{self, Deletion};
use crate::records::proofs::{Proved, Prover};
use crate::records::tickets::{self, Ticket};
use crate::records::tokens;
use crate::repo::Error;
use crate::repo::tickets::{mark_logins_changed, ticket_or_rest};

/// Versions that go in one transaction.
const VERSIONS_AT_ONCE: u32 = 100;
/// The rule of a ticket that an older copy of the records brought back.
const CAME_BACK: &str = "keys destroyed before: back with an older copy";
/// Files and directories that go in one transaction.
const ENTRIES_AT_ONCE: u32 = 1000;

/// What shredding a ticket would take away.
#[derive(Debug, Clone, Serialize)]
pub struct TicketPlan {
    /// The ticket.
    pub ticket: String,
    /// Whether it takes uploads still.
    pub status: TicketStatus,
    /// Files of which something can be read or continued.
    pub artifacts: u64,
    /// Versions that can be read or continued.
    pub versions: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What shredding a ticket came to.
#[derive(Debug, Clone, Serialize)]
pub struct ShreddedTicket {
    /// The ticket.
    pub ticket: String,
    /// The id of its share, by which the deletion log and the trail tell it from a later ticket of
    /// the same reference.
    pub share: String,
    /// Files that nobody can read again.
    pub artifacts: u64,
    /// Versions that nobody can read again.
    pub versions: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When its keys were destroyed, in the database and its journal.
    pub keys_destroyed_at: Option<Time>,
    /// When the last of its rows went.
    pub records_removed_at: Option<Time>,
    /// When its encrypted objects were off the disk; none while a backup is taken, which may need
    /// them. The server removes them afterwards.
    pub objects_removed_at: Option<Time>,
    /// Whether the journal of the records still holds something of its rows, as somebody read for
    /// too long; the server empties it within minutes.
    pub journal_owed: bool,
}

/// Why a ticket goes, and whether it still may when its turn has come.
pub(crate) struct Why<'a> {
    pub(crate) reason: DeletionReason,
    /// The rule in words, on one line.
    pub(crate) rule: String,
    /// Asked inside the transaction that begins.
    pub(crate) is_due: &'a (dyn Fn(&Ticket) -> bool + Sync),
}

impl Retention {
    pub(super) fn prover(&self) -> &dyn Prover {
        &**self.repo.keys.proofs()
    }

    /// What [`shred_ticket`](Self::shred_ticket) would take away.
    ///
    /// # Errors
    /// If there is no such ticket, it is held, or the records fail.
    pub async fn plan_shred_ticket(&self, ticket: &Identifier) -> Result<TicketPlan, Error> {
        let mut conn = self.repo.records.read().await?;
        let row = ticket_or_rest(&mut conn, ticket).await?;
        hold::refuse_held_share(&mut conn, ticket, row.share).await?;
        let (artifacts, versions, bytes) = deletions::count(&mut conn, row.share).await?;
        Ok(TicketPlan { ticket: ticket.to_string(), status: row.status, artifacts, versions, bytes })
    }

    /// Shreds a ticket because an operator was asked to: nobody reads anything of it again, and its
    /// reference is free. One that is open is closed first, and its sessions end. What was begun
    /// before is ended.
    ///
    /// # Errors
    /// If there is no such ticket, it is held, or a database or the store fails: what was begun is
    /// ended by the server, or by doing it again.
    pub async fn shred_ticket(&self, ticket: &Identifier) -> Result<ShreddedTicket, Error> {
        let why = Why { reason: DeletionReason::Request, rule: "request".to_owned(), is_due: &|_| true };
        let begun = self.begin_shredding(ticket, &why, &Actor::Operator).await?;
        let share = begun.ok_or_else(|| Error::operator(format!("ticket {ticket} was not shredded")))?;
        self.go_on_shredding(share, &Actor::Operator).await
    }

    /// Writes down that a ticket is about to be shredded, and lets nobody in any more. None if it is
    /// not due after all.
    pub(super) async fn begin_shredding(
        &self,
        ticket: &Identifier,
        why: &Why<'_>,
        actor: &Actor,
    ) -> Result<Option<ShareId>, Error> {
        // Alone: what comes next happens in another database.
        let mut tx = self.repo.records.begin_alone().await?;
        let row = ticket_or_rest(tx.conn(), ticket).await?;
        row.check(self.prover())?;
        if deletions::is_begun(tx.conn(), row.share).await? {
            return Ok(Some(row.share));
        }
        hold::refuse_held_share(tx.conn(), ticket, row.share).await?;
        if !(why.is_due)(&row) {
            return Ok(None);
        }
        let now = Time::now();
        let (artifacts, versions, bytes) = deletions::count(tx.conn(), row.share).await?;
        tickets::end(tx.conn(), self.prover(), ticket, now).await?;
        tokens::remove_all(tx.conn(), ticket).await?;
        mark_logins_changed(tx.conn()).await?;
        if row.status != TicketStatus::Closed {
            note_of_ticket(tx.conn(), Kind::TicketClosed, actor, ticket, &json!({})).await?;
        }
        let new = Deletion {
            share: row.share,
            ticket: row.reference,
            organisation: row.organisation,
            reason: why.reason,
            rule: why.rule.clone(),
            artifacts,
            versions,
            bytes,
            published: 0,
            opened_at: row.opened_at,
            closed_at: row.closed_at.unwrap_or(now),
            begun_at: now,
            keys_destroyed_at: None,
            records_removed_at: None,
            trail_seq: None,
            objects_removed_at: None,
            proof: Default::default(),
        };
        deletions::begin(tx.conn(), self.prover(), &new).await?;
        let detail = told(&new);
        note_of_ticket(tx.conn(), Kind::TicketShredBegun, actor, ticket, &detail).await?;
        self.repo.failpoints.hit("ticket-shred.before-begun");
        tx.commit().await?;
        self.repo.failpoints.hit("ticket-shred.begun");
        Ok(Some(new.share))
    }

    /// Begins to shred tickets again that an older copy of the records has brought back: the keyring
    /// remembers that their keys were destroyed, and nobody could open anything of them. One that
    /// fails keeps none of the others waiting.
    ///
    /// # Errors
    /// The first that failed.
    pub(crate) async fn shred_what_came_back(&self) -> Result<(), Error> {
        let destroyed = self.repo.keys.keyring().destroyed_shares().await?;
        let mut outcome = Ok(());
        for share in destroyed {
            let found = tickets::by_share(&mut *self.repo.records.read().await?, share).await;
            let ticket = match found {
                Ok(Some(ticket)) => ticket.reference,
                Ok(None) => continue,
                Err(error) => {
                    outcome = outcome.and(Err(error.into()));
                    continue;
                }
            };
            let rule = CAME_BACK.to_owned();
            let why = Why { reason: DeletionReason::Retention, rule, is_due: &|row| row.share == share };
            match self.begin_shredding(&ticket, &why, &Actor::Server).await {
                Ok(_) => {
                    tracing::warn!(%ticket, "a ticket that was shredded came back with an older copy, and goes again")
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    /// Ends what was begun, by whomever. One that fails keeps none of the others waiting.
    ///
    /// # Errors
    /// The first that failed.
    pub(crate) async fn finish_shredding(&self, actor: &Actor) -> Result<(), Error> {
        let mut conn = self.repo.records.read().await?;
        let unfinished = deletions::unfinished(&mut conn).await?;
        drop(conn);
        let mut outcome = Ok(());
        for row in unfinished {
            match self.go_on_shredding(row.share, actor).await {
                Ok(done) => {
                    tracing::info!(ticket = %row.ticket, ended = done.objects_removed_at.is_some(), "a ticket was shredded")
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    /// Does what is left to do.
    pub(super) async fn go_on_shredding(&self, share: ShareId, actor: &Actor) -> Result<ShreddedTicket, Error> {
        let row = deletions::by_share(&mut *self.repo.records.read().await?, share).await?;
        let mut row = row.ok_or_else(|| Error::operator(format!("the deletion log knows nothing of share {share}")))?;
        row.check(self.prover())?;
        if row.keys_destroyed_at.is_none() {
            self.destroy_keys(share).await?;
            // Another process may have been quicker: what it wrote down stays.
            let noted = |row: &mut Deletion| row.keys_destroyed_at = row.keys_destroyed_at.or(Some(Time::now()));
            row = self.note(share, noted).await?;
            self.repo.failpoints.hit("ticket-shred.keys-noted");
        }
        if row.records_removed_at.is_none() {
            row = self.remove_rows(row, actor).await?;
        }
        if row.objects_removed_at.is_none() && self.remove_all_of(share).await? {
            self.repo.failpoints.hit("ticket-shred.objects-removed");
            row = self.objects_are_gone(row, actor).await?;
        }
        let journal_owed = !self.empty_owed_journal().await?;
        self.repo.failpoints.hit("ticket-shred.ended");
        Ok(ShreddedTicket {
            ticket: row.ticket.to_string(),
            share: row.share.to_string(),
            artifacts: row.artifacts,
            versions: row.versions,
            bytes: row.bytes,
            keys_destroyed_at: row.keys_destroyed_at,
            records_removed_at: row.records_removed_at,
            objects_removed_at: row.objects_removed_at,
            journal_owed,
        })
    }

    /// Destroys the keys of a share: when this returns, neither the keyring nor its journal has
    /// them.
    async fn destroy_keys(&self, share: ShareId) -> Result<(), Error> {
        // A rotation of them or a backup that copies them is waited for by whoever tries again.
        let _lock = self.repo.data.lock_for_rotation()?;
        let keyring = self.repo.keys.keyring();
        keyring.destroy_share(share, Time::now()).await?;
        self.repo.failpoints.hit("ticket-shred.keys-deleted");
        self.repo.keys.forget_shares(&[share]);
        if !keyring.empty_journal().await? {
            return Err(Error::operator(
                "somebody reads the keyring for too long, so its journal still holds the keys; the server tries again \
                 within a minute",
            ));
        }
        Ok(())
    }

    /// Writes down in the deletion log what was done.
    async fn note(&self, share: ShareId, change: impl FnOnce(&mut Deletion)) -> Result<Deletion, Error> {
        let mut tx = self.repo.records.begin().await?;
        let row = deletions::change(tx.conn(), self.prover(), share, change).await?;
        tx.commit().await?;
        row.ok_or_else(|| Error::operator(format!("the deletion log knows nothing of share {share}")))
    }

    /// Writes down that the objects are removed, unless another process has.
    async fn objects_are_gone(&self, row: Deletion, actor: &Actor) -> Result<Deletion, Error> {
        let mut tx = self.repo.records.begin().await?;
        let Some(now) = deletions::by_share(tx.conn(), row.share).await? else { return Ok(row) };
        if now.objects_removed_at.is_some() {
            return Ok(now);
        }
        let ended = |row: &mut Deletion| row.objects_removed_at = Some(Time::now());
        let changed = deletions::change(tx.conn(), self.prover(), row.share, ended).await?;
        let detail = json!({ "share": row.share.to_string() });
        note_of_ticket(tx.conn(), Kind::TicketObjectsRemoved, actor, &row.ticket, &detail).await?;
        tx.commit().await?;
        Ok(changed.unwrap_or(now))
    }

    /// Removes everything that the records have of a ticket, and frees its reference.
    async fn remove_rows(&self, row: Deletion, actor: &Actor) -> Result<Deletion, Error> {
        let (share, prover) = (row.share, self.prover());
        let now = self.repo.clock.not_before_now();
        loop {
            let mut tx = self.repo.records.begin().await?;
            let page = deletions::remove_versions(tx.conn(), share, VERSIONS_AT_ONCE, now).await?;
            if page.rows == 0 {
                break;
            }
            let count = |row: &mut Deletion| row.published += page.published;
            deletions::change(tx.conn(), prover, share, count).await?;
            tx.commit().await?;
            self.repo.failpoints.hit("ticket-shred.versions-removed");
        }
        loop {
            let mut tx = self.repo.records.begin().await?;
            if deletions::remove_entries(tx.conn(), share, ENTRIES_AT_ONCE).await? == 0 {
                break;
            }
            tx.commit().await?;
            self.repo.failpoints.hit("ticket-shred.entries-removed");
        }
        let mut tx = self.repo.records.begin().await?;
        // Another process may have been quicker.
        let Some(row) = deletions::by_share(tx.conn(), share).await?.filter(|row| row.records_removed_at.is_none())
        else {
            drop(tx);
            return self.note(share, |_| {}).await;
        };
        deletions::remove_ticket(tx.conn(), &row.ticket, share, now).await?;
        // What an engineer has open there ends, too.
        mark_logins_changed(tx.conn()).await?;
        note_of_ticket(tx.conn(), Kind::TicketShredded, actor, &row.ticket, &told(&row)).await?;
        let seq = trail::tip(tx.conn()).await?.map(|(seq, _)| seq);
        let removed = |row: &mut Deletion| (row.records_removed_at, row.trail_seq) = (Some(Time::now()), seq);
        let changed = deletions::change(tx.conn(), prover, share, removed).await?;
        self.repo.failpoints.hit("ticket-shred.before-removed");
        tx.commit().await?;
        self.repo.failpoints.hit("ticket-shred.removed");
        Ok(changed.unwrap_or(row))
    }
}

/// What the trail tells of a deletion: the rows of the deletion log are compared with it.
pub(crate) fn told(row: &Deletion) -> serde_json::Value {
    json!({
        "share": row.share.to_string(),
        "reason": row.reason,
        "rule": row.rule,
        "artifacts": row.artifacts,
        "versions": row.versions,
        "bytes": row.bytes,
        "published": row.published,
        "keys_destroyed": row.keys_destroyed_at.map(Time::millis),
    })
}
