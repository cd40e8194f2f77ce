//! The rows against the audit trail. The trail is sealed, row by row, and signed; the rows that it
//! tells of are compared with it: people, tickets, versions. Whoever writes the records without the
//! house's key changes a row, and not what was told of it.
//!
//! The trail is read in pages: what tells of people and tickets in one walk, what tells of versions
//! ticket by ticket. Memory is for all people and tickets, and for the files and versions of one
//! ticket. Names, directories, notices, modes and times of files are not compared, nor titles,
//! priorities and languages: the trail does not tell of them.

mod contacts;
mod house;
mod ticket_people;
mod tokens;
mod versions;

use std::time::Duration;

use serde::Serialize;

use crate::integrity::Integrity;
use crate::records::compare;
use crate::repo::Error;

/// Entries that are read at once.
const PAGE: u32 = 1000;
/// Differences that are named; more are counted.
const NAMED: usize = 1000;
/// How long the start of the server waits for the quick comparison.
const QUICK: Duration = Duration::from_secs(5);
/// Differences that the log names at a start.
const LOGGED: usize = 20;
/// Corrections of one recovery that have an entry each in the trail; more are only counted there.
const TOLD: u64 = 1000;

/// Something that the rows say and the trail does not, or the other way round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is about: `organisation`, `contact`, `engineer`, `team`, `ticket`, `deletion`,
    /// `artifact`, `version` or `versions`.
    pub about: &'static str,
    /// Its id; empty if it is about no single one.
    pub id: String,
    /// The ticket that it belongs to, where it does.
    pub ticket: Option<String>,
    /// What differs, as the end of a sentence that begins with it.
    pub what: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let about = if self.id.is_empty() { self.about.to_owned() } else { format!("{} {}", self.about, self.id) };
        match self.ticket.as_deref().filter(|_| self.about != "ticket") {
            Some(ticket) => write!(f, "{about} of ticket {ticket} {}", self.what),
            None => write!(f, "{about} {}", self.what),
        }
    }
}

/// What came of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Organisations and engineers that were compared.
    pub people: u64,
    /// Tickets that were compared.
    pub tickets: u64,
    /// Versions that were compared; 0 in a quick comparison.
    pub versions: u64,
    /// What differs, the first 1000.
    pub differences: Vec<Difference>,
    /// How many more there are.
    pub more: u64,
}

impl Compared {
    /// Takes in what another comparison came to.
    fn take(&mut self, other: Self) {
        self.people += other.people;
        self.tickets += other.tickets;
        self.versions += other.versions;
        self.more += other.more;
        for one in other.differences {
            self.add(one.about, one.id, one.ticket.as_deref(), one.what);
        }
    }

    fn add(&mut self, about: &'static str, id: impl Into<String>, ticket: Option<&str>, what: impl Into<String>) {
        if self.differences.len() < NAMED {
            let (id, ticket, what) = (id.into(), ticket.map(str::to_owned), what.into());
            self.differences.push(Difference { about, id, ticket, what });
        } else {
            self.more += 1;
        }
    }
}

impl Integrity {
    /// Compares the rows with what the audit trail tells of them. Whoever calls has verified the
    /// trail.
    ///
    /// # Errors
    /// If the records fail. What differs is no error here; it is reported.
    pub async fn compare(&self) -> Result<Compared, Error> {
        let mut outcome = Compared::default();
        let told = house::compare(&self.repo, &mut outcome).await?;
        for (ticket, opened) in &told.tickets {
            versions::compare(&self.repo, ticket, *opened, told.untold, &mut outcome).await?;
        }
        let homeless = compare::homeless_versions(&mut *self.repo.records.read().await?).await?;
        if homeless > 0 {
            outcome.add("versions", "", None, format!("belong to no ticket: {homeless} of them"));
        }
        Ok(outcome)
    }

    /// The same for people and tickets, and of versions only their number.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn compare_quickly(&self) -> Result<Compared, Error> {
        let mut outcome = Compared::default();
        house::compare(&self.repo, &mut outcome).await?;
        let (of_rows, of_trail) = compare::published(&mut *self.repo.records.read().await?).await?;
        if of_rows != of_trail {
            let what = format!("that became available: the rows have {of_rows}, and the trail tells of {of_trail}");
            outcome.add("versions", "", None, what);
        }
        Ok(outcome)
    }

    /// Compares quickly when the server starts, and says in the log what differs. The server starts
    /// all the same: what happens from now on is evidence, too.
    pub(crate) async fn compare_at_start(&self) {
        match tokio::time::timeout(QUICK, self.compare_quickly()).await {
            Ok(Ok(outcome)) => {
                for difference in outcome.differences.iter().take(LOGGED) {
                    tracing::error!(%difference, "the records are not what the audit trail tells");
                }
                if !outcome.differences.is_empty() {
                    tracing::error!(
                        differences = outcome.differences.len() as u64 + outcome.more,
                        "'tacdrop audit verify --records' compares everything"
                    );
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "people and tickets could not be compared with the audit trail"),
            Err(_) => tracing::info!(
                "comparing people and tickets with the audit trail takes longer than a start may wait; \
                 'tacdrop audit verify --records' does it"
            ),
        }
    }
}
