//! People and tickets against the trail.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Compared, PAGE, TOLD, contacts, ticket_people, tokens};
use crate::audit::{Kind, told};
use crate::model::Role;
use crate::records::Conn;
use crate::records::audit::Fields;
use crate::records::compare::{self, EngineerSide, OrganisationSide, TicketSide, TokenSide};
use crate::records::deletions::{self, Deletion};
use crate::records::proofs::Proved;
use crate::records::tickets::INCIDENT;
use crate::repo::{Error, Repo};
use crate::retention;

/// What the trail tells of an organisation.
#[derive(Default)]
struct Organisation {
    until: Option<String>,
    disabled: bool,
}

/// What the trail tells of an engineer.
#[derive(Default)]
struct Engineer {
    keys: BTreeSet<String>,
    disabled: bool,
    /// None: an engineer, as all were before there were roles.
    role: Option<String>,
    /// First and last day of an absence, and the deputy.
    away: Option<[String; 3]>,
    /// The keyed digest of the address; none where entries of before there were any are the newest.
    address: Option<String>,
}

/// What the trail tells of a ticket.
struct Ticket {
    organisation: String,
    engineer: String,
    /// None in entries of before they said so.
    device: Option<bool>,
    share: Option<String>,
    kind: String,
    closed: bool,
    held: bool,
    /// The entry that tells that it was opened.
    opened: i64,
}

/// What the trail tells of a ticket that was shredded.
struct Shredded {
    ticket: String,
    detail: Value,
}

/// What the walk leaves for the versions.
pub(super) struct House {
    /// The tickets that there are, each with the entry that tells that it was opened: what the trail
    /// tells before that is of another ticket that had its reference.
    pub(super) tickets: Vec<(TicketSide, i64)>,
    /// Whether a recovery corrected more than it told one by one.
    pub(super) untold: bool,
}

#[derive(Default)]
struct Trail {
    organisations: BTreeMap<String, Organisation>,
    contacts: contacts::Told,
    people: ticket_people::Told,
    engineers: BTreeMap<String, Engineer>,
    tickets: BTreeMap<String, Ticket>,
    /// By the id of the share.
    shredded: BTreeMap<String, Shredded>,
    tokens: tokens::Told,
    untold: bool,
}

pub(super) fn text(detail: &Value, name: &str) -> Option<String> {
    detail.get(name).and_then(Value::as_str).map(str::to_owned)
}

impl Trail {
    fn tell(&mut self, seq: i64, fields: &Fields) {
        let Ok(kind) = fields.kind.parse::<Kind>() else { return };
        let detail: Value = serde_json::from_str(&fields.detail).unwrap_or_default();
        if matches!(
            kind,
            Kind::OrganisationAdded
                | Kind::OrganisationChanged
                | Kind::OrganisationDisabled
                | Kind::OrganisationEnabled
                | Kind::OrganisationRemoved
        ) {
            let Some(id) = text(&detail, "organisation") else { return };
            return self.tell_of_organisation(kind, id, &detail);
        }
        if kind == Kind::StoreRecovered {
            let corrected = ["discarded", "damaged", "shredded", "pointers"];
            let sum: u64 = corrected.iter().filter_map(|name| detail.get(name)?.as_u64()).sum();
            self.untold |= sum > TOLD;
            return;
        }
        if kind == Kind::SecretReplaced && detail.get("tokens").is_some() {
            self.contacts.passwords_ended();
            return self.tokens.all_ended();
        }
        self.contacts.tell(kind, &detail);
        self.people.tell(kind, fields.ticket.as_deref(), &detail);
        if let Some(reference) = &fields.ticket {
            self.tokens.tell(kind, reference, &detail);
            self.tell_of_ticket(seq, kind, reference, detail);
            return;
        }
        let Some(id) = text(&detail, "engineer") else { return };
        if kind == Kind::EngineerRemoved {
            self.engineers.remove(&id);
            return;
        }
        let engineer = match kind {
            Kind::EngineerAdded => self.engineers.entry(id).or_default(),
            _ => match self.engineers.get_mut(&id) {
                Some(engineer) => engineer,
                None => return,
            },
        };
        match kind {
            Kind::EngineerAdded => {
                let keys = detail.get("keys").and_then(Value::as_array).into_iter().flatten();
                engineer.keys.extend(keys.filter_map(Value::as_str).map(str::to_owned));
                engineer.address = text(&detail, "address");
            }
            Kind::EngineerKeyAdded => engineer.keys.extend(text(&detail, "key")),
            Kind::EngineerKeyRemoved => {
                engineer.keys.remove(&text(&detail, "key").unwrap_or_default());
            }
            Kind::EngineerChanged => {
                engineer.address = text(&detail, "address");
                engineer.role = text(&detail, "role").or(engineer.role.take());
            }
            Kind::EngineerDisabled => engineer.disabled = true,
            Kind::EngineerEnabled => engineer.disabled = false,
            Kind::EngineerAway => {
                let [from, to, deputy] = ["from", "to", "deputy"].map(|name| text(&detail, name).unwrap_or_default());
                engineer.away = Some([from, to, deputy]);
            }
            Kind::EngineerBack => engineer.away = None,
            _ => {}
        }
    }

