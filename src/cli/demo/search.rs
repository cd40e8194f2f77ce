//! Looks into every file under a directory for bytes that must not be there.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Bytes that are searched for, and what they are.
pub(crate) struct Needle {
    pub(crate) what: String,
    pub(crate) bytes: Vec<u8>,
}

/// What a search showed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Which needle was found in which file.
    pub(crate) hits: Vec<(String, PathBuf)>,
}

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;
/// A needle must be long enough and varied enough that it is nowhere by chance.
const SAMPLE: usize = 40;
const VARIETY: usize = 12;

/// Searches all files under `root`, except under `except`.
pub(crate) fn search(root: &Path, except: &Path, needles: &[Needle]) -> io::Result<Findings> {
    let mut findings = Findings::default();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let path = entry.path();
            // What a file is called counts as well.
            let name = entry.file_name().into_encoded_bytes();
            for needle in needles.iter().filter(|needle| position(&name, &needle.bytes)) {
                findings.hits.push((needle.what.clone(), path.clone()));
            }
            if path == except {
                continue;
            }
            if entry.file_type()?.is_dir() {
                directories.push(path);
                continue;
            }
            match search_file(&path, needles, &mut findings) {
                // Databases come and go with their journals.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(findings)
}

fn search_file(path: &Path, needles: &[Needle], findings: &mut Findings) -> io::Result<()> {
    let mut file = File::open(path)?;
    findings.files += 1;
    let overlap = needles.iter().map(|needle| needle.bytes.len()).max().unwrap_or(0).saturating_sub(1);
    let mut found = vec![false; needles.len()];
    let mut buffer = Vec::with_capacity(CHUNK + overlap);
    loop {
        // The end of the last chunk stays: a needle may lie across.
        let kept = buffer.len().min(overlap);
        buffer.drain(..buffer.len() - kept);
        let read = file.by_ref().take(CHUNK as u64).read_to_end(&mut buffer)?;
        if read == 0 {
            break;
        }
        findings.bytes += read as u64;
        for (needle, found) in needles.iter().zip(&mut found) {
            *found = *found || position(&buffer, &needle.bytes);
        }
    }
    for (needle, _) in needles.iter().zip(found).filter(|(_, found)| *found) {
        findings.hits.push((needle.what.clone(), path.to_owned()));
    }
    Ok(())
}

fn position(haystack: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else { return false };
    let mut from = haystack;
    while let Some(at) = from.iter().position(|byte| byte == first) {
        from = from.get(at + 1..).unwrap_or_default();
        if from.starts_with(rest) {
            return true;
        }
    }
    false
}

/// A piece of a content that is unlike anything that lies on a disk by chance.
pub(crate) fn sample(content: &[u8]) -> Option<Vec<u8>> {
    content.windows(SAMPLE).find(|window| varied(window)).map(<[u8]>::to_vec)
}

fn varied(window: &[u8]) -> bool {
    let mut seen = [false; 256];
    window.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    seen.iter().filter(|seen| **seen).count() >= VARIETY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needle(text: &str) -> Needle {
        Needle { what: text.to_owned(), bytes: text.as_bytes().to_vec() }
    }

    #[test]
    fn what_is_there_is_found_wherever_it_lies() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("except")).unwrap();
        let needles = [needle("canary-line"), needle("name.txt"), needle("absent")];
        // Across the border of two chunks.
        let mut content = vec![b'c'; CHUNK - 5];
        content.extend_from_slice(b"canary-line and more");
        fs::write(root.join("a/b/file"), &content).unwrap();
        fs::write(root.join("except/mail"), b"canary-line").unwrap();
        fs::write(root.join("a/name.txt.old"), b"").unwrap();
        let mut findings = search(root, &root.join("except"), &needles).unwrap();
        findings.hits.sort();
        assert_eq!((findings.files, findings.bytes), (2, content.len() as u64));
        let expected = [("canary-line", "a/b/file"), ("name.txt", "a/name.txt.old")];
        assert_eq!(findings.hits, expected.map(|(what, path)| (what.to_owned(), root.join(path))));
    }

    #[test]
    fn a_sample_is_taken_only_where_it_means_something() {
        assert_eq!(sample(b"short"), None);
        assert_eq!(sample(&vec![0; 100_000]), None);
        let text = [&[0; 5000][..], b"a line of text that is long enough to be a sample of it"].concat();
        assert!(position(&text, &sample(&text).unwrap()));
    }
}
