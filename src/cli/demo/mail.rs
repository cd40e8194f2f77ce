//! Reads a mail of the spool back, so that the demo shows what the engineer reads.

use std::path::Path;

use serde::Serialize;

use crate::cli::failure::Failure;

/// A mail as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) text: String,
}

/// The first mail in a spool directory, if there is one.
pub(crate) fn first_of(spool: &Path) -> Result<Option<Mail>, Failure> {
    let Ok(entries) = std::fs::read_dir(spool) else { return Ok(None) };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            return parse(&std::fs::read(&path)?).map(Some);
        }
    }
    Ok(None)
}

fn parse(bytes: &[u8]) -> Result<Mail, Failure> {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").ok_or_else(|| Failure::new("the mail in the spool has no body"))?;
    // A line that begins with a blank continues the one before (RFC 5322, section 2.2.3).
    let head = head.replace("\n ", " ").replace("\n\t", " ");
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
        values.next().unwrap_or_default().to_owned()
    };
    let quoted = header("Content-Transfer-Encoding").eq_ignore_ascii_case("quoted-printable");
    let text = if quoted { unquote(body) } else { body.to_owned() };
    Ok(Mail { from: header("From"), to: header("To"), subject: header("Subject"), text })
}

/// Quoted-printable (RFC 2045, section 6.7) back to text.
fn unquote(body: &str) -> String {
    let joined = body.replace("=\n", "");
    let mut bytes = Vec::with_capacity(joined.len());
    let mut rest = joined.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|digits| hex::decode(digits).ok());
        match (first, escaped) {
            (b'=', Some(byte)) => {
                bytes.extend(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_read_as_a_person_reads_it() {
        let mail = parse(
            b"From: a@example.org\r\nSubject: [XT-1] 1 new\r\n file\r\nTo: b@example.org\r\n\
              Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=B6=C3=9Fe: a=\r\nb 1+1=2\r\n",
        )
        .unwrap();
        assert_eq!((mail.from.as_str(), mail.to.as_str()), ("a@example.org", "b@example.org"));
        assert_eq!(mail.subject, "[XT-1] 1 new file");
        assert_eq!(mail.text, "Größe: ab 1+1=2\n");
        let plain = parse(b"From: a\r\n\r\n100=20 \xc3\xa4\r\n\r\nend\r\n").unwrap();
        assert_eq!(plain.text, "100=20 ä\n\nend\n");
    }
}
