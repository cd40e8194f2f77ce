//! `tacdrop contact`: people and machines of organisations, and what they log in with.

use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use super::Desk;
use super::columns::{Cut, fitted, width};
use super::engineer::{Id, address};
use super::failure::Failure;
use super::given::switched;
use super::key_args::{KeyChange, KeyCommand, counted, read_keys};
use crate::app::{App, ContactChanges, ContactLine, NewContact, NewPassword};
use crate::model::{Identifier, Language, LastDay};

/// The most bytes that are read as a password.
const LONGEST_PASSWORD: u64 = 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a contact of an organisation
    Add {
        /// The login name: letters, digits, '-' and '_'
        id: Identifier,
        /// Whose contact it is
        #[arg(long, value_name = "ORG")]
        organisation: Identifier,
        /// Where mails to the person go
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        email: String,
        /// The person's name
        #[arg(long)]
        name: Option<String>,
        /// A file of public keys, one on each line, as 'id_ed25519.pub' or 'authorized_keys'
        #[arg(long = "key", value_name = "FILE")]
        keys: Vec<PathBuf>,
        /// The language in which the server speaks to the person
        #[arg(long, value_name = "de|en")]
        language: Option<Language>,
        /// The last day, in UTC, on which the contact may log in, as 2027-01-31
        #[arg(long, value_name = "DATE")]
        until: Option<LastDay>,
    },
    /// Change what is known of a contact
    Edit {
        /// The login name
        id: Identifier,
        /// The person's name
        #[arg(long)]
        name: Option<String>,
        /// Where mails to the person go from now on
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        email: Option<String>,
        /// The language in which the server speaks to the person
        #[arg(long, value_name = "de|en")]
        language: Option<Language>,
        /// The last day, in UTC, on which the contact may log in, or 'none'
        #[arg(long, value_name = "DATE", value_parser = until)]
        until: Option<Until>,
        #[command(flatten)]
        settings: SettingArgs,
    },
    /// Show one contact
    Show(Id),
    /// List all contacts with their keys
    List {
        /// Only those of this organisation
        #[arg(long, value_name = "ORG")]
        organisation: Option<Identifier>,
    },
    /// End a contact's logins; its sessions end within a second
    Disable(Id),
    /// Let a disabled contact log in again
    Enable(Id),
    /// Remove a contact; what it sent stays, and nobody else ever gets its name
    Remove(Id),
    /// Add or remove a key
    #[command(subcommand)]
    Key(KeyCommand),
    /// Set the password that standard input holds, or make one and show it once
    Password {
        /// The login name
        id: Identifier,
        /// Make one, whatever standard input holds
        #[arg(long)]
        make: bool,
        /// Take the password away: the contact logs in with keys only
        #[arg(long, conflicts_with = "make")]
        remove: bool,
    },
}

/// What is set for a contact, each on or off.
#[derive(Debug, Args)]
pub(crate) struct SettingArgs {
    /// The contact is told by mail what support hands back; that is so unless it is taken away
    #[arg(long)]
    mail: bool,
    /// The contact is told nothing by mail
    #[arg(long, conflicts_with = "mail")]
    no_mail: bool,
    /// The contact gets the signed receipts of what it sends by mail
    #[arg(long)]
    receipts: bool,
    /// The contact gets no receipts by mail
    #[arg(long, conflicts_with = "receipts")]
    no_receipts: bool,
}

/// A last day, or that there is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until(Option<LastDay>);

fn until(text: &str) -> Result<Until, &'static str> {
    if text == "none" { Ok(Until(None)) } else { text.parse().map(|day| Until(Some(day))) }
}

/// A contact, and the password that was made for it.
#[derive(Serialize)]
struct WithPassword<'a> {
    #[serde(flatten)]
    contact: ContactLine,
    /// Null: somebody chose it, or there is none now.
    made_password: Option<&'a str>,
}

