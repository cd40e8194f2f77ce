//! Contacts: who gets in, by what, and what ends it.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::login::Origin;
use crate::model::{Door, Transport};
use crate::records::contacts;

async fn run(conn: &mut crate::records::Conn, text: &'static str) {
    sqlx::query(text).execute(conn).await.unwrap();
}

const KEY: &str = "SHA256:karl";

/// A contact of the organisation `ACME`, who logs in by [`KEY`].
pub(super) async fn contact(app: &App, id: &str) {
    contact_of(app, id, "ACME").await;
}

/// A contact who logs in by the key `SHA256:ID`.
pub(super) async fn contact_of(app: &App, id: &str, organisation: &str) {
    let new = NewContact {
        id: word(id),
        organisation: word(organisation),
        name: None,
        email: format!("{id}@example.org"),
        language: None,
        valid_until: None,
        keys: vec![(format!("SHA256:{id}"), "ssh-ed25519".to_owned())],
    };
    app.tickets().add_contact(new).await.unwrap();
}

/// A session of a contact who logs in by its key.
pub(super) async fn session_of(app: &App, id: &str) -> ShareSession {
    let login = app.logins().by_key(id, &format!("SHA256:{id}"), FROM).await.unwrap().unwrap();
    app.session(&login)
}

async fn by_key(app: &App) -> Option<ShareSession> {
    app.logins().by_key("karl", KEY, FROM).await.unwrap().map(|login| app.session(&login))
}

async fn by_password(app: &App, password: &str) -> Option<ShareSession> {
    app.logins().by_token("karl", password, FROM).await.unwrap().map(|login| app.session(&login))
}

