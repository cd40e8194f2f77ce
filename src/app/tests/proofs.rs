//! Rows that decide who may do what, and where content goes, say what tacdrop wrote or are refused:
//! whoever writes the records without the keys changes nothing unnoticed.

use std::collections::BTreeSet;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqliteConnection};

use super::*;
use crate::model::Time;
use crate::notices::resend::NewAddress;
use crate::records::proofs::LABELS;
use crate::vault::Level;

/// What a column of a covered table is to the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    /// It says which row it is: with another name it is another row.
    Name,
    /// The proof covers it; the SQL text is another value that it could have.
    Proved(&'static str),
    /// It decides no right, and nothing about where content goes.
    Free,
    /// The same, of a day.
    Day,
    /// A part of what the proof covers as a whole: another test changes it.
    Part,
    /// The proof itself.
    Proof,
}

/// Every column of every table whose rows carry proofs: who adds one decides here what it is.
const COLUMNS: &[(&str, &[(&str, Column)])] = &[
    (
        "organisation",
        &[
            ("id", Column::Name),
            ("name", Column::Free),
            ("contract", Column::Free),
            ("level", Column::Free),
            ("valid_until", Column::Proved("'2999-12-31'")),
            ("disabled_at", Column::Proved("7")),
            ("created_at", Column::Free),
            ("proof", Column::Proof),
        ],
    ),
    (
        "ticket",
        &[
            ("reference", Column::Name),
            ("share_id", Column::Proved("randomblob(16)")),
            ("organisation", Column::Proved("'OTHER'")),
            ("engineer", Column::Proved("'bert'")),
            ("title", Column::Free),
            // What makes another login name is not shown.
            ("shown", Column::Free),
            ("newest_at", Column::Free),
            ("priority", Column::Free),
            ("language", Column::Proved("'en'")),
            ("status", Column::Proved("'closed'")),
            ("token_hash", Column::Proved("randomblob(32)")),
            ("token_generation", Column::Proved("9")),
            ("opened_at", Column::Free),
            ("closed_at", Column::Proved("7")),
            // Kept with every upload, under limits only.
            ("stored_bytes", Column::Free),
            ("names", Column::Free),
            ("key_generation", Column::Proved("2")),
            ("device", Column::Proved("1")),
            ("kind", Column::Proved("'rma'")),
            ("serial", Column::Free),
            ("deadline", Column::Day),
            ("proof", Column::Proof),
        ],
    ),
    (
        "ticket_token",
        &[
            ("id", Column::Name),
            ("ticket", Column::Proved("'XT-2'")),
            ("label", Column::Free),
            ("kind", Column::Proved("'device'")),
            ("main", Column::Proved("0")),
            ("verifier", Column::Proved("randomblob(32)")),
            ("created_at", Column::Free),
            ("valid_until", Column::Proved("9000000000000")),
            ("renews", Column::Proved("0")),
            ("ended_at", Column::Proved("7")),
            ("last_used_at", Column::Free),
            ("last_used_from", Column::Free),
            ("proof", Column::Proof),
        ],
    ),
    (
        "engineer",
        &[
            ("id", Column::Name),
            ("name", Column::Free),
            ("email", Column::Proved("'thief@example.net'")),
            ("language", Column::Proved("'en'")),
            ("created_at", Column::Free),
            ("disabled_at", Column::Proved("7")),
            ("role", Column::Proved("'lead'")),
            // One without the others cannot be read, and is refused by that.
            ("away_from", Column::Part),
            ("away_to", Column::Part),
            ("deputy", Column::Part),
            ("proof", Column::Proof),
        ],
    ),
    (
        "engineer_key",
        &[
            ("engineer", Column::Name),
            ("fingerprint", Column::Proved("'SHA256:other'")),
            ("algorithm", Column::Proved("'ssh-rsa'")),
            ("added_at", Column::Free),
            ("proof", Column::Proof),
        ],
    ),
];

