//! A desk of the size that one has after a year: each list as it is shown, counted against what was
//! made. `TACDROP_TEST_DESK` is how many times as many tickets there are: 20 makes 200 tickets and
//! 5,000 artifacts. How long each took is printed, and decides nothing.
#![expect(clippy::print_stdout, reason = "the lists and figures are for whoever runs it with --nocapture")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use tokio::runtime::Handle;

use super::{contact, engineer, list_args, organisation, team, ticket_list, usage};
use crate::app::{
    App, ArtifactFilter, DataDirectory, NewContact, NewTeam, NewTicket, PeopleChanges, PublicAddress, Settings,
    TicketEdit, TicketFilter, UsageFilter,
};
use crate::model::rights::Visibility;
use crate::model::{Identifier, LastDay, Priority, SharePath};

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ORGANISATIONS: [&str; 3] = ["ACME", "BETA-NETWORKS", "GAMMA"];
const ENGINEERS: [&str; 5] = ["anna", "bert", "carla", "dora-with-a-long-name", "emil"];
const TEAMS: [(&str, &[usize]); 2] = [("core", &[0, 1]), ("access-networks", &[2, 3, 4])];
const CONTACTS: u64 = 12;
const EACH: u64 = 25;

fn word(text: &str) -> Identifier {
    text.parse().unwrap()
}

fn key(name: &str) -> (String, String) {
    (format!("SHA256:{name}"), "ssh-ed25519".to_owned())
}

/// Organisation, engineer and team of a ticket, by its number. Every third is nobody's team's.
fn of(number: u64) -> (usize, usize, Option<usize>) {
    let number = usize::try_from(number).unwrap();
    (number % 3, number % 5, (number % 3 > 0).then_some(number % 2))
}

/// Every second ticket is seen by the contact who is named on it alone, the others by all of its
/// organisation. Contact `n` is of organisation `n % 3`.
fn named(number: u64) -> Option<u64> {
    (number % 2 == 1).then(|| (number % 3) + 3 * (number % 4))
}

async fn made(app: &App, tickets: u64) {
    let desk = app.tickets();
    for organisation in ORGANISATIONS {
        desk.add_organisation(word(organisation), format!("{organisation} Telecommunications"), None).await.unwrap();
    }
    for engineer in ENGINEERS {
        let address = format!("{engineer}@support.example.net");
        desk.add_engineer(word(engineer), None, address, None, vec![key(engineer)]).await.unwrap();
    }
    for (id, members) in TEAMS {
        let members = members.iter().map(|engineer| word(ENGINEERS[*engineer])).collect();
        desk.add_team(NewTeam { id: word(id), name: None, email: None, members }).await.unwrap();
    }
    for number in 0..CONTACTS {
        let id = format!("contact-{number}");
        let new = NewContact {
            id: word(&id),
            organisation: word(ORGANISATIONS[usize::try_from(number).unwrap() % 3]),
            name: Some(format!("Somebody With A Name {number}")),
            email: format!("{id}@a-customer.example.org"),
            language: None,
            valid_until: (number % 2 == 0).then(|| "2099-12-31".parse::<LastDay>().unwrap()),
            keys: vec![key(&id)],
        };
        desk.add_contact(new).await.unwrap();
    }
    for number in 0..tickets {
        let (organisation, engineer, team) = of(number);
        let like = NewTicket {
            reference: word("T-"),
            organisation: word(ORGANISATIONS[organisation]),
            engineer: word(ENGINEERS[engineer]),
            title: Some(format!("BGP flaps on edge router {number}")),
            priority: Priority::MEDIUM,
            language: None,
            device: false,
        };
        app.seed_tickets(&like, number, 1).await.unwrap();
        let reference = word(&format!("T-{number}"));
        app.seed_files(&reference, 0, EACH, 100).await.unwrap();
        let people = PeopleChanges {
            visibility: Some(if named(number).is_some() { Visibility::Named } else { Visibility::Organisation }),
            contacts: named(number).map(|contact| word(&format!("contact-{contact}"))).into_iter().collect(),
            team: team.map(|team| Some(word(TEAMS[team].0))),
            ..PeopleChanges::default()
        };
        desk.edit(&reference, TicketEdit { people, ..TicketEdit::default() }).await.unwrap();
    }
}

/// Says how long a list took and how it begins. No line is wider than it may be.
fn fits(what: &str, begun: Instant, text: &str) {
    let most = super::columns::width(false).unwrap();
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    println!("{what}: {} lines, at most {widest} columns, in {:?}", text.lines().count(), begun.elapsed());
    println!("{}\n", text.lines().take(4).collect::<Vec<_>>().join("\n"));
    assert!(widest <= most, "{what}: {text}");
}

