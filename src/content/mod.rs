//! The plaintext of a version, read at random: map, extents, segments.
//!
//! Runs on the runtime for works. Every byte that it gives was authenticated; what was not stays
//! inside.

pub(crate) mod damage;
pub(crate) mod read_ahead;
pub(crate) mod receipt;
pub(crate) mod sealed;
pub(crate) mod whole;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use self::sealed::{ExtentBytes, SealedFacts, open_to_read};
use self::whole::recorded_object;
use crate::model::{ArtifactId, Locked, LockedGuard, ObjectId, ObjectPlace, ShareId, VersionId};
use crate::records::versions::VersionRow;
use crate::repo::keys::ShareKeys;
use crate::repo::{Error, Repo};
use crate::store::{ObjectFile, StoreError};
use crate::vault::extent::{EXTENT_HEAD, SEALED_SEGMENT, SEGMENT, SEGMENT_LEAD, segment_range};
use crate::vault::{
    ExtentIds, ExtentKey, ExtentOpener, FileKey, Manifest, Piece, Slice, SliceMap, VaultError, WrappedKey, extent,
};

/// Extents that a content keeps open.
const OPEN_EXTENTS: usize = 4;
/// Segments that are read at once.
const BATCH: u64 = 8;
/// Bytes that are handed on at once where a version is read from front to back.
const PIECE: u64 = 1 << 20;
/// A read of more pieces than this goes extent by extent.
const SCATTERED: usize = 8;

/// An extent's key.
pub(crate) enum AccessKey {
    Unwrapped(ExtentKey),
    /// As a manifest has it: it is unwrapped when the extent is opened. A file of many GiB has
    /// hundreds, and who asks for a part of it needs one.
    Wrapped {
        key: WrappedKey,
        version: VersionId,
        by: Arc<FileKey>,
    },
}

/// How an extent of a content is opened.
pub(crate) struct ExtentAccess {
    pub(crate) key: AccessKey,
    pub(crate) header_tag: [u8; 32],
    /// Plaintext bytes.
    pub(crate) length: u64,
    pub(crate) place: ObjectPlace,
}

/// Where a version's bytes lie, and how they are opened.
struct Layout {
    map: SliceMap,
    /// What was sealed of it, if it was: then the map has no hole.
    sealed: Option<SealedFacts>,
    extents: HashMap<ObjectId, ExtentAccess>,
    /// The row that one of them lay in when the layout was read, if that was a small file's.
    small_file: Option<i64>,
}

/// The layouts of versions that somebody reads: who opens one that is open already shares it, so
/// that a version of many extents costs memory once and not for each handle. It holds nothing
/// itself.
#[derive(Default)]
pub(crate) struct Layouts(Locked<Shared>);

/// Layouts by version and the SHA-256 of its manifest.
type Shared = HashMap<(VersionId, [u8; 32]), Weak<Layout>>;

impl Layouts {
    /// The layout of the version with this manifest, if somebody has it.
    fn find(&self, version: VersionId, manifest: [u8; 32]) -> Option<Arc<Layout>> {
        self.all().get(&(version, manifest))?.upgrade()
    }

    /// Shares a layout with who comes next, unless somebody else has done so meanwhile.
    fn share(&self, version: VersionId, manifest: [u8; 32], layout: Arc<Layout>) -> Arc<Layout> {
        let mut all = self.all();
        if let Some(other) = all.get(&(version, manifest)).and_then(Weak::upgrade) {
            return other;
        }
        // As often as there are twice as many as before, so that it costs nothing to speak of.
        if all.len() == all.capacity() {
            all.retain(|_, layout| layout.strong_count() > 0);
        }
        all.insert((version, manifest), Arc::downgrade(&layout));
        layout
    }

    /// How many layouts somebody has.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.all().values().filter(|layout| layout.strong_count() > 0).count()
    }

    fn all(&self) -> LockedGuard<'_, Shared> {
        self.0.lock()
    }
}

/// What can be read of a version.
pub(crate) struct Content {
    repo: Arc<Repo>,
    share: ShareId,
    artifact: ArtifactId,
    layout: Arc<Layout>,
    open: Locked<VecDeque<(ObjectId, Arc<OpenExtent>)>>,
    /// The bytes of a small file until they are opened, which came with its manifest.
    at_hand: Locked<Option<ExtentBytes>>,
}

/// Where an open extent's bytes come from.
enum Source {
    File(ObjectFile),
    Memory(Vec<u8>),
}

