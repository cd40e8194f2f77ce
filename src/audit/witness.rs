//! What a receipt says of the trail: each customer's receipt is a witness of it.

use crate::vault::PublicKey;

/// What a signature under a receipt is for; it counts nowhere else.
pub(crate) const RECEIPT_NAMESPACE: &str = "tacdrop-receipt";
/// What every receipt begins with; the number behind it changes with its form.
const TITLE: &str = "tacdrop receipt ";
/// The line that speaks of the trail.
const TRAIL: &str = "Trail: ";
/// What the signature begins with.
const SIGNATURE: &str = "-----BEGIN SSH SIGNATURE-----";

/// An entry of the trail as a receipt names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrailWitness {
    /// The number of the entry, from 1 on.
    pub seq: i64,
    /// Its link.
    pub link: [u8; 32],
}

/// Why a receipt is no witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoWitness {
    /// It is no receipt at all.
    #[error("this is no receipt")]
    NoReceipt,
    /// Its signature is none of the house.
    #[error("this receipt was changed, or another server signed it")]
    NotSigned,
    /// It says nothing of the trail.
    #[error("this receipt says nothing of the audit trail: it is of a version of before receipts did")]
    Silent,
}

impl TrailWitness {
    /// Reads a receipt that one of these keys signed.
    pub(crate) fn of(receipt: &str, keys: &[PublicKey]) -> Result<Self, NoWitness> {
        // Mail programs change how lines end.
        let text = receipt.replace("\r\n", "\n");
        let at = text.find(SIGNATURE).filter(|_| text.starts_with(TITLE)).ok_or(NoWitness::NoReceipt)?;
        let (statement, signature) = text.split_at(at);
        let is_signed = |key: &PublicKey| key.verify_ssh(RECEIPT_NAMESPACE, statement.as_bytes(), signature).is_ok();
        if !keys.iter().any(is_signed) {
            return Err(NoWitness::NotSigned);
        }
        let line = statement.lines().find_map(|line| line.strip_prefix(TRAIL)).ok_or(NoWitness::Silent)?;
        let (seq, link) = line.split_once(' ').ok_or(NoWitness::Silent)?;
        let seq = seq.parse().ok().filter(|seq| *seq >= 1).ok_or(NoWitness::Silent)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(link, &mut bytes).map_err(|_| NoWitness::Silent)?;
        Ok(Self { seq, link: bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::SigningKey;

    fn signed(key: &SigningKey, statement: &str) -> String {
        format!("{statement}{}", key.sign_ssh(RECEIPT_NAMESPACE, statement.as_bytes()))
    }

    #[test]
    fn r66_a_receipt_is_a_witness_if_the_house_signed_it() {
        let (key, other) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let keys = [other.public(), key.public()];
        let link = "0f".repeat(32);
        let statement = format!("tacdrop receipt 3\nTicket: XT-1\nTrail: 4711 {link}\n");
        let text = signed(&key, &statement);
        let witness = TrailWitness { seq: 4711, link: [15; 32] };
        assert_eq!(TrailWitness::of(&text, &keys), Ok(witness));
        assert_eq!(TrailWitness::of(&text.replace('\n', "\r\n"), &keys), Ok(witness));
        assert_eq!(TrailWitness::of(&text, &keys[..1]), Err(NoWitness::NotSigned));
        assert_eq!(TrailWitness::of(&text.replace("4711", "4712"), &keys), Err(NoWitness::NotSigned));
        assert_eq!(TrailWitness::of(&statement, &keys), Err(NoWitness::NoReceipt));
        assert_eq!(TrailWitness::of("", &keys), Err(NoWitness::NoReceipt));
        for silent in [
            "tacdrop receipt 1\nTicket: XT-1\n".to_owned(),
            format!("tacdrop receipt 3\nTrail: 0 {link}\n"),
            format!("tacdrop receipt 3\nTrail: -1 {link}\n"),
            format!("tacdrop receipt 3\nTrail: 1 {link}0\n"),
            "tacdrop receipt 3\nTrail: 1\n".to_owned(),
        ] {
            assert_eq!(TrailWitness::of(&signed(&key, &silent), &keys), Err(NoWitness::Silent), "{silent}");
        }
        let elsewhere = format!("{statement}{}", key.sign_ssh("something-else", statement.as_bytes()));
        assert_eq!(TrailWitness::of(&elsewhere, &keys), Err(NoWitness::NotSigned));
    }
}
