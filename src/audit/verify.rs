//! Whether the trail is what was written. Reads it from front to back, page by page, and names the
//! first entry that is not.
//!
//! Nothing that is read is trusted. The chain shows a change in the middle to whoever knows its
//! end; that is what checkpoints are for: whoever rewrites the chain from some entry on cannot
//! sign.

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;

use serde::Serialize;

use super::rows::{self, CheckpointRow, Fields, Filter, Stored};
use super::{AuditCheckpoint, Link, checkpoint};
use crate::records::{Conn, Keyring, RecordsError};
use crate::vault::PublicKey;

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
    /// A checkpoint is not what was signed. The entries up to it may be right.
    Checkpoint,
}

/// The first thing that is wrong with a trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditFault {
    /// The first entry that is wrong, or may be.
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
    /// The last entry that a checkpoint speaks of: what comes behind it is not signed yet.
    pub signed: i64,
    /// The first thing that is wrong.
    pub fault: Option<AuditFault>,
}

/// Where checkpoints are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    Records,
    Keyring,
    Kept,
}

impl Copy {
    const fn place(self) -> &'static str {
        match self {
            Self::Records => "the records",
            Self::Keyring => "the keyring",
            Self::Kept => "the file",
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
                Copy::Kept => Vec::new(),
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

/// Reads the trail, which may grow meanwhile.
pub(super) async fn walk(
    conn: &mut Conn,
    keyring: &Keyring,
    key: &PublicKey,
    kept: Option<&AuditCheckpoint>,
) -> Result<AuditVerification, RecordsError> {
    let mut outcome = AuditVerification { entries: 0, checkpoints: 0, signed: 0, fault: None };
    if let Some(kept) = kept.filter(|kept| kept.key() != key) {
        let why = "it was not signed by the key of this data directory".to_owned();
        outcome.fault = Some(AuditFault { seq: kept.seq(), to: kept.seq(), what: FaultKind::Checkpoint, why });
        return Ok(outcome);
    }
    let all = |copy, last: Option<i64>| {
        let last = last.unwrap_or(0);
        Marks { copy, page: VecDeque::new(), next: Some(i64::MIN), last }
    };
    let kept = kept.map(|kept| Marks {
        copy: Copy::Kept,
        page: VecDeque::from([(kept.seq(), Ok(*kept.row()))]),
        next: None,
        last: kept.seq(),
    });
    let mut marks = vec![
        all(Copy::Records, rows::last_checkpoint(conn).await?),
        all(Copy::Keyring, keyring.last_audit_checkpoint().await?),
    ];
    marks.extend(kept);
    let mut walk = Walk {
        outcome,
        key,
        marks,
        rows: Rows { page: VecDeque::new(), next: Some(i64::MIN) },
        before: [0; 32],
        before_that: [0; 32],
    };
    walk.outcome.fault = walk.first_fault(conn, keyring).await?;
    Ok(walk.outcome)
}

struct Walk<'a> {
    outcome: AuditVerification,
    key: &'a PublicKey,
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
            if let Some(fault) = self.compare(conn, keyring, seq..=seq, Some(&link)).await? {
                return Ok(Some(fault));
            }
            self.before_that = std::mem::replace(&mut self.before, link);
            self.outcome.entries = seq;
        }
        self.compare(conn, keyring, self.outcome.entries.saturating_add(1)..=i64::MAX, None).await
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
        while let Some((copy, seq, mark)) = self.next_mark(conn, keyring, &entries).await? {
            let place = copy.place();
            let signed = mark.and_then(|mark| match checkpoint::check(&mark, self.key) {
                Ok(()) => Ok(mark.link),
                Err(_) => Err("its signature is wrong".to_owned()),
            });
            let (first, what, why) = match (signed, link) {
                (Ok(signed), Some(link)) if signed == *link => {
                    self.outcome.checkpoints += 1;
                    self.outcome.signed = seq;
                    continue;
                }
                (Err(why), _) => (seq, FaultKind::Checkpoint, format!("changed in {place}: {why}")),
                (Ok(_), None) => {
                    let why = format!("missing: cut off, or rolled back; a checkpoint in {place} knows better");
                    (self.outcome.entries.saturating_add(1), FaultKind::Missing, why)
                }
                (Ok(_), Some(_)) if self.is_put_in(conn, seq).await? => return Ok(Some(put_in(seq))),
                (Ok(_), Some(_)) => {
                    let why = format!("rewritten, and the chain made to fit; a checkpoint in {place} knows better");
                    (self.outcome.signed.saturating_add(1), FaultKind::Rewritten, why)
                }
            };
            return Ok(Some(AuditFault { seq: first, to: seq, what, why }));
        }
        Ok(None)
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

fn put_in(seq: i64) -> AuditFault {
    let why = "put in: the one behind it was written with this number".to_owned();
    AuditFault { seq, to: seq, what: FaultKind::Inserted, why }
}