impl Source {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), StoreError> {
        match self {
            Self::File(file) => file.read_at(offset, into),
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).map_err(|_| StoreError::Short)?;
                let part =
                    start.checked_add(into.len()).and_then(|end| bytes.get(start..end)).ok_or(StoreError::Short)?;
                into.copy_from_slice(part);
                Ok(())
            }
        }
    }

    fn length(&self) -> Result<u64, StoreError> {
        match self {
            Self::File(file) => file.length(),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }
}

pub(crate) struct OpenExtent {
    source: Source,
    opener: ExtentOpener,
    /// Plaintext bytes.
    pub(crate) length: u64,
}

impl Content {
    /// The content of an available version for who reads it, with everybody else who does.
    pub(crate) async fn shared(
        repo: &Arc<Repo>,
        layouts: &Layouts,
        keys: &ShareKeys,
        version: &VersionRow,
    ) -> Result<Self, Error> {
        if let Some((_, hash)) = version.manifest
            && let Some(layout) = layouts.find(version.id, hash)
        {
            // Who may read it has the key, and it must not be shredded. The row was read anew.
            repo.file_key(&mut *repo.records.read().await?, keys, version).await?;
            if let Some(sealed) = &layout.sealed {
                sealed.compare(version)?;
            }
            return Ok(Self::with_layout(repo, keys.share, version.artifact, layout));
        }
        let (mut content, _, _) = Self::of_version(repo, keys, version).await?;
        if let Some((_, hash)) = version.manifest {
            content.layout = layouts.share(version.id, hash, content.layout);
        }
        Ok(content)
    }

    /// The content of an available version, as its manifest has it, which the row agrees with.
    pub(crate) async fn of_version(
        repo: &Arc<Repo>,
        keys: &ShareKeys,
        version: &VersionRow,
    ) -> Result<(Self, Manifest, Arc<FileKey>), Error> {
        let (manifest, file_key, at_hand) = open_to_read(repo, keys, version).await?;
        let mut extents = HashMap::new();
        for entry in &manifest.extents {
            let access = ExtentAccess {
                key: AccessKey::Wrapped { key: entry.key, version: version.id, by: Arc::clone(&file_key) },
                header_tag: entry.header_tag,
                length: entry.length,
                place: entry.place,
            };
            extents.insert(entry.extent, access);
        }
        let map = SliceMap::from_slices(manifest.slices.clone())?;
        let (sealed, small_file) = (Some(SealedFacts::of(&manifest)), version.small_file);
        let layout = Layout { map, sealed, extents, small_file };
        let mut content = Self::with_layout(repo, keys.share, version.artifact, Arc::new(layout));
        content.at_hand = Locked::new(at_hand);
        Ok((content, manifest, file_key))
    }

    /// A content of these extents, of what nobody has sealed yet; what the map does not cover reads
    /// as zeros. One of them may lie in the row `small_file` still.
    pub(crate) fn new(
        repo: &Arc<Repo>,
        share: ShareId,
        artifact: ArtifactId,
        map: SliceMap,
        extents: HashMap<ObjectId, ExtentAccess>,
        small_file: Option<i64>,
    ) -> Self {
        Self::with_layout(repo, share, artifact, Arc::new(Layout { map, sealed: None, extents, small_file }))
    }

    fn with_layout(repo: &Arc<Repo>, share: ShareId, artifact: ArtifactId, layout: Arc<Layout>) -> Self {
        let (open, at_hand) = (Locked::default(), Locked::default());
        Self { repo: Arc::clone(repo), share, artifact, layout, open, at_hand }
    }