    fn tell_of_organisation(&mut self, kind: Kind, id: String, detail: &Value) {
        if kind == Kind::OrganisationRemoved {
            self.organisations.remove(&id);
            return;
        }
        if kind == Kind::OrganisationAdded {
            self.organisations.insert(id.clone(), Organisation::default());
        }
        let Some(organisation) = self.organisations.get_mut(&id) else { return };
        match kind {
            // Entries of before say nothing of an end, as there was none.
            Kind::OrganisationAdded | Kind::OrganisationChanged => organisation.until = text(detail, "until"),
            Kind::OrganisationDisabled => organisation.disabled = true,
            Kind::OrganisationEnabled => organisation.disabled = false,
            _ => {}
        }
    }

    fn tell_of_ticket(&mut self, seq: i64, kind: Kind, reference: &str, detail: Value) {
        if kind == Kind::TicketOpened {
            let opened = Ticket {
                organisation: text(&detail, "organisation").unwrap_or_default(),
                engineer: text(&detail, "engineer").unwrap_or_default(),
                device: detail.get("device").and_then(Value::as_bool),
                share: text(&detail, "share"),
                // What all were of before there were kinds.
                kind: text(&detail, "kind").unwrap_or_else(|| INCIDENT.to_owned()),
                closed: false,
                held: false,
                opened: seq,
            };
            self.tickets.insert(reference.to_owned(), opened);
        }
        if kind == Kind::TicketShredded {
            self.tickets.remove(reference);
            let share = text(&detail, "share").unwrap_or_default();
            self.shredded.insert(share, Shredded { ticket: reference.to_owned(), detail });
            return;
        }
        let Some(ticket) = self.tickets.get_mut(reference) else { return };
        match kind {
            Kind::TicketAssigned => ticket.engineer = text(&detail, "engineer").unwrap_or_default(),
            Kind::TicketChanged => {
                for (place, name) in [(&mut ticket.organisation, "organisation"), (&mut ticket.kind, "kind")] {
                    if let Some(now) = text(&detail, name) {
                        *place = now;
                    }
                }
            }
            Kind::TicketClosed => ticket.closed = true,
            Kind::TicketReopened => ticket.closed = false,
            Kind::TicketHeld => ticket.held = true,
            Kind::TicketReleased => ticket.held = false,
            _ => {}
        }
    }
}

/// The rows, and the trail up to the same moment or later.
struct Rows {
    organisations: Vec<compare::Found<OrganisationSide>>,
    engineers: Vec<compare::Found<EngineerSide>>,
    keys: Vec<compare::Found<(String, String)>>,
    tickets: Vec<compare::Found<TicketSide>>,
    contacts: contacts::Rows,
    deletions: Vec<Deletion>,
    people: ticket_people::Rows,
    tokens: Vec<compare::Found<TokenSide>>,
    trail: Trail,
}

