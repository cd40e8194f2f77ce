//! A notice as a mail: RFC 5322 text, the same bytes each time it is made.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use lettre::address::Envelope;
use lettre::message::header::{self, ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MessageBuilder};
use lettre::{Address, Message};

use crate::mailer::DeliveryError;
use crate::notice::DueNotice;
use crate::text;
use tacdrop_model::sanitize;
use tacdrop_model::{NoticeId, Time};

/// The longest line of a mail in octets, without its CRLF (RFC 5322, section 2.1.1).
const LONGEST_LINE: usize = 998;
/// The longest address in octets (RFC 5321, section 4.5.3.1.3, without the angle brackets).
const LONGEST_ADDRESS: usize = 254;
/// The longest name of a person in a header, in characters.
const LONGEST_NAME: usize = 100;

/// Who writes: the `From` of each mail and the domain of each `Message-ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    from: Mailbox,
    domain: String,
}

/// The text is no sender's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a sender is written 'name@domain' or 'Some Name <name@domain>', the address in ASCII (a domain with umlauts as xn--...)"
)]
pub struct SenderError;

impl Sender {
    /// Takes a sender: `tacdrop@example.org` or `Support <support@example.org>`.
    ///
    /// # Errors
    /// [`SenderError`] when the text is no such thing.
    pub fn new(from: &str) -> Result<Self, SenderError> {
        let from = from.trim();
        let (name, address) = match from.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
            Some((name, address)) => (header_name(name.trim().trim_matches('"')), address),
            None => (None, from),
        };
        let address = self::address(address).filter(|_| address.is_ascii()).ok_or(SenderError)?;
        // An address literal like `[192.0.2.1]` cannot stand behind `tacdrop.`.
        let domain = Some(address.domain()).filter(|domain| !domain.starts_with('[')).unwrap_or("localhost");
        Ok(Self { domain: format!("tacdrop.{domain}"), from: Mailbox::new(name, address) })
    }

    /// The sender of an installation that has no mail settings: `tacdrop@HOST`, or
    /// `tacdrop@localhost` when mail knows no such host.
    ///
    /// # Errors
    /// None that a host could cause; the type only says that addresses are parsed.
    pub fn local(host: &str) -> Result<Self, SenderError> {
        Self::new(&format!("tacdrop@{host}")).or_else(|_| Self::new("tacdrop@localhost"))
    }

    /// The `Message-ID` of a notice: the same for each repeat.
    pub(crate) fn message_id(&self, notice: NoticeId) -> String {
        format!("<{notice}@{}>", self.domain)
    }
}

/// A mail, ready to be handed over. It holds file names: it has no `Debug`.
pub struct Mail {
    id: NoticeId,
    envelope: Envelope,
    bytes: Vec<u8>,
    seven_bit: Option<Vec<u8>>,
    names: Vec<String>,
}

impl Mail {
    /// Writes the mail of a notice.
    ///
    /// # Errors
    /// A permanent error when the recipient's address is none.
    pub fn of(notice: &DueNotice, sender: &Sender) -> Result<Self, DeliveryError> {
        let to = address(&notice.recipient.address).ok_or_else(|| {
            let advice = "send it elsewhere with 'tacdrop notice readdress', or assign the ticket to another engineer";
            DeliveryError::Permanent(format!("The address that the notice goes to is not one; {advice}."))
        })?;
        let unwritable = |_: &dyn std::error::Error| DeliveryError::Permanent("The mail cannot be written.".to_owned());
        let envelope = Envelope::new(Some(sender.from.email.clone()), vec![to.clone()]).map_err(|e| unwritable(&e))?;
        let text = text::write(notice).map_err(|e| unwritable(&e))?;

        let mut head = Message::builder()
            .date(calendar_date(notice.created_at))
            .from(sender.from.clone())
            .to(Mailbox::new(header_name(&notice.recipient.name), to))
            .subject(text.subject)
            .message_id(Some(sender.message_id(notice.id)));
        if let Some(first) = notice.first_of_ticket.filter(|first| *first != notice.id) {
            let first = sender.message_id(first);
            head = head.in_reply_to(first.clone()).references(first);
        }
        // RFC 3834, section 5: so that no holiday reply comes back.
        let auto_submitted = HeaderName::new_from_ascii_str("Auto-Submitted");
        head = head
            .raw_header(HeaderValue::new(auto_submitted, "auto-generated".to_owned()))
            .header(header::MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN);

        let quoted = |head: MessageBuilder| {
            let body = Body::new_with_encoding(text.body.clone(), ContentTransferEncoding::QuotedPrintable)
                .map_err(|_| DeliveryError::Permanent("The mail cannot be written.".to_owned()))?;
            Ok(head.body(body).map_err(|e| unwritable(&e))?.formatted())
        };
        // lettre would take quoted-printable for anything that is not ASCII; as it is, people and
        // grep can read it.
        let plain = text.body.lines().all(|line| line.len() <= LONGEST_LINE);
        let (bytes, seven_bit) = if plain {
            let ascii = text.body.is_ascii();
            let encoding = if ascii { ContentTransferEncoding::SevenBit } else { ContentTransferEncoding::EightBit };
            // What it warns of cannot be: no line is too long, and `sanitize` left no control
            // character.
            let body = Body::dangerous_pre_encoded(text.body.replace('\n', "\r\n").into_bytes(), encoding);
            let bytes = head.clone().body(body).map_err(|e| unwritable(&e))?.formatted();
            (bytes, if ascii { None } else { Some(quoted(head)?) })
        } else {
            (quoted(head)?, None)
        };

        let names = notice.files.iter().filter_map(|file| file.path.split_last());
        let names = names.flat_map(|(_, name)| [name.to_string(), name.url_encoded()]).collect();
        Ok(Self { id: notice.id, envelope, bytes, seven_bit, names })
    }

