//! The bytes of a file, sealed anew for another share: extent by extent, so that versions that share
//! extents still do, and memory holds a few segments.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::source::Source;
use crate::content::Content;
use crate::content::damage::report_damage;
use crate::model::{ArtifactId, ObjectId, ObjectPlace, ShareId, VersionId};
use crate::records::extents::{self, ExtentRow};
use crate::records::versions::VersionRow;
use crate::records::{Conn, objects};
use crate::repo::blocking::blocking;
use crate::repo::{Error, Repo, Settings};
use crate::store::{NewObject, StoreError};
use crate::vault::extent::{SEALED_SEGMENT, SEGMENT, SEGMENT_LEAD, SEGMENT_TRAIL};
use crate::vault::{self, ExtentEntry, ExtentIds, ExtentKey, ExtentSealer, FileKey, Manifest, Slice, VaultError};

/// Segments that are read at once.
const AT_ONCE: u64 = 8;
/// Small objects are kept in memory until the transaction takes them: at most so many bytes of one
/// file. What comes behind goes to the store.
const MOST_IN_MEMORY: usize = 16 << 20;

/// An extent in its new place.
struct NewExtent {
    id: ObjectId,
    length: u64,
    header_tag: [u8; 32],
    key: ExtentKey,
    place: ObjectPlace,
}

/// A version in its new place.
pub(super) struct SealedVersion {
    pub(super) id: VersionId,
    pub(super) artifact: ArtifactId,
    /// None of one that was shredded before: of it nothing but a row is moved.
    pub(super) file_key: Option<FileKey>,
    pub(super) manifest: Option<(ObjectId, [u8; 32])>,
    /// Where its manifest is for the records.
    pub(super) manifest_in_records: Option<(ObjectId, Vec<u8>)>,
    pub(super) progress: Option<Vec<u8>>,
    /// The extents that it uses, each with its key as it is wrapped for it.
    pub(super) extents: Vec<ExtentRow>,
}

/// A file in its new place. What of it is in the store is durable.
pub(super) struct SealedFile {
    pub(super) share: ShareId,
    begun: Instant,
    /// Plaintext bytes of its extents, each counted once.
    pub(super) bytes: u64,
    entries: HashMap<[u8; 16], ArtifactId>,
    versions: HashMap<VersionId, SealedVersion>,
    /// The old ids of the versions, in the order of their numbers.
    order: Vec<VersionId>,
    extents: HashMap<ObjectId, NewExtent>,
    /// Extents for the records.
    in_memory: Vec<(ObjectId, Vec<u8>)>,
    held: usize,
    /// Objects that were written to the store.
    stored: Vec<ObjectId>,
}

impl SealedFile {
    pub(super) fn new(share: ShareId, entries: usize) -> Result<Self, Error> {
        Ok(Self {
            share,
            begun: Instant::now(),
            bytes: 0,
            entries: HashMap::with_capacity(entries),
            versions: HashMap::new(),
            order: Vec::new(),
            extents: HashMap::new(),
            in_memory: Vec::new(),
            held: 0,
            stored: Vec::new(),
        })
    }

    /// Seals everything that can be read of a file.
    pub(super) async fn seal(&mut self, repo: &Arc<Repo>, source: &Source) -> Result<(), Error> {
        for entry in &source.entries {
            self.entries.insert(entry.id, ArtifactId::from_bytes(vault::random::array()?));
        }
        for (version, row) in &source.versions {
            let id = VersionId::from_bytes(vault::random::array()?);
            let artifact = self.entry(*row.artifact.as_bytes())?;
            let sealed = if version.has_key {
                let sealed = self.seal_version(repo, source, row, (id, artifact)).await;
                if let Err(error) = &sealed {
                    report_damage(repo, error, row.id, &source.ticket.reference).await;
                }
                sealed?
            } else {
                SealedVersion {
                    id,
                    artifact,
                    file_key: None,
                    manifest: None,
                    manifest_in_records: None,
                    progress: None,
                    extents: Vec::new(),
                }
            };
            self.order.push(row.id);
            self.versions.insert(row.id, sealed);
        }
        repo.failpoints.hit("move.stored");
        Ok(())
    }

