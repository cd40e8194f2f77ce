//! Whether the trail is what was written. Reads it from front to back, page by page, and names the
//! first entry that is not.
//!
//! Nothing that is read is trusted. The chain shows a change in the middle to whoever knows its
//! end; that is what checkpoints are for: whoever rewrites the chain from some entry on cannot
//! sign. Seals show it of each entry, and the anchor in the keyring shows what was cut off.

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::Value;

use super::checkpoint::TrailKeys;
use super::rows::{self, CheckpointRow, Fields, Filter, Stored};
use super::{AuditCheckpoint, Kind, Link, TrailWitness};
use crate::model::Time;
use crate::records::{Conn, Keyring, RecordsError};
use crate::repo::Error;
use crate::repo::anchor::{self, Anchor, Found};
use crate::repo::keys::KeyManager;
use crate::vault::PublicKey;
use crate::vault::sign::SIGNATURE;

/// Rows that are read at once.
const PAGE: u32 = 1000;

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// It is not what was written, or what stood before it is not.
    Edited,
    /// It was deleted or cut off.
    Missing,
    /// It was put in later.
    Inserted,
    /// It holds what tacdrop never writes.
    Unreadable,
    /// It, or one of those up to the last one named, was changed and the chain made to fit; a
    /// checkpoint knows better.
    Rewritten,
    /// A checkpoint is not what was signed, or one of its two copies is gone. The entries up to it
    /// may be right.
    Checkpoint,
    /// It fits into the chain, and its seal is missing or wrong: somebody without the house's key
    /// wrote it, or wrote something ahead of it anew.
    Unsealed,
    /// The server that it tells of had another key for checkpoints than the house has.
    Key,
    /// What the keyring keeps of the trail is gone or replaced, or checkpoints are; of no entry.
    Lost,
}

/// The first thing that is wrong with a trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditFault {
    /// The first entry that is wrong, or may be; 0 if it is about no entry.
    pub seq: i64,
    /// The last one that this is about; the same as `seq` for one entry.
    pub to: i64,
    /// What is wrong.
    pub what: FaultKind,
    /// The same as a sentence.
    pub why: String,
}

impl fmt::Display for AuditFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.what, self.seq == self.to) {
            (FaultKind::Lost, _) => f.write_str(&self.why),
            (FaultKind::Checkpoint, _) => write!(f, "the checkpoint of entry {}: {}", self.seq, self.why),
            (_, true) => write!(f, "entry {}: {}", self.seq, self.why),
            (_, false) => write!(f, "entries {} to {}: {}", self.seq, self.to, self.why),
        }
    }
}

/// What came of reading a trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditVerification {
    /// Entries that are what was written, from the first one on.
    pub entries: i64,
    /// Checkpoints that were compared, those of records and keyring counted apart.
    pub checkpoints: u64,
    /// The last of these entries that a checkpoint speaks of: what comes behind it is not signed
    /// yet.
    pub signed: i64,
    /// How many of these entries have their seal; those of before there were seals have none.
    pub sealed: i64,
    /// The first thing that is wrong.
    pub fault: Option<AuditFault>,
}

/// Where checkpoints are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    Records,
    Keyring,
    Kept,
    Receipt,
    /// What the keyring keeps sealed; no signature belongs to it.
    Anchor,
}

impl Copy {
    const fn place(self) -> &'static str {
        match self {
            Self::Records => "the records",
            Self::Keyring | Self::Anchor => "the keyring",
            Self::Kept => "the file",
            Self::Receipt => "a receipt",
        }
    }

    /// Who knows better than the trail.
    const fn knows(self) -> &'static str {
        match self {
            Self::Records => "a checkpoint in the records",
            Self::Keyring => "a checkpoint in the keyring",
            Self::Kept => "the checkpoint in the file",
            Self::Receipt => "a receipt",
            Self::Anchor => "the keyring",
        }
    }
}

/// Checkpoints of one copy, in their order.
struct Marks {
    copy: Copy,
    page: VecDeque<(i64, Result<CheckpointRow, String>)>,
    next: Option<i64>,
    /// What is signed while this runs is not looked at: its entries may have come after the last
    /// page was read.
    last: i64,
}

