//! Replacing keys: the KEK, under which share keys and the server's own keys are wrapped, and the
//! key of one share, under which file keys are wrapped and names are sealed. No object is touched.
//!
//! Both can be killed at any point and continued by doing them again; at every point everything can
//! be read. Of the KEK the keyring tells which generation wraps which row; of a share's key the
//! records tell which generation is in force.

mod secrets;
mod share;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use crate::audit::{self, Actor, Kind, Subject};
use crate::model::{Identifier, ShareId, Time};
use crate::records::keyring::{self, KeyOf, WrappedRow};
use crate::records::{RecordsError, facts, tickets, versions};
use crate::repo::kek::{self, matching};
use crate::repo::tickets::existing_ticket;
use crate::repo::{Error, Repo};
use crate::vault::{Kek, WrappedKey};

pub use secrets::{ReplacedSecrets, Secrets};

/// Keys that are wrapped anew in one transaction of the keyring.
const KEYS_AT_ONCE: u32 = 500;
/// Keys that could not be wrapped anew and are named at most; the others are counted.
const NAMED: usize = 20;
/// The fact that says which generation of the KEK the audit trail has told of.
const TOLD: &str = "kek_generation";

/// The keys in use, by generation.
#[derive(Debug, Clone, Serialize)]
pub struct KeyStatus {
    /// The KEK's generations, ascending.
    pub kek: Vec<KekLine>,
    /// What share keys of each generation hold, over all shares.
    pub generations: Vec<GenerationLine>,
    /// The share that was asked for.
    pub share: Option<ShareKeyLine>,
    /// What is left to do of rotations that were cut, as sentences.
    pub left: Vec<String>,
}

/// A generation of the KEK.
#[derive(Debug, Clone, Serialize)]
pub struct KekLine {
    /// Counts from 1 on.
    pub generation: u32,
    /// Since when it is in force.
    pub since: Time,
    /// The file that holds it, if there is one.
    pub file: Option<String>,
    /// Share keys that it wraps.
    pub share_keys: u64,
    /// Keys of the server that it wraps.
    pub server_keys: u64,
}

/// A generation of share keys, over all shares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GenerationLine {
    /// Counts from 1 on, in each share.
    pub generation: u32,
    /// Shares in which it is in force.
    pub shares: u64,
    /// Share keys of this generation in the keyring.
    pub share_keys: u64,
    /// Versions whose file keys it wraps.
    pub versions: u64,
    /// Names that it seals.
    pub names: u64,
}

/// The keys of one share.
#[derive(Debug, Clone, Serialize)]
pub struct ShareKeyLine {
    /// The ticket.
    pub ticket: String,
    /// The generation in force.
    pub in_force: u32,
    /// The generations that the keyring has.
    pub in_keyring: Vec<u32>,
    /// Versions by the generation that wraps their file keys.
    pub versions: BTreeMap<u32, u64>,
    /// Names, all sealed under the generation in force.
    pub names: u64,
}

/// What a rotation of the KEK did.
#[derive(Debug, Clone, Serialize)]
pub struct Rotated {
    /// The generation that is in force now.
    pub generation: u32,
    /// Whether it went on with a rotation that was cut.
    pub continued: bool,
    /// Keys that were wrapped anew in this run.
    pub keys: u64,
    /// The file that holds the KEK in force.
    pub kek: String,
    /// The file that keeps the older KEK.
    pub kept: String,
    /// Whether the journal of the keyring still holds what was wrapped under the older one, as
    /// somebody read for too long. The server empties it within minutes.
    pub journal_owed: bool,
}

/// What a rotation of a share's key did.
#[derive(Debug, Clone, Serialize)]
pub struct RotatedShare {
    /// The ticket.
    pub ticket: String,
    /// The generation that is in force now.
    pub generation: u32,
    /// Whether it only ended a rotation that was cut, or that had left something behind.
    pub continued: bool,
    /// File keys that were wrapped anew.
    pub versions: u64,
    /// Names that were sealed anew.
    pub names: u64,
    /// Whether the journal of the keyring still holds older keys, as somebody read for too long.
    /// The server empties it within minutes.
    pub journal_owed: bool,
}

/// Replaces the KEK and the keys of shares.
pub struct Rotation {
    repo: Arc<Repo>,
}

impl Rotation {
    pub(crate) fn of(repo: &Arc<Repo>) -> Self {
        Self { repo: Arc::clone(repo) }
    }

