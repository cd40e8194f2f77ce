//! References as ticket systems write them, typed in either form and in whatever case.

use super::*;
use crate::model::Reference;

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

async fn open(app: &App, written: &str) -> Result<TicketLine, Error> {
    let new = new_ticket(reference(written).name().as_str());
    let details = TicketDetails { shown: Some(reference(written)), ..TicketDetails::default() };
    Ok(app.tickets().open_ticket_with(new, details).await?.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_is_shown_as_written_and_found_in_either_form() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    for (written, name) in [("#4711", "4711"), ("RT/4711", "RT-4711"), ("ACME.12", "ACME-12"), ("SR 12-34", "SR-12-34")]
    {
        let line = open(&app, written).await.unwrap();
        assert_eq!((line.reference.as_str(), line.shown.as_str()), (name, written));
        for typed in [written, name, &written.to_lowercase(), &name.to_lowercase()] {
            let named = app.tickets().named(&reference(typed)).await.unwrap();
            assert_eq!(named, word(name), "{typed}");
            assert_eq!(app.tickets().ticket(&named).await.unwrap().shown, written);
        }
    }
    let line = app.tickets().ticket(&word("XT-1")).await.unwrap();
    assert_eq!((line.reference.as_str(), line.shown.as_str()), ("XT-1", "XT-1"));

    // One login name is one ticket, however it is written.
    for (again, of) in [("rt.4711", "RT-4711"), ("4711", "4711"), ("sr/12.34", "SR-12-34"), ("xt 1", "XT-1")] {
        let refused = open(&app, again).await.unwrap_err().to_string();
        assert!(refused.contains(&format!("'{again}' makes the login name")) && refused.contains(of), "{refused}");
    }
    assert_eq!(open(&app, "RT/4711").await.unwrap_err().to_string(), "ticket RT/4711 exists already");
    // The names of people and tickets are one set.
    assert!(open(&app, "#Anna").await.unwrap_err().to_string().contains("in use already"));

    // What somebody else's ticket system calls it may change, its login name may not.
    let edit = |shown: &str| TicketEdit { shown: Some(reference(shown)), ..TicketEdit::default() };
    let refused = app.tickets().edit(&word("RT-4711"), edit("RT/4712")).await.unwrap_err().to_string();
    assert!(refused.contains("RT-4712") && refused.contains("never changes"), "{refused}");
    assert_eq!(app.tickets().edit(&word("RT-4711"), edit("RT #4711")).await.unwrap(), ["shown"]);
    assert_eq!(app.tickets().ticket(&word("RT-4711")).await.unwrap().shown, "RT #4711");
    assert_eq!(app.tickets().edit(&word("RT-4711"), edit("RT-4711")).await.unwrap(), ["shown"]);
    assert_eq!(app.tickets().ticket(&word("RT-4711")).await.unwrap().shown, "RT-4711");

    // What the row says decides nothing: whoever changes it from outside names no other ticket.
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    let change = "UPDATE ticket SET shown = 'XT/1' WHERE reference = 'SR-12-34'";
    sqlx::query(change).execute(&mut **tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(app.tickets().ticket(&word("SR-12-34")).await.unwrap().shown, "SR-12-34");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_that_is_gone_keeps_its_name_in_the_log() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    customer(&app, "XT-2").await;
    app.retention().shred_ticket(&word("XT-1")).await.unwrap();
    let ever = async |typed: &str| app.tickets().named_ever(&reference(typed)).await.unwrap();
    assert_eq!(
        (ever("xt/1").await, ever("xt-2").await, ever("none").await),
        (word("XT-1"), word("XT-2"), word("none"))
    );
    // The name is free in any case; each is found by its own.
    open(&app, "xt-1").await.unwrap();
    assert_eq!(
        (ever("XT-1").await, ever("xt-1").await, ever("Xt-1").await),
        (word("XT-1"), word("xt-1"), word("xt-1"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engineer_reaches_a_share_by_its_name_in_any_case() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-4711").await;
    put(&session, "show-tech.txt", b"up 1 day").await;
    // To the customer it is a name like any other, and another one than the ticket's.
    session.make_directory(&path("xt-4711")).await.unwrap();
    put(&session, "xt-4711/a", b"own").await;
    let anna = engineer(&app).await;
    for written in ["XT-4711", "xt-4711", "Xt-4711"] {
        assert_eq!(get(&anna, &format!("/{written}/show-tech.txt")).await.unwrap(), b"up 1 day");
        assert_eq!(get(&anna, &format!("/{written}/xt-4711/a")).await.unwrap(), b"own");
        assert_eq!(get(&anna, &format!("/{written}/.versions/show-tech.txt/1")).await.unwrap(), b"up 1 day");
    }
    put(&anna, "/xt-4711/from-support/fix.txt", b"reload").await;
    assert_eq!(get(&session, "from-support/fix.txt").await.unwrap(), b"reload");
    // Within one share whatever case each of the two paths is in.
    anna.rename(&path("/xt-4711/from-support/fix.txt"), &path("/XT-4711/from-support/b.txt"), false).await.unwrap();
    let mut names = Vec::new();
    let mut listing = anna.list(&path("/")).await.unwrap();
    while let Some(entry) = listing.next(10).await.unwrap().pop() {
        names.push(entry.name.to_string());
    }
    assert_eq!(names, ["XT-4711"], "it is listed once");
    for nobodys in ["/xt-4712/a", "/ACME/a", "/acme", "/xt/4711"] {
        assert_eq!(get(&anna, nobodys).await, Err(Refusal::NoSuchFile), "{nobodys}");
    }
}
