//! `tacdrop notice`: what engineers were told, or will be.

use clap::Subcommand;

use super::Desk;
use super::failure::Failure;
use crate::model::Word;
use crate::share::Shares;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the notices of one ticket, or all
    List {
        /// The ticket
        #[arg(value_name = "REF")]
        ticket: Option<Word>,
    },
}

impl Command {
    pub(crate) async fn run(self, shares: &Shares, desk: &Desk) -> Result<(), Failure> {
        let Self::List { ticket } = self;
        let headings = ["TICKET", "STATE", "RECIPIENT", "CHANNEL", "TRIES", "NEXT", "ARTIFACTS", "LAST ERROR"];
        desk.output.list(&shares.notices(ticket.as_ref()).await?, headings, "There is no notice yet.", |row| {
            [
                row.ticket.clone(),
                row.state.to_string(),
                row.recipient.clone(),
                row.channel.clone().unwrap_or_else(|| "-".to_owned()),
                row.attempts.to_string(),
                row.next_attempt_at.map_or_else(|| "-".to_owned(), |time| time.to_string()),
                match &row.artifacts[..] {
                    [only] => only.path.clone(),
                    several => several.len().to_string() + " files",
                },
                row.last_error.clone().unwrap_or_default(),
            ]
        })
    }
}
