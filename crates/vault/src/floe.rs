//! FLOE (c2sp.org/FLOE) with AES-256-GCM and HKDF-Expand-SHA-384: one message, sealed segment by
//! segment under one key, opened at any place. Nobody but `extent` uses it. All integers are
//! big-endian.
//!
//! A message is a header `parameters ‖ iv ‖ header tag`, then full inner segments, then exactly one
//! last segment, which may be empty. The header tag commits to key, parameters, iv and associated
//! data, and is checked before anything else.

use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::aead::{NONCE, SegmentKey, TAG};
use super::derive::expand_sha384;
use super::{VaultError, random};

/// Bytes of parameters: AEAD id (0: AES-256-GCM), KDF id (0: HKDF-Expand-SHA-384), u32 segment
/// length, u32 iv length.
const PARAMETERS: usize = 10;
const IV: usize = 32;
const HEADER_TAG: usize = 32;
/// Bytes of a message's header.
pub(super) const HEADER: usize = PARAMETERS + IV + HEADER_TAG;
/// Bytes before the text of a segment: its length field and its nonce.
pub(super) const LEAD: usize = 4 + NONCE;
/// Bytes that a segment has beside its text.
pub(super) const OVERHEAD: usize = LEAD + TAG;
/// A message has at most this many segments.
pub(super) const MAX_SEGMENTS: u64 = 1 << 40;
/// The length field of every segment but the last.
const INNER: [u8; 4] = [0xff; 4];

const HEADER_WHAT: &str = "encryption header";
const SEGMENT_WHAT: &str = "encrypted segment";

/// What both ends must agree on.
#[derive(Clone, Copy)]
pub(super) struct Parameters {
    /// Bytes of a full encrypted segment, more than [`OVERHEAD`].
    pub(super) segment: u32,
    /// The AEAD key changes every `2^rotation` segments.
    pub(super) rotation: u32,
}

impl Parameters {
    fn to_bytes(self) -> [u8; PARAMETERS] {
        let mut bytes = [0; PARAMETERS];
        bytes[2..6].copy_from_slice(&self.segment.to_be_bytes());
        bytes[9] = IV as u8;
        bytes
    }

    /// The first position that shares its key with `position`.
    fn epoch(self, position: u64) -> u64 {
        position & !((1 << self.rotation) - 1)
    }
}

/// The keys of one message, shared by who seals and who opens it.
struct Message {
    parameters: Parameters,
    header: [u8; HEADER],
    associated_data: Box<[u8]>,
    message_key: Zeroizing<[u8; 48]>,
    first: SegmentKey,
}

impl Message {
    /// Derives everything; the header tag is the right one for this key, whatever `iv`'s origin.
    fn new(parameters: Parameters, key: &[u8; 32], iv: &[u8; IV], associated_data: &[u8]) -> Self {
        let encoded = parameters.to_bytes();
        let tag = expand_sha384(key, &[&encoded, iv, b"HEADER_TAG:", associated_data]);
        let mut header = [0; HEADER];
        header[..PARAMETERS].copy_from_slice(&encoded);
        header[PARAMETERS..PARAMETERS + IV].copy_from_slice(iv);
        header[PARAMETERS + IV..].copy_from_slice(&tag[..HEADER_TAG]);
        let message_key = expand_sha384(key, &[&encoded, iv, b"MESSAGE_KEY:", associated_data]);
        let first = segment_key(&message_key, &header, 0, associated_data);
        Self { parameters, header, associated_data: associated_data.into(), message_key, first }
    }

    fn key_of_epoch(&self, epoch: u64) -> SegmentKey {
        segment_key(&self.message_key, &self.header, epoch, &self.associated_data)
    }
}

fn segment_key(message_key: &[u8; 48], header: &[u8; HEADER], epoch: u64, associated_data: &[u8]) -> SegmentKey {
    let (context, _) = header.split_at(PARAMETERS + IV);
    let okm = expand_sha384(message_key, &[context, b"DEK:", &epoch.to_be_bytes(), associated_data]);
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&okm[..32]);
    SegmentKey::new(&key)
}

fn segment_aad(position: u64, last: bool) -> [u8; 9] {
    let mut aad = [0; 9];
    aad[..8].copy_from_slice(&position.to_be_bytes());
    aad[8] = u8::from(last);
    aad
}

/// Seals one message, segment after segment.
pub(super) struct Sealer {
    message: Arc<Message>,
    position: u64,
    /// The key of the present epoch, once it is not the first any more.
    later: Option<SegmentKey>,
    ended: bool,
}

impl Sealer {
    /// Begins a message under a key that may be used for many, with a fresh iv.
    pub(super) fn new(parameters: Parameters, key: &[u8; 32], associated_data: &[u8]) -> Result<Self, VaultError> {
        let message = Arc::new(Message::new(parameters, key, &random::array()?, associated_data));
        Ok(Self { message, position: 0, later: None, ended: false })
    }

    pub(super) fn header(&self) -> &[u8; HEADER] {
        &self.message.header
    }

