//! What a mail server answers (RFC 5321, section 4.2): bytes, of which the three digits at the
//! front decide.
//!
//! The words behind them are for people. They may be in any charset, or missing; a reply that ends
//! without the end of its line, or in the middle of its lines, has said its code all the same.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use tokio::time::timeout;

use super::trust::Distrust;
use tacdrop_model::sanitize;

/// The most of a server's words that is kept, in characters.
const WORDS: usize = 200;
/// The most bytes of a reply. RFC 5321 allows 512 a line; whoever sends more than this in all is no
/// mail server.
const LONGEST: usize = 64 * 1024;
/// How long a reply that has said its code may take to say the rest.
const HALF_SAID: Duration = Duration::from_secs(5);

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    code: u16,
    lines: Vec<String>,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoReply {
    /// The connection ended or broke.
    #[error("the connection ended without an answer: {0}")]
    Closed(#[from] io::Error),
    /// What came has no code.
    #[error("the answer has no code: {0}")]
    NotUnderstood(String),
    /// Nothing came in time.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// TLS did not begin.
    #[error("{0}")]
    Distrusted(Distrust),
}

impl Reply {
    /// Reads a reply; waits `patience` for its code. A reply that stops in its middle counts as
    /// said.
    pub(super) async fn read(from: &mut (impl AsyncBufRead + Unpin), patience: Duration) -> Result<Self, NoReply> {
        let mut said = Said::default();
        let mut left = patience;
        loop {
            match timeout(left, from.fill_buf()).await {
                Ok(Ok([])) => {
                    let end = io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the mail server");
                    return said.so_far().unwrap_or(Err(NoReply::Closed(end)));
                }
                Ok(Ok(bytes)) => {
                    let count = bytes.len();
                    let used = said.take(bytes);
                    from.consume(used.unwrap_or(count));
                    if used.is_some() || said.bytes.len() > LONGEST {
                        return said.so_far().unwrap_or_else(|| Err(NoReply::NotUnderstood(String::new())));
                    }
                }
                Ok(Err(broken)) => return said.so_far().unwrap_or(Err(NoReply::Closed(broken))),
                Err(_) => return said.so_far().unwrap_or(Err(NoReply::Late(patience))),
            }
            if said.has_code() {
                left = HALF_SAID.min(patience);
            }
        }
    }

    /// The three digits.
    pub(super) fn code(&self) -> u16 {
        self.code
    }

    /// Whether the server did what it was asked, or asks for what comes next.
    pub(super) fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }

    /// Whether the server will never do it.
    pub(super) fn is_refusal(&self) -> bool {
        (500..600).contains(&self.code)
    }

    /// The words of each line, with no character that acts.
    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Code and words on one line, for people.
    pub(super) fn shown(&self) -> String {
        let words = format!("{} {}", self.code, self.lines.join(" "));
        sanitize::short_line(words.trim(), WORDS)
    }

    /// The enhanced status code (RFC 3463), wherever in the words it stands: `5.7.1`, also as
    /// `(#5.7.1)`.
    pub(super) fn enhanced(&self) -> Option<(u16, u16)> {
        let class = format!("{}.", self.code / 100);
        self.lines.iter().flat_map(|line| line.split_whitespace()).find_map(|word| {
            let word = word.trim_matches(|c: char| !c.is_ascii_digit()).strip_prefix(class.as_str())?;
            let (subject, detail) = word.split_once('.')?;
            Some((subject.parse().ok()?, detail.parse().ok()?))
        })
    }
}

/// What has been said so far.
#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
    /// Where the line begins that is being read.
    line: usize,
}

