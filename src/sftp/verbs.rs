//! What each request does. Only `session` calls it.

use std::sync::Arc;

use tokio::sync::MutexGuard;

use super::frame::{Flags, Request, Wanted};
use super::handles::Handle;
use super::reads::Read;
use super::session::{Open, OpenUpload, Session};
use super::{MAX_PACKET, MAX_READ, reply};
use crate::access::{Attributes, Download, ReplySink, Space, Upload, WriteMode};
use crate::model::{Kind, Refusal, SharePath, Time};

/// The block that statvfs counts in, in bytes.
const BLOCK: u64 = 4096;

/// What is answered at once; READ and the CLOSE of an upload answer by themselves.
enum Answer {
    Ok,
    Handle(Handle),
    Attributes(Attributes),
    /// For REALPATH.
    Path(Vec<u8>),
    Numbers(Vec<u64>),
    EndOfFile,
    /// Stands in `out` already, or will come through the reply sink.
    Given,
}

impl<O: ReplySink> Session<O> {
    /// Serves one request, and appends its answer to `out` unless a task will give it.
    pub(super) async fn serve(&mut self, id: u32, request: Request, out: &mut Vec<u8>) {
        match self.carry_out(id, request, out).await {
            Ok(Answer::Ok) => reply::ok(out, id),
            Ok(Answer::Handle(handle)) => reply::handle(out, id, &handle),
            Ok(Answer::Attributes(attributes)) => reply::attributes(out, id, &attributes),
            Ok(Answer::Path(path)) => {
                let name = reply::Name { name: &path, longname: path.clone(), attributes: None };
                reply::names(out, id, std::iter::once(name));
            }
            Ok(Answer::Numbers(numbers)) => reply::numbers(out, id, &numbers),
            Ok(Answer::EndOfFile) => reply::end_of_file(out, id),
            Ok(Answer::Given) => {}
            Err(refusal) => self.refuse(out, id, refusal),
        }
    }

