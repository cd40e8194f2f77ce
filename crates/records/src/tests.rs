//! What records and keyring make of the database below them.

use std::any::Any;
use std::fs;
use std::path::{Path, PathBuf};

use sqlx::AssertSqlSafe;
use tacdrop_database::order::Rank;
use tacdrop_model::ShareId;

use crate::{Keyring, Records};

/// The sources of this crate.
pub(crate) fn sources() -> Vec<(PathBuf, String)> {
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for file in fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()) {
            if file.is_dir() {
                directories.push(file);
            } else {
                let text = fs::read_to_string(&file).unwrap();
                sources.push((file, text));
            }
        }
    }
    sources
}

/// The value of a parameter that stands alone behind LIMIT is part of SQLite's plan: the
/// statement would be prepared anew for each other value, which costs a tenth of a page.
#[test]
fn no_parameter_stands_alone_behind_limit() {
    let mut found = 0;
    for (file, text) in sources() {
        for (_, rest) in text.match_indices("LIMIT $").map(|(at, it)| text.split_at(at + it.len())) {
            let behind = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            assert!(behind.len() == rest.len() || behind.starts_with(" + 0"), "{}: {}", file.display(), &rest[..20]);
            found += usize::from(behind.len() < rest.len());
        }
    }
    assert!(found > 20, "{found}");
}

/// What a task may ask the two databases for, and what its order says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Reader,
    Turn,
    Generation,
    Keys,
    KeyringsTurn,
}

impl Asked {
    const ALL: [(Self, Rank); 5] = [
        (Self::Reader, Rank::Records),
        (Self::Turn, Rank::Records),
        (Self::Generation, Rank::Aside),
        (Self::Keys, Rank::Keyring),
        (Self::KeyringsTurn, Rank::Keyring),
    ];

    /// What is held from then on, if anything is.
    async fn of(self, records: &Records, keyring: &Keyring) -> Option<Box<dyn Any + Send>> {
        match self {
            Self::Reader => Some(Box::new(records.read().await.unwrap())),
            Self::Turn => Some(Box::new(records.begin().await.unwrap())),
            Self::Generation => records.key_generation(ShareId::from_bytes([1; 16])).await.map(|_| None).unwrap(),
            Self::Keys => keyring.keks().await.map(|_| None).unwrap(),
            Self::KeyringsTurn => Some(Box::new(keyring.begin().await.unwrap())),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_connection_knows_where_it_stands() {
    if !cfg!(debug_assertions) {
        // Some of these would wait for themselves until the time-out.
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let records = Records::open(&directory.path().join("r.sqlite")).await.unwrap();
    let keyring = Keyring::open(&directory.path().join("k.sqlite")).await.unwrap();
    for (first, first_rank) in Asked::ALL {
        for (second, second_rank) in Asked::ALL {
            let (records, keyring) = (records.clone(), keyring.clone());
            let task = tokio::spawn(async move {
                let _held = first.of(&records, &keyring).await;
                second.of(&records, &keyring).await;
            });
            let is_right = matches!(first, Asked::Generation | Asked::Keys) || first_rank < second_rank;
            assert_eq!(task.await.is_ok(), is_right, "{second:?} while {first:?} is held");
        }
    }
    records.close().await;
    keyring.close().await;
}

#[tokio::test]
async fn what_no_migration_made_is_named_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let records = Records::open(&directory.path().join("r.sqlite")).await.unwrap();
    let keyring = Keyring::open(&directory.path().join("k.sqlite")).await.unwrap();
    assert_eq!(records.strangers().await.unwrap(), Vec::<String>::new());
    assert_eq!(keyring.strangers().await.unwrap(), Vec::<String>::new());
    let put_in = [
        "CREATE TRIGGER grant AFTER INSERT ON ticket BEGIN DELETE FROM ticket; END",
        "CREATE VIEW everybody AS SELECT * FROM engineer",
        "CREATE TABLE sqlitelike (a)",
        "CREATE INDEX more ON engineer (name)",
        "DROP INDEX ticket_of_engineer",
        "CREATE INDEX ticket_of_engineer ON ticket (engineer, reference) WHERE engineer <> 'anna'",
    ];
    for statement in put_in {
        let mut tx = records.begin().await.unwrap();
        sqlx::query(AssertSqlSafe(statement)).execute(tx.conn()).await.unwrap();
        tx.commit().await.unwrap();
    }
    let named = [
        "index more on engineer",
        "index ticket_of_engineer on ticket, changed",
        "table sqlitelike",
        "trigger grant on ticket",
        "view everybody",
    ];
    assert_eq!(records.strangers().await.unwrap(), named);
    let mut tx = keyring.begin().await.unwrap();
    let statement = "CREATE TRIGGER keep BEFORE DELETE ON share_key BEGIN SELECT RAISE(IGNORE); END";
    sqlx::query(statement).execute(tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(keyring.strangers().await.unwrap(), ["trigger keep on share_key"]);
}
