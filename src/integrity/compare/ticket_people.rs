//! The people of tickets, and teams, against the trail.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Compared;
use super::house::text;
use crate::audit::{Kind, told};
use crate::model::Identifier;
use crate::records::{Conn, customer_settings, teams, ticket_people};
use crate::repo::{Error, Repo};

/// What the trail told last of each ticket's people, and of each team that was not removed.
#[derive(Default)]
pub(super) struct Told {
    tickets: BTreeMap<String, Value>,
    teams: BTreeMap<String, Value>,
}

impl Told {
    pub(super) fn tell(&mut self, kind: Kind, ticket: Option<&str>, detail: &Value) {
        match (kind, ticket, text(detail, "team")) {
            (Kind::TicketPeopleChanged, Some(ticket), _) => {
                let mut detail = detail.clone();
                // Entries of before these could be set.
                if let Some(said) = detail.as_object_mut() {
                    said.entry("mail").or_insert(json!(true));
                    said.entry("rights").or_insert(Value::Null);
                }
                self.tickets.insert(ticket.to_owned(), detail);
            }
            (Kind::TicketShredded, Some(ticket), _) => {
                self.tickets.remove(ticket);
            }
            (Kind::TeamAdded | Kind::TeamChanged, _, Some(team)) => {
                self.teams.insert(team, detail.clone());
            }
            (Kind::TeamRemoved, _, Some(team)) => {
                self.teams.remove(&team);
            }
            _ => {}
        }
    }
}

/// The rows, each as the trail would tell of it.
pub(super) struct Rows {
    tickets: BTreeMap<String, Value>,
    teams: BTreeMap<String, Value>,
}

pub(super) async fn gather(repo: &Repo, conn: &mut Conn) -> Result<Rows, Error> {
    let (mut tickets, mut of_teams) = (BTreeMap::new(), BTreeMap::new());
    let trail = repo.keys.trail();
    let (named, watchers) = (ticket_people::all_contacts(conn).await?, ticket_people::all_watchers(conn).await?);
    let settings = customer_settings::tickets(conn).await?;
    for row in ticket_people::all(conn).await? {
        let reference = &row.ticket;
        let set = settings.iter().find(|set| set.ticket == *reference);
        let named = named.iter().filter(|named| named.ticket == *reference);
        let watchers = watchers.iter().filter(|watcher| watcher.ticket == *reference);
        let detail = json!({
            "visibility": row.visibility,
            "contacts": named.map(|named| named.contact.as_str()).collect::<Vec<_>>(),
            "affected": row.affected.as_ref().map(Identifier::as_str),
            "team": row.team.as_ref().map(Identifier::as_str),
            "watchers": watchers
                .map(|watcher| told::address(trail, reference.as_str(), &watcher.address))
                .collect::<Vec<_>>(),
            "denied": row.denied.to_string(),
            "rights": set.and_then(|set| set.rights.as_deref()),
            "mail": set.is_none_or(|set| set.mail),
        });
        tickets.insert(reference.to_string(), detail);
    }
    let members = teams::all_members(conn).await?;
    for row in teams::list(conn).await? {
        let members = members.iter().filter(|member| member.team == row.id);
        let detail = json!({
            "team": row.id.as_str(),
            "members": members.map(|member| member.engineer.as_str()).collect::<Vec<_>>(),
            "address": row.email.as_ref().map(|email| told::address(trail, row.id.as_str(), email)),
        });
        of_teams.insert(row.id.to_string(), detail);
    }
    Ok(Rows { tickets, teams: of_teams })
}

pub(super) fn judge(rows: Rows, mut told: Told, outcome: &mut Compared) {
    for (reference, row) in rows.tickets {
        let what = match told.tickets.remove(&reference) {
            None => "says who sees it, and nobody did",
            Some(known) if known != row => "says otherwise who sees it than was set",
            Some(_) => continue,
        };
        outcome.add("ticket", reference.clone(), Some(&reference), what);
    }
    for (reference, _) in told.tickets {
        outcome.add("ticket", reference.clone(), Some(&reference), "does not say any more who sees it");
    }
    for (team, row) in rows.teams {
        outcome.people += 1;
        let what = match told.teams.remove(&team) {
            None => "was never added, as the trail tells",
            Some(known) if known != row => "has other members, or another mail address, than were set",
            Some(_) => continue,
        };
        outcome.add("team", team, None, what);
    }
    for (team, _) in told.teams {
        outcome.add("team", team, None, "was added, as the trail tells, and has no row");
    }
}