impl Command {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        let (tickets, output) = (app.tickets(), desk.output);
        match self {
            Self::Add { id, organisation, email, name, keys: files, language, until: valid_until } => {
                let mut keys = Vec::new();
                for file in &files {
                    keys.extend(read_keys(file)?);
                }
                keys.sort();
                keys.dedup();
                let new = NewContact { id: id.clone(), organisation, name, email, language, valid_until, keys };
                tickets.add_contact(new).await?;
                let added = tickets.contact(&id).await?;
                output.answer(&added, || match added.keys.len() {
                    0 => format!(
                        "Contact {id} was added; to log in they need 'tacdrop contact key add {id} FILE' or \
                         'tacdrop contact password {id}'."
                    ),
                    keys => format!("Contact {id} was added with {}.", counted(keys)),
                })
            }
            Self::Edit { id, name, email, language, until, settings } => {
                let changes = ContactChanges {
                    name,
                    email,
                    language,
                    valid_until: until.map(|Until(day)| day),
                    mail: switched(settings.mail, settings.no_mail),
                    receipts: switched(settings.receipts, settings.no_receipts),
                };
                tickets.change_contact(&id, changes).await?;
                output.answer(&tickets.contact(&id).await?, || format!("Contact {id} was changed."))
            }
            Self::Show(Id { id }) => {
                let contact = tickets.contact(&id).await?;
                output.answer(&contact, || shown(&contact))
            }
            Self::List { organisation } => {
                let nothing = "There is no such contact; add one with 'tacdrop contact add'.";
                let rows = tickets.contacts(organisation.as_ref()).await?;
                output.answer(&rows, || if rows.is_empty() { nothing.to_owned() } else { table(&rows, width(false)) })
            }
            Self::Disable(Id { id }) => {
                tickets.set_contact_enabled(&id, false).await?;
                output.answer(&tickets.contact(&id).await?, || {
                    format!("Contact {id} is disabled; 'tacdrop contact enable {id}' lets them in again.")
                })
            }
            Self::Enable(Id { id }) => {
                tickets.set_contact_enabled(&id, true).await?;
                output.answer(&tickets.contact(&id).await?, || format!("Contact {id} may log in again."))
            }
            Self::Remove(Id { id }) => {
                let removed = tickets.contact(&id).await?;
                tickets.remove_contact(&id).await?;
                output.answer(&removed, || format!("Contact {id} was removed. What they sent stays."))
            }
            Self::Key(command) => {
                let (id, change) = command.read()?;
                match &change {
                    KeyChange::Add(keys) => tickets.add_contact_keys(&id, keys.clone()).await?,
                    KeyChange::Remove(fingerprints) => tickets.remove_contact_keys(&id, fingerprints).await?,
                }
                output.answer(&tickets.contact(&id).await?, || change.said("contact", &id))
            }
            Self::Password { id, make, remove } => {
                let new = match (make, remove) {
                    (_, true) => NewPassword::Removed,
                    (true, _) => NewPassword::Made,
                    _ => given_password()?.map_or(NewPassword::Made, NewPassword::Chosen),
                };
                let made = tickets.set_password(&id, new).await?;
                let contact = tickets.contact(&id).await?;
                let answer = WithPassword { contact, made_password: made.as_ref().map(|made| made.as_str()) };
                output.answer(&answer, || match &made {
                    Some(made) => format!("Password of contact {id}, shown this once:\n{}", made.as_str()),
                    None if remove => format!("Contact {id} has no password any more."),
                    None => format!("Contact {id} has this password now."),
                })
            }
        }
    }
}

/// The list; `contact show` has the keys.
pub(super) fn table(rows: &[ContactLine], width: Option<usize>) -> String {
    let headings = [
        ("ID", Cut::End),
        ("ORGANISATION", Cut::End),
        ("NAME", Cut::End),
        ("EMAIL", Cut::End),
        ("LANGUAGE", Cut::Never),
        ("STATE", Cut::Never),
        ("UNTIL", Cut::Never),
        ("LOGS IN BY", Cut::End),
    ];
    let cells = |row: &ContactLine| {
        [
            row.id.clone(),
            row.organisation.clone(),
            row.name.clone(),
            row.email.clone(),
            row.language.map(|language| language.to_string()).unwrap_or_default(),
            state(row).to_owned(),
            row.valid_until.map(|day| day.to_string()).unwrap_or_default(),
            ways(row),
        ]
    };
    fitted(headings, rows.iter().map(cells).collect(), width)
}

/// The password on standard input, without the end of its line; none at a terminal, and where
/// nothing is.
fn given_password() -> Result<Option<Zeroizing<String>>, Failure> {
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        return Ok(None);
    }
    let mut text = Zeroizing::new(String::new());
    let unreadable = |error: io::Error| Failure::new(format!("standard input holds no password: {error}"));
    (&mut stdin).take(LONGEST_PASSWORD).read_to_string(&mut text).map_err(unreadable)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    Ok((!line.is_empty()).then(|| Zeroizing::new(line.to_owned())))
}

fn state(row: &ContactLine) -> &'static str {
    match row {
        ContactLine { disabled: true, .. } => "disabled",
        ContactLine { expired: true, .. } => "expired",
        _ => "active",
    }
}

fn ways(row: &ContactLine) -> String {
    let password = row.password.then(|| "password".to_owned());
    let keys = (!row.keys.is_empty()).then(|| counted(row.keys.len()));
    password.into_iter().chain(keys).collect::<Vec<_>>().join(", ")
}

fn shown(row: &ContactLine) -> String {
    let mut text = format!(
        "Contact {}, {}\nName:         {}\nOrganisation: {}\nEmail:        {}\n",
        row.id,
        state(row),
        row.name,
        row.organisation,
        row.email
    );
    if let Some(language) = row.language {
        text += &format!("Language:     {language}\n");
    }
    if let Some(day) = row.valid_until {
        text += &format!("Valid until:  {day}\n");
    }
    text += &format!(
        "Mail:         {}\n",
        match (row.mail, row.receipts) {
            (true, true) => "what support hands back, and receipts",
            (true, false) => "what support hands back",
            (false, true) => "receipts only",
            (false, false) => "none",
        }
    );
    text += &format!("Password:     {}\n", if row.password { "set" } else { "none" });
    for key in &row.keys {
        text += &format!("Key:          {key}\n");
    }
    text
}