/// The names that a directory shows.
pub(super) async fn names(session: &ShareSession, at: &str) -> Vec<String> {
    let mut listing = session.list(&path(at)).await.unwrap();
    let mut names = Vec::new();
    loop {
        let lines = listing.next(2).await.unwrap();
        if lines.is_empty() {
            names.sort();
            return names;
        }
        names.extend(lines.iter().map(|line| line.name.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_sees_tickets_as_directories_and_what_it_sends_bears_its_name() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let ticket = customer(&app, "XT-1").await;
    customer(&app, "XT-2").await;
    customer(&app, "XT-3").await;
    contact(&app, "karl").await;
    let karl = by_key(&app).await.unwrap();
    assert_eq!(names(&karl, "/").await, ["XT-1", "XT-2", "XT-3"]);
    put(&karl, "/XT-1/a.txt", b"hello").await;
    assert_eq!(get(&ticket, "/a.txt").await.unwrap(), b"hello");
    let address = PublicAddress::unknown();
    let lines = app.artifacts().list(&word("XT-1"), &address).await.unwrap();
    assert_eq!(lines[0].uploaded_by, "karl");
    // It may what a customer may, and nothing else.
    let mode = WriteMode { create: true, ..WriteMode::default() };
    let refused = karl.open_write(&path("/XT-1/from-support/x"), mode).await.err();
    assert_eq!(refused, Some(Refusal::FromSupportOnly));
    assert_eq!(karl.open_write(&path("/x"), mode).await.err(), Some(Refusal::NoSuchFile));
    assert_eq!(karl.make_directory(&path("/XT-9")).await.err(), Some(Refusal::NoSuchFile));
    assert_eq!(karl.attributes(&path("/XT-1/.versions")).await.err(), Some(Refusal::NoSuchFile));
    karl.rename(&path("/XT-1/a.txt"), &path("/XT-1/b.txt"), false).await.unwrap();
    let across = karl.rename(&path("/XT-1/b.txt"), &path("/XT-2/b.txt"), false).await;
    assert_eq!(across, Err(Refusal::AcrossShares));
    karl.remove_file(&path("/XT-1/b.txt")).await.unwrap();
    app.tickets().set_status(&word("XT-1"), TicketStatus::Closed).await.unwrap();
    assert_eq!(karl.open_write(&path("/XT-1/c"), mode).await.err(), Some(Refusal::TicketClosed));
}

/// R35: what is wrong cannot be told from outside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r35_whatever_is_wrong_nobody_gets_in() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    contact(&app, "karl").await;
    assert!(by_password(&app, "").await.is_none(), "there is no password yet");
    let made = app.tickets().set_password(&word("karl"), NewPassword::Made).await.unwrap().unwrap();
    assert!(by_password(&app, &made).await.is_some());
    assert!(by_password(&app, "something else").await.is_none());
    for user in ["nobody", "anna", "ACME", "XT-1", "", "KARLA"] {
        assert!(app.logins().by_token(user, &made, FROM).await.unwrap().is_none(), "{user}");
        assert!(app.logins().by_key(user, KEY, FROM).await.unwrap().is_none(), "{user}");
    }
    let old_devices = Origin { address: FROM, transport: Transport::Legacy, door: Door::Ssh };
    assert!(app.logins().by_token("karl", &made, old_devices).await.unwrap().is_none());
    // Each way in ends and comes back.
    let until = |day: &str| ContactChanges { valid_until: Some(Some(day.parse().unwrap())), ..Default::default() };
    app.tickets().change_contact(&word("karl"), until("2020-01-31")).await.unwrap();
    assert!(by_password(&app, &made).await.is_none() && by_key(&app).await.is_none(), "expired");
    app.tickets().change_contact(&word("karl"), until("2999-01-31")).await.unwrap();
    assert!(by_password(&app, &made).await.is_some() && by_key(&app).await.is_some());
    app.tickets().set_contact_enabled(&word("karl"), false).await.unwrap();
    assert!(by_password(&app, &made).await.is_none() && by_key(&app).await.is_none(), "disabled");
    app.tickets().set_contact_enabled(&word("karl"), true).await.unwrap();
    let chosen = zeroize::Zeroizing::new("correct horse battery".to_owned());
    assert!(app.tickets().set_password(&word("karl"), NewPassword::Chosen(chosen)).await.unwrap().is_none());
    assert!(by_password(&app, &made).await.is_none(), "the old one");
    assert!(by_password(&app, "correct horse battery").await.is_some());
    app.tickets().set_password(&word("karl"), NewPassword::Removed).await.unwrap();
    assert!(by_password(&app, "correct horse battery").await.is_none(), "taken away");
    app.tickets().remove_contact(&word("karl")).await.unwrap();
    assert!(by_key(&app).await.is_none(), "removed");
    let short = NewPassword::Chosen(zeroize::Zeroizing::new("short".to_owned()));
    assert!(app.tickets().set_password(&word("karl"), short).await.is_err());
}

/// The name of somebody who is gone never becomes somebody else's.
#[tokio::test]
async fn names_are_one_space_and_stay_taken() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    contact(&app, "karl").await;
    app.tickets().remove_contact(&word("karl")).await.unwrap();
    for taken in ["karl", "Karl", "anna", "ACME", "xt-1"] {
        let new = NewContact {
            id: word(taken),
            organisation: word("ACME"),
            name: None,
            email: "k@example.org".to_owned(),
            language: None,
            valid_until: None,
            keys: Vec::new(),
        };
        let error = app.tickets().add_contact(new).await.unwrap_err().to_string();
        assert!(error.contains("in use already"), "{error}");
    }
}

/// R79: what is open ends with the login, on the next operation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r79_what_a_contact_has_open_ends_with_its_login() {
    type Change = fn(&App) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>>;
    let changes: [(&str, Change); 6] = [
        ("disabled", |app| Box::pin(async { app.tickets().set_contact_enabled(&word("karl"), false).await.unwrap() })),
        ("organisation disabled", |app| {
            Box::pin(async { app.tickets().disable_organisation(&word("ACME")).await.map(drop).unwrap() })
        }),
        ("removed", |app| Box::pin(async { app.tickets().remove_contact(&word("karl")).await.unwrap() })),
        ("key removed", |app| {
            Box::pin(async { app.tickets().remove_contact_keys(&word("karl"), &[KEY.to_owned()]).await.unwrap() })
        }),
        ("expired", |app| {
            let changes =
                ContactChanges { valid_until: Some(Some("2020-01-31".parse().unwrap())), ..Default::default() };
            Box::pin(async { app.tickets().change_contact(&word("karl"), changes).await.unwrap() })
        }),
        ("forged", |app| {
            Box::pin(async {
                let mut tx = app.0.access.repo.records.begin().await.unwrap();
                let text = "UPDATE contact SET organisation = organisation, email = 'x@example.org'";
                run(tx.conn(), text).await;
                crate::repo::tickets::mark_logins_changed(tx.conn()).await.unwrap();
                tx.commit().await.unwrap();
            })
        }),
    ];
    for (what, change) in changes {
        let fixture = Fixture::new();
        let app = fixture.open().await;
        customer(&app, "XT-1").await;
        contact(&app, "karl").await;
        let karl = by_key(&app).await.unwrap();
        put(&karl, "/XT-1/a", b"a").await;
        let download = karl.open_read(&path("/XT-1/a")).await.unwrap();
        let mode = WriteMode { create: true, ..WriteMode::default() };
        let mut upload = karl.open_write(&path("/XT-1/b"), mode).await.unwrap();
        write(&mut upload, 0, b"b").await;
        change(&app).await;
        // What changes something is decided in its own transaction, whether the watch has looked or
        // not.
        assert_eq!(karl.make_directory(&path("/XT-1/d")).await, Err(Refusal::NoSuchFile), "{what}");
        assert_eq!(upload.close().await, Err(Refusal::LoginEnded), "{what}");
        let stop = CancellationToken::new();
        let watch = tokio::spawn({
            let (app, stop) = (app.clone(), stop.clone());
            async move { app.logins().watch(stop).await }
        });
        karl.login().ended().cancelled().await;
        assert_eq!(download.read(0, 1, &mut Vec::new()).await, Err(Refusal::LoginEnded), "{what}");
        stop.cancel();
        watch.await.unwrap();
    }
}

