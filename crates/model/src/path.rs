//! Paths inside a login's view: a list of names, never a string that could be joined to another.

use std::fmt;

use crate::name::{FileName, NameError};
use crate::refusal::Refusal;

/// The longest path in a share that something new can have, in bytes: its names and the `/` between
/// them.
pub const MAX_PATH: usize = 1024;
/// The most names in a path in a share that something new can have.
pub const MAX_DEPTH: usize = 32;
/// The longest path that is looked up, in bytes as the client sent it. It is more than
/// [`MAX_PATH`]: the ticket, virtual places and aliases come on top of what a share may hold, and
/// older shares hold longer paths.
pub const MAX_GIVEN: usize = 8192;
/// The most names in a path that is looked up.
pub const MAX_LOOKED_UP: usize = 256;
/// The most places in a path where it goes down and back up (`down/..`). Each of them is looked up.
pub const MAX_TURNS: usize = 8;

/// An absolute path in a login's view: no `.`, no `..`, no empty segment. The root has no names.
///
/// It keeps what POSIX has the other parts mean (IEEE Std 1003.1, section 4.16): what a `/` or a
/// `.` stands behind is a directory, and so is what a `..` leads out of.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct SharePath {
    names: Vec<FileName>,
    is_directory: bool,
    turns: Vec<Vec<FileName>>,
}

impl SharePath {
    /// The root of the view.
    pub const ROOT: Self = Self { names: Vec::new(), is_directory: false, turns: Vec::new() };

    /// Parses a path as an SFTP client sends it: separated by `/`, relative paths from the root,
    /// `.` and `..` resolved, `..` at the root staying there (as POSIX has it).
    ///
    /// # Errors
    /// A [`Refusal`] that says which rule the path breaks.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_GIVEN {
            return Err(Refusal::PathTooLong);
        }
        let mut path = Self::ROOT;
        let mut goes_down = false;
        for segment in bytes.split(|b| *b == b'/') {
            path.is_directory = matches!(segment, b"" | b"." | b"..");
            match segment {
                b"" | b"." => {}
                b".." => {
                    if goes_down {
                        path.turns.push(path.names.clone());
                        goes_down = false;
                    }
                    path.names.pop();
                }
                _ => {
                    path.names.push(FileName::given(segment).map_err(|why| match why {
                        NameError::TooLong => Refusal::PathTooLong,
                        NameError::Reserved | NameError::Character => Refusal::BadName,
                    })?);
                    goes_down = true;
                }
            }
            if path.names.len() > MAX_LOOKED_UP || path.turns.len() > MAX_TURNS {
                return Err(Refusal::PathTooLong);
            }
        }
        // The root is one anyway.
        path.is_directory &= !path.names.is_empty();
        Ok(path)
    }

    /// A path of these names, whatever stands there.
    pub fn from_names(names: Vec<FileName>) -> Self {
        Self { names, ..Self::ROOT }
    }

    /// The names from the root down.
    pub fn names(&self) -> &[FileName] {
        &self.names
    }

    /// Whether this is the root of the view.
    pub fn is_root(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether it was written as a directory's: with `/`, `/.` or `/..` at its end.
    pub fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// The paths that must be directories besides what the path leads through: it goes down into
    /// them and back up.
    pub fn turns(&self) -> impl Iterator<Item = Self> {
        self.turns.iter().map(|names| Self { names: names.clone(), is_directory: true, turns: Vec::new() })
    }

    /// The same path below the place that its first name leads to; the root stays the root.
    pub fn without_first(&self) -> Self {
        let Some((first, below)) = self.names.split_first() else { return Self::ROOT };
        let inside = |turn: &Vec<FileName>| match turn.split_first() {
            Some((name, below)) if name == first => below.to_vec(),
            _ => turn.clone(),
        };
        Self {
            names: below.to_vec(),
            is_directory: self.is_directory && !below.is_empty(),
            turns: self.turns.iter().map(inside).collect(),
        }
    }

    /// The last name and the path above it; none for the root.
    pub fn split_last(&self) -> Option<(Self, &FileName)> {
        self.names.split_last().map(|(last, above)| (Self::from_names(above.to_vec()), last))
    }

    /// This path with one more name.
    pub fn join(&self, name: FileName) -> Self {
        let mut names = self.names.clone();
        names.push(name);
        Self { names, is_directory: false, turns: self.turns.clone() }
    }

    /// The bytes that SFTP's REALPATH answers: `/`, or each name behind a `/`.
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.is_root() {
            return b"/".to_vec();
        }
        self.names.iter().flat_map(|name| [b"/", name.as_bytes()].concat()).collect()
    }

    /// The path of a URL without its leading `/`, each name percent-encoded.
    pub fn url_encoded(&self) -> String {
        self.names.iter().map(FileName::url_encoded).collect::<Vec<_>>().join("/")
    }
}

/// For people: the names joined by `/`, without a leading one.
impl fmt::Display for SharePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.names.iter().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            name.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(SharePath::parse(bytes).unwrap().to_bytes()).unwrap()
    }

    #[test]
    fn r55_no_path_leaves_the_root() {
        assert_eq!(text(b""), "/");
        assert_eq!(text(b"."), "/");
        assert_eq!(text(b"/../../etc/passwd"), "/etc/passwd");
        assert_eq!(text(b"a/./b//../c/"), "/a/c");
        assert_eq!(text(b"../../.."), "/");
    }

    #[test]
    fn r54_long_and_deep_paths_are_refused() {
        assert_eq!(SharePath::parse(&[b'x'; 1025]), Err(Refusal::PathTooLong));
        assert_eq!(SharePath::parse(&b"a/".repeat(MAX_LOOKED_UP + 1)), Err(Refusal::PathTooLong));
        assert!(SharePath::parse(&b"a/".repeat(MAX_LOOKED_UP)).is_ok());
        assert_eq!(SharePath::parse(&b"/".repeat(MAX_GIVEN + 1)), Err(Refusal::PathTooLong));
        assert_eq!(SharePath::parse(b"a/\x01"), Err(Refusal::BadName));
        assert_eq!(SharePath::parse(&b"a/../".repeat(MAX_TURNS + 1)), Err(Refusal::PathTooLong));
        assert!(SharePath::parse(&b"a/../".repeat(MAX_TURNS)).is_ok());
    }

    #[test]
    fn a_path_keeps_what_must_be_a_directory() {
        let directory = |bytes: &[u8]| SharePath::parse(bytes).unwrap().is_directory();
        for written in ["a/", "a/.", "a/./", "a//", "a/b/..", "/a/b/../.", "x/../a/"] {
            assert!(directory(written.as_bytes()), "{written}");
        }
        for written in ["a", "/a", "./a", "a/../b", "a//b", "/", ".", "..", "", "a/.."] {
            assert!(!directory(written.as_bytes()), "{written}");
        }
        let turns = |bytes: &[u8]| -> Vec<String> {
            let path = SharePath::parse(bytes).unwrap();
            path.turns().inspect(|turn| assert!(turn.is_directory())).map(|turn| turn.to_string()).collect()
        };
        assert_eq!(turns(b"a/b/c"), [""; 0]);
        assert_eq!(turns(b"../.."), [""; 0]);
        assert_eq!(turns(b"a/b/../../c"), ["a/b"]);
        assert_eq!(turns(b"a/../b/./../c"), ["a", "b"]);
        assert_eq!(SharePath::parse(b"a/../b/").unwrap().join(FileName::new(b"c").unwrap()).to_bytes(), b"/b/c");
    }
}