    /// The notice that it is.
    pub fn id(&self) -> NoticeId {
        self.id
    }

    /// Who sends and who receives, as SMTP wants it.
    pub(crate) fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// RFC 5322 text that people can read as it is: 7bit or 8bit, unless a line is too long for
    /// both.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same for a mail server without 8BITMIME (RFC 6152).
    pub(crate) fn seven_bit(&self) -> &[u8] {
        self.seven_bit.as_deref().unwrap_or(&self.bytes)
    }

    /// Whether a text gives away one of the mail's file names: such a text must not go into a log
    /// or the records.
    pub(crate) fn is_named_in(&self, text: &str) -> bool {
        self.names.iter().any(|name| text.contains(name))
    }
}

/// Whether mail can be addressed to this text, `local@domain`: for whoever takes an address from an
/// operator.
pub fn is_address(text: &str) -> bool {
    address(text).is_some()
}

fn address(text: &str) -> Option<Address> {
    // lettre takes a bare IP address for a domain; RFC 5321, section 4.1.3, wants brackets around
    // it.
    text.parse()
        .ok()
        .filter(|address: &Address| text.len() <= LONGEST_ADDRESS && address.domain().parse::<IpAddr>().is_err())
}

/// A person's name for a header; none when nothing is left of it.
fn header_name(name: &str) -> Option<String> {
    let name = sanitize::short_line(name.trim(), LONGEST_NAME).replace("=?", "= ?");
    Some(name).filter(|name| !name.is_empty())
}

