//! What doors are told of a place in a share, and what they may ask of it.

use crate::model::Time;

/// Whether something is a file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    /// A file.
    File,
    /// A directory.
    Directory,
}

/// What STAT says of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// File or directory.
    pub kind: PlaceKind,
    /// Bytes; 0 for directories.
    pub size: u64,
    /// POSIX permission bits, without the file type.
    pub mode: u32,
    /// When it last changed, or what a client set.
    pub modified: Time,
}

/// How a file is not whole yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// It arrives, or was cut.
    Receiving,
    /// It was closed with a hole.
    Incomplete,
}

impl Unfinished {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Incomplete => "incomplete",
        }
    }
}

impl Attributes {
    pub(crate) const fn directory(mode: u32, modified: Time) -> Self {
        Self { kind: PlaceKind::Directory, size: 0, mode, modified }
    }

    /// The same where nothing can be changed.
    pub(crate) const fn read_only(self) -> Self {
        Self { mode: self.mode & 0o555, ..self }
    }
}

/// What SETSTAT and FSETSTAT ask for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changes {
    /// The new size in bytes.
    pub size: Option<u64>,
    /// The new permission bits.
    pub mode: Option<u32>,
    /// The new time of the last change.
    pub modified: Option<Time>,
}

/// How a file is opened for writing.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteMode {
    /// Make it if there is none.
    pub create: bool,
    /// Refuse if there is one (with `create`).
    pub exclusive: bool,
    /// Begin with no bytes instead of those that are there.
    pub truncate: bool,
    /// Every write goes to the end.
    pub append: bool,
    /// Reading through the same handle is allowed.
    pub read: bool,
}

/// Space, for statvfs. Bytes, and names.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// Bytes there are.
    pub total: u64,
    /// Bytes that are free.
    pub free: u64,
    /// Names that a share may have.
    pub names: u64,
    /// Names that this share may still get.
    pub names_free: u64,
}
