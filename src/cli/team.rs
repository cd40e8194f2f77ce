//! `tacdrop team`: engineers who work on tickets together.

use clap::Subcommand;

use super::Desk;
use super::columns::{Cut, fitted, width};
use super::engineer::address;
use super::failure::Failure;
use crate::app::{App, NewTeam, TeamChanges, TeamLine};
use crate::model::Identifier;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a team
    Add {
        /// A short id: letters, digits, '-' and '_'
        id: Identifier,
        /// Its name
        #[arg(long)]
        name: Option<String>,
        /// Where it reads its mail together
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        email: Option<String>,
        /// An engineer who is in it; can be given several times
        #[arg(long = "member", value_name = "ENGINEER")]
        members: Vec<Identifier>,
    },
    /// Change a team
    Edit {
        /// The team
        id: Identifier,
        /// Its name
        #[arg(long)]
        name: Option<String>,
        /// Where it reads its mail together from now on
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        email: Option<String>,
        /// It has no address of its own
        #[arg(long, conflicts_with = "email")]
        no_email: bool,
        /// Take an engineer in; can be given several times
        #[arg(long = "add-member", value_name = "ENGINEER")]
        members: Vec<Identifier>,
        /// Take an engineer out; can be given several times
        #[arg(long = "remove-member", value_name = "ENGINEER")]
        without_members: Vec<Identifier>,
    },
    /// Show one team
    Show(Id),
    /// List all teams with their members
    List,
    /// Remove a team that no ticket belongs to
    Remove(Id),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Id {
    /// The team
    id: Identifier,
}

impl Command {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        let (tickets, output) = (app.tickets(), desk.output);
        match self {
            Self::Add { id, name, email, members } => {
                tickets.add_team(NewTeam { id: id.clone(), name, email, members }).await?;
                let added = tickets.team(&id).await?;
                output.answer(&added, || format!("Team {id} was added.\n\n{}", shown(&added)))
            }
            Self::Edit { id, name, email, no_email, members, without_members } => {
                let email = if no_email { Some(None) } else { email.map(Some) };
                tickets.change_team(&id, TeamChanges { name, email, members, without_members }).await?;
                let changed = tickets.team(&id).await?;
                output.answer(&changed, || format!("Team {id} was changed.\n\n{}", shown(&changed)))
            }
            Self::Show(Id { id }) => {
                let team = tickets.team(&id).await?;
                output.answer(&team, || shown(&team))
            }
            Self::List => {
                let nothing = "There is no team yet; add one with 'tacdrop team add'.";
                let rows = tickets.teams().await?;
                output.answer(&rows, || if rows.is_empty() { nothing.to_owned() } else { table(&rows, width(false)) })
            }
            Self::Remove(Id { id }) => {
                let removed = tickets.team(&id).await?;
                tickets.remove_team(&id).await?;
                output.answer(&removed, || format!("Team {id} was removed."))
            }
        }
    }
}

/// The list; `team show` has all members.
pub(super) fn table(rows: &[TeamLine], width: Option<usize>) -> String {
    let headings = [("ID", Cut::End), ("NAME", Cut::End), ("EMAIL", Cut::End), ("MEMBERS", Cut::End)];
    let cells = |row: &TeamLine| {
        [row.id.clone(), row.name.clone(), row.email.clone().unwrap_or_default(), row.members.join(" ")]
    };
    fitted(headings, rows.iter().map(cells).collect(), width)
}

fn shown(team: &TeamLine) -> String {
    let members = if team.members.is_empty() { "none".to_owned() } else { team.members.join(", ") };
    let email = team.email.as_deref().unwrap_or("none of its own");
    format!("Team {}\nName:    {}\nEmail:   {email}\nMembers: {members}", team.id, team.name)
}
