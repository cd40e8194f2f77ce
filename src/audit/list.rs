//! The trail for people and programs, page by page.

use serde::Serialize;
use serde_json::Value;

use super::rows::{self, Filter};
use super::{AuditCheckpoint, AuditVerification, AuditWriter, Kept, NoWitness, TrailWitness, verify};
use crate::model::audit::Kind;
use crate::model::{Identifier, Network, Time};
#[cfg(test)]
use crate::records::Conn;
use crate::records::deletions;
use crate::repo::Error;
use crate::repo::tickets::existing_ticket;

/// Entries that are read at once.
const PAGE: u32 = 500;

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Those of one ticket.
    pub ticket: Option<Identifier>,
    /// Those of one kind.
    pub kind: Option<Kind>,
    /// Those with this number and later ones.
    pub since: i64,
    /// Those of this login name, `operator` or `server`.
    pub actor: Option<String>,
    /// Those that came from an address in this network.
    pub address: Option<Network>,
    /// Those from then on.
    pub from: Option<Time>,
    /// Those before then.
    pub to: Option<Time>,
}

impl AuditFilter {
    /// Whether an entry of the right ticket and kind is wanted.
    fn wants(&self, line: &AuditLine) -> bool {
        let comes_from = || {
            let text = line.detail.get("from").and_then(Value::as_str)?;
            // Refused logins are counted by network.
            text.split('/').next()?.parse().ok()
        };
        self.actor.as_ref().is_none_or(|actor| *actor == line.actor)
            && self.address.is_none_or(|network| comes_from().is_some_and(|address| network.contains(address)))
            && self.from.is_none_or(|from| line.at >= from)
            && self.to.is_none_or(|to| line.at < to)
    }
}

/// An entry of the audit trail, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct AuditLine {
    /// Its number, from 1 on without gaps.
    pub seq: i64,
    /// When it happened. Order is by number: a clock can be set back.
    pub at: Time,
    /// What happened.
    pub kind: String,
    /// Who did it: a login name, `operator`, `server`, or `-`.
    pub actor: String,
    /// The ticket it is about.
    pub ticket: Option<String>,
    /// The id of what it is about.
    pub subject: Option<String>,
    /// More: `from` is an address, `bytes` a number of bytes.
    pub detail: Value,
    /// Its link of the chain, as hexadecimal digits.
    pub link: String,
}

impl AuditWriter {
    /// Hands entries to `sink`, page by page, until there are no more.
    ///
    /// # Errors
    /// If there is no such ticket, an entry cannot be read, the records fail, or `sink` does.
    pub async fn list<E: From<Error>>(
        &self,
        filter: &AuditFilter,
        mut sink: impl FnMut(&[AuditLine]) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(ticket) = &filter.ticket {
            let mut conn = self.repo.records.read().await.map_err(Error::from)?;
            // One that was shredded is told of for ever.
            if deletions::of_ticket(&mut conn, ticket).await.map_err(Error::from)?.is_empty() {
                existing_ticket(&mut conn, ticket).await?;
            }
        }
        let wanted = Filter { ticket: filter.ticket.as_ref(), kind: filter.kind.map(Kind::as_str) };
        let mut from = Some(filter.since);
        while let Some(first) = from {
            let mut conn = self.repo.records.read().await.map_err(Error::from)?;
            let page = rows::page(&mut conn, wanted, first, PAGE).await.map_err(Error::from)?;
            drop(conn);
            from = page.last().and_then(|row| row.seq.checked_add(1));
            if page.is_empty() {
                return Ok(());
            }
            let lines: Result<Vec<AuditLine>, Error> = page.into_iter().map(line).collect();
            let mut lines = lines?;
            lines.retain(|line| filter.wants(line));
            if !lines.is_empty() {
                sink(&lines)?;
            }
        }
        Ok(())
    }

    /// Reads the whole trail and says whether it is what was written: each entry, its place in the
    /// chain, its seal, and what checkpoints in the records, in the keyring and, if given, from
    /// elsewhere say of it.
    ///
    /// # Errors
    /// If the databases fail. A trail that is not what was written is no error here; it is
    /// reported.
    pub async fn verify(&self, kept: Option<&AuditCheckpoint>) -> Result<AuditVerification, Error> {
        self.verify_with(Kept { checkpoint: kept, receipts: &[] }).await
    }

    /// The same with all that was kept elsewhere.
    ///
    /// # Errors
    /// If the databases fail.
    pub async fn verify_with(&self, kept: Kept<'_>) -> Result<AuditVerification, Error> {
        let mut conn = self.repo.records.read().await?;
        verify::walk(&mut conn, &self.repo.keys, &self.key.public(), kept).await
    }

    /// The same on a connection of the caller's.
    #[cfg(test)]
    pub(crate) async fn verify_over(
        &self,
        conn: &mut Conn,
        checkpoint: Option<&AuditCheckpoint>,
    ) -> Result<AuditVerification, Error> {
        let kept = Kept { checkpoint, receipts: &[] };
        verify::walk(conn, &self.repo.keys, &self.key.public(), kept).await
    }

    /// What a receipt of this house says of the trail.
    ///
    /// # Errors
    /// If it is none, the house did not sign it, or it says nothing of the trail.
    pub fn witness(&self, receipt: &str) -> Result<TrailWitness, NoWitness> {
        let keys = &self.repo.keys;
        let past = keys.past_receipts().iter().map(|past| past.key);
        TrailWitness::of(receipt, &past.chain([keys.receipts().public()]).collect::<Vec<_>>())
    }

    /// Signs how far the trail has come; none if nothing has happened yet.
    ///
    /// # Errors
    /// If the databases fail.
    pub async fn checkpoint(&self) -> Result<Option<AuditCheckpoint>, Error> {
        self.flush(super::aggregate::WINDOW).await?;
        self.sign_now().await
    }
}

fn line(row: rows::Stored) -> Result<AuditLine, Error> {
    let seq = row.seq;
    let fields = row.fields.map_err(|why| {
        Error::operator(format!("entry {seq} of the audit trail cannot be read ({why}); run 'tacdrop audit verify'"))
    })?;
    Ok(AuditLine {
        seq,
        at: Time::from_millis(fields.at),
        kind: fields.kind,
        actor: fields.actor,
        ticket: fields.ticket,
        subject: fields.subject.map(hex::encode),
        // What is no JSON was not written by tacdrop; it is shown as it is.
        detail: serde_json::from_str(&fields.detail).unwrap_or(Value::String(fields.detail)),
        link: hex::encode(fields.chain),
    })
}
