//! The table of rights, cell by cell, through what every door calls.

use super::contacts::{contact, contact_of, session_of, set_people};
use super::*;
use crate::model::rights::{self, Denied, Operation, Role, Side};
use crate::model::{Algorithm, Time};

const CREATE: WriteMode = WriteMode { create: true, truncate: true, append: false, exclusive: false, read: false };

/// Who asks, and what stands before its paths.
struct Asker {
    role: Role,
    session: ShareSession,
    at: String,
}

/// A ticket that stands as the cells ask for, and everybody who comes to it.
async fn ticket(app: &App, number: usize, status: TicketStatus, denied: Denied, device: bool) -> Vec<Asker> {
    let reference = format!("T-{number}");
    let new = NewTicket { device, ..new_ticket(&reference) };
    let people =
        PeopleChanges { contacts: vec![word("karl")], team: Some(Some(word("core"))), ..PeopleChanges::default() };
    let details = TicketDetails { people, ..TicketDetails::default() };
    let (_, token) = app.tickets().open_ticket_with(new, details).await.unwrap();
    let login = app.logins().by_token(&reference, &token, FROM).await.unwrap().unwrap();
    let customer = app.session(&login);
    let engineer = engineer(app).await;
    let mut askers = Vec::new();
    for (role, session, at) in [
        (if device { Role::Device } else { Role::Ticket }, customer, String::new()),
        (Role::Contact, session_of(app, "karl").await, format!("/{reference}")),
        (Role::Engineer, engineer, format!("/{reference}")),
        (Role::Member, by_key(app, "bert").await, format!("/{reference}")),
        (Role::Deputy, by_key(app, "dirk").await, format!("/{reference}")),
        (Role::Lead, by_key(app, "lena").await, format!("/{reference}")),
        (Role::Auditor, by_key(app, "paul").await, format!("/{reference}")),
        (Role::Nobody, by_key(app, "carl").await, format!("/{reference}")),
        (Role::Nobody, session_of(app, "otto").await, format!("/{reference}")),
    ] {
        askers.push(Asker { role, session, at });
    }
    // Something to look at for all, and something to take away for each of them, on both sides.
    for (maker, side) in [(1, ""), (2, "/from-support")] {
        let Asker { session, at, .. } = &askers[maker];
        for name in ["look", "read", "replace", "attributes"] {
            put(session, &format!("{at}{side}/{name}"), b"content").await;
        }
        for number in 0..askers.len() {
            for name in ["delete", "rename"] {
                put(session, &format!("{at}{side}/{name}{number}"), b"content").await;
            }
            session.make_directory(&path(&format!("{at}{side}/gone{number}"))).await.unwrap();
        }
    }
    let changes = PeopleChanges { denied: Some(denied), ..PeopleChanges::default() };
    set_people(app, &word(&reference), changes).await;
    match status {
        TicketStatus::Open => {}
        TicketStatus::Waiting => {
            let edit = TicketEdit { status: Some(status), ..TicketEdit::default() };
            app.tickets().edit(&word(&reference), edit).await.map(drop).unwrap();
        }
        TicketStatus::Closed => app.tickets().set_status(&word(&reference), status).await.unwrap(),
    }
    // The token's login learns of it soon (`Logins::watch`); here it comes again.
    let login = app.logins().by_token(&reference, &token, FROM).await.unwrap().unwrap();
    askers[0].session = app.session(&login);
    askers
}

/// A session of an engineer who logs in by the key `SHA256:NAME`.
async fn by_key(app: &App, name: &str) -> ShareSession {
    app.session(&app.logins().by_key(name, &format!("SHA256:{name}"), FROM).await.unwrap().unwrap())
}

