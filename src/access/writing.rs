//! A file that a session has open for writing: what the session may do with it, and what it means
//! by what it does.

use std::sync::Arc;

use crate::access::ShareSession;
use crate::login::rights::Grant;
use crate::model::rights::Operation;
use crate::model::{ArtifactId, Refusal, SharePath, VersionId};
use crate::namespace::tree::ResolvedPath;
use crate::repo::{Attributes, Changes, WriteMode};
use crate::upload::{Begun, Buffer, Job, Pending, Phase, Target, WriteQueue};

/// A file that is open for writing. Dropped without [`close`](Self::close), it is cut: what is
/// durable can be continued.
pub struct Upload {
    session: ShareSession,
    path: SharePath,
    mode: WriteMode,
    handle: UploadHandle,
    write: Option<Write>,
    spare: Option<Buffer>,
}

/// A handle on an upload that is under way. The last one that is dropped without a CLOSE cuts the
/// upload.
pub(crate) struct UploadHandle {
    queue: Arc<WriteQueue>,
    grant: Grant,
    /// Whether it continues an unfinished version.
    continues: bool,
}

/// A write that was announced.
struct Write {
    /// Where its next byte belongs.
    offset: u64,
    left: u64,
    target: Target,
    /// The payload so far, if it came early.
    early: Vec<u8>,
}

/// The grant for a file that is written. In a drop box the login sees it from now on.
fn granted(session: &ShareSession, resolved: &ResolvedPath, queue: &WriteQueue) -> Grant {
    if resolved.rights.sees_own_only() {
        session.login().0.sent().add(*queue.artifact().as_bytes());
    }
    session.grant(&resolved.context.ticket, resolved.rights, (Operation::Create, resolved.side()))
}

impl UploadHandle {
    /// The first handle on an upload that was begun.
    pub(crate) fn first(session: &ShareSession, resolved: &ResolvedPath, begun: Begun) -> Self {
        Self { grant: granted(session, resolved, &begun.queue), queue: begun.queue, continues: begun.continues }
    }

    /// One more handle of a session on its upload; none if that is over.
    pub(crate) fn join(session: &ShareSession, resolved: &ResolvedPath, queue: &Arc<WriteQueue>) -> Option<Self> {
        let grant = granted(session, resolved, queue);
        queue.join().then(|| Self { queue: Arc::clone(queue), grant, continues: false })
    }

    /// Makes the file this long.
    ///
    /// # Errors
    /// If the login may not go on, or the upload takes no writes any more.
    pub(crate) async fn truncate(&self, length: u64) -> Result<(), Refusal> {
        self.grant.check()?;
        self.queue.wait_for_room().await;
        if length == self.queue.length() { Ok(()) } else { self.queue.truncate(length) }
    }
}

impl Drop for UploadHandle {
    fn drop(&mut self) {
        self.queue.leave();
    }
}

impl Upload {
    pub(crate) fn new(session: &ShareSession, path: &SharePath, mode: WriteMode, handle: UploadHandle) -> Self {
        Self { session: session.clone(), path: path.clone(), mode, handle, write: None, spare: None }
    }

    /// Announces a write of `length` bytes at `offset`. Handles that append write at the end
    /// instead.
    ///
    /// # Errors
    /// If the file would become too large, or the upload takes no writes any more.
    pub async fn begin_write(&mut self, offset: u64, length: u64) -> Result<(), Refusal> {
        let outcome = self.try_begin_write(offset, length).await;
        self.session.record_refusal(&self.path, outcome).await
    }

    async fn try_begin_write(&mut self, offset: u64, length: u64) -> Result<(), Refusal> {
        self.write = None;
        self.handle.grant.check()?;
        self.reopen_if_closed().await?;
        self.start_over_unless_continued(offset)?;
        let offset = if self.mode.append { self.queue().length() } else { offset };
        self.session.check_length(offset.checked_add(length).ok_or(Refusal::FileTooLarge)?)?;
        if length > 0 {
            self.queue().wait_for_room().await;
            let target = self.queue().begin(offset, length, || self.session.buffers().try_early(length))?;
            // What waits counts against a budget, so it takes no more than it says; `begin` has
            // bounded it.
            let early = match &target {
                Target::Early(_) => Vec::with_capacity(usize::try_from(length).unwrap_or(0)),
                Target::Run(_) => Vec::new(),
            };
            self.write = Some(Write { offset, left: length, target, early });
        }
        Ok(())
    }

