//! What is seeded for benchmarks is as good as what was uploaded.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeded_files_and_tickets_are_like_uploaded_and_opened_ones() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    app.seed_files(&word("XT-1"), 0, 100, 300).await.unwrap();
    put(&session, "uploaded", b"beside them").await;
    for number in [0, 57, 99] {
        assert_eq!(get(&session, &seeded_name(number)).await.unwrap(), seeded_content(number, 300));
    }
    // A new version of one, an older file deleted, one continued: everything an upload can meet.
    put(&session, &seeded_name(3), b"second").await;
    let mut upload =
        session.open_write(&path(&seeded_name(4)), WriteMode { append: true, ..WriteMode::default() }).await.unwrap();
    write(&mut upload, 0, b" and more").await;
    upload.close().await.unwrap();
    let mut appended = seeded_content(4, 300);
    appended.extend_from_slice(b" and more");
    assert_eq!(get(&session, &seeded_name(4)).await.unwrap(), appended);
    session.remove_file(&path(&seeded_name(5))).await.unwrap();

    let like = new_ticket("S-");
    let opened = app.seed_tickets(&like, 0, 20).await.unwrap();
    let (reference, token) = &opened[19];
    let login = app.logins().by_token(reference.as_str(), token, FROM).await.unwrap().unwrap();
    put(&app.session(&login), "first", b"bytes").await;

    let lines = app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap();
    assert_eq!(lines.len(), 100);
    assert_eq!(app.tickets().list().await.unwrap().len(), 21);
    let mut findings = Vec::new();
    let checked = app.integrity().check(None, true, |_| (), |finding| findings.push(finding.clone())).await.unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!((checked.tickets, checked.versions), (21, 104));
    app.close().await;
    drop((session, login, app));

    // Recovery finds nothing to correct, and the audit trail is whole.
    let app = fixture.open().await;
    assert!(app.audit().verify(None).await.unwrap().fault.is_none());
    all_intact(&app).await;
}
