//! check-file: digests of whole files. Only `verbs` and `session` use it.
//!
//! Most are answered from the record at once. One that has to be computed first can take minutes,
//! so each is answered by a task; a task holds a place among the session's handles, which bounds
//! them, and ends with the session.

use bytes::Bytes;

use super::frame::{CheckFile, CheckedFile};
use super::reply;
use super::session::{Open, Session};
use crate::access::{Digest, Download, ReplySink, ShareSession};
use crate::model::{Algorithm, Refusal, SharePath};

/// What is to be digested.
enum Source {
    Path(ShareSession, SharePath),
    Download(Download),
}

impl Source {
    async fn digest(&self, algorithm: Algorithm) -> Result<Digest, Refusal> {
        match self {
            Self::Path(share, path) => share.digest(path, algorithm).await,
            Self::Download(download) => download.digest(algorithm).await,
        }
    }
}

impl<O: ReplySink> Session<O> {
    /// Has a digest answered by a task.
    pub(super) fn check_file(&mut self, id: u32, asked: CheckFile) -> Result<(), Refusal> {
        while self.checks.try_join_next().is_some() {}
        let algorithm = choose(&asked.algorithms, &self.share.algorithms()).ok_or(Refusal::UnknownDigest)?;
        let source = match &asked.of {
            CheckedFile::Path(path) => Source::Path(self.share.clone(), SharePath::parse(path)?),
            CheckedFile::Handle(handle) => match self.handles.get(handle)? {
                Open::Download(download) => Source::Download(download.clone()),
                Open::Upload(_) => return Err(Refusal::StillReceiving),
                Open::Directory { .. } => return Err(Refusal::IsDirectory),
            },
        };
        if asked.start != 0 {
            return Err(Refusal::DigestOfPart);
        }
        let place = self.handles.reserve()?;
        let (sink, language) = (self.sink.clone(), self.language);
        self.checks.spawn(async move {
            let outcome = sink.keep_alive_while(source.digest(algorithm)).await.and_then(|digest| {
                if asks_for_all(&asked, digest.size) { Ok(digest) } else { Err(Refusal::DigestOfPart) }
            });
            let mut out = Vec::new();
            match outcome {
                Ok(digest) => reply::checked(&mut out, id, asked.echoes, algorithm, &digest.bytes),
                Err(refusal) => reply::refused(&mut out, id, refusal, language),
            }
            // If the client is gone, nobody waits for it.
            let _ = sink.send(Bytes::from(out)).await;
            drop(place);
        });
        Ok(())
    }
}

/// The first of the client's digests that is given here.
fn choose(wanted: &[u8], given: &[Algorithm]) -> Option<Algorithm> {
    wanted
        .split(|byte| *byte == b',')
        .find_map(|word| given.iter().copied().find(|algorithm| algorithm.as_str().as_bytes() == word.trim_ascii()))
}

/// Whether one digest of a whole file of this size is the answer.
const fn asks_for_all(asked: &CheckFile, size: u64) -> bool {
    asked.start == 0
        && (asked.length == 0 || asked.length >= size)
        && (asked.block == 0 || (size > 0 && asked.block as u64 >= size && asked.block >= 256))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sftp::handles::Handle;

    #[test]
    fn r17_the_client_s_first_known_digest_is_taken() {
        let (one, all) = ([Algorithm::Sha256], [Algorithm::Sha256, Algorithm::Sha1, Algorithm::Md5]);
        for (wanted, of_one, of_all) in [
            ("sha256", Some(Algorithm::Sha256), Some(Algorithm::Sha256)),
            ("md5,sha1,sha256", Some(Algorithm::Sha256), Some(Algorithm::Md5)),
            ("sha512, sha1 ,sha256", Some(Algorithm::Sha256), Some(Algorithm::Sha1)),
            ("md5", None, Some(Algorithm::Md5)),
            ("SHA256", None, None),
            ("sha2567,crc32,,", None, None),
            ("", None, None),
        ] {
            assert_eq!(choose(wanted.as_bytes(), &one), of_one, "{wanted}");
            assert_eq!(choose(wanted.as_bytes(), &all), of_all, "{wanted}");
        }
    }

    #[test]
    fn whole_files_are_told_from_parts() {
        let asks = |start, length, block, size| {
            let of = CheckedFile::Handle(Handle::from_wire(b""));
            asks_for_all(&CheckFile { of, algorithms: Vec::new(), start, length, block, echoes: false }, size)
        };
        for (start, length, block, size) in
            [(0, 0, 0, 0), (0, 0, 0, 9), (0, 9, 0, 9), (0, u64::MAX, 0, 9), (0, 0, 256, 256), (0, 1000, u32::MAX, 1000)]
        {
            assert!(asks(start, length, block, size), "{start} {length} {block} {size}");
        }
        for (start, length, block, size) in
            [(1, 0, 0, 9), (0, 8, 0, 9), (0, 0, 256, 257), (0, 0, 255, 9), (0, 0, 256, 0), (u64::MAX, 1, 0, 9)]
        {
            assert!(!asks(start, length, block, size), "{start} {length} {block} {size}");
        }
    }
}
