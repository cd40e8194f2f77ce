//! Whether what is stored is what was sealed: every version is read from front to back.

use serde::Serialize;

use super::Integrity;
use crate::content::whole::read_all;
use crate::model::{Identifier, ShareId, VersionState};
use crate::namespace::tree::path_of;
use crate::records::{Keyring, Records, entries, tickets, versions};
use crate::repo::Error;
use crate::repo::tickets::existing_ticket;

/// What verifying an artifact showed.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// The ticket.
    pub ticket: String,
    /// Where the artifact lies in the share.
    pub path: String,
    /// Its version.
    pub version: u64,
    /// Bytes.
    pub size: u64,
    /// Whether every byte is what was sealed and the SHA-256 is right.
    pub intact: bool,
    /// What is wrong with it.
    pub problem: Option<String>,
}

impl Integrity {
    /// Verifies every version that can be read, of one ticket or of all, and tells `report` of
    /// each. What is not intact is marked as damaged.
    ///
    /// # Errors
    /// If there is no such ticket, or the records fail. A damaged artifact is no error here; it is
    /// reported.
    pub async fn verify(
        &self,
        only: Option<&Identifier>,
        mut report: impl FnMut(&Verification),
    ) -> Result<Vec<Verification>, Error> {
        let mut conn = self.repo.records.read().await?;
        let tickets = match only {
            Some(reference) => vec![existing_ticket(&mut conn, reference).await?],
            None => tickets::all(&mut conn).await?,
        };
        drop(conn);
        let mut verifications = Vec::new();
        for ticket in tickets {
            let keys = self.repo.keys.share(ticket.share).await?;
            let mut conn = self.repo.records.read().await?;
            let mut versions = Vec::new();
            let (rows, unreadable) = versions::list_and_rest(&mut conn, ticket.share).await?;
            for id in unreadable {
                let problem = "its row in the records cannot be read; restore it from a backup".to_owned();
                let verification = Verification {
                    ticket: ticket.reference.to_string(),
                    path: format!("version {id}"),
                    version: 0,
                    size: 0,
                    intact: false,
                    problem: Some(problem),
                };
                report(&verification);
                verifications.push(verification);
            }
            for version in rows {
                use VersionState::{Available, Damaged, Withdrawn};
                if matches!(version.state, Available | Withdrawn | Damaged) {
                    let base = entries::by_id(&mut conn, version.artifact.as_bytes()).await?;
                    let path = path_of(&mut conn, &keys, version.artifact.as_bytes()).await;
                    versions.push((version, base.map_or(0, |row| row.number_base), path));
                }
            }
            drop(conn);
            for (version, base, path) in versions {
                let outcome = read_all(&self.repo, &keys, &version, &ticket.reference, |_| Ok(())).await;
                let verification = Verification {
                    ticket: ticket.reference.to_string(),
                    path: path.map_or_else(|_| format!("artifact {}", version.artifact), |path| path.to_string()),
                    version: base + version.number,
                    size: version.length,
                    intact: outcome.is_ok(),
                    problem: outcome.err().map(|error| error.to_string()),
                };
                report(&verification);
                verifications.push(verification);
            }
        }
        Ok(verifications)
    }

    /// Verifies every version that can be read, but those of shares that were shredded.
    pub(crate) async fn verify_readable(
        &self,
        mut report: impl FnMut(&Verification),
    ) -> Result<Vec<Verification>, Error> {
        let lost = without_key(&self.repo.records, self.repo.keys.keyring()).await?;
        let tickets = tickets::all(&mut *self.repo.records.read().await?).await?;
        let mut all = Vec::new();
        for ticket in tickets.into_iter().filter(|ticket| !lost.contains(&ticket.share)) {
            all.extend(self.verify(Some(&ticket.reference), &mut report).await?);
        }
        Ok(all)
    }
}

/// Shares of the records whose keys in force the keyring does not have.
pub(crate) async fn without_key(records: &Records, keyring: &Keyring) -> Result<Vec<ShareId>, Error> {
    let there = keyring.share_generations().await?;
    let shares = tickets::shares(&mut *records.read().await?).await?;
    let is_lost = |count: &&tickets::ShareCount| there.binary_search(&(count.share, count.in_force)).is_err();
    Ok(shares.iter().filter(is_lost).map(|count| count.share).collect())
}
