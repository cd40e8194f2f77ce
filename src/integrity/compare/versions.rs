//! The versions of a ticket against the trail.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::{Compared, PAGE};
use crate::audit::{Kind, told};
use crate::model::{Identifier, ShareId, Transport, VersionId, VersionState};
use crate::records::Conn;
use crate::records::audit::Fields;
use crate::records::compare::{self, FileSide, Found, TicketSide, VersionSide};
use crate::repo::{Error, Repo};

type Id = [u8; 16];

/// What the trail says of a version's content.
enum Content {
    /// Entries of before there were keyed digests.
    Plain([u8; 32]),
    Keyed([u8; 32]),
}

/// What `artifact.available` tells.
struct Published {
    seq: i64,
    /// The entry that tells of its manifest: the same, or that the manifest was sealed again.
    tells: i64,
    artifact: Option<Id>,
    bytes: Option<u64>,
    content: Option<Content>,
    manifest: Option<[u8; 32]>,
    /// These two are not in entries of before they were told.
    number: Option<u64>,
    received: Option<i64>,
    /// None if it is the ticket.
    actor: Option<String>,
    weak: bool,
}

impl Published {
    /// What entry number `seq` tells of a version in its `detail`, but for who sent it.
    fn of(seq: i64, detail: &Value) -> Self {
        let keyed = bytes(detail, "digest").map(Content::Keyed);
        Self {
            seq,
            tells: seq,
            artifact: bytes(detail, "artifact"),
            bytes: detail.get("bytes").and_then(Value::as_u64),
            content: keyed.or_else(|| bytes(detail, "sha256").map(Content::Plain)),
            manifest: bytes(detail, "manifest"),
            number: detail.get("number").and_then(Value::as_u64),
            received: detail.get("received").and_then(Value::as_i64),
            actor: None,
            weak: detail.get("transport").and_then(Value::as_str) == Some(Transport::Legacy.as_str()),
        }
    }
}

/// What the trail tells of a version.
#[derive(Default)]
struct Told {
    published: Option<Published>,
    /// Who opened it for writing, if not the ticket: another engineer may have closed it.
    openers: Vec<String>,
    damaged: bool,
    /// Whether it was shredded or given up, and which of it.
    gone: Option<&'static str>,
}

/// What the trail tells of a ticket's versions and files.
#[derive(Default)]
struct Trail {
    versions: HashMap<Id, Told>,
    withdrawn: BTreeSet<Id>,
    corrected: BTreeSet<Id>,
}

fn bytes<const N: usize>(detail: &Value, name: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(detail.get(name)?.as_str()?, &mut bytes).ok()?;
    Some(bytes)
}

impl Trail {
    fn tell(&mut self, seq: i64, fields: &Fields) {
        let (Ok(kind), Some(subject)) = (fields.kind.parse::<Kind>(), fields.subject) else { return };
        match kind {
            Kind::ArtifactWithdrawn => _ = self.withdrawn.insert(subject),
            Kind::ArtifactRestored => _ = self.withdrawn.remove(&subject),
            Kind::ArtifactCorrected => _ = self.corrected.insert(subject),
            _ => self.tell_of_version(kind, seq, fields, subject),
        }
    }

    fn tell_of_version(&mut self, kind: Kind, seq: i64, fields: &Fields, version: Id) {
        let actor = Some(&fields.actor).filter(|actor| Some(*actor) != fields.ticket.as_ref());
        if kind == Kind::UploadOpened && actor.is_none() {
            return;
        }
        let told = self.versions.entry(version).or_default();
        match kind {
            Kind::UploadOpened => told.openers.extend(actor.cloned()),
            Kind::VersionDamaged => told.damaged = true,
            Kind::VersionShredded => told.gone = Some("shredded"),
            Kind::VersionDiscarded => told.gone = Some("given up"),
            Kind::ArtifactResealed => {
                if let Some(published) = &mut told.published {
                    let detail: Value = serde_json::from_str(&fields.detail).unwrap_or_default();
                    (published.tells, published.manifest) = (seq, bytes(&detail, "manifest"));
                }
            }
            Kind::VersionMoved => {
                let detail: Value = serde_json::from_str(&fields.detail).unwrap_or_default();
                if detail["was"] == VersionState::Shredded.as_str() {
                    told.gone = Some("shredded");
                }
                told.published = Some(Published {
                    // Older versions of a file come ahead of newer ones.
                    actor: detail.get("sender").and_then(Value::as_str).map(str::to_owned),
                    ..Published::of(seq, &detail)
                });
            }
            Kind::ArtifactAvailable => {
                let detail: Value = serde_json::from_str(&fields.detail).unwrap_or_default();
                told.published = Some(Published { actor: actor.cloned(), ..Published::of(seq, &detail) });
            }
            _ => {}
        }
    }
}

