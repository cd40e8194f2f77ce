//! The audit trail: what happened, chained so that a changed, removed or inserted row shows
//! (`docs/audit.md`).
//!
//! What changes something is written in the transaction that changes it ([`write()`]). What only
//! happens (logins, reading, openings) is queued and written many rows at a time, and what can
//! happen at any rate (refusals, listings) is counted and written once a minute ([`AuditWriter`]).
//! [`checkpoint`] signs how far the trail has come, [`verify`] reads it all.

mod accesses;
pub(crate) mod aggregate;
mod checkpoint;
mod coverage;
mod list;
pub(crate) mod ticks;
pub(crate) mod told;
mod verify;
mod witness;
mod writer;

use serde_json::Value;
use sha2::{Digest, Sha256};

pub(crate) use crate::model::audit::{Actor, Kind};
use crate::model::{Identifier, Time};
use crate::records::audit::{self as rows, Event, Fields};
use crate::records::{Conn, RecordsError};
use crate::repo::anchor;
use crate::vault::ProofKey;

pub use accesses::{AccessLine, AccessReport};
pub use checkpoint::{AuditCheckpoint, NoCheckpoint};
pub(crate) use coverage::Coverage;
pub use list::{AuditFilter, AuditLine};
pub use verify::{AuditFault, AuditVerification, FaultKind, Kept};
pub(crate) use witness::RECEIPT_NAMESPACE;
pub use witness::{NoWitness, TrailWitness};
pub(crate) use writer::{AuditWriter, Note};

/// Who did something, and to what.
pub(crate) struct Subject<'a> {
    pub(crate) actor: &'a Actor,
    pub(crate) ticket: Option<&'a Identifier>,
    pub(crate) id: Option<[u8; 16]>,
}

/// Appends an event inside the transaction that it tells of.
pub(crate) async fn write(
    conn: &mut Conn,
    kind: Kind,
    subject: Subject<'_>,
    detail: &Value,
) -> Result<(), RecordsError> {
    let detail = detail.to_string();
    let Subject { actor, ticket, id } = subject;
    let event = Event { at: Time::now(), kind, actor, ticket, subject: id, detail: &detail };
    append(conn, std::iter::once(event)).await
}

/// Appends events in their order. The transaction must be the one writer: then nobody else takes
/// the same numbers.
async fn append<'a>(conn: &mut Conn, events: impl Iterator<Item = Event<'a>>) -> Result<(), RecordsError> {
    let (mut seq, mut link) = rows::tip(conn).await?.unwrap_or((0, [0; 32]));
    let mut linked = Vec::new();
    for event in events {
        seq = seq.checked_add(1).ok_or_else(|| RecordsError::Unreadable {
            table: "audit_event",
            why: "the last number is the highest that there can be".to_owned(),
        })?;
        link = link_of(&event, &link, seq);
        linked.push((seq, event, link));
    }
    rows::append_all(conn, &linked).await
}

/// The link of an event that gets this number behind a row with this link.
pub(crate) fn link_of(event: &Event<'_>, before: &[u8; 32], seq: i64) -> [u8; 32] {
    let link = Link {
        at: event.at.millis(),
        kind: event.kind.as_str(),
        actor: event.actor.as_str(),
        ticket: event.ticket.map_or("", Identifier::as_str),
        subject: event.subject.as_ref().map_or(&[], |id| &id[..]),
        detail: event.detail,
    };
    link.after(before, seq)
}

/// The entry with this number, if it is what tacdrop wrote behind the one before it: its link and its
/// seal hold. Nothing is said of those before that one.
///
/// # Errors
/// If the records fail.
pub(crate) async fn sealed_entry(conn: &mut Conn, trail: &ProofKey, seq: i64) -> Result<Option<Fields>, RecordsError> {
    let from = seq.saturating_sub(1).max(1);
    let (mut before, mut entry) = ((seq == 1).then_some([0; 32]), None);
    for row in rows::page(conn, rows::Filter::default(), from, 2).await? {
        match row.fields {
            Ok(fields) if row.seq == seq => entry = Some(fields),
            Ok(fields) if row.seq.checked_add(1) == Some(seq) => before = Some(fields.chain),
            _ => {}
        }
    }
    let holds = |fields: &Fields| {
        let link = before.map(|before| Link::from(fields).after(&before, seq));
        link == Some(fields.chain)
            && fields.seal.as_ref().is_some_and(|seal| anchor::is_sealed(trail, &fields.chain, seal))
    };
    Ok(entry.filter(holds))
}

/// The link of a row that somebody made up.
#[cfg(test)]
pub(crate) fn forged_link(before: &[u8; 32], seq: i64, at: i64, kind: &str, actor: &str, detail: &str) -> [u8; 32] {
    Link { at, kind, actor, ticket: "", subject: &[], detail }.after(before, seq)
}

/// What a row's link is made of, beside its number and the link before it.
pub(crate) struct Link<'a> {
    pub(crate) at: i64,
    pub(crate) kind: &'a str,
    pub(crate) actor: &'a str,
    pub(crate) ticket: &'a str,
    pub(crate) subject: &'a [u8],
    pub(crate) detail: &'a str,
}

impl<'a> From<&'a Fields> for Link<'a> {
    fn from(row: &'a Fields) -> Self {
        Self {
            at: row.at,
            kind: &row.kind,
            actor: &row.actor,
            ticket: row.ticket.as_deref().unwrap_or_default(),
            subject: row.subject.as_ref().map_or(&[], |id| &id[..]),
            detail: &row.detail,
        }
    }
}

impl Link<'_> {
    /// SHA-256 over the link before it and the fields, each with its length in front.
    pub(crate) fn after(&self, before: &[u8; 32], seq: i64) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(before);
        let fields: [&[u8]; 7] = [
            &seq.to_be_bytes(),
            &self.at.to_be_bytes(),
            self.kind.as_bytes(),
            self.actor.as_bytes(),
            self.ticket.as_bytes(),
            self.subject,
            self.detail.as_bytes(),
        ];
        for field in fields {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        hash.finalize().into()
    }
}
