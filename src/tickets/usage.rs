//! What tickets and organisations take of the room that there is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::Tickets;
use crate::model::{Identifier, ShareId, TicketStatus, Time};
use crate::records::lists::{self, Holding};
use crate::records::tickets;
use crate::repo::Error;
use crate::repo::tickets::{existing_organisation, existing_ticket};

/// Whose room is asked for. What is none is no condition.
#[derive(Debug, Clone, Default)]
pub struct UsageFilter {
    /// That of one ticket.
    pub ticket: Option<Identifier>,
    /// That of an organisation's tickets.
    pub organisation: Option<Identifier>,
    /// That of tickets that stand so.
    pub status: Option<TicketStatus>,
}

/// What is taken, and what may be.
#[derive(Debug, Clone, Serialize)]
pub struct Usage {
    /// Bytes that uploads can still take of the disk.
    pub disk_free: u64,
    /// Bytes that one ticket may have.
    pub bytes_most: u64,
    /// Files and directories that one ticket may have.
    pub names_most: u64,
    /// Who has most first.
    pub organisations: Vec<OrganisationUsage>,
    /// The largest first.
    pub tickets: Vec<TicketUsage>,
}

/// What the tickets of an organisation take together.
#[derive(Debug, Clone, Serialize)]
pub struct OrganisationUsage {
    /// Its id.
    pub organisation: String,
    /// How many tickets it has.
    pub tickets: u64,
    /// Files in sight in them.
    pub artifacts: u64,
    /// Bytes that count against their quotas: all versions, each extent once.
    pub bytes: u64,
    /// Files and directories in sight.
    pub names: u64,
}

/// What a ticket takes.
#[derive(Debug, Clone, Serialize)]
pub struct TicketUsage {
    /// Its reference.
    pub reference: String,
    /// Its reference as the ticket system writes it.
    pub shown: String,
    /// Whose it is.
    pub organisation: String,
    /// How it stands.
    pub status: TicketStatus,
    /// Files in sight in it.
    pub artifacts: u64,
    /// Bytes that count against its quota: all versions, each extent once.
    pub bytes: u64,
    /// The same in per cent of what it may have, cut.
    pub bytes_percent: u64,
    /// Files and directories in sight.
    pub names: u64,
    /// The same in per cent of what it may have, cut.
    pub names_percent: u64,
    /// When the newest of the files in sight came.
    pub newest_at: Option<Time>,
}

impl Tickets {
    /// What tickets and their organisations take. A row that cannot be read is left out, and named
    /// in the log.
    ///
    /// # Errors
    /// If there is no such ticket or organisation, the disk cannot be asked, or the records fail.
    pub async fn usage(&self, filter: &UsageFilter) -> Result<Usage, Error> {
        let mut conn = self.repo.records.read().await?;
        // A mistyped word would otherwise be a list of nothing.
        if let Some(ticket) = &filter.ticket {
            existing_ticket(&mut conn, ticket).await?;
        }
        if let Some(organisation) = &filter.organisation {
            existing_organisation(&mut conn, organisation).await?;
        }
        let holdings: HashMap<ShareId, Holding> = lists::holdings(&mut conn).await?.into_iter().collect();
        let rows = tickets::list(&mut conn).await?;
        drop(conn);
        let settings = &self.repo.settings;
        let (bytes_most, names_most) = (settings.share_bytes, settings.names_per_share);
        let wanted = |row: &tickets::Ticket| {
            filter.ticket.as_ref().is_none_or(|ticket| *ticket == row.reference)
                && filter.organisation.as_ref().is_none_or(|organisation| *organisation == row.organisation)
                && filter.status.is_none_or(|status| status == row.status)
        };
        let used = |row: tickets::Ticket| {
            let holding = holdings.get(&row.share).copied().unwrap_or_default();
            TicketUsage {
                reference: row.reference.to_string(),
                shown: row.shown.to_string(),
                organisation: row.organisation.to_string(),
                status: row.status,
                artifacts: holding.artifacts,
                bytes: row.stored_bytes,
                bytes_percent: percent(row.stored_bytes, bytes_most),
                names: row.names,
                names_percent: percent(row.names, names_most),
                newest_at: holding.newest,
            }
        };
        let mut tickets: Vec<TicketUsage> = rows.into_iter().filter(wanted).map(used).collect();
        tickets.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.reference.cmp(&other.reference)));
        let organisations = summed(&tickets);
        Ok(Usage { disk_free: self.repo.disk_space.free()?, bytes_most, names_most, organisations, tickets })
    }
}

fn summed(tickets: &[TicketUsage]) -> Vec<OrganisationUsage> {
    let mut sums: BTreeMap<&str, OrganisationUsage> = BTreeMap::new();
    for ticket in tickets {
        let organisation = ticket.organisation.clone();
        let new = OrganisationUsage { organisation, tickets: 0, artifacts: 0, bytes: 0, names: 0 };
        let sum = sums.entry(&ticket.organisation).or_insert(new);
        sum.tickets += 1;
        sum.artifacts += ticket.artifacts;
        sum.bytes = sum.bytes.saturating_add(ticket.bytes);
        sum.names += ticket.names;
    }
    let mut all: Vec<OrganisationUsage> = sums.into_values().collect();
    all.sort_by_key(|sum| Reverse(sum.bytes));
    all
}

fn percent(of: u64, most: u64) -> u64 {
    let percent = u128::from(of) * 100 / u128::from(most.max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}
