//! Micro-benchmarks: `cargo bench -p tacdrop-micro -- [FILTER]`.
//!
//! With the arguments `--once NAME N` a work is done N times and nothing is measured:
//! `benches/counts` counts its instructions under callgrind.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench that cannot go on has failed")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use sha2::{Digest, Sha256};
use tacdrop::app::{App, DataDirectory, NewTicket, Settings, ShareSession, WriteMode};
use tacdrop::bench::{parse, seeded_name};
use tacdrop::model::{
    ArtifactId, DirectoryId, FileName, Identifier, Language, ObjectId, ObjectPlace, Priority, ShareId, SharePath, Time,
    Transport, VersionId, alias,
};
use tacdrop::records::{Records, audit, entries, extents, notices, tickets, versions};
use tacdrop::vault::extent::{EXTENT_HEAD, SEALED_SEGMENT, SEGMENT, SEGMENT_LEAD};
use tacdrop::vault::{
    Arrival, ExtentEntry, ExtentIds, ExtentKey, ExtentOpener, ExtentSealer, FileKey, HashOrigin, Manifest, NameKeys,
    ShareKey, Slice,
};

/// Segments in one buffer of an upload.
const SEGMENTS: usize = 4;
const SHARE: ShareId = ShareId::from_bytes([1; 16]);
/// What a client reads or writes at once.
const PIECE: usize = 32_768;
/// The fingerprint of the engineer's key.
const KEY: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn ids() -> ExtentIds {
    ExtentIds { share: SHARE, artifact: ArtifactId::from_bytes([2; 16]), extent: ObjectId::from_bytes([3; 16]) }
}

fn sealer() -> ExtentSealer {
    ExtentSealer::new(&ids(), &ExtentKey::generate().unwrap()).unwrap()
}

/// Hashes and seals a buffer as an upload's worker does.
fn seal_buffer(sealer: &mut ExtentSealer, hash: &mut Sha256, buffer: &mut [u8]) {
    for segment in buffer.chunks_exact_mut(SEALED_SEGMENT) {
        hash.update(&segment[SEGMENT_LEAD..SEGMENT_LEAD + SEGMENT]);
        sealer.seal_inner(segment).unwrap();
    }
}

fn sealed_segment() -> (ExtentOpener, Vec<u8>) {
    let mut sealer = sealer();
    let mut segment = vec![7; SEALED_SEGMENT];
    sealer.seal_inner(&mut segment).unwrap();
    (sealer.opener(), segment)
}

