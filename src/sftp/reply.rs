//! Replies of SFTP version 3, appended to a buffer. Only `session`, `verbs` and `reads` use it.

use russh_sftp::protocol::{FileAttr, StatusCode};

use crate::access::{Attributes, Login, PlaceKind, Unfinished};
use crate::model::{Algorithm, Language, Refusal, Time};

use super::handles::Handle;
use super::status;

const FXP_VERSION: u8 = 2;
const FXP_STATUS: u8 = 101;
const FXP_HANDLE: u8 = 102;
const FXP_DATA: u8 = 103;
const FXP_NAME: u8 = 104;
const FXP_ATTRS: u8 = 105;
const FXP_EXTENDED_REPLY: u8 = 201;

/// What VERSION offers, as (name, version) pairs of OpenSSH's `PROTOCOL` file; `home-directory` is
/// draft-ietf-secsh-filexfer-extensions-00, section 5.
const EXTENSIONS: &[(&[u8], &[u8])] = &[
    (b"posix-rename@openssh.com", b"1"),
    (b"statvfs@openssh.com", b"2"),
    (b"fstatvfs@openssh.com", b"2"),
    (b"fsync@openssh.com", b"1"),
    (b"limits@openssh.com", b"1"),
    (b"home-directory", b"1"),
];

const CHECK_FILE: &[u8] = b"check-file";

/// The file type bits of POSIX `st_mode`.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// Six months (of an average Gregorian year), in seconds: `ls` shows the year of what is older.
const SIX_MONTHS: i64 = 31_556_952 / 2;

/// The group that listings show of everything that is whole; of the rest they show there how it is
/// not.
const GROUP: &str = "tacdrop";

/// One name of a NAME reply.
pub(crate) struct Name<'a> {
    pub(crate) name: &'a [u8],
    /// In the form of `ls -l`; FileZilla and OpenSSH's `ls -l` read and show it.
    pub(crate) longname: Vec<u8>,
    /// None: nothing is known of it (REALPATH).
    pub(crate) attributes: Option<&'a Attributes>,
}

/// `algorithms`: the digests that `check-file` offers. paramiko's server names them in the same
/// place; clients look for the extension's name.
pub(crate) fn version(out: &mut Vec<u8>, algorithms: &[Algorithm]) {
    let algorithms = algorithms.iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>().join(",");
    packet(out, FXP_VERSION, |out| {
        put_u32(out, 3);
        for (name, version) in EXTENSIONS {
            put_string(out, name);
            put_string(out, version);
        }
        put_string(out, CHECK_FILE);
        put_string(out, algorithms.as_bytes());
    });
}

/// The reply of draft-ietf-secsh-filexfer-extensions-00, section 3: which algorithm it is, then the
/// digest without a length. WinSCP reads it so, and ProFTPD sends it so; what paramiko reads begins
/// with the extension's name (`echoes`).
pub(crate) fn checked(out: &mut Vec<u8>, id: u32, echoes: bool, algorithm: Algorithm, digest: &[u8]) {
    packet(out, FXP_EXTENDED_REPLY, |out| {
        put_u32(out, id);
        if echoes {
            put_string(out, CHECK_FILE);
        }
        put_string(out, algorithm.as_str().as_bytes());
        out.extend_from_slice(digest);
    });
}

pub(crate) fn ok(out: &mut Vec<u8>, id: u32) {
    put_status(out, id, StatusCode::Ok, "OK", Language::En);
}

pub(crate) fn end_of_file(out: &mut Vec<u8>, id: u32) {
    put_status(out, id, StatusCode::Eof, "EOF", Language::En);
}

pub(crate) fn refused(out: &mut Vec<u8>, id: u32, refusal: Refusal, language: Language) {
    put_status(out, id, status::code(refusal), refusal.sentence(language), language);
}

/// The same in the words of a login, which say more of a closed ticket.
pub(crate) fn refused_to(out: &mut Vec<u8>, id: u32, refusal: Refusal, login: &Login) {
    put_status(out, id, status::code(refusal), &login.sentence(refusal), login.language());
}

pub(crate) fn handle(out: &mut Vec<u8>, id: u32, handle: &Handle) {
    packet(out, FXP_HANDLE, |out| {
        put_u32(out, id);
        put_string(out, handle.as_bytes());
    });
}

