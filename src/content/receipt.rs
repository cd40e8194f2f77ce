//! Receipts: what the server states about an available version, signed, and the same digest for
//! `sha256sum -c`.
//!
//! Everything in them comes from the records, and Ed25519 gives the same signature every time, so a
//! receipt that is fetched twice is the same bytes.

use serde::Serialize;
use serde_json::Value;

use crate::audit::{self, Kind};
use crate::content::sealed::{check_belongs, sealed_facts};
use crate::model::sidecar::checksum_line;
use crate::model::{FileName, Identifier, Time, Transport, VersionState};
use crate::namespace::PublicAddress;
use crate::namespace::location::openable;
use crate::namespace::tree::Way;
use crate::records::versions::VersionRow;
use crate::records::{Conn, version_chain};
use crate::repo::keys::ShareKeys;
use crate::repo::{Error, Repo};
use crate::vault::{SigningKey, sign};

/// What a signature under a receipt is for; it counts nowhere else.
pub(crate) const NAMESPACE: &str = crate::audit::RECEIPT_NAMESPACE;
/// The first line of a receipt that names its version's manifest and the trail. The number changes
/// when the lines below it do.
const TITLE: &str = "tacdrop receipt 3";
/// The first line of those of versions whose manifest does not say how they came.
const OLDER_TITLE: &str = "tacdrop receipt 1";
/// The same, where a line about the transport follows at the end.
const OLDER_MARKED_TITLE: &str = "tacdrop receipt 2";

/// A receipt, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The ticket.
    pub ticket: String,
    /// Where the artifact lies in the share, percent-encoded.
    pub path: String,
    /// Which version of it this is.
    pub version: u64,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// When it became available: when its sender's CLOSE was answered.
    pub received_at: Time,
    /// The login that sent it.
    pub uploaded_by: String,
    /// What an engineer opens.
    pub location: String,
    /// `HOST:PORT` of the server that states all this.
    pub server: String,
    /// `legacy` if something of it came over weak encryption, by the listener for old devices.
    pub transport: Transport,
    /// What the server's own records call it; none of what was sealed before receipts said this.
    pub witness: Option<Witness>,
}

/// What ties a receipt to the server's records, in hexadecimal where it is bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Witness {
    /// The version's id.
    pub version_id: String,
    /// SHA-256 of its sealed manifest.
    pub manifest: String,
    /// The entry of the audit trail that tells of this version.
    pub trail_seq: i64,
    /// That entry's link, which holds for everything that the trail tells ahead of it.
    pub trail_link: String,
}

/// A receipt with the text that was signed.
#[derive(Debug, Clone, Serialize)]
pub struct SignedReceipt {
    /// What it states.
    #[serde(flatten)]
    pub receipt: Receipt,
    /// The file as it is fetched: the text and its signature.
    pub text: String,
}

impl Receipt {
    /// The receipt of a version of the file that `way` leads to, with its number for people, as its
    /// row has it: nobody may get it before [`vouch`] has filled in what it states of the trail.
    /// None if the version is not available.
    pub(crate) fn of(
        ticket: &Identifier,
        way: &Way,
        number: u64,
        version: &VersionRow,
        address: &PublicAddress,
    ) -> Option<Self> {
        if version.state != VersionState::Available {
            return None;
        }
        Some(Self {
            ticket: ticket.to_string(),
            path: way.path().url_encoded(),
            version: number,
            size: version.length,
            sha256: hex::encode(version.sha256?),
            received_at: version.received_at?,
            uploaded_by: version.uploaded_by.parse::<Identifier>().ok()?.to_string(),
            location: address.location(ticket, &openable(way)),
            server: address.authority(),
            transport: version.transport,
            witness: version.trail_seq.zip(version.manifest).map(|(trail_seq, (_, hash))| Witness {
                version_id: version.id.to_string(),
                manifest: hex::encode(hash),
                trail_seq,
                // As long as the one that is looked up for who fetches it.
                trail_link: hex::encode([0; 32]),
            }),
        })
    }

    /// What is signed. No value can hold a line break: they are references, numbers, host names and
    /// encoded paths. Receipts of the older forms stay the bytes that they were.
    fn statement(&self) -> String {
        let (title, mark) = match &self.witness {
            Some(Witness { version_id, manifest, trail_seq, trail_link }) => (
                TITLE,
                format!(
                    "Transport: {}\nVersion-Id: {version_id}\nManifest: {manifest}\nTrail: {trail_seq} {trail_link}\n",
                    self.transport
                ),
            ),
            None if self.transport.is_weak() => (OLDER_MARKED_TITLE, format!("Transport: {}\n", self.transport)),
            None => (OLDER_TITLE, String::new()),
        };
        format!(
            "{title}\nTicket: {}\nPath: {}\nVersion: {}\nSize: {}\nSHA-256: {}\nReceived: {}\nUploaded-By: {}\n\
             Location: {}\nServer: {}\n{mark}",
            self.ticket,
            self.path,
            self.version,
            self.size,
            self.sha256,
            self.received_at,
            self.uploaded_by,
            self.location,
            self.server
        )
    }

    pub(crate) fn signed(&self, key: &SigningKey) -> String {
        let mut text = self.statement();
        let signature = key.sign_ssh(NAMESPACE, text.as_bytes());
        text.push_str(&signature);
        text
    }

    /// How long [`Receipt::signed`] is, without signing: listings need it of every file.
    pub(crate) fn signed_length(&self) -> usize {
        self.statement().len() + sign::ssh_signature_length(NAMESPACE)
    }

    /// A line as `sha256sum` writes it: with a backslash in front where the name needs escapes.
    pub(crate) fn checksum_line(&self, name: &FileName) -> Vec<u8> {
        checksum_line(&self.sha256, false, name.as_bytes())
    }
}

