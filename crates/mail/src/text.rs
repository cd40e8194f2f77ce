//! The words of a notice: subject and body, German or English. `templates/` holds the bodies,
//! `notes` the sentences about single files, `customer` what customers are told.

#[path = "customer.rs"]
mod customer;
#[path = "notes.rs"]
mod notes;

use askama::Template;

use crate::notice::{DueNotice, FileLine, News, Standing};
use tacdrop_model::sanitize;
use tacdrop_model::{Audience, Identifier, Language, Priority, Reference, Time};

/// How many files a notice shows in full. Of more it gives the number and the command that lists
/// them.
pub const FILES_SHOWN: usize = 50;

/// The longest title in a subject, in characters: phones show less.
const SUBJECT_TITLE: usize = 120;
/// The longest title, name or organisation in a body, in characters.
const BODY_TEXT: usize = 500;

/// A notice in words.
pub(super) struct Text {
    /// One line, with no character that acts.
    pub(super) subject: String,
    /// Lines ended by LF, each with no character that acts.
    pub(super) body: String,
}

/// Writes a notice in its recipient's language.
pub(super) fn write(notice: &DueNotice) -> Result<Text, askama::Error> {
    match notice.audience {
        Audience::Engineers => for_engineers(notice),
        Audience::Customers | Audience::Contact | Audience::Watcher | Audience::Sender => customer::write(notice),
    }
}

fn for_engineers(notice: &DueNotice) -> Result<Text, askama::Error> {
    let language = notice.recipient.language;
    let ticket = &notice.ticket;
    let news = Sums::of(notice);
    let files: Vec<Block> = notice
        .files
        .iter()
        .take(FILES_SHOWN)
        .zip(1..)
        .map(|(file, number)| Block::of(file, number, language))
        .collect();
    let summary = news.words(language);
    let title = ticket.title.as_deref().map(str::trim).filter(|title| !title.is_empty());
    let subject = subject(&ticket.reference, &summary, title);
    let letter = Letter {
        headline: match language {
            Language::En => format!("{summary} for ticket {}", ticket.reference),
            Language::De => format!("{summary} für Ticket {}", ticket.reference),
        },
        instead_of: notice.recipient.instead_of.as_deref().map(|name| sanitize::short_line(name, BODY_TEXT)),
        title: title.map(|title| sanitize::short_line(title, BODY_TEXT)),
        priority: priority(ticket.priority, language),
        organisation: sanitize::short_line(&ticket.organisation, BODY_TEXT),
        total: news.total(),
        more: news.total().saturating_sub(count(files.len())).saturating_sub(count(notice.unreadable.len())),
        files,
        unreadable: &notice.unreadable,
        missing: notice.missing.iter().map(|item| sanitize::short_line(item, BODY_TEXT)).collect(),
        reference: ticket.reference.name(),
        notice: notice.id.to_string(),
    };
    let mut body = match language {
        Language::En => English { letter: &letter }.render()?,
        Language::De => German { letter: &letter }.render()?,
    };
    body.push('\n');
    Ok(Text { subject, body })
}

/// `[REF] SUMMARY: TITLE`, on one line.
fn subject(reference: &Reference, summary: &str, title: Option<&str>) -> String {
    match title {
        // `=?` begins an encoded word (RFC 2047): typed by a person it must not turn into other
        // text.
        Some(title) => {
            let title = sanitize::short_line(title, SUBJECT_TITLE).replace("=?", "= ?");
            format!("[{reference}] {summary}: {title}")
        }
        None => format!("[{reference}] {summary}"),
    }
}

/// What both templates show.
struct Letter<'a> {
    headline: String,
    instead_of: Option<String>,
    title: Option<String>,
    priority: String,
    organisation: String,
    files: Vec<Block>,
    total: u64,
    more: u64,
    unreadable: &'a [String],
    missing: Vec<String>,
    reference: &'a Identifier,
    notice: String,
}

