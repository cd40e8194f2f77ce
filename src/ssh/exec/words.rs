//! A command line split into words, as the POSIX shell would (XCU, section 2.2, "Quoting", and 2.3,
//! "Token Recognition"), without anything else that a shell does: what asks for an expansion, a
//! redirection or a second command is refused.

/// The most words of one command line.
const MOST: usize = 1024;

/// One word, with its quotes taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ssh) struct Word {
    pub(in crate::ssh) bytes: Vec<u8>,
    /// Where `*` and `?` stand in `bytes` that were not quoted: a shell would look for names that
    /// fit. In rising order.
    pub(in crate::ssh) wild: Vec<usize>,
}

/// The line needs a shell, or is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotPlain;

/// Splits a line.
pub(super) fn split(line: &[u8]) -> Result<Vec<Word>, NotPlain> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut rest = line.iter().copied();
    while let Some(byte) = rest.next() {
        if matches!(byte, b' ' | b'\t') {
            words.extend(word.take());
            continue;
        }
        if words.len() >= MOST {
            return Err(NotPlain);
        }
        let begins = word.is_none();
        let current = word.get_or_insert_with(|| Word { bytes: Vec::new(), wild: Vec::new() });
        match byte {
            b'\'' => loop {
                match rest.next().ok_or(NotPlain)? {
                    b'\'' => break,
                    quoted => current.bytes.push(quoted),
                }
            },
            b'"' => loop {
                match rest.next().ok_or(NotPlain)? {
                    b'"' => break,
                    b'$' | b'`' => return Err(NotPlain),
                    b'\\' => match rest.next().ok_or(NotPlain)? {
                        escaped @ (b'$' | b'`' | b'"' | b'\\') => current.bytes.push(escaped),
                        b'\n' => {}
                        other => current.bytes.extend([b'\\', other]),
                    },
                    quoted => current.bytes.push(quoted),
                }
            },
            b'\\' => match rest.next().ok_or(NotPlain)? {
                b'\n' => {}
                escaped => current.bytes.push(escaped),
            },
            b'#' if begins => return Err(NotPlain),
            b'$' | b'`' | b'|' | b'&' | b';' | b'<' | b'>' | b'(' | b')' | b'\n' | b'\r' | 0 => return Err(NotPlain),
            b'*' | b'?' => {
                current.wild.push(current.bytes.len());
                current.bytes.push(byte);
            }
            plain => current.bytes.push(plain),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(line: &str) -> Option<Vec<String>> {
        let words = split(line.as_bytes()).ok()?;
        Some(words.into_iter().map(|word| String::from_utf8(word.bytes).unwrap()).collect())
    }

    #[test]
    fn r58_words_are_those_of_a_shell() {
        for (line, words) in [
            ("", &[][..]),
            ("  scp   -t\t. ", &["scp", "-t", "."]),
            ("sha256sum 'a b' \"c d\" e\\ f", &["sha256sum", "a b", "c d", "e f"]),
            ("x 'it'\\''s' ''", &["x", "it's", ""]),
            ("x \"\\$ \\` \\\" \\\\ \\a\"", &["x", "$ ` \" \\ \\a"]),
            ("x '$(id)' 'a;b' a#b ~/x {a,b} 'a\nb'", &["x", "$(id)", "a;b", "a#b", "~/x", "{a,b}", "a\nb"]),
            ("x 'Größe'\"ü\"ß", &["x", "Größeüß"]),
        ] {
            assert_eq!(plain(line).as_deref(), Some(&words.iter().map(ToString::to_string).collect::<Vec<_>>()[..]));
        }
    }

    #[test]
    fn r58_what_needs_a_shell_is_refused() {
        for line in [
            "a $b", "a `b`", "a|b", "a&b", "a;b", "a<b", "a>b", "a (b)", "a\nb", "a #b", "\"$a\"", "\"`a`\"", "'a",
            "\"a", "a\\", "\"a\\",
        ] {
            assert_eq!(plain(line), None, "{line}");
        }
        assert_eq!(split(b"a\0b"), Err(NotPlain));
        assert!(split(&b"a ".repeat(MOST)).is_ok());
        assert!(split(&b"a ".repeat(MOST + 1)).is_err());
    }

    #[test]
    fn wildcards_are_told_from_quoted_ones() {
        let words = split(br"a*b 'a*b' a\?b[c] \*?").unwrap();
        assert_eq!(words.iter().map(|word| word.wild.clone()).collect::<Vec<_>>(), [vec![1], vec![], vec![], vec![1]]);
    }
}
