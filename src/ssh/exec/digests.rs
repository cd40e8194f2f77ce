//! `sha256sum`, `sha1sum`, `md5sum`: what GNU's programs of these names print, answered from what
//! the share knows.

use std::fmt::Write as _;

use super::words::Word;
use super::{Answer, unknown};
use crate::access::{Patience, ShareSession, digest_of_bytes};
use crate::model::sidecar::checksum_line;
use crate::model::{Algorithm, Language, SharePath};

/// One call. `words` bounds the names that it can have, and so what it prints.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::ssh) struct Sums {
    algorithm: Algorithm,
    /// `-b`: a `*` in front of each name, as GNU's programs put it.
    binary: bool,
    /// As they were typed; a wildcard stands for itself, as it does in a shell that finds nothing
    /// that fits.
    names: Vec<Vec<u8>>,
    /// An option that is not offered here.
    strange: Option<Vec<u8>>,
}

const PROGRAMS: [(&[u8], Algorithm); 3] =
    [(b"sha256sum", Algorithm::Sha256), (b"sha1sum", Algorithm::Sha1), (b"md5sum", Algorithm::Md5)];

impl Sums {
    /// Reads what stands behind the program's name; none if it is another program. Options may
    /// stand between names, up to `--`.
    pub(super) fn parse(program: &[u8], arguments: &[Word]) -> Option<Self> {
        let (_, algorithm) = PROGRAMS.into_iter().find(|(name, _)| *name == program)?;
        let mut sums = Self { algorithm, binary: false, names: Vec::new(), strange: None };
        let mut only_names = false;
        for argument in arguments {
            let bytes = &argument.bytes[..];
            match bytes {
                b"--" if !only_names => only_names = true,
                b"--binary" if !only_names => sums.binary = true,
                b"--text" if !only_names => sums.binary = false,
                [b'-', b'-', ..] if !only_names => sums.strange = sums.strange.or(Some(bytes.to_vec())),
                [b'-', letters @ ..] if !only_names && !letters.is_empty() => {
                    for letter in letters {
                        match letter {
                            b'b' => sums.binary = true,
                            b't' => sums.binary = false,
                            _ => sums.strange = sums.strange.or(Some(bytes.to_vec())),
                        }
                    }
                }
                name => sums.names.push(name.to_vec()),
            }
        }
        Some(sums)
    }

    /// Runs it. As with GNU's programs one bad name spoils the exit code and no other name's
    /// answer.
    pub(super) async fn run(self, share: &ShareSession) -> Answer {
        let language = share.language();
        if !share.algorithms().contains(&self.algorithm) {
            return unknown(language);
        }
        let mut answer = Answer::default();
        if let Some(option) = &self.strange {
            self.complain(&mut answer, option, strange_option(language));
            return answer;
        }
        if self.names.is_empty() {
            // rclone asks this way whether there is such a program.
            self.nothing(&mut answer, language);
        }
        // One for all names: minutes of silence for each of a thousand would keep the channel for
        // days.
        let patience = Patience::from_now();
        for name in &self.names {
            if name == b"-" {
                self.nothing(&mut answer, language);
                continue;
            }
            let digest = match SharePath::parse(name) {
                Ok(path) => share.digest_within(&path, self.algorithm, patience).await,
                Err(refusal) => Err(refusal),
            };
            match digest {
                Ok(digest) => self.print(&mut answer, &digest.bytes, name),
                Err(refusal) => self.complain(&mut answer, name, refusal.sentence(language)),
            }
        }
        answer
    }

    /// Standard input is never read. Who sends something must not take this for its digest.
    fn nothing(&self, answer: &mut Answer, language: Language) {
        self.print(answer, &digest_of_bytes(self.algorithm, b""), b"-");
        let code = answer.code;
        self.complain(answer, b"-", nothing_is_read(language));
        answer.code = code;
    }

    fn print(&self, answer: &mut Answer, digest: &[u8], name: &[u8]) {
        let mut digits = String::with_capacity(digest.len() * 2);
        for byte in digest {
            // Writing into a String cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        answer.stdout.extend(checksum_line(&digits, self.binary, name));
    }

    /// `sha256sum: NAME: SENTENCE`, with what a terminal would act on made visible.
    fn complain(&self, answer: &mut Answer, name: &[u8], sentence: &str) {
        let out = &mut answer.stderr;
        out.extend_from_slice(self.algorithm.as_str().as_bytes());
        out.extend_from_slice(b"sum: ");
        for byte in name {
            if byte.is_ascii_control() {
                out.extend(byte.escape_ascii());
            } else {
                out.push(*byte);
            }
        }
        out.extend_from_slice(b": ");
        out.extend_from_slice(sentence.as_bytes());
        out.push(b'\n');
        answer.code = 1;
    }
}

const fn strange_option(language: Language) -> &'static str {
    match language {
        Language::En => "This option is not available here. Name files only.",
        Language::De => "Diese Option gibt es hier nicht. Bitte nur Dateien nennen.",
    }
}

