//! What the HTTP door asks of the heart: logins that are kept between requests, one event for many
//! requests, ended like any other and bounded; and uploads by their ids, to the byte.

use super::*;
use crate::login::Origin;
use crate::model::{Door, Transport};

const BY_HTTP: Origin = Origin { address: FROM, transport: Transport::Modern, door: Door::Http };

#[tokio::test]
async fn a_login_that_is_kept_is_found_by_the_same_secret_and_address_only() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap().to_string();
    let logins = app.logins();
    assert!(logins.kept("XT-1", &token, FROM).is_none());
    let login = logins.by_token("XT-1", &token, BY_HTTP).await.unwrap().unwrap();
    let kept = logins.keep("XT-1", &token, FROM, login.clone());
    assert!(Arc::ptr_eq(&kept.0, &login.0));
    let again = logins.kept("XT-1", &token, FROM).unwrap();
    assert!(Arc::ptr_eq(&again.0, &login.0));
    assert!(logins.kept("XT-1", "wrong", FROM).is_none());
    assert!(logins.kept("XT-2", &token, FROM).is_none());
    assert!(logins.kept("XT-1", &token, "192.0.2.200".parse().unwrap()).is_none());
    // Who comes second gets the first one's.
    let other = logins.by_token("XT-1", &token, BY_HTTP).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&logins.keep("XT-1", &token, FROM, other).0, &login.0));
    assert_eq!(logins.kept_count(), 1);
    login.ended().cancel();
    assert!(logins.kept("XT-1", &token, FROM).is_none());
    logins.let_go();
    assert_eq!(logins.kept_count(), 0);
    drop((login, kept, again));
    app.close().await;
}

#[tokio::test]
async fn logins_that_are_kept_are_bounded() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap().to_string();
    let login = app.logins().by_token("XT-1", &token, BY_HTTP).await.unwrap().unwrap();
    for n in 0..5000u32 {
        app.logins().keep("XT-1", &format!("{n}"), FROM, login.clone());
    }
    assert_eq!(app.logins().kept_count(), 4096);
    app.logins().let_all_go();
    assert_eq!(app.logins().kept_count(), 0);
    drop(login);
    app.close().await;
}

/// What a door is told of an upload is exact, and what it ends is gone.
#[tokio::test]
async fn an_upload_is_known_by_its_id_to_the_byte() {
    use crate::access::Known;
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let bytes: Vec<u8> = (0..300_001u32).map(|n| (n % 251) as u8).collect();
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path("/f"), mode).await.unwrap();
    let id = upload.version();
    assert_eq!(upload.front().await.unwrap(), (0, digest(b"")));
    write(&mut upload, 0, &bytes[..200_003]).await;
    // Behind a gap: it is there, and does not count.
    write(&mut upload, 250_000, &bytes[250_000..]).await;
    upload.sync().await.unwrap();
    assert_eq!(upload.front().await.unwrap(), (200_003, digest(&bytes[..200_003])));
    drop(upload);

    let other = app.session(session.login());
    let listed = other.unfinished_uploads("xt-1").await.unwrap();
    assert_eq!(listed.iter().map(|one| (one.version, one.bytes)).collect::<Vec<_>>(), [(id, 196_608)]);
    assert!(matches!(other.known_upload("XT-1", id).await, Ok(Known::Unfinished { .. })));
    assert_eq!(other.known_upload("XT-2", id).await.err(), Some(Refusal::NoSuchFile));
    let stranger = customer(&app, "XT-2").await;
    assert_eq!(stranger.known_upload("XT-2", id).await.err(), Some(Refusal::NoSuchFile));
    assert_eq!(stranger.end_upload("XT-2", id).await.err(), Some(Refusal::NoSuchFile));
    assert_eq!(stranger.unfinished_uploads("XT-2").await.unwrap().len(), 0);

    let mut upload = other.open_write(&path("/f"), WriteMode::default()).await.unwrap();
    assert_eq!((upload.version(), upload.front().await.unwrap()), (id, (200_003, digest(&bytes[..200_003]))));
    write(&mut upload, 200_003, &bytes[200_003..250_000]).await;
    assert_eq!(upload.front().await.unwrap(), (300_001, digest(&bytes)));
    upload.close_at(300_001).await.unwrap();
    match other.known_upload("XT-1", id).await {
        Ok(Known::Finished { length: 300_001, sha256, .. }) => assert_eq!(sha256, digest(&bytes)),
        known => panic!("{known:?}"),
    }
    assert_eq!(other.end_upload("XT-1", id).await.err(), Some(Refusal::NoSuchFile), "it is finished");

    // The next version is ended, and the one before stays.
    let mut upload = other.open_write(&path("/f"), mode).await.unwrap();
    let next = upload.version();
    write(&mut upload, 0, b"next").await;
    upload.sync().await.unwrap();
    drop(upload);
    other.end_upload("XT-1", next).await.unwrap();
    assert_eq!(other.known_upload("XT-1", next).await.err(), Some(Refusal::NoSuchFile));
    assert_eq!(other.attributes(&path("/f")).await.unwrap().size, 300_001);
    drop((session, other, stranger));
    app.close().await;
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}