/// R36: two at once, some more wait, and the others are refused unseen. A right token never waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r36_more_passwords_than_there_is_room_for_are_refused_and_tokens_are_not() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    contact(&app, "karl").await;
    let made = app.tickets().set_password(&word("karl"), NewPassword::Made).await.unwrap().unwrap();
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    let held = app.logins().hold_all_places();
    assert!(by_password(&app, &made).await.is_none(), "nobody looked at it");
    assert!(app.logins().by_token("XT-1", &token, FROM).await.unwrap().is_some());
    drop(held);
    assert!(by_password(&app, &made).await.is_some());
    let strangers: Vec<_> = (0..200)
        .map(|number| {
            let app = app.clone();
            tokio::spawn(
                async move { app.logins().by_token(&format!("u{number}"), "wrong", FROM).await.unwrap().is_none() },
            )
        })
        .collect();
    for stranger in strangers {
        assert!(stranger.await.unwrap());
    }
    assert!(by_password(&app, &made).await.is_some(), "every place was given back");
}

/// A row that was changed in the database lets nobody in, and no command launders it.
#[tokio::test]
async fn a_contact_that_was_changed_from_outside_is_refused_everywhere() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    contact(&app, "karl").await;
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    run(tx.conn(), "UPDATE contact SET valid_until = '2999-12-31'").await;
    tx.commit().await.unwrap();
    assert!(by_key(&app).await.is_none());
    assert_eq!(app.tickets().unproved().await.unwrap(), ["contact karl"]);
    assert!(app.tickets().set_password(&word("karl"), NewPassword::Made).await.is_err());
    let compared = app.integrity().compare().await.unwrap();
    assert!(compared.differences.iter().any(|line| line.about == "contact" && line.id == "karl"), "{compared:?}");
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    assert_eq!(contacts::list(&mut conn).await.unwrap().len(), 1);
}

