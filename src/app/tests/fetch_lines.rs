//! The line of a notice that fetches a file, run through a shell: it fetches that file, and never
//! another one of its directory.

use std::process::Command;

use super::*;
use crate::model::alias::{alias, with_id};
use crate::model::{DirectoryId, FileName};
use crate::namespace::location::{openable, typeable};
use crate::namespace::tree::way_of;

const CREATE: WriteMode = WriteMode { create: true, exclusive: false, truncate: true, append: false, read: false };

/// The name that a customer gives a file: of its own, or made after a file that is there already.
#[derive(Debug, Clone)]
enum Given {
    Own(Vec<u8>),
    /// The alias of another one, as it is shown.
    AliasOf(usize),
    /// The alias that another one has with its id in it.
    AliasWithIdOf(usize),
    /// The same in upper case, which Windows takes for equal.
    UpperAliasOf(usize),
    /// The alias with an id of the alias.
    AliasOfAliasWithIdOf(usize),
}

fn own() -> impl Strategy<Value = Vec<u8>> {
    let text = |text: &'static str| Just(text.as_bytes().to_vec());
    let piece = prop_oneof![
        3 => "[a-c]{1,3}".prop_map(String::into_bytes),
        1 => prop_oneof![text("'"), text("\""), text("\\"), text("$HOME"), text("`id`"), text("$(id)"), text("!x"), text(";")],
        1 => prop_oneof![text("*"), text("?"), text("[a]"), text("{a,b}"), text("~"), text(" "), text("  "), text("#"), text("-rf")],
        1 => prop_oneof![text("%41"), text("%FF"), text("%"), text(":"), text("|"), text("NUL"), text("."), text(".txt"), text("&")],
        1 => prop_oneof![text("ä"), text("a\u{308}"), text("漢"), text("\u{2028}"), text("\u{feff}"), text("\u{200b}"), text("😀")],
        2 => prop_oneof![Just(vec![0xff]), Just(vec![0xe4]), Just(vec![0xc3]), Just(vec![0xe2, 0x80])],
        1 => text("~3fa9c2d41b07"),
    ];
    proptest::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

fn given() -> impl Strategy<Value = Vec<Given>> {
    let one = prop_oneof![
        4 => own().prop_map(Given::Own),
        1 => (0..8usize).prop_map(Given::AliasOf),
        1 => (0..8usize).prop_map(Given::AliasWithIdOf),
        1 => (0..8usize).prop_map(Given::UpperAliasOf),
        1 => (0..8usize).prop_map(Given::AliasOfAliasWithIdOf),
    ];
    proptest::collection::vec(one, 2..9)
}

/// The words that a shell makes of each line.
fn words(lines: &[String]) -> Vec<Vec<Vec<u8>>> {
    let script: String = lines.iter().map(|line| format!("printf '%s\\0' {line}; printf '\\0'\n")).collect();
    let said = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
    let mut all = vec![Vec::new()];
    for word in said.stdout.split(|byte| *byte == 0) {
        match word {
            [] => all.push(Vec::new()),
            word => all.last_mut().unwrap().push(word.to_vec()),
        }
    }
    all.truncate(lines.len());
    all
}

/// The only path that a pattern of OpenSSH's scp means: a backslash takes the meaning of what
/// follows, and nothing is left that has one.
fn meant_by(pattern: &[u8]) -> Vec<u8> {
    let mut path = Vec::new();
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => path.push(*bytes.next().expect("something behind a backslash")),
            b'*' | b'?' | b'[' | b'{' => panic!("a pattern: {}", String::from_utf8_lossy(pattern)),
            byte => path.push(*byte),
        }
    }
    path
}

async fn read(session: &ShareSession, path: &SharePath) -> Vec<u8> {
    let mut bytes = Vec::new();
    session.open_read(path).await.unwrap().read(0, 1000, &mut bytes).await.unwrap();
    bytes
}

/// The names, and ids, in the root of a share.
async fn entries_of(app: &App, share: crate::model::ShareId) -> Vec<(FileName, [u8; 16])> {
    let keys = app.0.access.repo.keys.share(share).await.unwrap();
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let page = crate::records::entries::children(&mut conn, DirectoryId::root_of(share), None, 1000).await.unwrap();
    let files = page.rows.into_iter().filter(|row| !row.is_directory);
    files.map(|row| (keys.names.open_name(row.id, row.name.as_ref().unwrap()).unwrap(), row.id)).collect()
}

