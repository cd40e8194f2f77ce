//! Reads mails as a mail program does: headers decoded, quoted-printable undone.

/// A mail's parts.
pub(crate) struct Mail {
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Mail {
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").expect("a mail has an empty line");
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in head.lines() {
            match line.split_once(':') {
                Some((name, value)) if !line.starts_with([' ', '\t']) => {
                    headers.push((name.to_lowercase(), value.trim().to_owned()));
                }
                _ => {
                    let last = headers.last_mut().expect("a first header");
                    last.1 += " ";
                    last.1 += line.trim();
                }
            }
        }
        let mut mail = Self { headers, body: body.to_owned() };
        match mail.header("content-transfer-encoding").map(str::to_lowercase).as_deref() {
            Some("quoted-printable") => mail.body = quoted_printable(body),
            Some("7bit" | "8bit") | None => {}
            Some(other) => panic!("a mail encoded as {other} is nothing to be read on a phone's lock screen"),
        }
        mail
    }

    /// A header's text as it stands.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a line of the body is this text.
    pub(crate) fn has_line(&self, text: &str) -> bool {
        self.body.lines().any(|line| line.trim() == text)
    }

    /// Panics with the body unless a line of it is this text.
    #[track_caller]
    pub(crate) fn assert_line(&self, text: &str) {
        assert!(self.has_line(text), "no line {text:?} in the mail:\n{}", self.body);
    }
}

/// RFC 2045, section 6.7.
fn quoted_printable(body: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), body.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'=' {
            bytes.push(byte);
        } else if let Some(after) = rest.strip_prefix(b"\n") {
            rest = after;
        } else {
            let digits = str::from_utf8(&rest[..2]).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &rest[2..];
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_quoted_mail_is_read_as_it_was_written() {
    let mail =
        Mail::parse("Subject: a\r\n b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=B6=\r\n=C3=9Fe\r\n");
    assert_eq!((mail.header("subject"), mail.body.as_str()), (Some("a b"), "Größe\n"));
}