pub(crate) fn attributes(out: &mut Vec<u8>, id: u32, attributes: &Attributes) {
    packet(out, FXP_ATTRS, |out| {
        put_u32(out, id);
        put_attributes(out, Some(attributes));
    });
}

pub(crate) fn names<'a>(out: &mut Vec<u8>, id: u32, names: impl ExactSizeIterator<Item = Name<'a>>) {
    packet(out, FXP_NAME, |out| {
        put_u32(out, id);
        put_u32(out, u32::try_from(names.len()).unwrap_or(u32::MAX));
        for name in names {
            put_string(out, name.name);
            put_string(out, &name.longname);
            put_attributes(out, name.attributes);
        }
    });
}

/// limits@openssh.com and statvfs@openssh.com answer a row of 64-bit numbers.
pub(crate) fn numbers(out: &mut Vec<u8>, id: u32, numbers: &[u64]) {
    packet(out, FXP_EXTENDED_REPLY, |out| {
        put_u32(out, id);
        for number in numbers {
            out.extend_from_slice(&number.to_be_bytes());
        }
    });
}

/// A DATA reply that is built in one buffer: the payload is appended behind a reserved head.
pub(crate) struct Data {
    buffer: Vec<u8>,
}

impl Data {
    /// Length, type, id, length of the payload.
    const HEAD: usize = 4 + 1 + 4 + 4;

    pub(crate) fn new(id: u32, payload: usize) -> Self {
        let mut buffer = Vec::with_capacity(Self::HEAD + payload);
        buffer.extend_from_slice(&[0, 0, 0, 0, FXP_DATA]);
        put_u32(&mut buffer, id);
        put_u32(&mut buffer, 0);
        Self { buffer }
    }

    /// Where the payload is appended.
    pub(crate) fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len().saturating_sub(Self::HEAD)
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let payload = self.len();
        patch(&mut self.buffer, 0, payload + Self::HEAD - 4);
        patch(&mut self.buffer, Self::HEAD - 4, payload);
        self.buffer
    }
}

