//! `tacdrop who`: who is logged in at the server that runs.

use clap::Args;

use super::Desk;
use super::columns::{Cut, fitted, moment, width};
use super::failure::Failure;
use super::output::size;
use crate::app::{App, SessionLine, WhoIsIn};
use crate::model::{Identifier, Reference};

#[derive(Debug, Args)]
pub(crate) struct WhoArgs {
    /// Only this name: a ticket's reference, or the id of a contact or an engineer
    #[arg(long, value_name = "NAME")]
    name: Option<Identifier>,
    /// Only those that have this ticket open, or are its login
    #[arg(long, value_name = "REF")]
    ticket: Option<Reference>,
    /// Show everything in full, however wide it becomes
    #[arg(long)]
    wide: bool,
}

impl WhoArgs {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        let ticket = app.tickets().named_if_any(self.ticket.as_ref()).await?;
        let Some(mut is_in) = app.access().who().await? else {
            return desk.output.answer(&WhoIsIn::default(), || "No server runs, so nobody is logged in.".to_owned());
        };
        is_in.sessions.retain(|session| {
            let is_named = self.name.as_ref().is_none_or(|name| session.name.eq_ignore_ascii_case(name.as_str()));
            is_named && ticket.as_ref().is_none_or(|ticket| session.tickets.iter().any(|open| open == ticket.as_str()))
        });
        desk.output.answer(&is_in, || shown(&is_in, self.wide))
    }
}

fn shown(is_in: &WhoIsIn, wide: bool) -> String {
    let more = match is_in.more {
        0 => String::new(),
        more => format!("{more} more are logged in.\n"),
    };
    if is_in.sessions.is_empty() {
        return if more.is_empty() { "Nobody is logged in.\n".to_owned() } else { more };
    }
    let headings = [
        ("NAME", Cut::End),
        ("AS", Cut::Never),
        ("TICKET", Cut::End),
        ("ADDRESS", Cut::End),
        ("SINCE (UTC)", Cut::Never),
        ("DOOR", Cut::Never),
        ("SENDING", Cut::End),
    ];
    let row = |session: &SessionLine| {
        [
            session.name.clone(),
            session.role.clone(),
            if session.tickets.is_empty() { "-".to_owned() } else { session.tickets.join(" ") },
            session.address.clone(),
            moment(Some(session.since)),
            session.door.clone(),
            sending(session, wide),
        ]
    };
    fitted(headings, is_in.sessions.iter().map(row).collect(), width(wide)) + &more
}

/// What is under way: each file, or in a narrow table how many and how much of them is there.
fn sending(session: &SessionLine, wide: bool) -> String {
    let count = session.uploads.len() + session.more_uploads;
    let bytes = session.uploads.iter().map(|upload| upload.bytes).sum();
    match (count, wide) {
        (0, _) => "-".to_owned(),
        (1, false) => size(bytes),
        (_, false) => format!("{count} files, {}", size(bytes)),
        (_, true) => {
            let each = session.uploads.iter().map(|upload| format!("{} {}", upload.artifact, size(upload.bytes)));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::UploadNow;
    use crate::model::Time;

    #[test]
    fn who_is_in_fits_80_columns() {
        let session = |name: &str, role: &str, uploads: usize| SessionLine {
            id: "0".repeat(32),
            name: name.to_owned(),
            role: role.to_owned(),
            tickets: vec!["XT-4711".to_owned(); uploads.max(1)],
            address: "2001:db8:1234:5678:9abc:def0:1234:5678".to_owned(),
            since: Time::from_seconds(1_800_000_000),
            door: "legacy".to_owned(),
            uploads: (0..uploads).map(|n| UploadNow { artifact: n.to_string(), bytes: 1 << 40 }).collect(),
            more_uploads: 0,
        };
        let is_in = WhoIsIn {
            sessions: vec![
                session("XT-4711-and-more", "upload-only", 1),
                session("anna", "lead", 0),
                session("b", "contact", 20),
            ],
            more: 3,
        };
        let text = shown(&is_in, false);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(
            text.contains("1.0 TiB") && text.contains("20 file") && text.ends_with("3 more are logged in.\n"),
            "{text}"
        );
        assert!(shown(&is_in, true).contains("2001:db8:1234:5678:9abc:def0:1234:5678"));
        assert_eq!(shown(&WhoIsIn::default(), false), "Nobody is logged in.\n");
    }
}
