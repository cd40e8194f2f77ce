//! Retention by the policy: what is due when and by which rule, and shredding what is due.
//!
//! The dates that people were told are dates of the calendar, so the machine's clock decides. But a
//! clock that jumped would take away what nobody wanted gone: so each run compares it with house
//! time, which does not jump, and stops until an operator says that the clock is right.

use std::time::Duration;

use serde::Serialize;

use super::Retention;
use super::ticket::{ShreddedTicket, Why};
use crate::audit::Actor;
use crate::model::{DeletionReason, HouseTime, Identifier, TicketStatus, Time};
use crate::records::tickets::{self, Ticket};
use crate::records::{Conn, deletions, facts, holds};
use crate::repo::Error;
use crate::repo::tickets::existing_ticket;

/// By how much the clock and house time may differ between two runs. A day, and what clocks lose and
/// win; a server that stood still for longer looks like a jump.
const MOST_APART: Duration = Duration::from_secs(26 * 3600);
/// The fact that holds the machine's clock and house time of the last run, in milliseconds.
const LAST_RUN: &str = "retention_clock";

/// What the policy has in store for a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanLine {
    /// The ticket.
    pub ticket: String,
    /// Whose it is.
    pub organisation: String,
    /// Whether it is due, and if not, why.
    pub state: Due,
    /// The rule in words; none if no rule holds for it.
    pub rule: Option<String>,
    /// When it was closed.
    pub closed_at: Option<Time>,
    /// When its time is over; none while it is open, and without a rule.
    pub due_at: Option<Time>,
    /// Why it is held, if it is and somebody wrote it down.
    pub held: Option<String>,
    /// Files of which something can be read or continued.
    pub artifacts: u64,
    /// Versions that can be read or continued.
    pub versions: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Whether a ticket is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Due {
    /// The next run shreds it.
    Now,
    /// Its time is not over.
    Later,
    /// It is held.
    Held,
    /// It is closed, and no rule holds for it.
    Kept,
}

impl Due {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Later => "later",
            Self::Held => "held",
            Self::Kept => "kept",
        }
    }
}

/// How the machine's clock stands to house time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ClockState {
    /// By how many seconds the clock went further than house time since the last run; negative if
    /// it went back.
    pub apart_seconds: i64,
    /// Whether that is so much that nothing is shredded until an operator confirms the clock.
    pub jumped: bool,
}

/// What a run came to.
#[derive(Debug, Clone, Serialize)]
pub struct RetentionRun {
    /// The tickets that were shredded.
    pub shredded: Vec<ShreddedTicket>,
    /// Tickets that are due and could not be shredded, each with a sentence.
    pub failed: Vec<RetentionFailure>,
}

/// A ticket that is due and could not be shredded.
#[derive(Debug, Clone, Serialize)]
pub struct RetentionFailure {
    /// The ticket.
    pub ticket: String,
    /// Why.
    pub why: String,
}

/// How a ticket ends, for whoever looks at it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TicketEnd {
    /// When it was closed.
    pub closed_at: Option<Time>,
    /// Until when it can be read, by the policy; none: until somebody says otherwise.
    pub readable_until: Option<Time>,
    /// Since when nothing of it is removed.
    pub held_at: Option<Time>,
    /// Why, as an operator wrote it.
    pub held_because: Option<String>,
}

impl Retention {
    /// How a ticket ends.
    ///
    /// # Errors
    /// If there is no such ticket, or the records fail.
    pub async fn end_of(&self, ticket: &Identifier) -> Result<TicketEnd, Error> {
        let mut conn = self.repo.records.read().await?;
        let row = existing_ticket(&mut conn, ticket).await?;
        let hold = holds::of_share(&mut conn, row.share).await?;
        Ok(TicketEnd {
            closed_at: row.closed_at,
            readable_until: self.due_at(&row),
            held_at: hold.as_ref().map(|hold| hold.held_at),
            held_because: hold.and_then(|hold| hold.reason),
        })
    }

