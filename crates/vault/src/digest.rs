//! SHA-256 of a version while it arrives, with a state that can be kept and continued.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256};

use super::VaultError;
use super::sha256_blocks::{self, BLOCK, Words};

/// From this many bytes on, whole blocks go through the faster library.
const BULK: usize = 16 * BLOCK;
/// The state's form is only stable within a minor version of the sha2 crate; another one reads the
/// bytes again.
const CRATE: [u8; 8] = *b"0.11\0\0\0\0";
const WHAT: &str = "saved SHA-256 state";
/// A saved state of the sha2 crate begins with the eight words of the chaining value, each
/// little-endian; then the number of blocks (u64, little-endian) and the bytes of an unfinished
/// block.
const WORDS: usize = 32;

/// A running SHA-256 that counts its bytes. Wiped when dropped (feature `zeroize` of sha2).
#[derive(Clone, Default)]
pub struct Digest {
    state: Sha256,
    hashed: u64,
}

impl Digest {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hashes the next bytes. (SHA-256 itself ends at 2^61 bytes, far beyond any file.)
    pub fn update(&mut self, mut bytes: &[u8]) {
        if bytes.len() >= BULK + BLOCK {
            let (blocks, tail) = self.up_to_block(bytes).as_chunks();
            self.compress(blocks);
            bytes = tail;
        }
        self.hashed = self.hashed.saturating_add(bytes.len() as u64);
        self.state.update(bytes);
    }

