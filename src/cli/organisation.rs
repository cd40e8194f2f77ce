//! `tacdrop organisation`: customers with a contract.

use clap::{ArgGroup, Subcommand};

use super::columns::{Cut, fitted, width};
use super::failure::Failure;
use super::given::{Given, given};
use super::{Begin, Desk};
use crate::app::{App, NewOrganisation, OrganisationEdit, OrganisationLine};
use crate::model::{Identifier, LastDay};

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
        /// The level of support that the contract grants
        #[arg(long)]
        level: Option<String>,
        /// The last day of the contract, as 2026-12-31 (UTC); then its customers cannot log in
        #[arg(long, value_name = "DATE")]
        until: Option<LastDay>,
    },
    /// Change what is said of an organisation; an empty text ('') takes it away
    #[command(group(ArgGroup::new("what").required(true).multiple(true).args(["name", "contract", "level", "until"])))]
    Edit {
        /// The organisation
        id: Identifier,
        /// Its name
        #[arg(long)]
        name: Option<String>,
        /// The number of its contract
        #[arg(long, value_name = "NUMBER")]
        contract: Option<Given<String>>,
        /// The level of support that the contract grants
        #[arg(long)]
        level: Option<Given<String>>,
        /// The last day of the contract, as 2026-12-31 (UTC); then its customers cannot log in
        #[arg(long, value_name = "DATE")]
        until: Option<Given<LastDay>>,
    },
    /// Show an organisation
    Show(Id),
    /// List all organisations
    List,
    /// End its customers' logins; engineers still see its tickets
    Disable(Id),
    /// Let its customers log in again
    Enable(Id),
    /// Remove an organisation that has no ticket; its id is not given again
    Remove(Id),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Id {
    /// The organisation
    id: Identifier,
}

impl Command {
    pub(crate) fn may_begin(&self) -> Begin {
        if matches!(self, Self::Add { .. }) { Begin::Yes } else { Begin::No }
    }

    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        let tickets = app.tickets();
        match self {
            Self::Add { id, name, contract, level, until } => {
                let added = tickets.enter_organisation(NewOrganisation { id, name, contract, level, until }).await?;
                desk.output.answer(&added, || format!("Organisation {} was added.", added.id))
            }
            Self::Edit { id, name, contract, level, until } => {
                let edit =
                    OrganisationEdit { name, contract: given(contract), level: given(level), until: given(until) };
                let line = tickets.edit_organisation(&id, edit).await?;
                desk.output.answer(&line, || shown(&line))
            }
            Self::Show(Id { id }) => {
                let line = tickets.organisation(&id).await?;
                desk.output.answer(&line, || shown(&line))
            }
            Self::List => {
                let nothing = "There is no organisation yet; add one with 'tacdrop organisation add'.";
                let rows = tickets.organisations().await?;
                desk.output
                    .answer(&rows, || if rows.is_empty() { nothing.to_owned() } else { table(&rows, width(false)) })
            }
            Self::Disable(Id { id }) => {
                let line = tickets.disable_organisation(&id).await?;
                desk.output.answer(&line, || format!("Organisation {id} is disabled: {}.", refused(line.open_tickets)))
            }
            Self::Enable(Id { id }) => {
                let line = tickets.enable_organisation(&id).await?;
                desk.output.answer(&line, || match line.until.filter(|_| !line.admitted) {
                    Some(day) => format!("Organisation {id} is enabled, but its contract ended on {day}."),
                    None => format!("Organisation {id} is enabled: its customers may log in again."),
                })
            }
            Self::Remove(Id { id }) => {
                let line = tickets.organisation(&id).await?;
                tickets.remove_organisation(&id).await?;
                desk.output.answer(&line, || format!("Organisation {id} was removed; its id is not given again."))
            }
        }
    }
}

/// What keeps an organisation's customers out, if anything does.
fn state(row: &OrganisationLine) -> &'static str {
    match (row.disabled, row.admitted) {
        (true, _) => "disabled",
        (false, false) => "ended",
        (false, true) => "active",
    }
}

/// `the logins of its 3 open tickets are refused`.
fn refused(open: u64) -> String {
    match open {
        0 => "it has no open ticket".to_owned(),
        1 => "the logins of its open ticket are refused, and engineers still see it".to_owned(),
        more => format!("the logins of its {more} open tickets are refused, and engineers still see them"),
    }
}

/// The list; `organisation show` has all of it.
pub(super) fn table(rows: &[OrganisationLine], width: Option<usize>) -> String {
    let headings = [
        ("ID", Cut::End),
        ("NAME", Cut::End),
        ("CONTRACT", Cut::End),
        ("LEVEL", Cut::End),
        ("UNTIL", Cut::Never),
        ("STATE", Cut::Never),
        ("TICKETS", Cut::Never),
        ("OPEN", Cut::Never),
    ];
    let cells = |row: &OrganisationLine| {
        [
            row.id.clone(),
            row.name.clone(),
            row.contract.clone().unwrap_or_default(),
            row.level.clone().unwrap_or_default(),
            row.until.map(|day| day.to_string()).unwrap_or_default(),
            state(row).to_owned(),
            row.tickets.to_string(),
            row.open_tickets.to_string(),
        ]
    };
    fitted(headings, rows.iter().map(cells).collect(), width)
}

fn shown(row: &OrganisationLine) -> String {
    let mut text = format!("Organisation {}: {}\n\n", row.id, crate::model::sanitize::line(&row.name));
    let until = match row.until {
        Some(day) if row.admitted || row.disabled => day.to_string(),
        Some(day) => format!("{day}, which is over"),
        None => "no end".to_owned(),
    };
    let state =
        if row.admitted { "active".to_owned() } else { format!("{}: {}", state(row), refused(row.open_tickets)) };
    let tickets = format!("{}, {} of them not closed", row.tickets, row.open_tickets);
    for (label, value) in [
        ("Contract", row.contract.clone().unwrap_or_else(|| "-".to_owned())),
        ("Level", row.level.clone().unwrap_or_else(|| "-".to_owned())),
        ("Until", until),
        ("State", state),
        ("Tickets", tickets),
    ] {
        let label = format!("{label}:");
        text = text + &format!("{label:<10} {}\n", crate::model::sanitize::line(&value));
    }
    text
}