/// Opens a ticket of `ACME` whose people are these, and gives its reference.
async fn opened(app: &App, reference: &str, people: PeopleChanges) -> Identifier {
    let new = new_ticket(reference);
    app.tickets().open_ticket_with(new, TicketDetails { people, ..TicketDetails::default() }).await.unwrap();
    word(reference)
}

/// Changes a ticket's people.
pub(super) async fn set_people(app: &App, ticket: &Identifier, people: PeopleChanges) {
    app.tickets().edit(ticket, TicketEdit { people, ..TicketEdit::default() }).await.map(drop).unwrap();
}

/// Who sees a ticket: for each visibility, each contact of three organisations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_contact_sees_the_tickets_that_say_so_and_no_others() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-0").await;
    for organisation in ["OTHER", "END"] {
        app.tickets().add_organisation(word(organisation), organisation.to_owned(), None).await.unwrap();
    }
    for (id, organisation) in
        [("a1", "ACME"), ("a2", "ACME"), ("a3", "ACME"), ("e1", "END"), ("e2", "END"), ("o1", "OTHER")]
    {
        contact_of(&app, id, organisation).await;
    }
    let named = |ids: &[&str]| ids.iter().map(|id| word(id)).collect::<Vec<_>>();
    let affected = Some(Some(word("END")));
    let with = |visibility, ids: &[&str], affected: &Option<Option<Identifier>>| PeopleChanges {
        visibility,
        contacts: named(ids),
        affected: affected.clone(),
        ..PeopleChanges::default()
    };
    use crate::model::rights::Visibility::{Named, Only, Organisation};
    let tickets = [
        ("T-ALL", with(None, &[], &None), vec!["a1", "a2", "a3"]),
        ("T-ALL-END", with(Some(Organisation), &[], &affected), vec!["a1", "a2", "a3", "e1", "e2"]),
        ("T-NAMED", with(None, &["a2", "a1"], &None), vec!["a1", "a2"]),
        ("T-NAMED-END", with(Some(Named), &["e2", "a3"], &affected), vec!["a3", "e2"]),
        ("T-NOBODY", with(Some(Named), &[], &affected), vec![]),
        ("T-ONLY", with(Some(Only), &["a2", "a1"], &None), vec!["a2"]),
        ("T-ONLY-END", with(Some(Only), &["e1", "a1"], &affected), vec!["e1"]),
    ];
    for (reference, people, _) in &tickets {
        let reference = opened(&app, reference, people.clone()).await;
        let token = app.tickets().new_token(&reference).await.unwrap();
        let login = app.logins().by_token(reference.as_str(), &token, FROM).await.unwrap().unwrap();
        put(&app.session(&login), "/a", b"a").await;
    }
    for id in ["a1", "a2", "a3", "e1", "e2", "o1"] {
        let session = session_of(&app, id).await;
        let sees: Vec<_> =
            tickets.iter().filter(|(.., who)| who.contains(&id)).map(|(reference, ..)| *reference).collect();
        let mut listed = names(&session, "/").await;
        listed.retain(|name| name != "XT-0");
        assert_eq!(listed, sees, "{id}");
        for (reference, ..) in &tickets {
            let outcome = get(&session, &format!("/{reference}/a")).await;
            let expected = if sees.contains(reference) { Ok(b"a".to_vec()) } else { Err(Refusal::NoSuchFile) };
            assert_eq!(outcome, expected, "{id} {reference}");
        }
    }
    // Whoever belongs to neither organisation cannot be named; who is named cannot be removed.
    let stranger = with(None, &["o1"], &None);
    assert!(
        app.tickets()
            .edit(&word("T-ALL"), TicketEdit { people: stranger, ..TicketEdit::default() })
            .await
            .unwrap_err()
            .to_string()
            .contains("OTHER")
    );
    let refused = app.tickets().remove_contact(&word("a2")).await.unwrap_err().to_string();
    assert!(refused.contains("T-NAMED, T-ONLY"), "{refused}");
    let refused = app.tickets().remove_organisation(&word("END")).await.unwrap_err().to_string();
    assert!(refused.contains("T-ALL-END"), "{refused}");
    let refused = app.tickets().remove_organisation(&word("OTHER")).await.unwrap_err().to_string();
    assert!(refused.contains("contacts: o1;"), "{refused}");
    // The end of an act ends what the other organisation sees, named or not.
    let none = PeopleChanges { affected: Some(None), ..PeopleChanges::default() };
    app.tickets().edit(&word("T-NAMED-END"), TicketEdit { people: none, ..TicketEdit::default() }).await.unwrap();
    assert_eq!(get(&session_of(&app, "e2").await, "/T-NAMED-END/a").await, Err(Refusal::NoSuchFile));
    let compared = app.integrity().compare().await.unwrap();
    assert_eq!(compared.differences, []);
    assert_eq!(app.tickets().unproved().await.unwrap(), Vec::<String>::new());
}

