//! The rows against the audit trail: a house whose rows were changed with SQL alone, by somebody
//! without the keys.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::*;
use crate::app::Compared;

/// Asserts that nothing differs.
pub(super) async fn rows_are_as_told(app: &App) {
    let found = app.integrity().compare().await.unwrap();
    assert!(found.differences.is_empty(), "{:#?}", found.differences);
    let quick = app.integrity().compare_quickly().await.unwrap();
    assert!(quick.differences.is_empty(), "{:#?}", quick.differences);
}

/// Changes the records as somebody does who has the file and another program: the rules of the
/// schema are no hindrance.
async fn edit(root: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(root.join("records.sqlite")).foreign_keys(false);
    let mut conn = options.pragma("ignore_check_constraints", "ON").connect().await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

fn said(found: &Compared) -> Vec<String> {
    found.differences.iter().map(ToString::to_string).collect()
}

/// Two tickets of a customer's and one for devices; versions in every state but `damaged`.
async fn a_house(app: &App) -> ShareSession {
    let session = customer(app, "XT-1").await;
    put(&session, "a", b"one\n").await;
    put(&session, "a", b"two, longer\n").await;
    put(&session, "b", &pattern(90_000, 1)).await;
    put(&session, "c", b"gone for good").await;
    put(&session, "d", b"withdrawn").await;
    put(&session, "e", b"replaced").await;
    put(&session, "f", b"renamed over e").await;
    session.rename(&path("f"), &path("e"), true).await.unwrap();
    session.remove_file(&path("b")).await.unwrap();
    put(&session, "b", b"the same name again").await;
    session.remove_file(&path("c")).await.unwrap();
    app.retention().shred(&word("XT-1"), &path("c"), None).await.unwrap();
    session.remove_file(&path("d")).await.unwrap();
    customer(app, "XT-2").await;
    app.tickets().set_status(&word("XT-2"), TicketStatus::Closed).await.unwrap();
    let device = NewTicket { device: true, ..new_ticket("DEV-1") };
    app.tickets().open_ticket(device).await.unwrap();
    let key = ("SHA256:second".to_owned(), "ssh-ed25519".to_owned());
    app.tickets().add_engineer(word("bob"), None, "bob@example.net".to_owned(), None, vec![key]).await.unwrap();
    app.tickets().add_key(&word("bob"), "SHA256:third".to_owned(), "ssh-ed25519".to_owned()).await.unwrap();
    app.tickets().remove_key(&word("bob"), "SHA256:second").await.unwrap();
    app.tickets().set_email(&word("bob"), "robert@example.net").await.unwrap();
    app.tickets().assign(&word("XT-2"), &word("bob")).await.unwrap();
    app.tickets().disable_engineer(&word("bob")).await.unwrap();
    let anna = engineer(app).await;
    put(&anna, "XT-1/from-support/tool", b"for the customer").await;
    app.rotation().rotate_share(&word("XT-1"), |_, _| ()).await.unwrap();
    app.rotation().rotate_kek(None, |_, _| ()).await.unwrap();
    session
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_rows_that_differ_from_the_trail_are_named() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = a_house(&app).await;
    let first = app.integrity().compare().await.unwrap();
    assert_eq!((said(&first), first.people, first.tickets), (Vec::new(), 3, 3));
    assert_eq!(first.versions, 9);
    // A version that is under way is no difference.
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path("under-way"), mode).await.unwrap();
    write(&mut upload, 0, &pattern(100_000, 1)).await;
    upload.sync().await.unwrap();
    rows_are_as_told(&app).await;
    drop(upload);
    rows_are_as_told(&app).await;
    app.close().await;

    let one = "WHERE length = 4 AND number = 1";
    let entry = "(SELECT entry_id FROM version WHERE length = 4 AND number = 1)";
    for (sql, wanted) in [
        (
            "INSERT INTO engineer_key (engineer, fingerprint, algorithm, added_at) VALUES('anna','SHA256:stranger','ssh-ed25519',0)".to_owned(),
            "has the key SHA256:stranger, which nobody added",
        ),
        (
            "DELETE FROM engineer_key WHERE engineer = 'anna'".to_owned(),
            "lacks the key SHA256:test, which nobody removed",
        ),
        (
            "UPDATE engineer SET email = 'x@evil.example' WHERE id = 'anna'".to_owned(),
            "has another mail address than was set",
        ),
        (
            "UPDATE engineer SET email = 'bob@example.net' WHERE id = 'bob'".to_owned(),
            "has another mail address than was set",
        ),
        ("UPDATE engineer SET disabled_at = NULL WHERE id = 'bob'".to_owned(), "was disabled, and is not"),
        ("UPDATE engineer SET disabled_at = 1 WHERE id = 'anna'".to_owned(), "is disabled, and nobody did that"),
        (
            "INSERT INTO engineer (id, name, email, created_at) VALUES ('eve', 'Eve', 'e@example.net', 0)".to_owned(),
            "engineer eve was never added",
        ),
        ("UPDATE ticket SET device = 0 WHERE reference = 'DEV-1'".to_owned(), "ticket DEV-1 is not for devices"),
        ("UPDATE ticket SET device = 1 WHERE reference = 'XT-2'".to_owned(), "ticket XT-2 is for devices"),
        (
            "UPDATE ticket SET status = 'open' WHERE reference = 'XT-2'".to_owned(),
            "ticket XT-2 was closed, and is open",
        ),
        (
            "UPDATE ticket SET status = 'closed' WHERE reference = 'XT-1'".to_owned(),
            "ticket XT-1 is closed, and nobody closed it",
        ),
        (
            "UPDATE ticket SET engineer = 'anna' WHERE reference = 'XT-2'".to_owned(),
            "has the engineer anna, and the trail says bob",
        ),
        (
            "UPDATE ticket SET share_id = zeroblob(16) WHERE reference = 'DEV-1'".to_owned(),
            "ticket DEV-1 has another share",
        ),
        (
            "DELETE FROM ticket WHERE reference = 'DEV-1'".to_owned(),
            "ticket DEV-1 was opened, as the trail tells, and has no row",
        ),
        (format!("UPDATE version SET length = 3 {one}"), "has the length 3, and the trail says 4"),
        (format!("UPDATE version SET sha256 = zeroblob(32) {one}"), "has the SHA-256 0000"),
        (format!("UPDATE version SET sha256 = NULL {one}"), "has the SHA-256 "),
        (format!("UPDATE version SET uploaded_by = 'anna' {one}"), "has the sender anna, and the trail says XT-1"),
        (
            format!("UPDATE version SET transport = 'legacy' {one}"),
            "has the transport legacy, and the trail says modern",
        ),
        (format!("UPDATE version SET received_at = 1 {one}"), "has the time of arrival 1 ms"),
        (format!("UPDATE version SET manifest_hash = zeroblob(32) {one}"), "has the manifest 0000"),
        (format!("UPDATE version SET number = 7 {one}"), "has the number 7, and the trail says 1"),
        (
            format!("UPDATE version SET number = 9, entry_id = (SELECT entry_id FROM version WHERE length = 13) {one}"),
            "has the artifact ",
        ),
        (format!("UPDATE version SET state = 'withdrawn' {one}"), "is out of sight although nobody withdrew its file"),
        (format!("UPDATE version SET state = 'shredded' {one}"), "is shredded, and the trail does not tell by whom"),
        (
            format!("UPDATE version SET state = 'damaged' {one}"),
            "is marked as damaged, and the trail does not tell by whom",
        ),
        (
            format!("UPDATE version SET state = 'incomplete' {one}"),
            "became available, as the trail tells, and is incomplete",
        ),
        (format!("UPDATE version SET state = 'nonsense' {one}"), "cannot be read"),
        (format!("UPDATE version SET length = 'long' {one}"), "cannot be read"),
        (
            "UPDATE version SET state = 'available' WHERE length = 13".to_owned(),
            "was shredded, and is back as available",
        ),
        (
            "UPDATE version SET state = 'available' WHERE length = 9".to_owned(),
            "was taken out of sight with its file, and is back",
        ),
        (
            format!("UPDATE entry SET current_version = (SELECT id FROM version {one}) WHERE id = {entry}"),
            "does not give its newest version, ",
        ),
        (format!("UPDATE entry SET current_version = NULL WHERE id = {entry}"), "does not give its newest version, "),
        (
            format!("UPDATE entry SET share_id = zeroblob(16) WHERE id = {entry}"),
            "versions belong to no ticket: 2 of them",
        ),
    ] {
        let copy = tempfile::tempdir().unwrap();
        super::power::copy_data(app.data().root(), &copy.path().join("data"));
        edit(&copy.path().join("data"), &sql).await;
        let data = DataDirectory::at(copy.path().join("data"));
        let other = App::open(data, fixture.settings.clone()).await.unwrap();
        let found = other.integrity().compare().await.unwrap();
        let lines = said(&found);
        assert!(lines.iter().any(|line| line.contains(wanted)), "{sql}: {lines:#?}");
        assert_eq!(other.audit().verify(None).await.unwrap().fault, None, "{sql}: the trail itself is right");
        other.close().await;
    }
}

/// Entries of versions of before lack what later ones tell: that is no difference, and what they
/// tell is compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_what_older_entries_do_not_tell_is_no_difference() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    a_house(&app).await;
    app.close().await;
    let app = App::open(app.data().clone(), fixture.settings.clone()).await.unwrap();
    let root = app.data().root();
    edit(root, "UPDATE audit_event SET detail = json_remove(detail, '$.share', '$.address', '$.number', '$.received', '$.digest')").await;
    edit(
        root,
        "UPDATE audit_event SET detail = json_set(detail, '$.sha256', \
         (SELECT lower(hex(sha256)) FROM version WHERE id = subject)) WHERE kind = 'artifact.available'",
    )
    .await;
    rows_are_as_told(&app).await;
    edit(root, "UPDATE version SET sha256 = zeroblob(32) WHERE length = 4").await;
    let found = app.integrity().compare().await.unwrap();
    assert_eq!(found.differences.len(), 1, "{:#?}", found.differences);
    app.close().await;
}
