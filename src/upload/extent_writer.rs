//! A run's extent while it is written: hashed by the worker, sealed and appended beside it.
//!
//! Hashing is the one thing about one upload that nothing can do in parallel: SHA-256 goes from
//! front to back. So a worker that has more to do hashes the next buffer while another thread seals
//! and writes the one before. There is one such buffer for each extent, and nothing is said to be
//! written before it is.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::buffer::Buffer;
use super::extents::{EndedExtent, OpenExtent};
use crate::model::ObjectId;
use crate::repo::{Error, Repo};
use crate::store::StoreError;

/// An extent, and the task that has it now.
pub(super) struct ExtentWriter {
    pub(super) id: ObjectId,
    /// Plaintext bytes, those included that are being sealed.
    pub(super) length: u64,
    state: SealState,
}

enum SealState {
    Idle(Box<OpenExtent>),
    /// With a task that seals a buffer.
    Sealing(JoinHandle<Result<Box<OpenExtent>, Error>>),
    /// It failed, which was said.
    Failed,
}

impl ExtentWriter {
    pub(super) fn new(extent: OpenExtent) -> Self {
        Self { id: extent.id, length: extent.length, state: SealState::Idle(Box::new(extent)) }
    }

    /// Takes a buffer that has been hashed. `aside`: it is sealed and written while the caller goes
    /// on.
    pub(super) async fn take(
        &mut self,
        repo: &Arc<Repo>,
        mut buffer: Buffer,
        ends: bool,
        aside: bool,
    ) -> Result<(), Error> {
        let mut extent = self.extent().await?;
        self.length += buffer.filled() as u64;
        if aside {
            let for_task = Arc::clone(repo);
            let task = repo.worker_runtime.spawn(async move {
                extent.take(&for_task, &mut buffer, ends)?;
                Ok(extent)
            });
            self.state = SealState::Sealing(task);
        } else {
            extent.take(repo, &mut buffer, ends)?;
            self.state = SealState::Idle(extent);
        }
        Ok(())
    }

    /// Ends it. Its way to the disk is begun, not awaited.
    pub(super) async fn end(mut self, repo: &Arc<Repo>, last_is_sealed: bool) -> Result<EndedExtent, Error> {
        self.extent().await?.end(repo, last_is_sealed)
    }

    /// The extent, once everything that it was given is written.
    async fn extent(&mut self) -> Result<Box<OpenExtent>, Error> {
        let lost = || StoreError::Io(std::io::Error::other("an extent was not written"));
        match std::mem::replace(&mut self.state, SealState::Failed) {
            SealState::Idle(extent) => Ok(extent),
            SealState::Sealing(task) => task.await.map_err(|_| lost())?,
            SealState::Failed => Err(lost().into()),
        }
    }
}
