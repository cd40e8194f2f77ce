//! Access tokens: what a customer types beside the ticket's reference. The records hold only a
//! keyed hash; a token is random, so a fast hash is enough.

use hmac::Mac;
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::derive::MacKey;
use super::{VaultError, random};

/// No `0 o 1 l i`: these 31 survive the telephone and bad fonts.
const LETTERS: &[u8; 31] = b"23456789abcdefghjkmnpqrstuvwxyz";
/// 26 letters out of 31 are 128.8 bits.
const LENGTH: usize = 26;
/// The multiples of 31 in a byte; what lies above would favour the first letters.
const FAIR: u8 = 248;

/// A new token: 26 letters and digits without look-alikes, 128 bits of randomness.
///
/// # Errors
/// [`VaultError::Randomness`].
pub fn new_token() -> Result<Zeroizing<String>, VaultError> {
    let mut token = Zeroizing::new(String::with_capacity(LENGTH));
    while token.len() < LENGTH {
        let bytes = Zeroizing::new(random::array::<LENGTH>()?);
        let fair = bytes.iter().filter(|byte| **byte < FAIR);
        let letters = fair.filter_map(|byte| LETTERS.get(usize::from(*byte) % LETTERS.len()));
        let missing = LENGTH - token.len();
        token.extend(letters.take(missing).map(|letter| char::from(*letter)));
    }
    Ok(token)
}

/// A token as people type it: without blanks and hyphens of whatever kind between its letters, and in
/// lower case. No letter of a token is lost by that.
pub fn folded(typed: &str) -> Zeroizing<String> {
    let mut folded = Zeroizing::new(String::with_capacity(typed.len()));
    folded.extend(typed.chars().filter(|c| !is_between(*c)).map(|c| c.to_ascii_lowercase()));
    folded
}

/// Blanks and dashes, also those that word processors and mail programs put in, and what has no width.
fn is_between(c: char) -> bool {
    c.is_whitespace()
        || c == '-'
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{2060}' | '\u{feff}')
}

/// Whether two keyed hashes are the same, in a time that does not depend on them.
pub fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.ct_eq(other).into()
}

/// The server's key for hashing tokens; kept in the keyring under the purpose `token`.
#[derive(ZeroizeOnDrop)]
pub struct TokenKey {
    key: [u8; 32],
    #[zeroize(skip)]
    mac: MacKey,
}

impl TokenKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`VaultError::Randomness`].
    pub fn generate() -> Result<Self, VaultError> {
        Ok(Self::from_bytes(&Zeroizing::new(random::array()?)))
    }

    /// The key as it came from the keyring.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self { key: *bytes, mac: MacKey::for_label(bytes, "token") }
    }

    /// The key for [`super::Kek::wrap_secret`].
    pub fn to_secret_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key)
    }

    /// HMAC-SHA-256 over `length of the user (u64) ‖ user ‖ token` under a key derived for it.
    pub fn hash(&self, user: &str, token: &str) -> [u8; 32] {
        let mut mac = self.mac.begin();
        mac.update(&(user.len() as u64).to_be_bytes());
        mac.update(user.as_bytes());
        mac.update(token.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Whether `token` is the one that `expected` was made of, in a time that does not depend on
    /// `expected`.
    pub fn verify(&self, user: &str, token: &str, expected: &[u8; 32]) -> bool {
        self.hash(user, token).ct_eq(expected).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn tokens_are_long_plain_and_even() {
        let mut counts = BTreeMap::new();
        for _ in 0..2000 {
            let token = new_token().unwrap();
            assert_eq!(token.len(), 26);
            for letter in token.bytes() {
                assert!(LETTERS.contains(&letter));
                *counts.entry(letter).or_insert(0_u32) += 1;
            }
        }
        // 52,000 draws: 1,677 each on average, a deviation of 40; eight deviations never happen.
        assert_eq!(counts.len(), 31);
        assert!(counts.values().all(|count| (1350..2000).contains(count)), "{counts:?}");
    }

    /// What a URL, a shell or a router's command line reads as something else: `?` is help on a
    /// router, `|` a pipe, `@` and `:` end parts of a URL. Nothing of it is in a token, so it
    /// survives all of them as it is.
    #[test]
    fn r44_a_token_survives_a_url_and_a_command_line() {
        for _ in 0..200 {
            let token = new_token().unwrap();
            let encoded = percent_encoding::utf8_percent_encode(&token, percent_encoding::NON_ALPHANUMERIC);
            assert_eq!(encoded.to_string(), *token);
            assert!(token.bytes().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit()), "{}", &*token);
        }
    }

    #[test]
    fn a_token_in_groups_with_blanks_or_in_capitals_is_the_token() {
        let token = new_token().unwrap();
        for sign in ["-", " ", "\u{a0}", "\u{2013}", "\u{2011}", "\t", "\u{200b}", " - "] {
            let groups: Vec<_> = token.as_bytes().chunks(4).map(|group| str::from_utf8(group).unwrap()).collect();
            assert_eq!(*folded(&groups.join(sign)), *token, "{sign:?}");
            assert_eq!(*folded(&format!(" {}{sign}", token.to_uppercase())), *token, "{sign:?}");
        }
        // Nothing else is left out, and no other letter becomes one of a token's.
        for other in ["_", ".", "/", "O0", "\u{130}", "\u{212a}"] {
            assert_eq!(*folded(&format!("{}{other}", *token)), format!("{}{}", *token, other.to_ascii_lowercase()));
        }
    }

    #[test]
    fn a_token_opens_its_own_user_only() {
        let key = TokenKey::from_bytes(&[3; 32]);
        let hash = key.hash("XT-4711", "secret");
        assert!(key.verify("XT-4711", "secret", &hash));
        for (user, token) in
            [("XT-471", "1secret"), ("XT-4711s", "ecret"), ("XT-4711", "Secret"), ("", "XT-4711secret")]
        {
            assert!(!key.verify(user, token, &hash), "{user} {token}");
        }
        assert!(!TokenKey::from_bytes(&[4; 32]).verify("XT-4711", "secret", &hash));
        assert!(!TokenKey::from_bytes(&key.to_secret_bytes()).verify("XT-4711", "secret", &[0; 32]));
    }
}
