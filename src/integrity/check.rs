//! The check of the store: the rules of recovery, looked at without changing anything, and with
//! `deep` every byte.
//!
//! It may run while the server does: what looks wrong is looked at again before it is said, because
//! an upload, a deletion or a sweep may have changed it in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::Integrity;
use super::shelf::{compare_shelves, parts_of_the_store, still_lost};
use crate::content::Content;
use crate::content::whole::{read_whole, recorded_extents};
use crate::integrity::recovery::{LOST_SMALL_FILE, Losses, losses};
use crate::model::{FileName, Identifier, ObjectId, VersionId, VersionState, alias};
use crate::records::consistency::shape;
use crate::records::consistency::{self, Named, Oddity};
use crate::records::small_files;
use crate::records::tickets::{self, Ticket};
use crate::records::versions::{self, VersionRow};
use crate::repo::keys::ShareKeys;
use crate::repo::tickets::existing_ticket;
use crate::repo::{Error, Repo};
use crate::upload::check_unfinished;
use crate::vault::VaultError;

/// Rows that are read at once.
const PAGE: usize = 1000;
/// How often a version that changes while it is read is looked at.
const LOOKS: u32 = 3;

const SEND_AGAIN: &str =
    "restore the object from a backup of the data directory, or ask the sender to send the file again";
const RESTART: &str = "restart 'tacdrop serve': it corrects this when it starts";
const REATTACH: &str = "'tacdrop store reattach' puts it at the root of its share";
const RECORDS: &str = "restore records.sqlite from a backup, or report this: no crash leaves it";

/// Something that the check has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether something is wrong; else it is only worth knowing.
    pub problem: bool,
    /// What kind of thing it is, as one word for programs.
    pub kind: &'static str,
    /// The ticket.
    pub ticket: Option<String>,
    /// The artifact's id.
    pub artifact: Option<String>,
    /// Its version, as people count.
    pub version: Option<u64>,
    /// What is so.
    pub what: String,
    /// What to do about it.
    pub advice: &'static str,
}

/// What was checked in all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Tickets.
    pub tickets: u64,
    /// Versions that are not shredded.
    pub versions: u64,
    /// Plaintext bytes that were decrypted and hashed.
    pub read: u64,
    /// Objects in the store; none if only one ticket was asked for.
    pub objects: Option<u64>,
    /// Objects that no row knows.
    pub strays: u64,
    /// Findings that are problems.
    pub problems: u64,
}

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What is looked at: `shelves` or `bytes`.
    pub what: &'static str,
    /// How many of them are done.
    pub done: u64,
    /// Of how many.
    pub of: u64,
}

impl Integrity {
    /// Checks the store and its records, of one ticket or of all, and changes nothing. `deep`
    /// decrypts and hashes everything.
    ///
    /// # Errors
    /// If there is no such ticket, or records or store fail. What is wrong with them is no error;
    /// it is reported.
    pub async fn check(
        &self,
        only: Option<&Identifier>,
        deep: bool,
        mut progress: impl FnMut(Step),
        mut report: impl FnMut(&Finding),
    ) -> Result<Checked, Error> {
        let mut conn = self.repo.records.read().await?;
        let tickets = match only {
            Some(reference) => vec![existing_ticket(&mut conn, reference).await?],
            None => tickets::all(&mut conn).await?,
        };
        let only = if only.is_some() { tickets.first() } else { None };
        let (versions, bytes) = consistency::extent_of_versions(&mut conn, only.map(|ticket| ticket.share)).await?;
        drop(conn);
        let checked = Checked { tickets: tickets.len() as u64, versions, ..Checked::default() };
        let mut check = Check { repo: &self.repo, only, checked, bytes, progress: &mut progress, report: &mut report };
        check.rows().await?;
        check.store().await?;
        for ticket in &tickets {
            check.share(ticket, deep).await?;
        }
        Ok(check.checked)
    }
}

struct Check<'a> {
    repo: &'a Arc<Repo>,
    only: Option<&'a Ticket>,
    checked: Checked,
    /// Plaintext bytes in all, to tell how far it is.
    bytes: u64,
    progress: &'a mut dyn FnMut(Step),
    report: &'a mut dyn FnMut(&Finding),
}