const fn nothing_is_read(language: Language) -> &'static str {
    match language {
        Language::En => "Standard input is not read here; this is the digest of nothing.",
        Language::De => "Die Standardeingabe wird hier nicht gelesen; das ist die Prüfsumme von nichts.",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Question};
    use super::*;

    fn sums(line: &[u8]) -> Option<Sums> {
        match Command::parse(line)? {
            Command::Question(Question::Sums(sums)) => Some(sums),
            other => panic!("{other:?}"),
        }
    }

    fn names(line: &[u8]) -> Vec<Vec<u8>> {
        sums(line).map(|sums| sums.names).unwrap_or_default()
    }

    #[test]
    fn r58_the_programs_and_their_options() {
        let call = |algorithm, binary, names: &[&str]| Sums {
            algorithm,
            binary,
            names: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
            strange: None,
        };
        for (line, expected) in [
            ("sha256sum", call(Algorithm::Sha256, false, &[])),
            ("/usr/bin/sha256sum a", call(Algorithm::Sha256, false, &["a"])),
            ("md5sum a b", call(Algorithm::Md5, false, &["a", "b"])),
            ("sha1sum -b a", call(Algorithm::Sha1, true, &["a"])),
            ("sha256sum a --binary b", call(Algorithm::Sha256, true, &["a", "b"])),
            ("sha256sum -bt a", call(Algorithm::Sha256, false, &["a"])),
            ("sha256sum -- -b --", call(Algorithm::Sha256, false, &["-b", "--"])),
            ("sha256sum - ''", call(Algorithm::Sha256, false, &["-", ""])),
        ] {
            assert_eq!(sums(line.as_bytes()), Some(expected), "{line}");
        }
        for line in ["sha256sum -c a", "sha256sum --check a", "sha256sum -bc a", "sha256sum --tag a", "sha256sum --b=1"]
        {
            assert!(sums(line.as_bytes()).unwrap().strange.is_some(), "{line}");
        }
    }

    /// rclone puts a backslash before each character that is not a letter, a digit, one of
    /// `_.,:/@-`, or above U+007F and within 16 bits, and quotes line feeds (backend/sftp/sftp.go,
    /// quoteOrEscapeShellPath).
    fn as_rclone_quotes(name: &str) -> String {
        let plain =
            |c: char| c.is_ascii_alphanumeric() || "_.,:/@-\n".contains(c) || ('\u{80}'..='\u{ffff}').contains(&c);
        let mut quoted = String::new();
        for c in name.chars() {
            if !plain(c) {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        quoted.replace('\n', "'\n'")
    }

    #[test]
    fn r58_every_name_comes_through_the_quotes_of_rclone_and_of_shells() {
        for name in [
            "/a b.txt",
            "/it's [1] *.txt",
            "/back\\slash",
            "/Größe/\u{65}\u{308}",
            "/\u{1f600} tar.gz",
            "/$(id) `id` ${HOME}",
            "/a;b|c&d<e>f(g)h#i~j!k\"l",
            "/line\nfeed",
            "/-b",
            "/%ComSpec%",
        ] {
            let rclone = format!("sha256sum {}", as_rclone_quotes(name));
            assert_eq!(names(rclone.as_bytes()), [name.as_bytes()], "{rclone}");
            let single = format!("sha256sum '{}'", name.replace('\'', "'\\''"));
            assert_eq!(names(single.as_bytes()), [name.as_bytes()], "{single}");
            let escaped: String =
                name.chars().flat_map(|c| if "$`\"\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect();
            assert_eq!(names(format!("sha256sum \"{escaped}\"").as_bytes()), [name.as_bytes()], "{escaped}");
        }
        assert_eq!(names(b"sha256sum a\xff\\ b *.x"), [&b"a\xff b"[..], b"*.x"]);
    }

    #[test]
    fn r58_lines_are_those_of_gnu_and_errors_cannot_move_a_cursor() {
        let mut answer = Answer::default();
        let call = sums(b"sha256sum -b x").unwrap();
        call.print(&mut answer, &[0xab; 2], b"a b");
        call.print(&mut answer, &[0x01; 2], b"a\\b\nc");
        assert_eq!(answer, Answer { stdout: b"abab *a b\n\\0101 *a\\\\b\\nc\n".to_vec(), ..Answer::default() });
        call.complain(&mut answer, b"a\x1b[2J\n\xc3\xbc", "No.");
        assert_eq!((answer.stderr, answer.code), ("sha256sum: a\\x1b[2J\\n\u{fc}: No.\n".as_bytes().to_vec(), 1));
    }
}