impl Marks {
    async fn first(&mut self, conn: &mut Conn, keyring: &Keyring) -> Result<Option<i64>, RecordsError> {
        if let (true, Some(next)) = (self.page.is_empty(), self.next) {
            let page = match self.copy {
                Copy::Records => rows::checkpoints(conn, next, PAGE).await?,
                Copy::Keyring => keyring.audit_checkpoints(next, PAGE).await?,
                Copy::Kept | Copy::Receipt | Copy::Anchor => Vec::new(),
            };
            self.next = page.last().and_then(|(seq, _)| seq.checked_add(1));
            self.page.extend(page.into_iter().filter(|(seq, _)| *seq <= self.last));
        }
        Ok(self.page.front().map(|(seq, _)| *seq))
    }
}

/// Rows in their order, with a look at the next one.
struct Rows {
    page: VecDeque<Stored>,
    next: Option<i64>,
}

impl Rows {
    async fn peek(&mut self, conn: &mut Conn) -> Result<Option<&Stored>, RecordsError> {
        if let (true, Some(next)) = (self.page.is_empty(), self.next) {
            let page = rows::page(conn, Filter::default(), next, PAGE).await?;
            self.next = page.last().and_then(|row| row.seq.checked_add(1));
            self.page = page.into();
        }
        Ok(self.page.front())
    }

    async fn pop(&mut self, conn: &mut Conn) -> Result<Option<Stored>, RecordsError> {
        self.peek(conn).await?;
        Ok(self.page.pop_front())
    }
}

/// What was kept elsewhere of the trail.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kept<'a> {
    /// A checkpoint.
    pub checkpoint: Option<&'a AuditCheckpoint>,
    /// What receipts say of it.
    pub receipts: &'a [TrailWitness],
}

/// Reads the trail, which may grow meanwhile.
pub(super) async fn walk(
    conn: &mut Conn,
    keys: &KeyManager,
    key: &PublicKey,
    kept: Kept<'_>,
) -> Result<AuditVerification, Error> {
    let signers = TrailKeys { in_force: *key, past: keys.past_audit() };
    let mut outcome = AuditVerification { entries: 0, checkpoints: 0, signed: 0, sealed: 0, fault: None };
    if let Some(kept) = kept.checkpoint.filter(|kept| !signers.know(kept.key())) {
        let why = "it was not signed by the key of this data directory".to_owned();
        outcome.fault = Some(AuditFault { seq: kept.seq(), to: kept.seq(), what: FaultKind::Checkpoint, why });
        return Ok(outcome);
    }
    let (anchor, in_keyring) = anchor::look(keys).await?;
    let anchor = match anchor {
        Found::There(anchor) if anchor.key == *key.as_bytes() => anchor,
        other => {
            outcome.fault = Some(lost(match other {
                Found::There(_) => "the key that signs checkpoints is not the one that the keyring names beside it",
                Found::Missing => "what the keyring keeps of the trail was deleted from it",
                Found::Unreadable => "what the keyring keeps of the trail is not what was sealed",
            }));
            return Ok(outcome);
        }
    };
    let all = |copy, last| Marks { copy, page: VecDeque::new(), next: Some(i64::MIN), last };
    let given = |copy, rows: VecDeque<CheckpointRow>| {
        let last = rows.back().map_or(0, |row| row.seq);
        Marks { copy, page: rows.into_iter().map(|row| (row.seq, Ok(row))).collect(), next: None, last }
    };
    let unsigned = |seq, link| CheckpointRow { seq, at: Time::from_millis(0), link, signature: [0; SIGNATURE] };
    let mut receipts: Vec<_> = kept.receipts.iter().map(|one| unsigned(one.seq, one.link)).collect();
    receipts.sort_by_key(|row| row.seq);
    let held = (anchor.seq > 0).then(|| unsigned(anchor.seq, anchor.link));
    // The records first: what is signed meanwhile comes into the keyring before it comes into them.
    let keyring = keys.keyring();
    let last_in_records = rows::last_checkpoint(conn).await?.unwrap_or(0);
    let last_in_keyring = keyring.last_audit_checkpoint().await?.unwrap_or(0);
    let marks = vec![
        all(Copy::Records, last_in_records),
        all(Copy::Keyring, last_in_keyring),
        given(Copy::Kept, kept.checkpoint.map(|kept| *kept.row()).into_iter().collect()),
        given(Copy::Receipt, receipts.into()),
        given(Copy::Anchor, held.into_iter().collect()),
    ];
    let mut walk = Walk {
        outcome,
        signers,
        keys,
        anchor,
        last_in_keyring,
        marks,
        rows: Rows { page: VecDeque::new(), next: Some(i64::MIN) },
        before: [0; 32],
        before_that: [0; 32],
    };
    let mut fault = walk.first_fault(conn, keyring).await?;
    if fault.is_none() && in_keyring != anchor.checkpoints {
        let (are, were) = (in_keyring, anchor.checkpoints);
        fault = Some(lost(&format!("the keyring has {are} checkpoints of the trail, and {were} were written")));
    }
    let mut outcome = walk.outcome;
    if let Some(fault) = fault.as_ref().filter(|fault| fault.what != FaultKind::Lost) {
        // What stands behind a fault is not called good.
        outcome.entries = outcome.entries.min(fault.seq.saturating_sub(1)).max(0);
        outcome.signed = outcome.signed.min(outcome.entries);
        outcome.sealed = outcome.sealed.min(outcome.entries);
    }
    outcome.fault = fault;
    Ok(outcome)
}

