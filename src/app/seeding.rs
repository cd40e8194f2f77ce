//! Makes many small artifacts, or tickets, at once: for benchmarks, which need shares as they are
//! after years.
//!
//! What is made is what uploads and `ticket open` make, row for row and sealed by the same
//! functions, so it can be listed, fetched and checked. Left out are notices, and what openings and
//! logins leave in the audit trail.

use std::sync::Arc;

use serde_json::json;
use zeroize::Zeroizing;

use super::App;
use crate::audit::told::Published;
use crate::audit::{self, Actor, Kind, Subject};
use crate::model::{DirectoryId, FileName, Identifier, Transport};
use crate::records::entries::{self, NewEntry};
use crate::records::small_files::{self, SmallFile};
use crate::records::tickets;
use crate::records::versions::{self, NewVersion, Publication};
use crate::repo::Error;
use crate::repo::blocking::blocking;
use crate::repo::keys::ShareKeys;
use crate::repo::tickets::existing_ticket;
use crate::tickets::NewTicket;
use crate::upload::seeding::{SealedFile, seal};

/// Files in one transaction. Its rows are added table by table in the order of their ids, so that
/// neighbours in an index come together. Not more: SQLite keeps the pages that a transaction's
/// savepoints may need in a list, and walks all of it at the end of each statement.
const AT_ONCE: u64 = 100;
/// Permission bits of the files.
const MODE: u32 = 0o640;

/// The name of the seeded file with this number.
pub fn seeded_name(number: u64) -> String {
    format!("show-tech-{number:07}.txt")
}

/// What the seeded file with this number holds.
pub fn seeded_content(number: u64, length: usize) -> Vec<u8> {
    let line = format!("show tech-support {number}\n");
    line.bytes().cycle().take(length).collect()
}

impl App {
    /// Adds the files with the numbers from `first` on, `count` of them, each with `length` bytes
    /// (1 to 65,535), to the root of a ticket's share. For a data directory that no server works
    /// on.
    ///
    /// # Errors
    /// If there is no such ticket, a name is taken, or the records fail. What was committed before
    /// stays.
    pub async fn seed_files(&self, ticket: &Identifier, first: u64, count: u64, length: usize) -> Result<(), Error> {
        let row = existing_ticket(&mut *self.0.access.repo.records.read().await?, ticket).await?;
        let keys = self.0.access.repo.keys.share(row.share).await?;
        let sender = ticket.clone();
        let prepare = |from: u64| {
            let (keys, sender, to) = (Arc::clone(&keys), sender.clone(), (from + AT_ONCE).min(first + count));
            let prepared = move || prepared(&keys, &sender, from..to, length);
            blocking(&self.0.access.repo.worker_runtime, "the sealing", prepared)
        };
        let (mut next, end) = (first, first + count);
        let mut coming = prepare(next);
        while next < end {
            let files = coming.await?;
            next += AT_ONCE;
            // Sealed while these are written down.
            coming = prepare(next.min(end));
            self.enter_files(ticket, &keys, files).await?;
        }
        Ok(())
    }

    async fn enter_files(
        &self,
        ticket: &Identifier,
        keys: &ShareKeys,
        mut files: Vec<(FileName, SealedFile)>,
    ) -> Result<(), Error> {
        let directory = DirectoryId::root_of(keys.share);
        let mut tx = self.0.access.repo.records.begin().await?;
        let conn = tx.conn();
        let bytes = files.iter().map(|(_, file)| file.length).sum();
        tickets::reserve(conn, keys.share, bytes, u64::MAX).await?;
        files.sort_unstable_by_key(|(_, file)| file.artifact);
        for (name, file) in &files {
            let id = *file.artifact.as_bytes();
            let place = keys.place(id, directory, name)?;
            let new = NewEntry {
                id,
                share: keys.share,
                place: Some(&place),
                is_directory: false,
                mode: MODE,
                modified_at: file.at,
                predecessor: None,
            };
            entries::add(conn, &new).await?;
        }
        files.sort_unstable_by_key(|(_, file)| file.version);
        for (_, file) in &files {
            let new = NewVersion {
                id: file.version,
                artifact: file.artifact,
                number: 1,
                key_generation: keys.generation,
                file_key: file.file_key.as_bytes(),
                uploaded_by: ticket.as_str(),
                opened_at: file.at,
                touched_at: self.0.access.repo.clock.now(),
                transport: Transport::Modern,
            };
            versions::add(conn, &new).await?;
            let publication = Publication {
                id: file.version,
                length: file.length,
                zeros: 0,
                uploaded_by: ticket.as_str(),
                transport: Transport::Modern,
                sha256: file.sha256,
                manifest: file.manifest,
                manifest_hash: file.manifest_hash,
                progress: &file.state,
                at: file.at,
            };
            let told = Published {
                version: file.version,
                number: 1,
                length: file.length,
                sha256: &file.sha256,
                manifest: &file.manifest_hash,
                at: file.at,
            };
            let mut detail = told.detail(self.0.access.repo.keys.trail());
            detail["artifact"] = json!(file.artifact.to_string());
            let subject = Subject {
                actor: &Actor::Login(ticket.clone()),
                ticket: Some(ticket),
                id: Some(*file.version.as_bytes()),
            };
            audit::write(conn, Kind::ArtifactAvailable, subject, &detail).await?;
            versions::publish(conn, &publication).await?;
            let (extent_bytes, manifest_bytes) = (&file.extent_bytes[..], &file.manifest_bytes[..]);
            small_files::put(conn, file.version, &SmallFile { extent: file.extent, extent_bytes, manifest_bytes })
                .await?;
            entries::set_versions(conn, file.artifact.as_bytes(), Some(file.version), None).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Opens `count` tickets like `like`, which gives the beginning of their references; the
    /// numbers from `first` on follow. Gives the references with their tokens.
    ///
    /// # Errors
    /// As [`open_ticket`](Self::open_ticket).
    pub async fn seed_tickets(
        &self,
        like: &NewTicket,
        first: u64,
        count: u64,
    ) -> Result<Vec<(Identifier, Zeroizing<String>)>, Error> {
        let mut opened = Vec::new();
        let mut next = first;
        while next < first + count {
            let end = (next + AT_ONCE).min(first + count);
            let mut fresh = Vec::new();
            for number in next..end {
                let reference = format!("{}{number}", like.reference);
                let reference = reference.parse().map_err(|_| Error::operator("a reference is too long"))?;
                let new = NewTicket { reference, ..like.clone() };
                fresh.push(self.tickets().prepare_ticket(new).await?);
            }
            let mut tx = self.0.access.repo.records.begin().await?;
            for ticket in &fresh {
                ticket.enter(tx.conn(), &**self.0.access.repo.keys.proofs()).await?;
            }
            tx.commit().await?;
            opened.extend(fresh.into_iter().map(|ticket| (ticket.row.reference, ticket.token)));
            next = end;
        }
        Ok(opened)
    }
}

fn prepared(
    keys: &ShareKeys,
    sender: &Identifier,
    numbers: std::ops::Range<u64>,
    length: usize,
) -> Result<Vec<(FileName, SealedFile)>, Error> {
    numbers
        .map(|number| {
            let name = FileName::new(seeded_name(number).as_bytes()).map_err(|why| Error::operator(why.to_string()))?;
            Ok((name, seal(keys, sender, &seeded_content(number, length))?))
        })
        .collect()
}