struct Rows {
    versions: Vec<Found<VersionSide>>,
    files: Vec<Found<FileSide>>,
    trail: Trail,
}

async fn gather(conn: &mut Conn, ticket: &Identifier, share: ShareId, opened: i64) -> Result<Rows, Error> {
    let (versions, files) = (compare::versions(conn, share).await?, compare::files(conn, share).await?);
    let mut trail = Trail::default();
    let mut from = Some(opened);
    while let Some(first) = from {
        let page = compare::told(conn, Some(ticket), first, PAGE).await?;
        from = page.last().and_then(|row| row.seq.checked_add(1));
        for (seq, fields) in page.iter().filter_map(|row| Some((row.seq, row.fields.as_ref().ok()?))) {
            trail.tell(seq, fields);
        }
    }
    Ok(Rows { versions, files, trail })
}

/// `opened`: the entry of the trail that tells that the ticket was opened. `untold`: a recovery corrected more than it told one by one, so that a version may be damaged or
/// shredded without an entry of its own.
pub(super) async fn compare(
    repo: &Repo,
    ticket: &TicketSide,
    opened: i64,
    untold: bool,
    outcome: &mut Compared,
) -> Result<(), Error> {
    let (reference, share) = (&ticket.reference, ticket.share);
    let rows = gather(&mut *repo.records.read().await?, reference, share, opened).await?;
    let mut first = Compared::default();
    Judge::of(repo, reference, untold, &mut first).judge(rows);
    if first.differences.is_empty() {
        outcome.take(first);
        return Ok(());
    }
    // Something may have changed between the questions. Nobody changes anything while this one has
    // the writer's turn.
    let mut tx = repo.records.begin().await?;
    let rows = gather(tx.conn(), reference, share, opened).await?;
    drop(tx);
    Judge::of(repo, reference, untold, outcome).judge(rows);
    Ok(())
}

struct Judge<'a> {
    repo: &'a Repo,
    ticket: &'a str,
    untold: bool,
    outcome: &'a mut Compared,
}

impl<'a> Judge<'a> {
    fn of(repo: &'a Repo, ticket: &'a Identifier, untold: bool, outcome: &'a mut Compared) -> Self {
        Self { repo, ticket: ticket.as_str(), untold, outcome }
    }

    fn version(&mut self, id: &Id, what: impl Into<String>) {
        self.outcome.add("version", hex::encode(id), Some(self.ticket), what);
    }

    fn judge(mut self, rows: Rows) {
        let Rows { versions, files, mut trail } = rows;
        let mut successors: HashMap<Id, Id> = HashMap::new();
        let mut current: BTreeMap<Id, Option<Id>> = BTreeMap::new();
        for file in files {
            match file {
                Ok(file) => {
                    current.insert(file.id, file.current);
                    if let Some(before) = file.predecessor {
                        successors.insert(before, file.id);
                    }
                }
                Err((id, error)) => {
                    self.outcome.add("artifact", id, Some(self.ticket), format!("cannot be read: {error}"))
                }
            }
        }
        // The entry that stands for a file: the newest of its chain. Damaged rows may go round in a
        // circle.
        let top = |artifact: Id| {
            let (mut at, mut steps) = (artifact, 0);
            while let Some(next) = successors.get(&at).filter(|_| steps <= successors.len()) {
                (at, steps) = (*next, steps + 1);
            }
            at
        };
        let mut newest: BTreeMap<Id, (i64, Id, VersionState)> = BTreeMap::new();
        // Files of which a version was shredded: what came before it may be out of sight again.
        let mut shrunk = BTreeSet::new();
        let mut there = Vec::with_capacity(versions.len());
        for row in versions {
            self.outcome.versions += 1;
            let row = match row {
                Ok(row) => row,
                Err((id, error)) => {
                    self.outcome.add("version", id.clone(), Some(self.ticket), format!("cannot be read: {error}"));
                    // It has a row, after all.
                    let mut bytes = [0; 16];
                    if hex::decode_to_slice(&id, &mut bytes).is_ok() {
                        trail.versions.remove(&bytes);
                    }
                    continue;
                }
            };
            let told = trail.versions.remove(&row.id).unwrap_or_default();
            if told.gone.is_some() {
                shrunk.insert(top(row.artifact));
            }
            if let Some(published) = &told.published {
                let one = (published.seq, row.id, row.state);
                let known = newest.entry(row.artifact).or_insert(one);
                if one.0 > known.0 {
                    *known = one;
                }
            }
            self.compare(&row, &told);
            there.push((row.id, row.artifact, row.state));
        }
        for (id, artifact, state) in there {
            let top = top(artifact);
            let withdrawn = trail.withdrawn.contains(&top);
            match state {
                VersionState::Available if withdrawn => {
                    self.version(&id, "was taken out of sight with its file, and is back although nobody restored it");
                }
                VersionState::Withdrawn if !withdrawn && !shrunk.contains(&top) => {
                    self.version(&id, "is out of sight although nobody withdrew its file");
                }
                _ => {}
            }
        }
        for (id, told) in &trail.versions {
            if told.published.is_some() {
                self.version(id, "became available, as the trail tells, and has no row");
            }
        }
        for (artifact, (_, version, state)) in newest {
            let readable = matches!(state, VersionState::Available | VersionState::Withdrawn);
            let points = current.get(&artifact).copied().flatten();
            let followed = successors.contains_key(&artifact);
            if readable && points != Some(version) && !followed && !trail.corrected.contains(&artifact) {
                let what = format!("does not give its newest version, {}, to readers", hex::encode(version));
                self.outcome.add("artifact", hex::encode(artifact), Some(self.ticket), what);
            }
        }
    }

