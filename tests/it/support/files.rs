//! Files to send, and their digests.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::numbers::Numbers;

/// SHA-256 of a file, as `sha256sum` prints it.
pub(crate) fn sha256(path: &Path) -> String {
    let mut file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut hash, mut block) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut block).unwrap() {
            0 => return hex::encode(hash.finalize()),
            read => hash.update(&block[..read]),
        }
    }
}

/// A file of bytes that nothing can compress, other ones for each `seed`.
pub(crate) fn random_file(path: &Path, size: u64, seed: u64) -> PathBuf {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let (mut numbers, mut left) = (Numbers::seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ size), size);
    while left > 0 {
        let now = usize::try_from(left.min(8)).unwrap();
        out.write_all(&numbers.next().to_le_bytes()[..now]).unwrap();
        left -= now as u64;
    }
    out.flush().unwrap();
    path.to_owned()
}

/// A file that looks like what a switch prints for `show tech-support`.
pub(crate) fn show_tech(path: &Path, lines: u32) -> PathBuf {
    let mut out = BufWriter::new(File::create(path).unwrap());
    writeln!(out, "------------------ show version ------------------\n\nexample-os, Version 17.3.2a, RELEASE")
        .unwrap();
    for line in 0..lines {
        if line % 64 == 0 {
            writeln!(out, "\n------------------ show interfaces {} ------------------\n", line / 64).unwrap();
        }
        let (drops, bytes) = (line.wrapping_mul(2_654_435_761) % 977, u64::from(line) * 1_048_573);
        writeln!(
            out,
            "GigabitEthernet1/0/{} is up, line protocol is up; {drops} drops, {bytes} bytes input",
            line % 48
        )
        .unwrap();
    }
    out.flush().unwrap();
    path.to_owned()
}

/// Every file under a directory.
pub(crate) fn all_files(directory: &Path) -> Vec<PathBuf> {
    let (mut files, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = open.pop() {
        // A file or directory may vanish while a server works beside this.
        for item in fs::read_dir(&directory).into_iter().flatten().flatten() {
            match item.file_type() {
                Ok(kind) if kind.is_dir() => open.push(item.path()),
                Ok(kind) if kind.is_file() => files.push(item.path()),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

/// The files under `directory`, outside of `except`, that hold one of the needles in their bytes or
/// in their path.
pub(crate) fn files_holding(directory: &Path, except: &Path, needles: &[&[u8]]) -> Vec<String> {
    let mut hits = Vec::new();
    for path in all_files(directory) {
        if path.starts_with(except) {
            continue;
        }
        let bytes = fs::read(&path).unwrap_or_default();
        for needle in needles {
            let in_name = contains(path.as_os_str().as_encoded_bytes(), needle);
            if in_name || contains(&bytes, needle) {
                hits.push(format!("{} holds {:?}", path.display(), String::from_utf8_lossy(needle)));
            }
        }
    }
    hits
}

/// Whether `bytes` hold `needle`.
pub(crate) fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return true };
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| byte == first) {
        if bytes[from + at..].starts_with(needle) {
            return true;
        }
        from += at + 1;
    }
    false
}
