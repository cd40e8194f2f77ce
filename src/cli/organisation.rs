//! `tacdrop organisation`: customers with a contract.

use clap::Subcommand;

use super::failure::Failure;
use super::{Begin, Desk};
use crate::app::{App, OrganisationLine};
use crate::model::Identifier;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add an organisation
    Add {
        /// A short id: letters, digits, '-' and '_'
        id: Identifier,
        /// Its name, as engineers read it in mails
        #[arg(long)]
        name: String,
        /// The number of its contract
        #[arg(long, value_name = "NUMBER")]
        contract: Option<String>,
    },
    /// List all organisations
    List,
}

impl Command {
    pub(crate) fn may_begin(&self) -> Begin {
        if matches!(self, Self::Add { .. }) { Begin::Yes } else { Begin::No }
    }

    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Add { id, name, contract } => {
                let added = OrganisationLine { id: id.to_string(), name: name.clone(), contract: contract.clone() };
                app.tickets().add_organisation(id, name, contract).await?;
                desk.output.answer(&added, || format!("Organisation {} was added.", added.id))
            }
            Self::List => {
                let nothing = "There is no organisation yet; add one with 'tacdrop organisation add'.";
                desk.output.list(&app.tickets().organisations().await?, ["ID", "NAME", "CONTRACT"], nothing, |row| {
                    [row.id.clone(), row.name.clone(), row.contract.clone().unwrap_or_default()]
                })
            }
        }
    }
}
