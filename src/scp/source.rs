//! `scp -f`: sends files and directories to the client. A task does it; `feed` passes on what the
//! client says to that.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::expand::Expansion;
use super::reply::{Complaint, FAILED, FATAL, OK};
use super::session::Fatal;
use super::{Argument, Channel, Common, Flags};
use crate::access::{Attributes, Closed, Download, Entry, Listing, PlaceKind, ShareSession};
use crate::model::{Language, Refusal, SharePath};

/// Bytes that are read and sent at once: a multiple of what the share deciphers at once.
const BLOCK: usize = 256 * 1024;
/// Blocks that may be read ahead.
const BLOCKS_AHEAD: usize = 4;
/// Replies of the client that may wait. It has no reason to send the second before it was sent
/// something.
const REPLIES: usize = 16;
/// Names that are read at once.
const PAGE: usize = 100;

pub(super) struct Source {
    parser: Parser,
    replies: mpsc::Sender<Word>,
    /// Ends with the session.
    task: AbortOnDropHandle<()>,
}

/// What the client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Ok,
    /// It does not want, or could not take, this file.
    Failed,
    /// It wants nothing more.
    Fatal,
}

/// Reads the client's words out of slices of any size.
enum Parser {
    Start,
    /// In the line behind an octet 1 or 2.
    Message(Word),
}

impl Parser {
    fn next(&mut self, data: &mut &[u8]) -> Result<Option<Word>, Fatal> {
        loop {
            match self {
                Self::Message(word) => {
                    let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
                        *data = &[];
                        return Ok(None);
                    };
                    *data = data.get(end + 1..).unwrap_or_default();
                    let word = *word;
                    *self = Self::Start;
                    return Ok(Some(word));
                }
                Self::Start => {
                    let Some((first, rest)) = data.split_first() else { return Ok(None) };
                    *data = rest;
                    match *first {
                        OK => return Ok(Some(Word::Ok)),
                        FAILED => *self = Self::Message(Word::Failed),
                        FATAL => *self = Self::Message(Word::Fatal),
                        _ => return Err(Fatal::Protocol),
                    }
                }
            }
        }
    }
}