    /// Hashes what an unfinished block needs, so that nothing waits in the state's own buffer;
    /// gives the rest of the bytes, of which there are enough.
    fn up_to_block<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let past_block = usize::try_from(self.hashed % BLOCK as u64).unwrap_or(0);
        let (before, rest) = bytes.split_at((BLOCK - past_block) % BLOCK);
        self.hashed = self.hashed.saturating_add(before.len() as u64);
        self.state.update(before);
        rest
    }

    /// Hashes whole blocks; nothing waits in the state's own buffer. All that the other library
    /// does is SHA-256's compression function: what comes before and after it, padding and the
    /// saved form stay those of the sha2 crate.
    fn compress(&mut self, blocks: &[[u8; BLOCK]]) {
        let mut saved = self.state.serialize();
        let (chunks, _) = saved.as_chunks_mut();
        let mut words = Words::default();
        words.iter_mut().zip(&*chunks).for_each(|(word, bytes)| *word = u32::from_le_bytes(*bytes));
        sha256_blocks::compress(&mut words, blocks);
        chunks.iter_mut().zip(words).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
        if let Some((count, _)) = saved.get_mut(WORDS..).and_then(|rest| rest.split_first_chunk_mut()) {
            *count = u64::from_le_bytes(*count).wrapping_add(blocks.len() as u64).to_le_bytes();
        }
        match Sha256::deserialize(&saved) {
            Ok(state) => self.state = state,
            // A state that was just saved is one: never taken, and right if it were.
            Err(_) => blocks.iter().for_each(|block| self.state.update(block)),
        }
        self.hashed = self.hashed.saturating_add((blocks.len() * BLOCK) as u64);
    }

    /// How many bytes were hashed.
    pub const fn hashed(&self) -> u64 {
        self.hashed
    }

    /// The SHA-256 of everything hashed.
    pub fn finish(self) -> [u8; 32] {
        self.state.finalize().into()
    }

    /// The state, to be continued later: `crate version (8) ‖ bytes hashed (8) ‖ state (104)`. It
    /// can hold up to 63 bytes of content: seal it ([`super::FileKey::seal_state`]).
    pub fn save(&self) -> Vec<u8> {
        let mut saved = CRATE.to_vec();
        saved.extend_from_slice(&self.hashed.to_be_bytes());
        saved.extend_from_slice(&self.state.serialize());
        saved
    }

    /// Continues from a saved state.
    ///
    /// # Errors
    /// [`VaultError::OtherDigestVersion`] if another version of the hash library saved it: read the
    /// bytes again. [`VaultError::Malformed`] if it is no saved state.
    pub fn restore(saved: &[u8]) -> Result<Self, VaultError> {
        let malformed = VaultError::Malformed { what: WHAT };
        let (version, rest) = saved.split_first_chunk::<8>().ok_or(malformed)?;
        if *version != CRATE {
            return Err(VaultError::OtherDigestVersion);
        }
        let (hashed, state) = rest.split_first_chunk::<8>().ok_or(malformed)?;
        let state = SerializedState::<Sha256>::try_from(state).map_err(|_| malformed)?;
        let hashed = u64::from_be_bytes(*hashed);
        // The unfinished block's length stands behind words and count.
        if state.get(WORDS + 8).map(|length| u64::from(*length)) != Some(hashed % BLOCK as u64) {
            return Err(malformed);
        }
        let state = Sha256::deserialize(&state).map_err(|_| malformed)?;
        Ok(Self { state, hashed })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r16_a_restored_digest_equals_a_streaming_one() {
        let content: Vec<u8> = (0..1000_u32).map(|i| (i * 7) as u8).collect();
        let expected: [u8; 32] = Sha256::digest(&content).into();
        for cut in 0..=content.len() {
            let mut before = Digest::new();
            before.update(&content[..cut]);
            let saved = before.save();
            assert_eq!(saved.len(), 120);
            let mut after = Digest::restore(&saved).unwrap();
            assert_eq!(after.hashed(), cut as u64);
            after.update(&content[cut..]);
            assert_eq!((after.hashed(), after.finish()), (1000, expected));
        }
    }

    proptest! {
        /// Both libraries are one SHA-256, wherever the bytes are split.
        #[test]
        fn r16_pieces_of_any_length_give_the_digest_of_the_whole(
            pieces in prop::collection::vec(0usize..6000, 0..12), seed in any::<u8>(),
        ) {
            let whole: Vec<u8> = (0..pieces.iter().sum::<usize>()).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
            let (mut digest, mut at, mut plain) = (Digest::new(), 0, Sha256::new());
            for piece in pieces {
                digest.update(&whole[at..at + piece]);
                plain.update(&whole[at..at + piece]);
                at += piece;
                prop_assert_eq!(&digest.save()[16..], &plain.serialize()[..]);
            }
            let expected: [u8; 32] = plain.finalize().into();
            prop_assert_eq!(digest.finish(), expected);
        }
    }

    /// FIPS 180-4's own examples (csrc.nist.gov, "SHA256.pdf": one block, and two), by the
    /// compression function alone.
    #[test]
    fn r16_known_answers_of_the_compression_function() {
        let padded = |text: &[u8], blocks: usize| {
            let mut bytes = [text, &[0x80]].concat();
            bytes.resize(blocks * BLOCK - 8, 0);
            bytes.extend_from_slice(&(text.len() as u64 * 8).to_be_bytes());
            bytes
        };
        let short = padded(b"abc", 1);
        let long = padded(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 2);
        for (message, expected) in [
            (&short, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (&long, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
        ] {
            // FIPS 180-4, section 5.3.3.
            let mut words: Words = [
                0x6a09_e667,
                0xbb67_ae85,
                0x3c6e_f372,
                0xa54f_f53a,
                0x510e_527f,
                0x9b05_688c,
                0x1f83_d9ab,
                0x5be0_cd19,
            ];
            sha256_blocks::compress(&mut words, message.as_chunks().0);
            let found: String = words.iter().map(|word| format!("{word:08x}")).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_is_no_state_of_this_library_is_refused() {
        let saved = Digest::new().save();
        for length in 0..saved.len() {
            assert!(Digest::restore(&saved[..length]).is_err(), "{length}");
        }
        assert!(Digest::restore(&[&saved[..], &[0]].concat()).is_err());
        let mut other = saved;
        other[3] = b'2';
        assert_eq!(Digest::restore(&other).err(), Some(VaultError::OtherDigestVersion));
    }

    #[test]
    fn r08_the_saved_form_has_not_drifted() {
        let mut digest = Digest::new();
        digest.update(&[0x61; 67]);
        let saved = hex::encode(digest.save());
        assert!(saved.starts_with("302e3131000000000000000000000043"), "{saved}");
        let golden = include_str!("../../../tests/data/golden-v1/digest-state.hex").trim();
        assert_eq!(saved, golden);
    }
}
