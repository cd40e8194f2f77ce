//! What the random parts of a house's records mean, so that two houses can be compared: an id is
//! known by where it stood first, what is sealed by what it opens to, a moment by the part of a
//! step that it lies in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{House, SETTLE};
use crate::app::{Settings, digest_of_bytes};
use crate::model::{Algorithm, DirectoryId, FileName, HouseTime, ObjectId, ShareId, Time, VersionId, alias};
use crate::records::entries;
use crate::records::versions::{self, VersionRow};
use crate::repo::keys::ShareKeys;
use crate::vault::extent::{EXTENT_HEAD, segment_range};
use crate::vault::{ExtentIds, ExtentKey, ExtentOpener, FileKey, Manifest, WrappedKey, object_hash};
use tacdrop_probe::{Cell, Table};

/// A row of a table.
pub(super) struct Row<'a> {
    pub(super) table: &'a str,
    pub(super) cells: &'a [(String, Cell)],
}

impl Row<'_> {
    fn cell(&self, column: &str) -> &Cell {
        &self.cells.iter().find(|(name, _)| name == column).unwrap().1
    }

    fn bytes(&self, column: &str) -> &[u8] {
        let Cell::Bytes(bytes) = self.cell(column) else { panic!("{}.{column} is not bytes", self.table) };
        bytes
    }

    fn id(&self, column: &str) -> [u8; 16] {
        self.bytes(column).try_into().unwrap()
    }

    fn number(&self, column: &str) -> i64 {
        let Cell::Integer(number) = self.cell(column) else { panic!("{}.{column} is no number", self.table) };
        *number
    }
}

/// What the random parts of one house's records mean.
pub(super) struct Meaning<'a> {
    house: &'a House,
    keys: Arc<ShareKeys>,
    ids: HashMap<[u8; 16], usize>,
    versions: HashMap<VersionId, VersionRow>,
    tables: &'a [Table],
}