async fn each_line_fetches_its_file(app: &App, reference: &str, all: &[Given]) -> Result<(), TestCaseError> {
    let session = customer(app, reference).await;
    let ticket = word(reference);
    let share = {
        let mut conn = app.0.access.repo.records.read().await.unwrap();
        crate::repo::tickets::existing_ticket(&mut conn, &ticket).await.unwrap().share
    };
    for given in all {
        let there = entries_of(app, share).await;
        let of = |which: &usize| there.get(which % there.len().max(1));
        let bytes = match given {
            Given::Own(bytes) => Some(bytes.clone()),
            Given::AliasOf(which) => of(which).map(|(name, _)| alias(name).as_bytes().to_vec()),
            Given::AliasWithIdOf(which) => of(which).map(|(name, id)| with_id(&alias(name), id).as_bytes().to_vec()),
            Given::UpperAliasOf(which) => {
                of(which).map(|(name, _)| alias(name).to_string().to_uppercase().into_bytes())
            }
            Given::AliasOfAliasWithIdOf(which) => {
                of(which).map(|(name, id)| alias(&with_id(&alias(name), id)).as_bytes().to_vec())
            }
        };
        // What is no name, or refused, is not there.
        let Some(name) = bytes.and_then(|bytes| FileName::new(&bytes).ok()) else { continue };
        let Ok(mut upload) = session.open_write(&SharePath::from_names(vec![name.clone()]), CREATE).await else {
            continue;
        };
        write(&mut upload, 0, name.as_bytes()).await;
        upload.close().await.unwrap();
    }

    let there = entries_of(app, share).await;
    let address = PublicAddress { host: "h".to_owned(), port: 2222 };
    let keys = app.0.access.repo.keys.share(share).await.unwrap();
    let (mut lines, mut locations) = (Vec::new(), Vec::new());
    for (_, id) in &there {
        let mut conn = app.0.access.repo.records.read().await.unwrap();
        let way = way_of(&mut conn, &keys, id).await.unwrap();
        drop(conn);
        lines.push(address.fetch_command(&word("anna"), &ticket, &typeable(&way)));
        locations.push(openable(&way));
    }
    let engineer = engineer(app).await;
    for (((line, words), location), (name, _)) in lines.iter().zip(words(&lines)).zip(locations).zip(&there) {
        prop_assert!(matches!(crate::model::sanitize::line(line), std::borrow::Cow::Borrowed(_)), "{:?}", line);
        prop_assert_eq!(words.len(), 5, "{}", line);
        prop_assert_eq!([&words[0][..], &words[1], &words[2], &words[4]], [&b"scp"[..], b"-P", b"2222", b"."]);
        let remote = words[3].strip_prefix(b"anna@h:").unwrap();
        let path = SharePath::parse(&meant_by(remote)).unwrap();
        prop_assert_eq!(read(&engineer, &path).await, name.as_bytes(), "{}", line);
        // A receipt says the same place.
        let file = SharePath::from_names(vec![name.clone()]);
        let receipt = app.access().receipt(&ticket, &file, &address).await.unwrap().receipt;
        prop_assert_eq!((receipt.path, receipt.location), (file.url_encoded(), address.location(&ticket, &location)));
        let place = SharePath::parse(&[b"/", reference.as_bytes(), &location.to_bytes()].concat()).unwrap();
        prop_assert_eq!(read(&engineer, &place).await, name.as_bytes(), "{}", place.url_encoded());
    }
    Ok(())
}

#[test]
fn r83_a_fetch_line_never_fetches_another_file_of_its_directory() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fixture = Fixture::new();
    let app = runtime.block_on(fixture.open());
    let number = std::cell::Cell::new(0u32);
    proptest!(ProptestConfig::with_cases(64), |(all in given())| {
        number.set(number.get() + 1);
        runtime.block_on(each_line_fetches_its_file(&app, &format!("XT-{}", number.get()), &all))?;
    });
    runtime.block_on(app.close());
}