#[derive(Template)]
#[template(path = "notice.en.txt", escape = "none")]
struct English<'a> {
    letter: &'a Letter<'a>,
}

#[derive(Template)]
#[template(path = "notice.de.txt", escape = "none")]
struct German<'a> {
    letter: &'a Letter<'a>,
}

/// How many files came, are not whole, will be removed, or were deleted. What is not whole is never counted as a
/// new file.
struct Sums {
    arrived: u64,
    incomplete: u64,
    expiring: u64,
    deleted: u64,
}

impl Sums {
    fn of(notice: &DueNotice) -> Self {
        let unreadable = count(notice.unreadable.len());
        let of = |wanted: fn(&News) -> bool| count(notice.files.iter().filter(|file| wanted(&file.news)).count());
        Self {
            arrived: of(|news| matches!(news, News::Arrived(_)))
                .saturating_add(notice.more_files)
                .saturating_add(unreadable),
            incomplete: of(|news| matches!(news, News::Incomplete(_))).saturating_add(notice.more_unfinished),
            expiring: of(|news| matches!(news, News::Expiring { .. })),
            deleted: of(|news| matches!(news, News::Deleted)).saturating_add(notice.more_deleted),
        }
    }

    fn total(&self) -> u64 {
        [self.incomplete, self.expiring, self.deleted].into_iter().fold(self.arrived, u64::saturating_add)
    }

    fn words(&self, language: Language) -> String {
        let all = [
            match (language, self.arrived) {
                (_, 0) => None,
                (Language::En, 1) => Some("1 new file".to_owned()),
                (Language::En, n) => Some(format!("{n} new files")),
                (Language::De, 1) => Some("1 neue Datei".to_owned()),
                (Language::De, n) => Some(format!("{n} neue Dateien")),
            },
            match (language, self.incomplete) {
                (_, 0) => None,
                (Language::En, 1) => Some("1 incomplete file".to_owned()),
                (Language::En, n) => Some(format!("{n} incomplete files")),
                (Language::De, 1) => Some("1 unvollständige Datei".to_owned()),
                (Language::De, n) => Some(format!("{n} unvollständige Dateien")),
            },
            match (language, self.expiring) {
                (_, 0) => None,
                (Language::En, 1) => Some("1 unfinished file will be removed".to_owned()),
                (Language::En, n) => Some(format!("{n} unfinished files will be removed")),
                (Language::De, 1) => Some("1 unfertige Datei wird entfernt".to_owned()),
                (Language::De, n) => Some(format!("{n} unfertige Dateien werden entfernt")),
            },
            match (language, self.deleted) {
                (_, 0) => None,
                (Language::En, 1) => Some("1 file was deleted".to_owned()),
                (Language::En, n) => Some(format!("{n} files were deleted")),
                (Language::De, 1) => Some("1 Datei wurde gelöscht".to_owned()),
                (Language::De, n) => Some(format!("{n} Dateien wurden gelöscht")),
            },
        ];
        all.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// One file, in words.
struct Block {
    number: u32,
    name: String,
    notes: Vec<String>,
    uploaded_by: String,
    whole: Option<Whole>,
}

/// What only a file that came has.
struct Whole {
    size: String,
    received: String,
    sha256: String,
    place: Option<Place>,
}

/// Where it can be fetched.
struct Place {
    location: String,
    fetch: Option<String>,
}

impl Block {
    fn of(file: &FileLine, number: u32, language: Language) -> Self {
        Self {
            number,
            // A path has at most 1024 bytes: it is never cut.
            name: sanitize::quoted(file.path.to_bytes().strip_prefix(b"/").unwrap_or_default()),
            notes: notes::of(file, language),
            uploaded_by: sanitize::short_line(&file.uploaded_by, BODY_TEXT),
            whole: match &file.news {
                News::Arrived(arrival) => Some(Whole {
                    size: size(arrival.size, language),
                    received: moment(arrival.received_at),
                    sha256: hex::encode(arrival.sha256),
                    place: (arrival.standing == Standing::Available).then(|| Place {
                        location: sanitize::line(&arrival.location).into_owned(),
                        fetch: arrival.fetch.as_deref().map(|fetch| sanitize::line(fetch).into_owned()),
                    }),
                }),
                News::Incomplete(_) | News::Expiring { .. } | News::Deleted => None,
            },
        }
    }
}

/// The number and its name, as the priority table of the support house has it.
fn priority(priority: Priority, language: Language) -> String {
    let name = match (language, priority.number()) {
        (Language::En, 1) => "critical",
        (Language::En, 2) => "high",
        (Language::En, 3) => "medium",
        (Language::En, _) => "low",
        (Language::De, 1) => "kritisch",
        (Language::De, 2) => "hoch",
        (Language::De, 3) => "mittel",
        (Language::De, _) => "niedrig",
    };
    format!("{priority} ({name})")
}

/// `4.2 MiB (4,404,019 bytes)`, `4,2 MiB (4.404.019 Bytes)`, `1 byte`. Rounded down, so that it
/// never claims more.
fn size(bytes: u64, language: Language) -> String {
    let point = if language == Language::En { '.' } else { ',' };
    let exact = exact(bytes, language);
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    match units.iter().zip(1u32..).take_while(|(_, power)| bytes >> (10 * power) > 0).last() {
        Some((unit, power)) => {
            let tenths = (u128::from(bytes) * 10) >> (10 * power);
            format!("{}{point}{} {unit} ({exact})", tenths / 10, tenths % 10)
        }
        None => exact,
    }
}

/// `12,345 bytes`, `12.345 Bytes`.
fn exact(bytes: u64, language: Language) -> String {
    let (separator, one, many) = match language {
        Language::En => (',', "byte", "bytes"),
        Language::De => ('.', "Byte", "Bytes"),
    };
    let digits = bytes.to_string();
    let mut exact = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            exact.push(separator);
        }
        exact.push(digit);
    }
    format!("{exact} {}", if bytes == 1 { one } else { many })
}

