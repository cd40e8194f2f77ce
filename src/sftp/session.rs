//! The session of one channel: takes requests in turn, and has each answered once.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::frame::{BadLength, Event, Parser};
use super::handles::{Handle, Place, Table};
use super::reads::{Reads, Source};
use super::{Common, Limits, reply};
use crate::access::{Attributes, Download, Listing, ReplySink, ShareSession, Upload};
use crate::model::{Language, Refusal, SharePath};

/// Why a session cannot go on. Its channel must be closed, and nothing more of it be fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// A packet longer than [`MAX_PACKET`](super::MAX_PACKET), or one of no length at all.
    #[error("the client sent a packet with an impossible length")]
    BadLength,
    /// Something that comes before INIT, a second INIT, or a packet without an id.
    #[error("the client broke the order of the protocol")]
    OutOfOrder,
    /// More malformed packets than [`Limits::malformed`].
    #[error("the client sent too many malformed packets")]
    Malformed,
    /// More than [`Limits::replies`] to say at once.
    #[error("the client asked for too much at once")]
    Flood,
}

impl From<BadLength> for Fatal {
    fn from(_: BadLength) -> Self {
        Self::BadLength
    }
}

/// One SFTP session. Dropping it cuts its open uploads (they can be continued); CLOSEs that were
/// asked for are still carried out.
pub struct Session<O> {
    parser: Parser,
    greeted: bool,
    malformed: u32,
    writing: Writing,
    pub(super) share: ShareSession,
    pub(super) language: Language,
    pub(super) limits: Limits,
    pub(super) handles: Table<Open>,
    pub(super) reads: Reads<O>,
    pub(super) closes: TaskTracker,
    /// Digests that were asked for; each holds a place among the handles.
    pub(super) checks: JoinSet<()>,
    pub(super) uploads: TaskTracker,
    pub(super) sink: O,
}

/// What a handle stands for.
pub(super) enum Open {
    Download(Download),
    Upload(OpenUpload),
    Directory { path: SharePath, attributes: Attributes, listing: Box<Listing>, greeted: bool },
}

pub(super) struct OpenUpload {
    /// Empty once CLOSE took the upload out.
    pub(super) slot: Arc<Mutex<Option<Upload>>>,
    pub(super) append: bool,
    /// Counts among the uploads that a draining server waits for, as long as it is held.
    pub(super) _open: TaskTrackerToken,
}

/// The WRITE whose payload is on its way.
enum Writing {
    /// None.
    Idle,
    /// Its payload goes into this upload, which nobody else gets before its end.
    Into { id: u32, upload: OwnedMutexGuard<Option<Upload>> },
    /// Its payload is let go; this is said at its end.
    Refused { id: u32, refusal: Refusal },
}

impl<O: ReplySink> Session<O> {
    /// A session of `share`, whose later replies go to `sink`. Must be made and fed inside a Tokio
    /// runtime.
    pub fn new(share: ShareSession, common: &Common, sink: O) -> Self {
        let (limits, language) = (common.limits, share.language());
        Self {
            parser: Parser::default(),
            greeted: false,
            malformed: 0,
            writing: Writing::Idle,
            share,
            language,
            limits,
            handles: Table::new(limits.handles),
            reads: Reads::new(sink.clone(), limits, language, Arc::clone(&common.read_budget)),
            closes: TaskTracker::new(),
            checks: JoinSet::new(),
            uploads: common.uploads.clone(),
            sink,
        }
    }

