//! Deletion certificates: what the server states of a ticket that was shredded, signed. All of it
//! comes from the deletion log, and is made anew each time; Ed25519 gives the same signature, so a
//! certificate of a deletion that is at its end is the same bytes each time.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use super::{Retention, ticket};
use crate::audit::{self, Kind};
use crate::model::{DeletionReason, Identifier, Time};
use crate::namespace::PublicAddress;
use crate::records::deletions::{self, Deletion};
use crate::records::proofs::Proved;
use crate::repo::Error;
use crate::repo::signers::{PRINCIPAL, allowed_signers};

/// What a signature under a certificate is for; it counts nowhere else.
const NAMESPACE: &str = "tacdrop-deletion";
/// The first line. The number changes when the lines below it do.
const TITLE: &str = "tacdrop deletion certificate 1";
/// What no deletion reaches.
const OUT_OF_REACH: [&str; 3] = [
    "mails in the spool or delivered, which name files",
    "what was downloaded before",
    "copies of the keyring, or of the whole data directory, that were made before the keys were destroyed",
];

/// A line of the deletion log, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeletionLine {
    /// The reference that the ticket had.
    pub ticket: String,
    /// Whose it was.
    pub organisation: String,
    /// The id of its share.
    pub share: String,
    /// Files that could be read or continued until then.
    pub artifacts: u64,
    /// Versions that could be read or continued until then.
    pub versions: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why.
    pub reason: DeletionReason,
    /// By which rule.
    pub rule: String,
    /// When the ticket was opened.
    pub opened_at: Time,
    /// When it was closed.
    pub closed_at: Time,
    /// When the deletion began.
    pub begun_at: Time,
    /// When the keys of its share were destroyed; none: not yet.
    pub keys_destroyed_at: Option<Time>,
    /// When the last of its rows went; none: not yet.
    pub records_removed_at: Option<Time>,
    /// When its encrypted objects were off the disk; none: not yet.
    pub objects_removed_at: Option<Time>,
    /// Who did it: `operator` or `server`.
    pub actor: String,
    /// Whether the row says what tacdrop wrote there.
    pub proved: bool,
}

impl DeletionLine {
    fn of(row: &Deletion, proved: bool) -> Self {
        Self {
            ticket: row.ticket.to_string(),
            organisation: row.organisation.to_string(),
            share: row.share.to_string(),
            artifacts: row.artifacts,
            versions: row.versions,
            bytes: row.bytes,
            reason: row.reason,
            rule: row.rule.clone(),
            opened_at: row.opened_at,
            closed_at: row.closed_at,
            begun_at: row.begun_at,
            keys_destroyed_at: row.keys_destroyed_at,
            records_removed_at: row.records_removed_at,
            objects_removed_at: row.objects_removed_at,
            // The policy is the server's to carry out, also where an operator starts it.
            actor: match row.reason {
                DeletionReason::Request => audit::Actor::Operator.as_str().to_owned(),
                DeletionReason::Retention => audit::Actor::Server.as_str().to_owned(),
            },
            proved,
        }
    }
}

/// A deletion certificate.
#[derive(Debug, Clone, Serialize)]
pub struct Certificate {
    /// What it states.
    #[serde(flatten)]
    pub deletion: DeletionLine,
    /// `HOST:PORT` of the server that states it.
    pub server: String,
    /// The entry of the audit trail that tells of it.
    pub trail_seq: i64,
    /// That entry's link, as hexadecimal digits.
    pub trail_link: String,
    /// The text and its signature, as the customer gets it.
    pub text: String,
}

/// Who signs certificates: the key that signs receipts, for another purpose.
#[derive(Debug, Clone, Serialize)]
pub struct CertificateKey {
    /// The name that the key stands under.
    pub principal: &'static str,
    /// What its signatures are for.
    pub namespace: &'static str,
    /// The key as OpenSSH writes it.
    pub public_key: String,
    /// The lines of an `allowed_signers` file: this key's, and one for each key before it.
    pub allowed_signers: String,
}

/// What is signed. No value can hold a line break: they are references, numbers, times, host names,
/// and the words of a rule, which are compared with what a rule can be.
fn statement(deletion: &DeletionLine, server: &str, seq: i64, link: &str) -> String {
    let time = |at: Option<Time>| at.map_or_else(|| "not yet".to_owned(), |at| at.to_string());
    let mut text = format!(
        "{TITLE}\nTicket: {}\nOrganisation: {}\nShare-Id: {}\nArtifacts: {}\nVersions: {}\nBytes: {}\nOpened: {}\nClosed: {}\n\
         Reason: {}\nRule: {}\nDeleted-By: {}\nBegun: {}\nKeys-Destroyed: {}\nRecords-Removed: {}\nObjects-Removed: {}\n\
         Server: {server}\nTrail: {seq} {link}\n",
        deletion.ticket,
        deletion.organisation,
        deletion.share,
        deletion.artifacts,
        deletion.versions,
        deletion.bytes,
        deletion.opened_at,
        deletion.closed_at,
        deletion.reason,
        deletion.rule,
        deletion.actor,
        deletion.begun_at,
        time(deletion.keys_destroyed_at),
        time(deletion.records_removed_at),
        time(deletion.objects_removed_at),
    );
    for what in OUT_OF_REACH {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "Out-Of-Reach: {what}");
    }
    text
}

/// Whether a text can be the words of a rule.
fn is_rule(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || " .:_-".contains(c);
    !text.is_empty() && text.len() <= 200 && text.chars().all(fits)
}