/// Another program with the database, and without the keys.
pub(super) async fn outsider(fixture: &Fixture) -> SqliteConnection {
    let file = DataDirectory::at(fixture.directory.path().join("data")).records();
    let options =
        SqliteConnectOptions::new().filename(file).foreign_keys(false).pragma("ignore_check_constraints", "ON");
    options.busy_timeout(Duration::from_secs(20)).connect().await.unwrap()
}

pub(super) async fn sql(conn: &mut SqliteConnection, text: &str) -> u64 {
    sqlx::query(AssertSqlSafe(text)).execute(conn).await.unwrap().rows_affected()
}

async fn names_of_columns(conn: &mut SqliteConnection, table: &str) -> Vec<String> {
    let text = format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid");
    let rows = sqlx::query(AssertSqlSafe(text.as_str())).fetch_all(conn).await.unwrap();
    rows.iter().map(|row| row.get("name")).collect()
}

/// Two engineers, and a ticket of Anna's; gives its token.
pub(super) async fn desk(app: &App) -> zeroize::Zeroizing<String> {
    customer(app, "XT-1").await;
    let key = ("SHA256:bert".to_owned(), "ssh-ed25519".to_owned());
    app.tickets().add_engineer(word("bert"), None, "bert@example.net".to_owned(), None, vec![key]).await.unwrap();
    app.tickets().new_token(&word("XT-1")).await.unwrap()
}

pub(super) async fn may_come_in(app: &App, token: &str) -> (bool, bool) {
    let customer = app.logins().by_token("XT-1", token, FROM).await.unwrap();
    let engineer = app.logins().by_key("anna", "SHA256:test", FROM).await.unwrap();
    let known = app.logins().is_known_key("anna", "SHA256:test", FROM).await.unwrap();
    assert_eq!(known, engineer.is_some());
    (customer.is_some(), engineer.is_some())
}