/// A line as `ls -l` prints it, in UTC: with the time of day for the last six months, else with the
/// year. What is not whole yet says so in the group's column: clients show it and parse around it.
pub(crate) fn longname(
    name: &[u8],
    attributes: &Attributes,
    owner: &str,
    unfinished: Option<Unfinished>,
    now: Time,
) -> Vec<u8> {
    let group = unfinished.map_or(GROUP, Unfinished::as_str);
    let (kind, links) = match attributes.kind {
        PlaceKind::File => ('-', 1),
        PlaceKind::Directory => ('d', 2),
    };
    let mut mode = String::with_capacity(10);
    mode.push(kind);
    for (bit, letter) in (0..9).rev().zip("rwxrwxrwx".chars()) {
        mode.push(if attributes.mode & (1 << bit) == 0 { '-' } else { letter });
    }
    let age = now.seconds().saturating_sub(attributes.modified.seconds());
    let form = if (0..SIX_MONTHS).contains(&age) { "%b %e %H:%M" } else { "%b %e  %Y" };
    let moment = jiff::Timestamp::from_second(attributes.modified.seconds()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let date = moment.strftime(form);
    let size = attributes.size;
    let mut line = format!("{mode} {links:>4} {owner:<8} {group:<8} {size:>10} {date} ").into_bytes();
    line.extend_from_slice(name);
    line
}

fn put_status(out: &mut Vec<u8>, id: u32, code: StatusCode, sentence: &str, language: Language) {
    packet(out, FXP_STATUS, |out| {
        put_u32(out, id);
        put_u32(out, code as u32);
        put_string(out, sentence.as_bytes());
        put_string(out, language.code().as_bytes());
    });
}

/// ATTRS (draft, section 5). Owner and group are 0 for everything: the names stand in the longname,
/// and clients that compare numbers (gvfs) find that all belongs to one.
fn put_attributes(out: &mut Vec<u8>, attributes: Option<&Attributes>) {
    let Some(attributes) = attributes else { return put_u32(out, 0) };
    let present = FileAttr::SIZE | FileAttr::UIDGID | FileAttr::PERMISSIONS | FileAttr::ACMODTIME;
    let kind = match attributes.kind {
        PlaceKind::File => REGULAR,
        PlaceKind::Directory => DIRECTORY,
    };
    let modified = u32::try_from(attributes.modified.seconds().max(0)).unwrap_or(u32::MAX);
    put_u32(out, present.bits());
    out.extend_from_slice(&attributes.size.to_be_bytes());
    for number in [0, 0, kind | (attributes.mode & 0o7777), modified, modified] {
        put_u32(out, number);
    }
}

/// A packet around what `body` appends. Replies stay far below 4 GiB, so their length always fits.
fn packet(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    body(out);
    let length = out.len() - start - 4;
    patch(out, start, length);
}

fn patch(out: &mut [u8], at: usize, length: usize) {
    if let Some(field) = out.get_mut(at..at + 4) {
        field.copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use russh_sftp::protocol::Packet;

    use super::*;

    /// Reads a reply as another implementation understands it.
    fn read(out: Vec<u8>) -> Packet {
        let length = u32::from_be_bytes(out[..4].try_into().unwrap());
        assert_eq!(length as usize, out.len() - 4);
        Packet::try_from(&mut Bytes::from(out[4..].to_vec())).unwrap()
    }

    fn file(seconds: i64) -> Attributes {
        Attributes { kind: PlaceKind::File, size: 1234, mode: 0o640, modified: Time::from_seconds(seconds) }
    }

    #[test]
    fn another_implementation_reads_every_reply() {
        let mut out = Vec::new();
        version(&mut out, &[Algorithm::Sha256, Algorithm::Md5]);
        match read(out) {
            Packet::Version(version) => {
                assert_eq!((version.version, version.extensions["limits@openssh.com"].as_str()), (3, "1"));
                assert_eq!(version.extensions["check-file"], "sha256,md5");
                assert_eq!(version.extensions.len(), EXTENSIONS.len() + 1);
            }
            other => panic!("{other:?}"),
        }

        let mut out = Vec::new();
        refused(&mut out, 7, Refusal::NoSuchFile, Language::De);
        match read(out) {
            Packet::Status(status) => {
                assert_eq!((status.id, status.status_code), (7, StatusCode::NoSuchFile));
                assert_eq!(status.error_message, Refusal::NoSuchFile.sentence(Language::De));
                assert_eq!(status.language_tag, "de");
            }
            other => panic!("{other:?}"),
        }

        let mut out = Vec::new();
        attributes(&mut out, 8, &file(1_700_000_000));
        match read(out) {
            Packet::Attrs(attrs) => {
                assert_eq!((attrs.attrs.size, attrs.attrs.mtime), (Some(1234), Some(1_700_000_000)));
                assert_eq!(attrs.attrs.permissions, Some(0o100_640));
            }
            other => panic!("{other:?}"),
        }

        let mut out = Vec::new();
        let attributes = file(-5);
        let all = [("a", Some(&attributes)), ("b", None)];
        names(
            &mut out,
            9,
            all.iter().map(|(name, attributes)| Name {
                name: name.as_bytes(),
                longname: b"long".to_vec(),
                attributes: *attributes,
            }),
        );
        match read(out) {
            Packet::Name(name) => {
                assert_eq!(name.files.len(), 2);
                assert_eq!((name.files[0].attrs.mtime, name.files[1].attrs.mtime), (Some(0), None));
                assert_eq!((name.files[1].filename.as_str(), name.files[1].longname.as_str()), ("b", "long"));
            }
            other => panic!("{other:?}"),
        }

        let mut data = Data::new(10, 100);
        data.payload().extend_from_slice(b"payload");
        assert_eq!(data.len(), 7);
        match read(data.finish()) {
            Packet::Data(data) => assert_eq!((data.id, &data.data[..]), (10, &b"payload"[..])),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn r17_a_checked_file_is_answered_as_the_draft_has_it_and_as_paramiko_reads_it() {
        let mut out = Vec::new();
        checked(&mut out, 7, false, Algorithm::Md5, &[9; 16]);
        assert_eq!(out, [&b"\0\0\0\x1c\xc9\0\0\0\x07\0\0\0\x03md5"[..], &[9; 16]].concat());
        out.clear();
        checked(&mut out, 7, true, Algorithm::Md5, &[9; 16]);
        assert_eq!(out, [&b"\0\0\0\x2a\xc9\0\0\0\x07\0\0\0\x0acheck-file\0\0\0\x03md5"[..], &[9; 16]].concat());
    }

    #[test]
    fn replies_are_appended_to_each_other() {
        let mut out = Vec::new();
        ok(&mut out, 1);
        let first = out.clone();
        end_of_file(&mut out, 2);
        assert!(out.starts_with(&first));
        assert!(matches!(read(out.split_off(first.len())), Packet::Status(status) if status.id == 2));
    }

    #[test]
    fn longnames_look_like_ls() {
        let now = Time::from_seconds(1_795_308_000); // 2026-11-22T00:40:00Z
        let line =
            |attributes: &Attributes| String::from_utf8(longname(b"NAME", attributes, "OWNER", None, now)).unwrap();
        assert_eq!(line(&file(1_795_307_940)), "-rw-r-----    1 OWNER    tacdrop        1234 Nov 22 00:39 NAME");
        assert_eq!(line(&file(1_700_000_000)), "-rw-r-----    1 OWNER    tacdrop        1234 Nov 14  2023 NAME");
        let future = file(1_795_308_000 + 90_000);
        assert!(line(&future).contains("Nov 23  2026"), "{}", line(&future));
        let directory = Attributes { kind: PlaceKind::Directory, mode: 0o750, size: 0, ..future };
        assert!(line(&directory).starts_with("drwxr-x---    2 OWNER    tacdrop           0 "));
        assert!(longname(b"a\xff", &file(0), "O", None, now).ends_with(b" Jan  1  1970 a\xff"));
    }

    /// FileZilla takes size and kind from this line, lftp and WinSCP owner and group: blanks part
    /// the first eight fields whatever they hold, one blank comes before the name, and the rest is
    /// the name.
    #[test]
    fn r50_longnames_have_nine_fields_whatever_stands_in_them() {
        let now = Time::from_seconds(1_795_308_000);
        let directory = |attributes: Attributes| Attributes { kind: PlaceKind::Directory, ..attributes };
        for name in ["a", " leading", "  two", "trailing ", "Nov 22 00:39 x", "4711", "a -> b", "x*", "\u{1f600}"] {
            for owner in ["4711", "XT-4711", &"x".repeat(64)] {
                for size in [0, 1 << 33, 99_999_999_999, 1 << 40, u64::MAX >> 1] {
                    for seconds in [-1, 0, 1_795_307_999, 1_795_308_001, 1_700_000_000, i64::from(u32::MAX)] {
                        let file = Attributes { size, ..file(seconds) };
                        for attributes in [file.clone(), directory(file)] {
                            let line = longname(name.as_bytes(), &attributes, owner, None, now);
                            let line = String::from_utf8(line).unwrap();
                            let mut rest = line.as_str();
                            let mut fields = Vec::new();
                            for _ in 0..8 {
                                let (field, behind) = rest.trim_start_matches(' ').split_once(' ').unwrap();
                                fields.push(field);
                                rest = behind;
                            }
                            assert_eq!(rest, name, "{line}");
                            assert!(fields[0].len() == 10 && fields[0].starts_with(['-', 'd']), "{line}");
                            assert_eq!((fields[2], fields[4]), (owner, &*size.to_string()), "{line}");
                            assert!("JanFebMarAprMayJunJulAugSepOctNovDec".contains(fields[5]), "{line}");
                            assert!((1..=31).contains(&fields[6].parse::<u32>().unwrap()), "{line}");
                            let year = fields[7].parse::<u32>().is_ok_and(|year| (1969..=2106).contains(&year));
                            assert!(year || fields[7].as_bytes()[2] == b':', "{line}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_whole_says_so_where_every_parser_finds_nine_fields() {
        let now = Time::from_seconds(1_795_308_000);
        for unfinished in [None, Some(Unfinished::Receiving), Some(Unfinished::Incomplete)] {
            for seconds in [1_795_307_940, 1_700_000_000] {
                let line = longname(b"show tech.txt", &file(seconds), "XT-4711", unfinished, now);
                let line = String::from_utf8(line).unwrap();
                let fields: Vec<&str> = line.split_whitespace().collect();
                assert_eq!(fields.len(), 10, "{line}");
                assert_eq!(fields[3], unfinished.map_or("tacdrop", Unfinished::as_str));
                assert_eq!((fields[2], fields[4], fields[5]), ("XT-4711", "1234", "Nov"));
                assert_eq!(&fields[8..], ["show", "tech.txt"]);
            }
        }
    }
}
