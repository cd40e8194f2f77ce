//! `tacdrop receipt`: what the server states under its own signature, and the key to check it with.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::Subcommand;

use super::Desk;
use super::failure::Failure;
use crate::app::App;
use crate::model::{Reference, SharePath};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the signed receipt of an artifact's current version
    Show {
        /// The ticket
        #[arg(value_name = "REF")]
        ticket: Reference,
        /// The artifact, as 'artifact list' shows it
        path: OsString,
    },
    /// Print the key that signs receipts, as a line for 'allowed_signers'
    Key,
}

impl Command {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Show { ticket, path } => {
                let path = SharePath::parse(path.as_bytes())
                    .map_err(|refusal| Failure::new(format!("this is no path in a share: {refusal}")))?;
                let ticket = app.tickets().named(&ticket).await?;
                let signed = app.access().receipt(&ticket, &path, &desk.address(app).await?).await?;
                desk.output.answer(&signed, || signed.text.clone())
            }
            Self::Key => {
                let key = app.access().receipt_key();
                desk.output.answer(&key, || key.allowed_signers.clone())
            }
        }
    }
}
