//! What a client says first, read before anything is done for it: its version line, and the
//! algorithms that it knows. Only `greeter` uses it. Nothing is judged here; what cannot be read is
//! left to russh, which refuses it.

/// The longest version line, with its end (RFC 4253, section 4.2).
const VERSION_LINE: usize = 255;
/// The longest packet (RFC 4253, section 6.1), in bytes.
const PACKET: usize = 35_000;
/// As many bytes are enough for both.
pub(super) const MOST: usize = VERSION_LINE + 4 + PACKET;
/// The message that lists algorithms (RFC 4253, section 12).
const KEXINIT: u8 = 20;

/// How far a client has come with its first words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening<'a> {
    /// Its version line has not ended.
    Nothing,
    /// It has, and the list of algorithms has not.
    Version,
    /// The names of the key exchanges that it knows, separated by commas.
    Offer(&'a [u8]),
    /// It is not what opens a conversation.
    Odd,
}

impl<'a> Opening<'a> {
    /// By all the bytes that have come.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let line = bytes.get(..VERSION_LINE).unwrap_or(bytes);
        let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
            return if line.len() < VERSION_LINE { Self::Nothing } else { Self::Odd };
        };
        let rest = bytes.get(end + 1..).unwrap_or_default();
        // Of the packet: its length, the length of its padding, its kind (RFC 4253, section 6).
        let &[a, b, c, d, padding, kind, ..] = rest else { return Self::Version };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > PACKET || kind != KEXINIT {
            return Self::Odd;
        }
        let Some(packet) = rest.get(5..4 + length) else {
            return if length < 2 { Self::Odd } else { Self::Version };
        };
        let payload = packet.len().checked_sub(usize::from(padding)).and_then(|length| packet.get(..length));
        match payload.and_then(Self::first_list) {
            Some(names) => Self::Offer(names),
            None => Self::Odd,
        }
    }

    /// The first list behind the kind and the cookie (RFC 4253, section 7.1).
    fn first_list(payload: &[u8]) -> Option<&[u8]> {
        let (length, lists) = payload.get(17..)?.split_at_checked(4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        lists.get(..usize::try_from(length).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opening(version: &str, kinds: &str, padding: u8) -> Vec<u8> {
        let names = u32::try_from(kinds.len()).unwrap().to_be_bytes();
        let payload = [&[KEXINIT][..], &[7; 16], &names, kinds.as_bytes(), &[0; 41]].concat();
        let length = u32::try_from(payload.len() + 1 + usize::from(padding)).unwrap().to_be_bytes();
        [version.as_bytes(), &length, &[padding], &payload, &vec![0; padding.into()]].concat()
    }

    #[test]
    fn the_names_are_found_once_all_is_there_and_not_before() {
        for version in ["SSH-2.0-OpenSSH_9.2p1\r\n", "SSH-2.0-x\n", "\n"] {
            let whole = opening(version, "curve25519-sha256,ext-info-c", 9);
            for end in 0..whole.len() {
                let expected = if end < version.len() { Opening::Nothing } else { Opening::Version };
                assert_eq!(Opening::of(&whole[..end]), expected, "{end}");
            }
            let more = [&whole[..], b"what comes next"].concat();
            for bytes in [&whole, &more] {
                assert_eq!(Opening::of(bytes), Opening::Offer(b"curve25519-sha256,ext-info-c"));
            }
        }
    }

    #[test]
    fn what_is_no_opening_is_odd_at_once() {
        assert_eq!(Opening::of(&[b'x'; VERSION_LINE]), Opening::Odd);
        assert_eq!(Opening::of(b"GET / HTTP/1.1\r\nHost: x\r\n"), Opening::Odd);
        assert_eq!(Opening::of(b"SSH-2.0-x\r\n\0\0\0\x0c\x0a\x02......"), Opening::Odd, "another message");
        assert_eq!(Opening::of(b"SSH-2.0-x\r\n\0\0\0\x01\x00\x14"), Opening::Odd, "too short for a kind");
        assert_eq!(
            Opening::of(b"SSH-2.0-x\r\n\0\0\0\x0c\xff\x14............"),
            Opening::Odd,
            "more padding than packet"
        );
        let mut longer = opening("SSH-2.0-x\r\n", "a,b", 4);
        longer[11 + 5 + 17] = 1;
        assert_eq!(Opening::of(&longer), Opening::Odd, "a list that ends behind its packet");
    }

    proptest! {
        #[test]
        fn nothing_that_comes_is_unfinished_for_ever(bytes in proptest::collection::vec(any::<u8>(), MOST..MOST + 10)) {
            prop_assert!(!matches!(Opening::of(&bytes), Opening::Nothing | Opening::Version));
        }

        #[test]
        fn whatever_comes_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..300), named: bool) {
            let bytes = if named { [b"SSH-2.0-x\n\0\0\0", &bytes[..]].concat() } else { bytes };
            let _ = Opening::of(&bytes);
        }
    }
}