impl Check<'_> {
    fn concerns(&self, ticket: &Identifier) -> bool {
        self.only.is_none_or(|only| only.reference == *ticket)
    }

    fn say(&mut self, finding: &Finding) {
        self.checked.problems += u64::from(finding.problem);
        (self.report)(finding);
    }

    fn version(&mut self, kind: &'static str, version: &Named, what: impl Into<String>, advice: &'static str) {
        if self.concerns(&version.ticket) {
            self.say(&Finding {
                problem: true,
                kind,
                ticket: Some(version.ticket.to_string()),
                artifact: Some(version.artifact.to_string()),
                version: Some(version.number),
                what: what.into(),
                advice,
            });
        }
    }

    fn ticket(&mut self, kind: &'static str, ticket: &Identifier, what: impl Into<String>, advice: &'static str) {
        if self.concerns(ticket) {
            let ticket = Some(ticket.to_string());
            let what = what.into();
            self.say(&Finding { problem: true, kind, ticket, artifact: None, version: None, what, advice });
        }
    }

    fn note(&mut self, kind: &'static str, what: String, advice: &'static str) {
        self.say(&Finding { problem: false, kind, ticket: None, artifact: None, version: None, what, advice });
    }

    /// Rows that contradict each other. Each statement sees one moment, so nothing has to be looked
    /// at again.
    async fn rows(&mut self) -> Result<(), Error> {
        let most = u32::try_from(PAGE).unwrap_or(u32::MAX);
        let mut after = None;
        loop {
            let odd = consistency::odd_versions(&mut *self.repo.records.read().await?, after, most).await?;
            let Some((last, _)) = odd.last() else { break };
            after = Some(last.id);
            for (version, oddity) in &odd {
                let (kind, what, advice) = match oddity {
                    Oddity::Unheld => ("unheld", "it is unfinished, and nobody can continue it", RESTART),
                    Oddity::Unsealed => ("unsealed", "its key or its manifest is not in the records", RECORDS),
                    Oddity::HalfShredded => {
                        ("half-shredded", "it is shredded, but its key or its extents remain", RESTART)
                    }
                };
                self.version(kind, version, what, advice);
            }
        }
        let mut after = None;
        loop {
            let damaged = consistency::damaged(&mut *self.repo.records.read().await?, after, most).await?;
            let Some(last) = damaged.last() else { break };
            after = Some(last.id);
            for version in &damaged {
                self.version("damaged", version, "it is marked as damaged and not served", SEND_AGAIN);
            }
        }
        let mut after = 0;
        loop {
            let lost = consistency::lost_small_files(&mut *self.repo.records.read().await?, after, most).await?;
            let Some((last, _)) = lost.last() else { break };
            after = *last;
            for (_, version) in &lost {
                self.version("lost", version, LOST_SMALL_FILE, SEND_AGAIN);
            }
        }
        let mut after = None;
        loop {
            let wrong = consistency::wrong_pointers(&mut *self.repo.records.read().await?, after, most).await?;
            let Some(last) = wrong.last() else { break };
            after = Some(last.entry);
            for row in &wrong {
                let what =
                    format!("artifact {} points at a version that is not there to be read", hex::encode(row.entry));
                self.ticket("pointer", &row.ticket, what, RESTART);
            }
        }
        let mut after = None;
        loop {
            let wrong = consistency::wrong_beginnings(&mut *self.repo.records.read().await?, after, most).await?;
            let Some((last, _)) = wrong.last() else { break };
            after = Some(*last);
            for (entry, ticket) in &wrong {
                let what =
                    format!("the versions of artifact {} are not counted from where they began", hex::encode(entry));
                self.ticket("numbers", ticket, what, RECORDS);
            }
        }
        for wrong in consistency::wrong_sums(&mut *self.repo.records.read().await?).await? {
            let what = format!(
                "it counts {} bytes and {} names, its rows say {} and {}",
                wrong.bytes.0, wrong.names.0, wrong.bytes.1, wrong.names.1
            );
            self.ticket("sums", &wrong.ticket, what, RESTART);
        }
        Ok(())
    }

    /// The objects and the rows about them, shelf by shelf.
    async fn store(&mut self) -> Result<(), Error> {
        let (mut objects, mut foreign, mut strays) = (0, Vec::new(), (0_u64, 0_u64));
        for part in parts_of_the_store(self.repo).await? {
            (self.progress)(Step { what: "shelves", done: u64::from(*part.start()), of: 256 });
            let mut seen = compare_shelves(self.repo, &part).await?;
            objects += seen.objects;
            still_lost(self.repo, &part, &mut seen.lost).await?;
            let Losses { sealed, unfinished } = losses(&mut *self.repo.records.read().await?, &seen.lost).await?;
            for (version, why) in sealed.values() {
                self.version("lost", version, why, SEND_AGAIN);
            }
            for (version, extents) in unfinished.values() {
                let what = format!("it is unfinished, and {} of its extents are missing or cut off", extents.len());
                let advice = "restart 'tacdrop serve': then its sender continues from an earlier byte";
                self.version("lost", version, what, advice);
            }
            if self.only.is_some() {
                continue;
            }
            for id in seen.unused.iter().chain(&seen.forgotten) {
                let what = format!("object {id} is in the records, and nothing uses it");
                let (ticket, artifact, version) = (None, None, None);
                self.say(&Finding { problem: true, kind: "unused", ticket, artifact, version, what, advice: RESTART });
            }
            strays =
                (strays.0 + seen.unknown.len() as u64, strays.1 + seen.unknown.iter().map(|(_, b, _)| b).sum::<u64>());
            foreign.append(&mut seen.foreign);
        }
        (self.progress)(Step { what: "shelves", done: 256, of: 256 });
        if self.only.is_some() {
            return Ok(());
        }
        let unused = small_files::count_unused(&mut *self.repo.records.read().await?).await?;
        if unused > 0 {
            let what = format!("the bytes of {unused} small files are in the records, and nothing uses them");
            let (ticket, artifact, version) = (None, None, None);
            self.say(&Finding { problem: true, kind: "unused", ticket, artifact, version, what, advice: RECORDS });
        }
        self.checked.objects = Some(objects);
        self.checked.strays = strays.0;
        if strays.0 > 0 {
            let what = format!("{} objects of {} bytes in the store are not in the records", strays.0, strays.1);
            let advice =
                "nothing: a crash leaves such objects, and the sweep removes them after storage.quarantine_days";
            self.note("strays", what, advice);
        }
        let store = self.repo.store.clone();
        foreign.extend(store.beside_the_shelves()?);
        for path in foreign {
            let advice = "look where it comes from and move it away; tacdrop never touches it";
            self.note("foreign", format!("{} is none of tacdrop's files", path.display()), advice);
        }
        Ok(())
    }

    /// One share: its key, who followed whom, and if `deep` its names and every byte.
    async fn share(&mut self, ticket: &Ticket, deep: bool) -> Result<(), Error> {
        let keys = match self.repo.keys.share(ticket.share).await {
            Ok(keys) => keys,
            Err(error @ (Error::Vault(_) | Error::Operator(_))) => {
                let advice =
                    "restore keyring.sqlite from its backup; without this key nothing of the ticket can be read";
                self.ticket("key", &ticket.reference, format!("its share key does not open: {error}"), advice);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.successions(ticket).await?;
        self.reached(ticket).await?;
        if deep {
            self.names(ticket, &keys).await?;
            self.contents(ticket, &keys).await?;
        }
        Ok(())
    }

    /// Numbers go on from each entry to the one that took its place, and nobody follows himself.
    async fn successions(&mut self, ticket: &Ticket) -> Result<(), Error> {
        let rows = consistency::successions(&mut *self.repo.records.read().await?, ticket.share).await?;
        let before: BTreeMap<_, _> = rows.iter().map(|row| (row.entry, row.predecessor)).collect();
        let mut sound = BTreeSet::new();
        for row in &rows {
            let mut line = BTreeSet::new();
            let mut at = Some(row.entry);
            while let Some(entry) = at.filter(|entry| !sound.contains(entry)) {
                if !line.insert(entry) {
                    let what = format!("artifact {} is its own predecessor", hex::encode(entry));
                    self.ticket("circle", &ticket.reference, what, RECORDS);
                    break;
                }
                at = before.get(&entry).copied();
            }
            sound.append(&mut line);
            if !row.counts_on {
                let what = format!(
                    "artifact {} does not count its versions on from the one before it",
                    hex::encode(row.entry)
                );
                self.ticket("numbers", &ticket.reference, what, RECORDS);
            }
        }
        Ok(())
    }

    /// Everything that is in sight can be reached from the share's root.
    async fn reached(&mut self, ticket: &Ticket) -> Result<(), Error> {
        for entry in shape::unreached(&mut *self.repo.records.read().await?, ticket.share).await? {
            let kind = if entry.is_directory { "directory" } else { "artifact" };
            let what = format!("no path leads to {kind} {}", hex::encode(entry.id));
            self.ticket("unreached", &ticket.reference, what, REATTACH);
        }
        Ok(())
    }

    async fn names(&mut self, ticket: &Ticket, keys: &ShareKeys) -> Result<(), Error> {
        let mut after = None;
        loop {
            let rows = consistency::names(&mut *self.repo.records.read().await?, ticket.share, after, PAGE).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.entry);
            for row in &rows {
                let entry = hex::encode(row.entry);
                // Replaced since: with the new ones, from the beginning.
                let fits = keys.names.open_name(row.entry, &row.name);
                let fits = fits.is_ok_and(|name| {
                    keys.names.index(row.parent, &name)[..] == row.index[..] && has_alias(keys, row, &name)
                });
                if !fits && self.repo.check_in_force(keys).await.is_err() {
                    let keys = self.repo.keys.share(ticket.share).await?;
                    return Box::pin(self.names(ticket, &keys)).await;
                }
                let what = match keys.names.open_name(row.entry, &row.name) {
                    Err(error) => format!("the name of artifact {entry} does not open: {error}"),
                    Ok(name) if keys.names.index(row.parent, &name)[..] != row.index[..] => {
                        format!("the name of artifact {entry} cannot be found: its index is another one's")
                    }
                    Ok(name) if !has_alias(keys, row, &name) => {
                        format!("engineers cannot open artifact {entry} by its alias: the index is another one's")
                    }
                    Ok(_) => continue,
                };
                self.ticket("name", &ticket.reference, what, RECORDS);
            }
        }
    }

    async fn contents(&mut self, ticket: &Ticket, keys: &ShareKeys) -> Result<(), Error> {
        let mut after = None;
        loop {
            let rows = consistency::versions(&mut *self.repo.records.read().await?, ticket.share, after, PAGE).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.id);
            for row in &rows {
                if let Some(error) = self.content(keys, row.id).await? {
                    let unfinished = row.state.is_unfinished();
                    let advice =
                        if unfinished { "ask the sender to send the file from its beginning" } else { SEND_AGAIN };
                    self.version("content", row, format!("it cannot be read: {error}"), advice);
                }
            }
        }
    }

    /// Reads a version in full. Gives what is wrong with it, if it is so for a version that did not
    /// change meanwhile.
    async fn content(&mut self, keys: &ShareKeys, id: VersionId) -> Result<Option<Error>, Error> {
        for _ in 0..LOOKS {
            let Some(version) = self.row(id).await? else { return Ok(None) };
            let outcome = match version.state {
                VersionState::Available | VersionState::Withdrawn => self.sealed(keys, &version).await,
                VersionState::Receiving | VersionState::Incomplete => {
                    let outcome = check_unfinished(self.repo, keys.share, &version).await;
                    self.has_read(version.stored);
                    outcome
                }
                VersionState::Damaged | VersionState::Shredded => return Ok(None),
            };
            let Err(error) = outcome else { return Ok(None) };
            if matches!(error, Error::Records(_)) {
                return Err(error);
            }
            let same = self.row(id).await?.is_some_and(|again| {
                (again.state, &again.file_key, &again.manifest, &again.progress, again.small_file)
                    == (version.state, &version.file_key, &version.manifest, &version.progress, version.small_file)
            });
            if same {
                return Ok(Some(error));
            }
        }
        // It is being written: what it is in the end is looked at the next time.
        Ok(None)
    }

    async fn row(&self, id: VersionId) -> Result<Option<VersionRow>, Error> {
        Ok(versions::by_id(&mut *self.repo.records.read().await?, id).await?)
    }

    async fn sealed(&mut self, keys: &ShareKeys, version: &VersionRow) -> Result<(), Error> {
        let repo = Arc::clone(self.repo);
        let count = |bytes: &[u8]| {
            self.has_read(bytes.len() as u64);
            Ok(())
        };
        read_whole(&repo, keys, version, count).await?;
        // The rows repeat what the manifest says, or sharing and removing extents would go wrong.
        let (_, manifest, file_key) = Content::of_version(&repo, keys, version).await?;
        let sealed: BTreeMap<ObjectId, _> = manifest
            .extents
            .iter()
            .map(|entry| (entry.extent, (entry.length, entry.header_tag, entry.place)))
            .collect();
        let recorded = recorded_extents(&repo, version, &file_key).await?;
        let same = match version.small_file {
            // Its row has the one extent, and nothing else says that it uses one.
            Some(row) => {
                let extent = small_files::extent_id(&mut *repo.records.read().await?, row).await?;
                recorded.is_empty()
                    && sealed.iter().map(|(id, facts)| (Some(*id), facts.0)).eq([(extent, manifest.length)])
            }
            None => {
                recorded.len() == sealed.len()
                    && recorded
                        .iter()
                        .all(|(id, _, row)| sealed.get(id) == Some(&(row.length, row.header_tag, row.place)))
            }
        };
        if same && u64::from(manifest.number) == version.number {
            Ok(())
        } else {
            Err(VaultError::Tampered { what: "rows of a version, which are not what its manifest says" }.into())
        }
    }

    fn has_read(&mut self, bytes: u64) {
        self.checked.read += bytes;
        (self.progress)(Step { what: "bytes", done: self.checked.read, of: self.bytes });
    }
}

/// Whether an entry can be found by its alias, or has got none yet.
fn has_alias(keys: &ShareKeys, row: &consistency::SealedName, name: &FileName) -> bool {
    let index = keys.names.alias_index(row.parent, &alias::alias(name));
    row.alias.as_ref().is_none_or(|alias| alias[..] == index[..])
}