    /// Opens what this sealer has sealed.
    pub(super) fn opener(&self) -> Opener {
        Opener { message: Arc::clone(&self.message) }
    }

    /// Seals a full segment in place: its text lies at `LEAD..`, the rest of it is written here.
    pub(super) fn seal_inner(&mut self, segment: &mut [u8]) -> Result<(), VaultError> {
        if segment.len() != self.message.parameters.segment as usize {
            return Err(VaultError::Malformed { what: "segment to seal" });
        }
        // The last of all possible positions is kept free for the last segment.
        if self.position >= MAX_SEGMENTS - 1 {
            return Err(VaultError::TooManyEncryptions);
        }
        self.seal(segment, INNER, false)
    }

    /// Seals the last segment in place: [`OVERHEAD`] and up to a full segment's text.
    pub(super) fn seal_last(&mut self, segment: &mut [u8]) -> Result<(), VaultError> {
        let length = match u32::try_from(segment.len()) {
            Ok(length) if length <= self.message.parameters.segment => length.to_be_bytes(),
            _ => return Err(VaultError::Malformed { what: "segment to seal" }),
        };
        self.seal(segment, length, true)
    }

    fn seal(&mut self, segment: &mut [u8], length_field: [u8; 4], last: bool) -> Result<(), VaultError> {
        if self.ended {
            return Err(VaultError::Ended);
        }
        let malformed = VaultError::Malformed { what: "segment to seal" };
        let (lead, rest) = segment.split_first_chunk_mut::<LEAD>().ok_or(malformed)?;
        let (text, tag_bytes) = rest.split_last_chunk_mut::<TAG>().ok_or(malformed)?;
        let nonce: [u8; NONCE] = random::array()?;
        let epoch = self.message.parameters.epoch(self.position);
        if epoch == self.position && epoch != 0 {
            self.later = Some(self.message.key_of_epoch(epoch));
        }
        let key = self.later.as_ref().unwrap_or(&self.message.first);
        *tag_bytes = key.seal(&nonce, &segment_aad(self.position, last), text)?;
        lead[..4].copy_from_slice(&length_field);
        lead[4..].copy_from_slice(&nonce);
        self.position += 1;
        self.ended = last;
        Ok(())
    }
}

/// Opens the segments of one message, in any order and from several threads.
#[derive(Clone)]
pub(super) struct Opener {
    message: Arc<Message>,
}

impl Opener {
    /// Checks a header: parameters by comparison, its tag in constant time. Nothing is decrypted
    /// with a wrong key.
    pub(super) fn new(
        parameters: Parameters,
        key: &[u8; 32],
        associated_data: &[u8],
        header: &[u8; HEADER],
    ) -> Result<Self, VaultError> {
        let malformed = VaultError::Malformed { what: HEADER_WHAT };
        let (encoded, rest) = header.split_first_chunk::<PARAMETERS>().ok_or(malformed)?;
        let (iv, tag) = rest.split_first_chunk::<IV>().ok_or(malformed)?;
        if *encoded != parameters.to_bytes() {
            return Err(VaultError::Tampered { what: HEADER_WHAT });
        }
        let message = Message::new(parameters, key, iv, associated_data);
        if !bool::from(message.header[PARAMETERS + IV..].ct_eq(tag)) {
            return Err(VaultError::WrongKey { what: HEADER_WHAT });
        }
        Ok(Self { message: Arc::new(message) })
    }

    /// Opens the segment at `position` in place and gives its text.
    pub(super) fn open<'a>(
        &self,
        position: u64,
        last: bool,
        segment: &'a mut [u8],
    ) -> Result<&'a mut [u8], VaultError> {
        let tampered = VaultError::Tampered { what: SEGMENT_WHAT };
        let full = self.message.parameters.segment;
        let expected_field = match u32::try_from(segment.len()) {
            Ok(length) if last && length <= full => length.to_be_bytes(),
            Ok(length) if !last && length == full => INNER,
            _ => return Err(tampered),
        };
        let (lead, rest) = segment.split_first_chunk_mut::<LEAD>().ok_or(tampered)?;
        let text = rest.len().checked_sub(TAG).ok_or(tampered)?;
        let (length_field, nonce) = lead.split_first_chunk::<4>().ok_or(tampered)?;
        let nonce: &[u8; NONCE] = nonce.try_into().map_err(|_| tampered)?;
        // The AEAD does not see the length field: it has to be compared (design trap 1).
        if *length_field != expected_field || position >= MAX_SEGMENTS {
            return Err(tampered);
        }
        let aad = segment_aad(position, last);
        match self.message.parameters.epoch(position) {
            0 => self.message.first.open(nonce, &aad, rest, SEGMENT_WHAT)?,
            epoch => self.message.key_of_epoch(epoch).open(nonce, &aad, rest, SEGMENT_WHAT)?,
        }
        rest.get_mut(..text).ok_or(tampered)
    }
}

#[cfg(test)]
#[path = "floe_tests.rs"]
mod tests;