    /// Takes what came from the client, in slices of any size, and appends to `out` what is to be
    /// sent back at once.
    ///
    /// # Errors
    /// [`Fatal`]: send what `out` holds, then close the channel.
    pub async fn feed(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> Result<(), Fatal> {
        while let Some(event) = self.parser.next(&mut data)? {
            match event {
                Event::WriteData(bytes) => self.write(bytes).await,
                Event::WriteEnd => self.end_write(out),
                Event::WriteBegin { id, handle, offset, length } if self.greeted => {
                    self.writing = match self.begin_write(&handle, offset, length).await {
                        Ok(upload) => Writing::Into { id, upload },
                        Err(refusal) => Writing::Refused { id, refusal },
                    };
                }
                Event::Request { id, request } if self.greeted => self.serve(id, request, out).await,
                Event::Unknown { id } if self.greeted => self.refuse(out, id, Refusal::NotSupported),
                Event::Malformed { id: Some(id) } if self.greeted => {
                    self.refuse(out, id, Refusal::BadRequest);
                    self.malformed += 1;
                    if self.malformed >= self.limits.malformed {
                        return Err(Fatal::Malformed);
                    }
                }
                Event::Init { version: 3.. } if !self.greeted => {
                    self.greeted = true;
                    reply::version(out, &self.share.algorithms());
                }
                Event::Init { .. }
                | Event::WriteBegin { .. }
                | Event::Request { .. }
                | Event::Unknown { .. }
                | Event::Malformed { .. } => return Err(Fatal::OutOfOrder),
            }
            if out.len() > self.limits.replies {
                return Err(Fatal::Flood);
            }
        }
        Ok(())
    }

    /// The client will send nothing more: cuts what is still open for writing, and waits until
    /// everything that was asked for is answered.
    pub async fn finish(mut self) {
        drop(self.writing);
        drop(self.handles);
        self.reads.finish().await;
        while self.checks.join_next().await.is_some() {}
        self.closes.close();
        self.closes.wait().await;
    }

    pub(super) fn refuse(&self, out: &mut Vec<u8>, id: u32, refusal: Refusal) {
        self.sink.refused(refusal);
        reply::refused_to(out, id, refusal, self.share.login());
    }

    async fn begin_write(
        &self,
        handle: &Handle,
        offset: u64,
        length: u32,
    ) -> Result<OwnedMutexGuard<Option<Upload>>, Refusal> {
        let open = match self.handles.get(handle)? {
            Open::Upload(open) => open,
            Open::Download(_) => return Err(Refusal::ReadOnly),
            Open::Directory { .. } => return Err(Refusal::IsDirectory),
        };
        let end = offset.checked_add(u64::from(length)).filter(|end| i64::try_from(*end).is_ok());
        if end.is_none() && !open.append {
            return Err(Refusal::FileTooLarge);
        }
        let mut guard = Arc::clone(&open.slot).lock_owned().await;
        let upload = guard.as_mut().ok_or(Refusal::BadHandle)?;
        // A WRITE of nothing is legal (mina-sshd sends it) and changes nothing.
        if length > 0 {
            upload.begin_write(offset, u64::from(length)).await?;
        }
        Ok(guard)
    }

    async fn write(&mut self, bytes: &[u8]) {
        if let Writing::Into { id, upload } = &mut self.writing {
            let outcome = match upload.as_mut() {
                Some(upload) => upload.write(bytes).await,
                None => Err(Refusal::BadHandle),
            };
            if let Err(refusal) = outcome {
                self.writing = Writing::Refused { id: *id, refusal };
            }
        }
    }

    fn end_write(&mut self, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.writing, Writing::Idle) {
            Writing::Into { id, upload } => {
                drop(upload);
                reply::ok(out, id);
            }
            Writing::Refused { id, refusal } => self.refuse(out, id, refusal),
            Writing::Idle => {}
        }
    }

    /// CLOSE. The handle is gone when this returns; the answer for an upload comes from a task,
    /// when all is durable.
    pub(super) async fn close(&mut self, id: u32, handle: &Handle, out: &mut Vec<u8>) {
        match self.handles.remove(handle) {
            Err(refusal) => self.refuse(out, id, refusal),
            Ok((Open::Upload(open), place)) => self.close_upload(id, open, place, out).await,
            Ok((Open::Download(_) | Open::Directory { .. }, _)) => reply::ok(out, id),
        }
    }

    async fn close_upload(&self, id: u32, open: OpenUpload, place: Place, out: &mut Vec<u8>) {
        let Some(upload) = open.slot.lock().await.take() else {
            return self.refuse(out, id, Refusal::BadHandle);
        };
        let (sink, login) = (self.sink.clone(), self.share.login().clone());
        self.closes.spawn(async move {
            let outcome = upload.close().await;
            let mut out = Vec::new();
            match outcome {
                Ok(()) => reply::ok(&mut out, id),
                Err(refusal) => {
                    sink.refused(refusal);
                    reply::refused_to(&mut out, id, refusal, &login);
                }
            }
            // If the client is gone, its upload is finished all the same.
            let _ = sink.send(Bytes::from(out)).await;
            // Only now: a server that drains waits until the answer is on its way.
            drop((open, place));
        });
    }
}

impl Open {
    /// Where READs take their bytes.
    pub(super) fn source(&self) -> Result<Source, Refusal> {
        match self {
            Self::Download(download) => Ok(Source::Download(download.clone())),
            Self::Upload(open) => Ok(Source::Upload(Arc::clone(&open.slot))),
            Self::Directory { .. } => Err(Refusal::IsDirectory),
        }
    }
}
