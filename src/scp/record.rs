//! The control lines of a sender, without their newline. There is no specification; these are the
//! rules of OpenSSH's `scp.c`, made strict.

use crate::model::name::NameError;
use crate::model::{FileName, Refusal, Time};

/// The longest control line, in bytes, without its newline: a name that may be as long as a path,
/// and what stands before it.
pub(super) const MAX_LINE: usize = crate::model::path::MAX_PATH + 64;

/// A control line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// `C`: a file, of `size` bytes.
    File { mode: u32, size: u64, name: Named },
    /// `D`: a directory begins.
    Directory { mode: u32, name: Named },
    /// `E`: a directory ends.
    End,
    /// `T`: when the next file or directory was changed.
    Times { modified: Time },
}

/// A name, or why a file cannot have it; then as much of it as can be shown.
pub(super) type Named = Result<FileName, (Refusal, Vec<u8>)>;

/// The line breaks the protocol: nobody knows what follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Result<Record, Broken> {
    let (kind, rest) = line.split_first().ok_or(Broken)?;
    match kind {
        b'C' => {
            let (mode, size, name) = entry(rest)?;
            Ok(Record::File { mode, size, name })
        }
        b'D' => {
            let (mode, _, name) = entry(rest)?;
            Ok(Record::Directory { mode, name })
        }
        b'E' if rest.is_empty() => Ok(Record::End),
        b'T' => times(rest),
        _ => Err(Broken),
    }
}

/// `MODE SIZE NAME`.
fn entry(rest: &[u8]) -> Result<(u32, u64, Named), Broken> {
    let mut words = rest.splitn(3, |byte| *byte == b' ');
    let (mode, size, name) = (words.next().ok_or(Broken)?, words.next().ok_or(Broken)?, words.next().ok_or(Broken)?);
    if !(3..=6).contains(&mode.len()) || !mode.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
        return Err(Broken);
    }
    let mode = mode.iter().fold(0, |mode, digit| mode * 8 + u32::from(digit - b'0')) & 0o777;
    let size = number(size)?;
    // A sender that means to climb out of the target is not asked what else it has.
    if name.contains(&b'/') {
        return Err(Broken);
    }
    let name = match FileName::new(name) {
        Ok(name) => Ok(name),
        Err(NameError::Reserved) => return Err(Broken),
        Err(NameError::TooLong) => Err((Refusal::PathTooLong, name.to_vec())),
        Err(NameError::Character) => Err((Refusal::BadName, name.to_vec())),
    };
    Ok((mode, size, name))
}

/// `SECONDS MICROSECONDS SECONDS MICROSECONDS`: changed, read.
fn times(rest: &[u8]) -> Result<Record, Broken> {
    let numbers = rest.split(|byte| *byte == b' ').map(number).collect::<Result<Vec<_>, _>>()?;
    let [modified, micros, _, read_micros] = numbers[..] else { return Err(Broken) };
    if micros > 999_999 || read_micros > 999_999 {
        return Err(Broken);
    }
    // SFTP version 3 could not say more than 32 bits of seconds.
    let seconds = u32::try_from(modified).unwrap_or(u32::MAX);
    Ok(Record::Times { modified: Time::from_seconds(i64::from(seconds)) })
}

/// Digits only, and at most what a signed 64-bit number holds.
fn number(digits: &[u8]) -> Result<u64, Broken> {
    if !(1..=19).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Broken);
    }
    let value = digits.iter().try_fold(0i64, |value, digit| {
        value.checked_mul(10).and_then(|value| value.checked_add(i64::from(digit - b'0')))
    });
    value.and_then(|value| u64::try_from(value).ok()).ok_or(Broken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(mode: u32, size: u64, name: &[u8]) -> Result<Record, Broken> {
        Ok(Record::File { mode, size, name: Ok(FileName::new(name).unwrap()) })
    }

    #[test]
    fn records_are_read() {
        assert_eq!(parse(b"C0644 12 a b.txt"), file(0o644, 12, b"a b.txt"));
        assert_eq!(parse(b"C100644 0  x"), file(0o644, 0, b" x"));
        assert_eq!(parse(b"C7777 9223372036854775807 \xff"), file(0o777, i64::MAX as u64, b"\xff"));
        let directory = Record::Directory { mode: 0o755, name: Ok(FileName::new(b"logs").unwrap()) };
        assert_eq!(parse(b"D0755 0 logs"), Ok(directory));
        assert_eq!(parse(b"E"), Ok(Record::End));
        assert_eq!(
            parse(b"T1700000000 0 1700000001 999999"),
            Ok(Record::Times { modified: Time::from_seconds(1_700_000_000) })
        );
        let last = Time::from_seconds(i64::from(u32::MAX));
        assert_eq!(parse(b"T9223372036854775807 0 0 0"), Ok(Record::Times { modified: last }));
    }

    #[test]
    fn r54_names_that_no_file_may_have_concern_one_file_only() {
        let refused = |line: &[u8]| match parse(line) {
            Ok(Record::File { name: Err((refusal, _)), .. }) => Some(refusal),
            _ => None,
        };
        assert_eq!(refused(b"C0644 1 a\x1b[31mb"), Some(Refusal::BadName));
        assert_eq!(refused("C0644 1 a\u{202e}b".as_bytes()), Some(Refusal::BadName));
        assert_eq!(refused(&[&b"C0644 1 "[..], &[b'x'; 256]].concat()), Some(Refusal::PathTooLong));
    }

    #[test]
    fn r55_lines_that_break_the_protocol_are_told() {
        let lines: &[&[u8]] = &[
            b"",
            b"C",
            b"C ",
            b"C0644",
            b"C0644 1",
            b"C0644 1 ",
            b"C0644  x",
            b"C0644 -1 x",
            b"C0644 +1 x",
            b"C0644 0x1 x",
            b"C0644 9223372036854775808 x",
            b"C0644 99999999999999999999 x",
            b"C 0644 1 x",
            b"C0684 1 x",
            b"C64 1 x",
            b"C0000644 1 x",
            b"C-644 1 x",
            b"C0644 1 .",
            b"C0644 1 ..",
            b"C0644 1 ../x",
            b"C0644 1 /etc/passwd",
            b"C0644 1 a/b",
            b"D0755 0 ..",
            b"D0755 0 a/..",
            b"D0755 x",
            b"E ",
            b"E0",
            b"T",
            b"T1",
            b"T1 0 1",
            b"T1 0 1 0 0",
            b"T1 1000000 1 0",
            b"T-1 0 1 0",
            b"T1 0 1 x",
            b"c0644 1 x",
            b"X",
            b"ls",
            b"\x00",
            b"\x03",
        ];
        for line in lines {
            assert_eq!(parse(line), Err(Broken), "{}", line.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn r55_no_line_panics_and_no_name_leaves_its_directory(line in prop::collection::vec(any::<u8>(), 0..200)) {
            for line in [line.clone(), [b"C0644 1 ", &line[..]].concat(), [b"D0755 0 ", &line[..]].concat()] {
                if let Ok(Record::File { name: Ok(name), .. } | Record::Directory { name: Ok(name), .. }) = parse(&line) {
                    prop_assert!(!name.as_bytes().contains(&b'/') && name.as_bytes() != b"..");
                }
            }
        }
    }
}
