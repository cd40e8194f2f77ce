//! `tacdrop engineer`: people who work on tickets, and the keys that they log in with.

use std::path::PathBuf;

use clap::{ArgGroup, Subcommand};

use super::columns::{Cut, fitted, width};
use super::failure::Failure;
use super::given::{Given, given};
use super::key_args::{KeyChange, KeyCommand, counted, read_keys};
use super::{Begin, Desk};
use crate::app::{Absence, App, EngineerEdit, EngineerLine};
use crate::mail;
use crate::model::{Identifier, Language, LastDay, Role, sanitize};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add an engineer
    Add {
        /// The login name: letters, digits, '-' and '_'
        id: Identifier,
        /// Where notices go
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        email: String,
        /// The person's name
        #[arg(long)]
        name: Option<String>,
        /// The language of notices; without it, the ticket's
        #[arg(long, value_name = "de|en")]
        language: Option<Language>,
        /// A file of public keys, one on each line, as 'id_ed25519.pub' or 'authorized_keys'
        #[arg(long = "key", value_name = "FILE")]
        keys: Vec<PathBuf>,
    },
    /// Change what is said of an engineer
    #[command(group(ArgGroup::new("what").required(true).multiple(true).args(["name", "email", "language", "role"])))]
    Edit {
        /// The login name
        id: Identifier,
        /// The person's name
        #[arg(long)]
        name: Option<String>,
        /// Where notices go from now on, also those that did not arrive
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        email: Option<String>,
        /// The language of notices; '' for the ticket's
        #[arg(long, value_name = "de|en")]
        language: Option<Given<Language>>,
        /// What the person is: works on tickets, sees all of them, or only reads
        #[arg(long, value_name = "engineer|lead|auditor")]
        role: Option<Role>,
    },
    /// Show an engineer with the keys
    Show(Id),
    /// List all engineers with their keys
    List,
    /// Change where an engineer's notices go; those that did not arrive are sent there at once
    Set {
        /// The login name
        id: Identifier,
        /// Where notices go from now on
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        email: String,
    },
    /// Add or remove a key
    #[command(subcommand)]
    Key(KeyCommand),
    /// End an engineer's logins; what is theirs goes to another one
    Disable {
        /// The login name
        id: Identifier,
        /// Who gets their open tickets and the notices that were not delivered
        #[arg(long, value_name = "ENGINEER")]
        hand_over_to: Option<Identifier>,
    },
    /// Let an engineer log in again
    Enable(Id),
    /// Say when an engineer is away, and who gets the notices meanwhile
    #[command(group(ArgGroup::new("back").required(true).multiple(true).args(["end", "from"])))]
    Away {
        /// The login name
        id: Identifier,
        /// The first day, as 2026-12-24 (UTC)
        #[arg(long, value_name = "DATE", requires_all = ["to", "deputy"], conflicts_with = "end")]
        from: Option<LastDay>,
        /// The last day
        #[arg(long, value_name = "DATE", requires = "from")]
        to: Option<LastDay>,
        /// The engineer who gets the notices
        #[arg(long, value_name = "ENGINEER", requires = "from")]
        deputy: Option<Identifier>,
        /// The engineer is back, or does not go
        #[arg(long)]
        end: bool,
    },
    /// Remove an engineer whom no ticket and no notice names; the id is not given again
    Remove(Id),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Id {
    /// The login name
    pub(super) id: Identifier,
}