/// Does what a cell is about, and gives what came of it.
async fn attempt(asker: &Asker, number: usize, operation: Operation, side: Side) -> Result<(), Refusal> {
    let (session, at) = (&asker.session, &asker.at);
    let side = if side == Side::Support { "/from-support" } else { "" };
    let here = |name: &str| path(&format!("{at}{side}/{name}"));
    let own = |name: &str| path(&format!("{at}{side}/{name}{number}"));
    let beside = |tree: &str, name: &str, end: &str| path(&format!("{at}/{tree}{side}/{name}{end}"));
    match operation {
        Operation::Look => session.attributes(&here("look")).await.map(drop),
        Operation::List => {
            let directory = format!("{at}{side}");
            let listing = session.list(&path(if directory.is_empty() { "/" } else { &directory })).await;
            listing?.next(10).await.map(drop)
        }
        Operation::Read => {
            let digest = session.digest(&here("read"), Algorithm::Sha256).await.map(drop);
            let content = get(session, &format!("{at}{side}/read")).await.map(drop);
            assert_eq!(digest, content, "a digest is like reading");
            content
        }
        Operation::ReadReceipt => session.open_read(&beside(".receipts", "read", ".receipt")).await.map(drop),
        Operation::ReadVersions => session.open_read(&beside(".versions", "read", "/1")).await.map(drop),
        Operation::Create | Operation::Overwrite => {
            let name = if operation == Operation::Create { own("new") } else { here("replace") };
            let mut upload = session.open_write(&name, CREATE).await?;
            write(&mut upload, 0, b"more").await;
            upload.close().await
        }
        Operation::Delete => session.remove_file(&own("delete")).await,
        Operation::Rename => session.rename(&own("rename"), &own("renamed"), false).await,
        Operation::MakeDirectory => session.make_directory(&own("made")).await,
        Operation::RemoveDirectory => session.remove_directory(&own("gone")).await,
        Operation::SetAttributes => {
            let changes = Changes { mode: Some(0o600), modified: Some(Time::now()), ..Changes::default() };
            session.change(&here("attributes"), changes).await
        }
    }
}

/// R56, R79: whoever asks for whatever in whatever ticket hears what the table says.
#[expect(clippy::print_stdout, reason = "its answer")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r56_every_cell_of_the_table_is_what_sessions_do() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-0").await;
    contact(&app, "karl").await;
    app.tickets().add_organisation(word("OTHER"), "OTHER".to_owned(), None).await.unwrap();
    contact_of(&app, "otto", "OTHER").await;
    for name in ["bert", "carl", "dirk", "lena", "paul"] {
        let key = (format!("SHA256:{name}"), "ssh-ed25519".to_owned());
        let address = format!("{name}@example.org");
        app.tickets().add_engineer(word(name), None, address, None, vec![key]).await.unwrap();
    }
    for (name, role) in [("lena", crate::model::Role::Lead), ("paul", crate::model::Role::Auditor)] {
        let edit = EngineerEdit { role: Some(role), ..EngineerEdit::default() };
        app.tickets().edit_engineer(&word(name), edit).await.map(drop).unwrap();
    }
    let (from, to) = ("2026-01-01".parse().unwrap(), "2999-12-31".parse().unwrap());
    app.tickets().set_absence(&word("anna"), Absence { from, to, deputy: word("dirk") }).await.unwrap();
    let team = NewTeam { id: word("core"), name: None, email: None, members: vec![word("bert")] };
    app.tickets().add_team(team).await.unwrap();
    let (mut cells, mut tickets, mut allowed) = (0, 0, 0);
    for denied in ["", "list", "read", "overwrite", "delete"] {
        let denied: Denied = denied.parse().unwrap();
        for (status, device) in TicketStatus::ALL.iter().flat_map(|status| [(*status, false), (*status, true)]) {
            let askers = ticket(&app, tickets, status, denied, device).await;
            tickets += 1;
            for (number, asker) in askers.iter().enumerate() {
                for (operation, side) in
                    Operation::ALL.iter().flat_map(|operation| Side::ALL.iter().map(move |side| (*operation, *side)))
                {
                    let outcome = attempt(asker, number, operation, side).await;
                    let expected = rights::allows(asker.role, operation, side, status, denied);
                    let cell = format!("{} {operation} {side} {status} denied '{denied}'", asker.role);
                    assert_eq!(outcome, expected, "{cell}");
                    allowed += usize::from(outcome.is_ok());
                    cells += 1;
                }
            }
        }
    }
    println!("{cells} cells of role x operation x side x state x denials, {allowed} of them allowed");
    assert!(allowed > 400 && cells == 5 * 2 * TicketStatus::ALL.len() * 9 * 24, "{cells} {allowed}");
    assert_eq!(app.integrity().compare().await.unwrap().differences, []);
    // What each of the house sees in its root.
    for (name, sees) in
        [("bert", tickets), ("carl", 0), ("dirk", tickets + 1), ("lena", tickets + 1), ("paul", tickets + 1)]
    {
        let listed = super::contacts::names(&by_key(&app, name).await, "/").await;
        assert_eq!(listed.len(), sees, "{name}: {listed:?}");
    }
    // A role and an absence end at once, also for what is open.
    let (dirk, lena) = (by_key(&app, "dirk").await, by_key(&app, "lena").await);
    let mode = WriteMode { create: true, ..WriteMode::default() };
    let uploads = [
        dirk.open_write(&path("/XT-0/from-support/d"), mode).await.unwrap(),
        lena.open_write(&path("/XT-0/from-support/l"), mode).await.unwrap(),
    ];
    app.tickets().end_absence(&word("anna")).await.unwrap();
    let edit = EngineerEdit { role: Some(crate::model::Role::Engineer), ..EngineerEdit::default() };
    app.tickets().edit_engineer(&word("lena"), edit).await.map(drop).unwrap();
    for upload in uploads {
        assert_eq!(upload.close().await, Err(Refusal::NotAssigned));
    }
}