fn extents(c: &mut Criterion) {
    let mut group = c.benchmark_group("extent");
    let mut sealer = sealer();
    let mut buffer = vec![7; SEGMENTS * SEALED_SEGMENT];
    group.throughput(Throughput::Bytes(SEGMENT as u64));
    group.bench_function("seal_segment", |b| b.iter(|| sealer.seal_inner(&mut buffer[..SEALED_SEGMENT]).unwrap()));
    let (opener, sealed) = sealed_segment();
    group.bench_function("open_segment", |b| {
        b.iter_batched_ref(
            || sealed.clone(),
            |segment| black_box(opener.open_segment(0, false, segment).unwrap().len()),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("sha256_segment", |b| b.iter(|| Sha256::digest(black_box(&buffer[..SEGMENT]))));
    group.throughput(Throughput::Bytes((SEGMENTS * SEGMENT) as u64));
    let mut hash = Sha256::new();
    group.bench_function("hash_and_seal_buffer", |b| b.iter(|| seal_buffer(&mut sealer, &mut hash, &mut buffer)));
    group.throughput(Throughput::Bytes(1000));
    group.bench_function("begin_and_seal_1000_bytes", |b| {
        let mut small = [7; SEGMENT_LEAD + 1000 + 16];
        b.iter(|| {
            let mut sealer = self::sealer();
            sealer.seal_last(&mut small).unwrap();
            black_box(sealer.head()[EXTENT_HEAD - 1])
        });
    });
    group.finish();
}

fn manifest(extents: u64, key: &FileKey) -> Manifest {
    let version = VersionId::from_bytes([4; 16]);
    let length = 32 << 20;
    let id = |number: u64| ObjectId::from_bytes((u128::from(number) << 64 | 9).to_be_bytes());
    let wrapped = key.wrap_extent_key(version, id(0), &ExtentKey::generate().unwrap()).unwrap();
    let place = ObjectPlace::Store;
    let entry = |number| {
        let key = tacdrop::vault::WrappedKey::try_from(&wrapped.as_bytes()[..]).unwrap();
        ExtentEntry { extent: id(number), length, header_tag: [5; 32], key, place }
    };
    Manifest {
        share: SHARE,
        artifact: ArtifactId::from_bytes([2; 16]),
        version,
        number: 1,
        length: extents * length,
        sha256: [6; 32],
        hashed: HashOrigin::Streamed,
        sealed_at: Time::from_millis(1_700_000_000_000),
        arrival: Some(Arrival { sender: "XT-4711".parse().unwrap(), transport: Transport::Modern, zeros: 0 }),
        slices: (0..extents).map(|n| Slice { offset: n * length, length, extent: id(n), within: 0 }).collect(),
        extents: (0..extents).map(entry).collect(),
    }
}

fn manifests(c: &mut Criterion) {
    let mut group = c.benchmark_group("manifest");
    let key = FileKey::generate().unwrap();
    let object = ObjectId::from_bytes([8; 16]);
    for extents in [1, 32, 1000] {
        let manifest = manifest(extents, &key);
        let sealed = manifest.seal(&key, object).unwrap();
        group.throughput(Throughput::Elements(extents));
        group.bench_function(format!("seal_{extents}"), |b| b.iter(|| manifest.seal(&key, object).unwrap()));
        group.bench_function(format!("open_{extents}"), |b| b.iter(|| open_manifest(&key, object, &manifest, &sealed)));
    }
    group.finish();
}

fn open_manifest(key: &FileKey, object: ObjectId, manifest: &Manifest, sealed: &[u8]) -> u64 {
    let hash = tacdrop::vault::object_hash(sealed);
    let opened = Manifest::open(sealed, key, manifest.share, manifest.artifact, manifest.version, object, &hash);
    opened.unwrap().length
}

/// A stream of WRITEs as OpenSSH sends them.
fn writes(count: u32, payload: u32) -> Vec<u8> {
    let mut stream = vec![0, 0, 0, 5, 1, 0, 0, 0, 3];
    for id in 0..count {
        stream.extend((1 + 4 + 4 + 4 + 8 + 4 + payload).to_be_bytes());
        stream.push(6);
        stream.extend(id.to_be_bytes());
        stream.extend([0, 0, 0, 4, 0, 0, 0, 1]);
        stream.extend((u64::from(id) * u64::from(payload)).to_be_bytes());
        stream.extend(payload.to_be_bytes());
        stream.resize(stream.len() + payload as usize, 7);
    }
    stream
}

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    for (payload, piece) in [(32_768, 32_768), (261_120, 32_768), (32_768, 1_777), (100, 32_768)] {
        let stream = writes(64, payload);
        group.throughput(Throughput::Bytes(stream.len() as u64));
        let name = format!("writes_of_{payload}_in_pieces_of_{piece}");
        group.bench_function(name, |b| b.iter(|| parse(black_box(&stream), piece)));
    }
    group.finish();
}

fn name_keys() -> NameKeys {
    ShareKey::generate().unwrap().names(SHARE)
}

fn names(c: &mut Criterion) {
    let mut group = c.benchmark_group("name");
    let path = b"/XT-4711/logs/2026/November/core-router-1.show-tech.txt";
    group.bench_function("parse_path", |b| b.iter(|| SharePath::parse(black_box(path)).unwrap()));
    let (keys, parent, entry) = (name_keys(), DirectoryId::root_of(SHARE), [4; 16]);
    let name = FileName::new(b"core-router-1.show-tech.txt").unwrap();
    let sealed = keys.seal_name(entry, &name).unwrap();
    group.bench_function("seal", |b| b.iter(|| keys.seal_name(entry, &name).unwrap()));
    group.bench_function("open", |b| b.iter(|| keys.open_name(entry, &sealed).unwrap()));
    group.bench_function("index", |b| b.iter(|| keys.index(parent, &name)));
    group.bench_function("alias_of_a_plain_name", |b| b.iter(|| alias::alias(&name)));
    let odd = FileName::new("Prüfbericht: 3 < 4?.txt ".as_bytes()).unwrap();
    group.bench_function("alias_of_an_odd_name", |b| b.iter(|| alias::alias(&odd)));
    group.bench_function("alias_index", |b| b.iter(|| keys.alias_index(parent, &name)));
    group.finish();
}

/// A share with some seeded files, in memory where there is a place for it.
struct Ground {
    runtime: tokio::runtime::Runtime,
    app: App,
    /// Where the tasks of the house stand still; none if they run where everything does.
    _still: Option<tokio::runtime::Runtime>,
    session: ShareSession,
    records: Records,
    share: ShareId,
    token: String,
    _directory: tempfile::TempDir,
}

impl Ground {
    fn new(files: u64) -> Self {
        Self::with_works(files, None)
    }

    /// One whose instructions are to be counted. What is done every so often must not be among
    /// them: how often that is depends on how fast the machine is and on who else works on it. So
    /// the tasks of the house get a runtime that nobody drives, and its notice settles longer than
    /// anybody counts.
    fn still(files: u64) -> Self {
        Self::with_works(files, Some(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()))
    }

    fn with_works(files: u64, still: Option<tokio::runtime::Runtime>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let memory = std::path::Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new().prefix("tacdrop-micro-").tempdir_in(place).unwrap();
        let data = DataDirectory::at(directory.path().join("data"));
        let mut settings = Settings { names_per_share: 10_000_000, ..Settings::default() };
        if still.is_some() {
            (settings.settle, settings.settle_max) = (Duration::from_secs(86_400), Duration::from_secs(86_400));
        }
        let worker_runtime = still.as_ref().unwrap_or(&runtime).handle().clone();
        let (app, session, records, share, token) = runtime.block_on(async {
            let app = App::serve(data.clone(), settings, worker_runtime, Box::new(|| {})).await.unwrap();
            let word = |text: &str| text.parse::<Identifier>().unwrap();
            app.tickets().add_organisation(word("ACME"), "ACME".to_owned(), None).await.unwrap();
            app.tickets()
                .add_engineer(
                    word("anna"),
                    None,
                    "anna@example.net".to_owned(),
                    None,
                    vec![(KEY.to_owned(), "ssh-ed25519".to_owned())],
                )
                .await
                .unwrap();
            let new = NewTicket {
                reference: word("XT-1"),
                organisation: word("ACME"),
                engineer: word("anna"),
                title: None,
                priority: Priority::MEDIUM,
                language: Some(Language::En),
                device: false,
            };
            let (_, token) = app.tickets().open_ticket(new).await.unwrap();
            app.seed_files(&word("XT-1"), 0, files, 100).await.unwrap();
            let login = app.logins().by_token("XT-1", &token, CLIENT).await.unwrap().unwrap();
            let records = Records::open(&data.records()).await.unwrap();
            let ticket = tickets::by_reference(&mut records.read().await.unwrap(), "XT-1").await.unwrap().unwrap();
            (app.clone(), app.session(&login), records, ticket.share, token.to_string())
        });
        Self { runtime, app, _still: still, session, records, share, token, _directory: directory }
    }

    /// Writes down what waits to be told in the audit trail: the share of each work in that is part
    /// of what it costs.
    fn tell(&self) {
        self.runtime.block_on(self.app.audit().checkpoint()).unwrap();
    }

    fn put(&self, number: u64, bytes: &[u8]) {
        let path = SharePath::parse(format!("/new-{number}").as_bytes()).unwrap();
        let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
        self.runtime.block_on(async {
            let mut upload = self.session.open_write(&path, mode).await.unwrap();
            for (piece, at) in bytes.chunks(PIECE).zip((0..).step_by(PIECE)) {
                upload.begin_write(at, piece.len() as u64).await.unwrap();
                upload.write(piece).await.unwrap();
            }
            upload.close().await.unwrap();
        });
    }

    fn list(&self) -> usize {
        self.runtime.block_on(async {
            let mut listing = self.session.list(&SharePath::ROOT).await.unwrap();
            listing.next(128).await.unwrap().len()
        })
    }

    fn stat(&self, number: u64) -> u64 {
        let path = SharePath::parse(seeded_name(number).as_bytes()).unwrap();
        self.runtime.block_on(self.session.attributes(&path)).unwrap().size
    }

    fn get(&self, number: u64) -> usize {
        let path = SharePath::parse(seeded_name(number).as_bytes()).unwrap();
        self.runtime.block_on(async {
            let download = self.session.open_read(&path).await.unwrap();
            let mut bytes = Vec::new();
            download.read(0, 1000, &mut bytes).await.unwrap()
        })
    }

    /// Reads a file that was put, from its first byte to its last.
    fn download(&self, number: u64) -> u64 {
        let path = SharePath::parse(format!("/new-{number}").as_bytes()).unwrap();
        self.runtime.block_on(async {
            let download = self.session.open_read(&path).await.unwrap();
            let (mut at, mut bytes) = (0, Vec::with_capacity(PIECE));
            loop {
                bytes.clear();
                match download.read(at, PIECE, &mut bytes).await.unwrap() {
                    0 => return at,
                    read => at += read as u64,
                }
            }
        })
    }

    /// A login that ends at once.
    fn login_by_token(&self) {
        let login = self.runtime.block_on(self.app.logins().by_token("XT-1", &self.token, CLIENT));
        assert!(login.unwrap().is_some());
    }

    /// The same for an engineer, whose client first asks whether the key is known.
    fn login_by_key(&self) {
        let logins = self.app.logins();
        let login = self.runtime.block_on(async {
            assert!(logins.is_known_key("anna", KEY, CLIENT).await.unwrap());
            logins.by_key("anna", KEY, CLIENT).await
        });
        assert!(login.unwrap().is_some());
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.runtime.block_on(async {
            self.records.close().await;
            self.app.close().await;
        });
    }
}

/// One small file through `App`, and the statements on its way, each through sqlx as the server
/// sends it.
fn small_file(c: &mut Criterion) {
    let ground = Ground::new(10_000);
    let (runtime, records, share) = (&ground.runtime, &ground.records, ground.share);
    let root = DirectoryId::root_of(share);
    let row = runtime.block_on(async {
        entries::children(&mut records.read().await.unwrap(), root, None, 10).await.unwrap().rows.pop().unwrap()
    });
    let (artifact, version) = (ArtifactId::from_bytes(row.id), row.current.unwrap().id);
    let mut group = c.benchmark_group("sql");
    macro_rules! read {
        ($name:literal, |$conn:ident| $work:expr) => {
            group.bench_function($name, |b| {
                let mut held = runtime.block_on(records.read()).unwrap();
                b.iter(|| {
                    let $conn = &mut *held;
                    runtime.block_on($work).unwrap()
                });
            });
        };
    }
    read!("ticket_by_reference", |conn| tickets::by_reference(conn, "XT-1"));
    read!("key_generation", |conn| tickets::key_generation(conn, share));
    read!("entry_by_name_missing", |conn| entries::by_name(conn, root, &[9; 32]));
    read!("withdrawn_by_name_missing", |conn| entries::withdrawn_by_name(conn, root, &[9; 32]));
    read!("entry_by_id", |conn| entries::by_id(conn, &row.id));
    read!("version_by_id", |conn| versions::by_id(conn, version));
    read!("highest_number", |conn| versions::highest_number(conn, artifact));
    read!("extents", |conn| extents::of_version(conn, version));
    read!("audit_tip", |conn| audit::tip(conn));
    let ticket: Identifier = "XT-1".parse().unwrap();
    read!("notice_settling", |conn| notices::settling(conn, &ticket, (tacdrop::model::Audience::Engineers, None)));
    read!("children_128", |conn| entries::children(conn, root, None, 128));
    group.bench_function("empty_transaction", |b| {
        b.iter(|| runtime.block_on(async { records.begin().await.unwrap().commit().await.unwrap() }));
    });
    group.bench_function("set_attributes_in_its_transaction", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let mut tx = records.begin().await.unwrap();
                entries::set_attributes(tx.conn(), &row.id, Some(0o640), None).await.unwrap();
                tx.commit().await.unwrap();
            });
        });
    });
    group.finish();

    let mut group = c.benchmark_group("share");
    let (mut number, bytes) = (0, vec![7; 4096]);
    group.bench_function("upload_4096_bytes", |b| {
        b.iter(|| {
            number += 1;
            ground.put(number, &bytes);
        });
    });
    group.bench_function("stat", |b| {
        b.iter(|| {
            number += 1;
            ground.stat(number * 7919 % 10_000)
        });
    });
    group.bench_function("open_and_read_100_bytes", |b| {
        b.iter(|| {
            number += 1;
            ground.get(number * 7919 % 10_000)
        });
    });
    group.throughput(Throughput::Elements(128));
    group.bench_function("first_page_of_a_listing", |b| b.iter(|| ground.list()));
    group.finish();
}

