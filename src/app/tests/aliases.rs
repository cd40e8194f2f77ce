//! What engineers are shown of names that Windows cannot hold, and that customers are shown their
//! own.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model::Algorithm;
use tacdrop_probe::execute;

const CREATE: WriteMode = WriteMode { create: true, exclusive: false, truncate: true, append: false, read: false };

fn raw(bytes: &[u8]) -> SharePath {
    SharePath::parse(bytes).unwrap()
}

async fn put_raw(session: &ShareSession, name: &[u8], bytes: &[u8]) {
    let mut upload = session.open_write(&raw(name), CREATE).await.unwrap();
    write(&mut upload, 0, bytes).await;
    upload.close().await.unwrap();
}

async fn get_raw(session: &ShareSession, name: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    session.open_read(&raw(name)).await?.read(0, 200_000, &mut bytes).await?;
    Ok(bytes)
}

/// The names of a listing in pages of `page`, none twice.
async fn names(session: &ShareSession, directory: &[u8], page: usize) -> BTreeSet<Vec<u8>> {
    let mut listing = session.list(&raw(directory)).await.unwrap();
    let mut names = BTreeSet::new();
    loop {
        let lines = listing.next(page).await.unwrap();
        if lines.is_empty() {
            return names;
        }
        for line in lines {
            assert!(names.insert(line.name.as_bytes().to_vec()), "{} is listed twice", line.name);
        }
    }
}

/// What an engineer finds behind each name that is shown: the content, which tells the file.
async fn shown(session: &ShareSession, directory: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for name in names(session, directory.as_bytes(), 2).await {
        let path = [directory.as_bytes(), b"/", &name].concat();
        if session.attributes(&raw(&path)).await.unwrap().kind == PlaceKind::File {
            let content = get_raw(session, &path).await.unwrap();
            found.insert(String::from_utf8(name).unwrap(), String::from_utf8(content).unwrap());
        }
    }
    found
}

/// The name with the digits of an id in it replaced by `ID`.
fn without_id(name: &str) -> String {
    match name.find('~') {
        Some(at) => format!("{}~ID{}", &name[..at], &name[at + 13..]),
        None => name.to_owned(),
    }
}

fn pairs(of: &BTreeMap<String, String>) -> Vec<(String, &str)> {
    let mut pairs: Vec<_> = of.iter().map(|(name, content)| (without_id(name), content.as_str())).collect();
    pairs.sort();
    pairs
}

