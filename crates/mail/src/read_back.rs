//! A notice read back by somebody who knows its form and nothing else: whatever people type, it
//! finds the files that were told, all of them and no other, and the header fields that each mail
//! has.

use proptest::prelude::*;

use crate::fixtures::{arrival, file, notice};
use crate::message::{Mail, Sender};
use crate::notice::{Check, DueNotice, News, Standing, Unfinished};
use tacdrop_model::{FileName, Language, SharePath, Verdict};

/// What a block of a notice says.
#[derive(Debug, Default, PartialEq)]
struct Told {
    name: Vec<u8>,
    size: Option<String>,
    sha256: Option<String>,
    location: Option<String>,
    fetch: Option<String>,
    uploaded_by: String,
}

/// The words of a language, as a reader knows them.
struct Words {
    of: &'static str,
    file: &'static str,
    size: &'static str,
    uploaded_by: &'static str,
    location: &'static str,
    fetch: &'static str,
    sent: &'static str,
}

const ENGLISH: Words = Words {
    of: "of",
    file: "File: ",
    size: "Size: ",
    uploaded_by: "Uploaded by: ",
    location: "Location:",
    fetch: "Fetch it with:",
    sent: "Sent by tacdrop as notice",
};

const GERMAN: Words = Words {
    of: "von",
    file: "Datei: ",
    size: "Größe: ",
    uploaded_by: "Hochgeladen von: ",
    location: "Ablageort:",
    fetch: "Abholen mit:",
    sent: "Von tacdrop verschickt als Mitteilung",
};

/// Head and body, decoded (RFC 2045, sections 2.8 and 6.7).
fn parts(bytes: &[u8]) -> (Vec<String>, String) {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = str::from_utf8(&bytes[..at]).unwrap().to_owned();
    let mut body = bytes[at + 4..].to_vec();
    if head.to_lowercase().contains("content-transfer-encoding: quoted-printable") {
        let (mut decoded, mut rest) = (Vec::new(), &body[..]);
        while let Some((byte, after)) = rest.split_first() {
            if *byte != b'=' {
                decoded.push(*byte);
                rest = after;
            } else if let Some(after) = after.strip_prefix(b"\r\n") {
                rest = after;
            } else {
                decoded.push(u8::from_str_radix(str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
                rest = &after[2..];
            }
        }
        body = decoded;
    }
    let fields = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
    let fields = fields.map(|line| line.split(':').next().unwrap().to_owned()).collect();
    (fields, String::from_utf8(body).unwrap())
}

/// The lines as any program might see them: broken at whatever Unicode or a terminal takes for the
/// end of a line.
fn lines(body: &str) -> Vec<String> {
    let ends = ['\n', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}', '\r'];
    body.replace("\r\n", "\n").split(ends).map(str::to_owned).collect()
}

/// The bytes of a name in quotation marks.
fn unquoted(text: &str) -> Vec<u8> {
    let mut rest = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).expect("quotation marks");
    let mut bytes = Vec::new();
    while let Some(c) = rest.chars().next() {
        assert_ne!(c, '"', "{text}");
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else if let Some(after) = rest.strip_prefix("u{") {
            let (digits, after) = after.split_once('}').unwrap();
            let c = char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap();
            bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = after;
        } else if let Some(after) = rest.strip_prefix('x') {
            bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
            rest = &after[2..];
        } else {
            assert!(rest.starts_with(['"', '\\']), "{text}");
            bytes.push(rest.as_bytes()[0]);
            rest = &rest[1..];
        }
    }
    bytes
}

/// Reads the blocks: each begins behind an empty line with its number, and ends with an empty line.
fn told(lines: &[String], words: &Words) -> Vec<Told> {
    let mut all: Vec<Told> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let number = format!("--- {} {} ", all.len() + 1, words.of);
        if at == 0 || !lines[at - 1].is_empty() || !lines[at].starts_with(&number) || !lines[at].ends_with(" ---") {
            at += 1;
            continue;
        }
        let name = lines[at + 1].strip_prefix(words.file).expect("a block begins with the name");
        let mut block = Told { name: unquoted(name), ..Told::default() };
        at += 2;
        while !lines[at].is_empty() {
            let line = &lines[at];
            if let Some(size) = line.strip_prefix(words.size) {
                assert!(block.size.replace(size.to_owned()).is_none(), "two sizes");
            } else if let Some(who) = line.strip_prefix(words.uploaded_by) {
                who.clone_into(&mut block.uploaded_by);
            }
            for (heading, into) in [
                ("SHA-256:", &mut block.sha256),
                (words.location, &mut block.location),
                (words.fetch, &mut block.fetch),
            ] {
                if line == heading {
                    assert!(into.replace(lines[at + 1].clone()).is_none(), "{heading} twice");
                }
            }
            at += 1;
        }
        all.push(block);
    }
    let behind = lines.iter().position(|line| line == words.sent).expect("who sent it");
    assert!(lines[behind + 2..].iter().all(String::is_empty), "nothing comes behind the notice's id");
    all
}

