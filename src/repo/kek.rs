//! The KEK's files: reading them, and putting a new generation in the place of an old one.
//!
//! The KEK in force lies at its path. While a rotation is under way the next generation lies beside
//! it as `PATH.next`; the keyring's canaries tell which file holds which. Afterwards the old one
//! stays as `PATH.GENERATION`, because older backups of the keyring need it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use crate::records::Keyring;
use crate::records::keyring::KekRow;
use crate::repo::Error;
use crate::vault::{Kek, Level};

/// The KEKs that open what is in the keyring.
pub(crate) struct Keks {
    newest: u32,
    /// What the newest one's canary says.
    level: Level,
    by_generation: BTreeMap<u32, Arc<Kek>>,
}

impl Keks {
    pub(crate) fn of_one(generation: u32, kek: Kek, level: Level) -> Self {
        Self { newest: generation, level, by_generation: BTreeMap::from([(generation, Arc::new(kek))]) }
    }

    /// The newest generation: everything new is wrapped under it.
    pub(crate) fn newest(&self) -> Option<(u32, Arc<Kek>)> {
        self.get(self.newest).map(|kek| (self.newest, kek))
    }

    /// What the house promises of its rows.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    pub(crate) fn get(&self, generation: u32) -> Option<Arc<Kek>> {
        self.by_generation.get(&generation).map(Arc::clone)
    }

    /// Reads the KEK at `path`, and the one beside it if a rotation is under way. None if the
    /// keyring has no KEK yet.
    pub(crate) async fn load(path: &Path, keyring: &Keyring) -> Result<Option<Self>, Error> {
        let known = keyring.keks().await?;
        let Some(newest) = known.first().map(|row| row.generation) else { return Ok(None) };
        let needed: BTreeSet<u32> =
            keyring.counts().await?.into_iter().filter(|(_, s, k)| s + k > 0).map(|(g, _, _)| g).collect();
        // In this order: a rename between the two looks is not missed.
        let files = [next(path), path.to_owned()];
        let mut by_generation = BTreeMap::new();
        let mut level = Level::Bare;
        for file in files.iter().filter(|file| file.exists()) {
            let kek = read(file)?;
            if let Some((row, said)) = matching(&known, &kek) {
                if row.generation == newest {
                    level = said;
                }
                by_generation.insert(row.generation, Arc::new(kek));
            }
        }
        if by_generation.is_empty() {
            // Says that it is missing, if that is what is wrong.
            read(path)?;
            return Err(Error::operator(format!(
                "{} is not the key that this data directory was made with; put the right one there",
                path.display()
            )));
        }
        let wanted = needed.into_iter().chain([newest]);
        if let Some(generation) = wanted.into_iter().find(|generation| !by_generation.contains_key(generation)) {
            return Err(Error::operator(format!(
                "keys are wrapped under generation {generation} of the KEK, and neither {} nor {} holds it: restore it \
                 from its backup",
                path.display(),
                next(path).display()
            )));
        }
        Ok(Some(Self { newest, level, by_generation }))
    }
}

/// The generation that a KEK is, and the level that its canary says.
pub(crate) fn matching<'a>(known: &'a [KekRow], kek: &Kek) -> Option<(&'a KekRow, Level)> {
    known.iter().find_map(|row| Some((row, kek.check_canary(row.generation, &row.canary).ok()?)))
}

/// Where the next generation lies while a rotation is under way.
pub(crate) fn next(path: &Path) -> PathBuf {
    with_suffix(path, "next")
}

/// Where an older generation is kept.
pub(crate) fn kept(path: &Path, generation: u32) -> PathBuf {
    with_suffix(path, &generation.to_string())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Reads a KEK: 64 hexadecimal digits in a file that only its owner may read.
pub(crate) fn read(path: &Path) -> Result<Kek, Error> {
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::operator(format!(
                "{} is missing; without this key nothing can be read: restore it from its backup",
                path.display()
            )));
        }
        Err(error) => return Err(Error::file(path)(error)),
    };
    if mode & 0o077 != 0 {
        return Err(Error::operator(format!(
            "{} can be read by others; run: chmod 0400 {}",
            path.display(),
            path.display()
        )));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(Error::file(path))?);
    let mut bytes = Zeroizing::new([0u8; 32]);
    hex::decode_to_slice(text.trim(), &mut bytes[..])
        .map_err(|_| Error::operator(format!("{} does not hold 64 hexadecimal digits", path.display())))?;
    Ok(Kek::from_bytes(&bytes))
}

