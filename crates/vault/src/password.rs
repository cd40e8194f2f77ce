//! Passwords, which people choose: unlike a token one can be guessed, so each guess has to cost.
//!
//! What is kept is Argon2id (RFC 9106) of the keyed hash that tokens have
//! ([`TokenKey::hash`](super::TokenKey::hash)), which binds it to its user. So whoever has the
//! records without the keyring cannot even begin to guess, and whoever has both pays for each
//! guess.

use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{VaultError, random};

/// Memory in KiB, passes and lanes: the first choice of the OWASP Password Storage Cheat Sheet. RFC
/// 9106's second recommended option takes 64 MiB; two of those at once, on a machine that receives
/// files at the same time, are more than strangers shall make it spend.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// How what is kept was made: the only form so far.
const FORM: u8 = 1;
const SALT: usize = 16;
const TAG: usize = 32;

/// Bytes of a kept password: `form (1) ‖ salt (16) ‖ tag (32)`.
pub const PASSWORD: usize = 1 + SALT + TAG;

/// What is kept of a password whose keyed hash is `secret`, under a new salt. It takes some 20 ms
/// and 19 MiB.
///
/// # Errors
/// [`VaultError::Randomness`]; [`VaultError::Memory`].
pub fn keep(secret: &[u8; 32]) -> Result<[u8; PASSWORD], VaultError> {
    let salt = random::array::<SALT>()?;
    let tag = tag(secret, &salt)?;
    let mut kept = [FORM; PASSWORD];
    let (_, rest) = kept.split_at_mut(1);
    let (salt_of, tag_of) = rest.split_at_mut(SALT);
    salt_of.copy_from_slice(&salt);
    tag_of.copy_from_slice(&*tag);
    Ok(kept)
}

/// Whether the password whose keyed hash is `secret` is the one that `kept` was made of. Without a `kept` one, or with one of
/// another form, it is not, and the same work is done.
///
/// # Errors
/// [`VaultError::Memory`].
pub fn is_kept(secret: &[u8; 32], kept: Option<&[u8]>) -> Result<bool, VaultError> {
    let kept = kept.and_then(|kept| <&[u8; PASSWORD]>::try_from(kept).ok()).filter(|kept| kept[0] == FORM);
    let none = [0; PASSWORD];
    let (_, rest) = kept.unwrap_or(&none).split_at(1);
    let (salt, expected) = rest.split_at(SALT);
    let is_same: bool = tag(secret, salt)?.ct_eq(expected).into();
    Ok(is_same && kept.is_some())
}

fn tag(secret: &[u8; 32], salt: &[u8]) -> Result<Zeroizing<[u8; TAG]>, VaultError> {
    let params = Params::new(MEMORY, PASSES, LANES, Some(TAG)).map_err(|_| VaultError::Memory)?;
    let mut tag = Zeroizing::new([0; TAG]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(secret, salt, &mut *tag)
        .map_err(|_| VaultError::Memory)?;
    Ok(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TokenKey;

    #[test]
    fn a_password_is_kept_for_its_user_and_its_house_alone() {
        let (key, other) = (TokenKey::from_bytes(&[7; 32]), TokenKey::from_bytes(&[8; 32]));
        let right = key.hash("karl", "correct horse");
        let kept = keep(&right).unwrap();
        assert!(is_kept(&right, Some(&kept)).unwrap());
        for wrong in
            [key.hash("karl", "correct Horse"), key.hash("maria", "correct horse"), other.hash("karl", "correct horse")]
        {
            assert!(!is_kept(&wrong, Some(&kept)).unwrap());
        }
        assert_ne!(keep(&right).unwrap(), kept, "each has a salt of its own");
    }

    #[test]
    fn what_is_no_kept_password_fits_none() {
        let secret = [3; 32];
        let kept = keep(&secret).unwrap();
        let mut other_form = kept;
        other_form[0] = 2;
        for wrong in [None, Some(&[][..]), Some(&kept[1..]), Some(&[0; PASSWORD]), Some(&other_form)] {
            assert!(!is_kept(&secret, wrong).unwrap(), "{wrong:?}");
        }
    }
}