/// R79: who is taken off a ticket ends there, on the next operation, and nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r79_who_is_taken_off_a_ticket_ends_there_and_nowhere_else() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-0").await;
    contact(&app, "karl").await;
    let people = PeopleChanges { contacts: vec![word("karl")], ..PeopleChanges::default() };
    opened(&app, "T-1", people.clone()).await;
    opened(&app, "T-2", people).await;
    let karl = session_of(&app, "karl").await;
    let mode = WriteMode { create: true, ..WriteMode::default() };
    let (mut downloads, mut uploads) = (Vec::new(), Vec::new());
    for ticket in ["T-1", "T-2"] {
        put(&karl, &format!("/{ticket}/a"), b"a").await;
        downloads.push(karl.open_read(&path(&format!("/{ticket}/a"))).await.unwrap());
        let mut upload = karl.open_write(&path(&format!("/{ticket}/b")), mode).await.unwrap();
        write(&mut upload, 0, b"b").await;
        uploads.push(upload);
    }
    let off = PeopleChanges { without_contacts: vec![word("karl")], ..PeopleChanges::default() };
    app.tickets().edit(&word("T-1"), TicketEdit { people: off, ..TicketEdit::default() }).await.unwrap();
    let (one, two) = (uploads.remove(0), uploads.remove(0));
    assert_eq!(one.close().await, Err(Refusal::NotNamed));
    let stop = CancellationToken::new();
    let watch = tokio::spawn({
        let (app, stop) = (app.clone(), stop.clone());
        async move { app.logins().watch(stop).await }
    });
    while downloads[0].read(0, 1, &mut Vec::new()).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(downloads[0].read(0, 1, &mut Vec::new()).await, Err(Refusal::NotNamed));
    assert_eq!(downloads[1].read(0, 1, &mut Vec::new()).await, Ok(1));
    two.close().await.unwrap();
    assert_eq!(names(&karl, "/").await, ["T-2", "XT-0"]);
    assert!(!karl.login().ended().is_cancelled());
    stop.cancel();
    watch.await.unwrap();
}

/// Each column of each row that decides what contacts and teams may, with another value for it; none
/// for what decides nothing.
type Columns = &'static [(&'static str, Option<&'static str>)];

