//! All tickets with what lies in them, as an engineer asks for them every morning.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use serde::Serialize;

use super::ticket_people::existing_team;
use super::{TicketLine, Tickets};
use crate::model::{Identifier, ShareId, TicketStatus, Time};
use crate::records::lists::{self, Holding};
use crate::records::{ticket_people, tickets};
use crate::repo::Error;
use crate::repo::tickets::{existing_engineer, existing_organisation};

/// Which tickets are wanted, and in which order. What is none is no condition.
#[derive(Debug, Clone, Default)]
pub struct TicketFilter {
    /// Those that stand so.
    pub status: Option<TicketStatus>,
    /// Those of an organisation.
    pub organisation: Option<Identifier>,
    /// Those that an engineer works on.
    pub engineer: Option<Identifier>,
    /// Those in a team's queue.
    pub team: Option<Identifier>,
    /// Those of a kind.
    pub kind: Option<Identifier>,
    /// Those that were opened, or got something, then or later.
    pub since: Option<Time>,
    /// What comes first.
    pub sort: TicketOrder,
    /// Those behind this one in that order.
    pub after: Option<Identifier>,
    /// At most so many; none: all.
    pub limit: Option<usize>,
}

/// What comes first in a list of tickets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TicketOrder {
    /// By reference.
    #[default]
    Reference,
    /// Those that got something last.
    Newest,
    /// Those that were opened last.
    Opened,
    /// Those of priority 1.
    Priority,
    /// Those that hold most bytes.
    Bytes,
    /// Those that hold most artifacts.
    Artifacts,
    /// Those whose deadline comes first; those without one are last.
    Deadline,
}

/// A ticket with what lies in it, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct ListedTicket {
    /// The ticket.
    #[serde(flatten)]
    pub ticket: TicketLine,
    /// In whose queue it is.
    pub team: Option<String>,
    /// Files in sight in its share, each counted once, however many versions it has.
    pub artifacts: u64,
    /// Plaintext bytes that count against its quota: all versions, each extent once.
    pub bytes: u64,
    /// When the newest of the artifacts came.
    pub newest_at: Option<Time>,
}

impl TicketOrder {
    /// All of them, by their words.
    const WORDS: [(&str, Self); 7] = [
        ("reference", Self::Reference),
        ("newest", Self::Newest),
        ("opened", Self::Opened),
        ("priority", Self::Priority),
        ("bytes", Self::Bytes),
        ("artifacts", Self::Artifacts),
        ("deadline", Self::Deadline),
    ];

    fn compare(self, one: &ListedTicket, other: &ListedTicket) -> Ordering {
        let first = match self {
            Self::Reference => Ordering::Equal,
            Self::Newest => other.newest_at.cmp(&one.newest_at),
            Self::Opened => other.ticket.opened_at.cmp(&one.ticket.opened_at),
            Self::Priority => one.ticket.priority.number().cmp(&other.ticket.priority.number()),
            Self::Bytes => Reverse(one.bytes).cmp(&Reverse(other.bytes)),
            Self::Artifacts => Reverse(one.artifacts).cmp(&Reverse(other.artifacts)),
            Self::Deadline => {
                let last = |line: &ListedTicket| {
                    (line.ticket.deadline.is_none(), line.ticket.deadline.map(|day| day.to_string()))
                };
                last(one).cmp(&last(other))
            }
        };
        first.then_with(|| one.ticket.reference.cmp(&other.ticket.reference))
    }
}

impl std::str::FromStr for TicketOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::WORDS.into_iter().find(|(word, _)| *word == text);
        let words = || Self::WORDS.map(|(word, _)| word).join(", ");
        found.map(|(_, order)| order).ok_or_else(|| format!("tickets can be sorted by {}", words()))
    }
}

impl TicketFilter {
    fn wants(&self, line: &ListedTicket) -> bool {
        let is = |wanted: &Option<Identifier>, word: &str| wanted.as_ref().is_none_or(|wanted| wanted.as_str() == word);
        let ticket = &line.ticket;
        self.status.is_none_or(|status| status == ticket.status)
            && is(&self.organisation, &ticket.organisation)
            && is(&self.engineer, &ticket.engineer)
            && is(&self.kind, &ticket.kind)
            && self.team.as_ref().is_none_or(|team| line.team.as_deref() == Some(team.as_str()))
            && self.since.is_none_or(|since| ticket.opened_at.max(line.newest_at.unwrap_or(ticket.opened_at)) >= since)
    }
}

impl Tickets {
    /// Tickets with what lies in them. A row that cannot be read is left out, and named in the log.
    ///
    /// # Errors
    /// If there is no such organisation, engineer, team, or ticket to go on behind, or the records
    /// fail.
    pub async fn find(&self, filter: &TicketFilter) -> Result<Vec<ListedTicket>, Error> {
        let mut conn = self.repo.records.read().await?;
        // A mistyped word would otherwise be a list of nothing.
        if let Some(organisation) = &filter.organisation {
            existing_organisation(&mut conn, organisation).await?;
        }
        if let Some(engineer) = &filter.engineer {
            existing_engineer(&mut conn, engineer).await?;
        }
        if let Some(team) = &filter.team {
            existing_team(&mut conn, team).await?;
        }
        let holdings: HashMap<ShareId, Holding> = lists::holdings(&mut conn).await?.into_iter().collect();
        let people = ticket_people::all(&mut conn).await?;
        let teams: HashMap<_, _> =
            people.into_iter().filter_map(|row| Some((row.ticket, row.team?.to_string()))).collect();
        let listed = |ticket: tickets::Ticket| {
            let holding = holdings.get(&ticket.share).copied().unwrap_or_default();
            ListedTicket {
                team: teams.get(&ticket.reference).cloned(),
                artifacts: holding.artifacts,
                bytes: ticket.stored_bytes,
                newest_at: holding.newest,
                ticket: ticket.into(),
            }
        };
        let mut lines: Vec<_> = tickets::list(&mut conn).await?.into_iter().map(listed).collect();
        lines.sort_by(|one, other| filter.sort.compare(one, other));
        if let Some(after) = &filter.after {
            let place = lines.iter().position(|line| line.ticket.reference == after.as_str());
            let place = place.ok_or_else(|| Error::operator(format!("there is no ticket {after} to go on behind")))?;
            lines.drain(..=place);
        }
        lines.retain(|line| filter.wants(line));
        lines.truncate(filter.limit.unwrap_or(usize::MAX));
        Ok(lines)
    }
}
