//! SKELETON of the interface that the doors use; bodies come.
#![allow(unused_variables, missing_docs)]

use std::net::IpAddr;

use tokio_util::sync::CancellationToken;

use crate::model::{FileName, Language, Refusal, SharePath, Time, Word};

/// Everything that a door may ask for. Cheap to clone.
#[derive(Clone)]
pub struct Shares;

/// A credential that was checked. Opens a [`View`].
#[derive(Clone)]
pub struct Login;

impl Login {
    /// The user name that logged in (a ticket reference or an engineer's id): safe to log.
    pub fn user(&self) -> &Word {
        unimplemented!()
    }
    /// The language in which refusals are said.
    pub fn language(&self) -> Language {
        unimplemented!()
    }
    /// Cancelled when the login is no longer valid (new token, engineer disabled): the door must end the connection.
    pub fn ended(&self) -> CancellationToken {
        unimplemented!()
    }
}

impl Shares {
    /// Checks a ticket's token. `None`: wrong, unknown, disabled - all the same. `user` and `secret` are whatever the
    /// client sent.
    pub async fn login_by_token(&self, user: &str, secret: &str, from: IpAddr) -> Result<Option<Login>, Refusal> {
        unimplemented!()
    }
    /// Whether a key with this SHA-256 fingerprint (OpenSSH form `SHA256:base64`) may try to log in as `user`. Never logs in.
    pub async fn is_known_key(&self, user: &str, fingerprint: &str) -> Result<bool, Refusal> {
        unimplemented!()
    }
    /// Logs an engineer in by a key whose signature the door has verified.
    pub async fn login_by_key(&self, user: &str, fingerprint: &str, from: IpAddr) -> Result<Option<Login>, Refusal> {
        unimplemented!()
    }
    /// The view of this login; one per SFTP channel (a channel is a session of its own).
    pub fn view(&self, login: &Login) -> View {
        unimplemented!()
    }
    /// True once the server drains: the door refuses new OPENs for writing by itself asking this (share refuses too).
    pub fn is_draining(&self) -> bool {
        unimplemented!()
    }
}

/// One session's view of what its login may see and do.
pub struct View;

/// What STAT says of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    pub kind: PlaceKind,
    /// Bytes; 0 for directories.
    pub size: u64,
    /// POSIX permission bits (without the file type), e.g. 0o640.
    pub mode: u32,
    pub modified: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    File,
    Directory,
}

/// One line of a listing.
#[derive(Debug, Clone)]
pub struct Entry {
    pub name: FileName,
    pub attributes: Attributes,
    pub owner: Word,
}

/// What SETSTAT and FSETSTAT ask for; owner and group are accepted and ignored by the door.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changes {
    pub size: Option<u64>,
    pub mode: Option<u32>,
    pub modified: Option<Time>,
}

/// How a file is opened for writing.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteMode {
    pub create: bool,
    pub exclusive: bool,
    pub truncate: bool,
    pub append: bool,
    pub read: bool,
}

/// Space for statvfs, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    pub total: u64,
    pub free: u64,
    pub names: u64,
    pub names_free: u64,
}

impl View {
    pub fn language(&self) -> Language {
        unimplemented!()
    }
    pub async fn attributes(&self, path: &SharePath) -> Result<Attributes, Refusal> {
        unimplemented!()
    }
    pub async fn list(&self, path: &SharePath) -> Result<Listing, Refusal> {
        unimplemented!()
    }
    pub async fn make_directory(&self, path: &SharePath) -> Result<(), Refusal> {
        unimplemented!()
    }
    pub async fn remove_directory(&self, path: &SharePath) -> Result<(), Refusal> {
        unimplemented!()
    }
    pub async fn remove_file(&self, path: &SharePath) -> Result<(), Refusal> {
        unimplemented!()
    }
    /// `replace`: posix-rename; an existing file gets a new version.
    pub async fn rename(&self, from: &SharePath, to: &SharePath, replace: bool) -> Result<(), Refusal> {
        unimplemented!()
    }
    pub async fn change(&self, path: &SharePath, changes: Changes) -> Result<(), Refusal> {
        unimplemented!()
    }
    pub async fn space(&self, path: &SharePath) -> Result<Space, Refusal> {
        unimplemented!()
    }
    pub async fn open_read(&self, path: &SharePath) -> Result<Download, Refusal> {
        unimplemented!()
    }
    pub async fn open_write(&self, path: &SharePath, mode: WriteMode) -> Result<Upload, Refusal> {
        unimplemented!()
    }
}

/// An open directory.
pub struct Listing;

impl Listing {
    /// The next entries, at most `most`; empty at the end.
    pub async fn next(&mut self, most: usize) -> Result<Vec<Entry>, Refusal> {
        unimplemented!()
    }
}

/// A version that is open for reading. Cheap to clone; reads may run at the same time.
#[derive(Clone)]
pub struct Download;

impl Download {
    pub fn attributes(&self) -> Attributes {
        unimplemented!()
    }
    /// Appends up to `length` bytes from `offset` on to `into` (so that the door builds its reply in one buffer).
    /// Returns how many; 0 only at or behind the end.
    pub async fn read(&self, offset: u64, length: usize, into: &mut Vec<u8>) -> Result<usize, Refusal> {
        unimplemented!()
    }
}

/// A handle that is open for writing. Dropping it without `close` is a cut: what is durable can be continued.
pub struct Upload;

impl Upload {
    /// Announces a write of `length` bytes at `offset` (ignored for append handles: they write at the end).
    pub async fn begin_write(&mut self, offset: u64, length: u64) -> Result<(), Refusal> {
        unimplemented!()
    }
    /// The next bytes of the announced write; waits while the bounded buffers are full.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        unimplemented!()
    }
    pub async fn attributes(&self) -> Result<Attributes, Refusal> {
        unimplemented!()
    }
    pub async fn change(&mut self, changes: Changes) -> Result<(), Refusal> {
        unimplemented!()
    }
    /// A handle to read the same file with (only if opened with `read`), else a refusal.
    pub async fn read(&mut self, offset: u64, length: usize, into: &mut Vec<u8>) -> Result<usize, Refusal> {
        unimplemented!()
    }
    /// fsync@openssh.com: all bytes written so far are durable when this returns.
    pub async fn sync(&mut self) -> Result<(), Refusal> {
        unimplemented!()
    }
    /// CLOSE: everything durable, hashed, sealed, recorded and its notice queued - or a refusal.
    pub async fn close(self) -> Result<(), Refusal> {
        unimplemented!()
    }
}