/// What somebody types who wants a notice to say something else.
fn typed() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("File: \"evil\""),
        Just("Datei: \"evil\""),
        Just("--- 1 of 1 ---"),
        Just("--- 2 von 2 ---"),
        Just("Size: 1 byte"),
        Just("SHA-256:"),
        Just("Location:"),
        Just("sftp://evil/x"),
        Just("Fetch it with:"),
        Just("Abholen mit:"),
        Just("Uploaded by: eve"),
        Just("Sent by tacdrop as notice"),
        Just("Bcc: eve@evil.example"),
        Just("Content-Type: text/html"),
        Just("."),
        Just("From eve"),
        Just("=?utf-8?q?=0D=0ABcc:_a@b?="),
        Just("=?utf-8?b?DQpCY2M6IGFAYg==?="),
        Just("\""),
        Just("\\"),
        Just("\\u{a}"),
        Just("=0A=0D=3D"),
        Just("a@b>,<c@d"),
        Just(" "),
        Just(""),
        Just("ä漢😀"),
    ];
    let between = prop_oneof![
        Just("\n"),
        Just("\r\n"),
        Just("\r"),
        Just("\n\n"),
        Just("\r\n\r\n"),
        Just("\u{2028}"),
        Just("\u{2029}"),
        Just("\u{85}"),
        Just("\u{b}"),
        Just("\u{c}"),
        Just("\u{1c}"),
        Just("\u{202e}"),
        Just("\u{2066}"),
        Just("\u{feff}"),
        Just("\u{e0041}"),
        Just("\u{5d0}\u{5d1}"),
        Just("\t"),
        Just("\0"),
        Just("\x1b[2J"),
        Just(" "),
    ];
    let piece = prop_oneof![2 => line.prop_map(str::to_owned), 2 => between.prop_map(str::to_owned), 1 => any::<String>(),
        1 => (1..700usize).prop_map(|many| "x".repeat(many)), 1 => (1..300usize).prop_map(|many| "ü".repeat(many))];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// A path out of such text, or of any bytes.
fn path() -> impl Strategy<Value = SharePath> {
    let bytes = prop_oneof![
        3 => typed().prop_map(String::into_bytes),
        1 => any::<Vec<u8>>(),
        1 => (typed(), any::<Vec<u8>>()).prop_map(|(text, bytes)| [text.as_bytes(), &bytes].concat()),
    ];
    let name = bytes.prop_map(|mut bytes| {
        // What a name may not hold is replaced, as it never gets here.
        bytes.truncate(200);
        FileName::new(&bytes).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&bytes).replace(|c: char| c == '/' || c.is_control(), "_");
            FileName::new(text.as_bytes()).unwrap_or_else(|_| FileName::new(b"f").unwrap())
        })
    });
    proptest::collection::vec(name, 1..4).prop_map(SharePath::from_names)
}

