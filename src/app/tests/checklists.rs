//! What the policy says of tickets when they are opened and while they are open: their checklists,
//! and what their customers may not do.

use super::compare::rows_are_as_told;
use super::contacts::set_people;
use super::notices::deliver;
use super::*;
use crate::app::{ChecklistItem, CustomerRights, Policy, RightsRule};
use crate::model::rights::Denied;

fn item(id: &str, required: bool) -> ChecklistItem {
    ChecklistItem { id: word(id), en: format!("the {id}"), de: format!("das {id}"), required }
}

fn house() -> Fixture {
    let items = vec![item("serial", true), item("plan", false), item("logs", true)];
    let denied = |text: &str| Some(text.parse::<Denied>().unwrap());
    let rule = RightsRule {
        all: CustomerRights { denied: denied("delete"), drop_box: Some(true) },
        organisations: [(word("ACME"), CustomerRights { denied: denied("read,delete"), drop_box: None })].into(),
    };
    let policy = Policy {
        checklists: [("incident".to_owned(), items)].into(),
        rights: [("rma".to_owned(), rule)].into(),
        ..Policy::default()
    };
    Fixture::with(move |settings| settings.policy = Some(policy.into()))
}

async fn greeting(app: &App, token: &str) -> String {
    let login = app.logins().by_token("XT-2", token, FROM).await.unwrap().unwrap();
    login.greeting().unwrap().to_owned()
}

async fn open(app: &App, reference: &str, kind: &str, people: PeopleChanges) -> String {
    let new = NewTicket { language: Some(Language::De), ..new_ticket(reference) };
    let details = TicketDetails { kind: Some(word(kind)), people, ..TicketDetails::default() };
    app.tickets().open_ticket_with(new, details).await.unwrap().1.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_said_until_it_is_ticked() {
    let fixture = house();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    let token = open(&app, "XT-2", "incident", PeopleChanges::default()).await;
    assert_eq!(greeting(&app, &token).await, "Ticket XT-2. Es fehlt noch: das serial; das logs.");
    let missing = async |reference: &str| app.tickets().checklist(&word(reference)).await.unwrap().missing;
    assert_eq!(missing("XT-2").await, ["serial", "logs"]);
    put(&session, "a", b"a").await;
    // The engineer has no language, so that of the ticket counts.
    assert_eq!(deliver(&app, 100).await[0].missing, ["das serial", "das logs"]);
    // Twice is once, and what is ticked says by whom.
    for _ in 0..2 {
        app.tickets().tick(&word("XT-2"), &[word("serial"), word("plan")], &[]).await.unwrap();
    }
    let list = app.tickets().checklist(&word("XT-2")).await.unwrap();
    let ticked: Vec<_> = list.items.iter().map(|line| (line.ticked, line.ticked_by.as_deref())).collect();
    assert_eq!(ticked, [(true, Some("operator")), (true, Some("operator")), (false, None)]);
    assert_eq!(greeting(&app, &token).await, "Ticket XT-2. Es fehlt noch: das logs.");
    app.tickets().tick(&word("XT-2"), &[word("logs")], &[word("serial")]).await.unwrap();
    assert_eq!(missing("XT-2").await, ["serial"]);
    app.tickets().tick(&word("XT-2"), &[word("serial")], &[]).await.unwrap();
    assert_eq!(greeting(&app, &token).await, "Ticket XT-2");
    assert_eq!(missing("XT-1").await, ["serial", "logs"], "each ticket has its own");
    // All or nothing.
    let error = app.tickets().tick(&word("XT-1"), &[word("serial"), word("router")], &[]).await.unwrap_err();
    assert!(error.to_string().contains("it has: serial, plan, logs"), "{error}");
    assert_eq!(missing("XT-1").await, ["serial", "logs"]);
    let mut conn = app.0.access.repo.records.read().await.unwrap();
    let text = "SELECT kind, COUNT(*) FROM audit_event WHERE kind LIKE 'ticket.%ticked' GROUP BY kind ORDER BY kind";
    let told: Vec<(String, i64)> = sqlx::query_as(text).fetch_all(&mut **conn).await.unwrap();
    assert_eq!(told, [("ticket.ticked".to_owned(), 4), ("ticket.unticked".to_owned(), 1)]);
    drop(conn);
    // A closed ticket needs nothing.
    app.tickets().tick(&word("XT-2"), &[], &[word("logs")]).await.unwrap();
    app.tickets().set_status(&word("XT-2"), TicketStatus::Closed).await.unwrap();
    assert!(!greeting(&app, &token).await.contains("fehlt"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_without_a_checklist_says_nothing() {
    let fixture = house();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let token = open(&app, "XT-2", "question", PeopleChanges::default()).await;
    assert_eq!(greeting(&app, &token).await, "Ticket XT-2");
    assert!(app.tickets().checklist(&word("XT-2")).await.unwrap().items.is_empty());
    let error = app.tickets().tick(&word("XT-2"), &[word("serial")], &[]).await.unwrap_err();
    assert!(error.to_string().contains("have no checklist"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_says_of_customers_rights_is_as_the_policy_says() {
    let fixture = house();
    let app = fixture.open().await;
    customer(&app, "XT-1").await;
    let denied = |text: &str| Some(text.parse::<Denied>().unwrap());
    let said = async |reference: &str| {
        let line = app.tickets().people(&word(reference)).await.unwrap();
        let words: Vec<_> = line.denied.iter().map(|right| right.as_str()).collect();
        (words.join(","), line.drop_box, line.rights_from)
    };
    let rule = || Some("rights.customers.rma.organisation.ACME".to_owned());
    open(&app, "R-1", "rma", PeopleChanges::default()).await;
    assert_eq!(said("R-1").await, ("read,delete".to_owned(), true, rule()));
    let people = PeopleChanges { drop_box: Some(false), ..PeopleChanges::default() };
    open(&app, "R-2", "rma", people).await;
    assert_eq!(said("R-2").await, ("read,delete".to_owned(), false, rule()));
    let people = PeopleChanges { drop_box: Some(false), denied: denied(""), ..PeopleChanges::default() };
    open(&app, "R-3", "rma", people).await;
    assert_eq!(said("R-3").await, (String::new(), false, None));
    open(&app, "I-1", "incident", PeopleChanges::default()).await;
    assert_eq!(said("I-1").await, (String::new(), false, None));
    // What an operator says later is said of the ticket.
    set_people(&app, &word("R-1"), PeopleChanges { denied: denied("list"), ..PeopleChanges::default() }).await;
    assert_eq!(said("R-1").await, ("list".to_owned(), true, None));
    set_people(&app, &word("R-2"), PeopleChanges { mail: Some(false), ..PeopleChanges::default() }).await;
    assert_eq!(said("R-2").await.2, rule());
    rows_are_as_told(&app).await;
    assert!(app.tickets().unproved().await.unwrap().is_empty());
}