    async fn seal_version(
        &mut self,
        repo: &Arc<Repo>,
        source: &Source,
        row: &VersionRow,
        (id, artifact): (VersionId, ArtifactId),
    ) -> Result<SealedVersion, Error> {
        let (content, old, old_key) = Content::of_version(repo, &source.keys, row).await?;
        if old.arrival.is_none() {
            return Err(Error::operator(
                "a manifest of the file is of an older form, which the server seals again at its start ('tacdrop store \
                 reseal'); the file can be moved then",
            ));
        }
        let file_key = FileKey::generate()?;
        let (mut rows, mut entries) = (Vec::new(), Vec::new());
        for entry in &old.extents {
            if !self.extents.contains_key(&entry.extent) {
                let sealed = self.seal_extent(repo, &content, entry, artifact).await?;
                self.extents.insert(entry.extent, sealed);
            }
            let new = self.extents.get(&entry.extent).ok_or(StoreError::Missing)?;
            let key = file_key.wrap_extent_key(id, new.id, &new.key)?;
            rows.push(ExtentRow {
                id: new.id,
                length: new.length,
                header_tag: new.header_tag,
                place: new.place,
                extent_key: key.as_bytes().to_vec(),
            });
            entries.push(ExtentEntry {
                extent: new.id,
                length: new.length,
                header_tag: new.header_tag,
                key,
                place: new.place,
            });
        }
        let slices = old.slices.iter().map(|slice| {
            let extent = self.extents.get(&slice.extent).ok_or(StoreError::Missing)?.id;
            Ok::<_, Error>(Slice { extent, ..*slice })
        });
        let slices = slices.collect::<Result<Vec<_>, _>>()?;
        let progress = match &row.progress {
            Some(state) => Some(file_key.seal_state(id, 0, &old_key.open_state(row.id, 0, state)?)?),
            None => None,
        };
        let all_in_records = entries.iter().all(|entry| entry.place == ObjectPlace::Records);
        let manifest = Manifest { share: self.share, artifact, version: id, slices, extents: entries, ..old };
        let object = ObjectId::from_bytes(vault::random::array()?);
        let bytes = manifest.seal(&file_key, object)?;
        let hash = vault::object_hash(&bytes);
        let fits = bytes.len() <= repo.settings.inline_bytes && self.held + bytes.len() <= MOST_IN_MEMORY;
        let manifest_in_records = if all_in_records && fits {
            self.held += bytes.len();
            Some((object, bytes))
        } else {
            self.stored.push(object);
            let store = repo.store.clone();
            blocking(&repo.worker_runtime, "the write", move || store.put(object, &bytes)).await?;
            None
        };
        Ok(SealedVersion {
            id,
            artifact,
            file_key: Some(file_key),
            manifest: Some((object, hash)),
            manifest_in_records,
            progress,
            extents: rows,
        })
    }

    async fn seal_extent(
        &mut self,
        repo: &Arc<Repo>,
        content: &Content,
        entry: &ExtentEntry,
        artifact: ArtifactId,
    ) -> Result<NewExtent, Error> {
        let from = content.extent(entry.extent).await?;
        let (id, key) = (ObjectId::from_bytes(vault::random::array()?), ExtentKey::generate()?);
        let mut sealer = ExtentSealer::new(&ExtentIds { share: self.share, artifact, extent: id }, &key)?;
        let is_small = entry.length <= repo.settings.inline_bytes as u64
            && self.held as u64 + vault::extent::sealed_length(entry.length) <= MOST_IN_MEMORY as u64;
        let mut sink = if is_small {
            Sink::Memory(sealer.head().to_vec())
        } else {
            self.stored.push(id);
            let mut object = repo.store.create(id)?;
            object.append(sealer.head())?;
            Sink::Store(object)
        };
        let (mut at, mut text) = (0, Vec::new());
        let mut segment = vec![0; SEALED_SEGMENT];
        let whole = entry.length / SEGMENT as u64 * SEGMENT as u64;
        while at < whole {
            let length = (AT_ONCE * SEGMENT as u64).min(whole - at);
            text.clear();
            from.read(at, length, &mut text)?;
            for part in text.chunks_exact(SEGMENT) {
                lay(&mut segment, part)?;
                sealer.seal_inner(&mut segment)?;
                sink.append(&segment)?;
            }
            at += length;
            tokio::task::yield_now().await;
        }
        text.clear();
        from.read(whole, entry.length - whole, &mut text)?;
        segment.truncate(SEGMENT_LEAD + text.len() + SEGMENT_TRAIL);
        lay(&mut segment, &text)?;
        sealer.seal_last(&mut segment)?;
        sink.append(&segment)?;
        let place = match sink {
            Sink::Memory(bytes) => {
                self.held += bytes.len();
                self.in_memory.push((id, bytes));
                ObjectPlace::Records
            }
            Sink::Store(object) => {
                blocking(&repo.worker_runtime, "the write", move || object.finish()).await?;
                ObjectPlace::Store
            }
        };
        self.bytes += entry.length;
        Ok(NewExtent { id, length: entry.length, header_tag: sealer.header_tag(), key, place })
    }

