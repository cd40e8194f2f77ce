//! `tacdrop notice`: what engineers were told, or will be, and what to do about what did not
//! arrive.

use clap::{ArgGroup, Subcommand};

use super::Desk;
use super::failure::Failure;
use crate::app::{App, NewAddress, NoticeArtifact, NoticeChange, NoticeLine};
use crate::model::{Identifier, NoticeId, NoticeState, Reference};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the notices of one ticket, or all
    List {
        /// The ticket
        #[arg(value_name = "REF")]
        ticket: Option<Reference>,
    },
    /// Try notices again at once that failed or wait
    #[command(group(ArgGroup::new("which").required(true).args(["ids", "all_failed"])))]
    Retry {
        /// The notices, as 'tacdrop notice list' shows them
        #[arg(value_name = "ID")]
        ids: Vec<NoticeId>,
        /// All that failed, and those that perhaps never came
        #[arg(long)]
        all_failed: bool,
    },
    /// Send a notice to another mail address or another engineer, at once
    #[command(group(ArgGroup::new("to").required(true).args(["address", "engineer"])))]
    Readdress {
        /// The notice
        #[arg(value_name = "ID")]
        id: NoticeId,
        /// The mail address
        #[arg(value_name = "ADDRESS")]
        address: Option<String>,
        /// The engineer who gets it instead
        #[arg(long, value_name = "ID")]
        engineer: Option<Identifier>,
    },
    /// End a notice that need not be delivered any more
    Dismiss {
        /// The notice
        #[arg(value_name = "ID")]
        id: NoticeId,
    },
}

impl Command {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::List { ticket } => {
                let ticket = app.tickets().named_if_any(ticket.as_ref()).await?;
                list(app, desk, ticket.as_ref()).await
            }
            Self::Retry { ids, all_failed } => {
                let changes = app.notices().retry((!all_failed).then_some(&ids[..])).await?;
                desk.output.answer(&changes, || match changes.len() {
                    0 => "No notice has failed.".to_owned(),
                    1 => "1 notice is tried again now.".to_owned(),
                    count => format!("{count} notices are tried again now."),
                })
            }
            Self::Readdress { id, address, engineer } => {
                let to = match (address, engineer) {
                    (Some(address), _) => NewAddress::Mail(address),
                    (None, Some(engineer)) => NewAddress::Engineer(engineer),
                    (None, None) => return Err(Failure::new("name an address, or an engineer with --engineer")),
                };
                say(desk, &app.notices().readdress(id, &to).await?, "is sent there now")
            }
            Self::Dismiss { id } => say(desk, &app.notices().dismiss(id).await?, "is not delivered any more"),
        }
    }
}

fn say(desk: &Desk, change: &NoticeChange, what: &str) -> Result<(), Failure> {
    desk.output.answer(change, || format!("Notice {} of ticket {} {what}.", change.id, change.ticket))
}

async fn list(app: &App, desk: &Desk, ticket: Option<&Identifier>) -> Result<(), Failure> {
    let headings = ["ID", "TICKET", "STATE", "RECIPIENT", "CHANNEL", "TRIES", "NEXT", "ARTIFACTS", "LAST ERROR"];
    desk.output.list(&app.notices().list(ticket).await?, headings, "There is no notice yet.", |row| {
        [
            row.id.clone(),
            row.ticket.clone(),
            state(row),
            row.recipient.clone(),
            row.channel.clone().unwrap_or_else(|| "-".to_owned()),
            row.attempts.to_string(),
            row.next_attempt_at.map_or_else(|| "-".to_owned(), |time| time.to_string()),
            artifacts(row),
            row.last_error.clone().unwrap_or_default(),
        ]
    })
}

fn state(row: &NoticeLine) -> String {
    match (row.state, row.lost_answers) {
        (NoticeState::Unknown, _) => "unknown (perhaps delivered)".to_owned(),
        (NoticeState::Pending, 1..) => "pending (perhaps delivered)".to_owned(),
        (state, _) => state.to_string(),
    }
}

fn artifacts(row: &NoticeLine) -> String {
    match &row.artifacts[..] {
        [NoticeArtifact { path: Some(path), .. }] => path.clone(),
        [NoticeArtifact { problem: Some(problem), .. }] => problem.clone(),
        several => match several.iter().filter(|artifact| artifact.path.is_none()).count() {
            0 => format!("{} files", several.len()),
            unreadable => format!("{} files, {unreadable} without a readable path", several.len()),
        },
    }
}