    #[cfg(test)]
    pub(crate) fn shares_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.layout, &other.layout)
    }

    /// Appends `length` bytes from `offset` on to `into`. The caller keeps the range inside the
    /// version.
    pub(crate) async fn read(&self, offset: u64, length: u64, into: &mut Vec<u8>) -> Result<(), Error> {
        let pieces = self.layout.map.range(offset, length);
        let is_hole = |piece: &Piece| matches!(piece, Piece::Hole { .. });
        if self.layout.sealed.is_some() && pieces.iter().any(is_hole) {
            return Err(VaultError::Tampered { what: "a version that was sealed without a hole" }.into());
        }
        if pieces.len() > SCATTERED {
            return self.read_scattered(offset, length, &pieces, into).await;
        }
        for piece in pieces {
            match piece {
                Piece::Hole { length, .. } => {
                    let zeros = usize::try_from(length).map_err(|_| StoreError::Short)?;
                    into.resize(into.len() + zeros, 0);
                }
                Piece::Data(slice) => {
                    let extent = self.extent(slice.extent).await?;
                    extent.read(slice.within, slice.length, into)?;
                }
            }
        }
        Ok(())
    }

    /// The same where there are many pieces: each extent is opened once, and each of its segments,
    /// however many of them lie there.
    async fn read_scattered(
        &self,
        offset: u64,
        length: u64,
        pieces: &[Piece],
        into: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let place = |at: u64| usize::try_from(at).map_err(|_| StoreError::Short);
        let start = into.len();
        into.resize(start + place(length)?, 0);
        let mut slices: Vec<Slice> = pieces.iter().filter_map(Piece::data).collect();
        slices.sort_unstable_by_key(|slice| (slice.extent, slice.within));
        let mut bytes = Vec::new();
        for together in slices.chunk_by(|one, next| one.extent == next.extent) {
            let extent = self.extent(together.first().ok_or(StoreError::Short)?.extent).await?;
            // What is open of it: whole segments, from where to where.
            let (mut from, mut to) = (0, 0);
            for slice in together {
                let end = slice.within.saturating_add(slice.length);
                if slice.within < from || end > to {
                    from = slice.within / SEGMENT as u64 * SEGMENT as u64;
                    to = end.checked_next_multiple_of(SEGMENT as u64).unwrap_or(end).min(extent.length);
                    bytes.clear();
                    extent.read(from, to - from, &mut bytes)?;
                }
                let there = place(slice.within - from)?;
                let source = bytes.get(there..there + place(slice.length)?).ok_or(StoreError::Short)?;
                let at = start + place(slice.offset - offset)?;
                into.get_mut(at..at + source.len()).ok_or(StoreError::Short)?.copy_from_slice(source);
            }
        }
        Ok(())
    }

    /// How many sealed bytes of it wait here to be opened: no disk and no database is asked for
    /// them. None if it is no small file, or was opened.
    pub(crate) fn at_hand(&self) -> Option<usize> {
        self.at_hand.lock().as_ref().map(|(_, bytes)| bytes.len())
    }

    /// Hands its first `length` bytes to `sink`, in pieces of at most 1 MiB.
    pub(crate) async fn read_through(
        &self,
        length: u64,
        mut sink: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (mut bytes, mut at) = (Vec::new(), 0);
        while at < length {
            bytes.clear();
            self.read(at, PIECE.min(length - at), &mut bytes).await?;
            at += bytes.len() as u64;
            sink(&bytes)?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Checks what reading from front to back does not touch: extents of which the version uses a
    /// part only.
    pub(crate) async fn check_unused_parts(&self) -> Result<(), Error> {
        let mut used: HashMap<ObjectId, u64> = HashMap::new();
        for slice in self.layout.map.slices() {
            *used.entry(slice.extent).or_default() += slice.length;
        }
        self.check(|id, length| used.get(id).is_none_or(|used| *used < length)).await
    }

    /// Checks every byte of every extent, whatever the map says of it.
    pub(crate) async fn check_everything(&self) -> Result<(), Error> {
        self.check(|_, _| true).await
    }

    async fn check(&self, which: impl Fn(&ObjectId, u64) -> bool) -> Result<(), Error> {
        let mut bytes = Vec::new();
        for (id, access) in self.layout.extents.iter().filter(|(id, access)| which(id, access.length)) {
            let extent = self.extent(*id).await?;
            let mut at = 0;
            while at < access.length {
                let part = (BATCH * SEGMENT as u64).min(access.length - at);
                bytes.clear();
                extent.read(at, part, &mut bytes)?;
                at += part;
            }
        }
        Ok(())
    }

    /// Where `length` bytes from `offset` on lie.
    pub(crate) fn pieces(&self, offset: u64, length: u64) -> impl Iterator<Item = Piece> {
        self.layout.map.range(offset, length).into_iter()
    }

    /// An extent that the map names, checked and ready to be read.
    pub(crate) async fn extent(&self, id: ObjectId) -> Result<Arc<OpenExtent>, Error> {
        if let Some((_, extent)) = self.open().iter().find(|(open, _)| *open == id) {
            return Ok(Arc::clone(extent));
        }
        let access =
            self.layout.extents.get(&id).ok_or(VaultError::Malformed { what: "a map that names an unknown extent" })?;
        let source = match access.place {
            ObjectPlace::Store => Source::File(self.repo.store.get(id)?),
            ObjectPlace::Records => Source::Memory(self.recorded(id).await?),
        };
        if source.length()? != extent::sealed_length(access.length) {
            return Err(VaultError::Tampered { what: "the length of an extent" }.into());
        }
        let mut head = [0; EXTENT_HEAD];
        source.read_at(0, &mut head)?;
        let ids = ExtentIds { share: self.share, artifact: self.artifact, extent: id };
        let opener = match &access.key {
            AccessKey::Unwrapped(key) => ExtentOpener::new(&ids, key, &head, &access.header_tag)?,
            AccessKey::Wrapped { key, version, by } => {
                let key = by.unwrap_extent_key(*version, id, key)?;
                ExtentOpener::new(&ids, &key, &head, &access.header_tag)?
            }
        };
        // An empty last segment holds nothing that anybody reads, but it is part of what was
        // sealed.
        if let Some((at, length, true)) = segment_range(access.length, access.length / SEGMENT as u64)
            && access.length % SEGMENT as u64 == 0
        {
            let mut last = vec![0; length];
            source.read_at(at, &mut last)?;
            opener.open_segment(access.length / SEGMENT as u64, true, &mut last)?;
        }
        let extent = Arc::new(OpenExtent { source, opener, length: access.length });
        let mut open = self.open();
        if open.len() >= OPEN_EXTENTS {
            open.pop_front();
        }
        open.push_back((id, Arc::clone(&extent)));
        Ok(extent)
    }

    /// The bytes of an extent's object that lies in the records.
    async fn recorded(&self, id: ObjectId) -> Result<Vec<u8>, Error> {
        if let Some((_, bytes)) = self.at_hand.lock().take_if(|(extent, _)| *extent == id) {
            return Ok(bytes);
        }
        let bytes = recorded_object(&mut *self.repo.records.read().await?, self.layout.small_file, id).await?;
        Ok(bytes.ok_or(StoreError::Missing)?)
    }

    fn open(&self) -> LockedGuard<'_, VecDeque<(ObjectId, Arc<OpenExtent>)>> {
        self.open.lock()
    }
}

