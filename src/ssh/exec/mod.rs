//! The commands that may be run (`exec`): a closed list, read by rules of our own. There is no
//! shell, and no process is ever started. Only `session` uses this.
//!
//! - `words` splits a command line as a shell would, and refuses everything that would need one.
//! - `digests`: `sha256sum` and its kin.

mod digests;
mod words;

use digests::Sums;

use crate::access::ShareSession;
use crate::model::Language;
use crate::scp;
use words::Word;

/// The longest command line that is looked at, in bytes. Longer ones are unknown commands.
const LONGEST: usize = 64 * 1024;

/// A command of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Has the channel to itself.
    Scp(scp::Request),
    /// Reads nothing and is answered at once.
    Question(Question),
}

/// What is answered from the record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// `sha256sum`, `sha1sum`, `md5sum`.
    Sums(Sums),
    /// rclone's question which shell there is.
    WhichShell,
}

/// rclone tells shells apart by what they make of this line, and asks for digests in the words of a
/// Unix shell only if the answer is a Unix shell's.
const WHICH_SHELL: &[u8] = b"echo ${ShellId}%ComSpec%";
/// A Unix shell has no such variable, and takes the rest for plain text.
const UNIX_SHELL: &[u8] = b"%ComSpec%\n";

/// What a command has to say once it has run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) code: u32,
}

impl Command {
    /// Reads a command line; none for one that is not on the list.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        if line.len() > LONGEST {
            return None;
        }
        if line == WHICH_SHELL {
            return Some(Self::Question(Question::WhichShell));
        }
        let words = words::split(line).ok()?;
        let (program, arguments) = words.split_first()?;
        // `/usr/bin/scp` is `scp`: some devices name the program by its path.
        let name = program.bytes.rsplit(|byte| *byte == b'/').next()?;
        match name {
            b"scp" => Some(Self::Scp(scp::Request::parse(arguments.iter().map(Word::to_argument)))),
            _ => Sums::parse(name, arguments).map(|sums| Self::Question(Question::Sums(sums))),
        }
    }
}

impl Question {
    /// Runs it with the rights of `share`.
    pub(super) async fn run(self, share: &ShareSession) -> Answer {
        match self {
            Self::Sums(sums) => sums.run(share).await,
            Self::WhichShell => Answer { stdout: UNIX_SHELL.to_vec(), ..Answer::default() },
        }
    }
}

impl Word {
    fn to_argument(&self) -> scp::Argument {
        scp::Argument { bytes: self.bytes.clone(), wild: self.wild.clone() }
    }
}

/// The answer to what is not on the list: exit code 127, as a shell says of a command that it does
/// not find.
pub(super) fn unknown(language: Language) -> Answer {
    let sentence = match language {
        Language::En => "This command is not available here. Use SFTP or SCP: sftp, scp, WinSCP or FileZilla.\n",
        Language::De => {
            "Diesen Befehl gibt es hier nicht. Bitte SFTP oder SCP verwenden: sftp, scp, WinSCP oder FileZilla.\n"
        }
    };
    Answer { stdout: Vec::new(), stderr: sentence.as_bytes().to_vec(), code: 127 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r58_scp_is_read_without_a_shell() {
        let names = |line: &[u8]| match Command::parse(line) {
            Some(Command::Scp(scp::Request::Source(_, names))) => {
                Some(names.into_iter().map(|name| (name.bytes, name.wild)).collect::<Vec<_>>())
            }
            _ => None,
        };
        assert_eq!(
            names(b"/usr/bin/scp -r -f '*.txt' a*b"),
            Some(vec![(b"*.txt".to_vec(), vec![]), (b"a*b".to_vec(), vec![1])])
        );
        assert!(matches!(Command::parse(b"scp -v -t ."), Some(Command::Scp(scp::Request::Sink(..)))));
        assert_eq!(Command::parse(b"scp -S /bin/sh -t x"), Some(Command::Scp(scp::Request::Wrong)));
    }

    #[test]
    fn r58_whatever_is_not_on_the_list_is_unknown() {
        let lines: &[&[u8]] = &[
            b"",
            b" ",
            b"ls",
            b"sh -c id",
            b"/bin/sh",
            b"scp;id",
            b"echo hello",
            b"cat /etc/passwd",
            b"$(id)",
            b"`id`",
            b"sha256sum `id`",
            b"sha256sum $(id)",
            b"sha256sum a; id",
            b"sha256sum a | sh",
            b"sha256sum a && id",
            b"sha256sum a > b",
            b"sha256sum < a",
            b"sha256sum 'a",
            b"sha256sum \"a",
            b"sha256sum a\\",
            b"sha256sum a\nid",
            b"sha256sum a\0b",
            b"sha256sum a &",
            b"scp -t .;id",
            b"scp -t $(id)",
            b"scp -t `id`",
            b"scp -t . | sh",
            b"scp -f x > y",
            b"scp -t x & id",
            b"scp -t x\nid",
            b"scpx -t .",
            b"\xff\xfe",
            // What rclone tries where there is no sha256sum, md5sum or sha1sum, and what it can be
            // told to try.
            b"md5 -r",
            b"sha1 -r",
            b"sha256 -r",
            b"rclone md5sum",
            b"rclone hashsum sha256",
            b"b3sum",
            b"xxh128sum",
            b"sha512sum a",
            b"sha256sumx a",
            b"df -k /",
            b" echo ${ShellId}%ComSpec%",
            b"echo ${ShellId}%ComSpec%;id",
            b"echo %ComSpec%",
            b"Get-FileHash a",
        ];
        for line in lines {
            assert_eq!(Command::parse(line), None, "{}", line.escape_ascii());
        }
        assert_eq!(Command::parse(&vec![b'a'; LONGEST + 1]), None);
        assert_eq!(unknown(Language::En).code, 127);
    }
}