    /// When a ticket's time is over by the policy; none while it is open, and without a rule.
    fn due_at(&self, ticket: &Ticket) -> Option<Time> {
        self.repo.settings.policy.as_ref()?.end_of(ticket)?.1
    }

    /// What the policy has in store for all closed tickets, the first to go first.
    ///
    /// # Errors
    /// If there is no policy, or the records fail.
    pub async fn retention_plan(&self) -> Result<Vec<PlanLine>, Error> {
        let policy = self.repo.settings.policy.clone().ok_or_else(no_policy)?;
        let (mut conn, now, mut lines) = (self.repo.records.read().await?, Time::now(), Vec::new());
        for row in tickets::list(&mut conn).await? {
            if row.status != TicketStatus::Closed || deletions::is_begun(&mut conn, row.share).await? {
                continue;
            }
            let hold = holds::of_share(&mut conn, row.share).await?;
            let end = policy.end_of(&row);
            let due_at = end.as_ref().and_then(|(_, at)| *at);
            let state = match due_at {
                _ if hold.is_some() => Due::Held,
                None => Due::Kept,
                Some(at) if at <= now => Due::Now,
                Some(_) => Due::Later,
            };
            let (artifacts, versions, bytes) = deletions::count(&mut conn, row.share).await?;
            lines.push(PlanLine {
                ticket: row.reference.to_string(),
                organisation: row.organisation.to_string(),
                state,
                rule: end.map(|(rule, _)| rule.to_string()),
                closed_at: row.closed_at,
                due_at,
                held: hold.and_then(|hold| hold.reason),
                artifacts,
                versions,
                bytes,
            });
        }
        lines.sort_by_key(|line| (line.due_at.is_none(), line.due_at));
        Ok(lines)
    }