/// The same for a KEK that is to be used from now on.
///
/// # Errors
/// Also if anybody guesses it.
pub(crate) fn read_new(path: &Path) -> Result<Kek, Error> {
    let kek = read(path)?;
    if is_guessable(&kek) {
        return Err(Error::operator(format!(
            "{} holds a key that anybody guesses (all bytes equal, or a pattern); let tacdrop make one, or write 32 random \
             bytes there: openssl rand -hex 32",
            path.display()
        )));
    }
    Ok(kek)
}

/// Whether a KEK is a constant or a pattern that people type: a few bytes again and again, or bytes
/// that each go up or down by the same step. Of random ones fewer than one in 2^180 is.
pub(crate) fn is_guessable(kek: &Kek) -> bool {
    let bytes = kek.to_secret_bytes();
    let repeats = |period: usize| bytes.iter().zip(bytes.iter().skip(period)).all(|(one, other)| one == other);
    let step = bytes[1].wrapping_sub(bytes[0]);
    (1..=8).any(repeats) || bytes.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step)
}

/// Says beside the next KEK that a rotation of this house made it: a MAC of it under the KEK in
/// force. Whoever only may write the directory cannot make one.
pub(crate) fn mark_next(path: &Path, in_force: &Kek, new: &Kek) -> std::io::Result<()> {
    let mark = with_suffix(path, "next-mark");
    match fs::remove_file(&mark) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_new(&mark, hex::encode(in_force.mark_of(new)).as_bytes(), 0o400)
}

/// Whether the next KEK is one that a rotation of this house made under the KEK in force.
pub(crate) fn is_marked(path: &Path, in_force: &Kek, new: &Kek) -> bool {
    let there = fs::read_to_string(with_suffix(path, "next-mark")).ok().and_then(|text| hex::decode(text.trim()).ok());
    there.is_some_and(|there| in_force.is_mark_of(new, &there))
}

/// Takes the mark away when the next KEK is in force.
pub(crate) fn unmark(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(with_suffix(path, "next-mark")) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| sync_above(path)),
    }
}

/// Writes a KEK down durably, under a name that nothing may have yet.
pub(crate) fn write(path: &Path, kek: &Kek) -> std::io::Result<()> {
    let mut text = hex::encode(&kek.to_secret_bytes()[..]);
    text.push('\n');
    let written = write_new(path, text.as_bytes(), 0o400);
    text.zeroize();
    written
}

/// Writes a file whole and durable, or not at all; one that is there stays what it is.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let temporary = with_suffix(path, "new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A link fails where a rename would replace. Some file systems have none.
    match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists || path.exists() => {
            fs::remove_file(&temporary)?;
            return Err(error);
        }
        Err(_) => fs::rename(&temporary, path)?,
        Ok(()) => fs::remove_file(&temporary)?,
    }
    sync_above(path)
}

/// Puts the next generation in force: the old one stays beside it as `PATH.GENERATION`. At every
/// moment there is a KEK at `path`. `linked` is called when the old one is kept under its new name.
pub(crate) fn promote(path: &Path, old: u32, linked: impl FnOnce()) -> std::io::Result<()> {
    let (bytes, kept) = (Zeroizing::new(fs::read(path)?), kept(path, old));
    match write_new(&kept, &bytes, 0o400) {
        // From a run that was cut here.
        Err(_) if fs::read(&kept).is_ok_and(|there| *Zeroizing::new(there) == *bytes) => {}
        other => other?,
    }
    linked();
    fs::rename(next(path), path)?;
    sync_above(path)
}

/// Makes the directory entry of a file durable.
pub(crate) fn sync_above(path: &Path) -> std::io::Result<()> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(above)?.sync_all()
}
