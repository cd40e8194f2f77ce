//! What a file's name is to a login: the one rule that STAT, listings, OPEN, SCP and digests go by.
//!
//! Who sends a file (a customer, or an engineer in `from-support/`) has to know where its upload
//! goes on. So to that side a name is the newest version, whole or not; and what is not whole yet
//! cannot be read, so that nobody takes its beginning for the file. To the other side a name is the
//! newest whole version, as long as there is one. To a session that has opened a file for reading
//! the name stays what it opened: some clients ask for the size behind their OPEN.

use std::collections::HashMap;
use std::sync::Arc;

use super::ShareSession;
use crate::content::sealed::current_version;
use crate::model::rights::Operation;
use crate::model::{ArtifactId, Locked, Refusal, SharePath, VersionId, VersionState};
use crate::namespace::tree::ResolvedPath;
use crate::records::entries::EntryRow;
use crate::records::versions::VersionRow;
use crate::repo::{Attributes, Error, PlaceKind, Unfinished};
use crate::upload::WriteQueue;

/// Unfinished files whose size a session remembers to have been told.
const TOLD: usize = 1024;

/// What a session was told, and what it reads, of files that others may change meanwhile.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Locked<Remembered>>);

#[derive(Default)]
struct Remembered {
    /// Where this session was told that unfinished versions end: appending must begin there.
    told: HashMap<VersionId, u64>,
    /// The sizes of what it has open for reading, by file: the handles' numbers and sizes, newest
    /// last.
    open: HashMap<ArtifactId, Vec<(u64, u64)>>,
    next: u64,
}

impl Memory {
    pub(super) fn told(&self, version: VersionId) -> Option<u64> {
        self.with(|it| it.told.get(&version).copied())
    }

    fn tell(&self, version: VersionId, size: u64) {
        self.with(|it| {
            if it.told.len() >= TOLD {
                it.told.clear();
            }
            it.told.insert(version, size);
        });
    }

    /// How long what this session reads of a file is, in bytes.
    fn reads(&self, artifact: ArtifactId) -> Option<u64> {
        self.with(|it| it.open.get(&artifact).and_then(|handles| handles.last()).map(|(_, size)| *size))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Remembered) -> T) -> T {
        work(&mut self.0.lock())
    }
}

/// While it lives, its session's STAT of a file says how long what it reads is.
pub(crate) struct OpenForReading {
    memory: Memory,
    artifact: ArtifactId,
    handle: u64,
}

impl Drop for OpenForReading {
    fn drop(&mut self) {
        self.memory.with(|it| {
            if let Some(handles) = it.open.get_mut(&self.artifact) {
                handles.retain(|(handle, _)| *handle != self.handle);
                if handles.is_empty() {
                    it.open.remove(&self.artifact);
                }
            }
        });
    }
}

/// What a name of a file stands for.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    /// A version that is whole, of this many bytes.
    Whole { size: u64 },
    /// One that is not, which can be continued from `size` on. An older one may be whole.
    Unfinished { version: VersionId, size: u64, how: Unfinished, replaces: bool },
    /// Nothing that could be read or continued.
    Nothing,
}

impl ShareSession {
    /// What a file's row, and the upload of it that is under way, are to this login.
    fn meaning(&self, row: Option<&EntryRow>, from_support: bool, held: Option<&WriteQueue>) -> Meaning {
        let current = row.and_then(|row| row.current);
        let receiving = row.and_then(|row| row.receiving);
        let newer = match held.filter(|queue| queue.is_newer()) {
            Some(queue) => Some((queue.version(), queue.attributes_for(self.id).size, Unfinished::Receiving)),
            None => receiving.map(|version| {
                let how = if version.incomplete { Unfinished::Incomplete } else { Unfinished::Receiving };
                (version.id, version.resumable_at, how)
            }),
        };
        let sends = self.is_engineer() == from_support;
        match (newer, current) {
            (Some((version, size, how)), current) if sends || current.is_none() => {
                Meaning::Unfinished { version, size, how, replaces: current.is_some() }
            }
            (_, Some(current)) => Meaning::Whole { size: current.length },
            _ => Meaning::Nothing,
        }
    }

    /// What STAT says of an upload that has no row yet.
    pub(crate) fn attributes_of_upload(&self, queue: &WriteQueue) -> Attributes {
        let attributes = queue.attributes_for(self.id);
        self.memory.tell(queue.version(), attributes.size);
        attributes
    }

    /// What STAT says of a row.
    pub(crate) fn attributes_of(&self, row: &EntryRow, from_support: bool, held: Option<&WriteQueue>) -> Attributes {
        if row.is_directory {
            let mine = self.is_engineer() == from_support;
            return Attributes::directory(if mine { row.mode } else { 0o550 }, row.modified_at);
        }
        let is_written_here = held.is_some_and(|queue| queue.session() == self.id);
        let reads = self.memory.reads(ArtifactId::from_bytes(row.id)).filter(|_| !is_written_here);
        let size = match (reads, self.meaning(Some(row), from_support, held)) {
            (Some(size), _) | (None, Meaning::Whole { size, .. }) => size,
            (None, Meaning::Unfinished { version, size, .. }) => {
                self.memory.tell(version, size);
                size
            }
            (None, Meaning::Nothing) => 0,
        };
        Attributes { kind: PlaceKind::File, size, mode: row.mode, modified: row.modified_at }
    }

    /// Whether what [`attributes_of`](Self::attributes_of) says of a row is about a file that is
    /// not whole yet.
    pub(crate) fn unfinished(
        &self,
        row: &EntryRow,
        from_support: bool,
        held: Option<&WriteQueue>,
    ) -> Option<Unfinished> {
        match self.meaning(Some(row), from_support, held) {
            Meaning::Unfinished { how, .. } if !row.is_directory => Some(how),
            _ => None,
        }
    }

    /// The whole version that this path of a share's own tree is to this login, if it may read that.
    pub(super) async fn readable_at(&self, path: &SharePath) -> Result<(ResolvedPath, VersionRow), Error> {
        let (resolved, held) = self.locate_with_upload(path).await?;
        Self::check(&resolved, Operation::Read)?;
        if resolved.entry.as_ref().is_some_and(|row| row.is_directory) {
            return Err(Refusal::IsDirectory.into());
        }
        match self.meaning(resolved.entry.as_ref(), resolved.from_support, held.as_deref()) {
            Meaning::Whole { .. } => {}
            Meaning::Unfinished { replaces: true, .. } => return Err(Refusal::NewerUnfinished.into()),
            Meaning::Unfinished { replaces: false, .. } => return Err(Refusal::StillReceiving.into()),
            Meaning::Nothing if resolved.entry.is_some() => return Err(Refusal::StillReceiving.into()),
            Meaning::Nothing => return Err(Refusal::NoSuchFile.into()),
        }
        let version = current_version(self.repo(), &mut *self.repo().records.read().await?, resolved.existing()?)
            .await?
            .filter(|version| version.state == VersionState::Available)
            .ok_or(Error::Refused(Refusal::Damaged))?;
        Ok((resolved, version))
    }

    /// Remembers that this session reads a version of a file, which is `size` bytes long.
    pub(super) fn opens_for_reading(&self, artifact: ArtifactId, size: u64) -> OpenForReading {
        let handle = self.memory.with(|it| {
            it.next += 1;
            it.open.entry(artifact).or_default().push((it.next, size));
            it.next
        });
        OpenForReading { memory: self.memory.clone(), artifact, handle }
    }
}