    /// Counts keys and what they hold by generation, of all shares or with one in detail.
    ///
    /// # Errors
    /// If there is no such ticket, or a database fails.
    pub async fn key_status(&self, only: Option<&Identifier>) -> Result<KeyStatus, Error> {
        let (cabinet, mut left) = (&self.repo.keys, Vec::new());
        let (known, counts) = (cabinet.keyring().keks().await?, cabinet.keyring().counts().await?);
        let path = cabinet.path();
        let mut files = BTreeMap::new();
        for file in known.iter().map(|row| kek::kept(path, row.generation)).chain([kek::next(path), path.to_owned()]) {
            if let Some((row, _)) =
                file.exists().then(|| kek::read(&file).ok()).flatten().and_then(|k| matching(&known, &k))
            {
                files.insert(row.generation, file);
            }
        }
        let mut lines = Vec::new();
        for (row, (generation, share_keys, server_keys)) in known.iter().rev().zip(counts) {
            let file = files.get(&generation).map(|file| file.display().to_string());
            lines.push(KekLine { generation, since: row.created_at, file, share_keys, server_keys });
        }
        let newest = known.first().map_or(0, |row| row.generation);
        let outdated: u64 = lines.iter().filter(|l| l.generation < newest).map(|l| l.share_keys + l.server_keys).sum();
        if outdated > 0 || files.get(&newest).is_some_and(|file| *file != path) {
            left.push(format!(
                "A rotation of the KEK was cut: {outdated} keys are still wrapped under an older generation, and {} is \
                 not the newest yet. Run 'tacdrop key rotate' again to continue.",
                path.display()
            ));
        }

        let mut conn = self.repo.records.read().await?;
        let shares = tickets::shares(&mut conn).await?;
        let wrapped = versions::wrapped_to_show(&mut conn).await?;
        let in_keyring = cabinet.keyring().share_generations().await?;
        let mut generations: BTreeMap<u32, GenerationLine> = BTreeMap::new();
        for count in &shares {
            let line = line_of(&mut generations, count.in_force);
            line.shares += 1;
            line.names += count.names;
        }
        for (_, generation, versions) in &wrapped {
            line_of(&mut generations, *generation).versions += versions;
        }
        for (_, generation) in &in_keyring {
            line_of(&mut generations, *generation).share_keys += 1;
        }
        let in_force: BTreeMap<ShareId, u32> = shares.iter().map(|count| (count.share, count.in_force)).collect();
        let mut cut = Vec::new();
        for ticket in tickets::all(&mut conn).await? {
            let other = |(share, generation): &&(ShareId, u32)| {
                *share == ticket.share && in_force.get(share).is_some_and(|in_force| in_force != generation)
            };
            if in_keyring.iter().any(|row| other(&row)) {
                cut.push(ticket.reference);
            }
        }
        for ticket in &cut {
            left.push(format!(
                "A rotation of the key of {ticket}'s share was cut, or left something behind. Run 'tacdrop key rotate \
                 --share {ticket}' to end it."
            ));
        }
        let share = match only {
            None => None,
            Some(reference) => {
                let ticket = existing_ticket(&mut conn, reference).await?;
                Some(ShareKeyLine {
                    ticket: reference.to_string(),
                    in_force: ticket.key_generation,
                    in_keyring: in_keyring.iter().filter(|row| row.0 == ticket.share).map(|row| row.1).collect(),
                    versions: wrapped.iter().filter(|row| row.0 == ticket.share).map(|row| (row.1, row.2)).collect(),
                    names: shares.iter().find(|count| count.share == ticket.share).map_or(0, |count| count.names),
                })
            }
        };
        Ok(KeyStatus { kek: lines, generations: generations.into_values().collect(), share, left })
    }