    /// Devices send the same name again and again, and few of them empty a file that they
    /// overwrite. So the first write of a device's ticket says what it means: at the end of an
    /// unfinished file it goes on, anywhere else it begins anew, and nothing of what was there is
    /// mixed with what comes.
    fn start_over_unless_continued(&self, offset: u64) -> Result<(), Refusal> {
        if !self.queue().decide() || self.mode.append {
            return Ok(());
        }
        // Behind the end that it was told there may be more, which belongs to an earlier file if
        // this is another one.
        let end = self.queue().attributes().size;
        self.queue().truncate(if offset == end { end } else { 0 })
    }

    /// The next bytes of the announced write. Waits while the buffers are full.
    ///
    /// # Errors
    /// If the upload has failed, or more comes than was announced.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let Some(write) = &mut self.write else {
            return if bytes.is_empty() { Ok(()) } else { Err(Refusal::BadRequest) };
        };
        let length = bytes.len() as u64;
        if length > write.left {
            return Err(Refusal::BadRequest);
        }
        write.left -= length;
        let is_last = write.left == 0;
        match &mut write.target {
            Target::Early(_) => write.early.extend_from_slice(bytes),
            Target::Run(run) => {
                let mut run = *run;
                let offset = write.offset;
                self.fill(&mut run, offset, bytes).await?;
                if let Some(write) = &mut self.write {
                    write.offset += length;
                    write.target = Target::Run(run);
                }
            }
        }
        if is_last { self.end_write().await } else { Ok(()) }
    }

    async fn end_write(&mut self) -> Result<(), Refusal> {
        let Some(Write { offset, target, early, .. }) = self.write.take() else { return Ok(()) };
        if let Target::Early(room) = target {
            self.queue().put_early(offset, Pending::new(early, room))?;
        }
        while let Some((mut run, offset, waiting)) = self.queue().take_contiguous() {
            self.fill(&mut run, offset, &waiting.bytes).await?;
        }
        Ok(())
    }

    async fn fill(&mut self, run: &mut u64, mut offset: u64, mut bytes: &[u8]) -> Result<(), Refusal> {
        loop {
            let taken = self.handle.queue.put(run, offset, bytes, &mut self.spare)?;
            bytes = bytes.get(taken..).unwrap_or_default();
            offset += taken as u64;
            if bytes.is_empty() {
                return Ok(());
            }
            self.spare = Some(match self.session.buffers().try_buffer() {
                Some(buffer) => buffer,
                None => {
                    // The session's other uploads may hold all of its buffers half full.
                    self.session.access().uploads.registry.settle_session(self.session.id(), &self.handle.queue);
                    self.session.buffers().buffer().await?
                }
            });
        }
    }

    /// After another handle of the session has closed the file, this one goes on in the next
    /// version, which begins with what was published.
    async fn reopen_if_closed(&mut self) -> Result<(), Refusal> {
        if self.queue().phase() == Phase::Closing {
            self.queue().wait_for_end().await?;
        }
        if self.queue().phase() == Phase::Published {
            let mode = WriteMode { create: false, exclusive: false, truncate: false, ..self.mode };
            self.handle = self.session.begin_upload(&self.path, mode).await?;
        }
        Ok(())
    }

    fn queue(&self) -> &WriteQueue {
        &self.handle.queue
    }

    /// What FSTAT says.
    ///
    /// # Errors
    /// None now; the door treats it like every other request.
    pub async fn attributes(&self) -> Result<Attributes, Refusal> {
        Ok(self.queue().attributes())
    }

    /// Whether it continues an unfinished version, so that only a CLOSE after its last byte may
    /// publish it.
    pub(crate) const fn continues(&self) -> bool {
        self.handle.continues
    }

    /// FSETSTAT.
    ///
    /// # Errors
    /// If the file would become too large, or the upload takes no writes any more.
    pub async fn change(&mut self, changes: Changes) -> Result<(), Refusal> {
        let outcome = self.try_change(changes).await;
        self.session.record_refusal(&self.path, outcome).await
    }

    async fn try_change(&mut self, changes: Changes) -> Result<(), Refusal> {
        self.handle.grant.check()?;
        if let Some(size) = changes.size {
            self.session.check_length(size)?;
            self.reopen_if_closed().await?;
            self.handle.truncate(size).await?;
        }
        self.queue().set_attributes(changes.mode, changes.modified);
        Ok(())
    }

    /// Appends up to `length` bytes from `offset` on to `into`, and says how many. Everything
    /// written so far becomes durable by that.
    ///
    /// # Errors
    /// If the handle was not opened for reading, or reading back fails.
    pub async fn read(&mut self, offset: u64, length: usize, into: &mut Vec<u8>) -> Result<usize, Refusal> {
        self.handle.grant.check_for(Operation::Read)?;
        if !self.mode.read {
            return Err(Refusal::NotOpenForReading);
        }
        let bytes = self.queue().ask(|reply| Job::Read { offset, length, reply }).await?;
        into.extend_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// fsync@openssh.com: everything written so far is durable when this returns.
    ///
    /// # Errors
    /// If it cannot be made durable; the upload has failed then.
    pub async fn sync(&mut self) -> Result<(), Refusal> {
        self.handle.grant.goes_on()?;
        self.queue().ask(Job::Sync).await
    }

    /// The version that is written.
    pub fn version(&self) -> VersionId {
        self.queue().version()
    }

    /// The file that it is a version of.
    pub fn artifact(&self) -> ArtifactId {
        self.queue().artifact()
    }

    /// Up to where nothing is missing, in bytes, and the SHA-256 of that. A door that is told where
    /// each write begins asks so before it goes on there: whether it goes on is no question then.
    ///
    /// # Errors
    /// If the login may not go on, or what is there cannot be read.
    pub async fn front(&mut self) -> Result<(u64, [u8; 32]), Refusal> {
        self.handle.grant.goes_on()?;
        self.queue().decide();
        self.queue().ask(Job::Front).await
    }

    /// CLOSE of a file that is `length` bytes long, also if all of them were there already.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn close_at(self, length: u64) -> Result<(), Refusal> {
        self.handle.grant.check()?;
        self.queue().wait_for_room().await;
        self.queue().truncate(length)?;
        self.close().await
    }

    /// CLOSE: when this returns, every byte is durable, hashed, sealed and recorded, and its notice
    /// is queued. Once begun it goes on to its end, whether its caller waits for that or not.
    ///
    /// # Errors
    /// Why it is not so. [`Refusal::Incomplete`]: bytes in the middle are missing.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn close(self) -> Result<(), Refusal> {
        // In a task of its own, so that a panic in it still gets an answer, and so that nothing can
        // cut it short.
        let task = tokio::spawn(async move {
            let began = std::time::Instant::now();
            let outcome = self.try_close().await;
            metrics::histogram!("tacdrop_close_seconds").record(began.elapsed());
            if outcome.is_ok() {
                // Many clients rename what they have sent.
                self.session.access().name_changes.give(self.session.login().name());
            }
            self.session.record_refusal(&self.path, outcome).await
        });
        task.await.unwrap_or(Err(Refusal::Storage))
    }

    async fn try_close(&self) -> Result<(), Refusal> {
        // What the ticket takes by now is decided in the transaction that publishes.
        self.handle.grant.goes_on()?;
        if self.queue().is_undecided() && self.queue().phase().is_open() {
            // Not a byte came from a device. What it was told can be continued is not made an empty
            // file by that.
            if self.queue().attributes().size > 0 {
                return Err(Refusal::Incomplete);
            }
            self.queue().truncate(0)?;
        }
        match self.queue().phase() {
            // Another handle has published what is there, and nothing was written through this one
            // since.
            Phase::Published => Ok(()),
            Phase::Closing => {
                self.queue().wait_for_end().await?;
                match self.queue().phase() {
                    Phase::Refusing(refusal) => Err(refusal),
                    Phase::Open { .. } | Phase::Closing | Phase::Published => Ok(()),
                }
            }
            Phase::Open { .. } | Phase::Refusing(_) => self.queue().close().await,
        }
    }
}