    /// How the machine's clock stands to house time since the last run; none if there was none.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn retention_clock(&self) -> Result<Option<ClockState>, Error> {
        let text = facts::fact(&mut *self.repo.records.read().await?, LAST_RUN).await?;
        Ok(text.as_deref().and_then(last_run).map(|last| apart(last, (Time::now(), self.repo.clock.now()))))
    }

    /// Shreds every ticket whose time is over by the policy. `confirmed`: an operator says that the
    /// clock is right, whatever it did since the last run.
    ///
    /// # Errors
    /// If there is no policy, the clock jumped, or the records fail. A ticket that cannot be
    /// shredded keeps none of the others waiting.
    pub async fn run_retention(&self, confirmed: bool, actor: &Actor) -> Result<RetentionRun, Error> {
        let policy = self.repo.settings.policy.clone().ok_or_else(no_policy)?;
        let now = (Time::now(), self.repo.clock.now());
        let mut tx = self.repo.records.begin().await?;
        check_clock(tx.conn(), now, confirmed).await?;
        tx.commit().await?;
        let now = now.0;
        let rows = tickets::list(&mut *self.repo.records.read().await?).await?;
        let mut run = RetentionRun { shredded: Vec::new(), failed: Vec::new() };
        let is_due = |row: &Ticket| {
            let end = policy.end_of(row).and_then(|(_, at)| at);
            row.status == TicketStatus::Closed && end.is_some_and(|at| at <= now)
        };
        for row in rows.iter().filter(|row| is_due(row)) {
            let rule = policy.end_of(row).map_or_else(String::new, |(rule, _)| rule.to_string());
            let why = Why { reason: DeletionReason::Retention, rule, is_due: &is_due };
            match self.shred_due(row, &why, actor).await {
                Ok(None) => {}
                Ok(Some(done)) => {
                    tracing::info!(ticket = %row.reference, rule = why.rule, "a ticket was shredded: its time was over");
                    run.shredded.push(done);
                }
                Err(error) => {
                    let failure = RetentionFailure { ticket: row.reference.to_string(), why: error.to_string() };
                    run.failed.push(failure);
                }
            }
        }
        Ok(run)
    }

    async fn shred_due(&self, row: &Ticket, why: &Why<'_>, actor: &Actor) -> Result<Option<ShreddedTicket>, Error> {
        // Whoever holds it is asked again in the transaction; here it is only no failure.
        if holds::of_share(&mut *self.repo.records.read().await?, row.share).await?.is_some() {
            return Ok(None);
        }
        match self.begin_shredding(&row.reference, why, actor).await {
            Ok(Some(share)) => self.go_on_shredding(share, actor).await.map(Some),
            Ok(None) => Ok(None),
            // Another process has shredded it since the tickets were listed.
            Err(_) if deletions::is_begun(&mut *self.repo.records.read().await?, row.share).await? => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn no_policy() -> Error {
    Error::operator("no policy says how long tickets are kept; policy.file in the settings names its file")
}

/// What the fact of the last run says.
fn last_run(text: &str) -> Option<(Time, HouseTime)> {
    let (clock, house) = text.split_once(' ')?;
    Some((Time::from_millis(clock.parse().ok()?), HouseTime::from_millis(house.parse().ok()?)))
}

/// By how much the clock went further than house time between two moments.
fn apart(last: (Time, HouseTime), now: (Time, HouseTime)) -> ClockState {
    let clock = now.0.millis().saturating_sub(last.0.millis());
    let apart = clock.saturating_sub(now.1.millis().saturating_sub(last.1.millis()));
    let most = i64::try_from(MOST_APART.as_millis()).unwrap_or(i64::MAX);
    ClockState { apart_seconds: apart / 1000, jumped: !(-most..=most).contains(&apart) }
}

/// Compares the clock with house time, and writes both down for the next run.
async fn check_clock(conn: &mut Conn, now: (Time, HouseTime), confirmed: bool) -> Result<(), Error> {
    let last = facts::fact(conn, LAST_RUN).await?.as_deref().and_then(last_run);
    if let Some(state) = last.map(|last| apart(last, now))
        && state.jumped
        && !confirmed
    {
        return Err(Error::operator(jumped(state)));
    }
    Ok(facts::set_fact(conn, LAST_RUN, &format!("{} {}", now.0.millis(), now.1.millis())).await?)
}

/// What is said of a clock that jumped.
pub(crate) fn jumped(state: ClockState) -> String {
    let hours = state.apart_seconds.unsigned_abs() / 3600;
    let way = if state.apart_seconds < 0 { "back" } else { "ahead" };
    format!(
        "the clock went {hours} hours {way} while no server ran, or it was set; nothing is shredded by the policy until \
         somebody has looked at the clock ('date') and says 'tacdrop retention run --confirm-clock'"
    )
}

impl ClockState {
    /// A sentence, if the clock jumped.
    pub fn warning(self) -> Option<String> {
        self.jumped.then(|| jumped(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_with_house_time_did_not_jump() {
        const HOUR: i64 = 3_600_000;
        let at = |clock: i64, house: i64| (Time::from_millis(clock * HOUR), HouseTime::from_millis(house * HOUR));
        for (clock, house, hours, jumped) in [
            (1, 1, 0, false),
            // The server ran for a year.
            (8760, 8760, 0, false),
            // It stood still over a night, and over a weekend.
            (26, 0, 26, false),
            (27, 0, 27, true),
            (60, 2, 58, true),
            // Set back.
            (-20, 5, -25, false),
            (-22, 5, -27, true),
        ] {
            let state = apart(at(1000, 10), at(1000 + clock, 10 + house));
            assert_eq!((state.apart_seconds / 3600, state.jumped), (hours, jumped), "{clock} {house}");
            assert_eq!(state.warning().is_some(), jumped);
        }
        // A fact that somebody wrote there.
        for text in ["", "1", "x y", "9223372036854775807 -9223372036854775808", "1 2 3"] {
            let _ = last_run(text).map(|last| apart(last, at(i64::MIN / HOUR, i64::MAX / HOUR)));
        }
        assert_eq!(last_run("5 7"), Some((Time::from_millis(5), HouseTime::from_millis(7))));
    }
}