    async fn carry_out(&mut self, id: u32, request: Request, out: &mut Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            Request::Open { path, flags, wanted } => self.open(&SharePath::parse(&path)?, flags, wanted).await,
            Request::Close { handle } => {
                self.close(id, &handle, out).await;
                Ok(Answer::Given)
            }
            Request::Read { handle, offset, length } => {
                let source = self.handles.get(&handle)?.source()?;
                self.reads.push(handle, &source, Read::clamped(id, offset, length))?;
                Ok(Answer::Given)
            }
            // There are no links, so there is nothing that the two could differ in.
            Request::Lstat { path } | Request::Stat { path } => {
                self.share.attributes(&SharePath::parse(&path)?).await.map(Answer::Attributes)
            }
            Request::Fstat { handle } => self.attributes(&handle).await.map(Answer::Attributes),
            Request::SetStat { path, wanted } => {
                let path = SharePath::parse(&path)?;
                match wanted.changes() {
                    Some(changes) => self.share.change(&path, changes).await?,
                    None => {
                        // Owner and group only: ignored with OK, if there is something to ignore it
                        // for.
                        self.share.attributes(&path).await?;
                    }
                }
                Ok(Answer::Ok)
            }
            Request::FsetStat { handle, wanted } => self.change(&handle, wanted).await,
            Request::OpenDir { path } => self.open_directory(SharePath::parse(&path)?).await,
            Request::ReadDir { handle } => self.read_directory(id, &handle, out).await,
            Request::Remove { path } => {
                self.share.remove_file(&SharePath::parse(&path)?).await?;
                Ok(Answer::Ok)
            }
            Request::MakeDir { path } => {
                self.share.make_directory(&SharePath::parse(&path)?).await?;
                Ok(Answer::Ok)
            }
            Request::RemoveDir { path } => {
                self.share.remove_directory(&SharePath::parse(&path)?).await?;
                Ok(Answer::Ok)
            }
            Request::RealPath { path } => Ok(Answer::Path(self.share.real_path(&SharePath::parse(&path)?).await?)),
            Request::Rename { from, to } => {
                self.share.rename(&SharePath::parse(&from)?, &SharePath::parse(&to)?, false).await?;
                Ok(Answer::Ok)
            }
            Request::PosixRename { from, to } => {
                self.share.rename(&SharePath::parse(&from)?, &SharePath::parse(&to)?, true).await?;
                Ok(Answer::Ok)
            }
            Request::Links => Err(Refusal::NoLinks),
            Request::CheckFile(asked) => {
                self.check_file(id, asked)?;
                Ok(Answer::Given)
            }
            Request::OtherExtension => Err(Refusal::NotSupported),
            Request::Limits => {
                let numbers = [MAX_PACKET, MAX_READ, MAX_READ].map(u64::from);
                Ok(Answer::Numbers([&numbers[..], &[self.limits.handles as u64]].concat()))
            }
            Request::Fsync { handle } => match self.handles.get(&handle)? {
                Open::Upload(open) => {
                    lock(open).await.as_mut().ok_or(Refusal::BadHandle)?.sync().await?;
                    Ok(Answer::Ok)
                }
                Open::Download(_) | Open::Directory { .. } => Ok(Answer::Ok),
            },
            Request::StatVfs { path } => self.space(&SharePath::parse(&path)?).await,
            Request::FstatVfs { handle } => {
                let path = match self.handles.get(&handle)? {
                    Open::Directory { path, .. } => path.clone(),
                    Open::Download(_) | Open::Upload(_) => SharePath::ROOT,
                };
                self.space(&path).await
            }
            Request::HomeDirectory => Ok(Answer::Path(SharePath::ROOT.to_bytes())),
        }
    }

    async fn open(&mut self, path: &SharePath, flags: Flags, wanted: Wanted) -> Result<Answer, Refusal> {
        let place = self.handles.reserve()?;
        let open = match flags {
            Flags { write: true, .. } => {
                let mode = WriteMode {
                    create: flags.create,
                    // The draft allows EXCL beside CREAT only; POSIX leaves it open otherwise.
                    exclusive: flags.create && flags.exclusive,
                    truncate: flags.truncate,
                    append: flags.append,
                    read: flags.read,
                };
                let token = self.uploads.token();
                let mut upload = self.share.open_write(path, mode).await?;
                // The attributes are those of a file that is made (draft, section 6.3).
                if let Some(changes) = wanted.changes().filter(|_| flags.create) {
                    upload.change(changes).await?;
                }
                Open::Upload(OpenUpload { slot: Arc::new(Some(upload).into()), append: flags.append, _open: token })
            }
            Flags { read: true, create: true, .. } => Open::Download(self.make_to_read(path, flags.exclusive).await?),
            Flags { read: true, .. } => Open::Download(self.share.open_read(path).await?),
            Flags { .. } => return Err(Refusal::BadRequest),
        };
        self.handles.insert(place, open).map(Answer::Handle)
    }

    /// Opens a file for reading, and makes an empty one where there is none, as POSIX has it:
    /// `flock` on a mounted share opens its lock so.
    async fn make_to_read(&self, path: &SharePath, exclusive: bool) -> Result<Download, Refusal> {
        if !exclusive {
            match self.share.open_read(path).await {
                Err(refusal) if refusal.kind() == Kind::NotFound => {}
                other => return other,
            }
        }
        let mode = WriteMode { create: true, exclusive, ..WriteMode::default() };
        let token = self.uploads.token();
        self.share.open_write(path, mode).await?.close().await?;
        drop(token);
        self.share.open_read(path).await
    }

    async fn attributes(&self, handle: &Handle) -> Result<Attributes, Refusal> {
        match self.handles.get(handle)? {
            Open::Download(download) => Ok(download.attributes()),
            Open::Upload(open) => lock(open).await.as_ref().ok_or(Refusal::BadHandle)?.attributes().await,
            Open::Directory { attributes, .. } => Ok(attributes.clone()),
        }
    }

    async fn change(&self, handle: &Handle, wanted: Wanted) -> Result<Answer, Refusal> {
        let open = self.handles.get(handle)?;
        let Some(changes) = wanted.changes() else { return Ok(Answer::Ok) };
        match open {
            Open::Upload(open) => lock(open).await.as_mut().ok_or(Refusal::BadHandle)?.change(changes).await?,
            Open::Download(_) => return Err(Refusal::ReadOnly),
            Open::Directory { path, .. } => self.share.change(path, changes).await?,
        }
        Ok(Answer::Ok)
    }

    async fn open_directory(&mut self, path: SharePath) -> Result<Answer, Refusal> {
        let place = self.handles.reserve()?;
        let listing = Box::new(self.share.list(&path).await?);
        let attributes = self.share.attributes(&path).await?;
        let open = Open::Directory { path, attributes, listing, greeted: false };
        self.handles.insert(place, open).map(Answer::Handle)
    }

    async fn read_directory(&mut self, id: u32, handle: &Handle, out: &mut Vec<u8>) -> Result<Answer, Refusal> {
        let page = self.limits.names_per_page.max(3);
        let (attributes, listing, greeted) = match self.handles.get_mut(handle)? {
            Open::Directory { attributes, listing, greeted, .. } => (attributes, listing, greeted),
            Open::Download(_) | Open::Upload(_) => return Err(Refusal::NotDirectory),
        };
        // `.` and `..` come first, as sftp-server has them; the parent of a root is the root, and
        // looks the same elsewhere.
        let dots: &[&[u8]] = if *greeted { &[] } else { &[b".", b".."] };
        let entries = listing.next(page - dots.len()).await?;
        if entries.is_empty() && dots.is_empty() {
            return Ok(Answer::EndOfFile);
        }
        *greeted = true;
        let now = Time::now();
        let names: Vec<_> = dots
            .iter()
            .map(|name| (*name, &*attributes, "tacdrop", None))
            .chain(
                entries
                    .iter()
                    .map(|entry| (entry.name.as_bytes(), &entry.attributes, entry.owner.as_str(), entry.unfinished)),
            )
            .map(|(name, attributes, owner, unfinished)| reply::Name {
                name,
                longname: reply::longname(name, attributes, owner, unfinished, now),
                attributes: Some(attributes),
            })
            .collect();
        reply::names(out, id, names.into_iter());
        Ok(Answer::Given)
    }

    async fn space(&self, path: &SharePath) -> Result<Answer, Refusal> {
        self.share.space(path).await.map(|space| Answer::Numbers(statvfs(&space).to_vec()))
    }
}

async fn lock(open: &OpenUpload) -> MutexGuard<'_, Option<Upload>> {
    open.slot.lock().await
}

/// The eleven numbers of statvfs@openssh.com (OpenSSH's `PROTOCOL`, section 4.4): block size twice;
/// blocks, free, available; the same three for names; file system id; flags (2: no set-user-id);
/// longest name.
fn statvfs(space: &Space) -> [u64; 11] {
    let free = space.free / BLOCK;
    let longest = crate::model::name::MAX_NAME as u64;
    [BLOCK, BLOCK, space.total / BLOCK, free, free, space.names, space.names_free, space.names_free, 0, 2, longest]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn df_shows_the_space_of_the_share() {
        let space = Space { total: 10 << 30, free: 1 << 30, names: 100_000, names_free: 7 };
        let numbers = statvfs(&space);
        assert_eq!(numbers[0] * numbers[2], 10 << 30);
        assert_eq!(numbers[1] * numbers[4], 1 << 30);
        assert_eq!((numbers[5], numbers[7], numbers[10]), (100_000, 7, 255));
    }
}
