//! Replacing the server's own secrets on purpose: the key that hashes tokens, the one that proves
//! rows, and the two that sign. It needs a house that nobody serves: a server has them at hand.

use serde::Serialize;
use serde_json::json;

use super::Rotation;
use crate::audit::{self, Actor, Kind, Subject};
use crate::model::Time;
use crate::records::proofs::Proved;
use crate::records::{contacts, tickets, tokens};
use crate::repo::Error;
use crate::repo::anchor::AUDIT_KEY;
use crate::repo::keys::{PROOF_PURPOSE, RECEIPT_PURPOSE, TOKEN_PURPOSE};
use crate::repo::proofs::{self, Proofs};
use crate::repo::proved_facts::prove_facts_under;
use crate::repo::replacement::Replacement;
use crate::repo::tickets::mark_logins_changed;
use crate::vault::{ProofKey, SigningKey, VaultError};

/// Rows that are named in a sentence at most; the others are counted.
const NAMED: usize = 10;

/// Which secrets are to be replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Secrets {
    /// The key that hashes tokens and passwords: every ticket's token ends, and every contact's
    /// password.
    pub tokens: bool,
    /// The key that proves rows: every row is given its proof anew.
    pub proofs: bool,
    /// The keys that sign receipts and checkpoints of the audit trail.
    pub signing: bool,
}

/// What replacing secrets did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReplacedSecrets {
    /// Tickets whose tokens ended.
    pub tokens_ended: u64,
    /// Contacts whose passwords ended with them.
    pub passwords_ended: u64,
    /// Rows that have a proof under the new key.
    pub rows_proved: u64,
    /// Rows that did not say what tacdrop wrote, each as its table and its name: taken as they
    /// stand where proofs were made anew, else refused as before.
    pub unproved: Vec<String>,
    /// The new key that signs receipts, as OpenSSH writes it.
    pub receipt_key: Option<String>,
    /// The new key that signs checkpoints, in hexadecimal.
    pub audit_key: Option<String>,
}

impl Rotation {
    /// Replaces secrets of the server. Can be killed at any point and is done or not done then, and
    /// can be done again.
    ///
    /// # Errors
    /// Without `sure`, if tokens would end, or rows would be taken as they stand that do not say
    /// what tacdrop wrote: a sentence that says how many and which. If a database fails.
    pub async fn replace_secrets(&self, which: Secrets, sure: bool) -> Result<ReplacedSecrets, Error> {
        let _lock = self.repo.data.lock_for_rotation()?;
        let (keys, records, failpoints) = (&self.repo.keys, &self.repo.records, &self.repo.failpoints);
        let unproved = proofs::unproved(records, &**keys.proofs()).await?;
        if !sure {
            self.ask(which, &unproved).await?;
        }
        let purposes: Vec<&str> = [
            (which.tokens, TOKEN_PURPOSE),
            (which.proofs, PROOF_PURPOSE),
            (which.signing, RECEIPT_PURPOSE),
            (which.signing, AUDIT_KEY),
        ]
        .into_iter()
        .filter_map(|(wanted, purpose)| wanted.then_some(purpose))
        .collect();
        let new = Replacement::of(&purposes)?;
        keys.stage(&new).await?;
        failpoints.hit("replace.staged");

        let mut done = ReplacedSecrets { unproved, ..ReplacedSecrets::default() };
        let mut detail = json!({});
        let mut tx = records.begin_alone().await?;
        let new_proofs = new.secret(PROOF_PURPOSE).map(|key| Proofs::of(ProofKey::from_bytes(key)));
        let prover = new_proofs.as_ref().unwrap_or(keys.proofs());
        if let Some(new) = &new_proofs {
            done.rows_proved = proofs::prove_all(tx.conn(), new).await?;
            prove_facts_under(tx.conn(), keys, new.key()).await?;
            detail["proofs"] = json!(done.rows_proved);
        }
        if which.tokens {
            for ticket in tickets::list(tx.conn()).await? {
                // What is refused has no token that counts.
                if ticket.is_proved(prover) {
                    for token in tokens::of_ticket(tx.conn(), &ticket.reference).await? {
                        if token.ended_at.is_none() && token.is_proved(prover) {
                            tokens::end(tx.conn(), prover, &token, Time::now()).await?;
                        }
                    }
                    tickets::logins_changed(tx.conn(), prover, &ticket.reference).await?;
                    done.tokens_ended += 1;
                }
            }
            // Passwords are hashed by way of the same key.
            for contact in contacts::list(tx.conn()).await? {
                if contact.password.is_some() && contact.is_proved(prover) {
                    contacts::change(tx.conn(), prover, &contact.id, |row| {
                        (row.password, row.password_generation) = (None, row.password_generation + 1);
                    })
                    .await?;
                    done.passwords_ended += 1;
                }
            }
            mark_logins_changed(tx.conn()).await?;
            detail["passwords"] = json!(done.passwords_ended);
            detail["tokens"] = json!(done.tokens_ended);
        }
        for (purpose, name) in [(RECEIPT_PURPOSE, "receipt_key"), (AUDIT_KEY, "audit_key")] {
            let Some(seed) = new.secret(purpose) else { continue };
            let shown = |key: &SigningKey| match purpose {
                RECEIPT_PURPOSE => key.public().ssh_line(),
                _ => hex::encode(key.public().as_bytes()),
            };
            let malformed = |_| VaultError::Malformed { what: "signing key" };
            let before = match keys.secret_if_there(purpose).await? {
                Some(seed) => Some(shown(&SigningKey::from_bytes(seed[..].try_into().map_err(malformed)?))),
                None => None,
            };
            let now = shown(&SigningKey::from_bytes(seed));
            detail[name] = json!({ "before": before, "now": now });
            match purpose {
                RECEIPT_PURPOSE => done.receipt_key = Some(now),
                _ => done.audit_key = Some(now),
            }
        }
        let subject = Subject { actor: &Actor::Operator, ticket: None, id: None };
        audit::write(tx.conn(), Kind::SecretReplaced, subject, &detail).await?;
        new.followed(tx.conn()).await?;
        failpoints.hit("replace.before-commit");
        tx.commit().await?;
        failpoints.hit("replace.after-commit");
        keys.take_over(records).await?;
        failpoints.hit("replace.taken-over");
        Ok(done)
    }

    /// Refuses what somebody should have meant.
    async fn ask(&self, which: Secrets, unproved: &[String]) -> Result<(), Error> {
        if which.proofs && !unproved.is_empty() {
            let named = unproved.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let more = unproved.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            return Err(Error::operator(format!(
                "nothing was done: these rows do not say what tacdrop wrote, or the key that proves them was lost, and they \
                 would be taken as they stand: {named}{more}; look at each of them, and add --yes to do it"
            )));
        }
        if which.tokens {
            let mut conn = self.repo.records.read().await?;
            let count = tickets::list(&mut conn).await?.len();
            let with_password = contacts::list(&mut conn).await?;
            let passwords = match with_password.iter().filter(|contact| contact.password.is_some()).count() {
                0 => String::new(),
                more => format!(", and the passwords of {more} contacts as well ('tacdrop contact password ID')"),
            };
            return Err(Error::operator(format!(
                "nothing was done: the tokens of all tickets ({count}) would end, and each needs a new one ('tacdrop ticket \
                 token REF'){passwords}; add --yes to do it"
            )));
        }
        Ok(())
    }
}
