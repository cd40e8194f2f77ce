//! What customers are told: what support handed back, and the receipts of what they sent.
//!
//! A receipt stands in the text, and is no attachment: an attachment would need a file's name in a
//! header, and a customer chose that. It is cut out from its first line to its last, as it is of the
//! file that the server gives.

use askama::Template;

use super::{BODY_TEXT, FILES_SHOWN, Text, count, moment, size, subject};
use crate::notice::{Arrival, DueNotice, FileLine, News, Standing};
use tacdrop_model::sanitize;
use tacdrop_model::{Audience, Language};

/// The longest receipt, in bytes. A path has at most 1024 bytes, and stands in a receipt twice,
/// percent-encoded.
const LONGEST_RECEIPT: usize = 16 * 1024;

/// Writes a notice to a customer in that one's language. Only what can be fetched is told of.
pub(super) fn write(notice: &DueNotice) -> Result<Text, askama::Error> {
    let (language, ticket) = (notice.recipient.language, &notice.ticket);
    let receipts = notice.audience == Audience::Sender;
    let shown = notice.files.iter().filter_map(whole).take(FILES_SHOWN);
    let files: Vec<Block> = shown.zip(1..).map(|(file, number)| Block::of(file, number, language)).collect();
    let total = count(files.len()).saturating_add(notice.more_files);
    let summary = summary(total, receipts, language);
    let title = ticket.title.as_deref().map(str::trim).filter(|title| !title.is_empty());
    let letter = Letter {
        headline: match language {
            Language::En => format!("{summary} for ticket {}", ticket.reference),
            Language::De => format!("{summary} zu Ticket {}", ticket.reference),
        },
        title: title.map(|title| sanitize::short_line(title, BODY_TEXT)),
        receipts,
        files,
        total,
        more: notice.more_files,
        notice: notice.id.to_string(),
    };
    let mut body = match language {
        Language::En => English { letter: &letter }.render()?,
        Language::De => German { letter: &letter }.render()?,
    };
    body.push('\n');
    Ok(Text { subject: subject(&ticket.reference, &summary, title), body })
}

fn whole(file: &FileLine) -> Option<(&FileLine, &Arrival)> {
    match &file.news {
        News::Arrived(arrival) if arrival.standing == Standing::Available => Some((file, arrival)),
        News::Arrived(_) | News::Incomplete(_) | News::Expiring { .. } | News::Deleted => None,
    }
}

fn summary(total: u64, receipts: bool, language: Language) -> String {
    match (language, receipts, total) {
        (Language::En, false, 1) => "1 file from support".to_owned(),
        (Language::En, false, n) => format!("{n} files from support"),
        (Language::En, true, 1) => "receipt for 1 file".to_owned(),
        (Language::En, true, n) => format!("receipts for {n} files"),
        (Language::De, false, 1) => "1 Datei vom Support".to_owned(),
        (Language::De, false, n) => format!("{n} Dateien vom Support"),
        (Language::De, true, 1) => "Quittung für 1 Datei".to_owned(),
        (Language::De, true, n) => format!("Quittungen für {n} Dateien"),
    }
}

/// What both templates show.
struct Letter {
    headline: String,
    title: Option<String>,
    /// Whether it is about what the reader sent.
    receipts: bool,
    files: Vec<Block>,
    total: u64,
    more: u64,
    notice: String,
}

#[derive(Template)]
#[template(path = "customer.en.txt", escape = "none")]
struct English<'a> {
    letter: &'a Letter,
}

#[derive(Template)]
#[template(path = "customer.de.txt", escape = "none")]
struct German<'a> {
    letter: &'a Letter,
}

/// One file, in words.
struct Block {
    number: u32,
    name: String,
    version: u32,
    size: String,
    by: String,
    at: String,
    sha256: String,
    location: String,
    fetch: Option<String>,
    receipt: Option<String>,
}

impl Block {
    fn of((file, arrival): (&FileLine, &Arrival), number: u32, language: Language) -> Self {
        Self {
            number,
            name: sanitize::quoted(file.path.to_bytes().strip_prefix(b"/").unwrap_or_default()),
            version: file.version,
            size: size(arrival.size, language),
            by: sanitize::short_line(&file.uploaded_by, BODY_TEXT),
            at: moment(arrival.received_at),
            sha256: hex::encode(arrival.sha256),
            location: sanitize::line(&arrival.location).into_owned(),
            fetch: arrival.fetch.as_deref().map(|fetch| sanitize::line(fetch).into_owned()),
            receipt: arrival.receipt.as_deref().and_then(lines),
        }
    }
}

