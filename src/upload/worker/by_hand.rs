//! A worker that a test gives its jobs one by one: what sessions send depends on when the worker
//! comes to it.

use std::sync::Arc;

use super::Worker;
use crate::model::{ObjectId, ShareId, VersionId};
use crate::namespace::tree::ResolvedPath;
use crate::repo::{Error, WriteMode};
use crate::upload::buffer::Buffer;
use crate::upload::{InitialState, Opener, Uploads, WriteQueue};

/// The worker of a new file, without anybody who gives it jobs.
pub(crate) struct ByHand(Worker);

impl ByHand {
    pub(crate) async fn begin(uploads: &Arc<Uploads>, opener: &Opener<'_>, resolved: &ResolvedPath) -> Self {
        let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
        let start = InitialState::of(&uploads.repo, opener, resolved, mode).await.unwrap();
        let reservation = uploads.repo.disk_space.promise(opener.login.user()).unwrap();
        let (ids, sizes) =
            ((start.upload_rows.artifact, start.upload_rows.version), (start.holds, start.length(), start.floor));
        let queue = WriteQueue::new(ids, (opener.session, opener.login.0.id), resolved.place().unwrap(), sizes, 0o640);
        Self(Worker::new(Arc::clone(uploads), Arc::new(queue), start, reservation))
    }

    /// All of one run.
    pub(crate) async fn data(&mut self, run: u64, offset: u64, bytes: &[u8]) {
        self.0.data(run, offset, buffer(bytes), true).await.unwrap();
    }

    pub(crate) async fn checkpoint(&mut self) {
        self.0.checkpoint().await.unwrap();
    }

    pub(crate) async fn write_progress(&mut self) {
        self.0.write_progress(false).await.unwrap();
    }

    pub(crate) async fn close(&mut self) -> Result<(), Error> {
        self.0.close().await
    }

    /// Up to where it has hashed.
    pub(crate) fn front(&self) -> u64 {
        self.0.arrived.hasher.front()
    }

    pub(crate) fn version(&self) -> VersionId {
        self.0.upload_rows.version
    }

    pub(crate) fn share(&self) -> ShareId {
        self.0.upload_rows.share()
    }

    /// The extents that are on their way to the disk, which it forgets.
    pub(crate) fn take_syncing(&mut self) -> Vec<ObjectId> {
        std::mem::take(&mut self.0.syncing)
    }

    /// Has these on their way.
    pub(crate) fn set_syncing(&mut self, extents: Vec<ObjectId>) {
        self.0.syncing = extents;
    }
}

/// A buffer that holds these bytes.
pub(super) fn buffer(bytes: &[u8]) -> Buffer {
    let mut buffer = Buffer::outside_budget();
    buffer.push(bytes);
    buffer
}
