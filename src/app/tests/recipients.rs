//! Who gets a notice beside the assigned engineer.

use super::contacts::{contact, set_people};
use super::notices::deliver;
use super::*;

/// The addresses of all notices that are due by now, sorted.
async fn told(app: &App) -> Vec<String> {
    let mut told: Vec<_> = deliver(app, 100).await.into_iter().map(|notice| notice.recipient.address).collect();
    told.sort();
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_get_copies_and_a_team_takes_over_from_an_engineer_who_is_gone() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    contact(&app, "karl").await;
    for name in ["bert", "carl", "dora"] {
        let address = format!("{name}@example.net");
        app.tickets().add_engineer(word(name), None, address, None, Vec::new()).await.unwrap();
    }
    let people = PeopleChanges {
        watchers: vec!["w1@example.org".to_owned(), "w2@example.org".to_owned()],
        ..PeopleChanges::default()
    };
    set_people(&app, &word("XT-1"), people).await;
    put(&session, "a", b"a").await;
    assert_eq!(told(&app).await, ["anna@example.net", "w1@example.org", "w2@example.org"]);
    // A copy stays one when the ticket goes to another engineer before it is delivered.
    put(&session, "b", b"b").await;
    app.tickets().assign(&word("XT-1"), &word("bert")).await.unwrap();
    let people = PeopleChanges { without_watchers: vec!["w1@example.org".to_owned()], ..PeopleChanges::default() };
    set_people(&app, &word("XT-1"), people).await;
    assert_eq!(told(&app).await, ["bert@example.net", "w2@example.org"]);
    let people = PeopleChanges {
        without_watchers: vec!["w2@example.org".to_owned()],
        team: Some(Some(word("core"))),
        ..PeopleChanges::default()
    };
    let members = vec![word("carl"), word("dora"), word("bert")];
    app.tickets().add_team(NewTeam { id: word("core"), name: None, email: None, members }).await.unwrap();
    set_people(&app, &word("XT-1"), people).await;
    put(&session, "c", b"c").await;
    assert_eq!(told(&app).await, ["bert@example.net"]);
    // No command does that to somebody who has tickets; older houses have such engineers.
    let repo = &app.0.access.repo;
    let mut tx = repo.records.begin().await.unwrap();
    let disable = |row: &mut crate::records::people::Engineer| row.disabled_at = Some(crate::model::Time::now());
    crate::records::people::change(tx.conn(), &**repo.keys.proofs(), &word("bert"), disable).await.unwrap();
    tx.commit().await.unwrap();
    put(&session, "d", b"d").await;
    assert_eq!(told(&app).await, ["carl@example.net", "dora@example.net"]);
    let email = Some(Some("core@example.net".to_owned()));
    app.tickets().change_team(&word("core"), TeamChanges { email, ..TeamChanges::default() }).await.unwrap();
    put(&session, "e", b"e").await;
    assert_eq!(told(&app).await, ["core@example.net"]);
}

/// Who was told that a file came is told that its sender deleted it; who was not hears nothing of
/// either twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_is_told_to_who_was_told_that_it_came() {
    use crate::mail::notice::News;
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "a", b"a").await;
    put(&session, "b.part", b"b").await;
    assert_eq!(told(&app).await, ["anna@example.net"]);
    session.remove_file(&path("a")).await.unwrap();
    session.remove_file(&path("b.part")).await.unwrap();
    let due = deliver(&app, 100).await;
    assert!(matches!(due[..], [ref only] if only.files.len() == 1 && matches!(only.files[0].news, News::Deleted)));
    // Deleted before anybody was told: the one notice says both.
    put(&session, "c", b"c").await;
    session.remove_file(&path("c")).await.unwrap();
    let due = deliver(&app, 100).await;
    assert!(matches!(due[..], [ref only] if matches!(only.files[0].news, News::Arrived(_))));
    // Restored before anybody was told of the delete: nothing happened.
    put(&session, "d", b"d").await;
    assert_eq!(told(&app).await, ["anna@example.net"]);
    session.remove_file(&path("d")).await.unwrap();
    app.retention().restore(&word("XT-1"), &path("d")).await.unwrap();
    assert!(deliver(&app, 100).await.is_empty());
}
