//! The audit trail: what happened, chained so that a changed, removed or inserted row shows.
//!
//! A row's link is SHA-256 over the link before it and the row's own fields, each with its length in front.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::{Time, Word};
use crate::records::audit::{self, Event};
use crate::records::{Conn, RecordsError};

/// Who an event is about.
pub(crate) struct Subject<'a> {
    pub(crate) actor: &'a str,
    pub(crate) ticket: Option<&'a Word>,
    pub(crate) id: Option<[u8; 16]>,
}

/// Appends an event inside the transaction that it tells of.
pub(crate) async fn write(
    conn: &mut Conn,
    kind: &'static str,
    subject: Subject<'_>,
    detail: &Value,
) -> Result<(), RecordsError> {
    let (last, before) = audit::tip(conn).await?.unwrap_or((0, [0; 32]));
    let seq = last + 1;
    let event =
        Event { at: Time::now(), kind, actor: subject.actor, ticket: subject.ticket, subject: subject.id, detail };
    audit::append(conn, seq, &event, &link(&before, seq, &event)).await
}

fn link(before: &[u8; 32], seq: i64, event: &Event<'_>) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(before);
    let detail = event.detail.to_string();
    let fields: [&[u8]; 7] = [
        &seq.to_be_bytes(),
        &event.at.millis().to_be_bytes(),
        event.kind.as_bytes(),
        event.actor.as_bytes(),
        event.ticket.map_or(&[], |ticket| ticket.as_str().as_bytes()),
        event.subject.as_ref().map_or(&[], |id| &id[..]),
        detail.as_bytes(),
    ];
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}
