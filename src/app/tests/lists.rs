//! What an engineer asks every morning, counted against what was made. `TACDROP_TEST_DESK` is how many
//! times as many tickets and artifacts there are: 20 makes 200 tickets and 5,000 artifacts.
#![expect(clippy::print_stdout, reason = "the figures are for whoever runs it with --nocapture")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::*;
use crate::model::Time;

const ORGANISATIONS: [&str; 3] = ["ACME", "BETA", "GAMMA"];
const ENGINEERS: [&str; 5] = ["anna", "bert", "carla", "dora", "emil"];
/// Artifacts of each ticket.
const EACH: u64 = 25;
const LENGTH: usize = 100;

struct House {
    /// Organisation and engineer of each ticket.
    tickets: BTreeMap<String, (&'static str, &'static str)>,
}

async fn made(app: &App) -> House {
    let desk = app.tickets();
    for organisation in ORGANISATIONS {
        desk.add_organisation(word(organisation), organisation.to_owned(), None).await.unwrap();
    }
    for engineer in ENGINEERS {
        let key = (format!("SHA256:{engineer}"), "ssh-ed25519".to_owned());
        let address = format!("{engineer}@example.net");
        desk.add_engineer(word(engineer), None, address, None, vec![key]).await.unwrap();
    }
    let times: u64 = std::env::var("TACDROP_TEST_DESK").map_or(1, |times| times.parse().unwrap());
    let mut house = House { tickets: BTreeMap::new() };
    for number in 0..10 * times {
        let organisation = ORGANISATIONS[number as usize % 3];
        let engineer = ENGINEERS[number as usize % 5];
        let like = NewTicket {
            organisation: word(organisation),
            engineer: word(engineer),
            title: Some(format!("BGP flaps on edge router {number}")),
            ..new_ticket("T-")
        };
        app.seed_tickets(&like, number, 1).await.unwrap();
        let reference = format!("T-{number}");
        app.seed_files(&word(&reference), 0, EACH, LENGTH).await.unwrap();
        house.tickets.insert(reference, (organisation, engineer));
    }
    house
}

async fn find(app: &App, filter: &ArtifactFilter, after: Option<&Cursor>, most: usize) -> ArtifactPage {
    let begun = Instant::now();
    let page = app.artifacts().find(filter, after, most, &PublicAddress::unknown()).await.unwrap();
    println!("{} of {most} lines in {:?}: {filter:?}", page.artifacts.len(), begun.elapsed());
    page
}

