//! What a login has open when it loses the right to it: the ticket goes to another engineer, or
//! gets a new token.

use tokio_util::sync::CancellationToken;

use super::*;

const CREATE: WriteMode = WriteMode { create: true, truncate: true, append: false, exclusive: false, read: true };

async fn login(app: &App, engineer: &str) -> ShareSession {
    let login = app.logins().by_key(engineer, &format!("SHA256:{engineer}"), FROM).await.unwrap().unwrap();
    app.session(&login)
}

/// A share with two tickets of Anna's, and Bert, who has none.
async fn desk(app: &App) -> (ShareSession, ShareSession) {
    let one = customer(app, "XT-1").await;
    let two = customer(app, "XT-2").await;
    for name in ["anna", "bert"] {
        let key = (format!("SHA256:{name}"), "ssh-ed25519".to_owned());
        match name {
            "anna" => app.tickets().add_key(&word(name), key.0, key.1).await.unwrap(),
            _ => app
                .tickets()
                .add_engineer(word(name), None, format!("{name}@example.net"), None, vec![key])
                .await
                .unwrap(),
        }
    }
    (one, two)
}

/// The watch over logins, as the server has it.
struct Watch {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    fn over(app: &App) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let (app, stop) = (app.clone(), stop.clone());
            async move { app.logins().watch(stop).await }
        });
        Self { stop, task }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Every operation of everything that can be open, each asked again when the ticket has gone to
/// somebody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r79_what_a_former_engineer_has_open_ends_and_nothing_else() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (one, two) = desk(&app).await;
    for session in [&one, &two] {
        put(session, "secret", &pattern(100_000, 1)).await;
        put(session, "more", b"more").await;
    }
    let anna = login(&app, "anna").await;
    let (mut downloads, mut listings, mut uploads) = (Vec::new(), Vec::new(), Vec::new());
    for ticket in ["XT-1", "XT-2"] {
        for name in ["secret", ".versions/secret/1", ".receipts/secret.receipt", ".receipts/allowed_signers"] {
            downloads.push((ticket, anna.open_read(&path(&format!("/{ticket}/{name}"))).await.unwrap()));
        }
        for name in ["", ".versions", ".versions/secret", ".receipts"] {
            listings.push((ticket, anna.list(&path(&format!("/{ticket}/{name}"))).await.unwrap()));
        }
        for name in ["begun", "empty", "again"] {
            let mut upload = anna.open_write(&path(&format!("/{ticket}/from-support/{name}")), CREATE).await.unwrap();
            if name != "empty" {
                write(&mut upload, 0, b"advice").await;
                upload.sync().await.unwrap();
            }
            uploads.push((ticket, upload));
        }
    }
    let watch = Watch::over(&app);
    app.tickets().assign(&word("XT-1"), &word("bert")).await.unwrap();
    let mut bytes = Vec::new();
    while downloads[0].1.read(0, 10, &mut bytes).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let gone = |ticket: &str| (ticket == "XT-1").then_some(Refusal::NotAssigned);
    for (ticket, download) in &downloads {
        assert_eq!(download.read(0, 10, &mut bytes).await.err(), gone(ticket));
        assert_eq!(download.digest(crate::model::Algorithm::Sha256).await.err(), gone(ticket));
    }
    for (ticket, listing) in &mut listings {
        assert_eq!(listing.next(1).await.err(), gone(ticket));
    }
    for (ticket, mut upload) in uploads {
        assert_eq!(upload.begin_write(6, 1).await.err(), gone(ticket));
        if gone(ticket).is_none() {
            upload.write(b"!").await.unwrap();
        }
        assert_eq!(upload.change(Changes { size: Some(3), ..Changes::default() }).await.err(), gone(ticket));
        assert_eq!(upload.read(0, 1, &mut bytes).await.err(), gone(ticket));
        assert_eq!(upload.sync().await.err(), gone(ticket));
        assert_eq!(upload.close().await.err(), gone(ticket));
    }
    assert!(!anna.login().ended().is_cancelled(), "she has another ticket");
    // Given back, what is opened anew works; what was open stays ended.
    app.tickets().assign(&word("XT-1"), &word("anna")).await.unwrap();
    assert_eq!(get(&anna, "/XT-1/more").await.unwrap(), b"more");
    assert_eq!(downloads[0].1.read(0, 10, &mut bytes).await.err(), Some(Refusal::NotAssigned));
    watch.end().await;
}

