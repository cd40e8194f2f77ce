//! `tacdrop certificate`: what the server states under its own signature of a ticket that was
//! shredded, and the key to check it with.

use clap::Subcommand;

use super::Desk;
use super::failure::Failure;
use crate::app::App;
use crate::model::Reference;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the signed certificate of a ticket that was shredded
    Show {
        /// The reference that it had
        #[arg(value_name = "REF")]
        ticket: Reference,
        /// The share's id, where several tickets had this reference; without it the newest
        #[arg(long, value_name = "ID")]
        share: Option<String>,
    },
    /// Print the key that signs certificates, as a line for 'allowed_signers'
    Key,
}

impl Command {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Show { ticket, share } => {
                let ticket = app.tickets().named_ever(&ticket).await?;
                let address = desk.address(app).await?;
                let signed = app.retention().certificate(&ticket, share.as_deref(), &address).await?;
                desk.output.answer(&signed, || signed.text.clone())
            }
            Self::Key => {
                let key = app.retention().certificate_key();
                desk.output.answer(&key, || key.allowed_signers.clone())
            }
        }
    }
}
