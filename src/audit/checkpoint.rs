//! A signed statement about the trail: its entry number N has this link. Kept elsewhere, it shows
//! whether what is found later still begins with the same N entries.

use std::fmt;
use std::str::FromStr;

use crate::model::Time;
use crate::records::audit::CheckpointRow;
use crate::repo::replacement::PastKey;
use crate::vault::sign::{SIGNATURE, SIGNING_KEY};
use crate::vault::{PublicKey, SigningKey, VaultError};

/// What the signed text begins with, so that it is never taken for another one.
const TITLE: &str = "tacdrop audit checkpoint 1";

/// A checkpoint with the public key that belongs to its signature. Its text can be kept anywhere,
/// and parsed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditCheckpoint {
    row: CheckpointRow,
    key: PublicKey,
}

/// The text is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no checkpoint as 'tacdrop audit checkpoint' writes them")]
pub struct NoCheckpoint;

impl AuditCheckpoint {
    pub(crate) fn sign(key: &SigningKey, seq: i64, at: Time, link: [u8; 32]) -> Self {
        let signature = key.sign(text(seq, at, &link).as_bytes());
        Self { row: CheckpointRow { seq, at, link, signature }, key: key.public() }
    }

    pub(super) const fn row(&self) -> &CheckpointRow {
        &self.row
    }

    pub(super) const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The number of the entry that it speaks of, from 1 on.
    pub const fn seq(&self) -> i64 {
        self.row.seq
    }

    /// When it was signed.
    pub const fn at(&self) -> Time {
        self.row.at
    }

    /// The entry's link, as hexadecimal digits.
    pub fn link(&self) -> String {
        hex::encode(self.row.link)
    }

    /// The public key, as hexadecimal digits (RFC 8032, section 5.1.5).
    pub fn public_key(&self) -> String {
        hex::encode(self.key.as_bytes())
    }

    /// The signature, as hexadecimal digits (RFC 8032, section 5.1.6).
    pub fn signature(&self) -> String {
        hex::encode(self.row.signature)
    }
}

/// What is signed.
fn text(seq: i64, at: Time, link: &[u8; 32]) -> String {
    format!("{TITLE}\nseq {seq}\nat {}\nlink {}\n", at.millis(), hex::encode(link))
}

/// Whether this key signed it.
pub(super) fn check(row: &CheckpointRow, key: &PublicKey) -> Result<(), VaultError> {
    key.verify(text(row.seq, row.at, &row.link).as_bytes(), &row.signature)
}

/// The keys that checkpoints of this house are signed by: the one in force, and those before it.
pub(super) struct TrailKeys<'a> {
    pub(super) in_force: PublicKey,
    pub(super) past: &'a [PastKey],
}

impl TrailKeys<'_> {
    /// Whether this is, or was, a key of this house.
    pub(super) fn know(&self, key: &PublicKey) -> bool {
        *key == self.in_force || self.past.iter().any(|past| past.key == *key)
    }

    /// Whether this is one of them in hexadecimal.
    pub(super) fn know_text(&self, text: &serde_json::Value) -> bool {
        let is = |key: &PublicKey| *text == hex::encode(key.as_bytes());
        is(&self.in_force) || self.past.iter().any(|past| is(&past.key))
    }

    /// Whether one of them signed a checkpoint, and while it was in force.
    pub(super) fn signed(&self, row: &CheckpointRow) -> bool {
        let by_past = |past: &PastKey| row.at <= past.until && check(row, &past.key).is_ok();
        check(row, &self.in_force).is_ok() || self.past.iter().any(by_past)
    }
}

/// The signed text, the key and the signature: six lines.
impl fmt::Display for AuditCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self.row.seq, self.row.at, &self.row.link))?;
        writeln!(f, "key {}\nsignature {}", self.public_key(), self.signature())
    }
}

impl FromStr for AuditCheckpoint {
    type Err = NoCheckpoint;

    fn from_str(text: &str) -> Result<Self, NoCheckpoint> {
        let mut lines = text.trim().lines();
        let mut line = |name: &str| {
            lines.next().and_then(|line| line.trim_end().strip_prefix(name)).map(str::trim_start).ok_or(NoCheckpoint)
        };
        line(TITLE).and_then(|rest| if rest.is_empty() { Ok(()) } else { Err(NoCheckpoint) })?;
        let number = |text: &str| text.parse::<i64>().map_err(|_| NoCheckpoint);
        let row = CheckpointRow {
            seq: number(line("seq ")?)?,
            at: Time::from_millis(number(line("at ")?)?),
            link: bytes(line("link ")?)?,
            signature: [0; SIGNATURE],
        };
        let key = PublicKey::from_bytes(&bytes::<SIGNING_KEY>(line("key ")?)?).map_err(|_| NoCheckpoint)?;
        let row = CheckpointRow { signature: bytes(line("signature ")?)?, ..row };
        if lines.next().is_some() || row.seq < 1 { Err(NoCheckpoint) } else { Ok(Self { row, key }) }
    }
}

fn bytes<const N: usize>(text: &str) -> Result<[u8; N], NoCheckpoint> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| NoCheckpoint)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r66_a_checkpoint_survives_its_text_and_no_change_of_it() {
        let key = SigningKey::generate().unwrap();
        let checkpoint = AuditCheckpoint::sign(&key, 4711, Time::from_millis(1_700_000_000_123), [7; 32]);
        let text = checkpoint.to_string();
        assert!(text.starts_with("tacdrop audit checkpoint 1\nseq 4711\nat 1700000000123\nlink 0707"), "{text}");
        assert_eq!(text.parse(), Ok(checkpoint));
        assert_eq!(format!("\n{}\r\n\n", text.replace('\n', "\r\n")).parse(), Ok(checkpoint));
        check(checkpoint.row(), checkpoint.key()).unwrap();
        for at in 0..text.len() - 1 {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            let Ok(changed) = changed.parse::<AuditCheckpoint>() else { continue };
            assert!(check(changed.row(), changed.key()).is_err(), "byte {at}: {changed}");
        }
    }
}
