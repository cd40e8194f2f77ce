//! Extents that are being written: sealed in memory while they are small, then in the store.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::buffer::Buffer;
use crate::model::{ArtifactId, ObjectId, ObjectPlace, ShareId, VersionId};
use crate::records::extents::ExtentRow;
use crate::repo::blocking::given_up;
use crate::repo::{Error, Repo};
use crate::store::{NewObject, StoreError};
use crate::vault::extent::{SEALED_SEGMENT, SEGMENT};
use crate::vault::{self, ExtentIds, ExtentKey, ExtentSealer, FileKey, WrappedKey};

/// An extent that is being written.
pub(super) struct OpenExtent {
    pub(super) id: ObjectId,
    sealer: ExtentSealer,
    wrapped: WrappedKey,
    /// Plaintext bytes.
    pub(super) length: u64,
    sink: Sink,
}

/// Where the sealed bytes go.
enum Sink {
    /// Still small enough for the records.
    Memory(Vec<u8>),
    Store(NewObject),
}

/// An extent that has ended.
pub(super) struct EndedExtent {
    pub(super) id: ObjectId,
    pub(super) length: u64,
    pub(super) header_tag: [u8; 32],
    pub(super) wrapped: WrappedKey,
    pub(super) home: Home,
    pub(super) rows: Rows,
    /// Whether an earlier upload wrote it: what is known of it was read in the records.
    pub(super) is_taken_over: bool,
}

/// What the records have of an ended extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// Nothing.
    None,
    /// Its row, but not that this version uses it.
    Extent,
    /// Both.
    Both,
}

/// Where an ended extent lies.
pub(super) enum Home {
    /// Durable in the store.
    Store,
    /// On its way to the disk.
    Syncing(JoinHandle<Result<(), StoreError>>),
    /// Here, until the records take it.
    Memory(Vec<u8>),
    /// In the records.
    Records,
    /// Nowhere: it could not be written. It is not tried again.
    Failed,
}

impl OpenExtent {
    pub(super) fn begin(
        share: ShareId,
        artifact: ArtifactId,
        version: VersionId,
        file_key: &FileKey,
    ) -> Result<Self, Error> {
        let id = ObjectId::from_bytes(vault::random::array()?);
        let key = ExtentKey::generate()?;
        let wrapped = file_key.wrap_extent_key(version, id, &key)?;
        let sealer = ExtentSealer::new(&ExtentIds { share, artifact, extent: id }, &key)?;
        let sink = Sink::Memory(sealer.head().to_vec());
        Ok(Self { id, sealer, wrapped, length: 0, sink })
    }

    /// Seals and writes a buffer, which is full unless it is the extent's last one.
    pub(super) fn take(&mut self, repo: &Repo, buffer: &mut Buffer, ends: bool) -> Result<(), Error> {
        let plaintext = buffer.filled() as u64;
        let (whole, rest) = buffer.parts();
        let mut sealed = 0;
        for segment in whole {
            self.sealer.seal_inner(segment)?;
            sealed += SEALED_SEGMENT;
        }
        // The bytes behind the last whole segment must leave with it: a buffer that is neither full
        // nor the last is none.
        let has_last = rest > 0 || (ends && !buffer.is_full());
        if has_last && let Some(segment) = buffer.last_part() {
            self.sealer.seal_last(segment)?;
            sealed += segment.len();
        }
        self.append(repo, buffer.sealed(sealed), plaintext)
    }

    fn append(&mut self, repo: &Repo, sealed: &[u8], plaintext: u64) -> Result<(), Error> {
        self.length += plaintext;
        if let Sink::Memory(bytes) = &mut self.sink
            && self.length > repo.settings.inline_bytes as u64
        {
            let mut object = repo.store.create(self.id)?;
            object.append(bytes)?;
            self.sink = Sink::Store(object);
        }
        match &mut self.sink {
            Sink::Memory(bytes) => bytes.extend_from_slice(sealed),
            Sink::Store(object) => object.append(sealed)?,
        }
        Ok(())
    }

    /// Ends it. Its way to the disk is begun, not awaited.
    pub(super) fn end(mut self, repo: &Arc<Repo>, last_is_sealed: bool) -> Result<EndedExtent, Error> {
        if !last_is_sealed {
            let mut empty = [0; SEALED_SEGMENT - SEGMENT];
            self.sealer.seal_last(&mut empty)?;
            self.append(repo, &empty, 0)?;
        }
        let home = match self.sink {
            Sink::Memory(bytes) => Home::Memory(bytes),
            Sink::Store(object) => Home::Syncing(repo.worker_runtime.spawn_blocking(move || object.finish())),
        };
        Ok(EndedExtent {
            id: self.id,
            length: self.length,
            header_tag: self.sealer.header_tag(),
            wrapped: self.wrapped,
            home,
            rows: Rows::None,
            is_taken_over: false,
        })
    }
}

impl EndedExtent {
    /// One that the records have, from an unfinished version or the version before.
    pub(super) fn recorded(
        id: ObjectId,
        (length, header_tag, place): (u64, [u8; 32], ObjectPlace),
        wrapped: WrappedKey,
        rows: Rows,
    ) -> Self {
        let home = match place {
            ObjectPlace::Store => Home::Store,
            ObjectPlace::Records => Home::Records,
        };
        Self { id, length, header_tag, wrapped, home, rows, is_taken_over: true }
    }

    /// Waits until it is durable, unless the records are to take it.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        if let Home::Syncing(sync) = &mut self.home {
            let outcome = sync.await;
            self.home = Home::Failed;
            match outcome {
                Ok(Ok(())) => self.home = Home::Store,
                Ok(Err(StoreError::Full)) => return Err(StoreError::Full.into()),
                // Whatever it is, nothing that was stored before is damaged by it.
                Ok(Err(error)) => return Err(StoreError::Io(std::io::Error::other(error)).into()),
                Err(_) => return Err(given_up("the write")),
            }
        }
        Ok(())
    }

    /// Whether the disk has just said that it is there.
    pub(super) fn has_landed(&self) -> bool {
        matches!(&self.home, Home::Syncing(sync) if sync.is_finished())
    }

    /// Whether nothing but a row in the records is missing to its being there for good.
    pub(super) const fn is_durable(&self) -> bool {
        matches!(self.home, Home::Store | Home::Memory(_) | Home::Records)
    }

    pub(super) const fn place(&self) -> ObjectPlace {
        match self.home {
            Home::Store | Home::Syncing(_) | Home::Failed => ObjectPlace::Store,
            Home::Memory(_) | Home::Records => ObjectPlace::Records,
        }
    }

    pub(super) fn row(&self) -> ExtentRow {
        ExtentRow {
            id: self.id,
            length: self.length,
            header_tag: self.header_tag,
            place: self.place(),
            extent_key: self.wrapped.as_bytes().to_vec(),
        }
    }
}
