//! `scp -t`: takes files and directories from the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::record::{self, MAX_LINE, Named, Record};
use super::reply::{Complaint, FAILED, FATAL, OK};
use super::session::Fatal;
use super::{Argument, Channel, Common, Flags};
use crate::access::{Changes, PlaceKind, ShareSession, Upload, WriteMode};
use crate::model::{Kind, Language, Locked, LockedGuard, Refusal, SharePath, Time};

/// Bytes of replies that one call of `feed` may make. A client that waits for its replies needs one
/// at a time.
const REPLIES: usize = 64 * 1024;

pub(super) struct Sink<C> {
    share: ShareSession,
    language: Language,
    flags: Flags,
    channel: C,
    uploads: TaskTracker,
    closes: TaskTracker,
    /// Where names go, from the target down to the directory that was entered last. Bounded by the
    /// depth of a path.
    places: Vec<Place>,
    /// From the `T` line before the next file or directory.
    modified: Option<Time>,
    state: State,
    /// Whether anything was refused or lost: the exit code tells.
    failed: Arc<AtomicBool>,
}

/// Where the next name goes.
struct Place {
    path: SharePath,
    kind: Target,
    /// What the directory gets when the client leaves it.
    changes: Option<Changes>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    /// A directory: names go into it.
    Directory,
    /// Not there, or a file: the path is the name, whatever the client calls it.
    Name,
    /// Not there, and written with a slash at its end: the same, for directories only.
    DirectoryName,
}

enum State {
    /// In a control line, of which this much is there.
    Line(Vec<u8>),
    /// In an error message of the client's, instead of a control line.
    Message { grade: u8 },
    /// In the bytes of a file.
    Data { file: File, left: u64 },
    /// All bytes were there; the client says next whether they are right.
    Identifier(File),
    /// It says why they are not.
    WordMessage { file: File, grade: u8 },
    /// A task closes the file.
    Closing(Closing),
}

impl State {
    const START: Self = Self::Line(Vec::new());
}

/// The file that is being received.
struct File {
    path: SharePath,
    /// None of it is kept once something was refused: the upload is cut.
    upload: Result<Upload, Refusal>,
    written: u64,
    changes: Changes,
    /// Counts among the uploads that a draining server waits for, as long as it is held.
    open: TaskTrackerToken,
}

/// Who says how a CLOSE went: the task, unless `feed` waits for it.
type Closing = Arc<Locked<Teller>>;

enum Teller {
    Task,
    Feed(oneshot::Sender<Vec<u8>>),
    Said,
}