/// A drop box: each login sees what it has sent, and nothing of anybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_drop_box_a_login_sees_what_it_has_sent_and_nothing_else() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    contact(&app, "karl").await;
    let changes = PeopleChanges { contacts: vec![word("karl")], drop_box: Some(true), ..PeopleChanges::default() };
    set_people(&app, &word("XT-1"), changes).await;
    let token = app.tickets().new_token(&word("XT-1")).await.unwrap();
    let enter = async || app.session(&app.logins().by_token("XT-1", &token, FROM).await.unwrap().unwrap());
    let (one, two, karl) = (enter().await, enter().await, session_of(&app, "karl").await);
    one.make_directory(&path("/d")).await.unwrap();
    put(&one, "/secret", b"one").await;
    put(&one, "/d/deep", b"one").await;
    let all = super::contacts::names;
    assert_eq!(all(&one, "/").await, ["d", "secret"]);
    assert_eq!(all(&one, "/d").await, ["deep"]);
    assert_eq!(get(&one, "/secret").await.unwrap(), b"one");
    assert!(one.open_read(&path("/.receipts/secret.receipt")).await.is_ok());
    for (other, at) in [(&two, ""), (&karl, "/XT-1")] {
        let of = |name: &str| path(&format!("{at}{name}"));
        assert_eq!(all(other, if at.is_empty() { "/" } else { at }).await, Vec::<String>::new());
        assert_eq!(all(other, &format!("{at}/d")).await, Vec::<String>::new());
        let missing = Some(Refusal::NoSuchFile);
        assert_eq!(other.attributes(&of("/secret")).await.err(), missing);
        assert_eq!(other.open_read(&of("/secret")).await.err(), missing);
        assert_eq!(other.digest(&of("/secret"), Algorithm::Sha256).await.err(), missing);
        assert_eq!(other.open_read(&of("/.receipts/secret.receipt")).await.err(), missing);
        assert_eq!(other.list(&of("/.receipts")).await.err(), Some(Refusal::NoListing));
        assert_eq!(other.attributes(&of("/from-support")).await.err(), missing);
        assert_eq!(other.remove_file(&of("/secret")).await.err(), missing);
        assert_eq!(other.rename(&of("/secret"), &of("/x"), false).await.err(), missing);
        let changes = Changes { mode: Some(0o600), ..Changes::default() };
        assert_eq!(other.change(&of("/secret"), changes).await.err(), missing);
        // Its name is taken all the same: nothing of another's is replaced.
        let taken = Some(Refusal::AlreadyExists);
        assert_eq!(other.open_write(&of("/secret"), CREATE).await.err(), taken);
        assert_eq!(other.make_directory(&of("/secret")).await.err(), taken);
        put(other, &format!("{at}/mine{}", at.len()), b"mine").await;
        let onto = other.rename(&of(&format!("/mine{}", at.len())), &of("/secret"), true).await;
        assert_eq!(onto.err(), taken);
    }
    assert_eq!(all(&two, "/").await, ["mine0"]);
    // What was cut can be gone on with by whoever knows its name, since it comes back as another
    // login; once it is whole, it is seen by who sent its end.
    let mut cut = one.open_write(&path("/long"), CREATE).await.unwrap();
    write(&mut cut, 0, b"first").await;
    cut.sync().await.unwrap();
    drop(cut);
    let size = two.attributes(&path("/long")).await.unwrap().size;
    let mut upload = two.open_write(&path("/long"), WriteMode::default()).await.unwrap();
    write(&mut upload, size, &b"first, last"[size as usize..]).await;
    upload.close().await.unwrap();
    assert_eq!(get(&two, "/long").await.unwrap(), b"first, last");
    assert_eq!(karl.attributes(&path("/XT-1/long")).await.err(), Some(Refusal::NoSuchFile));
    // Engineers see everything.
    let anna = engineer(&app).await;
    assert_eq!(all(&anna, "/XT-1").await, ["d", "from-support", "long", "mine0", "mine5", "secret"]);
}