impl Said {
    /// Takes bytes up to the end of the reply, and says how many these are; none: the reply goes
    /// on.
    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            self.bytes.push(*byte);
            if *byte == b'\n' {
                let line = &self.bytes[self.line..];
                // Only a hyphen behind the code says that another line follows.
                if code_of(line).is_none() || line.get(3) != Some(&b'-') {
                    return Some(at + 1);
                }
                self.line = self.bytes.len();
            }
        }
        None
    }

    fn has_code(&self) -> bool {
        code_of(&self.bytes).is_some()
    }

    /// The reply as far as it came; none: nothing came.
    fn so_far(&self) -> Option<Result<Reply, NoReply>> {
        let (mut code, mut lines) = (None, Vec::new());
        for line in self.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Some(said) = code_of(line) else {
                lines.push(words(line));
                break;
            };
            code = Some(said);
            lines.push(words(line.get(4..).unwrap_or_default()));
        }
        match code {
            Some(code) => Some(Ok(Reply { code, lines })),
            None => lines.pop().map(|line| Err(NoReply::NotUnderstood(sanitize::short_line(&line, WORDS)))),
        }
    }
}

fn words(line: &[u8]) -> String {
    sanitize::line(String::from_utf8_lossy(line).trim()).into_owned()
}

/// The code at the front of a line (RFC 5321, section 4.2: three digits, the first one 2 to 5).
fn code_of(line: &[u8]) -> Option<u16> {
    let (digits, rest) = line.split_first_chunk::<3>()?;
    let apart = rest.first().is_none_or(|next| !next.is_ascii_alphanumeric());
    let plain = digits.iter().all(u8::is_ascii_digit) && (b'2'..=b'5').contains(&digits[0]) && apart;
    plain.then(|| digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::BufReader;

    use super::*;

    /// The reply that these bytes and then the end of the connection are.
    fn read(bytes: &[u8]) -> Result<Reply, NoReply> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(Reply::read(&mut BufReader::new(bytes), Duration::from_secs(1)))
    }

    #[test]
    fn the_code_decides_whatever_the_words_are() {
        let long = [b"250 ".as_slice(), &[b'q'; 6000], b"\r\n"].concat();
        for bytes in [
            b"250 2.0.0 Nachricht \xfcbernommen\r\n".as_slice(),
            b"250\r\n",
            b"250 \r\n",
            b"250",
            b"250 ok",
            b"250 ok\n",
            b"250-one\r\n250-two\r\n250 three\r\n",
            b"250-one\r\n250-tw",
            b"250-one\r\n",
            b"250-one\r\n25",
            b"250 \0\xff\x1b[2J\r\n",
            &long,
        ] {
            let reply = read(bytes).unwrap();
            assert_eq!((reply.code(), reply.is_positive()), (250, true), "{reply:?}");
            assert!(!reply.shown().chars().any(char::is_control));
        }
        for bytes in [b"".as_slice(), b"25", b"what?\r\n", b"2500 ok\r\n", b"999 ok\r\n", b"\xff\xfe\r\n", b"\r\n"] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn an_enhanced_code_is_found_where_servers_put_it() {
        for (bytes, code) in [
            ("550 5.1.1 no such user", Some((1, 1))),
            ("554 5.7.1 <a@b>: Relay access denied", Some((7, 1))),
            ("553 sorry, not in my list of allowed rcpthosts (#5.7.1)", Some((7, 1))),
            ("550-5.1.10 a\r\n550 5.1.10 b", Some((1, 10))),
            ("550 host 5.9 at 10.5.7.1 says no", None),
        ] {
            assert_eq!(read(bytes.as_bytes()).unwrap().enhanced(), code, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn any_words_behind_a_code_leave_the_code(code in 200u16..600, words: Vec<u8>, more: bool) {
            let words: Vec<u8> = words.into_iter().filter(|byte| *byte != b'\n').collect();
            let mut bytes = if more { format!("{code}-more\r\n").into_bytes() } else { Vec::new() };
            bytes.extend([format!("{code} ").as_bytes(), &words].concat());
            prop_assert_eq!(read(&bytes).unwrap().code(), code);
            bytes.extend(b"\r\n");
            prop_assert_eq!(read(&bytes).unwrap().code(), code);
        }
    }
}
