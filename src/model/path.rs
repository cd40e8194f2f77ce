//! Paths inside a login's view: a list of names, never a string that could be joined to another.

use std::fmt;

use crate::model::name::{FileName, NameError};
use crate::model::refusal::Refusal;

/// The longest path in a share that something new can have, in bytes: its names and the `/` between them.
pub const MAX_PATH: usize = 1024;
/// The most names in a path in a share that something new can have.
pub const MAX_DEPTH: usize = 32;
/// The longest path that is looked up, in bytes as the client sent it. It is more than [`MAX_PATH`]: the ticket, virtual
/// places and aliases come on top of what a share may hold, and older shares hold longer paths.
pub const MAX_GIVEN: usize = 8192;
/// The most names in a path that is looked up.
pub const MAX_LOOKED_UP: usize = 256;

/// An absolute path in a login's view: no `.`, no `..`, no empty segment. The root has no names.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct SharePath(Vec<FileName>);

impl SharePath {
    /// The root of the view.
    pub const ROOT: Self = Self(Vec::new());

    /// Parses a path as an SFTP client sends it: separated by `/`, relative paths from the root, `.` and `..` resolved,
    /// `..` at the root staying there (as POSIX has it).
    ///
    /// # Errors
    /// A [`Refusal`] that says which rule the path breaks.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_GIVEN {
            return Err(Refusal::PathTooLong);
        }
        let mut names = Vec::new();
        for segment in bytes.split(|b| *b == b'/') {
            match segment {
                b"" | b"." => {}
                b".." => {
                    names.pop();
                }
                _ => {
                    names.push(FileName::new(segment).map_err(|why| match why {
                        NameError::TooLong => Refusal::PathTooLong,
                        NameError::Reserved | NameError::Character => Refusal::BadName,
                    })?);
                    if names.len() > MAX_LOOKED_UP {
                        return Err(Refusal::PathTooLong);
                    }
                }
            }
        }
        Ok(Self(names))
    }

    /// A path of these names.
    pub fn from_names(names: Vec<FileName>) -> Self {
        Self(names)
    }

    /// The names from the root down.
    pub fn names(&self) -> &[FileName] {
        &self.0
    }

    /// Whether this is the root of the view.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last name and the path above it; none for the root.
    pub fn split_last(&self) -> Option<(Self, &FileName)> {
        self.0.split_last().map(|(last, above)| (Self(above.to_vec()), last))
    }

    /// This path with one more name.
    pub fn join(&self, name: FileName) -> Self {
        let mut names = self.0.clone();
        names.push(name);
        Self(names)
    }

    /// The bytes that SFTP's REALPATH answers: `/`, or each name behind a `/`.
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.is_root() {
            return b"/".to_vec();
        }
        self.0.iter().flat_map(|name| [b"/", name.as_bytes()].concat()).collect()
    }

    /// The path of a URL without its leading `/`, each name percent-encoded.
    pub fn url_encoded(&self) -> String {
        self.0.iter().map(FileName::url_encoded).collect::<Vec<_>>().join("/")
    }
}

/// For people: the names joined by `/`, without a leading one.
impl fmt::Display for SharePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
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
    }
}
