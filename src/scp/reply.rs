//! What is said to the client: an octet 0 for yes, 1 or 2 and a line of text for no. That is scp's
//! own form.

use std::borrow::Cow;

use super::record::MAX_LINE;
use crate::access::Login;
use crate::model::{Language, Refusal};

/// Goes on.
pub(crate) const OK: u8 = 0;
/// Concerns one file: the other side goes on with the next one.
pub(crate) const FAILED: u8 = 1;
/// Ends everything.
pub(crate) const FATAL: u8 = 2;

/// What only this protocol has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// The share refused something.
    Refused(Refusal),
    /// Options that are not offered.
    Usage,
    /// The other side does not keep to the protocol.
    Protocol,
    /// The client sends a directory, and did not say so.
    NotRecursive,
    /// The client wants a directory, and did not say so.
    IsDirectory,
    /// A pattern fits too much.
    TooManyNames,
}

impl From<Refusal> for Complaint {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Complaint {
    pub(crate) const fn sentence(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Refused(refusal), language) => refusal.sentence(language),
            (Self::Usage, Language::En) => {
                "Only the options -t, -f, -r, -p, -d, -q and -v of scp are available here, and one of -t and -f is needed."
            }
            (Self::Usage, Language::De) => {
                "Von scp gibt es hier nur die Optionen -t, -f, -r, -p, -d, -q und -v; eine von -t und -f wird gebraucht."
            }
            (Self::Protocol, Language::En) => "This is not the SCP protocol. Nothing more is read.",
            (Self::Protocol, Language::De) => "Das ist nicht das SCP-Protokoll. Es wird nichts mehr gelesen.",
            (Self::NotRecursive, Language::En) => "A directory was sent without the option -r.",
            (Self::NotRecursive, Language::De) => "Ein Verzeichnis wurde ohne die Option -r gesendet.",
            (Self::IsDirectory, Language::En) => "This is a directory. To fetch it use the option -r.",
            (Self::IsDirectory, Language::De) => "Das ist ein Verzeichnis. Zum Abholen bitte die Option -r verwenden.",
            (Self::TooManyNames, Language::En) => {
                "This pattern fits or asks for too many names. Use a narrower one, or fetch the directory with -r."
            }
            (Self::TooManyNames, Language::De) => {
                "Zu diesem Muster gehören zu viele Namen. Bitte ein engeres verwenden oder das Verzeichnis mit -r abholen."
            }
        }
    }

    /// The same for a login, whose words say more of a closed ticket.
    pub(crate) fn sentence_for(self, login: &Login) -> Cow<'static, str> {
        match self {
            Self::Refused(refusal) => login.sentence(refusal),
            other => other.sentence(login.language()).into(),
        }
    }

    /// The whole message: `grade` is [`FAILED`] or [`FATAL`], `about` a name or path.
    pub(crate) fn message(self, grade: u8, about: Option<&[u8]>, language: Language) -> Vec<u8> {
        Self::line(grade, about, self.sentence(language))
    }

    /// The same for a login.
    pub(crate) fn message_for(self, grade: u8, about: Option<&[u8]>, login: &Login) -> Vec<u8> {
        Self::line(grade, about, &self.sentence_for(login))
    }

    fn line(grade: u8, about: Option<&[u8]>, sentence: &str) -> Vec<u8> {
        let mut line = vec![grade];
        line.extend_from_slice(b"scp: ");
        if let Some(about) = about.filter(|about| !about.is_empty()) {
            // A newline would end the message, and the rest be taken for another one.
            line.extend(about.iter().take(MAX_LINE).map(|byte| if byte.is_ascii_control() { b'?' } else { *byte }));
            line.extend_from_slice(b": ");
        }
        line.extend_from_slice(sentence.as_bytes());
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_in_the_form_of_scp() {
        let refused = Complaint::from(Refusal::NoSuchFile);
        assert_eq!(
            refused.message(FAILED, Some(b"a b"), Language::En),
            b"\x01scp: a b: There is no file or directory of this name.\n"
        );
        let hostile = refused.message(FATAL, Some(&[b'\n'; 10_000]), Language::De);
        assert!(hostile.len() < 2000 && hostile.ends_with(b"\n"));
        assert_eq!(hostile.iter().filter(|byte| **byte == b'\n').count(), 1);
        let all = [
            Complaint::Usage,
            Complaint::Protocol,
            Complaint::NotRecursive,
            Complaint::IsDirectory,
            Complaint::TooManyNames,
        ];
        for complaint in all {
            assert_ne!(complaint.sentence(Language::En), complaint.sentence(Language::De));
            assert!(complaint.message(FATAL, None, Language::De).starts_with(b"\x02scp: "));
        }
    }
}