async fn gather(repo: &Repo, conn: &mut Conn) -> Result<Rows, Error> {
    let (organisations, engineers) = (compare::organisations(conn).await?, compare::engineers(conn).await?);
    let (keys, tickets) = (compare::engineer_keys(conn).await?, compare::tickets(conn).await?);
    let (contacts, people) = (contacts::gather(conn).await?, ticket_people::gather(repo, conn).await?);
    let deletions = deletions::list(conn).await?;
    let tokens = compare::tokens(conn).await?;
    let mut trail = Trail::default();
    let mut from = Some(1);
    while let Some(first) = from {
        let page = compare::told(conn, None, first, PAGE).await?;
        from = page.last().and_then(|row| row.seq.checked_add(1));
        let readable = page.iter().filter_map(|row| Some((row.seq, row.fields.as_ref().ok()?)));
        readable.for_each(|(seq, fields)| trail.tell(seq, fields));
    }
    Ok(Rows { organisations, engineers, keys, tickets, contacts, deletions, people, tokens, trail })
}

pub(super) async fn compare(repo: &Repo, outcome: &mut Compared) -> Result<House, Error> {
    let rows = gather(repo, &mut *repo.records.read().await?).await?;
    let mut first = Compared::default();
    let house = judge(repo, rows, &mut first);
    if first.differences.is_empty() {
        outcome.take(first);
        return Ok(house);
    }
    // Something may have changed between the questions. Nobody changes anything while this one has
    // the writer's turn.
    let mut tx = repo.records.begin().await?;
    let rows = gather(repo, tx.conn()).await?;
    drop(tx);
    Ok(judge(repo, rows, outcome))
}

fn judge(repo: &Repo, rows: Rows, outcome: &mut Compared) -> House {
    let Rows { organisations, engineers, keys, tickets, contacts: of_contacts, deletions, people, tokens, mut trail } =
        rows;
    contacts::judge(repo, of_contacts, std::mem::take(&mut trail.contacts), outcome);
    ticket_people::judge(people, std::mem::take(&mut trail.people), outcome);
    compare_deletions(repo, &deletions, std::mem::take(&mut trail.shredded), outcome);
    let told_of_organisations = std::mem::take(&mut trail.organisations);
    compare_organisations(organisations, told_of_organisations, outcome);
    let mut there: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for key in keys {
        match key {
            Ok((engineer, fingerprint)) => _ = there.entry(engineer).or_default().insert(fingerprint),
            Err((engineer, error)) => {
                outcome.add("engineer", engineer, None, format!("has a key that cannot be read: {error}"))
            }
        }
    }
    for row in engineers {
        outcome.people += 1;
        let row = match row {
            Ok(row) => row,
            Err((id, error)) => {
                outcome.add("engineer", id, None, format!("cannot be read: {error}"));
                continue;
            }
        };
        let Some(known) = trail.engineers.remove(&row.id) else {
            outcome.add("engineer", row.id, None, "was never added, as the trail tells");
            continue;
        };
        if known.disabled != row.disabled {
            let what = if known.disabled { "was disabled, and is not" } else { "is disabled, and nobody did that" };
            outcome.add("engineer", row.id.clone(), None, what);
        }
        let role = known.role.as_deref().unwrap_or(Role::Engineer.as_str());
        if role != row.role {
            outcome.add("engineer", row.id.clone(), None, format!("is {}, and the trail says {role}", row.role));
        }
        if known.away != row.away {
            outcome.add("engineer", row.id.clone(), None, "has another absence or deputy than was set");
        }
        let address = told::address(repo.keys.trail(), &row.id, &row.email);
        if known.address.is_some_and(|known| known != address) {
            outcome.add("engineer", row.id.clone(), None, "has another mail address than was set");
        }
        let keys = there.remove(&row.id).unwrap_or_default();
        for key in keys.difference(&known.keys) {
            outcome.add("engineer", row.id.clone(), None, format!("has the key {key}, which nobody added"));
        }
        for key in known.keys.difference(&keys) {
            outcome.add("engineer", row.id.clone(), None, format!("lacks the key {key}, which nobody removed"));
        }
    }
    for (id, _) in std::mem::take(&mut trail.engineers) {
        outcome.add("engineer", id, None, "was added, as the trail tells, and has no row");
    }
    for (id, _) in there {
        outcome.add("engineer", id, None, "has keys and no row");
    }
    trail.tokens.compare(tokens, outcome);
    let tickets = compare_tickets(tickets, trail.tickets, outcome);
    House { tickets, untold: trail.untold }
}

