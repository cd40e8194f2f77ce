//! Manifests of before they said how a version came are sealed again, in the form of today.
//!
//! What the older form does not hold is taken from the audit trail, which told of the version when
//! it came, and the row must agree with it. Old manifests are read as before until their turn comes.
//! It may be cut anywhere: a version has its old manifest or its new one, and the one that it has
//! not is removed as everything that nobody needs.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Integrity;
use crate::audit::{self, Actor, Kind, Subject};
use crate::content::sealed::open_manifest;
use crate::model::{Identifier, ObjectId, ShareId, Transport, VersionId, VersionState};
use crate::records::audit::{Fields, Filter};
use crate::records::versions::{self, VersionRow};
use crate::records::{Conn, audit as trail, objects};
use crate::repo::Error;
use crate::repo::blocking::blocking;
use crate::repo::keys::ShareKeys;
use crate::vault::{self, Arrival, Level, VaultError};

/// Versions that are sealed again in one transaction.
const AT_ONCE: usize = 128;
/// Versions, and entries of the trail, that are read at once.
const PAGE: u32 = 1000;

/// What came of sealing manifests again.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Resealed {
    /// Versions that have a manifest in the form of today now.
    pub versions: u64,
    /// Versions that keep the one they have: it is damaged, or the trail and the row do not agree.
    pub left: u64,
}

/// A manifest that was sealed again.
struct Fresh {
    object: ObjectId,
    bytes: Vec<u8>,
    /// Whether the records are to hold it, as they held the one before.
    is_in_records: bool,
    arrival: Arrival,
}

impl Integrity {
    /// How many manifests are still to be sealed again.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn to_reseal(&self) -> Result<u64, Error> {
        Ok(versions::count_to_reseal(&mut *self.repo.records.read().await?).await?)
    }

    /// Seals all of them again, until `stop`. `progress` hears how many of how many are done. Once
    /// none of the older form is left, the house has given that form up: what is put back of it does
    /// not open.
    ///
    /// # Errors
    /// If records or store fail; what was done stays done.
    pub async fn reseal(
        &self,
        stop: &CancellationToken,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Resealed, Error> {
        if self.repo.keys.level() >= Level::Resealed {
            return Ok(Resealed::default());
        }
        let (all, mut done) = (self.to_reseal().await?, Resealed::default());
        let shares = versions::shares_to_reseal(&mut *self.repo.records.read().await?).await?;
        for (share, ticket) in shares {
            let mut after = Vec::new();
            loop {
                let mut conn = self.repo.records.read().await?;
                let page = versions::to_reseal(&mut conn, share, &after, PAGE).await?;
                let Some(last) = page.last else { break };
                after = last;
                let mut rows = Vec::with_capacity(page.rows.len());
                for row in page.rows {
                    match row {
                        Ok(row) => rows.push(row),
                        Err((name, error)) => {
                            done.left += 1;
                            tracing::error!(%error, "{name} cannot be read, and its manifest stays as it is");
                        }
                    }
                }
                let told = told(&mut conn, &ticket, &rows).await?;
                drop(conn);
                for rows in rows.chunks(AT_ONCE) {
                    if stop.is_cancelled() {
                        return Ok(done);
                    }
                    let of_these = self.reseal_some(share, &ticket, rows, &told).await?;
                    done.versions += of_these.versions;
                    done.left += of_these.left;
                    progress(done.versions + done.left, all.max(done.versions + done.left));
                }
            }
        }
        if done.left == 0 {
            self.repo.keys.raise_level(Level::Resealed).await?;
        }
        Ok(done)
    }

    /// Some of one ticket, in one transaction.
    async fn reseal_some(
        &self,
        share: ShareId,
        ticket: &Identifier,
        rows: &[VersionRow],
        told: &HashMap<VersionId, Fields>,
    ) -> Result<Resealed, Error> {
        let keys = self.repo.keys.share(share).await?;
        let (mut fresh, mut left) = (Vec::new(), 0);
        for version in rows {
            match self.seal_again(&keys, version, told.get(&version.id)).await {
                Ok(sealed) => fresh.push((version, sealed)),
                // Its keys were replaced, or it was shredded, since it was read.
                Err(Error::KeysReplaced) => {}
                Err(error) if error.is_temporary() => return Err(error),
                Err(error) => {
                    left += 1;
                    let version = version.id;
                    tracing::error!(%version, %ticket, %error, "a manifest cannot be sealed again and stays as it is");
                }
            }
        }
        let (mut tx, mut done) = (self.repo.records.begin().await?, 0);
        for (version, sealed) in &fresh {
            // It may have been shredded meanwhile: then there is nothing to tell.
            let now = versions::by_id(tx.conn(), version.id).await?;
            let Some((_, before)) = version.manifest else { continue };
            if now.is_none_or(|now| now.manifest != version.manifest || now.file_key.is_none()) {
                continue;
            }
            let hash = vault::object_hash(&sealed.bytes);
            let detail = json!({
                "artifact": version.artifact.to_string(),
                "before": hex::encode(before),
                "manifest": hex::encode(hash),
            });
            let subject = Subject { actor: &Actor::Server, ticket: Some(ticket), id: Some(*version.id.as_bytes()) };
            audit::write(tx.conn(), Kind::ArtifactResealed, subject, &detail).await?;
            if sealed.is_in_records {
                objects::put(tx.conn(), &[(sealed.object, &sealed.bytes)]).await?;
            }
            let (manifest, arrival) = ((sealed.object, hash), (&sealed.arrival.sender, sealed.arrival.transport));
            versions::reseal(tx.conn(), version, manifest, arrival, self.repo.clock.now()).await?;
            done += 1;
        }
        self.repo.failpoints.hit("reseal.before-commit");
        tx.commit().await?;
        self.repo.failpoints.hit("reseal.after-commit");
        Ok(Resealed { versions: done, left })
    }

    /// A new manifest of a version. One that is to lie in the store is durable when this returns.
    async fn seal_again(&self, keys: &ShareKeys, version: &VersionRow, told: Option<&Fields>) -> Result<Fresh, Error> {
        let repo = &self.repo;
        if version.state == VersionState::Damaged {
            return Err(VaultError::Malformed { what: "a version that is damaged" }.into());
        }
        let mut conn = repo.records.read().await?;
        let is_in_records = match version.manifest {
            Some((object, _)) => objects::get(&mut conn, object).await?.is_some(),
            None => false,
        };
        let (mut manifest, file_key) = open_manifest(repo, &mut conn, keys, version).await?;
        drop(conn);
        if manifest.arrival.is_some() {
            return Err(VaultError::Tampered {
                what: "the record of a version, which has lost its entry of the trail",
            }
            .into());
        }
        let told = told.ok_or(VaultError::Malformed { what: "a version that the audit trail does not tell of" })?;
        let arrival = arrival(version, told)?;
        manifest.arrival = Some(arrival.clone());
        let object = ObjectId::from_bytes(vault::random::array()?);
        let bytes = manifest.seal(&file_key, object)?;
        if !is_in_records {
            let (store, bytes) = (repo.store.clone(), bytes.clone());
            blocking(&repo.worker_runtime, "the write", move || store.put(object, &bytes)).await?;
            repo.failpoints.hit("reseal.stored");
        }
        Ok(Fresh { object, bytes, is_in_records, arrival })
    }
}