/// All pages of `most` lines: ticket and path of each.
async fn all(app: &App, filter: &ArtifactFilter, most: usize) -> Vec<(String, String)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = find(app, filter, after.as_ref(), most).await;
        assert!(page.artifacts.len() <= most);
        found.extend(page.artifacts.into_iter().map(|line| (line.ticket, line.artifact.path)));
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_of_all_tickets_are_found_by_each_filter_page_by_page() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let house = made(&app).await;
    let filter = ArtifactFilter::default();
    let whole = all(&app, &filter, 1000).await;
    assert_eq!(whole.len() as u64, house.tickets.len() as u64 * EACH);
    assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), whole.len());
    // Small pages are the same list: nothing twice, nothing left out.
    assert_eq!(all(&app, &filter, 37).await, whole);

    let tickets = |wanted: &dyn Fn(&str, &str) -> bool| {
        house.tickets.values().filter(|(organisation, engineer)| wanted(organisation, engineer)).count() as u64
    };
    for organisation in ORGANISATIONS {
        let filter = ArtifactFilter { organisation: Some(word(organisation)), ..ArtifactFilter::default() };
        let found = all(&app, &filter, 100).await;
        assert_eq!(found.len() as u64, EACH * tickets(&|one, _| one == organisation));
        assert!(found.iter().all(|(ticket, _)| house.tickets[ticket].0 == organisation));
        let filter = ArtifactFilter { engineer: Some(word("bert")), ..filter };
        let both = EACH * tickets(&|one, engineer| one == organisation && engineer == "bert");
        assert_eq!(all(&app, &filter, 100).await.len() as u64, both);
    }
    let named = |name: &str| ArtifactFilter { name: Some(name.to_owned()), ..ArtifactFilter::default() };
    let number = house.tickets.len();
    assert_eq!(all(&app, &named("show-tech-0000007.txt"), 100).await.len(), number);
    assert_eq!(all(&app, &named("*-000001?.*"), 100).await.len(), 10 * number);
    assert_eq!(all(&app, &named("*.log"), 100).await, []);
    let in_ticket = ArtifactFilter { ticket: Some(word("T-3")), ..ArtifactFilter::default() };
    assert_eq!(all(&app, &in_ticket, 100).await.len() as u64, EACH);
    let later = ArtifactFilter { since: Some(Time::now().plus(Duration::from_secs(60))), ..ArtifactFilter::default() };
    assert_eq!(all(&app, &later, 100).await, []);
    for (state, count) in
        [(VersionState::Available, whole.len()), (VersionState::Receiving, 0), (VersionState::Withdrawn, 0)]
    {
        let filter = ArtifactFilter { state: Some(state), ..ArtifactFilter::default() };
        assert_eq!(all(&app, &filter, 500).await.len(), count, "{state}");
    }
    // Every ticket has a file with this content; its first digits find it.
    let digest = hex::encode(digest_of_bytes(crate::model::Algorithm::Sha256, &seeded_content(4, LENGTH)));
    for digits in [8, 13, 64] {
        let sha256 = Some(digest[..digits].parse().unwrap());
        let found = all(&app, &ArtifactFilter { sha256, ..ArtifactFilter::default() }, 100).await;
        assert_eq!(found.len(), number);
        assert!(found.iter().all(|(_, path)| *path == seeded_name(4)));
    }
    for unknown in [
        ArtifactFilter { ticket: Some(word("T-x")), ..ArtifactFilter::default() },
        ArtifactFilter { organisation: Some(word("x")), ..ArtifactFilter::default() },
        ArtifactFilter { engineer: Some(word("x")), ..ArtifactFilter::default() },
    ] {
        assert!(app.artifacts().find(&unknown, None, 1, &PublicAddress::unknown()).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_over_all_tickets_says_what_the_list_of_a_ticket_says() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let session = customer(&app, "XT-1").await;
    put(&session, "first", b"1").await;
    put(&session, "second", b"22").await;
    // A new version of it is the newest that came; one that took another's place is one file.
    put(&session, "first", b"333").await;
    put(&session, "gone", b"4").await;
    session.remove_file(&path("gone")).await.unwrap();
    let page = find(&app, &ArtifactFilter::default(), None, 100).await;
    let shown = |page: &ArtifactPage| {
        let lines = page.artifacts.iter().map(|line| (line.artifact.path.clone(), line.artifact.version));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(shown(&page), [("first".to_owned(), 2), ("second".to_owned(), 1)]);
    let mut listed: Vec<_> = page.artifacts.iter().map(|line| serde_json::to_value(&line.artifact).unwrap()).collect();
    let of_ticket = app.artifacts().list(&word("XT-1"), &PublicAddress::unknown()).await.unwrap();
    listed.sort_by_key(|line| line["path"].to_string());
    assert_eq!(serde_json::Value::from(listed), serde_json::to_value(of_ticket).unwrap());
    let withdrawn = ArtifactFilter { state: Some(VersionState::Withdrawn), ..ArtifactFilter::default() };
    assert_eq!(shown(&find(&app, &withdrawn, None, 100).await), [("gone".to_owned(), 1)]);

    // One damaged row takes no other one along: a name that does not open, a number that is none.
    let mut tx = app.0.access.repo.records.begin().await.unwrap();
    for text in [
        "UPDATE entry SET name = x'00' WHERE id = (SELECT entry_id FROM version WHERE length = 2)",
        "UPDATE version SET zeros = -1 WHERE length = 3",
    ] {
        sqlx::query(text).execute(tx.conn()).await.unwrap();
    }
    tx.commit().await.unwrap();
    let page = find(&app, &ArtifactFilter::default(), None, 100).await;
    assert_eq!(page.artifacts.len(), 1);
    assert!(page.artifacts[0].artifact.path.starts_with("(unreadable name of "), "{page:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_are_found_by_each_filter_and_in_each_order() {
    let fixture = Fixture::new();
    let app = fixture.open().await;
    let house = made(&app).await;
    let desk = app.tickets();
    let find = async |filter: TicketFilter| {
        let begun = Instant::now();
        let lines = app.tickets().find(&filter).await.unwrap();
        println!("{} tickets in {:?}: {filter:?}", lines.len(), begun.elapsed());
        lines
    };
    let references =
        |lines: &[ListedTicket]| -> Vec<String> { lines.iter().map(|line| line.ticket.reference.clone()).collect() };
    desk.add_team(NewTeam { id: word("core"), name: None, email: None, members: vec![word("anna")] }).await.unwrap();
    let team = PeopleChanges { team: Some(Some(word("core"))), ..PeopleChanges::default() };
    desk.edit(&word("T-4"), TicketEdit { people: team, ..TicketEdit::default() }).await.unwrap();
    let edit = TicketEdit { kind: Some(word("rma")), priority: Some("1".parse().unwrap()), ..TicketEdit::default() };
    desk.edit(&word("T-5"), edit).await.unwrap();
    desk.set_status(&word("T-6"), TicketStatus::Closed).await.unwrap();
    app.seed_files(&word("T-7"), EACH, 3, LENGTH).await.unwrap();

    let usual = TicketFilter::default;
    let all = find(usual()).await;
    assert_eq!(references(&all), house.tickets.keys().cloned().collect::<Vec<_>>());
    for line in &all {
        let more = if line.ticket.reference == "T-7" { 3 } else { 0 };
        assert_eq!((line.artifacts, line.bytes), (EACH + more, (EACH + more) * LENGTH as u64));
        assert!(line.newest_at.is_some());
    }
    let only = |lines: Vec<ListedTicket>| references(&lines);
    assert_eq!(only(find(TicketFilter { team: Some(word("core")), ..usual() }).await), ["T-4"]);
    assert_eq!(only(find(TicketFilter { kind: Some(word("rma")), ..usual() }).await), ["T-5"]);
    assert_eq!(only(find(TicketFilter { status: Some(TicketStatus::Closed), ..usual() }).await), ["T-6"]);
    let later = Some(Time::now().plus(Duration::from_secs(60)));
    assert_eq!(find(TicketFilter { since: later, ..usual() }).await.len(), 0);
    for organisation in ORGANISATIONS {
        for engineer in ENGINEERS {
            let wanted = house.tickets.values().filter(|one| **one == (organisation, engineer)).count();
            let filter =
                TicketFilter { organisation: Some(word(organisation)), engineer: Some(word(engineer)), ..usual() };
            assert_eq!(find(filter).await.len(), wanted, "{organisation} {engineer}");
        }
    }
    for (by, first) in [("newest", "T-7"), ("priority", "T-5"), ("bytes", "T-7"), ("artifacts", "T-7")] {
        let sort: TicketOrder = by.parse().unwrap();
        let whole = find(TicketFilter { sort, ..usual() }).await;
        assert_eq!((references(&whole)[0].as_str(), whole.len()), (first, all.len()), "{by}");
        // Small pages are the same list, also behind a ticket that a filter leaves out.
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = find(TicketFilter { sort, after, limit: Some(3), ..usual() }).await;
            let Some(last) = page.last() else { break };
            after = Some(word(&last.ticket.reference));
            pages.extend(references(&page));
        }
        assert_eq!(pages, references(&whole), "{by}");
    }
    let behind = TicketFilter { after: Some(word("T-6")), organisation: Some(word("ACME")), ..usual() };
    assert!(only(find(behind).await).contains(&"T-9".to_owned()));
    assert!("size".parse::<TicketOrder>().is_err());
    for unknown in [
        TicketFilter { organisation: Some(word("x")), ..usual() },
        TicketFilter { engineer: Some(word("x")), ..usual() },
        TicketFilter { team: Some(word("x")), ..usual() },
        TicketFilter { after: Some(word("x")), ..usual() },
    ] {
        assert!(app.tickets().find(&unknown).await.is_err());
    }
}
