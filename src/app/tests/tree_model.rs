//! The tree of a share against a model: sessions that make, move and remove directories and files
//! at once, under names in two spellings and near the bounds of depth and length. Afterwards each
//! entry is reachable, and all lists work.

use std::collections::BTreeMap;

use tacdrop_simulated::Dice;
use unicode_normalization::UnicodeNormalization;

use super::*;

/// What stands at a path of folded names: none is a directory, else a file's content.
type Tree = BTreeMap<Vec<String>, Option<Vec<u8>>>;

const NAMES: [&str; 5] = ["a", "Bär", "z", "Öl", "long"];

fn folded(text: &str) -> String {
    text.nfc().collect()
}

/// A name in one of its spellings. One of them is so long that five make a path too long.
fn spelled(dice: &mut Dice) -> String {
    let name = NAMES[usize::try_from(dice.roll(NAMES.len() as u64)).unwrap()];
    match name {
        "long" => "x".repeat(210),
        name if dice.roll(2) == 0 => name.nfd().collect(),
        name => name.to_owned(),
    }
}

/// A path that exists, or one that may.
fn somewhere(tree: &Tree, dice: &mut Dice) -> Vec<String> {
    let mut names = match tree.len() as u64 {
        0 => Vec::new(),
        count => tree.keys().nth(usize::try_from(dice.roll(count)).unwrap()).cloned().unwrap(),
    };
    if names.is_empty() || dice.roll(2) == 0 {
        names.push(spelled(dice));
    }
    // The last name in another spelling means the same.
    if let Some(last) = names.last_mut() {
        *last = if dice.roll(2) == 0 { last.nfd().collect() } else { last.nfc().collect() };
    }
    names
}

fn text(names: &[String]) -> String {
    names.iter().map(|name| format!("/{name}")).collect()
}

fn key(names: &[String]) -> Vec<String> {
    names.iter().map(|name| folded(name)).collect()
}

/// How many levels lie below a place. The model does not know how a name was last spelled, so how
/// long a path is in bytes is left to the server: a step that fits otherwise may be refused as too
/// long, and as nothing else.
fn deepest_below(tree: &Tree, at: &[String]) -> usize {
    tree.keys().filter(|path| path.starts_with(at)).map(|path| path.len() - at.len()).max().unwrap_or(0)
}

fn is_directory(tree: &Tree, at: &[String]) -> bool {
    at.is_empty() || matches!(tree.get(at), Some(None))
}

/// One step of one session, and what the model says to it.
async fn step(session: &ShareSession, tree: &mut Tree, dice: &mut Dice) {
    let (from, to) = (somewhere(tree, dice), somewhere(tree, dice));
    let (source, target) = (key(&from), key(&to));
    let parent_is_there = |tree: &Tree, at: &[String]| is_directory(tree, &at[..at.len() - 1]);
    match dice.roll(8) {
        0..=2 => {
            let fits = source.len() <= 32 && parent_is_there(tree, &source) && !tree.contains_key(&source);
            let done = session.make_directory(&path(&text(&from))).await;
            assert!(done.is_err() || fits, "made {from:?}");
            if done.is_ok() {
                tree.insert(source, None);
            } else if fits {
                assert_eq!(done, Err(Refusal::PathTooLong), "{from:?}");
            }
        }
        3 => {
            let bytes = vec![u8::try_from(dice.roll(256)).unwrap(); 10];
            let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
            let fits = parent_is_there(tree, &source) && !is_directory(tree, &source);
            match session.open_write(&path(&text(&from)), mode).await {
                Ok(mut upload) => {
                    assert!(fits, "put {from:?}");
                    write(&mut upload, 0, &bytes).await;
                    upload.close().await.unwrap();
                    tree.insert(source, Some(bytes));
                }
                Err(refusal) => assert!(!fits || refusal == Refusal::PathTooLong, "{from:?}: {refusal}"),
            }
        }
        4..=5 => {
            let replace = dice.roll(2) == 0;
            let exists = tree.contains_key(&source);
            let into_itself = target.len() > source.len() && target.starts_with(&source);
            let is_over = target != source && tree.contains_key(&target);
            let both_files = matches!((tree.get(&source), tree.get(&target)), (Some(Some(_)), Some(Some(_))));
            let fits = exists
                && !into_itself
                && parent_is_there(tree, &target)
                && (!is_over || replace && both_files)
                && (target.len() <= source.len() || target.len() + deepest_below(tree, &source) <= 32);
            let done = session.rename(&path(&text(&from)), &path(&text(&to)), replace).await;
            assert!(done.is_err() || fits, "moved {from:?} to {to:?}");
            if done.is_ok() {
                let moved: Vec<_> = tree.keys().filter(|path| path.starts_with(&source)).cloned().collect();
                for old in moved {
                    let what = tree.remove(&old).unwrap();
                    tree.insert([&target[..], &old[source.len()..]].concat(), what);
                }
            } else if fits {
                assert_eq!(done, Err(Refusal::PathTooLong), "{from:?} to {to:?}");
            }
        }
        6 => {
            let done = session.remove_file(&path(&text(&from))).await;
            assert_eq!(done.is_ok(), matches!(tree.get(&source), Some(Some(_))), "removed {from:?}: {done:?}");
            if done.is_ok() {
                tree.remove(&source);
            }
        }
        _ => {
            let is_empty = is_directory(tree, &source) && deepest_below(tree, &source) == 0;
            let done = session.remove_directory(&path(&text(&from))).await;
            assert_eq!(done.is_ok(), is_empty, "removed directory {from:?}: {done:?}");
            if done.is_ok() {
                tree.remove(&source);
            }
        }
    }
}