impl<C: Channel> Sink<C> {
    pub(super) async fn begin(
        share: ShareSession,
        common: &Common,
        flags: Flags,
        target: &Argument,
        channel: C,
        out: &mut Vec<u8>,
    ) -> Result<Self, Fatal> {
        let language = share.language();
        let target = target.below_home().bytes;
        let found = match SharePath::parse(&target) {
            Ok(path) => match share.attributes(&path).await {
                Ok(there) => Ok((path, Some(there.kind))),
                Err(refusal) if refusal.kind() == Kind::NotFound => Ok((path, None)),
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        let wants_directory = flags.directory || target.ends_with(b"/");
        let found = found.and_then(|(path, kind)| match kind {
            Some(PlaceKind::Directory) => Ok((path, Target::Directory)),
            Some(PlaceKind::File) if wants_directory => Err(Refusal::NotDirectory),
            None if flags.directory => Err(Refusal::NoSuchFile),
            None if wants_directory => Ok((path, Target::DirectoryName)),
            Some(PlaceKind::File) | None => Ok((path, Target::Name)),
        });
        let (path, kind) = found.map_err(|refusal| {
            out.extend(Complaint::from(refusal).message_for(FATAL, Some(&target), share.login()));
            Fatal::NoDirectory
        })?;
        out.push(OK);
        Ok(Self {
            share,
            language,
            flags,
            channel,
            uploads: common.uploads.clone(),
            closes: TaskTracker::new(),
            places: vec![Place { path, kind, changes: None }],
            modified: None,
            state: State::START,
            failed: Arc::default(),
        })
    }

    pub(super) async fn feed(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> Result<(), Fatal> {
        while let Some((first, rest)) = data.split_first() {
            match std::mem::replace(&mut self.state, State::START) {
                State::Line(line) if line.is_empty() && matches!(*first, FAILED | FATAL) => {
                    self.state = State::Message { grade: *first };
                    data = rest;
                }
                State::Line(mut line) => {
                    let end = data.iter().position(|byte| *byte == b'\n');
                    line.extend_from_slice(data.get(..end.unwrap_or(data.len())).unwrap_or_default());
                    if line.len() > MAX_LINE {
                        return self.broken(out);
                    }
                    let Some(end) = end else {
                        self.state = State::Line(line);
                        return Ok(());
                    };
                    data = data.get(end + 1..).unwrap_or_default();
                    match record::parse(&line) {
                        Ok(record) => self.carry_out(record, out).await?,
                        Err(record::Broken) => return self.broken(out),
                    }
                }
                State::Message { grade } => match skip_line(&mut data) {
                    // Nobody waits for an answer to that: the client goes on with the next file.
                    true => self.note_failure(grade)?,
                    false => self.state = State::Message { grade },
                },
                State::Data { mut file, left } => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                    let (bytes, rest) = data.split_at(length);
                    file.write(bytes).await;
                    data = rest;
                    let left = left.saturating_sub(length as u64);
                    self.state = if left > 0 { State::Data { file, left } } else { State::Identifier(file) };
                }
                State::Identifier(file) => {
                    data = rest;
                    match *first {
                        OK => self.close(file, out).await,
                        grade @ (FAILED | FATAL) => self.state = State::WordMessage { file, grade },
                        _ => return self.broken(out),
                    }
                }
                State::WordMessage { file, grade } => match skip_line(&mut data) {
                    true => {
                        self.note_failure(grade)?;
                        // The client has not got right what it sent. It stays unfinished.
                        let File { path, upload, .. } = file;
                        let refusal = upload.err().unwrap_or(Refusal::Incomplete);
                        self.refuse(&path, refusal, out);
                    }
                    false => self.state = State::WordMessage { file, grade },
                },
                State::Closing(closing) => {
                    if let Some(waiting) = wait_for(&closing)
                        && let Ok(reply) = waiting.await
                    {
                        out.extend(reply);
                    }
                }
            }
            if out.len() > REPLIES {
                return Err(Fatal::Flood);
            }
        }
        Ok(())
    }

    async fn carry_out(&mut self, record: Record, out: &mut Vec<u8>) -> Result<(), Fatal> {
        match record {
            Record::Times { modified } => {
                self.modified = Some(modified);
                out.push(OK);
            }
            Record::File { mode, size, name } => {
                let changes = Changes { size: None, mode: Some(mode), modified: self.modified.take() };
                self.begin_file(&name, size, changes, out).await;
            }
            Record::Directory { mode, name } => {
                if !self.flags.recursive {
                    out.extend(Complaint::NotRecursive.message(FATAL, None, self.language));
                    return Err(Fatal::Protocol);
                }
                let changes = Changes { size: None, mode: Some(mode), modified: self.modified.take() };
                self.enter(&name, changes, out).await;
            }
            Record::End => {
                // The target itself is never left.
                let place = match self.places.pop() {
                    Some(place) if !self.places.is_empty() => place,
                    _ => return self.broken(out),
                };
                self.leave(place, out).await;
            }
        }
        Ok(())
    }

    /// Where a name goes, or why it cannot; the path is for the message.
    fn path_of(&self, name: &Named) -> Result<(SharePath, Target), (Refusal, Vec<u8>)> {
        const ROOT: &SharePath = &SharePath::ROOT;
        let (path, kind) = self.places.last().map_or((ROOT, Target::Directory), |place| (&place.path, place.kind));
        if kind != Target::Directory {
            return Ok((path.clone(), kind));
        }
        let name = match name {
            Ok(name) => name,
            Err((refusal, shown)) => return Err((*refusal, shown.clone())),
        };
        // A path that is too long or too deep is one of several names only.
        let bytes = path.join(name.clone()).to_bytes();
        SharePath::parse(&bytes).map(|path| (path, kind)).map_err(|refusal| (refusal, bytes))
    }

    async fn begin_file(&mut self, name: &Named, size: u64, changes: Changes, out: &mut Vec<u8>) {
        let path = match self.path_of(name) {
            Ok((path, Target::DirectoryName)) => return self.refuse(&path, Refusal::NoSuchDirectory, out),
            Ok((path, _)) => path,
            Err((refusal, shown)) => return self.refuse_name(&shown, refusal, out),
        };
        let open = self.uploads.token();
        let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
        // Opening empties an unfinished file of this name, which one that is refused must not do.
        let upload = match self.share.check_length(size) {
            Ok(()) => self.share.open_write(&path, mode).await,
            Err(refusal) => Err(refusal),
        };
        match upload {
            Err(refusal) => self.refuse(&path, refusal, out),
            Ok(upload) => {
                out.push(OK);
                let file = File { path, upload: Ok(upload), written: 0, changes, open };
                self.state = if size > 0 { State::Data { file, left: size } } else { State::Identifier(file) };
            }
        }
    }

    /// Publishes a file: the client hears of it when all is durable, recorded, and its notice
    /// queued.
    async fn close(&mut self, file: File, out: &mut Vec<u8>) {
        let File { path, upload, changes, open, .. } = file;
        let mut upload = match upload {
            Ok(upload) => upload,
            Err(refusal) => return self.refuse(&path, refusal, out),
        };
        if let Err(refusal) = upload.change(changes).await {
            return self.refuse(&path, refusal, out);
        }
        let closing: Closing = Arc::new(Locked::new(Teller::Task));
        self.state = State::Closing(Arc::clone(&closing));
        let (channel, login, failed) = (self.channel.clone(), self.share.login().clone(), Arc::clone(&self.failed));
        self.closes.spawn(async move {
            let outcome = upload.close().await;
            let reply = match outcome {
                Ok(()) => vec![OK],
                Err(refusal) => {
                    failed.store(true, SeqCst);
                    Complaint::from(refusal).message_for(FAILED, Some(&shown(&path)), &login)
                }
            };
            // If the client is gone, its upload is finished all the same.
            let teller = std::mem::replace(&mut *lock(&closing), Teller::Said);
            match teller {
                Teller::Feed(feed) => drop(feed.send(reply)),
                Teller::Task | Teller::Said => drop(channel.send(Bytes::from(reply)).await),
            }
            // Only now: a server that drains waits until the answer is on its way.
            drop(open);
        });
    }

    async fn enter(&mut self, name: &Named, changes: Changes, out: &mut Vec<u8>) {
        let path = match self.path_of(name) {
            Ok((path, _)) => path,
            Err((refusal, shown)) => return self.refuse_name(&shown, refusal, out),
        };
        let made = match self.share.attributes(&path).await {
            Ok(there) if there.kind == PlaceKind::Directory => Ok(false),
            Ok(_) => Err(Refusal::NotDirectory),
            Err(refusal) if refusal.kind() == Kind::NotFound => match self.share.make_directory(&path).await {
                Ok(()) => Ok(true),
                // Somebody else was quicker.
                Err(Refusal::AlreadyExists) => Ok(false),
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        match made {
            Err(refusal) => self.refuse(&path, refusal, out),
            Ok(made) => {
                // Made here it gets the client's bits; one that was there keeps its own unless -p
                // says otherwise.
                let mode = changes.mode.filter(|_| made || self.flags.preserve);
                let changes = Changes { mode, ..changes };
                let changes = (changes.mode.is_some() || changes.modified.is_some()).then_some(changes);
                self.places.push(Place { path, kind: Target::Directory, changes });
                out.push(OK);
            }
        }
    }

    async fn leave(&self, place: Place, out: &mut Vec<u8>) {
        let outcome = match place.changes {
            Some(changes) => self.share.change(&place.path, changes).await,
            None => Ok(()),
        };
        match outcome {
            // What every share has keeps its own times and bits; nothing that was sent is lost by
            // that.
            Ok(()) | Err(Refusal::FixedPlace) => out.push(OK),
            Err(refusal) => self.refuse(&place.path, refusal, out),
        }
    }

    /// The client will send nothing more.
    pub(super) async fn finish(mut self) {
        let mut out = Vec::new();
        match std::mem::replace(&mut self.state, State::START) {
            // libssh2 (curl) ends here: it sends as many bytes as it has announced, then the
            // channel's EOF, and never the octet that says that they are right.
            State::Identifier(file) => self.close(file, &mut out).await,
            State::Line(line) if line.is_empty() => {}
            State::Closing(_) => {}
            // Cut: what is durable of a file stays, unfinished.
            State::Line(_) | State::Message { .. } | State::Data { .. } | State::WordMessage { .. } => {
                self.failed.store(true, SeqCst);
            }
        }
        if !out.is_empty() {
            let _ = self.channel.send(Bytes::from(out)).await;
        }
        self.closes.close();
        self.closes.wait().await;
        self.channel.end(u32::from(self.failed.load(SeqCst)), Vec::new()).await;
    }

    fn note_failure(&self, grade: u8) -> Result<(), Fatal> {
        self.failed.store(true, SeqCst);
        if grade == FATAL { Err(Fatal::GaveUp) } else { Ok(()) }
    }

    fn refuse(&self, path: &SharePath, refusal: Refusal, out: &mut Vec<u8>) {
        self.refuse_name(&shown(path), refusal, out);
    }

    fn refuse_name(&self, name: &[u8], refusal: Refusal, out: &mut Vec<u8>) {
        self.failed.store(true, SeqCst);
        out.extend(Complaint::from(refusal).message_for(FAILED, Some(name), self.share.login()));
    }

    fn broken(&self, out: &mut Vec<u8>) -> Result<(), Fatal> {
        out.extend(Complaint::Protocol.message(FATAL, None, self.language));
        Err(Fatal::Protocol)
    }
}

impl File {
    /// The next bytes. After a refusal the rest is let go: the client cannot be stopped in the
    /// middle of a file.
    async fn write(&mut self, bytes: &[u8]) {
        let Ok(upload) = &mut self.upload else { return };
        let length = bytes.len() as u64;
        let outcome = match upload.begin_write(self.written, length).await {
            Ok(()) => upload.write(bytes).await,
            refused => refused,
        };
        match outcome {
            Ok(()) => self.written = self.written.saturating_add(length),
            Err(refusal) => self.upload = Err(refusal),
        }
    }
}

/// Makes the caller the one who is told how a CLOSE went; none if the client was told already.
fn wait_for(closing: &Closing) -> Option<oneshot::Receiver<Vec<u8>>> {
    let mut teller = lock(closing);
    if matches!(*teller, Teller::Said) {
        return None;
    }
    let (tell, hear) = oneshot::channel();
    *teller = Teller::Feed(tell);
    Some(hear)
}

fn lock(closing: &Closing) -> LockedGuard<'_, Teller> {
    // Nothing in it can be half done when a holder of the lock panics.
    closing.lock()
}

/// Goes behind the next newline, and says whether there was one.
fn skip_line(data: &mut &[u8]) -> bool {
    let end = data.iter().position(|byte| *byte == b'\n');
    *data = end.and_then(|end| data.get(end + 1..)).unwrap_or_default();
    end.is_some()
}

/// A path as messages show it.
fn shown(path: &SharePath) -> Vec<u8> {
    let bytes = path.to_bytes();
    if path.is_root() { bytes } else { bytes.get(1..).unwrap_or_default().to_vec() }
}
