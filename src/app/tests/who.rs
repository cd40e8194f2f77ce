//! `who`: a command in another process asks the server that runs.

use super::*;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_by_the_server_that_runs_and_by_no_other() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let data = || DataDirectory::at(fixture.directory.path().join("data"));
    let command = App::open(data(), fixture.settings.clone()).await.unwrap();
    let stop = CancellationToken::new();
    let (asked, stopped) = (app.clone(), stop.clone());
    let answering = tokio::spawn(async move { asked.access().answer_who(stopped).await });
    assert_eq!(command.access().who().await.unwrap().unwrap().sessions.len(), 0);

    let one = customer(&app, "XT-1").await;
    let anna = engineer(&app).await;
    put(&one, "a", b"1").await;
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = one.open_write(&path("big"), mode).await.unwrap();
    write(&mut upload, 0, &pattern(123_456, 1)).await;
    let reading = anna.open_read(&path("/XT-1/a")).await.unwrap();
    // Two who ask at once are both told.
    let other = app.clone();
    let second = tokio::spawn(async move { other.access().who().await });
    let (first, second) = (command.access().who().await, second.await.unwrap());
    for told in [first.unwrap().unwrap(), second.unwrap().unwrap()] {
        let lines: Vec<_> =
            told.sessions.iter().map(|s| (s.name.as_str(), s.role.as_str(), s.tickets.clone())).collect();
        let (ticket, engineer) = (vec!["XT-1".to_owned()], vec!["XT-1".to_owned()]);
        assert_eq!(lines, [("XT-1", "ticket", ticket), ("anna", "engineer", engineer)]);
        assert_eq!((told.sessions[0].address.as_str(), told.sessions[0].door.as_str()), ("127.0.0.1", "ssh"));
        let uploads: Vec<_> = told.sessions[0].uploads.iter().map(|upload| upload.bytes).collect();
        assert_eq!((uploads, told.sessions[1].uploads.len(), told.more), (vec![123_456], 0, 0));
    }
    upload.close().await.unwrap();
    drop((reading, anna, one));
    assert_eq!(command.access().who().await.unwrap().unwrap().sessions.len(), 0);

    // What a server said that is gone is no answer: neither while none runs, nor to another one.
    stop.cancel();
    answering.await.unwrap();
    app.close().await;
    drop(app);
    assert!(command.access().who().await.unwrap().is_none());
    let app = fixture.open().await;
    let refused = tokio::time::timeout(Duration::from_secs(60), command.access().who()).await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("does not answer"), "{refused}");
    app.close().await;
}