impl Retention {
    /// The deletion log: what began from `from` on, and before `to`.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn deletions(&self, from: Option<Time>, to: Option<Time>) -> Result<Vec<DeletionLine>, Error> {
        let rows = deletions::list(&mut *self.repo.records.read().await?).await?;
        let wanted = rows
            .iter()
            .filter(|row| from.is_none_or(|from| row.begun_at >= from) && to.is_none_or(|to| row.begun_at < to));
        Ok(wanted.map(|row| DeletionLine::of(row, row.is_proved(self.prover()))).collect())
    }

    /// Who signs certificates.
    pub fn certificate_key(&self) -> CertificateKey {
        let (key, past) = (self.repo.keys.receipts().public(), self.repo.keys.past_receipts());
        CertificateKey {
            principal: PRINCIPAL,
            namespace: NAMESPACE,
            public_key: key.ssh_line(),
            allowed_signers: allowed_signers(NAMESPACE, &key, past),
        }
    }

    /// The certificate of the newest deletion of a ticket that had this reference, or of the one of
    /// this share.
    ///
    /// # Errors
    /// A sentence if there is none, it has not come to the end of the rows, or the trail does not
    /// tell of it as the deletion log does: then nothing is signed.
    pub async fn certificate(
        &self,
        ticket: &Identifier,
        share: Option<&str>,
        address: &PublicAddress,
    ) -> Result<Certificate, Error> {
        let mut conn = self.repo.records.read().await?;
        let rows = deletions::of_ticket(&mut conn, ticket).await?;
        let row = rows.into_iter().find(|row| share.is_none_or(|share| row.share.to_string() == share));
        let row = row.ok_or_else(|| {
            Error::operator(format!(
                "the deletion log has no such ticket {ticket}; 'tacdrop report deletions' shows which it has"
            ))
        })?;
        row.check(self.prover())?;
        let (Some(seq), true) = (row.trail_seq, is_rule(&row.rule)) else {
            return Err(Error::operator(format!(
                "ticket {ticket} is being shredded and its certificate is not signed before that is done; the server ends \
                 it within a minute"
            )));
        };
        let entry = audit::sealed_entry(&mut conn, self.repo.keys.trail(), seq).await?;
        let tells = entry.filter(|entry| {
            entry.kind == Kind::TicketShredded.as_str()
                && entry.ticket.as_deref() == Some(ticket.as_str())
                && serde_json::from_str::<Value>(&entry.detail).ok() == Some(ticket::told(&row))
        });
        let entry = tells.ok_or_else(|| {
            Error::operator(
                "no certificate is signed: the audit trail does not tell of this deletion as the deletion log does; run \
                 'tacdrop audit verify --records'",
            )
        })?;
        let (deletion, server, link) = (DeletionLine::of(&row, true), address.authority(), hex::encode(entry.chain));
        let mut text = statement(&deletion, &server, seq, &link);
        let signature = self.repo.keys.receipts().sign_ssh(NAMESPACE, text.as_bytes());
        text.push_str(&signature);
        Ok(Certificate { deletion, server, trail_seq: seq, trail_link: link, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was signed once must be made again, byte by byte.
    #[test]
    fn the_lines_of_a_certificate_stay() {
        let at = |seconds: i64| Time::from_seconds(1_700_000_000 + seconds);
        let mut deletion = DeletionLine {
            ticket: "XT-1".into(),
            organisation: "ACME".into(),
            share: "01".repeat(16),
            artifacts: 3,
            versions: 4,
            bytes: 5,
            reason: DeletionReason::Retention,
            rule: "retention.incident: 90d after closed".into(),
            opened_at: at(0),
            closed_at: at(1),
            begun_at: at(2),
            keys_destroyed_at: Some(at(3)),
            records_removed_at: Some(at(4)),
            objects_removed_at: Some(at(5)),
            actor: "server".into(),
            proved: true,
        };
        let expected = format!(
            "tacdrop deletion certificate 1\nTicket: XT-1\nOrganisation: ACME\nShare-Id: {}\nArtifacts: 3\nVersions: 4\n\
             Bytes: 5\nOpened: 2023-11-14T22:13:20Z\nClosed: 2023-11-14T22:13:21Z\nReason: retention\n\
             Rule: retention.incident: 90d after closed\nDeleted-By: server\nBegun: 2023-11-14T22:13:22Z\n\
             Keys-Destroyed: 2023-11-14T22:13:23Z\nRecords-Removed: 2023-11-14T22:13:24Z\n\
             Objects-Removed: 2023-11-14T22:13:25Z\nServer: h:22\nTrail: 7 ab\n\
             Out-Of-Reach: mails in the spool or delivered, which name files\n\
             Out-Of-Reach: what was downloaded before\n\
             Out-Of-Reach: copies of the keyring, or of the whole data directory, that were made before the keys were \
             destroyed\n",
            "01".repeat(16)
        );
        assert_eq!(statement(&deletion, "h:22", 7, "ab"), expected);
        deletion.objects_removed_at = None;
        assert!(statement(&deletion, "h:22", 7, "ab").contains("\nObjects-Removed: not yet\n"));
    }

    #[test]
    fn no_rule_holds_a_line_of_its_own() {
        assert!(is_rule("request") && is_rule("retention.incident.organisation.A_C-1: 90d after closed"));
        for text in ["", "a\nTicket: XT-2", "a\rb", "ä", &"x".repeat(201)] {
            assert!(!is_rule(text), "{text:?}");
        }
    }
}