    /// Replaces the KEK: everything in the keyring is wrapped under a new one, which is made, or is
    /// the one in the file `given`. Goes on with a rotation that was cut. `progress` hears how many
    /// keys of how many are done.
    ///
    /// # Errors
    /// A sentence that says what is in the way; nothing is lost then, and it can be continued.
    pub async fn rotate_kek(&self, given: Option<&Path>, mut progress: impl FnMut(u64, u64)) -> Result<Rotated, Error> {
        let _lock = self.repo.data.lock_for_rotation()?;
        let (cabinet, failpoints) = (&self.repo.keys, &self.repo.failpoints);
        let (keyring, path) = (cabinet.keyring(), cabinet.path());
        cabinet.load_keks().await?;
        let known = keyring.keks().await?;
        let newest = known.first().map_or(0, |row| row.generation);
        let at_path =
            if path.exists() { matching(&known, &kek::read(path)?).map(|(row, _)| row.generation) } else { None };
        let outdated = keyring.counts().await?.iter().any(|(g, s, k)| *g < newest && s + k > 0);
        let continued = outdated || at_path != Some(newest);
        if continued {
            if let Some(given) = given
                && matching(&known, &kek::read(given)?).is_none_or(|(row, _)| row.generation != newest)
            {
                return Err(Error::operator(format!(
                    "a rotation to another KEK was cut; end it first: run 'tacdrop key rotate' without --new-kek, then \
                     again with {}",
                    given.display()
                )));
            }
        } else {
            let used = || Error::operator("this KEK has been in use before; a new one is needed");
            if let Some(given) = given
                && matching(&known, &kek::read(given)?).is_some()
            {
                return Err(used());
            }
            let new = self.next_kek(given)?;
            if matching(&known, &new).is_some() {
                return Err(used());
            }
            failpoints.hit("rotate-kek.file-durable");
            match keyring.add_kek(newest + 1, &new.seal_canary(newest + 1, cabinet.level())?, Time::now()).await {
                Err(RecordsError::Exists) => return Err(Error::KeysReplaced),
                other => other?,
            }
            failpoints.hit("rotate-kek.generation-added");
            cabinet.load_keks().await?;
        }
        let (generation, _) = cabinet.newest_kek()?;
        let (keys, left) = self.rewrap_keys(generation, &mut progress).await?;
        if !left.is_empty() {
            return Err(left.into_error(keys, path));
        }

        // Told once, however often it is cut from here on.
        let mut tx = self.repo.records.begin().await?;
        if facts::fact(tx.conn(), TOLD).await?.as_deref() != Some(&generation.to_string()) {
            facts::set_fact(tx.conn(), TOLD, &generation.to_string()).await?;
            let subject = Subject { actor: &Actor::Operator, ticket: None, id: None };
            audit::write(tx.conn(), Kind::KeyRotated, subject, &json!({ "generation": generation })).await?;
            tx.commit().await?;
        }
        failpoints.hit("rotate-kek.noted");

        // The KEK at the path may be older than the one before: only if somebody moved files about.
        let old = at_path.filter(|at| *at < generation).unwrap_or(generation.saturating_sub(1));
        if kek::next(path).exists() {
            kek::promote(path, old, || failpoints.hit("rotate-kek.old-kept")).map_err(|error| {
                Error::operator(format!(
                    "every key is wrapped under the new KEK, but it cannot take its place ({error}). Move the files \
                     yourself, as whoever may: {0} to {1}, then {2} to {0}; run 'tacdrop key rotate' no more until then",
                    path.display(),
                    kek::kept(path, old).display(),
                    kek::next(path).display()
                ))
            })?;
        }
        failpoints.hit("rotate-kek.renamed");
        kek::unmark(path).map_err(Error::file(path))?;
        cabinet.load_keks().await?;
        let journal_owed = !keyring.empty_journal().await?;
        Ok(Rotated {
            generation,
            journal_owed,
            continued,
            keys,
            kek: path.display().to_string(),
            kept: kek::kept(path, old).display().to_string(),
        })
    }

    /// The next KEK, durable in its file beside the one in force before anything is wrapped under
    /// it.
    fn next_kek(&self, given: Option<&Path>) -> Result<Kek, Error> {
        let path = self.repo.keys.path();
        let file = kek::next(path);
        let given = given.map(kek::read_new).transpose()?;
        let (_, in_force) = self.repo.keys.newest_kek()?;
        if file.exists() {
            // From a run that was cut before anything was wrapped under it, or put there by the
            // operator, who says so: whoever else may write there must not choose the KEK.
            let there = kek::read_new(&file)?;
            let is_meant = match &given {
                Some(given) => *given.to_secret_bytes() == *there.to_secret_bytes(),
                None => kek::is_marked(path, &in_force, &there),
            };
            if is_meant {
                std::fs::File::open(&file).and_then(|file| file.sync_all()).map_err(Error::file(&file))?;
                kek::sync_above(&file).map_err(Error::file(&file))?;
                return Ok(there);
            }
            return Err(Error::operator(format!(
                "{0} holds a KEK that no rotation of this house has made, and nothing is wrapped under it. If you put it \
                 there, say so: 'tacdrop key rotate --new-kek {0}'; if not, find out who did, and remove it",
                file.display()
            )));
        }
        let new = match given {
            Some(given) => given,
            None => Kek::generate()?,
        };
        match kek::mark_next(path, &in_force, &new).and_then(|()| kek::write(&file, &new)) {
            Ok(()) => Ok(new),
            Err(error) => Err(Error::operator(format!(
                "{} cannot be written ({error}); make the directory writable while keys are rotated, or put a new KEK (64 \
                 hexadecimal digits, mode 0400) there yourself and run 'tacdrop key rotate --new-kek {}'",
                file.display(),
                file.display()
            ))),
        }
    }

