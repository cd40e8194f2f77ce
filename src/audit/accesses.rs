//! Who had an artifact: what the trail tells of it, also when its rows are long gone.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::rows::{self, Filter};
use super::{AuditWriter, Kind};
use crate::model::{Time, VersionId};
use crate::records::version_chain;
use crate::repo::Error;

/// Entries that are read at once.
const PAGE: u32 = 1000;
/// What is told of content that came or went.
const KINDS: [Kind; 4] = [Kind::ArtifactAvailable, Kind::ArtifactOpened, Kind::ArtifactRead, Kind::ReceiptOpened];

/// Somebody who had an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessLine {
    /// The number of the entry.
    pub seq: i64,
    /// When.
    pub at: Time,
    /// What: `artifact.available` (sent), `artifact.opened`, `artifact.read`, `receipt.opened`.
    pub kind: String,
    /// Who: a login name, or `operator`.
    pub actor: String,
    /// The address that it came from or went to; none of what the command line did.
    pub from: Option<String>,
    /// The ticket that it belonged to.
    pub ticket: Option<String>,
    /// The id of the version.
    pub version: String,
    /// Bytes that were sent, or read.
    pub bytes: Option<u64>,
    /// Whether every byte was read; of `artifact.read` only.
    pub whole: Option<bool>,
}

/// Who had an artifact.
#[derive(Debug, Clone, Serialize)]
pub struct AccessReport {
    /// The ids of its versions that the trail tells of.
    pub versions: Vec<String>,
    /// What was told, oldest first.
    pub lines: Vec<AccessLine>,
}

impl AuditWriter {
    /// Who sent, opened and read an artifact, by its id or by that of one of its versions. Where its
    /// rows are there, its whole history counts.
    ///
    /// # Errors
    /// If the trail tells of no such artifact, an entry cannot be read, or the records fail.
    pub async fn accesses(&self, id: VersionId) -> Result<AccessReport, Error> {
        self.flush(super::aggregate::WINDOW).await?;
        let mut conn = self.repo.records.read().await?;
        let mut artifacts = BTreeSet::from([hex::encode(id.as_bytes())]);
        // An id of a version, or of an artifact that was shredded, has no entry.
        if let Ok(head) = version_chain::head(&mut conn, id.as_bytes()).await {
            let history = version_chain::of_file(&mut conn, &head).await?;
            artifacts.extend(history.iter().map(|row| row.artifact.to_string()));
        }
        let (mut versions, mut lines) = (BTreeSet::new(), Vec::new());
        for kind in KINDS {
            let mut from = Some(1);
            while let Some(first) = from {
                let page =
                    rows::page(&mut conn, Filter { ticket: None, kind: Some(kind.as_str()) }, first, PAGE).await?;
                from = page.last().and_then(|row| row.seq.checked_add(1));
                for row in page {
                    let seq = row.seq;
                    let fields = row.fields.map_err(|why| {
                        Error::operator(format!(
                            "entry {seq} of the audit trail cannot be read ({why}); run 'tacdrop audit verify'"
                        ))
                    })?;
                    let detail: Value = serde_json::from_str(&fields.detail).unwrap_or_default();
                    let text = |name: &str| detail.get(name).and_then(Value::as_str).map(str::to_owned);
                    let version = fields.subject.map(hex::encode).unwrap_or_default();
                    let of_artifact = text("artifact").is_some_and(|artifact| artifacts.contains(&artifact));
                    // What became available comes first: afterwards its versions are known.
                    if !of_artifact && !artifacts.contains(&version) && !versions.contains(&version) {
                        continue;
                    }
                    versions.insert(version.clone());
                    lines.push(AccessLine {
                        seq,
                        at: Time::from_millis(fields.at),
                        kind: fields.kind,
                        actor: fields.actor,
                        from: text("from"),
                        ticket: fields.ticket,
                        version,
                        bytes: detail.get("bytes").and_then(Value::as_u64),
                        whole: detail.get("whole").and_then(Value::as_bool),
                    });
                }
            }
        }
        if lines.is_empty() {
            return Err(Error::operator(format!(
                "the audit trail tells of no artifact or version {}; 'tacdrop artifact list REF --json' shows ids",
                hex::encode(id.as_bytes())
            )));
        }
        lines.sort_by_key(|line| line.seq);
        Ok(AccessReport { versions: versions.into_iter().collect(), lines })
    }
}