/// The moment for a `Date` header, kept inside the years 1970 to 9999 that such a header has.
fn calendar_date(time: Time) -> SystemTime {
    const LAST_OF_9999: i64 = 253_402_300_799;
    let seconds = time.seconds().clamp(0, LAST_OF_9999).unsigned_abs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{arrival, file, notice};
    use tacdrop_model::Language;

    fn sender() -> Sender {
        Sender::new("tacdrop <support@example.org>").unwrap()
    }

    fn head_and_body(bytes: &[u8]) -> (String, String) {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (format!("{head}\r\n"), body.to_owned())
    }

    #[test]
    fn the_whole_head_and_a_body_that_grep_can_read() {
        let mail = Mail::of(&notice(Language::De), &sender()).unwrap();
        let (head, body) = head_and_body(mail.bytes());
        assert_eq!(
            head,
            "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n\
             From: tacdrop <support@example.org>\r\n\
             To: =?utf-8?b?QW5uYSBLw7ZobGVy?= <anna@example.org>\r\n\
             Subject: [XT-4711] 2 neue Dateien: BGP flaps after the upgrade\r\n\
             Message-ID: <0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a@tacdrop.example.org>\r\n\
             In-Reply-To: <01010101010101010101010101010101@tacdrop.example.org>\r\n\
             References: <01010101010101010101010101010101@tacdrop.example.org>\r\n\
             Auto-Submitted: auto-generated\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: 8bit\r\n"
        );
        for line in [
            "Größe: 4,2 MiB (4.404.020 Bytes)",
            "0101010101010101010101010101010101010101010101010101010101010101",
            "sftp://files.example.org:2222/XT-4711/logs/show%20tech%20Gr%C3%B6%C3%9Fe.txt",
        ] {
            assert!(body.contains(&format!("\r\n{line}\r\n")), "{line}");
        }
        assert!(!body.replace("\r\n", "").contains(['\r', '\n']));
        assert!(mail.seven_bit().is_ascii());
        assert!(String::from_utf8_lossy(mail.seven_bit()).contains("Gr=C3=B6=C3=9Fe: 4,2 MiB"));
    }

    #[test]
    fn r24_a_repeat_is_the_same_mail() {
        let mut notice = notice(Language::En);
        let first = Mail::of(&notice, &sender()).unwrap();
        notice.attempts = 7;
        assert!(Mail::of(&notice, &sender()).unwrap().bytes() == first.bytes());
    }

    #[test]
    fn ascii_is_7bit_and_the_first_of_a_ticket_begins_the_thread() {
        let mut notice = notice(Language::En);
        notice.files = vec![file("core.gz", 1)];
        notice.ticket.organisation = "Example".into();
        for first in [None, Some(notice.id)] {
            notice.first_of_ticket = first;
            let mail = Mail::of(&notice, &sender()).unwrap();
            let (head, _) = head_and_body(mail.bytes());
            assert!(head.contains("Content-Transfer-Encoding: 7bit\r\n"));
            assert!(!head.contains("In-Reply-To") && !head.contains("References"));
            assert!(mail.seven_bit() == mail.bytes());
        }
    }

    #[test]
    fn only_a_line_too_long_for_mail_is_folded() {
        let mut notice = notice(Language::En);
        notice.files = vec![file("core.gz", 1)];
        for (length, encoding) in [(998, "8bit"), (999, "quoted-printable")] {
            arrival(&mut notice.files[0]).location = "x".repeat(length);
            let mail = Mail::of(&notice, &sender()).unwrap();
            let (head, body) = head_and_body(mail.bytes());
            assert!(head.contains(&format!("Content-Transfer-Encoding: {encoding}\r\n")), "{head}");
            assert!(body.lines().all(|line| line.len() <= LONGEST_LINE));
            let unfolded = body.replace("=\r\n", "");
            assert!(unfolded.contains(&"x".repeat(length)));
        }
    }

    #[test]
    fn r60_no_text_becomes_a_header() {
        let evil = "x\r\nBcc: a@b\r\n\r\nbody\x1b[31m \u{202e}=?utf-8?b?DQpCY2M6IGFAYg==?= ";
        let mut notice = notice(Language::En);
        let (sane, _) = head_and_body(Mail::of(&notice, &sender()).unwrap().bytes());
        for title in [evil.to_owned(), format!("{evil} ").repeat(40), "ä".repeat(5000), "x".repeat(5000)] {
            notice.ticket.title = Some(title.clone());
            notice.recipient.name = title;
            let (head, _) = head_and_body(Mail::of(&notice, &sender()).unwrap().bytes());
            let fields = |head: &str| -> Vec<String> {
                head.split("\r\n")
                    .filter(|line| !line.starts_with(' '))
                    .map(|line| line.split(':').next().unwrap().to_owned())
                    .collect()
            };
            assert_eq!(fields(&head), fields(&sane), "{head}");
            assert!(head.lines().all(|line| line.len() <= LONGEST_LINE));
            assert!(head.replace("\r\n", "").chars().all(|c| c.is_ascii() && !c.is_control()), "{head:?}");
            // The title's own "encoded word" must not be one any more.
            assert!(!head.contains("=?utf-8?b?DQpC"), "{head}");
        }
        for bad in ["a@b\r\nBcc: c@d", "a@b,c@d", "a@192.0.2.1", "", &format!("a@{}.org", "x.".repeat(130))] {
            notice.recipient.address = bad.to_owned();
            assert!(!is_address(bad), "{bad:?}");
            assert!(matches!(Mail::of(&notice, &sender()), Err(DeliveryError::Permanent(_))));
        }
        assert!(is_address("anna@example.org"));
    }

    #[test]
    fn any_moment_makes_a_date() {
        let mut notice = notice(Language::En);
        for (millis, year) in [(i64::MIN, "1970"), (i64::MAX, "9999")] {
            notice.created_at = Time::from_millis(millis);
            let (head, _) = head_and_body(Mail::of(&notice, &sender()).unwrap().bytes());
            assert!(head.lines().next().unwrap().contains(year), "{head}");
        }
    }

    #[test]
    fn senders_are_taken_or_refused() {
        let id = NoticeId::from_bytes([0xff; 16]);
        for (from, domain) in [
            ("a@example.org", "tacdrop.example.org"),
            (" XTAC Süd <a@example.org> ", "tacdrop.example.org"),
            ("tacdrop@localhost", "tacdrop.localhost"),
            ("tacdrop@[192.0.2.1]", "tacdrop.localhost"),
        ] {
            let sender = Sender::new(from).unwrap();
            assert_eq!(sender.message_id(id), format!("<{id}@{domain}>"));
        }
        for bad in ["", "nobody", "a@b\r\nBcc: c@d", "a@müller.example", "a@b, c@d", "a@192.0.2.1", "<>"] {
            assert_eq!(Sender::new(bad), Err(SenderError), "{bad:?}");
        }
        assert_eq!(Sender::local("files.example.org"), Sender::new("tacdrop@files.example.org"));
        assert_eq!(Sender::local("two words"), Sender::new("tacdrop@localhost"));
        assert_eq!(Sender::local("::1"), Sender::new("tacdrop@localhost"));
    }

    #[test]
    fn a_text_that_names_a_file_is_known() {
        let mail = Mail::of(&notice(Language::En), &sender()).unwrap();
        assert!(mail.is_named_in("550 spam: see core.gz"));
        assert!(mail.is_named_in("550 spam: logs/show%20tech%20Gr%C3%B6%C3%9Fe.txt"));
        assert!(!mail.is_named_in("550 no such user"));
    }
}
