//! What the keyring keeps of the audit trail, sealed under the KEK: from which entry on each must
//! have a seal, how far the trail had come, and how many checkpoints there are. So a trail that was
//! cut shows, and so does one whose checkpoints were deleted in both databases.
//!
//! The anchor may be older than the trail, never newer: it is written after the entries that it
//! speaks of are durable.

use std::path::Path;

use crate::records::audit::{self as rows, CheckpointRow};
use crate::records::keyring::{self, KeyOf, WrappedRow};
use crate::records::{Conn, Records, Sealer, fit_copied_trail, tickets};
use crate::repo::Error;
use crate::repo::keys::{KeyManager, ROUNDS};
use crate::vault::{PROOF, ProofKey};

/// What the keyring calls the key that signs checkpoints.
pub(crate) const AUDIT_KEY: &str = "audit-signing";
/// What the keyring calls the anchor.
const PURPOSE: &str = "trail";
/// What seals are made for, so that no other proof of the house is one.
const SEALS: &str = "trail";
/// The form of an anchor's bytes.
const FORM: u8 = 1;
/// Form, first sealed number, last number, its link, checkpoints, public key.
const LENGTH: usize = 1 + 8 + 8 + 32 + 8 + 32;

/// What the keyring keeps of the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// The number from which on each entry must have its seal, from 1 on.
    pub(crate) sealed_from: i64,
    /// The last entry that was known; 0 if there was none.
    pub(crate) seq: i64,
    /// Its link; zeros if there was none.
    pub(crate) link: [u8; 32],
    /// Checkpoints in the keyring.
    pub(crate) checkpoints: u64,
    /// The public key that checkpoints are checked with.
    pub(crate) key: [u8; 32],
}

/// An anchor as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    There(Anchor),
    /// There is none: it was deleted, or the house has not been adopted.
    Missing,
    /// It is not what was sealed.
    Unreadable,
}

impl Anchor {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![FORM];
        bytes.extend_from_slice(&self.sealed_from.to_be_bytes());
        bytes.extend_from_slice(&self.seq.to_be_bytes());
        bytes.extend_from_slice(&self.link);
        bytes.extend_from_slice(&self.checkpoints.to_be_bytes());
        bytes.extend_from_slice(&self.key);
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        fn part<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
            let (part, behind) = rest.split_first_chunk()?;
            *rest = behind;
            Some(*part)
        }
        let mut rest = bytes;
        if bytes.len() != LENGTH || part::<1>(&mut rest)? != [FORM] {
            return None;
        }
        Some(Self {
            sealed_from: i64::from_be_bytes(part(&mut rest)?),
            seq: i64::from_be_bytes(part(&mut rest)?),
            link: part(&mut rest)?,
            checkpoints: u64::from_be_bytes(part(&mut rest)?),
            key: part(&mut rest)?,
        })
    }
}

/// Seals the rows that are appended to the trail from now on.
pub(crate) async fn seal_rows(records: &Records, trail: &ProofKey) -> Result<(), Error> {
    let key = ProofKey::from_bytes(&trail.to_secret_bytes());
    Ok(records.seal_trail_with(Sealer::new(move |link| key.prove(SEALS, &[link]))).await?)
}

/// Whether this is the seal of a row with this link.
pub(crate) fn is_sealed(trail: &ProofKey, link: &[u8; 32], seal: &[u8; PROOF]) -> bool {
    trail.is_proved(SEALS, &[link], seal)
}

/// Whether nothing has happened yet in a house: it has no entry of the trail and no ticket.
pub(crate) async fn is_unused(records: &Records) -> Result<bool, Error> {
    let mut conn = records.read().await?;
    Ok(rows::tip(&mut conn).await?.is_none() && tickets::all(&mut conn).await?.is_empty())
}

/// Makes the anchor of a house that begins: each of its entries must have a seal. Where something
/// has happened already, nothing begins, whatever the data directory says.
pub(crate) async fn begin(records: &Records, keys: &KeyManager) -> Result<(), Error> {
    if !is_unused(records).await? {
        return Ok(());
    }
    let key = *keys.signing_key(AUDIT_KEY).await?.public().as_bytes();
    let anchor = Anchor { sealed_from: 1, seq: 0, link: [0; 32], checkpoints: 0, key };
    keys.secret(PURPOSE, || Ok(anchor.to_bytes())).await?;
    Ok(())
}

/// Makes the anchor of a house of before there were seals, unless it has one: what is there is held
/// fast as it is, and what comes must have a seal. Called before the house is raised to a level on
/// which a missing anchor is a fault.
pub(super) async fn adopt(records: &Records, keys: &KeyManager) -> Result<(), Error> {
    let key = *keys.signing_key(AUDIT_KEY).await?.public().as_bytes();
    let (seq, link) = rows::tip(&mut *records.read().await?).await?.unwrap_or((0, [0; 32]));
    let (checkpoints, _) = keys.keyring().checkpoints_and_secret(PURPOSE).await?;
    let anchor = Anchor { sealed_from: seq.saturating_add(1), seq, link, checkpoints, key };
    keys.secret(PURPOSE, || Ok(anchor.to_bytes())).await?;
    Ok(())
}

/// The anchor, and how many checkpoints the keyring has at the same moment.
pub(crate) async fn look(keys: &KeyManager) -> Result<(Found, u64), Error> {
    for _ in 0..ROUNDS {
        let (checkpoints, row) = keys.keyring().checkpoints_and_secret(PURPOSE).await?;
        let Some(row) = row else { return Ok((Found::Missing, checkpoints)) };
        if keys.kek(row.kek_generation).await?.is_none() {
            continue;
        }
        return Ok((open(keys, &row).map_or(Found::Unreadable, Found::There), checkpoints));
    }
    Err(Error::KeysReplaced)
}