    /// Wraps everything that is still wrapped under an older KEK: how much was done, and what was
    /// left.
    async fn rewrap_keys(
        &self,
        generation: u32,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<(u64, LeftBehind), Error> {
        let (cabinet, keyring) = (&self.repo.keys, self.repo.keys.keyring());
        let counts = keyring.counts().await?;
        let all: u64 = counts.iter().filter(|(g, ..)| *g < generation).map(|(_, shares, server)| shares + server).sum();
        let (_, new) = cabinet.newest_kek()?;
        let (mut done, mut left) = (0, LeftBehind::default());
        progress(0, all);
        loop {
            let mut tx = keyring.begin().await?;
            let rows = keyring::outdated(tx.conn(), generation, left.count, KEYS_AT_ONCE).await?;
            if rows.is_empty() {
                return Ok((done, left));
            }
            let mut behind = Vec::new();
            for row in rows {
                let (of, row) = match row {
                    Ok(row) => row,
                    Err((name, error)) => {
                        behind.push((Err(name), error.into()));
                        continue;
                    }
                };
                let old = cabinet.kek_at_hand(row.kek_generation);
                let wrapped = match (old, &of) {
                    (None, _) => Err(Error::operator(format!(
                        "generation {} of the KEK, which wraps it, is not at hand",
                        row.kek_generation
                    ))),
                    (Some(old), KeyOf::Share(share)) => WrappedKey::try_from(&row.wrapped[..])
                        .and_then(|wrapped| {
                            old.unwrap_share_key(row.kek_generation, *share, cabinet.bound(row.generation), &wrapped)
                        })
                        .and_then(|key| {
                            Ok(new
                                .wrap_share_key(generation, *share, cabinet.bound(row.generation), &key)?
                                .as_bytes()
                                .to_vec())
                        })
                        .map_err(Error::from),
                    (Some(old), KeyOf::Server(purpose)) => old
                        .unwrap_secret(row.kek_generation, purpose, &row.wrapped)
                        .and_then(|secret| new.wrap_secret(generation, purpose, &secret))
                        .map_err(Error::from),
                };
                match wrapped {
                    Ok(wrapped) => {
                        let new = WrappedRow { generation: row.generation, kek_generation: generation, wrapped };
                        keyring::rewrap(tx.conn(), &of, &new).await?;
                        done += 1;
                    }
                    Err(error) => behind.push((Ok(of), error)),
                }
            }
            self.repo.failpoints.hit("rotate-kek.before-commit");
            tx.commit().await?;
            self.repo.failpoints.hit("rotate-kek.after-commit");
            // The records say what a key is for: nobody asks them while he has the keyring.
            for (what, why) in behind {
                let what = match what {
                    Ok(of) => self.name_of_key(&of).await?,
                    Err(name) => format!("the row {name}"),
                };
                left.add(&what, &why);
            }
            progress(done + left.count, all.max(done + left.count));
        }
    }

    /// A key of the keyring, as an operator knows it.
    async fn name_of_key(&self, of: &KeyOf) -> Result<String, Error> {
        Ok(match of {
            KeyOf::Server(purpose) => format!("the server's key '{purpose}'"),
            KeyOf::Share(share) => match tickets::by_share(&mut *self.repo.records.read().await?, *share).await {
                Ok(Some(ticket)) => format!("the key of {}'s share", ticket.reference),
                _ => format!("the key of share {share}"),
            },
        })
    }
}

/// What a rotation could not take along.
#[derive(Default)]
struct LeftBehind {
    count: u64,
    /// What and why, of the first [`NAMED`].
    named: Vec<String>,
}

impl LeftBehind {
    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, what: &str, why: &dyn std::fmt::Display) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(format!("{what} ({why})"));
        }
    }

    /// The first of them, each with its reason, and how many more there are.
    fn list(&self) -> String {
        let more = self.count.saturating_sub(self.named.len() as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        self.named.join(", ") + &more
    }

    /// Both KEKs stay where they are: what is wrapped under the older one might be read again when
    /// it is restored.
    fn into_error(self, done: u64, path: &Path) -> Error {
        Error::operator(format!(
            "{done} keys were wrapped anew, but {} could not be: {}. Until these are restored (keyring.sqlite from its \
             backup), the new KEK stays in {} and the older one in {}, and both are needed; then run 'tacdrop key rotate' again",
            self.count,
            self.list(),
            kek::next(path).display(),
            path.display(),
        ))
    }
}

fn line_of(generations: &mut BTreeMap<u32, GenerationLine>, generation: u32) -> &mut GenerationLine {
    let empty = GenerationLine { generation, ..GenerationLine::default() };
    generations.entry(generation).or_insert(empty)
}