/// Works before those that count: each connection has opened the records then, and prepared what it
/// is asked.
const BEFORE: u64 = 10;

/// `benches/counts` has callgrind begin here ...
#[inline(never)]
fn count_from_here() {
    black_box("from here");
}

/// ... and end here. The two differ, or the compiler would make one of them.
#[inline(never)]
fn count_up_to_here() {
    black_box("up to here");
}

/// Does a work `times` times, and what it leaves to be done once; and before that, without being
/// counted, the same a few times.
fn counted(times: u64, mut work: impl FnMut(u64) -> u64, afterwards: impl Fn()) -> u64 {
    let mut sum = (0..BEFORE).map(&mut work).fold(0, u64::wrapping_add);
    afterwards();
    count_from_here();
    for number in BEFORE..BEFORE + times {
        sum = sum.wrapping_add(work(number));
    }
    afterwards();
    count_up_to_here();
    sum
}

/// Works for callgrind, each `times` times.
fn once(name: &str, times: u64) -> u64 {
    let key = FileKey::generate().unwrap();
    match name {
        "hash_and_seal_buffer" => {
            let (mut sealer, mut hash, mut buffer) = (sealer(), Sha256::new(), vec![7; SEGMENTS * SEALED_SEGMENT]);
            let work = |_| {
                seal_buffer(&mut sealer, &mut hash, &mut buffer);
                0
            };
            counted(times, work, || ())
        }
        "open_segment" => {
            let (opener, sealed) = sealed_segment();
            counted(times, |_| opener.open_segment(0, false, &mut sealed.clone()).unwrap().len() as u64, || ())
        }
        "manifest_32" => {
            let (manifest, object) = (manifest(32, &key), ObjectId::from_bytes([8; 16]));
            let work = |_| open_manifest(&key, object, &manifest, &manifest.seal(&key, object).unwrap());
            counted(times, work, || ())
        }
        "frames" => {
            let stream = writes(64, 32_768);
            counted(times, |_| parse(&stream, 32_768).0, || ())
        }
        "frames_odd" => {
            let stream = writes(64, 32_768);
            counted(times, |_| parse(&stream, 1_777).0, || ())
        }
        "name" => {
            let (keys, parent) = (name_keys(), DirectoryId::root_of(SHARE));
            let work = |number| {
                let path = SharePath::parse(format!("/logs/{}", seeded_name(number)).as_bytes()).unwrap();
                let name = path.names().last().unwrap();
                let sealed = keys.seal_name([4; 16], name).unwrap();
                let alias = alias::alias(name).as_bytes().len() as u64;
                u64::from(keys.index(parent, name)[0]) + sealed.len() as u64 + alias
            };
            counted(times, work, || ())
        }
        "upload" => {
            let (ground, bytes) = (Ground::still(10), vec![7; 4096]);
            let work = |number| {
                ground.put(number, &bytes);
                number
            };
            counted(times, work, || ground.tell())
        }
        "stat" => {
            let ground = Ground::still(10);
            counted(times, |number| ground.stat(number % 10), || ground.tell())
        }
        "list" => {
            let ground = Ground::still(200);
            counted(times, |_| ground.list() as u64, || ground.tell())
        }
        "download_mib" => {
            // Tasks of the house read its blocks: they must not stand still.
            let ground = Ground::new(10);
            ground.put(0, &vec![7; 1 << 20]);
            let work = |_| {
                let read = ground.download(0);
                assert_eq!(read, 1 << 20);
                read
            };
            counted(times, work, || ground.tell())
        }
        "login_token" => {
            let ground = Ground::still(10);
            let work = |number| {
                ground.login_by_token();
                number
            };
            counted(times, work, || ground.tell())
        }
        "login_key" => {
            let ground = Ground::still(10);
            let work = |number| {
                ground.login_by_key();
                number
            };
            counted(times, work, || ground.tell())
        }
        _ => panic!("there is no work {name}"),
    }
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, flag, name, times, ..] = &words[..]
        && flag == "--once"
    {
        black_box(once(name, times.parse().unwrap()));
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    extents(&mut criterion);
    manifests(&mut criterion);
    frames(&mut criterion);
    names(&mut criterion);
    small_file(&mut criterion);
    criterion.final_summary();
}