impl Source {
    pub(super) fn begin<C: Channel>(
        share: ShareSession,
        common: &Common,
        flags: Flags,
        names: Vec<Argument>,
        channel: C,
    ) -> Self {
        let (replies, words) = mpsc::channel(REPLIES);
        let language = share.language();
        let sender = Sender {
            share,
            language,
            flags,
            channel: channel.clone(),
            budget: Arc::clone(&common.read_budget),
            words,
            failed: false,
        };
        let task = tokio::spawn(async move {
            // In a task of its own, so that the channel is closed after a panic, too.
            let sending = AbortOnDropHandle::new(tokio::spawn(sender.run(names)));
            let (code, stderr) = match sending.await {
                Ok(Ok(failed)) => (u32::from(failed), Vec::new()),
                Ok(Err(Stop::Said | Stop::Closed)) => (1, Vec::new()),
                Ok(Err(Stop::Cut(message))) => (1, message),
                Err(_) => (1, Complaint::from(Refusal::Storage).message(FAILED, None, language).split_off(1)),
            };
            channel.end(code, stderr).await;
        });
        Self { parser: Parser::Start, replies, task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn feed(&mut self, mut data: &[u8]) -> Result<(), Fatal> {
        while let Some(word) = self.parser.next(&mut data)? {
            match self.replies.try_send(word) {
                // When all is sent nobody listens any more.
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                Err(mpsc::error::TrySendError::Full(_)) => return Err(Fatal::Flood),
            }
        }
        Ok(())
    }

    /// The client will say nothing more: what needs no more of its words is still done.
    pub(super) async fn finish(self) {
        drop(self.replies);
        // It ends by itself, and closes the channel.
        let _ = self.task.await;
    }
}

/// Why nothing more is sent.
enum Stop {
    /// The client was told why, or told us.
    Said,
    /// Nobody is there any more.
    Closed,
    /// A file ended in the middle. The client takes whatever comes for its bytes, and zeros for the
    /// rest of it would leave it with a file of the right size; so the channel ends, and the reason
    /// goes to its stderr.
    Cut(Vec<u8>),
}

impl From<Closed> for Stop {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

struct Sender<C> {
    share: ShareSession,
    language: Language,
    flags: Flags,
    channel: C,
    budget: Arc<Semaphore>,
    words: mpsc::Receiver<Word>,
    failed: bool,
}

/// A directory that is being sent.
struct Level {
    path: SharePath,
    listing: Listing,
    page: VecDeque<Entry>,
}

impl<C: Channel> Sender<C> {
    /// Sends everything, and says whether anything was refused.
    async fn run(mut self, names: Vec<Argument>) -> Result<bool, Stop> {
        // The client says first that it is ready.
        if !self.heard_yes().await? {
            return Err(Stop::Said);
        }
        let mut expansion = Expansion::new();
        for word in names {
            let word = word.below_home();
            match expansion.paths(&self.share, &word).await {
                Ok(paths) => {
                    for path in paths {
                        self.send_path(path).await?;
                    }
                }
                Err(complaint) => self.complain(complaint, &word.bytes).await?,
            }
        }
        Ok(self.failed)
    }

    async fn send_path(&mut self, path: SharePath) -> Result<(), Stop> {
        match self.share.attributes(&path).await {
            Err(refusal) => self.complain(refusal.into(), &path.to_bytes()).await,
            Ok(there) if there.kind == PlaceKind::File => self.send_file(&path).await,
            Ok(_) if !self.flags.recursive => self.complain(Complaint::IsDirectory, &path.to_bytes()).await,
            Ok(there) => self.send_tree(path, &there).await,
        }
    }

    /// A directory with everything in it, without recursion: a level for each directory that is
    /// open.
    async fn send_tree(&mut self, path: SharePath, attributes: &Attributes) -> Result<(), Stop> {
        let mut levels = Vec::new();
        levels.extend(self.enter(path, attributes).await?);
        while let Some(level) = levels.last_mut() {
            if level.page.is_empty() {
                match level.listing.next(PAGE).await {
                    Ok(page) => level.page = page.into(),
                    Err(refusal) => {
                        let about = level.path.to_bytes();
                        self.complain(refusal.into(), &about).await?;
                    }
                }
            }
            let next = level.page.pop_front().map(|entry| (level.path.join(entry.name), entry.attributes));
            match next {
                None => {
                    levels.pop();
                    self.send(b"E\n".to_vec()).await?;
                    self.heard_yes().await?;
                }
                Some((path, there)) if there.kind == PlaceKind::Directory => {
                    levels.extend(self.enter(path, &there).await?);
                }
                Some((path, _)) => self.send_file(&path).await?,
            }
        }
        Ok(())
    }

    /// Announces a directory; none if it cannot be read or the client does not want it.
    async fn enter(&mut self, path: SharePath, attributes: &Attributes) -> Result<Option<Level>, Stop> {
        let listing = match self.share.list(&path).await {
            Ok(listing) => listing,
            Err(refusal) => {
                self.complain(refusal.into(), &path.to_bytes()).await?;
                return Ok(None);
            }
        };
        if !self.announce(b'D', 0, &path, attributes).await? {
            return Ok(None);
        }
        Ok(Some(Level { path, listing, page: VecDeque::new() }))
    }

    async fn send_file(&mut self, path: &SharePath) -> Result<(), Stop> {
        let download = match self.share.open_read(path).await {
            Ok(download) => download,
            Err(refusal) => return self.complain(refusal.into(), &path.to_bytes()).await,
        };
        let attributes = download.attributes();
        if !self.announce(b'C', attributes.size, path, &attributes).await? {
            return Ok(());
        }
        self.send_bytes(path, &download, attributes.size).await?;
        self.heard_yes().await?;
        Ok(())
    }

    /// `T` with -p, then `C` or `D`. Says whether the client wants it.
    async fn announce(&mut self, kind: u8, size: u64, path: &SharePath, attributes: &Attributes) -> Result<bool, Stop> {
        if self.flags.preserve {
            let seconds = attributes.modified.seconds().max(0);
            self.send(format!("T{seconds} 0 {seconds} 0\n").into_bytes()).await?;
            if !self.heard_yes().await? {
                return Ok(false);
            }
        }
        // The root has no name; a client refuses a directory without one.
        let name = match path.names().last() {
            Some(name) => name.as_bytes(),
            None => self.share.user().as_str().as_bytes(),
        };
        let mut line = vec![kind];
        line.extend(format!("{:04o} {size} ", attributes.mode & 0o777).into_bytes());
        line.extend_from_slice(name);
        line.push(b'\n');
        self.send(line).await?;
        self.heard_yes().await
    }

    /// The bytes of a file and the octet that says that they are right, a few blocks being read
    /// while one is sent.
    async fn send_bytes(&self, path: &SharePath, download: &Download, size: u64) -> Result<(), Stop> {
        let mut in_work: VecDeque<InWork> = VecDeque::new();
        let mut asked = 0u64;
        let mut sent = 0u64;
        while sent < size {
            while in_work.len() < BLOCKS_AHEAD && asked < size {
                let length = usize::try_from(size - asked).unwrap_or(usize::MAX).min(BLOCK);
                let share = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
                let budget = if in_work.is_empty() {
                    Arc::clone(&self.budget).acquire_many_owned(share).await.ok()
                } else {
                    // What is in work holds a part of the budget: it goes first, or sessions could
                    // wait for each other.
                    Arc::clone(&self.budget).try_acquire_many_owned(share).ok()
                };
                let Some(budget) = budget else { break };
                let is_last = asked + length as u64 == size;
                let block = tokio::spawn(read(download.clone(), asked, length, is_last));
                in_work.push_back(InWork { length, block: AbortOnDropHandle::new(block), budget });
                asked += length as u64;
            }
            let Some(InWork { length, block, budget }) = in_work.pop_front() else { return Err(Stop::Closed) };
            let block = match block.await.unwrap_or(Err(Refusal::Storage)) {
                Ok(block) => block,
                Err(refusal) => {
                    let message = Complaint::from(refusal).message(FAILED, Some(&path.to_bytes()), self.language);
                    return Err(Stop::Cut(message.get(1..).unwrap_or_default().to_vec()));
                }
            };
            sent += length as u64;
            self.send(block).await?;
            drop(budget);
        }
        if size == 0 {
            self.send(vec![OK]).await?;
        }
        Ok(())
    }

    async fn send(&self, bytes: Vec<u8>) -> Result<(), Stop> {
        Ok(self.channel.send(Bytes::from(bytes)).await?)
    }

    /// Waits for the client's next word. Whoever says nothing is ended by the connection, which
    /// knows how long that may take.
    async fn heard_yes(&mut self) -> Result<bool, Stop> {
        match self.words.recv().await {
            Some(Word::Ok) => Ok(true),
            Some(Word::Failed) => {
                self.failed = true;
                Ok(false)
            }
            Some(Word::Fatal) => Err(Stop::Said),
            None => Err(Stop::Closed),
        }
    }

    /// Says why something is not sent. The client does not answer that.
    async fn complain(&mut self, complaint: Complaint, about: &[u8]) -> Result<(), Stop> {
        self.failed = true;
        self.send(complaint.message(FAILED, Some(about), self.language)).await
    }
}

/// A block that is being read.
struct InWork {
    length: usize,
    block: AbortOnDropHandle<Result<Vec<u8>, Refusal>>,
    budget: OwnedSemaphorePermit,
}

/// Reads a whole block; behind the last one stands the octet that says that all was well.
async fn read(download: Download, offset: u64, length: usize, is_last: bool) -> Result<Vec<u8>, Refusal> {
    let mut block = Vec::with_capacity(length + usize::from(is_last));
    while block.len() < length {
        let done = block.len();
        // A version never gets shorter: what ends too early is not what was stored.
        if download.read(offset + done as u64, length - done, &mut block).await? == 0 {
            return Err(Refusal::Damaged);
        }
    }
    if is_last {
        block.push(OK);
    }
    Ok(block)
}