/// Walks everything down from the root as a client does.
async fn walk(session: &ShareSession) -> Tree {
    let mut tree = Tree::new();
    let mut directories = vec![Vec::new()];
    while let Some(at) = directories.pop() {
        let mut listing = session.list(&path(&format!("/{}", at.join("/")))).await.unwrap();
        loop {
            let lines = listing.next(50).await.unwrap();
            if lines.is_empty() {
                break;
            }
            for line in lines {
                let names = [&at[..], &[line.name.to_string()]].concat();
                if line.attributes.kind == PlaceKind::Directory {
                    directories.push(names.clone());
                    tree.insert(key(&names), None);
                } else {
                    tree.insert(key(&names), Some(get(session, &text(&names)).await.unwrap()));
                }
            }
        }
    }
    tree
}

async fn agrees(app: &App, session: &ShareSession, tree: &Tree) {
    assert_eq!(&walk(session).await, tree);
    let files = tree.values().filter(|what| what.is_some()).count();
    assert_eq!(app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap().len(), files);
    app.retention().versions(&word("XT-1"), &PublicAddress::unknown()).await.unwrap();
    assert!(tree.keys().all(|path| path.len() <= 32));
    finds_nothing(app).await;
}

/// The check of the store finds nothing wrong.
async fn finds_nothing(app: &App) {
    let mut found = Vec::new();
    app.integrity().check(None, false, |_| {}, |finding| found.push(finding.clone())).await.unwrap();
    assert!(found.is_empty(), "{found:?}");
}

fn steps(default: u64) -> u64 {
    std::env::var("TACDROP_TEST_COUNT").map_or(default, |count| count.parse().unwrap())
}

/// Steps in one tree: what is removed stays for its grace, and each look at the tree looks at that,
/// too.
const TREE: u64 = 1500;

/// `TACDROP_TEST_COUNT` says how many steps (1,500), in whole trees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r27_r54_r74_a_tree_that_is_moved_about_agrees_with_a_model() {
    for seed in 0..steps(TREE).div_ceil(TREE) {
        move_about(seed).await;
    }
}

async fn move_about(seed: u64) {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let one = customer(&app, "XT-1").await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    drop(one);
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let login = app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap();
        sessions.push(app.session(&login));
    }
    let (mut tree, mut dice) = (Tree::new(), Dice::new(13 + seed));
    for number in 1..=TREE {
        let session = &sessions[usize::try_from(dice.roll(3)).unwrap()];
        step(session, &mut tree, &mut dice).await;
        if number % 100 == 0 {
            agrees(&app, session, &tree).await;
        }
    }
    agrees(&app, &sessions[0], &tree).await;
}

/// One session's steps beside those of others: nothing that it does takes a name away. Gives the
/// names that it made.
async fn only_adds(session: ShareSession, mut dice: Dice, mut known: Tree) -> (usize, usize) {
    let (mut directories, mut files) = (0, 0);
    for _ in 0..30 {
        let (from, to) = (somewhere(&known, &mut dice), somewhere(&known, &mut dice));
        match dice.roll(4) {
            0 => {
                if session.make_directory(&path(&text(&from))).await.is_ok() {
                    directories += 1;
                    known.insert(key(&from), None);
                }
            }
            1 => {
                let mode = WriteMode { create: true, exclusive: true, ..WriteMode::default() };
                if let Ok(mut upload) = session.open_write(&path(&text(&from)), mode).await {
                    let written = upload.begin_write(0, 1).await.is_ok() && upload.write(b"x").await.is_ok();
                    files += usize::from(upload.close().await.is_ok() && written);
                }
            }
            _ => drop(session.rename(&path(&text(&from)), &path(&text(&to)), false).await),
        }
    }
    (directories, files)
}

/// Three sessions make and move at the same time. Whatever comes first: all that was made is there,
/// once, and can be reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r27_r74_what_sessions_make_and_move_at_once_stays_reachable() {
    // The tree only grows, so each has its own.
    for tree in 0..steps(TREE).div_ceil(TREE) {
        make_and_move_at_once(tree).await;
    }
}

async fn make_and_move_at_once(seed: u64) {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let (mut directories, mut files) = (0, 0);
    for round in seed * 10..seed * 10 + 10 {
        let known = walk(&session).await;
        let writers = (0..3).map(|writer| {
            let login = session.login().clone();
            tokio::spawn(only_adds(app.session(&login), Dice::new(round * 3 + writer), known.clone()))
        });
        for writer in writers.collect::<Vec<_>>() {
            let made = writer.await.unwrap();
            directories += made.0;
            files += made.1;
        }
        let tree = walk(&session).await;
        let is_file = |what: &&Option<Vec<u8>>| what.is_some();
        assert_eq!(tree.values().filter(is_file).count(), files, "round {round}");
        assert_eq!(tree.len(), directories + files, "round {round}");
        finds_nothing(&app).await;
    }
}

/// Sessions move directories into each other at the same time: one of them is refused, and nothing
/// gets lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r27_r74_directories_that_are_moved_into_each_other_at_once_stay_reachable() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    for round in 0..60 {
        let (a, b) = (format!("/a{round}"), format!("/b{round}"));
        for directory in [&a, &b] {
            session.make_directory(&path(directory)).await.unwrap();
        }
        let moves = [(a.clone(), format!("{b}{a}")), (b.clone(), format!("{a}{b}"))];
        let moving = moves.map(|(from, to)| {
            let session = session.clone();
            tokio::spawn(async move { session.rename(&path(&from), &path(&to), false).await })
        });
        let mut moved = 0;
        for one in moving {
            moved += usize::from(one.await.unwrap().is_ok());
        }
        assert_eq!(moved, 1, "round {round}");
        let tree = walk(&session).await;
        assert_eq!(tree.len(), 2 * (round + 1), "round {round}: {tree:?}");
    }
}