fn open(keys: &KeyManager, row: &WrappedRow) -> Option<Anchor> {
    let kek = keys.kek_at_hand(row.kek_generation)?;
    let bytes = kek.unwrap_secret(row.kek_generation, PURPOSE, &row.wrapped).ok()?;
    Anchor::parse(&bytes)
}

/// Moves the anchor on to an entry that is durable, and writes its checkpoint down with it, if there
/// is one. An anchor that the trail in `records` contradicts stays where it is, so that nothing that
/// comes later covers the contradiction up; without `records` nobody asks.
pub(crate) async fn advance(
    keys: &KeyManager,
    records: Option<&Records>,
    entry: (i64, [u8; 32]),
    checkpoint: Option<&CheckpointRow>,
) -> Result<(), Error> {
    let keyring = keys.keyring();
    for _ in 0..ROUNDS {
        // Asked before the transaction: who has the keyring's turn waits for no other database.
        let known = match look(keys).await?.0 {
            Found::There(anchor) if entry.0 > anchor.seq => Some((
                anchor,
                match records {
                    Some(records) => holds(records, (anchor.seq, anchor.link)).await?,
                    None => true,
                },
            )),
            _ => None,
        };
        let mut tx = keyring.begin().await?;
        // Only what is newer than all others: then they come in their order, and a crash leaves out
        // none but the newest.
        let newest = rows::last_checkpoint(tx.conn()).await?.unwrap_or(0);
        let added = match checkpoint {
            Some(row) if row.seq > newest => rows::add_checkpoint(tx.conn(), row).await?,
            _ => false,
        };
        let row = keyring::secret(tx.conn(), PURPOSE).await?;
        let Some(row) = row else { return Ok(tx.commit().await?) };
        let Some(kek) = keys.kek_at_hand(row.kek_generation) else {
            drop(tx);
            keys.load_keks().await?;
            continue;
        };
        let Some(there) = open(keys, &row) else { return Ok(tx.commit().await?) };
        let mut next = there;
        next.checkpoints += u64::from(added);
        if entry.0 > there.seq {
            match known {
                Some((asked, holds)) if asked.seq == there.seq => {
                    if holds {
                        (next.seq, next.link) = entry;
                    }
                }
                // Somebody else moved it on meanwhile.
                _ => continue,
            }
        }
        if next != there {
            // Under the KEK that wraps it now: a rotation that is under way takes it along.
            let wrapped = kek.wrap_secret(row.kek_generation, PURPOSE, &next.to_bytes())?;
            keyring::rewrap(tx.conn(), &KeyOf::Server(PURPOSE.to_owned()), &WrappedRow { wrapped, ..row }).await?;
        }
        return Ok(tx.commit().await?);
    }
    Err(Error::KeysReplaced)
}

/// Has the anchor name the public key that checkpoints are checked with from now on, in the
/// transaction of the keyring in which the key is replaced.
pub(crate) async fn follow(keys: &KeyManager, conn: &mut Conn, key: [u8; 32]) -> Result<(), Error> {
    let Some(row) = keyring::secret(conn, PURPOSE).await? else { return Ok(()) };
    let Some(there) = open(keys, &row) else { return Ok(()) };
    let Some(kek) = keys.kek_at_hand(row.kek_generation) else { return Err(Error::KeysReplaced) };
    let wrapped = kek.wrap_secret(row.kek_generation, PURPOSE, &Anchor { key, ..there }.to_bytes())?;
    Ok(keyring::rewrap(conn, &KeyOf::Server(PURPOSE.to_owned()), &WrappedRow { wrapped, ..row }).await?)
}

/// Whether the trail has this entry.
pub(crate) async fn holds(records: &Records, (seq, link): (i64, [u8; 32])) -> Result<bool, Error> {
    Ok(seq == 0 || rows::link_of(&mut *records.read().await?, seq).await? == Some(link))
}

/// Makes the copy of a keyring go with a copy of the records, whose trail ends with `entry` and whose
/// last checkpoint is of `signed`: it speaks of nothing that they do not have yet.
pub(crate) async fn fit_copy(keys: &KeyManager, copy: &Path, entry: (i64, [u8; 32]), signed: i64) -> Result<(), Error> {
    let fit = |row: &WrappedRow, checkpoints| {
        let (Some(kek), Some(there)) = (keys.kek_at_hand(row.kek_generation), open(keys, row)) else { return Ok(None) };
        let (seq, link) = if there.seq > entry.0 { entry } else { (there.seq, there.link) };
        let anchor = Anchor { seq, link, checkpoints, ..there };
        let wrapped = kek.wrap_secret(row.kek_generation, PURPOSE, &anchor.to_bytes())?;
        Ok::<_, Error>(Some(WrappedRow { wrapped, ..row.clone() }))
    };
    fit_copied_trail(copy, signed, PURPOSE, fit).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_its_bytes_and_no_others() {
        let anchor = Anchor { sealed_from: 7, seq: 4711, link: [3; 32], checkpoints: 12, key: [9; 32] };
        let bytes = anchor.to_bytes();
        assert_eq!((bytes.len(), Anchor::parse(&bytes)), (LENGTH, Some(anchor)));
        let longer = [&bytes[..], &[0]].concat();
        for wrong in [&bytes[1..], &bytes[..LENGTH - 1], &longer, &[], &[&[2][..], &bytes[1..]].concat()] {
            assert_eq!(Anchor::parse(wrong), None);
        }
    }
}