/// The deletion log against the trail, share by share.
fn compare_deletions(repo: &Repo, rows: &[Deletion], mut told: BTreeMap<String, Shredded>, outcome: &mut Compared) {
    for row in rows {
        let (share, ticket) = (row.share.to_string(), row.ticket.as_str());
        if !row.is_proved(&**repo.keys.proofs()) {
            outcome.add("deletion", share.clone(), Some(ticket), "does not say what tacdrop wrote there");
        }
        match (told.remove(&share), row.records_removed_at) {
            (None, None) => {}
            (None, Some(_)) => {
                outcome.add("deletion", share, Some(ticket), "was written down, and the trail does not tell of it");
            }
            (Some(_), None) => {
                outcome.add("deletion", share, Some(ticket), "was at its end, as the trail tells, and is not");
            }
            (Some(known), Some(_)) => {
                if known.ticket != ticket || known.detail != retention::ticket::told(row) {
                    outcome.add("deletion", share, Some(ticket), "is not what the trail tells of it");
                }
            }
        }
    }
    for (share, known) in told {
        outcome.add("deletion", share, Some(&known.ticket), "is told of by the trail, and has no row");
    }
}

fn compare_organisations(
    rows: Vec<compare::Found<OrganisationSide>>,
    mut told: BTreeMap<String, Organisation>,
    outcome: &mut Compared,
) {
    for row in rows {
        outcome.people += 1;
        let row = match row {
            Ok(row) => row,
            Err((id, error)) => {
                told.remove(&id);
                outcome.add("organisation", id, None, format!("cannot be read: {error}"));
                continue;
            }
        };
        let Some(known) = told.remove(&row.id) else {
            outcome.add("organisation", row.id, None, "was never added, as the trail tells");
            continue;
        };
        if known.disabled != row.disabled {
            let what = if known.disabled { "was disabled, and is not" } else { "is disabled, and nobody did that" };
            outcome.add("organisation", row.id.clone(), None, what);
        }
        if known.until != row.until {
            let day = |day: Option<String>| day.unwrap_or_else(|| "no".to_owned());
            let what = format!("has {} last day, and the trail says {}", day(row.until), day(known.until));
            outcome.add("organisation", row.id, None, what);
        }
    }
    for (id, _) in told {
        outcome.add("organisation", id, None, "was added, as the trail tells, and has no row");
    }
}

fn compare_tickets(
    rows: Vec<compare::Found<TicketSide>>,
    mut told: BTreeMap<String, Ticket>,
    outcome: &mut Compared,
) -> Vec<(TicketSide, i64)> {
    let mut tickets = Vec::with_capacity(rows.len());
    for row in rows {
        outcome.tickets += 1;
        let row = match row {
            Ok(row) => row,
            Err((id, error)) => {
                told.remove(&id);
                outcome.add("ticket", id, None, format!("cannot be read: {error}"));
                continue;
            }
        };
        let reference = row.reference.as_str();
        let mut differs = |what: String| outcome.add("ticket", reference, Some(reference), what);
        let mut opened = 1;
        match told.remove(reference) {
            None => differs("was never opened, as the trail tells".to_owned()),
            Some(known) => {
                opened = known.opened;
                let share = row.share.to_string();
                if known.share.as_ref().is_some_and(|known| *known != share) {
                    differs("has another share than the one that was made for it".to_owned());
                }
                for (whose, row, known) in [
                    ("organisation", &row.organisation, &known.organisation),
                    ("engineer", &row.engineer, &known.engineer),
                    ("kind", &row.kind, &known.kind),
                ] {
                    if row != known {
                        differs(format!("has the {whose} {row}, and the trail says {known}"));
                    }
                }
                if known.device.is_some_and(|known| known != row.device) {
                    let what = if row.device { "is" } else { "is not" };
                    differs(format!("{what} for devices, and the trail says otherwise"));
                }
                if known.closed != row.closed {
                    let what = if known.closed { "was closed, and is open" } else { "is closed, and nobody closed it" };
                    differs(what.to_owned());
                }
                if known.held != row.held {
                    let what =
                        if known.held { "was held, and nobody released it" } else { "is held, and nobody did that" };
                    differs(what.to_owned());
                }
            }
        }
        tickets.push((row, opened));
    }
    for (reference, _) in told {
        outcome.add("ticket", reference.clone(), Some(&reference), "was opened, as the trail tells, and has no row");
    }
    tickets
}
