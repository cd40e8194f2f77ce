//! Receipts as programs and people ask for them: who signs them, and that of a file at a path.

use serde::Serialize;

use crate::access::Access;
use crate::content::damage::report_damage;
use crate::content::receipt::{NAMESPACE, Receipt, SignedReceipt, vouch};
use crate::content::sealed::current_version;
use crate::model::{Identifier, Refusal, SharePath};
use crate::namespace::history::number_for_people;
use crate::namespace::tree::way_of;
use crate::namespace::{PublicAddress, tree};
use crate::repo::Error;
use crate::repo::replacement::PastKey;
use crate::repo::signers::{PRINCIPAL, allowed_signers};
use crate::repo::tickets::existing_ticket;
use crate::vault::PublicKey;

/// Who signs receipts.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptKey {
    /// The name that the key stands under.
    pub principal: &'static str,
    /// What its signatures are for.
    pub namespace: &'static str,
    /// The key as OpenSSH writes it.
    pub public_key: String,
    /// The lines of an `allowed_signers` file: this key's, and one for each key before it.
    pub allowed_signers: String,
}

impl ReceiptKey {
    /// The key in force, and those before it. What one of these has signed is checked as of the
    /// time that the receipt states (`ssh-keygen -O verify-time=...`).
    pub(super) fn new(key: &PublicKey, past: &[PastKey]) -> Self {
        let (public_key, allowed_signers) = (key.ssh_line(), allowed_signers(NAMESPACE, key, past));
        Self { principal: PRINCIPAL, namespace: NAMESPACE, public_key, allowed_signers }
    }
}

impl Access {
    /// Who signs this server's receipts.
    pub fn receipt_key(&self) -> ReceiptKey {
        ReceiptKey::new(&self.repo.keys.receipts().public(), self.repo.keys.past_receipts())
    }

    /// The receipt of an artifact's current version.
    ///
    /// # Errors
    /// If there is no such ticket or artifact, nothing of it is available, or the records fail.
    pub async fn receipt(
        &self,
        ticket: &Identifier,
        path: &SharePath,
        address: &PublicAddress,
    ) -> Result<SignedReceipt, Error> {
        let missing = || Error::operator(format!("ticket {ticket} has no artifact {path} with an available version"));
        let mut conn = self.repo.records.read().await?;
        let share = existing_ticket(&mut conn, ticket).await?.share;
        let resolved = match tree::find(&self.repo, &mut conn, ticket, share, path.names(), false).await {
            Err(Error::Refused(Refusal::NoSuchFile | Refusal::NotDirectory)) => return Err(missing()),
            other => other?,
        };
        let row = resolved.entry.as_ref().ok_or_else(missing)?;
        let version = current_version(&self.repo, &mut conn, row).await?.ok_or_else(missing)?;
        let way = way_of(&mut conn, &resolved.context.keys, &row.id).await?;
        let number = number_for_people(&mut conn, row, &version).await?;
        let mut receipt = Receipt::of(ticket, &way, number, &version, address).ok_or_else(missing)?;
        let keys = &resolved.context.keys;
        let vouched = vouch(&self.repo, &mut conn, keys, &version, &mut receipt).await;
        drop(conn);
        if let Err(error) = vouched {
            report_damage(&self.repo, &error, version.id, ticket).await;
            return Err(error);
        }
        let text = receipt.signed(self.repo.keys.receipts());
        Ok(SignedReceipt { receipt, text })
    }
}