const COLUMNS: [(&str, Columns); 8] = [
    (
        "contact",
        &[
            ("id", None),
            ("organisation", Some("'END'")),
            ("name", None),
            ("email", Some("'evil@example.org'")),
            ("language", Some("'de'")),
            ("password", Some("x'01'")),
            ("password_generation", Some("7")),
            ("valid_until", Some("'2999-12-31'")),
            ("created_at", None),
            ("disabled_at", Some("1")),
            ("proof", Some("zeroblob(32)")),
        ],
    ),
    (
        "contact_key",
        &[
            ("contact", None),
            ("fingerprint", Some("'SHA256:evil'")),
            ("algorithm", Some("'ssh-rsa'")),
            ("added_at", None),
            ("proof", Some("NULL")),
        ],
    ),
    (
        "ticket_people",
        &[
            ("ticket", Some("'XT-9'")),
            ("visibility", Some("'organisation'")),
            ("affected", Some("'END'")),
            ("team", Some("NULL")),
            ("denied", Some("'list'")),
            ("proof", Some("NULL")),
        ],
    ),
    (
        "ticket_contact",
        &[("ticket", Some("'XT-9'")), ("contact", Some("'maria'")), ("place", Some("7")), ("proof", Some("NULL"))],
    ),
    ("ticket_watcher", &[("ticket", Some("'XT-9'")), ("address", Some("'evil@example.org'")), ("proof", Some("NULL"))]),
    (
        "team",
        &[
            ("id", None),
            ("name", None),
            ("email", Some("'evil@example.org'")),
            ("created_at", None),
            ("proof", Some("NULL")),
        ],
    ),
    ("team_member", &[("team", None), ("engineer", Some("'bert'")), ("proof", Some("NULL"))]),
    ("notice", &[]),
];

/// R09 for contacts and teams: whoever writes the database without the keys changes nothing that
/// decides a right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_column_that_decides_what_contacts_may_is_proved() {
    use crate::records::proofs::LABELS;
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-0").await;
    app.tickets().add_organisation(word("END"), "END".to_owned(), None).await.unwrap();
    app.tickets().add_engineer(word("bert"), None, "b@example.org".to_owned(), None, Vec::new()).await.unwrap();
    contact(&app, "karl").await;
    contact(&app, "maria").await;
    let new = NewTeam { id: word("core"), name: None, email: None, members: vec![word("anna")] };
    app.tickets().add_team(new).await.unwrap();
    let people = PeopleChanges {
        contacts: vec![word("karl")],
        team: Some(Some(word("core"))),
        watchers: vec!["w@example.org".to_owned()],
        ..PeopleChanges::default()
    };
    opened(&app, "T-1", people).await;
    // The others: `proofs.rs`, `ending.rs`.
    for (table, columns) in COLUMNS {
        assert!(columns.is_empty() || LABELS.iter().any(|(_, labelled)| *labelled == table), "{table}");
    }
    let mut conn = super::proofs::outsider(&fixture).await;
    let mut changed = 0;
    for (table, columns) in COLUMNS {
        if columns.is_empty() {
            continue;
        }
        let text = format!("SELECT name FROM pragma_table_info('{table}')");
        let there: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_all(&mut conn).await.unwrap();
        let mut known: Vec<_> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut there = there;
        known.sort();
        there.sort();
        assert_eq!(there, known, "{table}: what is a new column to the house?");
        for (column, other) in columns.iter().filter_map(|(column, other)| Some((column, other.as_ref()?))) {
            let row = match table {
                "contact" | "contact_key" => format!("{} = 'karl'", columns[0].0),
                _ => format!("{} <> 'XT-0'", columns[0].0),
            };
            let text = format!(
                "CREATE TEMP TABLE kept AS SELECT * FROM {table}; UPDATE {table} SET {column} = {other} WHERE {row}"
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut conn).await.unwrap();
            let named = app.tickets().unproved().await.unwrap();
            assert!(!named.is_empty(), "{table}.{column} = {other}");
            assert!(named.iter().all(|name| name.starts_with(table)), "{named:?}");
            if !table.starts_with("team") && table != "ticket_watcher" {
                let login = app.logins().by_key("karl", "SHA256:karl", FROM).await.unwrap();
                let sees = match login {
                    Some(login) => names(&app.session(&login), "/").await.contains(&"T-1".to_owned()),
                    None => false,
                };
                assert!(!sees, "{table}.{column} = {other}: the contact still sees the ticket");
            }
            let text = format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept");
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut conn).await.unwrap();
            changed += 1;
        }
    }
    assert!(changed > 20, "{changed}");
    assert_eq!(names(&session_of(&app, "karl").await, "/").await, ["T-1", "XT-0"]);
    assert_eq!(app.tickets().unproved().await.unwrap(), Vec::<String>::new());
}
