//! `tacdrop ticket token`: the tokens of a ticket.

use clap::{ArgGroup, Args, Subcommand};

use super::Desk;
use super::failure::Failure;
use super::ticket::Door;
use crate::app::{App, NewToken, TokenLine};
use crate::model::{LastDay, Reference, TokenKind};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Tokens {
    /// The ticket that gets a new main token; the old one dies, and its sessions end within a
    /// second
    #[arg(value_name = "REF", required = true)]
    reference: Option<Reference>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Give a ticket one more token, which ends on its own, and show it once
    #[command(group(ArgGroup::new("only").args(["upload_only", "device"])))]
    Add {
        /// The ticket
        #[arg(value_name = "REF")]
        reference: Reference,
        /// What you call it
        #[arg(long)]
        label: Option<String>,
        /// Its last day, as 2026-12-31 (UTC); without it, it is renewed by each login until the
        /// ticket is closed
        #[arg(long, value_name = "DATE")]
        until: Option<LastDay>,
        /// It can only send
        #[arg(long)]
        upload_only: bool,
        /// It is typed on a network device: it can only send, also by the listener for old devices
        #[arg(long)]
        device: bool,
    },
    /// List the tokens of a ticket
    List {
        /// The ticket
        #[arg(value_name = "REF")]
        reference: Reference,
    },
    /// End a token; its sessions end within a second, and those of others go on
    End {
        /// The ticket
        #[arg(value_name = "REF")]
        reference: Reference,
        /// The token, as the list shows it, or the first digits of it
        id: String,
    },
}

impl Tokens {
    pub(super) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        match (self.reference, self.command) {
            (Some(reference), _) => {
                let reference = app.tickets().named(&reference).await?;
                let ticket = app.tickets().ticket(&reference).await?;
                let door = Door::find(app, desk).await?;
                let end = app.retention().end_of(&reference).await?;
                let token = app.tickets().new_token(&reference).await?;
                let ticket = door.view(ticket, &reference, end, Some(&token));
                desk.output.answer(&ticket, || ticket.block())
            }
            (None, Some(Command::Add { reference, label, until, upload_only, device })) => {
                let reference = app.tickets().named(&reference).await?;
                let kind = match (device, upload_only) {
                    (true, _) => Some(TokenKind::Device),
                    (false, true) => Some(TokenKind::UploadOnly),
                    (false, false) => None,
                };
                let ticket = app.tickets().ticket(&reference).await?;
                // Whatever can fail comes first: the token is shown this once.
                let door = Door::find(app, desk).await?;
                let end = app.retention().end_of(&reference).await?;
                let (line, token) = app.tickets().add_token(&reference, NewToken { label, until, kind }).await?;
                let ticket = door.view_with(ticket, &reference, end, Some(&token), Some(&line));
                desk.output.answer(&ticket, || ticket.block())
            }
            (None, Some(Command::List { reference })) => {
                let reference = app.tickets().named(&reference).await?;
                let rows = app.tickets().tokens(&reference).await?;
                let headings = ["ID", "KIND", "STATE", "VALID UNTIL", "LAST USED", "FROM", "LABEL"];
                let nothing =
                    format!("Ticket {reference} has no token; make one with 'tacdrop ticket token {reference}'.");
                desk.output.list(&rows, headings, &nothing, |row| {
                    [
                        row.id.chars().take(8).collect(),
                        kind(row),
                        row.state.to_owned(),
                        row.valid_until.to_string(),
                        row.last_used_at.map_or_else(|| "never".to_owned(), |at| at.to_string()),
                        row.last_used_from.clone().unwrap_or_default(),
                        row.label.clone().unwrap_or_default(),
                    ]
                })
            }
            (None, Some(Command::End { reference, id })) => {
                let reference = app.tickets().named(&reference).await?;
                let line = app.tickets().end_token(&reference, &id).await?;
                desk.output.answer(&line, || {
                    format!("Token {} of ticket {reference} has ended; its sessions end within a second.", line.id)
                })
            }
            (None, None) => Err(Failure::new("name a ticket")),
        }
    }
}

fn kind(row: &TokenLine) -> String {
    if row.main { format!("{}, main", row.kind) } else { row.kind.to_string() }
}
