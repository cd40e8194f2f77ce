//! What a command line `scp ...` asks for. Only the options that clients send to the other side are
//! known.

use std::fmt;

/// One argument of the command, with its quotes taken away.
#[derive(Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where `*`, `?` and `[` stand in `bytes` that were not quoted, in rising order.
    pub wild: Vec<usize>,
}

/// File names do not belong in logs.
impl fmt::Debug for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Argument({} bytes)", self.bytes.len())
    }
}

/// What the client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `scp -t`: the client sends.
    Sink(Flags, Argument),
    /// `scp -f`: the client receives.
    Source(Flags, Vec<Argument>),
    /// Something that is not offered.
    Wrong,
}

/// The options that change something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// `-r`: directories, too.
    pub recursive: bool,
    /// `-p`: times and permission bits are kept.
    pub preserve: bool,
    /// `-d`: the target must be a directory.
    pub directory: bool,
}

impl Request {
    /// Reads what stands behind the word `scp`. Options come first, as the clients send them; `-v`
    /// and `-q` change nothing here.
    ///
    /// `-t` has one target, which clients send without quotes: several words are one name with
    /// single spaces in it. No target at all is the root.
    pub fn parse(arguments: impl IntoIterator<Item = Argument>) -> Self {
        let mut arguments = arguments.into_iter().peekable();
        let mut flags = Flags::default();
        let (mut sink, mut source) = (false, false);
        while let Some(options) = arguments.next_if(|word| word.bytes.starts_with(b"-") && word.bytes != b"-") {
            if options.bytes == b"--" {
                break;
            }
            for option in options.bytes.iter().skip(1) {
                match option {
                    b't' => sink = true,
                    b'f' => source = true,
                    b'r' => flags.recursive = true,
                    b'p' => flags.preserve = true,
                    b'd' => flags.directory = true,
                    b'v' | b'q' => {}
                    _ => return Self::Wrong,
                }
            }
        }
        let names: Vec<Argument> = arguments.collect();
        match (sink, source) {
            (true, false) => {
                let words: Vec<&[u8]> = names.iter().map(|name| &name.bytes[..]).collect();
                Self::Sink(flags, Argument { bytes: words.join(&b' '), wild: Vec::new() })
            }
            (false, true) if !names.is_empty() => Self::Source(flags, names),
            _ => Self::Wrong,
        }
    }
}

impl Argument {
    /// The argument below the home directory, which is the root: `~` and `~/x` are what a shell
    /// makes of them.
    pub(super) fn below_home(&self) -> Self {
        let cut = match self.bytes.as_slice() {
            b"~" => 1,
            [b'~', b'/', ..] => 2,
            _ => 0,
        };
        let bytes = self.bytes.get(cut..).unwrap_or_default().to_vec();
        Self { bytes, wild: self.wild.iter().map(|at| at.saturating_sub(cut)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Request {
        let words = line.split(' ').filter(|word| !word.is_empty());
        Request::parse(words.map(|word| Argument { bytes: word.as_bytes().to_vec(), wild: Vec::new() }))
    }

    fn sink(flags: Flags, target: &str) -> Request {
        Request::Sink(flags, Argument { bytes: target.as_bytes().to_vec(), wild: Vec::new() })
    }

    #[test]
    fn r58_the_options_that_clients_send_are_known_and_no_others() {
        let all = Flags { recursive: true, preserve: true, directory: true };
        assert_eq!(parse("-t ."), sink(Flags::default(), "."));
        assert_eq!(parse("-v -r -p -d -t -- -x"), sink(all, "-x"));
        assert_eq!(parse("-qrpdt /XT-1/a"), sink(all, "/XT-1/a"));
        assert_eq!(parse("-t a b   c"), sink(Flags::default(), "a b c"));
        assert_eq!(parse("-t -"), sink(Flags::default(), "-"));
        assert_eq!(parse("-t"), sink(Flags::default(), ""));
        assert!(matches!(parse("-p -f a b"), Request::Source(Flags { preserve: true, .. }, names) if names.len() == 2));
        for wrong in
            ["", "a b", "-r a b", "-f", "-tf a", "-t -x a", "-S/bin/sh -t a", "-o ProxyCommand=x -t a", "-t --x"]
        {
            assert_eq!(parse(wrong), Request::Wrong, "{wrong}");
        }
    }

    #[test]
    fn home_is_the_root() {
        let home = |text: &str, wild: &[usize]| {
            let argument = Argument { bytes: text.as_bytes().to_vec(), wild: wild.to_vec() }.below_home();
            (String::from_utf8(argument.bytes).unwrap(), argument.wild)
        };
        assert_eq!(home("~", &[]), (String::new(), vec![]));
        assert_eq!(home("~/a*", &[3]), ("a*".to_owned(), vec![1]));
        assert_eq!(home("~anna/x", &[]), ("~anna/x".to_owned(), vec![]));
    }
}