/// A new token, a removed key, a disabled engineer: what is open ends with the login, even if the
/// door were slow to end it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r79_what_is_open_ends_with_the_login() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (one, two) = desk(&app).await;
    for session in [&one, &two] {
        put(session, "file", b"bytes").await;
    }
    let (anna, again) = (login(&app, "anna").await, login(&app, "anna").await);
    app.tickets().assign(&word("XT-2"), &word("bert")).await.unwrap();
    let bert = login(&app, "bert").await;
    let open = [
        (one.open_read(&path("file")).await.unwrap(), Some(Refusal::LoginEnded)),
        (two.open_read(&path("file")).await.unwrap(), None),
        (anna.open_read(&path("/XT-1/file")).await.unwrap(), Some(Refusal::LoginEnded)),
        (again.open_read(&path("/XT-1/file")).await.unwrap(), Some(Refusal::LoginEnded)),
        (bert.open_read(&path("/XT-2/file")).await.unwrap(), Some(Refusal::LoginEnded)),
    ];
    let mut upload = one.open_write(&path("new"), CREATE).await.unwrap();
    let watch = Watch::over(&app);
    app.tickets().new_token(&word("XT-1")).await.unwrap();
    app.tickets().remove_key(&word("anna"), "SHA256:anna").await.unwrap();
    app.tickets().disable_engineer_for(&word("bert"), Some(&word("anna"))).await.unwrap();
    for (download, ends) in open {
        let mut bytes = Vec::new();
        while ends.is_some() && download.read(0, 10, &mut bytes).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(download.read(0, 10, &mut bytes).await.err(), ends);
    }
    assert_eq!(upload.begin_write(0, 1).await.err(), Some(Refusal::LoginEnded));
    assert_eq!(upload.close().await.err(), Some(Refusal::LoginEnded));
    watch.end().await;
}

/// Connections come and go all day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_that_are_over_are_forgotten() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (one, _) = desk(&app).await;
    for _ in 0..1000 {
        drop(login(&app, "anna").await);
    }
    assert!(app.0.access.logins.remembered() <= 130, "{}", app.0.access.logins.remembered());
    drop(one);
}

/// Nobody has told the login yet: the transaction decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r79_nothing_is_changed_by_who_has_just_lost_the_right() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let (one, _) = desk(&app).await;
    let (anna, bert) = (login(&app, "anna").await, login(&app, "bert").await);
    let mut handed = anna.open_write(&path("/XT-1/from-support/fix"), CREATE).await.unwrap();
    write(&mut handed, 0, b"malicious").await;
    let mut small = one.open_write(&path("small"), CREATE).await.unwrap();
    write(&mut small, 0, b"small").await;
    let mut large = one.open_write(&path("large"), CREATE).await.unwrap();
    write(&mut large, 0, &pattern(3 << 20, 1)).await;
    put(&one, "whole", b"whole").await;
    let mut changed = one.open_write(&path("whole"), WriteMode::default()).await.unwrap();
    write(&mut changed, 1, b"H").await;
    app.tickets().assign(&word("XT-1"), &word("bert")).await.unwrap();
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    assert_eq!(handed.close().await.err(), Some(Refusal::NotAssigned));
    for upload in [small, large, changed] {
        assert_eq!(upload.close().await.err(), Some(Refusal::LoginEnded));
    }
    assert_eq!(one.make_directory(&path("d")).await.err(), Some(Refusal::LoginEnded));
    assert_eq!(one.remove_file(&path("whole")).await.err(), Some(Refusal::LoginEnded));
    assert_eq!(one.rename(&path("whole"), &path("moved"), true).await.err(), Some(Refusal::LoginEnded));
    assert_eq!(bert.attributes(&path("/XT-1/from-support/fix")).await.err(), Some(Refusal::NoSuchFile));
    assert_eq!(get(&bert, "/XT-1/whole").await.unwrap(), b"whole");
    let again = app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap();
    put(&app.session(&again), "small", b"small").await;
}
