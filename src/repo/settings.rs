//! What an operator can set about a data directory and the shares in it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Algorithm, TemporaryNames};
use crate::repo::Policy;

/// What can be set about shares. The defaults are those of `config/tacdrop.toml`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The most plaintext bytes in one extent; a power of two from 1 MiB on.
    pub extent_bytes: u64,
    /// An extent ends this long after its first byte, so that a slow upload becomes durable, too.
    pub checkpoint: Duration,
    /// Extents up to this many plaintext bytes lie in the records instead of the store; at most 64
    /// KiB.
    pub inline_bytes: usize,
    /// Files and directories in one share.
    pub names_per_share: u64,
    /// Names that a login may make, move and remove at once, and as many a day; uploads do not
    /// count.
    pub name_changes_per_day: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of one share, all versions together.
    pub share_bytes: u64,
    /// Plaintext bytes that one session may have in buffers.
    pub session_buffer: usize,
    /// Plaintext bytes that all sessions together may have in buffers.
    pub total_buffer: usize,
    /// Plaintext bytes that all downloads together may have opened ahead. Without room a download
    /// is slower.
    pub read_ahead: usize,
    /// Of the disk, this part stays free of uploads, in percent ...
    pub reserve_percent: u64,
    /// ... or as many bytes, if that is less.
    pub reserve_bytes: u64,
    /// A notice is sent when no upload came for this long ...
    pub settle: Duration,
    /// ... or when its first upload is this old.
    pub settle_max: Duration,
    /// An object of the store that no row knows is removed after two scans at least so long apart,
    /// in house time, have seen it.
    pub quarantine: Duration,
    /// Names under which nothing is announced yet, because it will be renamed ...
    pub temporary_names: TemporaryNames,
    /// ... unless it keeps such a name for this long.
    pub temporary_settle: Duration,
    /// An unfinished version is removed when nothing more of it came for this long, in house time
    /// ...
    pub unfinished: Duration,
    /// ... and people are told so this long before.
    pub warn: Duration,
    /// A withdrawn file can be restored for this long, in house time.
    pub withdrawn: Duration,
    /// A token is valid for this long, and again for this long from each login on, until its ticket
    /// is closed.
    pub token_validity: Duration,
    /// Whether who sees several tickets is not listed those that are closed. They can be reached
    /// all the same.
    pub hide_closed: bool,
    /// Digests that are given to clients beside SHA-256. They tell accidents, not attacks.
    pub also_digests: Vec<Algorithm>,
    /// Where the KEK lies, if not in the data directory.
    pub kek: Option<PathBuf>,
    /// What becomes of tickets; without one nothing goes by itself.
    pub policy: Option<Arc<Policy>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            extent_bytes: 32 << 20,
            checkpoint: Duration::from_secs(5),
            inline_bytes: 64 << 10,
            names_per_share: 100_000,
            name_changes_per_day: 10_000,
            file_bytes: 1 << 40,
            share_bytes: 4 << 40,
            session_buffer: 8 << 20,
            total_buffer: 256 << 20,
            read_ahead: 64 << 20,
            reserve_percent: 2,
            reserve_bytes: 1 << 30,
            settle: Duration::from_secs(10),
            settle_max: Duration::from_secs(60),
            quarantine: Duration::from_secs(7 * 86_400),
            temporary_names: TemporaryNames::default(),
            temporary_settle: Duration::from_secs(600),
            unfinished: Duration::from_secs(7 * 24 * 3600),
            warn: Duration::from_secs(24 * 3600),
            withdrawn: Duration::from_secs(24 * 3600),
            token_validity: Duration::from_secs(72 * 86_400),
            hide_closed: false,
            also_digests: Vec::new(),
            kek: None,
            policy: None,
        }
    }
}