fn expected<'a>(pairs: &[(&str, &'a str)]) -> Vec<(String, &'a str)> {
    let mut pairs: Vec<_> = pairs.iter().map(|(name, content)| ((*name).to_owned(), *content)).collect();
    pairs.sort();
    pairs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r54_engineers_are_shown_names_that_windows_can_hold_and_customers_their_own() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let support = engineer(&app).await;
    let files: &[(&[u8], &str)] = &[
        (b"plain.txt", "plain.txt"),
        (b"a:b", "a%3Ab"),
        (b"NUL.txt", "%4EUL.txt"),
        (b"x.", "x%2E"),
        (b"a\xff", "a%FF"),
        (b"a\xfe", "a%FE"),
        (b"a\\b", "a%5Cb"),
        (" Grö\u{df}e?".as_bytes(), " Grö\u{df}e%3F"),
    ];
    for (name, _) in files {
        put_raw(&session, name, name.escape_ascii().to_string().as_bytes()).await;
    }
    // An alias can stand at any level.
    for directory in [&b"con"[..], b"con/what?", b"con/what?/y "] {
        session.make_directory(&raw(directory)).await.unwrap();
    }
    put_raw(&session, b"con/what?/y /z|", b"deep").await;

    let own: BTreeSet<Vec<u8>> = files.iter().map(|(name, _)| name.to_vec()).chain([b"con".to_vec()]).collect();
    assert_eq!(names(&session, b"/", 3).await, own);
    assert_eq!(session.attributes(&raw(b"a%3Ab")).await, Err(Refusal::NoSuchFile), "customers have no aliases");
    let aliases: BTreeSet<_> =
        files.iter().map(|(_, alias)| *alias).chain(["%63on", "from-support"]).map(|a| a.as_bytes().to_vec()).collect();
    for page in [1, 3, 100] {
        assert_eq!(names(&support, b"/XT-1", page).await, aliases);
    }
    for (name, alias) in files {
        let content = name.escape_ascii().to_string().into_bytes();
        for asked in [*name, alias.as_bytes()] {
            let path = [b"/XT-1/", asked].concat();
            assert_eq!(get_raw(&support, &path).await.unwrap(), content);
            assert_eq!(support.attributes(&raw(&path)).await.unwrap().size, content.len() as u64);
        }
    }
    for deep in ["/XT-1/%63on/what%3F/y%20/z%7C", "/XT-1/con/what%3F/y /z%7C", "/XT-1/con/what?/y /z|"] {
        assert_eq!(get_raw(&support, deep.as_bytes()).await.unwrap(), b"deep", "{deep}");
    }
    assert_eq!(names(&support, b"/XT-1/%63on/what%3F", 9).await, BTreeSet::from([b"y%20".to_vec()]));
    // Not shown like that, so not found like that.
    for asked in ["/XT-1/a%3ab", "/XT-1/A%3AB", "/XT-1/PLAIN.TXT", "/XT-1/a%3Ab~000000000000", "/XT-1/%61:b"] {
        assert_eq!(support.attributes(&path(asked)).await, Err(Refusal::NoSuchFile), "{asked}");
    }
    // The virtual places show the same.
    assert!(names(&support, b"/XT-1/.versions", 2).await.contains(&b"a%3Ab"[..]));
    assert_eq!(get_raw(&support, b"/XT-1/.versions/%63on/what%3F/y%20/z%7C/1").await.unwrap(), b"deep");
    let receipts = names(&support, b"/XT-1/.receipts", 2).await;
    assert!(receipts.contains(&b"a%FF.receipt"[..]) && receipts.contains(&b"%4EUL.txt.sha256"[..]));
    let receipt =
        String::from_utf8(get_raw(&support, b"/XT-1/.receipts/%63on/what%3F/y%20/z%7C.receipt").await.unwrap());
    assert!(
        receipt.unwrap().contains("Path: con/what%3F/y%20/z%7C\n"),
        "the path is the customer's, encoded for a URL"
    );
    assert!(names(&session, b"/.receipts", 2).await.contains(&b"a\xff.receipt"[..]));
    // What engineers hand back is theirs: nothing is shown otherwise.
    put_raw(&support, b"/XT-1/from-support/fix:1", b"fix").await;
    assert_eq!(names(&support, b"/XT-1/from-support", 9).await, BTreeSet::from([b"fix:1".to_vec()]));
    assert_eq!(support.attributes(&path("/XT-1/from-support/fix%3A1")).await, Err(Refusal::NoSuchFile));
    assert_eq!(names(&session, b"/from-support", 9).await, BTreeSet::from([b"fix:1".to_vec()]));
    // An alias is no way around a rule.
    assert_eq!(support.remove_file(&path("/XT-1/a%3Ab")).await, Err(Refusal::CustomerOnly));
    assert!(app.integrity().check(None, true, |_| (), |_| ()).await.unwrap().problems == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r54_of_names_with_one_alias_one_has_it_and_it_keeps_it() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let support = engineer(&app).await;
    for name in ["show.txt", "SHOW.txt", "Show.TXT", "a:b", "x?", "X?"] {
        put(&session, name, name.as_bytes()).await;
    }
    let first = expected(&[
        ("show.txt", "show.txt"),
        ("SHOW~ID.txt", "SHOW.txt"),
        ("Show~ID.TXT", "Show.TXT"),
        ("a%3Ab", "a:b"),
        ("x%3F", "x?"),
        ("X%3F~ID", "X?"),
    ]);
    let before = shown(&support, "/XT-1").await;
    assert_eq!(pairs(&before), first);
    // Many more come; who had an alias has it.
    for number in 0..30 {
        put(&session, &format!("more-{number}"), b"more").await;
    }
    let mut after = shown(&support, "/XT-1").await;
    after.retain(|_, content| content != "more");
    assert_eq!(after, before);
    // Each can still be asked for by its own name.
    for name in ["show.txt", "SHOW.txt", "Show.TXT", "a:b", "x?", "X?"] {
        assert_eq!(get(&support, &format!("/XT-1/{name}")).await.unwrap(), name.as_bytes());
    }
    // A name that is its own alias goes before one that is encoded so.
    put(&session, "a%3Ab", b"a%3Ab").await;
    let now = shown(&support, "/XT-1").await;
    assert_eq!(now["a%3Ab"], "a%3Ab");
    assert_eq!(
        now.iter().filter(|(name, _)| without_id(name) == "a%3Ab~ID").map(|(_, c)| c).collect::<Vec<_>>(),
        ["a:b"]
    );
    // Keys are replaced: all is shown as before.
    app.rotation().rotate_share(&word("XT-1"), |_, _| ()).await.unwrap();
    assert_eq!(shown(&support, "/XT-1").await, now);
    // The one that has it goes: the next in line gets it, and what was shown before still leads
    // there.
    let with_id = now.iter().find(|(_, content)| *content == "SHOW.txt").unwrap().0.clone();
    session.remove_file(&path("show.txt")).await.unwrap();
    let then = shown(&support, "/XT-1").await;
    assert_eq!(then["SHOW.txt"], "SHOW.txt");
    assert_eq!(get(&support, &format!("/XT-1/{with_id}")).await.unwrap(), b"SHOW.txt");
    assert_eq!(support.attributes(&path("/XT-1/show.txt")).await, Err(Refusal::NoSuchFile));
    // Renamed within its kind, and brought back.
    session.rename(&path("SHOW.txt"), &path("shoW.txt"), false).await.unwrap();
    assert_eq!(shown(&support, "/XT-1").await["Show.TXT"], "Show.TXT");
    app.retention().restore(&word("XT-1"), &path("show.txt")).await.unwrap();
    let last = shown(&support, "/XT-1").await;
    assert_eq!(pairs(&last).iter().filter(|(name, _)| name.to_lowercase().starts_with("show")).count(), 3);
    assert_eq!(last["Show.TXT"], "Show.TXT");
    all_intact(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r54_an_alias_with_an_id_leads_where_it_led_whatever_is_uploaded() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let support = engineer(&app).await;
    session.make_directory(&path("d")).await.unwrap();
    put(&session, "d/Show.txt", b"Show.txt").await;
    put(&session, "d/show.txt", b"show.txt").await;
    let before = shown(&support, "/XT-1/d").await;
    let alias = before.iter().find(|(_, content)| *content == "show.txt").unwrap().0.clone();
    assert_eq!(without_id(&alias), "show~ID.txt");
    // Another file whose own name is what was shown, and one whose name only has the form.
    let (namesake, stranger) = (format!("d/{alias}"), "d/show~000000000000.txt");
    put(&session, &namesake, b"namesake").await;
    put(&session, stranger, b"stranger").await;
    let after = shown(&support, "/XT-1/d").await;
    let mut expected = before.clone();
    expected.insert(alias.replace('~', "%7E"), "namesake".to_owned());
    expected.insert("show%7E000000000000.txt".to_owned(), "stranger".to_owned());
    assert_eq!(after, expected);
    let digest = async |path: &str| support.digest(&raw(path.as_bytes()), Algorithm::Sha256).await.unwrap().bytes;
    for (name, content) in &after {
        let size = support.attributes(&path(&format!("/XT-1/d/{name}"))).await.unwrap().size;
        assert_eq!(size, content.len() as u64, "{name}");
        let version = format!("/XT-1/.versions/d/{name}/1");
        assert_eq!(get(&support, &version).await.unwrap(), content.as_bytes(), "{name}");
        for asked in [format!("/XT-1/d/{name}"), version] {
            assert_eq!(digest(&asked).await, digest_of_bytes(Algorithm::Sha256, content.as_bytes()), "{asked}");
        }
        let line = get(&support, &format!("/XT-1/.receipts/d/{name}.sha256")).await.unwrap();
        let digits = hex::encode(digest_of_bytes(Algorithm::Sha256, content.as_bytes()));
        assert!(line.starts_with(digits.as_bytes()), "{name}");
    }
    // Who has a name of this form that was never shown as anything else can still say it; customers
    // say what they mean.
    assert_eq!(get(&support, &format!("/XT-1/{stranger}")).await.unwrap(), b"stranger");
    assert_eq!(get(&session, &namesake).await.unwrap(), b"namesake");
    // What the alias meant is gone: the name is free for its own.
    session.remove_file(&path("d/show.txt")).await.unwrap();
    assert_eq!(get(&support, &format!("/XT-1/{namesake}")).await.unwrap(), b"namesake");
    // What engineers hand back has no aliases.
    put(&support, &format!("/XT-1/from-support/{alias}"), b"fix").await;
    assert_eq!(get(&support, &format!("/XT-1/from-support/{alias}")).await.unwrap(), b"fix");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r54_rows_from_before_there_were_aliases_get_theirs_at_the_next_start() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    for name in ["a:b", "show", "SHOW"] {
        put(&session, name, name.as_bytes()).await;
    }
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    execute(tx.conn(), "UPDATE entry SET alias_index = NULL, alias_rank = 0").await.unwrap();
    tx.commit().await.unwrap();
    app.close().await;
    drop((session, app));
    let app = fixture.open().await;
    let support = engineer(&app).await;
    let found = shown(&support, "/XT-1").await;
    assert_eq!(found["a%3Ab"], "a:b");
    assert_eq!(found.len(), 3);
    assert_eq!(found.keys().filter(|name| name.contains('~')).count(), 1, "{found:?}");
    assert!(app.integrity().check(None, true, |_| (), |_| ()).await.unwrap().problems == 0);
    // Nothing is left to do, and a wrong one is told.
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    assert_eq!(
        execute(tx.conn(), "UPDATE entry SET mode = mode WHERE alias_index IS NULL").await.unwrap(),
        1,
        "the root"
    );
    execute(tx.conn(), "UPDATE entry SET alias_index = zeroblob(32) WHERE alias_rank > 1000").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(app.integrity().check(None, true, |_| (), |_| ()).await.unwrap().problems, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r50_what_is_uploaded_while_a_directory_is_read_is_listed_once_at_most() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let support = engineer(&app).await;
    for number in 0..40 {
        put(&session, &format!("f{number:02}"), b"f").await;
    }
    // A new version that has no row yet, of a file that has one.
    let version = session.open_write(&path("f07"), CREATE).await.unwrap();
    // New files without a row; one needs an alias, two are twins.
    let mut new = Vec::new();
    for name in ["new", "new:1", "twin", "TWIN"] {
        let mut upload = session.open_write(&path(name), CREATE).await.unwrap();
        write(&mut upload, 0, b"n").await;
        new.push(upload);
    }
    for reader in [&session, &support] {
        let directory = if reader.is_engineer() { "/XT-1" } else { "/" };
        let mut listing = reader.list(&path(directory)).await.unwrap();
        let mut seen: Vec<String> = listing.next(3).await.unwrap().iter().map(|line| line.name.to_string()).collect();
        // All of them get their rows while the directory is read.
        for upload in &mut new {
            upload.sync().await.unwrap();
        }
        loop {
            let page = listing.next(3).await.unwrap();
            if page.is_empty() {
                break;
            }
            seen.extend(page.iter().map(|line| line.name.to_string()));
        }
        let distinct: BTreeSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "{seen:?}");
        for number in 0..40 {
            assert!(seen.contains(&format!("f{number:02}")), "f{number:02} is missing");
        }
        assert!(seen.contains(&"new".to_owned()));
    }
    let all = names(&support, b"/XT-1", 5).await;
    assert!(all.contains(&b"new%3A1"[..]), "{all:?}");
    drop(version);
}