    /// The new id of an entry.
    pub(super) fn entry(&self, old: [u8; 16]) -> Result<ArtifactId, Error> {
        let unknown = VaultError::Malformed { what: "a version of an entry that is none of its file" };
        Ok(*self.entries.get(&old).ok_or(unknown)?)
    }

    /// What a version has become.
    pub(super) fn version(&self, old: VersionId) -> Result<&SealedVersion, Error> {
        let unknown = VaultError::Malformed { what: "a file whose current version is none of its own" };
        Ok(self.versions.get(&old).ok_or(unknown)?)
    }

    /// The versions in the order of their numbers.
    pub(super) fn versions(&self) -> impl Iterator<Item = &SealedVersion> {
        self.order.iter().filter_map(|id| self.versions.get(id))
    }

    /// How many of them can be read.
    pub(super) fn readable(&self) -> u64 {
        self.versions().filter(|version| version.file_key.is_some()).count() as u64
    }

    /// The rows of the extents, and what of them the records are to hold.
    pub(super) async fn add_objects(&self, conn: &mut Conn) -> Result<(), Error> {
        let row = |new: &NewExtent| ExtentRow {
            id: new.id,
            length: new.length,
            header_tag: new.header_tag,
            place: new.place,
            extent_key: Vec::new(),
        };
        let rows: Vec<ExtentRow> = self.extents.values().map(row).collect();
        extents::add(conn, self.share, &rows).await?;
        let small: Vec<(ObjectId, &[u8])> = self.in_memory.iter().map(|(id, bytes)| (*id, &bytes[..])).collect();
        Ok(objects::put(conn, &small).await?)
    }

    /// Whether what was written may still be counted on: objects that no row knows are removed after
    /// the quarantine, so half of it is what a move may take.
    pub(super) fn check_age(&self, settings: &Settings) -> Result<(), Error> {
        if self.begun.elapsed() > (settings.quarantine / 2).max(Duration::from_secs(60)) {
            return Err(Error::operator("moving took longer than half of storage.quarantine_days; nothing was moved"));
        }
        Ok(())
    }

    /// From now on rows may name what was written: it is not removed.
    pub(super) fn keep(&mut self) {
        self.stored.clear();
    }

    /// Removes what was written, as nothing came of it.
    pub(super) async fn discard(self, repo: &Arc<Repo>) {
        let store = repo.store.clone();
        let remove = move || {
            for id in self.stored {
                match store.delete(id) {
                    Ok(()) | Err(StoreError::Missing) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        if let Err(error) = blocking(&repo.worker_runtime, "the removal", remove).await {
            tracing::warn!(%error, "objects of a move that came to nothing stay as strays for now");
        }
    }
}

/// Where sealed bytes go.
enum Sink {
    Memory(Vec<u8>),
    Store(NewObject),
}

impl Sink {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        match self {
            Self::Memory(all) => all.extend_from_slice(bytes),
            Self::Store(object) => object.append(bytes)?,
        }
        Ok(())
    }
}

/// Puts a text where a segment has it.
fn lay(segment: &mut [u8], text: &[u8]) -> Result<(), StoreError> {
    segment.get_mut(SEGMENT_LEAD..SEGMENT_LEAD + text.len()).ok_or(StoreError::Short)?.copy_from_slice(text);
    Ok(())
}