/// Proves what a receipt states of a version: the row says what was sealed, and the trail tells of
/// it.
///
/// # Errors
/// If the version is not what was sealed; a sentence if the trail tells otherwise. Then
/// nothing is signed.
pub(crate) async fn vouch(
    repo: &Repo,
    conn: &mut Conn,
    keys: &ShareKeys,
    version: &VersionRow,
    receipt: &mut Receipt,
) -> Result<(), Error> {
    let facts = sealed_facts(repo, conn, keys, version).await?;
    let file = version_chain::head(conn, version.artifact.as_bytes()).await?;
    check_belongs(repo, conn, &file, version.artifact.as_bytes()).await?;
    if !version_chain::counts_right(conn, &file).await? {
        return Err(Error::operator(
            "no receipt is signed: the versions of this file are not counted from where they began; run 'tacdrop store check'",
        ));
    }
    receipt.witness = match (receipt.witness.take(), facts.arrival) {
        (Some(witness), Some(_)) => {
            let link = trail_link(repo, conn, witness.trail_seq, version).await?;
            Some(Witness { trail_link: hex::encode(link), ..witness })
        }
        (None, Some(_)) => return Err(untold()),
        // Sealed before: what the row says of its arrival is all that there is.
        (_, None) => None,
    };
    Ok(())
}

/// The link of the entry of the trail that tells of this version with this manifest.
async fn trail_link(repo: &Repo, conn: &mut Conn, seq: i64, version: &VersionRow) -> Result<[u8; 32], Error> {
    let entry = audit::sealed_entry(conn, repo.keys.trail(), seq).await?;
    let tells = entry.filter(|entry| {
        let detail: Value = serde_json::from_str(&entry.detail).unwrap_or_default();
        let manifest = version.manifest.map(|(_, hash)| hex::encode(hash));
        [Kind::ArtifactAvailable, Kind::ArtifactResealed, Kind::VersionMoved]
            .map(Kind::as_str)
            .contains(&entry.kind.as_str())
            && entry.subject == Some(*version.id.as_bytes())
            && detail["manifest"].as_str() == manifest.as_deref()
    });
    Ok(tells.ok_or_else(untold)?.chain)
}

/// That the trail says something else than a version's row. The content may be whole: nothing is
/// marked as damaged.
fn untold() -> Error {
    Error::operator(
        "no receipt is signed: the audit trail does not tell of this version as its record says; run 'tacdrop audit \
         verify --records'",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            ticket: "XT-1".into(),
            path: "logs/a%20b.txt".into(),
            version: 2,
            size: 5,
            sha256: "00".repeat(32),
            received_at: Time::from_millis(1_700_000_000_999),
            uploaded_by: "XT-1".into(),
            location: "sftp://h:2222/XT-1/logs/a%20b.txt".into(),
            server: "h:2222".into(),
            transport: Transport::Modern,
            witness: None,
        }
    }

    fn witness() -> Witness {
        let [version_id, manifest, trail_link] = ["01".repeat(16), "02".repeat(32), "03".repeat(32)];
        Witness { version_id, manifest, trail_seq: 4711, trail_link }
    }

    /// What was signed once must be made again, byte by byte.
    #[test]
    fn r17_the_lines_of_a_receipt_stay() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let text = receipt().signed(&key);
        let (statement, signature) = text.split_at(text.find("-----BEGIN").unwrap());
        let expected = format!(
            "tacdrop receipt 1\nTicket: XT-1\nPath: logs/a%20b.txt\nVersion: 2\nSize: 5\nSHA-256: {}\n\
             Received: 2023-11-14T22:13:20Z\nUploaded-By: XT-1\nLocation: sftp://h:2222/XT-1/logs/a%20b.txt\n\
             Server: h:2222\n",
            "00".repeat(32)
        );
        assert_eq!(statement, expected);
        assert!(signature.starts_with("-----BEGIN SSH SIGNATURE-----\n"));
        assert!(signature.ends_with("\n-----END SSH SIGNATURE-----\n"));
        assert_eq!((text.len(), &text), (receipt().signed_length(), &receipt().signed(&key)));
    }

    #[test]
    fn r17_a_receipt_names_its_manifest_and_the_trail() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let witnessed = Receipt { witness: Some(witness()), ..receipt() };
        let expected = format!(
            "{}Transport: modern\nVersion-Id: {}\nManifest: {}\nTrail: 4711 {}\n",
            receipt().statement().replacen("receipt 1", "receipt 3", 1),
            "01".repeat(16),
            "02".repeat(32),
            "03".repeat(32)
        );
        assert_eq!(witnessed.statement(), expected);
        assert_eq!(witnessed.signed(&key).len(), witnessed.signed_length());
        let marked = Receipt { transport: Transport::Legacy, ..witnessed };
        assert_eq!(marked.statement(), expected.replace("modern", "legacy"));
    }

    #[test]
    fn r44_a_receipt_says_that_encryption_was_weak() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let marked = Receipt { transport: Transport::Legacy, ..receipt() };
        let expected = receipt().statement().replacen("receipt 1", "receipt 2", 1) + "Transport: legacy\n";
        assert_eq!(marked.statement(), expected);
        assert_eq!(marked.signed(&key).len(), marked.signed_length());
    }

    #[test]
    fn a_checksum_line_escapes_as_gnu_does() {
        let line = |name: &[u8]| receipt().checksum_line(&FileName::new(name).unwrap());
        let digest = "00".repeat(32);
        assert_eq!(line(b"a b.txt"), format!("{digest}  a b.txt\n").into_bytes());
        assert_eq!(line(b"a\\b"), format!("\\{digest}  a\\\\b\n").into_bytes());
    }
}