/// What the trail told of these versions when they came.
async fn told(conn: &mut Conn, ticket: &Identifier, rows: &[VersionRow]) -> Result<HashMap<VersionId, Fields>, Error> {
    let wanted: HashMap<[u8; 16], VersionId> = rows.iter().map(|row| (*row.id.as_bytes(), row.id)).collect();
    let filter = Filter { ticket: Some(ticket), kind: Some(Kind::ArtifactAvailable.as_str()) };
    let (mut told, mut from) = (HashMap::new(), 1);
    while told.len() < wanted.len() {
        let page = trail::page(conn, filter, from, PAGE).await?;
        let Some(last) = page.last().map(|entry| entry.seq) else { break };
        from = last.saturating_add(1);
        for fields in page.into_iter().filter_map(|entry| entry.fields.ok()) {
            if let Some(version) = fields.subject.and_then(|subject| wanted.get(&subject)) {
                told.insert(*version, fields);
            }
        }
    }
    Ok(told)
}

/// How a version came, as the trail tells it and its row agrees.
fn arrival(version: &VersionRow, told: &Fields) -> Result<Arrival, VaultError> {
    let detail = serde_json::from_str::<Value>(&told.detail).unwrap_or_default();
    let differs = |what| Err(VaultError::Tampered { what });
    let manifest = version.manifest.map(|(_, hash)| hex::encode(hash));
    if detail["manifest"].as_str() != manifest.as_deref() {
        return differs("the manifest in the record of a version, of which the audit trail tells another");
    }
    let transport = match detail["transport"].as_str() {
        Some("legacy") => Transport::Legacy,
        _ => Transport::Modern,
    };
    if transport != version.transport {
        return differs("the transport in the record of a version, of which the audit trail tells another");
    }
    // Who closed it sent it, whoever began it.
    let sender = told.actor.parse().map_err(|_| VaultError::Malformed { what: "an actor of the audit trail" })?;
    Ok(Arrival { sender, transport, zeros: version.zeros })
}