/// `2026-11-22 01:08:00 UTC`: RFC 3339 made readable.
fn moment(time: Time) -> String {
    time.to_string().replace('T', " ").replace('Z', " UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{arrival, file, notice};

    const ENGLISH: &str = "\
2 new files for ticket XT-4711

Title: BGP flaps after the upgrade
Priority: 2 (high)
Organisation: Müller & Söhne GmbH

--- 1 of 2 ---
File: \"logs/show tech Größe.txt\"
Size: 4.2 MiB (4,404,020 bytes)
Uploaded by: XT-4711
Received: 2023-11-14 22:13:20 UTC
SHA-256:
0101010101010101010101010101010101010101010101010101010101010101
Location:
sftp://files.example.org:2222/XT-4711/logs/show%20tech%20Gr%C3%B6%C3%9Fe.txt
Fetch it with:
sftp -P 2222 'anna@files.example.org:/XT-4711/logs/show tech Größe.txt'

--- 2 of 2 ---
File: \"core.gz\"
Version 3, replaces version 2 (12,345 bytes)
Size: 1 byte
Uploaded by: XT-4711
Received: 2023-11-14 22:13:20 UTC
SHA-256:
0202020202020202020202020202020202020202020202020202020202020202
Location:
sftp://files.example.org:2222/XT-4711/core.gz
Fetch it with:
sftp -P 2222 'anna@files.example.org:/XT-4711/core.gz'

Sent by tacdrop as notice
0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
";

    const GERMAN: &str = "\
2 neue Dateien für Ticket XT-4711

Titel: BGP flaps after the upgrade
Priorität: 2 (hoch)
Organisation: Müller & Söhne GmbH

--- 1 von 2 ---
Datei: \"logs/show tech Größe.txt\"
Größe: 4,2 MiB (4.404.020 Bytes)
Hochgeladen von: XT-4711
Empfangen: 2023-11-14 22:13:20 UTC
SHA-256:
0101010101010101010101010101010101010101010101010101010101010101
Ablageort:
sftp://files.example.org:2222/XT-4711/logs/show%20tech%20Gr%C3%B6%C3%9Fe.txt
Abholen mit:
sftp -P 2222 'anna@files.example.org:/XT-4711/logs/show tech Größe.txt'

--- 2 von 2 ---
Datei: \"core.gz\"
Version 3, ersetzt Version 2 (12.345 Bytes)
Größe: 1 Byte
Hochgeladen von: XT-4711
Empfangen: 2023-11-14 22:13:20 UTC
SHA-256:
0202020202020202020202020202020202020202020202020202020202020202
Ablageort:
sftp://files.example.org:2222/XT-4711/core.gz
Abholen mit:
sftp -P 2222 'anna@files.example.org:/XT-4711/core.gz'

Von tacdrop verschickt als Mitteilung
0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
";

    #[test]
    fn a_deputy_reads_for_whom_a_notice_is() {
        for (language, line) in [
            (Language::En, "\nIn place of: Anna\u{fffd}, who is away\n"),
            (Language::De, "\nAnstelle von: Anna\u{fffd} (abwesend)\n"),
        ] {
            let mut due = notice(language);
            assert!(!write(&due).unwrap().body.contains(line.split(':').next().unwrap()));
            due.recipient.instead_of = Some("Anna\n".to_owned());
            let body = write(&due).unwrap().body;
            assert!(body.contains(line), "{body}");
        }
    }

    #[test]
    fn what_a_ticket_lacks_stands_before_its_files() {
        for (language, lines) in [
            (Language::En, "Still missing:\n- serial\u{fffd}number\n- a\n"),
            (Language::De, "Es fehlt noch:\n- serial"),
        ] {
            let mut due = notice(language);
            due.missing = vec!["serial\nnumber".to_owned(), "a".to_owned()];
            let body = write(&due).unwrap().body;
            assert!(body.contains(lines) && body.find(lines) < body.find("--- 1 "), "{body}");
        }
    }

    #[test]
    fn the_whole_text_in_both_languages() {
        let mut notice = notice(Language::En);
        let text = write(&notice).unwrap();
        assert_eq!(text.body, ENGLISH);
        assert_eq!(text.subject, "[XT-4711] 2 new files: BGP flaps after the upgrade");
        notice.recipient.language = Language::De;
        let text = write(&notice).unwrap();
        assert_eq!(text.body, GERMAN);
        assert_eq!(text.subject, "[XT-4711] 2 neue Dateien: BGP flaps after the upgrade");
    }

    #[test]
    fn a_reference_is_read_as_it_is_written_and_typed_as_it_logs_in() {
        let mut notice = notice(Language::En);
        (notice.ticket.reference, notice.more_files) = ("RT #4711".parse().unwrap(), 1);
        let text = write(&notice).unwrap();
        assert_eq!(text.subject, "[RT #4711] 3 new files: BGP flaps after the upgrade");
        assert!(text.body.starts_with("3 new files for ticket RT #4711\n"), "{}", text.body);
        assert!(text.body.contains("\ntacdrop artifact list RT-4711\n"), "{}", text.body);
    }

    #[test]
    fn one_is_singular_and_no_title_leaves_no_line() {
        for (language, subject, headline) in [
            (Language::En, "[XT-4711] 1 new file", "1 new file for ticket XT-4711\n\nPriority:"),
            (Language::De, "[XT-4711] 1 neue Datei", "1 neue Datei für Ticket XT-4711\n\nPriorität:"),
        ] {
            let mut notice = notice(language);
            notice.files.truncate(1);
            for title in [None, Some(" ".to_owned())] {
                notice.ticket.title = title;
                let text = write(&notice).unwrap();
                assert_eq!(text.subject, subject);
                assert!(text.body.starts_with(headline), "{}", text.body);
            }
        }
    }

    #[test]
    fn of_many_files_fifty_are_shown_and_the_rest_is_counted() {
        let mut notice = notice(Language::En);
        notice.files = (0..51).map(|i| file(&format!("file-{i}.txt"), i + 1)).collect();
        let text = write(&notice).unwrap();
        assert_eq!(text.subject, "[XT-4711] 51 new files: BGP flaps after the upgrade");
        assert!(text.body.contains("--- 50 of 51 ---\nFile: \"file-49.txt\"\n"));
        assert!(!text.body.contains("file-50.txt"));
        let tail = "\n1 more file is not shown here. List all with:\ntacdrop artifact list XT-4711\n\nSent by";
        assert!(text.body.contains(tail), "{}", text.body);

        notice.files.truncate(50);
        assert!(!write(&notice).unwrap().body.contains("artifact list"));

        notice.more_files = 1_000;
        notice.recipient.language = Language::De;
        let text = write(&notice).unwrap();
        assert!(text.body.contains("--- 50 von 1050 ---"));
        let tail =
            "\n1000 weitere Dateien sind hier nicht aufgeführt. Alle zeigt:\ntacdrop artifact list XT-4711\n\nVon";
        assert!(text.body.contains(tail), "{}", text.body);
    }

    #[test]
    fn r60_what_people_typed_stays_on_its_line() {
        let mut notice = notice(Language::En);
        notice.ticket.title = Some("x\r\nBcc: a@b\n\n--- 9 of 9 ---\x1b[31m".to_owned());
        notice.ticket.organisation = "Evil\nLocation:\nsftp://evil".to_owned();
        for file in &mut notice.files {
            file.uploaded_by = "eve\r\n.\r\nMAIL FROM:<a@b>".to_owned();
            arrival(file).location.push_str("\nsftp://evil");
            arrival(file).fetch.as_mut().unwrap().push_str("\u{2028}rm -rf /");
        }
        let text = write(&notice).unwrap();
        assert_eq!(text.body.lines().count(), ENGLISH.lines().count());
        assert!(!text.body.chars().chain(text.subject.chars()).any(|c| c.is_control() && c != '\n'));
        assert!(!text.subject.contains('\n'));
        assert!(!text.body.contains('\u{2028}'));
        assert_eq!(text.body.lines().filter(|line| *line == "Location:").count(), 2);
        assert!(!text.body.lines().any(|line| line.starts_with("sftp://evil") || line == "."));
    }

    #[test]
    fn sizes_are_exact_and_readable() {
        for (bytes, en, de) in [
            (0, "0 bytes", "0 Bytes"),
            (1, "1 byte", "1 Byte"),
            (1023, "1,023 bytes", "1.023 Bytes"),
            (1024, "1.0 KiB (1,024 bytes)", "1,0 KiB (1.024 Bytes)"),
            (1_048_575, "1023.9 KiB (1,048,575 bytes)", "1023,9 KiB (1.048.575 Bytes)"),
            (1 << 30, "1.0 GiB (1,073,741,824 bytes)", "1,0 GiB (1.073.741.824 Bytes)"),
            (u64::MAX, "15.9 EiB (18,446,744,073,709,551,615 bytes)", "15,9 EiB (18.446.744.073.709.551.615 Bytes)"),
        ] {
            assert_eq!(size(bytes, Language::En), en);
            assert_eq!(size(bytes, Language::De), de);
        }
    }

    #[test]
    fn each_priority_has_its_name() {
        let all = |language| (1..=4).map(move |n| priority(Priority::try_from(n).unwrap(), language));
        assert_eq!(all(Language::En).collect::<Vec<_>>(), ["1 (critical)", "2 (high)", "3 (medium)", "4 (low)"]);
        assert_eq!(all(Language::De).collect::<Vec<_>>(), ["1 (kritisch)", "2 (hoch)", "3 (mittel)", "4 (niedrig)"]);
    }
}
