//! What is said of a ticket changes, and a ticket waits for its customer.

use super::compare::rows_are_as_told;
use super::*;
use crate::model::NoticeState;

fn waiting() -> TicketEdit {
    TicketEdit { status: Some(TicketStatus::Waiting), ..TicketEdit::default() }
}

async fn status(app: &App) -> TicketStatus {
    app.tickets().ticket(&word("XT-1")).await.unwrap().status
}

async fn bert(app: &App) {
    let key = ("SHA256:bert".to_owned(), "ssh-ed25519".to_owned());
    app.tickets().add_engineer(word("bert"), None, "bert@example.net".to_owned(), None, vec![key]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_said_of_a_ticket_can_be_changed() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    bert(&app).await;
    put(&session, "a", b"x").await;
    let (tickets, reference) = (app.tickets(), word("XT-1"));
    tickets.add_organisation(word("OTHER"), "Other".to_owned(), None).await.unwrap();
    let edit = TicketEdit {
        title: Some(Some("BGP flaps".to_owned())),
        priority: Some("1".parse().unwrap()),
        language: Some(Some(Language::En)),
        engineer: Some(word("bert")),
        organisation: Some(word("OTHER")),
        kind: Some(word("rma")),
        serial: Some(Some("FDO1234".to_owned())),
        deadline: Some(Some("2999-12-31".parse().unwrap())),
        status: Some(TicketStatus::Waiting),
        ..TicketEdit::default()
    };
    let changed = tickets.edit(&reference, edit.clone()).await.unwrap();
    let all = ["title", "priority", "language", "organisation", "kind", "serial", "deadline", "status", "engineer"];
    assert_eq!(changed, all);
    let line = serde_json::to_value(tickets.ticket(&reference).await.unwrap()).unwrap();
    for (name, value) in [
        ("title", "BGP flaps"),
        ("language", "en"),
        ("engineer", "bert"),
        ("organisation", "OTHER"),
        ("kind", "rma"),
        ("serial", "FDO1234"),
        ("deadline", "2999-12-31"),
        ("status", "waiting"),
    ] {
        assert_eq!(line[name], value, "{name}");
    }
    assert_eq!(line["priority"], 1);
    // Its notices go along, as with 'ticket assign'.
    let notices = app.notices().list(None).await.unwrap();
    assert_eq!(notices.iter().map(|notice| notice.recipient.as_str()).collect::<Vec<_>>(), ["bert@example.net"]);
    assert_eq!(tickets.edit(&reference, edit).await.unwrap(), [""; 0]);
    let less = TicketEdit { title: Some(None), serial: Some(None), deadline: Some(None), ..TicketEdit::default() };
    assert_eq!(tickets.edit(&reference, less).await.unwrap(), ["title", "serial", "deadline"]);
    rows_are_as_told(&app).await;

    tickets.disable_organisation(&word("ACME")).await.unwrap();
    tickets.disable_engineer(&word("anna")).await.unwrap();
    for (edit, why) in [
        (TicketEdit { engineer: Some(word("nobody")), ..TicketEdit::default() }, "no engineer nobody"),
        (TicketEdit { engineer: Some(word("anna")), ..TicketEdit::default() }, "anna is disabled"),
        (TicketEdit { organisation: Some(word("NOBODY")), ..TicketEdit::default() }, "no organisation NOBODY"),
        (TicketEdit { organisation: Some(word("ACME")), ..TicketEdit::default() }, "ACME is disabled"),
        (TicketEdit { title: Some(Some("a\nb".to_owned())), ..TicketEdit::default() }, "on one line"),
    ] {
        // Nothing of it is done if a part of it cannot be.
        let edit = TicketEdit { priority: Some("4".parse().unwrap()), ..edit };
        let error = tickets.edit(&reference, edit).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(tickets.ticket(&reference).await.unwrap().priority.number(), 1);
    rows_are_as_told(&app).await;
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_ends_the_waiting_whichever_way_it_takes() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let (tickets, reference) = (app.tickets(), word("XT-1"));
    // A small file, the same again, and one in extents.
    for (name, length) in [("small", 10), ("small", 20), ("large", 2_500_000), ("empty", 0)] {
        put(&session, "before", b"x").await;
        tickets.edit(&reference, waiting()).await.unwrap();
        put(&session, name, &pattern(length, 1)).await;
        assert_eq!(status(&app).await, TicketStatus::Open, "{name} {length}");
    }
    // What is closed with a hole is an answer, too; what was cut is none yet.
    tickets.edit(&reference, waiting()).await.unwrap();
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path("cut"), mode).await.unwrap();
    write(&mut upload, 0, &pattern(90_000, 1)).await;
    drop(upload);
    assert_eq!(status(&app).await, TicketStatus::Waiting);
    // What engineers hand back waits for the customer all the same.
    put(&engineer(&app).await, "XT-1/from-support/tool", b"x").await;
    assert_eq!(status(&app).await, TicketStatus::Waiting);
    let waits = tickets.set_status(&reference, TicketStatus::Open).await.unwrap_err().to_string();
    assert!(waits.contains("not closed, but waits"), "{waits}");
    let edit = TicketEdit { status: Some(TicketStatus::Open), ..TicketEdit::default() };
    assert_eq!(tickets.edit(&reference, edit.clone()).await.unwrap(), ["status"]);
    tickets.edit(&reference, waiting()).await.unwrap();
    tickets.set_status(&reference, TicketStatus::Closed).await.unwrap();
    let closed = tickets.edit(&reference, edit).await.unwrap_err().to_string();
    assert!(closed.contains("ticket reopen XT-1"), "{closed}");
    tickets.set_status(&reference, TicketStatus::Open).await.unwrap();
    assert_eq!(status(&app).await, TicketStatus::Open);
    assert!(app.notices().list(None).await.unwrap().iter().all(|notice| notice.state == NoticeState::Settling));
    rows_are_as_told(&app).await;
    app.close().await;
}
