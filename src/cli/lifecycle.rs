//! `tacdrop artifact list | withdraw | restore | shred`: which versions there are, and what becomes
//! of them.

use super::Desk;
use super::failure::Failure;
use super::output::size;
use crate::app::{App, SenderCheck, ShredPlan};
use crate::model::sanitize;
use crate::model::{Identifier, SharePath, Time, Transport, Verdict, VersionState};

/// `artifact list`: the current version of each file, or all versions.
pub(crate) async fn list(app: &App, desk: &Desk, ticket: &Identifier, versions: bool) -> Result<(), Failure> {
    let address = desk.address(app).await?;
    let nothing = format!("Nothing has come for ticket {ticket} yet.");
    if !versions {
        let lines = app.artifacts().list(ticket, &address).await?;
        let headings = ["STATE", "SIZE", "VERSION", "RECEIVED", "BY", "SHA-256", "SENDER", "PATH"];
        return desk.output.list(&lines, headings, &nothing, |row| {
            [
                state(row.state, row.missing_percent) + mark(row.transport),
                size(row.size) + &left_out(row.zeros),
                row.version.to_string(),
                moment(row.received_at),
                row.uploaded_by.clone(),
                row.sha256.clone().unwrap_or_else(|| "-".to_owned()),
                sender_checks(&row.sender_checks),
                row.path.clone(),
            ]
        });
    }
    let lines = app.retention().versions(ticket, &address).await?;
    let headings = ["STATE", "SIZE", "VERSION", "OPENED", "RECEIVED", "REMOVED", "BY", "SHA-256", "PATH"];
    desk.output.list(&lines, headings, &nothing, |row| {
        [
            state(row.state, row.missing_percent) + if row.current { ", current" } else { "" } + mark(row.transport),
            size(row.size) + &left_out(row.zeros),
            row.version.to_string(),
            row.opened_at.to_string(),
            moment(row.received_at),
            moment(row.removed_at),
            row.uploaded_by.clone(),
            row.sha256.clone().unwrap_or_else(|| "-".to_owned()),
            row.path.clone(),
        ]
    })
}

/// `MD5 matches`, `SHA-256 DIFFERS`; a dash if the sender stated nothing.
fn sender_checks(checks: &[SenderCheck]) -> String {
    let words = checks.iter().map(|check| {
        let result = match check.result {
            Verdict::Matches => "matches",
            Verdict::Differs => "DIFFERS",
            Verdict::NotUnderstood => "not understood",
        };
        format!("{} {result}", check.algorithm.title())
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

/// `artifact withdraw`.
pub(crate) async fn withdraw(app: &App, desk: &Desk, ticket: &Identifier, path: &SharePath) -> Result<(), Failure> {
    let done = app.retention().withdraw(ticket, path).await?;
    desk.output.answer(&done, || {
        let path = sanitize::line(&done.path);
        if done.versions == 0 {
            return format!("{path} is out of sight; nothing of it can be restored, as no version of it was finished");
        }
        format!(
            "{path} is out of sight, with {}. It can be restored until {} at the earliest: tacdrop artifact restore",
            count(done.versions),
            done.removed_at
        )
    })
}

/// `artifact restore`.
pub(crate) async fn restore(app: &App, desk: &Desk, ticket: &Identifier, path: &SharePath) -> Result<(), Failure> {
    let done = app.retention().restore(ticket, path).await?;
    desk.output.answer(&done, || {
        let current = done.current.map_or_else(String::new, |number| format!("; version {number} is the current one"));
        format!("{} is back, with {}{current}", sanitize::line(&done.path), count(done.versions))
    })
}

/// `artifact shred`: without `yes` nothing is done, and it is said what would be.
pub(crate) async fn shred(
    app: &App,
    desk: &Desk,
    ticket: &Identifier,
    path: &SharePath,
    version: Option<u64>,
    yes: bool,
) -> Result<(), Failure> {
    if !yes {
        return Err(Failure::new(warning(&app.retention().plan_shred(ticket, path, version).await?)));
    }
    let done = app.retention().shred(ticket, path, version).await?;
    desk.output.answer(&done, || {
        let left = match done.current {
            Some(number) => format!("; version {number} is the current one"),
            None => String::new(),
        };
        let journal = if done.journal_owed {
            "; somebody reads the records, so the server will wipe the last trace of the keys within minutes"
        } else {
            ""
        };
        format!("{}: {} can never be read again{left}{journal}", sanitize::line(&done.path), numbers(&done.versions))
    })
}

fn warning(plan: &ShredPlan) -> String {
    let left = match plan.left {
        0 => "nothing of it would be left".to_owned(),
        left => format!("{} would be left", count(left)),
    };
    format!(
        "nothing was done: {} of {} ({}) would be gone for good, and {left}; add --yes to do it",
        numbers(&plan.versions),
        plan.path,
        size(plan.bytes),
    )
}

/// `version 3`, `versions 1, 2 and 3`, `versions 1 to 12`.
fn numbers(all: &[u64]) -> String {
    match all {
        [] => "no version".to_owned(),
        [one] => format!("version {one}"),
        [first, .., last] if last - first + 1 == all.len() as u64 && all.len() > 3 => {
            format!("versions {first} to {last}")
        }
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(u64::to_string).collect();
            format!("versions {} and {last}", most.join(", "))
        }
    }
}

fn count(versions: u64) -> String {
    if versions == 1 { "one version".to_owned() } else { format!("{versions} versions") }
}

fn state(state: VersionState, missing: Option<u8>) -> String {
    match missing {
        Some(percent) => format!("{state}, {percent} % missing"),
        None => state.to_string(),
    }
}

/// How much of a size was never sent.
fn left_out(zeros: u64) -> String {
    if zeros > 0 { format!(", {} of it zeros that were not sent", size(zeros)) } else { String::new() }
}

/// What came over weak encryption is plain to see.
const fn mark(transport: Transport) -> &'static str {
    if transport.is_weak() { ", weak transport" } else { "" }
}

fn moment(time: Option<Time>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_shredded_is_said_in_words() {
        for (all, text) in [
            (vec![3], "version 3"),
            (vec![1, 2], "versions 1 and 2"),
            (vec![1, 2, 4, 7], "versions 1, 2, 4 and 7"),
            (vec![2, 3, 4, 5], "versions 2 to 5"),
        ] {
            assert_eq!(numbers(&all), text);
        }
        let mut plan = ShredPlan { ticket: "XT-1".into(), path: "a".into(), versions: vec![2], bytes: 2048, left: 1 };
        let said = warning(&plan);
        assert!(said.contains("version 2 of a (2.0 KiB) would be gone for good") && said.contains("--yes"), "{said}");
        assert!(said.contains("one version would be left"), "{said}");
        plan.left = 0;
        assert!(warning(&plan).contains("nothing of it would be left"));
    }

    #[test]
    fn what_is_missing_is_said_where_something_is() {
        assert_eq!(state(VersionState::Incomplete, Some(37)), "incomplete, 37 % missing");
        assert_eq!(state(VersionState::Receiving, None), "receiving");
        assert_eq!(state(VersionState::Available, None), "available");
    }
}