struct Walk<'a> {
    outcome: AuditVerification,
    signers: TrailKeys<'a>,
    keys: &'a KeyManager,
    anchor: Anchor,
    /// The last checkpoint of the keyring when the walk began.
    last_in_keyring: i64,
    marks: Vec<Marks>,
    rows: Rows,
    /// The link of the last entry that was right, and of the one before it.
    before: [u8; 32],
    before_that: [u8; 32],
}

impl Walk<'_> {
    async fn first_fault(&mut self, conn: &mut Conn, keyring: &Keyring) -> Result<Option<AuditFault>, RecordsError> {
        let fault = |seq, to, what, why: &str| Ok(Some(AuditFault { seq, to, what, why: why.to_owned() }));
        // A checkpoint of what cannot be.
        if let Some(fault) = self.compare(conn, keyring, i64::MIN..=0, None).await? {
            return Ok(Some(fault));
        }
        while let Some(row) = self.rows.pop(conn).await? {
            let seq = self.outcome.entries.saturating_add(1);
            if row.seq < 1 {
                return fault(row.seq, row.seq, FaultKind::Inserted, "it was put in: numbers begin at 1");
            }
            if row.seq != seq {
                let why = "missing: deleted, or cut off and continued elsewhere";
                return fault(seq, row.seq.saturating_sub(1), FaultKind::Missing, why);
            }
            let fields = match row.fields {
                Ok(fields) => fields,
                Err(why) => {
                    let why = format!("edited: {why}, which tacdrop never writes");
                    return fault(seq, seq, FaultKind::Unreadable, &why);
                }
            };
            let link = Link::from(&fields).after(&self.before, seq);
            if link != fields.chain {
                return Ok(Some(self.diagnose(conn, seq, &fields).await?));
            }
            if let Some(why) = self.seal_fault(seq, &link, &fields) {
                if self.is_put_in(conn, seq).await? {
                    return Ok(Some(put_in(seq)));
                }
                return fault(seq, seq, FaultKind::Unsealed, why);
            }
            if let Some(fault) = self.compare(conn, keyring, seq..=seq, Some(&link)).await? {
                return Ok(Some(fault));
            }
            if self.names_another_key(&fields) {
                let why = "the server that began to work here had another key for checkpoints than the house has";
                return fault(seq, seq, FaultKind::Key, why);
            }
            self.before_that = std::mem::replace(&mut self.before, link);
            self.outcome.entries = seq;
            self.outcome.sealed += i64::from(fields.seal.is_some());
        }
        self.compare(conn, keyring, self.outcome.entries.saturating_add(1)..=i64::MAX, None).await
    }

    /// What is wrong with the seal of an entry that fits into the chain.
    fn seal_fault(&self, seq: i64, link: &[u8; 32], fields: &Fields) -> Option<&'static str> {
        match &fields.seal {
            Some(seal) if anchor::is_sealed(self.keys.trail(), link, seal) => None,
            Some(_) => Some("not written by tacdrop, or behind something that was not: its seal is wrong"),
            // From before there were seals: the chain and the anchor hold it fast.
            None if seq < self.anchor.sealed_from => None,
            None => Some("not written by tacdrop: it has no seal"),
        }
    }

    /// Whether the entry tells of a server with another key for checkpoints.
    fn names_another_key(&self, fields: &Fields) -> bool {
        fields.kind == Kind::ServerStarted.as_str()
            && serde_json::from_str::<Value>(&fields.detail)
                .is_ok_and(|detail| detail.get("key").is_some_and(|key| !self.signers.know_text(key)))
    }

    /// Compares the checkpoints of these entries with the link that the entry has; without one
    /// there is no such entry.
    async fn compare(
        &mut self,
        conn: &mut Conn,
        keyring: &Keyring,
        entries: RangeInclusive<i64>,
        link: Option<&[u8; 32]>,
    ) -> Result<Option<AuditFault>, RecordsError> {
        let (mut in_records, mut in_keyring) = (false, false);
        while let Some((copy, seq, mark)) = self.next_mark(conn, keyring, &entries).await? {
            let place = copy.place();
            in_records |= copy == Copy::Records;
            in_keyring |= copy == Copy::Keyring;
            let is_signed = !matches!(copy, Copy::Receipt | Copy::Anchor);
            let signed = mark.and_then(|mark| match self.signers.signed(&mark) {
                false if is_signed => Err("its signature is wrong".to_owned()),
                _ => Ok(mark.link),
            });
            let (first, what, why) = match (signed, link) {
                (Ok(signed), Some(link)) if signed == *link => {
                    if is_signed {
                        self.outcome.checkpoints += 1;
                        self.outcome.signed = seq;
                    }
                    continue;
                }
                (Err(why), _) => (seq, FaultKind::Checkpoint, format!("changed in {place}: {why}")),
                (Ok(_), None) => {
                    let why = format!("missing: cut off, or rolled back; {} knows better", copy.knows());
                    (self.outcome.entries.saturating_add(1), FaultKind::Missing, why)
                }
                (Ok(_), Some(_)) if self.is_put_in(conn, seq).await? => return Ok(Some(put_in(seq))),
                (Ok(_), Some(_)) => {
                    let why = format!("rewritten, and the chain made to fit; {} knows better", copy.knows());
                    (self.outcome.signed.saturating_add(1), FaultKind::Rewritten, why)
                }
            };
            return Ok(Some(AuditFault { seq: first, to: seq, what, why }));
        }
        let seq = *entries.start();
        // A crash leaves the newest one out of the records. Those of before there were seals may
        // have been left out, too, and then others came.
        let may_differ = seq < self.anchor.sealed_from || (in_keyring && seq == self.last_in_keyring);
        if in_records == in_keyring || may_differ {
            return Ok(None);
        }
        let place = if in_records { Copy::Keyring } else { Copy::Records }.place();
        let why = format!("it was deleted from {place}");
        Ok(Some(AuditFault { seq, to: seq, what: FaultKind::Checkpoint, why }))
    }

    async fn next_mark(
        &mut self,
        conn: &mut Conn,
        keyring: &Keyring,
        entries: &RangeInclusive<i64>,
    ) -> Result<Option<(Copy, i64, Result<CheckpointRow, String>)>, RecordsError> {
        for marks in &mut self.marks {
            if marks.first(conn, keyring).await?.is_some_and(|seq| entries.contains(&seq))
                && let Some((seq, mark)) = marks.page.pop_front()
            {
                return Ok(Some((marks.copy, seq, mark)));
            }
        }
        Ok(None)
    }

    /// What is wrong with an entry whose link does not fit.
    async fn diagnose(&mut self, conn: &mut Conn, seq: i64, fields: &Fields) -> Result<AuditFault, RecordsError> {
        if self.is_put_in(conn, seq).await? {
            return Ok(put_in(seq));
        }
        // It fits where it stood before something was put in ahead of it, with a link that fits,
        // too.
        if seq > 1 && Link::from(fields).after(&self.before_that, seq - 1) == fields.chain {
            return Ok(put_in(seq - 1));
        }
        let why = "edited: it is not what was written behind the entry before it".to_owned();
        Ok(AuditFault { seq, to: seq, what: FaultKind::Edited, why })
    }

    /// Whether the entry behind this one was written with this number.
    async fn is_put_in(&mut self, conn: &mut Conn, seq: i64) -> Result<bool, RecordsError> {
        let before = self.before;
        let next = self.rows.peek(conn).await?.and_then(|row| row.fields.as_ref().ok());
        Ok(next.is_some_and(|next| Link::from(next).after(&before, seq) == next.chain))
    }
}

fn lost(why: &str) -> AuditFault {
    AuditFault { seq: 0, to: 0, what: FaultKind::Lost, why: why.to_owned() }
}

fn put_in(seq: i64) -> AuditFault {
    let why = "put in: the one behind it was written with this number".to_owned();
    AuditFault { seq, to: seq, what: FaultKind::Inserted, why }
}
