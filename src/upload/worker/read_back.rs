//! What was written is read back: for a client that reads while it writes, and to hash what the
//! hash has not passed yet.

use std::collections::HashMap;
use std::sync::Arc;

use super::Worker;
use crate::content::{AccessKey, Content, ExtentAccess};
use crate::repo::Error;
use crate::vault::{HashOrigin, SliceMap};

/// Bytes that are read at once to catch up with the front.
const READ: u64 = 1 << 20;
/// A gap up to this long before the front is read again at once, not only at CLOSE.
const SMALL_GAP: u64 = 8 << 20;

impl Worker {
    pub(super) async fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        let left = self.queue.length().saturating_sub(offset);
        let mut bytes = Vec::new();
        let left = left.min(length as u64);
        if let Some(copy_base) = &self.copy_base {
            copy_base.content.read(offset, left, &mut bytes).await?;
            return Ok(bytes);
        }
        let content = match self.readable.take() {
            Some(content) => content,
            None => self.content(self.arrived.map.clone()),
        };
        content.read(offset, left, &mut bytes).await?;
        self.readable = Some(content);
        Ok(bytes)
    }

    /// What can be read of it now by this map: everything that was recorded.
    pub(super) fn content(&self, map: SliceMap) -> Content {
        let mut extents = HashMap::new();
        for extent in map.extents().iter().filter_map(|id| self.arrived.extents.get(id)) {
            let by = Arc::clone(&self.upload_rows.file_key);
            let access = ExtentAccess {
                key: AccessKey::Wrapped { key: extent.wrapped, version: self.upload_rows.version, by },
                header_tag: extent.header_tag,
                length: extent.length,
                place: extent.place(),
            };
            extents.insert(extent.id, access);
        }
        let small_file = self.upload_rows.small_base.as_ref().map(|base| base.row);
        Content::new(&self.uploads.repo, self.upload_rows.share(), self.upload_rows.artifact, map, extents, small_file)
    }

    /// Opens the head of each extent that an earlier upload wrote and the map uses: a manifest
    /// vouches for what it names, and of these nothing but rows has been seen.
    pub(super) async fn check_taken_over(&self) -> Result<(), Error> {
        let used = self.arrived.map.extents();
        let taken = self.arrived.extents.values().filter(|extent| extent.is_taken_over && used.contains(&extent.id));
        let taken: Vec<_> = taken.map(|extent| extent.id).collect();
        if taken.is_empty() {
            return Ok(());
        }
        let content = self.content(self.arrived.map.clone());
        for id in taken {
            if let Err(error) = content.extent(id).await {
                let (artifact, version) = (self.queue.artifact(), self.upload_rows.version);
                tracing::error!(
                    %artifact, %version, extent = %id, %error,
                    "an upload cannot be closed: something that it continues is not what was written; run 'tacdrop store \
                     check'"
                );
                return Err(error);
            }
        }
        Ok(())
    }

    /// A resumed upload may go on a little behind the state that was kept: what lies between is
    /// read at once, so that the rest is hashed while it arrives.
    pub(super) async fn close_small_gap(&mut self, offset: u64) -> Result<(), Error> {
        let front = self.arrived.hasher.front();
        if offset > front && offset - front <= SMALL_GAP && self.open.is_empty() {
            let there = self.arrived.map.contiguous_from_zero() >= offset;
            if there {
                self.checkpoint().await?;
                // Seldom, so in a box: each job would move the room that it needs about otherwise.
                Box::pin(self.catch_up(offset)).await?;
                (self.changed, self.readable) = (true, None);
            }
        }
        Ok(())
    }

    /// Up to where nothing is missing, and the digest of that. What an upload goes on with was hashed
    /// up to its last checkpoint; what lies behind it is read.
    pub(super) async fn front(&mut self) -> Result<(u64, [u8; 32]), Error> {
        self.seal_gathered().await?;
        let front = match &self.copy_base {
            Some(base) => base.length,
            None => self.arrived.map.contiguous_from_zero(),
        };
        if self.copy_base.is_none() && self.arrived.hasher.front() < front {
            self.checkpoint().await?;
            self.catch_up(front).await?;
            self.readable = None;
        }
        let state = self.arrived.hasher.at_or_below(front);
        if state.hashed() != front {
            return Err(Error::operator(format!(
                "the digest of an upload stands at {}, not at {front}",
                state.hashed()
            )));
        }
        Ok((front, state.finish()))
    }

    /// Hashes what is there between the front and `to`.
    pub(super) async fn catch_up(&mut self, to: u64) -> Result<(), Error> {
        if self.arrived.hasher.front() >= to {
            return Ok(());
        }
        self.arrived.origin = HashOrigin::ReRead;
        let content = self.content(self.arrived.map.clone());
        let mut bytes = Vec::new();
        while self.arrived.hasher.front() < to {
            let front = self.arrived.hasher.front();
            bytes.clear();
            content.read(front, READ.min(to - front), &mut bytes).await?;
            self.arrived.hasher.take(front, &bytes);
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