impl OpenExtent {
    /// Reads up to `count` segments from `position` on into `room` and opens them there, each where
    /// it lies: [`copy_texts`] finds their texts.
    pub(crate) fn open_in_place(&self, position: u64, count: u64, room: &mut [u8]) -> Result<(), Error> {
        let (start, _, _) = segment_range(self.length, position).ok_or(StoreError::Short)?;
        let end = extent::sealed_length(self.length);
        let bytes = (end - start).min(count * SEALED_SEGMENT as u64);
        let bytes = usize::try_from(bytes).map_err(|_| StoreError::Short)?;
        let sealed = room.get_mut(..bytes).ok_or(StoreError::Short)?;
        self.source.read_at(start, sealed)?;
        for (position, segment) in (position..).zip(sealed.chunks_mut(SEALED_SEGMENT)) {
            let (_, _, is_last) = segment_range(self.length, position).ok_or(StoreError::Short)?;
            self.opener.open_segment(position, is_last, segment)?;
        }
        Ok(())
    }

    /// Decrypts the segments that `length` bytes from `within` on lie in, and appends just those
    /// bytes.
    pub(crate) fn read(&self, within: u64, length: u64, into: &mut Vec<u8>) -> Result<(), Error> {
        const SEGMENT_BYTES: u64 = SEGMENT as u64;
        let end = within.checked_add(length).filter(|end| *end <= self.length).ok_or(StoreError::Short)?;
        let (mut at, mut room) = (within, Vec::new());
        while at < end {
            let position = at / SEGMENT_BYTES;
            let count = ((end - 1) / SEGMENT_BYTES - position + 1).min(BATCH);
            room.resize(usize::try_from(count).map_err(|_| StoreError::Short)? * SEALED_SEGMENT, 0);
            self.open_in_place(position, count, &mut room)?;
            let first = position * SEGMENT_BYTES;
            let to = end.min(first + count * SEGMENT_BYTES);
            copy_texts(&room, at - first, to - first, into)?;
            at = to;
        }
        Ok(())
    }
}

/// Appends the bytes from `from` to `to` of the texts of segments that were opened in place, one
/// behind the other.
pub(crate) fn copy_texts(opened: &[u8], from: u64, to: u64, into: &mut Vec<u8>) -> Result<(), StoreError> {
    let place = |at: u64| usize::try_from(at).map_err(|_| StoreError::Short);
    let (mut at, to) = (place(from)?, place(to)?);
    while at < to {
        let within = at % SEGMENT;
        let length = (SEGMENT - within).min(to - at);
        let start = at / SEGMENT * SEALED_SEGMENT + SEGMENT_LEAD + within;
        into.extend_from_slice(opened.get(start..start + length).ok_or(StoreError::Short)?);
        at += length;
    }
    Ok(())
}