    /// One version with what the trail tells of it.
    fn compare(&mut self, row: &VersionSide, told: &Told) {
        let was_sealed = matches!(row.state, VersionState::Available | VersionState::Withdrawn | VersionState::Damaged);
        match (row.state, told.gone) {
            (VersionState::Shredded, None) if !self.untold => {
                self.version(&row.id, "is shredded, and the trail does not tell by whom");
            }
            (VersionState::Shredded, _) => return,
            (_, Some(gone)) => self.version(&row.id, format!("was {gone}, and is back as {}", row.state)),
            (_, None) => {}
        }
        let Some(published) = &told.published else {
            if was_sealed {
                self.version(&row.id, format!("is {}, and the trail knows nothing of it", row.state));
            }
            return;
        };
        if !was_sealed {
            if row.state != VersionState::Shredded {
                self.version(&row.id, format!("became available, as the trail tells, and is {}", row.state));
            }
            return;
        }
        if told.damaged && row.state != VersionState::Damaged {
            self.version(&row.id, format!("was found damaged, and is {}", row.state));
        }
        if !told.damaged && row.state == VersionState::Damaged && !self.untold {
            self.version(&row.id, "is marked as damaged, and the trail does not tell by whom");
        }
        self.compare_fields(row, told, published);
    }

    fn compare_fields(&mut self, row: &VersionSide, told: &Told, published: &Published) {
        let mut differs = |what: &str, row_says: &dyn std::fmt::Display, trail_says: &dyn std::fmt::Display| {
            self.outcome.add(
                "version",
                hex::encode(row.id),
                Some(self.ticket),
                format!("has the {what} {row_says}, and the trail says {trail_says}"),
            );
        };
        let id = |bytes: Id| hex::encode(bytes);
        if published.artifact.is_some_and(|known| known != row.artifact) {
            differs("artifact", &id(row.artifact), &published.artifact.map(id).unwrap_or_default());
        }
        if published.bytes.is_some_and(|known| known != row.length) {
            differs("length", &row.length, &published.bytes.unwrap_or_default());
        }
        let content_fits = match (&published.content, &row.sha256) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(Content::Plain(known)), Some(sha256)) => known == sha256,
            (Some(Content::Keyed(known)), Some(sha256)) => {
                *known == told::digest(self.repo.keys.trail(), VersionId::from_bytes(row.id), sha256)
            }
        };
        if !content_fits {
            differs("SHA-256", &row.sha256.map(hex::encode).unwrap_or_default(), &"that it had another one");
        }
        if published.manifest.is_some() && published.manifest != row.manifest {
            let hash = |bytes: Option<[u8; 32]>| bytes.map(hex::encode).unwrap_or_default();
            differs("manifest", &hash(row.manifest), &hash(published.manifest));
        }
        if published.number.is_some_and(|known| known != row.number) {
            differs("number", &row.number, &published.number.unwrap_or_default());
        }
        if published.received.is_some() && published.received != row.received_at {
            let time = |at: Option<i64>| at.map_or_else(String::new, |at| format!("{at} ms"));
            differs("time of arrival", &time(row.received_at), &time(published.received));
        }
        if row.trail_seq.is_some_and(|seq| seq != published.tells) {
            differs("entry of the trail", &row.trail_seq.unwrap_or_default(), &published.tells);
        }
        let sender = published.actor.as_deref().unwrap_or(self.ticket);
        if row.uploaded_by != sender && !told.openers.contains(&row.uploaded_by) {
            differs("sender", &row.uploaded_by, &sender);
        }
        if (row.transport == Transport::Legacy.as_str()) != published.weak {
            let weak = if published.weak { Transport::Legacy } else { Transport::Modern };
            differs("transport", &row.transport, &weak);
        }
    }
}