impl<'a> Meaning<'a> {
    pub(super) async fn of(house: &'a House, tables: &'a [Table]) -> Self {
        let rows = |name: &'static str| {
            let table = tables.iter().find(|table| table.name == name).unwrap();
            table.rows.iter().map(move |cells| Row { table: name, cells })
        };
        let share = ShareId::from_bytes(rows("ticket").next().unwrap().id("share_id"));
        let keys = house.app.0.access.repo.keys.share(share).await.unwrap();
        let mut conn = house.app.0.access.repo.records.read().await.unwrap();
        let mut found = HashMap::new();
        for row in rows("version") {
            let id = VersionId::from_bytes(row.id("id"));
            found.insert(id, versions::by_id(&mut conn, id).await.unwrap().unwrap());
        }
        let mut meaning = Self { house, keys, ids: HashMap::new(), versions: found, tables };
        // The extents of one upload are written in no order: they are known by the place that they
        // have in its file.
        for row in rows("entry").chain(rows("version")) {
            meaning.number(row.cells);
        }
        for row in rows("version") {
            let version = &meaning.versions[&VersionId::from_bytes(row.id("id"))];
            for slice in meaning.manifest(version).into_iter().flat_map(|manifest| manifest.slices) {
                meaning.number(&[(String::new(), Cell::Bytes(slice.extent.as_bytes().to_vec()))]);
            }
        }
        for cells in tables.iter().flat_map(|table| &table.rows) {
            meaning.number(cells);
        }
        meaning
    }

    /// Gives the ids in a row that stood nowhere before the next numbers.
    fn number(&mut self, cells: &[(String, Cell)]) {
        for (_, cell) in cells {
            if let Cell::Bytes(bytes) = cell
                && let Ok(id) = <[u8; 16]>::try_from(&bytes[..])
            {
                let next = self.ids.len();
                self.ids.entry(id).or_insert(next);
            }
        }
    }

    fn rows(&self, name: &'static str) -> impl Iterator<Item = Row<'_>> {
        let table = self.tables.iter().find(|table| table.name == name).unwrap();
        table.rows.iter().map(move |cells| Row { table: name, cells })
    }

    fn id(&self, id: &[u8; 16]) -> String {
        self.ids.get(id).map_or_else(|| "an id that stands nowhere else".to_owned(), |number| format!("#{number}"))
    }

    fn file_key(&self, version: &VersionRow) -> FileKey {
        self.keys.file_key(version).unwrap()
    }

    /// The part that a moment lies in; to the millisecond, if it is the one at which a version
    /// became available then.
    fn moment(&self, at: i64) -> Option<String> {
        let (ends, at) = (self.house.ends.lock().unwrap(), Time::from_millis(at));
        let part = ends.iter().position(|end| at <= end.0).filter(|_| at >= self.house.begun)?;
        let is_received = self.versions.values().any(|version| version.received_at == Some(at));
        Some(format!("{} part {part}", if is_received { "the publication of" } else { "within" }))
    }

    /// A moment that may be any of its part.
    fn about(&self, at: i64) -> Option<String> {
        self.moment(at).map(|text| text.replace("the publication of", "within"))
    }

    fn house_moment(&self, at: i64) -> Option<String> {
        let (ends, at) = (self.house.ends.lock().unwrap(), HouseTime::from_millis(at));
        ends.iter().position(|end| at <= end.1).map(|part| format!("within part {part}"))
    }

    /// What a column holds, as both houses must say it.
    pub(super) fn of_cell(&self, row: &Row<'_>, column: &str, cell: &Cell) -> String {
        let or_number = |text: Option<String>, number: i64| text.unwrap_or_else(|| number.to_string());
        match (row.table, column, cell) {
            (_, _, Cell::Null) => "none".to_owned(),
            ("_sqlx_migrations", "installed_on" | "execution_time", _) => "-".to_owned(),
            ("ticket_token", "verifier", Cell::Bytes(hash)) => format!("{} bytes", hash.len()),
            // Each house has a key of its own.
            (_, "proof" | "address_proof", Cell::Bytes(proof)) => format!("{} bytes", proof.len()),
            // The trail is verified as a whole.
            ("audit_event", "chain" | "seal", _) | ("audit_checkpoint", "link" | "signature", _) => {
                "verified".to_owned()
            }
            ("audit_event", "detail", Cell::Text(text)) => self.of_json(serde_json::from_str(text).unwrap()),
            ("fact", "value", Cell::Text(text)) => match row.cell("name") {
                Cell::Text(name) if name == "house_time" => "-".to_owned(),
                _ => self.of_text(text),
            },
            (_, "touched_at" | "withdrawn_house", Cell::Integer(at)) | ("doomed", "since", Cell::Integer(at)) => {
                or_number(self.house_moment(*at), *at)
            }
            ("entry", "modified_at", Cell::Integer(at))
            | ("version", "received_at", Cell::Integer(at))
            | ("notice", "created_at", Cell::Integer(at)) => or_number(self.moment(*at), *at),
            ("ticket_token", "valid_until", Cell::Integer(at)) => {
                let validity = crate::repo::Settings::default().token_validity;
                let used = Time::from_millis(*at).minus(validity).millis();
                or_number(self.about(used).map(|used| format!("renewed {used}")), *at)
            }
            ("notice", "next_attempt_at", Cell::Integer(at)) => {
                let later = |wait: Duration, what: &str| {
                    let at = Time::from_millis(*at).minus(wait).millis();
                    self.moment(at).map(|moment| format!("{what} after {moment}"))
                };
                or_number(later(SETTLE, "settled").or_else(|| later(self.house.settle_max, "at the latest")), *at)
            }
            ("held_notice", "due", Cell::Integer(at)) => {
                let kept = Settings::default().temporary_settle;
                or_number(self.moment(Time::from_millis(*at).minus(kept).millis()), *at)
            }
            (_, "at", Cell::Integer(at)) => or_number(self.about(*at), *at),
            (_, column, Cell::Integer(at)) if column.ends_with("_at") && column != "resumable_at" => {
                or_number(self.about(*at), *at)
            }
            ("entry", "link_proof", Cell::Bytes(proof)) => {
                let [id, share, before] = ["id", "share_id", "predecessor"].map(|column| row.id(column));
                let key = self.house.app.0.access.repo.keys.proof();
                assert!(key.is_proved(entries::LINK_LABEL, &[&id, &share, &before], proof));
                "of its predecessor".to_owned()
            }
            ("entry", "name", Cell::Bytes(_)) => format!("{:?}", self.name(row)),
            ("entry", "name_index", Cell::Bytes(index)) => {
                let expected = self.keys.names.index(DirectoryId::from_bytes(row.id("parent_id")), &self.name(row));
                assert_eq!(index[..], expected);
                "of the name".to_owned()
            }
            ("entry", "alias_index", Cell::Bytes(index)) => {
                let alias = alias::alias(&self.name(row));
                assert_eq!(
                    index[..],
                    self.keys.names.alias_index(DirectoryId::from_bytes(row.id("parent_id")), &alias)
                );
                format!("of {alias:?}")
            }
            ("version", "file_key", Cell::Bytes(_)) => {
                self.file_key(&self.versions[&VersionId::from_bytes(row.id("id"))]);
                "opens".to_owned()
            }
            ("version", "progress", Cell::Bytes(sealed)) => {
                let version = &self.versions[&VersionId::from_bytes(row.id("id"))];
                let state = self.file_key(version).open_state(version.id, version.resumable_at, sealed).unwrap();
                hex::encode(state)
            }
            ("version", "manifest_hash", Cell::Bytes(_)) => {
                let version = &self.versions[&VersionId::from_bytes(row.id("id"))];
                self.manifest_text(version)
            }
            ("extent", "header_tag", _) => "of its object".to_owned(),
            ("extent_use", "extent_key", Cell::Bytes(wrapped)) => self.extent(row, wrapped),
            ("small_file", "extent_bytes", _) => self.small_extent(row),
            ("small_file", "manifest_bytes", Cell::Bytes(bytes)) => {
                format!("{} bytes of what a row above opens", bytes.len())
            }
            ("object", "bytes", Cell::Bytes(bytes)) => format!("{} bytes of what a row above opens", bytes.len()),
            (_, _, Cell::Integer(number)) => number.to_string(),
            (_, _, Cell::Text(text)) => text.clone(),
            (_, _, Cell::Bytes(bytes)) => match <&[u8; 16]>::try_from(&bytes[..]) {
                Ok(id) => self.id(id),
                Err(_) => hex::encode(bytes),
            },
        }
    }

    fn name(&self, row: &Row<'_>) -> FileName {
        self.keys.names.open_name(row.id("id"), row.bytes("name")).unwrap()
    }

    /// What an object holds, wherever it lies.
    fn object(&self, id: ObjectId) -> Vec<u8> {
        if let Some(row) = self.rows("object").find(|row| row.id("id") == *id.as_bytes()) {
            return row.bytes("bytes").to_vec();
        }
        let file = self.house.app.0.access.repo.store.get(id).unwrap();
        let mut bytes = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
        file.read_at(0, &mut bytes).unwrap();
        bytes
    }

    /// A version's manifest, opened.
    fn manifest(&self, version: &VersionRow) -> Option<Manifest> {
        let (object, hash) = version.manifest?;
        let bytes = match version.small_file {
            Some(seq) => self.small_file(seq).bytes("manifest_bytes").to_vec(),
            None => self.object(object),
        };
        let key = self.file_key(version);
        assert_eq!(object_hash(&bytes), hash);
        let (share, artifact) = (self.keys.share, version.artifact);
        Some(Manifest::open(&bytes, &key, share, artifact, version.id, object, &hash).unwrap())
    }

    /// What that says.
    fn manifest_text(&self, version: &VersionRow) -> String {
        let Manifest { number, length, sha256, hashed, sealed_at, arrival, slices, extents, .. } =
            self.manifest(version).unwrap();
        let sealed_at = self.moment(sealed_at.millis());
        let mut text = format!("[{number} {length} {} {hashed:?} {sealed_at:?} {arrival:?}", hex::encode(sha256));
        for slice in slices {
            let extent = self.id(slice.extent.as_bytes());
            text += &format!(" {}+{} from {extent} at {}", slice.offset, slice.length, slice.within);
        }
        // They stand by their random ids; the rows that say the same are compared in their order.
        for entry in &extents {
            if let Some(seq) = version.small_file {
                assert_eq!(self.small_file(seq).id("extent_id"), *entry.extent.as_bytes());
                assert_eq!((version.length, extents.len()), (entry.length, 1));
                continue;
            }
            let row = self.rows("extent").find(|row| row.id("id") == *entry.extent.as_bytes()).unwrap();
            assert_eq!(
                (row.number("length"), row.bytes("header_tag")),
                (i64::try_from(entry.length).unwrap(), &entry.header_tag[..])
            );
            assert_eq!(*row.cell("place"), Cell::Text(entry.place.as_str().to_owned()));
            let uses = |row: &Row<'_>| {
                (row.id("version_id"), row.id("extent_id")) == (*version.id.as_bytes(), *entry.extent.as_bytes())
            };
            let used = self.rows("extent_use").find(uses).unwrap();
            assert_eq!(used.bytes("extent_key"), entry.key.as_bytes());
        }
        format!("{text} {} extents]", extents.len())
    }

    /// SHA-256 of what an extent holds, opened by the key that a version has for it.
    fn extent(&self, used: &Row<'_>, wrapped: &[u8]) -> String {
        let version = &self.versions[&VersionId::from_bytes(used.id("version_id"))];
        let id = ObjectId::from_bytes(used.id("extent_id"));
        let extent = self.rows("extent").find(|row| row.id("id") == *id.as_bytes()).unwrap();
        let wrapped = WrappedKey::try_from(wrapped).unwrap();
        let key = self.file_key(version).unwrap_extent_key(version.id, id, &wrapped).unwrap();
        let tag = extent.bytes("header_tag").try_into().unwrap();
        let length = u64::try_from(extent.number("length")).unwrap();
        // A version may begin with an extent of the file whose history it goes on.
        let opened = self.versions.values().find_map(|version| {
            let ids = ExtentIds { share: self.keys.share, artifact: version.artifact, extent: id };
            text_of(&ids, &key, tag, length, &self.object(id))
        });
        hex::encode(digest_of_bytes(Algorithm::Sha256, &opened.unwrap()))
    }

    /// The row of a small file.
    fn small_file(&self, seq: i64) -> Row<'_> {
        self.rows("small_file").find(|row| row.number("seq") == seq).unwrap()
    }

    /// SHA-256 of what the extent of a small file holds, opened as its manifest says.
    fn small_extent(&self, row: &Row<'_>) -> String {
        let mut versions = self.versions.values();
        let version = versions.find(|version| version.small_file == Some(row.number("seq"))).unwrap();
        let manifest = self.manifest(version).unwrap();
        let entry = &manifest.extents[0];
        let key = self.file_key(version).unwrap_extent_key(version.id, entry.extent, &entry.key).unwrap();
        let ids = ExtentIds { share: self.keys.share, artifact: version.artifact, extent: entry.extent };
        let opened = text_of(&ids, &key, &entry.header_tag, entry.length, row.bytes("extent_bytes"));
        hex::encode(digest_of_bytes(Algorithm::Sha256, &opened.unwrap()))
    }

    fn of_json(&self, value: serde_json::Value) -> String {
        use serde_json::Value;
        match value {
            Value::Object(fields) => {
                let (keys, engineer) = (&self.house.app.0.access.repo.keys, fields.get("engineer").cloned());
                let fields = fields.into_iter().map(|(name, value)| {
                    let engineer = engineer.as_ref().and_then(|id| id.as_str()).filter(|_| name == "address");
                    if let Some(id) = engineer {
                        let address = crate::audit::told::address(keys.trail(), id, &format!("{id}@example.net"));
                        assert_eq!(value, address);
                        return format!("{name}: {id}'s");
                    }
                    let moment = value.as_i64().filter(|_| name == "received").and_then(|at| self.moment(at));
                    format!("{name}: {}", moment.unwrap_or_else(|| self.of_json(value)))
                });
                format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
            }
            Value::Array(values) => values.into_iter().map(|value| self.of_json(value)).collect::<Vec<_>>().join(", "),
            Value::String(text) => self.of_text(&text),
            other => other.to_string(),
        }
    }

    /// A text, or what the id or the manifest's hash that it is means.
    fn of_text(&self, text: &str) -> String {
        let bytes = hex::decode(text).unwrap_or_default();
        if let Ok(id) = <&[u8; 16]>::try_from(&bytes[..]) {
            return self.id(id);
        }
        let mut versions = self.versions.values();
        match versions.find(|version| version.manifest.is_some_and(|(_, hash)| hash[..] == bytes[..])) {
            Some(version) => return format!("manifest of {}", self.id(version.id.as_bytes())),
            None if bytes == self.house.app.0.access.trail.key.public().as_bytes() => return "its key".to_owned(),
            None => {}
        }
        let proof = self.house.app.0.access.repo.keys.trail();
        let is_digest = |version: &&VersionRow| {
            version.sha256.is_some_and(|sha256| crate::audit::told::digest(proof, version.id, &sha256)[..] == bytes[..])
        };
        match self.versions.values().find(is_digest) {
            Some(version) => format!("digest of {}", version.sha256.map(hex::encode).unwrap_or_default()),
            None => text.to_owned(),
        }
    }
}

/// The text of a whole object.
fn text_of(ids: &ExtentIds, key: &ExtentKey, tag: &[u8; 32], length: u64, object: &[u8]) -> Option<Vec<u8>> {
    let (head, mut segments) = object.split_at_checked(EXTENT_HEAD)?;
    let opener = ExtentOpener::new(ids, key, head, tag).ok()?;
    let (mut text, mut position) = (Vec::new(), 0);
    while let Some((_, sealed, last)) = segment_range(length, position) {
        let (segment, rest) = segments.split_at_checked(sealed)?;
        text.extend_from_slice(opener.open_segment(position, last, &mut segment.to_vec()).ok()?);
        (segments, position) = (rest, position + 1);
    }
    segments.is_empty().then_some(text)
}