/// How many tickets there are of which this is so.
fn count(tickets: u64, is_so: impl Fn(u64) -> bool) -> usize {
    (0..tickets).filter(|number| is_so(*number)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_list_of_a_desk_is_right_and_fits() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDirectory::at(directory.path().join("data"));
    let app = App::serve(data, Settings::default(), Handle::current(), Box::new(|| {})).await.unwrap();
    let tickets = 10 * std::env::var("TACDROP_TEST_DESK").map_or(1, |times| times.parse::<u64>().unwrap());
    made(&app, tickets).await;
    let (desk, width) = (app.tickets(), super::columns::width(false));

    let begun = Instant::now();
    let rows = desk.organisations().await.unwrap();
    fits("organisation list", begun, &organisation::table(&rows, width));
    assert_eq!(rows.iter().map(|row| row.tickets).sum::<u64>(), tickets);
    let begun = Instant::now();
    let rows = desk.engineers().await.unwrap();
    fits("engineer list", begun, &engineer::table(&rows, width));
    assert_eq!(rows.len(), ENGINEERS.len());
    let begun = Instant::now();
    let rows = desk.teams().await.unwrap();
    fits("team list", begun, &team::table(&rows, width));
    assert_eq!(rows.iter().map(|row| row.members.len()).collect::<Vec<_>>(), [3, 2], "by id");
    let begun = Instant::now();
    let rows = desk.contacts(None).await.unwrap();
    fits("contact list", begun, &contact::table(&rows, width));
    assert_eq!(rows.len() as u64, CONTACTS);
    for organisation in ORGANISATIONS {
        let begun = Instant::now();
        let rows = desk.contacts(Some(&word(organisation))).await.unwrap();
        fits("contact list --organisation", begun, &contact::table(&rows, width));
        assert!(rows.len() == 4 && rows.iter().all(|row| row.organisation == organisation));
    }

    let tickets_found = async |what: &str, filter: TicketFilter| {
        let begun = Instant::now();
        let rows = app.tickets().find(&filter).await.unwrap();
        fits(what, begun, &ticket_list::shown(&rows, filter.limit, false));
        rows.len()
    };
    let usual = TicketFilter::default;
    assert_eq!(tickets_found("ticket list", usual()).await as u64, tickets);
    for (place, (team, _)) in TEAMS.iter().enumerate() {
        let wanted = count(tickets, |number| of(number).2 == Some(place));
        let filter = TicketFilter { team: Some(word(team)), ..usual() };
        assert_eq!(tickets_found("ticket list --team", filter).await, wanted, "{team}");
        for (at, engineer) in ENGINEERS.iter().enumerate() {
            let wanted = count(tickets, |number| of(number).2 == Some(place) && of(number).1 == at);
            let filter = TicketFilter { team: Some(word(team)), engineer: Some(word(engineer)), ..usual() };
            assert_eq!(tickets_found("ticket list --team --engineer", filter).await, wanted, "{team} {engineer}");
        }
    }

    for (at, organisation) in ORGANISATIONS.iter().enumerate() {
        let begun = Instant::now();
        let filter = UsageFilter { organisation: Some(word(organisation)), ..UsageFilter::default() };
        let found = desk.usage(&filter).await.unwrap();
        fits("usage --organisation", begun, &usage::shown(&found, found.tickets.len(), false));
        let wanted = count(tickets, |number| of(number).0 == at) as u64;
        let sum = found.organisations.iter().map(|sum| (sum.tickets, sum.artifacts, sum.bytes)).next();
        assert_eq!(sum, (wanted > 0).then_some((wanted, wanted * EACH, wanted * EACH * 100)));
    }
    let begun = Instant::now();
    let found = desk.usage(&UsageFilter::default()).await.unwrap();
    fits("usage", begun, &usage::shown(&found, found.tickets.len(), false));
    assert_eq!(found.organisations.iter().map(|sum| sum.artifacts).sum::<u64>(), tickets * EACH);

    for engineer in ENGINEERS {
        let begun = Instant::now();
        let filter = ArtifactFilter { engineer: Some(word(engineer)), ..ArtifactFilter::default() };
        let most = usize::try_from(tickets * EACH).unwrap();
        let page = app.artifacts().find(&filter, None, most, &PublicAddress::unknown()).await.unwrap();
        fits("artifact list --engineer", begun, &list_args::shown(&page, false));
        let wanted = count(tickets, |number| ENGINEERS[of(number).1] == engineer) as u64 * EACH;
        assert_eq!(page.artifacts.len() as u64, wanted);
    }
    sees_what_it_may(&app, tickets).await;
    app.close().await;
}

/// Names in `/` of whoever has this key.
async fn top(app: &App, name: &str) -> Vec<String> {
    let login = app.logins().by_key(name, &format!("SHA256:{name}"), FROM).await.unwrap().unwrap();
    let (session, begun) = (app.session(&login), Instant::now());
    let mut listing = session.list(&SharePath::ROOT).await.unwrap();
    let mut names = Vec::new();
    loop {
        let page = listing.next(100).await.unwrap();
        if page.is_empty() {
            break;
        }
        names.extend(page.iter().map(|entry| entry.name.to_string()));
    }
    println!("/ of {name}: {} tickets in {:?}", names.len(), begun.elapsed());
    names.sort();
    names
}

/// Contacts and engineers see in `/` the tickets that say so, and no other.
async fn sees_what_it_may(app: &App, tickets: u64) {
    let wanted = |is_so: &dyn Fn(u64) -> bool| {
        let mut names: Vec<String> = (0..tickets).filter(|n| is_so(*n)).map(|number| format!("T-{number}")).collect();
        names.sort();
        names
    };
    for contact in 0..CONTACTS {
        let sees = |number: u64| number % 3 == contact % 3 && named(number).is_none_or(|named| named == contact);
        assert_eq!(top(app, &format!("contact-{contact}")).await, wanted(&sees));
    }
    for (at, engineer) in ENGINEERS.iter().enumerate() {
        let sees = |number: u64| {
            let (_, assigned, team) = of(number);
            assigned == at || team.is_some_and(|team| TEAMS[team].1.contains(&at))
        };
        assert_eq!(top(app, engineer).await, wanted(&sees));
    }
}