/// What people gave to one notice.
#[derive(Debug)]
struct Typed {
    title: Option<String>,
    organisation: String,
    engineer: String,
    /// Of each file its path, what there is to say of it, and the name of a file that it states a
    /// digest of.
    files: Vec<(SharePath, u8, String)>,
    german: bool,
}

fn anything() -> impl Strategy<Value = Typed> {
    let files = proptest::collection::vec((path(), 0..5u8, typed()), 1..5);
    (proptest::option::of(typed()), typed(), typed(), files, any::<bool>()).prop_map(
        |(title, organisation, engineer, files, german)| Typed { title, organisation, engineer, files, german },
    )
}

fn notice_of(typed: Typed) -> DueNotice {
    let mut notice = notice(if typed.german { Language::De } else { Language::En });
    notice.ticket.title = typed.title;
    notice.ticket.organisation = typed.organisation;
    notice.recipient.name = typed.engineer;
    notice.files.clear();
    for (number, (path, kind, other)) in (1..).zip(typed.files) {
        let mut line = file("f", number);
        let of_arrival = arrival(&mut line);
        of_arrival.location = format!("sftp://h:2222/XT-4711/{}", path.url_encoded());
        of_arrival.fetch = Some(format!("scp -P 2222 'anna@h:/XT-4711/{number}' ."));
        let check = |of| Check { algorithm: tacdrop_model::Algorithm::Md5, verdict: Verdict::Differs, of };
        match kind {
            0 => line.news = News::Incomplete(Unfinished::new(1, 2)),
            1 => of_arrival.standing = Standing::Withdrawn,
            2 => of_arrival.checks = vec![check(Some(other))],
            3 => of_arrival.checks = vec![check(None)],
            4 => line.news = News::Deleted,
            _ => {}
        }
        line.path = path;
        notice.files.push(line);
    }
    notice
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn r60_r83_a_notice_tells_its_files_and_no_others_whatever_people_type(typed in anything()) {
        let due = notice_of(typed);
        let sender = Sender::new("tacdrop@example.org").unwrap();
        let (usual, _) = parts(Mail::of(&notice(Language::En), &sender).unwrap().bytes());
        let mail = Mail::of(&due, &sender).unwrap();
        for bytes in [mail.bytes(), mail.seven_bit()] {
            let (fields, body) = parts(bytes);
            prop_assert_eq!(&fields, &usual);
            prop_assert_eq!(lines(&body).len(), body.matches("\r\n").count() + 1, "something else ends a line");
            // Above the first block stand what it is about, and a line each for title, priority and
            // organisation.
            let above = lines(&body).iter().position(|line| line.starts_with("--- 1 ")).unwrap();
            let with_title = due.ticket.title.as_deref().is_some_and(|title| !title.trim().is_empty());
            prop_assert_eq!(above, 5 + usize::from(with_title));
            prop_assert!(bytes.split(|byte| *byte == b'\n').all(|line| line.len() <= 999), "a line is too long for mail");
            let words = if due.recipient.language == Language::De { &GERMAN } else { &ENGLISH };
            let found = told(&lines(&body), words);
            prop_assert_eq!(found.len(), due.files.len());
            for (found, file) in found.iter().zip(&due.files) {
                prop_assert_eq!(&found.name, &file.path.to_bytes()[1..]);
                prop_assert_eq!(&found.uploaded_by, &file.uploaded_by);
                match &file.news {
                    News::Arrived(arrival) => {
                        let shown = arrival.standing == Standing::Available;
                        prop_assert_eq!(&found.sha256, &Some(hex::encode(arrival.sha256)));
                        prop_assert_eq!(&found.location, &shown.then(|| arrival.location.clone()));
                        prop_assert_eq!(&found.fetch, &shown.then(|| arrival.fetch.clone()).flatten());
                        prop_assert!(found.size.is_some());
                    }
                    _ => prop_assert!(found.size.is_none() && found.sha256.is_none() && found.fetch.is_none()),
                }
            }
        }
    }
}