impl Command {
    pub(crate) fn may_begin(&self) -> Begin {
        if matches!(self, Self::Add { .. }) { Begin::Yes } else { Begin::No }
    }

    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Add { id, email, name, language, keys: files } => {
                let mut keys = Vec::new();
                for file in &files {
                    keys.extend(read_keys(file)?);
                }
                keys.sort();
                keys.dedup();
                app.tickets().add_engineer(id.clone(), name, email, language, keys).await?;
                let added = line(app, &id).await?;
                desk.output.answer(&added, || {
                    if added.keys.is_empty() {
                        format!("Engineer {id} was added; to log in they need 'tacdrop engineer key add {id} FILE'.")
                    } else {
                        format!("Engineer {id} was added with {}.", counted(added.keys.len()))
                    }
                })
            }
            Self::List => {
                let nothing = "There is no engineer yet; add one with 'tacdrop engineer add'.";
                let rows = app.tickets().engineers().await?;
                desk.output
                    .answer(&rows, || if rows.is_empty() { nothing.to_owned() } else { table(&rows, width(false)) })
            }
            Self::Edit { id, name, email, language, role } => {
                let edit = EngineerEdit { name, email, language: given(language), role };
                let (done, moved) = app.tickets().edit_engineer(&id, edit).await?;
                let changed = line(app, &id).await?;
                desk.output.answer(&changed, || match (&done[..], moved) {
                    ([], _) => format!("Engineer {id} had all of that already."),
                    (_, 0) => format!("Of engineer {id} was changed: {}.", done.join(", ")),
                    (_, moved) => format!(
                        "Of engineer {id} was changed: {}. Notices that go to the new address: {moved}.",
                        done.join(", ")
                    ),
                })
            }
            Self::Show(Id { id }) => {
                let row = line(app, &id).await?;
                desk.output.answer(&row, || shown(&row))
            }
            Self::Enable(Id { id }) => {
                app.tickets().enable_engineer(&id).await?;
                let row = line(app, &id).await?;
                desk.output.answer(&row, || format!("Engineer {id} may log in again."))
            }
            Self::Away { id, from: Some(from), to: Some(to), deputy: Some(deputy), .. } => {
                let away = Absence { from, to, deputy: deputy.clone() };
                app.tickets().set_absence(&id, away).await?;
                let row = line(app, &id).await?;
                desk.output.answer(&row, || format!("From {from} to {to} notices for engineer {id} go to {deputy}."))
            }
            Self::Away { id, .. } => {
                app.tickets().end_absence(&id).await?;
                let row = line(app, &id).await?;
                desk.output.answer(&row, || format!("Engineer {id} gets the notices again."))
            }
            Self::Remove(Id { id }) => {
                let row = line(app, &id).await?;
                app.tickets().remove_engineer(&id).await?;
                desk.output.answer(&row, || format!("Engineer {id} was removed; the id is not given again."))
            }
            Self::Set { id, email } => {
                let moved = app.tickets().set_email(&id, &email).await?;
                let changed = line(app, &id).await?;
                desk.output.answer(&changed, || {
                    let waiting = match moved {
                        0 => String::new(),
                        1 => ", also 1 that was not delivered yet".to_owned(),
                        more => format!(", also {more} that were not delivered yet"),
                    };
                    format!("Notices for engineer {id} go to {email} from now on{waiting}.")
                })
            }
            Self::Key(command) => {
                let (id, change) = command.read()?;
                match &change {
                    KeyChange::Add(keys) => {
                        for (fingerprint, algorithm) in keys.clone() {
                            app.tickets().add_key(&id, fingerprint, algorithm).await?;
                        }
                    }
                    KeyChange::Remove(fingerprints) => {
                        for fingerprint in fingerprints {
                            app.tickets().remove_key(&id, fingerprint).await?;
                        }
                    }
                }
                desk.output.answer(&line(app, &id).await?, || change.said("engineer", &id))
            }
            Self::Disable { id, hand_over_to } => {
                let done = app.tickets().disable_engineer_for(&id, hand_over_to.as_ref()).await?;
                let disabled = line(app, &id).await?;
                desk.output.answer(&disabled, || match hand_over_to {
                    Some(to) => format!(
                        "Engineer {id} is disabled. {to} has the open tickets ({}) and the other notices that were not \
                         delivered ({}).",
                        done.tickets, done.notices
                    ),
                    None => format!("Engineer {id} is disabled."),
                })
            }
        }
    }
}

async fn line(app: &App, id: &Identifier) -> Result<EngineerLine, Failure> {
    Ok(app.tickets().engineer(id).await?)
}

/// The list; `engineer show` has the keys.
pub(super) fn table(rows: &[EngineerLine], width: Option<usize>) -> String {
    let headings = [
        ("ID", Cut::End),
        ("NAME", Cut::End),
        ("EMAIL", Cut::End),
        ("LANGUAGE", Cut::Never),
        ("ROLE", Cut::Never),
        ("STATE", Cut::End),
        ("KEYS", Cut::Never),
    ];
    let cells = |row: &EngineerLine| {
        [
            row.id.clone(),
            row.name.clone(),
            row.email.clone(),
            row.language.map(|language| language.to_string()).unwrap_or_default(),
            row.role.to_string(),
            state(row),
            row.keys.len().to_string(),
        ]
    };
    fitted(headings, rows.iter().map(cells).collect(), width)
}

fn state(row: &EngineerLine) -> String {
    match &row.away {
        _ if row.disabled => "disabled".to_owned(),
        Some(away) if away.now => format!("away until {} ({})", away.to, away.deputy),
        _ => "active".to_owned(),
    }
}

fn shown(row: &EngineerLine) -> String {
    let mut text = format!("Engineer {}: {}\n\n", row.id, sanitize::line(&row.name));
    let absence = row.away.as_ref().map(|away| format!("{} to {}, deputy {}", away.from, away.to, away.deputy));
    let language = row.language.map_or_else(|| "the ticket's".to_owned(), |language| language.to_string());
    for (label, value) in [
        ("Mail", row.email.clone()),
        ("Language", language),
        ("Role", row.role.to_string()),
        ("State", state(row)),
        ("Absence", absence.unwrap_or_else(|| "-".to_owned())),
        ("Keys", if row.keys.is_empty() { "-".to_owned() } else { row.keys.join(" ") }),
    ] {
        let label = format!("{label}:");
        text = text + &format!("{label:<10} {}\n", sanitize::line(&value));
    }
    text
}

pub(super) fn address(text: &str) -> Result<String, &'static str> {
    if mail::is_address(text) { Ok(text.to_owned()) } else { Err("a mail address looks like anna@example.org") }
}