/// A receipt as lines of a mail; none of one that is longer than any is, as a part of one proves
/// nothing.
fn lines(receipt: &str) -> Option<String> {
    let lines: Vec<_> = receipt.lines().map(sanitize::line).collect();
    (receipt.len() <= LONGEST_RECEIPT).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{arrival, file, notice};

    fn to(audience: Audience, language: Language) -> DueNotice {
        let mut due = notice(language);
        due.audience = audience;
        due.files = vec![file("from-support/fix 1.bin", 1)];
        arrival(&mut due.files[0]).receipt = Some("tacdrop receipt 3\nTicket: XT-4711\n-----END-----\n".to_owned());
        due
    }

    const ENGLISH: &str = "\
1 file from support for ticket XT-4711

Title: BGP flaps after the upgrade

--- 1 of 1 ---
File: \"from-support/fix 1.bin\"
Size: 1 byte
Put there by: XT-4711
Put there: 2023-11-14 22:13:20 UTC
SHA-256:
0101010101010101010101010101010101010101010101010101010101010101
Location:
sftp://files.example.org:2222/XT-4711/from-support/fix%201.bin
Fetch it with:
sftp -P 2222 'anna@files.example.org:/XT-4711/from-support/fix 1.bin'
Receipt:
tacdrop receipt 3
Ticket: XT-4711
-----END-----

If you do not want such mails any more, tell your support.
Sent by tacdrop as notice
0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
";

    #[test]
    fn a_customer_reads_what_support_handed_back() {
        let text = write(&to(Audience::Contact, Language::En)).unwrap();
        assert_eq!(text.body, ENGLISH);
        assert_eq!(text.subject, "[XT-4711] 1 file from support: BGP flaps after the upgrade");
        let german = write(&to(Audience::Contact, Language::De)).unwrap();
        assert_eq!(german.subject, "[XT-4711] 1 Datei vom Support: BGP flaps after the upgrade");
        assert_eq!(german.body.lines().count(), ENGLISH.lines().count());
        for line in ["1 Datei vom Support zu Ticket XT-4711", "Abholen mit:", "Quittung:", "Größe: 1 Byte"] {
            assert!(german.body.lines().any(|have| have == line), "{line}: {}", german.body);
        }
    }

    #[test]
    fn who_has_no_login_gets_no_command() {
        let mut due = to(Audience::Watcher, Language::En);
        arrival(&mut due.files[0]).fetch = None;
        let body = write(&due).unwrap().body;
        assert!(!body.contains("Fetch") && body.contains("\nLocation:\nsftp://"), "{body}");
    }

    #[test]
    fn a_sender_reads_receipts_and_nothing_of_support() {
        for (language, subject, word) in [
            (Language::En, "[XT-4711] receipt for 1 file: BGP flaps after the upgrade", "\nReceived: 2023"),
            (Language::De, "[XT-4711] Quittung für 1 Datei: BGP flaps after the upgrade", "\nEmpfangen: 2023"),
        ] {
            let text = write(&to(Audience::Sender, language)).unwrap();
            assert_eq!(text.subject, subject);
            assert!(text.body.contains(word) && !text.body.contains("Put there"), "{}", text.body);
            assert!(text.body.contains("\ntacdrop receipt 3\nTicket: XT-4711\n-----END-----\n"), "{}", text.body);
        }
    }

    #[test]
    fn what_cannot_be_fetched_is_not_told_to_customers() {
        let mut due = to(Audience::Contact, Language::En);
        due.files.extend([Standing::Withdrawn, Standing::Damaged].map(|standing| {
            let mut line = file("from-support/secret", 1);
            arrival(&mut line).standing = standing;
            line
        }));
        let text = write(&due).unwrap();
        assert!(text.subject.contains("1 file from") && !text.body.contains("secret"), "{}", text.body);
    }

    #[test]
    fn r60_no_receipt_and_no_name_makes_lines_of_its_own() {
        let mut due = to(Audience::Contact, Language::En);
        let line = arrival(&mut due.files[0]);
        line.receipt = Some("tacdrop receipt 3\r\u{1b}[31m\u{2028}x\n-----END-----\n".to_owned());
        let body = write(&due).unwrap().body;
        assert!(!body.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{2028}'), "{body:?}");
        arrival(&mut due.files[0]).receipt = Some("x".repeat(LONGEST_RECEIPT + 1));
        assert!(!write(&due).unwrap().body.contains("Receipt:"));
    }
}