async fn count_refused(app: &App) -> usize {
    app.0.access.trail.flush(Duration::ZERO).await.unwrap();
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let text = "SELECT COUNT(*) FROM audit_event WHERE kind = 'row.refused'";
    sqlx::query_scalar::<_, i64>(text).fetch_one(&mut *conn).await.unwrap() as usize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_column_of_a_row_with_a_proof_is_proved_or_decides_nothing() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let token = desk(&app).await;
    let mut conn = outsider(&fixture).await;
    // The others: `contacts.rs`, and the tests of notices and of the end of tickets.
    let covered: Vec<_> = LABELS.iter().map(|(_, table)| *table).take(COLUMNS.len()).collect();
    assert_eq!(COLUMNS.iter().map(|(table, _)| *table).collect::<Vec<_>>(), covered);
    let mut changed = 0;
    for (table, columns) in COLUMNS {
        let there: BTreeSet<_> = names_of_columns(&mut conn, table).await.into_iter().collect();
        let decided: BTreeSet<_> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(there, decided, "{table}: what is a new column to the house?");
        let row = match *table {
            "organisation" => "id = 'ACME'",
            "ticket" => "reference = 'XT-1'",
            "ticket_token" => {
                "ticket IN ('XT-1', 'XT-2') AND ended_at IS NULL AND main = 1 OR ended_at = 7 OR main = 0"
            }
            "engineer" => "id = 'anna'",
            _ => "engineer = 'anna'",
        };
        for (column, what) in *columns {
            let (others, holds): (&[&str], bool) = match what {
                Column::Name | Column::Part => continue,
                Column::Proved(other) => (&[other], false),
                Column::Free => (&["7"], true),
                Column::Day => (&["'2999-12-31'"], true),
                Column::Proof => (&["NULL", "zeroblob(32)", "randomblob(32)", "x''", "'text'"], false),
            };
            for other in others {
                sql(&mut conn, &format!("CREATE TEMP TABLE kept AS SELECT * FROM {table} WHERE {row}")).await;
                if *column == "priority" {
                    sql(&mut conn, &format!("UPDATE {table} SET priority = 1 WHERE {row}")).await;
                } else {
                    sql(&mut conn, &format!("UPDATE {table} SET {column} = {other} WHERE {row}")).await;
                }
                let (customer, engineer) = may_come_in(&app, &token).await;
                let is_of_ticket = ["organisation", "ticket", "ticket_token"].contains(table);
                assert_eq!(customer, holds || !is_of_ticket, "{table}.{column} = {other}: the ticket's login");
                assert_eq!(engineer, holds || is_of_ticket, "{table}.{column} = {other}: the engineer's login");
                let named = app.tickets().unproved().await.unwrap();
                assert_eq!(named.is_empty(), holds, "{table}.{column} = {other}: {named:?}");
                assert!(named.iter().all(|name| name.starts_with(table)), "{named:?}");
                sql(&mut conn, &format!("DELETE FROM {table} WHERE {row}")).await;
                sql(&mut conn, &format!("INSERT INTO {table} SELECT * FROM kept")).await;
                sql(&mut conn, "DROP TABLE kept").await;
                changed += 1;
            }
        }
    }
    assert!(changed > 30, "{changed}");
    assert_eq!(may_come_in(&app, &token).await, (true, true));
    assert_eq!(app.tickets().unproved().await.unwrap(), Vec::<String>::new());
    assert!(count_refused(&app).await > 0);
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_was_put_in_or_took_over_another_ones_proof_lets_nobody_in() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let token = desk(&app).await;
    let other = customer(&app, "XT-2").await;
    put(&other, "secret", b"of another").await;
    let mut conn = outsider(&fixture).await;
    sql(&mut conn, "INSERT INTO engineer_key VALUES ('anna', 'SHA256:evil', 'ssh-ed25519', 0, NULL)").await;
    sql(
        &mut conn,
        "INSERT INTO engineer_key SELECT engineer, 'SHA256:copy', algorithm, added_at, proof FROM engineer_key \
         WHERE engineer = 'anna' AND fingerprint = 'SHA256:test'",
    )
    .await;
    sql(
        &mut conn,
        "INSERT INTO engineer_key SELECT 'anna', fingerprint, algorithm, added_at, proof FROM engineer_key \
         WHERE engineer = 'bert'",
    )
    .await;
    for key in ["SHA256:evil", "SHA256:copy", "SHA256:bert"] {
        assert!(app.logins().by_key("anna", key, FROM).await.unwrap().is_none(), "{key}");
    }
    assert!(app.logins().by_key("bert", "SHA256:bert", FROM).await.unwrap().is_some());
    // Two tickets that change places, with their proofs.
    sql(&mut conn, "CREATE TEMP TABLE both AS SELECT reference, share_id, token_hash, proof FROM ticket").await;
    sql(&mut conn, "UPDATE ticket SET share_id = randomblob(16)").await;
    let swap = "UPDATE ticket SET (share_id, proof) = (SELECT b.share_id, b.proof FROM both b \
                WHERE b.reference <> ticket.reference)";
    assert_eq!(sql(&mut conn, swap).await, 2);
    assert!(app.logins().by_token("XT-1", &token, FROM).await.unwrap().is_none());
    assert_eq!(app.tickets().unproved().await.unwrap().len(), 5);
    // A key is taken away whatever it says.
    for key in ["SHA256:evil", "SHA256:copy", "SHA256:bert"] {
        app.tickets().remove_key(&word("anna"), key).await.unwrap();
    }
    assert_eq!(app.tickets().unproved().await.unwrap(), ["ticket XT-1", "ticket XT-2"]);
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_logged_in_loses_what_a_changed_row_would_give() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let token = desk(&app).await;
    let login = app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap();
    let session = app.session(&login);
    put(&session, "before", b"x").await;
    let anna = engineer(&app).await;
    assert_eq!(get(&anna, "XT-1/before").await.unwrap(), b"x");
    app.tickets().set_status(&word("XT-1"), TicketStatus::Closed).await.unwrap();
    let mut conn = outsider(&fixture).await;
    sql(&mut conn, "UPDATE ticket SET status = 'open', closed_at = NULL").await;
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let refused = match session.open_write(&path("after"), mode).await {
        Err(refusal) => refusal,
        Ok(mut upload) => {
            write(&mut upload, 0, b"y").await;
            upload.close().await.unwrap_err()
        }
    };
    assert_eq!(refused, Refusal::LoginEnded);
    assert_eq!(get(&anna, "XT-1/before").await.unwrap_err(), Refusal::NoSuchFile);
    let mut listing = anna.list(&path("/")).await.unwrap();
    assert!(listing.next(10).await.unwrap().is_empty());
    // No command makes it right by doing something else to it.
    for refused in [
        app.tickets().new_token(&word("XT-1")).await.err(),
        app.tickets().assign(&word("XT-1"), &word("bert")).await.err(),
        app.tickets().set_status(&word("XT-1"), TicketStatus::Closed).await.err(),
        app.rotation().rotate_share(&word("XT-1"), |_, _| ()).await.err(),
    ] {
        let sentence = refused.unwrap().to_string();
        assert!(sentence.contains("the row 'XT-1' of ticket"), "{sentence}");
    }
    sql(&mut conn, "UPDATE engineer SET (away_from, away_to, deputy) = ('2026-01-01', '2999-12-31', 'bert')").await;
    assert!(app.logins().by_key("anna", "SHA256:test", FROM).await.unwrap().is_none());
    sql(&mut conn, "UPDATE engineer SET (away_from, away_to, deputy) = (NULL, NULL, NULL)").await;
    assert!(app.logins().by_key("anna", "SHA256:test", FROM).await.unwrap().is_some());
    sql(&mut conn, "UPDATE engineer SET email = 'thief@example.net'").await;
    let refused = app.tickets().disable_engineer(&word("anna")).await.unwrap_err().to_string();
    assert!(refused.contains("the row 'anna' of engineer"), "{refused}");
    assert!(count_refused(&app).await > 0);
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_was_lost_is_not_made_anew_in_silence() {
    let fixture = Fixture::new();
    fixture.open().await.close().await;
    let data = DataDirectory::at(fixture.directory.path().join("data"));
    let mut keyring = SqliteConnectOptions::new().filename(data.keyring()).connect().await.unwrap();
    let rows = sqlx::query("SELECT purpose FROM server_key ORDER BY purpose").fetch_all(&mut keyring).await.unwrap();
    let purposes: Vec<String> = rows.iter().map(|row| row.get("purpose")).collect();
    assert_eq!(purposes, ["audit-signing", "house", "proof", "receipt-signing", "token", "trail", "trail-seal"]);
    // What is kept of the trail is missed by 'audit verify', which says so.
    for purpose in purposes.into_iter().filter(|purpose| !["house", "trail"].contains(&purpose.as_str())) {
        let row = format!("purpose = '{purpose}'");
        sql(&mut keyring, &format!("CREATE TEMP TABLE kept AS SELECT * FROM server_key WHERE {row}")).await;
        sql(&mut keyring, &format!("DELETE FROM server_key WHERE {row}")).await;
        let opened = App::serve(data.clone(), fixture.settings.clone(), Handle::current(), Box::new(|| {})).await;
        let sentence = opened.err().expect(&purpose).to_string();
        assert!(
            sentence.contains(&format!("'{purpose}'")) && sentence.contains("restore keyring.sqlite"),
            "{sentence}"
        );
        let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM server_key").fetch_one(&mut keyring).await.unwrap();
        assert_eq!(left, 6, "{purpose}");
        sql(&mut keyring, "INSERT INTO server_key SELECT * FROM kept").await;
        sql(&mut keyring, "DROP TABLE kept").await;
    }
    fixture.open().await.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_goes_to_nobody_whom_tacdrop_did_not_write_down() {
    use crate::notices::outbox::Outbox;
    let fixture = Fixture::with(|settings| (settings.settle, settings.settle_max) = Default::default());
    let app = fixture.open().await;
    let token = desk(&app).await;
    let login = app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap();
    let session = app.session(&login);
    let mut conn = outsider(&fixture).await;
    for (change, row) in [
        ("UPDATE engineer SET email = 'thief@example.net' WHERE id = 'anna'", "anna"),
        ("UPDATE ticket SET engineer = 'bert'", "XT-1"),
        ("UPDATE notice SET address = 'thief@example.net' WHERE state <> 'failed'", ""),
    ] {
        put(&session, "file", row.as_bytes()).await;
        sql(&mut conn, "CREATE TEMP TABLE kept AS SELECT id, email FROM engineer").await;
        sql(&mut conn, change).await;
        let due = app.notices().due(Time::now().plus(Duration::from_secs(60)), 10).await.unwrap();
        assert!(due.is_empty(), "{change}");
        let ended: Option<String> = sqlx::query_scalar("SELECT last_error FROM notice ORDER BY rowid DESC LIMIT 1")
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert!(ended.is_some_and(|why| why.contains("what tacdrop wrote there") && why.contains(row)), "{change}");
        sql(&mut conn, "UPDATE engineer SET email = (SELECT k.email FROM kept k WHERE k.id = engineer.id)").await;
        sql(&mut conn, "UPDATE ticket SET engineer = 'anna'").await;
        sql(&mut conn, "DROP TABLE kept").await;
    }
    assert_eq!(count_refused(&app).await, 3);
    let named = app.tickets().unproved().await.unwrap();
    assert!(named.len() == 1 && named[0].starts_with("notice "), "{named:?}");
    // An operator's address is written with its proof.
    let id = named[0].trim_start_matches("notice ").parse().unwrap();
    app.notices().readdress(id, &NewAddress::Mail("desk@example.net".to_owned())).await.unwrap();
    let due = app.notices().due(Time::now().plus(Duration::from_secs(60)), 10).await.unwrap();
    assert_eq!(due.iter().map(|due| due.recipient.address.as_str()).collect::<Vec<_>>(), ["desk@example.net"]);
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_is_not_served_with_what_somebody_put_into_its_databases() {
    let fixture = Fixture::new();
    fixture.open().await.close().await;
    let data = DataDirectory::at(fixture.directory.path().join("data"));
    for (file, statement, name) in [
        (
            data.records(),
            "CREATE TRIGGER t AFTER INSERT ON audit_event BEGIN DELETE FROM engineer_key; END",
            "trigger t",
        ),
        (data.records(), "CREATE VIEW v AS SELECT 1", "view v"),
        (data.keyring(), "CREATE TABLE t (a)", "table t"),
        (data.keyring(), "CREATE UNIQUE INDEX i ON server_key (wrapped)", "index i on server_key"),
    ] {
        let mut conn = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
        sql(&mut conn, statement).await;
        let served = App::serve(data.clone(), fixture.settings.clone(), Handle::current(), Box::new(|| {})).await;
        let sentence = served.err().expect(name).to_string();
        let file = file.file_name().unwrap().to_str().unwrap();
        assert!(sentence.contains(name) && sentence.contains(file), "{sentence}");
        // Commands are needed to see what was done.
        let app = App::open(data.clone(), fixture.settings.clone()).await.unwrap();
        assert_eq!(app.integrity().strangers().await.unwrap(), Some(sentence));
        app.close().await;
        let words: Vec<&str> = name.split(' ').collect();
        sql(&mut conn, &format!("DROP {} {}", words[0], words[1])).await;
    }
    fixture.open().await.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kek_that_anybody_guesses_is_not_begun_with_and_not_served_with() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new();
    let data = DataDirectory::at(fixture.directory.path().join("data"));
    std::fs::create_dir_all(data.keys()).unwrap();
    std::fs::write(data.kek(), "ab".repeat(32)).unwrap();
    std::fs::set_permissions(data.kek(), PermissionsExt::from_mode(0o400)).unwrap();
    let sentence = App::init(data.clone(), fixture.settings.clone()).await.err().unwrap().to_string();
    assert!(sentence.contains("anybody guesses"), "{sentence}");
    // A house of before that has one is there to have it replaced.
    std::fs::remove_dir_all(data.root()).unwrap();
    fixture.open().await.close().await;
    let mut keyring = SqliteConnectOptions::new().filename(data.keyring()).connect().await.unwrap();
    let text = std::fs::read_to_string(data.kek()).unwrap();
    let right = crate::vault::Kek::from_bytes(&hex::decode(text.trim()).unwrap().try_into().unwrap());
    let guessed = crate::vault::Kek::from_bytes(&[0xab; 32]);
    let rows = sqlx::query("SELECT purpose, wrapped FROM server_key").fetch_all(&mut keyring).await.unwrap();
    for row in rows {
        let (purpose, wrapped): (String, Vec<u8>) = (row.get(0), row.get(1));
        let secret = right.unwrap_secret(1, &purpose, &wrapped).unwrap();
        let wrapped = hex::encode(guessed.wrap_secret(1, &purpose, &secret).unwrap());
        sql(&mut keyring, &format!("UPDATE server_key SET wrapped = x'{wrapped}' WHERE purpose = '{purpose}'")).await;
    }
    let canary = hex::encode(guessed.seal_canary(1, Level::Proving).unwrap());
    sql(&mut keyring, &format!("UPDATE kek SET canary = x'{canary}'")).await;
    std::fs::remove_file(data.kek()).unwrap();
    std::fs::write(data.kek(), "ab".repeat(32)).unwrap();
    std::fs::set_permissions(data.kek(), PermissionsExt::from_mode(0o400)).unwrap();
    let served = App::serve(data.clone(), fixture.settings.clone(), Handle::current(), Box::new(|| {})).await;
    let sentence = served.err().unwrap().to_string();
    assert!(sentence.contains("anybody guesses") && sentence.contains("tacdrop key rotate"), "{sentence}");
    let app = App::open(data.clone(), fixture.settings.clone()).await.unwrap();
    app.rotation().rotate_kek(None, |_, _| ()).await.unwrap();
    app.close().await;
    fixture.open().await.close().await;
}

/// Opens a house as the command does that replaces secrets.
async fn replacing(fixture: &Fixture) -> App {
    let data = DataDirectory::at(fixture.directory.path().join("data"));
    App::open_to_replace(data, fixture.settings.clone()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_replaced_on_purpose_and_wherever_that_is_cut_it_is_done_or_not_done() {
    use std::sync::{Arc, Mutex};
    let all = Secrets { tokens: true, proofs: true, signing: true };
    let points = ["replace.staged", "replace.before-commit", "replace.after-commit", "replace.taken-over"];
    for (n, point) in points.into_iter().enumerate() {
        let fixture = Fixture::new();
        let app = fixture.open().await;
        let token = desk(&app).await;
        let before = app.access().receipt_key();
        app.close().await;
        drop(app);

        let app = replacing(&fixture).await;
        let (root, copy) = (app.data().root().to_owned(), Fixture::new());
        let (to, taken) = (copy.directory.path().join("data"), Arc::new(Mutex::new(0)));
        let seen = Arc::clone(&taken);
        app.0.access.repo.failpoints.watch(move |name| {
            if name == point {
                super::power::copy_data(&root, &to);
                *seen.lock().unwrap() += 1;
            }
        });
        let refused = app.rotation().replace_secrets(all, false).await.unwrap_err().to_string();
        assert!(refused.contains("--yes") && refused.contains("tokens of all tickets (1)"), "{refused}");
        let done = app.rotation().replace_secrets(all, true).await.unwrap();
        assert_eq!((done.tokens_ended, done.unproved.len(), *taken.lock().unwrap()), (1, 0, 1));
        assert_eq!(done.rows_proved, 9);
        app.close().await;
        drop(app);

        for (house, is_done) in [(&fixture, true), (&copy, n >= 2)] {
            let app = house.open().await;
            assert_eq!(app.tickets().unproved().await.unwrap(), Vec::<String>::new(), "{point}");
            assert_eq!(may_come_in(&app, &token).await, (!is_done, true), "{point}");
            let now = app.access().receipt_key();
            assert_eq!(now.public_key != before.public_key, is_done, "{point}");
            assert_eq!(now.allowed_signers.lines().count(), if is_done { 2 } else { 1 }, "{point}");
            assert!(now.allowed_signers.contains(&before.public_key), "{point}");
            // Checkpoints of before verify by the key of then, and new ones by the new key.
            app.audit().sign_now().await.unwrap();
            let verified = app.audit().verify(None).await.unwrap();
            assert_eq!((verified.fault, verified.signed), (None, verified.entries), "{point}");
            assert!(verified.checkpoints >= 4, "{point}: {}", verified.checkpoints);
            let new = app.tickets().new_token(&word("XT-1")).await.unwrap();
            assert_eq!(may_come_in(&app, &new).await, (true, true), "{point}");
            app.close().await;
            drop(app);
            // It can be done, and done again.
            let app = replacing(house).await;
            app.rotation().replace_secrets(all, true).await.unwrap();
            app.rotation().rotate_kek(None, |_, _| ()).await.unwrap();
            app.close().await;
            drop(app);
            let app = house.open().await;
            let lines = app.access().receipt_key().allowed_signers.lines().count();
            assert_eq!(lines, if is_done { 3 } else { 2 }, "{point}");
            assert_eq!(app.audit().verify(None).await.unwrap().fault, None, "{point}");
            assert_eq!(may_come_in(&app, &new).await, (false, true), "{point}");
            app.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_is_replaced_on_purpose_and_not_while_somebody_serves() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let token = desk(&app).await;
    let data = app.data().clone();
    let refused = App::open_to_replace(data.clone(), fixture.settings.clone()).await.err().unwrap().to_string();
    assert!(refused.contains("stop it first"), "{refused}");
    app.close().await;
    drop(app);
    let nothing = Secrets::default();
    for (purpose, which) in [
        ("token", Secrets { tokens: true, ..nothing }),
        ("receipt-signing", Secrets { signing: true, ..nothing }),
        ("proof", Secrets { proofs: true, ..nothing }),
    ] {
        let mut keyring = SqliteConnectOptions::new().filename(data.keyring()).connect().await.unwrap();
        assert_eq!(sql(&mut keyring, &format!("DELETE FROM server_key WHERE purpose = '{purpose}'")).await, 1);
        let refused = App::serve(data.clone(), fixture.settings.clone(), Handle::current(), Box::new(|| {})).await;
        let refused = refused.err().expect(purpose).to_string();
        assert!(refused.contains("'tacdrop key rotate --"), "{refused}");
        let app = replacing(&fixture).await;
        if !which.signing {
            let refused = app.rotation().replace_secrets(which, false).await.unwrap_err().to_string();
            assert!(refused.contains("--yes"), "{refused}");
        }
        app.rotation().replace_secrets(which, true).await.unwrap();
        app.close().await;
        drop(app);
        let app = fixture.open().await;
        assert_eq!(app.tickets().unproved().await.unwrap(), Vec::<String>::new(), "{purpose}");
        assert_eq!(may_come_in(&app, &token).await, (false, true), "{purpose}");
        assert_eq!(app.audit().verify(None).await.unwrap().fault, None, "{purpose}");
        app.close().await;
        drop(app);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_from_outside_are_taken_only_if_that_is_meant() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let token = desk(&app).await;
    app.close().await;
    drop(app);
    let mut conn = outsider(&fixture).await;
    sql(&mut conn, "UPDATE engineer SET disabled_at = 7 WHERE id = 'bert'").await;
    let app = replacing(&fixture).await;
    let proofs = Secrets { proofs: true, ..Secrets::default() };
    let refused = app.rotation().replace_secrets(proofs, false).await.unwrap_err().to_string();
    assert!(refused.contains("engineer bert"), "{refused}");
    let tokens = Secrets { tokens: true, ..Secrets::default() };
    let done = app.rotation().replace_secrets(tokens, true).await.unwrap();
    assert_eq!((done.tokens_ended, done.unproved), (1, vec!["engineer bert".to_owned()]));
    let done = app.rotation().replace_secrets(proofs, true).await.unwrap();
    assert_eq!(done.unproved, ["engineer bert"]);
    app.close().await;
    drop(app);
    let app = fixture.open().await;
    assert_eq!(app.tickets().unproved().await.unwrap(), Vec::<String>::new());
    assert_eq!(may_come_in(&app, &token).await, (false, true));
    app.close().await;
}
