//! What the audit trail calls what happened, and who did it: the texts stay for ever, and mean one
//! thing.

use super::*;
use crate::audit::link_of;
use crate::model::Time;
use crate::model::audit::Actor;
use crate::records::audit::Event;

/// The kinds that have been written somewhere, and so stay as they are for ever. New ones come
/// behind them.
const WRITTEN: [&str; 50] = [
    "access.refused",
    "artifact.available",
    "artifact.corrected",
    "artifact.opened",
    "artifact.read",
    "artifact.renamed",
    "artifact.restored",
    "artifact.withdrawn",
    "backup.taken",
    "directory.listed",
    "directory.made",
    "directory.removed",
    "engineer.added",
    "engineer.disabled",
    "engineer.key-added",
    "engineer.key-removed",
    "entry.reattached",
    "key.rotated",
    "login.accepted",
    "login.ended",
    "login.refused",
    "notice.delivered",
    "notice.dismissed",
    "notice.readdressed",
    "notice.retried",
    "notice.void",
    "organisation.added",
    "receipt.opened",
    "server.started",
    "server.stopped",
    "share-key.rotated",
    "store.recovered",
    "store.strays",
    "store.swept",
    "ticket.assigned",
    "ticket.closed",
    "ticket.opened",
    "ticket.recounted",
    "ticket.reopened",
    "ticket.token-replaced",
    "upload.cut",
    "upload.incomplete",
    "upload.joined",
    "upload.opened",
    "upload.unchanged",
    "version.damaged",
    "version.discarded",
    "version.shortened",
    "version.shredded",
    "engineer.changed",
];

/// The last link of a chain over all of them was computed outside this program, by the rule of
/// `docs/audit.md`.
#[test]
fn r66_the_texts_of_kinds_and_actors_and_their_links_are_those_of_all_versions() {
    let ticket = word("XT-1");
    let actors = [Actor::Server, Actor::Operator, Actor::Login(ticket.clone()), Actor::Unknown];
    let mut link = [0; 32];
    for (n, (text, actor)) in WRITTEN.iter().zip(actors.iter().cycle()).enumerate() {
        let event = Event {
            at: Time::from_millis(1_700_000_000_000 + n as i64),
            kind: text.parse().unwrap(),
            actor,
            ticket: (n % 2 == 1).then_some(&ticket),
            subject: (n % 3 != 0).then_some([7; 16]),
            detail: &format!("{{\"n\":{n}}}"),
        };
        link = link_of(&event, &link, n as i64 + 1);
    }
    assert_eq!(hex::encode(link), "dd7edcba3d3b94bea80cf4973844b816fd94fcb7ed8387e1d99054a3b4b05c33");
}

/// R66: who an entry speaks of must not depend on what somebody was called.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_nobody_is_called_as_the_trail_calls_tacdrop_itself() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let before = app.audit().verify(None).await.unwrap().entries;
    for name in ["server", "OPERATOR"] {
        let ticket = new_ticket(name);
        let refused = [
            app.tickets().add_organisation(word(name), "Another".to_owned(), None).await.err(),
            app.tickets().add_engineer(word(name), None, "a@example.net".to_owned(), None, Vec::new()).await.err(),
            app.tickets().open_ticket(ticket).await.err(),
        ];
        for error in refused {
            assert!(error.unwrap().to_string().contains("choose another name"), "{name}");
        }
    }
    assert_eq!(app.audit().verify(None).await.unwrap().entries, before);
}
